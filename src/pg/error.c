/*
 * error.c -- engine failures as ereport(ERROR); engine memory and cancel over the server's own.
 */
#include "plmpg.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"

/* Whose fault it was, as SQL says it. PLM_ECANCELLED is handled apart. */
static const int sqlstates[] = {
	[PLM_EARG] = ERRCODE_INVALID_PARAMETER_VALUE,
	[PLM_ENOTFOUND] = ERRCODE_UNDEFINED_FILE,
	[PLM_ECORRUPT] = ERRCODE_DATA_CORRUPTED,
	[PLM_EUNSUPPORTED] = ERRCODE_FEATURE_NOT_SUPPORTED,
	[PLM_ELIMIT] = ERRCODE_PROGRAM_LIMIT_EXCEEDED,
	[PLM_ENOMEM] = ERRCODE_OUT_OF_MEMORY,
	[PLM_EIO] = ERRCODE_IO_ERROR,
	[PLM_EDISKFULL] = ERRCODE_DISK_FULL,
	[PLM_ENUMERIC] = ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
	[PLM_ECANCELLED] = ERRCODE_QUERY_CANCELED,
	[PLM_EINTERNAL] = ERRCODE_INTERNAL_ERROR,
};

/*
 * A message may quote bytes of a hostile file, or be cut in the middle of a character: what is not a
 * printable character of the database encoding becomes '?'.
 */
static char *
printable(const char *message)
{
	char	   *copy = pstrdup(message);
	bool		utf8 = GetDatabaseEncoding() == PG_UTF8;

	for (char *p = copy; *p != '\0';)
	{
		unsigned char c = (unsigned char) *p;
		int			len = c < 0x80 ? 1 : pg_utf_mblen((unsigned char *) p);

		if (c < 0x80 ? (c < 0x20 || c == 0x7f) :
			!utf8 || strnlen(p, len) < (size_t) len || !pg_utf8_islegal((unsigned char *) p, len))
		{
			*p = '?';
			len = 1;
		}
		p += len;
	}
	return copy;
}

void
plmpg_check(PlmStatus status, const PlmError *err)
{
	int			sqlstate = ERRCODE_INTERNAL_ERROR;

	if (status == PLM_OK)
		return;
	if (status == PLM_ECANCELLED)
		CHECK_FOR_INTERRUPTS();
	if ((size_t) status < lengthof(sqlstates) && sqlstates[status] != 0)
		sqlstate = sqlstates[status];
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg("%s", printable(err->message)),
			 err->hint[0] != '\0' ? errhint("%s", printable(err->hint)) :
			 err->over_arena ? errhint("The workspace of one call is bounded by product_llm.memory_limit.") :
			 status == PLM_EDISKFULL ? errhint("Free space on the volume of the data directory.") : 0));
}

static void *
context_alloc(void *arg, size_t bytes)
{
	if (bytes > MaxAllocHugeSize)
		return NULL;
	return MemoryContextAllocExtended(arg, bytes, MCXT_ALLOC_NO_OOM | MCXT_ALLOC_HUGE);
}

static void
context_release(void *arg, void *ptr)
{
	pfree(ptr);
}

/* True only for what must end the statement, and only when CHECK_FOR_INTERRUPTS() would then throw it. */
static bool
stop_requested(void *arg)
{
	if (!(QueryCancelPending || ProcDiePending) || InterruptHoldoffCount != 0 || CritSectionCount != 0)
		return false;
	return ProcDiePending || QueryCancelHoldoffCount == 0;
}

PlmHook
plmpg_hook(MemoryContext context)
{
	return (PlmHook) {context_alloc, context_release, stop_requested, context};
}

/*
 * Memory that stays between calls.  The server's contexts give large blocks back to the system at once, and a call for one text would
 * spend more time in page faults for its workspace than in anything else here.  Only touched pages count.
 */
#define KEPT_BYTES ((size_t) 2 * 1024 * 1024)

static struct
{
	char	   *memory;			/* (KEPT_BYTES); NULL: not yet taken */
	size_t		used;
} kept;

static void *
kept_alloc(void *arg, size_t bytes)
{
	size_t		need = MAXALIGN(bytes);
	void	   *ptr;

	if (kept.memory == NULL && bytes <= KEPT_BYTES)
		kept.memory = MemoryContextAllocExtended(TopMemoryContext, KEPT_BYTES, MCXT_ALLOC_NO_OOM);
	if (kept.memory == NULL || bytes > KEPT_BYTES || need > KEPT_BYTES - kept.used)
		return context_alloc(arg, bytes);
	ptr = kept.memory + kept.used;
	kept.used += need;
	return ptr;
}

/* Arenas give back the newest first. */
static void
kept_release(void *arg, void *ptr)
{
	if (kept.memory != NULL && (char *) ptr >= kept.memory && (char *) ptr < kept.memory + KEPT_BYTES)
		kept.used = (char *) ptr - kept.memory;
	else
		context_release(arg, ptr);
}

PlmHook
plmpg_call_hook(MemoryContext context)
{
	return (PlmHook) {kept_alloc, kept_release, stop_requested, context};
}

void
plmpg_arena(PlmArena *arena, PlmHook *hook)
{
	*hook = plmpg_hook(CurrentMemoryContext);
	plm_arena_init(arena, hook, (size_t) plmpg_memory_limit_kb * 1024);
}

PlmOptions
plmpg_options(PlmHook *hook)
{
	return (PlmOptions) {
		.threads = plmpg_thread_count(),
		.memory_limit = (size_t) plmpg_memory_limit_kb * 1024,
		.hook = hook,
	};
}
