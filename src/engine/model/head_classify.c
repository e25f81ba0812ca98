/*
 * head_classify.c -- sequence classification and ranking: logits = classifier(act(dense(first hidden state))).
 */
#include "internal.h"

#include <string.h>

static size_t
row_bytes(const PlmModel *model, int64_t texts)
{
	return plm_align((size_t) texts * (size_t) model->config.width * sizeof(float), 64);
}

static size_t
classify_bytes(const PlmModel *model, int64_t texts)
{
	size_t		a = plm_nn_linear_scratch(&model->classifier_dense);
	size_t		b = plm_nn_linear_scratch(&model->classifier);

	return 2 * row_bytes(model, texts) + (a > b ? a : b);
}

static PlmStatus
classify_apply(const PlmModel *model, const PlmBatch *batch, const float *x, const int64_t *text,
			   float *out, float *scratch, PlmWorker *worker, PlmError *err)
{
	int64_t		C = model->config.width;
	int64_t		N = model->config.labels;
	size_t		step = row_bytes(model, batch->texts);
	float	   *first = scratch;
	float	   *dense = (float *) ((char *) scratch + step);
	void	   *rest = (char *) scratch + 2 * step;

	plm_gather_first(batch, C, x, first);
	PLM_TRY(plm_nn_linear(&model->classifier_dense, batch->texts, first, C, NULL, dense, C,
						  model->arch->classifier_act, rest, worker, err));
	PLM_TRY(plm_nn_linear(&model->classifier, batch->texts, dense, C, NULL, out, N, PLM_ACT_NONE, rest, worker, err));
	for (int64_t b = 0; b < batch->texts; b++)
		if (plm_find_nonfinite(out + b * N, N) >= 0)
			return plm_fail(err, PLM_ENUMERIC, 0, "a score of text %" PRId64 " is not finite", text[b]);
	return PLM_OK;
}

const PlmHead plm_head_classify = {0, classify_bytes, classify_apply};

PlmStatus
plm_logits(const PlmModel *model, int64_t n, const PlmInput *inputs,
		   const PlmOptions *options, float *logits, PlmError *err)
{
	PlmHead		head = plm_head_classify;

	PLM_TRY(plm_weights_needed(model, err));
	if (!plm_model_can(model, PLM_TASK_CLASSIFICATION))
		return plm_fail(err, PLM_EARG, 0, "the model has no sequence classification head");
	head.width = model->config.labels;
	return plm_run_texts(model, n, inputs, PLM_TEXT(""), options, &head, logits, err);
}

void
plm_probabilities(const PlmModel *model, int64_t n, float *logits)
{
	int64_t		N = model->config.labels;

	for (int64_t i = 0; i < n; i++)
	{
		if (model->config.problem == PLM_PROBLEM_SINGLE)
			plm_softmax(logits + i * N, N, 1.0f);
		else if (model->config.problem == PLM_PROBLEM_MULTI)
			plm_activate(PLM_ACT_SIGMOID, logits + i * N, N);
	}
}
