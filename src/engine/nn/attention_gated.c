/*
 * attention_gated.c -- self-attention over tokens that are there in part.
 *
 *     weight of key j for query i = g_j exp(s_ij) / sum over j' of g_j' exp(s_ij')
 *
 * which is softmax(s_ij + log g_j).  The added logarithm is one more component of queries and keys, 1 / scale and log g_j, so the
 * kernels of plain attention serve, and the gradient at log g_j is that component's in dk.
 */
#include "plm_nn.h"

#include <math.h>
#include <string.h>

/* One head of one text, its rows copied with the component more. */
typedef struct Head
{
	int64_t		n, d;			/* d: without it */
	float		scale;
	float	   *q, *k, *v, *out;	/* (n, d + 1) */
	float	   *dq, *dk, *dv;	/* (n, d + 1) */
	void	   *scratch;
} Head;

#define HEAD_ARRAYS 7

static size_t
array_bytes(int64_t n, int64_t d)
{
	return plm_align((size_t) n * (size_t) (d + 1) * sizeof(float), 64);
}

size_t
plm_nn_attention_gated_scratch(const PlmBatch *batch, int64_t head_width)
{
	size_t		forward = plm_attention_scratch(batch->longest, head_width + 1);
	size_t		backward = plm_attention_backward_scratch(batch->longest, head_width + 1);

	return HEAD_ARRAYS * array_bytes(batch->longest, head_width) + (forward > backward ? forward : backward);
}

static Head
head_at(int64_t n, int64_t d, void *scratch)
{
	Head		h = {.n = n, .d = d, .scale = (float) (1.0 / sqrt((double) d))};
	float	  **arrays[] = {&h.q, &h.k, &h.v, &h.out, &h.dq, &h.dk, &h.dv};

	for (int i = 0; i < HEAD_ARRAYS; i++)
		*arrays[i] = (float *) ((char *) scratch + (size_t) i * array_bytes(n, d));
	h.scratch = (char *) scratch + HEAD_ARRAYS * array_bytes(n, d);
	return h;
}

/* to (n, d + 1) = from (n, d) at distance ld, each row with `last` behind it, or with the logarithm of its gate. */
static void
widen(const Head *h, const float *from, int64_t ld, const float *gates, float last, float *to)
{
	for (int64_t t = 0; t < h->n; t++)
	{
		memcpy(to + t * (h->d + 1), from + t * ld, (size_t) h->d * sizeof(float));
		to[t * (h->d + 1) + h->d] = gates != NULL ? logf(gates[t]) : last;
	}
}

static void
narrow(const Head *h, const float *from, float *to, int64_t ld)
{
	for (int64_t t = 0; t < h->n; t++)
		memcpy(to + t * ld, from + t * (h->d + 1), (size_t) h->d * sizeof(float));
}

static void
widen_inputs(const Head *h, const float *q, const float *k, const float *v, int64_t ld, const float *gates)
{
	widen(h, q, ld, NULL, 1 / h->scale, h->q);
	widen(h, k, ld, gates, 0, h->k);
	widen(h, v, ld, NULL, 0, h->v);
}

PlmStatus
plm_nn_attention_gated(const PlmBatch *batch, int64_t heads, int64_t head_width, const float *q, const float *k,
					   const float *v, int64_t ld, float *out, int64_t ldo, void *scratch, PlmWorker *worker, PlmError *err)
{
	for (int64_t b = 0; b < batch->texts; b++)
	{
		int64_t		first = batch->offsets[b];
		Head		h = head_at(batch->offsets[b + 1] - first, head_width, scratch);

		for (int64_t i = 0; i < heads; i++)
		{
			int64_t		at = first * ld + i * head_width;

			if (plm_stopped(worker))
				return plm_cancelled(err);
			widen_inputs(&h, q + at, k + at, v + at, ld, batch->gates + first);
			plm_attention(h.n, h.d + 1, h.q, h.k, h.v, h.d + 1, h.scale, false, h.out, h.d + 1, h.scratch);
			narrow(&h, h.out, out + first * ldo + i * head_width, ldo);
		}
	}
	return PLM_OK;
}

PlmStatus
plm_nn_attention_gated_backward(const PlmBatch *batch, int64_t heads, int64_t head_width, const float *q, const float *k,
								const float *v, int64_t ld, const float *dout, int64_t lddo, float *dq, float *dk, float *dv,
								int64_t ldd, float *dlog, void *scratch, PlmWorker *worker, PlmError *err)
{
	for (int64_t b = 0; b < batch->texts; b++)
	{
		int64_t		first = batch->offsets[b];
		Head		h = head_at(batch->offsets[b + 1] - first, head_width, scratch);

		for (int64_t i = 0; i < heads; i++)
		{
			int64_t		at = first * ld + i * head_width;
			int64_t		to = first * ldd + i * head_width;

			if (plm_stopped(worker))
				return plm_cancelled(err);
			widen_inputs(&h, q + at, k + at, v + at, ld, batch->gates + first);
			widen(&h, dout + first * lddo + i * head_width, lddo, NULL, 0, h.out);
			plm_attention_backward(h.n, h.d + 1, h.q, h.k, h.v, h.d + 1, h.scale, false, h.out, h.d + 1, h.dq, h.dk, h.dv,
								   h.d + 1, h.scratch);
			narrow(&h, h.dq, dq + to, ldd);
			narrow(&h, h.dk, dk + to, ldd);
			narrow(&h, h.dv, dv + to, ldd);
			for (int64_t t = 0; t < h.n; t++)
				dlog[first + t] += h.dk[t * (h.d + 1) + h.d];
		}
	}
	return PLM_OK;
}
