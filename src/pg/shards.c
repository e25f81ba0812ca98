/*
 * shards.c -- asking the parts of a catalog that stands on several servers: see shards.h.
 */
#include "shards.h"

#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lockdefs.h"
#include "utils/array.h"
#include "utils/guc.h"

#include "sql.h"

List *
plmpg_shards(Oid side)
{
	List	   *names = NIL;
	ListCell   *cell;

	if (!has_subclass(side))
		return NIL;
	foreach(cell, find_inheritance_children(side, AccessShareLock))
		names = lappend(names, plmpg_relation_name(lfirst_oid(cell)));
	return names;
}

char *
plmpg_shards_sql(const List *parts, const char *query)
{
	const char *place = strstr(query, "%s");
	StringInfoData sql;
	ListCell   *cell;

	Assert(place != NULL);
	initStringInfo(&sql);
	foreach(cell, parts)
		appendStringInfo(&sql, "%s(%.*s%s%s)", sql.len > 0 ? " UNION ALL " : "", (int) (place - query), query,
						 (char *) lfirst(cell), place + 2);
	return sql.data;
}

char *
plmpg_shards_nearest(const List *parts, int64 most, bool among)
{
	return plmpg_shards_sql(parts, psprintf("SELECT s.key, product_llm.similarity(s.embedding, $1) AS cosine FROM %%s AS s%s"
											" ORDER BY 2 DESC, 1 LIMIT " INT64_FORMAT,
											among ? " WHERE s.key = ANY ($2)" : "", most));
}

void
plmpg_shards_settings(bool limited)
{
	static const char *const settings[][2] = {{"extra_float_digits", "1"}, {"cpu_tuple_cost", "100"}};

	for (int i = 0; i < (limited ? 2 : 1); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

typedef struct ShardScan
{
	int			n;
	StringInfoData key;
	PlmpgScored scored;
	void	   *arg;
} ShardScan;

static void
take_cosines(void *arg, TupleTableSlot *slot)
{
	ShardScan  *scan = arg;
	const char *key = plmpg_slot_key(slot, 1, &scan->key);
	bool		null;
	Datum		value = slot_getattr(slot, 2, &null);
	ArrayType  *array;
	int64		n;

	if (key == NULL || null)
		return;
	array = DatumGetArrayTypeP(value);
	scan->scored(scan->arg, key, plmpg_real_values(array, scan->n, "cosines", &n));
	if ((Pointer) array != DatumGetPointer(value))
		pfree(array);
}

/* Two lists of texts as one. */
static ArrayType *
both(ArrayType *a, ArrayType *b)
{
	Datum	   *values[2];
	int			n[2];

	deconstruct_array(a, TEXTOID, -1, false, TYPALIGN_INT, &values[0], NULL, &n[0]);
	deconstruct_array(b, TEXTOID, -1, false, TYPALIGN_INT, &values[1], NULL, &n[1]);
	values[0] = repalloc_huge(values[0], Max(n[0] + n[1], 1) * sizeof(Datum));
	memcpy(values[0] + n[0], values[1], n[1] * sizeof(Datum));
	return construct_array(values[0], n[0] + n[1], TEXTOID, -1, false, TYPALIGN_INT);
}

static ArrayType *
double_array(const double *values, int n)
{
	Datum	   *datums = palloc(n * sizeof(Datum));

	for (int i = 0; i < n; i++)
		datums[i] = Float8GetDatum(values[i]);
	return construct_array(datums, n, FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
}

/*
 * A shard computes its columns itself only when it groups by them; beside a limit their arguments travel, which are few rows
 * then.  Either way the cosines are the same function's.
 */
void
plmpg_shards_scan(const PlmpgShop *shop, int n, const float *vectors, int64 dimensions, const PlmpgWanted *wanted,
				  PlmpgScored scored, void *arg)
{
	ShardScan	scan = {.n = n, .scored = scored, .arg = arg};
	List	   *parts = plmpg_shards(shop->store);
	PlmpgParams p = {0};
	PlmpgParams q = {0};
	PlmpgIdentity caller;

	initStringInfo(&scan.key);
	plmpg_param(&p, FLOAT4ARRAYOID, PointerGetDatum(plmpg_real_array(vectors, n * dimensions)), false);
	q = p;
	plmpg_param(&p, TEXTARRAYOID, PointerGetDatum(wanted->keys), false);
	plmpg_param(&q, TEXTARRAYOID, PointerGetDatum(both(wanted->keys, wanted->without)), false);
	plmpg_param(&q, FLOAT8ARRAYOID, PointerGetDatum(double_array(wanted->weights, n)), false);
	caller = plmpg_become(shop->owner);
	plmpg_shards_settings(false);
	if (ARR_NDIM(wanted->keys) > 0)
		plmpg_sql(plmpg_shards_sql(parts, "SELECT s.key, product_llm.cosines(s.embedding, $1) FROM %s AS s"
								   " WHERE s.key = ANY ($2) GROUP BY 1, 2"),
				  &p, PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_cosines, &scan);
	if (wanted->most > 0)
	{
		char	   *nearest = psprintf("SELECT s.key, product_llm.cosines(s.embedding, $1) FROM %%s AS s WHERE s.key <> ALL ($2)"
									   " ORDER BY product_llm.nearness(s.embedding, $1, $3) DESC, s.key LIMIT " INT64_FORMAT,
									   wanted->most);

		plmpg_shards_settings(true);
		plmpg_sql(plmpg_shards_sql(parts, nearest), &q, PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_cosines, &scan);
	}
	plmpg_return_to(&caller);
}
