/*
 * kernels_avx512_vnni.c -- tiles of int8 (vpdpbusd); all else is kernels_avx512.c.
 *
 * The instruction is written as assembly: from the intrinsic gcc 12 copies each accumulator
 * through memory in the inner loop.
 */
#include "kernels.h"
#include "kernels_cases.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "kernels_lanes512.h"

#define DOT_INT8(sum, a, b) __asm__("vpdpbusd %2, %1, %0" : "+v" (sum) : "v" (a), "v" (b))

static inline __attribute__((always_inline)) void
int8_pass(const int R, int64_t units, const uint8_t *x, int64_t block_units, const int8_t *w, int32_t *acc)
{
	__m512i		sum[24];

#pragma GCC unroll 24
	for (int i = 0; i < R * 2; i++)
		sum[i] = _mm512_setzero_si512();
	for (; units > 0; units -= PLM_UNITS, x += block_units * 4)
	{
		const uint8_t *xu = x;

		for (int64_t u = units < PLM_UNITS ? units : PLM_UNITS; u > 0; u--)
		{
			__m512i		b0 = _mm512_loadu_si512(w);
			__m512i		b1 = _mm512_loadu_si512(w + 64);

			__builtin_prefetch(w + PLM_PREFETCH);
			__builtin_prefetch(w + PLM_PREFETCH + 64);
#pragma GCC unroll 12
			for (int r = 0; r < R; r++)
			{
				__m512i		a = spread(xu + r * PLM_X_LD * 4);

				DOT_INT8(sum[2 * r], a, b0);
				DOT_INT8(sum[2 * r + 1], a, b1);
			}
			xu += 4;
			w += PLM_PANEL * 4;
		}
	}
#pragma GCC unroll 24
	for (int i = 0; i < R * 2; i++)
		_mm512_storeu_si512(acc + 16 * i, sum[i]);
}

void
plm_tile_int8_vnni(int rows, int64_t units, const uint8_t *x, int64_t block_units, const int8_t *panel, int32_t *acc)
{
	INT8_TILE(1, 12);
}

static inline __attribute__((always_inline)) void
code_tile(const int R, const int P, int64_t width, const uint8_t *row, int64_t stride, const int8_t *query, int32_t *out)
{
	__m512i		sum[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};

	for (int64_t i = 0; i < width; i += 64)
	{
		__m512i		q[4];

#pragma GCC unroll 4
		for (int p = 0; p < P; p++)
			q[p] = _mm512_loadu_si512(query + p * width + i);
#pragma GCC unroll 4
		for (int r = 0; r < R; r++)
		{
			__m512i		c = _mm512_loadu_si512(row + r * stride + i);

#pragma GCC unroll 4
			for (int p = 0; p < P; p++)
				DOT_INT8(sum[r * P + p], c, q[p]);
		}
	}
	_mm_storeu_si128((__m128i *) out, sum_lanes(sum));
}

#include "kernels_codes.h"

void
plm_dot_codes_vnni(int64_t rows, int64_t width, const uint8_t *codes, int queries, const int8_t *query, int32_t *out)
{
	dot_codes(rows, width, codes, queries, query, out);
}

#endif							/* __x86_64__ */
