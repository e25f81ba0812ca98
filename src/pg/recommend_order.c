/*
 * recommend_order.c -- what becomes of candidates that have their scores: diversity, sources and reasons; see recommend.h.
 */
#include "recommend.h"

#include "miscadmin.h"

#include "fn.h"

#define MOST_NAMED 3			/* products that `because` names */

/* ---- diversity ---- */

void
plmpg_recommend_diversify(PlmpgRecommending *r, double diversity)
{
	PlmpgCandidates *c = r->candidates;
	int64		pool = Min(c->n, PLMPG_POOL * r->most);
	double	   *nearest;
	PlmpgVectors *vectors;
	double		best = c->n > 0 ? c->rows[0].score : 0;

	if (diversity <= 0 || pool < 2)
		return;
	vectors = plmpg_vectors(r->shop, plmpg_candidate_keys(c, 0, pool));
	nearest = palloc0(pool * sizeof(double));
	for (int64 chosen = 0; chosen < Min(r->most, pool); chosen++)
	{
		int64		next = chosen;
		double		value = -PG_INT32_MAX;
		const float *v;
		PlmpgCandidate row;
		double		near;

		CHECK_FOR_INTERRUPTS();
		for (int64 i = chosen; i < pool; i++)
		{
			double		gain = (1 - diversity) * plmpg_part(c->rows[i].score, best) - diversity * nearest[i];

			if (gain > value)
			{
				value = gain;
				next = i;
			}
		}
		row = c->rows[next];
		near = nearest[next];
		memmove(&c->rows[chosen + 1], &c->rows[chosen], (next - chosen) * sizeof(PlmpgCandidate));
		memmove(&nearest[chosen + 1], &nearest[chosen], (next - chosen) * sizeof(double));
		c->rows[chosen] = row;
		nearest[chosen] = near;
		v = plmpg_vectors_of(vectors, row.key);
		for (int64 i = chosen + 1; v != NULL && i < pool; i++)
		{
			const float *w = plmpg_vectors_of(vectors, c->rows[i].key);

			if (w != NULL)
				nearest[i] = Max(nearest[i], plm_dot(v, w, vectors->dimensions));
		}
	}
}

/* ---- reasons ---- */

const char *
plmpg_recommend_source(const PlmpgRecommending *r, const PlmpgCandidate *c)
{
	double		together = plmpg_part(c->together, r->best_together);
	double		content = r->blend.content * plmpg_part(c->content, r->best_content);

	if (together <= 0 && content <= 0)
		return "popular";
	return together >= content ? "together" : "content";
}

ArrayType *
plmpg_recommend_because(const PlmpgRecommending *r, const PlmpgCandidate *c)
{
	double		given[PLMPG_RECENT];
	const char *names[MOST_NAMED];
	double		sum = 0;
	int			n = 0;

	for (int i = 0; i < r->recent; i++)
	{
		given[i] = plmpg_part(c->given[i], r->best_together);
		if (i == c->nearest)
			given[i] += r->blend.content * plmpg_part(c->content, r->best_content);
		sum += given[i];
	}
	while (n < MOST_NAMED)
	{
		int			best = -1;

		for (int i = 0; i < r->recent; i++)
			if (r->own[i].named && given[i] > 0 && (best < 0 || given[i] > given[best]))
				best = i;
		if (best < 0 || given[best] < 0.1 * sum)
			break;
		names[n++] = r->own[best].key;
		given[best] = 0;
	}
	return plmpg_text_array(names, n);
}
