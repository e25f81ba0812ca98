/*
 * srf.c -- arrays of real, and sets returned by way of a tuplestore.
 */
#include "plmpg.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/tuplestore.h"

ArrayType *
plmpg_real_array(const float *values, int64 n)
{
	size_t		bytes = ARR_OVERHEAD_NONULLS(1) + (size_t) n * sizeof(float4);
	ArrayType  *array;

	if (n < 0 || n > (int64) ((MaxAllocSize - ARR_OVERHEAD_NONULLS(1)) / sizeof(float4)))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("array of " INT64_FORMAT " elements is too large", n)));
	if (n == 0)
		return construct_empty_array(FLOAT4OID);
	array = palloc(bytes);
	SET_VARSIZE(array, bytes);
	array->ndim = 1;
	array->dataoffset = 0;
	array->elemtype = FLOAT4OID;
	ARR_DIMS(array)[0] = (int) n;
	ARR_LBOUND(array)[0] = 1;
	memcpy(ARR_DATA_PTR(array), values, (size_t) n * sizeof(float4));
	return array;
}

const float *
plmpg_real_values(ArrayType *array, int64 expected, const char *who, int64 *n)
{
	Assert(ARR_ELEMTYPE(array) == FLOAT4OID);
	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("argument \"%s\" must be a one-dimensional array", who)));
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not contain nulls", who)));
	*n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	if (expected >= 0 && *n != expected)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("argument \"%s\" has " INT64_FORMAT " elements, expected " INT64_FORMAT,
						who, *n, expected)));
	/* Arrays are MAXALIGNed and so is their data, null bitmap or not. */
	return (const float *) ARR_DATA_PTR(array);
}

Tuplestorestate *
plmpg_result_set(FunctionCallInfo fcinfo, TupleDesc *desc)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext caller = MemoryContextSwitchTo(result != NULL && IsA(result, ReturnSetInfo) ?
												 result->econtext->ecxt_per_query_memory : CurrentMemoryContext);
	Tuplestorestate *store;
	bool		random;

	if (result == NULL || !IsA(result, ReturnSetInfo) || !(result->allowedModes & SFRM_Materialize))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	random = (result->allowedModes & SFRM_Materialize_Random) != 0;
	if (get_call_result_type(fcinfo, NULL, desc) != TYPEFUNC_COMPOSITE)
	{
		/* A set of one plain type, such as setof real[]. */
		if (result->expectedDesc == NULL)
			elog(ERROR, "the caller does not say what set it expects");
		*desc = CreateTupleDescCopy(result->expectedDesc);
	}
	else
		*desc = BlessTupleDesc(CreateTupleDescCopy(*desc));
	store = tuplestore_begin_heap(random, false, work_mem);
	result->returnMode = SFRM_Materialize;
	result->setResult = store;
	result->setDesc = *desc;
	MemoryContextSwitchTo(caller);
	return store;
}
