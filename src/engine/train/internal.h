/*
 * internal.h -- what the files of this folder share: stored examples, the batch of a step, a trainer's
 * memory, and the interface of an objective.
 *
 * Training computes with the model's own blocks (../model/internal.h), which is why this module reads its inner headers.
 *
 * One step, in the order of its functions:
 *     batch.c      which examples, their texts, how they are cut into micro-batches and those into chunks
 *     pass.c       encoder forward of a micro-batch, chunks in parallel; what the backward needs stays on the tape
 *     objective_*  from hidden states (or embeddings of all texts) to the loss and its gradient there
 *     backward.c   the gradient back through the blocks; each linear's weight gradient as one product (products.c)
 *     clip.c       in a private run: the norm of each example's gradient, and all that it adds to the sum scaled by it
 *     private.c    in a private run: which examples are drawn, noise
 *     adam.c       norm, clipping, update
 *     weights.c    the updated weights packed again for the next forward
 *
 * Shapes: B examples of a step, S texts, T tokens, C width, F feed-forward, V vocabulary, N labels, D embedding.
 */
#ifndef PLM_TRAIN_INTERNAL_H
#define PLM_TRAIN_INTERNAL_H

#include "../model/internal.h"
#include "plm_train.h"

#define PLM_MAX_THREADS 64

/* ---- examples.c ---- */

/* Token ids as the model sees them; types are 0 up to `second` and 1 from there on. */
typedef struct PlmSequence
{
	const int32_t *ids;
	int32_t		n;				/* 0: there is no such text */
	int32_t		second;
} PlmSequence;

typedef struct PlmStored
{
	PlmSequence text[3];
	uint64_t	group;			/* of the first text alone: rows with one query share it */
	double		number;
	const int32_t *labels;
	int32_t		n_labels;
	const float *target;
} PlmStored;

const PlmStored *plm_examples_at(const PlmExamples *examples, int64_t i);
const PlmTokenizer *plm_examples_tokenizer(const PlmExamples *examples);
int32_t		plm_examples_longest(const PlmExamples *examples);
int32_t		plm_examples_target_width(const PlmExamples *examples);
PlmObjective plm_examples_objective(const PlmExamples *examples);
int32_t		plm_examples_texts(const PlmExamples *examples);	/* most of any example */

/* ---- batch.c ---- */

/* What a text is to its example. */
typedef enum PlmRole
{
	PLM_ROLE_FIRST = 0,			/* the text, the query */
	PLM_ROLE_SECOND,			/* the positive */
	PLM_ROLE_NEGATIVE
} PlmRole;

/* All texts of a step (or of a slice of an evaluation).  From the trainer's step arena. */
typedef struct PlmTexts
{
	int64_t		examples;		/* B */
	const PlmStored **example;	/* (B) */
	int64_t    *number;			/* (B) where they are stored */
	int64_t		n;				/* S */
	PlmSequence *text;			/* (S) */
	int32_t    *owner;			/* (S) which example of the step */
	PlmRole    *role;			/* (S) */
	int64_t		tokens;
	int64_t    *at;				/* (S+1) first token of each text */
	int64_t		micros;
	int64_t    *micro;			/* (micros+1) first text; an example's texts are never parted */
	uint64_t	seed;			/* of everything random in this step */
	bool		training;
	/* masked language modelling */
	int64_t		targets;
	int64_t    *target_at;		/* (targets) token of the step, ascending */
	int32_t    *target_id;		/* (targets) */
	int32_t    *follows;		/* (B) next sentence: 0 when the second text is the first one's own, 1 when it is not */
} PlmTexts;

/* A random stream of its own for each use. */
typedef enum PlmStream
{
	PLM_STREAM_ORDER = 1, PLM_STREAM_WEIGHTS, PLM_STREAM_STEP, PLM_STREAM_DROPOUT, PLM_STREAM_MASK, PLM_STREAM_PAIR,
	PLM_STREAM_EVALUATE, PLM_STREAM_BOOTSTRAP
} PlmStream;

uint64_t	plm_stream(uint64_t seed, PlmStream stream, uint64_t number);

/* The place-th example of epoch `epoch` out of n, in that epoch's random order. */
int64_t		plm_shuffled(uint64_t seed, int64_t epoch, int64_t n, int64_t place);

