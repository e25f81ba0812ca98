/*
 * compat.h -- what differs between PostgreSQL 14 and 18; the only file that reads PG_VERSION_NUM.
 */
#ifndef PLMPG_COMPAT_H
#define PLMPG_COMPAT_H

#if PG_VERSION_NUM < 140000
#error "product_llm needs PostgreSQL 14 or later"
#endif

#include "common/cryptohash.h"
#include "utils/guc.h"

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* From 18 on a module says its name and version. */
#if PG_VERSION_NUM >= 180000
#define PLMPG_MODULE_MAGIC PG_MODULE_MAGIC_EXT(.name = "product_llm")
#else
#define PLMPG_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/* A setting under our prefix that we do not define is an error from 15 on, a warning before. */
#if PG_VERSION_NUM < 150000
#define MarkGUCPrefixReserved(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

/* The reason of a failed digest is known from 15 on. */
#if PG_VERSION_NUM < 150000
#define plmpg_cryptohash_error(ctx) "digest failed"
#else
#define plmpg_cryptohash_error(ctx) pg_cryptohash_error(ctx)
#endif

/* The planner's estimate of an array's length looks at statistics from 17 on. */
#if PG_VERSION_NUM < 170000
#define plmpg_array_length(root, node) estimate_array_length(node)
#else
#define plmpg_array_length(root, node) estimate_array_length(root, node)
#endif

/* A random number in [0, 1) that need not be secret. */
#if PG_VERSION_NUM < 150000
#define plmpg_random() ((double) random() / ((double) MAX_RANDOM_VALUE + 1))
#else
#include "common/pg_prng.h"
#define plmpg_random() pg_prng_double(&pg_global_prng_state)
#endif

/* Pin a page by the buffer that it was in; false when it no longer is. */
#if PG_VERSION_NUM >= 160000
#define plmpg_pin_recent(rel, block, buffer) ReadRecentBuffer((rel)->rd_locator, MAIN_FORKNUM, block, buffer)
#else
#define plmpg_pin_recent(rel, block, buffer) ReadRecentBuffer((rel)->rd_node, MAIN_FORKNUM, block, buffer)
#endif

/* VACUUM's pause between pages; from 18 on it is told whether it is ANALYZE's. */
#if PG_VERSION_NUM >= 180000
#define plmpg_vacuum_delay() vacuum_delay_point(false)
#else
#define plmpg_vacuum_delay() vacuum_delay_point()
#endif

#endif							/* PLMPG_COMPAT_H */
