# product_llm: language models inside PostgreSQL.
#
#   make demo        everything from nothing: packages, build, private cluster, a shop to look at
#   make test        everything from nothing, then every test; ends with "N passed, N failed"
#   make             build        make install     install        make installcheck   regression tests
#   make unit        the engine's unit tests under ASan and UBSan
#   make fuzz        FUZZ_SECONDS (600) of mutations for each fuzz target
#   make soak        a million calls of embed in one session: memory must stay flat
#   make crash-training  CRASH_ROUNDS (50) trainings that are killed at random points
#   make stress      STRESS_SECONDS (600) of everything at once on catalogs, with sessions ended at random and a crash
#   make bench       speed beside ONNX Runtime and PyTorch, through SQL, and as percent of this machine's peak
#   make bench-train  a training step beside PyTorch's, when Debian's python3-torch is there
#   make bench-catalog  refresh, search and recommend at 20,000 and 1,000,000 products
#   make bench-flat  the exact index at 1,000,000 vectors of 384: build, nearest, filter, against a sort; similarity() of all rows
#   make evaluate    quality of search and recommendations on public data (../shared/data), beside their baselines, and what int8 costs; of EVALUATE_MODEL
#   make evaluate-reasons  are explanations complete, true to the model, and cheap? on public data, REASONS_PAIRS (500) texts of each task
#   make evaluate-privacy  what a private training costs, on public data: PRIVACY_ROWS (all) reviews at epsilon 3
#   make evaluate-forget  can it be told of a forgotten visitor's rows that a model had learnt from them? on public data
#   make model       a small model of public texts alone, by sql/model: vocabulary, pretraining, tuning, card; stop it, call it again
#   make teach       what fine-tuning is worth on public data: sentences, a catalogue, the next item, reviews; hours
#   make demo-psql   psql on the demo database of the last "make demo"
#
# PG_CONFIG chooses the server.  A new C file under src/ is picked up by itself.

EXTENSION   = product_llm
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" product_llm.control)
MODULE_big  = product_llm

engine_src := $(sort $(wildcard src/engine/*/*.c))
pg_src     := $(sort $(wildcard src/pg/*.c))
engine_obj := $(engine_src:.c=.o)
OBJS        = $(engine_obj) $(pg_src:.c=.o)

sql_parts  := $(sort $(wildcard sql/[0-9]*.sql))
DATA_built  = product_llm--$(EXTVERSION).sql
DATA        = $(wildcard sql/upgrade/*.sql)

# pg_regress looks into ./sql before test/sql: one name in both would run the wrong file.
REGRESS     = $(sort $(basename $(notdir $(wildcard test/sql/*.sql))))
twice      := $(filter $(REGRESS),$(basename $(notdir $(wildcard sql/*.sql))))
ifneq ($(twice),)
$(error the name "$(twice)" stands both in sql/ and in test/sql/)
endif
REGRESS_OPTS   = --inputdir=test --outputdir=. --load-extension=product_llm
ISOLATION      = $(sort $(basename $(notdir $(wildcard test/specs/*.spec))))
ISOLATION_OPTS = --inputdir=test --outputdir=. --load-extension=product_llm
EXTRA_CLEAN    = build results log output_iso tmp_check regression.diffs regression.out product_llm--*.sql \
                 $(OBJS:.o=.d)

# ---- compilers' settings ----

jansson_cflags  := $(shell pkg-config --cflags jansson libutf8proc openblas 2>/dev/null)
engine_libs     := $(shell pkg-config --libs jansson libutf8proc 2>/dev/null || echo -ljansson -lutf8proc)
# The serial OpenBLAS where the platform has one: the pthread flavour starts threads when it is loaded.
serial_blas     := $(firstword $(wildcard /usr/lib/*/openblas-serial/libopenblas.so))
ifneq ($(serial_blas),)
blas_libs       := -L$(dir $(serial_blas)) -Wl,-rpath,$(patsubst %/,%,$(dir $(serial_blas))) -lopenblas
else
blas_libs       := $(shell pkg-config --libs openblas 2>/dev/null || echo -lopenblas)
endif

