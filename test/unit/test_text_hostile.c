/*
 * test_text_hostile.c -- tokenizer files and blobs that are wrong: each a clear error, nothing lost, no crash.
 */
#include "text_load.h"

#define VOCAB "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"

/* Compiling must fail with this status and a message that contains all of `what` (parts divided by '|'). */
static void
refused(const char *name, Loaded *l, PlmStatus status, const char *what)
{
	char		parts[256];
	bool		all = true;

	snprintf(parts, sizeof(parts), "%s", what);
	for (char *part = strtok(parts, "|"); part != NULL; part = strtok(NULL, "|"))
		all = all && strstr(l->err.message, part) != NULL;
	CHECK(name, l->status == status && all, "status %d: %s", (int) l->status, l->err.message);
	plm_arena_free(&l->arena);
}

static void
bad_vocabularies(void)
{
	char	   *many = malloc(6 << 20);
	Loaded		l;

	compile_vocab(&l, VOCAB "tea\nmug\ntea\n", NULL);
	refused("token_twice_is_refused_with_both_lines", &l, PLM_ECORRUPT, "vocab.txt|\"tea\"|6 and 8");
	compile_vocab(&l, "[PAD]\n[CLS]\n[SEP]\n", NULL);
	refused("missing_unknown_token_is_named", &l, PLM_ENOTFOUND, "[UNK]");
	compile_vocab(&l, VOCAB, "{\"cls_token\": \"<s>\"}");
	refused("missing_special_token_is_named", &l, PLM_ENOTFOUND, "<s>");
	compile_vocab(&l, "", NULL);
	refused("empty_vocabulary_is_refused", &l, PLM_ENOTFOUND, "vocab.txt");
	compile_vocab(&l, VOCAB "te\xff" "a\n", NULL);
	refused("vocabulary_must_be_utf8", &l, PLM_ECORRUPT, "UTF-8|byte 33");
	memset(many, '\n', 6 << 20);
	many[(6 << 20) - 1] = '\0';
	compile_vocab(&l, many, NULL);
	refused("too_many_lines_are_refused", &l, PLM_ELIMIT, "vocab.txt|lines");
	memset(many, 'x', 100000);
	many[100000] = '\0';
	compile_vocab(&l, many, NULL);
	refused("endless_token_is_refused", &l, PLM_ELIMIT, "100000 bytes");
	compile_vocab(&l, VOCAB "\ntea\n\n", NULL);
	CHECK("empty_lines_are_ids_without_a_word", l.status == PLM_OK && l.t.tokens == 8 &&
		  plm_token_id(&l.t, PLM_TEXT("tea")) == 6, "%s", l.err.message);
	plm_arena_free(&l.arena);
	compile(&l, (PlmTokenizerFiles) {.vocab_txt = {NULL, 0}});
	refused("no_file_at_all_is_refused", &l, PLM_ENOTFOUND, "tokenizer.json|vocab.txt");
	free(many);
}

static void
bad_configurations(void)
{
	Loaded		l;

	compile_vocab(&l, VOCAB, "{\"tokenizer_class\": \"BertJapaneseTokenizer\"}");
	refused("other_tokenizer_class_is_named", &l, PLM_EUNSUPPORTED, "BertJapaneseTokenizer");
	compile_vocab(&l, VOCAB, "{\"do_basic_tokenize\": false}");
	refused("pretokenized_input_is_not_supported", &l, PLM_EUNSUPPORTED, "do_basic_tokenize");
	compile_vocab(&l, VOCAB, "{\"do_lower_case\": \"yes\"}");
	refused("option_of_the_wrong_type_is_named", &l, PLM_ECORRUPT, "do_lower_case");
	compile_vocab(&l, VOCAB, "{\"do_lower_case\": true");
	refused("broken_configuration_is_named", &l, PLM_ECORRUPT, "tokenizer_config.json");
	compile_vocab(&l, VOCAB, "[]");
	refused("configuration_must_be_an_object", &l, PLM_ECORRUPT, "tokenizer_config.json|object");
	compile_vocab(&l, VOCAB, "{\"added_tokens_decoder\": {\"9\": {\"content\": \"new\"}}}");
	refused("added_token_far_behind_the_vocabulary_is_refused", &l, PLM_ECORRUPT, "\"new\"|9|5");
	compile_vocab(&l, VOCAB, "{\"added_tokens_decoder\": {\"4\": {\"content\": \"[UNK]\"}}}");
	refused("added_token_with_another_id_is_refused", &l, PLM_ECORRUPT, "[UNK]|4|1");
	compile_vocab(&l, VOCAB, "{\"added_tokens_decoder\": {\"x\": {\"content\": \"new\"}}}");
	refused("added_token_id_must_be_a_number", &l, PLM_ECORRUPT, "\"x\"");
	compile_vocab(&l, VOCAB, "{\"added_tokens_decoder\": {\"6\": {\"content\": \"b\"}, \"5\": {\"content\": \"a\", "
				  "\"special\": true}, \"4\": {\"content\": \"[MASK]\", \"special\": true, \"lstrip\": true}}}");
	CHECK("added_tokens_come_in_the_order_of_ids", l.status == PLM_OK && l.t.tokens == 7 &&
		  plm_token_id(&l.t, PLM_TEXT("b")) == 6 && plm_token_is_special(&l.t, 5), "%s", l.err.message);
	plm_arena_free(&l.arena);
	compile(&l, (PlmTokenizerFiles) {.vocab_txt = span(VOCAB),.added_tokens_json = span("{\"new\": 5, \"[CLS]\": 2}"),
		.special_tokens_map_json = span("{\"mask_token\": {\"content\": \"new\"}, \"additional_special_tokens\": [\"[PAD]\"]}")});
	CHECK("special_tokens_map_names_the_roles", l.status == PLM_OK && l.t.mask == 5 && plm_token_is_special(&l.t, 5) &&
		  l.t.tokens == 6, "%s, mask %d", l.err.message, l.t.mask);
	plm_arena_free(&l.arena);
}

