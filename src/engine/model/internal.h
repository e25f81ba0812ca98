/*
 * internal.h -- what the files of this folder share: the opened model, the workspace of a chunk, and
 * the interface between the encoder's run and its heads.
 *
 * Shapes: B texts, T tokens, C width, F feed-forward, V vocabulary, L layers.
 */
#ifndef PLM_MODEL_INTERNAL_H
#define PLM_MODEL_INTERNAL_H

#include "arch.h"
#include "params.h"
#include "plm_model.h"

typedef struct PlmBlock
{
	PlmLinear	qkv;			/* (3C,C): q, k, v one after another */
	PlmLinear	attn_out;		/* (C,C) */
	PlmNorm		attn_norm;
	PlmLinear	ff_up;			/* (F,C) */
	PlmLinear	ff_down;		/* (C,F) */
	PlmNorm		ff_norm;
} PlmBlock;

/* Everything but the arrays here points into the packed file, or into the memory of a trainer. */
struct PlmModel
{
	PlmConfig	config;
	const PlmArch *arch;
	PlmPrecision precision;
	PlmTokenizer tokenizer;
	PlmText    *labels;			/* (config.labels) */
	bool		part[PLM_PARTS];

	const float *tok_embd;		/* (V,C) */
	const float *pos_embd;		/* (positions,C) */
	const float *type_embd;		/* (types,C) or NULL */
	PlmNorm		embd_norm;
	PlmBlock   *blocks;			/* (L) */

	PlmLinear	pooler;			/* (C,C) */
	PlmLinear	dense[PLM_MAX_DENSE];
	PlmLinear	classifier_dense;	/* (C,C) */
	PlmLinear	classifier;		/* (labels,C) */
	PlmLinear	mask_dense;		/* (C,C) */
	PlmNorm		mask_norm;
	PlmLinear	next;			/* (2,C): is the second text the first one's continuation? */
	const float *mask_decoder;	/* (V,C): tok_embd when tied */
	const float *mask_bias;		/* (V) */
};

/* ---- model.c, pack.c ---- */

/*
 * Point the fields at the data of the plan's sections.  config, arch, part and blocks (L, zeroed) are set already.
 * data: (plan->n_sections), each laid out as its section says.
 */
void		plm_model_bind(PlmModel *model, const PlmParamPlan *plan, const void *const *data);

/*
 * The tokenizer of a directory, compiled into the arena; it must fit the configuration's vocabulary, which is its own where
 * the directory is nothing but a tokenizer.
 */
PlmStatus	plm_model_tokenizer_compile(const PlmFileSet *set, PlmConfig *config, PlmArena *arena, void **blob,
										size_t *bytes, PlmError *err);

/* ---- block.c ---- */

/* What the backward of one block needs of its forward. */
typedef struct PlmBlockTape
{
	float	   *x;				/* (T,C) the block's input */
	float	   *qkv;			/* (T,3C) */
	float	   *mix;			/* (T,C) what attention gathered */
	float	   *attn_sum;		/* (T,C) x + out(mix), before its norm */
	float	   *attn_save;		/* (T,2) that norm's {mean, rstd} */
	float	   *up;				/* (T,F) before the activation */
	float	   *ff_sum;			/* (T,C) before its norm */
	float	   *ff_save;		/* (T,2) */
} PlmBlockTape;

/* Where a forward in training leaves what it computes, for one batch. */
typedef struct PlmTape
{
	PlmBlockTape *blocks;		/* (L) may share memory, where only some of it is needed later */
	float	   *last;			/* (T,C) the last hidden state; may be blocks[i].x of all, when no input is needed again */
	double		dropout;		/* rate */
	uint64_t	seed;			/* of the masks: place i is PLM_DROP_... from here */
	uint64_t	first;			/* rows of the step before this batch: masks do not depend on how it is cut */
} PlmTape;

/* Streams of the masks of block l and of the embeddings. */
#define PLM_DROP_ATTN(l) (2 * (uint64_t) (l) + 1)
#define PLM_DROP_FF(l) (2 * (uint64_t) (l) + 2)
#define PLM_DROP_EMBD 0

