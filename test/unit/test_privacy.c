/*
 * test_privacy.c -- the accountant against exact sums and published figures; private steps against plain ones.
 */
#include "host.h"
#include "training.h"
#include "unit.h"

#include <math.h>

/* ---- the accountant ---- */

/* From test/golden/make_privacy.py, which sums with 60 digits. */
static const struct
{
	double		noise, rate;
	int64_t		steps;
	double		delta, epsilon, by_mironov;
}			golden[] = {
	{4, 1.0 / 100, 10000, 1e-5, 1.035490066, 1.258574741},
	{1.1, 256.0 / 60000, 14062, 1e-5, 2.596981179, 3.009099526},
	{1.3, 256.0 / 60000, 3515, 1e-5, 0.954429509, 1.192129965},
	{1, 1.0 / 1, 1, 1e-5, 4.752728337, 5.302585093},
	{10, 1.0 / 1, 100, 1e-6, 5.222428661, 5.763102112},
	{0.7, 1.0 / 50, 500, 1e-6, 8.815380314, 9.770151567},
	{0.5, 1.0 / 1000, 1000, 1e-7, 7.265944157, 8.220715410},
	{2.5, 1.0 / 10, 2000, 1e-4, 8.937266706, 9.892037958},
	{50, 1.0 / 2, 10, 1e-5, 0.108796431, 0.153406101}
};

static void
test_exact_sums(void)
{
	for (int i = 0; i < PLM_COUNT(golden); i++)
	{
		double		e = plm_privacy_spent(golden[i].noise, golden[i].rate, golden[i].steps, golden[i].delta);
		double		by_mironov = INFINITY;
		char		name[96];

		for (int a = 2; a <= 256; a++)
			by_mironov = fmin(by_mironov, (double) golden[i].steps * plm_privacy_divergence(golden[i].noise, golden[i].rate, a) -
							  log(golden[i].delta) / (a - 1));
		/* Doubles have 16 digits, of sums up to 14,062 steps; the figures have nine decimals. */
		snprintf(name, sizeof(name), "epsilon_equals_exact_sum_noise_%g_rate_%.4g", golden[i].noise, golden[i].rate);
		CHECK(name, fabs(e - golden[i].epsilon) < 1e-8 * fmax(1, e), "%.12g, not %.12g", e, golden[i].epsilon);
		CHECK("divergence_equals_exact_sum", fabs(by_mironov - golden[i].by_mironov) < 1e-8 * fmax(1, by_mironov), "%.12g, not %.12g",
			  by_mironov, golden[i].by_mironov);
		CHECK("the_newer_conversion_is_tighter", e < by_mironov, "%g, %g", e, by_mironov);
	}
	/* Both are published with three digits, by the older conversion. */
	CHECK("abadi_2016_is_1_26", fabs(golden[0].by_mironov - 1.26) < 5e-3, "%g", golden[0].by_mironov);
	CHECK("tutorial_of_mnist_is_3_01", fabs(golden[1].by_mironov - 3.01) < 5e-3, "%g", golden[1].by_mironov);
}

static void
test_monotone(void)
{
	static const double noises[] = {0.3, 0.6, 1, 2, 5, 20};
	static const double rates[] = {0.0001, 0.01, 0.3, 1};
	int			wrong = 0;

	for (int i = 0; i < PLM_COUNT(noises); i++)
		for (int k = 0; k < PLM_COUNT(rates); k++)
		{
			double		e = plm_privacy_spent(noises[i], rates[k], 100, 1e-5);

			wrong += !(plm_privacy_spent(noises[i] * 1.1, rates[k], 100, 1e-5) <= e);
			wrong += !(plm_privacy_spent(noises[i], rates[k] * 0.9, 100, 1e-5) <= e);
			wrong += !(plm_privacy_spent(noises[i], rates[k], 90, 1e-5) <= e);
			wrong += !(plm_privacy_spent(noises[i], rates[k], 100, 2e-5) <= e);
			wrong += !isfinite(e) || e < 0;
		}
	CHECK("less_noise_more_draws_more_steps_and_less_delta_spend_more", wrong == 0, "%d of %d", wrong,
		  5 * (int) (PLM_COUNT(noises) * PLM_COUNT(rates)));
	CHECK("no_noise_spends_all", isinf(plm_privacy_spent(0, 0.1, 1, 1e-5)), "%g", plm_privacy_spent(0, 0.1, 1, 1e-5));
	CHECK("no_step_spends_nothing", plm_privacy_spent(1, 0.1, 0, 1e-5) == 0, "%g", plm_privacy_spent(1, 0.1, 0, 1e-5));
}

