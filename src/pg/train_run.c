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

#include <math.h>

#include "access/xact.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/json.h"
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

/* ---- the base ---- */

/* PlmSource.read: the base's files are there while run->store is open. */
static PlmStatus
base_read(void *arg, uint64_t offset, size_t len, void *dst, PlmError *err)
{
	PlmpgStoredFile **file = arg;

	if (*file == NULL)
		return plm_fail(err, PLM_EINTERNAL, 0, "the files of the base are closed");
	return (*file)->store->sources[*file - (*file)->store->files].read(*file, offset, len, dst, err);
}

/* Sources that outlive a transaction; base_open() and base_close() say when they can be read. */
static void
make_sources(PlmpgTrainRun *run)
{
	int			n = run->store->n;
	PlmpgStoredFile **places = MemoryContextAllocZero(run->context, n * sizeof(PlmpgStoredFile *));

	run->sources = MemoryContextAllocZero(run->context, n * sizeof(PlmSource));
	for (int i = 0; i < n; i++)
	{
		run->sources[i] = run->store->sources[i];
		run->sources[i].read = base_read;
		run->sources[i].arg = &places[i];
	}
	run->n_sources = n;
	run->files = (PlmFileSet) {run->sources, n};
}

static void
base_open(PlmpgTrainRun *run)
{
	const char *base = run->base != NULL ? run->base : run->settings.tokenizer;
	PlmpgRow	row;

	if (!plmpg_catalog_find(base, GetLatestSnapshot(), &row))
		plmpg_catalog_missing(base);
	run->store = plmpg_store_open(row.files_of, GetLatestSnapshot());
	if (run->sources == NULL)
		make_sources(run);
	for (int i = 0; i < run->store->n; i++)
		*(PlmpgStoredFile **) run->sources[i].arg = &run->store->files[i];
}

static void
forget_places(PlmpgTrainRun *run)
{
	for (int i = 0; run->sources != NULL && i < run->n_sources; i++)
		*(PlmpgStoredFile **) run->sources[i].arg = NULL;
}

static void
base_close(PlmpgTrainRun *run)
{
	forget_places(run);
	plmpg_store_close(run->store);
	run->store = NULL;
}

/* The text of a small file, in the run's arena. */
static PlmText
base_text(PlmpgTrainRun *run, const char *name)
{
	PlmText		text = {NULL, 0};
	PlmError	err = {0};

	plmpg_train_check(run, plm_file_text(&run->files, name, (size_t) 64 * 1024 * 1024, &run->arena, &text, &err), &err);
	return text;
}

/* A configuration for a vocabulary that has none: the files of a model that knows nothing yet. */
static void
make_fresh(PlmpgTrainRun *run)
{
	PlmText		vocab = base_text(run, "vocab.txt");
	PlmFileSet	set;
	PlmError	err = {0};

	if (vocab.data == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("model \"%s\" has no vocab.txt to begin anew with", run->base != NULL ? run->base : run->settings.tokenizer),
				 errhint("product_llm.train_tokenizer() makes a vocabulary of a corpus.")));
	plmpg_check(plm_fresh_files(&run->settings.shape, vocab, base_text(run, "tokenizer_config.json"), &run->arena, &set, &err), &err);
	run->files = set;
}

static void
compile_tokenizer(PlmpgTrainRun *run)
{
	PlmTokenizerFiles files = {
		.tokenizer_json = base_text(run, "tokenizer.json"),
		.vocab_txt = base_text(run, "vocab.txt"),
		.tokenizer_config_json = base_text(run, "tokenizer_config.json"),
		.special_tokens_map_json = base_text(run, "special_tokens_map.json"),
		.added_tokens_json = base_text(run, "added_tokens.json"),
	};
	void	   *blob;
	size_t		bytes;
	PlmError	err = {0};

	plmpg_check(plm_tokenizer_compile(&files, &run->arena, &blob, &bytes, &err), &err);
	plmpg_check(plm_tokenizer_open(blob, bytes, &run->tokenizer, &err), &err);
}

/* Longest text: what is asked for, else what the base takes. */
static void
settle_length(PlmpgTrainRun *run)
{
	PlmConfig	config;
	PlmText    *labels;
	PlmError	err = {0};

	plmpg_train_check(run, plm_config_read(&run->files, &run->arena, &config, &labels, &err), &err);
	if (run->settings.engine.max_tokens > config.max_tokens)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"max_tokens\" is %d, but the base takes at most %d tokens", run->settings.engine.max_tokens,
						config.max_tokens)));
	if (run->settings.engine.max_tokens == 0)
		run->settings.engine.max_tokens = config.max_tokens;
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
			forget_places(run);
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
	base_open(run);
	if (plm_file_find(&run->files, "config.json") == NULL || run->base == NULL)
		make_fresh(run);
	compile_tokenizer(run);
	settle_length(run);
	base_close(run);
	read_examples(run);
}

