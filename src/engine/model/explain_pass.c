/*
 * explain_pass.c -- steps of a path through the encoder and back: see explain.h.
 */
#include "explain.h"

#include <string.h>

#define PASS_TOKENS 1024		/* of the steps that go together: rows enough for full speed, few enough to be asked in time */

/* Floats that each token takes. */
static size_t
token_floats(const PlmConfig *c, bool full)
{
	size_t		C = (size_t) c->width;
	size_t		F = (size_t) c->ff;
	size_t		L = (size_t) c->layers;

	/* Inputs, last state and sums; the tapes; what is on its way back; gates. */
	return (L + 2) * C + (full ? L : 1) * (6 * C + F + 4) + 7 * C + F + 8;
}

static PlmStatus
take(PlmArena *arena, int64_t rows, int64_t width, float **out, PlmError *err)
{
	size_t		bytes = (size_t) rows * (size_t) width * sizeof(float);

	*out = plm_arena_alloc(arena, bytes);
	return *out != NULL ? PLM_OK : plm_arena_refused(arena, bytes, err);
}

/* How many tokens go together, and with how many tapes. */
static void
plan(const PlmConfig *c, int64_t most, int64_t tokens, PlmSteps *s)
{
	size_t		room = s->arena.limit > 0 ? s->arena.limit / 8 * 7 / sizeof(float) : 0;
	int64_t		steps = PASS_TOKENS / tokens < most ? PASS_TOKENS / tokens : most;
	int64_t		fit;

	if (steps < 1)
		steps = 1;
	s->full = true;
	if (s->arena.limit > 0)
	{
		s->full = room / token_floats(c, true) >= (size_t) (steps * tokens);
		fit = (int64_t) (room / token_floats(c, s->full)) / tokens;
		if (steps > fit)
			steps = fit > 1 ? fit : 1;
	}
	s->most_tokens = steps * tokens;
	s->longest = tokens;
}

static PlmStatus
carve_tape(const PlmConfig *c, PlmSteps *s, PlmError *err)
{
	PlmArena   *arena = &s->arena;
	int64_t		T = s->most_tokens;
	int64_t		C = c->width;
	size_t		bytes = (size_t) c->layers * sizeof(PlmBlockTape);
	PlmBlockTape *blocks = plm_arena_zero(arena, bytes);

	if (blocks == NULL)
		return plm_arena_refused(arena, bytes, err);
	for (int32_t l = 0; l < c->layers; l++)
	{
		PlmBlockTape *b = &blocks[l];

		if (l > 0)
			*b = blocks[0];
		PLM_TRY(take(arena, T, C, &b->x, err));
		if (l > 0 && !s->full)
			continue;
		PLM_TRY(take(arena, T, 3 * C, &b->qkv, err));
		PLM_TRY(take(arena, T, C, &b->mix, err));
		PLM_TRY(take(arena, T, C, &b->attn_sum, err));
		PLM_TRY(take(arena, T, 2, &b->attn_save, err));
		PLM_TRY(take(arena, T, c->ff, &b->up, err));
		PLM_TRY(take(arena, T, C, &b->ff_sum, err));
		PLM_TRY(take(arena, T, 2, &b->ff_save, err));
	}
	s->tape.blocks = blocks;
	return take(arena, T, C, &s->tape.last, err);
}

static PlmStatus
carve(PlmExplainer *e, PlmError *err)
{
	const PlmConfig *c = &e->model->config;
	PlmSteps   *s = &e->steps;
	PlmArena   *arena = &s->arena;
	int64_t		T = s->most_tokens;
	int64_t		C = c->width;

	s->offsets = plm_arena_array(arena, PLM_EXPLAIN_MOST_STEPS + 1, sizeof(int64_t));
	s->value = plm_arena_array(arena, PLM_EXPLAIN_MOST_STEPS, sizeof(double));
	if (s->offsets == NULL || s->value == NULL)
		return plm_arena_refused(arena, PLM_EXPLAIN_MOST_STEPS * sizeof(double), err);
	PLM_TRY(take(arena, T, 1, &s->gates, err));
	PLM_TRY(take(arena, T, 1, &s->dgates, err));
	PLM_TRY(take(arena, T, C, &s->sum, err));
	PLM_TRY(take(arena, T, 2, &s->sum_save, err));
	PLM_TRY(carve_tape(c, s, err));
	PLM_TRY(take(arena, T, C, &s->back.dx, err));
	PLM_TRY(take(arena, T, C, &s->back.dff_sum, err));
	PLM_TRY(take(arena, T, C, &s->back.dattn_sum, err));
	PLM_TRY(take(arena, T, c->ff, &s->back.dup, err));
	PLM_TRY(take(arena, T, C, &s->back.mid, err));
	PLM_TRY(take(arena, T, 3 * C, &s->back.dqkv, err));
	PLM_TRY(take(arena, T, 1, &s->back.dlog, err));
	s->back.norms = e->norms;
	return plm_workspace_carve_taped(e->model, T, s->longest, plm_block_backward_scratch(e->model, &e->back[0], s->longest, true), arena,
									 &s->ws, err);
}

