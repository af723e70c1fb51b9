#!/bin/sh
# Fetches ONNX Runtime, which the tests compare with, and prints where it is:
#
#     ORT_DYLIB_PATH=/…/target/oracles/onnxruntime/libonnxruntime.so.1.32.0
#
# so that `export "$(scripts/fetch-oracles.sh)"` sets it. The library is taken from the Python wheel
# of that name, whose SHA-256 is pinned here. Needs python3 with pip; does nothing the second time.
#
# With the argument `node-tests` it writes ONNX's node tests instead, which the Python package `onnx`
# makes (scripts/onnx-node-tests.py), and prints ONNX_NODE_TESTS=/…/target/oracles/onnx-node.
set -eu

version=1.32.0
root=$(cd "$(dirname "$0")/.." && pwd)
dest="${CARGO_TARGET_DIR:-$root/target}/oracles/onnxruntime"

if [ "${1-}" = node-tests ]; then
    node="${CARGO_TARGET_DIR:-$root/target}/oracles/onnx-node"
    if [ ! -d "$node" ]; then
        mkdir -p "$(dirname "$node")"
        work=$(mktemp -d "$node-XXXXXX")
        trap 'rm -rf "$work"' EXIT
        python3 -m pip install --quiet --disable-pip-version-check --only-binary=:all: \
            --target "$work/packages" onnx==1.23.2 numpy==2.4.6 >&2
        PYTHONPATH="$work/packages" python3 -W ignore "$root/scripts/onnx-node-tests.py" "$work/node"
        mv "$work/node" "$node"
    fi
    echo "ONNX_NODE_TESTS=$node"
    exit
fi

case "$(uname -s)-$(uname -m)" in
Linux-x86_64)
    platform=manylinux_2_28_x86_64 library=libonnxruntime.so.$version
    wheel=5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d
    ;;
Linux-aarch64)
    platform=manylinux_2_28_aarch64 library=libonnxruntime.so.$version
    wheel=2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c
    ;;
Darwin-arm64)
    platform=macosx_14_0_arm64 library=libonnxruntime.$version.dylib
    wheel=366b9e53d07812cc5c92822cecf7563b76a8a0f32ba3bb8dd232a206ac3bcb6c
    ;;
*)
    echo "fetch-oracles: no wheel of ONNX Runtime $version is pinned for $(uname -s) $(uname -m);" \
        "set ORT_DYLIB_PATH to a library of your own" >&2
    exit 1
    ;;
esac

if [ ! -f "$dest/$library" ]; then
    mkdir -p "$dest"
    work=$(mktemp -d "$dest/.fetch-XXXXXX")
    trap 'rm -rf "$work"' EXIT
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --platform "$platform" --implementation cp --python-version 3.11 --abi cp311 \
        --dest "$work" "onnxruntime==$version" >&2
    python3 - "$work" "$wheel" "$library" <<'PYTHON'
import hashlib, pathlib, shutil, sys, zipfile

work, expected, library = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
(wheel,) = work.glob("*.whl")
found = hashlib.sha256(wheel.read_bytes()).hexdigest()
if found != expected:
    sys.exit(f"fetch-oracles: {wheel.name} has SHA-256 {found}, expected {expected}")
with zipfile.ZipFile(wheel) as archive:
    (member,) = [name for name in archive.namelist() if name.endswith("/" + library)]
    with archive.open(member) as src, open(work / library, "wb") as dst:
        shutil.copyfileobj(src, dst)
PYTHON
    mv -f "$work/$library" "$dest/$library"
fi
echo "ORT_DYLIB_PATH=$dest/$library"
