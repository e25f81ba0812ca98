/*
 * bench_engine.c -- the engine in process, the same through SQL, ONNX Runtime and PyTorch on the same weights and token ids: W1, W2
 * and W3 of load.h, MiniLM-L6 and BERT-base shapes, one and two threads.
 *
 *   bench_engine [FOLDER]
 *
 * FOLDER: where the peers' files go; node_modules/onnxruntime-node may be there (test/lib/bench.sh puts it there).  Without it, or where
 * a runtime is not there, that peer is left out with a line that says so.  Peers are processes of their own; all take turns in each
 * round, and a figure is the median of rounds.  Every peer's embeddings are compared with ours first.  Our engine is given texts and
 * tokenizes them, peers are given ids.
 *
 * "Microseconds more" of embed(text): a prepared statement's time, from sending it over a Unix socket to its row, less the engine's in process;
 * beside it stands what a prepared statement takes that computes nothing, by itself and right after a pass of the engine in process on the
 * same core: a pass over weights beyond the caches leaves nothing of the server, the client or the kernel in them.
 *
 * W4, one long text, is the engine's alone: one thread and two take turns, by the wall's clock.
 *
 * Percentages are of the peak that this run measured for the precision, of one core for one thread, of two for two.
 *
 * BENCH_SCALE=0.1      a tenth of W2's texts (BERT-base takes a quarter of them anyway)
 * BENCH_SHAPE=NAME     one shape
 * BENCH_ROUNDS=5       rounds (3 for BERT-base); 0: only load the models through SQL
 * BENCH_THREADS=1      one thread only
 * BENCH_CLOCK=cpu      one-thread figures by processor time, for a machine that others use too; two threads stay by the wall's
 * BENCH_SVG=PATH       a chart
 * BENCH_SQL=FOLDER     through SQL too: it connects as the environment says, the server reads models from new folders in this one
 */
#include "peak.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../unit/random_model.h"
#include "chart.h"
#include "onnx.h"
#include "peer.h"
#include "peer_sql.h"

#define MAX_ROUNDS 15
#define LOADS 3

static const Shape shapes[] = {
	{"MiniLM-L6", 384, 6, 12, 1536},
	{"BERT-base", 768, 12, 12, 3072},
};

enum Case {OURS_F32, OURS_BF16, OURS_INT8, SQL_F32, SQL_INT8, ORT_F32, ORT_INT8, TORCH_F32, CASES};

static const struct
{
	const char *name;
	PlmPrecision precision;
} cases[CASES] = {
	{"product_llm f32", PLM_PREC_F32}, {"product_llm bf16", PLM_PREC_BF16}, {"product_llm int8", PLM_PREC_INT8},
	{"through SQL f32", PLM_PREC_F32}, {"through SQL int8", PLM_PREC_INT8},
	{"ONNX Runtime f32", PLM_PREC_F32}, {"ONNX Runtime int8", PLM_PREC_INT8}, {"PyTorch f32", PLM_PREC_F32},
};

/* Seconds; 0: not measured. */
typedef struct Figures
{
	double		took[LOADS][2];	/* [W1, W2, W3][threads - 1] */
	double		p99;			/* of W1 */
	double		bytes;			/* private, with the model loaded */
	double		floor;			/* of a statement through SQL that computes nothing, beside W1 */
	double		cold;			/* of the same, after a pass of the engine */
} Figures;

typedef struct Bench
{
	const Shape *shape;
	char	   *folder;			/* absolute; NULL: no peers */
	int			rounds;
	bool		by_cpu;
	PlmArena	arena;
	TestModel	model[PLM_PRECISIONS];
	Load		load[LOADS];
	float	   *out;			/* (n,width) of the load in work */
	float	   *theirs;
	Peer		peer[CASES];
	SqlPeer		sql[CASES];
	Figures		figures[CASES];
	double		long_text[SQL_F32][2];	/* of W4: [threads - 1] */
	double		peak[PLM_PRECISIONS];
} Bench;

