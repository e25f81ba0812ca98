/*
 * nearest.c -- all queries of a set of examples against all positives: ranks for an evaluation, hard negatives for training.
 */
#include "internal.h"

#include <string.h>

#define BLOCK_QUERIES 192

typedef struct Nearest
{
	PlmTrainer *t;
	const PlmExamples *from;
	int64_t		n, D;
	float	   *e[2];			/* (n,D) */
	uint64_t   *hash[2];		/* (n) of queries and positives */
	float	   *s;				/* (block,n) */
	int64_t		first;			/* query of the block */
	int64_t    *rank;			/* (n), from 1 */
	int32_t		h;
	int32_t    *mined;			/* (n,h) */
} Nearest;

static PlmStatus
open_nearest(Nearest *k, PlmError *err)
{
	PlmTrainer *t = k->t;

	k->n = plm_examples_count(k->from);
	k->D = t->model.config.dimensions;
	PLM_TRY(plm_take(&t->step, k->n * BLOCK_QUERIES, sizeof(float), &k->s, err));
	for (int i = 0; i < 2; i++)
	{
		PLM_TRY(plm_take(&t->step, k->n * k->D, sizeof(float), &k->e[i], err));
		PLM_TRY(plm_take(&t->step, k->n, sizeof(uint64_t), &k->hash[i], err));
		for (int64_t a = 0; a < k->n; a++)
		{
			const PlmSequence *q = &plm_examples_at(k->from, a)->text[i];

			k->hash[i][a] = plm_checksum(q->ids, (size_t) q->n * sizeof(int32_t), 0);
		}
	}
	return plm_embed_range(t, k->from, k->e, err);
}

/* Is positive c something else than what the query looks for? */
static bool
is_other(const Nearest *k, int64_t query, int64_t c)
{
	return k->hash[1][c] != k->hash[1][query] && k->hash[0][c] != k->hash[0][query] && k->hash[1][c] != k->hash[0][query];
}

static void
rank_query(Nearest *k, int64_t query, const float *s)
{
	int64_t		better = 0;

	for (int64_t c = 0; c < k->n; c++)
		better += plm_comes_before(s, c, query) && is_other(k, query, c);
	k->rank[query] = better + 1;
}

/* The nearest h others, nearest first; of equal texts one. */
static void
mine_query(Nearest *k, int64_t query, const float *s)
{
	int32_t    *best = k->mined + query * k->h;
	int32_t		n = 0;

	for (int32_t i = 0; i < k->h; i++)
		best[i] = -1;
	for (int64_t c = 0; c < k->n; c++)
	{
		int32_t		at = n;
		bool		twice = false;

		if ((n == k->h && s[c] <= s[best[n - 1]]) || !is_other(k, query, c))
			continue;
		for (int32_t i = 0; i < n; i++)
			twice = twice || k->hash[1][best[i]] == k->hash[1][c];
		if (twice)
			continue;
		if (n < k->h)
			n++;
		else
			at = n - 1;
		for (; at > 0 && s[c] > s[best[at - 1]]; at--)
			best[at] = best[at - 1];
		best[at] = (int32_t) c;
	}
}

static PlmStatus
query_task(void *arg, int64_t i, PlmWorker *worker, PlmError *err)
{
	Nearest    *k = arg;

	if (plm_stopped(worker))
		return plm_cancelled(err);
	if (k->rank != NULL)
		rank_query(k, k->first + i, k->s + i * k->n);
	else
		mine_query(k, k->first + i, k->s + i * k->n);
	return PLM_OK;
}

/* Cosines of a block of queries with all positives, part of the positives at a time: that a cancel is seen. */
static PlmStatus
all_blocks(Nearest *k, PlmError *err)
{
	PlmTrainer *t = k->t;

	for (k->first = 0; k->first < k->n; k->first += BLOCK_QUERIES)
	{
		int64_t		rows = k->n - k->first < BLOCK_QUERIES ? k->n - k->first : BLOCK_QUERIES;

		for (int64_t c = 0; c < k->n; c += 16384)
			PLM_TRY(plm_matmul(t, false, true, rows, k->n - c < 16384 ? k->n - c : 16384, k->D, 1.0f,
							   k->e[0] + k->first * k->D, k->D, k->e[1] + c * k->D, k->D, 0.0f, k->s + c, k->n, err));
		PLM_TRY(plm_parallel(t->threads, rows, query_task, k, t->options.hook, err));
	}
	return PLM_OK;
}

static void
rank_figures(void *arg, const int64_t *pick, int64_t n, double *out)
{
	const int64_t *rank = arg;

	out[0] = out[1] = out[2] = 0;
	for (int64_t i = 0; i < n; i++)
	{
		int64_t		r = rank[pick[i]];

		out[0] += plm_reciprocal_rank(r, 10) / (double) n;
		out[1] += (r <= 1) / (double) n;
		out[2] += (r <= 10) / (double) n;
	}
}

PlmStatus
plm_retrieval_evaluate(PlmTrainer *t, int samples, PlmMetric *metrics, int *n, PlmError *err)
{
	static const char *const names[] = {"mrr@10", "recall@1", "recall@10"};
	Nearest		k = {.t = t, .from = t->held_out};

	PLM_TRY(plm_take(&t->step, plm_examples_count(t->held_out), sizeof(int64_t), &k.rank, err));
	PLM_TRY(open_nearest(&k, err));
	PLM_TRY(all_blocks(&k, err));
	*n = 3;
	return plm_trainer_bootstrap(t, k.n, samples, rank_figures, k.rank, *n, names, metrics, err);
}

PlmStatus
plm_mine(PlmTrainer *t, PlmError *err)
{
	Nearest		k = {.t = t, .from = t->train, .h = t->options.hard_negatives, .mined = t->mined};
	PlmMark		mark = plm_arena_mark(&t->step);
	int64_t		epoch = t->at_step * t->options.batch / plm_examples_count(t->train);

	if (t->mined == NULL || epoch == t->mined_epoch)
		return PLM_OK;
	t->mined_epoch = -1;		/* half a table is none */
	PLM_TRY(open_nearest(&k, err));
	PLM_TRY(all_blocks(&k, err));
	t->mined_epoch = epoch;
	plm_arena_rewind(&t->step, mark);
	return PLM_OK;
}
