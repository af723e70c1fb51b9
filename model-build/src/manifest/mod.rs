//! The manifest: `[package.metadata.models]` or `models.toml`, typed, with spans for errors.

mod types;

pub use types::*;
