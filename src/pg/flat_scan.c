/*
 * flat_scan.c -- scans of the exact index: see flat.h.
 *
 * A pass over all pages keeps the best entries that come after those given out already, as many as a batch holds; when they have
 * been given out, another pass looks for the next, more of them.  Entries are ordered by bound, then by tuple identifier, so that
 * the end of a batch is a place in an order that does not change: an entry's bound depends on its codes and the query alone.
 */
#include "flat.h"

#include <math.h>

#include "access/relscan.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "commands/defrem.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "pgstat.h"
#include "storage/buf_internals.h"
#include "storage/predicate.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "flat_page.h"

/* Entries of the first batch, and how many times more each further one has. */
#define FIRST_BATCH 4000
#define MORE 8

/* What the bound of an entry says. */
typedef enum Known
{
	KNOWN_BOUND,				/* not below the exact value */
	KNOWN_NOTHING,				/* nothing, but the operator can be asked */
	KNOWN_ERROR,				/* the operator has an error for it */
	KNOWN_NULL					/* there is no value */
} Known;

typedef struct Entry
{
	float		bound;			/* +infinity: KNOWN_NOTHING, KNOWN_ERROR; -infinity: KNOWN_NULL */
	uint16		known;
	ItemPointerData tid;
} Entry;

typedef struct FlatSearch
{
	Relation	index;
	MemoryContext context;
	uint16		what;			/* of the query: its dimensions, or FLAT_NO_DIRECTION, or FLAT_NULL */
	PlmCodeQuery query;
	void	   *memory;			/* of the query */
	Entry	   *batch;
	int64		room;			/* of the batch */
	int64		n;
	int64		given;			/* of the batch */
	bool		heaped;			/* the batch is full, and its worst entry on top */
	uint32		passes;
	bool		begun;
	Entry		last;			/* of the batch before */
	bool		again;			/* there was such a batch */
} FlatSearch;

/* ---- the order, and the batch ---- */

static inline bool
before(const Entry *a, const Entry *b)
{
	if (a->bound != b->bound)
		return a->bound > b->bound;
	return ItemPointerCompare((ItemPointer) &a->tid, (ItemPointer) &b->tid) < 0;
}

static int
by_place(const void *a, const void *b)
{
	return before(a, b) ? -1 : before(b, a) ? 1 : 0;
}

/* Entry e goes down from place i to where no worse one is below it. */
static void
sink(FlatSearch *s, int64 i, Entry e)
{
	for (int64 child; (child = 2 * i + 1) < s->n; i = child)
	{
		if (child + 1 < s->n && before(&s->batch[child], &s->batch[child + 1]))
			child++;
		if (before(&s->batch[child], &e))
			break;
		s->batch[i] = s->batch[child];
	}
	s->batch[i] = e;
}

static void
offer(FlatSearch *s, float bound, Known known, const ItemPointerData *tid)
{
	Entry		e = {.bound = bound, .known = known, .tid = *tid};

	if (s->again && !before(&s->last, &e))
		return;
	if (s->n < s->room)
	{
		s->batch[s->n++] = e;
		if (s->n < s->room)
			return;
		for (int64 i = s->n / 2 - 1; i >= 0; i--)
			sink(s, i, s->batch[i]);
		s->heaped = true;
	}
	else if (before(&e, &s->batch[0]))
		sink(s, 0, e);
}

/* ---- a pass ---- */

static void
read_codes(FlatSearch *s, Page page, int dimensions, Page next)
{
	FlatCodes	c = flat_codes(page, dimensions);
	int			n = flat_opaque(page)->count;
	float		bounds[FLAT_MAX_ROOM];

	if (s->what == dimensions)
		plm_code_bounds(&s->query, n, c.codes, c.scale, c.residual, bounds, next == NULL ? NULL : next + FLAT_CODES_AT);
	for (int i = 0; i < n; i++)
		if (s->what != dimensions)
			offer(s, s->what == FLAT_NULL ? -INFINITY : INFINITY, s->what == FLAT_NULL ? KNOWN_NULL : KNOWN_ERROR, &c.tid[i]);
		else if (!s->heaped || bounds[i] >= s->batch[0].bound)
			offer(s, bounds[i], KNOWN_BOUND, &c.tid[i]);
}

