/*
 * gemm.c -- general fp32 matrix products, C = alpha op(A) op(B) + beta C, on the tiles of the packed products.
 *
 * Not on OpenBLAS: the serial flavour of Debian 12 (0.3.21) hands one scratch buffer to two threads that multiply at the
 * same time, and one product in some 600 comes out wrong (test_num: gemm_is_right_on_two_threads); its threaded flavour
 * starts threads when it is loaded.  These tiles also use instruction sets that such a library does not know yet.
 *
 * Order of the loops: a block of K, a block of rows of A (prepared once), panels of 32 columns of B (packed, and used for
 * all rows of the block), tiles of rows.  Each element is a sum in the order of K, whatever m and n are.
 */
#include "kernels.h"
#include "transpose.h"

#include <string.h>

#define ROWS 96					/* prepared at a time; with a packed panel they stay in the second-level cache */

static int64_t
least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Rows i .. i + rows - 1 of op(A), columns p .. p + kc - 1, at the distance that tiles want. */
static void
prepare(bool trans, const float *a, int64_t lda, int64_t i, int64_t rows, int64_t p, int64_t kc, float *to)
{
	if (trans)
		transpose(a + p * lda + i, lda, kc, rows, to, PLM_X_LD);
	else
		for (int64_t r = 0; r < rows; r++)
			plm_copy_row(to + r * PLM_X_LD, a + (i + r) * lda + p, kc);
}

/* panel[c][0 .. 32) = row p + c of op(B), columns j .. j + width - 1; zeros after them. */
static void
pack_panel(bool trans, const float *b, int64_t ldb, int64_t p, int64_t kc, int64_t j, int64_t width, float *panel)
{
	if (width < PLM_PANEL)
		memset(panel, 0, (size_t) (kc * PLM_PANEL) * sizeof(float));
	if (trans)
		transpose(b + j * ldb + p, ldb, width, kc, panel, PLM_PANEL);
	else
		for (int64_t c = 0; c < kc; c++)
			plm_copy_row(panel + c * PLM_PANEL, b + (p + c) * ldb + j, width);
}

/* c (rows,width) = alpha sum + beta c */
static void
put(const float *sum, int64_t rows, int64_t width, float alpha, float beta, float *c, int64_t ldc)
{
	for (int64_t r = 0; r < rows; r++)
		for (int64_t n = 0; n < width; n++)
			c[r * ldc + n] = beta == 0.0f ? alpha * sum[r * PLM_PANEL + n] : alpha * sum[r * PLM_PANEL + n] + beta * c[r * ldc + n];
}

/* One panel against all prepared rows; a whole panel that is just stored or added goes there without a buffer, same bits. */
static void
multiply(const PlmKernels *kern, int64_t rows, int64_t kc, const float *x, const float *panel, int64_t width, float alpha,
		 float beta, float *c, int64_t ldc)
{
	int64_t		parts = (rows + kern->rows_f32 - 1) / kern->rows_f32;
	int64_t		step = (rows + parts - 1) / parts;
	bool		straight = width == PLM_PANEL && alpha == 1.0f && (beta == 0.0f || beta == 1.0f);

	for (int64_t r = 0; r < rows; r += step)
	{
		float		sum[PLM_TILE_ROWS * PLM_PANEL];
		float	   *to = c + r * ldc;
		PlmTile		tile = {
			.rows = (int) least(step, rows - r), .panels = 1, .units = kc, .x = x + r * PLM_X_LD, .panel = panel,
			.panel_stride = (size_t) kc * PLM_PANEL * sizeof(float), .add = straight && beta != 0.0f ? to : NULL,
			.y = straight ? to : sum, .ldy = straight ? ldc : PLM_PANEL
		};

		kern->tile_f32(&tile);
		if (!straight)
			put(sum, tile.rows, width, alpha, beta, to, ldc);
	}
}

void
plm_gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha,
		 const float *a, int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc)
{
	const PlmKernels *kern = plm_kernels();
	_Alignas(64) float x[ROWS * PLM_X_LD];
	_Alignas(64) float panel[PLM_UNITS * PLM_PANEL];

	if (m <= 0 || n <= 0)
		return;
	if (k <= 0)
		for (int64_t i = 0; i < m; i++)
			for (int64_t j = 0; j < n; j++)
				c[i * ldc + j] = beta == 0.0f ? 0.0f : beta * c[i * ldc + j];
	for (int64_t p = 0; p < k; p += PLM_UNITS)
	{
		int64_t		kc = least(PLM_UNITS, k - p);
		float		keep = p == 0 ? beta : 1.0f;

		for (int64_t i = 0; i < m; i += ROWS)
		{
			int64_t		rows = least(ROWS, m - i);

			prepare(trans_a, a, lda, i, rows, p, kc, x);
			for (int64_t j = 0; j < n; j += PLM_PANEL)
			{
				int64_t		width = least(PLM_PANEL, n - j);

				pack_panel(trans_b, b, ldb, p, kc, j, width, panel);
				multiply(kern, rows, kc, x, panel, width, alpha, keep, c + i * ldc + j, ldc);
			}
		}
	}
}
