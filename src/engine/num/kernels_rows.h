/*
 * kernels_rows.h -- the row kernels, written once over the vector type of the file that includes it.
 *
 * The includer defines VF (a vector of VN floats) and v_load, v_store, v_load_n, v_store_n (the first
 * n < VN lanes; others read as 0 and are not touched), v_set1, v_fma (a*b+c), v_fnma (c-a*b), v_max,
 * v_min (as x86: the second operand when either is NaN), v_rint, v_pow2 (2^n of an integral n in
 * -126..127), v_abs, v_keep_ge (x where a >= b or unordered, else 0), v_neg_if (x with its sign
 * flipped where s is negative), v_sqrt, v_sum, v_most, v_least; + - * / work on VF.
 * Sums run over lanes and accumulators by position in the row alone.
 */
#include <math.h>
#include <string.h>

static inline VF
v_zero(void)
{
	return v_set1(0.0f);
}

#include "kernels_activate.h"

/* No branch: the loop becomes vectors of 64-bit products. */
static void
dropout(float *restrict x, int64_t n, uint64_t key, uint64_t first, uint32_t least, float by)
{
	for (int64_t i = 0; i < n; i++)
	{
		float		kept = x[i] * by;

		x[i] = plm_random_keyed(key, first + (uint64_t) i) >= least ? kept : 0.0f;
	}
}

/* Lanes past the end of the row are set to -inf, so that they weigh e^-inf = 0. */
static void
softmax(float *x, int64_t n, float scale)
{
	VF			s = v_set1(scale);
	VF			most = v_set1(-INFINITY);
	VF			sum = v_zero();
	int64_t		whole = n / VN * VN;
	float		last[VN];

	if (n <= 0)
		return;
	for (int i = 0; i < VN; i++)
		last[i] = whole + i < n ? x[whole + i] * scale : -INFINITY;
	for (int64_t i = 0; i < whole; i += VN)
		most = v_max(most, v_load(x + i) * s);
	most = v_set1(v_most(v_max(most, v_load(last))));
	for (int64_t i = 0; i < whole; i += VN)
	{
		VF			e = v_exp(v_load(x + i) * s - most);

		v_store(x + i, e);
		sum = sum + e;
	}
	v_store(last, v_exp(v_load(last) - most));
	sum = sum + v_load(last);
	s = v_set1(1.0f / v_sum(sum));
	for (int64_t i = 0; i < whole; i += VN)
		v_store(x + i, v_load(x + i) * s);
	if (whole < n)
		v_store_n(x + whole, v_load(last) * s, n - whole);
}

static float
dot(const float *a, const float *b, int64_t n)
{
	VF			s0 = v_zero();
	VF			s1 = v_zero();
	VF			s2 = v_zero();
	VF			s3 = v_zero();
	int64_t		i = 0;

	for (; i + 4 * VN <= n; i += 4 * VN)
	{
		s0 = v_fma(v_load(a + i), v_load(b + i), s0);
		s1 = v_fma(v_load(a + i + VN), v_load(b + i + VN), s1);
		s2 = v_fma(v_load(a + i + 2 * VN), v_load(b + i + 2 * VN), s2);
		s3 = v_fma(v_load(a + i + 3 * VN), v_load(b + i + 3 * VN), s3);
	}
	for (; i + VN <= n; i += VN)
		s0 = v_fma(v_load(a + i), v_load(b + i), s0);
	if (i < n)
		s1 = v_fma(v_load_n(a + i, n - i), v_load_n(b + i, n - i), s1);
	return v_sum((s0 + s1) + (s2 + s3));
}

/* scale * p * (dp - p . dp) */
static void
softmax_backward(const float *p, float *dp, int64_t n, float scale)
{
	VF			mean = v_set1(dot(p, dp, n));
	VF			by = v_set1(scale);
	int64_t		i = 0;

	for (; i + VN <= n; i += VN)
		v_store(dp + i, v_load(p + i) * by * (v_load(dp + i) - mean));
	if (i < n)
		v_store_n(dp + i, v_load_n(p + i, n - i) * by * (v_load_n(dp + i, n - i) - mean), n - i);
}

