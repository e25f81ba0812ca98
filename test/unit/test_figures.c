/*
 * test_figures.c -- figures of evaluations against numbers worked out by hand, and the bounds that draws give them.
 */
#include "unit.h"

#include <math.h>

#include "../../src/engine/train/plm_train.h"

static bool
close_to(double got, double want)
{
	return fabs(got - want) < 1e-12;
}

/* ---- classes ---- */

/*
 * Three classes, five texts: true 0 0 1 2 2, said 0 1 1 2 0.  Class 0: 1 right of 2 said and 2 true, F1 1/2; class 1: 1 of 2 and
 * 1, 2/3; class 2: 1 of 1 and 2, 2/3.
 */
static void
test_single(void)
{
	static const int32_t truth[] = {0, 0, 1, 2, 2};
	static const int32_t said[] = {0, 1, 1, 2, 0};
	int64_t		counts[4 * 3];
	PlmTally	t = {.labels = 4, .counts = counts};

	plm_tally_clear(&t);
	CHECK("figures_of_no_case_are_undefined", isnan(plm_tally_accuracy(&t)) && isnan(plm_tally_macro_f1(&t)) && isnan(plm_tally_micro_f1(&t)),
		  "%g", plm_tally_accuracy(&t));
	for (int i = 0; i < 5; i++)
		plm_tally_add(&t, truth + i, 1, said + i, 1);
	CHECK("accuracy_is_the_share_that_is_right", close_to(plm_tally_accuracy(&t), 3.0 / 5), "%.17g", plm_tally_accuracy(&t));
	CHECK("macro_f1_is_the_mean_over_classes_that_occur", close_to(plm_tally_macro_f1(&t), (1.0 / 2 + 2.0 / 3 + 2.0 / 3) / 3), "%.17g",
		  plm_tally_macro_f1(&t));
	CHECK("micro_f1_of_single_classes_is_accuracy", close_to(plm_tally_micro_f1(&t), 3.0 / 5), "%.17g", plm_tally_micro_f1(&t));
	plm_tally_clear(&t);
	plm_tally_add(&t, truth, 1, said, 1);
	CHECK("clearing_forgets", close_to(plm_tally_accuracy(&t), 1), "%.17g", plm_tally_accuracy(&t));
}

/* True {0,2} {1} {} {0}, said {0,1} {1} {} {}: right 2 of 3 said and 4 true; sets right: the second and the third. */
static void
test_multi(void)
{
	static const int32_t truth[4][2] = {{0, 2}, {1}, {0}, {0}};
	static const int32_t said[4][2] = {{0, 1}, {1}, {0}, {0}};
	static const int32_t n_truth[] = {2, 1, 0, 1};
	static const int32_t n_said[] = {2, 1, 0, 0};
	int64_t		counts[3 * 3];
	PlmTally	t = {.labels = 3, .counts = counts};

	plm_tally_clear(&t);
	for (int i = 0; i < 4; i++)
		plm_tally_add(&t, truth[i], n_truth[i], said[i], n_said[i]);
	CHECK("accuracy_of_sets_counts_whole_sets", close_to(plm_tally_accuracy(&t), 2.0 / 4), "%.17g", plm_tally_accuracy(&t));
	CHECK("micro_f1_counts_decisions", close_to(plm_tally_micro_f1(&t), 2 * 2.0 / (3 + 4)), "%.17g", plm_tally_micro_f1(&t));
	/* 0: 1 of 1 said and 2 true; 1: 1 of 2 and 1; 2: 0 of 0 and 1 */
	CHECK("macro_f1_of_sets", close_to(plm_tally_macro_f1(&t), (2.0 / 3 + 2.0 / 3 + 0) / 3), "%.17g", plm_tally_macro_f1(&t));
}

