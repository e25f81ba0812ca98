/*
 * kernels_lanes512.h -- what the kernels on 512-bit registers share; for files that are compiled for AVX-512.
 */
#ifndef PLM_KERNELS_LANES512_H
#define PLM_KERNELS_LANES512_H

#include <immintrin.h>

/* The four bytes at p in every lane. */
static inline __m512i
spread(const void *p)
{
	int32_t		unit;

	__builtin_memcpy(&unit, p, sizeof(unit));
	return _mm512_set1_epi32(unit);
}

/* Sums of the lanes of each of four: transposed within quarters, which are then added. */
static inline __m128i
sum_lanes(const __m512i *sum)
{
	__m512i		a = _mm512_add_epi32(_mm512_unpacklo_epi32(sum[0], sum[1]), _mm512_unpackhi_epi32(sum[0], sum[1]));
	__m512i		b = _mm512_add_epi32(_mm512_unpacklo_epi32(sum[2], sum[3]), _mm512_unpackhi_epi32(sum[2], sum[3]));
	__m512i		c = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
	__m256i		d = _mm256_add_epi32(_mm512_castsi512_si256(c), _mm512_extracti64x4_epi64(c, 1));

	return _mm_add_epi32(_mm256_castsi256_si128(d), _mm256_extracti128_si256(d, 1));
}

#endif							/* PLM_KERNELS_LANES512_H */
