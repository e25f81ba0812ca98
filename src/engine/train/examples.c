/*
 * examples.c -- the rows of the host's query as token ids.
 *
 * Records stand in pages, found through a directory that doubles; token ids, labels and targets lie wherever the
 * arena had room.  Nothing is copied when the number of examples grows.
 */
#include "internal.h"

#include <math.h>
#include <string.h>

#define PAGE_EXAMPLES 1024

struct PlmExamples
{
	PlmArena	arena;
	PlmArena	work;			/* of one encoding */
	const PlmTokenizer *tokenizer;
	PlmObjective objective;
	bool		pairs;
	int32_t		max_tokens;
	int32_t		target_width;
	int32_t		texts;			/* most of any example */
	int32_t		longest;
	int64_t		n;
	int64_t		tokens;
	uint64_t	checksum;
	int64_t		most_pages;
	PlmStored **pages;
};

PlmStatus
plm_examples_init(PlmObjective objective, bool pairs, const PlmTokenizer *tokenizer, int32_t max_tokens, int32_t target_width,
				  const PlmHook *hook, size_t memory_limit, PlmExamples **out, PlmError *err)
{
	PlmArena	arena;
	PlmExamples *e;
	int32_t		least = pairs ? 4 : 3;

	*out = NULL;
	if (objective < 0 || objective >= PLM_OBJECTIVES)
		return plm_fail(err, PLM_EARG, 0, "there is no objective %d", (int) objective);
	if (max_tokens < least)
		return plm_fail(err, PLM_EARG, 0, "a limit of %" PRId32 " tokens leaves no room for a text; the least is %" PRId32,
						max_tokens, least);
	if ((objective == PLM_LEARN_DISTILLED) != (target_width > 0))
		return plm_fail(err, PLM_EARG, 0, "distillation, and nothing else, takes vectors as targets");
	plm_arena_init(&arena, hook, memory_limit);
	e = plm_arena_zero(&arena, sizeof(*e));
	if (e == NULL)
		return plm_arena_refused(&arena, sizeof(*e), err);
	*e = (PlmExamples) {.arena = arena, .tokenizer = tokenizer, .objective = objective, .pairs = pairs,
	.max_tokens = max_tokens, .target_width = target_width};
	plm_arena_init(&e->work, hook, memory_limit);
	*out = e;
	return PLM_OK;
}

/* Copy to memory that stays. */
static PlmStatus
keep(PlmExamples *e, const void *data, int64_t n, size_t size, const void *out, PlmError *err)
{
	void	   *copy = plm_arena_array(&e->arena, (size_t) n, size);

	if (copy == NULL)
		return plm_arena_refused(&e->arena, (size_t) n * size, err);
	memcpy(copy, data, (size_t) n * size);
	e->checksum = plm_checksum(data, (size_t) n * size, e->checksum + (uint64_t) n);
	memcpy((void *) out, &copy, sizeof(copy));
	return PLM_OK;
}

static PlmStatus
add_text(PlmExamples *e, PlmText text, const PlmText *pair, PlmSequence *out, PlmError *err)
{
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, e->arena.hook);
	PlmMark		mark = plm_arena_mark(&e->work);
	PlmEncoding code;
	PlmStatus	status = plm_encode(e->tokenizer, text, pair, e->max_tokens, &worker, &e->work, &code, err);

	if (status == PLM_OK)
	{
		out->n = (int32_t) code.n;
		while (out->second < out->n && code.types[out->second] == 0)
			out->second++;
		status = keep(e, code.ids, code.n, sizeof(int32_t), &out->ids, err);
		e->checksum += (uint64_t) out->second;
		e->tokens += code.n;
		if (out->n > e->longest)
			e->longest = out->n;
	}
	plm_arena_rewind(&e->work, mark);
	return status;
}

/* Encoded as one sequence: what a model reads side by side. */
static bool
reads_pairs(const PlmExamples *e)
{
	return e->objective == PLM_LEARN_RANKING || (e->objective == PLM_LEARN_CLASSES && e->pairs);
}

static PlmStatus
add_texts(PlmExamples *e, const PlmExample *example, PlmStored *s, PlmError *err)
{
	int			least = e->objective == PLM_LEARN_RETRIEVAL || e->objective == PLM_LEARN_SIMILARITY || e->pairs ||
		e->objective == PLM_LEARN_RANKING ? 2 : 1;
	int			most = e->objective == PLM_LEARN_RETRIEVAL ? 3 : least;

	for (int i = 0; i < 3; i++)
	{
		if (i < least && example->text[i].data == NULL)
			return plm_fail(err, PLM_EARG, 0, "example %" PRId64 " has no %s text", e->n + 1, i == 0 ? "first" : "second");
		if (i >= most && example->text[i].data != NULL)
			return plm_fail(err, PLM_EARG, 0, "example %" PRId64 " has more texts than %s takes", e->n + 1,
							plm_objective_name(e->objective));
	}
	s->group = plm_checksum(example->text[0].data, example->text[0].len, 0);
	if (reads_pairs(e))
		return add_text(e, example->text[0], &example->text[1], &s->text[0], err);
	for (int i = 0; i < most && example->text[i].data != NULL; i++)
	{
		PLM_TRY(add_text(e, example->text[i], NULL, &s->text[i], err));
		if (i + 1 > e->texts)
			e->texts = i + 1;
	}
	return PLM_OK;
}

