/*
 * fn_evaluate_model.c -- evaluate(): how well any model does a task, on rows that a query gives.
 */
#include "evaluate_model.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#define BOOTSTRAP_KEY 20240229

void
plmpg_put_figures(PlmpgEvaluation *e, int64 n, PlmFigures figures, void *arg, int count, const char *const *names)
{
	PlmHook		hook = plmpg_hook(CurrentMemoryContext);
	PlmMetric	metrics[PLM_MAX_METRICS];
	PlmArena	arena;
	PlmError	err = {0};

	plm_arena_init(&arena, &hook, (size_t) Max(1, plmpg_budget_left(&e->budget)));
	plmpg_check(plm_bootstrap(&arena, BOOTSTRAP_KEY, n, e->samples, figures, arg, count, names, metrics, &err), &err);
	plm_arena_free(&arena);
	for (int i = 0; i < count; i++)
	{
		const PlmMetric *m = &metrics[i];
		Datum		out[4] = {
			CStringGetTextDatum(m->name), Float8GetDatum(m->value), Float8GetDatum(m->low), Float8GetDatum(m->high)
		};
		bool		nulls[4] = {false, isnan(m->value), isnan(m->low), isnan(m->high)};

		tuplestore_putvalues(e->rows, e->desc, out, nulls);
	}
}

/* Option samples. */
static int
read_samples(Jsonb *options)
{
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;
	int			samples = 1000;

	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object"),
				 errhint("For example '{\"samples\": 1000}'.")));
	it = JsonbIteratorInit(&options->root);
	(void) JsonbIteratorNext(&it, &key, false);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		char	   *name = pnstrdup(key.val.string.val, key.val.string.len);

		(void) JsonbIteratorNext(&it, &value, true);
		if (strcmp(name, "samples") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown option \"%s\" of evaluate", name),
					 errhint("There is \"samples\", the number of draws of the bootstrap.")));
		if (value.type != jbvNumeric)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"samples\" must be an integer"),
					 errhint("It is the number of draws of the bootstrap.")));
		samples = plmpg_samples((int32) Max(-1.0, Min(1e9, DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
																						NumericGetDatum(value.val.numeric))))));
	}
	return samples;
}

PG_FUNCTION_INFO_V1(product_llm_evaluate);

/* evaluate(model, task, examples, options) -> table(metric, value, low, high) */
Datum
product_llm_evaluate(PG_FUNCTION_ARGS)
{
	PlmpgEvaluation e = {
		.budget = plmpg_budget(), .model = plmpg_model_get(PG_GETARG_TEXT_PP(0)),
		.objective = plmpg_train_task(text_to_cstring(PG_GETARG_TEXT_PP(1))),
		.query = text_to_cstring(PG_GETARG_TEXT_PP(2)), .samples = read_samples(PG_GETARG_JSONB_P(3))
	};

	e.rows = plmpg_result_set(fcinfo, &e.desc);
	switch (e.objective)
	{
		case PLM_LEARN_CLASSES:
			plmpg_evaluate_classes(&e);
			break;
		case PLM_LEARN_RETRIEVAL:
			plmpg_evaluate_retrieval(&e);
			break;
		case PLM_LEARN_RANKING:
			plmpg_evaluate_ranking(&e);
			break;
		case PLM_LEARN_SIMILARITY:
			plmpg_evaluate_similarity(&e);
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("task %s has no figures of its own", plm_objective_name(e.objective)),
					 errhint("Evaluate the model as task 'similarity' or 'retrieval'.")));
	}
	return (Datum) 0;
}
