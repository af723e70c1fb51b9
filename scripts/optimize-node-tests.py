"""ONNX's own node tests, optimized: equal outputs in ONNX Runtime before and after.

    python scripts/optimize-node-tests.py MODEL_BUILD [OPTIMIZATION]

The tests are those of the folder that ONNX_NODE_TESTS names (one folder per test, with `model.onnx` and
`test_data_set_*`), and those that the PyPI package onnx ships (`onnx/backend/test/data`). A model that ONNX Runtime does not run
as it is, is counted and skipped. With CONSTANT=1 the inputs become initializers, so that every operator that
the optimizer can compute is computed by it. Prints each failure, then the counts; exits with 1 on a failure.
"""
import glob, os, subprocess, sys, tempfile
from concurrent.futures import ThreadPoolExecutor
import numpy as np, onnx, onnxruntime as ort
from onnx import numpy_helper

ort.set_default_logger_severity(4)
TOOL, FLAGS = sys.argv[1], (sys.argv + ["true"])[2]
CONSTANT = os.environ.get("CONSTANT")
DATA = os.path.join(os.path.dirname(onnx.__file__), "backend/test/data")


def session(path):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def value(path, ty):
    with open(path, "rb") as f:
        data = f.read()
    kind = ty.WhichOneof("value")
    if kind == "sequence_type":
        s = onnx.SequenceProto.FromString(data)
        return numpy_helper.to_list(s)
    if kind == "optional_type":
        o = onnx.OptionalProto.FromString(data)
        return numpy_helper.to_optional(o)
    return numpy_helper.to_array(onnx.TensorProto.FromString(data))


def constant(path, feeds):
    """The model on its first inputs, as constants; None where one is no tensor."""
    model = onnx.load(path)
    if len(feeds) == 0 or not all(isinstance(v, np.ndarray) for v in feeds[0].values()):
        return None
    for port in model.graph.input:
        if port.name not in feeds[0]:
            return None
        tensor = onnx.TensorProto()
        with open(os.path.dirname(path) + "/test_data_set_0/input_%d.pb" % [i.name for i in model.graph.input].index(port.name), "rb") as f:
            tensor.ParseFromString(f.read())
        tensor.name = port.name
        model.graph.initializer.append(tensor)
    del model.graph.input[:]
    return model


def same(x, y):
    if isinstance(x, (list, tuple)):
        return len(x) == len(y) and all(same(a, b) for a, b in zip(x, y))
    if x is None or y is None:
        return x is y
    x, y = np.asarray(x), np.asarray(y)
    if x.shape != y.shape or x.dtype != y.dtype:
        return False
    if x.dtype.kind not in "fiub":
        return bool((x == y).all())
    # ONNX Runtime rounds 16-bit values at the borders of the nodes that it computes in 32 bits.
    tolerance = 1e-5 if x.dtype.itemsize > 2 or x.dtype.kind != "f" else 2e-3
    return np.allclose(x.astype(np.float64), y.astype(np.float64), rtol=tolerance, atol=tolerance, equal_nan=True)


def check(path):
    folder = os.path.dirname(path)
    try:
        graph = onnx.load(path).graph
        a = session(path)
        sets = sorted(glob.glob(folder + "/test_data_set_*"))
        feeds = []
        for s in sets:
            inputs = {}
            for i, port in enumerate(graph.input):
                file = f"{s}/input_{i}.pb"
                if os.path.exists(file):
                    inputs[port.name] = value(file, port.type)
            feeds.append(inputs)
        wants = [a.run(None, f) for f in feeds]
    except Exception as e:
        return "skipped", str(e)[:80], 0
    with tempfile.TemporaryDirectory() as out:
        to = out + "/m.onnx"
        if CONSTANT:
            made = constant(path, feeds)
            if made is None:
                return "skipped", "", 0
            path = out + "/constant.onnx"
            onnx.save(made, path)
            a, feeds = session(path), [{}]
            try:
                wants = [a.run(None, {})]
            except Exception as e:
                return "skipped", str(e)[:80], 0
        run = subprocess.run([TOOL, "convert", path, to, "--no-cache", "--optimization", FLAGS],
                             capture_output=True, text=True)
        if run.returncode:
            return "failed", run.stderr.strip()[:400], 0
        try:
            after = [n for n in onnx.load(to).graph.node if n.op_type != "Constant"]
            fewer = len(graph.node) - len(after)
            b = session(to)
            assert [i.name for i in a.get_inputs()] == [i.name for i in b.get_inputs()], "inputs"
            assert [o.name for o in a.get_outputs()] == [o.name for o in b.get_outputs()], "outputs"
            for f, want in zip(feeds, wants):
                if any(n.op_type in ("Bernoulli", "RandomNormal", "RandomUniform", "Multinomial") or "training" in path
                       for n in graph.node):
                    continue
                if not same(want, b.run(None, f)):
                    return "failed", "outputs differ", fewer
        except Exception as e:
            return "failed", str(e)[:300], 0
    return "equal", "", fewer


def main():
    folder = os.environ.get("ONNX_NODE_TESTS")
    models = sorted(glob.glob(DATA + "/*/*/model.onnx"))
    models += sorted(glob.glob(folder + "/*/model.onnx")) if folder else []
    models = [m for m in models if os.environ.get("ONLY", "") in m]
    counts, fewer = {}, 0
    with ThreadPoolExecutor(2) as pool:
        for path, (what, why, less) in zip(models, pool.map(check, models)):
            counts[what] = counts.get(what, 0) + 1
            fewer += less > 0
            if what == "failed":
                print(os.path.basename(os.path.dirname(path)), why, flush=True)
    print(counts, f"{fewer} with fewer nodes")
    sys.exit("failed" in counts)


main()
