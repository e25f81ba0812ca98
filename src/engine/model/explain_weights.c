/*
 * explain_weights.c -- a read-only model's weights for the way back: transposed once, for many explanations.  See explain.h.
 */
#include "explain.h"

#include <string.h>

/*
 * W (N,K) as plm_num.h lays it out, [N/32][K][32], to W^T in the same layout, [K/32][N][32]: square by square.
 */
static void
transpose(const PlmPacked *w, float *to)
{
	const float *from = w->data;

	for (int64_t k = 0; k < w->k; k += PLM_PANEL)
		for (int64_t n = 0; n < w->n; n += PLM_PANEL)
		{
			int64_t		rows = w->n - n < PLM_PANEL ? w->n - n : PLM_PANEL;
			int64_t		cols = w->k - k < PLM_PANEL ? w->k - k : PLM_PANEL;
			const float *a = from + n * w->k + k * PLM_PANEL;
			float	   *b = to + k * w->n + n * PLM_PANEL;

			for (int64_t i = 0; i < rows; i++)
				for (int64_t j = 0; j < PLM_PANEL; j++)
					b[i * PLM_PANEL + j] = j < cols ? a[j * PLM_PANEL + i] : 0;
		}
}

static PlmStatus
back_linear(PlmExplainer *e, const PlmLinear *l, PlmWorker *worker, PlmLinear *out, PlmError *err)
{
	size_t		bytes = plm_pack_bytes(PLM_PREC_F32, l->w.k, l->w.n);
	float	   *data;

	if (l->w.data == NULL)
		return PLM_OK;
	if (plm_stopped(worker))
		return plm_cancelled(err);
	data = plm_arena_alloc(&e->arena, bytes);
	if (data == NULL)
		return plm_arena_refused(&e->arena, bytes, err);
	transpose(&l->w, data);
	*out = (PlmLinear) {{PLM_PREC_F32, l->w.k, l->w.n, data}, NULL};
	return PLM_OK;
}

static PlmStatus
head_layer(PlmExplainer *e, const PlmLinear *l, PlmActivation act, PlmWorker *worker, PlmHeadLayer *out, PlmError *err)
{
	out->l = l;
	out->act = act;
	return back_linear(e, l, worker, &out->back, err);
}

static PlmStatus
open_weights(PlmExplainer *e, PlmWorker *worker, PlmError *err)
{
	const PlmModel *m = e->model;
	const PlmConfig *c = &m->config;
	size_t		bytes = (size_t) c->layers * sizeof(PlmBackBlock);

	e->back = plm_arena_zero(&e->arena, bytes);
	e->norms = plm_arena_zero(&e->arena, 4 * (size_t) c->width * sizeof(float));
	if (e->back == NULL || e->norms == NULL)
		return plm_arena_refused(&e->arena, bytes, err);
	for (int32_t l = 0; l < c->layers; l++)
	{
		const PlmBlock *blk = &m->blocks[l];

		PLM_TRY(back_linear(e, &blk->qkv, worker, &e->back[l].qkv, err));
		PLM_TRY(back_linear(e, &blk->attn_out, worker, &e->back[l].attn_out, err));
		PLM_TRY(back_linear(e, &blk->ff_up, worker, &e->back[l].ff_up, err));
		PLM_TRY(back_linear(e, &blk->ff_down, worker, &e->back[l].ff_down, err));
	}
	PLM_TRY(head_layer(e, &m->pooler, PLM_ACT_TANH, worker, &e->pooler, err));
	for (int i = 0; i < c->n_dense; i++)
		PLM_TRY(head_layer(e, &m->dense[i], (PlmActivation) c->dense[i].activation, worker, &e->dense[i], err));
	PLM_TRY(head_layer(e, &m->classifier_dense, m->arch->classifier_act, worker, &e->classifier_dense, err));
	return head_layer(e, &m->classifier, PLM_ACT_NONE, worker, &e->classifier, err);
}

PlmStatus
plm_explainer_open(const PlmModel *model, const PlmOptions *options, PlmExplainer **out, PlmError *err)
{
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, options->hook);
	PlmExplainer *e;
	PlmStatus	status;

	PLM_TRY(plm_weights_needed(model, err));
	if (model->precision != PLM_PREC_F32)
	{
		plm_fail(err, PLM_EUNSUPPORTED, 0, "a model in %s cannot be explained: it has no gradients", plm_precision_name(model->precision));
		return plm_hint(err, "Explain the model that it was made from, which the view product_llm.models names as its parent.");
	}
	e = options->hook->alloc(options->hook->arg, sizeof(*e));
	if (e == NULL)
		return plm_fail(err, PLM_ENOMEM, 0, "out of memory");
	memset(e, 0, sizeof(*e));
	e->model = model;
	e->hook = options->hook;
	plm_arena_init(&e->arena, options->hook, options->memory_limit);
	plm_arena_beside(&e->steps.arena, &e->arena);
	status = open_weights(e, &worker, err);
	if (status != PLM_OK)
	{
		plm_explainer_close(e);
		return status;
	}
	*out = e;
	return PLM_OK;
}

void
plm_explainer_close(PlmExplainer *e)
{
	plm_arena_free(&e->steps.arena);
	plm_arena_free(&e->arena);
	e->hook->release(e->hook->arg, e);
}
