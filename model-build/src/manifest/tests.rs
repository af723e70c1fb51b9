//! What a manifest may say, and what it is read as.

use std::path::{Path, PathBuf};

use super::*;
use crate::arch::{Pooling, Task};
use crate::error::ErrorKind;

fn cargo(text: &str) -> Result<Manifest> {
    parse(text, Path::new("app/Cargo.toml"), None)
}

/// A models.toml with one target that has these lines.
pub(super) fn target(lines: &str) -> Result<Target> {
    let text = format!("[m]\nsource = \"s\"\n[m.targets.t]\nformat = \"onnx\"\n{lines}\n");
    parse(&text, Path::new("models.toml"), None).map(|mut m| m.models.remove(0).targets.remove(0))
}

#[test]
fn the_example_of_the_documentation_says_what_it_seems_to_say() {
    let workspace = "[workspace]\n[workspace.metadata.models.tagger]\nsource = 't'\n\
                     targets.app.format = 'onnx'\n";
    let root = Path::new("/ws/Cargo.toml");
    let manifest =
        parse(docs::EXAMPLE, Path::new("/ws/app/Cargo.toml"), Some((workspace, root))).unwrap();
    let names: Vec<_> = manifest.models.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["chat", "embedder", "tagger"]);
    assert_eq!(manifest.workspace.as_deref(), Some(root));
    let [local, weights] = &manifest.models[0].targets[..] else { panic!("two targets") };
    let blocks = local.quantization.as_ref().unwrap().weights.as_ref().unwrap();
    assert_eq!(blocks.goal.to_string(), "q4_k_m");
    assert_eq!(blocks.importance.as_deref(), Some(Path::new("/ws/app/data/imatrix.gguf")));
    assert_eq!(blocks.overrides.len(), 1);
    assert_eq!(weights.precision, Some(Precision::Bf16));
    assert_eq!(weights.split_max_size, Some(2_000_000_000));
    let embedder = &manifest.models[1];
    assert_eq!(embedder.source, Path::new("/ws/app/models/all-MiniLM-L6-v2"));
    let names: Vec<_> = embedder.targets.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["apple", "server"]);
    let apple = &embedder.targets[0];
    assert_eq!(apple.precision, Some(Precision::Fp16));
    assert_eq!(apple.embed, Embed::File);
    assert_eq!(apple.when.as_ref().unwrap().to_string(), "cfg(target_vendor = \"apple\")");
    let verify = apple.verify.as_ref().unwrap();
    assert_eq!(verify.runner, Runner::OnnxRuntime);
    assert_eq!((verify.cosine, verify.max_abs, verify.samples), (Some(0.999), Some(0.01), 8));
    let server = &embedder.targets[1];
    assert_eq!(server.format.name, "onnx");
    assert_eq!(server.opset_version, Some(17));
    assert_eq!(server.precision, None);
    let int8 = Quantization {
        weights: None,
        integer: IntegerType::Int8,
        weight_only: None,
        scaled: None,
        overrides: Vec::new(),
        method: QuantizationMethod::Dynamic,
        activations: None,
        range: None,
        exclude: Vec::new(),
    };
    assert_eq!(server.quantization, Some(int8));
    assert_eq!(server.shapes["batch"], Axis::Dynamic);
    assert_eq!(server.shapes["sequence"], Axis::Fixed(128));
    assert_eq!(server.task, Some(Task::FeatureExtraction));
    assert_eq!(server.pooling, Some(Pooling::Mean));
    assert_eq!(server.normalize, Some(true));
    assert_eq!(server.verify.as_ref().unwrap().samples, 16);
    assert_eq!(server.embed, Embed::Auto);
    assert!(server.when.is_none());
    assert_eq!(manifest.models[2].source, Path::new("/ws/t"));
}

#[test]
fn a_models_toml_has_its_models_at_the_root() {
    let text = "[embedder]\nsource = 'm'\n[embedder.targets.server]\nformat = 'onnx'\n";
    let manifest = parse(text, Path::new("models.toml"), None).unwrap();
    assert_eq!(manifest.models[0].name, "embedder");
    assert_eq!(manifest.models[0].source, Path::new("m"));
    assert_eq!(manifest.workspace, None);
}

