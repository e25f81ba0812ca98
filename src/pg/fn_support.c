/*
 * fn_support.c -- what the planner is told: rows and cost of functions over an array of texts follow its length, embed() costs nothing
 * where no plan saves any of it, and score() of a stored vector is its similarity to a constant.
 */
#include "fn.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "parser/parse_func.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"

/* Cost of one text of usual length, in units of cpu_operator_cost: as embed(model, input) declares it (sql/30_text.sql says why). */
#define TEXT_COST 20000.0

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

/* A statement by itself without tables, as "SELECT embed('m', $1)" or "INSERT INTO t VALUES (embed('m', $1))": one row in any plan. */
static bool
evaluates_once(PlannerInfo *root)
{
	Node	   *from;

	if (root == NULL || root->query_level != 1 || root->parse->hasTargetSRFs || list_length(root->parse->jointree->fromlist) != 1)
		return false;
	from = linitial(root->parse->jointree->fromlist);
	return IsA(from, RangeTblRef) && rt_fetch(((RangeTblRef *) from)->rtindex, root->parse->rtable)->rtekind == RTE_RESULT;
}

/*
 * Support function of embed(model, input).  A prepared statement is planned anew each time when that looks cheaper than the plan for
 * all parameters, and it does, because what is immutable is computed by the planner and then costs nothing.  Where rows of a table are
 * compared with it that is right.  By itself it is computed once in either case, and planning only adds to it.
 */
PG_FUNCTION_INFO_V1(product_llm_embed_support);
Datum
product_llm_embed_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);
	SupportRequestCost *cost = (SupportRequestCost *) request;

	if (!IsA(request, SupportRequestCost) || !evaluates_once(cost->root))
		PG_RETURN_POINTER(NULL);
	cost->startup = 0;
	cost->per_tuple = cpu_operator_cost;
	PG_RETURN_POINTER(request);
}

/* Is this a column of a foreign table, or of a partitioned table, which may have foreign partitions? */
static bool
may_be_foreign(PlannerInfo *root, Node *node)
{
	Var		   *var = (Var *) node;
	RangeTblEntry *entry;

	if (root == NULL || !IsA(node, Var) || var->varlevelsup != 0 || IS_SPECIAL_VARNO(var->varno))
		return false;
	entry = rt_fetch(var->varno, root->parse->rtable);
	return entry->rtekind == RTE_RELATION &&
		(entry->relkind == RELKIND_FOREIGN_TABLE || entry->relkind == RELKIND_PARTITIONED_TABLE);
}

static bool
known_text(Node *node)
{
	return IsA(node, Const) && !((Const *) node)->constisnull;
}

/*
 * Support function of score(model, query, embedding): of foreign rows, similarity(embedding, <the query's vector>).
 *
 * postgres_fdw does not send a function of text literals, because their collation is not a remote column's; one of numbers it
 * does.  So the shard scores and orders, and it need not have the model.  The same bits: both are plmpg_cosine().
 */
PG_FUNCTION_INFO_V1(product_llm_score_support);
Datum
product_llm_score_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);
	Oid			types[2] = {FLOAT4ARRAYOID, FLOAT4ARRAYOID};
	FuncExpr   *call;
	Oid			similarity;
	const PlmpgModel *model;
	PlmInput	query;
	float	   *vector;
	Const	   *constant;

	if (!IsA(request, SupportRequestSimplify))
		PG_RETURN_POINTER(NULL);
	call = ((SupportRequestSimplify *) request)->fcall;
	if (list_length(call->args) != 3 || !known_text(linitial(call->args)) || !known_text(lsecond(call->args)) ||
		!may_be_foreign(((SupportRequestSimplify *) request)->root, lthird(call->args)))
		PG_RETURN_POINTER(NULL);
	similarity = LookupFuncName(list_make2(makeString(get_namespace_name(get_func_namespace(call->funcid))),
										   makeString("similarity")), 2, types, true);
	if (!OidIsValid(similarity))
		PG_RETURN_POINTER(NULL);
	model = plmpg_model_get(DatumGetTextPP(((Const *) linitial(call->args))->constvalue));
	query = (PlmInput) {.first = plmpg_utf8(DatumGetTextPP(((Const *) lsecond(call->args))->constvalue))};
	vector = palloc(model->config->dimensions * sizeof(float));
	plmpg_embed(model, 1, &query, PLM_KIND_QUERY, vector);
	constant = makeConst(FLOAT4ARRAYOID, -1, InvalidOid, -1,
						 PointerGetDatum(plmpg_real_array(vector, model->config->dimensions)), false, false);
	PG_RETURN_POINTER(makeFuncExpr(similarity, FLOAT4OID, list_make2(lthird(call->args), constant), InvalidOid, InvalidOid,
								   COERCE_EXPLICIT_CALL));
}
