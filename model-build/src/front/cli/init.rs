//! `model-build init`: declares a model in the manifest of the current folder, and makes the package
//! build it.

use std::path::{Path, PathBuf};

use serde_json::json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::select::LONGEST_MANIFEST;
use super::{Context, convert};
use crate::error::{Error, Result};
use crate::{fsx, look, manifest};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The model: the folder of a checkpoint, or a model file
    #[arg(long, value_name = "PATH")]
    source: PathBuf,
    /// The model's name [default: after the source]
    #[arg(long)]
    name: Option<String>,
}

const BUILD_RS: &str = "fn main() {\n    model_build::build();\n}\n";

/// What the command changes, and what it leaves to the user.
#[derive(Default)]
struct Changes {
    files: Vec<(PathBuf, String)>,
    next: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context) -> Result<()> {
    look::facts(&convert::source(&args.source)?)?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => name_of(&args.source)?,
    };
    let source = args.source.to_str().ok_or_else(|| {
        Error::unsupported("a path that is not Unicode cannot stand in a manifest")
            .file(&args.source)
    })?;
    let source = if cfg!(windows) { source.replace('\\', "/") } else { source.to_owned() };
    // The manifest's own reader judges name and source.
    let alone = declaration(&name, &name, &source);
    manifest::parse(&alone, Path::new("models.toml"), None)?;
    let (cargo, models) = (Path::new("Cargo.toml"), Path::new("models.toml"));
    let mut changes = Changes::default();
    let (has_cargo, has_models) = (fsx::is_file(cargo), fsx::is_file(models));
    let (file, added) = if has_cargo && !has_models {
        (cargo, declaration(&format!("package.metadata.models.{name}"), &name, &source))
    } else {
        (models, alone)
    };
    let mut text =
        if fsx::is_file(file) { fsx::read_text(file, LONGEST_MANIFEST)? } else { String::new() };
    if has_cargo {
        let package =
            if has_models { fsx::read_text(cargo, LONGEST_MANIFEST)? } else { text.clone() };
        let with_dependencies = make_it_build(&package, &mut changes)?;
        if has_models {
            changes.files.push((cargo.to_owned(), with_dependencies));
        } else {
            text = with_dependencies;
        }
    }
    append(&mut text, &added);
    DeTable::parse(&text).map_err(|e| match e.message() {
        "duplicate key" => Error::manifest(format!("the model `{name}` is declared there already"))
            .file(file)
            .hint("choose another name: `--name NAME`"),
        other => Error::manifest(format!("not valid TOML: {other}")).file(file),
    })?;
    changes.files.insert(0, (file.to_owned(), text));
    if has_cargo {
        changes
            .next
            .push(format!("model_build_runtime::include_model!({name:?}); // in your code"));
        changes.next.push("cargo build".to_owned());
    } else {
        changes.next.push("model-build build --out artifacts".to_owned());
    }
    let mut changed = Vec::new();
    for (path, text) in &changes.files {
        let before = if fsx::is_file(path) {
            fsx::read_text(path, LONGEST_MANIFEST)?
        } else {
            String::new()
        };
        if before != *text {
            fsx::write_atomic(path, text.as_bytes())?;
            changed.push(path.display().to_string());
        }
    }
    if args.source.is_absolute() {
        context.ui.warning("the source is an absolute path: it will be there on this machine only");
    }
    let mut out = format!("declared `{name}` in {}:\n\n", file.display());
    let indented = |line: &str| format!("    {line}").trim_end().to_owned() + "\n";
    out.extend(added.lines().map(indented));
    if changed.len() > 1 {
        out.push_str(&format!(
            "\nalso changed: {}\n",
            changed.get(1..).unwrap_or_default().join(", ")
        ));
    }
    out.push_str("\nnext:\n\n");
    out.extend(changes.next.iter().map(|step| indented(step)));
    let fields = json!({
        "model": name, "manifest": file.to_string_lossy(), "changed": changed, "next": changes.next,
    });
    context.ui.result(&out, "declared", &fields);
    Ok(())
}

fn declaration(table: &str, name: &str, source: &str) -> String {
    let source = toml_string(source);
    format!(
        "[{table}]\nsource = {source}\n\n[{table}.targets.fp32]\nformat = \"onnx\"\n\n\
         # A second target: a quarter of the size, and the build fails below this accuracy.\n\
         # `include_model!(\"{name}.int8\")` includes it.\n\
         # [{table}.targets.int8]\n# format = \"onnx\"\n# quantization = \"int8\"\n# verify = {{ cosine = 0.98 }}\n"
    )
}

