//! Convolutions and pooling: `Conv`, `ConvInteger`, `QLinearConv`, `ConvTranspose`, `MaxPool`,
//! `AveragePool`, `LpPool` and their global forms.

use super::cx::{Cx, Fact};
use super::len::Len;
use crate::error::Result;
use crate::hub::DType;

/// Strides, dilations, pads and kernel of a window over `spatial` axes.
struct Window {
    strides: Vec<i64>,
    dilations: Vec<i64>,
    /// Begins, then ends.
    pads: Vec<i64>,
    auto_pad: Auto,
    kernel: Vec<Len>,
}

#[derive(Clone, Copy, PartialEq)]
enum Auto {
    NotSet,
    Same,
    Valid,
}

impl Window {
    fn of(cx: &Cx<'_>, kernel: Vec<Len>) -> Result<Self> {
        let n = kernel.len();
        let list = |name: &str, default: i64, len: usize| -> Result<Vec<i64>> {
            let found = cx.int_list(name)?.map_or_else(|| vec![default; len], <[_]>::to_vec);
            if found.len() != len {
                return Err(cx.fail(format!("`{name}` = {found:?} does not fit {n} spatial axes")));
            }
            Ok(found)
        };
        let auto_pad = match cx.str("auto_pad")? {
            None | Some("" | "NOTSET") => Auto::NotSet,
            Some("SAME_UPPER" | "SAME_LOWER") => Auto::Same,
            Some("VALID") => Auto::Valid,
            Some(other) => return Err(cx.fail(format!("`auto_pad` = {other:?} is not known"))),
        };
        let window = Self {
            strides: list("strides", 1, n)?,
            dilations: list("dilations", 1, n)?,
            pads: list("pads", 0, n * 2)?,
            auto_pad,
            kernel,
        };
        if window.strides.iter().chain(&window.dilations).any(|v| *v < 1) {
            return Err(cx.fail("a stride or dilation below 1"));
        }
        Ok(window)
    }

    /// The length of spatial axis `i` after the window has passed over it.
    fn slide(&self, i: usize, length: &Len, ceil: bool) -> Len {
        let stride = self.strides[i];
        if self.auto_pad == Auto::Same {
            return length.div_ceil(stride);
        }
        let reach = self.kernel[i].plus(-1).mul(&Len::fixed(self.dilations[i])).plus(1);
        let padded = match self.auto_pad {
            Auto::Valid => length.clone(),
            _ => length.plus(self.pads[i]).plus(self.pads[i + self.kernel.len()]),
        };
        let span = padded.sub(&reach);
        if !ceil {
            return span.div_floor(stride).plus(1);
        }
        let count = span.div_ceil(stride).plus(1);
        // A last window that starts in the padding at the end is dropped.
        let begin = if self.auto_pad == Auto::Valid { 0 } else { self.pads[i] };
        match (count.as_fixed(), length.as_fixed()) {
            (Some(n), Some(len)) if (n - 1).saturating_mul(stride) >= len.saturating_add(begin) => {
                Len::fixed(n - 1)
            }
            (Some(_), Some(_)) => count,
            _ if stride == 1 => count,
            _ => Len::UNKNOWN,
        }
    }
}

/// `[n, c, ..] * [m, c / group, ..] → [n, m, ..]` for the inputs at `x` and `w`.
fn convolved(cx: &Cx<'_>, x: usize, w: usize) -> Result<Option<Vec<Len>>> {
    cx.want_rank_at_least(x, 3)?;
    let rank = cx.rank(x).or(cx.rank(w));
    let Some(rank) = rank else { return Ok(None) };
    cx.want_rank(x, rank)?;
    cx.want_rank(w, rank)?;
    let blank = || vec![Len::UNKNOWN; rank];
    let input = cx.shape(x).map_or_else(blank, <[_]>::to_vec);
    let weight = cx.shape(w).map_or_else(blank, <[_]>::to_vec);
    let kernel = match cx.int_list("kernel_shape")? {
        Some(k) if k.len() + 2 == rank => k.iter().copied().map(Len::fixed).collect(),
        Some(k) => {
            return Err(cx.fail(format!(
                "`kernel_shape` = {k:?} does not fit shape {}",
                cx.fact(x).shape_text()
            )));
        }
        None => weight[2..].to_vec(),
    };
    let group = cx.int_or("group", 1)?;
    let channels = weight[1].mul(&Len::fixed(group));
    if input[1].contradicts(&channels) {
        return Err(cx.fail(format!(
            "input {} has {} channels, weight {} with group {group} takes {channels}",
            cx.fact(x).shape_text(),
            input[1],
            cx.fact(w).shape_text()
        )));
    }
    let window = Window::of(cx, kernel)?;
    let spatial = input[2..].iter().enumerate().map(|(i, d)| window.slide(i, d, false));
    Ok(Some([input[0].clone(), weight[0].clone()].into_iter().chain(spatial).collect()))
}

