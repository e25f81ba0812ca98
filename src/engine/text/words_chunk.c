/*
 * words_chunk.c -- terms of a chunk: words with single joiners between them.  What they are is written in words.c.
 */
#include "words_private.h"

#include <string.h>

#define SHORT_WORD 3			/* letters of a series or a unit of measure */

static bool
is_letters(const PlmWordRun *r)
{
	return r->borders == 0 && !r->digits_first;
}

static bool
is_number(const PlmWordRun *r)
{
	return r->borders == 0 && r->digits_first;
}

static bool
has_digits(const PlmWordRun *r)
{
	return r->borders > 0 || r->digits_first;
}

/* Are the letters of the run's first two parts a word by themselves, not a series or a unit? */
static bool
holds_word(const PlmWordRun *r)
{
	return (r->digits_first ? r->n - r->border : r->border) > SHORT_WORD;
}

/* May the run be divided at its first border?  Part numbers that begin with digits are not: 75e500b. */
static bool
divides(const PlmWordRun *r)
{
	return r->borders == 1 || (r->borders > 1 && !r->digits_first);
}

/* n runs as one term; false: too long for one. */
static bool
emit_joined(PlmSegmenter *s, const PlmWordRun *a, int n)
{
	uint32_t	c[PLM_MAX_WORD];
	int			len = 0;

	for (int i = 0; i < n; i++)
	{
		if (len + a[i].n > PLM_MAX_WORD)
			return false;
		memcpy(c + len, a[i].c, (size_t) a[i].n * sizeof(uint32_t));
		len += a[i].n;
	}
	plm_words_emit(s, c, len);
	return true;
}

static void
emit_run(PlmSegmenter *s, const PlmWordRun *r)
{
	bool		halves = divides(r) && (!s->query || holds_word(r));

	if (!(s->query && (halves || r->possessive)))
		plm_words_emit(s, r->c, r->n);
	if (halves)
	{
		plm_words_emit(s, r->c, r->border);
		plm_words_emit(s, r->c + r->border, r->n - r->border);
	}
	if (r->possessive)
	{
		uint32_t	c[PLM_MAX_WORD + 1];

		memcpy(c, r->c, (size_t) r->n * sizeof(uint32_t));
		c[r->n] = 's';
		plm_words_emit(s, c, r->n + 1);
	}
}

/* Joiners that hold a part number together; the others part things that go together. */
static bool
is_tight(const PlmWordRun *r)
{
	return r->joiner == '-' || r->joiner == '_' || r->joiner == '.';
}

/* n runs (> 1) with tight joiners between them. */
static void
emit_compound(PlmSegmenter *s, const PlmWordRun *r, int n)
{
	bool		digits = false,
				word = false,
				point = false,
				tiny = true;

	for (int i = 0; i < n; i++)
	{
		digits = digits || has_digits(&r[i]);
		word = word || (is_letters(&r[i]) ? r[i].n > SHORT_WORD : divides(&r[i]) && holds_word(&r[i]));
		tiny = tiny && r[i].n <= 2;
		point = point || (i > 0 && r[i].joiner == '.');
	}
	/* Without a digit a point ends a sentence or stands in a name: its sides are words of their own. */
	if (s->query && (digits ? !word : !point && (tiny || (n == 2 && r[0].n == 1))) && emit_joined(s, r, n))
		return;
	for (int i = 0; i < n; i++)
		emit_run(s, &r[i]);
	if (s->query || (!digits && point))
		return;
	if (!digits && n > 2 && !tiny)
		return;
	for (int i = digits ? 2 : n; i <= n; i++)
		emit_joined(s, r, i);
}

static void
emit_runs(PlmSegmenter *s, const PlmWordRun *r, int n)
{
	int			next;

	for (int i = 0; i < n; i = next)
	{
		for (next = i + 1; next < n && is_tight(&r[next]);)
			next++;
		if (next - i > 1)
			emit_compound(s, r + i, next - i);
		else
			emit_run(s, &r[i]);
		if (!s->query && i > 0 && next == i + 1 &&
			(r[i].joiner == '\'' || (r[i - 1].n <= 2 && r[i].n <= 2 && is_letters(&r[i - 1]) && is_letters(&r[i]))))
			emit_joined(s, r + i - 1, 2);
	}
}

/* "TN 2110", "500 GB": short letters beside digits. */
static void
emit_neighbours(PlmSegmenter *s, const PlmWordRun *r)
{
	PlmWordRun		   *before = &s->before;

	if (!s->query && before->n > 0 &&
		((is_letters(before) && before->n <= SHORT_WORD && has_digits(r)) ||
		 (is_number(before) && is_letters(r) && r->n <= SHORT_WORD)))
	{
		PlmWordRun			both[2] = {*before, *r};

		emit_joined(s, both, 2);
	}
	*before = *r;
}