static double
setting(const char *name, double otherwise)
{
	const char *text = getenv(name);

	return text != NULL ? atof(text) : otherwise;
}

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "bench: %s: %s\n", what, why);
	exit(1);
}

static const char *
path_of(const Bench *b, const char *name, char *out, size_t size)
{
	snprintf(out, size, "%s/%s", b->folder, name);
	return out;
}

/* ---- models, loads, and their files ---- */

static void
open_models(Bench *b)
{
	RandomModel spec = random_model_defaults();
	RandomFiles files;
	PlmError	err;

	spec.vocab = BENCH_VOCAB;
	spec.width = b->shape->width;
	spec.layers = b->shape->layers;
	spec.heads = b->shape->heads;
	spec.ff = b->shape->ff;
	spec.positions = BENCH_POSITIONS;
	spec.deviation = 0.05;
	if (!random_model_files(&spec, &b->arena, &files))
		die("model", "out of memory");
	for (int p = 0; p < PLM_PRECISIONS; p++)
		if (test_model_open(&files.set, (PlmPrecision) p, &b->arena, &b->model[p], &err) != PLM_OK)
			die("model", err.message);
	for (int c = SQL_F32; c <= SQL_INT8 && getenv("BENCH_SQL") != NULL; c++)
	{
		char		folder[512];

		/* The precision is the only difference: the weights' streams are the same. */
		spec.product_llm = c == SQL_INT8 ? "{\"precision\": \"int8\"}" : NULL;
		if (!random_model_files(&spec, &b->arena, &files))
			die("model", "out of memory");
		snprintf(folder, sizeof(folder), "%s/%s-%s", getenv("BENCH_SQL"), b->shape->name, plm_precision_name(cases[c].precision));
		sql_start(&b->sql[c], strrchr(folder, '/') + 1, &files.set, folder, b->load, LOADS);
		sql_embedding(&b->sql[c], b->theirs, b->shape->width);
		load_run(b->model[cases[c].precision].model, &b->load[0], 1, 1, b->out);
		if (memcmp(b->out, b->theirs, (size_t) b->shape->width * sizeof(float)) != 0)
			die(cases[c].name, "its embedding is not the engine's, bit for bit");
	}
}

static void
write_files(Bench *b)
{
	char		path[512], name[16];
	bool		ok = b->folder != NULL;

	ok = ok && onnx_write(b->model[PLM_PREC_F32].model, path_of(b, "f32.onnx", path, sizeof(path)));
	ok = ok && onnx_write(b->model[PLM_PREC_INT8].model, path_of(b, "int8.onnx", path, sizeof(path)));
	ok = ok && weights_write(b->model[PLM_PREC_F32].model, path_of(b, "weights.bin", path, sizeof(path)));
	for (int w = 0; ok && w < LOADS; w++)
	{
		snprintf(name, sizeof(name), "w%d.bin", w + 1);
		ok = load_write(&b->load[w], b->model[PLM_PREC_F32].model, path_of(b, name, path, sizeof(path)));
	}
	if (!ok && b->folder != NULL)
		die("peers' files", "cannot write them");
}

static void
begin(Bench *b)
{
	double		scale = setting("BENCH_SCALE", 1) / (b->shape->width > 500 ? 4 : 1);

	plm_arena_init(&b->arena, &plm_libc_hook, 0);
	for (int w = 0; w < LOADS; w++)
		b->load[w] = load_make(&b->arena, b->shape, w + 1, scale);
	b->out = plm_arena_array(&b->arena, 1000, (size_t) b->shape->width * sizeof(float));
	b->theirs = plm_arena_array(&b->arena, 1000, (size_t) b->shape->width * sizeof(float));
	open_models(b);
	write_files(b);
}

/* ---- peers ---- */