fn conv(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(cx.dtype(0), convolved(cx, 0, 1)?)])
}

fn conv_integer(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(Some(DType::I32), convolved(cx, 0, 1)?)])
}

/// Inputs: x, scale, zero point, w, scale, zero point, output scale, output zero point.
fn qlinear_conv(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(cx.dtype(7), convolved(cx, 0, 3)?)])
}

/// `[n, c, ..] → [n, m · group, ..]`, the window's inverse.
fn conv_transpose(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let unknown = Ok(vec![Fact::new(cx.dtype(0), None)]);
    let (Some([batch, _, spatial @ ..]), Some([_, maps, taps @ ..])) = (cx.shape(0), cx.shape(1))
    else {
        return unknown;
    };
    if spatial.len() != taps.len() {
        return Err(cx.fail(format!(
            "input {} and weight {} are of different rank",
            cx.fact(0).shape_text(),
            cx.fact(1).shape_text()
        )));
    }
    let n = spatial.len();
    let kernel = match cx.int_list("kernel_shape")? {
        Some(k) if k.len() == n => k.iter().copied().map(Len::fixed).collect(),
        Some(k) => return Err(cx.fail(format!("`kernel_shape` = {k:?} does not fit {n} axes"))),
        None => taps.to_vec(),
    };
    let window = Window::of(cx, kernel)?;
    let group = cx.int_or("group", 1)?;
    let extra = cx.int_list("output_padding")?.unwrap_or_default();
    let fixed = cx.int_list("output_shape")?;
    let mut out = vec![batch.clone(), maps.mul(&Len::fixed(group))];
    for (i, length) in spatial.iter().enumerate() {
        let stride = Len::fixed(window.strides[i]);
        if let Some(v) = fixed.filter(|f| f.len() >= n).map(|f| f[f.len() - n + i]) {
            out.push(Len::fixed(v));
            continue;
        }
        if window.auto_pad == Auto::Same {
            out.push(length.mul(&stride));
            continue;
        }
        let reach = window.kernel[i].plus(-1).mul(&Len::fixed(window.dilations[i])).plus(1);
        let pads = match window.auto_pad {
            Auto::Valid => 0,
            _ => window.pads[i].saturating_add(window.pads[i + n]),
        };
        let size = length
            .plus(-1)
            .mul(&stride)
            .add(&reach)
            .plus(extra.get(i).copied().unwrap_or(0))
            .plus(pads.saturating_neg());
        out.push(size);
    }
    Ok(vec![Fact::new(cx.dtype(0), Some(out))])
}

/// Windows of `kernel_shape` over the spatial axes; a second output has the indices.
fn pool(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let Some(kernel) = cx.int_list("kernel_shape")? else {
        return Err(cx.fail("attribute `kernel_shape` is missing"));
    };
    cx.want_rank(0, kernel.len() + 2)?;
    let window = Window::of(cx, kernel.iter().copied().map(Len::fixed).collect())?;
    let ceil = cx.int_or("ceil_mode", 0)? != 0;
    let shape = cx.shape(0).map(|shape| {
        let spatial = shape[2..].iter().enumerate().map(|(i, d)| window.slide(i, d, ceil));
        shape[..2].iter().cloned().chain(spatial).collect::<Vec<_>>()
    });
    Ok(vec![Fact::new(cx.dtype(0), shape.clone()), Fact::new(Some(DType::I64), shape)])
}

/// The spatial axes become 1.
fn global_pool(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    cx.want_rank_at_least(0, 2)?;
    let shape = cx.shape(0).map(|shape| {
        let mut out = shape.to_vec();
        out[2..].fill(Len::fixed(1));
        out
    });
    Ok(vec![Fact::new(cx.dtype(0), shape)])
}

defs! {
    AVERAGE_POOL = "AveragePool", 1, pool;
    CONV = "Conv", 1, conv;
    CONV_INTEGER = "ConvInteger", 10, conv_integer;
    CONV_TRANSPOSE = "ConvTranspose", 1, conv_transpose;
    GLOBAL_AVERAGE_POOL = "GlobalAveragePool", 1, global_pool;
    GLOBAL_LP_POOL = "GlobalLpPool", 1, global_pool;
    GLOBAL_MAX_POOL = "GlobalMaxPool", 1, global_pool;
    LP_POOL = "LpPool", 1, pool;
    MAX_POOL = "MaxPool", 1, pool;
    Q_LINEAR_CONV = "QLinearConv", 10, qlinear_conv;
}
