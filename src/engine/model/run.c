/*
 * run.c -- many texts through the encoder: slices, chunks, threads.
 *
 * A slice of the inputs is tokenized on the main thread, cut into chunks of consecutive texts, and the
 * chunks are run by plm_parallel(); then the next slice.  So memory is bounded whatever the number of
 * inputs.  Chunks are cut by the lengths of the texts alone, and every kernel treats each row (and
 * attention each text) by itself: neither cut nor thread count can change a bit of the result.  Where
 * there are fewer chunks than threads, threads share each chunk (team.c).
 *
 * Workspaces are carved before the threads start, one for each thread that may work; a task borrows a
 * free one, since the pool's worker numbers are not bounded by this run's threads.
 */
#include "internal.h"

#include <string.h>

#define CHUNK_TOKENS 432		/* enough rows for full speed; with BERT-base shapes, 9 MB of workspace */
#define CHUNK_TOKENS_LEAST 128	/* what a small slice is cut into, so that threads share it */
#define CHUNKS_A_THREAD 16		/* in a slice */
#define MAX_THREADS 64

/* Inputs first .. next - 1 of the call, those that are not skipped laid end to end. */
typedef struct Slice
{
	int64_t		texts;
	int64_t		tokens;
	int64_t		most_texts;		/* rooms of the arrays */
	int64_t		most_tokens;
	int64_t    *input;			/* (texts) number of the input */
	int64_t    *offsets;		/* (texts + 1) */
	int32_t    *ids;			/* (tokens) */
	int32_t    *types;
	int64_t		chunks;
	int64_t    *chunk;			/* (chunks + 1) first text */
} Slice;

typedef struct Job
{
	const PlmModel *model;
	const PlmInput *inputs;
	int64_t		n;
	PlmText		prompt;
	const PlmOptions *options;
	const PlmHead *head;
	float	   *out;
	int			threads;
	PlmArena	arena;
	Slice		slice;
	int			n_spaces;		/* threads that can find work */
	bool		team;			/* on one chunk after the other, together; else each on chunks of its own */
	PlmWorkspace *spaces;
} Job;

static PlmStatus
take(PlmArena *arena, int64_t count, size_t size, void *out, PlmError *err)
{
	void	   *ptr = plm_arena_array(arena, (size_t) count, size);

	if (ptr == NULL)
		return plm_arena_refused(arena, (size_t) count * size, err);
	memcpy(out, &ptr, sizeof(ptr));
	return PLM_OK;
}

/* Arrays for the next slice: as much as a slice may hold, less when few inputs are left. */
static PlmStatus
slice_begin(Job *job, int64_t left, PlmError *err)
{
	Slice	   *s = &job->slice;
	int64_t		longest = job->model->config.max_tokens;
	int64_t		target = (int64_t) CHUNK_TOKENS * CHUNKS_A_THREAD * job->threads;

	/* A text has at least two tokens: no slice holds more texts than half its tokens. */
	s->most_texts = left < target / 2 ? left : target / 2;
	s->most_tokens = s->most_texts < target / longest + 1 ? s->most_texts * longest : target + longest;
	s->texts = 0;
	s->tokens = 0;
	PLM_TRY(take(&job->arena, s->most_texts, sizeof(int64_t), &s->input, err));
	PLM_TRY(take(&job->arena, s->most_texts + 1, sizeof(int64_t), &s->offsets, err));
	PLM_TRY(take(&job->arena, s->most_texts + 1, sizeof(int64_t), &s->chunk, err));
	PLM_TRY(take(&job->arena, s->most_tokens, sizeof(int32_t), &s->ids, err));
	PLM_TRY(take(&job->arena, s->most_tokens, sizeof(int32_t), &s->types, err));
	s->offsets[0] = 0;
	return PLM_OK;
}

/* prompt and text as one span; memory only when there is a prompt. */
static PlmStatus
with_prompt(Job *job, PlmText text, PlmText *out, PlmError *err)
{
	size_t		len;
	char	   *joined;

	*out = text;
	if (job->prompt.len == 0)
		return PLM_OK;
	if (!plm_add(job->prompt.len, text.len, &len))
		return plm_fail(err, PLM_ELIMIT, 0, "text of %zu bytes is too long", text.len);
	joined = plm_arena_alloc(&job->arena, len);
	if (joined == NULL)
		return plm_arena_refused(&job->arena, len, err);
	memcpy(joined, job->prompt.data, job->prompt.len);
	memcpy(joined + job->prompt.len, text.data, text.len);
	*out = (PlmText) {joined, len};
	return PLM_OK;
}

