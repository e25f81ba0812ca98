/*
 * kernels_neon_dot.c -- tiles of int8 by the dot product of Arm v8.2; all else is kernels_neon.c.
 *
 * The instruction multiplies signed with signed, and activations are unsigned: x - 128 has the bits of x with the highest turned over,
 * so sum x w = sum (x - 128) w + 128 sum w, where the second sum is formed once for all rows of a tile.  Exact in int32: |(x - 128) w|
 * and 128 |w| are at most 128 * 127, K at most 65536, and what would wrap in between wraps back.
 */
#include "kernels.h"
#include "kernels_cases.h"

#if defined(__aarch64__)

#include <arm_neon.h>

static inline int8x16_t
without_128(uint8x16_t x)
{
	return vreinterpretq_s8_u8(veorq_u8(x, vdupq_n_u8(128)));
}

/* Half a panel, R rows: 16 sums, 4 sums of the weights, 4 vectors of x, and what passes through. */
static inline __attribute__((always_inline)) void
int8_pass(const int R, int64_t units, const uint8_t *x, int64_t block_units, const int8_t *w, int32_t *acc)
{
	const int8x16_t ones = vdupq_n_s8(1);
	int32x4_t	sum[16];
	int32x4_t	weights[4];

#pragma GCC unroll 16
	for (int i = 0; i < R * 4; i++)
		sum[i] = vdupq_n_s32(0);
#pragma GCC unroll 4
	for (int j = 0; j < 4; j++)
		weights[j] = vdupq_n_s32(0);
	for (; units > 0; units -= PLM_UNITS, x += block_units * 4)
	{
		const uint8_t *xu = x;

		for (int64_t u = units < PLM_UNITS ? units : PLM_UNITS; u > 0; u--)
		{
			int8x16_t	a[4];

#pragma GCC unroll 4
			for (int r = 0; r < R; r++)
			{
				uint32_t	four;

				memcpy(&four, xu + r * PLM_X_LD * 4, sizeof(four));
				a[r] = without_128(vreinterpretq_u8_u32(vdupq_n_u32(four)));
			}
#pragma GCC unroll 4
			for (int j = 0; j < 4; j++)
			{
				int8x16_t	b = vld1q_s8(w + 16 * j);

				weights[j] = vdotq_s32(weights[j], b, ones);
#pragma GCC unroll 4
				for (int r = 0; r < R; r++)
					sum[4 * r + j] = vdotq_s32(sum[4 * r + j], b, a[r]);
			}
			xu += 4;
			w += PLM_PANEL * 4;
		}
	}
#pragma GCC unroll 16
	for (int i = 0; i < R * 4; i++)
		vst1q_s32(acc + i / 4 * PLM_PANEL + i % 4 * 4, vaddq_s32(sum[i], vshlq_n_s32(weights[i % 4], 7)));
}

void
plm_tile_int8_neon_dot(int rows, int64_t units, const uint8_t *x, int64_t block_units, const int8_t *panel, int32_t *acc)
{
	INT8_TILE(2, 4);
}

static inline __attribute__((always_inline)) void
code_tile(const int R, const int P, int64_t width, const uint8_t *row, int64_t stride, const int8_t *query, int32_t *out)
{
	const int8x16_t ones = vdupq_n_s8(1);
	int32x4_t	sum[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
	int32x4_t	queries[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};

	for (int64_t i = 0; i < width; i += 16)
	{
		int8x16_t	q[4];

#pragma GCC unroll 4
		for (int p = 0; p < P; p++)
		{
			q[p] = vld1q_s8(query + p * width + i);
			queries[p] = vdotq_s32(queries[p], q[p], ones);
		}
#pragma GCC unroll 4
		for (int r = 0; r < R; r++)
		{
			int8x16_t	c = without_128(vld1q_u8(row + r * stride + i));

#pragma GCC unroll 4
			for (int p = 0; p < P; p++)
				sum[r * P + p] = vdotq_s32(sum[r * P + p], c, q[p]);
		}
	}
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++)
		sum[i] = vaddq_s32(sum[i], vshlq_n_s32(queries[i % P], 7));
	vst1q_s32(out, vpaddq_s32(vpaddq_s32(sum[0], sum[1]), vpaddq_s32(sum[2], sum[3])));
}

#include "kernels_codes.h"

void
plm_dot_codes_neon_dot(int64_t rows, int64_t width, const uint8_t *codes, int queries, const int8_t *query, int32_t *out)
{
	dot_codes(rows, width, codes, queries, query, out);
}

#endif							/* __aarch64__ */
