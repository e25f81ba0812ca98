/*
 * backward.c -- from the gradient at the last hidden states to the gradients of the encoder's weights.
 *
 * Layer by layer from the top: first all chunks in parallel carry the gradient from the block's output to its input and
 * leave, for each linear layer, what it was given and the gradient at what it gave; then the weights' gradients are
 * products over all rows of the micro-batch at once.  So every sum has one order, whatever the number of threads, and
 * no thread needs gradients of its own.
 *
 *     x -qkv-> attention -out-> + x = attn_sum -norm-> mid -up-> act -down-> + mid = ff_sum -norm-> y
 */
#include "internal.h"

#include <stdio.h>
#include <string.h>

typedef struct Backward
{
	PlmTrainer *t;
	PlmMicro   *m;
	int32_t		layer;
	bool		input;			/* is the gradient at the block's input needed? */
	PlmBlockTape *blocks;		/* (chunks,L) */
	/* of the embeddings */
	int64_t		column_step;
	float	   *dword, *dposition, *dtype;
} Backward;

/* A chunk's rows of everything. */
typedef struct Rows
{
	int64_t		n;
	const PlmBatch *batch;
	PlmTape		tape;
	PlmBlockTape *keep;			/* of the layer at hand */
	float	   *dx, *dff_sum, *dattn_sum, *dup, *mid, *dqkv;
	float	   *norms;			/* (4,C): of ff_norm g, b, of attn_norm g, b */
} Rows;

static Rows
rows_of(const Backward *b, int64_t chunk)
{
	const PlmSpace *s = &b->t->space;
	const PlmChunk *c = &b->m->chunk[chunk];
	int64_t		C = b->t->model.config.width;
	PlmBlockTape *blocks = b->blocks + chunk * plm_tapes(b->t);
	Rows		r = {.n = c->batch.tokens, .batch = &c->batch};

	r.tape = plm_chunk_tape(b->t, b->m, chunk, true, blocks);
	r.keep = &blocks[b->layer];
	r.dx = s->dx + c->first * C;
	r.dff_sum = s->dff_sum + c->first * C;
	r.dattn_sum = s->dattn_sum + c->first * C;
	r.dup = s->dup + c->first * b->t->model.config.ff;
	r.mid = s->mid + c->first * C;
	r.dqkv = s->dqkv + c->first * 3 * C;
	r.norms = s->norms + chunk * 4 * C;
	memset(r.norms, 0, (size_t) (4 * C) * sizeof(float));
	return r;
}

/* The gradient at a sub-layer's result, from the one at the sum: the dropped ones have none. */
static void
drop(const Rows *r, int64_t C, uint64_t place, float *d)
{
	if (r->tape.dropout > 0)
		plm_dropout(d, r->n * C, r->tape.dropout, r->tape.seed + place, r->tape.first * (uint64_t) C);
}

/* dx: from y to mid. */
static PlmStatus
feed_forward_backward(const Backward *b, const Rows *r, PlmWorkspace *ws, PlmWorker *worker, PlmError *err)
{
	const PlmConfig *c = &b->t->model.config;
	const PlmBlock *blk = &b->t->model.blocks[b->layer];
	const PlmBackBlock *back = &b->t->back[b->layer];
	PlmActivation act = (PlmActivation) c->activation;
	int64_t		C = c->width;
	int64_t		F = c->ff;

	plm_layer_norm_backward(r->n, C, r->keep->ff_sum, r->keep->ff_save, blk->ff_norm.g, r->dx, r->dx, r->norms, r->norms + C);
	memcpy(r->dff_sum, r->dx, (size_t) (r->n * C) * sizeof(float));
	drop(r, C, PLM_DROP_FF(b->layer), r->dff_sum);
	PLM_TRY(plm_nn_linear(&back->ff_down, r->n, r->dff_sum, C, NULL, r->dup, F, PLM_ACT_NONE, ws->head, worker, err));
	for (int64_t i = 0; i < r->n; i++)
	{
		plm_activate_backward(act, r->keep->up + i * F, r->dup + i * F, F);
		plm_activate(act, r->keep->up + i * F, F);	/* from here on what ff_down was given */
	}
	return plm_nn_linear(&back->ff_up, r->n, r->dup, F, r->dx, r->dx, C, PLM_ACT_NONE, ws->head, worker, err);
}

