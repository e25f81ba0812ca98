/*
 * fn_score.c -- score(): how well a query matches a stored embedding, or a document.
 *
 * Both forms are called once per row of a scan, usually with one query: what depends on the query alone
 * is computed on the first row and kept at the call site.
 */
#include "fn.h"

/*
 * score(model, query, embedding) -> real
 *
 * The inner loop of a search without an index: no copy of the row, nothing allocated unless the row is
 * toasted, and then freed.
 */
PG_FUNCTION_INFO_V1(product_llm_score_embedding);
Datum
product_llm_score_embedding(PG_FUNCTION_ARGS)
{
	PlmpgMemo  *memo = plmpg_memo(fcinfo);
	text	   *name = PG_GETARG_TEXT_PP(0);
	text	   *query = PG_GETARG_TEXT_PP(1);
	ArrayType  *embedding = PG_GETARG_ARRAYTYPE_P(2);
	const PlmpgModel *model = plmpg_memo_model(memo, name);
	const float *vector = plmpg_memo_query(memo, query);
	int64		dimensions = model->config->dimensions;
	int64		n;
	const float *row = plmpg_real_values(embedding, -1, "embedding", &n);
	float		cosine;

	if (n != dimensions)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("embedding has " INT64_FORMAT " dimensions, model \"%s\" has " INT64_FORMAT,
						n, model->name, dimensions),
				 errhint("Score a row with the model that embedded it.")));
	cosine = plmpg_cosine(vector, row, n, "embedding");
	PG_FREE_IF_COPY(name, 0);
	PG_FREE_IF_COPY(query, 1);
	PG_FREE_IF_COPY(embedding, 2);
	PG_RETURN_FLOAT4(cosine);
}

/* score(model, query, document) -> real: the ranking head's if the model has one, else the cosine of two embeddings */
PG_FUNCTION_INFO_V1(product_llm_score_document);
Datum
product_llm_score_document(PG_FUNCTION_ARGS)
{
	PlmpgMemo  *memo = plmpg_memo(fcinfo);
	text	   *query = PG_GETARG_TEXT_PP(1);
	PlmInput	document = {.first = plmpg_utf8(PG_GETARG_TEXT_PP(2))};
	const PlmpgModel *model = plmpg_memo_model(memo, PG_GETARG_TEXT_PP(0));
	float		score;

	if (plmpg_ranks(model))
	{
		PlmInput	pair = {.first = plmpg_utf8(query), .second = document.first};

		plmpg_rank(model, 1, &pair, &score);
	}
	else
	{
		int64		n = model->config->dimensions;
		const float *q = plmpg_memo_query(memo, query);
		float	   *d = palloc(n * sizeof(float));

		plmpg_embed(model, 1, &document, PLM_KIND_DOCUMENT, d);
		score = plmpg_cosine(q, d, n, "embedding");
		pfree(d);
	}
	PG_RETURN_FLOAT4(score);
}
