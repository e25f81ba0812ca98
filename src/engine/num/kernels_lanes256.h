/*
 * kernels_lanes256.h -- what the kernels on 256-bit registers share; for files that are compiled for AVX2.
 */
#ifndef PLM_KERNELS_LANES256_H
#define PLM_KERNELS_LANES256_H

#include <immintrin.h>

/* Sums of the lanes of each of four. */
static inline __m128i
sum_lanes(const __m256i *sum)
{
	__m256i		h = _mm256_hadd_epi32(_mm256_hadd_epi32(sum[0], sum[1]), _mm256_hadd_epi32(sum[2], sum[3]));

	return _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
}

#endif							/* PLM_KERNELS_LANES256_H */
