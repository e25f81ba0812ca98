/*
 * explain.c -- which tokens a score comes from: integrated gradients (Sundararajan et al. 2017).
 *
 * The path from the empty text (or a masked one) to the text is straight: each token has a sum of embeddings from + a (to - from) and a
 * gate, how far it is there, with a from 0 to 1.  Against the empty text the side's tokens keep their embeddings and their gates grow
 * from 0, where attention and pooling do not see them (../nn/attention_gated.c, explain_head.c); tokens that the empty text has too
 * move from its places to the text's.  Against a masked text embeddings alone change.  A token's contribution is
 *
 *     integral over a of  dF/dx_t . (to_t - from_t) + dF/dg_t
 *
 * and all of them add up to F(text) - F(empty), by the theorem on line integrals.  The integral is taken by Gauss and Legendre's
 * rule, for the empty text in u with a = bend ((1 + 1/bend)^u - 1): a text of n words is there by half at a of some 2/n already.
 */
#include "explain.h"

#include <math.h>
#include <string.h>

#define FIRST_STEPS 8			/* doubled until the error is small */
#define SMALL_ERROR 0.005
#define LEAST_DIFFERENCE 1e-5	/* below this fp32's rounding is all there is */

/* ---- the path ---- */

typedef struct Path
{
	PlmExplainer *e;
	const PlmExplainTask *task;
	PlmExplanation *out;
	PlmArena   *arena;			/* of what is over when the explanation is made */
	PlmWorker  *worker;
	bool		gated;
	double		bend;			/* 0: a is u */
	float	   *from;			/* (n,C) */
	float	   *delta;			/* (n,C) to - from */
} Path;

static PlmStatus
take(PlmArena *arena, int64_t count, size_t size, void *out, PlmError *err)
{
	void	   *ptr = plm_arena_array(arena, (size_t) count, size);

	if (ptr == NULL)
		return plm_arena_refused(arena, (size_t) count * size, err);
	memset(ptr, 0, (size_t) count * size);
	memcpy(out, &ptr, sizeof(ptr));
	return PLM_OK;
}

/* The prompt and the first text as one. */
static PlmStatus
with_prompt(const PlmExplainTask *task, PlmArena *arena, PlmText *out, PlmError *err)
{
	size_t		len;
	char	   *joined;

	*out = task->input.first;
	if (task->prompt.len == 0)
		return PLM_OK;
	if (!plm_add(task->prompt.len, task->input.first.len, &len))
		return plm_fail(err, PLM_ELIMIT, 0, "text of %zu bytes is too long", task->input.first.len);
	joined = plm_arena_alloc(arena, len);
	if (joined == NULL)
		return plm_arena_refused(arena, len, err);
	memcpy(joined, task->prompt.data, task->prompt.len);
	if (task->input.first.len > 0)
		memcpy(joined + task->prompt.len, task->input.first.data, task->input.first.len);
	*out = (PlmText) {joined, len};
	return PLM_OK;
}

/* Whose token is which; offsets count from the text, not from its prompt. */
static int64_t
mark_own(const PlmExplainTask *task, PlmExplanation *x)
{
	int64_t		prompt = task->second ? 0 : (int64_t) task->prompt.len;
	int64_t		n = 0;

	for (int64_t t = 0; t < x->encoding.n; t++)
	{
		bool		side = task->input.second.data == NULL || (x->encoding.types[t] == 1) == task->second;

		if (!side)
			continue;
		if (x->encoding.start[t] < prompt)
		{
			x->own[t] = 2;
			x->encoding.start[t] = x->encoding.end[t] = -1;
			continue;
		}
		x->own[t] = 1;
		x->encoding.start[t] -= prompt;
		x->encoding.end[t] -= prompt;
		n++;
	}
	return n;
}

PlmStatus
plm_explain_encode(const PlmExplainTask *task, const PlmModel *model, PlmArena *arena, PlmWorker *worker, PlmExplanation *x, PlmError *err)
{
	PlmText		text;

	PLM_TRY(with_prompt(task, arena, &text, err));
	PLM_TRY(plm_encode(&model->tokenizer, text, task->input.second.data != NULL ? &task->input.second : NULL,
					   model->config.max_tokens, worker, arena, &x->encoding, err));
	if (x->encoding.truncated && !task->truncate)
	{
		plm_fail(err, PLM_EARG, 0, "the text has more tokens than the model sees, %" PRId32, model->config.max_tokens);
		return plm_hint(err, "With truncate => true what the model sees is explained.");
	}
	PLM_TRY(take(arena, x->encoding.n, 1, &x->own, err));
	PLM_TRY(take(arena, x->encoding.n, sizeof(double), &x->contribution, err));
	if (mark_own(task, x) == 0)
	{
		plm_fail(err, PLM_EARG, 0, "the text has no words that could be explained");
		return plm_hint(err, "An empty text is what others are compared with.");
	}
	return PLM_OK;
}

