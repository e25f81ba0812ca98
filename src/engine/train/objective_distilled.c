/*
 * objective_distilled.c -- a teacher's embedding of each text: 1 - cosine.
 */
#include "internal.h"

#include <math.h>

/* Cosine with the target and, unless de is NULL, the gradient of 1 - cosine times share.  e is of unit length. */
static double
towards(const float *e, const float *target, int64_t D, double share, float *de)
{
	float		dot;
	float		ee;
	float		length;
	double		scale;

	plm_dot3(e, target, D, &dot, &ee, &length);
	if (!(length > 0))
		return 0;				/* a target without direction teaches nothing */
	scale = 1 / sqrt((double) length);
	for (int64_t i = 0; de != NULL && i < D; i++)
		de[i] = (float) (-share * scale * target[i]);
	return dot * scale;
}

static PlmStatus
distilled_loss(PlmTrainer *t, const PlmTexts *x, const float *e, float *de, double *loss, PlmError *err)
{
	int64_t		D = t->model.config.dimensions;
	double		share = 1 / (double) x->examples;

	(void) err;
	for (int64_t s = 0; s < x->n; s++)
		*loss += share * (1 - towards(e + s * D, x->example[x->owner[s]]->target, D, share, de + s * D));
	return PLM_OK;
}

static void
distilled_figures(void *arg, const int64_t *pick, int64_t n, double *out)
{
	const double *cosine = arg;

	out[0] = 0;
	for (int64_t i = 0; i < n; i++)
		out[0] += cosine[pick[i]] / (double) n;
	out[1] = 1 - out[0];
}

static PlmStatus
distilled_evaluate(PlmTrainer *t, int samples, PlmMetric *metrics, int *n, PlmError *err)
{
	static const char *const names[] = {"cosine", "loss"};
	int64_t		count = plm_examples_count(t->held_out);
	int64_t		D = t->model.config.dimensions;
	float	   *e[2] = {NULL, NULL};
	double	   *cosine;

	PLM_TRY(plm_take(&t->step, count * D, sizeof(float), &e[0], err));
	PLM_TRY(plm_take(&t->step, count, sizeof(double), &cosine, err));
	PLM_TRY(plm_embed_range(t, t->held_out, e, err));
	for (int64_t i = 0; i < count; i++)
		cosine[i] = towards(e[0] + i * D, plm_examples_at(t->held_out, i)->target, D, 0, NULL);
	*n = 2;
	return plm_trainer_bootstrap(t, count, samples, distilled_figures, cosine, *n, names, metrics, err);
}

const PlmObjectiveCode plm_distilled = {
	.name = "distillation", .task = PLM_TASK_EMBEDDING, .better_high = true,
	.vector_loss = distilled_loss, .evaluate = distilled_evaluate
};