static void
test_noise_of_budget(void)
{
	static const double budgets[] = {0.1, 0.5, 1, 3, 8, 50};

	for (int i = 0; i < PLM_COUNT(budgets); i++)
	{
		double		noise = plm_privacy_noise(budgets[i], 1e-5, 0.01, 1000);
		double		e = plm_privacy_spent(noise, 0.01, 1000, 1e-5);
		char		name[96];

		snprintf(name, sizeof(name), "noise_spends_the_budget_and_no_more_%g", budgets[i]);
		CHECK(name, e <= budgets[i] && e > budgets[i] * 0.9999, "noise %g spends %g", noise, e);
	}
	CHECK("an_unreachable_budget_is_said_so", isinf(plm_privacy_noise(1e-3, 1e-10, 0.5, 1000)), "%g", plm_privacy_noise(1e-3, 1e-10, 0.5, 1000));
}

/* ---- the generator ---- */

static void
test_generator(void)
{
	/* RFC 8439, section 2.3.2; its nonce's first word is the upper half of our number. */
	static const uint32_t want[16] = {
		0xe4e7f110, 0x15593bd1, 0x1fdd0f50, 0xc47120a3, 0xc7f4d1c7, 0x0368c033, 0x9aaa2204, 0x4e6cd4c3,
		0x466482d2, 0x09aa9f07, 0x05d7c214, 0xa2028bd9, 0xd19c12b5, 0xb94e16de, 0xe883d0cb, 0x4e3c50a2
	};
	uint32_t	key[8];
	uint32_t	out[16];

	for (int i = 0; i < 8; i++)
		key[i] = 0x03020100u + 0x04040404u * (uint32_t) i;
	plm_secret_block(key, 0x4a000000, UINT64_C(0x0900000000000001), out);
	CHECK("block_of_chacha20_is_that_of_rfc_8439", memcmp(out, want, sizeof(want)) == 0, "%08x %08x", out[0], out[15]);
}

/* ---- steps ---- */

static double
norm_of(const float *x, int64_t n)
{
	double		sum = 0;

	for (int64_t i = 0; i < n; i++)
		sum += (double) x[i] * x[i];
	return sqrt(sum);
}

/* With all drawn, no noise and nothing to clip, a private step's gradient is that of an ordinary step over all examples. */
static void
test_equals_plain(void)
{
	Training	r = training_private();
	Training	plain = r;
	double		loss[2] = {0};
	double		worst = INFINITY;

	r.options.batch = plain.options.batch = r.examples;
	r.options.privacy_clip = 1e6;
	plain.options.privacy_epsilon = plain.options.privacy_delta = plain.options.privacy_clip = 0;
	if (training_open(&r) == PLM_OK && training_open(&plain) == PLM_OK)
	{
		r.trainer->noise = 0;
		if (training_gradient(&r, &loss[0]) == PLM_OK && training_gradient(&plain, &loss[1]) == PLM_OK)
		{
			worst = 0;
			for (int64_t i = 0; i < r.trainer->n_trained; i++)
				worst = fmax(worst, fabs((double) r.trainer->g[i] - plain.trainer->g[i]));
			worst /= norm_of(plain.trainer->g, r.trainer->n_trained);
		}
	}
	/* The same sums of floats in another order. */
	CHECK("without_noise_and_clipping_it_is_the_plain_gradient", worst < 1e-5, "%g of the norm %s %s", worst, r.err.message, plain.err.message);
	CHECK("and_the_plain_loss", fabs(loss[0] - loss[1]) < 1e-5, "%g, %g", loss[0], loss[1]);
	training_close(&r);
	training_close(&plain);
}

/* The sum of a step's clipped gradients, with all examples or without the first, which moves all others. */
static const float *
sum_of(Training *r, bool without)
{
	PlmTrainer *t = r->trainer;
	PlmTexts	x;
	double		loss;

	if (plm_trainer_ready(t, &r->err) != PLM_OK || plm_texts_of_step(t, &x, &r->err) != PLM_OK)
		return NULL;
	if (without)
	{
		x.n--, x.examples--;
		memmove(x.text, x.text + 1, (size_t) x.n * sizeof(*x.text));
		memmove(x.example, x.example + 1, (size_t) x.examples * sizeof(*x.example));
		memmove(x.number, x.number + 1, (size_t) x.examples * sizeof(*x.number));
		plm_texts_cut(t, &x, &r->err);
	}
	t->noise = 0;
	if (x.micros >= x.examples || plm_trainer_gradient(t, &x, &loss, &r->err) != PLM_OK)
		return NULL;
	for (int64_t i = 0; i < t->n_trained; i++)
		t->g[i] *= (float) t->options.batch;
	return t->g;
}

