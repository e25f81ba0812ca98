/*
 * linear.c -- y = act(x W^T + bias + residual) on packed weights: how a product is cut into tiles.
 *
 * Order of the loops: a block of rows, a block of K (x prepared once for it), panels, tiles of rows.
 * So one block of a panel stays in the first caches while all tiles of rows pass over it.  fp32 sums
 * of the blocks of K are added up in y, which is a fixed order: a row's result does not depend on how
 * many rows there are.
 */
#include "kernels.h"

#include <string.h>

static int64_t
least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Cut n into equal parts of at most `most`; returns the size of the largest part. */
static int64_t
even_part(int64_t n, int64_t most)
{
	int64_t		parts = (n + most - 1) / most;

	return (n + parts - 1) / parts;
}

/* ---- fp32 and bf16 ---- */

/* What stays the same for all tiles of one block of K. */
typedef struct Block
{
	const PlmKernels *kern;
	void		(*tile) (const PlmTile *tile);
	int			most_rows;
	int64_t		rows;
	int64_t		units;
	int64_t		n;
	const char *x;
	const float *bias;			/* NULL but for the first block of K */
	const float *add;
	float	   *y;
	int64_t		ldy;
} Block;

size_t
plm_product_scratch(PlmPrecision precision, int64_t rows)
{
	size_t		bytes = (size_t) least(rows, PLM_ROW_BLOCK) * PLM_X_LD * sizeof(float);

	if (precision == PLM_PREC_BF16)
		bytes += PLM_UNITS * PLM_PANEL * sizeof(float);
	return plm_align(bytes, 64);
}

/* The last panel, when N is not a multiple of 32: through a buffer, so that nothing past row ends is touched. */
static void
edge_tile(const Block *b, PlmTile tile, int64_t at, int width)
{
	float		bias[PLM_PANEL] = {0};
	float		y[PLM_TILE_ROWS * PLM_PANEL] = {0};
	float	   *to = tile.y;
	int64_t		ldy = tile.ldy;

	if (b->bias != NULL)
		memcpy(bias, b->bias + at, (size_t) width * sizeof(float));
	if (tile.add != NULL)
		for (int r = 0; r < tile.rows; r++)
			memcpy(y + r * PLM_PANEL, tile.add + r * ldy, (size_t) width * sizeof(float));
	tile.bias = b->bias != NULL ? bias : NULL;
	tile.add = tile.add != NULL ? y : NULL;
	tile.y = y;
	tile.ldy = PLM_PANEL;
	b->tile(&tile);
	for (int r = 0; r < tile.rows; r++)
		memcpy(to + r * ldy, y + r * PLM_PANEL, (size_t) width * sizeof(float));
}

/*
 * `panels` adjacent panels from output `at` on, for all rows of the block.  next: NULL, or where the weights lie that come after them,
 * unit_bytes for each unit.
 */
static void
panel_tiles(const Block *b, const void *panel, size_t stride, int panels, int64_t at, const char *next, int64_t unit_bytes)
{
	int64_t		width = least(b->n - at, (int64_t) panels * PLM_PANEL);
	int64_t		step = even_part(b->rows, b->most_rows);
	int64_t		ahead_step = unit_bytes / ((b->rows + step - 1) / step);

	for (int64_t r = 0; r < b->rows; r += step)
	{
		PlmTile		tile = {
			.rows = (int) least(step, b->rows - r), .panels = panels, .units = b->units,
			.x = b->x + r * PLM_X_LD * 4, .panel = panel, .panel_stride = stride,
			.ahead = next != NULL ? next + r / step * b->units * ahead_step : NULL, .ahead_step = ahead_step,
			.bias = b->bias != NULL ? b->bias + at : NULL,
			.add = b->add != NULL ? b->add + r * b->ldy + at : NULL,
			.y = b->y + r * b->ldy + at, .ldy = b->ldy
		};

		if (width == (int64_t) panels * PLM_PANEL)
			b->tile(&tile);
		else
			edge_tile(b, tile, at, (int) width);
	}
}