/* A tokenizer.json with other members behind a sound model. */
static void
json_with(Loaded *l, const char *members)
{
	char		json[2048];

	snprintf(json, sizeof(json), "{\"model\": {\"type\": \"WordPiece\", \"unk_token\": \"u\", \"max_input_chars_per_word\": "
			 "100, \"continuing_subword_prefix\": \"##\", \"vocab\": {\"u\": 0, \"a\": 1}}%s}", members);
	compile_json(l, json);
}

#define TEXT(name) "{\"Sequence\": {\"id\": \"" name "\", \"type_id\": 0}}"

static void
unsupported_parts(void)
{
	static const char *const parts[][2] = {
		{", \"normalizer\": {\"type\": \"Precompiled\"}", "normalizer|Precompiled"},
		{", \"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"Regex\": \"a+\"}, \"content\": \"\"}", "Replace|regular"},
		{", \"pre_tokenizer\": {\"type\": \"ByteLevel\"}", "pre-tokenizer|ByteLevel"},
		{", \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Metaspace\"}]}", "Metaspace"},
		{", \"post_processor\": {\"type\": \"RobertaProcessing\"}", "post-processor|RobertaProcessing"},
		{", \"decoder\": {\"type\": \"ByteFallback\"}", "decoder|ByteFallback"},
		{", \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": []}", "single|once"},
		{", \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [" TEXT("A") ", " TEXT("A") "]}", "single|once"},
		{", \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [" TEXT("A") "], \"pair\": [" TEXT("A") "]}", "pair|once"}
	};
	static const char *const broken[][2] = {
		{", \"normalizer\": {}", "normalizer|type"},
		{", \"normalizer\": {\"type\": \"BertNormalizer\"}", "BertNormalizer|clean_text"},
		{", \"pre_tokenizer\": {\"type\": \"Punctuation\", \"behavior\": \"Sideways\"}", "Punctuation|behavior"},
		{", \"post_processor\": {\"type\": \"BertProcessing\", \"sep\": [\"s\", 7], \"cls\": [\"c\", 0]}", "sep"},
		{", \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"Sequence\": {\"id\": \"B\", \"type_id\": 0}}]}", "Sequence"},
		{", \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"x\", \"type_id\": 0}}]}", "x"},
		{", \"truncation\": {\"max_length\": -1, \"strategy\": \"LongestFirst\"}", "max_length"},
		{", \"added_tokens\": [{\"id\": 5, \"content\": \"b\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
		"\"normalized\": false, \"special\": false}]", "\"b\"|5|2"},
		{", \"added_tokens\": [7]", "added token"}
	};
	char		name[128];
	Loaded		l;

	json_with(&l, "");
	CHECK("the_model_alone_compiles", l.status == PLM_OK && l.t.tokens == 2, "%s", l.err.message);
	plm_arena_free(&l.arena);
	for (int64_t i = 0; i < PLM_COUNT(parts); i++)
	{
		snprintf(name, sizeof(name), "unsupported_part_is_named_%" PRId64, i);
		json_with(&l, parts[i][0]);
		refused(name, &l, PLM_EUNSUPPORTED, parts[i][1]);
	}
	for (int64_t i = 0; i < PLM_COUNT(broken); i++)
	{
		snprintf(name, sizeof(name), "broken_part_is_named_%" PRId64, i);
		json_with(&l, broken[i][0]);
		refused(name, &l, PLM_ECORRUPT, broken[i][1]);
	}
}

