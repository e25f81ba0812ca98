/*
 * bench_num.c -- GFLOP/s of plm_linear() beside OpenBLAS, as percent of one core's measured fp32 peak.
 *
 * Shapes: the four products of a block of MiniLM-L6 and of BERT-base that differ.  Every figure is the
 * median of several timings, each long enough for the clock; the peers take turns within a round.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../src/engine/num/kernels.h"

#define ROUNDS 9

/* Processor time: everything here is one thread, and others may share the machine. */
static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static int
by_value(const void *a, const void *b)
{
	double		x = *(const double *) a, y = *(const double *) b;

	return (x > y) - (x < y);
}

static double
median(double *x, int n)
{
	qsort(x, (size_t) n, sizeof(*x), by_value);
	return x[n / 2];
}

/*
 * Peak of one core: the tile itself on operands that stay in the first cache (12 kB of panel, one
 * x row repeated costs the same loads), at the number of rows that is fastest.
 */
static double
peak(void)
{
	static float panel[96 * 32] __attribute__((aligned(64)));
	static float x[PLM_TILE_ROWS * PLM_X_LD] __attribute__((aligned(64)));
	static float y[PLM_TILE_ROWS * 32] __attribute__((aligned(64)));
	const PlmKernels *kern = plm_kernels();
	double		best[ROUNDS];

	for (int round = 0; round < ROUNDS; round++)
	{
		int			repeat = 20000;
		PlmTile		t = {.rows = kern->rows_f32, .panels = 1, .units = 96, .x = x, .panel = panel,
		.panel_stride = sizeof(panel), .y = y, .ldy = 32};
		double		start = now();

		for (int i = 0; i < repeat; i++)
			kern->tile_f32(&t);
		best[round] = 2.0 * t.rows * 32 * 96 * repeat / (now() - start) / 1e9;
	}
	return median(best, ROUNDS);
}

typedef struct Product
{
	int64_t		rows, n, k;
	float	   *x, *w, *y, *bias;
	PlmPacked	packed[PLM_PRECISIONS];
	void	   *scratch;
} Product;

/* which: a precision, or PLM_PRECISIONS for OpenBLAS on weights stored [K,N]. */
static double
once(const Product *p, int which, int repeat)
{
	double		start = now();

	for (int i = 0; i < repeat; i++)
		if (which == PLM_PRECISIONS)
			plm_gemm(false, false, p->rows, p->n, p->k, 1, p->x, p->k, p->w, p->n, 0, p->y, p->n);
		else
			plm_linear(&p->packed[which], p->bias, p->rows, p->x, p->k, NULL, p->y, p->n, PLM_ACT_NONE, p->scratch);
	return (now() - start) / repeat;
}

static void
measure(const Product *p, double top)
{
	double		times[PLM_PRECISIONS + 1][ROUNDS];
	double		flop = 2.0 * (double) p->rows * (double) p->n * (double) p->k;
	int			repeat = (int) (4e8 / flop) + 1;

	for (int which = 0; which <= PLM_PRECISIONS; which++)
		once(p, which, 1);
	for (int round = 0; round < ROUNDS; round++)
		for (int which = 0; which <= PLM_PRECISIONS; which++)
			times[which][round] = once(p, which, repeat);
	printf("%5d %5d x %-5d", (int) p->rows, (int) p->n, (int) p->k);
	for (int which = 0; which <= PLM_PRECISIONS; which++)
	{
		double		speed = flop / median(times[which], ROUNDS) / 1e9;

		printf("  %7.1f (%3.0f %%)", speed, 100 * speed / top);
	}
	printf("\n");
	fflush(stdout);
}

static float *
random_floats(int64_t n, uint64_t seed)
{
	float	   *x = aligned_alloc(64, plm_align((size_t) n * sizeof(float), 64));

	for (int64_t i = 0; i < n; i++)
		x[i] = (float) plm_random_uniform(seed, (uint64_t) i) - 0.5f;
	return x;
}

