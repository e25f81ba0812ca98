/*
 * kernels_avx512_bf16.c -- tiles of bf16 (vdpbf16ps); all else is kernels_avx512.c and kernels_avx512_vnni.c.
 *
 * The instruction is written as assembly: from the intrinsic gcc 12 copies each accumulator
 * through memory in the inner loop.
 */
#include "kernels.h"
#include "kernels_cases.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "kernels_lanes512.h"

#define DOT_BF16(sum, a, b) __asm__("vdpbf16ps %2, %1, %0" : "+v" (sum) : "v" (a), "v" (b))

static inline __attribute__((always_inline)) void
bf16_pass(const PlmTile *t, const int R, const int P, int panel)
{
	const char *x = t->x;
	const char *w = (const char *) t->panel + (size_t) panel * t->panel_stride;
	__m512		sum[24];

#pragma GCC unroll 24
	for (int i = 0; i < R * P * 2; i++)
		sum[i] = _mm512_setzero_ps();
	for (int64_t u = t->units; u > 0; u--)
	{
		__m512i		b[PLM_TILE_PANELS * 2];

#pragma GCC unroll 8
		for (int j = 0; j < P * 2; j++)
			b[j] = _mm512_loadu_si512(w + (size_t) (j / 2) * t->panel_stride + j % 2 * 64);
		__builtin_prefetch(w + PLM_PREFETCH);
		__builtin_prefetch(w + PLM_PREFETCH + 64);
#pragma GCC unroll 12
		for (int r = 0; r < R; r++)
		{
			__m512i		a = spread(x + r * PLM_X_LD * 4);

#pragma GCC unroll 8
			for (int j = 0; j < P * 2; j++)
				DOT_BF16(sum[r * P * 2 + j], a, b[j]);
		}
		x += 4;
		w += PLM_PANEL * 4;
	}
#pragma GCC unroll 12
	for (int r = 0; r < R; r++)
#pragma GCC unroll 8
		for (int j = 0; j < P * 2; j++)
		{
			int			at = (panel + j / 2) * PLM_PANEL + j % 2 * 16;
			__m512		v = sum[r * P * 2 + j];

			if (t->bias != NULL)
				v = _mm512_add_ps(v, _mm512_loadu_ps(t->bias + at));
			if (t->add != NULL)
				v = _mm512_add_ps(v, _mm512_loadu_ps(t->add + r * t->ldy + at));
			_mm512_storeu_ps(t->y + r * t->ldy + at, v);
		}
}

static inline __attribute__((always_inline)) void
bf16_panels(const PlmTile *t, const int R, const int P)
{
	int			panel = 0;

	for (; P > 1 && panel + P <= t->panels; panel += P)
		bf16_pass(t, R, P, panel);
	for (; panel < t->panels; panel++)
		bf16_pass(t, R, 1, panel);
}

#define TILE(R) bf16_panels(t, R, R == 1 ? 4 : R <= 3 ? 2 : 1)

void
plm_tile_bf16_avx512(const PlmTile *t)
{
	ROWS_CASES(t->rows, 12, TILE)
}

void
plm_prepare_bf16_avx512(const float *x, int64_t n, uint16_t *dst)
{
	int64_t		i = 0;

	for (; i + 16 <= n; i += 16)
		_mm256_storeu_si256((__m256i *) (dst + i), (__m256i) _mm512_cvtneps_pbh(_mm512_loadu_ps(x + i)));
	if (i < n)
	{
		__mmask16	some = (__mmask16) ((1u << (n - i)) - 1);
		__mmask16	even = (__mmask16) ((1u << (n - i + (n - i) % 2)) - 1);

		_mm256_mask_storeu_epi16(dst + i, even, (__m256i) _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(some, x + i)));
	}
}

#endif							/* __x86_64__ */
