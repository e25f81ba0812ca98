/*
 * driver.c -- main() of the fuzz targets, for compilers without libFuzzer.
 *
 *     fuzz_x [-seconds N] [-seed S] [-artifact FILE] [corpus files or folders ...]
 *
 * Runs every corpus input, then mutations of them for N seconds.  The input under test is kept in
 * FILE, so that after a crash or a hang FILE is what caused it: run the target with FILE alone and
 * -seconds 0.  FILE is removed when all went well.  Exit status 0 unless something failed.
 *
 * Compiled with -fsanitize-coverage=trace-pc, the target guides the driver: inputs that reach new
 * code join the corpus.  A target may define fuzz_words, a NULL-ended list of tokens of its format.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define INPUT_LIMIT ((size_t) 1 << 20)
#define MAX_CORPUS 20000
#define HANG_SECONDS 60

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
extern const char *const fuzz_words[] __attribute__((weak));

typedef struct Input
{
	uint8_t    *data;
	size_t		size;
} Input;

static Input corpus[MAX_CORPUS];
static int	n_corpus;
static uint64_t random_state;
static uint64_t runs;

/* ---- coverage ---- */

static uint8_t seen[1 << 18];
static uint64_t n_seen;

/* Called by instrumented code on every edge. */
void		__sanitizer_cov_trace_pc(void) __attribute__((visibility("default")));

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
__attribute__((no_sanitize_coverage))
#endif
__attribute__((no_sanitize_address, no_sanitize_undefined))
void
__sanitizer_cov_trace_pc(void)
{
	uint64_t	pc = (uint64_t) (uintptr_t) __builtin_return_address(0);
	size_t		slot = (pc * UINT64_C(0x9e3779b97f4a7c15)) >> 46;

	n_seen += seen[slot] == 0;
	seen[slot] = 1;
}

/* A refused allocation must come back as NULL, as the host's hook would give it. */
const char *__asan_default_options(void) __attribute__((visibility("default")));

const char *
__asan_default_options(void)
{
	return "allocator_may_return_null=1:max_allocation_size_mb=2048";
}

/* ---- random choices ---- */

