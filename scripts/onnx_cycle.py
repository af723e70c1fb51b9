#!/usr/bin/env python3
"""Does read∘write of an ONNX file lose anything? The `onnx` package is the judge.

    onnx_cycle.py collect DIR        write the model of every test case of the package, and models
                                     that use each rare field of the format, to DIR
    onnx_cycle.py compare DIR1 DIR2  compare the models of equal names; exit 1 on a difference
    onnx_cycle.py fixtures DIR       write the few models that the Rust tests read, with inputs

Between `collect` and `compare`: cargo run -p model-build-tests --bin onnx-cycle DIR1 DIR2

Two models are equal when they say the same: tensors by their values (not by which field or file
holds them), `ai.onnx` is the domain ``, the order of initializers and of value_info means nothing,
value_info of an input, an output or an initializer of that very type means nothing, and an empty
string is an absent one. Everything else must be the same, order included.

Made with onnx 1.23.2, numpy 2.4.
"""

import glob
import os
import shutil
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


# ---------------------------------------------------------------- comparing

def tensor(t, folder):
    if t.data_type == TensorProto.STRING:
        content = list(t.string_data)
    else:
        content = numpy_helper.to_array(t, folder).tobytes()
    # A doc string of spaces is padding that aligns the data.
    doc = "" if t.doc_string.strip(" ") == "" else t.doc_string
    return ("tensor", t.name, t.data_type, tuple(t.dims), content, doc, entries(t.metadata_props))


def entries(props):
    return [(p.key, p.value) for p in props]


def sparse(s, folder):
    return ("sparse", tensor(s.values, folder), tensor(s.indices, folder), tuple(s.dims))


def dim(d):
    which = d.WhichOneof("value")
    value = getattr(d, which) if which else None
    return (None if value == "" else value, d.denotation)


def kind(t):
    which = t.WhichOneof("value")
    if which is None:
        return (None, t.denotation)
    v = getattr(t, which)
    if which in ("tensor_type", "sparse_tensor_type"):
        shape = [dim(d) for d in v.shape.dim] if v.HasField("shape") else None
        return (which, v.elem_type, shape, t.denotation)
    if which == "map_type":
        return (which, v.key_type, kind(v.value_type), t.denotation)
    if which == "opaque_type":
        return (which, v.domain, v.name, t.denotation)
    return (which, kind(v.elem_type), t.denotation)


def info(v):
    return (v.name, kind(v.type) if v.HasField("type") else None, v.doc_string,
            entries(v.metadata_props))


IMPLIED = [("f", 1), ("i", 2), ("s", 3), ("t", 4), ("g", 5), ("sparse_tensor", 11), ("tp", 13)]
LISTS = [("floats", 6), ("ints", 7), ("strings", 8), ("tensors", 9), ("graphs", 10),
         ("sparse_tensors", 12), ("type_protos", 14)]


def attribute(a, folder):
    if a.ref_attr_name:
        return (a.name, a.doc_string, "ref", a.ref_attr_name, a.type)
    number = a.type
    if number == 0:
        number = next((n for f, n in IMPLIED if a.HasField(f)), 0) or next(
            n for f, n in LISTS if len(getattr(a, f)))
    field = next(f for f, n in IMPLIED + LISTS if n == number)
    value = getattr(a, field)
    one = {4: lambda v: tensor(v, folder), 5: lambda v: graph(v, folder), 11: lambda v: sparse(v, folder),
           13: kind, 9: lambda v: tensor(v, folder), 10: lambda v: graph(v, folder),
           12: lambda v: sparse(v, folder), 14: kind,
           1: lambda v: np.float32(v).tobytes(), 6: lambda v: np.float32(v).tobytes()}
    convert = one.get(number, lambda v: v)
    value = convert(value) if field in dict(IMPLIED) else [convert(v) for v in value]
    return (a.name, a.doc_string, number, value)


def raw(message):
    return message.SerializeToString(deterministic=True)


def node(n, folder):
    return (n.op_type, n.domain, n.overload, n.name, list(n.input), list(n.output), n.doc_string,
            entries(n.metadata_props), [raw(d) for d in n.device_configurations],
            [attribute(a, folder) for a in n.attribute])


