/*
 * compile_vocab.c -- a BERT tokenizer from vocab.txt, tokenizer_config.json, special_tokens_map.json and
 * added_tokens.json, with the defaults of the reference's BertTokenizer.
 */
#include "../base/plm_json.h"
#include "text_private.h"

#include <string.h>

#define MAX_VOCAB_BYTES ((size_t) 64 << 20)

/* One token a line, ended by "\n", "\r\n" or "\r", nothing else trimmed: as Python reads a text file. */
static PlmStatus
read_lines(PlmBuild *build, PlmText vocab, PlmBuildToken **out, int32_t *n)
{
	int64_t		lines = 0;
	size_t		at = 0;
	int64_t		invalid;
	PlmBuildToken *tokens;

	if (vocab.len > MAX_VOCAB_BYTES)
		return plm_fail(build->err, PLM_ELIMIT, 0, "vocab.txt has %zu bytes, more than %zu", vocab.len, MAX_VOCAB_BYTES);
	invalid = plm_utf8_invalid(vocab);
	if (invalid >= 0)
		return plm_fail(build->err, PLM_ECORRUPT, invalid, "vocab.txt is not valid UTF-8 at byte %" PRId64, invalid);
	for (size_t i = 0; i < vocab.len; i++)
		lines += vocab.data[i] == '\n' || vocab.data[i] == '\r';
	if (lines > PLM_MAX_TOKENS - 65536)
		return plm_fail(build->err, PLM_ELIMIT, 0, "vocab.txt has more than %d lines", PLM_MAX_TOKENS - 65536);
	tokens = plm_arena_array(build->arena, (size_t) lines + 1, sizeof(PlmBuildToken));
	if (tokens == NULL)
		return plm_arena_refused(build->arena, (size_t) lines * sizeof(PlmBuildToken), build->err);
	for (*n = 0; at < vocab.len; (*n)++)
	{
		size_t		end = at;

		while (end < vocab.len && vocab.data[end] != '\n' && vocab.data[end] != '\r')
			end++;
		tokens[*n] = (PlmBuildToken) {vocab.data + at, end - at};
		at = end + (end + 1 < vocab.len && vocab.data[end] == '\r' && vocab.data[end + 1] == '\n' ? 2 : 1);
	}
	*out = tokens;
	return PLM_OK;
}

/* ---- added tokens ---- */

typedef struct Entry
{
	int64_t		id;
	PlmText		name;
	uint32_t	flags;
} Entry;

static void
sift(Entry *e, int64_t at, int64_t n)
{
	for (int64_t child = 2 * at + 1; child < n; at = child, child = 2 * at + 1)
	{
		Entry		swap = e[at];

		if (child + 1 < n && e[child].id < e[child + 1].id)
			child++;
		if (e[at].id >= e[child].id)
			return;
		e[at] = e[child];
		e[child] = swap;
	}
}

static uint32_t
flag(const json_t *token, const char *key, uint32_t bit)
{
	return json_is_true(json_object_get(token, key)) ? bit : 0;
}

/* "103": {"content": "[MASK]", ...} of added_tokens_decoder. */
static bool
decoder_entry(const char *key, const json_t *token, Entry *entry)
{
	entry->id = 0;
	for (const char *p = key; *p != '\0'; p++)
	{
		if (*p < '0' || *p > '9' || entry->id > PLM_MAX_TOKENS)
			return false;
		entry->id = entry->id * 10 + (*p - '0');
	}
	entry->name = plm_json_token(token);
	entry->flags = flag(token, "single_word", PLM_ADDED_SINGLE_WORD) | flag(token, "lstrip", PLM_ADDED_LSTRIP) |
		flag(token, "rstrip", PLM_ADDED_RSTRIP) | flag(token, "normalized", PLM_ADDED_NORMALIZED) |
		flag(token, "special", PLM_ADDED_SPECIAL);
	return entry->name.data != NULL;
}

static bool
is_role(const PlmBuild *build, PlmText name)
{
	for (int i = 0; i < PLM_ROLES; i++)
		if (build->role[i].len == name.len && memcmp(build->role[i].data, name.data, name.len) == 0)
			return true;
	return false;
}

/* "[MASK]": 103 of added_tokens.json: only the special ones are searched in the raw text. */
static bool
plain_entry(const PlmBuild *build, const char *key, const json_t *id, Entry *entry)
{
	double		number = json_number_value(id);

	if (!json_is_number(id) || number < 0 || number > PLM_MAX_TOKENS || number != (double) (int64_t) number)
		return false;
	entry->id = (int64_t) number;
	entry->name = (PlmText) {key, strlen(key)};
	entry->flags = is_role(build, entry->name) ? PLM_ADDED_SPECIAL : PLM_ADDED_NORMALIZED;
	return true;
}

/* All entries of one of the two files, added in the order of their ids. */
static PlmStatus
add_entries(PlmBuild *build, const json_t *object, bool decoder, const char *file)
{
	int64_t		n = 0;
	Entry	   *entries = plm_arena_array(build->arena, json_object_size(object) + 1, sizeof(Entry));

	if (entries == NULL)
		return plm_arena_refused(build->arena, json_object_size(object) * sizeof(Entry), build->err);
	for (void *it = json_object_iter((json_t *) object); it != NULL;
		 it = json_object_iter_next((json_t *) object, it), n++)
	{
		const char *key = json_object_iter_key(it);
		const json_t *value = json_object_iter_value(it);

		if (!(decoder ? decoder_entry(key, value, &entries[n]) : plain_entry(build, key, value, &entries[n])))
			return plm_fail(build->err, PLM_ECORRUPT, 0, "%s: added token \"%.80s\" is not understood", file, key);
	}
	for (int64_t i = n / 2; i > 0; i--)
		sift(entries, i - 1, n);
	for (int64_t i = n; i > 1; i--)
	{
		Entry		swap = entries[0];

		entries[0] = entries[i - 1];
		entries[i - 1] = swap;
		sift(entries, 0, i - 1);
	}
	for (int64_t i = 0; i < n; i++)
		PLM_TRY(plm_build_add(build, entries[i].name, entries[i].flags, entries[i].id, file));
	return PLM_OK;
}

