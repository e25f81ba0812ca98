/*
 * flat_vacuum.c -- VACUUM of the exact index: entries of dead tuples are removed, pages with room are told; see flat.h.
 */
#include "flat.h"

#include "access/generic_xlog.h"
#include "commands/vacuum.h"
#include "storage/indexfsm.h"

#include "flat_page.h"

/* Entries of the page whose tuples are dead are removed.  Returns how many; the page is locked. */
static int
delete_from(Relation index, Buffer buffer, int dimensions, IndexBulkDeleteCallback dead, void *arg)
{
	Page		page = BufferGetPage(buffer);
	GenericXLogState *xlog = NULL;
	int			deleted = 0;

	/* From the end, so that what takes a removed entry's place has been looked at. */
	for (int i = flat_opaque(page)->count - 1; i >= 0; i--)
		if (dead(flat_tid(page, dimensions, i), arg))
		{
			if (xlog == NULL)
			{
				xlog = GenericXLogStart(index);
				page = GenericXLogRegisterBuffer(xlog, buffer, 0);
			}
			flat_remove(page, dimensions, i);
			deleted++;
		}
	if (xlog != NULL)
		GenericXLogFinish(xlog);
	return deleted;
}

IndexBulkDeleteResult *
plmpg_flat_delete(IndexVacuumInfo *info, IndexBulkDeleteResult *stats, IndexBulkDeleteCallback dead, void *arg)
{
	Relation	index = info->index;
	BlockNumber blocks = RelationGetNumberOfBlocks(index);
	int			dimensions = flat_read_meta(index).dimensions;

	if (stats == NULL)
		stats = palloc0(sizeof(IndexBulkDeleteResult));
	stats->num_index_tuples = 0;
	stats->pages_free = 0;
	for (BlockNumber block = FLAT_META_BLOCK + 1; block < blocks; block++)
	{
		Buffer		buffer;
		Page		page;
		bool		room = true;

		plmpg_vacuum_delay();
		buffer = ReadBufferExtended(index, MAIN_FORKNUM, block, RBM_NORMAL, info->strategy);
		flat_lock_page(index, buffer, BUFFER_LOCK_EXCLUSIVE, &dimensions);
		page = BufferGetPage(buffer);
		if (!PageIsNew(page))
		{
			stats->tuples_removed += delete_from(index, buffer, dimensions, dead, arg);
			stats->num_index_tuples += flat_opaque(page)->count;
			room = flat_opaque(page)->count < flat_room(flat_opaque(page)->kind, dimensions);
		}
		UnlockReleaseBuffer(buffer);
		if (room)
		{
			RecordFreeIndexPage(index, block);
			stats->pages_free++;
		}
	}
	return stats;
}

/* Without dead tuples nothing has to be read. */
IndexBulkDeleteResult *
plmpg_flat_cleanup(IndexVacuumInfo *info, IndexBulkDeleteResult *stats)
{
	if (info->analyze_only)
		return stats;
	if (stats == NULL)
	{
		stats = palloc0(sizeof(IndexBulkDeleteResult));
		stats->num_index_tuples = info->num_heap_tuples;
		stats->estimated_count = info->estimated_count;
	}
	else
		IndexFreeSpaceMapVacuum(info->index);
	stats->num_pages = RelationGetNumberOfBlocks(info->index);
	return stats;
}
