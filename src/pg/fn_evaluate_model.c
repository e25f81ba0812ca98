/*
 * fn_evaluate_model.c -- evaluate(): how well any model does a task, on rows that a query gives.
 *
 * Each task becomes cases, each case some numbers; a figure is a function of the cases, and its bounds come from drawing the
 * cases anew with replacement (percentile bootstrap).  Definitions stand with the functions below.
 */
#include "evaluate.h"
#include "training.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "fn.h"

#define BATCH 256				/* texts that are computed together */

/* What one call works with. */
typedef struct Evaluation
{
	PlmpgBudget budget;
	const PlmpgModel *model;
	PlmObjective objective;
	char	   *query;
	int			samples;
	TupleDesc	desc;
	Tuplestorestate *rows;
} Evaluation;

/* ---- bounds ---- */

/* A figure of the cases drawn[0 .. n - 1]; drawn NULL: of all of them in their order. */
typedef double (*Figure) (void *arg, const int64 *drawn, int64 n);

static int
by_value(const void *a, const void *b)
{
	double		x = *(const double *) a,
				y = *(const double *) b;

	return x < y ? -1 : x > y ? 1 : 0;
}

static void
put_figure(Evaluation *e, const char *name, Figure figure, void *arg, int64 n)
{
	int64	   *drawn = plmpg_take(&e->budget, n, sizeof(int64));
	double	   *values = plmpg_take(&e->budget, e->samples, sizeof(double));
	Datum		out[4] = {CStringGetTextDatum(name), Float8GetDatum(figure(arg, NULL, n))};
	bool		nulls[4] = {false};
	uint64		state = 20240229;
	int			kept = 0;

	for (int s = 0; s < e->samples; s++)
	{
		double		x;

		CHECK_FOR_INTERRUPTS();
		for (int64 i = 0; i < n; i++)
			drawn[i] = (int64) (((plmpg_mix(state++) >> 32) * (uint64) n) >> 32);
		x = figure(arg, drawn, n);
		if (!isnan(x))
			values[kept++] = x;
	}
	qsort(values, kept, sizeof(double), by_value);
	nulls[1] = isnan(DatumGetFloat8(out[1]));
	nulls[2] = nulls[3] = kept == 0;
	if (kept > 0)
	{
		out[2] = Float8GetDatum(values[(int) (0.025 * (kept - 1))]);
		out[3] = Float8GetDatum(values[(int) ceil(0.975 * (kept - 1))]);
	}
	tuplestore_putvalues(e->rows, e->desc, out, nulls);
}

/* The mean of one number of each case. */
static double
mean(void *arg, const int64 *drawn, int64 n)
{
	const double *values = arg;
	double		sum = 0;

	for (int64 i = 0; i < n; i++)
		sum += values[drawn == NULL ? i : drawn[i]];
	return sum / (double) n;
}

/* ---- rows ---- */

/* Texts and numbers of all rows. */
typedef struct Rows
{
	int64		n;
	int64		room[4];
	PlmText    *first;
	PlmText    *second;
	double	   *number;
	int32	  **labels;			/* of each: numbers of the model's classes, ascending, -1 after the last */
} Rows;

static PlmText
keep_text(Evaluation *e, Datum value)
{
	PlmText		utf8 = plmpg_utf8(DatumGetTextPP(value));
	char	   *copy = plmpg_take(&e->budget, Max(utf8.len, 1), 1);

	memcpy(copy, utf8.data, utf8.len);
	return (PlmText) {copy, utf8.len};
}

static int
by_number(const void *a, const void *b)
{
	return *(const int32 *) a - *(const int32 *) b;
}

static int32
label_number(const Evaluation *e, const PlmpgQuery *q, PlmText name)
{
	for (int32 i = 0; i < e->model->config->labels; i++)
	{
		PlmText		label = plm_model_label(e->model->model, i);

		if (label.len == name.len && memcmp(label.data, name.data, name.len) == 0)
			return i;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("model \"%s\" has no label \"%s\", which row " INT64_FORMAT " of the examples names", e->model->name,
					text_to_cstring(plmpg_text(name)), q->row),
			 errhint("SELECT labels FROM product_llm.models WHERE model = '%s' shows those it has.", e->model->name)));
}

