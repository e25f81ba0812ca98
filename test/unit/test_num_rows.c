/*
 * test_num_rows.c -- the row kernels and attention of num/ against plain double precision, at every level.
 */
#include "num_cases.h"

/* ---- row kernels ---- */

static void
test_activations(void)
{
	static const char *const names[] = {"none", "gelu", "gelu_tanh", "relu", "silu", "tanh", "sigmoid"};
	int64_t		n = 200003;
	float	   *x = malloc((size_t) n * sizeof(float));
	float	   *y = malloc((size_t) n * sizeof(float));

	for (int act = PLM_ACT_NONE; act <= PLM_ACT_SIGMOID; act++)
	{
		double		worst = 0;
		float		where = 0;
		char		name[64];

		for (int64_t i = 0; i < n; i++)
			x[i] = i < 200000 ? (float) ((double) i / 200000 * 24 - 12) : (float[]) {-1e4f, 1e4f, 1e-30f}[i - 200000];
		memcpy(y, x, (size_t) n * sizeof(float));
		plm_activate(act, y, n);
		for (int64_t i = 0; i < n; i++)
		{
			double		want = act_of(act, x[i]);
			double		e = fabs(y[i] - want) / fmax(1, fabs(want));

			if (!(e <= worst))
			{
				worst = e;
				where = x[i];
			}
		}
		snprintf(name, sizeof(name), "activation_%s", names[act]);
		printf("# %s: largest error %.3g at %g\n", at_level(name), worst, where);
		CHECK(at_level(name), worst <= 2e-7, "error %g at %.9g", worst, where);
		y[0] = NAN;
		plm_activate(act, y, 1);
		CHECK(at_level("activation_keeps_nan"), isnan(y[0]), "%s gives %g", name, y[0]);
	}
	free(x);
	free(y);
}

static void
test_softmax(void)
{
	double		worst = 0, worst_sum = 0;
	float		wide[3] = {-200, 0, -87.2f};

	for (int64_t n = 1; n < 140; n++)
	{
		void	   *base;
		float	   *x = fresh(n, &base);
		double		want[140], sum = 0, total = 0;

		for (int64_t i = 0; i < n; i++)
			sum += want[i] = exp((double) x[i] * 0.7f);
		plm_softmax(x, n, 0.7f);
		for (int64_t i = 0; i < n; i++)
		{
			worst = fmax(worst, fabs(x[i] * sum / want[i] - 1));
			total += x[i];
		}
		worst_sum = fmax(worst_sum, fabs(total - 1));
		free(base);
	}
	/* e^x within 2 units of 6e-8, its argument within one, a sum of 140, a division */
	CHECK(at_level("softmax_equals_double"), worst < 1e-6, "relative error %g", worst);
	CHECK(at_level("softmax_adds_up_to_one"), worst_sum < 1e-6, "off by %g", worst_sum);
	plm_softmax(wide, 3, 1.0f);
	CHECK(at_level("softmax_underflows_to_zero"), wide[0] == 0 && wide[1] == 1, "%g %g", wide[0], wide[1]);
}

static void
test_dots(void)
{
	double		worst = 0;

	for (int64_t n = 0; n < 200; n++)
	{
		void	   *ba, *bb;
		float	   *a = fresh(n, &ba);
		float	   *b = fresh(n, &bb);
		double		ab = 0, aa = 0, sq = 0;
		float		f[3];

		for (int64_t i = 0; i < n; i++)
		{
			ab += (double) a[i] * b[i];
			aa += (double) a[i] * a[i];
			sq += (double) b[i] * b[i];
		}
		plm_dot3(a, b, n, &f[0], &f[1], &f[2]);
		worst = fmax(worst, fabs(plm_dot(a, b, n) - ab) / (aa + sq + 1));
		worst = fmax(worst, fabs(f[0] - ab) / (aa + sq + 1));
		worst = fmax(worst, fabs(f[1] - aa) / (aa + 1));
		worst = fmax(worst, fabs(f[2] - sq) / (sq + 1));
		free(ba);
		free(bb);
	}
	CHECK(at_level("dot_and_dot3_equal_double"), worst < 1e-6, "error %g", worst);
}

static void
test_elementwise(void)
{
	int			bad = 0;

	for (int64_t n = 0; n < 70; n++)
	{
		void	   *ba, *bb;
		float	   *y = fresh(n, &ba);
		float	   *x = fresh(n, &bb);
		float		old[70];

		memcpy(old, y, (size_t) n * sizeof(float));
		plm_add_to(y, x, n);
		for (int64_t i = 0; i < n; i++)
			bad += y[i] != old[i] + x[i];
		plm_max_to(y, x, n);
		for (int64_t i = 0; i < n; i++)
			bad += y[i] != fmaxf(old[i] + x[i], x[i]);
		plm_scale(x, 3.0f, n);
		plm_add_to(y, x, n);
		free(ba);
		free(bb);
	}
	CHECK(at_level("add_max_scale_are_exact"), bad == 0, "%d differ", bad);
}

static void
test_normalize(void)
{
	float		sizes[] = {1, 1e-25f, 1e25f, 1e-40f};
	float		zero[5] = {0}, odd[5] = {1, NAN, 0, 0, 0};
	double		worst = 0;

	for (int s = 0; s < 4; s++)
	{
		void	   *base;
		float	   *x = fresh(77, &base);
		double		norm = 0;

		plm_scale(x, sizes[s], 77);
		if (!plm_normalize(x, 77))
			worst = INFINITY;
		for (int i = 0; i < 77; i++)
			norm += (double) x[i] * x[i];
		worst = fmax(worst, fabs(norm - 1));
		free(base);
	}
	CHECK(at_level("normalize_gives_unit_length"), worst < 1e-6, "off by %g", worst);
	CHECK(at_level("normalize_refuses_zero_and_nan"), !plm_normalize(zero, 5) && !plm_normalize(odd, 5) && odd[0] == 1, "accepted");
}

