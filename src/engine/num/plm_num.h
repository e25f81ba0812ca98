/*
 * plm_num.h -- numbers: element types, packed weights, matrix products, row kernels.
 *
 * All row kernels go through one dispatch table, chosen once by CPU level; plm_simd_select() forces
 * a lower one.  Every kernel computes each row by itself, summing in an order that depends on the
 * row's own length only: a row's result has the same bits alone, in any batch, on any thread.
 *
 * Shapes: M rows, K inputs, N outputs; B batch, T tokens, C width, H heads, D = C/H.
 * Matrices are row-major; ld is the distance between rows in elements.
 */
#ifndef PLM_NUM_H
#define PLM_NUM_H

#include "../base/plm_base.h"

/* ---- element types and conversion: num/convert.c ---- */

typedef enum PlmType
{
	PLM_F32 = 0, PLM_F16, PLM_BF16, PLM_F64, PLM_I8, PLM_U8, PLM_I16, PLM_I32, PLM_I64, PLM_BOOL
} PlmType;

size_t		plm_type_bytes(PlmType type);
const char *plm_type_name(PlmType type);	/* as safetensors writes it: F32, BF16, ... */

/* Convert n elements to fp32 (exact for F16 and BF16); src need not be aligned. False: not a float type. */
bool		plm_to_f32(PlmType type, const void *src, float *dst, int64_t n);
uint16_t	plm_f32_to_bf16(float x);	/* round to nearest even; NaN stays NaN */
float		plm_bf16_to_f32(uint16_t x);
uint16_t	plm_f32_to_f16(float x);	/* round to nearest even; beyond 65504 infinite; NaN stays NaN */

/* Index of the first element that is not finite, or -1. */
int64_t		plm_find_nonfinite(const float *x, int64_t n);

/* ---- CPU level: num/dispatch.c ---- */

/* The level in use: plm_cpu_best() unless another one was forced. Selecting a level the CPU lacks fails. */
PlmSimd		plm_simd_active(void);
bool		plm_simd_select(PlmSimd level);

/* ---- packed weights and matrix products: num/pack.c, num/linear.c, num/kernels_*.c ---- */

typedef enum PlmPrecision
{
	PLM_PREC_F32 = 0, PLM_PREC_BF16, PLM_PREC_INT8, PLM_PRECISIONS
} PlmPrecision;

const char *plm_precision_name(PlmPrecision precision);	/* f32, bf16, int8 */

/*
 * Raise when any packed layout changes: it is part of the cache file's name.
 * The layout is the same for all CPU levels: panels of 32 outputs,
 *   f32   [N/32][K][32]
 *   bf16  [N/32][K/2][32][2]
 *   int8  [N/32][K/4][32][4], then float scale[N] and int32 sum[N], rounded up to 32 (per-output symmetric, -127..127)
 * with N and K padded by zeros.
 */
#define PLM_PACK_VERSION 1
#define PLM_PANEL 32

/* A packed weight for y = x W^T + b; data is 64-byte aligned and owned by somebody else. */
typedef struct PlmPacked
{
	PlmPrecision precision;
	int64_t		n;				/* outputs */
	int64_t		k;				/* inputs */
	const void *data;
} PlmPacked;

size_t		plm_pack_bytes(PlmPrecision precision, int64_t n, int64_t k);	/* multiple of 64; 0 on overflow */
/* w: (N,K) as files store it.  dst: plm_pack_bytes() bytes.  Cannot fail. */
void		plm_pack(PlmPrecision precision, int64_t n, int64_t k, const float *w, void *dst);
/* The same in f32 for W^T: for dx = dy W, with the K inputs as outputs.  dst: plm_pack_bytes(PLM_PREC_F32, k, n). */
void		plm_pack_transposed(int64_t n, int64_t k, const float *w, void *dst);
/* The inverse up to the precision's rounding, for tests and export. */
void		plm_unpack(const PlmPacked *w, float *out);

typedef enum PlmActivation
{
	PLM_ACT_NONE = 0, PLM_ACT_GELU, PLM_ACT_GELU_TANH, PLM_ACT_RELU, PLM_ACT_SILU, PLM_ACT_TANH, PLM_ACT_SIGMOID
} PlmActivation;

