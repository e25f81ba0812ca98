/*
 * plm_train.h -- a model in training: examples, steps, state, and the files of what came out.
 *
 * Life of a run, all on the host's main thread (a step uses the pool inside):
 *
 *     plm_examples_init(), plm_examples_add() for every row of the host's query     texts become token ids here
 *     plm_trainer_open()                   weights of the base's files, or random ones for a configuration alone
 *     plm_trainer_restore()                when the run goes on from a state
 *     plm_trainer_step() until it says so  loss, learning rate, tokens of each step
 *     plm_trainer_evaluate()               on the held-out examples, whenever the host likes
 *     plm_trainer_state()                  bytes from which a later process goes on, bit for bit
 *     plm_trainer_files()                  a Hugging Face directory's files
 *
 * Everything that is random (order, masks, dropout, first weights, mined negatives) is a function of the seed and of
 * counters: the same examples, options and seed give the same bits with any number of threads, in one go or in many.
 *
 * Shapes: B examples of a step, T tokens, C width, V vocabulary, N labels.
 */
#ifndef PLM_TRAIN_H
#define PLM_TRAIN_H

#include "../model/plm_model.h"

/* ---- what is learnt ---- */

typedef enum PlmObjective
{
	PLM_LEARN_MASKED = 0,		/* masked words (Devlin et al. 2019); with pairs also next-sentence prediction */
	PLM_LEARN_CLASSES,			/* (text; labels): cross entropy, or binary cross entropy when multi-label */
	PLM_LEARN_RETRIEVAL,		/* (query, positive[, negative]): multiple negatives ranking (Henderson et al. 2017) */
	PLM_LEARN_RANKING,			/* (query, document; grade): cross-encoder, binary cross entropy on grade in 0..1 */
	PLM_LEARN_SIMILARITY,		/* (a, b; score): mean squared error of the cosine and the score */
	PLM_LEARN_DISTILLED,		/* (text; target vector): 1 - cosine to a teacher's embedding */
	PLM_OBJECTIVES
} PlmObjective;

const char *plm_objective_name(PlmObjective objective); /* masked, classification, retrieval, ranking, similarity, distillation */

typedef enum PlmScheduleKind
{
	PLM_SCHEDULE_LINEAR = 0,	/* to zero */
	PLM_SCHEDULE_COSINE,		/* to zero */
	PLM_SCHEDULE_CONSTANT
} PlmScheduleKind;

/* plm_train_defaults() fills in what serves an objective; the host overrides and plm_train_check() refuses nonsense. */
typedef struct PlmTrainOptions
{
	PlmObjective objective;
	uint64_t	seed;
	int64_t		steps;			/* of the optimiser; 0: from epochs */
	double		epochs;
	int32_t		batch;			/* examples of a step (its effective batch) */
	int32_t		max_tokens;		/* longer texts are truncated; 0: as the model */
	double		learning_rate;
	PlmScheduleKind schedule;
	double		warmup;			/* share of the steps, 0..1 */
	double		weight_decay;	/* decoupled (Loshchilov, Hutter 2019); not on biases and norms */
	double		beta1, beta2, epsilon;
	double		clip;			/* of the whole gradient's norm; 0: none */
	double		dropout;		/* of the embeddings' sum and of each sub-layer's result */
	int32_t		frozen_layers;	/* -1: none; n: embeddings and the first n layers keep their weights */
	bool		word_vectors;	/* no layer is run: a text is the mean of its embeddings after the last norm, and only those learn */
	int32_t		lora_rank;		/* 0: all weights; else low-rank adapters (Hu et al. 2022) on every linear of the blocks, merged at the end */
	double		lora_alpha;
	/* masked */
	double		mask_rate;		/* share of the tokens, by whole words */
	bool		next_sentence;	/* examples are pairs, the second of half of them is replaced by another's */
	/* classification */
	bool		multi_label;
	bool		class_weights;	/* inverse of the classes' frequencies */
	/*
	 * Private training, of classification alone (DP-SGD: Abadi et al. 2016): with at most that epsilon at that delta, the weights
	 * would be about as likely without any one of the examples.  Examples are drawn each by itself, `batch` is their expected number,
	 * and privacy_clip, of each example's gradient, takes the place of clip.
	 */
	double		privacy_epsilon;	/* 0: not private */
	double		privacy_delta;
	double		privacy_clip;
	uint32_t	privacy_key[8]; /* of draws and noise: secret, and of another run's never; the state holds it */
	/* retrieval */
	double		temperature;
	bool		symmetric;		/* also from positives to queries */
	int32_t		matryoshka[4];	/* widths of prefixes that are trained too (Kusupati et al. 2022); 0 ends */
	int32_t		hard_negatives; /* of each query: mined anew at each epoch's begin by the model as it is then */
	/* ranking */
	double		grade_scale;	/* the grade that an example's number 1 stands for, in figures; 0: 1 */
	/* machine */
	size_t		memory_limit;	/* of everything that the trainer holds; 0: none */
	int			threads;
	const PlmHook *hook;
} PlmTrainOptions;