static void
start_peers(Bench *b, int threads)
{
	char		number[8][16], model[512];
	const int	sizes[] = {BENCH_VOCAB, b->shape->width, b->shape->layers, b->shape->heads, b->shape->ff, BENCH_POSITIONS, threads};

	for (int i = 0; i < PLM_COUNT(sizes); i++)
		snprintf(number[i], sizeof(number[i]), "%d", sizes[i]);
	for (int c = ORT_F32; c < CASES; c++)
	{
		char	   *node[] = {"node", "test/bench/peer_onnx.mjs", b->folder, model, number[6], NULL};
		char	   *torch[] = {"/usr/bin/env", "-u", "OPENBLAS_CORETYPE", "-u", "OPENBLAS_L2_SIZE", "/usr/bin/python3",
		"test/bench/peer_torch.py", model, number[0], number[1], number[2], number[3], number[4], number[5], number[6], NULL};

		path_of(b, c == ORT_F32 ? "f32.onnx" : c == ORT_INT8 ? "int8.onnx" : "weights.bin", model, sizeof(model));
		if (!peer_start(&b->peer[c], c == TORCH_F32 ? torch : node) && threads == 1)
			printf("%s: not there, left out\n", cases[c].name);
	}
}

/* Least cosine of a peer's rows with ours, both of length 1. */
static double
least_cosine(const Bench *b, const Load *load)
{
	double		least = 1;

	for (int64_t i = 0; i < load->n; i++)
		least = fmin(least, plm_dot(b->out + i * b->shape->width, b->theirs + i * b->shape->width, b->shape->width));
	return least;
}

/*
 * Do a peer's embeddings equal ours?  fp32 differs by the order of its sums; the peer's int8 has one scale for all activations of a
 * batch, ours one for each token, so that the two are only near.
 */
static void
compare(Bench *b, int c, int w)
{
	const Load *load = &b->load[w];
	char		path[512], answer[64];
	size_t		n = (size_t) (load->n * b->shape->width);
	double		least, wanted = cases[c].precision == PLM_PREC_F32 ? 0.99999 : 0.9;
	FILE	   *f;

	path_of(b, "out.bin", path, sizeof(path));
	if (!peer_ask(&b->peer[c], "write", path, answer, sizeof(answer)))
		die(cases[c].name, "ended");
	f = fopen(path, "rb");
	if (f == NULL || fread(b->theirs, sizeof(float), n, f) != n)
		die(cases[c].name, "wrote no embeddings");
	fclose(f);
	load_run(b->model[cases[c].precision].model, load, 1, 1, b->out);
	least = least_cosine(b, load);
	printf("  W%d: %s against product_llm %s: least cosine %.6f\n", w + 1, cases[c].name, plm_precision_name(cases[c].precision), least);
	if (!(least >= wanted))
		die(cases[c].name, "its embeddings are not ours");
}

/* ---- measuring ---- */

/* An empty statement's time right after a pass of our engine: between two embed() there is one as well. */
static double
cold_floor(Bench *b, int c, int times)
{
	const PlmModel *model = b->model[cases[c].precision].model;
	double		wall[100];

	for (int i = 0; i < times; i++)
	{
		load_run(model, &b->load[0], 1, 1, b->out);
		wall[i] = sql_run(&b->sql[c], SQL_FLOOR, 1).p50;
	}
	return median_of(wall, times);
}

