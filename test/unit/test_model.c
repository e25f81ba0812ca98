/*
 * test_model.c -- the engine against an independent forward, and against itself.
 */
#include "plain_model.h"
#include "unit.h"

#include <math.h>

#define TEXTS 24

static const PlmOptions plain_options = {.threads = 1, .hook = &plm_libc_hook};

/* A model that is made, packed and opened; everything in one arena. */
typedef struct Fixture
{
	RandomModel spec;
	RandomFiles files;
	PlmArena	arena;
	TestModel	opened;
	PlmError	err;
} Fixture;

static PlmStatus
fixture_open(Fixture *f, const RandomModel *spec, PlmPrecision precision)
{
	memset(f, 0, sizeof(*f));
	f->spec = *spec;
	plm_arena_init(&f->arena, &plm_libc_hook, 0);
	if (!random_model_files(&f->spec, &f->arena, &f->files))
		return plm_fail(&f->err, PLM_ENOMEM, 0, "no memory for the test's files");
	return test_model_open(&f->files.set, precision, &f->arena, &f->opened, &f->err);
}

static void
fixture_close(Fixture *f)
{
	if (f->opened.model != NULL)
		test_model_close(&f->opened);
	plm_arena_free(&f->arena);
}

/* Words that are one token each, `words` of them. */
static PlmText
random_text(PlmArena *arena, int32_t vocab, uint64_t seed, int words)
{
	char	   *text = plm_arena_zero(arena, (size_t) words * 8 + 1);
	size_t		used = 0;

	for (int i = 0; i < words; i++)
	{
		int32_t		id = 73 + (int32_t) (plm_random(seed, (uint64_t) i) % (uint32_t) (vocab - 73));

		used += (size_t) random_token(id, text + used, 8);
		text[used++] = ' ';
	}
	return (PlmText) {text, used};
}

/* Largest |a - b| over the largest |b| of each row, the worst row. */
static double
row_error(int64_t rows, int64_t width, const float *a, const double *b)
{
	double		worst = 0;

	for (int64_t r = 0; r < rows; r++)
	{
		double		difference = 0;
		double		size = 0;

		for (int64_t i = r * width; i < (r + 1) * width; i++)
		{
			if (!isfinite(a[i]))
				return INFINITY;
			difference = fmax(difference, fabs(a[i] - b[i]));
			size = fmax(size, fabs(b[i]));
		}
		worst = fmax(worst, difference / size);
	}
	return worst;
}

/* ---- against plain_model.c ---- */

/*
 * fp32 sums of some hundred products: rounding leaves about 1e-6 of the largest component; 1e-5 is
 * what the project promises.
 */
#define PROMISE 1e-5

typedef struct Worst
{
	double		hidden, pooled, masked, classified;
} Worst;

static PlmStatus
compare_states(Fixture *f, const PlmEncoding *e, Worst *worst)
{
	const PlainModel plain = {&f->spec, &f->files, &f->arena};
	int64_t		C = f->spec.width;
	int64_t		V = f->spec.vocab;
	float	   *states;
	float	   *pooled = plm_arena_zero(&f->arena, sizeof(float) * 4096);
	float	   *masked = f->spec.mask_head ? plm_arena_zero(&f->arena, (size_t) (e->n * V) * sizeof(float)) : NULL;
	double	   *want;
	double	   *last;

	PLM_TRY(plm_hidden_states(f->opened.model, e, &plain_options, &f->arena, &states, pooled, masked, &f->err));
	want = plain_states(&plain, e->n, e->ids, e->types);
	last = want + f->spec.layers * e->n * C;
	worst->hidden = fmax(worst->hidden, row_error((f->spec.layers + 1) * e->n, C, states, want));
	worst->pooled = fmax(worst->pooled, row_error(1, plm_model_config(f->opened.model)->dimensions, pooled,
												  plain_embedding(&plain, e->n, last)));
	if (masked != NULL)
		worst->masked = fmax(worst->masked, row_error(e->n, V, masked, plain_mask_logits(&plain, e->n, last)));
	return PLM_OK;
}

