/*
 * train_rows.c -- the rows of trainings: written as the tables' owner, so that nobody else needs a right to write them.
 */
#include "training.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* ---- running statements ---- */

static uint64
as_owner(const char *sql, PlmpgParams *p, int flags, PlmpgTake take, void *arg)
{
	Relation	table = table_open(plmpg_relation("training_run"), AccessShareLock);
	PlmpgIdentity caller = plmpg_become(table->rd_rel->relowner);
	uint64		rows;

	table_close(table, NoLock);
	rows = plmpg_sql(sql, p, flags, NULL, take, arg);
	plmpg_return_to(&caller);
	return rows;
}

static void
param_int(PlmpgParams *p, int32 value)
{
	plmpg_param(p, INT4OID, Int32GetDatum(value), false);
}

static void
param_long(PlmpgParams *p, int64 value, bool null)
{
	plmpg_param(p, INT8OID, Int64GetDatum(value), null);
}

static void
param_real(PlmpgParams *p, double value, bool null)
{
	plmpg_param(p, FLOAT8OID, Float8GetDatum(value), null);
}

/* An update of the run's row, which is $1. */
static void
update(PlmpgTrainRun *run, const char *sql, PlmpgParams *p)
{
	if (as_owner(sql, p, PLMPG_SQL_KEEP, NULL, NULL) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("training %d has been deleted", run->run),
				 errhint("Somebody has deleted its row of product_llm.training_run; begin a new training.")));
}

/* ---- coming and going ---- */

static void
take_number(void *arg, TupleTableSlot *slot)
{
	bool		null;

	*(int32 *) arg = DatumGetInt32(slot_getattr(slot, 1, &null));
}

void
plmpg_run_insert(PlmpgTrainRun *run)
{
	PlmpgParams p = {0};

	plmpg_param_text(&p, run->model);
	plmpg_param_text(&p, run->base);
	plmpg_param_text(&p, plm_objective_name(run->objective));
	plmpg_param_text(&p, run->query);
	plmpg_param(&p, JSONBOID, run->options, false);
	param_long(&p, (int64) run->settings.engine.seed, false);
	plmpg_param_text(&p, run->search_path);
	plmpg_param_text(&p, GetUserNameFromId(GetUserId(), false));
	param_int(&p, MyProcPid);
	as_owner("INSERT INTO product_llm.training_run (model, base, task, examples, options, seed, search_path, owner, pid)"
			 " VALUES ($1, $2, $3, $4, $5, $6, $7, $8::pg_catalog.name, $9) RETURNING run", &p, 0, take_number, &run->run);
}

int32
plmpg_run_equal(const PlmpgTrainRun *run)
{
	PlmpgParams p = {0};
	int32		number = 0;

	plmpg_param_text(&p, run->model);
	plmpg_param_text(&p, run->base);
	plmpg_param_text(&p, plm_objective_name(run->objective));
	plmpg_param_text(&p, run->query);
	plmpg_param(&p, JSONBOID, run->options, false);
	plmpg_param_text(&p, GetUserNameFromId(GetUserId(), false));
	plmpg_param_text(&p, run->search_path);
	/* Only the last run for the model counts; a failed one would fail again. */
	as_owner("SELECT r.run FROM (SELECT t.* FROM product_llm.training_run AS t WHERE t.model OPERATOR(pg_catalog.=) $1"
			 " ORDER BY t.run DESC LIMIT 1) AS r"
			 " WHERE r.state OPERATOR(pg_catalog.=) ANY (ARRAY['running', 'cancelled']) AND r.base IS NOT DISTINCT FROM $2"
			 " AND r.task OPERATOR(pg_catalog.=) $3 AND r.examples OPERATOR(pg_catalog.=) $4 AND r.options OPERATOR(pg_catalog.=) $5"
			 " AND r.owner OPERATOR(pg_catalog.=) $6::pg_catalog.name AND r.search_path OPERATOR(pg_catalog.=) $7",
			 &p, 0, take_number, &number);
	return number;
}

int32
plmpg_run_of_model(const char *model)
{
	PlmpgParams p = {0};
	int32		number = 0;

	plmpg_param_text(&p, model);
	as_owner("SELECT r.run FROM product_llm.training_run AS r JOIN product_llm.model AS m"
			 " ON m.model OPERATOR(pg_catalog.=) r.model AND m.metrics OPERATOR(pg_catalog.->>) 'run' OPERATOR(pg_catalog.=) r.run::pg_catalog.text"
			 " WHERE r.model OPERATOR(pg_catalog.=) $1 AND r.state OPERATOR(pg_catalog.=) 'done'", &p, 0, take_number, &number);
	return number;
}

