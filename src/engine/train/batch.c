/*
 * batch.c -- which examples a step has, their texts, and how they are cut.
 *
 * Everything is a function of the seed, of the step's number and of the lengths: no state but the step's number
 * is needed to go on, and the number of threads has no say.
 */
#include "internal.h"

#include <string.h>

PlmStatus
plm_take(PlmArena *arena, int64_t count, size_t size, void *out, PlmError *err)
{
	void	   *ptr = plm_arena_array(arena, (size_t) count, size);

	if (ptr == NULL)
		return plm_arena_refused(arena, (size_t) count * size, err);
	memcpy(out, &ptr, sizeof(ptr));
	return PLM_OK;
}

uint64_t
plm_stream(uint64_t seed, PlmStream stream, uint64_t number)
{
	uint64_t	key[3] = {seed, (uint64_t) stream, number};

	return plm_checksum(key, sizeof(key), 0);
}

/*
 * A permutation that needs no memory: a Feistel network over the next even number of bits (Luby, Rackoff 1988), walked
 * until it lands inside 0 .. n - 1 (Black, Rogaway 2002).
 */
int64_t
plm_shuffled(uint64_t seed, int64_t epoch, int64_t n, int64_t place)
{
	uint64_t	key = plm_stream(seed, PLM_STREAM_ORDER, (uint64_t) epoch);
	uint64_t	x = (uint64_t) place;
	int			half = 1;

	while (half < 31 && (int64_t) 1 << (2 * half) < n)
		half++;
	do
	{
		uint64_t	mask = ((uint64_t) 1 << half) - 1;
		uint64_t	left = x >> half;
		uint64_t	right = x & mask;

		for (uint64_t round = 0; round < 6; round++)
		{
			uint64_t	next = left ^ (plm_random(key + round, right) & mask);

			left = right;
			right = next;
		}
		x = left << half | right;
	} while (x >= (uint64_t) n);
	return (int64_t) x;
}

static PlmStatus
begin(PlmTrainer *t, int64_t examples, int64_t most_texts, PlmTexts *x, PlmError *err)
{
	memset(x, 0, sizeof(*x));
	PLM_TRY(plm_take(&t->step, examples, sizeof(*x->example), &x->example, err));
	PLM_TRY(plm_take(&t->step, examples, sizeof(*x->number), &x->number, err));
	PLM_TRY(plm_take(&t->step, most_texts, sizeof(*x->text), &x->text, err));
	PLM_TRY(plm_take(&t->step, most_texts, sizeof(*x->owner), &x->owner, err));
	PLM_TRY(plm_take(&t->step, most_texts, sizeof(*x->role), &x->role, err));
	PLM_TRY(plm_take(&t->step, most_texts + 1, sizeof(*x->at), &x->at, err));
	return plm_take(&t->step, most_texts + 1, sizeof(*x->micro), &x->micro, err);
}

static void
add_text(PlmTexts *x, const PlmSequence *text, PlmRole role)
{
	x->text[x->n] = *text;
	x->owner[x->n] = (int32_t) x->examples;
	x->role[x->n++] = role;
}

static void
add_example(PlmTexts *x, const PlmExamples *from, int64_t number)
{
	const PlmStored *s = plm_examples_at(from, number);

	for (int i = 0; i < 3; i++)
		if (s->text[i].n > 0)
			add_text(x, &s->text[i], (PlmRole) i);
	x->number[x->examples] = number;
	x->example[x->examples] = s;
}

PlmStatus
plm_texts_cut(PlmTrainer *t, PlmTexts *x, PlmError *err)
{
	int64_t		longest = 0;
	int64_t		most;
	int64_t		texts;
	int64_t		example = 0;	/* first text of the example at hand */
	bool		full;

	(void) err;
	x->at[0] = 0;
	for (int64_t s = 0; s < x->n; s++)
	{
		x->at[s + 1] = x->at[s] + x->text[s].n;
		longest = x->text[s].n > longest ? x->text[s].n : longest;
	}
	x->tokens = x->at[x->n];
	plm_space_plan(t, longest, &most, &full);
	texts = plm_private(t) ? plm_space_texts(most) : most;
	x->micros = 0;
	x->micro[0] = 0;
	for (int64_t s = 1; s <= x->n; s++)
	{
		if (s < x->n && x->owner[s] == x->owner[example])
			continue;
		/* An example that would make the micro-batch too large begins the next one. */
		if ((x->at[s] - x->at[x->micro[x->micros]] > most || s - x->micro[x->micros] > texts) && example > x->micro[x->micros])
			x->micro[++x->micros] = example;
		example = s;
	}
	if (x->n > 0)
		x->micro[++x->micros] = x->n;
	return PLM_OK;
}

static PlmStatus
private_texts_of_step(PlmTrainer *t, PlmTexts *x, PlmError *err)
{
	int64_t		n;

	PLM_TRY(plm_private_draw(t, NULL, &n, err));
	PLM_TRY(begin(t, n, 3 * n, x, err));
	x->training = true;
	x->seed = plm_stream(t->options.seed, PLM_STREAM_STEP, (uint64_t) t->at_step);
	PLM_TRY(plm_private_draw(t, x->number, &n, err));
	for (int64_t i = 0; i < n; i++)
	{
		add_example(x, t->train, x->number[i]);
		x->examples++;
	}
	return plm_texts_cut(t, x, err);
}

PlmStatus
plm_texts_of_step(PlmTrainer *t, PlmTexts *x, PlmError *err)
{
	int64_t		n = plm_examples_count(t->train);
	int64_t		B = t->options.batch;
	int32_t		mined = t->mined != NULL ? t->options.hard_negatives : 0;

	if (plm_private(t))
		return private_texts_of_step(t, x, err);
	PLM_TRY(begin(t, B, B * (3 + mined), x, err));
	x->training = true;
	x->seed = plm_stream(t->options.seed, PLM_STREAM_STEP, (uint64_t) t->at_step);
	for (int64_t i = t->at_step * B; i < (t->at_step + 1) * B; i++)
	{
		int64_t		number = plm_shuffled(t->options.seed, i / n, n, i % n);

		add_example(x, t->train, number);
		for (int32_t k = 0; k < mined; k++)
		{
			int32_t		other = t->mined[number * mined + k];

			if (other >= 0)
				add_text(x, &plm_examples_at(t->train, other)->text[1], PLM_ROLE_NEGATIVE);
		}
		x->examples++;
	}
	return plm_texts_cut(t, x, err);
}

PlmStatus
plm_texts_of_range(PlmTrainer *t, const PlmExamples *from, int64_t first, int64_t n, PlmTexts *x, PlmError *err)
{
	PLM_TRY(begin(t, n, 3 * n, x, err));
	x->seed = plm_stream(t->options.seed, PLM_STREAM_EVALUATE, (uint64_t) first);
	for (int64_t i = first; i < first + n; i++)
	{
		add_example(x, from, i);
		x->examples++;
	}
	return plm_texts_cut(t, x, err);
}
