/*
 * params.c -- from tables of names and shape symbols to tensors and sections.
 */
#include "params.h"

#include <stdio.h>
#include <string.h>

#define NAME_BYTES 192
#define READ_ELEMENTS ((int64_t) 256 * 1024)	/* 1 MB of fp32 between two polls */

/* Larger numbers than any known model's; small enough that no product below can wrap. */
#define MAX_VOCAB (1 << 24)
#define MAX_WIDTH (1 << 16)
#define MAX_LAYERS 1024

static PlmStatus
range(const char *what, int64_t value, int64_t low, int64_t high, PlmError *err)
{
	if (value >= low && value <= high)
		return PLM_OK;
	return plm_fail(err, PLM_ECORRUPT, 0, "configuration: %s is %" PRId64 ", outside %" PRId64 "..%" PRId64,
					what, value, low, high);
}

/* The chain pooling -> Dense modules -> dimensions. */
static PlmStatus
validate_embedding(const PlmConfig *c, PlmError *err)
{
	int64_t		width;

	PLM_TRY(range("number of pooling modes", c->n_pooling, 1, PLM_COUNT(c->pooling), err));
	for (int i = 0; i < c->n_pooling; i++)
		PLM_TRY(range("pooling mode", c->pooling[i], 0, PLM_POOL_POOLER, err));
	PLM_TRY(range("number of dense modules", c->n_dense, 0, PLM_MAX_DENSE, err));
	width = (int64_t) c->n_pooling * c->width;
	for (int i = 0; i < c->n_dense; i++)
	{
		const PlmDense *d = &c->dense[i];

		PLM_TRY(range("width of a dense module", d->out, 1, MAX_WIDTH, err));
		PLM_TRY(range("activation of a dense module", d->activation, 0, PLM_ACT_SIGMOID, err));
		if (d->in != width)
			return plm_fail(err, PLM_ECORRUPT, 0, "dense module %d takes %" PRId32 " values, but gets %" PRId64,
							i, d->in, width);
		width = d->out;
	}
	if (c->dimensions != width)
		return plm_fail(err, PLM_ECORRUPT, 0, "configuration says %" PRId32 " dimensions, its modules give %" PRId64,
						c->dimensions, width);
	return PLM_OK;
}

PlmStatus
plm_config_validate(const PlmConfig *c, PlmError *err)
{
	PLM_TRY(range("vocabulary size", c->vocab, 1, MAX_VOCAB, err));
	PLM_TRY(range("task", c->task, 0, PLM_TASK_TOKENIZER, err));
	if (c->task == PLM_TASK_TOKENIZER)
	{
		PLM_TRY(range("number of labels", c->labels, 0, 0, err));
		return range("maximum of tokens", c->max_tokens, 2, MAX_VOCAB, err);
	}
	PLM_TRY(range("hidden size", c->width, 1, MAX_WIDTH, err));
	PLM_TRY(range("number of layers", c->layers, 1, MAX_LAYERS, err));
	PLM_TRY(range("number of attention heads", c->heads, 1, c->width, err));
	PLM_TRY(range("feed-forward size", c->ff, 1, MAX_WIDTH * 4, err));
	PLM_TRY(range("number of positions", c->positions, 1, MAX_VOCAB, err));
	PLM_TRY(range("number of token types", c->types, 0, MAX_WIDTH, err));
	PLM_TRY(range("activation", c->activation, 0, PLM_ACT_SIGMOID, err));
	PLM_TRY(range("maximum of tokens", c->max_tokens, 2, c->positions, err));
	PLM_TRY(range("number of labels", c->labels, 0, PLM_MAX_LABELS, err));
	PLM_TRY(range("problem type", c->problem, 0, PLM_PROBLEM_REGRESSION, err));
	PLM_TRY(range("activation of a score", c->score_activation, 0, PLM_ACT_SIGMOID, err));
	if (c->width % c->heads != 0)
		return plm_fail(err, PLM_ECORRUPT, 0, "hidden size %" PRId32 " is not a multiple of %" PRId32 " attention heads",
						c->width, c->heads);
	if (!(c->norm_eps >= 0.0f && c->norm_eps <= 1.0f))
		return plm_fail(err, PLM_ECORRUPT, 0, "configuration: layer norm epsilon %g is outside 0..1",
						(double) c->norm_eps);
	return validate_embedding(c, err);
}

