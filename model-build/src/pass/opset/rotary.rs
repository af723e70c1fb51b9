//! `RotaryEmbedding` made of products and sums.
//!
//! ```text
//! before (opset 23): x, cos, sin ─▶ RotaryEmbedding ─▶ y
//! after  (opset 22): x ─▶ Split ─▶ (a, b)
//!                    a cos - b sin, b cos + a sin ─▶ Concat ─▶ y
//! ```

use super::site::Site;
use super::{Step, keep};
use crate::error::Result;
use crate::hub::{AttrValue, ValueId};

/// Adds a slice `[start, end)` of the last axis with a step.
fn part(site: &mut Site<'_, '_>, x: ValueId, start: i64, end: i64, step: i64) -> Result<ValueId> {
    let inputs =
        [x, site.list(&[start])?, site.list(&[end])?, site.list(&[-1])?, site.list(&[step])?];
    site.op("Slice", &inputs, &[])
}

/// Cosines or sines of the positions, as `[batch, sequence, 1, half]`.
fn table(site: &mut Site<'_, '_>, i: usize) -> Result<ValueId> {
    let mut cache = site.input(i)?;
    if let Some(positions) = site.node.input(3) {
        cache = site.op("Gather", &[cache, positions], &[("axis", AttrValue::Int(0))])?;
    }
    site.with_axes("Unsqueeze", cache, &[2])
}

/// Heads stand before positions in a tensor of rank 4, and within the last axis in one of rank 3.
fn rotary(site: &mut Site<'_, '_>) -> Result<()> {
    let (x, rank) = (site.input(0)?, site.rank(0)?);
    let heads = site.int_or("num_heads", 0)?;
    let last = site.try_shape(0).and_then(|s| s.last()?.fixed());
    let last = last.and_then(|n| i64::try_from(n).ok());
    let last = last.ok_or_else(|| site.unknown("the last axis of input 0"))?;
    let swap = [("perm", AttrValue::Ints(vec![0, 2, 1, 3]))];
    let (turned, size) = if rank == 4 {
        (site.op("Transpose", &[x], &swap)?, last)
    } else if rank == 3 && heads > 0 && last % heads == 0 {
        let shape = site.list(&[0, 0, heads, last / heads])?;
        (site.op("Reshape", &[x, shape], &[])?, last / heads)
    } else {
        return Err(site.unknown("the number of heads"));
    };
    let width = match site.int_or("rotary_embedding_dim", 0)? {
        0 => size,
        width => width,
    };
    let interleaved = site.int_or("interleaved", 0)? != 0;
    let (a, b) = if interleaved {
        (part(site, turned, 0, width, 2)?, part(site, turned, 1, width, 2)?)
    } else {
        (part(site, turned, 0, width / 2, 1)?, part(site, turned, width / 2, width, 1)?)
    };
    let (cos, sin) = (table(site, 1)?, table(site, 2)?);
    let (ac, bs) = (site.op("Mul", &[a, cos], &[])?, site.op("Mul", &[b, sin], &[])?);
    let (bc, as_) = (site.op("Mul", &[b, cos], &[])?, site.op("Mul", &[a, sin], &[])?);
    let mut real = site.op("Sub", &[ac, bs], &[])?;
    let mut imaginary = site.op("Add", &[bc, as_], &[])?;
    let along = [("axis", AttrValue::Int(-1))];
    if interleaved {
        real = site.with_axes("Unsqueeze", real, &[4])?;
        imaginary = site.with_axes("Unsqueeze", imaginary, &[4])?;
    }
    let mut out = site.op("Concat", &[real, imaginary], &along)?;
    if interleaved {
        let shape = site.list(&[0, 0, 0, width])?;
        out = site.op("Reshape", &[out, shape], &[])?;
    }
    if width < size {
        let rest = part(site, turned, width, size, 1)?;
        out = site.op("Concat", &[out, rest], &along)?;
    }
    if rank == 4 {
        site.become_op("Transpose", &[out], &swap);
    } else {
        let shape = site.list(&[0, 0, last])?;
        site.become_op("Reshape", &[out, shape], &[]);
    }
    Ok(())
}

pub(super) static STEPS: &[Step] =
    &[Step { op: "RotaryEmbedding", version: 23, up: keep, down: rotary }];
