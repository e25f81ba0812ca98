/*
 * model.c -- an opened model: sections bound to the fields that computing uses: those of a
 * packed file, or the memory of a model in training.
 *
 * The file is checksummed, yet nothing in it is trusted: the configuration is validated again, and
 * every section must have the shape that it implies.
 */
#include "internal.h"
#include "params.h"

#include <stdio.h>
#include <string.h>

/* A plan's sections, and where the data of each lies. */
typedef struct Opening
{
	const PlmParamPlan *plan;
	const void *const *data;	/* (plan->n_sections) */
	PlmModel   *model;
} Opening;

static PlmStatus
find_blob(const PlmPackedFile *file, const char *name, const PlmSection **out, PlmError *err)
{
	*out = plm_packed_find(file, name);
	if (*out == NULL || (*out)->packed)
		return plm_fail(err, PLM_ECORRUPT, 0, "packed file has no section \"%s\"", name);
	return PLM_OK;
}

static PlmStatus
read_config(const PlmPackedFile *file, PlmConfig *config, PlmError *err)
{
	const PlmSection *s;

	PLM_TRY(find_blob(file, "config", &s, err));
	if (s->bytes != sizeof(PlmConfig))
		return plm_fail(err, PLM_ECORRUPT, 0, "packed configuration has %" PRIu64 " bytes, not %zu",
						s->bytes, sizeof(PlmConfig));
	memcpy(config, file->base + s->offset, sizeof(PlmConfig));
	if (config->version != PLM_CONFIG_VERSION)
		return plm_fail(err, PLM_ECORRUPT, 0, "packed configuration has version %" PRId32 ", not %d",
						config->version, PLM_CONFIG_VERSION);
	config->model_type[sizeof(config->model_type) - 1] = '\0';
	config->architecture[sizeof(config->architecture) - 1] = '\0';
	config->prompt_query[sizeof(config->prompt_query) - 1] = '\0';
	config->prompt_document[sizeof(config->prompt_document) - 1] = '\0';
	return plm_config_validate(config, err);
}

/* uint32 number of labels, then uint32 length and bytes for each. */
static PlmStatus
read_labels(const PlmPackedFile *file, PlmArena *arena, PlmModel *model, PlmError *err)
{
	int32_t		n = model->config.labels;
	const PlmSection *s;
	const unsigned char *at;
	uint64_t	left;
	uint32_t	count = 0;

	PLM_TRY(find_blob(file, "labels", &s, err));
	model->labels = plm_arena_array(arena, (size_t) n, sizeof(PlmText));
	if (model->labels == NULL)
		return plm_arena_refused(arena, (size_t) n * sizeof(PlmText), err);
	at = file->base + s->offset;
	left = s->bytes;
	if (left >= sizeof(count))
		memcpy(&count, at, sizeof(count));
	if (left < sizeof(count) || count != (uint32_t) n)
		return plm_fail(err, PLM_ECORRUPT, 0, "packed file has %" PRIu32 " labels, not %" PRId32, count, n);
	at += sizeof(count);
	left -= sizeof(count);
	for (int32_t i = 0; i < n; i++)
	{
		uint32_t	len = 0;

		if (left >= sizeof(len))
			memcpy(&len, at, sizeof(len));
		if (left < sizeof(len) || len > left - sizeof(len))
			return plm_fail(err, PLM_ECORRUPT, 0, "packed file ends within label %" PRId32, i);
		model->labels[i] = (PlmText) {(const char *) at + sizeof(len), len};
		at += sizeof(len) + len;
		left -= sizeof(len) + len;
	}
	return PLM_OK;
}

/* Compare each planned section with the file's; `parts` tells which parts are complete. */
static PlmStatus
check_sections(const PlmPackedFile *file, const PlmParamPlan *plan, bool *parts, PlmError *err)
{
	memcpy(parts, plan->part, sizeof(plan->part));
	for (int64_t i = 0; i < plan->n; i++)
	{
		const PlmSection *want = &plan->sections[plan->params[i].section];
		const PlmSection *has = plm_packed_find(file, want->name);
		PlmPart		part = plan->params[i].spec->part;

		if (has == NULL && part != PLM_PART_ENCODER && part != PLM_PART_DENSE)
		{
			parts[part] = false;
			continue;
		}
		if (has == NULL)
			return plm_fail(err, PLM_ECORRUPT, 0, "packed file has no section \"%s\"", want->name);
		if (has->packed != want->packed || has->precision != want->precision ||
			has->rows != want->rows || has->cols != want->cols || has->bytes != want->bytes)
			return plm_fail(err, PLM_ECORRUPT, 0, "packed section \"%s\" is %" PRId64 " by %" PRId64
							", the configuration needs %" PRId64 " by %" PRId64 " in %s", want->name,
							has->rows, has->cols, want->rows, want->cols,
							plm_precision_name((PlmPrecision) want->precision));
	}
	return PLM_OK;
}