static void
measure(Bench *b, int w, int threads)
{
	const Load *load = &b->load[w];
	int			times = w == 0 ? 40 : 1;
	double		took[CASES][MAX_ROUNDS], p99[CASES][MAX_ROUNDS], floors[CASES][MAX_ROUNDS] = {{0}}, cold[CASES][MAX_ROUNDS] = {{0}};
	char		path[512], name[16], answer[64];

	snprintf(name, sizeof(name), "w%d.bin", w + 1);
	for (int c = 0; c < CASES; c++)
	{
		if (c < SQL_F32)
			load_run(b->model[cases[c].precision].model, load, threads, 1, b->out);
		else if (c < ORT_F32 && b->sql[c].connection != NULL)
			sql_threads(&b->sql[c], threads);
		else if (b->peer[c].pid != 0)
		{
			if (!peer_ask(&b->peer[c], "load", path_of(b, name, path, sizeof(path)), answer, sizeof(answer)))
				die(cases[c].name, "ended");
			if (threads == 1)
				compare(b, c, w);
		}
	}
	for (int r = 0; r < b->rounds; r++)
		for (int turn = 0; turn < CASES; turn++)
		{
			/* There and back: whoever comes before leaves something in the caches. */
			int			c = r % 2 == 0 ? turn : CASES - 1 - turn;
			Timing		t = {0};

			if (c < SQL_F32)
				t = load_run(b->model[cases[c].precision].model, load, threads, times, b->out);
			else if (c < ORT_F32 && b->sql[c].connection != NULL)
			{
				t = sql_run(&b->sql[c], SQL_FLOOR, times);
				floors[c][r] = b->by_cpu && threads == 1 ? t.cpu : t.p50;
				if (w == 0)
					cold[c][r] = cold_floor(b, c, times);
				t = sql_run(&b->sql[c], w, times);
			}
			else if (b->peer[c].pid != 0 && !peer_run(&b->peer[c], times, &t))
				die(cases[c].name, "ended");
			took[c][r] = b->by_cpu && threads == 1 ? t.cpu : t.p50;
			p99[c][r] = t.p99;
		}
	for (int c = 0; c < CASES; c++)
	{
		b->figures[c].took[w][threads - 1] = median_of(took[c], b->rounds);
		if (w == 0)
		{
			b->figures[c].p99 = median_of(p99[c], b->rounds);
			b->figures[c].floor = median_of(floors[c], b->rounds);
			b->figures[c].cold = median_of(cold[c], b->rounds);
		}
	}
}

/* One text as long as the model takes: two threads share its rows and heads (team.c), and compute the bits of one. */
static void
measure_long(Bench *b)
{
	Load		load = load_make(&b->arena, b->shape, 4, 1);

	for (int c = 0; c < SQL_F32; c++)
	{
		const PlmModel *model = b->model[cases[c].precision].model;
		double		took[2][MAX_ROUNDS];

		load_run(model, &load, 1, 1, b->out);
		load_run(model, &load, 2, 1, b->theirs);
		if (memcmp(b->out, b->theirs, (size_t) b->shape->width * sizeof(float)) != 0)
			die(cases[c].name, "two threads' embedding of a long text is not that of one, bit for bit");
		for (int r = 0; r < b->rounds; r++)
			for (int threads = 1; threads <= 2; threads++)
				took[threads - 1][r] = load_run(model, &load, threads, 1, b->out).p50;
		for (int threads = 1; threads <= 2; threads++)
			b->long_text[c][threads - 1] = median_of(took[threads - 1], b->rounds);
	}
}

static void
print_long(const Bench *b)
{
	for (int c = 0; c < SQL_F32 && b->long_text[c][1] > 0; c++)
		printf("W4, one text of %d tokens: %-17s %8.1f ms with one thread, %8.1f with two, %.2f x\n", BENCH_POSITIONS, cases[c].name,
			   1e3 * b->long_text[c][0], 1e3 * b->long_text[c][1], b->long_text[c][0] / b->long_text[c][1]);
}

static void
measure_all(Bench *b)
{
	for (int threads = 1; threads <= (int) setting("BENCH_THREADS", 2); threads++)
	{
		if (b->folder != NULL)
			start_peers(b, threads);
		for (int w = threads == 1 ? 0 : 1; w < LOADS; w++)
			measure(b, w, threads);
		for (int c = ORT_F32; c < CASES; c++)
		{
			if (threads == 1 && b->peer[c].pid != 0)
				b->figures[c].bytes = private_bytes(b->peer[c].pid);
			peer_stop(&b->peer[c]);
		}
	}
}

/* ---- the table, and how far from the bars ---- */