static void
read_bare(FlatSearch *s, Page page)
{
	for (int i = 0; i < flat_opaque(page)->count; i++)
	{
		const FlatBare *row = &flat_bare(page)[i];

		if (row->what == FLAT_NULL || s->what == FLAT_NULL)
			offer(s, -INFINITY, KNOWN_NULL, &row->tid);
		else
			offer(s, INFINITY, row->what == s->what && s->what != FLAT_NO_DIRECTION ? KNOWN_NOTHING : KNOWN_ERROR, &row->tid);
	}
}

/*
 * Where a backend has found the pages of an index.  Looking a page up costs as much as multiplying it: buffers are tried first
 * that had it before.  Lives as long as the relcache entry, which may go whenever catalogs are read.
 */
typedef struct Places
{
	BlockNumber n;
	Buffer		buffer[FLEXIBLE_ARRAY_MEMBER];	/* InvalidBuffer: not known */
} Places;

static void
make_places(Relation index, BlockNumber blocks)
{
	Places	   *old = index->rd_amcache;
	BlockNumber n = blocks + blocks / 8;
	Places	   *places;

	if (old != NULL && old->n >= blocks)
		return;
	places = MemoryContextAllocExtended(index->rd_indexcxt, offsetof(Places, buffer) + (Size) n * sizeof(Buffer),
										MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	places->n = n;
	if (old != NULL)
	{
		memcpy(places->buffer, old->buffer, old->n * sizeof(Buffer));
		pfree(old);
	}
	index->rd_amcache = places;
}

/* So far ahead of those that are pinned is looked. */
#define FURTHER 6

/*
 * Pin a page.  One that is pinned where it was does not count as used again, which would let the pages of a busy index be evicted:
 * each is looked up in full now and then.  What is needed soon is fetched from memory: the descriptor of a buffer further on, and
 * both ends of the page; its codes are, while those of the page before are multiplied.
 */
static Buffer
pin_page(FlatSearch *s, BlockNumber block)
{
	Places	   *places = s->index->rd_amcache;
	Buffer		buffer = places != NULL && block < places->n && (block + s->passes) % 16 != 0 ? places->buffer[block] : InvalidBuffer;
	const char *page;

	if (buffer == InvalidBuffer || !plmpg_pin_recent(s->index, block, buffer))
	{
		buffer = ReadBuffer(s->index, block);
		places = s->index->rd_amcache;
		if (places != NULL && block < places->n)
			places->buffer[block] = buffer;
	}
	page = (const char *) BufferGetPage(buffer);
	__builtin_prefetch(page);
	for (int at = FLAT_PAGE_END - 256; at < BLCKSZ; at += 64)
		__builtin_prefetch(page + at);
	if (places != NULL && block + FURTHER < places->n && places->buffer[block + FURTHER] > 0)
		__builtin_prefetch(GetBufferDescriptor(places->buffer[block + FURTHER] - 1));
	return buffer;
}

/* Pages that are pinned before they are read. */
#define AHEAD 2

/* Pages that are added meanwhile hold rows that are younger than the snapshot. */
static void
pass(FlatSearch *s)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(s->index);
	int			dimensions = flat_read_meta(s->index).dimensions;
	Buffer		pinned[AHEAD + 1];
	BlockNumber next = FLAT_META_BLOCK + 1;

	s->n = s->given = 0;
	s->heaped = false;
	s->passes++;
	make_places(s->index, blocks);
	for (BlockNumber block = next; block < blocks; block++)
	{
		Buffer		buffer;
		Page		page;

		CHECK_FOR_INTERRUPTS();
		for (; next < blocks && next <= block + AHEAD; next++)
			pinned[next % (AHEAD + 1)] = pin_page(s, next);
		buffer = pinned[block % (AHEAD + 1)];
		flat_lock_page(s->index, buffer, BUFFER_LOCK_SHARE, &dimensions);
		page = BufferGetPage(buffer);
		if (!PageIsNew(page) && flat_opaque(page)->kind == FLAT_CODES)
			read_codes(s, page, dimensions, block + 1 < blocks ? BufferGetPage(pinned[(block + 1) % (AHEAD + 1)]) : NULL);
		else if (!PageIsNew(page))
			read_bare(s, page);
		UnlockReleaseBuffer(buffer);
	}
	if (s->n > 1)
		qsort(s->batch, s->n, sizeof(Entry), by_place);
}