/* One block of K over all panels; k0 is its first input, kc its length. */
static void
block_panels(const Block *b, const PlmPanels *w, int64_t k0, int64_t kc, float *wide)
{
	int64_t		group = w->precision == PLM_PREC_BF16 ? 2 : 1;
	const char *data = (const char *) w->data + (size_t) (k0 / group) * PLM_PANEL * 4;
	int64_t		whole = w->n / PLM_PANEL;
	int			many = b->rows < 4 && wide == NULL ? PLM_TILE_PANELS : 1;
	bool		fetch = b->kern->fetch_next && (b->rows > b->most_rows || wide != NULL);

	for (int64_t p = 0; p * PLM_PANEL < w->n;)
	{
		int			panels = p + many <= whole ? many : 1;
		const char *packed = data + (size_t) p * w->stride;
		const void *panel = packed;

		if (wide != NULL)
		{
			b->kern->row->widen_bf16(panel, kc, wide);
			panel = wide;
		}
		panel_tiles(b, panel, w->stride, panels, p * PLM_PANEL, fetch ? packed + w->stride : NULL, PLM_PANEL * 4 / group);
		p += panels;
	}
}

/* Copy or convert rows of one block of K to the prepared form; ld is PLM_X_LD units. */
static void
prepare_rows(const PlmKernels *kern, PlmPrecision precision, int64_t rows, int64_t kc, const float *x, int64_t ldx, char *dst)
{
	for (int64_t r = 0; r < rows; r++, x += ldx, dst += PLM_X_LD * 4)
	{
		if (precision == PLM_PREC_F32)
			plm_copy_row((float *) dst, x, kc);
		else if (kern->tile_bf16 != NULL)
			kern->prepare_bf16(x, kc, (uint16_t *) dst);
		else
			kern->row->round_bf16(x, (float *) dst, kc);
	}
}

void
plm_product(const PlmKernels *kern, const PlmPanels *w, const float *bias, int64_t rows,
			const float *x, int64_t ldx, const float *residual, float *y, int64_t ldy,
			PlmActivation act, void *scratch)
{
	bool		paired = w->precision == PLM_PREC_BF16 && kern->tile_bf16 != NULL;
	bool		widen = w->precision == PLM_PREC_BF16 && !paired;
	float	   *wide = widen ? scratch : NULL;
	char	   *xs = (char *) scratch + (widen ? PLM_UNITS * PLM_PANEL * sizeof(float) : 0);
	int64_t		kb = paired ? 2 * PLM_UNITS : PLM_UNITS;
	int64_t		step = rows > 0 ? even_part(rows, PLM_ROW_BLOCK) : 1;

	for (int64_t r = 0; r < rows; r += step)
		for (int64_t k0 = 0; k0 < w->k; k0 += kb)
		{
			int64_t		kc = least(kb, w->k - k0);
			Block		b = {
				.kern = kern, .tile = paired ? kern->tile_bf16 : kern->tile_f32,
				.most_rows = paired ? kern->rows_bf16 : kern->rows_f32,
				.rows = least(step, rows - r), .units = paired ? (kc + 1) / 2 : kc, .n = w->n, .x = xs,
				.bias = k0 == 0 ? bias : NULL, .y = y + r * ldy, .ldy = ldy
			};

			b.add = k0 > 0 ? b.y : residual != NULL ? residual + r * ldy : NULL;
			prepare_rows(kern, w->precision, b.rows, kc, x + r * ldx + k0, ldx, xs);
			block_panels(&b, w, k0, kc, wide);
			/* Whole rows at a time: enough independent work to hide the latency of the polynomials. */
			for (int64_t i = 0; k0 + kc == w->k && act != PLM_ACT_NONE && i < b.rows; i++)
				kern->row->activate(act, b.y + i * ldy, w->n);
		}
}

/* ---- int8 ---- */

static int64_t
int8_blocks(int64_t k)
{
	return (k + PLM_UNITS * 4 - 1) / (PLM_UNITS * 4);
}

static size_t
int8_scratch(int64_t k, int64_t rows)
{
	size_t		n = (size_t) least(rows, PLM_ROW_BLOCK);

	return plm_align(n * ((size_t) int8_blocks(k) * PLM_X_LD * 4 + sizeof(PlmQuant)), 64);
}

