/*
 * objectives.c -- the list of objectives, and what serves each when the host says nothing.
 */
#include "internal.h"

#include <math.h>

static const PlmObjectiveCode *const codes[PLM_OBJECTIVES] = {
	[PLM_LEARN_MASKED] = &plm_masked,
	[PLM_LEARN_CLASSES] = &plm_classes,
	[PLM_LEARN_RETRIEVAL] = &plm_retrieval,
	[PLM_LEARN_RANKING] = &plm_ranking,
	[PLM_LEARN_SIMILARITY] = &plm_similarity,
	[PLM_LEARN_DISTILLED] = &plm_distilled,
};

const PlmObjectiveCode *
plm_objective(PlmObjective objective)
{
	return codes[objective];
}

const char *
plm_objective_name(PlmObjective objective)
{
	return objective >= 0 && objective < PLM_OBJECTIVES ? codes[objective]->name : "unknown";
}

void
plm_train_defaults(PlmObjective objective, PlmTrainOptions *o)
{
	bool		masked = objective == PLM_LEARN_MASKED;

	*o = (PlmTrainOptions) {
		.objective = objective, .seed = 1, .epochs = masked ? 10 : objective == PLM_LEARN_RETRIEVAL ? 1 : 3,
		.batch = masked || objective == PLM_LEARN_RETRIEVAL ? 128 : 32,
		.learning_rate = masked ? 5e-4 : 5e-5, .schedule = PLM_SCHEDULE_LINEAR, .warmup = masked ? 0.05 : 0.1,
		.weight_decay = 0.01, .beta1 = 0.9, .beta2 = masked ? 0.98 : 0.999, .epsilon = 1e-8, .clip = 1,
		.dropout = objective == PLM_LEARN_CLASSES || objective == PLM_LEARN_RANKING ? 0.1 : 0,
		.frozen_layers = -1, .lora_alpha = 16, .mask_rate = 0.2, .temperature = 0.05, .symmetric = true, .threads = 1,
		.hook = &plm_libc_hook
	};
}

static PlmStatus
real_range(const char *what, double value, double low, double high, PlmError *err)
{
	if (value >= low && value <= high)
		return PLM_OK;
	plm_fail(err, PLM_EARG, 0, "%s must be between %g and %g, not %g", what, low, high, value);
	return plm_hint(err, "The default serves most trainings.");
}

static PlmStatus
check_matryoshka(const PlmTrainOptions *o, PlmError *err)
{
	for (int i = 0; i < PLM_COUNT(o->matryoshka) && o->matryoshka[i] != 0; i++)
		if (o->matryoshka[i] < 1)
			return plm_fail(err, PLM_EARG, 0, "a width of a prefix must be positive, not %" PRId32, o->matryoshka[i]);
	return PLM_OK;
}

/* class_weights are frequencies that no noise hides. */
static PlmStatus
check_private(const PlmTrainOptions *o, PlmError *err)
{
	if (o->privacy_epsilon == 0 && o->privacy_delta == 0 && o->privacy_clip == 0)
		return PLM_OK;
	if (o->privacy_epsilon == 0)
	{
		plm_fail(err, PLM_EARG, 0, "a training without an epsilon is not private");
		return plm_hint(err, "Give option \"privacy_epsilon\" too, usually from 1 to 10.");
	}
	PLM_TRY(real_range("the privacy's epsilon", o->privacy_epsilon, 1e-3, 1e3, err));
	PLM_TRY(real_range("the privacy's delta", o->privacy_delta, 1e-100, 0.5, err));
	PLM_TRY(real_range("the privacy's clipping norm", o->privacy_clip, 1e-9, 1e9, err));
	if (o->objective != PLM_LEARN_CLASSES)
	{
		plm_fail(err, PLM_EARG, 0, "there is no private training of %s", plm_objective_name(o->objective));
		return plm_hint(err, "Only classification can be learnt privately.");
	}
	if (o->class_weights)
	{
		plm_fail(err, PLM_EARG, 0, "a private training has no weights of classes");
		return plm_hint(err, "They are counts of the examples, which the model would tell.  Leave out option \"class_weights\".");
	}
	return PLM_OK;
}

PlmStatus
plm_train_check(const PlmTrainOptions *o, PlmError *err)
{
	if (o->objective < 0 || o->objective >= PLM_OBJECTIVES)
		return plm_fail(err, PLM_EARG, 0, "there is no objective %d", (int) o->objective);
	if (o->schedule < PLM_SCHEDULE_LINEAR || o->schedule > PLM_SCHEDULE_CONSTANT)
		return plm_fail(err, PLM_EARG, 0, "there is no schedule %d", (int) o->schedule);
	PLM_TRY(real_range("the number of steps", (double) o->steps, 0, 1e9, err));
	if (o->steps == 0)
		PLM_TRY(real_range("the number of epochs", o->epochs, 1e-6, 1e6, err));
	PLM_TRY(real_range("the number of examples of a step", o->batch, 1, 1 << 20, err));
	PLM_TRY(real_range("the learning rate", o->learning_rate, 0, 10, err));
	PLM_TRY(real_range("the share of warm-up", o->warmup, 0, 1, err));
	PLM_TRY(real_range("the weight decay", o->weight_decay, 0, 1, err));
	if (o->learning_rate * o->weight_decay >= 1)
	{
		plm_fail(err, PLM_EARG, 0, "a weight decay of %g at a learning rate of %g would turn weights round", o->weight_decay,
				 o->learning_rate);
		return plm_hint(err, "Their product must be less than 1; usual values are 0.01 and 0.0001.");
	}
	PLM_TRY(real_range("beta1", o->beta1, 0, 0.99999, err));
	PLM_TRY(real_range("beta2", o->beta2, 0, 0.9999999, err));
	PLM_TRY(real_range("epsilon", o->epsilon, 1e-20, 1, err));
	PLM_TRY(real_range("the clipping norm", o->clip, 0, 1e9, err));
	PLM_TRY(real_range("the dropout rate", o->dropout, 0, 0.95, err));
	PLM_TRY(real_range("the number of frozen layers", o->frozen_layers, -1, 1024, err));
	PLM_TRY(real_range("the rank of adapters", o->lora_rank, 0, 1024, err));
	PLM_TRY(real_range("the adapters' alpha", o->lora_alpha, 1e-6, 1e6, err));
	PLM_TRY(real_range("the share of masked tokens", o->mask_rate, 0.001, 0.9, err));
	PLM_TRY(real_range("the temperature", o->temperature, 0.001, 100, err));
	PLM_TRY(real_range("the number of hard negatives", o->hard_negatives, 0, 16, err));
	PLM_TRY(check_matryoshka(o, err));
	PLM_TRY(check_private(o, err));
	if (o->word_vectors && plm_objective(o->objective)->task != PLM_TASK_EMBEDDING)
		return plm_fail(err, PLM_EARG, 0, "word vectors learn from what embeds texts, not from %s", plm_objective_name(o->objective));
	if (o->word_vectors && (o->frozen_layers >= 0 || o->lora_rank > 0))
	{
		plm_fail(err, PLM_EARG, 0, "word vectors cannot learn while embeddings keep their values");
		return plm_hint(err, "Leave out options \"frozen_layers\" and \"lora_rank\".");
	}
	if (o->hook == NULL)
		return plm_fail(err, PLM_EINTERNAL, 0, "training without a hook");
	return PLM_OK;
}