typedef struct PlmChunk
{
	PlmBatch	batch;
	int64_t		first;			/* token of the micro-batch */
	int64_t		first_text;		/* of the micro-batch */
	uint64_t	dropout_seed;
	int64_t		dropout_token, dropout_text;	/* as what its first ones count there */
} PlmChunk;

/* Consecutive texts, laid end to end and cut into chunks; hidden states and their gradient. */
typedef struct PlmMicro
{
	const PlmTexts *texts;
	int64_t		first;			/* text of the step */
	int64_t		n;				/* texts */
	int64_t		first_token;	/* token of the step */
	PlmBatch	batch;			/* all of it */
	int64_t		chunks;
	PlmChunk   *chunk;
	float	   *hidden;			/* (T,C) the last hidden state */
	float	   *dhidden;		/* (T,C) its gradient, zeroed; NULL: only the loss is asked for */
} PlmMicro;

/* ---- the trainer ---- */

/* Part of the weights that an optimiser's step changes. */
typedef struct PlmSlot
{
	int64_t		w;				/* where in the weights */
	int64_t		g;				/* where in gradient and moments */
	int64_t		n;
	bool		decay;
} PlmSlot;

typedef struct PlmPiece			/* of a slot: what one task updates */
{
	int64_t		w, g, n;
	bool		decay;
} PlmPiece;

/* Low-rank adapter of a linear weight W (N,K): W + scale B A. */
typedef struct PlmAdapter
{
	int64_t		section;
	int64_t		n, k;
	int64_t		wa, wb;			/* A (r,K), B (N,r) in the weights */
	int64_t		ga, gb;			/* in the gradient */
} PlmAdapter;

/* A linear layer of the plan in training. */
typedef struct PlmAffine
{
	const PlmLinear *l;
	int64_t		section_w, section_b;	/* of the plan; -1: none */
	PlmActivation act;
} PlmAffine;

/* Memory of a micro-batch, kept from step to step. */
typedef struct PlmSpace
{
	PlmArena	arena;
	int64_t		tokens, texts, longest;	/* what it is made for */
	bool		full;			/* a tape for each layer; else for one, and forwards are computed again */
	int32_t    *ids, *types;	/* (tokens) */
	int64_t    *offsets;		/* (texts + 1) of the micro-batch */
	int64_t    *chunk_offsets;	/* (texts + chunks) */
	PlmChunk   *chunk;
	PlmBlockTape *blocks;		/* (L) */
	float	   *last;			/* (T,C) */
	float	   *dx;				/* (T,C) */
	PlmBackRows *back;			/* (L+1) of each block and of the embeddings, all the same unless the run is private; norms: (chunks,4,C) */
	int			n_spaces;
	PlmWorkspace *spaces;
} PlmSpace;

typedef struct PlmObjectiveCode PlmObjectiveCode;
typedef struct PlmWaiting PlmWaiting;

#define PIECE_FLOATS 65536		/* that are worked on between two polls */

/* How the rows of a vocabulary are made of those of the base's own: transfer.c. */
typedef struct PlmTransfer
{
	PlmTokenizer tokenizer;		/* the base's */
	int64_t		vocab;			/* rows that the base has */
	int64_t		tokens;			/* of the new vocabulary; 0: it stays the base's */
	int64_t    *at;				/* (tokens + 1) first of each in ids */
	int32_t    *ids;			/* rows of the base whose mean it begins as; none: it is drawn */
} PlmTransfer;

/* Where first values come from: first.c. */
typedef struct PlmOrigin
{
	PlmParamPlan plan;			/* the base's parameters; n 0: all are drawn */
	PlmTransfer transfer;
} PlmOrigin;

struct PlmTrainer
{
	PlmTrainOptions options;
	const PlmObjectiveCode *code;
	const PlmExamples *train;
	const PlmExamples *held_out;	/* NULL: none */
	const PlmFileSet *files;
	PlmArena	arena;			/* what lives as long as the trainer */
	PlmArena	step;			/* what lives as long as a step */
	PlmSpace	space;
	int			threads;

