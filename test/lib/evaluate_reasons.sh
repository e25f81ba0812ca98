#!/bin/sh
# "make evaluate-reasons": are explanations complete, true to the model, and cheap?  REASONS_PAIRS (500) texts for each of search and classification.
set -eu
. "$(dirname "$0")/cluster.sh"
. "$(dirname "$0")/on_data.sh"
find_data evaluate-reasons
fresh_cluster evaluate-reasons
on_data evaluate_reasons "icecat zh_reviews" shop-mini
