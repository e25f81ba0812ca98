/*
 * json.c -- bounded parsing and typed reading of JSON.  The contract is in plm_json.h.
 */
#include "plm_json.h"

#include <math.h>
#include <string.h>

/* Bytes of the UTF-8 character at s (up to `left` bytes), or 0 when it is broken.  Shape only, not range. */
static size_t
character_bytes(const unsigned char *s, size_t left)
{
	size_t		n = s[0] < 0x80 ? 1 : s[0] >= 0xF0 && s[0] < 0xF8 ? 4 : s[0] >= 0xE0 && s[0] < 0xF0 ? 3 :
		s[0] >= 0xC2 && s[0] < 0xE0 ? 2 : 0;

	if (n == 0 || n > left)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xC0) != 0x80)
			return 0;
	return n;
}

PlmJsonShown
plm_json_show(const char *s)
{
	PlmJsonShown	shown;
	size_t		len = strlen(s);
	size_t		used = 0;
	size_t		i = 0;

	while (i < len)
	{
		size_t		n = character_bytes((const unsigned char *) s + i, len - i);

		if (used + (n > 1 ? n : 1) > 80)
		{
			memcpy(shown.text + used, "...", 3);
			used += 3;
			break;
		}
		if (n == 0 || (n == 1 && ((unsigned char) s[i] < 0x20 || s[i] == 0x7F)))
		{
			shown.text[used++] = '?';
			i++;
			continue;
		}
		memcpy(shown.text + used, s + i, n);
		used += n;
		i += n;
	}
	shown.text[used] = '\0';
	return shown;
}

/*
 * The most that jansson takes for each thing that it reads, when nothing is given back while it parses.  Tables
 * double when they are full: all that an object (16 bytes a slot) or an array (8) ever had come to less than
 * 4 slots for each member or item.
 */
#define OBJECT_BYTES 256		/* itself 72, its first buckets 128 */
#define ARRAY_BYTES 128			/* itself 40, its first table 64 */
#define VALUE_BYTES 32			/* a number, or a string beside its bytes */
#define MEMBER_BYTES (VALUE_BYTES + 64 + 64)	/* pair beside its key, buckets */
#define ITEM_BYTES (VALUE_BYTES + 32)	/* table */
#define PARSER_BYTES 1024
#define GRAIN 16				/* each request is rounded up to this */

/* Index of the quote that ends the string whose first byte is text.data[at], or text.len. */
static size_t
string_end(PlmText text, size_t at)
{
	for (; at < text.len && text.data[at] != '"'; at++)
		if (text.data[at] == '\\')
			at++;
	return at < text.len ? at : text.len;
}

/*
 * Refuse what would cost much before it costs anything (jansson recurses once a level, and 100 MB of
 * "[],[],..." would take it several GB), and find the most that parsing can take.  The text need not be valid:
 * up to jansson's first complaint it is read here as jansson reads it, and what follows only adds.
 */
static PlmStatus
measure(PlmText text, const char *file, size_t max_values, size_t *need, PlmError *err)
{
	uint64_t	objects = 0;	/* a bit for each open container, the innermost lowest: is it an object? */
	int			depth = 0;
	size_t		values = 0;
	size_t		members = 0;
	size_t		bytes = PARSER_BYTES;
	size_t		string = 0;		/* bytes of the newest string */
	size_t		token = 0;		/* characters of the token being read */
	size_t		longest = 0;

	for (size_t i = 0; i < text.len; i++)
	{
		char		c = text.data[i];

		token = c == ' ' || c == '\n' || c == '\t' || c == '\r' ? 0 : token + 1;
		if (c == '"')
		{
			size_t		end = string_end(text, i + 1);

			token = end - i + 1;
			string = plm_align(token + 1, GRAIN);
			bytes += string;
			i = end;
		}
		if (token > longest)
			longest = token;
		if (c == '[' || c == '{')
		{
			if (++depth > PLM_JSON_MAX_DEPTH)
				return plm_fail(err, PLM_ELIMIT, (int64_t) i, "%s is nested deeper than %d levels at byte %zu",
								file, PLM_JSON_MAX_DEPTH, i);
			objects = objects << 1 | (c == '{');
			bytes += c == '{' ? OBJECT_BYTES : ARRAY_BYTES + ITEM_BYTES;
			values++;
		}
		else if (c == ']' || c == '}')
		{
			depth--;
			objects >>= 1;
		}
		else if (c == ',')
		{
			bytes += objects & 1 ? 0 : ITEM_BYTES;
			values++;
		}
		else if (c == ':')
		{
			bytes += MEMBER_BYTES + string;
			string = 0;
			members++;
		}
		else
			continue;
		token = 0;
		if (values > max_values || members > max_values)
			return plm_fail(err, PLM_ELIMIT, (int64_t) i, "%s holds more than %zu values", file, max_values);
	}
	/* The token buffer doubles too.  An eighth more, should another version of jansson take more than 2.14. */
	bytes += 4 * longest;
	*need = bytes + bytes / 8;
	return PLM_OK;
}

