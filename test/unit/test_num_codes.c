/*
 * test_num_codes.c -- vectors in 8 bits: exact sums at every level, and bounds that hold.
 */
#include "num_cases.h"

/* Sums of random codes at an odd address against plain arithmetic; the worst difference. */
static int64_t
sums_error(int64_t rows, int64_t k, int queries, bool extreme)
{
	int64_t		width = plm_code_width(k);
	uint8_t    *codes = malloc((size_t) (rows * width) + 1);
	int8_t	   *query = malloc((size_t) (queries * width) + 1);
	int32_t    *out = malloc((size_t) (rows * queries) * sizeof(int32_t));
	int64_t		worst = 0;

	for (int64_t i = 0; i < rows * width; i++)
		codes[i + 1] = extreme ? 255 : (uint8_t) plm_random_normal(3, draws) ^ (uint8_t) (draws * 37), draws++;
	for (int64_t i = 0; i < queries * width; i++)
		query[i + 1] = extreme ? (i / width % 2 == 0 ? 127 : -127) : (int8_t) (draws * 53 % 255 - 127), draws += 7;
	plm_kernels()->dot_codes(rows, width, codes + 1, queries, query + 1, out);
	for (int64_t r = 0; r < rows; r++)
		for (int q = 0; q < queries; q++)
		{
			int64_t		sum = 0;

			for (int64_t i = 0; i < width; i++)
				sum += (int64_t) codes[1 + r * width + i] * query[1 + q * width + i];
			sum -= out[r * queries + q];
			worst = sum < 0 ? (worst < -sum ? -sum : worst) : (worst < sum ? sum : worst);
		}
	free(codes);
	free(query);
	free(out);
	return worst;
}

static void
test_sums(void)
{
	int64_t		worst = 0;
	int64_t		extreme = 0;

	for (int64_t rows = 0; rows <= 9; rows++)
		for (int queries = 1; queries <= 11; queries++)
			for (int64_t k = 1; k < 400; k += 93)
			{
				int64_t		error = sums_error(rows, k, queries, false);

				worst = worst > error ? worst : error;
			}
	extreme = sums_error(5, PLM_CODE_MAX_K, 7, true);
	CHECK(at_level("sums_of_codes_are_exact"), worst == 0, "off by %ld", (long) worst);
	CHECK(at_level("sums_of_the_longest_codes_are_exact"), extreme == 0, "off by %ld", (long) extreme);
}

/* What a row's codes stand for, against what it is. */
static void
test_rows(void)
{
	static const int64_t lengths[] = {1, 2, 63, 64, 65, 384, 1000};
	static const float sizes[] = {1.0f, 1e-18f, 1e18f, 3e38f, 1e-38f};
	double		worst = -INFINITY;
	int			unpadded = 0;
	float		zero[70] = {0};
	uint8_t		codes[1024];
	float		scale = 7;
	float		residual = 7;

	for (int l = 0; l < PLM_COUNT(lengths); l++)
		for (int s = 0; s < PLM_COUNT(sizes); s++)
		{
			int64_t		k = lengths[l];
			void	   *base;
			float	   *v = fresh(k, &base);
			double		norm = 0;
			double		lost = 0;

			for (int64_t i = 0; i < k; i++)
			{
				v[i] = v[i] / 8 * sizes[s];
				norm += (double) v[i] * v[i];
			}
			plm_code_row(v, k, codes, &scale, &residual);
			for (int64_t i = 0; i < k; i++)
				lost += pow(v[i] / sqrt(norm) - (double) scale * (codes[i] - 128), 2);
			for (int64_t i = k; i < plm_code_width(k); i++)
				unpadded += codes[i] != 128;
			/* not below what is lost, and not far above: a step's half in each component */
			worst = fmax(worst, fmax(sqrt(lost) - residual, residual - 0.51 * scale * sqrt((double) k) - 1e-8));
			free(base);
		}
	CHECK("residual_is_what_codes_lose", worst <= 0, "off by %g", worst);
	CHECK("codes_are_padded_by_zero", unpadded == 0, "%d", unpadded);
	scale = residual = 7;
	CHECK("zero_has_no_direction", !plm_code_direction(zero, 70) && !plm_code_row(zero, 70, codes, &scale, &residual) && scale == 7, "coded");
	zero[69] = NAN;
	CHECK("nan_has_no_direction", !plm_code_direction(zero, 70) && !plm_code_row(zero, 70, codes, &scale, &residual), "coded");
	zero[69] = -INFINITY;
	CHECK("infinity_has_no_direction", !plm_code_direction(zero, 70) && !plm_code_row(zero, 70, codes, &scale, &residual), "coded");
	zero[69] = -1e-45f;
	CHECK("the_smallest_component_is_a_direction", plm_code_direction(zero, 70) && plm_code_row(zero, 70, codes, &scale, &residual) && codes[69] == 1,
		  "code %d", codes[69]);
	CHECK("query_bytes_refuse_what_does_not_fit", plm_code_query_bytes(0, 1, 5) == 0 && plm_code_query_bytes(1, 3, 5) == 0 &&
		  plm_code_query_bytes(1, 1, PLM_CODE_MAX_K + 1) == 0 && plm_code_query_bytes(5000, 1, 5) == 0 &&
		  plm_code_query_bytes(3, 2, 100) % 64 == 0, "accepted");
}

