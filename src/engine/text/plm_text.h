/*
 * plm_text.h -- from text to token ids, exactly as the reference tokenizer does it.
 *
 * A tokenizer is *compiled* once from a model's files into one relocatable blob (hash tables, strings
 * and rules by offset, no pointers), which lives in the packed cache file and is mapped by every
 * backend: opening it costs no parsing and no private memory.
 *
 * All text is UTF-8.  Invalid UTF-8 is refused with its position, never guessed at.
 */
#ifndef PLM_TEXT_H
#define PLM_TEXT_H

#include "../base/plm_base.h"

/* The files that describe a tokenizer; data NULL: absent.  tokenizer.json wins over vocab.txt. */
typedef struct PlmTokenizerFiles
{
	PlmText		tokenizer_json;
	PlmText		vocab_txt;
	PlmText		tokenizer_config_json;
	PlmText		special_tokens_map_json;
	PlmText		added_tokens_json;
} PlmTokenizerFiles;

/*
 * Check the files and build the blob, allocated from the arena.  Errors name the file and the reason.
 * Never reads past a span; JSON depth and sizes are bounded.
 */
PlmStatus	plm_tokenizer_compile(const PlmTokenizerFiles *files, PlmArena *arena,
								  void **blob, size_t *bytes, PlmError *err);

/* A view over a blob that somebody else owns (8-byte aligned). */
typedef struct PlmTokenizer
{
	const unsigned char *blob;
	size_t		bytes;
	int32_t		tokens;			/* number of ids, added tokens included: ids are 0 .. tokens - 1 */
	int32_t		cls, sep, pad, unk, mask;	/* -1: none */
	int64_t		model_max_length;	/* from tokenizer_config.json or truncation rule; 0: not said */
} PlmTokenizer;

/* Validates every offset of the blob before use, so that a damaged one is an error and not a crash. */
PlmStatus	plm_tokenizer_open(const void *blob, size_t bytes, PlmTokenizer *tokenizer, PlmError *err);

/* What the model sees, special tokens included.  Arrays belong to the arena given to plm_encode. */
typedef struct PlmEncoding
{
	int64_t		n;
	int32_t    *ids;
	int32_t    *types;			/* token type ids: 0 for the first text, 1 for the second */
	int64_t    *start;			/* byte offsets into the text that the token came from; -1 for special tokens added */
	int64_t    *end;			/* exclusive */
	bool		truncated;
} PlmEncoding;

/*
 * Encode one text, or a pair when `pair` is not NULL.  max_tokens: truncate to this many, special tokens
 * included, as the reference does (pairs: longest first); 0: do not truncate.  Work and memory stay
 * proportional to what is kept, however long the text, except where the rule itself must count.
 * worker: asked every few thousand characters whether to stop; NULL: never.  PLM_EARG when max_tokens is less
 * than the special tokens, PLM_ELIMIT for more than 2^20 combining marks in a row (their order needs them all).
 */
PlmStatus	plm_encode(const PlmTokenizer *tokenizer, PlmText text, const PlmText *pair, int64_t max_tokens,
					   PlmWorker *worker, PlmArena *arena, PlmEncoding *out, PlmError *err);

/* Tokens that plm_encode without truncation would return, in constant memory. */
PlmStatus	plm_count_tokens(const PlmTokenizer *tokenizer, PlmText text, PlmWorker *worker,
							 PlmArena *arena, int64_t *count, PlmError *err);

/* The token's text as the vocabulary has it ("##ing"); data NULL when the id is unknown. */
PlmText		plm_token_text(const PlmTokenizer *tokenizer, int32_t id);
/* The id of a token's exact text, or -1. */
int32_t		plm_token_id(const PlmTokenizer *tokenizer, PlmText token);
bool		plm_token_is_special(const PlmTokenizer *tokenizer, int32_t id);

/* Text from ids as the reference decoder writes it (special tokens skipped on request). */
PlmStatus	plm_decode(const PlmTokenizer *tokenizer, const int32_t *ids, int64_t n, bool skip_special,
					   PlmArena *arena, PlmText *out, PlmError *err);

