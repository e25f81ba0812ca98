/*
 * write.c -- lays out the blob: header, offsets of the token texts, hash table, bitmap of special tokens,
 * added tokens (raw, then normalised), string pool (strings of the rules, then token texts by id).
 */
#include "text_private.h"

#include <string.h>

/* A blob of the rules alone, enough to run the normaliser. */
static PlmStatus
rules_alone(PlmBuild *build, PlmBlob **out)
{
	size_t		bytes = sizeof(PlmBlob) + build->pool_n;
	PlmBlob    *b = plm_arena_zero(build->arena, bytes);

	if (b == NULL)
		return plm_arena_refused(build->arena, bytes, build->err);
	memcpy(b->norm, build->rules.norm, sizeof(b->norm));
	b->n_norm = build->rules.n_norm;
	b->pool_offset = sizeof(PlmBlob);
	b->max_word_chars = 1;
	if (build->pool_n > 0)
		memcpy(b + 1, build->pool, build->pool_n);
	*out = b;
	return PLM_OK;
}

/* Run the normaliser over an added token; the result goes to the rules' strings. */
static PlmStatus
normalize_added(PlmBuild *build, const PlmBlob *rules, PlmText text, PlmSpan *span)
{
	PlmChars	chars = {0};
	PlmSink		sink = {.stop_after = -1};
	PlmRunState r;
	char	   *utf8;
	size_t		len = 0;

	PLM_TRY(plm_run_init(&r, rules, &sink, NULL, build->arena, build->err));
	r.collect = &chars;
	plm_run_text(&r, text);
	if (r.status != PLM_OK)
		return r.status;
	utf8 = plm_arena_array(build->arena, (size_t) chars.n + 1, 4);
	if (utf8 == NULL)
		return plm_arena_refused(build->arena, (size_t) chars.n * 4, build->err);
	for (int64_t i = 0; i < chars.n; i++)
		len += (size_t) plm_utf8_encode(chars.data[i].cp, utf8 + len);
	if (len > PLM_MAX_ADDED_BYTES)
		return plm_fail(build->err, PLM_ELIMIT, 0, "an added token has %zu bytes after normalization", len);
	if (len == 0)
		return plm_fail(build->err, PLM_EUNSUPPORTED, 0, "added token \"%.*s\" is nothing after normalization",
						(int) (text.len < 80 ? text.len : 80), text.data);
	return plm_build_string(build, utf8, len, span);
}

/* Sorting context: strings live in the build's pool; rank breaks ties (special tokens first, then in order). */
typedef struct Member
{
	PlmAdded	added;
	uint32_t	rank;
} Member;

static int
compare(const PlmBuild *build, const Member *x, const Member *y)
{
	uint32_t	shorter = x->added.text.len < y->added.text.len ? x->added.text.len : y->added.text.len;
	int			c = memcmp(build->pool + x->added.text.offset, build->pool + y->added.text.offset, shorter);

	if (c != 0)
		return c;
	if (x->added.text.len != y->added.text.len)
		return x->added.text.len < y->added.text.len ? -1 : 1;
	return x->rank < y->rank ? -1 : x->rank > y->rank;
}

static void
sift(const PlmBuild *build, Member *m, uint32_t at, uint32_t n)
{
	for (uint32_t child = 2 * at + 1; child < n; at = child, child = 2 * at + 1)
	{
		Member		swap;

		if (child + 1 < n && compare(build, &m[child], &m[child + 1]) < 0)
			child++;
		if (compare(build, &m[at], &m[child]) >= 0)
			return;
		swap = m[at];
		m[at] = m[child];
		m[child] = swap;
	}
}

/* Heapsort: the library's qsort may allocate. */
static void
sort(const PlmBuild *build, Member *m, uint32_t n)
{
	for (uint32_t i = n / 2; i > 0; i--)
		sift(build, m, i - 1, n);
	for (uint32_t i = n; i > 1; i--)
	{
		Member		swap = m[0];

		m[0] = m[i - 1];
		m[i - 1] = swap;
		sift(build, m, 0, i - 1);
	}
}

