"""Dynamic int8 of all-MiniLM-L6-v2: ours beside onnxruntime.quantization, in ONNX Runtime.

    python3 -m venv venv && venv/bin/pip install onnxruntime==1.32.0 onnx==1.23.2 safetensors==0.8.0
    examples/semantic-search/fetch.sh
    cargo build --release -p model-build --features cli
    venv/bin/python scripts/compare-int8.py

Prints, for the 20 sentences of tests/fixtures/minilm, the least and the mean cosine against the fp32
graph and the time of a run as a share of the fp32 graph's: medians of runs in turn, one thread.
"""

import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy as np
import onnxruntime as ort
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import load_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOL = ROOT / "target/release/model-build"
MODEL = ROOT / "examples/semantic-search/models/all-MiniLM-L6-v2"
ROUNDS = 30


def convert(path, **quantization):
    flags = [f"--quantization.{key}={value}" for key, value in quantization.items()]
    subprocess.run([TOOL, "convert", "-q", MODEL, path, *flags], check=True, stdout=subprocess.DEVNULL)


with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    convert(folder / "fp32.onnx")
    convert(folder / "row.onnx", type="int8", activations="row")
    convert(folder / "tensor.onnx", type="int8", activations="tensor")
    quantize_dynamic(
        folder / "fp32.onnx", folder / "peer.onnx", per_channel=True, weight_type=QuantType.QInt8
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    names = ["fp32", "peer", "tensor", "row"]
    sessions = {n: ort.InferenceSession(folder / f"{n}.onnx", options) for n in names}

tensors = load_file(ROOT / "tests/fixtures/minilm/reference.safetensors")
feed = {i.name: tensors[i.name] for i in sessions["fp32"].get_inputs()}
times = {n: [] for n in names}
for _ in range(ROUNDS):
    for name in names:
        start = time.perf_counter()
        sessions[name].run(None, feed)
        times[name].append(time.perf_counter() - start)
reference = sessions["fp32"].run(None, feed)[0]
print("artifact  least cosine  mean cosine  time against fp32")
for name in names:
    y = sessions[name].run(None, feed)[0]
    cosine = (y * reference).sum(1) / np.linalg.norm(y, axis=1) / np.linalg.norm(reference, axis=1)
    share = statistics.median(times[name]) / statistics.median(times["fp32"])
    print(f"{name:8}  {cosine.min():12.4f}  {cosine.mean():11.4f}  {share:17.2f}")
