/*
 * blob.c -- the compiled tokenizer: checked once when opened, then looked into without further checks.
 *
 * plm_tokenizer_open() must leave nothing that a damaged blob could make later code read outside it, loop
 * without end, or overrun a buffer; it need not find every change of meaning (the packed file has checksums).
 */
#include "text_private.h"

#include <string.h>

static PlmStatus
damaged(PlmError *err, const char *what)
{
	return plm_fail(err, PLM_ECORRUPT, 0, "compiled tokenizer is damaged: %s", what);
}

/* n items of `size` bytes at `offset` lie behind the header, inside the blob and aligned. */
static bool
inside(const PlmBlob *b, uint32_t offset, uint64_t n, size_t size, size_t align)
{
	return offset >= sizeof(PlmBlob) && offset <= b->bytes && offset % align == 0 &&
		n <= (b->bytes - offset) / size;
}

static bool
span_ok(const PlmBlob *b, PlmSpan span)
{
	return span.offset <= b->pool_bytes && span.len <= b->pool_bytes - span.offset;
}

/* A rule's string: in the pool, UTF-8. */
static bool
string_ok(const PlmBlob *b, PlmSpan span)
{
	return span_ok(b, span) && plm_utf8_invalid((PlmText) {plm_blob_string(b, span), span.len}) < 0;
}

static bool
id_ok(const PlmBlob *b, int32_t id)
{
	return id >= 0 && id < b->tokens;
}

static PlmStatus
check_vocabulary(const PlmBlob *b, PlmError *err)
{
	const uint32_t *at = (const uint32_t *) ((const char *) b + b->text_offset);
	const PlmSlot *slot = (const PlmSlot *) ((const char *) b + b->slot_offset);

	if (b->tokens < 1 || b->tokens > PLM_MAX_TOKENS || b->model_tokens < 0 || b->model_tokens > b->tokens)
		return damaged(err, "number of tokens");
	if (!inside(b, b->pool_offset, b->pool_bytes, 1, 1) ||
		!inside(b, b->text_offset, (uint64_t) b->tokens + 1, sizeof(uint32_t), sizeof(uint32_t)) ||
		!inside(b, b->slot_offset, b->slots, sizeof(PlmSlot), sizeof(uint32_t)) ||
		!inside(b, b->special_offset, ((uint64_t) b->tokens + 31) / 32, sizeof(uint32_t), sizeof(uint32_t)))
		return damaged(err, "a section lies outside");
	if (b->slots == 0 || (b->slots & (b->slots - 1)) != 0 || b->max_probe > b->slots)
		return damaged(err, "size of the hash table");
	for (int32_t i = 0; i < b->tokens; i++)
		if (at[i] > at[i + 1])
			return damaged(err, "offsets of the token texts");
	if (at[b->tokens] > b->pool_bytes || b->max_token_bytes > PLM_MAX_TOKEN_BYTES + 1)
		return damaged(err, "length of the token texts");
	for (uint32_t i = 0; i < b->slots; i++)
		if (slot[i].id < -1 || slot[i].id >= b->tokens)
			return damaged(err, "an id in the hash table");
	return PLM_OK;
}

static PlmStatus
check_added(const PlmBlob *b, const PlmAddedSet *set, PlmError *err)
{
	const PlmAdded *a = (const PlmAdded *) ((const char *) b + set->offset);

	if (set->n == 0)
	{
		/* The search looks at the bitmap only. */
		for (int i = 0; i < 8; i++)
			if (set->first[i] != 0)
				return damaged(err, "first bytes of no added tokens");
		return PLM_OK;
	}
	if (!inside(b, set->offset, set->n, sizeof(PlmAdded), sizeof(uint32_t)) ||
		set->max_len == 0 || set->max_len > PLM_MAX_ADDED_BYTES)
		return damaged(err, "added tokens");
	for (uint32_t i = 0; i < set->n; i++)
		if (!span_ok(b, a[i].text) || a[i].text.len == 0 || a[i].text.len > set->max_len || !id_ok(b, a[i].id) ||
			!string_ok(b, a[i].text))
			return damaged(err, "an added token");
	return PLM_OK;
}

bool
plm_template_sound(const PlmTemplate *t, bool pair)
{
	int			n[PLM_PIECE_KINDS] = {0};

	for (uint32_t i = 0; i < t->n; i++)
		n[t->pieces[i].kind]++;
	return n[PLM_PIECE_FIRST] == 1 && n[PLM_PIECE_SECOND] == (pair ? 1 : 0);
}

