/*
 * test_train_golden.c -- losses, gradients and 20 steps of AdamW against those that PyTorch's autograd gave in double
 * precision (test/golden/training.json, made by make_training.py).
 *
 * The batch of a case is fed in place of the objective's own: a copy of the objective whose prepare() sets the texts.
 */
#include "../../src/engine/train/internal.h"
#include "random_model.h"
#include "unit.h"

#include <jansson.h>
#include <math.h>

#define FIGURES "test/golden/training.json"
#define MODELS "test/golden/models"

#define MOST_STEPS 64

/* fp32 against double: sums of some hundred rounded terms, relative to the parameter's whole gradient. */
#define GRADIENT_ERROR 1e-4
/* A gradient that is 0 by mathematics (the keys' bias: it shifts all scores alike) leaves only rounding, relative to the whole. */
#define ZERO_ERROR 1e-5
/* Differences grow with the steps, most where a loss is nearly 0. */
#define STEP_ERROR 1e-3

typedef struct Golden
{
	const json_t *one;			/* the case */
	PlmObjectiveCode code;
	PlmArena	arena;
	PlmFileSet	files;
	PlmTokenizer tokenizer;
	PlmExamples *examples;
	PlmTrainer *trainer;
	int64_t		n;				/* examples */
	PlmStored  *stored;			/* (n) */
	int64_t		texts;
	PlmSequence *text;			/* (texts) */
	int64_t		targets;
	int64_t    *target_at;
	int32_t    *target_id;
	PlmError	err;
} Golden;

/* The one whose steps are computed: prepare() has no argument for it. */
static Golden *at_hand;

static PlmStatus
golden_prepare(PlmTrainer *t, PlmTexts *x, PlmError *err)
{
	const Golden *g = at_hand;

	x->n = g->texts;
	x->examples = g->n;
	for (int64_t s = 0; s < g->texts; s++)
	{
		/* The file has all first texts, then all second ones; a step has each example's side by side. */
		int64_t		each = g->texts / g->n;

		x->text[s] = g->text[s % each * g->n + s / each];
		x->owner[s] = (int32_t) (s / each);
		x->role[s] = s % each == 0 ? PLM_ROLE_FIRST : PLM_ROLE_SECOND;
	}
	for (int64_t i = 0; i < g->n; i++)
	{
		x->example[i] = &g->stored[i];
		x->number[i] = i;
	}
	x->targets = g->targets;
	x->target_at = g->target_at;
	x->target_id = g->target_id;
	return plm_texts_cut(t, x, err);
}

/* ---- the case as the trainer's own data ---- */

static PlmObjective
objective_of(const char *name)
{
	for (int o = 0; o < PLM_OBJECTIVES; o++)
		if (strcmp(plm_objective_name((PlmObjective) o), name) == 0)
			return (PlmObjective) o;
	return PLM_OBJECTIVES;
}

static int32_t *
integers(Golden *g, const json_t *list)
{
	int32_t    *out = plm_arena_zero(&g->arena, (json_array_size(list) + 1) * sizeof(int32_t));

	for (size_t i = 0; i < json_array_size(list); i++)
		out[i] = (int32_t) json_integer_value(json_array_get(list, i));
	return out;
}

static void
read_texts(Golden *g)
{
	const json_t *ids = json_object_get(g->one, "ids");
	const json_t *types = json_object_get(g->one, "types");

	g->texts = (int64_t) json_array_size(ids);
	g->text = plm_arena_zero(&g->arena, (size_t) g->texts * sizeof(*g->text));
	for (int64_t s = 0; s < g->texts; s++)
	{
		const json_t *list = json_array_get(ids, (size_t) s);
		const int32_t *type = integers(g, json_array_get(types, (size_t) s));
		PlmSequence *q = &g->text[s];

		*q = (PlmSequence) {integers(g, list), (int32_t) json_array_size(list), 0};
		while (q->second < q->n && type[q->second] == 0)
			q->second++;
	}
}

static void
read_targets(Golden *g)
{
	const json_t *places = json_object_get(g->one, "places");
	const json_t *labels = json_object_get(g->one, "labels");
	const json_t *numbers = json_object_get(g->one, "grades");

	numbers = numbers != NULL ? numbers : json_object_get(g->one, "scores");
	g->stored = plm_arena_zero(&g->arena, (size_t) g->n * sizeof(*g->stored));
	for (int64_t i = 0; i < g->n; i++)
	{
		const json_t *list = json_array_get(labels, (size_t) i);

		g->stored[i].text[0] = g->text[i];
		g->stored[i].number = json_number_value(json_array_get(numbers, (size_t) i));
		g->stored[i].labels = integers(g, list);
		g->stored[i].n_labels = (int32_t) json_array_size(list);
	}
	g->targets = (int64_t) json_array_size(places);
	g->target_at = plm_arena_zero(&g->arena, (size_t) (g->targets + 1) * sizeof(int64_t));
	g->target_id = plm_arena_zero(&g->arena, (size_t) (g->targets + 1) * sizeof(int32_t));
	for (int64_t i = 0; i < g->targets; i++)
	{
		const json_t *p = json_array_get(places, (size_t) i);
		int64_t		text = json_integer_value(json_object_get(p, "text"));

		g->target_at[i] = json_integer_value(json_object_get(p, "position"));
		for (int64_t s = 0; s < text; s++)
			g->target_at[i] += g->text[s].n;
		g->target_id[i] = (int32_t) json_integer_value(json_object_get(p, "target"));
	}
}

