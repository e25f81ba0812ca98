/*
 * test_train.c -- gradients against differences of the loss, and runs against each other.
 */
#include "training.h"
#include "unit.h"

#include <math.h>

static const char *const types[] = {"bert", "distilbert"};

/* ---- gradients ---- */

/*
 * The loss is a sum of fp32 results: about 1e-6 of it is noise, a difference over 2h has 1e-6 / h of that.  h is chosen so
 * that it and the third derivative leave at most some 1e-3 of a section's gradient; what is smaller than 1e-3 of the
 * whole gradient is held against the whole.
 */
static double
difference(Training *r, int64_t section, const float *direction, double h)
{
	PlmTrainer *t = r->trainer;
	int64_t		n = t->plan.sections[section].rows * t->plan.sections[section].cols;
	float	   *w = t->w + t->at[section];
	float	   *saved = plm_arena_alloc(&r->arena, (size_t) n * sizeof(float));
	double		loss[2] = {0};

	memcpy(saved, w, (size_t) n * sizeof(float));
	for (int k = 0; k < 2; k++)
	{
		for (int64_t i = 0; i < n; i++)
			w[i] = (float) (saved[i] + (k == 0 ? h : -h) * direction[i]);
		t->packed = false;
		if (training_gradient(r, &loss[k]) != PLM_OK)
			return NAN;
	}
	memcpy(w, saved, (size_t) n * sizeof(float));
	t->packed = false;
	return (loss[0] - loss[1]) / (2 * h);
}

/* The worst section's error; its name in `worst`. */
static double
gradient_error(Training *r, char worst[96])
{
	PlmTrainer *t = r->trainer;
	double		loss;
	double		all = 0;
	double		most = 0;
	float	   *g;

	if (training_gradient(r, &loss) != PLM_OK)
		return INFINITY;
	g = plm_arena_alloc(&r->arena, (size_t) t->n_g * sizeof(float));
	memcpy(g, t->g, (size_t) t->n_g * sizeof(float));
	for (int64_t i = 0; i < t->n_trained; i++)
		all += (double) g[i] * g[i];
	all = sqrt(all);
	for (int64_t s = 0; s < t->plan.n_sections; s++)
	{
		int64_t		n = t->plan.sections[s].rows * t->plan.sections[s].cols;
		float	   *direction = plm_arena_zero(&r->arena, (size_t) n * sizeof(float));
		double		norm = 0;
		double		want = 0;
		double		found;
		double		error;

		if (t->gat[s] < 0)
			continue;
		for (int64_t i = 0; i < n; i++)
			norm += pow(g[t->gat[s] + i], 2);
		norm = sqrt(norm);
		/* Half along the gradient, half in some other direction. */
		for (int64_t i = 0; i < n; i++)
			direction[i] = (float) ((norm > 0 ? 0.7 * g[t->gat[s] + i] / norm : 0) +
									0.7 * plm_random_normal((uint64_t) s, (uint64_t) i) / sqrt((double) n));
		for (int64_t i = 0; i < n; i++)
			want += (double) direction[i] * g[t->gat[s] + i];
		/* Where there are kinks (relu, maximum) a smaller step misses them, as a rule. */
		found = difference(r, s, direction, 0.01);
		error = fabs(found - want) / fmax(norm, 1e-2 * all);
		for (double h = 0.003; error > 3e-3 && h > 1e-4; h /= 3)
		{
			found = difference(r, s, direction, h);
			error = fmin(error, fabs(found - want) / fmax(norm, 1e-2 * all));
		}
		if (!(error <= most))
		{
			most = error;
			snprintf(worst, 96, "%s: %.7g, by differences %.7g", t->plan.sections[s].name, want, found);
		}
	}
	return most;
}

static void
check_gradient(const char *name, Training r)
{
	char		worst[96] = "";
	double		error = training_open(&r) == PLM_OK ? gradient_error(&r, worst) : INFINITY;

	CHECK(name, error < 5e-3, "%g at %s %s", error, worst, r.err.message);
	training_close(&r);
}

static void
test_gradients(void)
{
	for (int k = 0; k < 2; k++)
		for (int o = 0; o < PLM_OBJECTIVES; o++)
		{
			Training	r = training_defaults((PlmObjective) o, types[k]);
			char		name[96];

			snprintf(name, sizeof(name), "gradient_equals_differences_%s_%s", plm_objective_name((PlmObjective) o), types[k]);
			check_gradient(name, r);
			r.options.dropout = 0.2;
			snprintf(name, sizeof(name), "gradient_with_dropout_%s_%s", plm_objective_name((PlmObjective) o), types[k]);
			check_gradient(name, r);
		}
}