static void
test_layer_norm(void)
{
	double		worst = 0, worst_save = 0;

	for (int64_t width = 1; width < 400; width = width * 3 / 2 + 1)
		for (int kind = 0; kind < 4; kind++)
		{
			int64_t		rows = 3;
			void	   *bx, *br, *bg;
			float	   *x = fresh(rows * width, &bx);
			float	   *r = fresh(rows * width, &br);
			float	   *g = fresh(2 * width, &bg);
			const float *b = kind == 3 ? NULL : g + width;
			float	   *in = malloc((size_t) (rows * width) * sizeof(float));
			float		save[6];

			for (int64_t i = 0; i < rows * width; i++)
				x[i] += kind == 2 ? 1000.0f : 0.0f;
			for (int64_t i = 0; i < rows * width; i++)
				in[i] = kind == 1 ? x[i] + r[i] : x[i];
			plm_layer_norm(rows, width, x, kind == 1 ? r : NULL, g, b, 1e-5f, x, save);
			for (int64_t t = 0; t < rows; t++)
			{
				double		mean = 0, var = 0;

				for (int64_t i = 0; i < width; i++)
					mean += (double) in[t * width + i] / (double) width;
				for (int64_t i = 0; i < width; i++)
					var += pow(in[t * width + i] - mean, 2) / (double) width;
				for (int64_t i = 0; i < width; i++)
				{
					double		want = (in[t * width + i] - mean) / sqrt(var + 1e-5) * g[i] + (b ? b[i] : 0);

					/* a mean of 1000 leaves 3e-5 of its rounding, in units of the deviation */
					worst = fmax(worst, fabs(x[t * width + i] - want) / (1 + fabs(g[i])) / (kind == 2 ? 200 / sqrt(var + 1e-5) : 3));
				}
				worst_save = fmax(worst_save, fabs(save[2 * t] - mean) / (1 + fabs(mean)));
				worst_save = fmax(worst_save, fabs(save[2 * t + 1] * sqrt(var + 1e-5) - 1));
			}
			free(bx);
			free(br);
			free(bg);
			free(in);
		}
	CHECK(at_level("layer_norm_equals_double"), worst < 1e-6, "error %g", worst);
	CHECK(at_level("layer_norm_saves_mean_and_rstd"), worst_save < 3e-6, "error %g", worst_save);
}

/* ---- attention ---- */

static double
attention_error(int64_t t, int64_t d, bool causal)
{
	int64_t		ld = 3 * d + 1, ldo = d + 3;
	void	   *base, *bo;
	float	   *qkv = fresh((t - 1) * ld + 3 * d, &base);
	float	   *out = fresh((t - 1) * ldo + d, &bo);
	void	   *scratch = aligned_alloc(64, plm_attention_scratch(t, d));
	double	   *p = malloc((size_t) t * sizeof(double));
	float		scale = 1 / sqrtf((float) d);
	double		worst = 0;

	plm_attention(t, d, qkv, qkv + d, qkv + 2 * d, ld, scale, causal, out, ldo, scratch);
	for (int64_t i = 0; i < t; i++)
	{
		int64_t		seen = causal ? i + 1 : t;
		double		most = -INFINITY, sum = 0;

		for (int64_t j = 0; j < seen; j++)
		{
			p[j] = 0;
			for (int64_t c = 0; c < d; c++)
				p[j] += (double) qkv[i * ld + c] * qkv[j * ld + d + c];
			p[j] *= scale;
			most = fmax(most, p[j]);
		}
		for (int64_t j = 0; j < seen; j++)
			sum += p[j] = exp(p[j] - most);
		for (int64_t c = 0; c < d; c++)
		{
			double		want = 0;

			for (int64_t j = 0; j < seen; j++)
				want += p[j] / sum * qkv[j * ld + 2 * d + c];
			worst = fmax(worst, fabs(out[i * ldo + c] - want));
		}
	}
	free(base);
	free(bo);
	free(scratch);
	free(p);
	return isnan(worst) ? INFINITY : worst;
}

static void
test_attention(void)
{
	static const int64_t shapes[][2] = {{1, 1}, {1, 64}, {7, 32}, {33, 20}, {49, 32}, {100, 64}, {530, 33}};
	double		worst[2] = {0, 0};

	for (int s = 0; s < PLM_COUNT(shapes); s++)
		for (int causal = 0; causal < 2; causal++)
			worst[causal] = fmax(worst[causal], attention_error(shapes[s][0], shapes[s][1], causal));
	CHECK(at_level("attention_equals_double"), worst[0] < 2e-6, "error %g", worst[0]);
	CHECK(at_level("causal_attention_equals_double"), worst[1] < 2e-6, "error %g", worst[1]);
}

int
main(void)
{
	for (int level = 0; level < PLM_SIMD_LEVELS; level++)
	{
		if (!plm_simd_select((PlmSimd) level))
			continue;
		test_activations();
		test_softmax();
		test_dots();
		test_elementwise();
		test_normalize();
		test_layer_norm();
		test_attention();
	}
	return unit_done();
}
