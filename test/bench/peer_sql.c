/*
 * peer_sql.c -- the contract is in peer_sql.h.  psql's \timing is the clock: from the statement's sending to its result.
 */
#include "peer_sql.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_BYTES 65536

static pid_t backend;			/* of the connection that was asked last */
static char line[LINE_BYTES];
static char query[512];			/* that embeds load 0, the same for all connections */

static void
fail(const char *what)
{
	fprintf(stderr, "bench: through SQL: %s\n", what);
	exit(1);
}

/* Send a statement, which must give one line; the answer is in `line`. */
static void
ask(Peer *peer, const char *statement)
{
	if (fprintf(peer->to, "%s\n", statement) < 0 || fflush(peer->to) != 0 || fgets(line, sizeof(line), peer->from) == NULL)
		fail(statement);
	line[strcspn(line, "\n")] = '\0';
}

static void
write_files(const PlmFileSet *files, const char *folder)
{
	char		path[768];
	PlmError	err;

	mkdir(folder, 0755);
	for (int i = 0; i < files->n; i++)
	{
		const PlmSource *s = &files->files[i];
		char	   *data = malloc(s->size);
		FILE	   *f;

		snprintf(path, sizeof(path), "%s/%s", folder, s->name);
		if (strchr(s->name, '/') != NULL)
		{
			*strrchr(path, '/') = '\0';
			mkdir(path, 0755);
			snprintf(path, sizeof(path), "%s/%s", folder, s->name);
		}
		f = fopen(path, "wb");
		if (data == NULL || f == NULL || s->read(s->arg, 0, s->size, data, &err) != PLM_OK || fwrite(data, 1, s->size, f) != s->size ||
			fclose(f) != 0)
			fail(path);
		free(data);
	}
}

/* The texts consist of letters and spaces: nothing needs quoting. */
static void
send_load(Peer *peer, int w, const Load *load)
{
	fprintf(peer->to, "CREATE TEMP TABLE load%d AS SELECT ARRAY[", w);
	for (int64_t i = 0; i < load->n; i++)
		fprintf(peer->to, "%s'%.*s'", i > 0 ? "," : "", (int) load->inputs[i].first.len, load->inputs[i].first.data);
	fprintf(peer->to, "]::text[] AS texts;\n");
}

void
sql_start(Peer *peer, const char *model, const PlmFileSet *files, const char *folder, const Load *loads, int n)
{
	char	   *argv[] = {"psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", "postgres", NULL};
	char		statement[1024];

	write_files(files, folder);
	if (!peer_spawn(peer, argv))
		fail("psql");
	fprintf(peer->to, "SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS product_llm; SET search_path = product_llm, public;\n");
	snprintf(statement, sizeof(statement), "SELECT 'loaded' FROM (SELECT load_model('%s', '%s')) AS l;", model, folder);
	ask(peer, statement);
	for (int w = 0; w < n; w++)
		send_load(peer, w, &loads[w]);
	fprintf(peer->to, "PREPARE one (text) AS SELECT cardinality(embed('%s', $1));\n", model);
	for (int w = 1; w < n; w++)
		fprintf(peer->to, "PREPARE many%d AS SELECT count(e) FROM load%d, embed('%s', texts) AS e;\n", w, w, model);
	snprintf(statement, sizeof(statement), "PREPARE vector AS SELECT embed('%s', texts[1]) FROM load0;\nSELECT pg_backend_pid();", model);
	ask(peer, statement);
	snprintf(query, sizeof(query), "EXECUTE one ('%.*s');", (int) loads[0].inputs[0].first.len, loads[0].inputs[0].first.data);
	ask(peer, query);
}

void
sql_threads(Peer *peer, int threads)
{
	char		statement[96];

	snprintf(statement, sizeof(statement), "SET product_llm.threads = %d; SELECT pg_backend_pid();", threads);
	ask(peer, statement);
	backend = (pid_t) atoi(line);
}

/* Seconds that the server's process has computed, its main thread alone. */
static double
server_cpu(void)
{
	char		path[64];
	double		ns = 0;
	FILE	   *f;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", (int) backend);
	f = fopen(path, "r");
	if (f != NULL && fscanf(f, "%lf", &ns) != 1)
		ns = 0;
	if (f != NULL)
		fclose(f);
	return ns * 1e-9;
}

Timing
sql_run(Peer *peer, int w, int times)
{
	double	   *wall = malloc((size_t) times * sizeof(double));
	double	   *cpu = malloc((size_t) times * sizeof(double));
	char		many[64];
	const char *statement = w == 0 ? query : many;
	Timing		t;

	if (wall == NULL || cpu == NULL)
		exit(1);
	fprintf(peer->to, "\\timing on\n");
	ask(peer, "SELECT pg_backend_pid();");
	backend = (pid_t) atoi(line);
	if (fgets(line, sizeof(line), peer->from) == NULL)
		fail("no timing");
	snprintf(many, sizeof(many), "EXECUTE many%d;", w);
	for (int i = 0; i < times; i++)
	{
		cpu[i] = -server_cpu();
		ask(peer, statement);
		if (fgets(line, sizeof(line), peer->from) == NULL || sscanf(line, "Time: %lf ms", &wall[i]) != 1)
			fail("no timing");
		wall[i] *= 1e-3;
		cpu[i] += server_cpu();
	}
	fprintf(peer->to, "\\timing off\n");
	t.p50 = median_of(wall, times);
	t.p99 = wall[times * 99 / 100];
	t.cpu = median_of(cpu, times);
	free(wall);
	free(cpu);
	return t;
}

void
sql_embedding(Peer *peer, float *out, int64_t width)
{
	char	   *at = line;

	ask(peer, "EXECUTE vector;");
	for (int64_t i = 0; i < width; i++)
		out[i] = strtof(at + 1, &at);
	if (*at != '}')
		fail("the embedding is cut");
}
