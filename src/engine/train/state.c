/*
 * state.c -- a run as a stream of bytes, from which a later process goes on bit for bit.
 *
 * Only what training changes is in it: the weights that are trained, their moments, the best so far, mined negatives, the
 * step; and a private run's key, which nobody else knows.  All else follows from base, options and examples, whose checksums
 * are compared.  Machine-native (little-endian).
 */
#include "internal.h"

#include <string.h>

#define STATE_VERSION 1
#define PIECE_BYTES ((size_t) 1 << 20)

typedef struct StateHeader
{
	char		magic[8];
	uint32_t	version;
	uint32_t	order;			/* 0x01020304 as this machine writes it */
	uint64_t	options, examples, base;	/* checksums */
	int64_t		trained;		/* floats of each array */
	int64_t		step, steps;
	int64_t		has_best;
	int64_t		mined_epoch;
	int64_t		mined;			/* numbers */
	uint64_t	checksum;		/* of the header with this field zero */
} StateHeader;

/* Everything but what cannot change the result: threads, memory, hook. */
static uint64_t
options_checksum(const PlmTrainer *t)
{
	const PlmTrainOptions *o = &t->options;
	double		numbers[] = {
		o->objective, (double) t->steps, o->batch, o->max_tokens, o->learning_rate, o->schedule, o->warmup, o->weight_decay,
		o->beta1, o->beta2, o->epsilon, o->clip, o->dropout, o->frozen_layers, o->word_vectors, o->lora_rank, o->lora_alpha, o->mask_rate,
		o->next_sentence, o->multi_label, o->class_weights, o->temperature, o->symmetric, o->matryoshka[0], o->matryoshka[1],
		o->matryoshka[2], o->matryoshka[3], o->hard_negatives
	};
	double		privacy[] = {o->privacy_epsilon, o->privacy_delta, o->privacy_clip};
	uint64_t	sum = plm_checksum(numbers, sizeof(numbers), o->seed);

	/* Of private runs alone, so that the states of others stay good. */
	return plm_private(t) ? plm_checksum(privacy, sizeof(privacy), sum) : sum;
}

static StateHeader
header_of(const PlmTrainer *t)
{
	StateHeader h = {
		.magic = "PLMTRAIN", .version = STATE_VERSION, .order = 0x01020304, .options = options_checksum(t),
		.examples = plm_examples_checksum(t->train), .base = t->base_checksum, .trained = t->n_trained, .step = t->at_step,
		.steps = t->steps, .has_best = t->has_best, .mined_epoch = t->mined_epoch,
		.mined = t->mined != NULL && t->mined_epoch >= 0 ? plm_examples_count(t->train) * t->options.hard_negatives : 0
	};

	h.checksum = plm_checksum(&h, sizeof(h), 0);
	return h;
}

/* A stream in either direction, with a checksum over what has passed. */
typedef struct Stream
{
	PlmTrainer *t;
	PlmWrite	write;			/* or NULL */
	PlmRead		read;			/* or NULL */
	void	   *arg;
	uint64_t	checksum;
} Stream;

static PlmStatus
pass(Stream *s, void *data, size_t bytes, PlmError *err)
{
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, s->t->options.hook);

	for (size_t at = 0; at < bytes; at += PIECE_BYTES)
	{
		char	   *piece = (char *) data + at;
		size_t		n = bytes - at < PIECE_BYTES ? bytes - at : PIECE_BYTES;

		if (plm_stopped(&worker))
			return plm_cancelled(err);
		if (s->write != NULL)
			PLM_TRY(s->write(s->arg, piece, n, err));
		else
			PLM_TRY(s->read(s->arg, piece, n, err));
		s->checksum = plm_checksum(piece, n, s->checksum);
	}
	return PLM_OK;
}

/* The trained floats of an array laid out as the weights. */
static PlmStatus
pass_trained(Stream *s, float *w, PlmError *err)
{
	for (int64_t i = 0; i < s->t->n_slots; i++)
		PLM_TRY(pass(s, w + s->t->slots[i].w, (size_t) s->t->slots[i].n * sizeof(float), err));
	return PLM_OK;
}

