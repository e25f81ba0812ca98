/*
 * flat_insert.c -- INSERT into the exact index: see flat.h.
 */
#include "flat.h"

#include "access/generic_xlog.h"
#include "miscadmin.h"
#include "storage/indexfsm.h"
#include "storage/lmgr.h"

#include "flat_page.h"

/* Add to a page that is locked, when it has room. */
static bool
add_to(Relation index, Buffer buffer, const FlatMeta *meta, FlatKind kind, const FlatValue *value, ItemPointer tid)
{
	Page		page = BufferGetPage(buffer);
	GenericXLogState *xlog;

	/* Another kind: it had become empty and is used otherwise. */
	if (PageIsNew(page) || flat_opaque(page)->kind != kind)
		return false;
	flat_check_page(index, BufferGetBlockNumber(buffer), page, meta->dimensions);
	if (flat_opaque(page)->count >= flat_room(kind, meta->dimensions))
		return false;
	xlog = GenericXLogStart(index);
	flat_add(GenericXLogRegisterBuffer(xlog, buffer, 0), meta->dimensions, value, tid);
	GenericXLogFinish(xlog);
	return true;
}

/* The usual case: the page that rows are added to has room. */
static bool
add_to_target(Relation index, const FlatMeta *meta, FlatKind kind, const FlatValue *value, ItemPointer tid)
{
	Buffer		buffer;
	bool		added;

	if (meta->target[kind] == InvalidBlockNumber)
		return false;
	buffer = ReadBuffer(index, meta->target[kind]);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	added = add_to(index, buffer, meta, kind, value, tid);
	UnlockReleaseBuffer(buffer);
	return added;
}

#define TRIES 16

/*
 * A page for rows of this kind, locked: one that VACUUM has found room on, or a new one.  The free space map is a hint; what it
 * gives and does not fit goes back.
 */
static Buffer
page_with_room(Relation index, FlatKind kind, int dimensions)
{
	BlockNumber unfit[TRIES];
	Buffer		buffer = InvalidBuffer;
	int			n = 0;

	while (n < TRIES && buffer == InvalidBuffer)
	{
		BlockNumber block = GetFreeIndexPage(index);
		Page		page;

		if (block == InvalidBlockNumber || block >= RelationGetNumberOfBlocks(index))
			break;
		buffer = ReadBuffer(index, block);
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
		page = BufferGetPage(buffer);
		if (block == FLAT_META_BLOCK)
			unfit[n++] = InvalidBlockNumber;
		else if (PageIsNew(page) || flat_opaque(page)->count == 0 ||
				 (flat_opaque(page)->kind == kind && flat_opaque(page)->count < flat_room(kind, dimensions)))
			break;
		else
			unfit[n++] = flat_opaque(page)->kind != kind ? block : InvalidBlockNumber;
		UnlockReleaseBuffer(buffer);
		buffer = InvalidBuffer;
	}
	for (int i = 0; i < n; i++)
		if (unfit[i] != InvalidBlockNumber)
			RecordFreeIndexPage(index, unfit[i]);
	if (buffer == InvalidBuffer)
	{
		bool		shared = !RELATION_IS_LOCAL(index);

		if (shared)
			LockRelationForExtension(index, ExclusiveLock);
		buffer = flat_extend(index, MAIN_FORKNUM);
		if (shared)
			UnlockRelationForExtension(index, ExclusiveLock);
	}
	return buffer;
}

/*
 * Begin another page, or fix the dimensions; the meta page is locked, so one does so at a time.  False: somebody has changed
 * what was seen of it.
 */
static bool
add_to_other(Relation index, const FlatMeta *seen, const FlatValue *value, ItemPointer tid)
{
	Buffer		meta_buffer = ReadBuffer(index, FLAT_META_BLOCK);
	GenericXLogState *xlog;
	FlatMeta   *meta;
	FlatKind	kind;
	Buffer		buffer;
	Page		page;

	LockBuffer(meta_buffer, BUFFER_LOCK_EXCLUSIVE);
	if (memcmp(PageGetContents(BufferGetPage(meta_buffer)), seen, sizeof(FlatMeta)) != 0)
	{
		UnlockReleaseBuffer(meta_buffer);
		return false;
	}
	xlog = GenericXLogStart(index);
	meta = (FlatMeta *) PageGetContents(GenericXLogRegisterBuffer(xlog, meta_buffer, 0));
	if (meta->dimensions == 0 && value->what < FLAT_NO_DIRECTION)
		meta->dimensions = value->what;
	kind = flat_kind(value, meta->dimensions);
	buffer = page_with_room(index, kind, meta->dimensions);
	meta->target[kind] = BufferGetBlockNumber(buffer);
	page = GenericXLogRegisterBuffer(xlog, buffer, PageIsNew(BufferGetPage(buffer)) ? GENERIC_XLOG_FULL_IMAGE : 0);
	if (PageIsNew(page) || flat_opaque(page)->kind != kind)
		flat_init_page(page, kind);
	flat_add(page, meta->dimensions, value, tid);
	GenericXLogFinish(xlog);
	UnlockReleaseBuffer(buffer);
	UnlockReleaseBuffer(meta_buffer);
	return true;
}

bool
plmpg_flat_insert(Relation index, Datum *values, bool *nulls, ItemPointer tid, Relation heap,
				  IndexUniqueCheck unique, bool unchanged, struct IndexInfo *info)
{
	MemoryContext row = AllocSetContextCreate(CurrentMemoryContext, "product_flat row", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(row);
	FlatValue	value = flat_value(values[0], nulls[0]);
	FlatMeta	meta;

	do
	{
		CHECK_FOR_INTERRUPTS();
		meta = flat_read_meta(index);
		/* The first row that has a direction says how many dimensions there are. */
		if ((meta.dimensions != 0 || value.what >= FLAT_NO_DIRECTION) &&
			add_to_target(index, &meta, flat_kind(&value, meta.dimensions), &value, tid))
			break;
	} while (!add_to_other(index, &meta, &value, tid));
	MemoryContextSwitchTo(old);
	MemoryContextDelete(row);
	return false;
}