/// A TOML string.
fn toml_string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\U{:08X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Adds what a package needs to build and use models: dependencies, in the text that is returned, and
/// a build script.
fn make_it_build(text: &str, changes: &mut Changes) -> Result<String> {
    let path = Path::new("Cargo.toml");
    let parsed = DeTable::parse(text)
        .map_err(|e| Error::manifest(format!("not valid TOML: {}", e.message())).file(path))?;
    let Some(package) = parsed.get_ref().get("package").and_then(|p| p.get_ref().as_table()) else {
        return Err(Error::manifest("this Cargo.toml is of a workspace and has no package")
            .file(path)
            .hint("run this in the folder of the package that uses the model"));
    };
    build_script(package.get("build").map(Spanned::get_ref), changes)?;
    let mut out = text.to_owned();
    let version = env!("CARGO_PKG_VERSION");
    for (table, crate_name, option) in [
        ("build-dependencies", "model-build", " --build"),
        ("dependencies", "model-build-runtime", ""),
    ] {
        let with =
            with_dependency(&out, table, &format!("{crate_name} = \"{version}\""), crate_name);
        match with {
            Some(with) => out = with,
            None => changes.next.push(format!("cargo add{option} {crate_name}@{version}")),
        }
    }
    Ok(out)
}

fn build_script(named: Option<&DeValue<'_>>, changes: &mut Changes) -> Result<()> {
    let path = match named {
        None => Path::new("build.rs"),
        Some(DeValue::String(path)) => Path::new(path.as_ref()),
        Some(_) => {
            changes.next.push("remove `build = false` from Cargo.toml and call `model_build::build();` in a build script".to_owned());
            return Ok(());
        }
    };
    if !fsx::is_file(path) {
        changes.files.push((path.to_owned(), BUILD_RS.to_owned()));
    } else if !fsx::read_text(path, LONGEST_MANIFEST)?.contains("model_build::build") {
        changes.next.push(format!("call `model_build::build();` in {}", path.display()));
    }
    Ok(())
}

/// The text with a line in a table of dependencies; `None` where the table is written in a way that
/// has no place for a line.
fn with_dependency(text: &str, table: &str, line: &str, name: &str) -> Option<String> {
    let parsed = DeTable::parse(text).ok()?;
    let mut out = text.to_owned();
    match parsed.get_ref().get(table) {
        None => append(&mut out, &format!("[{table}]\n{line}\n")),
        Some(value) if value.get_ref().as_table()?.contains_key(name) => return Some(out),
        Some(_) => {
            let header = format!("[{table}]");
            let at = text.match_indices(&header).map(|(at, _)| at).find(|at| {
                let before = text.get(..*at).unwrap_or_default();
                before.is_empty() || before.ends_with('\n')
            })?;
            let rest = text.get(at..)?;
            let end = at.checked_add(rest.find('\n').unwrap_or(rest.len()))?;
            out.insert_str(end, &format!("\n{line}"));
        }
    }
    let added = DeTable::parse(&out).ok()?;
    added.get_ref().get(table)?.get_ref().as_table()?.contains_key(name).then_some(out)
}

/// Appends a paragraph.
fn append(text: &mut String, added: &str) {
    text.truncate(text.trim_end().len());
    if !text.is_empty() {
        text.push_str("\n\n");
    }
    text.push_str(added);
}

/// A name after a path: its last part, with what names cannot hold replaced.
fn name_of(source: &Path) -> Result<String> {
    let full = fsx::canonicalize(source)?;
    let last = if fsx::is_dir(&full) { full.file_name() } else { full.file_stem() };
    let last = last.map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let name: String =
        last.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name = name.trim_matches('-').to_lowercase();
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Ok(name);
    }
    Err(Error::manifest(format!("no name can be made of `{last}`")).hint("pass `--name NAME`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_is_added_once_wherever_its_table_is() {
        let add = |text: &str| with_dependency(text, "dependencies", "a = \"1\"", "a");
        assert_eq!(add("x = 1\n").unwrap(), "x = 1\n\n[dependencies]\na = \"1\"\n");
        let there = "[dependencies]\nb = \"2\"\n\n[features]\n";
        assert_eq!(add(there).unwrap(), "[dependencies]\na = \"1\"\nb = \"2\"\n\n[features]\n");
        assert_eq!(add("[dependencies] # ours").unwrap(), "[dependencies] # ours\na = \"1\"");
        for done in ["[dependencies]\na = \"0\"\n", "[dependencies.a]\npath = \"..\"\n"] {
            assert_eq!(add(done).unwrap(), done);
        }
        assert_eq!(add("[dependencies.b]\nversion = \"2\"\n"), None);
        assert_eq!(add("dependencies = { b = \"2\" }\n"), None);
    }

    #[test]
    fn a_source_with_quotes_is_written_as_toml() {
        let text = declaration("m", "m", "a \"b\"\\c");
        let manifest = manifest::parse(&text, Path::new("models.toml"), None).unwrap();
        assert_eq!(manifest.models[0].source, Path::new("a \"b\"\\c"));
        let all = text.replace("# [", "[").replace("# format", "format");
        let all = all.replace("# quant", "quant").replace("# verify", "verify");
        let manifest = manifest::parse(&all, Path::new("models.toml"), None).unwrap();
        assert_eq!(manifest.models[0].targets.len(), 2, "{all}");
    }
}
