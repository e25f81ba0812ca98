/*
 * space.c -- memory of a micro-batch: tape, gradients on their way back, workspaces of the threads.
 *
 * Kept from step to step: asking the system for hundreds of megabytes anew would cost a tenth of a step.
 */
#include "internal.h"

#include <string.h>

#define MICRO_TOKENS 4096		/* rows enough for full speed */
#define TAPE_BYTES ((int64_t) 512 << 20)	/* of a step on embeddings: one that fits needs no forward twice */
#define PRIVATE_TEXT_TOKENS 16	/* of a text in a private micro-batch, at the least, in the mean */
#define FULL_TOKENS 512			/* with room for fewer under a full tape, forwards are computed again instead */

/* Blocks, and the embeddings, whose rows on the way back are kept until all norms are known; one set serves all when none need be. */
static int64_t
back_sets(const PlmTrainer *t)
{
	return plm_private(t) ? t->model.config.layers - t->first_layer + t->embeddings_train : 1;
}

int64_t
plm_space_texts(int64_t tokens)
{
	return tokens / PRIVATE_TEXT_TOKENS + 1;
}

/* Floats that each token takes. */
static int64_t
token_floats(const PlmTrainer *t, bool full)
{
	int64_t		C = t->model.config.width;
	int64_t		F = t->model.config.ff;
	int64_t		L = plm_tapes(t);
	int64_t		tape = 6 * C + F + 4;

	int64_t		norms = plm_private(t) ? 4 * C / PRIVATE_TEXT_TOKENS : 8 * C / 64;

	/* Inputs and the last state, the tapes, what is on its way back, ids. */
	return (L + 1) * C + (full ? L : 1) * tape + C + back_sets(t) * (6 * C + F + norms) + 8;
}

int64_t
plm_space_most(const PlmTrainer *t)
{
	int64_t		tokens = TAPE_BYTES / (int64_t) sizeof(float) / token_floats(t, true);

	return t->code->vector_loss != NULL && tokens > MICRO_TOKENS ? tokens : MICRO_TOKENS;
}

void
plm_space_plan(const PlmTrainer *t, int64_t longest, int64_t *tokens, bool *full)
{
	size_t		limit = t->options.memory_limit;
	size_t		held = t->arena.taken;
	int64_t		vocabulary = t->options.objective == PLM_LEARN_MASKED ? (int64_t) (t->options.mask_rate * t->model.config.vocab) + 1 : 0;
	int64_t		room = limit > held ? (int64_t) ((limit - held) / 8 * 7 / sizeof(float)) : 0;

	*tokens = t->most_tokens;
	/* What an example's clipping scales is there for all blocks at once. */
	*full = !t->forget || plm_private(t);
	if (limit == 0)
		return;
	*tokens = room / (token_floats(t, true) + vocabulary);
	if (!plm_private(t) && (*tokens < FULL_TOKENS || *tokens < longest))
	{
		*full = false;
		*tokens = room / (token_floats(t, false) + vocabulary);
	}
	if (*tokens > t->most_tokens)
		*tokens = t->most_tokens;
	if (*tokens < 1)
		*tokens = 1;
}

static PlmStatus
floats(PlmSpace *s, int64_t width, float **out, PlmError *err)
{
	return plm_take(&s->arena, s->tokens * width, sizeof(float), out, err);
}

static PlmStatus
carve_tape(PlmTrainer *t, PlmSpace *s, PlmError *err)
{
	int64_t		C = t->model.config.width;
	int32_t		L = plm_tapes(t);

	PLM_TRY(plm_take(&s->arena, L, sizeof(PlmBlockTape), &s->blocks, err));
	for (int32_t l = 0; l < L; l++)
	{
		PlmBlockTape *b = &s->blocks[l];

		if (l > 0)
			*b = s->blocks[0];
		PLM_TRY(floats(s, C, &b->x, err));
		if (l > 0 && !s->full)
			continue;
		PLM_TRY(floats(s, 3 * C, &b->qkv, err));
		PLM_TRY(floats(s, C, &b->mix, err));
		PLM_TRY(floats(s, C, &b->attn_sum, err));
		PLM_TRY(floats(s, 2, &b->attn_save, err));
		PLM_TRY(floats(s, t->model.config.ff, &b->up, err));
		PLM_TRY(floats(s, C, &b->ff_sum, err));
		PLM_TRY(floats(s, 2, &b->ff_save, err));
	}
	return floats(s, C, &s->last, err);
}

/* Scratch of a backward in one thread. */
static size_t
backward_scratch(const PlmTrainer *t, int64_t longest)
{
	/* The last layer's weights: a frozen layer has none. */
	return plm_block_backward_scratch(&t->model, &t->back[plm_tapes(t) - 1], longest, false);
}

