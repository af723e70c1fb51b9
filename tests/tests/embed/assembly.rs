//! `.incbin`: the text for ELF links and runs here; those for Mach-O and COFF assemble.

use std::fs;
use std::process::Command;

use model_build::embed::{File, INCLUDE_LIMIT, Item, Mode, Platform, generate};
use model_build::record::Info;
use serde_json::json;

use crate::crates::{Crate, blob, comparing, noise, scratch, succeed};

#[test]
#[cfg(target_os = "linux")]
fn assembly_links_and_runs_from_a_library_and_its_program() {
    let payload = noise((8 << 20) + 1);
    let app = Crate::new("assembled");
    // A machine whose object files we do not write; the text is the same on every one.
    app.spec(&json!({ "items": [blob("large", &payload, "auto")], "arch": "riscv64" }));
    app.write(
        "src/lib.rs",
        "model_build_runtime::include_model!(\"large\");
pub fn bytes() -> &'static [u8] { Large::bytes().unwrap() }
",
    );
    let same = "    assert_eq!(bytes, assembled::bytes());\n    println!";
    app.write(
        "src/main.rs",
        comparing("large.raw", "LargeRaw", &payload).replace("    println!", same),
    );
    let address: usize = app.run().trim().parse().unwrap();
    assert!(address.is_multiple_of(64));
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_text_for_other_systems_assembles() {
    let dir = scratch().join("assembles");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(dir.join("model_build")).unwrap();
    let payload = dir.join("model_build/p.gguf");
    let len = INCLUDE_LIMIT + 1;
    fs::copy(noise(usize::try_from(len).unwrap()), &payload).unwrap();
    for (os, arch, triple, symbol) in [
        ("macos", "aarch64", "aarch64-apple-darwin", "_model_build_"),
        ("macos", "x86_64", "x86_64-apple-darwin", "_model_build_"),
        ("windows", "x86_64", "x86_64-pc-windows-msvc", "model_build_"),
        ("windows", "x86", "i686-pc-windows-msvc", "_model_build_"),
        ("linux", "arm", "armv7-unknown-linux-gnueabihf", "model_build_"),
        ("linux", "riscv64", "riscv64gc-unknown-linux-gnu", "model_build_"),
    ] {
        let platform = Platform {
            os: os.into(),
            arch: arch.into(),
            pointer_width: if arch == "x86" || arch == "arm" { 32 } else { 64 },
            little_endian: true,
        };
        let file = File {
            name: "p.gguf".into(),
            path: payload.clone(),
            len,
            digest: blake3::hash(&fs::read(&payload).unwrap()).to_hex().to_string(),
        };
        let item = Item {
            model: "large",
            target: "raw",
            format: "gguf",
            mode: Mode::Auto,
            files: vec![file],
            info: &Info::default(),
            metadata: Vec::new(),
            skeleton: None,
        };
        assert_eq!(generate(&dir, &[item], &platform).unwrap(), []);
        let text = fs::read_to_string(dir.join("model_build/large.rs")).unwrap();
        let call = text.split("__assemble! {").nth(1).unwrap();
        let lines = call.split_once("\n}").unwrap().0;
        // The standard library of these targets is not here; assembly needs none.
        let source = dir.join("assembles.rs");
        fs::write(
            &source,
            format!(
                "#![feature(no_core, lang_items, rustc_attrs)]
#![no_core]
#![allow(internal_features)]
#[rustc_builtin_macro]
macro_rules! global_asm {{ () => {{}} }}
#[lang = \"pointee_sized\"] pub trait PointeeSized {{}}
#[lang = \"meta_sized\"] pub trait MetaSized: PointeeSized {{}}
#[lang = \"sized\"] pub trait Sized: MetaSized {{}}
global_asm!({lines} options(raw));
"
            ),
        )
        .unwrap();
        let object = dir.join(format!("{triple}.o"));
        let done = Command::new("rustc")
            .env("RUSTC_BOOTSTRAP", "1")
            .args(["--edition=2024", "--crate-type=lib", "--emit=obj", "--target", triple, "-o"])
            .arg(&object)
            .arg(&source)
            .output()
            .unwrap();
        succeed(&done);
        let bytes = fs::read(&object).unwrap();
        let name =
            format!("{symbol}{}", &blake3::hash(&fs::read(&payload).unwrap()).to_hex()[..32]);
        assert!(bytes.len() as u64 > len, "{triple}: the payload is not in the object");
        let found = bytes
            .windows(name.len() + 1)
            .any(|w| &w[1..] == name.as_bytes() && (symbol.starts_with('_') || w[0] != b'_'));
        assert!(found, "{triple}: no symbol {name}");
    }
}
