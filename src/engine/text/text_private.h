/*
 * text_private.h -- the compiled tokenizer's layout and the stages of encoding, shared by the files of text/.
 *
 * Flow of one text, character by character, nothing buffered that a rule does not need:
 *
 *     source (encode.c)       cuts at added tokens that match the raw text, decodes UTF-8
 *     normaliser (normalize.c) a list of small operations
 *     matcher (added.c)       cuts at added tokens that match the normalised text
 *     splitter (split.c)      pre-tokenisation: where words begin and end
 *     model (wordpiece.c)     a word becomes tokens
 *     sink (encode.c)         keeps or counts them, says when there are enough
 *
 * Every character carries the span of the original text that it came from.
 */
#ifndef PLM_TEXT_PRIVATE_H
#define PLM_TEXT_PRIVATE_H

#include "plm_text.h"

/* ---- the blob: built by build.c, checked by blob.c ---- */

#define PLM_BLOB_MAGIC UINT64_C(0x314b4f544d4c50)	/* "PLMTOK1" */
#define PLM_BLOB_VERSION 1

#define PLM_MAX_NORM 24
#define PLM_MAX_SPLIT 8
#define PLM_MAX_PIECES 32
#define PLM_MAX_TOKENS (1 << 22)
#define PLM_MAX_TOKEN_BYTES 65535
/* Bounds on what one character of text may cost under a hostile tokenizer; real ones use a tenth. */
#define PLM_MAX_WORD_CHARS 1024
#define PLM_MAX_ADDED_BYTES 512
#define PLM_MAX_PATTERN 64		/* bytes of a Replace pattern, and of what it puts there */
#define PLM_MAX_GROWTH 4096		/* product of the lengths that Replace operations put there */
#define PLM_MAX_HELD (1 << 20)	/* characters that one rule may hold back */

/* BertNormalizer is written as CLEAN, CJK, NFD, DROP_MN, LOWER. */
typedef enum PlmNormKind
{
	PLM_NORM_CLEAN = 0, PLM_NORM_CJK, PLM_NORM_DROP_MN, PLM_NORM_DROP_MARKS, PLM_NORM_LOWER,
	PLM_NORM_NFC, PLM_NORM_NFD, PLM_NORM_NFKC, PLM_NORM_NFKD,
	PLM_NORM_STRIP, PLM_NORM_REPLACE, PLM_NORM_PREPEND, PLM_NORM_KINDS
} PlmNormKind;

typedef struct PlmSpan
{
	uint32_t	offset;			/* into the string pool */
	uint32_t	len;
} PlmSpan;

typedef struct PlmNormOp
{
	uint32_t	kind;			/* PlmNormKind */
	uint32_t	left, right;	/* STRIP */
	PlmSpan		from;			/* REPLACE */
	PlmSpan		to;				/* REPLACE, PREPEND */
} PlmNormOp;

typedef enum PlmSplitKind
{
	PLM_SPLIT_SPACE = 0, PLM_SPLIT_WORD, PLM_SPLIT_PUNCTUATION, PLM_SPLIT_DIGITS, PLM_SPLIT_KINDS
} PlmSplitKind;

/* What becomes of the characters that a splitter looks for. */
typedef enum PlmBehavior
{
	PLM_REMOVED = 0, PLM_ISOLATED, PLM_CONTIGUOUS, PLM_MERGED_WITH_PREVIOUS, PLM_MERGED_WITH_NEXT, PLM_BEHAVIORS
} PlmBehavior;

typedef struct PlmSplitOp
{
	uint32_t	kind;			/* PlmSplitKind */
	uint32_t	behavior;		/* PlmBehavior */
} PlmSplitOp;

typedef enum PlmPieceKind
{
	PLM_PIECE_TOKEN = 0, PLM_PIECE_FIRST, PLM_PIECE_SECOND, PLM_PIECE_KINDS
} PlmPieceKind;

typedef struct PlmPiece
{
	uint32_t	kind;			/* PlmPieceKind */
	int32_t		id;				/* TOKEN */
	int32_t		type;
} PlmPiece;

typedef struct PlmTemplate
{
	uint32_t	n;
	PlmPiece	pieces[PLM_MAX_PIECES];
} PlmTemplate;

#define PLM_ADDED_SINGLE_WORD 1u
#define PLM_ADDED_LSTRIP 2u
#define PLM_ADDED_RSTRIP 4u
#define PLM_ADDED_NORMALIZED 8u
#define PLM_ADDED_SPECIAL 16u

/* An added token; a set of them is sorted by the bytes of its text, so that prefixes are ranges. */
typedef struct PlmAdded
{
	PlmSpan		text;			/* as it is looked for: normalised when the flag says so */
	int32_t		id;
	uint32_t	flags;
} PlmAdded;

