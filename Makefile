# SPDX-License-Identifier: Apache-2.0
#
# The one Makefile of Bourse. `make help` lists the targets.
#
# Everything that is built lies under build/; objects of a variant under build/<variant>/. The
# variant is chosen by arguments, never by editing:
#
#     make                           build/release/bourse, also as build/bourse
#     make SAN=address,undefined     build/address-undefined/bourse
#     make SAN=thread CC=clang       build/thread/bourse, by clang
#
# The test targets choose the sanitizers themselves; `make unit SAN=` runs without them. A change
# of compiler or flags rebuilds what it concerns: the flags are written to build/<variant>/flags,
# on which every object depends.

VERSION := 0.1.0

MAKEFLAGS += --no-builtin-rules
ifeq ($(filter -j% --jobs%,$(MAKEFLAGS)),)
MAKEFLAGS += --jobs=$(shell nproc)
endif
.SUFFIXES:
.DELETE_ON_ERROR:
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := all

ifneq ($(filter fuzz,$(MAKECMDGOALS)),)
CC := clang
else ifeq ($(origin CC),default)
CC := gcc
endif
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
PYTHON := /usr/bin/python3

# Variant ----------------------------------------------------------------------------------------

comma := ,
TEST_GOALS := test unit integration interop console-tests crash-tests sim-tests thread-tests package-tests
ifneq ($(filter $(TEST_GOALS) corruption,$(MAKECMDGOALS)),)
SAN ?= address,undefined
endif
SAN ?=

ifneq ($(filter coverage,$(MAKECMDGOALS)),)
VARIANT := coverage
else ifneq ($(filter fuzz,$(MAKECMDGOALS)),)
VARIANT := fuzz
else ifneq ($(SAN),)
VARIANT := $(subst $(comma),-,$(SAN))
else
VARIANT := release
endif
OUT := build/$(VARIANT)

# Flags ------------------------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla \
            -Wformat=2
LANGUAGE := -std=c17 -D_GNU_SOURCE -I. -include base/banned.h
VERSION_FLAG := -DBOURSE_VERSION='"$(VERSION)"'

# Prints the options of $(1) if the compiler takes them, else nothing; the second for linking.
accepted = $(shell $(CC) -Werror $(1) -x c -c /dev/null -o /dev/null 2>/dev/null && echo '$(1)')
links = $(shell echo 'int main(void) { return 0; }' \
    | $(CC) -Werror -Wl,--fatal-warnings $(1) -x c -o /dev/null - 2>/dev/null && echo '$(1)')

ifeq ($(VARIANT),release)
AUTO_INIT := $(call accepted,-ftrivial-auto-var-init=zero)
ifeq ($(AUTO_INIT),)
# clang before 16 wants to be asked twice.
AUTO_INIT := $(call accepted,-ftrivial-auto-var-init=zero \
    -enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang)
endif
MODE := -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong \
        -fstack-clash-protection $(call accepted,-fcf-protection) $(AUTO_INIT) -fPIE \
        -ffile-prefix-map=$(CURDIR)=.
MODE_LINK := -pie -Wl,-z,relro,-z,now,-z,noexecstack $(call links,-pie -Wl$(comma)-z$(comma)pack-relative-relocs)
else ifeq ($(VARIANT),coverage)
MODE := -O0 --coverage -fprofile-update=atomic
MODE_LINK := --coverage
else ifeq ($(VARIANT),fuzz)
MODE := -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
        -fno-sanitize-recover=all
MODE_LINK := -fsanitize=fuzzer,address,undefined
else
MODE := -O1 -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all
MODE_LINK := -fsanitize=$(SAN)
endif

CFLAGS ?=
LDFLAGS ?=
ALL_CFLAGS := $(LANGUAGE) $(VERSION_FLAG) $(WARNINGS) -g $(MODE) $(CFLAGS)
ALL_LDFLAGS := $(MODE_LINK) $(LDFLAGS)
LIBS := -lyaml -lssl -lcrypto -lpcre2-8 -ljansson -levent_openssl -levent_extra -levent_core -lpthread

# Sources ----------------------------------------------------------------------------------------

