/*
 * test_explain.c -- explanations: gradients against central differences, contributions that add up, and a host that gives out.
 */
#include "../../src/engine/model/explain.h"
#include "host.h"
#include "plain_model.h"
#include "random_model.h"
#include "unit.h"

#include <math.h>

/* Of a difference of fp32 values near 1 over twice this step, rounding leaves some 1e-5; a larger one meets more of ReLU's kinks. */
#define DIFFERENCE 0.003
#define GRADIENT_ERROR 0.02
#define COMPLETE 0.01

static const PlmOptions options = {.threads = 1, .hook = &plm_libc_hook};

typedef struct Case
{
	const char *name;
	const char *model_type, *architecture;
	const char *pooling[2];
	const char *problem;		/* of three labels */
	const char *product_llm;
	int32_t		labels;
	int32_t		dense;
	bool		pooler;
	const char *prompt;
	int32_t		layers;			/* 0: two */
} Case;

static const Case cases[] = {
	{"mean", "bert", "BertModel", {"mean_tokens"}, NULL, NULL, 0, 0, false, NULL, 0},
	{"mean_with_prompt", "bert", "BertModel", {"mean_tokens"}, NULL, NULL, 0, 0, false, "a b ", 0},
	{"mean_sqrt", "bert", "BertModel", {"mean_sqrt_len_tokens"}, NULL, NULL, 0, 0, false, NULL, 0},
	{"first", "bert", "BertModel", {"cls_token"}, NULL, NULL, 0, 0, false, NULL, 0},
	{"last", "bert", "BertModel", {"lasttoken"}, NULL, NULL, 0, 0, false, NULL, 0},
	{"largest", "bert", "BertModel", {"max_tokens"}, NULL, NULL, 0, 0, false, NULL, 0},
	{"two_poolings", "bert", "BertModel", {"cls_token", "mean_tokens"}, NULL, NULL, 0, 0, false, NULL, 0},
	{"dense", "bert", "BertModel", {"mean_tokens"}, NULL, NULL, 0, 40, false, NULL, 0},
	{"pooler", "bert", "BertModel", {NULL, 0}, NULL, "{\"pooling\": \"pooler\"}", 0, 0, true, NULL, 0},
	{"distilbert", "distilbert", "DistilBertModel", {"mean_tokens"}, NULL, NULL, 0, 0, false, NULL, 0},
	{"classes", "bert", "BertForSequenceClassification", {NULL, 0}, "single_label_classification", NULL, 3, 0, true, NULL, 0},
	{"many_classes", "bert", "BertForSequenceClassification", {NULL, 0}, "multi_label_classification", NULL, 3, 0, true, NULL, 0},
	{"value", "bert", "BertForSequenceClassification", {NULL, 0}, "regression", NULL, 1, 0, true, NULL, 0},
	{"distilbert_classes", "distilbert", "DistilBertForSequenceClassification", {NULL, 0}, "single_label_classification", NULL, 3, 0, false, NULL, 0},
	{0}
};

/* A model, an explainer, and what is asked of it. */
typedef struct Fixture
{
	RandomModel spec;
	RandomFiles files;
	PlmArena	arena;
	TestModel	opened;
	PlmExplainer *e;
	float	   *along;
	PlmExplainTask task;
	PlmError	err;
} Fixture;

