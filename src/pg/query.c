/*
 * query.c -- a query that a caller hands over as text: see query.h.
 */
#include "query.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/* Rows are fetched by so many that they take some megabytes: more while they are small, fewer when they are large. */
#define BATCH_BYTES ((Size) 1024 * 1024)
#define BATCH_ROWS 1024

struct PlmpgBatch
{
	PlmpgCursor cursor;
	MemoryContext context;		/* of the rows */
	TupleDesc	desc;			/* of the rows as they come */
	int			size;			/* rows to ask for */
	int			n;
	int			at;				/* the next one to give out */
	bool		end;
	MinimalTuple rows[BATCH_ROWS];
	TupleTableSlot *slot;
};

/* ---- one SELECT ---- */

char *
plmpg_one_select(const char *what, const char *hint, const char *sql)
{
	char	   *copy = pstrdup(sql);
	List	   *list = raw_parser(copy, RAW_PARSE_DEFAULT);
	RawStmt    *raw = list_length(list) == 1 ? linitial(list) : NULL;

	if (raw == NULL || !IsA(raw->stmt, SelectStmt))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be one SELECT", what),
				 errhint("%s", hint)));
	if (((SelectStmt *) raw->stmt)->lockingClause != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not lock rows", what)));
	if (raw->stmt_len > 0)
		copy[raw->stmt_location + raw->stmt_len] = '\0';
	return copy + raw->stmt_location;
}

/* A position in the query's text is no position in the statement that calls us. */
static void
add_context(void *arg)
{
	const PlmpgQueryContext *context = arg;
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(context->sql);
	}
	errcontext("%s", context->what);
}

void
plmpg_query_context_push(PlmpgQueryContext *context, const char *what, const char *sql)
{
	*context = (PlmpgQueryContext) {{error_context_stack, add_context, context}, what, sql};
	error_context_stack = &context->callback;
}

void
plmpg_query_context_pop(const PlmpgQueryContext *context)
{
	error_context_stack = context->callback.previous;
}

/* ---- columns ---- */

static bool
fits(PlmpgColumnKind kind, Oid type)
{
	char		category;
	bool		preferred;

	get_type_category_preferred(getBaseType(type), &category, &preferred);
	switch (kind)
	{
		case PLMPG_COLUMN_TEXT:
			return category == TYPCATEGORY_STRING;
		case PLMPG_COLUMN_NUMBER:
			return category == TYPCATEGORY_NUMERIC;
		case PLMPG_COLUMN_LABEL:
			return category != TYPCATEGORY_ARRAY && category != TYPCATEGORY_PSEUDOTYPE;
		case PLMPG_COLUMN_LABELS:
			return category != TYPCATEGORY_PSEUDOTYPE;
	}
	return false;
}

static void
check_columns(const PlmpgQuerySpec *spec, TupleDesc desc)
{
	static const char *const wanted[] = {"text", "a number", "a single value", "a value or an array of them"};

	if (desc->natts < spec->least || desc->natts > spec->most)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 spec->least == spec->most ?
				 errmsg("%s must have %d %s, not %d", spec->what, spec->least, spec->least == 1 ? "column" : "columns", desc->natts) :
				 errmsg("%s must have %d to %d columns, not %d", spec->what, spec->least, spec->most, desc->natts),
				 errhint("%s", spec->hint)));
	for (int i = 0; i < desc->natts; i++)
		if (!fits(spec->columns[i].kind, TupleDescAttr(desc, i)->atttypid))
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column %d of the %s, the %s, must be %s, not of type %s", i + 1, spec->what, spec->columns[i].name,
							wanted[spec->columns[i].kind], format_type_be(TupleDescAttr(desc, i)->atttypid)),
					 errhint("%s", spec->hint)));
}

/* The query with each column as its kind has it. */
static char *
cast_query(const PlmpgQuerySpec *spec, TupleDesc desc, const char *select)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < desc->natts; i++)
	{
		bool		array = type_is_array_domain(TupleDescAttr(desc, i)->atttypid);
		const char *form = "%s q.c%d::pg_catalog.text";

		if (spec->columns[i].kind == PLMPG_COLUMN_NUMBER)
			form = "%s q.c%d::pg_catalog.float8";
		else if (spec->columns[i].kind == PLMPG_COLUMN_LABELS)
			form = array ? "%s q.c%d::pg_catalog.text[]" : "%s ARRAY[q.c%d::pg_catalog.text]";
		appendStringInfo(&sql, form, i == 0 ? "SELECT" : ",", i + 1);
	}
	appendStringInfo(&sql, " FROM (%s\n) AS q (", select);
	for (int i = 0; i < desc->natts; i++)
		appendStringInfo(&sql, "%sc%d", i == 0 ? "" : ", ", i + 1);
	appendStringInfoChar(&sql, ')');
	for (int i = 0; spec->mixed && i < desc->natts; i++)
		appendStringInfo(&sql, "%s coalesce(pg_catalog.md5(q.c%d::pg_catalog.text), ''::pg_catalog.text) COLLATE \"C\"",
						 i == 0 ? " ORDER BY" : ",", i + 1);
	return sql.data;
}

