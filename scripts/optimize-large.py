"""Peak memory of optimizing a synthetic model of 4 GB.

    python scripts/optimize-large.py MODEL_BUILD [GB] [FLAG...]

Writes a model of GB gigabytes (default 4) to a temporary folder: layers of MatMul, Add and Mul with
weights of 64 MiB as external data. The data is a sparse file whose pages differ. Then optimizes it, and prints
the seconds and the greatest resident memory of the process.
"""
import os, resource, subprocess, sys, tempfile, time
import numpy as np, onnx
from onnx import TensorProto, helper

tool, gigabytes, flags = sys.argv[1], float((sys.argv + ["", "4"])[2] or 4) if len(sys.argv) > 2 else 4.0, sys.argv[3:]
N = 4096
SIZE = N * N * 4
layers = max(1, round(gigabytes * (1 << 30) / SIZE))
with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
    rng = np.random.default_rng(0)
    nodes, constants = [], []
    value = "x"
    with open(f"{folder}/weights.data", "wb") as data:
        data.truncate(layers * SIZE)
        for i in range(layers):
            for at in range(0, SIZE, 1 << 20):
                data.seek(i * SIZE + at)
                data.write(rng.standard_normal(1024).astype(np.float32).tobytes())
            weight = TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=[N, N])
            weight.data_location = TensorProto.EXTERNAL
            for key, v in [("location", "weights.data"), ("offset", i * SIZE), ("length", SIZE)]:
                weight.external_data.add(key=key, value=str(v))
            constants.append(weight)
            for name in "bs":
                part = rng.standard_normal(N).astype(np.float32) * 0.1 + (name == "s")
                constants.append(onnx.numpy_helper.from_array(part, f"{name}{i}"))
            nodes += [
                helper.make_node("MatMul", [value, f"w{i}"], [f"m{i}"]),
                helper.make_node("Add", [f"m{i}", f"b{i}"], [f"a{i}"]),
                helper.make_node("Mul", [f"a{i}", f"s{i}"], [f"y{i}"]),
            ]
            value = f"y{i}"
    port = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", N])
    graph = helper.make_graph(nodes, "large", [port("x")], [port(value)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with open(f"{folder}/model.onnx", "wb") as f:
        f.write(model.SerializeToString())
    start = time.time()
    command = [tool, "convert", f"{folder}/model.onnx", f"{folder}/out/model.onnx", "--no-cache", "--optimization", "true"]
    subprocess.run(command + flags, check=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    out = sum(e.stat().st_size for e in os.scandir(f"{folder}/out"))
    left = len(onnx.load(f"{folder}/out/model.onnx", load_external_data=False).graph.node)
    print(f"{layers * SIZE / 1e9:.2f} GB, {len(nodes)} nodes -> {out / 1e9:.2f} GB, {left} nodes: "
          f"{time.time() - start:.1f} s, peak {peak:.0f} MiB")
