/*
 * fn_recommend.c -- recommend(), recommend_basket(), record_feedback().
 *
 * Candidates come from the pairs of the visitor's recent products and from the products nearest to them in meaning; the
 * formula is blend.h's.  What is missing to a full list is filled with what most visitors have, and says so.
 */
#include "fn.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "filter.h"
#include "shards.h"
#include "sql.h"
#include "together.h"

#define MAX_RESULTS 1000
#define CONTENT_CANDIDATES 200	/* nearest in meaning */
#define QUERY_CANDIDATES 200	/* found by the query of a personal search */
#define PERSONAL 0.5			/* share of the visitor in a personal search; the setting "personal" */
#define POOL 5					/* so many times the results are kept in reserve, for diversity and exploration */
#define MOST_NAMED 3			/* products that `because` names */

typedef struct Recommending
{
	PlmpgShop  *shop;
	PlmpgEvents *events;		/* NULL: none are bound */
	PlmpgBlend	blend;
	char	   *filter;
	int64		most;
	PlmpgOwn   *own;			/* recent products, the newest first */
	int			recent;
	bool		basket;
	PlmpgKeys  *excluded;
	PlmpgVectors *own_vectors;	/* of the recent products that are in the catalog */
	PlmpgCandidates *candidates;
	double		best_together;	/* maxima over the candidates */
	double		best_content;
	double		best_visitors;
} Recommending;

/* ---- content ---- */

typedef struct Nearness
{
	Recommending *r;
	int			n;
	int			own[PLMPG_RECENT];		/* recent product of each vector */
	double		decay[PLMPG_RECENT];
	PlmpgFounds *best;			/* nearest that are not candidates yet */
	double		worst;
} Nearness;

static int
by_score(const void *a, const void *b)
{
	const PlmpgFound *x = a,
			   *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return strcmp(x->key, y->key);
}

static void
keep_best(Nearness *near)
{
	qsort(near->best->rows, near->best->n, sizeof(PlmpgFound), by_score);
	for (int64 i = CONTENT_CANDIDATES; i < near->best->n; i++)
		pfree((char *) near->best->rows[i].key);
	near->best->n = Min(near->best->n, CONTENT_CANDIDATES);
	if (near->best->n == CONTENT_CANDIDATES)
		near->worst = near->best->rows[CONTENT_CANDIDATES - 1].score;
}

static void
take_cosines(void *arg, const char *key, const float *cosines)
{
	Nearness   *near = arg;
	PlmpgCandidate *c = NULL;
	double		best = 0;
	int			nearest = -1;

	for (int i = 0; i < near->n; i++)
		if (cosines[i] * near->decay[i] > best)
		{
			best = cosines[i] * near->decay[i];
			nearest = near->own[i];
		}
	if (nearest < 0)
		return;
	c = plmpg_candidate(near->r->candidates, key, false);
	if (c != NULL)
	{
		c->content = best;
		c->nearest = nearest;
	}
	else if (best >= near->worst && plmpg_keys_find(near->r->excluded, key, false) == NULL)
	{
		PlmpgFound *found = plmpg_founds_add(near->best, key);

		found->score = best;
		found->semantic_rank = nearest;
		if (near->best->n >= 2 * CONTENT_CANDIDATES)
			keep_best(near);
	}
}

/* Vectors of the recent products, read once. */
static PlmpgVectors *
own_vectors(Recommending *r)
{
	if (r->own_vectors == NULL)
	{
		const char *keys[PLMPG_RECENT];

		for (int i = 0; i < r->recent; i++)
			keys[i] = r->own[i].key;
		r->own_vectors = plmpg_vectors(r->shop, plmpg_text_array(keys, r->recent));
	}
	return r->own_vectors;
}

static ArrayType *
candidate_keys(const PlmpgCandidates *c, int64 from, int64 to)
{
	const char **keys = palloc_extended(Max(to - from, 1) * sizeof(char *), MCXT_ALLOC_HUGE);

	for (int64 i = from; i < to; i++)
		keys[i - from] = c->rows[i].key;
	return plmpg_text_array(keys, to - from);
}