static void
shape(int64_t n, int64_t k, double top)
{
	static const int64_t rows[] = {8, 16, 32, 64, 128, 512};
	Product		p = {.n = n, .k = k, .x = random_floats(512 * k, 1), .w = random_floats(n * k, 2),
	.y = random_floats(512 * n, 3), .bias = random_floats(n, 4)};
	size_t		most = 0;

	for (int i = 0; i < PLM_PRECISIONS; i++)
	{
		p.packed[i] = (PlmPacked) {(PlmPrecision) i, n, k, aligned_alloc(64, plm_pack_bytes(i, n, k))};
		plm_pack(i, n, k, p.w, (void *) p.packed[i].data);
		if (plm_linear_scratch(&p.packed[i], 512) > most)
			most = plm_linear_scratch(&p.packed[i], 512);
	}
	p.scratch = aligned_alloc(64, most);
	for (int i = 0; i < PLM_COUNT(rows); i++)
	{
		p.rows = rows[i];
		measure(&p, top);
	}
	for (int i = 0; i < PLM_PRECISIONS; i++)
		free((void *) p.packed[i].data);
	free(p.x);
	free(p.w);
	free(p.y);
	free(p.bias);
	free(p.scratch);
}

/* Nanoseconds for each element, in the first cache. */
static void
row_kernels(void)
{
	static const char *const names[] = {"gelu", "gelu_tanh", "tanh", "softmax", "layer_norm"};
	float	   *x = random_floats(1536, 5);
	float	   *g = random_floats(1536, 6);
	float	   *y = random_floats(1536, 7);

	for (int f = 0; f < 5; f++)
	{
		double		times[ROUNDS];

		for (int round = 0; round < ROUNDS; round++)
		{
			double		start = now();

			for (int i = 0; i < 400; i++)
			{
				/* fresh each time: values squeezed over and over become subnormal, and slow */
				memcpy(y, x, 1536 * sizeof(float));
				if (f == 3)
					plm_softmax(y, 1536, 1);
				else if (f == 4)
					plm_layer_norm(4, 384, y, NULL, g, g, 1e-5f, y, NULL);
				else
					plm_activate(f == 0 ? PLM_ACT_GELU : f == 1 ? PLM_ACT_GELU_TANH : PLM_ACT_TANH, y, 1536);
			}
			times[round] = (now() - start) / 400 / 1536 * 1e9;
		}
		printf("  %s %.3f", names[f], median(times, ROUNDS));
	}
	printf("  ns each\n");
	free(x);
	free(g);
	free(y);
}

/* The scores and weighted sums of one head, as percent of peak over 4 T T D. */
static void
attention(int64_t t, int64_t d, double top)
{
	float	   *qkv = random_floats(t * 3 * 384, 7);
	float	   *out = random_floats(t * 384, 8);
	void	   *scratch = aligned_alloc(64, plm_attention_scratch(t, d));
	double		times[ROUNDS];
	int			repeat = (int) (1e8 / (4.0 * (double) (t * t * d))) + 1;

	for (int round = 0; round < ROUNDS; round++)
	{
		double		start = now();

		for (int i = 0; i < repeat; i++)
			plm_attention(t, d, qkv, qkv + 384, qkv + 768, 3 * 384, 0.2f, false, out, 384, scratch);
		times[round] = (now() - start) / repeat;
	}
	printf("  attention T %d D %d: %.1f GFLOP/s (%.0f %%)\n", (int) t, (int) d,
		   4.0 * (double) (t * t * d) / median(times, ROUNDS) / 1e9, 100 * 4.0 * (double) (t * t * d) / median(times, ROUNDS) / 1e9 / top);
	free(qkv);
	free(out);
	free(scratch);
}

