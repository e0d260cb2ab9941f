#!/bin/sh
# Leaves of a checkout what its dependencies are built from: manifests, and empty programs where cargo looks for some.
# The result is the same, byte for byte, until a manifest or the list of targets changes, and with it the layer after it.
# usage: skeleton.sh FOLDER   (a copy: what is deleted is gone)
set -eu
cd "$1"
test -f Cargo.lock || { echo "skeleton.sh: no workspace in $1" >&2; exit 1; }

roots=$(find crates -path 'crates/*/build.rs' -o -path 'crates/*/src/lib.rs' -o -path 'crates/*/src/main.rs' \
    -o -path 'crates/*/src/bin/*.rs' -o -path 'crates/*/examples/*.rs' -o -path 'crates/*/benches/*.rs' \
    -o -path 'crates/*/tests/*.rs')
find . -type f ! -name Cargo.toml ! -name Cargo.lock ! -name rust-toolchain.toml ! -path './.cargo/*' -delete
for file in $roots; do
    case $file in
    # Modules of a target, not the target.
    */src/bin/*/main.rs | */tests/*/main.rs | */examples/*/main.rs) ;;
    */src/bin/*/* | */tests/*/* | */examples/*/* | */benches/*/*) continue ;;
    esac
    mkdir -p "${file%/*}"
    echo 'fn main() {}' >"$file"
done
find . -type d -empty -delete
