/*
 * fn_evaluate_tune_search.c -- the weight of meaning beside words in search, fitted to a shop's own data: "semantic".
 *
 * Without judgments it is fitted on queries that the shop's titles make: one to three terms in a row of a product's title,
 * neither rare nor common.  Two measures, averaged, because each alone errs: where that product comes (which favours words),
 * and the nDCG of the list when every product is graded by how like its title is to that product's (which favours meaning).
 */
#include "evaluate.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "fn.h"
#include "sql.h"

#define MOST_QUERIES 2000
#define FEWEST_QUERIES 200		/* where a search takes long */
#define CANDIDATES 100

/* ---- titles and the queries they make ---- */

typedef struct Titles
{
	PlmpgBudget *budget;
	PlmpgKeys  *among;			/* products that the caller sees, when others are hidden; else NULL */
	int64		n;
	const char **keys;
	int64		keys_room;
	int64	   *start;			/* (n + 1) of tokens, in their order */
	int64		start_room;
	int32	   *token;
	int64		token_room;
	int64		tokens;
	PlmpgKeys  *numbers;		/* of terms */
	char	  **terms;
	int64		terms_room;
	int64		n_terms;
	/* from the above: */
	double	   *idf;			/* (terms) */
	int64	   *df;				/* (terms) */
	int64	   *found;			/* (terms + 1) of titles */
	int32	   *titles;
	double	   *weight;			/* (n) idf of its different terms */
} Titles;

/* Rows key, array of terms; by key. */
static void
take_title(void *arg, TupleTableSlot *slot)
{
	Titles	   *t = arg;
	bool		null;
	PlmpgTexts	tokens;

	if (t->among != NULL && plmpg_keys_find_text(t->among, slot_getattr(slot, 1, &null)) == NULL)
		return;
	tokens = plmpg_texts(DatumGetArrayTypeP(slot_getattr(slot, 2, &null)));
	if (t->n == t->keys_room)
		t->keys = plmpg_double(t->budget, t->keys, &t->keys_room, sizeof(char *));
	if (t->n + 2 > t->start_room)
		t->start = plmpg_double(t->budget, t->start, &t->start_room, sizeof(int64));
	t->keys[t->n] = MemoryContextStrdup(t->budget->context, TextDatumGetCString(slot_getattr(slot, 1, &null)));
	t->start[t->n] = t->tokens;
	for (int i = 0; i < tokens.n; i++)
	{
		char	   *term = TextDatumGetCString(tokens.values[i]);
		int64	   *place = plmpg_keys_find(t->numbers, term, false);

		if (place == NULL)
		{
			if (t->n_terms == t->terms_room)
				t->terms = plmpg_double(t->budget, t->terms, &t->terms_room, sizeof(char *));
			plmpg_pay(t->budget, 2 * (int64) strlen(term) + 64);
			place = plmpg_keys_find(t->numbers, term, true);
			*place = t->n_terms;
			t->terms[t->n_terms++] = MemoryContextStrdup(t->budget->context, term);
		}
		if (t->tokens == t->token_room)
			t->token = plmpg_double(t->budget, t->token, &t->token_room, sizeof(int32));
		t->token[t->tokens++] = (int32) *place;
		pfree(term);
	}
	t->start[++t->n] = t->tokens;
}

/* Is this the first time that the title has its i-th token? */
static bool
is_first(const Titles *t, int64 title, int64 i)
{
	for (int64 k = t->start[title]; k < i; k++)
		if (t->token[k] == t->token[i])
			return false;
	return true;
}

static Titles *
read_titles(PlmpgBudget *budget, const PlmpgShop *shop)
{
	Titles	   *t = palloc0(sizeof(Titles));
	PlmpgIdentity caller;
	int64	   *next;

	t->budget = budget;
	t->numbers = plmpg_keys();
	if (plmpg_hidden_rows(shop->source))
		t->among = plmpg_visible_rows(shop, NULL);
	caller = plmpg_become(shop->owner);
	plmpg_sql(psprintf("SELECT product_llm.key_text(v.key), (pg_catalog.regexp_split_to_array(pg_catalog.btrim(product_llm.segment("
					   " CASE WHEN v.title = '' THEN pg_catalog.left(v.content, 200) ELSE v.title END)), ' +'))[1:60]"
					   " FROM %s AS v ORDER BY product_llm.key_text(v.key) COLLATE \"C\"", plmpg_relation_name(shop->texts)),
			  NULL, PLMPG_SQL_READ, NULL, take_title, t);
	plmpg_return_to(&caller);

	t->df = plmpg_take(budget, t->n_terms, sizeof(int64));
	t->idf = plmpg_take(budget, t->n_terms, sizeof(double));
	t->found = plmpg_take(budget, t->n_terms + 1, sizeof(int64));
	t->weight = plmpg_take(budget, t->n, sizeof(double));
	next = plmpg_take(budget, t->n_terms, sizeof(int64));
	for (int64 d = 0; d < t->n; d++)
		for (int64 i = t->start[d]; i < t->start[d + 1]; i++)
			if (is_first(t, d, i))
				t->df[t->token[i]]++;
	for (int64 w = 0; w < t->n_terms; w++)
	{
		t->idf[w] = log(1 + ((double) (t->n - t->df[w]) + 0.5) / ((double) t->df[w] + 0.5));
		next[w] = t->found[w];
		t->found[w + 1] = t->found[w] + t->df[w];
	}
	t->titles = plmpg_take(budget, t->found[t->n_terms], sizeof(int32));
	for (int64 d = 0; d < t->n; d++)
		for (int64 i = t->start[d]; i < t->start[d + 1]; i++)
			if (is_first(t, d, i))
			{
				t->titles[next[t->token[i]]++] = (int32) d;
				t->weight[d] += t->idf[t->token[i]];
			}
	return t;
}

