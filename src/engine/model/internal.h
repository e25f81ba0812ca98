/*
 * internal.h -- what the files of this folder share: the opened model, the workspace of a chunk, and
 * the interface between the encoder's run and its heads.
 *
 * Shapes: B texts, T tokens, C width, F feed-forward, V vocabulary, L layers.
 */
#ifndef PLM_MODEL_INTERNAL_H
#define PLM_MODEL_INTERNAL_H

#include "arch.h"
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

/* Everything but the arrays here points into the packed file. */
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
	const float *mask_decoder;	/* (V,C): tok_embd when tied */
	const float *mask_bias;		/* (V) */
};

/* ---- block.c ---- */

/* Memory of one chunk in work; carved from an arena before any thread starts. */
typedef struct PlmWorkspace
{
	float	   *x;				/* (T,C) the hidden state */
	float	   *qkv;			/* (T,3C) */
	float	   *mix;			/* (T,C) what attention gathered */
	float	   *ff;				/* (row block,F) */
	void	   *scratch;		/* of the operations */
	float	   *head;			/* of the head */
	int			busy;			/* atomic; run.c */
} PlmWorkspace;

/* For any chunk of at most `tokens` tokens, `texts` texts, each of at most `longest` tokens. */
PlmStatus	plm_workspace_carve(const PlmModel *model, int64_t tokens, int64_t longest, size_t head_bytes,
								PlmArena *arena, PlmWorkspace *ws, PlmError *err);

/* The encoder: batch in, last hidden state in ws->x.  trace: NULL, or (L+1,T,C) receiving every hidden state. */
PlmStatus	plm_encoder_forward(const PlmModel *model, const PlmBatch *batch, PlmWorkspace *ws, float *trace,
								PlmWorker *worker, PlmError *err);

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

/* Rows of the first token of each text, one after another: to (B,C). */
void		plm_gather_first(const PlmBatch *batch, int64_t width, const float *x, float *to);

/* The one text of an encoding as a batch; offsets must have room for two and outlive it. */
PlmBatch	plm_batch_of_one(const PlmEncoding *encoding, int64_t *offsets);

#endif							/* PLM_MODEL_INTERNAL_H */
