/*
 * test_num.c -- conversion, packing and matrix products of num/, at every level that this machine has.
 */
#include "num_cases.h"

/* ---- conversion ---- */

static void
test_conversion(void)
{
	int			bad_half = -1;
	int			bad_bf16 = -1;
	int			bad_round = -1;
	float		x[2000] = {0};
	double		d = 1.0 / 3;
	float		f;

	for (int h = 0; h < 65536; h++)
	{
		unsigned char raw[3] = {0, (unsigned char) h, (unsigned char) (h >> 8)};
		int			e = h >> 10 & 31;
		int			m = h & 1023;
		double		want = e == 0 ? ldexp(m, -24) : ldexp(1024 + m, e - 25);
		uint32_t	bits;

		plm_to_f32(PLM_F16, raw + 1, &f, 1);
		if (h & 0x8000)
			want = -want;
		if (e == 31 ? (m == 0 ? !(isinf(f) && (f < 0) == (h >> 15)) : !isnan(f)) :
			(double) f != want || (signbit(f) != 0) != (h >> 15))
			bad_half = h;
		plm_to_f32(PLM_BF16, raw + 1, &f, 1);
		memcpy(&bits, &f, 4);
		if (bits != (uint32_t) h << 16)
			bad_bf16 = h;
		if (isnan(f) ? !isnan(plm_bf16_to_f32(plm_f32_to_bf16(f))) : plm_f32_to_bf16(f) != h)
			bad_round = h;
	}
	CHECK("every_f16_is_exact", bad_half < 0, "0x%04x", bad_half);
	CHECK("every_bf16_is_exact", bad_bf16 < 0, "0x%04x", bad_bf16);
	CHECK("every_bf16_survives_the_round_trip", bad_round < 0, "0x%04x", bad_round);
	CHECK("bf16_rounds_half_to_even", plm_f32_to_bf16(1.00390625f) == 0x3f80 && plm_f32_to_bf16(1.01171875f) == 0x3f82,
		  "%04x %04x", plm_f32_to_bf16(1.00390625f), plm_f32_to_bf16(1.01171875f));
	CHECK("f64_converts", plm_to_f32(PLM_F64, &d, &f, 1) && f == (float) d, "%g", f);
	CHECK("integers_are_not_converted", !plm_to_f32(PLM_I32, &d, &f, 1) && !plm_to_f32((PlmType) 99, &d, &f, 0), "converted");
	CHECK("types_have_names_and_sizes", plm_type_bytes(PLM_BF16) == 2 && strcmp(plm_type_name(PLM_BOOL), "BOOL") == 0 &&
		  plm_type_bytes((PlmType) 99) == 0, "%zu", plm_type_bytes(PLM_BF16));
	CHECK("finite_is_finite", plm_find_nonfinite(x, 2000) == -1, "%d", (int) plm_find_nonfinite(x, 2000));
	x[1999] = NAN;
	x[1700] = -INFINITY;
	CHECK("first_nonfinite_is_found", plm_find_nonfinite(x, 2000) == 1700, "%d", (int) plm_find_nonfinite(x, 2000));
}

/* ---- packing ---- */

static void
test_pack(void)
{
	static const int64_t shapes[][2] = {{1, 1}, {31, 5}, {33, 7}, {64, 64}, {70, 130}};

	for (int p = 0; p < PLM_PRECISIONS; p++)
	{
		double		worst = 0;

		for (int s = 0; s < PLM_COUNT(shapes); s++)
		{
			int64_t		n = shapes[s][0];
			int64_t		k = shapes[s][1];
			void	   *base;
			float	   *w = fresh(n * k, &base);
			float	   *back = malloc((size_t) (n * k) * sizeof(float));
			size_t		bytes = plm_pack_bytes(p, n, k);
			void	   *data = aligned_alloc(64, bytes);

			plm_pack(p, n, k, w, data);
			plm_unpack(&(PlmPacked) {p, n, k, data}, back);
			for (int64_t i = 0; i < n * k; i++)
				worst = fmax(worst, fabs(back[i] - w[i]) / fmax(1, fabs(w[i])));
			if (bytes % 64 != 0)
				worst = INFINITY;
			free(base);
			free(back);
			free(data);
		}
		/* half a step: exact, 2^-8 relative, and 1/254 of a row's largest weight (below 5 here) */
		CHECK(plm_precision_name(p), worst <= (p == PLM_PREC_F32 ? 0 : p == PLM_PREC_BF16 ? 1.0 / 256 : 5.0 / 254),
			  "unpack differs by %g", worst);
	}
	CHECK("pack_bytes_refuses_overflow", plm_pack_bytes(PLM_PREC_F32, INT64_MAX / 4, 8) == 0 &&
		  plm_pack_bytes(PLM_PREC_F32, INT64_MAX, INT64_MAX) == 0 && plm_pack_bytes(PLM_PREC_BF16, 0, 5) == 0 &&
		  plm_pack_bytes(PLM_PREC_INT8, 32, 70000) == 0, "accepted");
}