/* (C) += or -= the sum of a token's embeddings. */
static void
add_embedding(const PlmModel *m, int32_t id, int32_t type, int64_t position, float sign, float *to)
{
	int64_t		C = m->config.width;
	const float *parts[] = {m->tok_embd + id * C, m->type_embd != NULL ? m->type_embd + type * C : NULL, m->pos_embd + position * C};

	for (int p = 0; p < PLM_COUNT(parts); p++)
		for (int64_t i = 0; parts[p] != NULL && i < C; i++)
			to[i] += sign * parts[p][i];
}

static PlmStatus
lay_path(Path *p, PlmError *err)
{
	const PlmModel *m = p->e->model;
	const PlmEncoding *x = &p->out->encoding;
	int64_t		C = m->config.width;
	int64_t		kept = 0;

	PLM_TRY(take(p->arena, x->n * C, sizeof(float), &p->from, err));
	PLM_TRY(take(p->arena, x->n * C, sizeof(float), &p->delta, err));
	for (int64_t t = 0; t < x->n; t++)
	{
		bool		own = p->out->own[t] == 1;
		int64_t		place = own || !p->gated ? t : kept;
		int32_t		id = own && !p->gated ? m->tokenizer.mask : x->ids[t];

		if (x->ids[t] < 0 || x->ids[t] >= m->config.vocab || (m->type_embd != NULL && x->types[t] >= m->config.types))
			return plm_fail(err, PLM_EARG, 0, "token id %" PRId32 " is outside the model's tables", x->ids[t]);
		kept += !own;
		add_embedding(m, id, x->types[t], place, 1, p->from + t * C);
		if (place == t && id == x->ids[t])
			continue;
		add_embedding(m, x->ids[t], x->types[t], t, 1, p->delta + t * C);
		add_embedding(m, id, x->types[t], place, -1, p->delta + t * C);
	}
	return PLM_OK;
}

/* ---- the number itself, by the heads of inference ---- */

static PlmStatus
number_of(const Path *p, const PlmBatch *batch, double *value, PlmError *err)
{
	const PlmModel *m = p->e->model;
	const PlmHead *head = p->task->along != NULL ? &plm_head_embed : &plm_head_classify;
	int64_t		width = p->task->along != NULL ? m->config.dimensions : m->config.labels;
	int64_t		one = 1;
	PlmWorkspace ws;
	float	   *row = NULL;

	PLM_TRY(take(p->arena, width, sizeof(float), &row, err));
	PLM_TRY(plm_workspace_carve(m, batch->tokens, batch->longest, head->bytes(m, 1), p->arena, &ws, err));
	PLM_TRY(plm_encoder_forward(m, batch, &ws, NULL, p->worker, err));
	PLM_TRY(head->apply(m, batch, ws.x, &one, row, ws.head, p->worker, err));
	*value = p->task->along != NULL ? plm_dot(row, p->task->along, width) : plm_explained_logit(m, row, p->task->label, NULL);
	return PLM_OK;
}

/* The number of the text, and of the text without the side's tokens, or with masks in their places. */
static PlmStatus
both_ends(Path *p, PlmError *err)
{
	PlmEncoding *x = &p->out->encoding;
	PlmEncoding base = {0};
	int64_t		offsets[2];
	PlmBatch	batch = plm_batch_of_one(x, offsets);
	PlmMark		mark = plm_arena_mark(p->arena);

	PLM_TRY(number_of(p, &batch, &p->out->value, err));
	PLM_TRY(take(p->arena, x->n, sizeof(int32_t), &base.ids, err));
	PLM_TRY(take(p->arena, x->n, sizeof(int32_t), &base.types, err));
	for (int64_t t = 0; t < x->n; t++)
	{
		bool		own = p->out->own[t] == 1;

		if (own && p->gated)
			continue;
		base.ids[base.n] = own ? p->e->model->tokenizer.mask : x->ids[t];
		base.types[base.n++] = x->types[t];
	}
	batch = plm_batch_of_one(&base, offsets);
	PLM_TRY(number_of(p, &batch, &p->out->base, err));
	plm_arena_rewind(p->arena, mark);
	return PLM_OK;
}

/* ---- the integral ---- */

