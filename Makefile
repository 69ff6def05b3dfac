# Each target does its own set-up on a fresh Debian 12 with Rust installed: see scripts/setup.
#
#   make build           the command for people, target/release/podwire
#   make plugin DIR=…    what belongs into a runtime's CNI bin directory, static where possible
#   make lab             three nodes, two pods each: up, ping every pair, down
#   make test            every test; those in network namespaces and under containerd need root
#   make cost            what one call of the plugin costs, against limits and the figures on record; needs root.
#                        RECORD=1 records anew, SYMBOLS=1 keeps the names of functions for a closer look
#   make guests          rebuild the policies' components from source
#   make lint            formatting, clippy, shellcheck

export CARGO_TARGET_DIR := $(CURDIR)/target
# Where ip and nft are, which a root that came by `su` does not always look into.
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: build plugin lab test cost guests lint

build:
	scripts/setup build
	cargo build --release --package podwire

plugin:
	@test -n "$(DIR)" || { echo "name the folder: make plugin DIR=/opt/cni/bin" >&2; exit 2; }
	scripts/setup build plugin
	scripts/plugin "$(DIR)"

lab: build
	scripts/lab

test:
	scripts/setup build test
	@test "$$(id -u)" -eq 0 || echo "not root: tests that need network namespaces will say that they are skipped"
	cargo build --package podwire --bins
	cargo test --workspace --no-fail-fast

cost:
	scripts/setup build plugin cost
	$(if $(SYMBOLS),CARGO_PROFILE_PLUGIN_STRIP=none) scripts/plugin target/cost-plugin
	PODWIRE_PLUGIN=$(CURDIR)/target/cost-plugin/podwire PODWIRE_RECORD=$(RECORD) \
		cargo test --package podwire-tests --features plugin-build --test cost --no-fail-fast

guests:
	scripts/setup guests
	guests/build.sh

lint:
	cargo fmt --check
	cargo clippy --workspace --all-targets --features podwire-tests/plugin-build -- --deny warnings
	cargo clippy --package podwire --no-default-features --all-targets -- --deny warnings
	if command -v shellcheck; then scripts/shellcheck; fi
