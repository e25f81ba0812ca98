/*
 * together.c -- a visitor's history and the pairs of its products: see together.h.
 */
#include "together.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

/* ---- the events ---- */

typedef struct EventsRow
{
	MemoryContext context;
	PlmpgEvents *events;
} EventsRow;

static void
take_events(void *arg, TupleTableSlot *slot)
{
	EventsRow  *r = arg;
	MemoryContext old = MemoryContextSwitchTo(r->context);
	PlmpgEvents *e = palloc0(sizeof(PlmpgEvents));
	bool		null;

	e->source = DatumGetObjectId(slot_getattr(slot, 1, &null));
	e->pairs_name = plmpg_relation_name(DatumGetObjectId(slot_getattr(slot, 2, &null)));
	e->lists_name = plmpg_relation_name(DatumGetObjectId(slot_getattr(slot, 3, &null)));
	e->counted = TextDatumGetCString(slot_getattr(slot, 4, &null));
	e->weighed = TextDatumGetCString(slot_getattr(slot, 5, &null));
	e->canonical = TextDatumGetCString(slot_getattr(slot, 6, &null));
	e->readable = DatumGetBool(slot_getattr(slot, 7, &null));
	r->events = e;
	MemoryContextSwitchTo(old);
}

static void
take_forgotten(void *arg, TupleTableSlot *slot)
{
	EventsRow  *r = arg;
	MemoryContext old = MemoryContextSwitchTo(r->context);
	bool		null;
	Datum		salt = slot_getattr(slot, 1, &null);

	if (!null)
	{
		r->events->salt = PointerGetDatum(PG_DETOAST_DATUM_COPY(salt));
		r->events->forgotten = PointerGetDatum(PG_DETOAST_DATUM_COPY(slot_getattr(slot, 2, &null)));
	}
	MemoryContextSwitchTo(old);
}

/* Only the owner may read who is forgotten. */
static void
read_forgotten(const PlmpgShop *shop, EventsRow *r)
{
	PlmpgParams p = {0};
	PlmpgIdentity caller = plmpg_become(shop->owner);

	plmpg_param_text(&p, shop->catalog);
	plmpg_sql("SELECT pg_catalog.min(f.salt::pg_catalog.text)::pg_catalog.bytea, pg_catalog.array_agg(f.visitor)"
			  " FROM product_llm.catalog_forgotten AS f WHERE f.catalog = $1",
			  &p, PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_forgotten, r);
	plmpg_return_to(&caller);
}

PlmpgEvents *
plmpg_events(const PlmpgShop *shop)
{
	EventsRow	r = {.context = CurrentMemoryContext};
	PlmpgParams p = {0};

	plmpg_param_text(&p, shop->catalog);
	plmpg_sql("SELECT e.source, e.pairs, e.lists, product_llm.shown_events(e),"
			  " product_llm.weighed_events(e), product_llm.visitor_form(e), pg_catalog.has_column_privilege(e.source, e.visitor, 'SELECT')"
			  " AND pg_catalog.has_column_privilege(e.source, e.item, 'SELECT') AND pg_catalog.has_column_privilege(e.source, e.at, 'SELECT')"
			  " AND coalesce(pg_catalog.has_column_privilege(e.source, e.kind, 'SELECT'), true)"
			  " FROM product_llm.catalog_events AS e WHERE e.catalog OPERATOR(pg_catalog.=) $1",
			  &p, PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_events, &r);
	if (r.events != NULL && (r.events->pairs_name == NULL || r.events->lists_name == NULL))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the table of pairs of catalog \"%s\" does not exist any more", shop->catalog),
				 errhint("product_llm.unbind_events and product_llm.bind_events make it anew.")));
	if (r.events != NULL && (plmpg_hidden_rows(r.events->source) ||
							 pg_class_aclcheck(r.events->source, GetUserId(), ACL_SELECT) != ACLCHECK_OK))
		read_forgotten(shop, &r);
	return r.events;
}