static void
open_trainer(PlmpgTrainRun *run)
{
	PlmTrainBase base = {.files = &run->files, .labels = run->labels.names, .n_labels = run->labels.n};
	PlmError	err = {0};

	base_open(run);
	plmpg_train_check(run, plm_trainer_open(&base, &run->settings.engine, run->examples, run->held_out, &run->trainer, &err), &err);
	base_close(run);
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

/* ---- the end ---- */

/* Where the engine's files go. */
typedef struct Outlet
{
	PlmpgTrainRun *run;
	char	   *name;			/* NULL: no file yet */
	struct varlena *buffer;		/* PLMPG_PART_BYTES */
	size_t		n;
	int32		part;			/* of the next part */
} Outlet;

static void
put_part(Outlet *o)
{
	SET_VARSIZE(o->buffer, VARHDRSZ + o->n);
	plmpg_write_part(o->run->model, o->name, o->part++, o->buffer);
	o->n = 0;
	CHECK_FOR_INTERRUPTS();
}

static void
end_file(Outlet *o)
{
	if (o->name != NULL && (o->n > 0 || o->part == 1))
		put_part(o);
}

static PlmStatus
guarded(Outlet *o, void (*move) (Outlet *), PlmError *err)
{
	MemoryContext old = CurrentMemoryContext;

	if (o->run->error == NULL)
	{
		PG_TRY();
		{
			move(o);
		}
		PG_CATCH();
		{
			MemoryContextSwitchTo(o->run->context);
			o->run->error = CopyErrorData();
			FlushErrorState();
			MemoryContextSwitchTo(old);
		}
		PG_END_TRY();
	}
	return o->run->error == NULL ? PLM_OK : plm_fail(err, PLM_EIO, 0, "the model could not be stored");
}

static PlmStatus
begin_file(void *arg, const PlmTrainedFile *file, PlmError *err)
{
	Outlet	   *o = arg;

	PLM_TRY(guarded(o, end_file, err));
	o->name = MemoryContextStrdup(o->run->context, file->name);
	o->part = 1;
	return PLM_OK;
}

static PlmStatus
write_bytes(void *arg, const void *data, size_t bytes, PlmError *err)
{
	Outlet	   *o = arg;
	const char *from = data;

	while (bytes > 0)
	{
		size_t		n = Min(bytes, PLMPG_PART_BYTES - o->n);

		memcpy(VARDATA(o->buffer) + o->n, from, n);
		o->n += n;
		from += n;
		bytes -= n;
		if (o->n == PLMPG_PART_BYTES)
			PLM_TRY(guarded(o, put_part, err));
	}
	return PLM_OK;
}

static void
write_files(PlmpgTrainRun *run)
{
	static const PlmType types[] = {PLM_F32, PLM_F16};
	Outlet		o = {.run = run};
	PlmError	err = {0};
	PlmStatus	status;

	o.buffer = palloc(VARHDRSZ + PLMPG_PART_BYTES);
	base_open(run);
	status = plm_trainer_files(run->trainer, types[run->settings.precision], begin_file, write_bytes, &o, &err);
	plmpg_train_check(run, status, &err);
	end_file(&o);
	base_close(run);
	pfree(o.buffer);
}

/* What the model's row says was measured, on what; JSON. */
static Datum
metrics_json(const PlmpgTrainRun *run)
{
	const PlmpgTrainCourse *c = &run->course;
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfo(&s, "{\"run\": %d, \"task\": \"%s\", \"rows\": " INT64_FORMAT ", \"steps\": " INT64_FORMAT, run->run,
					 plm_objective_name(run->objective), plm_examples_count(run->examples),
					 c->any_best ? c->best_step : plm_trainer_at(run->trainer));
	if (c->any_best)
	{
		appendStringInfo(&s, ", \"held_out_rows\": " INT64_FORMAT ", \"held_out\": ", plm_examples_count(run->held_out));
		escape_json(&s, run->settings.validation_query != NULL ? run->settings.validation_query :
					psprintf("%.4g of the rows by the md5 of their first text", run->settings.validation));
		for (int i = 0; i < c->n_metrics; i++)
		{
			appendStringInfoString(&s, ", ");
			escape_json(&s, c->metrics[i].name);
			appendStringInfo(&s, ": {\"value\": %.6g", c->metrics[i].value);
			if (isfinite(c->metrics[i].low) && isfinite(c->metrics[i].high))
				appendStringInfo(&s, ", \"low\": %.6g, \"high\": %.6g", c->metrics[i].low, c->metrics[i].high);
			appendStringInfoChar(&s, '}');
		}
	}
	appendStringInfoChar(&s, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(s.data));
}

static void
install(PlmpgTrainRun *run)
{
	Datum		metrics = metrics_json(run);

	plmpg_claim(run->model, "a training", PLMPG_CLAIM_NEW);
	write_files(run);
	plmpg_install(run->model, NULL, run->base, metrics);
	plmpg_checkpoint_delete(run);
	plmpg_run_end(run, "done", NULL, metrics);
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
	if (plm_trainer_at(run->trainer) > run->checkpoint_step)
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
	if (!phase(run, install, failure))
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
