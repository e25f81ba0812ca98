/*
 * objective_masked.c -- masked-language modelling (Devlin et al. 2019) and next-sentence prediction: the loss.
 *
 * Only masked rows go through the head, a slice of them at a time, so that a slice's logits (rows,V) are the largest
 * buffer.  Which tokens are masked is decided in masking.c.
 *
 *     h = norm(act(dense(x)))      logits = h E^T + b      loss = mean over masked rows of -log softmax(logits)[target]
 */
#include "internal.h"

#include <math.h>
#include <string.h>

#define LOGITS_FLOATS ((int64_t) 16 << 20)	/* of a slice */
#define BLOCK_ROWS 48			/* one task's rows of the logits */
#define BLOCK_TOKENS 1024		/* one task's rows of the decoder's gradient */

/* Masked rows of one micro-batch. */
typedef struct Head
{
	PlmTrainer *t;
	int64_t		rows;			/* M */
	const int32_t *target;		/* (M) */
	double		share;			/* of each row in the loss */
	bool		learn;			/* gradients too */
	float	   *x;				/* (M,C) hidden states */
	float	   *z;				/* (M,C) before the activation */
	float	   *act;			/* (M,C) */
	float	   *save;			/* (M,2) */
	float	   *h;				/* (M,C) */
	float	   *dh;				/* (M,C) */
	float	   *logits;			/* (slice,V), then their gradient */
	double	   *loss;			/* (M) */
	bool	   *right;			/* (M) is the best one the target? */
	int64_t		first;			/* of the slice at hand */
	int64_t		slice;
	float	   *ddecoder, *dbias;
} Head;

static int64_t
decoder_section(const PlmTrainer *t)
{
	return plm_section_of(&t->plan, t->model.config.tied ? "tok_embd" : "mask_decoder.w");
}

/* One row's loss; its logits become the gradient. */
static void
row_loss(Head *head, int64_t row, float *z)
{
	int64_t		V = head->t->model.config.vocab;
	int32_t		y = head->target[row];
	float		target = z[y];
	float		most = z[0];
	double		all;

	for (int64_t v = 1; v < V; v++)
		most = z[v] > most ? z[v] : most;
	plm_softmax(z, V, 1.0f);
	/* The largest probability is at least 1/V: its logarithm is sound, that of the target's may not be. */
	{
		float		p = 0;

		for (int64_t v = 0; v < V; v++)
			p = z[v] > p ? z[v] : p;
		all = most - log(p);
	}
	head->loss[row] = head->share * (all - target);
	head->right[row] = target >= most;
	if (!head->learn)
		return;
	plm_scale(z, (float) head->share, V);
	z[y] -= (float) head->share;
}

static PlmStatus
logit_rows(void *arg, int64_t block, PlmWorker *worker, PlmError *err)
{
	Head	   *head = arg;
	const PlmModel *model = &head->t->model;
	int64_t		C = model->config.width;
	int64_t		V = model->config.vocab;
	int64_t		first = block * BLOCK_ROWS;
	int64_t		rows = head->slice - first < BLOCK_ROWS ? head->slice - first : BLOCK_ROWS;
	float	   *z = head->logits + first * V;

	if (plm_stopped(worker))
		return plm_cancelled(err);
	plm_gemm(false, true, rows, V, C, 1.0f, head->h + (head->first + first) * C, C, model->mask_decoder, C, 0.0f, z, V);
	for (int64_t r = 0; r < rows; r++)
	{
		plm_add_to(z + r * V, model->mask_bias, V);
		row_loss(head, head->first + first + r, z + r * V);
	}
	if (!head->learn)
		return PLM_OK;
	if (plm_stopped(worker))
		return plm_cancelled(err);
	plm_gemm(false, false, rows, C, V, 1.0f, z, V, model->mask_decoder, C, 0.0f, head->dh + (head->first + first) * C, C);
	return PLM_OK;
}

