//! What build.rs of the crates in `tests/embed.rs` runs: `embed::generate` on the artifacts that a
//! JSON file describes, for the platform and into the `OUT_DIR` that cargo names.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, clippy::unwrap_used)] // test support

use std::path::{Path, PathBuf};

use model_build::embed::{self, File, Item, Mode, Platform};
use model_build::record::Info;
use serde_json::Value;

fn main() {
    let spec = std::env::args().nth(1).unwrap();
    let spec: Value = serde_json::from_slice(&std::fs::read(spec).unwrap()).unwrap();
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap());
    std::fs::create_dir_all(out.join("model_build")).unwrap();
    let artifacts = spec["items"].as_array().unwrap();
    let infos: Vec<Info> =
        artifacts.iter().map(|a| serde_json::from_value(a["info"].clone()).unwrap()).collect();
    let items: Vec<Item<'_>> =
        artifacts.iter().zip(&infos).map(|(a, i)| item(a, i, &out)).collect();
    if spec["stub"] == true {
        embed::generate_stub(&out, &items).unwrap();
        return;
    }
    let mut platform = Platform::from_cargo().unwrap();
    if let Some(arch) = spec["arch"].as_str() {
        platform.arch = arch.to_owned();
    }
    for directive in embed::generate(&out, &items, &platform).unwrap() {
        println!("{directive}");
    }
}

fn item<'a>(artifact: &'a Value, info: &'a Info, out: &Path) -> Item<'a> {
    let text = |key: &str| artifact[key].as_str();
    let files = artifact["files"].as_array().unwrap();
    Item {
        model: text("model").unwrap(),
        target: text("target").unwrap(),
        format: text("format").unwrap(),
        mode: match text("mode") {
            Some("file") => Mode::File,
            Some("binary") => Mode::Binary,
            _ => Mode::Auto,
        },
        files: files.iter().map(|f| file(f, out)).collect(),
        info,
        metadata: vec![("tool".into(), "test \"quoted\"".into())],
        skeleton: text("skeleton").map(|path| std::fs::read(path).unwrap()),
    }
}

/// Puts a file below `OUT_DIR`, as the build does from the store.
fn file(spec: &Value, out: &Path) -> File {
    let from = Path::new(spec["from"].as_str().unwrap());
    // Without a place below OUT_DIR, as prebuilt artifacts are.
    let path = spec["to"].as_str().map_or(from.to_owned(), |to| out.join(to));
    let len = std::fs::metadata(from).map_or(0, |m| m.len());
    let mut digest = "0".repeat(64);
    if from.exists() {
        if path != from {
            let _ = std::fs::remove_file(&path);
            std::fs::hard_link(from, &path).unwrap();
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(std::fs::File::open(from).unwrap()).unwrap();
        digest = hasher.finalize().to_hex().to_string();
    }
    File { name: spec["name"].as_str().unwrap().to_owned(), path, len, digest }
}
