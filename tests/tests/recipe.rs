//! Which type each tensor gets, against what llama.cpp's converter and quantizer decide.
//!
//! The tables and the script that makes them are in `fixtures/recipe`.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // reads this repository's own files

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use model_build::Error;
use model_build::hub::{DType, Gguf, Meta, MetaArray, Produce, Tensor};
use model_build::recipe::{
    self, ChooseOptions, FileType, Origin, Override, TensorType, by_name, decide,
};

/// The bytes of a tensor that nobody looks at.
struct Unread;
impl Produce for Unread {
    fn produce(&self, _: u64, _: &mut [u8]) -> Result<(), Error> {
        Err(Error::bug("a decision reads no weights"))
    }
}

#[derive(Default)]
struct Model {
    name: String,
    gguf: Gguf,
    /// For each tensor, its name with `*` for the layer.
    patterns: Vec<String>,
    kept: Vec<String>,
}

fn meta(value: &str) -> Meta {
    if let Ok(n) = value.parse() {
        return Meta::U32(n);
    }
    match value.split(',').map(str::parse).collect::<Result<Vec<u32>, _>>() {
        Ok(list) => Meta::Array(MetaArray::U32(list)),
        Err(_) => Meta::text(value),
    }
}

impl Model {
    fn read(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match *words {
            ["meta", key, value] => self.gguf.set(key, meta(value)),
            ["tensor", "f32", shape, layers, pattern] => {
                let shape: Vec<u64> = shape.split(',').map(|n| n.parse().unwrap()).collect();
                let names = match layers.split_once("..") {
                    None => vec![pattern.to_owned()],
                    Some((from, to)) => (from.parse::<u32>().unwrap()..to.parse().unwrap())
                        .map(|i| pattern.replace('*', &i.to_string()))
                        .collect(),
                };
                // `blk.0.x` and `blk.*.x` go under one name.
                let pattern = match pattern.split_once("blk.") {
                    Some((before @ ("" | "enc." | "dec."), after)) => {
                        format!("{before}blk.*.{}", after.split_once('.').unwrap().1)
                    }
                    _ => pattern.to_owned(),
                };
                for name in names {
                    let tensor = Tensor::lazy(DType::F32, shape.clone(), Arc::new(Unread)).unwrap();
                    self.gguf.tensors.push((name, tensor));
                    self.patterns.push(pattern.clone());
                }
            }
            ["kept", ref names @ ..] => self.kept = names.iter().map(|n| (*n).into()).collect(),
            _ => panic!("{line}"),
        }
    }

    /// The types a line of the table tells, in the order of the tensors.
    fn told(&self, table: &str) -> Vec<String> {
        let (rest, named) = table.split_once(' ').unwrap_or((table, ""));
        let mut by_pattern: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for entry in named.split(' ').filter(|e| !e.is_empty()) {
            let (pattern, runs) = entry.split_once('=').unwrap();
            let list = by_pattern.entry(pattern).or_default();
            for run in runs.split(',') {
                let (to, count) = run.split_once('*').unwrap_or((run, "1"));
                list.extend(std::iter::repeat_n(to, count.parse().unwrap()));
            }
            list.reverse();
        }
        let told = self.patterns.iter().map(|pattern| match by_pattern.get_mut(&**pattern) {
            Some(list) => list.pop().unwrap().to_owned(),
            None if self.kept.contains(pattern) => "f32".to_owned(),
            None => rest.to_owned(),
        });
        let told = told.collect();
        assert!(by_pattern.values().all(Vec::is_empty), "{}: {table}", self.name);
        told
    }

    fn decide(&self, file_type: &FileType, options: &ChooseOptions) -> Result<Vec<String>, Error> {
        let decisions = decide(&self.gguf, file_type, options)?;
        Ok(decisions.iter().map(|d| d.to.name().to_owned()).collect())
    }
}

/// The options of a line, once for each setting it tells about.
fn options(words: &[&str], origin: Origin) -> Vec<ChooseOptions> {
    let mut options = ChooseOptions::new(origin);
    let mut both = false;
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "any" => both = true,
            "imatrix" => options.has_importance = true,
            "pure" => options.pure = true,
            "keep-output" => options.keep_output = true,
            "converter" => options.origin = Origin::Converter,
            "output" => options.output = Some(TensorType::by_name(value).unwrap()),
            "embedding" => options.embedding = Some(TensorType::by_name(value).unwrap()),
            "override" => options.overrides.push(Override::parse(value).unwrap()),
            _ => panic!("{word}"),
        }
    }
    let with = ChooseOptions { has_importance: true, ..options.clone() };
    if both { vec![options, with] } else { vec![options] }
}

/// Compares every line of a table, some with the tensors the other way round; how many lines and
/// decisions were right.
fn check(table: &str, origin: Origin) -> (usize, usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/recipe").join(table);
    let text = std::fs::read_to_string(path).unwrap();
    let (mut lines, mut tensors) = (0, 0);
    let mut model = Model::default();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("model ") {
            model = Model { name: name.to_owned(), ..Model::default() };
            continue;
        }
        let Some(line) = line.strip_prefix("types ") else {
            model.read(line);
            continue;
        };
        let (head, told) = line.split_once(" | ").unwrap();
        let head: Vec<&str> = head.split(' ').collect();
        let file_type = by_name(head[0]).unwrap();
        for options in options(&head[1..], origin) {
            lines += 1;
            let found = model.decide(file_type, &options);
            if told == "error" {
                found.expect_err(line);
                continue;
            }
            let told = model.told(told);
            tensors += told.len();
            let found = found.unwrap();
            for (i, (told, found)) in told.iter().zip(&found).enumerate() {
                let tensor = &model.gguf.tensors[i].0;
                assert_eq!(told, found, "{} {tensor}: {head:?}", model.name);
            }
            if !matches!(file_type.name, "q4_k_m" | "q3_k_m" | "iq3_xs") {
                continue;
            }
            let mut turned = Model { gguf: model.gguf.clone(), ..Model::default() };
            turned.gguf.tensors.reverse();
            let mut again = turned.decide(file_type, &options).unwrap();
            again.reverse();
            assert_eq!(again, told, "{} turned round: {head:?}", model.name);
        }
    }
    (lines, tensors)
}

#[test]
fn every_tensor_of_the_golds_gets_the_type_it_has_there() {
    let (files, tensors) = check("golds.txt", Origin::Checkpoint);
    assert!(files >= 100 && tensors > 2400, "{files} files, {tensors} tensors");
}

#[test]
fn every_file_type_of_larger_models_is_as_llama_quantize_says() {
    let (runs, tensors) = check("synthetic.txt", Origin::Quantizer);
    println!("{runs} runs, {tensors} tensors");
    assert!(runs > 2000 && tensors > 500_000, "{runs} runs, {tensors} tensors");
}

#[test]
fn the_tables_cover_every_file_type() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/recipe/synthetic.txt");
    let text = std::fs::read_to_string(path).unwrap();
    for file_type in recipe::ALL {
        assert!(text.contains(&format!("\ntypes {} ", file_type.name)), "{}", file_type.name);
    }
}