/* ---- rows ---- */

static void
take_row(void *arg, TupleTableSlot *slot)
{
	PlmpgBatch *b = arg;
	MemoryContext old = MemoryContextSwitchTo(b->context);

	b->rows[b->n++] = ExecCopySlotMinimalTuple(slot);
	MemoryContextSwitchTo(old);
}

/* The next batch takes the place of the last; its size follows what the last one took. */
static void
fetch(PlmpgBatch *b)
{
	Size		bytes = MemoryContextMemAllocated(b->context, true);

	b->size = bytes > BATCH_BYTES ? Max(1, b->size / 2) : Min(BATCH_ROWS, b->size * 2);
	ExecClearTuple(b->slot);
	MemoryContextReset(b->context);
	b->n = b->at = 0;
	b->end = plmpg_cursor_fetch(b->cursor, (uint64) b->size, take_row, b) < (uint64) b->size;
}

List *
plmpg_query_reads(const PlmpgQuerySpec *spec, const char *sql, bool *more)
{
	return plmpg_sql_reads(psprintf("SELECT * FROM (%s\n) AS q", plmpg_one_select(spec->what, spec->hint, sql)), more);
}

Datum
plmpg_reads_array(const List *names)
{
	Datum	   *values = palloc((list_length(names) + 1) * sizeof(Datum));
	int			n = 0;
	ListCell   *cell;

	foreach(cell, names)
		values[n++] = CStringGetTextDatum((char *) lfirst(cell));
	return PointerGetDatum(construct_array(values, n, TEXTOID, -1, false, TYPALIGN_INT));
}

PlmpgQuery *
plmpg_query_open(const PlmpgQuerySpec *spec, text *sql)
{
	PlmpgQuery *q = palloc0(sizeof(PlmpgQuery));
	PlmpgBatch *b = palloc0(sizeof(PlmpgBatch));
	PlmpgQueryContext context;
	char	   *select;
	char	   *cast;
	TupleDesc	desc;

	q->spec = spec;
	q->batch = b;
	q->given = text_to_cstring(sql);
	plmpg_query_context_push(&context, spec->what, q->given);
	select = plmpg_one_select(spec->what, spec->hint, q->given);
	/* On a line of its own: the query may end with a comment. */
	desc = plmpg_sql_describe(psprintf("SELECT * FROM (%s\n) AS q", select));
	check_columns(spec, desc);
	q->columns = desc->natts;
	for (int i = 0; i < desc->natts; i++)
		q->arrays[i] = type_is_array_domain(TupleDescAttr(desc, i)->atttypid);
	memset(q->nulls, true, sizeof(q->nulls));
	cast = cast_query(spec, desc, select);
	b->desc = plmpg_sql_describe(cast);
	b->slot = MakeSingleTupleTableSlot(b->desc, &TTSOpsMinimalTuple);
	b->context = AllocSetContextCreate(CurrentMemoryContext, "product_llm query rows", ALLOCSET_DEFAULT_SIZES);
	b->size = 16;
	b->cursor = plmpg_cursor_open(cast);
	plmpg_query_context_pop(&context);
	return q;
}

bool
plmpg_query_next(PlmpgQuery *q)
{
	PlmpgBatch *b = q->batch;

	if (b->at == b->n)
	{
		PlmpgQueryContext context;

		if (b->end)
			return false;
		plmpg_query_context_push(&context, q->spec->what, q->given);
		fetch(b);
		plmpg_query_context_pop(&context);
		if (b->n == 0)
			return false;
	}
	ExecStoreMinimalTuple(b->rows[b->at++], b->slot, false);
	q->row++;
	for (int i = 0; i < q->columns; i++)
	{
		q->values[i] = slot_getattr(b->slot, i + 1, &q->nulls[i]);
		if (q->nulls[i] && !q->spec->columns[i].nullable)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("row " INT64_FORMAT " of the %s has no %s", q->row, q->spec->what, q->spec->columns[i].name),
					 errhint("Leave such rows out with WHERE .. IS NOT NULL.")));
	}
	return true;
}

void
plmpg_query_close(PlmpgQuery *q)
{
	PlmpgBatch *b = q->batch;

	ExecDropSingleTupleTableSlot(b->slot);
	plmpg_cursor_close(b->cursor);
	MemoryContextDelete(b->context);
	pfree(b);
	pfree(q->given);
	pfree(q);
}

void
plmpg_query_check(const PlmpgQuerySpec *spec, text *sql, int *columns, bool *arrays)
{
	PlmpgQuery *q = plmpg_query_open(spec, sql);

	if (columns != NULL)
		*columns = q->columns;
	if (arrays != NULL)
		memcpy(arrays, q->arrays, sizeof(q->arrays));
	plmpg_query_close(q);
}
