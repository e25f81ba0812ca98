/*
 * recommend.c -- candidates and their scores: see recommend.h.
 *
 * Where row-level security hides rows, "rows first" of find.h holds here too: only products that the caller sees become
 * candidates, before anything is compared with anything.  A filter is asked about the candidates first, and about all rows
 * only when too few are left.
 */
#include "recommend.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "fn.h"
#include "sql.h"

#define MAX_RESULTS 1000
#define QUERY_CANDIDATES 200	/* found by the query of a personal search, at least */
#define PERSONAL 0.5			/* share of the visitor in a personal search; the setting "personal" */

void
plmpg_recommend_begin(PlmpgRecommending *r, text *catalog, int32 most)
{
	if (most < 0 || most > MAX_RESULTS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_results must be between 0 and %d", MAX_RESULTS)));
	r->shop = plmpg_shop(text_to_cstring(catalog));
	plmpg_shop_check_rights(r->shop);
	r->events = plmpg_events(r->shop);
	r->blend = plmpg_blend(r->shop->settings);
	r->most = most;
	r->excluded = plmpg_keys();
	r->candidates = plmpg_candidates();
}

ArrayType *
plmpg_candidate_keys(const PlmpgCandidates *c, int64 from, int64 to)
{
	const char **keys = palloc_extended(Max(to - from, 1) * sizeof(char *), MCXT_ALLOC_HUGE);

	for (int64 i = from; i < to; i++)
		keys[i - from] = c->rows[i].key;
	return plmpg_text_array(keys, to - from);
}

/* ---- products of the catalog ---- */

typedef struct KnownRows
{
	PlmpgKeys  *keys;
	StringInfoData buffer;
} KnownRows;

static void
take_known(void *arg, TupleTableSlot *slot)
{
	KnownRows  *r = arg;
	const char *key = plmpg_slot_key(slot, 1, &r->buffer);

	*plmpg_keys_find(r->keys, key, true) = 1;
}

/*
 * Those of these keys that are products of the catalog.  Events name what they like; a key that is none cannot even be
 * asked of the source, whose key may be of another type.
 */
static PlmpgKeys *
known_keys(const PlmpgShop *shop, ArrayType *keys)
{
	KnownRows	r = {.keys = plmpg_keys()};
	PlmpgParams p = {0};
	PlmpgIdentity caller;

	initStringInfo(&r.buffer);
	plmpg_param(&p, TEXTARRAYOID, PointerGetDatum(keys), false);
	caller = plmpg_become(shop->owner);
	plmpg_sql(psprintf("SELECT s.key FROM %s AS s WHERE s.key = ANY ($1)", shop->store_name), &p,
			  PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_known, &r);
	plmpg_return_to(&caller);
	return r.keys;
}

/* ---- the visitor's own ---- */

void
plmpg_recommend_own(PlmpgRecommending *r)
{
	const char *keys[PLMPG_RECENT];
	PlmpgKeys  *visible = NULL;
	int			n = 0;

	if (plmpg_hidden_rows(r->shop->source))
		visible = r->rows = plmpg_visible_rows(r->shop, r->filter);
	else if (r->recent > 0)
	{
		for (int i = 0; i < r->recent; i++)
			keys[i] = r->own[i].key;
		visible = known_keys(r->shop, plmpg_text_array(keys, r->recent));
		if (plmpg_keys_count(visible) > 0)
			visible = plmpg_visible_of(r->shop, NULL, plmpg_keys_array(visible));
	}
	for (int i = 0; i < r->recent; i++)
	{
		r->own[i].named = plmpg_keys_find(visible, r->own[i].key, false) != NULL;
		if (r->own[i].named)
			keys[n++] = r->own[i].key;
	}
	r->own_vectors = plmpg_vectors(r->shop, plmpg_text_array(keys, n));
}

/* ---- candidates ---- */

/* Drop what is excluded, what is no product, and with `among` what it does not let through. */
static void
keep_only(PlmpgRecommending *r, PlmpgKeys *among)
{
	PlmpgCandidates *c = r->candidates;
	int64		n = 0;

	for (int64 i = 0; i < c->n; i++)
		if (c->rows[i].known && plmpg_keys_find(r->excluded, c->rows[i].key, false) == NULL &&
			(among == NULL || plmpg_may_show(among, c->rows[i].key)))
			c->rows[n++] = c->rows[i];
	c->n = n;
}

/* All candidates with their parts.  True when there are more products near in meaning than were taken. */
static bool
gather(PlmpgRecommending *r)
{
	PlmpgCandidates *c = r->candidates = plmpg_candidates();
	bool		cut = false;

	if (r->recent > 0 && r->events != NULL)
		plmpg_together(r->shop, r->events, &r->blend, r->own, r->recent, r->basket, c);
	if (r->own_vectors->n > 0)
		cut = plmpg_recommend_content(r, true);
	else if (c->n > 0)
	{
		PlmpgKeys  *known = known_keys(r->shop, plmpg_candidate_keys(c, 0, c->n));

		for (int64 i = 0; i < c->n; i++)
			c->rows[i].known = plmpg_keys_find(known, c->rows[i].key, false) != NULL;
	}
	keep_only(r, r->rows);
	if (r->filter != NULL && r->rows == NULL && c->n > 0)
		keep_only(r, plmpg_visible_of(r->shop, r->filter, plmpg_candidate_keys(c, 0, c->n)));
	return cut;
}

/* ---- scores ---- */

static int
candidate_order(const void *a, const void *b)
{
	const PlmpgCandidate *x = a,
			   *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return strcmp(x->key, y->key);
}

/* Puts candidate i into the heap whose top is the worst: at the end, or in the place of the top when that is worse. */
static void
heap_offer(const PlmpgCandidate *rows, int64 *heap, int64 *n, int64 most, int64 i)
{
	int64		place;

	if (*n < most)
	{
		for (place = (*n)++; place > 0 && candidate_order(&rows[i], &rows[heap[(place - 1) / 2]]) > 0; place = (place - 1) / 2)
			heap[place] = heap[(place - 1) / 2];
		heap[place] = i;
		return;
	}
	if (most == 0 || candidate_order(&rows[i], &rows[heap[0]]) >= 0)
		return;
	/* The top's place sinks until what comes goes there. */
	place = 0;
	for (int64 child; (child = 2 * place + 1) < most; place = child)
	{
		if (child + 1 < most && candidate_order(&rows[heap[child + 1]], &rows[heap[child]]) > 0)
			child++;
		if (candidate_order(&rows[i], &rows[heap[child]]) >= 0)
			break;
		heap[place] = heap[child];
	}
	heap[place] = i;
}

/* Put the best `front` candidates first, in order; the others follow in none.  Candidates are large: few are moved. */
static void
best_first(PlmpgCandidates *c, int64 front)
{
	PlmpgCandidate *chosen;
	int64	   *heap;
	int64		n = 0;

	front = Min(front, c->n);
	heap = palloc(Max(front, 1) * sizeof(int64));
	for (int64 i = 0; i < c->n; i++)
		heap_offer(c->rows, heap, &n, front, i);
	chosen = palloc_extended(Max(front, 1) * sizeof(PlmpgCandidate), MCXT_ALLOC_HUGE);
	for (int64 i = 0; i < n; i++)
	{
		chosen[i] = c->rows[heap[i]];
		c->rows[heap[i]].key = NULL;
	}
	qsort(chosen, n, sizeof(PlmpgCandidate), candidate_order);
	/* Who stands in front and was not chosen takes the place of one who was. */
	for (int64 i = 0, hole = n; i < n; i++)
		if (c->rows[i].key != NULL)
		{
			while (c->rows[hole].key != NULL)
				hole++;
			c->rows[hole++] = c->rows[i];
		}
	memcpy(c->rows, chosen, n * sizeof(PlmpgCandidate));
	pfree(chosen);
	pfree(heap);
}

static void
score_candidates(PlmpgRecommending *r)
{
	PlmpgCandidates *c = r->candidates;

	r->best_together = r->best_content = r->best_visitors = 0;
	for (int64 i = 0; i < c->n; i++)
	{
		r->best_together = Max(r->best_together, c->rows[i].together);
		r->best_content = Max(r->best_content, c->rows[i].content);
		r->best_visitors = Max(r->best_visitors, c->rows[i].visitors);
	}
	for (int64 i = 0; i < c->n; i++)
		c->rows[i].score = plmpg_blend_score(&r->blend, plmpg_part(c->rows[i].together, r->best_together),
											 plmpg_part(c->rows[i].content, r->best_content),
											 plmpg_part(c->rows[i].visitors, r->best_visitors));
}

/* The best in order, enough for the pool.  What has just left the source may still be embedded: the source is asked. */
static void
order_candidates(PlmpgRecommending *r)
{
	PlmpgCandidates *c = r->candidates;
	int64		front = Min(c->n, plmpg_recommend_front(r));
	PlmpgKeys  *visible;

	if (c->n == 0)
		return;
	best_first(c, front);
	if (r->filter != NULL || r->rows != NULL)
	{
		c->n = front;
		return;
	}
	visible = plmpg_visible_of(r->shop, NULL, plmpg_candidate_keys(c, 0, front));
	if (plmpg_keys_count(visible) < Min(r->most, front))
	{
		if (!r->all)
		{
			r->all = true;
			(void) gather(r);
			score_candidates(r);
			c = r->candidates;
		}
		front = c->n;
		best_first(c, front);
		visible = plmpg_visible_of(r->shop, NULL, plmpg_candidate_keys(c, 0, front));
	}
	c->n = front;
	keep_only(r, visible);
}

/* ---- last resort ---- */

static int
text_order(const void *a, const void *b)
{
	text	   *x = DatumGetTextPP(*(const Datum *) a),
			   *y = DatumGetTextPP(*(const Datum *) b);
	size_t		m = VARSIZE_ANY_EXHDR(x),
				n = VARSIZE_ANY_EXHDR(y);
	int			order = memcmp(VARDATA_ANY(x), VARDATA_ANY(y), Min(m, n));

	return order != 0 ? order : m < n ? -1 : m > n ? 1 : 0;
}

/* Adds a product at the end unless the list has it, or is full, or the visitor does not want it. */
static void
fill_with(PlmpgRecommending *r, PlmpgKeys *present, PlmpgKeys *visible, const char *key, double visitors)
{
	PlmpgCandidate *row;

	if (r->candidates->n >= r->most || !plmpg_may_show(visible, key) || plmpg_keys_find(present, key, false) != NULL ||
		plmpg_keys_find(r->excluded, key, false) != NULL)
		return;
	plmpg_keys_find(present, key, true);
	row = plmpg_candidates_append(r->candidates, key);
	row->known = true;
	row->visitors = visitors;
}

static void
fill_with_popular(PlmpgRecommending *r, PlmpgKeys *present)
{
	PlmpgFounds *list;

	for (int64 most = r->most + 64; r->candidates->n < r->most; most *= 8)
	{
		PlmpgKeys  *visible;
		const char **keys;

		list = plmpg_popular(r->shop, r->events, most);
		keys = palloc_extended(Max(list->n, 1) * sizeof(char *), MCXT_ALLOC_HUGE);
		for (int64 i = 0; i < list->n; i++)
			keys[i] = list->rows[i].key;
		visible = known_keys(r->shop, plmpg_text_array(keys, list->n));
		if (r->rows != NULL)
			visible = r->rows;
		else if (plmpg_keys_count(visible) > 0)
			visible = plmpg_visible_of(r->shop, r->filter, plmpg_keys_array(visible));
		for (int64 i = 0; i < list->n; i++)
			fill_with(r, present, visible, list->rows[i].key, list->rows[i].score);
		if (list->n < most)
			break;
	}
}

/* A shop that has no events yet. */
static void
fill_with_any(PlmpgRecommending *r, PlmpgKeys *present)
{
	PlmpgKeys  *visible = r->rows != NULL ? r->rows : plmpg_visible_rows(r->shop, r->filter);
	PlmpgTexts	keys = plmpg_texts(plmpg_keys_array(visible));

	if (keys.n > 0)
		qsort(keys.values, keys.n, sizeof(Datum), text_order);
	for (int i = 0; i < keys.n && r->candidates->n < r->most; i++)
		fill_with(r, present, visible, TextDatumGetCString(keys.values[i]), 0);
}

static void
fill(PlmpgRecommending *r)
{
	PlmpgCandidates *c = r->candidates;
	int64		had = c->n;
	PlmpgKeys  *present = plmpg_keys();
	double		most;

	if (c->n >= r->most)
		return;
	for (int64 i = 0; i < c->n; i++)
		plmpg_keys_find(present, c->rows[i].key, true);
	if (r->events != NULL)
		fill_with_popular(r, present);
	if (c->n < r->most)
		fill_with_any(r, present);
	if (c->n == had)
		return;
	/* Behind all others, and among themselves by popularity. */
	most = Max(c->rows[had].visitors, 1);
	for (int64 i = had; i < c->n; i++)
	{
		c->rows[i].score = 0.001 * c->rows[i].visitors / most;
		if (had > 0)
			c->rows[i].score = Min(c->rows[i].score, c->rows[had - 1].score);
	}
}

/* ---- lists ---- */

void
plmpg_recommend_list(PlmpgRecommending *r)
{
	bool		cut = gather(r);

	if (cut && r->filter != NULL && r->rows == NULL && r->candidates->n < (r->reserve ? PLMPG_POOL * r->most : r->most))
	{
		r->rows = plmpg_visible_rows(r->shop, r->filter);
		(void) gather(r);
	}
	score_candidates(r);
	order_candidates(r);
	fill(r);
}

void
plmpg_recommend_for_query(PlmpgRecommending *r, text *query)
{
	int64		depth = Max(QUERY_CANDIDATES, r->most) + plmpg_keys_count(r->excluded);
	PlmpgFounds *found = plmpg_search(r->shop, query, depth, r->filter);
	PlmpgKeys  *relevance = plmpg_keys();	/* number: place in found */
	double		share = Min(1, plmpg_shop_number(r->shop->settings, "personal", PERSONAL));
	PlmpgCandidates *c = r->candidates;
	int64		n = 0;
	double		best = 0;

	if (r->recent > 0)
		plmpg_together(r->shop, r->events, &r->blend, r->own, r->recent, false, c);
	for (int64 i = 0; i < found->n; i++)
	{
		*plmpg_keys_find(relevance, found->rows[i].key, true) = i;
		(void) plmpg_candidate(c, found->rows[i].key, true);
	}
	for (int64 i = 0; i < c->n; i++)
		if (plmpg_keys_find(relevance, c->rows[i].key, false) != NULL)
			c->rows[n++] = c->rows[i];
	plmpg_candidates_cut(c, n);
	if (r->own_vectors->n > 0)
		(void) plmpg_recommend_content(r, false);
	for (int64 i = 0; i < c->n; i++)
		c->rows[i].known = true;
	keep_only(r, NULL);
	score_candidates(r);
	for (int64 i = 0; i < c->n; i++)
		best = Max(best, c->rows[i].score);
	for (int64 i = 0; i < c->n; i++)
	{
		double		relevant = found->rows[*plmpg_keys_find(relevance, c->rows[i].key, false)].score;

		c->rows[i].score = (1 - share) * relevant / Max(found->rows[0].score, 1e-6) + share * plmpg_part(c->rows[i].score, best);
	}
	if (c->n > 0)
		qsort(c->rows, c->n, sizeof(PlmpgCandidate), candidate_order);
}
