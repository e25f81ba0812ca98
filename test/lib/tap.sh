#!/bin/sh
# tap.sh SUITE PROGRAM...: run programs that speak TAP; show what failed; end with "SUITE: N passed, N failed".
# A program that dies, or whose plan does not match, counts as one failure more.  Exit status 1 on any failure.
suite=$1
shift
passed=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for program in "$@"; do
	# TAP_RUN lets a caller run the "programs" through something else, such as psql -f.
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
	printf '%-48s %4d ok %3d failed%s\n' "$suite/$(basename "$program")" "$ok" "$bad" \
		"$([ "$skipped" = 0 ] || echo "  ($skipped skipped: $(sed -n 's/^ok .*# SKIP //p' "$log" | head -n 1))")"
	passed=$((passed + ok)) failed=$((failed + bad))
done
echo "$suite: $passed passed, $failed failed"
[ "$failed" = 0 ]