static void
dot3(const float *a, const float *b, int64_t n, float *ab, float *aa, float *bb)
{
	VF			s[6];
	int64_t		i = 0;

	for (int j = 0; j < 6; j++)
		s[j] = v_zero();
	for (; i + 2 * VN <= n; i += 2 * VN)
	{
		VF			x = v_load(a + i);
		VF			y = v_load(b + i);
		VF			z = v_load(a + i + VN);
		VF			w = v_load(b + i + VN);

		s[0] = v_fma(x, y, s[0]);
		s[1] = v_fma(x, x, s[1]);
		s[2] = v_fma(y, y, s[2]);
		s[3] = v_fma(z, w, s[3]);
		s[4] = v_fma(z, z, s[4]);
		s[5] = v_fma(w, w, s[5]);
	}
	for (; i < n; i += VN)
	{
		VF			x = n - i < VN ? v_load_n(a + i, n - i) : v_load(a + i);
		VF			y = n - i < VN ? v_load_n(b + i, n - i) : v_load(b + i);

		s[0] = v_fma(x, y, s[0]);
		s[1] = v_fma(x, x, s[1]);
		s[2] = v_fma(y, y, s[2]);
	}
	*ab = v_sum(s[0] + s[3]);
	*aa = v_sum(s[1] + s[4]);
	*bb = v_sum(s[2] + s[5]);
}

static void
add_to(float *y, const float *x, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		y[i] += x[i];
}

static void
scale(float *x, float s, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		x[i] *= s;
}

static void
max_to(float *y, const float *x, int64_t n)
{
	int64_t		i = 0;

	for (; i + VN <= n; i += VN)
		v_store(y + i, v_max(v_load(y + i), v_load(x + i)));
	if (i < n)
		v_store_n(y + i, v_max(v_load_n(y + i, n - i), v_load_n(x + i, n - i)), n - i);
}

/* y = x + r (r may be NULL), returning its mean. */
static inline float
norm_sum(int64_t width, const float *x, const float *r, float *y)
{
	VF			s0 = v_zero();
	VF			s1 = v_zero();

	for (int64_t i = 0; i < width; i += VN)
	{
		int64_t		left = width - i;
		VF			v;

		if (left >= VN)
		{
			v = v_load(x + i);
			if (r != NULL)
				v = v + v_load(r + i);
			if (r != NULL || x != y)
				v_store(y + i, v);
		}
		else
		{
			v = v_load_n(x + i, left);
			if (r != NULL)
				v = v + v_load_n(r + i, left);
			v_store_n(y + i, v, left);
		}
		if (i / VN % 2 == 0)
			s0 = s0 + v;
		else
			s1 = s1 + v;
	}
	return v_sum(s0 + s1) / (float) width;
}

/*
 * Two passes, not E[x^2]-E[x]^2, which cancels when |mean| is much larger than the deviation.  The
 * sum of deviations, which would be 0 for an exact mean, corrects what rounding left in it.
 */
static inline float
norm_rstd(int64_t width, const float *y, float eps, float *mean)
{
	VF			m = v_set1(*mean);
	VF			sum = v_zero();
	VF			q0 = v_zero();
	VF			q1 = v_zero();
	float		rest = 0;
	float		rest2 = 0;
	int64_t		i = 0;
	float		off;

	for (; i + VN <= width; i += VN)
	{
		VF			d = v_load(y + i) - m;

		sum = sum + d;
		if (i / VN % 2 == 0)
			q0 = v_fma(d, d, q0);
		else
			q1 = v_fma(d, d, q1);
	}
	for (; i < width; i++)
	{
		float		d = y[i] - *mean;

		rest += d;
		rest2 += d * d;
	}
	off = (v_sum(sum) + rest) / (float) width;
	*mean += off;
	return 1.0f / sqrtf((v_sum(q0 + q1) + rest2) / (float) width - off * off + eps);
}