#[test]
fn a_workspace_without_a_package_has_models_of_its_own() {
    let text = "[workspace]\n[workspace.metadata.models.a]\nsource = 's'\n\
                targets.t.format = 'onnx'\n";
    let manifest = cargo(text).unwrap();
    assert_eq!(manifest.models[0].source, Path::new("app/s"));
}

#[test]
fn a_bare_target_has_the_documented_defaults() {
    let target = target("").unwrap();
    assert_eq!(target.opset_version, None);
    assert_eq!(target.precision, None);
    assert!(target.quantization.is_none() && target.shapes.is_empty());
    assert!(target.split_max_size.is_none() && target.pre_tokenizer.is_none());
    assert!(target.task.is_none() && target.pooling.is_none() && target.normalize.is_none());
    assert!(target.verify.is_none() && target.when.is_none());
    assert_eq!(target.embed, Embed::Auto);
}

#[test]
fn quantization_as_a_word_is_the_same_as_its_table() {
    let word = target("quantization = \"int8\"").unwrap().quantization;
    let short = target("quantization = { type = \"int8\" }").unwrap().quantization;
    let long = target("quantization.method = 'dynamic'\nquantization.type = 'int8'").unwrap();
    assert!(word.is_some());
    assert_eq!(word, short);
    assert_eq!(word, long.quantization);
}

#[test]
fn optimization_as_a_boolean_is_the_same_as_its_table() {
    let read = |lines: &str| target(lines).unwrap().optimization;
    assert_eq!(read("optimization = true"), Some(Optimization::default()));
    assert_eq!(read("optimization = {}"), Some(Optimization::default()));
    assert_eq!(read("optimization = false"), None);
    let table = "optimization = { graph-optimization = false, layer-fusion = 'onnxruntime', \
                 memory-optimization = true, onnxruntime = 'basic' }";
    let want = Optimization {
        graph_optimization: false,
        layer_fusion: Some(LayerFusion::OnnxRuntime),
        memory_optimization: true,
        onnxruntime: Some(RuntimeLevel::Basic),
    };
    assert_eq!(read(table), Some(want));
    let fusion = |text: &str| read(&format!("optimization.layer-fusion = {text}")).unwrap();
    assert_eq!(fusion("true").layer_fusion, Some(LayerFusion::Standard));
    assert_eq!(fusion("false").layer_fusion, None);
    let flags = [("format", "onnx"), ("optimization", "true")];
    assert!(target_from_flags("t", &flags).unwrap().optimization.is_some());
    let flags = [("format", "onnx"), ("optimization.layer-fusion", "onnxruntime")];
    let found = target_from_flags("t", &flags).unwrap().optimization.unwrap();
    assert_eq!(found.layer_fusion, Some(LayerFusion::OnnxRuntime));
    let flags = [("format", "onnx"), ("optimization", "layer-fusion=false,onnxruntime=all")];
    let found = target_from_flags("t", &flags).unwrap().optimization.unwrap();
    assert_eq!((found.layer_fusion, found.onnxruntime), (None, Some(RuntimeLevel::All)));
}

#[test]
fn verify_without_bounds_measures_only() {
    assert_eq!(target("verify = {}").unwrap().verify, Some(Verify::default()));
}

