//! llama-quantize's file types: names, numbers, and the type most tensors get.

use super::tensor_type::TensorType;
use crate::error::{Error, Result};

/// A file type (`LLAMA_FTYPE_…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileType {
    /// What the rules of [`choose`](super::choose()) go by.
    pub id: Id,
    /// The lower-case name, as in manifests and messages: `q4_k_m`.
    pub name: &'static str,
    /// `general.file_type`.
    pub number: u32,
    /// The type of the tensors that no rule gives another.
    pub base: TensorType,
    /// What it is, in a line.
    pub about: &'static str,
}

macro_rules! file_types {
    ($($id:ident = $name:literal, $number:literal, $base:ident, $about:literal;)*) => {
        /// The file types.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)] // each is llama-quantize's own name
        pub enum Id { $($id,)* }

        /// Every file type.
        pub static ALL: &[FileType] = &[$(FileType {
            id: Id::$id, name: $name, number: $number, base: TensorType::$base, about: $about,
        },)*];
    };
}

file_types! {
    F32 = "f32", 0, F32, "32-bit floats";
    F16 = "f16", 1, F16, "16-bit floats";
    Bf16 = "bf16", 32, Bf16, "16-bit floats with the range of 32-bit ones";
    Q8_0 = "q8_0", 7, Q8_0, "8 bits in blocks of 32: hardly to be told from 16-bit floats";
    Q4_0 = "q4_0", 2, Q4_0, "4 bits and a scale in blocks of 32";
    Q4_1 = "q4_1", 3, Q4_1, "4 bits, a scale and a minimum in blocks of 32";
    Q5_0 = "q5_0", 8, Q5_0, "5 bits and a scale in blocks of 32";
    Q5_1 = "q5_1", 9, Q5_1, "5 bits, a scale and a minimum in blocks of 32";
    Q2K = "q2_k", 10, Q2K, "2 bits in blocks of 256, 3 and 4 for sensitive tensors";
    Q2KS = "q2_k_s", 21, Q2K, "2 bits in blocks of 256 nearly throughout; needs an importance matrix";
    Q3KS = "q3_k_s", 11, Q3K, "3 bits in blocks of 256 throughout";
    Q3KM = "q3_k_m", 12, Q3K, "3 bits in blocks of 256, 4 and 5 for sensitive tensors";
    Q3KL = "q3_k_l", 13, Q3K, "3 bits in blocks of 256, 5 for sensitive tensors";
    Q4KS = "q4_k_s", 14, Q4K, "4 bits in blocks of 256, 5 for the first layers' sensitive tensors";
    Q4KM = "q4_k_m", 15, Q4K, "4 bits in blocks of 256, 6 for half of the sensitive tensors";
    Q5KS = "q5_k_s", 16, Q5K, "5 bits in blocks of 256 throughout";
    Q5KM = "q5_k_m", 17, Q5K, "5 bits in blocks of 256, 6 for half of the sensitive tensors";
    Q6K = "q6_k", 18, Q6K, "6 bits in blocks of 256";
    Iq1S = "iq1_s", 24, Iq1S, "1.56 bits from a codebook; needs an importance matrix";
    Iq1M = "iq1_m", 31, Iq1M, "1.75 bits from a codebook; needs an importance matrix";
    Iq2Xxs = "iq2_xxs", 19, Iq2Xxs, "2.06 bits from a codebook; needs an importance matrix";
    Iq2Xs = "iq2_xs", 20, Iq2Xs, "2.31 bits from a codebook; needs an importance matrix";
    Iq2S = "iq2_s", 28, Iq2Xs, "2.5 bits from codebooks; needs an importance matrix";
    Iq2M = "iq2_m", 29, Iq2S, "2.7 bits from codebooks; needs an importance matrix";
    Iq3Xxs = "iq3_xxs", 23, Iq3Xxs, "3.06 bits from a codebook; needs an importance matrix";
    Iq3Xs = "iq3_xs", 22, Iq3S, "3.3 bits from codebooks; needs an importance matrix";
    Iq3S = "iq3_s", 26, Iq3S, "3.44 bits from a codebook";
    Iq3M = "iq3_m", 27, Iq3S, "3.66 bits: a codebook, and 4 bits for sensitive tensors";
    Iq4Nl = "iq4_nl", 25, Iq4Nl, "4 bits on uneven steps in blocks of 32";
    Iq4Xs = "iq4_xs", 30, Iq4Xs, "4 bits on uneven steps in blocks of 256";
    Tq1_0 = "tq1_0", 36, Tq1_0, "1.69 bits for weights that are -1, 0 and 1";
    Tq2_0 = "tq2_0", 37, Tq2_0, "2.06 bits for weights that are -1, 0 and 1";
    Mxfp4Moe = "mxfp4_moe", 38, Mxfp4, "4-bit floats for experts, 8 bits for the rest";
    Q1_0 = "q1_0", 40, Q1_0, "1 bit and a scale in blocks of 128";
    Q2_0 = "q2_0", 41, Q2_0, "2 bits and a scale in blocks of 64";
}

/// Other names: of k-quants without a size, the middle one is meant.
const ALIASES: &[(&str, &str)] = &[("q3_k", "q3_k_m"), ("q4_k", "q4_k_m"), ("q5_k", "q5_k_m")];

/// The file type of a name, in any case.
///
/// # Errors
/// There is none of that name; the nearest one is the hint.
pub fn by_name(name: &str) -> Result<&'static FileType> {
    let lower = name.to_ascii_lowercase();
    let wanted = ALIASES.iter().find(|(alias, _)| *alias == lower).map_or(&*lower, |(_, n)| n);
    if let Some(found) = ALL.iter().find(|t| t.name == wanted) {
        return Ok(found);
    }
    let error = Error::manifest(format!("there is no file type `{name}`"));
    if lower == "nvfp4" {
        return Err(error.hint(
            "nvfp4 is kept where a checkpoint has it and never made; `mxfp4_moe` is made, and `q4_k_m` is more exact",
        ));
    }
    let names = || ALL.iter().map(|t| t.name).chain(ALIASES.iter().map(|(alias, _)| *alias));
    Err(match crate::error::nearest(&lower, names()) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => {
            error.hint(format!("the file types are: {}", names().collect::<Vec<_>>().join(", ")))
        }
    })
}

/// The file type of a `general.file_type`.
pub fn by_number(number: u32) -> Option<&'static FileType> {
    ALL.iter().find(|t| t.number == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_unique() {
        for (i, t) in ALL.iter().enumerate() {
            assert!(
                ALL[..i].iter().all(|o| o.name != t.name && o.number != t.number),
                "{}",
                t.name
            );
            assert_eq!(by_name(&t.name.to_uppercase()).unwrap(), t);
            assert_eq!(by_number(t.number), Some(t));
        }
    }

    #[test]
    fn a_k_quant_without_a_size_is_the_middle_one() {
        assert_eq!(by_name("Q4_K").unwrap().id, Id::Q4KM);
    }

    #[test]
    fn a_wrong_name_gets_the_nearest() {
        assert!(by_name("iq4_nx").unwrap_err().hints()[0].contains("iq4_nl"));
        assert!(by_name("int8").unwrap_err().hints()[0].contains("the file types are"));
        assert!(by_name("NVFP4").unwrap_err().hints()[0].contains("never made"));
    }
}