/* The added tokens of one kind, sorted, each text once. */
static PlmStatus
make_set(PlmBuild *build, bool normalized, PlmAddedSet *set, Member **out)
{
	size_t		bytes = ((size_t) build->n_added + 1) * sizeof(Member);
	Member	   *m = plm_arena_alloc(build->arena, bytes);
	PlmBlob    *rules = NULL;
	uint32_t	n = 0,
				kept = 0;

	if (m == NULL)
		return plm_arena_refused(build->arena, bytes, build->err);
	if (normalized)
		PLM_TRY(rules_alone(build, &rules));
	memset(set, 0, sizeof(*set));
	for (int32_t i = 0; i < build->n_added; i++)
	{
		const PlmBuildAdded *a = &build->added[i];
		Member	   *at = &m[n];

		if (((a->flags & PLM_ADDED_NORMALIZED) != 0) != normalized)
			continue;
		at->added = (PlmAdded) {{0, 0}, a->id, a->flags};
		at->rank = (uint32_t) i + (a->flags & PLM_ADDED_SPECIAL ? 0 : (uint32_t) build->n_added);
		if (normalized)
			PLM_TRY(normalize_added(build, rules, a->text, &at->added.text));
		else
			PLM_TRY(plm_build_string(build, a->text.data, a->text.len, &at->added.text));
		n++;
	}
	sort(build, m, n);
	for (uint32_t i = 0; i < n; i++)
	{
		PlmSpan		text = m[i].added.text;
		unsigned char c = (unsigned char) build->pool[text.offset];

		if (kept > 0 && m[kept - 1].added.text.len == text.len &&
			memcmp(build->pool + m[kept - 1].added.text.offset, build->pool + text.offset, text.len) == 0)
			continue;
		m[kept++] = m[i];
		set->first[c / 32] |= 1u << (c % 32);
		set->flags |= m[i].added.flags;
		set->max_len = text.len > set->max_len ? text.len : set->max_len;
	}
	set->n = kept;
	*out = m;
	return PLM_OK;
}

static PlmText
token_text(const PlmBuild *build, int32_t id)
{
	if (id < build->n_model)
		return (PlmText) {build->model[id].text, build->model[id].len};
	return build->added[build->added_at[id] - 1].text;
}

/* Reserve n items at the end of the layout, 8-byte aligned; false when the blob would pass 4 GB. */
static bool
reserve(uint64_t *end, uint64_t n, size_t size, uint32_t *offset)
{
	*offset = (uint32_t) *end;
	*end = plm_align(*end + n * size, 8);
	return *end <= UINT32_MAX;
}

static bool
lay_out(const PlmBuild *build, PlmBlob *b)
{
	uint64_t	end = plm_align(sizeof(PlmBlob), 8);
	uint64_t	text = build->pool_n;

	for (int32_t i = 0; i < build->tokens; i++)
		text += token_text(build, i).len;
	if (text > UINT32_MAX / 2 ||
		!reserve(&end, (uint64_t) build->tokens + 1, sizeof(uint32_t), &b->text_offset) ||
		!reserve(&end, b->slots, sizeof(PlmSlot), &b->slot_offset) ||
		!reserve(&end, ((uint64_t) build->tokens + 31) / 32, sizeof(uint32_t), &b->special_offset) ||
		!reserve(&end, b->raw.n, sizeof(PlmAdded), &b->raw.offset) ||
		!reserve(&end, b->normalized.n, sizeof(PlmAdded), &b->normalized.offset) ||
		!reserve(&end, text, 1, &b->pool_offset))
		return false;
	b->pool_bytes = (uint32_t) text;
	b->bytes = (uint32_t) end;
	return true;
}

static void
write_added(char *blob, const PlmAddedSet *set, const Member *m)
{
	PlmAdded   *a = (PlmAdded *) (blob + set->offset);

	for (uint32_t i = 0; i < set->n; i++)
		a[i] = m[i].added;
}

PlmStatus
plm_build_finish(PlmBuild *build, void **out, size_t *bytes)
{
	PlmBlob    *b = &build->rules;
	Member	   *raw;
	Member	   *normalized;
	char	   *blob;
	uint32_t   *at;
	uint32_t   *special;
	uint32_t	end;

	PLM_TRY(make_set(build, false, &b->raw, &raw));
	PLM_TRY(make_set(build, true, &b->normalized, &normalized));
	b->magic = PLM_BLOB_MAGIC;
	b->version = PLM_BLOB_VERSION;
	b->tokens = build->tokens;
	b->model_tokens = build->n_model;
	if (!lay_out(build, b))
		return plm_fail(build->err, PLM_ELIMIT, 0, "the vocabulary's texts are too long");
	blob = plm_arena_zero(build->arena, b->bytes);
	if (blob == NULL)
		return plm_arena_refused(build->arena, b->bytes, build->err);
	memcpy(blob, b, sizeof(*b));
	memcpy(blob + b->slot_offset, build->slots, b->slots * sizeof(PlmSlot));
	write_added(blob, &b->raw, raw);
	write_added(blob, &b->normalized, normalized);
	special = (uint32_t *) (blob + b->special_offset);
	for (int32_t i = 0; i < build->n_added; i++)
		if (build->added[i].flags & PLM_ADDED_SPECIAL)
			special[build->added[i].id / 32] |= 1u << (build->added[i].id % 32);
	at = (uint32_t *) (blob + b->text_offset);
	end = build->pool_n;
	if (end > 0)
		memcpy(blob + b->pool_offset, build->pool, end);
	for (int32_t i = 0; i < build->tokens; i++)
	{
		PlmText		text = token_text(build, i);

		at[i] = end;
		if (text.len > 0)
			memcpy(blob + b->pool_offset + end, text.data, text.len);
		end += (uint32_t) text.len;
	}
	at[build->tokens] = end;
	*out = blob;
	*bytes = b->bytes;
	return PLM_OK;
}
