//! What the suites share: oracles, fixtures, comparisons.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // test support

pub mod arrays;
pub mod artifact;
pub mod chromium;
pub mod crates;
pub mod fuzzing;
pub mod ggml;
pub mod gguf_table;
pub mod lowered;
pub mod node_tests;
pub mod onnxruntime;
pub mod pickles;
pub mod project;
pub mod rten;
