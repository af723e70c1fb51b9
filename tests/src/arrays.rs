//! Plain arrays: what fixtures hold, what oracles take and give.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};

/// Arrays by name.
pub type Arrays = BTreeMap<String, Array>;

/// A dense array, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: Data,
}

/// Elements of the types that fixtures have.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // each is the type's own name
pub enum Data {
    F32(Vec<f32>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    U8(Vec<u8>),
}

impl Array {
    /// Its elements; panics unless they are `f32`.
    pub fn f32(&self) -> &[f32] {
        match &self.data {
            Data::F32(data) => data,
            other => panic!("not f32: {other:?}"),
        }
    }
}

/// Reads a safetensors file with the `safetensors` crate.
pub fn read(path: &Path) -> Arrays {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.iter()
        .map(|(name, view)| {
            let raw = view.data();
            let data = match view.dtype() {
                Dtype::F32 => {
                    Data::F32(raw.as_chunks().0.iter().map(|c| f32::from_le_bytes(*c)).collect())
                }
                Dtype::I64 => {
                    Data::I64(raw.as_chunks().0.iter().map(|c| i64::from_le_bytes(*c)).collect())
                }
                Dtype::I32 => {
                    Data::I32(raw.as_chunks().0.iter().map(|c| i32::from_le_bytes(*c)).collect())
                }
                Dtype::U8 => Data::U8(raw.to_vec()),
                other => panic!("{}: {name} is {other:?}", path.display()),
            };
            (name.to_owned(), Array { shape: view.shape().to_vec(), data })
        })
        .collect()
}

/// The greatest absolute difference of two lists of equal length.
pub fn max_abs_diff(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The cosine similarity of two vectors.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
