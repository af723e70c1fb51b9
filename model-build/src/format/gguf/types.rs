//! Numbers of element types in GGUF files (`ggml_type`).

use crate::error::{Error, Result};
use crate::hub::DType;
use crate::quantize;

/// The types whose elements stand alone.
const PLAIN: &[(u32, DType)] = &[
    (0, DType::F32),
    (1, DType::F16),
    (24, DType::I8),
    (25, DType::I16),
    (26, DType::I32),
    (27, DType::I64),
    (28, DType::F64),
    (30, DType::BF16),
];

/// Types that files had once and that ggml no longer reads, and what a user does about each.
const REMOVED: &[(u32, &str, &str)] = &[
    (4, "Q4_2", REQUANTIZE),
    (5, "Q4_3", REQUANTIZE),
    (31, "Q4_0_4_4", REPACKED),
    (32, "Q4_0_4_8", REPACKED),
    (33, "Q4_0_8_8", REPACKED),
    (36, "IQ4_NL_4_4", REPACKED),
    (37, "IQ4_NL_4_8", REPACKED),
    (38, "IQ4_NL_8_8", REPACKED),
];
const REQUANTIZE: &str =
    "this quantization existed in April 2023 only: convert from the original unquantized model";
const REPACKED: &str = "rows of this type are interleaved for one kind of processor: fetch the plain Q4_0 or IQ4_NL file of the model, which is repacked when it is loaded";

/// Types that ggml computes with and keeps in no file.
const INTERMEDIATE: &[(u32, &str)] = &[(9, "Q8_1"), (15, "Q8_K")];

/// The element type of a number.
///
/// # Errors
/// The number is of a type that was removed, that no file holds, or that is unknown.
pub(in crate::format) fn of_id(id: u32) -> Result<DType> {
    if let Some((_, dtype)) = PLAIN.iter().find(|(n, _)| *n == id) {
        return Ok(*dtype);
    }
    if let Some(def) = quantize::by_ggml_id(id) {
        return Ok(DType::Block(def));
    }
    if let Some((_, name, way_out)) = REMOVED.iter().find(|(n, ..)| *n == id) {
        return Err(Error::unsupported(format!(
            "element type {id} is {name}, which was removed from ggml"
        ))
        .hint(*way_out));
    }
    if let Some((_, name)) = INTERMEDIATE.iter().find(|(n, _)| *n == id) {
        return Err(Error::unsupported(format!(
            "element type {id} is {name}, which ggml computes with and no file holds"
        )));
    }
    Err(Error::unsupported(format!("there is no element type of number {id} here"))
        .hint("the file is damaged, or was made by a newer ggml or a fork of it"))
}

/// The number of an element type.
///
/// # Errors
/// GGUF has no such type.
pub(in crate::format) fn id_of(dtype: DType) -> Result<u32> {
    if let DType::Block(def) = dtype {
        return Ok(def.ggml_id);
    }
    PLAIN.iter().find(|(_, d)| *d == dtype).map(|(id, _)| *id).ok_or_else(|| {
        Error::unsupported(format!("GGUF has no element type `{dtype}`")).hint(
            "it has f32, f16, bf16, f64, i8, i16, i32, i64 and the block types: give the tensor one of these",
        )
    })
}
