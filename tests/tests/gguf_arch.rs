//! Checkpoints as GGUF files: the fixtures of `fixtures/gguf_arch` against the tables that its scripts
//! made of llama.cpp's converter, and back.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a test suite

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use model_build::ErrorKind;
use model_build::arch;
use model_build::format;
use model_build::hub::{Checkpoint, DType, Gguf, Hub, Meta, MetaArray, Tensor};
use model_build_tests::gguf_table::{meta_line, tensor_line};

/// Fixtures and what is known to differ: nothing, or tables that are made of other types.
const CASES: &[&str] = &[
    "bert-base-model",
    "bloom",
    "cohere2",
    "deepseek_v2",
    "deepseek_v2-lite",
    "distilbert-model",
    "falcon",
    "gemma2",
    "gemma3",
    "glm4",
    "gpt2",
    "gpt_neox",
    "gpt_oss",
    "gpt_oss-mxfp4",
    "granite",
    "llama",
    "llama-k256",
    "llama-linear",
    "llama-yarn",
    "llama3-rope",
    "mistral",
    "mixtral",
    "nomic_bert",
    "olmo2",
    "phi3",
    "phi3-long",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
    "roberta-classifier",
    "roberta-model",
    "smollm3",
    "stablelm",
    "stablelm-parallel",
    "starcoder2",
    "t5",
];

/// Fixtures without a tokenizer, and the kind of the vocabulary that their family has.
const WITHOUT_TOKENIZER: &[(&str, &str)] = &[("t5-relu", "t5"), ("xlm-roberta-classifier", "t5")];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/gguf_arch")
}

fn load(case: &str) -> Checkpoint {
    let source = format::resolve(&fixtures().join(case)).unwrap();
    match (source.format.read.unwrap())(&source.files).unwrap() {
        Hub::Checkpoint(mut checkpoint) => {
            let generation = fixtures().join(case).join("generation_config.json");
            if let Ok(bytes) = fs::read(generation) {
                checkpoint.assets.insert("generation_config.json".to_owned(), bytes.into());
            }
            checkpoint
        }
        _ => panic!("a safetensors folder is a checkpoint"),
    }
}

/// The tensor in the type that a file made for `f16` or `f32` has it in.
fn typed(name: &str, tensor: &Tensor, to: DType) -> Tensor {
    if matches!(tensor.dtype(), DType::Block(_)) || arch::wants_f32(name, tensor.shape()) {
        return tensor.clone();
    }
    let values = tensor.to_f32().unwrap();
    let bytes: Vec<u8> = match to {
        DType::F16 => values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    };
    Tensor::new(to, tensor.shape().to_vec(), bytes.into()).unwrap()
}

/// Keys that are stamps, or that who chooses the types sets.
fn elsewhere(line: &str) -> bool {
    let keys =
        ["meta general.name ", "meta general.file_type ", "meta general.quantization_version "];
    keys.iter().any(|key| line.starts_with(key))
}

fn table(gguf: &Gguf, to: DType) -> Vec<String> {
    let meta = gguf.metadata.iter().map(|(key, value)| meta_line(key, value));
    let tensors = gguf.tensors.iter().map(|(name, t)| tensor_line(name, &typed(name, t, to)));
    meta.chain(tensors).filter(|line| !elsewhere(line)).collect()
}

fn compare(case: &str, gguf: &Gguf, table_file: &str, to: DType) {
    let text = fs::read_to_string(fixtures().join(table_file)).unwrap();
    let want: Vec<&str> = text.lines().filter(|line| !elsewhere(line)).collect();
    let got = table(gguf, to);
    let missing: Vec<_> = want.iter().filter(|line| !got.iter().any(|g| g == *line)).collect();
    let extra: Vec<_> = got.iter().filter(|line| !want.contains(&line.as_str())).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "{case}: the converter has {missing:#?}, this has {extra:#?}"
    );
    assert_eq!(got, want, "{case}: the order of keys and tensors");
}

/// Packs a fixture with the name of the pre-tokenizer that its table was made with: the converter
/// knows no tokenizer of the fixtures.
fn packed(case: &str) -> Gguf {
    let text = fs::read_to_string(fixtures().join(format!("{case}.txt"))).unwrap();
    let name = text.lines().find_map(|line| line.strip_prefix("meta tokenizer.ggml.pre text "));
    let pre_tokenizer = name.map(|name| name.trim_matches('"').to_owned());
    let options = arch::PackOptions { pre_tokenizer: pre_tokenizer.filter(|n| n != "default") };
    arch::pack(&load(case), &options).unwrap_or_else(|e| panic!("{case}: {e:?}"))
}

