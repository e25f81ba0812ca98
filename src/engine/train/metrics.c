/*
 * metrics.c -- figures of an evaluation with their 95 % bounds, by the percentile bootstrap (Efron 1979).
 */
#include "internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static int
by_value(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

/* low and high of what n draws gave; those in which the figure is undefined do not count. */
static void
bounds(double *values, int n, PlmMetric *m)
{
	int			kept = 0;

	for (int i = 0; i < n; i++)
		if (!isnan(values[i]))
			values[kept++] = values[i];
	m->low = m->high = NAN;
	if (kept == 0)
		return;
	qsort(values, (size_t) kept, sizeof(double), by_value);
	m->low = values[(int64_t) kept * 25 / 1000];
	m->high = values[kept - 1 - (int64_t) kept * 25 / 1000];
}

/* Draws of n cases out of n, and the figures of each: values (count, samples). */
static PlmStatus
draw(const PlmHook *hook, uint64_t key, int64_t n, int samples, PlmFigures figures, void *arg, int count, int64_t *pick, double *values,
	 PlmError *err)
{
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, hook);
	double		one[PLM_MAX_METRICS] = {0};

	for (int s = 0; s < samples; s++)
	{
		if (plm_stopped(&worker))
			return plm_cancelled(err);
		for (int64_t i = 0; i < n; i++)
			pick[i] = (int64_t) (plm_random_uniform(key, (uint64_t) s * (uint64_t) n + (uint64_t) i) * (double) n);
		figures(arg, pick, n, one);
		for (int k = 0; k < count; k++)
			values[(int64_t) k * samples + s] = one[k];
	}
	return PLM_OK;
}

PlmStatus
plm_bootstrap(PlmArena *arena, uint64_t key, int64_t n, int samples, PlmFigures figures, void *arg, int count, const char *const *names,
			  PlmMetric *out, PlmError *err)
{
	PlmMark		mark = plm_arena_mark(arena);
	double		one[PLM_MAX_METRICS] = {0};
	int64_t    *pick;
	double	   *values;

	samples = samples < 0 ? 0 : samples;
	PLM_TRY(plm_take(arena, n, sizeof(int64_t), &pick, err));
	PLM_TRY(plm_take(arena, (int64_t) samples * count, sizeof(double), &values, err));
	for (int64_t i = 0; i < n; i++)
		pick[i] = i;
	figures(arg, pick, n, one);
	for (int k = 0; k < count; k++)
	{
		out[k] = (PlmMetric) {.value = one[k], .low = one[k], .high = one[k]};
		snprintf(out[k].name, sizeof(out[k].name), "%s", names[k]);
	}
	PLM_TRY(draw(arena->hook, key, n, samples, figures, arg, count, pick, values, err));
	for (int k = 0; samples > 0 && k < count; k++)
		bounds(values + (int64_t) k * samples, samples, &out[k]);
	plm_arena_rewind(arena, mark);
	return PLM_OK;
}

PlmStatus
plm_trainer_bootstrap(PlmTrainer *t, int64_t n, int samples, PlmFigures figures, void *arg, int count, const char *const *names,
					  PlmMetric *out, PlmError *err)
{
	return plm_bootstrap(&t->step, plm_stream(t->options.seed, PLM_STREAM_BOOTSTRAP, 0), n, samples, figures, arg, count, names, out, err);
}