typedef struct PlmAddedSet
{
	uint32_t	offset;			/* of PlmAdded[n] in the blob */
	uint32_t	n;
	uint32_t	max_len;		/* bytes of the longest */
	uint32_t	flags;			/* of all, or-ed */
	uint32_t	first[8];		/* bitmap of first bytes */
} PlmAddedSet;

typedef struct PlmSlot
{
	uint32_t	hash;
	int32_t		id;				/* -1: free */
} PlmSlot;

typedef struct PlmBlob
{
	uint64_t	magic;
	uint32_t	version;
	uint32_t	bytes;			/* of the whole blob */
	/* vocabulary */
	int32_t		tokens;			/* ids 0 .. tokens - 1 */
	int32_t		model_tokens;	/* those below this are the model's, the rest only added */
	uint32_t	text_offset;	/* uint32_t[tokens + 1]: where each token's text begins in the pool */
	uint32_t	slot_offset;	/* PlmSlot[slots], linear probing */
	uint32_t	slots;			/* a power of two */
	uint32_t	max_probe;
	uint32_t	special_offset;	/* bitmap of (tokens + 31) / 32 words */
	uint32_t	pool_offset;
	uint32_t	pool_bytes;
	uint32_t	max_token_bytes;
	/* rules */
	uint32_t	n_norm;
	PlmNormOp	norm[PLM_MAX_NORM];
	uint32_t	n_split;
	PlmSplitOp	split[PLM_MAX_SPLIT];
	PlmAddedSet raw;
	PlmAddedSet normalized;
	int32_t		unk;			/* of the model */
	uint32_t	max_word_chars;
	PlmSpan		prefix;			/* of continuing pieces */
	PlmTemplate single;
	PlmTemplate pair;
	uint32_t	truncate_left;
	uint32_t	truncate_strategy;	/* PlmStrategy */
	uint32_t	decoder;		/* 0: join with spaces, 1: WordPiece */
	uint32_t	decoder_cleanup;
	PlmSpan		decoder_prefix;
	/* roles; -1: none */
	int32_t		cls, sep, pad, unk_role, mask;
	int32_t		reserved;
	int64_t		model_max_length;
} PlmBlob;

typedef enum PlmStrategy
{
	PLM_LONGEST_FIRST = 0, PLM_ONLY_FIRST, PLM_ONLY_SECOND, PLM_STRATEGIES
} PlmStrategy;

static inline const PlmBlob *
plm_blob(const PlmTokenizer *tokenizer)
{
	return (const PlmBlob *) tokenizer->blob;
}

static inline const char *
plm_blob_string(const PlmBlob *b, PlmSpan span)
{
	return (const char *) b + b->pool_offset + span.offset;
}

/* FNV-1a, extended byte by byte so that all prefixes of a word cost one pass; plm_hash_end spreads it. */
#define PLM_HASH_START UINT64_C(0xcbf29ce484222325)

static inline uint64_t
plm_hash_byte(uint64_t h, unsigned char c)
{
	return (h ^ c) * UINT64_C(0x100000001b3);
}

static inline uint64_t
plm_hash_bytes(uint64_t h, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		h = plm_hash_byte(h, (unsigned char) s[i]);
	return h;
}

static inline uint32_t
plm_hash_end(uint64_t h)
{
	h = (h ^ (h >> 32)) * UINT64_C(0x9e3779b97f4a7c15);
	return (uint32_t) (h >> 32);
}

/* Does it hold each text exactly once?  What is kept of the texts could otherwise pass max_tokens, or miss it. */
bool		plm_template_sound(const PlmTemplate *t, bool pair);

/* The id whose text is a followed by b (hash: of both), or -1. */
int32_t		plm_blob_find(const PlmBlob *b, uint32_t hash, PlmText first, PlmText second);

/* ---- characters: unicode.c ---- */

/* Length of the character at p (left > 0 bytes there), or 0 when it is not UTF-8. */
int			plm_utf8_decode(const char *p, size_t left, uint32_t *cp);
int			plm_utf8_encode(uint32_t cp, char *out);	/* out: 4 bytes */
/* Where the character that ends before p begins; text before p is valid. */
const char *plm_utf8_before(const char *start, const char *p, uint32_t *cp);

bool		plm_is_space(uint32_t cp);
bool		plm_is_dropped(uint32_t cp);	/* removed by BERT's cleaning */
bool		plm_is_cjk(uint32_t cp);
bool		plm_is_mn(uint32_t cp);
bool		plm_is_mark(uint32_t cp);
bool		plm_is_punctuation(uint32_t cp);
bool		plm_is_word(uint32_t cp);	/* \w */
bool		plm_is_numeric(uint32_t cp);
int			plm_combining_class(uint32_t cp);
#define PLM_MAX_DECOMPOSITION 32
int			plm_decompose(uint32_t cp, bool compat, int32_t out[PLM_MAX_DECOMPOSITION]);
uint32_t	plm_compose(uint32_t a, uint32_t b);	/* 0: the two do not compose */
int			plm_lower(uint32_t cp, uint32_t out[2]);	/* number of characters */

