/*
 * words.c -- finding products by their words: terms of a query, spelling, BM25F with coverage.
 *
 * The score of a product lies between 0 and 1.  With idf(t) = ln(1 + (N - df(t) + 0.5) / (df(t) + 0.5)) and, for the fields f
 * (title and body), x(t) = sum of v_f * tf(t, f) / (1 - b + b * len_f / mean_f) (Robertson, Zaragoza, Taylor: Simple BM25
 * extension to multiple weighted fields, 2004), it is
 *
 *     sum(idf(t) * x(t) / (k1 + x(t))) / sum(idf(t))  *  sum(idf(t) of the terms that it has) / sum(idf(t))
 *
 * so that a product which has all words goes before one that repeats some, and a word that nobody has lowers all.  Document
 * frequencies are counted in the rows that the query's index scan returns: exact, of the moment, and of no row that is not
 * among those that count.
 */
#include "find.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "mb/pg_wchar.h"
#include "tsearch/ts_type.h"
#include "tsearch/ts_utils.h"
#include "utils/builtins.h"

#include "sql.h"

#define K1 1.2
#define B 0.5
#define TITLE_WEIGHT 3.0
#define MAX_TERMS 64			/* of a query that are looked up */

/* ---- terms ---- */

typedef struct TermRows
{
	PlmpgTerms *terms;
	MemoryContext context;
} TermRows;

static List *
lexemes_of(Datum array)
{
	Datum	   *values;
	bool	   *nulls;
	int			n;
	List	   *list = NIL;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			list = lappend(list, TextDatumGetCString(values[i]));
	return list;
}

static bool
equal_lexemes(List *a, List *b)
{
	ListCell   *x,
			   *y;

	if (list_length(a) != list_length(b))
		return false;
	forboth(x, a, y, b)
		if (strcmp(lfirst(x), lfirst(y)) != 0)
			return false;
	return true;
}

static void
take_term(void *arg, TupleTableSlot *slot)
{
	TermRows   *r = arg;
	PlmpgTerms *t = r->terms;
	MemoryContext old;
	bool		null;

	if (t->n == MAX_TERMS)
		return;
	old = MemoryContextSwitchTo(r->context);
	t->tokens[t->n] = TextDatumGetCString(slot_getattr(slot, 1, &null));
	t->lexemes[t->n] = lexemes_of(slot_getattr(slot, 2, &null));
	t->n++;
	/* A word that is said twice counts once. */
	for (int i = 0; i < t->n - 1; i++)
		if (equal_lexemes(t->lexemes[i], t->lexemes[t->n - 1]))
			t->lexemes[t->n - 1] = NIL;
	MemoryContextSwitchTo(old);
}

static char *
or_query(List *lexemes)
{
	StringInfoData s;
	ListCell   *cell;

	initStringInfo(&s);
	foreach(cell, lexemes)
	{
		if (s.len > 0)
			appendStringInfoString(&s, " | ");
		appendStringInfoChar(&s, '\'');
		for (const char *c = lfirst(cell); *c != '\0'; c++)
		{
			if (*c == '\'' || *c == '\\')
				appendStringInfoChar(&s, *c);
			appendStringInfoChar(&s, *c);
		}
		appendStringInfoChar(&s, '\'');
	}
	return s.data;
}

typedef struct CountRow
{
	PlmpgKeys  *among;
	int64		rows;
} CountRow;

static void
take_counted(void *arg, TupleTableSlot *slot)
{
	CountRow   *r = arg;
	bool		null;
	char	   *key;

	if (r->among != NULL)
	{
		key = TextDatumGetCString(slot_getattr(slot, 1, &null));
		r->rows += plmpg_keys_find(r->among, key, false) != NULL;
		pfree(key);
	}
	else
		r->rows++;
}

/* Does a row that counts have any of these lexemes? */
static bool
in_use(const PlmpgShop *shop, List *lexemes, PlmpgKeys *among)
{
	CountRow	r = {.among = among};
	PlmpgParams p = {0};

	plmpg_param_text(&p, or_query(lexemes));
	plmpg_sql(psprintf(among == NULL ? "SELECT w.key FROM %s AS w WHERE w.words @@ $1::pg_catalog.tsquery LIMIT 1"
					   : "SELECT w.key FROM %s AS w WHERE w.words @@ $1::pg_catalog.tsquery", shop->words_name),
			  &p, PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_counted, &r);
	return r.rows > 0;
}