static void
bad_models(void)
{
	static const char model[] = "{\"model\": {\"type\": \"WordPiece\", \"unk_token\": \"u\", \"max_input_chars_per_word\": 100, "
		"\"continuing_subword_prefix\": \"##\", \"vocab\": {%s}}}";
	char		json[1024];
	Loaded		l;

	compile_json(&l, "{\"model\": {\"type\": \"BPE\", \"vocab\": {}, \"merges\": []}}");
	refused("other_model_is_named", &l, PLM_EUNSUPPORTED, "model|BPE");
	snprintf(json, sizeof(json), model, "\"u\": 0, \"a\": 2");
	compile_json(&l, json);
	refused("gap_in_the_ids_is_refused", &l, PLM_ECORRUPT, "\"a\"|0 to 1");
	snprintf(json, sizeof(json), model, "\"u\": 0, \"a\": 0");
	compile_json(&l, json);
	refused("two_tokens_with_one_id_are_named", &l, PLM_ECORRUPT, "\"u\"|\"a\"|id 0");
	snprintf(json, sizeof(json), model, "\"u\": 0, \"a\": 1, \"a\": 2");
	compile_json(&l, json);
	refused("token_twice_in_json_is_refused", &l, PLM_ECORRUPT, "duplicate|\"a\"");
	snprintf(json, sizeof(json), model, "\"u\": 0.5");
	compile_json(&l, json);
	refused("id_must_be_whole", &l, PLM_ECORRUPT, "\"u\"");
	snprintf(json, sizeof(json), model, "\"u\": 1e300");
	compile_json(&l, json);
	refused("id_must_be_small", &l, PLM_ECORRUPT, "\"u\"");
	snprintf(json, sizeof(json), model, "\"a\": 0");
	compile_json(&l, json);
	refused("unknown_token_must_be_there", &l, PLM_ENOTFOUND, "\"u\"");
	snprintf(json, sizeof(json), model, "\"u\": 0, \"\\ud800\": 1");
	compile_json(&l, json);
	refused("lone_surrogate_is_refused", &l, PLM_ECORRUPT, "tokenizer.json");
}

static void
json_bombs(void)
{
	size_t		n = 3000000;
	char	   *bomb = malloc(n + 1);
	Loaded		l;

	memset(bomb, '[', n);
	bomb[n] = '\0';
	compile_json(&l, bomb);
	refused("deep_json_is_refused", &l, PLM_ELIMIT, "levels");
	for (size_t i = 0; i < n; i++)
		bomb[i] = i == 0 ? '[' : i % 2 == 1 ? '0' : ',';
	bomb[n - 2] = ']';
	bomb[n - 1] = ' ';
	compile_json(&l, bomb);
	refused("json_list_is_no_tokenizer", &l, PLM_ECORRUPT, "object");
	memset(bomb, ',', n);
	compile_json(&l, bomb);
	refused("json_of_millions_of_values_is_refused", &l, PLM_ELIMIT, "values");
	memset(bomb, ' ', n);
	compile_json(&l, bomb);
	refused("empty_json_is_refused", &l, PLM_ECORRUPT, "tokenizer.json");
	compile(&l, (PlmTokenizerFiles) {.tokenizer_json = {bomb, (size_t) 65 << 20}});
	refused("oversized_json_is_refused_unread", &l, PLM_ELIMIT, "bytes");
	free(bomb);
}

/* Use an opened tokenizer in every way; whatever it says, nothing may be touched outside the blob. */
static void
use(const PlmTokenizer *t)
{
	static const char text[] = "The quiet k\xc3\xa9ttle [MASK] \xe8\x8c\xb6! unaffordable [SEP]\xcc\x81 tea";
	PlmText		pair = PLM_TEXT("mug [CLS] tea");
	PlmArena	arena;
	PlmEncoding e;
	PlmError	err;
	PlmText		out;
	int64_t		n;

	plm_arena_init(&arena, &plm_libc_hook, (size_t) 32 << 20);
	if (plm_encode(t, span(text), &pair, 11, NULL, &arena, &e, &err) == PLM_OK)
		plm_decode(t, e.ids, e.n, true, &arena, &out, &err);
	plm_encode(t, span(text), NULL, 0, NULL, &arena, &e, &err);
	plm_count_tokens(t, pair, NULL, &arena, &n, &err);
	for (int32_t i = -1; i <= t->tokens; i++)
		plm_token_id(t, plm_token_text(t, i));
	plm_arena_free(&arena);
}