static double
speed(const Bench *b, int c, int w, int threads)
{
	double		took = b->figures[c].took[w][threads - 1];

	return took > 0 ? (double) b->load[w].n / took : 0;
}

static double
percent(const Bench *b, int c, int w, int threads)
{
	double		peak = b->peak[cases[c].precision] > 0 ? b->peak[cases[c].precision] : b->peak[PLM_PREC_F32];
	double		took = b->figures[c].took[w][threads - 1];

	return took > 0 && peak > 0 ? 100 * b->load[w].flops / took / 1e9 / (peak * threads) : 0;
}

static void
print_table(const Bench *b)
{
	printf("%-10s           W1 p50   p99 ms | W2 1 thread texts/s   %% |  2 threads     x | W3 1 thread texts/s   %% |  2 threads     x | private MB\n",
		   b->shape->name);
	for (int c = 0; c < CASES; c++)
	{
		if (b->figures[c].took[0][0] <= 0)
			continue;
		printf("%-17s %9.3f %8.3f |", cases[c].name, 1e3 * b->figures[c].took[0][0], 1e3 * b->figures[c].p99);
		for (int w = 1; w < LOADS; w++)
			printf(" %19.1f %3.0f | %10.1f %5.2f |", speed(b, c, w, 1), percent(b, c, w, 1), speed(b, c, w, 2),
				   speed(b, c, w, 2) / speed(b, c, w, 1));
		if (c >= ORT_F32)
			printf(" %10.0f", b->figures[c].bytes / 1e6);
		printf("\n");
	}
}

static void
print_bar(const char *what, double value, double bar, double goal, bool less)
{
	if (isfinite(value) && value > 0)
		printf("  %-46s %6.2f   bar %5.2f %s   goal %5.2f %s\n", what, value, bar,
			   (less ? value <= bar : value >= bar) ? "met   " : "MISSED", goal,
			   (less ? value <= goal : value >= goal) ? "met" : "missed");
}

static void
print_bars(const Bench *b)
{
	const Figures *f = b->figures;

#define OVER(theirs, ours, w) (f[theirs].took[w][0] / f[ours].took[w][0])
	printf("one thread, as ratios:\n");
	print_bar("W2 f32 over ONNX Runtime f32", OVER(ORT_F32, OURS_F32, 1), 1.2, 1.35, false);
	print_bar("W2 f32, share of peak", percent(b, OURS_F32, 1, 1) / 100, 0.82, 0.92, false);
	print_bar("W2 int8 over ONNX Runtime int8", OVER(ORT_INT8, OURS_INT8, 1), 1.3, 1.6, false);
	print_bar("W2 int8 over f32", OVER(OURS_F32, OURS_INT8, 1), 2.6, 3.2, false);
	print_bar("W2 bf16 over f32", OVER(OURS_F32, OURS_BF16, 1), 1.6, 1.85, false);
	print_bar("W1 latency f32 over ONNX Runtime f32", 1 / OVER(ORT_F32, OURS_F32, 0), 0.45, 0.36, true);
	print_bar("W1 latency int8 over ONNX Runtime int8", 1 / OVER(ORT_INT8, OURS_INT8, 0), 0.65, 0.45, true);
	print_bar("W3 f32 over ONNX Runtime f32", OVER(ORT_F32, OURS_F32, 2), 1.25, 1.5, false);
	print_bar("W3 int8 over ONNX Runtime int8", OVER(ORT_INT8, OURS_INT8, 2), 1.5, 2.4, false);
	print_bar("W2 f32 over PyTorch", OVER(TORCH_F32, OURS_F32, 1), 1.2, 1.35, false);
	if (!b->by_cpu)
		for (int c = 0; c < SQL_F32; c++)
		{
			char		what[64];

			snprintf(what, sizeof(what), "W2 %s, two threads over one", cases[c].name);
			print_bar(what, speed(b, c, 1, 2) / speed(b, c, 1, 1), 1.85, 1.95, false);
		}
#undef OVER
	for (int c = SQL_F32; c <= SQL_INT8; c++)
	{
		int			ours = c == SQL_F32 ? OURS_F32 : OURS_INT8;
		char		what[96];

		snprintf(what, sizeof(what), "embed(text[]) %s over the engine", plm_precision_name(cases[c].precision));
		print_bar(what, speed(b, c, 1, 1) / speed(b, ours, 1, 1), 0.95, 0.98, false);
		snprintf(what, sizeof(what), "embed(text) %s, us more (empty statement: %.0f, after a pass %.0f)", plm_precision_name(cases[c].precision),
				 1e6 * f[c].floor, 1e6 * f[c].cold);
		print_bar(what, 1e6 * (f[c].took[0][0] - f[ours].took[0][0]), 60, 25, true);
	}
}

