/*
 * words.c -- index terms of a text in any language, and how near two terms are.
 *
 * A document's terms (D) and a query's (Q) are made so that every term of Q stands in D of each text that the
 * query means, and so that a query stays short:
 *
 *     text           D                               Q                  why
 *     men's          men mens                        mens               stemmers take "mens" to "men"; a plain index has both
 *     o'neill        o neill oneill                  o neill            French elision alike: "eau" finds "l'eau"
 *     TN2110         tn2110 tn 2110                  tn2110             head and tail at the first border of letters and digits
 *     TN-2110        tn 2110 tn2110                  tn2110
 *     TN 2110        tn 2110 tn2110                  tn 2110            up to 3 letters beside digits: a series, or a unit
 *     iPhone12       iphone12 iphone 12              iphone 12          longer words stand alone
 *     MZ-75E500B     mz n75e500b mz75e500b           mz75e500b          see below for the n
 *     wi-fi          wi fi wifi                      wifi               short parts: one word
 *     noise-free     noise free noisefree            noise free         longer parts: two words
 *     2.5GHz, 1,5    2d5ghz 2d5 ghz, 1d5             2d5ghz, 1d5        a decimal is one number; its point becomes a letter
 *     10,000         10000                           10000
 *     red/blue       red blue                        red blue
 *     (a run of Han, kana, Hangul, Thai, Lao, Khmer or Myanmar)
 *                    every pair of neighbours        every pair         and in D each single Han character, in
 *                                                                       both a run's only character
 *
 * A unit of such a run is a character with its marks.  Hangul words also have their first syllable in D: particles follow nouns.
 *
 * No term holds anything at which PostgreSQL's default parser would cut: "75e500b" reads as the number 75e500
 * and a "b", so that terms of this form begin with an n.  (It does cut at letters and marks that the locale's tables do not
 * know yet, in documents and queries alike.)
 *
 * Text streams through three stages: feed() folds, put() cuts into chunks (words with single joiners between
 * them) and runs of units, words_chunk.c and units_end() make terms.  Memory is constant beside the output.
 */
#include "words_private.h"

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

/* ---- output ---- */

static void
emit_bytes(PlmSegmenter *s, const char *bytes, size_t len)
{
	if (s->cap - s->n < len)
	{
		size_t		cap = s->cap * 2;
		char	   *out = s->status == PLM_OK ? plm_arena_alloc(s->arena, cap) : NULL;

		if (out == NULL)
		{
			if (s->status == PLM_OK)
				s->status = plm_arena_refused(s->arena, cap, s->err);
			return;
		}
		memcpy(out, s->out, s->n);
		s->out = out;
		s->cap = cap;
	}
	memcpy(s->out + s->n, bytes, len);
	s->n += len;
}

/* Would the default parser read a number in exponential form, and cut behind it? */
static bool
reads_as_number(const uint32_t *c, int n)
{
	int			i = 0;

	while (i < n && plm_is_digit(c[i]))
		i++;
	if (i == 0 || i + 1 >= n || c[i] != 'e' || !plm_is_digit(c[i + 1]))
		return false;
	for (i++; i < n && plm_is_digit(c[i]);)
		i++;
	return i < n;
}

void
plm_words_emit(PlmSegmenter *s, const uint32_t *c, int n)
{
	char		bytes[4 * (2 * PLM_MAX_WORD) + 2];
	size_t		len = 0;

	if (s->n > 0)
		bytes[len++] = ' ';
	if (reads_as_number(c, n))
		bytes[len++] = 'n';
	for (int i = 0; i < n; i++)
		len += (size_t) plm_utf8_encode(c[i], bytes + len);
	emit_bytes(s, bytes, len);
}

/* ---- classes ---- */

