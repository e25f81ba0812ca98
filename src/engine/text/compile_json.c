/*
 * compile_json.c -- tokenizer.json: reads what is supported, names what is not.
 */
#include "../base/plm_json.h"
#include "text_private.h"

#include <string.h>

static const char file[] = "tokenizer.json";

static PlmStatus
unsupported(PlmBuild *build, const char *what, const char *name)
{
	return plm_fail(build->err, PLM_EUNSUPPORTED, 0, "%s: %s \"%.80s\" is not supported", file, what, name);
}

static PlmStatus
malformed(PlmBuild *build, const char *where, const char *key)
{
	return plm_fail(build->err, PLM_ECORRUPT, 0, "%s: \"%s\" of %s is missing or of the wrong type", file, key, where);
}

static PlmText
text_of(const json_t *string)
{
	return (PlmText) {json_string_value(string), json_string_length(string)};
}

static bool
is(const json_t *string, const char *value)
{
	return json_is_string(string) && strcmp(json_string_value(string), value) == 0;
}

/* The "type" of a component, or NULL with an error. */
static const char *
type_of(PlmBuild *build, const json_t *component, const char *where)
{
	const char *type = json_string_value(json_object_get(component, "type"));

	if (type == NULL)
		malformed(build, where, "type");
	return type;
}

static PlmStatus
boolean(PlmBuild *build, const json_t *component, const char *key, const char *where, bool *out)
{
	const json_t *value = json_object_get(component, key);

	if (!json_is_boolean(value))
		return malformed(build, where, key);
	*out = json_is_true(value);
	return PLM_OK;
}

/* A whole number in [0, max], which the parser gives as a real. */
static PlmStatus
number(PlmBuild *build, const json_t *value, const char *where, const char *key, int64_t max, int64_t *out)
{
	double		x = json_number_value(value);

	if (!json_is_number(value) || !(x >= 0 && x <= (double) max) || x != (double) (int64_t) x)
		return malformed(build, where, key);
	*out = (int64_t) x;
	return PLM_OK;
}

/* ---- normalizer ---- */

static PlmStatus
bert_normalizer(PlmBuild *build, const json_t *n)
{
	const json_t *strip = json_object_get(n, "strip_accents");
	bool		clean,
				cjk,
				lower;

	PLM_TRY(boolean(build, n, "clean_text", "BertNormalizer", &clean));
	PLM_TRY(boolean(build, n, "handle_chinese_chars", "BertNormalizer", &cjk));
	PLM_TRY(boolean(build, n, "lowercase", "BertNormalizer", &lower));
	return plm_build_bert_norm(build, clean, cjk, json_is_boolean(strip) ? json_is_true(strip) : lower, lower);
}

static PlmStatus
replace_normalizer(PlmBuild *build, const json_t *n)
{
	const json_t *pattern = json_object_get(n, "pattern");
	PlmText		from = text_of(json_object_get(pattern, "String"));
	PlmText		to = text_of(json_object_get(n, "content"));
	PlmNormOp  *op;

	if (to.data == NULL)
		return malformed(build, "Replace", "content");
	if (from.data == NULL || from.len == 0 || from.len > PLM_MAX_PATTERN || to.len > PLM_MAX_PATTERN)
		return unsupported(build, "normalizer", "Replace with a regular expression, an empty or a long text");
	build->growth *= to.len > 1 ? (int64_t) to.len : 1;
	if (build->growth > PLM_MAX_GROWTH)
		return unsupported(build, "normalizer", "Replace that makes texts much longer");
	PLM_TRY(plm_build_norm(build, PLM_NORM_REPLACE, &op));
	PLM_TRY(plm_build_string(build, from.data, from.len, &op->from));
	return plm_build_string(build, to.data, to.len, &op->to);
}

static PlmStatus
strip_normalizer(PlmBuild *build, const json_t *n)
{
	PlmNormOp  *op;
	bool		left,
				right;

	PLM_TRY(boolean(build, n, "strip_left", "Strip", &left));
	PLM_TRY(boolean(build, n, "strip_right", "Strip", &right));
	PLM_TRY(plm_build_norm(build, PLM_NORM_STRIP, &op));
	op->left = left;
	op->right = right;
	return PLM_OK;
}

