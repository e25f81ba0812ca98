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

static void
check_most(const char *name, int32 n)
{
	if (n < 0 || n > MAX_RESULTS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be between 0 and %d", name, MAX_RESULTS)));
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
	/* A catalog lets those who may search it use its model, as its owner does. */
	const PlmpgModel *model = plmpg_model_get_as(s->shop->model, s->shop->owner);
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

/* Candidates by words that are none by meaning get their cosines. */
static void
add_cosines(const Search *s, PlmpgFounds *list, PlmpgKeys *places, PlmpgKeys *unknown)
{
	PlmpgFounds *cosines;

	if (s->vector == NULL || plmpg_keys_count(unknown) == 0)
		return;
	cosines = plmpg_cosines(s->shop, s->vector, plmpg_keys_array(unknown));
	for (int64 i = 0; i < cosines->n; i++)
		list->rows[*plmpg_keys_find(places, cosines->rows[i].key, false)].semantic = cosines->rows[i].semantic;
}

/* One list of both kinds of candidates, each with both scores. */
static PlmpgFounds *
join_candidates(const Search *s)
{
	PlmpgFounds *list = plmpg_founds();
	PlmpgKeys  *places = plmpg_keys();
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

		if (place == NULL)
		{
			place = plmpg_keys_find(places, l->key, true);
			*place = list->n;
			plmpg_founds_add(list, l->key);
			plmpg_keys_find(unknown, l->key, true);
		}
		list->rows[*place].lexical_rank = l->lexical_rank;
	}
	for (int64 i = 0; s->with_words != NULL && i < s->with_words->n; i++)
	{
		int64	   *place = plmpg_keys_find(places, s->with_words->rows[i].key, false);

		if (place != NULL)
			list->rows[*place].lexical = s->with_words->rows[i].lexical;
	}
	add_cosines(s, list, places, unknown);
	return list;
}

/* The candidates by their score, best first. */
static PlmpgFounds *
fuse(const Search *s)
{
	PlmpgFounds *list = join_candidates(s);
	double		weight = s->mode == SEMANTIC ? 1 : s->mode == LEXICAL ? 0
		: Min(1, plmpg_shop_number(s->shop->settings, "semantic", SEMANTIC_WEIGHT));

	for (int64 i = 0; i < list->n; i++)
	{
		PlmpgFound *f = &list->rows[i];

		f->score = weight * (isnan(f->semantic) ? 0 : f->semantic) + (1 - weight) * f->lexical;
	}
	if (list->n > 0)
		qsort(list->rows, list->n, sizeof(PlmpgFound), plmpg_by_score);
	return list;
}

PlmpgFounds *
plmpg_search(PlmpgShop *shop, text *query, int64 most, char *filter)
{
	Search		s = {.shop = shop, .filter = filter, .mode = HYBRID, .most = most};

	find_candidates(&s, query);
	return fuse(&s);
}

/* What search() and search_facets() have in common; filter and mode: places of these arguments, after the filter its own. */
static PlmpgFounds *
run_search(FunctionCallInfo fcinfo, int64 most, int filter, int mode, PlmpgShop **shop)
{
	Search		s = {0};
	Jsonb	   *args = PG_ARGISNULL(filter + 1) ? NULL : PG_GETARG_JSONB_P(filter + 1);

	s.shop = *shop = plmpg_shop(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	s.mode = mode_from(PG_GETARG_TEXT_PP(mode));
	s.most = most;
	plmpg_shop_check_rights(s.shop);
	if (!PG_ARGISNULL(filter))
		s.filter = plmpg_filter_sql(PG_GETARG_TEXT_PP(filter), args, s.shop->source);
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
	PlmpgFounds *list;
	TupleDesc	desc;
	Tuplestorestate *rows;

	check_not_null(fcinfo, places, names, lengthof(places));
	most = PG_GETARG_INT32(2);
	check_most("max_results", PG_GETARG_INT32(2));
	rows = plmpg_result_set(fcinfo, &desc);
	list = run_search(fcinfo, most, 3, 5, &shop);
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

/* The vector of a product that the caller sees; ERROR when there is none. */
static ArrayType *
vector_of(const PlmpgShop *shop, const char *key)
{
	ArrayType  *one = plmpg_text_array(&key, 1);
	PlmpgVectors *vectors = plmpg_vectors(shop, one);
	const float *vector = plmpg_vectors_of(vectors, key);

	if (vector == NULL || plmpg_keys_count(plmpg_visible_of(shop, NULL, one)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("product \"%s\" does not exist in catalog \"%s\"", key, shop->catalog)));
	return plmpg_real_array(vector, vectors->dimensions);
}

/* similar(catalog, key, max_results) */
PG_FUNCTION_INFO_V1(product_llm_similar);
Datum
product_llm_similar(PG_FUNCTION_ARGS)
{
	Search		s = {.shop = plmpg_shop(text_to_cstring(PG_GETARG_TEXT_PP(0))), .mode = SEMANTIC};
	const char *key = text_to_cstring(PG_GETARG_TEXT_PP(1));
	int64		most = PG_GETARG_INT32(2);
	TupleDesc	desc;
	Tuplestorestate *rows = plmpg_result_set(fcinfo, &desc);
	PlmpgFounds *list;
	int64		given = 0;

	check_most("max_results", PG_GETARG_INT32(2));
	plmpg_shop_check_rights(s.shop);
	s.vector = vector_of(s.shop, key);
	if (plmpg_hidden_rows(s.shop->source))
		s.hidden_from = rows_of_caller(&s);
	/* It is the nearest to itself, or one of those with the same text. */
	list = find_by_meaning(&s, most + 1);
	for (int64 i = 0; i < list->n && given < most; i++)
	{
		Datum		values[2] = {CStringGetTextDatum(list->rows[i].key), Float4GetDatum((float) list->rows[i].semantic)};
		bool		nulls[2] = {false, false};

		if (strcmp(list->rows[i].key, key) == 0)
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

/*
 * SQL for the values of a column in the rows with the keys $1, with numbers of products; the first $2.  An array stands for
 * its different elements.
 */
static char *
facet_sql(const PlmpgShop *shop, const char *column)
{
	AttrNumber	number = get_attnum(shop->source, column);
	bool		array;

	/* System columns are no facets. */
	if (number <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist", column, get_rel_name(shop->source)),
				 errhint("Facets are columns of the catalog's source.")));
	array = OidIsValid(get_element_type(getBaseType(get_atttype(shop->source, number))));
	return psprintf("SELECT f.value, pg_catalog.count(*) FROM (SELECT %s AS facet FROM %s WHERE %s) AS s"
					" CROSS JOIN LATERAL (SELECT %s) AS f (value) WHERE f.value IS NOT NULL"
					" GROUP BY f.value ORDER BY 2 DESC, f.value COLLATE \"C\" LIMIT $2",
					quote_identifier(column), shop->source_rows, plmpg_shop_key_among(shop, "$1"),
					array ? "DISTINCT u.u::pg_catalog.text FROM pg_catalog.unnest(s.facet) AS u (u)" : "s.facet::pg_catalog.text");
}

/* search_facets(catalog, query, facets, max_values, filter, filter_args, mode, depth) */
PG_FUNCTION_INFO_V1(product_llm_search_facets);
Datum
product_llm_search_facets(PG_FUNCTION_ARGS)
{
	static const int places[] = {0, 1, 2, 3, 6, 7};
	static const char *const names[] = {"catalog", "query", "facets", "max_values", "mode", "depth"};
	PlmpgShop  *shop;
	PlmpgFounds *list;
	FacetRows	r = {0};
	PlmpgTexts	facets;
	PlmpgParams p = {0};

	check_not_null(fcinfo, places, names, lengthof(places));
	facets = plmpg_texts(PG_GETARG_ARRAYTYPE_P(2));
	check_most("max_values", PG_GETARG_INT32(3));
	check_most("depth", PG_GETARG_INT32(7));
	r.rows = plmpg_result_set(fcinfo, &r.desc);
	list = run_search(fcinfo, PG_GETARG_INT32(7), 4, 6, &shop);
	list->n = Min(list->n, PG_GETARG_INT32(7));
	plmpg_param(&p, TEXTARRAYOID, PointerGetDatum(keys_of(list, NULL)), false);
	plmpg_param(&p, INT4OID, PG_GETARG_DATUM(3), false);
	for (int i = 0; i < facets.n; i++)
	{
		if (facets.nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("facets must not contain nulls")));
		r.facet = facets.values[i];
		plmpg_sql(facet_sql(shop, TextDatumGetCString(r.facet)), &p, PLMPG_SQL_READ, NULL, take_facet, &r);
	}
	return (Datum) 0;
}
