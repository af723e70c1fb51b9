#!/usr/bin/env python3
"""Checkpoint → GGUF → safetensors, opened with transformers: the same logits as the checkpoint.

    scripts/open-unpacked.py TOOL CHECKPOINT…

TOOL is the program `model-build`, each CHECKPOINT a Hugging Face folder. Both are run on the tokens of
the folder's `reference.safetensors` (`in.*`), or on the ids 1…12. Prints the largest difference and
what transformers misses; exits with 1 where a tensor is unexpected or the difference is above 1e-5.

python3 -m venv venv && venv/bin/pip install torch==2.15.0 transformers==5.23.0 safetensors numpy
"""
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file

transformers.logging.set_verbosity_error()


def run(folder, inputs):
    config = transformers.AutoConfig.from_pretrained(folder)
    kind = getattr(transformers, config.architectures[0])
    model, info = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    if inputs is None:
        inputs = {"input_ids": torch.arange(1, 13)[None]}
        if config.is_encoder_decoder:
            inputs["decoder_input_ids"] = torch.arange(1, 7)[None]
    with torch.no_grad():
        out = model.eval()(**inputs)
    return inputs, out["logits" if "logits" in out else "last_hidden_state"], info


def main():
    tool, *folders = sys.argv[1:]
    bad = False
    for folder in map(pathlib.Path, folders):
        reference = folder / "reference.safetensors"
        inputs = None
        if reference.exists():
            arrays = load_file(reference)
            inputs = {k[3:]: v for k, v in arrays.items() if k.startswith("in.")}
        with tempfile.TemporaryDirectory() as scratch:
            gguf = pathlib.Path(scratch) / "model.gguf"
            back = pathlib.Path(scratch) / "back" / "model.safetensors"
            for command in (
                [tool, "-q", "convert", folder, gguf, "--precision", "fp32", "--no-cache"],
                [tool, "-q", "convert", gguf, back, "--no-cache"],
            ):
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            inputs, want, _ = run(folder, inputs)
            _, got, info = run(back.parent, inputs)
        difference = (got - want).abs().max().item()
        missing, unexpected = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
        bad |= difference > 1e-5 or bool(unexpected)
        print(f"{folder.name:20} max-abs {difference:.1e}  missing {missing}  unexpected {unexpected}")
    sys.exit(bad)


if __name__ == "__main__":
    main()
