/*
 * dispatch.c -- the table of kernels by CPU level, and which one is in use.
 */
#include "kernels.h"

static const PlmKernels tables[PLM_SIMD_LEVELS] = {
	[PLM_SIMD_PORTABLE] = {
		.row = &plm_row_portable,
		.tile_f32 = plm_tile_f32_portable, .rows_f32 = 6,
		.tile_int8 = plm_tile_int8_portable, .rows_int8 = 4,
		.dot_codes = plm_dot_codes_portable
	},
#if defined(__x86_64__)
	[PLM_SIMD_AVX2] = {
		.row = &plm_row_avx2,
		.tile_f32 = plm_tile_f32_avx2, .rows_f32 = 3, .fetch_next = true,
		.tile_int8 = plm_tile_int8_avx2, .rows_int8 = 4,
		.dot_codes = plm_dot_codes_avx2
	},
	[PLM_SIMD_AVX2_VNNI] = {
		.row = &plm_row_avx2,
		.tile_f32 = plm_tile_f32_avx2, .rows_f32 = 3, .fetch_next = true,
		.tile_int8 = plm_tile_int8_avx2_vnni, .rows_int8 = 6,
		.dot_codes = plm_dot_codes_avx2_vnni
	},
	[PLM_SIMD_AVX512] = {
		.row = &plm_row_avx512,
		.tile_f32 = plm_tile_f32_avx512, .rows_f32 = 12,
		.tile_int8 = plm_tile_int8_avx512, .rows_int8 = 10,
		.dot_codes = plm_dot_codes_avx512
	},
	[PLM_SIMD_AVX512_VNNI] = {
		.row = &plm_row_avx512,
		.tile_f32 = plm_tile_f32_avx512, .rows_f32 = 12,
		.tile_int8 = plm_tile_int8_vnni, .rows_int8 = 12,
		.dot_codes = plm_dot_codes_vnni
	},
	[PLM_SIMD_AVX512_BF16] = {
		.row = &plm_row_avx512,
		.tile_f32 = plm_tile_f32_avx512, .rows_f32 = 12,
		.tile_bf16 = plm_tile_bf16_avx512, .rows_bf16 = 12, .prepare_bf16 = plm_prepare_bf16_avx512,
		.tile_int8 = plm_tile_int8_vnni, .rows_int8 = 12,
		.dot_codes = plm_dot_codes_vnni
	}
#elif defined(__aarch64__)
	[PLM_SIMD_NEON] = {
		.row = &plm_row_neon,
		.tile_f32 = plm_tile_f32_neon, .rows_f32 = 6,
		.tile_int8 = plm_tile_int8_neon, .rows_int8 = 4,
		.dot_codes = plm_dot_codes_neon
	},
	[PLM_SIMD_NEON_DOT] = {
		.row = &plm_row_neon,
		.tile_f32 = plm_tile_f32_neon, .rows_f32 = 6,
		.tile_int8 = plm_tile_int8_neon_dot, .rows_int8 = 4,
		.dot_codes = plm_dot_codes_neon_dot
	}
#endif
};

/* -1: not asked for, so the best.  Written by plm_simd_select() only, which the main thread calls between runs. */
static int	chosen = -1;

PlmSimd
plm_simd_active(void)
{
	return chosen < 0 ? plm_cpu_best() : (PlmSimd) chosen;
}

bool
plm_simd_select(PlmSimd level)
{
	if (!plm_cpu_has(level))
		return false;
	chosen = (int) level;
	return true;
}

const PlmKernels *
plm_kernels(void)
{
	return &tables[plm_simd_active()];
}