/* ---- linear ---- */

typedef struct Case
{
	int64_t		rows, n, k;
	PlmActivation act;
	bool		bias, residual;
} Case;

/*
 * The largest error of plm_linear, in units of the sum of |x w| of the element, against double
 * arithmetic on the weights (and activations) as the precision rounds them; `quant` is the largest
 * error that the rounding of the activations to 8 bits allows, in the same units, 0 otherwise.
 */
static double
linear_error(PlmPrecision p, const Case *c)
{
	int64_t		ldx = c->k + 3;
	int64_t		ldy = c->n + 5;
	void	   *bx, *bw, *bb, *by;
	float	   *x = fresh((c->rows - 1) * ldx + c->k, &bx);
	float	   *w = fresh(c->n * c->k, &bw);
	float	   *bias = fresh(c->n, &bb);
	float	   *y = fresh((c->rows - 1) * ldy + c->n, &by);
	size_t		ybytes = (size_t) ((c->rows - 1) * ldy + c->n) * sizeof(float);
	float	   *before = malloc(ybytes);
	PlmPacked	packed = {p, c->n, c->k, aligned_alloc(64, plm_pack_bytes(p, c->n, c->k))};
	void	   *scratch = aligned_alloc(64, plm_linear_scratch(&packed, c->rows) + 64);
	double		worst = 0;

	memcpy(before, y, ybytes);
	plm_pack(p, c->n, c->k, w, (void *) packed.data);
	plm_unpack(&packed, w);
	plm_linear(&packed, c->bias ? bias : NULL, c->rows, x, ldx, c->residual ? y : NULL, y, ldy, c->act, scratch);
	for (int64_t r = 0; r < c->rows; r++)
	{
		double		most = 0, least = 0, step;

		for (int64_t i = 0; i < c->k; i++)
		{
			most = fmax(most, x[r * ldx + i]);
			least = fmin(least, x[r * ldx + i]);
			if (p == PLM_PREC_BF16)
				x[r * ldx + i] = plm_bf16_to_f32(plm_f32_to_bf16(x[r * ldx + i]));
		}
		step = (most - least) / 255;
		for (int64_t j = 0; j < c->n; j++)
		{
			double		sum = c->bias ? bias[j] : 0, size = 1, slack = 0, err;

			if (c->residual)
				sum += before[r * ldy + j];
			for (int64_t i = 0; i < c->k; i++)
			{
				sum += (double) x[r * ldx + i] * w[j * c->k + i];
				size += fabs((double) x[r * ldx + i] * w[j * c->k + i]);
				slack += fabs((double) w[j * c->k + i]) * step * 0.51;
			}
			err = fabs(y[r * ldy + j] - act_of(c->act, sum));
			/* gelu's slope stays below 1.13 */
			if (p == PLM_PREC_INT8)
				err = fmax(0, err - 1.13 * slack);
			worst = fmax(worst, isnan(err) ? INFINITY : err / size);
		}
		/* what lies between the rows is not touched */
		if (r + 1 < c->rows && memcmp(y + r * ldy + c->n, before + r * ldy + c->n, 5 * sizeof(float)) != 0)
			worst = INFINITY;
	}
	free(bx);
	free(bw);
	free(bb);
	free(by);
	free(before);
	free((void *) packed.data);
	free(scratch);
	return worst;
}