FOLDERS := base amqp net tls config routing exchanges queues store broker management cli
SOURCES := $(wildcard $(FOLDERS:%=%/*.c) $(FOLDERS:%=%/*/*.c))
FAIL_CALL_SOURCE := tests/support/fail_call.c
TEST_SOURCES := $(filter-out $(FAIL_CALL_SOURCE),$(wildcard tests/support/*.c))
TEST_SOURCES += $(shell find tests/unit -name '*.c' 2>/dev/null | sort)
# The fuzz targets are unit tests as well: over their seeds, without libFuzzer.
FUZZ_MAIN := tests/fuzz/libfuzzer.c
FUZZ_HARNESSES := $(filter-out $(FUZZ_MAIN) tests/fuzz/test_%,$(wildcard tests/fuzz/*.c))
TEST_SOURCES += $(FUZZ_HARNESSES) $(wildcard tests/fuzz/test_*.c)
# The simulator, without its main files, is linked into the unit tests too: they judge its judge.
SIM_MAIN := tests/sim/main.c tests/sim/mutant_checksum.c tests/sim/mutant_ring.c
SIM_SOURCES := $(filter-out $(SIM_MAIN),$(wildcard tests/sim/*.c))
SIM_WRAPS := $(foreach name,hold_method hold_publish hold_again run_method run_publish replay_held,-Wl,--wrap=connection_$(name))
SIM_WRAPS += -Wl,--wrap=core_let_die,--wrap=core_let_failed_die,--wrap=core_log_publish,--wrap=queue_take_dying,--wrap=queue_take_waiting,--wrap=queue_end_retry,--wrap=queue_push,--wrap=queue_pop,--wrap=queue_lend,--wrap=queue_push_until,--wrap=queue_push_delayed,--wrap=core_end_wait,--wrap=core_work_on_pending,--wrap=pending_end_fetch
SIM_WRAPS += -Wl,--wrap=channel_return_counted,--wrap=core_wait,--wrap=core_park,--wrap=channel_end_rejected,--wrap=channel_settle_return,--wrap=core_go_on_settling
SIM_WRAPS += -Wl,--wrap=replay_message,--wrap=desk_drop_message
SIM_WRAPS += -Wl,--wrap=core_route,--wrap=core_refuses,--wrap=vhost_delete_queue,--wrap=channel_close
LOADGEN_SOURCES := $(wildcard bench/loadgen.c bench/loadgen_*.c)
RELAY_SOURCES := $(wildcard bench/relay.c bench/relay_*.c)
# What the micro-benchmarks share; and what is preloaded into a broker.
MICRO_SHARED := bench/micro.c
COUNT_CALLS_SOURCE := bench/count_calls.c
BENCH_PARTS := $(LOADGEN_SOURCES) $(RELAY_SOURCES) $(MICRO_SHARED) $(COUNT_CALLS_SOURCE)
BENCH_SOURCES := $(filter-out $(BENCH_PARTS),$(wildcard bench/*.c))
ALL_SOURCES := $(SOURCES) $(TEST_SOURCES) $(FUZZ_MAIN) $(SIM_SOURCES) $(SIM_MAIN) \
               $(FAIL_CALL_SOURCE) $(BENCH_PARTS) $(BENCH_SOURCES)
HEADERS := $(wildcard $(FOLDERS:%=%/*.h) $(FOLDERS:%=%/*/*.h) bench/*.h tests/support/*.h tests/fuzz/*.h tests/sim/*.h)

OBJECTS := $(SOURCES:%.c=$(OUT)/obj/%.o)
CORE_OBJECTS := $(filter-out $(OUT)/obj/cli/main.o,$(OBJECTS))
TEST_OBJECTS := $(TEST_SOURCES:%.c=$(OUT)/obj/%.o)
FUZZ_OBJECTS := $(patsubst %.c,$(OUT)/obj/%.o,\
                  $(FUZZ_MAIN) $(FUZZ_HARNESSES) tests/support/alloc_faults.c \
                  $(wildcard tests/support/sim_*.c))
SIM_OBJECTS := $(SIM_SOURCES:%.c=$(OUT)/obj/%.o)
SIM_SUPPORT := $(patsubst %.c,$(OUT)/obj/%.o,$(wildcard tests/support/sim_*.c))
LOADGEN_OBJECTS := $(LOADGEN_SOURCES:%.c=$(OUT)/obj/%.o)
RELAY_OBJECTS := $(RELAY_SOURCES:%.c=$(OUT)/obj/%.o)
MICRO_OBJECTS := $(MICRO_SHARED:%.c=$(OUT)/obj/%.o)
ALL_OBJECTS := $(ALL_SOURCES:%.c=$(OUT)/obj/%.o)

BINARY := $(OUT)/bourse
UNIT_TESTS := $(OUT)/unit-tests
FAIL_CALL := $(OUT)/fail_call.so
ifeq ($(VARIANT),release)
BENCH_OUT := build/bench
MAIN_BINARY := build/bourse
else
BENCH_OUT := $(OUT)/bench
MAIN_BINARY := $(BINARY)
endif
# Load generator and relay have several files; every other file of bench/ is a program.
SMALL_PROGRAMS := $(BENCH_SOURCES:bench/%.c=$(BENCH_OUT)/%)
COUNT_CALLS := $(BENCH_OUT)/count_calls.so
BENCH_PROGRAMS := $(BENCH_OUT)/loadgen $(BENCH_OUT)/relay $(SMALL_PROGRAMS)

# Building ---------------------------------------------------------------------------------------

.PHONY: all
all: $(MAIN_BINARY) ## build the broker (build/bourse)

build/bourse: build/release/bourse
	@ln -sfn release/bourse $@

$(BINARY): $(OBJECTS)
	@echo "  LINK  $@"
	@$(CC) $(ALL_LDFLAGS) -o $@ $(OBJECTS) $(LIBS)

# Each test is a process of its own: without half a million relocations it starts sooner.
$(UNIT_TESTS): private ALL_LDFLAGS += -no-pie
$(UNIT_TESTS): $(CORE_OBJECTS) $(TEST_OBJECTS) $(SIM_OBJECTS)
	@echo "  LINK  $@"
	@$(CC) $(ALL_LDFLAGS) $(SIM_WRAPS) -o $@ $^ $(LIBS) -lcriterion

SIM_PROGRAM := $(OUT)/sim
$(SIM_PROGRAM): $(CORE_OBJECTS) $(SIM_OBJECTS) $(SIM_SUPPORT) $(SIM_MAIN:%.c=$(OUT)/obj/%.o)
	@echo "  LINK  $@"
	@$(CC) $(ALL_LDFLAGS) $(SIM_WRAPS) -Wl,--wrap=crc32c,--wrap=ring_append,--wrap=bell_ring -o $@ $^ $(LIBS)

# One program; the name it is called by chooses the target.
FUZZ_PROGRAM := $(OUT)/fuzz
$(FUZZ_PROGRAM): $(CORE_OBJECTS) $(FUZZ_OBJECTS)
	@echo "  LINK  $@"
	@$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

# `make test` meets the broker under the thread sanitizer too, whatever its own variant is.
THREAD_BINARY := build/thread/bourse
ifneq ($(VARIANT),thread)
$(THREAD_BINARY): FORCE | deps-test
	@$(MAKE) --no-print-directory SAN=thread $@
endif

# Preloaded into a broker, with or without sanitizers, so it has none itself.
$(FAIL_CALL): $(FAIL_CALL_SOURCE) $(OUT)/flags
	@echo "  LINK  $@"
	@$(CC) $(LANGUAGE) $(WARNINGS) -g -O2 -fPIC -shared -o $@ $<

# It knows the protocol by itself and shares nothing with what it measures.
$(BENCH_OUT)/loadgen: $(LOADGEN_OBJECTS)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS) -lm

$(BENCH_OUT)/relay: $(RELAY_OBJECTS)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

# Allocations are counted on their way to the library.
MICRO_WRAPS := $(foreach name,malloc calloc realloc aligned_alloc,-Wl,--wrap=$(name))
$(filter $(BENCH_OUT)/micro_%,$(SMALL_PROGRAMS)): $(MICRO_OBJECTS)
$(filter $(BENCH_OUT)/micro_%,$(SMALL_PROGRAMS)): private ALL_LDFLAGS += $(MICRO_WRAPS)
$(SMALL_PROGRAMS): $(BENCH_OUT)/%: $(OUT)/obj/bench/%.o $(CORE_OBJECTS)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS) -lm

# Preloaded into a broker whose allocations are counted.
$(COUNT_CALLS): $(COUNT_CALLS_SOURCE) $(OUT)/flags
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LANGUAGE) $(WARNINGS) -g -O2 -fPIC -shared -o $@ $<

# Criterion's assertions convert to bit-fields inside their macros.
$(TEST_OBJECTS): private FILE_CFLAGS := -Wno-conversion

$(ALL_OBJECTS): $(OUT)/obj/%.o: %.c $(OUT)/flags
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(ALL_CFLAGS) $(FILE_CFLAGS) -MMD -MP -c -o $@ $<

# The console's files are part of the binary, and compressed beforehand. Comments that have a line for
# themselves are left empty, so that a line has the number that it has here.
WEB_FILES := $(wildcard management/web/*)
WEB_SENT := $(WEB_FILES:management/web/%=$(OUT)/web/%)
$(WEB_SENT): $(OUT)/web/%: management/web/%
	@mkdir -p $(@D)
	@sed 's,^ *//.*,,' $< > $@
$(WEB_SENT:%=%.gz): %.gz: %
	@gzip -9 -n -c $< > $@
$(OUT)/obj/management/http/web_files.o: $(WEB_SENT) $(WEB_SENT:%=%.gz)
$(OUT)/obj/management/http/web_files.o: private FILE_CFLAGS := -DWEB_SENT='"$(OUT)/web"'

# Rewritten only when it would differ, so that an unchanged command line rebuilds nothing.
FLAGS_TEXT := $(shell $(CC) -dumpfullversion -dumpversion 2>/dev/null) $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)
$(OUT)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(FLAGS_TEXT))' | cmp -s - $@ \
	    || printf '%s\n' '$(subst ','\'',$(FLAGS_TEXT))' > $@