static PlmStatus
pass_body(Stream *s, const StateHeader *h, PlmError *err)
{
	PlmTrainer *t = s->t;

	PLM_TRY(pass_trained(s, t->w, err));
	PLM_TRY(pass(s, t->m, (size_t) t->n_trained * sizeof(float), err));
	PLM_TRY(pass(s, t->v, (size_t) t->n_trained * sizeof(float), err));
	if (h->has_best)
		PLM_TRY(pass_trained(s, t->best, err));
	if (plm_private(t))
		PLM_TRY(pass(s, t->options.privacy_key, sizeof(t->options.privacy_key), err));
	return pass(s, t->mined, (size_t) h->mined * sizeof(int32_t), err);
}

PlmStatus
plm_trainer_state(PlmTrainer *t, PlmWrite write, void *arg, PlmError *err)
{
	Stream		s = {.t = t, .write = write, .arg = arg};
	StateHeader h;
	uint64_t	sum;

	PLM_TRY(plm_update_finish(t, err));
	h = header_of(t);
	PLM_TRY(pass(&s, &h, sizeof(h), err));
	PLM_TRY(pass_body(&s, &h, err));
	sum = s.checksum;
	return pass(&s, &sum, sizeof(sum), err);
}

static PlmStatus
check_header(const PlmTrainer *t, StateHeader h, PlmError *err)
{
	StateHeader want = header_of(t);
	uint64_t	sum = h.checksum;

	h.checksum = 0;
	if (memcmp(h.magic, want.magic, sizeof(h.magic)) != 0 || h.version != want.version || h.order != want.order ||
		plm_checksum(&h, sizeof(h), 0) != sum)
		return plm_fail(err, PLM_ECORRUPT, 0, "the training state is damaged, or of another version");
	if (h.options != want.options || h.steps != want.steps)
		return plm_fail(err, PLM_EARG, 0, "the training state belongs to other options");
	if (h.examples != want.examples)
		return plm_fail(err, PLM_EARG, 0, "the training state belongs to other examples");
	if (h.base != want.base || h.trained != want.trained)
		return plm_fail(err, PLM_EARG, 0, "the training state belongs to another base");
	if (h.step < 0 || h.step > h.steps ||
		(h.mined != 0 && (t->mined == NULL || h.mined != plm_examples_count(t->train) * t->options.hard_negatives)))
		return plm_fail(err, PLM_ECORRUPT, 0, "the training state contradicts itself");
	return PLM_OK;
}

/* Numbers of examples are used as such. */
static PlmStatus
check_mined(const PlmTrainer *t, int64_t n, PlmError *err)
{
	for (int64_t i = 0; i < n; i++)
		if (t->mined[i] < -1 || t->mined[i] >= plm_examples_count(t->train))
			return plm_fail(err, PLM_ECORRUPT, 0, "the training state contradicts itself");
	return PLM_OK;
}

PlmStatus
plm_trainer_restore(PlmTrainer *t, PlmRead read, void *arg, PlmError *err)
{
	Stream		s = {.t = t, .read = read, .arg = arg};
	StateHeader h;
	uint64_t	sum;
	uint64_t	want;

	PLM_TRY(pass(&s, &h, sizeof(h), err));
	PLM_TRY(check_header(t, h, err));
	t->packed = false;
	if (h.has_best)
		PLM_TRY(plm_trainer_keep(t, err));
	PLM_TRY(pass_body(&s, &h, err));
	sum = s.checksum;
	PLM_TRY(pass(&s, &want, sizeof(want), err));
	if (sum != want)
		return plm_fail(err, PLM_ECORRUPT, 0, "the training state is damaged: its checksum differs");
	PLM_TRY(check_mined(t, h.mined, err));
	t->at_step = h.step;
	t->mined_epoch = h.mined > 0 ? h.mined_epoch : -1;
	return PLM_OK;
}
