//! Lowered checkpoints against transformers: the fixtures of `fixtures/arch` (made by its gen.py)
//! through ONNX Runtime and rten.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a test suite

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use model_build::ErrorKind;
use model_build::arch::{self, LowerOptions, Pooling, Task};
use model_build::format::{self, WriteOptions};
use model_build::hub::{Checkpoint, Graph, Hub, Tensor, write_blob};
use model_build_tests::arrays::{self, Array, Arrays, Data};
use model_build_tests::onnxruntime::{self, Level};
use model_build_tests::rten;
use serde_json::json;

/// What the outputs may differ by: transformers' own numbers on two machines differ as much.
const BOUND: f32 = 1e-4;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/arch")
}

fn cases() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(fixtures())
        .unwrap()
        .map(|e| e.unwrap())
        .filter(|e| e.file_type().unwrap().is_dir())
        .map(|e| e.file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() > 40, "the fixtures are there");
    names
}

fn load(case: &str) -> Checkpoint {
    let source = format::resolve(&fixtures().join(case)).unwrap();
    match (source.format.read.unwrap())(&source.files).unwrap() {
        Hub::Checkpoint(checkpoint) => checkpoint,
        _ => panic!("a safetensors folder is a checkpoint"),
    }
}

/// Inputs and expected outputs.
fn reference(case: &str) -> (Arrays, Arrays) {
    let all = arrays::read(&fixtures().join(case).join("reference.safetensors"));
    let pick = |start: &str| {
        all.iter()
            .filter_map(|(name, array)| Some((name.strip_prefix(start)?.to_owned(), array.clone())))
            .collect::<Arrays>()
    };
    (pick("in."), pick("out."))
}

fn lower(checkpoint: &Checkpoint) -> Graph {
    arch::lower(checkpoint, &LowerOptions::default()).unwrap()
}

fn onnx(graph: &Graph) -> Vec<u8> {
    let def = format::by_name("onnx").unwrap();
    let options = WriteOptions { file_name: "model.onnx".into(), ..Default::default() };
    let blobs = (def.write.unwrap())(&Hub::Graph(graph.clone()), &options).unwrap();
    assert_eq!(blobs.len(), 1);
    let mut bytes = Vec::new();
    write_blob(&blobs[0].segments, &mut bytes, &mut |_| {}).unwrap();
    bytes
}

/// A model file that lives as long as this.
struct File(tempfile::TempDir);

impl File {
    fn of(graph: &Graph) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("model.onnx"), onnx(graph)).unwrap();
        Self(folder)
    }
    fn path(&self) -> PathBuf {
        self.0.path().join("model.onnx")
    }
}

/// The greatest difference over all outputs, which must be the same set with the same shapes.
fn difference(case: &str, got: &Arrays, want: &Arrays) -> f32 {
    assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>(), "{case}");
    want.iter().fold(0.0, |worst, (name, want)| {
        let got = &got[name];
        assert_eq!(got.shape, want.shape, "{case}: {name}");
        assert!(got.f32().iter().all(|v| v.is_finite()), "{case}: {name} is not finite");
        worst.max(arrays::max_abs_diff(got.f32(), want.f32()))
    })
}

#[test]
fn every_fixture_agrees_with_transformers_in_onnx_runtime_with_and_without_its_optimizations() {
    let Some(runtime) = onnxruntime::find() else { return };
    for case in cases() {
        let (inputs, want) = reference(&case);
        let file = File::of(&lower(&load(&case)));
        let [plain, optimized] = [Level::None, Level::All]
            .map(|level| difference(&case, &runtime.run(&file.path(), level, &inputs), &want));
        println!("{case:26} max-abs {plain:.1e} unoptimized, {optimized:.1e} optimized");
        assert!(plain <= BOUND && optimized <= BOUND, "{case}");
    }
}

#[test]
fn every_fixture_agrees_with_transformers_in_rten() {
    for case in cases() {
        let (inputs, want) = reference(&case);
        let file = File::of(&lower(&load(&case)));
        let got = rten::run(&file.path(), &inputs);
        let worst = difference(&case, &got, &want);
        println!("{case:26} max-abs {worst:.1e}");
        assert!(worst <= BOUND, "{case}");
    }
}

