/*
 * evaluate.h -- what evaluate_search(), evaluate_recommendations() and tune_catalog() share: figures of systems side by
 * side with their bootstrap bounds, ranked lists, judgments, and next-item data in memory.
 *
 * Everything here is deterministic: sampling takes its numbers from plmpg_mix(), and equal scores go by key.
 */
#ifndef PLMPG_EVALUATE_H
#define PLMPG_EVALUATE_H

#include "blend.h"
#include "find.h"

#include "funcapi.h"
#include "utils/tuplestore.h"

#define PLMPG_DEPTH 10			/* of the lists that are measured, where the caller does not say */

/* ---- memory: fn_evaluate.c ---- */

/* What one call has taken from product_llm.memory_limit, in one context. */
typedef struct PlmpgBudget
{
	MemoryContext context;
	int64		used;
} PlmpgBudget;

PlmpgBudget plmpg_budget(void);
int64		plmpg_budget_left(const PlmpgBudget *budget);
/* ERROR, with a hint, when the limit does not allow it; for what is allocated otherwise. */
void		plmpg_pay(PlmpgBudget *budget, int64 bytes);
/* Zeroed memory, paid for. */
void	   *plmpg_take(PlmpgBudget *budget, int64 count, int64 bytes);
/* The same array with room for twice as much; *room is changed. */
void	   *plmpg_double(PlmpgBudget *budget, void *old, int64 *room, int64 bytes);

/* ---- numbers: fn_evaluate.c ---- */

/* A 64-bit mixer (splitmix64, Steele et al. 2014): different inputs give independent-looking numbers. */
static inline uint64
plmpg_mix(uint64 x)
{
	x += UINT64CONST(0x9E3779B97F4A7C15);
	x = (x ^ (x >> 30)) * UINT64CONST(0xBF58476D1CE4E5B9);
	x = (x ^ (x >> 27)) * UINT64CONST(0x94D049BB133111EB);
	return x ^ (x >> 31);
}

/* 1 / log2(rank + 1), rank from 1. */
static inline double
plmpg_discount(int64 rank)
{
	return 1 / log2((double) rank + 1);
}

/*
 * Places of the `most` largest of n scores, best first, the lower place first among equals; places with skip are left out.
 * skip may be NULL.  Returns how many there are.
 */
int			plmpg_top(const float *scores, const bool *skip, int64 n, int most, int64 *places);

/* ---- figures: fn_evaluate.c ---- */

/*
 * A value of each metric for each system and each case (query or visitor).  The first system is the one that the others
 * are compared with.
 */
typedef struct PlmpgFigures
{
	int			systems;
	int			metrics;
	int64		cases;
	const char *const *system_names;
	char	  **metric_names;
	float	   *values;			/* (cases, systems, metrics) */
	double	   *whole;			/* (systems, metrics): of all cases together, where not NaN; then there are no bounds */
} PlmpgFigures;

PlmpgFigures plmpg_figures(PlmpgBudget *budget, const char *const *system_names, int systems, char **metric_names, int metrics,
						   int64 cases);

static inline float *
plmpg_figure(PlmpgFigures *f, int64 one, int system, int metric)
{
	return &f->values[(one * f->systems + system) * f->metrics + metric];
}

/*
 * Rows system, metric, value, low, high, difference, difference_low, difference_high: the mean, its 95 % percentile
 * bootstrap over cases, and the same of the first system's value less this one's, over the same resamples.
 */
void		plmpg_return_figures(FunctionCallInfo fcinfo, PlmpgBudget *budget, const PlmpgFigures *f, int samples);

/* The argument `samples`, or ERROR. */
int			plmpg_samples(int32 samples);

/* ---- judgments: fn_evaluate.c ---- */

typedef struct PlmpgJudged
{
	char	   *query;
	PlmpgKeys  *keys;			/* number: place in grades */
	double	   *grades;
	int			n;
	int			room;
	int			relevant;		/* of grade > 0 */
} PlmpgJudged;

/* Only queries with a relevant product, in bytewise order. */
typedef struct PlmpgJudgments
{
	PlmpgBudget *budget;
	int64		n;
	int64		room;
	PlmpgJudged *queries;
} PlmpgJudgments;

/* Runs the caller's query, one SELECT of (query, key, grade), read-only and with the caller's rights. */
PlmpgJudgments *plmpg_judgments(PlmpgBudget *budget, text *sql);

/* A product's grade; -1: not judged. */
double		plmpg_grade(const PlmpgJudged *judged, const char *key);

/* Gain 2^grade - 1 over 1 / log2(rank + 1), divided by that of the best order of the query's own judgments. */
double		plmpg_ndcg(const PlmpgJudged *judged, const char *const *keys, int n, int depth);

