/*
 * peak.h -- fp32 multiply-adds that one core of this machine can do, measured: twelve or more independent FMA chains in
 * registers, best of several short runs.  Percentages in the benchmarks are of this figure, taken in the same run.
 */
#ifndef PEAK_H
#define PEAK_H

#include <stdint.h>
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

/* GFLOP/s of one core; 0 where it is not known how to ask. */
static inline double
bench_peak_gflops(void)
{
	double		best = 0;
#if defined(__x86_64__)
	volatile float sink;
	const int64_t rounds = 1000000;
	int			wide = __builtin_cpu_supports("avx512f");

	if (!__builtin_cpu_supports("avx2"))
		return 0;
	for (int i = 0; i < 12; i++)
	{
		double		begin = bench_now();
		double		flops;

		sink = wide ? peak_avx512(rounds) : peak_avx2(rounds);
		flops = (double) rounds * (wide ? 20 * 16 * 2 : 12 * 8 * 2) / (bench_now() - begin) / 1e9;
		best = flops > best ? flops : best;
	}
	(void) sink;
#endif
	return best;
}

#endif							/* PEAK_H */
