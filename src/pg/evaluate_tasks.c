/*
 * evaluate_tasks.c -- each task of evaluate() from rows to figures; their definitions are in evaluate_model.h.
 */
#include "evaluate_model.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "fn.h"

/* Figures that are means of a number of each case. */
typedef struct Means
{
	int			count;
	double	   *of[PLM_MAX_METRICS];
} Means;

static void
means(void *arg, const int64_t *pick, int64_t n, double *out)
{
	const Means *m = arg;

	for (int i = 0; i < m->count; i++)
		out[i] = plm_picked_mean(m->of[i], pick, n);
}

/* ---- classification ---- */

typedef struct Answers
{
	PlmTally	tally;
	bool		multi;
	const PlmpgClasses *truth;
	PlmpgClasses *said;
} Answers;

static void
class_figures(void *arg, const int64_t *pick, int64_t n, double *out)
{
	Answers    *a = arg;

	plm_tally_clear(&a->tally);
	for (int64 i = 0; i < n; i++)
	{
		const PlmpgClasses *truth = &a->truth[pick[i]];
		const PlmpgClasses *said = &a->said[pick[i]];

		plm_tally_add(&a->tally, truth->number, truth->n, said->number, said->n);
	}
	out[0] = plm_tally_accuracy(&a->tally);
	out[1] = a->multi ? plm_tally_micro_f1(&a->tally) : plm_tally_macro_f1(&a->tally);
}

static void
require_classifier(const PlmpgEvaluation *e)
{
	const PlmConfig *config = e->model->config;

	if (config->task == PLM_TASK_RANKING || !plm_model_can(e->model->model, PLM_TASK_CLASSIFICATION) ||
		config->problem == PLM_PROBLEM_REGRESSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("model \"%s\" cannot classify: its task is %s", e->model->name, plm_task_name(config->task)),
				 errhint("product_llm.finetune() makes a model that can.")));
}

void
plmpg_evaluate_classes(PlmpgEvaluation *e)
{
	static const char *const single[] = {"accuracy", "macro_f1"};
	static const char *const several[] = {"accuracy", "micro_f1"};
	int32		labels = e->model->config->labels;
	PlmpgExamples r = {0};
	Answers		a = {.multi = e->model->config->problem == PLM_PROBLEM_MULTI};
	float	   *probabilities;

	require_classifier(e);
	plmpg_evaluation_rows(e, &r);
	probabilities = plmpg_evaluation_probabilities(e, &r);
	a.truth = r.classes;
	a.said = plmpg_take(&e->budget, r.n, sizeof(PlmpgClasses));
	a.tally = (PlmTally) {.labels = labels, .counts = plmpg_take(&e->budget, (int64) labels * 3, sizeof(int64_t))};
	for (int64 i = 0; i < r.n; i++)
	{
		a.said[i].number = plmpg_take(&e->budget, a.multi ? labels : 1, sizeof(int32));
		a.said[i].n = plm_decide(probabilities + i * labels, labels, a.multi, 0.5f, a.said[i].number);
	}
	plmpg_put_figures(e, r.n, class_figures, &a, 2, a.multi ? several : single);
}

/* ---- similarity ---- */

enum
{
	WANTED, SAID, STATIC, PAIR_SCORES
};

typedef struct Pairs
{
	const double *value[PAIR_SCORES];
	const double *rank[PAIR_SCORES];
	bool		baseline;
} Pairs;

static void
pair_figures(void *arg, const int64_t *pick, int64_t n, double *out)
{
	const Pairs *p = arg;

	out[0] = plm_correlation(p->rank[SAID], p->rank[WANTED], pick, n);
	out[1] = plm_correlation(p->value[SAID], p->value[WANTED], pick, n);
	if (p->baseline)
		out[2] = plm_correlation(p->rank[STATIC], p->rank[WANTED], pick, n);
}

