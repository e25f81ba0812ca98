/*
 * plm_file.h -- read-only views of model files: safetensors, Hugging Face configuration, packed cache.
 *
 * Files come as PlmSource, because the glue keeps them as chunks in a table: nothing here needs a
 * whole file in memory, except the small JSON ones.  Nothing from a file is trusted: every length
 * and offset is checked against the bytes that are there before it is used.
 */
#ifndef PLM_FILE_H
#define PLM_FILE_H

#include "../num/plm_num.h"

/* ---- sources: file/source.c ---- */

/* read: copy [offset, offset + len) to dst; the range is inside the size.  Main thread only. */
typedef struct PlmSource
{
	char		name[256];		/* relative path within the model directory, with '/' */
	uint64_t	size;
	PlmStatus	(*read) (void *arg, uint64_t offset, size_t len, void *dst, PlmError *err);
	void	   *arg;
} PlmSource;

typedef struct PlmFileSet
{
	const PlmSource *files;
	int			n;
} PlmFileSet;

const PlmSource *plm_file_find(const PlmFileSet *set, const char *name);	/* NULL: absent */

/* The whole of a small file, NUL-terminated, from the arena; refuses more than `limit` bytes. data NULL when absent. */
PlmStatus	plm_file_text(const PlmFileSet *set, const char *name, size_t limit, PlmArena *arena,
						  PlmText *out, PlmError *err);

/* A source over memory, for tests and for small files. */
PlmSource	plm_source_memory(const char *name, const void *data, size_t bytes);

/* A directory of the operating system, read with pread (unit tests, benchmarks). Close with plm_directory_close. */
PlmStatus	plm_directory_open(const char *path, PlmArena *arena, PlmFileSet *set, PlmError *err);
void		plm_directory_close(PlmFileSet *set);

/* True for a relative path of plain segments: no "..", no leading '/', no backslash, no control characters, at most 255 bytes. */
bool		plm_path_is_safe(const char *path);

/* Is it a file that belongs to a model (weights, configuration, tokenizer, card)? Others are not loaded. */
bool		plm_file_is_wanted(const char *path);

/* ---- safetensors: file/safetensors.c ---- */

#define PLM_MAX_RANK 8

typedef struct PlmTensor
{
	const char *name;
	PlmType		type;
	int			rank;
	int64_t		shape[PLM_MAX_RANK];
	int64_t		elements;
	const PlmSource *source;
	uint64_t	offset;			/* of the data within the source */
	uint64_t	bytes;
} PlmTensor;

/* All tensors of a model, sorted by name. */
typedef struct PlmTensorSet
{
	int64_t		n;
	PlmTensor  *tensors;
} PlmTensorSet;

/*
 * Read the header(s): model.safetensors, or model.safetensors.index.json and its shards.  Refuses:
 * truncation, headers over 100 MB, unknown types, shapes whose product does not match the bytes,
 * overlapping tensors, holes, names given twice, shards that the index names and are absent.
 */
PlmStatus	plm_tensors_open(const PlmFileSet *set, PlmArena *arena, PlmTensorSet *out, PlmError *err);
const PlmTensor *plm_tensor_find(const PlmTensorSet *set, const char *name);

/* Rows [first, first + rows) of a tensor seen as (shape[0], rest), converted to fp32; a scratch comes from the arena. */
PlmStatus	plm_tensor_read(const PlmTensor *tensor, int64_t first, int64_t count, float *dst,
							PlmArena *arena, PlmError *err);	/* first, count: elements */

/* ---- configuration: file/config.c, the only reader of Hugging Face's keys ---- */

typedef enum PlmPooling
{
	PLM_POOL_MEAN = 0, PLM_POOL_CLS, PLM_POOL_MAX, PLM_POOL_MEAN_SQRT, PLM_POOL_LAST, PLM_POOL_POOLER
} PlmPooling;