/* Words that a customer might type: letters, at least two, in ten titles or more and in no more than every twentieth. */
static bool
may_be_asked(const Titles *t, int32 term)
{
	const char *s = t->terms[term];

	if (t->df[term] < 10 || t->df[term] > t->n / 20 || pg_mbstrlen(s) < 2)
		return false;
	for (; *s != '\0'; s++)
		if (*s >= '0' && *s <= '9')
			return false;
	return true;
}

/* The number-th query and the title that it comes from; false when chance has hit on none. */
static bool
make_query(const Titles *t, int64 number, int64 *title, StringInfo query)
{
	static const int lengths[] = {1, 1, 2, 2, 2, 3};
	uint64		chance = plmpg_mix((uint64) number);
	int64		from;
	int			length = lengths[(chance >> 40) % lengthof(lengths)];

	*title = (int64) (chance % (uint64) t->n);
	if (t->start[*title + 1] - t->start[*title] < length + 1)
		return false;
	from = t->start[*title] + (int64) (plmpg_mix(chance) % (uint64) (t->start[*title + 1] - t->start[*title] - length + 1));
	resetStringInfo(query);
	for (int64 i = from; i < from + length; i++)
	{
		if (!may_be_asked(t, t->token[i]))
			return false;
		for (int64 k = from; k < i; k++)
			if (t->token[k] == t->token[i])
				return false;
		appendStringInfo(query, "%s%s", i > from ? " " : "", t->terms[t->token[i]]);
	}
	return true;
}

/* Gains 2^(3 likeness) - 1 of all titles to one; likeness: idf of the terms in both over idf of those in either. */
static void
gains_to(const Titles *t, int64 title, float *gains)
{
	memset(gains, 0, t->n * sizeof(float));
	for (int64 i = t->start[title]; i < t->start[title + 1]; i++)
		if (is_first(t, title, i))
			for (int64 f = t->found[t->token[i]]; f < t->found[t->token[i] + 1]; f++)
				gains[t->titles[f]] += (float) t->idf[t->token[i]];
	for (int64 d = 0; d < t->n; d++)
		if (gains[d] > 0)
			gains[d] = (float) exp2(3 * gains[d] / (t->weight[title] + t->weight[d] - gains[d])) - 1;
}

/* ---- the weight ---- */

#define SEMANTIC_DEFAULT 0.3

static const double semantic_grid[] = {0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1};

#define WEIGHTS ((int) lengthof(semantic_grid))

typedef struct SearchFit
{
	PlmpgBudget *budget;
	PlmpgShop  *shop;
	double		weights[WEIGHTS + 1];	/* the grid, and what is set now */
	float	   *values;			/* (queries, WEIGHTS + 1) */
	int64		n;
	int64		room;
} SearchFit;

/* The best of a search's candidates with this weight come first. */
static void
reorder(PlmpgFounds *list, double weight)
{
	for (int64 i = 0; i < list->n; i++)
	{
		PlmpgFound *f = &list->rows[i];

		f->score = weight * (isnan(f->semantic) ? 0 : f->semantic) + (1 - weight) * f->lexical;
	}
	if (list->n > 0)
		qsort(list->rows, list->n, sizeof(PlmpgFound), plmpg_by_score);
}

/* What a list in the order of one weight is worth. */
typedef double (*Worth) (void *arg, const PlmpgFounds *list);

static void
try_weights(SearchFit *fit, const char *query, Worth worth, void *arg)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "product_llm fit", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	PlmpgFounds *list;

	CHECK_FOR_INTERRUPTS();
	if ((fit->n + 1) * (WEIGHTS + 1) > fit->room)
		fit->values = plmpg_double(fit->budget, fit->values, &fit->room, sizeof(float));
	old = MemoryContextSwitchTo(scratch);
	list = plmpg_search(fit->shop, cstring_to_text(query), CANDIDATES, NULL);
	for (int w = 0; w <= WEIGHTS; w++)
	{
		reorder(list, fit->weights[w]);
		fit->values[fit->n * (WEIGHTS + 1) + w] = (float) worth(arg, list);
	}
	fit->n++;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
}

