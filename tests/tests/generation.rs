//! Texts that lowered decoders write, token by token, against what transformers' `generate` writes: the
//! fixtures of `fixtures/arch` that have a `generation.safetensors`, in ONNX Runtime.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a test suite

use model_build::arch::{self, LowerOptions, Part};
use model_build_tests::arrays::{self, Array, Arrays, Data};
use model_build_tests::lowered::{File, cases, fixtures, load};
use model_build_tests::onnxruntime::{self, Level, OnnxRuntime};

fn graph(case: &str, part: Part) -> File {
    let options = LowerOptions { part: Some(part), ..LowerOptions::default() };
    File::of(&arch::lower(&load(case), &options).unwrap())
}

fn tokens(array: &Array) -> &[i64] {
    match &array.data {
        Data::I64(data) => data,
        other => panic!("tokens are i64: {other:?}"),
    }
}

fn column(tokens: &[i64]) -> Array {
    Array { shape: vec![tokens.len(), 1], data: Data::I64(tokens.to_vec()) }
}

/// A text that has ended goes on with padding.
fn append(case: &str, texts: &mut [Vec<i64>], last: &mut [i64]) {
    let config = load(case).config;
    let [end, padding] = ["eos_token_id", "pad_token_id"].map(|key| config[key].as_i64().unwrap());
    for (text, token) in texts.iter_mut().zip(last) {
        if text.contains(&end) {
            *token = padding;
        }
        text.push(*token);
    }
}

/// The likeliest token after each text: `logits` are `[batch, sequence, vocabulary]`.
fn greedy(logits: &Array) -> Vec<i64> {
    let [batch, sequence, vocabulary] = logits.shape[..] else { panic!("rank 3") };
    (0..batch)
        .map(|text| {
            let row = &logits.f32()[((text + 1) * sequence - 1) * vocabulary..][..vocabulary];
            let best = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            i64::try_from(row.iter().position(|v| *v == best).unwrap()).unwrap()
        })
        .collect()
}

/// The outputs `present.*` as the inputs of the next run.
fn remembered(outputs: &Arrays, cache: &mut Arrays) {
    for (name, array) in outputs {
        if let Some(rest) = name.strip_prefix("present.") {
            cache.insert(format!("past_key_values.{rest}"), array.clone());
        }
    }
}

/// What an encoder, a decoder and a decoder with past write, from the fixture's start token on.
fn answer(runtime: &OnnxRuntime, case: &str, inputs: &Arrays, want: &Array) -> Vec<Vec<i64>> {
    let [batch, length] = want.shape[..] else { panic!("rank 2") };
    let run = |file: &File, inputs: &Arrays| runtime.run(&file.path(), Level::All, inputs);
    let states = run(&graph(case, Part::Encoder), inputs)["last_hidden_state"].clone();
    let mut shared = Arrays::new();
    if let Some(mask) = inputs.get("attention_mask") {
        shared.insert("encoder_attention_mask".to_owned(), mask.clone());
    }
    let mut last: Vec<i64> = tokens(want).chunks(length).map(|row| row[0]).collect();
    let mut texts: Vec<Vec<i64>> = last.iter().map(|t| vec![*t]).collect();

    let mut feed = shared.clone();
    feed.insert("input_ids".to_owned(), column(&last));
    feed.insert("encoder_hidden_states".to_owned(), states);
    let mut outputs = run(&graph(case, Part::Decoder), &feed);
    let mut cache = Arrays::new();
    let next = graph(case, Part::DecoderWithPast);
    loop {
        remembered(&outputs, &mut cache);
        last = greedy(&outputs["logits"]);
        append(case, &mut texts, &mut last);
        if texts[0].len() == length {
            assert_eq!(texts.len(), batch);
            return texts;
        }
        let mut feed = shared.clone();
        feed.extend(cache.clone());
        feed.insert("input_ids".to_owned(), column(&last));
        outputs = run(&next, &feed);
    }
}