void		plm_train_defaults(PlmObjective objective, PlmTrainOptions *options);
PlmStatus	plm_train_check(const PlmTrainOptions *options, PlmError *err);

/* ---- examples: train/examples.c ---- */

/* One row of the host's query. */
typedef struct PlmExample
{
	PlmText		text[3];		/* data NULL: absent */
	double		number;			/* grade or score */
	const int32_t *labels;		/* numbers of its classes, ascending */
	int32_t		n_labels;
	const float *target;		/* (dimensions of the teacher), for distillation */
} PlmExample;

/* Token ids of all examples, in the order in which they came.  Held by an arena of its own. */
typedef struct PlmExamples PlmExamples;

/*
 * tokenizer must outlive it.  max_tokens: of each text, special tokens included (of each pair for objectives that read
 * pairs).  target_width: floats of each example's target, 0 for none.
 */
PlmStatus	plm_examples_init(PlmObjective objective, bool pairs, const PlmTokenizer *tokenizer, int32_t max_tokens, int32_t target_width,
							  const PlmHook *hook, size_t memory_limit, PlmExamples **out, PlmError *err);
PlmStatus	plm_examples_add(PlmExamples *examples, const PlmExample *example, PlmError *err);
int64_t		plm_examples_count(const PlmExamples *examples);
int64_t		plm_examples_tokens(const PlmExamples *examples);
/* A checksum of all of it: a state goes on only with the examples that it began with. */
uint64_t	plm_examples_checksum(const PlmExamples *examples);
void		plm_examples_free(PlmExamples *examples);

/* ---- trainer: train/trainer.c ---- */

typedef struct PlmTrainer PlmTrainer;

/*
 * What the trained model shall be.  The files are those of the base (weights may be absent: then the configuration and the
 * tokenizer are the model, and the weights are drawn, normal with deviation 0.02, norms at 1 and 0, biases at 0).
 * labels, n_labels: names of the classes that a classification head shall have; when the base has a head of other labels it is
 * replaced by a fresh one.  The head that the objective needs is made when the base has none.
 */
typedef struct PlmTrainBase
{
	const PlmFileSet *files;
	const PlmText *labels;
	int32_t		n_labels;
	const PlmFileSet *words;	/* NULL, or files whose tokenizer the trained model shall have in place of the base's */
} PlmTrainBase;

/*
 * train, and the base's files, must stay; held_out may be NULL.  Both must have been made with the tokenizer of the base's
 * files, and for the same objective.
 */
PlmStatus	plm_trainer_open(const PlmTrainBase *base, const PlmTrainOptions *options, const PlmExamples *train,
							 const PlmExamples *held_out, PlmTrainer **out, PlmError *err);
void		plm_trainer_close(PlmTrainer *trainer);

int64_t		plm_trainer_steps(const PlmTrainer *trainer);	/* that the run has in all */
int64_t		plm_trainer_at(const PlmTrainer *trainer);		/* that are done */
int64_t		plm_trainer_parameters(const PlmTrainer *trainer);	/* that are trained */

