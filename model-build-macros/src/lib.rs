//! `include_model!`: from a model's name to the text that build.rs wrote for it.
//!
//! The macro never sees a payload byte: it expands to one `include!`, which compilers and editors
//! follow like any other.

use std::path::Path;

use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

/// Declares the types of a model that `model_build::build()` in build.rs has built.
///
/// Takes the model's name, or `"model.target"`; the target may be left out where exactly one is
/// built for this platform. `include_model!("digits.int8")` declares `DigitsInt8` with
/// `METADATA`, `bytes()`, `load()`, and the structs `DigitsInt8Inputs` and `DigitsInt8Outputs`;
/// `include_model!("digits")` declares `Digits`, `DigitsInputs` and `DigitsOutputs`. It stands at the
/// level of a module, not in a function.
#[proc_macro]
pub fn include_model(input: TokenStream) -> TokenStream {
    let (span, parsed) = argument(input);
    match parsed.and_then(|name| resolve(&name)) {
        Ok(file) => include(&file, span),
        Err(message) => error(&message, span),
    }
}

/// The one string literal, and where to point at when it is none.
fn argument(input: TokenStream) -> (Span, Result<String, String>) {
    let usage = || Err("expected one string: `include_model!(\"model\")`".to_owned());
    let mut tokens = input.into_iter();
    let (first, second) = (tokens.next(), tokens.next());
    let span = first.as_ref().map_or_else(Span::call_site, TokenTree::span);
    let Some(TokenTree::Literal(literal)) = first else {
        return (span, usage());
    };
    if let Some(extra) = second {
        return (extra.span(), usage());
    }
    let text = literal.to_string();
    let plain = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    match plain.filter(|t| !t.contains('\\')) {
        Some(name) => (span, Ok(name.to_owned())),
        None => (span, usage()),
    }
}

/// The generated file of a name, relative to `OUT_DIR`.
#[allow(clippy::disallowed_methods)] // a macro has the compiler's environment and files only
fn resolve(name: &str) -> Result<String, String> {
    let Ok(out_dir) = std::env::var("OUT_DIR") else {
        return Err("this crate has no build script. Add build.rs:\n\
             \n    fn main() {\n        model_build::build();\n    }\n\
             \nand to Cargo.toml:\n\
             \n    [build-dependencies]\n    model-build = \"0.1\""
            .to_owned());
    };
    let Ok(index) = std::fs::read_to_string(Path::new(&out_dir).join("model_build/index.tsv"))
    else {
        return Err("the build script of this crate builds no models. Add to its `main`:\n\
             \n    model_build::build();"
            .to_owned());
    };
    let built = index.lines().filter_map(|line| line.split_once('\t')).collect::<Vec<_>>();
    pick(name, &built).map(|stem| format!("/model_build/{stem}.rs"))
}

/// The file of a name among what is built, as (model, target) sorted; or what is wrong with it.
fn pick(name: &str, built: &[(&str, &str)]) -> Result<String, String> {
    let full = |(model, target): &(&str, &str)| format!("{model}.{target}");
    if let Some(found) = built.iter().map(full).find(|f| f == name) {
        return Ok(found);
    }
    let targets = built.iter().filter(|(model, _)| *model == name).map(full).collect::<Vec<_>>();
    match targets.as_slice() {
        [] => {}
        [_] => return Ok(name.to_owned()),
        many => {
            return Err(format!(
                "model `{name}` has {} targets on this platform: name one of {}",
                many.len(),
                list(many)
            ));
        }
    }
    let mut names = built.iter().map(|(model, _)| (*model).to_owned()).collect::<Vec<_>>();
    names.dedup();
    names.extend(built.iter().map(full));
    let mut message = format!("there is no model `{name}`");
    if names.is_empty() {
        message.push_str(": the manifest declares none for this platform");
        return Err(message);
    }
    let near = names.iter().map(|n| (distance(name, n), n)).min_by_key(|(d, _)| *d);
    if let Some((d, near)) = near
        && d <= near.len().max(3) / 3
    {
        message.push_str(&format!(". Did you mean `{near}`?"));
    }
    message.push_str(&format!("\nThe models are: {}", list(&names)));
    Err(message)
}