static PlmStatus
prepend_normalizer(PlmBuild *build, const json_t *n)
{
	PlmText		text = text_of(json_object_get(n, "prepend"));
	PlmNormOp  *op;

	if (text.data == NULL)
		return malformed(build, "Prepend", "prepend");
	if (text.len > PLM_MAX_PATTERN)
		return unsupported(build, "normalizer", "Prepend with a long text");
	PLM_TRY(plm_build_norm(build, PLM_NORM_PREPEND, &op));
	return plm_build_string(build, text.data, text.len, &op->to);
}

/* Nesting is bounded by the parser's depth. */
static PlmStatus
normalizer(PlmBuild *build, const json_t *n)
{
	static const struct
	{
		const char *type;
		PlmNormKind kind;
	}			simple[] = {
		{"Lowercase", PLM_NORM_LOWER}, {"NFC", PLM_NORM_NFC}, {"NFD", PLM_NORM_NFD}, {"NFKC", PLM_NORM_NFKC},
		{"NFKD", PLM_NORM_NFKD}, {"StripAccents", PLM_NORM_DROP_MARKS}
	};
	const json_t *list = json_object_get(n, "normalizers");
	const char *type;

	if (n == NULL || json_is_null(n))
		return PLM_OK;
	type = type_of(build, n, "normalizer");
	if (type == NULL)
		return PLM_ECORRUPT;
	for (int64_t i = 0; i < PLM_COUNT(simple); i++)
		if (strcmp(type, simple[i].type) == 0)
			return plm_build_norm(build, simple[i].kind, NULL);
	if (strcmp(type, "BertNormalizer") == 0)
		return bert_normalizer(build, n);
	if (strcmp(type, "Replace") == 0)
		return replace_normalizer(build, n);
	if (strcmp(type, "Strip") == 0)
		return strip_normalizer(build, n);
	if (strcmp(type, "Prepend") == 0)
		return prepend_normalizer(build, n);
	if (strcmp(type, "Sequence") != 0)
		return unsupported(build, "normalizer", type);
	if (!json_is_array(list))
		return malformed(build, "Sequence", "normalizers");
	for (size_t i = 0; i < json_array_size(list); i++)
		PLM_TRY(normalizer(build, json_array_get(list, i)));
	return PLM_OK;
}

/* ---- pre-tokenizer ---- */

static PlmStatus
punctuation(PlmBuild *build, const json_t *p)
{
	static const char *const names[PLM_BEHAVIORS] = {
		"Removed", "Isolated", "Contiguous", "MergedWithPrevious", "MergedWithNext"
	};
	const json_t *behavior = json_object_get(p, "behavior");

	if (behavior == NULL)
		return plm_build_split(build, PLM_SPLIT_PUNCTUATION, PLM_ISOLATED);
	for (int i = 0; i < PLM_BEHAVIORS; i++)
		if (is(behavior, names[i]))
			return plm_build_split(build, PLM_SPLIT_PUNCTUATION, (PlmBehavior) i);
	return malformed(build, "Punctuation", "behavior");
}

static PlmStatus
pre_tokenizer(PlmBuild *build, const json_t *p)
{
	const json_t *list = json_object_get(p, "pretokenizers");
	const char *type;
	bool		single;

	if (p == NULL || json_is_null(p))
		return PLM_OK;
	type = type_of(build, p, "pre_tokenizer");
	if (type == NULL)
		return PLM_ECORRUPT;
	if (strcmp(type, "BertPreTokenizer") == 0)
		return plm_build_bert_split(build);
	if (strcmp(type, "Whitespace") == 0)
		return plm_build_split(build, PLM_SPLIT_WORD, PLM_REMOVED);
	if (strcmp(type, "WhitespaceSplit") == 0)
		return plm_build_split(build, PLM_SPLIT_SPACE, PLM_REMOVED);
	if (strcmp(type, "Punctuation") == 0)
		return punctuation(build, p);
	if (strcmp(type, "Digits") == 0)
	{
		PLM_TRY(boolean(build, p, "individual_digits", "Digits", &single));
		return plm_build_split(build, PLM_SPLIT_DIGITS, single ? PLM_ISOLATED : PLM_CONTIGUOUS);
	}
	if (strcmp(type, "Sequence") != 0)
		return unsupported(build, "pre-tokenizer", type);
	if (!json_is_array(list))
		return malformed(build, "Sequence", "pretokenizers");
	for (size_t i = 0; i < json_array_size(list); i++)
		PLM_TRY(pre_tokenizer(build, json_array_get(list, i)));
	return PLM_OK;
}

