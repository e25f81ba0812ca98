#!/bin/sh
# "make evaluate": quality of search and recommendations on public data, beside their baselines, with 95 % bootstrap bounds.
# The data lie in $PLM_SHARED/data (../shared/data beside the project); what is not there is skipped.
set -eu
. "$(dirname "$0")/cluster.sh"
data=${PLM_SHARED:-$top/../shared}/data
if [ ! -d "$data" ]; then
	echo "evaluate: skipped, there is no folder $data"
	exit 0
fi
data=$(cd "$data" && pwd)
fresh_cluster evaluate

# evaluate NAME FOLDER...: run test/bench/evaluate_NAME.sql in a database of its own when its data are there.
evaluate() {
	name=$1
	shift
	for folder in "$@"; do
		[ -d "$data/$folder" ] || { echo "evaluate $name: skipped, there is no folder $data/$folder"; return 0; }
	done
	psql -Xq -v ON_ERROR_STOP=1 -d postgres -c "CREATE DATABASE $name"
	psql -Xq -v ON_ERROR_STOP=1 -d "$name" -c "CREATE EXTENSION product_llm" -c "SELECT product_llm.load_model('shop-seed')" >/dev/null
	(cd "$data" && psql -Xq -v models='{shop-seed}' -d "$name" -f "$top/test/bench/evaluate_$name.sql")
}

evaluate icecat icecat
evaluate next_item amazon18_industrial online_retail
evaluate models icecat stsb
