/*
 * train_examples.c -- the rows of a caller's query as token ids: which are held out, which classes there are.
 *
 * A query is read twice where something must be known of all rows before the first is taken: the classes, the largest
 * grade.  Rows come in the order of their contents' md5, so that the same rows give the same training whatever the plan.
 */
#include "training.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/snapmgr.h"

#include "fn.h"

/* ---- tasks ---- */

PlmObjective
plmpg_train_task(const char *task)
{
	for (int i = PLM_LEARN_CLASSES; i < PLM_OBJECTIVES; i++)
		if (strcmp(task, plm_objective_name(i)) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown task \"%s\"", task),
			 errhint("Use 'classification', 'retrieval', 'ranking', 'similarity' or 'distillation'.")));
}

#define TEXT_COLUMN(name) {name, PLMPG_COLUMN_TEXT, false}

static const PlmpgQuerySpec specs[PLM_OBJECTIVES] = {
	[PLM_LEARN_MASKED] = {"corpus", "For example 'SELECT description FROM product'; two columns for next-sentence prediction.",
		1, 2, {TEXT_COLUMN("text"), TEXT_COLUMN("next text")}, true},
	[PLM_LEARN_CLASSES] = {"examples", "For example 'SELECT review, category FROM review'; an array for several labels.",
		2, 2, {TEXT_COLUMN("text"), {"label", PLMPG_COLUMN_LABELS, false}}, true},
	[PLM_LEARN_RETRIEVAL] = {"examples", "For example 'SELECT query, title FROM click'; a third column may hold what does not answer the query.",
		2, 3, {TEXT_COLUMN("query"), TEXT_COLUMN("positive"), {"negative", PLMPG_COLUMN_TEXT, true}}, true},
	[PLM_LEARN_RANKING] = {"examples", "For example 'SELECT query, title, grade FROM judgment'.",
		3, 3, {TEXT_COLUMN("query"), TEXT_COLUMN("document"), {"grade", PLMPG_COLUMN_NUMBER, false}}, true},
	[PLM_LEARN_SIMILARITY] = {"examples", "For example 'SELECT a, b, score FROM pair'.",
		3, 3, {TEXT_COLUMN("first text"), TEXT_COLUMN("second text"), {"score", PLMPG_COLUMN_NUMBER, false}}, true},
	[PLM_LEARN_DISTILLED] = {"examples", "For example 'SELECT title FROM product'.", 1, 1, {TEXT_COLUMN("text")}, true},
};

const PlmpgQuerySpec *
plmpg_train_spec(PlmObjective objective, bool validation)
{
	static PlmpgQuerySpec held_out[PLM_OBJECTIVES];

	if (!validation)
		return &specs[objective];
	held_out[objective] = specs[objective];
	held_out[objective].what = "validation query";
	return &held_out[objective];
}

void
plmpg_train_check_queries(PlmObjective objective, const char *query, PlmpgTrainSettings *s)
{
	int			columns;
	bool		arrays[PLMPG_QUERY_COLUMNS];
	int			held_columns;

	plmpg_query_check(plmpg_train_spec(objective, false), cstring_to_text(query), &columns, arrays);
	if (s->multi_label == PLMPG_AS_EXAMPLES)
		s->multi_label = objective == PLM_LEARN_CLASSES && arrays[1];
	if (s->next_sentence == PLMPG_AS_EXAMPLES)
		s->next_sentence = objective == PLM_LEARN_MASKED && columns == 2;
	if (objective == PLM_LEARN_MASKED && s->next_sentence != (columns == 2))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 s->next_sentence ?
				 errmsg("next-sentence prediction needs a corpus of two columns") :
				 errmsg("a corpus of two columns is for next-sentence prediction"),
				 errhint("The second column is the text that follows the first.")));
	if (s->validation_query != NULL)
	{
		plmpg_query_check(plmpg_train_spec(objective, true), cstring_to_text(s->validation_query), &held_columns, NULL);
		if (objective == PLM_LEARN_MASKED && held_columns != columns)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("the validation query has %d column(s), the corpus %d", held_columns, columns),
					 errhint("Both must yield texts of the same kind.")));
	}
	if (s->canaries != NULL)
		plmpg_query_check(&plmpg_canaries_spec, cstring_to_text(s->canaries), NULL, NULL);
	s->engine.multi_label = s->multi_label == 1;
	s->engine.next_sentence = s->next_sentence == 1;
}

/* ---- labels ---- */

static int
by_bytes(const void *a, const void *b)
{
	const PlmText *x = a;
	const PlmText *y = b;
	int			order = memcmp(x->data, y->data, Min(x->len, y->len));

	return order != 0 ? order : x->len < y->len ? -1 : x->len > y->len;
}

