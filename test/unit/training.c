/*
 * training.c -- the contract is in training.h.
 */
#include "training.h"

#include <stdio.h>
#include <string.h>

Training
training_defaults(PlmObjective objective, const char *model_type)
{
	Training	r = {.spec = random_model_defaults(), .examples = 12, .words = 12};
	bool		heads = objective == PLM_LEARN_CLASSES || objective == PLM_LEARN_RANKING;

	r.spec.model_type = model_type;
	r.spec.architecture = strcmp(model_type, "bert") == 0 ? "BertModel" : "DistilBertModel";
	r.spec.width = 32, r.spec.ff = 56, r.spec.heads = 2;
	r.spec.seed = 4;			/* no unit of a relu head is so near to its kink that differences step over it */
	r.spec.pooler = heads && strcmp(model_type, "bert") == 0;
	plm_train_defaults(objective, &r.options);
	r.options.batch = 6;
	r.options.steps = 40;
	r.options.dropout = 0;
	r.options.temperature = 0.2;
	return r;
}

Training
training_private(void)
{
	Training	r = training_defaults(PLM_LEARN_CLASSES, "bert");

	r.examples = 40;
	r.options.privacy_epsilon = 3;
	r.options.privacy_delta = 1e-3;
	r.options.privacy_clip = 0.5;
	for (int i = 0; i < 8; i++)
		r.options.privacy_key[i] = 0x9e3779b9u * (uint32_t) (i + 1);
	return r;
}

/* Words that are one token each; every third text goes on with pieces of words. */
static PlmText
random_text(Training *r, uint64_t key)
{
	int			words = 1 + (int) (plm_random(key, 0) % (uint32_t) r->words);
	char	   *text = plm_arena_zero(&r->arena, (size_t) words * 12 + 1);
	size_t		used = 0;

	for (int i = 0; text != NULL && i < words; i++)
	{
		int32_t		id = 73 + (int32_t) (plm_random(key, (uint64_t) i + 1) % (uint32_t) (r->spec.vocab - 73));

		used += (size_t) random_token(id, text + used, 8);
		if (i % 3 == 2)
			text[used++] = (char) ('a' + plm_random(key, (uint64_t) i + 100) % 26);
		text[used++] = ' ';
	}
	return (PlmText) {text != NULL ? text : "", used};
}

static PlmStatus
add_examples(Training *r, PlmExamples *to, uint64_t seed, int n)
{
	PlmObjective objective = r->options.objective;
	bool		two = objective == PLM_LEARN_RETRIEVAL || objective == PLM_LEARN_RANKING || objective == PLM_LEARN_SIMILARITY ||
		r->options.next_sentence;

	for (int i = 0; i < n; i++)
	{
		uint64_t	key = plm_stream(seed, PLM_STREAM_STEP, (uint64_t) i);
		int32_t		labels[2] = {i % 3, 2};
		float		target[32];
		PlmExample	e = {.number = plm_random_uniform(key, 7), .target = target};

		for (int k = 0; k < 32; k++)
			target[k] = (float) plm_random_normal(key, (uint64_t) k);
		e.text[0] = random_text(r, key);
		if (two)
			e.text[1] = random_text(r, key + 1);
		if (objective == PLM_LEARN_RETRIEVAL && i % 2 == 0)
			e.text[2] = random_text(r, key + 2);
		if (objective == PLM_LEARN_CLASSES)
		{
			e.labels = labels;
			e.n_labels = r->options.multi_label && i % 3 < 2 ? 1 + i % 2 : 1;
		}
		PLM_TRY(plm_examples_add(to, &e, &r->err));
	}
	return PLM_OK;
}

static PlmStatus
open_examples(Training *r, uint64_t seed, int n, PlmExamples **out)
{
	bool		distilled = r->options.objective == PLM_LEARN_DISTILLED;

	PLM_TRY(plm_examples_init(r->options.objective, r->options.next_sentence, &r->tokenizer, 40, distilled ? 32 : 0,
							  r->options.hook, 0, out, &r->err));
	return add_examples(r, *out, seed, n);
}

