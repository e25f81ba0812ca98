/*
 * json_file.h -- private to file/: a JSON document with memory of its own, and configuration files as such.
 */
#ifndef PLM_FILE_JSON_FILE_H
#define PLM_FILE_JSON_FILE_H

#include "../base/plm_json.h"
#include "plm_file.h"

/* A parsed text.  plm_json_close() may be called on it after any outcome, and more than once. */
typedef struct JsonDocument
{
	json_t	   *root;			/* NULL: nothing was read */
	PlmArena	memory;
} JsonDocument;

/* Prepare a document that takes from the same host as `arena`, within what is left of its limit. */
void		plm_json_open(JsonDocument *doc, const PlmArena *arena);
void		plm_json_close(JsonDocument *doc);

/* Open a document and read a configuration file into it; root is NULL (and PLM_OK) when it is absent. */
PlmStatus	plm_json_file(const PlmFileSet *set, const char *name, size_t flags, const PlmArena *arena,
						  JsonDocument *doc, PlmError *err);

#endif							/* PLM_FILE_JSON_FILE_H */