void
plmpg_events_sql(const PlmpgEvents *events, const char *sql, Oid type, Datum value, PlmpgTake take, void *arg)
{
	PlmpgParams p = {0};

	plmpg_param(&p, type, value, value == 0);
	plmpg_param(&p, BYTEAOID, events->salt, events->salt == 0);
	plmpg_param(&p, BYTEAARRAYOID, events->forgotten, events->forgotten == 0);
	plmpg_sql(sql, &p, PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take, arg);
}

/* ---- history ---- */

#define MOST_OWN 10000

typedef struct HistoryRows
{
	MemoryContext context;
	PlmpgHistory *history;
	double		most;			/* largest weight seen */
} HistoryRows;

static void
take_own(void *arg, TupleTableSlot *slot)
{
	HistoryRows *r = arg;
	MemoryContext old = MemoryContextSwitchTo(r->context);
	PlmpgOwn   *own = &r->history->rows[r->history->n];
	bool		null;

	if (r->history->n < MOST_OWN)
	{
		own->key = TextDatumGetCString(slot_getattr(slot, 1, &null));
		own->weight = DatumGetFloat8(slot_getattr(slot, 2, &null));
		own->excluded = DatumGetBool(slot_getattr(slot, 3, &null));
		own->named = true;
		r->most = Max(r->most, DatumGetFloat8(slot_getattr(slot, 4, &null)));
		r->history->n++;
	}
	MemoryContextSwitchTo(old);
}

PlmpgHistory
plmpg_history(const PlmpgEvents *events, text *visitor, ArrayType *kinds)
{
	PlmpgHistory history = {0};
	HistoryRows r = {.context = CurrentMemoryContext, .history = &history};
	PlmpgParams p = {0};

	history.rows = palloc(MOST_OWN * sizeof(PlmpgOwn));
	plmpg_param(&p, TEXTOID, PointerGetDatum(visitor), false);
	plmpg_param(&p, TEXTARRAYOID, PointerGetDatum(kinds), kinds == NULL);
	plmpg_sql(psprintf("SELECT v.item, pg_catalog.max(v.weight),"
					   " pg_catalog.bool_or($2 IS NULL OR v.kind = ANY ($2)), pg_catalog.max(v.most)"
					   " FROM (%s) AS v GROUP BY v.item ORDER BY pg_catalog.max(v.at) DESC,"
					   " pg_catalog.md5($1 || v.item) DESC, v.item COLLATE \"C\" DESC LIMIT 10000",
					   events->weighed),
			  &p, PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_own, &r);
	for (int i = 0; i < history.n; i++)
		history.rows[i].weight = r.most > 0 ? history.rows[i].weight / r.most : 1;
	return history;
}

/* ---- candidates ---- */

PlmpgCandidates *
plmpg_candidates(void)
{
	PlmpgCandidates *c = palloc0(sizeof(PlmpgCandidates));

	c->context = CurrentMemoryContext;
	c->places = plmpg_keys();
	return c;
}

PlmpgCandidate *
plmpg_candidate(PlmpgCandidates *c, const char *key, bool add)
{
	int64	   *place = plmpg_keys_find(c->places, key, false);

	if (place != NULL)
		return &c->rows[*place];
	if (!add)
		return NULL;
	*plmpg_keys_find(c->places, key, true) = c->n;
	return plmpg_candidates_append(c, key);
}

PlmpgCandidate *
plmpg_candidates_append(PlmpgCandidates *c, const char *key)
{
	PlmpgCandidate *row;

	if (c->n == c->room)
	{
		c->room = c->room == 0 ? 256 : c->room * 2;
		c->rows = c->rows == NULL ? MemoryContextAllocHuge(c->context, c->room * sizeof(PlmpgCandidate))
			: repalloc_huge(c->rows, c->room * sizeof(PlmpgCandidate));
	}
	row = &c->rows[c->n++];
	memset(row, 0, sizeof(*row));
	row->key = MemoryContextStrdup(c->context, key);
	row->nearest = -1;
	return row;
}