/* Content of all candidates, and the nearest products as further candidates (unless only those given count). */
static void
add_content(Recommending *r, bool further)
{
	Nearness	near = {.r = r, .best = plmpg_founds()};
	PlmpgVectors *known = own_vectors(r);
	float	   *vectors;

	if (known->n == 0)
		return;
	vectors = palloc(known->n * known->dimensions * sizeof(float));
	for (int i = 0; i < r->recent; i++)
	{
		const float *vector = plmpg_vectors_of(known, r->own[i].key);

		if (vector == NULL)
			continue;
		memcpy(vectors + near.n * known->dimensions, vector, known->dimensions * sizeof(float));
		near.decay[near.n] = r->own[i].weight * plmpg_blend_content(r->basket ? 1 : i + 1, 1);
		near.own[near.n++] = i;
	}
	if (!further)
		near.worst = PG_INT32_MAX;
	if (plmpg_shards(r->shop->store) != NIL)
	{
		PlmpgWanted wanted = {
			.keys = candidate_keys(r->candidates, 0, r->candidates->n), .without = plmpg_keys_array(r->excluded),
			.weights = near.decay, .most = further ? CONTENT_CANDIDATES : 0
		};

		plmpg_shards_scan(r->shop, near.n, vectors, known->dimensions, &wanted, take_cosines, &near);
	}
	else
		plmpg_scan(r->shop, near.n, vectors, known->dimensions, take_cosines, &near);
	keep_best(&near);
	for (int64 i = 0; i < near.best->n; i++)
	{
		PlmpgCandidate *c = plmpg_candidate(r->candidates, near.best->rows[i].key, true);

		c->content = near.best->rows[i].score;
		c->nearest = near.best->rows[i].semantic_rank;
	}
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

/* Put the best `front` candidates first, in order; the others follow in none.  Candidates are large: few are moved. */
static void
best_first(PlmpgCandidates *c, int64 front)
{
	PlmpgCandidate *chosen;
	int64	   *heap;			/* the worst of those chosen on top */
	int64		n = 0;

	front = Min(front, c->n);
	heap = palloc(Max(front, 1) * sizeof(int64));
	for (int64 i = 0; i < c->n; i++)
	{
		int64		place;

		if (n == front)
		{
			if (front == 0 || candidate_order(&c->rows[i], &c->rows[heap[0]]) >= 0)
				continue;
			/* Take the top away: its place sinks until what comes goes there. */
			place = 0;
			for (int64 child; (child = 2 * place + 1) < n; place = child)
			{
				if (child + 1 < n && candidate_order(&c->rows[heap[child + 1]], &c->rows[heap[child]]) > 0)
					child++;
				if (candidate_order(&c->rows[i], &c->rows[heap[child]]) >= 0)
					break;
				heap[place] = heap[child];
			}
		}
		else
			for (place = n++; place > 0 && candidate_order(&c->rows[i], &c->rows[heap[(place - 1) / 2]]) > 0; place = (place - 1) / 2)
				heap[place] = heap[(place - 1) / 2];
		heap[place] = i;
	}
	chosen = palloc(Max(front, 1) * sizeof(PlmpgCandidate));
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

/* Drop what is excluded, and with `visible` what it lacks. */
static void
keep_only(Recommending *r, PlmpgKeys *visible)
{
	PlmpgCandidates *c = r->candidates;
	int64		n = 0;

	for (int64 i = 0; i < c->n; i++)
		if (plmpg_keys_find(r->excluded, c->rows[i].key, false) == NULL &&
			(visible == NULL || plmpg_keys_find(visible, c->rows[i].key, false) != NULL))
			c->rows[n++] = c->rows[i];
	c->n = n;
}

/*
 * What may be shown, scored and in order.  A filter, or hidden rows, are asked about all candidates before the maxima are
 * taken, so that no score depends on what the caller does not see; else only the front of the list has to be asked about.
 */
static void
score_candidates(Recommending *r)
{
	PlmpgCandidates *c = r->candidates;
	int64		front;

	keep_only(r, NULL);
	if (c->n > 0 && (r->filter != NULL || plmpg_hidden_rows(r->shop->source)))
		keep_only(r, plmpg_visible_of(r->shop, r->filter, candidate_keys(c, 0, c->n)));
	r->best_together = r->best_content = r->best_visitors = 0;
	for (int64 i = 0; i < c->n; i++)
	{
		r->best_together = Max(r->best_together, c->rows[i].together);
		r->best_content = Max(r->best_content, c->rows[i].content);
		r->best_visitors = Max(r->best_visitors, c->rows[i].visitors);
	}
	for (int64 i = 0; i < c->n; i++)
	{
		PlmpgCandidate *row = &c->rows[i];

		row->score = plmpg_blend_score(&r->blend,
									   r->best_together > 0 ? row->together / r->best_together : 0,
									   r->best_content > 0 ? row->content / r->best_content : 0,
									   r->best_visitors > 0 ? row->visitors / r->best_visitors : 0);
	}
	if (c->n == 0)
		return;
	front = Min(c->n, POOL * r->most + 16);
	best_first(c, front);
	if (r->filter == NULL && !plmpg_hidden_rows(r->shop->source))
	{
		PlmpgKeys  *visible = plmpg_visible_of(r->shop, NULL, candidate_keys(c, 0, front));

		if (plmpg_keys_count(visible) < Min(r->most, front))
		{
			front = c->n;
			best_first(c, front);
			visible = plmpg_visible_of(r->shop, NULL, candidate_keys(c, 0, front));
		}
		c->n = front;
		keep_only(r, visible);
	}
}

/* A personal search: only what the query finds counts, and how well. */
static void
score_for_query(Recommending *r, text *query)
{
	PlmpgFounds *found = plmpg_search(r->shop, query, QUERY_CANDIDATES, r->filter);
	PlmpgKeys  *relevance = plmpg_keys();
	double		share = Min(1, plmpg_shop_number(r->shop->settings, "personal", PERSONAL));
	PlmpgCandidates *c;
	double		best = 0;

	for (int64 i = 0; i < found->n; i++)
		*plmpg_keys_find(relevance, found->rows[i].key, true) = i;
	for (int64 i = 0; i < found->n; i++)
		plmpg_candidate(r->candidates, found->rows[i].key, true);
	if (r->recent > 0)
		add_content(r, false);
	keep_only(r, relevance);
	score_candidates(r);
	c = r->candidates;
	for (int64 i = 0; i < c->n; i++)
		best = Max(best, c->rows[i].score);
	for (int64 i = 0; i < c->n; i++)
	{
		double		relevant = found->rows[*plmpg_keys_find(relevance, c->rows[i].key, false)].score;

		c->rows[i].score = (1 - share) * relevant / Max(found->rows[0].score, 1e-6) +
			share * (best > 0 ? c->rows[i].score / best : 0);
	}
	if (c->n > 0)
		qsort(c->rows, c->n, sizeof(PlmpgCandidate), candidate_order);
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

static void
add_popular(Recommending *r)
{
	PlmpgCandidates *c = r->candidates;
	int64		had = c->n;
	int64		most = r->most + 64;
	PlmpgKeys  *present = plmpg_keys();
	PlmpgFounds *list;

	if (c->n >= r->most)
		return;
	for (int64 i = 0; i < c->n; i++)
		plmpg_keys_find(present, c->rows[i].key, true);
	for (; r->events != NULL && c->n < r->most; most *= 8)
	{
		PlmpgKeys  *visible;

		list = plmpg_popular(r->shop, r->events, most);
		visible = plmpg_keys();
		if (list->n > 0)
		{
			const char **keys = palloc(list->n * sizeof(char *));

			for (int64 i = 0; i < list->n; i++)
				keys[i] = list->rows[i].key;
			visible = plmpg_visible_of(r->shop, r->filter, plmpg_text_array(keys, list->n));
		}
		for (int64 i = 0; i < list->n && c->n < r->most; i++)
		{
			const char *key = list->rows[i].key;
			PlmpgCandidate *row;

			if (plmpg_keys_find(present, key, false) != NULL || plmpg_keys_find(r->excluded, key, false) != NULL ||
				plmpg_keys_find(visible, key, false) == NULL)
				continue;
			plmpg_keys_find(present, key, true);
			row = plmpg_candidate(c, key, true);
			memset((char *) row + offsetof(PlmpgCandidate, visitors), 0, sizeof(*row) - offsetof(PlmpgCandidate, visitors));
			row->nearest = -1;
			row->visitors = list->rows[i].score;
		}
		if (list->n < most)
			break;
	}
	/* A shop that has no events yet. */
	if (c->n < r->most)
	{
		PlmpgKeys  *visible = plmpg_visible_rows(r->shop, r->filter);
		ArrayType  *all = plmpg_keys_array(visible);
		PlmpgTexts	keys = plmpg_texts(all);

		qsort(keys.values, keys.n, sizeof(Datum), text_order);
		for (int i = 0; i < keys.n && c->n < r->most; i++)
		{
			const char *key = TextDatumGetCString(keys.values[i]);

			if (*plmpg_keys_find(visible, key, false) == 1 && plmpg_keys_find(present, key, false) == NULL &&
				plmpg_keys_find(r->excluded, key, false) == NULL)
				plmpg_candidate(c, key, true);
		}
	}

	/* Behind all others, and among themselves by popularity. */
	for (int64 i = had; i < c->n; i++)
		c->rows[i].score = r->best_visitors > 0 || c->rows[had].visitors > 0
			? 0.001 * c->rows[i].visitors / Max(c->rows[had].visitors, 1) : 0;
	if (had > 0)
		for (int64 i = had; i < c->n; i++)
			c->rows[i].score = Min(c->rows[i].score, c->rows[had - 1].score);
}

/* ---- diversity ---- */

/*
 * Maximal marginal relevance (Carbonell, Goldstein 1998): the next is the one with the largest
 * (1 - diversity) * score / best score - diversity * largest cosine to what is chosen already.
 */
static void
diversify(Recommending *r, double diversity)
{
	PlmpgCandidates *c = r->candidates;
	int64		pool = Min(c->n, POOL * r->most);
	double	   *nearest;
	PlmpgVectors *vectors;
	double		best = c->n > 0 ? c->rows[0].score : 0;

	if (diversity <= 0 || pool < 2)
		return;
	vectors = plmpg_vectors(r->shop, candidate_keys(c, 0, pool));
	nearest = palloc0(pool * sizeof(double));
	for (int64 chosen = 0; chosen < Min(r->most, pool); chosen++)
	{
		int64		next = chosen;
		double		value = -PG_INT32_MAX;
		const float *v;
		PlmpgCandidate row;
		double		near;

		for (int64 i = chosen; i < pool; i++)
		{
			double		gain = (1 - diversity) * (best > 0 ? c->rows[i].score / best : 0) - diversity * nearest[i];

			if (gain > value)
			{
				value = gain;
				next = i;
			}
		}
		row = c->rows[next];
		near = nearest[next];
		memmove(&c->rows[chosen + 1], &c->rows[chosen], (next - chosen) * sizeof(PlmpgCandidate));
		memmove(&nearest[chosen + 1], &nearest[chosen], (next - chosen) * sizeof(double));
		c->rows[chosen] = row;
		nearest[chosen] = near;
		v = plmpg_vectors_of(vectors, row.key);
		for (int64 i = chosen + 1; v != NULL && i < pool; i++)
		{
			const float *w = plmpg_vectors_of(vectors, c->rows[i].key);

			if (w != NULL)
				nearest[i] = Max(nearest[i], plm_dot(v, w, vectors->dimensions));
		}
	}
}

/* ---- reasons ---- */

static const char *
source_of(const Recommending *r, const PlmpgCandidate *c)
{
	double		together = r->best_together > 0 ? c->together / r->best_together : 0;
	double		content = r->best_content > 0 ? r->blend.content * c->content / r->best_content : 0;

	if (together <= 0 && content <= 0)
		return "popular";
	return together >= content ? "together" : "content";
}

/* The visitor's own products that have given the score most of what it has, at most three. */
static ArrayType *
because_of(const Recommending *r, const PlmpgCandidate *c)
{
	double		given[PLMPG_RECENT];
	const char *names[MOST_NAMED];
	double		sum = 0;
	int			n = 0;

	for (int i = 0; i < r->recent; i++)
	{
		given[i] = r->best_together > 0 ? c->given[i] / r->best_together : 0;
		if (i == c->nearest && r->best_content > 0)
			given[i] += r->blend.content * c->content / r->best_content;
		sum += given[i];
	}
	while (n < MOST_NAMED)
	{
		int			best = -1;

		for (int i = 0; i < r->recent; i++)
			if (r->own[i].named && given[i] > 0 && (best < 0 || given[i] > given[best]))
				best = i;
		if (best < 0 || given[best] < 0.1 * sum)
			break;
		names[n++] = r->own[best].key;
		given[best] = 0;
	}
	return plmpg_text_array(names, n);
}

/* Which of the visitor's own products may be named: those that the caller sees. */
static void
name_own(Recommending *r)
{
	const char *keys[PLMPG_RECENT];
	PlmpgKeys  *visible;
	PlmpgKeys  *known = own_vectors(r)->keys;
	int			n = 0;

	/* What is not a product of the catalog cannot even be asked for by its key. */
	for (int i = 0; i < r->recent; i++)
		if (plmpg_keys_find(known, r->own[i].key, false) != NULL)
			keys[n++] = r->own[i].key;
	visible = n > 0 ? plmpg_visible_of(r->shop, NULL, plmpg_text_array(keys, n)) : plmpg_keys();
	for (int i = 0; i < r->recent; i++)
		r->own[i].named = plmpg_keys_find(visible, r->own[i].key, false) != NULL;
}

/* ---- lists ---- */

/*
 * One place of the list, with the probability `explore`, shows one of those in reserve instead: so that what a list would
 * have led to under another blend can be estimated.  A product of the list is then shown with the probability
 * 1 - explore / most, one in reserve with explore / (number in reserve).
 */
static void
explore(Recommending *r, double chance, int64 *shown)
{
	int64		most = Min(r->candidates->n, r->most);
	int64		reserve = Min(r->candidates->n, POOL * r->most) - most;

	for (int64 i = 0; i < most; i++)
		shown[i] = i;
	if (chance > 0 && reserve > 0 && most > 0 && plmpg_random() < chance)
		shown[(int64) (plmpg_random() * most)] = most + (int64) (plmpg_random() * reserve);
}

static char *
new_list_name(const PlmpgShop *shop)
{
	unsigned char b[16];

	if (!pg_strong_random(b, sizeof(b)))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
	return psprintf("%s/%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", shop->catalog, b[0], b[1], b[2],
					b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

/* Remember a list: what was in the pool, with its parts, and what of it was shown. */
static void
keep_list(const Recommending *r, const char *list, text *visitor, const int64 *shown, int64 n, double chance)
{
	const PlmpgCandidates *c = r->candidates;
	int64		pool = Min(c->n, chance > 0 ? POOL * r->most : n);
	Datum	   *sources = palloc(Max(pool, 1) * sizeof(Datum));
	Datum	   *places = palloc(Max(n, 1) * sizeof(Datum));
	float	   *parts = palloc(Max(3 * pool, 1) * sizeof(float));
	PlmpgParams p = {0};
	PlmpgIdentity caller;

	for (int64 i = 0; i < pool; i++)
	{
		sources[i] = CStringGetTextDatum(source_of(r, &c->rows[i]));
		parts[3 * i] = r->best_together > 0 ? (float) (c->rows[i].together / r->best_together) : 0;
		parts[3 * i + 1] = r->best_content > 0 ? (float) (c->rows[i].content / r->best_content) : 0;
		parts[3 * i + 2] = r->best_visitors > 0 ? (float) (c->rows[i].visitors / r->best_visitors) : 0;
	}
	for (int64 i = 0; i < n; i++)
		places[i] = Int32GetDatum((int32) shown[i] + 1);
	plmpg_param_text(&p, strrchr(list, '/') + 1);
	plmpg_param(&p, TEXTOID, PointerGetDatum(visitor), false);
	plmpg_param(&p, TEXTARRAYOID, PointerGetDatum(candidate_keys(c, 0, pool)), false);
	plmpg_param(&p, TEXTARRAYOID, PointerGetDatum(construct_array(sources, (int) pool, TEXTOID, -1, false, TYPALIGN_INT)), false);
	plmpg_param(&p, FLOAT4ARRAYOID, PointerGetDatum(plmpg_real_array(parts, 3 * pool)), false);
	plmpg_param(&p, INT4ARRAYOID, PointerGetDatum(construct_array(places, (int) n, INT4OID, 4, true, TYPALIGN_INT)), false);
	plmpg_param(&p, FLOAT8OID, Float8GetDatum(chance), false);
	caller = plmpg_become(r->shop->owner);
	plmpg_sql(psprintf("INSERT INTO %s (list, at, visitor, keys, sources, parts, shown, explore)"
					   " VALUES ($1::pg_catalog.uuid, pg_catalog.now(), $2, $3, $4, $5, $6, $7)", r->events->lists_name),
			  &p, PLMPG_SQL_KEEP, NULL, NULL, NULL);
	plmpg_return_to(&caller);
}

/* ---- functions ---- */

static void
begin(Recommending *r, text *catalog, int32 most)
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

/* recommend(catalog, visitor, max_results, query, filter, filter_args, diversity, exclude_kinds) */
PG_FUNCTION_INFO_V1(product_llm_recommend);
Datum
product_llm_recommend(PG_FUNCTION_ARGS)
{
	Recommending r = {0};
	PlmpgHistory history;
	double		diversity;
	double		chance;
	TupleDesc	desc;
	Tuplestorestate *rows;
	int64		n;
	int64	   *shown;
	char	   *list = NULL;

	for (int i = 0; i < 7; i++)
		if (PG_ARGISNULL(i) && (i < 3 || i == 6))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("catalog, visitor, max_results and diversity must not be null")));
	diversity = PG_GETARG_FLOAT4(6);
	if (!(diversity >= 0 && diversity <= 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("diversity must be between 0 and 1")));
	rows = plmpg_result_set(fcinfo, &desc);
	begin(&r, PG_GETARG_TEXT_PP(0), PG_GETARG_INT32(2));
	if (r.events == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("catalog \"%s\" has no events", r.shop->catalog),
				 errhint("product_llm.bind_events tells it where they are; product_llm.recommend_basket and product_llm.similar work without.")));
	if (!PG_ARGISNULL(4))
		r.filter = plmpg_filter_sql(PG_GETARG_TEXT_PP(4), PG_ARGISNULL(5) ? NULL : PG_GETARG_JSONB_P(5), r.shop->source);

	history = plmpg_history(r.events, PG_GETARG_TEXT_PP(1), PG_ARGISNULL(7) ? NULL : PG_GETARG_ARRAYTYPE_P(7));
	for (int i = 0; i < history.n; i++)
		if (history.rows[i].excluded)
			plmpg_keys_find(r.excluded, history.rows[i].key, true);
	r.own = history.rows;
	r.recent = Min(history.n, PLMPG_RECENT);
	if (r.most > 0)
	{
		plmpg_together(r.shop, r.events, &r.blend, r.own, r.recent, false, r.candidates);
		if (!PG_ARGISNULL(3))
			score_for_query(&r, PG_GETARG_TEXT_PP(3));
		else
		{
			if (r.recent > 0)
				add_content(&r, true);
			score_candidates(&r);
			add_popular(&r);
		}
		name_own(&r);
		diversify(&r, diversity);
	}

	n = Min(r.candidates->n, r.most);
	shown = palloc(Max(n, 1) * sizeof(int64));
	chance = Min(1, plmpg_shop_number(r.shop->settings, "explore", 0));
	explore(&r, chance, shown);
	if (!RecoveryInProgress() && !XactReadOnly && plmpg_shop_number(r.shop->settings, "keep_lists", 1) > 0)
	{
		list = new_list_name(r.shop);
		keep_list(&r, list, PG_GETARG_TEXT_PP(1), shown, n, chance);
	}
	for (int64 i = 0; i < n; i++)
	{
		const PlmpgCandidate *c = &r.candidates->rows[shown[i]];
		Datum		values[5] = {
			CStringGetTextDatum(c->key), Float4GetDatum((float) c->score), CStringGetTextDatum(source_of(&r, c)),
			PointerGetDatum(because_of(&r, c)), list == NULL ? (Datum) 0 : CStringGetTextDatum(list)
		};
		bool		nulls[5] = {false, false, false, false, list == NULL};

		tuplestore_putvalues(rows, desc, values, nulls);
	}
	return (Datum) 0;
}

/* recommend_basket(catalog, keys, max_results) */
PG_FUNCTION_INFO_V1(product_llm_recommend_basket);
Datum
product_llm_recommend_basket(PG_FUNCTION_ARGS)
{
	Recommending r = {.basket = true};
	PlmpgTexts	keys = plmpg_texts(PG_GETARG_ARRAYTYPE_P(1));
	TupleDesc	desc;
	Tuplestorestate *rows = plmpg_result_set(fcinfo, &desc);
	int			n = 0;

	begin(&r, PG_GETARG_TEXT_PP(0), PG_GETARG_INT32(2));
	r.own = palloc0(Max(keys.n, 1) * sizeof(PlmpgOwn));
	for (int i = keys.n - 1; i >= 0; i--)
	{
		char	   *key;

		if (keys.nulls[i])
			continue;
		key = TextDatumGetCString(keys.values[i]);
		if (plmpg_keys_find(r.excluded, key, false) != NULL)
			continue;
		plmpg_keys_find(r.excluded, key, true);
		r.own[n++] = (PlmpgOwn) {.key = key, .weight = 1};
	}
	r.recent = Min(n, PLMPG_RECENT);
	name_own(&r);

	/* What the caller does not see has nothing to say. */
	r.own_vectors = NULL;
	n = 0;
	for (int i = 0; i < r.recent; i++)
		if (r.own[i].named)
			r.own[n++] = r.own[i];
	r.recent = n;
	if (r.most > 0)
	{
		if (r.events != NULL)
			plmpg_together(r.shop, r.events, &r.blend, r.own, r.recent, true, r.candidates);
		if (r.recent > 0)
			add_content(&r, true);
		score_candidates(&r);
		add_popular(&r);
	}
	for (int64 i = 0; i < Min(r.candidates->n, r.most); i++)
	{
		const PlmpgCandidate *c = &r.candidates->rows[i];
		Datum		values[4] = {
			CStringGetTextDatum(c->key), Float4GetDatum((float) c->score), PointerGetDatum(because_of(&r, c)),
			CStringGetTextDatum(source_of(&r, c))
		};
		bool		nulls[4] = {false, false, false, false};

		tuplestore_putvalues(rows, desc, values, nulls);
	}
	return (Datum) 0;
}

/* record_feedback(list, key, event) */
PG_FUNCTION_INFO_V1(product_llm_record_feedback);
Datum
product_llm_record_feedback(PG_FUNCTION_ARGS)
{
	char	   *list = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *slash = strrchr(list, '/');
	PlmpgShop  *shop;
	PlmpgParams p = {0};
	PlmpgIdentity caller;
	char	   *known;

	if (slash == NULL || strlen(slash) != 37 || strspn(slash + 1, "0123456789abcdef-") != 36)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not the name of a list", list),
				 errhint("product_llm.recommend returns it in the column \"list\".")));
	*slash = '\0';
	shop = plmpg_shop(list);
	plmpg_param_text(&p, shop->catalog);
	plmpg_param_text(&p, slash + 1);
	plmpg_param(&p, TEXTOID, PG_GETARG_DATUM(1), false);
	plmpg_param(&p, TEXTOID, PG_GETARG_DATUM(2), false);
	caller = plmpg_become(shop->owner);
	known = plmpg_sql_string("SELECT product_llm.catalog_feedback($1, $2, $3, $4)", &p, PLMPG_SQL_KEEP);
	plmpg_return_to(&caller);
	if (known == NULL || strcmp(known, "t") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("list \"%s/%s\" does not exist or did not show that product", shop->catalog, slash + 1)));
	PG_RETURN_VOID();
}
