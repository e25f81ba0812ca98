#!/bin/sh
# "make demo": build, a private cluster, the demo shop in it.  "demo.sh psql": psql on the last demo.
# The server is stopped at the end; the cluster stays until the next demo, for "make demo-psql".
set -eu
. "$(dirname "$0")/cluster.sh"

last=$top/build/demo-cluster

if [ "${1:-}" = psql ]; then
	[ -e "$last" ] && [ -d "$(cat "$last")/db/data" ] || { echo "no demo yet: run \"make demo\" first" >&2; exit 1; }
	work=$(cat "$last")
	inst=$work/inst
	inst_bin=$inst$("$PG_CONFIG" --bindir)
	PATH=$inst_bin:$PATH
	trap 'stop_cluster "$work/db"' EXIT
	trap 'exit 130' INT TERM
	resume_cluster "$work/db"
	psql -X -d shop
	exit
fi

build_all
work=$(scratch_folder demo)
trap 'stop_cluster "$work/db"; [ -n "${kept:-}" ] || rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
private_install "$work/inst"
start_cluster "$work/db"
psql -Xq -d postgres -c 'CREATE DATABASE shop'
psql -Xq -v ON_ERROR_STOP=1 -v demo_dir="$top/sql/demo" -v connect="make demo-psql" -d shop -f "$top/sql/demo/demo.sql"

# This demo takes the place of the last one.
old=$(cat "$last" 2>/dev/null || true)
echo "$work" >"$last"
kept=yes
case $old in
	*/product_llm-demo.*) [ -e "$old/db/data/postmaster.pid" ] || rm -rf "$old" ;;
esac
