/*
 * pack.c -- model files to a packed file: checking all of it, and writing it.
 */
#include "internal.h"
#include "params.h"

#include <stdio.h>
#include <string.h>

#define TOKENIZER_BYTES ((size_t) 64 * 1024 * 1024)	/* largest text file of a tokenizer; the largest known has 17 MB */
#define CONFIG_BYTES ((size_t) 1024 * 1024)

/* All that is known about a model's files once they have been read through. */
typedef struct Files
{
	PlmConfig	config;
	PlmText    *labels;
	void	   *blob;			/* the compiled tokenizer */
	size_t		blob_bytes;
	PlmParamPlan plan;
} Files;

PlmStatus
plm_model_tokenizer_compile(const PlmFileSet *set, PlmConfig *config, PlmArena *arena, void **blob, size_t *bytes,
							PlmError *err)
{
	PlmTokenizerFiles files;
	PlmTokenizer tokenizer;

	PLM_TRY(plm_file_text(set, "tokenizer.json", TOKENIZER_BYTES, arena, &files.tokenizer_json, err));
	PLM_TRY(plm_file_text(set, "vocab.txt", TOKENIZER_BYTES, arena, &files.vocab_txt, err));
	PLM_TRY(plm_file_text(set, "tokenizer_config.json", TOKENIZER_BYTES, arena, &files.tokenizer_config_json, err));
	PLM_TRY(plm_file_text(set, "special_tokens_map.json", CONFIG_BYTES, arena, &files.special_tokens_map_json, err));
	PLM_TRY(plm_file_text(set, "added_tokens.json", TOKENIZER_BYTES, arena, &files.added_tokens_json, err));
	PLM_TRY(plm_tokenizer_compile(&files, arena, blob, bytes, err));
	PLM_TRY(plm_tokenizer_open(*blob, *bytes, &tokenizer, err));
	if (config->task == PLM_TASK_TOKENIZER)
		config->vocab = tokenizer.tokens;
	if (tokenizer.tokens > config->vocab)
		return plm_fail(err, PLM_ECORRUPT, 0, "the tokenizer has %" PRId32 " tokens, the configuration's vocabulary only %"
						PRId32, tokenizer.tokens, config->vocab);
	return PLM_OK;
}

static PlmStatus
read_files(const PlmFileSet *set, PlmPrecision precision, PlmArena *arena, Files *f, PlmError *err)
{
	memset(f, 0, sizeof(*f));
	PLM_TRY(plm_config_read(set, arena, &f->config, &f->labels, err));
	if (f->config.task != PLM_TASK_TOKENIZER)
		PLM_TRY(plm_params_resolve(set, &f->config, precision, arena, &f->plan, err));
	return plm_model_tokenizer_compile(set, &f->config, arena, &f->blob, &f->blob_bytes, err);
}

PlmStatus
plm_model_check(const PlmFileSet *set, PlmArena *arena, PlmModelInfo *info, PlmError *err)
{
	Files		f;

	memset(info, 0, sizeof(*info));
	PLM_TRY(plm_config_precision(set, arena, &info->precision, err));
	PLM_TRY(read_files(set, info->precision, arena, &f, err));
	if (f.config.task == PLM_TASK_TOKENIZER)
		info->precision = PLM_PREC_F32;
	for (int64_t i = 0; i < f.plan.n; i++)
	{
		PLM_TRY(plm_param_read(&f.plan.params[i], NULL, arena, err));
		info->parameters += f.plan.params[i].rows * f.plan.params[i].cols;
	}
	info->config = f.config;
	info->labels = f.config.labels;
	info->label = f.labels;
	return PLM_OK;
}

/* ---- sections ---- */

static size_t
label_bytes(const Files *f)
{
	size_t		bytes = sizeof(uint32_t);

	for (int32_t i = 0; i < f->config.labels; i++)
		bytes += sizeof(uint32_t) + f->labels[i].len;
	return bytes;
}

