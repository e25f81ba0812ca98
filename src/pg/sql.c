/*
 * sql.c -- the only user of SPI: see sql.h.
 */
#include "sql.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

/* ---- parameters ---- */

void
plmpg_param(PlmpgParams *p, Oid type, Datum value, bool null)
{
	if (p->n >= (int) lengthof(p->types))
		elog(ERROR, "too many parameters");
	p->types[p->n] = type;
	p->values[p->n] = value;
	p->nulls[p->n] = null ? 'n' : ' ';
	p->n++;
}

void
plmpg_param_text(PlmpgParams *p, const char *s)
{
	plmpg_param(p, TEXTOID, s != NULL ? CStringGetTextDatum(s) : (Datum) 0, s == NULL);
}

void
plmpg_param_bytes(PlmpgParams *p, const void *bytes, size_t n)
{
	bytea	   *copy = palloc(VARHDRSZ + n);

	SET_VARSIZE(copy, VARHDRSZ + n);
	memcpy(VARDATA(copy), bytes, n);
	plmpg_param(p, BYTEAOID, PointerGetDatum(copy), false);
}

/* ---- identity ---- */

PlmpgIdentity
plmpg_become(Oid role)
{
	PlmpgIdentity caller;

	GetUserIdAndSecContext(&caller.user, &caller.security);
	SetUserIdAndSecContext(role, caller.security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION |
						   SECURITY_NOFORCE_RLS);
	caller.guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	/* The caller could ask to be shown plans, and with them values: debug_print_plan. */
	if (client_min_messages < NOTICE)
		(void) set_config_option("client_min_messages", "notice", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return caller;
}

void
plmpg_return_to(const PlmpgIdentity *caller)
{
	AtEOXact_GUC(false, caller->guc_level);
	SetUserIdAndSecContext(caller->user, caller->security);
}

/* ---- rows by callback ---- */

typedef struct RowReceiver
{
	DestReceiver pub;
	PlmpgTake	take;
	void	   *arg;
	uint64		rows;
} RowReceiver;

static bool
receive(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *r = (RowReceiver *) self;

	r->rows++;
	if (r->take != NULL)
		r->take(r->arg, slot);
	return true;
}

static void
receive_startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
receive_nothing(DestReceiver *self)
{
}

/* ---- plans that are kept ---- */

/*
 * By the text of the statement.  A plan looks after itself: when a table changes or another role runs it, the server
 * plans anew.  The parameters of one text always have the same types.
 */
#define PLANS_AT_MOST 256

typedef struct KeptPlan
{
	uint64		hash;			/* key */
	char	   *sql;
	SPIPlanPtr	plan;
} KeptPlan;

static HTAB *kept_plans;
static int	running;			/* statements that run inside each other; after an error, too many until the transaction's end */

static void
forget_plans(void)
{
	HASH_SEQ_STATUS seq;
	KeptPlan   *kept;

	hash_seq_init(&seq, kept_plans);
	while ((kept = hash_seq_search(&seq)) != NULL)
	{
		SPI_freeplan(kept->plan);
		pfree(kept->sql);
	}
	hash_destroy(kept_plans);
	kept_plans = NULL;
}

static SPIPlanPtr
prepare(const char *sql, const PlmpgParams *p)
{
	SPIPlanPtr	plan = SPI_prepare_cursor(sql, p->n, (Oid *) p->types, CURSOR_OPT_PARALLEL_OK);

	if (plan == NULL)
		elog(ERROR, "preparing a statement failed: %s", SPI_result_code_string(SPI_result));
	return plan;
}

static void
none_runs(XactEvent event, void *arg)
{
	running = 0;
}

static SPIPlanPtr
kept_plan(const char *sql, const PlmpgParams *p)
{
	uint64		hash = DatumGetUInt64(hash_any_extended((const unsigned char *) sql, (int) strlen(sql), 0));
	KeptPlan   *kept;
	bool		found;
	SPIPlanPtr	plan;
	char	   *copy;

	if (kept_plans != NULL && hash_get_num_entries(kept_plans) >= PLANS_AT_MOST && running == 0)
		forget_plans();
	if (kept_plans == NULL)
	{
		static bool registered = false;
		HASHCTL		ctl = {.keysize = sizeof(uint64), .entrysize = sizeof(KeptPlan)};

		kept_plans = hash_create("product_llm plans", 64, &ctl, HASH_ELEM | HASH_BLOBS);
		if (!registered)
			RegisterXactCallback(none_runs, NULL);
		registered = true;
	}
	kept = hash_search(kept_plans, &hash, HASH_FIND, &found);
	if (found && strcmp(kept->sql, sql) == 0)
		return kept->plan;

	plan = prepare(sql, p);
	if (found)
		return plan;			/* two texts with one hash: the second is planned each time */
	copy = MemoryContextStrdup(TopMemoryContext, sql);
	kept = hash_search(kept_plans, &hash, HASH_ENTER, &found);
	kept->sql = copy;
	kept->plan = plan;
	SPI_keepplan(plan);
	return plan;
}

/* ---- running ---- */

static ParamListInfo
param_list(const PlmpgParams *p)
{
	ParamListInfo list = makeParamList(p->n);

	for (int i = 0; i < p->n; i++)
		list->params[i] = (ParamExternData)
		{
			.value = p->values[i], .isnull = p->nulls[i] == 'n', .pflags = PARAM_FLAG_CONST, .ptype = p->types[i]
		};
	return list;
}

uint64
plmpg_sql(const char *sql, const PlmpgParams *p, int flags, TriggerData *trigger, PlmpgTake take, void *arg)
{
	static const PlmpgParams none = {0};
	RowReceiver receiver = {
		.pub = {receive, receive_startup, receive_nothing, receive_nothing, DestNone},
		.take = take,
		.arg = arg
	};
	SPIExecuteOptions options = {0};
	SPIPlanPtr	plan;
	int			rc;
	uint64		rows;

	if (p == NULL)
		p = &none;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (trigger != NULL && SPI_register_trigger_data(trigger) < 0)
		elog(ERROR, "SPI_register_trigger_data failed");
	plan = (flags & PLMPG_SQL_KEEP) != 0 && trigger == NULL ? kept_plan(sql, p) : prepare(sql, p);

	running++;
	if ((flags & PLMPG_SQL_LATEST) != 0)
	{
		/* As referential integrity does: what this transaction has done is to be seen, too. */
		CommandCounterIncrement();
		rc = SPI_execute_snapshot(plan, (Datum *) p->values, p->nulls, GetLatestSnapshot(), InvalidSnapshot, false, true, 0);
	}
	else
	{
		options.read_only = (flags & PLMPG_SQL_READ) != 0;
		options.dest = &receiver.pub;
		if (p->n > 0)
			options.params = param_list(p);
		rc = SPI_execute_plan_extended(plan, &options);
	}
	running--;
	if (rc < 0)
		elog(ERROR, "running a statement failed: %s", SPI_result_code_string(rc));
	rows = rc == SPI_OK_SELECT || receiver.rows > 0 ? receiver.rows : SPI_processed;
	SPI_finish();
	return rows;
}

char *
plmpg_slot_string(TupleTableSlot *slot, int column)
{
	bool		null;
	Datum		value = slot_getattr(slot, column, &null);

	return null ? NULL : TextDatumGetCString(value);
}

typedef struct StringRow
{
	MemoryContext context;
	char	   *value;
	bool		seen;
} StringRow;

static void
take_string(void *arg, TupleTableSlot *slot)
{
	StringRow  *r = arg;
	bool		null;
	Datum		value;
	Oid			output;
	bool		varlena;
	char	   *s;

	if (r->seen)
		return;
	r->seen = true;
	value = slot_getattr(slot, 1, &null);
	if (null)
		return;
	getTypeOutputInfo(TupleDescAttr(slot->tts_tupleDescriptor, 0)->atttypid, &output, &varlena);
	s = OidOutputFunctionCall(output, value);
	r->value = MemoryContextStrdup(r->context, s);
}

char *
plmpg_sql_string(const char *sql, const PlmpgParams *p, int flags)
{
	StringRow	r = {.context = CurrentMemoryContext};

	plmpg_sql(sql, p, flags, NULL, take_string, &r);
	return r.value;
}

/* ---- cursors ---- */

static SPIPlanPtr
prepare_select(const char *sql)
{
	SPIPlanPtr	plan;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	/* Rows are fetched in parts, which a parallel plan does not allow. */
	plan = SPI_prepare_cursor(sql, 0, NULL, 0);
	if (plan == NULL || !SPI_is_cursor_plan(plan))
		elog(ERROR, "preparing a cursor failed: %s", SPI_result_code_string(SPI_result));
	return plan;
}

TupleDesc
plmpg_sql_describe(const char *sql)
{
	MemoryContext context = CurrentMemoryContext;
	SPIPlanPtr	plan = prepare_select(sql);
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));
	MemoryContext old = MemoryContextSwitchTo(context);
	TupleDesc	desc = CreateTupleDescCopy(source->resultDesc);

	MemoryContextSwitchTo(old);
	SPI_finish();
	return desc;
}

