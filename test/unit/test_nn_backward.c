/*
 * test_nn_backward.c -- the backward passes of num/ and nn/ against gradients in plain double precision, at every level.
 *
 * What the gradients are compared with is central differences of a double implementation of the forward pass: with a step
 * of 1e-5 on values near 1 they are good to 1e-9, far below fp32's rounding.  The loss is always sum(dy * y) with a random
 * dy.  An error is stated relative to the largest entry of its gradient, because that is the size of what is summed.
 */
#include "num_cases.h"

#include "../../src/engine/nn/plm_nn.h"

#define STEP 1e-5

/* A loss as a function of `at`, whose entries it may change one by one. */
typedef double (*Loss) (const double *at, const void *arg);

/* The largest |got - central difference| over n entries, relative to the largest difference. */
static double
gradient_error(Loss loss, const void *arg, double *at, int64_t n, const float *got)
{
	double		worst = 0, most = 1e-3;

	for (int64_t i = 0; i < n; i++)
	{
		double		keep = at[i], up, want;

		at[i] = keep + STEP;
		up = loss(at, arg);
		at[i] = keep - STEP;
		want = (up - loss(at, arg)) / (2 * STEP);
		at[i] = keep;
		most = fmax(most, fabs(want));
		worst = isnan(got[i]) ? INFINITY : fmax(worst, fabs(got[i] - want));
	}
	return worst / most;
}

static double *
widened(const float *x, int64_t n)
{
	double	   *y = malloc((size_t) (n + 1) * sizeof(double));

	for (int64_t i = 0; i < n; i++)
		y[i] = x[i];
	return y;
}

/* ---- plain forward passes in double ---- */

static void
norm_plain(int64_t rows, int64_t width, const double *x, const double *g, const double *b, double *y)
{
	for (int64_t t = 0; t < rows; t++, x += width, y += width)
	{
		double		mean = 0, var = 0;

		for (int64_t i = 0; i < width; i++)
			mean += x[i] / (double) width;
		for (int64_t i = 0; i < width; i++)
			var += (x[i] - mean) * (x[i] - mean) / (double) width;
		for (int64_t i = 0; i < width; i++)
			y[i] = (x[i] - mean) / sqrt(var + 1e-5) * g[i] + b[i];
	}
}

/* y = x W^T + b */
static void
linear_plain(int64_t rows, int64_t n, int64_t k, const double *x, const double *w, const double *b, double *y)
{
	for (int64_t t = 0; t < rows; t++)
		for (int64_t j = 0; j < n; j++)
		{
			double		sum = b[j];

			for (int64_t c = 0; c < k; c++)
				sum += x[t * k + c] * w[j * k + c];
			y[t * n + j] = sum;
		}
}

/* qkv: (T,3C): q, k, v side by side; out (T,C) */
static void
attention_plain(const PlmBatch *batch, int64_t heads, int64_t d, bool causal, const double *qkv, double *out)
{
	int64_t		width = heads * d, ld = 3 * width;
	double	   *p = malloc((size_t) (batch->longest + 1) * sizeof(double));

	for (int64_t b = 0; b < batch->texts; b++)
		for (int64_t i = batch->offsets[b]; i < batch->offsets[b + 1]; i++)
			for (int64_t h = 0; h < heads; h++)
			{
				int64_t		first = batch->offsets[b], seen = (causal ? i + 1 : batch->offsets[b + 1]) - first;
				double		sum = 0;

				for (int64_t j = 0; j < seen; j++)
				{
					p[j] = 0;
					for (int64_t c = h * d; c < h * d + d; c++)
						p[j] += qkv[i * ld + c] * qkv[(first + j) * ld + width + c];
					sum += p[j] = exp(p[j] / sqrt((double) d));
				}
				for (int64_t c = h * d; c < h * d + d; c++)
				{
					out[i * width + c] = 0;
					for (int64_t j = 0; j < seen; j++)
						out[i * width + c] += p[j] / sum * qkv[(first + j) * ld + 2 * width + c];
				}
			}
	free(p);
}

/* ---- activations ---- */

