"""Opens what model-build writes of Hugging Face checkpoints with torch, safetensors and transformers.

    python3 -m venv venv && venv/bin/pip install torch==2.15.0 transformers==5.23.0 safetensors==0.8.0 numpy
    venv/bin/python scripts/open-written.py CHECKPOINTS     # a folder of checkpoint folders

Each checkpoint is written as PyTorch and as safetensors, whole and in shards. Every archive passes
Python's check of its checksums; torch reads each with `weights_only`, mapped and not; the tensors
are those of the source; transformers opens the folder and computes the same logits.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import warnings
import zipfile

import torch
import transformers
from safetensors.torch import load_file

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()
ROOT = pathlib.Path(__file__).resolve().parent.parent


def load(path):
    if path.suffix == ".safetensors":
        return load_file(path)
    assert zipfile.ZipFile(path).testzip() is None, path
    plain = torch.load(path, weights_only=True)
    mapped = torch.load(path, weights_only=True, mmap=True)
    assert plain.keys() == mapped.keys() and all(torch.equal(plain[k], mapped[k]) for k in plain), path
    return plain


def tensors(folder):
    indexes = list(folder.glob("*.index.json"))
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    out = {}
    for file in files:
        if file.name != "reference.safetensors":
            out |= load(file)
    for index in indexes:
        assert json.loads(index.read_text())["weight_map"].keys() == out.keys()
    return out


def logits(folder):
    config = transformers.AutoConfig.from_pretrained(folder)
    name = (config.architectures or ["AutoModel"])[0]
    torch.manual_seed(1)
    model, told = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"], told
    ids = torch.arange(5, 13)[None]
    try:
        return next(v for v in model.eval()(input_ids=ids).values() if torch.is_tensor(v))
    except (TypeError, ValueError):
        return None


def main(checkpoints, written):
    test = ["cargo", "test", "-q", "-p", "model-build-tests", "--test", "formats", "--", "folders_are_written"]
    env = os.environ | {"CHECKPOINTS": str(checkpoints), "WRITE_TO": str(written)}
    subprocess.run(test, check=True, cwd=ROOT, env=env)
    for folder in sorted(checkpoints.iterdir()):
        source, want = tensors(folder), logits(folder)
        for way in ("pytorch", "pytorch-shards", "safetensors", "safetensors-shards"):
            ours = written / f"{folder.name}-{way}"
            got = tensors(ours)
            assert got.keys() == source.keys(), (folder, way)
            for name, tensor in source.items():
                assert tensor.dtype == got[name].dtype and torch.equal(tensor, got[name]), (ours, name)
            if want is not None:
                assert torch.equal(want, logits(ours)), ours
        print(f"{folder.name}: {len(source)} tensors, four ways, equal; logits {'equal' if want is not None else 'not computed'}")


with tempfile.TemporaryDirectory() as scratch:
    with torch.no_grad():
        main(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(scratch))