/* Pairs of texts through the classifier, by way of the tokenizer. */
static PlmStatus
compare_classes(Fixture *f, Worst *worst)
{
	const PlainModel plain = {&f->spec, &f->files, &f->arena};
	const PlmConfig *config = plm_model_config(f->opened.model);
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, &plm_libc_hook);

	for (int i = 0; i < 3; i++)
	{
		PlmInput	input = {random_text(&f->arena, f->spec.vocab, (uint64_t) i, 3 + 11 * i),
		random_text(&f->arena, f->spec.vocab, 77, 1 + 7 * i)};
		float		logits[16];
		PlmEncoding e;
		double	   *states;

		PLM_TRY(plm_logits(f->opened.model, 1, &input, &plain_options, logits, &f->err));
		PLM_TRY(plm_encode(plm_model_tokenizer(f->opened.model), input.first, &input.second, config->max_tokens,
						   &worker, &f->arena, &e, &f->err));
		states = plain_states(&plain, e.n, e.ids, e.types);
		worst->classified = fmax(worst->classified, row_error(1, f->spec.labels, logits,
				 plain_class_logits(&plain, states + f->spec.layers * e.n * f->spec.width)));
	}
	return PLM_OK;
}

static PlmStatus
compare(Fixture *f, Worst *worst)
{
	static const int64_t lengths[] = {1, 2, 7, 33, 64};

	for (int64_t i = 0; i < PLM_COUNT(lengths); i++)
	{
		PlmEncoding e = {.n = lengths[i]};
		PlmMark		mark = plm_arena_mark(&f->arena);

		e.ids = plm_arena_array(&f->arena, (size_t) e.n, sizeof(int32_t));
		e.types = plm_arena_array(&f->arena, (size_t) e.n, sizeof(int32_t));
		for (int64_t t = 0; t < e.n; t++)
		{
			e.ids[t] = (int32_t) (plm_random(5, (uint64_t) (100 * i + t)) % (uint32_t) f->spec.vocab);
			e.types[t] = t > e.n / 2;
		}
		PLM_TRY(compare_states(f, &e, worst));
		plm_arena_rewind(&f->arena, mark);
	}
	return f->spec.labels > 0 ? compare_classes(f, worst) : PLM_OK;
}

static void
test_plain(const char *name, const RandomModel *spec)
{
	Fixture		f;
	Worst		worst = {0};
	PlmStatus	status = fixture_open(&f, spec, PLM_PREC_F32);

	if (status == PLM_OK)
		status = compare(&f, &worst);
	CHECK(name, status == PLM_OK && worst.hidden <= PROMISE && worst.pooled <= PROMISE && worst.masked <= PROMISE
		  && worst.classified <= PROMISE, "status %d (%s), relative errors: hidden %g, pooled %g, mask %g, class %g",
		  status, f.err.message, worst.hidden, worst.pooled, worst.masked, worst.classified);
	fixture_close(&f);
}

static void
test_architectures(void)
{
	RandomModel bert = random_model_defaults();
	RandomModel distil = random_model_defaults();
	RandomModel s;

	distil.model_type = "distilbert";
	distil.architecture = "DistilBertModel";
	test_plain("bert_f32_mean_equals_double_precision", &bert);
	test_plain("distilbert_f32_mean_equals_double_precision", &distil);

	s = bert;
	s.type = PLM_F16;
	s.prefix = s.old_norms = true;
	s.pooling[0] = "cls_token", s.pooling[1] = "max_tokens", s.pooling[2] = "mean_tokens";
	s.dense[0] = 40, s.dense[1] = 24, s.dense_bias = true, s.dense_act = "Tanh";
	test_plain("bert_f16_old_names_three_poolings_two_dense", &s);

	s = bert;
	s.type = PLM_BF16;
	s.shards = 3;
	s.prefix = true;
	s.act = "gelu_new";
	s.pooling[0] = "mean_sqrt_len_tokens", s.pooling[1] = "lasttoken";
	s.dense[0] = 17, s.dense_act = "Identity";
	test_plain("bert_bf16_sharded_last_token_dense_without_bias", &s);

	s = bert;
	s.pooler = true;
	s.pooling[0] = "pooler";
	s.product_llm = "{\"pooling\": \"pooler\"}";
	s.width = 36, s.heads = 3, s.ff = 50, s.vocab = 101, s.act = "relu";
	test_plain("bert_pooler_with_uneven_shapes", &s);

	s = bert;
	s.pooling[0] = "max_tokens";
	s.heads = 1, s.act = "silu", s.layers = 3, s.deviation = 0.05;
	test_plain("bert_max_one_head_silu", &s);
}

