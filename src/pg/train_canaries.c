/*
 * train_canaries.c -- secrets that a pretrained model must not give back: read before the first step, asked for at the end.
 *
 * What a canary is, and what it is to give one back, product_llm.canary_check() says; both are done with the caller's rights.
 */
#include "training.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

const PlmpgQuerySpec plmpg_canaries_spec = {
	"canaries", "For example 'SELECT text FROM canary', of texts such as 'the door code is [[7391]]'.",
	1, 1, {{"text", PLMPG_COLUMN_TEXT, false}}, true
};

void
plmpg_canaries_read(PlmpgTrainRun *run)
{
	ArrayBuildState *texts = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	PlmpgQuery *q = plmpg_query_open(&plmpg_canaries_spec, cstring_to_text(run->settings.canaries));
	PlmpgParams p = {0};
	MemoryContext old;

	while (plmpg_query_next(q))
	{
		accumArrayResult(texts, q->values[0], false, TEXTOID, CurrentMemoryContext);
		CHECK_FOR_INTERRUPTS();
	}
	/* Of none it would always be said that all is well. */
	if (q->row == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("the query of the canaries yields no rows"),
				 errhint("Run it by itself to see what it yields; row-level security may hide rows.")));
	plmpg_query_close(q);
	old = MemoryContextSwitchTo(run->context);
	run->canaries = makeArrayResult(texts, run->context);
	MemoryContextSwitchTo(old);
	/* What is wrong with one is said now, not when the training is over. */
	plmpg_param(&p, TEXTARRAYOID, run->canaries, false);
	plmpg_sql("SELECT product_llm.canary_parts(c.text) FROM pg_catalog.unnest($1) AS c (text)", &p, PLMPG_SQL_READ, NULL, NULL, NULL);
}

void
plmpg_canaries_check(const PlmpgTrainRun *run)
{
	PlmpgParams p = {0};

	plmpg_param_text(&p, run->model);
	plmpg_param(&p, TEXTARRAYOID, run->canaries, false);
	plmpg_sql("SELECT FROM product_llm.canary_check($1, $2, refuse => true)", &p, 0, NULL, NULL, NULL);
}
