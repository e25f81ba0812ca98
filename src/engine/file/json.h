/*
 * json.h -- private to file/: JSON of model files through jansson, with bounds and typed reading.
 *
 * Every text is scanned first, refused when it is nested too deeply or holds too many values, and
 * memory for the worst that jansson can need is taken from the host before jansson starts: a refusal in
 * the middle of parsing makes jansson 2.14 lose bytes of strings, and even write past their end.
 * A document therefore lives in an arena of its own, and json_decref() must never be called on it.
 */
#ifndef PLM_FILE_JSON_H
#define PLM_FILE_JSON_H

#include "plm_file.h"

#include <jansson.h>

#define JSON_MAX_DEPTH 64
#define JSON_TEXT_LIMIT ((size_t) 8 << 20)	/* bytes of a configuration file */
#define JSON_VALUE_LIMIT ((size_t) 200000)	/* values in a configuration file */

/* Numbers are all read as real: for files whose "model_max_length" does not fit 64 bits. */
#define JSON_BIG_NUMBERS JSON_DECODE_INT_AS_REAL

/* Reads one object: which file it came from, for messages, and where to put errors. */
typedef struct JsonReader
{
	const json_t *object;
	const char *file;
	PlmError   *err;
} JsonReader;

/* A parsed text.  plm_json_close() may be called on it after any outcome, and more than once. */
typedef struct JsonDocument
{
	json_t	   *root;			/* NULL: nothing was read */
	PlmArena	memory;
} JsonDocument;

/* Prepare a document that takes from the same host, and within the same limit, as `arena`. */
void		plm_json_open(JsonDocument *doc, const PlmArena *arena);
void		plm_json_close(JsonDocument *doc);

/* Parse text into an open document; `file` names it in errors. */
PlmStatus	plm_json_parse(const char *data, size_t len, const char *file, size_t max_values, size_t flags,
						   JsonDocument *doc, PlmError *err);

/* Open a document and read a configuration file into it; root is NULL (and PLM_OK) when it is absent. */
PlmStatus	plm_json_file(const PlmFileSet *set, const char *name, size_t flags, const PlmArena *arena,
						  JsonDocument *doc, PlmError *err);

/* The member, or NULL when it is absent or null. */
json_t	   *plm_json_member(const json_t *object, const char *key);

/* Each sets *out to the member, or to `absent` when there is none; a wrong type or range is PLM_ECORRUPT. */
PlmStatus	plm_json_int(const JsonReader *r, const char *key, int64_t low, int64_t high, int64_t absent, int32_t *out);
PlmStatus	plm_json_bool(const JsonReader *r, const char *key, bool absent, bool *out);
PlmStatus	plm_json_real(const JsonReader *r, const char *key, double absent, double *out);
/* The string lives as long as the JSON. */
PlmStatus	plm_json_string(const JsonReader *r, const char *key, const char *absent, const char **out);

/* A copy for messages: at most 80 bytes, cut between characters, control characters and broken bytes as '?'. */
typedef struct JsonShown
{
	char		text[84];
} JsonShown;
JsonShown	plm_json_show(const char *s);

#endif							/* PLM_FILE_JSON_H */
