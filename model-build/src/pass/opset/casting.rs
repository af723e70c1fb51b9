//! Element types that an older definition does not take: casts around the node where that is exact.
//!
//! ```text
//! before (opset 12): x u8 ─▶ Max ─▶ y u8
//! after  (opset 11): x u8 ─▶ Cast f32 ─▶ Max ─▶ Cast u8 ─▶ y
//! ```

use super::site::Site;
use super::{Refusal, table};
use crate::error::Result;
use crate::hub::{AttrValue, DType, Tensor, Type};

/// Operators that only move or pick elements, or compare them: any type that holds the values does.
const ORDER: &[&str] = &[
    "ArgMax",
    "ArgMin",
    "Clip",
    "Compress",
    "Concat",
    "DepthToSpace",
    "Equal",
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
    "GatherND",
    "Greater",
    "GreaterOrEqual",
    "Identity",
    "Less",
    "LessOrEqual",
    "Max",
    "MaxPool",
    "Min",
    "NonZero",
    "OneHot",
    "Pad",
    "ReduceMax",
    "ReduceMin",
    "Relu",
    "Reshape",
    "ReverseSequence",
    "Scatter",
    "ScatterElements",
    "ScatterND",
    "Shape",
    "Sign",
    "Size",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "TopK",
    "Transpose",
    "Trilu",
    "Unique",
    "Unsqueeze",
    "Where",
];

/// Operators whose integer results are right modulo the width of the type they are cast back to.
const RING: &[&str] = &[
    "Abs",
    "Add",
    "CumSum",
    "Mul",
    "Neg",
    "ReduceL1",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Sub",
    "Sum",
];

/// Operators whose types do not follow from their inputs' alone, or that hold graphs.
const NEVER: &[&str] = &[
    "Cast",
    "CastLike",
    "Constant",
    "ConstantOfShape",
    "DequantizeLinear",
    "EyeLike",
    "If",
    "Loop",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Scan",
];

/// Types that hold every value of `dtype`, the best first, for an operator.
fn wider(dtype: DType, op: &str) -> &'static [DType] {
    use DType::{BF16, Bool, F16, F32, F64, I8, I16, I32, I64, U8, U16, U32};
    if NEVER.contains(&op) {
        return &[];
    }
    let (order, ring) = (ORDER.contains(&op), RING.contains(&op));
    match dtype {
        F16 | BF16 => &[F32, F64],
        Bool if order => &[I32, F32],
        I8 | U8 | I16 | U16 if order => &[I32, F32, I64, F64],
        I8 | U8 | I16 | U16 if ring => &[I32, I64],
        I32 | U32 if order => &[I64, F64],
        I32 | U32 if ring => &[I64],
        I8 | U8 | I16 | U16 if op == "Div" => &[I32, I64],
        I32 | U32 if op == "Div" => &[I64],
        _ => &[],
    }
}

/// Casts the inputs and outputs of the node whose element type the definition does not take.
pub(super) fn around(site: &mut Site<'_, '_>, old: &table::Version) -> Result<()> {
    let inputs: Vec<usize> = (0..site.node.inputs.len())
        .filter(|i| {
            site.node.input(*i).and_then(|v| site.ty_of(v)).is_some_and(|t| !old.takes(*i, t))
        })
        .collect();
    let outputs: Vec<usize> = (0..site.node.outputs.len())
        .filter(|i| {
            site.node.output(*i).and_then(|v| site.ty_of(v)).is_some_and(|t| !old.gives(*i, t))
        })
        .collect();
    let first_in = inputs.first().and_then(|i| site.node.input(*i));
    let first_out = outputs.first().and_then(|i| site.node.output(*i));
    let Some(ty) = first_in.or(first_out).and_then(|v| site.ty_of(v)).cloned() else {
        return Ok(());
    };
    let op = site.node.op.clone();
    let refused = |site: &Site<'_, '_>| {
        site.refuse(Refusal::ElementType, format!("`{op}` does not take {}", kind(&ty)))
    };
    let Some((narrow, _)) = ty.as_tensor() else { return Err(refused(site)) };
    let same = |site: &Site<'_, '_>| {
        let ins = inputs.iter().filter_map(|i| site.node.input(*i));
        let outs = outputs.iter().filter_map(|i| site.node.output(*i));
        ins.chain(outs)
            .all(|v| site.ty_of(v).and_then(Type::as_tensor).is_some_and(|(d, _)| d == narrow))
    };
    let fits = |wide: DType| {
        let ty = Type::Tensor { dtype: wide, shape: None };
        inputs.iter().all(|i| old.takes(*i, &ty)) && outputs.iter().all(|i| old.gives(*i, &ty))
    };
    let wide = wider(narrow, &op).iter().copied().find(|wide| fits(*wide));
    let (Some(wide), true, true) = (wide, same(site), can_cast(narrow, site.opset)) else {
        return Err(refused(site));
    };
    for i in inputs {
        let x = site.input(i)?;
        let cast = site.cast(x, wide)?;
        site.set_input(i, Some(cast));
    }
    for i in outputs {
        let Some(out) = site.node.output(i) else { continue };
        let inner = site.fresh("wide")?;
        site.node.outputs[i] = Some(inner);
        site.put();
        site.op_into(out, "Cast", &[inner], &[to(narrow)])?;
    }
    site.put();
    Ok(())
}

