//! Converts an ONNX file to operator sets; `scripts/compare-opsets.py` runs what comes out.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a test program
#![allow(clippy::print_stdout)]

use std::path::Path;

use model_build::format::onnx;
use model_build::pass::opset;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [from, folder, opsets @ ..] = args.as_slice() else {
        panic!("usage: opset-convert FILE FOLDER OPSET…")
    };
    let graph = onnx::from_file(Path::new(from)).unwrap();
    for to in opsets {
        let mut out = graph.clone();
        match opset::convert(&mut out, to.parse().unwrap()) {
            Ok(()) => {
                let path = Path::new(folder).join(format!("{to}.onnx"));
                std::fs::write(path, onnx::to_bytes(&out).unwrap()).unwrap();
            }
            Err(e) => println!("{to} {e}"),
        }
    }
}
