/*
 * backward.c -- from the gradient at the last hidden states to the gradients of the encoder's weights.
 *
 * Layer by layer from the top: first all chunks in parallel carry the gradient from the block's output to its input and
 * leave, for each linear layer, what it was given and the gradient at what it gave; then the weights' gradients are
 * products over all rows of the micro-batch at once.  So every sum has one order, whatever the number of threads, and
 * no thread needs gradients of its own.  The way through one block is ../model/block_backward.c.
 */
#include "internal.h"

#include <stdio.h>
#include <string.h>

typedef struct Backward
{
	PlmTrainer *t;
	PlmMicro   *m;
	int32_t		layer;
	int32_t		rows;			/* which of the space's sets it uses: the layer's, or the last for the embeddings */
	bool		input;			/* is the gradient at the block's input needed? */
	PlmBlockTape *blocks;		/* (chunks,L) */
	/* of the embeddings */
	int64_t		column_step;
	float	   *dword, *dposition, *dtype;
} Backward;

/* A chunk's rows of everything. */
typedef struct Rows
{
	const PlmBatch *batch;
	PlmTape		tape;
	PlmBackRows back;
} Rows;

static Rows
rows_of(const Backward *b, int64_t chunk)
{
	const PlmSpace *s = &b->t->space;
	const PlmBackRows *all = &s->back[b->rows];
	const PlmChunk *c = &b->m->chunk[chunk];
	int64_t		C = b->t->model.config.width;
	Rows		r = {.batch = &c->batch};

	r.tape = plm_chunk_tape(b->t, b->m, chunk, true, b->blocks + chunk * plm_tapes(b->t));
	r.back.dx = all->dx + c->first * C;
	r.back.dff_sum = all->dff_sum + c->first * C;
	r.back.dattn_sum = all->dattn_sum + c->first * C;
	r.back.dup = all->dup + c->first * b->t->model.config.ff;
	r.back.mid = all->mid + c->first * C;
	r.back.dqkv = all->dqkv + c->first * 3 * C;
	r.back.norms = all->norms + chunk * 4 * C;
	memset(r.back.norms, 0, (size_t) (4 * C) * sizeof(float));
	return r;
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
		status = plm_block_forward_taped(&b->t->model, b->layer, r.batch, &r.tape, r.back.mid, ws, worker, err);
	if (status == PLM_OK)
		status = plm_block_backward(&b->t->model, b->layer, &b->t->back[b->layer], r.batch, &r.tape, &r.back, b->input, ws, worker, err);
	plm_space_return(ws);
	return status;
}

/* Add the chunks' gradients of a norm, in their order.  part: 0 ff_norm, 2 attn_norm. */
static void
add_norms(const Backward *b, int part, const char *stem)
{
	PlmTrainer *t = b->t;
	int64_t		C = t->model.config.width;
	float	   *norms = t->space.back[b->rows].norms;
	static const char *const suffix[] = {"g", "b"};

	for (int i = 0; i < 2; i++)
	{
		char		name[80];
		float	   *to;

		snprintf(name, sizeof(name), "%s.%s", stem, suffix[i]);
		to = plm_gradient(t, plm_section_of(&t->plan, name));
		if (to != NULL && t->waiting != NULL)
			plm_clip_rows(t, norms + (part + i) * C, 4 * C, to);
		else
			for (int64_t c = 0; to != NULL && c < b->m->chunks; c++)
				plm_add_to(to, norms + (c * 4 + part + i) * C, C);
	}
}

static PlmProduct
block_product(const Backward *b, const char *stem, float *dy, int64_t n, const float *x, int64_t k)
{
	char		w[80];
	char		bias[80];
	int64_t		section;

	snprintf(w, sizeof(w), "blk.%" PRId32 ".%s.w", b->layer, stem);
	snprintf(bias, sizeof(bias), "blk.%" PRId32 ".%s.b", b->layer, stem);
	section = plm_section_of(&b->t->plan, w);
	return (PlmProduct) {
		.rows = b->m->batch.tokens, .n = n, .k = k, .dy = dy, .lddy = n, .x = x, .ldx = k,
		.dw = plm_gradient(b->t, section), .db = plm_gradient(b->t, plm_section_of(&b->t->plan, bias)), .section = section, .of_tokens = true
	};
}

/* Gradients of the block's weights, from what the chunks have left. */
static PlmStatus
block_weights(const Backward *b, PlmError *err)
{
	const PlmSpace *s = &b->t->space;
	const PlmBlockTape *keep = &s->blocks[b->layer];
	const PlmBackRows *back = &s->back[b->rows];
	int64_t		C = b->t->model.config.width;
	int64_t		F = b->t->model.config.ff;
	PlmProduct	products[] = {
		block_product(b, "ff_down", back->dff_sum, C, keep->up, F),
		block_product(b, "ff_up", back->dup, F, back->mid, C),
		block_product(b, "attn_qkv", back->dqkv, 3 * C, keep->x, C),
		block_product(b, "attn_out", back->dattn_sum, C, keep->mix, C)
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
	const PlmBackRows *to = &r.back;
	float	   *save = r.tape.blocks[b->layer].ff_save;
	int64_t		C = model->config.width;
	int64_t		n = r.batch->tokens;

	if (plm_stopped(worker))
		return plm_cancelled(err);
	if (r.tape.dropout > 0)
		plm_dropout(to->dx, n * C, r.tape.dropout, r.tape.seed + PLM_DROP_EMBD, r.tape.first * (uint64_t) C);
	embedding_sum(model, r.batch, to->mid);
	plm_layer_norm(n, C, to->mid, NULL, model->embd_norm.g, model->embd_norm.b, model->config.norm_eps, to->dff_sum, save);
	plm_layer_norm_backward(n, C, to->mid, save, model->embd_norm.g, to->dx, to->dx, to->norms, to->norms + C);
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
	char		norm[64] = "embd_norm";

	b->layer = 0;
	b->rows = t->model.config.layers;
	PLM_TRY(plm_parallel(t->threads, b->m->chunks, embed_chunk, b, t->options.hook, err));
	if (t->options.word_vectors)
		snprintf(norm, sizeof(norm), "blk.%" PRId32 ".ff_norm", t->base_config.layers - 1);
	add_norms(b, 0, norm);
	return PLM_OK;
}

static PlmStatus
embedding_tables(Backward *b, PlmError *err)
{
	PlmTrainer *t = b->t;
	int64_t		C = t->model.config.width;

	b->column_step = 64;
	b->dword = plm_gradient(t, plm_section_of(&t->plan, "tok_embd"));
	b->dposition = plm_gradient(t, plm_section_of(&t->plan, "pos_embd"));
	b->dtype = plm_gradient(t, plm_section_of(&t->plan, "type_embd"));
	return plm_parallel(t->threads, (C + b->column_step - 1) / b->column_step, embed_columns, b, t->options.hook, err);
}

static PlmStatus
layers(Backward *b, PlmError *err)
{
	PlmTrainer *t = b->t;

	for (int32_t l = t->model.config.layers - 1; l >= t->first_layer; l--)
	{
		b->layer = b->rows = l;
		b->input = l > t->first_layer || t->embeddings_train;
		PLM_TRY(plm_parallel(t->threads, b->m->chunks, block_chunk, b, t->options.hook, err));
		PLM_TRY(block_weights(b, err));
	}
	if (t->embeddings_train)
		PLM_TRY(embeddings(b, err));
	if (t->waiting != NULL)
		PLM_TRY(plm_clip(t, b->m, err));
	return t->embeddings_train ? embedding_tables(b, err) : PLM_OK;
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
