/*
 * wordpiece.c -- the model: a word becomes the longest pieces of the vocabulary from left to right,
 * or one unknown token (Schuster and Nakajima 2012, as in BERT).
 */
#include "text_private.h"

#include <string.h>

void
plm_word_put(PlmRunState *r, uint32_t cp, PlmAlign at)
{
	if (r->word_n == 0)
		r->word_span.start = at.start;
	r->word_span.end = at.end;
	if (r->word_n >= r->word_cap)
	{
		r->word_n = r->word_cap + 1;	/* too long: only where it ends matters now */
		return;
	}
	r->word_at[r->word_n] = r->word_bytes;
	r->word_spans[r->word_n] = at;
	r->word_bytes += (uint32_t) plm_utf8_encode(cp, r->word + r->word_bytes);
	r->word_n++;
}

/*
 * The longest piece that begins at character `first`: its id, or -1; *after is the character behind it.
 * One pass forward gives the hash of every candidate, so a piece costs its own length and not its square.
 */
static int32_t
longest_piece(PlmRunState *r, uint32_t first, uint32_t *after)
{
	const PlmBlob *b = r->b;
	PlmText		prefix = {NULL, 0};
	uint64_t	h = PLM_HASH_START;
	uint32_t	n = first;

	if (first > 0)
	{
		prefix = (PlmText) {plm_blob_string(b, b->prefix), b->prefix.len};
		h = plm_hash_bytes(h, prefix.data, prefix.len);
	}
	for (; n < r->word_n; n++)
	{
		uint32_t	end = r->word_at[n + 1];

		if (end - r->word_at[first] + prefix.len > b->max_token_bytes)
			break;
		for (uint32_t i = r->word_at[n]; i < end; i++)
			h = plm_hash_byte(h, (unsigned char) r->word[i]);
		r->word_hash[n] = plm_hash_end(h);
	}
	for (; n > first; n--)
	{
		PlmText		piece = {r->word + r->word_at[first], r->word_at[n] - r->word_at[first]};
		int32_t		id = plm_blob_find(b, r->word_hash[n - 1], prefix, piece);

		if (id >= 0 && id < b->model_tokens)
		{
			*after = n;
			return id;
		}
	}
	return -1;
}

/* Cut the word into pieces; 0: it cannot be. */
static uint32_t
pieces(PlmRunState *r)
{
	uint32_t	n = 0;

	for (uint32_t at = 0; at < r->word_n; n++)
	{
		int32_t		id = longest_piece(r, at, &at);

		if (id < 0)
			return 0;
		r->piece_id[n] = id;
		r->piece_end[n] = at;
	}
	return n;
}

void
plm_word_end(PlmRunState *r)
{
	uint32_t	n = 0;

	if (r->word_n > 0 && r->take_word != NULL && !r->done)
		r->take_word(r);
	else if (r->word_n > 0 && !r->done)
	{
		if (r->word_n <= r->word_cap)
		{
			r->word_at[r->word_n] = r->word_bytes;
			n = pieces(r);
		}
		if (n == 0)
			plm_run_token(r, r->b->unk, r->word_span);
		for (uint32_t i = 0, at = 0; i < n && !r->done; at = r->piece_end[i++])
			plm_run_token(r, r->piece_id[i],
						  (PlmAlign) {r->word_spans[at].start, r->word_spans[r->piece_end[i] - 1].end});
	}
	r->word_n = r->word_bytes = 0;
}
