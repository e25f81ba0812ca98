/*
 * block.c -- the transformer block: post-norm encoder, as in Devlin et al., 2019.
 *
 *     x = norm(x + out(attention(qkv(x))))
 *     x = norm(x + down(act(up(x))))
 *
 * It knows features of the configuration only, never an architecture.  All that follows attention
 * works on rows, and is done for one block of rows after the other: the feed-forward's (rows,F)
 * stays small and in cache.
 *
 * Training runs the same code: a tape says where to leave what the backward needs (train/backward.c).
 */
#include "internal.h"

#include <string.h>

/* A multiple of every kernel's row tile; results do not depend on it. */
#define ROW_BLOCK PLM_BLOCK_ROWS

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
plm_workspace_carve_taped(const PlmModel *model, int64_t tokens, int64_t longest, size_t extra, PlmArena *arena,
						  PlmWorkspace *ws, PlmError *err)
{
	const PlmConfig *c = &model->config;
	const PlmBlock *blk = &model->blocks[0];
	PlmBatch	shape = {.texts = 1, .tokens = longest, .longest = longest};
	size_t		scratch = plm_nn_attention_scratch(&shape, c->width / c->heads);

	/* All layers have the same shapes. */
	scratch = larger(scratch, plm_nn_linear_scratch(&blk->qkv));
	scratch = larger(scratch, plm_nn_linear_scratch(&blk->attn_out));
	scratch = larger(scratch, plm_nn_linear_scratch(&blk->ff_up));
	scratch = larger(scratch, plm_nn_linear_scratch(&blk->ff_down));

	memset(ws, 0, sizeof(*ws));
	PLM_TRY(take(arena, tokens < ROW_BLOCK ? tokens : ROW_BLOCK, c->ff, &ws->ff, err));
	ws->scratch = plm_arena_alloc(arena, scratch);
	if (ws->scratch == NULL)
		return plm_arena_refused(arena, scratch, err);
	ws->head = plm_arena_alloc(arena, extra);
	if (ws->head == NULL)
		return plm_arena_refused(arena, extra, err);
	return PLM_OK;
}

PlmStatus
plm_workspace_carve(const PlmModel *model, int64_t tokens, int64_t longest, size_t head_bytes,
					PlmArena *arena, PlmWorkspace *ws, PlmError *err)
{
	const PlmConfig *c = &model->config;

	PLM_TRY(plm_workspace_carve_taped(model, tokens, longest, head_bytes, arena, ws, err));
	PLM_TRY(take(arena, tokens, c->width, &ws->x, err));
	PLM_TRY(take(arena, tokens, 3 * (int64_t) c->width, &ws->qkv, err));
	return take(arena, tokens, c->width, &ws->mix, err);
}

PlmWorkspace *
plm_workspace_borrow(PlmWorkspace *spaces, int n)
{
	for (int i = 0;; i = (i + 1) % n)
		if (__atomic_exchange_n(&spaces[i].busy, 1, __ATOMIC_ACQUIRE) == 0)
			return &spaces[i];
}

void
plm_workspace_give_back(PlmWorkspace *ws)
{
	__atomic_store_n(&ws->busy, 0, __ATOMIC_RELEASE);
}

/* One block's forward over a batch. */
typedef struct Pass
{
	const PlmConfig *config;
	const PlmBlock *blk;
	const PlmTape *tape;		/* NULL: only inferring */
	const PlmBlockTape *keep;	/* of this block, or NULL */
	int32_t		layer;
	PlmWorkspace *ws;
	PlmWorker  *worker;
} Pass;

/* y = residual + linear(x), in training with some of linear's results dropped; residual may be y only without a tape. */
static PlmStatus
sub_layer(const Pass *p, const PlmLinear *l, uint64_t place, int64_t first, int64_t rows, const float *x, int64_t ldx,
		  const float *residual, float *y, PlmError *err)
{
	int64_t		C = p->config->width;
	bool		drops = p->tape != NULL && p->tape->dropout > 0;

	PLM_TRY(plm_nn_linear(l, rows, x, ldx, drops ? NULL : residual, y, C, PLM_ACT_NONE, p->ws->scratch, p->worker, err));
	if (!drops)
		return PLM_OK;
	plm_dropout(y, rows * C, p->tape->dropout, p->tape->seed + place, (p->tape->first + (uint64_t) first) * (uint64_t) C);
	plm_add_to(y, residual, rows * C);
	return PLM_OK;
}

