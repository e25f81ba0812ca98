/*
 * train_run.c -- a training from its row to the new model.
 *
 * Work is done in phases, each a subtransaction of its own: an error or a cancel in one of them is caught, the run's row
 * says what happened, and then the error goes on its way.  Between phases the procedure commits, so that other sessions
 * see how far it is and a crash loses little.  The trainer lives in the run's memory context through all of that.
 *
 * In a transaction block nothing can be committed: then the training is as any other statement, all or nothing.
 */
#include "training.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#define SLICE_SECONDS 1.0		/* between two commits, or one step when that takes longer */
#define LAST_SAVE_SECONDS 0.05	/* a checkpoint at a cancel must not take longer */
#define SAVE_BYTES_A_SECOND 150e6	/* guessed until one has been written */
#define CURVE_POINTS 200		/* rows of training_loss that a run makes, about */
#define SAMPLES 500				/* of the bootstrap */

/* ---- memory ---- */

PlmpgTrainRun *
plmpg_run_new(bool commits)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "product_llm training", ALLOCSET_DEFAULT_SIZES);
	PlmpgTrainRun *run = MemoryContextAllocZero(context, sizeof(PlmpgTrainRun));

	run->context = context;
	run->hook = plmpg_hook(context);
	run->commits = commits;
	run->checkpoint_step = -1;
	run->course = (PlmpgTrainCourse) {.version = 0x10000 + sizeof(PlmpgTrainCourse), .evaluated = -1};
	return run;
}

/* The large memory; the context itself goes with the caller's. */
static void
close_engine(PlmpgTrainRun *run)
{
	if (run->trainer != NULL)
		plm_trainer_close(run->trainer);
	if (run->held_out != NULL)
		plm_examples_free(run->held_out);
	if (run->examples != NULL)
		plm_examples_free(run->examples);
	run->trainer = NULL;
	run->held_out = run->examples = NULL;
}

void
plmpg_train_check(PlmpgTrainRun *run, PlmStatus status, const PlmError *err)
{
	if (run->error != NULL)
	{
		ErrorData  *error = run->error;

		run->error = NULL;
		ReThrowError(error);
	}
	if (run->store != NULL)
		plmpg_store_check(run->store, status, err);
	plmpg_check(status, err);
}

/* ---- phases ---- */

/* Run one; false: it failed, with *failure in the run's memory. */
static bool
phase(PlmpgTrainRun *run, void (*work) (PlmpgTrainRun *), ErrorData **failure)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	MemoryContext scratch = AllocSetContextCreate(run->context, "product_llm training phase", ALLOCSET_DEFAULT_SIZES);
	volatile bool done = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(scratch);
	PG_TRY();
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		work(run);
		PopActiveSnapshot();
		ReleaseCurrentSubTransaction();
		done = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(run->context);
		*failure = CopyErrorData();
		FlushErrorState();
		/* The store's snapshot goes with the subtransaction, its memory with the phase's. */
		if (run->store != NULL)
			plmpg_base_forget(run);
		run->store = NULL;
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	MemoryContextDelete(scratch);
	return done;
}

static void
commit(PlmpgTrainRun *run)
{
	if (run->commits)
		plmpg_commit();
}

