#!/bin/sh
# Fetches ggml and llama.cpp, which the tests of block types and GGUF files compare with, and prints
# where they are:
#
#     GGML_DYLIB_PATH=/…/target/oracles/ggml/libggml-base.so
#
# so that `export "$(scripts/fetch-ggml.sh)"` sets it. The libraries are taken from the npm package
# @node-llama-cpp/linux-x64, whose SHA-256 is pinned here. Needs npm; does nothing the second time.
set -eu

version=3.22.1
package=0d953e1503d5ab4608d8ed5b739132308c81ac05ffeb760d2a7f30e08a9f90e0
root=$(cd "$(dirname "$0")/.." && pwd)
dest="${CARGO_TARGET_DIR:-$root/target}/oracles/ggml"

case "$(uname -s)-$(uname -m)" in
Linux-x86_64) ;;
*)
    echo "fetch-ggml: no build of ggml is pinned for $(uname -s) $(uname -m);" \
        "set GGML_DYLIB_PATH to a libggml-base of your own" >&2
    exit 1
    ;;
esac

if [ ! -f "$dest/libggml-base.so" ]; then
    mkdir -p "$dest"
    work=$(mktemp -d "$dest/.fetch-XXXXXX")
    trap 'rm -rf "$work"' EXIT
    npm pack --silent --pack-destination "$work" "@node-llama-cpp/linux-x64@$version" >&2
    archive="$work/node-llama-cpp-linux-x64-$version.tgz"
    echo "$package  $archive" | sha256sum --check --quiet >&2
    tar -xzf "$archive" -C "$work"
    mv "$work"/package/bins/linux-x64/*.so "$dest/"
fi
echo "GGML_DYLIB_PATH=$dest/libggml-base.so"