static void
test_gradient_variants(void)
{
	Training	r = training_defaults(PLM_LEARN_CLASSES, "bert");

	r.options.multi_label = true;
	check_gradient("gradient_of_many_labels", r);
	r.options.class_weights = true;
	check_gradient("gradient_with_class_weights_and_many_labels", r);
	r.options.multi_label = false;
	check_gradient("gradient_with_class_weights", r);
	r = training_defaults(PLM_LEARN_MASKED, "bert");
	r.options.next_sentence = true;
	check_gradient("gradient_with_next_sentences", r);
	r = training_defaults(PLM_LEARN_RETRIEVAL, "bert");
	r.options.matryoshka[0] = 16, r.options.matryoshka[1] = 8;
	check_gradient("gradient_with_prefixes", r);
	r.options.symmetric = false;
	r.options.hard_negatives = 2;
	check_gradient("gradient_with_hard_negatives", r);
	for (int i = 0; i < 5; i++)
	{
		static const char *const modes[] = {"cls_token", "max_tokens", "mean_sqrt_len_tokens", "lasttoken", "pooler"};
		char		name[64];

		r = training_defaults(PLM_LEARN_SIMILARITY, "bert");
		r.spec.pooling[0] = modes[i];
		r.spec.pooler = i == 4;
		r.spec.product_llm = i == 4 ? "{\"pooling\": \"pooler\"}" : NULL;
		snprintf(name, sizeof(name), "gradient_through_pooling_%s", modes[i]);
		check_gradient(name, r);
	}
	r = training_defaults(PLM_LEARN_SIMILARITY, "bert");
	r.spec.pooling[1] = "cls_token";
	r.spec.dense[0] = 24, r.spec.dense[1] = 16, r.spec.dense_bias = true, r.spec.dense_act = "Tanh";
	check_gradient("gradient_through_dense_modules", r);
	r = training_defaults(PLM_LEARN_SIMILARITY, "bert");
	r.options.word_vectors = true;
	check_gradient("gradient_of_word_vectors_similarity", r);
	r.no_weights = true;
	check_gradient("gradient_of_word_vectors_from_nothing", r);
	r = training_defaults(PLM_LEARN_RETRIEVAL, "distilbert");
	r.options.word_vectors = true;
	check_gradient("gradient_of_word_vectors_retrieval", r);
	r = training_defaults(PLM_LEARN_MASKED, "bert");
	r.spec.act = "gelu_new";
	check_gradient("gradient_through_gelu_new", r);
}

/* ---- overfitting ---- */

static void
test_overfit(void)
{
	for (int o = 0; o < PLM_OBJECTIVES; o++)
	{
		Training	r = training_defaults((PlmObjective) o, "bert");
		double		loss = INFINITY;
		char		name[96];
		/* a grade between 0 and 1 has an entropy of its own; random vectors need more than a few steps */
		double		want = o == PLM_LEARN_RANKING ? 0.6 : o == PLM_LEARN_MASKED ? 0.5 : 0.02;

		r.examples = r.options.batch = 4;
		r.options.steps = 150;
		r.options.learning_rate = 3e-3;
		r.options.weight_decay = 0;
		r.options.schedule = PLM_SCHEDULE_CONSTANT;
		r.options.temperature = 0.05;
		snprintf(name, sizeof(name), "one_batch_is_learnt_by_heart_%s", plm_objective_name((PlmObjective) o));
		if (training_open(&r) == PLM_OK)
			training_run(&r, r.options.steps, &loss);
		CHECK(name, loss < want, "loss %g %s", loss, r.err.message);
		training_close(&r);
	}
}

/* ---- the same bits ---- */

static void
test_threads(void)
{
	for (int o = 0; o < PLM_OBJECTIVES; o++)
	{
		Training	r = training_defaults((PlmObjective) o, "bert");
		uint64_t	one;
		char		name[96];

		r.options.dropout = 0.1;
		r.options.batch = 24;
		r.examples = 40;
		r.options.hard_negatives = o == PLM_LEARN_RETRIEVAL;
		one = training_run_with(r, 1, 0, 4);
		snprintf(name, sizeof(name), "same_bits_on_1_2_and_4_threads_%s", plm_objective_name((PlmObjective) o));
		CHECK(name, one != 0 && training_run_with(r, 2, 0, 4) == one && training_run_with(r, 4, 0, 4) == one, "they differ");
	}
}

/* ---- a run in two parts ---- */

static void
test_resume(void)
{
	static TrainingState b;

	for (int o = 0; o < PLM_OBJECTIVES; o++)
	{
		Training	r = training_defaults((PlmObjective) o, "bert");
		Training	again;
		uint64_t	whole;
		uint64_t	parts = 0;
		char		name[96];

		r.options.dropout = 0.1;
		r.options.hard_negatives = o == PLM_LEARN_RETRIEVAL ? 2 : 0;
		r.options.lora_rank = o == PLM_LEARN_RANKING ? 2 : 0;
		again = r;
		whole = training_run_with(r, 1, 0, 9);
		b.used = b.at = 0;
		if (training_open(&r) == PLM_OK && training_run(&r, 5, NULL) != 0)
			plm_trainer_state(r.trainer, training_state_write, &b, &r.err);
		training_close(&r);
		if (training_open(&again) == PLM_OK && plm_trainer_restore(again.trainer, training_state_read, &b, &again.err) == PLM_OK)
			parts = training_run(&again, 9, NULL);
		snprintf(name, sizeof(name), "resumed_equals_uninterrupted_%s", plm_objective_name((PlmObjective) o));
		CHECK(name, whole != 0 && parts == whole && b.at == b.used, "%s %s", r.err.message, again.err.message);
		training_close(&again);
	}
}

