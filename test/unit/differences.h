/*
 * differences.h -- what the tests of backward passes hold gradients against: central differences of a loss in double.
 *
 * With a step of 1e-5 on values near 1 they are good to 1e-9, far below fp32's rounding.  The loss is always sum(dy * y) with a
 * random dy.  An error is stated relative to the largest entry of its gradient, because that is the size of what is summed.
 */
#ifndef DIFFERENCES_H
#define DIFFERENCES_H

#include "num_cases.h"

#include "../../src/engine/nn/plm_nn.h"

#define STEP 1e-5

/* A loss as a function of `at`, whose entries it may change one by one. */
typedef double (*Loss) (const double *at, const void *arg);

/* The largest |got - central difference| over n entries, relative to the largest difference. */
static double
gradient_error(Loss loss, const void *arg, double *at, int64_t n, const float *got)
{
	double		worst = 0, most = 1e-3;

	for (int64_t i = 0; i < n; i++)
	{
		double		keep = at[i], up, want;

		at[i] = keep + STEP;
		up = loss(at, arg);
		at[i] = keep - STEP;
		want = (up - loss(at, arg)) / (2 * STEP);
		at[i] = keep;
		most = fmax(most, fabs(want));
		worst = isnan(got[i]) ? INFINITY : fmax(worst, fabs(got[i] - want));
	}
	return worst / most;
}

static double *
widened(const float *x, int64_t n)
{
	double	   *y = malloc((size_t) (n + 1) * sizeof(double));

	for (int64_t i = 0; i < n; i++)
		y[i] = x[i];
	return y;
}

/* ---- a plain forward pass in double ---- */

static void
norm_plain(int64_t rows, int64_t width, const double *x, const double *g, const double *b, double *y)
{
	for (int64_t t = 0; t < rows; t++, x += width, y += width)
	{
		double		mean = 0, var = 0;

		for (int64_t i = 0; i < width; i++)
			mean += x[i] / (double) width;
		for (int64_t i = 0; i < width; i++)
			var += (x[i] - mean) * (x[i] - mean) / (double) width;
		for (int64_t i = 0; i < width; i++)
			y[i] = (x[i] - mean) / sqrt(var + 1e-5) * g[i] + b[i];
	}
}

#endif							/* DIFFERENCES_H */
