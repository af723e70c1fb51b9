//! A `Modelfile`: what `ollama create` reads beside the model.

use serde_json::Value as Json;

use super::{LICENSE, MESSAGES, PARAMS, SYSTEM, TEMPLATE};
use crate::error::{Error, Result};
use crate::hub::{Gguf, Meta, MetaArray};

/// Writes the Modelfile of a model whose file has that name. A `tokenizer.chat_template` is no
/// template of Ollama's, whose language is Go's: it stays in the model.
///
/// # Errors
/// A key/value `ollama.…` is of another type than it should be, or cannot be quoted.
pub(super) fn write(model: &Gguf, file_name: &str) -> Result<String> {
    let mut out = format!("FROM ./{file_name}\n");
    for (key, word) in [(TEMPLATE, "TEMPLATE"), (SYSTEM, "SYSTEM")] {
        if let Some(value) = model.get(key) {
            let text = value.as_text().ok_or_else(|| not(key, "a text"))?;
            out += &format!("{word} {}\n", quoted(text).map_err(|e| item(e, key))?);
        }
    }
    if let Some(json) = json(model, PARAMS)? {
        parameters(&json, &mut out).map_err(|e| item(e, PARAMS))?;
    }
    if let Some(json) = json(model, MESSAGES)? {
        messages(&json, &mut out).map_err(|e| item(e, MESSAGES))?;
    }
    match model.get(LICENSE) {
        None => {}
        Some(Meta::Array(MetaArray::Text(all))) => {
            for text in all {
                let text = std::str::from_utf8(text).map_err(|_| not(LICENSE, "text"))?;
                out += &format!("LICENSE {}\n", quoted(text).map_err(|e| item(e, LICENSE))?);
            }
        }
        Some(_) => return Err(not(LICENSE, "an array of texts")),
    }
    Ok(out)
}

/// Whether parameters or messages are such that a Modelfile can have them.
pub(super) fn check(key: &str, text: &str) -> Result<()> {
    let json = parse(key, text)?;
    let mut out = String::new();
    let checked = if key == PARAMS { parameters } else { messages };
    checked(&json, &mut out).map_err(|e| item(e, key))
}

fn item(error: Error, key: &str) -> Error {
    error.item(format!("key `{key}`"))
}
fn not(key: &str, what: &str) -> Error {
    item(Error::malformed(format!("the value is not {what}")), key)
}

fn parse(key: &str, text: &str) -> Result<Json> {
    serde_json::from_str(text)
        .map_err(|e| item(Error::malformed(format!("not valid JSON: {e}")), key))
}

fn json(model: &Gguf, key: &str) -> Result<Option<Json>> {
    let Some(value) = model.get(key) else { return Ok(None) };
    parse(key, value.as_text().ok_or_else(|| not(key, "a text"))?).map(Some)
}

/// A line for each parameter, and for each element of those that are lists.
fn parameters(json: &Json, out: &mut String) -> Result<()> {
    let all = json.as_object().ok_or_else(|| Error::malformed("not a JSON object"))?;
    for (name, value) in all {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if name.is_empty() || !name.bytes().all(plain) {
            return Err(Error::malformed(format!("a parameter `{}`", name.escape_debug())));
        }
        let one = std::slice::from_ref(value);
        for value in value.as_array().map_or(one, Vec::as_slice) {
            let text = match value {
                Json::String(text) => quoted(text)?,
                Json::Number(number) => number.to_string(),
                Json::Bool(yes) => yes.to_string(),
                _ => {
                    return Err(Error::unsupported(format!("parameter `{name}` is `{value}`")));
                }
            };
            *out += &format!("PARAMETER {name} {text}\n");
        }
    }
    Ok(())
}

fn messages(json: &Json, out: &mut String) -> Result<()> {
    let all = json.as_array().ok_or_else(|| Error::malformed("not a JSON array"))?;
    for message in all {
        let field = |name: &str| message.get(name).and_then(Json::as_str);
        let (Some(role @ ("system" | "user" | "assistant")), Some(content)) =
            (field("role"), field("content"))
        else {
            return Err(Error::unsupported(format!("a message `{message}`")));
        };
        *out += &format!("MESSAGE {role} {}\n", quoted(content)?);
    }
    Ok(())
}

/// A text as a Modelfile quotes it. There is no escape: three quotes before the end of a line end
/// a text, and Ollama drops characters that Go does not call printable.
fn quoted(text: &str) -> Result<String> {
    if text.contains("\"\"\"") {
        return Err(Error::unsupported(
            "a text with three quotes in a row, which a Modelfile cannot have",
        ));
    }
    if let Some(dropped) = text.chars().find(|c| is_dropped(*c)) {
        return Err(Error::unsupported(format!(
            "a text with the character U+{:04X}, which a Modelfile cannot have",
            u32::from(dropped)
        )));
    }
    let plain = !text.contains(['"', '\n', '\r']);
    Ok(if plain { format!("\"{text}\"") } else { format!("\"\"\"{text}\"\"\"") })
}

/// Whether a character is a control, a space other than the plain one, invisible, or private.
fn is_dropped(c: char) -> bool {
    let kept = matches!(c, ' ' | '\t' | '\n' | '\r');
    let invisible = matches!(c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..);
    !kept && (c.is_control() || c.is_whitespace() || invisible)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_or_refused() {
        assert_eq!(quoted("a b").unwrap(), "\"a b\"");
        assert_eq!(quoted("").unwrap(), "\"\"");
        assert_eq!(quoted("say \"a\" b\n").unwrap(), "\"\"\"say \"a\" b\n\"\"\"");
        assert!(quoted("a\"\"\"b").is_err());
        assert_eq!(quoted("a\"").unwrap(), "\"\"\"a\"\"\"\"");
        assert!(quoted("a\u{a0}b").is_err() && quoted("a\u{c}b").is_err());
    }
}
