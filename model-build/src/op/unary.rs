//! Ops whose output has the shape of the first input: element-wise functions, normalizations along
//! an axis, scatters, scans.

use super::cx::{Cx, Fact};
use crate::error::Result;
use crate::hub::DType;

/// The type and shape of the first input.
pub(super) fn same(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(cx.dtype(0), cx.shape(0).map(<[_]>::to_vec))])
}

/// The shape of the first input, boolean.
fn predicate(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(Some(DType::Bool), cx.shape(0).map(<[_]>::to_vec))])
}

/// `Identity`: what is known of the first input, elements included.
fn identity(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    Ok(vec![cx.fact(0).clone()])
}

/// `Neg`, `Abs`, `Not` …: like [`same`], and follows the elements of shape arithmetic.
fn neg(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let mut out = same(cx)?;
    out[0].data =
        cx.data(0).map(|d| d.iter().map(|n| n.mul(&super::len::Len::fixed(-1))).collect());
    Ok(out)
}

/// `Not`.
fn not(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let mut out = predicate(cx)?;
    out[0].data = cx.data(0).map(|d| d.iter().map(|n| super::len::Len::fixed(1).sub(n)).collect());
    Ok(out)
}

/// Ops along `axis`: [`same`], and the axis must exist.
fn along_axis(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    if let (Some(axis), Some(rank)) = (cx.int("axis")?, cx.rank(0)) {
        // Before opset 13 the axis splits a matrix view and may stand past the last one.
        if rank > 0 && !(cx.opset() < 13 && usize::try_from(axis) == Ok(rank)) {
            cx.axis(axis, rank)?;
        }
    }
    same(cx)
}

defs! {
    ABS = "Abs", 1, same;
    ACOS = "Acos", 7, same;
    ACOSH = "Acosh", 9, same;
    ASIN = "Asin", 7, same;
    ASINH = "Asinh", 9, same;
    ATAN = "Atan", 7, same;
    ATANH = "Atanh", 9, same;
    BITWISE_NOT = "BitwiseNot", 18, same;
    CEIL = "Ceil", 1, same;
    CELU = "Celu", 12, same;
    CLIP = "Clip", 1, same;
    COS = "Cos", 7, same;
    COSH = "Cosh", 9, same;
    CUM_SUM = "CumSum", 11, same;
    ELU = "Elu", 1, same;
    ERF = "Erf", 9, same;
    EXP = "Exp", 1, same;
    FLOOR = "Floor", 1, same;
    GELU = "Gelu", 20, same;
    GROUP_NORMALIZATION = "GroupNormalization", 18, same;
    HARD_SIGMOID = "HardSigmoid", 1, same;
    HARD_SWISH = "HardSwish", 14, same;
    HARDMAX = "Hardmax", 1, along_axis;
    IDENTITY = "Identity", 1, identity;
    INSTANCE_NORMALIZATION = "InstanceNormalization", 1, same;
    IS_INF = "IsInf", 10, predicate;
    IS_NAN = "IsNaN", 9, predicate;
    LEAKY_RELU = "LeakyRelu", 1, same;
    LOG = "Log", 1, same;
    LOG_SOFTMAX = "LogSoftmax", 1, along_axis;
    LP_NORMALIZATION = "LpNormalization", 1, along_axis;
    LRN = "LRN", 1, same;
    MEAN_VARIANCE_NORMALIZATION = "MeanVarianceNormalization", 9, same;
    MISH = "Mish", 18, same;
    NEG = "Neg", 1, neg;
    NOT = "Not", 1, not;
    PRELU = "PRelu", 1, same;
    RECIPROCAL = "Reciprocal", 1, same;
    RELU = "Relu", 1, same;
    REVERSE_SEQUENCE = "ReverseSequence", 10, same;
    RMS_NORMALIZATION = "RMSNormalization", 23, along_axis;
    ROUND = "Round", 11, same;
    SCATTER_ELEMENTS = "ScatterElements", 11, along_axis;
    SCATTER_ND = "ScatterND", 11, same;
    SELU = "Selu", 1, same;
    SHRINK = "Shrink", 9, same;
    SIGMOID = "Sigmoid", 1, same;
    SIGN = "Sign", 9, same;
    SIN = "Sin", 7, same;
    SINH = "Sinh", 9, same;
    SOFTMAX = "Softmax", 1, along_axis;
    SOFTPLUS = "Softplus", 1, same;
    SOFTSIGN = "Softsign", 1, same;
    SQRT = "Sqrt", 1, same;
    SWISH = "Swish", 24, same;
    TAN = "Tan", 7, same;
    TANH = "Tanh", 1, same;
    THRESHOLDED_RELU = "ThresholdedRelu", 10, same;
    TRILU = "Trilu", 14, same;
}
