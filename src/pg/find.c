/*
 * find.c -- lists of keys, visibility, and nearest vectors: see find.h.
 */
#include "find.h"

#include <math.h>

#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "fn.h"
#include "shards.h"
#include "sql.h"

/* ---- lists ---- */

PlmpgFounds *
plmpg_founds(void)
{
	PlmpgFounds *list = palloc0(sizeof(PlmpgFounds));

	list->context = CurrentMemoryContext;
	return list;
}

PlmpgFound *
plmpg_founds_add(PlmpgFounds *list, const char *key)
{
	PlmpgFound *found;

	if (list->n == list->room)
	{
		MemoryContext old = MemoryContextSwitchTo(list->context);

		list->room = list->room == 0 ? 64 : list->room * 2;
		list->rows = list->rows == NULL ? palloc_extended(list->room * sizeof(PlmpgFound), MCXT_ALLOC_HUGE)
			: repalloc_huge(list->rows, list->room * sizeof(PlmpgFound));
		MemoryContextSwitchTo(old);
	}
	found = &list->rows[list->n++];
	memset(found, 0, sizeof(*found));
	found->key = MemoryContextStrdup(list->context, key);
	found->semantic = NAN;
	return found;
}

int
plmpg_by_score(const void *a, const void *b)
{
	const PlmpgFound *x = a,
			   *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return strcmp(x->key, y->key);
}

/* ---- keys by hash ---- */

typedef struct Bytes
{
	const char *data;
	int			len;
} Bytes;

typedef struct KeyEntry
{
	Bytes		key;			/* with a zero behind it */
	int64		number;
	uint32		hash;
	char		status;
} KeyEntry;

#define SH_PREFIX keytable
#define SH_ELEMENT_TYPE KeyEntry
#define SH_KEY_TYPE Bytes
#define SH_KEY key
#define SH_HASH_KEY(tb, k) hash_bytes((const unsigned char *) (k).data, (k).len)
#define SH_EQUAL(tb, a, b) ((a).len == (b).len && memcmp((a).data, (b).data, (a).len) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) ((a)->hash)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct PlmpgKeys
{
	MemoryContext context;
	keytable_hash *table;
};

PlmpgKeys *
plmpg_keys(void)
{
	PlmpgKeys  *keys = palloc(sizeof(PlmpgKeys));

	keys->context = CurrentMemoryContext;
	keys->table = keytable_create(CurrentMemoryContext, 64, NULL);
	return keys;
}

static int64 *
find_bytes(PlmpgKeys *keys, Bytes key, bool add)
{
	KeyEntry   *entry = keytable_lookup(keys->table, key);
	bool		found;

	if (entry == NULL && add)
	{
		key.data = MemoryContextStrdup(keys->context, key.data);
		entry = keytable_insert(keys->table, key, &found);
		entry->number = 0;
	}
	return entry == NULL ? NULL : &entry->number;
}

int64 *
plmpg_keys_find(PlmpgKeys *keys, const char *key, bool add)
{
	return find_bytes(keys, (Bytes) {key, (int) strlen(key)}, add);
}

int64 *
plmpg_keys_find_text(PlmpgKeys *keys, Datum key)
{
	text	   *t = DatumGetTextPP(key);
	int64	   *number = find_bytes(keys, (Bytes) {VARDATA_ANY(t), (int) VARSIZE_ANY_EXHDR(t)}, false);

	if ((Pointer) t != DatumGetPointer(key))
		pfree(t);
	return number;
}

int64
plmpg_keys_count(const PlmpgKeys *keys)
{
	return keys->table->members;
}

/* lets: only those whose number is 1. */
static ArrayType *
keys_array(PlmpgKeys *keys, bool lets)
{
	const char **strings = palloc_extended(Max(keys->table->members, 1) * sizeof(char *), MCXT_ALLOC_HUGE);
	keytable_iterator i;
	KeyEntry   *entry;
	int64		n = 0;

	keytable_start_iterate(keys->table, &i);
	while ((entry = keytable_iterate(keys->table, &i)) != NULL)
		if (!lets || entry->number == 1)
			strings[n++] = entry->key.data;
	return plmpg_text_array(strings, n);
}

ArrayType *
plmpg_keys_array(PlmpgKeys *keys)
{
	return keys_array(keys, false);
}

ArrayType *
plmpg_text_array(const char *const *strings, int64 n)
{
	Datum	   *values = palloc_extended(Max(n, 1) * sizeof(Datum), MCXT_ALLOC_HUGE);

	for (int64 i = 0; i < n; i++)
		values[i] = CStringGetTextDatum(strings[i]);
	return construct_array(values, (int) n, TEXTOID, -1, false, TYPALIGN_INT);
}

/* ---- who may be shown ---- */

