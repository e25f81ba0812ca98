/*
 * training.h -- a tiny run of any objective, for the tests of training: random base, random examples.
 */
#ifndef TRAINING_H
#define TRAINING_H

#include "../../src/engine/train/internal.h"
#include "random_model.h"

typedef struct Training
{
	RandomModel spec;
	PlmTrainOptions options;
	int			examples;		/* 12 by default */
	int			held_out;		/* 0: none */
	int			words;			/* of each text, at most */
	bool		no_weights;		/* the base has none */
	const char *vocab;			/* vocab.txt that takes the place of the base's; NULL: none */
	/* made by training_open() */
	RandomFiles base;
	PlmArena	arena;
	PlmTokenizer tokenizer;
	PlmExamples *train, *test;
	PlmText		labels[3];
	PlmFileSet	files;
	PlmSource	vocab_file;
	PlmFileSet	vocab_files;
	PlmTrainer *trainer;
	PlmError	err;
} Training;

/* Options of an objective over a tiny model of that type. */
Training	training_defaults(PlmObjective objective, const char *model_type);
/* Of 40 examples, 6 of a step: classes of texts at epsilon 3. */
Training	training_private(void);
PlmStatus	training_open(Training *r);
void		training_close(Training *r);

/* Loss and gradient of the step that comes next. */
PlmStatus	training_gradient(Training *r, double *loss);
/* Steps until the n-th is done; checksum of all weights then, 0 after an error (in r->err). */
uint64_t	training_run(Training *r, int64_t n, double *loss);
uint64_t	training_weights(const Training *r);
/* Opened, run and closed: the same checksum. */
uint64_t	training_run_with(Training r, int threads, size_t limit, int64_t n);

/* A state's bytes: for plm_trainer_state(), plm_trainer_restore(). */
typedef struct TrainingState
{
	unsigned char data[4 << 20];
	size_t		used, at;
} TrainingState;

PlmStatus	training_state_write(void *arg, const void *data, size_t n, PlmError *err);
PlmStatus	training_state_read(void *arg, void *data, size_t n, PlmError *err);

#endif							/* TRAINING_H */
