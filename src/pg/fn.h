/*
 * fn.h -- what the SQL functions over text share: lists of texts, embedding calls, what a call site remembers.
 */
#ifndef PLMPG_FN_H
#define PLMPG_FN_H

#include "plmpg.h"

/* 'query' or 'document'; anything else is an error. */
PlmKind		plmpg_kind(text *kind);

/* ---- lists ---- */

/* The elements of a text[], in the order and with the numbers that unnest() WITH ORDINALITY gives them. */
typedef struct PlmpgTexts
{
	int			n;
	Datum	   *values;
	bool	   *nulls;
} PlmpgTexts;

PlmpgTexts	plmpg_texts(ArrayType *array);

/*
 * Walks a list in slices of bounded size, so that the memory of a call does not grow with the list.  The
 * slice's inputs live in its context, which the next step resets; a NULL element has first.data NULL.
 * Results do not depend on where the cuts are.
 */
typedef struct PlmpgSlice
{
	const PlmpgTexts *texts;
	MemoryContext context;
	int			first;			/* position of the slice in the list, from 0 */
	int			n;
	PlmInput   *inputs;
} PlmpgSlice;

void		plmpg_slice_begin(PlmpgSlice *slice, const PlmpgTexts *texts);
bool		plmpg_slice_next(PlmpgSlice *slice);
void		plmpg_slice_end(PlmpgSlice *slice);

/* ---- numbers ---- */

/* plm_embed() with this backend's settings; works in the current context.  out: (n, dimensions). */
void		plmpg_embed(const PlmpgModel *model, int64 n, const PlmInput *inputs, PlmKind kind, float *out);

/* plm_logits() likewise.  out: (n, labels). */
void		plmpg_logits(const PlmpgModel *model, int64 n, const PlmInput *inputs, float *out);

/* Is the model's head a cross-encoder's: one number for a pair of texts? */
bool		plmpg_ranks(const PlmpgModel *model);

/* Its scores of n pairs, activated as the model prescribes.  out: (n). */
void		plmpg_rank(const PlmpgModel *model, int64 n, const PlmInput *pairs, float *out);

/*
 * Cosine of two vectors of length n; neither need be of unit length.  A zero vector has no direction and
 * a component that is not finite has no meaning: both are errors, which `who` ("embedding") begins.
 */
float		plmpg_cosine(const float *a, const float *b, int64 n, const char *who);

/* ---- call sites ---- */

/*
 * What one call site (fn_extra) keeps from row to row: the model that a name stands for, and unit vectors
 * computed by it from texts that are usually the same for every row -- a query, a set of labels.
 */
typedef struct PlmpgMemo
{
	MemoryContext context;		/* of name, reset when the model changes */
	text	   *name;			/* NULL: nothing known yet */
	uint64		generation;
	Oid			user;			/* who asked */
	const PlmpgModel *model;
	MemoryContext values_context;	/* of key and values, reset when the key changes */
	char	   *key;			/* NULL: no values */
	size_t		key_bytes;
	float	   *values;			/* (n, dimensions) */
} PlmpgMemo;

PlmpgMemo  *plmpg_memo(FunctionCallInfo fcinfo);

/* The tokenizer of the model of that name, which may be a tokenizer alone: as plmpg_memo_model(). */
const PlmpgModel *plmpg_memo_tokenizer(PlmpgMemo *memo, text *name);

/* ERROR when the model is a tokenizer alone. */
void		plmpg_require_weights(const PlmpgModel *model);

/*
 * The model of that name, looked up only when the name or any model has changed; then the values are dropped.  ERROR when it
 * has no weights.
 */
const PlmpgModel *plmpg_memo_model(PlmpgMemo *memo, text *name);

/* The values made from these bytes, or NULL when the memo holds others. */
const float *plmpg_memo_find(const PlmpgMemo *memo, const void *key, size_t bytes);

/* Embed n inputs with the memo's model and keep the vectors under this key. */
const float *plmpg_memo_embed(PlmpgMemo *memo, const void *key, size_t bytes, int64 n, const PlmInput *inputs,
							  PlmKind kind);

/* Both of the above for one query. */
const float *plmpg_memo_query(PlmpgMemo *memo, text *query);

#endif							/* PLMPG_FN_H */