static void
test_decide(void)
{
	static const float scores[] = {0.2f, 0.7f, 0.5f, 0.7f};
	static const float low[] = {-3, -2, -4};
	int32_t		said[4] = {-1, -1, -1, -1};
	int32_t		n = plm_decide(scores, 4, false, 0.5f, said);

	CHECK("the_first_of_the_largest_is_said", n == 1 && said[0] == 1, "%d: %d", n, said[0]);
	n = plm_decide(scores, 4, true, 0.5f, said);
	CHECK("several_are_those_from_the_threshold_on", n == 3 && said[0] == 1 && said[1] == 2 && said[2] == 3, "%d", n);
	CHECK("several_may_be_none", plm_decide(low, 3, true, 0, said) == 0, "%d", said[0]);
	n = plm_decide(low, 3, false, 0, said);
	CHECK("one_is_always_said", n == 1 && said[0] == 1, "%d: %d", n, said[0]);
}

/* ---- correlation ---- */

static void
test_correlation(void)
{
	static const double x[] = {10, 20, 20, 5, 40};
	static const double y[] = {1, 3, 2, 0, 9};
	static const double flat[] = {0.1, 0.1, 0.1, 0.1, 0.1};	/* whose mean is not 0.1 */
	static const int64_t all[] = {0, 1, 2, 3, 4};
	static const int64_t pick[] = {0, 1, 1, 3};
	static const double want[] = {2, 3.5, 3.5, 1, 5};
	PlmRanked	scratch[5];
	double		rank[2][5];
	double		worst = 0;

	plm_ranks(x, 5, scratch, rank[0]);
	plm_ranks(y, 5, scratch, rank[1]);
	for (int i = 0; i < 5; i++)
		worst = fmax(worst, fabs(rank[0][i] - want[i]));
	CHECK("equal_values_share_their_ranks", worst == 0, "%g", worst);
	/* x less its mean 19: -9 1 1 -14 21; y less 3: -2 0 -1 -3 6; products 18 0 -1 42 126; squares 720 and 50 */
	CHECK("correlation_is_pearsons", close_to(plm_correlation(x, y, all, 5), 185 / sqrt(720.0 * 50)), "%.17g", plm_correlation(x, y, all, 5));
	/* ranks less 3: -1 .5 .5 -2 2 and -1 1 0 -2 2; products 1 .5 0 4 4; squares 9.5 and 10 */
	CHECK("correlation_of_ranks_is_spearmans", close_to(plm_correlation(rank[0], rank[1], all, 5), 9.5 / sqrt(9.5 * 10)), "%.17g",
		  plm_correlation(rank[0], rank[1], all, 5));
	/* x 10 20 20 5 and y 1 3 3 0 lie on a line but for nothing: slope 0.2 and -1 */
	CHECK("correlation_follows_the_pick", close_to(plm_correlation(x, y, pick, 4), 1), "%.17g", plm_correlation(x, y, pick, 4));
	CHECK("correlation_with_a_constant_is_undefined", isnan(plm_correlation(x, flat, all, 5)), "%g", plm_correlation(x, flat, all, 5));
}

/* ---- ranked lists ---- */

static void
test_ndcg(void)
{
	double		one[] = {0, 1, 3};
	double		best[] = {3, 1, 0};
	double		none[] = {0, 0};
	double		late[12] = {[11] = 2};
	double		found = plm_ndcg(one, 3, 10);
	/* gains 0 1 7; discounts 1, 1 / log2(3), 1 / 2 */
	double		want = (1 / log2(3.0) + 3.5) / (7 + 1 / log2(3.0));

	CHECK("ndcg_is_gain_over_the_best_gain", close_to(found, want), "%.17g, not %.17g", found, want);
	CHECK("ndcg_of_the_best_order_is_1", close_to(plm_ndcg(best, 3, 10), 1), "not 1");
	CHECK("ndcg_without_anything_relevant_is_undefined", isnan(plm_ndcg(none, 2, 10)), "is defined");
	CHECK("ndcg_sees_no_further_than_its_depth", plm_ndcg(late, 12, 10) == 0, "is not 0");
}

