/*
 * weights.c -- the weights in training: one flat array in the order of the parameter plan, and the model bound to it.
 *
 * A section of the plan is a run of floats, so what is plain (tables, norms, biases) the model reads in place; linear
 * weights are packed anew after each step, and their transposes beside them for the way back.  With adapters (Hu et al.
 * 2022) the base stays as it is and what is packed is W + scale B A.
 */
#include "internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SLOT_ALIGN 16

int64_t
plm_section_of(const PlmParamPlan *plan, const char *name)
{
	for (int64_t i = 0; i < plan->n_sections; i++)
		if (strcmp(plan->sections[i].name, name) == 0)
			return i;
	return -1;
}

/* ---- which parts there are, and which of them learn ---- */

static bool
embeds(const PlmTrainer *t)
{
	return t->code->task == PLM_TASK_EMBEDDING;
}

static bool
pools_by_pooler(const PlmConfig *c)
{
	for (int i = 0; i < c->n_pooling; i++)
		if (c->pooling[i] == PLM_POOL_POOLER)
			return true;
	return false;
}

/* Does the objective's loss reach that part? */
static bool
is_used(const PlmTrainer *t, PlmPart part)
{
	const PlmConfig *c = &t->model.config;

	if (part == PLM_PART_ENCODER || t->code->part[part])
		return true;
	if (part == t->model.arch->classifier_part && t->code->part[PLM_PART_CLASSIFIER])
		return true;
	if (part == PLM_PART_NEXT || (part == PLM_PART_POOLER && t->options.objective == PLM_LEARN_MASKED))
		return t->options.objective == PLM_LEARN_MASKED && t->options.next_sentence;
	return embeds(t) && (part == PLM_PART_DENSE || (part == PLM_PART_POOLER && pools_by_pooler(c)));
}

/* What the trained model keeps of the base, though it is not trained: an embedding model's other heads. */
static bool
is_kept(const PlmTrainer *t, PlmPart part, const bool *base)
{
	if (is_used(t, part))
		return true;
	if (part == PLM_PART_DENSE)
		return t->model.config.n_dense > 0;
	if (part == PLM_PART_POOLER && pools_by_pooler(&t->model.config))
		return true;
	return embeds(t) && base[part] && part != PLM_PART_CLASSIFIER && part != PLM_PART_NEXT;
}

static bool
begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* Of the encoder, when no layer is run. */
static bool
is_word_part(const PlmTrainer *t, const PlmParam *p)
{
	return begins(p->spec->role, "blk.{L}.ff_norm") ? p->index == t->model.config.layers - 1 :
		!begins(p->spec->role, "blk.") && !begins(p->spec->role, "embd_norm");
}

/* Section i, of which the first parameter is p: do its weights learn by themselves? */
static bool
is_trained(const PlmTrainer *t, const PlmParam *p)
{
	const PlmTrainOptions *o = &t->options;
	bool		in_block = begins(p->spec->role, "blk.");

	if (!is_used(t, p->spec->part))
		return false;
	if (p->spec->part != PLM_PART_ENCODER)
		return true;
	if (o->lora_rank > 0)
		return false;
	if (o->word_vectors)
		return is_word_part(t, p);
	return in_block ? p->index >= o->frozen_layers : o->frozen_layers < 0;
}

static bool
is_adapted(const PlmTrainer *t, const PlmParam *p)
{
	return t->options.lora_rank > 0 && p->spec->part == PLM_PART_ENCODER && (p->spec->flags & PARAM_PACKED) &&
		p->index >= t->options.frozen_layers;
}

/* ---- the flat arrays ---- */

static int64_t
rounded(int64_t n)
{
	return (n + SLOT_ALIGN - 1) / SLOT_ALIGN * SLOT_ALIGN;
}

/* The first parameter of each section. */
static const PlmParam *
first_of(const PlmParamPlan *plan, int64_t section)
{
	int64_t		i = 0;

	while (plan->params[i].section != section)
		i++;
	return &plan->params[i];
}

static int64_t
section_floats(const PlmParamPlan *plan, int64_t i)
{
	return plan->sections[i].rows * plan->sections[i].cols;
}

static void
add_slot(PlmTrainer *t, int64_t w, int64_t n, bool decay)
{
	t->slots[t->n_slots++] = (PlmSlot) {w, t->n_g, n, decay};
	t->n_g += rounded(n);
}

