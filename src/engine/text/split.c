/*
 * split.c -- pre-tokenisation: each operation decides, character by character, where a word begins
 * and which characters disappear.  BertPreTokenizer is written as "spaces removed, punctuation isolated".
 *
 * All operations refine the words of those before them, so one flag travels with a character: it
 * begins a word.
 */
#include "text_private.h"

/* 0 and 1; PLM_SPLIT_WORD also has 2, white space, which always disappears. */
static int
char_class(PlmSplitKind kind, uint32_t cp)
{
	switch (kind)
	{
		case PLM_SPLIT_SPACE:
			return plm_is_space(cp);
		case PLM_SPLIT_WORD:
			return plm_is_word(cp) ? 0 : plm_is_space(cp) ? 2 : 1;
		case PLM_SPLIT_PUNCTUATION:
			return plm_is_punctuation(cp);
		case PLM_SPLIT_DIGITS:
			return plm_is_numeric(cp);
		case PLM_SPLIT_KINDS:
			break;
	}
	return 0;
}

/* Does a character of this class begin a word, after one of class `before` in the same word? */
static bool
begins(PlmBehavior behavior, int before, int class)
{
	switch (behavior)
	{
		case PLM_REMOVED:
		case PLM_CONTIGUOUS:
			return before != class;
		case PLM_ISOLATED:
			return before == 1 || class == 1;
		case PLM_MERGED_WITH_PREVIOUS:
			return before == 1;
		case PLM_MERGED_WITH_NEXT:
			return class == 1;
		case PLM_BEHAVIORS:
			break;
	}
	return false;
}

void
plm_split_begin(PlmRunState *r)
{
	for (uint32_t k = 0; k < r->b->n_split; k++)
		r->split[k] = (PlmSplitState) {-1, true};
}

void
plm_split_put(PlmRunState *r, uint32_t cp, PlmAlign at)
{
	bool		cut = false;

	for (uint32_t k = 0; k < r->b->n_split; k++)
	{
		PlmSplitKind kind = (PlmSplitKind) r->b->split[k].kind;
		PlmBehavior behavior = (PlmBehavior) r->b->split[k].behavior;
		PlmSplitState *s = &r->split[k];
		int			class = char_class(kind, cp);

		if (cut)
			s->previous = -1;
		if (s->previous >= 0 && begins(behavior, s->previous, class))
			cut = true;
		s->cut = s->cut || cut;
		s->previous = class;
		if (behavior == PLM_REMOVED && class == (kind == PLM_SPLIT_WORD ? 2 : 1))
		{
			s->cut = true;
			return;
		}
		cut = s->cut;
		s->cut = false;
	}
	if (cut)
		plm_word_end(r);
	plm_word_put(r, cp, at);
}

void
plm_split_end(PlmRunState *r)
{
	plm_word_end(r);
	plm_split_begin(r);
}