/* The one value of a result, in the context that the struct names. */
typedef struct Answer
{
	MemoryContext context;
	Datum		value;
} Answer;

static void
take_array(void *arg, TupleTableSlot *slot)
{
	Answer	   *answer = arg;
	MemoryContext old = MemoryContextSwitchTo(answer->context);
	bool		null;

	answer->value = PointerGetDatum(PG_DETOAST_DATUM_COPY(slot_getattr(slot, 1, &null)));
	MemoryContextSwitchTo(old);
}

PG_FUNCTION_INFO_V1(product_llm_models_that_read);

/* models_that_read(tables) -> text[]: as the runs' owner, who sees all of them. */
Datum
product_llm_models_that_read(PG_FUNCTION_ARGS)
{
	PlmpgParams p = {0};
	Answer		answer = {.context = CurrentMemoryContext};

	plmpg_param(&p, REGCLASSARRAYOID, PG_GETARG_DATUM(0), false);
	as_owner("SELECT product_llm.own_models_that_read($1)", &p, 0, take_array, &answer);
	PG_RETURN_DATUM(answer.value);
}

typedef struct RunRow
{
	PlmpgTrainRun *run;
	char	   *state;
	char	   *owner;
} RunRow;

static void
take_run(void *arg, TupleTableSlot *slot)
{
	RunRow	   *row = arg;
	PlmpgTrainRun *run = row->run;
	MemoryContext old = MemoryContextSwitchTo(run->context);
	bool		null;
	char	   *task = plmpg_slot_string(slot, 3);

	run->model = plmpg_slot_string(slot, 1);
	run->base = plmpg_slot_string(slot, 2);
	run->objective = strcmp(task, plm_objective_name(PLM_LEARN_MASKED)) == 0 ? PLM_LEARN_MASKED : plmpg_train_task(task);
	run->query = plmpg_slot_string(slot, 4);
	run->options = PointerGetDatum(PG_DETOAST_DATUM_COPY(slot_getattr(slot, 5, &null)));
	run->search_path = plmpg_slot_string(slot, 6);
	row->state = plmpg_slot_string(slot, 7);
	row->owner = plmpg_slot_string(slot, 8);
	run->checkpoint_step = DatumGetInt64(slot_getattr(slot, 9, &null));
	if (null)
		run->checkpoint_step = -1;
	MemoryContextSwitchTo(old);
}

/* As product_llm.owns_run() says it. */
static bool
owns(const char *owner)
{
	Oid			role = get_role_oid(owner, true);

	return OidIsValid(role) ? has_privs_of_role(GetUserId(), role) : superuser();
}

char *
plmpg_run_read(PlmpgTrainRun *run, int32 number)
{
	PlmpgParams p = {0};
	RunRow		row = {.run = run};

	param_int(&p, number);
	as_owner("SELECT model, base, task, examples, options, search_path, state, owner::pg_catalog.text, checkpoint_step"
			 " FROM product_llm.training_run WHERE run OPERATOR(pg_catalog.=) $1", &p, 0, take_run, &row);
	if (row.state == NULL || !owns(row.owner))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("training %d does not exist", number),
				 errhint("SELECT run FROM product_llm.training_runs shows those of your own.")));
	run->run = number;
	return row.state;
}

void
plmpg_run_begin(PlmpgTrainRun *run)
{
	PlmpgParams p = {0};

	param_int(&p, run->run);
	param_int(&p, MyProcPid);
	update(run, "UPDATE product_llm.training_run SET state = 'running', pid = $2, error = NULL, updated_at = pg_catalog.clock_timestamp()"
		   " WHERE run OPERATOR(pg_catalog.=) $1", &p);
}

