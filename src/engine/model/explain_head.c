/*
 * explain_head.c -- from hidden states of tokens that are there in part to the number that is explained, and back: see explain.h.
 *
 * A gate g_t in (0, 1] says how far a token is there.  Pooling weighs by it, so that at 1 it is head_embed.c's and near 0 it is that of
 * the other tokens alone:
 *     mean       sum of g x / sum of g          mean_sqrt  sum of g x / sqrt(sum of g)
 *     max        (1 - g_t) e + g_t x_t, with t the largest of all tokens and e the largest of those that are there for certain
 * First and last token are no words, and always there.
 */
#include "explain.h"

#include <math.h>
#include <string.h>

/* One text on its way through pooling; gates NULL: all 1. */
typedef struct Pooling
{
	PlmPooling	mode;
	int64_t		n, C;
	const float *x;				/* (n,C) */
	const float *gates;			/* (n) */
} Pooling;

static float
gate_of(const Pooling *p, int64_t t)
{
	return p->gates != NULL ? p->gates[t] : 1;
}

static double
total(const Pooling *p)
{
	double		sum = 0;

	for (int64_t t = 0; t < p->n; t++)
		sum += gate_of(p, t);
	return p->mode == PLM_POOL_MEAN ? sum : sqrt(sum);
}

/* The largest of column i: among all, or among those that are there for certain. */
static int64_t
largest(const Pooling *p, int64_t i, bool certain)
{
	int64_t		best = 0;

	for (int64_t t = 1; t < p->n; t++)
		if (p->x[t * p->C + i] > p->x[best * p->C + i] && (!certain || gate_of(p, t) >= 1))
			best = t;
	return best;
}

static void
pool(const Pooling *p, float *y)
{
	int64_t		C = p->C;

	if (p->mode == PLM_POOL_CLS || p->mode == PLM_POOL_LAST)
	{
		memcpy(y, p->x + (p->mode == PLM_POOL_LAST ? p->n - 1 : 0) * C, (size_t) C * sizeof(float));
		return;
	}
	for (int64_t i = 0; i < C; i++)
	{
		if (p->mode == PLM_POOL_MAX)
		{
			int64_t		t = largest(p, i, false);
			float		e = p->x[largest(p, i, true) * C + i];

			y[i] = e + gate_of(p, t) * (p->x[t * C + i] - e);
			continue;
		}
		y[i] = 0;
		for (int64_t t = 0; t < p->n; t++)
			y[i] += gate_of(p, t) * p->x[t * C + i];
		y[i] /= (float) total(p);
	}
}

/* dx (n,C) and dgates (n) are added to. */
static void
pool_mean_backward(const Pooling *p, const float *y, const float *dy, float *dx, float *dgates)
{
	double		by = total(p);
	double		along = plm_dot(y, dy, p->C);

	for (int64_t t = 0; t < p->n; t++)
	{
		float		share = (float) (gate_of(p, t) / by);
		double		mine = plm_dot(p->x + t * p->C, dy, p->C);

		for (int64_t i = 0; i < p->C; i++)
			dx[t * p->C + i] += share * dy[i];
		/* d (sum of g x / G) = x / G - y / G;  with sqrt(G) = by: x / by - y / (2 by^2) */
		dgates[t] += (float) (p->mode == PLM_POOL_MEAN ? (mine - along) / by : mine / by - along / (2 * by * by));
	}
}

static void
pool_backward(const Pooling *p, const float *y, const float *dy, float *dx, float *dgates)
{
	int64_t		C = p->C;

	if (p->mode == PLM_POOL_CLS || p->mode == PLM_POOL_LAST)
		plm_add_to(dx + (p->mode == PLM_POOL_LAST ? p->n - 1 : 0) * C, dy, C);
	else if (p->mode != PLM_POOL_MAX)
		pool_mean_backward(p, y, dy, dx, dgates);
	else
		for (int64_t i = 0; i < C; i++)
		{
			int64_t		t = largest(p, i, false);
			int64_t		e = largest(p, i, true);
			float		g = gate_of(p, t);

			dx[t * C + i] += g * dy[i];
			dx[e * C + i] += (1 - g) * dy[i];
			dgates[t] += dy[i] * (p->x[t * C + i] - p->x[e * C + i]);
		}
}

/* ---- linear layers ---- */

static PlmStatus
take(PlmArena *arena, int64_t rows, int64_t width, float **out, PlmError *err)
{
	size_t		bytes = (size_t) rows * (size_t) width * sizeof(float);

	*out = plm_arena_zero(arena, bytes);
	return *out != NULL ? PLM_OK : plm_arena_refused(arena, bytes, err);
}

/* One layer's forward: z = x W^T + b (rows,N), y = act(z). */
typedef struct Linear
{
	const PlmHeadLayer *layer;
	float	   *z, *y;
} Linear;