/* Memory of one chunk in work; carved from an arena before any thread starts. */
typedef struct PlmWorkspace
{
	float	   *x;				/* (T,C) the hidden state */
	float	   *qkv;			/* (T,3C) */
	float	   *mix;			/* (T,C) what attention gathered */
	float	   *ff;				/* (row block,F) */
	void	   *scratch;		/* of the operations */
	float	   *head;			/* of the head; of gated attention; of the way back */
	int			busy;			/* atomic */
} PlmWorkspace;

/* A free one of n, which is waited for: no more tasks may run at once than there are workspaces.  Give it back. */
PlmWorkspace *plm_workspace_borrow(PlmWorkspace *spaces, int n);
void		plm_workspace_give_back(PlmWorkspace *ws);

/* For any chunk of at most `tokens` tokens, each text of at most `longest`. */
PlmStatus	plm_workspace_carve(const PlmModel *model, int64_t tokens, int64_t longest, size_t head_bytes,
								PlmArena *arena, PlmWorkspace *ws, PlmError *err);
/* The same for forwards that have a tape: without x, qkv and mix; extra: bytes at ws->head. */
PlmStatus	plm_workspace_carve_taped(const PlmModel *model, int64_t tokens, int64_t longest, size_t extra,
									  PlmArena *arena, PlmWorkspace *ws, PlmError *err);

/* The encoder: batch in, last hidden state in ws->x.  trace: NULL, or (L+1,T,C) receiving every hidden state. */
PlmStatus	plm_encoder_forward(const PlmModel *model, const PlmBatch *batch, PlmWorkspace *ws, float *trace,
								PlmWorker *worker, PlmError *err);

/*
 * The encoder in pieces, in place in ws, which several threads share but for ff and scratch: the first hidden state into x; then of each
 * block l rows of qkv from rows of x, one head over all rows from qkv to mix, and what follows, rows of x from x and mix; at most
 * PLM_BLOCK_ROWS rows at once.  Rows and heads do not depend on each other: the bits are plm_encoder_forward()'s.
 */
#define PLM_BLOCK_ROWS 144
PlmStatus	plm_encoder_embed(const PlmModel *model, const PlmBatch *batch, float *x, PlmWorker *worker, PlmError *err);
PlmStatus	plm_block_project(const PlmModel *model, int32_t l, int64_t first, int64_t rows, PlmWorkspace *ws, PlmWorker *worker,
							  PlmError *err);
PlmStatus	plm_block_attend(const PlmModel *model, const PlmBatch *batch, int64_t head, PlmWorkspace *ws, PlmWorker *worker,
							 PlmError *err);
PlmStatus	plm_block_finish(const PlmModel *model, int32_t l, int64_t first, int64_t rows, PlmWorkspace *ws, PlmWorker *worker,
							 PlmError *err);

/* ---- team.c ---- */

/* Threads that can share a chunk of so many tokens to any use, of at most `threads`; less than 2: none. */
int			plm_team_size(int64_t tokens, int threads);
/* Workspaces for plm_encoder_forward_team(): spaces[0] is carved already, the others get its x, qkv and mix. */
PlmStatus	plm_team_carve(const PlmModel *model, int64_t tokens, int64_t longest, PlmArena *arena, PlmWorkspace *spaces, int n,
						   PlmError *err);
/* plm_encoder_forward() by up to n threads, from the main thread, outside plm_parallel(); the last hidden state is in spaces[0].x. */
PlmStatus	plm_encoder_forward_team(const PlmModel *model, const PlmBatch *batch, PlmWorkspace *spaces, int n, const PlmHook *hook,
									 PlmError *err);

/* ---- block.c, in training ---- */

/* The same in training: everything goes to the tape. */
PlmStatus	plm_encoder_forward_taped(const PlmModel *model, const PlmBatch *batch, const PlmTape *tape, PlmWorkspace *ws,
									  PlmWorker *worker, PlmError *err);
/* Block l alone, from tape->blocks[l].x, once more: with the same bits.  out: (T,C), may be that x. */
PlmStatus	plm_block_forward_taped(const PlmModel *model, int32_t l, const PlmBatch *batch, const PlmTape *tape, float *out,
									PlmWorkspace *ws, PlmWorker *worker, PlmError *err);

/* ---- block_backward.c ---- */