void
plmpg_evaluate_similarity(PlmpgEvaluation *e)
{
	static const char *const names[] = {"spearman", "pearson", "static_spearman"};
	PlmpgExamples r = {0};
	Pairs		p = {.baseline = !plmpg_ranks(e->model)};
	PlmRanked  *scratch;

	plmpg_evaluation_rows(e, &r);
	p.value[WANTED] = r.number;
	p.value[SAID] = plmpg_evaluation_scores(e, &r);
	if (p.baseline)
		p.value[STATIC] = plmpg_evaluation_cosines(e, &r, PLM_KIND_STATIC, PLM_KIND_STATIC);
	scratch = plmpg_take(&e->budget, r.n, sizeof(PlmRanked));
	for (int k = 0; k < (p.baseline ? PAIR_SCORES : STATIC); k++)
	{
		double	   *rank = plmpg_take(&e->budget, r.n, sizeof(double));

		plm_ranks(p.value[k], r.n, scratch, rank);
		p.rank[k] = rank;
	}
	plmpg_put_figures(e, r.n, pair_figures, &p, p.baseline ? 3 : 2, names);
}

/* ---- queries and their documents ---- */

static int
by_text(const void *a, const void *b)
{
	const PlmText *x = *(const PlmText *const *) a;
	const PlmText *y = *(const PlmText *const *) b;
	int			order = memcmp(x->data, y->data, Min(x->len, y->len));

	return order != 0 ? order : x->len < y->len ? -1 : x->len > y->len ? 1 : x < y ? -1 : x > y;
}

/* Numbers of n texts by content, from 0 up in bytewise order; equal ones have one number. */
static int64 *
number_texts(PlmpgEvaluation *e, const PlmText *texts, int64 n, int64 *distinct)
{
	const PlmText **order = plmpg_take(&e->budget, n, sizeof(PlmText *));
	int64	   *numbers = plmpg_take(&e->budget, n, sizeof(int64));

	for (int64 i = 0; i < n; i++)
		order[i] = &texts[i];
	qsort(order, n, sizeof(PlmText *), by_text);
	*distinct = 0;
	for (int64 i = 0; i < n; i++)
	{
		if (i > 0 && (order[i]->len != order[i - 1]->len || memcmp(order[i]->data, order[i - 1]->data, order[i]->len) != 0))
			(*distinct)++;
		numbers[order[i] - texts] = *distinct;
	}
	(*distinct)++;
	return numbers;
}

/* Rows by the number of their query: rows of query q are order[start[q]] .. order[start[q + 1] - 1], in the rows' order. */
static int64 *
group(PlmpgEvaluation *e, const int64 *numbers, int64 n, int64 queries, int64 **order)
{
	int64	   *start = plmpg_take(&e->budget, queries + 2, sizeof(int64));

	*order = plmpg_take(&e->budget, n, sizeof(int64));
	for (int64 i = 0; i < n; i++)
		start[numbers[i] + 2]++;
	for (int64 q = 2; q < queries + 2; q++)
		start[q] += start[q - 1];
	for (int64 i = 0; i < n; i++)
		(*order)[start[numbers[i] + 1]++] = i;
	return start;
}

static int
by_score(const void *a, const void *b, void *arg)
{
	const double *scores = arg;
	int64		x = *(const int64 *) a,
				y = *(const int64 *) b;

	if (scores[x] != scores[y])
		return scores[x] > scores[y] ? -1 : 1;
	return x < y ? -1 : 1;
}

