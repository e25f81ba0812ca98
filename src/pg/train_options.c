/*
 * train_options.c -- options of a training between jsonb and C: one table says what there is.
 */
#include "training.h"

#include <float.h>
#include <math.h>

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/varlena.h"

typedef enum OptionKind
{
	OPTION_INT,					/* int32_t */
	OPTION_LONG,				/* int64_t or uint64_t */
	OPTION_REAL,				/* double */
	OPTION_GIVEN,				/* double above 0; 0 until it is given */
	OPTION_BOOL,				/* bool */
	OPTION_MAYBE,				/* int32: 0, 1, PLMPG_AS_EXAMPLES */
	OPTION_CHOICE,				/* int32 or an enum: place in the choices */
	OPTION_TEXT,				/* char * */
	OPTION_WIDTHS,				/* int32_t[4], 0 ends */
	OPTION_MEMORY				/* int32 of kB: a number, or text with a unit */
} OptionKind;

/* Bits of the objectives that an option is for. */
#define FOR(objective) (1 << (objective))
#define FOR_ALL ((1 << PLM_OBJECTIVES) - 1)
#define MASKED FOR(PLM_LEARN_MASKED)
#define CLASSES FOR(PLM_LEARN_CLASSES)
#define RETRIEVAL FOR(PLM_LEARN_RETRIEVAL)

typedef struct OptionSpec
{
	const char *name;
	OptionKind	kind;
	size_t		at;
	double		low;
	double		high;
	uint32		objectives;
	const char *const *choices;
} OptionSpec;

static const char *const schedules[] = {
	[PLM_SCHEDULE_LINEAR] = "linear", [PLM_SCHEDULE_COSINE] = "cosine", [PLM_SCHEDULE_CONSTANT] = "constant", NULL
};
static const char *const precisions[] = {"f32", "f16", NULL};

#define AT(field) offsetof(PlmpgTrainSettings, field)
#define WHOLE 9007199254740992.0	/* the largest integer that JSON readers agree on */

