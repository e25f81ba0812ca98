/*
 * fn_train.c -- the SQL procedures of training: pretrain, finetune, retrain, resume_training, finish_training; cancel_training.
 *
 * Arguments are checked before there is a run, so that a mistake leaves nothing behind.
 */
#include "training.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/snapmgr.h"

static void
require(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name),
				 errhint("Only argument \"base\" of pretrain() may be null: the model then begins with nothing.")));
}

static char *
text_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	require(fcinfo, argument, name);
	return text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

static void
require_model(const char *name)
{
	PlmpgRow	row;

	plmpg_catalog_usable(name, GetLatestSnapshot(), &row);
}

/* In the run's memory: the texts that the settings point to. */
static void
settle(PlmpgTrainRun *run, Jsonb *options)
{
	plmpg_train_options(run->objective, options, &run->settings);
	if (run->base == NULL && run->settings.tokenizer == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a model that begins with nothing needs a tokenizer"),
				 errhint("Name a model in option \"tokenizer\"; product_llm.train_tokenizer() makes one of the corpus.")));
}

/* Where names are looked up: as in this session, unless the run knows better. */
static void
check_queries(PlmpgTrainRun *run)
{
	int			level = NewGUCNestLevel();

	if (run->search_path == NULL)
		run->search_path = pstrdup(GetConfigOption("search_path", false, false));
	(void) set_config_option("search_path", run->search_path, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	plmpg_train_check_queries(run->objective, run->query, &run->settings);
	AtEOXact_GUC(false, level);
}

/* All that can be said about a new run before it begins. */
static void
prepare(PlmpgTrainRun *run, Jsonb *options)
{
	/* Not waiting for a training of that name to end, which may take days. */
	plmpg_model_lock(run->model, ExclusiveLock);
	plmpg_model_unlock(run->model, ExclusiveLock);
	plmpg_claim(run->model, "a training", PLMPG_CLAIM_NEW);
	settle(run, options);
	require_model(run->base != NULL ? run->base : run->settings.tokenizer);
	if (run->base != NULL && run->settings.tokenizer != NULL)
		require_model(run->settings.tokenizer);
	if (run->settings.teacher != NULL)
		require_model(run->settings.teacher);
	check_queries(run);
	run->options = plmpg_train_resolved(run->objective, &run->settings);
}

/* What a stored run is asked for. */
static void
restore(PlmpgTrainRun *run)
{
	settle(run, DatumGetJsonbP(run->options));
	run->settings.engine.multi_label = run->settings.multi_label == 1;
	run->settings.engine.next_sentence = run->settings.next_sentence == 1;
	run->resumed = true;
}

static void
refuse_in_block(const PlmpgTrainRun *run)
{
	if (run->settings.background && !run->commits)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("a training in the background cannot be begun inside a transaction block, a savepoint or a function"),
				 errhint("Call it by itself, outside BEGIN, or without option \"background\".")));
}

static void
go(PlmpgTrainRun *run)
{
	if (run->settings.background)
		plmpg_train_in_background(run);
	else
		plmpg_train(run);
}

/* A new run, or the one that is to be gone on with; its texts are in its memory. */
static void
train(PlmpgTrainRun *run, Jsonb *options)
{
	int32		number;

	PushActiveSnapshot(GetTransactionSnapshot());
	prepare(run, options);
	refuse_in_block(run);
	number = run->commits ? plmpg_run_equal(run) : 0;
	if (number != 0 && !plmpg_run_is_worked_on(number))
	{
		plmpg_run_read(run, number);
		run->resumed = true;
		ereport(NOTICE, (errmsg("going on with training %d", number)));
	}
	else
		plmpg_run_insert(run);
	PopActiveSnapshot();
	if (run->commits)
		plmpg_commit();
	go(run);
}

PG_FUNCTION_INFO_V1(product_llm_pretrain);

/* pretrain(model, corpus, base, options) */
Datum
product_llm_pretrain(PG_FUNCTION_ARGS)
{
	PlmpgTrainRun *run = plmpg_run_new(plmpg_may_commit(fcinfo));
	MemoryContext old = MemoryContextSwitchTo(run->context);

	require(fcinfo, 0, "model");
	require(fcinfo, 3, "options");
	run->model = plmpg_model_name(PG_GETARG_TEXT_PP(0));
	run->query = text_argument(fcinfo, 1, "corpus");
	run->base = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));
	run->objective = PLM_LEARN_MASKED;
	train(run, PG_GETARG_JSONB_P(3));
	MemoryContextSwitchTo(old);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(product_llm_finetune);

