//! Elements of tensors: typed access, strides, broadcasting.

use crate::hub::{DType, Tensor};

/// An element type of the host that is one of ONNX's.
pub(super) trait Element: Copy + PartialOrd {
    const DTYPE: DType;
    fn read(bytes: &[u8]) -> Option<Self>;
    fn write(self, out: &mut Vec<u8>);
}

macro_rules! elements {
    ($($ty:ty = $dtype:ident;)*) => { $(
        impl Element for $ty {
            const DTYPE: DType = DType::$dtype;
            fn read(bytes: &[u8]) -> Option<Self> {
                Some(Self::from_le_bytes(bytes.try_into().ok()?))
            }
            fn write(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    )* };
}

elements! {
    i8 = I8; i16 = I16; i32 = I32; i64 = I64;
    u8 = U8; u16 = U16; u32 = U32; u64 = U64;
    f32 = F32; f64 = F64;
}

/// The elements of a tensor of that type.
pub(super) fn values<T: Element>(tensor: &Tensor) -> Option<Vec<T>> {
    if tensor.dtype() != T::DTYPE {
        return None;
    }
    let bytes = tensor.bytes().ok()?;
    bytes.chunks_exact(size_of::<T>()).map(T::read).collect()
}

/// The elements of a boolean tensor.
pub(super) fn bools(tensor: &Tensor) -> Option<Vec<bool>> {
    (tensor.dtype() == DType::Bool)
        .then(|| tensor.bytes().ok().map(|b| b.iter().map(|b| *b != 0).collect()))
        .flatten()
}

/// A tensor of values.
pub(super) fn tensor<T: Element>(shape: Vec<u64>, values: &[T]) -> Option<Tensor> {
    let mut bytes = Vec::with_capacity(size_of_val(values));
    values.iter().for_each(|v| v.write(&mut bytes));
    Tensor::new(T::DTYPE, shape, bytes.into()).ok()
}

/// A boolean tensor.
pub(super) fn bool_tensor(shape: Vec<u64>, values: &[bool]) -> Option<Tensor> {
    let bytes: Vec<u8> = values.iter().map(|v| u8::from(*v)).collect();
    Tensor::new(DType::Bool, shape, bytes.into()).ok()
}

/// Bytes of one element, for types whose elements are whole bytes.
pub(super) fn width(dtype: DType) -> Option<usize> {
    let bits = dtype.bits();
    (bits >= 8 && bits.is_multiple_of(8)).then(|| usize::try_from(bits / 8).ok()).flatten()
}

/// A shape as lengths of memory.
pub(super) fn lengths(shape: &[u64]) -> Option<Vec<usize>> {
    shape.iter().map(|d| usize::try_from(*d).ok()).collect()
}

/// How many elements lie between neighbours along each axis.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut out = vec![1usize; shape.len()];
    for i in (1..shape.len()).rev() {
        out[i - 1] = out[i].saturating_mul(shape[i]);
    }
    out
}

/// NumPy's broadcasting of two shapes.
pub(super) fn broadcast(a: &[u64], b: &[u64]) -> Option<Vec<u64>> {
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    let lead = long.len() - short.len();
    let mut out = long[..lead].to_vec();
    for (x, y) in long[lead..].iter().zip(short) {
        out.push(match (*x, *y) {
            (1, n) | (n, 1) => n,
            (n, m) if n == m => n,
            _ => return None,
        });
    }
    Some(out)
}

/// Positions in an operand, in the order of the elements of what it is spread over.
pub(super) struct Walk {
    shape: Vec<usize>,
    strides: Vec<usize>,
    at: Vec<usize>,
    position: usize,
    left: usize,
}

impl Walk {
    /// A walk over `shape` with these strides of the operand.
    pub(super) fn new(shape: Vec<usize>, strides: Vec<usize>, start: usize) -> Self {
        let left = shape.iter().product();
        Self { at: vec![0; shape.len()], shape, strides, position: start, left }
    }
    /// A walk over an operand that is broadcast to `shape`.
    pub(super) fn spread(shape: &[u64], operand: &[u64]) -> Option<Self> {
        let (shape, own) = (lengths(shape)?, lengths(operand)?);
        let lead = shape.len().checked_sub(own.len())?;
        let mut steps = vec![0; lead];
        for (length, step) in own.iter().zip(strides(&own)) {
            steps.push(if *length == 1 { 0 } else { step });
        }
        Some(Self::new(shape, steps, 0))
    }
}

impl Iterator for Walk {
    type Item = usize;
    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let found = self.position;
        for i in (0..self.shape.len()).rev() {
            self.at[i] += 1;
            self.position += self.strides[i];
            if self.at[i] < self.shape[i] {
                break;
            }
            self.position -= self.strides[i] * self.shape[i];
            self.at[i] = 0;
        }
        Some(found)
    }
}

/// The elements of `tensor` at those positions, under that shape.
pub(super) fn picked(
    tensor: &Tensor,
    shape: Vec<u64>,
    at: impl Iterator<Item = usize>,
) -> Option<Tensor> {
    let width = width(tensor.dtype())?;
    let bytes = tensor.bytes().ok()?;
    let mut out = Vec::new();
    for i in at {
        let from = i.checked_mul(width)?;
        out.extend_from_slice(bytes.get(from..from.checked_add(width)?)?);
    }
    Tensor::new(tensor.dtype(), shape, out.into()).ok()
}