/* In f32 a linear layer needs no scratch. */
static PlmStatus
linear_forward(const PlmHeadLayer *layer, int64_t rows, const float *x, PlmArena *arena, Linear *out, PlmWorker *worker, PlmError *err)
{
	int64_t		N = layer->l->w.n;

	out->layer = layer;
	PLM_TRY(take(arena, rows, N, &out->z, err));
	PLM_TRY(take(arena, rows, N, &out->y, err));
	PLM_TRY(plm_nn_linear(layer->l, rows, x, layer->l->w.k, NULL, out->z, N, PLM_ACT_NONE, NULL, worker, err));
	memcpy(out->y, out->z, (size_t) (rows * N) * sizeof(float));
	plm_activate(layer->act, out->y, rows * N);
	return PLM_OK;
}

/* dy (rows,N) is used up; dx (rows,K) written. */
static PlmStatus
linear_backward(const Linear *l, int64_t rows, float *dy, float *dx, PlmWorker *worker, PlmError *err)
{
	int64_t		N = l->layer->l->w.n;
	int64_t		K = l->layer->l->w.k;

	if (l->layer->act != PLM_ACT_NONE)
		plm_activate_backward(l->layer->act, l->z, dy, rows * N);
	return plm_nn_linear(&l->layer->back, rows, dy, N, NULL, dx, K, PLM_ACT_NONE, NULL, worker, err);
}

/* ---- embeddings ---- */

/* A head at work on the steps. */
typedef struct Head
{
	const PlmExplainer *e;
	PlmSteps   *s;
	const PlmExplainTask *task;
	PlmArena   *arena;
	PlmWorker  *worker;
	float	   *first;			/* (n,C) of the first tokens, where a linear layer wants them */
	Linear		pooler;
	float	   *pooled;			/* (n, n_pooling C) */
	Linear		dense[PLM_MAX_DENSE];
} Head;

static Pooling
pooling_of(const Head *h, int64_t step, int mode)
{
	const PlmConfig *c = &h->e->model->config;
	int64_t		at = step * h->s->tokens;

	return (Pooling) {(PlmPooling) c->pooling[mode], h->s->tokens, c->width, h->s->tape.last + at * c->width,
		h->s->gated ? h->s->gates + at : NULL};
}

static PlmStatus
gather_first(Head *h, const PlmHeadLayer *layer, Linear *out, PlmError *err)
{
	int64_t		C = h->e->model->config.width;

	PLM_TRY(take(h->arena, h->s->n, C, &h->first, err));
	plm_gather_first(&h->s->batch, C, h->s->tape.last, h->first);
	return linear_forward(layer, h->s->n, h->first, h->arena, out, h->worker, err);
}

/* The way back of gather_first(): dy (n,N) is used up. */
static PlmStatus
scatter_first(Head *h, const Linear *l, float *dy, PlmError *err)
{
	int64_t		C = h->e->model->config.width;
	float	   *dfirst;

	PLM_TRY(take(h->arena, h->s->n, C, &dfirst, err));
	PLM_TRY(linear_backward(l, h->s->n, dy, dfirst, h->worker, err));
	for (int64_t b = 0; b < h->s->n; b++)
		plm_add_to(h->s->back.dx + b * h->s->tokens * C, dfirst + b * C, C);
	return PLM_OK;
}

static PlmStatus
pool_steps(Head *h, PlmError *err)
{
	const PlmConfig *c = &h->e->model->config;
	int64_t		C = c->width;
	int64_t		ld = c->n_pooling * C;

	PLM_TRY(take(h->arena, h->s->n, ld, &h->pooled, err));
	for (int i = 0; i < c->n_pooling; i++)
	{
		if (c->pooling[i] == PLM_POOL_POOLER)
			PLM_TRY(gather_first(h, &h->e->pooler, &h->pooler, err));
		for (int64_t b = 0; b < h->s->n; b++)
		{
			Pooling		p = pooling_of(h, b, i);

			if (p.mode == PLM_POOL_POOLER)
				memcpy(h->pooled + b * ld + i * C, h->pooler.y + b * C, (size_t) C * sizeof(float));
			else
				pool(&p, h->pooled + b * ld + i * C);
		}
	}
	return PLM_OK;
}

/* dy: (n, n_pooling C) */
static PlmStatus
pool_steps_backward(Head *h, const float *dy, PlmError *err)
{
	const PlmConfig *c = &h->e->model->config;
	int64_t		C = c->width;
	int64_t		ld = c->n_pooling * C;

	for (int i = 0; i < c->n_pooling; i++)
	{
		float	   *d = NULL;

		if (c->pooling[i] == PLM_POOL_POOLER)
			PLM_TRY(take(h->arena, h->s->n, C, &d, err));
		for (int64_t b = 0; b < h->s->n; b++)
		{
			Pooling		p = pooling_of(h, b, i);
			int64_t		at = b * p.n;

			if (d != NULL)
				memcpy(d + b * C, dy + b * ld + i * C, (size_t) C * sizeof(float));
			else
				pool_backward(&p, h->pooled + b * ld + i * C, dy + b * ld + i * C, h->s->back.dx + at * C, h->s->dgates + at);
		}
		if (d != NULL)
			PLM_TRY(scatter_first(h, &h->pooler, d, err));
	}
	return PLM_OK;
}

