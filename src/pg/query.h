/*
 * query.h -- a query that a caller hands over as text: checked, run with the caller's rights, read row by row.
 *
 *     PlmpgQuery *q = plmpg_query_open(&corpus, text);
 *     while (plmpg_query_next(q))
 *         ... q->values, q->nulls ...
 *     plmpg_query_close(q);
 *
 * It must be one SELECT (or VALUES, TABLE); it can neither write nor lock rows, and sees what the calling statement sees.
 * Only a batch of its rows is in memory at any time.
 */
#ifndef PLMPG_QUERY_H
#define PLMPG_QUERY_H

#include "sql.h"

#define PLMPG_QUERY_COLUMNS 4	/* at most */

/* What a column must be, and as what its values come. */
typedef enum PlmpgColumnKind
{
	PLMPG_COLUMN_TEXT,			/* of a character type; text */
	PLMPG_COLUMN_NUMBER,		/* of a numeric type; float8 */
	PLMPG_COLUMN_LABEL,			/* of any type that is no array; text */
	PLMPG_COLUMN_LABELS			/* an array, or one value of another type; text[] */
} PlmpgColumnKind;

typedef struct PlmpgColumn
{
	const char *name;			/* for messages: columns are known by their place */
	PlmpgColumnKind kind;
	bool		nullable;		/* else a null is an error */
} PlmpgColumn;

/* What a query is for, and what it has to yield. */
typedef struct PlmpgQuerySpec
{
	const char *what;			/* "corpus": begins messages */
	const char *hint;			/* a sentence with an example */
	int			least;			/* columns that it has at least, and at most */
	int			most;
	PlmpgColumn columns[PLMPG_QUERY_COLUMNS];
	bool		mixed;			/* rows come in the order of their contents' md5: the same order whatever the plan */
} PlmpgQuerySpec;

typedef struct PlmpgBatch PlmpgBatch;

typedef struct PlmpgQuery
{
	const PlmpgQuerySpec *spec;
	int			columns;		/* that it has */
	bool		arrays[PLMPG_QUERY_COLUMNS];	/* which of them are arrays */
	int64		row;			/* number of the row below, from 1 */
	Datum		values[PLMPG_QUERY_COLUMNS];	/* until the next row is asked for; nulls beyond `columns` */
	bool		nulls[PLMPG_QUERY_COLUMNS];
	char	   *given;			/* its text */
	PlmpgBatch *batch;
} PlmpgQuery;

/* ERROR when it is no SELECT, does not parse, or has not the columns that the spec (which must stay) wants. */
PlmpgQuery *plmpg_query_open(const PlmpgQuerySpec *spec, text *sql);

/* The next row; false: there is none.  ERROR for a null in a column that must not be null. */
bool		plmpg_query_next(PlmpgQuery *query);

void		plmpg_query_close(PlmpgQuery *query);

/* Errors of plmpg_query_open() and nothing else; columns and arrays (PLMPG_QUERY_COLUMNS) may be NULL. */
void		plmpg_query_check(const PlmpgQuerySpec *spec, text *sql, int *columns, bool *arrays);

/* ---- for those who run the text otherwise ---- */

/* The one SELECT that the text is, without what follows it, to be put into parentheses; ERROR for anything else. */
char	   *plmpg_one_select(const char *what, const char *hint, const char *sql);

/* What a query reads: see plmpg_sql_reads(). */
List	   *plmpg_query_reads(const PlmpgQuerySpec *spec, const char *sql, bool *more);
/* The names as text[]. */
Datum		plmpg_reads_array(const List *names);

/* Makes errors say what the query is for, with their position in its text; pushed while it runs. */
typedef struct PlmpgQueryContext
{
	ErrorContextCallback callback;
	const char *what;
	const char *sql;
} PlmpgQueryContext;

void		plmpg_query_context_push(PlmpgQueryContext *context, const char *what, const char *sql);
void		plmpg_query_context_pop(const PlmpgQueryContext *context);

#endif							/* PLMPG_QUERY_H */
