/*
 * bench_engine.c -- the engine in process: W1, W2 and W3 on the MiniLM-L6 and BERT-base shapes.
 *
 *   W1  one short query of 8 tokens: p50 and p99 of a warm process
 *   W2  1,000 product texts of lognormal length (median 48 tokens, clipped to 8..256, fixed seed)
 *   W3  128-token texts, 32 at a time
 *
 * Prints texts/s, GFLOP/s and percent of the fp32 peak that this run measured: of one core for one thread, of twice that
 * for two.  One and two threads alternate; medians.  GFLOP counts matrix products only (projections, feed-forward,
 * attention).  BENCH_SCALE=0.1 takes a tenth of the texts; BENCH_SHAPE=MiniLM-L6 one shape; BENCH_PRECISION=int8 or bf16 packs the weights so.
 */
#include "peak.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/random_model.h"

#define TEXT_BYTES 4096
#define MAX_ROUNDS 7

typedef struct Shape
{
	const char *name;
	int32_t		width, layers, heads, ff;
} Shape;

static const Shape shapes[] = {
	{"MiniLM-L6", 384, 6, 12, 1536},
	{"BERT-base", 768, 12, 12, 3072},
};

typedef struct Load
{
	int64_t		n;
	PlmInput   *inputs;
	double		flops;
	double		tokens;
} Load;

static void
die(const char *what, const PlmError *err)
{
	fprintf(stderr, "bench: %s: %s\n", what, err->message);
	exit(1);
}

/* Floating-point operations of one text of T tokens, matrix products only. */
static double
text_flops(const Shape *s, double tokens)
{
	double		c = s->width;

	return s->layers * (tokens * 2 * (4 * c * c + 2 * c * s->ff) + 4 * tokens * tokens * c);
}

/* A text of exactly `tokens` tokens, [CLS] and [SEP] included: words that are tokens by themselves. */
static PlmText
make_text(PlmArena *arena, int64_t tokens, uint64_t seed, int32_t vocab)
{
	char	   *text = plm_arena_alloc(arena, TEXT_BYTES);
	size_t		len = 0;

	for (uint64_t draw = 0; tokens > 2; draw++)
	{
		char		word[64];
		int			n = random_token(5 + (int32_t) (plm_random(seed, draw) % (uint32_t) (vocab - 5)), word, sizeof(word));

		if (n < 2 || word[0] == '#')
			continue;
		text[len++] = ' ';
		memcpy(text + len, word, (size_t) n);
		len += (size_t) n;
		tokens--;
	}
	return (PlmText) {text, len};
}

static Load
make_load(PlmArena *arena, const Shape *shape, int which, double scale, int32_t vocab)
{
	Load		load = {0};

	load.n = which == 1 ? 1 : which == 2 ? (int64_t) (1000 * scale) : 32;
	load.n = load.n < 1 ? 1 : load.n;
	load.inputs = plm_arena_zero(arena, (size_t) load.n * sizeof(PlmInput));
	for (int64_t i = 0; i < load.n; i++)
	{
		double		tokens = which == 1 ? 8 : which == 3 ? 128 : round(48 * exp(0.6 * plm_random_normal(11, (uint64_t) i)));

		tokens = tokens < 8 ? 8 : tokens > 256 ? 256 : tokens;
		load.inputs[i].first = make_text(arena, (int64_t) tokens, (uint64_t) (100 + i), vocab);
		load.tokens += tokens;
		load.flops += text_flops(shape, tokens);
	}
	return load;
}

