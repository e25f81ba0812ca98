/*
 * shards.h -- catalogs whose side tables stand on other servers.
 *
 * Such a side table is an empty parent; for each partition of the source a foreign table inherits from it
 * (sql/46_shards.sql).  A condition on the parent runs on the shards by itself; an order and a limit only when each part is
 * asked for itself, and then the answers are put together here.
 */
#ifndef PLMPG_SHARDS_H
#define PLMPG_SHARDS_H

#include "find.h"

/* Qualified names (C strings) of the tables that inherit from a side table; NIL: it is no parent. */
List	   *plmpg_shards(Oid side);

/*
 * "(<query>) UNION ALL (<query>) ..", one for each part, whose name takes the place of the one %s in it.  Send vectors to it
 * only after plmpg_shards_settings().
 */
char	   *plmpg_shards_sql(const List *parts, const char *query);

/*
 * SQL for the nearest vectors to $1 on each shard: key, cosine; among: of the keys $2 alone.  The keys travel and not all
 * vectors, however many keys there are.
 */
char	   *plmpg_shards_nearest(const List *parts, int64 most, bool among);

/*
 * Within plmpg_become(): write numbers so that a shard reads the same bits, whatever the session's extra_float_digits; and
 * for a statement with a limit let the planner count a row that travels as dear.  postgres_fdw finds a remote limit 5 % cheaper than a local one, which
 * the planner does not see beside the cost of connecting.
 */
void		plmpg_shards_settings(bool limited);

/*
 * plmpg_scan() for products on shards: only what is wanted is returned and travels.  keys: these; beside them from each
 * shard the `most` that lie nearest by product_llm.nearness(), without those of `without`.
 */
typedef struct PlmpgWanted
{
	ArrayType  *keys;
	ArrayType  *without;
	const double *weights;		/* (n) */
	int64		most;
} PlmpgWanted;

void		plmpg_shards_scan(const PlmpgShop *shop, int n, const float *vectors, int64 dimensions, const PlmpgWanted *wanted,
							  PlmpgScored scored, void *arg);

#endif							/* PLMPG_SHARDS_H */
