/*
 * objective_similarity.c -- two texts and a score: mean squared error of the cosine of their embeddings.
 */
#include "internal.h"

#include <math.h>

/* An example's two texts are neighbours. */
static PlmStatus
similarity_loss(PlmTrainer *t, const PlmTexts *x, const float *e, float *de, double *loss, PlmError *err)
{
	int64_t		D = t->model.config.dimensions;

	(void) err;
	for (int64_t s = 0; s + 1 < x->n; s += 2)
	{
		double		difference = plm_dot(e + s * D, e + (s + 1) * D, D) - x->example[x->owner[s]]->number;
		float		share = (float) (2 * difference / (double) x->examples);

		*loss += difference * difference / (double) x->examples;
		for (int64_t i = 0; i < D; i++)
		{
			de[s * D + i] = share * e[(s + 1) * D + i];
			de[(s + 1) * D + i] = share * e[s * D + i];
		}
	}
	return PLM_OK;
}

/* ---- evaluation: Spearman's rank correlation ---- */

typedef struct Compared
{
	const double *value[2];		/* (n) cosine and score */
	const double *rank[2];		/* (n) among all examples */
} Compared;

static void
similarity_figures(void *arg, const int64_t *pick, int64_t n, double *out)
{
	const Compared *c = arg;
	double		spearman = plm_correlation(c->rank[0], c->rank[1], pick, n);
	double		loss = 0;

	for (int64_t i = 0; i < n; i++)
		loss += pow(c->value[0][pick[i]] - c->value[1][pick[i]], 2) / (double) n;
	out[0] = isnan(spearman) ? 0 : spearman;
	out[1] = loss;
}

static PlmStatus
similarity_evaluate(PlmTrainer *t, int samples, PlmMetric *metrics, int *n, PlmError *err)
{
	static const char *const names[] = {"spearman", "loss"};
	int64_t		count = plm_examples_count(t->held_out);
	int64_t		D = t->model.config.dimensions;
	Compared	c;
	PlmRanked  *scratch;
	float	   *e[2];
	double	   *value[2];
	double	   *rank[2];

	for (int k = 0; k < 2; k++)
	{
		PLM_TRY(plm_take(&t->step, count * D, sizeof(float), &e[k], err));
		PLM_TRY(plm_take(&t->step, count, sizeof(double), &value[k], err));
		PLM_TRY(plm_take(&t->step, count, sizeof(double), &rank[k], err));
	}
	PLM_TRY(plm_take(&t->step, count, sizeof(PlmRanked), &scratch, err));
	PLM_TRY(plm_embed_range(t, t->held_out, e, err));
	for (int64_t i = 0; i < count; i++)
	{
		value[0][i] = plm_dot(e[0] + i * D, e[1] + i * D, D);
		value[1][i] = plm_examples_at(t->held_out, i)->number;
	}
	for (int k = 0; k < 2; k++)
	{
		plm_ranks(value[k], count, scratch, rank[k]);
		c.value[k] = value[k];
		c.rank[k] = rank[k];
	}
	*n = 2;
	return plm_trainer_bootstrap(t, count, samples, similarity_figures, &c, *n, names, metrics, err);
}

const PlmObjectiveCode plm_similarity = {
	.name = "similarity", .task = PLM_TASK_EMBEDDING, .better_high = true,
	.vector_loss = similarity_loss, .evaluate = similarity_evaluate
};
