/*
 * scan.c -- products of a catalog against several vectors: see find.h.
 */
#include "find.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "fn.h"
#include "sql.h"

#define SCAN_ROWS 64			/* that are multiplied at once */

PlmpgAgainst *
plmpg_against(int64 n, const float *vectors, int64 dimensions)
{
	PlmpgAgainst *a = palloc0(sizeof(PlmpgAgainst));

	a->n = n;
	a->dimensions = dimensions;
	a->memory = palloc(plm_pack_bytes(PLM_PREC_F32, n, dimensions) + 64);
	a->packed = (PlmPacked) {.precision = PLM_PREC_F32, .n = n, .k = dimensions, .data = (void *) TYPEALIGN(64, a->memory)};
	plm_pack(PLM_PREC_F32, n, dimensions, vectors, (void *) a->packed.data);
	return a;
}

void
plmpg_against_rows(const PlmpgAgainst *a, int64 rows, const float *row, float *cosines, void *scratch)
{
	plm_linear(&a->packed, NULL, rows, row, a->dimensions, NULL, cosines, a->n, PLM_ACT_NONE, scratch);
}

typedef struct VectorScan
{
	PlmpgAgainst *against;
	float	   *rows;			/* (SCAN_ROWS, dimensions) */
	float	   *cosines;		/* (SCAN_ROWS, n) */
	void	   *scratch;
	StringInfoData keys[SCAN_ROWS];
	int			filled;
	PlmpgScored scored;
	void	   *arg;
} VectorScan;

static void
score_rows(VectorScan *scan)
{
	if (scan->filled == 0)
		return;
	plmpg_against_rows(scan->against, scan->filled, scan->rows, scan->cosines, scan->scratch);
	for (int i = 0; i < scan->filled; i++)
		scan->scored(scan->arg, scan->keys[i].data, scan->cosines + i * scan->against->n);
	scan->filled = 0;
}

static void
take_scanned(void *arg, TupleTableSlot *slot)
{
	VectorScan *scan = arg;
	const PlmpgAgainst *a = scan->against;
	bool		null;
	Datum		value = slot_getattr(slot, 2, &null);
	ArrayType  *array = DatumGetArrayTypeP(value);
	int64		n;
	const float *vector = plmpg_real_values(array, a->dimensions, "embedding", &n);
	const char *key = plmpg_slot_key(slot, 1, &scan->keys[scan->filled]);

	plmpg_prefetch_next(vector, n * sizeof(float));
	if (key != NULL)
	{
		memcpy(scan->rows + scan->filled * a->dimensions, vector, n * sizeof(float));
		scan->filled++;
	}
	if ((Pointer) array != DatumGetPointer(value))
		pfree(array);
	if (scan->filled == SCAN_ROWS)
		score_rows(scan);
}

void
plmpg_scan(const PlmpgShop *shop, ArrayType *keys, int n, const float *vectors, int64 dimensions, PlmpgScored scored, void *arg)
{
	VectorScan *scan = palloc0(sizeof(VectorScan));
	PlmpgParams p = {0};
	PlmpgIdentity caller;

	scan->against = plmpg_against(n, vectors, dimensions);
	scan->scored = scored;
	scan->arg = arg;
	scan->rows = palloc(SCAN_ROWS * dimensions * sizeof(float));
	scan->cosines = palloc(SCAN_ROWS * n * sizeof(float));
	scan->scratch = (void *) TYPEALIGN(64, palloc(plm_linear_scratch(&scan->against->packed, SCAN_ROWS) + 64));
	for (int i = 0; i < SCAN_ROWS; i++)
		initStringInfo(&scan->keys[i]);
	if (keys != NULL)
		plmpg_param(&p, TEXTARRAYOID, PointerGetDatum(keys), false);
	caller = plmpg_become(shop->owner);
	plmpg_sql(psprintf("SELECT s.key, s.embedding FROM %s AS s%s", shop->store_name, keys == NULL ? "" : " WHERE s.key = ANY ($1)"),
			  &p, PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_scanned, scan);
	plmpg_return_to(&caller);
	score_rows(scan);
}

/* ---- the nearest by the exact index ---- */

typedef struct NearestScan
{
	PlmpgAgainst *against;
	float	   *cosines;		/* (n) */
	int			key;
	int			embedding;
	StringInfoData buffer;
	PlmpgBounded take;
	void	   *arg;
} NearestScan;

static bool
take_indexed(void *arg, TupleTableSlot *row, double bound)
{
	NearestScan *scan = arg;
	bool		null;
	Datum		value = slot_getattr(row, scan->embedding, &null);
	const char *key = plmpg_slot_key(row, scan->key, &scan->buffer);
	int64		n;

	if (null || key == NULL)
		return true;
	plmpg_against_rows(scan->against, 1, plmpg_real_values(DatumGetArrayTypeP(value), scan->against->dimensions, "embedding", &n),
					   scan->cosines, NULL);
	return scan->take(scan->arg, key, scan->cosines, bound);
}

bool
plmpg_scan_indexed(const PlmpgShop *shop, int n, const float *vectors, int64 dimensions, const double *weights, int64 wanted,
				   int *key, int *embedding, PlmpgFlatTake take, void *arg)
{
	Relation	store = relation_open(shop->store, AccessShareLock);
	Oid			indexed = plmpg_flat_index(store, "embedding");

	if (OidIsValid(indexed))
	{
		Relation	index = relation_open(indexed, AccessShareLock);

		*key = get_attnum(shop->store, "key");
		*embedding = get_attnum(shop->store, "embedding");
		plmpg_flat_best(store, index, n, vectors, dimensions, weights, wanted, take, arg);
		relation_close(index, AccessShareLock);
	}
	relation_close(store, AccessShareLock);
	return OidIsValid(indexed);
}

bool
plmpg_scan_nearest(const PlmpgShop *shop, int n, const float *vectors, int64 dimensions, const double *weights, int64 wanted,
				   PlmpgBounded take, void *arg)
{
	NearestScan scan = {.against = plmpg_against(n, vectors, dimensions), .cosines = palloc(n * sizeof(float)), .take = take, .arg = arg};

	initStringInfo(&scan.buffer);
	return plmpg_scan_indexed(shop, n, vectors, dimensions, weights, wanted, &scan.key, &scan.embedding, take_indexed, &scan);
}