/* Scripts without spaces between words, by block; what is no letter or mark there is told apart by category. */
static const struct
{
	uint32_t	first;
	uint32_t	last;
	PlmCharClass		class;
}			blocks[] = {
	{0xe01, 0xeff, PLM_CHAR_UNIT}, {0x1000, 0x109f, PLM_CHAR_UNIT}, {0x1100, 0x11ff, PLM_CHAR_HANGUL}, {0x1780, 0x17df, PLM_CHAR_UNIT},
	{0x19e0, 0x19ff, PLM_CHAR_UNIT}, {0x3005, 0x3007, PLM_CHAR_HAN}, {0x3021, 0x3029, PLM_CHAR_HAN}, {0x3031, 0x3035, PLM_CHAR_UNIT}, {0x3038, 0x303b, PLM_CHAR_HAN},
	{0x3041, 0x30ff, PLM_CHAR_UNIT}, {0x3105, 0x312f, PLM_CHAR_UNIT}, {0x31a0, 0x31bf, PLM_CHAR_UNIT}, {0x31f0, 0x31ff, PLM_CHAR_UNIT},
	{0x3400, 0x4dbf, PLM_CHAR_HAN}, {0x4e00, 0x9fff, PLM_CHAR_HAN}, {0xa960, 0xa97f, PLM_CHAR_HANGUL}, {0xa9e0, 0xa9ff, PLM_CHAR_UNIT},
	{0xaa60, 0xaa7f, PLM_CHAR_UNIT}, {0xac00, 0xd7ff, PLM_CHAR_HANGUL}, {0xf900, 0xfaff, PLM_CHAR_HAN}, {0x1aff0, 0x1b16f, PLM_CHAR_UNIT}, {0x20000, 0x3ffff, PLM_CHAR_HAN}
};

/* Zeros of the decimal digits in use beside ASCII's; the other nine follow each. */
static const uint32_t zeros[] = {
	0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0, 0xf20,
	0x1040, 0x1090, 0x17e0, 0x1810
};

static PlmCharClass
classify(uint32_t *cp)
{
	utf8proc_category_t category;

	if (*cp < 0x80)
	{
		if (*cp >= 'a' && *cp <= 'z')
			return PLM_CHAR_LETTER;
		if (plm_is_digit(*cp))
			return PLM_CHAR_DIGIT;
		if (plm_is_space(*cp))
			return PLM_CHAR_SPACE;
		return *cp != 0 && strchr("-_./+&',", (int) *cp) != NULL ? PLM_CHAR_JOINER : PLM_CHAR_BREAK;
	}
	if (*cp == 0x2019 || *cp == 0x2bc)
	{
		*cp = '\'';
		return PLM_CHAR_JOINER;
	}
	if (*cp == 0x2010 || *cp == 0x2011)
	{
		*cp = '-';
		return PLM_CHAR_JOINER;
	}
	if (*cp == 0xd7)			/* multiplication sign */
		return PLM_CHAR_JOINER;
	if (plm_is_space(*cp))
		return PLM_CHAR_SPACE;
	category = utf8proc_category((utf8proc_int32_t) *cp);
	if (category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME)
		return PLM_CHAR_MARK;
	if (category == UTF8PROC_CATEGORY_ND)
		for (int64_t i = 0; i < PLM_COUNT(zeros); i++)
			if (*cp >= zeros[i] && *cp < zeros[i] + 10)
			{
				*cp = '0' + (*cp - zeros[i]);
				return PLM_CHAR_DIGIT;
			}
	if ((category < UTF8PROC_CATEGORY_LU || category > UTF8PROC_CATEGORY_LO) &&
		category != UTF8PROC_CATEGORY_ND && *cp != 0x3007)
		return PLM_CHAR_BREAK;
	for (int64_t i = 0; i < PLM_COUNT(blocks) && *cp >= blocks[i].first; i++)
		if (*cp <= blocks[i].last)
			return blocks[i].class;
	return PLM_CHAR_LETTER;
}

/* ---- runs of units ---- */

