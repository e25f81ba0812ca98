/*
 * kernels.h -- what one instruction-set level provides; private to num/.
 *
 * dispatch.c holds one PlmKernels for each level.  The drivers (linear.c, attention.c) cut a product
 * into tiles: a few rows of x times one or a few adjacent panels of 32 outputs.  All precisions see
 * x as rows of 32-bit units (one fp32, a pair of bf16, four u8) at a fixed distance, so that a tile
 * addresses its rows with constant displacements, and rows whose own distance is a multiple of 4 kB
 * do not fall into one set of the first cache.
 */
#ifndef PLM_NUM_KERNELS_H
#define PLM_NUM_KERNELS_H

#include "plm_num.h"

#include <string.h>

/* Units of one block along K, and the distance of rows in the prepared x, in units. */
#define PLM_UNITS 512
#define PLM_X_LD (PLM_UNITS + 16)

/* Rows prepared at a time: with one block of K they stay in the second-level cache. */
#define PLM_ROW_BLOCK 144

/*
 * How far ahead of its loads a tile fetches, in bytes along the panel.  A single text reads every weight once: that far the memory's
 * latency is hidden (2 kB cost a fifth to a third more), and it is still a small part of the first cache for batches, which find the panel in the second.
 */
#define PLM_PREFETCH 8192

/* No tile has more rows. */
#define PLM_TILE_ROWS 12

/* With fewer than four rows a tile takes up to this many panels at once, to have enough sums in flight. */
#define PLM_TILE_PANELS 4

/*
 * y[r, 0 .. 32 * panels) = x[r,:] . panel + bias + add[r,:], for r < rows.
 * x: units at distance PLM_X_LD; panels at distance panel_stride bytes; bias, add: NULL or as y;
 * add may be y.  Each element is one sum in the order of K, whatever rows and panels are.
 */
typedef struct PlmTile
{
	int			rows;
	int			panels;
	int64_t		units;
	const void *x;
	const void *panel;
	size_t		panel_stride;
	const char *ahead;			/* to be fetched meanwhile, ahead_step bytes a unit; NULL: the panel itself, PLM_PREFETCH ahead */
	int64_t		ahead_step;
	const float *bias;
	const float *add;
	float	   *y;
	int64_t		ldy;			/* of add too */
} PlmTile;

/* acc[r][0 .. 32) = x[r,:] . panel, exact; x: blocks of PLM_UNITS units at distance block_units. */
typedef void (*PlmTileInt8) (int rows, int64_t units, const uint8_t *x, int64_t block_units,
							 const int8_t *panel, int32_t *acc);

typedef void (*PlmDotCodes) (int64_t rows, int64_t width, const uint8_t *codes, int queries, const int8_t *query, int32_t *out);

/* What a quantised row of activations means: x = scale * (u - zero). */
typedef struct PlmQuant
{
	float		scale;			/* NaN when the row holds a value that is not finite */
	int32_t		zero;
} PlmQuant;

/* The kernels over rows of floats; the contracts are in plm_num.h. */
typedef struct PlmRowKernels
{
	void		(*layer_norm) (int64_t rows, int64_t width, const float *x, const float *r, const float *g,
							   const float *b, float eps, float *y, float *save);
	void		(*layer_norm_backward) (int64_t rows, int64_t width, const float *x, const float *save, const float *g,
										const float *dy, float *dx, float *dg, float *db);
	void		(*activate) (PlmActivation act, float *x, int64_t n);
	void		(*activate_backward) (PlmActivation act, const float *x, float *dy, int64_t n);
	void		(*softmax) (float *x, int64_t n, float scale);
	/* dp = scale * p * (dp - p . dp): from the gradient of p = softmax(scale * x) to that of x */
	void		(*softmax_backward) (const float *p, float *dp, int64_t n, float scale);
	/* x[i] = plm_random_keyed(key, first + i) >= least ? x[i] * by : 0 */
	void		(*dropout) (float *x, int64_t n, uint64_t key, uint64_t first, uint32_t least, float by);
	float		(*dot) (const float *a, const float *b, int64_t n);
	void		(*dot3) (const float *a, const float *b, int64_t n, float *ab, float *aa, float *bb);
	void		(*add_to) (float *y, const float *x, int64_t n);
	void		(*scale) (float *x, float s, int64_t n);
	void		(*max_to) (float *y, const float *x, int64_t n);
	void		(*adam) (int64_t n, const PlmAdam *adam, const float *g, float *w, float *m, float *v);
	/* y = x rounded to bf16, kept as fp32 */
	void		(*round_bf16) (const float *x, float *y, int64_t n);
	/* panel[k][32] = the fp32 values of pairs[k / 2][32][2] */
	void		(*widen_bf16) (const uint16_t *pairs, int64_t k, float *panel);
	/* Quantise one row of k values into blocks of PLM_UNITS * 4 bytes at distance block_bytes; pads to 4 by zeros. */
	PlmQuant	(*quantize) (const float *x, int64_t k, uint8_t *dst, size_t block_bytes);
	/* y[j] = q.scale * scale[j] * (acc[j] - q.zero * sum[j]) + bias[j] + add[j] for j < n; bias, add may be NULL */
	void		(*dequantize) (int64_t n, const int32_t *acc, PlmQuant q, const float *scale, const int32_t *sum,
							   const float *bias, const float *add, float *y);
} PlmRowKernels;