static int32 *
keep_labels(Evaluation *e, const PlmpgQuery *q)
{
	PlmpgTexts	texts = plmpg_texts(DatumGetArrayTypeP(q->values[1]));
	int32	   *numbers = plmpg_take(&e->budget, texts.n + 1, sizeof(int32));

	for (int i = 0; i < texts.n; i++)
	{
		if (texts.nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("row " INT64_FORMAT " of the examples has a null label", q->row)));
		numbers[i] = label_number(e, q, plmpg_utf8(DatumGetTextPP(texts.values[i])));
	}
	qsort(numbers, texts.n, sizeof(int32), by_number);
	numbers[texts.n] = -1;
	return numbers;
}

static void
read_rows(Evaluation *e, Rows *r)
{
	PlmpgQuery *q = plmpg_query_open(plmpg_train_spec(e->objective, false), cstring_to_text(e->query));
	bool		pairs = e->objective != PLM_LEARN_CLASSES;

	while (plmpg_query_next(q))
	{
		CHECK_FOR_INTERRUPTS();
		if (r->n == r->room[0])
		{
			r->first = plmpg_double(&e->budget, r->first, &r->room[0], sizeof(PlmText));
			r->second = plmpg_double(&e->budget, r->second, &r->room[1], sizeof(PlmText));
			r->number = plmpg_double(&e->budget, r->number, &r->room[2], sizeof(double));
			r->labels = plmpg_double(&e->budget, r->labels, &r->room[3], sizeof(int32 *));
		}
		r->first[r->n] = keep_text(e, q->values[0]);
		if (pairs)
			r->second[r->n] = keep_text(e, q->values[1]);
		else
			r->labels[r->n] = keep_labels(e, q);
		if (e->objective == PLM_LEARN_RANKING || e->objective == PLM_LEARN_SIMILARITY)
			r->number[r->n] = DatumGetFloat8(q->values[2]);
		r->n++;
	}
	plmpg_query_close(q);
	if (r->n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("the query of the examples yields no rows")));
}

/* ---- what the model says ---- */

/* Unit vectors of n texts: (n, dimensions). */
static float *
embed_all(Evaluation *e, const PlmText *texts, int64 n, PlmKind kind)
{
	int64		d = e->model->config->dimensions;
	float	   *out = plmpg_take(&e->budget, n * d, sizeof(float));
	PlmInput	inputs[BATCH];

	for (int64 i = 0; i < n; i += BATCH)
	{
		int64		m = Min(BATCH, n - i);

		for (int64 j = 0; j < m; j++)
			inputs[j] = (PlmInput) {.first = texts[i + j]};
		plmpg_embed(e->model, m, inputs, kind, out + i * d);
		CHECK_FOR_INTERRUPTS();
	}
	return out;
}

/* The classification head's probabilities: (n, labels). */
static float *
classify_all(Evaluation *e, const Rows *r)
{
	int64		width = e->model->config->labels;
	float	   *out = plmpg_take(&e->budget, r->n * width, sizeof(float));
	PlmInput	inputs[BATCH];

	for (int64 i = 0; i < r->n; i += BATCH)
	{
		int64		m = Min(BATCH, r->n - i);

		for (int64 j = 0; j < m; j++)
			inputs[j] = (PlmInput) {.first = r->first[i + j]};
		plmpg_logits(e->model, m, inputs, out + i * width);
		CHECK_FOR_INTERRUPTS();
	}
	plm_probabilities(e->model->model, r->n, out);
	return out;
}

/* A score of each pair: the ranking head's when the model has one, else the cosine; as score() says it. */
static double *
score_all(Evaluation *e, const Rows *r)
{
	double	   *out = plmpg_take(&e->budget, r->n, sizeof(double));
	int64		d = e->model->config->dimensions;

	if (plmpg_ranks(e->model))
	{
		PlmInput	inputs[BATCH];
		float		scores[BATCH];

		for (int64 i = 0; i < r->n; i += BATCH)
		{
			int64		m = Min(BATCH, r->n - i);

			for (int64 j = 0; j < m; j++)
				inputs[j] = (PlmInput) {r->first[i + j], r->second[i + j]};
			plmpg_rank(e->model, m, inputs, scores);
			for (int64 j = 0; j < m; j++)
				out[i + j] = scores[j];
			CHECK_FOR_INTERRUPTS();
		}
	}
	else
	{
		PlmKind		kind = e->objective == PLM_LEARN_RANKING ? PLM_KIND_QUERY : PLM_KIND_DOCUMENT;
		float	   *a = embed_all(e, r->first, r->n, kind);
		float	   *b = embed_all(e, r->second, r->n, PLM_KIND_DOCUMENT);

		for (int64 i = 0; i < r->n; i++)
			out[i] = plm_dot(a + i * d, b + i * d, d);
	}
	return out;
}

