//! Reads every ONNX file of one folder and writes it to another; `scripts/onnx_cycle.py` compares.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a test program

use std::path::Path;

use model_build::format::onnx;

fn main() {
    let folders: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = folders.as_slice() else { panic!("usage: onnx-cycle FROM TO") };
    std::fs::create_dir_all(to).unwrap();
    let (mut done, mut failed) = (0, 0);
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "onnx") {
            continue;
        }
        match onnx::from_file(&path).and_then(|graph| onnx::to_bytes(&graph)) {
            Ok(bytes) => {
                std::fs::write(Path::new(to).join(path.file_name().unwrap()), bytes).unwrap();
                done += 1;
            }
            Err(e) => {
                println!("{e:?}");
                failed += 1;
            }
        }
    }
    println!("{done} written, {failed} failed");
}
