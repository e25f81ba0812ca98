/*
 * run.c -- one run over a text: the source of characters, cut at raw added tokens, and the sink of tokens.
 */
#include "text_private.h"

#include <string.h>

#define CHUNK 4096				/* bytes looked at before what was found is passed on */

void
plm_run_fail(PlmRunState *r, PlmStatus status)
{
	if (r->status == PLM_OK)
		r->status = status;
	r->done = true;
}

bool
plm_chars_push(PlmRunState *r, PlmChars *chars, PlmChar c)
{
	if (chars->n == chars->cap)
	{
		int64_t		cap = chars->cap == 0 ? 64 : 2 * chars->cap;
		PlmChar    *data = plm_arena_array(r->arena, (size_t) cap, sizeof(PlmChar));

		if (data == NULL)
		{
			plm_run_fail(r, plm_arena_refused(r->arena, (size_t) cap * sizeof(PlmChar), r->err));
			return false;
		}
		if (chars->n > 0)
			memcpy(data, chars->data, (size_t) chars->n * sizeof(PlmChar));
		chars->data = data;
		chars->cap = cap;
	}
	chars->data[chars->n++] = c;
	return true;
}

/* Room for one more token, at most `limit`; what is left behind in the arena is less than what is in use. */
static bool
sink_grow(PlmRunState *r, PlmSink *s)
{
	int64_t		cap = s->cap == 0 ? 64 : 2 * s->cap;
	int32_t    *ids;
	int64_t    *start;
	int64_t    *end;

	if (s->limit >= 0 && cap > s->limit)
		cap = s->limit;
	ids = plm_arena_array(r->arena, (size_t) cap, sizeof(int32_t));
	start = plm_arena_array(r->arena, (size_t) cap, sizeof(int64_t));
	end = plm_arena_array(r->arena, (size_t) cap, sizeof(int64_t));
	if (ids == NULL || start == NULL || end == NULL)
	{
		plm_run_fail(r, plm_arena_refused(r->arena, (size_t) cap * 20, r->err));
		return false;
	}
	if (s->kept > 0)
	{
		memcpy(ids, s->ids, (size_t) s->kept * sizeof(int32_t));
		memcpy(start, s->start, (size_t) s->kept * sizeof(int64_t));
		memcpy(end, s->end, (size_t) s->kept * sizeof(int64_t));
	}
	s->ids = ids;
	s->start = start;
	s->end = end;
	s->cap = cap;
	return true;
}

void
plm_run_token(PlmRunState *r, int32_t id, PlmAlign at)
{
	PlmSink    *s = r->sink;
	int64_t		slot = s->n;

	if (r->done)
		return;
	s->n++;
	if (s->stop_after >= 0 && s->n > s->stop_after)
		r->done = true;
	if (s->limit >= 0 && slot >= s->limit)
	{
		if (!s->left || s->limit == 0)
			return;
		slot %= s->limit;
	}
	else
	{
		if (s->kept == s->cap && !sink_grow(r, s))
			return;
		s->kept++;
	}
	s->ids[slot] = id;
	s->start[slot] = at.start;
	s->end[slot] = at.end;
}

/* Arrays for one word: within the state when words are of the usual length. */
static PlmStatus
word_init(PlmRunState *r)
{
	size_t		n = r->b->max_word_chars;

	r->word_cap = r->b->max_word_chars;
	if (n <= PLM_INLINE_WORD)
	{
		r->word = r->inline_word;
		r->word_at = r->inline_at;
		r->word_spans = r->inline_spans;
		r->word_hash = r->inline_hash;
		r->piece_id = r->inline_id;
		r->piece_end = r->inline_end;
		return PLM_OK;
	}
	r->word = plm_arena_array(r->arena, n, 4);
	r->word_at = plm_arena_array(r->arena, n + 1, sizeof(uint32_t));
	r->word_spans = plm_arena_array(r->arena, n, sizeof(PlmAlign));
	r->word_hash = plm_arena_array(r->arena, n, sizeof(uint32_t));
	r->piece_id = plm_arena_array(r->arena, n, sizeof(int32_t));
	r->piece_end = plm_arena_array(r->arena, n, sizeof(uint32_t));
	if (r->word == NULL || r->word_at == NULL || r->word_spans == NULL || r->word_hash == NULL ||
		r->piece_id == NULL || r->piece_end == NULL)
		return plm_arena_refused(r->arena, n * 40, r->err);
	return PLM_OK;
}

