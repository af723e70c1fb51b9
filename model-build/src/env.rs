//! The only reader of the environment. Nothing here may end up in a cache key.
#![allow(clippy::disallowed_methods)] // this is the funnel

use std::ffi::OsString;
use std::path::PathBuf;

/// The value of a variable, if it is set and valid Unicode.
pub fn var(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The value of a variable as a path, if it is set and not empty.
pub fn path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from)
}

/// Whether a variable is set to anything.
pub fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some()
}

/// All variables with a prefix, sorted by name.
pub fn with_prefix(prefix: &str) -> Vec<(String, OsString)> {
    let mut found: Vec<_> = std::env::vars_os()
        .filter_map(|(k, v)| k.into_string().ok().map(|k| (k, v)))
        .filter(|(k, _)| k.starts_with(prefix))
        .collect();
    found.sort();
    found
}

/// The folder of Ollama's store: `OLLAMA_MODELS`, else `.ollama/models` in the user's folder.
pub fn ollama_models() -> Option<PathBuf> {
    let home = || path(if cfg!(windows) { "USERPROFILE" } else { "HOME" });
    path("OLLAMA_MODELS").or_else(|| Some(home()?.join(".ollama").join("models")))
}
