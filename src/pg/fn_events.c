/*
 * fn_events.c -- what visitors do becomes pairs of products: contributions of a visitor, and the trigger that keeps the sums.
 *
 * A visitor's contribution is a function of that visitor's events alone, in whole numbers.  The trigger adds what the
 * visitors of a statement contribute after it, less what they contributed before it; hence the sum over all rows of
 * <catalog>_pair is always what building it anew would give, and taking a visitor away leaves no trace.
 *
 * Two transactions that write events of one visitor take turns (an advisory lock), and each looks at the events with a
 * snapshot taken inside its turn.  A statement with many visitors takes its turn against all, by a lock on the table.
 */
#include "plmpg.h"

#include "access/htup_details.h"
#include "catalog/partition.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "blend.h"
#include "fn.h"
#include "shop.h"
#include "sql.h"

/* ---- a visitor's contribution ---- */

/*
 * pair_weights(items) -> (a, b, after, before): with h the different products in the order in which each came first, the
 * pair (h[p], h[q]), p < q <= p + PLMPG_WINDOW, weighs round(65536 / sqrt(q - p)), under both its products.
 */
PG_FUNCTION_INFO_V1(product_llm_pair_weights);
Datum
product_llm_pair_weights(PG_FUNCTION_ARGS)
{
	PlmpgTexts	given = plmpg_texts(PG_GETARG_ARRAYTYPE_P(0));
	Datum	   *items = palloc(Max(given.n, 1) * sizeof(Datum));
	HTAB	   *seen;
	HASHCTL		ctl = {.keysize = sizeof(uint64), .entrysize = sizeof(uint64), .hcxt = CurrentMemoryContext};
	int			n = 0;
	TupleDesc	desc;
	Tuplestorestate *rows = plmpg_result_set(fcinfo, &desc);
	bool		nulls[4] = {false, false, false, false};
	int64		weights[PLMPG_WINDOW + 1];

	for (int d = 1; d <= PLMPG_WINDOW; d++)
		weights[d] = plmpg_pair_weight(d);

	/* Each product once, where it first comes. */
	seen = hash_create("products of a visitor", Max(given.n, 16), &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (int i = 0; i < given.n; i++)
	{
		text	   *item;
		uint64		hash;
		bool		found;

		if (given.nulls[i])
			continue;
		item = DatumGetTextPP(given.values[i]);
		hash = hash_bytes_extended((unsigned char *) VARDATA_ANY(item), (int) VARSIZE_ANY_EXHDR(item), 0);
		hash_search(seen, &hash, HASH_ENTER, &found);
		if (!found)
			items[n++] = given.values[i];
	}
	for (int i = 0; i < n; i++)
	{
		Datum		total[4] = {items[i], items[i], Int64GetDatum(1), Int64GetDatum(0)};

		CHECK_FOR_INTERRUPTS();
		tuplestore_putvalues(rows, desc, total, nulls);
		for (int j = i + 1; j < n && j - i <= PLMPG_WINDOW; j++)
		{
			Datum		weight = Int64GetDatum(weights[j - i]);
			Datum		there[4] = {items[i], items[j], weight, Int64GetDatum(0)};
			Datum		back[4] = {items[j], items[i], Int64GetDatum(0), weight};

			tuplestore_putvalues(rows, desc, there, nulls);
			tuplestore_putvalues(rows, desc, back, nulls);
		}
	}
	return (Datum) 0;
}

/* ---- the trigger ---- */

#define VISITORS_BY_ONE 32		/* more than that take the lock on the table */

typedef struct Events
{
	char	   *catalog;
	Oid			source;
	Oid			pairs;
	char	   *visitor;		/* quoted, as are the next */
	char	   *visitor_type;
	char	   *new_rows;		/* SQL for the statement's new rows that count: visitor, item, at */
	char	   *old_rows;
	char	   *all_rows;		/* of the table */
	MemoryContext context;
} Events;

static void
take_events(void *arg, TupleTableSlot *slot)
{
	Events	   *e = arg;
	MemoryContext old = MemoryContextSwitchTo(e->context);
	bool		null;

	e->source = DatumGetObjectId(slot_getattr(slot, 1, &null));
	e->pairs = DatumGetObjectId(slot_getattr(slot, 2, &null));
	e->visitor = TextDatumGetCString(slot_getattr(slot, 3, &null));
	e->visitor_type = TextDatumGetCString(slot_getattr(slot, 4, &null));
	e->new_rows = TextDatumGetCString(slot_getattr(slot, 5, &null));
	e->old_rows = TextDatumGetCString(slot_getattr(slot, 6, &null));
	e->all_rows = TextDatumGetCString(slot_getattr(slot, 7, &null));
	MemoryContextSwitchTo(old);
}

static Events *
read_events(const char *catalog)
{
	Events	   *e = palloc0(sizeof(Events));
	PlmpgParams p = {0};

	e->context = CurrentMemoryContext;
	e->catalog = pstrdup(catalog);
	plmpg_param_text(&p, catalog);
	plmpg_sql("SELECT e.source, e.pairs, pg_catalog.quote_ident(e.visitor),"
			  " pg_catalog.format_type(a.atttypid, NULL),"
			  " product_llm.counted_events(e, 'new_rows'), product_llm.counted_events(e, 'old_rows'),"
			  " product_llm.counted_events(e, 'all_rows')"
			  " FROM product_llm.catalog_events AS e JOIN pg_catalog.pg_attribute AS a"
			  " ON a.attrelid = e.source AND a.attname = e.visitor WHERE e.catalog OPERATOR(pg_catalog.=) $1",
			  &p, PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_events, e);
	if (!OidIsValid(e->source))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("catalog \"%s\" has no events", catalog),
				 errhint("product_llm.bind_events tells it where they are.")));
	return e;
}