static void
add_bars(const Bench *b, Bars *w2, Bars *w1)
{
	snprintf(w2->title, sizeof(w2->title), "%s: product texts a second, one thread (longer is better)", b->shape->name);
	snprintf(w1->title, sizeof(w1->title), "%s: one query of 8 tokens (shorter is better)", b->shape->name);
	w2->unit = "texts/s";
	w1->unit = "ms";
	w1->n = w2->n = CASES;
	for (int c = 0; c < CASES; c++)
	{
		w2->bar[c] = (Bar) {cases[c].name, speed(b, c, 1, 1), c <= OURS_INT8};
		w1->bar[c] = (Bar) {cases[c].name, 1e3 * b->figures[c].took[0][0], c <= OURS_INT8};
	}
}

static void
run(Bench *b)
{
	for (int p = 0; p < PLM_PRECISIONS; p++)
		b->peak[p] = bench_peak_of(p == PLM_PREC_F32 ? PEAK_F32 : p == PLM_PREC_BF16 ? PEAK_BF16 : PEAK_INT8);
	printf("%s: kernels %s; one core holds %.0f GFLOP/s in f32, %.0f in bf16, %.0f in int8; %d rounds%s\n", b->shape->name,
		   plm_simd_name(plm_simd_active()), b->peak[PLM_PREC_F32], b->peak[PLM_PREC_BF16], b->peak[PLM_PREC_INT8], b->rounds,
		   b->by_cpu ? "; one thread by processor time" : "");
	begin(b);
	measure_all(b);
	if (setting("BENCH_THREADS", 2) >= 2)
		measure_long(b);
	print_table(b);
	print_long(b);
	print_bars(b);
}

int
main(int argc, char **argv)
{
	static Bars bars[2 * PLM_COUNT(shapes)];
	const char *only = getenv("BENCH_SHAPE");
	const char *clock = getenv("BENCH_CLOCK");
	int			groups = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 0; i < PLM_COUNT(shapes); i++)
	{
		Bench		b = {.shape = &shapes[i], .folder = argc > 1 ? realpath(argv[1], NULL) : NULL, .by_cpu = clock != NULL && strcmp(clock, "cpu") == 0};

		if (only != NULL && strcmp(only, b.shape->name) != 0)
			continue;
		b.rounds = (int) fmin(MAX_ROUNDS, fmax(0, setting("BENCH_ROUNDS", b.shape->width > 500 ? 3 : 5)));
		if (b.rounds > 0)
		{
			run(&b);
			add_bars(&b, &bars[groups], &bars[groups + 1]);
			groups += 2;
		}
		else
			begin(&b);
		for (int p = 0; p < PLM_PRECISIONS; p++)
			test_model_close(&b.model[p]);
		for (int c = SQL_F32; c <= SQL_INT8; c++)
			sql_stop(&b.sql[c]);
		plm_arena_free(&b.arena);
		free(b.folder);
	}
	if (getenv("BENCH_SVG") != NULL && !chart_write(getenv("BENCH_SVG"), "product_llm in process beside other runtimes", groups, bars))
		return 1;
	return 0;
}