static uint64_t
random_bits(void)
{
	/* splitmix64 */
	uint64_t	x = random_state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

/* 0 .. n - 1; 0 for n = 0 */
static size_t
below(size_t n)
{
	return n == 0 ? 0 : (size_t) (random_bits() % n);
}

/* ---- mutations: each changes *size bytes at data, which has room for INPUT_LIMIT ---- */

/* Put `len` bytes in place of `old` bytes at `at`. */
static void
replace(uint8_t *data, size_t *size, size_t at, size_t old, const void *bytes, size_t len)
{
	uint8_t		copy[4096];

	if (len > sizeof(copy))
		len = sizeof(copy);
	if (*size - old + len > INPUT_LIMIT)
		return;
	memcpy(copy, bytes, len);	/* bytes may lie in data */
	memmove(data + at + len, data + at + old, *size - at - old);
	memcpy(data + at, copy, len);
	*size = *size - old + len;
}

static void
flip_bit(uint8_t *data, size_t *size)
{
	if (*size > 0)
		data[below(*size)] ^= (uint8_t) (1u << below(8));
}

static void
set_byte(uint8_t *data, size_t *size)
{
	static const uint8_t bytes[] = {0, 1, 0x7F, 0x80, 0xFF, '"', '\\', '{', '}', '[', ']', ',', ':', '0', '-', '\n', ' '};

	if (*size > 0)
		data[below(*size)] = random_bits() & 1 ? (uint8_t) random_bits() : bytes[below(sizeof(bytes))];
}

static void
truncate_input(uint8_t *data, size_t *size)
{
	(void) data;
	*size = below(*size + 1);
}

static void
erase_range(uint8_t *data, size_t *size)
{
	size_t		at = below(*size);
	size_t		len = below((*size - at < 64 || below(4) == 0 ? *size - at : 64) + 1);

	replace(data, size, at, len, "", 0);
}

static void
insert_bytes(uint8_t *data, size_t *size)
{
	uint8_t		bytes[32];
	size_t		len = 1 + below(sizeof(bytes));
	bool		same = random_bits() & 1;

	for (size_t i = 0; i < len; i++)
		bytes[i] = same && i > 0 ? bytes[0] : (uint8_t) random_bits();
	replace(data, size, below(*size + 1), 0, bytes, len);
}

static void
duplicate_range(uint8_t *data, size_t *size)
{
	size_t		from = below(*size);
	size_t		len = below((*size - from < 256 ? *size - from : 256) + 1);
	size_t		at = below(*size + 1);
	size_t		times = below(8) == 0 ? below(64) : 1;

	for (size_t i = 0; i < times; i++)
		replace(data, size, at, 0, data + from, len);
}

static void
overwrite_range(uint8_t *data, size_t *size)
{
	size_t		from = below(*size);
	size_t		at = below(*size);
	size_t		room = *size - (from > at ? from : at);

	memmove(data + at, data + from, below(room + 1));
}

/* A piece of another input, put in or in place of the rest. */
static void
splice_other(uint8_t *data, size_t *size)
{
	const Input *other = &corpus[below((size_t) n_corpus)];
	size_t		from = below(other->size);
	size_t		len = below(other->size - from + 1);
	size_t		at = below(*size + 1);

	replace(data, size, at, random_bits() & 1 ? *size - at : 0, other->data + from, len);
}

static void
set_number(uint8_t *data, size_t *size)
{
	static const uint64_t numbers[] = {
		0, 1, 2, 7, 8, 63, 64, 65, 255, 256, 4095, 4096, 65535, 65536, INT32_MAX, (uint64_t) INT32_MAX + 1,
		UINT32_MAX, (uint64_t) UINT32_MAX + 1, (uint64_t) 1 << 40, INT64_MAX, (uint64_t) INT64_MAX + 1,
		UINT64_MAX, UINT64_MAX - 7, UINT64_MAX - 63
	};
	uint64_t	n = numbers[below(sizeof(numbers) / sizeof(numbers[0]))];
	size_t		width = (size_t) 1 << below(4);
	size_t		at;

	if (below(3) == 0)
		n = *size - below(16);
	if (*size < width)
		return;
	at = below(*size - width + 1);
	if (random_bits() & 1)
		at = at / width * width;
	memcpy(data + at, &n, width);
}

static bool
is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* Change a run of digits into another number. */
static void
change_digits(uint8_t *data, size_t *size)
{
	static const char *const numbers[] = {
		"0", "1", "-1", "2", "3", "64", "127", "255", "256", "65536", "2147483647", "2147483648", "4294967296",
		"9223372036854775807", "9223372036854775808", "18446744073709551616", "1e9", "1e30", "1e999", "0.5", "-0"
	};
	size_t		at = below(*size);
	size_t		end;
	const char *number = numbers[below(sizeof(numbers) / sizeof(numbers[0]))];

	while (at < *size && !is_digit(data[at]))
		at++;
	for (end = at; end < *size && is_digit(data[end]);)
		end++;
	if (end == at)
		return;
	if (random_bits() & 1)
		data[end - 1] = (uint8_t) ('0' + below(10));	/* stay near */
	else
		replace(data, size, at, end - at, number, strlen(number));
}

/* Put a token in, or in place of the one that is there. */
static void
put_word(uint8_t *data, size_t *size)
{
	static const char *const words[] = {
		"null", "true", "false", "[]", "{}", "\"\"", "0", "-1", "1e999", "\"a\"", "[[[[", "{\"a\":", ",", ":", "\\u0000",
		"\\ud800", "\"\\u00e9\"", "\xEF\xBB\xBF", "\xC3", "..", "/", "\n", "[0]", "NaN"
	};
	size_t		n_words = 0;
	size_t		choice;
	const char *word;
	size_t		at = below(*size + 1);
	size_t		old = 0;

	if (fuzz_words != NULL)
		while (fuzz_words[n_words] != NULL)
			n_words++;
	choice = below(n_words + sizeof(words) / sizeof(words[0]));
	word = choice < n_words ? fuzz_words[choice] : words[choice - n_words];
	if (random_bits() & 1)
		while (at + old < *size && old < 64 && strchr(",:[]{}\n", data[at + old]) == NULL)
			old++;
	replace(data, size, at, old, word, strlen(word));
}

static void
mutate(uint8_t *data, size_t *size)
{
	static void (*const ways[]) (uint8_t *, size_t *) = {
		flip_bit, set_byte, truncate_input, erase_range, insert_bytes, duplicate_range, overwrite_range,
		splice_other, set_number, change_digits, put_word, put_word, change_digits
	};
	size_t		times = 1 + below(below(4) == 0 ? 16 : 3);

	for (size_t i = 0; i < times; i++)
	{
		size_t		way = below(sizeof(ways) / sizeof(ways[0]));

		if (ways[way] != truncate_input || below(4) == 0)
			ways[way] (data, size);
	}
}

/* ---- running ---- */

static const char *artifact;
static int	artifact_fd = -1;
static uint8_t *artifact_map;
static size_t artifact_size;

static void
open_artifact(void)
{
	if (artifact == NULL)
		return;
	artifact_fd = open(artifact, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (artifact_fd < 0)
	{
		perror(artifact);
		exit(2);
	}
	artifact_map = mmap(NULL, INPUT_LIMIT, PROT_READ | PROT_WRITE, MAP_SHARED, artifact_fd, 0);
	if (artifact_map == MAP_FAILED)
	{
		perror(artifact);
		exit(2);
	}
}

/* Run one input; true when it reached code that none before it had. */
static bool
run(const uint8_t *data, size_t size)
{
	uint64_t	before = n_seen;
	uint8_t    *exact = malloc(size > 0 ? size : 1);	/* so that reading past the end is seen */

	if (exact == NULL)
		exit(2);
	memcpy(exact, data, size);
	if (artifact_fd >= 0)
	{
		if (size != artifact_size && ftruncate(artifact_fd, (off_t) size) != 0)
			exit(2);
		artifact_size = size;
		memcpy(artifact_map, data, size);
	}
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	runs++;
	return n_seen > before;
}

static void
add_input(const uint8_t *data, size_t size)
{
	if (n_corpus == MAX_CORPUS)
		return;
	corpus[n_corpus].data = malloc(size > 0 ? size : 1);
	if (corpus[n_corpus].data == NULL)
		exit(2);
	memcpy(corpus[n_corpus].data, data, size);
	corpus[n_corpus++].size = size;
}

static void
load_file(const char *path)
{
	static uint8_t buffer[1 << 20];
	FILE	   *file = fopen(path, "rb");

	if (file == NULL)
	{
		perror(path);
		exit(2);
	}
	add_input(buffer, fread(buffer, 1, sizeof(buffer), file));
	fclose(file);
}

static int
is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void
load(const char *path)
{
	struct stat st;
	struct dirent **list;
	int			n;

	if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
	{
		load_file(path);
		return;
	}
	n = scandir(path, &list, is_visible, alphasort);	/* sorted: a seed means the same everywhere */
	for (int i = 0; i < n; i++)
	{
		char		name[4096];

		snprintf(name, sizeof(name), "%s/%s", path, list[i]->d_name);
		load(name);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
}

static volatile sig_atomic_t ticks;
static uint64_t runs_at_tick;

/* Once a second: an input that stays for HANG_SECONDS is a failure like a crash. */
static void
on_tick(int signal)
{
	static const char message[] = "hang: one input ran for more than 60 seconds\n";

	(void) signal;
	if (runs != runs_at_tick)
		ticks = 0;
	runs_at_tick = runs;
	ticks = ticks + 1;
	if (ticks <= HANG_SECONDS)
		return;
	if (write(STDERR_FILENO, message, sizeof(message) - 1) < 0)
		_exit(4);
	_exit(3);
}

static double
seconds_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

int
main(int argc, char **argv)
{
	static uint8_t input[1 << 20];
	const struct itimerval each_second = {{1, 0}, {1, 0}};
	double		seconds = 10;
	double		end;
	int			seeds;

	random_state = 1;
	for (int i = 1; i < argc; i++)
	{
		if (strcmp(argv[i], "-seconds") == 0 && i + 1 < argc)
			seconds = atof(argv[++i]);
		else if (strcmp(argv[i], "-seed") == 0 && i + 1 < argc)
			random_state = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "-artifact") == 0 && i + 1 < argc)
			artifact = argv[++i];
		else
			load(argv[i]);
	}
	signal(SIGALRM, on_tick);
	setitimer(ITIMER_REAL, &each_second, NULL);
	open_artifact();
	if (n_corpus == 0)
		add_input(input, 0);
	seeds = n_corpus;
	for (int i = 0; i < seeds; i++)
		run(corpus[i].data, corpus[i].size);
	end = seconds_now() + seconds;
	while (seconds_now() < end)
	{
		/* Half of the time from the newest, which reached the newest code. */
		int			newest = n_corpus - seeds < 32 ? n_corpus - seeds : 32;
		const Input *from = newest > 0 && below(2) == 0 ? &corpus[n_corpus - 1 - (int) below((size_t) newest)] :
			&corpus[below((size_t) n_corpus)];
		size_t		size = from->size;

		memcpy(input, from->data, size);
		mutate(input, &size);
		if (run(input, size))
			add_input(input, size);
	}
	for (int i = 0; i < n_corpus; i++)
		free(corpus[i].data);
	if (artifact_fd >= 0)
		unlink(artifact);
	printf("%" PRIu64 " runs, %d seeds, %d kept for new code\n", runs, seeds, n_corpus - seeds);
	return 0;
}