PlmStatus
plm_run_init(PlmRunState *r, const PlmBlob *b, PlmSink *sink, PlmWorker *worker, PlmArena *arena, PlmError *err)
{
	memset(r, 0, offsetof(PlmRunState, inline_word));
	r->b = b;
	r->arena = arena;
	r->worker = worker;
	r->err = err;
	r->sink = sink;
	r->ascii = true;
	r->nf = -1;
	for (uint32_t k = 0; k < b->n_norm; k++)
		switch ((PlmNormKind) b->norm[k].kind)
		{
			case PLM_NORM_CLEAN:
				r->ascii_clean = true;
				break;
			case PLM_NORM_LOWER:
				r->ascii_lower = true;
				break;
			case PLM_NORM_CJK:
				r->cjk = true;
				break;
			case PLM_NORM_DROP_MN:
			case PLM_NORM_DROP_MARKS:
				break;
			case PLM_NORM_NFD:
			case PLM_NORM_NFKD:
				r->ascii = r->ascii && r->nf < 0;
				r->nf = (int) k;
				break;
			default:
				r->ascii = false;
		}
	if (b->normalized.n > 0)
	{
		r->window_bytes = plm_arena_alloc(arena, (size_t) b->normalized.max_len + 4);
		if (r->window_bytes == NULL)
			return plm_arena_refused(arena, b->normalized.max_len, err);
	}
	return word_init(r);
}

bool
plm_run_poll(PlmRunState *r)
{
	if (r->worker != NULL && plm_stopped(r->worker))
		plm_run_fail(r, plm_cancelled(r->err));
	return r->done;
}

/*
 * Characters that need not go through the normaliser, while it holds no mark: ASCII is changed by
 * cleaning and lower-casing only, the common ideographs by nothing, but may be set apart.
 */
static bool
bypass(PlmRunState *r, uint32_t cp, PlmAlign at)
{
	if (!r->ascii || r->collect != NULL || (r->nf >= 0 && r->norm[r->nf].held.n > 0))
		return false;
	if (cp < 0x80)
	{
		if (r->ascii_clean && plm_is_dropped(cp))
			return true;
		if (r->ascii_clean && cp < ' ')
			cp = ' ';
		if (r->ascii_lower && cp >= 'A' && cp <= 'Z')
			cp += 32;
		plm_match_put(r, cp, at);
		return true;
	}
	if (cp < 0x4e00 || cp > 0x9fff)
		return false;
	if (r->cjk)
		plm_match_put(r, ' ', at);
	plm_match_put(r, cp, at);
	if (r->cjk)
		plm_match_put(r, ' ', at);
	return true;
}

/* Feed text[from, to) to the normaliser. */
static void
put_range(PlmRunState *r, PlmText text, size_t from, size_t to)
{
	for (size_t i = from; i < to && !r->done;)
	{
		uint32_t	cp;
		PlmAlign	at;
		int			len;

		if (plm_run_tick(r))
			return;
		len = plm_utf8_decode(text.data + i, text.len - i, &cp);
		if (len == 0)
		{
			plm_run_fail(r, plm_fail(r->err, PLM_EARG, (int64_t) i,
									 "text is not valid UTF-8 at byte %zu", i));
			return;
		}
		at = (PlmAlign) {(int64_t) i, (int64_t) i + len};
		i += (size_t) len;
		if (!bypass(r, cp, at))
			plm_norm_put(r, 0, cp, at);
	}
}

typedef struct Source
{
	PlmText		text;
	size_t		fed;			/* what comes before was passed on or belongs to a token */
	size_t		solid;			/* between here and what was looked at is nothing but white space */
	bool		open;			/* the segment that fed lies in has characters */
} Source;