typedef struct PlmStep
{
	int64_t		step;			/* from 1 */
	double		loss;			/* mean over what is predicted */
	double		learning_rate;
	double		gradient_norm;	/* before clipping */
	int64_t		tokens;
	bool		last;
} PlmStep;

/*
 * One step of the optimiser.  PLM_ENUMERIC when loss or gradient is not finite: the weights are then the last good ones, those
 * before the update that led there (up to rounding), and plm_trainer_at() says one step less.
 * PLM_ECANCELLED within 100 ms of hook->stop: likewise, unless the update itself had begun; then the step counts as done
 * (see plm_trainer_at()), and whatever is called next first carries it to its end.
 */
PlmStatus	plm_trainer_step(PlmTrainer *trainer, PlmStep *out, PlmError *err);

/* What a private run is, and has spent by its steps so far; all 0 of one that is not.  train/private.c */
typedef struct PlmPrivacy
{
	double		epsilon, delta;
	double		noise;			/* deviation of the noise, in clipping norms */
	double		clip;
	double		rate;			/* with which a step draws each example */
} PlmPrivacy;

PlmPrivacy	plm_trainer_privacy(const PlmTrainer *trainer);

/* Epsilon of that many steps, and the least noise that spends no more than epsilon in them (INFINITY: there is none).  train/privacy.c */
double		plm_privacy_spent(double noise, double rate, int64_t steps, double delta);
double		plm_privacy_noise(double epsilon, double delta, double rate, int64_t steps);

/* One figure of an evaluation; low and high: 95 % bootstrap bounds. */
typedef struct PlmMetric
{
	char		name[32];		/* loss, accuracy, macro_f1, ... */
	double		value, low, high;
} PlmMetric;

#define PLM_MAX_METRICS 12

/*
 * On the held-out examples with the weights as they are; samples: of the bootstrap, 0 for no bounds.  PLM_ENUMERIC when a
 * figure is not finite; then as after such a step.
 *     masked          loss, accuracy [, next_accuracy]
 *     classification  accuracy, macro_f1, loss [, micro_f1 when multi-label]
 *     retrieval       mrr@10, recall@1, recall@10: of the positive among all held-out positives
 *     ranking         ndcg@10, loss
 *     similarity      spearman, loss
 *     distillation    cosine, loss
 * The first is the one that "best" goes by; `better_high` tells its direction.
 */
PlmStatus	plm_trainer_evaluate(PlmTrainer *trainer, int samples, PlmMetric metrics[PLM_MAX_METRICS], int *n, bool *better_high, PlmError *err);

/* Keep the weights as they are as the best so far; plm_trainer_files() gives those, when there are any. */
PlmStatus	plm_trainer_keep(PlmTrainer *trainer, PlmError *err);

/* ---- figures, for the host's own evaluations too: train/figures.c, train/metrics.c ---- */

/* Answers of a classifier, counted.  A list of classes is ascending, each once. */
typedef struct PlmTally
{
	int32_t		labels;
	int64_t    *counts;			/* (labels,3) the host's: right, said, true */
	int64_t		cases, exact;
} PlmTally;

void		plm_tally_clear(PlmTally *tally);
/* One case: its classes and those that the model says. */
void		plm_tally_add(PlmTally *tally, const int32_t *truth, int32_t n_truth, const int32_t *said, int32_t n_said);
double		plm_tally_accuracy(const PlmTally *tally);	/* share of the cases with exactly their classes */
double		plm_tally_macro_f1(const PlmTally *tally);	/* mean over the classes that are true or said somewhere */
double		plm_tally_micro_f1(const PlmTally *tally);	/* over all decisions */

/* The classes that scores (labels) say, into said (labels): those from `least` on when several may be, else the largest.  Their number. */
int32_t		plm_decide(const float *scores, int32_t labels, bool multi, float least, int32_t *said);

typedef struct PlmRanked
{
	double		value;
	int64_t		at;
} PlmRanked;

