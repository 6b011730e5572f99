# eventbridge: event routing for PostgreSQL.
#
# "make", "make install" and "make installcheck" behave as in every PGXS
# extension; PG_CONFIG chooses the server.  The rest ("make help") sets up
# what it needs by itself.

EXTENSION = eventbridge
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" eventbridge.control)

MODULE_big = eventbridge
# One room of src/ each; the worker is a client program and not part of the module.
ROOMS = json pattern ruleset index transform stream bus delivery
OBJS = src/eventbridge.o src/settings.o \
	$(patsubst %.c,%.o,$(sort $(foreach room,$(ROOMS),$(wildcard src/$(room)/*.c))))
PG_CPPFLAGS = -Isrc -DEVENTBRIDGE_VERSION='"$(EXTVERSION)"'

# The install script is put together from its parts, in the order in which
# the rooms build on one another.
PARTS = $(wildcard $(patsubst %,sql/parts/%.sql,head pattern ruleset index transform stream bus delivery pipes))
EXTENSION_SCRIPT = sql/eventbridge--$(EXTVERSION).sql
DATA_built = $(EXTENSION_SCRIPT)
DATA = $(wildcard sql/eventbridge--*--*.sql)

REGRESS = $(sort $(patsubst test/sql/%.sql,%,$(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test --load-extension=eventbridge
ISOLATION = $(sort $(patsubst test/specs/%.spec,%,$(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --outputdir=. --load-extension=eventbridge
TAP_TESTS = $(if $(wildcard test/t/*.pl),1,)
PROVE_TESTS ?= $(sort $(wildcard test/t/*.pl))

EXTRA_CLEAN = $(EXTENSION_SCRIPT)

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(EXTENSION_SCRIPT): $(PARTS) eventbridge.control
	cat $(PARTS) > $@

# Every object depends on every header: a full build takes seconds.
$(OBJS): $(wildcard src/*.h src/*/*.h)
