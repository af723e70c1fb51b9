//! Running graphs: ONNX Runtime, found at run time, or the embedded runner, which refuses graphs it
//! has not been checked on.

#[cfg_attr(not(any(feature = "rten", feature = "ort")), allow(dead_code))]
mod convert;
#[cfg(any(feature = "rten", feature = "ort"))]
mod narrow;
#[cfg(feature = "ort")]
mod onnxruntime;
mod optimized;
#[cfg(feature = "rten")]
mod rten;
#[cfg(feature = "rten")]
mod rten_gate;
mod runner;
#[cfg(feature = "rten")]
mod saturation;

pub(crate) use convert::converted;
pub use optimized::{Level, OPTIMIZED_REVISION, optimized, optimizer_identity};
pub use runner::{Files, RunnerChoice};
#[allow(unused_imports)]
pub(crate) use runner::{Model, Runner, Scratch, Session, Setup, choose, tapped};

use crate::error::Result;

/// The file that [`identity`] would open for a choice, where there is one and its place is known
/// without asking the system's loader: as long as it is the same file, so is the identity.
pub fn library(choice: RunnerChoice) -> Option<std::path::PathBuf> {
    runner::library(choice)
}

/// What would run graphs: name, version and optimization level, for a cache key. Opens the
/// library of ONNX Runtime (a few milliseconds) when the choice comes to it, and no model.
pub fn identity(choice: RunnerChoice) -> Result<String> {
    let runner = choose(choice)?;
    Ok(format!("{}, {}", runner.name(), runner.level(&Setup::default())))
}
