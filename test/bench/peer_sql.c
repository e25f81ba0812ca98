/*
 * peer_sql.c -- the contract is in peer_sql.h.  The clock runs from a statement's sending to its last row.
 *
 * Where single statements are timed, client and backend share a core.  Otherwise the scheduler decides, and an empty statement takes
 * either what it computes or several times as much, in which one core wakes another.
 */
#include "peer_sql.h"

#include <libpq-fe.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static void
fail(const char *what, const char *why)
{
	fprintf(stderr, "bench: through SQL: %s: %s\n", what, why);
	exit(1);
}

/* The result, which must have rows or be a command's. */
static PGresult *
checked(SqlPeer *peer, PGresult *result, const char *what)
{
	if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
		fail(what, PQerrorMessage(peer->connection));
	return result;
}

static void
run(SqlPeer *peer, const char *statement)
{
	PQclear(checked(peer, PQexec(peer->connection, statement), statement));
}

static void
prepare(SqlPeer *peer, const char *name, const char *statement)
{
	PQclear(checked(peer, PQprepare(peer->connection, name, statement, 0, NULL), statement));
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
			fail(path, "cannot be written");
		free(data);
	}
}

/* The texts consist of letters and spaces: nothing needs quoting. */
static void
send_load(SqlPeer *peer, int w, const Load *load)
{
	size_t		room = 128, len = 0;
	char	   *statement;

	for (int64_t i = 0; i < load->n; i++)
		room += load->inputs[i].first.len + 3;
	statement = malloc(room);
	if (statement == NULL)
		exit(1);
	len += (size_t) sprintf(statement, "CREATE TEMP TABLE load%d AS SELECT ARRAY[", w);
	for (int64_t i = 0; i < load->n; i++)
		len += (size_t) sprintf(statement + len, "%s'%.*s'", i > 0 ? "," : "", (int) load->inputs[i].first.len, load->inputs[i].first.data);
	sprintf(statement + len, "]::text[] AS texts");
	run(peer, statement);
	free(statement);
}

void
sql_start(SqlPeer *peer, const char *model, const PlmFileSet *files, const char *folder, const Load *loads, int n)
{
	char		statement[1024], name[16];

	write_files(files, folder);
	peer->connection = PQconnectdb("dbname=postgres");
	if (PQstatus(peer->connection) != CONNECTION_OK)
		fail("connection", PQerrorMessage(peer->connection));
	peer->backend = PQbackendPID(peer->connection);
	run(peer, "SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS product_llm; SET search_path = product_llm, public");
	snprintf(statement, sizeof(statement), "SELECT load_model('%s', '%s')", model, folder);
	run(peer, statement);
	for (int w = 0; w < n; w++)
		send_load(peer, w, &loads[w]);
	prepare(peer, "floor", "SELECT 1 + cardinality($1::text[])");
	snprintf(statement, sizeof(statement), "SELECT cardinality(embed('%s', $1))", model);
	prepare(peer, "many0", statement);
	for (int w = 1; w < n; w++)
	{
		snprintf(name, sizeof(name), "many%d", w);
		snprintf(statement, sizeof(statement), "SELECT count(e) FROM load%d, embed('%s', texts) AS e", w, model);
		prepare(peer, name, statement);
	}
	snprintf(peer->query, sizeof(peer->query), "%.*s", (int) loads[0].inputs[0].first.len, loads[0].inputs[0].first.data);
	snprintf(statement, sizeof(statement), "SELECT embed('%s', $1)", model);
	prepare(peer, "vector", statement);
}

void
sql_stop(SqlPeer *peer)
{
	PQfinish(peer->connection);
	*peer = (SqlPeer) {0};
}

void
sql_threads(SqlPeer *peer, int threads)
{
	char		statement[64];

	snprintf(statement, sizeof(statement), "SET product_llm.threads = %d", threads);
	run(peer, statement);
}

/* Seconds that the server's process has computed, its main thread alone. */
static double
server_cpu(const SqlPeer *peer)
{
	char		path[64];
	double		ns = 0;
	FILE	   *f;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", peer->backend);
	f = fopen(path, "r");
	if (f != NULL && fscanf(f, "%lf", &ns) != 1)
		ns = 0;
	if (f != NULL)
		fclose(f);
	return ns * 1e-9;
}

static double
wall_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

/* Both on the core that the client is on, or where they were; without the right to move the backend it stays where it is. */
static void
share_core(const SqlPeer *peer, bool begin)
{
	static cpu_set_t before;
	cpu_set_t	one;

	if (begin)
	{
		CPU_ZERO(&one);
		CPU_SET(sched_getcpu(), &one);
		sched_getaffinity(0, sizeof(before), &before);
	}
	if (sched_setaffinity(peer->backend, sizeof(one), begin ? &one : &before) == 0)
		sched_setaffinity(0, sizeof(one), begin ? &one : &before);
}

Timing
sql_run(SqlPeer *peer, int w, int times)
{
	double	   *wall = malloc((size_t) times * sizeof(double));
	double	   *cpu = malloc((size_t) times * sizeof(double));
	const char *values[] = {w == SQL_FLOOR ? "{a}" : peer->query};
	int			parameters = w <= 0 ? 1 : 0;
	char		name[16] = "floor";
	Timing		t;

	if (wall == NULL || cpu == NULL)
		exit(1);
	if (w != SQL_FLOOR)
		snprintf(name, sizeof(name), "many%d", w);
	if (parameters > 0)
		share_core(peer, true);
	for (int i = 0; i < times; i++)
	{
		cpu[i] = -server_cpu(peer);
		wall[i] = -wall_clock();
		PQclear(checked(peer, PQexecPrepared(peer->connection, name, parameters, values, NULL, NULL, 1), name));
		wall[i] += wall_clock();
		cpu[i] += server_cpu(peer);
	}
	if (parameters > 0)
		share_core(peer, false);
	t.p50 = median_of(wall, times);
	t.p99 = wall[times * 99 / 100];
	t.cpu = median_of(cpu, times);
	free(wall);
	free(cpu);
	return t;
}

void
sql_embedding(SqlPeer *peer, float *out, int64_t width)
{
	const char *values[] = {peer->query};
	PGresult   *result = checked(peer, PQexecPrepared(peer->connection, "vector", 1, values, NULL, NULL, 0), "vector");
	char	   *at = PQgetvalue(result, 0, 0);

	for (int64_t i = 0; i < width; i++)
		out[i] = strtof(at + 1, &at);
	if (*at != '}')
		fail("the embedding", "it is cut");
	PQclear(result);
}
