#!/bin/sh
# "make bench-flat": the exact index over BENCH_LARGE (1000000) synthetic vectors of 384: how long it takes to build, the latency of
# the ten nearest, with and without a filter that keeps 1 %, and that of a sort of all rows; and that the answers are equal.
set -eu
. "$(dirname "$0")/cluster.sh"
rows=${BENCH_LARGE:-1000000}
seconds=${BENCH_SECONDS:-10}
fresh_cluster bench
psql() { command psql -XqAt -v ON_ERROR_STOP=1 -d postgres "$@"; }
psql -c "ALTER SYSTEM SET shared_buffers = '1GB'" -c "ALTER SYSTEM SET max_wal_size = '8GB'"
stop_cluster "$work/db"
resume_cluster "$work/db"

# latency SCRIPT CLIENTS SECONDS [SETTING]: "tps p50 p99" of a warm run.
latency() {
	rm -f "$work"/log.*
	(cd "$work" && PGOPTIONS="${4:-}" pgbench -n -f "$top/test/bench/$1" -c "$2" -j 1 -T "$3" -l --log-prefix="$work/log" postgres) >"$work/pgbench.out" 2>&1 ||
		{ cat "$work/pgbench.out" >&2; return 1; }
	tps=$(sed -n 's/^tps = \([0-9.]*\).*/\1/p' "$work/pgbench.out")
	awk '$2 > 0 {print $3 / 1000}' "$work"/log.* | sort -n >"$work/sorted"
	n=$(wc -l <"$work/sorted")
	echo "$tps $(sed -n "$((n / 2 + 1))p" "$work/sorted") $(sed -n "$((n * 99 / 100 + 1))p" "$work/sorted")"
}
report() { # NAME CLIENTS tps p50 p99
	awk -v n="$1" -v c="$2" -v t="$3" -v a="$4" -v b="$5" 'BEGIN {printf "%-44s %d connection%s  p50 %7.2f ms  p99 %7.2f ms  %8.1f /s\n", n, c, (c > 1 ? "s" : " "), a, b, t}'
}
one_core="-c max_parallel_workers_per_gather=0"

psql -v rows="$rows" -f "$top/test/bench/flat_setup.sql"
# shellcheck disable=SC2046
report "sort of all rows, one core" 1 $(latency flat_nearest.sql 1 "$seconds" "$one_core")
psql <<'SQL'
SET max_parallel_maintenance_workers = 0;
SELECT clock_timestamp() AS t \gset
CREATE INDEX item_flat ON item USING product_flat (embedding);
SELECT format('build %s s, one core; index %s, table %s', round(extract(epoch FROM clock_timestamp() - :'t')::numeric, 1),
	pg_size_pretty(pg_relation_size('item_flat')), pg_size_pretty(pg_relation_size('item')));
VACUUM item;
SQL
psql -f "$top/test/bench/flat_equal.sql"
for what in nearest filter; do
	latency "flat_$what.sql" 1 2 >/dev/null
	for clients in 1 2; do
		# shellcheck disable=SC2046
		report "product_flat, $what" $clients $(latency "flat_$what.sql" $clients "$seconds" "$one_core")
	done
done
