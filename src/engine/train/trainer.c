/*
 * trainer.c -- a run: opening, steps, and keeping the best.
 *
 * A step that fails or is cancelled before its update leaves no trace; from the update on it counts as done, and what an
 * interruption has left of it is made up for before anything else happens.
 */
#include "internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void
plm_share_limit(PlmTrainer *t, PlmArena *arena)
{
	size_t		held = t->arena.taken + t->step.taken + t->space.arena.taken - arena->taken;

	if (t->options.memory_limit != 0)
		arena->limit = t->options.memory_limit > held ? t->options.memory_limit - held : 1;
}

static PlmStatus
check_examples(const PlmTrainer *t, const PlmExamples *e, const char *what, PlmError *err)
{
	if (plm_examples_objective(e) != t->options.objective)
		return plm_fail(err, PLM_EINTERNAL, 0, "examples of %s serve no training of %s",
						plm_objective_name(plm_examples_objective(e)), t->code->name);
	if (plm_examples_count(e) == 0)
		return plm_fail(err, PLM_EARG, 0, "there are no %s examples", what);
	if (plm_examples_tokenizer(e)->tokens != t->model.tokenizer.tokens)
		return plm_fail(err, PLM_EARG, 0, "the %s examples were cut into tokens by another tokenizer", what);
	if (plm_examples_longest(e) > t->model.config.positions)
		return plm_fail(err, PLM_EARG, 0, "an example has %" PRId32 " tokens, the model only %" PRId32 " positions",
						plm_examples_longest(e), t->model.config.positions);
	if (t->options.objective == PLM_LEARN_DISTILLED && plm_examples_target_width(e) != t->model.config.dimensions)
	{
		plm_fail(err, PLM_EARG, 0, "the teacher's vectors have %" PRId32 " dimensions, the model's %" PRId32,
				 plm_examples_target_width(e), t->model.config.dimensions);
		return plm_hint(err, "Take a base whose embeddings are as wide as the teacher's.");
	}
	return PLM_OK;
}

static int64_t
steps_of(const PlmTrainOptions *o, int64_t examples)
{
	double		steps = ceil(o->epochs * (double) examples / (double) o->batch);

	if (o->steps > 0)
		return o->steps;
	return steps < 1 ? 1 : steps > 1e9 ? 1000000000 : (int64_t) steps;
}

static PlmStatus
open_trainer(PlmTrainer *t, const PlmTrainBase *base, PlmError *err)
{
	PLM_TRY(plm_weights_open(t, base, err));
	if (t->options.word_vectors)
	{
		t->model.embd_norm = t->model.blocks[t->model.config.layers - 1].ff_norm;
		t->model.config.layers = 0;
	}
	PLM_TRY(check_examples(t, t->train, "training", err));
	if (t->held_out != NULL)
		PLM_TRY(check_examples(t, t->held_out, "held-out", err));
	t->most_tokens = plm_space_most(t);
	t->steps = steps_of(&t->options, plm_examples_count(t->train));
	t->mined_epoch = -1;
	PLM_TRY(plm_private_open(t, err));
	return t->code->open != NULL ? t->code->open(t, err) : PLM_OK;
}

PlmStatus
plm_trainer_open(const PlmTrainBase *base, const PlmTrainOptions *options, const PlmExamples *train,
				 const PlmExamples *held_out, PlmTrainer **out, PlmError *err)
{
	PlmArena	arena;
	PlmTrainer *t;
	PlmStatus	status;

	*out = NULL;
	PLM_TRY(plm_train_check(options, err));
	plm_arena_init(&arena, options->hook, options->memory_limit);
	t = plm_arena_zero(&arena, sizeof(*t));
	if (t == NULL)
		return plm_arena_refused(&arena, sizeof(*t), err);
	t->options = *options;
	t->arena = arena;
	t->code = plm_objective(options->objective);
	t->train = train;
	t->held_out = held_out;
	t->files = base->files;
	t->threads = options->threads < 1 ? 1 : options->threads > PLM_MAX_THREADS ? PLM_MAX_THREADS : options->threads;
	plm_arena_init(&t->step, options->hook, options->memory_limit);
	plm_arena_init(&t->space.arena, options->hook, options->memory_limit);
	status = open_trainer(t, base, err);
	if (status != PLM_OK)
	{
		plm_trainer_close(t);
		return status;
	}
	*out = t;
	return PLM_OK;
}

void
plm_trainer_close(PlmTrainer *t)
{
	PlmArena	arena;

	if (t == NULL)
		return;
	plm_arena_free(&t->space.arena);
	plm_arena_free(&t->step);
	arena = t->arena;			/* it holds the trainer itself */
	plm_arena_free(&arena);
}

int64_t
plm_trainer_steps(const PlmTrainer *t)
{
	return t->steps;
}

