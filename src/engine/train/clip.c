/*
 * clip.c -- private micro-batches: each example's gradient clipped, without being computed by itself.
 *
 * A linear layer's gradient of one example is the sum over its rows t of dy_t (x_t, 1)^T, so the square of its norm is
 *
 *     sum over rows t, s of (dy_t . dy_s) (x_t . x_s + 1)
 *
 * (Goodfellow 2015 for one row, Li et al. 2021 for many).  The way back leaves dy and x of all layers (backward.c); here the norms are
 * taken, all that an example adds is scaled by min(1, clip / norm), and then products over all rows add it up, as in a plain
 * step.  Each chunk is one text, so that its numbers and its norm have the same bits whatever is drawn with it.
 */
#include "internal.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define TILE 32					/* rows of an example that meet as many others at a time */

typedef struct WaitingRows
{
	float	   *rows;
	int64_t		stride;
	float	   *to;
} WaitingRows;

struct PlmWaiting
{
	PlmProduct *products;		/* of blocks and head */
	int			n_products;
	WaitingRows *rows;			/* of norms */
	int			n_rows;
};

#define HEAD_PRODUCTS 2

PlmStatus
plm_clip_begin(PlmTrainer *t, PlmError *err)
{
	int64_t		L = t->model.config.layers;
	PlmWaiting *w;

	PLM_TRY(plm_take(&t->step, 1, sizeof(*w), &w, err));
	memset(w, 0, sizeof(*w));
	PLM_TRY(plm_take(&t->step, 4 * L + HEAD_PRODUCTS, sizeof(*w->products), &w->products, err));
	PLM_TRY(plm_take(&t->step, 4 * L + 2, sizeof(*w->rows), &w->rows, err));
	t->waiting = w;
	return PLM_OK;
}

void
plm_clip_products(PlmTrainer *t, const PlmProduct *products, int n)
{
	for (int i = 0; i < n; i++)
		if (products[i].dw != NULL)
			t->waiting->products[t->waiting->n_products++] = products[i];
}

void
plm_clip_rows(PlmTrainer *t, float *rows, int64_t stride, float *to)
{
	t->waiting->rows[t->waiting->n_rows++] = (WaitingRows) {rows, stride, to};
}

/* ---- norms ---- */

static double
square(const float *x, int64_t n)
{
	double		sum = 0;

	for (int64_t i = 0; i < n; i++)
		sum += (double) x[i] * x[i];
	return sum;
}

/* Products of rows i .. i + a - 1 of x (T,K) with rows j .. j + b - 1. */
static void
meet(const float *x, int64_t ldx, int64_t k, int64_t i, int64_t a, int64_t j, int64_t b, float *gram)
{
	plm_gemm(false, true, a, b, k, 1.0f, x + i * ldx, ldx, x + j * ldx, ldx, 0.0f, gram, TILE);
}

/*
 * The square of the norm of the sum over T rows of dy_t (x_t, bias)^T, and no less: the rounding of the inner products, of which each
 * is off by at most its length times half an epsilon of its vectors' norms, is added.
 */
static double
outer_square(int64_t T, const float *dy, int64_t lddy, int64_t n, const float *x, int64_t ldx, int64_t k, bool bias)
{
	float		gram_x[TILE * TILE];
	float		gram_dy[TILE * TILE];
	double		sum = 0;
	double		most = 0;

	for (int64_t i = 0; i < T; i += TILE)
		for (int64_t j = i; j < T; j += TILE)
		{
			int64_t		a = T - i < TILE ? T - i : TILE;
			int64_t		b = T - j < TILE ? T - j : TILE;
			double		part = 0;

			meet(x, ldx, k, i, a, j, b, gram_x);
			meet(dy, lddy, n, i, a, j, b, gram_dy);
			for (int64_t r = 0; r < a; r++)
				for (int64_t c = 0; c < b; c++)
					part += ((double) gram_x[r * TILE + c] + bias) * gram_dy[r * TILE + c];
			for (int64_t r = 0; i == j && r < a; r++)
				most += sqrt(((double) gram_x[r * TILE + r] + bias) * gram_dy[r * TILE + r]);
			sum += i == j ? part : 2 * part;
		}
	return fmax(sum, 0) + (double) (n + k + 2) * FLT_EPSILON * most * most;
}

typedef struct Clipping
{
	PlmTrainer *t;
	PlmMicro   *m;
	float	   *u, *v;			/* (T,r) of adapters, or NULL */
} Clipping;

/* Rows of text i in a product. */
static void
rows_of(const Clipping *c, const PlmProduct *p, int64_t i, int64_t *first, int64_t *n)
{
	*first = p->of_tokens ? c->m->batch.offsets[i] : i;
	*n = p->of_tokens ? c->m->batch.offsets[i + 1] - *first : 1;
}

/* Of text i in a linear layer; with an adapter: dB = s dy^T (x A^T), dA = s (dy B)^T x. */
static double
product_square(const Clipping *c, const PlmProduct *p, int64_t i)
{
	const PlmTrainer *t = c->t;
	const PlmAdapter *a = plm_adapter_of(t, p->section);
	int64_t		r = t->options.lora_rank;
	float		s = (float) (t->options.lora_alpha / (double) r);
	int64_t		first;
	int64_t		n;
	const float *dy;
	const float *x;
	float	   *u;
	float	   *v;

	rows_of(c, p, i, &first, &n);
	dy = p->dy + first * p->lddy;
	x = p->x + first * p->ldx;
	if (a == NULL)
		return outer_square(n, dy, p->lddy, p->n, x, p->ldx, p->k, p->db != NULL);
	u = c->u + first * r;
	v = c->v + first * r;
	plm_gemm(false, true, n, r, p->k, s, x, p->ldx, t->w + a->wa, p->k, 0.0f, u, r);
	plm_gemm(false, false, n, r, p->n, s, dy, p->lddy, t->w + a->wb, r, 0.0f, v, r);
	return outer_square(n, dy, p->lddy, p->n, u, r, r, false) + outer_square(n, v, r, r, x, p->ldx, p->k, false);
}