static const OptionSpec specs[] = {
	{"seed", OPTION_LONG, AT(engine.seed), 0, WHOLE, FOR_ALL},
	{"steps", OPTION_LONG, AT(engine.steps), 0, 1e12, FOR_ALL},
	{"epochs", OPTION_REAL, AT(engine.epochs), 0, 1e6, FOR_ALL},
	{"batch", OPTION_INT, AT(engine.batch), 1, 1 << 20, FOR_ALL},
	{"max_tokens", OPTION_INT, AT(engine.max_tokens), 0, 1 << 20, FOR_ALL},
	{"learning_rate", OPTION_REAL, AT(engine.learning_rate), 0, 10, FOR_ALL},
	{"schedule", OPTION_CHOICE, AT(engine.schedule), 0, 0, FOR_ALL, schedules},
	{"warmup", OPTION_REAL, AT(engine.warmup), 0, 1, FOR_ALL},
	{"weight_decay", OPTION_REAL, AT(engine.weight_decay), 0, 10, FOR_ALL},
	{"beta1", OPTION_REAL, AT(engine.beta1), 0, 0.99999999, FOR_ALL},
	{"beta2", OPTION_REAL, AT(engine.beta2), 0, 0.99999999, FOR_ALL},
	{"epsilon", OPTION_REAL, AT(engine.epsilon), 1e-20, 1, FOR_ALL},
	{"clip", OPTION_REAL, AT(engine.clip), 0, 1e9, FOR_ALL},
	{"dropout", OPTION_REAL, AT(engine.dropout), 0, 0.9, FOR_ALL},
	{"frozen_layers", OPTION_INT, AT(engine.frozen_layers), -1, 1000, FOR_ALL},
	{"lora_rank", OPTION_INT, AT(engine.lora_rank), 0, 4096, FOR_ALL},
	{"lora_alpha", OPTION_REAL, AT(engine.lora_alpha), 0, 1e6, FOR_ALL},
	{"mask_rate", OPTION_REAL, AT(engine.mask_rate), 0.001, 0.9, MASKED},
	{"next_sentence", OPTION_MAYBE, AT(next_sentence), 0, 0, MASKED},
	{"multi_label", OPTION_MAYBE, AT(multi_label), 0, 0, CLASSES},
	{"class_weights", OPTION_BOOL, AT(engine.class_weights), 0, 0, CLASSES},
	{"privacy_epsilon", OPTION_GIVEN, AT(engine.privacy_epsilon), 1e-3, 1e3, CLASSES},
	{"privacy_delta", OPTION_GIVEN, AT(engine.privacy_delta), 1e-100, 0.5, CLASSES},
	{"privacy_clip", OPTION_GIVEN, AT(engine.privacy_clip), 1e-9, 1e9, CLASSES},
	{"temperature", OPTION_REAL, AT(engine.temperature), 1e-4, 100, RETRIEVAL},
	{"symmetric", OPTION_BOOL, AT(engine.symmetric), 0, 0, RETRIEVAL},
	{"matryoshka", OPTION_WIDTHS, AT(engine.matryoshka), 1, 1 << 16, RETRIEVAL},
	{"word_vectors", OPTION_BOOL, AT(engine.word_vectors), 0, 0, RETRIEVAL | FOR(PLM_LEARN_SIMILARITY) | FOR(PLM_LEARN_DISTILLED)},
	{"hard_negatives", OPTION_INT, AT(engine.hard_negatives), 0, 64, RETRIEVAL},
	{"validation", OPTION_REAL, AT(validation), 0, 0.9, FOR_ALL},
	{"validation_query", OPTION_TEXT, AT(validation_query), 0, 0, FOR_ALL},
	{"canaries", OPTION_TEXT, AT(canaries), 0, 0, MASKED},
	{"evaluate_every", OPTION_INT, AT(evaluate_every), 0, INT32_MAX, FOR_ALL},
	{"checkpoint_every", OPTION_REAL, AT(checkpoint_every), 0, 1e9, FOR_ALL},
	{"early_stopping", OPTION_INT, AT(early_stopping), 0, 1000000, FOR_ALL},
	{"precision", OPTION_CHOICE, AT(precision), 0, 0, FOR_ALL, precisions},
	{"background", OPTION_BOOL, AT(background), 0, 0, FOR_ALL},
	{"teacher", OPTION_TEXT, AT(teacher), 0, 0, FOR(PLM_LEARN_DISTILLED)},
	{"tokenizer", OPTION_TEXT, AT(tokenizer), 0, 0, FOR_ALL},
	{"memory_limit", OPTION_MEMORY, AT(memory_kb), 0, INT32_MAX, FOR_ALL},
	{"threads", OPTION_INT, AT(threads), 0, 1024, FOR_ALL},
	{"width", OPTION_INT, AT(shape.width), 1, 1 << 14, FOR_ALL},
	{"layers", OPTION_INT, AT(shape.layers), 1, 256, FOR_ALL},
	{"heads", OPTION_INT, AT(shape.heads), 1, 1024, FOR_ALL},
	{"ff", OPTION_INT, AT(shape.ff), 1, 1 << 16, FOR_ALL},
	{"positions", OPTION_INT, AT(shape.positions), 8, 1 << 16, FOR_ALL},
};

/* ---- errors ---- */

/* The name that the caller may have meant, or NULL. */
static const char *
nearest_name(PlmObjective objective, const char *name)
{
	const char *best = NULL;
	int			least = 4;
	int			len = (int) strlen(name);

	if (len > 100)
		return NULL;
	for (size_t i = 0; i < lengthof(specs); i++)
	{
		int			most = Min(least - 1, Max(1, len / 3));
		int			distance;

		if ((specs[i].objectives & FOR(objective)) == 0)
			continue;
		distance = varstr_levenshtein_less_equal(name, len, specs[i].name, (int) strlen(specs[i].name), 1, 1, 1, most, true);
		if (distance <= most)
		{
			best = specs[i].name;
			least = distance;
		}
	}
	return best;
}

static void
unknown_option(PlmObjective objective, const char *name)
{
	const char *meant = nearest_name(objective, name);
	StringInfoData all;

	initStringInfo(&all);
	for (size_t i = 0; i < lengthof(specs); i++)
		if ((specs[i].objectives & FOR(objective)) != 0)
			appendStringInfo(&all, "%s%s", all.len > 0 ? ", " : "", specs[i].name);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown option \"%s\" of task %s", name, plm_objective_name(objective)),
			 meant != NULL ? errhint("Did you mean \"%s\"?", meant) : errhint("There are: %s.", all.data)));
}

static void
wrong_type(const OptionSpec *spec, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" must be %s", spec->name, wanted),
			 errhint("Leave it out for the default, which serves most trainings.")));
}

static void
out_of_range(const OptionSpec *spec, double value)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" must be between %.10g and %.10g, not %.10g", spec->name, spec->low, spec->high, value),
			 errhint("Leave it out for the default, which serves most trainings.")));
}

/* ---- from jsonb ---- */

