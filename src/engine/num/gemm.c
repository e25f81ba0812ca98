/*
 * gemm.c -- general fp32 matrix products on OpenBLAS; the only user of cblas.h.
 */
#include "plm_num.h"

#include <cblas.h>
#include <limits.h>

/* Absent from other BLAS libraries, which have no threads to limit. */
extern void openblas_set_num_threads(int threads) __attribute__((weak));
extern int	openblas_get_num_threads(void) __attribute__((weak));

/* Where a size does not fit the library's 32-bit integers. */
static void
plain_gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha,
		   const float *a, int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc)
{
	for (int64_t i = 0; i < m; i++)
		for (int64_t j = 0; j < n; j++)
		{
			double		sum = 0;

			for (int64_t p = 0; p < k; p++)
				sum += (double) (trans_a ? a[p * lda + i] : a[i * lda + p]) *
					(trans_b ? b[j * ldb + p] : b[p * ldb + j]);
			c[i * ldc + j] = alpha * (float) sum + (beta == 0.0f ? 0.0f : beta * c[i * ldc + j]);
		}
}

static bool
fits(int64_t size)
{
	return size <= INT_MAX;
}

void
plm_gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha,
		 const float *a, int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc)
{
	if (m <= 0 || n <= 0)
		return;
	if (k <= 0 || !fits(m) || !fits(n) || !fits(k) || !fits(lda) || !fits(ldb) || !fits(ldc))
	{
		plain_gemm(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
		return;
	}
	if (openblas_set_num_threads && openblas_get_num_threads && openblas_get_num_threads() != 1)
		openblas_set_num_threads(1);
	cblas_sgemm(CblasRowMajor, trans_a ? CblasTrans : CblasNoTrans, trans_b ? CblasTrans : CblasNoTrans,
				(int) m, (int) n, (int) k, alpha, a, (int) lda, b, (int) ldb, beta, c, (int) ldc);
}