#[test]
fn every_checkpoint_becomes_what_the_converter_makes_of_it() {
    for case in CASES {
        compare(case, &packed(case), &format!("{case}.txt"), DType::F16);
    }
    compare("llama-k256", &packed("llama-k256"), "llama-k256-f32.txt", DType::F32);
    for (case, _) in WITHOUT_TOKENIZER {
        let gguf = arch::pack_without_tokenizer(&load(case)).unwrap();
        compare(case, &gguf, &format!("{case}.txt"), DType::F16);
    }
}

fn content(tensors: &BTreeMap<String, Tensor>) -> BTreeMap<String, (Vec<u64>, blake3::Hash)> {
    let values = |t: &Tensor| match t.dtype().is_float() {
        true => t.to_f32().unwrap().iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>(),
        false => t.bytes().unwrap().to_vec(),
    };
    let each = |(name, t): (&String, &Tensor)| {
        (name.clone(), (t.shape().to_vec(), blake3::hash(&values(t))))
    };
    tensors.iter().map(each).collect()
}

/// Norms that a GGUF file has with one added lose what f32 does not hold beside the one.
fn nearly_equal(got: &BTreeMap<String, Tensor>, want: &BTreeMap<String, Tensor>) {
    assert!(got.keys().eq(want.keys()));
    for (name, tensor) in got {
        let (got, want) = (tensor.to_f32().unwrap(), want[name].to_f32().unwrap());
        let allowed = if name.ends_with("norm.weight") { f32::EPSILON } else { 0.0 };
        assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() <= allowed), "{name}");
    }
}

/// What GGUF has of a checkpoint's tensors: no pooler, and none of the positions that RoBERTa's
/// tokens do not take.
fn kept(case: &str, checkpoint: &Checkpoint) -> BTreeMap<String, Tensor> {
    let mut tensors = checkpoint.tensors.clone();
    tensors.retain(|name, _| !name.contains("pooler."));
    if case.contains("roberta") {
        let mut tables =
            tensors.iter_mut().filter(|(name, _)| name.contains("position_embeddings"));
        let (_, table) = tables.next().unwrap();
        let mut values = table.to_f32().unwrap();
        let skipped = 2 * usize::try_from(table.shape()[1]).unwrap();
        values[..skipped].fill(0.0);
        *table = Tensor::from_f32(table.shape().to_vec(), &values).unwrap();
    }
    tensors
}

#[test]
fn packing_and_unpacking_gives_the_same_tensors_and_keys() {
    let without = WITHOUT_TOKENIZER.iter().map(|(case, model)| (*case, Some(*model)));
    for (case, model) in CASES.iter().map(|case| (*case, None)).chain(without) {
        let mut checkpoint = load(case);
        let mut gguf = arch::pack_without_tokenizer(&checkpoint).unwrap();
        let model = if case.contains("roberta") { model.or(Some("gpt2")) } else { model };
        if let Some(model) = model {
            // The families that share a name are told apart by it.
            gguf.set("tokenizer.ggml.model", Meta::text(model));
        }
        checkpoint.tensors = kept(case, &checkpoint);
        let back = arch::unpack_without_tokenizer(&gguf).unwrap();
        if case.starts_with("gemma") {
            nearly_equal(&back.tensors, &checkpoint.tensors);
        } else {
            assert_eq!(content(&back.tensors), content(&checkpoint.tensors), "{case}");
        }
        let again = arch::pack_without_tokenizer(&back).unwrap();
        gguf.metadata.retain(|(key, _)| !key.starts_with("tokenizer."));
        assert_eq!(table(&again, DType::F32), table(&gguf, DType::F32), "{case}");
    }
}

