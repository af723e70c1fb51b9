"""Compares the fusions of layers with `onnxruntime.transformers.optimizer`.

    python scripts/compare-fusions.py MODEL_BUILD [FUSION] TYPE:HEADS:HIDDEN:MODEL...

FUSION is `onnxruntime` (the default) or `standard`. TYPE is a model type of ONNX Runtime's tool (bert,
gpt2, vit, clip, t5, …). A model is an ONNX file, or the folder of a checkpoint, which is made an ONNX file
first. Needs the PyPI packages onnx, onnxruntime, sympy, coloredlogs, numpy. Prints a Markdown table: nodes
(`Constant` nodes do not count: they are initializers by another name), fused operators, and the greatest
difference between source and result in ONNX Runtime without its own optimizations.
Exits with 1 when a difference is above 1e-5 or the result has more nodes and lacks a fused operator of the
tool's.
"""
import collections, logging, os, subprocess, sys, tempfile
import numpy as np, onnx, onnxruntime as ort

logging.disable(logging.CRITICAL)
ort.set_default_logger_severity(4)
from onnxruntime.transformers.optimizer import optimize_model

KINDS = {"LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization"}
STANDARD = KINDS | {"Attention", "RotaryEmbedding", "Gelu"}
DTYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32}


def nodes(model):
    found = collections.Counter()
    for n in model.graph.node:
        if n.op_type != "Constant":
            found["ms." + n.op_type if n.domain == "com.microsoft" else n.op_type] += 1
    return found


def fused(found):
    names = {k: v for k, v in found.items() if k.startswith("ms.") or k in STANDARD}
    return ", ".join(f"{v} {k.removeprefix('ms.')}" for k, v in sorted(names.items())) or "none"


def session(path):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def feeds(s, rng):
    for batch, sequence in ((2, 7), (1, 3), (3, 5)):
        feed = {}
        for port in s.get_inputs():
            names = {"batch": batch, "batch_size": batch, "s0": batch, "sequence": sequence}
            shape = [d if isinstance(d, int) else names.get(d, batch if i == 0 else sequence)
                     for i, d in enumerate(port.shape)]
            dtype = DTYPES[port.type]
            if "mask" in port.name:
                value = np.ones(shape, dtype)
                if shape[0] > 1:
                    value[1, max(1, sequence - 2):] = 0
            elif "type" in port.name:
                value = rng.integers(0, 2, shape)
            elif dtype == np.float32:
                value = rng.standard_normal(shape)
            else:
                value = rng.integers(3, 20, shape)
            feed[port.name] = value.astype(dtype)
        yield feed


def difference(path, other):
    a, b = session(path), session(other)
    worst, runs = 0.0, 0
    for feed in feeds(a, np.random.default_rng(7)):
        try:
            want = a.run(None, feed)
        except Exception as e:  # the model itself does not take this size
            print(f"  {os.path.basename(path)} does not run: {str(e)[:160]}", file=sys.stderr)
            continue
        runs += 1
        for x, y in zip(want, b.run(None, feed), strict=True):
            assert x.shape == y.shape and (np.isnan(x) == np.isnan(y)).all()
            worst = max(worst, float(np.nanmax(np.abs(x - y))))
    return worst if runs else float("inf")


def main():
    tool, rest = sys.argv[1], sys.argv[2:]
    fusion = rest.pop(0) if rest[0] in ("onnxruntime", "standard") else "onnxruntime"
    print("| model | nodes | ONNX Runtime's tool | its fused operators | ours | our fused operators | greatest difference |")
    print("|---|---:|---:|---|---:|---|---:|")
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for spec in rest:
            kind, heads, hidden, path = spec.split(":", 3)
            name = os.path.basename(path.rstrip("/"))
            if os.path.isdir(path):
                to = os.path.join(folder, "source.onnx")
                subprocess.run([tool, "convert", path, to, "--force", "--no-cache"], check=True, capture_output=True)
                path = to
            ours = os.path.join(folder, "ours.onnx")
            run = subprocess.run([tool, "convert", path, ours, "--force", "--no-cache", "--optimization",
                                  f"layer-fusion={fusion}"], capture_output=True, text=True)
            try:
                model = optimize_model(path, model_type=kind, num_heads=int(heads), hidden_size=int(hidden), opt_level=0)
                theirs = nodes(model.model)
            except Exception as e:
                theirs = None
                print(f"  ONNX Runtime's tool fails: {name}: {str(e)[:100]}", file=sys.stderr)
            source = nodes(onnx.load(path)).total()
            cells = [name, source, theirs.total() if theirs else "fails", fused(theirs) if theirs else ""]
            if run.returncode:
                print("|", " | ".join(map(str, cells)), "| failed |", run.stderr.strip()[:300], "| |", flush=True)
                failed = True
                continue
            own = nodes(onnx.load(ours))
            worst = difference(path, ours)
            lacks = theirs and own.total() > theirs.total() and any(own[k] < v for k, v in theirs.items() if k.startswith("ms."))
            failed |= worst > 1e-5 or bool(lacks)
            cells += [own.total(), fused(own), f"{worst:.1e}"]
            print("|", " | ".join(map(str, cells)), "|", flush=True)
            if os.environ.get("KEEP"):
                os.makedirs(os.environ["KEEP"], exist_ok=True)
                os.replace(ours, os.path.join(os.environ["KEEP"], name.removesuffix(".onnx") + ".onnx"))
    sys.exit(failed)


main()