/* What the noise hides: one example more or less moves the sum by its clipping norm at most, in every random choice of the rest. */
static void
test_sensitivity(void)
{
	Training	r = training_private();
	double		moved = INFINITY;
	float	   *with;

	r.options.batch = r.examples;
	r.options.dropout = 0.3;
	r.options.privacy_clip = 0.01;
	if (training_open(&r) == PLM_OK)
	{
		size_t		bytes = (size_t) r.trainer->n_trained * sizeof(float);
		const float *sum = sum_of(&r, false);

		with = plm_arena_zero(&r.arena, bytes);
		if (sum != NULL)
			memcpy(with, sum, bytes);
		sum = sum_of(&r, true);
		for (int64_t i = 0; sum != NULL && i < r.trainer->n_trained; i++)
			with[i] -= sum[i];
		if (sum != NULL)
			moved = norm_of(with, r.trainer->n_trained);
	}
	/* Sums of 40 floats: 1e-4 of a clipping norm is their rounding. */
	CHECK("one_example_moves_the_sum_by_the_clipping_norm", moved > 0.0099 && moved < 0.01 * (1 + 1e-4), "%g %s", moved, r.err.message);
	training_close(&r);
}

static void
test_clipping(void)
{
	static const double clips[] = {1e-8, 1e-3, 0.1, 1};

	/* All weights; adapters; the upper layers, of texts that are longer than a tile of inner products. */
	static const char *const what[] = {"", "_to_adapters", "_to_upper_layers"};

	for (int c = 0; c < PLM_COUNT(clips); c++)
		for (int way = 0; way < 3; way++)
		{
			Training	r = training_private();
			double		most = 0;
			double		least = INFINITY;
			char		name[96];

			r.options.privacy_clip = clips[c];
			r.options.lora_rank = way == 1 ? 2 : 0;
			r.options.frozen_layers = way == 2 ? 1 : -1;
			r.words = way == 2 ? 50 : 12;
			r.options.batch = 1;
			if (training_open(&r) == PLM_OK)
			{
				PlmTrainer *t = r.trainer;
				PlmTexts	texts;
				double		loss = 0;

				/* Each example by itself: what it adds to the sum, without noise. */
				t->noise = 0;
				for (t->at_step = 0; t->at_step < 30; t->at_step++)
				{
					if (plm_trainer_ready(t, &r.err) != PLM_OK || plm_texts_of_step(t, &texts, &r.err) != PLM_OK ||
						plm_trainer_gradient(t, &texts, &loss, &r.err) != PLM_OK)
						break;
					if (texts.examples > 0)
						most = fmax(most, norm_of(t->g, t->n_trained) * t->options.batch / (double) texts.examples);
					if (texts.examples == 1)
						least = fmin(least, norm_of(t->g, t->n_trained) * t->options.batch);
				}
				CHECK("steps_were_taken", t->at_step == 30, "%s", r.err.message);
			}
			snprintf(name, sizeof(name), "an_example_adds_at_most_the_clipping_norm_%g%s", clips[c], what[way]);
			CHECK(name, most > 0 && most <= clips[c], "%.9g", most / clips[c]);
			if (clips[c] <= 1e-3)
				/* The bound on the rounding of inner products is taken off. */
				CHECK("and_all_of_it_when_it_is_larger", least > clips[c] * (1 - 1e-3), "%.9g", least / clips[c]);
			training_close(&r);
		}
}

/* What is added, over the deviation it should have: mean 0, variance 1, no correlation of neighbours or of steps. */
static void
test_noise(void)
{
	Training	r = training_private();
	double		sum = 0;
	double		square = 0;
	double		fourth = 0;
	double		next = 0;
	double		step = 0;
	double		n = 0;

	if (training_open(&r) == PLM_OK)
	{
		PlmTrainer *t = r.trainer;
		float	   *first = plm_arena_alloc(&r.arena, (size_t) t->n_trained * sizeof(float));
		double		deviation = t->noise * t->options.privacy_clip / t->options.batch;

		for (t->at_step = 0; t->at_step < 2 && plm_gradient_zero(t, &r.err) == PLM_OK && plm_private_end(t, &r.err) == PLM_OK; t->at_step++)
			for (int64_t i = 0; i < t->n_trained; i++)
			{
				double		z = t->g[i] / deviation;

				sum += z, square += z * z, fourth += z * z * z * z, n++;
				if (i > 0)
					next += z * t->g[i - 1] / deviation;
				if (t->at_step == 1)
					step += z * first[i];
				else
					first[i] = (float) z;
			}
	}
	/* Each bound is about five deviations of the figure. */
	CHECK("noise_has_mean_0", n > 10000 && fabs(sum / n) < 5 / sqrt(n), "%g of %g", sum / n, n);
	CHECK("noise_has_variance_1", fabs(square / n - 1) < 5 * sqrt(2 / n), "%g", square / n);
	CHECK("noise_has_fourth_moment_3", fabs(fourth / n - 3) < 5 * sqrt(96 / n), "%g", fourth / n);
	CHECK("neighbours_noise_is_independent", fabs(next / n) < 5 / sqrt(n), "%g", next / n);
	CHECK("steps_noise_is_independent", fabs(2 * step / n) < 5 * sqrt(2 / n), "%g", 2 * step / n);
	training_close(&r);
}

