/*
 * compile.c -- reads a tokenizer's files: JSON within bounds, and the roles of special tokens.
 * Then compile_json.c reads tokenizer.json, or compile_vocab.c the files that came before it.
 */
#include "text_private.h"

#include <jansson.h>
#include <string.h>

#define MAX_FILE_BYTES ((size_t) 64 << 20)
#define MAX_JSON_DEPTH 64
#define MAX_JSON_VALUES 2000000

/*
 * The parser takes some hundred bytes for each value, from outside the arenas: count values and depth
 * before it starts.  Only brackets and commas outside strings matter.
 */
static PlmStatus
check_bounds(PlmText text, const char *file, PlmError *err)
{
	int64_t		values = 0;
	int64_t		depth = 0;
	bool		string = false;

	if (text.len > MAX_FILE_BYTES)
		return plm_fail(err, PLM_ELIMIT, 0, "%s has %zu bytes, more than %zu", file, text.len, MAX_FILE_BYTES);
	for (size_t i = 0; i < text.len; i++)
	{
		char		c = text.data[i];

		if (string)
		{
			if (c == '\\')
				i++;
			else if (c == '"')
				string = false;
			continue;
		}
		if (c == '"')
			string = true;
		else if (c == '[' || c == '{')
			depth++;
		else if (c == ']' || c == '}')
			depth--;
		if (c == '[' || c == '{' || c == ',')
			values++;
		if (depth > MAX_JSON_DEPTH || values > MAX_JSON_VALUES)
			return plm_fail(err, PLM_ELIMIT, (int64_t) i, "%s: more than %d levels or %d values", file,
							MAX_JSON_DEPTH, MAX_JSON_VALUES);
	}
	return PLM_OK;
}

PlmStatus
plm_text_json(PlmText text, const char *file, json_t **out, PlmError *err)
{
	json_error_t error;

	*out = NULL;
	if (text.data == NULL)
		return PLM_OK;
	PLM_TRY(check_bounds(text, file, err));
	/* Integers as reals: model_max_length is often 10^30, which is no integer to the parser. */
	*out = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &error);
	if (*out == NULL)
		return plm_fail(err, json_error_code(&error) == json_error_out_of_memory ? PLM_ENOMEM : PLM_ECORRUPT,
						error.position, "%s: %s (line %d)", file, error.text, error.line);
	if (!json_is_object(*out))
	{
		json_decref(*out);
		*out = NULL;
		return plm_fail(err, PLM_ECORRUPT, 0, "%s is not a JSON object", file);
	}
	return PLM_OK;
}

/* ---- roles ---- */

static const char *const role_keys[PLM_ROLES] = {"cls_token", "sep_token", "pad_token", "unk_token", "mask_token"};
static const char *const role_texts[PLM_ROLES] = {"[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]"};

PlmText
plm_json_token(const json_t *value)
{
	if (json_is_object(value))
		value = json_object_get(value, "content");
	if (!json_is_string(value))
		return (PlmText) {NULL, 0};
	return (PlmText) {json_string_value(value), json_string_length(value)};
}

/* Names of the special tokens and model_max_length. */
static void
read_roles(PlmBuild *build, const json_t *config, const json_t *special_map)
{
	const json_t *length = json_object_get(config, "model_max_length");
	const json_t *sources[2] = {config, special_map};

	/* Where the configuration lists its added tokens, special_tokens_map.json is not read any more. */
	if (json_is_object(json_object_get(config, "added_tokens_decoder")))
		sources[1] = NULL;
	for (int s = 0; s < 2; s++)
		for (int i = 0; i < PLM_ROLES; i++)
		{
			PlmText		name = plm_json_token(json_object_get(sources[s], role_keys[i]));

			if (name.data != NULL)
				build->role[i] = name;
		}
	for (int i = 0; i < PLM_ROLES; i++)
		if (build->role[i].data == NULL)
			build->role[i] = (PlmText) {role_texts[i], strlen(role_texts[i])};
	/* 10^30 stands for "no limit". */
	if (json_is_number(length) && json_number_value(length) >= 1 && json_number_value(length) < 1e9)
		build->rules.model_max_length = (int64_t) json_number_value(length);
}

/* ---- all files ---- */

static int32_t
role_id(const PlmBuild *build, int role)
{
	return plm_build_find(build, build->role[role]);
}

static PlmStatus
compile(PlmBuild *build, const PlmTokenizerFiles *files, json_t *json[4])
{
	PLM_TRY(plm_text_json(files->tokenizer_json, "tokenizer.json", &json[0], build->err));
	PLM_TRY(plm_text_json(files->tokenizer_config_json, "tokenizer_config.json", &json[1], build->err));
	PLM_TRY(plm_text_json(files->special_tokens_map_json, "special_tokens_map.json", &json[2], build->err));
	if (json[0] == NULL)
		PLM_TRY(plm_text_json(files->added_tokens_json, "added_tokens.json", &json[3], build->err));
	read_roles(build, json[1], json[2]);
	if (json[0] != NULL)
		PLM_TRY(plm_compile_json(build, json[0]));
	else if (files->vocab_txt.data != NULL)
		PLM_TRY(plm_compile_vocab(build, files->vocab_txt, json[1], json[2], json[3]));
	else
		return plm_fail(build->err, PLM_ENOTFOUND, 0, "the model has neither tokenizer.json nor vocab.txt");
	build->rules.cls = role_id(build, PLM_ROLE_CLS);
	build->rules.sep = role_id(build, PLM_ROLE_SEP);
	build->rules.pad = role_id(build, PLM_ROLE_PAD);
	build->rules.unk_role = role_id(build, PLM_ROLE_UNK);
	build->rules.mask = role_id(build, PLM_ROLE_MASK);
	return PLM_OK;
}

PlmStatus
plm_tokenizer_compile(const PlmTokenizerFiles *files, PlmArena *arena, void **blob, size_t *bytes, PlmError *err)
{
	json_t	   *json[4] = {NULL, NULL, NULL, NULL};
	PlmBuild	build = {.arena = arena,.err = err,.growth = 1};
	PlmStatus	status = compile(&build, files, json);

	/* The blob copies every text, so the parsed files can go on success and on failure alike. */
	if (status == PLM_OK)
		status = plm_build_finish(&build, blob, bytes);
	for (int i = 0; i < 4; i++)
		json_decref(json[i]);
	return status;
}
