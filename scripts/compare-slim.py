"""Compares the optimizer with onnxslim: nodes, and what ONNX Runtime computes before and after.

    python scripts/compare-slim.py MODEL_BUILD MODEL...

A model is an ONNX file, or the folder of a checkpoint, which is made an ONNX file first. Needs the PyPI packages onnx, onnxruntime, onnxslim, numpy. Prints a Markdown table. Nodes are counted in
subgraphs too; `Constant` nodes do not count, as they are initializers by another name. Each model runs
on seeded inputs of several sizes, before and after, without ONNX Runtime's own optimizations.
"""
import collections, os, subprocess, sys, tempfile
import numpy as np, onnx, onnxruntime as ort

ort.set_default_logger_severity(4)
SIZES = {  # per model file: lists of shapes for each input that is not fixed
    "magika": [{"bytes": (1, 2048)}, {"bytes": (5, 2048)}],
    "standard_v3_3": [{"bytes": (1, 2048)}, {"bytes": (5, 2048)}],
    "rec_infer": [{"x": (1, 3, 48, 320)}, {"x": (2, 3, 48, 192)}],
    "det_infer": [{"x": (1, 3, 320, 320)}, {"x": (2, 3, 96, 224)}],
    "cls_infer": [{"x": (1, 3, 48, 192)}, {"x": (3, 3, 48, 192)}],
    "nmp": [{"serving_default_input_2:0": (1, 43844, 1)}, {"serving_default_input_2:0": (2, 43844, 1)}],
    "silero": [
        {"input": (1, 576), "state": (2, 1, 128), "sr": 16000},
        {"input": (3, 576), "state": (2, 3, 128), "sr": 16000},
        {"input": (2, 288), "state": (2, 2, 128), "sr": 8000},
    ],
}


def count(graph):
    total = 0
    for node in graph.node:
        total += node.op_type != "Constant"
        for a in node.attribute:
            total += count(a.g) if a.type == onnx.AttributeProto.GRAPH else 0
            total += sum(count(g) for g in a.graphs)
    return total


def session(path):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


DTYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32,
          "tensor(bool)": np.bool_, "tensor(float16)": np.float16, "tensor(double)": np.float64,
          "tensor(uint8)": np.uint8}


def feeds(path, s, seed):
    """Dictionaries of inputs, of one size each."""
    rng = np.random.default_rng(seed)
    presets = next((v for k, v in SIZES.items() if k in path), None)
    for i in range(len(presets) if presets else 3):
        names, feed = {}, {}
        for port in s.get_inputs():
            dtype = DTYPES[port.type]
            given = (presets[i] if presets else {}).get(port.name)
            if isinstance(given, int):
                feed[port.name] = np.array(given, dtype)
                continue
            shape = given or [
                d if isinstance(d, int) else names.setdefault(d, (1, 2, 4)[i] * (1 if len(names) == 0 else 7))
                for d in port.shape]
            if dtype == np.float32:
                feed[port.name] = rng.standard_normal(shape).astype(dtype) * 0.3
            elif dtype == np.bool_:
                feed[port.name] = rng.integers(0, 2, shape).astype(dtype)
            elif "mask" in port.name:
                feed[port.name] = np.ones(shape, dtype)
            elif "type" in port.name:
                feed[port.name] = np.zeros(shape, dtype)
            else:
                feed[port.name] = rng.integers(0, 256 if "bytes" in port.name else 60, shape).astype(dtype)
        yield feed


def difference(path, optimized):
    a, b = session(path), session(optimized)
    worst, runs = 0.0, 0
    for feed in feeds(path, a, 7):
        try:
            want = a.run(None, feed)
        except Exception as e:  # the model itself does not take this size
            print(f"  {os.path.basename(path)} does not run: {str(e)[:100]}", file=sys.stderr)
            continue
        runs += 1
        for x, y in zip(want, b.run(None, feed), strict=True):
            assert x.shape == y.shape and x.dtype == y.dtype, (x.shape, y.shape)
            if x.size:
                x, y = x.astype(np.float64), y.astype(np.float64)
                worst = max(worst, float(np.nanmax(np.abs(x - y))))
                assert (np.isnan(x) == np.isnan(y)).all()
    return worst, runs


def main():
    tool, models = sys.argv[1], sys.argv[2:]
    flags = os.environ.get("OPTIMIZATION", "true")
    print("| model | source | onnxslim | ours | greatest difference | sizes |")
    print("|---|---:|---:|---:|---:|---:|")
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for path in models:
            name = os.path.basename(path)
            if os.path.isdir(path):
                to = os.path.join(folder, "source.onnx")
                run = subprocess.run([tool, "convert", path, to, "--force", "--no-cache"], capture_output=True, text=True)
                if run.returncode:
                    print(f"| {name} | no graph is made of it: {run.stderr.strip()[:80]} | | | | |")
                    continue
                path = to
            source = onnx.load(path, load_external_data=False)
            theirs = os.path.join(folder, "slim.onnx")
            ours = os.path.join(folder, "ours.onnx")
            try:
                import onnxslim
                onnx.save(onnxslim.slim(onnx.load(path)), theirs)
                slim = count(onnx.load(theirs).graph)
            except Exception as e:
                slim = None
                print(f"  onnxslim fails: {path}: {str(e)[:100]}", file=sys.stderr)
            run = subprocess.run([tool, "convert", path, ours, "--force", "--no-cache", "--optimization", flags],
                                 capture_output=True, text=True)
            if run.returncode:
                print(f"| {name} | {count(source.graph)} | {slim} | failed | {run.stderr.strip()[:300]} | |")
                failed = True
                continue
            own = count(onnx.load(ours).graph)
            worst, runs = difference(path, ours)
            failed |= worst > 1e-5 or (slim is not None and own > slim)
            print(f"| {name} | {count(source.graph)} | {slim} | {own} | {worst:.1e} | {runs} |", flush=True)
            if os.environ.get("KEEP"):
                os.makedirs(os.environ["KEEP"], exist_ok=True)
                os.replace(ours, os.path.join(os.environ["KEEP"], name))
                os.replace(theirs, os.path.join(os.environ["KEEP"], "slim_" + name))
    sys.exit(failed)


main()