/* Byte offset of the first byte that is not UTF-8 (as PostgreSQL defines it: no surrogates, at most U+10FFFF), or -1. */
int64_t		plm_utf8_invalid(PlmText text);

/* ---- words for an index, whatever the language: words.c ---- */

/*
 * The terms of a text, divided by spaces, each of letters, digits and combining marks alone: folded (NFKC and case),
 * numbers in one form, words with a part number's spellings side by side, bigrams where a script writes no spaces.
 * query: the terms to look up, none of them more than needed; else those to index.  What each query term needs is
 * written at the head of words.c.  Output lives in the arena.  PLM_EARG for text that is not UTF-8.
 */
PlmStatus	plm_segment(PlmText text, bool query, PlmWorker *worker, PlmArena *arena, PlmText *out, PlmError *err);

/*
 * Insertions, deletions, substitutions and exchanges of neighbours that make b of a, no character touched twice
 * (optimal string alignment), counted in characters; most + 1 when there are more than `most` (>= 0).
 * Work: the longer length times most.
 */
PlmStatus	plm_term_distance(PlmText a, PlmText b, int64_t most, PlmWorker *worker, PlmArena *arena,
							  int64_t *distance, PlmError *err);

/* The different trigrams of "^^term$" by characters, in the order of their bytes; array and texts live in the arena. */
PlmStatus	plm_term_grams(PlmText term, PlmWorker *worker, PlmArena *arena, PlmText **grams, int64_t *n, PlmError *err);

/* ---- learning a WordPiece vocabulary from texts: learn.c ---- */

#define PLM_LEARN_LEAST 6		/* pieces: the special tokens and one more */
#define PLM_LEARN_MOST 1000000

typedef struct PlmLearnOptions
{
	int32_t		vocabulary;		/* pieces wanted, special tokens included */
	bool		lowercase;
	bool		strip_accents;
	int64_t		min_frequency;	/* a pair of pieces is merged when it occurs at least so often */
	int32_t		alphabet;		/* at most so many characters, the most frequent; 0: one third of the vocabulary, at least 1,000 */

	/*
	 * Runs of Chinese characters stay together as words, so that pieces longer than one character are learnt; the tokenizer
	 * then says tokenize_chinese_chars false.  As BERT has it, a word of more than 100 characters is one unknown token.
	 */
	bool		cjk_pieces;
} PlmLearnOptions;

/* lowercase and strip_accents true, min_frequency 2, cjk_pieces false. */
void		plm_learn_defaults(PlmLearnOptions *options);

/* Texts in, vocabulary out; allocates over the hook, whose stop is polled, at most memory_limit bytes (0: no limit). */
typedef struct PlmLearner PlmLearner;

/* PLM_EARG for options out of range.  A failure leaves nothing to free. */
PlmStatus	plm_learner_open(const PlmLearnOptions *options, const PlmHook *hook, size_t memory_limit, PlmLearner **out,
							 PlmError *err);

/* Count the words of one text, cut exactly as the tokenizer will cut it. */
PlmStatus	plm_learner_add(PlmLearner *learner, PlmText text, PlmError *err);

typedef struct PlmLearnt
{
	int64_t		texts;
	int64_t		words;			/* in the texts */
	int64_t		different_words;
	int64_t		characters;		/* different ones */
	int64_t		pieces;			/* lines of vocab.txt */
	int64_t		alphabet;		/* pieces of one character among them */
	PlmText		vocab_txt;
	PlmText		tokenizer_config_json;
} PlmLearnt;

/*
 * The most frequent pair of neighbouring pieces becomes a piece, again and again (Sennrich et al. 2016), among equals the
 * pair whose pieces came first.  The vocabulary depends on the words and their counts alone, not on the order of the texts.
 * [PAD] [UNK] [CLS] [SEP] [MASK] come first, then characters by frequency, then the merged pieces in their order.  A
 * character that is in the alphabet is there in both its forms, as the beginning of a word and behind "##", when it can be.
 * Texts of *out live in the arena.  To be called once.
 */
PlmStatus	plm_learner_finish(PlmLearner *learner, PlmArena *arena, PlmLearnt *out, PlmError *err);
void		plm_learner_close(PlmLearner *learner);

#endif							/* PLM_TEXT_H */
