/*
 * fn_explain.c -- explain_score(): which tokens of query and document a score comes from.
 *
 * What is explained is what score() gives, or for a classifier the probability that classify() gives a label.  The engine's
 * explainer holds the model's weights for the way back; a call site keeps it from row to row.
 */
#include "fn.h"

#include <math.h>

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

/* What one call site keeps. */
typedef struct Site
{
	MemoryContext context;		/* of all below, reset when the model changes */
	uint64		generation;
	Oid			user;			/* who asked */
	char	   *name;			/* NULL: nothing yet */
	const PlmpgModel *model;
	PlmHook		hook;
	PlmExplainer *explainer;	/* NULL: not wanted yet */
} Site;

/* How a number is explained. */
typedef enum Method
{
	INTEGRAL,					/* integrated gradients, against what the task says */
	POOLING,					/* the exact shares of mean pooling */
	ATTENTION					/* attention rollout: a baseline */
} Method;

/* The arguments, and what becomes of them. */
typedef struct Explaining
{
	const PlmpgModel *model;
	Method		method;
	PlmExplainer *explainer;	/* of INTEGRAL */
	PlmExplainTask task;		/* what both sides have in common */
	Tuplestorestate *rows;
	TupleDesc	desc;
	MemoryContext row;
} Explaining;

static Site *
site_of(FunctionCallInfo fcinfo, text *model)
{
	Site	   *site = fcinfo->flinfo->fn_extra;
	char	   *name = text_to_cstring(model);

	if (site == NULL)
	{
		site = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Site));
		site->context = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "product_llm explainer", ALLOCSET_DEFAULT_SIZES);
		fcinfo->flinfo->fn_extra = site;
	}
	if (site->name != NULL && site->generation == plmpg_model_generation() && site->user == GetUserId() && strcmp(site->name, name) == 0)
		return site;
	site->name = NULL;
	site->explainer = NULL;
	MemoryContextReset(site->context);
	/* Before the lookup: if a change comes in during it, the next row asks again. */
	site->generation = plmpg_model_generation();
	site->user = GetUserId();
	site->model = plmpg_model_get(model);
	plmpg_require_weights(site->model);
	site->name = MemoryContextStrdup(site->context, name);
	return site;
}

static PlmExplainer *
explainer_of(Site *site)
{
	PlmOptions	options;
	PlmError	err = {0};

	if (site->explainer != NULL)
		return site->explainer;
	site->hook = plmpg_hook(site->context);
	options = plmpg_options(&site->hook);
	plmpg_check(plm_explainer_open(site->model->model, &options, &site->explainer, &err), &err);
	return site->explainer;
}

/* ---- rows ---- */