static double
number(const OptionSpec *spec, const JsonbValue *v, bool whole)
{
	double		x;

	if (v->type != jbvNumeric)
		wrong_type(spec, whole ? "an integer" : "a number");
	x = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(v->val.numeric)));
	if (whole && x != floor(x))
		wrong_type(spec, "an integer");
	if (!(x >= spec->low && x <= spec->high))
		out_of_range(spec, x);
	return x;
}

static char *
string(const OptionSpec *spec, const JsonbValue *v)
{
	if (v->type != jbvString)
		wrong_type(spec, "a string");
	return pnstrdup(v->val.string.val, v->val.string.len);
}

static int32
choice(const OptionSpec *spec, const JsonbValue *v)
{
	char	   *s = string(spec, v);
	StringInfoData all;

	initStringInfo(&all);
	for (int i = 0; spec->choices[i] != NULL; i++)
	{
		if (strcmp(spec->choices[i], s) == 0)
			return i;
		appendStringInfo(&all, "%s'%s'", i > 0 ? ", " : "", spec->choices[i]);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown %s \"%s\"", spec->name, s),
			 errhint("Use one of %s.", all.data)));
}

static void
set_widths(const OptionSpec *spec, JsonbValue *v, int32_t widths[4])
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	element;
	int			n = 0;

	if (v->type != jbvBinary || !JsonContainerIsArray(v->val.binary.data))
		wrong_type(spec, "an array of integers");
	memset(widths, 0, 4 * sizeof(int32_t));
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		if (n == 4)
			wrong_type(spec, "an array of at most four integers");
		widths[n++] = (int32_t) number(spec, &element, true);
	}
}

static int32
memory(const OptionSpec *spec, const JsonbValue *v)
{
	int			kb;
	const char *hint = NULL;

	if (v->type == jbvNumeric)
		return (int32) number(spec, v, true);
	if (!parse_int(string(spec, v), &kb, GUC_UNIT_KB, &hint) || kb < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be a size such as '2GB'", spec->name),
				 hint != NULL ? errhint("%s", hint) : errhint("Units are \"B\", \"kB\", \"MB\", \"GB\" and \"TB\"; a number alone is kB.")));
	return kb;
}

static void
set_option(const OptionSpec *spec, JsonbValue *v, PlmpgTrainSettings *out)
{
	void	   *to = (char *) out + spec->at;

	switch (spec->kind)
	{
		case OPTION_INT:
			*(int32 *) to = (int32) number(spec, v, true);
			break;
		case OPTION_LONG:
			*(int64 *) to = (int64) number(spec, v, true);
			break;
		case OPTION_REAL:
		case OPTION_GIVEN:
			*(double *) to = number(spec, v, false);
			break;
		case OPTION_BOOL:
		case OPTION_MAYBE:
			if (v->type != jbvBool)
				wrong_type(spec, "true or false");
			if (spec->kind == OPTION_BOOL)
				*(bool *) to = v->val.boolean;
			else
				*(int32 *) to = v->val.boolean;
			break;
		case OPTION_CHOICE:
			*(int32 *) to = choice(spec, v);
			break;
		case OPTION_TEXT:
			*(char **) to = string(spec, v);
			break;
		case OPTION_WIDTHS:
			set_widths(spec, v, to);
			break;
		case OPTION_MEMORY:
			*(int32 *) to = memory(spec, v);
			break;
	}
}

static void
set_defaults(PlmObjective objective, PlmpgTrainSettings *out)
{
	memset(out, 0, sizeof(*out));
	plm_train_defaults(objective, &out->engine);
	out->engine.objective = objective;
	out->engine.seed = out->engine.seed != 0 ? out->engine.seed : 1;
	out->multi_label = out->next_sentence = PLMPG_AS_EXAMPLES;
	out->validation = 0.05;
	out->checkpoint_every = 60;
	out->precision = 1;
	out->shape = (PlmShape) {.width = 256, .layers = 4, .heads = 4, .ff = 1024, .positions = 256};
}

/*
 * Held-out figures choose the weights, which tells of the held-out rows.  A share of the rows is not trained on, whatever the other rows
 * are, so that trained rows stay as private as they are; a query may yield trained ones.
 */
static void
settle_privacy(PlmpgTrainSettings *s)
{
	if (s->engine.privacy_epsilon == 0)
		return;
	if (s->engine.privacy_delta == 0)
		s->engine.privacy_delta = 1e-5;
	if (s->engine.privacy_clip == 0)
		s->engine.privacy_clip = 1;
	if (s->validation_query != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a private training takes no validation query"),
				 errhint("Its rows might be among the trained ones.  Use option \"validation\", and evaluate() afterwards.")));
}

