/*
 * kernels_avx2_vnni.c -- tiles of int8 by vpdpbusd on 256-bit registers (AVX-VNNI); all else is kernels_avx2.c.
 *
 * For processors that have no AVX-512.  Written as assembly for the reason that stands in kernels_avx512_vnni.c.
 */
#include "kernels.h"
#include "kernels_cases.h"

#if defined(__x86_64__)

#include "kernels_lanes256.h"

#define DOT_INT8(sum, a, b) __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x" (sum) : "x" (a), "x" (b))

/* Half a panel: six rows of two sums, two vectors of the panel and one of x are 15 registers of the 16. */
static inline __attribute__((always_inline)) void
int8_pass(const int R, int64_t units, const uint8_t *x, int64_t block_units, const int8_t *w, int32_t *acc)
{
	__m256i		sum[12];

#pragma GCC unroll 12
	for (int i = 0; i < R * 2; i++)
		sum[i] = _mm256_setzero_si256();
	for (; units > 0; units -= PLM_UNITS, x += block_units * 4)
	{
		const uint8_t *xu = x;

		for (int64_t u = units < PLM_UNITS ? units : PLM_UNITS; u > 0; u--)
		{
			__m256i		b0 = _mm256_loadu_si256((const __m256i *) w);
			__m256i		b1 = _mm256_loadu_si256((const __m256i *) (w + 32));

			__builtin_prefetch(w + PLM_PREFETCH);
#pragma GCC unroll 6
			for (int r = 0; r < R; r++)
			{
				int32_t		four;
				__m256i		a;

				memcpy(&four, xu + r * PLM_X_LD * 4, sizeof(four));
				a = _mm256_set1_epi32(four);
				DOT_INT8(sum[2 * r], a, b0);
				DOT_INT8(sum[2 * r + 1], a, b1);
			}
			xu += 4;
			w += PLM_PANEL * 4;
		}
	}
#pragma GCC unroll 12
	for (int i = 0; i < R * 2; i++)
		_mm256_storeu_si256((__m256i *) (acc + i / 2 * PLM_PANEL + i % 2 * 8), sum[i]);
}

void
plm_tile_int8_avx2_vnni(int rows, int64_t units, const uint8_t *x, int64_t block_units, const int8_t *panel, int32_t *acc)
{
	INT8_TILE(2, 6);
}

static inline __attribute__((always_inline)) void
code_tile(const int R, const int P, int64_t width, const uint8_t *row, int64_t stride, const int8_t *query, int32_t *out)
{
	__m256i		sum[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};

	for (int64_t i = 0; i < width; i += 32)
	{
		__m256i		q[4];

#pragma GCC unroll 4
		for (int p = 0; p < P; p++)
			q[p] = _mm256_loadu_si256((const __m256i *) (query + p * width + i));
#pragma GCC unroll 4
		for (int r = 0; r < R; r++)
		{
			__m256i		c = _mm256_loadu_si256((const __m256i *) (row + r * stride + i));

#pragma GCC unroll 4
			for (int p = 0; p < P; p++)
				DOT_INT8(sum[r * P + p], c, q[p]);
		}
	}
	_mm_storeu_si128((__m128i *) out, sum_lanes(sum));
}

#include "kernels_codes.h"

void
plm_dot_codes_avx2_vnni(int64_t rows, int64_t width, const uint8_t *codes, int queries, const int8_t *query, int32_t *out)
{
	dot_codes(rows, width, codes, queries, query, out);
}

#endif							/* __x86_64__ */