/* A special token by name, unless it was added already or the vocabulary has no such token. */
static PlmStatus
add_special(PlmBuild *build, PlmText name)
{
	int32_t		id = plm_build_find(build, name);

	if (id < 0 || build->added_at[id] != 0)
		return PLM_OK;
	return plm_build_add(build, name, PLM_ADDED_SPECIAL, id, "special tokens");
}

static PlmStatus
add_all(PlmBuild *build, const json_t *config, const json_t *special_map, const json_t *added)
{
	const json_t *decoder = json_object_get(config, "added_tokens_decoder");
	const json_t *more = json_object_get(json_is_object(decoder) ? config : special_map, "additional_special_tokens");

	if (json_is_object(decoder))
		PLM_TRY(add_entries(build, decoder, true, "tokenizer_config.json"));
	else if (added != NULL)
		PLM_TRY(add_entries(build, added, false, "added_tokens.json"));
	for (int i = 0; i < PLM_ROLES; i++)
		PLM_TRY(add_special(build, build->role[i]));
	for (size_t i = 0; i < json_array_size(more); i++)
	{
		PlmText		name = plm_json_token(json_array_get(more, i));

		if (name.data != NULL)
			PLM_TRY(add_special(build, name));
	}
	return PLM_OK;
}

/* ---- all ---- */

/* Tokenizers of the transformers library that read vocab.txt as BERT does. */
static PlmStatus
check_class(PlmBuild *build, const json_t *config)
{
	static const char *const known[] = {"Bert", "DistilBert", "Electra", "MobileBert", "ConvBert", "LayoutLM",
	"SqueezeBert", "Retribert", "Lxmert"};
	const json_t *name = json_object_get(config, "tokenizer_class");
	const json_t *basic = json_object_get(config, "do_basic_tokenize");
	const char *class = json_string_value(name);

	if (basic != NULL && !json_is_true(basic))
		return plm_fail(build->err, PLM_EUNSUPPORTED, 0, "tokenizer_config.json: do_basic_tokenize other than true");
	if (name == NULL || json_is_null(name))
		return PLM_OK;
	for (int64_t i = 0; class != NULL && i < PLM_COUNT(known); i++)
	{
		size_t		len = strlen(known[i]);

		if (strncmp(class, known[i], len) == 0 &&
			(strcmp(class + len, "Tokenizer") == 0 || strcmp(class + len, "TokenizerFast") == 0))
			return PLM_OK;
	}
	return plm_fail(build->err, PLM_EUNSUPPORTED, 0, "tokenizer_config.json: tokenizer class \"%.80s\" with vocab.txt",
					class != NULL ? class : "?");
}

static PlmStatus
option(PlmBuild *build, const json_t *config, const char *key, bool def, bool *out)
{
	const json_t *value = json_object_get(config, key);

	*out = value == NULL || json_is_null(value) ? def : json_is_true(value);
	if (value != NULL && !json_is_null(value) && !json_is_boolean(value))
		return plm_fail(build->err, PLM_ECORRUPT, 0, "tokenizer_config.json: %s is neither true nor false", key);
	return PLM_OK;
}

PlmStatus
plm_compile_vocab(PlmBuild *build, PlmText vocab, const json_t *config, const json_t *special_map, const json_t *added)
{
	PlmBlob    *rules = &build->rules;
	PlmBuildToken *tokens = NULL;
	int32_t		n = 0;
	int32_t		id[PLM_ROLES];
	bool		lower,
				strip,
				cjk;

	PLM_TRY(check_class(build, config));
	PLM_TRY(option(build, config, "do_lower_case", true, &lower));
	PLM_TRY(option(build, config, "tokenize_chinese_chars", true, &cjk));
	PLM_TRY(option(build, config, "strip_accents", lower, &strip));
	PLM_TRY(read_lines(build, vocab, &tokens, &n));
	PLM_TRY(plm_build_vocabulary(build, tokens, n, "vocab.txt"));
	for (int i = 0; i < PLM_ROLES; i++)
		id[i] = plm_build_find(build, build->role[i]);
	for (int i = 0; i < PLM_ROLES; i++)
		if (id[i] < 0 && (i == PLM_ROLE_CLS || i == PLM_ROLE_SEP || i == PLM_ROLE_UNK))
			return plm_fail(build->err, PLM_ENOTFOUND, 0, "vocab.txt has no token \"%.*s\"",
							(int) (build->role[i].len < 80 ? build->role[i].len : 80), build->role[i].data);
	PLM_TRY(add_all(build, config, special_map, added));
	PLM_TRY(plm_build_bert_norm(build, true, cjk, strip, lower));
	PLM_TRY(plm_build_bert_split(build));
	PLM_TRY(plm_build_string(build, "##", 2, &rules->prefix));
	rules->decoder = 1;
	rules->decoder_cleanup = 1;
	rules->decoder_prefix = rules->prefix;
	rules->max_word_chars = 100;
	rules->unk = id[PLM_ROLE_UNK];
	return plm_build_bert_templates(build, id[PLM_ROLE_CLS], id[PLM_ROLE_SEP]);
}
