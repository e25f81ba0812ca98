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

#endif							/* PLM_TEXT_H */