static PlmStatus
check_rules(const PlmBlob *b, PlmError *err)
{
	uint64_t	growth = 1;

	if (b->n_norm > PLM_MAX_NORM || b->n_split > PLM_MAX_SPLIT)
		return damaged(err, "number of rules");
	for (uint32_t i = 0; i < b->n_norm; i++)
	{
		const PlmNormOp *op = &b->norm[i];

		if (op->kind >= PLM_NORM_KINDS || !string_ok(b, op->from) || !string_ok(b, op->to) ||
			op->from.len > PLM_MAX_PATTERN || op->to.len > PLM_MAX_PATTERN ||
			(op->kind == PLM_NORM_REPLACE && op->from.len == 0))
			return damaged(err, "a normaliser");
		growth *= op->kind == PLM_NORM_REPLACE && op->to.len > 1 ? op->to.len : 1;
		if (growth > PLM_MAX_GROWTH)
			return damaged(err, "growth of the text in its normalisers");
	}
	for (uint32_t i = 0; i < b->n_split; i++)
		if (b->split[i].kind >= PLM_SPLIT_KINDS || b->split[i].behavior >= PLM_BEHAVIORS)
			return damaged(err, "a pre-tokenizer");
	if (!id_ok(b, b->unk) || b->max_word_chars == 0 || b->max_word_chars > PLM_MAX_WORD_CHARS ||
		!string_ok(b, b->prefix) || !string_ok(b, b->decoder_prefix) ||
		b->truncate_strategy >= PLM_STRATEGIES || b->model_max_length < 0)
		return damaged(err, "the model's rules");
	for (int which = 0; which < 2; which++)
	{
		const PlmTemplate *t = which == 0 ? &b->single : &b->pair;

		if (t->n > PLM_MAX_PIECES)
			return damaged(err, "length of a template");
		for (uint32_t i = 0; i < t->n; i++)
			if (t->pieces[i].kind >= PLM_PIECE_KINDS || t->pieces[i].type < 0 ||
				(t->pieces[i].kind == PLM_PIECE_TOKEN && !id_ok(b, t->pieces[i].id)))
				return damaged(err, "a template");
		if (!plm_template_sound(t, which == 1))
			return damaged(err, "texts of a template");
	}
	return PLM_OK;
}

PlmStatus
plm_tokenizer_open(const void *blob, size_t bytes, PlmTokenizer *tokenizer, PlmError *err)
{
	const PlmBlob *b = blob;
	int32_t		roles[PLM_ROLES];

	memset(tokenizer, 0, sizeof(*tokenizer));
	if (bytes < sizeof(PlmBlob) || (uintptr_t) blob % 8 != 0)
		return damaged(err, "too short");
	if (b->magic != PLM_BLOB_MAGIC || b->version != PLM_BLOB_VERSION)
		return damaged(err, "made by another version");
	if (b->bytes > bytes || b->bytes < sizeof(PlmBlob))
		return damaged(err, "size");
	PLM_TRY(check_vocabulary(b, err));
	PLM_TRY(check_added(b, &b->raw, err));
	PLM_TRY(check_added(b, &b->normalized, err));
	PLM_TRY(check_rules(b, err));
	memcpy(roles, (int32_t[PLM_ROLES]) {b->cls, b->sep, b->pad, b->unk_role, b->mask}, sizeof(roles));
	for (int i = 0; i < PLM_ROLES; i++)
		if (roles[i] < -1 || roles[i] >= b->tokens)
			return damaged(err, "a special token");
	*tokenizer = (PlmTokenizer) {.blob = blob,.bytes = b->bytes,.tokens = b->tokens,
		.cls = b->cls,.sep = b->sep,.pad = b->pad,.unk = b->unk_role,.mask = b->mask,
	.model_max_length = b->model_max_length};
	return PLM_OK;
}

int32_t
plm_blob_find(const PlmBlob *b, uint32_t hash, PlmText first, PlmText second)
{
	const PlmSlot *slots = (const PlmSlot *) ((const char *) b + b->slot_offset);
	const uint32_t *at = (const uint32_t *) ((const char *) b + b->text_offset);
	const char *pool = (const char *) b + b->pool_offset;

	for (uint32_t i = 0; i <= b->max_probe; i++)
	{
		const PlmSlot *slot = &slots[(hash + i) & (b->slots - 1)];
		const char *text;

		if (slot->id < 0)
			return -1;
		if (slot->hash != hash || at[slot->id + 1] - at[slot->id] != first.len + second.len)
			continue;
		text = pool + at[slot->id];
		if ((first.len == 0 || memcmp(text, first.data, first.len) == 0) &&
			(second.len == 0 || memcmp(text + first.len, second.data, second.len) == 0))
			return slot->id;
	}
	return -1;
}

PlmText
plm_token_text(const PlmTokenizer *tokenizer, int32_t id)
{
	const PlmBlob *b = plm_blob(tokenizer);
	const uint32_t *at = (const uint32_t *) ((const char *) b + b->text_offset);

	if (!id_ok(b, id))
		return (PlmText) {NULL, 0};
	return (PlmText) {(const char *) b + b->pool_offset + at[id], at[id + 1] - at[id]};
}

int32_t
plm_token_id(const PlmTokenizer *tokenizer, PlmText token)
{
	if (token.len > PLM_MAX_TOKEN_BYTES)
		return -1;
	return plm_blob_find(plm_blob(tokenizer), plm_hash_end(plm_hash_bytes(PLM_HASH_START, token.data, token.len)),
						 (PlmText) {NULL, 0}, token);
}

bool
plm_token_is_special(const PlmTokenizer *tokenizer, int32_t id)
{
	const PlmBlob *b = plm_blob(tokenizer);
	const uint32_t *special = (const uint32_t *) ((const char *) b + b->special_offset);

	return id_ok(b, id) && (special[id / 32] >> (id % 32) & 1) != 0;
}
