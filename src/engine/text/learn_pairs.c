/*
 * learn_pairs.c -- merging the most frequent pair of neighbouring pieces, again and again (Sennrich, Haddow, Birch 2016).
 *
 * Every different word is a line of pieces with its count.  Each pair knows its count and the lines that it stands in, so a
 * merge touches those lines only.  A heap finds the largest count: counts that have shrunk are corrected when they come to
 * its top; a count that grows enters anew.  So each pair that occurs has an entry that is not below its count.
 */
#include "learn_private.h"

#include <string.h>

typedef struct Line
{
	int64_t		start;			/* in pieces */
	int64_t		count;			/* of the word */
	int32_t		n;				/* pieces now */
} Line;

typedef struct Pair
{
	int64_t		count;
	int32_t		left;
	int32_t		right;
	int32_t		lines;			/* first node of its list; -1: empty */
	bool		grew;			/* is in `grown` */
} Pair;

/* A line that a pair stands in, or stood in once. */
typedef struct Node
{
	int32_t		line;
	int32_t		next;
} Node;

typedef struct Entry
{
	int64_t		count;
	int32_t		pair;
} Entry;

typedef struct Merger
{
	PlmLearner *l;
	PlmError   *err;
	LearnArray	pieces;			/* int32_t: the lines one after another */
	LearnArray	lines;			/* Line */
	LearnArray	pairs;			/* Pair */
	LearnArray	nodes;			/* Node */
	LearnArray	heap;			/* Entry */
	LearnArray	grown;			/* int32_t: pairs whose counts grew in this merge */
	LearnMap	by_pieces;		/* places in pairs */
	int32_t		unused;			/* nodes given back; -1: none */
} Merger;

static inline Pair *
pair_at(const Merger *m, int64_t i)
{
	return (Pair *) m->pairs.data + i;
}

/* ---- the heap ---- */

/* More often first; among equals the lower pieces, which came first. */
static bool
before(const Merger *m, const Entry *a, const Entry *b)
{
	const Pair *p = pair_at(m, a->pair);
	const Pair *q = pair_at(m, b->pair);

	if (a->count != b->count)
		return a->count > b->count;
	return p->left != q->left ? p->left < q->left : p->right < q->right;
}

static PlmStatus
heap_push(Merger *m, int32_t pair)
{
	Entry		e = {pair_at(m, pair)->count, pair};
	Entry	   *heap;
	int64_t		at;

	PLM_TRY(plm_learn_room(&m->l->memory, &m->heap, 1, sizeof(Entry), m->err));
	heap = m->heap.data;
	for (at = m->heap.n++; at > 0 && before(m, &e, &heap[(at - 1) / 2]); at = (at - 1) / 2)
		heap[at] = heap[(at - 1) / 2];
	heap[at] = e;
	return PLM_OK;
}

