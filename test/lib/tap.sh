#!/bin/sh
# tap.sh SUITE PROGRAM...: run programs that speak TAP; show what failed; end with "SUITE: N passed, N failed".
# A program that dies, or whose plan does not match, counts as one failure more.  Exit status 1 on any failure.
#
# TAP_RUN: run the "programs" through something else, such as psql -f.  TAP_JOBS (1): so many at a time, but for those whose name
# matches TAP_ALONE (a pattern of case): they measure time, and run after the others, one by one.  TAP_FIRST: those that take longest,
# so that none of them is left over when the others have ended.
suite=$1
shift

# one PROGRAM: run it and print its report at once.
one() {
	program=$1
	log=$(mktemp)
	begin=$(date +%s)
	# shellcheck disable=SC2086
	${TAP_RUN:-} "$program" >"$log" 2>&1 </dev/null
	status=$?
	ok=$(grep -a -c '^ok ' "$log")
	bad=$(grep -a -c '^not ok ' "$log")
	plan=$(sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$log" | head -n 1)
	if [ "$bad" = 0 ] && { [ $status != 0 ] || [ "${plan:-none}" != "$((ok + bad))" ]; }; then
		bad=1
		echo "# $program: exit status $status, plan ${plan:-missing}, $ok tests seen"
		tail -n 40 "$log"
		# PostgreSQL's Perl modules say why they died there.
		tail -n 15 "${TESTLOGDIR:-/nonexistent}/regress_log_$(basename "$program" .pl)" 2>/dev/null
	elif [ "$bad" != 0 ]; then
		echo "# $program"
		grep -a -A 60 '^not ok ' "$log" | head -n 200
	fi
	skipped=$(grep -a -c '^ok .*# SKIP' "$log")
	printf '%-48s %4d ok %3d failed %4d s%s\n' "$suite/$(basename "$program")" "$ok" "$bad" "$(($(date +%s) - begin))" \
		"$([ "$skipped" = 0 ] || echo "  ($skipped skipped: $(sed -n 's/^ok .*# SKIP //p' "$log" | head -n 1))")"
	rm -f "$log"
}

# several JOBS < names: each by this script itself, its report in one piece.
several() {
	xargs -r -P "$1" -I '{}' sh -c 'report=$("$0" "$1" --one "$2"); printf "%s\n" "$report"' "$0" "$suite" '{}'
}

# named first|between|alone PROGRAM...: those that match TAP_FIRST, TAP_ALONE or neither.
named() {
	wanted=$1
	shift
	for program in "$@"; do
		# shellcheck disable=SC2254
		case $(basename "$program") in
			${TAP_ALONE:-}) which=alone ;;
			${TAP_FIRST:-}) which=first ;;
			*) which=between ;;
		esac
		[ $which != "$wanted" ] || echo "$program"
	done
}

if [ "$1" = --one ]; then
	one "$2"
	exit
fi
reports=$(mktemp)
trap 'rm -f "$reports"' EXIT
{
	{
		named first "$@"
		named between "$@"
	} | several "${TAP_JOBS:-1}"
	named alone "$@" | several 1
} | tee "$reports"
awk -v suite="$suite" -v n=$# '
	index($1, suite "/") == 1 && $3 == "ok" && $5 == "failed" {p += $2; f += $4; seen++}
	END {f += n - seen; printf "%s: %d passed, %d failed\n", suite, p, f; exit f > 0}' "$reports"
