# The commands a person needs; each does all of its own set-up on a machine that has none.

CARGO ?= cargo
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/sbin:/sbin

.PHONY: help demo thread test build setup setup-bench setup-variants setup-fstests setup-tests lint bench fuzz soak long clean

help: ## Say what can be made
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 24

demo: build ## Open the ext4 race on a stock kernel, and see a later kernel close it
	@scripts/demo

thread: build setup-variants ## Run every case of the thread on every kernel and variant; what was run before is kept
	target/release/blkstay run --table the-thread --cpus 1 --jobs 4 --results the-thread.jsonl --output the-thread.md --output the-thread.xml

test: build lint setup-tests ## Run every test: unit, property, clients, guests
	$(CARGO) test --release --workspace --locked

build: setup ## Build blkstayd and blkstay into target/release
	$(CARGO) build --release --locked

setup: ## Install what is missing to build and to run guests (needs root or sudo if anything is)
	@scripts/setup

setup-variants: ## Install what is missing to build variants of kernels
	@scripts/setup variants

setup-fstests: ## Install what is missing to make the root file system that fstests runs on
	@scripts/setup fstests

setup-tests: ## Both of these, and what else the tests use
	@scripts/setup variants fstests tests

lint: setup ## Check the formatting and run clippy, where the toolchain has them
	@if $(CARGO) fmt --version >/dev/null 2>&1; then $(CARGO) fmt --all --check; else echo "no rustfmt here: skipped"; fi
	@if $(CARGO) clippy --version >/dev/null 2>&1; \
	then $(CARGO) clippy --release --workspace --all-targets --locked -- --deny warnings; \
	else echo "no clippy here: skipped"; fi

setup-bench: ## The same, and qemu-storage-daemon to measure beside
	@scripts/setup bench

bench: setup-bench build ## Measure precision, matching, memory and speed against their bounds; nothing fails by being slow
	$(CARGO) run --release --locked -p blkstay-bench

fuzz: export CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS = true
fuzz: export CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS = true
fuzz: export FUZZ_RUNS ?= 10000000
fuzz: setup ## Throw millions of broken policies, chains and vhost-user messages at what reads them (FUZZ_RUNS, FUZZ_SEED)
	$(CARGO) test --release --locked -p blkstay-engine --test fuzz -- --nocapture
	$(CARGO) test --release --locked -p blkstay-daemon -- fuzz:: --nocapture

soak: export BLKSTAY_SOAK_SECONDS ?= 1800
soak: build setup-tests ## Half an hour of verified load: memory and descriptors stay what they were (BLKSTAY_SOAK_SECONDS)
	$(CARGO) test --release --locked -p blkstay-tests --test soak -- --nocapture

long: export BLKSTAY_OPERATIONS ?= 1000000
long: export BLKSTAY_FIO_MB ?= 64
long: export BLKSTAY_PATIENCE ?= 7200
long: build setup-tests ## Hours of exercise in guests: a million operations on files, fio at length (BLKSTAY_OPERATIONS, BLKSTAY_FIO_MB)
	$(CARGO) test --release --locked -p blkstay-tests --test guest_files --test guest_fio -- --nocapture

clean: ## Remove what was built; the cache of kernels stays
	$(CARGO) clean
