/*
 * training.h -- what the files of training share: options, examples, a run and its rows.
 *
 *     train_options.c    jsonb <-> PlmpgTrainSettings
 *     train_examples.c   the caller's query -> token ids
 *     train_canaries.c   the secrets that the new model must not give back
 *     train_rows.c       the run's rows: product_llm.training_run, training_metrics, training_checkpoint
 *     train_base.c       the base's files, its tokenizer
 *     train_run.c        from the base to the new model, in slices that are committed
 *     train_install.c    the engine's files -> the new model
 *     train_worker.c     the same in a background worker
 *     fn_train.c         the SQL procedures
 *
 * A run's memory is one context of its own, which outlives the transactions of the run and ends with the procedure.
 */
#ifndef PLMPG_TRAINING_H
#define PLMPG_TRAINING_H

#include "catalog.h"
#include "query.h"

#include "../engine/train/plm_train.h"

#include "utils/jsonb.h"
#include "utils/timestamp.h"

/* ---- options: train_options.c ---- */

#define PLMPG_AS_EXAMPLES (-1)	/* of a choice: what the examples' columns say */

typedef struct PlmpgTrainSettings
{
	PlmTrainOptions engine;
	int32		multi_label;	/* 0, 1, PLMPG_AS_EXAMPLES until the examples are known; engine has the answer */
	int32		next_sentence;	/* likewise */
	double		validation;		/* share of the rows that is held out */
	char	   *validation_query;	/* NULL: none */
	char	   *canaries;		/* query of secrets that the model must not give back; NULL: none */
	int32		evaluate_every;	/* steps; 0: a tenth of them */
	double		checkpoint_every;	/* seconds */
	int32		early_stopping; /* evaluations without a better one; 0: never */
	int32		precision;		/* of the weights that are stored: 0 F32, 1 F16 */
	bool		background;
	char	   *teacher;		/* NULL: none */
	char	   *tokenizer;
	int32		memory_kb;		/* 0: product_llm.memory_limit */
	int32		threads;		/* 0: product_llm.threads */
	PlmShape	shape;
} PlmpgTrainSettings;

/* Defaults of the objective overridden by the options; ERROR for what it does not know, or cannot be. */
void		plmpg_train_options(PlmObjective objective, Jsonb *options, PlmpgTrainSettings *out);

/* All of them, as jsonb, from which plmpg_train_options() makes the same settings. */
Datum		plmpg_train_resolved(PlmObjective objective, const PlmpgTrainSettings *settings);

/* ---- examples: train_examples.c ---- */

/* By the name of a task that finetune() and evaluate() know, or ERROR. */
PlmObjective plmpg_train_task(const char *task);

/* What the query of an objective has to yield. */
const PlmpgQuerySpec *plmpg_train_spec(PlmObjective objective, bool validation);

/* Check the queries' columns, without running them, and settle the choices that depend on them. */
void		plmpg_train_check_queries(PlmObjective objective, const char *query, PlmpgTrainSettings *settings);

/* The model's classes: sorted bytewise, UTF-8. */
typedef struct PlmpgLabels
{
	int			n;
	PlmText    *names;
} PlmpgLabels;

/* Its place, or -1. */
int			plmpg_label_find(const PlmpgLabels *labels, PlmText name);

/* ---- a run ---- */

/* What the glue itself goes on with; stands before the engine's state in a checkpoint. */
typedef struct PlmpgTrainCourse
{
	uint32		version;
	bool		better_high;
	bool		any_best;
	int32		worse;			/* evaluations since the best */
	int64		evaluated;		/* step of the last evaluation; -1: none yet */
	int64		best_step;
	double		best_value;
	double		loss_sum;		/* since the last row of training_loss */
	int64		loss_steps;
	int64		logged;			/* step of that row */
	int32		n_metrics;		/* of the best evaluation */
	PlmMetric	metrics[PLM_MAX_METRICS];
} PlmpgTrainCourse;

/* A row of training_metrics that is still to be written. */
typedef struct PlmpgTrainPoint
{
	int64		step;
	double		value;
	char		metric[32];
} PlmpgTrainPoint;