/* Nodes and weights of Gauss and Legendre's rule on [0,1]; each node by Newton's iteration from a good guess. */
static void
gauss_legendre(int64_t n, double *node, double *weight)
{
	for (int64_t i = 0; i < n; i++)
	{
		double		x = cos(M_PI * ((double) i + 0.75) / ((double) n + 0.5));
		double		slope = 1;

		for (int round = 0; round < 20; round++)
		{
			double		before = 1;
			double		p = x;

			for (int64_t k = 2; k <= n; k++)
			{
				double		next = ((double) (2 * k - 1) * x * p - (double) (k - 1) * before) / (double) k;

				before = p;
				p = next;
			}
			slope = (double) n * (x * p - before) / (x * x - 1);
			x -= p / slope;
			if (fabs(p / slope) < 1e-15)
				break;
		}
		node[i] = (1 - x) / 2;
		weight[i] = 1 / ((1 - x * x) * slope * slope);
	}
}

/* a of u, and da/du. */
static double
bent(const Path *p, double u, double *slope)
{
	double		base = 1 + 1 / p->bend;

	if (p->bend == 0)
	{
		*slope = 1;
		return u;
	}
	*slope = p->bend * log(base) * pow(base, u);
	return p->bend * (pow(base, u) - 1);
}

/* Step i of those that go together, at a. */
static void
lay_step(Path *p, int64_t i, double a)
{
	int64_t		n = p->out->encoding.n;
	int64_t		C = p->e->model->config.width;
	float	   *sum = p->e->steps.sum + i * n * C;

	for (int64_t k = 0; k < n * C; k++)
		sum[k] = p->from[k] + (float) a * p->delta[k];
	for (int64_t t = 0; t < n; t++)
		p->e->steps.gates[i * n + t] = p->gated && p->out->own[t] == 1 ? (float) a : 1;
}

/* The last token of the side. */
static int64_t
end_of_side(const PlmExplanation *x)
{
	int64_t		t = x->encoding.n - 1;

	while (t > 0 && x->own[t] == 0)
		t--;
	return t;
}

static void
add_step(Path *p, int64_t i, double weight)
{
	PlmExplanation *x = p->out;
	int64_t		n = x->encoding.n;
	int64_t		C = p->e->model->config.width;
	const float *d = p->e->steps.back.dx + i * n * C;
	int64_t		end = end_of_side(x);

	for (int64_t t = 0; t < n; t++)
	{
		bool		own = x->own[t] == 1;

		x->contribution[own ? t : end] += weight * plm_dot(d + t * C, p->delta + t * C, C);
		if (own && p->gated)
			x->contribution[t] += weight * p->e->steps.dgates[i * n + t];
	}
}

static PlmStatus
integrate(Path *p, int64_t steps, PlmError *err)
{
	PlmExplanation *x = p->out;
	double		node[PLM_EXPLAIN_MOST_STEPS];
	double		weight[PLM_EXPLAIN_MOST_STEPS];
	double		slope[PLM_EXPLAIN_MOST_STEPS];
	double		sum = 0;

	gauss_legendre(steps, node, weight);
	memset(x->contribution, 0, (size_t) x->encoding.n * sizeof(double));
	for (int64_t first = 0; first < steps; first += p->e->steps.n)
	{
		p->e->steps.n = steps - first < p->e->steps.room ? steps - first : p->e->steps.room;
		for (int64_t i = 0; i < p->e->steps.n; i++)
			lay_step(p, i, bent(p, node[first + i], &slope[first + i]));
		PLM_TRY(plm_steps_run(p->e, p->task, p->arena, p->worker, err));
		for (int64_t i = 0; i < p->e->steps.n; i++)
			add_step(p, i, weight[first + i] * slope[first + i]);
	}
	for (int64_t t = 0; t < x->encoding.n; t++)
		sum += x->contribution[t];
	x->steps = steps;
	x->passes += steps;
	x->error = fabs(sum - (x->value - x->base)) / fmax(fabs(x->value - x->base), LEAST_DIFFERENCE);
	if (!isfinite(x->error))
		return plm_fail(err, PLM_ENUMERIC, 0, "a gradient is not finite");
	return PLM_OK;
}

static PlmStatus
explain(Path *p, PlmError *err)
{
	int64_t		n = p->out->encoding.n;
	int64_t		steps = p->task->steps > 0 ? p->task->steps : FIRST_STEPS;

	PLM_TRY(both_ends(p, err));
	PLM_TRY(lay_path(p, err));
	for (;;)
	{
		PLM_TRY(plm_steps_fit(p->e, steps, n, p->gated, err));
		PLM_TRY(integrate(p, steps, err));
		if (p->task->steps > 0 || p->out->error <= SMALL_ERROR || 2 * steps > PLM_EXPLAIN_MOST_STEPS)
			break;
		steps *= 2;
	}
	return PLM_OK;
}

/* ---- from outside ---- */

