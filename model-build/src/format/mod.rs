//! Formats: bytes ↔ hub. Nothing outside a format's file sees its protobuf, JSON or pickle.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::hub::{Blob, Hub};

// One line per format: the list that the manifest, the command line, the docs and the tests iterate.
/// Every format.
pub static ALL: &[&FormatDef] = &[];

/// A file format.
pub struct FormatDef {
    /// The name in manifests.
    pub name: &'static str,
    /// One line for documentation.
    pub about: &'static str,
    /// File endings without the dot; the first is the one we write.
    pub extensions: &'static [&'static str],
    /// Bumped when the bytes it writes, or what it reads from the same bytes, change.
    pub revision: u32,
    /// Whether a source is of this format, from its file names and the first bytes of its main file.
    pub sniff: fn(&Sniff<'_>) -> bool,
    /// The files of a source that belong to the model, given all names in its folder.
    pub select: fn(&[String]) -> Vec<String>,
    /// Bytes → hub.
    pub read: Option<fn(&SourceFiles) -> Result<Hub>>,
    /// Hub → laid-out files; the first is the main one.
    pub write: Option<fn(&Hub, &WriteOptions) -> Result<Vec<Blob>>>,
}

impl std::fmt::Debug for FormatDef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What is looked at to tell a source's format.
pub struct Sniff<'a> {
    /// File names relative to the source folder (one name for a single-file source).
    pub names: &'a [String],
    /// The first bytes of the file, for a single-file source; empty for a folder.
    pub head: &'a [u8],
}

/// The local files of a source.
#[derive(Clone, Debug)]
pub struct SourceFiles {
    /// The folder the names are relative to.
    pub root: PathBuf,
    /// Names relative to `root`, with `/`, sorted.
    pub names: Vec<String>,
}

impl SourceFiles {
    /// The path of a name.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

/// How a format is to be written.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// The main file's name; other files of the artifact are named after it.
    pub file_name: String,
    /// Key/value pairs recorded in the file where the format has a place for them (provenance).
    pub metadata: Vec<(String, String)>,
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