/* Transposed weights of a block, packed in f32: dx = dy W. */
typedef struct PlmBackBlock
{
	PlmLinear	qkv, attn_out, ff_up, ff_down;
} PlmBackBlock;

/* A batch's rows on their way back through one block. */
typedef struct PlmBackRows
{
	float	   *dx;				/* (T,C) gradient at the block's output, becomes that at its input */
	float	   *dff_sum;		/* (T,C) gradient at what ff_down gave */
	float	   *dattn_sum;		/* (T,C) gradient at what attn_out gave */
	float	   *dup;			/* (T,F) gradient at what ff_up gave */
	float	   *mid;			/* (T,C) the state between the sub-layers, again */
	float	   *dqkv;			/* (T,3C) */
	float	   *norms;			/* (4,C) added to: gradients of ff_norm g, b, attn_norm g, b */
	float	   *dlog;			/* (T) added to: gradients at the logarithms of the batch's gates, where it has any */
} PlmBackRows;

/* Scratch at ws->head. */
size_t		plm_block_backward_scratch(const PlmModel *model, const PlmBackBlock *back, int64_t longest, bool gated);
/*
 * Through block l, of which tape->blocks[l] has the forward; its up becomes what ff_down was given and its attn_sum is used up.
 * input: is the gradient at the block's input wanted?
 */
PlmStatus	plm_block_backward(const PlmModel *model, int32_t l, const PlmBackBlock *back, const PlmBatch *batch, const PlmTape *tape,
							   const PlmBackRows *rows, bool input, PlmWorkspace *ws, PlmWorker *worker, PlmError *err);

/* ---- run.c ---- */

/* Texts of a chunk are at most this many, whatever their length: it bounds the workspace of heads. */
#define PLM_CHUNK_TEXTS 64

/* From hidden states to the caller's rows. */
typedef struct PlmHead
{
	int64_t		width;			/* of a row of the result */
	size_t		(*bytes) (const PlmModel *model, int64_t texts);	/* of scratch */

	/*
	 * x: (T,C).  y: (B,width) distance width, scattered by the caller.  text: (B) numbers for messages, from 1.
	 */
	PlmStatus	(*apply) (const PlmModel *model, const PlmBatch *batch, const float *x, const int64_t *text,
						  float *y, float *scratch, PlmWorker *worker, PlmError *err);
} PlmHead;

/* Encode, cut into chunks, run, and write row i of out for input i.  prompt: put before each first text. */
PlmStatus	plm_run_texts(const PlmModel *model, int64_t n, const PlmInput *inputs, PlmText prompt,
						  const PlmOptions *options, const PlmHead *head, float *out, PlmError *err);

/* ---- heads ---- */

extern const PlmHead plm_head_embed;	/* width is config.dimensions: copy and set */
extern const PlmHead plm_head_classify; /* width is config.labels */

/* An error for a tokenizer alone, which cannot compute. */
PlmStatus	plm_weights_needed(const PlmModel *model, PlmError *err);

/* Can embed() work?  An error that names the pooler when it is needed and absent. */
PlmStatus	plm_embed_possible(const PlmModel *model, PlmError *err);
PlmStatus	plm_mask_possible(const PlmModel *model, PlmError *err);

/* Masked-language logits (rows,V) of hidden states x (rows,C); h: (rows,C) scratch. */
PlmStatus	plm_mask_logits(const PlmModel *model, int64_t rows, const float *x, float *h, float *logits,
							PlmWorker *worker, PlmError *err);

/* y = x / |x|:  dx = (dy - y (y . dy)) / |x|.  dx may be dy. */
void		plm_length_backward(int64_t D, const float *y, float norm, const float *dy, float *dx);

/* One text, one mode of pooling (not PLM_POOL_POOLER): x (T,C) to y (C). */
void		plm_pool_text(PlmPooling mode, int64_t tokens, int64_t C, const float *x, float *y);

/* Rows of the first token of each text, one after another: to (B,C). */
void		plm_gather_first(const PlmBatch *batch, int64_t width, const float *x, float *to);

/* The one text of an encoding as a batch; offsets must have room for two and outlive it. */
PlmBatch	plm_batch_of_one(const PlmEncoding *encoding, int64_t *offsets);

#endif							/* PLM_MODEL_INTERNAL_H */
