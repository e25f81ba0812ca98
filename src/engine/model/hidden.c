/*
 * hidden.c -- every hidden state of one text: for tests and for explanations.
 */
#include "internal.h"

/* The rest of plm_hidden_states(), with a work arena that the caller frees. */
static PlmStatus
hidden(const PlmModel *model, const PlmBatch *batch, float *states, float *pooled, float *logits,
	   PlmArena *work, PlmWorker *worker, PlmError *err)
{
	const PlmConfig *c = &model->config;
	int64_t		one = 1;
	PlmWorkspace ws;

	PLM_TRY(plm_workspace_carve(model, batch->tokens, batch->longest, plm_head_embed.bytes(model, 1), work, &ws, err));
	PLM_TRY(plm_encoder_forward(model, batch, &ws, states, worker, err));
	if (pooled != NULL)
		PLM_TRY(plm_head_embed.apply(model, batch, ws.x, &one, pooled, ws.head, worker, err));
	/* ws.mix is free after the last block, and has a row for each token. */
	if (logits != NULL)
		PLM_TRY(plm_mask_logits(model, batch->tokens, states + c->layers * batch->tokens * c->width, ws.mix,
								logits, worker, err));
	return PLM_OK;
}

PlmStatus
plm_hidden_states(const PlmModel *model, const PlmEncoding *encoding, const PlmOptions *options,
				  PlmArena *arena, float **out, float *pooled, float *logits, PlmError *err)
{
	const PlmConfig *c = &model->config;
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, options->hook);
	int64_t		offsets[2];
	PlmBatch	batch = plm_batch_of_one(encoding, offsets);
	PlmArena	work;
	size_t		bytes;
	PlmStatus	status;

	PLM_TRY(plm_weights_needed(model, err));
	if (encoding->n < 1 || encoding->n > c->positions)
		return plm_fail(err, PLM_EARG, 0, "%" PRId64 " tokens do not fit the model's %" PRId32 " positions",
						encoding->n, c->positions);
	if (pooled != NULL)
		PLM_TRY(plm_embed_possible(model, err));
	if (logits != NULL && !model->part[PLM_PART_MASK])
		return plm_fail(err, PLM_EARG, 0, "the model has no masked-language head");
	if (!plm_mul((size_t) encoding->n * (size_t) c->width, ((size_t) c->layers + 1) * sizeof(float), &bytes))
		return plm_fail(err, PLM_ELIMIT, 0, "hidden states of %" PRId64 " tokens are too large", encoding->n);
	*out = plm_arena_alloc(arena, bytes);
	if (*out == NULL)
		return plm_arena_refused(arena, bytes, err);
	plm_arena_init(&work, options->hook, options->memory_limit);
	status = hidden(model, &batch, *out, pooled, logits, &work, &worker, err);
	plm_arena_free(&work);
	return status;
}
