/*
 * peer.h -- another runtime in a process of its own, told what to do by lines over two pipes; peer_onnx.mjs lists the commands.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stdio.h>
#include <sys/types.h>

#include "load.h"

typedef struct Peer
{
	pid_t		pid;			/* 0: there is none */
	FILE	   *to;
	FILE	   *from;
} Peer;

/* Start argv (ending with NULL), with two pipes to it. */
bool		peer_spawn(Peer *peer, char *const *argv);
/* The same for a program that knows the commands.  False when it ends before it says "ready": the runtime is not there. */
bool		peer_start(Peer *peer, char *const *argv);
void		peer_stop(Peer *peer);

bool		peer_ask(Peer *peer, const char *command, const char *argument, char *answer, size_t size);
bool		peer_run(Peer *peer, int times, Timing *out);

/* Bytes that only this process holds. */
double		private_bytes(pid_t pid);

#endif							/* BENCH_PEER_H */