	PlmModel	model;			/* bound to w and packed */
	PlmConfig	base_config;	/* with the vocabulary that the trained model has */
	const PlmFileSet *former;	/* the base's own files, when its vocabulary is replaced; else NULL */
	PlmText    *labels;			/* (N) copies of the host's */
	uint64_t	base_checksum;	/* of the weights that training began with */
	PlmParamPlan plan;
	PlmBackBlock *back;			/* (L) */
	const void **data;			/* (sections) what the model is bound to */
	void	  **transposed;		/* (sections) or NULL */
	int64_t    *at;				/* (sections) first float of each in w */
	int64_t    *gat;			/* (sections) first float in g; -1: no gradient */
	int64_t		n_w, n_g, n_trained;	/* floats of w and g; the first n_trained of g have moments */
	float	   *w, *g, *m, *v;
	float	   *best;			/* (n_w) kept weights */
	bool		has_best;
	int64_t		n_slots;
	PlmSlot    *slots;
	int64_t		n_pieces;
	PlmPiece   *pieces;
	double	   *piece_sum;		/* (pieces) */
	unsigned char *piece_done;	/* (pieces) */
	int64_t		n_adapters;
	PlmAdapter *adapters;
	float	   *merged;			/* of one linear, for packing and files */
	bool		packed;			/* what is packed is what w says */
	bool		updating;		/* an update was interrupted: some pieces are done */
	bool		undone;			/* the last one was taken back */
	double		update_rate, update_scale;
	double		noise;			/* of a private run, in clipping norms */
	PlmWaiting *waiting;		/* what a private micro-batch is to add to g once its examples' norms are known; else NULL */

	int64_t		most_tokens;	/* of a micro-batch, at the most */
	bool		forget;			/* never keep a tape for each layer; for tests of what a memory limit leads to */

	int64_t		steps;
	int64_t		at_step;
	int32_t		first_layer;	/* the lowest whose weights are trained */
	bool		embeddings_train;

	/* heads */
	PlmAffine	pooler, classifier_dense, classifier, mask_dense, next, dense[PLM_MAX_DENSE];

	/* objectives' own */
	float	   *class_weight;	/* (N) or NULL */
	unsigned char *continues;	/* (tokenizer's tokens) 1: goes on a word, 2: special */
	int64_t		mined_epoch;	/* -1: none */
	int32_t    *mined;			/* (examples, hard_negatives) whose positive; -1: none */
};

int64_t		plm_section_of(const PlmParamPlan *plan, const char *name);	/* -1: none */

/* Memory that lives for a step, or the arena's error. */
PlmStatus	plm_take(PlmArena *arena, int64_t count, size_t size, void *out, PlmError *err);

/* Texts of the step `t->at_step`, with mined negatives where there are any; cut into micro-batches. */
PlmStatus	plm_texts_of_step(PlmTrainer *t, PlmTexts *out, PlmError *err);
/* Texts of stored examples first .. first + n - 1. */
PlmStatus	plm_texts_of_range(PlmTrainer *t, const PlmExamples *from, int64_t first, int64_t n, PlmTexts *out, PlmError *err);
/* Recompute at, tokens and the cut after an objective has changed the texts. */
PlmStatus	plm_texts_cut(PlmTrainer *t, PlmTexts *texts, PlmError *err);

/* ---- trainer.c ---- */

/* Before anything else happens: finish an interrupted update, pack the weights, empty the step's arena. */
PlmStatus	plm_trainer_ready(PlmTrainer *t, PlmError *err);
/* Memory for the micro-batches of these texts, and what is left for the step's arena. */
PlmStatus	plm_trainer_fit(PlmTrainer *t, const PlmTexts *texts, PlmError *err);
/* Loss and gradient (in t->g) of a step's texts; for the step and for tests. */
PlmStatus	plm_trainer_gradient(PlmTrainer *t, PlmTexts *texts, double *loss, PlmError *err);

/* ---- space.c ---- */

/* Most tokens of a micro-batch, and whether it keeps a tape for each layer, by the memory limit. */
/* Tapes of a pass: one for each layer that texts go through, and one whose norm serves the embeddings when they go through none. */
static inline int32_t
plm_tapes(const PlmTrainer *t)
{
	return t->model.config.layers > 0 ? t->model.config.layers : 1;
}

/* What is left for one of the trainer's arenas when the others hold what they hold: its limit. */
void		plm_share_limit(PlmTrainer *t, PlmArena *arena);