#[test]
fn every_key_of_verify_is_read() {
    let lines = "[m.targets.t.verify]\ncosine = 1\nmax-abs = 0\nmean-abs = 2.5e-3\ntop1 = 0.5\n\
                 topk = 0.25\nsnr = 30\nrelative = 1e-2\nkl = 0.1\nk = 3\n\
                 runner = 'rten'\nsamples = 4096\nseed = 9223372036854775807\n";
    let want = Verify {
        cosine: Some(1.0),
        max_abs: Some(0.0),
        mean_abs: Some(2.5e-3),
        top1: Some(0.5),
        topk: Some(0.25),
        snr: Some(30.0),
        relative: Some(1e-2),
        kl: Some(0.1),
        accuracy_drop: None,
        k: 3,
        labels: None,
        runner: Runner::Rten,
        inputs: None,
        samples: 4096,
        seed: i64::MAX.unsigned_abs(),
    };
    assert_eq!(target(lines).unwrap().verify, Some(want));
    let verify = target("verify.inputs = 'in.safetensors'").unwrap().verify.unwrap();
    assert_eq!(verify.inputs, Some(PathBuf::from("in.safetensors")));
    let lines = "verify = { inputs = 'set.st', labels = 'y', accuracy-drop = 0.01 }";
    let verify = target(lines).unwrap().verify.unwrap();
    assert_eq!((verify.labels.as_deref(), verify.accuracy_drop), (Some("y"), Some(0.01)));
}

#[test]
fn numbers_may_be_written_in_every_way_toml_has() {
    assert_eq!(target("opset-version = 0x11").unwrap().opset_version, Some(17));
    assert_eq!(target("opset-version = 1_7").unwrap().opset_version, Some(17));
    assert_eq!(target("verify.cosine = -1.0").unwrap().verify.unwrap().cosine, Some(-1.0));
    assert_eq!(target("verify.max-abs = +1e-3").unwrap().verify.unwrap().max_abs, Some(1e-3));
    assert_eq!(
        target("verify.max-abs = 3_000_000_000").unwrap().verify.unwrap().max_abs,
        Some(3e9)
    );
}

#[test]
fn every_opset_from_7_to_28_is_taken() {
    for opset in 7..=28 {
        let read = target(&format!("opset-version = {opset}")).unwrap();
        assert_eq!(read.opset_version, Some(opset));
    }
    for opset in [i64::MIN, -1, 0, 6, 29, i64::MAX] {
        target(&format!("opset-version = {opset}")).unwrap_err();
    }
}

#[test]
fn every_word_that_works_is_read_and_every_other_is_not_supported_yet() {
    let value = |field: &Field, word: &str| {
        let line = format!("{} = \"{word}\"", field.name);
        target(&line).or_else(|e| match e.message().contains("block types") {
            true => {
                let text = format!("[m]\nsource='s'\n[m.targets.t]\nformat='gguf'\n{line}\n");
                let read = parse(&text, Path::new("models.toml"), None);
                read.map(|mut m| m.models.remove(0).targets.remove(0))
            }
            false => Err(e),
        })
    };
    let mut seen = 0;
    for field in Target::KEYS.iter().filter(|field| field.name != "format") {
        for word in (field.words)() {
            seen += 1;
            match value(field, word.name) {
                Ok(_) => assert!(word.works, "{} {}", field.name, word.name),
                Err(e) => {
                    assert!(!word.works, "{e:?}");
                    assert_eq!(e.kind(), ErrorKind::Unsupported, "{e:?}");
                    assert!(!e.hints().is_empty());
                }
            }
        }
    }
    assert!(seen > 20);
}