static void
test_draws(void)
{
	Training	r = training_private();
	int64_t		drawn[40];
	int			count[40] = {0};
	double		n = 0;
	double		square = 0;
	int			worst = 0;

	if (training_open(&r) == PLM_OK)
		for (r.trainer->at_step = 0; r.trainer->at_step < 4000; r.trainer->at_step++)
		{
			int64_t		k = 0;

			plm_private_draw(r.trainer, drawn, &k, &r.err);
			n += (double) k;
			square += (double) (k * k);
			for (int64_t i = 0; i < k; i++)
				count[drawn[i]]++;
		}
	n /= 4000;
	/* Binomial of 40 and 0.15: mean 6, variance 5.1; each example 600 times, deviation 22.6. */
	CHECK("a_step_draws_the_batch_in_the_mean", fabs(n - 6) < 5 * sqrt(5.1 / 4000), "%g", n);
	CHECK("as_many_as_independent_draws_give", fabs(square / 4000 - n * n - 5.1) < 0.6, "%g", square / 4000 - n * n);
	for (int i = 0; i < 40; i++)
		worst = abs(count[i] - 600) > worst ? abs(count[i] - 600) : worst;
	CHECK("each_example_is_as_likely", worst < 113, "%d", worst);
	training_close(&r);
}

static void
test_same_bits(void)
{
	static TrainingState b;
	Training	r = training_private();
	Training	again;
	uint64_t	whole;
	uint64_t	parts = 0;

	r.options.dropout = 0.1;
	r.words = 40;
	whole = training_run_with(r, 1, 0, 8);
	CHECK("same_bits_on_1_2_and_4_threads", whole != 0 && training_run_with(r, 2, 0, 8) == whole && training_run_with(r, 4, 0, 8) == whole, "they differ");
	again = r;
	again.options.privacy_key[7] ^= 1;
	CHECK("other_bits_by_another_key", training_run_with(again, 1, 0, 8) != whole, "they are the same");
	again = r;
	if (training_open(&r) == PLM_OK && training_run(&r, 5, NULL) != 0)
		plm_trainer_state(r.trainer, training_state_write, &b, &r.err);
	training_close(&r);
	/* A process that goes on has drawn a key of its own, which is none. */
	memset(again.options.privacy_key, 0, sizeof(again.options.privacy_key));
	if (training_open(&again) == PLM_OK && plm_trainer_restore(again.trainer, training_state_read, &b, &again.err) == PLM_OK)
		parts = training_run(&again, 8, NULL);
	CHECK("resumed_equals_uninterrupted", parts == whole && b.at == b.used, "%s %s", r.err.message, again.err.message);
	training_close(&again);
	b.at = 0;
	again.options.privacy_epsilon = 4;
	parts = training_open(&again) == PLM_OK ? plm_trainer_restore(again.trainer, training_state_read, &b, &again.err) : 0;
	CHECK("a_state_of_another_epsilon_is_refused", parts == PLM_EARG, "%d %s", (int) parts, again.err.message);
	training_close(&again);
}

static void
test_spent(void)
{
	Training	r = training_private();
	PlmPrivacy	half = {0};
	PlmPrivacy	whole = {0};

	r.options.steps = 20;
	r.options.batch = 1;		/* some steps draw none */
	if (training_open(&r) == PLM_OK && training_run(&r, 10, NULL) != 0)
	{
		half = plm_trainer_privacy(r.trainer);
		training_run(&r, 20, NULL);
		whole = plm_trainer_privacy(r.trainer);
	}
	CHECK("all_steps_spend_the_budget", whole.epsilon <= 3 && whole.epsilon > 2.999, "%g %s", whole.epsilon, r.err.message);
	CHECK("fewer_steps_spend_less", half.epsilon > 0 && half.epsilon < whole.epsilon, "%g, %g", half.epsilon, whole.epsilon);
	CHECK("it_says_what_it_is", whole.clip == 0.5 && whole.delta == 1e-3 && whole.rate == 1.0 / 40 && whole.noise > 0, "%g %g %g", whole.clip,
		  whole.delta, whole.rate);
	training_close(&r);
}

