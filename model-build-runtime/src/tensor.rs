//! Tensors as a program holds them: a shape and its elements, row-major.

use crate::error::Error;

/// A dense tensor: a shape and its elements in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<T> {
    shape: Vec<usize>,
    data: Vec<T>,
}

impl<T> Tensor<T> {
    /// A tensor of that shape. The shape may be an array, a slice or a `Vec`; `[]` is a scalar.
    ///
    /// # Errors
    /// When the number of elements is not the product of the shape.
    pub fn new(shape: impl Into<Vec<usize>>, data: Vec<T>) -> Result<Self, Error> {
        let shape = shape.into();
        let wanted = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d));
        if wanted != Some(data.len()) {
            return Err(Error::input(format!(
                "a tensor of shape {shape:?} does not hold {} elements",
                data.len()
            )));
        }
        Ok(Self { shape, data })
    }

    /// A scalar.
    pub fn scalar(value: T) -> Self {
        Self { shape: Vec::new(), data: vec![value] }
    }

    /// The shape, outermost axis first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
    /// The elements, row-major.
    pub fn data(&self) -> &[T] {
        &self.data
    }
    /// The elements, to be changed in place.
    pub fn data_mut(&mut self) -> &mut [T] {
        &mut self.data
    }
    /// The elements, given away.
    pub fn into_data(self) -> Vec<T> {
        self.data
    }
    /// Shape and elements, given away.
    pub fn into_parts(self) -> (Vec<usize>, Vec<T>) {
        (self.shape, self.data)
    }
    /// The slices along the outermost axis: for `[batch, classes]`, one slice of `classes` elements
    /// per batch item. A scalar is one slice of one element.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[T]> {
        let count = self.shape.first().copied().unwrap_or(1);
        let width = self.data.len().checked_div(count).unwrap_or(0);
        (0..count).map(move |i| self.data.get(i * width..(i + 1) * width).unwrap_or_default())
    }
}

/// The element type of an input or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)] // each is the type's own name
pub enum DType {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
    /// A type that no typed loader exists for.
    Other(&'static str),
}

impl DType {
    /// The lower-case name, as in manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::I16 => "i16",
            Self::I8 => "i8",
            Self::U64 => "u64",
            Self::U32 => "u32",
            Self::U16 => "u16",
            Self::U8 => "u8",
            Self::Bool => "bool",
            Self::Other(name) => name,
        }
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Borrowed elements of any type a model's input or output may have.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub enum Slice<'a> {
    F64(&'a [f64]),
    F32(&'a [f32]),
    #[cfg(feature = "half")]
    F16(&'a [half::f16]),
    #[cfg(feature = "half")]
    BF16(&'a [half::bf16]),
    I64(&'a [i64]),
    I32(&'a [i32]),
    I16(&'a [i16]),
    I8(&'a [i8]),
    U64(&'a [u64]),
    U32(&'a [u32]),
    U16(&'a [u16]),
    U8(&'a [u8]),
    Bool(&'a [bool]),
}

#[cfg(feature = "rten")]
impl Slice<'_> {
    pub(crate) fn dtype(&self) -> DType {
        match self {
            Self::F64(_) => DType::F64,
            Self::F32(_) => DType::F32,
            Self::F16(_) => DType::F16,
            Self::BF16(_) => DType::BF16,
            Self::I64(_) => DType::I64,
            Self::I32(_) => DType::I32,
            Self::I16(_) => DType::I16,
            Self::I8(_) => DType::I8,
            Self::U64(_) => DType::U64,
            Self::U32(_) => DType::U32,
            Self::U16(_) => DType::U16,
            Self::U8(_) => DType::U8,
            Self::Bool(_) => DType::Bool,
        }
    }
}

/// A borrowed input on its way to a backend.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub struct View<'a> {
    pub(crate) shape: &'a [usize],
    #[cfg_attr(not(any(feature = "rten", feature = "ort")), allow(dead_code))]
    pub(crate) data: Slice<'a>,
}

/// An output as a backend gives it.
#[derive(Debug)]
#[doc(hidden)]
#[cfg_attr(not(any(feature = "rten", feature = "ort")), allow(dead_code))]
pub enum Value {
    F64(Tensor<f64>),
    F32(Tensor<f32>),
    #[cfg(feature = "half")]
    F16(Tensor<half::f16>),
    #[cfg(feature = "half")]
    BF16(Tensor<half::bf16>),
    I64(Tensor<i64>),
    I32(Tensor<i32>),
    I16(Tensor<i16>),
    I8(Tensor<i8>),
    U64(Tensor<u64>),
    U32(Tensor<u32>),
    U16(Tensor<u16>),
    U8(Tensor<u8>),
    Bool(Tensor<bool>),
}

mod sealed {
    pub trait Sealed {}
}

/// An element type of inputs and outputs. Sealed.
pub trait Element: Copy + sealed::Sealed + 'static {
    /// The name of the type.
    const DTYPE: DType;
    #[doc(hidden)]
    fn slice(data: &[Self]) -> Slice<'_>;
    #[doc(hidden)]
    fn take(value: Value) -> Option<Tensor<Self>>;
    #[doc(hidden)]
    fn value(tensor: Tensor<Self>) -> Value;
}

macro_rules! elements {
    ($($ty:ty = $name:ident,)*) => {$(
        impl sealed::Sealed for $ty {}
        impl Element for $ty {
            const DTYPE: DType = DType::$name;
            fn slice(data: &[Self]) -> Slice<'_> {
                Slice::$name(data)
            }
            fn take(value: Value) -> Option<Tensor<Self>> {
                match value {
                    Value::$name(tensor) => Some(tensor),
                    _ => None,
                }
            }
            fn value(tensor: Tensor<Self>) -> Value {
                Value::$name(tensor)
            }
        }
    )*};
}

elements! {
    f64 = F64, f32 = F32, i64 = I64, i32 = I32, i16 = I16, i8 = I8, u64 = U64, u32 = U32,
    u16 = U16, u8 = U8, bool = Bool,
}
#[cfg(feature = "half")]
elements! { half::f16 = F16, half::bf16 = BF16, }

impl<T: Element> Tensor<T> {
    #[doc(hidden)]
    pub fn view(&self) -> View<'_> {
        View { shape: &self.shape, data: T::slice(&self.data) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_holds_exactly_the_product_of_its_shape() {
        assert!(Tensor::new([2, 3], vec![0_f32; 6]).is_ok());
        let error = Tensor::new([2, 3], vec![0_f32; 5]).unwrap_err();
        assert_eq!(error.to_string(), "a tensor of shape [2, 3] does not hold 5 elements");
        assert!(Tensor::new([usize::MAX, 2], vec![0_u8; 4]).is_err());
        assert_eq!(Tensor::new([], vec![7]).unwrap(), Tensor::scalar(7));
    }

    #[test]
    fn rows_are_the_slices_along_the_outermost_axis() {
        let t = Tensor::new([2, 3], vec![1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(t.rows().collect::<Vec<_>>(), [[1, 2, 3], [4, 5, 6]]);
        let empty = Tensor::<f32>::new([0, 3], vec![]).unwrap();
        assert_eq!(empty.rows().len(), 0);
        let flat = Tensor::<f32>::new([3, 0], vec![]).unwrap();
        assert_eq!(flat.rows().map(<[f32]>::len).collect::<Vec<_>>(), [0, 0, 0]);
    }
}