#[test]
fn every_key_of_the_schema_is_decoded() {
    // A key that nothing reads would take a date without complaint.
    for field in Target::KEYS {
        let line = format!("{} = 1979-05-27", field.name);
        let text = format!("[m]\nsource = 's'\n[m.targets.t]\nformat = 'onnx'\n{line}\n");
        let text = if field.name == "format" { text.replace("format = 'onnx'", "") } else { text };
        let error = parse(&text, Path::new("models.toml"), None).unwrap_err();
        assert!(error.report().contains(field.name), "{error:?}");
    }
    let tables = [
        ("verify", Verify::KEYS),
        ("quantization", Quantization::KEYS),
        ("optimization", Optimization::KEYS),
        ("calibration", Calibration::KEYS),
    ];
    for (table, fields) in tables {
        for field in fields {
            let other = match (table, field.name) {
                ("quantization", "activations" | "range" | "exclude") => {
                    "quantization.type = 'int8'\n"
                }
                ("calibration", "percentile") => {
                    "calibration.dataset = 'd'\ncalibration.method = 'percentile'\n"
                }
                ("calibration", "bins") => {
                    "calibration.dataset = 'd'\ncalibration.method = 'entropy'\n"
                }
                ("calibration", "dataset") => "",
                ("calibration", _) => "calibration.dataset = 'd'\n",
                ("quantization", "activation-type" | "per-channel") => {
                    "quantization.type = 'int8'\nquantization.method = 'static'\n"
                }
                ("quantization", "damping" | "act-order") => {
                    "quantization.type = 'int4'\nquantization.algorithm = 'gptq'\n"
                }
                ("quantization", key) if integers::KEYS.contains(&key) => {
                    "quantization.type = 'int4'\n"
                }
                ("quantization", "type" | "target-size" | "target-bpw")
                | ("verify" | "optimization", _) => "",
                _ => "quantization.type = 'q4_k_m'\n",
            };
            let error = target(&format!("{other}{table}.{} = 1979-05-27", field.name)).unwrap_err();
            assert!(error.report().contains(field.name), "{error:?}");
        }
    }
    for field in Model::KEYS {
        let line = format!("{} = 1979-05-27", field.name);
        let source = if field.name == "source" { "" } else { "source = 's'" };
        let targets = if field.name == "targets" { "" } else { "targets.t.format = 'onnx'" };
        let text = format!("[package]\n[package.metadata.models.m]\n{line}\n{source}\n{targets}\n");
        let error = cargo(&text).unwrap_err();
        assert!(error.report().contains(field.name), "{error:?}");
    }
}

#[test]
fn an_inherited_model_takes_its_paths_from_the_workspace_and_its_own_targets_from_the_member() {
    let workspace = "[workspace.metadata.models.e]\nsource = 'models/e'\n\
        [workspace.metadata.models.e.targets.a]\nformat = 'onnx'\nverify.inputs = 'in.st'\n\
        [workspace.metadata.models.e.targets.b]\nformat = 'onnx'\n";
    let member = "[package]\n[package.metadata.models.e]\nworkspace = true\n\
        [package.metadata.models.e.targets.b]\nformat = 'onnx'\nprecision = 'fp16'\n\
        [package.metadata.models.e.targets.c]\nformat = 'onnx'\nverify.inputs = 'in.st'\n";
    let manifest = parse(
        member,
        Path::new("/ws/app/Cargo.toml"),
        Some((workspace, Path::new("/ws/Cargo.toml"))),
    )
    .unwrap();
    let model = &manifest.models[0];
    assert_eq!(model.source, Path::new("/ws/models/e"));
    let inputs = |i: usize| model.targets[i].verify.as_ref().unwrap().inputs.clone().unwrap();
    let names: Vec<_> = model.targets.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(inputs(0), Path::new("/ws/in.st"));
    assert_eq!(model.targets[1].precision, Some(Precision::Fp16));
    assert_eq!(inputs(2), Path::new("/ws/app/in.st"));
}

#[test]
fn the_targets_of_an_inherited_model_may_all_stand_in_the_member() {
    let workspace = "[workspace.metadata.models.e]\nsource = 's'\n";
    let member = "[package.metadata.models.e]\nworkspace = true\ntargets.t.format = 'onnx'\n\
                  [package]\n";
    let root = Some((workspace, Path::new("/ws/Cargo.toml")));
    let manifest = parse(member, Path::new("/ws/app/Cargo.toml"), root).unwrap();
    assert_eq!(manifest.models[0].targets.len(), 1);
}

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fsx::create_dir_all(path.parent().unwrap()).unwrap();
    fsx::write_atomic(&path, text.as_bytes()).unwrap();
}

const MEMBER: &str = "[package]\nname = 'x'\n[package.metadata.models]\ne.workspace = true\n";
const ROOT: &str =
    "[workspace]\n[workspace.metadata.models.e]\nsource = 's'\ntargets.t.format = 'onnx'\n";

