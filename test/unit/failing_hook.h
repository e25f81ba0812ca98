/*
 * failing_hook.h -- a host that refuses one allocation: for tests that fail each in turn and look for leaks.
 */
#ifndef FAILING_HOOK_H
#define FAILING_HOOK_H

#include "unit.h"

static int	countdown;			/* the allocation that fails; 0: none */
static int	held;				/* blocks that are not yet released */

static void *
failing_alloc(void *arg, size_t bytes)
{
	(void) arg;
	if (countdown > 0 && --countdown == 0)
		return NULL;
	held++;
	return malloc(bytes);
}

static void
counted_release(void *arg, void *ptr)
{
	(void) arg;
	held -= ptr != NULL;
	free(ptr);
}

#endif							/* FAILING_HOOK_H */
