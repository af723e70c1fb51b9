//! What a build of a 2 GB checkpoint costs: with nothing to do, and from nothing.
//!
//!     cargo bench -p model-build --bench noop
//!
//! Times of tools that do the same work on the same file stand beside ours, as a ratio, because
//! machines differ. The checkpoint is a BERT with a very large vocabulary and random weights.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)]

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use model_build::cache::Store;
use model_build::execute::{self, Event, Report};
use model_build::manifest;
use model_build::plan::{self, Plan};

const HIDDEN: u64 = 256;
const VOCABULARY: u64 = 1_950_000;
const LAYERS: u64 = 2;

/// Steps run and bytes read, as the events tell.
#[derive(Default)]
struct Count {
    steps: u64,
    hashed: u64,
}

impl Report for Count {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Started { .. } => self.steps += 1,
            Event::Hashed { bytes, .. } => self.hashed += bytes,
            _ => {}
        }
    }
}

fn main() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let weights = checkpoint(dir.path());
    let gb = fs::metadata(&weights).unwrap().len() as f64 / 1e9;
    fs::write(
        dir.path().join("models.toml"),
        "[bert]\nsource = \"model\"\n[bert.targets.onnx]\nformat = \"onnx\"\n",
    )
    .unwrap();
    // Brings the file into the page cache, for all alike.
    std::io::copy(&mut File::open(&weights).unwrap(), &mut std::io::sink()).unwrap();

    let plan = planned(dir.path(), &Store::open(&dir.path().join("plan")).unwrap());
    let hash = best(3, |i| {
        let store = Store::open(&dir.path().join(format!("hash{i}"))).unwrap();
        let mut count = Count::default();
        let time = timed(|| {
            execute::keys_of(&plan.jobs[0], &store, &mut count).unwrap();
        });
        assert!(count.hashed as f64 >= gb * 1e9);
        time
    });
    let threads = std::thread::available_parallelism().unwrap();
    println!(
        "BLAKE3 of {gb:.2} GB of sources, nothing cached, {threads} cores: {:.2} GB/s",
        gb / hash.as_secs_f64()
    );
    for tool in ["b3sum", "sha256sum"] {
        if let Some(time) = best_run(Command::new(tool).arg(&weights)) {
            println!(
                "  {tool}: {:.2} GB/s, {:.2} times our time",
                gb / time.as_secs_f64(),
                time.as_secs_f64() / hash.as_secs_f64()
            );
        }
    }

    // The first write of so much is slow on many disks, whoever does it: the best of several counts.
    let cache = dir.path().join("cache");
    let mut peak = 0;
    let convert = best(3, |_| {
        let _ = fs::remove_dir_all(&cache);
        let store = Store::open(&cache).unwrap();
        execute::keys_of(&plan.jobs[0], &store, &mut Count::default()).unwrap();
        let memory = Memory::watch();
        let mut count = Count::default();
        let start = Instant::now();
        execute::execute(&plan, &store, &mut count).unwrap();
        let time = start.elapsed();
        assert_eq!(count.steps, 1);
        peak = peak.max(memory.peak_mb());
        time
    });
    println!(
        "lower and write {gb:.2} GB as ONNX: {:.0} MB/s, {peak} MB of memory beside mapped files",
        gb * 1e3 / convert.as_secs_f64(),
    );
    let (from, to) = (weights.display(), dir.path().join("copy"));
    let copy = [format!("if={from}"), format!("of={}", to.display())];
    if let Some(time) = best_run(Command::new("dd").args(copy).args(["bs=4M", "conv=fsync"])) {
        println!(
            "  dd of the same, synced as ours is: {:.0} MB/s, {:.2} times our time",
            gb * 1e3 / time.as_secs_f64(),
            time.as_secs_f64() / convert.as_secs_f64()
        );
    }

    let noop = best(20, |_| {
        let mut count = Count::default();
        let time = timed(|| {
            let store = Store::open(&cache).unwrap();
            execute::execute(&planned(dir.path(), &store), &store, &mut count).unwrap();
        });
        assert_eq!((count.steps, count.hashed), (0, 0), "a build with nothing to do did something");
        time
    });
    println!(
        "nothing to do, {gb:.2} GB of sources: {:.2} ms (goal: below 50 ms)",
        noop.as_secs_f64() * 1e3
    );
}

fn planned(dir: &Path, store: &Store) -> Plan {
    let manifest = manifest::load(&dir.join("models.toml")).unwrap();
    plan::plan(&manifest, &execute::look(&manifest, store, &mut Count::default()).unwrap()).unwrap()
}