/* The memory of the document that is being parsed: taken from its front, never given back. */
static _Thread_local struct
{
	char	   *at;
	size_t		left;
	bool		refused;
}			pool;

static void *
pool_alloc(size_t bytes)
{
	void	   *ptr = pool.at;

	bytes = plm_align(bytes, GRAIN);
	if (bytes > pool.left)
	{
		pool.refused = true;
		return NULL;
	}
	pool.at += bytes;
	pool.left -= bytes;
	return ptr;
}

static void
pool_free(void *ptr)
{
	(void) ptr;
}

PlmStatus
plm_json_parse(PlmText text, const char *file, size_t max_values, size_t flags, PlmArena *arena, json_t **root, PlmError *err)
{
	json_error_t why;
	json_malloc_t host_alloc;
	json_free_t host_free;
	size_t		need = 0;

	*root = NULL;
	PLM_TRY(measure(text, file, max_values, &need, err));
	pool.at = plm_arena_alloc(arena, need);
	if (pool.at == NULL)
		return plm_arena_refused(arena, need, err);
	pool.left = need;
	pool.refused = false;
	json_get_alloc_funcs(&host_alloc, &host_free);
	json_set_alloc_funcs(pool_alloc, pool_free);
	*root = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES | flags, &why);
	json_set_alloc_funcs(host_alloc, host_free);
	if (pool.refused)
	{
		*root = NULL;
		return plm_fail(err, PLM_EINTERNAL, 0, "%zu bytes were not enough to parse %s", need, file);
	}
	if (*root == NULL)
		return plm_fail(err, PLM_ECORRUPT, why.position, "%s is not valid JSON: line %d, column %d: %s",
						file, why.line, why.column, plm_json_show(why.text).text);
	return PLM_OK;
}

json_t *
plm_json_member(const json_t *object, const char *key)
{
	json_t	   *value = json_object_get(object, key);

	return json_is_null(value) ? NULL : value;
}

static PlmStatus
wrong_type(const PlmJsonReader *r, const char *key, const char *wanted)
{
	return plm_fail(r->err, PLM_ECORRUPT, 0, "\"%s\" in %s must be %s", key, r->file, wanted);
}

PlmStatus
plm_json_int(const PlmJsonReader *r, const char *key, int64_t low, int64_t high, int64_t absent, int32_t *out)
{
	const json_t *value = plm_json_member(r->object, key);
	int64_t		n;

	*out = (int32_t) absent;
	if (value == NULL)
		return PLM_OK;
	if (!json_is_integer(value))
		return wrong_type(r, key, "an integer");
	n = json_integer_value(value);
	if (n < low || n > high)
		return plm_fail(r->err, PLM_ECORRUPT, 0, "\"%s\" in %s is %" PRId64 ", outside %" PRId64 " to %" PRId64,
						key, r->file, n, low, high);
	*out = (int32_t) n;
	return PLM_OK;
}

PlmStatus
plm_json_bool(const PlmJsonReader *r, const char *key, bool absent, bool *out)
{
	const json_t *value = plm_json_member(r->object, key);

	*out = absent;
	if (value == NULL)
		return PLM_OK;
	if (!json_is_boolean(value))
		return wrong_type(r, key, "true or false");
	*out = json_is_true(value);
	return PLM_OK;
}

PlmStatus
plm_json_real(const PlmJsonReader *r, const char *key, double absent, double *out)
{
	const json_t *value = plm_json_member(r->object, key);

	*out = absent;
	if (value == NULL)
		return PLM_OK;
	if (!json_is_number(value) || !isfinite(json_number_value(value)))
		return wrong_type(r, key, "a number");
	*out = json_number_value(value);
	return PLM_OK;
}

PlmStatus
plm_json_string(const PlmJsonReader *r, const char *key, const char *absent, const char **out)
{
	const json_t *value = plm_json_member(r->object, key);

	*out = absent;
	if (value == NULL)
		return PLM_OK;
	if (!json_is_string(value))
		return wrong_type(r, key, "a string");
	*out = json_string_value(value);
	return PLM_OK;
}
