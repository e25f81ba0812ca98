/*
 * load.c -- the contract is in load.h.
 */
#include "load.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../unit/random_model.h"

#define WORD_BYTES 64

/* Floating-point operations of one text of T tokens, matrix products only. */
static double
text_flops(const Shape *s, double tokens)
{
	double		c = s->width;

	return s->layers * (tokens * 2 * (4 * c * c + 2 * c * s->ff) + 4 * tokens * tokens * c);
}

/* A text of exactly `tokens` tokens, [CLS] and [SEP] included: words that are tokens by themselves. */
static PlmText
make_text(PlmArena *arena, int64_t tokens, uint64_t seed)
{
	char	   *text = plm_arena_alloc(arena, (size_t) tokens * WORD_BYTES);
	size_t		len = 0;

	for (uint64_t draw = 0; tokens > 2; draw++)
	{
		char		word[WORD_BYTES - 1];
		int			n = random_token(5 + (int32_t) (plm_random(seed, draw) % (BENCH_VOCAB - 5)), word, sizeof(word));

		if (n < 2 || word[0] == '#')
			continue;
		text[len++] = ' ';
		memcpy(text + len, word, (size_t) n);
		len += (size_t) n;
		tokens--;
	}
	return (PlmText) {text, len};
}

Load
load_make(PlmArena *arena, const Shape *shape, int which, double scale)
{
	Load		load = {.n = which == 2 ? (int64_t) (1000 * scale) : which == 3 ? 32 : 1};

	load.n = load.n < 1 ? 1 : load.n;
	load.inputs = plm_arena_zero(arena, (size_t) load.n * sizeof(PlmInput));
	for (int64_t i = 0; i < load.n; i++)
	{
		double		drawn = round(48 * exp(0.6 * plm_random_normal(11, (uint64_t) i)));
		double		tokens = which == 1 ? 8 : which == 3 ? 128 : which == 4 ? BENCH_POSITIONS : fmin(BENCH_TOKENS, fmax(8, drawn));

		load.inputs[i].first = make_text(arena, (int64_t) tokens, (uint64_t) (100 + i));
		load.tokens += tokens;
		load.flops += text_flops(shape, tokens);
	}
	return load;
}

bool
load_write(const Load *load, const PlmModel *model, const char *path)
{
	FILE	   *f = fopen(path, "wb");
	int32_t		n = (int32_t) load->n;
	bool		ok = f != NULL && fwrite(&n, sizeof(n), 1, f) == 1;
	PlmArena	arena;

	plm_arena_init(&arena, &plm_libc_hook, 0);
	for (int64_t i = 0; ok && i < load->n; i++)
	{
		PlmEncoding e;

		ok = plm_encode(plm_model_tokenizer(model), load->inputs[i].first, NULL, BENCH_TOKENS, NULL, &arena, &e, NULL) == PLM_OK;
		n = ok ? (int32_t) e.n : 0;
		ok = ok && fwrite(&n, sizeof(n), 1, f) == 1 && fwrite(e.ids, sizeof(int32_t), (size_t) n, f) == (size_t) n;
	}
	plm_arena_free(&arena);
	if (f == NULL || fclose(f) != 0 || !ok)
	{
		fprintf(stderr, "bench: cannot write \"%s\"\n", path);
		return false;
	}
	return true;
}

static double
clock_of(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static int
by_value(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

double
median_of(double *x, int n)
{
	qsort(x, (size_t) n, sizeof(double), by_value);
	return x[n / 2];
}

Timing
load_run(const PlmModel *model, const Load *load, int threads, int times, float *out)
{
	PlmOptions	options = {threads, 0, &plm_libc_hook};
	double	   *wall = malloc((size_t) times * sizeof(double));
	double	   *cpu = malloc((size_t) times * sizeof(double));
	PlmError	err;
	Timing		t;

	if (wall == NULL || cpu == NULL)
		exit(1);
	for (int i = 0; i < times; i++)
	{
		cpu[i] = -clock_of(CLOCK_PROCESS_CPUTIME_ID);
		wall[i] = -clock_of(CLOCK_MONOTONIC);
		if (plm_embed(model, load->n, load->inputs, PLM_KIND_DOCUMENT, &options, out, &err) != PLM_OK)
		{
			fprintf(stderr, "bench: embed: %s\n", err.message);
			exit(1);
		}
		wall[i] += clock_of(CLOCK_MONOTONIC);
		cpu[i] += clock_of(CLOCK_PROCESS_CPUTIME_ID);
	}
	t.p50 = median_of(wall, times);
	t.p99 = wall[times * 99 / 100];
	t.cpu = median_of(cpu, times);
	free(wall);
	free(cpu);
	return t;
}