#[test]
fn every_task_of_every_architecture_has_a_fixture() {
    let tested: BTreeSet<(String, String)> = cases()
        .iter()
        .map(|case| {
            let fact = |graph: &Graph, key: &str| {
                graph.metadata.iter().find(|(k, _)| k == key).unwrap().1.clone()
            };
            let graph = lower(&load(case));
            (fact(&graph, "model_build.architecture"), fact(&graph, "model_build.task"))
        })
        .collect();
    for def in arch::ALL {
        for task in def.tasks {
            let pair = (def.name.to_owned(), task.name().to_owned());
            assert!(tested.contains(&pair), "no fixture shows {pair:?}");
        }
    }
}

#[test]
fn every_value_of_a_lowered_graph_has_a_type_and_the_axes_are_batch_and_sequence() {
    for case in cases() {
        let graph = lower(&load(&case));
        assert_eq!((graph.opset(), graph.ir_version), (17, 8));
        for id in graph.body.value_ids() {
            let value = graph.body.value(id);
            let Some((_, Some(shape))) = graph.body.tensor_type(id) else {
                panic!("{case}: nothing is known of `{}`", value.name)
            };
            for dim in shape {
                assert_ne!(dim.to_string(), "?", "{case}: `{}`", value.name);
            }
        }
        for id in graph.body.inputs().iter().chain(graph.body.outputs()) {
            let (_, shape) = graph.body.tensor_type(*id).unwrap();
            assert_eq!(shape.unwrap()[0].to_string(), "batch", "{case}");
        }
    }
}

#[test]
fn weights_keep_their_names_and_nodes_are_named_after_their_modules() {
    let checkpoint = load("bert-seqcls");
    let graph = lower(&checkpoint);
    for (name, tensor) in &checkpoint.tensors {
        let id = graph.body.find(name).unwrap_or_else(|| panic!("{name} is not in the graph"));
        assert_eq!(graph.body.constant(id).unwrap().len(), tensor.len(), "{name}");
    }
    let nodes: Vec<&str> = graph.body.nodes().map(|(_, n)| n.name.as_str()).collect();
    assert!(nodes.contains(&"encoder.layer.0.attention.self.query/MatMul"), "{nodes:?}");
}

