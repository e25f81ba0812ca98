/*
 * test_text.c -- tokenizers give the figures of the reference and of published vectors.
 *
 * The figures under test/golden/tokenizer were made with the reference (see the README there).
 */
#include "text_load.h"

#include <jansson.h>

static json_t *
load(const char *name)
{
	PlmText		text = slurp(name);
	json_t	   *json = text.data != NULL ? json_loadb(text.data, text.len, JSON_ALLOW_NUL, NULL) : NULL;

	free((char *) text.data);
	return json;
}

/* ---- figures of the reference ---- */

/* Does the array hold n numbers, those of a or b by turns (b NULL: of a)? */
static bool
same(const json_t *array, int64_t n, const int32_t *a, const int64_t *x, const int64_t *y)
{
	if ((int64_t) json_array_size(array) != (x != NULL ? 2 * n : n))
		return false;
	for (int64_t i = 0; i < n; i++)
		if (x == NULL ? json_integer_value(json_array_get(array, (size_t) i)) != a[i]
			: json_integer_value(json_array_get(array, (size_t) (2 * i))) != x[i] ||
			json_integer_value(json_array_get(array, (size_t) (2 * i + 1))) != y[i])
			return false;
	return true;
}

/* What differs between a case and our result, or NULL. */
static const char *
check_case(Loaded *l, const json_t *c)
{
	const json_t *pair = json_object_get(c, "pair");
	const json_t *count = json_object_get(c, "count");
	const json_t *decoded = json_object_get(c, "decoded");
	PlmText		text = {json_string_value(json_object_get(c, "text")), json_string_length(json_object_get(c, "text"))};
	PlmText		second = {json_string_value(pair), json_string_length(pair)};
	PlmEncoding e;
	PlmText		out;
	int64_t		n = -1;
	PlmStatus	status = plm_encode(&l->t, text, pair != NULL ? &second : NULL,
									json_integer_value(json_object_get(c, "max")), NULL, &l->arena, &e, &l->err);

	if (json_is_true(json_object_get(c, "error")))
		return status == PLM_OK ? "the reference refuses this" : NULL;
	if (status != PLM_OK)
		return l->err.message;
	if (!same(json_object_get(c, "ids"), e.n, e.ids, NULL, NULL))
		return "ids";
	if (!same(json_object_get(c, "types"), e.n, e.types, NULL, NULL))
		return "types";
	if (!same(json_object_get(c, "offsets"), e.n, NULL, e.start, e.end))
		return "offsets";
	if (plm_decode(&l->t, e.ids, e.n, true, &l->arena, &out, &l->err) != PLM_OK ||
		out.len != json_string_length(decoded) || memcmp(out.data, json_string_value(decoded), out.len) != 0)
		return "decoded text";
	if (count != NULL && (plm_count_tokens(&l->t, text, NULL, &l->arena, &n, &l->err) != PLM_OK ||
						  n != json_integer_value(count)))
		return "count";
	return NULL;
}

static void
check_cases(const char *name, Loaded *l, const json_t *cases)
{
	int64_t		bad = 0;
	size_t		first = 0;
	const char *why = NULL;

	for (size_t i = 0; l->status == PLM_OK && i < json_array_size(cases); i++)
	{
		PlmMark		mark = plm_arena_mark(&l->arena);
		const char *w = check_case(l, json_array_get(cases, i));

		if (w != NULL && bad++ == 0)
		{
			first = i;
			why = w;
		}
		plm_arena_rewind(&l->arena, mark);
	}
	CHECK(name, l->status == PLM_OK && bad == 0 && json_array_size(cases) > 0,
		  "%s; %" PRId64 " of %zu cases differ, first case %zu: %s", l->err.message, bad, json_array_size(cases),
		  first, why != NULL ? why : "-");
}

static void
golden(const char *file)
{
	char		path[256];
	char		name[256];
	json_t	   *json;
	const json_t *vocab;
	const json_t *lower;
	PlmText		text;
	Loaded		l;

	snprintf(path, sizeof(path), GOLDEN "%s.json", file);
	snprintf(name, sizeof(name), "golden_%s_equals_reference", file);
	json = load(path);
	vocab = json_object_get(json, "vocab");
	lower = json_object_get(json, "lower");
	text = slurp(json_string_value(vocab != NULL ? vocab : json_object_get(json, "tokenizer")));
	if (text.data == NULL)
		SKIP(name, "the tokenizer's files are not here");
	else
	{
		PlmText		config = span(lower != NULL && json_is_false(lower) ? "{\"do_lower_case\": false}" : NULL);

		compile(&l, vocab != NULL ? (PlmTokenizerFiles) {.vocab_txt = text,.tokenizer_config_json = config} :
				(PlmTokenizerFiles) {.tokenizer_json = text});
		check_cases(name, &l, json_object_get(json, "cases"));
		plm_arena_free(&l.arena);
	}
	free((char *) text.data);
	json_decref(json);
}

