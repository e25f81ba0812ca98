/*
 * random_model.h -- model directories made up in memory: for unit tests, benchmarks and fuzz targets.
 *
 * Any shape, architecture, head and file type, with random weights; the same seed gives the same bytes.
 */
#ifndef RANDOM_MODEL_H
#define RANDOM_MODEL_H

#include "../../src/engine/model/plm_model.h"

/* What to make.  random_model_defaults() gives a tiny BERT that embeds by the mean. */
typedef struct RandomModel
{
	const char *model_type;		/* "bert", "distilbert" */
	const char *architecture;	/* "BertModel", "BertForSequenceClassification", ... */
	int32_t		vocab, width, layers, heads, ff, positions, types;
	const char *act;			/* as config.json writes it: "gelu", "gelu_new", "relu", "silu" */
	/* files */
	PlmType		type;			/* F32, F16, BF16 */
	int			shards;			/* 1: model.safetensors; more: with an index */
	bool		prefix;			/* encoder names start with the architecture's name */
	bool		old_norms;		/* LayerNorm.gamma, LayerNorm.beta */
	uint64_t	seed;
	double		deviation;		/* of weights: 0.02 .. 0.1 */
	/* heads */
	bool		pooler;			/* BERT only */
	int32_t		labels;			/* 0: no classifier */
	const char *problem;		/* problem_type, or NULL */
	bool		mask_head;
	bool		tied;
	/* sentence-transformers modules; pooling NULL: no modules.json */
	const char *pooling[4];		/* "cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "lasttoken" */
	int32_t		dense[2];		/* widths of Dense modules; 0: none */
	bool		dense_bias;
	const char *dense_act;		/* "Tanh", "Identity" */
	const char *prompt_query;	/* or NULL */
	const char *prompt_document;
	const char *product_llm;	/* text of product_llm.json, or NULL; may name the pooling "pooler", as pooling[0] then must */
	/* faults, each naming a tensor by its plain name, or NULL */
	const char *omit;
	const char *reshape;		/* first dimension one too large */
	const char *nan;			/* NaN at index 3 */
} RandomModel;

typedef struct RandomTensor
{
	char		base[96];		/* plain name: without prefix, with LayerNorm.weight */
	char		name[112];		/* as written */
	int			folder;			/* 0: the model; i: Dense module i */
	int			rank;
	int64_t		shape[2];
	PlmType		type;
	double		mean, deviation;
	uint64_t	key;			/* stream of random numbers */
	bool		nan;
} RandomTensor;

typedef struct RandomFiles
{
	PlmFileSet	set;
	RandomTensor *tensors;
	int64_t		n;
} RandomFiles;

RandomModel random_model_defaults(void);

/* The files, in the arena (NULL sources are never returned: false means that memory was refused). */
bool		random_model_files(const RandomModel *spec, PlmArena *arena, RandomFiles *out);

/* Element i of a tensor, as the file has it after rounding to its type. */
float		random_tensor_value(const RandomTensor *t, int64_t i);
const RandomTensor *random_tensor_find(const RandomFiles *files, const char *base);

/* Token `id` of vocab.txt as text; returns its length.  Ids 5 .. vocab-1 that do not start with "##" are words by themselves. */
int			random_token(int32_t id, char *out, size_t size);

/* A packed model in a temporary file that is already unlinked. */
typedef struct TestModel
{
	PlmPackedFile file;
	PlmModel   *model;
} TestModel;

PlmStatus	test_model_open(const PlmFileSet *set, PlmPrecision precision, PlmArena *arena, TestModel *out, PlmError *err);
void		test_model_close(TestModel *m);

#endif							/* RANDOM_MODEL_H */
