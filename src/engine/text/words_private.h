/*
 * words_private.h -- what words.c and words_chunk.c share: the state of one plm_segment().
 */
#ifndef PLM_WORDS_PRIVATE_H
#define PLM_WORDS_PRIVATE_H

#include "text_private.h"

#define PLM_MAX_PENDING 64			/* parts of one character with its marks; more are cut (UAX 15's stream-safe format allows 30) */
#define PLM_MAX_WORD 64				/* characters of a word; longer ones are cut */
#define PLM_MAX_CHUNK 256		/* characters of a chunk */
#define PLM_MAX_RUNS 16
#define PLM_MAX_UNIT 8			/* characters of a unit; further marks are dropped */

typedef enum PlmCharClass
{
	PLM_CHAR_BREAK = 0, PLM_CHAR_SPACE, PLM_CHAR_JOINER, PLM_CHAR_MARK, PLM_CHAR_DIGIT, PLM_CHAR_LETTER,
	PLM_CHAR_HAN, PLM_CHAR_HANGUL,
	PLM_CHAR_UNIT				/* kana, Thai and the other scripts without spaces */
} PlmCharClass;

/* Part of a word chunk between joiners. */
typedef struct PlmWordRun
{
	uint32_t	c[PLM_MAX_WORD + 1];
	int			n;
	int			border;			/* where the first letters end and digits begin, or the reverse; borders = 0: nowhere */
	int			borders;
	bool		digits_first;
	bool		possessive;		/* "'s" followed */
	uint32_t	joiner;			/* before it; 0: none */
} PlmWordRun;

typedef struct PlmUnit
{
	uint32_t	c[PLM_MAX_UNIT];
	int			n;
	PlmCharClass class;
} PlmUnit;

typedef struct PlmSegmenter
{
	bool		query;
	PlmArena   *arena;
	PlmWorker  *worker;
	PlmError   *err;
	PlmStatus	status;
	/* output */
	char	   *out;
	size_t		n,
				cap;
	/* folding */
	int32_t		pending[PLM_MAX_PENDING + 1];
	int			n_pending;
	/* a chunk of words */
	uint32_t	chunk[PLM_MAX_CHUNK];
	PlmCharClass class[PLM_MAX_CHUNK];
	int			n_chunk;
	int			word;			/* characters since the last joiner */
	uint32_t	joiner;			/* seen behind the last word; 0: none */
	PlmWordRun	runs[PLM_MAX_RUNS];
	PlmWordRun	before;			/* the word before this one when only spaces lie between; n = 0: none */
	/* a run of units */
	PlmUnit		left,
				right;
	int64_t		units;
} PlmSegmenter;

static inline bool
plm_is_digit(uint32_t cp)
{
	return cp >= '0' && cp <= '9';
}

/* One more term. */
void		plm_words_emit(PlmSegmenter *s, const uint32_t *c, int n);

/* words_chunk.c: one more character of a word; the end of the chunk, whose terms are written. */
void		plm_words_put(PlmSegmenter *s, PlmCharClass class, uint32_t cp);
void		plm_words_chunk_end(PlmSegmenter *s);

#endif							/* PLM_WORDS_PRIVATE_H */