/* The rows are read by the caller's rights, with the names that held when the run began, and can change nothing. */
static void
read_examples(PlmpgTrainRun *run)
{
	int			level = NewGUCNestLevel();

	(void) set_config_option("search_path", run->search_path, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	XactReadOnly = true;		/* the subtransaction's end takes it back */
	plmpg_train_read_examples(run);
	AtEOXact_GUC(false, level);
}

static void
open_examples(PlmpgTrainRun *run)
{
	PlmTrainOptions *o = &run->settings.engine;

	o->threads = run->settings.threads > 0 ? run->settings.threads : plmpg_thread_count();
	o->memory_limit = (size_t) (run->settings.memory_kb > 0 ? run->settings.memory_kb : plmpg_memory_limit_kb) * 1024;
	o->hook = &run->hook;
	plm_arena_init(&run->arena, &run->hook, o->memory_limit);
	plmpg_base_prepare(run);
	read_examples(run);
}

/* Of a private run that begins; one that goes on has it from its checkpoint, and nobody else knows it. */
static void
draw_key(PlmTrainOptions *o)
{
	if (o->privacy_epsilon > 0 && !pg_strong_random(o->privacy_key, sizeof(o->privacy_key)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("the system gives no random numbers"),
				 errhint("A private training needs some that nobody can guess.")));
}

static void
open_trainer(PlmpgTrainRun *run)
{
	PlmTrainBase base = {.files = &run->files, .labels = run->labels.names, .n_labels = run->labels.n,
		.words = run->words.n > 0 ? &run->words : NULL};
	PlmError	err = {0};

	/* Gains are 2^grade: beyond 30 the first document would be all. */
	run->settings.engine.grade_scale = Min(run->scale, 30);
	draw_key(&run->settings.engine);
	plmpg_base_open(run);
	plmpg_train_check(run, plm_trainer_open(&base, &run->settings.engine, run->examples, run->held_out, &run->trainer, &err), &err);
	plmpg_base_close(run);
	plmpg_run_counts(run);
	if (run->checkpoint_step >= 0)
		plmpg_checkpoint_read(run);
	run->begin_step = plm_trainer_at(run->trainer);
	run->begin = run->slice_begin = run->saved_at = GetCurrentTimestamp();
	plmpg_run_progress(run);
}

/* ---- steps ---- */

static int64
evaluate_every(const PlmpgTrainRun *run)
{
	return run->settings.evaluate_every > 0 ? run->settings.evaluate_every : Max(1, plm_trainer_steps(run->trainer) / 10);
}

/* Is it time to look at the held-out rows?  Depends on steps alone. */
static bool
evaluation_is_due(const PlmpgTrainRun *run)
{
	int64		at = plm_trainer_at(run->trainer);

	if (run->held_out == NULL || run->course.evaluated == at)
		return false;
	return at == plm_trainer_steps(run->trainer) || run->finish || at % evaluate_every(run) == 0;
}

static void
evaluate(PlmpgTrainRun *run)
{
	PlmpgTrainCourse *c = &run->course;
	PlmMetric	metrics[PLM_MAX_METRICS];
	int64		at = plm_trainer_at(run->trainer);
	bool		better_high;
	int			n;
	PlmError	err = {0};

	plmpg_check(plm_trainer_evaluate(run->trainer, SAMPLES, metrics, &n, &better_high, &err), &err);
	for (int i = 0; i < n; i++)
		plmpg_run_point(run, at, metrics[i].name, metrics[i].value);
	if (!c->any_best || (better_high ? metrics[0].value > c->best_value : metrics[0].value < c->best_value))
	{
		/* Before the first step there is nothing to keep that a base would not give. */
		if (at > 0)
			plmpg_check(plm_trainer_keep(run->trainer, &err), &err);
		if (at > 0)
		{
			c->any_best = true;
			c->best_value = metrics[0].value;
			c->best_step = at;
			c->n_metrics = n;
			memcpy(c->metrics, metrics, sizeof(metrics));
		}
		c->worse = 0;
	}
	else
		c->worse++;
	c->better_high = better_high;
	c->evaluated = at;
	run->stopped_early = run->settings.early_stopping > 0 && c->worse >= run->settings.early_stopping;
}

static void
take_step(PlmpgTrainRun *run)
{
	PlmpgTrainCourse *c = &run->course;
	PlmStep		step;
	PlmError	err = {0};

	plmpg_check(plm_trainer_step(run->trainer, &step, &err), &err);
	run->slice_loss += step.loss;
	run->slice_steps++;
	run->slice_tokens += step.tokens;
	run->learning_rate = step.learning_rate;
	c->loss_sum += step.loss;
	c->loss_steps++;
	if (step.step % Max(1, plm_trainer_steps(run->trainer) / CURVE_POINTS) == 0 || step.last)
	{
		plmpg_run_point(run, step.step, "training_loss", c->loss_sum / (double) c->loss_steps);
		c->loss_sum = 0;
		c->loss_steps = 0;
		c->logged = step.step;
	}
}

static bool
finished(const PlmpgTrainRun *run)
{
	return !evaluation_is_due(run) &&
		(run->stopped_early || run->finish || plm_trainer_at(run->trainer) >= plm_trainer_steps(run->trainer));
}

static double
seconds_since(TimestampTz then)
{
	return (double) (GetCurrentTimestamp() - then) / USECS_PER_SEC;
}

static void
slice(PlmpgTrainRun *run)
{
	run->slice_begin = GetCurrentTimestamp();
	run->slice_loss = 0;
	run->slice_steps = run->slice_tokens = 0;
	do
	{
		CHECK_FOR_INTERRUPTS();
		if (evaluation_is_due(run))
			evaluate(run);
		else
			take_step(run);
	} while (!finished(run) && seconds_since(run->slice_begin) < Min(SLICE_SECONDS, run->settings.checkpoint_every));
	plmpg_run_progress(run);
	if (run->commits && !finished(run) && seconds_since(run->saved_at) >= run->settings.checkpoint_every)
		plmpg_checkpoint_write(run);
}

/* ---- failing ---- */

/* Last state before a cancel, when it can be written at once. */
static void
save_quickly(PlmpgTrainRun *run)
{
	double		expected = run->save_seconds > 0 ? run->save_seconds :
		(double) plm_trainer_parameters(run->trainer) * 16 / SAVE_BYTES_A_SECOND;

	plmpg_run_progress(run);
	if (plm_trainer_at(run->trainer) > run->checkpoint_step && expected <= LAST_SAVE_SECONDS)
		plmpg_checkpoint_write(run);
}

static void
save(PlmpgTrainRun *run)
{
	plmpg_run_progress(run);
	/* One less than the last checkpoint's step, when that was written with weights that are no good. */
	if (plm_trainer_at(run->trainer) != run->checkpoint_step)
		plmpg_checkpoint_write(run);
}

static ErrorData *failure_of;	/* for record_failure() */

static void
record_failure(PlmpgTrainRun *run)
{
	plmpg_run_end(run, failure_of->sqlerrcode == ERRCODE_QUERY_CANCELED ? "cancelled" : "failed", failure_of->message, (Datum) 0);
}

/* Say in the run's row what happened. */
static void
conclude(PlmpgTrainRun *run, ErrorData *failure)
{
	ErrorData  *other = NULL;

	if (!run->commits)
		return;
	if (run->trainer != NULL && !run->finish)
	{
		/* Of what came to nothing by its numbers, the last good weights stay. */
		if (failure->sqlerrcode == ERRCODE_QUERY_CANCELED)
			(void) phase(run, save_quickly, &other);
		else if (failure->sqlerrcode == ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE)
			(void) phase(run, save, &other);
	}
	failure_of = failure;
	(void) phase(run, record_failure, &other);
	commit(run);
}

/* ---- all of it ---- */

/* Once more, now that the name is ours until the end. */
static void
begin(PlmpgTrainRun *run)
{
	plmpg_claim(run->model, "a training", PLMPG_CLAIM_NEW);
	plmpg_run_begin(run);
}

static bool
work(PlmpgTrainRun *run, ErrorData **failure)
{
	if (!phase(run, begin, failure))
		return false;
	commit(run);
	if (!phase(run, open_examples, failure) || !phase(run, open_trainer, failure))
		return false;
	commit(run);
	while (!finished(run))
	{
		if (!phase(run, slice, failure))
			return false;
		commit(run);
	}
	if (!phase(run, plmpg_train_install, failure))
		return false;
	commit(run);
	return true;
}

/* Names that must mean the same from begin to end. */
static void
lock_names(PlmpgTrainRun *run)
{
	plmpg_model_lock(run->model, ExclusiveLock);
	PG_TRY();
	{
		if (run->base != NULL)
			plmpg_model_lock(run->base, ShareLock);
	}
	PG_CATCH();
	{
		plmpg_model_unlock(run->model, ExclusiveLock);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

static void
unlock_names(PlmpgTrainRun *run)
{
	if (run->base != NULL)
		plmpg_model_unlock(run->base, ShareLock);
	plmpg_model_unlock(run->model, ExclusiveLock);
}

void
plmpg_train(PlmpgTrainRun *run)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorData  *failure = NULL;
	int32		number = run->run;

	if (!plmpg_run_lock(number))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("another process works on training %d", number),
				 errhint("product_llm.training_runs shows how far it is.")));
	PG_TRY();
	{
		lock_names(run);
		PG_TRY();
		{
			if (!work(run, &failure))
				conclude(run, failure);
		}
		PG_FINALLY();
		{
			unlock_names(run);
		}
		PG_END_TRY();
	}
	PG_FINALLY();
	{
		plmpg_run_unlock(number);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	close_engine(run);
	if (failure != NULL)
		ReThrowError(failure);
	MemoryContextDelete(run->context);
}
