/*
 * normalize.c -- the normaliser: a list of small operations, each fed one character at a time.
 *
 * Spans.  In the reference every operation is a transformation of a string whose result is a list of
 * (character, change): change 0 replaces the next character of the input and takes its span; change 1
 * adds one, which takes the span of the input read last; change -n also uses up n more of the input.
 * Canonical ordering moves the pairs and not the input, so a mark that was moved has the span of
 * whatever stood at its new place; held back here are therefore pairs in one queue and spans in another.
 */
#include "text_private.h"

static bool
held_too_long(PlmRunState *r, const PlmChars *chars)
{
	if (chars->n - chars->head < PLM_MAX_HELD)
		return false;
	plm_run_fail(r, plm_fail(r->err, PLM_ELIMIT, 0,
							 "more than %d combining marks or spaces in a row", PLM_MAX_HELD));
	return true;
}

static void
hold(PlmRunState *r, PlmChars *chars, uint32_t cp, int32_t change, PlmAlign at)
{
	if (!held_too_long(r, chars))
		plm_chars_push(r, chars, (PlmChar) {cp, change, at});
}

/* ---- normal forms ---- */

/* A pair (cp, change) leaves operation k: give it its span and pass it on. */
static void
nf_emit(PlmRunState *r, uint32_t k, uint32_t cp, int32_t change)
{
	PlmNormState *s = &r->norm[k];

	/* The first character takes the next span; each lost to composition uses up one more. */
	for (int32_t i = change; i <= 0 && s->spans.head < s->spans.n; i++)
	{
		PlmAlign	at = s->spans.data[s->spans.head++].at;

		if (i == change)
		{
			s->last = at;
			plm_norm_put(r, k + 1, cp, at);
		}
		else
			s->last = at;
	}
	if (change > 0)
		plm_norm_put(r, k + 1, cp, s->last);
	if (s->spans.head == s->spans.n)
		s->spans.head = s->spans.n = 0;
}

static void
nf_purge(PlmRunState *r, uint32_t k)
{
	PlmNormState *s = &r->norm[k];

	for (int64_t i = 0; i < s->blocked.n; i++)
		nf_emit(r, k, s->blocked.data[i].cp, s->blocked.data[i].change);
	s->blocked.n = 0;
	s->last_class = -1;
}

/* One character in canonical order enters composition (UAX 15; a starter is kept until its marks are known). */
static void
nf_compose(PlmRunState *r, uint32_t k, uint32_t cp, int32_t change)
{
	PlmNormState *s = &r->norm[k];
	int			ccc = plm_combining_class(cp);
	uint32_t	both = 0;

	if (!s->has_composee)
	{
		if (ccc != 0)
		{
			nf_emit(r, k, cp, change);
			return;
		}
		s->composee = (PlmChar) {.cp = cp, .change = change};
		s->has_composee = true;
		return;
	}
	if (s->last_class < ccc)
		both = plm_compose(s->composee.cp, cp);
	if (both != 0)
	{
		s->composee.cp = both;
		s->composee.change += change - 1;
		return;
	}
	if (ccc == 0)
	{
		nf_emit(r, k, s->composee.cp, s->composee.change);
		nf_purge(r, k);
		s->composee = (PlmChar) {.cp = cp, .change = change};
		return;
	}
	hold(r, &s->blocked, cp, change, (PlmAlign) {0, 0});
	s->last_class = ccc;
}

static void
nf_out(PlmRunState *r, uint32_t k, uint32_t cp, int32_t change)
{
	uint32_t	kind = r->b->norm[k].kind;

	if (kind == PLM_NORM_NFC || kind == PLM_NORM_NFKC)
		nf_compose(r, k, cp, change);
	else
		nf_emit(r, k, cp, change);
}