void
plmpg_run_counts(PlmpgTrainRun *run)
{
	PlmpgParams p = {0};
	uint64_t	checksum = plm_examples_checksum(run->examples);
	uint64_t	held = run->held_out != NULL ? plm_examples_checksum(run->held_out) : 0;

	param_int(&p, run->run);
	param_long(&p, plm_examples_count(run->examples), false);
	param_long(&p, run->held_out != NULL ? plm_examples_count(run->held_out) : 0, false);
	plmpg_param_text(&p, psprintf("%016" INT64_MODIFIER "x%016" INT64_MODIFIER "x", checksum, held));
	param_long(&p, plm_trainer_steps(run->trainer), false);
	plmpg_param(&p, TEXTARRAYOID, run->reads, false);
	plmpg_param(&p, BOOLOID, BoolGetDatum(run->reads_more), false);
	if (as_owner("UPDATE product_llm.training_run SET example_rows = $2, held_out_rows = $3, checksum = $4, steps = $5, reads = $6, reads_more = $7,"
				 " updated_at = pg_catalog.clock_timestamp()"
				 " WHERE run OPERATOR(pg_catalog.=) $1 AND coalesce(checksum, $4) OPERATOR(pg_catalog.=) $4", &p, 0, NULL, NULL) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the rows of training %d are not those that it began with", run->run),
				 errhint("Begin a new training; or restore the rows that the query gave.")));
}

/* ---- the course ---- */

void
plmpg_run_point(PlmpgTrainRun *run, int64 step, const char *metric, double value)
{
	PlmpgTrainPoint *point;

	if (run->n_points == run->room_points)
	{
		int			room = Max(64, run->room_points * 2);

		run->points = run->points == NULL ? MemoryContextAlloc(run->context, room * sizeof(PlmpgTrainPoint)) :
			repalloc(run->points, room * sizeof(PlmpgTrainPoint));
		run->room_points = room;
	}
	point = &run->points[run->n_points++];
	point->step = step;
	point->value = value;
	strlcpy(point->metric, metric, sizeof(point->metric));
}

static void
write_points(PlmpgTrainRun *run)
{
	for (int i = 0; i < run->n_points; i++)
	{
		PlmpgParams p = {0};

		param_int(&p, run->run);
		param_long(&p, run->points[i].step, false);
		plmpg_param_text(&p, run->points[i].metric);
		param_real(&p, run->points[i].value, false);
		as_owner("INSERT INTO product_llm.training_metrics (run, step, metric, value) VALUES ($1, $2, $3, $4)"
				 " ON CONFLICT (run, metric, step) DO UPDATE SET value = EXCLUDED.value", &p, PLMPG_SQL_KEEP, NULL, NULL);
	}
}

void
plmpg_run_progress(PlmpgTrainRun *run)
{
	PlmpgParams p = {0};
	TimestampTz now = GetCurrentTimestamp();
	int64		at = plm_trainer_at(run->trainer);
	int64		left = plm_trainer_steps(run->trainer) - at;
	int64		done = at - run->begin_step;
	double		slice = (double) (now - run->slice_begin) / USECS_PER_SEC;
	double		spent = (double) (now - run->begin) / USECS_PER_SEC;
	bool		none = run->slice_steps == 0;

	write_points(run);
	param_int(&p, run->run);
	param_long(&p, at, false);
	param_real(&p, none ? 0 : run->slice_loss / (double) run->slice_steps, none);
	param_real(&p, run->learning_rate, none);
	param_real(&p, slice > 0 ? (double) run->slice_tokens / slice : 0, none || slice <= 0);
	param_real(&p, done > 0 ? spent / (double) done * (double) left : 0, done <= 0);
	plmpg_param_text(&p, run->course.any_best ? run->course.metrics[0].name : NULL);
	param_real(&p, run->course.best_value, !run->course.any_best);
	param_long(&p, run->course.best_step, !run->course.any_best);
	update(run, "UPDATE product_llm.training_run SET step = $2, loss = coalesce($3, loss), learning_rate = coalesce($4, learning_rate),"
		   " tokens_per_second = coalesce($5, tokens_per_second), eta = pg_catalog.make_interval(secs => $6),"
		   " best_metric = $7, best_value = $8, best_step = $9, updated_at = pg_catalog.clock_timestamp()"
		   " WHERE run OPERATOR(pg_catalog.=) $1", &p);
}

void
plmpg_run_end(PlmpgTrainRun *run, const char *state, const char *error, Datum metrics)
{
	PlmpgParams p = {0};

	param_int(&p, run->run);
	plmpg_param_text(&p, state);
	plmpg_param_text(&p, error);
	plmpg_param(&p, JSONBOID, metrics, metrics == (Datum) 0);
	update(run, "UPDATE product_llm.training_run SET state = $2, error = $3, metrics = $4, eta = NULL,"
		   " updated_at = pg_catalog.clock_timestamp() WHERE run OPERATOR(pg_catalog.=) $1", &p);
}

