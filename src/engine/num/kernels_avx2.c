/*
 * kernels_avx2.c -- row kernels and tiles for AVX2 with FMA.
 */
#include "kernels.h"
#include "kernels_cases.h"

#if defined(__x86_64__)

#include "kernels_lanes256.h"

typedef __m256 VF;

#define VN 8

#define v_load(p) _mm256_loadu_ps(p)
#define v_store(p, v) _mm256_storeu_ps(p, v)
#define v_load_n(p, n) _mm256_maskload_ps(p, first_lanes(n))
#define v_store_n(p, v, n) _mm256_maskstore_ps(p, first_lanes(n), v)
#define v_set1(x) _mm256_set1_ps(x)
#define v_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define v_fnma(a, b, c) _mm256_fnmadd_ps(a, b, c)
#define v_max(a, b) _mm256_max_ps(a, b)
#define v_min(a, b) _mm256_min_ps(a, b)
#define v_rint(x) _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define v_abs(x) _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x)
#define v_sqrt(a) _mm256_sqrt_ps(a)

static inline __m256i
first_lanes(int64_t n)
{
	return _mm256_cmpgt_epi32(_mm256_set1_epi32((int) n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline VF
v_pow2(VF n)
{
	return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}

static inline VF
v_keep_ge(VF x, VF a, VF b)
{
	return _mm256_and_ps(x, _mm256_cmp_ps(a, b, _CMP_NLT_UQ));
}

static inline VF
v_neg_if(VF x, VF s)
{
	return _mm256_xor_ps(x, _mm256_and_ps(s, _mm256_set1_ps(-0.0f)));
}

static inline float
v_sum(VF x)
{
	__m128		h = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));

	h = _mm_add_ps(h, _mm_movehl_ps(h, h));
	return _mm_cvtss_f32(_mm_add_ss(h, _mm_movehdup_ps(h)));
}

static inline float
v_most(VF x)
{
	__m128		h = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));

	h = _mm_max_ps(h, _mm_movehl_ps(h, h));
	return _mm_cvtss_f32(_mm_max_ss(h, _mm_movehdup_ps(h)));
}

static inline float
v_least(VF x)
{
	__m128		h = _mm_min_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));

	h = _mm_min_ps(h, _mm_movehl_ps(h, h));
	return _mm_cvtss_f32(_mm_min_ss(h, _mm_movehdup_ps(h)));
}

#include "kernels_rows.h"
#include "kernels_tile.h"

const PlmRowKernels plm_row_avx2 = ROW_KERNELS;

#define TILE(R) tile_strips(t, R, R == 1 ? 2 : 1, 4)

void
plm_tile_f32_avx2(const PlmTile *t)
{
	ROWS_CASES(t->rows, 3, TILE)
}

/*
 * Bytes are widened to 16 bits, even and odd apart, so that vpmaddwd sums pairs of exact products
 * in int32 (vpmaddubsw would saturate).  Half a panel at a time: 16 registers hold no more.
 */
static inline __attribute__((always_inline)) void
int8_pass(const int R, int64_t units, const uint8_t *x, int64_t block_units, const int8_t *w, int32_t *acc)
{
	const __m256i low = _mm256_set1_epi16(0xff);
	__m256i		sum[8];

#pragma GCC unroll 8
	for (int i = 0; i < R * 2; i++)
		sum[i] = _mm256_setzero_si256();
	for (; units > 0; units -= PLM_UNITS, x += block_units * 4)
	{
		const uint8_t *xu = x;

		for (int64_t u = units < PLM_UNITS ? units : PLM_UNITS; u > 0; u--)
		{
			__m256i		b0 = _mm256_loadu_si256((const __m256i *) w);
			__m256i		b1 = _mm256_loadu_si256((const __m256i *) (w + 32));
			__m256i		even0 = _mm256_srai_epi16(_mm256_slli_epi16(b0, 8), 8);
			__m256i		even1 = _mm256_srai_epi16(_mm256_slli_epi16(b1, 8), 8);
			__m256i		odd0 = _mm256_srai_epi16(b0, 8);
			__m256i		odd1 = _mm256_srai_epi16(b1, 8);

			/* Both lines of the unit, though half of it is read: every other line is a pattern that no processor fetches by itself. */
			__builtin_prefetch(w + PLM_PREFETCH);
			__builtin_prefetch(w + PLM_PREFETCH + 64);
#pragma GCC unroll 4
			for (int r = 0; r < R; r++)
			{
				int32_t		four;
				__m256i		a;
				__m256i		even;
				__m256i		odd;

				memcpy(&four, xu + r * PLM_X_LD * 4, sizeof(four));
				a = _mm256_set1_epi32(four);
				even = _mm256_and_si256(a, low);
				odd = _mm256_srli_epi16(a, 8);
				sum[2 * r] = _mm256_add_epi32(sum[2 * r], _mm256_add_epi32(_mm256_madd_epi16(even, even0), _mm256_madd_epi16(odd, odd0)));
				sum[2 * r + 1] = _mm256_add_epi32(sum[2 * r + 1], _mm256_add_epi32(_mm256_madd_epi16(even, even1), _mm256_madd_epi16(odd, odd1)));
			}
			xu += 4;
			w += PLM_PANEL * 4;
		}
	}
#pragma GCC unroll 8
	for (int i = 0; i < R * 2; i++)
		_mm256_storeu_si256((__m256i *) (acc + i / 2 * PLM_PANEL + i % 2 * 8), sum[i]);
}

void
plm_tile_int8_avx2(int rows, int64_t units, const uint8_t *x, int64_t block_units, const int8_t *panel, int32_t *acc)
{
	INT8_TILE(2, 4);
}

/* Bytes are widened to 16 bits: vpmaddubsw would saturate. */
static inline __attribute__((always_inline)) void
code_tile(const int R, const int P, int64_t width, const uint8_t *row, int64_t stride, const int8_t *query, int32_t *out)
{
	__m256i		sum[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};

	for (int64_t i = 0; i < width; i += 16)
	{
		__m256i		q[4];

#pragma GCC unroll 4
		for (int p = 0; p < P; p++)
			q[p] = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *) (query + p * width + i)));
#pragma GCC unroll 4
		for (int r = 0; r < R; r++)
		{
			__m256i		c = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *) (row + r * stride + i)));

#pragma GCC unroll 4
			for (int p = 0; p < P; p++)
				sum[r * P + p] = _mm256_add_epi32(sum[r * P + p], _mm256_madd_epi16(c, q[p]));
		}
	}
	_mm_storeu_si128((__m128i *) out, sum_lanes(sum));
}

#include "kernels_codes.h"

void
plm_dot_codes_avx2(int64_t rows, int64_t width, const uint8_t *codes, int queries, const int8_t *query, int32_t *out)
{
	dot_codes(rows, width, codes, queries, query, out);
}

#endif							/* __x86_64__ */
