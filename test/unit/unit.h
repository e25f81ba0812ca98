/*
 * unit.h -- TAP for the engine's unit tests: one program per module, plain C, no server.
 *
 * A test's name states the property; a failure prints the numbers.
 *     CHECK("row_alone_equals_row_in_batch", memcmp(a, b, n) == 0, "first difference at %d", i);
 */
#ifndef UNIT_H
#define UNIT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int	unit_count;
static int	unit_failed;

#define CHECK(name, condition, ...) \
	do { \
		int unit_ok_ = (condition) ? 1 : 0; \
		printf("%sok %d - %s\n", unit_ok_ ? "" : "not ", ++unit_count, (name)); \
		if (!unit_ok_) \
		{ \
			unit_failed++; \
			printf("# %s:%d: %s\n# ", __FILE__, __LINE__, #condition); \
			printf(__VA_ARGS__); \
			printf("\n"); \
		} \
	} while (0)

/* A test that cannot run here says why. */
#define SKIP(name, why) printf("ok %d - %s # SKIP %s\n", ++unit_count, (name), (why))

/* The last line of main: "return unit_done();" */
static inline int
unit_done(void)
{
	printf("1..%d\n", unit_count);
	return unit_failed == 0 ? 0 : 1;
}

#endif							/* UNIT_H */
