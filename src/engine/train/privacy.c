/*
 * privacy.c -- what a private training spends, and how much noise a budget asks for.
 *
 * One step draws each example with probability q, and adds to the sum of clipped gradients normal noise of s times the clipping
 * norm: the Poisson-subsampled Gaussian mechanism.  Its Renyi divergence at an integer order a is at most (Mironov, Talwar, Zhang
 * 2019, theorems 4, 5 and section 3.3; one example more or less)
 *
 *     R(a) = log(sum over k = 0 .. a of C(a,k) (1 - q)^(a - k) q^k exp(k (k - 1) / (2 s^2))) / (a - 1)
 *
 * which adds up over steps, and the best order gives (Canonne, Kamath, Steinke 2020, proposition 12)
 *
 *     epsilon = min over a of steps R(a) + log((a - 1) / a) - (log(delta) + log(a)) / (a - 1)
 */
#include "internal.h"

#include <math.h>

#define LEAST_ORDER 2
#define MOST_ORDER 256
#define LEAST_NOISE 0.01
#define MOST_NOISE 1e5

/* log(exp(x) + exp(y)) */
static double
log_add(double x, double y)
{
	double		most = x > y ? x : y;
	double		least = x > y ? y : x;

	return least == -INFINITY ? most : most + log1p(exp(least - most));
}

double
plm_privacy_divergence(double noise, double rate, int order)
{
	double		drawn = log(rate);
	double		left = log1p(-rate);
	double		ways = 0;		/* log C(order,k) */
	double		sum = -INFINITY;

	if (rate >= 1)
		return order / (2 * noise * noise);
	for (int k = 0; k <= order; k++)
	{
		sum = log_add(sum, ways + (order - k) * left + k * drawn + (double) k * (k - 1) / (2 * noise * noise));
		ways += log(order - k) - log(k + 1);
	}
	return sum / (order - 1);
}

double
plm_privacy_spent(double noise, double rate, int64_t steps, double delta)
{
	double		best = INFINITY;

	if (steps <= 0 || rate <= 0)
		return 0;
	for (int a = LEAST_ORDER; noise > 0 && a <= MOST_ORDER; a++)
	{
		double		epsilon = (double) steps * plm_privacy_divergence(noise, rate, a) + log((double) (a - 1) / a) - (log(delta) + log(a)) / (a - 1);

		best = epsilon < best ? epsilon : best;
	}
	return best > 0 ? best : 0;
}

double
plm_privacy_noise(double epsilon, double delta, double rate, int64_t steps)
{
	double		low = LEAST_NOISE;
	double		high = LEAST_NOISE;

	while (!(plm_privacy_spent(high, rate, steps, delta) <= epsilon))
	{
		if (high >= MOST_NOISE)
			return INFINITY;
		low = high;
		high *= 2;
	}
	/* high is enough all the way, so what comes out never spends more than was granted. */
	while (high - low > 1e-6 * high)
	{
		double		middle = (low + high) / 2;

		if (plm_privacy_spent(middle, rate, steps, delta) <= epsilon)
			high = middle;
		else
			low = middle;
	}
	return high;
}
