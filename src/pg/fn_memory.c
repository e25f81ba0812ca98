/*
 * fn_memory.c -- the view model_memory: what is mapped and shared, what is private to this backend.
 */
#include "catalog.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "funcapi.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#define PAGES_AT_ONCE 4096

/* Bytes of a mapping that are in memory now; -1 when the system does not tell. */
static int64
resident_bytes(const PlmPackedFile *file)
{
	size_t		page = (size_t) sysconf(_SC_PAGESIZE);
	size_t		pages = (file->bytes + page - 1) / page;
	unsigned char state[PAGES_AT_ONCE];
	int64		resident = 0;

	for (size_t first = 0; first < pages; first += PAGES_AT_ONCE)
	{
		size_t		n = Min(pages - first, PAGES_AT_ONCE);

		if (mincore((void *) (file->base + first * page), n * page, (void *) state) != 0)
			return -1;
		for (size_t i = 0; i < n; i++)
			resident += (state[i] & 1) ? (int64) page : 0;
	}
	return Min(resident, (int64) file->bytes);
}

/* A line "name:  123 kB" of a /proc file, in bytes; -1 where there is none. */
static int64
proc_bytes(const char *path, const char *name)
{
	FILE	   *f = AllocateFile(path, "r");
	char		line[256];
	size_t		len = strlen(name);
	int64		bytes = -1;
	long long	kb;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, name, len) == 0 && line[len] == ':' && sscanf(line + len + 1, "%lld", &kb) == 1)
			bytes = (int64) kb * 1024;
	if (f != NULL)
		FreeFile(f);
	return bytes;
}

static void
put_row(Tuplestorestate *rows, TupleDesc desc, const char *model, int64 shared, int64 resident, int64 private)
{
	Datum		values[4] = {
		model != NULL ? CStringGetTextDatum(model) : (Datum) 0,
		Int64GetDatum(shared), Int64GetDatum(resident), Int64GetDatum(private)
	};
	bool		nulls[4] = {model == NULL, shared < 0, resident < 0, private < 0};

	tuplestore_putvalues(rows, desc, values, nulls);
}

PG_FUNCTION_INFO_V1(product_llm_model_memory);

/*
 * model_memory(): a row for each mapped model, then one without a name for the whole backend: its resident
 * pages that are backed by files or shared memory, and its private anonymous ones.
 */
Datum
product_llm_model_memory(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Tuplestorestate *rows = plmpg_result_set(fcinfo, &desc);
	int64		of_files = proc_bytes("/proc/self/status", "RssFile");
	int64		of_server = proc_bytes("/proc/self/status", "RssShmem");
	int64		shared = of_files < 0 || of_server < 0 ? -1 : of_files + of_server;

	for (const PlmpgMapping *m = plmpg_mappings(); m != NULL; m = m->next)
		put_row(rows, desc, m->model.name, (int64) m->file.bytes, resident_bytes(&m->file), (int64) m->arena.taken);
	put_row(rows, desc, NULL, shared, shared, proc_bytes("/proc/self/status", "RssAnon"));
	return (Datum) 0;
}
