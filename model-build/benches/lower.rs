//! Lowering a checkpoint and writing it as ONNX: MB/s and peak memory.
//!
//! `cargo bench -p model-build --bench lower` measures an encoder of BERT's base size with random
//! half-precision weights; `-- FOLDER [OUT]` measures the checkpoint in a folder and keeps the
//! model if OUT is given. Disk writes are measured apart from a sink that only takes the bytes.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a measurement

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use model_build::arch::{self, LowerOptions};
use model_build::format::{self, WriteOptions};
use model_build::hub::{Hub, write_blob};

fn main() {
    let args: Vec<PathBuf> = std::env::args_os()
        .skip(1)
        .map(PathBuf::from)
        .filter(|a| !a.starts_with("--bench"))
        .collect();
    let scratch = tempfile::tempdir().unwrap();
    let folder = match args.first() {
        Some(folder) => folder.clone(),
        None => {
            random_bert(scratch.path());
            scratch.path().to_owned()
        }
    };
    let out = args.get(1).cloned().unwrap_or_else(|| scratch.path().join("model.onnx"));

    let start = Instant::now();
    let source = format::resolve(&folder).unwrap();
    let Hub::Checkpoint(checkpoint) = (source.format.read.unwrap())(&source.files).unwrap() else {
        panic!("{} is no checkpoint", folder.display())
    };
    println!("read the checkpoint's header   {:8.1} ms", ms(start));

    let start = Instant::now();
    let graph = arch::lower(&checkpoint, &LowerOptions::default()).unwrap();
    println!("lower                          {:8.1} ms", ms(start));
    let options = WriteOptions { file_name: "model.onnx".into(), ..Default::default() };
    let onnx = format::by_name("onnx").unwrap();
    let start = Instant::now();
    let blobs = (onnx.write.unwrap())(&Hub::Graph(graph), &options).unwrap();
    println!("lay the file out               {:8.1} ms", ms(start));

    let segments: Vec<_> = blobs.into_iter().flat_map(|b| b.segments).collect();
    for round in ["first, reading the source", "again, from memory"] {
        measure(&format!("to a sink, {round}"), |progress| {
            write_blob(&segments, &mut io::sink(), progress).unwrap();
        });
    }
    measure("to a file", |progress| {
        let mut file = BufWriter::new(File::create(&out).unwrap());
        write_blob(&segments, &mut file, progress).unwrap();
        file.flush().unwrap();
        file.get_ref().sync_all().unwrap();
    });
}

fn ms(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// Times a write; the peak is that of anonymous memory, for mapped pages belong to the page cache.
fn measure(what: &str, write: impl FnOnce(&mut (dyn FnMut(u64) + Send))) {
    let (stop, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                peak.fetch_max(anonymous_kb(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let mut bytes = 0;
        let start = Instant::now();
        write(&mut |n| bytes += n);
        let seconds = start.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        let megabytes = bytes as f64 / 1e6;
        println!(
            "write {what:36} {megabytes:6.1} MB in {seconds:5.2} s = {:6.0} MB/s",
            megabytes / seconds
        );
    });
    println!("      peak anonymous memory {:.1} MB", peak.into_inner() as f64 / 1e3);
}

/// Resident anonymous memory; 0 where the system does not tell.
fn anonymous_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:"));
    line.and_then(|l| l.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

/// A checkpoint of BERT's base size in f16.
fn random_bert(folder: &Path) {
    let (vocabulary, hidden, inner, layers) = (30522u64, 768u64, 3072u64, 12);
    let mut shapes: Vec<(String, Vec<u64>)> = vec![
        ("embeddings.word_embeddings.weight".into(), vec![vocabulary, hidden]),
        ("embeddings.position_embeddings.weight".into(), vec![512, hidden]),
        ("embeddings.token_type_embeddings.weight".into(), vec![2, hidden]),
    ];
    let mut linear = |name: String, out: u64, input: u64| {
        shapes.push((format!("{name}.weight"), vec![out, input]));
        shapes.push((format!("{name}.bias"), vec![out]));
    };
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    for layer in 0..layers {
        let at = format!("encoder.layer.{layer}");
        for name in ["self.query", "self.key", "self.value", "output.dense"] {
            linear(format!("{at}.attention.{name}"), hidden, hidden);
        }
        linear(format!("{at}.intermediate.dense"), inner, hidden);
        linear(format!("{at}.output.dense"), hidden, inner);
        norms
            .extend([format!("{at}.attention.output.LayerNorm"), format!("{at}.output.LayerNorm")]);
    }
    linear("pooler.dense".into(), hidden, hidden);
    for norm in norms {
        shapes.push((format!("{norm}.weight"), vec![hidden]));
        shapes.push((format!("{norm}.bias"), vec![hidden]));
    }

    let mut header = BTreeMap::new();
    let mut at = 0u64;
    for (name, shape) in &shapes {
        let end = at + 2 * shape.iter().product::<u64>();
        header.insert(
            name.clone(),
            serde_json::json!({"dtype": "F16", "shape": shape, "data_offsets": [at, end]}),
        );
        at = end;
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = BufWriter::new(File::create(folder.join("model.safetensors")).unwrap());
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(&header).unwrap();
    let mut state = 1u32;
    for _ in 0..at / 2 {
        // xorshift; the high bits as a number in [0.5, 1)
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let bits = 0x3800 | (state >> 22);
        file.write_all(&bits.to_le_bytes()[..2]).unwrap();
    }
    file.flush().unwrap();
    let config = serde_json::json!({
        "model_type": "bert", "architectures": ["BertModel"], "vocab_size": vocabulary,
        "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
        "num_attention_heads": 12, "max_position_embeddings": 512, "type_vocab_size": 2,
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
}
