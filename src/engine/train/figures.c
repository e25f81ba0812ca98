/*
 * figures.c -- what evaluations are made of: counts of right classes, ranks, correlation, nDCG.
 *
 * One definition of each figure, for the held-out rows of a training and for a host that measures any model.
 */
#include "plm_train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- classes ---- */

enum { RIGHT, SAID, TRUE_ONES, COUNTS };

void
plm_tally_clear(PlmTally *tally)
{
	tally->cases = tally->exact = 0;
	memset(tally->counts, 0, (size_t) tally->labels * COUNTS * sizeof(int64_t));
}

void
plm_tally_add(PlmTally *tally, const int32_t *truth, int32_t n_truth, const int32_t *said, int32_t n_said)
{
	int32_t		right = 0;

	for (int32_t i = 0; i < n_truth; i++)
		tally->counts[truth[i] * COUNTS + TRUE_ONES]++;
	for (int32_t i = 0, k = 0; i < n_said; i++)
	{
		while (k < n_truth && truth[k] < said[i])
			k++;
		tally->counts[said[i] * COUNTS + SAID]++;
		if (k == n_truth || truth[k] != said[i])
			continue;
		tally->counts[said[i] * COUNTS + RIGHT]++;
		right++;
	}
	tally->cases++;
	tally->exact += right == n_truth && right == n_said;
}

double
plm_tally_accuracy(const PlmTally *tally)
{
	return tally->cases > 0 ? (double) tally->exact / (double) tally->cases : NAN;
}

double
plm_tally_macro_f1(const PlmTally *tally)
{
	double		sum = 0;
	int64_t		classes = 0;

	for (int32_t k = 0; k < tally->labels; k++)
	{
		const int64_t *c = tally->counts + (int64_t) k * COUNTS;

		if (c[SAID] + c[TRUE_ONES] == 0)
			continue;
		sum += 2.0 * (double) c[RIGHT] / (double) (c[SAID] + c[TRUE_ONES]);
		classes++;
	}
	return classes > 0 ? sum / (double) classes : NAN;
}

double
plm_tally_micro_f1(const PlmTally *tally)
{
	int64_t		right = 0;
	int64_t		all = 0;

	for (int32_t k = 0; k < tally->labels; k++)
	{
		const int64_t *c = tally->counts + (int64_t) k * COUNTS;

		right += c[RIGHT];
		all += c[SAID] + c[TRUE_ONES];
	}
	return all > 0 ? 2.0 * (double) right / (double) all : NAN;
}

int32_t
plm_decide(const float *scores, int32_t labels, bool multi, float least, int32_t *said)
{
	int32_t		best = 0;
	int32_t		n = 0;

	for (int32_t k = 0; k < labels; k++)
	{
		if (multi && scores[k] >= least)
			said[n++] = k;
		if (scores[k] > scores[best])
			best = k;
	}
	if (!multi)
		said[n++] = best;
	return n;
}

/* ---- correlation ---- */

static int
by_value(const void *a, const void *b)
{
	double		x = ((const PlmRanked *) a)->value;
	double		y = ((const PlmRanked *) b)->value;

	return (x > y) - (x < y);
}

void
plm_ranks(const double *values, int64_t n, PlmRanked *scratch, double *rank)
{
	for (int64_t i = 0; i < n; i++)
		scratch[i] = (PlmRanked) {values[i], i};
	qsort(scratch, (size_t) n, sizeof(PlmRanked), by_value);
	for (int64_t i = 0, end; i < n; i = end)
	{
		for (end = i + 1; end < n && scratch[end].value == scratch[i].value; end++)
			;
		for (int64_t k = i; k < end; k++)
			rank[scratch[k].at] = (double) (i + 1 + end) / 2;
	}
}

/* Not by the sum of squares: rounding of the mean leaves something of it. */
static bool
is_constant(const double *x, const int64_t *pick, int64_t n)
{
	for (int64_t i = 1; i < n; i++)
		if (x[pick[i]] != x[pick[0]])
			return false;
	return true;
}

double
plm_correlation(const double *x, const double *y, const int64_t *pick, int64_t n)
{
	double		mx = 0;
	double		my = 0;
	double		xx = 0;
	double		yy = 0;
	double		xy = 0;

	if (is_constant(x, pick, n) || is_constant(y, pick, n))
		return NAN;
	for (int64_t i = 0; i < n; i++)
	{
		mx += x[pick[i]] / (double) n;
		my += y[pick[i]] / (double) n;
	}
	for (int64_t i = 0; i < n; i++)
	{
		double		dx = x[pick[i]] - mx;
		double		dy = y[pick[i]] - my;

		xx += dx * dx;
		yy += dy * dy;
		xy += dx * dy;
	}
	return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : NAN;
}

/* ---- ranked lists ---- */

static int
descending(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x < y) - (x > y);
}

static double
discounted_gain(const double *grades, int64_t n)
{
	double		sum = 0;

	for (int64_t i = 0; i < n; i++)
		sum += (exp2(grades[i]) - 1) / log2((double) i + 2);
	return sum;
}

double
plm_ndcg(double *grades, int64_t n, int64_t depth)
{
	int64_t		seen = n < depth ? n : depth;
	double		gain = discounted_gain(grades, seen);
	double		ideal;

	qsort(grades, (size_t) n, sizeof(double), descending);
	ideal = discounted_gain(grades, seen);
	return ideal > 0 ? gain / ideal : NAN;
}

double
plm_reciprocal_rank(int64_t rank, int64_t depth)
{
	return rank <= depth ? 1 / (double) rank : 0;
}

/* ---- means ---- */

double
plm_picked_mean(const double *values, const int64_t *pick, int64_t n)
{
	double		sum = 0;

	for (int64_t i = 0; i < n; i++)
		sum += values[pick[i]];
	return sum / (double) n;
}