static PlmStatus
lay_out(PlmTrainer *t, PlmError *err)
{
	const PlmParamPlan *plan = &t->plan;
	int64_t		most = plan->n_sections;
	int64_t		r = t->options.lora_rank;

	PLM_TRY(plm_take(&t->arena, most, sizeof(int64_t), &t->at, err));
	PLM_TRY(plm_take(&t->arena, most, sizeof(int64_t), &t->gat, err));
	PLM_TRY(plm_take(&t->arena, 3 * most, sizeof(PlmSlot), &t->slots, err));
	PLM_TRY(plm_take(&t->arena, most, sizeof(PlmAdapter), &t->adapters, err));
	for (int64_t i = 0; i < most; i++)
	{
		const PlmParam *p = first_of(plan, i);

		t->at[i] = t->n_w;
		t->gat[i] = -1;
		t->n_w += rounded(section_floats(plan, i));
		if (!is_trained(t, p))
			continue;
		t->gat[i] = t->n_g;
		add_slot(t, t->at[i], section_floats(plan, i), p->rank == 2);
	}
	for (int64_t i = 0; i < most; i++)
		if (is_adapted(t, first_of(plan, i)))
		{
			const PlmSection *s = &plan->sections[i];
			PlmAdapter *a = &t->adapters[t->n_adapters++];

			*a = (PlmAdapter) {.section = i, .n = s->rows, .k = s->cols, .wa = t->n_w, .ga = t->n_g};
			add_slot(t, a->wa, r * a->k, true);
			t->n_w += rounded(r * a->k);
			a->wb = t->n_w;
			a->gb = t->n_g;
			add_slot(t, a->wb, a->n * r, true);
			t->n_w += rounded(a->n * r);
		}
	t->n_trained = t->n_g;
	for (int64_t i = 0; i < t->n_adapters; i++)
	{
		t->gat[t->adapters[i].section] = t->n_g;
		t->n_g += rounded(t->adapters[i].n * t->adapters[i].k);
	}
	return PLM_OK;
}

static PlmStatus
cut_pieces(PlmTrainer *t, PlmError *err)
{
	for (int pass = 0; pass < 2; pass++)
	{
		t->n_pieces = 0;
		for (int64_t s = 0; s < t->n_slots; s++)
			for (int64_t i = 0; i < t->slots[s].n; i += PIECE_FLOATS, t->n_pieces++)
				if (pass == 1)
					t->pieces[t->n_pieces] = (PlmPiece) {
						t->slots[s].w + i, t->slots[s].g + i,
						t->slots[s].n - i < PIECE_FLOATS ? t->slots[s].n - i : PIECE_FLOATS, t->slots[s].decay
					};
		if (pass == 0)
			PLM_TRY(plm_take(&t->arena, t->n_pieces, sizeof(PlmPiece), &t->pieces, err));
	}
	PLM_TRY(plm_take(&t->arena, t->n_pieces, sizeof(double), &t->piece_sum, err));
	return plm_take(&t->arena, t->n_pieces, 1, &t->piece_done, err);
}

PlmStatus
plm_take_zeroed(PlmTrainer *t, int64_t n, float **out, PlmError *err)
{
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, t->options.hook);
	float	   *p;

	PLM_TRY(plm_take(&t->arena, n, sizeof(float), &p, err));
	for (int64_t i = 0; i < n; i += PIECE_FLOATS)
	{
		if (plm_stopped(&worker))
			return plm_cancelled(err);
		memset(p + i, 0, (size_t) (n - i < PIECE_FLOATS ? n - i : PIECE_FLOATS) * sizeof(float));
	}
	*out = p;
	return PLM_OK;
}

/* ---- the model that is bound to them ---- */

static PlmStatus
bind_data(PlmTrainer *t, PlmError *err)
{
	const PlmParamPlan *plan = &t->plan;
	size_t		bytes;

	PLM_TRY(plm_take(&t->arena, plan->n_sections, sizeof(*t->data), &t->data, err));
	PLM_TRY(plm_take(&t->arena, plan->n_sections, sizeof(*t->transposed), &t->transposed, err));
	for (int64_t i = 0; i < plan->n_sections; i++)
	{
		const PlmSection *s = &plan->sections[i];
		const PlmParam *p = first_of(plan, i);

		t->data[i] = t->w + t->at[i];
		t->transposed[i] = NULL;
		if (s->packed)
			PLM_TRY(plm_take(&t->arena, (int64_t) s->bytes, 1, &t->data[i], err));
		if ((p->spec->flags & PARAM_PACKED) == 0 || p->index < t->first_layer)
			continue;
		bytes = plm_pack_bytes(PLM_PREC_F32, s->cols, s->rows);
		PLM_TRY(plm_take(&t->arena, (int64_t) bytes, 1, &t->transposed[i], err));
	}
	plm_model_bind(&t->model, plan, t->data);
	return PLM_OK;
}