static void
test_activations(void)
{
	static const char *const names[] = {"none", "gelu", "gelu_tanh", "relu", "silu", "tanh", "sigmoid"};
	static const float odd[] = {-INFINITY, -1e30f, -1e4f, -0.0f, 0.0f, 1e-30f, 1e4f, 1e30f, INFINITY};
	int64_t		n = 120005;		/* no multiple of any vector */
	float	   *x = malloc((size_t) n * sizeof(float));
	float	   *dy = malloc((size_t) n * sizeof(float));

	for (int64_t i = 0; i < n; i++)
		x[i] = (float) ((double) i / 5000 - 12) + 1e-6f;
	for (int act = PLM_ACT_NONE; act <= PLM_ACT_SIGMOID; act++)
	{
		double		worst = 0;
		float		where = 0;
		char		name[64];
		int			wrong = 0;

		for (int64_t i = 0; i < n; i++)
			dy[i] = 1;
		plm_activate_backward(act, x, dy, n);
		for (int64_t i = 0; i < n; i++)
		{
			double		want = fabs(x[i]) < STEP ? dy[i] : (act_of(act, x[i] + STEP) - act_of(act, x[i] - STEP)) / (2 * STEP);
			double		e = fabs(dy[i] - want) / fmax(1, fabs(want));

			if (!(e <= worst))
			{
				worst = e;
				where = x[i];
			}
		}
		/* The header's bound. */
		snprintf(name, sizeof(name), "slope_of_%s_equals_double", names[act]);
		CHECK(at_level(name), worst <= 2e-7, "error %g at %.9g", worst, where);
		for (int i = 0; i < PLM_COUNT(odd); i++)
		{
			float		slope = 3;
			float		limit = act == PLM_ACT_NONE ? 3 : act == PLM_ACT_TANH || act == PLM_ACT_SIGMOID || odd[i] < -1000 ? 0 : 3;
			bool		flat = fabsf(odd[i]) >= 1000;

			plm_activate_backward(act, odd + i, &slope, 1);
			wrong += flat ? slope != limit : isnan(slope);
		}
		snprintf(name, sizeof(name), "slope_of_%s_far_out_is_its_limit", names[act]);
		CHECK(at_level(name), wrong == 0, "%d of %d wrong", wrong, (int) PLM_COUNT(odd));
	}
	{
		float		zero[2] = {0.0f, -0.0f}, one[2] = {1, 1};

		plm_activate_backward(PLM_ACT_RELU, zero, one, 2);
		CHECK(at_level("slope_of_relu_at_zero_is_zero"), one[0] == 0 && one[1] == 0, "%g %g", one[0], one[1]);
	}
	free(x);
	free(dy);
}

/* ---- layer norm ---- */

typedef struct NormCase
{
	int64_t		rows, width;
	const float *dy;
	double	   *x, *g, *b, *y;
	double	  **varied;			/* which of x, g, b the differences move */
} NormCase;

static double
norm_loss(const double *at, const void *arg)
{
	const NormCase *c = arg;
	double		sum = 0;

	*c->varied = (double *) at;
	norm_plain(c->rows, c->width, c->x, c->g, c->b, c->y);
	for (int64_t i = 0; i < c->rows * c->width; i++)
		sum += c->y[i] * c->dy[i];
	return sum;
}

