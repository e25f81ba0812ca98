/*
 * kernels_portable.c -- row kernels and tiles in C alone, over the compiler's vectors of four floats,
 * which every 64-bit machine has registers for.
 */
#include "kernels.h"
#include "kernels_cases.h"

#include <math.h>

typedef float VF __attribute__((vector_size(16)));
typedef int32_t VI __attribute__((vector_size(16)));

#define VN 4

#define v_fma(a, b, c) ((a) * (b) + (c))
#define v_fnma(a, b, c) ((c) - (a) * (b))

static inline VF
v_load(const float *p)
{
	VF			v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}

static inline void
v_store(float *p, VF v)
{
	__builtin_memcpy(p, &v, sizeof(v));
}

static inline VF
v_load_n(const float *p, int64_t n)
{
	VF			v = {0, 0, 0, 0};

	for (int i = 0; i < n; i++)
		v[i] = p[i];
	return v;
}

static inline void
v_store_n(float *p, VF v, int64_t n)
{
	for (int i = 0; i < n; i++)
		p[i] = v[i];
}

static inline VF
v_set1(float x)
{
	return (VF) {x, x, x, x};
}

static inline VF
v_pick(VI mask, VF a, VF b)
{
	return (VF) ((mask & (VI) a) | (~mask & (VI) b));
}

static inline VF
v_max(VF a, VF b)
{
	return v_pick(a > b, a, b);
}

static inline VF
v_min(VF a, VF b)
{
	return v_pick(a < b, a, b);
}

/* For |x| < 2^22, which is all that it is used for: adding 1.5 * 2^23 rounds to the nearest integer. */
static inline VF
v_rint(VF x)
{
	VF			magic = v_set1(12582912.0f);

	return (x + magic) - magic;
}

/* By the bits of n + 1.5 * 2^23, so that a NaN is never converted. */
static inline VF
v_pow2(VF n)
{
	VI			bits = (VI) (n + v_set1(12582912.0f + 127.0f));

	return (VF) (bits << 23);
}

static inline VF
v_abs(VF x)
{
	return (VF) ((VI) x & 0x7fffffff);
}

static inline VF
v_sqrt(VF x)
{
	return (VF) {sqrtf(x[0]), sqrtf(x[1]), sqrtf(x[2]), sqrtf(x[3])};
}

static inline VF
v_keep_ge(VF x, VF a, VF b)
{
	return (VF) (~(a < b) & (VI) x);
}

static inline VF
v_neg_if(VF x, VF s)
{
	return (VF) ((VI) x ^ ((VI) s & INT32_MIN));
}

static inline float
v_sum(VF x)
{
	return (x[0] + x[2]) + (x[1] + x[3]);
}

static inline float
greater(float a, float b)
{
	return a > b ? a : b;
}

static inline float
v_most(VF x)
{
	return greater(greater(x[0], x[2]), greater(x[1], x[3]));
}

static inline float
v_least(VF x)
{
	return -greater(greater(-x[0], -x[2]), greater(-x[1], -x[3]));
}

#include "kernels_rows.h"
#include "kernels_tile.h"

const PlmRowKernels plm_row_portable = ROW_KERNELS;

#define TILE(R) tile_strips(t, R, 1, R == 1 ? 8 : R <= 3 ? 4 : 2)

void
plm_tile_f32_portable(const PlmTile *t)
{
	ROWS_CASES(t->rows, 6, TILE)
}

void
plm_tile_int8_portable(int rows, int64_t units, const uint8_t *x, int64_t block_units, const int8_t *panel, int32_t *acc)
{
	for (int r = 0; r < rows; r++)
	{
		const uint8_t *xr = x + r * PLM_X_LD * 4;
		int32_t		sum[PLM_PANEL] = {0};

		for (int64_t u = 0; u < units; u++)
		{
			const uint8_t *a = xr + u / PLM_UNITS * block_units * 4 + u % PLM_UNITS * 4;
			const int8_t *b = panel + u * PLM_PANEL * 4;

			for (int j = 0; j < PLM_PANEL; j++)
				sum[j] += a[0] * b[4 * j] + a[1] * b[4 * j + 1] + a[2] * b[4 * j + 2] + a[3] * b[4 * j + 3];
		}
		memcpy(acc + r * PLM_PANEL, sum, sizeof(sum));
	}
}

static inline __attribute__((always_inline)) void
code_tile(const int R, const int P, int64_t width, const uint8_t *row, int64_t stride, const int8_t *query, int32_t *out)
{
	for (int r = 0; r < R; r++)
		for (int p = 0; p < P; p++)
		{
			int32_t		sum = 0;

			for (int64_t i = 0; i < width; i++)
				sum += row[r * stride + i] * query[p * width + i];
			out[r * P + p] = sum;
		}
}

#include "kernels_codes.h"

void
plm_dot_codes_portable(int64_t rows, int64_t width, const uint8_t *codes, int queries, const int8_t *query, int32_t *out)
{
	dot_codes(rows, width, codes, queries, query, out);
}
