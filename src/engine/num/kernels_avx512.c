/*
 * kernels_avx512.c -- row kernels and tiles for AVX-512 F, BW, DQ, VL.
 */
#include "kernels.h"
#include "kernels_cases.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "kernels_lanes512.h"

typedef __m512 VF;

#define VN 16

#define v_load(p) _mm512_loadu_ps(p)
#define v_store(p, v) _mm512_storeu_ps(p, v)
#define v_load_n(p, n) _mm512_maskz_loadu_ps((__mmask16) ((1u << (n)) - 1), p)
#define v_store_n(p, v, n) _mm512_mask_storeu_ps(p, (__mmask16) ((1u << (n)) - 1), v)
#define v_set1(x) _mm512_set1_ps(x)
#define v_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define v_fnma(a, b, c) _mm512_fnmadd_ps(a, b, c)
#define v_max(a, b) _mm512_max_ps(a, b)
#define v_min(a, b) _mm512_min_ps(a, b)
#define v_rint(x) _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define v_abs(x) _mm512_abs_ps(x)
#define v_sqrt(a) _mm512_sqrt_ps(a)
#define v_sum(x) _mm512_reduce_add_ps(x)
#define v_most(x) _mm512_reduce_max_ps(x)
#define v_least(x) _mm512_reduce_min_ps(x)

static inline VF
v_pow2(VF n)
{
	return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23));
}

static inline VF
v_keep_ge(VF x, VF a, VF b)
{
	return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ), x);
}

static inline VF
v_neg_if(VF x, VF s)
{
	return _mm512_xor_ps(x, _mm512_and_ps(s, _mm512_set1_ps(-0.0f)));
}

#include "kernels_rows.h"
#include "kernels_tile.h"

const PlmRowKernels plm_row_avx512 = ROW_KERNELS;

#define TILE(R) tile_strips(t, R, R == 1 ? 4 : R <= 3 ? 2 : 1, 2)

void
plm_tile_f32_avx512(const PlmTile *t)
{
	ROWS_CASES(t->rows, 12, TILE)
}

/*
 * Without VNNI: bytes are widened to 16 bits, even and odd apart, so that vpmaddwd sums pairs of
 * exact products in int32 (vpmaddubsw would saturate).
 */
static inline __attribute__((always_inline)) void
int8_pass(const int R, int64_t units, const uint8_t *x, int64_t block_units, const int8_t *w, int32_t *acc)
{
	const __m512i low = _mm512_set1_epi16(0xff);
	__m512i		sum[20];

#pragma GCC unroll 20
	for (int i = 0; i < R * 2; i++)
		sum[i] = _mm512_setzero_si512();
	for (; units > 0; units -= PLM_UNITS, x += block_units * 4)
	{
		const uint8_t *xu = x;

		for (int64_t u = units < PLM_UNITS ? units : PLM_UNITS; u > 0; u--)
		{
			__m512i		b0 = _mm512_loadu_si512(w);
			__m512i		b1 = _mm512_loadu_si512(w + 64);
			__m512i		even0 = _mm512_srai_epi16(_mm512_slli_epi16(b0, 8), 8);
			__m512i		even1 = _mm512_srai_epi16(_mm512_slli_epi16(b1, 8), 8);
			__m512i		odd0 = _mm512_srai_epi16(b0, 8);
			__m512i		odd1 = _mm512_srai_epi16(b1, 8);

#pragma GCC unroll 10
			for (int r = 0; r < R; r++)
			{
				int32_t		four;
				__m512i		a;
				__m512i		even;
				__m512i		odd;

				memcpy(&four, xu + r * PLM_X_LD * 4, sizeof(four));
				a = _mm512_set1_epi32(four);
				even = _mm512_and_si512(a, low);
				odd = _mm512_srli_epi16(a, 8);
				sum[2 * r] = _mm512_add_epi32(sum[2 * r], _mm512_add_epi32(_mm512_madd_epi16(even, even0), _mm512_madd_epi16(odd, odd0)));
				sum[2 * r + 1] = _mm512_add_epi32(sum[2 * r + 1], _mm512_add_epi32(_mm512_madd_epi16(even, even1), _mm512_madd_epi16(odd, odd1)));
			}
			xu += 4;
			w += PLM_PANEL * 4;
		}
	}
#pragma GCC unroll 20
	for (int i = 0; i < R * 2; i++)
		_mm512_storeu_si512(acc + 16 * i, sum[i]);
}

void
plm_tile_int8_avx512(int rows, int64_t units, const uint8_t *x, int64_t block_units, const int8_t *panel, int32_t *acc)
{
	INT8_TILE(1, 10);
}

/* Without VNNI: bytes are widened to 16 bits. */
static inline __attribute__((always_inline)) void
code_tile(const int R, const int P, int64_t width, const uint8_t *row, int64_t stride, const int8_t *query, int32_t *out)
{
	__m512i		sum[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};

	for (int64_t i = 0; i < width; i += 32)
	{
		__m512i		q[4];

#pragma GCC unroll 4
		for (int p = 0; p < P; p++)
			q[p] = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *) (query + p * width + i)));
#pragma GCC unroll 4
		for (int r = 0; r < R; r++)
		{
			__m512i		c = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *) (row + r * stride + i)));

#pragma GCC unroll 4
			for (int p = 0; p < P; p++)
				sum[r * P + p] = _mm512_add_epi32(sum[r * P + p], _mm512_madd_epi16(c, q[p]));
		}
	}
	_mm_storeu_si128((__m128i *) out, sum_lanes(sum));
}

#include "kernels_codes.h"

void
plm_dot_codes_avx512(int64_t rows, int64_t width, const uint8_t *codes, int queries, const int8_t *query, int32_t *out)
{
	dot_codes(rows, width, codes, queries, query, out);
}

#endif							/* __x86_64__ */
