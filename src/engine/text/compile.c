/*
 * compile.c -- reads a tokenizer's files: JSON within bounds, and the roles of special tokens.
 * Then compile_json.c reads tokenizer.json, or compile_vocab.c the files that came before it.
 */
#include "../base/plm_json.h"
#include "text_private.h"

#include <string.h>

#define MAX_FILE_BYTES ((size_t) 64 << 20)
#define MAX_FILE_VALUES ((size_t) 2000000)

/* The file as an object; *out NULL when it is absent. */
static PlmStatus
read_object(PlmText text, const char *file, PlmArena *parsed, json_t **out, PlmError *err)
{
	*out = NULL;
	if (text.data == NULL)
		return PLM_OK;
	if (text.len > MAX_FILE_BYTES)
		return plm_fail(err, PLM_ELIMIT, 0, "%s has %zu bytes, more than %zu", file, text.len, MAX_FILE_BYTES);
	PLM_TRY(plm_json_parse(text, file, MAX_FILE_VALUES, PLM_JSON_BIG_NUMBERS, parsed, out, err));
	if (!json_is_object(*out))
		return plm_fail(err, PLM_ECORRUPT, 0, "%s is not a JSON object", file);
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
compile(PlmBuild *build, const PlmTokenizerFiles *files, PlmArena *parsed)
{
	json_t	   *tokenizer;
	json_t	   *config;
	json_t	   *special_map;
	json_t	   *added = NULL;

	PLM_TRY(read_object(files->tokenizer_json, "tokenizer.json", parsed, &tokenizer, build->err));
	PLM_TRY(read_object(files->tokenizer_config_json, "tokenizer_config.json", parsed, &config, build->err));
	PLM_TRY(read_object(files->special_tokens_map_json, "special_tokens_map.json", parsed, &special_map, build->err));
	if (tokenizer == NULL)
		PLM_TRY(read_object(files->added_tokens_json, "added_tokens.json", parsed, &added, build->err));
	read_roles(build, config, special_map);
	if (tokenizer != NULL)
		PLM_TRY(plm_compile_json(build, tokenizer));
	else if (files->vocab_txt.data != NULL)
		PLM_TRY(plm_compile_vocab(build, files->vocab_txt, config, special_map, added));
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
	PlmBuild	build = {.arena = arena,.err = err,.growth = 1};
	PlmArena	parsed;
	PlmStatus	status;

	plm_arena_beside(&parsed, arena);
	status = compile(&build, files, &parsed);
	/* The blob copies every text, so the parsed files can go on success and on failure alike. */
	if (status == PLM_OK)
		status = plm_build_finish(&build, blob, bytes);
	plm_arena_free(&parsed);
	return status;
}
