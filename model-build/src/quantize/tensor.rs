//! Whole tensors: encoded to a block type, decoded, converted; all made when they are read.

use std::sync::Arc;

use super::float;
use super::simd::float::largest_magnitude;
use crate::error::{Error, Result};
use crate::hub::{BlockDef, DType, Importance, Kernel, Produce, Tensor};

/// Elements that are worked on at a time: few enough to stay in a core's second-level cache.
const BATCH: u64 = 1 << 16;

/// The tensor in a block type, encoded as it is read.
///
/// The source is of any floating-point type of 16 bits or more, or of a block type, which is
/// decoded first; a source of that very type is returned as it is. `importance` has a finite
/// weight ≥ 0 for each element of a row, or, for stacked matrices `[…, rows, columns]`, for each
/// element of a row of each matrix. A weight that is not finite, or too large for the type, is an
/// error when it is read.
pub fn encode(
    tensor: &Tensor,
    def: &'static BlockDef,
    importance: Option<Arc<[f32]>>,
) -> Result<Tensor> {
    let to = DType::Block(def);
    if tensor.dtype() == to {
        return Ok(tensor.clone());
    }
    readable(tensor.dtype(), to)?;
    let columns = tensor.shape().last().copied().unwrap_or(1);
    let block_len = def.block_len as u64;
    if !columns.is_multiple_of(block_len) {
        return Err(Error::unsupported(format!(
            "rows of {columns} elements are no whole number of {} blocks of {block_len}",
            def.name
        ))
        .hint("choose a type whose blocks divide the rows, or keep the tensor in f16"));
    }
    let importance = usable_importance(tensor, def, importance)?;
    // Without importance blocks do not see the row they are in, so long rows can be cut.
    let piece = if importance.is_none() && columns > BATCH { block_len } else { columns };
    let steps = Steps::new(tensor, piece)?;
    let data = Encoded { source: tensor.clone(), def, importance, steps, kernel: Kernel::best() };
    Tensor::lazy(to, tensor.shape().to_vec(), Arc::new(data))
}

/// The tensor as f32, decoded as it is read: from any block type, or converted from a
/// floating-point type.
pub fn decode(tensor: &Tensor) -> Result<Tensor> {
    convert(tensor, DType::F32)
}

/// The tensor in another floating-point type of 16 bits or more, converted as it is read: from any
/// such type or block type, through f32, rounded to nearest, ties to even. Too large numbers become
/// infinite. A tensor of that very type is returned as it is.
pub fn convert(tensor: &Tensor, to: DType) -> Result<Tensor> {
    let from = tensor.dtype();
    if from == to {
        return Ok(tensor.clone());
    }
    readable(from, to)?;
    if !to.is_float() {
        return Err(Error::bug(format!("{to} is no type to convert {from} to")));
    }
    let steps = Steps::new(tensor, 1)?;
    let data = Converted { source: tensor.clone(), to, steps, kernel: Kernel::best() };
    Tensor::lazy(to, tensor.shape().to_vec(), Arc::new(data))
}

fn readable(from: DType, to: DType) -> Result<()> {
    if float::is_readable(from) {
        return Ok(());
    }
    Err(Error::unsupported(format!("{from} elements cannot be stored as {to}"))
        .hint("only f64, f32, f16, bf16 and block types can; leave this tensor as it is"))
}

/// The importance that decides bytes: checked, and dropped where the type has no use for it.
fn usable_importance(
    tensor: &Tensor,
    def: &BlockDef,
    importance: Option<Arc<[f32]>>,
) -> Result<Option<Arc<[f32]>>> {
    let Some(importance) = importance else {
        if def.importance == Importance::Required {
            return Err(Error::unsupported(format!(
                "{} cannot be encoded without the importance of columns",
                def.name
            ))
            .hint("give an importance matrix, or choose a type that needs none"));
        }
        return Ok(None);
    };
    let columns = tensor.shape().last().copied().unwrap_or(1);
    let matrices: u64 = tensor.shape().iter().rev().skip(2).product();
    let count = importance.len() as u64;
    if count != columns && columns.checked_mul(matrices) != Some(count) {
        let stacked = match matrices {
            0 | 1 => String::new(),
            n => format!(", or {columns} for each of {n} matrices"),
        };
        return Err(Error::malformed(format!(
            "the importance has {count} values, the tensor {:?} takes {columns}{stacked}",
            tensor.shape()
        ))
        .hint("use an importance matrix that was made with this model"));
    }
    if let Some(at) = importance.iter().position(|w| !w.is_finite() || *w < 0.0) {
        return Err(Error::malformed(format!(
            "the importance of column {at} is {}, not a number of 0 or more",
            importance.get(at).copied().unwrap_or_default()
        )));
    }
    Ok((def.importance != Importance::Ignored).then_some(importance))
}

