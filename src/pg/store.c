/*
 * store.c -- the files of a model, which are parts in product_llm.model_file, as sources for the engine.
 *
 * A read fetches just the slice that it needs out of the part's TOAST chunks; nothing is kept between reads.
 * Reads run below engine frames, through which no ERROR may jump: it is caught, the engine gets a status,
 * and plmpg_store_check() throws it on.  Nothing but that may follow, so no subtransaction is needed.
 */
#include "catalog.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define TEXT_LIMIT ((uint64) 64 * 1024 * 1024)

/* ---- reading ---- */

/* Bytes [offset, offset + len) of one part. */
static void
read_part(PlmpgStore *store, const char *file, int32 part, size_t offset, size_t len, void *dst)
{
	Relation	table = table_open(plmpg_relation("model_file"), AccessShareLock);
	ScanKeyData keys[3];
	SysScanDesc scan;
	HeapTuple	tuple;
	struct varlena *slice;
	bool		null = true;
	Datum		data = (Datum) 0;

	ScanKeyInit(&keys[0], FILE_MODEL, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(store->model));
	ScanKeyInit(&keys[1], FILE_FILE, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(file));
	ScanKeyInit(&keys[2], FILE_PART, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(part));
	scan = systable_beginscan(table, plmpg_relation("model_file_pkey"), true, store->snapshot, 3, keys);
	tuple = systable_getnext(scan);
	if (tuple != NULL)
		data = heap_getattr(tuple, FILE_DATA, RelationGetDescr(table), &null);
	if (null)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("part %d of file \"%s\" of model \"%s\" is gone", part, file, store->model)));
	slice = detoast_attr_slice((struct varlena *) DatumGetPointer(data), (int32) offset, (int32) len);
	if (VARSIZE_ANY_EXHDR(slice) != len)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("part %d of file \"%s\" of model \"%s\" is too short", part, file, store->model)));
	memcpy(dst, VARDATA_ANY(slice), len);
	systable_endscan(scan);
	table_close(table, AccessShareLock);
}

/* The part that holds the byte at offset: the last one that starts at or before it. */
static int
part_at(const PlmpgStoredFile *file, uint64 offset)
{
	int			low = 0,
				high = file->parts - 1;

	while (low < high)
	{
		int			middle = low + (high - low + 1) / 2;

		if (file->start[middle] <= offset)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

void
plmpg_store_read(PlmpgStoredFile *file, uint64 offset, size_t len, void *dst)
{
	PlmpgStore *store = file->store;
	uint64		size = file->start[file->parts];
	char	   *to = dst;

	if (offset > size || len > size - offset)
		elog(ERROR, "read past the end of file \"%s\" of model \"%s\"", file->name, store->model);
	while (len > 0)
	{
		int			p = part_at(file, offset);
		size_t		n = Min((uint64) len, file->start[p + 1] - offset);
		MemoryContext old = MemoryContextSwitchTo(store->scratch);

		CHECK_FOR_INTERRUPTS();
		read_part(store, file->name, file->first + p, (size_t) (offset - file->start[p]), n, to);
		MemoryContextSwitchTo(old);
		MemoryContextReset(store->scratch);
		to += n;
		offset += n;
		len -= n;
	}
}

/* PlmSource.read */
static PlmStatus
source_read(void *arg, uint64_t offset, size_t len, void *dst, PlmError *err)
{
	PlmpgStoredFile *file = arg;
	PlmpgStore *store = file->store;
	MemoryContext old = CurrentMemoryContext;

	if (store->error == NULL)
	{
		PG_TRY();
		{
			plmpg_store_read(file, offset, len, dst);
		}
		PG_CATCH();
		{
			MemoryContextSwitchTo(store->context);
			store->error = CopyErrorData();
			FlushErrorState();
			MemoryContextSwitchTo(old);
		}
		PG_END_TRY();
	}
	if (store->error == NULL)
		return PLM_OK;
	return plm_fail(err, PLM_EIO, (int64_t) offset, "file \"%s\" could not be read from the database", file->name);
}

void
plmpg_store_check(PlmpgStore *store, PlmStatus status, const PlmError *err)
{
	if (store->error != NULL)
		ReThrowError(store->error);
	plmpg_check(status, err);
}

PlmText
plmpg_store_text(PlmpgStore *store, const char *name)
{
	for (int i = 0; i < store->n; i++)
	{
		PlmpgStoredFile *file = &store->files[i];
		uint64		size = file->start[file->parts];
		char	   *data;

		if (strcmp(file->name, name) != 0)
			continue;
		if (size > TEXT_LIMIT)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("file \"%s\" of model \"%s\" is too large", name, store->model)));
		data = palloc(size + 1);
		plmpg_store_read(file, 0, size, data);
		data[size] = '\0';
		return (PlmText) {data, size};
	}
	return (PlmText) {NULL, 0};
}

