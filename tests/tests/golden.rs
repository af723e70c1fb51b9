//! The digests of artifacts, committed: the same bytes in debug and release, on any machine, and no
//! change of bytes without a change of revision.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // reads and, when asked, rewrites its own table

use std::collections::BTreeMap;
use std::fmt::Write;

use model_build_tests::project::{Project, repository};

/// Checkpoints and the targets of them that are in the table.
const CHECKPOINTS: &[(&str, &str, &str)] = &[
    ("digits", "examples/digits/model", GRAPHS),
    ("llama", "tests/fixtures/gguf_arch/llama-k256", TENSORS),
    ("resnet", "tests/fixtures/arch/resnet-basic", WHOLE),
    ("mobilenet_v2", "tests/fixtures/arch/mobilenet_v2-image", WHOLE),
    ("convnext", "tests/fixtures/arch/convnext-image", WHOLE),
    ("clip", "tests/fixtures/arch/clip-end", WHOLE),
    ("t5", "tests/fixtures/arch/t5-buckets", PARTS),
    ("whisper", "tests/fixtures/arch/whisper-tied", PARTS),
    ("llama-3", "tests/fixtures/arch/llama-3", WHOLE),
    ("qwen2", "tests/fixtures/arch/qwen2-window", WHOLE),
    ("gpt2", "tests/fixtures/arch/gpt2-tied", WHOLE),
];

const GRAPHS: &str = r#"
[m]
source = "model"
targets.fp32 = { format = "onnx" }
targets.fp16 = { format = "onnx", precision = "fp16" }
targets.bf16 = { format = "onnx", precision = "bf16" }
targets.int8 = { format = "onnx", quantization = "int8" }
targets.batch-1 = { format = "onnx", shapes = { batch = 1 } }
targets.slim = { format = "onnx", optimization = { layer-fusion = false } }
targets.paged = { format = "onnx", optimization = { layer-fusion = false, memory-optimization = true } }
"#;

const WHOLE: &str = r#"
[m]
source = "model"
targets.fp32 = { format = "onnx" }
"#;

const PARTS: &str = r#"
[m]
source = "model"
targets.encoder = { format = "onnx", part = "encoder" }
targets.decoder = { format = "onnx", part = "decoder" }
targets.with-past = { format = "onnx", part = "decoder-with-past" }
"#;

const TENSORS: &str = r#"
[m]
source = "model"
targets.gguf = { format = "gguf" }
targets.f16 = { format = "gguf", precision = "fp16" }
targets.q8_0 = { format = "gguf", quantization = "q8_0" }
targets.q4_k_m = { format = "gguf", quantization = "q4_k_m" }
targets.iq4_xs = { format = "gguf", quantization = "iq4_xs" }
targets.size = { format = "gguf", quantization = { target-size = "500kB" } }
targets.bpw = { format = "gguf", quantization = { target-bpw = 4.5, overrides = { attn_v = "q8_0" } } }
targets.pure = { format = "gguf", quantization = { type = "q4_0", pure = true } }
targets.split = { format = "gguf", split-max-size = "600kB" }
targets.safetensors = { format = "safetensors" }
targets.safetensors-bf16 = { format = "safetensors", precision = "bf16", split-max-size = "600kB" }
targets.pytorch = { format = "pytorch", precision = "fp16" }
targets.ollama = { format = "ollama", quantization = "q4_0" }
"#;

/// Checkpoint and target → stages with their revisions, and the digests of the files.
fn built() -> BTreeMap<String, (String, String)> {
    let mut table = BTreeMap::new();
    for (name, folder, manifest) in CHECKPOINTS {
        let project = Project::new(&repository().join(folder), manifest);
        let plan = project.plan();
        let (artifacts, _) = project.run(&plan);
        for (job, artifact) in plan.jobs.iter().zip(artifacts.unwrap()) {
            let stages: Vec<String> = job
                .recipe
                .stages
                .iter()
                .map(|s| format!("{} ({})", s.name(), s.canonical()))
                .collect();
            let files = &artifact.record.files;
            let digests: Vec<String> = files.iter().map(|f| f.digest.to_string()).collect();
            let digests = digests.join(" ");
            table.insert(format!("{name}.{}", job.target), (stages.join(", "), digests));
        }
    }
    table
}

#[test]
fn a_digest_moves_only_with_a_revision() {
    let path = repository().join("tests/tests/golden.txt");
    let built = built();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let mut text = String::new();
        for (case, (stages, digest)) in &built {
            writeln!(text, "{case}\n  {stages}\n  {digest}").unwrap();
        }
        std::fs::write(&path, text).unwrap();
        return;
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let golden: BTreeMap<&str, (&str, &str)> =
        lines.chunks(3).map(|c| (c[0], (c[1].trim(), c[2].trim()))).collect();
    let advice = "run this test with UPDATE_GOLDEN=1 and commit tests/tests/golden.txt";
    assert!(
        built.keys().map(String::as_str).eq(golden.keys().copied()),
        "the table lists other cases than the test: {advice}"
    );
    for (case, (stages, digest)) in &built {
        let (golden_stages, golden_digest) = golden[case.as_str()];
        if stages == golden_stages {
            assert_eq!(
                digest, golden_digest,
                "{case}: the bytes changed and no revision did. Bump the `revision` of the stage \
                 that changed, then {advice}"
            );
        } else {
            panic!(
                "{case}: a revision or a parameter changed: {advice}\n{golden_stages}\n{stages}"
            );
        }
    }
}