PlmStatus
plm_explain_possible(const PlmModel *model, const PlmExplainTask *task, PlmError *err)
{
	if (task->along != NULL)
		return plm_embed_possible(model, err);
	if (!plm_model_can(model, PLM_TASK_CLASSIFICATION))
		return plm_fail(err, PLM_EARG, 0, "the model has no sequence classification head");
	if (task->label < 0 || task->label >= model->config.labels)
		return plm_fail(err, PLM_EARG, 0, "the model has no label %" PRId32, task->label);
	return PLM_OK;
}

static PlmStatus
check(const PlmModel *model, const PlmExplainTask *task, PlmError *err)
{
	if (task->steps < 0 || task->steps > PLM_EXPLAIN_MOST_STEPS)
		return plm_fail(err, PLM_EARG, 0, "steps must be between 0 and %d, not %" PRId64, PLM_EXPLAIN_MOST_STEPS, task->steps);
	if (task->against == PLM_AGAINST_MASK && model->tokenizer.mask < 0)
	{
		plm_fail(err, PLM_EARG, 0, "the model's tokenizer has no mask token");
		return plm_hint(err, "Explain against the empty text.");
	}
	return plm_explain_possible(model, task, err);
}

PlmStatus
plm_explain(PlmExplainer *e, const PlmExplainTask *task, const PlmOptions *options, PlmArena *arena, PlmExplanation *out,
			PlmError *err)
{
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, options->hook);
	PlmArena	work;
	Path		p = {.e = e, .task = task, .out = out, .arena = &work, .worker = &worker,
	.gated = task->against == PLM_AGAINST_EMPTY};
	PlmStatus	status;

	memset(out, 0, sizeof(*out));
	PLM_TRY(check(e->model, task, err));
	PLM_TRY(plm_explain_encode(task, e->model, arena, &worker, out, err));
	p.bend = p.gated ? 2 / (double) out->encoding.n : 0;
	/* Three quarters of what the weights leave are the steps'. */
	plm_arena_beside(&work, &e->arena);
	plm_arena_init(&work, options->hook, work.limit > 1 ? work.limit / 4 + 1 : work.limit);
	status = explain(&p, err);
	plm_arena_free(&work);
	return status;
}

/* ---- the exact parts ---- */

static PlmStatus
share(const PlmModel *m, const PlmExplainTask *task, const PlmBatch *batch, PlmArena *work, PlmWorker *worker, PlmExplanation *x,
	  PlmError *err)
{
	int64_t		C = m->config.width;
	PlmWorkspace ws;
	float	   *mean = NULL;
	double		length;

	PLM_TRY(take(work, C, sizeof(float), &mean, err));
	PLM_TRY(plm_workspace_carve(m, batch->tokens, batch->longest, 0, work, &ws, err));
	PLM_TRY(plm_encoder_forward(m, batch, &ws, NULL, worker, err));
	plm_pool_text(PLM_POOL_MEAN, batch->tokens, C, ws.x, mean);
	length = sqrt(plm_dot(mean, mean, C));
	if (!(length > 0) || !isfinite(length))
		return plm_fail(err, PLM_ENUMERIC, 0, "the embedding of a text is zero or not finite");
	x->value = plm_dot(mean, task->along, C) / length;
	for (int64_t t = 0; t < batch->tokens; t++)
		x->contribution[t] = plm_dot(ws.x + t * C, task->along, C) / ((double) batch->tokens * length);
	return PLM_OK;
}

PlmStatus
plm_explain_pooling(const PlmModel *model, const PlmExplainTask *task, const PlmOptions *options, PlmArena *arena,
					PlmExplanation *out, PlmError *err)
{
	const PlmConfig *c = &model->config;
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, options->hook);
	PlmArena	work;
	PlmBatch	batch;
	int64_t		offsets[2];
	double		sum = 0;
	PlmStatus	status;

	memset(out, 0, sizeof(*out));
	PLM_TRY(plm_embed_possible(model, err));
	if (task->along == NULL || c->n_pooling != 1 || c->n_dense > 0 ||
		(c->pooling[0] != PLM_POOL_MEAN && c->pooling[0] != PLM_POOL_MEAN_SQRT))
	{
		plm_fail(err, PLM_EUNSUPPORTED, 0, "the score is not a sum over tokens: the model's vector is not the mean of its tokens");
		return plm_hint(err, "Explain against the empty text.");
	}
	PLM_TRY(plm_explain_encode(task, model, arena, &worker, out, err));
	batch = plm_batch_of_one(&out->encoding, offsets);
	plm_arena_init(&work, options->hook, options->memory_limit);
	status = share(model, task, &batch, &work, &worker, out, err);
	plm_arena_free(&work);
	for (int64_t t = 0; t < out->encoding.n; t++)
		sum += out->contribution[t];
	out->error = fabs(sum - out->value) / fmax(fabs(out->value), LEAST_DIFFERENCE);
	return status;
}