typedef enum PlmTaskKind
{
	PLM_TASK_EMBEDDING = 0, PLM_TASK_CLASSIFICATION, PLM_TASK_RANKING, PLM_TASK_MASKED_LM,
	PLM_TASK_TOKENIZER			/* a tokenizer alone, without weights */
} PlmTaskKind;

const char *plm_task_name(PlmTaskKind task);	/* embedding, classification, ranking, masked_lm, tokenizer */

typedef enum PlmProblem
{
	PLM_PROBLEM_SINGLE = 0, PLM_PROBLEM_MULTI, PLM_PROBLEM_REGRESSION
} PlmProblem;

#define PLM_MAX_DENSE 4
#define PLM_MAX_LABELS 4096

/* A Dense module of a sentence-transformers directory; its weights are in <folder>/model.safetensors. */
typedef struct PlmDense
{
	char		folder[64];
	int32_t		in, out;
	int32_t		bias;			/* 0, 1 */
	int32_t		activation;		/* PlmActivation */
} PlmDense;

/*
 * All that the engine must know besides weights and tokenizer, as features.  Plain data without
 * pointers: it is stored in the packed file as it stands (PLM_CONFIG_VERSION guards its layout).
 */
#define PLM_CONFIG_VERSION 1
typedef struct PlmConfig
{
	int32_t		version;
	char		model_type[32];	/* "bert", "distilbert": key into the registry of architectures */
	char		architecture[64];	/* "BertForMaskedLM" */
	int32_t		task;			/* PlmTaskKind: what the directory is for; with a Pooling module EMBEDDING, whatever the head */
	/* the transformer */
	int32_t		vocab;			/* V */
	int32_t		width;			/* C */
	int32_t		layers;			/* L */
	int32_t		heads;			/* H */
	int32_t		ff;				/* F */
	int32_t		positions;		/* rows of the position table */
	int32_t		types;			/* rows of the token-type table; 0: none */
	int32_t		activation;		/* PlmActivation of the feed-forward */
	float		norm_eps;
	int32_t		pad_token;		/* -1: none */
	/* sentence embedding */
	int32_t		pooling[6];		/* PlmPooling, concatenated in the order that sentence-transformers uses */
	int32_t		n_pooling;
	int32_t		n_dense;
	PlmDense	dense[PLM_MAX_DENSE];
	int32_t		normalize;		/* the directory has a Normalize module; embed() returns unit length in any case */
	int32_t		dimensions;		/* of embed()'s result */
	int32_t		max_tokens;		/* max_seq_length, else model_max_length, else positions; never more than positions */
	char		prompt_query[256];	/* put before the text; empty: none */
	char		prompt_document[256];
	/* sequence classification and ranking */
	int32_t		labels;			/* rows of the classifier; 0: no such head */
	int32_t		problem;		/* PlmProblem */
	int32_t		score_activation;	/* PlmActivation of a ranking score: NONE or SIGMOID */
	/* masked language modelling */
	int32_t		tied;			/* the decoder shares the word embeddings */
} PlmConfig;

/*
 * Read config.json, modules.json and its folders, sentence_bert_config.json, tokenizer_config.json's
 * model_max_length, config_sentence_transformers.json's prompts, and our own product_llm.json
 * ({"prompts": {"query": ..., "document": ...}, "pooling": "mean", "precision": ...}), which wins.
 * pooling: mean, cls, max, mean_sqrt_len, last or pooler (for a directory without Dense modules).
 * labels: (config->labels) names from id2label, in the arena.
 *
 * A tokenizer alone is a model, too: without config.json, and with {"task": "tokenizer"} in product_llm.json.  Then only
 * task, architecture ("BertTokenizer"), and max_tokens (512 when not said) are set, and the vocabulary is the tokenizer's.
 */
PlmStatus	plm_config_read(const PlmFileSet *set, PlmArena *arena, PlmConfig *config,
							PlmText **labels, PlmError *err);

/* "precision" of product_llm.json, else PLM_PREC_F32. */
PlmStatus	plm_config_precision(const PlmFileSet *set, PlmArena *arena, PlmPrecision *precision, PlmError *err);