static void
test_heads(void)
{
	RandomModel s = random_model_defaults();

	s.architecture = "BertForMaskedLM";
	s.mask_head = s.prefix = true;
	test_plain("bert_tied_mask_head", &s);
	s.tied = false;
	s.type = PLM_F16;
	test_plain("bert_untied_mask_head", &s);
	s.model_type = "distilbert", s.architecture = "DistilBertForMaskedLM";
	test_plain("distilbert_untied_mask_head", &s);
	s.tied = true;
	s.type = PLM_BF16;
	s.shards = 2;
	test_plain("distilbert_tied_mask_head", &s);

	s = random_model_defaults();
	s.architecture = "BertForSequenceClassification";
	s.pooler = s.prefix = true;
	s.pooling[0] = NULL;
	s.labels = 5;
	test_plain("bert_classifier", &s);
	s.labels = 1;
	test_plain("bert_ranking_head", &s);
	s.labels = 3;
	s.pooler = false;
	s.type = PLM_F16;
	s.model_type = "distilbert", s.architecture = "DistilBertForSequenceClassification";
	test_plain("distilbert_classifier", &s);
}

/* ---- the same bits, however it is run ---- */

#define LONG_TEXT 5				/* enough for four threads */

static int
words_of(int i)
{
	return i == LONG_TEXT ? 190 : (int) (plm_random(9, (uint64_t) i) % 70);
}

static void
same_bits(const char *name, Fixture *f, int64_t D)
{
	PlmInput	inputs[TEXTS];
	PlmInput	reversed[TEXTS];
	size_t		bytes = (size_t) (TEXTS * D) * sizeof(float);
	float	   *alone = plm_arena_zero(&f->arena, bytes);
	float	   *batch = plm_arena_zero(&f->arena, bytes);
	int			different = 0;
	PlmStatus	status = PLM_OK;

	for (int i = 0; i < TEXTS; i++)
	{
		inputs[i] = (PlmInput) {random_text(&f->arena, f->spec.vocab, (uint64_t) i, words_of(i)), {NULL, 0}};
		reversed[TEXTS - 1 - i] = inputs[i];
	}
	for (int i = 0; i < TEXTS && status == PLM_OK; i++)
		status = plm_embed(f->opened.model, 1, &inputs[i], PLM_KIND_DOCUMENT, &plain_options, alone + i * D, &f->err);
	for (int threads = 1; threads <= 4 && status == PLM_OK; threads *= 2)
	{
		PlmOptions	options = {.threads = threads, .hook = &plm_libc_hook};

		/* One text, which threads share when it is long. */
		for (int i = 0; i < TEXTS && status == PLM_OK; i++)
		{
			status = plm_embed(f->opened.model, 1, &inputs[i], PLM_KIND_DOCUMENT, &options, batch, &f->err);
			different += memcmp(alone + i * D, batch, (size_t) D * sizeof(float)) != 0;
		}
		if (status == PLM_OK)
			status = plm_embed(f->opened.model, TEXTS, inputs, PLM_KIND_DOCUMENT, &options, batch, &f->err);
		different += memcmp(alone, batch, bytes) != 0;
		if (status == PLM_OK)
			status = plm_embed(f->opened.model, TEXTS, reversed, PLM_KIND_DOCUMENT, &options, batch, &f->err);
		for (int i = 0; i < TEXTS; i++)
			different += memcmp(alone + i * D, batch + (TEXTS - 1 - i) * D, (size_t) D * sizeof(float)) != 0;
	}
	CHECK(name, status == PLM_OK && different == 0, "status %d (%s), %d differences", status, f->err.message, different);
}