/// How a source is cut into steps that it can be read in.
struct Steps {
    /// Elements of a step, the last one of the tensor excepted.
    elements: u64,
    /// Elements of a unit of the source and that its bytes.
    unit: (u64, u64),
}

impl Steps {
    /// Steps of whole `piece`s of elements and of whole units of the source.
    fn new(source: &Tensor, piece: u64) -> Result<Self> {
        let unit = match source.dtype() {
            DType::Block(def) => (def.block_len as u64, def.block_bytes as u64),
            dtype => (1, dtype.bits() / 8),
        };
        let too_large = || Error::bug("a granularity larger than 2^64");
        let granule = least_common_multiple(unit.1, source.granularity()).ok_or_else(too_large)?;
        let readable = (granule / unit.1).checked_mul(unit.0).ok_or_else(too_large)?;
        let elements = least_common_multiple(readable, piece.max(1)).ok_or_else(too_large)?;
        Ok(Self { elements, unit })
    }

    /// Elements of a batch: as many steps as make about [`BATCH`], at least one.
    fn batch(&self) -> u64 {
        self.elements.saturating_mul((BATCH / self.elements).max(1))
    }

    /// Reads `count` elements from `start` on, as f32.
    fn read(
        &self,
        source: &Tensor,
        kernel: Kernel,
        (start, count): (u64, usize),
        scratch: &mut Scratch,
    ) -> Result<()> {
        let past = || Error::bug("a read past the end of a tensor");
        let (elements, bytes) = self.unit;
        let from = (start / elements).checked_mul(bytes).ok_or_else(past)?;
        let len = (count as u64 / elements).checked_mul(bytes).ok_or_else(past)?;
        let len = usize::try_from(len).map_err(|_| past())?;
        scratch.values.resize(count, 0.0);
        if let Some(ready) = source.ready_bytes() {
            let from = usize::try_from(from).map_err(|_| past())?;
            let bytes = ready.get(from..).and_then(|b| b.get(..len)).ok_or_else(past)?;
            return float::widen(kernel, source.dtype(), bytes, &mut scratch.values);
        }
        scratch.bytes.resize(len, 0);
        source.read_at(from, &mut scratch.bytes)?;
        float::widen(kernel, source.dtype(), &scratch.bytes, &mut scratch.values)
    }
}

fn least_common_multiple(a: u64, b: u64) -> Option<u64> {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a.checked_div(x)?.checked_mul(b)
}

/// What a call of `produce` works in.
#[derive(Default)]
struct Scratch {
    bytes: Vec<u8>,
    values: Vec<f32>,
}

struct Encoded {
    source: Tensor,
    def: &'static BlockDef,
    importance: Option<Arc<[f32]>>,
    steps: Steps,
    kernel: Kernel,
}

impl Produce for Encoded {
    fn granularity(&self) -> u64 {
        let blocks = self.steps.elements / self.def.block_len as u64;
        blocks.saturating_mul(self.def.block_bytes as u64)
    }

    fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let mut start = offset / self.def.block_bytes as u64 * self.def.block_len as u64;
        let mut scratch = Scratch::default();
        let mut out = out;
        while !out.is_empty() {
            let left = (out.len() / self.def.block_bytes).saturating_mul(self.def.block_len);
            let count = left.min(usize::try_from(self.steps.batch()).unwrap_or(usize::MAX));
            self.steps.read(&self.source, self.kernel, (start, count), &mut scratch)?;
            let bytes = count / self.def.block_len * self.def.block_bytes;
            let Some((now, rest)) = out.split_at_mut_checked(bytes).filter(|_| bytes > 0) else {
                return Err(Error::bug("a read that does not end at a block"));
            };
            self.encode(start, &scratch.values, now)?;
            out = rest;
            start += count as u64;
        }
        Ok(())
    }

    fn recipe(&self) -> Option<(String, Vec<Tensor>)> {
        let importance = match &self.importance {
            None => "none".to_owned(),
            Some(values) => {
                let mut hasher = blake3::Hasher::new();
                values.iter().for_each(|v| {
                    hasher.update(&v.to_le_bytes());
                });
                hasher.finalize().to_string()
            }
        };
        let BlockDef { name, revision, .. } = self.def;
        let text = format!("encode {name} revision {revision}, importance {importance}");
        Some((text, vec![self.source.clone()]))
    }
}

