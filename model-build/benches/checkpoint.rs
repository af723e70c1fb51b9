//! Checkpoint to GGUF: seconds, weights per second and core, and peak memory, beside llama.cpp.
//!
//! `cargo bench -p model-build --bench checkpoint` makes its own llama checkpoint of 0.98 billion
//! random bf16 weights and one of a tenth, in the system's temporary folder (`MODEL_BUILD_BENCH_DIR`
//! names another), and converts each to several file types, one process per conversion: once with
//! nothing known, and once (`known s`) into a store that knows the digests of the source's files, as
//! for the second target of a model. Both end with the artifact on the disk; `cp` of it is timed alone and
//! with a sync.
//!
//! With `LLAMA_CPP_CONVERT` (a command that runs `convert_hf_to_gguf.py`) and `LLAMA_CPP_QUANTIZE` (a
//! command that runs `llama-quantize`) set, these run in turn with ours and the ratio is printed.
//! `-- Q4_K_M …` names the file types, `-- --rounds N` how often each runs.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a measurement

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use model_build::cache::Store;
use model_build::execute;
use model_build::manifest;
use model_build::{look, plan};

const TYPES: &[&str] = &["f16", "q8_0", "q4_0", "q4_k_m", "q6_k", "iq4_xs"];

/// Sizes of a llama model.
struct Shape {
    name: &'static str,
    hidden: u64,
    layers: u64,
    feed_forward: u64,
    vocabulary: u64,
}

const SHAPES: &[Shape] = &[
    Shape { name: "0.1B", hidden: 768, layers: 9, feed_forward: 2304, vocabulary: 32000 },
    Shape { name: "1B", hidden: 2048, layers: 14, feed_forward: 8192, vocabulary: 32000 },
];

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [one, source, format, destination] = args.as_slice()
        && one == "--one"
    {
        return one_conversion(source, format, destination);
    }
    if let [known, source, format, folder] = args.as_slice()
        && known == "--known"
    {
        return one_build(source, format, folder);
    }
    let mut rounds = 3;
    if let Some(at) = args.iter().position(|a| a == "--rounds") {
        rounds = args[at + 1].parse().unwrap();
        args.drain(at..at + 2);
    }
    let types: Vec<&str> =
        if args.is_empty() { TYPES.to_vec() } else { args.iter().map(String::as_str).collect() };
    let folder = std::env::var_os("MODEL_BUILD_BENCH_DIR")
        .map_or_else(|| std::env::temp_dir().join("model-build-bench"), PathBuf::from);
    let cores = std::thread::available_parallelism().unwrap().get();
    println!(
        "{cores} cores, best of {rounds} rounds; peak is the resident memory of the process\n"
    );
    for shape in SHAPES {
        let source = folder.join(shape.name);
        let (weights, bytes) = checkpoint(shape, &source);
        println!("{}: {weights} bf16 weights, {:.0} MB", shape.name, bytes as f64 / 1e6);
        println!(
            "{:8} {:>8} {:>9} {:>9} {:>15} {:>8} | {:>9} {:>9} | {:>9} {:>9} {:>6}",
            "type",
            "MB",
            "s",
            "known s",
            "Mweights/s/core",
            "peak MB",
            "cp s",
            "cp+sync s",
            "llama s",
            "peak MB",
            "ratio"
        );
        for format in &types {
            measure(&source, format, &folder, weights, cores, rounds);
        }
        println!();
    }
}

/// One conversion in this process, and what it took.
fn one_conversion(source: &str, file_type: &str, destination: &str) {
    let start = Instant::now();
    let flags = match file_type {
        "f16" => vec![("format", "gguf"), ("precision", "fp16")],
        other => vec![("format", "gguf"), ("quantization", other)],
    };
    let target = manifest::target_from_flags("bench", &flags).unwrap();
    let facts = look::facts(Path::new(source)).unwrap();
    let destination = Path::new(destination);
    let mut job = plan::job("bench", &target, &facts).unwrap();
    job.recipe.file_name = destination.file_name().unwrap().to_str().unwrap().to_owned();
    let folder = destination.parent().unwrap();
    execute::write_to(&job, folder, true, &mut execute::Silent).unwrap();
    println!("{} {}", start.elapsed().as_secs_f64(), peak());
}

