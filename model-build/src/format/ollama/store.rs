//! The store: names → manifests → blobs.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::{env, fsx};

/// What stands for the parts of a name that are left out.
const HOST: &str = "registry.ollama.ai";
const NAMESPACE: &str = "library";
const TAG: &str = "latest";

/// The longest manifest that is read.
const MANIFEST_CAP: u64 = 4 << 20;

/// What the media types of manifests start with.
const MANIFEST_TYPE: &str = "application/vnd.docker.distribution.manifest";
/// What the media types of layers start with.
const LAYER_TYPE: &str = "application/vnd.ollama.image.";

/// The files of a model in a store. Each is there and as long as the manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The manifest.
    pub manifest: PathBuf,
    /// The model, a GGUF file.
    pub model: PathBuf,
    /// The template of prompts, in Go's language.
    pub template: Option<PathBuf>,
    /// The system prompt.
    pub system: Option<PathBuf>,
    /// Parameters, a JSON object.
    pub params: Option<PathBuf>,
    /// Messages that a chat begins with, JSON.
    pub messages: Option<PathBuf>,
    /// Licences.
    pub licenses: Vec<PathBuf>,
    /// Projectors of images or sound into the model, GGUF files of their own; no part of the model.
    pub projectors: Vec<PathBuf>,
}

impl Located {
    /// The files that a model is read from, besides the manifest.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let layers = [&self.template, &self.system, &self.params, &self.messages];
        let texts = layers.into_iter().flatten().chain(&self.licenses);
        std::iter::once(&self.model).chain(texts).map(PathBuf::as_path)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u64,
    media_type: String,
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: String,
    size: u64,
}

/// Finds a model in the store at `root` by its name, `[HOST/][NAMESPACE/]NAME[:TAG]`, with or
/// without `ollama:` before it. The defaults are Ollama's: its registry, `library` and `latest`.
///
/// # Errors
/// The name is none, the store has no such model, or a blob is missing or of another length.
pub fn locate(root: &Path, name: &str) -> Result<Located> {
    let manifest = manifest_path(root, name)?;
    if !fsx::is_file(&manifest) {
        return Err(no_model(name.strip_prefix("ollama:").unwrap_or(name), &manifest));
    }
    read_manifest(&manifest)
}

fn no_model(name: &str, manifest: &Path) -> Error {
    Error::source_missing(format!("the store has no model `{name}`")).file(manifest).hint(format!(
        "fetch it with `ollama pull {name}`; another store is named by OLLAMA_MODELS"
    ))
}

/// The error for the manifest of a model that the store of Ollama does not have; `None` where there
/// is such a file, or the path leads elsewhere.
pub fn missing(manifest: &Path) -> Option<Error> {
    let root = root_of(manifest).ok()?;
    let is_store = env::ollama_models().is_some_and(|known| known == root);
    if !is_store || fsx::is_file(manifest) {
        return None;
    }
    let inside = manifest.strip_prefix(root.join("manifests")).ok()?;
    let parts: Vec<&str> = inside.iter().map(|part| part.to_str()).collect::<Option<_>>()?;
    let [host, namespace, model, tag] = parts.as_slice() else { return None };
    let name = match (*host, *namespace) {
        (HOST, NAMESPACE) => format!("{model}:{tag}"),
        (HOST, namespace) => format!("{namespace}/{model}:{tag}"),
        (host, namespace) => format!("{host}/{namespace}/{model}:{tag}"),
    };
    Some(no_model(&name, manifest))
}

/// Where the manifest of a model lies in the store at `root`, if the store has it.
///
/// # Errors
/// The name is none.
pub fn manifest_path(root: &Path, name: &str) -> Result<PathBuf> {
    let [host, namespace, model, tag] = parts(name)?;
    Ok(root.join("manifests").join(host).join(namespace).join(model).join(tag))
}

/// Takes a name apart into host, namespace, name and tag.
fn parts(name: &str) -> Result<[&str; 4]> {
    let wrong = || {
        Error::manifest(format!("`{}` is no name of an Ollama model", name.escape_debug()))
            .hint("names look like `llama3.2`, `llama3.2:1b` or `user/model:tag`")
    };
    let bare = name.strip_prefix("ollama:").unwrap_or(name);
    let (path, last) =
        bare.rsplit_once('/').map_or((None, bare), |(path, last)| (Some(path), last));
    let (model, tag) = last.split_once(':').unwrap_or((last, TAG));
    let (host, namespace) = match path.map(|path| path.split_once('/').ok_or(path)) {
        None => (HOST, NAMESPACE),
        Some(Err(namespace)) => (HOST, namespace),
        Some(Ok((host, namespace))) => (host, namespace),
    };
    // A host may have a port.
    let plain_host = host.replacen(':', "", 1);
    let all_plain = [plain_host.as_str(), namespace, model, tag].into_iter().all(is_plain);
    if all_plain { Ok([host, namespace, model, tag]) } else { Err(wrong()) }
}

/// Whether a part of a name is one file name on any system.
fn is_plain(part: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    part.len() <= 255
        && part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && part.bytes().all(plain)
}

