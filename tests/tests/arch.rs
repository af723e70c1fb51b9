//! Lowered checkpoints against transformers: the fixtures of `fixtures/arch` (made by its gen.py)
//! through ONNX Runtime and rten.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a test suite

use std::collections::BTreeSet;

use model_build::ErrorKind;
use model_build::arch::{self, LowerOptions, Part, Pooling, Task};
use model_build::hub::{Checkpoint, Graph, Tensor};
use model_build_tests::arrays::{self, Array, Arrays, Data};
use model_build_tests::lowered::{File, fixtures, graphs, load, onnx, split};
use model_build_tests::onnxruntime::{self, Level};
use model_build_tests::rten;
use serde_json::json;

/// What the outputs may differ by: transformers' own numbers on two machines differ as much.
const BOUND: f32 = 1e-4;

/// Inputs and expected outputs of the one graph of a case.
fn reference(case: &str) -> (Arrays, Arrays) {
    split(&fixtures().join(case).join("reference.safetensors"))
}

fn lower(checkpoint: &Checkpoint) -> Graph {
    arch::lower(checkpoint, &LowerOptions::default()).unwrap()
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

/// The greatest difference relative to the greatest number of the output, over all outputs.
fn relative(got: &Arrays, want: &Arrays) -> f32 {
    want.iter().fold(0.0, |worst, (name, want)| {
        let size = want.f32().iter().fold(0.0f32, |m, v| m.max(v.abs()));
        worst.max(arrays::max_abs_diff(got[name].f32(), want.f32()) / size.max(f32::MIN_POSITIVE))
    })
}

#[test]
fn every_fixture_agrees_with_transformers_in_onnx_runtime_with_and_without_its_optimizations() {
    let Some(runtime) = onnxruntime::find() else { return };
    for case in graphs() {
        let (inputs, want) = case.reference();
        let file = File::of(&case.graph());
        let results = [Level::None, Level::All].map(|level| {
            let got = runtime.run(&file.path(), level, &inputs);
            (difference(&case.to_string(), &got, &want), relative(&got, &want))
        });
        let [(plain, _), (optimized, share)] = results;
        println!(
            "{case:45} max-abs {plain:.1e} unoptimized, {optimized:.1e} optimized, relative {share:.1e}"
        );
        assert!(plain <= BOUND && optimized <= BOUND, "{case}");
    }
}

#[test]
fn every_fixture_agrees_with_transformers_in_rten() {
    for case in graphs() {
        let (inputs, want) = case.reference();
        let file = File::of(&case.graph());
        let got = rten::run(&file.path(), &inputs);
        let worst = difference(&case.to_string(), &got, &want);
        println!("{case:45} max-abs {worst:.1e}");
        assert!(worst <= BOUND, "{case}");
    }
}

#[test]
fn every_task_and_part_of_every_architecture_has_a_fixture() {
    let fact = |graph: &Graph, key: &str| {
        graph.metadata.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone()).unwrap_or_default()
    };
    let tested: BTreeSet<[String; 3]> = graphs()
        .iter()
        .map(|case| {
            let graph = case.graph();
            ["architecture", "task", "part"].map(|key| fact(&graph, &format!("model_build.{key}")))
        })
        .collect();
    for def in arch::ALL {
        for task in def.tasks {
            let parts: Vec<&str> = task.parts().iter().map(|p| p.name()).collect();
            for part in if parts.is_empty() { vec![""] } else { parts } {
                let wanted = [def.name, task.name(), part].map(str::to_owned);
                assert!(tested.contains(&wanted), "no fixture shows {wanted:?}");
            }
        }
    }
}

