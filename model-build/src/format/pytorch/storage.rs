//! Storages, and tensors as views of them: slices where a view is dense, gathered on demand elsewhere.

use std::sync::Arc;

use bytes::Bytes;

use super::globals;
use super::pickle::RESAVE;
use super::value::{Pickle, Value};
use crate::error::{Error, Result};
use crate::hub::{DType, Produce, Tensor};

/// The longest tensor that is longer than what it is made from: a broadcast one.
const BROADCAST: u64 = 16 << 30;

/// What a pickle says of a storage.
#[derive(Clone, Copy, Debug)]
pub(super) struct StorageId<'a> {
    /// The element type; `None` for bytes without a type.
    pub(super) dtype: Option<DType>,
    pub(super) key: &'a str,
    /// The length in bytes.
    pub(super) bytes: u64,
    /// In old files, the stretch of it that is meant, in bytes.
    pub(super) view: Option<(u64, u64)>,
}

/// A storage's bytes.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    /// The element type; `None` for bytes without a type.
    pub(super) dtype: Option<DType>,
    pub(super) bytes: Bytes,
    /// Whether elements have their highest byte first.
    pub(super) big_endian: bool,
}

/// Where the storages of a pickle are.
pub(super) trait Storages {
    /// The storage that a pickle refers to by that id.
    fn storage(&self, id: &StorageId<'_>) -> Result<Storage>;
}

/// Bytes of one element of a type, as a storage has them.
pub(super) fn width(dtype: Option<DType>) -> u64 {
    dtype.map_or(1, |dtype| dtype.bits() / 8)
}

fn unsigned(pickle: &Pickle<'_>, value: Value, what: &str) -> Result<u64> {
    match value {
        Value::Int(n) => u64::try_from(n).ok(),
        _ => None,
    }
    .ok_or_else(|| {
        Error::malformed(format!(
            "{} as {what}",
            match value {
                Value::Int(n) => n.to_string(),
                value => pickle.describe(value),
            }
        ))
    })
}

/// Lengths of axes, or strides.
pub(super) fn lengths(pickle: &Pickle<'_>, value: Value, what: &str) -> Result<Vec<u64>> {
    let items = pickle
        .sequence(value)
        .ok_or_else(|| Error::malformed(format!("{} as {what}", pickle.describe(value))))?;
    if items.len() > 64 {
        return Err(Error::malformed(format!("{} axes, and 64 are the most", items.len())));
    }
    items.iter().map(|item| unsigned(pickle, *item, what)).collect()
}

/// Reads a storage's id: ("storage", class, key, device, elements) and, in old files, a view.
pub(super) fn storage_id<'a>(pickle: &Pickle<'a>, id: Value) -> Result<StorageId<'a>> {
    let malformed = || Error::malformed("a reference to a storage that is none");
    let items = pickle.tuple(id).ok_or_else(malformed)?;
    let (tag, class, key, device, count, view) = match *items {
        [tag, class, key, device, count] => (tag, class, key, device, count, Value::None),
        [tag, class, key, device, count, view] => (tag, class, key, device, count, view),
        _ => return Err(malformed()),
    };
    if pickle.text(tag) != Some("storage") {
        return Err(malformed());
    }
    let class = pickle.global(class).ok_or_else(malformed)?;
    let dtype = globals::storage(class).ok_or_else(|| {
        Error::unsupported(format!("storages of the class `{class}`")).hint(RESAVE)
    })?;
    let key = pickle.text(key).ok_or_else(malformed)?;
    if pickle.text(device) == Some("meta") {
        return Err(Error::unsupported("a tensor without data, on the device `meta`")
            .hint("save the model after its weights are loaded"));
    }
    let size = width(dtype);
    let scaled = |n: u64| {
        n.checked_mul(size).ok_or_else(|| {
            Error::malformed(format!("a storage of {n} elements is larger than 2^64 bytes"))
        })
    };
    let bytes = scaled(unsigned(pickle, count, "a number of elements")?)?;
    let view = match pickle.tuple(view) {
        None if view == Value::None => None,
        Some([_, offset, len]) => Some((
            scaled(unsigned(pickle, *offset, "an offset")?)?,
            scaled(unsigned(pickle, *len, "a number of elements")?)?,
        )),
        _ => return Err(malformed()),
    };
    Ok(StorageId { dtype, key, bytes, view })
}

/// Where a tensor lies in a storage, in elements.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) dtype: DType,
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    pub(super) strides: Vec<u64>,
}

impl View {
    /// One past the last element, from the start of the storage; `None` on overflow.
    fn end(&self) -> Option<u64> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        let steps = self.shape.iter().zip(&self.strides);
        let last = steps
            .map(|(len, stride)| (len - 1).checked_mul(*stride))
            .try_fold(self.offset, |sum, step| sum.checked_add(step?))?;
        last.checked_add(1)
    }

    /// Whether the elements lie one after the other, in the order of the shape.
    fn is_dense(&self) -> bool {
        let mut expected = Some(1u64);
        for (len, stride) in self.shape.iter().zip(&self.strides).rev() {
            if *len != 1 && Some(*stride) != expected {
                return false;
            }
            expected = expected.and_then(|e| e.checked_mul(*len));
        }
        true
    }
}