/* A tokenizer.json for the own vocabulary, as the reference writes it. */
static json_t *
own_json(void)
{
	PlmText		text = slurp(GOLDEN "own_vocab.txt");
	json_t	   *vocab = json_object();
	json_t	   *added = json_array();
	int			id = 0;

	for (char *p = (char *) text.data, *end; p < text.data + text.len; p = end + 1, id++)
	{
		end = memchr(p, '\n', (size_t) (text.data + text.len - p));
		*end = '\0';
		json_object_set_new(vocab, p, json_integer(id));
		if (id < 5)
			json_array_append_new(added, json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", id, "content", p,
												   "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0,
												   "special", 1));
	}
	free((char *) text.data);
	return json_pack("{s:s, s:n, s:n, s:o, s:{s:s, s:b, s:b, s:n, s:b}, s:{s:s}, s:{s:s, s:[si], s:[si]}, "
					 "s:{s:s, s:s, s:b}, s:{s:s, s:s, s:s, s:i, s:o}}",
					 "version", "1.0", "truncation", "padding", "added_tokens", added,
					 "normalizer", "type", "BertNormalizer", "clean_text", 1, "handle_chinese_chars", 1,
					 "strip_accents", "lowercase", 1, "pre_tokenizer", "type", "BertPreTokenizer",
					 "post_processor", "type", "BertProcessing", "sep", "[SEP]", 3, "cls", "[CLS]", 2,
					 "decoder", "type", "WordPiece", "prefix", "##", "cleanup", 1,
					 "model", "type", "WordPiece", "unk_token", "[UNK]", "continuing_subword_prefix", "##",
					 "max_input_chars_per_word", 100, "vocab", vocab);
}

static void
golden_variants(void)
{
	json_t	   *json = load(GOLDEN "own_variants.json");
	const json_t *variants = json_object_get(json, "variants");

	for (size_t i = 0; i < json_array_size(variants); i++)
	{
		const json_t *v = json_array_get(variants, i);
		json_t	   *patch = json_object_get(v, "patch");
		json_t	   *chars = json_object_get(patch, "max_input_chars_per_word");
		json_t	   *root = own_json();
		char		name[256];
		char	   *text;
		Loaded		l;

		json_object_update(root, patch);
		if (chars != NULL)
			json_object_set(json_object_get(root, "model"), "max_input_chars_per_word", chars);
		text = json_dumps(root, 0);
		snprintf(name, sizeof(name), "variant_%s_equals_reference", json_string_value(json_object_get(v, "name")));
		compile_json(&l, text);
		check_cases(name, &l, json_object_get(v, "cases"));
		plm_arena_free(&l.arena);
		free(text);
		json_decref(root);
	}
	CHECK("there_are_variants", json_array_size(variants) > 20, "%zu", json_array_size(variants));
	json_decref(json);
}

/* ---- published vectors ---- */

static int64_t
ids_differ(Loaded *l, PlmText text, const PlmText *pair, const json_t *ids)
{
	PlmEncoding e;
	PlmMark		mark = plm_arena_mark(&l->arena);
	bool		ok = plm_encode(&l->t, text, pair, 0, NULL, &l->arena, &e, &l->err) == PLM_OK &&
		same(ids, e.n, e.ids, NULL, NULL);

	plm_arena_rewind(&l->arena, mark);
	return !ok;
}

