//! Importance matrices: the mean square of each column's input, as llama.cpp's `imatrix` records it,
//! in the GGUF form and in the older one (`.dat`).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::file_type::{FileType, Id};
use crate::bytes::Cursor;
use crate::error::{Error, Result};
use crate::hub::{DType, Gguf, Importance as Use, Meta, MetaArray, Tensor};

/// The importance of columns, by the tensor's GGUF name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Importance {
    /// For each tensor, a finite weight ≥ 0 for each column; for stacked experts, one expert after
    /// the other.
    pub by_name: BTreeMap<String, Arc<[f32]>>,
    /// What it was measured on.
    pub datasets: Vec<String>,
    /// In how many chunks of text; 0 where the file does not say.
    pub chunk_count: u32,
}

/// A value of an entry, checked against what encoders take.
fn checked(name: &str, value: f32) -> Result<f32> {
    if value.is_finite() && value >= 0.0 {
        return Ok(value);
    }
    Err(Error::malformed(format!("an importance of {value} is neither 0 nor a positive number"))
        .item(name)
        .hint("measure the importance matrix again: the model gave infinities or NaN"))
}

fn no_file(what: &str) -> Error {
    Error::malformed(format!("no importance matrix: {what}"))
        .hint("llama.cpp's tool `llama-imatrix` makes one from a text and the unquantized model")
}

/// The two tensors of an entry.
#[derive(Default)]
struct Sums<'a> {
    squares: Option<&'a Tensor>,
    counts: Option<&'a Tensor>,
}

/// The floats of one of an entry's tensors.
fn floats(name: &str, part: &str, tensor: Option<&Tensor>) -> Result<Vec<f32>> {
    let tensor =
        tensor.ok_or_else(|| Error::malformed(format!("the entry has no `{part}`")).item(name))?;
    if tensor.dtype() != DType::F32 {
        let message = format!("`{part}` is {}, and must be f32", tensor.dtype());
        return Err(Error::malformed(message).item(name));
    }
    tensor.to_f32().map_err(|e| e.item(name))
}

/// Sums of squares divided by how often each of the stacked matrices was used. One that was never
/// used weighs all its columns the same.
fn means(name: &str, squares: &[f32], counts: &[f32]) -> Result<Arc<[f32]>> {
    if squares.is_empty() || counts.is_empty() || !squares.len().is_multiple_of(counts.len()) {
        return Err(Error::malformed(format!(
            "{} sums do not divide among {} counts",
            squares.len(),
            counts.len()
        ))
        .item(name));
    }
    let columns = squares.len() / counts.len();
    let mut out = Vec::with_capacity(squares.len());
    for (sums, count) in squares.chunks_exact(columns).zip(counts) {
        let count = checked(name, *count)?.round();
        for sum in sums {
            out.push(if count > 0.0 { checked(name, sum / count)? } else { 1.0 });
        }
    }
    Ok(out.into())
}

