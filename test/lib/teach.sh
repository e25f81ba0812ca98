#!/bin/sh
# "make teach": what fine-tuning is worth, on public data, from the bundled model (TEACH_BASE) or one in the directory TEACH_FROM.
# TEACH: some of reviews, sentences, icecat, next_item; all of them when it is not set.  An hour or more on two cores, most for the reviews.
set -eu
. "$(dirname "$0")/cluster.sh"
. "$(dirname "$0")/on_data.sh"
find_data teach
fresh_cluster teach

# teach NAME FOLDER
teach() {
	if among "$1" "${TEACH:-reviews sentences icecat next_item}"; then
		on_data "teach_$1" "$2" "${TEACH_BASE:-shop-mini}" "${TEACH_FROM:-}"
	fi
}
teach sentences stsb
teach icecat icecat
teach next_item amazon18_industrial
teach reviews zh_reviews
