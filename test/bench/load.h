/*
 * load.h -- the texts that the engine and its peers are timed on, and how long our engine takes for them.
 *
 *   W1  one short query of 8 tokens
 *   W2  1,000 product texts of lognormal length (median 48 tokens, clipped to 8..256, fixed seed)
 *   W3  128-token texts, 32 at a time
 *   W4  one text as long as the model takes
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "../../src/engine/model/plm_model.h"

typedef struct Shape
{
	const char *name;
	int32_t		width, layers, heads, ff;
} Shape;

#define BENCH_VOCAB 30522
#define BENCH_POSITIONS 512
#define BENCH_TOKENS 256		/* no text of W1 to W3 has more */

typedef struct Load
{
	int64_t		n;
	PlmInput   *inputs;
	double		flops;			/* of matrix products alone: projections, feed-forward, attention */
	double		tokens;
} Load;

/* Seconds of one call, or of one pass over a load. */
typedef struct Timing
{
	double		p50, p99;		/* by the clock on the wall */
	double		cpu;			/* p50 by processor time, of all threads together */
} Timing;

/* which: 1, 2, 3, 4.  scale: of the number of texts in W2. */
Load		load_make(PlmArena *arena, const Shape *shape, int which, double scale);

/* The token ids as int32: number of texts, then length and ids of each.  False, with a message, when the file cannot be written. */
bool		load_write(const Load *load, const PlmModel *model, const char *path);

/* `times` passes of plm_embed(); out: (n,width).  An error ends the program. */
Timing		load_run(const PlmModel *model, const Load *load, int threads, int times, float *out);

double		median_of(double *x, int n);	/* sorts x */

#endif							/* BENCH_LOAD_H */
