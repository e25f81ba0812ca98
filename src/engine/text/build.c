/*
 * build.c -- collects the vocabulary and the rules of a tokenizer and writes the blob.
 */
#include "text_private.h"

#include <stdlib.h>
#include <string.h>

/* No honest vocabulary comes near this; a made-up one must not make insertion quadratic. */
#define MAX_PROBE 1024

static PlmStatus
refused(PlmBuild *build, size_t bytes)
{
	return plm_arena_refused(build->arena, bytes, build->err);
}

PlmStatus
plm_build_string(PlmBuild *build, const char *s, size_t len, PlmSpan *span)
{
	if (len > PLM_MAX_TOKEN_BYTES)
		return plm_fail(build->err, PLM_ELIMIT, 0, "a text of %zu bytes in the tokenizer's rules is too long", len);
	if (build->pool_n + len > build->pool_cap)
	{
		uint32_t	cap = 2 * build->pool_cap + (uint32_t) len + 256;
		char	   *pool;

		if (cap > UINT32_MAX / 4)
			return plm_fail(build->err, PLM_ELIMIT, 0, "the tokenizer's rules are too long");
		pool = plm_arena_alloc(build->arena, cap);
		if (pool == NULL)
			return refused(build, cap);
		if (build->pool_n > 0)
			memcpy(pool, build->pool, build->pool_n);
		build->pool = pool;
		build->pool_cap = cap;
	}
	if (len > 0)
		memcpy(build->pool + build->pool_n, s, len);
	*span = (PlmSpan) {build->pool_n, (uint32_t) len};
	build->pool_n += (uint32_t) len;
	return PLM_OK;
}

/* ---- vocabulary ---- */

static uint32_t
hash_text(const char *s, size_t len)
{
	return plm_hash_end(plm_hash_bytes(PLM_HASH_START, s, len));
}

static PlmText
text_of(const PlmBuild *build, int32_t id)
{
	if (id < build->n_model)
		return (PlmText) {build->model[id].text, build->model[id].len};
	return build->added[build->added_at[id] - 1].text;
}

/* The slot of a text, or the free one where it belongs; NULL: too many with one hash. */
static PlmSlot *
find_slot(const PlmBuild *build, uint32_t hash, PlmText text)
{
	for (uint32_t i = 0; i < MAX_PROBE; i++)
	{
		PlmSlot    *slot = &build->slots[(hash + i) & (build->rules.slots - 1)];
		PlmText		other;

		if (slot->id < 0)
			return slot;
		if (slot->hash != hash)
			continue;
		other = text_of(build, slot->id);
		if (other.len == text.len && memcmp(other.data, text.data, text.len) == 0)
			return slot;
	}
	return NULL;
}

static PlmStatus
insert(PlmBuild *build, PlmText text, int32_t id, const char *file, int32_t *before)
{
	uint32_t	hash = hash_text(text.data, text.len);
	PlmSlot    *slot = find_slot(build, hash, text);
	uint32_t	probe;

	*before = -1;
	if (slot == NULL)
		return plm_fail(build->err, PLM_ECORRUPT, 0, "%s: too many tokens with the same hash", file);
	if (slot->id >= 0)
	{
		*before = slot->id;
		return PLM_OK;
	}
	probe = (uint32_t) ((slot - build->slots) - (int64_t) hash) & (build->rules.slots - 1);
	if (probe > build->rules.max_probe)
		build->rules.max_probe = probe;
	*slot = (PlmSlot) {hash, id};
	return PLM_OK;
}

int32_t
plm_build_find(const PlmBuild *build, PlmText text)
{
	PlmSlot    *slot;

	if (text.data == NULL || build->slots == NULL)
		return -1;
	slot = find_slot(build, hash_text(text.data, text.len), text);
	return slot != NULL ? slot->id : -1;
}

PlmStatus
plm_build_vocabulary(PlmBuild *build, PlmBuildToken *tokens, int32_t n, const char *file)
{
	uint32_t	slots = 64;
	size_t		bytes;

	/* Twice the tokens and some for those that will be added. */
	while (slots < 2 * ((uint32_t) n + 4096))
		slots *= 2;
	bytes = slots * sizeof(PlmSlot);
	build->slots = plm_arena_alloc(build->arena, bytes);
	build->added_at = plm_arena_zero(build->arena, slots / 2 * sizeof(int32_t));
	if (build->slots == NULL || build->added_at == NULL)
		return refused(build, bytes);
	for (uint32_t i = 0; i < slots; i++)
		build->slots[i] = (PlmSlot) {0, -1};
	build->rules.slots = slots;
	build->model = tokens;
	build->n_model = n;
	build->tokens = n;
	for (int32_t i = 0; i < n; i++)
	{
		int32_t		before;

		if (tokens[i].len > PLM_MAX_TOKEN_BYTES)
			return plm_fail(build->err, PLM_ELIMIT, 0, "%s: token %" PRId32 " has %zu bytes", file, i, tokens[i].len);
		if (tokens[i].len == 0)
			continue;			/* an id without a text: no word can become it */
		PLM_TRY(insert(build, (PlmText) {tokens[i].text, tokens[i].len}, i, file, &before));
		if (before >= 0)
			return plm_fail(build->err, PLM_ECORRUPT, 0,
							"%s: token \"%.*s\" is there twice, on lines %" PRId32 " and %" PRId32, file,
							(int) (tokens[i].len < 80 ? tokens[i].len : 80), tokens[i].text, before + 1, i + 1);
		if (tokens[i].len > build->rules.max_token_bytes)
			build->rules.max_token_bytes = (uint32_t) tokens[i].len;
	}
	return PLM_OK;
}

