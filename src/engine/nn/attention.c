/*
 * attention.c -- multi-head self-attention over a packed batch (Vaswani et al., 2017, section 3.2).
 *
 * Texts lie end to end; each attends to itself only, so there is neither padding nor a mask.
 */
#include "plm_nn.h"

#include <math.h>

size_t
plm_nn_attention_scratch(const PlmBatch *batch, int64_t head_width)
{
	return plm_attention_scratch(batch->longest, head_width);
}

/* out[t, h*D .. h*D + D] = softmax(q k^T / sqrt(D)) v for each text and head; polls before each head. */
PlmStatus
plm_nn_attention(const PlmBatch *batch, int64_t heads, int64_t head_width, const float *q, const float *k,
				 const float *v, int64_t ld, bool causal, float *out, int64_t ldo, void *scratch,
				 PlmWorker *worker, PlmError *err)
{
	float		scale = (float) (1.0 / sqrt((double) head_width));

	for (int64_t b = 0; b < batch->texts; b++)
	{
		int64_t		first = batch->offsets[b];
		int64_t		n = batch->offsets[b + 1] - first;

		if (plm_stopped(worker))
			return plm_cancelled(err);
		for (int64_t h = 0; h < heads; h++)
		{
			int64_t		at = first * ld + h * head_width;

			/* Short texts are over before a poll would pay; long ones are asked at each head. */
			if (n >= 128 && plm_stopped(worker))
				return plm_cancelled(err);
			plm_attention(n, head_width, q + at, k + at, v + at, ld, scale, causal,
						  out + first * ldo + h * head_width, ldo, scratch);
		}
	}
	return PLM_OK;
}

size_t
plm_nn_attention_backward_scratch(const PlmBatch *batch, int64_t head_width)
{
	return plm_attention_backward_scratch(batch->longest, head_width);
}

/* As plm_nn_attention() in shapes and polls. */
PlmStatus
plm_nn_attention_backward(const PlmBatch *batch, int64_t heads, int64_t head_width, const float *q, const float *k,
						  const float *v, int64_t ld, bool causal, const float *dout, int64_t lddo,
						  float *dq, float *dk, float *dv, int64_t ldd, void *scratch, PlmWorker *worker, PlmError *err)
{
	float		scale = (float) (1.0 / sqrt((double) head_width));

	for (int64_t b = 0; b < batch->texts; b++)
	{
		int64_t		first = batch->offsets[b];
		int64_t		n = batch->offsets[b + 1] - first;

		if (plm_stopped(worker))
			return plm_cancelled(err);
		for (int64_t h = 0; h < heads; h++)
		{
			int64_t		at = first * ld + h * head_width;
			int64_t		to = first * ldd + h * head_width;

			if (n >= 128 && plm_stopped(worker))
				return plm_cancelled(err);
			plm_attention_backward(n, head_width, q + at, k + at, v + at, ld, scale, causal,
								   dout + first * lddo + h * head_width, lddo, dq + to, dk + to, dv + to, ldd, scratch);
		}
	}
	return PLM_OK;
}