#[test]
fn every_value_of_a_lowered_graph_has_a_type_and_the_first_axis_is_a_batch() {
    for case in graphs() {
        let graph = case.graph();
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
            let first = shape.unwrap()[0].to_string();
            let both = ["text_batch", "image_batch"].contains(&first.as_str());
            assert!(first == "batch" || both && case.name.starts_with("clip"), "{case}: {first}");
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
        let options = LowerOptions { pooling, normalize, ..LowerOptions::default() };
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
        ("resnet-basic", "depths", json!([1, 2])),
        ("resnet-basic", "depths", json!([])),
        ("resnet-basic", "hidden_sizes", json!("8")),
        ("resnet-bottleneck", "hidden_sizes", json!([3, 12, 16])),
        ("resnet-basic", "downsample_in_first_stage", json!("no")),
        ("mobilenet_v2-image", "depth_multiplier", json!(-1)),
        ("mobilenet_v2-image", "depth_multiplier", json!(1e300)),
        ("mobilenet_v2-image", "expand_ratio", json!(0)),
        ("mobilenet_v2-image", "tf_padding", json!(0)),
        ("convnext-image", "num_stages", json!(4)),
        ("convnext-image", "patch_size", json!([4, 4, 4])),
        ("clip-end", "text_config", json!(7)),
        ("clip-end", "text_config", json!(null)),
        ("clip-text", "eos_token_id", json!([47])),
        ("clip-text", "num_attention_heads", json!(5)),
        ("t5-encoder", "feed_forward_proj", json!("gelu-gated")),
        ("t5-encoder", "relative_attention_num_buckets", json!(3)),
        ("t5-encoder", "relative_attention_num_buckets", json!(1u64 << 40)),
        ("t5-encoder", "relative_attention_max_distance", json!(16)),
        ("llama-plain", "num_key_value_heads", json!(3)),
        ("llama-plain", "head_dim", json!(5)),
        ("llama-plain", "rope_parameters", json!({"rope_type": "linear", "rope_theta": 1e4})),
        ("llama-plain", "max_position_embeddings", json!(0)),
        ("qwen2-window", "layer_types", json!(["full_attention", "chunked_attention"])),
        ("qwen2-window", "sliding_window", json!(-3)),
        ("gpt2-tied", "n_head", json!(5)),
        ("gpt2-tied", "scale_attn_weights", json!("yes")),
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
        ("resnet-basic", "layer_type", json!("wide")),
        ("resnet-basic", "hidden_act", json!("mish")),
        ("t5-encoder", "dense_act_fn", json!("mish")),
        ("t5-encoder", "relative_attention_max_distance", json!(1 << 20)),
        ("t5-encoder", "architectures", json!(["T5Model"])),
        ("t5-encoder", "quantization_config", json!({"quant_method": "gptq"})),
        ("llama-plain", "max_position_embeddings", json!(1u64 << 31)),
        ("llama-plain", "quantization_config", json!({"quant_method": "awq"})),
        ("gpt2-tied", "add_cross_attention", json!(true)),
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
fn a_part_that_is_missing_or_of_another_task_is_an_error_that_lists_the_parts() {
    let ask = |part| LowerOptions { part, ..LowerOptions::default() };
    for case in ["t5-relu", "whisper-tied"] {
        let error = refused_with(case, ask(None), |_| {});
        assert_eq!(error.kind(), ErrorKind::Manifest, "{error}");
        let listed = "encoder, decoder, decoder-with-past";
        assert!(error.hints().iter().any(|h| h.contains(listed)), "{error:?}");
        let error = refused_with(case, ask(Some(Part::Vision)), |_| {});
        assert!(error.hints().iter().any(|h| h.contains(listed)), "{error:?}");
    }
    for (case, part) in [
        ("bert-model", Part::Encoder),
        ("resnet-basic", Part::Vision),
        ("clip-end", Part::Decoder),
        ("clip-text", Part::Vision),
    ] {
        let error = refused_with(case, ask(Some(part)), |_| {});
        assert_eq!(error.kind(), ErrorKind::Manifest, "{case}: {error}");
        assert!(error.to_string().contains(part.name()), "{case}: {error}");
    }
}

#[test]
fn rotary_positions_of_another_kind_are_refused_and_the_known_ones_are_listed() {
    for kind in ["dynamic", "longrope", "proportional"] {
        let error = refused("llama-plain", |c| {
            c.config["rope_parameters"] =
                json!({"rope_type": kind, "rope_theta": 10000.0, "factor": 2.0});
        });
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains(kind), "{error}");
        assert!(error.hints().iter().any(|h| h.contains("llama3")), "{error:?}");
    }
    let error = refused("llama-plain", |c| {
        c.config["rope_parameters"] =
            json!({"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5});
    });
    assert!(error.to_string().contains("partial_rotary_factor"), "{error}");
}

#[test]
fn as_many_layers_as_fit_in_a_number_end_at_the_first_missing_tensor() {
    for (case, key, part) in [
        ("llama-plain", "num_hidden_layers", Part::DecoderWithPast),
        ("gpt2-tied", "n_layer", Part::DecoderWithPast),
        ("t5-relu", "num_decoder_layers", Part::DecoderWithPast),
        ("t5-relu", "num_layers", Part::Encoder),
        ("whisper-tied", "decoder_layers", Part::DecoderWithPast),
        ("whisper-tied", "encoder_layers", Part::Encoder),
    ] {
        let options = LowerOptions { part: Some(part), ..LowerOptions::default() };
        let error = refused_with(case, options, |c| c.config[key] = json!(1u64 << 32));
        assert!(error.to_string().contains("2."), "{case}: {error}");
    }
}

#[test]
fn what_a_part_does_not_read_is_left_out_and_nothing_else() {
    let ask = |part| LowerOptions { part: Some(part), ..LowerOptions::default() };
    let extra = |name: &'static str| {
        move |c: &mut Checkpoint| {
            let tensor = Tensor::from_f32(vec![1], &[1.0]).unwrap();
            c.tensors.insert(name.to_owned(), tensor);
        }
    };
    for (case, part, name) in [
        ("t5-relu", Part::Encoder, "encoder.block.0.layer.0.SelfAttention.q.lora_A.weight"),
        ("t5-relu", Part::Decoder, "decoder.block.2.layer.0.layer_norm.weight"),
        ("whisper-tied", Part::DecoderWithPast, "model.decoder.layers.0.fc1.lora_A.weight"),
        ("clip-end", Part::Text, "text_model.encoder.layers.2.layer_norm1.bias"),
    ] {
        let error = refused_with(case, ask(part), extra(name));
        assert!(error.to_string().contains(name), "{case}: {error}");
    }
    let graph = arch::lower(&load("t5-relu"), &ask(Part::DecoderWithPast)).unwrap();
    let cross = "decoder.block.0.layer.1.EncDecAttention.k.weight";
    assert!(graph.body.find(cross).is_none(), "the cache has what it makes");
}

#[test]
fn poolings_that_make_no_sense_are_errors() {
    let with = |pooling, normalize| LowerOptions { pooling, normalize, ..LowerOptions::default() };
    let error = refused_with("bert-seqcls", with(Some(Pooling::Mean), None), |_| {});
    assert_eq!(error.kind(), ErrorKind::Manifest);
    let error = refused_with("bert-model", with(None, Some(true)), |_| {});
    assert_eq!(error.kind(), ErrorKind::Manifest);
    for case in ["vit-model", "resnet-model", "convnext-model", "mobilenet_v2-model", "clip-text"] {
        let error = refused_with(case, with(Some(Pooling::Mean), None), |_| {});
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{case}");
    }

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
