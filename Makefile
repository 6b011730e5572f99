# eventbridge: event routing for PostgreSQL.
#
# "make", "make install" and "make installcheck" behave as in every PGXS
# extension; PG_CONFIG chooses the server.  The rest ("make help") sets up
# what it needs by itself.

EXTENSION = eventbridge
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" eventbridge.control)

MODULE_big = eventbridge
# One room of src/ each; the worker is a client program and not part
# of the module.
ROOMS = json log pattern ruleset index transform stream bus delivery pipes
OBJS = src/eventbridge.o src/settings.o src/shmem.o \
	$(patsubst %.c,%.o,$(sort $(foreach room,$(ROOMS),$(wildcard src/$(room)/*.c))))
PG_CPPFLAGS = -Isrc -DEVENTBRIDGE_VERSION='"$(EXTVERSION)"'

# The install script is put together from its parts, in the order in which
# the rooms build on one another.
PARTS = $(wildcard $(patsubst %,sql/parts/%.sql,head pattern ruleset index transform stream \
	bus rule target resource event cloudformation log queue delivery stream_log \
	pipes pipe_run pipe_dry_run stream_rotation delivery_views))
EXTENSION_SCRIPT = sql/eventbridge--$(EXTVERSION).sql
DATA_built = $(EXTENSION_SCRIPT)
DATA = $(wildcard sql/eventbridge--*--*.sql)

REGRESS = $(sort $(patsubst test/sql/%.sql,%,$(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test --load-extension=eventbridge
ISOLATION = $(sort $(patsubst test/specs/%.spec,%,$(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --outputdir=. --load-extension=eventbridge
ifneq ($(wildcard test/t/*.pl),)
TAP_TESTS = 1
endif
PROVE_TESTS ?= $(sort $(wildcard test/t/*.pl))

# eventbridge-worker, the client program, needs libcurl and cJSON.  Without
# them the extension is built all the same, and make says what is missing.
WORKER = eventbridge-worker
WORKER_OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/worker/*.c)))
WORKER_NEEDS = libcurl libcjson
WITH_WORKER := $(shell pkg-config --exists $(WORKER_NEEDS) 2>/dev/null && echo yes)
ifeq ($(WITH_WORKER),yes)
SCRIPTS_built = $(WORKER)
endif

# Which server the objects were built for; see below.
BUILT_FOR = .built-for
EXTRA_CLEAN = $(EXTENSION_SCRIPT) $(BUILT_FOR) $(WORKER_OBJS)

# The targets that set up what they need, the server included.
SETUP_TARGETS = demo test test-matrix bench fuzz asan valgrind conformance help

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifneq ($(and $(PGXS),$(wildcard $(PGXS))),)
include $(PGXS)
else ifneq ($(if $(MAKECMDGOALS),$(filter-out $(SETUP_TARGETS),$(MAKECMDGOALS)),all),)
$(error "$(PG_CONFIG) --pgxs" names no file: install the server's development \
files (postgresql-server-dev-15, or what they are called here), set PG_CONFIG, \
or type "make test" or "make demo", which install what they need)
endif

$(EXTENSION_SCRIPT): $(PARTS) eventbridge.control Makefile
	cat $(PARTS) > $@

# Where a regression test delivers, nobody else does, not even on a server that
# preloads the library.  TAP tests have servers of their own.
installcheck: export PGOPTIONS := $(PGOPTIONS) -c eventbridge.background_workers=off
installcheck: PROVE := env -u PGOPTIONS $(PROVE)

# Every object depends on every header: a full build takes seconds.  And
# objects for one server never end up in a module for another: a change of
# the server or of the compiler's options builds all again.
$(OBJS) $(OBJS:.o=.bc): $(wildcard src/*.h src/*/*.h) $(BUILT_FOR)

# PGXS has no rule for a program beside a module.
ifeq ($(WITH_WORKER),yes)
$(WORKER): $(WORKER_OBJS)
	$(CC) $(CFLAGS) $(WORKER_OBJS) $(LDFLAGS) $(LDFLAGS_EX) \
		-L$(pkglibdir) -L$(libdir) -lpgfeutils -lpgcommon -lpgport $(libpq) \
		$(filter -lssl -lcrypto,$(LIBS)) \
		$(shell pkg-config --libs $(WORKER_NEEDS)) -lm -o $@
$(WORKER_OBJS): $(wildcard src/worker/*.h) $(BUILT_FOR)
# "private", lest $(BUILT_FOR) be written with these flags, too, and all be built again.
$(WORKER_OBJS): private override CPPFLAGS += -I$(includedir) $(shell pkg-config --cflags $(WORKER_NEEDS))
else
all: without-worker
.PHONY: without-worker
without-worker:
	@echo "$(WORKER) is left out: pkg-config does not find all of $(WORKER_NEEDS)." >&2
	@echo "On Debian, install pkg-config libcurl4-openssl-dev libcjson-dev, and make again." >&2
endif

.PHONY: FORCE
FORCE:
$(BUILT_FOR): FORCE
	@echo '$(VERSION) $(includedir_server) $(CC) $(CPPFLAGS) $(CFLAGS)' | \
		cmp -s - $@ || \
		echo '$(VERSION) $(includedir_server) $(CC) $(CPPFLAGS) $(CFLAGS)' > $@

# What follows sets up what it needs, works on throwaway servers of its own,
# and touches no other.
.PHONY: $(SETUP_TARGETS)
TOOL = @PG_CONFIG='$(PG_CONFIG)' MAKE='$(MAKE)' test/tools/

demo: ## a guided tour: install, start a throwaway server, show what it does
	$(TOOL)demo.sh

test: ## all tests: build, install, run them on a throwaway server
	$(TOOL)suite.sh

SUITES = trixie sid
test-matrix: ## the same on PostgreSQL 17 and 18, in chroots below build/ (needs root)
	$(TOOL)matrix.sh $(SUITES)

BENCHMARKS = $(sort $(wildcard test/bench/*.sql test/bench/*.sh))
bench: ## the benchmarks, or those of BENCHMARKS="test/bench/X.sql ..."
	$(TOOL)bench.sh $(BENCHMARKS)

SECONDS = 20
SEED = 1
FUZZERS = $(sort $(wildcard test/fuzz/*.pl))
fuzz: ## fuzz under sanitizers: SECONDS=20 each, SEED=1, FUZZERS="test/fuzz/X.pl ..."
	$(TOOL)fuzz.sh '$(SECONDS)' '$(SEED)' $(FUZZERS)

asan: ## the regression tests under AddressSanitizer and UBSan
	$(TOOL)asan.sh

valgrind: ## the regression tests under valgrind
	$(TOOL)valgrind.sh

CONFORMANCE = ../shared/conformance
conformance: ## the labelled cases in CONFORMANCE=../shared/conformance
	$(TOOL)conformance.sh '$(CONFORMANCE)'

help: ## this list
	@echo 'make, make install, make installcheck: as in every PGXS extension (PG_CONFIG=$(PG_CONFIG))'
	@sed -n 's/^\([a-z-]*\): ## \(.*\)/\1|\2/p' Makefile | \
		while IFS='|' read -r target text; do printf '  make %-12s %s\n' "$$target" "$$text"; done

# Chroots and what else the targets above keep between runs.
distclean: clean-build
.PHONY: clean-build
clean-build:
	rm -rf build