static PlmStatus
carve_back(PlmTrainer *t, PlmSpace *s, int64_t chunks, PlmError *err)
{
	int64_t		C = t->model.config.width;
	int32_t		L = t->model.config.layers;
	PlmBackRows *last = NULL;

	PLM_TRY(plm_take(&s->arena, L + 1, sizeof(PlmBackRows), &s->back, err));
	for (int32_t l = 0; l <= L; l++)
	{
		PlmBackRows *b = &s->back[l];

		*b = (PlmBackRows) {.dx = s->dx};
		if (last != NULL && !plm_private(t))
			*b = *last;
		if ((last != NULL && !plm_private(t)) || (l < L ? l < t->first_layer : last != NULL && !t->embeddings_train))
			continue;
		PLM_TRY(floats(s, C, &b->dff_sum, err));
		PLM_TRY(floats(s, C, &b->dattn_sum, err));
		PLM_TRY(floats(s, t->model.config.ff, &b->dup, err));
		PLM_TRY(floats(s, C, &b->mid, err));
		PLM_TRY(floats(s, 3 * C, &b->dqkv, err));
		PLM_TRY(plm_take(&s->arena, chunks * 4 * C, sizeof(float), &b->norms, err));
		last = b;
	}
	return PLM_OK;
}

static PlmStatus
carve(PlmTrainer *t, PlmSpace *s, PlmError *err)
{
	int64_t		C = t->model.config.width;
	int64_t		chunks = plm_private(t) ? s->texts : s->tokens / 64 + 2;

	PLM_TRY(plm_take(&s->arena, s->tokens, sizeof(int32_t), &s->ids, err));
	PLM_TRY(plm_take(&s->arena, s->tokens, sizeof(int32_t), &s->types, err));
	PLM_TRY(plm_take(&s->arena, s->texts + 1, sizeof(int64_t), &s->offsets, err));
	PLM_TRY(plm_take(&s->arena, s->texts + chunks, sizeof(int64_t), &s->chunk_offsets, err));
	PLM_TRY(plm_take(&s->arena, chunks, sizeof(PlmChunk), &s->chunk, err));
	PLM_TRY(carve_tape(t, s, err));
	PLM_TRY(floats(s, C, &s->dx, err));
	PLM_TRY(carve_back(t, s, chunks, err));
	s->n_spaces = t->threads;
	PLM_TRY(plm_take(&s->arena, s->n_spaces, sizeof(PlmWorkspace), &s->spaces, err));
	for (int i = 0; i < s->n_spaces; i++)
		PLM_TRY(plm_workspace_carve_taped(&t->model, s->tokens, s->longest, backward_scratch(t, s->longest), &s->arena,
										  &s->spaces[i], err));
	return PLM_OK;
}

/* What the largest micro-batch needs. */
static void
measure(const PlmTexts *x, int64_t *tokens, int64_t *texts, int64_t *longest)
{
	*tokens = *texts = *longest = 0;
	for (int64_t i = 0; i < x->micros; i++)
	{
		int64_t		n = x->micro[i + 1] - x->micro[i];
		int64_t		T = x->at[x->micro[i + 1]] - x->at[x->micro[i]];

		*texts = n > *texts ? n : *texts;
		*tokens = T > *tokens ? T : *tokens;
	}
	for (int64_t s = 0; s < x->n; s++)
		*longest = x->text[s].n > *longest ? x->text[s].n : *longest;
}

static int64_t
most_of(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* Without memory; all that the limit leaves is there for the next. */
static void
empty_space(PlmTrainer *t)
{
	plm_arena_free(&t->space.arena);
	t->space = (PlmSpace) {.tokens = 0};
	plm_arena_init(&t->space.arena, t->options.hook, 0);
	plm_share_limit(t, &t->space.arena);
}

PlmStatus
plm_space_fit(PlmTrainer *t, const PlmTexts *x, PlmError *err)
{
	PlmSpace   *s = &t->space;
	int64_t		tokens;
	int64_t		texts;
	int64_t		longest;
	int64_t		planned;
	bool		full;
	PlmStatus	status;

	measure(x, &tokens, &texts, &longest);
	plm_space_plan(t, longest, &planned, &full);
	if (s->tokens >= tokens && s->texts >= texts && s->longest >= longest && s->full == full)
		return PLM_OK;
	if (s->full == full)
	{
		/* Growing: by what the largest step so far needed in each respect. */
		tokens = most_of(tokens, s->tokens);
		texts = most_of(texts, s->texts);
		longest = most_of(longest, s->longest);
	}
	empty_space(t);
	s->tokens = tokens, s->texts = texts, s->longest = longest, s->full = full;
	status = carve(t, s, err);
	if (status != PLM_OK)
		empty_space(t);
	return status;
}

/* No more tasks run at once than there are workspaces, so one is free. */
PlmWorkspace *
plm_space_borrow(PlmTrainer *t)
{
	PlmSpace   *s = &t->space;

	for (int i = 0;; i = (i + 1) % s->n_spaces)
		if (__atomic_exchange_n(&s->spaces[i].busy, 1, __ATOMIC_ACQUIRE) == 0)
			return &s->spaces[i];
}

void
plm_space_return(PlmWorkspace *ws)
{
	__atomic_store_n(&ws->busy, 0, __ATOMIC_RELEASE);
}