/* Rows of the decoder's gradient: all of the slice's rows in one product. */
static PlmStatus
decoder_rows(void *arg, int64_t block, PlmWorker *worker, PlmError *err)
{
	Head	   *head = arg;
	int64_t		C = head->t->model.config.width;
	int64_t		V = head->t->model.config.vocab;
	int64_t		first = block * BLOCK_TOKENS;
	int64_t		n = V - first < BLOCK_TOKENS ? V - first : BLOCK_TOKENS;

	if (plm_stopped(worker))
		return plm_cancelled(err);
	if (head->ddecoder != NULL)
		plm_nn_linear_backward(head->slice, n, C, head->logits + first, V, head->h + head->first * C, C,
							   head->ddecoder + first * C, head->dbias != NULL ? head->dbias + first : NULL);
	else
		for (int64_t r = 0; head->dbias != NULL && r < head->slice; r++)
			plm_add_to(head->dbias + first, head->logits + r * V + first, n);
	return PLM_OK;
}

static PlmStatus
head_slices(Head *head, PlmError *err)
{
	PlmTrainer *t = head->t;
	int64_t		V = t->model.config.vocab;
	int64_t		most = LOGITS_FLOATS / V < BLOCK_ROWS ? BLOCK_ROWS : LOGITS_FLOATS / V;

	most = head->rows < most ? head->rows : most;
	PLM_TRY(plm_take(&t->step, most * V, sizeof(float), &head->logits, err));
	for (head->first = 0; head->first < head->rows; head->first += most)
	{
		head->slice = head->rows - head->first < most ? head->rows - head->first : most;
		PLM_TRY(plm_parallel(t->threads, (head->slice + BLOCK_ROWS - 1) / BLOCK_ROWS, logit_rows, head, t->options.hook, err));
		if (head->learn)
			PLM_TRY(plm_parallel(t->threads, (V + BLOCK_TOKENS - 1) / BLOCK_TOKENS, decoder_rows, head, t->options.hook, err));
	}
	return PLM_OK;
}

static PlmStatus
head_forward(Head *head, PlmError *err)
{
	PlmTrainer *t = head->t;
	const PlmModel *model = &t->model;
	int64_t		C = model->config.width;

	PLM_TRY(plm_affine_forward(t, &t->mask_dense, head->rows, head->x, head->z, err));
	plm_affine_activate(&t->mask_dense, head->rows, head->z, head->act);
	plm_layer_norm(head->rows, C, head->act, NULL, model->mask_norm.g, model->mask_norm.b, model->config.norm_eps, head->h,
				   head->save);
	return head_slices(head, err);
}

/* dh to the gradient at the hidden states: to head->x. */
static PlmStatus
head_backward(Head *head, PlmError *err)
{
	PlmTrainer *t = head->t;
	int64_t		C = t->model.config.width;
	int64_t		g = plm_section_of(&t->plan, "mask_norm.g");
	int64_t		b = plm_section_of(&t->plan, "mask_norm.b");

	plm_layer_norm_backward(head->rows, C, head->act, head->save, t->model.mask_norm.g, head->dh, head->dh,
							plm_gradient(t, g), plm_gradient(t, b));
	return plm_affine_backward(t, &t->mask_dense, head->rows, head->x, head->z, head->dh, head->act, err);
}

static PlmStatus
head_open(Head *head, const PlmMicro *m, PlmError *err)
{
	PlmTrainer *t = head->t;
	int64_t		C = t->model.config.width;
	float	  **wide[] = {&head->x, &head->z, &head->act, &head->h, &head->dh};
	int64_t		decoder = decoder_section(t);

	(void) m;
	for (int i = 0; i < PLM_COUNT(wide); i++)
		PLM_TRY(plm_take(&t->step, head->rows * C, sizeof(float), wide[i], err));
	PLM_TRY(plm_take(&t->step, head->rows * 2, sizeof(float), &head->save, err));
	PLM_TRY(plm_take(&t->step, head->rows, sizeof(double), &head->loss, err));
	PLM_TRY(plm_take(&t->step, head->rows, sizeof(bool), &head->right, err));
	head->ddecoder = plm_gradient(t, decoder);
	head->dbias = plm_gradient(t, plm_section_of(&t->plan, "mask_decoder.b"));
	return PLM_OK;
}