PlmStatus
plm_build_add(PlmBuild *build, PlmText text, uint32_t flags, int64_t id, const char *file)
{
	int			shown = (int) (text.len < 80 ? text.len : 80);
	int32_t		found;

	if (text.len == 0)
		return PLM_OK;
	if (text.len > PLM_MAX_ADDED_BYTES)
		return plm_fail(build->err, PLM_ELIMIT, 0, "%s: an added token has %zu bytes, more than %d", file, text.len,
						PLM_MAX_ADDED_BYTES);
	found = plm_build_find(build, text);
	if (found >= 0 && build->added_at[found] != 0)
		return plm_fail(build->err, PLM_ECORRUPT, 0, "%s: added token \"%.*s\" is there twice", file, shown, text.data);
	if (found < 0 && (uint32_t) build->tokens >= build->rules.slots / 2)
		return plm_fail(build->err, PLM_ELIMIT, 0, "%s: too many added tokens", file);
	if (id >= 0 && id != (found >= 0 ? found : build->tokens))
		return plm_fail(build->err, PLM_ECORRUPT, 0,
						"%s: added token \"%.*s\" has id %" PRId64 ", but the vocabulary makes it %" PRId32,
						file, shown, text.data, id, found >= 0 ? found : build->tokens);
	if (build->n_added == build->cap_added)
	{
		int32_t		cap = build->cap_added * 2 + 16;
		PlmBuildAdded *added;

		if (cap > 65536)
			return plm_fail(build->err, PLM_ELIMIT, 0, "%s: more than 65536 added tokens", file);
		added = plm_arena_array(build->arena, (size_t) cap, sizeof(PlmBuildAdded));
		if (added == NULL)
			return refused(build, (size_t) cap * sizeof(PlmBuildAdded));
		if (build->n_added > 0)
			memcpy(added, build->added, (size_t) build->n_added * sizeof(PlmBuildAdded));
		build->added = added;
		build->cap_added = cap;
	}
	id = found >= 0 ? found : build->tokens;
	build->added[build->n_added++] = (PlmBuildAdded) {text, (int32_t) id, flags};
	build->added_at[id] = build->n_added;
	if (found < 0)
	{
		build->tokens++;
		PLM_TRY(insert(build, text, (int32_t) id, file, &found));
	}
	return PLM_OK;
}

/* ---- rules ---- */

PlmStatus
plm_build_norm(PlmBuild *build, PlmNormKind kind, PlmNormOp **op)
{
	PlmNormOp  *o;

	if (build->rules.n_norm == PLM_MAX_NORM)
		return plm_fail(build->err, PLM_EUNSUPPORTED, 0, "tokenizer.json: more than %d normalizers", PLM_MAX_NORM);
	o = &build->rules.norm[build->rules.n_norm++];
	memset(o, 0, sizeof(*o));
	o->kind = kind;
	if (op != NULL)
		*op = o;
	return PLM_OK;
}

PlmStatus
plm_build_split(PlmBuild *build, PlmSplitKind kind, PlmBehavior behavior)
{
	if (build->rules.n_split == PLM_MAX_SPLIT)
		return plm_fail(build->err, PLM_EUNSUPPORTED, 0, "tokenizer.json: more than %d pre-tokenizers", PLM_MAX_SPLIT);
	build->rules.split[build->rules.n_split++] = (PlmSplitOp) {kind, behavior};
	return PLM_OK;
}

PlmStatus
plm_build_bert_norm(PlmBuild *build, bool clean, bool cjk, bool strip, bool lower)
{
	if (clean)
		PLM_TRY(plm_build_norm(build, PLM_NORM_CLEAN, NULL));
	if (cjk)
		PLM_TRY(plm_build_norm(build, PLM_NORM_CJK, NULL));
	if (strip)
	{
		PLM_TRY(plm_build_norm(build, PLM_NORM_NFD, NULL));
		PLM_TRY(plm_build_norm(build, PLM_NORM_DROP_MN, NULL));
	}
	if (lower)
		PLM_TRY(plm_build_norm(build, PLM_NORM_LOWER, NULL));
	return PLM_OK;
}

PlmStatus
plm_build_bert_split(PlmBuild *build)
{
	PLM_TRY(plm_build_split(build, PLM_SPLIT_SPACE, PLM_REMOVED));
	return plm_build_split(build, PLM_SPLIT_PUNCTUATION, PLM_ISOLATED);
}

PlmStatus
plm_build_bert_templates(PlmBuild *build, int32_t cls, int32_t sep)
{
	build->rules.single = (PlmTemplate) {3, {{PLM_PIECE_TOKEN, cls, 0}, {PLM_PIECE_FIRST, 0, 0}, {PLM_PIECE_TOKEN, sep, 0}}};
	build->rules.pair = (PlmTemplate) {5, {{PLM_PIECE_TOKEN, cls, 0}, {PLM_PIECE_FIRST, 0, 0}, {PLM_PIECE_TOKEN, sep, 0},
	{PLM_PIECE_SECOND, 0, 1}, {PLM_PIECE_TOKEN, sep, 1}}};
	return PLM_OK;
}
