//! The fuzz targets' bodies on a few thousand damaged files, the same ones each time.

use model_build_tests::fuzzing::{self, Random, mutate};

/// Of the damaged files, some are accepted and some are not.
fn damaged(seeds: &[Vec<u8>], rounds: usize, check: fn(&[u8]) -> bool) {
    let mut random = Random(17);
    let mut accepted = 0;
    for _ in 0..rounds {
        let mut data = seeds[random.below(seeds.len())].clone();
        mutate(&mut data, &mut random);
        accepted += usize::from(check(&data));
    }
    assert!((rounds / 100..rounds - rounds / 10).contains(&accepted), "{accepted} of {rounds}");
}

#[test]
fn any_damaged_safetensors_file_is_judged_as_the_crate_judges_it() {
    let seeds = [
        super::hostile_safetensors::file(
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"I8","shape":[3,1],"data_offsets":[8,11]}}"#,
            11,
        ),
        super::hostile_safetensors::file(
            r#"{"__metadata__":{"format":"pt"},"x":{"dtype":"F4","shape":[4],"data_offsets":[0,2]},"e":{"dtype":"F16","shape":[0,7],"data_offsets":[2,2]}}  "#,
            2,
        ),
        super::hostile_safetensors::file("{}", 0),
    ];
    assert!(seeds.iter().all(|seed| fuzzing::safetensors(seed)));
    damaged(&seeds, 20_000, fuzzing::safetensors);
}

#[test]
fn any_damaged_onnx_file_is_refused_or_written_stably() {
    let seeds: Vec<Vec<u8>> =
        super::onnx_fixtures().iter().map(|p| std::fs::read(p).unwrap()).collect();
    damaged(&seeds, 20_000, fuzzing::onnx);
}

#[test]
fn any_damaged_pytorch_file_is_refused_or_written_and_read_the_same() {
    let names = ["protocol-4", "views", "views-legacy", "module", "big-endian", "lists", "bare"];
    let seeds: Vec<Vec<u8>> = names
        .iter()
        .map(|n| std::fs::read(super::fixtures("pytorch").join(format!("{n}.pt"))).unwrap())
        .collect();
    assert!(seeds.iter().all(|seed| fuzzing::pickle(seed)));
    damaged(&seeds, 5_000, fuzzing::pickle);
}

#[test]
fn any_damaged_index_is_refused_or_read() {
    let seeds = [
        br#"{"metadata":{"total_size":8},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}"#.to_vec(),
    ];
    assert!(seeds.iter().all(|seed| fuzzing::index_json(seed)));
    assert!(!fuzzing::index_json(b"[{}]"), "an array of the fields' values");
    damaged(&seeds, 5_000, fuzzing::index_json);
}

fn files(area: &str, names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|n| std::fs::read(super::fixtures(area).join(n)).unwrap()).collect()
}

#[test]
fn any_damaged_gguf_file_is_refused_or_written_stably() {
    let seeds = files(
        "gguf",
        &["values.gguf", "values_be.gguf", "version1.gguf", "version2.gguf", "unaligned.gguf"],
    );
    assert!(seeds.iter().all(|seed| fuzzing::gguf(seed)));
    damaged(&seeds, 20_000, fuzzing::gguf);
}

#[test]
fn any_damaged_legacy_ggml_file_is_refused_or_written_stably_as_gguf() {
    let seeds = files(
        "ggml",
        &["silero.bin", "whisper-f16.bin", "llama-ggml.bin", "llama-ggjt3.bin", "blocks-ggjt2.bin"],
    );
    assert!(seeds.iter().all(|seed| fuzzing::ggml(seed)));
    damaged(&seeds, 3_000, fuzzing::ggml);
}
