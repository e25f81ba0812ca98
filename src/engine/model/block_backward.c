/*
 * block_backward.c -- the gradient from a block's output to its input, for training and for explanations.
 *
 *     x -qkv-> attention -out-> + x = attn_sum -norm-> mid -up-> act -down-> + mid = ff_sum -norm-> y
 *
 * It leaves, for each linear layer, what it was given and the gradient at what it gave: whoever trains makes the weights'
 * gradients of them (../train/backward.c).
 */
#include "internal.h"

#include <string.h>

/* One block's backward over a batch. */
typedef struct Pass
{
	const PlmConfig *config;
	const PlmBlock *blk;
	const PlmBackBlock *back;
	const PlmBatch *batch;
	const PlmTape *tape;
	const PlmBlockTape *keep;	/* of this block */
	const PlmBackRows *r;
	int32_t		layer;
	PlmWorkspace *ws;
	PlmWorker  *worker;
} Pass;

static size_t
larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

size_t
plm_block_backward_scratch(const PlmModel *model, const PlmBackBlock *back, int64_t longest, bool gated)
{
	const PlmConfig *c = &model->config;
	PlmBatch	shape = {.texts = 1, .tokens = longest, .longest = longest};
	size_t		most = gated ? plm_nn_attention_gated_scratch(&shape, c->width / c->heads)
		: plm_nn_attention_backward_scratch(&shape, c->width / c->heads);

	most = larger(most, plm_nn_linear_scratch(&back->qkv));
	most = larger(most, plm_nn_linear_scratch(&back->attn_out));
	most = larger(most, plm_nn_linear_scratch(&back->ff_up));
	return larger(most, plm_nn_linear_scratch(&back->ff_down));
}

/* The gradient at a sub-layer's result, from the one at the sum: the dropped ones have none. */
static void
drop(const Pass *p, uint64_t place, float *d)
{
	const PlmTape *t = p->tape;
	int64_t		C = p->config->width;

	if (t->dropout > 0)
		plm_dropout(d, p->batch->tokens * C, t->dropout, t->seed + place, t->first * (uint64_t) C);
}

/* dx (T,n of l) = dy W, or added to `residual`. */
static PlmStatus
back_linear(const Pass *p, const PlmLinear *l, const float *dy, const float *residual, float *dx, PlmError *err)
{
	return plm_nn_linear(l, p->batch->tokens, dy, l->w.k, residual, dx, l->w.n, PLM_ACT_NONE, p->ws->head, p->worker, err);
}

/* dx: from y to mid. */
static PlmStatus
feed_forward_backward(const Pass *p, PlmError *err)
{
	const PlmBackRows *r = p->r;
	PlmActivation act = (PlmActivation) p->config->activation;
	int64_t		T = p->batch->tokens;
	int64_t		C = p->config->width;
	int64_t		F = p->config->ff;

	plm_layer_norm_backward(T, C, p->keep->ff_sum, p->keep->ff_save, p->blk->ff_norm.g, r->dx, r->dx, r->norms, r->norms + C);
	memcpy(r->dff_sum, r->dx, (size_t) (T * C) * sizeof(float));
	drop(p, PLM_DROP_FF(p->layer), r->dff_sum);
	PLM_TRY(back_linear(p, &p->back->ff_down, r->dff_sum, NULL, r->dup, err));
	for (int64_t i = 0; i < T; i++)
	{
		plm_activate_backward(act, p->keep->up + i * F, r->dup + i * F, F);
		plm_activate(act, p->keep->up + i * F, F);	/* from here on what ff_down was given */
	}
	return back_linear(p, &p->back->ff_up, r->dup, r->dx, r->dx, err);
}

static PlmStatus
gathering_backward(const Pass *p, PlmError *err)
{
	const PlmConfig *c = p->config;
	int64_t		C = c->width;
	const float *qkv = p->keep->qkv;
	const float *dout = p->keep->attn_sum;
	float	   *dqkv = p->r->dqkv;

	if (p->batch->gates != NULL)
		return plm_nn_attention_gated_backward(p->batch, c->heads, C / c->heads, qkv, qkv + C, qkv + 2 * C, 3 * C, dout, C, dqkv,
											   dqkv + C, dqkv + 2 * C, 3 * C, p->r->dlog, p->ws->head, p->worker, err);
	return plm_nn_attention_backward(p->batch, c->heads, C / c->heads, qkv, qkv + C, qkv + 2 * C, 3 * C, false, dout, C, dqkv,
									 dqkv + C, dqkv + 2 * C, 3 * C, p->ws->head, p->worker, err);
}

/* dx: from mid to the block's input. */
static PlmStatus
attention_backward(const Pass *p, bool input, PlmError *err)
{
	const PlmBackRows *r = p->r;
	const PlmNorm *norm = &p->blk->attn_norm;
	int64_t		T = p->batch->tokens;
	int64_t		C = p->config->width;

	/* What ff_up was given: its product needs it. */
	plm_layer_norm(T, C, p->keep->attn_sum, NULL, norm->g, norm->b, p->config->norm_eps, r->mid, NULL);
	plm_layer_norm_backward(T, C, p->keep->attn_sum, p->keep->attn_save, norm->g, r->dx, r->dx, r->norms + 2 * C, r->norms + 3 * C);
	memcpy(r->dattn_sum, r->dx, (size_t) (T * C) * sizeof(float));
	drop(p, PLM_DROP_ATTN(p->layer), r->dattn_sum);
	/* The gradient at what attention gathered takes the place of the sum, which is not needed any more. */
	PLM_TRY(back_linear(p, &p->back->attn_out, r->dattn_sum, NULL, p->keep->attn_sum, err));
	PLM_TRY(gathering_backward(p, err));
	return input ? back_linear(p, &p->back->qkv, r->dqkv, r->dx, r->dx, err) : PLM_OK;
}

PlmStatus
plm_block_backward(const PlmModel *model, int32_t l, const PlmBackBlock *back, const PlmBatch *batch, const PlmTape *tape,
				   const PlmBackRows *rows, bool input, PlmWorkspace *ws, PlmWorker *worker, PlmError *err)
{
	Pass		p = {&model->config, &model->blocks[l], back, batch, tape, &tape->blocks[l], rows, l, ws, worker};

	PLM_TRY(feed_forward_backward(&p, err));
	return attention_backward(&p, input, err);
}