/// Whether a file is a manifest by where it lies and what it says it is.
pub(super) fn is_manifest(path: &Path) -> Result<bool> {
    let Ok(root) = root_of(path) else { return Ok(false) };
    if !fsx::is_dir(&root.join("blobs")) || fsx::stat(path)?.len > MANIFEST_CAP {
        return Ok(false);
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kind {
        media_type: String,
    }
    let text = fsx::read_small(path, MANIFEST_CAP)?;
    Ok(serde_json::from_slice::<Kind>(&text)
        .is_ok_and(|kind| kind.media_type.starts_with(MANIFEST_TYPE)))
}

/// The store that a manifest lies in.
fn root_of(manifest: &Path) -> Result<PathBuf> {
    let whole = fsx::absolute(manifest)?;
    let folder = whole.ancestors().nth(4);
    let root = folder.filter(|f| f.file_name().is_some_and(|n| n == "manifests"));
    root.and_then(Path::parent).map(Path::to_owned).ok_or_else(|| {
        Error::source_missing("a manifest lies at manifests/HOST/NAMESPACE/NAME/TAG of a store")
            .file(manifest)
    })
}

/// Reads a manifest and looks at its blobs.
pub(super) fn read_manifest(path: &Path) -> Result<Located> {
    let root = root_of(path)?;
    let text = fsx::read_small(path, MANIFEST_CAP)?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|e| {
        Error::malformed(format!("not a valid manifest of an Ollama model: {e}")).file(path)
    })?;
    located(&root, path, &manifest).map_err(|e| e.file(path))
}

fn located(root: &Path, path: &Path, manifest: &Manifest) -> Result<Located> {
    if manifest.schema_version != 2 || !manifest.media_type.starts_with(MANIFEST_TYPE) {
        return Err(Error::unsupported(format!(
            "a manifest of type `{}`, version {}; version 2 is read",
            manifest.media_type, manifest.schema_version
        )));
    }
    let mut model = None;
    let mut found = Located {
        manifest: path.to_owned(),
        model: PathBuf::new(),
        template: None,
        system: None,
        params: None,
        messages: None,
        licenses: Vec::new(),
        projectors: Vec::new(),
    };
    for layer in &manifest.layers {
        let blob = || blob(root, layer).map_err(|e| e.item(format!("layer `{}`", layer.digest)));
        let slot = match layer.media_type.strip_prefix(LAYER_TYPE) {
            Some("model") => &mut model,
            Some("template") => &mut found.template,
            Some("system") => &mut found.system,
            Some("params") => &mut found.params,
            Some("messages") => &mut found.messages,
            Some("license") => {
                found.licenses.push(blob()?);
                continue;
            }
            Some("projector") => {
                found.projectors.push(blob()?);
                continue;
            }
            Some("adapter") => {
                return Err(Error::unsupported(
                    "the model has an adapter, which is not applied here",
                )
                .hint("name the model without it as the source"));
            }
            _ => {
                return Err(Error::unsupported(format!(
                    "a layer of type `{}`",
                    layer.media_type.escape_debug()
                ))
                .hint("models of one GGUF layer are read"));
            }
        };
        if slot.replace(blob()?).is_some() {
            return Err(Error::unsupported(format!("two layers of type `{}`", layer.media_type)));
        }
    }
    found.model = model.ok_or_else(|| Error::malformed("the manifest lists no model"))?;
    Ok(found)
}

/// The file of a layer, which is there and of the length that the manifest says.
fn blob(root: &Path, layer: &Layer) -> Result<PathBuf> {
    let hex = layer.digest.strip_prefix("sha256:").filter(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    });
    let hex = hex.ok_or_else(|| {
        Error::malformed(format!("`{}` is no digest", layer.digest.escape_debug()))
    })?;
    let path = root.join("blobs").join(format!("sha256-{hex}"));
    let found = fsx::stat(&path)?.len;
    if found != layer.size {
        return Err(Error::malformed(format!(
            "the manifest says {} bytes, and the blob has {found}",
            layer.size
        ))
        .file(path)
        .hint("the download is not complete: run `ollama pull` again"));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_with_ollamas_defaults() {
        let registry = HOST;
        assert_eq!(parts("a").unwrap(), [registry, "library", "a", "latest"]);
        assert_eq!(parts("ollama:a:1b-q4_0").unwrap(), [registry, "library", "a", "1b-q4_0"]);
        assert_eq!(parts("u/a").unwrap(), [registry, "u", "a", "latest"]);
        assert_eq!(parts("h.example:80/u/a:t").unwrap(), ["h.example:80", "u", "a", "t"]);
    }

    #[test]
    fn names_that_leave_the_store_are_refused() {
        for bad in [
            "",
            ":",
            "a:",
            ":t",
            "/a",
            "a/",
            "..",
            "../a",
            "a/../b",
            "a:..",
            "a:../../x",
            "a:b/c:d",
            "a/b/c/d",
            "a\\b",
            "a b",
            ".a",
            "a\0",
            "ollama:",
            "a::b",
            "C:/a",
            "h:1:2/u/a",
        ] {
            assert!(parts(bad).is_err(), "{bad:?}");
        }
    }
}
