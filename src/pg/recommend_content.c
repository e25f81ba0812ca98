/*
 * recommend_content.c -- how near candidates lie to the visitor's own products in meaning, and which others lie near: see recommend.h.
 */
#include "recommend.h"

#include "utils/builtins.h"
#include "utils/float.h"

#include "fn.h"
#include "shards.h"

#define CONTENT_CANDIDATES 200	/* nearest in meaning */

typedef struct Nearness
{
	PlmpgRecommending *r;
	int			n;
	int			own[PLMPG_RECENT];		/* recent product of each vector */
	double		decay[PLMPG_RECENT];
	PlmpgFounds *best;			/* nearest that are not candidates yet */
	double		worst;
	bool		cut;			/* some were near, and others nearer */
	double		unseen;			/* products that have not come are not nearer than this */
} Nearness;

/* Among the nearest in order; the last makes room. */
static void
keep_near(Nearness *near, const char *key, double score, int nearest)
{
	PlmpgFounds *best = near->best;
	PlmpgFound	row = *plmpg_founds_add(best, key);
	int64		i = best->n - 1;

	row.score = score;
	row.semantic_rank = nearest;
	for (; i > 0 && plmpg_by_score(&row, &best->rows[i - 1]) < 0; i--)
		best->rows[i] = best->rows[i - 1];
	best->rows[i] = row;
	if (best->n > CONTENT_CANDIDATES)
	{
		pfree((char *) best->rows[--best->n].key);
		near->cut = true;
	}
	if (best->n == CONTENT_CANDIDATES)
		near->worst = best->rows[best->n - 1].score;
}

static void
take_cosines(void *arg, const char *key, const float *cosines)
{
	Nearness   *near = arg;
	PlmpgCandidate *c = plmpg_candidate(near->r->candidates, key, false);
	double		best = 0;
	int			nearest = -1;

	if (c != NULL)
		c->known = true;
	for (int i = 0; i < near->n; i++)
		if (cosines[i] * near->decay[i] > best)
		{
			best = cosines[i] * near->decay[i];
			nearest = near->own[i];
		}
	if (nearest < 0)
		return;
	if (c != NULL)
	{
		c->content = best;
		c->nearest = nearest;
	}
	else if (best < near->worst)
		near->cut = true;
	else if (plmpg_keys_find(near->r->excluded, key, false) == NULL && (near->r->rows == NULL || plmpg_may_show(near->r->rows, key)))
		keep_near(near, key, best, nearest);
}

/* By the index: until none that follows can be among the nearest. */
static bool
take_bounded(void *arg, const char *key, const float *cosines, double bound)
{
	Nearness   *near = arg;

	if (near->best->n == CONTENT_CANDIDATES && bound + PLMPG_BOUND_SLACK < near->worst)
	{
		near->cut = true;
		near->unseen = Max(bound + PLMPG_BOUND_SLACK, 0);
		return false;
	}
	take_cosines(near, key, cosines);
	return true;
}

/* Of the candidates that are not excluded, what their scores are taken relative to. */
typedef struct Maxima
{
	double		together;
	double		content;
	double		visitors;
} Maxima;

static Maxima
maxima(const Nearness *near)
{
	const PlmpgCandidates *c = near->r->candidates;
	Maxima		most = {.content = near->best->n > 0 ? near->best->rows[0].score : 0};

	for (int64 i = 0; i < c->n; i++)
		if (!c->rows[i].left_out)
		{
			most.together = Max(most.together, c->rows[i].together);
			most.content = Max(most.content, c->rows[i].content);
			most.visitors = Max(most.visitors, c->rows[i].visitors);
		}
	return most;
}

static double
score_with(const Nearness *near, const Maxima *most, const PlmpgCandidate *c, double content)
{
	return plmpg_blend_score(&near->r->blend, plmpg_part(c->together, most->together), plmpg_part(content, most->content),
							 plmpg_part(c->visitors, most->visitors));
}

static int
falling(const void *a, const void *b)
{
	double		x = *(const double *) a,
				y = *(const double *) b;

	return x > y ? -1 : x < y;
}

/* A score that so many candidates reach for certain, be the content of those that have not come what it may. */
static double
certain_score(const Nearness *near, const Maxima *most, int64 front)
{
	const PlmpgCandidates *c = near->r->candidates;
	const PlmpgCandidate none = {0};
	double	   *scores = palloc_extended((c->n + near->best->n + 1) * sizeof(double), MCXT_ALLOC_HUGE);
	int64		n = 0;

	for (int64 i = 0; i < c->n; i++)
		if (!c->rows[i].left_out)
			scores[n++] = c->rows[i].known ? score_with(near, most, &c->rows[i], c->rows[i].content)
				: Min(score_with(near, most, &c->rows[i], 0), score_with(near, most, &c->rows[i], near->unseen));
	for (int64 i = 0; i < near->best->n; i++)
		scores[n++] = score_with(near, most, &none, near->best->rows[i].score);
	if (n < front)
		return -get_float8_infinity();
	qsort(scores, n, sizeof(double), falling);
	return scores[front - 1];
}

