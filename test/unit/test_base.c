/*
 * test_base.c -- properties of base/: errors, arenas, pool, checksum, random numbers.
 */
#include "unit.h"

#include <math.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "../../src/engine/base/plm_base.h"

static void
test_error(void)
{
	PlmError	err = {0};

	CHECK("fail_returns_code", plm_fail(&err, PLM_ECORRUPT, 7, "file of %d bytes", 3) == PLM_ECORRUPT, "%d", err.code);
	CHECK("fail_fills_message", strcmp(err.message, "file of 3 bytes") == 0 && err.position == 7, "%s", err.message);
	plm_hint(&err, "try %s", "again");
	CHECK("hint_keeps_code", err.code == PLM_ECORRUPT && strcmp(err.hint, "try again") == 0, "%s", err.hint);
	plm_prefix(&err, "model \"%s\"", "m");
	CHECK("prefix_goes_before", strcmp(err.message, "model \"m\": file of 3 bytes") == 0, "%s", err.message);
	for (int i = 0; i < 100; i++)
		plm_prefix(&err, "0123456789");
	CHECK("long_messages_are_cut", strlen(err.message) == sizeof(err.message) - 1, "%zu", strlen(err.message));
	CHECK("null_error_is_allowed", plm_fail(NULL, PLM_EIO, 0, "x") == PLM_EIO, "%d", 0);
}

typedef struct Counting
{
	int64_t		live;
	int64_t		calls;
	int64_t		refuse_from;	/* refuse this call and all after it; 0: never */
} Counting;

static void *
counting_alloc(void *arg, size_t bytes)
{
	Counting   *c = arg;

	c->calls++;
	if (c->refuse_from != 0 && c->calls >= c->refuse_from)
		return NULL;
	c->live++;
	return malloc(bytes);
}

static void
counting_release(void *arg, void *ptr)
{
	((Counting *) arg)->live--;
	free(ptr);
}

static void
test_arena(void)
{
	Counting	count = {0};
	PlmHook		hook = {counting_alloc, counting_release, NULL, &count};
	PlmArena	arena;
	PlmError	err = {0};
	PlmMark		mark;
	bool		aligned = true;
	char	   *first;

	plm_arena_init(&arena, &hook, 0);
	first = plm_arena_alloc(&arena, 1);
	first[0] = 'x';
	for (size_t n = 0; n < 300; n++)
	{
		char	   *p = plm_arena_alloc(&arena, n * 37);

		aligned = aligned && ((uintptr_t) p & 63) == 0;
		memset(p, (int) n, n * 37);
	}
	CHECK("pointers_are_aligned_to_64", aligned, "a pointer is not");
	CHECK("blocks_do_not_overlap", first[0] == 'x', "%d", first[0]);
	mark = plm_arena_mark(&arena);
	plm_arena_alloc(&arena, 10 * 1000 * 1000);
	plm_arena_rewind(&arena, mark);
	CHECK("rewind_returns_big_blocks", arena.taken < 10 * 1000 * 1000, "%zu", arena.taken);
	plm_arena_free(&arena);
	CHECK("free_returns_everything", count.live == 0 && arena.taken == 0, "%" PRId64, count.live);

	CHECK("array_refuses_overflow", plm_arena_array(&arena, SIZE_MAX / 2, 3) == NULL, "it was given");
	CHECK("alloc_refuses_overflow", plm_arena_alloc(&arena, SIZE_MAX) == NULL &&
		  plm_arena_alloc(&arena, SIZE_MAX - 64) == NULL && plm_arena_alloc(&arena, SIZE_MAX - 200) == NULL, "it was given");

	plm_arena_init(&arena, &hook, 100000);
	CHECK("limit_refuses", plm_arena_alloc(&arena, 100001) == NULL, "it was given");
	CHECK("refusal_by_limit_is_told", plm_arena_refused(&arena, 100001, &err) == PLM_ELIMIT, "%s", err.message);
	CHECK("refusal_of_a_small_block_by_limit_is_told", plm_arena_alloc(&arena, 98000) != NULL && plm_arena_alloc(&arena, 9) == NULL &&
		  plm_arena_refused(&arena, 9, &err) == PLM_ELIMIT && err.over_arena, "%s", err.message);
	plm_arena_free(&arena);
	count.calls = 0;
	count.refuse_from = 1;
	CHECK("refusal_of_host_is_null", plm_arena_alloc(&arena, 10) == NULL, "it was given");
	CHECK("refusal_by_host_is_told", plm_arena_refused(&arena, 10, &err) == PLM_ENOMEM, "%s", err.message);
	plm_arena_free(&arena);
	CHECK("nothing_is_live", count.live == 0, "%" PRId64, count.live);
}

