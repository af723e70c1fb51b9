//! Embedding against `include_bytes!`: time, and the peak memory of compiler and linker.
//!
//! ```text
//! cargo bench -p model-build --bench embed              # 100 MB
//! cargo bench -p model-build --bench embed -- 100 1000  # sizes in MB
//! ```
//!
//! For 1 GB `include_bytes!` wants about 15 GB of memory. Both programs are compiled by `rustc -O`
//! and run; ours counts the writing of the object file. Memory is that of compiler and linker
//! together, sampled every 2 ms (Linux only): all that is resident, and the private part of it.
//! The linker maps its input and its output, so that each byte of a payload is resident twice;
//! such pages are the files' own, which the system takes back when it needs them.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, clippy::unwrap_used)] // a bench

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use model_build::embed::elf::{Machine, thin_archive, write_object};

/// What a way of embedding costs.
struct Cost {
    time: Duration,
    /// In kB: resident, private.
    peak: [u64; 2],
}

fn main() {
    let sizes: Vec<u64> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![100] } else { sizes };
    let dir =
        tempfile::Builder::new().prefix("embed-bench").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
    let dir = dir.unwrap();
    println!("| size | way | time | peak memory | of it private |\n|---|---|---|---|---|");
    for megabytes in sizes {
        let len = megabytes * 1_000_000;
        let payload = dir.path().join("payload");
        noise(&payload, len);
        let ours = object(dir.path(), &payload, len);
        let theirs = include_bytes(dir.path(), &payload, len);
        for (way, cost) in [("include_bytes!", &theirs), ("object file", &ours)] {
            let (time, [all, private]) = (cost.time.as_secs_f64(), cost.peak.map(|kb| kb / 1000));
            println!("| {megabytes} MB | {way} | {time:.1} s | {all} MB | {private} MB |");
        }
        let time = theirs.time.as_secs_f64() / ours.time.as_secs_f64();
        let float = |kb: u64| f64::from(u32::try_from(kb).unwrap());
        let [all, private] = [0, 1].map(|i| float(theirs.peak[i]) / float(ours.peak[i]));
        println!("| {megabytes} MB | ratio | {time:.1} × | {all:.1} × | {private:.1} × |");
    }
}

/// Bytes that do not compress.
fn noise(path: &Path, len: u64) {
    let mut file = std::io::BufWriter::new(fs::File::create(path).unwrap());
    let noise = blake3::Hasher::new().update(b"noise").finalize_xof();
    std::io::copy(&mut std::io::Read::take(noise, len), &mut file).unwrap();
}

fn include_bytes(dir: &Path, payload: &Path, len: u64) -> Cost {
    let program = format!("static DATA: &[u8] = include_bytes!({payload:?});\n{}", check(len));
    rustc(dir, &program, &[])
}

fn object(dir: &Path, payload: &Path, len: u64) -> Cost {
    let start = Instant::now();
    let machine = if cfg!(target_arch = "aarch64") { Machine::Aarch64 } else { Machine::X86_64 };
    let object = dir.join("payload.o");
    write_object(machine, "payload", payload, len, &object).unwrap();
    let object_len = fs::metadata(&object).unwrap().len();
    let archive = thin_archive("payload.o", object_len, "payload").unwrap();
    fs::write(dir.join("libpayload.a"), archive).unwrap();
    let wrote = start.elapsed();
    let program = format!(
        "#[link(name = \"payload\", kind = \"static\", modifiers = \"-bundle\")]
unsafe extern \"C\" {{ #[link_name = \"payload\"] static BYTES: [u8; {len}]; }}
static DATA: &[u8] = unsafe {{ &BYTES }};
{}",
        check(len)
    );
    let mut cost = rustc(dir, &program, &[format!("-Lnative={}", dir.display())]);
    cost.time += wrote;
    fs::remove_file(object).unwrap();
    cost
}

/// A `main` that reads the first and the last byte.
fn check(len: u64) -> String {
    format!(
        "fn main() {{
    assert_eq!(DATA.len(), {len});
    println!(\"{{}} {{}}\", DATA[0], DATA[DATA.len() - 1]);
}}"
    )
}

/// Compiles, links and runs a program.
fn rustc(dir: &Path, program: &str, arguments: &[String]) -> Cost {
    let (source, executable) = (dir.join("main.rs"), dir.join("main"));
    fs::write(&source, program).unwrap();
    let start = Instant::now();
    let mut child = Command::new("rustc")
        .args(["--edition=2024", "-O", "-o"])
        .arg(&executable)
        .arg(&source)
        .args(arguments)
        .spawn()
        .unwrap();
    let mut peak = [0; 2];
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        let now = memory(child.id());
        peak = [peak[0].max(now[0]), peak[1].max(now[1])];
        std::thread::sleep(Duration::from_millis(2));
    };
    let time = start.elapsed();
    assert!(status.success());
    assert!(Command::new(&executable).output().unwrap().status.success());
    fs::remove_file(executable).unwrap();
    Cost { time, peak }
}

/// Memory of a process and all below it, in kB: resident, private.
fn memory(process: u32) -> [u64; 2] {
    let proc = format!("/proc/{process}");
    let status = fs::read_to_string(format!("{proc}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name));
        line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    let mut sum = [field("VmRSS:"), field("RssAnon:")];
    for task in fs::read_dir(format!("{proc}/task")).into_iter().flatten().flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|c| c.parse().ok()) {
            let below = memory(child);
            sum = [sum[0] + below[0], sum[1] + below[1]];
        }
    }
    sum
}
