//! Ollama: models of its store, and a folder that `ollama create` takes.
//!
//! A store has `manifests/HOST/NAMESPACE/NAME/TAG`, JSON that lists layers by digest, and
//! `blobs/sha256-…`, their bytes. Of the layers, the model is GGUF; template, system prompt,
//! parameters, licences and messages become the key/values `ollama.template`, `ollama.system`,
//! `ollama.params` (JSON), `ollama.license` (an array) and `ollama.messages` (JSON).

mod modelfile;
mod store;

use std::path::Path;

use bytes::Bytes;

use super::{FormatDef, HubKind, SourceFiles, WriteOptions, gguf};
use crate::error::{Error, Result};
use crate::fsx;
use crate::hub::{Blob, Gguf, Hub, Meta, MetaArray, Segment};
use crate::source::Listing;

pub use store::{Located, locate, manifest_path, missing};

const TEMPLATE: &str = "ollama.template";
const SYSTEM: &str = "ollama.system";
const PARAMS: &str = "ollama.params";
const LICENSE: &str = "ollama.license";
const MESSAGES: &str = "ollama.messages";

/// The longest template, prompt, list of parameters or licence that is read.
const TEXT_CAP: u64 = 4 << 20;

/// Where a manifest's folder lies below the store's: `manifests/HOST/NAMESPACE/NAME`.
const UP: &str = "../../../..";

fn detect(listing: &Listing) -> Result<Option<Vec<String>>> {
    let (true, Some(name)) = (listing.single, listing.top().next()) else { return Ok(None) };
    let manifest = listing.root.join(name);
    if !store::is_manifest(&manifest)? {
        return Ok(None);
    }
    let located = store::read_manifest(&manifest)?;
    let mut names = vec![name.to_owned()];
    let blobs = located.files().map(|path| {
        let blob = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        format!("{UP}/blobs/{blob}")
    });
    names.extend(blobs);
    Ok(Some(names))
}

fn text(path: &Path) -> Result<Meta> {
    Ok(Meta::Text(fsx::read_text(path, TEXT_CAP)?.into()))
}

/// Reads a model of a store: its GGUF file, with the other layers as key/values `ollama.…`.
///
/// # Errors
/// A layer cannot be read, or is no model, text or JSON; names the file.
pub fn from_store(located: &Located) -> Result<Gguf> {
    let mut model =
        gguf::from_bytes(&fsx::map(&located.model)?).map_err(|e| e.file(&located.model))?;
    for (key, layer) in [(TEMPLATE, &located.template), (SYSTEM, &located.system)] {
        if let Some(path) = layer {
            model.set(key, text(path)?);
        }
    }
    for (key, layer) in [(PARAMS, &located.params), (MESSAGES, &located.messages)] {
        if let Some(path) = layer {
            let json = fsx::read_text(path, TEXT_CAP)?;
            modelfile::check(key, &json).map_err(|e| e.file(path))?;
            model.set(key, Meta::text(json));
        }
    }
    if !located.licenses.is_empty() {
        let each = located.licenses.iter();
        let texts = each.map(|path| Ok(Bytes::from(fsx::read_text(path, TEXT_CAP)?)));
        let texts = texts.collect::<Result<_>>()?;
        model.set(LICENSE, Meta::Array(MetaArray::Text(texts)));
    }
    Ok(model)
}

fn read_hub(files: &SourceFiles) -> Result<Hub> {
    let name = files
        .names
        .first()
        .ok_or_else(|| Error::source_missing("a source without files").file(&files.root))?;
    from_store(&store::read_manifest(&files.path(name))?).map(Hub::Gguf)
}

fn write_hub(hub: &Hub, options: &WriteOptions) -> Result<Vec<Blob>> {
    let Hub::Gguf(model) = hub else {
        return Err(Error::bug("only a GGUF model is written for Ollama"));
    };
    if options.split_max_size.is_some() {
        return Err(Error::manifest("Ollama takes no model in several files")
            .hint("leave out `split-max-size`"));
    }
    let file = modelfile::write(model, &options.file_name)?;
    let mut model = gguf::recorded(model, options);
    model
        .metadata
        .retain(|(key, _)| ![TEMPLATE, SYSTEM, PARAMS, LICENSE, MESSAGES].contains(&key.as_str()));
    Ok(vec![
        Blob { name: options.file_name.clone(), segments: gguf::segments(&model)? },
        Blob { name: "Modelfile".to_owned(), segments: vec![Segment::Bytes(file.into())] },
    ])
}

/// Ollama.
pub static OLLAMA: FormatDef = FormatDef {
    name: "ollama",
    about: "models of Ollama's store, and a GGUF file with a Modelfile that `ollama create` takes",
    holds: HubKind::Gguf,
    extensions: &["gguf"],
    looks_for: "a manifest in Ollama's store, `manifests/HOST/NAMESPACE/NAME/TAG`",
    revision: 1,
    detect,
    names: None,
    splits: false,
    read_state_dict: None,
    read: Some(read_hub),
    write: Some(write_hub),
};
