/*
 * flat_build.c -- CREATE INDEX of the exact index, by one process or several: see flat.h.
 *
 * Every process reads its part of the table, codes rows onto a page of its own of each kind, and adds a page to the index when it is
 * full; several at a time, for the sake of the others, who wait meanwhile.  What is left on pages that are not full the leader puts
 * together, so that an index has as many pages as one process would have filled; only their order differs.
 */
#include "flat.h"

#include "access/parallel.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xloginsert.h"
#include "catalog/index.h"
#include "optimizer/optimizer.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "utils/snapmgr.h"

#include "flat_page.h"

/* What one process has built. */
typedef struct Share
{
	double		heap_rows;
	double		rows;
	bool		broken;			/* HOT chains: IndexInfo.ii_BrokenHotChain */
	bool		open[FLAT_KINDS];	/* has rows that are not in the index yet */
	PGAlignedBlock page[FLAT_KINDS];
} Share;

/* In shared memory, where workers take part. */
typedef struct Building
{
	Oid			heap;
	Oid			index;
	bool		concurrent;
	bool		workers;		/* more than one process may extend the index */
	pg_atomic_uint32 dimensions;	/* 0: no process has met a row with a direction */
	Share		share[FLEXIBLE_ARRAY_MEMBER];	/* the leader's, then those of workers by number */
} Building;

#define BATCH 32

/* One process's view. */
typedef struct Builder
{
	Relation	index;
	Building   *all;
	Share	   *mine;
	int			n;				/* full pages that are not in the index yet */
	PGAlignedBlock *batch;		/* (BATCH) */
	int			dimensions;		/* 0: not looked up, or not settled yet */
	BlockNumber target[FLAT_KINDS]; /* the page added last */
	MemoryContext row;
} Builder;

/* ---- rows onto pages ---- */

static void
log_pages(Relation index, BlockNumber from, BlockNumber end)
{
	if (RelationNeedsWAL(index))
		log_newpage_range(index, MAIN_FORKNUM, from, end, false);
}

static void
flush(Builder *b)
{
	BlockNumber first = InvalidBlockNumber;

	if (b->all->workers)
		LockRelationForExtension(b->index, ExclusiveLock);
	for (int i = 0; i < b->n; i++)
	{
		Page		page = b->batch[i].data;
		Buffer		buffer = flat_extend(b->index, MAIN_FORKNUM);

		memcpy(BufferGetPage(buffer), page, BLCKSZ);
		MarkBufferDirty(buffer);
		b->target[flat_opaque(page)->kind] = BufferGetBlockNumber(buffer);
		if (i == 0)
			first = BufferGetBlockNumber(buffer);
		UnlockReleaseBuffer(buffer);
	}
	if (b->all->workers)
		UnlockRelationForExtension(b->index, ExclusiveLock);
	if (b->n > 0)
		log_pages(b->index, first, first + b->n);
	b->n = 0;
}

/* This process's page of a kind is full, or the last. */
static void
close_page(Builder *b, FlatKind kind)
{
	if (b->n == BATCH)
		flush(b);
	memcpy(b->batch[b->n++].data, b->mine->page[kind].data, BLCKSZ);
	b->mine->open[kind] = false;
}

/* This process's page of a kind, with room. */
static Page
page_of(Builder *b, FlatKind kind)
{
	Page		page = b->mine->page[kind].data;

	if (b->mine->open[kind] && flat_opaque(page)->count == flat_room(kind, b->dimensions))
		close_page(b, kind);
	if (!b->mine->open[kind])
		flat_init_page(page, kind);
	b->mine->open[kind] = true;
	return page;
}

/* The first row that has a direction, of whichever process, says how many dimensions there are. */
static void
settle_dimensions(Builder *b, int dimensions)
{
	uint32		settled = 0;

	b->dimensions = pg_atomic_compare_exchange_u32(&b->all->dimensions, &settled, (uint32) dimensions) ? dimensions : (int) settled;
}

static void
build_row(Relation index, ItemPointer tid, Datum *values, bool *nulls, bool alive, void *arg)
{
	Builder    *b = arg;
	MemoryContext old = MemoryContextSwitchTo(b->row);
	FlatValue	value = flat_value(values[0], nulls[0]);

	if (b->dimensions == 0 && value.what < FLAT_NO_DIRECTION)
		settle_dimensions(b, value.what);
	flat_add(page_of(b, flat_kind(&value, b->dimensions)), b->dimensions, &value, tid);
	b->mine->rows++;
	MemoryContextSwitchTo(old);
	MemoryContextReset(b->row);
}

