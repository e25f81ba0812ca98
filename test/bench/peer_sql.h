/*
 * peer_sql.h -- our own SQL functions through a real connection, as one more peer: prepared statements of libpq, computed by a server's process.
 */
#ifndef BENCH_PEER_SQL_H
#define BENCH_PEER_SQL_H

#include "../unit/random_model.h"
#include "load.h"

typedef struct SqlPeer
{
	struct pg_conn *connection; /* NULL: there is none */
	int			backend;		/* its process */
	char		query[512];		/* the text of load 0 */
} SqlPeer;

#define SQL_FLOOR (-1)

/*
 * Load the files as a model of that name, by way of `folder` (new, the server must be able to read it), and set the connection up for
 * the loads.  It connects as the environment says.  An error ends the program.
 */
void		sql_start(SqlPeer *peer, const char *model, const PlmFileSet *files, const char *folder, const Load *loads, int n);
void		sql_stop(SqlPeer *peer);
void		sql_threads(SqlPeer *peer, int threads);

/*
 * Load w (from 0): one text by itself is embed(text), several are embed(text[]).  SQL_FLOOR: a statement with one parameter that computes
 * nothing, which is what any statement takes.
 */
Timing		sql_run(SqlPeer *peer, int w, int times);

/* The embedding of load 0, exactly as the server has it. */
void		sql_embedding(SqlPeer *peer, float *out, int64_t width);

#endif							/* BENCH_PEER_SQL_H */