static void
test_layer_norm(void)
{
	double		worst[3] = {0, 0, 0};
	int			aliased = 0, without = 0;

	for (int64_t width = 2; width < 100; width = width * 3 / 2 + 1)
	{
		int64_t		rows = 5, n = rows * width;
		void	   *base[8];
		float	   *x = fresh(n, base), *g = fresh(width, base + 1), *dy = fresh(n, base + 2), *y = fresh(n, base + 3);
		float	   *dx = fresh(n, base + 4), *dg = fresh(width, base + 5), *db = fresh(width, base + 6);
		float	   *dg2 = fresh(width, base + 7);
		float		save[10];
		NormCase	c = {.rows = rows, .width = width, .dy = dy, .x = widened(x, n), .g = widened(g, width),
		.b = calloc((size_t) width, sizeof(double)), .y = malloc((size_t) n * sizeof(double))};
		float	   *old = malloc((size_t) (2 * width) * sizeof(float));

		memcpy(old, dg, (size_t) width * sizeof(float));
		memcpy(old + width, db, (size_t) width * sizeof(float));
		memcpy(dg2, dg, (size_t) width * sizeof(float));
		plm_layer_norm(rows, width, x, NULL, g, NULL, 1e-5f, y, save);
		plm_layer_norm_backward(rows, width, x, save, g, dy, dx, dg, db);
		memcpy(y, dy, (size_t) n * sizeof(float));
		plm_layer_norm_backward(rows, width, x, save, g, y, y, dg2, NULL);
		aliased += memcmp(y, dx, (size_t) n * sizeof(float)) != 0;
		without += memcmp(dg2, dg, (size_t) width * sizeof(float)) != 0;
		for (int64_t i = 0; i < width; i++)
		{
			dg[i] -= old[i];
			db[i] -= old[width + i];
		}
		c.varied = &c.x;
		/* With two columns xhat is almost +-1 and dx what is left of a cancellation: its own size does not tell the error's. */
		if (width > 2)
			worst[0] = fmax(worst[0], gradient_error(norm_loss, &c, c.x, n, dx));
		c.varied = &c.g;
		worst[1] = fmax(worst[1], gradient_error(norm_loss, &c, c.g, width, dg));
		c.varied = &c.b;
		worst[2] = fmax(worst[2], gradient_error(norm_loss, &c, c.b, width, db));
		for (int i = 0; i < 8; i++)
			free(base[i]);
		free(c.x);
		free(c.g);
		free(c.b);
		free(c.y);
		free(old);
	}
	/* fp32 sums over up to 100 entries, some of which cancel: some tens of 6e-8 of the largest */
	CHECK(at_level("layer_norm_dx_equals_double"), worst[0] < 5e-6, "error %g", worst[0]);
	CHECK(at_level("layer_norm_dg_and_db_are_added"), worst[1] < 5e-6 && worst[2] < 5e-6, "errors %g %g", worst[1], worst[2]);
	CHECK(at_level("layer_norm_dx_may_be_dy"), aliased == 0, "%d differ", aliased);
	CHECK(at_level("layer_norm_db_may_be_absent"), without == 0, "%d differ", without);
}

/* ---- linear, embeddings ---- */

static void
test_linear(void)
{
	static const int64_t shapes[][3] = {{1, 1, 1}, {3, 5, 7}, {33, 17, 65}, {130, 48, 31}};
	double		worst = 0;
	int			absent = 0;

	for (int s = 0; s < PLM_COUNT(shapes); s++)
	{
		int64_t		rows = shapes[s][0], n = shapes[s][1], k = shapes[s][2], lddy = n + 3, ldx = k + 2;
		void	   *base[5];
		float	   *dy = fresh((rows - 1) * lddy + n, base), *x = fresh((rows - 1) * ldx + k, base + 1);
		float	   *dw = fresh(n * k, base + 2), *db = fresh(n, base + 3), *dw2 = fresh(n * k, base + 4);
		double	   *want = widened(dw, n * k), *want_b = widened(db, n);

		memcpy(dw2, dw, (size_t) (n * k) * sizeof(float));
		for (int64_t t = 0; t < rows; t++)
			for (int64_t j = 0; j < n; j++)
			{
				want_b[j] += dy[t * lddy + j];
				for (int64_t c = 0; c < k; c++)
					want[j * k + c] += (double) dy[t * lddy + j] * x[t * ldx + c];
			}
		plm_nn_linear_backward(rows, n, k, dy, lddy, x, ldx, dw, db);
		plm_nn_linear_backward(rows, n, k, dy, lddy, x, ldx, dw2, NULL);
		absent += memcmp(dw, dw2, (size_t) (n * k) * sizeof(float)) != 0;
		for (int64_t i = 0; i < n * k; i++)
			worst = fmax(worst, fabs(dw[i] - want[i]) / sqrt((double) rows));
		for (int64_t i = 0; i < n; i++)
			worst = fmax(worst, fabs(db[i] - want_b[i]) / sqrt((double) rows));
		for (int i = 0; i < 5; i++)
			free(base[i]);
		free(want);
		free(want_b);
	}
	/*
	 * In units of sqrt(rows), the deviation of such a sum, partial sums reach 4, so that each addition rounds by up to 2.4e-7,
	 * and 130 roundings of deviation some 1e-7 wander by 1e-6; a lost row would show as 1e-1.
	 */
	CHECK(at_level("linear_dw_and_db_are_added"), worst < 4e-6, "error %g", worst);
	CHECK(at_level("linear_db_may_be_absent_same_dw"), absent == 0, "%d differ", absent);
}

