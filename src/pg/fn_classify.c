/*
 * fn_classify.c -- classify() with a trained head, classify_zero_shot() with nothing but label names.
 */
#include "fn.h"

#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

/*
 * Softmax over cosines needs a scale, because cosines of real texts lie close together.  20 is the
 * inverse of the temperature (0.05) that sentence encoders, shop-mini among them, are trained with.
 */
#define ZERO_SHOT_SCALE 20.0f

typedef struct Labelled
{
	int32		label;			/* place in the model's or the caller's list */
	float		probability;
} Labelled;

static int
by_probability(const void *a, const void *b)
{
	const Labelled *x = a;
	const Labelled *y = b;

	if (x->probability != y->probability)
		return x->probability > y->probability ? -1 : 1;
	return x->label < y->label ? -1 : 1;
}

/* The labels in descending order of value; equal ones keep their order. */
static Labelled *
best_first(const float *values, int32 n)
{
	Labelled   *list = palloc(n * sizeof(Labelled));

	for (int32 i = 0; i < n; i++)
		list[i] = (Labelled) {i, values[i]};
	qsort(list, n, sizeof(Labelled), by_probability);
	return list;
}

static void
put_label(Tuplestorestate *rows, TupleDesc desc, text *label, float probability)
{
	Datum		values[2] = {PointerGetDatum(label), Float4GetDatum(probability)};
	bool		nulls[2] = {false, false};

	tuplestore_putvalues(rows, desc, values, nulls);
}

/* ---- a trained head ---- */

static void
require_classifier(const PlmpgModel *model)
{
	PlmTaskKind task = model->config->task;

	if (task != PLM_TASK_RANKING && plm_model_can(model->model, PLM_TASK_CLASSIFICATION))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("model \"%s\" cannot classify: its task is %s", model->name, plm_task_name(task)),
			 task == PLM_TASK_RANKING ?
			 errhint("Use score(model, query, document) or rerank() with a ranking model.") :
			 errhint("Use a model with a sequence-classification head, or classify_zero_shot().")));
}

/*
 * classify(model, input) -> table(label, probability), best first
 *
 * One label of several: probabilities that sum to 1.  Several labels at once: each has its own, between
 * 0 and 1.  Regression: the value itself.
 */
PG_FUNCTION_INFO_V1(product_llm_classify);
Datum
product_llm_classify(PG_FUNCTION_ARGS)
{
	const PlmpgModel *model = plmpg_memo_model(plmpg_memo(fcinfo), PG_GETARG_TEXT_PP(0));
	PlmInput	input = {.first = plmpg_utf8(PG_GETARG_TEXT_PP(1))};
	TupleDesc	desc;
	Tuplestorestate *rows = plmpg_result_set(fcinfo, &desc);
	int32		n = model->config->labels;
	float	   *values;
	Labelled   *best;

	require_classifier(model);
	values = palloc(n * sizeof(float));
	plmpg_logits(model, 1, &input, values);
	plm_probabilities(model->model, 1, values);
	best = best_first(values, n);
	for (int32 i = 0; i < n; i++)
		put_label(rows, desc, plmpg_text(plm_model_label(model->model, best[i].label)), best[i].probability);
	return (Datum) 0;
}

/* ---- label names alone ---- */

/* Order of two elements of a text[] by length, then bytes: enough to find equal ones. */
static int
by_bytes(const void *a, const void *b)
{
	text	   *x = DatumGetTextPP(*(const Datum *) a);
	text	   *y = DatumGetTextPP(*(const Datum *) b);
	size_t		nx = VARSIZE_ANY_EXHDR(x);
	size_t		ny = VARSIZE_ANY_EXHDR(y);

	if (nx != ny)
		return nx < ny ? -1 : 1;
	return memcmp(VARDATA_ANY(x), VARDATA_ANY(y), nx);
}

/* At least one label, none NULL, none twice (two equal labels would halve each other's probability). */
static void
check_labels(const PlmpgTexts *labels)
{
	Datum	   *sorted;

	if (labels->n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there are no labels to choose from")));
	if (labels->n < 0 || labels->n > PLM_MAX_LABELS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%d labels are more than the limit of %d", labels->n, PLM_MAX_LABELS)));
	for (int i = 0; i < labels->n; i++)
		if (labels->nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("label %d is null", i + 1)));

	sorted = palloc(labels->n * sizeof(Datum));
	memcpy(sorted, labels->values, labels->n * sizeof(Datum));
	qsort(sorted, labels->n, sizeof(Datum), by_bytes);
	for (int i = 1; i < labels->n; i++)
		if (by_bytes(&sorted[i - 1], &sorted[i]) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("label \"%s\" is given twice", TextDatumGetCString(sorted[i])),
					 errhint("Use array_agg(DISTINCT ...) to collect labels from a table.")));
	pfree(sorted);
}

/* Unit vectors of the labels, (n, dimensions), from the call site when the array is the same as before. */
static const float *
label_vectors(PlmpgMemo *memo, ArrayType *array, const PlmpgTexts *labels)
{
	const float *vectors = plmpg_memo_find(memo, array, VARSIZE(array));
	PlmInput   *inputs;

	if (vectors != NULL)
		return vectors;
	check_labels(labels);
	inputs = palloc0(labels->n * sizeof(PlmInput));
	for (int i = 0; i < labels->n; i++)
		inputs[i].first = plmpg_utf8(DatumGetTextPP(labels->values[i]));
	return plmpg_memo_embed(memo, array, VARSIZE(array), labels->n, inputs, PLM_KIND_DOCUMENT);
}

/*
 * classify_zero_shot(model, input, labels[]) -> table(label, probability), best first, sums to 1:
 * softmax(20 * cosine(embed(input), embed(label))), both embedded as documents.
 */
PG_FUNCTION_INFO_V1(product_llm_classify_zero_shot);
Datum
product_llm_classify_zero_shot(PG_FUNCTION_ARGS)
{
	PlmpgMemo  *memo = plmpg_memo(fcinfo);
	const PlmpgModel *model = plmpg_memo_model(memo, PG_GETARG_TEXT_PP(0));
	PlmInput	input = {.first = plmpg_utf8(PG_GETARG_TEXT_PP(1))};
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(2);
	PlmpgTexts	labels = plmpg_texts(array);
	const float *vectors = label_vectors(memo, array, &labels);
	int64		dimensions = model->config->dimensions;
	TupleDesc	desc;
	Tuplestorestate *rows = plmpg_result_set(fcinfo, &desc);
	float	   *vector = palloc(dimensions * sizeof(float));
	float	   *values = palloc(labels.n * sizeof(float));
	Labelled   *best;

	plmpg_embed(model, 1, &input, PLM_KIND_DOCUMENT, vector);
	for (int i = 0; i < labels.n; i++)
		values[i] = plmpg_cosine(vector, vectors + i * dimensions, dimensions, "embedding");
	plm_softmax(values, labels.n, ZERO_SHOT_SCALE);
	best = best_first(values, labels.n);
	for (int i = 0; i < labels.n; i++)
		put_label(rows, desc, DatumGetTextPP(labels.values[best[i].label]), best[i].probability);
	return (Datum) 0;
}
