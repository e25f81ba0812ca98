/*
 * explain.h -- what the files of explanations share: weights for the way back, and steps of a path.
 *
 * A path leads from what a text's score is compared with to the text itself.  Some of its steps are laid end to end as texts of a
 * batch (explain_pass.c), go through encoder and head (explain_head.c) and come back as gradients; explain.c adds them up.
 */
#ifndef PLM_EXPLAIN_H
#define PLM_EXPLAIN_H

#include "internal.h"

/* A linear layer of a head and its transpose. */
typedef struct PlmHeadLayer
{
	const PlmLinear *l;
	PlmLinear	back;			/* dx = dy W */
	PlmActivation act;
} PlmHeadLayer;

/* Steps of one path, each a text of as many tokens, and their memory, which is kept for the next path. */
typedef struct PlmSteps
{
	PlmArena	arena;
	int64_t		most_tokens;	/* what it is made for: T */
	int64_t		longest;
	int64_t		room;			/* steps that fit */
	int64_t		tokens;			/* of each */
	bool		full;			/* a tape for each layer; else for one, and blocks are computed again */
	bool		gated;
	int64_t		n;				/* steps at hand */
	PlmBatch	batch;
	int64_t    *offsets;		/* (most steps + 1) */
	float	   *gates;			/* (T) */
	float	   *dgates;			/* (T) gradients at the gates */
	float	   *sum;			/* (T,C) sums of embeddings: in */
	float	   *sum_save;		/* (T,2) of their norm */
	PlmTape		tape;
	PlmBackRows back;			/* back.dx: gradients at the sums: out */
	PlmWorkspace ws;
	double	   *value;			/* (most steps) what the head makes of each step */
} PlmSteps;

struct PlmExplainer
{
	const PlmModel *model;
	const PlmHook *hook;
	PlmArena	arena;
	PlmBackBlock *back;			/* (L) */
	PlmHeadLayer pooler, dense[PLM_MAX_DENSE], classifier_dense, classifier;
	float	   *norms;			/* (4,C) gradients of norms, which nobody reads */
	PlmSteps	steps;
};

/* Can the model answer what is asked? */
PlmStatus	plm_explain_possible(const PlmModel *model, const PlmExplainTask *task, PlmError *err);
/* The task's tokens as the model sees them, which of them are the side's, and contributions of zero; in the arena. */
PlmStatus	plm_explain_encode(const PlmExplainTask *task, const PlmModel *model, PlmArena *arena, PlmWorker *worker,
							   PlmExplanation *x, PlmError *err);

/* Room in e->steps for `most` steps, or as many as the explainer's limit allows. */
PlmStatus	plm_steps_fit(PlmExplainer *e, int64_t most, int64_t tokens, bool gated, PlmError *err);
/* From sum and gates of e->steps.n steps to value, back.dx and dgates; sum is used up.  arena: for what is over then. */
PlmStatus	plm_steps_run(PlmExplainer *e, const PlmExplainTask *task, PlmArena *arena, PlmWorker *worker, PlmError *err);

/* The head: from the steps' last hidden states to value, and back to back.dx and dgates, both written. */
PlmStatus	plm_steps_head(PlmExplainer *e, const PlmExplainTask *task, PlmArena *arena, PlmWorker *worker, PlmError *err);
/* The number that is explained, from one text's logits; dlogits: NULL, or (labels) receiving its gradient. */
double		plm_explained_logit(const PlmModel *model, const float *logits, int32_t label, float *dlogits);

#endif							/* PLM_EXPLAIN_H */
