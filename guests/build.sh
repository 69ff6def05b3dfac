#!/bin/sh
# Builds the components that are committed: the default policy, which the host embeds, and the guests of
# the host's tests.
#
#   guests/build.sh           writes them
#   guests/build.sh --check   builds them in a temporary folder, and fails if one has other bytes
#   guests/build.sh --policies DIR
#                             writes the policies to begin with into a folder; they are not committed
#
# The same bytes come from any folder and any CARGO_HOME, but only from the compiler that
# rust-toolchain.toml names. Another one writes components that work as well.
set -eu

target=wasm32-unknown-unknown
guests=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$guests")
pinned=$(sed -n 's/^channel = "\(.*\)"/\1/p' "$guests/rust-toolchain.toml")

# Built component, and where it is committed.
components="bridge guests/bridge.wasm
hostile tests/guests/built/hostile.wasm
endless_start tests/guests/built/endless_start.wasm
large_table tests/guests/built/large_table.wasm"

policies="routed sticky tenant"

lack() {
    printf 'guests/build.sh: %s\n' "$@" >&2
    exit 1
}

find_compiler() {
    command -v cargo >/dev/null || lack "there is no cargo: install Rust $pinned, see https://rustup.rs"
    # rustup fetches what rust-toolchain.toml names, or says why it cannot.
    rustc --version || lack "Rust $pinned is missing: rustup toolchain install $pinned --profile minimal --target $target"
    sysroot=$(rustc --print sysroot)
    host=$(rustc -vV | sed -n 's/^host: //p')
    release=$(rustc -vV | sed -n 's/^release: //p')
}

# The core and alloc libraries for the target: ready-made, or from their source.
find_libraries() {
    build_std=
    if ls "$sysroot/lib/rustlib/$target/lib/"libcore-*.rlib >/dev/null 2>&1; then
        return
    fi
    if [ -e "$sysroot/lib/rustlib/src/rust/library/core/src/lib.rs" ]; then
        build_std=-Zbuild-std=core,alloc
        export RUSTC_BOOTSTRAP=1
        return
    fi
    lack "Rust $release cannot build for $target." \
        "With rustup:    rustup target add --toolchain $pinned $target" \
        "With Debian's:  apt install rustc-web cargo-web rust-web-src"
}

# wasm-component-ld makes a component of what wasm-ld links. Both lie in the compiler's own folder, or are
# found elsewhere and named.
find_linker() {
    wasm_ld=
    if [ -x "$sysroot/lib/rustlib/$host/bin/gcc-ld/wasm-ld" ]; then
        return
    fi
    rustups="${RUSTUP_HOME:-$HOME/.rustup}/toolchains"
    for component_ld in "$rustups"/*/lib/rustlib/*/bin/wasm-component-ld wasm-component-ld; do
        ! command -v "$component_ld" >/dev/null || break
    done
    command -v "$component_ld" >/dev/null ||
        lack "there is no wasm-component-ld, which makes a component of a linked module." \
            "rustup's toolchains carry it; or: cargo install wasm-component-ld --locked"
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$component_ld"
    for wasm_ld in "$(dirname "$component_ld")/gcc-ld/wasm-ld" wasm-ld wasm-ld-19 wasm-ld-22; do
        ! command -v "$wasm_ld" >/dev/null || return 0
    done
    lack "there is no wasm-ld: rustup's toolchains carry it; or: apt install lld-19"
}

# The places of things on this machine do not belong into a component; and flags that somebody set for
# other programs would change it.
set_flags() {
    separator=$(printf '\037')
    CARGO_ENCODED_RUSTFLAGS="--remap-path-prefix=$root=podwire"
    # With the component rust-src the compiler finds the sources of core here; without, it calls them so.
    commit=$(rustc -vV | sed -n 's/^commit-hash: //p')
    CARGO_ENCODED_RUSTFLAGS="$CARGO_ENCODED_RUSTFLAGS$separator--remap-path-prefix=$sysroot/lib/rustlib/src/rust=/rustc/$commit"
    for sources in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
        CARGO_ENCODED_RUSTFLAGS="$CARGO_ENCODED_RUSTFLAGS$separator--remap-path-prefix=$sources=crates"
    done
    if [ -n "$wasm_ld" ]; then
        CARGO_ENCODED_RUSTFLAGS="$CARGO_ENCODED_RUSTFLAGS$separator-Clink-arg=--wasm-ld-path=$wasm_ld"
    fi
    export CARGO_ENCODED_RUSTFLAGS
}

# In a folder, the packages that are named.
build() {
    folder=$1
    shift
    # rust-toolchain.toml, Cargo.toml and .cargo/config.toml apply where cargo is started.
    cd "$guests"
    cargo fetch --locked --quiet
    set_flags
    # shellcheck disable=SC2086 # one word or none
    cargo build --quiet --locked --release --target "$target" --target-dir "$folder" $build_std "$@"
}

# A component may import the contract, and nothing else: no WASI.
check_imports() {
    # Names of interfaces are text in it; a shim's name may hold one.
    foreign=$(tr -c '[:alnum:]:/@.-' '\n' <"$1" | grep -E '[a-z-]+:[a-z-]+/[a-z-]+@[0-9]' |
        grep -v 'podwire:policy/' || :)
    [ -z "$foreign" ] || lack "$1 imports what is not of the contract:" "$foreign"
}

compare() {
    if cmp -s "$1" "$root/$2"; then
        return
    fi
    echo "$2 is not what its source builds: run guests/build.sh, and commit it." >&2
    different=1
}

build_policies() {
    mkdir -p "$1"
    destination=$(cd "$1" && pwd)
    set --
    for policy in $policies; do
        set -- "$@" -p "$policy"
    done
    build "$guests/target" "$@"
    for policy in $policies; do
        check_imports "$folder/$target/release/$policy.wasm"
        cp "$folder/$target/release/$policy.wasm" "$destination"
    done
}

case "${1:-}" in
"" | --check) ;;
--policies) [ -n "${2:-}" ] || lack "name the folder: --policies DIR" ;;
*) lack "unknown argument $1: use --check, --policies DIR, or none" ;;
esac

find_compiler
find_libraries
find_linker

if [ "${1:-}" = --policies ]; then
    build_policies "$2"
    exit
fi

folder="$guests/target"
if [ -n "${1:-}" ]; then
    [ "$release" = "$pinned" ] || lack "bytes can be compared with Rust $pinned only, and this is $release"
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
fi

build "$folder" -p bridge -p hostile -p endless-start -p large-table
different=
while read -r name committed; do
    built="$folder/$target/release/$name.wasm"
    check_imports "$built"
    if [ -n "${1:-}" ]; then
        compare "$built" "$committed"
    else
        cp "$built" "$root/$committed"
        echo "$committed: $(wc -c <"$built") bytes"
    fi
done <<END
$components
END

if [ -n "$different" ]; then
    exit 1
fi
if [ "$release" != "$pinned" ]; then
    echo "note: built with Rust $release; the committed bytes are those of $pinned" >&2
fi
