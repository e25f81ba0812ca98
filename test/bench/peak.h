/*
 * peak.h -- multiply-adds that one core of this machine can do in fp32, bf16 and int8, measured: twelve or more independent chains
 * in registers, median of windows long enough for the clock to settle.  Percentages in the benchmarks are of these figures, taken
 * in the same run.
 */
#ifndef PEAK_H
#define PEAK_H

#include <stdint.h>
#include <stdlib.h>
#include <time.h>

static inline double
bench_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx512f"))) static float
peak_avx512(int64_t rounds)
{
	__m512		acc[20];
	__m512		x = _mm512_set1_ps(0.999f);
	__m512		y = _mm512_set1_ps(1e-3f);

	for (int i = 0; i < 20; i++)
		acc[i] = _mm512_set1_ps((float) i);
	for (int64_t r = 0; r < rounds; r++)
	{
#pragma GCC unroll 20
		for (int i = 0; i < 20; i++)
			acc[i] = _mm512_fmadd_ps(acc[i], x, y);
	}
	for (int i = 1; i < 20; i++)
		acc[0] = _mm512_add_ps(acc[0], acc[i]);
	return _mm512_reduce_add_ps(acc[0]);
}

__attribute__((target("avx2,fma"))) static float
peak_avx2(int64_t rounds)
{
	__m256		acc[12];
	__m256		x = _mm256_set1_ps(0.999f);
	__m256		y = _mm256_set1_ps(1e-3f);
	float		out[8];

	for (int i = 0; i < 12; i++)
		acc[i] = _mm256_set1_ps((float) i);
	for (int64_t r = 0; r < rounds; r++)
	{
#pragma GCC unroll 12
		for (int i = 0; i < 12; i++)
			acc[i] = _mm256_fmadd_ps(acc[i], x, y);
	}
	for (int i = 1; i < 12; i++)
		acc[0] = _mm256_add_ps(acc[0], acc[i]);
	_mm256_storeu_ps(out, acc[0]);
	return out[0];
}

/* bf16 and int8: two and four products for each lane of fp32.  The registers are zero, and stay so. */
__attribute__((target("avx512f"))) static float
peak_bf16(int64_t rounds)
{
	__m512		acc[20];
	__m512		x = _mm512_setzero_ps();

#pragma GCC unroll 20
	for (int i = 0; i < 20; i++)
		acc[i] = x;
	for (int64_t r = 0; r < rounds; r++)
	{
#pragma GCC unroll 20
		for (int i = 0; i < 20; i++)
			__asm__("vdpbf16ps %1, %1, %0" : "+v" (acc[i]) : "v" (x));
	}
#pragma GCC unroll 20
	for (int i = 1; i < 20; i++)
		acc[0] = _mm512_add_ps(acc[0], acc[i]);
	return _mm512_reduce_add_ps(acc[0]);
}

__attribute__((target("avx512f"))) static float
peak_int8(int64_t rounds)
{
	__m512i		acc[20];
	__m512i		x = _mm512_setzero_si512();

#pragma GCC unroll 20
	for (int i = 0; i < 20; i++)
		acc[i] = x;
	for (int64_t r = 0; r < rounds; r++)
	{
#pragma GCC unroll 20
		for (int i = 0; i < 20; i++)
			__asm__("vpdpbusd %1, %1, %0" : "+v" (acc[i]) : "v" (x));
	}
#pragma GCC unroll 20
	for (int i = 1; i < 20; i++)
		acc[0] = _mm512_add_epi32(acc[0], acc[i]);
	return (float) _mm512_reduce_add_epi32(acc[0]);
}
#endif

/* Windows of some 20 ms: shorter bursts run above the clock that a core holds. */
#define PEAK_WINDOWS 15

static int
peak_order(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

/* Processor time: the figure of this core, whoever else is on the machine. */
static inline double
peak_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

typedef enum PeakOf {PEAK_F32, PEAK_BF16, PEAK_INT8} PeakOf;

/* GFLOP/s that one core holds, median of the windows; 0 where it is not known how to ask, or there is no instruction for it. */
static inline double
bench_peak_of(PeakOf what)
{
	double		median = 0;
#if defined(__x86_64__)
	volatile double sink;
	const int64_t rounds = 7000000;
	int			wide = __builtin_cpu_supports("avx512f");
	double		flops[PEAK_WINDOWS];

	if (!__builtin_cpu_supports("avx2") || (what == PEAK_BF16 && !__builtin_cpu_supports("avx512bf16")) ||
		(what == PEAK_INT8 && !__builtin_cpu_supports("avx512vnni")))
		return 0;
	for (int i = 0; i < PEAK_WINDOWS; i++)
	{
		double		begin = peak_now();

		sink = what == PEAK_BF16 ? peak_bf16(rounds) : what == PEAK_INT8 ? peak_int8(rounds) :
			wide ? peak_avx512(rounds) : peak_avx2(rounds);
		flops[i] = (double) rounds * (what == PEAK_BF16 ? 20 * 32 * 2 : what == PEAK_INT8 ? 20 * 64 * 2 :
									  wide ? 20 * 16 * 2 : 12 * 8 * 2) / (peak_now() - begin) / 1e9;
	}
	(void) sink;
	qsort(flops, PEAK_WINDOWS, sizeof(double), peak_order);
	median = flops[PEAK_WINDOWS / 2];
#endif
	return median;
}

static inline double
bench_peak_gflops(void)
{
	return bench_peak_of(PEAK_F32);
}

#endif							/* PEAK_H */