/* ---- classification ---- */

/* Truth and prediction of each case as sets of classes. */
typedef struct Classes
{
	int32		labels;
	bool		multi;
	int32	   *const *truth;
	int32	  **said;			/* likewise */
	int64	   *counts;			/* (labels, 3) scratch: right, said, true */
} Classes;

static bool
same_set(const int32 *a, const int32 *b)
{
	while (*a == *b && *a >= 0)
		a++, b++;
	return *a == *b;
}

static double
accuracy(void *arg, const int64 *drawn, int64 n)
{
	Classes    *c = arg;
	int64		right = 0;

	for (int64 i = 0; i < n; i++)
	{
		int64		one = drawn == NULL ? i : drawn[i];

		right += same_set(c->truth[one], c->said[one]);
	}
	return (double) right / (double) n;
}

/* micro: over all decisions; else the mean over classes that occur in truth or prediction. */
static double
f1(Classes *c, const int64 *drawn, int64 n, bool micro)
{
	double		sum = 0;
	int64		total[3] = {0};
	int			classes = 0;

	memset(c->counts, 0, c->labels * 3 * sizeof(int64));
	for (int64 i = 0; i < n; i++)
	{
		int64		one = drawn == NULL ? i : drawn[i];

		for (const int32 *t = c->truth[one]; *t >= 0; t++)
			c->counts[*t * 3 + 2]++;
		for (const int32 *s = c->said[one]; *s >= 0; s++)
		{
			c->counts[*s * 3 + 1]++;
			for (const int32 *t = c->truth[one]; *t >= 0; t++)
				c->counts[*s * 3] += *t == *s;
		}
	}
	for (int32 l = 0; l < c->labels; l++)
	{
		int64	   *k = &c->counts[l * 3];

		for (int j = 0; j < 3; j++)
			total[j] += k[j];
		if (k[1] + k[2] == 0)
			continue;
		sum += 2.0 * (double) k[0] / (double) (k[1] + k[2]);
		classes++;
	}
	if (micro)
		return total[1] + total[2] > 0 ? 2.0 * (double) total[0] / (double) (total[1] + total[2]) : NAN;
	return classes > 0 ? sum / classes : NAN;
}

static double
macro_f1(void *arg, const int64 *drawn, int64 n)
{
	return f1(arg, drawn, n, false);
}

static double
micro_f1(void *arg, const int64 *drawn, int64 n)
{
	return f1(arg, drawn, n, true);
}

/* One class: the likeliest; several: those at least as likely as not. */
static int32 *
decide(Evaluation *e, const Classes *c, const float *probabilities)
{
	int32	   *said = plmpg_take(&e->budget, c->multi ? c->labels + 1 : 2, sizeof(int32));
	int32		best = 0;
	int			n = 0;

	for (int32 l = 0; l < c->labels; l++)
	{
		if (c->multi && probabilities[l] >= 0.5f)
			said[n++] = l;
		if (probabilities[l] > probabilities[best])
			best = l;
	}
	if (!c->multi)
		said[n++] = best;
	said[n] = -1;
	return said;
}