static PlmStatus
slice_add(Job *job, int64_t number, PlmWorker *worker, PlmError *err)
{
	Slice	   *s = &job->slice;
	const PlmInput *input = &job->inputs[number];
	PlmMark		mark = plm_arena_mark(&job->arena);
	PlmText		text;
	PlmEncoding e;

	PLM_TRY(with_prompt(job, input->first, &text, err));
	PLM_TRY(plm_encode(&job->model->tokenizer, text, input->second.data != NULL ? &input->second : NULL,
					   job->model->config.max_tokens, worker, &job->arena, &e, err));
	if (e.n < 1 || e.n > s->most_tokens - s->tokens)
		return plm_fail(err, PLM_EINTERNAL, 0, "the tokenizer gave %" PRId64 " tokens", e.n);
	memcpy(s->ids + s->tokens, e.ids, (size_t) e.n * sizeof(int32_t));
	memcpy(s->types + s->tokens, e.types, (size_t) e.n * sizeof(int32_t));
	s->tokens += e.n;
	s->input[s->texts++] = number;
	s->offsets[s->texts] = s->tokens;
	plm_arena_rewind(&job->arena, mark);
	return PLM_OK;
}

/* Tokenize inputs from *next on until the slice is full or they end. */
static PlmStatus
slice_fill(Job *job, int64_t *next, PlmError *err)
{
	Slice	   *s = &job->slice;
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, job->options->hook);

	for (; *next < job->n && s->texts < s->most_texts; ++*next)
	{
		PlmStatus	status;

		if (job->inputs[*next].first.data == NULL)
			continue;
		if (s->most_tokens - s->tokens < job->model->config.max_tokens)
			break;
		if (plm_stopped(&worker))
			return plm_cancelled(err);
		status = slice_add(job, *next, &worker, err);
		if (status != PLM_OK)
		{
			if (job->n > 1 && status != PLM_ECANCELLED)
				plm_prefix(err, "text %" PRId64, *next + 1);
			return status;
		}
	}
	return PLM_OK;
}

/* Consecutive texts up to a number of tokens; a longer text is a chunk by itself. */
static void
slice_cut(Slice *s)
{
	int64_t		most = s->tokens / 8;

	if (most < CHUNK_TOKENS_LEAST)
		most = CHUNK_TOKENS_LEAST;
	if (most > CHUNK_TOKENS)
		most = CHUNK_TOKENS;
	s->chunks = 0;
	s->chunk[0] = 0;
	for (int64_t i = 1; i <= s->texts; i++)
	{
		int64_t		first = s->chunk[s->chunks];

		if (i < s->texts && i - first < PLM_CHUNK_TEXTS && s->offsets[i + 1] - s->offsets[first] <= most)
			continue;
		s->chunk[++s->chunks] = i;
	}
}

/* A workspace for each thread that can find work, fit for the largest chunk. */
static PlmStatus
carve(Job *job, PlmError *err)
{
	const Slice *s = &job->slice;
	int64_t		tokens = 0;
	int64_t		texts = 0;
	int64_t		longest = 0;

	for (int64_t i = 0; i < s->chunks; i++)
	{
		int64_t		here = s->offsets[s->chunk[i + 1]] - s->offsets[s->chunk[i]];

		tokens = here > tokens ? here : tokens;
		texts = s->chunk[i + 1] - s->chunk[i] > texts ? s->chunk[i + 1] - s->chunk[i] : texts;
	}
	for (int64_t i = 0; i < s->texts; i++)
		longest = s->offsets[i + 1] - s->offsets[i] > longest ? s->offsets[i + 1] - s->offsets[i] : longest;
	job->n_spaces = plm_team_size(tokens, job->threads);
	job->team = job->n_spaces > s->chunks;
	if (!job->team)
		job->n_spaces = job->threads < s->chunks ? job->threads : (int) s->chunks;
	PLM_TRY(take(&job->arena, job->n_spaces, sizeof(PlmWorkspace), &job->spaces, err));
	for (int i = 0; i < (job->team ? 1 : job->n_spaces); i++)
	{
		size_t		head = job->head->bytes(job->model, texts)
			+ plm_align((size_t) texts * (size_t) job->head->width * sizeof(float), 64);

		PLM_TRY(plm_workspace_carve(job->model, tokens, longest, head, &job->arena, &job->spaces[i], err));
	}
	return job->team ? plm_team_carve(job->model, tokens, longest, &job->arena, job->spaces, job->n_spaces, err) : PLM_OK;
}

