# latency.sh -- measuring a script of test/bench by pgbench; sourced after fresh_cluster.

# latency SCRIPT CLIENTS SECONDS [SETTING]: "tps p50 p99" of a warm run.
latency() {
	rm -f "$work"/log.*
	(cd "$work" && PGOPTIONS="${4:-}" pgbench -n -f "$top/test/bench/$1" -c "$2" -j 1 -T "$3" -l --log-prefix="$work/log" postgres) >"$work/pgbench.out" 2>&1 ||
		{ cat "$work/pgbench.out" >&2; return 1; }
	tps=$(sed -n 's/^tps = \([0-9.]*\).*/\1/p' "$work/pgbench.out")
	# The first transaction of each client warms its backend up.
	awk '$2 > 0 {print $3 / 1000}' "$work"/log.* | sort -n >"$work/sorted"
	n=$(wc -l <"$work/sorted")
	echo "$tps $(sed -n "$((n / 2 + 1))p" "$work/sorted") $(sed -n "$((n * 99 / 100 + 1))p" "$work/sorted")"
}

report() { # NAME CLIENTS tps p50 p99
	awk -v n="$1" -v c="$2" -v t="$3" -v a="$4" -v b="$5" 'BEGIN {printf "%-36s %d connection%s  p50 %7.2f ms  p99 %7.2f ms  (%.1f x)  %8.1f /s\n", n, c, (c > 1 ? "s" : " "), a, b, b / a, t}'
}
