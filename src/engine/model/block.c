/*
 * block.c -- the transformer block: post-norm encoder, as in Devlin et al., 2019.
 *
 *     x = norm(x + out(attention(qkv(x))))
 *     x = norm(x + down(act(up(x))))
 *
 * It knows features of the configuration only, never an architecture.  All that follows attention
 * works on rows, and is done for one block of rows after the other: the feed-forward's (rows,F)
 * stays small and in cache.
 */
#include "internal.h"

#include <string.h>

/* A multiple of every kernel's row tile; results do not depend on it. */
#define ROW_BLOCK 144

static size_t
larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

static PlmStatus
take(PlmArena *arena, int64_t rows, int64_t width, float **out, PlmError *err)
{
	size_t		bytes = (size_t) rows * (size_t) width * sizeof(float);

	*out = plm_arena_alloc(arena, bytes);
	return *out != NULL ? PLM_OK : plm_arena_refused(arena, bytes, err);
}

/* Sizes cannot wrap: widths and positions were bounded when the configuration was validated. */
PlmStatus
plm_workspace_carve(const PlmModel *model, int64_t tokens, int64_t longest, size_t head_bytes,
					PlmArena *arena, PlmWorkspace *ws, PlmError *err)
{
	const PlmConfig *c = &model->config;
	const PlmBlock *blk = &model->blocks[0];
	PlmBatch	shape = {.texts = 1, .tokens = tokens, .longest = longest};
	size_t		scratch = plm_nn_attention_scratch(&shape, c->width / c->heads);

	/* All layers have the same shapes. */
	scratch = larger(scratch, plm_nn_linear_scratch(&blk->qkv));
	scratch = larger(scratch, plm_nn_linear_scratch(&blk->attn_out));
	scratch = larger(scratch, plm_nn_linear_scratch(&blk->ff_up));
	scratch = larger(scratch, plm_nn_linear_scratch(&blk->ff_down));

	memset(ws, 0, sizeof(*ws));
	PLM_TRY(take(arena, tokens, c->width, &ws->x, err));
	PLM_TRY(take(arena, tokens, 3 * (int64_t) c->width, &ws->qkv, err));
	PLM_TRY(take(arena, tokens, c->width, &ws->mix, err));
	PLM_TRY(take(arena, tokens < ROW_BLOCK ? tokens : ROW_BLOCK, c->ff, &ws->ff, err));
	ws->scratch = plm_arena_alloc(arena, scratch);
	if (ws->scratch == NULL)
		return plm_arena_refused(arena, scratch, err);
	ws->head = plm_arena_alloc(arena, head_bytes);
	if (ws->head == NULL)
		return plm_arena_refused(arena, head_bytes, err);
	return PLM_OK;
}

/* What follows attention, for `rows` rows: x (rows,C) in and out, mix (rows,C). */
static PlmStatus
block_rows(const PlmConfig *c, const PlmBlock *blk, int64_t rows, float *x, const float *mix, PlmWorkspace *ws,
		   PlmWorker *worker, PlmError *err)
{
	int64_t		C = c->width;

	PLM_TRY(plm_nn_linear(&blk->attn_out, rows, mix, C, x, x, C, PLM_ACT_NONE, ws->scratch, worker, err));
	plm_layer_norm(rows, C, x, NULL, blk->attn_norm.g, blk->attn_norm.b, c->norm_eps, x, NULL);
	PLM_TRY(plm_nn_linear(&blk->ff_up, rows, x, C, NULL, ws->ff, c->ff, (PlmActivation) c->activation,
						  ws->scratch, worker, err));
	PLM_TRY(plm_nn_linear(&blk->ff_down, rows, ws->ff, c->ff, x, x, C, PLM_ACT_NONE, ws->scratch, worker, err));
	plm_layer_norm(rows, C, x, NULL, blk->ff_norm.g, blk->ff_norm.b, c->norm_eps, x, NULL);
	return PLM_OK;
}

/* ws->x: (T,C) in and out. */
static PlmStatus
block_forward(const PlmConfig *c, const PlmBlock *blk, const PlmBatch *batch, PlmWorkspace *ws,
			  PlmWorker *worker, PlmError *err)
{
	int64_t		C = c->width;

	PLM_TRY(plm_nn_linear(&blk->qkv, batch->tokens, ws->x, C, NULL, ws->qkv, 3 * C, PLM_ACT_NONE,
						  ws->scratch, worker, err));
	PLM_TRY(plm_nn_attention(batch, c->heads, C / c->heads, ws->qkv, ws->qkv + C, ws->qkv + 2 * C, 3 * C,
							 false, ws->mix, C, ws->scratch, worker, err));
	for (int64_t t = 0; t < batch->tokens; t += ROW_BLOCK)
	{
		int64_t		rows = batch->tokens - t < ROW_BLOCK ? batch->tokens - t : ROW_BLOCK;

		PLM_TRY(block_rows(c, blk, rows, ws->x + t * C, ws->mix + t * C, ws, worker, err));
	}
	return PLM_OK;
}

PlmStatus
plm_encoder_forward(const PlmModel *model, const PlmBatch *batch, PlmWorkspace *ws, float *trace,
					PlmWorker *worker, PlmError *err)
{
	const PlmConfig *c = &model->config;
	int64_t		state = batch->tokens * c->width;

	PLM_TRY(plm_nn_embed(batch, c->width, model->tok_embd, c->vocab, model->pos_embd, c->positions,
						 model->type_embd, c->types, &model->embd_norm, c->norm_eps, ws->x, worker, err));
	for (int32_t l = 0; l <= c->layers; l++)
	{
		if (trace != NULL)
			memcpy(trace + l * state, ws->x, (size_t) state * sizeof(float));
		if (l < c->layers)
			PLM_TRY(block_forward(c, &model->blocks[l], batch, ws, worker, err));
	}
	return PLM_OK;
}

void
plm_gather_first(const PlmBatch *batch, int64_t width, const float *x, float *to)
{
	for (int64_t b = 0; b < batch->texts; b++)
		memcpy(to + b * width, x + batch->offsets[b] * width, (size_t) width * sizeof(float));
}

PlmBatch
plm_batch_of_one(const PlmEncoding *encoding, int64_t *offsets)
{
	offsets[0] = 0;
	offsets[1] = encoding->n;
	return (PlmBatch) {1, encoding->n, encoding->n, offsets, encoding->ids, encoding->types};
}