/* ---- listing ---- */

/* The row of a part, while listing. */
typedef struct Part
{
	char	   *file;
	int32		number;
	uint64		bytes;
} Part;

/* All parts, by file and number. */
static Part *
list_parts(PlmpgStore *store, int *n)
{
	Relation	table = table_open(plmpg_relation("model_file"), AccessShareLock);
	Relation	pkey = index_open(plmpg_relation("model_file_pkey"), AccessShareLock);
	int			room = 64;
	Part	   *parts = palloc(room * sizeof(Part));
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	*n = 0;
	ScanKeyInit(&key, FILE_MODEL, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(store->model));
	scan = systable_beginscan_ordered(table, pkey, store->snapshot, 1, &key);
	while ((tuple = systable_getnext_ordered(scan, ForwardScanDirection)) != NULL)
	{
		TupleDesc	desc = RelationGetDescr(table);
		bool		null;
		Part	   *part;

		if (*n == room)
			parts = repalloc(parts, (room *= 2) * sizeof(Part));
		part = &parts[(*n)++];
		part->file = TextDatumGetCString(heap_getattr(tuple, FILE_FILE, desc, &null));
		part->number = DatumGetInt32(heap_getattr(tuple, FILE_PART, desc, &null));
		part->bytes = toast_raw_datum_size(heap_getattr(tuple, FILE_DATA, desc, &null)) - VARHDRSZ;
	}
	systable_endscan_ordered(scan);
	index_close(pkey, AccessShareLock);
	table_close(table, AccessShareLock);
	return parts;
}

/* Turn the parts from `from` on that belong to one file into it; returns the first part of the next one. */
static int
gather_file(PlmpgStore *store, const Part *parts, int n, int from)
{
	PlmpgStoredFile *file = &store->files[store->n];
	PlmSource  *source = &store->sources[store->n];
	int			to = from;

	while (to < n && strcmp(parts[to].file, parts[from].file) == 0)
		to++;
	file->store = store;
	file->name = parts[from].file;
	file->first = parts[from].number;
	file->parts = to - from;
	file->start = palloc((file->parts + 1) * sizeof(uint64));
	file->start[0] = 0;
	for (int i = 0; i < file->parts; i++)
	{
		int32		expected = i == 0 ? (file->first == 0 ? 0 : 1) : file->first + i;

		if (parts[from + i].number != expected)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("part %d of file \"%s\" of model \"%s\" is missing", expected, file->name, store->model),
					 errhint("Send it with product_llm.put_model_file().")));
		file->start[i + 1] = file->start[i] + parts[from + i].bytes;
	}
	if (strlcpy(source->name, file->name, sizeof(source->name)) >= sizeof(source->name))
		elog(ERROR, "name of file \"%s\" is too long", file->name);
	source->size = file->start[file->parts];
	source->read = source_read;
	source->arg = file;
	store->bytes += source->size;
	store->n++;
	return to;
}

PlmpgStore *
plmpg_store_open(const char *model, Snapshot snapshot)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "product_llm store", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	PlmpgStore *store = palloc0(sizeof(PlmpgStore));
	Part	   *parts;
	int			n;

	if (snapshot == NULL)
		snapshot = ActiveSnapshotSet() ? GetActiveSnapshot() : GetTransactionSnapshot();
	store->model = pstrdup(model);
	store->snapshot = RegisterSnapshot(snapshot);
	store->context = context;
	store->scratch = AllocSetContextCreate(context, "product_llm read", ALLOCSET_DEFAULT_SIZES);
	parts = list_parts(store, &n);
	store->files = palloc0(Max(n, 1) * sizeof(PlmpgStoredFile));
	store->sources = palloc0(Max(n, 1) * sizeof(PlmSource));
	for (int i = 0; i < n;)
		i = gather_file(store, parts, n, i);
	store->set = (PlmFileSet) {store->sources, store->n};
	MemoryContextSwitchTo(old);
	return store;
}

void
plmpg_store_close(PlmpgStore *store)
{
	UnregisterSnapshot(store->snapshot);
	MemoryContextDelete(store->context);
}
