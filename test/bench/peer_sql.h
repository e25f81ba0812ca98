/*
 * peer_sql.h -- our own SQL functions through a real connection, as one more peer: psql in a process of its own.
 */
#ifndef BENCH_PEER_SQL_H
#define BENCH_PEER_SQL_H

#include "../unit/random_model.h"
#include "peer.h"

/*
 * Load the files as a model of that name, by way of `folder` (new, the server must be able to read it), and set the connection up for
 * the loads.  psql connects as the environment says.  An error ends the program.
 */
void		sql_start(Peer *peer, const char *model, const PlmFileSet *files, const char *folder, const Load *loads, int n);
void		sql_threads(Peer *peer, int threads);

/* Load w (from 0): one text by itself is embed(text), several are embed(text[]). */
Timing		sql_run(Peer *peer, int w, int times);

/* The embedding of load 0, exactly as the server has it. */
void		sql_embedding(Peer *peer, float *out, int64_t width);

#endif							/* BENCH_PEER_SQL_H */