/* ---- model and added tokens ---- */

static PlmStatus
vocabulary(PlmBuild *build, const json_t *vocab)
{
	size_t		n = json_object_size(vocab);
	PlmBuildToken *tokens;

	if (!json_is_object(vocab))
		return malformed(build, "model", "vocab");
	if (n > PLM_MAX_TOKENS - 65536)
		return plm_fail(build->err, PLM_ELIMIT, 0, "%s: more than %d tokens", file, PLM_MAX_TOKENS - 65536);
	tokens = plm_arena_zero(build->arena, (n + 1) * sizeof(PlmBuildToken));
	if (tokens == NULL)
		return plm_arena_refused(build->arena, n * sizeof(PlmBuildToken), build->err);
	for (void *it = json_object_iter((json_t *) vocab); it != NULL; it = json_object_iter_next((json_t *) vocab, it))
	{
		const char *key = json_object_iter_key(it);
		int64_t		id;

		if (number(build, json_object_iter_value(it), "vocab", "an id", PLM_MAX_TOKENS, &id) != PLM_OK || id >= (int64_t) n)
			return plm_fail(build->err, PLM_ECORRUPT, 0, "%s: the id of token \"%.80s\" is not one of 0 to %zu",
							file, key, n - 1);
		if (tokens[id].text != NULL)
			return plm_fail(build->err, PLM_ECORRUPT, 0, "%s: tokens \"%.80s\" and \"%.80s\" have the same id %" PRId64,
							file, tokens[id].text, key, id);
		tokens[id] = (PlmBuildToken) {key, strlen(key)};
	}
	return plm_build_vocabulary(build, tokens, (int32_t) n, file);
}

static PlmStatus
model(PlmBuild *build, const json_t *m)
{
	PlmBlob    *rules = &build->rules;
	const json_t *type = json_object_get(m, "type");
	const json_t *unk = json_object_get(m, "unk_token");
	PlmText		prefix = text_of(json_object_get(m, "continuing_subword_prefix"));
	int64_t		max_chars;

	if (type != NULL && !is(type, "WordPiece"))
		return unsupported(build, "model", json_is_string(type) ? json_string_value(type) : "?");
	/* Older files name no type; this key is WordPiece's alone. */
	if (type == NULL && json_object_get(m, "max_input_chars_per_word") == NULL)
		return malformed(build, "model", "type");
	if (!json_is_string(unk))
		return malformed(build, "model", "unk_token");
	if (prefix.data == NULL)
		return malformed(build, "model", "continuing_subword_prefix");
	PLM_TRY(number(build, json_object_get(m, "max_input_chars_per_word"), "model", "max_input_chars_per_word",
				   INT32_MAX, &max_chars));
	if (max_chars < 1 || max_chars > PLM_MAX_WORD_CHARS)
		return plm_fail(build->err, PLM_EUNSUPPORTED, 0, "%s: max_input_chars_per_word is %" PRId64 ", not 1 to %d",
						file, max_chars, PLM_MAX_WORD_CHARS);
	PLM_TRY(vocabulary(build, json_object_get(m, "vocab")));
	rules->unk = plm_build_find(build, text_of(unk));
	if (rules->unk < 0)
		return plm_fail(build->err, PLM_ENOTFOUND, 0, "%s: the unknown token \"%.80s\" is not in the vocabulary",
						file, json_string_value(unk));
	rules->max_word_chars = (uint32_t) max_chars;
	return plm_build_string(build, prefix.data, prefix.len, &rules->prefix);
}

