//! `docs/manifest.md`, from the schema.

use std::fmt::Write;

use super::schema::{Field, Kind};
use super::types::{Calibration, Model, Optimization, Quantization, Target, Verify};

/// The example at the top of the documentation: a whole `Cargo.toml`.
pub(super) const EXAMPLE: &str = include_str!("example.toml");

const HEAD: &str = "\
<!-- Generated from model-build/src/manifest: `UPDATE_DOCS=1 cargo test -p model-build --lib manifest` -->
# The manifest

Models are declared in the `Cargo.toml` of the package that uses them. `cargo build` makes every
target that is for the platform, checks it and puts it into the binary.
";

const FORMS: &str = "\
## Where it stands

| file | a model's table |
|---|---|
| `Cargo.toml` of a package | `[package.metadata.models.NAME]` |
| `Cargo.toml` of a workspace without a package | `[workspace.metadata.models.NAME]` |
| `models.toml`, or any other file | `[NAME]` |

`models.toml` serves people without cargo: the same tables, at the root of the file. Given a folder,
the tool takes the `Cargo.toml` in it, or the `models.toml` where only that declares models.

Names of models and targets are a letter, then letters, digits, `-` or `_`, at most 64 in all. They
become names of files and of Rust types, so two names may not differ in case, `-` and `_` alone, and
names that Rust or Windows reserve are refused.

An unknown key is an error, as is a value that does nothing where it stands. Keys and words that a
later version will know are named below as *not supported yet*; they are errors too.
";

const INHERITANCE: &str = "\
## Inheriting from the workspace

```toml
# Cargo.toml of the workspace root
[workspace.metadata.models.tagger]
source = \"models/tagger\"                # relative to the workspace root
[workspace.metadata.models.tagger.targets.app]
format = \"onnx\"

# Cargo.toml of a member
[package.metadata.models]
tagger.workspace = true
```

Only `targets` may stand beside `workspace = true`. It adds targets to the inherited ones; a target
of the same name replaces the inherited one as a whole. Paths are relative to the file they are
written in. The workspace root is found as cargo finds it: the package's own `Cargo.toml`, the one
that `package.workspace` names, or the nearest one above with a `[workspace]` that does not exclude
the package.
";

const CONDITIONS: &str = "\
## Conditions

`when` is `cfg(…)` with cargo's grammar, or a target triple. It is matched against the platform that
is compiled for. In a build script that is what cargo says of it, features of the package included
(`cfg(feature = \"…\")`); the tool asks `rustc`, and knows no features. A `cfg` name that the
platform does not have is false, as it is to rustc.
";

const FLAGS: &str = "\
## On the command line

`model-build convert SOURCE DESTINATION` takes every key of a target as a flag of the same name. A
string needs no quotes: `--precision fp16`. A table is written as `--verify cosine=0.99,samples=16`,
as in TOML, or key by key: `--verify.cosine 0.99`. A word that is short for a table may stand beside
keys of that table: `--quantization q4_k_m --quantization.pure true`.
";

/// The text of `docs/manifest.md`.
pub fn docs() -> String {
    let mut out = format!("{HEAD}\n```toml\n{EXAMPLE}```\n\n{FORMS}\n");
    section(&mut out, "## Keys of a model", "", Model::KEYS);
    section(&mut out, "## Keys of a target", "", Target::KEYS);
    section(&mut out, "## Keys of `quantization`", "quantization", Quantization::KEYS);
    section(&mut out, "## Keys of `calibration`", "calibration", Calibration::KEYS);
    section(&mut out, "## Keys of `optimization`", "optimization", Optimization::KEYS);
    section(&mut out, "## Keys of `verify`", "verify", Verify::KEYS);
    let _ = write!(out, "{INHERITANCE}\n{CONDITIONS}\n{FLAGS}");
    out
}

fn section(out: &mut String, title: &str, table: &str, fields: &[Field]) {
    let _ = writeln!(out, "{title}\n");
    for field in fields.iter().filter(|field| field.later.is_none()) {
        entry(out, table, field);
    }
    let later: Vec<_> = fields.iter().filter(|field| field.later.is_some()).collect();
    if !later.is_empty() {
        let _ = writeln!(out, "Not supported yet:\n");
        for field in later {
            let _ = writeln!(out, "- `{}`: {}", field.name, field.doc);
        }
        out.push('\n');
    }
}

fn entry(out: &mut String, table: &str, field: &Field) {
    let dot = if table.is_empty() { "" } else { "." };
    let need = if field.is_required() {
        field.default.to_owned()
    } else {
        format!("default: {}", field.default)
    };
    let _ = writeln!(out, "### `{table}{dot}{}`\n\n*{}*, {need}\n", field.name, field.kind.name());
    let _ = writeln!(out, "{}\n", field.doc);
    if let Kind::Table(_) | Kind::TextOrTable(_) | Kind::BooleanOrTable(_) = field.kind {
        let _ = writeln!(out, "Its keys are [below](#keys-of-{}).\n", field.name);
        return;
    }
    let words = (field.words)();
    if words.is_empty() {
        return;
    }
    for word in words.iter().filter(|word| word.works) {
        match word.doc {
            "" => _ = writeln!(out, "- `\"{}\"`", word.name),
            doc => _ = writeln!(out, "- `\"{}\"`: {}.", word.name, doc.trim_end_matches('.')),
        }
    }
    let later: Vec<_> = words.iter().filter(|word| !word.works).map(|word| word.name).collect();
    if !later.is_empty() {
        let _ = writeln!(out, "- not supported yet: `{}`", later.join("`, `"));
    }
    out.push('\n');
}