static PlmStatus
fixture_open(Fixture *f, const Case *c)
{
	memset(f, 0, sizeof(*f));
	f->spec = random_model_defaults();
	f->spec.model_type = c->model_type;
	f->spec.architecture = c->architecture;
	f->spec.pooling[0] = c->pooling[0];
	f->spec.pooling[1] = c->pooling[1];
	f->spec.dense[0] = c->dense;
	f->spec.dense_act = "Tanh";
	f->spec.dense_bias = true;
	f->spec.problem = c->problem;
	f->spec.labels = c->labels;
	f->spec.pooler = c->pooler;
	f->spec.product_llm = c->product_llm;
	if (c->layers > 0)
		f->spec.layers = c->layers;
	if (strcmp(c->model_type, "distilbert") == 0)
		f->spec.types = 0;
	plm_arena_init(&f->arena, &plm_libc_hook, 0);
	if (!random_model_files(&f->spec, &f->arena, &f->files))
		return plm_fail(&f->err, PLM_ENOMEM, 0, "no memory for the test's files");
	PLM_TRY(test_model_open(&f->files.set, PLM_PREC_F32, &f->arena, &f->opened, &f->err));
	f->task.input.first = PLM_TEXT("a b c d e");
	f->task.prompt = c->prompt != NULL ? (PlmText) {c->prompt, strlen(c->prompt)} : PLM_TEXT("");
	f->task.label = c->labels > 1 ? 1 : 0;
	if (c->labels == 0)
	{
		PlmInput	other = {.first = PLM_TEXT("c x y")};

		f->along = plm_arena_zero(&f->arena, (size_t) plm_model_config(f->opened.model)->dimensions * sizeof(float));
		PLM_TRY(plm_embed(f->opened.model, 1, &other, PLM_KIND_DOCUMENT, &options, f->along, &f->err));
		f->task.along = f->along;
	}
	return plm_explainer_open(f->opened.model, &options, &f->e, &f->err);
}

static void
fixture_close(Fixture *f)
{
	if (f->e != NULL)
		plm_explainer_close(f->e);
	if (f->opened.model != NULL)
		test_model_close(&f->opened);
	plm_arena_free(&f->arena);
}

/* ---- gradients ---- */

#define STEPS 2
#define TOKENS 6

typedef struct Point
{
	Fixture    *f;
	PlmSteps   *s;
	float	   *sum;			/* (T,C) kept: a run uses them up */
	PlmWorker  *worker;
} Point;

/* The sum of what the head makes of all steps. */
static double
value_at(Point *p, PlmStatus *status)
{
	double		sum = 0;

	memcpy(p->s->sum, p->sum, (size_t) (STEPS * TOKENS * p->f->spec.width) * sizeof(float));
	p->s->n = STEPS;
	*status = plm_steps_run(p->f->e, &p->f->task, &p->f->arena, p->worker, &p->f->err);
	for (int i = 0; i < STEPS; i++)
		sum += p->s->value[i];
	return sum;
}

static double
central(Point *p, float *at)
{
	PlmStatus	status;
	float		keep = *at;
	double		up;
	double		down;

	*at = keep + (float) DIFFERENCE;
	up = value_at(p, &status);
	*at = keep - (float) DIFFERENCE;
	down = value_at(p, &status);
	*at = keep;
	return (up - down) / (2 * DIFFERENCE);
}

