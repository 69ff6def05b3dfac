# Each target does its own set-up on a fresh Debian 12 with Rust installed: see scripts/setup.
#
#   make build           the command for people, target/release/podwire
#   make plugin DIR=…    what belongs into a runtime's CNI bin directory, static where possible;
#                        with ARCH=aarch64, for nodes of that architecture
#   make lab             three nodes, two pods each: up, ping every pair, down
#   make test            every test; those in network namespaces and under containerd need root
#   make bench           what an ADD and a DEL cost, beside the kernel's own work and the reference plugins;
#                        BENCH=… takes its options, such as BENCH='--only add,del --markdown'
#   make cost            what one call of the plugin costs, against limits and the figures on record; needs root.
#                        RECORD=1 records anew, SYMBOLS=1 keeps the names of functions for a closer look
#   make guests          rebuild the policies' components from source
#   make languages       the example policy in JavaScript, Python and C: build each, and compare what they decide;
#                        needs root
#   make lint            formatting, clippy, shellcheck
#   make image DIR=…     podwire's container image, from what it puts into DIR

export CARGO_TARGET_DIR := $(CURDIR)/target
# Where ip and nft are, which a root that came by `su` does not always look into.
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: build plugin lab test bench cost guests languages lint image

build:
	scripts/setup build
	cargo build --release --package podwire

plugin:
	@test -n "$(DIR)" || { echo "name the folder: make plugin DIR=/opt/cni/bin" >&2; exit 2; }
	scripts/setup build plugin $(ARCH)
	scripts/plugin "$(DIR)" $(ARCH)

lab: build
	scripts/lab

test:
	scripts/setup build test
	@test "$$(id -u)" -eq 0 || echo "not root: tests that need network namespaces will say that they are skipped"
	cargo test --workspace --no-fail-fast

bench: build
	scripts/setup build plugin bench
	scripts/plugin "$(CARGO_TARGET_DIR)/bench-plugin"
	cargo build --release --package podwire-bench
	"$(CARGO_TARGET_DIR)/release/podwire-bench" $(BENCH)

cost:
	scripts/setup build plugin cost
	$(if $(SYMBOLS),CARGO_PROFILE_PLUGIN_STRIP=none) scripts/plugin target/cost-plugin
	PODWIRE_PLUGIN=$(CURDIR)/target/cost-plugin/podwire PODWIRE_RECORD=$(RECORD) \
		cargo test --package podwire-tests --features plugin-build --test cost --no-fail-fast

guests:
	scripts/setup guests
	guests/build.sh

# An interpreter is compiled by the release build: the debug build takes minutes for it. Programs are built together
# with tests: by themselves they ask for fewer features, and so for another wasmtime.
languages: build
	scripts/setup languages test
	guests/languages.sh
	env -u CARGO_BUILD_TARGET cargo build --workspace --bins --tests
	PODWIRE_COMMAND=$(CURDIR)/target/$(CARGO_BUILD_TARGET)/release/podwire \
		env -u CARGO_BUILD_TARGET cargo test --workspace --features podwire-tests/languages --test languages --no-fail-fast

lint:
	cargo fmt --check
	cargo clippy --workspace --all-targets --features podwire-tests/plugin-build,podwire-tests/languages -- --deny warnings
	cargo clippy --workspace --no-default-features --all-targets -- --deny warnings
	if command -v shellcheck; then scripts/shellcheck; fi

image:
	@test -n "$(DIR)" || { echo "name the folder: make image DIR=target/image" >&2; exit 2; }
	scripts/image "$(DIR)" $(TAG)
