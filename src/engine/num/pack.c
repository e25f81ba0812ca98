/*
 * pack.c -- weights in the layout that every level's kernels read; plm_num.h draws it.
 */
#include "kernels.h"

#include <math.h>
#include <string.h>

/* With more inputs than this a sum of int8 products could leave int32: 255 * 127 * K. */
#define INT8_MAX_K 65536

static int64_t
up_to(int64_t n, int64_t step)
{
	return (n + step - 1) / step * step;
}

/* Inputs that share one 32-bit unit. */
static int64_t
group_of(PlmPrecision precision)
{
	return precision == PLM_PREC_F32 ? 1 : precision == PLM_PREC_BF16 ? 2 : 4;
}

size_t
plm_pack_bytes(PlmPrecision precision, int64_t n, int64_t k)
{
	int64_t		group = group_of(precision);
	size_t		bytes;

	if (n <= 0 || k <= 0 || n > INT64_MAX - PLM_PANEL || k > INT64_MAX - group)
		return 0;
	n = up_to(n, PLM_PANEL);
	if (precision == PLM_PREC_INT8 && k > INT8_MAX_K)
		return 0;
	if (!plm_mul((size_t) n, (size_t) up_to(k, group), &bytes) ||
		!plm_mul(bytes, sizeof(float) / (size_t) group, &bytes))
		return 0;
	if (precision == PLM_PREC_INT8 &&
		!plm_add(bytes, (size_t) n * (sizeof(float) + sizeof(int32_t)), &bytes))
		return 0;
	return bytes;
}

static void
pack_f32(int64_t n, int64_t k, const float *w, float *dst)
{
	for (int64_t i = 0; i < n; i++)
	{
		float	   *to = dst + i / PLM_PANEL * PLM_PANEL * k + i % PLM_PANEL;

		for (int64_t j = 0; j < k; j++)
			to[j * PLM_PANEL] = w[i * k + j];
	}
}

void
plm_pack_transposed(int64_t n, int64_t k, const float *w, void *dst)
{
	float	   *to = dst;

	for (int64_t p = 0; p < k; p += PLM_PANEL)
	{
		int64_t		width = k - p < PLM_PANEL ? k - p : PLM_PANEL;

		for (int64_t i = 0; i < n; i++, to += PLM_PANEL)
		{
			memcpy(to, w + i * k + p, (size_t) width * sizeof(float));
			memset(to + width, 0, (size_t) (PLM_PANEL - width) * sizeof(float));
		}
	}
}

static void
pack_bf16(int64_t n, int64_t k, const float *w, uint16_t *dst)
{
	int64_t		pairs = up_to(k, 2);

	for (int64_t i = 0; i < n; i++)
	{
		uint16_t   *to = dst + i / PLM_PANEL * PLM_PANEL * pairs + i % PLM_PANEL * 2;

		for (int64_t j = 0; j < k; j++)
			to[j / 2 * PLM_PANEL * 2 + j % 2] = plm_f32_to_bf16(w[i * k + j]);
	}
}

/* Round a weight to -127 .. 127; one that is not a number becomes 0 (its loader refuses such files). */
static int
round_int8(float x)
{
	if (!(x > -127.0f))
		return x <= -127.0f ? -127 : 0;
	return x < 127.0f ? (int) rintf(x) : 127;
}

static void
pack_int8(int64_t n, int64_t k, const float *w, int8_t *dst)
{
	int64_t		padded = up_to(n, PLM_PANEL);
	int64_t		quads = up_to(k, 4);
	float	   *scale = (float *) (dst + padded * quads);
	int32_t    *sum = (int32_t *) (scale + padded);

	for (int64_t i = 0; i < n; i++)
	{
		const float *row = w + i * k;
		int8_t	   *to = dst + i / PLM_PANEL * PLM_PANEL * quads + i % PLM_PANEL * 4;
		float		most = 0;

		for (int64_t j = 0; j < k; j++)
			if (fabsf(row[j]) > most)
				most = fabsf(row[j]);
		scale[i] = most / 127.0f;
		for (int64_t j = 0; j < k; j++)
		{
			int			q = scale[i] > 0 ? round_int8(row[j] / scale[i]) : 0;

			to[j / 4 * PLM_PANEL * 4 + j % 4] = (int8_t) q;
			sum[i] += q;
		}
	}
}

void
plm_pack(PlmPrecision precision, int64_t n, int64_t k, const float *w, void *dst)
{
	/* Whole panels of fp32 have no padding: training packs them at each step. */
	if (precision != PLM_PREC_F32 || n % PLM_PANEL != 0)
		memset(dst, 0, plm_pack_bytes(precision, n, k));
	if (precision == PLM_PREC_F32)
		pack_f32(n, k, w, dst);
	else if (precision == PLM_PREC_BF16)
		pack_bf16(n, k, w, dst);
	else
		pack_int8(n, k, w, dst);
}

void
plm_unpack(const PlmPacked *w, float *out)
{
	int64_t		group = group_of(w->precision);
	int64_t		padded = up_to(w->k, group);
	const float *scale = (const float *) ((const int8_t *) w->data + up_to(w->n, PLM_PANEL) * padded);

	for (int64_t i = 0; i < w->n; i++)
		for (int64_t j = 0; j < w->k; j++)
		{
			int64_t		at = i / PLM_PANEL * PLM_PANEL * padded + (j / group * PLM_PANEL + i % PLM_PANEL) * group + j % group;
			float	   *to = out + i * w->k + j;

			if (w->precision == PLM_PREC_F32)
				*to = ((const float *) w->data)[at];
			else if (w->precision == PLM_PREC_BF16)
				*to = plm_bf16_to_f32(((const uint16_t *) w->data)[at]);
			else
				*to = ((const int8_t *) w->data)[at] * scale[i];
		}
}
