/*
 * fn_evaluate.c -- what all evaluations share: memory that is paid for, ranked lists, figures with their bounds, judgments.
 */
#include "evaluate.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "fn.h"
#include "query.h"

/* ---- memory ---- */

PlmpgBudget
plmpg_budget(void)
{
	return (PlmpgBudget) {.context = CurrentMemoryContext};
}

int64
plmpg_budget_left(const PlmpgBudget *budget)
{
	return (int64) plmpg_memory_limit_kb * 1024 - budget->used;
}

void
plmpg_pay(PlmpgBudget *budget, int64 bytes)
{
	if (bytes > plmpg_budget_left(budget))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the evaluation needs more memory than product_llm.memory_limit allows"),
				 errdetail("It has " INT64_FORMAT " kB and needs " INT64_FORMAT " kB more.", budget->used / 1024, bytes / 1024 + 1),
				 errhint("Raise product_llm.memory_limit.")));
	budget->used += bytes;
}

void *
plmpg_take(PlmpgBudget *budget, int64 count, int64 bytes)
{
	if (count > PG_INT64_MAX / 2 / bytes)
		elog(ERROR, "array of " INT64_FORMAT " elements is too large", count);
	plmpg_pay(budget, count * bytes);
	return MemoryContextAllocExtended(budget->context, Max(count * bytes, 1), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

void *
plmpg_double(PlmpgBudget *budget, void *old, int64 *room, int64 bytes)
{
	int64		grown = *room == 0 ? 1024 : *room * 2;

	plmpg_pay(budget, (grown - *room) * bytes);
	*room = grown;
	return old == NULL ? MemoryContextAllocHuge(budget->context, grown * bytes) : repalloc_huge(old, grown * bytes);
}

/* ---- ranked lists ---- */

int
plmpg_top(const float *scores, const bool *skip, int64 n, int most, int64 *places)
{
	int			found = 0;

	for (int64 i = 0; i < n; i++)
	{
		int			at;

		if ((found == most && scores[i] <= scores[places[most - 1]]) || (skip != NULL && skip[i]))
			continue;
		at = found < most ? found++ : most - 1;
		for (; at > 0 && scores[i] > scores[places[at - 1]]; at--)
			places[at] = places[at - 1];
		places[at] = i;
	}
	return found;
}

/* ---- figures ---- */

PlmpgFigures
plmpg_figures(PlmpgBudget *budget, const char *const *system_names, int systems, char **metric_names, int metrics, int64 cases)
{
	PlmpgFigures f = {
		.systems = systems, .metrics = metrics, .cases = cases, .system_names = system_names, .metric_names = metric_names
	};

	f.values = plmpg_take(budget, cases * systems * metrics, sizeof(float));
	f.whole = plmpg_take(budget, systems * metrics, sizeof(double));
	for (int i = 0; i < systems * metrics; i++)
		f.whole[i] = NAN;
	return f;
}

int
plmpg_samples(int32 samples)
{
	if (samples < 10 || samples > 100000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("samples must be between 10 and 100000"),
				 errhint("It is the number of draws of the bootstrap; 1000 serves most.")));
	return samples;
}

static int
by_value(const void *a, const void *b)
{
	double		x = *(const double *) a,
				y = *(const double *) b;

	return x < y ? -1 : x > y ? 1 : 0;
}

/* Between the two order statistics that enclose it. */
static double
percentile(const double *sorted, int n, double share)
{
	double		at = share * (n - 1);
	int			low = (int) at;

	return low + 1 < n ? sorted[low] + (at - low) * (sorted[low + 1] - sorted[low]) : sorted[low];
}

/* Means of each column in each resample: (columns, samples). */
static double *
resample(PlmpgBudget *budget, const PlmpgFigures *f, int samples)
{
	int			columns = f->systems * f->metrics;
	double	   *means = plmpg_take(budget, (int64) columns * samples, sizeof(double));
	double	   *sums = plmpg_take(budget, columns, sizeof(double));
	uint64		state = 20240229;

	for (int s = 0; s < samples; s++)
	{
		memset(sums, 0, columns * sizeof(double));
		for (int64 i = 0; i < f->cases; i++)
		{
			uint64		drawn = plmpg_mix(state++);
			const float *row = &f->values[(int64) (((drawn >> 32) * (uint64) f->cases) >> 32) * columns];

			for (int c = 0; c < columns; c++)
				sums[c] += row[c];
			if (i % 4096 == 0)
				CHECK_FOR_INTERRUPTS();
		}
		for (int c = 0; c < columns; c++)
			means[(int64) c * samples + s] = sums[c] / (double) f->cases;
	}
	return means;
}

static void
set_value(Datum *value, bool *null, double x)
{
	*value = Float8GetDatum(x);
	*null = isnan(x);
}

void
plmpg_return_figures(FunctionCallInfo fcinfo, PlmpgBudget *budget, const PlmpgFigures *f, int samples)
{
	TupleDesc	desc;
	Tuplestorestate *rows = plmpg_result_set(fcinfo, &desc);
	int			columns = f->systems * f->metrics;
	double	   *means = resample(budget, f, samples);
	double	   *sorted = plmpg_take(budget, samples, sizeof(double));
	double	   *value = plmpg_take(budget, columns, sizeof(double));

	for (int64 i = 0; i < f->cases; i++)
		for (int c = 0; c < columns; c++)
			value[c] += f->values[i * columns + c];
	for (int c = 0; c < columns; c++)
		value[c] /= (double) f->cases;
	for (int c = 0; c < columns; c++)
	{
		int			first = c % f->metrics; /* the same metric of the first system */
		Datum		values[8] = {
			CStringGetTextDatum(f->system_names[c / f->metrics]), CStringGetTextDatum(f->metric_names[c % f->metrics])
		};
		bool		nulls[8] = {false, false, false, true, true, true, true, true};
		bool		whole = !isnan(f->whole[c]);

		CHECK_FOR_INTERRUPTS();
		set_value(&values[2], &nulls[2], whole ? f->whole[c] : value[c]);
		if (!whole)
		{
			memcpy(sorted, &means[(int64) c * samples], samples * sizeof(double));
			qsort(sorted, samples, sizeof(double), by_value);
			set_value(&values[3], &nulls[3], percentile(sorted, samples, 0.025));
			set_value(&values[4], &nulls[4], percentile(sorted, samples, 0.975));
		}
		if (c >= f->metrics)
		{
			set_value(&values[5], &nulls[5], whole ? f->whole[first] - f->whole[c] : value[first] - value[c]);
			if (!whole)
			{
				for (int s = 0; s < samples; s++)
					sorted[s] = means[(int64) first * samples + s] - means[(int64) c * samples + s];
				qsort(sorted, samples, sizeof(double), by_value);
				set_value(&values[6], &nulls[6], percentile(sorted, samples, 0.025));
				set_value(&values[7], &nulls[7], percentile(sorted, samples, 0.975));
			}
		}
		tuplestore_putvalues(rows, desc, values, nulls);
	}
}

/* ---- judgments ---- */

static void
take_judgment(void *arg, TupleTableSlot *slot)
{
	PlmpgJudgments *j = arg;
	MemoryContext old = MemoryContextSwitchTo(j->budget->context);
	bool		nulls[3];
	Datum		values[3];
	char	   *query;
	char	   *key;
	double		grade;
	PlmpgJudged *q;
	int64	   *place;

	for (int i = 0; i < 3; i++)
	{
		values[i] = slot_getattr(slot, i + 1, &nulls[i]);
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("judgments contain a null query, key or grade")));
	}
	query = TextDatumGetCString(values[0]);
	key = TextDatumGetCString(values[1]);
	grade = DatumGetFloat8(values[2]);
	if (!(grade >= 0 && grade <= 30))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("grade %g of \"%s\" for query \"%s\" is not between 0 and 30", grade, key, query)));

	if (j->n == 0 || strcmp(j->queries[j->n - 1].query, query) != 0)
	{
		if (j->n == j->room)
			j->queries = plmpg_double(j->budget, j->queries, &j->room, sizeof(PlmpgJudged));
		j->queries[j->n++] = (PlmpgJudged) {.query = query, .keys = plmpg_keys()};
	}
	q = &j->queries[j->n - 1];
	place = plmpg_keys_find(q->keys, key, false);
	if (place == NULL)
	{
		if (q->n == q->room)
		{
			q->room = q->room == 0 ? 16 : q->room * 2;
			q->grades = q->grades == NULL ? palloc(q->room * sizeof(double)) : repalloc(q->grades, q->room * sizeof(double));
		}
		plmpg_pay(j->budget, strlen(key) + 64);
		place = plmpg_keys_find(q->keys, key, true);
		*place = q->n++;
		q->grades[*place] = 0;
	}
	/* Who is judged twice has the better of the two. */
	q->relevant += grade > 0 && q->grades[*place] == 0;
	q->grades[*place] = Max(q->grades[*place], grade);
	pfree(key);
	MemoryContextSwitchTo(old);
}

