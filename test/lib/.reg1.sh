set -eu
. "$(dirname "$0")/cluster.sh"
fresh_cluster reg1
pgxs_test=$(dirname "$(dirname "$("$PG_CONFIG" --pgxs)")")/test
cp -r "$top/test/golden" "$work/"; export PLM_GOLDEN=$work/golden
PLM_SHARED=${PLM_SHARED:-/work/shared}; export PLM_SHARED
ln -s "$top/expected" "$out/expected"
"$pgxs_test/regress/pg_regress" --bindir="$inst_bin" --inputdir="$top/test" --outputdir="$out" --host="$PGHOST" --user=postgres --dbname=contrib_regression --load-extension=product_llm "$@" || cat "$out/regression.diffs"
