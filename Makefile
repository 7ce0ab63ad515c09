# Rondo's build. A file dropped into src/ROOM/ is built; the suffix of a kernel file is its
# instruction set. `make help` lists the targets.

MODE ?= release

# Another processor: make ARCH=aarch64 builds with Debian's cross compiler into build/aarch64, with
# libraries from the multiarch folders (script/bootstrap arm installs both).
HOST := $(shell uname -m)
ifeq ($(origin CC),default)
CC := $(if $(filter-out $(HOST),$(ARCH)),$(ARCH)-linux-gnu-)gcc
endif
ARCH := $(shell $(CC) -dumpmachine | cut -d- -f1)
ifeq ($(ARCH),$(HOST))
BUILD := build/$(MODE)
PKG_CONFIG ?= pkg-config
else
BUILD := build/$(ARCH)$(filter-out -release,-$(MODE))
PKG_CONFIG ?= PKG_CONFIG_LIBDIR=/usr/lib/$(ARCH)-linux-gnu/pkgconfig:/usr/share/pkgconfig pkg-config
endif
VERSION := 0.1.0
# What bench and version name: changes that are not committed are told, new files are not.
COMMIT := $(or $(shell [ -e .git ] && git describe --always --dirty=+changes --exclude='*' 2>/dev/null),unknown)

# V=1 shows the commands.
Q := $(if $(V),,@)
say = @$(if $(V),true,echo '$(1) $@')

ifeq ($(ARCH),x86_64)
ISA_DIR := x86
else ifeq ($(ARCH),aarch64)
ISA_DIR := arm
endif

# psabi: the vectors of kernels/fit_part.h are passed to inlined functions only
WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
        -Wpointer-arith -Wundef -Wno-psabi
CFLAGS_release := -O2 -g
CFLAGS_debug := -O0 -g3
CFLAGS_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS_tsan := -O1 -g -fsanitize=thread -fno-omit-frame-pointer
CFLAGS_fuzz := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_tsan := -fsanitize=thread
LDFLAGS_fuzz := -fsanitize=fuzzer,address,undefined
PACKAGES := openssl jansson libpcre2-8 libutf8proc libedit libcurl
# Reads by io_uring where liburing is there; else threads read.
URING := $(shell $(PKG_CONFIG) --exists liburing 2>/dev/null && echo liburing)
PACKAGES += $(URING)
CPPFLAGS := $(if $(URING),-DRONDO_URING) -D_GNU_SOURCE -Isrc -Itests -Itests/support -DRONDO_VERSION='"$(VERSION)"' $(shell $(PKG_CONFIG) --cflags $(PACKAGES))
CFLAGS_ALL := -std=c17 $(WARN) -ffp-contract=off -fno-math-errno -pthread $(CFLAGS_$(MODE)) $(CFLAGS)
WRAP := malloc calloc realloc aligned_alloc posix_memalign
LDFLAGS_ALL := -pthread $(LDFLAGS_$(MODE)) $(WRAP:%=-Wl,--wrap=%) $(LDFLAGS)
LIBS := $(shell $(PKG_CONFIG) --libs $(PACKAGES)) -lm

