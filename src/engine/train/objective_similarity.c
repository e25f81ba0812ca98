/*
 * objective_similarity.c -- two texts and a score: mean squared error of the cosine of their embeddings.
 */
#include "internal.h"

#include <math.h>
#include <stdlib.h>

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

typedef struct Valued
{
	double		value;
	int64_t		at;
} Valued;

typedef struct Compared
{
	const double *cosine;		/* (n) */
	const double *score;
	Valued	   *order;			/* (n) scratch */
	double	   *rank[2];		/* (n) scratch */
} Compared;

static int
by_value(const void *a, const void *b)
{
	double		x = ((const Valued *) a)->value;
	double		y = ((const Valued *) b)->value;

	return (x > y) - (x < y);
}

/* Equal values share the mean of their ranks. */
static void
ranks(Valued *order, int64_t n, double *rank)
{
	qsort(order, (size_t) n, sizeof(Valued), by_value);
	for (int64_t i = 0, end; i < n; i = end)
	{
		for (end = i; end < n && order[end].value == order[i].value; end++)
			;
		for (int64_t k = i; k < end; k++)
			rank[order[k].at] = (double) (i + end - 1) / 2;
	}
}

static double
correlation(const double *a, const double *b, int64_t n)
{
	double		middle = (double) (n - 1) / 2;
	double		ab = 0;
	double		aa = 0;
	double		bb = 0;

	for (int64_t i = 0; i < n; i++)
	{
		ab += (a[i] - middle) * (b[i] - middle);
		aa += (a[i] - middle) * (a[i] - middle);
		bb += (b[i] - middle) * (b[i] - middle);
	}
	return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

static void
similarity_figures(void *arg, const int64_t *pick, int64_t n, double *out)
{
	const Compared *c = arg;
	const double *values[] = {c->cosine, c->score};
	double		loss = 0;

	for (int k = 0; k < 2; k++)
	{
		for (int64_t i = 0; i < n; i++)
			c->order[i] = (Valued) {values[k][pick[i]], i};
		ranks(c->order, n, c->rank[k]);
	}
	for (int64_t i = 0; i < n; i++)
		loss += pow(c->cosine[pick[i]] - c->score[pick[i]], 2) / (double) n;
	out[0] = correlation(c->rank[0], c->rank[1], n);
	out[1] = loss;
}

static PlmStatus
similarity_evaluate(PlmTrainer *t, int samples, PlmMetric *metrics, int *n, PlmError *err)
{
	static const char *const names[] = {"spearman", "loss"};
	int64_t		count = plm_examples_count(t->held_out);
	int64_t		D = t->model.config.dimensions;
	Compared	c;
	float	   *e[2];
	double	   *values[2];

	for (int k = 0; k < 2; k++)
	{
		PLM_TRY(plm_take(&t->step, count * D, sizeof(float), &e[k], err));
		PLM_TRY(plm_take(&t->step, count, sizeof(double), &values[k], err));
		PLM_TRY(plm_take(&t->step, count, sizeof(double), &c.rank[k], err));
	}
	PLM_TRY(plm_take(&t->step, count, sizeof(Valued), &c.order, err));
	PLM_TRY(plm_embed_range(t, t->held_out, e, err));
	for (int64_t i = 0; i < count; i++)
	{
		values[0][i] = plm_dot(e[0] + i * D, e[1] + i * D, D);
		values[1][i] = plm_examples_at(t->held_out, i)->number;
	}
	c.cosine = values[0];
	c.score = values[1];
	*n = 2;
	return plm_bootstrap(t, count, samples, similarity_figures, &c, *n, names, metrics, err);
}

const PlmObjectiveCode plm_similarity = {
	.name = "similarity", .task = PLM_TASK_EMBEDDING, .better_high = true,
	.vector_loss = similarity_loss, .evaluate = similarity_evaluate
};