#[test]
fn labels_are_in_the_metadata_of_a_classifier() {
    let graph = lower(&load("vit-image"));
    let labels = graph.metadata.iter().find(|(k, _)| k == "model_build.labels").unwrap();
    assert_eq!(labels.1, r#"["no","perhaps","yes"]"#);
    assert_eq!(arch::labels(&load("vit-image")).unwrap().unwrap(), ["no", "perhaps", "yes"]);
}

#[test]
fn lowering_the_same_checkpoint_twice_gives_the_same_bytes() {
    let first = onnx(&lower(&load("mpnet-mlm")));
    assert_eq!(first, onnx(&lower(&load("mpnet-mlm"))));
}

fn integers(shape: [usize; 2], data: Vec<i64>) -> Array {
    Array { shape: shape.to_vec(), data: Data::I64(data) }
}

/// Inputs for one text of `length` tokens.
fn one_text(length: usize, mask: i64) -> Arrays {
    let ids = (0..length).map(|i| 4 + i64::try_from(i % 40).unwrap()).collect();
    Arrays::from([
        ("input_ids".to_owned(), integers([1, length], ids)),
        ("attention_mask".to_owned(), integers([1, length], vec![mask; length])),
    ])
}

fn with_types(mut inputs: Arrays) -> Arrays {
    let shape = inputs["input_ids"].shape.clone();
    let zeros = vec![0; shape[0] * shape[1]];
    inputs.insert("token_type_ids".to_owned(), integers([shape[0], shape[1]], zeros));
    inputs
}

#[test]
fn padding_changes_nothing_and_any_batch_and_length_runs() {
    for case in ["distilbert-seqcls", "roberta-seqcls", "mpnet-seqcls", "sentence-cls"] {
        let (inputs, want) = reference(case);
        let file = File::of(&lower(&load(case)));
        // the second text of the fixtures ends in 4 padding tokens: run it without them
        let second = inputs
            .iter()
            .map(|(name, array)| {
                let Data::I64(data) = &array.data else { panic!("{name}") };
                let length = array.shape[1];
                (name.clone(), integers([1, length - 4], data[length..2 * length - 4].to_vec()))
            })
            .collect();
        let got = rten::run(&file.path(), &second);
        for (name, want) in want {
            let width = want.shape[1];
            let worst = arrays::max_abs_diff(got[&name].f32(), &want.f32()[width..]);
            assert!(worst <= BOUND, "{case}: {name}: {worst}");
        }
    }
}

#[test]
fn a_text_without_any_token_to_attend_to_gives_finite_numbers() {
    for case in ["sentence-mean-normalize", "bert-model", "mpnet-qa"] {
        let file = File::of(&lower(&load(case)));
        let mut inputs = one_text(5, 0);
        if case != "mpnet-qa" {
            inputs = with_types(inputs);
        }
        let mut all = vec![rten::run(&file.path(), &inputs)];
        if let Some(runtime) = onnxruntime::find() {
            all.extend([Level::None, Level::All].map(|l| runtime.run(&file.path(), l, &inputs)));
        }
        for outputs in all {
            for (name, array) in outputs {
                assert!(array.f32().iter().all(|v| v.is_finite()), "{case}: {name}");
            }
        }
    }
}

#[test]
fn a_text_longer_than_the_table_of_positions_is_an_error_and_the_longest_is_none() {
    // RoBERTa and MPNet spend two rows on padding
    for (case, longest) in [
        ("bert-seqcls", 20),
        ("distilbert-seqcls", 20),
        ("roberta-seqcls", 18),
        ("mpnet-seqcls", 18),
    ] {
        let file = File::of(&lower(&load(case)));
        let inputs = |length| {
            let inputs = one_text(length, 1);
            if case == "bert-seqcls" { with_types(inputs) } else { inputs }
        };
        rten::run(&file.path(), &inputs(longest));
        assert!(fails(|| rten::run(&file.path(), &inputs(longest + 1))), "{case} in rten");
        if let Some(runtime) = onnxruntime::find() {
            for level in [Level::None, Level::All] {
                runtime.run(&file.path(), level, &inputs(longest));
                let run = || runtime.run(&file.path(), level, &inputs(longest + 1));
                assert!(fails(run), "{case} in ONNX Runtime");
            }
        }
    }
}

/// Whether the run ends in the panic by which the oracles pass on a runtime's error.
fn fails(run: impl FnOnce() -> Arrays) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err()
}

#[test]
fn pooling_and_normalization_follow_the_options_over_the_folder() {
    let checkpoint = load("sentence-mean-normalize");
    let (inputs, want) = reference("sentence-mean-normalize");
    let run = |pooling, normalize| {
        let options = LowerOptions { task: None, pooling, normalize };
        let file = File::of(&arch::lower(&checkpoint, &options).unwrap());
        rten::run(&file.path(), &inputs)
    };
    let bare = run(Some(Pooling::None), None);
    assert_eq!(bare.keys().collect::<Vec<_>>(), ["last_hidden_state", "pooler_output"]);
    let hidden = &bare["last_hidden_state"];
    let [_, length, width] = hidden.shape[..] else { panic!("rank 3") };

    let first = run(Some(Pooling::Cls), Some(false));
    let first_row = &hidden.f32()[..width];
    assert!(arrays::max_abs_diff(&first["sentence_embedding"].f32()[..width], first_row) < 1e-6);

    // normalizing the plain mean gives what the folder asks for
    let mean = run(None, Some(false));
    let Data::I64(mask) = &inputs["attention_mask"].data else { panic!("i64") };
    for text in 0..2 {
        let row = &mean["sentence_embedding"].f32()[text * width..(text + 1) * width];
        let kept: Vec<usize> = (0..length).filter(|t| mask[text * length + t] == 1).collect();
        for (i, value) in row.iter().enumerate() {
            let sum: f32 = kept.iter().map(|t| hidden.f32()[(text * length + t) * width + i]).sum();
            assert!((value - sum / kept.len() as f32).abs() < 1e-5);
        }
        let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt();
        let normalized: Vec<f32> = row.iter().map(|v| v / norm).collect();
        let want = &want["sentence_embedding"].f32()[text * width..(text + 1) * width];
        assert!(arrays::max_abs_diff(&normalized, want) < 1e-5);
    }
}