static int
by_value(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

static double
once(const PlmModel *model, const Load *load, int threads, float *out)
{
	PlmOptions	options = {threads, 0, &plm_libc_hook};
	PlmError	err;
	double		begin = bench_now();

	if (plm_embed(model, load->n, load->inputs, PLM_KIND_DOCUMENT, &options, out, &err) != PLM_OK)
		die("embed", &err);
	return bench_now() - begin;
}

static void
run_w1(const PlmModel *model, const Load *load, const Shape *shape, float *out)
{
	enum {CALLS = 300};
	static double took[CALLS];

	for (int i = 0; i < 20; i++)
		once(model, load, 1, out);
	for (int i = 0; i < CALLS; i++)
		took[i] = once(model, load, 1, out);
	qsort(took, CALLS, sizeof(double), by_value);
	printf("%-10s W1  1 thread    p50 %7.3f ms   p99 %7.3f ms   %6.1f GFLOP/s\n", shape->name,
		   1e3 * took[CALLS / 2], 1e3 * took[CALLS * 99 / 100], load->flops / took[CALLS / 2] / 1e9);
}

static void
run_batch(const PlmModel *model, const Load *load, const Shape *shape, int which, double peak, float *out)
{
	double		took[2][MAX_ROUNDS];
	int			rounds = shape->width > 500 ? 3 : MAX_ROUNDS;

	once(model, load, 2, out);
	for (int r = 0; r < rounds; r++)
		for (int threads = 1; threads <= 2; threads++)
			took[threads - 1][r] = once(model, load, threads, out);
	for (int t = 0; t < 2; t++)
		qsort(took[t], (size_t) rounds, sizeof(double), by_value);
	for (int t = 0; t < 2; t++)
	{
		double		median = took[t][rounds / 2];
		double		gflops = load->flops / median / 1e9;

		printf("%-10s W%d  %d thread%s  %8.1f texts/s  %9.0f tokens/s  %6.1f GFLOP/s  %5.1f %% of peak", shape->name, which,
			   t + 1, t ? "s" : " ", (double) load->n / median, load->tokens / median, gflops, 100 * gflops / (peak * (t + 1)));
		if (t == 1)
			printf("   %.2f x one thread", took[0][rounds / 2] / median);
		printf("\n");
	}
}

int
main(void)
{
	const char *scale_text = getenv("BENCH_SCALE");
	const char *precision_text = getenv("BENCH_PRECISION");
	double		scale = scale_text ? atof(scale_text) : 1;
	PlmPrecision precision = PLM_PREC_F32;
	const char *only = getenv("BENCH_SHAPE");
	double		peak;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int p = 0; precision_text && p < PLM_PRECISIONS; p++)
		if (strcmp(precision_text, plm_precision_name((PlmPrecision) p)) == 0)
			precision = (PlmPrecision) p;
	printf("kernels: %s; weights: %s\n", plm_simd_name(plm_simd_active()), plm_precision_name(precision));
	for (int i = 0; i < PLM_COUNT(shapes); i++)
	{
		const Shape *s = &shapes[i];
		RandomModel spec = random_model_defaults();
		RandomFiles files;
		PlmArena	arena;
		TestModel	m;
		PlmError	err;
		float	   *out;

		if (only != NULL && strcmp(only, s->name) != 0)
			continue;
		peak = bench_peak_gflops();
		printf("%-10s one core holds %.1f GFLOP/s fp32\n", s->name, peak);
		plm_arena_init(&arena, &plm_libc_hook, 0);
		spec.vocab = 30522;
		spec.width = s->width;
		spec.layers = s->layers;
		spec.heads = s->heads;
		spec.ff = s->ff;
		spec.positions = 512;
		if (!random_model_files(&spec, &arena, &files))
			return 1;
		if (test_model_open(&files.set, precision, &arena, &m, &err) != PLM_OK)
			die("model", &err);
		out = plm_arena_array(&arena, 1000, (size_t) s->width * sizeof(float));
		for (int which = 1; which <= 3; which++)
		{
			Load		load = make_load(&arena, s, which, s->width > 500 ? scale / 4 : scale, spec.vocab);

			if (which == 1)
				run_w1(m.model, &load, s, out);
			else
				run_batch(m.model, &load, s, which, peak, out);
		}
		test_model_close(&m);
		plm_arena_free(&arena);
	}
	return 0;
}
