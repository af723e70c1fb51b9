//! The `build.rs` helper, end to end: crates that cargo builds, offline, whose build script is
//! `model_build::build()` and whose models are the digits of the example.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // tests

mod app;
mod cache;
mod checkpoint;
mod docs;
mod embedded;
mod errors;
mod incremental;
mod prebuilt;
mod tool;