/* ---- expanding ---- */

static int64_t
dim_value(const PlmConfig *c, PlmDim dim, int32_t index)
{
	switch (dim)
	{
		case DIM_V:
			return c->vocab;
		case DIM_P:
			return c->positions;
		case DIM_Y:
			return c->types;
		case DIM_C:
			return c->width;
		case DIM_F:
			return c->ff;
		case DIM_N:
			return c->labels;
		case DIM_TWO:
			return 2;
		case DIM_IN:
			return c->dense[index].in;
		case DIM_OUT:
			return c->dense[index].out;
		case DIM_NONE:
			break;
	}
	return 1;
}

static bool
exists(const PlmParamSpec *spec, const PlmConfig *c, int32_t index)
{
	if ((spec->flags & PARAM_UNTIED) && c->tied)
		return false;
	if ((spec->flags & PARAM_BIAS) && !c->dense[index].bias)
		return false;
	return dim_value(c, spec->shape[0], index) > 0;
}

/* Copy a name with {L} replaced; names come from our own tables and are short. */
static void
expand(const char *name, size_t len, int32_t index, char *out, size_t size)
{
	const char *mark = memmem(name, len, "{L}", 3);

	if (mark == NULL)
		snprintf(out, size, "%.*s", (int) len, name);
	else
		snprintf(out, size, "%.*s%" PRId32 "%.*s", (int) (mark - name), name, index,
				 (int) (name + len - mark - 3), mark + 3);
}

void
plm_param_name(const PlmParamPlan *plan, const PlmParam *p, bool prefixed, char *out, size_t size)
{
	bool		encoder = p->spec->part == PLM_PART_ENCODER || p->spec->part == PLM_PART_POOLER;
	size_t		len = prefixed && encoder ? strlen(plan->arch->prefix) : 0;

	snprintf(out, size, "%.*s", (int) len, plan->arch->prefix);
	expand(p->spec->file, strcspn(p->spec->file, "|"), p->index, out + len, size - len);
}

/* Append one parameter, opening its section unless it is stacked on the one before. */
static void
add_param(PlmParamPlan *plan, const PlmParamSpec *spec, int32_t index, PlmPrecision precision)
{
	PlmParam   *p = &plan->params[plan->n++];
	PlmSection *s;
	char		name[sizeof(s->name)];
	const char *section = spec->section != NULL ? spec->section : spec->role;

	p->spec = spec;
	p->index = index;
	p->rank = spec->shape[1] == DIM_NONE ? 1 : 2;
	p->rows = p->rank == 1 ? 1 : dim_value(plan->config, spec->shape[0], index);
	p->cols = dim_value(plan->config, spec->shape[p->rank - 1], index);
	expand(section, strlen(section), index, name, sizeof(name));
	if (plan->n_sections == 0 || strcmp(plan->sections[plan->n_sections - 1].name, name) != 0)
	{
		s = &plan->sections[plan->n_sections++];
		snprintf(s->name, sizeof(s->name), "%s", name);
		s->packed = (spec->flags & (PARAM_PACKED | PARAM_EXACT)) != 0;
		s->precision = (spec->flags & PARAM_PACKED) ? precision : PLM_PREC_F32;
		s->rows = p->rank == 1 ? 1 : 0;
		s->cols = p->rank == 1 ? 0 : p->cols;
	}
	s = &plan->sections[plan->n_sections - 1];
	p->section = plan->n_sections - 1;
	p->at = p->rank == 1 ? s->cols : s->rows * s->cols;
	if (p->rank == 1)
		s->cols += p->cols;
	else
		s->rows += p->rows;
	s->bytes = s->packed ? plm_pack_bytes((PlmPrecision) s->precision, s->rows, s->cols)
		: (uint64_t) s->rows * (uint64_t) s->cols * sizeof(float);
}