/* Tokens of the largest micro-batch, without a limit on memory. */
int64_t		plm_space_most(const PlmTrainer *t);
void		plm_space_plan(const PlmTrainer *t, int64_t longest, int64_t *tokens, bool *full);
/* Most texts of a private micro-batch of so many tokens: each is a chunk, and has gradients of norms. */
int64_t		plm_space_texts(int64_t tokens);
/* Memory for the micro-batches of these texts. */
PlmStatus	plm_space_fit(PlmTrainer *t, const PlmTexts *texts, PlmError *err);
PlmWorkspace *plm_space_borrow(PlmTrainer *t);
void		plm_space_return(PlmWorkspace *ws);

/* ---- pass.c, backward.c ---- */

/* Micro-batch number i of the texts, laid out, not yet computed. */
PlmStatus	plm_micro_lay(PlmTrainer *t, const PlmTexts *texts, int64_t i, PlmMicro *micro, PlmError *err);
/* Hidden states.  tape: keep what the backward needs. */
PlmStatus	plm_micro_forward(PlmTrainer *t, PlmMicro *micro, bool tape, PlmError *err);
/* Dropout of vectors (n,width) of the micro-batch's texts, in stream number `use` of its chunks' dropout. */
void		plm_micro_drop(const PlmTrainer *t, const PlmMicro *micro, int64_t width, uint64_t use, float *x);
/* From micro->dhidden to t->g, after plm_micro_forward() with a tape. */
PlmStatus	plm_micro_backward(PlmTrainer *t, PlmMicro *micro, PlmError *err);

/* The rows of one chunk in the space; inputs: each block has its own x.  blocks: (L), filled. */
PlmTape		plm_chunk_tape(const PlmTrainer *t, const PlmMicro *micro, int64_t chunk, bool inputs, PlmBlockTape *blocks);

/* ---- products.c ---- */

/* dw (n,k) += dy^T x, db += sums of dy, over all rows; dw NULL: nothing. */
typedef struct PlmProduct
{
	int64_t		rows, n, k;
	float	   *dy;				/* an example's are scaled when it is clipped */
	int64_t		lddy;
	const float *x;
	int64_t		ldx;
	float	   *dw, *db;
	int64_t		section;		/* of the weight */
	bool		of_tokens;		/* a row for each token; else for each text */
} PlmProduct;

/* In a private micro-batch they wait for plm_clip(): dy and x must last until then. */
PlmStatus	plm_products(PlmTrainer *t, const PlmProduct *products, int n, PlmError *err);

/* plm_gemm() in parallel by blocks of rows of c. */
PlmStatus	plm_matmul(PlmTrainer *t, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha,
					   const float *a, int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc, PlmError *err);

/* z (rows,n) = x W^T + b: before the activation. */
PlmStatus	plm_affine_forward(PlmTrainer *t, const PlmAffine *a, int64_t rows, const float *x, float *z, PlmError *err);
/* y = act(z), row by row. */
void		plm_affine_activate(const PlmAffine *a, int64_t rows, const float *z, float *y);
/* dy: gradient at act(z), becomes that at z; weights' gradients are added; dx: (rows,k) written, or NULL. */
PlmStatus	plm_affine_backward(PlmTrainer *t, const PlmAffine *a, int64_t rows, const float *x, const float *z, float *dy,
								float *dx, PlmError *err);

static inline int64_t
plm_affine_out(const PlmAffine *a)
{
	return a->l->w.n;
}

/* Where a section's gradient is added up; NULL: it has none. */
static inline float *
plm_gradient(const PlmTrainer *t, int64_t section)
{
	return section >= 0 && t->gat[section] >= 0 ? t->g + t->gat[section] : NULL;
}

/* ---- weights.c ---- */

/*
 * n floats of zero that live as long as the trainer.  In pieces, with a look at a cancel: the first write to new memory is what
 * the machine gives it at, ten times slower than later ones.
 */
