/*
 * no_network COMMAND [ARGUMENT...] -- run a command that may not reach the network; so may nothing that it starts.
 *
 * A seccomp filter ends a process with SIGSYS at the first attempt, so that none goes unseen.  What is left is what a server needs that
 * listens on a Unix socket: socket(AF_UNIX), socketpair(AF_UNIX), bind, listen, accept, send and recv.  Sockets of any other family,
 * connect() to anything, and io_uring, which can do both by other ways, are not.
 * Exit status: the command's; 77 when the kernel does not permit filters; 2 for wrong use.  See seccomp(2).
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define MACHINE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define MACHINE AUDIT_ARCH_AARCH64
#else
#define MACHINE 0
#endif
#define X32_CALLS 0x40000000	/* x86-64's second set of numbers begins there */

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define IF_EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (yes), (no))
#define IF_LESS(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (value), (no), (yes))

/* Jumps count the instructions that are passed over. */
static struct sock_filter filter[] = {
	LOAD(arch),
	IF_EQUAL(MACHINE, 0, 8),
	LOAD(nr),
	IF_LESS(X32_CALLS, 0, 6),
	IF_EQUAL(SYS_connect, 5, 0),
	IF_EQUAL(SYS_io_uring_setup, 4, 0),
	IF_EQUAL(SYS_socket, 1, 0),
	IF_EQUAL(SYS_socketpair, 0, 3),
	LOAD(args[0]),				/* the low half: both machines are little-endian */
	IF_EQUAL(AF_UNIX, 1, 0),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
};

int
main(int argc, char **argv)
{
	struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};

	if (argc < 2)
	{
		fprintf(stderr, "usage: no_network COMMAND [ARGUMENT...]\n");
		return 2;
	}
	if (MACHINE == 0)
	{
		fprintf(stderr, "no_network: no filter is written for this kind of processor\n");
		return 77;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
	{
		fprintf(stderr, "no_network: the kernel does not permit seccomp filters: %s\n", strerror(errno));
		return 77;
	}
	execvp(argv[1], argv + 1);
	fprintf(stderr, "no_network: %s: %s\n", argv[1], strerror(errno));
	return 2;
}
