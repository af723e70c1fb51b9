//! `model-build init`: declares a model in the manifest of the current folder.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Context, LONGEST_MANIFEST};
use crate::error::{Error, Result};
use crate::fsx;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The model's source: a checkpoint folder or a model file
    #[arg(long)]
    source: PathBuf,
    /// The model's name [default: after the source]
    #[arg(long)]
    name: Option<String>,
}

const BUILD_RS: &str = "fn main() {\n    model_build::build();\n}\n";

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    crate::execute::facts(&args.source)?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => name_of(&args.source)?,
    };
    let cargo = fsx::is_file(Path::new("Cargo.toml"));
    let (file, table) = if cargo {
        (Path::new("Cargo.toml"), format!("package.metadata.models.{name}"))
    } else {
        (Path::new("models.toml"), name.clone())
    };
    let source = args.source.to_string_lossy().replace('\\', "/");
    let added = format!(
        "[{table}]\nsource = {source:?}\n\n[{table}.targets.fp32]\nformat = \"onnx\"\nverify = {{ cosine = 0.9999 }}\n"
    );
    let mut text = match fsx::stat_if_exists(file)? {
        Some(_) => fsx::read_text(file, LONGEST_MANIFEST)?,
        None => String::new(),
    };
    if text.contains(&format!("[{table}]")) {
        return Err(Error::manifest(format!("`{name}` is declared there already"))
            .file(file)
            .hint("pass another --name"));
    }
    if !text.is_empty() {
        text.truncate(text.trim_end().len());
        text.push_str("\n\n");
    }
    text.push_str(&added);
    toml::de::DeTable::parse(&text)
        .map_err(|e| Error::manifest(e.to_string()).file(file).hint("mend the file first"))?;
    fsx::write_atomic(file, text.as_bytes())?;
    let mut next = Vec::new();
    if cargo {
        match fsx::stat_if_exists(Path::new("build.rs"))? {
            None => fsx::write_atomic(Path::new("build.rs"), BUILD_RS.as_bytes())?,
            Some(_) => next.push("call `model_build::build();` in build.rs".to_owned()),
        }
        next.push("cargo add --build model-build && cargo add model-build-runtime".to_owned());
        next.push(format!("model_build_runtime::include_model!({name:?}); // in your code"));
    } else {
        next.push("model-build build --out artifacts".to_owned());
    }
    let mut out = format!("declared `{name}` in {}:\n\n{added}\nnext:\n", file.display());
    for step in &next {
        out.push_str(&format!("  {step}\n"));
    }
    context
        .ui
        .result(&out, &json!({ "event": "declared", "model": name, "file": file, "next": next }));
    Ok(())
}

/// A name after a path: its last part, with what names cannot hold replaced.
fn name_of(source: &Path) -> Result<String> {
    let stem = source.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let name: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name = name.trim_matches('-').to_lowercase();
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Ok(name);
    }
    Err(Error::manifest(format!("no name can be made of `{stem}`")).hint("pass --name"))
}
