/*
 * init.c -- the module's entry: its settings.  Nothing else happens when the library is loaded.
 */
#include "plmpg.h"

#include <limits.h>

#include "access/parallel.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"

PLMPG_MODULE_MAGIC;

char	   *plmpg_default_model;
int			plmpg_threads;
int			plmpg_memory_limit_kb;
double		plmpg_max_quantization_loss;

#define SIMD_AUTO (-1)
static int	simd;

static const struct config_enum_entry simd_levels[] = {
	{"auto", SIMD_AUTO, false},
	{"portable", PLM_SIMD_PORTABLE, false},
	{"avx2", PLM_SIMD_AVX2, false},
	{"avx2_vnni", PLM_SIMD_AVX2_VNNI, false},
	{"avx512", PLM_SIMD_AVX512, false},
	{"avx512_vnni", PLM_SIMD_AVX512_VNNI, false},
	{"avx512_bf16", PLM_SIMD_AVX512_BF16, false},
	{"neon", PLM_SIMD_NEON, false},
	{"neon_dot", PLM_SIMD_NEON_DOT, false},
	{NULL, 0, false}
};

static bool
check_simd(int *value, void **extra, GucSource source)
{
	if (*value == SIMD_AUTO || plm_cpu_has((PlmSimd) *value))
		return true;
	GUC_check_errdetail("The best level of this processor is \"%s\".", plm_simd_name(plm_cpu_best()));
	return false;
}

static void
assign_simd(int value, void *extra)
{
	plm_simd_select(value == SIMD_AUTO ? plm_cpu_best() : (PlmSimd) value);
}

int
plmpg_thread_count(void)
{
	if (IsParallelWorker())
		return 1;
	return plmpg_threads > 0 ? plmpg_threads : Max(1, max_parallel_maintenance_workers);
}

void		_PG_init(void);

void
_PG_init(void)
{
	DefineCustomStringVariable("product_llm.default_model",
							   "Model of the functions that are called without one.",
							   NULL, &plmpg_default_model, "", PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("product_llm.threads",
							"Compute threads that a batch may use.",
							"0 follows max_parallel_maintenance_workers. A parallel worker always uses one.",
							&plmpg_threads, 0, 0, 1024, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("product_llm.memory_limit",
							"Working memory that one call may use.",
							"Models themselves are mapped, shared and not counted.",
							&plmpg_memory_limit_kb, 1024 * 1024, 64, MAX_KILOBYTES,
							PGC_USERSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomRealVariable("product_llm.max_quantization_loss",
							 "Loss above which quantize_model() refuses its result.",
							 "One minus the smallest cosine between a sample's embeddings by the two models.",
							 &plmpg_max_quantization_loss, 0.02, 0.0, 1.0, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("product_llm.simd",
							 "Instruction set of the compute kernels.",
							 "\"auto\" takes the best that the processor has.",
							 &simd, SIMD_AUTO, simd_levels, PGC_USERSET, 0, check_simd, assign_simd, NULL);
	MarkGUCPrefixReserved("product_llm");
}
