/*
 * host.h -- a host that gives out: of memory, or of patience.
 */
#ifndef HOST_H
#define HOST_H

#include "../../src/engine/base/plm_base.h"

#include <stdlib.h>

/* A host that refuses memory, or asks to stop, after a number of calls. */
typedef struct Host
{
	PlmHook		hook;
	int64_t		allocations_left;	/* negative: endless */
	int64_t		polls_left;
	int64_t		held;			/* blocks not yet released */
} Host;

static void *
host_alloc(void *arg, size_t bytes)
{
	Host	   *host = arg;

	if (host->allocations_left == 0)
		return NULL;
	host->allocations_left--;
	host->held++;
	return malloc(bytes);
}

static void
host_release(void *arg, void *ptr)
{
	((Host *) arg)->held--;
	free(ptr);
}

static bool
host_stop(void *arg)
{
	Host	   *host = arg;

	if (host->polls_left == 0)
		return true;
	host->polls_left--;
	return false;
}

static void
host_init(Host *host, int64_t allocations, int64_t polls)
{
	*host = (Host) {.allocations_left = allocations, .polls_left = polls};
	host->hook = (PlmHook) {host_alloc, host_release, host_stop, host};
}

#endif							/* HOST_H */
