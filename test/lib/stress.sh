#!/bin/sh
# "make stress": STRESS_SECONDS (600) of writes, events, searches, recommendations, feedback, forgetting and refreshing by many
# sessions, some of which are cancelled or terminated at random, with an immediate shutdown in the middle.  Then: the catalogs
# are what building them anew gives, no error was met that was not made here, and the memory of the sessions that were spared
# is flat.  STRESS_KEEP names a folder for logs.  A deadlock counts as an error: the statements take their locks in order (test/stress/*.sql).
set -eu
. "$(dirname "$0")/cluster.sh"
seconds=${STRESS_SECONDS:-600}
clients=${STRESS_CLIENTS:-6}
flat_kb=2048
bounded_kb=32768
pids=
fresh_cluster stress
psql() { command psql -XqAt -v ON_ERROR_STOP=1 -d postgres "$@"; }
cat >>"$work/db/data/postgresql.conf" <<'CONF'
log_line_prefix = '%m [%p] %a %e '
deadlock_timeout = '100ms'
autovacuum_naptime = '5s'
CONF
stop_cluster "$work/db"
rm -f "$work/db/server.log"
resume_cluster "$work/db"
log=$work/db/server.log

psql -v products=3000 -v visitors=500 -f "$top/test/bench/catalog_setup.sql" <"$top/sql/demo/products.csv"
psql -v copy="$work/db/copy.txt" -f "$top/test/stress/setup.sql"
psql -f "$top/test/t/rebuilt.sql"

# ---- sessions ----

now() { date +%s; }
mixed="write_product@4 write_copy@1 write_event@4 search@4 recommend@4 forget@1"

# client NAME SCRIPT...: a session that begins again when it is ended, until time is up.
client() {
	name=$1
	shift
	scripts=
	for s in "$@"; do scripts="$scripts -f $top/test/stress/${s%@*}.sql@${s#*@}"; done
	while left=$((deadline - $(now))) && [ "$left" -gt 0 ]; do
		# shellcheck disable=SC2086
		PGAPPNAME=$name pgbench -n -c 1 -T "$left" -D copy="'$work/db/copy.txt'" $scripts postgres >>"$work/$name.out" 2>>"$work/$name.err" || true
		sleep 0.1
	done
}

# The next victim: rather one that is at work.
strike() {
	psql -c "SELECT CASE WHEN random() < 0.5 THEN 'terminated ' || pg_terminate_backend(pid) ELSE 'cancelled ' || pg_cancel_backend(pid) END
		FROM (SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'victim%' ORDER BY state <> 'active', random() LIMIT 1 OFFSET 0) AS v"
}

# sample: "NAME PID kB" of the sessions that are spared.  Anonymous memory: of shared buffers, pages that no other process
# has touched yet count as private, too.
sample() {
	psql -c "SELECT application_name, pid FROM pg_stat_activity WHERE application_name LIKE 'spared%'" | tr '|' ' ' |
		while read -r name pid; do
			echo "$name $pid $(awk '/^Anonymous:/ {print $2}' "/proc/$pid/smaps_rollup")"
		done >>"$work/memory" 2>/dev/null || true
}

stop_clients() {
	for pid in $pids; do kill "$pid" 2>/dev/null || true; done
	pids=
}
trap 'stop_clients; stop_cluster "$work/db"; rm -rf "$work"' EXIT

deadline=$(($(now) + seconds))
half=$((deadline - seconds / 2))
for i in $(seq "$clients"); do
	# shellcheck disable=SC2086
	client "victim_$i" $mixed &
	pids="$pids $!"
done
for i in 1 2; do
	# shellcheck disable=SC2086
	client "spared_$i" $mixed &
	pids="$pids $!"
done
client victim_refresh refresh@1 &
pids="$pids $!"

next=0
while [ "$(now)" -lt "$deadline" ]; do
	if [ "$half" -gt 0 ] && [ "$(now)" -ge "$half" ]; then
		half=0
		as_server "$inst_bin/pg_ctl" -D "$work/db/data" -m immediate -w -t 60 stop >/dev/null
		resume_cluster "$work/db"
		echo "immediate shutdown and restart" >>"$work/strikes"
	fi
	strike >>"$work/strikes" 2>>"$work/strikes.err" || true
	if [ "$(now)" -ge "$next" ]; then
		sample
		next=$(($(now) + seconds / 100 + 1))
	fi
	sleep "$(awk -v seed="$(now)$$" 'BEGIN {srand(seed % 1000003); print 0.2 + rand() * 0.8}')"