impl Importance {
    /// From the GGUF form: `NAME.in_sum2` and `NAME.counts` for each tensor.
    ///
    /// # Errors
    /// Keys or tensors are missing, or lengths or values are impossible; names the entry.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let key = |name: &str| {
            gguf.get(name).ok_or_else(|| no_file(&format!("the GGUF file has no key `{name}`")))
        };
        let Some(MetaArray::Text(datasets)) = key("imatrix.datasets")?.as_array() else {
            return Err(no_file("`imatrix.datasets` is no array of strings"));
        };
        let chunks = key("imatrix.chunk_count")?.as_u64().and_then(|n| u32::try_from(n).ok());
        let chunk_count = chunks.ok_or_else(|| no_file("`imatrix.chunk_count` is no number"))?;
        key("imatrix.chunk_size")?;
        let mut entries: BTreeMap<&str, Sums<'_>> = BTreeMap::new();
        for (name, tensor) in &gguf.tensors {
            if let Some(name) = name.strip_suffix(".in_sum2") {
                entries.entry(name).or_default().squares = Some(tensor);
            } else if let Some(name) = name.strip_suffix(".counts") {
                entries.entry(name).or_default().counts = Some(tensor);
            }
        }
        if entries.is_empty() {
            return Err(no_file("the GGUF file has no tensor `….in_sum2`"));
        }
        let mut by_name = BTreeMap::new();
        for (name, sums) in entries {
            let squares = floats(name, "in_sum2", sums.squares)?;
            let counts = floats(name, "counts", sums.counts)?;
            by_name.insert(name.to_owned(), means(name, &squares, &counts)?);
        }
        let datasets = datasets.iter().map(|d| String::from_utf8_lossy(d).into_owned()).collect();
        Ok(Self { by_name, datasets, chunk_count })
    }

    /// From the older form: entries of a name, a number of calls and as many times the values, then
    /// the number of chunks and the dataset, which old files lack.
    ///
    /// # Errors
    /// The bytes are no such file; names the entry.
    pub fn from_legacy(bytes: &[u8]) -> Result<Self> {
        let mut cursor = Cursor::new(bytes);
        let count = int(&mut cursor).ok().filter(|n| *n > 0);
        let count = count.ok_or_else(|| no_file("the number of entries is not positive"))?;
        let mut by_name = BTreeMap::new();
        for _ in 0..count {
            let name = legacy_text(&mut cursor)?;
            let values = legacy_values(&mut cursor, &name).map_err(|e| e.item(&name))?;
            if by_name.insert(name.clone(), values).is_some() {
                return Err(Error::malformed("the entry stands there twice").item(name));
            }
        }
        let mut out = Self { by_name, ..Self::default() };
        if cursor.rest().is_empty() {
            return Ok(out);
        }
        out.chunk_count = u32::try_from(int(&mut cursor)?).unwrap_or(0);
        if !cursor.rest().is_empty() {
            let dataset = legacy_text(&mut cursor)?;
            out.datasets.extend((!dataset.is_empty()).then_some(dataset));
        }
        if cursor.rest().is_empty() {
            return Ok(out);
        }
        Err(no_file(&format!("{} bytes follow its end", cursor.rest().len())))
    }

    /// What llama-quantize notes in the file it makes: where the matrix came from. `file` is its
    /// name; texts are cut after 127 bytes, as there.
    pub fn provenance(&self, file: &str) -> Vec<(String, Meta)> {
        let text = |text: &str| {
            let bytes = text.as_bytes();
            Meta::Text(Bytes::copy_from_slice(&bytes[..bytes.len().min(127)]))
        };
        let mut out = vec![("quantize.imatrix.file".to_owned(), text(file))];
        if let Some(dataset) = self.datasets.first() {
            out.push(("quantize.imatrix.dataset".to_owned(), text(dataset)));
        }
        let entries = u32::try_from(self.by_name.len()).unwrap_or(u32::MAX);
        out.push(("quantize.imatrix.entries_count".to_owned(), Meta::U32(entries)));
        if self.chunk_count > 0 {
            out.push(("quantize.imatrix.chunks_count".to_owned(), Meta::U32(self.chunk_count)));
        }
        out
    }

    /// The weights of a tensor, if there are some: see [`of_tensor`](Self::of_tensor).
    ///
    /// # Errors
    /// There are not as many as columns.
    pub fn weights(matrix: Option<&Self>, name: &str, shape: &[u64]) -> Result<Option<Arc<[f32]>>> {
        let Some(weights) = matrix.and_then(|m| m.by_name.get(name)) else { return Ok(None) };
        let columns = shape.last().copied().unwrap_or(1);
        let stacked = shape.iter().rev().nth(2).copied().unwrap_or(1);
        if columns.checked_mul(stacked) == Some(weights.len() as u64) {
            return Ok(Some(weights.clone()));
        }
        if is_embedding(name) {
            return Ok(None);
        }
        Err(Error::malformed(format!(
            "the importance matrix has {} weights for a tensor of {stacked} × {columns} columns",
            weights.len()
        ))
        .item(name)
        .hint("the matrix was measured on another model: take the one of this model"))
    }

    /// The weights to encode a tensor with, one for each column of each stacked matrix. `matrix` is
    /// what there is of a matrix for the whole model, `shape` is outermost first.
    ///
    /// As in llama-quantize, token embeddings and the output layer do without where others must not,
    /// and token embeddings do not have to fit.
    ///
    /// # Errors
    /// The type needs weights and there are none, or there are not as many as columns.
    pub fn of_tensor(
        matrix: Option<&Self>,
        name: &str,
        shape: &[u64],
        to: DType,
        file_type: Option<&FileType>,
    ) -> Result<Option<Arc<[f32]>>> {
        let DType::Block(def) = to else { return Ok(None) };
        if let Some(weights) = Self::weights(matrix, name, shape)? {
            return Ok(Some(weights));
        }
        let embedding = is_embedding(name);
        let excused = embedding || name == "output.weight";
        let required = def.importance == Use::Required || !excused && needs(def.name, file_type);
        if !required {
            return Ok(None);
        }
        Err(Error::manifest(format!("{} gives unusable weights without importance", def.name))
            .item(name)
            .hint(match matrix {
                Some(_) => "the importance matrix has no entry of that name: measure it on more text, or override the tensor's type",
                None => "name an importance matrix as `importance` in `quantization`, or choose a file type of 3 bits or more",
            }))
    }
}

/// Whether it is a table of embeddings.
fn is_embedding(name: &str) -> bool {
    matches!(name, "token_embd.weight" | "per_layer_token_embd.weight")
}

/// Whether llama-quantize refuses to make a type without importance.
pub(super) fn needs(to: &str, file_type: Option<&FileType>) -> bool {
    match to {
        "iq1_s" | "iq1_m" | "iq2_xxs" | "iq2_xs" | "iq2_s" | "iq3_xxs" => true,
        "q2_k" => file_type.is_some_and(|t| t.id == Id::Q2KS),
        _ => false,
    }
}

fn int(cursor: &mut Cursor<'_>) -> Result<i32> {
    Ok(i32::from_le_bytes(cursor.array()?))
}

/// A length and as many bytes, up to the first that is 0.
fn legacy_text(cursor: &mut Cursor<'_>) -> Result<String> {
    let len = u64::try_from(int(cursor)?).map_err(|_| no_file("a length is negative"))?;
    let bytes = cursor.take(len)?;
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    let text = std::str::from_utf8(&bytes[..end]);
    Ok(text.map_err(|_| no_file("a name is no UTF-8"))?.to_owned())
}

/// The values of an entry: sums over calls, divided by their number.
fn legacy_values(cursor: &mut Cursor<'_>, name: &str) -> Result<Arc<[f32]>> {
    let calls = int(cursor)?;
    let len = u64::try_from(int(cursor)?).ok().filter(|n| *n > 0);
    let len = len.ok_or_else(|| no_file("the number of values is not positive"))?;
    let bytes = cursor.take(len.saturating_mul(4))?;
    #[allow(clippy::cast_precision_loss)] // llama.cpp divides by the rounded number, too
    let calls = if calls > 0 { calls as f32 } else { 1.0 };
    let values = bytes.as_chunks().0.iter().map(|b| checked(name, f32::from_le_bytes(*b) / calls));
    values.collect()
}

#[cfg(test)]
#[path = "imatrix_tests.rs"]
mod tests;