/* How far bounds are above the largest weighted cosine: the least and the most over random rows, some of them queries. */
static void
bounds_error(int64_t k, int n, int layers, bool weighted, double *least, double *most, uint64_t *digest)
{
	const int64_t rows = 150;
	int64_t		width = plm_code_width(k);
	void	   *bv, *bq;
	float	   *v = fresh(rows * k, &bv);
	float	   *q = fresh(n * k, &bq);
	double	   *weights = malloc((size_t) n * sizeof(double));
	uint8_t    *codes = malloc((size_t) (rows * width));
	float	   *bounds = malloc(3 * (size_t) rows * sizeof(float));
	float	   *scale = bounds + rows;
	float	   *residual = scale + rows;
	void	   *memory = aligned_alloc(64, plm_code_query_bytes(n, layers, k));
	PlmCodeQuery query;

	for (int i = 0; i < n; i++)
		weights[i] = weighted ? pow(i + 1, -0.7) : 1;
	for (int64_t r = 0; r < rows; r++)
	{
		if (r % 3 == 0)
			for (int64_t i = 0; i < k; i++)
				v[r * k + i] = q[r % n * k + i] + (r % 2 == 0 ? 0 : v[r * k + i] / 20);
		plm_code_row(v + r * k, k, codes + r * width, scale + r, residual + r);
	}
	plm_code_query(&query, n, layers, k, q, weighted ? weights : NULL, memory);
	plm_code_bounds(&query, rows, codes, scale, residual, bounds, layers == 1 ? codes : NULL);
	for (int64_t r = 0; r < rows; r++)
	{
		double		best = -INFINITY;

		for (int i = 0; i < n; i++)
		{
			float		ab, aa, bb;

			plm_dot3(v + r * k, q + i * k, k, &ab, &aa, &bb);
			best = fmax(best, weights[i] * (float) (ab / sqrt((double) aa * bb)));
		}
		*least = fmin(*least, bounds[r] - best);
		*most = fmax(*most, bounds[r] - best);
		*digest = *digest * 31 + (uint64_t) (bounds[r] * 1e7);
	}
	free(bv);
	free(bq);
	free(weights);
	free(codes);
	free(bounds);
	free(memory);
}

static uint64_t
test_bounds(void)
{
	double		least = INFINITY;
	double		one = 0, two = 0;
	uint64_t	digest = 0;

	draws = 0;
	for (int n = 1; n <= 20; n += n < 4 ? 1 : 8)
		for (int weighted = 0; weighted < 2; weighted++)
		{
			bounds_error(384, n, 1, weighted, &least, &one, &digest);
			bounds_error(384, n, 2, weighted, &least, &two, &digest);
			bounds_error(3, n, 2, weighted, &least, &(double) {0}, &digest);
			bounds_error(1000, n, 1, weighted, &least, &(double) {0}, &digest);
		}
	CHECK(at_level("bounds_hold"), least >= 0, "below by %g", -least);
	/* residuals of one and of two vectors of 384 normal numbers, about 0.29 * 3.3 / 127 each, and what they happen to lose */
	CHECK(at_level("bounds_of_one_layer_are_near"), one < 0.022, "above by %g", one);
	CHECK(at_level("bounds_of_two_layers_are_nearer"), two < 0.012, "above by %g", two);
	return digest;
}

int
main(void)
{
	uint64_t	first = 0;
	bool		same = true;

	test_rows();
	for (int level = 0; level < PLM_SIMD_LEVELS; level++)
	{
		uint64_t	digest;

		if (!plm_simd_select((PlmSimd) level))
			continue;
		test_sums();
		digest = test_bounds();
		same = same && (level == 0 || digest == first);
		first = digest;
	}
	CHECK("bounds_have_the_same_bits_on_every_level", same, "they differ");
	return unit_done();
}
