/*
 * fn_search.c -- search(), search_facets() and similar(): candidates by meaning and by words, fused.
 */
#include "fn.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/tuplestore.h"

#include "filter.h"
#include "find.h"
#include "sql.h"

#define MAX_RESULTS 10000
#define SEMANTIC_DEPTH 100		/* candidates by meaning, at least */
#define LEXICAL_DEPTH 200		/* candidates by words, at least */
#define FEEDBACK_ROWS 5			/* best by words whose vectors join the query's */
#define FEEDBACK 0.5			/* their share */
#define SEMANTIC_WEIGHT 0.3		/* of meaning in the score; the setting "semantic" */
#define AHEAD 4					/* so many times more are fetched when a filter will take some */

typedef enum SearchMode
{
	HYBRID,
	SEMANTIC,
	LEXICAL
} SearchMode;

typedef struct Search
{
	PlmpgShop  *shop;
	char	   *filter;			/* checked; NULL: none */
	SearchMode		mode;
	int64		most;			/* results wanted */
	PlmpgKeys  *hidden_from;	/* rows that the caller sees, when row-level security hides others; else NULL */
	PlmpgKeys  *rows;			/* the same, once they had to be asked for */
	PlmpgTerms *terms;
	ArrayType  *vector;
	PlmpgFounds *semantic;
	PlmpgFounds *lexical;
	PlmpgFounds *with_words;	/* all that have some of the words, whether they may be shown or not */
} Search;

static SearchMode
mode_from(text *mode)
{
	char	   *s = text_to_cstring(mode);

	if (strcmp(s, "hybrid") == 0)
		return HYBRID;
	if (strcmp(s, "semantic") == 0)
		return SEMANTIC;
	if (strcmp(s, "lexical") == 0)
		return LEXICAL;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown mode of search \"%s\"", s),
			 errhint("Use 'hybrid', 'semantic' or 'lexical'.")));
}