int64_t
plm_trainer_at(const PlmTrainer *t)
{
	return t->at_step;
}

int64_t
plm_trainer_parameters(const PlmTrainer *t)
{
	int64_t		n = 0;

	for (int64_t i = 0; i < t->n_slots; i++)
		n += t->slots[i].n;
	return n;
}

PlmStatus
plm_trainer_ready(PlmTrainer *t, PlmError *err)
{
	PlmMark		empty = {NULL, 0};

	t->waiting = NULL;
	plm_arena_rewind(&t->step, empty);
	plm_share_limit(t, &t->step);
	PLM_TRY(plm_update_finish(t, err));
	return plm_weights_pack(t, err);
}

PlmStatus
plm_trainer_fit(PlmTrainer *t, const PlmTexts *texts, PlmError *err)
{
	PLM_TRY(plm_space_fit(t, texts, err));
	plm_share_limit(t, &t->step);
	return PLM_OK;
}

static void
begin_gradient(PlmTrainer *t, PlmMicro *m)
{
	m->dhidden = t->space.dx;
	memset(m->dhidden, 0, (size_t) (m->batch.tokens * t->model.config.width) * sizeof(float));
}

/* Adds a micro-batch's share to the loss, and its gradient to t->g. */
static PlmStatus
micro_gradient(PlmTrainer *t, const PlmTexts *texts, int64_t i, double *loss, PlmError *err)
{
	PlmMark		mark = plm_arena_mark(&t->step);
	PlmMicro	m;
	double		share = 0;

	PLM_TRY(plm_micro_lay(t, texts, i, &m, err));
	PLM_TRY(plm_micro_forward(t, &m, true, err));
	begin_gradient(t, &m);
	if (plm_private(t))
		PLM_TRY(plm_clip_begin(t, err));
	PLM_TRY(t->code->hidden_loss(t, &m, &share, err));
	*loss += share;
	PLM_TRY(plm_micro_backward(t, &m, err));
	plm_arena_rewind(&t->step, mark);
	return PLM_OK;
}

/* Objectives whose loss is a sum over texts: one micro-batch after the other. */
static PlmStatus
hidden_gradient(PlmTrainer *t, const PlmTexts *texts, double *loss, PlmError *err)
{
	for (int64_t i = 0; i < texts->micros; i++)
		PLM_TRY(micro_gradient(t, texts, i, loss, err));
	return PLM_OK;
}

/* Of a private step: the sum of clipped gradients, then the noise.  The loss is told as it is, without noise. */
static PlmStatus
private_gradient(PlmTrainer *t, const PlmTexts *texts, double *loss, PlmError *err)
{
	PLM_TRY(hidden_gradient(t, texts, loss, err));
	PLM_TRY(plm_adapters_gradient(t, err));
	*loss = texts->examples > 0 ? *loss / (double) texts->examples : 0;
	return plm_private_end(t, err);
}

/*
 * Objectives on embeddings, whose loss is over all texts of the step at once.  When they are too many for one tape, all
 * are embedded first, the loss gives the gradient at each embedding, and then each micro-batch is computed again, with
 * a tape (gradient caching: Gao et al. 2021).
 */
static PlmStatus
vector_gradient(PlmTrainer *t, const PlmTexts *texts, double *loss, PlmError *err)
{
	int64_t		D = t->model.config.dimensions;
	PlmPooled  *kept = NULL;
	PlmMicro	m;
	float	   *e;
	float	   *de;

	PLM_TRY(plm_take(&t->step, texts->n * D, sizeof(float), &e, err));
	PLM_TRY(plm_take(&t->step, texts->n * D, sizeof(float), &de, err));
	memset(de, 0, (size_t) (texts->n * D) * sizeof(float));
	if (texts->micros > 1)
		PLM_TRY(plm_embed_texts(t, texts, e, err));
	else
	{
		PLM_TRY(plm_micro_lay(t, texts, 0, &m, err));
		PLM_TRY(plm_micro_forward(t, &m, true, err));
		PLM_TRY(plm_embed_forward(t, &m, e, &kept, err));
	}
	PLM_TRY(t->code->vector_loss(t, texts, e, de, loss, err));
	for (int64_t i = 0; i < texts->micros; i++)
	{
		PlmMark		mark = plm_arena_mark(&t->step);

		if (texts->micros > 1)
		{
			PLM_TRY(plm_micro_lay(t, texts, i, &m, err));
			PLM_TRY(plm_micro_forward(t, &m, true, err));
			PLM_TRY(plm_embed_forward(t, &m, e + m.first * D, &kept, err));
		}
		begin_gradient(t, &m);
		PLM_TRY(plm_embed_backward(t, &m, kept, e + m.first * D, de + m.first * D, err));
		PLM_TRY(plm_micro_backward(t, &m, err));
		plm_arena_rewind(&t->step, mark);
	}
	return PLM_OK;
}