# No contraction, no fast-math, no -march=native: the same bits everywhere; instruction sets are chosen at run time.
engine_cflags   := -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Wno-format-truncation -ffp-contract=off -fvisibility=hidden -fno-lto $(jansson_cflags)
depend_cflags   := -MMD -MP
ifeq ($(shell uname -m),x86_64)
avx2_cflags     := -mavx2 -mfma -mf16c
avx512_cflags   := $(avx2_cflags) -mavx512f -mavx512bw -mavx512dq -mavx512vl
vnni_cflags     := $(avx512_cflags) -mavx512vnni
bf16_cflags     := $(avx512_cflags) -mavx512bf16
else ifeq ($(shell uname -m),aarch64)
neon_dot_cflags := -march=armv8.2-a+dotprod
endif
cflags_for       = $(if $(filter src/engine/num/%,$(1)),-O3) \
                   $(if $(filter %/kernels_avx2.c %/kernels_avx2_vnni.c,$(1)),$(avx2_cflags)) \
                   $(if $(filter %/kernels_avx512.c,$(1)),$(avx512_cflags)) \
                   $(if $(filter %/kernels_avx512_vnni.c,$(1)),$(vnni_cflags)) \
                   $(if $(filter %/kernels_avx512_bf16.c,$(1)),$(bf16_cflags)) \
                   $(if $(filter %/kernels_neon_dot.c,$(1)),$(neon_dot_cflags))

PG_CFLAGS       = $(depend_cflags) -Wno-declaration-after-statement
SHLIB_LINK      = $(engine_libs) $(blas_libs) -lm -lpthread

override with_llvm := no

# ---- PGXS, when the server's headers are there; "make demo" and "make test" install them ----

PG_CONFIG ?= pg_config
PGXS      := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))
ifneq ($(PGXS),)
all:
include $(PGXS)

# The engine is built without the server's include path, so that it cannot grow a dependency on it.
$(engine_obj): override CPPFLAGS :=
$(engine_obj): override CFLAGS := -g -O2 -fPIC $(engine_cflags) $(depend_cflags)
src/engine/%.o: src/engine/%.c
	$(CC) $(CFLAGS) $(call cflags_for,$<) -c -o $@ $<

install: install-models
uninstall: uninstall-models

model_files := $(shell find models -type f 2>/dev/null | sort)
.PHONY: install-models uninstall-models
install-models:
	for f in $(model_files); do \
	    $(MKDIR_P) "$(DESTDIR)$(datadir)/product_llm/$$(dirname $$f)" && \
	    $(INSTALL_DATA) "$(srcdir)/$$f" "$(DESTDIR)$(datadir)/product_llm/$$f" || exit 1; done
uninstall-models:
	rm -rf '$(DESTDIR)$(datadir)/product_llm'
else ifeq ($(filter deps demo test soak crash-training stress bench-catalog bench-flat evaluate evaluate-reasons evaluate-privacy evaluate-forget model teach demo-psql,$(or $(MAKECMDGOALS),all)),)
ifeq ($(filter unit fuzz clean,$(or $(MAKECMDGOALS),all)),)
$(error no server headers for "$(PG_CONFIG)"; "make deps" installs what is missing on Debian)
endif
endif

product_llm--$(EXTVERSION).sql: $(sql_parts) product_llm.control
	@{ printf '%s\n' '\echo Use "CREATE EXTENSION product_llm" to load this file. \quit'; cat $(sql_parts); } > $@

-include $(wildcard $(OBJS:.o=.d))

# ---- from nothing ----

.PHONY: deps demo demo-psql test soak crash-training stress bench-catalog bench-flat evaluate evaluate-reasons evaluate-privacy evaluate-forget model teach
deps:
	@test/lib/deps.sh
demo: deps
	@MAKE="$(MAKE)" test/lib/demo.sh
demo-psql:
	@test/lib/demo.sh psql
test: deps
	@MAKE="$(MAKE)" test/lib/run.sh

bench-catalog: deps
	@MAKE="$(MAKE)" test/lib/bench_catalog.sh

bench-flat: deps
	@MAKE="$(MAKE)" test/lib/bench_flat.sh

model: deps
	@MAKE="$(MAKE)" test/lib/model.sh

teach: deps
	@MAKE="$(MAKE)" test/lib/teach.sh

evaluate: deps
	@MAKE="$(MAKE)" test/lib/evaluate.sh

evaluate-reasons: deps
	@MAKE="$(MAKE)" test/lib/evaluate_reasons.sh

evaluate-privacy: deps
	@MAKE="$(MAKE)" test/lib/evaluate_privacy.sh

evaluate-forget: deps
	@MAKE="$(MAKE)" test/lib/evaluate_forget.sh

