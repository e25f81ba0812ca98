/*
 * fn_grants.c -- grant_model(), revoke_model(): for which roles a model is.
 *
 * As with a function's EXECUTE: everybody may use a model until that is revoked from public.  catalog.h has the check.
 */
#include "catalog.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "sql.h"

/* Who may drop any model may also say who uses it. */
static bool
is_administrator(void)
{
	return strcmp(plmpg_sql_string("SELECT pg_catalog.has_function_privilege('product_llm.drop_model(text)', 'EXECUTE')::pg_catalog.text",
								   NULL, PLMPG_SQL_READ), "true") == 0;
}

/* The model's row, its name locked until the transaction's end; ERROR unless the caller may say who uses it. */
static void
begin_change(const char *model, const char *command, PlmpgRow *row)
{
	Oid			owner;

	PreventCommandIfReadOnly(command);
	PreventCommandIfParallelMode(command);
	plmpg_catalog_lock(model, ExclusiveLock);
	if (!plmpg_catalog_find(model, GetLatestSnapshot(), row))
		plmpg_catalog_missing(model);
	owner = get_role_oid(row->owner, true);
	if ((!OidIsValid(owner) || !has_privs_of_role(GetUserId(), owner)) && !is_administrator())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of model \"%s\"", model),
				 errhint("Its owner is \"%s\"; who may execute product_llm.drop_model() may change any model's grants.", row->owner)));
}

/* The role's name; ERROR when there is none of that name. */
static const char *
role_name(Name role)
{
	if (strcmp(NameStr(*role), PLMPG_PUBLIC) != 0)
		(void) get_role_oid(NameStr(*role), false);
	return NameStr(*role);
}

PG_FUNCTION_INFO_V1(product_llm_grant_model);

/* grant_model(model, role) */
Datum
product_llm_grant_model(PG_FUNCTION_ARGS)
{
	char	   *model = plmpg_model_name(PG_GETARG_TEXT_PP(0));
	const char *role = role_name(PG_GETARG_NAME(1));
	PlmpgRow	row;

	begin_change(model, "product_llm.grant_model()", &row);
	plmpg_write_grant(model, row.owner, role);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(product_llm_revoke_model);

/* revoke_model(model, role): also of a role that is gone. */
Datum
product_llm_revoke_model(PG_FUNCTION_ARGS)
{
	char	   *model = plmpg_model_name(PG_GETARG_TEXT_PP(0));
	const char *role = NameStr(*PG_GETARG_NAME(1));
	PlmpgRow	row;

	begin_change(model, "product_llm.revoke_model()", &row);
	if (strcmp(role, row.owner) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_GRANT_OPERATION),
				 errmsg("role \"%s\" owns model \"%s\" and may always use it", role, model),
				 errhint("Revoke it from public, or from the other roles that product_llm.model_grant names.")));
	plmpg_delete_grant(model, row.owner, role);
	PG_RETURN_VOID();
}