/* The index of a section by its name, or -1. */
static int64_t
section(const Opening *o, const char *stem, const char *suffix)
{
	char		role[96];

	snprintf(role, sizeof(role), "%s%s", stem, suffix);
	for (int64_t i = 0; i < o->plan->n_sections; i++)
		if (strcmp(o->plan->sections[i].name, role) == 0)
			return i;
	return -1;
}

static const float *
floats(const Opening *o, const char *stem, const char *suffix)
{
	int64_t		i = section(o, stem, suffix);

	return i >= 0 ? o->data[i] : NULL;
}

static PlmLinear
linear(const Opening *o, const char *stem)
{
	int64_t		i = section(o, stem, ".w");
	const PlmSection *s;

	if (i < 0)
		return (PlmLinear) {{0}, NULL};
	s = &o->plan->sections[i];
	return (PlmLinear) {{(PlmPrecision) s->precision, s->rows, s->cols, o->data[i]}, floats(o, stem, ".b")};
}

static PlmNorm
norm(const Opening *o, const char *stem)
{
	return (PlmNorm) {floats(o, stem, ".g"), floats(o, stem, ".b")};
}

static void
bind_block(const Opening *o, int32_t l, PlmBlock *blk)
{
	static const char *const linears[] = {"attn_qkv", "attn_out", "ff_up", "ff_down"};
	PlmLinear  *to[] = {&blk->qkv, &blk->attn_out, &blk->ff_up, &blk->ff_down};
	char		stem[64];

	for (int i = 0; i < PLM_COUNT(to); i++)
	{
		snprintf(stem, sizeof(stem), "blk.%" PRId32 ".%s", l, linears[i]);
		*to[i] = linear(o, stem);
	}
	snprintf(stem, sizeof(stem), "blk.%" PRId32 ".attn_norm", l);
	blk->attn_norm = norm(o, stem);
	snprintf(stem, sizeof(stem), "blk.%" PRId32 ".ff_norm", l);
	blk->ff_norm = norm(o, stem);
}

void
plm_model_bind(PlmModel *m, const PlmParamPlan *plan, const void *const *data)
{
	const Opening opening = {plan, data, m};
	const Opening *o = &opening;
	char		stem[64];

	m->tok_embd = floats(o, "tok_embd", "");
	m->pos_embd = floats(o, "pos_embd", "");
	m->type_embd = floats(o, "type_embd", "");
	m->embd_norm = norm(o, "embd_norm");
	for (int32_t l = 0; l < m->config.layers; l++)
		bind_block(o, l, &m->blocks[l]);
	m->pooler = linear(o, "pooler");
	for (int32_t i = 0; i < m->config.n_dense; i++)
	{
		snprintf(stem, sizeof(stem), "dense.%" PRId32, i);
		m->dense[i] = linear(o, stem);
	}
	m->classifier_dense = linear(o, m->arch->classifier_dense);
	m->classifier = linear(o, "classifier");
	m->mask_dense = linear(o, "mask_dense");
	m->mask_norm = norm(o, "mask_norm");
	m->next = linear(o, "next");
	m->mask_decoder = m->config.tied ? m->tok_embd : floats(o, "mask_decoder", ".w");
	m->mask_bias = floats(o, "mask_decoder", ".b");
	m->precision = m->blocks[0].qkv.w.precision;
}

/* Which precision the file was packed in: that of its first linear weight. */
static PlmStatus
file_precision(const PlmPackedFile *file, PlmPrecision *precision, PlmError *err)
{
	const PlmSection *s = plm_packed_find(file, "blk.0.attn_qkv.w");

	if (s == NULL || s->precision < 0 || s->precision >= PLM_PRECISIONS)
		return plm_fail(err, PLM_ECORRUPT, 0, "packed file has no weights of a known precision");
	*precision = (PlmPrecision) s->precision;
	return PLM_OK;
}