/* ---- next item: fn_evaluate_next.c ---- */

/* A sparse matrix over items, by rows. */
typedef struct PlmpgItemRows
{
	int64	   *start;			/* (items + 1) */
	int32	   *item;
	float	   *value;
} PlmpgItemRows;

/* Events that count, by visitor and time; all items are numbered by their keys' bytewise order. */
typedef struct PlmpgSequences
{
	PlmpgBudget *budget;
	int64		items;
	const char **keys;
	int64		dimensions;
	float	   *vectors;		/* (items, dimensions); zeros: not embedded */
	int64		visitors;
	uint64	   *visitor_order;	/* (visitors) of the md5 of their keys: who is chosen when not all are */
	int64	   *start;			/* (visitors + 1) of events */
	int32	   *event;			/* item of each */
	float	   *weight;			/* of each, as the events' kinds say, (0, 1] */
	int32	   *distinct;		/* (visitors) different items */
	float	  **cosines;		/* (items) rows of cosines that are kept, or NULL */
	float	   *spare;			/* (PLMPG_RECENT, items) for those that are not */
} PlmpgSequences;

/* Of the catalog's events that the caller sees and its products that the caller sees; NULL: it has no events. */
PlmpgSequences *plmpg_sequences(PlmpgBudget *budget, const PlmpgShop *shop);

/* What comes of the events when each visitor's last `held` different items have not been bought yet. */
typedef struct PlmpgTraining
{
	const PlmpgSequences *sequences;
	int			held;
	double	   *visitors;		/* (items) n of blend.h */
	double		most_visitors;
	int64		learnt_from;	/* visitors */
	PlmpgItemRows pairs;		/* after + before / 2 */
	PlmpgItemRows cosine;		/* of co-occurrence, shrunk by 10 */
	PlmpgItemRows markov;		/* 1 / distance forward, rows add up to 1 */
} PlmpgTraining;

/* baselines: cosine and markov too. */
PlmpgTraining *plmpg_training(PlmpgBudget *budget, const PlmpgSequences *s, int held, bool baselines);

/* A visitor before the target item. */
typedef struct PlmpgBefore
{
	int32		target;
	int			n;
	int32	   *item;			/* (n) different items, the newest first */
	float	   *weight;			/* (n) the largest of the item's events */
	int32	   *stamps;			/* (items) scratch */
	float	   *most;			/* (items) scratch */
} PlmpgBefore;

PlmpgBefore plmpg_before_room(PlmpgBudget *budget, const PlmpgSequences *s);

/*
 * The visitor's history when the last `held` different items, in the order in which each came first, are taken away; the
 * first of those is the target.  False when nothing would be left before it.
 */
bool		plmpg_before(const PlmpgSequences *s, int64 visitor, int held, PlmpgBefore *before);

/* together and content of blend.h for every item; not divided yet. */
void		plmpg_score_together(const PlmpgTraining *t, const PlmpgBlend *blend, const double *damped, const PlmpgBefore *before,
								 float *scores);
void		plmpg_score_content(PlmpgTraining *t, const PlmpgBefore *before, float *scores);

/* n^damping of every item. */
void		plmpg_damped(const PlmpgTraining *t, double damping, double *damped);

/* Visitors with at least `held` + 1 different items, at most `most` of them, chosen by hash; (n), in order. */
int64	   *plmpg_choose_visitors(PlmpgBudget *budget, const PlmpgSequences *s, int held, int64 most, int64 *n);

/* Divide by the largest of those that are not seen, which is returned; nothing when it is 0. */
float		plmpg_scale(float *scores, const bool *seen, int64 n);

/* ---- fitting: fn_evaluate_tune.c, fn_evaluate_tune_search.c, fn_evaluate_tune_blend.c ---- */

#define PLMPG_FEWEST 50			/* queries or visitors to fit anything on */

/* Where the rows of fit_catalog() go. */
typedef struct PlmpgSettings
{
	TupleDesc	desc;
	Tuplestorestate *rows;
} PlmpgSettings;

/* before, after: NaN where nothing could be measured. */
void		plmpg_put_setting(PlmpgSettings *settings, const char *setting, double old, double new, const char *metric,
							  double before, double after);
void		plmpg_too_few(const char *what, int64 n);

/* judgments: NULL for queries made from titles. */
void		plmpg_fit_search(PlmpgBudget *budget, PlmpgShop *shop, text *judgments, PlmpgSettings *settings);
/* Nothing when the catalog has no events. */
void		plmpg_fit_blend(PlmpgBudget *budget, PlmpgShop *shop, PlmpgSettings *settings);

#endif							/* PLMPG_EVALUATE_H */
