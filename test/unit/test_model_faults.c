/*
 * test_model_faults.c -- models that must be refused, memory that is refused, and work that is stopped.
 */
#include "host.h"
#include "random_model.h"
#include "unit.h"

#include <math.h>

static const PlmOptions one_thread = {.threads = 1, .hook = &plm_libc_hook};

/* ---- files that are refused ---- */

static void
refused(const char *name, const RandomModel *spec, PlmStatus want, const char *in_message)
{
	PlmArena	arena;
	RandomFiles files;
	PlmModelInfo info;
	PlmError	err = {0};
	PlmStatus	status = PLM_ENOMEM;

	plm_arena_init(&arena, &plm_libc_hook, 0);
	if (random_model_files(spec, &arena, &files))
		status = plm_model_check(&files.set, &arena, &info, &err);
	CHECK(name, status == want && strstr(err.message, in_message) != NULL, "status %d: %s", status, err.message);
	plm_arena_free(&arena);
}

static void
test_refused(void)
{
	RandomModel s = random_model_defaults();
	static const char *const needed[] = {"embeddings.word_embeddings.weight", "embeddings.LayerNorm.bias",
	"encoder.layer.1.attention.self.value.weight", "encoder.layer.0.output.LayerNorm.weight"};

	refused("sound_model_is_accepted", &s, PLM_OK, "");
	for (int64_t i = 0; i < PLM_COUNT(needed); i++)
	{
		s.omit = needed[i];
		refused("missing_tensor_is_named", &s, PLM_ENOTFOUND, needed[i]);
	}
	s = random_model_defaults();
	s.reshape = "encoder.layer.1.intermediate.dense.weight";
	refused("wrong_shape_is_named", &s, PLM_ECORRUPT, s.reshape);
	refused("wrong_shape_is_given", &s, PLM_ECORRUPT, "(97, 48)");
	refused("right_shape_is_given", &s, PLM_ECORRUPT, "(96, 48)");
	s.reshape = NULL;
	for (PlmType type = PLM_F32; type <= PLM_BF16; type++)
	{
		s.type = type;
		s.nan = "encoder.layer.0.attention.self.key.weight";
		refused("nan_weight_is_named", &s, PLM_ENUMERIC, s.nan);
		refused("nan_weight_has_its_index", &s, PLM_ENUMERIC, "index 3");
	}
	s = random_model_defaults();
	s.architecture = "BertForSequenceClassification";
	s.pooling[0] = NULL;
	s.labels = 2;
	refused("classifier_needs_its_pooler", &s, PLM_ENOTFOUND, "pooler.dense.weight");
	s.pooler = true;
	refused("classifier_is_accepted", &s, PLM_OK, "");
	s.omit = "classifier.bias";
	refused("classifier_needs_its_bias", &s, PLM_ENOTFOUND, "classifier.bias");
	s = random_model_defaults();
	s.architecture = "BertForMaskedLM";
	s.pooling[0] = NULL;
	refused("masked_model_without_its_head_can_embed", &s, PLM_OK, "");
	s.mask_head = true;
	s.omit = "cls.predictions.transform.dense.weight";
	refused("half_a_mask_head_is_refused", &s, PLM_ENOTFOUND, s.omit);
	s = random_model_defaults();
	s.model_type = "roberta", s.architecture = "RobertaModel";
	refused("unknown_architecture_is_named", &s, PLM_EUNSUPPORTED, "Roberta");
	s = random_model_defaults();
	s.dense[0] = 8, s.dense_act = "Tanh", s.omit = "linear.weight";
	refused("missing_dense_tensor_is_named", &s, PLM_ENOTFOUND, "linear.weight");
}

static void
embed_status(const char *name, const RandomModel *spec, PlmStatus want, const char *in_message)
{
	PlmArena	arena;
	RandomFiles files;
	TestModel	m = {{0}, NULL};
	PlmError	err = {0};
	PlmInput	inputs[2] = {{PLM_TEXT("a"), {NULL, 0}}, {PLM_TEXT("b c d"), {NULL, 0}}};
	float		out[2 * 48];
	PlmStatus	status = PLM_ENOMEM;

	plm_arena_init(&arena, &plm_libc_hook, 0);
	if (random_model_files(spec, &arena, &files))
		status = test_model_open(&files.set, PLM_PREC_F32, &arena, &m, &err);
	if (status == PLM_OK)
	{
		status = plm_embed(m.model, 2, inputs, PLM_KIND_DOCUMENT, &one_thread, out, &err);
		test_model_close(&m);
	}
	CHECK(name, status == want && strstr(err.message, in_message) != NULL, "status %d: %s", status, err.message);
	plm_arena_free(&arena);
}