void
plmpg_evaluate_ranking(PlmpgEvaluation *e)
{
	static const char *const names[] = {"nDCG@10"};
	PlmpgExamples r = {0};
	int64		queries;
	int64	   *query_of;
	int64	   *order;
	int64	   *start;
	double	   *scores;
	double	   *grades;
	Means		figures = {.count = 1};
	int64		kept = 0;

	plmpg_evaluation_rows(e, &r);
	for (int64 i = 0; i < r.n; i++)
		if (!(r.number[i] >= 0 && r.number[i] <= 30))
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("grade %g is not between 0 and 30", r.number[i]),
					 errhint("The gain of a document is 2^grade - 1; usual grades are 0 to 4.")));
	query_of = number_texts(e, r.first, r.n, &queries);
	start = group(e, query_of, r.n, queries, &order);
	scores = plmpg_evaluation_scores(e, &r);
	grades = plmpg_take(&e->budget, r.n, sizeof(double));
	figures.of[0] = plmpg_take(&e->budget, queries, sizeof(double));
	for (int64 q = 0; q < queries; q++)
	{
		int64		n = start[q + 1] - start[q];
		int64	   *mine = order + start[q];

		CHECK_FOR_INTERRUPTS();
		qsort_arg(mine, n, sizeof(int64), by_score, scores);
		for (int64 i = 0; i < n; i++)
			grades[i] = r.number[mine[i]];
		figures.of[0][kept] = plm_ndcg(grades, n, PLMPG_DEPTH);
		kept += !isnan(figures.of[0][kept]);
	}
	if (kept == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("no query of the examples has a document above grade 0"),
				 errhint("Grade 0 says that a document does not answer its query; there must be some that do.")));
	plmpg_put_figures(e, kept, means, &figures, 1, names);
}

/* ---- retrieval ---- */

/* Ranks, from 1, of a query's own positives among all: those with a higher score, and of equal ones the earlier. */
static int64
rank_of(const float *scores, int64 n, int64 one)
{
	int64		rank = 1;

	for (int64 i = 0; i < n; i++)
		rank += plm_comes_before(scores, i, one);
	return rank;
}

void
plmpg_evaluate_retrieval(PlmpgEvaluation *e)
{
	static const char *const names[] = {"MRR@10", "recall@1", "recall@10"};
	PlmpgExamples r = {0};
	int64		queries,
				documents;
	int64	   *query_of;
	int64	   *document_of;
	int64	   *order;
	int64	   *start;
	PlmText    *query_texts;
	PlmText    *document_texts;
	float	   *a;
	float	   *b;
	float	   *scores;
	Means		figures = {.count = 3};
	int64		d = e->model->config->dimensions;

	plmpg_evaluation_rows(e, &r);
	query_of = number_texts(e, r.first, r.n, &queries);
	document_of = number_texts(e, r.second, r.n, &documents);
	query_texts = plmpg_take(&e->budget, queries, sizeof(PlmText));
	document_texts = plmpg_take(&e->budget, documents, sizeof(PlmText));
	for (int64 i = 0; i < r.n; i++)
	{
		query_texts[query_of[i]] = r.first[i];
		document_texts[document_of[i]] = r.second[i];
	}
	start = group(e, query_of, r.n, queries, &order);
	a = plmpg_evaluation_embed(e, query_texts, queries, PLM_KIND_QUERY);
	b = plmpg_evaluation_embed(e, document_texts, documents, PLM_KIND_DOCUMENT);
	scores = plmpg_take(&e->budget, documents, sizeof(float));
	for (int i = 0; i < 3; i++)
		figures.of[i] = plmpg_take(&e->budget, queries, sizeof(double));
	for (int64 q = 0; q < queries; q++)
	{
		int64		best = documents;
		int64		own = 0,
					among[2] = {0};

		CHECK_FOR_INTERRUPTS();
		for (int64 i = 0; i < documents; i++)
			scores[i] = plm_dot(a + q * d, b + i * d, d);
		for (int64 i = start[q]; i < start[q + 1]; i++)
		{
			int64		document = document_of[order[i]];
			int64		rank;
			bool		again = false;

			CHECK_FOR_INTERRUPTS();
			for (int64 j = start[q]; j < i; j++)
				again |= document_of[order[j]] == document;
			if (again)
				continue;
			rank = rank_of(scores, documents, document);
			own++;
			best = Min(best, rank);
			among[0] += rank <= 1;
			among[1] += rank <= PLMPG_DEPTH;
		}
		figures.of[0][q] = plm_reciprocal_rank(best, PLMPG_DEPTH);
		figures.of[1][q] = (double) among[0] / (double) own;
		figures.of[2][q] = (double) among[1] / (double) own;
	}
	plmpg_put_figures(e, queries, means, &figures, 3, names);
}