fn list(names: &[String]) -> String {
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}

/// The number of insertions, deletions and replacements between two words, ignoring case.
fn distance(a: &str, b: &str) -> usize {
    let b = b.to_lowercase().chars().collect::<Vec<_>>();
    let mut row = (0..=b.len()).collect::<Vec<_>>();
    for (i, x) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// `::core::NAME!(…)`, spanned.
fn call(name: &str, arguments: TokenStream, span: Span) -> Vec<TokenTree> {
    let colon = |spacing| TokenTree::Punct(Punct::new(':', spacing));
    let path = ["core", name].into_iter().flat_map(|part| {
        [
            colon(Spacing::Joint),
            colon(Spacing::Alone),
            TokenTree::Ident(Ident::new(part, Span::mixed_site())),
        ]
    });
    let mut tokens = path.collect::<Vec<_>>();
    tokens.push(TokenTree::Punct(Punct::new('!', Spacing::Alone)));
    tokens.push(TokenTree::Group(Group::new(Delimiter::Parenthesis, arguments)));
    tokens.iter_mut().for_each(|t| t.set_span(span));
    tokens
}

fn string(text: &str, span: Span) -> TokenTree {
    let mut literal = Literal::string(text);
    literal.set_span(span);
    TokenTree::Literal(literal)
}

fn statement(mut tokens: Vec<TokenTree>) -> TokenStream {
    tokens.push(TokenTree::Punct(Punct::new(';', Spacing::Alone)));
    tokens.into_iter().collect()
}

/// `::core::include!(::core::concat!(::core::env!("OUT_DIR"), "FILE"));`
fn include(file: &str, span: Span) -> TokenStream {
    let mut parts = call("env", string("OUT_DIR", span).into(), span);
    parts.push(TokenTree::Punct(Punct::new(',', Spacing::Alone)));
    parts.push(string(file, span));
    let path = call("concat", parts.into_iter().collect(), span);
    statement(call("include", path.into_iter().collect(), span))
}

fn error(message: &str, span: Span) -> TokenStream {
    statement(call("compile_error", string(message, span).into(), span))
}

#[cfg(test)]
mod tests {
    use super::{distance, pick};

    const BUILT: &[(&str, &str)] =
        &[("digits", "fp32"), ("digits", "int8"), ("embedder", "server")];

    #[test]
    fn a_model_with_one_target_needs_no_target() {
        assert_eq!(pick("embedder", BUILT).as_deref(), Ok("embedder"));
        assert_eq!(pick("embedder.server", BUILT).as_deref(), Ok("embedder.server"));
        assert_eq!(pick("digits.int8", BUILT).as_deref(), Ok("digits.int8"));
    }

    #[test]
    fn a_model_with_several_targets_wants_one_named() {
        assert_eq!(
            pick("digits", BUILT).unwrap_err(),
            "model `digits` has 2 targets on this platform: name one of `digits.fp32`, `digits.int8`"
        );
    }

    #[test]
    fn a_misspelt_name_lists_the_models_there_are() {
        assert_eq!(
            pick("embeder", BUILT).unwrap_err(),
            "there is no model `embeder`. Did you mean `embedder`?\nThe models are: `digits`, \
             `embedder`, `digits.fp32`, `digits.int8`, `embedder.server`"
        );
        let far = pick("whisper", BUILT).unwrap_err();
        assert!(!far.contains("Did you mean"), "{far}");
        assert_eq!(
            pick("x", &[]).unwrap_err(),
            "there is no model `x`: the manifest declares none for this platform"
        );
    }

    #[test]
    fn distance_counts_edits_and_ignores_case() {
        for (a, b, d) in [("", "", 0), ("abc", "abc", 0), ("kitten", "sitting", 3), ("A", "a", 0)] {
            assert_eq!(distance(a, b), d, "{a} {b}");
        }
    }
}
