/*
 * adam.c -- AdamW (Kingma, Ba 2015; decoupled decay: Loshchilov, Hutter 2019), and the learning rate's schedule.
 *
 *     m = beta1 m + (1 - beta1) g              v = beta2 v + (1 - beta2) g^2
 *     w = w - rate * (decay * w + m / (1 - beta1^s) / (sqrt(v / (1 - beta2^s)) + epsilon))
 *
 * Weights change here and nowhere else.  An update that is interrupted knows which pieces are done and goes on later.
 */
#include "internal.h"

#include <math.h>
#include <string.h>

double
plm_learning_rate(const PlmTrainer *t, int64_t step)
{
	const PlmTrainOptions *o = &t->options;
	double		warm = floor(o->warmup * (double) t->steps);
	double		s = (double) step;
	double		left;

	if (s < warm)
		return o->learning_rate * (s + 1) / warm;
	if (o->schedule == PLM_SCHEDULE_CONSTANT || (double) t->steps <= warm)
		return o->learning_rate;
	left = 1 - (s - warm) / ((double) t->steps - warm);
	if (o->schedule == PLM_SCHEDULE_COSINE)
		return o->learning_rate * 0.5 * (1 + cos(M_PI * (1 - left)));
	return o->learning_rate * left;
}

static PlmStatus
piece_norm(void *arg, int64_t piece, PlmWorker *worker, PlmError *err)
{
	PlmTrainer *t = arg;
	const PlmPiece *p = &t->pieces[piece];
	const float *g = t->g + p->g;
	double		sum[4] = {0};
	int64_t		i = 0;

	if (plm_stopped(worker))
		return plm_cancelled(err);
	for (; i + 4 <= p->n; i += 4)
		for (int k = 0; k < 4; k++)
			sum[k] += (double) g[i + k] * g[i + k];
	for (; i < p->n; i++)
		sum[0] += (double) g[i] * g[i];
	t->piece_sum[piece] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
	return PLM_OK;
}

PlmStatus
plm_gradient_norm(PlmTrainer *t, double *norm, PlmError *err)
{
	double		sum = 0;

	PLM_TRY(plm_parallel(t->threads, t->n_pieces, piece_norm, t, t->options.hook, err));
	for (int64_t i = 0; i < t->n_pieces; i++)
		sum += t->piece_sum[i];
	*norm = sqrt(sum);
	return PLM_OK;
}

#define ZERO_FLOATS ((int64_t) 1 << 20)

static PlmStatus
zero_part(void *arg, int64_t part, PlmWorker *worker, PlmError *err)
{
	PlmTrainer *t = arg;
	int64_t		first = part * ZERO_FLOATS;

	if (plm_stopped(worker))
		return plm_cancelled(err);
	memset(t->g + first, 0, (size_t) (t->n_g - first < ZERO_FLOATS ? t->n_g - first : ZERO_FLOATS) * sizeof(float));
	return PLM_OK;
}

PlmStatus
plm_gradient_zero(PlmTrainer *t, PlmError *err)
{
	return plm_parallel(t->threads, (t->n_g + ZERO_FLOATS - 1) / ZERO_FLOATS, zero_part, t, t->options.hook, err);
}

/* Of the update that leads to step t->at_step. */
static PlmAdam
adam_of(const PlmTrainer *t, const PlmPiece *p, double rate, double scale)
{
	const PlmTrainOptions *o = &t->options;
	double		s = (double) t->at_step;

	return (PlmAdam) {
		.beta1 = (float) o->beta1, .beta2 = (float) o->beta2, .epsilon = (float) o->epsilon,
		.scale = (float) scale, .keep = (float) (1 - (p->decay ? rate * o->weight_decay : 0)),
		.rate = (float) (rate / (1 - pow(o->beta1, s))),
		.correction = (float) (1 / sqrt(1 - pow(o->beta2, s)))
	};
}

static PlmStatus
piece_update(void *arg, int64_t piece, PlmWorker *worker, PlmError *err)
{
	PlmTrainer *t = arg;
	const PlmPiece *p = &t->pieces[piece];
	PlmAdam		adam = adam_of(t, p, t->update_rate, t->update_scale);

	if (t->piece_done[piece])
		return PLM_OK;
	if (plm_stopped(worker))
		return plm_cancelled(err);
	plm_adam(p->n, &adam, t->g + p->g, t->w + p->w, t->m + p->g, t->v + p->g);
	t->piece_done[piece] = 1;
	return PLM_OK;
}

PlmStatus
plm_update_finish(PlmTrainer *t, PlmError *err)
{
	if (!t->updating)
		return PLM_OK;
	PLM_TRY(plm_parallel(t->threads, t->n_pieces, piece_update, t, t->options.hook, err));
	t->updating = false;
	return PLM_OK;
}

PlmStatus
plm_update(PlmTrainer *t, double rate, double scale, PlmError *err)
{
	memset(t->piece_done, 0, (size_t) t->n_pieces);
	t->update_rate = rate;
	t->update_scale = scale;
	t->at_step++;
	t->updating = true;
	t->undone = false;
	t->packed = false;
	return plm_update_finish(t, err);
}

/* w' = keep w - d, with d of the moments that the update has left: w = (w' + d) / keep. */
static void
piece_undo(PlmTrainer *t, const PlmPiece *p)
{
	PlmAdam		a = adam_of(t, p, plm_learning_rate(t, t->at_step - 1), 1);

	for (int64_t i = 0; i < p->n; i++)
	{
		double		d = a.rate * (double) t->m[p->g + i] / (sqrt(t->v[p->g + i]) * a.correction + a.epsilon);
		float		w = (float) ((t->w[p->w + i] + d) / a.keep);

		if (isfinite(w))
			t->w[p->w + i] = w;
	}
}

void
plm_update_undo(PlmTrainer *t)
{
	if (t->at_step == 0 || t->updating || t->undone)
		return;
	for (int64_t i = 0; i < t->n_pieces; i++)
		piece_undo(t, &t->pieces[i]);
	t->at_step--;
	t->undone = true;
	t->packed = false;
}