void
plmpg_run_delete(int32 number)
{
	PlmpgParams p = {0};

	param_int(&p, number);
	as_owner("DELETE FROM product_llm.training_run WHERE run OPERATOR(pg_catalog.=) $1", &p, 0, NULL, NULL);
}

/* ---- checkpoints ---- */

/* A stream of bytes cut into parts, for the engine to write to or to read from. */
typedef struct PartStream
{
	PlmpgTrainRun *run;
	struct varlena *buffer;		/* PLMPG_PART_BYTES */
	size_t		n;				/* in it */
	size_t		at;				/* read of it */
	int32		part;			/* number of the next one to write or to fetch */
} PartStream;

static void
put_part(PartStream *s)
{
	PlmpgParams p = {0};

	SET_VARSIZE(s->buffer, VARHDRSZ + s->n);
	param_int(&p, s->run->run);
	param_int(&p, s->part++);
	plmpg_param(&p, BYTEAOID, PointerGetDatum(s->buffer), false);
	as_owner("INSERT INTO product_llm.training_checkpoint (run, part, data) VALUES ($1, $2, $3)", &p, 0, NULL, NULL);
	s->n = 0;
	CHECK_FOR_INTERRUPTS();
}

static void
take_part(void *arg, TupleTableSlot *slot)
{
	PartStream *s = arg;
	bool		null;
	struct varlena *data = PG_DETOAST_DATUM_PACKED(slot_getattr(slot, 1, &null));

	s->n = Min(VARSIZE_ANY_EXHDR(data), PLMPG_PART_BYTES);
	memcpy(VARDATA(s->buffer), VARDATA_ANY(data), s->n);
}

static void
get_part(PartStream *s)
{
	PlmpgParams p = {0};

	s->n = s->at = 0;
	param_int(&p, s->run->run);
	param_int(&p, s->part++);
	as_owner("SELECT data FROM product_llm.training_checkpoint WHERE run OPERATOR(pg_catalog.=) $1 AND part OPERATOR(pg_catalog.=) $2",
			 &p, 0, take_part, s);
	if (s->n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("part %d of the checkpoint of training %d is missing", s->part - 1, s->run->run),
				 errhint("Begin a new training.")));
	CHECK_FOR_INTERRUPTS();
}

/* What move() threw waits in run->error, because no ERROR may jump through engine frames. */
static PlmStatus
guarded(PartStream *s, void (*move) (PartStream *), PlmError *err)
{
	MemoryContext old = CurrentMemoryContext;

	if (s->run->error == NULL)
	{
		PG_TRY();
		{
			move(s);
		}
		PG_CATCH();
		{
			MemoryContextSwitchTo(s->run->context);
			s->run->error = CopyErrorData();
			FlushErrorState();
			MemoryContextSwitchTo(old);
		}
		PG_END_TRY();
	}
	return s->run->error == NULL ? PLM_OK : plm_fail(err, PLM_EIO, 0, "the checkpoint could not be stored or read");
}

static PlmStatus
write_bytes(void *arg, const void *data, size_t bytes, PlmError *err)
{
	PartStream *s = arg;
	const char *from = data;

	while (bytes > 0)
	{
		size_t		n = Min(bytes, PLMPG_PART_BYTES - s->n);

		memcpy(VARDATA(s->buffer) + s->n, from, n);
		s->n += n;
		from += n;
		bytes -= n;
		if (s->n == PLMPG_PART_BYTES)
			PLM_TRY(guarded(s, put_part, err));
	}
	return PLM_OK;
}

static PlmStatus
read_bytes(void *arg, void *data, size_t bytes, PlmError *err)
{
	PartStream *s = arg;
	char	   *to = data;

	while (bytes > 0)
	{
		size_t		n;

		if (s->at == s->n)
			PLM_TRY(guarded(s, get_part, err));
		n = Min(bytes, s->n - s->at);
		memcpy(to, VARDATA(s->buffer) + s->at, n);
		s->at += n;
		to += n;
		bytes -= n;
	}
	return PLM_OK;
}

void
plmpg_checkpoint_delete(PlmpgTrainRun *run)
{
	PlmpgParams p = {0};

	param_int(&p, run->run);
	as_owner("DELETE FROM product_llm.training_checkpoint WHERE run OPERATOR(pg_catalog.=) $1", &p, 0, NULL, NULL);
	as_owner("UPDATE product_llm.training_run SET checkpoint_step = NULL WHERE run OPERATOR(pg_catalog.=) $1", &p, 0, NULL, NULL);
}