/* Bytes of scratch that plm_linear needs for `rows` rows of this weight (bounded, however many rows). */
size_t		plm_linear_scratch(const PlmPacked *w, int64_t rows);

/*
 * y[m,:] = act(x[m,:] W^T + bias) for M rows.  x: (M,K) ldx; y: (M,N) ldy; bias: (N) or NULL.
 * residual: NULL, or (M,N) with the distance ldy, added after the bias and before the activation (may be y itself).
 * x and y must not overlap.  scratch: 64-byte aligned, plm_linear_scratch() bytes; for f32 it may be NULL, which
 * gives the same bits, slower when there are many rows.
 */
void		plm_linear(const PlmPacked *w, const float *bias, int64_t rows, const float *x, int64_t ldx,
					   const float *residual, float *y, int64_t ldy, PlmActivation act, void *scratch);

/* C = alpha op(A) op(B) + beta C on our own tiles (num/gemm.c says why not OpenBLAS), one thread. */
void		plm_gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha,
					 const float *a, int64_t lda, const float *b, int64_t ldb,
					 float beta, float *c, int64_t ldc);

/* ---- vectors in 8 bits, with bounds on what that loses: num/codes.c ---- */

/*
 * A row v of K floats, in any length, is kept as its direction: v / |v| = scale * (code - 128) + r with |r| <= residual.
 * Codes are `width` bytes, K rounded up to PLM_CODE_STEP, the rest being 128, which stands for 0.
 */
#define PLM_CODE_STEP 64
#define PLM_CODE_MAX_K 65536	/* 255 * 127 * K stays within int32 */

static inline int64_t
plm_code_width(int64_t k)
{
	return (k + PLM_CODE_STEP - 1) / PLM_CODE_STEP * PLM_CODE_STEP;
}

/* Has v a direction: is its length finite and not 0? */
bool		plm_code_direction(const float *v, int64_t k);

/* False when v has no direction; then nothing is written. */
bool		plm_code_row(const float *v, int64_t k, uint8_t *codes, float *scale, float *residual);

/* Some vectors that rows are compared with, each as one or two layers of 8 bits; the second holds what the first loses. */
typedef struct PlmCodeQuery
{
	int			n;
	int			layers;			/* of each vector: 1 or 2 */
	int64_t		k;
	int8_t	   *codes;			/* (n, layers, width) */
	int32_t    *offset;			/* (n, layers): 128 * sum of a layer's codes */
	float	   *step;			/* (n, layers) */
	float	   *residual;		/* (n) */
	float	   *weight;			/* (n) */
	int32_t    *sums;			/* (PLM_CODE_ROWS, n, layers) working space */
} PlmCodeQuery;

#define PLM_CODE_ROWS 8			/* that are multiplied at a time */

/* Bytes for n vectors, to be aligned to 64; 0 when they would be too many or too long. */
size_t		plm_code_query_bytes(int n, int layers, int64_t k);
/*
 * vectors: (n, K), of any length; weights: (n), finite and not negative, or NULL for 1.  False when a vector has no direction.
 */
bool		plm_code_query(PlmCodeQuery *q, int n, int layers, int64_t k, const float *vectors, const double *weights, void *memory);

/*
 * bounds[r] >= weight_i * c for each vector i, where c is the cosine of row r and vector i as plm_dot3() and a division give it,
 * or as plm_dot() does when the length of both is within 1e-5 of one.  codes: (rows, width), scale and residual as plm_code_row()
 * gave them.  The same bits on every level.  next: NULL, or as many codes that come next: they are fetched from memory meanwhile.
 *
 *     u = s c + r_u and w = w' + r_w of length 1, w' the sum of the layers:
 *     u w = s c w' + s c r_w + r_u w <= s c w' + (1 + |r_u|) |r_w| + |r_u|
 *
 * and (3K + 64) 2^-24 more for the rounding of three sums of K floats, in any order, and of the arithmetic here.
 */
void		plm_code_bounds(const PlmCodeQuery *q, int64_t rows, const uint8_t *codes, const float *scale, const float *residual,
							float *bounds, const void *next);

/* ---- row kernels ---- */