crash-training: deps
	@MAKE="$(MAKE)" PLM_CRASH_ROUNDS="$(or $(CRASH_ROUNDS),50)" PLM_TAP="020_training_crash.pl" test/lib/run.sh tap

soak: deps
	@MAKE="$(MAKE)" test/lib/soak.sh

stress: deps
	@MAKE="$(MAKE)" test/lib/stress.sh

# ---- the engine alone, under sanitizers: links without the server, so a breach of layers fails here ----

SANITIZE      ?= -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
san           := build/sanitize
san_obj       := $(engine_src:%.c=$(san)/%.o)
cover_obj     := $(engine_src:src/%.c=$(san)/cover/%.o)
unit_bin      := $(patsubst test/unit/%.c,$(san)/unit/%,$(sort $(wildcard test/unit/test_*.c)))
unit_help     := $(patsubst test/unit/%.c,$(san)/unit/%.o,$(filter-out $(wildcard test/unit/test_*.c),$(wildcard test/unit/*.c)))
fuzz_bin      := $(patsubst test/fuzz/%.c,$(san)/fuzz/%,$(sort $(wildcard test/fuzz/fuzz_*.c)))
san_cc         = $(CC) -g -O1 $(engine_cflags) $(depend_cflags) $(SANITIZE)
san_libs       = $(engine_libs) $(blas_libs) -lm -lpthread

.PHONY: unit unit-build fuzz fuzz-build
unit-build: $(unit_bin)
fuzz-build: $(fuzz_bin)
unit: unit-build
	@TAP_JOBS=2 test/lib/tap.sh unit $(unit_bin)
fuzz: fuzz-build
	@FUZZ_SECONDS="$(or $(FUZZ_SECONDS),600)" test/lib/fuzz.sh $(fuzz_bin)

$(san)/src/%.o: src/%.c
	@mkdir -p $(dir $@)
	$(san_cc) $(call cflags_for,$<) -c -o $@ $<
$(san)/unit/%.o: test/unit/%.c
	@mkdir -p $(dir $@)
	$(san_cc) -c -o $@ $<
$(unit_bin): $(san)/unit/%: $(san)/unit/%.o $(unit_help) $(san_obj)
	$(san_cc) -o $@ $^ $(san_libs)
# The fuzzers' engine tells the driver which edges an input reaches.
$(san)/cover/%.o: src/%.c
	@mkdir -p $(dir $@)
	$(san_cc) -fsanitize-coverage=trace-pc $(call cflags_for,$<) -c -o $@ $<
$(san)/fuzz/%.o: test/fuzz/%.c
	@mkdir -p $(dir $@)
	$(san_cc) -c -o $@ $<
$(fuzz_bin): $(san)/fuzz/%: $(san)/fuzz/%.o $(san)/fuzz/driver.o $(unit_help) $(cover_obj)
	$(san_cc) -o $@ $^ $(san_libs)
.SECONDARY:
-include $(wildcard $(san)/*/*.d $(san)/src/engine/*/*.d $(san)/cover/engine/*/*.d)

# ---- speed ----

bench_bin     := $(patsubst test/bench/%.c,build/bench/%,$(sort $(wildcard test/bench/bench_*.c)))
bench_help    := $(patsubst test/bench/%.c,build/bench/%.o,$(filter-out $(wildcard test/bench/bench_*.c),$(wildcard test/bench/*.c)))
bench_cc       = $(CC) -g -O2 $(engine_cflags) $(depend_cflags)
.PHONY: bench bench-build bench-train
bench-build: $(bench_bin)
bench: bench-build
	@MAKE="$(MAKE)" test/lib/bench.sh
bench-train: build/bench/bench_train
	@test/lib/bench_train.sh $<
build/bench/%.o: test/bench/%.c
	@mkdir -p $(dir $@)
	$(bench_cc) -c -o $@ $<
build/bench/peer_sql.o: bench_cc += -I$(shell $(PG_CONFIG) --includedir)
build/bench/random_model.o: test/unit/random_model.c
	@mkdir -p $(dir $@)
	$(bench_cc) -c -o $@ $<
$(bench_bin): build/bench/%: build/bench/%.o $(bench_help) build/bench/random_model.o $(engine_obj)
	$(bench_cc) -o $@ $^ $(san_libs) -L$(shell $(PG_CONFIG) --libdir) -lpq
-include $(wildcard build/bench/*.d)

# ---- style ----

.PHONY: lint
lint:
	@test/lib/lint.sh