static PlmLinear
transposed(const PlmTrainer *t, int32_t layer, const char *stem)
{
	char		name[80];
	int64_t		i;
	const PlmSection *s;

	snprintf(name, sizeof(name), "blk.%" PRId32 ".%s.w", layer, stem);
	i = plm_section_of(&t->plan, name);
	s = &t->plan.sections[i];
	return (PlmLinear) {{PLM_PREC_F32, s->cols, s->rows, t->transposed[i]}, NULL};
}

static PlmAffine
affine(const PlmTrainer *t, const PlmLinear *l, const char *stem, PlmActivation act)
{
	char		name[80];
	PlmAffine	a = {.l = l, .act = act};

	snprintf(name, sizeof(name), "%s.w", stem);
	a.section_w = plm_section_of(&t->plan, name);
	snprintf(name, sizeof(name), "%s.b", stem);
	a.section_b = plm_section_of(&t->plan, name);
	return a;
}

static PlmStatus
bind_model(PlmTrainer *t, PlmError *err)
{
	PlmModel   *m = &t->model;

	PLM_TRY(bind_data(t, err));
	PLM_TRY(plm_take(&t->arena, m->config.layers, sizeof(PlmBackBlock), &t->back, err));
	for (int32_t l = 0; l < m->config.layers; l++)
		t->back[l] = (PlmBackBlock) {transposed(t, l, "attn_qkv"), transposed(t, l, "attn_out"), transposed(t, l, "ff_up"),
		transposed(t, l, "ff_down")};
	t->pooler = affine(t, &m->pooler, "pooler", PLM_ACT_TANH);
	t->classifier_dense = affine(t, &m->classifier_dense, m->arch->classifier_dense, m->arch->classifier_act);
	t->classifier = affine(t, &m->classifier, "classifier", PLM_ACT_NONE);
	t->mask_dense = affine(t, &m->mask_dense, "mask_dense", (PlmActivation) m->config.activation);
	t->next = affine(t, &m->next, "next", PLM_ACT_NONE);
	for (int32_t i = 0; i < m->config.n_dense; i++)
	{
		char		stem[32];

		snprintf(stem, sizeof(stem), "dense.%" PRId32, i);
		t->dense[i] = affine(t, &m->dense[i], stem, (PlmActivation) m->config.dense[i].activation);
	}
	return PLM_OK;
}

/* ---- opening ---- */

/* The base's configuration with what the objective changes. */
static PlmStatus
adjust_config(PlmTrainer *t, const PlmTrainBase *base, PlmError *err)
{
	PlmConfig  *c = &t->model.config;
	bool		classifies = t->code->task == PLM_TASK_CLASSIFICATION;
	bool		ranks = t->code->task == PLM_TASK_RANKING;

	*c = t->base_config;
	c->labels = classifies ? base->n_labels : ranks ? 1 : 0;
	if (t->code->task == PLM_TASK_MASKED_LM && c->task == PLM_TASK_EMBEDDING)
		return PLM_OK;			/* goes on being an embedding model */
	c->task = (int32_t) t->code->task;
	if (!classifies && !ranks)
		return PLM_OK;
	if (classifies && (base->n_labels < (t->options.multi_label ? 1 : 2) || base->n_labels > PLM_MAX_LABELS))
		return plm_fail(err, PLM_EARG, 0, "a classifier needs 2 to %d classes, not %" PRId32, PLM_MAX_LABELS, base->n_labels);
	c->problem = ranks ? PLM_PROBLEM_REGRESSION : t->options.multi_label ? PLM_PROBLEM_MULTI : PLM_PROBLEM_SINGLE;
	c->score_activation = PLM_ACT_SIGMOID;
	c->n_dense = 0;
	c->n_pooling = 1;
	c->pooling[0] = PLM_POOL_MEAN;
	c->dimensions = c->width;
	return PLM_OK;
}

static bool
same_names(const PlmTrainBase *base, const PlmConfig *c, const PlmText *labels)
{
	if (c->labels != base->n_labels)
		return false;
	for (int32_t i = 0; i < base->n_labels; i++)
		if (labels[i].len != base->labels[i].len || memcmp(labels[i].data, base->labels[i].data, labels[i].len) != 0)
			return false;
	return true;
}

