/*
 * test_train_faults.c -- runs that are refused memory, stopped or led astray; frozen and adapted runs; files.
 */
#include "host.h"
#include "training.h"
#include "unit.h"

#include <math.h>

/* ---- files ---- */

typedef struct Directory
{
	PlmArena	arena;
	PlmSource	files[24];
	size_t		used[24];
	int			n;
	bool		wrong;			/* a file got more bytes than it said */
} Directory;

static PlmStatus
directory_begin(void *arg, const PlmTrainedFile *file, PlmError *err)
{
	Directory  *d = arg;
	void	   *data = plm_arena_alloc(&d->arena, (size_t) file->size + 1);

	if (d->n == 24 || data == NULL)
		return plm_fail(err, PLM_ENOMEM, 0, "no room for the test's files");
	d->used[d->n] = 0;
	d->files[d->n++] = plm_source_memory(file->name, data, (size_t) file->size);
	return PLM_OK;
}

static PlmStatus
directory_write(void *arg, const void *data, size_t n, PlmError *err)
{
	Directory  *d = arg;
	int			i = d->n - 1;

	(void) err;
	d->wrong = d->wrong || n > d->files[i].size - d->used[i];
	if (!d->wrong)
		memcpy((char *) d->files[i].arg + d->used[i], data, n);
	d->used[i] += n;
	return PLM_OK;
}

static PlmStatus
write_files(Training *r, PlmType type, Directory *d)
{
	memset(d, 0, sizeof(*d));
	plm_arena_init(&d->arena, &plm_libc_hook, 0);
	PLM_TRY(plm_trainer_files(r->trainer, type, directory_begin, directory_write, d, &r->err));
	for (int i = 0; i < d->n; i++)
		d->wrong = d->wrong || d->used[i] != d->files[i].size;
	return PLM_OK;
}

/* The files open as a model, whose weights are those in training. */
static bool
files_are_sound(Training *r, Directory *d)
{
	PlmFileSet	set = {d->files, d->n};
	PlmArena	arena;
	PlmModelInfo info;
	TestModel	m = {{0}, NULL};
	const PlmBlock *a;
	const PlmBlock *b;
	bool		same = false;

	plm_arena_init(&arena, &plm_libc_hook, 0);
	if (!d->wrong && plm_model_check(&set, &arena, &info, &r->err) == PLM_OK && info.config.task == r->trainer->model.config.task &&
		info.labels == r->trainer->model.config.labels && test_model_open(&set, PLM_PREC_F32, &arena, &m, &r->err) == PLM_OK)
	{
		a = &m.model->blocks[1];
		b = &r->trainer->model.blocks[1];
		same = memcmp(a->ff_up.w.data, b->ff_up.w.data, plm_pack_bytes(PLM_PREC_F32, b->ff_up.w.n, b->ff_up.w.k)) == 0 &&
			memcmp(a->qkv.b, b->qkv.b, (size_t) b->qkv.w.n * sizeof(float)) == 0;
		for (int32_t i = 0; i < info.labels && r->options.objective == PLM_LEARN_CLASSES; i++)
			same = same && info.label[i].len == r->labels[i].len && memcmp(info.label[i].data, r->labels[i].data, info.label[i].len) == 0;
		test_model_close(&m);
	}
	plm_arena_free(&arena);
	return same;
}

static void
check_files(const char *name, Training r)
{
	Directory	d;
	bool		sound = false;

	r.options.learning_rate = 1e-3;
	if (training_open(&r) == PLM_OK && training_run(&r, 2, NULL) != 0 && write_files(&r, PLM_F32, &d) == PLM_OK)
	{
		sound = files_are_sound(&r, &d);
		plm_arena_free(&d.arena);
	}
	CHECK(name, sound, "%s", r.err.message);
	training_close(&r);
}