def graph(g, folder):
    said = {v.name for v in list(g.input) + list(g.output)}
    constants = {t.name: (t.data_type, list(t.dims)) for t in g.initializer}

    def redundant(v):
        if v.name in said:
            return True
        if v.name in constants and not v.doc_string and not v.metadata_props:
            dtype, dims = constants[v.name]
            return kind(v.type) == kind(helper.make_tensor_type_proto(dtype, dims))
        return False

    return {
        "name": g.name, "doc": g.doc_string, "metadata": entries(g.metadata_props),
        "nodes": [node(n, folder) for n in g.node],
        "input": [info(v) for v in g.input], "output": [info(v) for v in g.output],
        "value_info": sorted(repr(info(v)) for v in g.value_info if not redundant(v)),
        "init": {t.name: tensor(t, folder) for t in g.initializer},
        "sparse": {s.values.name: sparse(s, folder) for s in g.sparse_initializer},
        "quant": [(a.tensor_name, entries(a.quant_parameter_tensor_names))
                  for a in g.quantization_annotation],
    }


def opsets(imports):
    return {"" if o.domain == "ai.onnx" else o.domain: o.version for o in imports}


def function(f, folder):
    return {
        "id": (f.domain, f.name, f.overload), "doc": f.doc_string, "in": list(f.input),
        "out": list(f.output), "attrs": list(f.attribute),
        "defaults": [attribute(a, folder) for a in f.attribute_proto],
        "nodes": [node(n, folder) for n in f.node], "opsets": opsets(f.opset_import),
        "value_info": sorted(repr(info(v)) for v in f.value_info),
        "metadata": entries(f.metadata_props),
    }


def normal(path):
    m = onnx.load(path, load_external_data=False)
    folder = os.path.dirname(path)
    return {
        "ir": m.ir_version, "opsets": opsets(m.opset_import), "model_version": m.model_version,
        "strings": (m.producer_name, m.producer_version, m.domain, m.doc_string),
        "metadata": entries(m.metadata_props), "graph": graph(m.graph, folder),
        "training": [raw(t) for t in m.training_info],
        "functions": [function(f, folder) for f in m.functions],
        "configuration": [raw(c) for c in m.configuration],
    }


def difference(a, b, path=""):
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(set(a) | set(b)):
            found = difference(a.get(key), b.get(key), f"{path}.{key}")
            if found:
                return found
        return None
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b)):
            found = difference(x, y, f"{path}[{i}]")
            if found:
                return found
        return None
    return None if a == b else f"{path}: {str(a)[:200]} != {str(b)[:200]}"


def compare(first, second):
    names = sorted(os.path.relpath(p, first) for p in glob.glob(f"{first}/**/*.onnx", recursive=True))
    bad = 0
    for name in names:
        other = os.path.join(second, name)
        if not os.path.exists(other):
            found = "not written"
        else:
            found = difference(normal(os.path.join(first, name)), normal(other))
        if found:
            bad += 1
            print(f"{name}: {found}")
    print(f"{len(names) - bad} of {len(names)} models are equal")
    return bad == 0 and len(names) > 0


# ---------------------------------------------------------------- making

F, I64 = TensorProto.FLOAT, TensorProto.INT64


def model(nodes, inputs, outputs, ir=10, opset=21, functions=(), **rest):
    g = helper.make_graph(nodes, "g", inputs, outputs, **rest)
    m = helper.make_model(g, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir,
                          functions=functions, producer_name="onnx_cycle")
    return m


def vi(name, dtype=F, shape=(2, 3)):
    return helper.make_tensor_value_info(name, dtype, shape)


