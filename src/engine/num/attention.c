/*
 * attention.c -- softmax(q k^T * scale) v for one head, on the fp32 tiles.
 *
 * The keys of the text are packed as panels with D inputs and T outputs, the values as panels with T
 * inputs and D outputs; then both products are plm_product().  Queries go in blocks, so that the
 * scores of a block, not of the whole text, are held.
 */
#include "kernels.h"
#include "transpose.h"

#include <math.h>
#include <string.h>

/* Queries whose scores are held at once. */
#define QUERY_ROWS 48

static size_t
panels_of(int64_t n)
{
	return (size_t) ((n + PLM_PANEL - 1) / PLM_PANEL);
}

static size_t
keys_bytes(int64_t t, int64_t d)
{
	return panels_of(t) * (size_t) d * PLM_PANEL * sizeof(float);
}

static size_t
values_bytes(int64_t t, int64_t d)
{
	return panels_of(d) * (size_t) t * PLM_PANEL * sizeof(float);
}

/* Distance of the rows of scores: odd in lines of the cache, so that rows do not share its sets. */
static int64_t
scores_ld(int64_t t)
{
	return (t + 31) / 32 * 32 + 16;
}

static int64_t
query_rows(int64_t t)
{
	return t < QUERY_ROWS ? t : QUERY_ROWS;
}

size_t
plm_attention_scratch(int64_t t, int64_t d)
{
	if (t <= 0 || d <= 0)
		return 0;
	return plm_align(keys_bytes(t, d) + values_bytes(t, d) +
					 (size_t) query_rows(t) * (size_t) scores_ld(t) * sizeof(float), 64) +
		plm_product_scratch(PLM_PREC_F32, query_rows(t));
}

/* panel[i / 32][c][i % 32] = k[i,c]; keys past the last are zero. */
static void
pack_keys(int64_t t, int64_t d, const float *k, int64_t ld, float *panel)
{
	for (int64_t i = 0; i < t; i += PLM_PANEL, panel += d * PLM_PANEL)
	{
		int64_t		n = t - i < PLM_PANEL ? t - i : PLM_PANEL;

		if (n < PLM_PANEL)
			memset(panel, 0, (size_t) d * PLM_PANEL * sizeof(float));
		transpose(k + i * ld, ld, n, d, panel, PLM_PANEL);
	}
}

/* panel[c / 32][i][c % 32] = v[i,c]; columns past the last are zero. */
static void
pack_values(int64_t t, int64_t d, const float *v, int64_t ld, float *panel)
{
	for (int64_t c = 0; c < d; c += PLM_PANEL)
	{
		int64_t		n = d - c < PLM_PANEL ? d - c : PLM_PANEL;

		for (int64_t i = 0; i < t; i++, panel += PLM_PANEL)
		{
			plm_copy_row(panel, v + i * ld + c, n);
			for (int64_t j = n; j < PLM_PANEL; j++)
				panel[j] = 0;
		}
	}
}

/*
 * In a causal block every query is multiplied with the keys up to the block's last; those after the
 * query itself get the weight 0, which leaves the sum over the values as it is, bit for bit.
 */
void
plm_attention(int64_t t, int64_t d, const float *q, const float *k, const float *v, int64_t ld,
			  float scale, bool causal, float *out, int64_t ldo, void *scratch)
{
	const PlmKernels *kern = plm_kernels();
	float	   *keys = scratch;
	float	   *values = keys + keys_bytes(t, d) / sizeof(float);
	float	   *scores = values + values_bytes(t, d) / sizeof(float);
	int64_t		lds = scores_ld(t);
	int64_t		step = query_rows(t);
	void	   *rest = (char *) scratch + plm_align((size_t) ((char *) (scores + step * lds) - (char *) scratch), 64);

	if (t <= 0 || d <= 0)
		return;
	pack_keys(t, d, k, ld, keys);
	pack_values(t, d, v, ld, values);
	for (int64_t i = 0; i < t; i += step)
	{
		int64_t		rows = t - i < step ? t - i : step;
		int64_t		seen = causal ? i + rows : t;
		PlmPanels	by_key = {PLM_PREC_F32, keys, (size_t) d * PLM_PANEL * sizeof(float), seen, d};
		PlmPanels	by_value = {PLM_PREC_F32, values, (size_t) t * PLM_PANEL * sizeof(float), d, seen};

		plm_product(kern, &by_key, NULL, rows, q + i * ld, ld, NULL, scores, lds, PLM_ACT_NONE, rest);
		for (int64_t r = 0; r < rows; r++)
		{
			int64_t		n = causal ? i + r + 1 : t;

			kern->row->softmax(scores + r * lds, n, scale);
			for (int64_t j = n; j < seen; j++)
				scores[r * lds + j] = 0;
		}
		plm_product(kern, &by_value, NULL, rows, scores, lds, NULL, out + i * ldo, ldo, PLM_ACT_NONE, rest);
	}
}