PlmpgJudgments *
plmpg_judgments(PlmpgBudget *budget, text *sql)
{
	PlmpgJudgments *j = palloc0(sizeof(PlmpgJudgments));
	char	   *given = text_to_cstring(sql);
	PlmpgQueryContext context;
	int64		kept = 0;

	j->budget = budget;
	plmpg_query_context_push(&context, "judgments", given);
	plmpg_sql(psprintf("SELECT j.query::pg_catalog.text, product_llm.key_text(j.key), j.grade::pg_catalog.float8 FROM (%s\n)"
					   " AS j (query, key, grade) ORDER BY (j.query::pg_catalog.text) COLLATE \"C\"",
					   plmpg_one_select("judgments",
										"It yields a query, the key of a product and its grade: 'SELECT query, key, grade FROM my_judgments'.",
										given)),
			  NULL, PLMPG_SQL_READ, NULL, take_judgment, j);
	plmpg_query_context_pop(&context);
	for (int64 i = 0; i < j->n; i++)
		if (j->queries[i].relevant > 0)
			j->queries[kept++] = j->queries[i];
	j->n = kept;
	return j;
}

static int
by_grade(const void *a, const void *b)
{
	double		x = *(const double *) a,
				y = *(const double *) b;

	return x > y ? -1 : x < y ? 1 : 0;
}

double
plmpg_grade(const PlmpgJudged *judged, const char *key)
{
	int64	   *place = plmpg_keys_find(judged->keys, key, false);

	return place == NULL ? -1 : judged->grades[*place];
}

double
plmpg_ndcg(const PlmpgJudged *judged, const char *const *keys, int n, int depth)
{
	double	   *best = palloc(judged->n * sizeof(double));
	double		ideal = 0,
				gain = 0;

	memcpy(best, judged->grades, judged->n * sizeof(double));
	qsort(best, judged->n, sizeof(double), by_grade);
	for (int i = 0; i < Min(judged->n, depth); i++)
		ideal += (exp2(best[i]) - 1) * plmpg_discount(i + 1);
	for (int i = 0; i < Min(n, depth); i++)
		gain += (exp2(Max(plmpg_grade(judged, keys[i]), 0)) - 1) * plmpg_discount(i + 1);
	pfree(best);
	return gain / ideal;
}
