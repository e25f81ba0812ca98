/*
 * rows.c -- the row kernels by their public names: each goes to the active level's version.
 */
#include "kernels.h"

#include <math.h>

void
plm_layer_norm(int64_t rows, int64_t width, const float *x, const float *r, const float *g,
			   const float *b, float eps, float *y, float *save)
{
	plm_kernels()->row->layer_norm(rows, width, x, r, g, b, eps, y, save);
}

void
plm_layer_norm_backward(int64_t rows, int64_t width, const float *x, const float *save, const float *g,
						const float *dy, float *dx, float *dg, float *db)
{
	plm_kernels()->row->layer_norm_backward(rows, width, x, save, g, dy, dx, dg, db);
}

void
plm_activate(PlmActivation act, float *x, int64_t n)
{
	plm_kernels()->row->activate(act, x, n);
}

void
plm_activate_backward(PlmActivation act, const float *x, float *dy, int64_t n)
{
	plm_kernels()->row->activate_backward(act, x, dy, n);
}

/* A rate so near to 1 that 2^32 draws would not tell them apart keeps nothing. */
void
plm_dropout(float *x, int64_t n, double rate, uint64_t seed, uint64_t first)
{
	double		least = rate * 4294967296.0 + 0.5;

	if (!(least >= 1))
		return;
	if (least >= 4294967296.0)
	{
		for (int64_t i = 0; i < n; i++)
			x[i] = 0;
		return;
	}
	plm_kernels()->row->dropout(x, n, plm_random_key(seed), first, (uint32_t) least, (float) (1 / (1 - rate)));
}

void
plm_softmax(float *x, int64_t n, float scale)
{
	plm_kernels()->row->softmax(x, n, scale);
}

float
plm_dot(const float *a, const float *b, int64_t n)
{
	return plm_kernels()->row->dot(a, b, n);
}

void
plm_dot3(const float *a, const float *b, int64_t n, float *ab, float *aa, float *bb)
{
	plm_kernels()->row->dot3(a, b, n, ab, aa, bb);
}

void
plm_add_to(float *y, const float *x, int64_t n)
{
	plm_kernels()->row->add_to(y, x, n);
}

void
plm_scale(float *x, float s, int64_t n)
{
	plm_kernels()->row->scale(x, s, n);
}

void
plm_adam(int64_t n, const PlmAdam *adam, const float *g, float *w, float *m, float *v)
{
	plm_kernels()->row->adam(n, adam, g, w, m, v);
}

void
plm_max_to(float *y, const float *x, int64_t n)
{
	plm_kernels()->row->max_to(y, x, n);
}

/* Squares of fp32 values neither overflow nor vanish in double. */
static double
wide_norm(const float *x, int64_t n)
{
	double		sum = 0;

	for (int64_t i = 0; i < n; i++)
		sum += (double) x[i] * x[i];
	return sqrt(sum);
}

bool
plm_normalize(float *x, int64_t n)
{
	float		square = plm_dot(x, x, n);
	double		norm;

	if (square > 1e-20f && square < 1e30f)
	{
		plm_scale(x, 1.0f / sqrtf(square), n);
		return true;
	}
	norm = wide_norm(x, n);
	if (!(norm > 0) || !isfinite(norm))
		return false;
	for (int64_t i = 0; i < n; i++)
		x[i] = (float) (x[i] / norm);
	return true;
}