/* Layers outermost, so that a layer's sections lie together in the file. */
static void
add_table(PlmParamPlan *plan, const PlmParamSpec *table, int32_t repeat, PlmPrecision precision, const bool *parts)
{
	for (const PlmParamSpec *spec = table; spec->role != NULL;)
	{
		const PlmParamSpec *end = spec;
		bool		repeated = strstr(spec->role, "{L}") != NULL;

		while (end->role != NULL && (strstr(end->role, "{L}") != NULL) == repeated)
			end++;
		for (int32_t i = 0; i < (repeated ? repeat : 1); i++)
			for (const PlmParamSpec *one = spec; one < end; one++)
				if ((parts == NULL || parts[one->part]) && exists(one, plan->config, i))
					add_param(plan, one, i, precision);
		spec = end;
	}
}

static int64_t
table_length(const PlmParamSpec *table)
{
	int64_t		n = 0;

	while (table[n].role != NULL)
		n++;
	return n;
}

PlmStatus
plm_params_plan(const PlmArch *arch, const PlmConfig *config, PlmPrecision precision, const bool *parts,
				PlmArena *arena, PlmParamPlan *plan, PlmError *err)
{
	size_t		most = (size_t) (table_length(arch->params) * config->layers +
								 table_length(plm_dense_params) * PLM_MAX_DENSE);

	*plan = (PlmParamPlan) {.config = config, .arch = arch};
	plan->params = plm_arena_zero(arena, most * sizeof(PlmParam));
	if (plan->params == NULL)
		return plm_arena_refused(arena, most * sizeof(PlmParam), err);
	plan->sections = plm_arena_zero(arena, most * sizeof(PlmSection));
	if (plan->sections == NULL)
		return plm_arena_refused(arena, most * sizeof(PlmSection), err);
	add_table(plan, arch->params, config->layers, precision, parts);
	add_table(plan, plm_dense_params, config->n_dense, precision, parts);
	for (int64_t i = 0; i < plan->n; i++)
		plan->part[plan->params[i].spec->part] = true;
	return PLM_OK;
}

/* ---- finding tensors ---- */

/* Under its own name, under the one with the prefix, and with the LayerNorm names of the first BERT files. */
static const PlmTensor *
find_named(const PlmTensorSet *tensors, const char *prefix, const char *name)
{
	static const char *const renamed[][2] = {{"LayerNorm.weight", "LayerNorm.gamma"}, {"LayerNorm.bias", "LayerNorm.beta"}};
	char		full[NAME_BYTES];
	const PlmTensor *t = plm_tensor_find(tensors, name);

	if (t != NULL)
		return t;
	snprintf(full, sizeof(full), "%s%s", prefix, name);
	t = plm_tensor_find(tensors, full);
	for (int64_t i = 0; t == NULL && i < PLM_COUNT(renamed); i++)
	{
		size_t		len = strlen(name);
		size_t		tail = strlen(renamed[i][0]);

		if (len < tail || strcmp(name + len - tail, renamed[i][0]) != 0)
			continue;
		snprintf(full, sizeof(full), "%s%.*s%s", prefix, (int) (len - tail), name, renamed[i][1]);
		t = plm_tensor_find(tensors, full + strlen(prefix));
		if (t == NULL)
			t = plm_tensor_find(tensors, full);
	}
	return t;
}

static const PlmTensor *
find_param(const PlmTensorSet *tensors, const char *prefix, const PlmParam *p)
{
	const char *name = p->spec->file;

	for (;;)
	{
		size_t		len = strcspn(name, "|");
		char		full[NAME_BYTES];
		const PlmTensor *t;

		expand(name, len, p->index, full, sizeof(full));
		t = find_named(tensors, prefix, full);
		if (t != NULL || name[len] == '\0')
			return t;
		name += len + 1;
	}
}

