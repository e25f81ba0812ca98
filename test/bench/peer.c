/*
 * peer.c -- the contract is in peer.h.
 */
#include "peer.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool
answer_of(Peer *peer, char *answer, size_t size)
{
	if (fgets(answer, (int) size, peer->from) == NULL)
		return false;
	answer[strcspn(answer, "\n")] = '\0';
	return true;
}

bool
peer_spawn(Peer *peer, char *const *argv)
{
	int			in[2], out[2];

	memset(peer, 0, sizeof(*peer));
	/* Close on exec: another peer that held these ends would keep this one from seeing the end of its input. */
	if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
		return false;
	peer->pid = fork();
	if (peer->pid == 0)
	{
		dup2(in[0], 0);
		dup2(out[1], 1);
		execvp(argv[0], argv);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	peer->to = fdopen(in[1], "w");
	peer->from = fdopen(out[0], "r");
	return peer->pid > 0;
}

bool
peer_start(Peer *peer, char *const *argv)
{
	char		line[64];

	if (peer_spawn(peer, argv) && answer_of(peer, line, sizeof(line)) && strcmp(line, "ready") == 0)
		return true;
	peer_stop(peer);
	return false;
}

void
peer_stop(Peer *peer)
{
	if (peer->pid <= 0)
		return;
	fclose(peer->to);
	fclose(peer->from);
	waitpid(peer->pid, NULL, 0);
	memset(peer, 0, sizeof(*peer));
}

bool
peer_ask(Peer *peer, const char *command, const char *argument, char *answer, size_t size)
{
	if (fprintf(peer->to, "%s %s\n", command, argument) > 0 && fflush(peer->to) == 0 && answer_of(peer, answer, size))
		return true;
	fprintf(stderr, "bench: a peer ended at \"%s %s\"\n", command, argument);
	return false;
}

bool
peer_run(Peer *peer, int times, Timing *out)
{
	char		count[16];
	char		answer[256];

	snprintf(count, sizeof(count), "%d", times);
	return peer_ask(peer, "run", count, answer, sizeof(answer)) &&
		sscanf(answer, "%lf %lf %lf", &out->p50, &out->p99, &out->cpu) == 3;
}

double
private_bytes(pid_t pid)
{
	char		line[256];
	double		sum = 0, kb;
	FILE	   *f;

	snprintf(line, sizeof(line), "/proc/%d/smaps_rollup", (int) pid);
	f = fopen(line, "r");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "Private_%*[a-zA-Z]: %lf kB", &kb) == 1)
			sum += 1024 * kb;
	if (f != NULL)
		fclose(f);
	return sum;
}
