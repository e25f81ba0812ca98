/*
 * num_cases.h -- what the unit tests of num/ share.
 *
 * Arrays are allocated at their exact size, at addresses that are 4- but not 64-byte aligned, so
 * that ASan sees a kernel that reads or writes past a row.
 */
#ifndef NUM_CASES_H
#define NUM_CASES_H

#include "unit.h"

#include <math.h>

#include "../../src/engine/num/kernels.h"

static uint64_t draws;

/* n floats on their own in the heap; the caller frees *base. */
static float *
fresh(int64_t n, void **base)
{
	float	   *x = malloc((size_t) (n + 1) * sizeof(float));

	*base = x;
	for (int64_t i = 0; i <= n; i++)
		x[i] = (float) plm_random_normal(7, draws++);
	return x + 1;
}

static inline double
act_of(PlmActivation act, double x)
{
	switch (act)
	{
		case PLM_ACT_GELU:
			return 0.5 * x * erfc(-x / sqrt(2.0));
		case PLM_ACT_GELU_TANH:
			return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
		case PLM_ACT_RELU:
			return x > 0 ? x : 0;
		case PLM_ACT_SILU:
			return x / (1 + exp(-x));
		case PLM_ACT_TANH:
			return tanh(x);
		case PLM_ACT_SIGMOID:
			return 1 / (1 + exp(-x));
		default:
			return x;
	}
}

static const char *
at_level(const char *name)
{
	static char text[128];

	snprintf(text, sizeof(text), "%s[%s]", name, plm_simd_name(plm_simd_active()));
	return text;
}

#endif							/* NUM_CASES_H */