#[test]
fn unpacked_encoders_say_which_class_reads_them() {
    let cases = [
        ("bert-base-model", "", "bert", "BertModel"),
        ("distilbert-model", "bert", "distilbert", "DistilBertModel"),
        ("nomic_bert", "bert", "nomic_bert", "NomicBertModel"),
        ("roberta-model", "gpt2", "roberta", "RobertaModel"),
        ("roberta-classifier", "gpt2", "roberta", "RobertaForSequenceClassification"),
        ("xlm-roberta-classifier", "t5", "xlm-roberta", "XLMRobertaForSequenceClassification"),
    ];
    for (case, vocabulary, kind, class) in cases {
        let checkpoint = load(case);
        let mut gguf = arch::pack_without_tokenizer(&checkpoint).unwrap();
        if !vocabulary.is_empty() {
            gguf.set("tokenizer.ggml.model", Meta::text(vocabulary));
        }
        let back = arch::unpack_without_tokenizer(&gguf).unwrap();
        assert_eq!(back.config["model_type"], kind, "{case}");
        assert_eq!(back.config["architectures"][0], class, "{case}");
        for key in ["max_position_embeddings", "type_vocab_size", "n_positions", "id2label"] {
            let (got, want) = (back.config.get(key), checkpoint.config.get(key));
            assert!(want.is_none() || got == want, "{case}: {key} is {got:?}");
        }
    }
}

#[test]
fn pooling_of_a_sentence_transformers_folder_stands_in_the_file_and_back() {
    let modules = br#"[{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]"#;
    for (mode, value) in [("mean_tokens", 1), ("cls_token", 2)] {
        let mut checkpoint = load("bert-base-model");
        let pooling = format!("{{\"pooling_mode_{mode}\": true}}");
        checkpoint.assets.insert("modules.json".to_owned(), modules.to_vec().into());
        checkpoint.assets.insert("1_Pooling/config.json".to_owned(), pooling.into_bytes().into());
        let gguf = arch::pack_without_tokenizer(&checkpoint).unwrap();
        assert_eq!(gguf.of_architecture("pooling_type"), Some(&Meta::U32(value)));
        let back = arch::unpack_without_tokenizer(&gguf).unwrap();
        let again = arch::pack_without_tokenizer(&back).unwrap();
        assert_eq!(again.of_architecture("pooling_type"), Some(&Meta::U32(value)));
    }
}

#[test]
fn the_oldest_names_of_norms_are_read_and_heads_of_language_models_left_out() {
    let checkpoint = load("bert-base-model");
    let want = arch::pack_without_tokenizer(&checkpoint).unwrap();
    let old = |name: &str| {
        let name = name.replace("LayerNorm.weight", "LayerNorm.gamma");
        format!("bert.{}", name.replace("LayerNorm.bias", "LayerNorm.beta"))
    };
    let mut older = checkpoint.clone();
    let each = checkpoint.tensors.iter();
    older.tensors = each.map(|(name, tensor)| (old(name), tensor.clone())).collect();
    let bias = Tensor::from_f32(vec![512], &[0.5; 512]).unwrap();
    older.tensors.insert("cls.predictions.bias".to_owned(), bias.clone());
    let got = arch::pack_without_tokenizer(&older).unwrap();
    assert_eq!(table(&got, DType::F32), table(&want, DType::F32));
    older.tensors.insert("classifier.weight".to_owned(), bias.clone());
    assert!(refused(&older).contains("pooler"));
    let mut tokens = load("roberta-model");
    tokens.tensors.insert("classifier.weight".to_owned(), bias);
    assert!(refused(&tokens).contains("classifier.weight"));
}

fn refused(checkpoint: &Checkpoint) -> String {
    arch::pack_without_tokenizer(checkpoint).unwrap_err().report()
}

/// The case with a key of its configuration set.
fn with(case: &str, key: &str, value: serde_json::Value) -> Checkpoint {
    let mut checkpoint = load(case);
    checkpoint.config[key] = value;
    checkpoint
}

