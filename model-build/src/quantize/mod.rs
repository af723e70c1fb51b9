//! Block types: encode, decode. One file per type, bit-identical to ggml's reference.

mod affine_search;
mod codebook;
mod float;
mod fp4;
mod grid;
mod iq1_m;
mod iq1_s;
mod iq2_s;
mod iq2_xs;
mod iq2_xxs;
mod iq3_s;
mod iq3_xxs;
mod iq4_nl;
mod iq4_xs;
#[cfg(test)]
mod k_quants_tests;
mod kernel;
mod lattice;
mod mxfp4;
mod nonlinear;
mod numeric;
mod nvfp4;
mod q1_0;
mod q2_0;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
mod reduce;
mod simd;
mod six_bit_scales;
mod super_block;
mod symmetric_search;
mod tensor;
mod ternary;
mod tq1_0;
mod tq2_0;
mod trit;

pub use tensor::{convert, decode, encode};

use crate::error::{Error, Result};
use crate::hub::BlockDef;

// One line per type: the list that formats, manifests, documentation and tests iterate.
/// Every block type.
pub static ALL: &[&BlockDef] = &[
    &iq1_m::DEF,
    &iq1_s::DEF,
    &iq2_s::DEF,
    &iq2_xs::DEF,
    &iq2_xxs::DEF,
    &iq3_s::DEF,
    &iq3_xxs::DEF,
    &iq4_nl::DEF,
    &iq4_xs::DEF,
    &mxfp4::DEF,
    &nvfp4::DEF,
    &q1_0::DEF,
    &q2_0::DEF,
    &q2_k::DEF,
    &q3_k::DEF,
    &q4_0::DEF,
    &q4_1::DEF,
    &q4_k::DEF,
    &q5_0::DEF,
    &q5_1::DEF,
    &q5_k::DEF,
    &q6_k::DEF,
    &q8_0::DEF,
    &tq1_0::DEF,
    &tq2_0::DEF,
];

/// Revision of [`convert`]: bumped when it gives other bytes.
pub const CONVERT_REVISION: u32 = 1;

/// A number that grows with every revision of an encoder.
pub fn revisions() -> u32 {
    ALL.iter().map(|def| def.revision).sum()
}

/// The block type of a name, or an error with the nearest one.
pub fn by_name(name: &str) -> Result<&'static BlockDef> {
    ALL.iter().copied().find(|def| def.name == name).ok_or_else(|| {
        let error = Error::manifest(format!("there is no block type `{name}`"));
        match crate::error::nearest(name, ALL.iter().map(|def| def.name)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(format!(
                "the block types are: {}",
                ALL.iter().map(|def| def.name).collect::<Vec<_>>().join(", ")
            )),
        }
    })
}

/// The block type of ggml's number.
pub fn by_ggml_id(id: u32) -> Option<&'static BlockDef> {
    ALL.iter().copied().find(|def| def.ggml_id == id)
}