/* value = u . along, u = y / |y|;  dy (n,D) its gradient */
static PlmStatus
cosines(Head *h, const float *y, float *dy, PlmError *err)
{
	int64_t		D = h->e->model->config.dimensions;
	const float *along = h->task->along;
	float	   *u;

	PLM_TRY(take(h->arena, 1, D, &u, err));
	for (int64_t b = 0; b < h->s->n; b++)
	{
		float		norm = sqrtf(plm_dot(y + b * D, y + b * D, D));

		memcpy(u, y + b * D, (size_t) D * sizeof(float));
		if (!plm_normalize(u, D))
			return plm_fail(err, PLM_ENUMERIC, 0, "an embedding on the way to the text is zero or not finite");
		h->s->value[b] = plm_dot(u, along, D);
		plm_length_backward(D, u, norm, along, dy + b * D);
	}
	return PLM_OK;
}

static PlmStatus
embed_head(Head *h, PlmError *err)
{
	const PlmConfig *c = &h->e->model->config;
	const float *y;
	float	   *dy;

	PLM_TRY(pool_steps(h, err));
	y = h->pooled;
	for (int i = 0; i < c->n_dense; i++)
	{
		PLM_TRY(linear_forward(&h->e->dense[i], h->s->n, y, h->arena, &h->dense[i], h->worker, err));
		y = h->dense[i].y;
	}
	PLM_TRY(take(h->arena, h->s->n, c->dimensions, &dy, err));
	PLM_TRY(cosines(h, y, dy, err));
	for (int i = c->n_dense - 1; i >= 0; i--)
	{
		float	   *dx;

		PLM_TRY(take(h->arena, h->s->n, c->dense[i].in, &dx, err));
		PLM_TRY(linear_backward(&h->dense[i], h->s->n, dy, dx, h->worker, err));
		dy = dx;
	}
	return pool_steps_backward(h, dy, err);
}

/* ---- classification and ranking ---- */

double
plm_explained_logit(const PlmModel *model, const float *logits, int32_t label, float *dlogits)
{
	const PlmConfig *c = &model->config;
	bool		ranks = c->task == PLM_TASK_RANKING;
	double		most = logits[0];
	double		sum = 0;
	double		p;

	if (ranks || c->problem != PLM_PROBLEM_SINGLE)
	{
		bool		curved = ranks ? c->score_activation == PLM_ACT_SIGMOID : c->problem == PLM_PROBLEM_MULTI;

		p = curved ? 1 / (1 + exp(-(double) logits[label])) : logits[label];
		if (dlogits != NULL)
		{
			memset(dlogits, 0, (size_t) c->labels * sizeof(float));
			dlogits[label] = curved ? (float) (p * (1 - p)) : 1;
		}
		return p;
	}
	for (int32_t i = 1; i < c->labels; i++)
		most = fmax(most, logits[i]);
	for (int32_t i = 0; i < c->labels; i++)
		sum += exp(logits[i] - most);
	p = exp(logits[label] - most) / sum;
	for (int32_t i = 0; dlogits != NULL && i < c->labels; i++)
		dlogits[i] = (float) (p * ((i == label) - exp(logits[i] - most) / sum));
	return p;
}

static PlmStatus
classify_head(Head *h, PlmError *err)
{
	const PlmModel *m = h->e->model;
	int64_t		N = m->config.labels;
	Linear		dense;
	Linear		logits;
	float	   *dlogits;
	float	   *ddense;

	PLM_TRY(gather_first(h, &h->e->classifier_dense, &dense, err));
	PLM_TRY(linear_forward(&h->e->classifier, h->s->n, dense.y, h->arena, &logits, h->worker, err));
	PLM_TRY(take(h->arena, h->s->n, N, &dlogits, err));
	PLM_TRY(take(h->arena, h->s->n, m->config.width, &ddense, err));
	for (int64_t b = 0; b < h->s->n; b++)
		h->s->value[b] = plm_explained_logit(m, logits.y + b * N, h->task->label, dlogits + b * N);
	PLM_TRY(linear_backward(&logits, h->s->n, dlogits, ddense, h->worker, err));
	return scatter_first(h, &dense, ddense, err);
}

PlmStatus
plm_steps_head(PlmExplainer *e, const PlmExplainTask *task, PlmArena *arena, PlmWorker *worker, PlmError *err)
{
	PlmSteps   *s = &e->steps;
	Head		h = {.e = e, .s = s, .task = task, .arena = arena, .worker = worker};

	memset(s->back.dx, 0, (size_t) (s->batch.tokens * e->model->config.width) * sizeof(float));
	memset(s->dgates, 0, (size_t) s->batch.tokens * sizeof(float));
	return task->along != NULL ? embed_head(&h, err) : classify_head(&h, err);
}
