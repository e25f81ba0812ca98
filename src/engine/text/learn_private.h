/*
 * learn_private.h -- what the files of learning share: arrays that grow, a map, counted words, the learner.
 *
 *     learn_pairs.c   pairs of pieces, their counts, a heap, and merging
 *     learn.c         options, counting, the alphabet, the files that come out
 *     learn_arrays.c  memory
 */
#ifndef PLM_LEARN_PRIVATE_H
#define PLM_LEARN_PRIVATE_H

#include "text_private.h"

/* ---- learn_arrays.c ---- */

/* All arrays of a learner together hold at most `limit` bytes. */
typedef struct LearnMemory
{
	const PlmHook *hook;
	size_t		limit;			/* 0: none */
	size_t		taken;
	const PlmArena *beside;		/* counts too */
} LearnMemory;

/* A growable array in an arena of its own, so that what it grew out of is given back. */
typedef struct LearnArray
{
	PlmArena	arena;
	void	   *data;
	int64_t		n;
	int64_t		cap;
} LearnArray;

/* Room for `more` elements of `size` bytes behind the n that are there; does not change n. */
PlmStatus	plm_learn_room(LearnMemory *memory, LearnArray *array, int64_t more, size_t size, PlmError *err);
void		plm_learn_release(LearnMemory *memory, LearnArray *array);

/* Numbers by 64-bit keys (any but UINT64_MAX): open addressing, in which nothing is ever removed. */
typedef struct LearnSlot
{
	uint64_t	key;
	int64_t		value;
} LearnSlot;

typedef struct LearnMap
{
	LearnArray	slots;			/* LearnSlot[cap], cap a power of two */
	int64_t		n;
} LearnMap;

/* The key's value; NULL: it has none.  Valid until the next plm_learn_put(). */
int64_t    *plm_learn_find(const LearnMap *map, uint64_t key);
/* The same, made with value `fresh` where there is none. */
PlmStatus	plm_learn_put(LearnMemory *memory, LearnMap *map, uint64_t key, int64_t fresh, int64_t **value, PlmError *err);

/* ---- a table of texts: learn_arrays.c ---- */

/* A word, or a part of one; a piece of the vocabulary. */
typedef struct LearnText
{
	uint64_t	offset;			/* in the pool */
	int64_t		count;
	uint32_t	hash;
	uint32_t	len;			/* bytes */
	bool		inner;			/* goes on with a word: all its pieces are written with "##" */
} LearnText;

typedef struct LearnTexts
{
	LearnArray	pool;			/* char */
	LearnArray	texts;			/* LearnText, in the order in which they came */
	LearnArray	slots;			/* uint32_t[n], n a power of two: place in texts plus 1; 0: free */
} LearnTexts;

/* The place of first and second in one; put there with count 0 when it is new. */
PlmStatus	plm_learn_text(LearnMemory *memory, LearnTexts *table, bool inner, PlmText first, PlmText second, int32_t *at,
						   PlmError *err);
void		plm_learn_texts_release(LearnMemory *memory, LearnTexts *table);

static inline LearnText *
plm_learn_at(const LearnTexts *table, int64_t i)
{
	return (LearnText *) table->texts.data + i;
}

static inline PlmText
plm_learn_string(const LearnTexts *table, const LearnText *text)
{
	return (PlmText) {(const char *) table->pool.data + text->offset, text->len};
}

/* ---- the learner ---- */

struct PlmLearner
{
	PlmLearnOptions options;
	PlmHook		hook;
	LearnMemory memory;
	PlmArena	arena;			/* this struct, the tokenizer's rules, and the scratch of one text */
	PlmText		config;			/* tokenizer_config.json */
	PlmTokenizer rules;
	LearnTexts	words;
	LearnTexts	pieces;			/* places are ids */
	int64_t		texts;
	int64_t		counted;		/* words in the texts */
	PlmRun		run;
	PlmWorker	worker;
	uint32_t	ticks;
};

/* Called at every few operations; true: stop. */
static inline bool
plm_learn_tick(PlmLearner *l)
{
	return (++l->ticks & 1023) == 0 && plm_stopped(&l->worker);
}

/* The key of a piece of one character. */
static inline uint64_t
plm_learn_form(uint32_t cp, bool inner)
{
	return (uint64_t) cp << 1 | inner;
}

/*
 * learn_pairs.c: merge pieces until there are `most`, or no pair occurs min_frequency times.  forms: the pieces of one
 * character by plm_learn_form(); words are cut at characters that have none.
 * Releases l->words.
 */
PlmStatus	plm_learn_merge(PlmLearner *l, const LearnMap *forms, int64_t most, PlmError *err);

#endif							/* PLM_LEARN_PRIVATE_H */