/* Products of the gradients of one head, as percent of peak over the 10 T T D that they need. */
static void
attention_backward(int64_t t, int64_t d, double top)
{
	float	   *qkv = random_floats(t * 3 * 384, 7);
	float	   *dout = random_floats(t * 384, 8);
	float	   *dqkv = random_floats(t * 3 * 384, 9);
	void	   *scratch = aligned_alloc(64, plm_align(plm_attention_backward_scratch(t, d), 64));
	double		times[ROUNDS];
	double		flop = 10.0 * (double) (t * t * d);
	int			repeat = (int) (1e8 / flop) + 1;

	for (int round = 0; round < ROUNDS; round++)
	{
		double		start = now();

		for (int i = 0; i < repeat; i++)
			plm_attention_backward(t, d, qkv, qkv + 384, qkv + 768, 3 * 384, 0.2f, false, dout, 384,
								   dqkv, dqkv + 384, dqkv + 768, 3 * 384, scratch);
		times[round] = (now() - start) / repeat;
	}
	flop /= median(times, ROUNDS) * 1e9;
	printf("  attention backward T %d D %d: %.1f GFLOP/s (%.0f %%)\n", (int) t, (int) d, flop, 100 * flop / top);
	free(qkv);
	free(dout);
	free(dqkv);
	free(scratch);
}

/* GB/s of what is read and written, once in the second cache (4 rows of 1536), once from memory. */
static void
row_kernels_backward(int64_t rows)
{
	static const char *const names[] = {"gelu", "gelu_tanh", "silu", "tanh", "layer_norm", "dropout"};
	static const PlmActivation acts[] = {PLM_ACT_GELU, PLM_ACT_GELU_TANH, PLM_ACT_SILU, PLM_ACT_TANH};
	static const double floats[] = {3, 3, 3, 3, 3, 2};
	int64_t		n = rows * 1536;
	float	   *x = random_floats(n, 5);
	float	   *dy = random_floats(n, 6);
	float	   *g = random_floats(3 * 384, 7);
	float	   *save = random_floats(8 * rows, 8);
	int			repeat = (int) (1000000 / n) + 1;

	printf("  backward, %d rows of 1536:", (int) rows);
	for (int f = 0; f < 6; f++)
	{
		double		times[ROUNDS];

		for (int round = 0; round < ROUNDS; round++)
		{
			double		start;

			/* fresh each round: values squeezed over and over become subnormal, and slow */
			for (int64_t i = 0; i < n; i++)
				dy[i] = 1;
			start = now();
			for (int i = 0; i < repeat; i++)
				if (f < 4)
					plm_activate_backward(acts[f], x, dy, n);
				else if (f == 4)
					plm_layer_norm_backward(4 * rows, 384, x, save, g, dy, dy, g + 384, g + 768);
				else
					plm_dropout(dy, n, 0.1, 1, (uint64_t) i * (uint64_t) n);
			times[round] = (now() - start) / repeat;
		}
		printf("  %s %.1f", names[f], floats[f] * 4 * (double) n / median(times, ROUNDS) / 1e9);
	}
	printf("  GB/s\n");
	free(x);
	free(dy);
	free(g);
	free(save);
}

int
main(void)
{
	static const int64_t shapes[][2] = {{384, 384}, {1536, 384}, {384, 1536}, {768, 768}, {3072, 768}, {768, 3072}};
	double		top = peak();

	printf("num: level %s, fp32 peak of one core %.1f GFLOP/s\n", plm_simd_name(plm_simd_active()), top);
	printf("%5s %5s   %-5s  %16s  %15s  %15s  %15s\n", "rows", "N", "K", "f32", "bf16", "int8", "OpenBLAS f32");
	for (int i = 0; i < PLM_COUNT(shapes); i++)
		shape(shapes[i][0], shapes[i][1], top);
	attention(32, 32, top);
	attention(128, 32, top);
	attention(256, 64, top);
	attention_backward(16, 32, top);
	attention_backward(128, 32, top);
	attention_backward(128, 64, top);
	row_kernels();
	row_kernels_backward(4);
	row_kernels_backward(4096);
	return 0;
}