/* Vectors of transformers.js for the models whose vocabulary is here. */
static void
published(const char *file, const char *key, const char *vocabulary, const char *config)
{
	char		name[256];
	json_t	   *json;
	const json_t *cases;
	PlmText		vocab = slurp(vocabulary);
	Loaded		l;
	int64_t		bad = 0;

	snprintf(name, sizeof(name), "published_vectors_of_%s", key);
	json = load(file);
	if (json == NULL || vocab.data == NULL)
	{
		SKIP(name, "no shared data");
		free((char *) vocab.data);
		json_decref(json);
		return;
	}
	cases = json_object_get(json, key);
	compile(&l, (PlmTokenizerFiles) {.vocab_txt = vocab,.tokenizer_config_json = span(config)});
	for (size_t i = 0; l.status == PLM_OK && i < json_array_size(cases); i++)
	{
		const json_t *c = json_array_get(cases, i);
		const json_t *text = json_object_get(c, "text");
		const json_t *second = json_object_get(c, "text_pair");
		PlmText		pair = {json_string_value(second), json_string_length(second)};

		bad += ids_differ(&l, (PlmText) {json_string_value(text), json_string_length(text)},
						  second != NULL ? &pair : NULL, json_object_get(c, "ids"));
	}
	CHECK(name, l.status == PLM_OK && bad == 0 && json_array_size(cases) > 0, "%s; %" PRId64 " of %zu differ",
		  l.err.message, bad, json_array_size(cases));
	plm_arena_free(&l.arena);
	free((char *) vocab.data);
	json_decref(json);
}

/* llama.cpp's vectors: texts between marker lines, one line of ids each, without special tokens. */
static void
published_bge(void)
{
	static const char marker[] = "\n__ggml_vocab_test__\n";
	PlmText		in = slurp("$PLM_SHARED/data/tokenizers/llama.cpp_vectors/ggml-vocab-bert-bge.gguf.inp");
	PlmText		out = slurp("$PLM_SHARED/data/tokenizers/llama.cpp_vectors/ggml-vocab-bert-bge.gguf.out");
	PlmText		tok = slurp("$PLM_SHARED/data/tokenizers/bge-small-en-v1.5/tokenizer.json");
	Loaded		l;
	int			bad = 0,
				n = 0;

	if (in.data == NULL || out.data == NULL || tok.data == NULL)
		SKIP("published_vectors_of_bge", "no shared data");
	else
	{
		char	   *p = (char *) in.data;
		char	   *line = (char *) out.data;

		((char *) in.data)[in.len] = ((char *) out.data)[out.len] = '\0';
		compile(&l, (PlmTokenizerFiles) {.tokenizer_json = tok});
		for (char *next; l.status == PLM_OK && p != NULL; p = next, n++)
		{
			PlmEncoding e = {0};
			char	   *end = strstr(p, marker);

			next = end != NULL ? end + strlen(marker) : NULL;
			encode(&l, (PlmText) {p, end != NULL ? (size_t) (end - p) : strlen(p)}, 0, &e);
			for (int64_t i = 1; i < e.n - 1; i++)
			{
				char	   *after;

				bad += strtol(line, &after, 10) != e.ids[i] || after == line;
				line = after;
			}
			line += strspn(line, " ");
			bad += *line != '\n' && *line != '\0';
			line += *line == '\n';
		}
		CHECK("published_vectors_of_bge", l.status == PLM_OK && bad == 0 && n == 47, "%d ids differ, %d texts", bad, n);
		plm_arena_free(&l.arena);
	}
	free((char *) in.data);
	free((char *) out.data);
	free((char *) tok.data);
}

int
main(void)
{
	static const char *const files[] = {"own", "own_cased", "shop-mini", "bert-base-uncased", "bert-base-cased",
		"bert-base-chinese", "bert-base-uncased-json", "all-MiniLM-L6-v2", "bge-small-en-v1.5"
	};
	static const char bert[] = "$PLM_SHARED/data/tokenizers/transformersjs_vectors/bert.json";
	static const char distil[] = "$PLM_SHARED/data/tokenizers/transformersjs_vectors/distilbert.json";
	static const char uncased[] = "$PLM_SHARED/data/tokenizers/bert-base-uncased/vocab.txt";
	static const char cased[] = "$PLM_SHARED/data/tokenizers/bert-base-cased/vocab.txt";
	static const char chinese[] = "$PLM_SHARED/data/tokenizers/bert-base-chinese/vocab.txt";
	static const char keep_case[] = "{\"do_lower_case\": false}";

	for (int64_t i = 0; i < PLM_COUNT(files); i++)
		golden(files[i]);
	golden_variants();
	published(bert, "Xenova/bert-base-uncased", uncased, NULL);
	published(bert, "Xenova/bert-base-cased", cased, keep_case);
	published(bert, "google-bert/bert-base-cased", cased, keep_case);
	published(bert, "Xenova/bge-small-zh-v1.5", chinese, keep_case);
	published(bert, "Xenova/bge-base-zh-v1.5", chinese, NULL);
	published(distil, "Xenova/distilbert-base-uncased-finetuned-sst-2-english", uncased, NULL);
	published(distil, "Xenova/distilbert-base-cased-distilled-squad", cased, keep_case);
	published_bge();
	return unit_done();
}