/* Write the marks held back, by combining class; those of one class stay in their order. */
static void
nf_sort_out(PlmRunState *r, uint32_t k)
{
	PlmChars   *held = &r->norm[k].held;
	PlmChar    *c = held->data;

	if (held->n <= 32)
	{
		for (int64_t i = 1; i < held->n; i++)
			for (int64_t j = i; j > 0 && c[j - 1].at.start > c[j].at.start; j--)
			{
				PlmChar		swap = c[j];

				c[j] = c[j - 1];
				c[j - 1] = swap;
			}
		for (int64_t i = 0; i < held->n; i++)
			nf_out(r, k, c[i].cp, c[i].change);
	}
	else
	{
		/* Long runs: one pass for each class that occurs, so that no input makes this quadratic. */
		bool		seen[256] = {false};

		for (int64_t i = 0; i < held->n; i++)
			seen[c[i].at.start & 255] = true;
		for (int64_t class = 1; class < 256; class++)
			for (int64_t i = 0; seen[class] && i < held->n; i++)
				if (c[i].at.start == class)
					nf_out(r, k, c[i].cp, c[i].change);
	}
	held->n = 0;
}

static void
nf_put(PlmRunState *r, uint32_t k, uint32_t cp, PlmAlign at)
{
	PlmNormState *s = &r->norm[k];
	uint32_t	kind = r->b->norm[k].kind;
	int32_t		parts[PLM_MAX_DECOMPOSITION];
	int			n = plm_decompose(cp, kind == PLM_NORM_NFKC || kind == PLM_NORM_NFKD, parts);

	hold(r, &s->spans, 0, 0, at);
	for (int i = 0; i < n && !r->done; i++)
	{
		uint32_t	part = (uint32_t) parts[i];
		int			ccc = plm_combining_class(part);

		if (ccc != 0)
		{
			/* While held, a mark's class stands in its span, which is not known before it is written. */
			hold(r, &s->held, part, i > 0, (PlmAlign) {ccc, 0});
			continue;
		}
		nf_sort_out(r, k);
		nf_out(r, k, part, i > 0);
	}
}

static void
nf_end(PlmRunState *r, uint32_t k)
{
	PlmNormState *s = &r->norm[k];

	nf_sort_out(r, k);
	if (s->has_composee)
		nf_emit(r, k, s->composee.cp, s->composee.change);
	s->has_composee = false;
	nf_purge(r, k);
}

/* ---- the others that remember something ---- */

static void
strip_put(PlmRunState *r, uint32_t k, uint32_t cp, PlmAlign at)
{
	PlmNormState *s = &r->norm[k];
	bool		space = plm_is_space(cp);

	if (space && (r->b->norm[k].left != 0 && !s->started))
		return;
	if (space && r->b->norm[k].right != 0)
	{
		hold(r, &s->held, cp, 0, at);
		return;
	}
	s->started = s->started || !space;
	for (int64_t i = 0; i < s->held.n; i++)
		plm_norm_put(r, k + 1, s->held.data[i].cp, s->held.data[i].at);
	s->held.n = 0;
	plm_norm_put(r, k + 1, cp, at);
}

static void
put_string(PlmRunState *r, uint32_t k, PlmSpan string, PlmAlign at)
{
	const char *p = plm_blob_string(r->b, string);
	size_t		left = string.len;

	while (left > 0 && !r->done)
	{
		uint32_t	cp;
		int			len = plm_utf8_decode(p, left, &cp);

		if (len == 0)
			return;				/* not reached: the blob's strings were checked */
		plm_norm_put(r, k + 1, cp, at);
		p += len;
		left -= (size_t) len;
	}
}

/* Held: a beginning of the pattern.  The replacement has the span of the last character replaced. */
static void
replace_put(PlmRunState *r, uint32_t k, uint32_t cp, PlmAlign at)
{
	PlmChars   *held = &r->norm[k].held;
	PlmSpan		from = r->b->norm[k].from;
	const char *pattern = plm_blob_string(r->b, from);

	hold(r, held, cp, 0, at);
	while (held->n > 0 && !r->done)
	{
		size_t		done = 0;
		int64_t		i = 0;

		for (; i < held->n; i++)
		{
			char		utf8[4];
			int			len = plm_utf8_encode(held->data[i].cp, utf8);

			if (from.len - done < (size_t) len || __builtin_memcmp(pattern + done, utf8, (size_t) len) != 0)
				break;
			done += (size_t) len;
		}
		if (i < held->n)
		{
			PlmChar		first = held->data[0];

			__builtin_memmove(held->data, held->data + 1, (size_t) --held->n * sizeof(PlmChar));
			plm_norm_put(r, k + 1, first.cp, first.at);
			continue;
		}
		if (done == from.len)
		{
			held->n = 0;
			put_string(r, k, r->b->norm[k].to, at);
		}
		return;
	}
}

