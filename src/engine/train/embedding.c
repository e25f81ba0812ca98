/*
 * embedding.c -- from hidden states to unit embeddings, and the gradient back: pooling, Dense modules, length.
 *
 * The inference twin is ../model/head_embed.c, whose pooling it shares; this one keeps what the way back needs.
 */
#include "internal.h"

#include <math.h>
#include <string.h>

struct PlmPooled
{
	float	   *first;			/* (n,C) for the pooler */
	float	   *pooler;			/* (n,C) before its tanh */
	float	   *in[PLM_MAX_DENSE + 1];	/* (n,*) what each Dense module is given; last: what is normalised */
	float	   *z[PLM_MAX_DENSE];	/* (n,*) before its activation */
	float	   *norm;			/* (n) */
};

static PlmStatus
take_rows(PlmTrainer *t, int64_t n, int64_t width, float **out, PlmError *err)
{
	return plm_take(&t->step, n * width, sizeof(float), out, err);
}

/* All modes of all texts side by side. */
static PlmStatus
pool(PlmTrainer *t, const PlmMicro *m, PlmPooled *p, PlmError *err)
{
	const PlmConfig *c = &t->model.config;
	int64_t		C = c->width;
	int64_t		ld = c->n_pooling * C;

	for (int i = 0; i < c->n_pooling; i++)
	{
		if (c->pooling[i] == PLM_POOL_POOLER)
		{
			PLM_TRY(take_rows(t, m->n, C, &p->first, err));
			PLM_TRY(take_rows(t, m->n, C, &p->pooler, err));
			plm_gather_first(&m->batch, C, m->hidden, p->first);
			PLM_TRY(plm_affine_forward(t, &t->pooler, m->n, p->first, p->pooler, err));
		}
		for (int64_t b = 0; b < m->n; b++)
		{
			int64_t		at = m->batch.offsets[b];
			float	   *y = p->in[0] + b * ld + i * C;

			if (c->pooling[i] == PLM_POOL_POOLER)
				plm_affine_activate(&t->pooler, 1, p->pooler + b * C, y);
			else
				plm_pool_text((PlmPooling) c->pooling[i], m->batch.offsets[b + 1] - at, C, m->hidden + at * C, y);
		}
	}
	return PLM_OK;
}

PlmStatus
plm_embed_forward(PlmTrainer *t, const PlmMicro *m, float *e, PlmPooled **kept, PlmError *err)
{
	const PlmConfig *c = &t->model.config;
	int64_t		D = c->dimensions;
	PlmPooled  *p;

	PLM_TRY(plm_take(&t->step, 1, sizeof(*p), &p, err));
	memset(p, 0, sizeof(*p));
	PLM_TRY(take_rows(t, m->n, (int64_t) c->n_pooling * c->width, &p->in[0], err));
	PLM_TRY(take_rows(t, m->n, 1, &p->norm, err));
	PLM_TRY(pool(t, m, p, err));
	for (int i = 0; i < c->n_dense; i++)
	{
		PLM_TRY(take_rows(t, m->n, c->dense[i].out, &p->z[i], err));
		PLM_TRY(take_rows(t, m->n, c->dense[i].out, &p->in[i + 1], err));
		PLM_TRY(plm_affine_forward(t, &t->dense[i], m->n, p->in[i], p->z[i], err));
		plm_affine_activate(&t->dense[i], m->n, p->z[i], p->in[i + 1]);
	}
	memcpy(e, p->in[c->n_dense], (size_t) (m->n * D) * sizeof(float));
	for (int64_t b = 0; b < m->n; b++)
	{
		p->norm[b] = sqrtf(plm_dot(e + b * D, e + b * D, D));
		if (!plm_normalize(e + b * D, D))
			return plm_fail(err, PLM_ENUMERIC, 0, "the embedding of a text is zero or not finite");
	}
	if (kept != NULL)
		*kept = p;
	return PLM_OK;
}

/* dy (C) of one text and mode, added to the gradients of its rows. */
static void
pool_text_backward(PlmPooling mode, int64_t tokens, int64_t C, const float *x, const float *dy, float *dx)
{
	float		share = mode == PLM_POOL_MEAN ? (float) (1.0 / (double) tokens) : (float) (1.0 / sqrt((double) tokens));

	for (int64_t i = 0; i < C; i++)
	{
		int64_t		best = mode == PLM_POOL_LAST ? tokens - 1 : 0;

		for (int64_t r = 1; mode == PLM_POOL_MAX && r < tokens; r++)
			if (x[r * C + i] > x[best * C + i])
				best = r;
		if (mode != PLM_POOL_MEAN && mode != PLM_POOL_MEAN_SQRT)
			dx[best * C + i] += dy[i];
		else
			for (int64_t r = 0; r < tokens; r++)
				dx[r * C + i] += share * dy[i];
	}
}

