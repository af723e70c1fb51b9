//! `Cast`, `CastLike`.

use half::{bf16, f16};

use super::Args;
use super::array::{bool_tensor, bools, tensor, values};
use crate::hub::{AttrValue, DType, Tensor};

/// Numbers on their way from one type to another, without loss.
enum Numbers {
    Signed(Vec<i64>),
    Unsigned(Vec<u64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
}

/// `Cast` from opset 6 on, where the target is a number.
pub(super) fn cast(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let to = args.node.attr("to").and_then(AttrValue::as_int).and_then(DType::of_number)?;
    Some(vec![convert(args, to)?])
}

/// `CastLike`: the type of the second input.
pub(super) fn cast_like(args: &Args<'_>) -> Option<Vec<Tensor>> {
    Some(vec![convert(args, args.input(1)?.dtype())?])
}

fn convert(args: &Args<'_>, to: DType) -> Option<Tensor> {
    let from = args.input(0)?;
    if from.dtype() == to {
        return Some(from.clone());
    }
    args.room(to, from.shape())?;
    numbers(from)?.cast(from.shape().to_vec(), to)
}

fn numbers(from: &Tensor) -> Option<Numbers> {
    fn wide<T: super::array::Element + Into<U>, U>(from: &Tensor) -> Option<Vec<U>> {
        Some(values::<T>(from)?.into_iter().map(Into::into).collect())
    }
    Some(match from.dtype() {
        DType::Bool => Numbers::Signed(bools(from)?.into_iter().map(i64::from).collect()),
        DType::I8 => Numbers::Signed(wide::<i8, i64>(from)?),
        DType::I16 => Numbers::Signed(wide::<i16, i64>(from)?),
        DType::I32 => Numbers::Signed(wide::<i32, i64>(from)?),
        DType::I64 => Numbers::Signed(values(from)?),
        DType::U8 => Numbers::Unsigned(wide::<u8, u64>(from)?),
        DType::U16 => Numbers::Unsigned(wide::<u16, u64>(from)?),
        DType::U32 => Numbers::Unsigned(wide::<u32, u64>(from)?),
        DType::U64 => Numbers::Unsigned(values(from)?),
        DType::F32 | DType::F16 | DType::BF16 => Numbers::Float(from.to_f32().ok()?),
        DType::F64 => Numbers::Double(values(from)?),
        _ => return None,
    })
}

impl Numbers {
    /// The numbers as another type. Integers wrap, floats are rounded to nearest even and, on the way
    /// to integers, towards zero; one that is out of range is `None`, as runtimes differ there.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        clippy::cast_possible_wrap
    )] // the conversion is the point
    fn cast(self, shape: Vec<u64>, to: DType) -> Option<Tensor> {
        macro_rules! integer {
            ($ty:ty) => {{
                let whole = |v: f64| {
                    let v = v.trunc();
                    // 2^bits as f64: the greatest value itself may round up to it.
                    let past = 2f64.powi((<$ty>::BITS - u32::from(<$ty>::MIN != 0)) as i32);
                    (v < past && v >= <$ty>::MIN as f64).then_some(v as $ty)
                };
                let out: Vec<$ty> = match self {
                    Self::Signed(v) => v.into_iter().map(|v| v as $ty).collect(),
                    Self::Unsigned(v) => v.into_iter().map(|v| v as $ty).collect(),
                    Self::Float(v) => {
                        v.into_iter().map(|v| whole(f64::from(v))).collect::<Option<_>>()?
                    }
                    Self::Double(v) => v.into_iter().map(whole).collect::<Option<_>>()?,
                };
                tensor(shape, &out)
            }};
        }
        match to {
            DType::I8 => integer!(i8),
            DType::I16 => integer!(i16),
            DType::I32 => integer!(i32),
            DType::I64 => integer!(i64),
            DType::U8 => integer!(u8),
            DType::U16 => integer!(u16),
            DType::U32 => integer!(u32),
            DType::U64 => integer!(u64),
            DType::F32 => {
                let out: Vec<f32> = match self {
                    Self::Signed(v) => v.into_iter().map(|v| v as f32).collect(),
                    Self::Unsigned(v) => v.into_iter().map(|v| v as f32).collect(),
                    Self::Float(v) => v,
                    Self::Double(v) => v.into_iter().map(|v| v as f32).collect(),
                };
                tensor(shape, &out)
            }
            DType::F64 => {
                let out: Vec<f64> = match self {
                    Self::Signed(v) => v.into_iter().map(|v| v as f64).collect(),
                    Self::Unsigned(v) => v.into_iter().map(|v| v as f64).collect(),
                    Self::Float(v) => v.into_iter().map(f64::from).collect(),
                    Self::Double(v) => v,
                };
                tensor(shape, &out)
            }
            DType::Bool => {
                let out: Vec<bool> = match self {
                    Self::Signed(v) => v.into_iter().map(|v| v != 0).collect(),
                    Self::Unsigned(v) => v.into_iter().map(|v| v != 0).collect(),
                    Self::Float(v) => v.into_iter().map(|v| v != 0.0).collect(),
                    Self::Double(v) => v.into_iter().map(|v| v != 0.0).collect(),
                };
                bool_tensor(shape, &out)
            }
            DType::F16 | DType::BF16 => {
                let exact = |v: i64| (v.unsigned_abs() <= 256).then_some(v as f32);
                let wide: Vec<f32> = match self {
                    Self::Signed(v) => v.into_iter().map(exact).collect::<Option<_>>()?,
                    Self::Float(v) => v,
                    Self::Unsigned(_) | Self::Double(_) => return None,
                };
                let bytes: Vec<u8> = match to {
                    DType::F16 => {
                        wide.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect()
                    }
                    _ => wide.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
                };
                Tensor::new(to, shape, bytes.into()).ok()
            }
            _ => None,
        }
    }
}
