/*
 * train_install.c -- the end of a training: the engine's files become a model, with what was measured in its row.
 */
#include "training.h"

#include <math.h>

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"

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
	plmpg_base_open(run);
	status = plm_trainer_files(run->trainer, types[run->settings.precision], begin_file, write_bytes, &o, &err);
	plmpg_train_check(run, status, &err);
	end_file(&o);
	plmpg_base_close(run);
	pfree(o.buffer);
}

/* What a private training has spent of its budget. */
static void
append_privacy(StringInfo s, const PlmTrainer *trainer)
{
	PlmPrivacy	p = plm_trainer_privacy(trainer);

	if (p.noise == 0)
		return;
	appendStringInfo(s, ", \"privacy\": {\"epsilon\": %.6g, \"delta\": %.6g, \"noise_multiplier\": %.6g, \"clip\": %.6g, \"sampling_rate\": %.6g}",
					 p.epsilon, p.delta, p.noise, p.clip, p.rate);
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
	append_privacy(&s, run->trainer);
	appendStringInfoChar(&s, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(s.data));
}

void
plmpg_train_install(PlmpgTrainRun *run)
{
	Datum		metrics = metrics_json(run);

	plmpg_claim(run->model, "a training", PLMPG_CLAIM_NEW);
	write_files(run);
	plmpg_install(run->model, NULL, run->base, metrics);
	plmpg_inherit_grants(run->model, run->base != NULL ? run->base : run->settings.tokenizer);
	if (run->settings.teacher != NULL)
		plmpg_inherit_grants(run->model, run->settings.teacher);
	/* By an error all of it is taken back. */
	if (run->canaries != (Datum) 0)
		plmpg_canaries_check(run);
	plmpg_checkpoint_delete(run);
	plmpg_run_end(run, "done", NULL, metrics);
}