.PHONY: FORCE
FORCE:

-include $(ALL_OBJECTS:.o=.d)

# Running ----------------------------------------------------------------------------------------

.PHONY: run
run: deps-try $(MAIN_BINARY) ## start the broker with examples/shop.yaml on TLS and loopback
	@tools/run $(MAIN_BINARY)

.PHONY: demo
demo: deps-try $(MAIN_BINARY) ## a whole story in under ten seconds, with real clients
	@$(PYTHON) tools/demo.py $(MAIN_BINARY)

COMPLETIONS := $(addprefix $(DESTDIR)$(PREFIX)/share/,\
                 bash-completion/completions zsh/site-functions fish/vendor_completions.d)
.PHONY: install
install: $(MAIN_BINARY) ## install below $(DESTDIR)$(PREFIX)
	install -D -m 755 $(MAIN_BINARY) $(DESTDIR)$(PREFIX)/bin/bourse
	install -D -m 644 examples/shop.yaml $(DESTDIR)$(PREFIX)/share/doc/bourse/examples/shop.yaml
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/bourse README.md CHANGELOG.md LICENSE \
	    docs/*.md
	install -D -m 644 packaging/prometheus/rules.yml $(DESTDIR)$(PREFIX)/share/doc/bourse/prometheus/rules.yml
	install -D -m 644 packaging/grafana/bourse-overview.json \
	    $(DESTDIR)$(PREFIX)/share/doc/bourse/grafana/bourse-overview.json
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed -e 's|/usr/bin/bourse|$(PREFIX)/bin/bourse|' -e 's|/etc/bourse/|$(SYSCONFDIR)/bourse/|' packaging/systemd/bourse.service \
	    > $(DESTDIR)$(PREFIX)/lib/systemd/system/bourse.service
	install -D -m 644 packaging/systemd/bourse.socket $(DESTDIR)$(PREFIX)/lib/systemd/system/bourse.socket
	install -D -m 644 packaging/systemd/bourse.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/bourse.conf
	install -D -m 644 packaging/systemd/bourse.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/bourse.conf
	test -e $(DESTDIR)$(SYSCONFDIR)/bourse/bourse.yaml \
	    || install -D -m 640 packaging/bourse.yaml $(DESTDIR)$(SYSCONFDIR)/bourse/bourse.yaml
	install -d $(COMPLETIONS) $(addprefix $(DESTDIR)$(PREFIX)/share/man/,man1 man5 man8)
	$(MAIN_BINARY) man > $(DESTDIR)$(PREFIX)/share/man/man1/bourse.1
	$(MAIN_BINARY) man bourse.yaml > $(DESTDIR)$(PREFIX)/share/man/man5/bourse.yaml.5
	$(MAIN_BINARY) man bourse-topology > $(DESTDIR)$(PREFIX)/share/man/man5/bourse-topology.5
	$(MAIN_BINARY) man bourse.8 > $(DESTDIR)$(PREFIX)/share/man/man8/bourse.8
	$(MAIN_BINARY) completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/bourse
	$(MAIN_BINARY) completion zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_bourse
	$(MAIN_BINARY) completion fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/bourse.fish

.PHONY: deb image-root packages
deb: $(MAIN_BINARY) ## build the Debian package (build/deb)
	@packaging/debian/build $(VERSION)-1 build/deb
image-root: $(MAIN_BINARY) ## build the file system of the container image (build/image)
	@packaging/image-root build/release/bourse build/image
# Of the optimised binary, whatever is tested besides.
packages: | deps-test
	@$(MAKE) --no-print-directory SAN= deb image-root

.PHONY: clean
clean: ## remove everything that was built
	rm -rf build

# Dependencies -----------------------------------------------------------------------------------

.PHONY: deps deps-try deps-test
deps: ## install what building and running need (Debian packages)
	@tools/deps build
deps-try: deps
	@tools/deps try
deps-test: deps-try ## install what tests and lint need: clients, peers, analysers
	@tools/deps test

# Nothing is compiled before its libraries are there when one of these goals asked for them.
ifneq ($(filter run demo,$(MAKECMDGOALS)),)
$(OUT)/flags: | deps
endif
ifneq ($(filter $(TEST_GOALS) coverage lint fuzz,$(MAKECMDGOALS)),)
$(OUT)/flags: | deps-test
endif

# Testing ----------------------------------------------------------------------------------------

# How many threads the brokers of integration, interop and crash tests have: `make integration
# THREADS=2`; without it what the broker chooses.
THREADS ?= $(BOURSE_THREADS)
export BOURSE_THREADS := $(THREADS)

RUN_TESTS = $(PYTHON) tools/run_tests.py --out $(OUT) --binary $(BINARY)

.PHONY: test unit integration interop console-tests crash-tests sim-tests thread-tests package-tests
test: deps-test $(BINARY) $(UNIT_TESTS) $(SIM_PROGRAM) $(FAIL_CALL) $(THREAD_BINARY) packages ## run everything: unit, sim, integration, interop, crash, threads, packages, include table, documents
	@$(RUN_TESTS) includes documents unit sim integration interop console crash thread package
unit: deps-test $(UNIT_TESTS) ## run the unit tests
	@$(RUN_TESTS) unit
integration: deps-test $(BINARY) ## run the tests against a broker process (THREADS=2: with that many threads)
	@$(RUN_TESTS) integration
interop: deps-test $(BINARY) ## run the tests with other people's clients
	@$(RUN_TESTS) interop
console-tests: deps-test $(BINARY) ## run the tests with a browser on the web console
	@$(RUN_TESTS) console

thread-tests: deps-test $(THREAD_BINARY) ## a load and some integration tests under the thread sanitizer
	@$(RUN_TESTS) thread
package-tests: packages ## try package and image: install, start, answer, upgrade, remove (root)
	@$(RUN_TESTS) package
sim-tests: deps-test $(SIM_PROGRAM) ## run the simulator over few seeds, and those that once found something
	@$(RUN_TESTS) sim
crash-tests: deps-test $(BINARY) $(FAIL_CALL) ## kill -9 (317 times), failing system calls, order of flush and confirm
	@$(RUN_TESTS) crash

SEEDS ?= 1000
FROM ?= 1
.PHONY: sim
sim: $(SIM_PROGRAM) ## simulate SEEDS=1000 runs of a broker on a disk that fails, from seed FROM=1 on
	@$(SIM_PROGRAM) --seeds $(SEEDS) --from $(FROM) --list tests/sim/seeds.txt

.PHONY: sim-prove
sim-prove: $(SIM_PROGRAM) ## show that the simulator sees what is taken away from store or rings
	@tests/sim/prove.sh $(SIM_PROGRAM)

BUDGET ?= 10
.PHONY: crash
crash: $(BINARY) ## kill the broker at random moments for BUDGET=10 minutes and check what it kept
	@BOURSE_BIN=$(BINARY) $(PYTHON) tests/crash/run.py --minutes $(BUDGET)

.PHONY: corruption
corruption: deps-test $(UNIT_TESTS) ## damage every octet of a small store in turn (with SAN= about a minute)
	@BOURSE_CORRUPTION=1 $(UNIT_TESTS) --filter 'corruption/*' --verbose

FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?=
.PHONY: fuzz
fuzz: deps-test $(FUZZ_PROGRAM) ## fuzz every target in turn (FUZZ_SECONDS=60 in all, FUZZ_TARGETS="...")
	@$(PYTHON) tests/fuzz/run.py --program $(FUZZ_PROGRAM) --seconds $(FUZZ_SECONDS) $(FUZZ_TARGETS)

.PHONY: coverage
coverage: deps-test $(BINARY) $(UNIT_TESTS) ## lines covered by unit and integration tests, per file
	@find $(OUT) -name '*.gcda' -delete
	@$(RUN_TESTS) unit integration
	@$(PYTHON) tools/coverage.py $(OUT) $(SOURCES)

# Analysis ---------------------------------------------------------------------------------------

C_FILES := $(ALL_SOURCES) $(HEADERS)

.PHONY: lint
lint: deps-test ## format check, clang-tidy, cppcheck, include table, warnings as errors
	@tools/lint '$(LANGUAGE) $(WARNINGS)' $(sort $(C_FILES))

.PHONY: fmt
fmt: ## format the C sources
	clang-format -i $(sort $(C_FILES))

# Measuring --------------------------------------------------------------------------------------

.PHONY: bench bench-peers bench-cost bench-durability bench-fairness
bench: $(MAIN_BINARY) $(BENCH_PROGRAMS) ## measure messages per broker CPU second
	@$(PYTHON) bench/run.py --bourse $(MAIN_BINARY)
# The page and chart in docs/bench are what the README shows. PEERS="--only latency --report /tmp/x"
# measures a part of it and leaves them alone.
PEERS ?= --report docs/bench
bench-peers: $(MAIN_BINARY) $(BENCH_PROGRAMS) ## the same beside rabbitmq-server and a relay (40 minutes; PEERS="...")
	@$(PYTHON) bench/peers.py --bourse $(MAIN_BINARY) $(PEERS)
bench-cost: $(MAIN_BINARY) $(BENCH_PROGRAMS) $(COUNT_CALLS) ## what a message costs, part by part, beside the budget (COST="...")
	@$(PYTHON) bench/costs.py --bourse $(MAIN_BINARY) $(COST)
DURABILITY ?= --peers
bench-durability: $(MAIN_BINARY) $(BENCH_PROGRAMS) ## flushes, restarts and long backlogs (DURABILITY="--peers")
	@$(PYTHON) bench/durability.py --bourse $(MAIN_BINARY) --json build/durability.json $(DURABILITY)
FAIRNESS ?=
bench-fairness: $(MAIN_BINARY) $(BENCH_PROGRAMS) ## latency of a polite pair beside greedy neighbours (FAIRNESS="--realtime")
	@$(PYTHON) bench/fairness.py --bourse $(MAIN_BINARY) $(FAIRNESS)

# Help -------------------------------------------------------------------------------------------

.PHONY: help
help: ## this list
	@echo "Bourse $(VERSION). Targets:"
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' Makefile | sort \
	    | awk -F'\t' '{ printf "  %-16s %s\n", $$1, $$2 }'
	@echo "Arguments: SAN=address,undefined or SAN=thread, CC=clang, CFLAGS=..., PREFIX=..., DESTDIR=..."
