/*
 * embed.c -- from token ids to the first hidden state.
 */
#include "plm_nn.h"

#include <string.h>

#define POLL_ROWS 256

/* y[0..rows,:] = word rows (+ type rows) of `rows` tokens, all ids checked. */
static PlmStatus
gather(const int32_t *ids, const int32_t *kinds, int64_t rows, int64_t width, const float *word, int64_t vocab,
	   const float *type, int64_t types, float *y, PlmError *err)
{
	for (int64_t t = 0; t < rows; t++)
	{
		int32_t		id = ids[t];

		if (id < 0 || id >= vocab)
			return plm_fail(err, PLM_EARG, 0, "token id %" PRId32 " is outside the vocabulary of %" PRId64, id, vocab);
		memcpy(y + t * width, word + id * width, (size_t) width * sizeof(float));
		if (type == NULL)
			continue;
		if (kinds[t] < 0 || kinds[t] >= types)
			return plm_fail(err, PLM_EARG, 0, "token type %" PRId32 " is outside the model's %" PRId64 " types",
							kinds[t], types);
		plm_add_to(y + t * width, type + kinds[t] * width, width);
	}
	return PLM_OK;
}

/* y: (T,C); positions count from 0 in each text, so the rows of a text meet consecutive position rows. */
PlmStatus
plm_nn_embed(const PlmBatch *batch, int64_t width, const float *word, int64_t vocab, const float *position,
			 int64_t positions, const float *type, int64_t types, const PlmNorm *norm, float eps,
			 float *y, PlmWorker *worker, PlmError *err)
{
	for (int64_t b = 0; b < batch->texts; b++)
	{
		int64_t		first = batch->offsets[b];
		int64_t		n = batch->offsets[b + 1] - first;

		if (n > positions)
			return plm_fail(err, PLM_EARG, 0, "%" PRId64 " tokens do not fit the model's %" PRId64 " positions",
							n, positions);
		for (int64_t t = 0; t < n; t += POLL_ROWS)
		{
			int64_t		rows = n - t < POLL_ROWS ? n - t : POLL_ROWS;
			float	   *to = y + (first + t) * width;

			if (plm_stopped(worker))
				return plm_cancelled(err);
			PLM_TRY(gather(batch->ids + first + t, batch->types + first + t, rows, width, word, vocab,
						   type, types, to, err));
			plm_layer_norm(rows, width, to, position + t * width, norm->g, norm->b, eps, to, NULL);
		}
	}
	return PLM_OK;
}

/* Tokens in their order, so that a row met twice has one sum for any share of the columns. */
void
plm_nn_embed_backward(const PlmBatch *batch, int64_t width, int64_t first_column, int64_t last_column, const float *dx,
					  float *dword, float *dposition, float *dtype)
{
	int64_t		n = last_column - first_column;

	for (int64_t b = 0; b < batch->texts; b++)
		for (int64_t t = batch->offsets[b]; t < batch->offsets[b + 1]; t++)
		{
			const float *from = dx + t * width + first_column;

			if (dword != NULL)
				plm_add_to(dword + batch->ids[t] * width + first_column, from, n);
			if (dposition != NULL)
				plm_add_to(dposition + (t - batch->offsets[b]) * width + first_column, from, n);
			if (dtype != NULL)
				plm_add_to(dtype + batch->types[t] * width + first_column, from, n);
		}
}