static void
test_embed(void)
{
	enum { WIDTH = 37, TOKENS = 9, VOCAB = 4 };
	static const int64_t offsets[] = {0, 1, 6, 9};
	static const int32_t ids[TOKENS] = {3, 0, 3, 3, 1, 0, 3, 3, 3};
	static const int32_t types[TOKENS] = {1, 0, 0, 0, 1, 1, 0, 0, 1};
	PlmBatch	batch = {3, TOKENS, 5, offsets, ids, types};
	void	   *base;
	float	   *dx = fresh(TOKENS * WIDTH, &base);
	float		whole[3][5 * WIDTH] = {0}, cut[3][5 * WIDTH] = {0};
	double		want[3][5 * WIDTH] = {0}, worst = 0;

	for (int b = 0; b < 3; b++)
		for (int64_t t = offsets[b]; t < offsets[b + 1]; t++)
			for (int c = 0; c < WIDTH; c++)
			{
				want[0][ids[t] * WIDTH + c] += dx[t * WIDTH + c];
				want[1][(t - offsets[b]) * WIDTH + c] += dx[t * WIDTH + c];
				want[2][types[t] * WIDTH + c] += dx[t * WIDTH + c];
			}
	plm_nn_embed_backward(&batch, WIDTH, 0, WIDTH, dx, whole[0], whole[1], whole[2]);
	plm_nn_embed_backward(&batch, WIDTH, 11, WIDTH, dx, cut[0], cut[1], cut[2]);
	plm_nn_embed_backward(&batch, WIDTH, 0, 11, dx, cut[0], cut[1], NULL);
	plm_nn_embed_backward(&batch, WIDTH, 0, 11, dx, NULL, NULL, cut[2]);
	for (int k = 0; k < 3; k++)
		for (int i = 0; i < 5 * WIDTH; i++)
			worst = fmax(worst, fabs(whole[k][i] - want[k][i]));
	/* sums of at most six numbers of size 1 */
	CHECK(at_level("embed_gradients_equal_double"), worst < 2e-6, "error %g", worst);
	CHECK(at_level("embed_gradients_by_columns_have_the_same_bits"), memcmp(whole, cut, sizeof(whole)) == 0, "differ");
	free(base);
}

/* ---- attention ---- */

typedef struct AttentionCase
{
	PlmBatch	batch;
	int64_t		heads, d;
	bool		causal;
	const float *dout;
	double	   *out;
} AttentionCase;

static double
attention_loss(const double *qkv, const void *arg)
{
	const AttentionCase *c = arg;
	double		sum = 0;

	attention_plain(&c->batch, c->heads, c->d, c->causal, qkv, c->out);
	for (int64_t i = 0; i < c->batch.tokens * c->heads * c->d; i++)
		sum += c->out[i] * c->dout[i];
	return sum;
}