typedef struct NearTerms
{
	MemoryContext context;
	List	   *terms;
	List	   *distances;
} NearTerms;

static void
take_near_term(void *arg, TupleTableSlot *slot)
{
	NearTerms  *r = arg;
	MemoryContext old = MemoryContextSwitchTo(r->context);
	bool		null;

	r->terms = lappend(r->terms, TextDatumGetCString(slot_getattr(slot, 1, &null)));
	r->distances = lappend_int(r->distances, DatumGetInt32(slot_getattr(slot, 2, &null)));
	MemoryContextSwitchTo(old);
}

/* Rows that count and have this lexeme. */
static int64
rows_with(const PlmpgShop *shop, const char *lexeme, PlmpgKeys *among)
{
	CountRow	r = {.among = among};
	PlmpgParams p = {0};

	plmpg_param_text(&p, or_query(list_make1((char *) lexeme)));
	plmpg_sql(psprintf("SELECT w.key FROM %s AS w WHERE w.words @@ $1::pg_catalog.tsquery", shop->words_name),
			  &p, PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_counted, &r);
	return r.rows;
}

/*
 * The term that is nearest in spelling: at the smallest distance that some term in use has, with the same first letter if
 * there is one, then the commonest.  NULL: none is near enough.
 */
static char *
spelled_like(const PlmpgShop *shop, const char *lexeme, PlmpgKeys *among)
{
	NearTerms	r = {.context = CurrentMemoryContext};
	PlmpgParams p = {0};
	int			letters = pg_mbstrlen(lexeme);
	int			most = letters >= 8 ? 2 : letters >= 4 ? 1 : 0;
	char	   *best = NULL;
	int			best_distance = 0;
	int64		best_rows = 0;
	ListCell   *term,
			   *d;

	if (most == 0 || letters > 40)
		return NULL;
	plmpg_param_text(&p, lexeme);
	plmpg_param(&p, INT4OID, Int32GetDatum(most), false);
	plmpg_sql(psprintf("SELECT DISTINCT t.term, 2 * product_llm.term_distance(t.term, $1, $2)"
					   " + (pg_catalog.left(t.term, 1) <> pg_catalog.left($1, 1))::pg_catalog.int4 FROM %s AS t"
					   " WHERE t.grams && product_llm.term_grams($1)"
					   " AND pg_catalog.length(t.term) BETWEEN pg_catalog.length($1) - $2 AND pg_catalog.length($1) + $2"
					   " AND product_llm.term_distance(t.term, $1, $2) <= $2 ORDER BY 2, 1%s", shop->terms_name,
					   /* Words of hidden rows must not keep others from being looked at. */
					   among == NULL ? " LIMIT 20" : ""),
			  &p, PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_near_term, &r);
	forboth(term, r.terms, d, r.distances)
	{
		int64		rows;

		if (best != NULL && lfirst_int(d) > best_distance)
			break;
		rows = rows_with(shop, lfirst(term), among);
		if (rows > best_rows)
		{
			best = lfirst(term);
			best_distance = lfirst_int(d);
			best_rows = rows;
		}
	}
	return best;
}

/* Terms of letters only: a number or a part number that is not there is not a slip. */
static bool
may_be_misspelled(const char *token)
{
	for (const char *c = token; *c != '\0'; c++)
		if (*c >= '0' && *c <= '9')
			return false;
	return true;
}

PlmpgTerms *
plmpg_terms(const PlmpgShop *shop, text *query, PlmpgKeys *among)
{
	PlmpgTerms *t = palloc0(sizeof(PlmpgTerms));
	TermRows	r = {.terms = t, .context = CurrentMemoryContext};
	PlmpgParams p = {0};
	PlmpgIdentity caller;
	StringInfoData corrected;

	t->tokens = palloc(MAX_TERMS * sizeof(char *));
	t->lexemes = palloc(MAX_TERMS * sizeof(List *));
	t->text = text_to_cstring(query);
	plmpg_param(&p, TEXTOID, PointerGetDatum(query), false);
	plmpg_param(&p, REGCONFIGOID, ObjectIdGetDatum(shop->language), false);
	caller = plmpg_become(shop->owner);
	plmpg_sql("SELECT t.token, ARRAY(SELECT u.lexeme FROM pg_catalog.unnest(pg_catalog.to_tsvector($2, t.token)) AS u)"
			  " FROM pg_catalog.unnest(pg_catalog.string_to_array(product_llm.segment($1, 'query'), ' ')) WITH ORDINALITY AS t (token, n)"
			  " WHERE t.token <> '' ORDER BY t.n",
			  &p, PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_term, &r);

	initStringInfo(&corrected);
	for (int i = 0; i < t->n; i++)
	{
		char	   *like = NULL;

		if (t->lexemes[i] != NIL && may_be_misspelled(t->tokens[i]) && !in_use(shop, t->lexemes[i], among))
			like = spelled_like(shop, linitial(t->lexemes[i]), among);
		if (like != NULL)
		{
			t->lexemes[i] = list_make1(like);
			t->corrected = true;
		}
		appendStringInfo(&corrected, "%s%s", i > 0 ? " " : "", like != NULL ? like : t->tokens[i]);
	}
	plmpg_return_to(&caller);
	if (t->corrected)
		t->text = corrected.data;
	return t;
}

