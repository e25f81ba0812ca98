/*
 * files.c -- the trained model as the files of a Hugging Face directory, in a stream: nothing is held twice.
 */
#include "internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define NAME_BYTES 192
#define CONFIG_BYTES ((size_t) 1 << 20)

typedef struct Output
{
	PlmTrainer *t;
	PlmType		type;
	PlmFileBegin begin;
	PlmWrite	write;
	void	   *arg;
	const float *w;				/* the best weights, or the last */
	char	   *piece;			/* (PIECE_FLOATS) in the type */
	char		architecture[64];
} Output;

static PlmStatus
begin_file(Output *o, const char *name, uint64_t size, PlmError *err)
{
	PlmTrainedFile file = {.size = size};

	snprintf(file.name, sizeof(file.name), "%s", name);
	return o->begin(o->arg, &file, err);
}

static PlmStatus
text_file(Output *o, const char *name, PlmText text, PlmError *err)
{
	PLM_TRY(begin_file(o, name, text.len, err));
	return text.len > 0 ? o->write(o->arg, text.data, text.len, err) : PLM_OK;
}

/* ---- config.json ---- */

/* Embedding models keep the name they have, other models get that of their head. */
static void
choose_architecture(Output *o)
{
	const PlmTrainer *t = o->t;
	const PlmConfig *c = &t->model.config;
	bool		next = t->model.part[PLM_PART_NEXT];
	PlmTaskKind task = t->model.part[PLM_PART_MASK] ? PLM_TASK_MASKED_LM : t->code->task;
	const char *name = plm_config_architecture(c->model_type, task, next);

	snprintf(o->architecture, sizeof(o->architecture), "%s", name != NULL ? name : c->architecture);
}

static PlmStatus
write_config(Output *o, PlmError *err)
{
	PlmTrainer *t = o->t;
	PlmConfig	config = t->model.config;
	PlmText		label = PLM_TEXT("LABEL_0");
	PlmText		original;
	PlmText		text;

	memcpy(config.architecture, o->architecture, sizeof(config.architecture));
	if (config.labels > 0)
		config.task = (int32_t) t->code->task;
	PLM_TRY(plm_file_text(t->files, "config.json", CONFIG_BYTES, &t->step, &original, err));
	PLM_TRY(plm_config_write(original, &config, t->code->task == PLM_TASK_RANKING ? &label : t->labels,
							 o->type == PLM_F16 ? "float16" : "float32", &t->step, &text, err));
	return text_file(o, "config.json", text, err);
}

/* ---- weights ---- */

/* Is it in this file?  dense: number of the Dense module, or -1 for the model's own. */
static bool
belongs(const PlmParam *p, int32_t dense)
{
	return p->spec->part == PLM_PART_DENSE ? p->index == dense : dense < 0;
}

/* The header of a safetensors file, padded to 8 bytes; data_bytes: of the tensors after it. */
static PlmStatus
tensor_header(Output *o, int32_t dense, PlmText *out, uint64_t *data_bytes, PlmError *err)
{
	const PlmParamPlan *plan = &o->t->plan;
	bool		prefixed = strstr(o->architecture, "For") != NULL;
	size_t		size = 64 + (size_t) plan->n * (NAME_BYTES + 160);
	size_t		used;
	char	   *text;

	PLM_TRY(plm_take(&o->t->step, (int64_t) size, 1, &text, err));
	used = (size_t) snprintf(text, size, "{\"__metadata__\":{\"format\":\"pt\"}");
	*data_bytes = 0;
	for (int64_t i = 0; i < plan->n; i++)
	{
		const PlmParam *p = &plan->params[i];
		uint64_t	bytes = (uint64_t) (p->rows * p->cols) * plm_type_bytes(o->type);
		char		name[NAME_BYTES];
		char		shape[64];

		if (!belongs(p, dense))
			continue;
		plm_param_name(plan, p, prefixed, name, sizeof(name));
		snprintf(shape, sizeof(shape), p->rank == 2 ? "%" PRId64 ",%" PRId64 : "%.0" PRId64 "%" PRId64,
				 p->rank == 2 ? p->rows : 0, p->cols);
		used += (size_t) snprintf(text + used, size - used, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%" PRIu64
								  ",%" PRIu64 "]}", name, plm_type_name(o->type), shape, *data_bytes, *data_bytes + bytes);
		*data_bytes += bytes;
	}
	text[used++] = '}';
	while (used % 8 != 0)
		text[used++] = ' ';
	*out = (PlmText) {text, used};
	return PLM_OK;
}

static PlmStatus
to_type(Output *o, const float *w, int64_t n, PlmError *err)
{
	uint16_t   *half = (uint16_t *) o->piece;

	if (plm_find_nonfinite(w, n) >= 0)
		return plm_fail(err, PLM_ENUMERIC, 0, "a trained weight is not finite");
	if (o->type == PLM_F32)
	{
		memcpy(o->piece, w, (size_t) n * sizeof(float));
		return PLM_OK;
	}
	for (int64_t i = 0; i < n; i++)
	{
		if (fabsf(w[i]) > 65504.0f)
			return plm_fail(err, PLM_ENUMERIC, 0, "a trained weight, %g, does not fit half precision", w[i]);
		half[i] = plm_f32_to_f16(w[i]);
	}
	return PLM_OK;
}