static void
test_linear(void)
{
	static const Case cases[] = {
		{1, 1, 1, PLM_ACT_NONE, false, false}, {1, 33, 5, PLM_ACT_NONE, true, false},
		{1, 300, 70, PLM_ACT_GELU, true, true}, {2, 130, 33, PLM_ACT_NONE, true, true},
		{3, 100, 513, PLM_ACT_RELU, false, true}, {4, 64, 1030, PLM_ACT_NONE, true, false},
		{5, 32, 2051, PLM_ACT_NONE, true, true}, {7, 31, 64, PLM_ACT_TANH, true, false},
		{13, 96, 384, PLM_ACT_GELU, true, false}, {25, 50, 2100, PLM_ACT_NONE, false, false},
		{150, 40, 63, PLM_ACT_NONE, true, true}, {290, 65, 31, PLM_ACT_SILU, true, false}
	};

	for (int p = 0; p < PLM_PRECISIONS; p++)
	{
		double		worst = 0;
		int			where = 0;
		char		name[64];

		for (int i = 0; i < PLM_COUNT(cases); i++)
		{
			double		e = linear_error(p, &cases[i]);

			if (!(e <= worst))
			{
				worst = e;
				where = i;
			}
		}
		snprintf(name, sizeof(name), "linear_%s_equals_double", plm_precision_name(p));
		/* a chain of at most 512 (1,024) roundings, and the epilogue's, of values below the sum of |x w| */
		CHECK(at_level(name), worst < 2e-6, "error %g in case %d", worst, where);
	}
}

/* Row r of a batch of any size has the bits that it has alone. */
static void
test_rows_alone(void)
{
	static const int64_t shapes[][2] = {{97, 77}, {64, 1100}};

	for (int p = 0; p < PLM_PRECISIONS; p++)
	{
		int			bad = 0;
		char		name[64];

		for (int s = 0; s < PLM_COUNT(shapes); s++)
		{
			int64_t		n = shapes[s][0], k = shapes[s][1], most = 40;
			void	   *bx, *bw;
			float	   *x = fresh(most * k, &bx);
			float	   *w = fresh(n * k, &bw);
			float	   *alone = malloc((size_t) (most * n) * sizeof(float));
			float	   *batch = malloc((size_t) (most * n) * sizeof(float));
			PlmPacked	packed = {p, n, k, aligned_alloc(64, plm_pack_bytes(p, n, k))};
			void	   *scratch = aligned_alloc(64, plm_linear_scratch(&packed, most) + 64);

			plm_pack(p, n, k, w, (void *) packed.data);
			for (int64_t r = 0; r < most; r++)
				plm_linear(&packed, w, 1, x + r * k, k, NULL, alone + r * n, n, PLM_ACT_GELU, scratch);
			for (int64_t rows = 1; rows <= most; rows++)
			{
				plm_linear(&packed, w, rows, x, k, NULL, batch, n, PLM_ACT_GELU, scratch);
				if (memcmp(alone, batch, (size_t) (rows * n) * sizeof(float)) != 0)
					bad = (int) rows;
			}
			if (p == PLM_PREC_F32)
			{
				plm_linear(&packed, w, most, x, k, NULL, batch, n, PLM_ACT_GELU, NULL);
				if (memcmp(alone, batch, (size_t) (most * n) * sizeof(float)) != 0)
					bad = -1;
			}
			free(bx);
			free(bw);
			free(alone);
			free(batch);
			free((void *) packed.data);
			free(scratch);
		}
		snprintf(name, sizeof(name), "row_alone_equals_row_in_batch_%s", plm_precision_name(p));
		CHECK(at_level(name), bad == 0, "differs with %d rows (-1: without scratch)", bad);
	}
}

/* ---- int8's integers ---- */