/* finetune(model, base, task, examples, options) */
Datum
product_llm_finetune(PG_FUNCTION_ARGS)
{
	PlmpgTrainRun *run = plmpg_run_new(plmpg_may_commit(fcinfo));
	MemoryContext old = MemoryContextSwitchTo(run->context);

	require(fcinfo, 0, "model");
	require(fcinfo, 4, "options");
	run->model = plmpg_model_name(PG_GETARG_TEXT_PP(0));
	run->base = text_argument(fcinfo, 1, "base");
	run->objective = plmpg_train_task(text_argument(fcinfo, 2, "task"));
	run->query = text_argument(fcinfo, 3, "examples");
	train(run, PG_GETARG_JSONB_P(4));
	MemoryContextSwitchTo(old);
	PG_RETURN_VOID();
}

/* ---- runs that there are ---- */

static void
go_on(FunctionCallInfo fcinfo, bool finish)
{
	PlmpgTrainRun *run = plmpg_run_new(plmpg_may_commit(fcinfo));
	MemoryContext old = MemoryContextSwitchTo(run->context);
	char	   *state;

	require(fcinfo, 0, "run");
	PushActiveSnapshot(GetTransactionSnapshot());
	state = plmpg_run_read(run, PG_GETARG_INT32(0));
	if (strcmp(state, "done") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("training %d is done", run->run),
				 errhint("Its model can be used, and be the base of another training.")));
	if (plmpg_run_is_worked_on(run->run))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("another process works on training %d", run->run),
				 errhint("product_llm.training_runs shows how far it is.")));
	if (finish && run->checkpoint_step < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("training %d has left no checkpoint", run->run),
				 errhint("product_llm.resume_training() begins it anew.")));
	restore(run);
	run->finish = finish;
	if (finish)
		run->settings.background = false;
	refuse_in_block(run);
	PopActiveSnapshot();
	go(run);
	MemoryContextSwitchTo(old);
}

PG_FUNCTION_INFO_V1(product_llm_resume_training);

Datum
product_llm_resume_training(PG_FUNCTION_ARGS)
{
	go_on(fcinfo, false);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(product_llm_finish_training);

Datum
product_llm_finish_training(PG_FUNCTION_ARGS)
{
	go_on(fcinfo, true);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(product_llm_retrain);

/* retrain(model, as_model): the same call again, on the rows of today. */
Datum
product_llm_retrain(PG_FUNCTION_ARGS)
{
	PlmpgTrainRun *run = plmpg_run_new(plmpg_may_commit(fcinfo));
	MemoryContext old = MemoryContextSwitchTo(run->context);
	char	   *model = text_argument(fcinfo, 0, "model");
	int32		number;

	require(fcinfo, 1, "as_model");
	PushActiveSnapshot(GetTransactionSnapshot());
	require_model(model);
	number = plmpg_run_of_model(model);
	if (number == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("no training of this database is known to have made model \"%s\"", model),
				 errhint("Only what pretrain() or finetune() has made, and whose row of product_llm.training_run is there, can be made again.")));
	plmpg_run_read(run, number);
	PopActiveSnapshot();
	run->run = 0;
	run->checkpoint_step = -1;
	run->model = plmpg_model_name(PG_GETARG_TEXT_PP(1));
	train(run, DatumGetJsonbP(run->options));
	MemoryContextSwitchTo(old);
	PG_RETURN_VOID();
}

void
plmpg_train_stored(int32 number)
{
	PlmpgTrainRun *run = plmpg_run_new(true);
	MemoryContext old = MemoryContextSwitchTo(run->context);

	PushActiveSnapshot(GetTransactionSnapshot());
	plmpg_run_read(run, number);
	restore(run);
	PopActiveSnapshot();
	plmpg_train(run);
	MemoryContextSwitchTo(old);
}

PG_FUNCTION_INFO_V1(product_llm_cancel_training);

/* cancel_training(run): as pg_cancel_backend() for the process that works on it. */
Datum
product_llm_cancel_training(PG_FUNCTION_ARGS)
{
	int32		number = PG_GETARG_INT32(0);
	PlmpgTrainRun *run = plmpg_run_new(false);
	int			pid;

	plmpg_run_read(run, number);
	pid = plmpg_run_worker(number);
	MemoryContextDelete(run->context);
	if (pid == 0)
		PG_RETURN_BOOL(false);
	PG_RETURN_DATUM(DirectFunctionCall1(pg_cancel_backend, Int32GetDatum(pid)));
}