/* ---- one run over a text ---- */

/* A span of the original text, in bytes. */
typedef struct PlmAlign
{
	int64_t		start;
	int64_t		end;
} PlmAlign;

typedef struct PlmChar
{
	uint32_t	cp;
	int32_t		change;			/* in normal forms: see normalize.c */
	PlmAlign	at;
} PlmChar;

/* A growable array of characters with a head, from the arena. */
typedef struct PlmChars
{
	PlmChar    *data;
	int64_t		head;
	int64_t		n;				/* end of what is in use */
	int64_t		cap;
} PlmChars;

/* State of one normaliser operation. */
typedef struct PlmNormState
{
	PlmChars	held;			/* marks waiting for their order; spaces waiting for what follows; a pattern's beginning */
	PlmChars	spans;			/* NF*: spans of the characters read and not yet written */
	PlmChars	blocked;		/* NFC, NFKC: marks that did not compose */
	PlmChar		composee;
	bool		has_composee;
	int			last_class;		/* NFC: of the newest blocked mark; -1: none */
	PlmAlign	last;			/* NF*: span of the newest character written */
	bool		started;		/* STRIP: something else than space was seen; PREPEND: done */
} PlmNormState;

typedef struct PlmSplitState
{
	int			previous;		/* class of the character before; -1: none */
	bool		cut;			/* the next character begins a word */
} PlmSplitState;

/* Where tokens go. */
typedef struct PlmSink
{
	int64_t		n;				/* tokens seen */
	int64_t		kept;			/* tokens in the arrays */
	int64_t		limit;			/* keep this many; -1: all; 0 with count_only */
	int64_t		stop_after;		/* enough when n exceeds this; -1: never */
	bool		left;			/* keep the last ones: the arrays are a ring, n % limit the oldest */
	int64_t		cap;
	int32_t    *ids;
	int64_t    *start;
	int64_t    *end;
} PlmSink;

#define PLM_INLINE_WORD 128		/* characters of a word without an allocation */

typedef struct PlmRunState
{
	const PlmBlob *b;
	PlmArena   *arena;
	PlmWorker  *worker;
	PlmError   *err;
	PlmStatus	status;
	bool		done;			/* enough, or failed: write nothing more */
	uint32_t	ticks;
	PlmSink    *sink;
	PlmChars   *collect;		/* when set, normalised characters go here and no further */
	bool		ascii;			/* a character below 128 passes the normaliser by itself ... */
	bool		ascii_clean, ascii_lower;	/* ... changed by these rules */
	bool		cjk;			/* ideographs get spaces around them */
	int			nf;				/* the one operation then that may hold marks; -1: none */
	PlmNormState norm[PLM_MAX_NORM];
	PlmSplitState split[PLM_MAX_SPLIT];
	/* matcher */
	PlmChars	window;
	char	   *window_bytes;	/* as UTF-8, room for the longest token and one character more */
	int64_t		window_at;		/* next character to try */
	int64_t		window_skip;	/* characters not to try: inside a match that was no word */
	uint32_t	window_before;	/* the character before window_at, 0: none */
	bool		swallow;		/* the token below strips the spaces that follow */
	int32_t		swallow_id;
	PlmAlign	swallow_span;
	/* when set, words go here in place of the model; they are as in plm_word_end() */
	void		(*take_word) (struct PlmRunState *r);
	void	   *take_arg;
	/* the word being read */
	uint32_t	word_cap;
	uint32_t	word_n;			/* characters; word_cap + 1: longer than the model takes */
	uint32_t	word_bytes;
	PlmAlign	word_span;
	char	   *word;
	uint32_t   *word_at;		/* byte offset of each character; one more at the end */
	PlmAlign   *word_spans;
	uint32_t   *word_hash;		/* scratch of plm_word_end: by character */
	int32_t    *piece_id;
	uint32_t   *piece_end;		/* character behind the piece */
	char		inline_word[PLM_INLINE_WORD * 4];
	uint32_t	inline_at[PLM_INLINE_WORD + 1];
	PlmAlign	inline_spans[PLM_INLINE_WORD];
	uint32_t	inline_hash[PLM_INLINE_WORD];
	int32_t		inline_id[PLM_INLINE_WORD];
	uint32_t	inline_end[PLM_INLINE_WORD];
} PlmRunState;

