/*
 * codes.c -- vectors in 8 bits: rows, queries, and an upper bound of their cosine; plm_num.h says how it is derived.
 *
 * Rounding is told, not guessed: what 8 bits lose of a vector is measured in double when it is coded, and every bound is
 * rounded up.
 */
#include "kernels.h"

#include <math.h>

/* What double arithmetic loses of lengths near one, many times over. */
#define DOUBLE_SLACK 1e-9

/* Sums are of so many parts, so that the compiler can take a vector's elements side by side. */
#define LANES 8

static inline double
total(const double *part)
{
	double		sum = 0;

	for (int l = 0; l < LANES; l++)
		sum += part[l];
	return sum;
}

static double
length(const float *v, int64_t k)
{
	double		part[LANES] = {0};
	int64_t		whole = k - k % LANES;

	for (int64_t i = 0; i < whole; i += LANES)
		for (int l = 0; l < LANES; l++)
			part[l] += (double) v[i + l] * v[i + l];
	for (int64_t i = whole; i < k; i++)
		part[i - whole] += (double) v[i] * v[i];
	return sqrt(total(part));
}

static float
largest(const float *v, int64_t k)
{
	float		part[LANES] = {0};
	float		most = 0;
	int64_t		whole = k - k % LANES;

	for (int64_t i = 0; i < whole; i += LANES)
		for (int l = 0; l < LANES; l++)
			part[l] = fabsf(v[i + l]) > part[l] ? fabsf(v[i + l]) : part[l];
	for (int64_t i = whole; i < k; i++)
		most = fabsf(v[i]) > most ? fabsf(v[i]) : most;
	for (int l = 0; l < LANES; l++)
		most = part[l] > most ? part[l] : most;
	return most;
}

static bool
is_direction(double norm)
{
	return norm > 0 && isfinite(norm);
}

bool
plm_code_direction(const float *v, int64_t k)
{
	return is_direction(length(v, k));
}

/* Its length, and the largest component of the unit vector; false without a direction. */
static bool
measure(const float *v, int64_t k, double *norm, double *most)
{
	*norm = length(v, k);
	if (!is_direction(*norm))
		return false;
	*most = largest(v, k) / *norm;
	return true;
}

/* The nearest integer in -127..127; |x| is below 2^50. */
static inline double
code_of(double x)
{
	double		c = (x + 0x1.8p52) - 0x1.8p52;

	return c < -127 ? -127 : c > 127 ? 127 : c;
}

static float
rounded_up(double x)
{
	return nextafterf((float) (x + DOUBLE_SLACK), INFINITY);
}

/* Up to LANES elements; what is lost of each is added to its part. */
static inline __attribute__((always_inline)) void
code_some(const float *v, int n, double by, double step, double inverse, uint8_t *codes, double *lost)
{
	double		c[LANES];

	for (int l = 0; l < n; l++)
	{
		double		u = v[l] * by;
		double		r;

		c[l] = code_of(u * inverse);
		r = u - c[l] * step;
		lost[l] += r * r;
	}
	for (int l = 0; l < n; l++)
		codes[l] = (uint8_t) ((int32_t) c[l] + 128);
}

bool
plm_code_row(const float *v, int64_t k, uint8_t *codes, float *scale, float *residual)
{
	double		norm;
	double		most;
	double		lost[LANES] = {0};
	double		step;
	double		inverse;
	int64_t		whole = k - k % LANES;

	if (!measure(v, k, &norm, &most))
		return false;
	*scale = (float) (most / 127);
	step = *scale;
	inverse = 1 / step;
	for (int64_t i = 0; i < whole; i += LANES)
		code_some(v + i, LANES, 1 / norm, step, inverse, codes + i, lost);
	code_some(v + whole, (int) (k - whole), 1 / norm, step, inverse, codes + whole, lost);
	memset(codes + k, 128, (size_t) (plm_code_width(k) - k));
	*residual = rounded_up(sqrt(total(lost)));
	return true;
}