static int64
results_from(int32 n)
{
	if (n < 0 || n > MAX_RESULTS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_results must be between 0 and %d", MAX_RESULTS)));
	return n;
}

/* ---- candidates ---- */

static ArrayType *
keys_of(const PlmpgFounds *a, const PlmpgFounds *b)
{
	PlmpgKeys  *keys = plmpg_keys();

	for (int64 i = 0; a != NULL && i < a->n; i++)
		plmpg_keys_find(keys, a->rows[i].key, true);
	for (int64 i = 0; b != NULL && i < b->n; i++)
		plmpg_keys_find(keys, b->rows[i].key, true);
	return plmpg_keys_array(keys);
}

/* Keep the first `most` whose keys have the number 1, and rank them anew. */
static void
keep_visible(PlmpgFounds *list, PlmpgKeys *visible, int64 most)
{
	int64		n = 0;

	for (int64 i = 0; i < list->n && n < most; i++)
	{
		int64	   *lets = plmpg_keys_find(visible, list->rows[i].key, false);

		if (lets != NULL && *lets == 1)
		{
			list->rows[n] = list->rows[i];
			if (list->rows[n].semantic_rank > 0)
				list->rows[n].semantic_rank = (int) n + 1;
			if (list->rows[n].lexical_rank > 0)
				list->rows[n].lexical_rank = (int) n + 1;
			n++;
		}
	}
	list->n = n;
}

/* All rows that the caller sees, asked for once. */
static PlmpgKeys *
rows_of_caller(Search *s)
{
	if (s->rows == NULL)
		s->rows = plmpg_visible_rows(s->shop, s->filter);
	return s->rows;
}

/* As many candidates as to expect `depth` of them to survive. */
static int64
ahead(const Search *s, int64 depth)
{
	return s->filter == NULL ? depth + 8 : depth * AHEAD;
}

/* The first of a list, in a list of their own. */
static PlmpgFounds *
first_of(const PlmpgFounds *list, int64 most)
{
	PlmpgFounds *first = plmpg_founds();

	for (int64 i = 0; i < Min(list->n, most); i++)
		*plmpg_founds_add(first, list->rows[i].key) = list->rows[i];
	return first;
}

/* The best `depth` by words that may be shown; document frequencies are of all rows, or of those that the caller sees. */
static PlmpgFounds *
find_by_words(Search *s, int64 depth)
{
	PlmpgFounds *list;
	int64		most = ahead(s, depth);

	s->with_words = plmpg_best_words(s->shop, s->terms, s->hidden_from);
	if (s->hidden_from != NULL)
		return first_of(s->with_words, depth);
	list = first_of(s->with_words, most);
	keep_visible(list, plmpg_visible_of(s->shop, s->filter, keys_of(list, NULL)), depth);
	if (list->n < depth && s->with_words->n > most)
	{
		list = first_of(s->with_words, PG_INT64_MAX);
		keep_visible(list, rows_of_caller(s), depth);
	}
	return list;
}

/* The nearest `depth` that may be shown. */
static PlmpgFounds *
find_by_meaning(Search *s, int64 depth)
{
	PlmpgFounds *list;
	bool		all;

	if (s->hidden_from != NULL)
		return plmpg_nearest(s->shop, s->vector, depth, s->hidden_from);
	list = plmpg_nearest(s->shop, s->vector, ahead(s, depth), NULL);
	all = list->n < ahead(s, depth) && strcmp(s->shop->nearest, "exact") == 0;
	keep_visible(list, plmpg_visible_of(s->shop, s->filter, keys_of(list, NULL)), depth);
	if (list->n < depth && !all)
		list = plmpg_nearest(s->shop, s->vector, depth, rows_of_caller(s));
	return list;
}

static void
add_scaled(float *sum, const float *vector, int64 n, double scale)
{
	for (int64 i = 0; i < n; i++)
		sum[i] += (float) (scale * vector[i]);
}

static double
length_of(const float *vector, int64 n)
{
	double		sum = 0;

	for (int64 i = 0; i < n; i++)
		sum += (double) vector[i] * vector[i];
	return sqrt(sum);
}

/*
 * What the query means: its embedding, and half of it the mean of the products that its words find best, by their scores.
 * (Pseudo-relevance feedback, as Rocchio 1971 has it.)
 */
static ArrayType *
meaning(const Search *s, const char *query)
{
	const PlmpgModel *model = plmpg_model_get(s->shop->model);
	int64		n = model->config->dimensions;
	PlmInput	input = {.first = plmpg_utf8(cstring_to_text(query))};
	float	   *vector = palloc(n * sizeof(float));
	float	   *liked = palloc0(n * sizeof(float));
	double		share = plmpg_shop_number(s->shop->settings, "feedback", FEEDBACK);
	double		length;

	plmpg_embed(model, 1, &input, PLM_KIND_QUERY, vector);
	if (s->mode == HYBRID && s->lexical->n > 0 && share > 0)
	{
		PlmpgFounds best = *s->lexical;
		PlmpgVectors *vectors;

		best.n = Min(best.n, FEEDBACK_ROWS);
		vectors = plmpg_vectors(s->shop, keys_of(&best, NULL));
		for (int64 i = 0; i < best.n; i++)
		{
			const float *v = plmpg_vectors_of(vectors, best.rows[i].key);

			if (v != NULL && vectors->dimensions == n)
				add_scaled(liked, v, n, best.rows[i].lexical);
		}
		length = length_of(liked, n);
		if (length > 0)
		{
			for (int64 i = 0; i < n; i++)
				vector[i] = (float) ((1 - share) * vector[i] + share * liked[i] / length);
			length = length_of(vector, n);
			for (int64 i = 0; length > 0 && i < n; i++)
				vector[i] = (float) (vector[i] / length);
		}
	}
	return plmpg_real_array(vector, n);
}

static void
find_candidates(Search *s, text *query)
{
	const char *spelled = text_to_cstring(query);

	if (plmpg_hidden_rows(s->shop->source))
		s->hidden_from = rows_of_caller(s);
	if (s->mode != SEMANTIC)
	{
		s->terms = plmpg_terms(s->shop, query, s->hidden_from);
		spelled = s->terms->text;
		s->lexical = find_by_words(s, Max(s->most, LEXICAL_DEPTH));
	}
	if (s->mode != LEXICAL)
	{
		s->vector = meaning(s, spelled);
		s->semantic = find_by_meaning(s, Max(s->most, SEMANTIC_DEPTH));
	}
}

/* ---- fusion ---- */

static int
by_score(const void *a, const void *b)
{
	const PlmpgFound *x = a,
			   *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return strcmp(x->key, y->key);
}

/* One list of both kinds of candidates, each with both scores. */
static PlmpgFounds *
fuse(Search *s)
{
	PlmpgFounds *list = plmpg_founds();
	PlmpgKeys  *places = plmpg_keys();
	double		weight = Min(1, plmpg_shop_number(s->shop->settings, "semantic", SEMANTIC_WEIGHT));
	PlmpgKeys  *unknown = plmpg_keys();

	for (int64 i = 0; s->semantic != NULL && i < s->semantic->n; i++)
	{
		*plmpg_keys_find(places, s->semantic->rows[i].key, true) = list->n;
		*plmpg_founds_add(list, s->semantic->rows[i].key) = s->semantic->rows[i];
	}
	for (int64 i = 0; s->lexical != NULL && i < s->lexical->n; i++)
	{
		const PlmpgFound *l = &s->lexical->rows[i];
		int64	   *place = plmpg_keys_find(places, l->key, false);
		PlmpgFound *found;

		if (place == NULL)
		{
			*plmpg_keys_find(places, l->key, true) = list->n;
			found = plmpg_founds_add(list, l->key);
			plmpg_keys_find(unknown, l->key, true);
		}
		else
			found = &list->rows[*place];
		found->lexical = l->lexical;
		found->lexical_rank = l->lexical_rank;
	}
	for (int64 i = 0; s->with_words != NULL && i < s->with_words->n; i++)
	{
		int64	   *place = plmpg_keys_find(places, s->with_words->rows[i].key, false);

		if (place != NULL)
			list->rows[*place].lexical = s->with_words->rows[i].lexical;
	}
	if (s->vector != NULL && plmpg_keys_count(unknown) > 0)
	{
		PlmpgFounds *cosines = plmpg_cosines(s->shop, s->vector, plmpg_keys_array(unknown));

		for (int64 i = 0; i < cosines->n; i++)
			list->rows[*plmpg_keys_find(places, cosines->rows[i].key, false)].semantic = cosines->rows[i].semantic;
	}
	for (int64 i = 0; i < list->n; i++)
	{
		PlmpgFound *f = &list->rows[i];
		double		semantic = isnan(f->semantic) ? 0 : f->semantic;

		if (s->mode == SEMANTIC)
			f->score = semantic;
		else if (s->mode == LEXICAL)
			f->score = f->lexical;
		else
			f->score = weight * semantic + (1 - weight) * f->lexical;
	}
	if (list->n > 0)
		qsort(list->rows, list->n, sizeof(PlmpgFound), by_score);
	return list;
}

PlmpgFounds *
plmpg_search(PlmpgShop *shop, text *query, int64 most, char *filter)
{
	Search		s = {.shop = shop, .filter = filter, .mode = HYBRID, .most = most};

	find_candidates(&s, query);
	return fuse(&s);
}

/* Arguments of search() and search_facets(), from the second on: query, n, filter, filter_args, mode. */
static PlmpgFounds *
run_search(FunctionCallInfo fcinfo, int64 most, int filter, int mode, PlmpgShop **shop, char **condition)
{
	Search		s = {0};
	Jsonb	   *args = PG_ARGISNULL(filter + 1) ? NULL : PG_GETARG_JSONB_P(filter + 1);

	s.shop = *shop = plmpg_shop(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	s.mode = mode_from(PG_GETARG_TEXT_PP(mode));
	s.most = most;
	plmpg_shop_check_rights(s.shop);
	if (!PG_ARGISNULL(filter))
		s.filter = plmpg_filter_sql(PG_GETARG_TEXT_PP(filter), args, s.shop->source);
	*condition = s.filter;
	find_candidates(&s, PG_GETARG_TEXT_PP(1));
	return fuse(&s);
}

static void
check_not_null(FunctionCallInfo fcinfo, const int *places, const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
		if (PG_ARGISNULL(places[i]))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not be null", names[i])));
}

/* search(catalog, query, max_results, filter, filter_args, mode) */
PG_FUNCTION_INFO_V1(product_llm_search);
Datum
product_llm_search(PG_FUNCTION_ARGS)
{
	static const int places[] = {0, 1, 2, 5};
	static const char *const names[] = {"catalog", "query", "max_results", "mode"};
	int64		most;
	PlmpgShop  *shop;
	char	   *condition;
	PlmpgFounds *list;
	TupleDesc	desc;
	Tuplestorestate *rows;

	check_not_null(fcinfo, places, names, lengthof(places));
	most = results_from(PG_GETARG_INT32(2));
	rows = plmpg_result_set(fcinfo, &desc);
	list = run_search(fcinfo, most, 3, 5, &shop, &condition);
	for (int64 i = 0; i < Min(list->n, most); i++)
	{
		const PlmpgFound *f = &list->rows[i];
		Datum		values[6] = {
			CStringGetTextDatum(f->key), Float4GetDatum((float) f->score), Int32GetDatum(f->semantic_rank),
			Int32GetDatum(f->lexical_rank), Float4GetDatum((float) f->semantic), Float4GetDatum((float) f->lexical)
		};
		bool		nulls[6] = {false, false, f->semantic_rank == 0, f->lexical_rank == 0, isnan(f->semantic), f->lexical == 0};

		tuplestore_putvalues(rows, desc, values, nulls);
	}
	return (Datum) 0;
}

/* similar(catalog, key, max_results) */
PG_FUNCTION_INFO_V1(product_llm_similar);
Datum
product_llm_similar(PG_FUNCTION_ARGS)
{
	PlmpgShop  *shop = plmpg_shop(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	const char *key = text_to_cstring(PG_GETARG_TEXT_PP(1));
	int64		most = results_from(PG_GETARG_INT32(2));
	ArrayType  *one = plmpg_text_array(&key, 1);
	TupleDesc	desc;
	Tuplestorestate *rows = plmpg_result_set(fcinfo, &desc);
	PlmpgVectors *vectors;
	const float *vector = NULL;
	PlmpgFounds *list;
	PlmpgKeys  *visible;
	int64		given = 0;

	plmpg_shop_check_rights(shop);
	vectors = plmpg_vectors(shop, one);
	vector = plmpg_vectors_of(vectors, key);
	if (vector == NULL || plmpg_keys_count(plmpg_visible_of(shop, NULL, one)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("product \"%s\" does not exist in catalog \"%s\"", key, shop->catalog)));
	if (plmpg_hidden_rows(shop->source))
	{
		visible = plmpg_visible_rows(shop, NULL);
		list = plmpg_nearest(shop, plmpg_real_array(vector, vectors->dimensions), most + 1, visible);
	}
	else
	{
		list = plmpg_nearest(shop, plmpg_real_array(vector, vectors->dimensions), most + 9, NULL);
		visible = plmpg_visible_of(shop, NULL, keys_of(list, NULL));
	}
	for (int64 i = 0; i < list->n && given < most; i++)
	{
		Datum		values[2] = {CStringGetTextDatum(list->rows[i].key), Float4GetDatum((float) list->rows[i].semantic)};
		bool		nulls[2] = {false, false};

		if (strcmp(list->rows[i].key, key) == 0 || plmpg_keys_find(visible, list->rows[i].key, false) == NULL)
			continue;
		tuplestore_putvalues(rows, desc, values, nulls);
		given++;
	}
	return (Datum) 0;
}

/* ---- facets ---- */

typedef struct FacetRows
{
	Tuplestorestate *rows;
	TupleDesc	desc;
	Datum		facet;
} FacetRows;

static void
take_facet(void *arg, TupleTableSlot *slot)
{
	FacetRows  *r = arg;
	bool		nulls[3] = {false, false, false};
	Datum		values[3] = {r->facet, slot_getattr(slot, 1, &nulls[1]), slot_getattr(slot, 2, &nulls[2])};

	tuplestore_putvalues(r->rows, r->desc, values, nulls);
}

/* search_facets(catalog, query, facets, max_values, filter, filter_args, mode, depth) */
PG_FUNCTION_INFO_V1(product_llm_search_facets);
Datum
product_llm_search_facets(PG_FUNCTION_ARGS)
{
	static const int places[] = {0, 1, 2, 3, 6, 7};
	static const char *const names[] = {"catalog", "query", "facets", "max_values", "mode", "depth"};
	PlmpgShop  *shop;
	char	   *condition;
	PlmpgFounds *list;
	TupleDesc	desc;
	FacetRows	r = {0};
	PlmpgTexts	facets;
	PlmpgParams p = {0};

	check_not_null(fcinfo, places, names, lengthof(places));
	facets = plmpg_texts(PG_GETARG_ARRAYTYPE_P(2));
	(void) results_from(PG_GETARG_INT32(3));
	(void) results_from(PG_GETARG_INT32(7));
	r.rows = plmpg_result_set(fcinfo, &desc);
	r.desc = desc;
	list = run_search(fcinfo, PG_GETARG_INT32(7), 4, 6, &shop, &condition);
	list->n = Min(list->n, PG_GETARG_INT32(7));
	plmpg_param(&p, TEXTARRAYOID, PointerGetDatum(keys_of(list, NULL)), false);
	plmpg_param(&p, INT4OID, PG_GETARG_DATUM(3), false);
	for (int i = 0; i < facets.n; i++)
	{
		const char *column = facets.nulls[i] ? "" : TextDatumGetCString(facets.values[i]);

		if (get_attnum(shop->source, column) <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of relation \"%s\" does not exist", column, get_rel_name(shop->source)),
					 errhint("Facets are columns of the catalog's source.")));
		r.facet = facets.values[i];
		plmpg_sql(psprintf("SELECT %1$s::pg_catalog.text, pg_catalog.count(*) FROM %2$s"
						   " WHERE %3$s AND %1$s IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $2",
						   quote_identifier(column), shop->source_name, plmpg_shop_key_among(shop, "$1")),
				  &p, PLMPG_SQL_READ, NULL, take_facet, &r);
	}
	return (Datum) 0;
}
