/*
 * fn_events.c -- what visitors do becomes pairs of products: contributions of a visitor, and the trigger that keeps the sums.
 *
 * A visitor's contribution is a function of that visitor's events alone, in whole numbers.  The trigger adds what the
 * visitors of a statement contribute after it, less what they contributed before; hence the sum over all rows of
 * <catalog>_pair is always what building it anew would give, and taking a visitor away leaves no trace.
 *
 * "Before" is the state that the table of pairs accounts for: of each visitor, the events as of a command of this
 * transaction, at first as of none.  One statement may fire several triggers (MERGE, ON CONFLICT, WITH), triggers may run
 * statements, foreign keys may cascade: whichever fires first accounts for all, the others find nothing left.
 *
 * Two transactions that write events of one visitor take turns (an advisory lock), and each looks at the events with a
 * snapshot taken inside its turn.  A statement with many visitors takes its turn against all, by a lock on the table.
 */
#include "plmpg.h"

#include "access/htup_details.h"
#include "access/xact.h"
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
#include "utils/snapmgr.h"
#include "utils/syscache.h"
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

/* ---- what the table of pairs accounts for ---- */

/*
 * In this transaction: of which command's state.  Entry 0 of a table of pairs stands for all visitors and says when it was
 * built anew.  What a subtransaction has noted is taken back when it is rolled back, with its rows in the table of pairs.
 */
typedef struct Account
{
	uint64		visitor;		/* hash of the name and the table of pairs */
	CommandId	upto;
} Account;

typedef struct Step
{
	uint64		visitor;
	CommandId	before;
	SubTransactionId sub;
} Step;

static struct
{
	HTAB	   *accounts;		/* NULL: nothing in this transaction */
	Step	   *steps;
	int64		n,
				room;
	int			turns;			/* locks on visitors */
}			done;

static void
forget_accounts(XactEvent event, void *arg)
{
	/* The memory goes with the transaction. */
	if (event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_PARALLEL_PRE_COMMIT && event != XACT_EVENT_PRE_PREPARE)
		memset(&done, 0, sizeof(done));
}

static void
take_back_accounts(SubXactEvent event, SubTransactionId sub, SubTransactionId parent, void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	for (; done.n > 0 && done.steps[done.n - 1].sub >= sub; done.n--)
	{
		Account    *a = hash_search(done.accounts, &done.steps[done.n - 1].visitor, HASH_FIND, NULL);

		if (a != NULL)
			a->upto = done.steps[done.n - 1].before;
	}
}

static void
begin_accounts(void)
{
	static bool registered = false;
	HASHCTL		ctl = {.keysize = sizeof(uint64), .entrysize = sizeof(Account), .hcxt = TopTransactionContext};

	if (!registered)
	{
		RegisterXactCallback(forget_accounts, NULL);
		RegisterSubXactCallback(take_back_accounts, NULL);
		registered = true;
	}
	if (done.accounts == NULL)
		done.accounts = hash_create("product_llm accounts", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static uint64
all_visitors(Oid pairs)
{
	return pairs;
}

static uint64
one_visitor(Oid pairs, text *visitor)
{
	return hash_bytes_extended((unsigned char *) VARDATA_ANY(visitor), (int) VARSIZE_ANY_EXHDR(visitor), pairs);
}

static CommandId
accounted(uint64 visitor)
{
	Account    *a = hash_search(done.accounts, &visitor, HASH_FIND, NULL);

	return a == NULL ? FirstCommandId : a->upto;
}

static void
account(uint64 visitor, CommandId upto)
{
	Account    *a;
	bool		found;

	if (done.n == done.room)
	{
		int64		room = Max(64, done.room * 2);

		done.steps = done.steps == NULL ? MemoryContextAlloc(TopTransactionContext, room * sizeof(Step))
			: repalloc_huge(done.steps, room * sizeof(Step));
		done.room = room;
	}
	a = hash_search(done.accounts, &visitor, HASH_ENTER, &found);
	done.steps[done.n++] = (Step)
	{
		.visitor = visitor, .before = found ? a->upto : FirstCommandId, .sub = GetCurrentSubTransactionId()
	};
	a->upto = upto;
}

/* ---- definitions ---- */

typedef struct Events
{
	Oid			source;
	Oid			pairs;
	char	   *new_rows;		/* SQL for the statement's new rows that count: visitor, item, at */
	char	   *old_rows;
	char	   *items;			/* see the SQL functions */
	char	   *change;
	char	   *all;
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
	e->new_rows = TextDatumGetCString(slot_getattr(slot, 3, &null));
	e->old_rows = TextDatumGetCString(slot_getattr(slot, 4, &null));
	e->items = TextDatumGetCString(slot_getattr(slot, 5, &null));
	e->change = TextDatumGetCString(slot_getattr(slot, 6, &null));
	e->all = TextDatumGetCString(slot_getattr(slot, 7, &null));
	MemoryContextSwitchTo(old);
}

static Events *
read_events(const char *catalog)
{
	Events	   *e = palloc0(sizeof(Events));
	PlmpgParams p = {0};

	e->context = CurrentMemoryContext;
	plmpg_param_text(&p, catalog);
	plmpg_sql("SELECT e.source, e.pairs, product_llm.counted_events(e, 'new_rows'), product_llm.counted_events(e, 'old_rows'),"
			  " product_llm.items_in_order(e), product_llm.pairs_of_change(e), product_llm.pairs_of_all(e)"
			  " FROM product_llm.catalog_events AS e WHERE e.catalog OPERATOR(pg_catalog.=) $1",
			  &p, PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_events, e);
	if (!OidIsValid(e->source))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("catalog \"%s\" has no events", catalog),
				 errhint("product_llm.bind_events tells it where they are.")));
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(e->pairs)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the table of pairs of catalog \"%s\" does not exist any more", catalog),
				 errhint("Call product_llm.unbind_events and product_llm.bind_events.")));
	return e;
}

