/*
 * fn_evaluate_tune_blend.c -- the constants of recommendations, fitted to a shop's own events.
 *
 * Coordinate descent from three places, the constants that come with the extension first, on each visitor's last item but
 * one; the last is never looked at, so that evaluate_recommendations() measures what was not fitted.
 */
#include "evaluate.h"

#include "miscadmin.h"

#define MOST_VISITORS 2000

static const double content_grid[] = {0, 0.1, 0.2, 0.4, 0.7, 1, 1.5, 2, 3};
static const double recency_grid[] = {0, 0.5, 1, 1.5, 2};
static const double damping_grid[] = {0, 0.15, 0.3, 0.5};
static const double popular_grid[] = {0, 0.01, 0.03, 0.1, 0.3};

/* The constants in the order in which they are tried. */
static const struct
{
	const char *name;
	size_t		offset;			/* in PlmpgBlend */
	const double *grid;
	int			n;
} constants[] = {
	{"content", offsetof(PlmpgBlend, content), content_grid, lengthof(content_grid)},
	{"recency", offsetof(PlmpgBlend, recency), recency_grid, lengthof(recency_grid)},
	{"damping", offsetof(PlmpgBlend, damping), damping_grid, lengthof(damping_grid)},
	{"popular", offsetof(PlmpgBlend, popular), popular_grid, lengthof(popular_grid)}
};

#define ROUNDS 2

/* One visitor; what is seen has no score. */
typedef struct FitCase
{
	PlmpgBefore before;
	float	   *together;		/* (items), scaled */
	float	   *content;
	double		most_visitors;	/* of what is not seen */
} FitCase;

typedef struct BlendFit
{
	PlmpgTraining *training;
	int64		n;
	FitCase    *cases;
	double	   *damped;
	bool	   *seen;
	PlmpgBlend	known;			/* what together was computed with */
} BlendFit;

static void
mark_seen(const FitCase *c, bool *seen, bool value)
{
	for (int i = 0; i < c->before.n; i++)
		seen[c->before.item[i]] = value;
}

static void
compute_together(BlendFit *fit, const PlmpgBlend *blend)
{
	int64		items = fit->training->sequences->items;

	if (blend->recency == fit->known.recency && blend->damping == fit->known.damping)
		return;
	plmpg_damped(fit->training, blend->damping, fit->damped);
	for (int64 i = 0; i < fit->n; i++)
	{
		FitCase    *c = &fit->cases[i];

		CHECK_FOR_INTERRUPTS();
		plmpg_score_together(fit->training, blend, fit->damped, &c->before, c->together);
		mark_seen(c, fit->seen, true);
		plmpg_scale(c->together, fit->seen, items);
		mark_seen(c, fit->seen, false);
	}
	fit->known = *blend;
}

/* nDCG@10 of one: how many come before the target? */
static double
ndcg_of(const BlendFit *fit, const FitCase *c, const PlmpgBlend *blend)
{
	const double *visitors = fit->training->visitors;
	double		scale = c->most_visitors > 0 ? 1 / c->most_visitors : 0;
	int32		target = c->before.target;
	float		mark = (float) plmpg_blend_score(blend, c->together[target], c->content[target], visitors[target] * scale);
	int			rank = 1;

	for (int64 i = 0; i < fit->training->sequences->items && rank <= PLMPG_DEPTH; i++)
	{
		float		score = (float) plmpg_blend_score(blend, c->together[i], c->content[i], visitors[i] * scale);

		if ((score > mark || (score == mark && i < target)) && !fit->seen[i])
			rank++;
	}
	return rank <= PLMPG_DEPTH ? plmpg_discount(rank) : 0;
}

static double
mean_ndcg(BlendFit *fit, const PlmpgBlend *blend)
{
	double		sum = 0;

	compute_together(fit, blend);
	for (int64 i = 0; i < fit->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		mark_seen(&fit->cases[i], fit->seen, true);
		sum += ndcg_of(fit, &fit->cases[i], blend);
		mark_seen(&fit->cases[i], fit->seen, false);
	}
	return sum / (double) fit->n;
}