static void
test_files(void)
{
	static const char *const types[] = {"bert", "distilbert"};
	Training	r;

	for (int k = 0; k < 2; k++)
		for (int o = 0; o < PLM_OBJECTIVES; o++)
		{
			char		name[96];

			snprintf(name, sizeof(name), "files_open_as_the_trained_model_%s_%s", plm_objective_name((PlmObjective) o), types[k]);
			check_files(name, training_defaults((PlmObjective) o, types[k]));
		}
	r = training_defaults(PLM_LEARN_CLASSES, "bert");
	r.options.multi_label = true;
	check_files("files_of_many_labels", r);
	r = training_defaults(PLM_LEARN_RETRIEVAL, "bert");
	r.spec.pooling[0] = NULL;
	check_files("files_of_a_new_embedder", r);
	r = training_defaults(PLM_LEARN_SIMILARITY, "bert");
	r.spec.dense[0] = 24, r.spec.dense_act = "Tanh", r.spec.dense_bias = true;
	check_files("files_with_dense_modules", r);
	r = training_defaults(PLM_LEARN_MASKED, "bert");
	r.spec.pooling[0] = NULL;
	r.spec.architecture = "BertForMaskedLM";
	r.no_weights = true;
	r.options.next_sentence = true;
	check_files("files_of_a_pretrained_model_from_nothing", r);
	r = training_defaults(PLM_LEARN_CLASSES, "bert");
	r.options.lora_rank = 4;
	check_files("files_have_adapters_merged", r);
}

/* ---- freezing and adapters ---- */

static void
test_frozen(void)
{
	Training	r = training_defaults(PLM_LEARN_CLASSES, "bert");
	float	   *before = NULL;
	int64_t		moved = 0;
	int64_t		learnt = 0;

	r.options.frozen_layers = 1;
	if (training_open(&r) == PLM_OK)
	{
		PlmTrainer *t = r.trainer;

		before = plm_arena_alloc(&r.arena, (size_t) t->n_w * sizeof(float));
		memcpy(before, t->w, (size_t) t->n_w * sizeof(float));
		training_run(&r, 3, NULL);
		for (int64_t s = 0; s < t->plan.n_sections; s++)
		{
			const PlmSection *section = &t->plan.sections[s];
			size_t		bytes = (size_t) (section->rows * section->cols) * sizeof(float);
			bool		same = memcmp(before + t->at[s], t->w + t->at[s], bytes) == 0;
			bool		frozen = strstr(section->name, "embd") != NULL || strncmp(section->name, "blk.0.", 6) == 0;

			moved += frozen && !same;
			learnt += !frozen && !same;
		}
	}
	CHECK("frozen_layers_keep_their_weights", moved == 0 && learnt > 15, "%d moved, %d learnt %s", (int) moved, (int) learnt,
		  r.err.message);
	training_close(&r);
}

static void
test_adapters(void)
{
	Training	r = training_defaults(PLM_LEARN_CLASSES, "bert");
	double		first = 0;
	double		last = INFINITY;
	uint64_t	base = 0;
	uint64_t	after = 1;

	r.options.lora_rank = 4;
	r.examples = r.options.batch = 4;
	r.options.learning_rate = 5e-3;
	r.options.steps = 100;
	if (training_open(&r) == PLM_OK)
	{
		size_t		bytes = (size_t) r.trainer->adapters[0].wa * sizeof(float);
		int64_t		head = plm_section_of(&r.trainer->plan, "pooler.w");

		bytes = (size_t) r.trainer->at[head] * sizeof(float);
		base = plm_checksum(r.trainer->w, bytes, 0);
		training_run(&r, 1, &first);
		training_run(&r, 100, &last);
		after = plm_checksum(r.trainer->w, bytes, 0);
	}
	CHECK("adapters_learn_and_leave_the_base", base == after && last < 0.1 && last < first, "%g to %g %s", first, last, r.err.message);
	training_close(&r);
}

/* ---- memory ---- */

static void
test_checkpointing(void)
{
	for (int o = 0; o < PLM_OBJECTIVES; o++)
	{
		Training	r = training_defaults((PlmObjective) o, "bert");
		uint64_t	full = 0;
		uint64_t	again = 1;
		char		name[96];

		r.options.dropout = 0.1;
		if (training_open(&r) == PLM_OK)
			full = training_run(&r, 3, NULL);
		training_close(&r);
		if (training_open(&r) == PLM_OK)
		{
			/* What plm_space_plan() decides under a limit, without changing how the step is cut. */
			r.trainer->forget = true;
			again = training_run(&r, 3, NULL);
		}
		snprintf(name, sizeof(name), "computing_forwards_again_gives_the_same_bits_%s", plm_objective_name((PlmObjective) o));
		CHECK(name, full != 0 && full == again, "%s", r.err.message);
		training_close(&r);
	}
}