static void
evaluate_classes(Evaluation *e)
{
	const PlmConfig *config = e->model->config;
	Rows		r = {0};
	Classes		c = {.labels = config->labels, .multi = config->problem == PLM_PROBLEM_MULTI};
	float	   *probabilities;

	if (config->task == PLM_TASK_RANKING || !plm_model_can(e->model->model, PLM_TASK_CLASSIFICATION) ||
		config->problem == PLM_PROBLEM_REGRESSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("model \"%s\" cannot classify: its task is %s", e->model->name, plm_task_name(config->task)),
				 errhint("product_llm.finetune() makes a model that can.")));
	read_rows(e, &r);
	probabilities = classify_all(e, &r);
	c.truth = r.labels;
	c.said = plmpg_take(&e->budget, r.n, sizeof(int32 *));
	c.counts = plmpg_take(&e->budget, c.labels * 3, sizeof(int64));
	for (int64 i = 0; i < r.n; i++)
		c.said[i] = decide(e, &c, probabilities + i * c.labels);
	put_figure(e, "accuracy", accuracy, &c, r.n);
	put_figure(e, c.multi ? "micro_f1" : "macro_f1", c.multi ? micro_f1 : macro_f1, &c, r.n);
}

/* ---- similarity ---- */

typedef struct Pairs
{
	double	   *x;
	double	   *y;
} Pairs;

static double
correlation(void *arg, const int64 *drawn, int64 n)
{
	Pairs	   *p = arg;
	double		mx = mean(p->x, drawn, n),
				my = mean(p->y, drawn, n),
				xx = 0,
				yy = 0,
				xy = 0;

	for (int64 i = 0; i < n; i++)
	{
		int64		one = drawn == NULL ? i : drawn[i];

		xx += (p->x[one] - mx) * (p->x[one] - mx);
		yy += (p->y[one] - my) * (p->y[one] - my);
		xy += (p->x[one] - mx) * (p->y[one] - my);
	}
	return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : NAN;
}

/* Ranks from 1; equal values share the mean of theirs. */
static double *
ranks(Evaluation *e, const double *values, int64 n)
{
	double	   *sorted = plmpg_take(&e->budget, n, sizeof(double));
	double	   *out = plmpg_take(&e->budget, n, sizeof(double));

	memcpy(sorted, values, n * sizeof(double));
	qsort(sorted, n, sizeof(double), by_value);
	for (int64 i = 0; i < n; i++)
	{
		int64		low = 0,
					high = n,
					first;

		while (low < high)
		{
			int64		middle = (low + high) / 2;

			if (sorted[middle] < values[i])
				low = middle + 1;
			else
				high = middle;
		}
		first = low;
		high = n;
		while (low < high)
		{
			int64		middle = (low + high) / 2;

			if (sorted[middle] <= values[i])
				low = middle + 1;
			else
				high = middle;
		}
		out[i] = (double) (first + low + 1) / 2;
	}
	return out;
}

/* The bounds of spearman draw from the ranks among all pairs. */
static void
evaluate_similarity(Evaluation *e)
{
	Rows		r = {0};
	Pairs		values;
	Pairs		places;

	read_rows(e, &r);
	values = (Pairs) {score_all(e, &r), r.number};
	places = (Pairs) {ranks(e, values.x, r.n), ranks(e, values.y, r.n)};
	put_figure(e, "spearman", correlation, &places, r.n);
	put_figure(e, "pearson", correlation, &values, r.n);
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
number_texts(Evaluation *e, const PlmText *texts, int64 n, int64 *distinct)
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
group(Evaluation *e, const int64 *numbers, int64 n, int64 queries, int64 **order)
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

static double
gain(const double *numbers, const int64 *order, int64 n)
{
	double		sum = 0;

	for (int64 i = 0; i < Min(n, PLMPG_DEPTH); i++)
		sum += (exp2(numbers[order[i]]) - 1) * plmpg_discount(i + 1);
	return sum;
}

/* nDCG@10 of each query's own documents; queries without a document above grade 0 say nothing. */
static void
evaluate_ranking(Evaluation *e)
{
	Rows		r = {0};
	int64		queries;
	int64	   *query_of;
	int64	   *order;
	int64	   *start;
	double	   *scores;
	double	   *values;
	int64		kept = 0;

	read_rows(e, &r);
	for (int64 i = 0; i < r.n; i++)
		if (!(r.number[i] >= 0 && r.number[i] <= 30))
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("grade %g is not between 0 and 30", r.number[i])));
	query_of = number_texts(e, r.first, r.n, &queries);
	start = group(e, query_of, r.n, queries, &order);
	scores = score_all(e, &r);
	values = plmpg_take(&e->budget, queries, sizeof(double));
	for (int64 q = 0; q < queries; q++)
	{
		int64		n = start[q + 1] - start[q];
		int64	   *mine = order + start[q];
		double		got,
					ideal;

		qsort_arg(mine, n, sizeof(int64), by_score, scores);
		got = gain(r.number, mine, n);
		qsort_arg(mine, n, sizeof(int64), by_score, r.number);
		ideal = gain(r.number, mine, n);
		if (ideal > 0)
			values[kept++] = got / ideal;
	}
	if (kept == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("no query of the examples has a document above grade 0")));
	put_figure(e, "nDCG@10", mean, values, kept);
}