/* Rows of one row block, already quantised: xs in blocks of K at distance block_units, quant for each row. */
static void
int8_panels(const PlmKernels *kern, const PlmPacked *w, const float *bias, int64_t rows, const uint8_t *xs,
			int64_t block_units, const PlmQuant *quant, const float *residual, float *y, int64_t ldy, PlmActivation act)
{
	int64_t		units = (w->k + 3) / 4;
	int64_t		padded = (w->n + PLM_PANEL - 1) / PLM_PANEL * PLM_PANEL;
	const int8_t *panel = w->data;
	const float *scale = (const float *) (panel + padded * units * 4);
	const int32_t *sum = (const int32_t *) (scale + padded);
	int64_t		step = even_part(rows, kern->rows_int8);
	int32_t		acc[PLM_TILE_ROWS * PLM_PANEL];

	for (int64_t at = 0; at < w->n; at += PLM_PANEL, panel += units * PLM_PANEL * 4)
	{
		int64_t		width = least(PLM_PANEL, w->n - at);

		for (int64_t r = 0; r < rows; r += step)
		{
			int			tile = (int) least(step, rows - r);

			kern->tile_int8(tile, units, xs + r * PLM_X_LD * 4, block_units, panel, acc);
			for (int64_t i = r; i < r + tile; i++)
				kern->row->dequantize(width, acc + (i - r) * PLM_PANEL, quant[i], scale + at, sum + at,
									  bias != NULL ? bias + at : NULL,
									  residual != NULL ? residual + i * ldy + at : NULL, y + i * ldy + at);
		}
	}
	/* Whole rows: two vectors at a time would wait for each other's long chains. */
	for (int64_t i = 0; act != PLM_ACT_NONE && i < rows; i++)
		kern->row->activate(act, y + i * ldy, w->n);
}

static void
linear_int8(const PlmKernels *kern, const PlmPacked *w, const float *bias, int64_t rows, const float *x,
			int64_t ldx, const float *residual, float *y, int64_t ldy, PlmActivation act, void *scratch)
{
	int64_t		step = rows > 0 ? even_part(rows, PLM_ROW_BLOCK) : 1;
	int64_t		block_units = step * PLM_X_LD;
	uint8_t    *xs = scratch;
	PlmQuant   *quant = (PlmQuant *) (xs + int8_blocks(w->k) * block_units * 4);

	for (int64_t r = 0; r < rows; r += step)
	{
		int64_t		n = least(step, rows - r);

		for (int64_t i = 0; i < n; i++)
			quant[i] = kern->row->quantize(x + (r + i) * ldx, w->k, xs + i * PLM_X_LD * 4, (size_t) block_units * 4);
		int8_panels(kern, w, bias, n, xs, block_units, quant,
					residual != NULL ? residual + r * ldy : NULL, y + r * ldy, ldy, act);
	}
}

/* ---- the public form ---- */

size_t
plm_linear_scratch(const PlmPacked *w, int64_t rows)
{
	if (rows <= 0)
		return 0;
	return w->precision == PLM_PREC_INT8 ? int8_scratch(w->k, rows) : plm_product_scratch(w->precision, rows);
}

/* fp32 without scratch: 12 rows at a time are prepared on the stack (25 kB). */
static void
product_on_stack(const PlmKernels *kern, const PlmPanels *w, const float *bias, int64_t rows, const float *x,
				 int64_t ldx, const float *residual, float *y, int64_t ldy, PlmActivation act)
{
	_Alignas(64) char scratch[PLM_TILE_ROWS * PLM_X_LD * sizeof(float)];

	for (int64_t r = 0; r < rows; r += PLM_TILE_ROWS)
		plm_product(kern, w, bias, least(PLM_TILE_ROWS, rows - r), x + r * ldx, ldx,
					residual != NULL ? residual + r * ldy : NULL, y + r * ldy, ldy, act, scratch);
}

void
plm_linear(const PlmPacked *w, const float *bias, int64_t rows, const float *x, int64_t ldx,
		   const float *residual, float *y, int64_t ldy, PlmActivation act, void *scratch)
{
	const PlmKernels *kern = plm_kernels();
	PlmPanels	panels = {.precision = w->precision, .data = w->data, .n = w->n, .k = w->k};

	if (w->precision == PLM_PREC_INT8)
	{
		linear_int8(kern, w, bias, rows, x, ldx, residual, y, ldy, act, scratch);
		return;
	}
	panels.stride = (size_t) (w->precision == PLM_PREC_BF16 ? (w->k + 1) / 2 : w->k) * PLM_PANEL * 4;
	if (scratch == NULL)
		product_on_stack(kern, &panels, bias, rows, x, ldx, residual, y, ldy, act);
	else
		plm_product(kern, &panels, bias, rows, x, ldx, residual, y, ldy, act, scratch);
}