/// One conversion into a new store that knows the digests of the source's files, as in a build whose
/// source did not change since another target was made of it.
fn one_build(source: &str, file_type: &str, folder: &str) {
    let manifest = Path::new(folder).join("models.toml");
    let wish = match file_type {
        "f16" => "precision = \"fp16\"".to_owned(),
        other => format!("quantization = \"{other}\""),
    };
    let text = format!("[m]\nsource = {source:?}\n[m.targets.t]\nformat = \"gguf\"\n{wish}\n");
    fs::write(&manifest, text).unwrap();
    let store = Store::open(&Path::new(folder).join("store")).unwrap();
    for entry in fs::read_dir(source).unwrap() {
        store.digest_file(&entry.unwrap().path(), &mut |_, _| {}).unwrap();
    }
    let start = Instant::now();
    let manifest = manifest::load(&manifest).unwrap();
    let sources = execute::look(&manifest, &store, &mut execute::Silent).unwrap();
    let plan = plan::plan(&manifest, &sources).unwrap();
    execute::execute(&plan, &store, &mut execute::Silent).unwrap();
    println!("{} {}", start.elapsed().as_secs_f64(), peak());
}

/// The most resident memory this process had, in kB; 0 where the system does not say.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
}

/// Runs this program with arguments: the seconds and the peak in kB that it prints.
fn itself(args: &[&str]) -> (f64, u64) {
    let output = Command::new(std::env::current_exe().unwrap()).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let (seconds, kilobytes) = text.trim().split_once(' ').unwrap();
    (seconds.parse().unwrap(), kilobytes.parse().unwrap())
}

#[allow(clippy::cast_precision_loss)] // for display
fn measure(
    source: &Path,
    file_type: &str,
    folder: &Path,
    weights: u64,
    cores: usize,
    rounds: usize,
) {
    let ours = folder.join(format!("ours-{file_type}.gguf"));
    let mut best = [f64::INFINITY; 5];
    let (mut our_peak, mut their_peak) = (0, 0);
    let mut keep = |at: usize, seconds: f64| best[at] = best[at].min(seconds);
    let source_text = source.to_str().unwrap();
    for _ in 0..rounds {
        let _ = fs::remove_file(&ours);
        let (seconds, kilobytes) =
            itself(&["--one", source_text, file_type, ours.to_str().unwrap()]);
        keep(0, seconds);
        our_peak = our_peak.max(kilobytes);
        let scratch = folder.join("known");
        let _ = fs::remove_dir_all(&scratch);
        fs::create_dir_all(&scratch).unwrap();
        keep(4, itself(&["--known", source_text, file_type, scratch.to_str().unwrap()]).0);
        let _ = fs::remove_dir_all(&scratch);

        let copy = folder.join("copy.gguf");
        let _ = fs::remove_file(&copy);
        let start = Instant::now();
        run(Command::new("cp").arg(&ours).arg(&copy));
        keep(1, start.elapsed().as_secs_f64());
        File::open(&copy).unwrap().sync_all().unwrap();
        keep(2, start.elapsed().as_secs_f64());
        let _ = fs::remove_file(&copy);

        if let Some((seconds, kilobytes)) = llama_cpp(source, file_type, folder) {
            keep(3, seconds);
            their_peak = their_peak.max(kilobytes);
        }
    }
    let [seconds, copied, synced, theirs, known] = best;
    let speed = weights as f64 / seconds / cores as f64 / 1e6;
    let size = fs::metadata(&ours).unwrap().len() as f64 / 1e6;
    print!(
        "{file_type:8} {size:8.0} {seconds:9.2} {known:9.2} {speed:15.0} {:8.0} | {copied:9.2} {synced:9.2} |",
        our_peak as f64 / 1e3,
    );
    if theirs.is_finite() {
        println!(" {theirs:9.2} {:9.0} {:5.1}×", their_peak as f64 / 1e3, theirs / seconds);
    } else {
        println!(" not given");
    }
    let _ = fs::remove_file(&ours);
}

/// Seconds and peak kB of llama.cpp's way, if it is given: the converter to the source's own type (or
/// straight to what it can write), then the quantizer.
fn llama_cpp(source: &Path, file_type: &str, folder: &Path) -> Option<(f64, u64)> {
    let convert = std::env::var("LLAMA_CPP_CONVERT").ok()?;
    let quantize = std::env::var("LLAMA_CPP_QUANTIZE").ok()?;
    let (between, out) = (folder.join("between.gguf"), folder.join("theirs.gguf"));
    let (between_text, out_text) = (between.to_str().unwrap(), out.to_str().unwrap());
    let direct = matches!(file_type, "f16" | "q8_0");
    let first = if direct { file_type } else { "bf16" };
    let (mut seconds, mut peak) =
        timed(&convert, &[source.to_str().unwrap(), "--outtype", first, "--outfile", between_text]);
    if !direct {
        let threads = std::thread::available_parallelism().unwrap().to_string();
        let name = file_type.to_uppercase();
        let (more, memory) = timed(&quantize, &[between_text, out_text, &name, &threads]);
        seconds += more;
        peak = peak.max(memory);
    }
    let _ = fs::remove_file(between);
    let _ = fs::remove_file(out);
    Some((seconds, peak))
}