def rare():
    """A model per rare field: (name, model)."""
    rng = np.random.default_rng(0)
    relu = helper.make_node("Relu", ["x"], ["y"])
    x, y = vi("x"), vi("y")

    m = model([relu], [x], [y])
    m.graph.input[0].type.denotation = "IMAGE"
    m.graph.input[0].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    m.graph.input[0].doc_string = "an input"
    m.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "width"
    e = m.graph.input[0].metadata_props.add()
    e.key, e.value = "k", "v"
    yield "denotations", m

    weights = numpy_helper.from_array(rng.standard_normal(4).astype("f"), "w")
    for name, indices in [("flat", [1, 2, 9, 11]), ("coordinates", [[0, 1], [0, 2], [2, 1], [2, 3]])]:
        s = helper.make_sparse_tensor(weights, numpy_helper.from_array(np.array(indices, "q"), "i"), [3, 4])
        yield f"sparse_initializer_{name}", model(
            [helper.make_node("MatMul", ["x", "w"], ["y"])], [x], [vi("y", F, (2, 4))],
            sparse_initializer=[s])
        n = helper.make_node("Constant", [], ["w"], sparse_value=s)
        yield f"sparse_attribute_{name}", model(
            [n, helper.make_node("MatMul", ["x", "w"], ["y"])], [x], [vi("y", F, (2, 4))])

    m = model([relu], [x], [y])
    a = m.graph.quantization_annotation.add()
    a.tensor_name = "y"
    p = a.quant_parameter_tensor_names.add()
    p.key, p.value = "SCALE_TENSOR", "x"
    yield "quantization_annotation", m

    m = model([relu], [x], [y], ir=11)
    c = m.configuration.add()
    c.name, c.num_devices = "two", 2
    c.device.extend(["a", "b"])
    d = m.graph.node[0].device_configurations.add()
    d.configuration_id, d.pipeline_stage = "two", 1
    spec = d.sharding_spec.add()
    spec.tensor_name = "x"
    spec.device.extend([0, 1])
    q = spec.index_to_device_group_map.add()
    q.key = 0
    q.value.extend([0, 1])
    axis = spec.sharded_dim.add()
    axis.axis = 0
    axis.simple_sharding.add(dim_param="n", num_shards=2)
    yield "device_configurations", m

    m = model([relu], [x], [y])
    t = m.training_info.add()
    t.algorithm.CopyFrom(helper.make_graph([relu], "algorithm", [x], [y], initializer=[weights]))
    b = t.update_binding.add()
    b.key, b.value = "x", "y"
    yield "training_info", m

    big = numpy_helper.from_array(rng.standard_normal((3, 400)).astype("f"), "w")
    big.doc_string = "documented "
    e = big.metadata_props.add()
    e.key, e.value = "origin", "here"
    m = model([helper.make_node("MatMul", ["x", "w"], ["y"])], [x], [vi("y", F, (2, 400))],
              initializer=[big])
    m.doc_string, m.domain, m.model_version = "a model", "org.example", 7
    m.producer_version = "1"
    for key in ("b", "a"):
        e = m.metadata_props.add()
        e.key, e.value = key, key * 2
    e = m.graph.metadata_props.add()
    e.key, e.value = "g", "h"
    e = m.graph.node[0].metadata_props.add()
    e.key, e.value = "n", "o"
    m.graph.node[0].doc_string, m.graph.node[0].name = "a node", "the node"
    m.graph.doc_string = "a graph"
    m.graph.value_info.add().CopyFrom(vi("w", F, ("rows", 400)))
    yield "documentation", m

    strings = helper.make_tensor("w", TensorProto.STRING, [2, 2], [b"", b"a\xff", "ä".encode(), b"long" * 400])
    yield "strings", model(
        [helper.make_node("Identity", ["w"], ["y"]),
         helper.make_node("Constant", [], ["z"], value_strings=["p", "q"])], [],
        [vi("y", TensorProto.STRING, (2, 2)), vi("z", TensorProto.STRING, (2,))], initializer=[strings])

    for dtype in [TensorProto.INT4, TensorProto.UINT4, TensorProto.INT2, TensorProto.UINT2,
                  TensorProto.FLOAT4E2M1, TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E4M3FNUZ,
                  TensorProto.FLOAT8E5M2, TensorProto.FLOAT8E5M2FNUZ, TensorProto.FLOAT8E8M0,
                  TensorProto.FLOAT6E2M3, TensorProto.FLOAT6E3M2,
                  TensorProto.BFLOAT16, TensorProto.FLOAT16, TensorProto.BOOL, TensorProto.COMPLEX64,
                  TensorProto.COMPLEX128, TensorProto.DOUBLE, TensorProto.UINT8, TensorProto.INT8,
                  TensorProto.UINT16, TensorProto.INT16, TensorProto.UINT32, TensorProto.UINT64,
                  TensorProto.INT32, I64]:
        values = [1, 0, 1, 1, 0]
        name = TensorProto.DataType.Name(dtype)
        typed = helper.make_tensor("w", dtype, [5], values)
        raw_form = numpy_helper.from_array(numpy_helper.to_array(typed), "v")
        m = model([helper.make_node("Identity", ["w"], ["y"]), helper.make_node("Identity", ["v"], ["z"])],
                  [], [vi("y", dtype, (5,)), vi("z", dtype, (5,))], ir=13, opset=25, initializer=[typed, raw_form])
        yield f"dtype_{name}", m

    m = model([relu], [x], [y])
    m.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    yield "unknown_as_minus_one", m

    m = model([helper.make_node("Add", ["x", "w"], ["y"])], [x, vi("w", F, (3,))], [y], ir=3, opset=7,
              initializer=[helper.make_tensor("w", F, [3], [1.0, 2.0, 3.0])])
    yield "ir3_initializer_as_input", m

    m = model([helper.make_node("LeakyRelu", ["x"], ["y"], alpha=0.0)], [x], [y])
    m.graph.node[0].attribute[0].ClearField("type")
    m.graph.node[0].attribute[0].doc_string = "zero"
    yield "attribute_without_type", m

    opaque = onnx.TypeProto()
    opaque.opaque_type.domain, opaque.opaque_type.name = "org.example", "Thing"
    m = model([helper.make_node("Make", ["x"], ["t"], domain="org.example"),
               helper.make_node("Take", ["t"], ["y"], domain="org.example", overload="o")], [x], [y])
    m.opset_import.add(domain="org.example", version=1)
    m.graph.value_info.add(name="t").type.CopyFrom(opaque)
    yield "opaque_type", m

    sequence = helper.make_sequence_type_proto(helper.make_tensor_type_proto(F, ["n"]))
    kinds = [helper.make_optional_type_proto(sequence), helper.make_map_type_proto(I64, sequence),
             helper.make_sparse_tensor_type_proto(F, [1, None]), onnx.TypeProto(denotation="x"),
             onnx.TypeProto()]
    denoted = helper.make_optional_type_proto(sequence)
    denoted.optional_type.elem_type.denotation = "inner"
    m = model([helper.make_node("Make", ["x"], ["y"], domain="org.example", one=kinds[0],
                                several=kinds[:3], odd=denoted)], [x], [y])
    m.opset_import.add(domain="org.example", version=1)
    for i, k in enumerate(kinds + [denoted]):
        m.graph.value_info.add(name=f"v{i}").type.CopyFrom(k)
    yield "every_type", m

    body = helper.make_function(
        "org.example", "Scaled", ["a"], ["c"],
        [helper.make_node("Constant", [], ["s"]), helper.make_node("Mul", ["a", "s"], ["c"], name="mul")],
        [helper.make_opsetid("", 21)], ["unused"], [helper.make_attribute("scale", 2.5)])
    body.node[0].attribute.add(name="value_float", ref_attr_name="scale", type=onnx.AttributeProto.FLOAT)
    body.doc_string, body.overload = "scales", "float"
    body.value_info.add().CopyFrom(vi("c", F, None))
    e = body.metadata_props.add()
    e.key, e.value = "f", "g"
    call = helper.make_node("Scaled", ["x"], ["y"], domain="org.example", overload="float", scale=3.0, unused=1)
    m = model([call], [x], [y], functions=[body])
    m.opset_import.add(domain="org.example", version=1)
    yield "function", m

    def branch(name, op):
        inner = helper.make_graph(
            [helper.make_node(op, ["x", "w"], [f"{name}_out"])], name, [], [vi(f"{name}_out", F, None)],
            initializer=[helper.make_tensor("w", F, [3], [1.0, 2.0, 3.0])] if op == "Add" else
            [numpy_helper.from_array(rng.standard_normal((2, 3)).astype("f"), "w")])
        return inner

    outer = helper.make_graph(
        [helper.make_node("If", ["c"], ["o"], then_branch=branch("a", "Add"), else_branch=branch("b", "Mul"))],
        "outer", [], [vi("o", F, None)])
    alone = helper.make_graph([helper.make_node("Neg", ["x"], ["n"])], "alone", [], [vi("n", F, None)])
    yield "nested_subgraphs", model(
        [helper.make_node("If", ["c"], ["y"], then_branch=outer, else_branch=alone)],
        [x, vi("c", TensorProto.BOOL, ())], [y])

    yield "unused_optional", model(
        [helper.make_node("Clip", ["x", "", "m"], ["y"]),
         helper.make_node("Dropout", ["x"], ["", "mask"])], [x], [y, vi("mask", TensorProto.BOOL)],
        initializer=[helper.make_tensor("m", F, [], [0.5])])

    yield "passthrough", model([relu], [x], [y, x])


