//! Chat templates: one, or several by name, from `tokenizer_config.json` or files of their own.

use bytes::Bytes;
use serde_json::Value as Json;

use super::files::Files;
use crate::error::{Error, Result};
use crate::hub::{Meta, MetaArray};

const KEY: &str = "tokenizer.chat_template";
const JINJA: &str = "chat_template.jinja";
const JSON: &str = "chat_template.json";
const FOLDER: &str = "additional_chat_templates/";

/// `tokenizer.chat_template` and its named forms.
///
/// # Errors
/// A template file is no text or no JSON, or a template is neither a string nor a list of them.
pub(super) fn find(files: &Files<'_>) -> Result<Vec<(String, Meta)>> {
    if let Some(template) = files.setting("chat_template") {
        return keys(template).map_err(|e| e.file("tokenizer_config.json"));
    }
    if let Some(bytes) = files.assets.get(JINJA) {
        return from_folder(files, text(bytes, JINJA)?);
    }
    if let Some(bytes) = files.assets.get(JSON) {
        let json: Json = serde_json::from_slice(bytes)
            .map_err(|e| Error::malformed(format!("not valid JSON: {e}")).file(JSON))?;
        return json
            .get("chat_template")
            .map_or(Ok(Vec::new()), |template| keys(template).map_err(|e| e.file(JSON)));
    }
    Ok(Vec::new())
}

fn from_folder(files: &Files<'_>, default: String) -> Result<Vec<(String, Meta)>> {
    let mut named = Vec::new();
    for (path, bytes) in files.assets.range(FOLDER.to_owned()..) {
        let Some(file) = path.strip_prefix(FOLDER) else { break };
        if let Some(name) = file.strip_suffix(".jinja") {
            named.push((name.to_owned(), text(bytes, path)?));
        }
    }
    named.insert(0, ("default".to_owned(), default));
    Ok(of_list(named))
}

fn text(bytes: &[u8], name: &str) -> Result<String> {
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|_| Error::malformed("the template is not UTF-8").file(name))
}

fn keys(template: &Json) -> Result<Vec<(String, Meta)>> {
    let broken = || {
        Error::malformed("neither a template nor a list of templates with names")
            .item("chat_template")
    };
    match template {
        Json::Null => Ok(Vec::new()),
        Json::String(text) => Ok(vec![(KEY.to_owned(), Meta::text(text))]),
        Json::Array(entries) => {
            let mut named = Vec::with_capacity(entries.len());
            for entry in entries {
                let field = |name| entry.get(name).and_then(Json::as_str);
                match (field("name"), field("template")) {
                    (Some(name), Some(text)) => named.push((name.to_owned(), text.to_owned())),
                    _ => return Err(broken()),
                }
            }
            Ok(of_list(named))
        }
        _ => Err(broken()),
    }
}

/// Named templates under keys of their own, their names as a list, the one named `default` last.
fn of_list(named: Vec<(String, String)>) -> Vec<(String, Meta)> {
    let mut out: Vec<(String, Meta)> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    let mut default = None;
    for (name, text) in named {
        let name: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        if name == "default" {
            default = Some(text);
        } else if !name.is_empty() {
            let key = format!("{KEY}.{name}");
            out.retain(|(k, _)| *k != key);
            out.push((key, Meta::text(text)));
            names.push(name);
        }
    }
    names.sort();
    names.dedup();
    if !names.is_empty() {
        let names = names.into_iter().map(Bytes::from).collect();
        out.push(("tokenizer.chat_templates".to_owned(), Meta::Array(MetaArray::Text(names))));
    }
    out.extend(default.map(|text| (KEY.to_owned(), Meta::text(text))));
    out
}