/* dx: from mid to the block's input. */
static PlmStatus
attention_backward(const Backward *b, const Rows *r, PlmWorkspace *ws, PlmWorker *worker, PlmError *err)
{
	const PlmConfig *c = &b->t->model.config;
	const PlmBlock *blk = &b->t->model.blocks[b->layer];
	const PlmBackBlock *back = &b->t->back[b->layer];
	int64_t		C = c->width;
	float	   *qkv = r->keep->qkv;

	/* What ff_up was given: its product needs it. */
	plm_layer_norm(r->n, C, r->keep->attn_sum, NULL, blk->attn_norm.g, blk->attn_norm.b, c->norm_eps, r->mid, NULL);
	plm_layer_norm_backward(r->n, C, r->keep->attn_sum, r->keep->attn_save, blk->attn_norm.g, r->dx, r->dx,
							r->norms + 2 * C, r->norms + 3 * C);
	memcpy(r->dattn_sum, r->dx, (size_t) (r->n * C) * sizeof(float));
	drop(r, C, PLM_DROP_ATTN(b->layer), r->dattn_sum);
	/* The gradient at what attention gathered takes the place of the sum, which is not needed any more. */
	PLM_TRY(plm_nn_linear(&back->attn_out, r->n, r->dattn_sum, C, NULL, r->keep->attn_sum, C, PLM_ACT_NONE, ws->head, worker, err));
	PLM_TRY(plm_nn_attention_backward(r->batch, c->heads, C / c->heads, qkv, qkv + C, qkv + 2 * C, 3 * C, false,
									  r->keep->attn_sum, C, r->dqkv, r->dqkv + C, r->dqkv + 2 * C, 3 * C, ws->head, worker, err));
	if (!b->input)
		return PLM_OK;
	return plm_nn_linear(&back->qkv, r->n, r->dqkv, 3 * C, r->dx, r->dx, C, PLM_ACT_NONE, ws->head, worker, err);
}

static PlmStatus
block_chunk(void *arg, int64_t chunk, PlmWorker *worker, PlmError *err)
{
	Backward   *b = arg;
	Rows		r = rows_of(b, chunk);
	PlmWorkspace *ws = plm_space_borrow(b->t);
	PlmStatus	status = PLM_OK;

	/* Without a tape of its own the layer is computed once more; its result goes where nobody reads. */
	if (!b->t->space.full)
		status = plm_block_forward_taped(&b->t->model, b->layer, r.batch, &r.tape, r.mid, ws, worker, err);
	if (status == PLM_OK)
		status = feed_forward_backward(b, &r, ws, worker, err);
	if (status == PLM_OK)
		status = attention_backward(b, &r, ws, worker, err);
	plm_space_return(ws);
	return status;
}

/* Add the chunks' gradients of a norm, in their order.  part: 0 ff_norm, 2 attn_norm. */
static void
add_norms(const Backward *b, int part, const char *stem)
{
	PlmTrainer *t = b->t;
	int64_t		C = t->model.config.width;
	static const char *const suffix[] = {"g", "b"};

	for (int i = 0; i < 2; i++)
	{
		char		name[80];
		float	   *to;

		snprintf(name, sizeof(name), "%s.%s", stem, suffix[i]);
		to = plm_gradient(t, plm_section_of(&t->plan, name));
		for (int64_t c = 0; to != NULL && c < b->m->chunks; c++)
			plm_add_to(to, t->space.norms + (c * 4 + part + i) * C, C);
	}
}

static PlmProduct
block_product(const Backward *b, const char *stem, const float *dy, int64_t n, const float *x, int64_t k)
{
	char		w[80];
	char		bias[80];

	snprintf(w, sizeof(w), "blk.%" PRId32 ".%s.w", b->layer, stem);
	snprintf(bias, sizeof(bias), "blk.%" PRId32 ".%s.b", b->layer, stem);
	return (PlmProduct) {
		.rows = b->m->batch.tokens, .n = n, .k = k, .dy = dy, .lddy = n, .x = x, .ldx = k,
		.dw = plm_gradient(b->t, plm_section_of(&b->t->plan, w)), .db = plm_gradient(b->t, plm_section_of(&b->t->plan, bias))
	};
}

/* Gradients of the block's weights, from what the chunks have left. */
static PlmStatus
block_weights(const Backward *b, PlmError *err)
{
	const PlmSpace *s = &b->t->space;
	const PlmBlockTape *keep = &s->blocks[b->layer];
	int64_t		C = b->t->model.config.width;
	int64_t		F = b->t->model.config.ff;
	PlmProduct	products[] = {
		block_product(b, "ff_down", s->dff_sum, C, keep->up, F),
		block_product(b, "ff_up", s->dup, F, s->mid, C),
		block_product(b, "attn_qkv", s->dqkv, 3 * C, keep->x, C),
		block_product(b, "attn_out", s->dattn_sum, C, keep->mix, C)
	};
	char		stem[64];

	snprintf(stem, sizeof(stem), "blk.%" PRId32 ".ff_norm", b->layer);
	add_norms(b, 0, stem);
	snprintf(stem, sizeof(stem), "blk.%" PRId32 ".attn_norm", b->layer);
	add_norms(b, 2, stem);
	return plm_products(b->t, products, PLM_COUNT(products), err);
}