/* The targets of a micro-batch: consecutive, for they ascend. */
static void
targets_of(const PlmMicro *m, int64_t *first, int64_t *n)
{
	const PlmTexts *x = m->texts;

	*first = 0;
	while (*first < x->targets && x->target_at[*first] < m->first_token)
		++*first;
	*n = 0;
	while (*first + *n < x->targets && x->target_at[*first + *n] < m->first_token + m->batch.tokens)
		++*n;
}

/* Losses of the masked rows; right: (rows) out, or NULL when the gradient is wanted instead. */
static PlmStatus
masked_rows(PlmTrainer *t, PlmMicro *m, double *loss, double *losses, bool *right, PlmError *err)
{
	Head		head = {.t = t, .learn = m->dhidden != NULL};
	int64_t		C = t->model.config.width;
	int64_t		first;

	targets_of(m, &first, &head.rows);
	if (head.rows == 0)
		return PLM_OK;
	head.target = m->texts->target_id + first;
	head.share = head.learn ? 1 / (double) m->texts->targets : 1;
	PLM_TRY(head_open(&head, m, err));
	for (int64_t r = 0; r < head.rows; r++)
		memcpy(head.x + r * C, m->hidden + (m->texts->target_at[first + r] - m->first_token) * C, (size_t) C * sizeof(float));
	PLM_TRY(head_forward(&head, err));
	for (int64_t r = 0; r < head.rows; r++)
	{
		*loss += head.loss[r];
		if (losses != NULL)
			losses[first + r] = head.loss[r];
		if (right != NULL)
			right[first + r] = head.right[r];
	}
	if (!head.learn)
		return PLM_OK;
	PLM_TRY(head_backward(&head, err));
	for (int64_t r = 0; r < head.rows; r++)
		plm_add_to(m->dhidden + (m->texts->target_at[first + r] - m->first_token) * C, head.act + r * C, C);
	return PLM_OK;
}

/* Is the second text the first one's own?  Cross entropy of two classes; right: count of right answers, or NULL. */
static PlmStatus
next_rows(PlmTrainer *t, PlmMicro *m, double *loss, double *losses, bool *right, PlmError *err)
{
	const PlmTexts *x = m->texts;
	int64_t		C = t->model.config.width;
	float	   *rows[5];
	float	   *z;

	for (int i = 0; i < 5; i++)
		PLM_TRY(plm_take(&t->step, m->n * C, sizeof(float), &rows[i], err));
	PLM_TRY(plm_take(&t->step, m->n * 2, sizeof(float), &z, err));
	plm_gather_first(&m->batch, C, m->hidden, rows[0]);
	PLM_TRY(plm_affine_forward(t, &t->pooler, m->n, rows[0], rows[1], err));
	plm_affine_activate(&t->pooler, m->n, rows[1], rows[2]);
	PLM_TRY(plm_affine_forward(t, &t->next, m->n, rows[2], z, err));
	for (int64_t b = 0; b < m->n; b++)
	{
		int32_t		y = x->follows[x->owner[m->first + b]];
		double		d;
		double		one = plm_binary_loss((double) z[2 * b + 1] - z[2 * b], y, &d);

		if (losses != NULL)
			losses[m->first + b] = one;
		if (right != NULL)
			right[m->first + b] = (z[2 * b + 1] > z[2 * b]) == (y != 0);
		*loss += one / (double) x->examples;
		z[2 * b + 1] = (float) (d / (double) x->examples);
		z[2 * b] = -z[2 * b + 1];
	}
	if (m->dhidden == NULL)
		return PLM_OK;
	PLM_TRY(plm_affine_backward(t, &t->next, m->n, rows[2], NULL, z, rows[3], err));
	PLM_TRY(plm_affine_backward(t, &t->pooler, m->n, rows[0], rows[1], rows[3], rows[4], err));
	for (int64_t b = 0; b < m->n; b++)
		plm_add_to(m->dhidden + m->batch.offsets[b] * C, rows[4] + b * C, C);
	return PLM_OK;
}

