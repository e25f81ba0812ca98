/*
 * json.c -- bounded parsing and typed reading of JSON.  The contract is in json.h.
 */
#include "json.h"

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

JsonShown
plm_json_show(const char *s)
{
	JsonShown	shown;
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

void
plm_json_open(JsonDocument *doc, const PlmArena *arena)
{
	/* What is left of the limit; 1 when nothing is, because 0 means no limit. */
	size_t		left = arena->limit > arena->taken ? arena->limit - arena->taken : 1;

	doc->root = NULL;
	plm_arena_init(&doc->memory, arena->hook, arena->limit == 0 ? 0 : left);
}

void
plm_json_close(JsonDocument *doc)
{
	doc->root = NULL;
	plm_arena_free(&doc->memory);
}

/*
 * Refuse what would cost much before it costs anything (jansson recurses once a level, and 100 MB of
 * "[],[],..." would take it several GB), and find the most that parsing can take from its allocator.
 */
static PlmStatus
check_bounds(const char *data, size_t len, const char *file, size_t max_values, size_t *need, PlmError *err)
{
	size_t		containers = 0;
	size_t		members = 0;
	size_t		items = 0;
	int			depth = 0;
	bool		in_string = false;

	for (size_t i = 0; i < len; i++)
	{
		char		c = data[i];

		if (in_string)
		{
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
			continue;
		}
		in_string = c == '"';
		items += c == ',';
		members += c == ':';
		if (c == '[' || c == '{')
		{
			containers++;
			if (++depth > JSON_MAX_DEPTH)
				return plm_fail(err, PLM_ELIMIT, (int64_t) i, "%s is nested deeper than %d levels at byte %zu",
								file, JSON_MAX_DEPTH, i);
		}
		else if (c == ']' || c == '}')
			depth--;
		if (containers + members + items > max_values)
			return plm_fail(err, PLM_ELIMIT, (int64_t) i, "%s holds more than %zu values", file, max_values);
	}

	/*
	 * Nothing is given back while parsing.  An object with its first buckets takes some 250 bytes, an array
	 * 130; a member its pair, its value and its share of buckets that doubled, some 220; an item its value and
	 * its share of a table that doubled, some 80.  The bytes of a string are held three times at most (as
	 * token, key and pair), and the token buffer doubles up to the longest.
	 */
	*need = 512 * (containers + 4) + 320 * members + 160 * items + 8 * len;
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

	bytes = plm_align(bytes, 16);
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
plm_json_parse(const char *data, size_t len, const char *file, size_t max_values, size_t flags,
			   JsonDocument *doc, PlmError *err)
{
	json_error_t why;
	json_malloc_t host_alloc;
	json_free_t host_free;
	size_t		need = 0;

	PLM_TRY(check_bounds(data, len, file, max_values, &need, err));
	pool.at = plm_arena_alloc(&doc->memory, need);
	if (pool.at == NULL)
		return plm_arena_refused(&doc->memory, need, err);
	pool.left = need;
	pool.refused = false;
	json_get_alloc_funcs(&host_alloc, &host_free);
	json_set_alloc_funcs(pool_alloc, pool_free);
	doc->root = json_loadb(data, len, JSON_REJECT_DUPLICATES | flags, &why);
	json_set_alloc_funcs(host_alloc, host_free);
	if (pool.refused)
	{
		doc->root = NULL;
		return plm_fail(err, PLM_EINTERNAL, 0, "%zu bytes were not enough to parse %s", need, file);
	}
	if (doc->root == NULL)
		return plm_fail(err, PLM_ECORRUPT, why.position, "%s is not valid JSON: line %d, column %d: %s",
						file, why.line, why.column, plm_json_show(why.text).text);
	return PLM_OK;
}

PlmStatus
plm_json_file(const PlmFileSet *set, const char *name, size_t flags, const PlmArena *arena, JsonDocument *doc, PlmError *err)
{
	PlmText		text;
	PlmStatus	status;

	plm_json_open(doc, arena);
	status = plm_file_text(set, name, JSON_TEXT_LIMIT, &doc->memory, &text, err);
	if (status == PLM_OK && text.data != NULL)
		status = plm_json_parse(text.data, text.len, name, JSON_VALUE_LIMIT, flags, doc, err);
	if (status != PLM_OK)
		plm_json_close(doc);
	return status;
}

json_t *
plm_json_member(const json_t *object, const char *key)
{
	json_t	   *value = json_object_get(object, key);

	return json_is_null(value) ? NULL : value;
}

static PlmStatus
wrong_type(const JsonReader *r, const char *key, const char *wanted)
{
	return plm_fail(r->err, PLM_ECORRUPT, 0, "\"%s\" in %s must be %s", key, r->file, wanted);
}

PlmStatus
plm_json_int(const JsonReader *r, const char *key, int64_t low, int64_t high, int64_t absent, int32_t *out)
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
plm_json_bool(const JsonReader *r, const char *key, bool absent, bool *out)
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
plm_json_real(const JsonReader *r, const char *key, double absent, double *out)
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
plm_json_string(const JsonReader *r, const char *key, const char *absent, const char **out)
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