static void
prepare_case(PlmpgBudget *budget, BlendFit *fit, PlmpgBefore *room, int64 visitor, FitCase *c)
{
	const PlmpgSequences *s = fit->training->sequences;

	plmpg_before(s, visitor, 2, room);
	c->before = *room;
	c->before.item = plmpg_take(budget, room->n, sizeof(int32));
	c->before.weight = plmpg_take(budget, room->n, sizeof(float));
	memcpy(c->before.item, room->item, room->n * sizeof(int32));
	memcpy(c->before.weight, room->weight, room->n * sizeof(float));
	c->together = plmpg_take(budget, s->items, sizeof(float));
	c->content = plmpg_take(budget, s->items, sizeof(float));
	plmpg_score_content(fit->training, &c->before, c->content);
	mark_seen(c, fit->seen, true);
	plmpg_scale(c->content, fit->seen, s->items);
	for (int64 i = 0; i < s->items; i++)
		if (!fit->seen[i])
			c->most_visitors = Max(c->most_visitors, fit->training->visitors[i]);
	mark_seen(c, fit->seen, false);
}

static double *
constant(PlmpgBlend *blend, int k)
{
	return (double *) ((char *) blend + constants[k].offset);
}

static PlmpgBlend
descend(BlendFit *fit, PlmpgBlend blend, double *best)
{
	*best = mean_ndcg(fit, &blend);
	for (int round = 0; round < ROUNDS; round++)
		for (int k = 0; k < (int) lengthof(constants); k++)
			for (int x = 0; x < constants[k].n; x++)
			{
				PlmpgBlend	other = blend;
				double		value;

				*constant(&other, k) = constants[k].grid[x];
				value = mean_ndcg(fit, &other);
				if (value > *best + 1e-9)
				{
					*best = value;
					blend = other;
				}
			}
	return blend;
}

void
plmpg_fit_blend(PlmpgBudget *budget, PlmpgShop *shop, PlmpgSettings *settings)
{
	PlmpgSequences *s = plmpg_sequences(budget, shop);
	PlmpgBlend	old = plmpg_blend(shop->settings);
	PlmpgBlend	new = old;
	/* One constant at a time leads astray where two must change together: shops whose products are rare, or bought at once. */
	PlmpgBlend	starts[] = {
		plmpg_blend_default(),
		{.recency = 0.5, .damping = 0, .content = 1, .popular = 0.1},
		{.recency = 0, .damping = 0.5, .content = 0.2, .popular = 0.01}
	};
	BlendFit	fit = {.known = {.recency = -1}};
	PlmpgBefore room;
	int64	   *chosen;
	int64		affordable;
	double		before = NAN,
				after = NAN;

	if (s == NULL)
		return;
	fit.training = plmpg_training(budget, s, 2, false);
	fit.damped = plmpg_take(budget, s->items, sizeof(double));
	fit.seen = plmpg_take(budget, s->items, sizeof(bool));
	room = plmpg_before_room(budget, s);
	/* A visitor takes two rows over all items, and its history. */
	affordable = plmpg_budget_left(budget) * 3 / 4 / (s->items * 2 * (int64) sizeof(float) + 10000);
	chosen = plmpg_choose_visitors(budget, s, 2, Min(affordable, MOST_VISITORS), &fit.n);
	if (fit.n < PLMPG_FEWEST)
		plmpg_too_few("recommendations (visitors with three different products)", fit.n);
	else
	{
		fit.cases = plmpg_take(budget, fit.n, sizeof(FitCase));
		for (int64 i = 0; i < fit.n; i++)
		{
			CHECK_FOR_INTERRUPTS();
			prepare_case(budget, &fit, &room, chosen[i], &fit.cases[i]);
		}
		before = mean_ndcg(&fit, &old);
		after = before;
		for (int i = 0; i < (int) lengthof(starts); i++)
		{
			double		value;
			PlmpgBlend	found = descend(&fit, starts[i], &value);

			if (value > after + 1e-9)
			{
				new = found;
				after = value;
			}
		}
	}
	for (int k = 0; k < (int) lengthof(constants); k++)
		plmpg_put_setting(settings, constants[k].name, *constant(&old, k), *constant(&new, k), "nDCG@10 of the last item but one", before, after);
}