static PlmStatus
run_chunk(Job *job, int64_t chunk, PlmWorkspace *ws, PlmWorker *worker, PlmError *err)
{
	const Slice *s = &job->slice;
	int64_t		first = s->chunk[chunk];
	int64_t		start = s->offsets[first];
	int64_t		width = job->head->width;
	int64_t		offsets[PLM_CHUNK_TEXTS + 1] = {0};
	int64_t		number[PLM_CHUNK_TEXTS];
	PlmBatch	batch = {.texts = s->chunk[chunk + 1] - first, .offsets = offsets,
	.ids = s->ids + start, .types = s->types + start};
	float	   *rows = ws->head;
	float	   *scratch;

	for (int64_t b = 0; b < batch.texts; b++)
	{
		int64_t		n = s->offsets[first + b + 1] - s->offsets[first + b];

		offsets[b + 1] = offsets[b] + n;
		batch.longest = n > batch.longest ? n : batch.longest;
		number[b] = s->input[first + b] + 1;
	}
	batch.tokens = offsets[batch.texts];
	scratch = (float *) ((char *) rows + plm_align((size_t) (batch.texts * width) * sizeof(float), 64));
	if (job->team)
		PLM_TRY(plm_encoder_forward_team(job->model, &batch, job->spaces, job->n_spaces, job->options->hook, err));
	else
		PLM_TRY(plm_encoder_forward(job->model, &batch, ws, NULL, worker, err));
	PLM_TRY(job->head->apply(job->model, &batch, ws->x, number, rows, scratch, worker, err));
	for (int64_t b = 0; b < batch.texts; b++)
		memcpy(job->out + (number[b] - 1) * width, rows + b * width, (size_t) width * sizeof(float));
	return PLM_OK;
}

static PlmStatus
task(void *arg, int64_t chunk, PlmWorker *worker, PlmError *err)
{
	Job		   *job = arg;
	PlmWorkspace *ws = plm_workspace_borrow(job->spaces, job->n_spaces);
	PlmStatus	status = run_chunk(job, chunk, ws, worker, err);

	plm_workspace_give_back(ws);
	return status;
}

/* The slice that has been cut: chunks side by side, or one after the other. */
static PlmStatus
run_slice(Job *job, PlmError *err)
{
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, job->options->hook);

	if (!job->team)
		return plm_parallel(job->threads, job->slice.chunks, task, job, job->options->hook, err);
	for (int64_t chunk = 0; chunk < job->slice.chunks; chunk++)
		PLM_TRY(run_chunk(job, chunk, &job->spaces[0], &worker, err));
	return PLM_OK;
}

static PlmStatus
run_slices(Job *job, PlmError *err)
{
	for (int64_t next = 0; next < job->n;)
	{
		PlmMark		mark = plm_arena_mark(&job->arena);

		PLM_TRY(slice_begin(job, job->n - next, err));
		PLM_TRY(slice_fill(job, &next, err));
		if (job->slice.texts > 0)
		{
			slice_cut(&job->slice);
			PLM_TRY(carve(job, err));
			PLM_TRY(run_slice(job, err));
		}
		plm_arena_rewind(&job->arena, mark);
	}
	return PLM_OK;
}

PlmStatus
plm_run_texts(const PlmModel *model, int64_t n, const PlmInput *inputs, PlmText prompt,
			  const PlmOptions *options, const PlmHead *head, float *out, PlmError *err)
{
	Job			job = {.model = model, .inputs = inputs, .n = n, .prompt = prompt, .options = options,
	.head = head, .out = out};
	PlmStatus	status;

	job.threads = options->threads < 1 ? 1 : options->threads > MAX_THREADS ? MAX_THREADS : options->threads;
	plm_arena_init(&job.arena, options->hook, options->memory_limit);
	status = run_slices(&job, err);
	plm_arena_free(&job.arena);
	return status;
}