void
plmpg_checkpoint_write(PlmpgTrainRun *run)
{
	PartStream	s = {.run = run, .part = 1};
	PlmpgParams p = {0};
	PlmError	err = {0};
	TimestampTz begin = GetCurrentTimestamp();
	PlmStatus	status;

	plmpg_checkpoint_delete(run);
	s.buffer = palloc(VARHDRSZ + PLMPG_PART_BYTES);
	status = write_bytes(&s, &run->course, sizeof(run->course), &err);
	if (status == PLM_OK)
		status = plm_trainer_state(run->trainer, write_bytes, &s, &err);
	plmpg_train_check(run, status, &err);
	if (s.n > 0)
		put_part(&s);
	pfree(s.buffer);
	param_int(&p, run->run);
	param_long(&p, plm_trainer_at(run->trainer), false);
	update(run, "UPDATE product_llm.training_run SET checkpoint_step = $2, updated_at = pg_catalog.clock_timestamp()"
		   " WHERE run OPERATOR(pg_catalog.=) $1", &p);
	run->checkpoint_step = plm_trainer_at(run->trainer);
	run->saved_at = GetCurrentTimestamp();
	run->save_seconds = (double) (run->saved_at - begin) / USECS_PER_SEC;
}

void
plmpg_checkpoint_read(PlmpgTrainRun *run)
{
	PartStream	s = {.run = run, .part = 1};
	PlmpgParams p = {0};
	PlmError	err = {0};
	PlmpgTrainCourse course;
	PlmStatus	status;

	s.buffer = palloc(VARHDRSZ + PLMPG_PART_BYTES);
	status = read_bytes(&s, &course, sizeof(course), &err);
	plmpg_train_check(run, status, &err);
	if (course.version != run->course.version || course.n_metrics < 0 || course.n_metrics > PLM_MAX_METRICS)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the checkpoint of training %d was written by another version", run->run),
				 errhint("Begin a new training.")));
	status = plm_trainer_restore(run->trainer, read_bytes, &s, &err);
	plmpg_train_check(run, status, &err);
	pfree(s.buffer);
	run->course = course;
	/* What came after it will come again. */
	param_int(&p, run->run);
	param_long(&p, plm_trainer_at(run->trainer), false);
	as_owner("DELETE FROM product_llm.training_metrics WHERE run OPERATOR(pg_catalog.=) $1 AND step OPERATOR(pg_catalog.>) $2",
			 &p, 0, NULL, NULL);
}

/* ---- locks ---- */

static LOCKTAG
run_tag(int32 number)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, plmpg_relation("training_run"), (uint32) number, 0);
	return tag;
}

/* As plmpg_catalog_lock() has it. */
static LOCKTAG
model_tag(const char *model)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, plmpg_relation("model"),
					   DatumGetUInt32(hash_any((const unsigned char *) model, (int) strlen(model))), 0);
	return tag;
}

bool
plmpg_run_lock(int32 number)
{
	LOCKTAG		tag = run_tag(number);

	return LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

void
plmpg_run_unlock(int32 number)
{
	LOCKTAG		tag = run_tag(number);

	(void) LockRelease(&tag, ExclusiveLock, true);
}

void
plmpg_model_lock(const char *model, LOCKMODE mode)
{
	LOCKTAG		tag = model_tag(model);

	if (LockAcquire(&tag, mode, true, true) == LOCKACQUIRE_NOT_AVAIL)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("model \"%s\" is being made, trained or dropped by another session", model),
				 errhint("product_llm.training_runs shows what is being trained.")));
}

void
plmpg_model_unlock(const char *model, LOCKMODE mode)
{
	LOCKTAG		tag = model_tag(model);

	(void) LockRelease(&tag, mode, true);
}

bool
plmpg_run_is_worked_on(int32 number)
{
	if (!plmpg_run_lock(number))
		return true;
	plmpg_run_unlock(number);
	return false;
}

int
plmpg_run_worker(int32 number)
{
	PlmpgParams p = {0};
	int32		pid = 0;

	param_int(&p, number);
	as_owner("SELECT k.pid FROM pg_catalog.pg_locks AS k WHERE k.locktype OPERATOR(pg_catalog.=) 'object'"
			 " AND k.classid OPERATOR(pg_catalog.=) 'product_llm.training_run'::pg_catalog.regclass"
			 " AND k.objid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND k.granted AND k.database OPERATOR(pg_catalog.=)"
			 " (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())",
			 &p, 0, take_number, &pid);
	return pid;
}