/* The pooler's part: its columns of dy (n, ld) from `at` on. */
static PlmStatus
pooler_backward(PlmTrainer *t, PlmMicro *m, PlmPooled *p, const float *dy, int64_t ld, PlmError *err)
{
	int64_t		C = t->model.config.width;
	float	   *d;
	float	   *dfirst;

	PLM_TRY(take_rows(t, m->n, C, &d, err));
	PLM_TRY(take_rows(t, m->n, C, &dfirst, err));
	for (int64_t b = 0; b < m->n; b++)
		memcpy(d + b * C, dy + b * ld, (size_t) C * sizeof(float));
	PLM_TRY(plm_affine_backward(t, &t->pooler, m->n, p->first, p->pooler, d, dfirst, err));
	for (int64_t b = 0; b < m->n; b++)
		plm_add_to(m->dhidden + m->batch.offsets[b] * C, dfirst + b * C, C);
	return PLM_OK;
}

static PlmStatus
pool_backward(PlmTrainer *t, PlmMicro *m, PlmPooled *p, const float *dy, PlmError *err)
{
	const PlmConfig *c = &t->model.config;
	int64_t		C = c->width;
	int64_t		ld = c->n_pooling * C;

	for (int i = 0; i < c->n_pooling; i++)
	{
		if (c->pooling[i] == PLM_POOL_POOLER)
		{
			PLM_TRY(pooler_backward(t, m, p, dy + i * C, ld, err));
			continue;
		}
		for (int64_t b = 0; b < m->n; b++)
		{
			int64_t		at = m->batch.offsets[b];

			pool_text_backward((PlmPooling) c->pooling[i], m->batch.offsets[b + 1] - at, C, m->hidden + at * C,
							   dy + b * ld + i * C, m->dhidden + at * C);
		}
	}
	return PLM_OK;
}

PlmStatus
plm_embed_backward(PlmTrainer *t, PlmMicro *m, PlmPooled *p, const float *e, const float *de, PlmError *err)
{
	const PlmConfig *c = &t->model.config;
	float	   *dy;

	PLM_TRY(take_rows(t, m->n, c->dimensions, &dy, err));
	for (int64_t b = 0; b < m->n; b++)
		plm_length_backward(c->dimensions, e + b * c->dimensions, p->norm[b], de + b * c->dimensions, dy + b * c->dimensions);
	for (int i = c->n_dense - 1; i >= 0; i--)
	{
		float	   *dx;

		PLM_TRY(take_rows(t, m->n, c->dense[i].in, &dx, err));
		PLM_TRY(plm_affine_backward(t, &t->dense[i], m->n, p->in[i], p->z[i], dy, dx, err));
		dy = dx;
	}
	return pool_backward(t, m, p, dy, err);
}

PlmStatus
plm_embed_texts(PlmTrainer *t, const PlmTexts *texts, float *e, PlmError *err)
{
	PLM_TRY(plm_trainer_fit(t, texts, err));
	for (int64_t i = 0; i < texts->micros; i++)
	{
		PlmMark		mark = plm_arena_mark(&t->step);
		PlmMicro	m;

		PLM_TRY(plm_micro_lay(t, texts, i, &m, err));
		PLM_TRY(plm_micro_forward(t, &m, false, err));
		PLM_TRY(plm_embed_forward(t, &m, e + m.first * t->model.config.dimensions, NULL, err));
		plm_arena_rewind(&t->step, mark);
	}
	return PLM_OK;
}

#define RANGE_EXAMPLES 256

PlmStatus
plm_embed_range(PlmTrainer *t, const PlmExamples *from, float *const *e, PlmError *err)
{
	int64_t		n = plm_examples_count(from);
	int64_t		D = t->model.config.dimensions;

	for (int64_t first = 0; first < n; first += RANGE_EXAMPLES)
	{
		PlmMark		mark = plm_arena_mark(&t->step);
		PlmTexts	texts;
		float	   *rows;

		PLM_TRY(plm_texts_of_range(t, from, first, n - first < RANGE_EXAMPLES ? n - first : RANGE_EXAMPLES, &texts, err));
		PLM_TRY(plm_take(&t->step, texts.n * D, sizeof(float), &rows, err));
		PLM_TRY(plm_embed_texts(t, &texts, rows, err));
		for (int64_t s = 0; s < texts.n; s++)
			if (texts.role[s] <= PLM_ROLE_SECOND && e[texts.role[s]] != NULL)
				memcpy(e[texts.role[s]] + (first + texts.owner[s]) * D, rows + s * D, (size_t) D * sizeof(float));
		plm_arena_rewind(&t->step, mark);
	}
	return PLM_OK;
}