def external(folder):
    """A model with external data, in `folder`."""
    rng = np.random.default_rng(1)
    w = numpy_helper.from_array(rng.standard_normal((3, 300)).astype("f"), "w")
    b = numpy_helper.from_array(rng.standard_normal(300).astype("f"), "b")
    m = model([helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Add", ["h", "b"], ["y"])],
              [vi("x")], [vi("y", F, (2, 300))], initializer=[w, b])
    onnx.save(m, f"{folder}/external.onnx", save_as_external_data=True, location="external.bin",
              size_threshold=0)


def collect(folder):
    from onnx.backend.test.case.model import collect_testcases
    from onnx.backend.test.loader import load_node_model_tests
    os.makedirs(folder, exist_ok=True)
    cases = [(t.name, t.model) for t in load_node_model_tests() + collect_testcases() if t.model is not None]
    for name, m in cases + list(rare()):
        with open(f"{folder}/{name}.onnx", "wb") as f:
            f.write(m.SerializeToString())
    external(folder)
    data = os.path.join(os.path.dirname(onnx.__file__), "backend/test/data")
    for path in glob.glob(f"{data}/**/*.onnx", recursive=True):
        shutil.copy(path, f"{folder}/data-{os.path.relpath(path, data).replace('/', '-')}")


# Control flow, sequences, optionals, functions written out, domains besides the standard one.
CHOSEN = """test_if test_if_seq test_if_opt test_loop11 test_loop13_seq test_loop16_seq_none
test_scan_sum test_scan9_sum test_range_float_type_positive_delta_expanded test_sequence_insert_at_back
test_sequence_map_add_1_sequence_1_tensor_expanded test_sequence_map_identity_1_sequence
test_optional_get_element_optional_sequence test_optional_has_element_empty_optional_input
test_layer_normalization_2d_axis1_expanded test_softmax_example_expanded test_gelu_default_1_expanded
test_ai_onnx_ml_label_encoder_string_int test_string_split_basic test_gradient_of_add test_adam
test_dequantizelinear_int4 test_quantizelinear_float4e2m1 test_constant test_clip_default_inbounds
test_nonmaxsuppression_two_classes test_lstm_defaults""".split()


def fixtures(folder):
    """Models for the Rust tests; beside those that ONNX Runtime can run on plain arrays, inputs."""
    from onnx.backend.test.case.model import collect_testcases
    from onnx.backend.test.loader import load_node_model_tests
    from safetensors.numpy import save_file
    os.makedirs(folder, exist_ok=True)
    rng = np.random.default_rng(2)
    plain = {F: "f", I64: "q"}
    cases = {t.name: t for t in load_node_model_tests() + collect_testcases() if t.model is not None}
    chosen = [(name, cases[name].model, cases[name].data_sets[0][0]) for name in CHOSEN]
    runnable_rare = {"sparse_initializer_coordinates", "sparse_attribute_flat", "documentation",
                     "ir3_initializer_as_input", "function", "denotations", "dtype_FLOAT16",
                     "sparse_initializer_flat", "unknown_as_minus_one"}
    for name, m in rare():
        arrays = [rng.standard_normal((2, 3)).astype("f")] if name in runnable_rare else None
        chosen.append((name, m, arrays))
    for name, m, arrays in chosen:
        with open(f"{folder}/{name}.onnx", "wb") as f:
            f.write(m.SerializeToString(deterministic=True))
        values = list(m.graph.input) + list(m.graph.output)
        flat = all(v.type.WhichOneof("value") == "tensor_type" and v.type.tensor_type.elem_type in plain
                   for v in values)
        if arrays is None or not flat or any(d.domain.startswith("ai.onnx.") for d in m.opset_import):
            continue
        names = [v.name for v in m.graph.input if v.name not in {t.name for t in m.graph.initializer}]
        save_file({n: np.ascontiguousarray(a) for n, a in zip(names, arrays)}, f"{folder}/{name}.safetensors")
    external(folder)
    save_file({"x": rng.standard_normal((2, 3)).astype("f")}, f"{folder}/external.safetensors")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["collect", folder]:
            collect(folder)
        case ["compare", first, second]:
            sys.exit(0 if compare(first, second) else 1)
        case ["fixtures", folder]:
            fixtures(folder)
        case _:
            sys.exit(__doc__)