/* The worst error of some gradients, relative to the largest of their kind. */
static double
gradients_error(Fixture *f, bool gated, bool equal)
{
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, &plm_libc_hook);
	Point		p = {.f = f, .s = &f->e->steps, .worker = &worker};
	int64_t		T = STEPS * TOKENS;
	int64_t		C = f->spec.width;
	float	   *dx;
	float	   *dgates;
	double		worst = 0;
	double		most = 1e-4;
	PlmStatus	status = plm_steps_fit(f->e, STEPS, TOKENS, gated, &f->err);

	if (status != PLM_OK)
		return INFINITY;
	p.sum = plm_arena_zero(&f->arena, (size_t) (T * C) * sizeof(float));
	dx = plm_arena_zero(&f->arena, (size_t) (T * C) * sizeof(float));
	dgates = plm_arena_zero(&f->arena, (size_t) T * sizeof(float));
	for (int64_t i = 0; i < T * C; i++)
		p.sum[i] = (float) (0.3 * plm_random_normal(5, (uint64_t) i));
	/* First and last are there for certain.  On a path the others have one gate, and the largest of a column needs that. */
	for (int64_t t = 0; t < T; t++)
		p.s->gates[t] = t % TOKENS == 0 || t % TOKENS == TOKENS - 1 ? 1 : equal ? 0.5f
			: (float) (0.2 + 0.7 * plm_random_uniform(6, (uint64_t) t));
	value_at(&p, &status);
	if (status != PLM_OK)
		return INFINITY;
	memcpy(dx, p.s->back.dx, (size_t) (T * C) * sizeof(float));
	memcpy(dgates, p.s->dgates, (size_t) T * sizeof(float));
	for (int64_t i = 0; i < T * C; i++)
		most = fmax(most, fabs(dx[i]));
	for (int64_t i = 0; i < T * C; i += 17)
		worst = fmax(worst, fabs(central(&p, &p.sum[i]) - dx[i]) / most);
	for (int64_t t = 0; gated && t < T; t++)
		most = fmax(most, fabs(dgates[t]));
	for (int64_t t = 0; gated && t < T; t++)
		if (p.s->gates[t] < 1)
			worst = fmax(worst, fabs(central(&p, &p.s->gates[t]) - dgates[t]) / most);
	return worst;
}

static void
check_gradients(Fixture *f, const char *name)
{
	char		label[96];

	for (int gated = 0; gated < 2; gated++)
	{
		double		error = gradients_error(f, gated, strcmp(name, "largest") == 0);

		snprintf(label, sizeof(label), "%s_gradients_equal_differences%s", name, gated ? "_with_gates" : "");
		CHECK(label, error <= GRADIENT_ERROR, "error %g, %s", error, f->err.message);
	}
}

/* ---- contributions ---- */

static double
sum_of(const PlmExplanation *x)
{
	double		sum = 0;

	for (int64_t t = 0; t < x->encoding.n; t++)
		sum += x->contribution[t];
	return sum;
}

/* The number itself, by the functions of inference. */
static double
number(Fixture *f, PlmText first, PlmText second)
{
	const PlmConfig *c = plm_model_config(f->opened.model);
	PlmInput	input = {first, second};
	float		row[256] = {0};
	PlmText		joined = {NULL, 0};

	if (f->task.along != NULL)
	{
		char	   *text = plm_arena_zero(&f->arena, f->task.prompt.len + first.len + 1);

		memcpy(text, f->task.prompt.data, f->task.prompt.len);
		memcpy(text + f->task.prompt.len, first.data, first.len);
		joined = (PlmText) {text, f->task.prompt.len + first.len};
		input.first = joined;
		if (plm_embed(f->opened.model, 1, &input, PLM_KIND_DOCUMENT, &options, row, &f->err) != PLM_OK)
			return NAN;
		return plm_dot(row, f->along, c->dimensions);
	}
	if (plm_logits(f->opened.model, 1, &input, &options, row, &f->err) != PLM_OK)
		return NAN;
	if (c->task == PLM_TASK_RANKING)
		plm_activate((PlmActivation) c->score_activation, row, 1);
	else
		plm_probabilities(f->opened.model, 1, row);
	return row[f->task.label];
}

