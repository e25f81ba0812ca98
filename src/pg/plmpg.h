/*
 * plmpg.h -- the glue between PostgreSQL and the engine, as its own files see it.
 *
 * Only files under src/pg include postgres.h.  Engine calls return a status; plmpg_check() turns a
 * failure into ereport(ERROR).  Engine memory comes from arenas over a memory context (NO_OOM), so
 * nothing ever jumps through engine frames.
 */
#ifndef PLMPG_H
#define PLMPG_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/memutils.h"

#include "compat.h"

#include "../engine/model/plm_model.h"

/* ---- settings: init.c ---- */

extern char *plmpg_default_model;	/* product_llm.default_model; "" when unset */
extern int	plmpg_threads;		/* product_llm.threads; 0: follow max_parallel_maintenance_workers */
extern int	plmpg_memory_limit_kb;	/* product_llm.memory_limit, kB; workspace of one call */
extern double plmpg_max_quantization_loss;	/* product_llm.max_quantization_loss; 1 - the smallest cosine */

/* Threads that a batch may use here and now: 1 in a parallel worker, else by the settings. */
int			plmpg_thread_count(void);

/* ---- errors, memory, cancel: error.c ---- */

/* ereport(ERROR) with the SQLSTATE for err->code; a pending cancel is thrown as such. No-op for PLM_OK. */
void		plmpg_check(PlmStatus status, const PlmError *err);

/* A hook over a memory context: NO_OOM|HUGE allocation, stop on a pending cancel that may be served. */
PlmHook		plmpg_hook(MemoryContext context);

/*
 * The same for an engine call that gives back all it took before it returns, as plm_embed() does: what fits comes from memory that this
 * backend keeps, the rest from the context.
 */
PlmHook		plmpg_call_hook(MemoryContext context);

/* An arena over the current memory context, bounded by product_llm.memory_limit; hook must outlive it. */
void		plmpg_arena(PlmArena *arena, PlmHook *hook);

/* Threads, limit and hook for an engine call. */
PlmOptions	plmpg_options(PlmHook *hook);

/* ---- text: text.c ---- */

/*
 * The text as UTF-8 (converted when the database has another encoding; refused with a hint under SQL_ASCII when it is
 * not UTF-8).  Points into the argument where nothing had to be converted; detoasted in the current context.
 */
PlmText		plmpg_utf8(text *input);

/* Back to a text datum in the database encoding; a character that it lacks is an error. */
text	   *plmpg_text(PlmText utf8);

/*
 * A place in a UTF-8 text, known both in bytes and in characters as substr() counts them, which under SQL_ASCII are bytes.
 * Begins at plmpg_place().
 */
typedef struct PlmpgPlace
{
	PlmText		input;
	bool		bytes_are_characters;
	int64		byte;
	int64		character;
} PlmpgPlace;

PlmpgPlace	plmpg_place(PlmText input);

/* Bytes start .. end - 1 as substr() counts them, from 1; goes on from the last place asked for, or back if it lies behind. */
void		plmpg_place_span(PlmpgPlace *place, int64 start, int64 end, int32 *start_at, int32 *length);

/* ---- models: catalog.h has the rest of the store; cache.c ---- */

/*
 * A model that this backend has mapped.  Valid until the end of the transaction; keep the pointer in fn_extra only
 * together with plmpg_model_generation() and GetUserId(), and look up again when one of them has changed.
 */
typedef struct PlmpgModel
{
	char	   *name;
	unsigned char sha256[PLM_KEY_BYTES];
	const PlmModel *model;
	const PlmConfig *config;
} PlmpgModel;

/*
 * By name: maps the packed file, building it first if the server does not have it.  ERROR (undefined_object, with a hint
 * that names the models there are) when there is no such model, insufficient_privilege when the caller may not use it.  Cheap
 * when cached: a look through a short list, no table access.
 */
const PlmpgModel *plmpg_model_get(text *name);

/* The same for another role than the caller, such as a catalog's owner. */
const PlmpgModel *plmpg_model_get_as(text *name, Oid role);

/* product_llm.default_model, or ERROR with a hint. */
text	   *plmpg_default_model_name(void);

/* Changes whenever any model, or who may use it, may have changed (relcache invalidation of product_llm.model). */
uint64		plmpg_model_generation(void);

/* ---- helpers for set-returning functions: srf.c ---- */

/* real[] of n elements without NULLs. */
ArrayType  *plmpg_real_array(const float *values, int64 n);

/*
 * The n floats of a real[] argument without copying where alignment allows; ERROR for NULL elements, more than one
 * dimension, or (expected >= 0) another length.  who names the argument in messages.
 */
const float *plmpg_real_values(ArrayType *array, int64 expected, const char *who, int64 *n);

/*
 * Answer the call with a materialized set: rows are put into the store that is returned, shaped by desc.
 * For functions returning a table, or a set of one type (then desc has one column).
 */
struct Tuplestorestate *plmpg_result_set(FunctionCallInfo fcinfo, TupleDesc *desc);

#endif							/* PLMPG_H */
