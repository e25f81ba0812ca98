/*
 * evaluate_model.h -- what the files of evaluate() share: one call, its rows, what the model says of them, figures.
 *
 *     fn_evaluate_model.c   the SQL function: arguments, and figures as rows
 *     evaluate_rows.c       the caller's rows; embeddings, probabilities and scores of all of them
 *     evaluate_tasks.c      each task from rows to figures
 *
 * Each task becomes cases, each case some numbers; a figure is a function of the cases (engine/train/figures.c), and its bounds
 * come from drawing the cases anew with replacement.
 */
#ifndef PLMPG_EVALUATE_MODEL_H
#define PLMPG_EVALUATE_MODEL_H

#include "evaluate.h"
#include "training.h"

/* What one call works with. */
typedef struct PlmpgEvaluation
{
	PlmpgBudget budget;
	const PlmpgModel *model;
	PlmObjective objective;
	char	   *query;
	int			samples;
	TupleDesc	desc;
	Tuplestorestate *rows;
} PlmpgEvaluation;

/* Rows metric, value, low, high; NULL where a figure is not defined. */
void		plmpg_put_figures(PlmpgEvaluation *e, int64 n, PlmFigures figures, void *arg, int count, const char *const *names);

/* ---- rows: evaluate_rows.c; everything is paid for by the budget ---- */

/* Numbers of the model's classes, ascending, each once. */
typedef struct PlmpgClasses
{
	int32		n;
	int32	   *number;
} PlmpgClasses;

typedef struct PlmpgExamples
{
	int64		n;
	int64		room[4];
	PlmText    *first;
	PlmText    *second;
	double	   *number;
	PlmpgClasses *classes;
} PlmpgExamples;

/* ERROR when there are none. */
void		plmpg_evaluation_rows(PlmpgEvaluation *e, PlmpgExamples *r);

/* Unit vectors of n texts: (n, dimensions). */
float	   *plmpg_evaluation_embed(PlmpgEvaluation *e, const PlmText *texts, int64 n, PlmKind kind);

/* The classification head's probabilities: (n, labels). */
float	   *plmpg_evaluation_probabilities(PlmpgEvaluation *e, const PlmpgExamples *r);

/* The cosine of each pair, the texts embedded as these kinds. */
double	   *plmpg_evaluation_cosines(PlmpgEvaluation *e, const PlmpgExamples *r, PlmKind first, PlmKind second);

/* A score of each pair: the ranking head's when the model has one, else the cosine; as score() says it. */
double	   *plmpg_evaluation_scores(PlmpgEvaluation *e, const PlmpgExamples *r);

/* ---- tasks: evaluate_tasks.c ---- */

/* accuracy: all classes of a case right; macro_f1, or micro_f1 of a model for several labels. */
void		plmpg_evaluate_classes(PlmpgEvaluation *e);
/*
 * spearman and pearson of scores and numbers; static_spearman, of the cosines of the mean embeddings before any layer, as a baseline
 * for models without a ranking head.  The bounds of spearman draw from the ranks among all pairs.
 */
void		plmpg_evaluate_similarity(PlmpgEvaluation *e);
/* nDCG@10 of each query's own documents; queries without a document above grade 0 say nothing. */
void		plmpg_evaluate_ranking(PlmpgEvaluation *e);
/* Against all different positives: MRR@10 of the best own one, and the share of the own ones among the first 1 and 10. */
void		plmpg_evaluate_retrieval(PlmpgEvaluation *e);

#endif							/* PLMPG_EVALUATE_MODEL_H */
