/*
 * sql.h -- running SQL from C: parameters, rows by callback, plans that are kept, and as whom it runs.
 *
 * Two identities matter.  The *caller*: whatever is read from the shop's own tables for somebody is read with that
 * somebody's rights, so that permissions and row-level security hold by themselves.  The *owner* of a catalog: its
 * side tables are read and written as their owner, inside a security-restricted operation and with a bare search path.
 */
#ifndef PLMPG_SQL_H
#define PLMPG_SQL_H

#include "plmpg.h"

#include "commands/trigger.h"
#include "executor/tuptable.h"

/* A statement's parameters, in order. */
typedef struct PlmpgParams
{
	int			n;
	Oid			types[16];
	Datum		values[16];
	char		nulls[16];		/* ' ' or 'n' */
} PlmpgParams;

void		plmpg_param(PlmpgParams *p, Oid type, Datum value, bool null);
void		plmpg_param_text(PlmpgParams *p, const char *s);	/* NULL: null */
void		plmpg_param_bytes(PlmpgParams *p, const void *bytes, size_t n);

/* Who ran before plmpg_become(). */
typedef struct PlmpgIdentity
{
	Oid			user;
	int			security;
	int			guc_level;
} PlmpgIdentity;

/*
 * Become a role with a bare search path until plmpg_return_to().  As for index expressions, what runs cannot change the
 * session; row-level security that the role forces upon itself is lifted.  After an ERROR the (sub)transaction's end brings
 * the caller back.
 */
PlmpgIdentity plmpg_become(Oid role);
void		plmpg_return_to(const PlmpgIdentity *caller);

/* One row of a result; values live until it returns.  CurrentMemoryContext is not for keeping anything. */
typedef void (*PlmpgTake) (void *arg, TupleTableSlot *slot);

/* A text column of a row as a C string, in the current memory context; NULL for null. */
char	   *plmpg_slot_string(TupleTableSlot *slot, int column);

/* How to run a statement. */
#define PLMPG_SQL_READ 1		/* read-only, with the snapshot of the calling statement */
#define PLMPG_SQL_KEEP 2		/* keep its plan for this session: for texts that come again */
#define PLMPG_SQL_LATEST 4		/* write, with a snapshot taken now even in a transaction that has an older one; rows go nowhere */

/*
 * Run one statement, give each row to `take` (may be NULL) and return the number of rows.  trigger: its transition tables
 * can be named, may be NULL.  Errors are those of the statement.
 */
uint64		plmpg_sql(const char *sql, const PlmpgParams *p, int flags, TriggerData *trigger, PlmpgTake row, void *arg);

/* The first column of the first row as a C string in the current context; NULL for null or no row. */
char	   *plmpg_sql_string(const char *sql, const PlmpgParams *p, int flags);

/* ---- cursors: a SELECT whose rows are asked for ---- */

/* What columns a SELECT yields, in the current context.  Errors are those of the statement. */
TupleDesc	plmpg_sql_describe(const char *sql);

/*
 * The tables and views that a SELECT reads, as qualified names, in the current context.  *more: it calls functions of somebody's own, whose
 * bodies may read others.
 */
List	   *plmpg_sql_reads(const char *sql, bool *more);

/*
 * A cursor over one SELECT, read-only, with the snapshot of the calling statement, until it is closed or the transaction
 * (or the savepoint that it was opened in) ends.
 */
typedef struct PortalData *PlmpgCursor;
PlmpgCursor plmpg_cursor_open(const char *sql);
/* Give up to n (> 0) further rows to `take`; how many there were: less than n at the end. */
uint64		plmpg_cursor_fetch(PlmpgCursor cursor, uint64 n, PlmpgTake take, void *arg);
void		plmpg_cursor_close(PlmpgCursor cursor);

/* ---- transactions that a procedure ends ---- */

/* May the procedure end transactions: was it called at top level, outside a transaction block, savepoint and function? */
bool		plmpg_may_commit(FunctionCallInfo fcinfo);

/* The transactions of this process are its own, as in a background worker: then plmpg_commit() begins and ends them. */
void		plmpg_own_transactions(void);

/* Commit and begin the next transaction; no snapshot may be active.  CurrentMemoryContext must outlive the transaction. */
void		plmpg_commit(void);

#endif							/* PLMPG_SQL_H */