/* The name of the architecture that a trained model of that family and task has; next: with a next-sentence head. NULL: none. */
const char *plm_config_architecture(const char *model_type, PlmTaskKind task, bool next);

/* ---- configuration, written: file/config_write.c.  Texts live in the arena. ---- */

/*
 * config.json of a trained model: the original (a valid one), with architecture, labels (config->labels), problem and
 * type ("float32", "float16") as the configuration has them.
 */
PlmStatus	plm_config_write(PlmText original, const PlmConfig *config, const PlmText *labels, const char *type,
							 PlmArena *arena, PlmText *out, PlmError *err);
/* config.json of a BERT that has no weights yet. */
/* A model's config.json, valid, with another number of tokens. */
PlmStatus	plm_config_resized(PlmText original, int32_t vocab, PlmArena *arena, PlmText *out, PlmError *err);
PlmStatus	plm_config_fresh(int32_t vocab, int32_t width, int32_t layers, int32_t heads, int32_t ff, int32_t positions,
							 PlmArena *arena, PlmText *out, PlmError *err);
/* modules.json and 1_Pooling/config.json of a model that embeds by the mean. */
PlmStatus	plm_config_pooling(int32_t width, PlmArena *arena, PlmText *modules, PlmText *pooling, PlmError *err);

/* ---- the packed cache file: file/packed.c ---- */

/*
 * Layout: header {magic, versions, total bytes, key, section count, checksum of header and directory},
 * directory of sections {name, kind, precision, shape, offset, bytes, checksum}, sections at 64-byte
 * multiples.  Machine-native: a cache, not an interchange format.
 */
#define PLM_KEY_BYTES 32		/* sha-256 of the model's content and precision */

typedef struct PlmSection
{
	char		name[96];		/* a parameter's role ("blk.3.attn_q.w"), or "config", "tokenizer", "labels" */
	int32_t		packed;			/* 1: PlmPacked data of this precision; 0: plain (float or bytes) */
	int32_t		precision;		/* PlmPrecision */
	int64_t		rows, cols;		/* a vector has rows = 1; bytes have rows = 1, cols = bytes */
	uint64_t	offset;
	uint64_t	bytes;
	uint64_t	checksum;
} PlmSection;

/* While building: sections are declared first (so that the size is known), then filled in place. */
typedef struct PlmPackedWriter PlmPackedWriter;

/*
 * Create `path` with room for the sections (offsets are filled in), all of it allocated on disk before
 * it is mapped: a full disk is PLM_EDISKFULL here and never a SIGBUS later.
 */
PlmStatus	plm_packed_create(const char *path, const unsigned char key[PLM_KEY_BYTES], PlmSection *sections,
							  int64_t n, PlmArena *arena, PlmPackedWriter **writer, PlmError *err);
void	   *plm_packed_data(PlmPackedWriter *writer, int64_t section);
/* Checksums, fsync, rename to `final`, fsync of the folder.  The writer is gone either way; on failure so is its file. */
PlmStatus	plm_packed_finish(PlmPackedWriter *writer, const char *final, PlmError *err);
void		plm_packed_abort(PlmPackedWriter *writer);

/* A read-only shared mapping. */
typedef struct PlmPackedFile
{
	const unsigned char *base;
	size_t		bytes;
	int64_t		n;
	const PlmSection *sections;
} PlmPackedFile;

/*
 * Map and verify: versions, key, bounds, alignment, all checksums.  PLM_ENOTFOUND when there is no such
 * file, PLM_ECORRUPT when it must be rebuilt.
 */
PlmStatus	plm_packed_open(const char *path, const unsigned char key[PLM_KEY_BYTES], PlmPackedFile *file, PlmError *err);
void		plm_packed_close(PlmPackedFile *file);
const PlmSection *plm_packed_find(const PlmPackedFile *file, const char *name);

#endif							/* PLM_FILE_H */