typedef struct KeyRows
{
	PlmpgKeys  *keys;
	bool		flagged;		/* the second column says whether the filter lets it through */
	StringInfoData buffer;
} KeyRows;

const char *
plmpg_slot_key(TupleTableSlot *slot, int column, StringInfo buffer)
{
	bool		null;
	Datum		value = slot_getattr(slot, column, &null);
	text	   *key;

	if (null)
		return NULL;
	key = DatumGetTextPP(value);
	resetStringInfo(buffer);
	appendBinaryStringInfo(buffer, VARDATA_ANY(key), (int) VARSIZE_ANY_EXHDR(key));
	if ((Pointer) key != DatumGetPointer(value))
		pfree(key);
	return buffer->data;
}

static void
take_key(void *arg, TupleTableSlot *slot)
{
	KeyRows    *r = arg;
	const char *key = plmpg_slot_key(slot, 1, &r->buffer);
	bool		null = false;
	bool		lets;

	if (key == NULL)
		return;
	lets = !r->flagged || DatumGetBool(slot_getattr(slot, 2, &null));
	*plmpg_keys_find(r->keys, key, true) = lets && !null;
}

PlmpgKeys *
plmpg_visible_rows(const PlmpgShop *shop, const char *filter)
{
	KeyRows		r = {.keys = plmpg_keys(), .flagged = true};

	initStringInfo(&r.buffer);
	plmpg_sql(psprintf("SELECT %s, (%s) FROM %s", plmpg_shop_key_text(shop), filter == NULL ? "true" : filter,
					   shop->source_rows),
			  NULL, PLMPG_SQL_READ | (filter == NULL ? PLMPG_SQL_KEEP : 0), NULL, take_key, &r);
	return r.keys;
}

PlmpgKeys *
plmpg_visible_of(const PlmpgShop *shop, const char *filter, ArrayType *keys)
{
	KeyRows		r = {.keys = plmpg_keys()};
	PlmpgParams p = {0};

	initStringInfo(&r.buffer);
	plmpg_param(&p, TEXTARRAYOID, PointerGetDatum(keys), false);
	plmpg_sql(psprintf("SELECT %s FROM %s WHERE %s AND (%s)", plmpg_shop_key_text(shop), shop->source_rows,
					   plmpg_shop_key_among(shop, "$1"), filter == NULL ? "true" : filter),
			  &p, PLMPG_SQL_READ | (filter == NULL ? PLMPG_SQL_KEEP : 0), NULL, take_key, &r);
	return r.keys;
}

/* ---- nearest vectors ---- */

typedef struct NearRows
{
	PlmpgFounds *list;
	PlmpgKeys  *among;
	int64		most;			/* 0: no limit */
	int			key;			/* columns of a row */
	int			value;
	const float *vector;		/* when the value is an embedding, and not its cosine */
	int64		dimensions;
	float		worst;			/* nothing below this can come among the best */
	StringInfoData buffer;
} NearRows;

/* Is a better than b?  By cosine, then by key. */
static bool
nearer(const PlmpgFound *a, const PlmpgFound *b)
{
	return a->semantic > b->semantic || (a->semantic == b->semantic && strcmp(a->key, b->key) < 0);
}

static int
by_semantic(const void *a, const void *b)
{
	return nearer(a, b) ? -1 : nearer(b, a) ? 1 : 0;
}

/* Keep twice what is needed, then throw away the worse half: linear on the whole, and simple. */
static void
trim(NearRows *r)
{
	qsort(r->list->rows, r->list->n, sizeof(PlmpgFound), by_semantic);
	for (int64 i = r->most; i < r->list->n; i++)
		pfree((char *) r->list->rows[i].key);
	r->list->n = Min(r->list->n, r->most);
	if (r->most > 0 && r->list->n == r->most)
		r->worst = (float) r->list->rows[r->most - 1].semantic;
}

static void
take_near(void *arg, TupleTableSlot *slot)
{
	NearRows   *r = arg;
	const char *key;
	bool		null;
	Datum		value = slot_getattr(slot, r->value, &null);
	float		cosine;

	if (null)
		return;
	if (r->vector != NULL)
	{
		ArrayType  *array = DatumGetArrayTypeP(value);
		int64		n;
		const float *vector = plmpg_real_values(array, r->dimensions, "embedding", &n);

		plmpg_prefetch_next(vector, n * sizeof(float));
		cosine = plmpg_cosine(vector, r->vector, n, "vector");
		if ((Pointer) array != DatumGetPointer(value))
			pfree(array);
	}
	else
		cosine = DatumGetFloat4(value);
	if (cosine < r->worst)
		return;
	key = plmpg_slot_key(slot, r->key, &r->buffer);
	if (key == NULL)
		return;
	if (r->among != NULL)
	{
		int64	   *lets = plmpg_keys_find(r->among, key, false);

		if (lets == NULL || *lets != 1)
			return;
	}
	plmpg_founds_add(r->list, key)->semantic = cosine;
	if (r->most > 0 && r->list->n >= 2 * r->most + 64)
		trim(r);
}

