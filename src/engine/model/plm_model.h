/*
 * plm_model.h -- a model: files in, packed file, text in, numbers out.
 *
 * Three steps.  plm_model_check() reads a file set (is it sound, what is it?).  plm_model_pack()
 * writes the packed cache file.  plm_model_open() binds a mapped packed file; the PlmModel is then
 * immutable and may be used from every thread.
 */
#ifndef PLM_MODEL_H
#define PLM_MODEL_H

#include "../file/plm_file.h"
#include "../nn/plm_nn.h"
#include "../text/plm_text.h"

typedef struct PlmModelInfo
{
	PlmConfig	config;
	int64_t		parameters;
	PlmPrecision precision;		/* what product_llm.json asks for, else f32 */
	int64_t		labels;
	PlmText    *label;			/* in the arena */
} PlmModelInfo;

/*
 * All checks that loading makes, without packing: configuration, architecture known, tokenizer compiles and
 * fits the vocabulary, each parameter present with its shape (unexpected tensors are ignored, missing ones and
 * wrong shapes refused with names and shapes), every weight finite.  hook->stop is polled.
 */
PlmStatus	plm_model_check(const PlmFileSet *set, PlmArena *arena, PlmModelInfo *info, PlmError *err);

/* Build the packed file at `path` by way of `temporary` (same folder). */
PlmStatus	plm_model_pack(const PlmFileSet *set, PlmPrecision precision, const unsigned char key[PLM_KEY_BYTES],
						   const char *temporary, const char *path, PlmArena *arena, PlmError *err);

typedef struct PlmModel PlmModel;

/* The model is allocated from the arena and points into the file, which must outlive it. */
PlmStatus	plm_model_open(const PlmPackedFile *file, PlmArena *arena, PlmModel **model, PlmError *err);

const PlmConfig *plm_model_config(const PlmModel *model);
const PlmTokenizer *plm_model_tokenizer(const PlmModel *model);
PlmText		plm_model_label(const PlmModel *model, int64_t i);
PlmPrecision plm_model_precision(const PlmModel *model);
bool		plm_model_can(const PlmModel *model, PlmTaskKind task);	/* every encoder can embed; each model can tokenize */

/* How to compute; memory is refused beyond limit (0: none).  The hook serves workspaces. */
typedef struct PlmOptions
{
	int			threads;
	size_t		memory_limit;
	const PlmHook *hook;
} PlmOptions;

typedef enum PlmKind
{
	PLM_KIND_DOCUMENT = 0, PLM_KIND_QUERY,
	PLM_KIND_STATIC				/* before any layer: words and positions alone, as a baseline for what the layers add */
} PlmKind;

/* One input: a text, or a pair when second.data is not NULL.  data NULL in first: skipped, its row is not written. */
typedef struct PlmInput
{
	PlmText		first;
	PlmText		second;
} PlmInput;

/* out: (n, dimensions), unit length.  A zero or non-finite vector is PLM_ENUMERIC. */
PlmStatus	plm_embed(const PlmModel *model, int64_t n, const PlmInput *inputs, PlmKind kind,
					  const PlmOptions *options, float *out, PlmError *err);

/* logits: (n, labels) of the sequence-classification head, as the reference library returns them. */
PlmStatus	plm_logits(const PlmModel *model, int64_t n, const PlmInput *inputs,
					   const PlmOptions *options, float *logits, PlmError *err);

/* Probabilities from logits by the configured problem (softmax, sigmoid; regression: as they are). In place. */
void		plm_probabilities(const PlmModel *model, int64_t n, float *logits);

/* One candidate for the masked place. */
typedef struct PlmCandidate
{
	int32_t		id;
	float		probability;
} PlmCandidate;

/*
 * The best `top` tokens for the first [MASK] in text, best first (ties by lower id).  PLM_EARG without a mask in what
 * the model sees, or with more than one.
 * encoding: receives the tokens seen (arena); position: of the mask among them.
 */