static int
digits_at(const PlmSegmenter *s, int at)
{
	int			n = 0;

	while (at + n < s->n_chunk && s->class[at + n] == PLM_CHAR_DIGIT)
		n++;
	return n;
}

/*
 * What a joiner inside a number becomes: 0: nothing (thousands), a letter, or itself where it divides.
 * before: digits directly before it.
 */
static uint32_t
inside_number(const PlmSegmenter *s, int at, int before)
{
	uint32_t	c = s->chunk[at];
	int			behind = digits_at(s, at + 1);

	if (before == 0 || behind == 0)
		return c;
	if (c == '.')
		return 'd';
	if (c == 0xd7)
		return 'x';
	if (c != ',')
		return c;
	return behind == 3 && before <= 3 ? 0 : behind <= 2 ? 'd' : c;
}

static void
run_put(PlmWordRun *r, uint32_t c, bool digit)
{
	bool		was_digit = r->borders % 2 == 0 ? r->digits_first : !r->digits_first;

	if (r->n == 0)
		r->digits_first = digit;
	else if (digit != was_digit)
	{
		if (r->borders++ == 0)
			r->border = r->n;
	}
	r->c[r->n++] = c;
}

/* Divide the chunk into runs and write their terms. */
void
plm_words_chunk_end(PlmSegmenter *s)
{
	int			n = 0;
	int			digits = 0;
	PlmWordRun		   *r = s->runs;

	if (s->n_chunk == 0)
		return;
	s->joiner = 0;
	s->word = 0;
	*r = (PlmWordRun) {.n = 0};
	for (int i = 0; i < s->n_chunk; i++)
	{
		uint32_t	c = s->chunk[i];
		PlmCharClass		class = s->class[i];

		if (class == PLM_CHAR_JOINER)
		{
			uint32_t	inside = inside_number(s, i, digits);

			digits = 0;
			if (inside == 0)
				continue;
			if (inside == c || r->n >= PLM_MAX_WORD)
			{
				if (n + 1 == PLM_MAX_RUNS)
				{
					emit_runs(s, s->runs, PLM_MAX_RUNS);
					n = -1;
				}
				r = &s->runs[++n];
				*r = (PlmWordRun) {.joiner = c};
				continue;
			}
			/* The point of a decimal is a letter to readers and a digit to us: no border. */
			run_put(r, inside, inside == 'd');
			continue;
		}
		digits = class == PLM_CHAR_DIGIT ? digits + 1 : 0;
		run_put(r, c, class == PLM_CHAR_DIGIT || (class == PLM_CHAR_MARK && r->n > 0 && r->borders % 2 == (r->digits_first ? 0 : 1)));
		if (i + 2 < s->n_chunk && class != PLM_CHAR_DIGIT && s->class[i + 1] == PLM_CHAR_JOINER && s->chunk[i + 1] == '\'' &&
			s->chunk[i + 2] == 's' && (i + 3 == s->n_chunk || s->class[i + 3] == PLM_CHAR_JOINER))
		{
			r->possessive = true;
			i += 2;
		}
	}
	n++;
	s->n_chunk = 0;
	emit_runs(s, s->runs, n);
	if (n == 1 && !s->runs[0].possessive)
		emit_neighbours(s, s->runs);
	else
		s->before.n = 0;
}

void
plm_words_put(PlmSegmenter *s, PlmCharClass class, uint32_t cp)
{
	if (s->word + (s->joiner != 0) >= PLM_MAX_WORD || s->n_chunk + 2 > PLM_MAX_CHUNK)
	{
		plm_words_chunk_end(s);
		s->before.n = 0;
		if (class == PLM_CHAR_MARK)
			return;
	}
	if (s->joiner != 0)
	{
		bool		number = s->class[s->n_chunk - 1] == PLM_CHAR_DIGIT && class == PLM_CHAR_DIGIT;

		/* These two divide unless they stand in a number. */
		if ((s->joiner == ',' || s->joiner == 0xd7) && !number)
		{
			plm_words_chunk_end(s);
			s->before.n = 0;
		}
		else
		{
			s->chunk[s->n_chunk] = s->joiner;
			s->class[s->n_chunk++] = PLM_CHAR_JOINER;
			s->joiner = 0;
			s->word = number ? s->word + 1 : 0;
		}
	}
	s->chunk[s->n_chunk] = cp;
	s->class[s->n_chunk++] = class;
	s->word++;
}

