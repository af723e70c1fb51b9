#!/usr/bin/env python3
"""Writes model-build/src/pass/half/table.rs: which inputs and outputs of the standard ONNX operators
may be f16 or bf16, since which operator set.

    python3 -m pip install onnx==1.23.2
    python3 scripts/half-table.py
"""

import pathlib

import onnx
from onnx.defs import OpSchema, get_all_schemas_with_history

OUT = pathlib.Path(__file__).resolve().parents[1] / "model-build/src/pass/half/table.rs"


def classes(schema, ports):
    """A letter per formal parameter; a variadic last one is followed by `*`."""
    allowed = {c.type_param_str: set(c.allowed_type_strs) for c in schema.type_constraints}
    text = ""
    for port in ports:
        types = allowed.get(port.type_str, {port.type_str})
        if "tensor(float)" not in types:
            text += "."
        else:
            half, brain = "tensor(float16)" in types, "tensor(bfloat16)" in types
            text += {(0, 0): "f", (1, 0): "h", (0, 1): "b", (1, 1): "a"}[half, brain]
        if port.option == OpSchema.FormalParameterOption.Variadic:
            text += "*"
    return text


def main():
    rows = []
    schemas = [s for s in get_all_schemas_with_history() if s.domain == ""]
    last = None
    for s in sorted(schemas, key=lambda s: (s.name, s.since_version)):
        row = (s.name, classes(s, s.inputs), classes(s, s.outputs))
        if set(row[1] + row[2]) <= {".", "*", "f"} and not (last and last[0] == s.name):
            # Nothing in half: as good as not listed, unless an earlier version differed.
            continue
        if row == last:
            continue
        last = row
        rows.append((s.name, s.since_version, row[1], row[2]))
    lines = "".join(f'    ("{n}", {v}, "{i}", "{o}"),\n' for n, v, i, o in rows)
    OUT.write_text(
        f"""//! Written by scripts/half-table.py from the schemas of onnx {onnx.__version__}: do not edit.

/// Operator, the operator set since which the row holds, inputs, outputs. A letter per parameter:
/// `.` never f32, `f` of the floating types only f32 (and f64), `h` f16 too, `b` bf16 too, `a` all
/// of them; `*` repeats the letter before it. Operators that take no half type are left out.
pub(super) static TABLE: &[(&str, i64, &str, &str)] = &[
{lines}];
"""
    )
    print(len(rows))


if __name__ == "__main__":
    main()
