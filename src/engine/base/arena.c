/*
 * arena.c -- stacks of memory over the host's hook.  The contract is in plm_base.h.
 *
 * Small requests share blocks; a request larger than a block gets a block of its own.  Blocks are
 * linked from the newest to the oldest, so rewinding frees from the top.
 */
#include "plm_base.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ALIGNMENT ((size_t) 64)
#define BLOCK_BYTES ((size_t) 16 * 1024)
#define MAX_BYTES ((size_t) 1 << 40)	/* no request can be larger, so sums below cannot wrap */

struct PlmArenaBlock
{
	PlmArenaBlock *below;
	size_t		size;			/* bytes obtained from the hook */
	char	   *start;			/* first aligned byte */
	size_t		room;			/* bytes from start to the end */
	size_t		used;			/* bytes from start handed out */
};

static void *
libc_alloc(void *arg, size_t bytes)
{
	(void) arg;
	return malloc(bytes);
}

static void
libc_release(void *arg, void *ptr)
{
	(void) arg;
	free(ptr);
}

const PlmHook plm_libc_hook = {libc_alloc, libc_release, NULL, NULL};

void
plm_arena_init(PlmArena *arena, const PlmHook *hook, size_t limit)
{
	arena->hook = hook;
	arena->top = NULL;
	arena->taken = 0;
	arena->limit = limit;
}

void
plm_arena_beside(PlmArena *arena, const PlmArena *other)
{
	/* 1 when nothing is left, because 0 means no limit. */
	size_t		left = other->limit > other->taken ? other->limit - other->taken : 1;

	plm_arena_init(arena, other->hook, other->limit == 0 ? 0 : left);
}

/* What a new block with room for at least `bytes` takes from the hook; does not wrap up to MAX_BYTES. */
static size_t
block_size(size_t bytes)
{
	return (bytes < BLOCK_BYTES ? BLOCK_BYTES : bytes) + sizeof(PlmArenaBlock) + ALIGNMENT;
}

static bool
over_limit(const PlmArena *arena, size_t size)
{
	return arena->limit != 0 && (size > arena->limit || arena->taken > arena->limit - size);
}

/*
 * Large blocks are worked through from end to end: asked for in huge pages they cost a 512th of the page faults, and few
 * misses of the TLB, which behind a hypervisor are dear.  Only advice; a system that has none of it does as before.
 */
#define HUGE_PAGE ((uintptr_t) 2 * 1024 * 1024)

static void
advise_huge_pages(void *block, size_t size)
{
#ifdef MADV_HUGEPAGE
	uintptr_t	begin = ((uintptr_t) block + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	uintptr_t	end = ((uintptr_t) block + size) & ~(HUGE_PAGE - 1);

	if (end > begin)
		(void) madvise((void *) begin, end - begin, MADV_HUGEPAGE);
#endif
}

/* A new block with room for at least `bytes`; NULL when the limit or the host refuses. */
static PlmArenaBlock *
push_block(PlmArena *arena, size_t bytes)
{
	size_t		size = block_size(bytes);
	PlmArenaBlock *block;
	uintptr_t	start;

	if (over_limit(arena, size))
		return NULL;
	block = arena->hook->alloc(arena->hook->arg, size);
	if (block == NULL)
		return NULL;
	advise_huge_pages(block, size);
	start = ((uintptr_t) (block + 1) + ALIGNMENT - 1) & ~(uintptr_t) (ALIGNMENT - 1);
	block->below = arena->top;
	block->size = size;
	block->start = (char *) start;
	block->room = size - sizeof(PlmArenaBlock) - ALIGNMENT;
	block->used = 0;
	arena->top = block;
	arena->taken += size;
	return block;
}

void *
plm_arena_alloc(PlmArena *arena, size_t bytes)
{
	PlmArenaBlock *block = arena->top;
	size_t		need;
	void	   *ptr;

	if (bytes > MAX_BYTES)
		return NULL;
	need = bytes + ALIGNMENT - 1;
	need &= ~(ALIGNMENT - 1);
	if (block == NULL || need > block->room - block->used)
		block = push_block(arena, need);
	if (block == NULL)
		return NULL;
	ptr = block->start + block->used;
	block->used += need;
	return ptr;
}

void *
plm_arena_zero(PlmArena *arena, size_t bytes)
{
	void	   *ptr = plm_arena_alloc(arena, bytes);

	if (ptr != NULL)
		memset(ptr, 0, bytes);
	return ptr;
}

void *
plm_arena_array(PlmArena *arena, size_t count, size_t size)
{
	size_t		bytes;

	if (!plm_mul(count, size, &bytes))
		return NULL;
	return plm_arena_alloc(arena, bytes);
}

char *
plm_arena_strndup(PlmArena *arena, const char *s, size_t len)
{
	char	   *copy;

	if (len >= MAX_BYTES)
		return NULL;
	copy = plm_arena_alloc(arena, len + 1);
	if (copy != NULL)
	{
		if (len > 0)
			memcpy(copy, s, len);
		copy[len] = '\0';
	}
	return copy;
}

PlmMark
plm_arena_mark(const PlmArena *arena)
{
	return (PlmMark) {arena->top, arena->top != NULL ? arena->top->used : 0};
}

void
plm_arena_rewind(PlmArena *arena, PlmMark mark)
{
	while (arena->top != mark.top)
	{
		PlmArenaBlock *block = arena->top;

		arena->top = block->below;
		arena->taken -= block->size;
		arena->hook->release(arena->hook->arg, block);
	}
	if (arena->top != NULL)
		arena->top->used = mark.used;
}

void
plm_arena_free(PlmArena *arena)
{
	plm_arena_rewind(arena, (PlmMark) {NULL, 0});
}

PlmStatus
plm_arena_refused(const PlmArena *arena, size_t bytes, PlmError *err)
{
	if (!over_limit(arena, bytes > MAX_BYTES ? bytes : block_size(bytes)))
		return plm_fail(err, PLM_ENOMEM, 0, "out of memory for %zu bytes", bytes);
	plm_fail(err, PLM_ELIMIT, 0, "%zu bytes on top of %zu would pass the memory limit of %zu bytes",
			 bytes, arena->taken, arena->limit);
	if (err != NULL)
		err->over_arena = true;
	return PLM_ELIMIT;
}