/* The plan is needed only while opening: it has an arena of its own. */
static PlmStatus
bind_file(const PlmPackedFile *file, PlmModel *model, PlmArena *work, PlmError *err)
{
	PlmParamPlan plan;
	PlmPrecision precision = PLM_PREC_F32;
	const void **data;

	PLM_TRY(file_precision(file, &precision, err));
	PLM_TRY(plm_params_plan(model->arch, &model->config, precision, NULL, work, &plan, err));
	PLM_TRY(check_sections(file, &plan, model->part, err));
	PLM_TRY(plm_params_plan(model->arch, &model->config, precision, model->part, work, &plan, err));
	data = plm_arena_array(work, (size_t) plan.n_sections, sizeof(*data));
	if (data == NULL)
		return plm_arena_refused(work, (size_t) plan.n_sections * sizeof(*data), err);
	for (int64_t i = 0; i < plan.n_sections; i++)
		data[i] = file->base + plm_packed_find(file, plan.sections[i].name)->offset;
	plm_model_bind(model, &plan, data);
	return PLM_OK;
}

static PlmStatus
open_model(const PlmPackedFile *file, PlmArena *arena, PlmArena *work, PlmModel **out, PlmError *err)
{
	PlmModel   *m = plm_arena_zero(arena, sizeof(PlmModel));
	const PlmSection *tokenizer;

	if (m == NULL)
		return plm_arena_refused(arena, sizeof(PlmModel), err);
	PLM_TRY(read_config(file, &m->config, err));
	PLM_TRY(find_blob(file, "tokenizer", &tokenizer, err));
	PLM_TRY(plm_tokenizer_open(file->base + tokenizer->offset, (size_t) tokenizer->bytes, &m->tokenizer, err));
	if (m->tokenizer.tokens > m->config.vocab)
		return plm_fail(err, PLM_ECORRUPT, 0, "tokenizer has %" PRId32 " tokens, the vocabulary %" PRId32,
						m->tokenizer.tokens, m->config.vocab);
	PLM_TRY(read_labels(file, arena, m, err));
	if (m->config.task == PLM_TASK_TOKENIZER)
	{
		m->precision = PLM_PREC_F32;
		*out = m;
		return PLM_OK;
	}
	PLM_TRY(plm_arch_find(m->config.model_type, &m->arch, err));
	m->blocks = plm_arena_zero(arena, (size_t) m->config.layers * sizeof(PlmBlock));
	if (m->blocks == NULL)
		return plm_arena_refused(arena, (size_t) m->config.layers * sizeof(PlmBlock), err);
	PLM_TRY(bind_file(file, m, work, err));
	*out = m;
	return PLM_OK;
}

PlmStatus
plm_model_open(const PlmPackedFile *file, PlmArena *arena, PlmModel **model, PlmError *err)
{
	PlmArena	work;
	PlmStatus	status;

	plm_arena_init(&work, arena->hook, arena->limit);
	status = open_model(file, arena, &work, model, err);
	plm_arena_free(&work);
	return status;
}

/* ---- what a model says of itself ---- */

const PlmConfig *
plm_model_config(const PlmModel *model)
{
	return &model->config;
}

const PlmTokenizer *
plm_model_tokenizer(const PlmModel *model)
{
	return &model->tokenizer;
}

PlmText
plm_model_label(const PlmModel *model, int64_t i)
{
	return i >= 0 && i < model->config.labels ? model->labels[i] : PLM_TEXT("");
}

PlmPrecision
plm_model_precision(const PlmModel *model)
{
	return model->precision;
}

PlmStatus
plm_weights_needed(const PlmModel *model, PlmError *err)
{
	if (model->config.task != PLM_TASK_TOKENIZER)
		return PLM_OK;
	return plm_fail(err, PLM_EARG, 0, "the model is a tokenizer alone and has no weights");
}

bool
plm_model_can(const PlmModel *model, PlmTaskKind task)
{
	bool		classifies;

	if (model->config.task == PLM_TASK_TOKENIZER)
		return task == PLM_TASK_TOKENIZER;
	classifies = model->config.labels > 0 && model->part[PLM_PART_CLASSIFIER] && model->part[model->arch->classifier_part];
	switch (task)
	{
		case PLM_TASK_EMBEDDING:
			return plm_embed_possible(model, NULL) == PLM_OK;
		case PLM_TASK_CLASSIFICATION:
			return classifies;
		case PLM_TASK_RANKING:
			return classifies && model->config.labels == 1;
		case PLM_TASK_MASKED_LM:
			return plm_mask_possible(model, NULL) == PLM_OK;
		case PLM_TASK_TOKENIZER:
			return true;
	}
	return false;
}
