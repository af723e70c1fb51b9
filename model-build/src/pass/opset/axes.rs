//! Axes that are an attribute in old definitions and an input in newer ones: `Squeeze`, `Unsqueeze`,
//! the reductions.
//!
//! ```text
//! before (opset 13): x, axes [1] ─▶ Squeeze ─▶ y
//! after  (opset 12): x ─▶ Squeeze(axes = [1]) ─▶ y
//! ```

use super::Step;
use super::site::Site;
use crate::error::Result;
use crate::hub::AttrValue;

/// The first operator set in which the axes of a reduction are an input.
pub(super) fn input_since(op: &str) -> i64 {
    if op == "ReduceSum" { 13 } else { 18 }
}

fn up(site: &mut Site<'_, '_>) -> Result<()> {
    let Some(axes) = site.int_list("axes")? else { return Ok(()) };
    site.unset("axes");
    let input = if axes.is_empty() { None } else { Some(site.list(&axes)?) };
    site.set_input(1, input);
    site.put();
    Ok(())
}

fn down(site: &mut Site<'_, '_>) -> Result<()> {
    if let Some(axes) = site.ints(1, "axes")? {
        site.set("axes", AttrValue::Ints(axes));
    }
    site.cut_inputs(1);
    site.put();
    Ok(())
}

/// Reductions that give a single element itself.
const PLAIN: &[&str] = &["ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"];

/// Without axes a reduction is over all, or over none with `noop_with_empty_axes`.
fn reduce_down(site: &mut Site<'_, '_>) -> Result<()> {
    let axes = site.ints(1, "axes")?.filter(|axes| !axes.is_empty());
    let noop = site.int_or("noop_with_empty_axes", 0)? != 0;
    if axes.is_none() && noop {
        let op = site.node.op.clone();
        if !PLAIN.contains(&op.as_str()) {
            return Err(site.lacks(format!("`{op}` reduces no axis")));
        }
        let x = site.input(0)?;
        site.become_op("Identity", &[x], &[]);
        return Ok(());
    }
    site.unset("noop_with_empty_axes");
    if let Some(axes) = axes {
        site.set("axes", AttrValue::Ints(axes));
    }
    site.cut_inputs(1);
    site.put();
    Ok(())
}

const fn reduction(op: &'static str, version: i64) -> Step {
    Step { op, version, up, down: reduce_down }
}

pub(super) static STEPS: &[Step] = &[
    Step { op: "Squeeze", version: 13, up, down },
    Step { op: "Unsqueeze", version: 13, up, down },
    reduction("ReduceSum", 13),
    reduction("ReduceL1", 18),
    reduction("ReduceL2", 18),
    reduction("ReduceLogSum", 18),
    reduction("ReduceLogSumExp", 18),
    reduction("ReduceMax", 18),
    reduction("ReduceMean", 18),
    reduction("ReduceMin", 18),
    reduction("ReduceProd", 18),
    reduction("ReduceSumSquare", 18),
];