static void
test_ranks(void)
{
	static const float scores[] = {0.5f, 0.9f, 0.5f, 0.1f};
	int64_t		rank = 1;
	int64_t		alike = 1;

	for (int64_t c = 0; c < 4; c++)
	{
		static const float same[] = {1, 1, 1, 1};

		rank += plm_comes_before(scores, c, 2);
		alike += plm_comes_before(same, c, 3);
	}
	CHECK("of_equal_scores_the_earlier_comes_first", rank == 3, "rank %d", (int) rank);
	CHECK("a_model_that_finds_all_alike_gets_no_credit", alike == 4, "rank %d", (int) alike);
	CHECK("reciprocal_rank_ends_at_its_depth", plm_reciprocal_rank(10, 10) == 0.1 && plm_reciprocal_rank(11, 10) == 0, "%g",
		  plm_reciprocal_rank(11, 10));
}

/* ---- bounds ---- */

typedef struct Numbers
{
	const double *values;
	bool		halves;			/* the second figure is undefined in draws with an even sum of places */
} Numbers;

static void
number_figures(void *arg, const int64_t *pick, int64_t n, double *out)
{
	const Numbers *x = arg;
	int64_t		sum = 0;

	for (int64_t i = 0; i < n; i++)
		sum += pick[i];
	out[0] = plm_picked_mean(x->values, pick, n);
	out[1] = x->halves && sum % 2 == 0 ? NAN : 7;
	out[2] = NAN;
}

static void
test_bootstrap(void)
{
	enum { N = 400 };
	static const char *const names[] = {"mean", "sometimes", "never"};
	double		values[N];
	Numbers		x = {values, true};
	PlmArena	arena;
	PlmMetric	m[PLM_MAX_METRICS];
	PlmMetric	again[PLM_MAX_METRICS];
	PlmMetric	single[PLM_MAX_METRICS];
	PlmError	err;
	size_t		taken;
	PlmStatus	status;

	for (int i = 0; i < N; i++)
		values[i] = i % 4 == 0;	/* mean 0.25, deviation of the mean 0.02165 */
	plm_arena_init(&arena, &plm_libc_hook, 0);
	status = plm_bootstrap(&arena, 1, N, 1000, number_figures, &x, 3, names, m, &err);
	taken = arena.taken;
	status |= plm_bootstrap(&arena, 1, N, 1000, number_figures, &x, 3, names, again, &err);
	CHECK("draws_give_bounds", status == PLM_OK && m[0].value == 0.25 && strcmp(m[0].name, "mean") == 0, "%g", m[0].value);
	/* 1.96 deviations either way; the quantile of 1000 draws is off by some 0.0015 */
	CHECK("bounds_enclose_95_percent", fabs(m[0].low - 0.2076) < 0.008 && fabs(m[0].high - 0.2924) < 0.008, "%g %g", m[0].low, m[0].high);
	CHECK("draws_without_a_figure_do_not_count", m[1].low == 7 && m[1].high == 7, "%g %g", m[1].low, m[1].high);
	CHECK("a_figure_that_never_is_has_no_bounds", isnan(m[2].value) && isnan(m[2].low) && isnan(m[2].high), "%g", m[2].low);
	CHECK("the_same_key_gives_the_same_bounds", m[0].low == again[0].low && m[0].high == again[0].high, "%g %g", again[0].low, again[0].high);
	CHECK("the_arena_is_left_as_it_was", arena.taken <= taken, "%zu after %zu bytes", arena.taken, taken);
	status = plm_bootstrap(&arena, 1, N, 0, number_figures, &x, 1, names, single, &err);
	CHECK("without_draws_the_bounds_are_the_value", status == PLM_OK && single[0].low == 0.25 && single[0].high == 0.25, "%g", single[0].low);
	plm_arena_free(&arena);
	plm_arena_init(&arena, &plm_libc_hook, 4096);
	status = plm_bootstrap(&arena, 1, N, 1000, number_figures, &x, 3, names, m, &err);
	CHECK("the_arenas_limit_holds", status == PLM_ELIMIT, "status %d", status);
	plm_arena_free(&arena);
}

int
main(void)
{
	test_single();
	test_multi();
	test_decide();
	test_correlation();
	test_ndcg();
	test_ranks();
	test_bootstrap();
	return unit_done();
}
