/*
 * test_model_golden.c -- the engine against figures that an independent implementation gave for the
 * directories under test/golden/models and for the bundled model; and lower precisions against fp32.
 */
#include "random_model.h"
#include "unit.h"

#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <unistd.h>

#define MODELS "test/golden/models"
#define BUNDLED "models/shop-mini"
#define BUNDLED_FIGURES "test/golden/shop-mini-reference.json"

/* What the project promises for fp32, relative to the largest magnitude of the compared vector. */
#define PROMISE 1e-5

static const PlmOptions options = {.threads = 1, .hook = &plm_libc_hook};

typedef struct Golden
{
	PlmFileSet	set;
	PlmArena	arena;
	TestModel	opened;
	PlmError	err;
	json_t	   *cases;
	/* worst of all cases */
	double		hidden, embedding, logits, mask;
	int			wrong_ids;
	int			compared;
} Golden;

static PlmStatus
golden_open(Golden *g, const char *directory, const char *figures, PlmPrecision precision)
{
	json_error_t error;

	memset(g, 0, sizeof(*g));
	plm_arena_init(&g->arena, &plm_libc_hook, 0);
	g->cases = json_load_file(figures, 0, &error);
	if (g->cases == NULL)
		return plm_fail(&g->err, PLM_ENOTFOUND, 0, "%s: %s", figures, error.text);
	PLM_TRY(plm_directory_open(directory, &g->arena, &g->set, &g->err));
	return test_model_open(&g->set, precision, &g->arena, &g->opened, &g->err);
}

static void
golden_close(Golden *g)
{
	if (g->opened.model != NULL)
		test_model_close(&g->opened);
	plm_directory_close(&g->set);
	json_decref(g->cases);
	plm_arena_free(&g->arena);
}

/* |a - want| over the whole vector that a is the start of; a (size), want as many as the list has. */
static double
vector_error(const json_t *want, const float *a, int64_t size)
{
	double		difference = 0;
	double		largest = 0;

	for (int64_t i = 0; i < size; i++)
		largest = fmax(largest, fabs(a[i]));
	for (size_t i = 0; i < json_array_size(want); i++)
	{
		double		d = fabs(a[i] - json_number_value(json_array_get(want, i)));

		difference = isfinite(d) ? fmax(difference, d) : INFINITY;
	}
	return difference / largest;
}

static PlmText
text_of(const json_t *value)
{
	return (PlmText) {json_string_value(value), json_string_length(value)};
}

static PlmInput
input_of(const json_t *one)
{
	const json_t *pair = json_object_get(one, "pair");

	return (PlmInput) {text_of(json_object_get(one, "text")), json_is_string(pair) ? text_of(pair) : (PlmText) {NULL, 0}};
}

static PlmKind
kind_of(const json_t *one)
{
	const char *kind = json_string_value(json_object_get(one, "kind"));

	return kind != NULL && strcmp(kind, "query") == 0 ? PLM_KIND_QUERY : PLM_KIND_DOCUMENT;
}

/* The tokenizer's result for a case, with the prompt of its kind; counts it when it is not the reference's. */
static PlmStatus
encode_case(Golden *g, const json_t *one, PlmEncoding *e)
{
	const PlmConfig *c = plm_model_config(g->opened.model);
	const char *prompt = kind_of(one) == PLM_KIND_QUERY ? c->prompt_query : c->prompt_document;
	const json_t *ids = json_object_get(one, "ids");
	PlmInput	input = input_of(one);
	size_t		len = strlen(prompt) + input.first.len;
	char	   *joined = plm_arena_alloc(&g->arena, len + 1);
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, &plm_libc_hook);
	bool		same;

	memcpy(joined, prompt, strlen(prompt));
	memcpy(joined + strlen(prompt), input.first.data, input.first.len);
	PLM_TRY(plm_encode(plm_model_tokenizer(g->opened.model), (PlmText) {joined, len},
					   input.second.data != NULL ? &input.second : NULL, c->max_tokens, &worker, &g->arena, e, &g->err));
	same = (size_t) e->n == json_array_size(ids);
	for (int64_t i = 0; same && i < e->n; i++)
		same = e->ids[i] == json_integer_value(json_array_get(ids, (size_t) i));
	g->wrong_ids += !same;
	return PLM_OK;
}