/* The newest unit is complete. */
static void
unit_end(PlmSegmenter *s)
{
	uint32_t	pair[2 * PLM_MAX_UNIT];

	if (s->units == 0)
		return;
	if (!s->query && (s->right.class == PLM_CHAR_HAN || (s->right.class == PLM_CHAR_HANGUL && (s->units == 1 || s->left.class != PLM_CHAR_HANGUL))))
		plm_words_emit(s, s->right.c, s->right.n);
	if (s->units > 1)
	{
		memcpy(pair, s->left.c, (size_t) s->left.n * sizeof(uint32_t));
		memcpy(pair + s->left.n, s->right.c, (size_t) s->right.n * sizeof(uint32_t));
		plm_words_emit(s, pair, s->left.n + s->right.n);
	}
}

static void
units_end(PlmSegmenter *s)
{
	unit_end(s);
	if (s->units == 1 && (s->query || s->right.class == PLM_CHAR_UNIT))
		plm_words_emit(s, s->right.c, s->right.n);
	s->units = 0;
}

static void
unit_put(PlmSegmenter *s, PlmCharClass class, uint32_t cp)
{
	unit_end(s);
	s->left = s->right;
	s->right = (PlmUnit) {.c = {cp}, .n = 1, .class = class};
	s->units++;
}

/* One folded character. */
static void
put(PlmSegmenter *s, uint32_t cp)
{
	PlmCharClass		class = classify(&cp);

	if (class == PLM_CHAR_MARK)
	{
		if (s->units > 0)
		{
			if (s->right.n < PLM_MAX_UNIT)
				s->right.c[s->right.n++] = cp;
		}
		else if (s->n_chunk > 0 && s->joiner == 0)
			plm_words_put(s, PLM_CHAR_MARK, cp);
		return;
	}
	if (class >= PLM_CHAR_HAN)
	{
		plm_words_chunk_end(s);
		s->before.n = 0;
		unit_put(s, class, cp);
		return;
	}
	if (s->units > 0)
		units_end(s);
	if (class == PLM_CHAR_LETTER || class == PLM_CHAR_DIGIT)
		plm_words_put(s, class, cp);
	else if (class == PLM_CHAR_JOINER && s->n_chunk > 0 && s->joiner == 0)
		s->joiner = cp;
	else
	{
		bool		divided = s->joiner != 0 || class != PLM_CHAR_SPACE;

		plm_words_chunk_end(s);
		if (divided)
			s->before.n = 0;
	}
}

/* ---- folding ---- */