static void
test_numbers(void)
{
	RandomModel s = random_model_defaults();

	s.deviation = 0;
	embed_status("zero_embedding_is_never_returned", &s, PLM_ENUMERIC, "text 1");
	s.deviation = 1e30;
	embed_status("infinite_embedding_is_never_returned", &s, PLM_ENUMERIC, "text 1");
	s = random_model_defaults();
	s.pooling[0] = "pooler";
	s.product_llm = "{\"pooling\": \"pooler\"}";
	embed_status("absent_pooler_is_named_when_asked_for", &s, PLM_EARG, "pooler");
}

/* ---- memory and cancel ---- */

/* Everything a model can be asked for, over one host. */
typedef struct Work
{
	const PlmFileSet *set;
	int			threads;
	size_t		limit;
	float		out[6 * 48];
} Work;

static PlmStatus
use_model(const PlmModel *model, Work *work, const PlmHook *hook, PlmArena *arena, PlmError *err)
{
	PlmInput	inputs[6] = {{PLM_TEXT("a b c"), {NULL, 0}}, {PLM_TEXT("d"), PLM_TEXT("e f")}, {PLM_TEXT(""), {NULL, 0}},
	{PLM_TEXT("g h i j"), {NULL, 0}}, {PLM_TEXT("k"), {NULL, 0}}, {PLM_TEXT("l m n o p q r s t u v w x y z"), {NULL, 0}}};
	/* One text, long enough for two threads to share. */
	PlmInput	long_text = {PLM_TEXT("a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d e f g h i j k l m n o p q r s t u v w x y z"), {NULL, 0}};
	PlmOptions	options = {work->threads, work->limit, hook};
	PlmEncoding e;
	PlmCandidate found[3];
	int64_t		position;
	int64_t		n;
	float	   *states;
	float		pooled[48];

	PLM_TRY(plm_embed(model, 6, inputs, PLM_KIND_QUERY, &options, work->out, err));
	PLM_TRY(plm_embed(model, 1, &long_text, PLM_KIND_QUERY, &options, work->out, err));
	PLM_TRY(plm_fill_mask(model, PLM_TEXT("a [MASK] b"), 3, &options, arena, &e, &position, found, &n, err));
	return plm_hidden_states(model, &e, &options, arena, &states, pooled, NULL, err);
}

static PlmStatus
whole_life(Work *work, Host *host, PlmError *err)
{
	PlmArena	arena;
	PlmModelInfo info;
	TestModel	m = {{0}, NULL};
	PlmStatus	status;

	plm_arena_init(&arena, &host->hook, 0);
	status = plm_model_check(work->set, &arena, &info, err);
	if (status == PLM_OK)
		status = test_model_open(work->set, PLM_PREC_INT8, &arena, &m, err);
	if (status == PLM_OK)
	{
		status = use_model(m.model, work, &host->hook, &arena, err);
		test_model_close(&m);
	}
	plm_arena_free(&arena);
	return status;
}

static RandomModel
small_model(void)
{
	RandomModel s = random_model_defaults();

	s.architecture = "BertForMaskedLM";
	s.mask_head = true;
	s.shards = 2;
	s.prompt_query = "q", s.prompt_document = "";
	return s;
}

static void
test_allocations(const PlmFileSet *set)
{
	Work		work = {.set = set, .threads = 1};
	int64_t		k = 0;
	int			wrong = 0;
	PlmStatus	status;

	do
	{
		Host		host;
		PlmError	err = {0};

		host_init(&host, k++, -1);
		status = whole_life(&work, &host, &err);
		wrong += (status != PLM_OK && status != PLM_ENOMEM) || host.held != 0;
		if (wrong == 1)
			printf("# allocation %d: status %d: %s, %d held\n", (int) k, status, err.message, (int) host.held);
	} while (status != PLM_OK && k < 2000);
	CHECK("each_refused_allocation_is_an_error", status == PLM_OK && wrong == 0 && k > 10, "%d of %d wrong", wrong, (int) k);
}

static void
test_cancel(const PlmFileSet *set, int threads)
{
	Work		work = {.set = set, .threads = threads};
	int64_t		k = 0;
	int			wrong = 0;
	PlmStatus	status;

	do
	{
		Host		host;
		PlmError	err = {0};

		host_init(&host, -1, k);
		k += 1 + k / 16;
		status = whole_life(&work, &host, &err);
		wrong += (status != PLM_OK && status != PLM_ECANCELLED) || host.held != 0;
	} while (status != PLM_OK && k < 100000);
	CHECK(threads == 1 ? "stop_at_each_poll_is_a_cancel" : "stop_at_each_poll_is_a_cancel_with_two_threads",
		  status == PLM_OK && wrong == 0 && k > 50, "%d wrong, %d polls", wrong, (int) k);
}