typedef struct PlmpgTrainRun
{
	MemoryContext context;		/* this struct lives there, and all else of the run */
	PlmHook		hook;
	bool		commits;		/* the run may end transactions */
	/* what is asked for */
	int32		run;
	char	   *model;
	char	   *base;			/* NULL: none */
	PlmObjective objective;
	char	   *query;
	char	   *search_path;
	PlmpgTrainSettings settings;
	Datum		options;		/* the same as jsonb */
	bool		finish;			/* make the model of the checkpoint */
	bool		resumed;
	int64		checkpoint_step;	/* -1: there is none */
	/* the base */
	PlmArena	arena;
	PlmpgStore *store;			/* while the engine may read its files */
	PlmSource  *sources;
	int			n_sources;
	PlmFileSet	files;
	PlmFileSet	words;			/* of the tokenizer that takes the place of the base's; n 0: none */
	PlmTokenizer tokenizer;
	/* the engine's */
	PlmExamples *examples;
	PlmExamples *held_out;		/* NULL: none */
	PlmpgLabels labels;
	double		scale;			/* grades and scores are divided by it */
	Datum		reads;			/* text[]: the tables and views that the queries read */
	bool		reads_more;		/* and functions, which may read others */
	Datum		canaries;		/* text[]; 0: none */
	PlmTrainer *trainer;
	/* the course */
	PlmpgTrainCourse course;
	bool		stopped_early;
	int			n_points;
	int			room_points;
	PlmpgTrainPoint *points;
	/* since the row was last written */
	TimestampTz slice_begin;
	TimestampTz begin;			/* of this process's work */
	int64		begin_step;
	double		slice_loss;
	int64		slice_steps;
	int64		slice_tokens;
	double		learning_rate;
	/* checkpoints */
	TimestampTz saved_at;
	double		save_seconds;	/* that the last one took */
	ErrorData  *error;			/* what a callback of the engine caught */
} PlmpgTrainRun;

/* The rows of the run's queries, as the engine wants them. */
void		plmpg_train_read_examples(PlmpgTrainRun *run);

/* ---- canaries: train_canaries.c ---- */

extern const PlmpgQuerySpec plmpg_canaries_spec;

/* The texts of the query, or ERROR: there are none, or one does not say what the secret in it is. */
void		plmpg_canaries_read(PlmpgTrainRun *run);
/* ERROR when the run's model, which must be installed, gives one back. */
void		plmpg_canaries_check(const PlmpgTrainRun *run);

/* ---- rows: train_rows.c; all are written as the owner of product_llm.training_run ---- */

/* A new row; sets run->run. */
void		plmpg_run_insert(PlmpgTrainRun *run);
/* The number of the newest run of the caller's with equal arguments that can go on, or 0. */
int32		plmpg_run_equal(const PlmpgTrainRun *run);
/* The number of the run that has made a model, or 0. */
int32		plmpg_run_of_model(const char *model);
/* What is asked for, from the row of a run of the caller's; ERROR when there is none.  Returns its state. */
char	   *plmpg_run_read(PlmpgTrainRun *run, int32 number);
void		plmpg_run_begin(PlmpgTrainRun *run);
/* Row counts and checksum, or ERROR when a run that goes on has others than before. */
void		plmpg_run_counts(PlmpgTrainRun *run);
void		plmpg_run_progress(PlmpgTrainRun *run);
void		plmpg_run_end(PlmpgTrainRun *run, const char *state, const char *error, Datum metrics);
void		plmpg_run_delete(int32 number);
/* Remember a figure for training_metrics. */
void		plmpg_run_point(PlmpgTrainRun *run, int64 step, const char *metric, double value);
/* Weights, moments and course take the place of those that were kept before. */
void		plmpg_checkpoint_write(PlmpgTrainRun *run);
void		plmpg_checkpoint_read(PlmpgTrainRun *run);
void		plmpg_checkpoint_delete(PlmpgTrainRun *run);

/* ---- locks: train_rows.c ---- */

/* Held until plmpg_run_unlock() or the process's end; false: another process works on it. */
bool		plmpg_run_lock(int32 number);
void		plmpg_run_unlock(int32 number);
/* A model's name, over transactions: as plmpg_catalog_lock(), but it is ERROR when somebody else has it. */
void		plmpg_model_lock(const char *model, LOCKMODE mode);
void		plmpg_model_unlock(const char *model, LOCKMODE mode);
/* Does another process work on the run? */
bool		plmpg_run_is_worked_on(int32 number);
/* The process that works on it; 0: none. */
int			plmpg_run_worker(int32 number);

/* ---- the base: train_base.c ---- */

/* Its files, the tokenizer and the longest text, once; they can be read again between plmpg_base_open() and plmpg_base_close(). */
void		plmpg_base_prepare(PlmpgTrainRun *run);
void		plmpg_base_open(PlmpgTrainRun *run);
void		plmpg_base_close(PlmpgTrainRun *run);
/* After an error has taken the store: its files can no more be read. */
void		plmpg_base_forget(PlmpgTrainRun *run);

/* ---- the end: train_install.c ---- */

/* Weights, configuration and all else of the model, its row, the run's. */
void		plmpg_train_install(PlmpgTrainRun *run);

/* ---- work: train_run.c, train_worker.c ---- */

PlmpgTrainRun *plmpg_run_new(bool commits);

/* From the run's row to the new model.  ERROR after its row says why.  The run is gone either way. */
void		plmpg_train(PlmpgTrainRun *run);

/* From the number of a run whose row is there, with the rights of its caller; fn_train.c. */
void		plmpg_train_stored(int32 number);

/* The same in a worker; returns when it has started. */
void		plmpg_train_in_background(PlmpgTrainRun *run);

/* plmpg_check() for engine calls with callbacks: what one caught is thrown on. */
void		plmpg_train_check(PlmpgTrainRun *run, PlmStatus status, const PlmError *err);

#endif							/* PLMPG_TRAINING_H */
