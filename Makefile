# Rehost: build, test, install. `make help` lists the targets.

VERSION := 0.1.0
B       := build$(if $(SAN),-$(if $(filter address%,$(SAN)),san,$(SAN)))$(if $(filter clang%,$(CC)),-clang)
CC      ?= cc
PREFIX  ?= /usr/local

WARNINGS := -Wall -Wextra -Wshadow -Wvla -Wmissing-prototypes -Wstrict-prototypes -Wformat=2 \
            -Wimplicit-fallthrough -Wpointer-arith -Wwrite-strings -Wundef
OPTIMISE := $(if $(SAN),-O1 -fno-omit-frame-pointer,-O2)
CFLAGS   ?= -g
HARDEN   := $(if $(SAN),,-D_FORTIFY_SOURCE=2) -fstack-protector-strong -fPIE
ALL_CFLAGS = -std=gnu11 $(WARNINGS) $(if $(CI),-Werror) $(OPTIMISE) $(HARDEN) -pthread -I. \
             -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DREHOST_VERSION='"$(VERSION)"' \
             $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=undefined) $(CFLAGS)
ALL_LDFLAGS = -pie -pthread $(if $(SAN),-fsanitize=$(SAN)) -Wl,--as-needed,-z,relro,-z,now $(LDFLAGS)

# --- what is there -------------------------------------------------------------------------------

ROOMS := base disk formats bootfix hypervisor p2v
PKG_base    := zlib
PKG_disk    := blkid ext2fs com_err
PKG_formats := libcrypto jansson libxml-2.0 zlib libzstd
PKG_bootfix := libguestfs libarchive libzstd liblzma
PKG_hypervisor := libseccomp
PKG_p2v     := libcrypto libssl jansson ncursesw sqlite3 libzstd

# A room may use the rooms that stand before it here, and no others.
LOWER_base    := base
LOWER_disk    := disk base
LOWER_formats := formats base
LOWER_bootfix := bootfix base
LOWER_hypervisor := hypervisor formats base
LOWER_p2v     := p2v hypervisor bootfix formats disk base

sources    = $(filter-out p2v/main.c p2v/agent_main.c hypervisor/main.c,$(wildcard $(1)/*.c $(1)/*/*.c))
objects    = $(patsubst %.c,$(B)/obj/%.o,$(1))
lower_libs = $(foreach room,$(LOWER_$(1)),$(B)/lib$(room).a)
pkgs       = $(sort $(foreach room,$(LOWER_$(1)),$(PKG_$(room))))
pkg_cflags = $(if $(1),$(shell pkg-config --cflags $(1)))
pkg_libs   = $(if $(1),$(shell pkg-config --libs $(1)))

