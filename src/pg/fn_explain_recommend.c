/*
 * fn_explain_recommend.c -- explain_recommendation(): the blend of one recommended product, taken apart.
 *
 * The score is a sum already (blend.h): of each of the visitor's products through what is seen and bought together, of the one whose
 * text is nearest, and of popularity.  The list is made as recommend() makes it, with the caller's rights, and is only longer.
 */
#include "fn.h"

#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "feedback.h"

#define MOST 1000				/* products in which the one that is asked for is looked for */

static const PlmpgCandidate *
find_candidate(const PlmpgRecommending *r, text *key)
{
	char	   *wanted = text_to_cstring(key);

	for (int64 i = 0; i < r->candidates->n; i++)
		if (strcmp(r->candidates->rows[i].key, wanted) == 0)
			return &r->candidates->rows[i];
	/* The same words for a product that is hidden and for one that does not exist. */
	ereport(ERROR,
			(errcode(ERRCODE_NO_DATA_FOUND),
			 errmsg("product \"%s\" is not among the %d that would be recommended first", wanted, MOST),
			 errhint("product_llm.recommend says which are; products of the visitor's own events are left out.")));
}

static void
put_part(Tuplestorestate *rows, TupleDesc desc, const char *part, const char *item, double amount)
{
	Datum		values[3] = {CStringGetTextDatum(part), item != NULL ? CStringGetTextDatum(item) : (Datum) 0, Float8GetDatum(amount)};
	bool		nulls[3] = {false, item == NULL, false};

	tuplestore_putvalues(rows, desc, values, nulls);
}

/* What is together with the visitor's products, each by itself; those that the caller does not see as one without a name. */
static void
put_together(Tuplestorestate *rows, TupleDesc desc, const PlmpgRecommending *r, const PlmpgCandidate *c)
{
	double		hidden = 0;

	for (int i = 0; i < r->recent; i++)
	{
		double		given = plmpg_part(c->given[i], r->best_together);

		if (given == 0)
			continue;
		if (r->own[i].named)
			put_part(rows, desc, "together", r->own[i].key, given);
		else
			hidden += given;
	}
	if (hidden != 0)
		put_part(rows, desc, "together", NULL, hidden);
}

/* explain_recommendation(catalog, visitor, key) -> table(part, item, amount) */
PG_FUNCTION_INFO_V1(product_llm_explain_recommendation);
Datum
product_llm_explain_recommendation(PG_FUNCTION_ARGS)
{
	PlmpgRecommending r = {.all = true};
	PlmpgVisitor visitor;
	const PlmpgCandidate *c;
	TupleDesc	desc;
	Tuplestorestate *rows = plmpg_result_set(fcinfo, &desc);
	double		content;
	double		popular;

	plmpg_recommend_begin(&r, PG_GETARG_TEXT_PP(0), MOST);
	plmpg_require_events(&r);
	visitor = plmpg_visitor(r.shop, r.events, PG_GETARG_TEXT_PP(1));
	plmpg_recommend_visitor(&r, &visitor, NULL);
	if (r.recent == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("visitor \"%s\" has no history: what is recommended is what most visitors have", text_to_cstring(visitor.name)),
				 errhint("product_llm.recommend calls it \"popular\".  What counts are the visitor's events whose weight is above 0 and whose time is not"
						 " in the future, unless the visitor has been forgotten.")));
	plmpg_recommend_list(&r);
	c = find_candidate(&r, PG_GETARG_TEXT_PP(2));
	content = r.blend.content * plmpg_part(c->content, r.best_content);
	popular = r.blend.popular * plmpg_part(c->visitors, r.best_visitors);
	/* What fills a short list stands there for its popularity alone. */
	if (strcmp(plmpg_recommend_source(&r, c), "popular") == 0)
		popular = c->score;
	put_together(rows, desc, &r, c);
	if (content != 0)
		put_part(rows, desc, "content", c->nearest >= 0 && r.own[c->nearest].named ? r.own[c->nearest].key : NULL, content);
	if (popular != 0)
		put_part(rows, desc, "popular", NULL, popular);
	return (Datum) 0;
}