/* What is pending is one character with all that may compose with it. */
static void
fold_end(PlmSegmenter *s)
{
	int32_t    *c = s->pending;
	utf8proc_ssize_t n = s->n_pending;

	s->n_pending = 0;
	if (n > 1)
	{
		for (int i = 1; i < n; i++)
			for (int j = i; j > 0; j--)
			{
				int32_t		swap = c[j];
				int			ccc = utf8proc_get_property(c[j])->combining_class;

				if (ccc == 0 || utf8proc_get_property(c[j - 1])->combining_class <= ccc)
					break;
				c[j] = c[j - 1];
				c[j - 1] = swap;
			}
		n = utf8proc_normalize_utf32(c, n, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
	}
	for (utf8proc_ssize_t i = 0; i < n; i++)
	{
		const utf8proc_property_t *property = utf8proc_get_property(c[i]);

		/* A Turkish capital I with a dot folds to i and a dot; everybody else's small i has it already. */
		if (i > 0 && c[i] == 0x307 && c[i - 1] == 'i')
			continue;
		/* Spacing marks that silence a vowel, in scripts of few: the default parser would cut at them. */
		if (property->category == UTF8PROC_CATEGORY_MC && property->combining_class != 0)
			continue;
		put(s, (uint32_t) c[i]);
	}
}

/* May it compose with a character before it? */
static bool
continues(int32_t cp)
{
	utf8proc_category_t category;

	if (cp < 0x300)
		return false;
	category = utf8proc_category(cp);
	return (category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME) || (cp >= 0x1160 && cp <= 0x11ff);
}

static void
feed(PlmSegmenter *s, uint32_t cp)
{
	int32_t		parts[PLM_MAX_DECOMPOSITION];
	int			boundary = 0;
	utf8proc_ssize_t n;

	if (cp == 0x200b)			/* zero width, but it says that a word ends here */
		cp = ' ';
	n = utf8proc_decompose_char((utf8proc_int32_t) cp, parts, PLM_MAX_DECOMPOSITION,
								UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE, &boundary);
	if (n < 0 || n > PLM_MAX_DECOMPOSITION)
	{
		parts[0] = (int32_t) cp;
		n = 1;
	}
	for (utf8proc_ssize_t i = 0; i < n; i++)
	{
		if (s->n_pending == PLM_MAX_PENDING || (s->n_pending > 0 && !continues(parts[i])))
			fold_end(s);
		s->pending[s->n_pending++] = parts[i];
	}
}

PlmStatus
plm_segment(PlmText text, bool query, PlmWorker *worker, PlmArena *arena, PlmText *out, PlmError *err)
{
	PlmSegmenter  *s = plm_arena_zero(arena, sizeof(PlmSegmenter));
	size_t		at = 0;

	if (s == NULL)
		return plm_arena_refused(arena, sizeof(PlmSegmenter), err);
	s->query = query;
	s->arena = arena;
	s->worker = worker;
	s->err = err;
	s->cap = 4096;
	s->out = plm_arena_alloc(arena, s->cap);
	if (s->out == NULL)
		return plm_arena_refused(arena, s->cap, err);
	for (uint32_t ticks = 0; at < text.len && s->status == PLM_OK; ticks++)
	{
		unsigned char c = (unsigned char) text.data[at];
		uint32_t	cp;
		int			len;

		if ((ticks & 4095) == 4095 && worker != NULL && plm_stopped(worker))
			return plm_cancelled(err);
		if (c < 0x80 && (at + 1 == text.len || (unsigned char) text.data[at + 1] < 0x80))
		{
			fold_end(s);
			put(s, c >= 'A' && c <= 'Z' ? c + 32u : c);
			at++;
			continue;
		}
		len = plm_utf8_decode(text.data + at, text.len - at, &cp);
		if (len == 0)
			return plm_fail(err, PLM_EARG, (int64_t) at, "text is not valid UTF-8 at byte %zu", at);
		feed(s, cp);
		at += (size_t) len;
	}
	fold_end(s);
	units_end(s);
	plm_words_chunk_end(s);
	*out = (PlmText) {s->out, s->n};
	return s->status;
}

/* ---- nearness of terms ---- */

/* The text's characters, in the arena. */
static PlmStatus
characters(PlmText text, PlmArena *arena, uint32_t **out, int64_t *n, PlmError *err)
{
	uint32_t   *c = plm_arena_array(arena, text.len + 1, sizeof(uint32_t));

	*n = 0;
	if (c == NULL)
		return plm_arena_refused(arena, (text.len + 1) * sizeof(uint32_t), err);
	for (size_t at = 0; at < text.len;)
	{
		int			len = plm_utf8_decode(text.data + at, text.len - at, &c[*n]);

		if (len == 0)
			return plm_fail(err, PLM_EARG, (int64_t) at, "text is not valid UTF-8 at byte %zu", at);
		at += (size_t) len;
		++*n;
	}
	*out = c;
	return PLM_OK;
}

static inline int64_t
least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

PlmStatus
plm_term_distance(PlmText a, PlmText b, int64_t most, PlmWorker *worker, PlmArena *arena, int64_t *distance, PlmError *err)
{
	uint32_t   *x,
			   *y;
	int64_t    *rows,
			   *two,
			   *one,
			   *row;
	int64_t		nx,
				ny;

	if (most < 0)
		return plm_fail(err, PLM_EARG, 0, "largest distance %" PRId64 " is negative", most);
	PLM_TRY(characters(a, arena, &x, &nx, err));
	PLM_TRY(characters(b, arena, &y, &ny, err));
	*distance = most + 1;
	if (nx - ny > most || ny - nx > most)
		return PLM_OK;
	rows = plm_arena_array(arena, (size_t) ny + 1, 3 * sizeof(int64_t));
	if (rows == NULL)
		return plm_arena_refused(arena, ((size_t) ny + 1) * 3 * sizeof(int64_t), err);
	two = rows;
	one = rows + ny + 1;
	row = rows + 2 * (ny + 1);
	for (int64_t j = 0; j <= ny; j++)
		row[j] = j;

	/* Row i holds distances of x[0 .. i) from y[0 .. j), for j within `most` of i: others are greater than most. */
	for (int64_t i = 1; i <= nx; i++)
	{
		int64_t    *free_row = two;
		int64_t		from = i > most ? i - most : 1;
		int64_t		to = ny - i > most ? i + most : ny;
		int64_t		smallest;

		if (worker != NULL && (i & 255) == 0 && plm_stopped(worker))
			return plm_cancelled(err);
		two = one;
		one = row;
		row = free_row;
		smallest = row[from - 1] = from == 1 ? i : most + 1;
		for (int64_t j = from; j <= to; j++)
		{
			int64_t		d = one[j - 1] + (x[i - 1] != y[j - 1]);

			d = least(d, row[j - 1] + 1);
			if (j < i + most)
				d = least(d, one[j] + 1);
			if (i > 1 && j > 1 && x[i - 1] == y[j - 2] && x[i - 2] == y[j - 1])
				d = least(d, two[j - 2] + 1);
			row[j] = d;
			smallest = least(smallest, d);
		}
		if (smallest > most)
			return PLM_OK;
	}
	*distance = least(row[ny], most + 1);
	return PLM_OK;
}

static int
compare_texts(const void *a, const void *b)
{
	const PlmText *x = a,
			   *y = b;
	int			order = memcmp(x->data, y->data, x->len < y->len ? x->len : y->len);

	return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

PlmStatus
plm_term_grams(PlmText term, PlmWorker *worker, PlmArena *arena, PlmText **grams, int64_t *n, PlmError *err)
{
	char	   *padded;
	size_t	   *starts;
	PlmText    *out;
	size_t		len;
	int64_t		characters = 0,
				different = 0;

	if (!plm_add(term.len, 3, &len) || (padded = plm_arena_alloc(arena, len)) == NULL)
		return plm_arena_refused(arena, term.len, err);
	memcpy(padded, "^^", 2);
	if (term.len > 0)
		memcpy(padded + 2, term.data, term.len);
	padded[len - 1] = '$';
	starts = plm_arena_array(arena, len + 1, sizeof(size_t));
	out = plm_arena_array(arena, len, sizeof(PlmText));
	if (starts == NULL || out == NULL)
		return plm_arena_refused(arena, len * sizeof(PlmText), err);
	for (size_t at = 0; at < len;)
	{
		uint32_t	cp;
		int			bytes = plm_utf8_decode(padded + at, len - at, &cp);

		if (bytes == 0)
			return plm_fail(err, PLM_EARG, (int64_t) at - 2, "text is not valid UTF-8 at byte %zu", at - 2);
		starts[characters++] = at;
		at += (size_t) bytes;
	}
	starts[characters] = len;
	for (int64_t i = 0; i + 3 <= characters; i++)
		out[i] = (PlmText) {padded + starts[i], starts[i + 3] - starts[i]};
	if (worker != NULL && plm_stopped(worker))
		return plm_cancelled(err);
	qsort(out, (size_t) (characters - 2), sizeof(PlmText), compare_texts);
	for (int64_t i = 0; i < characters - 2; i++)
		if (i == 0 || compare_texts(&out[different - 1], &out[i]) != 0)
			out[different++] = out[i];
	*grams = out;
	*n = different;
	return PLM_OK;
}
