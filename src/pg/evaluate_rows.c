/*
 * evaluate_rows.c -- the rows of evaluate(), and what the model says of all of them.
 */
#include "evaluate_model.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "fn.h"

#define BATCH 256				/* texts that are computed together */

/* ---- rows ---- */

static PlmText
keep_text(PlmpgEvaluation *e, Datum value)
{
	PlmText		utf8 = plmpg_utf8(DatumGetTextPP(value));
	char	   *copy = plmpg_take(&e->budget, Max(utf8.len, 1), 1);

	memcpy(copy, utf8.data, utf8.len);
	return (PlmText) {copy, utf8.len};
}

static int
by_number(const void *a, const void *b)
{
	return *(const int32 *) a - *(const int32 *) b;
}

static int32
label_number(const PlmpgEvaluation *e, const PlmpgQuery *q, PlmText name)
{
	for (int32 i = 0; i < e->model->config->labels; i++)
	{
		PlmText		label = plm_model_label(e->model->model, i);

		if (label.len == name.len && memcmp(label.data, name.data, name.len) == 0)
			return i;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("model \"%s\" has no label \"%s\", which row " INT64_FORMAT " of the examples names", e->model->name,
					text_to_cstring(plmpg_text(name)), q->row),
			 errhint("SELECT labels FROM product_llm.models WHERE model = '%s' shows those it has.", e->model->name)));
}

static PlmpgClasses
keep_classes(PlmpgEvaluation *e, const PlmpgQuery *q)
{
	PlmpgTexts	texts = plmpg_texts(DatumGetArrayTypeP(q->values[1]));
	PlmpgClasses out = {0, plmpg_take(&e->budget, Max(texts.n, 1), sizeof(int32))};

	for (int i = 0; i < texts.n; i++)
	{
		if (texts.nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("row " INT64_FORMAT " of the examples has a null label", q->row),
					 errhint("Leave such rows out with WHERE .. IS NOT NULL, such elements with array_remove(.., NULL).")));
		out.number[i] = label_number(e, q, plmpg_utf8(DatumGetTextPP(texts.values[i])));
	}
	qsort(out.number, texts.n, sizeof(int32), by_number);
	for (int i = 0; i < texts.n; i++)
		if (out.n == 0 || out.number[out.n - 1] != out.number[i])
			out.number[out.n++] = out.number[i];
	return out;
}

static double
finite_number(const PlmpgQuery *q)
{
	double		x = DatumGetFloat8(q->values[2]);

	if (!isfinite(x))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("row " INT64_FORMAT " of the %s has a %s that is not finite", q->row, q->spec->what, q->spec->columns[2].name),
				 errhint("Leave such rows out.")));
	return x;
}

void
plmpg_evaluation_rows(PlmpgEvaluation *e, PlmpgExamples *r)
{
	PlmpgQuery *q = plmpg_query_open(plmpg_train_spec(e->objective, false), cstring_to_text(e->query));
	bool		pairs = e->objective != PLM_LEARN_CLASSES;

	while (plmpg_query_next(q))
	{
		CHECK_FOR_INTERRUPTS();
		if (r->n == r->room[0])
		{
			r->first = plmpg_double(&e->budget, r->first, &r->room[0], sizeof(PlmText));
			r->second = plmpg_double(&e->budget, r->second, &r->room[1], sizeof(PlmText));
			r->number = plmpg_double(&e->budget, r->number, &r->room[2], sizeof(double));
			r->classes = plmpg_double(&e->budget, r->classes, &r->room[3], sizeof(PlmpgClasses));
		}
		r->first[r->n] = keep_text(e, q->values[0]);
		if (pairs)
			r->second[r->n] = keep_text(e, q->values[1]);
		else
			r->classes[r->n] = keep_classes(e, q);
		if (e->objective == PLM_LEARN_RANKING || e->objective == PLM_LEARN_SIMILARITY)
			r->number[r->n] = finite_number(q);
		r->n++;
	}
	plmpg_query_close(q);
	if (r->n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("the query of the examples yields no rows"),
				 errhint("Run it by itself to see what it yields; row-level security may hide rows.")));
}

/* ---- what the model says ---- */

float *
plmpg_evaluation_embed(PlmpgEvaluation *e, const PlmText *texts, int64 n, PlmKind kind)
{
	int64		d = e->model->config->dimensions;
	float	   *out = plmpg_take(&e->budget, n * d, sizeof(float));
	PlmInput	inputs[BATCH];

	for (int64 i = 0; i < n; i += BATCH)
	{
		int64		m = Min(BATCH, n - i);

		for (int64 j = 0; j < m; j++)
			inputs[j] = (PlmInput) {.first = texts[i + j]};
		plmpg_embed(e->model, m, inputs, kind, out + i * d);
		CHECK_FOR_INTERRUPTS();
	}
	return out;
}

float *
plmpg_evaluation_probabilities(PlmpgEvaluation *e, const PlmpgExamples *r)
{
	int64		width = e->model->config->labels;
	float	   *out = plmpg_take(&e->budget, r->n * width, sizeof(float));
	PlmInput	inputs[BATCH];

	for (int64 i = 0; i < r->n; i += BATCH)
	{
		int64		m = Min(BATCH, r->n - i);

		for (int64 j = 0; j < m; j++)
			inputs[j] = (PlmInput) {.first = r->first[i + j]};
		plmpg_logits(e->model, m, inputs, out + i * width);
		CHECK_FOR_INTERRUPTS();
	}
	plm_probabilities(e->model->model, r->n, out);
	return out;
}

double *
plmpg_evaluation_cosines(PlmpgEvaluation *e, const PlmpgExamples *r, PlmKind first, PlmKind second)
{
	double	   *out = plmpg_take(&e->budget, r->n, sizeof(double));
	int64		d = e->model->config->dimensions;
	float	   *a = plmpg_evaluation_embed(e, r->first, r->n, first);
	float	   *b = plmpg_evaluation_embed(e, r->second, r->n, second);

	for (int64 i = 0; i < r->n; i++)
		out[i] = plm_dot(a + i * d, b + i * d, d);
	return out;
}

double *
plmpg_evaluation_scores(PlmpgEvaluation *e, const PlmpgExamples *r)
{
	double	   *out;
	PlmInput	inputs[BATCH];
	float		scores[BATCH];

	if (!plmpg_ranks(e->model))
		return plmpg_evaluation_cosines(e, r, e->objective == PLM_LEARN_RANKING ? PLM_KIND_QUERY : PLM_KIND_DOCUMENT,
										PLM_KIND_DOCUMENT);
	out = plmpg_take(&e->budget, r->n, sizeof(double));
	for (int64 i = 0; i < r->n; i += BATCH)
	{
		int64		m = Min(BATCH, r->n - i);

		for (int64 j = 0; j < m; j++)
			inputs[j] = (PlmInput) {r->first[i + j], r->second[i + j]};
		plmpg_rank(e->model, m, inputs, scores);
		for (int64 j = 0; j < m; j++)
			out[i + j] = scores[j];
		CHECK_FOR_INTERRUPTS();
	}
	return out;
}