/* Extremes included: all 255 times all 127 and -127, where saturating arithmetic would show. */
static void
test_int8_tiles(void)
{
	int64_t		units = 600, block = 12 * PLM_X_LD;
	size_t		xbytes = 2 * (size_t) block * 4;
	uint8_t    *x = malloc(xbytes);
	int8_t	   *w = aligned_alloc(64, (size_t) units * 128);

	for (int kind = 0; kind < 3; kind++)
	{
		int			bad = 0;

		for (size_t i = 0; i < xbytes; i++)
			x[i] = kind == 2 ? 255 : (uint8_t) plm_random(3, i);
		for (int64_t i = 0; i < units * 128; i++)
			w[i] = kind == 0 ? (int8_t) ((int) (plm_random(4, (uint64_t) i) % 255) - 127) : i % 8 < 4 ? 127 : -127;
		for (int level = 0; level < PLM_SIMD_LEVELS; level++)
		{
			if (!plm_simd_select((PlmSimd) level))
				continue;
			for (int rows = 1; rows <= plm_kernels()->rows_int8; rows++)
			{
				int32_t		acc[PLM_TILE_ROWS * PLM_PANEL];

				plm_kernels()->tile_int8(rows, units, x, block, w, acc);
				for (int i = 0; i < rows * PLM_PANEL; i++)
				{
					int32_t		want = 0;

					for (int64_t u = 0; u < units; u++)
						for (int b = 0; b < 4; b++)
							want += x[(u / PLM_UNITS * block + i / PLM_PANEL * PLM_X_LD + u % PLM_UNITS) * 4 + b] *
								w[(u * PLM_PANEL + i % PLM_PANEL) * 4 + b];
					bad += acc[i] != want;
				}
			}
		}
		CHECK("int8_tiles_are_exact_at_every_level", bad == 0, "kind %d: %d of them differ", kind, bad);
	}
	free(x);
	free(w);
}

static void
test_int8_quantize(void)
{
	int64_t		sizes[] = {1, 3, 4, 63, 384, 2050};
	int			bad = 0;

	for (int s = 0; s < PLM_COUNT(sizes); s++)
		for (int kind = 0; kind < 4; kind++)
		{
			int64_t		k = sizes[s];
			size_t		bytes = (size_t) (k / 2048 + 1) * PLM_X_LD * 4;
			uint8_t    *first = calloc(1, bytes);
			uint8_t    *other = calloc(1, bytes);
			void	   *base;
			float	   *x = fresh(k, &base);
			PlmQuant	q = {0}, q2;

			for (int64_t i = 0; i < k; i++)
				x[i] = kind == 0 ? x[i] : kind == 1 ? fabsf(x[i]) * 1e20f : kind == 2 ? 0 : -fabsf(x[i]) * 1e-30f;
			for (int level = 0; level < PLM_SIMD_LEVELS; level++)
			{
				if (!plm_simd_select((PlmSimd) level))
					continue;
				if (level == 0)
					q = plm_kernels()->row->quantize(x, k, first, PLM_X_LD * 4);
				q2 = plm_kernels()->row->quantize(x, k, other, PLM_X_LD * 4);
				if (memcmp(first, other, bytes) != 0 || memcmp(&q, &q2, sizeof(q)) != 0)
					bad++;
			}
			for (int64_t i = 0; i < k; i++)
				if (fabs((double) q.scale * (first[i / 2048 * PLM_X_LD * 4 + i % 2048] - q.zero) - x[i]) > 0.51 * q.scale)
					bad++;
			free(first);
			free(other);
			free(base);
		}
	CHECK("int8_rows_are_quantised_alike_at_every_level", bad == 0, "%d differ", bad);
}

static void
test_int8_nonfinite(void)
{
	float		x[40] = {0}, y[32], values[] = {NAN, INFINITY, -INFINITY};
	float		w[32 * 40];
	PlmPacked	packed = {PLM_PREC_INT8, 32, 40, aligned_alloc(64, plm_pack_bytes(PLM_PREC_INT8, 32, 40))};
	void	   *scratch = aligned_alloc(64, plm_linear_scratch(&packed, 1));
	int			bad = 0;

	for (int i = 0; i < 32 * 40; i++)
		w[i] = 1;
	plm_pack(PLM_PREC_INT8, 32, 40, w, (void *) packed.data);
	for (int v = 0; v < 3; v++)
		for (int at = 0; at < 40; at++)
		{
			for (int i = 0; i < 40; i++)
				x[i] = (float) i - 20;
			x[at] = values[v];
			plm_linear(&packed, NULL, 1, x, 40, NULL, y, 32, PLM_ACT_NONE, scratch);
			bad += !isnan(y[0]);
		}
	CHECK(at_level("int8_does_not_hide_what_is_not_finite"), bad == 0, "%d hidden", bad);
	free((void *) packed.data);
	free(scratch);
}