/* ws->ff (rows,F) = act(up(x)); with a tape what the activation is given is kept. */
static PlmStatus
feed_up(const Pass *p, int64_t first, int64_t rows, const float *x, PlmError *err)
{
	int64_t		F = p->config->ff;
	PlmActivation act = (PlmActivation) p->config->activation;
	float	   *up = p->keep != NULL ? p->keep->up + first * F : p->ws->ff;

	PLM_TRY(plm_nn_linear(&p->blk->ff_up, rows, x, p->config->width, NULL, up, F, p->keep != NULL ? PLM_ACT_NONE : act,
						  p->ws->scratch, p->worker, err));
	if (p->keep == NULL)
		return PLM_OK;
	memcpy(p->ws->ff, up, (size_t) (rows * F) * sizeof(float));
	for (int64_t r = 0; r < rows; r++)
		plm_activate(act, p->ws->ff + r * F, F);
	return PLM_OK;
}

/* What follows attention, for `rows` rows from `first` on: x, mix, y (rows,C); y may be x. */
static PlmStatus
block_rows(const Pass *p, int64_t first, int64_t rows, const float *x, const float *mix, float *y, PlmError *err)
{
	const PlmBlock *blk = p->blk;
	const PlmBlockTape *keep = p->keep;
	int64_t		C = p->config->width;
	float		eps = p->config->norm_eps;
	float	   *sum = keep != NULL ? keep->attn_sum + first * C : y;

	PLM_TRY(sub_layer(p, &blk->attn_out, PLM_DROP_ATTN(p->layer), first, rows, mix, C, x, sum, err));
	plm_layer_norm(rows, C, sum, NULL, blk->attn_norm.g, blk->attn_norm.b, eps, y,
				   keep != NULL ? keep->attn_save + 2 * first : NULL);
	PLM_TRY(feed_up(p, first, rows, y, err));
	sum = keep != NULL ? keep->ff_sum + first * C : y;
	PLM_TRY(sub_layer(p, &blk->ff_down, PLM_DROP_FF(p->layer), first, rows, p->ws->ff, p->config->ff, y, sum, err));
	plm_layer_norm(rows, C, sum, NULL, blk->ff_norm.g, blk->ff_norm.b, eps, y,
				   keep != NULL ? keep->ff_save + 2 * first : NULL);
	return PLM_OK;
}

/* x: (T,C) in, y: (T,C) out, which may be x. */
static PlmStatus
block_forward(const Pass *p, const PlmBatch *batch, const float *x, float *y, PlmError *err)
{
	int64_t		C = p->config->width;
	int64_t		H = p->config->heads;
	PlmWorkspace *ws = p->ws;
	float	   *qkv = p->keep != NULL ? p->keep->qkv : ws->qkv;
	float	   *mix = p->keep != NULL ? p->keep->mix : ws->mix;

	PLM_TRY(plm_nn_linear(&p->blk->qkv, batch->tokens, x, C, NULL, qkv, 3 * C, PLM_ACT_NONE, ws->scratch, p->worker, err));
	if (batch->gates != NULL)
		PLM_TRY(plm_nn_attention_gated(batch, H, C / H, qkv, qkv + C, qkv + 2 * C, 3 * C, mix, C, ws->head, p->worker, err));
	else
		PLM_TRY(plm_nn_attention(batch, H, C / H, qkv, qkv + C, qkv + 2 * C, 3 * C, false, mix, C, ws->scratch, p->worker, err));
	for (int64_t t = 0; t < batch->tokens; t += ROW_BLOCK)
	{
		int64_t		rows = batch->tokens - t < ROW_BLOCK ? batch->tokens - t : ROW_BLOCK;

		PLM_TRY(block_rows(p, t, rows, x + t * C, mix + t * C, y + t * C, err));
	}
	return PLM_OK;
}