static PlmStatus
added_tokens(PlmBuild *build, const json_t *list)
{
	static const struct
	{
		const char *key;
		uint32_t	bit;
	}			flags[] = {
		{"single_word", PLM_ADDED_SINGLE_WORD}, {"lstrip", PLM_ADDED_LSTRIP}, {"rstrip", PLM_ADDED_RSTRIP},
		{"normalized", PLM_ADDED_NORMALIZED}, {"special", PLM_ADDED_SPECIAL}
	};

	if (list != NULL && !json_is_null(list) && !json_is_array(list))
		return malformed(build, "the file", "added_tokens");
	for (size_t i = 0; i < json_array_size(list); i++)
	{
		const json_t *token = json_array_get(list, i);
		const json_t *content = json_object_get(token, "content");
		int64_t		id;
		uint32_t	bits = 0;

		if (!json_is_string(content))
			return malformed(build, "an added token", "content");
		PLM_TRY(number(build, json_object_get(token, "id"), "an added token", "id", INT32_MAX, &id));
		for (int64_t k = 0; k < PLM_COUNT(flags); k++)
		{
			bool		set = false;

			PLM_TRY(boolean(build, token, flags[k].key, "an added token", &set));
			bits |= set ? flags[k].bit : 0;
		}
		PLM_TRY(plm_build_add(build, text_of(content), bits, id, file));
	}
	return PLM_OK;
}

/* ---- post-processor ---- */

static PlmStatus
add_piece(PlmBuild *build, PlmTemplate *t, PlmPiece piece)
{
	if (t->n == PLM_MAX_PIECES)
		return plm_fail(build->err, PLM_EUNSUPPORTED, 0, "%s: a template of more than %d pieces", file, PLM_MAX_PIECES);
	t->pieces[t->n++] = piece;
	return PLM_OK;
}

/* One piece: {"Sequence": {"id": "A", "type_id": 0}} or {"SpecialToken": {...}}, which may stand for several ids. */
static PlmStatus
template_piece(PlmBuild *build, PlmTemplate *t, const json_t *piece, const json_t *specials, bool pair)
{
	const json_t *sequence = json_object_get(piece, "Sequence");
	const json_t *special = json_object_get(piece, "SpecialToken");
	const json_t *it = sequence != NULL ? sequence : special;
	const json_t *name = json_object_get(it, "id");
	const json_t *ids;
	int64_t		type,
				id;

	if (!json_is_string(name))
		return malformed(build, "a template", "id");
	PLM_TRY(number(build, json_object_get(it, "type_id"), "a template", "type_id", 1 << 20, &type));
	if (sequence != NULL)
	{
		bool		second = is(name, "B");

		if ((second && !pair) || (!second && !is(name, "A")))
			return malformed(build, "a template", "Sequence");
		return add_piece(build, t, (PlmPiece) {second ? PLM_PIECE_SECOND : PLM_PIECE_FIRST, 0, (int32_t) type});
	}
	ids = json_object_get(json_object_get(specials, json_string_value(name)), "ids");
	if (!json_is_array(ids))
		return malformed(build, "special_tokens", json_string_value(name));
	for (size_t i = 0; i < json_array_size(ids); i++)
	{
		PLM_TRY(number(build, json_array_get(ids, i), "special_tokens", "ids", INT32_MAX, &id));
		if (id >= build->tokens)
			return plm_fail(build->err, PLM_ECORRUPT, 0, "%s: the post-processor adds id %" PRId64 " of %" PRId32 " tokens",
							file, id, build->tokens);
		PLM_TRY(add_piece(build, t, (PlmPiece) {PLM_PIECE_TOKEN, (int32_t) id, (int32_t) type}));
	}
	return PLM_OK;
}

static PlmStatus
template_processing(PlmBuild *build, const json_t *p)
{
	for (int pair = 0; pair < 2; pair++)
	{
		const char *key = pair ? "pair" : "single";
		const json_t *list = json_object_get(p, key);
		PlmTemplate *t = pair ? &build->rules.pair : &build->rules.single;

		if (!json_is_array(list))
			return malformed(build, "TemplateProcessing", key);
		t->n = 0;
		for (size_t i = 0; i < json_array_size(list); i++)
			PLM_TRY(template_piece(build, t, json_array_get(list, i), json_object_get(p, "special_tokens"), pair));
		if (!plm_template_sound(t, pair))
			return plm_fail(build->err, PLM_EUNSUPPORTED, 0, "%s: template \"%s\" does not hold each text once", file, key);
	}
	return PLM_OK;
}

