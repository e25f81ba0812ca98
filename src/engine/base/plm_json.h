/*
 * plm_json.h -- JSON of model files through jansson: bounded parsing and typed reading.
 *
 * The one other public header of base/, apart from plm_base.h because few need it; nothing else includes jansson.
 *
 * Every text is scanned first, refused when it is nested too deeply or holds too many values, and
 * memory for the worst that jansson can need is taken from the arena before jansson starts: a refusal in
 * the middle of parsing makes jansson 2.14 lose bytes of strings, and even write past their end.
 */
#ifndef PLM_JSON_H
#define PLM_JSON_H

#include "plm_base.h"

#include <jansson.h>

#define PLM_JSON_MAX_DEPTH 64

/* Integers are read as reals: for files whose "model_max_length" of 10^30 does not fit 64 bits. */
#define PLM_JSON_BIG_NUMBERS JSON_DECODE_INT_AS_REAL

/*
 * Parse an object or array that gives no key twice; `file` names it in errors: PLM_ECORRUPT, or PLM_ELIMIT for more
 * than max_values values or the arena's limit.  flags: jansson's.  *root (NULL after a failure) lives in the arena:
 * never json_decref() it.  A vocabulary takes some 10 times its text; any text at most 9 bytes a byte and 600 a value.
 */
PlmStatus	plm_json_parse(PlmText text, const char *file, size_t max_values, size_t flags, PlmArena *arena,
						   json_t **root, PlmError *err);

/* Reads one object: which file it came from, for messages, and where to put errors. */
typedef struct PlmJsonReader
{
	const json_t *object;
	const char *file;
	PlmError   *err;
} PlmJsonReader;

/* The member, or NULL when it is absent or null. */
json_t	   *plm_json_member(const json_t *object, const char *key);

/* Each sets *out to the member, or to `absent` when there is none; a wrong type or range is PLM_ECORRUPT. */
PlmStatus	plm_json_int(const PlmJsonReader *r, const char *key, int64_t low, int64_t high, int64_t absent, int32_t *out);
PlmStatus	plm_json_bool(const PlmJsonReader *r, const char *key, bool absent, bool *out);
PlmStatus	plm_json_real(const PlmJsonReader *r, const char *key, double absent, double *out);
/* The string lives as long as the JSON. */
PlmStatus	plm_json_string(const PlmJsonReader *r, const char *key, const char *absent, const char **out);

/* A copy for messages: at most 80 bytes, cut between characters, control characters and broken bytes as '?'. */
typedef struct PlmJsonShown
{
	char		text[84];
} PlmJsonShown;
PlmJsonShown plm_json_show(const char *s);

#endif							/* PLM_JSON_H */
