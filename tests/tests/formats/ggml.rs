//! Legacy GGML files against llama.cpp's converter of them, and the old layouts of blocks.

use std::path::Path;

use bytes::Bytes;
use model_build::format::{self, ggml, gguf};
use model_build::hub::{DType, Gguf, Hub, Meta, MetaArray};
use model_build::{ErrorKind, quantize};

fn bytes(name: &str) -> Bytes {
    std::fs::read(super::fixtures("ggml").join(name)).unwrap().into()
}

fn read(path: &Path) -> Gguf {
    let found = format::resolve(path).unwrap();
    assert_eq!(found.format.name, "ggml");
    match (found.format.read.unwrap())(&found.files).unwrap() {
        Hub::Gguf(gguf) => gguf,
        _ => panic!("no GGUF"),
    }
}

fn has_blocks() -> bool {
    [6, 7, 8].iter().all(|id| quantize::by_ggml_id(*id).is_some())
}

#[test]
fn llama_models_become_what_the_anchors_converter_makes_of_them() {
    for name in ["llama-ggml", "llama-ggmf", "llama-ggjt1", "llama-ggjt3", "llama-ggjt3-q8_0"] {
        if name.ends_with("q8_0") && !has_blocks() {
            continue;
        }
        let ours = read(&super::fixtures("ggml").join(format!("{name}.bin")));
        assert!(gguf::to_bytes(&ours).unwrap() == bytes(&format!("{name}.gguf")), "{name}");
    }
}

#[test]
fn the_number_of_key_value_heads_is_that_of_the_tensors() {
    let read = ggml::from_bytes(&bytes("llama-gqa.bin"), "m").unwrap();
    assert_eq!(read.get("llama.attention.head_count"), Some(&Meta::U32(2)));
    assert_eq!(read.get("llama.attention.head_count_kv"), Some(&Meta::U32(1)));
}

#[test]
fn old_blocks_decode_to_the_values_they_were_made_of() {
    let expected: serde_json::Value = serde_json::from_slice(&bytes("blocks.json")).unwrap();
    for version in ["1", "2"] {
        if version == "1" && !has_blocks() {
            continue;
        }
        let read = ggml::from_bytes(&bytes(&format!("blocks-ggjt{version}.bin")), "m").unwrap();
        let names = [
            ("tok_embeddings.weight", "token_embd.weight"),
            ("layers.0.attention.wq.weight", "blk.0.attn_q.weight"),
            ("layers.0.attention.wk.weight", "blk.0.attn_k.weight"),
            ("layers.0.attention.wv.weight", "blk.0.attn_v.weight"),
            ("layers.0.attention.wo.weight", "blk.0.attn_output.weight"),
            ("layers.0.feed_forward.w1.weight", "blk.0.ffn_gate.weight"),
            ("layers.0.feed_forward.w2.weight", "blk.0.ffn_down.weight"),
        ];
        let all = expected[version].as_object().unwrap();
        assert_eq!(all.len(), if version == "1" { 7 } else { 3 });
        for (old, values) in all {
            let (_, new) = names.iter().find(|(o, _)| o == old).unwrap();
            let tensor = read.tensor(new).unwrap();
            let found: Vec<f32> = match tensor.dtype() {
                DType::F32 => tensor.to_f32().unwrap(),
                DType::Block(def) => {
                    let mut out = vec![0.0; usize::try_from(tensor.len()).unwrap()];
                    (def.decode)(&tensor.bytes().unwrap(), &mut out);
                    out
                }
                other => panic!("{other}"),
            };
            for (found, want) in found.iter().zip(values.as_array().unwrap()) {
                assert_eq!(u64::from(found.to_bits()), want.as_u64().unwrap(), "{version} {old}");
            }
        }
    }
}

#[test]
fn old_blocks_are_decoded_in_chunks_as_in_one_piece() {
    let read = ggml::from_bytes(&bytes("blocks-ggjt2.bin"), "m").unwrap();
    assert_eq!(read.get("general.file_type"), Some(&Meta::U32(0)));
    for (name, tensor) in read.tensors.iter().filter(|(_, t)| t.ready_bytes().is_none()) {
        let whole = tensor.bytes().unwrap();
        let step = usize::try_from(tensor.granularity()).unwrap() * 3;
        for (i, want) in whole.chunks(step).enumerate() {
            let mut out = vec![0; want.len()];
            tensor.read_at((i * step) as u64, &mut out).unwrap();
            assert_eq!(out, want, "{name}");
        }
    }
}