/* ---- memory; cancel: test_train_faults.c ---- */

static void
test_memory(void)
{
	PlmStatus	status = PLM_ENOMEM;
	PlmError	err = {0};
	int64_t		k = 0;
	int			wrong = 0;
	int			refused = 0;

	for (; status != PLM_OK && k < 2000; k++)
	{
		Training	r = training_private();
		Host		host;

		host_init(&host, k, -1);
		r.options.hook = &host.hook;
		status = training_open(&r);
		if (status == PLM_OK)
			status = training_run(&r, 2, NULL) != 0 ? PLM_OK : PLM_ENOMEM;
		training_close(&r);
		wrong += (status != PLM_OK && status != PLM_ENOMEM) || host.held != 0;
		err = r.err;
	}
	CHECK("each_refused_allocation_is_an_error", status == PLM_OK && wrong == 0 && k > 10, "%d of %d wrong: %s", wrong, (int) k, err.message);
	for (size_t limit = 40000; limit < 1200000; limit += 40000)
	{
		Training	r = training_private();

		r.options.memory_limit = limit;
		status = training_open(&r);
		if (status == PLM_OK && training_run(&r, 1, NULL) != 0 &&
			r.trainer->arena.taken + r.trainer->step.taken + r.trainer->space.arena.taken > limit)
			wrong++;
		wrong += status != PLM_OK && status != PLM_ELIMIT;
		refused += status == PLM_ELIMIT;
		training_close(&r);
	}
	CHECK("memory_limit_is_kept", wrong == 0 && refused > 0, "%d wrong, %d refused", wrong, refused);
}

/* ---- what is refused ---- */

static void
check_refused(const char *name, Training r, PlmStatus want)
{
	PlmStatus	status = training_open(&r);

	CHECK(name, status == want && r.trainer == NULL && r.err.message[0] != 0, "%d %s", (int) status, r.err.message);
	training_close(&r);
}

static void
test_refused(void)
{
	static const double nonsense[] = {-1, NAN, INFINITY, -INFINITY};
	Training	r;

	for (int i = 0; i < PLM_COUNT(nonsense); i++)
	{
		r = training_private();
		r.options.privacy_epsilon = nonsense[i];
		check_refused("nonsense_of_epsilon_is_refused", r, PLM_EARG);
		r = training_private();
		r.options.privacy_delta = nonsense[i];
		check_refused("nonsense_of_delta_is_refused", r, PLM_EARG);
		r = training_private();
		r.options.privacy_clip = nonsense[i];
		check_refused("nonsense_of_clip_is_refused", r, PLM_EARG);
	}
	r = training_private();
	r.options.privacy_epsilon = 0;
	check_refused("a_delta_without_epsilon_is_refused", r, PLM_EARG);
	r = training_private();
	r.options.privacy_delta = 1;
	check_refused("a_delta_of_1_is_refused", r, PLM_EARG);
	r = training_private();
	r.options.privacy_delta = 0.03;
	check_refused("a_delta_of_more_than_1_of_the_rows_is_refused", r, PLM_EARG);
	r = training_private();
	r.options.privacy_epsilon = 1e-3;
	check_refused("an_epsilon_that_no_noise_reaches_is_refused", r, PLM_EARG);
	r = training_private();
	r.options.batch = 41;
	check_refused("more_of_a_step_than_there_are_is_refused", r, PLM_EARG);
	r = training_private();
	r.options.class_weights = true;
	check_refused("class_weights_are_refused", r, PLM_EARG);
	for (int o = 0; o < PLM_OBJECTIVES; o++)
		if (o != PLM_LEARN_CLASSES)
		{
			r = training_defaults((PlmObjective) o, "bert");
			r.options.privacy_epsilon = 3;
			r.options.privacy_delta = 1e-3;
			r.options.privacy_clip = 1;
			check_refused("other_objectives_are_refused", r, PLM_EARG);
		}
}

int
main(void)
{
	test_exact_sums();
	test_monotone();
	test_noise_of_budget();
	test_generator();
	test_equals_plain();
	test_sensitivity();
	test_clipping();
	test_noise();
	test_draws();
	test_same_bits();
	test_spent();
	test_memory();
	test_refused();
	return unit_done();
}