/* Examples that are only counted: their texts are replaced. */
static PlmStatus
add_examples(Golden *g, PlmTrainOptions *o)
{
	bool		two = g->texts > g->n || o->objective == PLM_LEARN_RANKING;

	PLM_TRY(plm_examples_init(o->objective, false, &g->tokenizer, 32, 0, &plm_libc_hook, 0, &g->examples, &g->err));
	for (int64_t i = 0; i < g->n; i++)
	{
		PlmExample	e = {.number = g->stored[i].number, .labels = g->stored[i].labels, .n_labels = g->stored[i].n_labels};

		e.text[0] = PLM_TEXT("red dress");
		if (two)
			e.text[1] = PLM_TEXT("blue shoe");
		PLM_TRY(plm_examples_add(g->examples, &e, &g->err));
	}
	return PLM_OK;
}

static double
setting(const json_t *all, const char *name)
{
	return json_number_value(json_object_get(json_object_get(all, "adamw"), name));
}

static PlmTrainOptions
options_of(const json_t *all, const Golden *g)
{
	PlmTrainOptions o;

	plm_train_defaults(objective_of(json_string_value(json_object_get(g->one, "objective"))), &o);
	o.batch = (int32_t) g->n;
	o.steps = MOST_STEPS;
	o.learning_rate = setting(all, "learning_rate");
	o.beta1 = setting(all, "beta1"), o.beta2 = setting(all, "beta2"), o.epsilon = setting(all, "epsilon");
	o.weight_decay = setting(all, "weight_decay");
	o.schedule = PLM_SCHEDULE_CONSTANT;
	o.warmup = o.clip = o.dropout = 0;
	o.symmetric = true;
	if (json_object_get(g->one, "temperature") != NULL)
		o.temperature = json_number_value(json_object_get(g->one, "temperature"));
	o.threads = 2;
	o.hook = &plm_libc_hook;
	return o;
}

static PlmStatus
golden_open(Golden *g, const json_t *all, const json_t *one)
{
	char		directory[256];
	PlmTrainBase base = {.files = &g->files};
	PlmTrainOptions o;
	PlmConfig	config;
	PlmText    *labels;
	void	   *blob;
	size_t		bytes;

	memset(g, 0, sizeof(*g));
	g->one = one;
	plm_arena_init(&g->arena, &plm_libc_hook, 0);
	snprintf(directory, sizeof(directory), MODELS "/%s", json_string_value(json_object_get(one, "model")));
	PLM_TRY(plm_directory_open(directory, &g->arena, &g->files, &g->err));
	PLM_TRY(plm_config_read(&g->files, &g->arena, &config, &labels, &g->err));
	PLM_TRY(plm_model_tokenizer_compile(&g->files, &config, &g->arena, &blob, &bytes, &g->err));
	PLM_TRY(plm_tokenizer_open(blob, bytes, &g->tokenizer, &g->err));
	read_texts(g);
	o = options_of(all, &(Golden) {.one = one, .n = g->texts});
	if (o.objective == PLM_LEARN_RETRIEVAL || o.objective == PLM_LEARN_SIMILARITY)
		o.batch = (int32_t) (g->texts / 2);
	g->n = o.batch;
	read_targets(g);
	o.multi_label = o.objective == PLM_LEARN_CLASSES && config.problem == PLM_PROBLEM_MULTI;
	PLM_TRY(add_examples(g, &o));
	base.labels = labels;
	base.n_labels = config.labels;
	PLM_TRY(plm_trainer_open(&base, &o, g->examples, NULL, &g->trainer, &g->err));
	g->code = *g->trainer->code;
	g->code.prepare = golden_prepare;
	g->trainer->code = &g->code;
	return PLM_OK;
}

static void
golden_close(Golden *g)
{
	plm_trainer_close(g->trainer);
	plm_examples_free(g->examples);
	plm_directory_close(&g->files);
	plm_arena_free(&g->arena);
}

/* ---- comparing ---- */

/* By either of the names that files give a parameter, or a tied decoder's bias. */
static const json_t *
wanted(const Golden *g, const PlmParam *p)
{
	const json_t *list = json_object_get(g->one, "gradients");
	const json_t *found = NULL;

	for (int prefixed = 1; prefixed >= 0 && found == NULL; prefixed--)
	{
		char		name[192];

		plm_param_name(&g->trainer->plan, p, prefixed == 1, name, sizeof(name));
		found = json_object_get(list, name);
	}
	return found;
}

static double
norm_of(const float *g, int64_t n)
{
	double		sum = 0;

	for (int64_t i = 0; i < n; i++)
		sum += (double) g[i] * g[i];
	return sqrt(sum);
}

