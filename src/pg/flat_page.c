/*
 * flat_page.c -- reading and changing pages of an index of type product_flat: see flat_page.h.
 */
#include "flat_page.h"

/* n: the number of its elements, or 0. */
static FlatValue
read_value(Datum value, bool null, int *n)
{
	FlatValue	v = {.what = FLAT_NULL};
	ArrayType  *array;

	*n = 0;
	if (null)
		return v;
	v.what = FLAT_NO_DIRECTION;
	array = DatumGetArrayTypeP(value);
	if (ARR_NDIM(array) != 1 || array_contains_nulls(array))
		return v;
	*n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	v.values = (const float *) ARR_DATA_PTR(array);
	if (*n <= FLAT_MAX_DIMENSIONS && plm_code_direction(v.values, *n))
		v.what = (uint16) *n;
	return v;
}

FlatValue
flat_value(Datum value, bool null)
{
	int			n;
	FlatValue	v = read_value(value, null, &n);

	if (n > FLAT_MAX_DIMENSIONS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("vector has %d dimensions, an index of type product_flat holds at most %d", n, FLAT_MAX_DIMENSIONS),
				 errhint("Without the index the column can hold it.")));
	return v;
}

FlatValue
flat_query(Datum value, bool null)
{
	int			n;

	return read_value(value, null, &n);
}

Buffer
flat_extend(Relation index, ForkNumber fork)
{
	return ReadBufferExtended(index, fork, P_NEW, RBM_ZERO_AND_LOCK, NULL);
}

/* No hole: all of the page is logged. */
static void
init(Page page, Size special)
{
	PageInit(page, BLCKSZ, special);
	((PageHeader) page)->pd_lower = ((PageHeader) page)->pd_upper;
}

void
flat_init_meta(Page page)
{
	FlatMeta   *meta;

	init(page, 0);
	meta = (FlatMeta *) PageGetContents(page);
	*meta = (FlatMeta) {
		.magic = FLAT_MAGIC, .version = FLAT_VERSION, .target = {InvalidBlockNumber, InvalidBlockNumber}
	};
}

void
flat_init_page(Page page, FlatKind kind)
{
	init(page, sizeof(FlatOpaque));
	flat_opaque(page)->kind = kind;
}

FlatMeta
flat_read_meta(Relation index)
{
	Buffer		buffer = ReadBuffer(index, FLAT_META_BLOCK);
	FlatMeta	meta;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	meta = *(FlatMeta *) PageGetContents(BufferGetPage(buffer));
	UnlockReleaseBuffer(buffer);
	if (meta.magic != FLAT_MAGIC || meta.version != FLAT_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_INDEX_CORRUPTED),
				 errmsg("index \"%s\" is not an index of type product_flat, version %d", RelationGetRelationName(index), FLAT_VERSION),
				 errhint("REINDEX it.")));
	return meta;
}

int
flat_room(FlatKind kind, int dimensions)
{
	if (kind == FLAT_BARE)
		return FLAT_BARE_ROOM;
	return (int) ((FLAT_PAGE_END - FLAT_CODES_AT) / (plm_code_width(dimensions) + FLAT_PER_ROW));
}

void
flat_check_page(Relation index, BlockNumber block, Page page, int dimensions)
{
	if (PageGetSpecialSize(page) != MAXALIGN(sizeof(FlatOpaque)) || flat_opaque(page)->kind >= FLAT_KINDS ||
		(flat_opaque(page)->kind == FLAT_CODES && dimensions == 0) ||
		flat_opaque(page)->count > flat_room(flat_opaque(page)->kind, dimensions))
		ereport(ERROR,
				(errcode(ERRCODE_INDEX_CORRUPTED),
				 errmsg("index \"%s\" contains an unexpected page at block %u", RelationGetRelationName(index), block),
				 errhint("REINDEX it.")));
}

void
flat_lock_page(Relation index, Buffer buffer, int mode, int *dimensions)
{
	Page		page = BufferGetPage(buffer);

	LockBuffer(buffer, mode);
	if (*dimensions == 0 && !PageIsNew(page) && PageGetSpecialSize(page) == MAXALIGN(sizeof(FlatOpaque)) &&
		flat_opaque(page)->kind == FLAT_CODES)
	{
		/* The meta page comes first in the order of locks. */
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
		*dimensions = flat_read_meta(index).dimensions;
		LockBuffer(buffer, mode);
	}
	if (!PageIsNew(page))
		flat_check_page(index, BufferGetBlockNumber(buffer), page, *dimensions);
}

FlatCodes
flat_codes(Page page, int dimensions)
{
	FlatCodes	c = {.room = flat_room(FLAT_CODES, dimensions), .width = plm_code_width(dimensions)};

	c.codes = (uint8_t *) page + FLAT_CODES_AT;
	c.scale = (float *) (c.codes + c.room * c.width);
	c.residual = c.scale + c.room;
	c.tid = (ItemPointerData *) (c.residual + c.room);
	return c;
}

FlatKind
flat_kind(const FlatValue *value, int dimensions)
{
	return value->what == dimensions ? FLAT_CODES : FLAT_BARE;
}

void
flat_add(Page page, int dimensions, const FlatValue *value, ItemPointer tid)
{
	int			i = flat_opaque(page)->count++;

	if (flat_opaque(page)->kind == FLAT_CODES)
	{
		FlatCodes	c = flat_codes(page, dimensions);

		plm_code_row(value->values, dimensions, c.codes + i * c.width, &c.scale[i], &c.residual[i]);
		c.tid[i] = *tid;
	}
	else
		flat_bare(page)[i] = (FlatBare) {*tid, value->what};
}

/* Entry number i of a page becomes number j of a page of its kind. */
static void
copy_entry(Page to, int j, Page from, int i, int dimensions)
{
	if (flat_opaque(from)->kind == FLAT_CODES)
	{
		FlatCodes	c = flat_codes(from, dimensions);
		FlatCodes	d = flat_codes(to, dimensions);

		memmove(d.codes + j * d.width, c.codes + i * c.width, c.width);
		d.scale[j] = c.scale[i];
		d.residual[j] = c.residual[i];
		d.tid[j] = c.tid[i];
	}
	else
		flat_bare(to)[j] = flat_bare(from)[i];
}

void
flat_add_entry(Page page, int dimensions, Page from, int i)
{
	copy_entry(page, flat_opaque(page)->count++, from, i, dimensions);
}

void
flat_remove(Page page, int dimensions, int i)
{
	int			last = --flat_opaque(page)->count;

	copy_entry(page, i, page, last, dimensions);
}

ItemPointer
flat_tid(Page page, int dimensions, int i)
{
	return flat_opaque(page)->kind == FLAT_CODES ? &flat_codes(page, dimensions).tid[i] : &flat_bare(page)[i].tid;
}
