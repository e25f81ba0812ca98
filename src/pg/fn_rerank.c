/*
 * fn_rerank.c -- rerank(): a list of documents by their score for a query, best first.
 */
#include "fn.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/tuplestore.h"

typedef struct Ranked
{
	int32		ordinal;		/* place in the array, from 1 */
	bool		null;			/* a NULL document: no score, comes last */
	float		score;
} Ranked;

/* Best first; equal scores and NULLs in the order of the array, so that the result is one and the same each time. */
static int
by_score(const void *a, const void *b)
{
	const Ranked *x = a;
	const Ranked *y = b;

	if (x->null != y->null)
		return x->null ? 1 : -1;
	if (!x->null && x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return x->ordinal < y->ordinal ? -1 : 1;
}

/* Scores of one slice by the ranking head; the slice's inputs become pairs. */
static void
rank_slice(const PlmpgModel *model, PlmText query, PlmpgSlice *slice, float *scores)
{
	for (int i = 0; i < slice->n; i++)
	{
		PlmInput   *input = &slice->inputs[i];

		if (input->first.data != NULL)
		{
			input->second = input->first;
			input->first = query;
		}
	}
	plmpg_rank(model, slice->n, slice->inputs, scores);
}

/* Scores of one slice by cosine with the query's vector. */
static void
compare_slice(const PlmpgModel *model, const float *query, PlmpgSlice *slice, float *scores)
{
	int64		n = model->config->dimensions;
	float	   *vectors = palloc_extended((Size) slice->n * n * sizeof(float), MCXT_ALLOC_HUGE);

	plmpg_embed(model, slice->n, slice->inputs, PLM_KIND_DOCUMENT, vectors);
	for (int i = 0; i < slice->n; i++)
		if (slice->inputs[i].first.data != NULL)
			scores[i] = plmpg_cosine(query, vectors + i * n, n, "embedding");
}

/* rerank(model, query, documents[]) -> table(ordinal, score) */
PG_FUNCTION_INFO_V1(product_llm_rerank);
Datum
product_llm_rerank(PG_FUNCTION_ARGS)
{
	PlmpgMemo  *memo = plmpg_memo(fcinfo);
	text	   *query = PG_GETARG_TEXT_PP(1);
	PlmpgTexts	texts = plmpg_texts(PG_GETARG_ARRAYTYPE_P(2));
	const PlmpgModel *model = plmpg_memo_model(memo, PG_GETARG_TEXT_PP(0));
	bool		head = plmpg_ranks(model);
	const float *vector = head ? NULL : plmpg_memo_query(memo, query);
	TupleDesc	desc;
	Tuplestorestate *rows = plmpg_result_set(fcinfo, &desc);
	Ranked	   *ranked = palloc_extended(Max(texts.n, 1) * sizeof(Ranked), MCXT_ALLOC_HUGE);
	PlmpgSlice	slice;

	plmpg_slice_begin(&slice, &texts);
	while (plmpg_slice_next(&slice))
	{
		MemoryContext old = MemoryContextSwitchTo(slice.context);
		float	   *scores = palloc0(slice.n * sizeof(float));

		for (int i = 0; i < slice.n; i++)
		{
			ranked[slice.first + i].ordinal = slice.first + i + 1;
			ranked[slice.first + i].null = slice.inputs[i].first.data == NULL;
		}
		if (head)
			rank_slice(model, plmpg_utf8(query), &slice, scores);
		else
			compare_slice(model, vector, &slice, scores);
		for (int i = 0; i < slice.n; i++)
			ranked[slice.first + i].score = scores[i];
		MemoryContextSwitchTo(old);
	}
	plmpg_slice_end(&slice);

	qsort(ranked, texts.n, sizeof(Ranked), by_score);
	for (int i = 0; i < texts.n; i++)
	{
		Datum		values[2] = {Int32GetDatum(ranked[i].ordinal), Float4GetDatum(ranked[i].score)};
		bool		nulls[2] = {false, ranked[i].null};

		tuplestore_putvalues(rows, desc, values, nulls);
	}
	return (Datum) 0;
}