PlmStatus
plm_encoder_embed(const PlmModel *model, const PlmBatch *batch, float *x, PlmWorker *worker, PlmError *err)
{
	const PlmConfig *c = &model->config;

	return plm_nn_embed(batch, c->width, model->tok_embd, c->vocab, model->pos_embd, c->positions,
						model->type_embd, c->types, &model->embd_norm, c->norm_eps, x, worker, err);
}

PlmStatus
plm_block_project(const PlmModel *model, int32_t l, int64_t first, int64_t rows, PlmWorkspace *ws, PlmWorker *worker, PlmError *err)
{
	int64_t		C = model->config.width;

	return plm_nn_linear(&model->blocks[l].qkv, rows, ws->x + first * C, C, NULL, ws->qkv + first * 3 * C, 3 * C, PLM_ACT_NONE,
						 ws->scratch, worker, err);
}

PlmStatus
plm_block_attend(const PlmModel *model, const PlmBatch *batch, int64_t head, PlmWorkspace *ws, PlmWorker *worker, PlmError *err)
{
	int64_t		C = model->config.width;
	int64_t		D = C / model->config.heads;
	const float *q = ws->qkv + head * D;

	return plm_nn_attention(batch, 1, D, q, q + C, q + 2 * C, 3 * C, false, ws->mix + head * D, C, ws->scratch, worker, err);
}

PlmStatus
plm_block_finish(const PlmModel *model, int32_t l, int64_t first, int64_t rows, PlmWorkspace *ws, PlmWorker *worker, PlmError *err)
{
	Pass		pass = {&model->config, &model->blocks[l], NULL, NULL, l, ws, worker};
	int64_t		at = first * model->config.width;

	return block_rows(&pass, first, rows, ws->x + at, ws->mix + at, ws->x + at, err);
}

PlmStatus
plm_encoder_forward(const PlmModel *model, const PlmBatch *batch, PlmWorkspace *ws, float *trace,
					PlmWorker *worker, PlmError *err)
{
	const PlmConfig *c = &model->config;
	int64_t		state = batch->tokens * c->width;

	PLM_TRY(plm_encoder_embed(model, batch, ws->x, worker, err));
	for (int32_t l = 0; l <= c->layers; l++)
	{
		Pass		pass = {c, &model->blocks[l], NULL, NULL, l, ws, worker};

		if (trace != NULL)
			memcpy(trace + l * state, ws->x, (size_t) state * sizeof(float));
		if (l < c->layers)
			PLM_TRY(block_forward(&pass, batch, ws->x, ws->x, err));
	}
	return PLM_OK;
}

PlmStatus
plm_block_forward_taped(const PlmModel *model, int32_t l, const PlmBatch *batch, const PlmTape *tape, float *out,
						PlmWorkspace *ws, PlmWorker *worker, PlmError *err)
{
	Pass		pass = {&model->config, &model->blocks[l], tape, &tape->blocks[l], l, ws, worker};

	return block_forward(&pass, batch, tape->blocks[l].x, out, err);
}

PlmStatus
plm_encoder_forward_taped(const PlmModel *model, const PlmBatch *batch, const PlmTape *tape, PlmWorkspace *ws,
						  PlmWorker *worker, PlmError *err)
{
	int32_t		L = model->config.layers;
	int64_t		C = model->config.width;
	float	   *first = L > 0 ? tape->blocks[0].x : tape->last;

	PLM_TRY(plm_encoder_embed(model, batch, first, worker, err));
	if (tape->dropout > 0)
		plm_dropout(first, batch->tokens * C, tape->dropout, tape->seed + PLM_DROP_EMBD,
					tape->first * (uint64_t) C);
	for (int32_t l = 0; l < L; l++)
		PLM_TRY(plm_block_forward_taped(model, l, batch, tape, l + 1 < L ? tape->blocks[l + 1].x : tape->last, ws, worker, err));
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
	return (PlmBatch) {1, encoding->n, encoding->n, offsets, encoding->ids, encoding->types, NULL};
}
