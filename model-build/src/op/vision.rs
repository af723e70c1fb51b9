//! Ops of detectors and samplers: `GridSample`, `RoiAlign`, `NonMaxSuppression`, `Det`, `Compress`.

use super::cx::{Cx, Fact};
use super::len::Len;
use crate::error::Result;
use crate::hub::DType;

/// `x [n, c, …]`, `grid [n, …', r]` → `[n, c, …']`.
fn grid_sample(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let shape = match (cx.shape(0), cx.shape(1)) {
        (Some([n, c, ..]), Some([_, spatial @ .., _])) => {
            Some([n.clone(), c.clone()].into_iter().chain(spatial.iter().cloned()).collect())
        }
        _ => None,
    };
    Ok(vec![Fact::new(cx.dtype(0), shape)])
}

/// `x [n, c, h, w]`, `rois [r, 4]` → `[r, c, output_height, output_width]`.
fn roi_align(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    cx.want_rank(0, 4)?;
    cx.want_rank(1, 2)?;
    let at = |i: usize, axis: usize| {
        cx.shape(i).and_then(|s| s.get(axis)).cloned().unwrap_or(Len::UNKNOWN)
    };
    let size = |name: &str| Ok::<_, crate::error::Error>(Len::fixed(cx.int_or(name, 1)?));
    let shape = vec![at(1, 0), at(0, 1), size("output_height")?, size("output_width")?];
    Ok(vec![Fact::new(cx.dtype(0), Some(shape))])
}

/// Rows of batch, class and box of what is left: `[?, 3]`.
fn non_max_suppression(_: &Cx<'_>) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(Some(DType::I64), Some(vec![Len::UNKNOWN, Len::fixed(3)]))])
}

/// The last two axes are taken together.
fn det(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    cx.want_rank_at_least(0, 2)?;
    let shape = cx.shape(0).and_then(|s| s.get(..s.len().checked_sub(2)?)).map(<[_]>::to_vec);
    Ok(vec![Fact::new(cx.dtype(0), shape)])
}

/// What a condition selects of an axis, or of all elements.
fn compress(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let shape = match cx.int("axis")? {
        None => Some(vec![Len::UNKNOWN]),
        Some(axis) => match cx.shape(0) {
            Some(shape) => {
                let mut out = shape.to_vec();
                out[cx.axis(axis, shape.len())?] = Len::UNKNOWN;
                Some(out)
            }
            None => None,
        },
    };
    Ok(vec![Fact::new(cx.dtype(0), shape)])
}

defs! {
    COMPRESS = "Compress", 9, compress;
    DET = "Det", 11, det;
    GRID_SAMPLE = "GridSample", 16, grid_sample;
    NON_MAX_SUPPRESSION = "NonMaxSuppression", 10, non_max_suppression;
    ROI_ALIGN = "RoiAlign", 10, roi_align;
}
