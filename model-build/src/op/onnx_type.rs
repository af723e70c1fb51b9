//! ONNX's numbers of element types, as attributes such as `Cast.to` hold them.

use crate::hub::DType;

/// Numbers of `onnx.TensorProto.DataType`.
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

/// The element type of a number.
pub fn dtype_of(number: i64) -> Option<DType> {
    NUMBERS.iter().find(|(n, _)| *n == number).map(|(_, d)| *d)
}

/// The number of an element type.
pub fn number_of(dtype: DType) -> i64 {
    NUMBERS.iter().find(|(_, d)| *d == dtype).map_or(0, |(n, _)| *n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_type_has_its_number() {
        for dtype in DType::ALL {
            assert_eq!(dtype_of(number_of(*dtype)), Some(*dtype));
        }
        assert_eq!(dtype_of(0), None);
    }
}