fn kind(ty: &Type) -> String {
    match ty {
        Type::Tensor { dtype, .. } => format!("{dtype} here"),
        other => format!("{other}"),
    }
}

/// Whether `Cast` takes and gives the type in an operator set.
pub(super) fn can_cast(dtype: DType, opset: i64) -> bool {
    let ty = Type::Tensor { dtype, shape: None };
    table::at("Cast", opset).is_some_and(|cast| cast.takes(0, &ty) && cast.gives(0, &ty))
}

/// The attribute of a `Cast`.
pub(super) fn to(dtype: DType) -> (&'static str, AttrValue) {
    ("to", AttrValue::Int(dtype.number()))
}

/// A constant of an element type from numbers that it holds exactly, or floats to be rounded; `None`
/// for types that numbers are not written in here.
#[allow(clippy::cast_possible_truncation)] // floats are rounded on purpose
pub(super) fn number(dtype: DType, shape: Vec<u64>, values: &[f64]) -> Option<Tensor> {
    use half::{bf16, f16};
    fn ints<T: TryFrom<i128>, const N: usize>(
        values: &[f64],
        bytes: fn(T) -> [u8; N],
    ) -> Option<Vec<u8>> {
        let one = |v: &f64| T::try_from(*v as i128).ok().map(bytes);
        Some(values.iter().map(one).collect::<Option<Vec<_>>>()?.concat())
    }
    let bytes: Vec<u8> = match dtype {
        DType::F64 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DType::F32 => values.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect(),
        DType::F16 => values.iter().flat_map(|v| f16::from_f64(*v).to_le_bytes()).collect(),
        DType::BF16 => values.iter().flat_map(|v| bf16::from_f64(*v).to_le_bytes()).collect(),
        DType::I64 => ints(values, i64::to_le_bytes)?,
        DType::I32 => ints(values, i32::to_le_bytes)?,
        DType::I16 => ints(values, i16::to_le_bytes)?,
        DType::I8 => ints(values, i8::to_le_bytes)?,
        DType::U64 => ints(values, u64::to_le_bytes)?,
        DType::U32 => ints(values, u32::to_le_bytes)?,
        DType::U16 => ints(values, u16::to_le_bytes)?,
        DType::U8 => ints(values, u8::to_le_bytes)?,
        DType::Bool => values.iter().map(|v| u8::from(*v != 0.0)).collect(),
        _ => return None,
    };
    Tensor::new(dtype, shape, bytes.into()).ok()
}

/// The tensor that a `Constant` node holds to give a value in an operator set, and the type that is
/// then to be cast to: before opset 9 it gives floats only. The error is a type that floats do not
/// hold.
pub(super) fn constant_node(tensor: Tensor, opset: i64) -> Result<(Tensor, Option<DType>), DType> {
    let dtype = tensor.dtype();
    if opset >= 9 || matches!(dtype, DType::F16 | DType::F32 | DType::F64) {
        return Ok((tensor, None));
    }
    let values = whole_numbers(&tensor).ok_or(dtype)?;
    let shape = tensor.shape().to_vec();
    let floats = number(DType::F64, shape, &values).ok_or(dtype)?;
    Ok((floats, Some(dtype)))
}

/// The elements of an integer tensor, if f64 holds all of them.
fn whole_numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    let bytes = tensor.bytes().ok()?;
    macro_rules! small {
        ($ty:ty) => {
            bytes.as_chunks().0.iter().map(|c| Some(f64::from(<$ty>::from_le_bytes(*c)))).collect()
        };
    }
    #[allow(clippy::cast_precision_loss)] // below 2^53
    let exact = |v: i64| (v.unsigned_abs() <= 1 << 53).then_some(v as f64);
    match tensor.dtype() {
        DType::I64 => bytes.as_chunks().0.iter().map(|c| exact(i64::from_le_bytes(*c))).collect(),
        DType::I32 => small!(i32),
        DType::I16 => small!(i16),
        DType::I8 => small!(i8),
        DType::U32 => small!(u32),
        DType::U16 => small!(u16),
        DType::U8 | DType::Bool => small!(u8),
        _ => None,
    }
}
