/*
 * fn_evaluate_tune.c -- fit_catalog(): the settings that serve a shop's own data best.
 */
#include "evaluate.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

void
plmpg_put_setting(PlmpgSettings *settings, const char *setting, double old, double new, const char *metric, double before,
				  double after)
{
	Datum		values[6] = {
		CStringGetTextDatum(setting), Float8GetDatum(old), Float8GetDatum(new), CStringGetTextDatum(metric),
		Float8GetDatum(before), Float8GetDatum(after)
	};
	bool		nulls[6] = {false, false, false, false, isnan(before), isnan(after)};

	tuplestore_putvalues(settings->rows, settings->desc, values, nulls);
}

void
plmpg_too_few(const char *what, int64 n)
{
	ereport(NOTICE,
			(errmsg("settings of %s are left as they are: " INT64_FORMAT " to fit them on, at least %d are needed",
					what, n, PLMPG_FEWEST)));
}

/* fit_catalog(catalog, judgments) */
PG_FUNCTION_INFO_V1(product_llm_fit_catalog);
Datum
product_llm_fit_catalog(PG_FUNCTION_ARGS)
{
	MemoryContext search = AllocSetContextCreate(CurrentMemoryContext, "product_llm fit of search", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller;
	PlmpgBudget budget;
	PlmpgShop  *shop;
	PlmpgSettings settings;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("catalog must not be null")));
	shop = plmpg_shop(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	plmpg_shop_check_rights(shop);
	settings.rows = plmpg_result_set(fcinfo, &settings.desc);

	caller = MemoryContextSwitchTo(search);
	budget = plmpg_budget();
	plmpg_fit_search(&budget, shop, PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1), &settings);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(search);
	budget = plmpg_budget();
	plmpg_fit_blend(&budget, shop, &settings);
	return (Datum) 0;
}
