/*
 * kernels_activate.h -- e^x, activations and their slopes over the vector type of kernels_rows.h, which includes this.
 */

/* e^x within 2 units in the last place; 0 below -87.3, e^88.3 above; NaN stays.  Cody and Waite's reduction. */
static inline VF
v_exp(VF x)
{
	VF			lo = v_set1(-87.3f);
	VF			c = v_min(v_set1(88.3f), v_max(lo, x));
	VF			n = v_rint(c * v_set1(1.44269504f));
	VF			r = v_fnma(n, v_set1(0.693359375f), c);
	VF			p;

	r = v_fnma(n, v_set1(-2.12194440e-4f), r);
	p = v_fma(v_set1(1.395053699e-03f), r, v_set1(8.368917384e-03f));
	p = v_fma(p, r, v_set1(4.166620512e-02f));
	p = v_fma(p, r, v_set1(1.666651861e-01f));
	p = v_fma(p, r, v_set1(5.000000095e-01f));
	p = v_fma(p, r * r, r) + v_set1(1.0f);
	return v_keep_ge(p * v_pow2(n), x, lo);
}

static inline VF
v_sigmoid(VF x)
{
	return v_set1(1.0f) / (v_set1(1.0f) + v_exp(v_zero() - x));
}

/*
 * x Phi(x) = max(x, 0) - |x| Q(|x|), with Q the upper tail of the normal distribution: no
 * cancellation for negative x.  Q(a) = e^(-a^2/2) R(a), and R, smooth, is a polynomial on [0, 5.6];
 * beyond, e^(-a^2/2) is below 2e-7.  Coefficients: weighted minimax fit in u = a / 2.8 - 1.
 */
static inline VF
v_gelu(VF x)
{
	VF			a = v_abs(x);
	VF			u = v_fma(v_min(v_set1(5.6f), a), v_set1(1.0f / 2.8f), v_set1(-1.0f));
	VF			p = v_set1(2.790630083e-02f);

	p = v_fma(p, u, v_set1(4.032832651e-02f));
	p = v_fma(p, u, v_set1(2.196002697e-02f));
	p = v_fma(p, u, v_set1(-3.207704733e-02f));
	p = v_fma(p, u, v_set1(1.272650024e-03f));
	p = v_fma(p, u, v_set1(-3.046116696e-02f));
	p = v_fma(p, u, v_set1(4.562213428e-02f));
	p = v_fma(p, u, v_set1(-6.105554973e-02f));
	p = v_fma(p, u, v_set1(8.376944524e-02f));
	p = v_fma(p, u, v_set1(-1.074225863e-01f));
	p = v_fma(p, u, v_set1(1.287790352e-01f));
	return v_fnma(a, p * v_exp(a * a * v_set1(-0.5f)), v_max(v_zero(), x));
}

/* 0.5 x (1 + tanh(w)) = x / (1 + e^(-2w)) with w = sqrt(2/pi) (x + 0.044715 x^3). */
static inline VF
v_gelu_tanh(VF x)
{
	VF			w = x * v_fma(x * x, v_set1(0.0713548163f), v_set1(1.59576912f));

	return x * v_sigmoid(w);
}

/* (1 - e) / (1 + e) with e = e^(-2|x|), signed. */
static inline VF
v_tanh(VF x)
{
	VF			e = v_exp(v_abs(x) * v_set1(-2.0f));

	return v_neg_if((v_set1(1.0f) - e) / (v_set1(1.0f) + e), x);
}

#define ACTIVATE_LOOP(f) \
	do { \
		int64_t		i = 0; \
		for (; i + VN <= n; i += VN) \
		{ \
			VF			v = v_load(x + i); \
			v_store(x + i, f); \
		} \
		if (i < n) \
		{ \
			VF			v = v_load_n(x + i, n - i); \
			v_store_n(x + i, f, n - i); \
		} \
	} while (0)

static void
activate(PlmActivation act, float *x, int64_t n)
{
	switch (act)
	{
		case PLM_ACT_GELU:
			ACTIVATE_LOOP(v_gelu(v));
			break;
		case PLM_ACT_GELU_TANH:
			ACTIVATE_LOOP(v_gelu_tanh(v));
			break;
		case PLM_ACT_RELU:
			ACTIVATE_LOOP(v_max(v_zero(), v));
			break;
		case PLM_ACT_SILU:
			ACTIVATE_LOOP(v * v_sigmoid(v));
			break;
		case PLM_ACT_TANH:
			ACTIVATE_LOOP(v_tanh(v));
			break;
		case PLM_ACT_SIGMOID:
			ACTIVATE_LOOP(v_sigmoid(v));
			break;
		case PLM_ACT_NONE:
			break;
	}
}

/*
 * Phi(x) + x phi(x) = 1 - e^(-a^2/2) S(a) for x >= 0 and e^(-a^2/2) S(a) below, with a = |x| and S(a) = R(a) - a / sqrt(2 pi),
 * R as in v_gelu(); beyond 6, e^(-a^2/2) is below 2e-8.  S(a) = 1/2 + a T(a), which leaves little rounding near 0; the
 * coefficients of T: weighted minimax fit in u = a / 3 - 1.
 */
