//! Ops that move, repeat, join or cut elements: `Transpose`, `Expand`, `Tile`, `Concat`, `Split`,
//! `Pad`, `DepthToSpace`, `SpaceToDepth`.

use super::cx::{Cx, Fact};
use super::len::Len;
use crate::error::Result;

/// Axes in the order of `perm`, or reversed.
fn transpose(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let perm = cx.int_list("perm")?;
    let Some(shape) = cx.shape(0) else {
        return Ok(vec![Fact::new(cx.dtype(0), perm.map(|p| vec![Len::UNKNOWN; p.len()]))]);
    };
    let out = match perm {
        None => shape.iter().rev().cloned().collect(),
        Some(perm) => {
            if cx.axes(perm, shape.len())?.len() != shape.len() {
                return Err(cx.fail(format!(
                    "perm {perm:?} does not fit shape {}",
                    cx.fact(0).shape_text()
                )));
            }
            perm.iter()
                .map(|a| Ok(shape[cx.axis(*a, shape.len())?].clone()))
                .collect::<Result<_>>()?
        }
    };
    let data = cx.data(0).filter(|_| shape.len() <= 1).map(<[_]>::to_vec);
    Ok(vec![Fact { dtype: cx.dtype(0), shape: Some(out), data }])
}

/// The input broadcast with the shape in the second input.
fn expand(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let shape = match (cx.shape(0), cx.data(1)) {
        (Some(shape), Some(to)) => Some(cx.broadcast_shapes(shape, to)?),
        _ => None,
    };
    let data = match (cx.data(0), &shape) {
        (Some([one]), Some(dims)) if dims.len() <= 1 => dims
            .first()
            .map_or(Some(1), Len::as_fixed)
            .and_then(|n| usize::try_from(n).ok())
            .filter(|n| *n <= super::cx::MAX_DATA)
            .map(|n| vec![one.clone(); n]),
        _ => None,
    };
    Ok(vec![Fact { dtype: cx.dtype(0), shape, data }])
}

/// Each axis times its repeat. Opset 1 takes tiles and axis as two scalars.
fn tile(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let Some(shape) = cx.shape(0) else { return Ok(vec![Fact::new(cx.dtype(0), None)]) };
    let out = match cx.data(1).filter(|_| cx.opset() >= 6) {
        Some(repeats) if repeats.len() == shape.len() => {
            shape.iter().zip(repeats).map(|(d, r)| d.mul(r)).collect()
        }
        Some(repeats) => {
            return Err(cx.fail(format!(
                "{} repeats for shape {}",
                repeats.len(),
                cx.fact(0).shape_text()
            )));
        }
        None => vec![Len::UNKNOWN; shape.len()],
    };
    Ok(vec![Fact::new(cx.dtype(0), Some(out))])
}

/// The axes of all inputs agree but `axis`, which is the sum.
fn concat(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let count = cx.input_count();
    let dtype = (0..count).find_map(|i| cx.dtype(i));
    let Some(rank) = (0..count).find_map(|i| cx.rank(i)) else {
        return Ok(vec![Fact::new(dtype, None)]);
    };
    let axis = cx.axis(cx.int_or("axis", if cx.opset() < 4 { 1 } else { 0 })?, rank)?;
    let mut out = vec![Len::UNKNOWN; rank];
    out[axis] = Len::fixed(0);
    for i in 0..count {
        cx.want_rank(i, rank)?;
        match cx.shape(i) {
            Some(shape) => {
                for (at, (have, dim)) in out.iter_mut().zip(shape).enumerate() {
                    *have = if at == axis {
                        have.add(dim)
                    } else {
                        cx.unify(have, dim, "inputs differ along another axis")?
                    };
                }
            }
            None => out[axis] = Len::UNKNOWN,
        }
    }
    let data = (0..count)
        .map(|i| cx.data(i))
        .collect::<Option<Vec<_>>>()
        .map(|parts| parts.concat())
        .filter(|d| rank == 1 && d.len() <= super::cx::MAX_DATA);
    Ok(vec![Fact { dtype, shape: Some(out), data }])
}