static PlmStatus
copy_labels(PlmTrainer *t, const PlmTrainBase *base, PlmError *err)
{
	PLM_TRY(plm_take(&t->arena, base->n_labels, sizeof(PlmText), &t->labels, err));
	for (int32_t i = 0; i < base->n_labels; i++)
	{
		const char *copy = plm_arena_strndup(&t->arena, base->labels[i].data, base->labels[i].len);

		if (copy == NULL)
			return plm_arena_refused(&t->arena, base->labels[i].len + 1, err);
		t->labels[i] = (PlmText) {copy, base->labels[i].len};
	}
	return PLM_OK;
}

static PlmStatus
open_tokenizer(PlmTrainer *t, PlmError *err)
{
	void	   *blob;
	size_t		bytes;

	PLM_TRY(plm_model_tokenizer_compile(t->files, &t->base_config, &t->arena, &blob, &bytes, err));
	return plm_tokenizer_open(blob, bytes, &t->model.tokenizer, err);
}

/* The base with the tokenizer of `words`. */
static PlmStatus
take_words(PlmTrainer *t, const PlmFileSet *words, PlmError *err)
{
	PlmConfig	config = {.task = PLM_TASK_TOKENIZER};
	PlmFileSet *files;
	void	   *blob;
	size_t		bytes;

	PLM_TRY(plm_model_tokenizer_compile(words, &config, &t->step, &blob, &bytes, err));
	PLM_TRY(plm_transfer_files(t->files, words, config.vocab, &t->arena, &files, err));
	t->former = t->files;
	t->files = files;
	return PLM_OK;
}

/* Plan, memory, values; what serves reading only goes to the step's arena. */
static PlmStatus
open_weights(PlmTrainer *t, const PlmTrainBase *base, const PlmText *labels, PlmError *err)
{
	PlmModel   *m = &t->model;
	PlmOrigin	origin;
	bool		keep[PLM_PARTS] = {false};
	bool		same_labels;

	PLM_TRY(plm_origin_open(t, &origin, err));
	for (int part = 0; part < PLM_PARTS; part++)
		keep[part] = is_kept(t, (PlmPart) part, origin.plan.part);
	PLM_TRY(plm_config_validate(&m->config, err));
	PLM_TRY(plm_params_plan(m->arch, &m->config, PLM_PREC_F32, keep, &t->arena, &t->plan, err));
	for (int part = 0; part < PLM_PARTS; part++)
	{
		m->part[part] = t->plan.part[part];
		if (is_used(t, (PlmPart) part) && part != PLM_PART_DENSE && !m->part[part])
		{
			plm_fail(err, PLM_EARG, 0, "a model of type \"%s\" has no head for %s", m->config.model_type,
					 t->options.next_sentence ? "next-sentence prediction" : t->code->name);
			return plm_hint(err, "Take a base of type \"bert\"%s.", t->options.next_sentence ? ", or texts without a second one" : "");
		}
	}
	t->embeddings_train = t->options.frozen_layers < 0 && t->options.lora_rank == 0;
	t->first_layer = t->options.frozen_layers < 0 ? 0 : t->options.frozen_layers;
	if (t->first_layer > m->config.layers)
	{
		plm_fail(err, PLM_EARG, 0, "%" PRId32 " layers cannot be frozen: the model has %" PRId32, t->first_layer, m->config.layers);
		return plm_hint(err, "Freezing %" PRId32 " trains the head alone.", m->config.layers);
	}
	PLM_TRY(lay_out(t, err));
	PLM_TRY(cut_pieces(t, err));
	PLM_TRY(plm_take_zeroed(t, t->n_w, &t->w, err));
	PLM_TRY(plm_take_zeroed(t, t->n_g, &t->g, err));
	PLM_TRY(plm_take_zeroed(t, t->n_trained, &t->m, err));
	PLM_TRY(plm_take_zeroed(t, t->n_trained, &t->v, err));
	same_labels = t->code->task == PLM_TASK_RANKING ? t->base_config.labels == 1 : same_names(base, &t->base_config, labels);
	return plm_first_values(t, &origin, same_labels, err);
}