void
plmpg_candidates_cut(PlmpgCandidates *c, int64 n)
{
	c->n = n;
	c->places = plmpg_keys();
	for (int64 i = 0; i < n; i++)
		*plmpg_keys_find(c->places, c->rows[i].key, true) = i;
}

/* ---- pairs ---- */

typedef struct PairRows
{
	PlmpgKeys  *own;			/* number: place among the recent products */
	PlmpgCandidates *candidates;
	double		visitors[PLMPG_RECENT]; /* n of the recent products */
	StringInfoData a;
	StringInfoData b;
} PairRows;

static void
take_pair(void *arg, TupleTableSlot *slot)
{
	PairRows   *r = arg;
	bool		null;
	const char *a = plmpg_slot_key(slot, 1, &r->a);
	const char *b = plmpg_slot_key(slot, 2, &r->b);
	double		after = (double) DatumGetInt64(slot_getattr(slot, 3, &null));
	double		before = (double) DatumGetInt64(slot_getattr(slot, 4, &null));
	int64	   *place = plmpg_keys_find(r->own, a, false);

	if (place != NULL && strcmp(a, b) == 0)
		r->visitors[*place] += after;
	else if (place != NULL)
		plmpg_candidate(r->candidates, b, true)->given[*place] += (after + 0.5 * before) / 65536;
}

static void
take_visitors(void *arg, TupleTableSlot *slot)
{
	PairRows   *r = arg;
	bool		null;
	int64	   *place = plmpg_keys_find_text(r->candidates->places, slot_getattr(slot, 1, &null));

	if (place != NULL)
		r->candidates->rows[*place].visitors += (double) DatumGetInt64(slot_getattr(slot, 2, &null));
}

/* The pairs that the owner has summed up. */
static void
read_pairs(const PlmpgShop *shop, const PlmpgEvents *events, PlmpgParams *p, PairRows *r)
{
	PlmpgIdentity caller = plmpg_become(shop->owner);
	PlmpgParams q = {0};

	plmpg_sql(psprintf("SELECT p.a, p.b, p.after, p.before FROM %s AS p WHERE p.a = ANY ($1)", events->pairs_name), p,
			  PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_pair, r);
	/* An index scan of all is quicker than looking up a good part of them. */
	if (r->candidates->n * 6 > plmpg_shop_number(plmpg_shop_statistics(shop), "rows", 0))
		plmpg_sql(psprintf("SELECT p.a, p.after FROM %s AS p WHERE p.a = p.b", events->pairs_name), NULL,
				  PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_visitors, r);
	else
	{
		plmpg_param(&q, TEXTARRAYOID, PointerGetDatum(plmpg_keys_array(r->candidates->places)), false);
		plmpg_sql(psprintf("SELECT p.a, p.after FROM %s AS p WHERE p.a = p.b AND p.a = ANY ($1)", events->pairs_name), &q,
				  PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_visitors, r);
	}
	plmpg_return_to(&caller);
}

/* The same from the events that the caller sees, because others are hidden. */
static void
compute_pairs(const PlmpgEvents *events, const PlmpgParams *p, PairRows *r)
{
	plmpg_events_sql(events, psprintf("SELECT p.a, p.b, pg_catalog.sum(p.after)::pg_catalog.int8, pg_catalog.sum(p.before)::pg_catalog.int8"
					   " FROM (SELECT pg_catalog.array_agg(v.item ORDER BY v.at, pg_catalog.md5(v.visitor || v.item), v.item COLLATE \"C\") AS items"
					   "  FROM (%1$s) AS v WHERE v.visitor IN (SELECT w.visitor FROM (%1$s) AS w WHERE w.item = ANY ($1))"
					   "  GROUP BY v.visitor) AS t CROSS JOIN LATERAL product_llm.pair_weights(t.items) AS p"
					   " WHERE p.a = ANY ($1) GROUP BY p.a, p.b", events->counted), p->types[0], p->values[0], take_pair, r);
	plmpg_events_sql(events, psprintf("SELECT v.item, pg_catalog.count(DISTINCT v.visitor) FROM (%s) AS v GROUP BY v.item",
									  events->counted), p->types[0], p->values[0], take_visitors, r);
}