/// Sizes are an attribute before opset 13, an input from it on; without sizes the parts are equal
/// (from opset 18 on the last one may be smaller).
fn split(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let count = cx.output_count();
    let Some(shape) = cx.shape(0) else {
        return Ok(vec![Fact::new(cx.dtype(0), None); count]);
    };
    let axis = cx.axis(cx.int_or("axis", 0)?, shape.len())?;
    let sizes: Option<Vec<Len>> = if cx.opset() < 13 {
        cx.int_list("split")?.map(|v| v.iter().copied().map(Len::fixed).collect())
    } else if cx.has(1) {
        Some(cx.data(1).map_or_else(|| vec![Len::UNKNOWN; count], <[_]>::to_vec))
    } else {
        None
    };
    let sizes = match sizes {
        Some(sizes) => sizes,
        None => {
            let parts = i64::try_from(count).unwrap_or(i64::MAX);
            let each = shape[axis].div_ceil(parts);
            let before = each.mul(&Len::fixed(parts.saturating_sub(1)));
            let exact = shape[axis].div_exact(&Len::fixed(parts));
            match (exact.is_known(), shape[axis].as_fixed()) {
                (true, _) => vec![exact; count],
                (false, Some(_)) => {
                    let mut sizes = vec![each; count.saturating_sub(1)];
                    sizes.push(shape[axis].sub(&before));
                    sizes
                }
                (false, None) => vec![Len::UNKNOWN; count],
            }
        }
    };
    if sizes.len() < count {
        return Err(cx.fail(format!("{} sizes for {count} outputs", sizes.len())));
    }
    let total = sizes.iter().fold(Len::fixed(0), |sum, n| sum.add(n));
    if total.contradicts(&shape[axis]) {
        return Err(cx.fail(format!(
            "sizes sum to {total}, axis {axis} of {} is cut",
            cx.fact(0).shape_text()
        )));
    }
    let mut from = 0usize;
    let mut out = Vec::with_capacity(count);
    for size in sizes.iter().take(count) {
        let mut part = shape.to_vec();
        part[axis] = size.clone();
        let n = size.as_fixed().and_then(|n| usize::try_from(n).ok());
        let data = cx.data(0).zip(n).and_then(|(d, n)| d.get(from..from.checked_add(n)?));
        from = from.saturating_add(n.unwrap_or(usize::MAX));
        out.push(Fact { dtype: cx.dtype(0), shape: Some(part), data: data.map(<[_]>::to_vec) });
    }
    Ok(out)
}

/// Pads are an attribute before opset 11, an input from it on; axes from opset 18 on.
fn pad(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let Some(shape) = cx.shape(0) else { return Ok(vec![Fact::new(cx.dtype(0), None)]) };
    let pads: Option<Vec<Len>> = if cx.opset() < 11 {
        let name = if cx.opset() < 2 { "paddings" } else { "pads" };
        cx.int_list(name)?.map(|v| v.iter().copied().map(Len::fixed).collect())
    } else {
        cx.data(1).map(<[_]>::to_vec)
    };
    let axes = if cx.has(3) {
        cx.ints(3)
            .map(|axes| axes.iter().map(|a| cx.axis(*a, shape.len())).collect::<Result<Vec<_>>>())
            .transpose()?
    } else {
        Some((0..shape.len()).collect())
    };
    let (Some(pads), Some(axes)) = (pads, axes) else {
        return Ok(vec![Fact::new(cx.dtype(0), Some(vec![Len::UNKNOWN; shape.len()]))]);
    };
    if pads.len() != axes.len() * 2 {
        return Err(cx.fail(format!("{} pads for {} axes", pads.len(), axes.len())));
    }
    let mut out = shape.to_vec();
    for (i, axis) in axes.iter().enumerate() {
        out[*axis] = out[*axis].add(&pads[i]).add(&pads[i + axes.len()]);
    }
    Ok(vec![Fact::new(cx.dtype(0), Some(out))])
}

fn blocks(cx: &Cx<'_>) -> Result<(i64, Len)> {
    cx.want_rank(0, 4)?;
    let block = cx.int_or("blocksize", 1)?;
    let square = block.checked_mul(block).filter(|_| block > 0);
    match square {
        Some(square) => Ok((block, Len::fixed(square))),
        None => Err(cx.fail(format!("blocksize {block} is not in range"))),
    }
}

/// `[n, c, h, w]` → `[n, c / b², h · b, w · b]`.
fn depth_to_space(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let (block, square) = blocks(cx)?;
    let shape = match cx.shape(0) {
        Some([n, c, h, w]) => {
            let by = Len::fixed(block);
            vec![n.clone(), c.div_exact(&square), h.mul(&by), w.mul(&by)]
        }
        _ => vec![Len::UNKNOWN; 4],
    };
    Ok(vec![Fact::new(cx.dtype(0), Some(shape))])
}

/// `[n, c, h, w]` → `[n, c · b², h / b, w / b]`.
fn space_to_depth(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let (block, square) = blocks(cx)?;
    let shape = match cx.shape(0) {
        Some([n, c, h, w]) => {
            vec![n.clone(), c.mul(&square), h.div_floor(block), w.div_floor(block)]
        }
        _ => vec![Len::UNKNOWN; 4],
    };
    Ok(vec![Fact::new(cx.dtype(0), Some(shape))])
}

defs! {
    CONCAT = "Concat", 1, concat;
    DEPTH_TO_SPACE = "DepthToSpace", 1, depth_to_space;
    EXPAND = "Expand", 8, expand;
    PAD = "Pad", 1, pad;
    SPACE_TO_DEPTH = "SpaceToDepth", 1, space_to_depth;
    SPLIT = "Split", 1, split;
    TILE = "Tile", 1, tile;
    TRANSPOSE = "Transpose", 1, transpose;
}
