/*
 * plm_base.h -- what every other module of the engine stands on.
 *
 * Status and error, the host's hooks, arenas, the thread pool, CPU detection, checksums and
 * counter-based random numbers.  Nothing here knows about models or about PostgreSQL.
 * JSON has a header of its own, plm_json.h.
 *
 * Conventions of the whole engine: bytes are size_t, element counts int64_t, token ids int32_t.
 * A function that can fail returns a PlmStatus and fills a PlmError; nothing exits, aborts or jumps.
 */
#ifndef PLM_BASE_H
#define PLM_BASE_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- status and error: base/error.c ---- */

/* Whose fault it is; the glue maps each to one SQLSTATE. */
typedef enum PlmStatus
{
	PLM_OK = 0,
	PLM_EARG,					/* the caller asked for something that makes no sense */
	PLM_ENOTFOUND,				/* a file, tensor or token that must be there is not */
	PLM_ECORRUPT,				/* a file contradicts itself or its format */
	PLM_EUNSUPPORTED,			/* a sound file asks for something this engine does not have */
	PLM_ELIMIT,					/* a stated limit (memory, length, depth) would be passed */
	PLM_ENOMEM,					/* the host refused memory */
	PLM_EIO,					/* the operating system refused; errno's text is in the message */
	PLM_EDISKFULL,				/* no space left */
	PLM_ENUMERIC,				/* a weight or a result is not a finite number */
	PLM_ECANCELLED,				/* the host asked to stop */
	PLM_EINTERNAL				/* a bug here */
} PlmStatus;

typedef struct PlmError
{
	PlmStatus	code;
	int64_t		position;		/* byte offset in the file or text, or 0 */
	char		message[512];	/* lower case, no full stop */
	char		hint[256];		/* empty, or a sentence that says what to do */
	bool		over_arena;		/* PLM_ELIMIT: an arena's limit is what would be passed; its host can say where it is set */
} PlmError;

/* Fill err (which may be NULL) and return code, so that callers can write "return plm_fail(...)". */
PlmStatus	plm_fail(PlmError *err, PlmStatus code, int64_t position, const char *fmt,...)
			__attribute__((format(printf, 4, 5)));

/* Add a hint to the error just raised; returns err->code (PLM_EINTERNAL when err is NULL). */
PlmStatus	plm_hint(PlmError *err, const char *fmt,...) __attribute__((format(printf, 2, 3)));

/* Put "prefix: " before the message of an error on its way up; returns err->code. */
PlmStatus	plm_prefix(PlmError *err, const char *fmt,...) __attribute__((format(printf, 2, 3)));

#define PLM_TRY(expr) \
	do { PlmStatus plm_try_ = (expr); if (plm_try_ != PLM_OK) return plm_try_; } while (0)

/* ---- the host's hooks, arenas: base/arena.c ---- */

/*
 * What the engine may ask of its host.  All are called on the main thread only.
 * alloc returns NULL when it refuses (it must not jump); stop returns true when work must end.
 */
typedef struct PlmHook
{
	void	   *(*alloc) (void *arg, size_t bytes);
	void		(*release) (void *arg, void *ptr);
	bool		(*stop) (void *arg);	/* NULL: never */
	void	   *arg;
} PlmHook;

/* malloc, free, never stop: for unit tests, fuzz targets and benchmarks. */
extern const PlmHook plm_libc_hook;

typedef struct PlmArenaBlock PlmArenaBlock;

/*
 * A stack of blocks taken from the hook.  Every pointer is 64-byte aligned and lives until the
 * arena is rewound past it or freed.  Not thread-safe: one thread owns an arena.
 */
typedef struct PlmArena
{
	const PlmHook *hook;
	PlmArenaBlock *top;
	size_t		taken;			/* bytes held from the hook */
	size_t		limit;			/* refuse to hold more; 0: no limit */
} PlmArena;

typedef struct PlmMark
{
	PlmArenaBlock *top;
	size_t		used;
} PlmMark;

void		plm_arena_init(PlmArena *arena, const PlmHook *hook, size_t limit);
void		plm_arena_beside(PlmArena *arena, const PlmArena *other);	/* same host, what is left of the other's limit */
void	   *plm_arena_alloc(PlmArena *arena, size_t bytes);	/* NULL: refused */
void	   *plm_arena_zero(PlmArena *arena, size_t bytes);	/* same, zeroed */
void	   *plm_arena_array(PlmArena *arena, size_t count, size_t size);	/* checks overflow */
char	   *plm_arena_strndup(PlmArena *arena, const char *s, size_t len);	/* adds a NUL */
PlmMark		plm_arena_mark(const PlmArena *arena);
void		plm_arena_rewind(PlmArena *arena, PlmMark mark);
void		plm_arena_free(PlmArena *arena);