static void
feed(PlmRunState *r, Source *s, size_t to)
{
	if (to <= s->fed)
		return;
	if (!s->open)
	{
		plm_norm_begin(r);
		plm_match_begin(r);
	}
	s->open = true;
	put_range(r, s->text, s->fed, to);
	s->fed = to;
}

static void
end_segment(PlmRunState *r, Source *s)
{
	if (s->open && !r->done)
	{
		plm_norm_end(r);
		plm_match_end(r);
	}
	s->open = false;
}

/* Where the white space before p begins, not going below `from`. */
static size_t
space_start(PlmText text, size_t from, size_t p)
{
	while (p > from)
	{
		uint32_t	cp;
		size_t		before = (size_t) (plm_utf8_before(text.data + from, text.data + p, &cp) - text.data);

		if (!plm_is_space(cp))
			break;
		p = before;
	}
	return p;
}

static size_t
space_end(PlmRunState *r, PlmText text, size_t p)
{
	while (p < text.len)
	{
		uint32_t	cp;
		int			len = plm_utf8_decode(text.data + p, text.len - p, &cp);

		if (len == 0 || !plm_is_space(cp) || plm_run_tick(r))
			break;
		p += (size_t) len;
	}
	return p;
}

/* text[p, q) was looked at: remember where the white space at its end begins. */
static void
note_solid(Source *s, size_t p, size_t q)
{
	size_t		end = space_start(s->text, p, q);

	if (end > p)
		s->solid = end;
}

static bool
word_before(PlmText text, size_t p)
{
	uint32_t	cp;

	if (p == 0)
		return false;
	plm_utf8_before(text.data, text.data + p, &cp);
	return plm_is_word(cp);
}

static bool
word_after(PlmText text, size_t p)
{
	uint32_t	cp;

	return p < text.len && plm_utf8_decode(text.data + p, text.len - p, &cp) > 0 && plm_is_word(cp);
}

/* The token found at p, len bytes; returns where to search on. */
static size_t
take_raw(PlmRunState *r, Source *s, const PlmAdded *token, size_t p, size_t len)
{
	size_t		start = p,
				stop = p + len;

	if ((token->flags & PLM_ADDED_SINGLE_WORD) != 0 && (word_before(s->text, p) || word_after(s->text, stop)))
	{
		note_solid(s, p, stop);
		return stop;
	}
	if (token->flags & PLM_ADDED_LSTRIP)
		start = s->solid > s->fed ? s->solid : s->fed;
	if (token->flags & PLM_ADDED_RSTRIP)
		stop = space_end(r, s->text, stop);
	feed(r, s, start);
	end_segment(r, s);
	plm_run_token(r, token->id, (PlmAlign) {(int64_t) start, (int64_t) stop});
	s->fed = stop > s->fed ? stop : s->fed;
	s->solid = p + len;
	return p + len;
}

void
plm_run_text(PlmRunState *r, PlmText text)
{
	const PlmAddedSet *set = &r->b->raw;
	const PlmAdded *added = (const PlmAdded *) ((const char *) r->b + set->offset);
	const unsigned char *t = (const unsigned char *) text.data;
	Source		s = {text, 0, 0, false};
	size_t		p = 0;			/* no token begins before */
	size_t		q = 0;			/* looked at */

	while (q < text.len && !r->done)
	{
		size_t		end = text.len - q > CHUNK ? q + CHUNK : text.len;
		size_t		len = 0;
		int64_t		found = -1;
		bool		candidate;

		while (q < end && (set->first[t[q] / 32] >> (t[q] % 32) & 1) == 0)
			q++;
		candidate = q < end;
		while (!candidate && q < text.len && (t[q] & 0xc0) == 0x80 && q - end < 3)
			q++;
		/* White space waits if the next token may strip it. */
		note_solid(&s, p, q);
		feed(r, &s, set->flags & PLM_ADDED_LSTRIP ? s.solid : q);
		p = q;
		if (candidate && !r->done)
			found = plm_added_match(r->b, set, text.data + q, text.len - q, &len);
		if (found >= 0)
			p = q = take_raw(r, &s, &added[found], q, len);
		else if (candidate)
			q++;
	}
	if (!r->done)
		feed(r, &s, text.len);
	end_segment(r, &s);
}
