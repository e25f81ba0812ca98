/*
 * products.c -- gradients of weights as products over all rows, and the linear layers of heads.
 *
 * Products are cut by outputs: the parts need no sums of each other, and each is added up over the rows in one order.
 */
#include "internal.h"

#include <string.h>

#define PART_ELEMENTS 294912	/* of a weight that one task does: some 192 by 1536 */
#define PART_OUTPUTS 96			/* at the least: with fewer, packing costs as much as multiplying */
#define ROW_SLICE 1024			/* rows between two polls */
#define HEAD_ROWS 96			/* rows of a head's linear that one task does */

static int64_t
part_outputs(const PlmProduct *p)
{
	int64_t		n = PART_ELEMENTS / p->k / 16 * 16;

	return n < PART_OUTPUTS ? PART_OUTPUTS : n;
}

static int64_t
parts_of(const PlmProduct *p)
{
	return p->dw != NULL ? (p->n + part_outputs(p) - 1) / part_outputs(p) : 0;
}

typedef struct Job
{
	const PlmProduct *products;
	int			n;
} Job;

static PlmStatus
product_part(void *arg, int64_t chunk, PlmWorker *worker, PlmError *err)
{
	const Job  *job = arg;
	const PlmProduct *p = job->products;
	int64_t		first;
	int64_t		n;

	for (; chunk >= parts_of(p); p++)
		chunk -= parts_of(p);
	first = chunk * part_outputs(p);
	n = p->n - first < part_outputs(p) ? p->n - first : part_outputs(p);
	for (int64_t r = 0; r < p->rows; r += ROW_SLICE)
	{
		int64_t		rows = p->rows - r < ROW_SLICE ? p->rows - r : ROW_SLICE;

		if (plm_stopped(worker))
			return plm_cancelled(err);
		plm_nn_linear_backward(rows, n, p->k, p->dy + r * p->lddy + first, p->lddy, p->x + r * p->ldx, p->ldx,
							   p->dw + first * p->k, p->db != NULL ? p->db + first : NULL);
	}
	return PLM_OK;
}

PlmStatus
plm_products(PlmTrainer *t, const PlmProduct *products, int n, PlmError *err)
{
	Job			job = {products, n};
	int64_t		parts = 0;

	if (t->waiting != NULL)
	{
		plm_clip_products(t, products, n);
		return PLM_OK;
	}
	for (int i = 0; i < n; i++)
		parts += parts_of(&products[i]);
	return plm_parallel(t->threads, parts, product_part, &job, t->options.hook, err);
}

/* ---- products of other kinds ---- */

typedef struct Matmul
{
	bool		trans_a, trans_b;
	int64_t		m, n, k;
	float		alpha, beta;
	const float *a, *b;
	int64_t		lda, ldb, ldc;
	float	   *c;
} Matmul;

static int64_t
blocks_of(int64_t rows)
{
	return (rows + HEAD_ROWS - 1) / HEAD_ROWS;
}

static PlmStatus
matmul_rows(void *arg, int64_t block, PlmWorker *worker, PlmError *err)
{
	const Matmul *j = arg;
	int64_t		first = block * HEAD_ROWS;
	int64_t		rows = j->m - first < HEAD_ROWS ? j->m - first : HEAD_ROWS;

	if (plm_stopped(worker))
		return plm_cancelled(err);
	plm_gemm(j->trans_a, j->trans_b, rows, j->n, j->k, j->alpha, j->a + first * (j->trans_a ? 1 : j->lda), j->lda, j->b, j->ldb,
			 j->beta, j->c + first * j->ldc, j->ldc);
	return PLM_OK;
}

PlmStatus
plm_matmul(PlmTrainer *t, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha,
		   const float *a, int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc, PlmError *err)
{
	Matmul		job = {trans_a, trans_b, m, n, k, alpha, beta, a, b, lda, ldb, ldc, c};

	return plm_parallel(t->threads, blocks_of(m), matmul_rows, &job, t->options.hook, err);
}

/* ---- linear layers of heads ---- */

typedef struct Affine
{
	const PlmAffine *a;
	int64_t		rows;
	const float *x;
	float	   *y;
} Affine;

static PlmStatus
affine_rows(void *arg, int64_t block, PlmWorker *worker, PlmError *err)
{
	Affine	   *f = arg;
	int64_t		first = block * HEAD_ROWS;
	int64_t		rows = f->rows - first < HEAD_ROWS ? f->rows - first : HEAD_ROWS;
	int64_t		n = f->a->l->w.n;
	int64_t		k = f->a->l->w.k;

	/* In f32 no scratch is needed. */
	return plm_nn_linear(f->a->l, rows, f->x + first * k, k, NULL, f->y + first * n, n, PLM_ACT_NONE, NULL, worker, err);
}

PlmStatus
plm_affine_forward(PlmTrainer *t, const PlmAffine *a, int64_t rows, const float *x, float *z, PlmError *err)
{
	Affine		f = {.a = a, .rows = rows, .x = x, .y = z};

	return plm_parallel(t->threads, blocks_of(rows), affine_rows, &f, t->options.hook, err);
}

void
plm_affine_activate(const PlmAffine *a, int64_t rows, const float *z, float *y)
{
	int64_t		n = a->l->w.n;

	if (y != z)
		memcpy(y, z, (size_t) (rows * n) * sizeof(float));
	for (int64_t r = 0; r < rows; r++)
		plm_activate(a->act, y + r * n, n);
}

PlmStatus
plm_affine_backward(PlmTrainer *t, const PlmAffine *a, int64_t rows, const float *x, const float *z, float *dy,
					float *dx, PlmError *err)
{
	int64_t		n = a->l->w.n;
	int64_t		k = a->l->w.k;
	PlmProduct	product = {rows, n, k, dy, n, x, k, plm_gradient(t, a->section_w), plm_gradient(t, a->section_b), a->section_w, false};

	for (int64_t r = 0; a->act != PLM_ACT_NONE && r < rows; r++)
		plm_activate_backward(a->act, z + r * n, dy + r * n, n);
	PLM_TRY(plm_products(t, &product, 1, err));
	if (dx == NULL)
		return PLM_OK;
	return plm_matmul(t, false, false, rows, k, n, 1.0f, dy, n, t->w + t->at[a->section_w], k, 0.0f, dx, k, err);
}