static void
replace_end(PlmRunState *r, uint32_t k)
{
	PlmChars   *held = &r->norm[k].held;

	for (int64_t i = 0; i < held->n; i++)
		plm_norm_put(r, k + 1, held->data[i].cp, held->data[i].at);
	held->n = 0;
}

/* ---- all of them ---- */

void
plm_norm_begin(PlmRunState *r)
{
	for (uint32_t k = 0; k < r->b->n_norm; k++)
	{
		PlmNormState *s = &r->norm[k];

		s->held.n = s->spans.n = s->spans.head = s->blocked.n = 0;
		s->has_composee = s->started = false;
		s->last_class = -1;
		s->last = (PlmAlign) {0, 0};
	}
}

void
plm_norm_put(PlmRunState *r, uint32_t k, uint32_t cp, PlmAlign at)
{
	if (plm_run_tick(r))
		return;
	for (; k < r->b->n_norm && !r->done; k++)
	{
		uint32_t	lower[2];

		switch ((PlmNormKind) r->b->norm[k].kind)
		{
			case PLM_NORM_CLEAN:
				if (plm_is_dropped(cp))
					return;
				if (plm_is_space(cp))
					cp = ' ';
				break;
			case PLM_NORM_CJK:
				if (!plm_is_cjk(cp))
					break;
				plm_norm_put(r, k + 1, ' ', at);
				plm_norm_put(r, k + 1, cp, at);
				cp = ' ';
				break;
			case PLM_NORM_DROP_MN:
				if (plm_is_mn(cp))
					return;
				break;
			case PLM_NORM_DROP_MARKS:
				if (plm_is_mark(cp))
					return;
				break;
			case PLM_NORM_LOWER:
				if (plm_lower(cp, lower) == 2)
				{
					plm_norm_put(r, k + 1, lower[0], at);
					lower[0] = lower[1];
				}
				cp = lower[0];
				break;
			case PLM_NORM_NFC:
			case PLM_NORM_NFD:
			case PLM_NORM_NFKC:
			case PLM_NORM_NFKD:
				nf_put(r, k, cp, at);
				return;
			case PLM_NORM_STRIP:
				strip_put(r, k, cp, at);
				return;
			case PLM_NORM_REPLACE:
				replace_put(r, k, cp, at);
				return;
			case PLM_NORM_PREPEND:
				if (!r->norm[k].started)
				{
					r->norm[k].started = true;
					put_string(r, k, r->b->norm[k].to, at);
				}
				break;
			case PLM_NORM_KINDS:
				return;
		}
	}
	if (r->done)
		return;
	if (r->collect != NULL)
		plm_chars_push(r, r->collect, (PlmChar) {cp, 0, at});
	else
		plm_match_put(r, cp, at);
}

void
plm_norm_end(PlmRunState *r)
{
	for (uint32_t k = 0; k < r->b->n_norm && !r->done; k++)
		switch ((PlmNormKind) r->b->norm[k].kind)
		{
			case PLM_NORM_NFC:
			case PLM_NORM_NFD:
			case PLM_NORM_NFKC:
			case PLM_NORM_NFKD:
				nf_end(r, k);
				break;
			case PLM_NORM_STRIP:
				r->norm[k].held.n = 0;	/* spaces with nothing behind them */
				break;
			case PLM_NORM_REPLACE:
				replace_end(r, k);
				break;
			default:
				break;
		}
}