static void
shape_text(const int64_t *shape, int rank, char *out, size_t size)
{
	size_t		used = (size_t) snprintf(out, size, "(");

	for (int i = 0; i < rank && used < size; i++)
		used += (size_t) snprintf(out + used, size - used, "%s%" PRId64, i > 0 ? ", " : "", shape[i]);
	if (used < size)
		snprintf(out + used, size - used, ")");
}

static PlmStatus
check_tensor(const PlmParam *p, const PlmTensor *t, PlmError *err)
{
	int64_t		want[2] = {p->rank == 1 ? p->cols : p->rows, p->cols};
	char		has_text[PLM_MAX_RANK * 24];
	char		want_text[64];

	if (t->rank != p->rank || t->shape[0] != want[0] || (p->rank == 2 && t->shape[1] != want[1]))
	{
		shape_text(t->shape, t->rank, has_text, sizeof(has_text));
		shape_text(want, p->rank, want_text, sizeof(want_text));
		return plm_fail(err, PLM_ECORRUPT, 0, "tensor \"%.120s\" has shape %s, the configuration needs %s",
						t->name, has_text, want_text);
	}
	if (t->type != PLM_F32 && t->type != PLM_F16 && t->type != PLM_BF16)
		return plm_fail(err, PLM_EUNSUPPORTED, 0, "tensor \"%.120s\" has type %s; F32, F16 and BF16 are supported",
						t->name, plm_type_name(t->type));
	return PLM_OK;
}

static PlmStatus
missing(const PlmParam *p, PlmError *err)
{
	char		name[NAME_BYTES];

	expand(p->spec->file, strcspn(p->spec->file, "|"), p->index, name, sizeof(name));
	return plm_fail(err, PLM_ENOTFOUND, 0, "tensor \"%s\" is missing", name);
}

/* The tensors of a Dense module's folder, seen as a model directory of one file. */
static PlmStatus
open_dense(const PlmFileSet *set, const PlmDense *dense, PlmArena *arena, PlmTensorSet *out, PlmError *err)
{
	char		name[sizeof(dense->folder) + 32];
	const PlmSource *source;
	PlmSource  *alone;
	PlmFileSet	one;
	PlmStatus	status;

	snprintf(name, sizeof(name), "%s/model.safetensors", dense->folder);
	source = plm_file_find(set, name);
	if (source == NULL)
		return plm_fail(err, PLM_ENOTFOUND, 0, "file \"%s\" is missing", name);
	alone = plm_arena_alloc(arena, sizeof(PlmSource));
	if (alone == NULL)
		return plm_arena_refused(arena, sizeof(PlmSource), err);
	*alone = *source;
	snprintf(alone->name, sizeof(alone->name), "model.safetensors");
	one = (PlmFileSet) {alone, 1};
	status = plm_tensors_open(&one, arena, out, err);
	if (status != PLM_OK)
		plm_prefix(err, "%s", dense->folder);
	return status;
}

/* May the part be left out when its tensors are not there? */
static bool
is_needed(const PlmArch *arch, const PlmConfig *config, PlmPart part, int64_t found)
{
	bool		classifies = config->task == PLM_TASK_CLASSIFICATION || config->task == PLM_TASK_RANKING;

	if (part == PLM_PART_ENCODER || part == PLM_PART_DENSE)
		return true;
	if (part == PLM_PART_CLASSIFIER || part == arch->classifier_part)
		return classifies;
	/* Encoders are often published under the name of the masked model that they were cut from. */
	return part == PLM_PART_MASK && config->task == PLM_TASK_MASKED_LM && found > 0;
}

