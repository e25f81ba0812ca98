/*
 * kernels_tile.h -- the fp32 tile, written once over the vector type of the file that includes it
 * (see kernels_rows.h), and the choice of how many rows, vectors and panels one pass takes.
 *
 * Every element is one chain of fused multiply-adds along K, in every shape of tile.
 */

/* Sums held in registers; with all loops unrolled the array has no address and lives in registers. */
#define TILE_SUMS 32

/*
 * One pass: R rows times V vectors of each of P panels, from vector `first` of the panel.  Whichever are fewer wait in registers for the
 * others to come one by one: rows, or vectors of the weights.
 */
static inline __attribute__((always_inline)) void
tile_pass(const PlmTile *t, const int R, const int P, const int V, int panel, int first)
{
	const float *x = t->x;
	const float *w = (const float *) ((const char *) t->panel + (size_t) panel * t->panel_stride) + first * VN;
	const size_t next = t->panel_stride / sizeof(float);
	/* Local, because the stores to y might otherwise change them. */
	const float *bias = t->bias;
	const float *add = t->add;
	float	   *y = t->y;
	const int64_t ldy = t->ldy;
	const char *ahead = t->ahead != NULL ? t->ahead : (const char *) w + PLM_PREFETCH;
	const int64_t ahead_step = t->ahead != NULL ? t->ahead_step : PLM_PANEL * (int) sizeof(float);
	VF			sum[TILE_SUMS];

#pragma GCC unroll 32
	for (int i = 0; i < R * P * V; i++)
		sum[i] = v_set1(0.0f);
	for (int64_t u = t->units; u > 0; u--)
	{
		VF			held[PLM_TILE_PANELS * 4];

#pragma GCC unroll 4
		for (int j = 0; j < V * VN; j += 16)
			__builtin_prefetch(ahead + j * (int) sizeof(float));
		ahead += ahead_step;
		if (R < P * V)
		{
#pragma GCC unroll 12
			for (int r = 0; r < R; r++)
				held[r] = v_set1(x[r * PLM_X_LD]);
#pragma GCC unroll 16
			for (int j = 0; j < P * V; j++)
			{
				VF			b = v_load(w + (size_t) (j / V) * next + j % V * VN);

#pragma GCC unroll 12
				for (int r = 0; r < R; r++)
					sum[r * P * V + j] = v_fma(held[r], b, sum[r * P * V + j]);
			}
		}
		else
		{
#pragma GCC unroll 16
			for (int j = 0; j < P * V; j++)
				held[j] = v_load(w + (size_t) (j / V) * next + j % V * VN);
#pragma GCC unroll 12
			for (int r = 0; r < R; r++)
			{
				VF			a = v_set1(x[r * PLM_X_LD]);

#pragma GCC unroll 16
				for (int j = 0; j < P * V; j++)
					sum[r * P * V + j] = v_fma(a, held[j], sum[r * P * V + j]);
			}
		}
		x++;
		w += PLM_PANEL;
	}
#pragma GCC unroll 12
	for (int r = 0; r < R; r++)
#pragma GCC unroll 16
		for (int j = 0; j < P * V; j++)
		{
			int			at = (panel + j / V) * PLM_PANEL + (first + j % V) * VN;
			VF			v = sum[r * P * V + j];

			if (bias != NULL)
				v = v + v_load(bias + at);
			if (add != NULL)
				v = v + v_load(add + r * ldy + at);
			v_store(y + r * ldy + at, v);
		}
}

/* All panels of the tile, P at a time as long as there are P, each in strips of V vectors. */
static inline __attribute__((always_inline)) void
tile_strips(const PlmTile *t, const int R, const int P, const int V)
{
	int			panel = 0;

	for (; P > 1 && panel + P <= t->panels; panel += P)
		for (int first = 0; first < PLM_PANEL / VN; first += V)
			tile_pass(t, R, P, V, panel, first);
	for (; panel < t->panels; panel++)
		for (int first = 0; first < PLM_PANEL / VN; first += V)
			tile_pass(t, R, 1, V, panel, first);
}
