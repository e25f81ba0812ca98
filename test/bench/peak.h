/*
 * peak.h -- fp32 multiply-adds that one core of this machine can do, measured: twelve or more independent FMA chains in
 * registers, median of windows long enough for the clock to settle.  Percentages in the benchmarks are of this figure, taken in the same run.
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

/* GFLOP/s that one core holds, median of the windows; 0 where it is not known how to ask. */
static inline double
bench_peak_gflops(void)
{
	double		median = 0;
#if defined(__x86_64__)
	volatile float sink;
	const int64_t rounds = 7000000;
	int			wide = __builtin_cpu_supports("avx512f");
	double		flops[PEAK_WINDOWS];

	if (!__builtin_cpu_supports("avx2"))
		return 0;
	for (int i = 0; i < PEAK_WINDOWS; i++)
	{
		double		begin = bench_now();

		sink = wide ? peak_avx512(rounds) : peak_avx2(rounds);
		flops[i] = (double) rounds * (wide ? 20 * 16 * 2 : 12 * 8 * 2) / (bench_now() - begin) / 1e9;
	}
	(void) sink;
	qsort(flops, PEAK_WINDOWS, sizeof(double), peak_order);
	median = flops[PEAK_WINDOWS / 2];
#endif
	return median;
}

#endif							/* PEAK_H */
