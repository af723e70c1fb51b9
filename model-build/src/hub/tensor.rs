//! A tensor: dtype, shape and bytes that are mapped, owned or made on demand. Cloning is cheap.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::DType;
use crate::bytes::Cursor;
use crate::error::{Error, Result};

/// Bytes that are computed when they are written, in chunks of any multiple of a granularity.
///
/// The length is known before the bytes, so writers lay out a file first and fill it in parallel.
/// The same range always gives the same bytes.
pub trait Produce: Send + Sync {
    /// Chunks must start and end at multiples of this many bytes (the end of the data excepted).
    fn granularity(&self) -> u64 {
        1
    }
    /// Fills `out` with the bytes that start at `offset`.
    fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()>;
    /// What is done, as text that is equal only where the work is, and the tensors it is done to.
    /// Equal recipes over equal bytes give equal bytes. `None` where there is no such text.
    fn recipe(&self) -> Option<(String, Vec<Tensor>)> {
        None
    }
    /// The matrix that this one is the transpose of, of the same element type, where reading that is
    /// cheaper.
    fn transpose_of(&self) -> Option<Tensor> {
        None
    }
}

#[derive(Clone)]
enum Data {
    Bytes(Bytes),
    Lazy(Arc<dyn Produce>),
}

/// Computed bytes whose errors name the tensor.
struct Named {
    data: Arc<dyn Produce>,
    name: String,
}

impl Produce for Named {
    fn granularity(&self) -> u64 {
        self.data.granularity()
    }
    fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.data.produce(offset, out).map_err(|e| e.item(&self.name))
    }
    fn recipe(&self) -> Option<(String, Vec<Tensor>)> {
        self.data.recipe()
    }
    fn transpose_of(&self) -> Option<Tensor> {
        self.data.transpose_of()
    }
}

/// What a file says of a tensor besides its contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// The tensor's own name, where it is not the name of a graph's value.
    pub name: String,
    /// Documentation.
    pub doc: String,
    /// Free key/value metadata.
    pub metadata: Vec<(String, String)>,
}

/// A dense, row-major, little-endian tensor.
///
/// Elements of fewer than 8 bits are packed, the first in the lowest bits. The bytes of a
/// [`DType::String`] tensor are, for each element, its length as `u64` and then its bytes; see
/// [`Tensor::from_strings`].
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<u64>,
    data: Data,
    note: Option<Arc<Note>>,
}

fn byte_len(dtype: DType, shape: &[u64]) -> Result<u64> {
    let row = shape.last().copied().unwrap_or(1);
    shape
        .iter()
        .try_fold(1u64, |n, d| n.checked_mul(*d))
        .filter(|_| dtype.bytes_for(row).is_some())
        .and_then(|n| dtype.bytes_for(n))
        .ok_or_else(|| match dtype {
            DType::Block(def)
                if !shape.last().unwrap_or(&1).is_multiple_of(def.block_len as u64) =>
            {
                Error::malformed(format!(
                    "rows of {} elements are no whole number of {} blocks of {}",
                    shape.last().unwrap_or(&1),
                    def.name,
                    def.block_len
                ))
            }
            _ => Error::malformed(format!("a tensor of shape {shape:?} is larger than 2^64 bytes")),
        })
}

/// Cuts the bytes of a string tensor into its elements.
fn split_strings(bytes: &Bytes) -> Result<Vec<Bytes>> {
    let mut cursor = Cursor::new(bytes);
    let mut out = Vec::new();
    while !cursor.rest().is_empty() {
        let len = cursor.u64()?;
        out.push(bytes.slice_ref(cursor.take(len)?));
    }
    Ok(out)
}

impl Tensor {
    /// A tensor over bytes that are there (mapped or owned). An error when the length is not the
    /// shape's.
    pub fn new(dtype: DType, shape: Vec<u64>, bytes: Bytes) -> Result<Self> {
        if dtype == DType::String {
            let count = byte_len(DType::U8, &shape)?;
            let found = split_strings(&bytes)?.len() as u64;
            if found != count {
                return Err(Error::malformed(format!(
                    "a string tensor of shape {shape:?} has {count} elements, {found} are given"
                )));
            }
            return Ok(Self { dtype, shape, data: Data::Bytes(bytes), note: None });
        }
        let want = byte_len(dtype, &shape)?;
        if want != bytes.len() as u64 {
            return Err(Error::malformed(format!(
                "{dtype} of shape {shape:?} takes {want} bytes, {} are given",
                bytes.len()
            )));
        }
        Ok(Self { dtype, shape, data: Data::Bytes(bytes), note: None })
    }

    /// A tensor whose bytes are made when they are read.
    pub fn lazy(dtype: DType, shape: Vec<u64>, data: Arc<dyn Produce>) -> Result<Self> {
        if dtype == DType::String {
            return Err(Error::bug("strings are not computed on demand"));
        }
        byte_len(dtype, &shape)?;
        Ok(Self { dtype, shape, data: Data::Lazy(data), note: None })
    }