/* ---- BM25F ---- */

/* A row with some words of the query: its counts are in one long array. */
typedef struct WordsRow
{
	char	   *key;
	int			title_words;
	int			body_words;
	bool		lets;			/* may be returned */
} WordsRow;

typedef struct WordsRows
{
	MemoryContext context;
	const PlmpgTerms *terms;
	PlmpgKeys  *among;
	WordsRow   *rows;
	uint16	   *counts;			/* (rows, terms, 2): title, body */
	int64		n;
	int64		room;
	int64	   *df;				/* (terms) */
} WordsRows;

/* Occurrences of a lexeme in the title (weight A) and elsewhere. */
static void
count_lexeme(TSVector words, const char *lexeme, int len, uint16 *title, uint16 *body)
{
	WordEntry  *entries = ARRPTR(words);
	int			low = 0,
				high = words->size;

	while (low < high)
	{
		int			middle = (low + high) / 2;
		WordEntry  *entry = &entries[middle];
		int			order = tsCompareString((char *) lexeme, len, STRPTR(words) + entry->pos, entry->len, false);

		if (order == 0)
		{
			WordEntryPos *positions = POSDATAPTR(words, entry);

			for (int i = 0; i < POSDATALEN(words, entry); i++)
			{
				if (WEP_GETWEIGHT(positions[i]) == 3)
					(*title)++;
				else
					(*body)++;
			}
			return;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
}

static void
take_words(void *arg, TupleTableSlot *slot)
{
	WordsRows  *r = arg;
	int			terms = r->terms->n;
	bool		null;
	char	   *key;
	TSVector	words;
	WordsRow   *row;
	uint16	   *counts;
	MemoryContext old = MemoryContextSwitchTo(r->context);
	int64	   *lets = NULL;

	key = TextDatumGetCString(slot_getattr(slot, 1, &null));
	if (r->among != NULL && (lets = plmpg_keys_find(r->among, key, false)) == NULL)
	{
		pfree(key);
		MemoryContextSwitchTo(old);
		return;
	}
	if (r->n == r->room)
	{
		r->room = r->room == 0 ? 256 : r->room * 2;
		r->rows = r->rows == NULL ? palloc_extended(r->room * sizeof(WordsRow), MCXT_ALLOC_HUGE)
			: repalloc_huge(r->rows, r->room * sizeof(WordsRow));
		r->counts = r->counts == NULL ? palloc_extended(r->room * terms * 2 * sizeof(uint16), MCXT_ALLOC_HUGE)
			: repalloc_huge(r->counts, r->room * terms * 2 * sizeof(uint16));
	}
	row = &r->rows[r->n];
	counts = r->counts + r->n * terms * 2;
	r->n++;
	memset(counts, 0, terms * 2 * sizeof(uint16));
	row->key = key;
	row->title_words = DatumGetInt32(slot_getattr(slot, 3, &null));
	row->body_words = DatumGetInt32(slot_getattr(slot, 4, &null));
	row->lets = lets == NULL || *lets == 1;
	words = DatumGetTSVector(slot_getattr(slot, 2, &null));
	for (int i = 0; i < terms; i++)
	{
		ListCell   *cell;

		foreach(cell, r->terms->lexemes[i])
			count_lexeme(words, lfirst(cell), (int) strlen(lfirst(cell)), &counts[2 * i], &counts[2 * i + 1]);
		r->df[i] += counts[2 * i] > 0 || counts[2 * i + 1] > 0;
	}
	MemoryContextSwitchTo(old);
}

static double
length_norm(int words, double mean)
{
	return 1 - B + B * words / Max(mean, 1.0);
}

/* Number of rows and mean lengths: as last counted, or of the rows that count when not all do. */
typedef struct Corpus
{
	double		rows;
	double		title;
	double		body;
} Corpus;

typedef struct LengthSums
{
	PlmpgKeys  *among;
	int64		rows;
	int64		title;
	int64		body;
} LengthSums;

static void
take_lengths(void *arg, TupleTableSlot *slot)
{
	LengthSums *sums = arg;
	bool		null;

	if (plmpg_keys_find_text(sums->among, slot_getattr(slot, 1, &null)) == NULL)
		return;
	sums->rows++;
	sums->title += DatumGetInt32(slot_getattr(slot, 2, &null));
	sums->body += DatumGetInt32(slot_getattr(slot, 3, &null));
}

/* As the statistics have it: to two decimals. */
static double
mean_length(int64 words, int64 rows)
{
	return round(100.0 * (double) words / (double) Max(rows, 1)) / 100;
}

static Corpus
corpus(const PlmpgShop *shop, const WordsRows *r)
{
	Jsonb	   *counted = plmpg_shop_statistics(shop);
	Corpus		c = {
		.rows = plmpg_shop_number(counted, "rows", 0),
		.title = plmpg_shop_number(counted, "title", 0),
		.body = plmpg_shop_number(counted, "body", 0)
	};

	if (r->among != NULL)
	{
		LengthSums	sums = {.among = r->among};

		plmpg_sql(psprintf("SELECT w.key, w.title_words, w.body_words FROM %s AS w", shop->words_name), NULL,
				  PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_lengths, &sums);
		c.rows = (double) sums.rows;
		c.title = mean_length(sums.title, sums.rows);
		c.body = mean_length(sums.body, sums.rows);
	}
	c.rows = Max(c.rows, (double) r->n);
	return c;
}

static int
by_lexical(const void *a, const void *b)
{
	const PlmpgFound *x = a,
			   *y = b;

	CHECK_FOR_INTERRUPTS();		/* there may be as many as there are products */
	if (x->lexical != y->lexical)
		return x->lexical > y->lexical ? -1 : 1;
	return strcmp(x->key, y->key);
}

PlmpgFounds *
plmpg_best_words(const PlmpgShop *shop, const PlmpgTerms *terms, PlmpgKeys *among)
{
	WordsRows	r = {.context = CurrentMemoryContext, .terms = terms, .among = among};
	PlmpgFounds *list = plmpg_founds();
	List	   *lexemes = NIL;
	PlmpgParams p = {0};
	PlmpgIdentity caller;
	Corpus		c;
	double	   *idf;
	double		whole = 0;

	for (int i = 0; i < terms->n; i++)
		lexemes = list_concat(lexemes, terms->lexemes[i]);
	if (lexemes == NIL)
		return list;
	r.df = palloc0(terms->n * sizeof(int64));
	plmpg_param_text(&p, or_query(lexemes));
	caller = plmpg_become(shop->owner);
	plmpg_sql(psprintf("SELECT w.key, w.words, w.title_words, w.body_words FROM %s AS w WHERE w.words @@ $1::pg_catalog.tsquery",
					   shop->words_name), &p, PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_words, &r);
	c = corpus(shop, &r);
	plmpg_return_to(&caller);

	idf = palloc(terms->n * sizeof(double));
	for (int t = 0; t < terms->n; t++)
	{
		idf[t] = terms->lexemes[t] == NIL ? 0 : log(1 + (c.rows - r.df[t] + 0.5) / (r.df[t] + 0.5));
		whole += idf[t];
	}
	for (int64 i = 0; i < r.n; i++)
	{
		const WordsRow *row = &r.rows[i];
		double		title = length_norm(row->title_words, c.title);
		double		body = length_norm(row->body_words, c.body);
		double		score = 0,
					covered = 0;

		if (!row->lets)
			continue;
		for (int t = 0; t < terms->n; t++)
		{
			const uint16 *counts = r.counts + (i * terms->n + t) * 2;
			double		x = TITLE_WEIGHT * counts[0] / title + counts[1] / body;

			if (x > 0)
			{
				score += idf[t] * x / (K1 + x);
				covered += idf[t];
			}
		}
		plmpg_founds_add(list, row->key)->lexical = score / whole * (covered / whole);
	}
	if (list->n > 0)
		qsort(list->rows, list->n, sizeof(PlmpgFound), by_lexical);
	for (int64 i = 0; i < list->n; i++)
		list->rows[i].lexical_rank = (int) i + 1;
	return list;
}