int
plmpg_label_find(const PlmpgLabels *labels, PlmText name)
{
	const PlmText *found = bsearch(&name, labels->names, labels->n, sizeof(PlmText), by_bytes);

	return found == NULL ? -1 : (int) (found - labels->names);
}

/* The labels of a row, UTF-8. */
static PlmText *
row_labels(const PlmpgQuery *q, bool multi, int *n)
{
	PlmpgTexts	texts = plmpg_texts(DatumGetArrayTypeP(q->values[1]));
	PlmText    *names = palloc(Max(texts.n, 1) * sizeof(PlmText));

	for (int i = 0; i < texts.n; i++)
	{
		if (texts.nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("row " INT64_FORMAT " of the %s has a null label", q->row, q->spec->what),
					 errhint("Leave such rows out with WHERE .. IS NOT NULL, such elements with array_remove(.., NULL).")));
		names[i] = plmpg_utf8(DatumGetTextPP(texts.values[i]));
		if (names[i].len == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("row " INT64_FORMAT " of the %s has an empty label", q->row, q->spec->what),
					 errhint("A label is a name; give it one, or leave such rows out.")));
	}
	if (!multi && texts.n != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("row " INT64_FORMAT " of the %s has %d labels", q->row, q->spec->what, texts.n),
				 errhint("Set option \"multi_label\" for texts of several labels, or none.")));
	*n = texts.n;
	return names;
}

/* What the first reading finds. */
typedef struct Survey
{
	PlmpgTrainRun *run;
	int			room;
	double		low;
	double		high;
} Survey;

/* Insert into the sorted list. */
static void
add_label(Survey *survey, PlmText name)
{
	PlmpgLabels *labels = &survey->run->labels;
	int			low = 0,
				high = labels->n;

	while (low < high)
	{
		int			middle = (low + high) / 2;
		int			order = by_bytes(&labels->names[middle], &name);

		if (order == 0)
			return;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (labels->n == PLM_MAX_LABELS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the examples have more than %d different labels", PLM_MAX_LABELS),
				 errhint("A label names one of a few classes; for many, use task 'retrieval'.")));
	if (labels->n == survey->room)
	{
		survey->room = Max(16, survey->room * 2);
		labels->names = labels->names == NULL ?
			MemoryContextAlloc(survey->run->context, survey->room * sizeof(PlmText)) :
			repalloc(labels->names, survey->room * sizeof(PlmText));
	}
	memmove(&labels->names[low + 1], &labels->names[low], (labels->n - low) * sizeof(PlmText));
	labels->names[low] = (PlmText) {MemoryContextAlloc(survey->run->context, name.len), name.len};
	memcpy((char *) labels->names[low].data, name.data, name.len);
	labels->n++;
}

static void
survey_row(Survey *survey, const PlmpgQuery *q)
{
	PlmpgTrainRun *run = survey->run;

	if (run->objective == PLM_LEARN_CLASSES)
	{
		int			n;
		PlmText    *names = row_labels(q, run->settings.engine.multi_label, &n);

		for (int i = 0; i < n; i++)
			add_label(survey, names[i]);
	}
	else
	{
		double		x = DatumGetFloat8(q->values[2]);

		if (!isfinite(x))
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("row " INT64_FORMAT " of the %s has a %s that is not finite", q->row, q->spec->what,
							q->spec->columns[2].name),
					 errhint("Leave such rows out.")));
		survey->low = q->row == 1 ? x : Min(survey->low, x);
		survey->high = q->row == 1 ? x : Max(survey->high, x);
	}
}

/* Grades are from 0 up, scores from 0 up or from -1 to 1; what goes beyond 1 is divided by the largest. */
static void
settle_scale(Survey *survey, const char *name)
{
	PlmpgTrainRun *run = survey->run;
	bool		signed_scores = run->objective == PLM_LEARN_SIMILARITY && survey->low >= -1 && survey->high <= 1;

	if (survey->low < 0 && !signed_scores)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("a %s of %g is less than 0", name, survey->low),
				 run->objective == PLM_LEARN_SIMILARITY ? errhint("Scores are cosines from -1 to 1, or from 0 up.") :
				 errhint("Grades go from 0, does not answer the query, up.")));
	run->scale = survey->high > 1 ? survey->high : 1;
}

