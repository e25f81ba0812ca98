/*
 * objective_classes.c -- classes of texts: cross entropy over one class of many, or binary cross entropy of each.
 *
 * The loss is a mean over examples, weighted by their classes' weights where these are asked for, as the reference
 * library's losses with `weight` and `pos_weight` absent are.
 */
#include "internal.h"

#include <math.h>
#include <string.h>

static int64_t
examples_of_class(const PlmExamples *e, int64_t *count)
{
	int64_t		labels = 0;

	for (int64_t i = 0; i < plm_examples_count(e); i++)
	{
		const PlmStored *s = plm_examples_at(e, i);

		for (int32_t k = 0; k < s->n_labels; k++)
			count[s->labels[k]]++;
		labels += s->n_labels;
	}
	return labels;
}

static PlmStatus
check_labels(const PlmTrainer *t, const PlmExamples *e, PlmError *err)
{
	int32_t		N = t->model.config.labels;

	for (int64_t i = 0; i < plm_examples_count(e); i++)
	{
		const PlmStored *s = plm_examples_at(e, i);

		if (!t->options.multi_label && s->n_labels != 1)
			return plm_fail(err, PLM_EARG, 0, "example %" PRId64 " has %" PRId32 " labels, not one", i + 1, s->n_labels);
		if (s->n_labels > 0 && s->labels[s->n_labels - 1] >= N)
			return plm_fail(err, PLM_EARG, 0, "example %" PRId64 " has label number %" PRId32 " of only %" PRId32, i + 1,
							s->labels[s->n_labels - 1], N);
	}
	return PLM_OK;
}

/* weight of a class = mean count / its count: rare classes count as much as frequent ones; their mean over labels is 1. */
static PlmStatus
classes_open(PlmTrainer *t, PlmError *err)
{
	int32_t		N = t->model.config.labels;
	int64_t    *count;
	int64_t		labels;
	int64_t		seen = 0;

	PLM_TRY(check_labels(t, t->train, err));
	if (t->held_out != NULL)
		PLM_TRY(check_labels(t, t->held_out, err));
	if (!t->options.class_weights)
		return PLM_OK;
	PLM_TRY(plm_take(&t->step, N, sizeof(int64_t), &count, err));
	PLM_TRY(plm_take(&t->arena, N, sizeof(float), &t->class_weight, err));
	memset(count, 0, (size_t) N * sizeof(int64_t));
	labels = examples_of_class(t->train, count);
	for (int32_t k = 0; k < N; k++)
		seen += count[k] > 0;
	for (int32_t k = 0; k < N; k++)
		t->class_weight[k] = count[k] > 0 ? (float) ((double) labels / ((double) seen * (double) count[k])) : 0;
	return PLM_OK;
}

static double
weight_of(const PlmTrainer *t, int32_t label)
{
	return t->class_weight != NULL ? t->class_weight[label] : 1;
}

static bool
has_label(const PlmStored *s, int32_t label)
{
	for (int32_t k = 0; k < s->n_labels; k++)
		if (s->labels[k] == label)
			return true;
	return false;
}

/* log(sum(exp(z))) */
static double
log_sum(const float *z, int32_t n)
{
	double		most = z[0];
	double		sum = 0;

	for (int32_t k = 1; k < n; k++)
		most = z[k] > most ? z[k] : most;
	for (int32_t k = 0; k < n; k++)
		sum += exp(z[k] - most);
	return most + log(sum);
}

/* Loss of one example and, unless dz is NULL, its gradient times `share`. */
static double
example_loss(const PlmTrainer *t, const PlmStored *s, const float *z, double share, float *dz)
{
	int32_t		N = t->model.config.labels;
	double		loss = 0;

	if (!t->options.multi_label)
	{
		double		all = log_sum(z, N);
		int32_t		y = s->labels[0];

		for (int32_t k = 0; dz != NULL && k < N; k++)
			dz[k] = (float) (share * weight_of(t, y) * (exp(z[k] - all) - (k == y)));
		return weight_of(t, y) * (all - z[y]);
	}
	for (int32_t k = 0; k < N; k++)
	{
		bool		on = has_label(s, k);
		double		weight = on ? weight_of(t, k) : 1;
		double		d;

		loss += weight * plm_binary_loss(z[k], on, &d) / N;
		if (dz != NULL)
			dz[k] = (float) (share * weight * d / N);
	}
	return loss;
}

/* What the step's sum is divided by; a private step wants each example's own gradient. */
static double
total_weight(const PlmTrainer *t, const PlmStored *const *example, int64_t n)
{
	double		sum = 0;

	if (plm_private(t))
		return 1;
	if (t->options.multi_label || t->class_weight == NULL)
		return (double) n;
	for (int64_t i = 0; i < n; i++)
		sum += weight_of(t, example[i]->labels[0]);
	return sum;
}