/* Every precision on every level of this CPU; full-width shapes, as the kernels' tails depend on them. */
static void
test_same_bits(void)
{
	RandomModel s = random_model_defaults();
	PlmSimd		best = plm_simd_active();

	s.width = 96, s.heads = 3, s.ff = 200, s.layers = 2, s.positions = 256;
	for (int precision = 0; precision < PLM_PRECISIONS; precision++)
	{
		Fixture		f;
		PlmStatus	status = fixture_open(&f, &s, (PlmPrecision) precision);

		CHECK("model_opens", status == PLM_OK, "%s: %s", plm_precision_name((PlmPrecision) precision), f.err.message);
		for (int level = 0; status == PLM_OK && level < PLM_SIMD_LEVELS; level++)
		{
			char		name[96];

			if (!plm_simd_select((PlmSimd) level))
				continue;
			snprintf(name, sizeof(name), "alone_equals_batch_equals_threads_%s_%s",
					 plm_precision_name((PlmPrecision) precision), plm_simd_name((PlmSimd) level));
			same_bits(name, &f, s.width);
		}
		plm_simd_select(best);
		fixture_close(&f);
	}
}

/* ---- behaviour ---- */

static PlmStatus
embed_text(Fixture *f, PlmText text, PlmKind kind, float *out)
{
	PlmInput	input = {text, {NULL, 0}};

	return plm_embed(f->opened.model, 1, &input, kind, &plain_options, out, &f->err);
}

static void
test_inputs(void)
{
	RandomModel s = random_model_defaults();
	Fixture		f;
	float		a[48];
	float		b[48];
	float		rows[3][48];
	PlmInput	three[3] = {{PLM_TEXT("abc"), {NULL, 0}}, {{NULL, 0}, {NULL, 0}}, {PLM_TEXT("xyz"), {NULL, 0}}};
	PlmText		longer;

	s.prompt_query = "q q ", s.prompt_document = "";
	CHECK("model_with_prompts_opens", fixture_open(&f, &s, PLM_PREC_F32) == PLM_OK, "%s", f.err.message);
	CHECK("empty_text_is_legal", embed_text(&f, PLM_TEXT(""), PLM_KIND_DOCUMENT, a) == PLM_OK, "%s", f.err.message);
	CHECK("prompt_is_put_before_the_text", embed_text(&f, PLM_TEXT("abc"), PLM_KIND_QUERY, a) == PLM_OK &&
		  embed_text(&f, PLM_TEXT("q q abc"), PLM_KIND_DOCUMENT, b) == PLM_OK && memcmp(a, b, sizeof(a)) == 0,
		  "%g %g", a[0], b[0]);
	longer = random_text(&f.arena, s.vocab, 3, 500);
	CHECK("long_text_is_cut_at_the_maximum", embed_text(&f, longer, PLM_KIND_DOCUMENT, a) == PLM_OK &&
		  embed_text(&f, random_text(&f.arena, s.vocab, 3, s.positions - 2), PLM_KIND_DOCUMENT, b) == PLM_OK &&
		  memcmp(a, b, sizeof(a)) == 0, "%g %g", a[0], b[0]);
	memset(rows, 0, sizeof(rows));
	CHECK("null_input_leaves_its_row", plm_embed(f.opened.model, 3, three, PLM_KIND_DOCUMENT, &plain_options, rows[0], &f.err)
		  == PLM_OK && rows[1][0] == 0.0f && rows[0][0] != 0.0f && rows[2][0] != 0.0f, "%s", f.err.message);
	three[2].first = PLM_TEXT("\xff");
	CHECK("error_names_the_text", plm_embed(f.opened.model, 3, three, PLM_KIND_DOCUMENT, &plain_options, rows[0], &f.err)
		  != PLM_OK && strstr(f.err.message, "text 3") != NULL, "%s", f.err.message);
	CHECK("absent_head_is_named", plm_logits(f.opened.model, 1, three, &plain_options, a, &f.err) == PLM_EARG &&
		  strstr(f.err.message, "classification head") != NULL, "%s", f.err.message);
	CHECK("absent_mask_head_is_named", !plm_model_can(f.opened.model, PLM_TASK_MASKED_LM) &&
		  !plm_model_can(f.opened.model, PLM_TASK_RANKING) && plm_model_can(f.opened.model, PLM_TASK_EMBEDDING), "-");
	fixture_close(&f);
}

