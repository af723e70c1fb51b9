#!/usr/bin/env python3
"""Writes model-build/src/pass/opset/table/{a_l,m_z}.rs: what each version of each standard operator
takes, from the schemas of the package `onnx`.

    opset-table.py            rewrite the files
    opset-table.py --check    exit 1 if they are not what it would write

Made with onnx 1.23.2.
"""

import collections
import pathlib
import sys

import onnx
from onnx import defs, helper

FOLDER = pathlib.Path(__file__).parent.parent / "model-build/src/pass/opset/table"
NAMES = dict(onnx.TensorProto.DataType.items())
OLDEST = 7

HEAD = """//! What each version of the standard operators {range} takes. Written by `scripts/opset-table.py`
//! from the schemas of onnx {version}.

use super::{{Op, v}};

#[rustfmt::skip]
pub(super) static OPS: &[Op] = &[
"""


def mask(schema, formal):
    """Bit n: tensors of element type number n; bit 0: values that are no dense tensors."""
    words = formal.types
    out = 0
    for word in words:
        inner = word[len("tensor("):-1] if word.startswith("tensor(") else None
        name = {"float": "FLOAT", "double": "DOUBLE"}.get(inner, (inner or "").upper())
        out |= 1 << NAMES[name] if inner else 1
    return out


def default(attribute):
    if attribute.required:
        return attribute.name + "!"
    if not attribute.default_value.name:
        return attribute.name
    value = helper.get_attribute_value(attribute.default_value)
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, list):
        value = "[" + ",".join(map(str, value)) + "]"
    text = f"{attribute.name}={value}"
    assert " " not in text
    return text


def row(s):
    def types(formals):
        found = [mask(s, f) for f in formals]
        while len(found) > 1 and found[-1] == found[-2]:
            found.pop()
        return "&[" + ", ".join(f"{m:#x}" for m in found) + "]"

    most = "MANY" if any(i.option.name == "Variadic" for i in s.inputs) else s.max_input
    outs = "MANY" if any(o.option.name == "Variadic" for o in s.outputs) else s.max_output
    attrs = " ".join(default(s.attributes[a]) for a in sorted(s.attributes))
    gone = ".deprecated()" if s.deprecated else ""
    least = 0 if s.deprecated else s.min_input
    return f'v({s.since_version}, {least}, {most}, {outs}, "{attrs}", {types(s.inputs)}, {types(s.outputs)}){gone}'


def texts():
    by = collections.defaultdict(dict)
    for s in defs.get_all_schemas_with_history():
        if s.domain == "":
            by[s.name][s.since_version] = s
    half = {"a_l": [], "m_z": []}
    for name in sorted(by):
        versions = sorted(by[name])
        old = [x for x in versions if x <= OLDEST]
        kept = old[-1:] + [x for x in versions if x > OLDEST]
        rows = ",\n        ".join(row(by[name][x]) for x in kept)
        half["a_l" if name[0] <= "L" else "m_z"].append(f'    Op {{ name: "{name}", versions: &[\n        {rows},\n    ] }},\n')
    for key, ops in half.items():
        span = {"a_l": "A to L", "m_z": "M to Z"}[key]
        text = HEAD.format(range=span, version=onnx.__version__).replace("use super::{Op, v}", "use super::{MANY, Op, v}")
        yield FOLDER / f"{key}.rs", text + "".join(ops) + "];\n"


if __name__ == "__main__":
    bad = 0
    for path, text in texts():
        if "--check" in sys.argv:
            bad |= path.read_text() != text
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    sys.exit(bad)