#[test]
fn the_workspace_root_is_found_upwards_past_one_that_excludes_the_member() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write(root, "Cargo.toml", ROOT);
    write(root, "a/Cargo.toml", "[workspace]\nexclude = ['../a/b']\n");
    write(root, "a/b/Cargo.toml", "[package]\nname = 'no-workspace'\n");
    write(root, "a/b/c/Cargo.toml", MEMBER);
    let manifest = load(&root.join("a/b/c")).unwrap();
    assert_eq!(manifest.models[0].source, root.join("s"));
    assert_eq!(manifest.workspace, Some(root.join("Cargo.toml")));
    assert_eq!(manifest.path, root.join("a/b/c/Cargo.toml"));
}

#[test]
fn a_member_may_name_its_workspace() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "root/Cargo.toml", ROOT);
    let member = MEMBER.replace("name = 'x'", "workspace = '../root'");
    write(dir.path(), "member/Cargo.toml", &member);
    let manifest = load(&dir.path().join("member/Cargo.toml")).unwrap();
    assert_eq!(manifest.models[0].source, dir.path().join("root/s"));
    write(dir.path(), "member/Cargo.toml", &member.replace("../root", "../nowhere"));
    let error = load(&dir.path().join("member/Cargo.toml")).unwrap_err();
    assert!(error.report().contains("workspace = '../nowhere'"), "{error:?}");
}

#[test]
fn a_package_that_is_the_workspace_root_inherits_from_itself() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "Cargo.toml", &format!("{MEMBER}{ROOT}"));
    let manifest = load(dir.path()).unwrap();
    assert_eq!(manifest.models[0].source, dir.path().join("s"));
}

#[test]
fn a_member_of_no_workspace_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "Cargo.toml", MEMBER);
    let error = load(dir.path()).unwrap_err();
    assert!(error.report().contains("this package is in no workspace"), "{error:?}");
}

#[test]
fn a_folder_stands_for_the_one_manifest_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let error = load(dir.path()).unwrap_err();
    assert!(error.message().contains("no Cargo.toml and no models.toml"), "{error:?}");
    let models = "m.source = 's'\nm.targets.t.format = 'onnx'\n";
    write(dir.path(), "models.toml", models);
    assert_eq!(load(dir.path()).unwrap().path, dir.path().join("models.toml"));
    write(dir.path(), "Cargo.toml", "[package]\nname = 'x'\n");
    assert_eq!(load(dir.path()).unwrap().path, dir.path().join("models.toml"));
    let both = "[package]\nmetadata.models.m = { source = 's', targets.t.format = 'onnx' }\n";
    write(dir.path(), "Cargo.toml", both);
    let error = load(dir.path()).unwrap_err();
    assert!(error.message().contains("both"), "{error:?}");
    assert_eq!(load(&dir.path().join("Cargo.toml")).unwrap().models.len(), 1);
    let error = load(&dir.path().join("Models.toml")).unwrap_err();
    assert!(error.message().contains("no such manifest"), "{error:?}");
}

const LINUX: &str = "target_arch=\"x86_64\"\ntarget_os=\"linux\"\ntarget_env=\"gnu\"\n\
                     target_feature=\"sse\"\ntarget_feature=\"sse2\"\nunix\npanic=\"unwind\"\n";

fn conditional(condition: &str) -> Manifest {
    let text = format!(
        "[m]\nsource = 's'\ntargets.t = {{ format = 'onnx', when = '{condition}' }}\n\
         [n]\nsource = 's'\ntargets.always.format = 'onnx'\n"
    );
    parse(&text, Path::new("models.toml"), None).unwrap()
}

#[test]
fn when_selects_by_the_platform_that_is_compiled_for() {
    let here = TargetEnv::from_rustc("x86_64-unknown-linux-gnu", LINUX).unwrap();
    for (condition, holds) in [
        ("cfg(unix)", true),
        ("cfg(windows)", false),
        ("cfg(not(windows))", true),
        ("cfg(target_os = \"linux\")", true),
        ("cfg(all(target_arch = \"x86_64\", any(windows, target_env = \"gnu\")))", true),
        ("cfg(target_feature = \"sse2\")", true),
        ("cfg(target_feature = \"avx\")", false),
        ("cfg(nobody_knows_this)", false),
        ("x86_64-unknown-linux-gnu", true),
        ("aarch64-apple-darwin", false),
    ] {
        let manifest = conditional(condition);
        assert!(manifest.has_conditions());
        let names: Vec<_> = manifest.select(&here).models.iter().map(|m| m.name.clone()).collect();
        let want: &[&str] = if holds { &["m", "n"] } else { &["n"] };
        assert_eq!(names, want, "{condition}");
    }
    assert!(
        !parse("m={source='s',targets.t.format='onnx'}", Path::new("x"), None)
            .unwrap()
            .has_conditions()
    );
}

