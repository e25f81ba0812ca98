/*
 * team.c -- one chunk on several threads, where there are fewer chunks than threads: a long text by itself.
 *
 * A block of the encoder is work on rows, then on heads, then on rows again, and the next block's first work is on those same rows.  So
 * there are two runs of the pool for each block.  Each row and each head is computed as one thread would, whoever does it.
 */
#include "internal.h"

/* Fewer rows for a thread than this cost more in reading all weights twice, and in waking threads, than is saved. */
#define ROWS_A_THREAD 24

/* A multiple of the rows of most tiles. */
#define ROW_STEP 12

typedef struct Team
{
	const PlmModel *model;
	const PlmBatch *batch;
	PlmWorkspace *spaces;		/* (n) */
	int			n;
	int32_t		layer;			/* rows: of the block before it the end, of it the beginning */
	int64_t		step;			/* rows of a task */
} Team;

int
plm_team_size(int64_t tokens, int threads)
{
	return tokens / ROWS_A_THREAD < threads ? (int) (tokens / ROWS_A_THREAD) : threads;
}

PlmStatus
plm_team_carve(const PlmModel *model, int64_t tokens, int64_t longest, PlmArena *arena, PlmWorkspace *spaces, int n, PlmError *err)
{
	for (int i = 1; i < n; i++)
	{
		PLM_TRY(plm_workspace_carve_taped(model, tokens, longest, 0, arena, &spaces[i], err));
		spaces[i].x = spaces[0].x;
		spaces[i].qkv = spaces[0].qkv;
		spaces[i].mix = spaces[0].mix;
	}
	return PLM_OK;
}

static PlmStatus
rows_in(const Team *t, int64_t first, PlmWorkspace *ws, PlmWorker *worker, PlmError *err)
{
	int64_t		left = t->batch->tokens - first;
	int64_t		rows = left < t->step ? left : t->step;

	if (t->layer > 0)
		PLM_TRY(plm_block_finish(t->model, t->layer - 1, first, rows, ws, worker, err));
	if (t->layer < t->model->config.layers)
		PLM_TRY(plm_block_project(t->model, t->layer, first, rows, ws, worker, err));
	return PLM_OK;
}

static PlmStatus
rows_task(void *arg, int64_t chunk, PlmWorker *worker, PlmError *err)
{
	const Team *t = arg;
	PlmWorkspace *ws = plm_workspace_borrow(t->spaces, t->n);
	PlmStatus	status = rows_in(t, chunk * t->step, ws, worker, err);

	plm_workspace_give_back(ws);
	return status;
}

static PlmStatus
head_task(void *arg, int64_t head, PlmWorker *worker, PlmError *err)
{
	const Team *t = arg;
	PlmWorkspace *ws = plm_workspace_borrow(t->spaces, t->n);
	PlmStatus	status = plm_block_attend(t->model, t->batch, head, ws, worker, err);

	plm_workspace_give_back(ws);
	return status;
}

/* Equal shares for all threads, none larger than a row block. */
static int64_t
share(int64_t tokens, int n)
{
	int64_t		most = (int64_t) n * PLM_BLOCK_ROWS;
	int64_t		parts = n * ((tokens + most - 1) / most);
	int64_t		rows = ((tokens + parts - 1) / parts + ROW_STEP - 1) / ROW_STEP * ROW_STEP;

	return rows < PLM_BLOCK_ROWS ? rows : PLM_BLOCK_ROWS;
}

PlmStatus
plm_encoder_forward_team(const PlmModel *model, const PlmBatch *batch, PlmWorkspace *spaces, int n, const PlmHook *hook, PlmError *err)
{
	Team		team = {.model = model, .batch = batch, .spaces = spaces, .n = n, .step = share(batch->tokens, n)};
	int64_t		tasks = (batch->tokens + team.step - 1) / team.step;
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, hook);

	PLM_TRY(plm_encoder_embed(model, batch, spaces[0].x, &worker, err));
	for (; team.layer <= model->config.layers; team.layer++)
	{
		PLM_TRY(plm_parallel(n, tasks, rows_task, &team, hook, err));
		if (team.layer < model->config.layers)
			PLM_TRY(plm_parallel(n, model->config.heads, head_task, &team, hook, err));
	}
	return PLM_OK;
}
