/*
 * fn_sync.c -- catalogs stay true: the trigger on their sources, work as their owner, counts, keys as text.
 *
 * The work itself is SQL (sql/41_sync.sql).  Here is what SQL cannot do: ask which columns a statement has set, and become
 * the owner of a catalog.
 */
#include "plmpg.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "catalog/partition.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/deparse_utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "fn.h"
#include "shards.h"
#include "shop.h"
#include "sql.h"

/* ---- keys as text ---- */

/* A key by its type's output, under fixed settings. */
static text *
key_text(Oid type, Datum key)
{
	static const char *const fixed[][2] = {
		{"DateStyle", "ISO, YMD"}, {"IntervalStyle", "postgres"}, {"TimeZone", "UTC"},
		{"extra_float_digits", "1"}, {"bytea_output", "hex"}, {"lc_monetary", "C"}
	};
	Oid			output;
	bool		varlena;
	char	   *s;
	int			level;

	if (type == TEXTOID || type == VARCHAROID)
		return (text *) DatumGetPointer(key);
	getTypeOutputInfo(type, &output, &varlena);
	if (type == INT4OID || type == INT8OID || type == UUIDOID)
		return cstring_to_text(OidOutputFunctionCall(output, key));
	if (type == BPCHAROID)
	{
		/* As its cast to text does: padding is not part of the value. */
		text	   *padded = DatumGetTextPP(key);
		int			len = (int) VARSIZE_ANY_EXHDR(padded);

		while (len > 0 && VARDATA_ANY(padded)[len - 1] == ' ')
			len--;
		return cstring_to_text_with_len(VARDATA_ANY(padded), len);
	}
	level = NewGUCNestLevel();
	for (int i = 0; i < (int) lengthof(fixed); i++)
		(void) set_config_option(fixed[i][0], fixed[i][1], PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	s = OidOutputFunctionCall(output, key);
	AtEOXact_GUC(false, level);
	return cstring_to_text(s);
}

/* key_text(anyelement) -> text */
PG_FUNCTION_INFO_V1(product_llm_key_text);
Datum
product_llm_key_text(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(key_text(get_fn_expr_argtype(fcinfo->flinfo, 0), PG_GETARG_DATUM(0)));
}

/* ---- work as the owner ---- */

static const char *const works[] = {"reconcile", "refresh", "stale", "pending", "prune", "count", "switch", "discard", "pairs", "forget",
	"link"};

typedef struct KeysRow
{
	MemoryContext context;
	ArrayType  *keys;
} KeysRow;

static void
take_keys(void *arg, TupleTableSlot *slot)
{
	KeysRow    *r = arg;
	bool		null;
	Datum		value = slot_getattr(slot, 1, &null);

	if (!null)
	{
		MemoryContext old = MemoryContextSwitchTo(r->context);

		r->keys = DatumGetArrayTypePCopy(value);
		MemoryContextSwitchTo(old);
	}
}

/*
 * Delete from the side tables what the source does not have any more.  With the latest snapshot: a transaction that has an
 * older one deletes also what others have added since to rows that it has removed.
 */
static void
prune(const PlmpgShop *shop, ArrayType *keys)
{
	KeysRow		r = {.context = CurrentMemoryContext};
	PlmpgParams p = {0};
	PlmpgTexts	statements;

	plmpg_param_text(&p, shop->catalog);
	plmpg_param(&p, BOOLOID, BoolGetDatum(keys != NULL), false);
	PushActiveSnapshot(GetLatestSnapshot());
	plmpg_sql("SELECT product_llm.catalog_prune($1, $2)", &p, PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_keys, &r);
	PopActiveSnapshot();
	statements = plmpg_texts(r.keys);
	memset(&p, 0, sizeof(p));
	if (keys != NULL)
		plmpg_param(&p, TEXTARRAYOID, PointerGetDatum(keys), false);
	for (int i = 0; i < statements.n; i++)
		plmpg_sql(TextDatumGetCString(statements.values[i]), &p, PLMPG_SQL_LATEST | PLMPG_SQL_KEEP, NULL, NULL, NULL);
}

static ArrayType *
work_as_owner(const PlmpgShop *shop, const char *work, ArrayType *keys)
{
	KeysRow		r = {.context = CurrentMemoryContext};
	PlmpgIdentity caller = plmpg_become(shop->owner);

	if (strcmp(work, "prune") == 0 || strcmp(work, "reconcile") == 0)
		prune(shop, keys);
	if (strcmp(work, "prune") != 0)
	{
		PlmpgParams p = {0};

		plmpg_param_text(&p, shop->catalog);
		plmpg_param(&p, TEXTARRAYOID, PointerGetDatum(keys), keys == NULL);
		plmpg_sql(psprintf("SELECT product_llm.catalog_%s($1, $2)", work), &p, PLMPG_SQL_KEEP, NULL, take_keys, &r);
	}
	plmpg_return_to(&caller);
	return r.keys;
}

/* catalog_work(catalog, work, keys) -> text[] */
PG_FUNCTION_INFO_V1(product_llm_catalog_work);
Datum
product_llm_catalog_work(PG_FUNCTION_ARGS)
{
	PlmpgShop  *shop;
	char	   *catalog,
			   *work;
	ArrayType  *result;
	bool		known = false;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("catalog and work must not be null")));
	work = text_to_cstring(PG_GETARG_TEXT_PP(1));
	for (int i = 0; i < (int) lengthof(works); i++)
		known = known || strcmp(work, works[i]) == 0;
	if (!known)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown work \"%s\"", work),
				 errhint("The functions that are not for inner use call it.")));
	/* What is learnt from events needs no other side table; above all, a visitor can be forgotten. */
	catalog = text_to_cstring(PG_GETARG_TEXT_PP(0));
	shop = strcmp(work, "pairs") == 0 || strcmp(work, "forget") == 0 ? plmpg_shop_of_source(catalog) : plmpg_shop_to_write(catalog);
	if (!has_privs_of_role(GetUserId(), shop->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of catalog \"%s\"", shop->catalog),
				 errhint("A catalog belongs to the owner of its source table.")));
	result = work_as_owner(shop, work, PG_ARGISNULL(2) ? NULL : PG_GETARG_ARRAYTYPE_P(2));
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_ARRAYTYPE_P(result);
}

