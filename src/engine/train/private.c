/*
 * private.c -- a step whose gradient tells little of any one example (DP-SGD: Abadi et al. 2016).
 *
 *     g = (sum over drawn examples of min(1, clip / |g_i|) g_i + noise clip N(0, 1)) / batch
 *
 * Each example is drawn by itself with probability batch / rows.  The divisor is the expected number of them, not the drawn one,
 * which would tell of the draw.  Nothing of an example's gradient, dropout neither, depends on the others that are drawn (pass.c),
 * so that one of them, clipped (clip.c), moves the sum by clip at most.  How much noise: privacy.c.
 *
 * Who knows the draws and the noise can take them away again, so they come from ChaCha20 (Bernstein 2008) under a key of 256 bits
 * that the host draws from the system's strong random and that only the run's state holds.  Counter-based: the same bits for any
 * number of threads, and after resuming.
 */
#include "internal.h"

#include <math.h>
#include <string.h>

#define NORMALS 8				/* of a block */

static inline uint32_t
rotate(uint32_t x, int by)
{
	return x << by | x >> (32 - by);
}

static inline void
quarter(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d)
{
	*a += *b, *d = rotate(*d ^ *a, 16);
	*c += *d, *b = rotate(*b ^ *c, 12);
	*a += *b, *d = rotate(*d ^ *a, 8);
	*c += *d, *b = rotate(*b ^ *c, 7);
}

void
plm_secret_block(const uint32_t key[8], uint64_t stream, uint64_t number, uint32_t out[16])
{
	const uint32_t start[16] = {
		0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, key[0], key[1], key[2], key[3], key[4], key[5], key[6], key[7],
		(uint32_t) number, (uint32_t) (number >> 32), (uint32_t) stream, (uint32_t) (stream >> 32)
	};

	memcpy(out, start, sizeof(start));
	for (int round = 0; round < 10; round++)
	{
		for (int i = 0; i < 4; i++)
			quarter(&out[i], &out[4 + i], &out[8 + i], &out[12 + i]);
		for (int i = 0; i < 4; i++)
			quarter(&out[i], &out[4 + (i + 1) % 4], &out[8 + (i + 2) % 4], &out[12 + (i + 3) % 4]);
	}
	for (int i = 0; i < 16; i++)
		out[i] += start[i];
}

/* Of the step that comes next. */
static uint64_t
secret_stream(const PlmTrainer *t, bool noise)
{
	return 2 * (uint64_t) t->at_step + noise;
}

/* Word pair k of a block as a number in (0, 1). */
static double
uniform(const uint32_t block[16], int k)
{
	uint64_t	x = (uint64_t) block[2 * k] << 32 | block[2 * k + 1];

	return ((double) (x >> 12) + 0.5) * 0x1p-52;
}

bool
plm_private(const PlmTrainer *t)
{
	return t->options.privacy_epsilon > 0;
}

double
plm_private_rate(const PlmTrainer *t)
{
	return (double) t->options.batch / (double) plm_examples_count(t->train);
}

PlmStatus
plm_private_draw(const PlmTrainer *t, int64_t *drawn, int64_t *count, PlmError *err)
{
	int64_t		rows = plm_examples_count(t->train);
	double		rate = plm_private_rate(t);
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, t->options.hook);
	uint32_t	block[16];
	int64_t		n = 0;

	for (int64_t i = 0; i < rows; i++)
	{
		if (i % PIECE_FLOATS == 0 && plm_stopped(&worker))
			return plm_cancelled(err);
		if (i % 8 == 0)
			plm_secret_block(t->options.privacy_key, secret_stream(t, false), (uint64_t) i / 8, block);
		if (uniform(block, (int) (i % 8)) >= rate)
			continue;
		if (drawn != NULL)
			drawn[n] = i;
		n++;
	}
	*count = n;
	return PLM_OK;
}

static PlmStatus
check_private(const PlmTrainer *t, PlmError *err)
{
	const PlmTrainOptions *o = &t->options;
	int64_t		rows = plm_examples_count(t->train);

	if (o->batch > rows)
	{
		plm_fail(err, PLM_EARG, 0, "a private training cannot draw %" PRId32 " of %" PRId64 " examples in each step", o->batch, rows);
		return plm_hint(err, "A smaller \"batch\" hides each example among the others.");
	}
	if (o->privacy_delta * (double) rows >= 1)
	{
		plm_fail(err, PLM_EARG, 0, "a delta of %g protects nobody among %" PRId64 " examples", o->privacy_delta, rows);
		return plm_hint(err, "Option \"privacy_delta\" must be well below 1 / rows: publishing a row at random would be private by it.");
	}
	return PLM_OK;
}

PlmStatus
plm_private_open(PlmTrainer *t, PlmError *err)
{
	const PlmTrainOptions *o = &t->options;

	if (!plm_private(t))
		return PLM_OK;
	PLM_TRY(check_private(t, err));
	t->noise = plm_privacy_noise(o->privacy_epsilon, o->privacy_delta, plm_private_rate(t), t->steps);
	if (!isfinite(t->noise))
	{
		plm_fail(err, PLM_EARG, 0, "no noise is enough for an epsilon of %g at a delta of %g in %" PRId64 " steps", o->privacy_epsilon,
				 o->privacy_delta, t->steps);
		return plm_hint(err, "Usual values are an epsilon from 1 to 10 and a delta of a tenth of 1 / rows.");
	}
	return PLM_OK;
}

PlmPrivacy
plm_trainer_privacy(const PlmTrainer *t)
{
	const PlmTrainOptions *o = &t->options;

	if (!plm_private(t))
		return (PlmPrivacy) {0};
	return (PlmPrivacy) {
		.epsilon = plm_privacy_spent(t->noise, plm_private_rate(t), t->at_step, o->privacy_delta), .delta = o->privacy_delta,
		.noise = t->noise, .clip = o->privacy_clip, .rate = plm_private_rate(t)
	};
}

/* ---- noise ---- */

/* Box and Muller 1958, from 52 bits each: normal values reach as far as 8.5 deviations. */
static void
normals(const PlmTrainer *t, int64_t number, double out[NORMALS])
{
	uint32_t	block[16];

	plm_secret_block(t->options.privacy_key, secret_stream(t, true), (uint64_t) number, block);
	for (int k = 0; k < NORMALS; k += 2)
	{
		double		radius = sqrt(-2 * log(uniform(block, k)));
		double		angle = 2 * M_PI * uniform(block, k + 1);

		out[k] = radius * cos(angle);
		out[k + 1] = radius * sin(angle);
	}
}

static PlmStatus
piece_noise(void *arg, int64_t piece, PlmWorker *worker, PlmError *err)
{
	PlmTrainer *t = arg;
	const PlmPiece *p = &t->pieces[piece];
	double		deviation = t->noise * t->options.privacy_clip;
	double		z[NORMALS] = {0};

	if (plm_stopped(worker))
		return plm_cancelled(err);
	for (int64_t i = p->g; i < p->g + p->n; i++)
	{
		if (i == p->g || i % NORMALS == 0)
			normals(t, i / NORMALS, z);
		t->g[i] = (float) ((t->g[i] + deviation * z[i % NORMALS]) / t->options.batch);
	}
	return PLM_OK;
}

PlmStatus
plm_private_end(PlmTrainer *t, PlmError *err)
{
	return plm_parallel(t->threads, t->n_pieces, piece_noise, t, t->options.hook, err);
}