static void
survey_rows(PlmpgTrainRun *run)
{
	PlmpgQuerySpec spec = *plmpg_train_spec(run->objective, false);
	Survey		survey = {.run = run};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "product_llm example", ALLOCSET_DEFAULT_SIZES);
	PlmpgQuery *q;
	MemoryContext old;

	spec.mixed = false;
	q = plmpg_query_open(&spec, cstring_to_text(run->query));
	old = MemoryContextSwitchTo(context);
	while (plmpg_query_next(q))
	{
		survey_row(&survey, q);
		MemoryContextReset(context);
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	if (q->row == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("the query of the examples yields no rows"),
				 errhint("Run it by itself to see what it yields; row-level security may hide rows.")));
	plmpg_query_close(q);
	if (run->objective != PLM_LEARN_CLASSES)
		settle_scale(&survey, spec.columns[2].name);
	else if (run->labels.n < 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 run->labels.n == 1 ?
				 errmsg("all examples have one label, \"%s\"", text_to_cstring(plmpg_text(run->labels.names[0]))) :
				 errmsg("no example has a label"),
				 errhint("There is something to learn from two labels on.")));
}

/* ---- distillation ---- */

#define TEACHER_BATCH 256

/* Texts that wait for the teacher's vectors. */
typedef struct Pupils
{
	const PlmpgModel *teacher;	/* NULL: there is none */
	int			n;
	PlmInput	inputs[TEACHER_BATCH];
	PlmExamples *to[TEACHER_BATCH];
	MemoryContext context;		/* of the texts */
} Pupils;

static void
teach(Pupils *pupils)
{
	int64		d = pupils->teacher->config->dimensions;
	float	   *vectors;

	if (pupils->n == 0)
		return;
	vectors = palloc(pupils->n * d * sizeof(float));
	plmpg_embed(pupils->teacher, pupils->n, pupils->inputs, PLM_KIND_DOCUMENT, vectors);
	for (int i = 0; i < pupils->n; i++)
	{
		PlmExample	example = {.text = {pupils->inputs[i].first}, .target = vectors + i * d};
		PlmError	err = {0};

		plmpg_check(plm_examples_add(pupils->to[i], &example, &err), &err);
	}
	pfree(vectors);
	pupils->n = 0;
	MemoryContextReset(pupils->context);
}

static void
add_pupil(Pupils *pupils, PlmExamples *to, PlmText text)
{
	char	   *copy = MemoryContextAllocHuge(pupils->context, Max(text.len, 1));

	memcpy(copy, text.data, text.len);
	pupils->inputs[pupils->n] = (PlmInput) {.first = {copy, text.len}};
	pupils->to[pupils->n++] = to;
	if (pupils->n == TEACHER_BATCH)
		teach(pupils);
}

/* ---- rows ---- */

/* A number in [0, 1) that depends on the text alone: the end of its md5, for a caller's own split goes by the beginning. */
static double
place_of(Datum value)
{
	char		hex[9] = "";
	char	   *md5 = TextDatumGetCString(DirectFunctionCall1(md5_text, value));

	memcpy(hex, md5 + 24, 8);
	return (double) strtoul(hex, NULL, 16) / 4294967296.0;
}

/* Numbers of the row's classes, ascending, each once. */
static int32_t *
label_numbers(const PlmpgTrainRun *run, const PlmpgQuery *q, int *n)
{
	PlmText    *names = row_labels(q, run->settings.engine.multi_label, n);
	int32_t    *numbers = palloc(Max(*n, 1) * sizeof(int32_t));
	int			kept = 0;

	qsort(names, *n, sizeof(PlmText), by_bytes);
	for (int i = 0; i < *n; i++)
	{
		int			number = plmpg_label_find(&run->labels, names[i]);

		if (number < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("label \"%s\" in row " INT64_FORMAT " of the %s is none of the examples'",
							text_to_cstring(plmpg_text(names[i])), q->row, q->spec->what),
					 errhint("A model can only say labels that it has seen: leave such rows out, or add examples of them.")));
		if (kept == 0 || numbers[kept - 1] != number)
			numbers[kept++] = number;
	}
	*n = kept;
	return numbers;
}

static void
add_row(PlmpgTrainRun *run, const PlmpgQuery *q, PlmExamples *to, Pupils *pupils)
{
	PlmExample	example = {0};
	PlmError	err = {0};
	int			texts = 0;

	for (int i = 0; i < q->columns && i < 3; i++)
		if (q->spec->columns[i].kind == PLMPG_COLUMN_TEXT && !q->nulls[i])
			example.text[texts++] = plmpg_utf8(DatumGetTextPP(q->values[i]));
	if (run->objective == PLM_LEARN_CLASSES)
		example.labels = label_numbers(run, q, &example.n_labels);
	if (q->columns == 3 && q->spec->columns[2].kind == PLMPG_COLUMN_NUMBER)
	{
		example.number = DatumGetFloat8(q->values[2]) / run->scale;
		if (!(example.number >= -1 && example.number <= 1))
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("the %s in row " INT64_FORMAT " of the %s is beyond those of the examples", q->spec->columns[2].name,
							q->row, q->spec->what),
					 errhint("Both queries must use the same scale.")));
	}
	if (pupils->teacher != NULL)
		add_pupil(pupils, to, example.text[0]);
	else
		plmpg_check(plm_examples_add(to, &example, &err), &err);
}

