/*
 * metrics.c -- figures of an evaluation with their 95 % bounds, by the percentile bootstrap (Efron 1979).
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int
by_value(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

/* low and high of `samples` resampled values. */
static void
bounds(double *values, int samples, PlmMetric *m)
{
	qsort(values, (size_t) samples, sizeof(double), by_value);
	m->low = values[samples * 25 / 1000];
	m->high = values[samples - 1 - samples * 25 / 1000];
}

PlmStatus
plm_bootstrap(PlmTrainer *t, int64_t n, int samples, PlmFigures figures, void *arg, int count,
			  const char *const *names, PlmMetric *out, PlmError *err)
{
	uint64_t	key = plm_stream(t->options.seed, PLM_STREAM_BOOTSTRAP, 0);
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, t->options.hook);
	double		one[PLM_MAX_METRICS] = {0};
	int64_t    *pick;
	double	   *values;

	samples = samples < 0 ? 0 : samples;
	PLM_TRY(plm_take(&t->step, n, sizeof(int64_t), &pick, err));
	PLM_TRY(plm_take(&t->step, (int64_t) samples * count, sizeof(double), &values, err));
	for (int64_t i = 0; i < n; i++)
		pick[i] = i;
	figures(arg, pick, n, one);
	for (int k = 0; k < count; k++)
	{
		out[k] = (PlmMetric) {.value = one[k], .low = one[k], .high = one[k]};
		snprintf(out[k].name, sizeof(out[k].name), "%s", names[k]);
	}
	for (int s = 0; s < samples; s++)
	{
		if (plm_stopped(&worker))
			return plm_cancelled(err);
		for (int64_t i = 0; i < n; i++)
			pick[i] = (int64_t) (plm_random_uniform(key, (uint64_t) s * (uint64_t) n + (uint64_t) i) * (double) n);
		figures(arg, pick, n, one);
		for (int k = 0; k < count; k++)
			values[k * samples + s] = one[k];
	}
	for (int k = 0; samples > 0 && k < count; k++)
		bounds(values + k * samples, samples, &out[k]);
	return PLM_OK;
}