/// The tensor that a view of a storage is.
pub(super) fn tensor(storage: &Storage, view: View) -> Result<Tensor> {
    if view.shape.len() != view.strides.len() {
        return Err(Error::malformed(format!(
            "shape {:?} with strides {:?}",
            view.shape, view.strides
        )));
    }
    let size = view.dtype.bits() / 8;
    let count = view.shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d));
    let bytes = count.and_then(|n| n.checked_mul(size)).ok_or_else(|| {
        Error::malformed(format!("a tensor of shape {:?} is larger than 2^64 bytes", view.shape))
    })?;
    if bytes == 0 {
        return Tensor::new(view.dtype, view.shape, Bytes::new());
    }
    let len = storage.bytes.len() as u64;
    let end = view.end().and_then(|end| end.checked_mul(size));
    if end.is_none_or(|end| end > len) {
        return Err(Error::malformed(format!(
            "shape {:?} with strides {:?} from element {} on reaches past its storage of {len} bytes",
            view.shape, view.strides, view.offset
        )));
    }
    if bytes > len.max(BROADCAST) {
        return Err(Error::unsupported(format!(
            "a broadcast tensor of {bytes} bytes over a storage of {len}"
        )));
    }
    let swap = storage.big_endian && size > 1;
    if swap && storage.dtype.is_none() {
        return Err(Error::unsupported(format!(
            "{} in a storage without a type, written on a machine with the highest byte first",
            view.dtype
        ))
        .hint("save the file anew on a machine with the lowest byte first"));
    }
    if view.is_dense() && !swap {
        // In bounds: its end was compared with the storage's.
        let from = usize::try_from(view.offset * size).ok();
        let range = from.zip(usize::try_from(bytes).ok());
        let (from, len) = range.ok_or_else(|| Error::bug("a view past the end of memory"))?;
        return Tensor::new(view.dtype, view.shape, storage.bytes.slice(from..from + len));
    }
    let shape = view.shape.clone();
    let dtype = view.dtype;
    let size = usize::try_from(size).map_err(|_| Error::bug("an element of over 2^64 bytes"))?;
    let gather = Gather { storage: storage.bytes.clone(), view, size, swap };
    Tensor::lazy(dtype, shape, Arc::new(gather))
}

/// Elements of a storage in the order of a view, their bytes turned round where asked for.
struct Gather {
    storage: Bytes,
    view: View,
    size: usize,
    swap: bool,
}

impl Gather {
    /// The indices of an element, outermost first, and its place in the storage, in elements.
    fn place(&self, mut element: u64) -> (Vec<u64>, u64) {
        let mut at = vec![0; self.view.shape.len()];
        let mut place = self.view.offset;
        let axes = at.iter_mut().zip(&self.view.shape).zip(&self.view.strides);
        for ((index, len), stride) in axes.rev() {
            *index = element % len;
            element /= len;
            place += *index * stride;
        }
        (at, place)
    }

    /// Moves to the next element.
    fn step(&self, at: &mut [u64], place: &mut u64) {
        let axes = at.iter_mut().zip(&self.view.shape).zip(&self.view.strides);
        for ((index, len), stride) in axes.rev() {
            *index += 1;
            *place += stride;
            if *index < *len {
                return;
            }
            *place -= stride * len;
            *index = 0;
        }
    }
}

impl Produce for Gather {
    fn granularity(&self) -> u64 {
        self.size as u64
    }

    fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let past = || Error::bug("a view past its storage");
        let (mut at, mut place) = self.place(offset / self.granularity());
        // Elements of the innermost axis that lie one after the other are copied together.
        let inner = self.view.shape.last().zip(self.view.strides.last());
        let row = inner.filter(|(_, stride)| **stride == 1).map_or(1, |(len, _)| *len);
        let mut rest = out;
        while !rest.is_empty() {
            let done = if row == 1 { 0 } else { at.last().copied().unwrap_or(0) };
            let count = (row - done).min(rest.len() as u64 / self.granularity()).max(1);
            let len = usize::try_from(count).ok().and_then(|n| n.checked_mul(self.size));
            let from = usize::try_from(place).ok().and_then(|p| p.checked_mul(self.size));
            let (len, from) = len.zip(from).ok_or_else(past)?;
            let (piece, after) = rest.split_at_mut_checked(len).ok_or_else(past)?;
            let end = from.checked_add(len);
            let bytes = end.and_then(|end| self.storage.get(from..end)).ok_or_else(past)?;
            piece.copy_from_slice(bytes);
            if self.swap {
                piece.chunks_exact_mut(self.size).for_each(<[u8]>::reverse);
            }
            if let Some(last) = at.last_mut() {
                *last += count - 1;
            }
            place += count - 1;
            self.step(&mut at, &mut place);
            rest = after;
        }
        Ok(())
    }
}