static void
check_sums(Fixture *f, const char *name, PlmText first, PlmText second)
{
	char		label[96];
	PlmExplanation x;
	PlmText		none = PLM_TEXT("");
	double		value = number(f, first, second);
	double		empty = f->task.second ? number(f, first, none) : number(f, none, second);
	PlmStatus	status;

	f->task.against = PLM_AGAINST_EMPTY;
	status = plm_explain(f->e, &f->task, &options, &f->arena, &x, &f->err);
	snprintf(label, sizeof(label), "%s_against_nothing_adds_up", name);
	CHECK(label, status == PLM_OK && x.error <= COMPLETE && fabs(sum_of(&x) - (value - empty)) <= COMPLETE * fabs(value - empty) + 1e-6,
		  "%g of %g - %g = %g in %d steps, error %g: %s", sum_of(&x), value, empty, value - empty, (int) x.steps, x.error, f->err.message);
	snprintf(label, sizeof(label), "%s_ends_are_the_scores", name);
	CHECK(label, status == PLM_OK && fabs(x.value - value) < 1e-6 && fabs(x.base - empty) < 1e-6, "%g %g, %g %g", x.value, value,
		  x.base, empty);
	f->task.against = PLM_AGAINST_MASK;
	status = plm_explain(f->e, &f->task, &options, &f->arena, &x, &f->err);
	snprintf(label, sizeof(label), "%s_against_masks_adds_up", name);
	CHECK(label, status == PLM_OK && x.error <= COMPLETE && fabs(sum_of(&x) - (x.value - x.base)) <= COMPLETE * fabs(x.value - x.base) + 1e-6,
		  "%g of %g in %d steps, error %g: %s", sum_of(&x), x.value - x.base, (int) x.steps, x.error, f->err.message);
	f->task.against = PLM_AGAINST_EMPTY;
}

static void
check_cases(void)
{
	for (const Case *c = cases; c->name != NULL; c++)
	{
		Fixture		f;
		PlmStatus	status = fixture_open(&f, c);

		CHECK("model_opens", status == PLM_OK, "%s: %s", c->name, f.err.message);
		if (status == PLM_OK)
		{
			check_gradients(&f, c->name);
			check_sums(&f, c->name, f.task.input.first, (PlmText) {NULL, 0});
		}
		fixture_close(&f);
	}
}

/* Both texts of a pair, by a head that sees them together. */
static void
check_pair(void)
{
	static const Case ranking = {"pair", "bert", "BertForSequenceClassification", {NULL}, NULL, NULL, 1, 0, true, NULL, 0};
	Fixture		f;
	PlmExplanation x;
	PlmStatus	status = fixture_open(&f, &ranking);

	if (status == PLM_OK)
	{
		f.task.input.second = PLM_TEXT("c d x y z");
		check_sums(&f, "first_of_pair", f.task.input.first, f.task.input.second);
		f.task.second = true;
		check_sums(&f, "second_of_pair", f.task.input.first, f.task.input.second);
		status = plm_explain(f.e, &f.task, &options, &f.arena, &x, &f.err);
	}
	CHECK("offsets_are_of_their_own_text", status == PLM_OK && x.encoding.n == 13 && x.own[7] == 1 && x.encoding.start[7] == 0 &&
		  x.encoding.start[11] == 8 && x.own[12] == 2 && x.contribution[3] == 0, "%s", f.err.message);
	fixture_close(&f);
}

/* ---- limits ---- */

static void
check_memory(void)
{
	static const Case deep = {"deep", "bert", "BertModel", {"mean_tokens"}, NULL, NULL, 0, 0, false, NULL, 12};
	Fixture		f;
	PlmExplanation x[2];
	PlmOptions	tight = options;
	PlmStatus	status = fixture_open(&f, &deep);
	double		worst = 0;
	bool		again = false;

	f.task.steps = 16;
	f.task.input.first = PLM_TEXT("a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d e f g h i j k l m n o p q r s t u v w x y z");
	if (status == PLM_OK)
		status = plm_explain(f.e, &f.task, &options, &f.arena, &x[0], &f.err);
	/* The least that goes: few steps at a time, and blocks computed again. */
	for (tight.memory_limit = f.e->arena.taken; status == PLM_OK; tight.memory_limit += 4096)
	{
		PlmExplainer *e;
		PlmStatus	one = plm_explainer_open(f.opened.model, &tight, &e, &f.err);

		if (one == PLM_OK)
		{
			one = plm_explain(e, &f.task, &tight, &f.arena, &x[1], &f.err);
			again = !e->steps.full && e->steps.room < 16;
			plm_explainer_close(e);
		}
		if (one == PLM_OK)
			break;
		if (one != PLM_ELIMIT || !f.err.over_arena)
			status = one;
	}
	for (int64_t t = 0; status == PLM_OK && t < x[0].encoding.n; t++)
		worst = fmax(worst, fabs(x[0].contribution[t] - x[1].contribution[t]));
	CHECK("little_memory_changes_nothing", status == PLM_OK && worst == 0 && again, "%g with %zu bytes: %s", worst, tight.memory_limit, f.err.message);
	fixture_close(&f);
}