/* The next batch: larger, as far as work_mem goes. */
static void
next_batch(FlatSearch *s)
{
	int64		most = Max(FIRST_BATCH, (int64) work_mem * 1024 / (int64) sizeof(Entry));
	int64		room = s->begun ? Min(s->room * MORE, Max(most, s->room)) : s->room;

	if (s->begun)
	{
		s->last = s->batch[s->n - 1];
		s->again = true;
	}
	if (s->batch == NULL || room != s->room)
	{
		if (s->batch != NULL)
			pfree(s->batch);
		s->batch = NULL;
		s->batch = MemoryContextAllocHuge(s->context, room * sizeof(Entry));
		s->room = room;
	}
	s->begun = true;
	pass(s);
}

static FlatSearch *
search_on(Relation index)
{
	FlatSearch *s = palloc0(sizeof(FlatSearch));

	s->index = index;
	s->context = CurrentMemoryContext;
	s->what = FLAT_NULL;
	s->passes = (uint32) (plmpg_random() * 16);
	return s;
}

/* Start from the best: vectors (n, what), of that many dimensions when they have a direction. */
static void
search_begin(FlatSearch *s, uint16 what, int n, const float *vectors, const double *weights, int64 wanted)
{
	/* A second layer is as good as free beside the reading of rows, but not beside many vectors. */
	int			layers = n <= 4 ? 2 : 1;

	if (s->memory != NULL)
		pfree(s->memory);
	s->memory = NULL;
	s->what = what;
	if (what < FLAT_NO_DIRECTION)
	{
		s->memory = MemoryContextAlloc(s->context, plm_code_query_bytes(n, layers, what) + 64);
		if (!plm_code_query(&s->query, n, layers, what, vectors, weights, (void *) TYPEALIGN(64, s->memory)))
			s->what = FLAT_NO_DIRECTION;
	}
	s->begun = s->again = false;
	s->n = s->given = 0;
	if (s->batch == NULL)
		s->room = Max(FIRST_BATCH, Min(wanted, (int64) work_mem * 1024 / (int64) sizeof(Entry)));
	pgstat_count_index_scan(s->index);
}

/* The next entry, or NULL when all have been given out. */
static const Entry *
search_next(FlatSearch *s)
{
	while (s->given == s->n)
	{
		if (s->begun && s->n < s->room)
			return NULL;
		next_batch(s);
	}
	return &s->batch[s->given++];
}

/* ---- the executor's scans ---- */

IndexScanDesc
plmpg_flat_begin(Relation index, int keys, int orders)
{
	IndexScanDesc scan = RelationGetIndexScan(index, keys, orders);

	scan->opaque = search_on(index);
	if (orders > 0)
	{
		scan->xs_orderbyvals = palloc0(orders * sizeof(Datum));
		scan->xs_orderbynulls = palloc(orders * sizeof(bool));
		memset(scan->xs_orderbynulls, true, orders * sizeof(bool));
	}
	return scan;
}

