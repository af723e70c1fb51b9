//! Element-wise kernels: arithmetic, comparison, logic, selection.

use super::Args;
use super::array::{Element, Walk, bool_tensor, bools, broadcast, picked, tensor, values};
use crate::hub::{DType, Tensor};

/// What the kernels need of a number.
trait Number: Element {
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// `None` where a runtime would trap.
    fn div(self, other: Self) -> Option<Self>;
    /// The remainder with the sign of the divisor; `None` where a runtime would trap, and for floats.
    fn modulo(self, other: Self) -> Option<Self>;
    /// The remainder with the sign of the dividend.
    fn remainder(self, other: Self) -> Option<Self>;
    fn is_nan(self) -> bool;
    /// A function of one number by its operator; `None` for one that this type does not have.
    fn function(self, op: &str) -> Option<Self>;
    fn power(self, exponent: f64) -> Option<Self>;
}

macro_rules! integers {
    ($($ty:ty, $neg:expr, $abs:expr, $sign:expr;)*) => { $(
        impl Number for $ty {
            fn add(self, other: Self) -> Self { self.wrapping_add(other) }
            fn sub(self, other: Self) -> Self { self.wrapping_sub(other) }
            fn mul(self, other: Self) -> Self { self.wrapping_mul(other) }
            fn div(self, other: Self) -> Option<Self> { self.checked_div(other) }
            #[allow(unused_comparisons)] // for the types without a sign
            fn modulo(self, other: Self) -> Option<Self> {
                let rest = self.checked_rem(other)?;
                Some(if rest != 0 && (rest < 0) != (other < 0) { rest + other } else { rest })
            }
            fn remainder(self, other: Self) -> Option<Self> { self.checked_rem(other) }
            fn is_nan(self) -> bool { false }
            fn function(self, op: &str) -> Option<Self> {
                match op {
                    "Neg" => $neg(self),
                    "Abs" => $abs(self),
                    "Sign" => $sign(self),
                    "Relu" => Some(self.max(0)),
                    _ => None,
                }
            }
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked
            fn power(self, exponent: f64) -> Option<Self> {
                let whole = (0.0..=64.0).contains(&exponent) && exponent.fract() == 0.0;
                // Runtimes compute in f64: the result is theirs while that is exact.
                let power = self.checked_pow(whole.then_some(exponent as u32)?)?;
                let exact = i64::try_from(power).ok()?.unsigned_abs() < 1 << 53;
                exact.then_some(power)
            }
        }
    )* };
}

integers! {
    i8, |v: i8| Some(v.wrapping_neg()), |v: i8| Some(v.wrapping_abs()), |v: i8| Some(v.signum());
    i16, |v: i16| Some(v.wrapping_neg()), |v: i16| Some(v.wrapping_abs()), |v: i16| Some(v.signum());
    i32, |v: i32| Some(v.wrapping_neg()), |v: i32| Some(v.wrapping_abs()), |v: i32| Some(v.signum());
    i64, |v: i64| Some(v.wrapping_neg()), |v: i64| Some(v.wrapping_abs()), |v: i64| Some(v.signum());
    u8, |_| None, Some, |v: u8| Some(v.min(1));
    u16, |_| None, Some, |v: u16| Some(v.min(1));
    u32, |_| None, Some, |v: u32| Some(v.min(1));
    u64, |_| None, Some, |v: u64| Some(v.min(1));
}

macro_rules! floats {
    ($($ty:ty)*) => { $(
        #[allow(clippy::float_cmp)] // exact on purpose
        impl Number for $ty {
            fn add(self, other: Self) -> Self { self + other }
            fn sub(self, other: Self) -> Self { self - other }
            fn mul(self, other: Self) -> Self { self * other }
            fn div(self, other: Self) -> Option<Self> { Some(self / other) }
            fn modulo(self, _: Self) -> Option<Self> { None }
            fn remainder(self, other: Self) -> Option<Self> { Some(self % other) }
            fn is_nan(self) -> bool { self != self }
            fn function(self, op: &str) -> Option<Self> {
                Some(match op {
                    "Neg" => -self,
                    "Abs" => self.abs(),
                    "Floor" => self.floor(),
                    "Ceil" => self.ceil(),
                    "Round" => self.round_ties_even(),
                    "Sqrt" => self.sqrt(),
                    "Reciprocal" => 1.0 / self,
                    "Relu" if !self.is_nan() => self.max(0.0),
                    "Sign" if self == 0.0 => 0.0,
                    "Sign" if !self.is_nan() => self.signum(),
                    _ => return None,
                })
            }
            fn power(self, exponent: f64) -> Option<Self> {
                match exponent {
                    1.0 => Some(self),
                    2.0 => Some(self * self),
                    _ => None,
                }
            }
        }
    )* };
}

floats! { f32 f64 }

