#!/bin/sh
# "make evaluate": quality of search and recommendations on public data, beside their baselines, with 95 % bootstrap bounds, and the
# table of the bundled model's card, and what int8 costs.  What data are not there is skipped.
set -eu
. "$(dirname "$0")/cluster.sh"
. "$(dirname "$0")/on_data.sh"
find_data evaluate
fresh_cluster evaluate
on_data evaluate_icecat icecat shop-mini
on_data evaluate_next_item "amazon18_industrial online_retail" shop-mini
on_data evaluate_model "icecat stsb" shop-mini
on_data evaluate_int8 "icecat zh_titles" shop-mini
