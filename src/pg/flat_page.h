/*
 * flat_page.h -- what an index of type product_flat has on its pages; private to flat*.c.  flat.h says what it is for.
 *
 *   block 0       meta: the dimensions, and where the next row of each kind goes
 *   other blocks  in no order, either
 *                 codes: rows that have a direction in the index's dimensions, side by side as num/codes.c codes them, or
 *                 bare: all others, by tuple identifier and why: NULL, no direction, other dimensions
 *
 *   page of codes:  header | codes (room, width) from byte 64 | scale (room) | residual (room) | tid (room) | opaque
 *   bare page:      header | FlatBare (room) | opaque
 *
 * Every heap tuple has one entry.  An entry never moves to another page; within its page the last takes the place of one that
 * is removed.  So a scan that reads each page once, under a share lock, sees every entry that is there from its begin to its end.
 * Pages have no hole for generic WAL to leave out: pd_lower is pd_upper.
 *
 * Locks: a data page alone, or the meta page and then one data page.
 */
#ifndef PLMPG_FLAT_PAGE_H
#define PLMPG_FLAT_PAGE_H

#include "plmpg.h"

#include "access/genam.h"
#include "access/itup.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "utils/rel.h"

#define FLAT_META_BLOCK 0
#define FLAT_MAGIC 0x504c4d46
#define FLAT_VERSION 1

typedef enum FlatKind
{
	FLAT_CODES, FLAT_BARE, FLAT_KINDS
} FlatKind;

typedef struct FlatMeta
{
	uint32		magic;
	uint32		version;
	int32		dimensions;		/* 0: no row with a direction has come yet */
	BlockNumber target[FLAT_KINDS]; /* page that rows are added to, while it has room; or InvalidBlockNumber */
} FlatMeta;

typedef struct FlatOpaque
{
	uint16		kind;			/* FlatKind */
	uint16		count;			/* entries */
} FlatOpaque;

/* What is known of a row that is not coded: its dimensions, or one of these. */
#define FLAT_NULL 0xffff
#define FLAT_NO_DIRECTION 0xfffe	/* the operator has an error for it */

typedef struct FlatBare
{
	ItemPointerData tid;
	uint16		what;
} FlatBare;

#define FLAT_CODES_AT 64
#define FLAT_PER_ROW (2 * sizeof(float) + sizeof(ItemPointerData))
#define FLAT_PAGE_END (BLCKSZ - MAXALIGN(sizeof(FlatOpaque)))
#define FLAT_BARE_ROOM ((int) ((FLAT_PAGE_END - MAXALIGN(SizeOfPageHeaderData)) / sizeof(FlatBare)))
/* One row on a page. */
#define FLAT_MAX_DIMENSIONS ((int) ((FLAT_PAGE_END - FLAT_CODES_AT - FLAT_PER_ROW) / PLM_CODE_STEP * PLM_CODE_STEP))
/* Rows of the fewest dimensions on a page. */
#define FLAT_MAX_ROOM ((int) ((FLAT_PAGE_END - FLAT_CODES_AT) / (PLM_CODE_STEP + FLAT_PER_ROW)))

/* Where things are on a page of codes. */
typedef struct FlatCodes
{
	int			room;
	int64		width;
	uint8_t    *codes;
	float	   *scale;
	float	   *residual;
	ItemPointerData *tid;
} FlatCodes;

/* A column's value as an entry would hold it. */
typedef struct FlatValue
{
	uint16		what;			/* dimensions, FLAT_NULL or FLAT_NO_DIRECTION */
	const float *values;		/* (dimensions) */
} FlatValue;

static inline FlatOpaque *
flat_opaque(Page page)
{
	return (FlatOpaque *) PageGetSpecialPointer(page);
}

static inline FlatBare *
flat_bare(Page page)
{
	return (FlatBare *) PageGetContents(page);
}

/* ---- flat_page.c ---- */

/* A row's real[], detoasted in the current context; ERROR when it is too long for an index. */
FlatValue	flat_value(Datum value, bool null);

/* The same of a query; too long is no error: no row of an index has so many dimensions. */
FlatValue	flat_query(Datum value, bool null);

/* Another page, zero and locked.  Where others may extend the index, too, the caller holds its extension lock. */
Buffer		flat_extend(Relation index, ForkNumber fork);

void		flat_init_meta(Page page);
void		flat_init_page(Page page, FlatKind kind);

/* The meta page's content, copied under a share lock; ERROR when it is none. */
FlatMeta	flat_read_meta(Relation index);

/*
 * Lock a pinned page in this mode, and check it unless it is new.  dimensions: of the index as last seen; when they were 0 and the
 * page shows that they no longer are, they are read again.
 */
void		flat_lock_page(Relation index, Buffer buffer, int mode, int *dimensions);

/* ERROR when a page, not new, is not what this index has: with its dimensions, where it is one of codes. */
void		flat_check_page(Relation index, BlockNumber block, Page page, int dimensions);

FlatCodes	flat_codes(Page page, int dimensions);

/* How many entries a page of this kind holds. */
int			flat_room(FlatKind kind, int dimensions);

/* Which kind of page a value belongs on; dimensions: of the index, not 0 when the value has a direction. */
FlatKind	flat_kind(const FlatValue *value, int dimensions);

/* Add an entry to a page of its kind that has room. */
void		flat_add(Page page, int dimensions, const FlatValue *value, ItemPointer tid);

/* Add entry number i of another page of the same kind. */
void		flat_add_entry(Page page, int dimensions, Page from, int i);

/* Take away entry number i. */
void		flat_remove(Page page, int dimensions, int i);

/* The tuple that entry number i is of. */
ItemPointer flat_tid(Page page, int dimensions, int i);

#endif							/* PLMPG_FLAT_PAGE_H */
