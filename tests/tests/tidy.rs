//! The structure of the code, held by a test: layers, lists, module lines, file lengths, printers.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // reads this repository's own text

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The modules of `model-build/src`, lowest first. A module uses only modules of rows above its own
/// in this list.
const LAYERS: &[&[&str]] = &[
    &["error", "env"],
    &["bytes", "fsx"],
    &["digest"],
    &["hub"],
    &["quantize"],
    &["record"],
    &["source"],
    &["tokenizer"],
    &["op", "format"],
    &["recipe"],
    &["arch"],
    &["pass"],
    &["run"],
    &["calibrate"],
    &["verify"],
    &["embed"],
    &["cache"],
    &["manifest"],
    &["plan"],
    &["look"],
    &["reuse"],
    &["execute"],
    &["report"],
    &["front"],
];

/// Folders in which every `…Def` stands in its parent's list.
const LISTED: &[&str] = &["arch", "format", "op", "pass", "quantize"];

/// Where `unsafe` may stand.
const UNSAFE: &[&str] = &["fsx.rs", "quantize/simd/", "embed/", "run/onnxruntime.rs"];

const LONGEST: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn rust_files(dir: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            rust_files(&path, out);
        } else if name.ends_with(".rs") {
            out.push(path);
        }
    }
}

/// The files of `model-build/src` by their path there, test modules of their own left out.
fn sources() -> Vec<(String, String)> {
    let src = root().join("model-build/src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    files
        .into_iter()
        .map(|p| {
            let name = p.strip_prefix(&src).unwrap().to_string_lossy().replace('\\', "/");
            (name, std::fs::read_to_string(&p).unwrap())
        })
        .filter(|(name, _)| {
            let stem = name.rsplit('/').next().unwrap().trim_end_matches(".rs");
            !(stem.starts_with("tests") || stem.ends_with("_tests"))
        })
        .collect()
}

/// The text without its test module and without comments; line numbers stay.
fn code(text: &str) -> String {
    let end = text.find("\n#[cfg(test)]\nmod ").or_else(|| text.find("\n#[cfg(all(test"));
    text[..end.unwrap_or(text.len())]
        .lines()
        .map(|l| if l.trim_start().starts_with("//") { "" } else { l })
        .collect::<Vec<_>>()
        .join("\n")
}

fn module_of(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_module_uses_only_modules_of_lower_layers() {
    let rank: BTreeMap<&str, usize> =
        LAYERS.iter().enumerate().flat_map(|(i, row)| row.iter().map(move |m| (*m, i))).collect();
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let module = module_of(&file);
        if module == "lib" || module == "bin" {
            continue;
        }
        let Some(&own) = rank.get(module) else {
            wrong.push(format!("{file}: module `{module}` stands in no layer of LAYERS"));
            continue;
        };
        for (i, line) in code(&text).lines().enumerate() {
            for (at, _) in line.match_indices("crate::") {
                let before = line[..at].chars().next_back();
                if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                    continue;
                }
                let used: String = line[at + 7..]
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                if let Some(&other) = rank.get(used.as_str())
                    && used != module
                    && other >= own
                {
                    let line = i + 1;
                    wrong.push(format!(
                        "{file}:{line}: {module} uses {used}, which is not below it"
                    ));
                }
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_file_says_what_it_is_for_and_long_ones_say_why() {
    let mut wrong = Vec::new();
    let mut files = Vec::new();
    let parts =
        ["model-build", "model-build-macros", "model-build-runtime", "tests", "examples", "fuzz"];
    for part in parts {
        let dir = root().join(part);
        if dir.is_dir() {
            rust_files(&dir, &mut files);
        }
    }
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        let first = text.lines().find(|l| !l.starts_with("#!"));
        if !first.is_some_and(|l| l.starts_with("//! ")) {
            wrong.push(format!("{name}: does not start with a `//!` line"));
        }
        let lines = text.lines().count();
        let mut head = text.lines().take_while(|l| l.starts_with("//!"));
        if lines > LONGEST && !head.any(|l| l.contains("Long because")) {
            wrong.push(format!("{name}: {lines} lines and no `Long because …` in its `//!` text"));
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_feature_file_stands_in_its_parents_list() {
    let files = sources();
    let mut wrong = Vec::new();
    for folder in LISTED {
        let (_, parent) = files.iter().find(|(f, _)| *f == format!("{folder}/mod.rs")).unwrap();
        let (_, rest) = parent
            .split_once("static ALL")
            .unwrap_or_else(|| panic!("{folder}/mod.rs has no `static ALL` list"));
        let all = rest.split_once("];").unwrap().0;
        for (file, text) in &files {
            if !file.starts_with(&format!("{folder}/")) || file.ends_with("/mod.rs") {
                continue;
            }
            for line in code(text).lines() {
                let Some((_, def)) = line.split_once("static ") else { continue };
                let Some((name, ty)) = def.split_once(':') else { continue };
                if name.starts_with('$') {
                    continue; // what a macro makes is used where it stands in the list
                }
                // A `DEF` is named after its file: `bert::DEF`.
                let stem = file.trim_end_matches("/mod.rs").trim_end_matches(".rs");
                let stem = stem.rsplit('/').next().unwrap();
                let name = match name.trim() {
                    "DEF" => &format!("{stem}::DEF"),
                    name => name,
                };
                // A def that another of its file holds is listed with that one.
                let held = text.contains(&format!("Some(&{name})"));
                if ty.contains("Def") && !ty.contains('[') && !held && !all.contains(name) {
                    wrong.push(format!("{file}: `{name}` is missing in {folder}/mod.rs ALL"));
                }
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn only_the_fronts_print_and_one_of_them_talks_to_cargo() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        for (i, line) in code(&text).lines().enumerate() {
            let line_number = i + 1;
            let prints = ["println!", "eprintln!", "print!(", "eprint!(", "dbg!("];
            if module_of(&file) != "front" && prints.iter().any(|p| line.contains(p)) {
                wrong.push(format!("{file}:{line_number}: prints"));
            }
            if file != "front/cargo.rs" && line.contains("println!(\"cargo:") {
                wrong.push(format!("{file}:{line_number}: only front/cargo.rs talks to cargo"));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn unsafe_stands_only_where_the_architecture_says() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        if UNSAFE.iter().any(|a| file.starts_with(a)) {
            continue;
        }
        for (i, line) in code(&text).lines().enumerate() {
            let line_number = i + 1;
            let outside_strings = line.split('"').step_by(2).collect::<String>();
            if ["unsafe {", "unsafe fn", "unsafe impl"].iter().any(|u| outside_strings.contains(u))
            {
                wrong.push(format!("{file}:{line_number}: unsafe"));
            }
        }
    }
    assert_none(&wrong);
}