/* One step of AdamW; what does not change within it. */
typedef struct PlmAdam
{
	float		beta1, beta2, epsilon;
	float		scale;			/* of the gradient: clipping */
	float		keep;			/* 1 - rate * decay */
	float		rate;			/* over 1 - beta1^s */
	float		correction;		/* 1 / sqrt(1 - beta2^s) */
} PlmAdam;

/* m, v: moments of g; w = keep w - rate m / (correction sqrt(v) + epsilon), for n elements; the same bits on every level. */
void		plm_adam(int64_t n, const PlmAdam *adam, const float *g, float *w, float *m, float *v);

/*
 * y[t,:] = g * (x[t,:] + r[t,:] - mean) * rstd + b over rows of width C; r may be NULL; y may alias x or r.
 * save: NULL when only inferring, else (T,2) receiving {mean, rstd}.
 */
void		plm_layer_norm(int64_t rows, int64_t width, const float *x, const float *r, const float *g,
						   const float *b, float eps, float *y, float *save);

/*
 * The backward of plm_layer_norm.  x: (T,C) what was normed (with the residual added); save: its {mean, rstd}; dy: (T,C).
 * dx may alias dy.  dg, db: (C), added to; db may be NULL.
 *     xhat = (x - mean) * rstd;  dxhat = dy * g;  dx = rstd * (dxhat - mean(dxhat) - xhat * mean(dxhat * xhat))
 */
void		plm_layer_norm_backward(int64_t rows, int64_t width, const float *x, const float *save, const float *g,
									const float *dy, float *dx, float *dg, float *db);

void		plm_activate(PlmActivation act, float *x, int64_t n);	/* in place; |error| <= 2e-7 relative to max(1,|y|) */
/* dy *= act'(x), x before the activation (for TANH and SIGMOID too); same error bound as plm_activate. */
void		plm_activate_backward(PlmActivation act, const float *x, float *dy, int64_t n);
/* x[i] = keep(i) ? x[i] / (1 - rate) : 0 with keep a function of (seed, first + i) alone: the same call does forward and backward. */
void		plm_dropout(float *x, int64_t n, double rate, uint64_t seed, uint64_t first);
void		plm_softmax(float *x, int64_t n, float scale);	/* in place: softmax(scale * x) */
float		plm_dot(const float *a, const float *b, int64_t n);
void		plm_add_to(float *y, const float *x, int64_t n);		/* y += x */
void		plm_scale(float *x, float s, int64_t n);		/* x *= s */
void		plm_max_to(float *y, const float *x, int64_t n);		/* y = max(y, x) */
/* x /= |x|; false (x untouched) when the norm is 0 or not finite. */
bool		plm_normalize(float *x, int64_t n);
/* dot(a,b), |a|^2 and |b|^2 in one pass: cosine for callers that cannot trust unit length. */
void		plm_dot3(const float *a, const float *b, int64_t n, float *ab, float *aa, float *bb);

/*
 * Softmax(q k^T * scale) v for one head of one text: all of q, k, v, out have T rows of D, at distance ld (out: ldo).
 * causal: position i sees 0..i.  scratch: plm_attention_scratch(T, D) bytes, 64-byte aligned.
 * Scores are formed in row blocks, so that scratch grows with T, not with T squared.
 */
size_t		plm_attention_scratch(int64_t t, int64_t d);
void		plm_attention(int64_t t, int64_t d, const float *q, const float *k, const float *v, int64_t ld,
						  float scale, bool causal, float *out, int64_t ldo, void *scratch);

/*
 * Its gradients, the weights being computed again: dout at distance lddo; dq, dk, dv: T rows of D at distance ldd, written.
 * They must not overlap the inputs.  scratch: plm_attention_backward_scratch(T, D) bytes, 64-byte aligned.
 */
size_t		plm_attention_backward_scratch(int64_t t, int64_t d);
void		plm_attention_backward(int64_t t, int64_t d, const float *q, const float *k, const float *v, int64_t ld,
								   float scale, bool causal, const float *dout, int64_t lddo,
								   float *dq, float *dk, float *dv, int64_t ldd, void *scratch);

#endif							/* PLM_NUM_H */
