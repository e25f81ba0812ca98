/*
 * plain_model.h -- BERT and DistilBERT once more, in double precision and plain loops.
 *
 * Written from the papers and the file format alone; shares no code with the engine's num, nn and model.
 */
#ifndef PLAIN_MODEL_H
#define PLAIN_MODEL_H

#include "random_model.h"

typedef struct PlainModel
{
	const RandomModel *spec;
	const RandomFiles *files;
	PlmArena   *arena;
} PlainModel;

/* All results come from the arena; a NULL means that memory was refused. */
double	   *plain_states(const PlainModel *m, int64_t n, const int32_t *ids, const int32_t *types);	/* (L+1,T,C) */
double	   *plain_rollout(const PlainModel *m, int64_t n, const int32_t *ids, const int32_t *types);	/* (T,T) attention rollout: of each place, from where it came */
double	   *plain_embedding(const PlainModel *m, int64_t n, const double *last);	/* unit length */
double	   *plain_class_logits(const PlainModel *m, const double *last);	/* (labels) */
double	   *plain_mask_logits(const PlainModel *m, int64_t n, const double *last);	/* (T,V) */

#endif							/* PLAIN_MODEL_H */