static inline VF
v_gelu_slope(VF x)
{
	VF			a = v_abs(x);
	VF			near = v_min(v_set1(6.0f), a);
	VF			u = v_fma(near, v_set1(1.0f / 3.0f), v_set1(-1.0f));
	VF			right = v_keep_ge(v_set1(1.0f), x, v_zero());
	VF			p = v_set1(-2.015574333e-02f);

	p = v_fma(p, u, v_set1(-3.949725512e-02f));
	p = v_fma(p, u, v_set1(-3.446720898e-02f));
	p = v_fma(p, u, v_set1(8.18108745e-03f));
	p = v_fma(p, u, v_set1(1.723901354e-03f));
	p = v_fma(p, u, v_set1(2.345240224e-02f));
	p = v_fma(p, u, v_set1(-2.860630981e-02f));
	p = v_fma(p, u, v_set1(4.30057525e-02f));
	p = v_fma(p, u, v_set1(-6.436894352e-02f));
	p = v_fma(p, u, v_set1(9.176389871e-02f));
	p = v_fma(p, u, v_set1(-5.251036995e-01f));
	p = v_fma(p, near, v_set1(0.5f)) * v_exp(a * a * v_set1(-0.5f));
	return v_fnma(v_fma(v_set1(2.0f), right, v_set1(-1.0f)), p, right);
}

/* The slope s (1 - s) of the logistic function, from e = e^-|w|, so that 1 - s does not cancel. */
static inline VF
v_logistic_slope(VF w)
{
	VF			e = v_exp(v_zero() - v_abs(w));
	VF			d = v_set1(1.0f) + e;

	return e / (d * d);
}

/* The same, and s. */
static inline VF
v_sigmoid_slope(VF w, VF *s)
{
	VF			e = v_exp(v_zero() - v_abs(w));
	VF			large = v_set1(1.0f) / (v_set1(1.0f) + e);
	VF			small = e * large;

	*s = v_keep_ge(large - small, w, v_zero()) + small;
	return small * large;
}

/* Within bounds where the slope of the logistic function is 0 already: 0 times infinity would be NaN. */
static inline VF
v_clamp(VF x, float bound)
{
	return v_min(v_set1(bound), v_max(v_set1(-bound), x));
}

/* s + x s' with s = sigmoid(x) */
static inline VF
v_silu_slope(VF x)
{
	VF			s;
	VF			slope = v_sigmoid_slope(x, &s);

	return v_fma(v_clamp(x, 100.0f), slope, s);
}

/* y = x s(w): s + x w' s', with w as in v_gelu_tanh() */
static inline VF
v_gelu_tanh_slope(VF x)
{
	VF			c = v_clamp(x, 30.0f);
	VF			xx = c * c;
	VF			s;
	VF			slope = v_sigmoid_slope(c * v_fma(xx, v_set1(0.0713548163f), v_set1(1.59576912f)), &s);

	return v_fma(c * v_fma(xx, v_set1(3 * 0.0713548163f), v_set1(1.59576912f)), slope, s);
}

/* 1 - tanh(x)^2 = 4 s' with s = sigmoid(2x) */
static inline VF
v_tanh_slope(VF x)
{
	return v_set1(4.0f) * v_logistic_slope(x + x);
}

#define SLOPE_LOOP(f) \
	do { \
		int64_t		i = 0; \
		for (; i + VN <= n; i += VN) \
		{ \
			VF			v = v_load(x + i); \
			VF			d = v_load(dy + i); \
			v_store(dy + i, f); \
		} \
		if (i < n) \
		{ \
			VF			v = v_load_n(x + i, n - i); \
			VF			d = v_load_n(dy + i, n - i); \
			v_store_n(dy + i, f, n - i); \
		} \
	} while (0)

static void
activate_backward(PlmActivation act, const float *x, float *dy, int64_t n)
{
	switch (act)
	{
		case PLM_ACT_GELU:
			SLOPE_LOOP(d * v_gelu_slope(v));
			break;
		case PLM_ACT_GELU_TANH:
			SLOPE_LOOP(d * v_gelu_tanh_slope(v));
			break;
		case PLM_ACT_RELU:
			/* the least number above zero: at zero the slope is 0 */
			SLOPE_LOOP(v_keep_ge(d, v, v_set1(0x1p-149f)));
			break;
		case PLM_ACT_SILU:
			SLOPE_LOOP(d * v_silu_slope(v));
			break;
		case PLM_ACT_TANH:
			SLOPE_LOOP(d * v_tanh_slope(v));
			break;
		case PLM_ACT_SIGMOID:
			SLOPE_LOOP(d * v_logistic_slope(v));
			break;
		case PLM_ACT_NONE:
			break;
	}
}