/// Runs a command line with more arguments under `/usr/bin/time`, where that is there.
fn timed(command: &str, more: &[&str]) -> (f64, u64) {
    let report = std::env::temp_dir().join(format!("model-build-time-{}", std::process::id()));
    let mut words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    if Path::new("/usr/bin/time").exists() {
        let time = ["/usr/bin/time", "-f", "%M", "-o", report.to_str().unwrap()];
        words.splice(0..0, time.map(str::to_owned));
    }
    let start = Instant::now();
    run(Command::new(&words[0]).args(&words[1..]).args(more));
    let seconds = start.elapsed().as_secs_f64();
    let peak = fs::read_to_string(&report).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0);
    let _ = fs::remove_file(report);
    (seconds, peak)
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Makes a checkpoint unless it is there; gives its number of weights and of bytes.
fn checkpoint(shape: &Shape, folder: &Path) -> (u64, u64) {
    let Shape { hidden, layers, feed_forward, vocabulary, .. } = *shape;
    let (heads, shared) = (hidden / 64, hidden / 256);
    let mut tensors: Vec<(String, Vec<u64>)> = vec![
        ("lm_head.weight".into(), vec![vocabulary, hidden]),
        ("model.embed_tokens.weight".into(), vec![vocabulary, hidden]),
    ];
    for layer in 0..layers {
        let mut add = |name: &str, shape: Vec<u64>| {
            tensors.push((format!("model.layers.{layer}.{name}.weight"), shape));
        };
        add("input_layernorm", vec![hidden]);
        add("mlp.down_proj", vec![hidden, feed_forward]);
        add("mlp.gate_proj", vec![feed_forward, hidden]);
        add("mlp.up_proj", vec![feed_forward, hidden]);
        add("post_attention_layernorm", vec![hidden]);
        add("self_attn.k_proj", vec![shared * 64, hidden]);
        add("self_attn.o_proj", vec![hidden, hidden]);
        add("self_attn.q_proj", vec![hidden, hidden]);
        add("self_attn.v_proj", vec![shared * 64, hidden]);
    }
    tensors.push(("model.norm.weight".into(), vec![hidden]));
    let count = |shape: &[u64]| shape.iter().product::<u64>();
    let weights: u64 = tensors.iter().map(|(_, shape)| count(shape)).sum();
    let path = folder.join("model.safetensors");
    if fs::metadata(&path).is_ok_and(|m| m.len() > weights * 2) {
        return (weights, weights * 2);
    }
    fs::create_dir_all(folder).unwrap();
    let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/gguf_arch/llama");
    for entry in fs::read_dir(tokenizer).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if name.to_string_lossy().contains("token") {
            fs::copy(entry.path(), folder.join(name)).unwrap();
        }
    }
    let config = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden,
        "intermediate_size": feed_forward, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": shared, "vocab_size": vocabulary,
        "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "torch_dtype": "bfloat16", "hidden_act": "silu", "tie_word_embeddings": false,
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let mut header = serde_json::Map::new();
    let mut offset = 0;
    for (name, shape) in &tensors {
        let end = offset + count(shape) * 2;
        let entry =
            serde_json::json!({ "dtype": "BF16", "shape": shape, "data_offsets": [offset, end] });
        header.insert(name.clone(), entry);
        offset = end;
    }
    let mut header = serde_json::Value::Object(header).to_string();
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&path).unwrap());
    out.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    out.write_all(header.as_bytes()).unwrap();
    let mut random = 1;
    for (_, shape) in &tensors {
        for _ in 0..count(shape) {
            out.write_all(&(weight(&mut random).to_bits() >> 16).to_le_bytes()[..2]).unwrap();
        }
    }
    out.flush().unwrap();
    out.get_ref().sync_all().unwrap();
    (weights, weights * 2)
}

/// About normal, of standard deviation 0.02: the sum of four uniform numbers.
#[allow(clippy::cast_precision_loss)] // 16 bits fit
fn weight(state: &mut u64) -> f32 {
    *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    let bits = (*state ^ (*state >> 29)).wrapping_mul(0xbf58476d1ce4e5b9);
    let sum: u64 = (0..4).map(|i| (bits >> (16 * i)) & 0xffff).sum();
    (sum as f32 / 65536.0 - 2.0) * 0.0346
}
