//! Block types: encode, decode. One file per type, bit-identical to ggml's reference.

mod kernel;

use crate::error::{Error, Result};
use crate::hub::BlockDef;

// One line per type: the list that formats, manifests, documentation and tests iterate.
/// Every block type.
pub static ALL: &[&BlockDef] = &[];

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