typedef struct MadeQuery
{
	const Titles *titles;
	PlmpgKeys  *places;			/* of titles by key */
	const char *key;
	const float *gains;
	double		ideal;
} MadeQuery;

static double
worth_by_titles(void *arg, const PlmpgFounds *list)
{
	MadeQuery  *q = arg;
	double		known = 0,
				like = 0;

	for (int64 i = 0; i < Min(list->n, PLMPG_DEPTH); i++)
	{
		int64	   *place = plmpg_keys_find(q->places, list->rows[i].key, false);

		if (place == NULL)
			continue;
		like += q->gains[*place] * plmpg_discount(i + 1);
		if (strcmp(list->rows[i].key, q->key) == 0)
			known = plmpg_discount(i + 1);
	}
	return (known + like / q->ideal) / 2;
}

static double
worth_by_judgments(void *arg, const PlmpgFounds *list)
{
	const char *keys[PLMPG_DEPTH];
	int			n = (int) Min(list->n, PLMPG_DEPTH);

	for (int i = 0; i < n; i++)
		keys[i] = list->rows[i].key;
	return plmpg_ndcg(arg, keys, n, PLMPG_DEPTH);
}

static void
try_made_queries(SearchFit *fit)
{
	Titles	   *t = read_titles(fit->budget, fit->shop);
	MadeQuery	q = {.titles = t, .places = plmpg_keys()};
	float	   *gains = plmpg_take(fit->budget, t->n, sizeof(float));
	int64		wanted = Max(FEWEST_QUERIES, Min(MOST_QUERIES, INT64CONST(40000000) / Max(t->n, 1)));
	StringInfoData query;

	initStringInfo(&query);
	q.gains = gains;
	for (int64 d = 0; d < t->n; d++)
		*plmpg_keys_find(q.places, t->keys[d], true) = d;
	for (int64 number = 0; t->n > 0 && number < 100 * wanted && fit->n < wanted; number++)
	{
		int64		title;
		int64		best[PLMPG_DEPTH];
		int			n;

		if (!make_query(t, number, &title, &query))
			continue;
		gains_to(t, title, gains);
		n = plmpg_top(gains, NULL, t->n, PLMPG_DEPTH, best);
		q.key = t->keys[title];
		q.ideal = 0;
		for (int i = 0; i < n; i++)
			q.ideal += gains[best[i]] * plmpg_discount(i + 1);
		try_weights(fit, query.data, worth_by_titles, &q);
	}
}

/*
 * Of the weights that are no worse than the best by more than one standard error of the difference, the one that is nearest
 * to what comes with the extension: a shop's few queries move it only as far as they can tell.
 */
static int
choose_weight(const SearchFit *fit, double *means)
{
	int			columns = WEIGHTS + 1;
	int			best = 0;
	int			chosen;

	for (int w = 0; w < columns; w++)
	{
		means[w] = 0;
		for (int64 i = 0; i < fit->n; i++)
			means[w] += fit->values[i * columns + w] / (double) fit->n;
		if (w < WEIGHTS && means[w] > means[best])
			best = w;
	}
	chosen = best;
	for (int w = 0; w < WEIGHTS; w++)
	{
		double		squares = 0;

		for (int64 i = 0; i < fit->n; i++)
		{
			double		d = fit->values[i * columns + w] - fit->values[i * columns + best] - (means[w] - means[best]);

			squares += d * d;
		}
		if (means[w] >= means[best] - sqrt(squares) / (double) fit->n &&
			fabs(fit->weights[w] - SEMANTIC_DEFAULT) < fabs(fit->weights[chosen] - SEMANTIC_DEFAULT) - 1e-9)
			chosen = w;
	}
	return chosen;
}

void
plmpg_fit_search(PlmpgBudget *budget, PlmpgShop *shop, text *judgments, PlmpgSettings *settings)
{
	SearchFit	fit = {.budget = budget, .shop = shop};
	double		old = Min(1, plmpg_shop_number(shop->settings, "semantic", SEMANTIC_DEFAULT));
	const char *metric = judgments != NULL ? "nDCG@10 of judged queries" : "nDCG@10 of queries made from titles";
	double		means[WEIGHTS + 1];
	int			chosen;

	memcpy(fit.weights, semantic_grid, sizeof(semantic_grid));
	fit.weights[WEIGHTS] = old;
	if (judgments != NULL)
	{
		PlmpgJudgments *j = plmpg_judgments(budget, judgments);

		for (int64 q = 0; q < j->n; q++)
			try_weights(&fit, j->queries[q].query, worth_by_judgments, &j->queries[q]);
	}
	else
		try_made_queries(&fit);
	if (fit.n < PLMPG_FEWEST)
	{
		plmpg_too_few(judgments != NULL ? "search (judged queries)" : "search (queries made from titles)", fit.n);
		plmpg_put_setting(settings, "semantic", old, old, metric, NAN, NAN);
		return;
	}
	chosen = choose_weight(&fit, means);
	plmpg_put_setting(settings, "semantic", old, fit.weights[chosen], metric, means[WEIGHTS], means[chosen]);
}
