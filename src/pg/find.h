/*
 * find.h -- candidates among a catalog's products: who may be shown, the nearest vectors, the best words.
 *
 * Side tables are read as the catalog's owner, for speed and because callers have no rights on them; what the caller may
 * see is asked of the source, as the caller.  Two ways lead to the same rows in the same order:
 *
 *   candidates first   more candidates than needed are found among all rows, then the source is asked which of them the
 *                      caller sees and the filter lets through;
 *   rows first         the source is asked for all rows that the caller sees, and candidates are found among them.  When
 *                      too few candidates survive, and always when row-level security hides rows from the caller: then
 *                      not even a document frequency may come from a hidden row.
 */
#ifndef PLMPG_FIND_H
#define PLMPG_FIND_H

#include "flat.h"
#include "shop.h"

#include "executor/tuptable.h"
#include "lib/stringinfo.h"

/* One product under consideration. */
typedef struct PlmpgFound
{
	const char *key;
	double		score;
	double		semantic;		/* cosine; NaN: not known */
	double		lexical;		/* 0: no word of the query */
	int			semantic_rank;	/* from 1; 0: none */
	int			lexical_rank;
} PlmpgFound;

/* A growing list, in the context it was made in. */
typedef struct PlmpgFounds
{
	MemoryContext context;
	PlmpgFound *rows;
	int64		n;
	int64		room;
} PlmpgFounds;

PlmpgFounds *plmpg_founds(void);
PlmpgFound *plmpg_founds_add(PlmpgFounds *list, const char *key);
/* For qsort() of PlmpgFound: by score, best first, then by key. */
int			plmpg_by_score(const void *a, const void *b);

/* Keys with a number for each, by hash. */
typedef struct PlmpgKeys PlmpgKeys;

PlmpgKeys  *plmpg_keys(void);
/* The place of a key's number, or NULL when the key is not there; add: put it there, with 0.  Copies the key. */
int64	   *plmpg_keys_find(PlmpgKeys *keys, const char *key, bool add);
/* The same for a text datum, never adding. */
int64	   *plmpg_keys_find_text(PlmpgKeys *keys, Datum key);
int64		plmpg_keys_count(const PlmpgKeys *keys);
/* All keys as a text[], in no order. */
ArrayType  *plmpg_keys_array(PlmpgKeys *keys);

/* A text column's value as a C string that lives until the buffer is used again; NULL for null. */
const char *plmpg_slot_key(TupleTableSlot *slot, int column, StringInfo buffer);

/* text[] of n C strings. */
ArrayType  *plmpg_text_array(const char *const *strings, int64 n);

/* ---- who may be shown ---- */

/*
 * Rows that the caller sees.  The number of each key is 1 when the filter lets it through and 0 when it does not.
 */
PlmpgKeys  *plmpg_visible_rows(const PlmpgShop *shop, const char *filter);

/* Of these keys, those that the caller sees and the filter lets through; each with number 1. */
PlmpgKeys  *plmpg_visible_of(const PlmpgShop *shop, const char *filter, ArrayType *keys);

/* ---- nearest vectors ---- */

/*
 * The `most` products whose vectors have the largest cosine to this one, best first and by key among equals, with
 * semantic and semantic_rank set.  among: only keys with number 1; NULL: all.
 */
PlmpgFounds *plmpg_nearest(const PlmpgShop *shop, ArrayType *vector, int64 most, PlmpgKeys *among);

/* Cosine of each of these products to a vector, in any order; products without a vector are left out. */
PlmpgFounds *plmpg_cosines(const PlmpgShop *shop, ArrayType *vector, ArrayType *keys);

/* Several unit vectors, laid out for what is multiplied with them. */
typedef struct PlmpgAgainst
{
	int64		n;
	int64		dimensions;
	PlmPacked	packed;
	void	   *memory;			/* of packed */
} PlmpgAgainst;

/* Both in the current memory context. */
PlmpgAgainst *plmpg_against(int64 n, const float *vectors, int64 dimensions);