/* ---- a base with another vocabulary ---- */

/* Row `id` of a parameter that has one for each token (columns: numbers of a row), in the trainer. */
static const float *
row_of(const Training *r, const char *section, const char *token, int64_t columns)
{
	const PlmTrainer *t = r->trainer;

	return t->w + t->at[plm_section_of(&t->plan, section)] +
		plm_token_id(&t->model.tokenizer, (PlmText) {token, strlen(token)}) * columns;
}

static void
test_other_vocabulary(void)
{
	/* What the base cuts them into; "" is drawn. */
	static const struct
	{
		const char *token;
		const char *former[4];
	}			cases[] = {
		{"[MASK]", {"[MASK]"}}, {"[PAD]", {"[PAD]"}}, {"[UNK]", {"[UNK]"}}, {"[CLS]", {"[CLS]"}}, {"[SEP]", {"[SEP]"}},
		{"##k", {"##k"}}, {"baaa", {"baaa"}}, {"baaak", {"baaa", "##k"}}, {"##zz", {"z", "##z"}},
		{"\xe4\xb8\x81\xe4\xb8\x83\xe4\xb8\x81", {"\xe4\xb8\x81", "\xe4\xb8\x83", "\xe4\xb8\x81"}},
		{"##\xe4\xb8\x82", {"\xe4\xb8\x82"}}, {"\xd0\xb6", {""}}
	};
	Training	r = training_defaults(PLM_LEARN_MASKED, "bert");
	Training	same;
	char		vocab[512] = "";
	double		worst = 0;
	int64_t		drawn = 0;
	float		first = 0;

	for (int64_t i = 0; i < PLM_COUNT(cases); i++)
	{
		strcat(vocab, cases[i].token);
		strcat(vocab, "\n");
	}
	/* And letters, which the random texts are cut into. */
	for (char c = 'a'; c <= 'z'; c++)
		snprintf(vocab + strlen(vocab), sizeof(vocab) - strlen(vocab), c == 'k' ? "%c\n" : "%c\n##%c\n", c, c);
	r.spec.architecture = "BertForMaskedLM";
	r.spec.mask_head = r.spec.tied = true;
	r.vocab = vocab;
	same = r;
	CHECK("opened_with_another_vocabulary", training_open(&r) == PLM_OK, "%s", r.err.message);
	for (int64_t i = 0; r.trainer != NULL && i < PLM_COUNT(cases); i++)
		for (int k = 0; k < 2; k++)
		{
			int64_t		columns = k == 0 ? r.spec.width : 1;
			const float *row = row_of(&r, k == 0 ? "tok_embd" : "mask_decoder.b", cases[i].token, columns);
			const RandomTensor *from = random_tensor_find(&r.base, k == 0 ? "embeddings.word_embeddings.weight" : "cls.predictions.bias");

			for (int64_t c = 0; c < columns; c++)
			{
				double		sum = 0;
				int			n = 0;

				for (; n < 4 && cases[i].former[n] != NULL && cases[i].former[n][0] != 0; n++)
					for (int32_t id = 0; id < r.spec.vocab; id++)
					{
						char		text[16];

						random_token(id, text, sizeof(text));
						if (strcmp(text, cases[i].former[n]) == 0)
							sum += random_tensor_value(from, id * columns + c);
					}
				worst = n > 0 ? fmax(worst, fabs(row[c] - sum / n)) : worst;
				drawn += n == 0 && k == 0 && row[c] != 0;
			}
		}
	CHECK("rows_are_means_of_former_rows", r.trainer != NULL && worst < 1e-6, "%g", worst);
	CHECK("rows_without_origin_are_drawn", drawn == r.spec.width, "%d", (int) drawn);
	if (r.trainer != NULL)
		first = row_of(&r, "pos_embd", "[PAD]", 1)[0];
	CHECK("the_rest_is_the_base", first == random_tensor_value(random_tensor_find(&r.base, "embeddings.position_embeddings.weight"),
		r.trainer != NULL ? plm_token_id(&r.trainer->model.tokenizer, PLM_TEXT("[PAD]")) : 0), "%g", first);
	CHECK("it_learns", r.trainer != NULL && training_run(&r, 3, NULL) != 0, "%s", r.err.message);
	training_close(&r);

	same.vocab = "\n";
	CHECK("an_empty_vocabulary_is_refused", training_open(&same) != PLM_OK && same.err.message[0] != 0, "%s", same.err.message);
	training_close(&same);
}

int
main(void)
{
	test_gradients();
	test_other_vocabulary();
	test_gradient_variants();
	test_overfit();
	test_threads();
	test_resume();
	return unit_done();
}