/* The first token of the text that has token k's piece, or type, and so adds to the same row of the table. */
static int64_t
first_like(const int32_t *ids, int64_t k)
{
	int64_t		i = 0;

	while (ids[i] != ids[k])
		i++;
	return i;
}

/* Of the rows of a table that a text's tokens choose. */
static double
table_square(const float *dx, int64_t C, const int32_t *ids, int64_t n)
{
	double		sum = 0;

	for (int64_t k = 0; k < n; k++)
	{
		if (first_like(ids, k) < k)
			continue;
		for (int64_t i = 0; i < C; i++)
		{
			double		d = 0;

			for (int64_t other = k; other < n; other++)
				d += ids[other] == ids[k] ? dx[other * C + i] : 0;
			sum += d * d;
		}
	}
	return sum;
}

static double
embeddings_square(const Clipping *c, int64_t i)
{
	const PlmTrainer *t = c->t;
	const PlmBatch *b = &c->m->batch;
	int64_t		C = t->model.config.width;
	int64_t		first = b->offsets[i];
	int64_t		n = b->offsets[i + 1] - first;
	const float *dx = t->space.dx + first * C;
	double		sum = table_square(dx, C, b->ids + first, n);

	if (plm_gradient(t, plm_section_of(&t->plan, "pos_embd")) != NULL)
		sum += square(dx, n * C);
	if (plm_gradient(t, plm_section_of(&t->plan, "type_embd")) != NULL)
		sum += table_square(dx, C, b->types + first, n);
	return sum;
}

static double
text_norm(const Clipping *c, int64_t i)
{
	const PlmWaiting *w = c->t->waiting;
	int64_t		C = c->t->model.config.width;
	double		sum = c->t->embeddings_train ? embeddings_square(c, i) : 0;

	for (int k = 0; k < w->n_products; k++)
		sum += product_square(c, &w->products[k], i);
	for (int k = 0; k < w->n_rows; k++)
		sum += square(w->rows[k].rows + i * w->rows[k].stride, C);
	return sqrt(sum);
}

/* ---- scaling ---- */

static void
scale_rows(float *x, int64_t ld, int64_t rows, int64_t n, float by)
{
	for (int64_t r = 0; r < rows; r++)
		for (int64_t i = 0; i < n; i++)
			x[r * ld + i] *= by;
}

static void
scale_text(const Clipping *c, int64_t i, float by)
{
	const PlmWaiting *w = c->t->waiting;
	const PlmBatch *b = &c->m->batch;
	int64_t		C = c->t->model.config.width;
	int64_t		first;
	int64_t		n;

	for (int k = 0; k < w->n_products; k++)
	{
		const PlmProduct *p = &w->products[k];

		rows_of(c, p, i, &first, &n);
		scale_rows(p->dy + first * p->lddy, p->lddy, n, p->n, by);
	}
	for (int k = 0; k < w->n_rows; k++)
		scale_rows(w->rows[k].rows + i * w->rows[k].stride, C, 1, C, by);
	if (c->t->embeddings_train)
		scale_rows(c->t->space.dx + b->offsets[i] * C, C, b->offsets[i + 1] - b->offsets[i], C, by);
}

static PlmStatus
clip_text(void *arg, int64_t i, PlmWorker *worker, PlmError *err)
{
	const Clipping *c = arg;
	/* What rounding to floats may add to a norm is taken off it beforehand. */
	double		most = c->t->options.privacy_clip * (1 - 1e-6);
	double		norm;

	if (plm_stopped(worker))
		return plm_cancelled(err);
	norm = text_norm(c, i);
	if (!isfinite(norm))
		return plm_fail(err, PLM_ENUMERIC, 0, "the norm of an example's gradient of step %" PRId64 " is %g", c->t->at_step + 1, norm);
	if (norm > most)
		scale_text(c, i, (float) (most / norm));
	return PLM_OK;
}

PlmStatus
plm_clip(PlmTrainer *t, PlmMicro *m, PlmError *err)
{
	Clipping	c = {.t = t, .m = m};
	PlmWaiting *w = t->waiting;
	int64_t		r = t->options.lora_rank;

	if (t->n_adapters > 0)
	{
		PLM_TRY(plm_take(&t->step, m->batch.tokens * r, sizeof(float), &c.u, err));
		PLM_TRY(plm_take(&t->step, m->batch.tokens * r, sizeof(float), &c.v, err));
	}
	PLM_TRY(plm_parallel(t->threads, m->n, clip_text, &c, t->options.hook, err));
	t->waiting = NULL;
	for (int k = 0; k < w->n_rows; k++)
		for (int64_t i = 0; i < m->n; i++)
			plm_add_to(w->rows[k].to, w->rows[k].rows + i * w->rows[k].stride, t->model.config.width);
	return plm_products(t, w->products, w->n_products, err);
}