/// Calls a generic function for the number type of a tensor.
macro_rules! by_type {
    ($dtype:expr, $function:ident($($arg:expr),*)) => {
        match $dtype {
            DType::I8 => $function::<i8>($($arg),*),
            DType::I16 => $function::<i16>($($arg),*),
            DType::I32 => $function::<i32>($($arg),*),
            DType::I64 => $function::<i64>($($arg),*),
            DType::U8 => $function::<u8>($($arg),*),
            DType::U16 => $function::<u16>($($arg),*),
            DType::U32 => $function::<u32>($($arg),*),
            DType::U64 => $function::<u64>($($arg),*),
            DType::F32 => $function::<f32>($($arg),*),
            DType::F64 => $function::<f64>($($arg),*),
            _ => None,
        }
    };
}
pub(super) use by_type;

/// `a op b` over the broadcast of two tensors.
fn zipped<T: Element, U>(
    args: &Args<'_>,
    a: &Tensor,
    b: &Tensor,
    op: impl Fn(T, T) -> Option<U>,
) -> Option<(Vec<u64>, Vec<U>)> {
    let shape = broadcast(a.shape(), b.shape())?;
    args.room(a.dtype(), &shape)?;
    let (x, y) = (values::<T>(a)?, values::<T>(b)?);
    let at = Walk::spread(&shape, a.shape())?.zip(Walk::spread(&shape, b.shape())?);
    let out = at.map(|(i, j)| op(*x.get(i)?, *y.get(j)?)).collect::<Option<Vec<U>>>()?;
    Some((shape, out))
}

/// `Add`, `Sub`, `Mul`, `Div`, and `Sum`, `Min`, `Max` of any number of inputs.
pub(super) fn binary(args: &Args<'_>) -> Option<Vec<Tensor>> {
    if args.opset < 8 && !(args.opset == 7 && args.inputs.len() == 2) {
        return None;
    }
    let mut all = args.inputs.iter();
    let mut sum = all.next()?.clone()?;
    for other in all {
        sum = by_type!(sum.dtype(), two(args, &sum, other.as_ref()?))?;
    }
    Some(vec![sum])
}

fn two<T: Number>(args: &Args<'_>, a: &Tensor, b: &Tensor) -> Option<Tensor> {
    let op = args.node.op.as_str();
    let (shape, out) = zipped(args, a, b, |x: T, y: T| match op {
        "Add" | "Sum" => Some(x.add(y)),
        "Sub" => Some(x.sub(y)),
        "Mul" => Some(x.mul(y)),
        "Div" => x.div(y),
        _ if x.is_nan() || y.is_nan() => None,
        "Min" => Some(if y < x { y } else { x }),
        "Max" => Some(if y > x { y } else { x }),
        _ => None,
    })?;
    tensor(shape, &out)
}

/// `Mod`.
pub(super) fn modulo(args: &Args<'_>) -> Option<Vec<Tensor>> {
    fn run<T: Number>(args: &Args<'_>, truncated: bool) -> Option<Tensor> {
        let (shape, out) = zipped(args, args.input(0)?, args.input(1)?, |x: T, y: T| {
            if truncated { x.remainder(y) } else { x.modulo(y) }
        })?;
        tensor(shape, &out)
    }
    let truncated = args.int("fmod", 0)? != 0;
    Some(vec![by_type!(args.input(0)?.dtype(), run(args, truncated))?])
}

/// `Pow` with one exponent for all.
pub(super) fn pow(args: &Args<'_>) -> Option<Vec<Tensor>> {
    fn run<T: Number>(args: &Args<'_>, base: &Tensor, exponent: f64) -> Option<Tensor> {
        args.room(base.dtype(), base.shape())?;
        let out: Vec<T> =
            values::<T>(base)?.into_iter().map(|v| v.power(exponent)).collect::<Option<_>>()?;
        tensor(base.shape().to_vec(), &out)
    }
    let (base, exponent) = (args.input(0)?, args.input(1)?);
    if exponent.len() != 1 || exponent.shape().len() > base.shape().len() || args.opset < 7 {
        return None;
    }
    let exponent = match exponent.dtype() {
        DType::F32 => f64::from(*values::<f32>(exponent)?.first()?),
        DType::F64 => *values::<f64>(exponent)?.first()?,
        DType::I32 => f64::from(*values::<i32>(exponent)?.first()?),
        DType::I64 => f64::from(i32::try_from(*values::<i64>(exponent)?.first()?).ok()?),
        _ => return None,
    };
    Some(vec![by_type!(base.dtype(), run(args, base, exponent))?])
}