PlmStatus
plm_weights_open(PlmTrainer *t, const PlmTrainBase *base, PlmError *err)
{
	PlmModel   *m = &t->model;
	PlmMark		mark = plm_arena_mark(&t->step);
	PlmText    *labels;
	int64_t		most = 0;
	PlmStatus	status;

	if (base->words != NULL)
		PLM_TRY(take_words(t, base->words, err));
	PLM_TRY(plm_config_read(t->files, &t->arena, &t->base_config, &labels, err));
	PLM_TRY(plm_config_validate(&t->base_config, err));
	PLM_TRY(adjust_config(t, base, err));
	PLM_TRY(copy_labels(t, base, err));
	PLM_TRY(plm_arch_find(m->config.model_type, &m->arch, err));
	PLM_TRY(open_tokenizer(t, err));
	PLM_TRY(plm_take(&t->arena, m->config.layers, sizeof(PlmBlock), &m->blocks, err));
	memset(m->blocks, 0, (size_t) m->config.layers * sizeof(PlmBlock));
	status = open_weights(t, base, labels, err);
	plm_arena_rewind(&t->step, mark);
	PLM_TRY(status);
	t->base_checksum = plm_checksum(t->w, (size_t) t->n_w * sizeof(float), 0);
	for (int64_t i = 0; i < t->n_adapters; i++)
		most = t->adapters[i].n * t->adapters[i].k > most ? t->adapters[i].n * t->adapters[i].k : most;
	PLM_TRY(plm_take(&t->arena, most, sizeof(float), &t->merged, err));
	return bind_model(t, err);
}

/* ---- packing ---- */

const PlmAdapter *
plm_adapter_of(const PlmTrainer *t, int64_t section)
{
	for (int64_t i = 0; i < t->n_adapters; i++)
		if (t->adapters[i].section == section)
			return &t->adapters[i];
	return NULL;
}

const float *
plm_weights_merged(PlmTrainer *t, const float *w, int64_t section)
{
	const PlmAdapter *a = plm_adapter_of(t, section);
	int64_t		r = t->options.lora_rank;

	if (a == NULL)
		return w + t->at[section];
	memcpy(t->merged, w + t->at[section], (size_t) (a->n * a->k) * sizeof(float));
	plm_gemm(false, false, a->n, a->k, r, (float) (t->options.lora_alpha / (double) r), w + a->wb, r, w + a->wa, a->k, 1.0f,
			 t->merged, a->k);
	return t->merged;
}

static void
pack_section(const PlmTrainer *t, int64_t i, const float *w)
{
	const PlmSection *s = &t->plan.sections[i];

	plm_pack(PLM_PREC_F32, s->rows, s->cols, w, (void *) t->data[i]);
	if (t->transposed[i] != NULL)
		plm_pack_transposed(s->rows, s->cols, w, t->transposed[i]);
}

static PlmStatus
pack_task(void *arg, int64_t i, PlmWorker *worker, PlmError *err)
{
	PlmTrainer *t = arg;

	if (plm_stopped(worker))
		return plm_cancelled(err);
	if (t->plan.sections[i].packed && plm_adapter_of(t, i) == NULL)
		pack_section(t, i, t->w + t->at[i]);
	return PLM_OK;
}

PlmStatus
plm_weights_pack(PlmTrainer *t, PlmError *err)
{
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, t->options.hook);

	if (t->packed)
		return PLM_OK;
	PLM_TRY(plm_parallel(t->threads, t->plan.n_sections, pack_task, t, t->options.hook, err));
	for (int64_t i = 0; i < t->n_adapters; i++)
	{
		if (plm_stopped(&worker))
			return plm_cancelled(err);
		pack_section(t, t->adapters[i].section, plm_weights_merged(t, t->w, t->adapters[i].section));
	}
	t->packed = true;
	return PLM_OK;
}

/* With G the gradient at W + s B A:  dB = s G A^T,  dA = s B^T G. */
static PlmStatus
adapter_task(void *arg, int64_t i, PlmWorker *worker, PlmError *err)
{
	PlmTrainer *t = arg;
	const PlmAdapter *a = &t->adapters[i];
	const float *g = t->g + t->gat[a->section];
	int64_t		r = t->options.lora_rank;
	float		s = (float) (t->options.lora_alpha / (double) r);

	if (plm_stopped(worker))
		return plm_cancelled(err);
	plm_gemm(false, true, a->n, r, a->k, s, g, a->k, t->w + a->wa, a->k, 0.0f, t->g + a->gb, r);
	plm_gemm(true, false, r, a->k, a->n, s, t->w + a->wb, r, g, a->k, 0.0f, t->g + a->ga, a->k);
	return PLM_OK;
}

PlmStatus
plm_adapters_gradient(PlmTrainer *t, PlmError *err)
{
	return plm_parallel(t->threads, t->n_adapters, adapter_task, t, t->options.hook, err);
}
