//! `model-build`: convert, quantize, verify and embed machine-learning models as part of the build.
//!
//! A `build.rs` calls [`build`]; everything else serves it and the tool of the same name.

#[cfg(feature = "engine")]
pub mod arch;
#[cfg(feature = "engine")]
pub mod bytes;
#[cfg(feature = "engine")]
pub mod cache;
#[cfg(feature = "engine")]
pub mod calibrate;
#[cfg(feature = "engine")]
pub mod digest;
#[cfg(feature = "engine")]
pub mod embed;
pub mod env;
pub mod error;
#[cfg(feature = "engine")]
pub mod execute;
#[cfg(feature = "engine")]
pub mod format;
pub mod front;
#[cfg(feature = "engine")]
pub mod fsx;
#[cfg(feature = "engine")]
pub mod hub;
#[cfg(feature = "engine")]
pub mod look;
#[cfg(feature = "engine")]
pub mod manifest;
#[cfg(feature = "engine")]
pub mod op;
#[cfg(feature = "engine")]
pub mod pass;
#[cfg(feature = "engine")]
pub mod plan;
#[cfg(feature = "engine")]
pub mod quantize;
#[cfg(feature = "engine")]
pub mod recipe;
#[cfg(feature = "engine")]
pub mod record;
#[cfg(feature = "engine")]
pub mod report;
#[cfg(feature = "engine")]
pub mod reuse;
#[cfg(feature = "engine")]
pub mod run;
#[cfg(feature = "engine")]
pub mod source;
#[cfg(feature = "engine")]
pub mod tokenizer;
#[cfg(feature = "engine")]
pub mod verify;

pub use error::{Error, ErrorKind};
pub use front::cargo::build;
#[cfg(feature = "cli")]
pub use front::cli;