/* Analytic in double, for lengths at which differences of every entry would take too long; checked against them below. */
static void
attention_gradients(const AttentionCase *c, const double *qkv, double *dqkv)
{
	int64_t		width = c->heads * c->d, ld = 3 * width;
	double		by = 1 / sqrt((double) c->d);
	double	   *p = malloc((size_t) (2 * c->batch.longest) * sizeof(double)), *dp = p + c->batch.longest;

	memset(dqkv, 0, (size_t) (c->batch.tokens * ld) * sizeof(double));
	for (int64_t b = 0; b < c->batch.texts; b++)
		for (int64_t i = c->batch.offsets[b]; i < c->batch.offsets[b + 1]; i++)
			for (int64_t h = 0; h < c->heads; h++)
			{
				int64_t		first = c->batch.offsets[b], seen = (c->causal ? i + 1 : c->batch.offsets[b + 1]) - first;
				double		sum = 0, mean = 0;

				for (int64_t j = 0; j < seen; j++)
				{
					p[j] = dp[j] = 0;
					for (int64_t e = h * c->d; e < h * c->d + c->d; e++)
					{
						p[j] += by * qkv[i * ld + e] * qkv[(first + j) * ld + width + e];
						dp[j] += c->dout[i * width + e] * qkv[(first + j) * ld + 2 * width + e];
					}
					sum += p[j] = exp(p[j]);
				}
				for (int64_t j = 0; j < seen; j++)
					mean += (p[j] /= sum) * dp[j];
				for (int64_t j = 0; j < seen; j++)
					for (int64_t e = h * c->d; e < h * c->d + c->d; e++)
					{
						double		ds = by * p[j] * (dp[j] - mean);

						dqkv[i * ld + e] += ds * qkv[(first + j) * ld + width + e];
						dqkv[(first + j) * ld + width + e] += ds * qkv[i * ld + e];
						dqkv[(first + j) * ld + 2 * width + e] += p[j] * c->dout[i * width + e];
					}
			}
	free(p);
}

/* Lengths of the texts in `lengths`, ended by 0.  Returns the error; sets *bits when twice the same call differs. */
static double
attention_error(const int64_t *lengths, int64_t heads, int64_t d, bool causal, bool differences, int *bits)
{
	int64_t		offsets[8] = {0}, width = heads * d, ld = 3 * width, n;
	AttentionCase c = {.heads = heads, .d = d, .causal = causal};
	void	   *base[4], *scratch;
	float	   *qkv, *dout, *got, *again;
	double	   *wide, *want, worst = 0, most = 1e-3;
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, &plm_libc_hook);
	PlmError	err;

	for (; lengths[c.batch.texts] > 0; c.batch.texts++)
	{
		offsets[c.batch.texts + 1] = offsets[c.batch.texts] + lengths[c.batch.texts];
		c.batch.longest = lengths[c.batch.texts] > c.batch.longest ? lengths[c.batch.texts] : c.batch.longest;
	}
	c.batch.offsets = offsets;
	c.batch.tokens = offsets[c.batch.texts];
	n = c.batch.tokens * ld;
	qkv = fresh(n, base);
	dout = fresh(c.batch.tokens * width, base + 1);
	got = fresh(n, base + 2);
	again = fresh(n, base + 3);
	scratch = aligned_alloc(64, plm_align(plm_nn_attention_backward_scratch(&c.batch, d), 64));
	c.dout = dout;
	c.out = malloc((size_t) n * sizeof(double));
	wide = widened(qkv, n);
	want = widened(qkv, n);
	for (int k = 0; k < 2; k++)
	{
		float	   *to = k == 0 ? got : again;

		memset(scratch, k == 0 ? 0xff : 0x3f, plm_nn_attention_backward_scratch(&c.batch, d));
		plm_nn_attention_backward(&c.batch, heads, d, qkv, qkv + width, qkv + 2 * width, ld, causal, dout, width,
								  to, to + width, to + 2 * width, ld, scratch, &worker, &err);
	}
	*bits += memcmp(got, again, (size_t) n * sizeof(float)) != 0;
	if (differences)
		worst = gradient_error(attention_loss, &c, wide, n, got);
	else
	{
		attention_gradients(&c, wide, want);
		for (int64_t i = 0; i < n; i++)
		{
			most = fmax(most, fabs(want[i]));
			worst = isnan(got[i]) ? INFINITY : fmax(worst, fabs(got[i] - want[i]));
		}
		worst /= most;
	}
	for (int i = 0; i < 4; i++)
		free(base[i]);
	free(scratch);
	free(c.out);
	free(wide);
	free(want);
	return worst;
}

static bool
always(void *arg)
{
	(void) arg;
	return true;
}

