//! Artifacts: their files, and where the bytes are.

use crate::error::{Error, ErrorKind};
use crate::metadata::Metadata;
use crate::sidecar::{Check, Sidecar};

/// An artifact that this program was built with. Implemented by the types that
/// [`include_model!`](crate::include_model) makes.
pub trait Artifact: Sized + 'static {
    /// What is known of it at compile time.
    const METADATA: Metadata;

    #[doc(hidden)]
    fn files() -> &'static [File];

    #[doc(hidden)]
    fn skeleton() -> Option<&'static [u8]>;
}

/// A file of an artifact.
#[doc(hidden)]
pub struct File {
    pub name: &'static str,
    pub payload: Payload,
}

/// Where the bytes of a file are.
#[doc(hidden)]
pub enum Payload {
    /// In the executable.
    Embedded(&'static [u8]),
    /// Beside the executable.
    Sidecar(Sidecar),
    /// Nowhere: the crate was built for its documentation only.
    Stub,
}

impl File {
    /// The bytes, mapped for the life of the process where they stand beside the executable.
    pub(crate) fn bytes(&'static self, check: Check) -> Result<&'static [u8], Error> {
        match &self.payload {
            Payload::Embedded(bytes) => Ok(bytes),
            Payload::Sidecar(sidecar) => sidecar.bytes(check),
            Payload::Stub => Err(Error::new(
                ErrorKind::Artifact,
                format!("`{}` is not here: the crate was built for its documentation", self.name),
            )
            .hint("build without DOCS_RS in the environment")),
        }
    }
}

/// The main file's bytes.
#[doc(hidden)]
pub fn main_bytes<A: Artifact>() -> Result<&'static [u8], Error> {
    match A::files().first() {
        Some(file) => file.bytes(Check::Digest),
        None => Ok(&[]),
    }
}

/// The bytes of a file by its name.
#[doc(hidden)]
pub fn file_bytes<A: Artifact>(name: &str) -> Option<Result<&'static [u8], Error>> {
    A::files().iter().find(|f| f.name == name).map(|f| f.bytes(Check::Digest))
}
