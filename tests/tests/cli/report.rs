//! `report`, `build --report`, `verify --layers` and `verify --time`.

use std::path::Path;

use model_build_tests::project::repository;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::tool::{Folder, MANIFEST};

#[test]
fn report_builds_what_is_missing_and_writes_one_file_with_the_same_bytes_each_time() {
    let folder = Folder::project(MANIFEST);
    let run = folder.run(&["report"]);
    assert_eq!((run.code, run.out.as_str()), (0, ""), "{run}");
    assert!(
        run.err.contains("Converted digits.int8") && run.err.contains("Reported model-report.html")
    );
    let first = std::fs::read(folder.at("model-report.html")).unwrap();
    folder.succeed(&["report", "-o", "again.html"]);
    assert_eq!(first, std::fs::read(folder.at("again.html")).unwrap());
    let text = String::from_utf8(first).unwrap();
    for word in ["digits.fp32", "digits.int8", "✓ Every bound holds", "Error by layer"] {
        assert!(text.contains(word), "{word}");
    }
    folder.succeed(&["report", "digits.fp32", "--no-layers", "-o", "one.html"]);
    let one = std::fs::read_to_string(folder.at("one.html")).unwrap();
    assert!(!one.contains("digits.int8") && !one.contains("Error by layer"));
    let (code, lines) = folder.json(&["report", "--no-layers"]);
    let last = lines.last().unwrap();
    assert_eq!((code, last["event"].as_str()), (0, Some("reported")), "{last}");
}

#[test]
fn a_report_of_an_artifact_below_its_bound_is_written_before_the_command_fails() {
    let manifest = MANIFEST.replace("cosine = 0.9,", "cosine = 1,");
    let folder = Folder::project(&manifest);
    let run = folder.run(&["build", "--report", "r.html", "--out", "out"]);
    assert!(run.code != 0 && run.err.contains("fell below `cosine`"), "{run}");
    let text = std::fs::read_to_string(folder.at("r.html")).unwrap();
    assert!(text.contains("✗ A bound is missed") && text.contains("fell below `cosine`"));
    assert!(!folder.at("out").exists(), "nothing below a bound is handed over");
    let run = folder.run(&["report", "-o", "."]);
    assert!(run.code != 0 && run.err.contains("this is a folder"), "{run}");
}

#[test]
fn verify_shows_the_layers_to_blame_and_what_running_costs() {
    let folder = Folder::with_model();
    folder.succeed(&["-q", "convert", "model", "int8.onnx", "--quantization", "int8"]);
    let compare = ["verify", "model", "int8.onnx", "--runner", "rten", "--samples", "1"];
    let out = folder.succeed(&[&compare[..], &["--layers"]].concat());
    assert!(out.contains("142 values compared on 1 synthetic sample, seed 0"), "{out}");
    assert!(
        out.contains("117 add no error") && out.contains("and 15 more that add an error"),
        "{out}"
    );
    let rows = out.lines().skip_while(|l| !l.starts_with("value ")).count();
    assert_eq!(rows, 1 + 10 + 1, "{out}");
    let out = folder.succeed(&[&compare[..], &["--time", "--runs", "3"]].concat());
    for word in
        ["3 runs of each in turn on pixel_values [2, 1, 8, 8], 1 thread", "median", "reference "]
    {
        assert!(out.contains(word), "{word}\n{out}");
    }
    if cfg!(target_os = "linux") {
        assert!(!out.contains("unknown"), "{out}");
    }
    let (code, lines) =
        folder.json(&[&compare[..], &["--layers", "--time", "--runs", "2"]].concat());
    assert_eq!(code, 0);
    let event = |name: &str| lines.iter().find(|l| l["event"] == name).unwrap();
    assert_eq!(event("layers")["layers"]["layers"].as_array().unwrap().len(), 142);
    assert!(event("timed")["costs"]["artifact"]["median"].as_f64().unwrap() > 0.0);
}

/// The images that training has not seen, as the model takes them, with their labels.
fn labelled(to: &Path) {
    let data = repository().join("examples/digits/data/heldout.safetensors");
    let bytes = std::fs::read(data).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (images, labels) = (file.tensor("images").unwrap(), file.tensor("labels").unwrap());
    let pixels = images.data().iter().map(|p| f32::from(*p) / 16.0);
    let pixels: Vec<u8> = pixels.flat_map(f32::to_le_bytes).collect();
    let images = TensorView::new(Dtype::F32, vec![450, 1, 8, 8], &pixels).unwrap();
    let bytes =
        safetensors::serialize([("pixel_values", images), ("labels", labels)], None).unwrap();
    std::fs::write(to, bytes).unwrap();
}

#[test]
fn accuracy_on_labelled_rows_is_that_of_the_example_and_its_loss_is_held() {
    let folder = Folder::with_model();
    labelled(&folder.at("set.safetensors"));
    folder.succeed(&["-q", "convert", "model", "int8.onnx", "--quantization", "int8"]);
    let inputs = ["--runner", "rten", "--inputs", "set.safetensors", "--labels"];
    let compare = [&["verify", "model", "int8.onnx"], &inputs[..]].concat();
    let out = folder.succeed(&[&compare[..], &["labels", "--accuracy-drop", "0.01"]].concat());
    assert!(out.contains("accuracy-drop ≤ 0.01") && out.contains("  0.0000\n"), "{out}");
    let (_, lines) = folder.json(&[&compare[..], &["labels"]].concat());
    let measured = lines.iter().find(|l| l["event"] == "measured").unwrap();
    let accuracy = &measured["measured"]["outputs"][0]["accuracy"];
    // 98.44 % is what the example counts for both models.
    assert_eq!(accuracy["rows"], 450);
    for side in ["reference", "artifact"] {
        let share = accuracy[side].as_f64().unwrap();
        assert!((share - 443.0 / 450.0).abs() < 1e-9, "{accuracy}");
    }
    let run = folder.run(&[&compare[..], &["classes"]].concat());
    assert!(run.code != 0 && run.err.contains("from a tensor `classes`"), "{run}");
}