/* ---- embeddings ---- */

/* The sum that the first norm was given, made again from the tables. */
static void
embedding_sum(const PlmModel *model, const PlmBatch *batch, float *y)
{
	int64_t		C = model->config.width;

	for (int64_t b = 0; b < batch->texts; b++)
		for (int64_t t = batch->offsets[b]; t < batch->offsets[b + 1]; t++)
		{
			memcpy(y + t * C, model->tok_embd + batch->ids[t] * C, (size_t) C * sizeof(float));
			if (model->type_embd != NULL)
				plm_add_to(y + t * C, model->type_embd + batch->types[t] * C, C);
			plm_add_to(y + t * C, model->pos_embd + (t - batch->offsets[b]) * C, C);
		}
}

/* dx: from the first hidden state to the sum of the embeddings. */
static PlmStatus
embed_chunk(void *arg, int64_t chunk, PlmWorker *worker, PlmError *err)
{
	Backward   *b = arg;
	const PlmModel *model = &b->t->model;
	Rows		r = rows_of(b, chunk);
	int64_t		C = model->config.width;

	if (plm_stopped(worker))
		return plm_cancelled(err);
	drop(&r, C, PLM_DROP_EMBD, r.dx);
	embedding_sum(model, r.batch, r.mid);
	plm_layer_norm(r.n, C, r.mid, NULL, model->embd_norm.g, model->embd_norm.b, model->config.norm_eps, r.dff_sum,
				   r.keep->ff_save);
	plm_layer_norm_backward(r.n, C, r.mid, r.keep->ff_save, model->embd_norm.g, r.dx, r.dx, r.norms, r.norms + C);
	return PLM_OK;
}

static PlmStatus
embed_columns(void *arg, int64_t block, PlmWorker *worker, PlmError *err)
{
	Backward   *b = arg;
	int64_t		C = b->t->model.config.width;
	int64_t		first = block * b->column_step;
	int64_t		end = first + b->column_step < C ? first + b->column_step : C;

	if (plm_stopped(worker))
		return plm_cancelled(err);
	plm_nn_embed_backward(&b->m->batch, C, first, end, b->t->space.dx, b->dword, b->dposition, b->dtype);
	return PLM_OK;
}

static PlmStatus
embeddings(Backward *b, PlmError *err)
{
	PlmTrainer *t = b->t;
	int64_t		C = t->model.config.width;
	char		norm[64] = "embd_norm";

	b->layer = 0;
	b->column_step = 64;
	b->dword = plm_gradient(t, plm_section_of(&t->plan, "tok_embd"));
	b->dposition = plm_gradient(t, plm_section_of(&t->plan, "pos_embd"));
	b->dtype = plm_gradient(t, plm_section_of(&t->plan, "type_embd"));
	PLM_TRY(plm_parallel(t->threads, b->m->chunks, embed_chunk, b, t->options.hook, err));
	if (t->options.word_vectors)
		snprintf(norm, sizeof(norm), "blk.%" PRId32 ".ff_norm", t->base_config.layers - 1);
	add_norms(b, 0, norm);
	return plm_parallel(t->threads, (C + b->column_step - 1) / b->column_step, embed_columns, b, t->options.hook, err);
}

static PlmStatus
layers(Backward *b, PlmError *err)
{
	PlmTrainer *t = b->t;

	for (int32_t l = t->model.config.layers - 1; l >= t->first_layer; l--)
	{
		b->layer = l;
		b->input = l > t->first_layer || t->embeddings_train;
		PLM_TRY(plm_parallel(t->threads, b->m->chunks, block_chunk, b, t->options.hook, err));
		PLM_TRY(block_weights(b, err));
	}
	return t->embeddings_train ? embeddings(b, err) : PLM_OK;
}

PlmStatus
plm_micro_backward(PlmTrainer *t, PlmMicro *m, PlmError *err)
{
	PlmMark		mark = plm_arena_mark(&t->step);
	Backward	b = {.t = t, .m = m};
	PlmStatus	status;

	PLM_TRY(plm_take(&t->step, m->chunks * plm_tapes(t), sizeof(PlmBlockTape), &b.blocks, err));
	status = layers(&b, err);
	plm_arena_rewind(&t->step, mark);
	return status;
}