static PlmStatus
classes_loss(PlmTrainer *t, PlmMicro *m, double *loss, PlmError *err)
{
	const PlmTexts *x = m->texts;
	int32_t		N = t->model.config.labels;
	double		share = 1 / total_weight(t, (const PlmStored *const *) x->example, x->examples);
	PlmScored	s;
	float	   *dlogits;

	PLM_TRY(plm_score_forward(t, m, &s, err));
	PLM_TRY(plm_take(&t->step, m->n * N, sizeof(float), &dlogits, err));
	for (int64_t b = 0; b < m->n; b++)
		*loss += share * example_loss(t, x->example[x->owner[m->first + b]], s.logits + b * N, share, dlogits + b * N);
	return plm_score_backward(t, m, &s, dlogits, err);
}

/* ---- evaluation ---- */

typedef struct Judged
{
	const PlmTrainer *t;
	PlmTally	tally;
	const double *loss;			/* (n) */
	const int32_t *said;		/* (n, most) */
	const int32_t *n_said;		/* (n) */
	int64_t		most;			/* classes that one answer can have */
} Judged;

/* accuracy, macro F1 over classes that occur or are predicted, loss, micro F1 */
static void
class_figures(void *arg, const int64_t *pick, int64_t n, double *out)
{
	Judged	   *j = arg;
	double		loss = 0;
	double		weights = 0;
	double		macro;
	double		micro;

	plm_tally_clear(&j->tally);
	for (int64_t i = 0; i < n; i++)
	{
		const PlmStored *s = plm_examples_at(j->t->held_out, pick[i]);

		plm_tally_add(&j->tally, s->labels, s->n_labels, j->said + pick[i] * j->most, j->n_said[pick[i]]);
		loss += j->loss[pick[i]];
		weights += j->t->options.multi_label ? 1 : weight_of(j->t, s->labels[0]);
	}
	macro = plm_tally_macro_f1(&j->tally);
	micro = plm_tally_micro_f1(&j->tally);
	out[0] = plm_tally_accuracy(&j->tally);
	out[1] = isnan(macro) ? 0 : macro;
	out[2] = weights > 0 ? loss / weights : 0;
	out[3] = isnan(micro) ? 0 : micro;
}

/* What the logits say of each example, and its loss; both once, for all draws. */
static PlmStatus
judge(Judged *j, const float *logits, int64_t count, PlmError *err)
{
	PlmArena   *arena = &((PlmTrainer *) j->t)->step;
	bool		multi = j->t->options.multi_label;
	int32_t		N = j->t->model.config.labels;
	int32_t    *said;
	int32_t    *n_said;
	double	   *loss;

	j->tally.labels = N;
	j->most = multi ? N : 1;
	PLM_TRY(plm_take(arena, count * j->most, sizeof(int32_t), &said, err));
	PLM_TRY(plm_take(arena, count, sizeof(int32_t), &n_said, err));
	PLM_TRY(plm_take(arena, count, sizeof(double), &loss, err));
	PLM_TRY(plm_take(arena, 3 * (int64_t) N, sizeof(int64_t), &j->tally.counts, err));
	for (int64_t i = 0; i < count; i++)
	{
		n_said[i] = plm_decide(logits + i * N, N, multi, 0, said + i * j->most);
		loss[i] = example_loss(j->t, plm_examples_at(j->t->held_out, i), logits + i * N, 0, NULL);
	}
	j->said = said;
	j->n_said = n_said;
	j->loss = loss;
	return PLM_OK;
}

static PlmStatus
classes_evaluate(PlmTrainer *t, int samples, PlmMetric *metrics, int *n, PlmError *err)
{
	static const char *const names[] = {"accuracy", "macro_f1", "loss", "micro_f1"};
	int64_t		count = plm_examples_count(t->held_out);
	Judged		j = {.t = t};
	float	   *logits;

	PLM_TRY(plm_take(&t->step, count * t->model.config.labels, sizeof(float), &logits, err));
	PLM_TRY(plm_score_range(t, t->held_out, logits, err));
	PLM_TRY(judge(&j, logits, count, err));
	*n = t->options.multi_label ? 4 : 3;
	return plm_trainer_bootstrap(t, count, samples, class_figures, &j, *n, names, metrics, err);
}

const PlmObjectiveCode plm_classes = {
	.name = "classification", .task = PLM_TASK_CLASSIFICATION, .part = {[PLM_PART_CLASSIFIER] = true}, .better_high = true,
	.open = classes_open, .hidden_loss = classes_loss, .evaluate = classes_evaluate
};