static void
compare_hidden(Golden *g, const json_t *one, const PlmEncoding *e, const float *states)
{
	int64_t		C = plm_model_config(g->opened.model)->width;
	const json_t *first = json_object_get(one, "hidden_state_first_token_first_8");
	const json_t *all = json_object_get(one, "hidden");

	for (size_t l = 0; l < json_array_size(first); l++)
		g->hidden = fmax(g->hidden, vector_error(json_array_get(first, l), states + (int64_t) l * e->n * C, C));
	for (size_t l = 0; l < json_array_size(all); l++)
		for (int64_t t = 0; t < e->n; t++)
			g->hidden = fmax(g->hidden, vector_error(json_array_get(json_array_get(all, l), (size_t) t),
													 states + ((int64_t) l * e->n + t) * C, C));
}

static PlmStatus
compare_mask(Golden *g, const json_t *one, const PlmEncoding *e, const float *logits)
{
	const json_t *mask = json_object_get(one, "mlm");
	const json_t *ids = json_object_get(mask, "ids");
	int64_t		V = plm_model_config(g->opened.model)->vocab;
	PlmCandidate found[16];
	PlmEncoding seen;
	int64_t		position;
	int64_t		n;

	g->mask = fmax(g->mask, vector_error(json_object_get(one, "mlm_logits_first_token_first_8"), logits, V));
	if (!json_is_object(mask))
		return PLM_OK;
	position = json_integer_value(json_object_get(mask, "position"));
	g->mask = fmax(g->mask, vector_error(json_object_get(mask, "all_logits"), logits + position * V, V));
	PLM_TRY(plm_fill_mask(g->opened.model, text_of(json_object_get(one, "text")), (int64_t) json_array_size(ids), &options,
						  &g->arena, &seen, &position, found, &n, &g->err));
	for (int64_t i = 0; i < n; i++)
	{
		double		p = json_number_value(json_array_get(json_object_get(mask, "probabilities"), (size_t) i));

		g->wrong_ids += found[i].id != json_integer_value(json_array_get(ids, (size_t) i));
		g->mask = fmax(g->mask, fabs(found[i].probability - p));
	}
	g->wrong_ids += seen.n != e->n || position != json_integer_value(json_object_get(mask, "position"));
	return PLM_OK;
}

/*
 * A single logit is a sum that may cancel to almost nothing, where its own size says nothing about the rounding of
 * its terms: it is held against the largest one of the model's cases.
 */
static double
logits_error(const Golden *g, const json_t *want, const float *a, int64_t labels)
{
	double		largest = 0;

	if (labels > 1)
		return vector_error(want, a, labels);
	for (size_t i = 0; i < json_array_size(g->cases); i++)
		largest = fmax(largest, fabs(json_number_value(json_array_get(json_object_get(json_array_get(g->cases, i),
																				 "logits"), 0))));
	return fabs(a[0] - json_number_value(json_array_get(want, 0))) / largest;
}

/* Embedding and logits through the calls that SQL uses. */
static PlmStatus
compare_heads(Golden *g, const json_t *one)
{
	const PlmConfig *c = plm_model_config(g->opened.model);
	PlmInput	input = input_of(one);
	const json_t *embedding = json_object_get(one, "embedding");
	const json_t *logits = json_object_get(one, "logits");
	float		out[PLM_MAX_LABELS];

	if (json_is_array(embedding))
	{
		PLM_TRY(plm_embed(g->opened.model, 1, &input, kind_of(one), &options, out, &g->err));
		g->wrong_ids += (size_t) c->dimensions != json_array_size(embedding);
		g->embedding = fmax(g->embedding, vector_error(embedding, out, c->dimensions));
		g->compared++;
	}
	if (json_is_array(logits))
	{
		const json_t *probabilities = json_object_get(one, "probabilities");

		PLM_TRY(plm_logits(g->opened.model, 1, &input, &options, out, &g->err));
		g->wrong_ids += (size_t) c->labels != json_array_size(logits);
		g->logits = fmax(g->logits, logits_error(g, logits, out, c->labels));
		if (c->labels == 1 && json_is_number(json_object_get(one, "score")))
		{
			plm_activate((PlmActivation) c->score_activation, out, 1);
			g->logits = fmax(g->logits, fabs(out[0] - json_number_value(json_object_get(one, "score"))));
		}
		else if (json_is_array(probabilities))
		{
			plm_probabilities(g->opened.model, 1, out);
			g->logits = fmax(g->logits, vector_error(probabilities, out, c->labels));
		}
		g->compared++;
	}
	return PLM_OK;
}

