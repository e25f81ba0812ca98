/*
 * first.c -- the weights that a training begins with: the base's, those of its vocabulary made anew, or drawn.
 */
#include "internal.h"

#include <math.h>
#include <string.h>

PlmStatus
plm_origin_open(PlmTrainer *t, PlmOrigin *out, PlmError *err)
{
	PlmConfig	config = t->base_config;
	PlmText    *labels;

	memset(out, 0, sizeof(*out));
	if (plm_file_find(t->files, "model.safetensors") == NULL && plm_file_find(t->files, "model.safetensors.index.json") == NULL)
		return PLM_OK;
	if (t->former != NULL)
	{
		PLM_TRY(plm_config_read(t->former, &t->step, &config, &labels, err));
		PLM_TRY(plm_transfer_open(t->former, &config, &t->model.tokenizer, t->options.hook, &t->step, &out->transfer, err));
	}
	return plm_params_resolve(t->files, &config, PLM_PREC_F32, &t->step, &out->plan, err);
}

/*
 * Drawn as the reference library draws them: normal with deviation 0.02; norms at 1 and 0, biases at 0.  Under word vectors all layers begin
 * as the identity (Zhang et al. 2019, Fixup), so that what is learnt without them holds with them.
 */
static PlmStatus
draw(const PlmTrainer *t, const PlmParam *p, uint64_t number, PlmWorker *worker, float *to, PlmError *err)
{
	size_t		len = strlen(p->spec->role);
	bool		gain = len > 2 && strcmp(p->spec->role + len - 2, ".g") == 0;
	uint64_t	key = plm_stream(t->options.seed, PLM_STREAM_WEIGHTS, number);
	bool		leads_back = strcmp(p->spec->role, "blk.{L}.attn_out.w") == 0 || strcmp(p->spec->role, "blk.{L}.ff_down.w") == 0;
	bool		zero = t->options.word_vectors && leads_back;

	for (int64_t i = 0; i < p->rows * p->cols; i++)
	{
		if (i % PIECE_FLOATS == 0 && plm_stopped(worker))
			return plm_cancelled(err);
		to[i] = zero ? 0 : p->rank == 2 ? (float) (0.02 * plm_random_normal(key, (uint64_t) i)) : gain ? 1.0f : 0.0f;
	}
	return PLM_OK;
}

/* Has it a row, or a number, for each token, and are those made of others? */
static bool
is_vocabulary(const PlmTransfer *transfer, const PlmParam *p)
{
	return transfer->tokens > 0 && p->spec->shape[0] == DIM_V;
}

static const PlmParam *
same_param(const PlmParamPlan *base, const PlmParam *p, const PlmTransfer *transfer)
{
	for (int64_t i = 0; i < base->n; i++)
	{
		const PlmParam *b = &base->params[i];

		if (b->spec == p->spec && b->index == p->index)
			return is_vocabulary(transfer, p) || (b->rows == p->rows && b->cols == p->cols) ? b : NULL;
	}
	return NULL;
}

PlmStatus
plm_first_values(PlmTrainer *t, const PlmOrigin *origin, bool same_labels, PlmError *err)
{
	const PlmTransfer *transfer = &origin->transfer;
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, t->options.hook);

	for (int64_t i = 0; i < t->plan.n; i++)
	{
		const PlmParam *p = &t->plan.params[i];
		const PlmParam *from = same_param(&origin->plan, p, transfer);
		float	   *to = t->w + t->at[p->section] + p->at;

		if (plm_stopped(&worker))
			return plm_cancelled(err);
		if (p->spec->part == PLM_PART_CLASSIFIER && p->spec->shape[0] == DIM_N && !same_labels)
			from = NULL;
		if (from == NULL || is_vocabulary(transfer, p))
			PLM_TRY(draw(t, p, (uint64_t) i, &worker, to, err));
		if (from != NULL)
			PLM_TRY(is_vocabulary(transfer, p) ? plm_transfer_rows(transfer, from, &t->step, to, err) :
					plm_param_read(from, to, &t->step, err));
	}
	for (int64_t i = 0; i < t->n_adapters; i++)
	{
		const PlmAdapter *a = &t->adapters[i];
		uint64_t	key = plm_stream(t->options.seed, PLM_STREAM_WEIGHTS, (uint64_t) (t->plan.n + i));

		/* A at random and B at zero: training begins with the base as it is. */
		for (int64_t k = 0; k < t->options.lora_rank * a->k; k++)
			t->w[a->wa + k] = (float) (plm_random_normal(key, (uint64_t) k) / sqrt((double) a->k));
	}
	return PLM_OK;
}