/* fp32 sums in another order: some 1e-6 of the largest. */
static void
test_micro_batches(void)
{
	for (int o = 0; o < PLM_OBJECTIVES; o++)
	{
		Training	r = training_defaults((PlmObjective) o, "bert");
		float	   *g;
		double		loss[2] = {0, 1};
		double		most = 0;
		double		size = 0;
		char		name[96];

		r.options.dropout = 0.1;
		if (training_open(&r) == PLM_OK && training_gradient(&r, &loss[0]) == PLM_OK)
		{
			g = plm_arena_alloc(&r.arena, (size_t) r.trainer->n_g * sizeof(float));
			memcpy(g, r.trainer->g, (size_t) r.trainer->n_g * sizeof(float));
			r.trainer->most_tokens = 20;
			training_gradient(&r, &loss[1]);
			for (int64_t i = 0; i < r.trainer->n_g; i++)
			{
				most = fmax(most, fabs(g[i] - r.trainer->g[i]));
				size = fmax(size, fabs(g[i]));
			}
		}
		snprintf(name, sizeof(name), "micro_batches_equal_one_batch_%s", plm_objective_name((PlmObjective) o));
		CHECK(name, fabs(loss[0] - loss[1]) < 1e-5 && most < 1e-5 * size, "loss %g %g, gradient off by %g of %g %s", loss[0],
			  loss[1], most, size, r.err.message);
		training_close(&r);
	}
}

static PlmStatus
short_life(Host *host, PlmObjective objective, PlmError *err)
{
	Training	r = training_defaults(objective, "bert");
	PlmMetric	metrics[PLM_MAX_METRICS];
	PlmStep		step;
	Directory	d;
	bool		better;
	int			n;
	PlmStatus	status;

	r.options.hook = &host->hook;
	r.options.hard_negatives = 1;
	r.held_out = 6;
	status = training_open(&r);
	for (int i = 0; i < 2 && status == PLM_OK; i++)
		status = plm_trainer_step(r.trainer, &step, &r.err);
	if (status == PLM_OK)
		status = plm_trainer_evaluate(r.trainer, 3, metrics, &n, &better, &r.err);
	if (status == PLM_OK)
		status = plm_trainer_keep(r.trainer, &r.err);
	if (status == PLM_OK)
	{
		status = write_files(&r, PLM_F16, &d);
		plm_arena_free(&d.arena);
	}
	training_close(&r);
	*err = r.err;
	return status;
}

static void
test_allocations(PlmObjective objective)
{
	int64_t		k = 0;
	int			wrong = 0;
	char		name[96];
	PlmError	err;
	PlmStatus	status;

	do
	{
		Host		host;

		host_init(&host, k++, -1);
		memset(&err, 0, sizeof(err));
		status = short_life(&host, objective, &err);
		wrong += (status != PLM_OK && status != PLM_ENOMEM) || host.held != 0;
	} while (status != PLM_OK && k < 2000);
	snprintf(name, sizeof(name), "each_refused_allocation_is_an_error_%s", plm_objective_name(objective));
	CHECK(name, status == PLM_OK && wrong == 0 && k > 10, "%d of %d wrong: %s", wrong, (int) k, err.message);
}

static void
test_limit(void)
{
	Training	r = training_defaults(PLM_LEARN_CLASSES, "bert");
	PlmStatus	status;

	r.options.memory_limit = 60000;
	status = training_open(&r);
	CHECK("memory_limit_is_kept", status == PLM_ELIMIT, "status %d %s", status, r.err.message);
	training_close(&r);
}

