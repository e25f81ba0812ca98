/*
 * blend.h -- how recommendations are scored: the one place of the formula, for recommend() and for its evaluation.
 *
 * A visitor's products i_1 (newest) .. i_K are given, each once, with a weight u_r in (0, 1] of what was done.  A candidate c has
 *
 *     together(c) = sum over r of  u_r * r^-recency * (after(i_r, c) + before(i_r, c) / 2) / 65536 / (n(i_r)^0.75 * n(c)^damping + 3)
 *     content(c)  = max over r of  u_r * r^-0.2 * max(0, cosine(i_r, c))
 *
 * with n the number of a product's visitors and after, before as <catalog>_pair has them, and the score
 *
 *     together / max together  +  content_weight * content / max content  +  popular_weight * n / max n
 *
 * where the maxima are over the candidates, and a part whose maximum is 0 is 0.  Source: measured on two shops, test/bench;
 * damped co-occurrence with shrinkage as in Sarwar et al. 2001 (item-based) and Deshpande, Karypis 2004.
 */
#ifndef PLMPG_BLEND_H
#define PLMPG_BLEND_H

#include "plmpg.h"

#include <math.h>

#include "utils/jsonb.h"

#define PLMPG_RECENT 20			/* K: so many of a visitor's products, at most, are looked at */

#define PLMPG_WINDOW 10			/* pairs are products of a visitor that are so far apart, at most */

/* What two products of a visitor that are d apart, 1 .. PLMPG_WINDOW, add to their pair. */
static inline int64
plmpg_pair_weight(int d)
{
	return (int64) (65536 / sqrt(d) + 0.5);
}

/* What tune_catalog() fits. */
typedef struct PlmpgBlend
{
	double		recency;
	double		damping;
	double		content;
	double		popular;
} PlmpgBlend;

/* From a catalog's settings, or what serves most shops: 0.5, 0.3, 0.4, 0.01. */
PlmpgBlend	plmpg_blend(const Jsonb *settings);
PlmpgBlend	plmpg_blend_default(void);

/* r^-recency: the weight of the visitor's r-th newest product, r from 1, in together. */
static inline double
plmpg_blend_recency(const PlmpgBlend *blend, int r)
{
	return pow(r, -blend->recency);
}

/* One term of together but for u_r and recency; after and before in units of 65536. */
static inline double
plmpg_blend_pair(double after, double before, double n_item_075, double n_candidate_damped)
{
	return (after + 0.5 * before) / (n_item_075 * n_candidate_damped + 3);
}

/* One candidate of content's maximum but for u_r. */
static inline double
plmpg_blend_content(int r, double cosine)
{
	return cosine > 0 ? pow(r, -0.2) * cosine : 0;
}

/* The score from the three parts, each divided by its maximum already. */
static inline double
plmpg_blend_score(const PlmpgBlend *blend, double together, double content, double popular)
{
	return together + blend->content * content + blend->popular * popular;
}

#endif							/* PLMPG_BLEND_H */
