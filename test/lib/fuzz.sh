#!/bin/sh
# fuzz.sh TARGET...: FUZZ_SECONDS of mutations for each target, two at a time; ends with "fuzz: N passed, N failed".
# An input that fails is kept under build/fuzz/.
seconds=${FUZZ_SECONDS:-20}
top=$(cd "$(dirname "$0")/../.." && pwd)
out=$top/build/fuzz
mkdir -p "$out"
passed=0 failed=0

one() {
	name=$(basename "$1")
	corpus=$top/test/fuzz/corpus/${name#fuzz_}
	[ -d "$corpus" ] || corpus=
	"$1" -seconds "$seconds" -seed "${FUZZ_SEED:-$$}" -artifact "$out/$name.input" $corpus >"$out/$name.log" 2>&1
}

report() {
	if wait "$1"; then
		passed=$((passed + 1))
		printf '%-48s ok: %s\n' "fuzz/$2" "$(tail -n 1 "$out/$2.log")"
	else
		failed=$((failed + 1))
		printf '%-48s FAILED, input in %s\n' "fuzz/$2" "build/fuzz/$2.input"
		tail -n 30 "$out/$2.log"
	fi
}

while [ $# -gt 0 ]; do
	one "$1" &
	first=$! first_name=$(basename "$1")
	shift
	if [ $# -gt 0 ]; then
		one "$1" &
		second=$! second_name=$(basename "$1")
		shift
		report $first "$first_name"
		report $second "$second_name"
	else
		report $first "$first_name"
	fi
done
echo "fuzz: $passed passed, $failed failed"
[ "$failed" = 0 ]
