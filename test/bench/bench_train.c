/*
 * bench_train.c -- tokens a second of an AdamW step at the MiniLM-L6 shape, 32 texts of 128 tokens.
 *
 * Masked-language modelling with 15 % of the tokens masked (logits at masked positions only), fp32, weights at random:
 * BENCH_THREADS (2), BENCH_STEPS (5).  Prints the median step, tokens a second and the memory taken from the host.
 */
#include "../../src/engine/train/plm_train.h"
#include "../unit/random_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TEXTS 32
#define TOKENS 128
#define MOST_STEPS 100

static size_t held;
static size_t most;

static void *
counted_alloc(void *arg, size_t bytes)
{
	size_t	   *block = malloc(bytes + 64);

	(void) arg;
	if (block == NULL)
		return NULL;
	*block = bytes;
	held += bytes;
	most = held > most ? held : most;
	return (char *) block + 64;
}

static void
counted_release(void *arg, void *ptr)
{
	size_t	   *block = (size_t *) ((char *) ptr - 64);

	(void) arg;
	held -= *block;
	free(block);
}

static const PlmHook hook = {counted_alloc, counted_release, NULL, NULL};

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static int
by_value(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

static int
number(const char *name, int absent)
{
	const char *value = getenv(name);

	return value != NULL ? atoi(value) : absent;
}

static PlmStatus
add_texts(PlmExamples *examples, PlmError *err)
{
	static char text[TOKENS * 8];

	for (int i = 0; i < TEXTS; i++)
	{
		PlmExample	e = {.number = 0};
		size_t		used = 0;

		for (int k = 0; k < TOKENS; k++)
		{
			used += (size_t) random_token(73 + (int32_t) (plm_random(5, (uint64_t) (i * TOKENS + k)) % 30000), text + used, 8);
			text[used++] = ' ';
		}
		e.text[0] = (PlmText) {text, used};
		PLM_TRY(plm_examples_add(examples, &e, err));
	}
	return PLM_OK;
}

static PlmStatus
bench(PlmArena *arena, PlmError *err)
{
	RandomModel spec = random_model_defaults();
	RandomFiles files;
	TestModel	m;
	PlmTrainOptions options;
	PlmExamples *examples;
	PlmTrainer *trainer;
	PlmTrainBase base = {.files = &files.set};
	int			steps = number("BENCH_STEPS", 5);
	double		seconds[MOST_STEPS];
	PlmStep		step;

	steps = steps < 1 ? 1 : steps > MOST_STEPS ? MOST_STEPS : steps;
	spec.architecture = "BertForMaskedLM", spec.mask_head = true, spec.pooling[0] = NULL;
	spec.vocab = 30522, spec.width = 384, spec.layers = 6, spec.heads = 12, spec.ff = 1536, spec.positions = 512;
	spec.deviation = 0.02;
	if (!random_model_files(&spec, arena, &files))
		return plm_fail(err, PLM_ENOMEM, 0, "no memory for the model");
	PLM_TRY(test_model_open(&files.set, PLM_PREC_F32, arena, &m, err));
	plm_train_defaults(PLM_LEARN_MASKED, &options);
	options.batch = TEXTS, options.steps = MOST_STEPS + 1, options.mask_rate = 0.15, options.hook = &hook;
	options.threads = number("BENCH_THREADS", 2);
	PLM_TRY(plm_examples_init(PLM_LEARN_MASKED, false, plm_model_tokenizer(m.model), TOKENS, 0, &hook, 0, &examples, err));
	PLM_TRY(add_texts(examples, err));
	PLM_TRY(plm_trainer_open(&base, &options, examples, NULL, &trainer, err));
	PLM_TRY(plm_trainer_step(trainer, &step, err));
	for (int i = 0; i < steps; i++)
	{
		double		start = now();

		PLM_TRY(plm_trainer_step(trainer, &step, err));
		seconds[i] = now() - start;
	}
	qsort(seconds, (size_t) steps, sizeof(double), by_value);
	printf("train: MiniLM-L6 shape, %d x %d tokens, %d threads, %s: %.3f s a step, %.0f tokens/s, %.0f MB, loss %.4f\n", TEXTS,
		   TOKENS, options.threads, plm_simd_name(plm_simd_active()), seconds[steps / 2],
		   (double) step.tokens / seconds[steps / 2], (double) most / 1e6, step.loss);
	plm_trainer_close(trainer);
	plm_examples_free(examples);
	test_model_close(&m);
	return PLM_OK;
}

int
main(void)
{
	PlmArena	arena;
	PlmError	err = {0};
	PlmStatus	status;

	plm_arena_init(&arena, &plm_libc_hook, 0);
	status = bench(&arena, &err);
	if (status != PLM_OK)
		fprintf(stderr, "bench_train: %s\n", err.message);
	plm_arena_free(&arena);
	return status == PLM_OK ? 0 : 1;
}
