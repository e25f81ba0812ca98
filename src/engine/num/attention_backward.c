/*
 * attention_backward.c -- gradients of softmax(q k^T * scale) v for one head.
 *
 * With P = softmax(scale q k^T), out = P v and a block of queries at a time:
 *     dP = dout v^T;  dS = scale P (dP - rowsum(P dP));  dq = dS k;  dk += dS^T q;  dv += P^T dout
 * so that P and dP of a block, not of the whole text, are held.
 */
#include "kernels.h"

#include <string.h>

/* Queries whose scores are held at once. */
#define QUERY_ROWS 64

static int64_t
query_rows(int64_t t)
{
	return t < QUERY_ROWS ? t : QUERY_ROWS;
}

/* Distance of the rows of scores: odd in lines of the cache, so that rows do not share its sets. */
static int64_t
scores_ld(int64_t t)
{
	return (t + 31) / 32 * 32 + 16;
}

size_t
plm_attention_backward_scratch(int64_t t, int64_t d)
{
	if (t <= 0 || d <= 0)
		return 0;
	return 2 * (size_t) query_rows(t) * (size_t) scores_ld(t) * sizeof(float);
}

/*
 * From the last block to the first: the last one sees every key even when causal, so it writes dk and dv, and the others
 * add.  In a causal block, keys after the query itself have the weight 0 and the gradient 0.
 */
void
plm_attention_backward(int64_t t, int64_t d, const float *q, const float *k, const float *v, int64_t ld,
					   float scale, bool causal, const float *dout, int64_t lddo,
					   float *dq, float *dk, float *dv, int64_t ldd, void *scratch)
{
	const PlmRowKernels *row = plm_kernels()->row;
	int64_t		lds = scores_ld(t);
	int64_t		step = query_rows(t);
	float	   *p = scratch;
	float	   *dp = p + step * lds;

	if (t <= 0 || d <= 0)
		return;
	for (int64_t i = (t - 1) / step * step; i >= 0; i -= step)
	{
		int64_t		rows = t - i < step ? t - i : step;
		int64_t		seen = causal ? i + rows : t;
		float		beta = i + rows == t ? 0.0f : 1.0f;

		plm_gemm(false, true, rows, seen, d, 1.0f, q + i * ld, ld, k, ld, 0.0f, p, lds);
		plm_gemm(false, true, rows, seen, d, 1.0f, dout + i * lddo, lddo, v, ld, 0.0f, dp, lds);
		for (int64_t r = 0; r < rows; r++)
		{
			int64_t		n = causal ? i + r + 1 : t;

			row->softmax(p + r * lds, n, scale);
			row->softmax_backward(p + r * lds, dp + r * lds, n, scale);
			for (int64_t j = n; j < seen; j++)
				p[r * lds + j] = dp[r * lds + j] = 0;
		}
		plm_gemm(false, false, rows, d, seen, 1.0f, dp, lds, k, ld, 0.0f, dq + i * ldd, ldd);
		plm_gemm(true, false, seen, d, rows, 1.0f, dp, lds, q + i * ld, ld, beta, dk, ldd);
		plm_gemm(true, false, seen, d, rows, 1.0f, p, lds, dout + i * lddo, lddo, beta, dv, ldd);
	}
}
