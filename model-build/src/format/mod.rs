//! Formats: bytes ↔ hub. Nothing outside a format's file sees its protobuf, JSON or pickle.

mod folder;
pub mod ggml;
pub mod gguf;
pub mod ollama;
pub mod onnx;
pub mod pytorch;
pub mod safetensors;
mod shards;

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::hub::{Blob, Hub};
use crate::source::{self, Listing};

// One line per format: the list that the manifest, the command line, the docs and the tests iterate.
/// Every format.
pub static ALL: &[&FormatDef] = &[
    &ggml::GGML,
    &gguf::GGUF,
    &ollama::OLLAMA,
    &onnx::ONNX,
    &pytorch::PYTORCH,
    &safetensors::SAFETENSORS,
];

/// A file format.
pub struct FormatDef {
    /// The name in manifests.
    pub name: &'static str,
    /// One line for documentation.
    pub about: &'static str,
    /// What it is read to and written from.
    pub holds: HubKind,
    /// File endings without the dot; the first is the one we write.
    pub extensions: &'static [&'static str],
    /// Bumped when the bytes it writes, or what it reads from the same bytes, change.
    pub revision: u32,
    /// What a source of this format has in its folder, for messages.
    pub looks_for: &'static str,
    /// The names of the files that belong to the model, the main one first, if a source is of this
    /// format; an error when it is, and is damaged or leaves open which model is meant. Looks at
    /// names, and at the insides of files only as far as they name other files.
    pub detect: fn(&Listing) -> Result<Option<Vec<String>>>,
    /// For a format whose main file names other files of the model inside itself: those names,
    /// relative to its folder. Reads the file.
    pub names: Option<fn(&Path) -> Result<Vec<String>>>,
    /// Whether [`WriteOptions::split_max_size`] means something to it.
    pub splits: bool,
    /// Bytes → hub, of the state dict that a path of keys names, for a format whose files may hold
    /// several.
    pub read_state_dict: Option<fn(&SourceFiles, &str) -> Result<Hub>>,
    /// Bytes → hub.
    pub read: Option<fn(&SourceFiles) -> Result<Hub>>,
    /// Hub → laid-out files; the first is the main one.
    pub write: Option<fn(&Hub, &WriteOptions) -> Result<Vec<Blob>>>,
}

/// Which of the two hubs a format belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HubKind {
    /// Config, named tensors and tokenizer files.
    Checkpoint,
    /// A computation graph.
    Graph,
    /// Key/values and tensors under GGUF's names.
    Gguf,
}

impl HubKind {
    /// The word for messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Graph => "graph",
            Self::Gguf => "GGUF model",
        }
    }
}

impl std::fmt::Debug for FormatDef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The local files of a source.
#[derive(Clone, Debug)]
pub struct SourceFiles {
    /// The folder the names are relative to.
    pub root: PathBuf,
    /// Names relative to `root`, with `/`: the main file, then the others, sorted.
    pub names: Vec<String>,
}

impl SourceFiles {
    /// The path of a name.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

/// A source whose format is known.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The format.
    pub format: &'static FormatDef,
    /// The files that belong to the model. What else lies beside them does not matter.
    pub files: SourceFiles,
}

/// Finds out what a file or folder is. An error lists what was looked for and what is there.
pub fn resolve(path: &Path) -> Result<Resolved> {
    resolve_with(path, &mut named)
}

/// Reads a source.
///
/// # Errors
/// As the format's reader; and `state_dict` is given for a format that has no such thing.
pub fn read(format: &FormatDef, files: &SourceFiles, state_dict: Option<&str>) -> Result<Hub> {
    let cannot = || Error::unsupported(format!("{} cannot be read", format.name));
    let read = match state_dict {
        None => format.read.ok_or_else(cannot)?(files),
        Some(name) => {
            let read = format.read_state_dict.ok_or_else(|| {
                Error::manifest(format!(
                    "`state-dict` is for PyTorch files, and this source is {}",
                    format.name
                ))
                .hint("remove `state-dict`")
            })?;
            read(files, name)
        }
    };
    read.map_err(|e| match e.kind() {
        ErrorKind::Malformed if e.hints().is_empty() => e.hint(
            "the file is damaged, or what wrote it is: fetch it again, or export the model anew",
        ),
        _ => e,
    })
}

/// The files that a model's main file names inside itself, by reading it.
pub fn named(format: &'static FormatDef, main: &Path) -> Result<Vec<String>> {
    format.names.map_or_else(|| Ok(Vec::new()), |names| names(main))
}

/// [`resolve`], where `named` stands in for [`named`].
pub fn resolve_with(
    path: &Path,
    named: &mut dyn FnMut(&'static FormatDef, &Path) -> Result<Vec<String>>,
) -> Result<Resolved> {
    let listing = source::list(path)?;
    let mut found = Vec::new();
    for format in ALL {
        if let Some(names) = (format.detect)(&listing).map_err(|e| e.file(path))? {
            found.push(Resolved {
                format,
                files: SourceFiles { root: listing.root.clone(), names },
            });
        }
    }
    if found.len() > 1 {
        let each = found.iter().map(|r| {
            format!("{} ({})", r.format.name, r.files.names.first().map_or("", String::as_str))
        });
        return Err(Error::source_missing(format!(
            "models of several formats are here: {}",
            each.collect::<Vec<_>>().join(", ")
        ))
        .file(path)
        .hint("name one of the files as the source"));
    }
    let mut resolved = found.pop().ok_or_else(|| unknown(path, &listing))?;
    if let Some(main) = resolved.files.names.first() {
        let more = named(resolved.format, &resolved.files.path(main))?;
        resolved.files.names.extend(more);
    }
    if let Some((_, others)) = resolved.files.names.split_first_mut() {
        others.sort_unstable();
    }
    resolved.files.names.dedup();
    for name in &resolved.files.names {
        source::stat(&resolved.files.path(name))?;
    }
    Ok(resolved)
}

fn unknown(path: &Path, listing: &Listing) -> Error {
    let wanted = ALL.iter().map(|f| format!("{}: {}", f.name, f.looks_for)).collect::<Vec<_>>();
    let hint = format!("looked for {}", wanted.join("; "));
    if listing.single {
        return Error::source_missing("this file is of no format known here").file(path).hint(hint);
    }
    let mut there: Vec<&str> = listing.names.iter().map(String::as_str).take(8).collect();
    if listing.names.len() > there.len() {
        there.push("…");
    }
    let message = match there.as_slice() {
        [] => "there is no file in this folder".to_owned(),
        there => format!("no model found among {}", there.join(", ")),
    };
    Error::source_missing(message).file(path).hint(hint)
}

/// How a format is to be written.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// The main file's name; other files of the artifact are named after it.
    pub file_name: String,
    /// Key/value pairs recorded in the file where the format has a place for them (provenance).
    pub metadata: Vec<(String, String)>,
    /// Formats that split: the longest that a file of the artifact may be, in bytes of tensors.
    pub split_max_size: Option<u64>,
    /// ONNX: large initializers lie in a file of their own, each at the start of a page.
    pub external: bool,
}

/// The format of that name, or an error with the nearest one.
pub fn by_name(name: &str) -> Result<&'static FormatDef> {
    ALL.iter().copied().find(|d| d.name == name).ok_or_else(|| {
        let error = Error::manifest(format!("there is no format `{name}`"));
        match crate::error::nearest(name, ALL.iter().map(|d| d.name)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(format!(
                "the formats are: {}",
                ALL.iter().map(|d| d.name).collect::<Vec<_>>().join(", ")
            )),
        }
    })
}