static void
test_attention(void)
{
	static const int64_t small[] = {1, 7, 3, 0}, one[] = {1, 0}, long_[] = {1, 64, 201, 65, 0};
	static const int64_t cut[] = {0, 200};
	double		differences[2], large[2] = {0, 0};
	int			bits = 0;
	PlmHook		hook = {.stop = always};
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, &hook);
	PlmBatch	batch = {1, 200, 200, cut, NULL, NULL};
	PlmError	err;
	float	   *x = calloc(600 * 8, sizeof(float));
	void	   *scratch = aligned_alloc(64, plm_align(plm_nn_attention_backward_scratch(&batch, 8), 64));

	for (int causal = 0; causal < 2; causal++)
	{
		differences[causal] = attention_error(small, 2, 5, causal, true, &bits);
		differences[causal] = fmax(differences[causal], attention_error(one, 1, 1, causal, true, &bits));
		large[causal] = fmax(attention_error(long_, 2, 32, causal, false, &bits), attention_error(long_, 1, 33, causal, false, &bits));
	}
	/* as fp32 sums over T of values that partly cancel: some tens of 6e-8 of the largest entry */
	CHECK(at_level("attention_gradients_equal_differences"), differences[0] < 3e-6, "error %g", differences[0]);
	CHECK(at_level("causal_attention_gradients_equal_differences"), differences[1] < 3e-6, "error %g", differences[1]);
	CHECK(at_level("attention_gradients_of_long_texts_equal_double"), large[0] < 3e-6, "error %g", large[0]);
	CHECK(at_level("causal_attention_gradients_of_long_texts_equal_double"), large[1] < 3e-6, "error %g", large[1]);
	CHECK(at_level("attention_gradients_have_the_same_bits_again"), bits == 0, "%d differ", bits);
	CHECK(at_level("attention_backward_stops_when_asked"),
		  plm_nn_attention_backward(&batch, 1, 8, x, x, x, 8, false, x, 8, x, x + 1600, x + 3200, 8, scratch, &worker, &err) ==
		  PLM_ECANCELLED, "did not");
	free(x);
	free(scratch);
}

/* ---- a block: h = x + att(x Wqkv^T + b) ; u = norm(h) ; y = u + act(u W1^T + b1) W2^T + b2 ---- */

enum { C = 12, HEADS = 3, F = 21, TOKENS = 11 };

/* All of a block's numbers in one array: the input, then the weights. */
enum
{
	AT_X = 0, AT_QKV = AT_X + TOKENS * C, AT_QKV_B = AT_QKV + 3 * C * C, AT_G = AT_QKV_B + 3 * C, AT_B = AT_G + C,
	AT_W1 = AT_B + C, AT_W1_B = AT_W1 + F * C, AT_W2 = AT_W1_B + F, AT_W2_B = AT_W2 + C * F, BLOCK = AT_W2_B + C
};

typedef struct BlockCase
{
	PlmBatch	batch;
	PlmActivation act;
	const float *dy;
} BlockCase;

static double
block_loss(const double *a, const void *arg)
{
	const BlockCase *c = arg;
	double		qkv[TOKENS * 3 * C], h[TOKENS * C], u[TOKENS * C], f[TOKENS * F], y[TOKENS * C], sum = 0;

	linear_plain(TOKENS, 3 * C, C, a + AT_X, a + AT_QKV, a + AT_QKV_B, qkv);
	attention_plain(&c->batch, HEADS, C / HEADS, false, qkv, h);
	for (int i = 0; i < TOKENS * C; i++)
		h[i] += a[AT_X + i];
	norm_plain(TOKENS, C, h, a + AT_G, a + AT_B, u);
	linear_plain(TOKENS, F, C, u, a + AT_W1, a + AT_W1_B, f);
	for (int i = 0; i < TOKENS * F; i++)
		f[i] = act_of(c->act, f[i]);
	linear_plain(TOKENS, C, F, f, a + AT_W2, a + AT_W2_B, y);
	for (int i = 0; i < TOKENS * C; i++)
		sum += (y[i] + u[i]) * c->dy[i];
	return sum;
}

