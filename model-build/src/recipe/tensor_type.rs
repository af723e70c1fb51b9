//! The types a tensor of a GGUF file can get, by name: known whether or not they can be encoded here.

use crate::error::{Error, Result};
use crate::hub::DType;
use crate::quantize;

macro_rules! tensor_types {
    ($($name:ident = $text:literal, $block_len:literal;)*) => {
        /// A type that a recipe can give a tensor.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)] // each is ggml's own name
        pub enum TensorType { $($name,)* }

        impl TensorType {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            /// The lower-case name, as in manifests and messages.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
            /// Elements in a block; a row is a whole number of blocks. 1 where elements stand alone.
            pub const fn block_len(self) -> u64 {
                match self { $(Self::$name => $block_len,)* }
            }
        }
    };
}

tensor_types! {
    F32 = "f32", 1;
    F16 = "f16", 1;
    Bf16 = "bf16", 1;
    Q1_0 = "q1_0", 128;
    Q2_0 = "q2_0", 64;
    Q4_0 = "q4_0", 32;
    Q4_1 = "q4_1", 32;
    Q5_0 = "q5_0", 32;
    Q5_1 = "q5_1", 32;
    Q8_0 = "q8_0", 32;
    Q2K = "q2_k", 256;
    Q3K = "q3_k", 256;
    Q4K = "q4_k", 256;
    Q5K = "q5_k", 256;
    Q6K = "q6_k", 256;
    Iq1S = "iq1_s", 256;
    Iq1M = "iq1_m", 256;
    Iq2Xxs = "iq2_xxs", 256;
    Iq2Xs = "iq2_xs", 256;
    Iq2S = "iq2_s", 256;
    Iq3Xxs = "iq3_xxs", 256;
    Iq3S = "iq3_s", 256;
    Iq4Nl = "iq4_nl", 32;
    Iq4Xs = "iq4_xs", 256;
    Tq1_0 = "tq1_0", 256;
    Tq2_0 = "tq2_0", 256;
    Mxfp4 = "mxfp4", 32;
    Nvfp4 = "nvfp4", 64;
}

impl TensorType {
    /// Whether elements are stored in blocks.
    pub const fn is_block(self) -> bool {
        self.block_len() > 1
    }

    /// Whether rows of that many elements are whole numbers of blocks.
    pub const fn fits(self, columns: u64) -> bool {
        columns.is_multiple_of(self.block_len())
    }

    /// The type of a name, in any case.
    ///
    /// # Errors
    /// There is none of that name; the nearest one is the hint.
    pub fn by_name(name: &str) -> Result<Self> {
        if let Some(found) = Self::ALL.iter().find(|t| t.name().eq_ignore_ascii_case(name)) {
            return Ok(*found);
        }
        let error = Error::manifest(format!("there is no tensor type `{name}`"));
        Err(match crate::error::nearest(name, Self::ALL.iter().map(|t| t.name())) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(format!(
                "the tensor types are: {}",
                Self::ALL.iter().map(|t| t.name()).collect::<Vec<_>>().join(", ")
            )),
        })
    }

    /// The element type that writers and encoders take.
    ///
    /// # Errors
    /// There is no encoder of that type.
    pub fn dtype(self) -> Result<DType> {
        Ok(match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
            block => DType::Block(quantize::by_name(block.name()).map_err(|_| {
                Error::unsupported(format!("block type `{}` cannot be encoded", block.name()))
                    .hint("choose another file type, or override the tensors that get this type")
            })?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_lengths_are_those_of_the_encoders() {
        for def in quantize::ALL {
            if let Ok(found) = TensorType::by_name(def.name) {
                assert_eq!(found.block_len(), def.block_len as u64, "{}", def.name);
                assert_eq!(found.dtype().unwrap(), DType::Block(def));
            }
        }
    }

    #[test]
    fn a_wrong_name_gets_the_nearest() {
        assert_eq!(TensorType::by_name("Q4_K").unwrap(), TensorType::Q4K);
        let error = TensorType::by_name("q4k").unwrap_err();
        assert!(error.hints()[0].contains("q4_k"), "{error:?}");
    }
}