/* Rows that cancel each other, until the table of pairs is compacted, are no pairs. */
static void
drop_without_pairs(PlmpgCandidates *c)
{
	int64		n = 0;

	for (int64 i = 0; i < c->n; i++)
		if (c->rows[i].together > 0)
			c->rows[n++] = c->rows[i];
	if (n < c->n)
		plmpg_candidates_cut(c, n);
}

void
plmpg_together(const PlmpgShop *shop, const PlmpgEvents *events, const PlmpgBlend *blend, const PlmpgOwn *own, int n,
			   bool basket, PlmpgCandidates *candidates)
{
	PairRows	r = {.own = plmpg_keys(), .candidates = candidates};
	const char **keys = palloc(Max(n, 1) * sizeof(char *));
	double		weights[PLMPG_RECENT];
	PlmpgParams p = {0};

	Assert(n <= PLMPG_RECENT);
	if (n == 0)
		return;
	initStringInfo(&r.a);
	initStringInfo(&r.b);
	for (int i = 0; i < n; i++)
	{
		keys[i] = own[i].key;
		*plmpg_keys_find(r.own, own[i].key, true) = i;
	}
	plmpg_param(&p, TEXTARRAYOID, PointerGetDatum(plmpg_text_array(keys, n)), false);
	if (plmpg_hidden_rows(events->source))
		compute_pairs(events, &p, &r);
	else
		read_pairs(shop, events, &p, &r);
	for (int i = 0; i < n; i++)
	{
		weights[i] = own[i].weight * plmpg_blend_recency(blend, basket ? 1 : i + 1);
		r.visitors[i] = pow(Max(r.visitors[i], 1), 0.75);
	}
	for (int64 i = 0; i < candidates->n; i++)
	{
		PlmpgCandidate *c = &candidates->rows[i];
		double		damped = pow(Max(c->visitors, 1), blend->damping);

		c->together = 0;
		for (int k = 0; k < n; k++)
		{
			if (c->given[k] != 0)
				c->given[k] = weights[k] * plmpg_blend_pair(c->given[k], 0, r.visitors[k], damped);
			c->together += c->given[k];
		}
	}
	drop_without_pairs(candidates);
}

/* ---- popularity ---- */

static void
take_popular(void *arg, TupleTableSlot *slot)
{
	PlmpgFounds *list = arg;
	bool		null;
	char	   *key = TextDatumGetCString(slot_getattr(slot, 1, &null));

	plmpg_founds_add(list, key)->score = (double) DatumGetInt64(slot_getattr(slot, 2, &null));
	pfree(key);
}

PlmpgFounds *
plmpg_popular(const PlmpgShop *shop, const PlmpgEvents *events, int64 most)
{
	PlmpgFounds *list = plmpg_founds();
	PlmpgParams p = {0};

	plmpg_param(&p, INT8OID, Int64GetDatum(most), false);
	if (plmpg_hidden_rows(events->source))
		plmpg_events_sql(events, psprintf("SELECT v.item, pg_catalog.count(DISTINCT v.visitor) FROM (%s) AS v"
										  " GROUP BY v.item ORDER BY 2 DESC, v.item COLLATE \"C\" LIMIT $1", events->counted),
						 INT8OID, Int64GetDatum(most), take_popular, list);
	else
	{
		PlmpgIdentity caller = plmpg_become(shop->owner);

		plmpg_sql(psprintf("SELECT p.a, pg_catalog.sum(p.after)::pg_catalog.int8 FROM %s AS p WHERE p.a = p.b"
						   " GROUP BY p.a HAVING pg_catalog.sum(p.after) > 0 ORDER BY 2 DESC, p.a LIMIT $1", events->pairs_name),
				  &p, PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_popular, list);
		plmpg_return_to(&caller);
	}
	return list;
}