/* Put an entry in the place of the top one. */
static void
heap_replace(Merger *m, Entry e)
{
	Entry	   *heap = m->heap.data;
	int64_t		n = m->heap.n;
	int64_t		at = 0;

	for (int64_t child = 1; child < n; child = 2 * at + 1)
	{
		if (child + 1 < n && before(m, &heap[child + 1], &heap[child]))
			child++;
		if (!before(m, &heap[child], &e))
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = e;
}

static void
heap_pop(Merger *m)
{
	const Entry *heap = m->heap.data;
	Entry		last = heap[--m->heap.n];

	if (m->heap.n > 0)
		heap_replace(m, last);
}

/* The pair that occurs most; false: none does.  Stays on the heap, where its count of 0 will remove it. */
static bool
most_frequent(Merger *m, int32_t *pair)
{
	while (m->heap.n > 0)
	{
		Entry		top = *(const Entry *) m->heap.data;
		int64_t		count = pair_at(m, top.pair)->count;

		*pair = top.pair;
		if (top.count == count && count > 0)
			return true;
		/* Below its count it has a better entry; above it has to sink. */
		if (top.count > count && count > 0)
			heap_replace(m, (Entry) {count, top.pair});
		else
			heap_pop(m);
	}
	return false;
}

/* ---- counts ---- */

static PlmStatus
note_line(Merger *m, Pair *pair, int32_t line)
{
	Node	   *nodes = m->nodes.data;
	int32_t		at = m->unused;

	/* All places of one line come one after another. */
	if (pair->lines >= 0 && nodes[pair->lines].line == line)
		return PLM_OK;
	if (at >= 0)
		m->unused = nodes[at].next;
	else
	{
		if (m->nodes.n == INT32_MAX)
			return plm_fail(m->err, PLM_ELIMIT, 0, "the texts have too many different words");
		PLM_TRY(plm_learn_room(&m->l->memory, &m->nodes, 1, sizeof(Node), m->err));
		nodes = m->nodes.data;
		at = (int32_t) m->nodes.n++;
	}
	nodes[at] = (Node) {line, pair->lines};
	pair->lines = at;
	return PLM_OK;
}

static inline uint64_t
key_of(int32_t left, int32_t right)
{
	return (uint64_t) (uint32_t) left << 32 | (uint32_t) right;
}

/* The pair stands in the line once more. */
static PlmStatus
add_pair(Merger *m, int32_t left, int32_t right, int32_t line, int64_t count)
{
	int64_t    *at = NULL;
	Pair	   *pair;

	PLM_TRY(plm_learn_put(&m->l->memory, &m->by_pieces, key_of(left, right), m->pairs.n, &at, m->err));
	if (*at == m->pairs.n)
	{
		if (m->pairs.n == INT32_MAX)
			return plm_fail(m->err, PLM_ELIMIT, 0, "the texts have too many pairs of pieces");
		PLM_TRY(plm_learn_room(&m->l->memory, &m->pairs, 1, sizeof(Pair), m->err));
		*pair_at(m, m->pairs.n++) = (Pair) {.left = left, .right = right, .lines = -1};
	}
	pair = pair_at(m, *at);
	pair->count += count;
	if (!pair->grew)
	{
		PLM_TRY(plm_learn_room(&m->l->memory, &m->grown, 1, sizeof(int32_t), m->err));
		((int32_t *) m->grown.data)[m->grown.n++] = (int32_t) *at;
		pair->grew = true;
	}
	return note_line(m, pair, line);
}

static void
take_pair(Merger *m, int32_t left, int32_t right, int64_t count)
{
	const int64_t *at = plm_learn_find(&m->by_pieces, key_of(left, right));

	if (at != NULL)
		pair_at(m, *at)->count -= count;
}

static PlmStatus
push_grown(Merger *m)
{
	const int32_t *grown = m->grown.data;

	for (int64_t i = 0; i < m->grown.n; i++)
	{
		pair_at(m, grown[i])->grew = false;
		if (plm_learn_tick(m->l))
			return plm_cancelled(m->err);
		if (pair_at(m, grown[i])->count > 0)
			PLM_TRY(heap_push(m, grown[i]));
	}
	m->grown.n = 0;
	return PLM_OK;
}

/* ---- lines ---- */

/* A part of a word whose characters all have pieces: those from `start` on. */
static PlmStatus
end_line(Merger *m, int64_t start, int64_t count)
{
	const int32_t *pieces = m->pieces.data;
	int64_t		n = m->pieces.n - start;
	int32_t		line = (int32_t) m->lines.n;

	if (n < 2)
	{
		m->pieces.n = start;
		return PLM_OK;
	}
	if (line == INT32_MAX)
		return plm_fail(m->err, PLM_ELIMIT, 0, "the texts have too many different words");
	PLM_TRY(plm_learn_room(&m->l->memory, &m->lines, 1, sizeof(Line), m->err));
	((Line *) m->lines.data)[m->lines.n++] = (Line) {start, count, (int32_t) n};
	for (int64_t i = start; i + 1 < m->pieces.n; i++)
		PLM_TRY(add_pair(m, pieces[i], pieces[i + 1], line, count));
	return PLM_OK;
}

static PlmStatus
add_word(Merger *m, const LearnMap *forms, const LearnText *word)
{
	PlmText		text = plm_learn_string(&m->l->words, word);
	int64_t		start = m->pieces.n;

	for (size_t at = 0; at < text.len;)
	{
		uint32_t	cp = 0;
		int			len = plm_utf8_decode(text.data + at, text.len - at, &cp);
		const int64_t *piece = plm_learn_find(forms, plm_learn_form(cp, word->inner || at > 0));

		if (len == 0)
			return plm_fail(m->err, PLM_EINTERNAL, 0, "a counted word is not UTF-8");
		at += (size_t) len;
		if (piece == NULL)
		{
			PLM_TRY(end_line(m, start, word->count));
			start = m->pieces.n;
			continue;
		}
		PLM_TRY(plm_learn_room(&m->l->memory, &m->pieces, 1, sizeof(int32_t), m->err));
		((int32_t *) m->pieces.data)[m->pieces.n++] = (int32_t) *piece;
	}
	return end_line(m, start, word->count);
}

/* Replace left, right by `both` wherever they stand in the line, from left to right, and keep all counts. */
static PlmStatus
merge_line(Merger *m, int32_t number, int32_t left, int32_t right, int32_t both)
{
	Line	   *line = (Line *) m->lines.data + number;
	int32_t    *piece = (int32_t *) m->pieces.data + line->start;
	int32_t		n = 0;

	for (int32_t i = 0; i < line->n; i++)
	{
		if (i + 1 == line->n || piece[i] != left || piece[i + 1] != right)
		{
			piece[n++] = piece[i];
			continue;
		}
		if (n > 0)
		{
			take_pair(m, piece[n - 1], left, line->count);
			PLM_TRY(add_pair(m, piece[n - 1], both, number, line->count));
		}
		if (i + 2 < line->n)
		{
			take_pair(m, right, piece[i + 2], line->count);
			PLM_TRY(add_pair(m, both, piece[i + 2], number, line->count));
		}
		piece[n++] = both;
		i++;
	}
	line->n = n;
	return PLM_OK;
}

/* ---- merging ---- */

static PlmStatus
merge_pair(Merger *m, int32_t at)
{
	LearnTexts *pieces = &m->l->pieces;
	Pair		pair = *pair_at(m, at);
	char		text[8 * PLM_MAX_WORD_CHARS];
	PlmText		first = plm_learn_string(pieces, plm_learn_at(pieces, pair.left));
	PlmText		second = plm_learn_string(pieces, plm_learn_at(pieces, pair.right));
	int32_t		both = 0;

	if (first.len + second.len > sizeof(text))
		return plm_fail(m->err, PLM_EINTERNAL, 0, "a piece has %zu bytes", first.len + second.len);
	/* A copy: the pool may move when the piece is added. */
	memcpy(text, first.data, first.len);
	memcpy(text + first.len, second.data, second.len);
	PLM_TRY(plm_learn_text(&m->l->memory, pieces, plm_learn_at(pieces, pair.left)->inner,
						   (PlmText) {text, first.len + second.len}, PLM_TEXT(""), &both, m->err));
	for (int32_t node = pair.lines; node >= 0;)
	{
		Node		here = ((const Node *) m->nodes.data)[node];

		PLM_TRY(merge_line(m, here.line, pair.left, pair.right, both));
		if (plm_learn_tick(m->l))
			return plm_cancelled(m->err);
		((Node *) m->nodes.data)[node].next = m->unused;
		m->unused = node;
		node = here.next;
	}
	pair_at(m, at)->count = 0;
	pair_at(m, at)->lines = -1;
	return push_grown(m);
}

static PlmStatus
merge_all(Merger *m, const LearnMap *forms, int64_t most)
{
	PlmLearner *l = m->l;
	int32_t		pair;

	for (int64_t i = 0; i < l->words.texts.n; i++)
	{
		PLM_TRY(add_word(m, forms, plm_learn_at(&l->words, i)));
		if (plm_learn_tick(l))
			return plm_cancelled(m->err);
	}
	plm_learn_texts_release(&l->memory, &l->words);
	PLM_TRY(push_grown(m));
	while (l->pieces.texts.n < most && most_frequent(m, &pair) && pair_at(m, pair)->count >= l->options.min_frequency)
		PLM_TRY(merge_pair(m, pair));
	return PLM_OK;
}

PlmStatus
plm_learn_merge(PlmLearner *l, const LearnMap *forms, int64_t most, PlmError *err)
{
	Merger		m = {.l = l, .err = err, .unused = -1};
	LearnArray *arrays[] = {&m.pieces, &m.lines, &m.pairs, &m.nodes, &m.heap, &m.grown, &m.by_pieces.slots};
	PlmStatus	status = merge_all(&m, forms, most);

	for (int64_t i = 0; i < PLM_COUNT(arrays); i++)
		plm_learn_release(&l->memory, arrays[i]);
	return status;
}