/* This process's part of the table; scan: NULL for all of it. */
static Builder
build_part(Relation heap, Relation index, IndexInfo *info, Building *all, int number, TableScanDesc scan)
{
	Builder		b = {.index = index, .all = all, .mine = &all->share[number], .target = {InvalidBlockNumber, InvalidBlockNumber}};

	b.batch = palloc(BATCH * sizeof(PGAlignedBlock));
	b.row = AllocSetContextCreate(CurrentMemoryContext, "product_flat row", ALLOCSET_DEFAULT_SIZES);
	b.mine->heap_rows = table_index_build_scan(heap, index, info, true, number == 0, build_row, &b, scan);
	b.mine->broken = info->ii_BrokenHotChain;
	flush(&b);
	MemoryContextDelete(b.row);
	return b;
}

/* ---- workers ---- */

enum
{
	KEY_BUILDING = 1, KEY_SCAN, KEY_QUERY
};

static Size
building_size(int processes)
{
	return offsetof(Building, share) + (Size) processes * sizeof(Share);
}

static Building *
building_init(void *memory, Relation heap, Relation index, bool concurrent, int workers)
{
	Building   *all = memory;

	memset(all, 0, building_size(workers + 1));
	all->heap = RelationGetRelid(heap);
	all->index = RelationGetRelid(index);
	all->concurrent = concurrent;
	all->workers = workers > 0;
	pg_atomic_init_u32(&all->dimensions, 0);
	return all;
}

/* A worker's entry: the locks are those that the leader has. */
PGDLLEXPORT void product_llm_flat_build_worker(dsm_segment *segment, shm_toc *toc);
void
product_llm_flat_build_worker(dsm_segment *segment, shm_toc *toc)
{
	Building   *all = shm_toc_lookup(toc, KEY_BUILDING, false);
	Relation	heap;
	Relation	index;
	IndexInfo  *info;

	debug_query_string = shm_toc_lookup(toc, KEY_QUERY, false);
	pgstat_report_activity(STATE_RUNNING, debug_query_string);
	heap = table_open(all->heap, all->concurrent ? ShareUpdateExclusiveLock : ShareLock);
	index = index_open(all->index, all->concurrent ? RowExclusiveLock : AccessExclusiveLock);
	info = BuildIndexInfo(index);
	info->ii_Concurrent = all->concurrent;
	build_part(heap, index, info, all, ParallelWorkerNumber + 1, table_beginscan_parallel(heap, shm_toc_lookup(toc, KEY_SCAN, false)));
	index_close(index, NoLock);
	table_close(heap, NoLock);
}

/* Shared memory for a build with so many workers, which are then asked for; the snapshot is one that MVCC needs, or SnapshotAny. */
static ParallelContext *
launch(Relation heap, Relation index, bool concurrent, Snapshot snapshot, int workers)
{
	ParallelContext *context = CreateParallelContext("product_llm", "product_llm_flat_build_worker", workers);
	const char *query = debug_query_string != NULL ? debug_query_string : "";
	Size		scan_size = table_parallelscan_estimate(heap, snapshot);
	ParallelTableScanDesc scan;

	shm_toc_estimate_chunk(&context->estimator, building_size(workers + 1));
	shm_toc_estimate_chunk(&context->estimator, scan_size);
	shm_toc_estimate_chunk(&context->estimator, strlen(query) + 1);
	shm_toc_estimate_keys(&context->estimator, 3);
	InitializeParallelDSM(context);
	shm_toc_insert(context->toc, KEY_BUILDING,
				   building_init(shm_toc_allocate(context->toc, building_size(workers + 1)), heap, index, concurrent, workers));
	scan = shm_toc_allocate(context->toc, scan_size);
	table_parallelscan_initialize(heap, scan, snapshot);
	shm_toc_insert(context->toc, KEY_SCAN, scan);
	shm_toc_insert(context->toc, KEY_QUERY, strcpy(shm_toc_allocate(context->toc, strlen(query) + 1), query));
	LaunchParallelWorkers(context);
	ereport(DEBUG1,
			(errmsg_internal("index \"%s\": %d of %d parallel workers", RelationGetRelationName(index), context->nworkers_launched,
							 workers)));
	return context;
}

