/*
 * plm_nn.h -- operations of a transformer over packed rows of tokens.
 *
 * A batch is B texts laid end to end without padding: text b owns rows offsets[b] .. offsets[b+1] - 1
 * of every (T,*) array.  Operations poll worker between row blocks and return PLM_ECANCELLED.
 */
#ifndef PLM_NN_H
#define PLM_NN_H

#include "../num/plm_num.h"

typedef struct PlmBatch
{
	int64_t		texts;			/* B */
	int64_t		tokens;			/* T */
	int64_t		longest;
	const int64_t *offsets;		/* (B+1) */
	const int32_t *ids;			/* (T) */
	const int32_t *types;		/* (T) */
	const float *gates;			/* (T) how far each token is there for attention, (0, 1]; NULL: all are */
} PlmBatch;

/* A weight with its bias; w may be absent (data NULL). */
typedef struct PlmLinear
{
	PlmPacked	w;
	const float *b;				/* (N) or NULL */
} PlmLinear;

typedef struct PlmNorm
{
	const float *g;				/* (C) */
	const float *b;				/* (C) or NULL */
} PlmNorm;

/* y = act(x W^T + b [+ residual]) over all rows in blocks, polling. scratch: plm_nn_linear_scratch(). */
size_t		plm_nn_linear_scratch(const PlmLinear *l);
PlmStatus	plm_nn_linear(const PlmLinear *l, int64_t rows, const float *x, int64_t ldx, const float *residual,
						  float *y, int64_t ldy, PlmActivation act, void *scratch, PlmWorker *worker, PlmError *err);

/* dw (N,K) += dy^T x; db (N) += sum of dy's rows, db may be NULL.  dy: (rows,N) at lddy, x: (rows,K) at ldx. */
void		plm_nn_linear_backward(int64_t rows, int64_t n, int64_t k, const float *dy, int64_t lddy, const float *x, int64_t ldx,
								   float *dw, float *db);
/* (dx = dy W is plm_nn_linear() with the transposed weight packed.) */

/* y[t,:] = norm(word[ids[t],:] + position[t within its text,:] + type[types[t],:]); tables are fp32; type may be NULL. */
PlmStatus	plm_nn_embed(const PlmBatch *batch, int64_t width, const float *word, int64_t vocab, const float *position,
						 int64_t positions, const float *type, int64_t types, const PlmNorm *norm, float eps,
						 float *y, PlmWorker *worker, PlmError *err);

/*
 * Columns [first_column, last_column) of the tables' gradients += those of dx (T,C), by token id, position in the text, type;
 * so that threads share by columns.  Each table may be NULL.  Ids and types must have passed plm_nn_embed().
 */
void		plm_nn_embed_backward(const PlmBatch *batch, int64_t width, int64_t first_column, int64_t last_column, const float *dx,
								  float *dword, float *dposition, float *dtype);

/* Multi-head self-attention within each text; q, k, v: (T,*) at distance ld, head h at column h*D; out (T,C). */
size_t		plm_nn_attention_scratch(const PlmBatch *batch, int64_t head_width);
PlmStatus	plm_nn_attention(const PlmBatch *batch, int64_t heads, int64_t head_width, const float *q, const float *k,
							 const float *v, int64_t ld, bool causal, float *out, int64_t ldo, void *scratch,
							 PlmWorker *worker, PlmError *err);

/* Gradients of plm_nn_attention: probabilities are computed again.  dq, dk, dv: (T,*) at distance ldd, written. */
size_t		plm_nn_attention_backward_scratch(const PlmBatch *batch, int64_t head_width);
PlmStatus	plm_nn_attention_backward(const PlmBatch *batch, int64_t heads, int64_t head_width, const float *q, const float *k,
									  const float *v, int64_t ld, bool causal, const float *dout, int64_t lddo,
									  float *dq, float *dk, float *dv, int64_t ldd, void *scratch, PlmWorker *worker, PlmError *err);

/*
 * The same where a token may be there in part: a key's weight is multiplied with its gate before a row's weights are made to sum to 1,
 * so that with a gate near 0 the others attend as if the token had been left out.  d: dlog (T) += gradients at the gates' logarithms.
 */
size_t		plm_nn_attention_gated_scratch(const PlmBatch *batch, int64_t head_width);
PlmStatus	plm_nn_attention_gated(const PlmBatch *batch, int64_t heads, int64_t head_width, const float *q, const float *k,
								   const float *v, int64_t ld, float *out, int64_t ldo, void *scratch, PlmWorker *worker,
								   PlmError *err);
PlmStatus	plm_nn_attention_gated_backward(const PlmBatch *batch, int64_t heads, int64_t head_width, const float *q, const float *k,
											const float *v, int64_t ld, const float *dout, int64_t lddo, float *dq, float *dk,
											float *dv, int64_t ldd, float *dlog, void *scratch, PlmWorker *worker, PlmError *err);

#endif							/* PLM_NN_H */
