#!/bin/sh
# "make test": build, a private cluster, every suite; the last line is "N passed, N failed".
# Suites can be named to run those alone:  test/lib/run.sh unit regress pgtap isolation tap fuzz stress
# PLM_REGRESS, PLM_TAP: some files of theirs alone (PLM_REGRESS="forget seen", PLM_TAP=005_cancel.pl).
# PLM_RESULTS: a folder for what the regression tests printed.
set -eu
. "$(dirname "$0")/cluster.sh"

suites=${*:-unit fuzz regress isolation pgtap tap}
PLM_SHARED=${PLM_SHARED:-$top/../shared}
export PLM_SHARED
work=
trap '[ -z "$work" ] || { stop_cluster "$work/db"; rm -rf "$work"; }' EXIT
trap 'exit 130' INT TERM
results=$(mktemp)
cd "$top"

# suite COMMAND...: show the output and remember its "NAME: N passed, N failed" line.
suite() {
	name=$1
	shift
	echo "== $name"
	begin=$(date +%s)
	{ "$@" 2>&1 || true; } | tee "$work/$name.out"
	tail -n 1 "$work/$name.out" | grep -E "^$name: [0-9]+ passed, [0-9]+ failed" >>"$results" ||
		echo "$name: 0 passed, 1 failed" >>"$results"
	echo "   ($(($(date +%s) - begin)) s)"
}

# pg_regress and pg_isolation_regress print "test x ... ok" (to 15) or TAP (from 16).
regress_counts() {
	awk -v name="$1" '/^test .*\.\.\. ok|^ok [0-9]+/ {p++} /^test .*FAILED|^not ok/ {f++}
		END {if (p + f == 0) f = 1; printf "%s: %d passed, %d failed\n", name, p, f}' "$2"
}

regress() {
	mkdir -p "$work/regress"
	ln -s "$top/expected" "$work/regress/expected"
	"$pgxs_test/regress/pg_regress" --bindir="$inst_bin" --inputdir="$top/test" --outputdir="$work/regress" \
		$(expected_option) --host="$PGHOST" --user=postgres --dbname=contrib_regression \
		--load-extension=product_llm ${PLM_REGRESS:-$(basename -s .sql test/sql/*.sql | sort)} >"$work/regress.log" 2>&1 ||
		cat "$work/regress/regression.diffs" 2>/dev/null || true
	cat "$work/regress.log"
	regress_counts regress "$work/regress.log"
	[ -z "${PLM_RESULTS:-}" ] || cp -r "$work/regress/results/." "$PLM_RESULTS"
}

isolation() {
	mkdir -p "$work/isolation"
	ln -s "$top/expected" "$work/isolation/expected"
	"$pgxs_test/isolation/pg_isolation_regress" --bindir="$inst_bin" --inputdir="$top/test" \
		--outputdir="$work/isolation" $(expected_option) --host="$PGHOST" --user=postgres \
		--dbname=isolation_regress --load-extension=product_llm \
		$(basename -s .spec test/specs/*.spec | sort) >"$work/isolation.log" 2>&1 ||
		cat "$work/isolation/output_iso/regression.diffs" "$work/isolation/regression.diffs" 2>/dev/null || true
	cat "$work/isolation.log"
	regress_counts isolation "$work/isolation.log"
}

# Expected files: up to 15 pg_regress looks under its output folder (hence the links above), from 16 on it is told.
expected_option() {
	"$pgxs_test/regress/pg_regress" --help | grep -q -- --expecteddir && echo "--expecteddir=$top"
	true
}

pgtap() {
	TAP_RUN="psql -X -q -A -t -v ON_ERROR_STOP=1 -v golden=$golden -d pgtap -f" test/lib/tap.sh pgtap test/pgtap/*.sql
}

# Perl tests start servers of their own, so they run as the server's user, on copies that this user can read.
tap() {
	mkdir -p "$work/tap"
	cp -r "$top/test/t" "$top/test/sql" "$top/expected" "$golden" "$work/tap/"
	[ -z "$server_user" ] || chown -R "$server_user" "$work/tap"
	as_server env PATH="$inst_bin:$PATH" PG_REGRESS="$pgxs_test/regress/pg_regress" TESTDIR="$work/tap" \
		TESTDATADIR="$work/tap/data" TESTLOGDIR="$work/tap/log" PLM_GOLDEN="$work/tap/golden" TMPDIR="$work/tap" \
		PERL5LIB="$pgxs_test/perl:$work/tap/t" PLM_TIMEOUT=60 \
		PLM_CRASH_ROUNDS="${PLM_CRASH_ROUNDS:-4}" TAP_RUN=perl TAP_JOBS=2 TAP_FIRST='019_*' TAP_ALONE='*_cancel.pl' "$work/lib/tap.sh" tap "$work"/tap/t/${PLM_TAP:-*.pl}
}

echo "== build"
build_all $(among unit "$suites" && echo unit-build) $(among fuzz "$suites" && echo fuzz-build)
work=$(scratch_folder test)
if among regress "$suites" || among isolation "$suites" || among pgtap "$suites" || among tap "$suites"; then
	private_install "$work/inst"
	pgxs_test=$(dirname "$(dirname "$("$PG_CONFIG" --pgxs)")")/test
	cp -r "$top/test/golden" "$top/test/lib" "$work/"
	golden=$work/golden
	start_cluster "$work/db"
	export PLM_GOLDEN=$golden
fi
among unit "$suites" && suite unit "$MAKE" -s unit
among unit "$suites" && suite arm test/lib/unit_arm.sh
among fuzz "$suites" && suite fuzz "$MAKE" -s fuzz FUZZ_SECONDS="${FUZZ_SECONDS:-20}"
among regress "$suites" && suite regress regress
among isolation "$suites" && suite isolation isolation
if among pgtap "$suites"; then
	psql -Xq -d postgres -c 'CREATE DATABASE pgtap'
	psql -Xq -d pgtap -c 'CREATE EXTENSION pgtap' -c 'CREATE EXTENSION product_llm'
	suite pgtap pgtap
fi
among tap "$suites" && suite tap tap
among stress "$suites" && suite stress env STRESS_SECONDS="${STRESS_SECONDS:-25}" test/lib/stress.sh

echo
cat "$results"
awk '{p += $2; f += $4} END {printf "%d passed, %d failed\n", p, f; exit f > 0}' "$results"