#[test]
fn a_build_script_sees_the_same_platform_as_rustc_says() {
    // What cargo sets for the platform above.
    let vars = [
        ("CARGO_CFG_PANIC", "unwind"),
        ("CARGO_CFG_TARGET_ARCH", "x86_64"),
        ("CARGO_CFG_TARGET_ENV", "gnu"),
        ("CARGO_CFG_TARGET_FEATURE", "sse,sse2"),
        ("CARGO_CFG_TARGET_OS", "linux"),
        ("CARGO_CFG_UNIX", ""),
    ];
    let triple = "x86_64-unknown-linux-gnu";
    let script = TargetEnv::from_vars(triple.to_owned(), vars.into_iter());
    assert_eq!(script, TargetEnv::from_rustc(triple, LINUX).unwrap());
    let musl = TargetEnv::from_vars("t".to_owned(), [("CARGO_CFG_TARGET_ABI", "")].into_iter());
    assert_eq!(musl, TargetEnv::from_rustc("t", "target_abi=\"\"\n").unwrap());
}

#[test]
fn the_rustc_at_hand_describes_its_own_and_other_platforms() {
    let own = TargetEnv::query(None).unwrap();
    assert!(own.triple.contains('-'), "{own:?}");
    assert_eq!(own, TargetEnv::query(Some(&own.triple)).unwrap());
    let windows = TargetEnv::query(Some("x86_64-pc-windows-msvc")).unwrap();
    assert!(windows.matches(&"cfg(windows)".parse().unwrap()));
    let error = TargetEnv::query(Some("no-such-triple")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tool);
    TargetEnv::from_rustc("t", "what is this\n").unwrap_err();
}

#[test]
fn flags_are_read_as_the_lines_of_a_manifest() {
    let flags = [
        ("format", "onnx"),
        ("precision", "fp16"),
        ("opset-version", "17"),
        ("quantization", "int8"),
        ("shapes", "batch=dynamic, sequence=128"),
        ("normalize", "true"),
        ("pooling", "mean"),
        ("verify", "cosine=0.99,runner=rten,samples=4"),
        ("embed", "file"),
        ("when", "cfg(target_os = \"linux\")"),
    ];
    let read = target_from_flags("out", &flags).unwrap();
    let same = target(
        "precision='fp16'\nopset-version=17\nquantization='int8'\nnormalize=true\npooling='mean'\n\
         shapes={batch='dynamic',sequence=128}\nverify={cosine=0.99,runner='rten',samples=4}\n\
         embed='file'\nwhen='cfg(target_os = \"linux\")'",
    )
    .unwrap();
    assert_eq!(read.name, "out");
    assert_eq!(format!("{read:?}"), format!("{same:?}").replace("name: \"t\"", "name: \"out\""));
}

#[test]
fn tables_may_be_given_to_flags_as_toml_or_key_by_key() {
    let verify = |flags: &[(&str, &str)]| {
        let flags = [&[("format", "onnx")], flags].concat();
        target_from_flags("t", &flags).unwrap().verify.unwrap()
    };
    let whole = verify(&[("verify", "{ cosine = 0.5, inputs = \"in,=.st\" }")]);
    let parts = verify(&[("verify.cosine", "0.5"), ("verify.inputs", "in,=.st")]);
    assert_eq!(whole, parts);
    let axes = [("format", "onnx"), ("shapes.batch", "dynamic"), ("shapes.past seq", "3")];
    let axes = target_from_flags("t", &axes).unwrap().shapes;
    assert_eq!(axes["past seq"], Axis::Fixed(3));
    let table = [("format", "onnx"), ("quantization", "method=dynamic,type=int8")];
    assert!(target_from_flags("t", &table).unwrap().quantization.is_some());
}