/* Several slices: the limit is far below what all texts together would take. */
static void
test_many(void)
{
	RandomModel s = random_model_defaults();
	const PlmOptions limited = {.threads = 2, .memory_limit = 3000000, .hook = &plm_libc_hook};
	const int64_t n = 6000;
	Fixture		f;
	PlmInput   *inputs;
	float	   *rows;
	int			different = 0;
	PlmStatus	status;

	s.width = 16, s.ff = 16, s.layers = 1, s.heads = 2;
	status = fixture_open(&f, &s, PLM_PREC_F32);
	inputs = plm_arena_array(&f.arena, (size_t) n, sizeof(PlmInput));
	rows = plm_arena_zero(&f.arena, (size_t) n * 16 * sizeof(float));
	for (int64_t i = 0; i < n; i++)
		inputs[i] = (PlmInput) {random_text(&f.arena, s.vocab, (uint64_t) i, 1 + (int) (i % 9)), {NULL, 0}};
	if (status == PLM_OK)
		status = plm_embed(f.opened.model, n, inputs, PLM_KIND_DOCUMENT, &limited, rows, &f.err);
	for (int64_t i = 0; i < n && status == PLM_OK; i += 37)
	{
		float		alone[16];

		status = plm_embed(f.opened.model, 1, &inputs[i], PLM_KIND_DOCUMENT, &limited, alone, &f.err);
		different += memcmp(alone, rows + i * 16, sizeof(alone)) != 0;
	}
	CHECK("memory_does_not_grow_with_the_number_of_texts", status == PLM_OK && different == 0, "status %d (%s), %d differ",
		  status, f.err.message, different);
	fixture_close(&f);
}

static void
test_fill_mask(void)
{
	RandomModel s = random_model_defaults();
	Fixture		f;
	PlmEncoding e;
	PlmCandidate found[200];
	int64_t		position;
	int64_t		n = 0;
	double		sum = 0;
	bool		ordered = true;
	PlmStatus	status;

	s.architecture = "BertForMaskedLM";
	s.mask_head = true;
	status = fixture_open(&f, &s, PLM_PREC_F32);
	if (status == PLM_OK)
		status = plm_fill_mask(f.opened.model, PLM_TEXT("a b [MASK] c"), 200, &plain_options, &f.arena, &e, &position,
							   found, &n, &f.err);
	for (int64_t i = 0; i < n; i++)
	{
		sum += found[i].probability;
		ordered = ordered && (i == 0 || found[i - 1].probability >= found[i].probability);
	}
	CHECK("all_candidates_in_order_sum_to_one", status == PLM_OK && n == s.vocab && ordered && fabs(sum - 1) < 1e-5 &&
		  position == 3, "status %d (%s), %d candidates, sum %g", status, f.err.message, (int) n, sum);
	if (status == PLM_OK)
	{
		PlmCandidate best = found[0];

		status = plm_fill_mask(f.opened.model, PLM_TEXT("a b [MASK] c"), 1, &plain_options, &f.arena, &e, &position,
							   found, &n, &f.err);
		CHECK("best_of_one_is_best_of_all", status == PLM_OK && n == 1 && found[0].id == best.id, "%d", found[0].id);
		CHECK("no_mask_is_refused", plm_fill_mask(f.opened.model, PLM_TEXT("a"), 1, &plain_options, &f.arena, &e,
			  &position, found, &n, &f.err) == PLM_EARG && strstr(f.err.message, "[MASK]") != NULL, "%s", f.err.message);
		CHECK("two_masks_are_refused", plm_fill_mask(f.opened.model, PLM_TEXT("[MASK] [MASK]"), 1, &plain_options,
			  &f.arena, &e, &position, found, &n, &f.err) == PLM_EARG, "%s", f.err.message);
	}
	fixture_close(&f);
}

int
main(void)
{
	test_architectures();
	test_heads();
	test_same_bits();
	test_inputs();
	test_many();
	test_fill_mask();
	return unit_done();
}