/*
 * The rows of the event as common table expressions: for a statement its transition tables do; a row comes as parameters
 * of the table's row type, $2 the new one and $3 the old one.
 */
static char *
rows_of_event(const TriggerData *trigger, PlmpgParams *p)
{
	Oid			type = trigger->tg_relation->rd_rel->reltype;
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	HeapTuple	new_row = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple :
		TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ? trigger->tg_trigtuple : NULL;
	HeapTuple	old_row = TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ? NULL : trigger->tg_trigtuple;
	StringInfoData s;

	initStringInfo(&s);
	if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
	{
		plmpg_param(p, type, new_row != NULL ? heap_copy_tuple_as_datum(new_row, desc) : (Datum) 0, new_row == NULL);
		plmpg_param(p, type, old_row != NULL ? heap_copy_tuple_as_datum(old_row, desc) : (Datum) 0, old_row == NULL);
		appendStringInfoString(&s, "new_rows AS (SELECT ($2).* WHERE $2 IS DISTINCT FROM NULL), old_rows AS (SELECT ($3).* WHERE $3 IS DISTINCT FROM NULL)");
		return s.data;
	}

	/* Those transition tables that the event lacks are empty. */
	if (new_row == NULL && TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		appendStringInfo(&s, "new_rows AS (SELECT * FROM old_rows WHERE false)");
	else if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		appendStringInfo(&s, "old_rows AS (SELECT * FROM new_rows WHERE false)");
	else
		appendStringInfo(&s, "nothing AS (SELECT 1)");
	return s.data;
}

static int
by_hash(const void *a, const void *b)
{
	uint32		x = *(const uint32 *) a,
				y = *(const uint32 *) b;

	return x < y ? -1 : x > y ? 1 : 0;
}

/* Take turns with whoever writes events of these visitors. */
static void
take_turn(const Events *e, ArrayType *visitors)
{
	PlmpgTexts	list = plmpg_texts(visitors);
	uint32		hashes[VISITORS_BY_ONE];

	if (list.n > VISITORS_BY_ONE)
	{
		LockRelationOid(e->pairs, ShareRowExclusiveLock);
		return;
	}
	LockRelationOid(e->pairs, RowExclusiveLock);
	for (int i = 0; i < list.n; i++)
	{
		text	   *v = DatumGetTextPP(list.values[i]);

		hashes[i] = hash_bytes((unsigned char *) VARDATA_ANY(v), (int) VARSIZE_ANY_EXHDR(v));
	}
	qsort(hashes, list.n, sizeof(uint32), by_hash);
	for (int i = 0; i < list.n; i++)
		LockDatabaseObject(e->pairs, hashes[i], 1, ExclusiveLock);
}

typedef struct VisitorsRow
{
	MemoryContext context;
	ArrayType  *visitors;
} VisitorsRow;

static void
take_visitors(void *arg, TupleTableSlot *slot)
{
	VisitorsRow *r = arg;
	bool		null;
	Datum		value = slot_getattr(slot, 1, &null);
	MemoryContext old = MemoryContextSwitchTo(r->context);

	if (!null)
		r->visitors = DatumGetArrayTypePCopy(value);
	MemoryContextSwitchTo(old);
}

/* Equal times are ordered by a hash: by the key itself, catalogues numbered by kind would look as if bought in that order. */
#define ITEMS_OF(rows) "SELECT pg_catalog.array_agg(item ORDER BY at, pg_catalog.md5(item), item COLLATE \"C\") AS items FROM " rows " GROUP BY visitor"

static void
add_changes(const Events *e, TriggerData *trigger)
{
	VisitorsRow r = {.context = CurrentMemoryContext};
	PlmpgParams p = {0};
	char	   *rows;

	plmpg_param(&p, TEXTARRAYOID, (Datum) 0, true);
	rows = rows_of_event(trigger, &p);
	plmpg_sql(psprintf("WITH %s SELECT pg_catalog.array_agg(DISTINCT v.visitor) FROM (SELECT t.visitor FROM (%s) AS t"
					   " UNION SELECT t.visitor FROM (%s) AS t) AS v", rows, e->new_rows, e->old_rows),
			  &p, PLMPG_SQL_READ, trigger, take_visitors, &r);
	if (r.visitors == NULL || ARR_NDIM(r.visitors) == 0)
		return;
	take_turn(e, r.visitors);
	p.values[0] = PointerGetDatum(r.visitors);
	p.nulls[0] = ' ';
	plmpg_sql(psprintf("WITH %1$s, all_rows AS (SELECT * FROM %2$s WHERE %3$s = ANY ($1::pg_catalog.text[]::%4$s[])),"
					   " now AS MATERIALIZED (%5$s), added AS (%6$s), removed AS (%7$s),"
					   " earlier AS (SELECT * FROM now EXCEPT ALL SELECT * FROM added UNION ALL SELECT * FROM removed),"
					   " change AS (SELECT p.a, p.b, p.after, p.before FROM (" ITEMS_OF("now") ") AS t, product_llm.pair_weights(t.items) AS p"
					   "  UNION ALL SELECT p.a, p.b, -p.after, -p.before FROM (" ITEMS_OF("earlier") ") AS t, product_llm.pair_weights(t.items) AS p)"
					   " INSERT INTO %8$s (a, b, after, before) SELECT a, b, pg_catalog.sum(after)::pg_catalog.int8, pg_catalog.sum(before)::pg_catalog.int8"
					   " FROM change GROUP BY a, b HAVING pg_catalog.sum(after) <> 0 OR pg_catalog.sum(before) <> 0",
					   rows, plmpg_relation_name(e->source), e->visitor, e->visitor_type,
					   e->all_rows, e->new_rows, e->old_rows, plmpg_relation_name(e->pairs)),
			  &p, PLMPG_SQL_LATEST, trigger, NULL, NULL);
}

/* events_sync() -> trigger; its argument names the catalog */
PG_FUNCTION_INFO_V1(product_llm_events_sync);
Datum
product_llm_events_sync(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	MemoryContext context,
				old;
	PlmpgShop  *shop;
	PlmpgIdentity caller;
	Events	   *e;
	Oid			relid;

	if (!CALLED_AS_TRIGGER(fcinfo) || trigger->tg_trigger->tgnargs != 1 || !TRIGGER_FIRED_AFTER(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("events_sync must be called as a trigger of a catalog's events"),
				 errhint("product_llm.bind_events makes the triggers that it needs.")));
	context = AllocSetContextCreate(CurrentMemoryContext, "product_llm events_sync", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	shop = plmpg_shop(trigger->tg_trigger->tgargs[0]);
	e = read_events(shop->catalog);
	relid = RelationGetRelid(trigger->tg_relation);
	if (relid != e->source &&
		!(get_rel_relispartition(relid) && list_member_oid(get_partition_ancestors(relid), e->source)))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("table \"%s\" does not hold the events of catalog \"%s\"",
						RelationGetRelationName(trigger->tg_relation), shop->catalog)));
	caller = plmpg_become(shop->owner);
	if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
	{
		PlmpgParams p = {0};

		plmpg_param_text(&p, shop->catalog);
		plmpg_sql("SELECT product_llm.catalog_pairs($1, NULL)", &p, PLMPG_SQL_KEEP, NULL, NULL, NULL);
	}
	else
		add_changes(e, trigger);
	plmpg_return_to(&caller);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return PointerGetDatum(NULL);
}
