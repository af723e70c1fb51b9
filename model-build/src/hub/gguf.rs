//! What a GGUF file holds: typed key/values and tensors under GGUF's names, in the file's order.

use bytes::Bytes;

use super::Tensor;

/// A model as GGUF has it. Shapes are outermost first, as everywhere here; the file has them the
/// other way round.
#[derive(Clone, Debug, Default)]
pub struct Gguf {
    /// Key/values, in the file's order. Keys are unique.
    pub metadata: Vec<(String, Meta)>,
    /// Tensors, in the file's order. Names are unique.
    pub tensors: Vec<(String, Tensor)>,
}

/// A metadata value. Strings are bytes: files hold tokens that are no UTF-8.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // each is the type's own name
pub enum Meta {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    Text(Bytes),
    Array(MetaArray),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// An array of values of one type.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // each is the type's own name
pub enum MetaArray {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    Text(Vec<Bytes>),
    Array(Vec<MetaArray>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
}

impl Meta {
    /// A string value.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Bytes::from(text.into()))
    }
    /// The string, if it is one and valid UTF-8.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }
    /// The value of any integer type that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::U8(v) => Some((*v).into()),
            Self::U16(v) => Some((*v).into()),
            Self::U32(v) => Some((*v).into()),
            Self::U64(v) => Some(*v),
            Self::I8(v) => u64::try_from(*v).ok(),
            Self::I16(v) => u64::try_from(*v).ok(),
            Self::I32(v) => u64::try_from(*v).ok(),
            Self::I64(v) => u64::try_from(*v).ok(),
            _ => None,
        }
    }
    /// The value of a floating-point type.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::F32(v) => Some((*v).into()),
            Self::F64(v) => Some(*v),
            _ => None,
        }
    }
    /// The value of a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(v) => Some(*v),
            _ => None,
        }
    }
    /// The array, if it is one.
    pub fn as_array(&self) -> Option<&MetaArray> {
        match self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }
}

impl Gguf {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Meta> {
        self.metadata.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }
    /// Sets a key, in place where it is there, else at the end.
    pub fn set(&mut self, key: &str, value: Meta) {
        match self.metadata.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => *old = value,
            None => self.metadata.push((key.to_owned(), value)),
        }
    }
    /// `general.architecture`.
    pub fn architecture(&self) -> Option<&str> {
        self.get("general.architecture")?.as_text()
    }
    /// The value of a key under the architecture's name: `block_count` for `llama.block_count`.
    pub fn of_architecture(&self, key: &str) -> Option<&Meta> {
        self.get(&format!("{}.{key}", self.architecture()?))
    }
    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|(n, _)| n == name).map(|(_, t)| t)
    }
}
