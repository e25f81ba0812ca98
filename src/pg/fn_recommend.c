/*
 * fn_recommend.c -- recommend(), recommend_basket(): see recommend.h for how a list comes about, feedback.h for what is kept.
 */
#include "fn.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "feedback.h"
#include "filter.h"
#include "sql.h"

/* The arguments of recommend(), checked. */
typedef struct Wanted
{
	text	   *query;			/* NULL: none */
	ArrayType  *kinds;			/* of events whose products are left out; NULL: all */
	double		diversity;
} Wanted;

static Wanted
wanted(FunctionCallInfo fcinfo)
{
	static const char *const names[] = {"catalog", "visitor", "max_results", NULL, NULL, NULL, "diversity"};
	Wanted		w = {0};

	for (int i = 0; i < (int) lengthof(names); i++)
		if (names[i] != NULL && PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not be null", names[i])));
	w.diversity = PG_GETARG_FLOAT4(6);
	if (!(w.diversity >= 0 && w.diversity <= 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("diversity must be between 0 and 1")));
	w.query = PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3);
	w.kinds = PG_ARGISNULL(7) ? NULL : PG_GETARG_ARRAYTYPE_P(7);
	return w;
}

void
plmpg_require_events(const PlmpgRecommending *r)
{
	if (r->events == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("catalog \"%s\" has no events", r->shop->catalog),
				 errhint("product_llm.bind_events tells it where they are; product_llm.recommend_basket and product_llm.similar work without.")));
}

void
plmpg_recommend_visitor(PlmpgRecommending *r, const PlmpgVisitor *visitor, ArrayType *kinds)
{
	PlmpgHistory history = {0};

	if (!visitor->forgotten)
		history = plmpg_history(r->events, visitor->name, kinds);
	for (int i = 0; i < history.n; i++)
		if (history.rows[i].excluded)
			plmpg_keys_find(r->excluded, history.rows[i].key, true);
	r->own = history.rows;
	r->recent = Min(history.n, PLMPG_RECENT);
	plmpg_recommend_own(r);
}

static void
put_rows(FunctionCallInfo fcinfo, const PlmpgRecommending *r, const int64 *shown, int64 n, const char *list)
{
	TupleDesc	desc;
	Tuplestorestate *rows = plmpg_result_set(fcinfo, &desc);

	for (int64 i = 0; i < n; i++)
	{
		const PlmpgCandidate *c = &r->candidates->rows[shown[i]];
		Datum		values[5] = {
			CStringGetTextDatum(c->key), Float4GetDatum((float) c->score), CStringGetTextDatum(plmpg_recommend_source(r, c)),
			PointerGetDatum(plmpg_recommend_because(r, c)), list == NULL ? (Datum) 0 : CStringGetTextDatum(list)
		};
		bool		nulls[5] = {false, false, false, false, list == NULL};

		tuplestore_putvalues(rows, desc, values, nulls);
	}
}

/* recommend(catalog, visitor, max_results, query, filter, filter_args, diversity, exclude_kinds) */
PG_FUNCTION_INFO_V1(product_llm_recommend);
Datum
product_llm_recommend(PG_FUNCTION_ARGS)
{
	PlmpgRecommending r = {0};
	Wanted		w = wanted(fcinfo);
	PlmpgVisitor visitor;
	int64	   *shown;
	int64		n;
	double		chance;
	char	   *list;

	plmpg_recommend_begin(&r, PG_GETARG_TEXT_PP(0), PG_GETARG_INT32(2));
	plmpg_require_events(&r);
	if (!PG_ARGISNULL(4))
		r.filter = plmpg_filter_sql(PG_GETARG_TEXT_PP(4), PG_ARGISNULL(5) ? NULL : PG_GETARG_JSONB_P(5), r.shop->source);
	visitor = plmpg_visitor(r.shop, r.events, PG_GETARG_TEXT_PP(1));
	plmpg_recommend_visitor(&r, &visitor, w.kinds);
	/* Only what the blend alone has ordered tells of another blend. */
	chance = w.query == NULL && w.diversity == 0 ? Min(1, plmpg_shop_number(r.shop->settings, "explore", 0)) : 0;
	r.reserve = w.diversity > 0 || chance > 0;
	if (r.most > 0)
	{
		if (w.query != NULL)
			plmpg_recommend_for_query(&r, w.query);
		else
			plmpg_recommend_list(&r);
		plmpg_recommend_diversify(&r, w.diversity);
	}
	n = Min(r.candidates->n, r.most);
	shown = plmpg_choose_shown(&r, n, chance);
	list = plmpg_keep_list(&r, &visitor, shown, n, chance);
	put_rows(fcinfo, &r, shown, n, list);
	return (Datum) 0;
}

/* The different keys of a basket, the last one first, of which the caller sees the product; none of them is recommended. */
static void
begin_basket(PlmpgRecommending *r, ArrayType *basket)
{
	PlmpgTexts	keys = plmpg_texts(basket);
	int			n = 0;

	r->own = palloc0(PLMPG_RECENT * sizeof(PlmpgOwn));
	for (int i = keys.n - 1; i >= 0; i--)
	{
		char	   *key;

		if (keys.nulls[i])
			continue;
		key = TextDatumGetCString(keys.values[i]);
		if (plmpg_keys_find(r->excluded, key, false) != NULL)
			continue;
		plmpg_keys_find(r->excluded, key, true);
		if (r->recent < PLMPG_RECENT)
			r->own[r->recent++] = (PlmpgOwn) {.key = key, .weight = 1};
	}
	plmpg_recommend_own(r);
	for (int i = 0; i < r->recent; i++)
		if (r->own[i].named)
			r->own[n++] = r->own[i];
	r->recent = n;
}

/* recommend_basket(catalog, keys, max_results) */
PG_FUNCTION_INFO_V1(product_llm_recommend_basket);
Datum
product_llm_recommend_basket(PG_FUNCTION_ARGS)
{
	PlmpgRecommending r = {.basket = true};
	TupleDesc	desc;
	Tuplestorestate *rows = plmpg_result_set(fcinfo, &desc);

	plmpg_recommend_begin(&r, PG_GETARG_TEXT_PP(0), PG_GETARG_INT32(2));
	/* Who may not read the events is not told what comes of them. */
	if (r.events != NULL && !r.events->readable)
		r.events = NULL;
	begin_basket(&r, PG_GETARG_ARRAYTYPE_P(1));
	if (r.most > 0)
		plmpg_recommend_list(&r);
	for (int64 i = 0; i < Min(r.candidates->n, r.most); i++)
	{
		const PlmpgCandidate *c = &r.candidates->rows[i];
		Datum		values[4] = {
			CStringGetTextDatum(c->key), Float4GetDatum((float) c->score), PointerGetDatum(plmpg_recommend_because(&r, c)),
			CStringGetTextDatum(plmpg_recommend_source(&r, c))
		};
		bool		nulls[4] = {false, false, false, false};

		tuplestore_putvalues(rows, desc, values, nulls);
	}
	return (Datum) 0;
}