static PlmStatus
add_labels(PlmExamples *e, const PlmExample *example, PlmStored *s, PlmError *err)
{
	for (int32_t i = 0; i < example->n_labels; i++)
		if (example->labels[i] < 0 || (i > 0 && example->labels[i] <= example->labels[i - 1]))
			return plm_fail(err, PLM_EARG, 0, "the labels of example %" PRId64 " are not ascending numbers from 0", e->n + 1);
	s->n_labels = example->n_labels;
	if (example->n_labels == 0)
		return PLM_OK;
	return keep(e, example->labels, example->n_labels, sizeof(int32_t), &s->labels, err);
}

/* What an example teaches, besides its texts. */
static PlmStatus
add_lesson(PlmExamples *e, const PlmExample *example, PlmStored *s, PlmError *err)
{
	bool		numbered = e->objective == PLM_LEARN_RANKING || e->objective == PLM_LEARN_SIMILARITY;

	if (e->objective == PLM_LEARN_CLASSES)
		PLM_TRY(add_labels(e, example, s, err));
	if (numbered && !isfinite(example->number))
		return plm_fail(err, PLM_EARG, 0, "the number of example %" PRId64 " is not finite", e->n + 1);
	if (e->objective == PLM_LEARN_RANKING && (example->number < 0 || example->number > 1))
		return plm_fail(err, PLM_EARG, 0, "the grade of example %" PRId64 " is %g, outside 0 to 1", e->n + 1, example->number);
	if (e->objective == PLM_LEARN_SIMILARITY && (example->number < -1 || example->number > 1))
		return plm_fail(err, PLM_EARG, 0, "the score of example %" PRId64 " is %g, outside -1 to 1", e->n + 1, example->number);
	s->number = numbered ? example->number : 0;
	e->checksum = plm_checksum(&s->number, sizeof(s->number), e->checksum);
	if (e->target_width == 0)
		return PLM_OK;
	if (example->target == NULL || plm_find_nonfinite(example->target, e->target_width) >= 0)
		return plm_fail(err, PLM_EARG, 0, "the target of example %" PRId64 " is absent or not finite", e->n + 1);
	return keep(e, example->target, e->target_width, sizeof(float), &s->target, err);
}

/* Room for one more record. */
static PlmStatus
next_record(PlmExamples *e, PlmStored **out, PlmError *err)
{
	int64_t		page = e->n / PAGE_EXAMPLES;

	if (page == e->most_pages)
	{
		int64_t		most = page == 0 ? 16 : 2 * page;
		PlmStored **pages = plm_arena_zero(&e->arena, (size_t) most * sizeof(*pages));

		if (pages == NULL)
			return plm_arena_refused(&e->arena, (size_t) most * sizeof(*pages), err);
		if (page > 0)
			memcpy(pages, e->pages, (size_t) page * sizeof(*pages));
		e->pages = pages;
		e->most_pages = most;
	}
	if (e->pages[page] == NULL)
		PLM_TRY(plm_take(&e->arena, PAGE_EXAMPLES, sizeof(PlmStored), &e->pages[page], err));
	*out = &e->pages[page][e->n % PAGE_EXAMPLES];
	return PLM_OK;
}

PlmStatus
plm_examples_add(PlmExamples *e, const PlmExample *example, PlmError *err)
{
	PlmStored  *s = NULL;

	if (e->n >= INT32_MAX)
		return plm_fail(err, PLM_ELIMIT, 0, "there are more than %d examples", INT32_MAX);
	PLM_TRY(next_record(e, &s, err));
	memset(s, 0, sizeof(*s));
	PLM_TRY(add_texts(e, example, s, err));
	PLM_TRY(add_lesson(e, example, s, err));
	e->n++;
	return PLM_OK;
}

int64_t
plm_examples_count(const PlmExamples *examples)
{
	return examples->n;
}

int64_t
plm_examples_tokens(const PlmExamples *examples)
{
	return examples->tokens;
}

uint64_t
plm_examples_checksum(const PlmExamples *e)
{
	int64_t		facts[] = {e->objective, e->pairs, e->max_tokens, e->target_width, e->n, e->tokens};

	return plm_checksum(facts, sizeof(facts), e->checksum);
}

void
plm_examples_free(PlmExamples *examples)
{
	PlmArena	arena;

	if (examples == NULL)
		return;
	plm_arena_free(&examples->work);
	arena = examples->arena;	/* it holds the record itself */
	plm_arena_free(&arena);
}

const PlmStored *
plm_examples_at(const PlmExamples *e, int64_t i)
{
	return &e->pages[i / PAGE_EXAMPLES][i % PAGE_EXAMPLES];
}

const PlmTokenizer *
plm_examples_tokenizer(const PlmExamples *e)
{
	return e->tokenizer;
}

int32_t
plm_examples_longest(const PlmExamples *e)
{
	return e->longest;
}

int32_t
plm_examples_texts(const PlmExamples *e)
{
	return e->texts;
}

int32_t
plm_examples_target_width(const PlmExamples *e)
{
	return e->target_width;
}

PlmObjective
plm_examples_objective(const PlmExamples *e)
{
	return e->objective;
}