/* ["[SEP]", 102] */
static PlmStatus
bert_token(PlmBuild *build, const json_t *p, const char *key, int32_t *out)
{
	int64_t		id;

	PLM_TRY(number(build, json_array_get(json_object_get(p, key), 1), "BertProcessing", key, INT32_MAX, &id));
	if (id >= build->tokens)
		return malformed(build, "BertProcessing", key);
	*out = (int32_t) id;
	return PLM_OK;
}

static PlmStatus
post_processor(PlmBuild *build, const json_t *p)
{
	const char *type;
	int32_t		cls = 0,
				sep = 0;

	build->rules.single = (PlmTemplate) {1, {{PLM_PIECE_FIRST, 0, 0}}};
	build->rules.pair = (PlmTemplate) {2, {{PLM_PIECE_FIRST, 0, 0}, {PLM_PIECE_SECOND, 0, 1}}};
	if (p == NULL || json_is_null(p))
		return PLM_OK;
	type = type_of(build, p, "post_processor");
	if (type == NULL)
		return PLM_ECORRUPT;
	if (strcmp(type, "TemplateProcessing") == 0)
		return template_processing(build, p);
	if (strcmp(type, "BertProcessing") != 0)
		return unsupported(build, "post-processor", type);
	PLM_TRY(bert_token(build, p, "cls", &cls));
	PLM_TRY(bert_token(build, p, "sep", &sep));
	return plm_build_bert_templates(build, cls, sep);
}

/* ---- truncation, decoder, all ---- */

static PlmStatus
truncation(PlmBuild *build, const json_t *t)
{
	static const char *const strategies[PLM_STRATEGIES] = {"LongestFirst", "OnlyFirst", "OnlySecond"};
	const json_t *strategy = json_object_get(t, "strategy");
	const json_t *direction = json_object_get(t, "direction");
	int64_t		max = 0;

	if (t == NULL || json_is_null(t))
		return PLM_OK;
	PLM_TRY(number(build, json_object_get(t, "max_length"), "truncation", "max_length", INT64_C(1) << 53, &max));
	if (build->rules.model_max_length == 0 && max < 1000000000)
		build->rules.model_max_length = max;
	if (direction != NULL && !is(direction, "Left") && !is(direction, "Right"))
		return malformed(build, "truncation", "direction");
	build->rules.truncate_left = is(direction, "Left");
	for (int i = 0; i < PLM_STRATEGIES; i++)
		if (is(strategy, strategies[i]))
		{
			build->rules.truncate_strategy = (uint32_t) i;
			return PLM_OK;
		}
	return malformed(build, "truncation", "strategy");
}

static PlmStatus
decoder(PlmBuild *build, const json_t *d)
{
	const char *type;
	PlmText		prefix = text_of(json_object_get(d, "prefix"));
	bool		cleanup;

	if (d == NULL || json_is_null(d))
		return PLM_OK;
	type = type_of(build, d, "decoder");
	if (type == NULL)
		return PLM_ECORRUPT;
	if (strcmp(type, "WordPiece") != 0)
		return unsupported(build, "decoder", type);
	if (prefix.data == NULL)
		return malformed(build, "decoder", "prefix");
	PLM_TRY(boolean(build, d, "cleanup", "decoder", &cleanup));
	build->rules.decoder = 1;
	build->rules.decoder_cleanup = cleanup;
	return plm_build_string(build, prefix.data, prefix.len, &build->rules.decoder_prefix);
}

PlmStatus
plm_compile_json(PlmBuild *build, const json_t *root)
{
	const json_t *m = json_object_get(root, "model");

	if (!json_is_object(m))
		return malformed(build, "the file", "model");
	PLM_TRY(model(build, m));
	PLM_TRY(added_tokens(build, json_object_get(root, "added_tokens")));
	PLM_TRY(normalizer(build, json_object_get(root, "normalizer")));
	PLM_TRY(pre_tokenizer(build, json_object_get(root, "pre_tokenizer")));
	PLM_TRY(post_processor(build, json_object_get(root, "post_processor")));
	PLM_TRY(truncation(build, json_object_get(root, "truncation")));
	return decoder(build, json_object_get(root, "decoder"));
}