impl Encoded {
    /// Encodes the elements from `start` on.
    fn encode(&self, start: u64, values: &[f32], out: &mut [u8]) -> Result<()> {
        let largest = largest_magnitude(self.kernel, values);
        if largest >= f32::INFINITY.to_bits() {
            return Err(self.refuse(start, values, |v| !v.is_finite()));
        }
        match &self.importance {
            None => (self.def.encode)(self.kernel, values, None, values.len(), out),
            Some(importance) => self.encode_rows(start, values, importance, out)?,
        }
        // Scales are f16: no type loses a weight below a quarter of that type's range.
        if largest >= 16384f32.to_bits() {
            let mut decoded = vec![0.0; values.len()];
            (self.def.decode)(out, &mut decoded);
            if decoded.iter().any(|v| !v.is_finite()) {
                return Err(self.refuse(start, values, |v| v.abs().to_bits() == largest));
            }
        }
        Ok(())
    }

    /// Encodes whole rows, each with the importance of its matrix.
    fn encode_rows(
        &self,
        start: u64,
        values: &[f32],
        importance: &[f32],
        out: &mut [u8],
    ) -> Result<()> {
        let bug = || Error::bug("rows and their importance do not fit");
        let columns = self.columns();
        let shared = importance.len() == columns;
        let rows = match self.source.shape() {
            _ if shared => u64::MAX,
            [.., rows, _] => *rows,
            _ => 1,
        };
        let row_bytes = columns / self.def.block_len * self.def.block_bytes;
        let (mut values, mut out) = (values, out);
        let mut row = start.checked_div(columns as u64).ok_or_else(bug)?;
        while !values.is_empty() {
            let matrix = usize::try_from(row / rows).map_err(|_| bug())?;
            let count = usize::try_from(rows - row % rows).unwrap_or(usize::MAX);
            let count = count.min(values.len() / columns).max(1);
            let weights = matrix.checked_mul(columns).and_then(|at| importance.get(at..));
            let weights = weights.and_then(|w| w.get(..columns)).ok_or_else(bug)?;
            let (now, later) = values.split_at_checked(count * columns).ok_or_else(bug)?;
            let (to, rest) = out.split_at_mut_checked(count * row_bytes).ok_or_else(bug)?;
            (self.def.encode)(self.kernel, now, Some(weights), columns, to);
            (values, out) = (later, rest);
            row += count as u64;
        }
        Ok(())
    }

    fn columns(&self) -> usize {
        let columns = self.source.shape().last().copied().unwrap_or(1);
        usize::try_from(columns).unwrap_or(usize::MAX)
    }

    /// The error of the first weight that is so.
    fn refuse(&self, start: u64, values: &[f32], is: impl Fn(f32) -> bool) -> Error {
        let at = values.iter().position(|v| is(*v)).unwrap_or_default();
        let value = values.get(at).copied().unwrap_or_default();
        let mut flat = start + at as u64;
        let mut index: Vec<u64> = Vec::new();
        for len in self.source.shape().iter().rev() {
            index.push(flat.checked_rem(*len).unwrap_or_default());
            flat = flat.checked_div(*len).unwrap_or_default();
        }
        index.reverse();
        let why = if value.is_finite() { "is too large for" } else { "cannot be stored as" };
        Error::malformed(format!(
            "the element {index:?} is {value:e}, which {why} {}",
            self.def.name
        ))
        .hint("the checkpoint is damaged or diverged; keep this tensor in f32 if it is meant")
    }
}

struct Converted {
    source: Tensor,
    to: DType,
    steps: Steps,
    kernel: Kernel,
}

impl Converted {
    fn element_bytes(&self) -> u64 {
        self.to.bits() / 8
    }
}

impl Produce for Converted {
    fn granularity(&self) -> u64 {
        self.steps.elements.saturating_mul(self.element_bytes())
    }

    fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let mut start = offset / self.element_bytes();
        let mut scratch = Scratch::default();
        // An eighth of a batch and its f32 stay in the first-level cache.
        let batch = self.steps.elements.saturating_mul((BATCH / 8 / self.steps.elements).max(1));
        let bytes = usize::try_from(batch.saturating_mul(self.element_bytes()));
        for out in out.chunks_mut(bytes.unwrap_or(usize::MAX)) {
            let count = out.len() / usize::try_from(self.element_bytes()).unwrap_or(1);
            self.steps.read(&self.source, self.kernel, (start, count), &mut scratch)?;
            float::narrow(self.kernel, self.to, &scratch.values, out)?;
            start += count as u64;
        }
        Ok(())
    }

    fn recipe(&self) -> Option<(String, Vec<Tensor>)> {
        let text = match self.source.dtype() {
            DType::Block(def) => format!("decode {} to {}", def.name, self.to),
            from => format!("convert {from} to {}", self.to),
        };
        Some((text, vec![self.source.clone()]))
    }
}

#[cfg(test)]
#[path = "tensor_tests.rs"]
mod tests;