#define TRIM_AFTER 32			/* rows that come by the index beyond those that are wanted */

/* The same by falling bounds of the cosine; false: no row that follows is among the best. */
static bool
take_bounded(void *arg, TupleTableSlot *slot, double bound)
{
	NearRows   *r = arg;

	if (r->list->n >= r->most + (r->worst > -2 ? TRIM_AFTER : 0))
		trim(r);
	if (bound + PLMPG_BOUND_SLACK < r->worst)
		return false;
	take_near(arg, slot);
	return true;
}

/*
 * How the nearest vectors are found among all without an index of ours.  A scan of a large table is worth starting parallel workers
 * for, and they need the cosine as a function; a small one is quicker here.
 */
#define HNSW "SELECT n.key, product_llm.similarity(n.embedding, $1) FROM (SELECT s.key, s.embedding FROM %1$s AS s" \
	" ORDER BY s.embedding::%3$s.vector(%4$d) OPERATOR(%3$s.<=>) $1::%3$s.vector(%4$d) LIMIT %2$s) AS n"
#define EXACT "SELECT s.key, product_llm.similarity(s.embedding, $1) AS cosine FROM %s AS s ORDER BY 2 DESC, 1 LIMIT %s"
#define SMALL_BLOCKS (64 * 1024 * 1024 / BLCKSZ)

static BlockNumber
blocks_of(Oid relid)
{
	Relation	rel = relation_open(relid, AccessShareLock);
	BlockNumber blocks = RELKIND_HAS_STORAGE(rel->rd_rel->relkind) ? RelationGetNumberOfBlocks(rel) : MaxBlockNumber;

	relation_close(rel, AccessShareLock);
	return blocks;
}

/* SQL for the nearest among all rows by pgvector's index; NULL when the owner has not asked for it, or pgvector is gone, and its index with it. */
static char *
hnsw_sql(const PlmpgShop *shop, int64 most, int dimensions)
{
	char	   *space = NULL;

	if (strcmp(shop->nearest, "hnsw") == 0)
		space = plmpg_sql_string(
				"SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_extension AS e"
				" JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'vector'",
				NULL, PLMPG_SQL_READ | PLMPG_SQL_KEEP);
	return space == NULL ? NULL : psprintf(HNSW, shop->store_name, psprintf(INT64_FORMAT, most), space, dimensions);
}

/*
 * Settings of pgvector (0.8) that let its index go on until the limit is reached, for this statement.  A session that asks for a
 * wider search than ours has it.
 */
static void
set_hnsw(int64 most)
{
	const char *asked = GetConfigOption("hnsw.ef_search", true, false);
	int64		ef = Max(Max(40, Min(1000, most)), asked != NULL ? atoi(asked) : 0);

	(void) set_config_option("hnsw.iterative_scan", "relaxed_order", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, DEBUG1, false);
	(void) set_config_option("hnsw.ef_search", psprintf(INT64_FORMAT, ef), PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true,
							 DEBUG1, false);
}

/* By the exact index, by workers over a large table, or by looking at every row here. */
static void
nearest_here(const PlmpgShop *shop, const float *vector, PlmpgParams *p, NearRows *r)
{
	r->vector = vector;
	if (plmpg_scan_indexed(shop, 1, vector, r->dimensions, NULL, r->most + TRIM_AFTER, &r->key, &r->value, take_bounded, r))
		return;
	if (r->among == NULL && blocks_of(shop->store) > SMALL_BLOCKS)
	{
		r->vector = NULL;
		plmpg_sql(psprintf(EXACT, shop->store_name, psprintf(INT64_FORMAT, r->most)), p, PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL,
				  take_near, r);
	}
	else
		plmpg_sql(psprintf("SELECT s.key, s.embedding FROM %s AS s", shop->store_name), NULL,
				  PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_near, r);
}

