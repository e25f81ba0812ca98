/*
 * score.c -- the sequence-classification head in training: logits = classifier(act(dense(first hidden state))).
 *
 * The inference twin is ../model/head_classify.c; this one keeps what the way back needs.
 */
#include "internal.h"

#include <math.h>
#include <string.h>

PlmStatus
plm_score_forward(PlmTrainer *t, const PlmMicro *m, PlmScored *s, PlmError *err)
{
	int64_t		C = t->model.config.width;

	PLM_TRY(plm_take(&t->step, m->n * C, sizeof(float), &s->first, err));
	PLM_TRY(plm_take(&t->step, m->n * C, sizeof(float), &s->z, err));
	PLM_TRY(plm_take(&t->step, m->n * C, sizeof(float), &s->dense, err));
	PLM_TRY(plm_take(&t->step, m->n * t->model.config.labels, sizeof(float), &s->logits, err));
	plm_gather_first(&m->batch, C, m->hidden, s->first);
	PLM_TRY(plm_affine_forward(t, &t->classifier_dense, m->n, s->first, s->z, err));
	plm_affine_activate(&t->classifier_dense, m->n, s->z, s->dense);
	plm_micro_drop(t, m, C, 1, s->dense);
	return plm_affine_forward(t, &t->classifier, m->n, s->dense, s->logits, err);
}

PlmStatus
plm_score_backward(PlmTrainer *t, PlmMicro *m, const PlmScored *s, float *dlogits, PlmError *err)
{
	int64_t		C = t->model.config.width;
	float	   *dense;
	float	   *first;

	PLM_TRY(plm_take(&t->step, m->n * C, sizeof(float), &dense, err));
	PLM_TRY(plm_take(&t->step, m->n * C, sizeof(float), &first, err));
	PLM_TRY(plm_affine_backward(t, &t->classifier, m->n, s->dense, NULL, dlogits, dense, err));
	plm_micro_drop(t, m, C, 1, dense);
	PLM_TRY(plm_affine_backward(t, &t->classifier_dense, m->n, s->first, s->z, dense, first, err));
	for (int64_t b = 0; b < m->n; b++)
		plm_add_to(m->dhidden + m->batch.offsets[b] * C, first + b * C, C);
	return PLM_OK;
}

#define RANGE_EXAMPLES 256

PlmStatus
plm_score_range(PlmTrainer *t, const PlmExamples *from, float *logits, PlmError *err)
{
	int64_t		n = plm_examples_count(from);
	int64_t		N = t->model.config.labels;

	for (int64_t first = 0; first < n; first += RANGE_EXAMPLES)
	{
		PlmMark		mark = plm_arena_mark(&t->step);
		PlmTexts	texts;

		PLM_TRY(plm_texts_of_range(t, from, first, n - first < RANGE_EXAMPLES ? n - first : RANGE_EXAMPLES, &texts, err));
		PLM_TRY(plm_trainer_fit(t, &texts, err));
		for (int64_t i = 0; i < texts.micros; i++)
		{
			PlmMicro	m;
			PlmScored	s;

			PLM_TRY(plm_micro_lay(t, &texts, i, &m, err));
			PLM_TRY(plm_micro_forward(t, &m, false, err));
			PLM_TRY(plm_score_forward(t, &m, &s, err));
			memcpy(logits + (first + m.first) * N, s.logits, (size_t) (m.n * N) * sizeof(float));
		}
		plm_arena_rewind(&t->step, mark);
	}
	return PLM_OK;
}

double
plm_binary_loss(double z, double y, double *dz)
{
	/* log(1 + e^z) = max(z, 0) + log(1 + e^-|z|): no overflow either way. */
	if (dz != NULL)
		*dz = (z >= 0 ? 1 / (1 + exp(-z)) : exp(z) / (1 + exp(z))) - y;
	return fmax(z, 0) + log1p(exp(-fabs(z))) - y * z;
}
