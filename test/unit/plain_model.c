/*
 * plain_model.c -- the contract is in plain_model.h.
 */
#include "plain_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef double (*Act) (double);

static double
gelu(double x)
{
	return 0.5 * x * (1.0 + erf(x / sqrt(2.0)));
}

static double
gelu_new(double x)
{
	return 0.5 * x * (1.0 + tanh(sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
}

static double
relu(double x)
{
	return x > 0 ? x : 0;
}

static double
silu(double x)
{
	return x / (1.0 + exp(-x));
}

static double
identity(double x)
{
	return x;
}

static Act
act_of(const char *name)
{
	if (strcmp(name, "gelu") == 0)
		return gelu;
	if (strcmp(name, "gelu_new") == 0)
		return gelu_new;
	if (strcmp(name, "relu") == 0)
		return relu;
	if (strcmp(name, "silu") == 0)
		return silu;
	if (strcmp(name, "Tanh") == 0)
		return tanh;
	return identity;
}

static bool
is_distil(const PlainModel *m)
{
	return strcmp(m->spec->model_type, "distilbert") == 0;
}

/* A test that asks for a tensor that it did not make is wrong. */
static const RandomTensor *
tensor(const PlainModel *m, const char *stem, const char *suffix, int folder)
{
	char		name[128];

	snprintf(name, sizeof(name), "%s.%s", stem, suffix);
	for (int64_t i = 0; i < m->files->n; i++)
		if (m->files->tensors[i].folder == folder && strcmp(m->files->tensors[i].base, name) == 0)
			return &m->files->tensors[i];
	return NULL;
}

/* All values of a tensor; zeros when there is none (a bias). */
static double *
values(const PlainModel *m, const RandomTensor *t, int64_t n)
{
	double	   *v = plm_arena_zero(m->arena, (size_t) n * sizeof(double));

	for (int64_t i = 0; t != NULL && v != NULL && i < n; i++)
		v[i] = random_tensor_value(t, i);
	return v;
}

/* y (rows,out) = act(x W^T + b) */
static double *
linear(const PlainModel *m, const char *stem, int folder, int64_t rows, int64_t in, int64_t out, const double *x, Act act)
{
	double	   *w = values(m, tensor(m, stem, "weight", folder), in * out);
	double	   *b = values(m, tensor(m, stem, "bias", folder), out);
	double	   *y = plm_arena_zero(m->arena, (size_t) (rows * out) * sizeof(double));

	for (int64_t r = 0; r < rows; r++)
		for (int64_t o = 0; o < out; o++)
		{
			double		sum = b[o];

			for (int64_t i = 0; i < in; i++)
				sum += w[o * in + i] * x[r * in + i];
			y[r * out + o] = act(sum);
		}
	return y;
}

static void
norm(const PlainModel *m, const char *stem, int64_t rows, double *x)
{
	int64_t		C = m->spec->width;
	double	   *g = values(m, tensor(m, stem, "weight", 0), C);
	double	   *b = values(m, tensor(m, stem, "bias", 0), C);

	for (int64_t r = 0; r < rows; r++)
	{
		double		mean = 0;
		double		var = 0;
		double	   *row = x + r * C;

		for (int64_t i = 0; i < C; i++)
			mean += row[i] / (double) C;
		for (int64_t i = 0; i < C; i++)
			var += (row[i] - mean) * (row[i] - mean) / (double) C;
		for (int64_t i = 0; i < C; i++)
			row[i] = g[i] * (row[i] - mean) / sqrt(var + 1e-12) + b[i];
	}
}

/* mean: NULL, or (T,T) added to: the mean of the heads' weights. */
static double *
attention(const PlainModel *m, int64_t T, const double *q, const double *k, const double *v, double *mean)
{
	int64_t		C = m->spec->width;
	int64_t		D = C / m->spec->heads;
	double	   *out = plm_arena_zero(m->arena, (size_t) (T * C) * sizeof(double));
	double	   *p = plm_arena_zero(m->arena, (size_t) T * sizeof(double));

	for (int64_t h = 0; h < m->spec->heads; h++)
		for (int64_t i = 0; i < T; i++)
		{
			double		sum = 0;

			for (int64_t j = 0; j < T; j++)
			{
				double		s = 0;

				for (int64_t d = h * D; d < h * D + D; d++)
					s += q[i * C + d] * k[j * C + d];
				p[j] = exp(s / sqrt((double) D));
				sum += p[j];
			}
			for (int64_t j = 0; j < T; j++)
				for (int64_t d = h * D; d < h * D + D; d++)
					out[i * C + d] += p[j] / sum * v[j * C + d];
			for (int64_t j = 0; mean != NULL && j < T; j++)
				mean[i * T + j] += p[j] / sum / m->spec->heads;
		}
	return out;
}

static void
add(int64_t n, double *y, const double *x)
{
	for (int64_t i = 0; i < n; i++)
		y[i] += x[i];
}

/* x (T,C) in and out; mean: as attention(). */
static void
layer(const PlainModel *m, int l, int64_t T, double *x, double *mean)
{
	static const char *const bert[] = {"attention.self.query", "attention.self.key", "attention.self.value",
		"attention.output.dense", "attention.output.LayerNorm", "intermediate.dense", "output.dense",
	"output.LayerNorm"};
	static const char *const distilbert[] = {"attention.q_lin", "attention.k_lin", "attention.v_lin",
	"attention.out_lin", "sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm"};
	char		name[8][96];
	int64_t		C = m->spec->width;
	double	   *part[3];
	double	   *mix;
	double	   *up;

	for (int i = 0; i < 8; i++)
		snprintf(name[i], sizeof(name[i]), "%s.layer.%d.%s", is_distil(m) ? "transformer" : "encoder", l,
				 is_distil(m) ? distilbert[i] : bert[i]);
	for (int i = 0; i < 3; i++)
		part[i] = linear(m, name[i], 0, T, C, C, x, identity);
	mix = attention(m, T, part[0], part[1], part[2], mean);
	add(T * C, x, linear(m, name[3], 0, T, C, C, mix, identity));
	norm(m, name[4], T, x);
	up = linear(m, name[5], 0, T, C, m->spec->ff, x, act_of(m->spec->act));
	add(T * C, x, linear(m, name[6], 0, T, m->spec->ff, C, up, identity));
	norm(m, name[7], T, x);
}

/* Half of what layer l mixes and half of what was there: rolled (T,T) in and out. */
static void
roll(const PlainModel *m, int64_t T, const double *mean, double *rolled)
{
	double	   *before = plm_arena_zero(m->arena, (size_t) (T * T) * sizeof(double));

	memcpy(before, rolled, (size_t) (T * T) * sizeof(double));
	for (int64_t i = 0; i < T; i++)
		for (int64_t j = 0; j < T; j++)
		{
			rolled[i * T + j] = 0.5 * before[i * T + j];
			for (int64_t k = 0; k < T; k++)
				rolled[i * T + j] += 0.5 * mean[i * T + k] * before[k * T + j];
		}
}

/* rolled: NULL, or (T,T) the identity, becomes plain_rollout()'s. */
static double *
states(const PlainModel *m, int64_t n, const int32_t *ids, const int32_t *types, double *rolled)
{
	const RandomTensor *word = tensor(m, "embeddings.word_embeddings", "weight", 0);
	const RandomTensor *position = tensor(m, "embeddings.position_embeddings", "weight", 0);
	const RandomTensor *type = tensor(m, "embeddings.token_type_embeddings", "weight", 0);
	int64_t		C = m->spec->width;
	double	   *all = plm_arena_zero(m->arena, (size_t) ((m->spec->layers + 1) * n * C) * sizeof(double));
	double	   *x = plm_arena_zero(m->arena, (size_t) (n * C) * sizeof(double));

	for (int64_t t = 0; t < n; t++)
		for (int64_t i = 0; i < C; i++)
		{
			x[t * C + i] = random_tensor_value(word, ids[t] * C + i) + (double) random_tensor_value(position, t * C + i);
			if (type != NULL)
				x[t * C + i] += random_tensor_value(type, types[t] * C + i);
		}
	norm(m, "embeddings.LayerNorm", n, x);
	for (int l = 0; l <= m->spec->layers; l++)
	{
		memcpy(all + l * n * C, x, (size_t) (n * C) * sizeof(double));
		if (l < m->spec->layers)
		{
			double	   *mean = rolled != NULL ? plm_arena_zero(m->arena, (size_t) (n * n) * sizeof(double)) : NULL;

			layer(m, l, n, x, mean);
			if (rolled != NULL)
				roll(m, n, mean, rolled);
		}
	}
	return all;
}

double *
plain_states(const PlainModel *m, int64_t n, const int32_t *ids, const int32_t *types)
{
	return states(m, n, ids, types, NULL);
}

double *
plain_rollout(const PlainModel *m, int64_t n, const int32_t *ids, const int32_t *types)
{
	double	   *rolled = plm_arena_zero(m->arena, (size_t) (n * n) * sizeof(double));

	for (int64_t t = 0; t < n; t++)
		rolled[t * n + t] = 1;
	states(m, n, ids, types, rolled);
	return rolled;
}

/* y (C) of one mode. */
static void
pool(const PlainModel *m, const char *mode, int64_t n, const double *x, double *y)
{
	int64_t		C = m->spec->width;

	if (strcmp(mode, "pooler") == 0)
		memcpy(y, linear(m, "pooler.dense", 0, 1, C, C, x, tanh), (size_t) C * sizeof(double));
	for (int64_t c = 0; c < C && strcmp(mode, "pooler") != 0; c++)
	{
		bool		first = strcmp(mode, "cls_token") == 0;

		y[c] = strcmp(mode, "lasttoken") == 0 ? x[(n - 1) * C + c] : x[c];
		for (int64_t t = 1; t < n && !first && strcmp(mode, "lasttoken") != 0; t++)
			y[c] = strcmp(mode, "max_tokens") == 0 ? fmax(y[c], x[t * C + c]) : y[c] + x[t * C + c];
		if (strcmp(mode, "mean_tokens") == 0)
			y[c] /= (double) n;
		if (strcmp(mode, "mean_sqrt_len_tokens") == 0)
			y[c] /= sqrt((double) n);
	}
}

double *
plain_embedding(const PlainModel *m, int64_t n, const double *last)
{
	int64_t		C = m->spec->width;
	int64_t		width = 0;
	double	   *y = plm_arena_zero(m->arena, (size_t) (4 * C) * sizeof(double));
	double		square = 0;

	for (int i = 0; i < 4 && m->spec->pooling[i] != NULL; i++, width += C)
		pool(m, m->spec->pooling[i], n, last, y + width);
	if (width == 0)
	{
		/* Without modules, sentence-transformers takes the mean. */
		pool(m, "mean_tokens", n, last, y);
		width = C;
	}
	for (int i = 0; i < 2 && m->spec->dense[i] > 0; i++)
	{
		y = linear(m, "linear", i + 1, 1, width, m->spec->dense[i], y, act_of(m->spec->dense_act));
		width = m->spec->dense[i];
	}
	for (int64_t c = 0; c < width; c++)
		square += y[c] * y[c];
	for (int64_t c = 0; c < width; c++)
		y[c] /= sqrt(square);
	return y;
}

double *
plain_class_logits(const PlainModel *m, const double *last)
{
	int64_t		C = m->spec->width;
	double	   *h = is_distil(m) ? linear(m, "pre_classifier", 0, 1, C, C, last, relu)
		: linear(m, "pooler.dense", 0, 1, C, C, last, tanh);

	return linear(m, "classifier", 0, 1, C, m->spec->labels, h, identity);
}

double *
plain_mask_logits(const PlainModel *m, int64_t n, const double *last)
{
	bool		distil = is_distil(m);
	int64_t		C = m->spec->width;
	int64_t		V = m->spec->vocab;
	double	   *h = linear(m, distil ? "vocab_transform" : "cls.predictions.transform.dense", 0, n, C, C, last,
						   act_of(m->spec->act));
	const RandomTensor *decoder = m->spec->tied ? tensor(m, "embeddings.word_embeddings", "weight", 0)
		: tensor(m, distil ? "vocab_projector" : "cls.predictions.decoder", "weight", 0);
	double	   *w = values(m, decoder, V * C);
	double	   *b = values(m, tensor(m, distil ? "vocab_projector" : "cls.predictions", "bias", 0), V);
	double	   *out = plm_arena_zero(m->arena, (size_t) (n * V) * sizeof(double));

	norm(m, distil ? "vocab_layer_norm" : "cls.predictions.transform.LayerNorm", n, h);
	for (int64_t t = 0; t < n; t++)
		for (int64_t v = 0; v < V; v++)
		{
			out[t * V + v] = b[v];
			for (int64_t c = 0; c < C; c++)
				out[t * V + v] += w[v * C + c] * h[t * C + c];
		}
	return out;
}