static PlmStatus
write_tensor(Output *o, const PlmParam *p, PlmError *err)
{
	const float *w = plm_weights_merged(o->t, o->w, p->section) + p->at;
	int64_t		n = p->rows * p->cols;
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, o->t->options.hook);

	for (int64_t at = 0; at < n; at += PIECE_FLOATS)
	{
		int64_t		count = n - at < PIECE_FLOATS ? n - at : PIECE_FLOATS;

		if (plm_stopped(&worker))
			return plm_cancelled(err);
		PLM_TRY(to_type(o, w + at, count, err));
		PLM_TRY(o->write(o->arg, o->piece, (size_t) count * plm_type_bytes(o->type), err));
	}
	return PLM_OK;
}

static PlmStatus
write_weights(Output *o, const char *name, int32_t dense, PlmError *err)
{
	const PlmParamPlan *plan = &o->t->plan;
	unsigned char length[8];
	uint64_t	data_bytes;
	PlmText		header;

	PLM_TRY(tensor_header(o, dense, &header, &data_bytes, err));
	for (int i = 0; i < 8; i++)
		length[i] = (unsigned char) ((uint64_t) header.len >> (8 * i));
	PLM_TRY(begin_file(o, name, 8 + header.len + data_bytes, err));
	PLM_TRY(o->write(o->arg, length, 8, err));
	PLM_TRY(o->write(o->arg, header.data, header.len, err));
	for (int64_t i = 0; i < plan->n; i++)
		if (belongs(&plan->params[i], dense))
			PLM_TRY(write_tensor(o, &plan->params[i], err));
	return PLM_OK;
}

/* ---- the rest of the directory ---- */

static bool
starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* Files of the base that the trained model has anew, or has no more. */
static bool
is_dropped(const Output *o, const char *name)
{
	const char *base = strrchr(name, '/') != NULL ? strrchr(name, '/') + 1 : name;
	bool		folder = base != name;

	if (strcmp(name, "config.json") == 0 || (starts(base, "model") && strstr(base, ".safetensors") != NULL))
		return true;
	if (o->t->model.config.labels == 0)
		return false;
	/* A classifier is no sentence embedder. */
	return folder || strcmp(name, "modules.json") == 0 || strcmp(name, "config_sentence_transformers.json") == 0;
}

static PlmStatus
copy_file(Output *o, const PlmSource *source, PlmError *err)
{
	size_t		most = PIECE_FLOATS * sizeof(float);

	PLM_TRY(begin_file(o, source->name, source->size, err));
	for (uint64_t at = 0; at < source->size; at += most)
	{
		size_t		n = source->size - at < most ? (size_t) (source->size - at) : most;

		PLM_TRY(source->read(source->arg, at, n, o->piece, err));
		PLM_TRY(o->write(o->arg, o->piece, n, err));
	}
	return PLM_OK;
}

/* An objective that embeds makes a sentence embedder of a base that is none. */
static PlmStatus
write_modules(Output *o, PlmError *err)
{
	PlmText		modules;
	PlmText		pooling;

	if (o->t->code->task != PLM_TASK_EMBEDDING || plm_file_find(o->t->files, "modules.json") != NULL ||
		plm_file_find(o->t->files, "product_llm.json") != NULL)
		return PLM_OK;
	PLM_TRY(plm_config_pooling(o->t->model.config.width, &o->t->step, &modules, &pooling, err));
	PLM_TRY(text_file(o, "modules.json", modules, err));
	return text_file(o, "1_Pooling/config.json", pooling, err);
}

static PlmStatus
write_all(Output *o, PlmError *err)
{
	const PlmConfig *c = &o->t->model.config;

	choose_architecture(o);
	PLM_TRY(write_config(o, err));
	PLM_TRY(write_weights(o, "model.safetensors", -1, err));
	for (int32_t i = 0; i < c->n_dense; i++)
	{
		char		name[96];

		snprintf(name, sizeof(name), "%s/model.safetensors", c->dense[i].folder);
		PLM_TRY(write_weights(o, name, i, err));
	}
	for (int i = 0; i < o->t->files->n; i++)
		if (!is_dropped(o, o->t->files->files[i].name))
			PLM_TRY(copy_file(o, &o->t->files->files[i], err));
	return write_modules(o, err);
}

PlmStatus
plm_trainer_files(PlmTrainer *t, PlmType type, PlmFileBegin begin, PlmWrite write, void *arg, PlmError *err)
{
	Output		o = {.t = t, .type = type, .begin = begin, .write = write, .arg = arg};

	if (type != PLM_F32 && type != PLM_F16)
		return plm_fail(err, PLM_EARG, 0, "trained models are written as F32 or F16, not as %s", plm_type_name(type));
	PLM_TRY(plm_trainer_ready(t, err));
	o.w = t->has_best ? t->best : t->w;
	PLM_TRY(plm_take(&t->step, PIECE_FLOATS, sizeof(float), &o.piece, err));
	return write_all(&o, err);
}
