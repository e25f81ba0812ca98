/*
 * fn_nearness.c -- cosines(), nearness(): one row against several unit vectors, with the bits that a scan of many rows gives.
 *
 * They are what a coordinator asks of its shards (shards.h), so that recommendations need not send each product's vector.
 */
#include "fn.h"

#include "catalog/pg_type.h"
#include "utils/array.h"

/* The vectors of the call before, packed for plm_linear(); they are usually those of all rows. */
typedef struct Against
{
	ArrayType  *vectors;		/* copy; NULL: nothing kept */
	PlmPacked	packed;
	void	   *data;
	float	   *cosines;		/* (n) */
} Against;

static void
forget(Against *a)
{
	if (a->vectors == NULL)
		return;
	pfree(a->vectors);
	pfree(a->data);
	pfree(a->cosines);
	a->vectors = NULL;
}

/* Cosines of an embedding to each of the vectors; n: their number.  Valid until the next call. */
static const float *
cosines(FunctionCallInfo fcinfo, int64 *n)
{
	Against	   *a = fcinfo->flinfo->fn_extra;
	ArrayType  *embedding = PG_GETARG_ARRAYTYPE_P(0);
	ArrayType  *vectors = PG_GETARG_ARRAYTYPE_P(1);
	int64		dimensions;
	const float *row = plmpg_real_values(embedding, -1, "embedding", &dimensions);
	MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

	if (a == NULL)
		fcinfo->flinfo->fn_extra = a = palloc0(sizeof(Against));
	if (a->vectors == NULL || a->packed.k != dimensions || VARSIZE(a->vectors) != VARSIZE(vectors) ||
		memcmp(a->vectors, vectors, VARSIZE(vectors)) != 0)
	{
		int64		elements;
		const float *values = plmpg_real_values(vectors, -1, "vectors", &elements);

		if (dimensions == 0 || elements % dimensions != 0)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("vectors have " INT64_FORMAT " elements, which are not rows of the embedding's " INT64_FORMAT,
							elements, dimensions)));
		forget(a);
		a->packed = (PlmPacked) {.precision = PLM_PREC_F32, .n = elements / dimensions, .k = dimensions};
		a->data = palloc(plm_pack_bytes(PLM_PREC_F32, a->packed.n, dimensions) + 64);
		a->packed.data = (void *) TYPEALIGN(64, a->data);
		plm_pack(PLM_PREC_F32, a->packed.n, dimensions, values, (void *) a->packed.data);
		a->cosines = palloc(Max(a->packed.n, 1) * sizeof(float));
		a->vectors = DatumGetArrayTypePCopy(PointerGetDatum(vectors));
	}
	MemoryContextSwitchTo(old);
	if (a->packed.n > 0)
		plm_linear(&a->packed, NULL, 1, row, dimensions, NULL, a->cosines, a->packed.n, PLM_ACT_NONE, NULL);
	PG_FREE_IF_COPY(embedding, 0);
	PG_FREE_IF_COPY(vectors, 1);
	*n = a->packed.n;
	return a->cosines;
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
