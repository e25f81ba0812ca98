/*
 * fn_support.c -- what the planner is told about functions over an array of texts: rows and cost follow its length.
 */
#include "plmpg.h"

#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "utils/selfuncs.h"

/* Cost of one text of usual length, in units of cpu_operator_cost: as embed(model, input) declares it. */
#define TEXT_COST 100000.0

/* The text[] argument of a function call, or NULL. */
static Node *
array_argument(Node *call)
{
	ListCell   *cell;

	if (call == NULL || !IsA(call, FuncExpr))
		return NULL;
	foreach(cell, ((FuncExpr *) call)->args)
		if (exprType(lfirst(cell)) == TEXTARRAYOID)
			return lfirst(cell);
	return NULL;
}

/* Support function of embed(model, inputs[]) and rerank(): one row for each element, each at the cost of one text. */
PG_FUNCTION_INFO_V1(product_llm_batch_support);
Datum
product_llm_batch_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);
	Node	   *array;

	if (IsA(request, SupportRequestRows))
	{
		SupportRequestRows *rows = (SupportRequestRows *) request;

		array = array_argument(rows->node);
		if (array == NULL)
			PG_RETURN_POINTER(NULL);
		rows->rows = Max(1, plmpg_array_length(rows->root, array));
		PG_RETURN_POINTER(request);
	}
	if (IsA(request, SupportRequestCost))
	{
		SupportRequestCost *cost = (SupportRequestCost *) request;

		array = array_argument(cost->node);
		if (array == NULL)
			PG_RETURN_POINTER(NULL);
		cost->startup = 0;
		cost->per_tuple = TEXT_COST * cpu_operator_cost * Max(1, plmpg_array_length(cost->root, array));
		PG_RETURN_POINTER(request);
	}
	PG_RETURN_POINTER(NULL);
}