SRC := $(filter-out src/kernels/x86/% src/kernels/arm/%,$(shell find src -name '*.c' | LC_ALL=C sort))
SRC += $(shell find src/kernels/$(ISA_DIR) -name '*.c' 2>/dev/null | LC_ALL=C sort)
LIB_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(filter-out src/app/main.c,$(SRC)))
TEST_SUPPORT := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/support/*.c))
TESTS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(shell find tests -name 'test_*.c' | LC_ALL=C sort))
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))

%_avx2.o $(BUILD)/%_avx2.o: ISA_FLAGS := -mavx2 -mfma -mf16c
%_avx512.o $(BUILD)/%_avx512.o: ISA_FLAGS := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mfma -mf16c
%_neon.o $(BUILD)/%_neon.o: ISA_FLAGS := -march=armv8.2-a+dotprod
%_i8mm.o $(BUILD)/%_i8mm.o: ISA_FLAGS := -march=armv8.2-a+dotprod+i8mm

.PHONY: all tests tools homelab fuzzers clean install format format-check layers help
all: $(BUILD)/rondo ## build build/MODE/rondo (MODE=release|debug|asan|tsan, CC=gcc|clang, ARCH=aarch64)

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(ISA_FLAGS) -MMD -MP -c -o $@ $<

# Typical devices are part of the program.
$(BUILD)/src/app/device_files.o: $(wildcard profiles/*.json)

# The one object that knows its commit is built again when that changes.
$(BUILD)/src/app/version.o: CPPFLAGS += -DRONDO_COMMIT='"$(COMMIT)"'
$(BUILD)/src/app/version.o: $(BUILD)/commit
$(BUILD)/commit: FORCE
	@mkdir -p $(@D)
	@echo '$(COMMIT)' | cmp -s - $@ || echo '$(COMMIT)' >$@
FORCE:

$(BUILD)/librondo.a: $(LIB_OBJ)
	@rm -f $@
	$(call say,AR)
	$(Q)ar rcs $@ $(LIB_OBJ)

$(BUILD)/libsupport.a: $(TEST_SUPPORT)
	@rm -f $@
	$(call say,AR)
	$(Q)ar rcs $@ $(TEST_SUPPORT)

$(BUILD)/rondo: $(BUILD)/src/app/main.o $(BUILD)/librondo.a $(patsubst models/%,$(BUILD)/models/%,$(wildcard models/*.gguf))
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(BUILD)/src/app/main.o $(BUILD)/librondo.a $(LIBS)

# A home in a box (tests/homelab), the program and for its tests the rest of it as a library. Needs
# nothing that rondo itself does not.
HOMELAB := $(patsubst %.c,$(BUILD)/%.o,$(filter-out tests/homelab/test_% %/homelab.c,$(wildcard tests/homelab/*.c)))
$(BUILD)/libhomelab.a: $(HOMELAB)
	@rm -f $@
	$(call say,AR)
	$(Q)ar rcs $@ $(HOMELAB)

$(BUILD)/tests/homelab/homelab: $(BUILD)/tests/homelab/homelab.o $(BUILD)/libhomelab.a $(BUILD)/librondo.a
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $< $(BUILD)/libhomelab.a $(BUILD)/librondo.a $(LIBS)

# The demo model lies beside the binary.
$(BUILD)/models/%.gguf: models/%.gguf
	@mkdir -p $(@D)
	cp $< $@

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(BUILD)/libsupport.a $(BUILD)/libhomelab.a $(BUILD)/librondo.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $< $(BUILD)/libsupport.a $(BUILD)/libhomelab.a $(BUILD)/librondo.a $(LIBS) -lcmocka

# Fuzz targets define LLVMFuzzerTestOneInput. With MODE=fuzz CC=clang they are fuzzers; in every
# other mode tests/fuzz/replay.c gives them a main that runs over the corpus folder.
REPLAY := $(if $(filter fuzz,$(MODE)),,$(BUILD)/tests/fuzz/replay.o)
$(BUILD)/fuzz/%: $(BUILD)/tests/fuzz/%.o $(REPLAY) $(BUILD)/libsupport.a $(BUILD)/libhomelab.a $(BUILD)/librondo.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $< $(REPLAY) $(BUILD)/libsupport.a $(BUILD)/libhomelab.a $(BUILD)/librondo.a $(LIBS) -lcmocka

# Programs that tests and script/bench run.
TOOLS := $(patsubst %.c,$(BUILD)/%,$(wildcard tools/*.c))
$(BUILD)/tools/%: $(BUILD)/tools/%.o
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $<

tools: $(TOOLS)
homelab: all $(BUILD)/tests/homelab/homelab ## build the homes in a box (script/homelab)
tests: all $(TESTS) $(TOOLS) homelab ## build all tests of this MODE, and the programs that some of them run
fuzzers: $(FUZZERS) ## build the fuzz targets of this MODE

PREFIX ?= /usr/local
install: all ## install under PREFIX (default /usr/local), DESTDIR honoured
	install -D -m 755 $(BUILD)/rondo $(DESTDIR)$(PREFIX)/bin/rondo
	install -d $(DESTDIR)$(PREFIX)/share/rondo/models
	install -m 644 models/*.gguf $(DESTDIR)$(PREFIX)/share/rondo/models/

FORMATTED = $(shell find src tests tools -name '*.[ch]' | LC_ALL=C sort)
format: ## reformat all C sources in place
	clang-format -i $(FORMATTED)
format-check: ## fail when a source is not formatted
	clang-format --dry-run -Werror $(FORMATTED)
layers: ## fail when a room includes what docs/layers does not allow
	tools/layers.sh
clean: ## remove everything that was built
	rm -rf build
help: ## list targets
	@grep -hE '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/' | LC_ALL=C sort

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