static PlmStatus
compare_case(Golden *g, const json_t *one)
{
	const PlmConfig *c = plm_model_config(g->opened.model);
	bool		masks = json_is_array(json_object_get(one, "mlm_logits_first_token_first_8"));
	PlmEncoding e;
	float	   *states;
	float	   *logits = NULL;

	PLM_TRY(encode_case(g, one, &e));
	if (masks)
		logits = plm_arena_array(&g->arena, (size_t) (e.n * c->vocab), sizeof(float));
	PLM_TRY(plm_hidden_states(g->opened.model, &e, &options, &g->arena, &states, NULL, logits, &g->err));
	if (g->wrong_ids == 0)
		compare_hidden(g, one, &e, states);
	if (masks && g->wrong_ids == 0)
		PLM_TRY(compare_mask(g, one, &e, logits));
	return compare_heads(g, one);
}

static void
test_golden(const char *directory, const char *figures, const char *name)
{
	Golden		g;
	char		title[320];
	PlmModelInfo info;
	PlmStatus	status = golden_open(&g, directory, figures, PLM_PREC_F32);

	if (status == PLM_OK)
		status = plm_model_check(&g.set, &g.arena, &info, &g.err);
	for (size_t i = 0; status == PLM_OK && i < json_array_size(g.cases); i++)
	{
		PlmMark		mark = plm_arena_mark(&g.arena);

		status = compare_case(&g, json_array_get(g.cases, i));
		plm_arena_rewind(&g.arena, mark);
	}
	snprintf(title, sizeof(title), "figures_of_%s_are_reached", name);
	CHECK(title, status == PLM_OK && g.wrong_ids == 0 && g.compared > 0 && g.hidden <= PROMISE && g.embedding <= PROMISE &&
		  g.logits <= PROMISE && g.mask <= PROMISE, "status %d (%s), %d cases with other ids, relative errors: hidden %g, "
		  "embedding %g, logits %g, mask %g", status, g.err.message, g.wrong_ids, g.hidden, g.embedding, g.logits, g.mask);
	golden_close(&g);
}

static void
test_directories(void)
{
	DIR		   *dir = opendir(MODELS);
	struct dirent *entry;
	int			n = 0;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
	{
		char		path[512];
		char		figures[528];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), MODELS "/%s", entry->d_name);
		snprintf(figures, sizeof(figures), "%s/reference.json", path);
		if (access(figures, R_OK) != 0)
			continue;
		test_golden(path, figures, entry->d_name);
		n++;
	}
	if (dir != NULL)
		closedir(dir);
	CHECK("there_are_golden_models", n > 0, "none under " MODELS);
}

/* ---- lower precision ---- */

/*
 * Cosine of each text's vector with its fp32 vector: 0.995 is the project's bar for int8.
 */
static void
test_precision(PlmPrecision precision)
{
	Golden		exact;
	Golden		lower;
	double		worst = 1;
	char		title[64];
	PlmStatus	status = golden_open(&exact, BUNDLED, BUNDLED_FIGURES, PLM_PREC_F32);
	PlmStatus	second = golden_open(&lower, BUNDLED, BUNDLED_FIGURES, precision);

	for (size_t i = 0; status == PLM_OK && second == PLM_OK && i < json_array_size(exact.cases); i++)
	{
		PlmInput	input = input_of(json_array_get(exact.cases, i));
		int64_t		D = plm_model_config(exact.opened.model)->dimensions;
		float		a[1024];
		float		b[1024];
		double		dot = 0;

		status = plm_embed(exact.opened.model, 1, &input, PLM_KIND_DOCUMENT, &options, a, &exact.err);
		second = plm_embed(lower.opened.model, 1, &input, PLM_KIND_DOCUMENT, &options, b, &lower.err);
		for (int64_t d = 0; d < D; d++)
			dot += (double) a[d] * b[d];
		worst = fmin(worst, dot);
	}
	snprintf(title, sizeof(title), "%s_keeps_the_direction", plm_precision_name(precision));
	CHECK(title, status == PLM_OK && second == PLM_OK && worst >= 0.995, "%s %s, worst cosine %g",
		  exact.err.message, lower.err.message, worst);
	printf("# %s: worst cosine with f32 %.6f\n", plm_precision_name(precision), worst);
	golden_close(&exact);
	golden_close(&lower);
}

int
main(void)
{
	test_directories();
	test_golden(BUNDLED, BUNDLED_FIGURES, "the_bundled_model");
	test_precision(PLM_PREC_BF16);
	test_precision(PLM_PREC_INT8);
	return unit_done();
}