/* encode.c */
PlmStatus	plm_run_init(PlmRunState *r, const PlmBlob *b, PlmSink *sink, PlmWorker *worker, PlmArena *arena, PlmError *err);
void		plm_run_text(PlmRunState *r, PlmText text);
void		plm_run_token(PlmRunState *r, int32_t id, PlmAlign at);
void		plm_run_fail(PlmRunState *r, PlmStatus status);	/* the error is already in r->err */
bool		plm_run_poll(PlmRunState *r);	/* ask the host whether to go on; returns done */

/* Called for every character somewhere on its way. */
static inline bool
plm_run_tick(PlmRunState *r)
{
	return (++r->ticks & 4095) == 0 && plm_run_poll(r);
}

/* Add to the end; fails the run and returns false when refused. */
bool		plm_chars_push(PlmRunState *r, PlmChars *chars, PlmChar c);

/* normalize.c */
void		plm_norm_begin(PlmRunState *r);
void		plm_norm_put(PlmRunState *r, uint32_t k, uint32_t cp, PlmAlign at);
void		plm_norm_end(PlmRunState *r);

/* added.c */
/* Longest member of the set that the bytes begin with: its index, or -1. */
int64_t		plm_added_match(const PlmBlob *b, const PlmAddedSet *set, const char *p, size_t left, size_t *len);
void		plm_match_begin(PlmRunState *r);
void		plm_match_put(PlmRunState *r, uint32_t cp, PlmAlign at);
void		plm_match_end(PlmRunState *r);

/* split.c */
void		plm_split_begin(PlmRunState *r);
void		plm_split_put(PlmRunState *r, uint32_t cp, PlmAlign at);
void		plm_split_end(PlmRunState *r);

/* wordpiece.c */
void		plm_word_put(PlmRunState *r, uint32_t cp, PlmAlign at);
void		plm_word_end(PlmRunState *r);

/* ---- compiling: compile*.c read the files, build.c collects, write.c lays out the blob ---- */

typedef struct PlmBuildToken
{
	const char *text;
	size_t		len;
} PlmBuildToken;

typedef struct PlmBuildAdded
{
	PlmText		text;
	int32_t		id;
	uint32_t	flags;
} PlmBuildAdded;

typedef struct PlmBuild
{
	PlmArena   *arena;
	PlmError   *err;
	PlmBlob		rules;			/* spans refer to pool */
	char	   *pool;			/* rule strings */
	uint32_t	pool_n, pool_cap;
	PlmBuildToken *model;		/* the model's vocabulary by id */
	int32_t		n_model;
	PlmBuildAdded *added;
	int32_t		n_added, cap_added;
	int32_t    *added_at;		/* by id: index into added, plus 1; 0: not an added token */
	int32_t		tokens;
	PlmSlot    *slots;
	int64_t		growth;			/* of a text in the Replace operations so far */
	PlmText		role[5];		/* names: cls, sep, pad, unk, mask; data NULL: not said */
} PlmBuild;

enum
{
	PLM_ROLE_CLS = 0, PLM_ROLE_SEP, PLM_ROLE_PAD, PLM_ROLE_UNK, PLM_ROLE_MASK, PLM_ROLES
};

PlmStatus	plm_build_string(PlmBuild *build, const char *s, size_t len, PlmSpan *span);
/* Give the model's vocabulary; refuses texts given twice (line: base of the numbers in messages). */
PlmStatus	plm_build_vocabulary(PlmBuild *build, PlmBuildToken *tokens, int32_t n, const char *file);
int32_t		plm_build_find(const PlmBuild *build, PlmText text);	/* in model and added tokens; -1 */
/* As the reference numbers it: the id of an equal token, else the next free one; id >= 0 must agree. */
PlmStatus	plm_build_add(PlmBuild *build, PlmText text, uint32_t flags, int64_t id, const char *file);
PlmStatus	plm_build_norm(PlmBuild *build, PlmNormKind kind, PlmNormOp **op);
PlmStatus	plm_build_split(PlmBuild *build, PlmSplitKind kind, PlmBehavior behavior);
PlmStatus	plm_build_bert_norm(PlmBuild *build, bool clean, bool cjk, bool strip, bool lower);
PlmStatus	plm_build_bert_split(PlmBuild *build);
PlmStatus	plm_build_bert_templates(PlmBuild *build, int32_t cls, int32_t sep);
PlmStatus	plm_build_finish(PlmBuild *build, void **blob, size_t *bytes);

struct json_t;
/* A token is written as a string, or as an object with its content; data NULL: neither. */
PlmText		plm_json_token(const struct json_t *value);
PlmStatus	plm_compile_json(PlmBuild *build, const struct json_t *root);
/* config, special_map, added: may be NULL. */
PlmStatus	plm_compile_vocab(PlmBuild *build, PlmText vocab, const struct json_t *config,
							  const struct json_t *special_map, const struct json_t *added);

#endif							/* PLM_TEXT_PRIVATE_H */