PlmStatus
plm_steps_fit(PlmExplainer *e, int64_t most, int64_t tokens, bool gated, PlmError *err)
{
	PlmSteps   *s = &e->steps;
	PlmSteps	wanted = {.most_tokens = 0};
	PlmStatus	status;

	plm_arena_beside(&wanted.arena, &e->arena);
	wanted.arena.limit -= wanted.arena.limit / 4;
	plan(&e->model->config, most, tokens, &wanted);
	if (s->most_tokens < wanted.most_tokens || s->longest < tokens || s->full != wanted.full)
	{
		/* Growing: by what the largest path so far needed in each respect. */
		if (s->full == wanted.full && wanted.longest < s->longest)
			wanted.longest = s->longest;
		plm_arena_free(&s->arena);
		*s = wanted;
		status = carve(e, err);
		if (status != PLM_OK)
		{
			plm_arena_free(&s->arena);
			*s = (PlmSteps) {.most_tokens = 0};
			plm_arena_beside(&s->arena, &e->arena);
			return status;
		}
	}
	s->tokens = tokens;
	s->gated = gated;
	s->room = s->most_tokens / tokens < most ? s->most_tokens / tokens : most;
	return PLM_OK;
}

static PlmStatus
forward(PlmExplainer *e, PlmWorker *worker, PlmError *err)
{
	const PlmModel *m = e->model;
	PlmSteps   *s = &e->steps;
	int32_t		L = m->config.layers;

	plm_layer_norm(s->batch.tokens, m->config.width, s->sum, NULL, m->embd_norm.g, m->embd_norm.b, m->config.norm_eps,
				   s->tape.blocks[0].x, s->sum_save);
	for (int32_t l = 0; l < L; l++)
		PLM_TRY(plm_block_forward_taped(m, l, &s->batch, &s->tape, l + 1 < L ? s->tape.blocks[l + 1].x : s->tape.last, &s->ws,
										worker, err));
	return PLM_OK;
}

static PlmStatus
backward(PlmExplainer *e, PlmWorker *worker, PlmError *err)
{
	const PlmModel *m = e->model;
	PlmSteps   *s = &e->steps;
	int64_t		C = m->config.width;

	for (int32_t l = m->config.layers - 1; l >= 0; l--)
	{
		/* Without a tape of its own the block is computed once more; its result goes where nobody reads. */
		if (!s->full && l + 1 < m->config.layers)
			PLM_TRY(plm_block_forward_taped(m, l, &s->batch, &s->tape, s->back.mid, &s->ws, worker, err));
		PLM_TRY(plm_block_backward(m, l, &e->back[l], &s->batch, &s->tape, &s->back, true, &s->ws, worker, err));
	}
	plm_layer_norm_backward(s->batch.tokens, C, s->sum, s->sum_save, m->embd_norm.g, s->back.dx, s->back.dx, e->norms, e->norms + C);
	return PLM_OK;
}

PlmStatus
plm_steps_run(PlmExplainer *e, const PlmExplainTask *task, PlmArena *arena, PlmWorker *worker, PlmError *err)
{
	PlmSteps   *s = &e->steps;
	PlmMark		mark = plm_arena_mark(arena);

	for (int64_t i = 0; i <= s->n; i++)
		s->offsets[i] = i * s->tokens;
	s->batch = (PlmBatch) {.texts = s->n, .tokens = s->n * s->tokens, .longest = s->tokens, .offsets = s->offsets,
	.gates = s->gated ? s->gates : NULL};
	memset(e->norms, 0, 4 * (size_t) e->model->config.width * sizeof(float));
	memset(s->back.dlog, 0, (size_t) s->batch.tokens * sizeof(float));
	PLM_TRY(forward(e, worker, err));
	PLM_TRY(plm_steps_head(e, task, arena, worker, err));
	PLM_TRY(backward(e, worker, err));
	for (int64_t t = 0; s->gated && t < s->batch.tokens; t++)
		s->dgates[t] += s->back.dlog[t] / s->gates[t];
	plm_arena_rewind(arena, mark);
	return PLM_OK;
}