/* y = act(x W^T + b [+ residual]), W (n,k) or, transposed, its transpose as stored (k,n); through the packed product. */
static void
packed_linear(int64_t n, int64_t k, const float *w, bool transposed, const float *b, const float *x, const float *residual, float *y)
{
	PlmLinear	l = {{PLM_PREC_F32, n, k, aligned_alloc(64, plm_pack_bytes(PLM_PREC_F32, n, k))}, b};
	float	   *turned = malloc((size_t) (n * k) * sizeof(float));
	void	   *scratch = aligned_alloc(64, plm_nn_linear_scratch(&l));
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, &plm_libc_hook);

	for (int64_t i = 0; i < n * k; i++)
		turned[i] = transposed ? w[i % k * n + i / k] : w[i];
	plm_pack(PLM_PREC_F32, n, k, turned, (void *) l.w.data);
	plm_nn_linear(&l, TOKENS, x, k, residual, y, n, PLM_ACT_NONE, scratch, &worker, NULL);
	free((void *) l.w.data);
	free(turned);
	free(scratch);
}

/* Forward and backward of the block by the engine's operations; d (BLOCK): gradients, zeroed before. */
static void
block_gradients(const BlockCase *c, const float *a, float *d)
{
	float		qkv[TOKENS * 3 * C], h[TOKENS * C], u[TOKENS * C], save[TOKENS * 2], f[TOKENS * F], fa[TOKENS * F];
	float		dqkv[TOKENS * 3 * C], df[TOKENS * F], du[TOKENS * C];
	void	   *scratch = aligned_alloc(64, plm_align(plm_nn_attention_scratch(&c->batch, C / HEADS) +
													  plm_nn_attention_backward_scratch(&c->batch, C / HEADS), 64));
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, &plm_libc_hook);

	packed_linear(3 * C, C, a + AT_QKV, false, a + AT_QKV_B, a + AT_X, NULL, qkv);
	plm_nn_attention(&c->batch, HEADS, C / HEADS, qkv, qkv + C, qkv + 2 * C, 3 * C, false, h, C, scratch, &worker, NULL);
	plm_add_to(h, a + AT_X, TOKENS * C);
	plm_layer_norm(TOKENS, C, h, NULL, a + AT_G, a + AT_B, 1e-5f, u, save);
	packed_linear(F, C, a + AT_W1, false, a + AT_W1_B, u, NULL, f);
	memcpy(fa, f, sizeof(f));
	plm_activate(c->act, fa, TOKENS * F);

	plm_nn_linear_backward(TOKENS, C, F, c->dy, C, fa, F, d + AT_W2, d + AT_W2_B);
	packed_linear(F, C, a + AT_W2, true, NULL, c->dy, NULL, df);
	plm_activate_backward(c->act, f, df, TOKENS * F);
	plm_nn_linear_backward(TOKENS, F, C, df, F, u, C, d + AT_W1, d + AT_W1_B);
	packed_linear(C, F, a + AT_W1, true, NULL, df, c->dy, du);
	plm_layer_norm_backward(TOKENS, C, h, save, a + AT_G, du, du, d + AT_G, d + AT_B);
	plm_nn_attention_backward(&c->batch, HEADS, C / HEADS, qkv, qkv + C, qkv + 2 * C, 3 * C, false, du, C,
							  dqkv, dqkv + C, dqkv + 2 * C, 3 * C, scratch, &worker, NULL);
	plm_nn_linear_backward(TOKENS, 3 * C, C, dqkv, 3 * C, a + AT_X, C, d + AT_QKV, d + AT_QKV_B);
	packed_linear(C, 3 * C, a + AT_QKV, true, NULL, dqkv, du, d + AT_X);
	free(scratch);
}