/* ---- retrieval ---- */

/* Ranks, from 1, of a query's own positives among all: those with a higher score, and of equal ones the earlier. */
static int64
rank_of(const float *scores, int64 n, int64 one)
{
	int64		rank = 1;

	for (int64 i = 0; i < n; i++)
		rank += scores[i] > scores[one] || (scores[i] == scores[one] && i < one);
	return rank;
}

/* Against all different positives: MRR@10 of the best own one, and the share of the own ones among the first 1 and 10. */
static void
evaluate_retrieval(Evaluation *e)
{
	Rows		r = {0};
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
	double	   *figures[3];
	int64		d = e->model->config->dimensions;

	read_rows(e, &r);
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
	a = embed_all(e, query_texts, queries, PLM_KIND_QUERY);
	b = embed_all(e, document_texts, documents, PLM_KIND_DOCUMENT);
	scores = plmpg_take(&e->budget, documents, sizeof(float));
	for (int i = 0; i < 3; i++)
		figures[i] = plmpg_take(&e->budget, queries, sizeof(double));
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
		figures[0][q] = best <= PLMPG_DEPTH ? 1.0 / (double) best : 0;
		figures[1][q] = (double) among[0] / (double) own;
		figures[2][q] = (double) among[1] / (double) own;
	}
	put_figure(e, "MRR@10", mean, figures[0], queries);
	put_figure(e, "recall@1", mean, figures[1], queries);
	put_figure(e, "recall@10", mean, figures[2], queries);
}

/* ---- the function ---- */

/* Option samples. */
static int
read_samples(Jsonb *options)
{
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;
	int			samples = 1000;

	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object")));
	it = JsonbIteratorInit(&options->root);
	(void) JsonbIteratorNext(&it, &key, false);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		char	   *name = pnstrdup(key.val.string.val, key.val.string.len);

		(void) JsonbIteratorNext(&it, &value, true);
		if (strcmp(name, "samples") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown option \"%s\" of evaluate", name),
					 errhint("There is \"samples\", the number of draws of the bootstrap.")));
		if (value.type != jbvNumeric)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"samples\" must be an integer")));
		samples = plmpg_samples((int32) Max(-1.0, Min(1e9, DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
																						NumericGetDatum(value.val.numeric))))));
	}
	return samples;
}

PG_FUNCTION_INFO_V1(product_llm_evaluate);

/* evaluate(model, task, examples, options) -> table(metric, value, low, high) */
Datum
product_llm_evaluate(PG_FUNCTION_ARGS)
{
	Evaluation	e = {
		.budget = plmpg_budget(), .model = plmpg_model_get(PG_GETARG_TEXT_PP(0)),
		.objective = plmpg_train_task(text_to_cstring(PG_GETARG_TEXT_PP(1))),
		.query = text_to_cstring(PG_GETARG_TEXT_PP(2)), .samples = read_samples(PG_GETARG_JSONB_P(3))
	};

	e.rows = plmpg_result_set(fcinfo, &e.desc);
	switch (e.objective)
	{
		case PLM_LEARN_CLASSES:
			evaluate_classes(&e);
			break;
		case PLM_LEARN_RETRIEVAL:
			evaluate_retrieval(&e);
			break;
		case PLM_LEARN_RANKING:
			evaluate_ranking(&e);
			break;
		case PLM_LEARN_SIMILARITY:
			evaluate_similarity(&e);
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("task %s has no figures of its own", plm_objective_name(e.objective)),
					 errhint("Evaluate the model as task 'similarity' or 'retrieval'.")));
	}
	return (Datum) 0;
}
