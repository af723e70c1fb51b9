//! Sources: what lies at a local path, as names relative to a folder.

use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};
use crate::fsx;

/// What lies at a path.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The folder the names are relative to.
    pub root: PathBuf,
    /// File names relative to `root`, with `/`, sorted: those of the folder and of its folders.
    /// For a single file, its name alone.
    pub names: Vec<String>,
    /// Whether the path is a file.
    pub single: bool,
}

impl Listing {
    /// Whether a name is there.
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name)
    }
    /// The names directly in the folder.
    pub fn top(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str).filter(|n| !n.contains('/'))
    }
}

/// Lists a file, or a folder and the folders in it. Links are followed; names that start with a dot
/// are left out, as are names that are not Unicode.
pub fn list(path: &Path) -> Result<Listing> {
    if !fsx::is_dir(path) {
        stat(path)?;
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .ok_or_else(|| Error::unsupported("a file name that is not Unicode").file(path))?;
        let root = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return Ok(Listing { root: root.to_owned(), names: vec![name.to_owned()], single: true });
    }
    let mut names = Vec::new();
    for (entry, name) in entries(path)? {
        if fsx::is_dir(&entry) {
            let inner = entries(&entry)?.into_iter().filter(|(path, _)| !fsx::is_dir(path));
            names.extend(inner.map(|(_, file)| format!("{name}/{file}")));
        } else {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(Listing { root: path.to_owned(), names, single: false })
}

fn entries(folder: &Path) -> Result<Vec<(PathBuf, String)>> {
    let name = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.to_owned();
        (!name.starts_with('.')).then_some((path, name))
    };
    Ok(fsx::list_dir(folder)?.into_iter().filter_map(name).collect())
}

/// The stat of a source's file. The error for a link that leads nowhere or round says so.
pub fn stat(path: &Path) -> Result<fsx::Stat> {
    fsx::stat(path).map_err(|e| {
        if fsx::is_link(path) {
            e.hint("this is a symbolic link that leads nowhere, or round in a loop")
        } else {
            e
        }
    })
}

/// Whether a name that stands in a source's file is a path that stays below the folder it is
/// relative to, as it is written, on any system.
pub fn is_inside(name: &str) -> bool {
    let path = name.replace('\\', "/");
    let path = Path::new(&path);
    !name.contains(['\0', ':'])
        && path.file_name().is_some()
        && path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_folder_are_not_inside() {
        for bad in ["", ".", "/etc/passwd", "../a", "a/../../b", "C:\\a", "\\a", "a\\..\\b", "a\0b"]
        {
            assert!(!is_inside(bad), "{bad:?}");
        }
        for good in ["a", "./a", "a/b.bin", "model.onnx_data", "..a"] {
            assert!(is_inside(good), "{good:?}");
        }
    }
}