/// The error of lowering a changed checkpoint.
fn refused(case: &str, change: impl FnOnce(&mut Checkpoint)) -> model_build::Error {
    refused_with(case, LowerOptions::default(), change)
}

fn refused_with(
    case: &str,
    options: LowerOptions,
    change: impl FnOnce(&mut Checkpoint),
) -> model_build::Error {
    let mut checkpoint = load(case);
    change(&mut checkpoint);
    arch::lower(&checkpoint, &options).unwrap_err()
}

#[test]
fn a_configuration_that_is_wrong_is_an_error_that_names_the_key() {
    let wrong = [
        ("bert-model", "hidden_size", json!(null)),
        ("bert-model", "hidden_size", json!("24")),
        ("bert-model", "hidden_size", json!(0)),
        ("bert-model", "hidden_size", json!(-24)),
        ("bert-model", "num_attention_heads", json!(5)),
        ("bert-model", "num_hidden_layers", json!(2.5)),
        ("bert-model", "layer_norm_eps", json!("small")),
        ("bert-model", "layer_norm_eps", json!(0)),
        ("bert-model", "hidden_act", json!(["gelu"])),
        ("bert-model", "is_decoder", json!("no")),
        ("bert-model", "architectures", json!("BertModel")),
        ("bert-seqcls", "id2label", json!({"0": "a", "2": "b", "3": "c"})),
        ("bert-seqcls", "id2label", json!({})),
        ("distilbert-model", "n_heads", json!(7)),
        ("roberta-model", "pad_token_id", json!(-1)),
        ("vit-image", "image_size", json!([12, 12, 12])),
        ("vit-image", "patch_size", json!(13)),
        ("vit-image", "image_size", json!(u64::MAX)),
        ("vit-model", "qkv_bias", json!(1)),
    ];
    for (case, key, value) in wrong {
        let error = refused(case, |c| c.config[key] = value.clone());
        assert_eq!(error.kind(), ErrorKind::Malformed, "{case}: {key} = {value}: {error}");
        assert!(error.to_string().contains(key), "{case}: {key} = {value}: {error}");
    }
}

#[test]
fn a_configuration_that_contradicts_the_tensors_is_an_error_with_both_shapes() {
    let error = refused("bert-model", |c| c.config["intermediate_size"] = json!(44));
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert!(text.contains("[44, 24]") && text.contains("[40, 24]"), "{text}");
    assert!(text.contains("encoder.layer.0.intermediate.dense.weight"), "{text}");

    let error = refused("bert-model", |c| c.config["num_hidden_layers"] = json!(3));
    assert!(error.to_string().contains("encoder.layer.2."), "{error}");
    // as many layers as fit in a number: the first missing tensor ends it
    let error = refused("bert-model", |c| c.config["num_hidden_layers"] = json!(1u64 << 32));
    assert!(error.to_string().contains("encoder.layer.2."), "{error}");
}

#[test]
fn a_configuration_that_is_not_lowered_is_refused_by_its_key() {
    let refusals = [
        ("bert-model", "hidden_act", json!("mish")),
        ("bert-model", "is_decoder", json!(true)),
        ("bert-model", "add_cross_attention", json!(true)),
        ("bert-model", "position_embedding_type", json!("relative_key")),
        ("bert-model", "pruned_heads", json!({"0": [1]})),
        ("bert-model", "quantization_config", json!({"quant_method": "bitsandbytes"})),
        ("mpnet-model", "relative_attention_num_buckets", json!(16)),
        ("vit-model", "head_dim", json!(16)),
        ("bert-model", "model_type", json!("bart")),
    ];
    for (case, key, value) in refusals {
        let error = refused(case, |c| c.config[key] = value.clone());
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{case}: {key}: {error}");
        assert!(error.to_string().contains(key), "{case}: {key}: {error}");
    }
    let error = refused("bert-model", |c| c.config["model_type"] = json!("mpnett"));
    assert!(error.hints().iter().any(|h| h.contains("mpnet")), "{error:?}");
}