static PlmStatus
open_all(Training *r)
{
	PlmTrainBase base = {&r->files, r->labels, 3, NULL};
	PlmConfig	config;
	PlmText    *labels;
	void	   *blob;
	size_t		bytes;

	if (!random_model_files(&r->spec, &r->arena, &r->base))
		return plm_fail(&r->err, PLM_ENOMEM, 0, "no memory for the test's files");
	r->files = r->base.set;
	if (r->no_weights)
		for (int i = 0; i < r->files.n; i++)
			if (strcmp(r->files.files[i].name, "model.safetensors") == 0)
				strcpy(((PlmSource *) &r->files.files[i])->name, "README.md");
	PLM_TRY(plm_config_read(&r->files, &r->arena, &config, &labels, &r->err));
	if (r->vocab != NULL)
	{
		r->vocab_file = plm_source_memory("vocab.txt", r->vocab, strlen(r->vocab));
		r->vocab_files = (PlmFileSet) {&r->vocab_file, 1};
		base.words = &r->vocab_files;
		config.task = PLM_TASK_TOKENIZER;
	}
	PLM_TRY(plm_model_tokenizer_compile(r->vocab != NULL ? base.words : &r->files, &config, &r->arena, &blob, &bytes, &r->err));
	PLM_TRY(plm_tokenizer_open(blob, bytes, &r->tokenizer, &r->err));
	PLM_TRY(open_examples(r, 1, r->examples, &r->train));
	if (r->held_out > 0)
		PLM_TRY(open_examples(r, 2, r->held_out, &r->test));
	return plm_trainer_open(&base, &r->options, r->train, r->test, &r->trainer, &r->err);
}

PlmStatus
training_open(Training *r)
{
	r->labels[0] = PLM_TEXT("one");
	r->labels[1] = PLM_TEXT("\"two\"");
	r->labels[2] = PLM_TEXT("drei\n");
	plm_arena_init(&r->arena, r->options.hook, 0);
	return open_all(r);
}

void
training_close(Training *r)
{
	plm_trainer_close(r->trainer);
	plm_examples_free(r->train);
	plm_examples_free(r->test);
	plm_arena_free(&r->arena);
	r->trainer = NULL;
	r->train = r->test = NULL;
}

PlmStatus
training_gradient(Training *r, double *loss)
{
	PlmTexts	texts;

	PLM_TRY(plm_trainer_ready(r->trainer, &r->err));
	PLM_TRY(plm_mine(r->trainer, &r->err));
	PLM_TRY(plm_texts_of_step(r->trainer, &texts, &r->err));
	return plm_trainer_gradient(r->trainer, &texts, loss, &r->err);
}

uint64_t
training_weights(const Training *r)
{
	return plm_checksum(r->trainer->w, (size_t) r->trainer->n_w * sizeof(float), 0);
}

uint64_t
training_run(Training *r, int64_t n, double *loss)
{
	PlmStep		step = {0};

	while (plm_trainer_at(r->trainer) < n)
		if (plm_trainer_step(r->trainer, &step, &r->err) != PLM_OK)
			return 0;
	if (loss != NULL)
		*loss = step.loss;
	return training_weights(r);
}

uint64_t
training_run_with(Training r, int threads, size_t limit, int64_t n)
{
	uint64_t	sum = 0;

	r.options.threads = threads;
	r.options.memory_limit = limit;
	if (training_open(&r) == PLM_OK)
		sum = training_run(&r, n, NULL);
	if (sum == 0)
		printf("# %s\n", r.err.message);
	training_close(&r);
	return sum;
}

PlmStatus
training_state_write(void *arg, const void *data, size_t n, PlmError *err)
{
	TrainingState *b = arg;

	if (n > sizeof(b->data) - b->used)
		return plm_fail(err, PLM_EIO, 0, "the test's buffer is full");
	memcpy(b->data + b->used, data, n);
	b->used += n;
	return PLM_OK;
}

PlmStatus
training_state_read(void *arg, void *data, size_t n, PlmError *err)
{
	TrainingState *b = arg;

	if (n > b->used - b->at)
		return plm_fail(err, PLM_ECORRUPT, 0, "the state ends early");
	memcpy(data, b->data + b->at, n);
	b->at += n;
	return PLM_OK;
}
