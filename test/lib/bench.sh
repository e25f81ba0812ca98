#!/bin/sh
# "make bench": kernels, then the engine in process, through SQL and beside other runtimes (test/bench/bench_engine.c lists the settings),
# then the memory of one and of BENCH_CONNECTIONS (100) sessions that embed.  ONNX Runtime comes from the npm registry into build/peers, PyTorch is
# that of /usr/bin/python3; what is not there is left out with a line that says so.  BENCH_PARTS="kernels engine memory": which of these.
set -eu
. "$(dirname "$0")/cluster.sh"
parts=${BENCH_PARTS:-kernels engine memory}
connections=${BENCH_CONNECTIONS:-100}
peers=$top/build/peers

fetch_onnx() {
	mkdir -p "$peers"
	[ -d "$peers/node_modules/onnxruntime-node" ] && return
	command -v npm >/dev/null || { echo "ONNX Runtime: left out, there is no npm"; return; }
	echo '{"private": true}' >"$peers/package.json"
	(cd "$peers" && npm install --ignore-scripts --no-audit --no-fund onnxruntime-node@1.30.0 >npm.log 2>&1) ||
		echo "ONNX Runtime: left out, npm does not find onnxruntime-node"
}

# What N sessions of the cluster hold by themselves, with their page tables, and with their share of what is shared, from the kernel's
# account of their pages; the bar is that of 100 sessions with one model.
session_memory() {
	for pid in $(psql -XqAt -d postgres -c "SELECT pid FROM pg_stat_activity WHERE application_name = 'bench memory'"); do
		as_server cat "/proc/$pid/smaps_rollup" "/proc/$pid/status"
	done | awk -v n="$1" '/^Private_/ || /^VmPTE/ {own += $2} /^Pss:/ || /^VmPTE/ {all += $2} END {
		printf "%.0f MB of their own, %.1f MB each; %.0f MB with their share of what is shared", own / 1024, own / 1024 / n, all / 1024
		if (n >= 100) printf ", bar 2048 MB %s", (all / 1024 <= 2048 ? "met" : "MISSED")}'
}

# hold N MODEL: N sessions that have embedded, and wait; prints what they hold.
hold() {
	mkfifo "$work/go"
	pids=
	for i in $(seq "$1"); do
		(cd "$work" && PGAPPNAME='bench memory' exec psql -XqAt -d postgres -c "SELECT cardinality(product_llm.embed('$2', 'a red shoe $i'))" \
			-c "SELECT 1 + 0" -c "\\! read x <$work/go" >/dev/null) &
		pids="$pids $!"
	done
	until [ "$(psql -XqAt -d postgres -c "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'bench memory' AND query = 'SELECT 1 + 0' AND state = 'idle'")" = "$1" ]; do sleep 0.2; done
	echo "$2, $1 sessions: $(session_memory "$1")"
	(sleep 5; for i in $(seq "$1"); do echo; done) >"$work/go"
	# shellcheck disable=SC2086
	wait $pids
	rm "$work/go"
}

if among kernels "$parts"; then "$top/build/bench/bench_num"; fi
if among engine "$parts"; then fetch_onnx; fi
if among engine "$parts" || among memory "$parts"; then
	fresh_cluster bench
	psql -Xq -d postgres -c "ALTER SYSTEM SET max_connections = $((connections + 20))"
	stop_cluster "$work/db"
	resume_cluster "$work/db"
	mkdir "$work/models"
	chmod 755 "$work/models"
	BENCH_SQL=$work/models
	export BENCH_SQL
fi
if among engine "$parts"; then
	(cd "$top" && "$top/build/bench/bench_engine" "$peers")
elif among memory "$parts"; then
	BENCH_ROUNDS=0 "$top/build/bench/bench_engine"
fi
if among memory "$parts"; then
	for model in $(psql -XqAt -d postgres -c "SELECT model FROM product_llm.models ORDER BY 1"); do
		hold 1 "$model"
		hold "$connections" "$model"
	done
fi
