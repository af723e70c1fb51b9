//! ONNX Runtime as an optimizer. A binary of its own: a process has one ONNX Runtime, and here it is the
//! project's, not the oracle's.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a test suite

use std::fs;
use std::path::{Path, PathBuf};

use model_build::format::onnx;
use model_build::run::{self, Files, Level, RunnerChoice};
use model_build::verify::{self, InputSpec};

fn files(folder: &Path, name: &str, bytes: &[u8]) -> Files {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    Files { files: vec![(name.to_owned(), path)] }
}

#[test]
fn what_onnx_runtime_optimizes_is_the_same_each_time_and_computes_the_same() {
    if std::env::var_os("ORT_DYLIB_PATH").is_none() {
        eprintln!("skipped: ORT_DYLIB_PATH is not set; see scripts/fetch-oracles.sh");
        return;
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    for case in ["slim/model.onnx", "int8/model.onnx"] {
        let path: PathBuf = fixtures.join(case);
        let graph = onnx::from_file(&path).unwrap();
        for level in [Level::Basic, Level::Extended, Level::All] {
            let once = onnx::to_bytes(&run::optimized(&graph, level).unwrap()).unwrap();
            let twice = onnx::to_bytes(&run::optimized(&graph, level).unwrap()).unwrap();
            assert!(once == twice, "{case} {level:?}");
            assert!(run::optimizer_identity(level).unwrap().starts_with("onnxruntime 1."));
            let scratch = tempfile::tempdir().unwrap();
            let before = files(scratch.path(), "before.onnx", &fs::read(&path).unwrap());
            let after = files(scratch.path(), "after.onnx", &once);
            let inputs = InputSpec::Synthetic { samples: 2, seed: 1 };
            let measured =
                verify::measure(RunnerChoice::OnnxRuntime, &before, &after, &inputs).unwrap();
            for output in measured.outputs {
                assert!(
                    output.max_abs <= 1e-5,
                    "{case} {level:?} {}: {}",
                    output.name,
                    output.max_abs
                );
            }
        }
    }
}