/* The side's tokens; ordinals count from 1 in each side. */
static void
put_side(Explaining *x, const char *side, PlmText input, const PlmExplanation *e)
{
	const PlmTokenizer *tokenizer = plm_model_tokenizer(x->model->model);
	PlmpgPlace	place = plmpg_place(input);
	int32		ordinal = 0;

	for (int64 i = 0; i < e->encoding.n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(x->row);
		PlmText		token = plm_token_text(tokenizer, e->encoding.ids[i]);
		int32		start_at = 0;
		int32		length = 0;
		Datum		values[7];
		bool		nulls[7] = {false};

		if (e->own[i] != 0)
		{
			values[0] = CStringGetTextDatum(side);
			values[1] = Int32GetDatum(++ordinal);
			nulls[2] = token.data == NULL;
			values[2] = nulls[2] ? (Datum) 0 : PointerGetDatum(plmpg_text(token));
			nulls[3] = nulls[4] = e->encoding.start[i] < 0;
			if (!nulls[3])
				plmpg_place_span(&place, e->encoding.start[i], e->encoding.end[i], &start_at, &length);
			values[3] = Int32GetDatum(start_at);
			values[4] = Int32GetDatum(length);
			values[5] = Float8GetDatum(e->contribution[i]);
			nulls[6] = isnan(e->error);
			values[6] = Float8GetDatum(e->error);
			tuplestore_putvalues(x->rows, x->desc, values, nulls);
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(x->row);
	}
}

static void
explain_side(Explaining *x, const char *side, PlmText input, const PlmExplainTask *task)
{
	PlmHook		hook;
	PlmArena	arena;
	PlmOptions	options;
	PlmExplanation e;
	PlmError	err = {0};
	PlmStatus	status;

	plmpg_arena(&arena, &hook);
	options = plmpg_options(&hook);
	if (x->method == INTEGRAL)
		status = plm_explain(x->explainer, task, &options, &arena, &e, &err);
	else if (x->method == POOLING)
		status = plm_explain_pooling(x->model->model, task, &options, &arena, &e, &err);
	else
		status = plm_explain_attention(x->model->model, task, &options, &arena, &e, &err);
	if (status != PLM_OK && status != PLM_ECANCELLED)
		plm_prefix(&err, "%s", side);
	plmpg_check(status, &err);
	put_side(x, side, input, &e);
	plm_arena_free(&arena);
}

/* ---- what is explained ---- */

/* The cosine of two embeddings: each side along the other's vector. */
static void
explain_cosine(Explaining *x, PlmText query, PlmText document)
{
	const PlmConfig *c = x->model->config;
	float	   *vectors = palloc(2 * (Size) c->dimensions * sizeof(float));
	PlmInput	q = {.first = query};
	PlmInput	d = {.first = document};
	PlmExplainTask task = x->task;

	plmpg_embed(x->model, 1, &q, PLM_KIND_QUERY, vectors);
	plmpg_embed(x->model, 1, &d, PLM_KIND_DOCUMENT, vectors + c->dimensions);
	task.input = q;
	task.prompt = (PlmText) {c->prompt_query, strlen(c->prompt_query)};
	task.along = vectors + c->dimensions;
	explain_side(x, "query", query, &task);
	task.input = d;
	task.prompt = (PlmText) {c->prompt_document, strlen(c->prompt_document)};
	task.along = vectors;
	explain_side(x, "document", document, &task);
}

/* A ranking head's score of the pair. */
static void
explain_pair(Explaining *x, PlmText query, PlmText document)
{
	PlmExplainTask task = x->task;

	task.input = (PlmInput) {.first = query, .second = document};
	explain_side(x, "query", query, &task);
	task.second = true;
	explain_side(x, "document", document, &task);
}

/* Which of a classifier's labels this is. */
static int32
label_of(const PlmpgModel *model, PlmText name)
{
	StringInfoData known;

	initStringInfo(&known);
	for (int32 i = 0; i < model->config->labels; i++)
	{
		PlmText		label = plm_model_label(model->model, i);

		if (label.len == name.len && memcmp(label.data, name.data, name.len) == 0)
			return i;
		if (i < 10)
			appendStringInfo(&known, "%s\"%s\"", i > 0 ? ", " : "", text_to_cstring(plmpg_text(label)));
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("model \"%s\" has no label \"%s\"", model->name, text_to_cstring(plmpg_text(name))),
			 errhint("A classifier is asked about one of its labels in place of a document; they are %s%s.", known.data,
					 model->config->labels > 10 ? ", ..." : "")));
}

/* What argument "method" says; against: of INTEGRAL. */
static Method
method_of(text *method, PlmAgainst *against)
{
	char	   *name = text_to_cstring(method);

	*against = strcmp(name, "mask") == 0 ? PLM_AGAINST_MASK : PLM_AGAINST_EMPTY;
	if (strcmp(name, "empty") == 0 || strcmp(name, "mask") == 0)
		return INTEGRAL;
	if (strcmp(name, "pooling") == 0)
		return POOLING;
	if (strcmp(name, "attention") == 0)
		return ATTENTION;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown method \"%s\"", name),
			 errhint("Use 'empty' or 'mask' for integrated gradients, 'pooling' for the exact shares of mean pooling, 'attention' for attention rollout, a baseline.")));
}

/*
 * explain_score(model, query, document, method, steps, truncate)
 *     -> table(side, ordinal, token, start_at, length, contribution, error)
 */
PG_FUNCTION_INFO_V1(product_llm_explain_score);
Datum
product_llm_explain_score(PG_FUNCTION_ARGS)
{
	Site	   *site = site_of(fcinfo, PG_GETARG_TEXT_PP(0));
	PlmText		query = plmpg_utf8(PG_GETARG_TEXT_PP(1));
	PlmText		document = plmpg_utf8(PG_GETARG_TEXT_PP(2));
	Explaining	x = {.model = site->model};
	x.method = method_of(PG_GETARG_TEXT_PP(3), &x.task.against);
	x.task.steps = PG_GETARG_INT32(4);
	x.task.truncate = PG_GETARG_BOOL(5);
	x.explainer = x.method == INTEGRAL ? explainer_of(site) : NULL;
	x.rows = plmpg_result_set(fcinfo, &x.desc);
	x.row = AllocSetContextCreate(CurrentMemoryContext, "product_llm token", ALLOCSET_SMALL_SIZES);
	if (plmpg_ranks(x.model))
		explain_pair(&x, query, document);
	else if (x.model->config->task == PLM_TASK_CLASSIFICATION && plm_model_can(x.model->model, PLM_TASK_CLASSIFICATION))
	{
		x.task.input.first = query;
		x.task.label = label_of(x.model, document);
		explain_side(&x, "query", query, &x.task);
	}
	else
		explain_cosine(&x, query, document);
	MemoryContextDelete(x.row);
	return (Datum) 0;
}
