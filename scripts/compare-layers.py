"""Holds `model-build verify --layers` to ONNX Runtime driven from Python.

    pip install onnx==1.23.2 onnxruntime==1.32.0 numpy safetensors
    python scripts/compare-layers.py TOOL REFERENCE.onnx ARTIFACT.onnx INPUTS.safetensors

For every value that the tool compares: its error, from both graphs run without optimizations with
every such value as an output; its blame, from a graph of its own that `onnx.utils.Extractor` cuts out
of the artifact between the compared values, fed with the reference's. Prints the greatest differences.
"""

import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx.utils import Extractor
from safetensors.numpy import load_file


def session(model):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def tapped(path, names):
    model = onnx.load(path)
    there = {o.name for o in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in there)
    return session(model)


def error(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.linalg.norm(a - b) / np.linalg.norm(a)


def main():
    tool, reference, artifact, inputs = sys.argv[1:]
    command = [tool, "verify", reference, artifact, "--inputs", inputs, "--layers", "--message-format", "json"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    layers = next(m for m in map(json.loads, lines) if m["event"] == "layers")["layers"]["layers"]
    names = [layer["name"] for layer in layers]
    feed = load_file(inputs)
    truth = dict(zip(names, tapped(reference, names).run(names, feed)))
    whole = dict(zip(names, tapped(artifact, names).run(names, feed)))

    model = onnx.shape_inference.infer_shapes(onnx.load(artifact))
    maker = {o: node for node in model.graph.node for o in node.output}
    constants = {i.name for i in model.graph.initializer}
    off_error = off_blame = 0.0
    zeros = 0
    for layer in layers:
        name = layer["name"]
        given, stack, seen = set(), list(maker[name].input), set()
        while stack:
            value = stack.pop()
            if value in seen or value in constants or not value:
                continue
            seen.add(value)
            if value in truth or value not in maker:
                given.add(value)
            else:
                stack.extend(maker[value].input)
        part = session(Extractor(model).extract_model(sorted(given), [name]))
        own = part.run([name], {v: truth[v].astype(whole[v].dtype) if v in truth else feed[v] for v in given})[0]
        blame = error(truth[name], own)
        off_error = max(off_error, abs(error(truth[name], whole[name]) - layer["relative"]))
        off_blame = max(off_blame, abs(blame - layer["blame"]))
        zeros += blame == 0 and layer["blame"] == 0
    print(f"{len(layers)} values: errors differ by {off_error:.1e} at most, blames by {off_blame:.1e}; {zeros} blames are 0 in both")


if __name__ == "__main__":
    main()
