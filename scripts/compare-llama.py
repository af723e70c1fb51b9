#!/usr/bin/env python3
"""Compares what llama.cpp computes from GGUF files with what transformers computes.

    scripts/compare-llama.py FOLDER=FILE.gguf …     the checkpoint and the GGUF made of it

FOLDER holds a `reference.safetensors` (`in.*` tokens, `out.*` outputs of transformers, fp32) or a
checkpoint that transformers can run on token ids 1…12. Prints the largest absolute difference, and the
least cosine of a row; exits with 1 if one is above `--max-abs` (default 5e-3: llama.cpp rounds
activations of f16 matrices to f16, and its GELU is a table of f16).

Needs python3 with numpy and safetensors (and torch, transformers without a reference), a C++ compiler,
and LLAMA_CPP: a folder with llama.cpp's source and its static libraries in `build` (`cmake -B build
-DBUILD_SHARED_LIBS=OFF -DGGML_OPENMP=OFF && cmake --build build`). The source is in the sdist of the PyPI
package llama-cpp-python 0.3.36, folder vendor/llama.cpp.
"""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from safetensors.numpy import load_file


def build():
    root = pathlib.Path(os.environ["LLAMA_CPP"])
    source = pathlib.Path(__file__).with_name("llama-logits.cpp")
    program = pathlib.Path(tempfile.gettempdir()) / "model-build-llama-logits"
    libraries = [str(p) for p in (root / "build").rglob("*.a") if "common" not in p.name]
    subprocess.run(
        ["c++", "-O1", f"-I{root}/include", f"-I{root}/ggml/include", str(source), "-o", str(program),
         "-Wl,--start-group", *libraries, "-Wl,--end-group", "-lpthread", "-ldl", "-lm"],
        check=True,
    )
    return program


def reference(folder):
    path = folder / "reference.safetensors"
    if path.exists():
        return load_file(path)
    import torch
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder)
    model = getattr(transformers, config.architectures[0]).from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.arange(1, 13)[None]
    inputs = {"input_ids": ids}
    if config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids[:, :6]
    with torch.no_grad():
        out = model(**inputs)
    name = "logits" if "logits" in out else "last_hidden_state"
    return {**{f"in.{k}": v.numpy() for k, v in inputs.items()}, f"out.{name}": out[name].numpy()}


def compare(program, folder, file):
    arrays = reference(folder)
    ids = [str(i) for i in arrays["in.input_ids"][0]]
    embeds = "out.logits" not in arrays
    want = arrays["out.last_hidden_state" if embeds else "out.logits"][0]
    if "in.decoder_input_ids" in arrays:
        ids += ["/"] + [str(i) for i in arrays["in.decoder_input_ids"][0]]
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(
            [program, *(["--embed"] if embeds else []), file, out.name, *ids], check=True
        )
        got = np.fromfile(out.name, dtype=np.float32)
    got = got.reshape(len(want), -1)[:, : want.shape[1]]
    dots = (got * want).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(want, axis=1)
    return float(np.abs(got - want).max()), float(dots.min())


def sentences(program, folder, file, path):
    """The least cosine between mean-pooled embeddings of the lines of a text."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    cosines = []
    for line in pathlib.Path(path).read_text().splitlines():
        if not line.strip():
            continue
        ids = tokenizer(line, truncation=True, max_length=128)["input_ids"]
        with torch.no_grad():
            want = model(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy().mean(0)
        with tempfile.NamedTemporaryFile() as out:
            subprocess.run([program, "--embed", file, out.name, *map(str, ids)], check=True)
            got = np.fromfile(out.name, dtype=np.float32).reshape(len(ids), -1).mean(0)
        cosines.append(float(got @ want / np.linalg.norm(got) / np.linalg.norm(want)))
    return len(cosines), min(cosines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pair", nargs="+", help="FOLDER=FILE.gguf")
    parser.add_argument("--max-abs", type=float, default=5e-3)
    parser.add_argument("--sentences", help="a text: compare mean-pooled embeddings of its lines")
    args = parser.parse_args()
    program = build()
    worst = 0.0
    if args.sentences:
        for pair in args.pair:
            folder, _, file = pair.partition("=")
            count, cosine = sentences(program, pathlib.Path(folder), file, args.sentences)
            print(f"{pathlib.Path(file).name:40} {count} lines, least cosine {cosine:.6f}", flush=True)
        return
    for pair in args.pair:
        folder, _, file = pair.partition("=")
        difference, cosine = compare(program, pathlib.Path(folder), file)
        worst = max(worst, difference)
        print(f"{pathlib.Path(file).name:40} max-abs {difference:.2e}  least cosine {cosine:.7f}", flush=True)
    sys.exit(worst > args.max_abs)


if __name__ == "__main__":
    main()