static void
layer_norm(int64_t rows, int64_t width, const float *x, const float *r, const float *g,
		   const float *b, float eps, float *y, float *save)
{
	for (int64_t t = 0; t < rows; t++)
	{
		float	   *to = y + t * width;
		float		mean = norm_sum(width, x + t * width, r != NULL ? r + t * width : NULL, to);
		float		rstd = norm_rstd(width, to, eps, &mean);

		for (int64_t i = 0; i < width; i++)
			to[i] = (to[i] - mean) * rstd * g[i];
		for (int64_t i = 0; b != NULL && i < width; i++)
			to[i] += b[i];
		if (save != NULL)
		{
			save[2 * t] = mean;
			save[2 * t + 1] = rstd;
		}
	}
}

/* One vector of a row: adds to the row's two sums and to dg and db. */
static inline VF
norm_part(VF x, VF g, VF dy, VF mean, VF rstd, VF *sum, VF *sum_x, VF *dg)
{
	VF			xhat = (x - mean) * rstd;
	VF			dxhat = dy * g;

	*sum = *sum + dxhat;
	*sum_x = v_fma(dxhat, xhat, *sum_x);
	*dg = v_fma(dy, xhat, *dg);
	return dy;
}

static void
layer_norm_backward(int64_t rows, int64_t width, const float *x, const float *save, const float *g,
					const float *dy, float *dx, float *dg, float *db)
{
	int64_t		whole = width / VN * VN;
	int64_t		left = width - whole;

	for (int64_t t = 0; t < rows; t++, x += width, dy += width, dx += width, save += 2)
	{
		VF			mean = v_set1(save[0]);
		VF			rstd = v_set1(save[1]);
		VF			sum = v_zero();
		VF			sum_x = v_zero();

		for (int64_t i = 0; i < whole; i += VN)
		{
			VF			d = v_load(dg + i);
			VF			e = norm_part(v_load(x + i), v_load(g + i), v_load(dy + i), mean, rstd, &sum, &sum_x, &d);

			v_store(dg + i, d);
			if (db != NULL)
				v_store(db + i, v_load(db + i) + e);
		}
		if (left > 0)
		{
			VF			d = v_load_n(dg + whole, left);
			VF			e = norm_part(v_load_n(x + whole, left), v_load_n(g + whole, left), v_load_n(dy + whole, left),
									  mean, rstd, &sum, &sum_x, &d);

			v_store_n(dg + whole, d, left);
			if (db != NULL)
				v_store_n(db + whole, v_load_n(db + whole, left) + e, left);
		}
		sum = v_set1(v_sum(sum) / (float) width);
		sum_x = v_set1(v_sum(sum_x) / (float) width);
		for (int64_t i = 0; i < whole; i += VN)
		{
			VF			xhat = (v_load(x + i) - mean) * rstd;

			v_store(dx + i, rstd * (v_fma(v_load(dy + i), v_load(g + i), v_zero() - sum) - xhat * sum_x));
		}
		if (left > 0)
		{
			VF			xhat = (v_load_n(x + whole, left) - mean) * rstd;

			v_store_n(dx + whole, rstd * (v_fma(v_load_n(dy + whole, left), v_load_n(g + whole, left), v_zero() - sum) -
										  xhat * sum_x), left);
		}
	}
}

static void
round_bf16(const float *restrict x, float *restrict y, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
	{
		uint32_t	u;
		uint32_t	even;

		memcpy(&u, x + i, sizeof(u));
		even = u + 0x7fff + (u >> 16 & 1);
		u = ((u & 0x7fffffff) > 0x7f800000 ? u | 0x400000 : even) & 0xffff0000;
		memcpy(y + i, &u, sizeof(u));
	}
}

static void
widen_bf16(const uint16_t *restrict pairs, int64_t k, float *restrict panel)
{
	for (int64_t j = 0; j < k; j += 2)
	{
		const uint16_t *from = pairs + j * PLM_PANEL;
		float	   *even = panel + j * PLM_PANEL;
		float	   *odd = j + 1 < k ? even + PLM_PANEL : even;

		/* The odd half first: where there is none, the even half takes its place. */
		for (int i = 0; i < PLM_PANEL; i++)
		{
			uint32_t	both;

			memcpy(&both, from + 2 * i, sizeof(both));
			both &= 0xffff0000;
			memcpy(odd + i, &both, sizeof(both));
		}
		for (int i = 0; i < PLM_PANEL; i++)
		{
			uint32_t	both;

			memcpy(&both, from + 2 * i, sizeof(both));
			both <<= 16;
			memcpy(even + i, &both, sizeof(both));
		}
	}
}