static void
check_host(void)
{
	Fixture		f;
	Host		host;
	int64_t		refused = 0;
	int64_t		stopped = 0;
	int64_t		leaks = 0;
	PlmStatus	status = fixture_open(&f, &cases[0]);

	for (int64_t give = 0; status == PLM_OK && give < 400; give++)
	{
		PlmOptions	o = options;
		PlmArena	arena;
		PlmExplainer *e = NULL;
		PlmExplanation x;
		PlmStatus	s;
		bool		memory = give % 2 == 0;

		host_init(&host, memory ? give / 2 : -1, memory ? -1 : give / 2);
		o.hook = &host.hook;
		plm_arena_init(&arena, &host.hook, 0);
		s = plm_explainer_open(f.opened.model, &o, &e, &f.err);
		if (s == PLM_OK)
			s = plm_explain(e, &f.task, &o, &arena, &x, &f.err);
		if (s == PLM_OK)
			s = plm_explain_attention(f.opened.model, &f.task, &o, &arena, &x, &f.err);
		refused += s == PLM_ENOMEM;
		stopped += s == PLM_ECANCELLED;
		if (e != NULL)
			plm_explainer_close(e);
		plm_arena_free(&arena);
		leaks += host.held;
	}
	CHECK("each_refusal_is_an_error", refused >= 5 && leaks == 0, "%d refused, %d blocks left", (int) refused, (int) leaks);
	CHECK("each_stop_is_seen", stopped >= 50, "%d stopped", (int) stopped);
	fixture_close(&f);
}

static void
check_refusals(void)
{
	Fixture		f;
	PlmExplanation x;
	PlmStatus	status = fixture_open(&f, &cases[0]);
	char		long_text[400];
	TestModel	small = {.model = NULL};
	PlmExplainer *e = NULL;
	int32_t		mask;

	f.task.input.first = PLM_TEXT(" ");
	if (status == PLM_OK)
		status = plm_explain(f.e, &f.task, &options, &f.arena, &x, &f.err);
	CHECK("no_words_is_an_error", status == PLM_EARG && f.err.hint[0] != '\0', "%d %s", status, f.err.message);
	for (int i = 0; i < 200; i++)
		memcpy(long_text + 2 * i, "a ", 2);
	f.task.input.first = (PlmText) {long_text, sizeof(long_text)};
	status = plm_explain(f.e, &f.task, &options, &f.arena, &x, &f.err);
	CHECK("too_many_tokens_is_an_error", status == PLM_EARG && f.err.hint[0] != '\0', "%d %s", status, f.err.message);
	f.task.truncate = true;
	status = plm_explain(f.e, &f.task, &options, &f.arena, &x, &f.err);
	CHECK("what_is_seen_of_them_is_explained", status == PLM_OK && x.encoding.n == 64 && x.error <= COMPLETE, "%d, error %g: %s", status,
		  x.error, f.err.message);
	f.task.steps = PLM_EXPLAIN_MOST_STEPS + 1;
	status = plm_explain(f.e, &f.task, &options, &f.arena, &x, &f.err);
	CHECK("too_many_steps_is_an_error", status == PLM_EARG, "%d", status);
	f.task.steps = 0;
	mask = f.opened.model->tokenizer.mask;
	f.opened.model->tokenizer.mask = -1;
	f.task.against = PLM_AGAINST_MASK;
	status = plm_explain(f.e, &f.task, &options, &f.arena, &x, &f.err);
	CHECK("no_mask_token_is_an_error", status == PLM_EARG && f.err.hint[0] != '\0', "%d", status);
	f.opened.model->tokenizer.mask = mask;
	f.task.against = PLM_AGAINST_EMPTY;
	f.task.along = NULL;
	status = plm_explain(f.e, &f.task, &options, &f.arena, &x, &f.err);
	CHECK("no_head_is_an_error", status == PLM_EARG, "%d", status);
	status = test_model_open(&f.files.set, PLM_PREC_INT8, &f.arena, &small, &f.err);
	CHECK("int8_opens", status == PLM_OK, "%s", f.err.message);
	status = plm_explainer_open(small.model, &options, &e, &f.err);
	CHECK("int8_is_an_error", status == PLM_EUNSUPPORTED && e == NULL && f.err.hint[0] != '\0', "%d", status);
	test_model_close(&small);
	fixture_close(&f);
}

