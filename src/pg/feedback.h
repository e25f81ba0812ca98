/*
 * feedback.h -- what is kept of a list that was recommended: who it was for, what was in it, what of it was shown.
 */
#ifndef PLMPG_FEEDBACK_H
#define PLMPG_FEEDBACK_H

#include "recommend.h"

/* A visitor as the events have it. */
typedef struct PlmpgVisitor
{
	text	   *name;			/* in the one form in which it is kept, however the caller has written it */
	bool		forgotten;
} PlmpgVisitor;

PlmpgVisitor plmpg_visitor(const PlmpgShop *shop, const PlmpgEvents *events, text *given);

/* ERROR when the catalog has no events, by which a visitor could be known. */
void		plmpg_require_events(const PlmpgRecommending *r);
/*
 * Begin with the visitor's products, of which the newest count and those of events of some kinds (NULL: all) are left out.  A
 * visitor who is forgotten is a new one.
 */
void		plmpg_recommend_visitor(PlmpgRecommending *r, const PlmpgVisitor *visitor, ArrayType *kinds);

/*
 * Places of the n candidates that are shown.  With the probability `chance` one of them is a candidate in reserve instead of
 * one of the first n: so that what a list would have led to under another blend can be estimated.  One of the first n is
 * then shown with the probability 1 - chance / n, one in reserve with chance / (number in reserve).
 */
int64	   *plmpg_choose_shown(const PlmpgRecommending *r, int64 n, double chance);

/*
 * Keep a list and return its name; NULL where nothing can be written, or the setting keep_lists says not to.  Of a visitor who
 * is forgotten the list is kept without a name.
 */
char	   *plmpg_keep_list(const PlmpgRecommending *r, const PlmpgVisitor *visitor, const int64 *shown, int64 n, double chance);

#endif							/* PLMPG_FEEDBACK_H */