size_t
plm_code_query_bytes(int n, int layers, int64_t k)
{
	size_t		rows = (size_t) n * (size_t) layers;

	if (n <= 0 || n > 1024 || layers < 1 || layers > 2 || k <= 0 || k > PLM_CODE_MAX_K)
		return 0;
	return plm_align(rows * (size_t) plm_code_width(k) + rows * (sizeof(int32_t) + sizeof(float)) +
					 (size_t) n * 2 * sizeof(float) + PLM_CODE_ROWS * rows * sizeof(int32_t), 64);
}

/* One vector: its layers, and what they lose together. */
static bool
code_vector(PlmCodeQuery *q, int at, const float *v)
{
	int64_t		width = plm_code_width(q->k);
	double		norm;
	double		most;
	double		lost = 0;
	double		step[2];

	if (!measure(v, q->k, &norm, &most))
		return false;
	for (int layer = 0; layer < q->layers; layer++)
	{
		q->step[at * q->layers + layer] = (float) (layer == 0 ? most / 127 : most / 127 / 254);
		step[layer] = q->step[at * q->layers + layer];
	}
	for (int64_t i = 0; i < q->k; i++)
	{
		double		rest = v[i] / norm;

		for (int layer = 0; layer < q->layers; layer++)
		{
			double		c = code_of(rest / step[layer]);

			q->codes[(at * q->layers + layer) * width + i] = (int8_t) c;
			q->offset[at * q->layers + layer] += 128 * (int32_t) c;
			rest -= c * step[layer];
		}
		lost += rest * rest;
	}
	q->residual[at] = rounded_up(sqrt(lost));
	return true;
}

bool
plm_code_query(PlmCodeQuery *q, int n, int layers, int64_t k, const float *vectors, const double *weights, void *memory)
{
	size_t		rows = (size_t) n * (size_t) layers;

	memset(memory, 0, plm_code_query_bytes(n, layers, k));
	*q = (PlmCodeQuery) {.n = n, .layers = layers, .k = k, .codes = memory};
	q->offset = (int32_t *) (q->codes + rows * (size_t) plm_code_width(k));
	q->step = (float *) (q->offset + rows);
	q->residual = q->step + rows;
	q->weight = q->residual + n;
	q->sums = (int32_t *) (q->weight + n);
	for (int i = 0; i < n; i++)
	{
		if (!code_vector(q, i, vectors + i * k))
			return false;
		q->weight[i] = weights == NULL ? 1.0f : (float) weights[i];
	}
	return true;
}

/* The largest of weight_i * bound_i for one row whose sums are given. */
static inline __attribute__((always_inline)) float
row_bound(const PlmCodeQuery *q, const int layers, const int32_t *sums, float scale, float residual)
{
	float		slack = (float) (3 * q->k + 64) * 0x1p-24f;
	float		best = -INFINITY;

	for (int i = 0; i < q->n; i++)
	{
		float		near = (float) (sums[i * layers] - q->offset[i * layers]) * q->step[i * layers];
		float		bound;

		if (layers == 2)
			near += (float) (sums[i * 2 + 1] - q->offset[i * 2 + 1]) * q->step[i * 2 + 1];
		bound = q->weight[i] * (scale * near + (residual + (1.0f + residual) * q->residual[i] + slack));
		best = bound > best ? bound : best;
	}
	/* The weight was rounded, and so was the product with it. */
	return best + fabsf(best) * 0x1p-22f;
}

void
plm_code_bounds(const PlmCodeQuery *q, int64_t rows, const uint8_t *codes, const float *scale, const float *residual, float *bounds,
				const void *next)
{
	const PlmDotCodes dot_codes = plm_kernels()->dot_codes;
	int64_t		width = plm_code_width(q->k);
	int			queries = q->n * q->layers;

	for (int64_t at = 0; at < rows; at += PLM_CODE_ROWS)
	{
		int64_t		some = rows - at < PLM_CODE_ROWS ? rows - at : PLM_CODE_ROWS;

		for (int64_t byte = at * width; next != NULL && byte < (at + some) * width; byte += 64)
			__builtin_prefetch((const char *) next + byte);
		dot_codes(some, width, codes + at * width, queries, q->codes, q->sums);
		for (int64_t r = 0; r < some; r++)
			bounds[at + r] = q->layers == 2
				? row_bound(q, 2, q->sums + r * queries, scale[at + r], residual[at + r])
				: row_bound(q, 1, q->sums + r * queries, scale[at + r], residual[at + r]);
	}
}
