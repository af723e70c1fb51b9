//! Encoding and decoding of block types, in millions of weights per second on one core.
//!
//! ```text
//! cargo bench -p model-build --bench blocks             # every type
//! cargo bench -p model-build --bench blocks -- q8_0 q4  # types whose names begin so
//! ```
//!
//! Each type with and without importance, on every kernel of this machine; and conversions between
//! floating-point types. Where `GGML_DYLIB_PATH` names ggml's `libggml-base.so`, it runs beside ours
//! in turn, and the last column is our best kernel's speed over its.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a measurement
#![allow(clippy::cast_precision_loss, clippy::cast_possible_wrap)] // small numbers

use std::ffi::{c_int, c_void};
use std::time::{Duration, Instant};

use libloading::{Library, Symbol};
use model_build::hub::{BlockDef, DType, Importance, Kernel, Tensor};
use model_build::quantize::{ALL, convert};

const COLUMNS: usize = 4096;
const ROWS: usize = 64;

type Quantize =
    unsafe extern "C" fn(c_int, *const f32, *mut c_void, i64, i64, i64, *const f32) -> usize;

/// Calls ggml's reference.
struct Reference(Library);

impl Reference {
    fn load() -> Option<Self> {
        // SAFETY: the library's initializers do nothing but fill tables.
        Some(Self(unsafe { Library::new(std::env::var_os("GGML_DYLIB_PATH")?) }.unwrap()))
    }
    fn encode(&self, def: &BlockDef, x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
        assert_eq!(out.len(), x.len() / def.block_len * def.block_bytes);
        let (id, rows) = (c_int::try_from(def.ggml_id).unwrap(), (x.len() / COLUMNS) as i64);
        let importance = importance.map_or(std::ptr::null(), <[f32]>::as_ptr);
        let out = out.as_mut_ptr().cast();
        // SAFETY: the signature is that of ggml.h, and `out` has the room.
        unsafe {
            let quantize: Symbol<'_, Quantize> = self.0.get(b"ggml_quantize_chunk").unwrap();
            quantize(id, x.as_ptr(), out, 0, rows, COLUMNS as i64, importance);
        }
    }
}

/// Millions of weights per second: the best of runs of a quarter of a second in all, at least two.
fn speed(weights: usize, mut work: impl FnMut()) -> f64 {
    let (start, mut best, mut runs) = (Instant::now(), Duration::MAX, 0);
    while runs < 2 || start.elapsed() < Duration::from_millis(250) {
        let run = Instant::now();
        work();
        best = best.min(run.elapsed());
        runs += 1;
    }
    weights as f64 / best.as_secs_f64() / 1e6
}

fn normal(count: usize) -> Vec<f32> {
    let mut bytes = vec![0; count * 4];
    blake3::Hasher::new().update(b"weights").finalize_xof().fill(&mut bytes);
    let sum = |c: &[u8; 4]| c.iter().map(|b| f32::from(*b)).sum::<f32>() - 510.0;
    bytes.as_chunks().0.iter().map(|c| sum(c) * 1e-4).collect()
}

fn blocks(prefixes: &[String], reference: Option<&Reference>) {
    let kernels = Kernel::available();
    print!("| type | importance |");
    kernels.iter().for_each(|k| print!(" {k:?} |"));
    println!(" decode | ggml | ratio |");
    println!("|---|---|{}---|---|---|", "---|".repeat(kernels.len()));
    let chosen = |def: &&&BlockDef| {
        prefixes.is_empty() || prefixes.iter().any(|p| def.name.starts_with(p.as_str()))
    };
    for def in ALL.iter().filter(chosen) {
        // Types with large codebooks take seconds for a million weights.
        let rows =
            if def.name.starts_with("iq1") || def.name.starts_with("iq2") { 4 } else { ROWS };
        let values = normal(rows * COLUMNS);
        let weights: Vec<f32> = normal(COLUMNS).iter().map(|v| v.abs() + 0.001).collect();
        let mut out = vec![0; values.len() / def.block_len * def.block_bytes];
        for importance in [None, Some(&weights[..])] {
            let unfit =
                if importance.is_none() { Importance::Required } else { Importance::Ignored };
            if def.importance == unfit {
                continue;
            }
            print!("| {} | {} |", def.name, if importance.is_some() { "yes" } else { "no" });
            let mut best: f64 = 0.0;
            for kernel in &kernels {
                let encode = || (def.encode)(*kernel, &values, importance, COLUMNS, &mut out);
                let ours = speed(values.len(), encode);
                best = best.max(ours);
                print!(" {ours:.1} |");
            }
            let mut back = vec![0.0; values.len()];
            print!(" {:.0} |", speed(values.len(), || (def.decode)(&out, &mut back)));
            match reference {
                Some(reference) => {
                    let encode = || reference.encode(def, &values, importance, &mut out);
                    let theirs = speed(values.len(), encode);
                    println!(" {theirs:.1} | {:.2} |", best / theirs);
                }
                None => println!(" | |"),
            }
        }
    }
}

fn conversions() {
    println!("\n| from | to | Mweights/s |\n|---|---|---|");
    let wide = Tensor::from_f32(vec![1 << 20], &normal(1 << 20)).unwrap();
    for from in [DType::F64, DType::F32, DType::F16, DType::BF16] {
        let lazy = convert(&wide, from).unwrap();
        let ready = Tensor::new(from, vec![1 << 20], lazy.bytes().unwrap()).unwrap();
        for to in [DType::F64, DType::F32, DType::F16, DType::BF16] {
            if to != from {
                let lazy = convert(&ready, to).unwrap();
                let mut out = vec![0; usize::try_from(lazy.byte_len()).unwrap()];
                let speed = speed(1 << 20, || lazy.read_at(0, &mut out).unwrap());
                println!("| {from} | {to} | {speed:.0} |");
            }
        }
    }
}

fn main() {
    let prefixes: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    blocks(&prefixes, Reference::load().as_ref());
    conversions();
}
