#!/usr/bin/env python3
"""Writes ONNX's own node tests to a folder: for each case `model.onnx`, its tolerances as
`tolerance.txt` (relative, absolute), and `test_data_set_0/{input,output}_N.pb`.

    onnx-node-tests.py DIR

The package `onnx` makes the cases in Python; the layout is that of its `generate-data` command.
Values that numpy draws at random are drawn from one seed.

Made with onnx 1.23.2, numpy 2.4.
"""

import pathlib
import sys

import numpy as np
from onnx import TensorProto, numpy_helper


def message(value, info):
    kind = info.type.WhichOneof("value")
    if isinstance(value, TensorProto):
        return value
    if kind == "sequence_type":
        return numpy_helper.from_list(value, info.name)
    if kind == "optional_type":
        return numpy_helper.from_optional(value, info.name)
    if kind == "map_type":
        return numpy_helper.from_dict(value, info.name)
    return numpy_helper.from_array(np.asarray(value), info.name)


def main(out):
    np.random.seed(0)
    from onnx.backend.test.loader import load_node_model_tests
    count = 0
    for case in load_node_model_tests():
        folder = pathlib.Path(out) / case.name
        data = folder / "test_data_set_0"
        data.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(case.model.SerializeToString(deterministic=True))
        (folder / "tolerance.txt").write_text(f"{case.rtol} {case.atol}\n")
        inputs, outputs = case.data_sets[0]
        for name, values, infos in (("input", inputs, case.model.graph.input),
                                    ("output", outputs, case.model.graph.output)):
            for i, (value, info) in enumerate(zip(values, infos)):
                (data / f"{name}_{i}.pb").write_bytes(message(value, info).SerializeToString(deterministic=True))
        count += 1
    print(f"{count} cases", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
