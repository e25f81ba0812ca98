/*
 * cpu.c -- which instruction-set level this machine has.  The contract is in plm_base.h.
 */
#include "plm_base.h"

static PlmSimd
detect(void)
{
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
		return PLM_SIMD_PORTABLE;
	if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
		!__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
		return PLM_SIMD_AVX2;
	if (!__builtin_cpu_supports("avx512vnni") || !__builtin_cpu_supports("avx512bf16"))
		return PLM_SIMD_AVX512;
	return PLM_SIMD_AVX512_VNNI;
#else
	return PLM_SIMD_PORTABLE;
#endif
}

PlmSimd
plm_cpu_best(void)
{
	static int	best = -1;		/* idempotent: a race writes the same value twice */

	if (best < 0)
		best = (int) detect();
	return (PlmSimd) best;
}

const char *
plm_simd_name(PlmSimd level)
{
	static const char *const names[PLM_SIMD_LEVELS] = {"portable", "avx2", "avx512", "avx512_vnni"};

	return level >= 0 && level < PLM_SIMD_LEVELS ? names[level] : "unknown";
}
