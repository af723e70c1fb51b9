//! The manifest: `[package.metadata.models]` or `models.toml`, typed, with spans for errors.
//!
//! Nothing outside this folder sees TOML. A key is described once, at its field in `types.rs`; the
//! decoder, the documentation and the tool's flags read that description.

use std::path::{Component, Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::error::{Error, Result};
use crate::fsx;
use reader::Value;
use text::{Spot, Text, quoted, suggest};

mod calibration;
mod decode;
mod docs;
mod flags;
mod graph;
mod integers;
mod platform;
mod reader;
mod scaled;
mod schema;
mod text;
mod types;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_checkpoint;
#[cfg(test)]
mod tests_errors;
#[cfg(test)]
mod tests_hostile;
#[cfg(test)]
mod tests_integers;

pub use decode::ollama_source;
pub use docs::docs;
pub use flags::target_from_flags;
pub use platform::TargetEnv;
pub use schema::{Field, Kind, REQUIRED, Word, WordInfo};
pub use types::*;

/// Largest manifest that is read, in bytes.
const LARGEST: u64 = 4 << 20;

/// How manifests are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether errors show the text with terminal colours.
    pub color: bool,
}

/// Reads the manifest at a path: a `Cargo.toml`, any other TOML file with the tables of a
/// `models.toml`, or a folder that holds one of the two. The workspace root is looked for, upwards,
/// only when a model is inherited from it.
///
/// # Errors
/// No such file, no model, or anything that is not as `docs/manifest.md` says.
pub fn load(path: &Path) -> Result<Manifest> {
    load_with(path, Options::default())
}

/// [`load`] with options.
///
/// # Errors
/// As [`load`].
pub fn load_with(path: &Path, options: Options) -> Result<Manifest> {
    let path = manifest_file(path)?;
    let text = read(&path)?;
    decode(&text, &path, options, |package| find_workspace(&path, package))
}

/// Reads a manifest from its text. `path` tells the form (`Cargo.toml` or not) and the folder that
/// sources are relative to; `workspace` is the text and path of the workspace root's `Cargo.toml`.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, path: &Path, workspace: Option<(&str, &Path)>) -> Result<Manifest> {
    decode(text, path, Options::default(), |_| {
        Ok(workspace.map(|(text, path)| (text.to_owned(), path.to_owned())))
    })
}

fn is_cargo(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "Cargo.toml")
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// The manifest's file: the path itself, or the one file in a folder that declares models.
fn manifest_file(path: &Path) -> Result<PathBuf> {
    if !fsx::is_dir(path) {
        if !fsx::is_file(path) {
            return Err(Error::manifest("there is no such manifest").file(path).hint(
                "name a Cargo.toml, a models.toml, or a folder with one of them; `model-build init` writes one",
            ));
        }
        return Ok(path.to_owned());
    }
    let (cargo, models) = (path.join("Cargo.toml"), path.join("models.toml"));
    match (fsx::is_file(&cargo), fsx::is_file(&models)) {
        (true, false) => Ok(cargo),
        (false, true) => Ok(models),
        (false, false) => Err(Error::manifest("no Cargo.toml and no models.toml here")
            .file(path)
            .hint("`model-build init` writes a manifest")),
        (true, true) => {
            let text = read(&cargo)?;
            let source = Text { text: &text, path: &cargo, prefix: "", color: false };
            let root = root(&source)?;
            let root = Value::root(&source, &root);
            if lookup(&root, &["package", "metadata", "models"])?.is_some() {
                return Err(Error::manifest(
                    "both Cargo.toml and models.toml declare models in this folder",
                )
                .file(path)
                .hint("name the file that is meant, or move the models into one of them"));
            }
            Ok(models)
        }
    }
}

fn read(path: &Path) -> Result<String> {
    let bytes = fsx::read_small(path, LARGEST)?;
    String::from_utf8(bytes).map_err(|e| {
        let good = e.as_bytes().get(..e.utf8_error().valid_up_to()).unwrap_or_default();
        let line = good.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
        Error::manifest(format!("not valid UTF-8 in line {line}"))
            .file(path)
            .hint("a manifest is UTF-8 text")
    })
}

/// Parses TOML; what the parser does not take is shown as every other error is.
fn root<'t>(text: &Text<'t>) -> Result<DeValue<'t>> {
    DeTable::parse(text.text).map(|table| DeValue::Table(table.into_inner())).map_err(|e| {
        let spot = Spot { at: e.span().unwrap_or(0..0), inside: None, item: String::new() };
        let label = if e.message() == "duplicate key" { "given before" } else { "here" };
        text.wrong(&spot, &format!("not valid TOML: {}", e.message()), label)
    })
}

