/*
 * test_nn_backward.c -- the backward passes of single operations of num/ and nn/, and dropout, at every level; attention and a
 * whole block are in test_nn_block.c.
 */
#include "differences.h"

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
	PlmBatch	batch = {3, TOKENS, 5, offsets, ids, types, NULL};
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
	for (int level = 0; level < PLM_SIMD_LEVELS; level++)
	{
		if (!plm_simd_select((PlmSimd) level))
			continue;
		test_activations();
		test_layer_norm();
		test_linear();
		test_embed();
		test_dropout();
	}
	return unit_done();
}
