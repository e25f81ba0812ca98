/*
 * objective_ranking.c -- a cross-encoder: query and document read side by side, one logit, binary cross entropy on the grade.
 */
#include "internal.h"

#include <math.h>
#include <stdlib.h>

static PlmStatus
ranking_loss(PlmTrainer *t, PlmMicro *m, double *loss, PlmError *err)
{
	const PlmTexts *x = m->texts;
	PlmScored	s;
	float	   *dlogits;

	PLM_TRY(plm_score_forward(t, m, &s, err));
	PLM_TRY(plm_take(&t->step, m->n, sizeof(float), &dlogits, err));
	for (int64_t b = 0; b < m->n; b++)
	{
		double		d;

		*loss += plm_binary_loss(s.logits[b], x->example[x->owner[m->first + b]]->number, &d) / (double) x->examples;
		dlogits[b] = (float) (d / (double) x->examples);
	}
	return plm_score_backward(t, m, &s, dlogits, err);
}

/* ---- evaluation: nDCG@10 of the documents of each query ---- */

#define CUT 10

typedef struct Ranked
{
	uint64_t	query;
	double		grade;
	float		score;
	int64_t		number;
} Ranked;

static int
by_query_and_score(const void *a, const void *b)
{
	const Ranked *x = a;
	const Ranked *y = b;

	if (x->query != y->query)
		return x->query < y->query ? -1 : 1;
	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

/* Per query: nDCG (NaN: no document is above grade 0), sum of losses, documents. */
typedef struct Query
{
	double		ndcg;
	double		loss;
	int64_t		n;
} Query;

/* nDCG: the mean over queries that have one. */
static void
ranking_figures(void *arg, const int64_t *pick, int64_t n, double *out)
{
	const Query *queries = arg;
	double		ndcg = 0;
	double		loss = 0;
	int64_t		documents = 0;
	int64_t		ranked = 0;

	for (int64_t i = 0; i < n; i++)
	{
		const Query *q = &queries[pick[i]];

		ndcg += isnan(q->ndcg) ? 0 : q->ndcg;
		ranked += !isnan(q->ndcg);
		loss += q->loss;
		documents += q->n;
	}
	out[0] = ranked > 0 ? ndcg / (double) ranked : 0;
	out[1] = loss / (double) documents;
}

/* The n documents of one query, by score; grades: (n) scratch. */
static Query
measure_query(const PlmTrainer *t, const Ranked *r, int64_t n, double *grades)
{
	double		scale = t->options.grade_scale > 0 ? t->options.grade_scale : 1;
	Query		q = {.n = n};

	for (int64_t i = 0; i < n; i++)
	{
		q.loss += plm_binary_loss(r[i].score, r[i].grade, NULL);
		grades[i] = r[i].grade * scale;
	}
	q.ndcg = plm_ndcg(grades, n, CUT);
	return q;
}

static PlmStatus
ranking_evaluate(PlmTrainer *t, int samples, PlmMetric *metrics, int *n, PlmError *err)
{
	static const char *const names[] = {"ndcg@10", "loss"};
	int64_t		count = plm_examples_count(t->held_out);
	int64_t		queries = 0;
	float	   *logits;
	double	   *grades;
	Ranked	   *r;
	Query	   *q;

	PLM_TRY(plm_take(&t->step, count, sizeof(float), &logits, err));
	PLM_TRY(plm_take(&t->step, count, sizeof(double), &grades, err));
	PLM_TRY(plm_take(&t->step, count, sizeof(Ranked), &r, err));
	PLM_TRY(plm_take(&t->step, count, sizeof(Query), &q, err));
	PLM_TRY(plm_score_range(t, t->held_out, logits, err));
	for (int64_t i = 0; i < count; i++)
	{
		const PlmStored *s = plm_examples_at(t->held_out, i);

		r[i] = (Ranked) {s->group, s->number, logits[i], i};
	}
	qsort(r, (size_t) count, sizeof(Ranked), by_query_and_score);
	for (int64_t i = 0, end; i < count; i = end)
	{
		for (end = i; end < count && r[end].query == r[i].query; end++)
			;
		q[queries++] = measure_query(t, r + i, end - i, grades);
	}
	*n = 2;
	return plm_trainer_bootstrap(t, queries, samples, ranking_figures, q, *n, names, metrics, err);
}

const PlmObjectiveCode plm_ranking = {
	.name = "ranking", .task = PLM_TASK_RANKING, .part = {[PLM_PART_CLASSIFIER] = true}, .better_high = true,
	.hidden_loss = ranking_loss, .evaluate = ranking_evaluate
};