PlmStatus	plm_take_zeroed(PlmTrainer *t, int64_t n, float **out, PlmError *err);
/* Files of `base` with the tokenizer of `words`, which has that many tokens; *out lives in the arena. */
PlmStatus	plm_transfer_files(const PlmFileSet *base, const PlmFileSet *words, int32_t tokens, PlmArena *arena, PlmFileSet **out, PlmError *err);
/* config: the base's.  All in the arena. */
PlmStatus	plm_transfer_open(const PlmFileSet *base, PlmConfig *config, const PlmTokenizer *now, const PlmHook *hook, PlmArena *arena,
							  PlmTransfer *out, PlmError *err);
/* The base's parameter with a row, or a number, for each token, to that of the new vocabulary; rows without origin stay as they are. */
PlmStatus	plm_transfer_rows(const PlmTransfer *transfer, const PlmParam *from, PlmArena *arena, float *to, PlmError *err);

/* Of t->files; lives in the step's arena. */
PlmStatus	plm_origin_open(PlmTrainer *t, PlmOrigin *out, PlmError *err);
/* Into w; same_labels: rows of the base's classifier mean the same. */
PlmStatus	plm_first_values(PlmTrainer *t, const PlmOrigin *origin, bool same_labels, PlmError *err);

PlmStatus	plm_weights_open(PlmTrainer *t, const PlmTrainBase *base, PlmError *err);
/* Pack w (with adapters merged) for forward and backward; nothing when it is so already. */
PlmStatus	plm_weights_pack(PlmTrainer *t, PlmError *err);
/* The weight of a section as it is used: the master's, or with the adapter merged (valid until the next call). */
const float *plm_weights_merged(PlmTrainer *t, const float *w, int64_t section);
/* Gradients of adapters from those of the weights that they change. */
PlmStatus	plm_adapters_gradient(PlmTrainer *t, PlmError *err);
/* The adapter of a section's weight, or NULL. */
const PlmAdapter *plm_adapter_of(const PlmTrainer *t, int64_t section);

/* ---- adam.c ---- */

double		plm_learning_rate(const PlmTrainer *t, int64_t step);
/* Norm of the whole gradient. */
PlmStatus	plm_gradient_norm(PlmTrainer *t, double *norm, PlmError *err);
PlmStatus	plm_gradient_zero(PlmTrainer *t, PlmError *err);
/* Begin the update and carry it out; interrupted, the next plm_update_finish() goes on. */
PlmStatus	plm_update(PlmTrainer *t, double rate, double scale, PlmError *err);
PlmStatus	plm_update_finish(PlmTrainer *t, PlmError *err);
/* Take the weights of the last update back, as far as rounding allows it; nothing when there is none to take back. */
void		plm_update_undo(PlmTrainer *t);

/* ---- embedding.c: from hidden states to embeddings, and back ---- */

/* Embeddings (n,D) of a micro-batch's texts, unit length; kept: what the way back needs (step arena), or NULL. */
typedef struct PlmPooled PlmPooled;
PlmStatus	plm_embed_forward(PlmTrainer *t, const PlmMicro *micro, float *e, PlmPooled **kept, PlmError *err);
PlmStatus	plm_embed_backward(PlmTrainer *t, PlmMicro *micro, PlmPooled *kept, const float *e, const float *de, PlmError *err);

/* Embeddings (S,D) of all texts, without a tape. */
PlmStatus	plm_embed_texts(PlmTrainer *t, const PlmTexts *texts, float *e, PlmError *err);

/* Embeddings of all stored examples: e[0] (n,D) of their first texts, e[1] of their second; NULL: not wanted. */
PlmStatus	plm_embed_range(PlmTrainer *t, const PlmExamples *from, float *const *e, PlmError *err);

/* ---- privacy.c, private.c ---- */

/* Renyi divergence of one step at an integer order from 2 on. */
double		plm_privacy_divergence(double noise, double rate, int order);


bool		plm_private(const PlmTrainer *t);
PlmStatus	plm_private_open(PlmTrainer *t, PlmError *err);
double		plm_private_rate(const PlmTrainer *t);
/* Numbers of the examples of the step that comes next, ascending, into drawn unless it is NULL; their number, which may be 0. */
PlmStatus	plm_private_draw(const PlmTrainer *t, int64_t *drawn, int64_t *count, PlmError *err);
/* From the sum of clipped gradients in t->g to the step's gradient: noise, and the divisor. */
PlmStatus	plm_private_end(PlmTrainer *t, PlmError *err);
/* Block `number` of a stream of ChaCha20. */
void		plm_secret_block(const uint32_t key[8], uint64_t stream, uint64_t number, uint32_t out[16]);

