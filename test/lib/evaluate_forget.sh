#!/bin/sh
# "make evaluate-forget": can it be told of a forgotten visitor's rows that a model once learnt from them?  Fails when it can.
set -eu
. "$(dirname "$0")/cluster.sh"
. "$(dirname "$0")/on_data.sh"
find_data evaluate-forget
fresh_cluster evaluate-forget
on_data evaluate_forget "zh_reviews" shop-mini
