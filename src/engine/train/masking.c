/*
 * masking.c -- which tokens are masked, and with what; pairs for next-sentence prediction.
 *
 * Whole words, chosen anew at each step: of the chosen tokens 80 % become [MASK], 10 % another token, 10 % stay as they
 * are (Devlin et al. 2019).  All of it follows from the step's seed and the text's place in the step.
 */
#include "internal.h"

#include <string.h>

#define CONTINUES 1
#define SPECIAL 2

/* Has any text a token that could be masked? */
static bool
can_mask(const PlmTrainer *t)
{
	for (int64_t i = 0; i < plm_examples_count(t->train); i++)
		for (int s = 0; s < 2; s++)
		{
			const PlmSequence *q = &plm_examples_at(t->train, i)->text[s];

			for (int32_t k = 0; k < q->n; k++)
				if (t->continues[q->ids[k]] != SPECIAL)
					return true;
		}
	return false;
}

PlmStatus
plm_masking_open(PlmTrainer *t, PlmError *err)
{
	const PlmTokenizer *tokenizer = &t->model.tokenizer;
	int32_t		ordinary = 0;

	if (tokenizer->mask < 0)
	{
		plm_fail(err, PLM_EARG, 0, "the tokenizer has no mask token");
		return plm_hint(err, "Pretraining needs a vocabulary with [MASK], as product_llm.train_tokenizer() makes it.");
	}
	if (t->options.next_sentence && plm_examples_texts(t->train) < 2)
		return plm_fail(err, PLM_EARG, 0, "next-sentence prediction needs pairs of texts");
	PLM_TRY(plm_take(&t->arena, tokenizer->tokens, 1, &t->continues, err));
	for (int32_t id = 0; id < tokenizer->tokens; id++)
	{
		PlmText		text = plm_token_text(tokenizer, id);

		t->continues[id] = plm_token_is_special(tokenizer, id) || id == tokenizer->unk ? SPECIAL :
			text.len > 2 && memcmp(text.data, "##", 2) == 0 ? CONTINUES : 0;
		ordinary += t->continues[id] != SPECIAL;
	}
	if (ordinary == 0)
		return plm_fail(err, PLM_EARG, 0, "the tokenizer has no tokens besides special ones");
	if (!can_mask(t))
	{
		plm_fail(err, PLM_EARG, 0, "no text of the corpus has a token that could be masked");
		return plm_hint(err, "The texts are empty, or all their words are unknown to the tokenizer.");
	}
	return PLM_OK;
}

static int64_t
below(uint64_t key, uint64_t counter, int64_t n)
{
	return (int64_t) (plm_random_uniform(key, counter) * (double) n);
}

/* ---- pairs ---- */

/* [CLS] a [SEP] b [SEP] from two encodings with special tokens of their own; the longer one gives way. */
static PlmStatus
join(PlmTrainer *t, const PlmSequence *a, const PlmSequence *b, PlmSequence *out, PlmError *err)
{
	int32_t		most = t->options.max_tokens > 0 ? t->options.max_tokens : t->model.config.max_tokens;
	int32_t		first = a->n - 2;
	int32_t		second = b->n - 2;
	int32_t    *ids;

	while (first + second + 3 > most && first + second > 0)
	{
		if (first >= second)
			first--;
		else
			second--;
	}
	PLM_TRY(plm_take(&t->step, first + second + 3, sizeof(int32_t), &ids, err));
	memcpy(ids, a->ids, (size_t) (first + 1) * sizeof(int32_t));
	ids[first + 1] = a->ids[a->n - 1];
	memcpy(ids + first + 2, b->ids + 1, (size_t) second * sizeof(int32_t));
	ids[first + second + 2] = b->ids[b->n - 1];
	*out = (PlmSequence) {ids, first + second + 3, first + 2};
	return PLM_OK;
}

/* Half of the examples that have a second text get another example's. */
static PlmStatus
pair_up(PlmTrainer *t, PlmTexts *x, PlmError *err)
{
	const PlmExamples *from = x->training ? t->train : t->held_out;
	uint64_t	key = plm_stream(x->seed, PLM_STREAM_PAIR, 0);
	int64_t		n = plm_examples_count(from);

	PLM_TRY(plm_take(&t->step, x->examples, sizeof(int32_t), &x->follows, err));
	x->n = x->examples;
	for (int64_t i = 0; i < x->examples; i++)
	{
		const PlmStored *s = x->example[i];
		const PlmSequence *second = &s->text[1];

		x->follows[i] = 0;
		if (t->options.next_sentence && plm_random_uniform(key, 2 * (uint64_t) i) < 0.5 && n > 1)
		{
			int64_t		other = below(key, 2 * (uint64_t) i + 1, n - 1);

			second = &plm_examples_at(from, other + (other >= x->number[i]))->text[1];
			x->follows[i] = 1;
		}
		x->owner[i] = (int32_t) i;
		x->role[i] = PLM_ROLE_FIRST;
		x->text[i] = s->text[0];
		if (second->n > 0)
			PLM_TRY(join(t, &s->text[0], second, &x->text[i], err));
	}
	return PLM_OK;
}

