//! Embedding, end to end: crates that cargo builds, whose build script calls `embed::generate`,
//! whose source says `include_model!`, and which run.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // tests

mod assembly;
mod crates;
mod lints;
mod macros;
mod object;
mod run;
mod sidecar;
