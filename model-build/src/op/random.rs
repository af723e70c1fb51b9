//! Random numbers: `RandomNormal`, `RandomUniform`, their `…Like`, `Bernoulli`, `Multinomial`.

use super::cx::{Cx, Fact};
use super::len::Len;
use crate::error::Result;
use crate::hub::DType;

/// The shape and type of the attributes.
fn random(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let shape = cx.int_list("shape")?.map(|s| s.iter().copied().map(Len::fixed).collect());
    Ok(vec![Fact::new(Some(cx.dtype_attr("dtype")?.unwrap_or(DType::F32)), shape)])
}

/// The shape of the input, and its type where the attribute does not say another.
fn random_like(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let dtype = cx.dtype_attr("dtype")?.or(cx.dtype(0));
    Ok(vec![Fact::new(dtype, cx.shape(0).map(<[_]>::to_vec))])
}

/// `[batch, classes]` → `[batch, sample_size]`.
fn multinomial(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    cx.want_rank(0, 2)?;
    let dtype = cx.dtype_attr("dtype")?.unwrap_or(DType::I32);
    let batch = cx.shape(0).and_then(|s| s.first()).cloned().unwrap_or(Len::UNKNOWN);
    let samples = Len::fixed(cx.int_or("sample_size", 1)?);
    Ok(vec![Fact::new(Some(dtype), Some(vec![batch, samples]))])
}

defs! {
    BERNOULLI = "Bernoulli", 15, random_like;
    MULTINOMIAL = "Multinomial", 7, multinomial;
    RANDOM_NORMAL = "RandomNormal", 1, random;
    RANDOM_NORMAL_LIKE = "RandomNormalLike", 1, random_like;
    RANDOM_UNIFORM = "RandomUniform", 1, random;
    RANDOM_UNIFORM_LIKE = "RandomUniformLike", 1, random_like;
}
