#!/usr/bin/env python3
"""Converts ONNX models to other operator sets and compares what ONNX Runtime makes of them.

    compare-opsets.py CONVERTER MODEL…

CONVERTER is target/debug/opset-convert (cargo build -p model-build-tests --bin opset-convert). For each
model and operator set: the greatest difference of any output from the source's, over the greatest
number of that output; whether onnx's own checker takes the file; or why it was refused.

Made with onnx 1.23.2, onnxruntime 1.32.0.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort

OPSETS = [7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28]
LENGTHS = {"ch_ppocr_mobile_v2.0_cls_infer": [1, 3, 48, 192], "ch_PP-OCRv4_rec_infer": [1, 3, 48, 320],
           "ch_PP-OCRv4_det_infer": [1, 3, 160, 160]}


def session(path):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(str(path), options)


def feed(of, name):
    rng = np.random.default_rng(0)
    out = {}
    for i in of.get_inputs():
        usual = [1, 512] if name.startswith("silero") and i.name == "input" else [1] * 9
        shape = [d if isinstance(d, int) else usual[at] for at, d in enumerate(i.shape)]
        shape = LENGTHS.get(name, shape)
        if i.name == "sr":
            out[i.name] = np.array(16000, dtype=np.int64)
        elif "int" in i.type:
            out[i.name] = rng.integers(0, 200, shape).astype({"tensor(int32)": "i"}.get(i.type, "q"))
        else:
            out[i.name] = rng.standard_normal(shape).astype("e" if "16" in i.type else "f")
    return out


def main(converter, models):
    equal = tried = 0
    for model in map(pathlib.Path, models):
        own = {o.domain: o.version for o in onnx.load(model, load_external_data=False).opset_import}.get("", 0)
        name = model.parent.name + "/" + model.stem if model.stem == "model" else model.stem
        try:
            source = session(model)
            values = feed(source, name)
            want = source.run(None, values)
        except Exception as e:
            print(f"{name} (opset {own}): not run: {str(e)[:150]}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            said = subprocess.run([converter, model, folder, *map(str, OPSETS)], capture_output=True, text=True)
            refused = dict(line.split(" ", 1) for line in said.stdout.splitlines())
            if said.returncode:
                print(f"{name}: {said.stderr[:300]}")
                continue
            for opset in OPSETS:
                if str(opset) in refused:
                    print(f"{name} {own} → {opset}: refused: {refused[str(opset)]}")
                    continue
                tried += 1
                path = f"{folder}/{opset}.onnx"
                try:
                    onnx.checker.check_model(path)
                    got = session(path).run(None, values)
                    worst = max((float(np.max(np.abs(a.astype("d") - b.astype("d")), initial=0))
                                 / max(float(np.max(np.abs(b), initial=0)), 1e-9)) for a, b in zip(got, want))
                    equal += worst <= 1e-5
                    print(f"{name} {own} → {opset}: {worst:.1e}")
                except Exception as e:
                    print(f"{name} {own} → {opset}: FAILED {str(e)[:300]}")
    print(f"{equal} of {tried} conversions are within 1e-5")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