PlmStatus
plm_trainer_gradient(PlmTrainer *t, PlmTexts *texts, double *loss, PlmError *err)
{
	*loss = 0;
	PLM_TRY(plm_gradient_zero(t, err));
	if (t->code->prepare != NULL)
		PLM_TRY(t->code->prepare(t, texts, err));
	PLM_TRY(plm_trainer_fit(t, texts, err));
	if (plm_private(t))
		return private_gradient(t, texts, loss, err);
	if (t->code->vector_loss != NULL)
		PLM_TRY(vector_gradient(t, texts, loss, err));
	else
		PLM_TRY(hidden_gradient(t, texts, loss, err));
	return plm_adapters_gradient(t, err);
}

static PlmStatus
not_finite(const char *what, const char *when, int64_t step, double value, PlmError *err)
{
	plm_fail(err, PLM_ENUMERIC, 0, "the %s %s step %" PRId64 " is %g", what, when, step, value);
	return plm_hint(err, "A lower learning rate, a longer warm-up or clipping keep training from running away.");
}

/* Weights whose numbers came to nothing: those before the last update gave a finite loss, and are kept instead. */
static PlmStatus
last_good(PlmTrainer *t, PlmStatus status, PlmError *err)
{
	if (status == PLM_ENUMERIC)
	{
		if (err != NULL && err->hint[0] == '\0')
			plm_hint(err, "A lower learning rate, a longer warm-up or clipping keep training from running away.");
		plm_update_undo(t);
	}
	return status;
}

/* Loss and gradient of the step that comes next; both finite. */
static PlmStatus
find_gradient(PlmTrainer *t, PlmStep *out, PlmError *err)
{
	PlmTexts	texts;

	PLM_TRY(plm_mine(t, err));
	PLM_TRY(plm_texts_of_step(t, &texts, err));
	PLM_TRY(plm_trainer_gradient(t, &texts, &out->loss, err));
	out->tokens = texts.tokens;
	if (!isfinite(out->loss))
		return not_finite("loss", "of", t->at_step + 1, out->loss, err);
	PLM_TRY(plm_gradient_norm(t, &out->gradient_norm, err));
	return isfinite(out->gradient_norm) ? PLM_OK :
		not_finite("norm of the gradient", "of", t->at_step + 1, out->gradient_norm, err);
}

PlmStatus
plm_trainer_step(PlmTrainer *t, PlmStep *out, PlmError *err)
{
	PlmStep		step = {0};
	double		scale = 1;

	PLM_TRY(plm_trainer_ready(t, err));
	if (t->at_step >= t->steps)
		return plm_fail(err, PLM_EARG, 0, "all %" PRId64 " steps are done", t->steps);
	PLM_TRY(last_good(t, find_gradient(t, &step, err), err));
	if (!plm_private(t) && t->options.clip > 0 && step.gradient_norm > t->options.clip)
		scale = t->options.clip / step.gradient_norm;
	step.step = t->at_step + 1;
	step.learning_rate = plm_learning_rate(t, t->at_step);
	step.last = step.step == t->steps;
	*out = step;
	return plm_update(t, step.learning_rate, scale, err);
}

static PlmStatus
find_figures(PlmTrainer *t, int samples, PlmMetric *metrics, int *n, PlmError *err)
{
	PLM_TRY(t->code->evaluate(t, samples, metrics, n, err));
	for (int i = 0; i < *n; i++)
		if (!isfinite(metrics[i].value))
		{
			char		what[64];

			snprintf(what, sizeof(what), "held-out %s", metrics[i].name);
			return not_finite(what, "after", t->at_step, metrics[i].value, err);
		}
	return PLM_OK;
}

PlmStatus
plm_trainer_evaluate(PlmTrainer *t, int samples, PlmMetric metrics[PLM_MAX_METRICS], int *n, bool *better_high, PlmError *err)
{
	*n = 0;
	*better_high = t->code->better_high;
	if (t->held_out == NULL)
		return plm_fail(err, PLM_EARG, 0, "there are no held-out examples to evaluate on");
	PLM_TRY(plm_trainer_ready(t, err));
	return last_good(t, find_figures(t, samples, metrics, n, err), err);
}

PlmStatus
plm_trainer_keep(PlmTrainer *t, PlmError *err)
{
	PLM_TRY(plm_update_finish(t, err));
	if (t->best == NULL)
	{
		plm_share_limit(t, &t->arena);
		PLM_TRY(plm_take_zeroed(t, t->n_w, &t->best, err));
	}
	memcpy(t->best, t->w, (size_t) t->n_w * sizeof(float));
	t->has_best = true;
	return PLM_OK;
}