/* ---- building anew ---- */

/* catalog_pairs(catalog, keys) -> null: as the caller, who must be the owner */
PG_FUNCTION_INFO_V1(product_llm_catalog_pairs);
Datum
product_llm_catalog_pairs(PG_FUNCTION_ARGS)
{
	PlmpgParams p = {0};
	Events	   *e;
	char	   *pairs;
	CommandId	upto;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("catalog must not be null")));
	e = read_events(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	pairs = plmpg_relation_name(e->pairs);

	/* Writers of events wait for a moment, so that none of their changes falls between reading and deleting. */
	plmpg_sql(psprintf("LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE", pairs), NULL, 0, NULL, NULL, NULL);
	CommandCounterIncrement();
	upto = GetCurrentCommandId(false);
	plmpg_sql(psprintf("DELETE FROM %s", pairs), NULL, PLMPG_SQL_LATEST, NULL, NULL, NULL);
	plmpg_sql(e->all, NULL, PLMPG_SQL_LATEST, NULL, NULL, NULL);
	begin_accounts();
	account(all_visitors(e->pairs), upto);

	plmpg_param(&p, TEXTOID, PG_GETARG_DATUM(0), false);
	plmpg_sql("UPDATE product_llm.catalog_events SET last_refresh = pg_catalog.clock_timestamp() WHERE catalog OPERATOR(pg_catalog.=) $1",
			  &p, PLMPG_SQL_KEEP, NULL, NULL, NULL);
	PG_RETURN_NULL();
}

/* ---- the trigger ---- */

#define VISITORS_BY_ONE 32		/* of a statement; more than that take the lock on the table */
#define TURNS_AT_MOST 256		/* of a transaction */
#define VISITORS_AT_ONCE 1000	/* whose events are in memory together */

/*
 * The rows of the event as common table expressions: for a statement its transition tables do; a row comes as parameters
 * of the table's row type, $1 the new one and $2 the old one.
 */