typedef struct Sums
{
	_Atomic int seen[1000];
	int64_t		fail_at;
	atomic_int	ran;
} Sums;

static PlmStatus
mark_chunk(void *arg, int64_t chunk, PlmWorker *worker, PlmError *err)
{
	Sums	   *s = arg;

	(void) worker;
	atomic_fetch_add(&s->seen[chunk], 1);
	atomic_fetch_add(&s->ran, 1);
	if (s->fail_at > 0 && chunk >= s->fail_at)
		return plm_fail(err, PLM_ENUMERIC, chunk, "chunk %" PRId64, chunk);
	return PLM_OK;
}

static PlmStatus
spin_until_stopped(void *arg, int64_t chunk, PlmWorker *worker, PlmError *err)
{
	(void) arg;
	(void) chunk;
	for (int i = 0; i < 20000; i++)
	{
		if (plm_stopped(worker))
			return plm_cancelled(err);
		usleep(200);
	}
	return PLM_OK;
}

static bool
stop_after_polls(void *arg)
{
	return --*(int *) arg < 0;
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static void
test_pool(void)
{
	static Sums s;
	PlmError	err = {0};
	bool		once = true;
	int			polls = 20;
	PlmHook		stopping = {NULL, NULL, stop_after_polls, &polls};
	double		begin;

	for (int threads = 1; threads <= 9; threads += 4)
	{
		memset(&s, 0, sizeof(s));
		CHECK("run_succeeds", plm_parallel(threads, 1000, mark_chunk, &s, &plm_libc_hook, &err) == PLM_OK, "%s", err.message);
		for (int i = 0; i < 1000; i++)
			once = once && s.seen[i] == 1;
		CHECK("every_chunk_runs_once", once, "with %d threads", threads);
	}
	CHECK("no_chunks_is_fine", plm_parallel(4, 0, mark_chunk, &s, &plm_libc_hook, &err) == PLM_OK, "%s", err.message);
	memset(&s, 0, sizeof(s));
	s.fail_at = 500;
	CHECK("error_is_returned", plm_parallel(4, 1000, mark_chunk, &s, &plm_libc_hook, &err) == PLM_ENUMERIC, "%d", err.code);
	CHECK("error_stops_the_rest", s.ran < 1000 && err.position >= 500, "%d ran", s.ran);
	begin = now();
	CHECK("stop_is_cancelled", plm_parallel(4, 100, spin_until_stopped, NULL, &stopping, &err) == PLM_ECANCELLED, "%d", err.code);
	CHECK("stop_is_prompt", now() - begin < 1.0, "%g s", now() - begin);
	for (int i = 0; i < 2000; i++)
		once = once && plm_parallel(3, 7, mark_chunk, (s.fail_at = 0, (void *) &s), &plm_libc_hook, &err) == PLM_OK;
	CHECK("pool_is_reusable", once, "a run failed");
}

static void
test_hash(void)
{
	enum {N = 1000};
	static unsigned char data[N];
	uint64_t	plain;
	bool		differs = true;
	double		mean = 0;
	double		square = 0;

	for (int i = 0; i < N; i++)
		data[i] = (unsigned char) plm_random(1, (uint64_t) i);
	plain = plm_checksum(data, N, 0);
	for (int bit = 0; bit < N * 8; bit++)
	{
		data[bit / 8] ^= (unsigned char) (1 << bit % 8);
		differs = differs && plm_checksum(data, N, 0) != plain;
		data[bit / 8] ^= (unsigned char) (1 << bit % 8);
	}
	CHECK("checksum_sees_every_bit", differs, "a flipped bit went unseen");
	for (int n = 0; n < N; n++)
		differs = differs && plm_checksum(data, (size_t) n, 0) != plain;
	CHECK("checksum_sees_truncation", differs, "a shorter span had the same sum");
	CHECK("checksum_depends_on_seed", plm_checksum(data, N, 1) != plain, "same");
	CHECK("random_is_a_function", plm_random(7, 9) == plm_random(7, 9) && plm_random(7, 9) != plm_random(8, 9), "not");
	for (int i = 0; i < 100000; i++)
	{
		double		x = plm_random_normal(3, (uint64_t) i);

		mean += x / 100000;
		square += x * x / 100000;
	}
	/* Standard errors are 0.003 and 0.0045. */
	CHECK("normal_has_mean_0_and_deviation_1", fabs(mean) < 0.02 && fabs(square - 1) < 0.03, "%g %g", mean, square);
}

int
main(void)
{
	test_error();
	test_arena();
	test_pool();
	test_hash();
	CHECK("every_level_has_a_name", strcmp(plm_simd_name(plm_cpu_best()), "unknown") != 0, "%d", plm_cpu_best());
	return unit_done();
}