    /// The tensor, called by that name in errors of computing its bytes.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        if let Data::Lazy(data) = self.data {
            self.data = Data::Lazy(Arc::new(Named { data, name: name.to_owned() }));
        }
        self
    }

    /// A tensor of strings (any bytes). An error when there are not as many as the shape says.
    pub fn from_strings<S: AsRef<[u8]>>(
        shape: Vec<u64>,
        strings: impl IntoIterator<Item = S>,
    ) -> Result<Self> {
        let mut bytes = Vec::new();
        for s in strings {
            bytes.extend_from_slice(&(s.as_ref().len() as u64).to_le_bytes());
            bytes.extend_from_slice(s.as_ref());
        }
        Self::new(DType::String, shape, bytes.into())
    }

    /// What the file says of the tensor besides its contents.
    pub fn note(&self) -> Option<&Note> {
        self.note.as_deref()
    }
    /// The tensor with that note; an empty one is none.
    #[must_use]
    pub fn with_note(mut self, note: Note) -> Self {
        self.note = (note != Note::default()).then(|| Arc::new(note));
        self
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }
    /// The shape, outermost first; empty for a scalar.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }
    /// The number of elements.
    pub fn len(&self) -> u64 {
        self.shape.iter().product()
    }
    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }
    /// The number of bytes.
    pub fn byte_len(&self) -> u64 {
        match &self.data {
            Data::Bytes(b) => b.len() as u64,
            Data::Lazy(_) => self.dtype.bytes_for(self.len()).unwrap_or(u64::MAX),
        }
    }
    /// The same bytes under another shape of as many elements.
    pub fn reshaped(&self, shape: Vec<u64>) -> Result<Self> {
        if byte_len(DType::U8, &shape)? != self.len() {
            return Err(Error::bug(format!("{:?} cannot be reshaped to {shape:?}", self.shape)));
        }
        Ok(Self { shape, ..self.clone() })
    }
    /// The bytes if they need not be computed.
    pub fn ready_bytes(&self) -> Option<&Bytes> {
        match &self.data {
            Data::Bytes(b) => Some(b),
            Data::Lazy(_) => None,
        }
    }
    /// How the bytes are made (see [`Produce::recipe`]); `None` for bytes that are there.
    pub fn recipe(&self) -> Option<(String, Vec<Self>)> {
        match &self.data {
            Data::Bytes(_) => None,
            Data::Lazy(p) => p.recipe(),
        }
    }
    /// The matrix that this one is computed from by a transposition (see [`Produce::transpose_of`]).
    pub fn transpose_of(&self) -> Option<Self> {
        match &self.data {
            Data::Bytes(_) => None,
            Data::Lazy(p) => p.transpose_of(),
        }
    }
    /// The granularity of [`read_at`](Self::read_at).
    pub fn granularity(&self) -> u64 {
        match &self.data {
            Data::Bytes(_) => 1,
            Data::Lazy(p) => p.granularity().max(1),
        }
    }
    /// Fills `out` from the byte `offset` on; `offset` is a multiple of the granularity and `out`
    /// ends at one or at the end.
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        match &self.data {
            Data::Lazy(p) => p.produce(offset, out),
            Data::Bytes(b) => {
                let from = usize::try_from(offset)
                    .ok()
                    .and_then(|o| b.get(o..o.checked_add(out.len())?))
                    .ok_or_else(|| Error::bug("a read past the end of a tensor"))?;
                out.copy_from_slice(from);
                Ok(())
            }
        }
    }
    /// All bytes; computed ones are computed into memory, so only for small tensors.
    pub fn bytes(&self) -> Result<Bytes> {
        match &self.data {
            Data::Bytes(b) => Ok(b.clone()),
            Data::Lazy(p) => {
                let len = usize::try_from(self.byte_len()).map_err(|_| {
                    Error::unsupported("a tensor larger than this machine's memory")
                })?;
                let mut out = vec![0; len];
                p.produce(0, &mut out)?;
                Ok(out.into())
            }
        }
    }

    /// An `f32` tensor from values.
    pub fn from_f32(shape: Vec<u64>, values: &[f32]) -> Result<Self> {
        Self::new(DType::F32, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }
    /// An `i64` tensor from values.
    pub fn from_i64(shape: Vec<u64>, values: &[i64]) -> Result<Self> {
        Self::new(DType::I64, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }
    /// The elements of a string tensor.
    pub fn to_strings(&self) -> Result<Vec<Bytes>> {
        if self.dtype != DType::String {
            return Err(Error::bug(format!("{} elements asked for as strings", self.dtype)));
        }
        split_strings(&self.bytes()?)
    }
    /// The elements as `f32`, from any floating-point type of 16 bits or more; exact from `f16`,
    /// `bf16` and `f32`, rounded to nearest even from `f64`.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        let bytes = self.bytes()?;
        Ok(match self.dtype {
            DType::F32 => bytes.as_chunks().0.iter().map(|c| f32::from_le_bytes(*c)).collect(),
            DType::F16 => {
                bytes.as_chunks().0.iter().map(|c| half::f16::from_le_bytes(*c).to_f32()).collect()
            }
            DType::BF16 => {
                bytes.as_chunks().0.iter().map(|c| half::bf16::from_le_bytes(*c).to_f32()).collect()
            }
            #[allow(clippy::cast_possible_truncation)] // the rounding is the point
            DType::F64 => {
                bytes.as_chunks().0.iter().map(|c| f64::from_le_bytes(*c) as f32).collect()
            }
            other => return Err(Error::bug(format!("{other} elements asked for as f32"))),
        })
    }
    /// The elements as `i64`, from `i64` or `i32`.
    pub fn to_i64(&self) -> Result<Cow<'static, [i64]>> {
        let bytes = self.bytes()?;
        Ok(match self.dtype {
            DType::I64 => bytes.as_chunks().0.iter().map(|c| i64::from_le_bytes(*c)).collect(),
            DType::I32 => {
                bytes.as_chunks().0.iter().map(|c| i64::from(i32::from_le_bytes(*c))).collect()
            }
            other => return Err(Error::bug(format!("{other} elements asked for as i64"))),
        })
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lazy = if matches!(self.data, Data::Lazy(_)) { " lazy" } else { "" };
        write!(f, "{}{:?}{lazy}", self.dtype, self.shape)
    }
}