static void
write_labels(const Files *f, unsigned char *to)
{
	uint32_t	count = (uint32_t) f->config.labels;

	memcpy(to, &count, sizeof(count));
	to += sizeof(count);
	for (int32_t i = 0; i < f->config.labels; i++)
	{
		uint32_t	len = (uint32_t) f->labels[i].len;

		memcpy(to, &len, sizeof(len));
		if (len > 0)
			memcpy(to + sizeof(len), f->labels[i].data, len);
		to += sizeof(len) + len;
	}
}

static PlmSection
blob_section(const char *name, size_t bytes)
{
	PlmSection	s = {.rows = 1, .cols = (int64_t) bytes, .bytes = bytes};

	snprintf(s.name, sizeof(s.name), "%s", name);
	return s;
}

/* Read all parameters of one section, stacked, to fp32 memory. */
static PlmStatus
read_stacked(const Files *f, int64_t section, float *to, PlmArena *arena, PlmError *err)
{
	for (int64_t i = 0; i < f->plan.n; i++)
		if (f->plan.params[i].section == section)
			PLM_TRY(plm_param_read(&f->plan.params[i], to + f->plan.params[i].at, arena, err));
	return PLM_OK;
}

/* Plain sections are read in place; packed ones by way of an fp32 copy of the whole weight. */
static PlmStatus
fill_section(const Files *f, int64_t section, void *data, PlmArena *arena, PlmError *err)
{
	const PlmSection *s = &f->plan.sections[section];
	PlmMark		mark = plm_arena_mark(arena);
	size_t		bytes = (size_t) s->rows * (size_t) s->cols * sizeof(float);
	float	   *w;

	if (!s->packed)
		return read_stacked(f, section, data, arena, err);
	w = plm_arena_alloc(arena, bytes);
	if (w == NULL)
		return plm_arena_refused(arena, bytes, err);
	PLM_TRY(read_stacked(f, section, w, arena, err));
	plm_pack((PlmPrecision) s->precision, s->rows, s->cols, w, data);
	plm_arena_rewind(arena, mark);
	return PLM_OK;
}

/* The parameters' sections, then configuration, tokenizer and labels. */
static PlmStatus
list_sections(const Files *f, PlmArena *arena, PlmSection **out, int64_t *n, PlmError *err)
{
	int64_t		of_params = f->plan.n_sections;
	size_t		bytes = (size_t) (of_params + 3) * sizeof(PlmSection);
	PlmSection *s = plm_arena_alloc(arena, bytes);

	if (s == NULL)
		return plm_arena_refused(arena, bytes, err);
	if (of_params > 0)
		memcpy(s, f->plan.sections, (size_t) of_params * sizeof(PlmSection));
	s[of_params] = blob_section("config", sizeof(PlmConfig));
	s[of_params + 1] = blob_section("tokenizer", f->blob_bytes);
	s[of_params + 2] = blob_section("labels", label_bytes(f));
	*out = s;
	*n = of_params + 3;
	return PLM_OK;
}

static PlmStatus
fill_all(const Files *f, PlmPackedWriter *writer, PlmArena *arena, PlmError *err)
{
	int64_t		n = f->plan.n_sections;

	for (int64_t i = 0; i < n; i++)
		PLM_TRY(fill_section(f, i, plm_packed_data(writer, i), arena, err));
	memcpy(plm_packed_data(writer, n), &f->config, sizeof(PlmConfig));
	memcpy(plm_packed_data(writer, n + 1), f->blob, f->blob_bytes);
	write_labels(f, plm_packed_data(writer, n + 2));
	return PLM_OK;
}

PlmStatus
plm_model_pack(const PlmFileSet *set, PlmPrecision precision, const unsigned char key[PLM_KEY_BYTES],
			   const char *temporary, const char *path, PlmArena *arena, PlmError *err)
{
	Files		f;
	PlmSection *sections = NULL;
	int64_t		n = 0;
	PlmPackedWriter *writer;
	PlmStatus	status;

	PLM_TRY(read_files(set, precision, arena, &f, err));
	PLM_TRY(list_sections(&f, arena, &sections, &n, err));
	PLM_TRY(plm_packed_create(temporary, key, sections, n, arena, &writer, err));
	status = fill_all(&f, writer, arena, err);
	if (status != PLM_OK)
	{
		plm_packed_abort(writer);
		return status;
	}
	return plm_packed_finish(writer, path, err);
}