static void
damaged_blobs(void)
{
	Loaded		l;
	unsigned char *copy;
	int			opened = 0;

	own(&l);
	copy = malloc(l.bytes);
	for (uint64_t i = 0; i < 4000; i++)
	{
		PlmTokenizer t;
		/* Half of the flips in the header, where the rules are. */
		size_t		range = i % 2 == 0 ? l.bytes : 2048;

		memcpy(copy, l.blob, l.bytes);
		for (uint32_t k = 0; k <= plm_random(7, i) % 3; k++)
			copy[plm_random(8, 4 * i + k) % range] ^= (unsigned char) (1u << plm_random(9, 4 * i + k) % 8);
		if (plm_tokenizer_open(copy, l.bytes, &t, &l.err) == PLM_OK)
		{
			use(&t);
			opened++;
		}
	}
	CHECK("flipped_bits_never_crash", opened > 0 && opened < 4000, "%d of 4000 opened", opened);
	opened = 0;
	for (size_t len = 0; len < l.bytes; len += 1 + len / 50)
	{
		PlmTokenizer t;
		unsigned char *exact = malloc(len + 1);

		memcpy(exact, l.blob, len);
		opened += plm_tokenizer_open(exact, len, &t, &l.err) == PLM_OK;
		free(exact);
	}
	CHECK("shortened_blob_is_refused", opened == 0, "%d opened", opened);
	free(copy);
	plm_arena_free(&l.arena);
}

/* ---- memory refused ---- */

static int	left;

static void *
scarce(void *arg, size_t bytes)
{
	(void) arg;
	return left-- > 0 ? malloc(bytes) : NULL;
}

static void
refused_memory(void)
{
	static const char json[] = "{\"model\": {\"type\": \"WordPiece\", \"unk_token\": \"u\", \"max_input_chars_per_word\": 200, "
		"\"continuing_subword_prefix\": \"##\", \"vocab\": {\"u\": 0, \"a\": 1}}, \"normalizer\": {\"type\": \"NFKC\"}, "
		"\"added_tokens\": [{\"id\": 2, \"content\": \"T\", \"single_word\": false, \"lstrip\": true, \"rstrip\": true, "
		"\"normalized\": true, \"special\": false}]}";
	PlmHook		hook = plm_libc_hook;
	PlmStatus	status = PLM_ENOMEM;
	PlmArena	arena;
	PlmError	err;
	void	   *blob;
	size_t		bytes;
	int			n = 0;

	hook.alloc = scarce;
	for (; status != PLM_OK && n < 200; n++)
	{
		PlmTokenizer t;
		PlmEncoding e;
		PlmText		pair = PLM_TEXT("T a T");
		PlmTokenizerFiles files = {.tokenizer_json = span(json)};

		left = n;
		plm_arena_init(&arena, &hook, 0);
		status = plm_tokenizer_compile(&files, &arena, &blob, &bytes, &err);
		if (status == PLM_OK)
			status = plm_tokenizer_open(blob, bytes, &t, &err);
		if (status == PLM_OK)
			status = plm_encode(&t, PLM_TEXT("a e\xcc\x81\xcc\x81 T b a a"), &pair, 0, NULL, &arena, &e, &err);
		plm_arena_free(&arena);
		if (status != PLM_OK && status != PLM_ENOMEM)
			break;
	}
	CHECK("every_refused_block_is_an_error", status == PLM_OK && n > 3, "%d blocks, status %d: %s", n, (int) status, err.message);
}

/* A tokenizer.json of 3.5 MB and 100,000 tokens, under limits. */
static void
memory_limit(void)
{
	size_t		room = (size_t) 4 << 20;
	char	   *json = malloc(room);
	size_t		len = (size_t) sprintf(json, "{\"model\": {\"type\": \"WordPiece\", \"unk_token\": \"u\", \"max_input_chars_per_word\": 200, "
									   "\"continuing_subword_prefix\": \"##\", \"vocab\": {\"u\": 0");
	PlmStatus	status;
	PlmArena	arena;
	PlmError	err = {.code = PLM_OK};
	void	   *blob;
	size_t		bytes;

	for (int i = 1; i < 100000; i++)
		len += (size_t) sprintf(json + len, ",\"a token of this len %07d\":%d", i, i);
	len += (size_t) sprintf(json + len, "}}}");
	for (int times = 20; times > 0; times -= 19)
	{
		PlmTokenizerFiles files = {.tokenizer_json = {json, len}};

		plm_arena_init(&arena, &plm_libc_hook, (size_t) times * len);
		status = plm_tokenizer_compile(&files, &arena, &blob, &bytes, &err);
		if (times == 20)
			CHECK("large_tokenizer_compiles_in_20_times_its_text", status == PLM_OK, "%zu bytes: %s", len, err.message);
		else
			CHECK("memory_limit_is_kept_and_told", status == PLM_ELIMIT && err.over_arena, "status %d: %s", (int) status, err.message);
		plm_arena_free(&arena);
	}
	free(json);
}

int
main(void)
{
	bad_vocabularies();
	bad_configurations();
	unsupported_parts();
	bad_models();
	json_bombs();
	damaged_blobs();
	refused_memory();
	memory_limit();
	return unit_done();
}