typedef struct PlmKernels
{
	const PlmRowKernels *row;
	void		(*tile_f32) (const PlmTile *tile);
	int			rows_f32;		/* the most rows a tile may have */
	/*
	 * While several tiles of rows pass over a panel, do they fetch the next one, each a part of it?  Else each fetches what it reads itself:
	 * then memory rests while all tiles but the first compute, which costs a single text most where tiles have few rows.
	 */
	bool		fetch_next;
	/* NULL: no such instruction; then panels are widened and go through tile_f32. */
	void		(*tile_bf16) (const PlmTile *tile);
	int			rows_bf16;
	/* dst: pairs of bf16 from n floats, an odd last one padded by zero */
	void		(*prepare_bf16) (const float *x, int64_t n, uint16_t *dst);
	PlmTileInt8 tile_int8;
	int			rows_int8;
	/* out (rows, queries): exact sums of rows (rows, width) and query (queries, width); width: a multiple of PLM_CODE_STEP */
	PlmDotCodes dot_codes;
} PlmKernels;

extern const PlmRowKernels plm_row_portable;
void		plm_tile_f32_portable(const PlmTile *tile);
void		plm_tile_int8_portable(int rows, int64_t units, const uint8_t *x, int64_t block_units,
								   const int8_t *panel, int32_t *acc);
void		plm_dot_codes_portable(int64_t rows, int64_t width, const uint8_t *codes, int queries, const int8_t *query, int32_t *out);

#if defined(__x86_64__)
extern const PlmRowKernels plm_row_avx2;
extern const PlmRowKernels plm_row_avx512;
void		plm_tile_f32_avx2(const PlmTile *tile);
void		plm_tile_f32_avx512(const PlmTile *tile);
void		plm_tile_bf16_avx512(const PlmTile *tile);
void		plm_prepare_bf16_avx512(const float *x, int64_t n, uint16_t *dst);
void		plm_tile_int8_avx2(int rows, int64_t units, const uint8_t *x, int64_t block_units, const int8_t *panel, int32_t *acc);
void		plm_tile_int8_avx2_vnni(int rows, int64_t units, const uint8_t *x, int64_t block_units, const int8_t *panel, int32_t *acc);
void		plm_tile_int8_avx512(int rows, int64_t units, const uint8_t *x, int64_t block_units, const int8_t *panel, int32_t *acc);
void		plm_tile_int8_vnni(int rows, int64_t units, const uint8_t *x, int64_t block_units, const int8_t *panel, int32_t *acc);
void		plm_dot_codes_avx2(int64_t rows, int64_t width, const uint8_t *codes, int queries, const int8_t *query, int32_t *out);
void		plm_dot_codes_avx2_vnni(int64_t rows, int64_t width, const uint8_t *codes, int queries, const int8_t *query, int32_t *out);
void		plm_dot_codes_avx512(int64_t rows, int64_t width, const uint8_t *codes, int queries, const int8_t *query, int32_t *out);
void		plm_dot_codes_vnni(int64_t rows, int64_t width, const uint8_t *codes, int queries, const int8_t *query, int32_t *out);
#elif defined(__aarch64__)
extern const PlmRowKernels plm_row_neon;
void		plm_tile_f32_neon(const PlmTile *tile);
void		plm_tile_int8_neon(int rows, int64_t units, const uint8_t *x, int64_t block_units, const int8_t *panel, int32_t *acc);
void		plm_tile_int8_neon_dot(int rows, int64_t units, const uint8_t *x, int64_t block_units, const int8_t *panel, int32_t *acc);
void		plm_dot_codes_neon(int64_t rows, int64_t width, const uint8_t *codes, int queries, const int8_t *query, int32_t *out);
void		plm_dot_codes_neon_dot(int64_t rows, int64_t width, const uint8_t *codes, int queries, const int8_t *query, int32_t *out);
#endif

/* The table of the active level; one load. */
const PlmKernels *plm_kernels(void);

/* ---- shared by linear.c and attention.c ---- */

/* Packed fp32 panels, which need not span all of a packed weight. */
typedef struct PlmPanels
{
	PlmPrecision precision;		/* f32 or bf16 */
	const void *data;
	size_t		stride;			/* bytes from one panel to the next */
	int64_t		n;
	int64_t		k;
} PlmPanels;

/* Scratch for plm_product() with this many rows, over fp32 or bf16 panels. */
size_t		plm_product_scratch(PlmPrecision precision, int64_t rows);
void		plm_product(const PlmKernels *kern, const PlmPanels *w, const float *bias, int64_t rows,
						const float *x, int64_t ldx, const float *residual, float *y, int64_t ldy,
						PlmActivation act, void *scratch);

/*
 * memcpy() of a length that is not known becomes "rep movs" here, which costs more than the copy when rows are short,
 * as those of attention are: pieces of a known length become plain vector moves.
 */
static inline void
plm_copy_row(float *dst, const float *x, int64_t n)
{
	int64_t		i = 0;

	for (; i + 16 <= n; i += 16)
		memcpy(dst + i, x + i, 16 * sizeof(float));
	for (; i < n; i++)
		dst[i] = x[i];
}

#endif							/* PLM_NUM_KERNELS_H */
