#!/bin/sh
# "make evaluate-privacy": what a private training costs in accuracy and in time.  PRIVACY_ROWS (50000, all of them) reviews are trained on.
set -eu
. "$(dirname "$0")/cluster.sh"
. "$(dirname "$0")/on_data.sh"
find_data evaluate-privacy
fresh_cluster evaluate-privacy
on_data evaluate_privacy "zh_reviews uer_zh"
