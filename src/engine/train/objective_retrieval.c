/*
 * objective_retrieval.c -- multiple negatives ranking (Henderson et al. 2017): a query's positive against all other texts
 * of the step.
 *
 *     loss = mean over queries of -log softmax(cos(q, c) / temperature)[own positive]
 *
 * symmetric: the mean of that and of the same from positives to queries.  Prefixes (Kusupati et al. 2022): the mean
 * over the full width and each prefix, cut and made of unit length again.  A text that equals the query or its positive, or
 * that is the positive of an equal query, is no negative.
 */
#include "internal.h"

#include <math.h>
#include <string.h>

/* One width's worth of the loss. */
typedef struct Contrast
{
	PlmTrainer *t;
	const PlmTexts *x;
	const uint64_t *hash;		/* (S) of each text */
	int64_t		Q;				/* queries: one of each example */
	int64_t		K;				/* candidates: all other texts */
	int64_t    *query;			/* (Q) their texts */
	int64_t    *candidate;		/* (K) */
	int64_t    *own;			/* (Q) which candidate is the positive */
	int64_t		width;
	float	   *q, *c;			/* (Q,width), (K,width) unit length */
	float	   *dq, *dc;
	float	   *s;				/* (Q,K) cosine, then gradient */
	float	   *back;			/* (Q,Q) from positives to queries, transposed: row is the query */
	double		share;			/* of each query's loss */
} Contrast;

static PlmStatus
take(Contrast *k, int64_t count, size_t size, void *out, PlmError *err)
{
	return plm_take(&k->t->step, count, size, out, err);
}

static PlmStatus
list_texts(Contrast *k, PlmError *err)
{
	const PlmTexts *x = k->x;
	uint64_t   *hash;

	PLM_TRY(take(k, x->n, sizeof(uint64_t), &hash, err));
	PLM_TRY(take(k, x->n, sizeof(int64_t), &k->query, err));
	PLM_TRY(take(k, x->n, sizeof(int64_t), &k->candidate, err));
	PLM_TRY(take(k, x->n, sizeof(int64_t), &k->own, err));
	for (int64_t s = 0; s < x->n; s++)
	{
		hash[s] = plm_checksum(x->text[s].ids, (size_t) x->text[s].n * sizeof(int32_t), 0);
		if (x->role[s] == PLM_ROLE_FIRST)
			k->query[k->Q++] = s;
		else
		{
			if (x->role[s] == PLM_ROLE_SECOND)
				k->own[x->owner[s]] = k->K;
			k->candidate[k->K++] = s;
		}
	}
	k->hash = hash;
	return PLM_OK;
}

/* Is candidate c, which is not the query's own positive, none of its negatives either? */
static bool
is_no_negative(const Contrast *k, int64_t query, int64_t c)
{
	const PlmTexts *x = k->x;
	int64_t		text = k->candidate[c];
	uint64_t	mine = k->hash[k->query[query]];

	if (k->hash[text] == mine || k->hash[text] == k->hash[k->candidate[k->own[query]]])
		return true;
	return x->role[text] == PLM_ROLE_SECOND && k->hash[k->query[x->owner[text]]] == mine;
}

/* Softmax cross entropy of n cosines at distance step, NAN where there is nothing; they become the gradient. */
static double
contrast_row(const Contrast *k, float *s, int64_t n, int64_t step, int64_t own)
{
	double		temperature = k->t->options.temperature;
	double		most = s[own * step];
	double		sum = 0;
	double		target = s[own * step] / temperature;

	for (int64_t i = 0; i < n; i++)
		if (s[i * step] > most)
			most = s[i * step];
	for (int64_t i = 0; i < n; i++)
		if (!isnan(s[i * step]))
			sum += exp((s[i * step] - most) / temperature);
	for (int64_t i = 0; i < n; i++)
	{
		double		p = isnan(s[i * step]) ? 0 : exp((s[i * step] - most) / temperature) / sum;

		s[i * step] = (float) (k->share / temperature * (p - (i == own)));
	}
	return k->share * (most / temperature + log(sum) - target);
}

/* Losses of the cosines in s, which become gradients; also from positives to queries when asked. */
static double
contrast(Contrast *k)
{
	double		loss = 0;

	for (int64_t i = 0; i < k->Q; i++)
		for (int64_t c = 0; c < k->K; c++)
			if (c != k->own[i] && is_no_negative(k, i, c))
				k->s[i * k->K + c] = NAN;
	for (int64_t i = 0; k->back != NULL && i < k->Q; i++)
		for (int64_t p = 0; p < k->Q; p++)
			k->back[i * k->Q + p] = k->s[i * k->K + k->own[p]];
	for (int64_t i = 0; i < k->Q; i++)
		loss += contrast_row(k, k->s + i * k->K, k->K, 1, k->own[i]);
	for (int64_t p = 0; k->back != NULL && p < k->Q; p++)
		loss += contrast_row(k, k->back + p, k->Q, k->Q, p);
	for (int64_t i = 0; k->back != NULL && i < k->Q; i++)
		for (int64_t p = 0; p < k->Q; p++)
			k->s[i * k->K + k->own[p]] += k->back[i * k->Q + p];
	return loss;
}