PlmStatus	plm_fill_mask(const PlmModel *model, PlmText text, int64_t top, const PlmOptions *options, PlmArena *arena,
						  PlmEncoding *encoding, int64_t *position, PlmCandidate *out, int64_t *found, PlmError *err);

/*
 * For tests and explanations: every hidden state of one encoded text, (L+1, T, C), embeddings first.
 * out from the arena.  pooled: unit embedding (dimensions) or NULL; logits: masked-LM logits (T,V) or NULL.
 */
PlmStatus	plm_hidden_states(const PlmModel *model, const PlmEncoding *encoding, const PlmOptions *options,
							  PlmArena *arena, float **out, float *pooled, float *logits, PlmError *err);

/* ---- which tokens a number comes from: explain.c ---- */

/* What a text is compared with. */
typedef enum PlmAgainst
{
	PLM_AGAINST_EMPTY = 0,		/* what the model sees without the side's tokens */
	PLM_AGAINST_MASK			/* the same tokens, each the tokenizer's mask */
} PlmAgainst;

/* The cosine of the text's embedding with `along`, or the head's number for a text or a pair: score or label's probability. */
typedef struct PlmExplainTask
{
	PlmText		prompt;			/* put before the first text; its tokens are no part of the explanation */
	PlmInput	input;
	bool		second;			/* of a pair, explain the second text, else the first */
	bool		truncate;		/* explain what the model sees of a text that is too long; else that is an error */
	const float *along;			/* (dimensions) unit length, or NULL */
	int32_t		label;			/* of the head */
	PlmAgainst	against;
	int64_t		steps;			/* of the integral; 0: as many as the error needs */
} PlmExplainTask;

#define PLM_EXPLAIN_MOST_STEPS 256

/*
 * The tokens as the model sees them, those of the other text too.  Contributions of the side's tokens add up to value - base, up to
 * `error`, the difference over |value - base|.  What comes of the places that other tokens move to is the side's last token's.
 */
typedef struct PlmExplanation
{
	PlmEncoding encoding;
	unsigned char *own;			/* (n) 1: a token of the side, 2: its special tokens; 0: all others */
	double	   *contribution;	/* (n) */
	double		value;
	double		base;
	double		error;
	int64_t		steps;			/* taken in the end */
	int64_t		passes;			/* forwards with their way back, of all tries */
} PlmExplanation;

/*
 * Weights for the way back and memory for it, kept for many explanations, one after the other.  PLM_EUNSUPPORTED for a model whose weights are not f32.  The options' hook
 * must outlive the explainer, which with an explanation at work holds memory up to their limit, that of results apart.
 */
typedef struct PlmExplainer PlmExplainer;
PlmStatus	plm_explainer_open(const PlmModel *model, const PlmOptions *options, PlmExplainer **out, PlmError *err);
void		plm_explainer_close(PlmExplainer *explainer);

/* out's arrays live in the arena.  PLM_EARG when the side has no tokens, or more than the model sees, unless truncated. */
PlmStatus	plm_explain(PlmExplainer *explainer, const PlmExplainTask *task, const PlmOptions *options, PlmArena *arena,
						PlmExplanation *out, PlmError *err);

/*
 * Where the text's vector is the mean of its tokens' hidden states and nothing comes between it and unit length, the cosine is a sum
 * over tokens as it stands, and contributions (n) that of each: they add up to value.  PLM_EUNSUPPORTED for other models.
 */
PlmStatus	plm_explain_pooling(const PlmModel *model, const PlmExplainTask *task, const PlmOptions *options, PlmArena *arena,
								PlmExplanation *out, PlmError *err);

/*
 * A baseline: attention rollout, the share of each token in what the head reads.  Contributions (n) of all tokens add up to 1 and say
 * nothing of the number itself: value and base are 0, error is NaN.  For models of any precision.
 */
PlmStatus	plm_explain_attention(const PlmModel *model, const PlmExplainTask *task, const PlmOptions *options, PlmArena *arena,
								  PlmExplanation *out, PlmError *err);

#endif							/* PLM_MODEL_H */