/* rank (n): from 1, equal values share the mean of theirs.  scratch: (n) */
void		plm_ranks(const double *values, int64_t n, PlmRanked *scratch, double *rank);
/* Pearson's, of the pairs pick[0 .. n - 1]; of ranks, it is Spearman's.  NaN when one of the two is constant. */
double		plm_correlation(const double *x, const double *y, const int64_t *pick, int64_t n);
/*
 * Of documents with these grades, best first: gain 2^grade - 1, discount 1 / log2(rank + 1), over that of the best order.  NaN when
 * no grade is above 0.  grades are in another order afterwards.
 */
double		plm_ndcg(double *grades, int64_t n, int64_t depth);
double		plm_reciprocal_rank(int64_t rank, int64_t depth);	/* 0 beyond the depth */
double		plm_picked_mean(const double *values, const int64_t *pick, int64_t n);

/* Does candidate c come before `one`?  Of equal scores the earlier does: a model that finds everything alike finds nothing. */
static inline bool
plm_comes_before(const float *scores, int64_t c, int64_t one)
{
	return scores[c] > scores[one] || (scores[c] == scores[one] && c < one);
}

/* Figures of the n cases pick[0 .. n - 1], of which some may be there several times. */
typedef void (*PlmFigures) (void *arg, const int64_t *pick, int64_t n, double *out);

/*
 * `count` named figures of n cases with 95 % bounds: the percentile bootstrap of `samples` draws, from the random stream `key`; without
 * draws the bounds are the value.  Draws in which a figure is NaN do not count for it.
 */
PlmStatus	plm_bootstrap(PlmArena *arena, uint64_t key, int64_t n, int samples, PlmFigures figures, void *arg, int count,
						  const char *const *names, PlmMetric *out, PlmError *err);

/* ---- state: train/state.c ---- */

/* Takes the next piece of a stream. */
typedef PlmStatus (*PlmWrite) (void *arg, const void *data, size_t bytes, PlmError *err);
/* Gives exactly that many bytes of one. */
typedef PlmStatus (*PlmRead) (void *arg, void *data, size_t bytes, PlmError *err);

/* Weights, moments, best weights, step, checksums of options and examples.  Little-endian, versioned, checksummed. */
PlmStatus	plm_trainer_state(PlmTrainer *trainer, PlmWrite write, void *arg, PlmError *err);
/*
 * Refuses what is damaged (PLM_ECORRUPT) or of other options, examples or base (PLM_EARG); threads and memory limit may differ
 * (another limit may cut steps otherwise, which changes roundings).  After a failure the trainer can only be closed.
 */
PlmStatus	plm_trainer_restore(PlmTrainer *trainer, PlmRead read, void *arg, PlmError *err);

/* ---- files: train/files.c ---- */

typedef struct PlmTrainedFile
{
	char		name[256];
	uint64_t	size;
} PlmTrainedFile;

/*
 * The files of the trained model: config.json (of the base, with what the head changes: architectures, id2label, problem_type),
 * model.safetensors in `type` (F32 or F16), and all other files of the base (tokenizer, modules.json of a sentence embedder, made when the
 * objective embeds and the base has none) as they are.  begin is called before the pieces of each file.
 */
typedef PlmStatus (*PlmFileBegin) (void *arg, const PlmTrainedFile *file, PlmError *err);
PlmStatus	plm_trainer_files(PlmTrainer *trainer, PlmType type, PlmFileBegin begin, PlmWrite write, void *arg, PlmError *err);

/* ---- a fresh configuration: train/fresh.c ---- */

typedef struct PlmShape
{
	int32_t		width, layers, heads, ff, positions;
} PlmShape;

/* config.json and its like for an untrained BERT of that shape around a vocabulary; texts from the arena. */
PlmStatus	plm_fresh_files(const PlmShape *shape, PlmText vocab_txt, PlmText tokenizer_config_json, PlmArena *arena, PlmFileSet *out, PlmError *err);

/* ---- learning a vocabulary: ../text/plm_text.h has plm_learn_wordpiece() ---- */

#endif							/* PLM_TRAIN_H */
