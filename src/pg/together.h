/*
 * together.h -- what visitors have seen and bought together: a visitor's history, and the pairs of some products.
 */
#ifndef PLMPG_TOGETHER_H
#define PLMPG_TOGETHER_H

#include "blend.h"
#include "find.h"
#include "sql.h"

/* A catalog's events, as the queries over them need them. */
typedef struct PlmpgEvents
{
	Oid			source;
	char	   *pairs_name;		/* qualified and quoted */
	char	   *lists_name;
	char	   *counted;		/* SQL of the events that count, for the caller: visitor, item, at, weight;
								 * run it by plmpg_events_sql() */
	char	   *weighed;		/* the same of one visitor, $1, with weight and kind: item, at, weight, kind */
	char	   *canonical;		/* SQL of the one form of a visitor's name, $1 */
	bool		readable;		/* the caller may read the columns that count */
	Datum		salt;			/* of the visitors who are forgotten: bytea and bytea[]; */
	Datum		forgotten;		/* 0: nobody is */
} PlmpgEvents;

/* NULL when the catalog has none. */
PlmpgEvents *plmpg_events(const PlmpgShop *shop);

/*
 * Run SQL that has `counted` in it, as the caller.  type, value: $1; what `counted` needs to leave out the forgotten follows as $2, $3,
 * which the caller could not read.
 */
void		plmpg_events_sql(const PlmpgEvents *events, const char *sql, Oid type, Datum value, PlmpgTake take, void *arg);

/* A product of the visitor's own, the newest first. */
typedef struct PlmpgOwn
{
	char	   *key;
	double		weight;			/* (0, 1]: of what was done, by the weights of its kinds */
	bool		excluded;		/* not to be recommended again */
	bool		named;			/* the caller sees this product */
} PlmpgOwn;

typedef struct PlmpgHistory
{
	int			n;
	PlmpgOwn   *rows;
} PlmpgHistory;

/*
 * The visitor's products that the caller sees events of.  kinds: those whose products are excluded; NULL: all.
 */
PlmpgHistory plmpg_history(const PlmpgEvents *events, text *visitor, ArrayType *kinds);

/* One candidate and what each of the visitor's recent products gives it. */
typedef struct PlmpgCandidate
{
	const char *key;
	double		visitors;		/* n(c) */
	double		together;
	double		content;
	double		score;
	double		given[PLMPG_RECENT];	/* to together, by recent product */
	int			nearest;		/* recent product that gives content; -1: none */
	bool		known;			/* a product of the catalog */
	bool		left_out;		/* one of the excluded */
} PlmpgCandidate;

typedef struct PlmpgCandidates
{
	MemoryContext context;
	PlmpgKeys  *places;
	PlmpgCandidate *rows;
	int64		n;
	int64		room;
} PlmpgCandidates;

PlmpgCandidates *plmpg_candidates(void);
/* By key, only until rows are moved or dropped. */
PlmpgCandidate *plmpg_candidate(PlmpgCandidates *c, const char *key, bool add);
/* Only the first n are left, and are found by key again. */
void		plmpg_candidates_cut(PlmpgCandidates *c, int64 n);
/* One more at the end, whose key is not there yet. */
PlmpgCandidate *plmpg_candidates_append(PlmpgCandidates *c, const char *key);

/*
 * Add what is together with the first n of these products, with its parts and visitors set.  recency: each product's r from
 * 1, the same for all in a basket.  From the catalog's table of pairs, or, when row-level security hides events from the
 * caller, from those that the caller sees.
 */
void		plmpg_together(const PlmpgShop *shop, const PlmpgEvents *events, const PlmpgBlend *blend,
						   const PlmpgOwn *own, int n, bool basket, PlmpgCandidates *candidates);

/* Products by their number of visitors, most first, then by key: the first `most`. */
PlmpgFounds *plmpg_popular(const PlmpgShop *shop, const PlmpgEvents *events, int64 most);

#endif							/* PLMPG_TOGETHER_H */
