/*
 * kernels_neon.c -- row kernels and tiles for 64-bit Arm.
 */
#include "kernels.h"
#include "kernels_cases.h"

#if defined(__aarch64__)

#include <arm_neon.h>

typedef float32x4_t VF;

#define VN 4

#define v_load(p) vld1q_f32(p)
#define v_store(p, v) vst1q_f32(p, v)
#define v_set1(x) vdupq_n_f32(x)
#define v_fma(a, b, c) vfmaq_f32(c, a, b)
#define v_fnma(a, b, c) vfmsq_f32(c, a, b)
#define v_rint(x) vrndnq_f32(x)
#define v_abs(x) vabsq_f32(x)
#define v_sqrt(a) vsqrtq_f32(a)

static inline VF
v_load_n(const float *p, int64_t n)
{
	float		v[VN] = {0, 0, 0, 0};

	for (int i = 0; i < n; i++)
		v[i] = p[i];
	return vld1q_f32(v);
}

static inline void
v_store_n(float *p, VF v, int64_t n)
{
	for (int i = 0; i < n; i++)
		p[i] = v[i];
}

/* As x86: the second operand when either is NaN, which vmaxq_f32 does not do. */
static inline VF
v_max(VF a, VF b)
{
	return vbslq_f32(vcgtq_f32(a, b), a, b);
}

static inline VF
v_min(VF a, VF b)
{
	return vbslq_f32(vcltq_f32(a, b), a, b);
}

static inline VF
v_pow2(VF n)
{
	return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23));
}

static inline VF
v_keep_ge(VF x, VF a, VF b)
{
	return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(x), vcltq_f32(a, b)));
}

static inline VF
v_neg_if(VF x, VF s)
{
	uint32x4_t	sign = vandq_u32(vreinterpretq_u32_f32(s), vdupq_n_u32(0x80000000u));

	return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(x), sign));
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

const PlmRowKernels plm_row_neon = ROW_KERNELS;

/* Six rows of four sums, four vectors of the panel and one of x are 29 registers of the 32. */
#define TILE(R) tile_strips(t, R, 1, R <= 2 ? 8 : 4)

void
plm_tile_f32_neon(const PlmTile *t)
{
	ROWS_CASES(t->rows, 6, TILE)
}

/*
 * Four outputs at a time: bytes are widened to 16 bits, the four products of an output go to the four lanes of its own sum, exact in
 * int32; at the end the lanes are added.
 */
static inline __attribute__((always_inline)) void
int8_pass(const int R, int64_t units, const uint8_t *x, int64_t block_units, const int8_t *w, int32_t *acc)
{
	int32x4_t	sum[16];

#pragma GCC unroll 16
	for (int i = 0; i < R * 4; i++)
		sum[i] = vdupq_n_s32(0);
	for (; units > 0; units -= PLM_UNITS, x += block_units * 4)
	{
		const uint8_t *xu = x;

		for (int64_t u = units < PLM_UNITS ? units : PLM_UNITS; u > 0; u--)
		{
			int8x16_t	b = vld1q_s8(w);
			int16x8_t	b0 = vmovl_s8(vget_low_s8(b));
			int16x8_t	b1 = vmovl_s8(vget_high_s8(b));

#pragma GCC unroll 4
			for (int r = 0; r < R; r++)
			{
				uint32_t	four;
				int16x4_t	a;

				memcpy(&four, xu + r * PLM_X_LD * 4, sizeof(four));
				a = vget_low_s16(vreinterpretq_s16_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four)))));
				sum[4 * r] = vmlal_s16(sum[4 * r], vget_low_s16(b0), a);
				sum[4 * r + 1] = vmlal_s16(sum[4 * r + 1], vget_high_s16(b0), a);
				sum[4 * r + 2] = vmlal_s16(sum[4 * r + 2], vget_low_s16(b1), a);
				sum[4 * r + 3] = vmlal_s16(sum[4 * r + 3], vget_high_s16(b1), a);
			}
			xu += 4;
			w += PLM_PANEL * 4;
		}
	}
#pragma GCC unroll 4
	for (int r = 0; r < R; r++)
		vst1q_s32(acc + r * PLM_PANEL, vpaddq_s32(vpaddq_s32(sum[4 * r], sum[4 * r + 1]), vpaddq_s32(sum[4 * r + 2], sum[4 * r + 3])));
}

void
plm_tile_int8_neon(int rows, int64_t units, const uint8_t *x, int64_t block_units, const int8_t *panel, int32_t *acc)
{
	INT8_TILE(8, 4);
}

static inline __attribute__((always_inline)) void
code_tile(const int R, const int P, int64_t width, const uint8_t *row, int64_t stride, const int8_t *query, int32_t *out)
{
	int32x4_t	sum[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};

	for (int64_t i = 0; i < width; i += 8)
	{
		int16x8_t	q[4];

#pragma GCC unroll 4
		for (int p = 0; p < P; p++)
			q[p] = vmovl_s8(vld1_s8(query + p * width + i));
#pragma GCC unroll 4
		for (int r = 0; r < R; r++)
		{
			int16x8_t	c = vreinterpretq_s16_u16(vmovl_u8(vld1_u8(row + r * stride + i)));

#pragma GCC unroll 4
			for (int p = 0; p < P; p++)
			{
				sum[r * P + p] = vmlal_s16(sum[r * P + p], vget_low_s16(c), vget_low_s16(q[p]));
				sum[r * P + p] = vmlal_high_s16(sum[r * P + p], c, q[p]);
			}
		}
	}
	vst1q_s32(out, vpaddq_s32(vpaddq_s32(sum[0], sum[1]), vpaddq_s32(sum[2], sum[3])));
}

#include "kernels_codes.h"

void
plm_dot_codes_neon(int64_t rows, int64_t width, const uint8_t *codes, int queries, const int8_t *query, int32_t *out)
{
	dot_codes(rows, width, codes, queries, query, out);
}

#endif							/* __aarch64__ */
