#!/bin/sh
# "make model": a model from nothing but texts (sql/model), in a cluster of its own that stays until the model is made, so that a
# run which is stopped goes on when it is called again.  MODEL_OUT: where its directory goes (build/shop-mini).
# MODEL_WITHOUT=icecat: a model that has not read that catalogue, to see what teaching it one is worth (README, "Teach it your shop").
set -eu
. "$(dirname "$0")/cluster.sh"
. "$(dirname "$0")/on_data.sh"
data=${PLM_SHARED:-$top/../shared}/data
out=${MODEL_OUT:-$top/build/shop-mini}
without=${MODEL_WITHOUT:-}
kept=$top/build/model-cluster${without:+-without-$without}
[ -d "$data/icecat" ] || { echo "model: there is no folder $data" >&2; exit 1; }
data=$(cd "$data" && pwd)
build_all
if [ -e "$kept" ] && [ -d "$(cat "$kept")/db/data" ]; then
	work=$(cat "$kept")
	rm -rf "$work/inst"
	private_install "$work/inst"
	trap 'stop_cluster "$work/db"' EXIT
	resume_cluster "$work/db"
else
	work=$(scratch_folder model)
	echo "$work" >"$kept"
	private_install "$work/inst"
	trap 'stop_cluster "$work/db"' EXIT
	start_cluster "$work/db"
	psql -Xq -v ON_ERROR_STOP=1 -d postgres -c 'CREATE DATABASE model'
	psql -Xq -v ON_ERROR_STOP=1 -d model -c 'CREATE EXTENSION product_llm'
	(cd "$data" && psql -Xq -1 -v without="$without" -d model -f "$top/sql/model/corpus.sql")
fi
trap 'exit 130' INT TERM
psql -Xq -d model -f "$top/sql/model/shop_mini.sql"

# Its card, with the figures of this very model.
psql -Xq -v ON_ERROR_STOP=1 -d postgres -c 'SET client_min_messages = warning' -c 'DROP DATABASE IF EXISTS evaluate_model'
rm -rf "$work/db/export" "$out"
psql -Xq -v ON_ERROR_STOP=1 -d model -c "SELECT product_llm.export_model('shop-mini', '$work/db/export')" >/dev/null
cp -r "$work/db/export" "$out"
chmod -R a+rX "$out"
on_data evaluate_model "icecat stsb" shop-mini "$work/db/export" | tee "$work/figures"
sed "$(awk -F'|' '/icecat|stsb/ {gsub(/ /, "", $2); printf "s/@%d@/%s/;", ++n, $2}' "$work/figures")" "$top/sql/model/card.md" >"$out/README.md"
echo "model: made, in $out; its runs are in the cluster under $work"