static PlmStatus
masked_loss(PlmTrainer *t, PlmMicro *m, double *loss, PlmError *err)
{
	PLM_TRY(masked_rows(t, m, loss, NULL, NULL, err));
	return t->options.next_sentence ? next_rows(t, m, loss, NULL, NULL, err) : PLM_OK;
}

/* ---- evaluation: the same masks each time ---- */

/* Per example: sums over its masked tokens, and its answer to the second question. */
typedef struct Guess
{
	double		loss;
	int64_t		right, n;
	double		next_loss;
	bool		next_right;
} Guess;

static void
masked_figures(void *arg, const int64_t *pick, int64_t n, double *out)
{
	const Guess *g = arg;
	Guess		sum = {0};
	int64_t		next = 0;

	for (int64_t i = 0; i < n; i++)
	{
		sum.loss += g[pick[i]].loss;
		sum.right += g[pick[i]].right;
		sum.n += g[pick[i]].n;
		next += g[pick[i]].next_right;
	}
	out[0] = sum.n > 0 ? sum.loss / (double) sum.n : 0;
	out[1] = sum.n > 0 ? (double) sum.right / (double) sum.n : 0;
	out[2] = (double) next / (double) n;
}

static PlmStatus
guess_texts(PlmTrainer *t, PlmTexts *x, Guess *guess, PlmError *err)
{
	double	   *losses;
	bool	   *right;
	double		sum = 0;

	PLM_TRY(t->code->prepare(t, x, err));
	PLM_TRY(plm_trainer_fit(t, x, err));
	PLM_TRY(plm_take(&t->step, x->targets + x->n, sizeof(double), &losses, err));
	PLM_TRY(plm_take(&t->step, x->targets + x->n, sizeof(bool), &right, err));
	for (int64_t i = 0; i < x->micros; i++)
	{
		PlmMark		mark = plm_arena_mark(&t->step);
		PlmMicro	m;

		PLM_TRY(plm_micro_lay(t, x, i, &m, err));
		PLM_TRY(plm_micro_forward(t, &m, false, err));
		PLM_TRY(masked_rows(t, &m, &sum, losses, right, err));
		if (t->options.next_sentence)
			PLM_TRY(next_rows(t, &m, &sum, losses + x->targets, right + x->targets, err));
		plm_arena_rewind(&t->step, mark);
	}
	for (int64_t s = 0, k = 0; s < x->n; s++)
	{
		Guess	   *g = &guess[x->owner[s]];

		for (; k < x->targets && x->target_at[k] < x->at[s + 1]; k++, g->n++)
		{
			g->loss += losses[k];
			g->right += right[k];
		}
		g->next_right = t->options.next_sentence && right[x->targets + s];
	}
	return PLM_OK;
}

#define RANGE_EXAMPLES 256

static PlmStatus
masked_evaluate(PlmTrainer *t, int samples, PlmMetric *metrics, int *n, PlmError *err)
{
	static const char *const names[] = {"loss", "accuracy", "next_accuracy"};
	int64_t		count = plm_examples_count(t->held_out);
	Guess	   *guess;

	PLM_TRY(plm_take(&t->step, count, sizeof(Guess), &guess, err));
	memset(guess, 0, (size_t) count * sizeof(Guess));
	for (int64_t first = 0; first < count; first += RANGE_EXAMPLES)
	{
		PlmMark		mark = plm_arena_mark(&t->step);
		PlmTexts	texts;

		PLM_TRY(plm_texts_of_range(t, t->held_out, first, count - first < RANGE_EXAMPLES ? count - first : RANGE_EXAMPLES,
								   &texts, err));
		PLM_TRY(guess_texts(t, &texts, guess + first, err));
		plm_arena_rewind(&t->step, mark);
	}
	*n = t->options.next_sentence ? 3 : 2;
	return plm_trainer_bootstrap(t, count, samples, masked_figures, guess, *n, names, metrics, err);
}

const PlmObjectiveCode plm_masked = {
	.name = "masked", .task = PLM_TASK_MASKED_LM, .part = {[PLM_PART_MASK] = true}, .better_high = false,
	.open = plm_masking_open, .prepare = plm_masking_prepare, .hidden_loss = masked_loss, .evaluate = masked_evaluate
};
