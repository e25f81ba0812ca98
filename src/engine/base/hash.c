/*
 * hash.c -- checksum against damaged files, and counter-based random numbers.
 */
#include "plm_base.h"

#include <math.h>
#include <string.h>

static inline uint64_t
mix(uint64_t x)
{
	/* The finaliser of splitmix64 (Steele, Lea, Flood 2014): every input bit reaches every output bit. */
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static inline uint64_t
load64(const unsigned char *p)
{
	uint64_t	x;

	memcpy(&x, p, 8);
	return x;
}

#define CHECKSUM_ODD UINT64_C(0x9e3779b97f4a7c15)

/* One step of a lane.  Each part can be undone, so that one changed word always changes its lane. */
static inline uint64_t
lane_step(uint64_t lane, const unsigned char *p)
{
	uint64_t	h = (lane ^ load64(p)) * CHECKSUM_ODD;

	return (h << 29) | (h >> 35);
}

uint64_t
plm_checksum(const void *data, size_t bytes, uint64_t seed)
{
	/* Eight independent lanes hide the multiplier's latency; named one by one, they stay in registers. */
	const unsigned char *p = data;
	size_t		left = bytes;
	uint64_t	a = mix(seed + CHECKSUM_ODD * 1);
	uint64_t	b = mix(seed + CHECKSUM_ODD * 2);
	uint64_t	c = mix(seed + CHECKSUM_ODD * 3);
	uint64_t	d = mix(seed + CHECKSUM_ODD * 4);
	uint64_t	e = mix(seed + CHECKSUM_ODD * 5);
	uint64_t	f = mix(seed + CHECKSUM_ODD * 6);
	uint64_t	g = mix(seed + CHECKSUM_ODD * 7);
	uint64_t	h = mix(seed + CHECKSUM_ODD * 8);
	uint64_t	lane[8];
	uint64_t	sum = (uint64_t) bytes;
	unsigned char tail[64] = {0};

	for (; left >= 64; left -= 64, p += 64)
	{
		__builtin_prefetch((const void *) ((uintptr_t) p + 1024));	/* a hint: it may lie past the end */
		a = lane_step(a, p);
		b = lane_step(b, p + 8);
		c = lane_step(c, p + 16);
		d = lane_step(d, p + 24);
		e = lane_step(e, p + 32);
		f = lane_step(f, p + 40);
		g = lane_step(g, p + 48);
		h = lane_step(h, p + 56);
	}
	memcpy(lane, (uint64_t[8]) {a, b, c, d, e, f, g, h}, sizeof(lane));
	if (left > 0)
		memcpy(tail, p, left);
	for (int i = 0; i < 8; i++)
		sum = mix(sum ^ lane[i] ^ mix(load64(tail + 8 * i) + (uint64_t) i));
	return sum;
}

uint64_t
plm_random_key(uint64_t seed)
{
	return mix(seed + UINT64_C(0x9e3779b97f4a7c15)) | 1;
}

uint32_t
plm_random(uint64_t seed, uint64_t counter)
{
	return plm_random_keyed(plm_random_key(seed), counter);
}

double
plm_random_uniform(uint64_t seed, uint64_t counter)
{
	return plm_random(seed, counter) * (1.0 / 4294967296.0);
}

double
plm_random_normal(uint64_t seed, uint64_t counter)
{
	/* Box and Muller 1958; 1 - u keeps the logarithm's argument above zero. */
	double		u = 1.0 - plm_random_uniform(seed, 2 * counter);
	double		v = plm_random_uniform(seed, 2 * counter + 1);

	return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}
