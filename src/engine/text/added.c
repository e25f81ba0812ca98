/*
 * added.c -- added tokens: searched for as the reference does, the longest at the leftmost place, without
 * overlaps; a match inside a word is passed over when the token must be a single word.
 *
 * Those that match the raw text are searched by encode.c, which has the text at hand.  Those that match
 * the normalised text are searched here in a window over the stream, as long as the longest token.
 */
#include "text_private.h"

#include <string.h>

static const PlmAdded *
members(const PlmBlob *b, const PlmAddedSet *set)
{
	return (const PlmAdded *) ((const char *) b + set->offset);
}

/* First index in [lo, hi) whose byte at `depth` is at least c; shorter texts count as below all. */
static uint32_t
bound(const PlmBlob *b, const PlmAdded *a, uint32_t lo, uint32_t hi, uint32_t depth, unsigned int c)
{
	while (lo < hi)
	{
		uint32_t	mid = lo + (hi - lo) / 2;
		const unsigned char *s = (const unsigned char *) plm_blob_string(b, a[mid].text);

		if (a[mid].text.len <= depth || s[depth] < c)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int64_t
plm_added_match(const PlmBlob *b, const PlmAddedSet *set, const char *p, size_t left, size_t *len)
{
	const PlmAdded *a = members(b, set);
	unsigned char c = (unsigned char) *p;
	uint32_t	lo = 0,
				hi = set->n;
	int64_t		found = -1;

	if ((set->first[c / 32] >> (c % 32) & 1) == 0)
		return -1;
	for (uint32_t depth = 0; depth < left && lo < hi; depth++)
	{
		c = (unsigned char) p[depth];
		lo = bound(b, a, lo, hi, depth, c);
		hi = bound(b, a, lo, hi, depth, c + 1u);
		if (lo < hi && a[lo].text.len == depth + 1)
		{
			found = lo;
			*len = depth + 1;
		}
	}
	return found;
}

void
plm_match_begin(PlmRunState *r)
{
	r->window.head = r->window.n = 0;
	r->window_at = r->window_skip = 0;
	r->window_before = 0;
	r->swallow = false;
	plm_split_begin(r);
}

/* Ordinary characters up to `end` go on. */
static void
pass_on(PlmRunState *r, int64_t end)
{
	PlmChars   *w = &r->window;

	for (; w->head < end && !r->done; w->head++)
		plm_split_put(r, w->data[w->head].cp, w->data[w->head].at);
}

static void
end_swallow(PlmRunState *r)
{
	if (r->swallow)
		plm_run_token(r, r->swallow_id, r->swallow_span);
	r->swallow = false;
}

/* A token stands at [window_at, window_at + chars). */
static void
take(PlmRunState *r, const PlmAdded *token, int64_t chars)
{
	PlmChars   *w = &r->window;
	int64_t		start = r->window_at;

	if (r->swallow)
	{
		/* The token before strips spaces even where this one begins with them. */
		int64_t		end = start;

		while (end < start + chars - 1 && plm_is_space(w->data[end].cp))
			r->swallow_span.end = w->data[end++].at.end;
		if (token->flags & PLM_ADDED_LSTRIP)
			start = end;
		end_swallow(r);
	}
	else if (token->flags & PLM_ADDED_LSTRIP)
		while (start > w->head && plm_is_space(w->data[start - 1].cp))
			start--;
	pass_on(r, start);
	plm_split_end(r);
	r->swallow = true;
	r->swallow_id = token->id;
	r->swallow_span = (PlmAlign) {w->data[start].at.start, w->data[r->window_at + chars - 1].at.end};
	r->window_at += chars;
	w->head = r->window_at;
	r->window_before = w->data[r->window_at - 1].cp;
	if ((token->flags & PLM_ADDED_RSTRIP) == 0)
		end_swallow(r);
}

/* Is there a token at window_at?  Advances window_at by one character, or over the token. */
static void
try_here(PlmRunState *r)
{
	const PlmAddedSet *set = &r->b->normalized;
	PlmChars   *w = &r->window;
	char		utf8[4];
	size_t		len = 0;
	int64_t		found = -1;
	int64_t		chars = 0;

	plm_utf8_encode(w->data[r->window_at].cp, utf8);
	if (r->window_skip > 0)
		r->window_skip--;
	else if (set->first[(unsigned char) utf8[0] / 32] >> ((unsigned char) utf8[0] % 32) & 1)
	{
		size_t		n = 0;

		for (int64_t i = r->window_at; i < w->n && n < set->max_len; i++)
			n += (size_t) plm_utf8_encode(w->data[i].cp, r->window_bytes + n);
		found = plm_added_match(r->b, set, r->window_bytes, n, &len);
	}
	if (found >= 0)
	{
		const PlmAdded *token = &members(r->b, set)[found];

		for (size_t n = 0; n < len; chars++)
			n += (size_t) plm_utf8_encode(w->data[r->window_at + chars].cp, utf8);
		if ((token->flags & PLM_ADDED_SINGLE_WORD) == 0 ||
			((r->window_before == 0 || !plm_is_word(r->window_before)) &&
			 (r->window_at + chars == w->n || !plm_is_word(w->data[r->window_at + chars].cp))))
		{
			take(r, token, chars);
			return;
		}
		r->window_skip = chars - 1;
	}
	r->window_before = w->data[r->window_at].cp;
	r->window_at++;
	if (r->swallow && plm_is_space(r->window_before))
	{
		r->swallow_span.end = w->data[r->window_at - 1].at.end;
		w->head = r->window_at;
		return;
	}
	end_swallow(r);
	/* Spaces wait: a token that comes next may strip them. */
	if ((set->flags & PLM_ADDED_LSTRIP) == 0 || !plm_is_space(r->window_before))
		pass_on(r, r->window_at);
}

void
plm_match_put(PlmRunState *r, uint32_t cp, PlmAlign at)
{
	PlmChars   *w = &r->window;

	if (r->b->normalized.n == 0)
	{
		plm_split_put(r, cp, at);
		return;
	}
	if (w->n - r->window_at > PLM_MAX_HELD || w->n - w->head > PLM_MAX_HELD)
	{
		plm_run_fail(r, plm_fail(r->err, PLM_ELIMIT, 0, "more than %d spaces in a row", PLM_MAX_HELD));
		return;
	}
	if (!plm_chars_push(r, w, (PlmChar) {cp, 0, at}))
		return;
	/* A token of max_len bytes and the character behind it must be in sight. */
	while (!r->done && w->n - r->window_at > (int64_t) r->b->normalized.max_len)
		try_here(r);
	/* Move what is left to the front once most of the window has been passed on. */
	if (w->head > 64 && w->head > w->n / 2)
	{
		memmove(w->data, w->data + w->head, (size_t) (w->n - w->head) * sizeof(PlmChar));
		r->window_at -= w->head;
		w->n -= w->head;
		w->head = 0;
	}
}

void
plm_match_end(PlmRunState *r)
{
	while (!r->done && r->window_at < r->window.n)
		try_here(r);
	if (!r->done)
	{
		end_swallow(r);
		pass_on(r, r->window.n);
		plm_split_end(r);
	}
	plm_match_begin(r);
}