#[test]
fn quantized_blocks_without_a_version_are_refused_with_the_way_out() {
    let mut file = bytes("llama-ggml.bin").to_vec();
    let at = file.windows(14).position(|w| w == b"tok_embeddings").unwrap() - 12;
    file[at..at + 4].copy_from_slice(&2u32.to_le_bytes());
    let error = ggml::from_bytes(&file.into(), "m").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("tok_embeddings.weight"), "{error}");
    assert!(error.hints()[0].contains("f16"), "{error:?}");
}

#[test]
fn whisper_models_keep_their_names_numbers_filters_and_tokens() {
    let read = read(&super::fixtures("ggml").join("whisper-f16.bin"));
    assert_eq!(read.architecture(), Some("whisper"));
    let numbers = [
        ("n_vocab", 51),
        ("n_audio_ctx", 20),
        ("n_audio_state", 32),
        ("n_audio_head", 2),
        ("n_audio_layer", 1),
        ("n_text_ctx", 10),
        ("n_text_state", 32),
        ("n_text_head", 2),
        ("n_text_layer", 1),
        ("n_mels", 80),
        ("ftype", 1),
        ("mel_filters.n_mel", 80),
        ("mel_filters.n_fft", 3),
    ];
    for (key, value) in numbers {
        assert_eq!(read.get(&format!("whisper.{key}")), Some(&Meta::U32(value)), "{key}");
    }
    let Some(Meta::Array(MetaArray::F32(filters))) = read.get("whisper.mel_filters.data") else {
        panic!("no filters")
    };
    assert_eq!(filters.len(), 240);
    let tokens = ["!".into(), "".into(), Bytes::from_static(b"\xff"), " a".into()];
    assert_eq!(read.get("whisper.tokens"), Some(&Meta::Array(MetaArray::Text(tokens.to_vec()))));
    let shape = |name: &str| read.tensor(name).unwrap().shape().to_vec();
    assert_eq!(shape("encoder.conv1.weight"), [32, 80, 3]);
    assert_eq!(shape("encoder.conv1.bias"), [32, 1]);
    assert_eq!(shape("decoder.token_embedding.weight"), [51, 32]);
    assert_eq!(read.tensor("encoder.conv1.weight").unwrap().dtype(), DType::F16);
    assert_eq!(read.tensors.len(), 5);
}

#[test]
fn whisper_models_say_in_which_layout_their_blocks_are() {
    let old = ggml::from_bytes(&bytes("whisper-old-q8_0.bin"), "m").unwrap();
    assert_eq!(old.tensor("decoder.token_embedding.weight").unwrap().dtype(), DType::F32);
    if has_blocks() {
        let new = ggml::from_bytes(&bytes("whisper-q8_0.bin"), "m").unwrap();
        let dtype = new.tensor("decoder.token_embedding.weight").unwrap().dtype();
        assert_eq!(dtype.name(), "q8_0");
    }
    let mut file = bytes("whisper-q8_0.bin").to_vec();
    file[44..48].copy_from_slice(&3007u32.to_le_bytes());
    let error = ggml::from_bytes(&file.into(), "m").unwrap_err();
    assert!(error.to_string().contains("version 3"), "{error}");
}

#[test]
fn silero_models_keep_their_names_and_numbers() {
    let read = read(&super::fixtures("ggml").join("silero.bin"));
    assert_eq!(read.architecture(), Some("silero"));
    let array = |v: &[u32]| Meta::Array(MetaArray::U32(v.to_vec()));
    for (key, value) in [
        ("model_type", Meta::text("silero-16k")),
        ("version", array(&[6, 2, 0])),
        ("n_window", Meta::U32(512)),
        ("n_context", Meta::U32(64)),
        ("n_encoder_layers", Meta::U32(2)),
        ("encoder_in_channels", array(&[9, 8])),
        ("encoder_out_channels", array(&[8, 4])),
        ("kernel_sizes", array(&[3, 3])),
        ("lstm_input_size", Meta::U32(128)),
        ("lstm_hidden_size", Meta::U32(128)),
        ("final_conv_in", Meta::U32(4)),
        ("final_conv_out", Meta::U32(1)),
    ] {
        assert_eq!(read.get(&format!("silero.{key}")), Some(&value), "{key}");
    }
    let weight = read.tensor("_model.encoder.0.reparam_conv.weight").unwrap();
    assert_eq!((weight.dtype(), weight.shape()), (DType::F16, [8, 9, 3].as_slice()));
    assert_eq!(read.tensor("_model.decoder.decoder.2.bias").unwrap().shape(), [0u64; 0]);
}