/* What the engine says, before anything has begun. */
static void
check_together(PlmpgTrainSettings *s, bool validation_given)
{
	PlmError	err = {0};

	if (s->validation_query != NULL)
	{
		if (validation_given && s->validation > 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("options \"validation\" and \"validation_query\" exclude each other"),
					 errhint("The query takes the place of the share.")));
		s->validation = 0;
	}
	if (s->engine.learning_rate <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"learning_rate\" must be greater than 0"),
				 errhint("Usual values are 0.00005 for a base that has been trained, 0.0005 for one that has not.")));
	if (s->engine.objective == PLM_LEARN_DISTILLED && s->teacher == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("distillation needs a teacher"),
				 errhint("Name a model in option \"teacher\".")));
	settle_privacy(s);
	s->engine.hook = &plm_libc_hook;	/* the run's takes its place */
	plmpg_check(plm_train_check(&s->engine, &err), &err);
}

void
plmpg_train_options(PlmObjective objective, Jsonb *options, PlmpgTrainSettings *out)
{
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;
	bool		validation_given = false;

	set_defaults(objective, out);
	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object"),
				 errhint("For example '{\"epochs\": 3}'.")));
	it = JsonbIteratorInit(&options->root);
	(void) JsonbIteratorNext(&it, &key, false);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		char	   *name = pnstrdup(key.val.string.val, key.val.string.len);
		const OptionSpec *spec = NULL;

		(void) JsonbIteratorNext(&it, &value, true);
		for (size_t i = 0; i < lengthof(specs); i++)
			if (strcmp(specs[i].name, name) == 0 && (specs[i].objectives & FOR(objective)) != 0)
				spec = &specs[i];
		if (spec == NULL)
			unknown_option(objective, name);
		if (value.type == jbvNull)
			continue;
		set_option(spec, &value, out);
		validation_given |= spec->at == AT(validation);
	}
	check_together(out, validation_given);
}

/* ---- to jsonb ---- */

/* The shortest of the usual forms that reads back as the same number. */
static void
append_real(StringInfo s, double x)
{
	char		short_form[32];

	snprintf(short_form, sizeof(short_form), "%.15g", x);
	appendStringInfo(s, strtod(short_form, NULL) == x ? "%.15g" : "%.17g", x);
}

/* The option's value as JSON; false: not set. */
static bool
append_value(StringInfo s, const OptionSpec *spec, const PlmpgTrainSettings *settings)
{
	const void *from = (const char *) settings + spec->at;

	switch (spec->kind)
	{
		case OPTION_INT:
		case OPTION_MEMORY:
			appendStringInfo(s, "%d", *(const int32 *) from);
			break;
		case OPTION_LONG:
			appendStringInfo(s, INT64_FORMAT, *(const int64 *) from);
			break;
		case OPTION_GIVEN:
			if (*(const double *) from == 0)
				return false;
			append_real(s, *(const double *) from);
			break;
		case OPTION_REAL:
			append_real(s, *(const double *) from);
			break;
		case OPTION_BOOL:
			appendStringInfoString(s, *(const bool *) from ? "true" : "false");
			break;
		case OPTION_MAYBE:
			if (*(const int32 *) from == PLMPG_AS_EXAMPLES)
				return false;
			appendStringInfoString(s, *(const int32 *) from ? "true" : "false");
			break;
		case OPTION_CHOICE:
			escape_json(s, spec->choices[*(const int32 *) from]);
			break;
		case OPTION_TEXT:
			if (*(char *const *) from == NULL)
				return false;
			escape_json(s, *(char *const *) from);
			break;
		case OPTION_WIDTHS:
			appendStringInfoChar(s, '[');
			for (int i = 0; i < 4 && ((const int32_t *) from)[i] != 0; i++)
				appendStringInfo(s, "%s%d", i > 0 ? ", " : "", ((const int32_t *) from)[i]);
			appendStringInfoChar(s, ']');
			break;
	}
	return true;
}

Datum
plmpg_train_resolved(PlmObjective objective, const PlmpgTrainSettings *settings)
{
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfoChar(&s, '{');
	for (size_t i = 0; i < lengthof(specs); i++)
	{
		int			before = s.len;

		if ((specs[i].objectives & FOR(objective)) == 0)
			continue;
		if (s.len > 1)
			appendStringInfoString(&s, ", ");
		escape_json(&s, specs[i].name);
		appendStringInfoString(&s, ": ");
		if (!append_value(&s, &specs[i], settings))
		{
			s.len = before;
			s.data[before] = '\0';
		}
	}
	appendStringInfoChar(&s, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(s.data));
}