static void
test_block(void)
{
	static const int64_t offsets[] = {0, 1, 6, 11};
	static const PlmActivation acts[] = {PLM_ACT_GELU, PLM_ACT_GELU_TANH, PLM_ACT_SILU, PLM_ACT_TANH};

	for (int i = 0; i < PLM_COUNT(acts); i++)
	{
		void	   *base[2];
		float	   *a = fresh(BLOCK, base), *dy = fresh(TOKENS * C, base + 1);
		float		d[BLOCK] = {0}, again[BLOCK] = {0};
		BlockCase	c = {{3, TOKENS, 5, offsets, NULL, NULL}, acts[i], dy};
		double	   *wide, worst;

		plm_scale(a + AT_QKV, 0.3f, AT_QKV_B - AT_QKV);
		plm_scale(a + AT_W1, 0.3f, AT_W1_B - AT_W1);
		plm_scale(a + AT_W2, 0.3f, AT_W2_B - AT_W2);
		wide = widened(a, BLOCK);
		block_gradients(&c, a, d);
		block_gradients(&c, a, again);
		worst = gradient_error(block_loss, &c, wide, BLOCK, d);
		/* a dozen operations, each of which adds some 1e-7 of the largest entry */
		CHECK(at_level("gradients_of_a_block_equal_differences"), worst < 5e-6, "activation %d: error %g", (int) acts[i], worst);
		CHECK(at_level("gradients_of_a_block_have_the_same_bits_again"), memcmp(d, again, sizeof(d)) == 0, "differ");
		free(base[0]);
		free(base[1]);
		free(wide);
	}
}

/* ---- dropout ---- */

static void
test_dropout(void)
{
	enum { N = 200003 };
	float	   *x = malloc(N * sizeof(float)), *y = malloc(N * sizeof(float));
	int64_t		kept = 0, wrong = 0, other = 0;
	double		mean = 0;
	float		tiny[3] = {1, 2, 3};

	for (int i = 0; i < N; i++)
		x[i] = y[i] = (float) (1 + i % 7);
	plm_dropout(x, N, 0.1, 42, UINT64_MAX - 1000);
	for (int i = 0; i < N; i++)
	{
		bool		keep = plm_random(42, UINT64_MAX - 1000 + (uint64_t) i) >= 429496730u;

		kept += keep;
		wrong += keep ? fabs(x[i] - (1 + i % 7) / 0.9) > 1e-6 * x[i] : x[i] != 0;
		mean += x[i] / N;
	}
	CHECK(at_level("dropout_keeps_what_the_generator_says"), wrong == 0, "%d wrong", (int) wrong);
	/* the deviation of the share kept is sqrt(0.1 * 0.9 / N) = 6.7e-4, of the mean 4 * (that / 0.9) */
	CHECK(at_level("dropout_keeps_its_share"), fabs((double) kept / N - 0.9) < 5 * 6.8e-4, "%g", (double) kept / N);
	CHECK(at_level("dropout_preserves_the_mean"), fabs(mean - 4) < 5 * 5e-3, "%g", mean);
	for (int i = 0; i < N;)
	{
		int			n = i % 37 + 1 < N - i ? i % 37 + 1 : N - i;

		plm_dropout(y + i, n, 0.1, 42, UINT64_MAX - 1000 + (uint64_t) i);
		i += n;
	}
	CHECK(at_level("dropout_in_pieces_has_the_same_bits"), memcmp(x, y, N * sizeof(float)) == 0, "differ");
	for (int i = 0; i < N; i++)
		y[i] = 1;
	plm_dropout(y, N, 0.1, 43, UINT64_MAX - 1000);
	for (int i = 0; i < N; i++)
		other += (x[i] == 0) == (y[i] == 0);
	/* two independent masks agree at 0.9^2 + 0.1^2 of the places */
	CHECK(at_level("dropout_of_another_seed_is_another_mask"), fabs((double) other / N - 0.82) < 5e-3, "%g", (double) other / N);
	plm_dropout(tiny, 3, 0, 1, 0);
	CHECK(at_level("dropout_of_nothing_changes_nothing"), tiny[0] == 1 && tiny[1] == 2 && tiny[2] == 3, "changed");
	plm_dropout(tiny, 3, 1, 1, 0);
	CHECK(at_level("dropout_of_everything_is_zero"), tiny[0] == 0 && tiny[1] == 0 && tiny[2] == 0, "%g", tiny[0]);
	free(x);
	free(y);
}

int
main(void)
{
	for (int level = 0; level <= (int) plm_cpu_best(); level++)
	{
		plm_simd_select((PlmSimd) level);
		test_activations();
		test_layer_norm();
		test_linear();
		test_embed();
		test_attention();
		test_block();
		test_dropout();
	}
	return unit_done();
}
