/*
 * chart.h -- horizontal bars as an SVG file.
 */
#ifndef BENCH_CHART_H
#define BENCH_CHART_H

#include <stdbool.h>

typedef struct Bar
{
	const char *name;
	double		value;			/* 0: not measured, left out */
	bool		ours;
} Bar;

typedef struct Bars
{
	char		title[96];
	const char *unit;
	int			n;
	Bar			bar[8];
} Bars;

/* One group under the other.  False, with a message, when the file cannot be written. */
bool		chart_write(const char *path, const char *title, int groups, const Bars *bars);

#endif							/* BENCH_CHART_H */
