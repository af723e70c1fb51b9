"""Time and peak memory of quantizing a model of 4.3 GB, synthetic: 16 products of 8192 by 8192.

    python3 -m venv venv && venv/bin/pip install onnx==1.23.2 numpy==2.4.6 psutil==7.2.2
    cargo build --release -p model-build --features cli
    venv/bin/python scripts/measure-memory.py

Peak memory is the greatest resident set of the process, with and without the pages of mapped files,
sampled 50 times a second. Arguments restrict the table to the rows they name. Needs 8 GB in the folder for temporary files (TMPDIR).
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import psutil
from onnx import TensorProto, helper

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOL = os.environ.get("MODEL_BUILD", ROOT / "target/release/model-build")
WIDTH, LAYERS = 8192, 16
WAYS = {
    "int8 dynamic": ["--quantization", "int8"],
    "int8 weight-only, channels": ["--quantization", "int8", "--quantization.method", "weight-only"],
    "int4 rtn 32": ["--quantization", "int4"],
    "uint4 rtn 32": ["--quantization", "uint4"],
    "uint4 hqq 32": ["--quantization", "uint4", "--quantization.algorithm", "hqq"],
}


def make(folder):
    block = np.random.default_rng(0).standard_normal(WIDTH * WIDTH, np.float32).tobytes()
    weights, nodes = [], []
    with open(folder / "weights", "wb") as file:
        for i in range(LAYERS):
            tensor = TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=[WIDTH, WIDTH])
            tensor.data_location = TensorProto.EXTERNAL
            place = {"location": "weights", "offset": str(file.tell()), "length": str(len(block))}
            for key, value in place.items():
                tensor.external_data.add(key=key, value=value)
            file.write(block)
            weights.append(tensor)
            nodes.append(helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"], name=f"n{i}"))
    port = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", WIDTH])
    graph = helper.make_graph(nodes, "g", [port("x0")], [port(f"x{LAYERS}")], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def measured(command):
    start = time.perf_counter()
    child = psutil.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    resident = own = 0
    while child.poll() is None:
        try:
            memory = child.memory_info()
            resident = max(resident, memory.rss)
            own = max(own, memory.rss - memory.shared)
        except psutil.Error:
            break
        time.sleep(0.02)
    if child.wait() != 0:
        raise SystemExit(f"failed: {command}")
    return time.perf_counter() - start, resident, own


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "source").mkdir()
        make(folder / "source")
        print("| | seconds | peak MB | without mapped files, MB |")
        print("|---|---|---|---|")
        for name, flags in WAYS.items():
            if sys.argv[1:] and name not in sys.argv[1:]:
                continue
            target = folder / "made.onnx"
            os.environ["MODEL_BUILD_CACHE"] = str(folder / "store")
            command = [TOOL, "convert", "-q", "--force", folder / "source/model.onnx", target, *flags]
            took, resident, own = measured(command)
            shutil.rmtree(folder / "store")
            print(f"| {name} | {took:.1f} | {resident / 1e6:.0f} | {own / 1e6:.0f} |", flush=True)


main()
