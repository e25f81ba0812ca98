/*
 * explain_attention.c -- attention rollout (Abnar and Zuidema 2020): how much of each token reaches what the head reads.
 *
 * A baseline that explanations are measured beside, and no explanation of a number: it is the same whatever is asked of the text, has no
 * signs, and adds up to 1.  A layer hands half of each place on as it was, past attention, and half as attention mixes it, the mean of
 * its heads; the layers' matrices are multiplied from the last to the first, beginning with the places that the head reads.
 */
#include "explain.h"

#include <math.h>
#include <string.h>

/* (n) what the head reads, adds up to 1: all places alike, or one; several poolings count alike. */
static void
places_read(const PlmModel *m, const PlmExplainTask *task, int64_t n, double *share)
{
	const PlmConfig *c = &m->config;
	int			poolings = task->along != NULL ? c->n_pooling : 1;

	memset(share, 0, (size_t) n * sizeof(double));
	for (int i = 0; i < poolings; i++)
	{
		PlmPooling	mode = task->along != NULL ? (PlmPooling) c->pooling[i] : PLM_POOL_POOLER;

		if (mode == PLM_POOL_CLS || mode == PLM_POOL_POOLER)
			share[0] += 1.0 / poolings;
		else if (mode == PLM_POOL_LAST)
			share[n - 1] += 1.0 / poolings;
		else
			for (int64_t t = 0; t < n; t++)
				share[t] += 1.0 / (double) (n * poolings);
	}
}

/* p (n) = softmax of a query's products with all keys; k at distance ld. */
static void
attend(int64_t n, int64_t D, const float *q, const float *k, int64_t ld, double *p)
{
	double		most = -INFINITY;
	double		sum = 0;

	for (int64_t j = 0; j < n; j++)
	{
		p[j] = plm_dot(q, k + j * ld, D) / sqrt((double) D);
		most = fmax(most, p[j]);
	}
	for (int64_t j = 0; j < n; j++)
		sum += p[j] = exp(p[j] - most);
	for (int64_t j = 0; j < n; j++)
		p[j] /= sum;
}

/* share (n) of a layer's output becomes that of its input; qkv: (n,3C); p, next: (n) scratch. */
static PlmStatus
roll_back(const PlmModel *m, int64_t n, const float *qkv, double *share, double *p, double *next, PlmWorker *worker, PlmError *err)
{
	int64_t		C = m->config.width;
	int64_t		H = m->config.heads;
	int64_t		D = C / H;

	for (int64_t t = 0; t < n; t++)
		next[t] = share[t] / 2;
	for (int64_t h = 0; h < H; h++)
	{
		if (plm_stopped(worker))
			return plm_cancelled(err);
		for (int64_t i = 0; i < n; i++)
		{
			if (share[i] == 0)
				continue;
			attend(n, D, qkv + i * 3 * C + h * D, qkv + C + h * D, 3 * C, p);
			for (int64_t j = 0; j < n; j++)
				next[j] += share[i] * p[j] / (double) (2 * H);
		}
	}
	memcpy(share, next, (size_t) n * sizeof(double));
	return PLM_OK;
}

static PlmStatus
rollout(const PlmModel *m, const PlmExplainTask *task, const PlmBatch *batch, PlmArena *work, PlmWorker *worker, double *share,
		PlmError *err)
{
	int64_t		n = batch->tokens;
	int64_t		C = m->config.width;
	PlmWorkspace ws;
	float	   *trace;			/* (L+1,n,C) */
	double	   *scratch;		/* (2,n) */

	trace = plm_arena_array(work, (size_t) (m->config.layers + 1), (size_t) (n * C) * sizeof(float));
	scratch = plm_arena_array(work, (size_t) (2 * n), sizeof(double));
	if (trace == NULL || scratch == NULL)
		return plm_arena_refused(work, (size_t) (m->config.layers + 1) * (size_t) (n * C) * sizeof(float), err);
	PLM_TRY(plm_workspace_carve(m, n, batch->longest, 0, work, &ws, err));
	PLM_TRY(plm_encoder_forward(m, batch, &ws, trace, worker, err));
	places_read(m, task, n, share);
	for (int32_t l = m->config.layers - 1; l >= 0; l--)
	{
		PLM_TRY(plm_nn_linear(&m->blocks[l].qkv, n, trace + l * n * C, C, NULL, ws.qkv, 3 * C, PLM_ACT_NONE, ws.scratch, worker, err));
		PLM_TRY(roll_back(m, n, ws.qkv, share, scratch, scratch + n, worker, err));
	}
	return PLM_OK;
}

PlmStatus
plm_explain_attention(const PlmModel *model, const PlmExplainTask *task, const PlmOptions *options, PlmArena *arena,
					  PlmExplanation *out, PlmError *err)
{
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, options->hook);
	PlmArena	work;
	PlmBatch	batch;
	int64_t		offsets[2];
	PlmStatus	status;

	memset(out, 0, sizeof(*out));
	PLM_TRY(plm_explain_possible(model, task, err));
	PLM_TRY(plm_explain_encode(task, model, arena, &worker, out, err));
	batch = plm_batch_of_one(&out->encoding, offsets);
	plm_arena_init(&work, options->hook, options->memory_limit);
	status = rollout(model, task, &batch, &work, &worker, out->contribution, err);
	plm_arena_free(&work);
	out->error = NAN;
	return status;
}