#[test]
fn what_the_graph_of_gguf_does_not_compute_is_refused_by_name() {
    use serde_json::json;
    let cases = [
        ("llama", "hidden_act", json!("gelu"), "hidden_act"),
        ("llama", "rope_parameters", json!({"rope_type": "dynamic", "factor": 2.0}), "dynamic"),
        ("qwen2", "rope_parameters", json!({"rope_type": "llama3", "factor": 8.0}), "llama3"),
        ("llama", "rope_parameters", json!({"rope_type": "default", "spin": 2}), "spin"),
        ("mistral", "sliding_window", json!(64), "sliding_window"),
        ("qwen2", "use_sliding_window", json!(true), "use_sliding_window"),
        ("qwen3_moe", "decoder_sparse_step", json!(2), "decoder_sparse_step"),
        ("llama", "quantization_config", json!({"quant_method": "gptq"}), "gptq"),
        ("stablelm", "rope_parameters", json!({"rope_theta": 5e5}), "rope_theta"),
        ("smollm3", "no_rope_layers", json!([1, 0, 1, 0]), "no_rope_layers"),
        ("cohere2", "layer_types", json!(["full_attention"]), "layer_types"),
        ("llama", "head_dim", json!(17), "head_dim"),
        ("llama", "num_hidden_layers", json!(1u64 << 31), "num_hidden_layers"),
        ("llama", "num_key_value_heads", json!(3), "num_key_value_heads"),
        ("mixtral", "num_local_experts", json!(1u64 << 31), "block_sparse_moe.gate"),
        ("llama", "vocab_size", json!(500), "embed_tokens"),
        ("bert-base-model", "hidden_act", json!("relu"), "hidden_act"),
        ("bert-base-model", "position_embedding_type", json!("relative_key"), "relative_key"),
        ("roberta-model", "pad_token_id", json!(null), "pad_token_id"),
        ("roberta-model", "pad_token_id", json!(200), "max_position_embeddings"),
        ("roberta-model", "pad_token_id", json!(1u64 << 40), "pad_token_id"),
        ("nomic_bert", "prenorm", json!(true), "prenorm"),
        ("nomic_bert", "n_positions", json!(4096), "n_positions"),
        ("nomic_bert", "moe_every_n_layers", json!(2), "moe_every_n_layers"),
        ("t5", "feed_forward_proj", json!("gated-silu"), "gated-silu"),
        ("t5", "relative_attention_max_distance", json!(64), "relative_attention_max_distance"),
        ("t5", "num_decoder_layers", json!(1u64 << 31), "num_decoder_layers"),
    ];
    for (case, key, value, named) in cases {
        let report = refused(&with(case, key, value.clone()));
        assert!(report.contains(named), "{case} with {key} = {value}: {report}");
    }
}

#[test]
fn tensors_that_are_missing_or_left_over_are_named() {
    let mut checkpoint = load("llama");
    let name = "model.layers.1.mlp.up_proj.weight";
    let tensor = checkpoint.tensors.remove(name).unwrap();
    assert!(refused(&checkpoint).contains(name));
    checkpoint.tensors.insert(name.to_owned(), tensor.clone());
    checkpoint.tensors.insert("model.layers.0.adapter.weight".to_owned(), tensor.clone());
    assert!(refused(&checkpoint).contains("adapter.weight"));
    checkpoint.tensors.remove("model.layers.0.adapter.weight");
    checkpoint.tensors.insert("model.layers.0.self_attn.rotary_emb.inv_freq".to_owned(), tensor);
    arch::pack_without_tokenizer(&checkpoint).unwrap();

    let mut gguf = arch::pack_without_tokenizer(&load("llama")).unwrap();
    let (_, tensor) = gguf.tensors.pop().unwrap();
    let error = arch::unpack_without_tokenizer(&gguf).unwrap_err().report();
    assert!(error.contains("output_norm.weight"), "{error}");
    gguf.tensors.push(("output_norm.weight".to_owned(), tensor.clone()));
    gguf.tensors.push(("blk.0.attn_sub_norm.weight".to_owned(), tensor));
    let error = arch::unpack_without_tokenizer(&gguf).unwrap_err().report();
    assert!(error.contains("attn_sub_norm"), "{error}");
}

#[test]
fn keys_of_a_file_that_are_not_known_or_do_not_fit_are_refused() {
    let cases = [
        ("llama.attention.clamp_kqv", Meta::F32(8.0)),
        ("llama.rope.scaling.type", Meta::text("spiral")),
        ("llama.rope.dimension_count", Meta::U32(8)),
        ("llama.attention.head_count", Meta::text("four")),
        ("llama.attention.value_length", Meta::U32(8)),
        ("llama.block_count", Meta::U64(1 << 60)),
        ("llama.embedding_length", Meta::U64(u64::MAX)),
        ("llama.attention.head_count_kv", Meta::U32(0)),
        ("general.architecture", Meta::text("lama")),
    ];
    for (key, value) in cases {
        let mut gguf = arch::pack_without_tokenizer(&load("llama")).unwrap();
        gguf.set(key, value.clone());
        let error = arch::unpack_without_tokenizer(&gguf).unwrap_err().report();
        assert!(!error.contains("defect"), "{key} = {value:?}: {error}");
    }
    let mut gguf = arch::pack_without_tokenizer(&load("mixtral")).unwrap();
    gguf.set("llama.expert_count", Meta::U32(u32::MAX));
    arch::unpack_without_tokenizer(&gguf).unwrap_err();
}

