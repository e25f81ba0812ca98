/*
 * test_nn_block.c -- the backward passes of attention, and of a transformer block made of the engine's operations, at every level.
 */
#include "differences.h"

/* ---- plain forward passes in double ---- */

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
	PlmBatch	batch = {1, 200, 200, cut, NULL, NULL, NULL};
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
		BlockCase	c = {{3, TOKENS, 5, offsets, NULL, NULL, NULL}, acts[i], dy};
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

int
main(void)
{
	for (int level = 0; level < PLM_SIMD_LEVELS; level++)
	{
		if (!plm_simd_select((PlmSimd) level))
			continue;
		test_attention();
		test_block();
	}
	return unit_done();
}
