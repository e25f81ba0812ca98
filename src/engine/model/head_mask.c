/*
 * head_mask.c -- the masked-language head: logits = decoder(norm(act(dense(x)))) + bias.
 *
 * Only the rows that are asked for go through it: the decoder is as large as the vocabulary.
 */
#include "internal.h"

#include <string.h>

#define POLL_TOKENS 512

/* One pass over the decoder for all rows: it is the larger operand. */
PlmStatus
plm_mask_logits(const PlmModel *model, int64_t rows, const float *x, float *h, float *logits,
				PlmWorker *worker, PlmError *err)
{
	const PlmConfig *c = &model->config;
	int64_t		C = c->width;
	int64_t		V = c->vocab;

	/* The head's weights are packed in f32, which needs no scratch. */
	PLM_TRY(plm_nn_linear(&model->mask_dense, rows, x, C, NULL, h, C, (PlmActivation) c->activation,
						  NULL, worker, err));
	plm_layer_norm(rows, C, h, NULL, model->mask_norm.g, model->mask_norm.b, c->norm_eps, h, NULL);
	for (int64_t v = 0; v < V; v++)
	{
		if (v % POLL_TOKENS == 0 && plm_stopped(worker))
			return plm_cancelled(err);
		for (int64_t t = 0; t < rows; t++)
			logits[t * V + v] = plm_dot(h + t * C, model->mask_decoder + v * C, C) + model->mask_bias[v];
	}
	return PLM_OK;
}

PlmStatus
plm_mask_possible(const PlmModel *model, PlmError *err)
{
	PLM_TRY(plm_weights_needed(model, err));
	if (!model->part[PLM_PART_MASK])
		return plm_fail(err, PLM_EARG, 0, "the model has no masked-language head");
	if (model->tokenizer.mask < 0)
		return plm_fail(err, PLM_EARG, 0, "the model's tokenizer has no mask token");
	return PLM_OK;
}

static PlmStatus
find_mask(const PlmModel *model, const PlmEncoding *encoding, int64_t *position, PlmError *err)
{
	PlmText		mask = plm_token_text(&model->tokenizer, model->tokenizer.mask);

	*position = -1;
	for (int64_t t = 0; t < encoding->n; t++)
	{
		if (encoding->ids[t] != model->tokenizer.mask)
			continue;
		if (*position >= 0)
			return plm_fail(err, PLM_EARG, 0, "the text has more than one \"%.*s\"", (int) mask.len, mask.data);
		*position = t;
	}
	if (*position >= 0)
		return PLM_OK;
	plm_fail(err, PLM_EARG, 0, "the text has no \"%.*s\"%s", (int) mask.len, mask.data,
			 encoding->truncated ? " among the tokens that the model sees" : "");
	return plm_hint(err, "Write \"%.*s\" where the missing word is.", (int) mask.len, mask.data);
}

static bool
better(const PlmCandidate *a, const PlmCandidate *b)
{
	return a->probability > b->probability || (a->probability == b->probability && a->id < b->id);
}

/* Restore the heap (worst on top) of n candidates below place i. */
static void
sift(PlmCandidate *heap, int64_t n, int64_t i)
{
	for (;;)
	{
		int64_t		child = 2 * i + 1;
		PlmCandidate swap;

		if (child >= n)
			return;
		if (child + 1 < n && better(&heap[child], &heap[child + 1]))
			child++;
		if (!better(&heap[i], &heap[child]))
			return;
		swap = heap[i];
		heap[i] = heap[child];
		heap[child] = swap;
		i = child;
	}
}

/* The best `top` of V probabilities, best first. */
static void
select_best(const float *p, int64_t V, int64_t top, PlmCandidate *out)
{
	for (int64_t v = 0; v < top; v++)
		out[v] = (PlmCandidate) {(int32_t) v, p[v]};
	for (int64_t i = top / 2 - 1; i >= 0; i--)
		sift(out, top, i);
	for (int64_t v = top; v < V; v++)
	{
		PlmCandidate c = {(int32_t) v, p[v]};

		if (!better(&c, &out[0]))
			continue;
		out[0] = c;
		sift(out, top, 0);
	}
	for (int64_t n = top - 1; n > 0; n--)
	{
		PlmCandidate worst = out[0];

		out[0] = out[n];
		out[n] = worst;
		sift(out, n, 0);
	}
}

/* Probabilities (V) of the token at `position`; workspaces come from the arena. */
static PlmStatus
mask_probabilities(const PlmModel *model, const PlmEncoding *encoding, int64_t position, PlmArena *arena,
				   PlmWorker *worker, float **out, PlmError *err)
{
	const PlmConfig *c = &model->config;
	size_t		bytes = ((size_t) c->vocab + (size_t) c->width) * sizeof(float);
	int64_t		offsets[2];
	PlmBatch	batch = plm_batch_of_one(encoding, offsets);
	PlmWorkspace ws;
	float	   *p = plm_arena_alloc(arena, bytes);

	if (p == NULL)
		return plm_arena_refused(arena, bytes, err);
	PLM_TRY(plm_workspace_carve(model, batch.tokens, batch.longest, 0, arena, &ws, err));
	PLM_TRY(plm_encoder_forward(model, &batch, &ws, NULL, worker, err));
	PLM_TRY(plm_mask_logits(model, 1, ws.x + position * c->width, p + c->vocab, p, worker, err));
	if (plm_find_nonfinite(p, c->vocab) >= 0)
		return plm_fail(err, PLM_ENUMERIC, 0, "a logit of the masked token is not finite");
	plm_softmax(p, c->vocab, 1.0f);
	*out = p;
	return PLM_OK;
}

PlmStatus
plm_fill_mask(const PlmModel *model, PlmText text, int64_t top, const PlmOptions *options, PlmArena *arena,
			  PlmEncoding *encoding, int64_t *position, PlmCandidate *out, int64_t *found, PlmError *err)
{
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, options->hook);
	PlmArena	work;
	float	   *p = NULL;
	PlmStatus	status;

	*found = 0;
	if (top < 1)
		return plm_fail(err, PLM_EARG, 0, "the number of tokens to return must be positive, not %" PRId64, top);
	PLM_TRY(plm_mask_possible(model, err));
	PLM_TRY(plm_encode(&model->tokenizer, text, NULL, model->config.max_tokens, &worker, arena, encoding, err));
	PLM_TRY(find_mask(model, encoding, position, err));
	plm_arena_init(&work, options->hook, options->memory_limit);
	status = mask_probabilities(model, encoding, *position, &work, &worker, &p, err);
	if (status == PLM_OK)
	{
		*found = top < model->config.vocab ? top : model->config.vocab;
		select_best(p, model->config.vocab, *found, out);
	}
	plm_arena_free(&work);
	return status;
}