#[test]
fn weights_that_no_node_reads_are_an_error_that_names_them() {
    let error = refused("bert-model", |c| c.config["num_hidden_layers"] = json!(1));
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("encoder.layer.1."), "{error}");

    let adapter = Tensor::from_f32(vec![1], &[1.0]).unwrap();
    let name = "encoder.layer.0.attention.self.query.lora_A.weight";
    let error = refused("bert-model", |c| {
        c.tensors.insert(name.to_owned(), adapter.clone());
    });
    assert!(error.to_string().contains(name), "{error}");
}

#[test]
fn a_task_that_cannot_be_told_or_has_no_head_is_an_error_that_lists_the_tasks() {
    for architectures in
        [json!(null), json!([]), json!(["BertForPreTraining"]), json!(["BertLMHeadModel"])]
    {
        let error = refused("bert-model", |c| c.config["architectures"] = architectures);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.hints().iter().any(|h| h.contains("fill-mask")), "{error:?}");
    }
    let ask = |task| LowerOptions { task: Some(task), ..LowerOptions::default() };
    let error = refused_with("bert-model", ask(Task::MaskedLm), |_| {});
    assert!(error.to_string().contains("fill-mask"), "{error}");
    let error = refused_with("vit-image", ask(Task::MaskedLm), |_| {});
    assert!(error.hints().iter().any(|h| h.contains("image-classification")), "{error:?}");
    // a checkpoint with a head lowers to its encoder when that is asked for
    let graph = arch::lower(&load("bert-seqcls"), &ask(Task::FeatureExtraction)).unwrap();
    let names: Vec<&str> =
        graph.body.outputs().iter().map(|id| graph.body.value(*id).name.as_str()).collect();
    assert_eq!(names, ["last_hidden_state", "pooler_output"]);
}

#[test]
fn poolings_that_make_no_sense_are_errors() {
    let with = |pooling, normalize| LowerOptions { task: None, pooling, normalize };
    let error = refused_with("bert-seqcls", with(Some(Pooling::Mean), None), |_| {});
    assert_eq!(error.kind(), ErrorKind::Manifest);
    let error = refused_with("bert-model", with(None, Some(true)), |_| {});
    assert_eq!(error.kind(), ErrorKind::Manifest);
    let error = refused_with("vit-model", with(Some(Pooling::Mean), None), |_| {});
    assert_eq!(error.kind(), ErrorKind::Unsupported);

    let pooling = |text: &'static str| {
        move |c: &mut Checkpoint| {
            c.assets
                .insert("1_Pooling/config.json".into(), bytes::Bytes::from_static(text.as_bytes()));
        }
    };
    let case = "sentence-cls";
    let error = refused(case, pooling(r#"{"pooling_mode_max_tokens": true}"#));
    assert!(error.to_string().contains("max_tokens"), "{error}");
    let both = r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}"#;
    assert_eq!(refused(case, pooling(both)).kind(), ErrorKind::Unsupported);
    assert_eq!(refused(case, pooling("{}")).kind(), ErrorKind::Malformed);
    assert_eq!(refused(case, pooling("[")).kind(), ErrorKind::Malformed);

    let dense = r#"[{"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]"#;
    let error = refused(case, |c| {
        c.assets.insert("modules.json".into(), bytes::Bytes::from_static(dense.as_bytes()));
    });
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("Dense"), "{error}");
}

#[test]
fn a_checkpoint_without_configuration_is_an_error() {
    let error = refused("bert-model", |c| c.config = json!({}));
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert!(error.to_string().contains("config.json"), "{error}");
}
