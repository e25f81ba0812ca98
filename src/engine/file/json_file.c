/*
 * json_file.c -- configuration files as JSON documents.  The contract is in json_file.h.
 */
#include "json_file.h"

#define MAX_FILE_BYTES ((size_t) 8 << 20)
#define MAX_FILE_VALUES ((size_t) 200000)

void
plm_json_open(JsonDocument *doc, const PlmArena *arena)
{
	doc->root = NULL;
	plm_arena_beside(&doc->memory, arena);
}

void
plm_json_close(JsonDocument *doc)
{
	doc->root = NULL;
	plm_arena_free(&doc->memory);
}

PlmStatus
plm_json_file(const PlmFileSet *set, const char *name, size_t flags, const PlmArena *arena, JsonDocument *doc, PlmError *err)
{
	PlmText		text;
	PlmStatus	status;

	plm_json_open(doc, arena);
	status = plm_file_text(set, name, MAX_FILE_BYTES, &doc->memory, &text, err);
	if (status == PLM_OK && text.data != NULL)
		status = plm_json_parse(text, name, MAX_FILE_VALUES, flags, &doc->memory, &doc->root, err);
	if (status != PLM_OK)
		plm_json_close(doc);
	return status;
}
