//! Element types: names, sizes.

use std::fmt;

use super::BlockDef;

macro_rules! dtypes {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal, $bits:literal;)*) => {
        /// The type of a tensor's elements. The order is part of no format.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs)] // each is the field's own name
        pub enum DType {
            $($(#[doc = $doc])* $name,)*
            /// Blocks of a row, as ggml stores them.
            Block(&'static BlockDef),
        }

        impl DType {
            /// Every type whose elements stand alone; not the block types.
            pub const ALL: &'static [DType] = &[$(DType::$name,)*];
            /// The lower-case name, as in manifests and messages.
            pub const fn name(self) -> &'static str {
                match self { $(DType::$name => $text,)* DType::Block(def) => def.name }
            }
            /// Bits per element; 0 for [`DType::String`] and [`DType::Block`], whose elements have no
            /// size of their own.
            pub const fn bits(self) -> u64 {
                match self { $(DType::$name => $bits,)* DType::Block(_) => 0 }
            }
        }
    };
}

dtypes! {
    F64 = "f64", 64;
    F32 = "f32", 32;
    F16 = "f16", 16;
    BF16 = "bf16", 16;
    F8E4M3 = "f8e4m3", 8;
    F8E4M3Fnuz = "f8e4m3fnuz", 8;
    F8E5M2 = "f8e5m2", 8;
    F8E5M2Fnuz = "f8e5m2fnuz", 8;
    F8E8M0 = "f8e8m0", 8;
    F6E2M3 = "f6e2m3", 6;
    F6E3M2 = "f6e3m2", 6;
    F4E2M1 = "f4e2m1", 4;
    I64 = "i64", 64;
    I32 = "i32", 32;
    I16 = "i16", 16;
    I8 = "i8", 8;
    I4 = "i4", 4;
    I2 = "i2", 2;
    U64 = "u64", 64;
    U32 = "u32", 32;
    U16 = "u16", 16;
    U8 = "u8", 8;
    U4 = "u4", 4;
    U2 = "u2", 2;
    Bool = "bool", 8;
    C64 = "c64", 64;
    C128 = "c128", 128;
    String = "string", 0;
}

/// Numbers of `onnx.TensorProto.DataType`: the graph hub keeps them in attributes such as `Cast.to`.
const NUMBERS: &[(i64, DType)] = &[
    (1, DType::F32),
    (2, DType::U8),
    (3, DType::I8),
    (4, DType::U16),
    (5, DType::I16),
    (6, DType::I32),
    (7, DType::I64),
    (8, DType::String),
    (9, DType::Bool),
    (10, DType::F16),
    (11, DType::F64),
    (12, DType::U32),
    (13, DType::U64),
    (14, DType::C64),
    (15, DType::C128),
    (16, DType::BF16),
    (17, DType::F8E4M3),
    (18, DType::F8E4M3Fnuz),
    (19, DType::F8E5M2),
    (20, DType::F8E5M2Fnuz),
    (21, DType::U4),
    (22, DType::I4),
    (23, DType::F4E2M1),
    (24, DType::F8E8M0),
    (25, DType::U2),
    (26, DType::I2),
    (27, DType::F6E2M3),
    (28, DType::F6E3M2),
];

impl DType {
    /// The element type of ONNX's number.
    pub fn of_number(number: i64) -> Option<Self> {
        NUMBERS.iter().find(|(n, _)| *n == number).map(|(_, d)| *d)
    }
    /// ONNX's number of this element type; 0 for a block type, which ONNX does not have.
    pub fn number(self) -> i64 {
        NUMBERS.iter().find(|(_, d)| *d == self).map_or(0, |(n, _)| *n)
    }
    /// Bytes of `elements` elements, sub-byte types packed; `None` on overflow, and when they are no
    /// whole number of blocks.
    pub fn bytes_for(self, elements: u64) -> Option<u64> {
        if let Self::Block(def) = self {
            return def.bytes_for(elements);
        }
        elements.checked_mul(self.bits()).map(|bits| bits.div_ceil(8))
    }
    /// Whether this is a real floating-point type of 16 bits or more.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_type_has_its_number() {
        for dtype in DType::ALL {
            assert_eq!(DType::of_number(dtype.number()), Some(*dtype));
        }
        assert_eq!(DType::of_number(0), None);
    }
}
