//! The readers and writers of file formats against their oracles, and against hostile files.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a test suite

mod ggml;
mod gguf;
mod hostile_gguf;
mod hostile_onnx;
mod hostile_pytorch;
mod hostile_safetensors;
mod ollama;
mod onnx_files;
mod properties;
mod pytorch;
mod safetensors_write;
mod sources;

use std::path::{Path, PathBuf};

/// The committed fixtures of an area.
fn fixtures(area: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(area)
}

/// The ONNX fixtures, sorted.
fn onnx_fixtures() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(fixtures("onnx"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "onnx"))
        .collect();
    found.sort();
    assert!(found.len() > 60, "the fixtures are there");
    found
}
