/*
 * head_embed.c -- sentence embeddings: pooling, Dense modules, unit length.
 *
 * As the modules of a sentence-transformers directory prescribe (Reimers and Gurevych, 2019).
 */
#include "internal.h"

#include <math.h>
#include <string.h>

/* Widest row that pooling or a Dense module makes. */
static int64_t
widest(const PlmConfig *c)
{
	int64_t		w = (int64_t) c->n_pooling * c->width;

	for (int i = 0; i < c->n_dense; i++)
		if (c->dense[i].out > w)
			w = c->dense[i].out;
	return w;
}

static size_t
linear_scratch(const PlmModel *model)
{
	size_t		most = plm_nn_linear_scratch(&model->pooler);

	for (int i = 0; i < model->config.n_dense; i++)
	{
		size_t		one = plm_nn_linear_scratch(&model->dense[i]);

		most = one > most ? one : most;
	}
	return most;
}

static size_t
row_bytes(const PlmModel *model, int64_t texts)
{
	return plm_align((size_t) texts * (size_t) widest(&model->config) * sizeof(float), 64);
}

/* Two sets of rows, and what plm_linear wants. */
static size_t
embed_bytes(const PlmModel *model, int64_t texts)
{
	return 2 * row_bytes(model, texts) + linear_scratch(model);
}

/* One text, one mode: x (T,C) to y (C). */
void
plm_pool_text(PlmPooling mode, int64_t tokens, int64_t C, const float *x, float *y)
{
	int64_t		from = mode == PLM_POOL_LAST ? tokens - 1 : 0;

	memcpy(y, x + from * C, (size_t) C * sizeof(float));
	if (mode == PLM_POOL_CLS || mode == PLM_POOL_LAST)
		return;
	for (int64_t t = 1; t < tokens; t++)
	{
		if (mode == PLM_POOL_MAX)
			plm_max_to(y, x + t * C, C);
		else
			plm_add_to(y, x + t * C, C);
	}
	if (mode == PLM_POOL_MEAN)
		plm_scale(y, (float) (1.0 / (double) tokens), C);
	else if (mode == PLM_POOL_MEAN_SQRT)
		plm_scale(y, (float) (1.0 / sqrt((double) tokens)), C);
}

void
plm_length_backward(int64_t D, const float *y, float norm, const float *dy, float *dx)
{
	double		along = plm_dot(y, dy, D);

	for (int64_t i = 0; i < D; i++)
		dx[i] = (float) ((dy[i] - y[i] * along) / norm);
}

/* All modes of all texts side by side: y (B, n_pooling * C); first: (B,C) scratch. */
static PlmStatus
pool(const PlmModel *model, const PlmBatch *batch, const float *x, float *y, float *first, void *scratch,
	 PlmWorker *worker, PlmError *err)
{
	const PlmConfig *c = &model->config;
	int64_t		C = c->width;
	int64_t		ld = c->n_pooling * C;

	for (int i = 0; i < c->n_pooling; i++)
	{
		if (c->pooling[i] == PLM_POOL_POOLER)
		{
			plm_gather_first(batch, C, x, first);
			PLM_TRY(plm_nn_linear(&model->pooler, batch->texts, first, C, NULL, y + i * C, ld, PLM_ACT_TANH,
								  scratch, worker, err));
			continue;
		}
		for (int64_t b = 0; b < batch->texts; b++)
			plm_pool_text((PlmPooling) c->pooling[i], batch->offsets[b + 1] - batch->offsets[b], C,
					  x + batch->offsets[b] * C, y + b * ld + i * C);
	}
	return PLM_OK;
}

static PlmStatus
embed_apply(const PlmModel *model, const PlmBatch *batch, const float *x, const int64_t *text,
			float *out, float *scratch, PlmWorker *worker, PlmError *err)
{
	const PlmConfig *c = &model->config;
	size_t		step = row_bytes(model, batch->texts);
	float	   *y = scratch;
	float	   *z = (float *) ((char *) scratch + step);
	void	   *rest = (char *) scratch + 2 * step;
	int64_t		D = c->dimensions;

	PLM_TRY(pool(model, batch, x, y, z, rest, worker, err));
	for (int i = 0; i < c->n_dense; i++)
	{
		float	   *swap = y;

		PLM_TRY(plm_nn_linear(&model->dense[i], batch->texts, y, c->dense[i].in, NULL, z, c->dense[i].out,
							  (PlmActivation) c->dense[i].activation, rest, worker, err));
		y = z;
		z = swap;
	}
	for (int64_t b = 0; b < batch->texts; b++)
	{
		if (!plm_normalize(y + b * D, D))
			return plm_fail(err, PLM_ENUMERIC, 0, "the embedding of text %" PRId64 " is zero or not finite", text[b]);
		memcpy(out + b * D, y + b * D, (size_t) D * sizeof(float));
	}
	return PLM_OK;
}

const PlmHead plm_head_embed = {0, embed_bytes, embed_apply};

PlmStatus
plm_embed_possible(const PlmModel *model, PlmError *err)
{
	const PlmConfig *c = &model->config;

	PLM_TRY(plm_weights_needed(model, err));
	for (int i = 0; i < c->n_pooling; i++)
		if (c->pooling[i] == PLM_POOL_POOLER && !model->part[PLM_PART_POOLER])
			return plm_fail(err, PLM_EARG, 0, "the model's embedding needs a pooler, which its files do not have");
	return PLM_OK;
}

PlmStatus
plm_embed(const PlmModel *model, int64_t n, const PlmInput *inputs, PlmKind kind,
		  const PlmOptions *options, float *out, PlmError *err)
{
	const char *prompt = kind == PLM_KIND_QUERY ? model->config.prompt_query : model->config.prompt_document;
	PlmHead		head = plm_head_embed;

	if (kind == PLM_KIND_STATIC)
	{
		PlmModel	still = *model;

		still.config.layers = 0;
		return plm_embed(&still, n, inputs, PLM_KIND_DOCUMENT, options, out, err);
	}
	PLM_TRY(plm_embed_possible(model, err));
	head.width = model->config.dimensions;
	return plm_run_texts(model, n, inputs, (PlmText) {prompt, strlen(prompt)}, options, &head, out, err);
}
