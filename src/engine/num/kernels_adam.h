/*
 * kernels_adam.h -- one step of AdamW over a run of weights; included by kernels_rows.h.
 *
 * Without fused multiplications, so that every level gives the same bits.
 */

typedef struct AdamVectors
{
	VF			beta1, rest1, beta2, rest2, epsilon, scale, keep, rate, correction;
} AdamVectors;

static inline AdamVectors
adam_vectors(const PlmAdam *a)
{
	return (AdamVectors) {
		v_set1(a->beta1), v_set1(1 - a->beta1), v_set1(a->beta2), v_set1(1 - a->beta2), v_set1(a->epsilon),
		v_set1(a->scale), v_set1(a->keep), v_set1(a->rate), v_set1(a->correction)
	};
}

static inline VF
adam_step(const AdamVectors *a, VF g, VF w, VF *m, VF *v)
{
	g = g * a->scale;
	*m = *m * a->beta1 + g * a->rest1;
	*v = *v * a->beta2 + g * g * a->rest2;
	return w * a->keep - a->rate * *m / (v_sqrt(*v) * a->correction + a->epsilon);
}

static void
adam(int64_t n, const PlmAdam *how, const float *g, float *w, float *m, float *v)
{
	AdamVectors a = adam_vectors(how);
	int64_t		i = 0;

	for (; i + VN <= n; i += VN)
	{
		VF			m1 = v_load(m + i);
		VF			v1 = v_load(v + i);

		v_store(w + i, adam_step(&a, v_load(g + i), v_load(w + i), &m1, &v1));
		v_store(m + i, m1);
		v_store(v + i, v1);
	}
	if (i < n)
	{
		VF			m1 = v_load_n(m + i, n - i);
		VF			v1 = v_load_n(v + i, n - i);

		v_store_n(w + i, adam_step(&a, v_load_n(g + i, n - i), v_load_n(w + i, n - i), &m1, &v1), n - i);
		v_store_n(m + i, m1, n - i);
		v_store_n(v + i, v1, n - i);
	}
}
