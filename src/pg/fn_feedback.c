/*
 * fn_feedback.c -- lists that are kept, and record_feedback(): see feedback.h.
 */
#include "feedback.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "sql.h"

#define MAX_EVENT_BYTES 100

PlmpgVisitor
plmpg_visitor(const PlmpgShop *shop, const PlmpgEvents *events, text *given)
{
	PlmpgVisitor visitor;
	PlmpgParams p = {0};
	PlmpgParams q = {0};
	PlmpgIdentity caller;
	char	   *name;

	plmpg_param(&p, TEXTOID, PointerGetDatum(given), false);
	name = plmpg_sql_string(events->canonical, &p, PLMPG_SQL_READ | PLMPG_SQL_KEEP);
	visitor.name = cstring_to_text(name);
	plmpg_param_text(&q, shop->catalog);
	plmpg_param_text(&q, name);
	caller = plmpg_become(shop->owner);
	visitor.forgotten = plmpg_sql_string("SELECT 1 FROM product_llm.catalog_forgotten AS f WHERE f.catalog = $1"
										 " AND f.visitor = pg_catalog.sha256(f.salt || pg_catalog.convert_to($2, 'UTF8')) LIMIT 1",
										 &q, PLMPG_SQL_READ | PLMPG_SQL_KEEP) != NULL;
	plmpg_return_to(&caller);
	return visitor;
}

int64 *
plmpg_choose_shown(const PlmpgRecommending *r, int64 n, double chance)
{
	int64	   *shown = palloc(Max(n, 1) * sizeof(int64));
	int64		reserve = Min(r->candidates->n, PLMPG_POOL * r->most) - n;

	for (int64 i = 0; i < n; i++)
		shown[i] = i;
	if (chance > 0 && reserve > 0 && n > 0 && plmpg_random() < chance)
		shown[(int64) (plmpg_random() * n)] = n + (int64) (plmpg_random() * reserve);
	return shown;
}

static char *
new_list_name(const PlmpgShop *shop)
{
	unsigned char b[16];

	if (!pg_strong_random(b, sizeof(b)))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
	return psprintf("%s/%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", shop->catalog, b[0], b[1], b[2],
					b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

/*
 * Sources and parts of a list's first `pool` candidates: together, content and visitors, each over its maximum.  What only
 * fills the list stands behind all others under any blend, so it has no parts.
 */
static void
list_parts(const PlmpgRecommending *r, int64 pool, Datum *sources, float *parts)
{
	for (int64 i = 0; i < pool; i++)
	{
		const PlmpgCandidate *c = &r->candidates->rows[i];

		sources[i] = CStringGetTextDatum(plmpg_recommend_source(r, c));
		if (c->together <= 0 && c->content <= 0)
			continue;
		parts[3 * i] = r->best_together > 0 ? (float) (c->together / r->best_together) : 0;
		parts[3 * i + 1] = r->best_content > 0 ? (float) (c->content / r->best_content) : 0;
		parts[3 * i + 2] = r->best_visitors > 0 ? (float) (c->visitors / r->best_visitors) : 0;
	}
}

char *
plmpg_keep_list(const PlmpgRecommending *r, const PlmpgVisitor *visitor, const int64 *shown, int64 n, double chance)
{
	int64		pool = Min(r->candidates->n, chance > 0 ? PLMPG_POOL * r->most : n);
	Datum	   *sources = palloc(Max(pool, 1) * sizeof(Datum));
	Datum	   *places = palloc(Max(n, 1) * sizeof(Datum));
	float	   *parts = palloc0(Max(3 * pool, 1) * sizeof(float));
	char	   *list;
	PlmpgParams p = {0};
	PlmpgIdentity caller;

	if (RecoveryInProgress() || XactReadOnly || plmpg_shop_number(r->shop->settings, "keep_lists", 1) <= 0)
		return NULL;
	list = new_list_name(r->shop);
	list_parts(r, pool, sources, parts);
	for (int64 i = 0; i < n; i++)
		places[i] = Int32GetDatum((int32) shown[i] + 1);
	plmpg_param_text(&p, strrchr(list, '/') + 1);
	plmpg_param(&p, TEXTOID, PointerGetDatum(visitor->forgotten ? cstring_to_text("") : visitor->name), false);
	plmpg_param(&p, TEXTARRAYOID, PointerGetDatum(plmpg_candidate_keys(r->candidates, 0, pool)), false);
	plmpg_param(&p, TEXTARRAYOID, PointerGetDatum(construct_array(sources, (int) pool, TEXTOID, -1, false, TYPALIGN_INT)), false);
	plmpg_param(&p, FLOAT4ARRAYOID, PointerGetDatum(plmpg_real_array(parts, 3 * pool)), false);
	plmpg_param(&p, INT4ARRAYOID, PointerGetDatum(construct_array(places, (int) n, INT4OID, 4, true, TYPALIGN_INT)), false);
	plmpg_param(&p, FLOAT8OID, Float8GetDatum(chance), false);
	caller = plmpg_become(r->shop->owner);
	plmpg_sql(psprintf("INSERT INTO %s (list, at, visitor, keys, sources, parts, shown, explore)"
					   " VALUES ($1::pg_catalog.uuid, pg_catalog.now(), $2, $3, $4, $5, $6, $7)", r->events->lists_name),
			  &p, PLMPG_SQL_KEEP, NULL, NULL, NULL);
	plmpg_return_to(&caller);
	return list;
}

/* "catalog/uuid" cut in two at its last slash; NULL when it is no list's name. */
static char *
list_number(char *list)
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	char	   *slash = strrchr(list, '/');

	if (slash == NULL || strlen(slash + 1) != strlen(form))
		return NULL;
	for (int i = 0; form[i] != '\0'; i++)
		if (form[i] == '-' ? slash[1 + i] != '-' : strchr("0123456789abcdef", slash[1 + i]) == NULL)
			return NULL;
	*slash = '\0';
	return slash + 1;
}

/* record_feedback(list, key, event) */
PG_FUNCTION_INFO_V1(product_llm_record_feedback);
Datum
product_llm_record_feedback(PG_FUNCTION_ARGS)
{
	char	   *list = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *number = list_number(list);
	size_t		bytes = VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(2));
	PlmpgShop  *shop;
	PlmpgParams p = {0};
	PlmpgIdentity caller;
	char	   *known;

	if (number == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not the name of a list", list),
				 errhint("product_llm.recommend returns it in the column \"list\".")));
	if (bytes < 1 || bytes > MAX_EVENT_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("event must have between 1 and %d bytes", MAX_EVENT_BYTES),
				 errhint("For example click, cart or purchase.")));
	shop = plmpg_shop(list);
	plmpg_param_text(&p, shop->catalog);
	plmpg_param_text(&p, number);
	plmpg_param(&p, TEXTOID, PG_GETARG_DATUM(1), false);
	plmpg_param(&p, TEXTOID, PG_GETARG_DATUM(2), false);
	caller = plmpg_become(shop->owner);
	known = plmpg_sql_string("SELECT product_llm.catalog_feedback($1, $2, $3, $4)", &p, PLMPG_SQL_KEEP);
	plmpg_return_to(&caller);
	if (known == NULL || strcmp(known, "t") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("list \"%s/%s\" does not exist or did not show that product", shop->catalog, number)));
	PG_RETURN_VOID();
}