/* 1.5 * 2^23: adding it to |v| < 2^22 leaves v, rounded to the nearest even integer, in the low bits. */
#define INT_MAGIC 12582912.0f

static inline int32_t
round_to_int(float v)
{
	uint32_t	bits;

	v += INT_MAGIC;
	memcpy(&bits, &v, sizeof(bits));
	return (int32_t) (bits - 0x4b400000u);
}

/*
 * The same values on every level: least and most are exact, and each step after them is one rounded
 * operation.  A row with NaN or infinity gets the scale NaN, so that it cannot pass for a sound one.
 */
static PlmQuant
quantize(const float *restrict x, int64_t k, uint8_t *restrict dst, size_t block_bytes)
{
	const int64_t step = PLM_UNITS * 4;
	VF			most = v_zero();
	VF			least = v_zero();
	VF			odd = v_zero();
	PlmQuant	q;
	float		inverse;

	for (int64_t i = 0; i < k; i += VN)
	{
		VF			v = k - i < VN ? v_load_n(x + i, k - i) : v_load(x + i);

		most = v_max(most, v);
		least = v_min(least, v);
		odd = odd + v * v_zero();
	}
	q.scale = (v_most(most) - v_least(least)) / 255.0f;
	if (q.scale < 1e-37f)
		q.scale = 0;
	inverse = q.scale > 0 ? 1.0f / q.scale : 0.0f;
	q.zero = round_to_int(-v_least(least) * inverse);
	if (!isfinite(q.scale) || v_sum(odd) != 0)
		q = (PlmQuant) {NAN, 0};
	for (int64_t at = 0; at < k; at += step)
	{
		int64_t		n = k - at < step ? k - at : step;
		uint8_t    *to = dst + (size_t) (at / step) * block_bytes;

		for (int64_t i = 0; i < n; i++)
		{
			int32_t		u = (int32_t) ((uint32_t) round_to_int(x[at + i] * inverse) + (uint32_t) q.zero);

			u = u < 0 ? 0 : u;
			to[i] = (uint8_t) (u > 255 ? 255 : u);
		}
		for (int64_t i = n; i % 4 != 0; i++)
			to[i] = 0;
	}
	return q;
}

/* Integer arithmetic modulo 2^32, as the vector instructions do it.  With n known, loops become a few vectors without a tail. */
static inline __attribute__((always_inline)) void
dequantize_some(const int n, const int32_t *restrict acc, PlmQuant q, const float *restrict scale,
				const int32_t *restrict sum, const float *bias, const float *add, float *y)
{
	float		out[PLM_PANEL];

	for (int j = 0; j < n; j++)
	{
		int32_t		exact = (int32_t) ((uint32_t) acc[j] - (uint32_t) q.zero * (uint32_t) sum[j]);

		out[j] = (float) exact * (q.scale * scale[j]);
	}
	for (int j = 0; bias != NULL && j < n; j++)
		out[j] += bias[j];
	for (int j = 0; add != NULL && j < n; j++)
		out[j] += add[j];
	for (int j = 0; j < n; j++)
		y[j] = out[j];
}

static void
dequantize(int64_t n, const int32_t *acc, PlmQuant q, const float *scale, const int32_t *sum, const float *bias, const float *add,
		   float *y)
{
	if (n == PLM_PANEL)
		dequantize_some(PLM_PANEL, acc, q, scale, sum, bias, add, y);
	else
		dequantize_some((int) n, acc, q, scale, sum, bias, add, y);
}

#include "kernels_adam.h"

#define ROW_KERNELS \
	{layer_norm, layer_norm_backward, activate, activate_backward, softmax, softmax_backward, dropout, dot, dot3, \
	add_to, scale, max_to, adam, round_bf16, widen_bf16, quantize, dequantize}