/*
 * cosines (rows, n) of rows (rows, dimensions) to the vectors.  A row's have the same bits alone and among others.  scratch: NULL, or
 * plm_linear_scratch() bytes, aligned to 64.
 */
void		plmpg_against_rows(const PlmpgAgainst *a, int64 rows, const float *row, float *cosines, void *scratch);

/*
 * For every product its cosine to each of `n` unit vectors, (n, dimensions) row-major; cosines: (n), valid during the call.
 * keys: only these products; NULL: all.
 */
typedef void (*PlmpgScored) (void *arg, const char *key, const float *cosines);
void		plmpg_scan(const PlmpgShop *shop, ArrayType *keys, int n, const float *vectors, int64 dimensions, PlmpgScored scored,
					   void *arg);

/*
 * The same by the exact index (flat.h), for those that are wanted first: products by falling bound, which is not below the largest
 * of weight_i * cosine_i, until take() returns false or all have come.  wanted: about how many will be taken.  False: there is
 * no such index, and nothing was given.
 */
#define PLMPG_BOUND_SLACK 1e-5	/* a bound is of exact cosines; those that are compared with it have been rounded */
typedef bool (*PlmpgBounded) (void *arg, const char *key, const float *cosines, double bound);
bool		plmpg_scan_nearest(const PlmpgShop *shop, int n, const float *vectors, int64 dimensions, const double *weights,
							   int64 wanted, PlmpgBounded take, void *arg);

/*
 * Rows of the table of embeddings in that order.  key, embedding: set to their columns before the first row comes.
 */
bool		plmpg_scan_indexed(const PlmpgShop *shop, int n, const float *vectors, int64 dimensions, const double *weights,
							   int64 wanted, int *key, int *embedding, PlmpgFlatTake take, void *arg);

/*
 * Tuples of a page lie one before the other, the first at its end: while one vector is worked on, fetch the bytes before
 * it, which are the next one's.  Only a hint: whatever is there is not read.
 */
static inline void
plmpg_prefetch_next(const void *vector, size_t bytes)
{
	for (size_t offset = 64; offset <= bytes + 64; offset += 64)
		__builtin_prefetch((const char *) vector - offset);
}

/* Vectors of some products. */
typedef struct PlmpgVectors
{
	MemoryContext context;
	PlmpgKeys  *keys;			/* number: row of `rows` */
	float	  **rows;			/* each (dimensions) */
	int64		n;
	int64		room;
	int64		dimensions;
} PlmpgVectors;

PlmpgVectors *plmpg_vectors(const PlmpgShop *shop, ArrayType *keys);
/* A product's vector, or NULL. */
const float *plmpg_vectors_of(const PlmpgVectors *vectors, const char *key);

/* ---- best words ---- */

/* A query, as its words are looked up. */
typedef struct PlmpgTerms
{
	int			n;				/* terms: places in the query */
	char	  **tokens;			/* (n) as segmented */
	List	  **lexemes;		/* (n) of C strings; several mean any of them; NIL: a stop word */
	bool		corrected;		/* some token was replaced by words that the catalog has */
	char	   *text;			/* the query, with what replaced it */
} PlmpgTerms;

/*
 * Terms of a query in the catalog's language.  A term that no row has is replaced by the nearest that some rows have, when
 * there is one within one slip for four letters and two for eight.  among: rows that count; NULL: all.
 */
PlmpgTerms *plmpg_terms(const PlmpgShop *shop, text *query, PlmpgKeys *among);

/*
 * All products that have some of the terms, best first and by key among equals, with lexical and lexical_rank set.  among:
 * rows that count for document frequencies, of which only those with number 1 are returned; NULL: all.
 */
PlmpgFounds *plmpg_best_words(const PlmpgShop *shop, const PlmpgTerms *terms, PlmpgKeys *among);

/* ---- search: fn_search.c ---- */

/*
 * search(): products for a query by meaning and words, best first, of at least `most` candidates; filter: checked condition
 * or NULL.
 */
PlmpgFounds *plmpg_search(PlmpgShop *shop, text *query, int64 most, char *filter);

#endif							/* PLMPG_FIND_H */
