#!/bin/bash
# A training step of the engine beside PyTorch's, alternating: bench_train.sh PROGRAM.  BENCH_ROUNDS (3), BENCH_THREADS (2).
# PyTorch runs with the environment as it is and without OPENBLAS_CORETYPE, which may choose slow kernels; its better figure counts.
cd "$(dirname "$0")/../.." || exit 2
threads=${BENCH_THREADS:-2}
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
peer=
/usr/bin/python3 -c 'import torch' 2>/dev/null && peer=1
ours= theirs= plain= memory= peer_memory=
for ((i = 0; i < ${BENCH_ROUNDS:-3}; i++)); do
	line=$(BENCH_STEPS=3 BENCH_THREADS=$threads "$1") || exit 1
	ours+=$(sed -n 's/.* \([0-9.]*\) s a step.*/\1/p' <<<"$line")$'\n'
	memory=$(sed -n 's/.* \([0-9]*\) MB.*/\1/p' <<<"$line")
	[ -n "$peer" ] || continue
	read -r s peer_memory < <(/usr/bin/python3 test/bench/train_torch.py 2 "$threads"); theirs+=$s$'\n'
	read -r s peer_memory < <(env -u OPENBLAS_CORETYPE /usr/bin/python3 test/bench/train_torch.py 2 "$threads"); plain+=$s$'\n'
done
a=$(printf %s "$ours" | median)
awk -v s="$a" -v m="$memory" 'BEGIN { printf "product_llm: %.3f s a step, %.0f tokens/s, %d MB\n", s, 4096 / s, m }'
[ -n "$peer" ] || { echo "PyTorch: /usr/bin/python3 has none"; exit 0; }
b=$({ printf %s "$theirs" | median; printf %s "$plain" | median; } | sort -n | head -1)
awk -v a="$a" -v b="$b" -v m="$peer_memory" 'BEGIN { printf "PyTorch:     %.3f s a step, %.0f tokens/s, %d MB\nratio:       %.2f\n", b, 4096 / b, m, b / a }'
