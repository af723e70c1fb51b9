//! Targets without a graph: a crate embeds the same checkpoint as GGUF files and as safetensors.

use std::fs;

use model_build::format::gguf;
use model_build_tests::project::repository;

use crate::app::{App, Helper};

const MODELS: &str = r#"
[package.metadata.models.llm]
source = "llama"
[package.metadata.models.llm.targets.q4]
format = "gguf"
quantization = "q4_k_m"
[package.metadata.models.llm.targets.big]
format = "gguf"
quantization = { target-bpw = 30 }
[package.metadata.models.llm.targets.parts]
format = "gguf"
split-max-size = "600kB"
[package.metadata.models.llm.targets.st]
format = "safetensors"
precision = "bf16"
"#;

const MAIN: &str = r#"
//! Says what is embedded.
use model_build_runtime::{Error, Metadata};
model_build_runtime::include_model!("llm.q4");
model_build_runtime::include_model!("llm.big");
model_build_runtime::include_model!("llm.parts");
model_build_runtime::include_model!("llm.st");

fn say(about: Metadata, bytes: &[u8]) {
    let Metadata { target, format, len, digest, parameters, .. } = about;
    assert!(about.inputs.is_empty() && about.outputs.is_empty());
    assert_eq!(bytes.len() as u64, len);
    println!("{target} {format} {digest} {parameters} {:?}", about.fact("recipe").unwrap());
}

fn main() -> Result<(), Error> {
    say(LlmQ4::METADATA, LlmQ4::bytes()?);
    say(LlmBig::METADATA, LlmBig::bytes()?);
    say(LlmParts::METADATA, LlmParts::bytes()?);
    say(LlmSt::METADATA, LlmSt::bytes()?);
    assert!(LlmQ4::bytes()?.starts_with(b"GGUF") && LlmQ4::METADATA.fact("warning").is_none());
    assert!(LlmBig::METADATA.fact("warning").is_some());
    for part in 1..=5 {
        let name = format!("model-0000{part}-of-00005.gguf");
        assert!(LlmParts::file(&name).unwrap()?.starts_with(b"GGUF"), "{name}");
    }
    assert!(LlmSt::file("config.json").unwrap()?.starts_with(b"{"));
    assert!(LlmSt::file("tokenizer.json").is_some() && LlmSt::file("none").is_none());
    Ok(())
}
"#;

#[test]
fn checkpoints_are_embedded_as_files_and_a_second_build_runs_nothing() {
    let app = App::new("app-checkpoint", Helper::Default, MODELS);
    fs::create_dir(app.path("llama")).unwrap();
    let model = repository().join("tests/fixtures/gguf_arch/llama-k256");
    for entry in fs::read_dir(model).unwrap() {
        let entry = entry.unwrap();
        let to = app.path("llama").join(entry.file_name());
        fs::copy(entry.path(), &to).unwrap();
        app.touch(&to, 3600);
    }
    fs::remove_file(app.path("src/lib.rs")).unwrap();
    app.krate.write("src/main.rs", MAIN);
    let first = app.build();
    let targets = ["big", "parts", "q4", "st"];
    assert_eq!(first.started(), targets.map(|t| format!("llm.{t} convert")));
    let [warning] = first.warnings()[..] else { panic!("{}", first.stderr) };
    assert!(warning.contains("llm.big: a target-bpw of 30 is more than there is"), "{warning}");
    let printed = app.run();
    let lines: Vec<Vec<&str>> = printed.lines().map(|l| l.splitn(5, ' ').collect()).collect();
    let files = first.out_dir.as_ref().unwrap().join("models");
    for (line, (target, file, format)) in lines.iter().zip([
        ("q4", "model.gguf", "gguf"),
        ("big", "model.gguf", "gguf"),
        ("parts", "model-00001-of-00005.gguf", "gguf"),
        ("st", "model.safetensors", "safetensors"),
    ]) {
        let bytes = fs::read(files.join(format!("llm.{target}")).join(file)).unwrap();
        let digest = blake3::hash(&bytes).to_string();
        assert_eq!(line[..4], [target, format, digest.as_str(), "623360"]);
        if target == "q4" {
            assert!(line[4].contains("quantize q4_k_m → write gguf"), "{printed}");
            let model = gguf::from_bytes(&bytes.into()).unwrap();
            assert_eq!(model.architecture(), Some("llama"));
        }
    }
    let text = first.generated("llm.q4.rs");
    assert!(text.contains("No backend runs `gguf` files, so there is no `load`."), "{text}");

    // Nothing changed: cargo runs nothing. The script alone: nothing is converted or read.
    assert!(app.build().fresh);
    app.touch("build.rs".as_ref(), 0);
    let again = app.build();
    assert!(again.ran_the_script() && again.started().is_empty() && again.read().is_empty());
    assert_eq!(again.warnings().len(), 1, "the warning is not forgotten");

    // A tokenizer's file decides GGUF files and the folder of the checkpoint.
    app.replace("llama/special_tokens_map.json", "</s>", "<unk>");
    let changed = app.build();
    assert_eq!(changed.started().len(), 4, "{:?}", changed.started());
    assert_eq!(changed.read().len(), 1, "{:?}", changed.read());
}