/* ---- masks ---- */

static bool
ends_word(const PlmTrainer *t, const PlmSequence *q, int32_t i)
{
	return i == q->n || t->continues[q->ids[i]] != CONTINUES;
}

/* First tokens of the words of a text, and how many tokens they have in all. */
static int32_t
find_words(const PlmTrainer *t, const PlmSequence *q, int32_t *words, int32_t *tokens)
{
	int32_t		n = 0;

	*tokens = 0;
	for (int32_t i = 0; i < q->n; i++)
	{
		if (t->continues[q->ids[i]] == SPECIAL)
			continue;
		++*tokens;
		/* A continuation after a special token, where a text was cut, begins a word too. */
		if (t->continues[q->ids[i]] != CONTINUES || i == 0 || t->continues[q->ids[i - 1]] == SPECIAL)
			words[n++] = i;
	}
	return n;
}

static int32_t
disguise(const PlmTrainer *t, int32_t id, uint64_t key, uint64_t counter)
{
	double		u = plm_random_uniform(key, 4 * counter);

	if (u < 0.8)
		return t->model.tokenizer.mask;
	if (u >= 0.9)
		return id;
	for (uint64_t k = 0;; k++)
	{
		int32_t		other = (int32_t) below(plm_stream(key, PLM_STREAM_MASK, k), counter, t->model.tokenizer.tokens);

		if (t->continues[other] != SPECIAL)
			return other;
	}
}

/* Choose words of text s until the share is reached; chosen: (n) flags. */
static void
choose(const PlmTrainer *t, const PlmSequence *q, uint64_t key, int32_t *words, bool *chosen)
{
	int32_t		tokens;
	int32_t		n = find_words(t, q, words, &tokens);
	int32_t		want = (int32_t) (t->options.mask_rate * tokens + 0.5);
	int32_t		have = 0;

	for (int32_t i = 0; i < q->n; i++)
		chosen[i] = false;
	want = want < 1 ? 1 : want;
	for (int32_t k = 0; k < n && have < want; k++)
	{
		int32_t		pick = k + (int32_t) below(key, (uint64_t) k, n - k);
		int32_t		word = words[pick];

		words[pick] = words[k];
		do
		{
			chosen[word++] = true;
			have++;
		} while (!ends_word(t, q, word));
	}
}

/* The texts with their masks, and the targets; words, chosen: scratch for the longest text. */
static PlmStatus
mask_texts(PlmTrainer *t, PlmTexts *x, int32_t *words, bool *chosen, PlmError *err)
{
	int64_t		at = 0;

	for (int64_t s = 0; s < x->n; s++)
	{
		uint64_t	key = plm_stream(x->seed, PLM_STREAM_MASK, (uint64_t) s);
		uint64_t	disguises = plm_stream(key, PLM_STREAM_MASK, 0);
		PlmSequence *q = &x->text[s];
		int32_t    *ids;

		PLM_TRY(plm_take(&t->step, q->n, sizeof(int32_t), &ids, err));
		memcpy(ids, q->ids, (size_t) q->n * sizeof(int32_t));
		choose(t, q, key, words, chosen);
		for (int32_t i = 0; i < q->n; i++)
		{
			if (!chosen[i])
				continue;
			x->target_at[x->targets] = at + i;
			x->target_id[x->targets++] = q->ids[i];
			ids[i] = disguise(t, q->ids[i], disguises, (uint64_t) i);
		}
		at += q->n;
		q->ids = ids;
	}
	return PLM_OK;
}

PlmStatus
plm_masking_prepare(PlmTrainer *t, PlmTexts *x, PlmError *err)
{
	int64_t		longest = 0;
	int64_t		tokens = 0;
	int32_t    *words;
	bool	   *chosen;

	PLM_TRY(pair_up(t, x, err));
	for (int64_t s = 0; s < x->n; s++)
	{
		tokens += x->text[s].n;
		longest = x->text[s].n > longest ? x->text[s].n : longest;
	}
	PLM_TRY(plm_take(&t->step, tokens, sizeof(int64_t), &x->target_at, err));
	PLM_TRY(plm_take(&t->step, tokens, sizeof(int32_t), &x->target_id, err));
	PLM_TRY(plm_take(&t->step, longest, sizeof(int32_t), &words, err));
	PLM_TRY(plm_take(&t->step, longest, sizeof(bool), &chosen, err));
	x->targets = 0;
	PLM_TRY(mask_texts(t, x, words, chosen, err));
	return plm_texts_cut(t, x, err);
}
