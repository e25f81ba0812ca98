/*
 * flat.c -- the access method product_flat: its handler, what an operator class must be, what a scan costs; see flat.h.
 */
#include "flat.h"

#include "access/amvalidate.h"
#include "access/htup_details.h"
#include "catalog/pg_amop.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_type.h"
#include "commands/vacuum.h"
#include "nodes/pathnodes.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/selfuncs.h"
#include "utils/spccache.h"
#include "utils/syscache.h"

/*
 * All pages are read, in order, and each row is multiplied with the query, before the first row comes; what rows of the table
 * cost comes from the caller.  Without ORDER BY by the operator the index is of no use.
 */
static void
estimate_cost(PlannerInfo *root, IndexPath *path, double loops, Cost *startup, Cost *total, Selectivity *selectivity,
			  double *correlation, double *pages)
{
	IndexOptInfo *index = path->indexinfo;
	double		per_page;

	get_tablespace_page_costs(index->reltablespace, NULL, &per_page);
	*startup = path->indexorderbys == NIL ? get_float8_infinity() : index->pages * per_page + index->tuples * cpu_operator_cost;
	*total = *startup + index->tuples * cpu_index_tuple_cost;
	/* A partial index has some of the table's rows. */
	*selectivity = index->rel->tuples > 0 ? Min(1, index->tuples / index->rel->tuples) : 1;
	*correlation = 0;
	*pages = index->pages;
}

static bytea *
options(Datum reloptions, bool validate)
{
	if (validate && DatumGetPointer(reloptions) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an index of type product_flat has no storage parameters"),
				 errhint("Leave WITH (...) out.")));
	return NULL;
}

/* ---- operator classes ---- */

static bool
complain(const char *opclass, const char *what)
{
	ereport(INFO,
			(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
			 errmsg("operator class \"%s\" of access method product_flat %s", opclass, what)));
	return false;
}

/* One operator, number 1, that orders by a distance in double precision. */
static bool
validate_operator(const char *opclass, Form_pg_amop op)
{
	if (op->amopstrategy != 1 || op->amoppurpose != AMOP_ORDER)
		return complain(opclass, "has an operator other than number 1 FOR ORDER BY");
	if (!check_amop_signature(op->amopopr, FLOAT8OID, op->amoplefttype, op->amoprighttype))
		return complain(opclass, "has an operator that does not give double precision");
	if (!opfamily_can_sort_type(op->amopsortfamily, FLOAT8OID))
		return complain(opclass, "orders by an operator family that does not sort double precision");
	return true;
}

static bool
validate(Oid oid)
{
	HeapTuple	tuple = SearchSysCache1(CLAOID, ObjectIdGetDatum(oid));
	Form_pg_opclass class;
	CatCList   *operators;
	const char *name;
	bool		valid = true;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator class %u", oid);
	class = (Form_pg_opclass) GETSTRUCT(tuple);
	name = NameStr(class->opcname);
	if (class->opcintype != FLOAT4ARRAYOID || OidIsValid(class->opckeytype))
		valid = complain(name, "is not for real[]");
	operators = SearchSysCacheList1(AMOPSTRATEGY, ObjectIdGetDatum(class->opcfamily));
	if (operators->n_members == 0)
		valid = complain(name, "has no operator");
	for (int i = 0; i < operators->n_members; i++)
		valid = validate_operator(name, (Form_pg_amop) GETSTRUCT(&operators->members[i]->tuple)) && valid;
	ReleaseCatCacheList(operators);
	ReleaseSysCache(tuple);
	return valid;
}

/* ---- the handler ---- */

PG_FUNCTION_INFO_V1(product_llm_flat_handler);
Datum
product_llm_flat_handler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *am = makeNode(IndexAmRoutine);

	am->amstrategies = 1;
	am->amcanorderbyop = true;
	am->amoptionalkey = true;
	am->amparallelvacuumoptions = VACUUM_OPTION_PARALLEL_BULKDEL;

	am->ambuild = plmpg_flat_build;
	am->ambuildempty = plmpg_flat_build_empty;
	am->aminsert = plmpg_flat_insert;
	am->ambulkdelete = plmpg_flat_delete;
	am->amvacuumcleanup = plmpg_flat_cleanup;
	am->amcostestimate = estimate_cost;
	am->amoptions = options;
	am->amvalidate = validate;
	am->ambeginscan = plmpg_flat_begin;
	am->amrescan = plmpg_flat_rescan;
	am->amgettuple = plmpg_flat_next;
	am->amendscan = plmpg_flat_end;
	PG_RETURN_POINTER(am);
}