/* The error for a NULL from an arena: PLM_ELIMIT when its limit is why, else PLM_ENOMEM. */
PlmStatus	plm_arena_refused(const PlmArena *arena, size_t bytes, PlmError *err);

/* a * b and a + b without wrapping; false on overflow. */
static inline bool
plm_mul(size_t a, size_t b, size_t *out)
{
	return !__builtin_mul_overflow(a, b, out);
}

static inline bool
plm_add(size_t a, size_t b, size_t *out)
{
	return !__builtin_add_overflow(a, b, out);
}

static inline size_t
plm_align(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

/* ---- threads: base/pool.c (the only user of pthread.h) ---- */

/* Handed to every task: which worker runs it (0 is the main thread), and whether to go on. */
typedef struct PlmWorker
{
	int			index;
	struct PlmRun *run;
} PlmWorker;

typedef PlmStatus (*PlmTask) (void *arg, int64_t chunk, PlmWorker *worker, PlmError *err);

/*
 * Run task(arg, 0 .. chunks - 1) on up to `threads` threads, the caller's among them; returns when
 * all have ended.  The pool is created on first use with more than one thread; its threads block
 * all signals and touch plain memory only: tasks must not call the hook (size workspaces before).
 * The error of the lowest failing chunk is returned.  PLM_ECANCELLED when hook->stop said so.
 * Work is cut by the caller into chunks by shape alone, so results never depend on `threads`.
 */
PlmStatus	plm_parallel(int threads, int64_t chunks, PlmTask task, void *arg,
						 const PlmHook *hook, PlmError *err);

/* True when the run must end; cheap; the main thread also asks the hook.  Call every few ms. */
bool		plm_stopped(PlmWorker *worker);

/* For code that runs on the main thread outside plm_parallel: a worker over the hook alone. */
typedef struct PlmRun
{
	const PlmHook *hook;
	int			stop;			/* atomic */
} PlmRun;

static inline PlmWorker
plm_main_worker(PlmRun *run, const PlmHook *hook)
{
	run->hook = hook;
	run->stop = 0;
	return (PlmWorker) {0, run};
}

/* Fills err with PLM_ECANCELLED. */
PlmStatus	plm_cancelled(PlmError *err);

/* ---- CPU: base/cpu.c ---- */

/* From slow to fast.  A processor need not have all that stand before its best: those of another family, or AVX-VNNI. */
typedef enum PlmSimd
{
	PLM_SIMD_PORTABLE = 0,		/* plain C */
	PLM_SIMD_AVX2,				/* AVX2, FMA, F16C */
	PLM_SIMD_AVX2_VNNI,			/* and AVX-VNNI */
	PLM_SIMD_AVX512,			/* AVX-512 F, BW, DQ, VL */
	PLM_SIMD_AVX512_VNNI,		/* and VNNI */
	PLM_SIMD_AVX512_BF16,		/* and BF16 */
	PLM_SIMD_NEON,				/* every 64-bit Arm */
	PLM_SIMD_NEON_DOT,			/* and its dot product */
	PLM_SIMD_LEVELS
} PlmSimd;

bool		plm_cpu_has(PlmSimd level);
PlmSimd		plm_cpu_best(void);	/* detected once */
const char *plm_simd_name(PlmSimd level);	/* portable, avx2, avx2_vnni, ... */

/* ---- checksum and random numbers: base/hash.c ---- */

/* 64-bit checksum against damage (not against malice), some 10 GB/s; chainable through seed. */
uint64_t	plm_checksum(const void *data, size_t bytes, uint64_t seed);

/* Counter-based (Widynski, "Squares", 2020): the n-th number of a stream, in any order. */
uint32_t	plm_random(uint64_t seed, uint64_t counter);

/* plm_random() in two parts, for loops over many numbers of one stream: the seed's key once, then each number in line. */
uint64_t	plm_random_key(uint64_t seed);

static inline uint32_t
plm_random_keyed(uint64_t key, uint64_t counter)
{
	uint64_t	x = counter * key;
	uint64_t	y = x;
	uint64_t	z = y + key;

	x = x * x + y;
	x = (x >> 32) | (x << 32);
	x = x * x + z;
	x = (x >> 32) | (x << 32);
	x = x * x + y;
	x = (x >> 32) | (x << 32);
	return (uint32_t) ((x * x + z) >> 32);
}

double		plm_random_uniform(uint64_t seed, uint64_t counter);	/* [0, 1) */
double		plm_random_normal(uint64_t seed, uint64_t counter);		/* mean 0, deviation 1 */

/* ---- small strings ---- */

/* A span of bytes that somebody else owns. */
typedef struct PlmText
{
	const char *data;
	size_t		len;
} PlmText;

#define PLM_TEXT(literal) ((PlmText) {(literal), sizeof(literal) - 1})

#define PLM_COUNT(array) ((int64_t) (sizeof(array) / sizeof((array)[0])))

#endif							/* PLM_BASE_H */
