#!/bin/sh
# Builds the example policy in every language, and runs the unit tests of each: writes
# guests/target/languages/LANGUAGE.wasm. `scripts/setup languages` installs what that needs.
#
#   guests/languages.sh [LANGUAGE…]
set -eu

guests=$(cd "$(dirname "$0")" && pwd)
built="$guests/target/languages"
mkdir -p "$built"

build() {
    component=build/by-namespace.wasm
    case $1 in
    rust)
        cd "$guests/by-namespace"
        export CARGO_TARGET_DIR="$guests/target/by-namespace"
        cargo build --quiet --locked --release --target wasm32-unknown-unknown
        component=$CARGO_TARGET_DIR/wasm32-unknown-unknown/release/by_namespace.wasm
        ;;
    js)
        cd "$guests/js"
        npm install --silent --no-audit --no-fund --no-package-lock
        npm test --silent
        npm run build --silent
        ;;
    *)
        cd "$guests/$1"
        make --silent test
        make --silent
        ;;
    esac
    cp "$component" "$built/$1.wasm"
    echo "guests/target/languages/$1.wasm: $(wc -c <"$built/$1.wasm") bytes"
}

[ $# -gt 0 ] || set -- rust js python c
for language; do
    (build "$language")
done
