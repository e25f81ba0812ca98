#!/bin/sh
# "make bench-flat": the exact index over BENCH_LARGE (1000000) synthetic vectors of 384: how long it takes to build, the latency of
# the ten nearest, with and without a filter that keeps 1 %, and that of a sort of all rows; and that the answers are equal.  First of all
# similarity() over all rows, on one core and with two workers, beside its bar.  BENCH_PARTS="scan index": which of these.
set -eu
. "$(dirname "$0")/cluster.sh"
. "$(dirname "$0")/latency.sh"
rows=${BENCH_LARGE:-1000000}
seconds=${BENCH_SECONDS:-10}
parts=${BENCH_PARTS:-scan index}
fresh_cluster bench
psql() { command psql -XqAt -v ON_ERROR_STOP=1 -d postgres "$@"; }
psql -c "ALTER SYSTEM SET shared_buffers = '$((rows / 1000000 + 1))GB'" -c "ALTER SYSTEM SET max_wal_size = '8GB'"
stop_cluster "$work/db"
resume_cluster "$work/db"
one_core="-c max_parallel_workers_per_gather=0"

psql -v rows="$rows" -f "$top/test/bench/flat_setup.sql"
if among scan "$parts"; then psql -f "$top/test/bench/flat_scan.sql"; fi
among index "$parts" || exit 0
# shellcheck disable=SC2046
report "sort of all rows, one core" 1 $(latency flat_nearest.sql 1 "$seconds" "$one_core")
# Built by one process and by two, in turn: the first writes files that the others find.
for workers in 0 1 0 1; do
	psql -v workers="$workers" <<'SQL'
SET client_min_messages = warning;
SET max_parallel_maintenance_workers = :workers;
DROP INDEX IF EXISTS item_flat;
SELECT clock_timestamp() AS t \gset
CREATE INDEX item_flat ON item USING product_flat (embedding);
SELECT format('build by %s: %s s; index %s, table %s', CASE :workers WHEN 0 THEN 'one process' ELSE 'two processes' END,
	round(extract(epoch FROM clock_timestamp() - :'t')::numeric, 1), pg_size_pretty(pg_relation_size('item_flat')), pg_size_pretty(pg_relation_size('item')));
SQL
done
psql -c "VACUUM item"
psql -f "$top/test/bench/flat_equal.sql"
for what in nearest filter; do
	latency "flat_$what.sql" 1 2 >/dev/null
	for clients in 1 2; do
		# shellcheck disable=SC2046
		report "product_flat, $what" $clients $(latency "flat_$what.sql" $clients "$seconds" "$one_core")
	done
done