List *
plmpg_sql_reads(const char *sql, bool *more)
{
	MemoryContext context = CurrentMemoryContext;
	SPIPlanPtr	plan = prepare_select(sql);
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));
	MemoryContext old = MemoryContextSwitchTo(context);
	List	   *names = NIL;
	List	   *relations = NIL;
	ListCell   *cell;

	*more = false;
	relations = list_concat_unique_oid(NIL, source->relationOids);
	foreach(cell, relations)
	{
		Oid			relation = lfirst_oid(cell);

		names = lappend(names, quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)), get_rel_name(relation)));
	}
	/* Of functions, only those that are not the server's own are noted here. */
	foreach(cell, source->invalItems)
		*more = *more || ((PlanInvalItem *) lfirst(cell))->cacheId == PROCOID;
	MemoryContextSwitchTo(old);
	SPI_finish();
	return names;
}

PlmpgCursor
plmpg_cursor_open(const char *sql)
{
	Portal		portal = SPI_cursor_open(NULL, prepare_select(sql), NULL, NULL, true);

	SPI_finish();
	return portal;
}

uint64
plmpg_cursor_fetch(PlmpgCursor cursor, uint64 n, PlmpgTake take, void *arg)
{
	RowReceiver receiver = {
		.pub = {receive, receive_startup, receive_nothing, receive_nothing, DestNone},
		.take = take,
		.arg = arg
	};

	return PortalRunFetch(cursor, FETCH_FORWARD, (long) n, &receiver.pub);
}

void
plmpg_cursor_close(PlmpgCursor cursor)
{
	PortalDrop(cursor, false);
}

/* ---- transactions ---- */

static bool own_transactions;

bool
plmpg_may_commit(FunctionCallInfo fcinfo)
{
	return fcinfo->context != NULL && IsA(fcinfo->context, CallContext) && !((CallContext *) fcinfo->context)->atomic &&
		!IsSubTransaction();
}

void
plmpg_own_transactions(void)
{
	own_transactions = true;
}

void
plmpg_commit(void)
{
	MemoryContext context = CurrentMemoryContext;

	if (own_transactions)
	{
		CommitTransactionCommand();
		StartTransactionCommand();
		MemoryContextSwitchTo(context);
		return;
	}
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	SPI_commit();
	/* From 15 on the next transaction has begun; asking once more does no harm. */
	SPI_start_transaction();
	SPI_finish();
	MemoryContextSwitchTo(context);
}
