/*
 * fn_embed.c -- embed() in its four forms, and similarity() and cosine_distance().
 *
 * embed(model, ...) is IMMUTABLE, because a model's content never changes under its name while anything
 * built on it stands; embed(input) is STABLE, because its model is a setting.
 */
#include "fn.h"

#include "funcapi.h"
#include "utils/tuplestore.h"

static Datum
embed_one(const PlmpgModel *model, text *input, PlmKind kind)
{
	int64		n = model->config->dimensions;
	PlmInput	one = {.first = plmpg_utf8(input)};
	float	   *vector = palloc(n * sizeof(float));
	ArrayType  *result;

	plmpg_embed(model, 1, &one, kind, vector);
	result = plmpg_real_array(vector, n);
	pfree(vector);
	return PointerGetDatum(result);
}

/* embed(model, input, kind) -> real[] */
PG_FUNCTION_INFO_V1(product_llm_embed);
Datum
product_llm_embed(PG_FUNCTION_ARGS)
{
	PlmKind		kind = plmpg_kind(PG_GETARG_TEXT_PP(2));
	const PlmpgModel *model = plmpg_memo_model(plmpg_memo(fcinfo), PG_GETARG_TEXT_PP(0));

	return embed_one(model, PG_GETARG_TEXT_PP(1), kind);
}

/* embed(input) -> real[]: the default model's */
PG_FUNCTION_INFO_V1(product_llm_embed_default);
Datum
product_llm_embed_default(PG_FUNCTION_ARGS)
{
	const PlmpgModel *model = plmpg_memo_model(plmpg_memo(fcinfo), plmpg_default_model_name());

	return embed_one(model, PG_GETARG_TEXT_PP(0), PLM_KIND_DOCUMENT);
}

/* embed(model, inputs[], kind) -> setof real[]: slice by slice, each on all threads that a batch may use */
PG_FUNCTION_INFO_V1(product_llm_embed_array);
Datum
product_llm_embed_array(PG_FUNCTION_ARGS)
{
	PlmKind		kind = plmpg_kind(PG_GETARG_TEXT_PP(2));
	const PlmpgModel *model = plmpg_memo_model(plmpg_memo(fcinfo), PG_GETARG_TEXT_PP(0));
	PlmpgTexts	texts = plmpg_texts(PG_GETARG_ARRAYTYPE_P(1));
	int64		dimensions = model->config->dimensions;
	TupleDesc	desc;
	Tuplestorestate *rows = plmpg_result_set(fcinfo, &desc);
	PlmpgSlice	slice;

	plmpg_slice_begin(&slice, &texts);
	while (plmpg_slice_next(&slice))
	{
		MemoryContext old = MemoryContextSwitchTo(slice.context);
		float	   *vectors = palloc_extended((Size) slice.n * dimensions * sizeof(float), MCXT_ALLOC_HUGE);

		plmpg_embed(model, slice.n, slice.inputs, kind, vectors);
		for (int i = 0; i < slice.n; i++)
		{
			bool		null = slice.inputs[i].first.data == NULL;
			Datum		value = 0;

			if (!null)
				value = PointerGetDatum(plmpg_real_array(vectors + i * dimensions, dimensions));
			tuplestore_putvalues(rows, desc, &value, &null);
			if (!null)
				pfree(DatumGetPointer(value));
		}
		MemoryContextSwitchTo(old);
	}
	plmpg_slice_end(&slice);
	return (Datum) 0;
}

static float
cosine_of(FunctionCallInfo fcinfo)
{
	ArrayType  *a = PG_GETARG_ARRAYTYPE_P(0);
	ArrayType  *b = PG_GETARG_ARRAYTYPE_P(1);
	int64		na,
				nb;
	const float *va = plmpg_real_values(a, -1, "a", &na);
	const float *vb = plmpg_real_values(b, -1, "b", &nb);
	float		cosine;

	if (na != nb)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("vectors have different dimensions, " INT64_FORMAT " and " INT64_FORMAT, na, nb)));
	cosine = plmpg_cosine(va, vb, na, "vector");
	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return cosine;
}

/* similarity(a, b) -> real: cosine */
PG_FUNCTION_INFO_V1(product_llm_similarity);
Datum
product_llm_similarity(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT4(cosine_of(fcinfo));
}

/* cosine_distance(a, b) -> double precision: operator <=>, the bits of 1 - similarity(a, b) */
PG_FUNCTION_INFO_V1(product_llm_cosine_distance);
Datum
product_llm_cosine_distance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(1 - (double) cosine_of(fcinfo));
}