/* ---- OpenBLAS ---- */

static void
test_gemm(void)
{
	double		worst = 0;
	int			m = 13, n = 9, k = 21;

	for (int form = 0; form < 8; form++)
	{
		bool		ta = form & 1, tb = form & 2;
		float		beta = form & 4 ? 0.5f : 0;
		void	   *ba, *bb, *bc;
		float	   *a = fresh(m * k, &ba);
		float	   *b = fresh(k * n, &bb);
		float	   *c = fresh(m * n, &bc);
		float		old[13 * 9];

		memcpy(old, c, sizeof(old));
		plm_gemm(ta, tb, m, n, k, 2.0f, a, ta ? m : k, b, tb ? k : n, beta, c, n);
		for (int i = 0; i < m; i++)
			for (int j = 0; j < n; j++)
			{
				double		sum = beta * old[i * n + j];

				for (int p = 0; p < k; p++)
					sum += 2.0 * (ta ? a[p * m + i] : a[i * k + p]) * (tb ? b[j * k + p] : b[p * n + j]);
				worst = fmax(worst, fabs(sum - c[i * n + j]));
			}
		free(ba);
		free(bb);
		free(bc);
	}
	CHECK("gemm_equals_double_in_every_form", worst < 2e-5, "error %g", worst);
}

/* ---- products side by side ---- */

#define SHARED_ROWS 206

typedef struct Shared
{
	float		a[2][SHARED_ROWS * 96];
	float		x[2][SHARED_ROWS * 32];
	float		want[2][96 * 32];
	int			wrong;			/* atomic */
} Shared;

static PlmStatus
shared_task(void *arg, int64_t i, PlmWorker *worker, PlmError *err)
{
	Shared	   *s = arg;
	float		c[96 * 32];

	(void) worker;
	(void) err;
	plm_gemm(true, false, 96, 32, SHARED_ROWS, 1.0f, s->a[i % 2], 96, s->x[i % 2], 32, 0.0f, c, 32);
	if (memcmp(c, s->want[i % 2], sizeof(c)) != 0)
		__atomic_fetch_add(&s->wrong, 1, __ATOMIC_RELAXED);
	return PLM_OK;
}

/* Some libraries share a buffer between threads without a lock: with Debian's serial OpenBLAS 1 product of 600 was wrong. */
static void
test_gemm_threads(void)
{
	static Shared s;

	for (int k = 0; k < 2; k++)
	{
		for (int i = 0; i < SHARED_ROWS * 96; i++)
			s.a[k][i] = (float) plm_random_normal(1, (uint64_t) (2 * i + k));
		for (int i = 0; i < SHARED_ROWS * 32; i++)
			s.x[k][i] = (float) plm_random_normal(2, (uint64_t) (2 * i + k));
		plm_gemm(true, false, 96, 32, SHARED_ROWS, 1.0f, s.a[k], 96, s.x[k], 32, 0.0f, s.want[k], 32);
	}
	plm_parallel(2, 20000, shared_task, &s, &plm_libc_hook, NULL);
	CHECK("gemm_is_right_on_two_threads", s.wrong == 0, "%d of 20000 products differ", s.wrong);
}

int
main(void)
{
	PlmSimd		best = plm_cpu_best();

	CHECK("best_level_is_the_default", plm_simd_active() == best, "%s", plm_simd_name(plm_simd_active()));
	CHECK("levels_the_cpu_lacks_are_refused", !plm_simd_select(PLM_SIMD_LEVELS) && !plm_simd_select((PlmSimd) -1), "accepted");
	test_conversion();
	test_pack();
	test_gemm();
	test_gemm_threads();
	for (int level = 0; level < PLM_SIMD_LEVELS; level++)
	{
		bool		forced = plm_simd_select((PlmSimd) level);

		CHECK("level_can_be_forced_if_the_cpu_has_it", forced == plm_cpu_has((PlmSimd) level) &&
			  (!forced || plm_simd_active() == (PlmSimd) level), "%s", plm_simd_name((PlmSimd) level));
		if (!forced)
			continue;
		test_linear();
		test_rows_alone();
		test_int8_nonfinite();
	}
	test_int8_tiles();
	test_int8_quantize();
	return unit_done();
}
