#!/bin/sh
# The unit tests of num/ on 64-bit Arm: cross-compiled, and run by qemu's user mode, once as a processor without the dot product and once
# with it.  Ends with "arm: N passed, N failed"; none of either, and a line that says why, where compiler or emulator are not there.
# Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user.
set -eu
cd "$(dirname "$0")/../.."
cc=${ARM_CC:-aarch64-linux-gnu-gcc}
emulator=$(command -v qemu-aarch64 || command -v qemu-aarch64-static || true)
if ! command -v "$cc" >/dev/null || [ -z "$emulator" ]; then
	echo "skipped: Arm's kernels need $cc and qemu-aarch64"
	echo "arm: 0 passed, 0 failed"
	exit 0
fi
out=build/arm
mkdir -p "$out"
objects=
# base without its reader of JSON, which needs a library for Arm
for c in src/engine/base/*.c src/engine/num/*.c; do
	[ "$c" != src/engine/base/json.c ] || continue
	o=$out/$(basename "$c" .c).o
	flags='-O2'
	case $c in src/engine/num/*) flags='-O3' ;; esac
	case $c in */kernels_neon_dot.c) flags="$flags -march=armv8.2-a+dotprod" ;; esac
	# shellcheck disable=SC2086
	[ "$o" -nt "$c" ] || "$cc" -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -ffp-contract=off -Wno-format-truncation $flags -c -o "$o" "$c"
	objects="$objects $o"
done
programs=
for t in test_num test_num_rows test_num_codes; do
	# shellcheck disable=SC2086
	"$cc" -std=gnu11 -D_GNU_SOURCE -static -O1 -ffp-contract=off -o "$out/$t" "test/unit/$t.c" $objects -lm -lpthread
	for cpu in cortex-a53 max; do
		printf '#!/bin/sh\nexec %s -cpu %s %s\n' "$emulator" "$cpu" "$PWD/$out/$t" >"$out/$t.$cpu"
		chmod +x "$out/$t.$cpu"
		programs="$programs $out/$t.$cpu"
	done
done
# shellcheck disable=SC2086
exec env TAP_JOBS=2 test/lib/tap.sh arm $programs
