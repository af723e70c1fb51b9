//! Backends: one file each behind its feature. Nothing outside a file sees its crate's types.

#[cfg(feature = "ort")]
mod ort;
#[cfg(feature = "rten")]
mod rten;

use crate::error::{Error, ErrorKind};
use crate::metadata::Metadata;
use crate::session::{Backend, LoadOptions};
use crate::tensor::{Value, View};

/// A model in a backend.
pub(crate) trait Run: Send + Sync {
    /// Runs on inputs in the model's order, checked against their ports; gives one value of the
    /// declared type per output, in the model's order.
    fn run(&self, inputs: &[View<'_>]) -> Result<Vec<Value>, Error>;
}

/// What a backend loads.
#[cfg_attr(not(any(feature = "rten", feature = "ort")), allow(dead_code))]
pub(crate) struct Parts {
    pub(crate) metadata: &'static Metadata,
    /// The ONNX protobuf; its external data are slices of `files`.
    pub(crate) proto: &'static [u8],
    /// The files by the names that external data is located by.
    pub(crate) files: Vec<(&'static str, &'static [u8])>,
}

/// Loads a model into the backend that the options ask for.
pub(crate) fn load(parts: &Parts, options: &LoadOptions) -> Result<Box<dyn Run>, Error> {
    #[allow(unused_variables)] // with every feature none is missing
    let missing = |feature: &str| -> Result<Box<dyn Run>, Error> {
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("no backend runs `{}`", parts.metadata.model),
        )
        .hint(format!("enable the feature `{feature}` of model-build-runtime")))
    };
    match options.backend {
        #[cfg(feature = "rten")]
        Backend::Auto | Backend::Rten => rten::load(parts, options),
        #[cfg(all(feature = "ort", not(feature = "rten")))]
        Backend::Auto => ort::load(parts, options),
        #[cfg(not(any(feature = "rten", feature = "ort")))]
        Backend::Auto => missing("rten` or `ort"),
        #[cfg(not(feature = "rten"))]
        Backend::Rten => missing("rten"),
        #[cfg(feature = "ort")]
        Backend::OnnxRuntime => ort::load(parts, options),
        #[cfg(not(feature = "ort"))]
        Backend::OnnxRuntime => missing("ort"),
    }
}

/// A failure of a backend's crate.
#[cfg(any(feature = "rten", feature = "ort"))]
fn failed(
    doing: &str,
    parts: &Metadata,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    let source = source.into();
    let message = format!("cannot {doing} `{}` (target `{}`): {source}", parts.model, parts.target);
    Error::new(ErrorKind::Backend, message).caused_by(source)
}