/* Largest error of a parameter's norm and elements, relative to the norm. */
static double
parameter_error(const json_t *want, const float *g, int64_t n)
{
	double		norm = json_number_value(json_array_get(want, 0));
	double		error = fabs(norm_of(g, n) - norm);
	int64_t		at[] = {0, n / 2, n - 1};

	for (size_t i = 0; i < 3; i++)
		error = fmax(error, fabs(g[at[i]] - json_number_value(json_array_get(want, i + 1))));
	return error / norm;
}

/* Worst error of all parameters; zero: of those whose gradient is nothing, relative to the whole gradient. */
static double
gradient_error(const Golden *g, double *zero, size_t *compared, char worst[192])
{
	const PlmTrainer *t = g->trainer;
	double		all = norm_of(t->g, t->n_trained);
	double		most = 0;

	*zero = 0;
	*compared = 0;
	for (int64_t i = 0; i < t->plan.n; i++)
	{
		const PlmParam *p = &t->plan.params[i];
		const float *d = plm_gradient(t, p->section);
		const json_t *want = wanted(g, p);
		int64_t		n = p->rows * p->cols;
		double		error;

		if (d == NULL)
			continue;
		if (want == NULL || json_number_value(json_array_get(want, 0)) < 1e-12)
		{
			*zero = fmax(*zero, norm_of(d + p->at, n) / all);
			*compared += want != NULL;
			continue;
		}
		++*compared;
		error = parameter_error(want, d + p->at, n);
		if (!(error <= most))
		{
			most = error;
			plm_param_name(&t->plan, p, true, worst, 192);
		}
	}
	return most;
}

static void
check_gradient(Golden *g, const char *name)
{
	double		want = json_number_value(json_object_get(g->one, "loss"));
	size_t		count = json_object_size(json_object_get(g->one, "gradients"));
	size_t		compared = 0;
	double		loss = NAN;
	double		error = INFINITY;
	double		zero = INFINITY;
	char		worst[192] = "";
	char		title[128];
	PlmTexts	texts;
	PlmStatus	status = plm_trainer_ready(g->trainer, &g->err);

	if (status == PLM_OK)
		status = plm_texts_of_step(g->trainer, &texts, &g->err);
	if (status == PLM_OK)
		status = plm_trainer_gradient(g->trainer, &texts, &loss, &g->err);
	if (status == PLM_OK)
		error = gradient_error(g, &zero, &compared, worst);
	snprintf(title, sizeof(title), "loss_equals_pytorch_%s", name);
	CHECK(title, status == PLM_OK && fabs(loss - want) <= 1e-4 * fabs(want), "%.9g, not %.9g %s", loss, want, g->err.message);
	snprintf(title, sizeof(title), "gradients_equal_pytorch_%s", name);
	CHECK(title, error <= GRADIENT_ERROR && zero <= ZERO_ERROR && compared == count,
		  "relative error %g at %s, zeros off by %g, %zu of %zu compared", error, worst, zero, compared, count);
	printf("# %s: loss %.2g, gradients %.2g (%s)\n", name, fabs(loss - want) / fabs(want), error, worst);
}

static void
check_steps(Golden *g, const char *name)
{
	const json_t *losses = json_object_get(g->one, "losses");
	double		most = 0;
	size_t		at = 0;
	char		title[128];
	PlmStatus	status = PLM_OK;

	for (size_t i = 0; status == PLM_OK && i < json_array_size(losses); i++)
	{
		double		want = json_number_value(json_array_get(losses, i));
		PlmStep		step;
		double		error;

		status = plm_trainer_step(g->trainer, &step, &g->err);
		error = status == PLM_OK ? fabs(step.loss - want) / fabs(want) : INFINITY;
		if (!(error <= most))
		{
			most = error;
			at = i + 1;
		}
	}
	snprintf(title, sizeof(title), "losses_of_20_steps_equal_pytorch_%s", name);
	CHECK(title, status == PLM_OK && json_array_size(losses) == 20 && most <= STEP_ERROR, "relative error %g at step %zu %s", most,
		  at, g->err.message);
	printf("# %s: losses of steps %.2g (step %zu)\n", name, most, at);
}

int
main(void)
{
	json_error_t error;
	json_t	   *all = json_load_file(FIGURES, 0, &error);
	const json_t *cases = json_object_get(all, "cases");

	CHECK("there_are_golden_cases", json_array_size(cases) > 0, "%s: %s", FIGURES, error.text);
	for (size_t i = 0; i < json_array_size(cases); i++)
	{
		const json_t *one = json_array_get(cases, i);
		char		name[96];
		Golden		g;
		PlmStatus	status = golden_open(&g, all, one);

		at_hand = &g;
		snprintf(name, sizeof(name), "%s_%s", json_string_value(json_object_get(one, "objective")),
				 json_string_value(json_object_get(one, "model")));
		CHECK(name, status == PLM_OK, "%s", g.err.message);
		if (status == PLM_OK)
		{
			check_gradient(&g, name);
			check_steps(&g, name);
		}
		golden_close(&g);
	}
	json_decref(all);
	return unit_done();
}