#[test]
fn old_and_new_spellings_of_a_configuration_are_the_same() {
    use serde_json::json;
    let new = arch::pack_without_tokenizer(&load("llama-yarn")).unwrap();
    let mut old = load("llama-yarn");
    let keys = old.config.as_object_mut().unwrap();
    let mut rope = keys.remove("rope_parameters").unwrap();
    keys.insert("rope_theta".to_owned(), rope["rope_theta"].take());
    rope.as_object_mut().unwrap().retain(|key, _| key != "rope_theta" && key != "rope_type");
    rope["type"] = json!("yarn");
    keys.insert("rope_scaling".to_owned(), rope);
    let old = arch::pack_without_tokenizer(&old).unwrap();
    assert_eq!(table(&old, DType::F32), table(&new, DType::F32));
}

#[test]
fn a_checkpoint_without_its_head_is_packed_as_one_with_tied_embeddings() {
    let mut checkpoint = load("qwen3");
    let with_head = arch::pack_without_tokenizer(&checkpoint).unwrap();
    checkpoint.tensors = checkpoint
        .tensors
        .into_iter()
        .map(|(name, tensor)| (name.strip_prefix("model.").unwrap().to_owned(), tensor))
        .collect();
    let bare = arch::pack_without_tokenizer(&checkpoint).unwrap();
    assert_eq!(table(&bare, DType::F32), table(&with_head, DType::F32));
}

#[test]
fn the_pooling_of_an_embedding_model_is_kept_both_ways() {
    let modules = serde_json::json!([
        {"type": "sentence_transformers.models.Transformer", "path": ""},
        {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
        {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"},
    ]);
    let mut checkpoint = load("qwen3");
    let mut set = |name: &str, value: serde_json::Value| {
        checkpoint.assets.insert(name.to_owned(), value.to_string().into());
    };
    set("modules.json", modules);
    set("1_Pooling/config.json", serde_json::json!({"pooling_mode_lasttoken": true}));
    let gguf = arch::pack_without_tokenizer(&checkpoint).unwrap();
    assert_eq!(gguf.of_architecture("pooling_type"), Some(&Meta::U32(3)));
    let back = arch::unpack_without_tokenizer(&gguf).unwrap();
    let again = arch::pack_without_tokenizer(&back).unwrap();
    assert_eq!(again.of_architecture("pooling_type"), Some(&Meta::U32(3)));
}

#[test]
fn no_value_of_a_key_makes_it_fail_otherwise_than_by_an_error() {
    use serde_json::json;
    let values = [
        json!(0),
        json!(-1),
        json!(3),
        json!(1u64 << 31),
        json!((1u64 << 32) - 1),
        json!(u64::MAX),
        json!(1e308),
        json!(1e-308),
        json!("x"),
        json!(null),
        json!([]),
        json!(["full_attention", 7]),
        json!({}),
        json!({"rope_type": "llama3", "factor": 0, "rope_theta": -1.0}),
        json!({"rope_type": "yarn", "factor": 1e300}),
        json!({"rope_type": "longrope", "long_factor": [], "short_factor": [1]}),
        json!(true),
    ];
    let numbers = [0, 1, 3, 1 << 31, (1 << 32) - 1, u64::MAX];
    let metas = numbers.map(Meta::U64).into_iter().chain([
        Meta::I32(-1),
        Meta::F32(f32::NAN),
        Meta::F32(f32::MAX),
        Meta::Bool(true),
        Meta::text("x"),
        Meta::Text(vec![0xff].into()),
        Meta::Array(MetaArray::Bool(vec![])),
        Meta::Array(MetaArray::U32(vec![1; 9])),
    ]);
    let metas: Vec<Meta> = metas.collect();
    for case in CASES {
        let checkpoint = load(case);
        for key in checkpoint.config.as_object().unwrap().keys() {
            for value in &values {
                let mut other = checkpoint.clone();
                other.config[key] = value.clone();
                if let Err(error) = arch::pack_without_tokenizer(&other) {
                    assert_ne!(error.kind(), ErrorKind::Bug, "{case}, {key} = {value}: {error:?}");
                }
            }
        }
        let gguf = arch::pack_without_tokenizer(&checkpoint).unwrap();
        for (key, _) in &gguf.metadata {
            for value in &metas {
                let mut other = gguf.clone();
                other.set(key, value.clone());
                if let Err(error) = arch::unpack_without_tokenizer(&other) {
                    let kind = error.kind();
                    assert_ne!(kind, ErrorKind::Bug, "{case}, {key} = {value:?}: {error:?}");
                }
            }
        }
    }
}