/* May this candidate, which has not come, be among the first, or be what others' scores are relative to? */
static bool
worth_a_look(const Nearness *near, const Maxima *most, double certain, const PlmpgCandidate *c)
{
	return c->together == most->together || c->visitors == most->visitors ||
		Max(score_with(near, most, c, 0), score_with(near, most, c, near->unseen)) >= certain;
}

static int64
count_known(const PlmpgCandidates *c)
{
	int64		n = 0;

	for (int64 i = 0; i < c->n; i++)
		n += c->rows[i].known;
	return n;
}

/* Cosines of the candidates that have not come yet: all of them, or those that may be among the first.  False: one of these is no product. */
static bool
scan_candidates(Nearness *near, const float *vectors, int64 dimensions, bool all)
{
	const PlmpgCandidates *c = near->r->candidates;
	const char **keys = palloc_extended(Max(c->n, 1) * sizeof(char *), MCXT_ALLOC_HUGE);
	Maxima		most = maxima(near);
	double		certain = all ? -get_float8_infinity() : certain_score(near, &most, plmpg_recommend_front(near->r));
	int64		known = count_known(c);
	int64		n = 0;

	for (int64 i = 0; i < c->n; i++)
		if (!c->rows[i].known && !c->rows[i].left_out && worth_a_look(near, &most, certain, &c->rows[i]))
			keys[n++] = c->rows[i].key;
	if (n > 0)
		plmpg_scan(near->r->shop, plmpg_text_array(keys, n), near->n, vectors, dimensions, take_cosines, near);
	return count_known(c) == known + n;
}

static void
mark_left_out(PlmpgRecommending *r)
{
	PlmpgCandidates *c = r->candidates;

	for (int64 i = 0; i < c->n; i++)
		c->rows[i].left_out = plmpg_keys_find(r->excluded, c->rows[i].key, false) != NULL;
}

/* Products of the catalog's own table: by its index, or all of them. */
static void
scan_here(Nearness *near, const float *vectors, int64 dimensions, bool further)
{
	PlmpgRecommending *r = near->r;
	bool		all = !further || r->all || r->filter != NULL || r->rows != NULL;

	if (further &&
		!plmpg_scan_nearest(r->shop, near->n, vectors, dimensions, near->decay, 2 * CONTENT_CANDIDATES, take_bounded, near))
		plmpg_scan(r->shop, NULL, near->n, vectors, dimensions, take_cosines, near);
	else if (!further || near->unseen >= 0)
	{
		mark_left_out(r);
		if (!scan_candidates(near, vectors, dimensions, all) && !all)
			(void) scan_candidates(near, vectors, dimensions, true);
	}
}

/*
 * Cosines of the products on shards: the candidates', and of the others either the nearest on each shard or, when it is known
 * which rows the caller sees, those rows'.
 */
static void
scan_shards(Nearness *near, const float *vectors, int64 dimensions, bool further)
{
	PlmpgRecommending *r = near->r;
	PlmpgKeys  *keys = plmpg_keys();
	PlmpgWanted wanted = {.without = plmpg_keys_array(r->excluded), .weights = near->decay};

	for (int64 i = 0; i < r->candidates->n; i++)
		plmpg_keys_find(keys, r->candidates->rows[i].key, true);
	if (further && r->rows == NULL)
		wanted.most = CONTENT_CANDIDATES;
	else if (further)
	{
		PlmpgTexts	seen = plmpg_texts(plmpg_keys_array(r->rows));

		for (int i = 0; i < seen.n; i++)
			plmpg_keys_find(keys, TextDatumGetCString(seen.values[i]), true);
	}
	wanted.keys = plmpg_keys_array(keys);
	plmpg_shards_scan(r->shop, near->n, vectors, dimensions, &wanted, take_cosines, near);
	/* A shard that gave as many as it was asked for may have more. */
	if (wanted.most > 0 && near->best->n >= wanted.most)
		near->cut = true;
}

bool
plmpg_recommend_content(PlmpgRecommending *r, bool further)
{
	Nearness	near = {.r = r, .best = plmpg_founds(), .worst = further ? 0 : PG_INT32_MAX, .unseen = -1};
	const PlmpgVectors *known = r->own_vectors;
	float	   *vectors = palloc(Max(known->n * known->dimensions, 1) * sizeof(float));

	for (int i = 0; i < r->recent; i++)
	{
		const float *vector = plmpg_vectors_of(known, r->own[i].key);

		if (vector == NULL)
			continue;
		memcpy(vectors + near.n * known->dimensions, vector, known->dimensions * sizeof(float));
		near.decay[near.n] = r->own[i].weight * plmpg_blend_content(r->basket ? 1 : i + 1, 1);
		near.own[near.n++] = i;
	}
	if (plmpg_shards(r->shop->store) != NIL)
		scan_shards(&near, vectors, known->dimensions, further);
	else
		scan_here(&near, vectors, known->dimensions, further);
	for (int64 i = 0; i < near.best->n; i++)
	{
		PlmpgCandidate *c = plmpg_candidate(r->candidates, near.best->rows[i].key, true);

		c->content = near.best->rows[i].score;
		c->nearest = near.best->rows[i].semantic_rank;
		c->known = true;
	}
	return near.cut;
}
