//! Scales and zero points: the relation `real = scale · (quantized - zero point)`.

use super::super::observed::Range;
use crate::error::{Error, Result};
use crate::hub::DType;

/// An integer type and the part of it that a range is laid over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Integer {
    /// The element type.
    pub dtype: DType,
    /// Whether zero is in the middle.
    pub symmetric: bool,
}

impl Integer {
    /// The type of that name: `int8`, `uint8`, `int16` or `uint16`.
    pub(super) fn named(name: &str, symmetric: bool) -> Result<Self> {
        let dtype = match name {
            "int8" => DType::I8,
            "uint8" => DType::U8,
            "int16" => DType::I16,
            "uint16" => DType::U16,
            other => return Err(Error::bug(format!("static-int8 with the type `{other}`"))),
        };
        Ok(Self { dtype, symmetric })
    }

    /// The least and the greatest number of the type.
    pub(super) fn limits(self) -> (i32, i32) {
        match self.dtype {
            DType::I8 => (-128, 127),
            DType::U8 => (0, 255),
            DType::I16 => (-32768, 32767),
            _ => (0, 65535),
        }
    }

    /// What a range is laid over: with zero in the middle, signed types lose their least number.
    fn span(self) -> (f64, f64) {
        let (least, most) = self.limits();
        let least = if self.symmetric && least < 0 { -most } else { least };
        (f64::from(least), f64::from(most))
    }

    /// The parameters for a range, which is widened to hold zero. A range too narrow for a scale gets
    /// scale 1.
    ///
    /// With `symmetric` the zero point is the middle of the type. The arithmetic is that of
    /// `onnxruntime.quantization`: in f64, the zero point from the scale before that is rounded to f32.
    #[allow(clippy::cast_possible_truncation)] // the rounding is the point
    pub(super) fn fit(self, range: Range) -> Affine {
        let (mut low, mut high) = (f64::from(range.min.min(0.0)), f64::from(range.max.max(0.0)));
        if self.symmetric {
            high = high.max(-low);
            low = -high;
        }
        let (least, most) = self.span();
        let scale = (high - low) / (most - least);
        if scale < f64::from(f32::MIN_POSITIVE) {
            return Affine { scale: 1.0, zero: 0 };
        }
        let zero = if self.symmetric { (least + most) / 2.0 } else { least - low / scale };
        Affine { scale: scale as f32, zero: zero.round_ties_even() as i32 }
    }
}

/// A scale and a zero point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine {
    pub scale: f32,
    pub zero: i32,
}

impl Affine {
    /// The number in a type, cut off at its ends.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // clamped
    pub(super) fn quantized(self, value: f32, (least, most): (i32, i32)) -> i32 {
        let at = (value / self.scale).round_ties_even() + self.zero as f32;
        at.clamp(least as f32, most as f32) as i32
    }
}

/// The little-endian bytes of a number of an integer type, in `out`, which is as long as the type.
pub(super) fn store(dtype: DType, value: i32, out: &mut Vec<u8>) {
    let bytes = value.to_le_bytes();
    let len = if matches!(dtype, DType::I8 | DType::U8) { 1 } else { 2 };
    out.extend(bytes.iter().take(len));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(name: &str, symmetric: bool, min: f32, max: f32) -> (f32, i32) {
        let affine = Integer::named(name, symmetric).unwrap().fit(Range { min, max });
        (affine.scale, affine.zero)
    }

    #[test]
    fn parameters_are_those_of_onnxruntime_quantization() {
        // compute_scale_zp of onnxruntime 1.32.0
        assert_eq!(fit("uint8", false, -1.0, 2.0), (0.011_764_706, 85));
        assert_eq!(fit("int8", false, -1.0, 2.0), (0.011_764_706, -43));
        assert_eq!(fit("int8", true, -1.0, 2.0), (0.015_748_031, 0));
        assert_eq!(fit("uint8", true, -1.0, 2.0), (0.015_686_275, 128));
        assert_eq!(fit("uint8", false, 0.5, 2.0), (0.007_843_138, 0));
        assert_eq!(fit("int8", false, -3.0, -1.0), (0.011_764_706, 127));
        assert_eq!(fit("uint16", false, -1.0, 2.0), (4.577_706_6e-5, 21845));
    }

    #[test]
    fn a_range_without_width_has_scale_one() {
        for name in ["int8", "uint8", "int16", "uint16"] {
            assert_eq!(fit(name, false, 0.0, 0.0), (1.0, 0));
            assert_eq!(fit(name, false, 0.0, 1e-44), (1.0, 0));
        }
    }
}