done
for pid in $pids; do wait "$pid" || true; done
pids=

# ---- what is left ----

passed=0 failed=0
verdict() { # 0|1 NAME DETAILS: a file
	if [ "$1" = 0 ]; then
		passed=$((passed + 1))
		echo "ok - $2"
	else
		failed=$((failed + 1))
		echo "not ok - $2"
	fi
	sed 's/^/  # /' "$3"
}

cat "$work"/*.out | awk '/^number of transactions actually processed:/ {split($6, a, "/"); n += a[1]} END {print n + 0, "scripts of statements"}'
sort "$work/strikes" | uniq -c | awk '{n = $1; $1 = ""; print n $0}'
psql -c "SELECT catalog, model, next_model, products, embedded FROM product_llm.catalogs ORDER BY 1"

psql -c "CALL product_llm.refresh_catalog('refreshed')"
psql -c "SET client_min_messages = error" -c "SELECT d FROM product_llm.catalog AS c, differences(c.catalog) AS d ORDER BY 1" >"$work/differences" 2>&1 || true
[ ! -s "$work/differences" ] && rc=0 || rc=1
verdict $rc "catalogs equal what building them anew gives" "$work/differences"

# Made here: 57014 cancelled, 57P01 terminated, 57P02 and 57P03 shutdown and start, 08... connection lost.
awk '/ (WARNING|ERROR|FATAL|PANIC): / && !/ (57014|57P01|57P02|57P03|08[0-9A-Z]+) (WARNING|ERROR|FATAL):/ {print; next}
	/was terminated by signal/' "$log" >"$work/errors"
[ ! -s "$work/errors" ] && rc=0 || rc=1
sed -E 's/^[^[]*\[[0-9]+\] //' "$work/errors" | sort | uniq -c | sort -rn | head -n 40 >"$work/kinds"
verdict $rc "the server met no error that was not made here" "$work/kinds"

# The server's own errors are in its log; what pgbench itself finds wrong is only here.
grep -hE '^pgbench: (error|fatal): ' "$work"/*.err |
	grep -vE 'aborted in command|perhaps the backend died|Run was aborted|connection to server|could not create connection' |
	sort | uniq -c | sort -rn | head -n 20 >"$work/strange" || true
[ ! -s "$work/strange" ] && rc=0 || rc=1
verdict $rc "clients met no error that was not made here" "$work/strange"

# A session grows while it meets each kind of statement and plan for the first time; then it must not.  A sample may fall into the
# middle of a statement: the smallest of the third and of the last quarter of a session's are compared.  The C library keeps some 10 MB from
# the first large block on that is freed (seen as one step, the same to 4 kB before and behind it): below bounded_kb a step is no leak.
awk -v flat="$flat_kb" -v bounded="$bounded_kb" '{k = $1 " " $2; n[k]++; v[k, n[k]] = $3}
	function least(k, from, to,   i, m) {m = v[k, from]; for (i = from; i <= to; i++) if (v[k, i] < m) m = v[k, i]; return m}
	END {for (k in n) if (n[k] >= 4) {q = int(n[k] / 4); f = least(k, 2 * q + 1, 3 * q); l = least(k, n[k] - q + 1, n[k]); s++;
		printf "%s: %d kB at first, %d kB in the third quarter, %d kB in the last\n", k, v[k, 1], f, l; if (l - f > flat && l > bounded) bad = 1}
		exit bad || s == 0}' "$work/memory" >"$work/flat" && rc=0 || rc=1
verdict $rc "memory of the spared sessions is flat" "$work/flat"

[ -z "${STRESS_KEEP:-}" ] || { mkdir -p "$STRESS_KEEP" && cp "$log" "$work"/*.err "$work"/*.out "$work/memory" "$STRESS_KEEP/"; }
[ "$failed" = 0 ] && echo PASS || echo FAIL
echo "stress: $passed passed, $failed failed"
[ "$failed" = 0 ]