/* What a step's memory is made anew for is not there twice, whatever was kept in between. */
static void
test_limit_while_growing(void)
{
	Training	r = training_defaults(PLM_LEARN_RETRIEVAL, "bert");
	uint64_t	sum = 0;

	if (training_open(&r) == PLM_OK)
	{
		training_run(&r, 1, NULL);
		r.options.memory_limit = 5 * (r.trainer->arena.taken + r.trainer->space.arena.taken) / 4 + ((size_t) 1 << 20);
	}
	training_close(&r);
	if (training_open(&r) == PLM_OK)
		sum = training_run(&r, 1, NULL);
	for (int64_t k = 2; sum != 0 && k < 12; k++)
	{
		if (plm_trainer_keep(r.trainer, &r.err) != PLM_OK)
			sum = 0;
		r.trainer->space.texts = 0;	/* as if the next step were larger */
		sum = sum != 0 ? training_run(&r, k, NULL) : 0;
	}
	CHECK("memory_limit_holds_for_growing_steps", sum != 0, "%s", r.err.message);
	training_close(&r);
}

/* ---- cancel ---- */

/* Stopped at some poll and taken up again, a run ends where it would have ended. */
static void
test_cancel(const char *name, Training r)
{
	uint64_t	want = 0;
	int			wrong = 0;
	int			stopped = 0;

	if (training_open(&r) == PLM_OK)
		want = training_run(&r, 2, NULL);
	training_close(&r);
	for (int64_t polls = 0; polls < 400; polls += 1 + polls / 24)
	{
		Host		host;
		PlmStep		step;
		PlmStatus	status = PLM_ECANCELLED;

		host_init(&host, -1, -1);
		r.options.hook = &host.hook;
		if (training_open(&r) != PLM_OK)
			wrong++;
		host.polls_left = polls;
		status = plm_trainer_step(r.trainer, &step, &r.err);
		wrong += status != PLM_OK && status != PLM_ECANCELLED;
		stopped += status == PLM_ECANCELLED;
		host.polls_left = -1;
		wrong += training_run(&r, 2, NULL) != want;
		training_close(&r);
		wrong += host.held != 0;
	}
	CHECK(name, want != 0 && wrong == 0 && stopped > 20, "%d wrong, %d stopped", wrong, stopped);
}

/* ---- numbers ---- */

static void
test_not_finite(void)
{
	Training	r = training_defaults(PLM_LEARN_CLASSES, "bert");
	PlmStep		step;
	PlmStatus	status = PLM_OK;
	uint64_t	before = 0;
	uint64_t	after = 1;

	if (training_open(&r) == PLM_OK)
	{
		r.trainer->w[r.trainer->at[plm_section_of(&r.trainer->plan, "classifier.b")]] = INFINITY;
		before = training_weights(&r);
		status = plm_trainer_step(r.trainer, &step, &r.err);
		after = training_weights(&r);
	}
	CHECK("a_loss_that_is_not_finite_changes_nothing", status == PLM_ENUMERIC && before == after, "status %d %s", status,
		  r.err.message);
	training_close(&r);
}

/* The largest difference of the weights from `want`, in units of the largest of them; `except`: not looked at. */
static double
weights_error(const PlmTrainer *t, const float *want, int64_t except)
{
	double		worst = 0;
	double		most = 1e-30;

	for (int64_t i = 0; i < t->n_w; i++)
	{
		most = fmax(most, fabs(want[i]));
		if (i != except)
			worst = fmax(worst, fabs((double) t->w[i] - want[i]));
	}
	return worst / most;
}

/*
 * What an infinite weight stands for is a model that the last update has broken: the weights before that update are put back.
 * The update is undone in double from moments in fp32: each weight is off by some units in its last place.
 */