/* ---- CREATE INDEX ---- */

static void
write_meta(const Builder *b)
{
	Buffer		buffer = ReadBuffer(b->index, FLAT_META_BLOCK);
	FlatMeta   *meta;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	meta = (FlatMeta *) PageGetContents(BufferGetPage(buffer));
	meta->dimensions = (int) pg_atomic_read_u32(&b->all->dimensions);
	memcpy(meta->target, b->target, sizeof(meta->target));
	MarkBufferDirty(buffer);
	UnlockReleaseBuffer(buffer);
	log_pages(b->index, FLAT_META_BLOCK, FLAT_META_BLOCK + 1);
}

/* All processes are done: what is on pages that are not full goes into the index, and the rest is told. */
static IndexBuildResult *
finish(Builder *b, IndexInfo *info, int processes)
{
	IndexBuildResult *result = palloc0(sizeof(IndexBuildResult));

	b->dimensions = (int) pg_atomic_read_u32(&b->all->dimensions);
	for (int p = 0; p < processes; p++)
	{
		const Share *share = &b->all->share[p];

		result->heap_tuples += share->heap_rows;
		result->index_tuples += share->rows;
		info->ii_BrokenHotChain = info->ii_BrokenHotChain || share->broken;
		for (int kind = 0; kind < FLAT_KINDS; kind++)
			for (int i = 0; p > 0 && share->open[kind] && i < flat_opaque((Page) share->page[kind].data)->count; i++)
				flat_add_entry(page_of(b, kind), b->dimensions, (Page) share->page[kind].data, i);
	}
	for (int kind = 0; kind < FLAT_KINDS; kind++)
		if (b->mine->open[kind])
			close_page(b, kind);
	flush(b);
	pfree(b->batch);
	write_meta(b);
	return result;
}

static IndexBuildResult *
build_alone(Relation heap, Relation index, IndexInfo *info)
{
	Building   *all = building_init(palloc(building_size(1)), heap, index, info->ii_Concurrent, 0);
	Builder		b = build_part(heap, index, info, all, 0, NULL);
	IndexBuildResult *result = finish(&b, info, 1);

	pfree(all);
	return result;
}

/* Also when fewer workers come, or none: the leader reads what they do not. */
static IndexBuildResult *
build_together(Relation heap, Relation index, IndexInfo *info, int workers)
{
	Snapshot	snapshot = info->ii_Concurrent ? RegisterSnapshot(GetTransactionSnapshot()) : SnapshotAny;
	ParallelContext *context;
	IndexBuildResult *result;
	Builder		b;

	EnterParallelMode();
	context = launch(heap, index, info->ii_Concurrent, snapshot, workers);
	b = build_part(heap, index, info, shm_toc_lookup(context->toc, KEY_BUILDING, false), 0,
				   table_beginscan_parallel(heap, shm_toc_lookup(context->toc, KEY_SCAN, false)));
	WaitForParallelWorkersToFinish(context);
	result = finish(&b, info, workers + 1);
	if (info->ii_Concurrent)
		UnregisterSnapshot(snapshot);
	DestroyParallelContext(context);
	ExitParallelMode();
	return result;
}

/* As many workers as for a B-tree: by the table's size or its parallel_workers, and max_parallel_maintenance_workers. */
IndexBuildResult *
plmpg_flat_build(Relation heap, Relation index, IndexInfo *info)
{
	Buffer		buffer;
	int			workers;

	if (RelationGetNumberOfBlocks(index) != 0)
		elog(ERROR, "index \"%s\" already contains data", RelationGetRelationName(index));
	buffer = flat_extend(index, MAIN_FORKNUM);
	flat_init_meta(BufferGetPage(buffer));
	MarkBufferDirty(buffer);
	UnlockReleaseBuffer(buffer);
	workers = plan_create_index_workers(RelationGetRelid(heap), RelationGetRelid(index));
	return workers > 0 ? build_together(heap, index, info, workers) : build_alone(heap, index, info);
}

/* The initialization fork of an unlogged index: its meta page. */
void
plmpg_flat_build_empty(Relation index)
{
	Buffer		buffer = flat_extend(index, INIT_FORKNUM);

	START_CRIT_SECTION();
	flat_init_meta(BufferGetPage(buffer));
	MarkBufferDirty(buffer);
	log_newpage_buffer(buffer, false);
	END_CRIT_SECTION();
	UnlockReleaseBuffer(buffer);
}
