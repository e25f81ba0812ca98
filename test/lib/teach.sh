#!/bin/sh
# "make teach": what fine-tuning is worth, on public data, from the bundled model (TEACH_BASE) or one in the directory TEACH_FROM.
# TEACH: some of reviews, sentences, icecat, next_item; all of them when it is not set.  Hours on two cores, most for the reviews.
set -eu
. "$(dirname "$0")/cluster.sh"
data=${PLM_SHARED:-$top/../shared}/data
base=${TEACH_BASE:-shop-mini}
from=${TEACH_FROM:-}
if [ ! -d "$data" ]; then
	echo "teach: skipped, there is no folder $data"
	exit 0
fi
data=$(cd "$data" && pwd)
fresh_cluster teach

# teach NAME FOLDER: run test/bench/teach_NAME.sql in a database of its own when its data are there.
teach() {
	case " ${TEACH:-reviews sentences icecat next_item} " in *" $1 "*) ;; *) return 0 ;; esac
	[ -d "$data/$2" ] || { echo "teach $1: skipped, there is no folder $data/$2"; return 0; }
	psql -Xq -v ON_ERROR_STOP=1 -d postgres -c "CREATE DATABASE $1"
	psql -Xq -v ON_ERROR_STOP=1 -d "$1" -c "CREATE EXTENSION product_llm" \
		-c "SELECT product_llm.load_model('$base'${from:+, '$from'})" >/dev/null
	(cd "$data" && psql -Xq -v base="$base" -d "$1" -f "$top/test/bench/teach_$1.sql")
}

teach sentences stsb
teach icecat icecat
teach next_item amazon18_industrial
teach reviews zh_reviews