/* Bind all parameters of a plan; which parts are complete is left in `parts`. */
static PlmStatus
bind_tensors(const PlmFileSet *set, PlmParamPlan *plan, PlmArena *arena, bool *parts, PlmError *err)
{
	const PlmConfig *config = plan->config;
	PlmTensorSet tensors;
	PlmTensorSet dense[PLM_MAX_DENSE];
	int64_t		found[PLM_PARTS] = {0};

	PLM_TRY(plm_tensors_open(set, arena, &tensors, err));
	for (int i = 0; i < config->n_dense; i++)
		PLM_TRY(open_dense(set, &config->dense[i], arena, &dense[i], err));
	for (int64_t i = 0; i < plan->n; i++)
	{
		PlmParam   *p = &plan->params[i];
		bool		is_dense = p->spec->part == PLM_PART_DENSE;

		p->tensor = find_param(is_dense ? &dense[p->index] : &tensors, plan->arch->prefix, p);
		if (p->tensor != NULL)
			found[p->spec->part]++;
	}
	memcpy(parts, plan->part, sizeof(plan->part));
	for (int64_t i = 0; i < plan->n; i++)
	{
		PlmParam   *p = &plan->params[i];
		PlmPart		part = p->spec->part;

		if (p->tensor != NULL)
			PLM_TRY(check_tensor(p, p->tensor, err));
		else if (is_needed(plan->arch, config, part, found[part]))
			return missing(p, err);
		else
			parts[part] = false;
	}
	return PLM_OK;
}

PlmStatus
plm_params_resolve(const PlmFileSet *set, const PlmConfig *config, PlmPrecision precision,
				   PlmArena *arena, PlmParamPlan *plan, PlmError *err)
{
	const PlmArch *arch;
	PlmParamPlan all;
	bool		parts[PLM_PARTS];
	int64_t		at = 0;

	PLM_TRY(plm_config_validate(config, err));
	PLM_TRY(plm_arch_find(config->model_type, &arch, err));
	PLM_TRY(plm_params_plan(arch, config, precision, NULL, arena, &all, err));
	PLM_TRY(bind_tensors(set, &all, arena, parts, err));
	PLM_TRY(plm_params_plan(arch, config, precision, parts, arena, plan, err));
	/* Both plans are in table order; the second skips whole parts. */
	for (int64_t i = 0; i < plan->n; i++, at++)
	{
		while (!parts[all.params[at].spec->part])
			at++;
		plan->params[i].tensor = all.params[at].tensor;
	}
	return PLM_OK;
}

/* ---- reading ---- */

PlmStatus
plm_param_read(const PlmParam *param, float *dst, PlmArena *arena, PlmError *err)
{
	const PlmHook *hook = arena->hook;
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, hook);
	int64_t		n = param->rows * param->cols;
	PlmMark		mark = plm_arena_mark(arena);
	float	   *piece = dst;
	PlmStatus	status = PLM_OK;

	if (dst == NULL)
	{
		size_t		bytes = (size_t) (n < READ_ELEMENTS ? n : READ_ELEMENTS) * sizeof(float);

		piece = plm_arena_alloc(arena, bytes);
		if (piece == NULL)
			return plm_arena_refused(arena, bytes, err);
	}
	for (int64_t at = 0; at < n && status == PLM_OK; at += READ_ELEMENTS)
	{
		int64_t		count = n - at < READ_ELEMENTS ? n - at : READ_ELEMENTS;
		float	   *to = dst != NULL ? dst + at : piece;
		PlmMark		inner = plm_arena_mark(arena);
		int64_t		bad;

		if (plm_stopped(&worker))
		{
			status = plm_cancelled(err);
			break;
		}
		status = plm_tensor_read(param->tensor, at, count, to, arena, err);
		plm_arena_rewind(arena, inner);
		bad = status == PLM_OK ? plm_find_nonfinite(to, count) : -1;
		if (bad >= 0)
			status = plm_fail(err, PLM_ENUMERIC, 0, "tensor \"%.120s\" has a value that is not finite at index %" PRId64,
							  param->tensor->name, at + bad);
	}
	plm_arena_rewind(arena, mark);
	return status;
}
