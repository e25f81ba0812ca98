#!/bin/sh
# The layers, checked by grep: each line of output is a breach.  Exit status 1 when there is one.
cd "$(dirname "$0")/../.." || exit 2
bad=0
breach() { # MESSAGE, lines
	[ -z "$2" ] || { printf '%s:\n%s\n' "$1" "$2"; bad=1; }
}
only() { # PATTERN ALLOWED(regex of files) FOLDER MESSAGE
	breach "$4" "$(grep -rnE "$1" "$3" --include='*.[ch]' | grep -vE "^($2):" || true)"
}
only '#include.*postgres\.h' 'src/pg/[^:]*' src 'postgres.h outside src/pg'
only '#include.*cblas\.h' 'src/engine/num/gemm\.c' src 'cblas.h outside num/gemm.c'
only '#include.*pthread\.h' 'src/engine/base/pool\.c' src 'pthread.h outside base/pool.c'
only '#include.*jansson\.h' 'src/engine/base/plm_json\.h' src 'jansson.h outside base/plm_json.h'
only '#include.*plm_json\.h' 'src/engine/(base|text|file)/[^:]*' src 'plm_json.h outside text and file'
only '#include.*immintrin\.h' 'src/engine/num/kernels_[^:]*' src 'intrinsics outside num/kernels_*'
only 'PG_VERSION_NUM' 'src/pg/compat\.h' src 'PG_VERSION_NUM outside pg/compat.h'
only '#include.*executor/spi\.h' 'src/pg/sql\.c' src 'SPI outside pg/sql.c'
only '"(bert|distilbert)\.|encoder\.layer|transformer\.layer' 'src/engine/model/arch_[^:]*' src 'tensor names outside model/arch_*'
only '"(hidden_size|num_hidden_layers|intermediate_size|n_heads)"' 'src/engine/file/config[^:]*' src 'configuration keys outside file/config*'
only '\b(exit|abort|assert) *\(' 'none' src/engine 'the engine must not exit, abort or assert'
only '#include.*\.\./(num|nn|text|file|model|train)/' 'src/engine/(num|nn|text|file|model|train)/[^:]*' src/engine 'base includes something to its right'
only '#include.*\.\./(nn|model)/' 'src/engine/(nn|model|train)/[^:]*' src/engine 'a module includes something to its right'
only 'fast-math|march=native' 'none' src 'forbidden compiler setting'
long=$(find src test -name '*.[ch]' -exec wc -l {} + | awk '$2 != "total" && $1 > 600')
breach 'files over 600 lines' "$long"
exit $bad
