//! What is built again and what is not, asserted from the event stream.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a test changes files behind the tool's back

use model_build::format::FormatDef;
use model_build::plan::Stage;
use model_build_tests::project::{Project, digests, repository};

const MANIFEST: &str = r#"
[digits]
source = "model"
[digits.targets.fp32]
format = "onnx"
verify = { max-abs = 1e-3, runner = "rten", samples = 2 }
[digits.targets.int8]
format = "onnx"
quantization = "int8"
verify = { cosine = 0.9, runner = "rten", samples = 2 }
"#;

fn digits() -> Project {
    let project = Project::new(&repository().join("examples/digits/model"), MANIFEST);
    for name in ["model/config.json", "model/model.safetensors"] {
        project.age(name);
    }
    project
}

/// Flips one bit of the last weight of a safetensors file.
fn change_a_weight(project: &Project) {
    let path = project.path("model/model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 4;
    bytes[last] ^= 1;
    project.write("model/model.safetensors", bytes);
}

#[test]
fn a_first_build_runs_every_step_once_and_shares_the_reference() {
    let (artifacts, log) = digits().build();
    assert_eq!(
        log.of("started"),
        ["digits.fp32 convert", "digits.fp32 verify", "digits.int8 convert", "digits.int8 verify"]
    );
    assert_eq!(log.of("reused"), ["digits.fp32 reference", "digits.int8 reference"]);
    assert!(artifacts.iter().all(|a| a.measured.is_some()));
}

#[test]
fn a_second_build_runs_no_step_and_reads_no_file() {
    let project = digits();
    let (first, _) = project.build();
    let (second, log) = project.build();
    assert_eq!(log.of("started"), [""; 0]);
    assert_eq!(log.of("hashed"), [""; 0]);
    assert_eq!(log.of("reused").len(), 4, "{log:?}");
    assert_eq!(digests(&first), digests(&second));
}

#[test]
fn a_second_build_of_an_onnx_source_reads_no_file() {
    let project = digits();
    let (first, _) = project.build();
    let onnx = project.store().object_path(&first[0].record.files[0].digest);
    project.write("model.onnx", std::fs::read(onnx).unwrap());
    let manifest = MANIFEST.replace("source = \"model\"", "source = \"model.onnx\"");
    project.write("models.toml", manifest);
    let (_, log) = project.build();
    assert_eq!(log.of("hashed"), ["model.onnx"]);
    let (_, log) = project.build();
    assert_eq!(log.of("hashed"), [""; 0]);
    assert_eq!(log.of("started"), [""; 0]);
}

#[test]
fn a_changed_weight_rebuilds_everything_that_holds_it() {
    let project = digits();
    let (first, _) = project.build();
    change_a_weight(&project);
    let (second, log) = project.build();
    assert_eq!(log.of("hashed"), ["model.safetensors"]);
    assert_eq!(log.of("started").len(), 4, "{log:?}");
    assert!(digests(&first).iter().zip(&digests(&second)).all(|(a, b)| a != b));
}

#[test]
fn a_changed_modification_time_alone_rereads_the_file_and_runs_nothing() {
    let project = digits();
    project.build();
    let path = project.path("model/model.safetensors");
    let file = std::fs::File::options().append(true).open(path).unwrap();
    let past = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    file.set_modified(past).unwrap();
    let (_, log) = project.build();
    assert_eq!(log.of("hashed"), ["model.safetensors"]);
    assert_eq!(log.of("started"), [""; 0]);
    let (_, log) = project.build();
    assert_eq!(log.of("hashed"), [""; 0], "the new time is remembered");
}

#[test]
fn a_changed_field_of_one_target_rebuilds_that_target_only() {
    let project = digits();
    project.build();
    project.write(
        "models.toml",
        MANIFEST.replace("quantization = \"int8\"", "shapes = { batch = 1 }"),
    );
    let (_, log) = project.build();
    assert_eq!(log.of("started"), ["digits.int8 convert", "digits.int8 verify"]);
    assert_eq!(log.of("hashed"), [""; 0]);
}

#[test]
fn a_changed_bound_runs_nothing_and_decides_anew() {
    let project = digits();
    project.build();
    project.write("models.toml", MANIFEST.replace("cosine = 0.9,", "cosine = 1.0,"));
    let (result, log) = project.run(&project.plan());
    assert_eq!(log.of("started"), [""; 0]);
    let error = result.unwrap_err();
    assert_eq!(error.kind(), model_build::ErrorKind::Accuracy);
    let text = error.report();
    assert!(
        text.contains("digits") && text.contains("logits") && text.contains("cosine"),
        "{text}"
    );
}

#[test]
fn a_bumped_revision_rebuilds_what_went_through_that_stage() {
    let project = digits();
    let (first, _) = project.build();
    let mut plan = project.plan();
    for stage in &mut plan.jobs[1].recipe.stages {
        if let Stage::Write(format, _) = stage {
            *format = Box::leak(Box::new(FormatDef { revision: format.revision + 1, ..**format }));
        }
    }
    let (second, log) = project.run(&plan);
    assert_eq!(log.of("started"), ["digits.int8 convert", "digits.int8 verify"]);
    assert_eq!(digests(&first), digests(&second.unwrap()), "the same code gives the same bytes");
}

#[test]
fn a_damaged_object_is_dropped_said_and_made_anew() {
    let project = digits();
    let (first, _) = project.build();
    let object = project.store().object_path(&first[0].record.files[0].digest);
    let mut bytes = std::fs::read(&object).unwrap();
    bytes[1000] ^= 4;
    std::fs::remove_file(&object).unwrap();
    std::fs::write(&object, bytes).unwrap();
    let (second, log) = project.build();
    assert!(!log.of("warning").is_empty(), "{log:?}");
    assert_eq!(log.of("started"), ["digits.fp32 convert"]);
    assert_eq!(digests(&first), digests(&second));
}

#[test]
fn the_bytes_do_not_depend_on_the_number_of_threads() {
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| digests(&digits().build().0))
    };
    let one = on(1);
    assert_eq!(one, on(2));
    assert_eq!(one, on(7));
}