static void
test_limit(const PlmFileSet *set)
{
	Work		work = {.set = set, .threads = 1, .limit = 20000};
	Host		host;
	PlmError	err = {0};
	PlmStatus	status;

	host_init(&host, -1, -1);
	status = whole_life(&work, &host, &err);
	CHECK("memory_limit_is_kept", status == PLM_ELIMIT && host.held == 0, "status %d: %s", status, err.message);
}

/* ---- packed files that contradict themselves ---- */

/* What a sound checksum over wrong contents would let through: a writable copy of an opened file. */
static PlmPackedFile
copy_packed(const PlmPackedFile *file, PlmArena *arena)
{
	PlmPackedFile copy = *file;
	unsigned char *base = plm_arena_alloc(arena, file->bytes);

	memcpy(base, file->base, file->bytes);
	copy.base = base;
	copy.sections = (const PlmSection *) (base + ((const unsigned char *) file->sections - file->base));
	return copy;
}

/* Open; if that works, embed: neither may crash.  True: refused as corrupt. */
static bool
try_packed(const PlmPackedFile *file)
{
	PlmArena	arena;
	PlmModel   *model;
	PlmError	err = {0};
	PlmInput	input = {PLM_TEXT("a b c d"), {NULL, 0}};
	PlmOptions	options = {1, (size_t) 1 << 26, &plm_libc_hook};
	float	   *out;
	PlmStatus	status;

	plm_arena_init(&arena, &plm_libc_hook, (size_t) 1 << 26);
	status = plm_model_open(file, &arena, &model, &err);
	if (status == PLM_OK)
	{
		out = plm_arena_array(&arena, (size_t) plm_model_config(model)->dimensions, sizeof(float));
		if (out != NULL)
			plm_embed(model, 1, &input, PLM_KIND_QUERY, &options, out, &err);
	}
	plm_arena_free(&arena);
	return status == PLM_ECORRUPT;
}

static void
test_packed(const PlmFileSet *set)
{
	PlmArena	arena;
	TestModel	m;
	PlmError	err = {0};
	PlmPackedFile copy;
	int			accepted = 0;

	plm_arena_init(&arena, &plm_libc_hook, 0);
	if (test_model_open(set, PLM_PREC_F32, &arena, &m, &err) != PLM_OK)
	{
		CHECK("packed_model_opens", false, "%s", err.message);
		return;
	}
	copy = copy_packed(&m.file, &arena);
	for (int64_t i = 0; i < copy.n; i++)
	{
		PlmSection *s = (PlmSection *) &copy.sections[i];
		PlmSection	saved = *s;

		if (strcmp(s->name, "config") == 0 || strcmp(s->name, "tokenizer") == 0 || strcmp(s->name, "labels") == 0)
			continue;
		s->rows++;
		accepted += !try_packed(&copy);
		*s = saved;
		s->precision = 1 - s->precision;
		accepted += !try_packed(&copy);
		*s = saved;
		s->bytes -= 4;
		accepted += !try_packed(&copy);
		*s = saved;
	}
	CHECK("sections_of_another_shape_are_refused", accepted == 0, "%d accepted", accepted);
	for (uint64_t i = 0; i < 400; i++)
	{
		const PlmSection *s = plm_packed_find(&copy, "config");
		unsigned char *at = (unsigned char *) copy.base + s->offset + plm_random(3, i) % s->bytes;
		unsigned char saved = *at;

		*at = (unsigned char) plm_random(4, i);
		try_packed(&copy);
		*at = saved;
	}
	CHECK("damaged_configuration_never_crashes", !try_packed(&copy), "the sound copy is refused");
	test_model_close(&m);
	plm_arena_free(&arena);
}

int
main(void)
{
	PlmArena	arena;
	RandomFiles files;
	RandomModel s = small_model();

	test_refused();
	test_numbers();
	plm_arena_init(&arena, &plm_libc_hook, 0);
	if (!random_model_files(&s, &arena, &files))
		return 1;
	test_allocations(&files.set);
	test_cancel(&files.set, 1);
	test_cancel(&files.set, 2);
	test_limit(&files.set);
	test_packed(&files.set);
	plm_arena_free(&arena);
	return unit_done();
}