/* ---- clip.c ---- */

/* What reaches t->g waits from here on: products, and rows that are added up. */
PlmStatus	plm_clip_begin(PlmTrainer *t, PlmError *err);
void		plm_clip_products(PlmTrainer *t, const PlmProduct *products, int n);
/* rows: (chunks,C) at the distance `stride`, whose sum is added to `to`. */
void		plm_clip_rows(PlmTrainer *t, float *rows, int64_t stride, float *to);
/* The norm of each text's gradient, dx being that at the sum of its embeddings if those train; what waited is scaled by it and added. */
PlmStatus	plm_clip(PlmTrainer *t, PlmMicro *micro, PlmError *err);

/* ---- metrics.c ---- */

/* plm_bootstrap() by the run's seed, in the step's arena. */
PlmStatus	plm_trainer_bootstrap(PlmTrainer *t, int64_t n, int samples, PlmFigures figures, void *arg, int count,
								  const char *const *names, PlmMetric *out, PlmError *err);

/* ---- masking.c, nearest.c: parts of objectives ---- */

PlmStatus	plm_masking_open(PlmTrainer *t, PlmError *err);
PlmStatus	plm_masking_prepare(PlmTrainer *t, PlmTexts *texts, PlmError *err);
/* Hard negatives anew, when an epoch begins and the options ask for them. */
PlmStatus	plm_mine(PlmTrainer *t, PlmError *err);
PlmStatus	plm_retrieval_evaluate(PlmTrainer *t, int samples, PlmMetric *metrics, int *n, PlmError *err);

/* ---- objectives ---- */

/* A new loss is one file and one line in objectives.c. */
struct PlmObjectiveCode
{
	const char *name;
	PlmTaskKind task;			/* what the trained directory is for */
	bool		part[PLM_PARTS];	/* besides the encoder, that it trains (dense modules and pooler: when the embedding uses them) */
	bool		better_high;	/* of the first figure that it evaluates to */

	PlmStatus	(*open) (PlmTrainer *t, PlmError *err);	/* NULL: nothing to prepare */
	PlmStatus	(*prepare) (PlmTrainer *t, PlmTexts *texts, PlmError *err);	/* change a step's texts; NULL: as they are */

	/* One of the two.  loss: this micro-batch's share of the step's mean; gradient to micro->dhidden and t->g. */
	PlmStatus	(*hidden_loss) (PlmTrainer *t, PlmMicro *micro, double *loss, PlmError *err);
	/* On embeddings, of all texts of the step at once.  e, de: (S,D), de zeroed. */
	PlmStatus	(*vector_loss) (PlmTrainer *t, const PlmTexts *texts, const float *e, float *de, double *loss, PlmError *err);

	PlmStatus	(*evaluate) (PlmTrainer *t, int samples, PlmMetric *metrics, int *n, PlmError *err);
};

extern const PlmObjectiveCode plm_masked, plm_classes, plm_retrieval, plm_ranking, plm_similarity, plm_distilled;
const PlmObjectiveCode *plm_objective(PlmObjective objective);

/* Logits (n,N) of the classification head for the texts of a micro-batch; shared by classes and ranking. */
typedef struct PlmScored
{
	float	   *first;			/* (n,C) */
	float	   *z;				/* (n,C) before the activation */
	float	   *dense;			/* (n,C) */
	float	   *logits;			/* (n,N) */
} PlmScored;
PlmStatus	plm_score_forward(PlmTrainer *t, const PlmMicro *micro, PlmScored *out, PlmError *err);
/* dlogits (n,N) is destroyed. */
PlmStatus	plm_score_backward(PlmTrainer *t, PlmMicro *micro, const PlmScored *kept, float *dlogits, PlmError *err);
/* Logits (n,N) of stored examples. */
PlmStatus	plm_score_range(PlmTrainer *t, const PlmExamples *from, float *logits, PlmError *err);

/* The mean square etc. of binary cross entropy with logits: log(1 + e^z) - y z, and its derivative sigmoid(z) - y. */
double		plm_binary_loss(double z, double y, double *dz);

#endif							/* PLM_TRAIN_INTERNAL_H */
