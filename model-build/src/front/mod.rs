//! The fronts: what a person or another build system talks to.

pub mod cargo;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "engine")]
pub mod prebuilt;