/* Without ORDER BY all rows are as good as one another. */
void
plmpg_flat_rescan(IndexScanDesc scan, ScanKey keys, int n, ScanKey orders, int n_orders)
{
	FlatValue	value = {.what = FLAT_NULL};
	MemoryContext query = AllocSetContextCreate(CurrentMemoryContext, "product_flat query", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(query);

	if (orders != NULL && scan->numberOfOrderBys > 0)
		memmove(scan->orderByData, orders, scan->numberOfOrderBys * sizeof(ScanKeyData));
	if (scan->numberOfOrderBys > 0)
		value = flat_query(scan->orderByData[0].sk_argument, (scan->orderByData[0].sk_flags & SK_ISNULL) != 0);
	search_begin(scan->opaque, value.what, 1, value.values, NULL, FIRST_BATCH);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(query);
}

bool
plmpg_flat_next(IndexScanDesc scan, ScanDirection direction)
{
	const Entry *e;

	if (!ScanDirectionIsForward(direction))
		elog(ERROR, "an index of type product_flat is only scanned forward");
	e = search_next(scan->opaque);
	if (e == NULL)
		return false;
	scan->xs_heaptid = e->tid;
	scan->xs_recheck = false;
	if (scan->numberOfOrderBys > 0)
	{
		/* Where the operator has an error it is not asked before the filter has been: the row comes first as it is. */
		scan->xs_recheckorderby = e->known == KNOWN_BOUND || e->known == KNOWN_NOTHING;
		scan->xs_orderbynulls[0] = e->known == KNOWN_NULL;
		scan->xs_orderbyvals[0] = e->known == KNOWN_NULL ? (Datum) 0 : Float8GetDatum(1 - (double) e->bound);
	}
	return true;
}

void
plmpg_flat_end(IndexScanDesc scan)
{
	FlatSearch *s = scan->opaque;

	if (s->memory != NULL)
		pfree(s->memory);
	if (s->batch != NULL)
		pfree(s->batch);
	pfree(s);
}

/* ---- the extension's own scans ---- */

/*
 * Is it a complete product_flat index on this column alone, that serves old snapshots as well?  One built over updates that it
 * does not know of does not: the planner has the same condition.
 */
static bool
serves(Oid indexid, AttrNumber column, Oid am)
{
	Relation	index = index_open(indexid, AccessShareLock);
	bool		serves = index->rd_rel->relam == am && index->rd_index->indisvalid && index->rd_index->indnatts == 1 &&
		index->rd_index->indkey.values[0] == column && RelationGetIndexPredicate(index) == NIL &&
		(!index->rd_index->indcheckxmin ||
		 TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data), TransactionXmin));

	index_close(index, NoLock);
	return serves;
}

Oid
plmpg_flat_index(Relation heap, const char *column)
{
	AttrNumber	number = get_attnum(RelationGetRelid(heap), column);
	Oid			am = get_index_am_oid("product_flat", true);
	Oid			found = InvalidOid;
	List	   *indexes;
	ListCell   *cell;

	if (!OidIsValid(am) || number <= 0)
		return InvalidOid;
	indexes = RelationGetIndexList(heap);
	foreach(cell, indexes)
	{
		if (!OidIsValid(found) && serves(lfirst_oid(cell), number, am))
			found = lfirst_oid(cell);
	}
	list_free(indexes);
	return found;
}

/* Reads rows by the entries of a search, until it is enough. */
static void
take_rows(FlatSearch *s, Relation heap, PlmpgFlatTake take, void *arg)
{
	Snapshot	snapshot = GetActiveSnapshot();
	IndexFetchTableData *fetch = table_index_fetch_begin(heap);
	TupleTableSlot *slot = table_slot_create(heap, NULL);
	MemoryContext row = AllocSetContextCreate(CurrentMemoryContext, "product_flat row", ALLOCSET_DEFAULT_SIZES);
	const Entry *e;
	bool		more = true;

	while (more && (e = search_next(s)) != NULL && e->known != KNOWN_NULL)
	{
		ItemPointerData tid = e->tid;
		bool		again = false;
		bool		dead = false;
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		if (!table_index_fetch_tuple(fetch, &tid, snapshot, slot, &again, &dead))
			continue;
		old = MemoryContextSwitchTo(row);
		more = take(arg, slot, e->bound);
		MemoryContextSwitchTo(old);
		MemoryContextReset(row);
	}
	MemoryContextDelete(row);
	ExecDropSingleTupleTableSlot(slot);
	table_index_fetch_end(fetch);
}

void
plmpg_flat_best(Relation heap, Relation index, int n, const float *vectors, int64 dimensions, const double *weights,
				int64 wanted, PlmpgFlatTake take, void *arg)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "product_flat search", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	FlatSearch *s = search_on(index);

	Assert(n >= 1 && n <= PLMPG_FLAT_VECTORS);
	if (dimensions < 1 || dimensions > FLAT_MAX_DIMENSIONS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("vectors have " INT64_FORMAT " dimensions, an index of type product_flat holds at most %d",
						dimensions, FLAT_MAX_DIMENSIONS),
				 errhint("Drop the index to search without it.")));
	PredicateLockRelation(index, GetActiveSnapshot());
	search_begin(s, (uint16) dimensions, n, vectors, weights, wanted);
	if (s->what == FLAT_NO_DIRECTION)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("vector has length zero or a component that is not finite, and so no direction to compare"),
				 errhint("Search with a vector that a model has made.")));
	take_rows(s, heap, take, arg);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