#[test]
fn the_documentation_of_the_manifest_is_the_one_that_stands_in_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/manifest.md");
    let fresh = docs();
    if crate::env::is_set("UPDATE_DOCS") {
        fsx::create_dir_all(path.parent().unwrap()).unwrap();
        fsx::write_atomic(&path, fresh.as_bytes()).unwrap();
    }
    let committed = fsx::read_text(&path, 1 << 20).unwrap_or_default();
    assert!(
        committed == fresh,
        "docs/manifest.md is stale; run `UPDATE_DOCS=1 cargo test -p model-build --lib manifest`"
    );
}

#[test]
fn every_key_and_every_word_is_documented() {
    let text = docs();
    let tables = [Model::KEYS, Target::KEYS, Verify::KEYS, Quantization::KEYS, Optimization::KEYS];
    for field in tables.concat() {
        assert!(!field.doc.is_empty(), "{} has no doc comment", field.name);
        assert!(text.contains(field.doc), "{}", field.name);
        for word in (field.words)() {
            assert!(text.contains(word.name), "{}", word.name);
        }
    }
}

#[test]
fn patterns_of_nodes_are_read_from_an_array_and_from_a_flag() {
    let line = "quantization = { type = 'int8', exclude = ['Softmax', 'layer\\.[01]\\.'] }";
    let quantization = target(line).unwrap().quantization.unwrap();
    assert_eq!(quantization.exclude, ["Softmax", "layer\\.[01]\\."]);
    for (given, expected) in [("a,b", vec!["a", "b"]), ("['a{1,2}']", vec!["a{1,2}"])] {
        let flags = [("format", "onnx"), ("quantization", "int8"), ("quantization.exclude", given)];
        let target = target_from_flags("t", &flags).unwrap();
        assert_eq!(target.quantization.unwrap().exclude, expected);
    }
    for (given, message) in
        [("['(']", "regular expression"), ("[1]", "must be a string"), ("['']", "empty")]
    {
        let flags = [("format", "onnx"), ("quantization", "int8"), ("quantization.exclude", given)];
        let error = target_from_flags("t", &flags).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn integer_weights_that_cannot_be_are_refused_with_advice() {
    for (lines, parts) in [
        (
            "{ type = 'int4', method = 'dynamic' }",
            &["4 bits hold weights only", "remove `method`"][..],
        ),
        ("{ type = 'int4', block-size = 48 }", &["power of two", "write 32"]),
        ("{ type = 'int4', block-size = 8 }", &["must be from 16 to 256"]),
        ("{ type = 'int4', activations = 'row' }", &["is for the method `dynamic`"]),
        ("{ type = 'int8', block-size = 32 }", &["is for the method `weight-only`"]),
        ("{ type = 'int8', overrides = { a = 'int4' } }", &["`a` gets 4 bits"]),
        ("{ type = 'int4', overrides = { a = 'q6_k' } }", &["it may be: fp32, int4"]),
        ("{ type = 'int4', overrides = { '(a' = 'int8' } }", &["is no regular expression"]),
        (
            "{ type = 'int4', algorithm = 'hqq', symmetric = true }",
            &["`hqq` looks for zero points"],
        ),
        ("{ type = 'int4', damping = 0.1 }", &["is for the algorithm `gptq`"]),
        ("{ type = 'int4', form = 'qdq', accuracy-level = 4 }", &["is for the form `matmulnbits`"]),
        ("{ type = 'int4', algorithm = 'awk' }", &["did you mean \"awq\"?"]),
        ("{ type = 'int4', pure = true }", &["is for block types of GGUF models"]),
    ] {
        let error = target(&format!("quantization = {lines}")).unwrap_err().report();
        assert!(parts.iter().all(|part| error.contains(part)), "{lines}\n{error}");
    }
}
