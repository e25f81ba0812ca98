/*
 * linear.c -- a linear layer over many rows, in row blocks, so that a cancel is seen in time.
 *
 * A row block is only a poll interval: plm_linear() computes every row by itself, so the result does
 * not depend on where the blocks fall.
 */
#include "plm_nn.h"

/*
 * Rows between two polls.  144 rows of the largest BERT-base matrix (3072 x 768) are 680 MFLOP: some
 * 5 ms on one core with vector kernels; plain C is an order of magnitude slower.
 */
#define BLOCK_ROWS 144
#define BLOCK_ROWS_PORTABLE 16

static int64_t
block_rows(void)
{
	return plm_simd_active() == PLM_SIMD_PORTABLE ? BLOCK_ROWS_PORTABLE : BLOCK_ROWS;
}

size_t
plm_nn_linear_scratch(const PlmLinear *l)
{
	return l->w.data != NULL ? plm_linear_scratch(&l->w, BLOCK_ROWS) : 0;
}

/* x: (rows,K) at ldx; y, residual: (rows,N) at ldy. */
PlmStatus
plm_nn_linear(const PlmLinear *l, int64_t rows, const float *x, int64_t ldx, const float *residual,
			  float *y, int64_t ldy, PlmActivation act, void *scratch, PlmWorker *worker, PlmError *err)
{
	int64_t		step = block_rows();

	for (int64_t t = 0; t < rows; t += step)
	{
		int64_t		n = rows - t < step ? rows - t : step;

		if (plm_stopped(worker))
			return plm_cancelled(err);
		plm_linear(&l->w, l->b, n, x + t * ldx, ldx, residual != NULL ? residual + t * ldy : NULL,
				   y + t * ldy, ldy, act, scratch);
	}
	return PLM_OK;
}

/* Rows are added up in their order, whatever the level. */
void
plm_nn_linear_backward(int64_t rows, int64_t n, int64_t k, const float *dy, int64_t lddy, const float *x, int64_t ldx,
					   float *dw, float *db)
{
	plm_gemm(true, false, n, k, rows, 1.0f, dy, lddy, x, ldx, 1.0f, dw, k);
	for (int64_t t = 0; db != NULL && t < rows; t++)
		plm_add_to(db, dy + t * lddy, n);
}
