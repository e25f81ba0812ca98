/*
 * cpu.c -- which instruction-set levels this machine has.  The contract is in plm_base.h.
 */
#include "plm_base.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#if defined(__x86_64__)

/* gcc 12 has no name for it in __builtin_cpu_supports(): leaf 7, sub-leaf 1.  The registers are those of AVX2. */
static bool
has_avx_vnni(void)
{
	unsigned	a, b, c, d;

	return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4) != 0;
}

/* Bits by level. */
static unsigned
detect(void)
{
	unsigned	has = 1u << PLM_SIMD_PORTABLE;

	__builtin_cpu_init();
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
		return has;
	has |= 1u << PLM_SIMD_AVX2;
	if (has_avx_vnni())
		has |= 1u << PLM_SIMD_AVX2_VNNI;
	if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
		!__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
		return has;
	has |= 1u << PLM_SIMD_AVX512;
	if (!__builtin_cpu_supports("avx512vnni"))
		return has;
	has |= 1u << PLM_SIMD_AVX512_VNNI;
	if (__builtin_cpu_supports("avx512bf16"))
		has |= 1u << PLM_SIMD_AVX512_BF16;
	return has;
}

#elif defined(__aarch64__)

static unsigned
detect(void)
{
	unsigned	has = 1u << PLM_SIMD_PORTABLE | 1u << PLM_SIMD_NEON;

#if defined(__linux__)
	if ((getauxval(AT_HWCAP) & 1ul << 20) != 0)	/* HWCAP_ASIMDDP */
		has |= 1u << PLM_SIMD_NEON_DOT;
#endif
	return has;
}

#else

static unsigned
detect(void)
{
	return 1u << PLM_SIMD_PORTABLE;
}

#endif

static unsigned
levels(void)
{
	static unsigned has;		/* idempotent: a race writes the same value twice */

	if (has == 0)
		has = detect();
	return has;
}

bool
plm_cpu_has(PlmSimd level)
{
	return (int) level >= 0 && level < PLM_SIMD_LEVELS && (levels() >> level & 1) != 0;
}

PlmSimd
plm_cpu_best(void)
{
	int			best = PLM_SIMD_LEVELS - 1;

	while (!plm_cpu_has((PlmSimd) best))
		best--;
	return (PlmSimd) best;
}

const char *
plm_simd_name(PlmSimd level)
{
	static const char *const names[PLM_SIMD_LEVELS] = {
		"portable", "avx2", "avx2_vnni", "avx512", "avx512_vnni", "avx512_bf16", "neon", "neon_dot"
	};

	return (int) level >= 0 && level < PLM_SIMD_LEVELS ? names[level] : "unknown";
}