/// The value under dotted keys, if it is there.
fn lookup<'d>(root: &Value<'d>, keys: &[&str]) -> Result<Option<Value<'d>>> {
    let mut value = root.clone();
    for key in keys {
        match value.entries("in this table")?.into_iter().find(|entry| entry.key == *key) {
            Some(found) => value = found,
            None => return Ok(None),
        }
    }
    Ok(Some(value))
}

fn decode(
    text: &str,
    path: &Path,
    options: Options,
    workspace: impl FnOnce(&Value<'_>) -> Result<Option<(String, PathBuf)>>,
) -> Result<Manifest> {
    let cargo = is_cargo(path);
    let prefix = if cargo { "package.metadata.models." } else { "" };
    let mut source = Text { text, path, prefix, color: options.color };
    let parsed = root(&source)?;
    let tree = Value::root(&source, &parsed);
    let has = |table| Ok::<_, Error>(lookup(&tree, &[table])?.is_some());
    let is_virtual = cargo && !has("package")? && has("workspace")?;
    if is_virtual {
        source.prefix = "workspace.metadata.models.";
    }
    let tree = Value::root(&source, &parsed);
    let models = match (cargo, is_virtual) {
        (false, _) => Some(tree.clone()),
        (true, false) => lookup(&tree, &["package", "metadata", "models"])?,
        (true, true) => lookup(&tree, &["workspace", "metadata", "models"])?,
    };
    let entries = match &models {
        Some(models) => models.entries("the models")?,
        None => Vec::new(),
    };
    if entries.is_empty() {
        return Err(no_models(&tree, cargo)?);
    }
    misplaced(&entries, cargo)?;
    decode::check_names(&entries, "model")?;

    let base = folder(path);
    let mut root_file = None;
    let mut find_root = Some(workspace);
    let mut decoded = Vec::new();
    for entry in &entries {
        let inherits = cargo && !is_virtual && entry.is_table() && has_key(entry, "workspace")?;
        let model = if inherits {
            if let Some(find) = find_root.take() {
                root_file = find(&tree)?;
            }
            decode::inherited(entry, base, |key| {
                from_workspace(entry, key, root_file.as_ref(), options)
            })?
        } else {
            decode::model(entry, base)?
        };
        if model.targets.is_empty() {
            return Err(decode::without_targets(entry));
        }
        decoded.push(model);
    }
    decoded.sort_by(|a, b| a.name.cmp(&b.name));
    let workspace = root_file.map(|(_, path)| path);
    Ok(Manifest { path: path.to_owned(), workspace, models: decoded })
}

fn has_key(value: &Value<'_>, key: &str) -> Result<bool> {
    Ok(value.table()?.contains_key(key))
}

/// The workspace's model of the name of `entry`; `key` is the `workspace = true` that asks for it.
fn from_workspace(
    entry: &Value<'_>,
    key: &Value<'_>,
    workspace: Option<&(String, PathBuf)>,
    options: Options,
) -> Result<Model> {
    let Some((text, path)) = workspace else {
        return Err(key
            .wrong("this package is in no workspace", "nothing to inherit from")
            .hint("no Cargo.toml above it has a `[workspace]`; declare the whole model here"));
    };
    let prefix = "workspace.metadata.models.";
    let source = Text { text, path, prefix, color: options.color };
    let parsed = root(&source)?;
    let tree = Value::root(&source, &parsed);
    let entries = match lookup(&tree, &["workspace", "metadata", "models"])? {
        Some(models) => models.entries("the models")?,
        None => Vec::new(),
    };
    decode::check_names(&entries, "model")?;
    let Some(model) = entries.iter().find(|model| model.key == entry.key) else {
        let name = quoted(entry.key);
        let error = key.wrong(
            &format!("the workspace declares no model {name}"),
            &format!("not in {}", path.display()),
        );
        let names: Vec<&str> = entries.iter().map(|model| model.key).collect();
        return Err(match suggest(entry.key, &names) {
            Some(near) => error.hint(format!("did you mean `{near}.workspace = true`?")),
            None if names.is_empty() => error.hint(format!(
                "add a table `[workspace.metadata.models.{}]` to {}",
                entry.key,
                path.display()
            )),
            None => error.hint(format!("it declares: {}", names.join(", "))),
        });
    };
    decode::model(model, folder(path))
}

/// The error for a manifest without models: what to add, or what was probably meant.
fn no_models(root: &Value<'_>, cargo: bool) -> Result<Error> {
    let path = root.text.path;
    let prefix = root.text.prefix;
    if cargo {
        for table in [&["package", "metadata"][..], &["workspace", "metadata"], &["metadata"], &[]]
        {
            let Some(value) = lookup(root, table)? else { continue };
            if !value.is_table() {
                continue;
            }
            for entry in value.entries("in this table")? {
                let near = suggest(entry.key, &["models"]).is_some();
                let inherits = table == ["workspace", "metadata"] && prefix.starts_with("package");
                if inherits && entry.key == "models" {
                    let message = "this package declares no models, only its workspace does";
                    return Ok(root.text.wrong(&entry.key_spot, message, "for members to inherit")
                        .hint("inherit a model by name: `[package.metadata.models]`, `embedder.workspace = true`"));
                }
                if near && entry.is_table() && !(inherits || entry.spot.at.is_empty()) {
                    let wanted = prefix.trim_end_matches('.');
                    if format!("{}.{}", table.join("."), entry.key) != wanted {
                        let message = "no models are declared, and this table is not read";
                        let label = "not read";
                        return Ok(root
                            .text
                            .wrong(&entry.key_spot, message, label)
                            .hint(format!("did you mean `[{wanted}]`?")));
                    }
                }
            }
        }
    }
    Ok(Error::manifest("no models are declared").file(path).hint(format!(
        "add these lines, with the folder or file of your model:\n\n    \
         [{prefix}my-model]\n    source = \"models/my-model\"\n\n    \
         [{prefix}my-model.targets.app]\n    format = \"onnx\""
    )))
}

/// Tables of the other form, at the places where people put them.
fn misplaced(models: &[Value<'_>], cargo: bool) -> Result<()> {
    for entry in models {
        let hint = match entry.key {
            "workspace" if !entry.is_table() => {
                "models are inherited one by one: `embedder.workspace = true`"
            }
            "package" | "workspace" if !cargo && has_key(entry, "metadata")? => {
                "only a file named Cargo.toml has `[package.metadata.models]`; elsewhere a model's table stands at the root: `[embedder]`"
            }
            "models" if !cargo && !has_key(entry, "source")? => {
                "in this file a model's table stands at the root: `[embedder]`, `[embedder.targets.app]`"
            }
            _ => continue,
        };
        let message = format!("{} is no model", quoted(entry.key));
        return Err(entry.text.wrong(&entry.key_spot, &message, "not a model").hint(hint));
    }
    Ok(())
}

/// The `Cargo.toml` of the workspace that a package is in, as cargo finds it: the package's own,
/// the one `package.workspace` names, or the nearest above whose `exclude` does not name it.
fn find_workspace(path: &Path, package: &Value<'_>) -> Result<Option<(String, PathBuf)>> {
    if lookup(package, &["workspace"])?.is_some() {
        return Ok(Some((package.text.text.to_owned(), path.to_owned())));
    }
    let full = std::path::absolute(path).map_err(|e| Error::io("find", path, e))?;
    let full = without_dots(&full);
    let own = folder(&full);
    if let Some(named) = lookup(package, &["package", "workspace"])? {
        let root_path = without_dots(&own.join(named.line()?)).join("Cargo.toml");
        if !fsx::is_file(&root_path) {
            let label = format!("no {}", root_path.display());
            return Err(named.wrong("the workspace root has no Cargo.toml", &label));
        }
        return Ok(Some((read(&root_path)?, root_path)));
    }
    for folder in own.ancestors().skip(1) {
        let candidate = folder.join("Cargo.toml");
        if !fsx::is_file(&candidate) {
            continue;
        }
        let text = read(&candidate)?;
        if is_root_of(&text, &candidate, own)? {
            return Ok(Some((text, candidate)));
        }
    }
    Ok(None)
}

/// Whether a `Cargo.toml` is a workspace root that does not exclude the package in `member`.
fn is_root_of(text: &str, path: &Path, member: &Path) -> Result<bool> {
    let source = Text { text, path, prefix: "", color: false };
    let parsed = root(&source)?;
    let tree = Value::root(&source, &parsed);
    if lookup(&tree, &["workspace"])?.is_none() {
        return Ok(false);
    }
    let listed = |key: &str| -> Result<Vec<PathBuf>> {
        let Some(list) = lookup(&tree, &["workspace", key])? else { return Ok(Vec::new()) };
        Ok(list.texts().map(|text| without_dots(&folder(path).join(text))).collect())
    };
    let excluded = listed("exclude")?.iter().any(|folder| member.starts_with(folder));
    let included = listed("members")?.iter().any(|folder| member == folder);
    Ok(included || !excluded)
}

/// The path with `.` and `..` taken out by name.
fn without_dots(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            _ => out.push(part),
        }
    }
    out
}