/// The shortest of the times that some work, done several times, gives.
fn best(times: u32, mut work: impl FnMut(u32) -> Duration) -> Duration {
    (0..times).map(&mut work).min().unwrap()
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// The best wall time of a program, or `None` where it is not installed or fails.
fn best_run(command: &mut Command) -> Option<Duration> {
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut times = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        let status = command.status().ok()?;
        times.push(status.success().then(|| start.elapsed())?);
    }
    times.into_iter().min()
}

/// Writes `model/{config.json,model.safetensors}` and gives the path of the weights.
fn checkpoint(dir: &Path) -> std::path::PathBuf {
    let model = dir.join("model");
    fs::create_dir(&model).unwrap();
    let config = serde_json::json!({
        "model_type": "bert", "architectures": ["BertModel"], "hidden_act": "gelu",
        "hidden_size": HIDDEN, "intermediate_size": 2 * HIDDEN, "num_attention_heads": 4,
        "num_hidden_layers": LAYERS, "vocab_size": VOCABULARY, "max_position_embeddings": 512,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12, "pad_token_id": 0,
        "position_embedding_type": "absolute",
    });
    fs::write(model.join("config.json"), config.to_string()).unwrap();

    let mut tensors: Vec<(String, Vec<u64>)> = Vec::new();
    let mut add = |name: String, shape: &[u64]| tensors.push((name, shape.to_vec()));
    let norm = |add: &mut dyn FnMut(String, &[u64]), name: &str| {
        add(format!("{name}.weight"), &[HIDDEN]);
        add(format!("{name}.bias"), &[HIDDEN]);
    };
    for (name, rows) in [("word", VOCABULARY), ("position", 512), ("token_type", 2)] {
        add(format!("embeddings.{name}_embeddings.weight"), &[rows, HIDDEN]);
    }
    norm(&mut add, "embeddings.LayerNorm");
    for i in 0..LAYERS {
        let layer = format!("encoder.layer.{i}");
        let mut linear = |name: &str, out: u64, input: u64| {
            add(format!("{layer}.{name}.weight"), &[out, input]);
            add(format!("{layer}.{name}.bias"), &[out]);
        };
        for name in ["query", "key", "value"] {
            linear(&format!("attention.self.{name}"), HIDDEN, HIDDEN);
        }
        linear("attention.output.dense", HIDDEN, HIDDEN);
        linear("intermediate.dense", 2 * HIDDEN, HIDDEN);
        linear("output.dense", HIDDEN, 2 * HIDDEN);
        norm(&mut add, &format!("{layer}.attention.output.LayerNorm"));
        norm(&mut add, &format!("{layer}.output.LayerNorm"));
    }
    add("pooler.dense.weight".to_owned(), &[HIDDEN, HIDDEN]);
    add("pooler.dense.bias".to_owned(), &[HIDDEN]);

    let mut header = serde_json::Map::new();
    let mut at = 0;
    for (name, shape) in tensors {
        let end = at + 4 * shape.iter().product::<u64>();
        let entry = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [at, end]});
        header.insert(name, entry);
        at = end;
    }
    let mut header = serde_json::to_vec(&header).unwrap();
    header.resize(header.len().next_multiple_of(8), b' ');
    let path = model.join("model.safetensors");
    let mut file = File::create(&path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(&header).unwrap();
    // Weights of 2⁻⁷ to 2⁻⁶, by a xorshift generator.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut block = vec![0; 1 << 22];
    while at > 0 {
        for bytes in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let two = (state & 0x007f_ffff_007f_ffff) | 0x3c00_0000_3c00_0000;
            bytes.copy_from_slice(&two.to_le_bytes());
        }
        let len = at.min(block.len() as u64);
        file.write_all(&block[..usize::try_from(len).unwrap()]).unwrap();
        at -= len;
    }
    file.sync_all().unwrap();
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(60)).unwrap();
    path
}

/// Samples this process's anonymous memory: what it holds beside mapped files.
struct Memory {
    peak: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
}

impl Memory {
    fn watch() -> Self {
        let (peak, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let watch = Self { peak: Arc::clone(&peak), done: Arc::clone(&done) };
        std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
                let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:"));
                let kb = line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok());
                peak.fetch_max(kb.unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        watch
    }

    fn peak_mb(&self) -> u64 {
        self.done.store(true, Ordering::Relaxed);
        self.peak.load(Ordering::Relaxed) / 1000
    }
}
