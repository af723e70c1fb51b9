//! Addends of products: 32-bit integers with the scale of the sum.

use super::affine::Affine;
use crate::error::Result;
use crate::hub::{DType, Tensor};

/// A bias in integers, and its scales: one, or one per element.
pub(super) struct Quantized {
    pub values: Tensor,
    pub scales: Vec<f32>,
}

/// What is left of the 32 bits, so that rounding does not pass them.
const MARGIN: f64 = 1.0001;

/// Enlarges the scales of a weight (without zero points) where the bias, with the scale of its input
/// times that of the weight, would pass 32 bits. `weight` has one scale, or one per element of the
/// bias.
#[allow(clippy::cast_possible_truncation)] // the rounding is the point
pub(super) fn make_room(x: Affine, weight: &mut [Affine], bias: &[f32]) {
    let whole = bias.iter().fold(0f64, |most, b| most.max(f64::from(b.abs())));
    let one = weight.len() == 1;
    for (i, affine) in weight.iter_mut().enumerate() {
        let most = if one { whole } else { bias.get(i).map_or(0.0, |b| f64::from(b.abs())) };
        let least = MARGIN * 2.0 * most / (f64::from(i32::MAX) * 2.0);
        let scale = f64::from(x.scale) * f64::from(affine.scale);
        if scale > 0.0 && scale < least {
            affine.scale = (f64::from(affine.scale) * (least / scale)) as f32;
        }
    }
}

/// The bias in integers.
#[allow(clippy::cast_possible_truncation)] // clamped; the rounding is the point
pub(super) fn quantize(x: Affine, weight: &[Affine], bias: &[f32], beta: f32) -> Result<Quantized> {
    let factor = if beta == 0.0 { 1.0 } else { beta };
    let scales: Vec<f32> = weight.iter().map(|w| x.scale * w.scale * factor).collect();
    let one = scales.first().copied().unwrap_or(1.0);
    let mut bytes = Vec::new();
    for (i, value) in bias.iter().enumerate() {
        let value = if beta == 0.0 { 0.0 } else { *value };
        let scale = if scales.len() == 1 { one } else { scales.get(i).copied().unwrap_or(one) };
        let at = (f64::from(value) / f64::from(scale)).round_ties_even();
        let at = at.clamp(f64::from(i32::MIN), f64::from(i32::MAX)) as i32;
        bytes.extend(at.to_le_bytes());
    }
    let values = Tensor::new(DType::I32, vec![bias.len() as u64], bytes.into())?;
    Ok(Quantized { values, scales })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bias_is_rounded_to_multiples_of_both_scales() {
        let x = Affine { scale: 0.5, zero: 3 };
        let w = [Affine { scale: 0.25, zero: 0 }, Affine { scale: 0.125, zero: 0 }];
        let q = quantize(x, &w, &[1.0, -1.0], 1.0).unwrap();
        assert_eq!(q.scales, [0.125, 0.0625]);
        assert_eq!(q.values.to_i64().unwrap()[..], [8, -16]);
        let q = quantize(x, &w[..1], &[1.0, -1.0], 2.0).unwrap();
        assert_eq!((q.scales, q.values.to_i64().unwrap()[0]), (vec![0.25], 4));
    }

    #[test]
    fn a_scale_too_small_for_the_bias_grows_until_it_fits() {
        let x = Affine { scale: 1e-5, zero: 0 };
        let mut w = [Affine { scale: 1e-7, zero: 0 }, Affine { scale: 0.1, zero: 0 }];
        make_room(x, &mut w, &[1.0, 1.0]);
        assert!(w[0].scale > 4e-5 && w[1].scale == 0.1, "{w:?}");
        let q = quantize(x, &w, &[1.0, 1.0], 1.0).unwrap();
        let first = q.values.to_i64().unwrap()[0];
        assert!(first < i64::from(i32::MAX) && first > 2_000_000_000, "{first}");
    }
}
