/*
 * fn_evaluate_recommend.c -- evaluate_recommendations().
 *
 * Leave-one-out: each visitor's last different item is the target, the events before it are the history.  No system has learnt
 * anything from a target.  Every system ranks all items that the visitor does not have, from the whole catalogue: products
 * with an embedding, and whatever else the events name.
 */
#include "evaluate.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#define RANDOM_SEED 5

/* ---- systems ---- */

/* Sum of rows of all the history's items; by_rank: the r-th newest weighs 1/r. */
static void
score_rows(const PlmpgItemRows *rows, int64 items, const PlmpgBefore *before, bool by_rank, float *scores)
{
	memset(scores, 0, items * sizeof(float));
	for (int r = 0; r < before->n; r++)
	{
		int32		item = before->item[r];
		float		weight = by_rank ? 1.0f / (float) (r + 1) : 1;

		for (int64 k = rows->start[item]; k < rows->start[item + 1]; k++)
			scores[rows->item[k]] += weight * rows->value[k];
	}
}

/* ---- evaluate_recommendations ---- */

enum
{
	BLEND, TOGETHER, CONTENT, POPULARITY, ITEM_COSINE, MARKOV, RANDOM_ORDER, SYSTEMS
};

static const char *const system_names[] = {
	"blend", "together", "content", "popularity", "item_cosine", "markov", "random"
};

enum
{
	HR, NDCG, NOVELTY, COVERAGE, METRICS
};

static char *metric_names[] = {"HR@10", "nDCG@10", "novelty@10", "coverage@10"};

typedef struct NextRun
{
	PlmpgTraining *training;
	PlmpgBlend	blend;
	double	   *damped;
	PlmpgBefore before;
	bool	   *seen;
	float	   *together;
	float	   *content;
	float	   *scores;
} NextRun;

/* Scores of one system; BLEND comes after TOGETHER and CONTENT, which it scales. */
static const float *
score_system(NextRun *run, int system, int64 visitor)
{
	const PlmpgTraining *t = run->training;
	int64		n = t->sequences->items;
	double		most = 0;

	switch (system)
	{
		case TOGETHER:
			plmpg_score_together(t, &run->blend, run->damped, &run->before, run->together);
			return run->together;
		case CONTENT:
			plmpg_score_content(run->training, &run->before, run->content);
			return run->content;
		case BLEND:
			plmpg_scale(run->together, run->seen, n);
			plmpg_scale(run->content, run->seen, n);
			for (int64 i = 0; i < n; i++)
				if (!run->seen[i])
					most = Max(most, t->visitors[i]);
			for (int64 i = 0; i < n; i++)
				run->scores[i] = (float) plmpg_blend_score(&run->blend, run->together[i], run->content[i],
														   most > 0 ? t->visitors[i] / most : 0);
			break;
		case POPULARITY:
			for (int64 i = 0; i < n; i++)
				run->scores[i] = (float) t->visitors[i];
			break;
		case ITEM_COSINE:
			score_rows(&t->cosine, n, &run->before, false, run->scores);
			break;
		case MARKOV:
			score_rows(&t->markov, n, &run->before, true, run->scores);
			break;
		default:
			for (int64 i = 0; i < n; i++)
				run->scores[i] = (float) (plmpg_mix(plmpg_mix(RANDOM_SEED + visitor) ^ (uint64) i) >> 40);
	}
	return run->scores;
}

/* HR, nDCG and novelty of one list; `given` counts for coverage. */
static void
measure(PlmpgFigures *f, int64 one, int system, const PlmpgTraining *t, int32 target, const int64 *places, int n, bool *given)
{
	double		novelty = 0;

	for (int i = 0; i < n; i++)
	{
		given[places[i]] = true;
		novelty -= log2(Max(t->visitors[places[i]], 1) / (double) t->learnt_from);
		if (places[i] == target)
		{
			*plmpg_figure(f, one, system, HR) = 1;
			*plmpg_figure(f, one, system, NDCG) = (float) plmpg_discount(i + 1);
		}
	}
	*plmpg_figure(f, one, system, NOVELTY) = n > 0 ? (float) (novelty / n) : 0;
}

/* evaluate_recommendations(catalog, visitors, samples) */
PG_FUNCTION_INFO_V1(product_llm_evaluate_recommendations);
Datum
product_llm_evaluate_recommendations(PG_FUNCTION_ARGS)
{
	static const int order[] = {TOGETHER, CONTENT, BLEND, POPULARITY, ITEM_COSINE, MARKOV, RANDOM_ORDER};
	PlmpgBudget budget = plmpg_budget();
	PlmpgShop  *shop;
	PlmpgSequences *s;
	NextRun		run = {0};
	int64		most = PG_INT64_MAX;
	int			samples;
	int64		n;
	int64	   *chosen;
	bool	   *given;
	PlmpgFigures f;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", PG_ARGISNULL(0) ? "catalog" : "samples")));
	if (!PG_ARGISNULL(1))
	{
		most = PG_GETARG_INT32(1);
		if (most < 1)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("visitors must be at least 1"),
					 errhint("Null means all visitors.")));
	}
	samples = plmpg_samples(PG_GETARG_INT32(2));
	shop = plmpg_shop(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	plmpg_shop_check_rights(shop);
	s = plmpg_sequences(&budget, shop);
	if (s == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("catalog \"%s\" has no events", shop->catalog),
				 errhint("product_llm.bind_events tells it where they are.")));
	chosen = plmpg_choose_visitors(&budget, s, 1, most, &n);
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("no visitor of catalog \"%s\" has two different products", shop->catalog)));

	run.training = plmpg_training(&budget, s, 1, true);
	run.blend = plmpg_blend(shop->settings);
	run.damped = plmpg_take(&budget, s->items, sizeof(double));
	plmpg_damped(run.training, run.blend.damping, run.damped);
	run.before = plmpg_before_room(&budget, s);
	run.seen = plmpg_take(&budget, s->items, sizeof(bool));
	run.together = plmpg_take(&budget, s->items, sizeof(float));
	run.content = plmpg_take(&budget, s->items, sizeof(float));
	run.scores = plmpg_take(&budget, s->items, sizeof(float));
	given = plmpg_take(&budget, SYSTEMS * s->items, sizeof(bool));
	f = plmpg_figures(&budget, system_names, SYSTEMS, metric_names, METRICS, n);

	for (int64 one = 0; one < n; one++)
	{
		plmpg_before(s, chosen[one], 1, &run.before);
		memset(run.seen, 0, s->items * sizeof(bool));
		for (int i = 0; i < run.before.n; i++)
			run.seen[run.before.item[i]] = true;
		for (int k = 0; k < SYSTEMS; k++)
		{
			int64		places[PLMPG_DEPTH];
			int			top;

			CHECK_FOR_INTERRUPTS();
			top = plmpg_top(score_system(&run, order[k], chosen[one]), run.seen, s->items, PLMPG_DEPTH, places);
			measure(&f, one, order[k], run.training, run.before.target, places, top, given + order[k] * s->items);
		}
	}
	for (int system = 0; system < SYSTEMS; system++)
	{
		int64		different = 0;

		for (int64 i = 0; i < s->items; i++)
			different += given[system * s->items + i];
		f.whole[system * METRICS + COVERAGE] = (double) different / (double) s->items;
	}
	plmpg_return_figures(fcinfo, &budget, &f, samples);
	return (Datum) 0;
}