static void
check_exact(void)
{
	for (const Case *c = cases; c->name != NULL; c++)
	{
		Fixture		f;
		PlmExplanation x;
		PlmStatus	status = fixture_open(&f, c);
		bool		mean = strncmp(c->name, "mean", 4) == 0 || strcmp(c->name, "distilbert") == 0;

		if (status == PLM_OK)
			status = plm_explain_pooling(f.opened.model, &f.task, &options, &f.arena, &x, &f.err);
		if (mean)
			CHECK("mean_is_an_exact_sum", status == PLM_OK && fabs(x.value - number(&f, f.task.input.first, (PlmText) {NULL, 0})) < 1e-6 &&
				  fabs(sum_of(&x) - x.value) < 1e-6, "%s: %g %g %s", c->name, x.value, sum_of(&x), f.err.message);
		else
			CHECK("others_are_no_sum", status == PLM_EUNSUPPORTED && f.err.hint[0] != '\0', "%s: %d", c->name, status);
		fixture_close(&f);
	}
}

/* Attention rollout is what plain loops over whole matrices make of it, read where the head reads. */
static void
check_attention(void)
{
	for (const Case *c = cases; c->name != NULL; c++)
	{
		Fixture		f;
		PlmExplanation x;
		PlmStatus	status = fixture_open(&f, c);
		PlainModel	plain = {&f.spec, &f.files, &f.arena};
		double		worst = 0;
		bool		mean = strncmp(c->name, "mean", 4) == 0 || strcmp(c->name, "distilbert") == 0 || strcmp(c->name, "dense") == 0 ||
			strcmp(c->name, "largest") == 0;

		if (status == PLM_OK)
			status = plm_explain_attention(f.opened.model, &f.task, &options, &f.arena, &x, &f.err);
		if (status == PLM_OK)
		{
			int64_t		n = x.encoding.n;
			double	   *rolled = plain_rollout(&plain, n, x.encoding.ids, x.encoding.types);

			for (int64_t t = 0; t < n; t++)
			{
				double		all = 0;

				for (int64_t i = 0; i < n; i++)
					all += rolled[i * n + t] / (double) n;
				if (strcmp(c->name, "two_poolings") == 0)
					all = (all + rolled[t]) / 2;
				else if (!mean)
					all = rolled[(strcmp(c->name, "last") == 0 ? n - 1 : 0) * n + t];
				worst = fmax(worst, fabs(all - x.contribution[t]));
			}
		}
		CHECK("attention_equals_plain_rollout", status == PLM_OK && worst < 1e-6 && fabs(sum_of(&x) - 1) < 1e-9 && isnan(x.error),
			  "%s: %g, sum %g, %s", c->name, worst, sum_of(&x), f.err.message);
		fixture_close(&f);
	}
}

int
main(void)
{
	check_cases();
	check_pair();
	check_memory();
	check_host();
	check_refusals();
	check_exact();
	check_attention();
	return unit_done();
}