PROGRAMS := $(B)/rehost $(B)/rehost-agent $(B)/rehost-vm
UNITS    := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/*/test_*.c))
CONTRACT := $(patsubst tests/contract/%.c,$(B)/contract/%,$(wildcard tests/contract/test_*.c))
FUZZERS  := $(patsubst tests/fuzz/fuzz_%.c,$(B)/fuzz/replay_%,$(wildcard tests/fuzz/fuzz_*.c))
TOOLS    := $(patsubst tests/tools/%.c,$(B)/tools/%,$(wildcard tests/tools/*.c))
LIBS     := $(foreach room,$(ROOMS),$(B)/lib$(room).a)

.PHONY: all deps demo check check-fast check-unit check-fuzz check-integration soak tools bench \
        fuzz lint format install clean help
.DELETE_ON_ERROR:
.SECONDARY:
Q := $(if $(V),,@)

all: $(PROGRAMS) ## build the programs into build/

# --- rules ---------------------------------------------------------------------------------------

define ROOM_RULES
$(B)/obj/$(1)/%.o: $(1)/%.c
	@mkdir -p $$(@D)
	$(if $(V),,@echo "  CC    $$<")
	$(Q)$$(CC) $$(ALL_CFLAGS) $$(CFLAGS_$(1)) -MMD -MP -c -o $$@ $$<
$(B)/lib$(1).a: $$(call objects,$$(call sources,$(1)))
	@mkdir -p $$(@D)
	$(Q)rm -f $$@ && ar rcs $$@ $$^
$(B)/obj/tests/unit/$(1)/%.o: tests/unit/$(1)/%.c
	@mkdir -p $$(@D)
	$(Q)$$(CC) $$(ALL_CFLAGS) $$(CFLAGS_$(1)) -MMD -MP -c -o $$@ $$<
$(B)/unit/$(1)/%: $(B)/obj/tests/unit/$(1)/%.o $$(call lower_libs,$(1))
	@mkdir -p $$(@D)
	$(if $(V),,@echo "  LD    $$@")
	$(Q)$$(CC) $$(ALL_LDFLAGS) -o $$@ $$< $$(call lower_libs,$(1)) $$(LIBS_$(1)) -lcmocka
CFLAGS_$(1) = $$(eval CFLAGS_$(1) := $$(call pkg_cflags,$$(call pkgs,$(1))))$$(CFLAGS_$(1))
LIBS_$(1)   = $$(eval LIBS_$(1) := $$(call pkg_libs,$$(call pkgs,$(1))))$$(LIBS_$(1))
endef
$(foreach room,$(ROOMS),$(eval $(call ROOM_RULES,$(room))))

$(B)/rehost: $(B)/obj/p2v/main.o $(LIBS)
	@echo "  LD    $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< $(call lower_libs,p2v) $(LIBS_p2v)

$(B)/rehost-vm: $(B)/obj/hypervisor/main.o $(call lower_libs,hypervisor)
	@echo "  LD    $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< $(call lower_libs,hypervisor) $(LIBS_hypervisor)

# The agent is static, to run on any Linux: what it uses is in the development packages. glibc warns
# that looking names up needs its shared libraries; the agent asks only what is built in. That warning
# is taken out by hand: with ld's --no-warnings, undefined symbols are no error. Sanitizers cannot be
# linked statically.
AGENT_PKGS    := libssl libcrypto jansson ncursesw blkid ext2fs com_err libzstd zlib
AGENT_ROOMS   := p2v formats disk base
AGENT_LDFLAGS  = -static-pie -pthread -Wl,-z,relro,-z,now $(LDFLAGS)
AGENT_LIBS     = $(shell pkg-config --static --libs $(AGENT_PKGS))
$(B)/rehost-agent: $(B)/obj/p2v/agent_main.o $(LIBS)
	@echo "  LD    $@"
	$(Q)$(CC) $(if $(SAN),$(ALL_LDFLAGS),$(AGENT_LDFLAGS)) -o $@ $< \
	    $(foreach room,$(AGENT_ROOMS),$(B)/lib$(room).a) $(AGENT_LIBS) 2>$@.log || \
	    { cat $@.log >&2; exit 1; }
	$(Q)grep -vE 'in function|in statically linked applications' $@.log >&2 || true
	$(if $(SAN),,$(Q)strip $@)

# Contract tests, fuzz replays and test tools may use every library; the linker takes what they need.
$(B)/obj/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(CFLAGS_p2v) -MMD -MP -c -o $@ $<
$(B)/contract/%: $(B)/obj/tests/contract/%.o $(call lower_libs,p2v)
	@mkdir -p $(@D)
	@echo "  LD    $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< $(filter %.a,$^) $(LIBS_p2v) -lcmocka
$(B)/tools/%: $(B)/obj/tests/tools/%.o $(call lower_libs,p2v)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< $(filter %.a,$^) $(LIBS_p2v)
$(B)/fuzz/replay_%: $(B)/obj/tests/fuzz/fuzz_%.o $(B)/obj/tests/fuzz/replay.o $(call lower_libs,p2v)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS_p2v)

# libFuzzer builds for `make fuzz F=qcow2`: everything below the harness is instrumented too.
FUZZ_SOURCES = $(foreach room,$(ROOMS),$(call sources,$(room)))
build/fuzzer/%: tests/fuzz/fuzz_%.c $(FUZZ_SOURCES)
	@mkdir -p $(@D)
	clang -std=gnu11 -g -O1 -I. -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined -pthread \
	    $(CFLAGS_p2v) -DREHOST_VERSION='"$(VERSION)"' -o $@ $< $(FUZZ_SOURCES) $(LIBS_p2v)

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

# --- for people ----------------------------------------------------------------------------------

deps: ## install what is missing (Debian packages, by apt)
	@tests/deps

demo: deps ## a simulated server boots the agent's ISO and sends itself; its copy is booted
	@$(MAKE) --no-print-directory all
	@tests/demo

check: deps ## install what is missing, build, run every test
	@tests/run all

check-fast: ## unit, contract and fuzz replay only (T=pattern selects)
	@tests/run fast $(T)

check-unit: $(foreach test,$(UNITS) $(CONTRACT),$(if $(findstring $(T),$(test)),$(test)))
	@set -e; for test in $^; do echo "== $$test"; $$test; done

check-integration: ## the integration tests only (T=pattern selects)
	@tests/run integration $(T)

soak: deps ## the tests that cut and kill, as often as takes hours
	@SOAK=1 tests/run integration send-

units: $(UNITS) $(CONTRACT)
fuzzers: $(FUZZERS)
tools: $(TOOLS)

bench: deps ## measure against the peers, one JSON line a figure
	@$(MAKE) --no-print-directory all tools
	@tests/bench/run

fuzz: ## run one fuzzer for a while: make fuzz F=qcow2 [SECONDS=60]
	@test -n "$(F)" || { echo "make fuzz F=NAME; names:" $(patsubst $(B)/fuzz/replay_%,%,$(FUZZERS)); exit 2; }
	@$(MAKE) --no-print-directory build/fuzzer/$(F)
	@mkdir -p build/fuzzer/corpus-$(F)
	build/fuzzer/$(F) -max_total_time=$(or $(SECONDS),60) -timeout=10 -rss_limit_mb=2048 \
	    build/fuzzer/corpus-$(F) tests/fuzz/corpus/$(F)

lint: ## arrows between the rooms, headers that compile alone, format, man pages
	@tests/lint

format: ## clang-format over the tree
	clang-format -i $(shell git ls-files '*.c' '*.h')

install: all ## into PREFIX (default /usr/local)
	install -D -m 755 $(B)/rehost $(DESTDIR)$(PREFIX)/bin/rehost
	install -D -m 755 $(B)/rehost-agent $(DESTDIR)$(PREFIX)/bin/rehost-agent
	install -D -m 755 $(B)/rehost-vm $(DESTDIR)$(PREFIX)/bin/rehost-vm
	for page in docs/man/*.1; do \
	    install -D -m 644 $$page $(DESTDIR)$(PREFIX)/share/man/man1/$${page##*/}; done
	install -D -m 644 docs/completion/rehost.bash \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions/rehost
	sed 's|/usr/local/|$(PREFIX)/|' docs/systemd/rehost-serve.service | \
	    install -D -m 644 /dev/stdin $(DESTDIR)$(PREFIX)/lib/systemd/system/rehost-serve.service

clean: ## remove what was built
	rm -rf build build-*

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | column -t -s "$$(printf '\t')"