/* ---- the trigger ---- */

/* May a trigger before a row change it, in this table or, where it is partitioned, in one of its partitions? */
static bool
changed_by_triggers(Relation rel)
{
	PlmpgParams p = {0};
	List	   *tables;
	Datum	   *oids;
	int			n = 0;
	ListCell   *cell;

	if (rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return rel->trigdesc != NULL && rel->trigdesc->trig_update_before_row;
	tables = find_all_inheritors(RelationGetRelid(rel), NoLock, NULL);
	oids = palloc(list_length(tables) * sizeof(Datum));
	foreach(cell, tables)
		oids[n++] = ObjectIdGetDatum(lfirst_oid(cell));
	plmpg_param(&p, OIDARRAYOID, PointerGetDatum(construct_array(oids, n, OIDOID, sizeof(Oid), true, TYPALIGN_INT)), false);
	/* ROW and BEFORE; UPDATE, or the INSERT of a row that moves. */
	return plmpg_sql("SELECT FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = ANY ($1) AND t.tgtype & 3 = 3 AND t.tgtype & 20 <> 0 LIMIT 1",
					 &p, PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, NULL, NULL) > 0;
}

/*
 * Could an UPDATE have changed a text or a key?  By the columns that it sets, with the generated ones that follow from
 * them -- unless a BEFORE trigger may set others.
 */
static bool
touches_texts(const PlmpgShop *shop, const TriggerData *trigger)
{
	Relation	rel = trigger->tg_relation;
	Bitmapset  *watched = plmpg_shop_columns(shop);
	int			i = -1;

	if (bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, watched))
		return true;			/* the whole row */
	if (RelationGetRelid(rel) == shop->source)
		return bms_overlap(watched, trigger->tg_updatedcols) || changed_by_triggers(rel);

	/* A partition may number its columns otherwise. */
	while ((i = bms_next_member(trigger->tg_updatedcols, i)) >= 0)
	{
		AttrNumber	number = i + FirstLowInvalidHeapAttributeNumber;
		char	   *name = number > 0 ? get_attname(RelationGetRelid(rel), number, true) : NULL;
		AttrNumber	there = name != NULL ? get_attnum(shop->source, name) : InvalidAttrNumber;

		if (there == InvalidAttrNumber || bms_is_member(there - FirstLowInvalidHeapAttributeNumber, watched))
			return true;
	}
	return changed_by_triggers(rel);
}

