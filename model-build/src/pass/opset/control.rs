//! `Scan`, whose first definition had a batch axis.
//!
//! ```text
//! before (opset 9): state [3], x [n, 3] ─▶ Scan ─▶ …
//! after  (opset 8): state [1, 3], x [1, n, 3] ─▶ Scan ─▶ Squeeze ─▶ …
//! ```

use super::Step;
use super::site::Site;
use crate::error::Result;
use crate::hub::AttrValue;

/// A batch of one is no batch.
fn scan_up(site: &mut Site<'_, '_>) -> Result<()> {
    if site.node.input(0).is_some() {
        return Err(site.lacks("`Scan` takes no lengths of sequences"));
    }
    let one = (1..site.node.inputs.len())
        .any(|i| site.try_shape(i).and_then(|s| s.first()?.fixed()) == Some(1));
    if !one {
        return Err(site.lacks("`Scan` has no batch axis"));
    }
    site.node.inputs.remove(0);
    if let Some(directions) = site.int_list("directions")? {
        site.unset("directions");
        site.set("scan_input_directions", AttrValue::Ints(directions));
    }
    wrap(site, 0, "Squeeze", "Unsqueeze")
}

fn scan_down(site: &mut Site<'_, '_>) -> Result<()> {
    for name in ["scan_input_axes", "scan_output_axes", "scan_output_directions"] {
        if site.int_list(name)?.is_some_and(|v| v.iter().any(|d| *d != 0)) {
            return Err(site.lacks(format!("`Scan` has no attribute `{name}`")));
        }
        site.unset(name);
    }
    if let Some(directions) = site.int_list("scan_input_directions")? {
        site.unset("scan_input_directions");
        site.set("directions", AttrValue::Ints(directions));
    }
    site.node.inputs.insert(0, None);
    wrap(site, 1, "Unsqueeze", "Squeeze")
}

/// Puts an operator before the inputs from `first` on and another after the outputs.
fn wrap(site: &mut Site<'_, '_>, first: usize, before: &str, after: &str) -> Result<()> {
    for i in first..site.node.inputs.len() {
        let x = site.input(i)?;
        let x = site.with_axes(before, x, &[0])?;
        site.set_input(i, Some(x));
    }
    let axes = ("axes", AttrValue::Ints(vec![0]));
    let outputs = site.node.outputs.clone();
    let mut given = Vec::new();
    for (i, out) in outputs.iter().enumerate() {
        let Some(out) = out else { continue };
        let inner = site.fresh("batch")?;
        site.node.outputs[i] = Some(inner);
        given.push((*out, inner));
    }
    site.put();
    for (out, inner) in given {
        site.op_into(out, after, &[inner], std::slice::from_ref(&axes))?;
    }
    Ok(())
}

pub(super) static STEPS: &[Step] = &[Step { op: "Scan", version: 9, up: scan_up, down: scan_down }];
