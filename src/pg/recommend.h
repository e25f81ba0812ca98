/*
 * recommend.h -- from a visitor's own products to a list: candidates, scores, what fills a short list, diversity, reasons.
 *
 * Candidates come from the pairs of the recent products and from the products nearest to them in meaning; the formula is
 * blend.h's.  What is missing to a full list is filled with what most visitors have, and says so.
 */
#ifndef PLMPG_RECOMMEND_H
#define PLMPG_RECOMMEND_H

#include "together.h"

#define PLMPG_POOL 5			/* so many times the results are kept in reserve, for diversity and exploration */

typedef struct PlmpgRecommending
{
	PlmpgShop  *shop;
	PlmpgEvents *events;		/* NULL: none are bound, or the caller may not read them */
	PlmpgBlend	blend;
	char	   *filter;			/* checked; NULL: none */
	int64		most;			/* results wanted */
	bool		basket;			/* its products are all equally new */
	bool		reserve;		/* the list is chosen from PLMPG_POOL times as many */
	bool		all;			/* the content of every candidate is wanted, not only of those that may come first */
	PlmpgOwn   *own;			/* recent products, the newest first */
	int			recent;
	PlmpgKeys  *excluded;
	PlmpgKeys  *rows;			/* rows first (see find.h): number 1 may be shown; NULL: candidates first */
	PlmpgVectors *own_vectors;	/* of the recent products that the caller sees */
	PlmpgCandidates *candidates;
	double		best_together;	/* maxima over the candidates */
	double		best_content;
	double		best_visitors;
} PlmpgRecommending;

/* A part of a candidate's score over the largest that there is. */
static inline double
plmpg_part(double value, double best)
{
	return best > 0 ? value / best : 0;
}

/* So many candidates are put in order: enough for the list, or its reserve, when the source has lost some of them. */
static inline int64
plmpg_recommend_front(const PlmpgRecommending *r)
{
	return (r->reserve ? PLMPG_POOL * r->most : r->most) + 16;
}

/* May a row be shown, by rows first? */
static inline bool
plmpg_may_show(PlmpgKeys *among, const char *key)
{
	int64	   *lets = plmpg_keys_find(among, key, false);

	return lets != NULL && *lets == 1;
}

/* With the catalog's definition, settings and events; ERROR unless the caller may use it. */
void		plmpg_recommend_begin(PlmpgRecommending *r, text *catalog, int32 most);

/* Reads what there is to know of the recent products, and says which of them may be named. */
void		plmpg_recommend_own(PlmpgRecommending *r);

/*
 * Content of all candidates, and the nearest products as further candidates (unless only those given count).  True when
 * there were more than are taken.
 */
bool		plmpg_recommend_content(PlmpgRecommending *r, bool further);

/* The list: candidates in order, at least `most` when there are so many, else filled up. */
void		plmpg_recommend_list(PlmpgRecommending *r);

/* The same of a personal search: only what the query finds counts, and how well. */
void		plmpg_recommend_for_query(PlmpgRecommending *r, text *query);

/*
 * Maximal marginal relevance (Carbonell, Goldstein 1998): the next is the one with the largest
 * (1 - diversity) * score / best score - diversity * largest cosine to what is chosen already.
 */
void		plmpg_recommend_diversify(PlmpgRecommending *r, double diversity);

/* What carried a candidate: together, content or popular. */
const char *plmpg_recommend_source(const PlmpgRecommending *r, const PlmpgCandidate *c);

/* text[] of the visitor's own products that have given its score most of what it has, at most three. */
ArrayType  *plmpg_recommend_because(const PlmpgRecommending *r, const PlmpgCandidate *c);

/* text[] of the keys of some candidates. */
ArrayType  *plmpg_candidate_keys(const PlmpgCandidates *c, int64 from, int64 to);

#endif							/* PLMPG_RECOMMEND_H */