/* The keys of a row-level event's rows. */
static ArrayType *
keys_of_row(const PlmpgShop *shop, const TriggerData *trigger)
{
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	HeapTuple	rows[2] = {trigger->tg_trigtuple, TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : NULL};
	AttrNumber	number = get_attnum(RelationGetRelid(trigger->tg_relation), shop->key);
	Datum		keys[2];
	int			n = 0;

	if (number == InvalidAttrNumber)
		elog(ERROR, "relation \"%s\" has no column \"%s\"", RelationGetRelationName(trigger->tg_relation), shop->key);
	for (int i = 0; i < 2; i++)
	{
		bool		null;
		Datum		value;

		if (rows[i] == NULL)
			continue;
		value = heap_getattr(rows[i], number, desc, &null);
		if (!null)
			keys[n++] = PointerGetDatum(key_text(TupleDescAttr(desc, number - 1)->atttypid, value));
	}
	return construct_array(keys, n, TEXTOID, -1, false, TYPALIGN_INT);
}

/* The different keys of a statement's transition tables. */
static ArrayType *
keys_of_statement(const PlmpgShop *shop, TriggerData *trigger)
{
	KeysRow		r = {.context = CurrentMemoryContext};
	char	   *key = psprintf("product_llm.key_text(%s)", shop->key_column);
	const char *tables;

	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		tables = "SELECT %1$s AS key FROM new_rows";
	else if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		tables = "SELECT %1$s AS key FROM old_rows";
	else
		tables = "SELECT %1$s AS key FROM old_rows UNION SELECT %1$s AS key FROM new_rows";
	plmpg_sql(psprintf("SELECT pg_catalog.array_agg(DISTINCT k.key) FROM (%s) AS k WHERE k.key IS NOT NULL",
					   psprintf(tables, key)),
			  NULL, PLMPG_SQL_READ, trigger, take_keys, &r);
	return r.keys;
}

/* Is the trigger on the source of this catalog, or on a partition of it? */
static bool
on_source(const PlmpgShop *shop, Oid relid)
{
	return relid == shop->source ||
		(get_rel_relispartition(relid) && list_member_oid(get_partition_ancestors(relid), shop->source));
}

/* catalog_sync() -> trigger; its argument names the catalog */
PG_FUNCTION_INFO_V1(product_llm_catalog_sync);
Datum
product_llm_catalog_sync(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	MemoryContext context,
				old;
	PlmpgShop  *shop;
	ArrayType  *keys = NULL;

	if (!CALLED_AS_TRIGGER(fcinfo) || trigger->tg_trigger->tgnargs != 1 || !TRIGGER_FIRED_AFTER(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("catalog_sync must be called as a trigger of a catalog's source"),
				 errhint("product_llm.create_catalog makes the triggers that it needs.")));

	/* A statement may fire this many times; leave nothing behind. */
	context = AllocSetContextCreate(CurrentMemoryContext, "product_llm catalog_sync", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	shop = plmpg_shop_to_write(trigger->tg_trigger->tgargs[0]);
	if (!on_source(shop, RelationGetRelid(trigger->tg_relation)))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("table \"%s\" is not the source of catalog \"%s\"",
						RelationGetRelationName(trigger->tg_relation), shop->catalog),
				 errhint("Drop the trigger.")));
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) && !touches_texts(shop, trigger))
		;						/* nothing to do */
	else if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		(void) work_as_owner(shop, "prune", NULL);
	else
	{
		if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
			keys = keys_of_row(shop, trigger);
		else
			keys = keys_of_statement(shop, trigger);
		if (keys != NULL && ARR_NDIM(keys) > 0)
			(void) work_as_owner(shop, "reconcile", keys);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return PointerGetDatum(NULL);
}

