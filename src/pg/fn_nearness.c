/*
 * fn_nearness.c -- cosines(), nearness(): one row against several unit vectors, with the bits that a scan of many rows gives.
 *
 * They are what a coordinator asks of its shards (shards.h), so that recommendations need not send each product's vector.
 */
#include "fn.h"

#include "catalog/pg_type.h"
#include "utils/array.h"

#include "find.h"

/* The vectors of the call before; they are usually those of all rows. */
typedef struct Kept
{
	ArrayType  *vectors;		/* copy; NULL: nothing kept */
	PlmpgAgainst *against;
	float	   *cosines;		/* (n) */
} Kept;

static void
forget(Kept *k)
{
	if (k->vectors == NULL)
		return;
	pfree(k->vectors);
	pfree(k->against->memory);
	pfree(k->against);
	pfree(k->cosines);
	k->vectors = NULL;
}

/* Cosines of an embedding to each of the vectors; n: their number.  Valid until the next call. */
static const float *
cosines(FunctionCallInfo fcinfo, int64 *n)
{
	Kept	   *k = fcinfo->flinfo->fn_extra;
	ArrayType  *embedding = PG_GETARG_ARRAYTYPE_P(0);
	ArrayType  *vectors = PG_GETARG_ARRAYTYPE_P(1);
	int64		dimensions;
	const float *row = plmpg_real_values(embedding, -1, "embedding", &dimensions);
	MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

	if (k == NULL)
		fcinfo->flinfo->fn_extra = k = palloc0(sizeof(Kept));
	if (k->vectors == NULL || k->against->dimensions != dimensions || VARSIZE(k->vectors) != VARSIZE(vectors) ||
		memcmp(k->vectors, vectors, VARSIZE(vectors)) != 0)
	{
		int64		elements;
		const float *values = plmpg_real_values(vectors, -1, "vectors", &elements);

		if (dimensions == 0 || elements % dimensions != 0)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("vectors have " INT64_FORMAT " elements, which are not rows of the embedding's " INT64_FORMAT,
							elements, dimensions)));
		forget(k);
		k->against = plmpg_against(elements / dimensions, values, dimensions);
		k->cosines = palloc(Max(k->against->n, 1) * sizeof(float));
		k->vectors = DatumGetArrayTypePCopy(PointerGetDatum(vectors));
	}
	MemoryContextSwitchTo(old);
	plmpg_against_rows(k->against, 1, row, k->cosines, NULL);
	PG_FREE_IF_COPY(embedding, 0);
	PG_FREE_IF_COPY(vectors, 1);
	*n = k->against->n;
	return k->cosines;
}

/* cosines(embedding real[], vectors real[]) -> real[] */
PG_FUNCTION_INFO_V1(product_llm_cosines);
Datum
product_llm_cosines(PG_FUNCTION_ARGS)
{
	int64		n;
	const float *values = cosines(fcinfo, &n);

	PG_RETURN_ARRAYTYPE_P(plmpg_real_array(values, n));
}

/* nearness(embedding real[], vectors real[], weights double precision[]) -> double precision */
PG_FUNCTION_INFO_V1(product_llm_nearness);
Datum
product_llm_nearness(PG_FUNCTION_ARGS)
{
	int64		n;
	const float *values = cosines(fcinfo, &n);
	ArrayType  *weights = PG_GETARG_ARRAYTYPE_P(2);
	const double *w = (const double *) ARR_DATA_PTR(weights);
	double		best = 0;

	if (ARR_HASNULL(weights) || ArrayGetNItems(ARR_NDIM(weights), ARR_DIMS(weights)) != n)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("weights must be one number for each of " INT64_FORMAT " vectors", n)));
	for (int64 i = 0; i < n; i++)
		best = Max(best, values[i] * w[i]);
	PG_FREE_IF_COPY(weights, 2);
	PG_RETURN_FLOAT8(best);
}