PlmpgFounds *
plmpg_nearest(const PlmpgShop *shop, ArrayType *vector, int64 most, PlmpgKeys *among)
{
	NearRows	r = {.list = plmpg_founds(), .among = among, .most = most, .worst = -2, .key = 1, .value = 2};
	PlmpgParams p = {0};
	PlmpgIdentity caller;
	List	   *parts = plmpg_shards(shop->store);
	char	   *sql = NULL;
	const float *values = plmpg_real_values(vector, -1, "vector", &r.dimensions);

	initStringInfo(&r.buffer);
	if (most == 0)
		return r.list;
	plmpg_param(&p, FLOAT4ARRAYOID, PointerGetDatum(vector), false);
	caller = plmpg_become(shop->owner);
	if (parts != NIL)
	{
		if (among != NULL)
			plmpg_param(&p, TEXTARRAYOID, PointerGetDatum(keys_array(among, true)), false);
		sql = plmpg_shards_nearest(parts, most, among != NULL);
		plmpg_shards_settings(true);
	}
	else if (among == NULL)
	{
		sql = hnsw_sql(shop, most, (int) r.dimensions);
		if (sql != NULL)
			set_hnsw(most);
	}
	else if (plmpg_keys_count(among) <= 1000)
	{
		plmpg_param(&p, TEXTARRAYOID, PointerGetDatum(plmpg_keys_array(among)), false);
		sql = psprintf("SELECT s.key, product_llm.similarity(s.embedding, $1) FROM %s AS s WHERE s.key = ANY ($2)",
					   shop->store_name);
	}
	if (sql != NULL)
		plmpg_sql(sql, &p, PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_near, &r);
	else
		nearest_here(shop, values, &p, &r);
	plmpg_return_to(&caller);
	trim(&r);
	for (int64 i = 0; i < r.list->n; i++)
		r.list->rows[i].semantic_rank = (int) i + 1;
	return r.list;
}

PlmpgFounds *
plmpg_cosines(const PlmpgShop *shop, ArrayType *vector, ArrayType *keys)
{
	NearRows	r = {.list = plmpg_founds(), .worst = -2, .key = 1, .value = 2};
	List	   *parts = plmpg_shards(shop->store);
	PlmpgParams p = {0};
	PlmpgIdentity caller;
	char	   *sql;

	initStringInfo(&r.buffer);
	plmpg_param(&p, FLOAT4ARRAYOID, PointerGetDatum(vector), false);
	plmpg_param(&p, TEXTARRAYOID, PointerGetDatum(keys), false);
	caller = plmpg_become(shop->owner);
	if (parts != NIL)
	{
		/* What a shard groups by it computes itself: cosines travel, not vectors. */
		sql = plmpg_shards_sql(parts, "SELECT s.key, product_llm.similarity(s.embedding, $1) FROM %s AS s"
							   " WHERE s.key = ANY ($2) GROUP BY 1, 2");
		plmpg_shards_settings(false);
	}
	else
		sql = psprintf("SELECT s.key, product_llm.similarity(s.embedding, $1) FROM %s AS s WHERE s.key = ANY ($2)",
					   shop->store_name);
	plmpg_sql(sql, &p, PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_near, &r);
	plmpg_return_to(&caller);
	return r.list;
}

/* ---- vectors of some products ---- */

static void
take_vector(void *arg, TupleTableSlot *slot)
{
	PlmpgVectors *v = arg;
	MemoryContext old = MemoryContextSwitchTo(v->context);
	StringInfoData buffer;
	const char *key;
	bool		null;
	ArrayType  *array = DatumGetArrayTypeP(slot_getattr(slot, 2, &null));
	int64		n;
	const float *values = plmpg_real_values(array, -1, "embedding", &n);

	initStringInfo(&buffer);
	key = plmpg_slot_key(slot, 1, &buffer);
	if (v->n == v->room)
	{
		v->room = v->room == 0 ? 64 : v->room * 2;
		v->rows = v->rows == NULL ? palloc(v->room * sizeof(float *)) : repalloc(v->rows, v->room * sizeof(float *));
	}
	if (v->n > 0 && n != v->dimensions)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("embeddings of a catalog have different dimensions, " INT64_FORMAT " and " INT64_FORMAT, n, v->dimensions)));
	v->dimensions = n;
	v->rows[v->n] = palloc(n * sizeof(float));
	memcpy(v->rows[v->n], values, n * sizeof(float));
	*plmpg_keys_find(v->keys, key, true) = v->n++;
	MemoryContextSwitchTo(old);
}

PlmpgVectors *
plmpg_vectors(const PlmpgShop *shop, ArrayType *keys)
{
	PlmpgVectors *v = palloc0(sizeof(PlmpgVectors));
	PlmpgParams p = {0};
	PlmpgIdentity caller;

	v->context = CurrentMemoryContext;
	v->keys = plmpg_keys();
	plmpg_param(&p, TEXTARRAYOID, PointerGetDatum(keys), false);
	caller = plmpg_become(shop->owner);
	plmpg_sql(psprintf("SELECT s.key, s.embedding FROM %s AS s WHERE s.key = ANY ($1)", shop->store_name), &p,
			  PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_vector, v);
	plmpg_return_to(&caller);
	return v;
}

const float *
plmpg_vectors_of(const PlmpgVectors *vectors, const char *key)
{
	int64	   *row = plmpg_keys_find(vectors->keys, key, false);

	return row == NULL ? NULL : vectors->rows[*row];
}