/// Functions of one number.
pub(super) fn unary(args: &Args<'_>) -> Option<Vec<Tensor>> {
    fn run<T: Number>(args: &Args<'_>, x: &Tensor) -> Option<Tensor> {
        args.room(x.dtype(), x.shape())?;
        let op = args.node.op.as_str();
        let out: Vec<T> =
            values::<T>(x)?.into_iter().map(|v| v.function(op)).collect::<Option<_>>()?;
        tensor(x.shape().to_vec(), &out)
    }
    let x = args.input(0)?;
    Some(vec![by_type!(x.dtype(), run(args, x))?])
}

/// `Clip`: bounds are attributes before opset 11, inputs from it on.
pub(super) fn clip(args: &Args<'_>) -> Option<Vec<Tensor>> {
    fn run<T: Number>(args: &Args<'_>, x: &Tensor) -> Option<Tensor> {
        args.room(x.dtype(), x.shape())?;
        let bound = |i: usize| -> Option<Option<T>> {
            let Some(t) = args.input(i) else { return Some(None) };
            (t.len() == 1).then(|| values::<T>(t)?.first().copied()).flatten().map(Some)
        };
        let (least, most) = (bound(1)?, bound(2)?);
        let out: Vec<T> = values::<T>(x)?
            .into_iter()
            .map(|v| {
                if v.is_nan() {
                    return None;
                }
                let v = least.map_or(v, |least| if v < least { least } else { v });
                Some(most.map_or(v, |most| if v > most { most } else { v }))
            })
            .collect::<Option<_>>()?;
        tensor(x.shape().to_vec(), &out)
    }
    let x = args.input(0)?;
    if args.opset < 11 {
        return None;
    }
    Some(vec![by_type!(x.dtype(), run(args, x))?])
}

/// `Equal`, `Less`, `Greater` and the like.
pub(super) fn compare(args: &Args<'_>) -> Option<Vec<Tensor>> {
    fn run<T: Number>(args: &Args<'_>) -> Option<Tensor> {
        let op = args.node.op.as_str();
        let (shape, out) = zipped(args, args.input(0)?, args.input(1)?, |x: T, y: T| {
            Some(match op {
                "Equal" => x == y,
                "Less" => x < y,
                "LessOrEqual" => x <= y,
                "Greater" => x > y,
                "GreaterOrEqual" => x >= y,
                _ => return None,
            })
        })?;
        bool_tensor(shape, &out)
    }
    if args.opset < 7 {
        return None;
    }
    let dtype = args.input(0)?.dtype();
    if dtype == DType::Bool && args.node.op == "Equal" {
        return logic(args);
    }
    Some(vec![by_type!(dtype, run(args))?])
}

/// `And`, `Or`, `Xor`, and `Equal` of booleans.
pub(super) fn logic(args: &Args<'_>) -> Option<Vec<Tensor>> {
    if args.opset < 7 {
        return None;
    }
    let (a, b) = (args.input(0)?, args.input(1)?);
    let shape = broadcast(a.shape(), b.shape())?;
    args.room(DType::Bool, &shape)?;
    let (x, y) = (bools(a)?, bools(b)?);
    let at = Walk::spread(&shape, a.shape())?.zip(Walk::spread(&shape, b.shape())?);
    let out = at
        .map(|(i, j)| {
            let (x, y) = (*x.get(i)?, *y.get(j)?);
            Some(match args.node.op.as_str() {
                "And" => x && y,
                "Or" => x || y,
                "Xor" => x != y,
                "Equal" => x == y,
                _ => return None,
            })
        })
        .collect::<Option<Vec<_>>>()?;
    Some(vec![bool_tensor(shape, &out)?])
}

/// `Not`.
pub(super) fn not(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let x = args.input(0)?;
    args.room(DType::Bool, x.shape())?;
    let out: Vec<bool> = bools(x)?.into_iter().map(|v| !v).collect();
    Some(vec![bool_tensor(x.shape().to_vec(), &out)?])
}

/// `Where`.
pub(super) fn select(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let (condition, a, b) = (args.input(0)?, args.input(1)?, args.input(2)?);
    let shape = broadcast(&broadcast(condition.shape(), a.shape())?, b.shape())?;
    args.room(a.dtype(), &shape)?;
    let chosen = bools(condition)?;
    let (x, y) = (
        picked(a, shape.clone(), Walk::spread(&shape, a.shape())?)?,
        picked(b, shape.clone(), Walk::spread(&shape, b.shape())?)?,
    );
    let width = super::array::width(a.dtype()).filter(|_| a.dtype() == b.dtype())?;
    let (x, y) = (x.bytes().ok()?, y.bytes().ok()?);
    let mut out = Vec::with_capacity(x.len());
    let walk = Walk::spread(&shape, condition.shape())?;
    for (i, (x, y)) in walk.zip(x.chunks_exact(width).zip(y.chunks_exact(width))) {
        out.extend_from_slice(if *chosen.get(i)? { x } else { y });
    }
    Some(vec![Tensor::new(a.dtype(), shape, out.into()).ok()?])
}
