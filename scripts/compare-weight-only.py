"""Integer weights of all-MiniLM-L6-v2: what ranking sentences loses by them, ours beside
onnxruntime.quantization, in ONNX Runtime.

    python3 -m venv venv && venv/bin/pip install onnxruntime==1.32.0 onnx==1.23.2 onnx-ir==1.1.0 \
        safetensors==0.8.0 tokenizers==0.23.3 psutil==7.2.2
    examples/semantic-search/fetch.sh
    cargo build --release -p model-build --features cli
    venv/bin/python scripts/compare-weight-only.py

Every pair of the sentences of tests/fixtures/sentences gets the cosine of its embeddings. Prints, for
each artifact, Spearman's rank correlation of these with the fp32 graph's, the mean and the least
cosine of an embedding with the fp32 graph's, the size of the file, and the time and the peak memory
of making it. `peer` rows are onnxruntime's own quantizers on the fp32 graph we lowered; hqq needs
torch and is left out without it. MODEL_BUILD and MODEL name another tool and checkpoint; the names of
rows given as arguments restrict the table to rows that contain one of them.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOL = os.environ.get("MODEL_BUILD", ROOT / "target/release/model-build")
MODEL = pathlib.Path(
    os.environ.get("MODEL", ROOT / "examples/semantic-search/models/all-MiniLM-L6-v2")
)
SENTENCES = (ROOT / "tests/fixtures/sentences/sentences.txt").read_text().splitlines()
# Runs a command and prints its seconds and the greatest memory of it, in kB, as JSON.
MEASURE = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
took = time.perf_counter() - start
print(json.dumps([took, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))
"""
PEER = """
import sys
source, target, how = sys.argv[1:4]
if how == "dynamic":
    from onnxruntime.quantization import QuantType, quantize_dynamic
    quantize_dynamic(source, target, per_channel=True, weight_type=QuantType.QInt8)
else:
    import onnx
    from onnxruntime.quantization import matmul_nbits_quantizer as q
    bits, block, symmetric = int(sys.argv[4]), int(sys.argv[5]), sys.argv[6] == "sym"
    if how == "hqq":
        config = q.HQQWeightOnlyQuantConfig(block_size=block, bits=bits)
    else:
        config = q.DefaultWeightOnlyQuantConfig(block_size=block, is_symmetric=symmetric, bits=bits)
    made = q.MatMulNBitsQuantizer(onnx.load(source), algo_config=config)
    made.process()
    onnx.save(made.model.model, target)
"""


def measured(command):
    out = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, command)], check=True, capture_output=True, text=True
    )
    return json.loads(out.stdout)


def convert(source, target, *flags):
    # A store of its own: nothing is served that was made before.
    with tempfile.TemporaryDirectory() as store:
        os.environ["MODEL_BUILD_CACHE"] = store
        return measured([TOOL, "convert", "-q", "--force", source, target, *flags])


def embeddings(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options)
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    tokenizer.no_padding()
    names = [i.name for i in session.get_inputs()]
    out = []
    for sentence in SENTENCES:
        encoded = tokenizer.encode(sentence)
        given = {
            "input_ids": encoded.ids,
            "attention_mask": encoded.attention_mask,
            "token_type_ids": encoded.type_ids,
        }
        feed = {name: np.array([given[name]], np.int64) for name in names}
        out.append(session.run(None, feed)[0][0])
    out = np.stack(out).astype(np.float64)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def ranks(values):
    order = np.argsort(values, kind="stable")
    out = np.empty(len(values))
    out[order] = np.arange(len(values))
    return out


def spearman(a, b):
    upper = np.triu_indices(len(a), 1)
    return np.corrcoef(ranks((a @ a.T)[upper]), ranks((b @ b.T)[upper]))[0, 1]


def rows():
    """Name, how to make it: flags of ours, or what the peer's script takes."""
    dynamic = ["--quantization", "int8"]
    yield "int8 dynamic", dynamic
    yield "int8 dynamic, tensor", dynamic + ["--quantization.activations", "tensor"]
    yield "int8 dynamic, peer", ("dynamic",)
    yield "uint8 dynamic", ["--quantization", "uint8"]
    only = ["--quantization.method", "weight-only"]
    yield "int8 weight-only, channels", ["--quantization", "int8", *only]
    yield "uint8 weight-only, channels", ["--quantization", "uint8", *only]
    for block in (32, 128):
        size = ["--quantization.block-size", str(block)]
        for word, sign in (("int4", "sym"), ("uint4", "asym")):
            yield f"{word} rtn {block}", ["--quantization", word, *size]
            yield f"{word} rtn {block}, peer", ("rtn", 4, block, sign)
        algorithm = lambda name: ["--quantization.algorithm", name]
        yield f"uint4 hqq {block}", ["--quantization", "uint4", *size, *algorithm("hqq")]
        yield f"uint4 hqq {block}, peer", ("hqq", 4, block, "asym")
        for name in ("gptq", "awq") if CALIBRATION else ():
            yield f"uint4 {name} {block}", [
                "--quantization", "uint4", *size, *algorithm(name), *CALIBRATION,
            ]  # fmt: skip


# Flags of ours that name sample data, for the algorithms that need any.
CALIBRATION = os.environ.get("CALIBRATION", "").split()


def main():
    wanted = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        full = folder / "fp32.onnx"
        convert(MODEL, full)
        reference = embeddings(full)
        print("| artifact | Spearman | mean cosine | least cosine | MB | seconds | peak MB |")
        print("|---|---|---|---|---|---|---|")
        size = full.stat().st_size / 1e6
        print(f"| fp32 | 1 | 1 | 1 | {size:.1f} | | |")
        for name, how in rows():
            if wanted and not any(word in name for word in wanted):
                continue
            path = folder / "made.onnx"
            path.unlink(missing_ok=True)
            try:
                if isinstance(how, tuple):
                    took, peak = measured([sys.executable, "-c", PEER, full, path, *how])
                else:
                    took, peak = convert(full, path, *how)
            except subprocess.CalledProcessError as error:
                print(f"| {name} | failed: {error.stderr.strip().splitlines()[-1]} | | | | | |")
                continue
            found = embeddings(path)
            cosine = (found * reference).sum(1)
            size = path.stat().st_size / 1e6
            print(
                f"| {name} | {spearman(found, reference):.4f} | {cosine.mean():.4f} |"
                f" {cosine.min():.4f} | {size:.1f} | {took:.2f} | {peak / 1e3:.0f} |",
                flush=True,
            )


main()