static char *
rows_of_event(const TriggerData *trigger, PlmpgParams *p)
{
	Oid			type = trigger->tg_relation->rd_rel->reltype;
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	HeapTuple	new_row = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple :
		TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ? trigger->tg_trigtuple : NULL;
	HeapTuple	old_row = TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ? NULL : trigger->tg_trigtuple;

	if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
	{
		plmpg_param(p, type, new_row != NULL ? heap_copy_tuple_as_datum(new_row, desc) : (Datum) 0, new_row == NULL);
		plmpg_param(p, type, old_row != NULL ? heap_copy_tuple_as_datum(old_row, desc) : (Datum) 0, old_row == NULL);
		return "new_rows AS (SELECT ($1).*), old_rows AS (SELECT ($2).*)";
	}

	/* Those transition tables that the event lacks are empty. */
	if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		return "new_rows AS (SELECT * FROM old_rows WHERE false)";
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		return "old_rows AS (SELECT * FROM new_rows WHERE false)";
	return "nothing AS (SELECT)";
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
take_turn(const Events *e, const PlmpgTexts *visitors)
{
	uint32		hashes[VISITORS_BY_ONE];

	if (visitors->n > VISITORS_BY_ONE || done.turns + visitors->n > TURNS_AT_MOST)
	{
		LockRelationOid(e->pairs, ShareRowExclusiveLock);
		return;
	}
	done.turns += visitors->n;
	LockRelationOid(e->pairs, RowExclusiveLock);
	for (int i = 0; i < visitors->n; i++)
	{
		text	   *v = DatumGetTextPP(visitors->values[i]);

		hashes[i] = hash_bytes((unsigned char *) VARDATA_ANY(v), (int) VARSIZE_ANY_EXHDR(v));
	}
	qsort(hashes, visitors->n, sizeof(uint32), by_hash);
	for (int i = 0; i < visitors->n; i++)
		LockDatabaseObject(e->pairs, hashes[i], 1, ExclusiveLock);
}

/* A row of arrays. */
typedef struct ArraysRow
{
	MemoryContext context;
	int			n;
	ArrayType  *arrays[2];		/* NULL for null */
} ArraysRow;

static void
take_arrays(void *arg, TupleTableSlot *slot)
{
	ArraysRow  *r = arg;
	MemoryContext old = MemoryContextSwitchTo(r->context);

	for (int i = 0; i < r->n; i++)
	{
		bool		null;
		Datum		value = slot_getattr(slot, i + 1, &null);

		r->arrays[i] = null ? NULL : DatumGetArrayTypePCopy(value);
	}
	MemoryContextSwitchTo(old);
}

/* The visitors' products in order of time, as of a command of this transaction and else as of now. */
static ArraysRow
items_as_of(const Events *e, ArrayType *visitors, CommandId command)
{
	ArraysRow	r = {.context = CurrentMemoryContext, .n = 2};
	PlmpgParams p = {0};

	plmpg_param(&p, TEXTARRAYOID, PointerGetDatum(visitors), false);
	PushCopiedSnapshot(GetLatestSnapshot());
	GetActiveSnapshot()->curcid = command;
	plmpg_sql(e->items, &p, PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_arrays, &r);
	PopActiveSnapshot();
	return r;
}

static bool
same_array(ArrayType *a, ArrayType *b)
{
	return (a == NULL) == (b == NULL) &&
		(a == NULL || (VARSIZE(a) == VARSIZE(b) && memcmp(a, b, VARSIZE(a)) == 0));
}

/* Account for these visitors' events as they are now; all of them are accounted for as of one command. */
static void
settle(const Events *e, Datum *visitors, int n, CommandId before)
{
	ArrayType  *list = construct_array(visitors, n, TEXTOID, -1, false, TYPALIGN_INT);
	PlmpgParams p = {0};
	ArraysRow	states[2];
	CommandId	now;

	CommandCounterIncrement();
	now = GetCurrentCommandId(false);
	if (before >= now)
		return;
	states[0] = items_as_of(e, list, now);
	states[1] = items_as_of(e, list, before);
	for (int i = 0; i < n; i++)
		account(one_visitor(e->pairs, DatumGetTextPP(visitors[i])), now);
	if (same_array(states[0].arrays[0], states[1].arrays[0]) && same_array(states[0].arrays[1], states[1].arrays[1]))
		return;
	for (int i = 0; i < 4; i++)
		plmpg_param(&p, TEXTARRAYOID, PointerGetDatum(states[i / 2].arrays[i % 2]), states[i / 2].arrays[i % 2] == NULL);
	plmpg_sql(e->change, &p, PLMPG_SQL_KEEP, NULL, NULL, NULL);
}

typedef struct Visitor
{
	Datum		name;
	CommandId	upto;
} Visitor;

static int
by_account(const void *a, const void *b)
{
	CommandId	x = ((const Visitor *) a)->upto,
				y = ((const Visitor *) b)->upto;

	return x < y ? -1 : x > y ? 1 : 0;
}

static void
add_changes(const Events *e, TriggerData *trigger)
{
	ArraysRow	r = {.context = CurrentMemoryContext, .n = 1};
	PlmpgParams p = {0};
	char	   *rows = rows_of_event(trigger, &p);
	PlmpgTexts	names;
	Visitor    *visitors;
	Datum	   *some = palloc(VISITORS_AT_ONCE * sizeof(Datum));
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "product_llm visitors", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	CommandId	base;

	plmpg_sql(psprintf("WITH %s SELECT pg_catalog.array_agg(v.visitor) FROM (SELECT t.visitor FROM (%s) AS t"
					   " UNION SELECT t.visitor FROM (%s) AS t) AS v", rows, e->new_rows, e->old_rows),
			  &p, PLMPG_SQL_READ, trigger, take_arrays, &r);
	if (r.arrays[0] == NULL)
		return;
	names = plmpg_texts(r.arrays[0]);
	begin_accounts();
	take_turn(e, &names);

	base = accounted(all_visitors(e->pairs));
	visitors = palloc_extended(names.n * sizeof(Visitor), MCXT_ALLOC_HUGE);
	for (int i = 0; i < names.n; i++)
		visitors[i] = (Visitor)
	{
		.name = names.values[i], .upto = Max(base, accounted(one_visitor(e->pairs, DatumGetTextPP(names.values[i]))))
	};
	qsort(visitors, names.n, sizeof(Visitor), by_account);
	for (int i = 0, n; i < names.n; i += n)
	{
		CHECK_FOR_INTERRUPTS();
		for (n = 0; n < VISITORS_AT_ONCE && i + n < names.n && visitors[i + n].upto == visitors[i].upto; n++)
			some[n] = visitors[i + n].name;
		old = MemoryContextSwitchTo(context);
		settle(e, some, n, visitors[i].upto);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
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
	shop = plmpg_shop_of_source(trigger->tg_trigger->tgargs[0]);
	caller = plmpg_become(shop->owner);
	e = read_events(shop->catalog);
	relid = RelationGetRelid(trigger->tg_relation);
	if (relid != e->source &&
		!(get_rel_relispartition(relid) && list_member_oid(get_partition_ancestors(relid), e->source)))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("table \"%s\" does not hold the events of catalog \"%s\"",
						RelationGetRelationName(trigger->tg_relation), shop->catalog),
				 errhint("Drop the trigger.")));
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