static void
test_last_good(PlmObjective objective)
{
	Training	r = training_defaults(objective, "bert");
	const char *name = plm_objective_name(objective);
	char		text[96];
	PlmMetric	metrics[PLM_MAX_METRICS];
	PlmStep		step;
	PlmStatus	status[3] = {PLM_OK, PLM_OK, PLM_OK};
	double		error[2] = {1, 1};
	double		moved = 0;
	float	   *good = NULL;
	int64_t		at = 0;
	int			n;
	bool		high;

	r.held_out = 4;
	r.options.learning_rate = 0.01;
	if (training_open(&r) == PLM_OK && training_run(&r, 2, NULL) != 0)
	{
		PlmTrainer *t = r.trainer;
		int64_t		broken = t->at[plm_section_of(&t->plan, "blk.0.ff_norm.g")];

		good = plm_arena_alloc(&r.arena, (size_t) t->n_w * sizeof(float));
		memcpy(good, t->w, (size_t) t->n_w * sizeof(float));
		(void) training_run(&r, 3, NULL);
		moved = weights_error(t, good, broken);
		t->w[broken] = INFINITY;
		t->packed = false;
		status[0] = plm_trainer_step(t, &step, &r.err);
		error[0] = weights_error(t, good, broken);
		at = plm_trainer_at(t);
		status[1] = plm_trainer_step(t, &step, &r.err);
		status[2] = plm_trainer_evaluate(t, 10, metrics, &n, &high, &r.err);
		error[1] = weights_error(t, good, broken);
	}
	snprintf(text, sizeof(text), "broken_weights_give_way_to_the_last_good_%s", name);
	CHECK(text, status[0] == PLM_ENUMERIC && at == 2 && moved > 1e-3 && error[0] < 1e-6, "status %d, at %d, moved %g, error %g: %s", status[0],
		  (int) at, moved, error[0], r.err.message);
	snprintf(text, sizeof(text), "an_update_is_taken_back_once_%s", name);
	CHECK(text, status[1] == PLM_ENUMERIC && status[2] == PLM_ENUMERIC && error[1] == error[0], "status %d %d, error %g", status[1],
		  status[2], error[1]);
	training_close(&r);
}

static void
refused(const char *name, Training r, PlmStatus want, const char *in_message)
{
	PlmStatus	status = training_open(&r);

	CHECK(name, status == want && strstr(r.err.message, in_message) != NULL, "status %d: %s", status, r.err.message);
	training_close(&r);
}

static void
test_refusals(void)
{
	Training	r = training_defaults(PLM_LEARN_CLASSES, "bert");

	r.options.learning_rate = -1;
	refused("negative_learning_rate_is_refused", r, PLM_EARG, "learning rate");
	r = training_defaults(PLM_LEARN_CLASSES, "bert");
	r.options.learning_rate = 2;
	r.options.weight_decay = 0.5;
	refused("decay_that_turns_weights_round_is_refused", r, PLM_EARG, "turn weights round");
	r = training_defaults(PLM_LEARN_CLASSES, "bert");
	r.options.frozen_layers = 9;
	refused("freezing_more_layers_than_there_are_is_refused", r, PLM_EARG, "frozen");
	r = training_defaults(PLM_LEARN_CLASSES, "bert");
	r.options.word_vectors = true;
	refused("word_vectors_of_a_classifier_are_refused", r, PLM_EARG, "word vectors");
	r = training_defaults(PLM_LEARN_RETRIEVAL, "bert");
	r.options.word_vectors = true;
	r.options.frozen_layers = 0;
	refused("frozen_word_vectors_are_refused", r, PLM_EARG, "word vectors");
	r = training_defaults(PLM_LEARN_MASKED, "distilbert");
	r.options.next_sentence = true;
	refused("next_sentences_need_a_head", r, PLM_EARG, "next-sentence");
	r = training_defaults(PLM_LEARN_RETRIEVAL, "bert");
	r.options.matryoshka[0] = 32;
	refused("prefix_of_full_width_is_refused", r, PLM_EARG, "prefix");
	r = training_defaults(PLM_LEARN_CLASSES, "bert");
	r.examples = 0;
	refused("no_examples_are_refused", r, PLM_EARG, "no training examples");
}

int
main(void)
{
	test_files();
	test_frozen();
	test_adapters();
	test_checkpointing();
	test_micro_batches();
	test_allocations(PLM_LEARN_MASKED);
	test_allocations(PLM_LEARN_RETRIEVAL);
	test_allocations(PLM_LEARN_RANKING);
	test_limit();
	test_limit_while_growing();
	test_cancel("a_stopped_step_leaves_no_trace", training_defaults(PLM_LEARN_CLASSES, "bert"));
	test_cancel("a_stopped_private_step_leaves_no_trace", training_private());
	test_not_finite();
	for (int o = 0; o < PLM_OBJECTIVES; o++)
		test_last_good((PlmObjective) o);
	test_refusals();
	return unit_done();
}
