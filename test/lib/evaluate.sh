#!/bin/sh
# "make evaluate": quality of search and recommendations on public data, beside their baselines, with 95 % bootstrap bounds, and the
# table of the bundled model's card, and what int8 costs.  What data are not there is skipped.  EVALUATE: some of icecat, next_item, model,
# int8; EVALUATE_MODEL: another model than the bundled one, EVALUATE_FROM: the directory it is in.
set -eu
. "$(dirname "$0")/cluster.sh"
. "$(dirname "$0")/on_data.sh"
find_data evaluate
fresh_cluster evaluate

# evaluate NAME "FOLDER ..."
evaluate() {
	if among "$1" "${EVALUATE:-icecat next_item model int8}"; then
		on_data "evaluate_$1" "$2" "${EVALUATE_MODEL:-shop-mini}" "${EVALUATE_FROM:-}"
	fi
}
evaluate icecat icecat
evaluate next_item "amazon18_industrial online_retail"
evaluate model "icecat stsb"
evaluate int8 "icecat zh_titles"