/* ---- DDL ---- */

/* changes_rows(pg_ddl_command) -> boolean */
PG_FUNCTION_INFO_V1(product_llm_changes_rows);
Datum
product_llm_changes_rows(PG_FUNCTION_ARGS)
{
	CollectedCommand *command = (CollectedCommand *) PG_GETARG_POINTER(0);
	ListCell   *cell;

	/* A foreign table's statement begins as a table's does. */
	if (command->type == SCT_Simple)
		PG_RETURN_BOOL((IsA(command->parsetree, CreateStmt) || IsA(command->parsetree, CreateForeignTableStmt)) &&
					   ((CreateStmt *) command->parsetree)->partbound != NULL);
	if (command->type != SCT_AlterTable)
		PG_RETURN_BOOL(false);
	foreach(cell, command->d.alterTable.subcmds)
	{
		Node	   *sub = ((CollectedATSubcmd *) lfirst(cell))->parsetree;

		if (IsA(sub, AlterTableCmd) &&
			(((AlterTableCmd *) sub)->subtype == AT_AttachPartition || ((AlterTableCmd *) sub)->subtype == AT_DetachPartition ||
			 ((AlterTableCmd *) sub)->subtype == AT_AlterColumnType))
			PG_RETURN_BOOL(true);
	}
	PG_RETURN_BOOL(false);
}

/* ---- counts ---- */

static int64
count(const char *sql, const PlmpgParams *p)
{
	char	   *s = plmpg_sql_string(sql, p, PLMPG_SQL_READ);

	return s == NULL ? 0 : pg_strtoint64(s);
}

/* catalog_counts(catalog) -> products, embedded, stale */
PG_FUNCTION_INFO_V1(product_llm_catalog_counts);
Datum
product_llm_catalog_counts(PG_FUNCTION_ARGS)
{
	PlmpgShop  *shop = plmpg_shop(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	TupleDesc	desc;
	Datum		values[3];
	bool		nulls[3] = {false, true, true};
	List	   *parts = plmpg_shards(shop->store);
	int			level = NewGUCNestLevel();

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	/* Each shard counts its own. */
	(void) set_config_option("enable_partitionwise_aggregate", "on", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	values[0] = Int64GetDatum(count(psprintf("SELECT pg_catalog.count(s.%s) FROM %s AS s", shop->key_column, shop->source_rows), NULL));
	AtEOXact_GUC(false, level);
	if (!plmpg_hidden_rows(shop->source))
	{
		PlmpgIdentity caller = plmpg_become(shop->owner);
		PlmpgParams p = {0};

		plmpg_param(&p, TEXTOID, PointerGetDatum(shop->model), false);
		if (parts != NIL)
			values[1] = Int64GetDatum(count(psprintf("SELECT pg_catalog.sum(c.n) FROM (%s) AS c (n)", plmpg_shards_sql(
				parts, "SELECT pg_catalog.count(*) FROM %s")), NULL));
		else
		{
			values[1] = Int64GetDatum(count(psprintf("SELECT pg_catalog.count(*) FROM %s", shop->store_name), NULL));
			values[2] = Int64GetDatum(count(psprintf(
				"SELECT pg_catalog.count(*) FROM %s AS s JOIN %s AS v ON product_llm.key_text(v.key) = s.key"
				" WHERE s.text_hash <> pg_catalog.md5(v.content)::pg_catalog.uuid OR s.model <> product_llm.model_identity($1)",
				shop->store_name, plmpg_relation_name(shop->texts)), &p));
		}
		nulls[1] = false;
		nulls[2] = parts != NIL;	/* the shards know */
		plmpg_return_to(&caller);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