static PlmExamples *
new_examples(PlmpgTrainRun *run, const Pupils *pupils)
{
	const PlmTrainOptions *o = &run->settings.engine;
	PlmExamples *out = NULL;
	PlmError	err = {0};

	plmpg_check(plm_examples_init(run->objective, run->objective == PLM_LEARN_MASKED && o->next_sentence, &run->tokenizer, o->max_tokens,
								  pupils->teacher != NULL ? pupils->teacher->config->dimensions : 0, &run->hook, o->memory_limit,
								  &out, &err), &err);
	return out;
}

/* Rows of one query; those whose first text falls into the share go to held_out. */
static void
read_rows(PlmpgTrainRun *run, const char *query, bool validation, PlmExamples *to, double share, PlmExamples *held_out, Pupils *pupils)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "product_llm example", ALLOCSET_DEFAULT_SIZES);
	PlmpgQuery *q = plmpg_query_open(plmpg_train_spec(run->objective, validation), cstring_to_text(query));
	MemoryContext old = MemoryContextSwitchTo(context);

	while (plmpg_query_next(q))
	{
		bool		held = share > 0 && place_of(q->values[0]) < share;

		add_row(run, q, held ? held_out : to, pupils);
		MemoryContextReset(context);
		CHECK_FOR_INTERRUPTS();
	}
	if (pupils->teacher != NULL)
		teach(pupils);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	plmpg_query_close(q);
}

static void
require_rows(const PlmExamples *examples, const char *what)
{
	if (plm_examples_count(examples) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("the %s no rows to learn from", what),
				 errhint("Run the query by itself to see what it yields; option \"validation\" says which share is held out.")));
}

static void
note_query(PlmpgTrainRun *run, const PlmpgQuerySpec *spec, const char *query, List **names)
{
	bool		more;

	if (query == NULL)
		return;
	*names = list_concat(*names, plmpg_query_reads(spec, query, &more));
	run->reads_more = run->reads_more || more;
}

/* What the queries read, for those who ask later which models have seen a table. */
static void
note_reads(PlmpgTrainRun *run)
{
	List	   *names = NIL;
	MemoryContext old;

	run->reads_more = false;
	note_query(run, plmpg_train_spec(run->objective, false), run->query, &names);
	note_query(run, plmpg_train_spec(run->objective, true), run->settings.validation_query, &names);
	note_query(run, &plmpg_canaries_spec, run->settings.canaries, &names);
	old = MemoryContextSwitchTo(run->context);
	run->reads = plmpg_reads_array(names);
	MemoryContextSwitchTo(old);
}

void
plmpg_train_read_examples(PlmpgTrainRun *run)
{
	const PlmpgTrainSettings *s = &run->settings;
	Pupils	   *pupils = palloc0(sizeof(Pupils));

	if (s->teacher != NULL)
	{
		pupils->teacher = plmpg_model_get(cstring_to_text(s->teacher));
		plmpg_require_weights(pupils->teacher);
		pupils->context = AllocSetContextCreate(CurrentMemoryContext, "product_llm pupils", ALLOCSET_DEFAULT_SIZES);
	}
	run->scale = 1;
	note_reads(run);
	if (s->canaries != NULL)
		plmpg_canaries_read(run);
	if (run->objective == PLM_LEARN_CLASSES || run->objective == PLM_LEARN_RANKING || run->objective == PLM_LEARN_SIMILARITY)
		survey_rows(run);
	run->examples = new_examples(run, pupils);
	if (s->validation > 0 || s->validation_query != NULL)
		run->held_out = new_examples(run, pupils);
	read_rows(run, run->query, false, run->examples, s->validation, run->held_out, pupils);
	require_rows(run->examples, run->held_out != NULL && plm_examples_count(run->held_out) > 0 ?
				 "examples are all held out: there are" : "query of the examples yields");
	if (s->validation_query != NULL)
	{
		read_rows(run, s->validation_query, true, run->held_out, 0, NULL, pupils);
		require_rows(run->held_out, "validation query yields");
	}
	if (run->held_out != NULL && plm_examples_count(run->held_out) == 0)
	{
		plm_examples_free(run->held_out);
		run->held_out = NULL;
	}
}