/// What a decoder goes on to write after the fixture's prompts, from an empty cache on.
fn continuation(runtime: &OnnxRuntime, case: &str, inputs: &Arrays, want: &Array) -> Vec<Vec<i64>> {
    let [batch, length] = want.shape[..] else { panic!("rank 2") };
    let prompt = &inputs["input_ids"];
    let mut texts: Vec<Vec<i64>> =
        tokens(prompt).chunks(prompt.shape[1]).map(<[i64]>::to_vec).collect();
    let file = graph(case, Part::DecoderWithPast);
    let config = load(case).config;
    let one_of = |keys: &[&str]| keys.iter().find_map(|key| config[*key].as_u64());
    let layers = one_of(&["num_hidden_layers", "n_layer"]).unwrap();
    let heads = one_of(&["num_key_value_heads", "n_head"]).unwrap();
    let width = one_of(&["head_dim"]).unwrap_or_else(|| {
        one_of(&["hidden_size", "n_embd"]).unwrap()
            / one_of(&["num_attention_heads", "n_head"]).unwrap()
    });
    let size = |n: u64| usize::try_from(n).unwrap();
    let mut cache = Arrays::new();
    for layer in 0..layers {
        for word in ["key", "value"] {
            let shape = vec![batch, size(heads), 0, size(width)];
            let empty = Array { shape, data: Data::F32(Vec::new()) };
            cache.insert(format!("past_key_values.{layer}.{word}"), empty);
        }
    }
    let mut new = prompt.clone();
    while texts[0].len() < length {
        let (all, run) = (texts[0].len(), new.shape[1]);
        let matrix = |row: Vec<i64>| Array {
            shape: vec![batch, row.len()],
            data: Data::I64(row.repeat(batch)),
        };
        let mut feed = cache.clone();
        feed.insert("input_ids".to_owned(), new);
        feed.insert("attention_mask".to_owned(), matrix(vec![1; all]));
        let places = (all - run..all).map(|n| i64::try_from(n).unwrap()).collect();
        feed.insert("position_ids".to_owned(), matrix(places));
        let outputs = runtime.run(&file.path(), Level::All, &feed);
        remembered(&outputs, &mut cache);
        let mut last = greedy(&outputs["logits"]);
        append(case, &mut texts, &mut last);
        new = column(&last);
    }
    texts
}

#[test]
fn decoders_go_on_as_transformers_does() {
    let Some(runtime) = onnxruntime::find() else { return };
    let seen = generations(false, |case, inputs, want| continuation(&runtime, case, inputs, want));
    assert!(seen >= 3, "fixtures of llama, qwen2 and gpt2");
}

#[test]
fn encoders_with_decoders_write_what_transformers_writes() {
    let Some(runtime) = onnxruntime::find() else { return };
    let seen = generations(true, |case, inputs, want| answer(&runtime, case, inputs, want));
    assert!(seen >= 4, "fixtures of two families, two each");
}

/// Compares what is written for every fixture with an encoder, or without one; says how many there are.
fn generations(
    with_encoder: bool,
    write: impl Fn(&str, &Arrays, &Array) -> Vec<Vec<i64>>,
) -> usize {
    let mut seen = 0;
    for case in cases() {
        let file = fixtures().join(&case).join("generation.safetensors");
        if !file.exists() || (load(&case).config["is_encoder_decoder"] == true) != with_encoder {
            continue;
        }
        let mut inputs = arrays::read(&file);
        let want = inputs.remove("tokens").unwrap();
        let inputs = inputs
            .into_iter()
            .map(|(name, array)| (name.strip_prefix("in.").unwrap().to_owned(), array))
            .collect();
        let got = write(&case, &inputs, &want).concat();
        println!("{case:26} {got:?}");
        assert_eq!(got, tokens(&want), "{case}");
        seen += 1;
    }
    seen
}