/* Prefixes of the embeddings at unit length. */
static PlmStatus
cut_rows(const Contrast *k, const float *e, const int64_t *texts, int64_t n, float *out, PlmError *err)
{
	int64_t		D = k->t->model.config.dimensions;

	for (int64_t i = 0; i < n; i++)
	{
		memcpy(out + i * k->width, e + texts[i] * D, (size_t) k->width * sizeof(float));
		if (k->width < D && !plm_normalize(out + i * k->width, k->width))
			return plm_fail(err, PLM_ENUMERIC, 0, "the first %" PRId64 " dimensions of an embedding are zero or not finite",
							k->width);
	}
	return PLM_OK;
}

/* The gradient at the prefixes, added to that at the embeddings. */
static void
add_rows(const Contrast *k, const float *e, const int64_t *texts, int64_t n, const float *unit, const float *d, float *de)
{
	int64_t		D = k->t->model.config.dimensions;
	int64_t		W = k->width;

	for (int64_t i = 0; i < n; i++)
	{
		float	   *to = de + texts[i] * D;
		double		length = W < D ? sqrt((double) plm_dot(e + texts[i] * D, e + texts[i] * D, W)) : 1;
		double		along = W < D ? plm_dot(unit + i * W, d + i * W, W) : 0;

		for (int64_t c = 0; c < W; c++)
			to[c] += (float) ((d[i * W + c] - along * unit[i * W + c]) / length);
	}
}

static PlmStatus
one_width(Contrast *k, const float *e, float *de, double *loss, PlmError *err)
{
	PlmTrainer *t = k->t;
	int64_t		W = k->width;

	PLM_TRY(cut_rows(k, e, k->query, k->Q, k->q, err));
	PLM_TRY(cut_rows(k, e, k->candidate, k->K, k->c, err));
	PLM_TRY(plm_matmul(t, false, true, k->Q, k->K, W, 1.0f, k->q, W, k->c, W, 0.0f, k->s, k->K, err));
	*loss += contrast(k);
	PLM_TRY(plm_matmul(t, false, false, k->Q, W, k->K, 1.0f, k->s, k->K, k->c, W, 0.0f, k->dq, W, err));
	PLM_TRY(plm_matmul(t, true, false, k->K, W, k->Q, 1.0f, k->s, k->K, k->q, W, 0.0f, k->dc, W, err));
	add_rows(k, e, k->query, k->Q, k->q, k->dq, de);
	add_rows(k, e, k->candidate, k->K, k->c, k->dc, de);
	return PLM_OK;
}

static PlmStatus
retrieval_loss(PlmTrainer *t, const PlmTexts *x, const float *e, float *de, double *loss, PlmError *err)
{
	Contrast	k = {.t = t, .x = x};
	int64_t		D = t->model.config.dimensions;
	int			widths = 1;

	while (widths <= PLM_COUNT(t->options.matryoshka) && t->options.matryoshka[widths - 1] > 0)
		widths++;
	PLM_TRY(list_texts(&k, err));
	PLM_TRY(take(&k, k.Q * D, sizeof(float), &k.q, err));
	PLM_TRY(take(&k, k.Q * D, sizeof(float), &k.dq, err));
	PLM_TRY(take(&k, k.K * D, sizeof(float), &k.c, err));
	PLM_TRY(take(&k, k.K * D, sizeof(float), &k.dc, err));
	PLM_TRY(take(&k, k.Q * k.K, sizeof(float), &k.s, err));
	if (t->options.symmetric)
		PLM_TRY(take(&k, k.Q * k.Q, sizeof(float), &k.back, err));
	k.share = 1 / ((double) k.Q * widths * (t->options.symmetric ? 2 : 1));
	for (int i = 0; i < widths; i++)
	{
		k.width = i == 0 ? D : t->options.matryoshka[i - 1];
		PLM_TRY(one_width(&k, e, de, loss, err));
	}
	return PLM_OK;
}

static PlmStatus
retrieval_open(PlmTrainer *t, PlmError *err)
{
	for (int i = 0; i < PLM_COUNT(t->options.matryoshka) && t->options.matryoshka[i] > 0; i++)
		if (t->options.matryoshka[i] >= t->model.config.dimensions)
		{
			plm_fail(err, PLM_EARG, 0, "a prefix of %" PRId32 " dimensions is not less than the embedding's %" PRId32,
					 t->options.matryoshka[i], t->model.config.dimensions);
			return plm_hint(err, "The full width is trained in any case.");
		}
	if (t->options.hard_negatives > 0)
		return plm_take(&t->arena, plm_examples_count(t->train) * t->options.hard_negatives, sizeof(int32_t), &t->mined, err);
	return PLM_OK;
}

const PlmObjectiveCode plm_retrieval = {
	.name = "retrieval", .task = PLM_TASK_EMBEDDING, .better_high = true,
	.open = retrieval_open, .vector_loss = retrieval_loss, .evaluate = plm_retrieval_evaluate
};
