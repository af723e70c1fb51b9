//! Block types against ggml's reference: the bytes of every encoder on every kernel, the numbers of
//! every decoder.
//!
//! `GGML_DYLIB_PATH` names the reference (`scripts/fetch-ggml.sh`); a million weights per case
//! want `--release`. Where it is not set, smaller cases are held to digests of what the reference
//! gave, `tests/fixtures/blocks/digests.txt`; `UPDATE_GOLDEN=1` writes them from the reference.
//! `MODEL_BUILD_FULL` gives the slow types a million weights, too.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a test
#![allow(clippy::print_stderr)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use model_build::hub::{BlockDef, Importance, Kernel};
use model_build::quantize::ALL;
use model_build_tests::ggml::Ggml;
use rayon::prelude::*;

/// Elements of a row: five of the largest blocks, so that rows end in the middle of vectors.
const COLUMNS: usize = 1280;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Distribution {
    Normal,
    HeavyTail,
    ZerosAndConstants,
    Denormals,
    /// Scales from the least to the greatest finite number; signs of zero; ties.
    Extremes,
}

const DISTRIBUTIONS: &[(&str, Distribution)] = &[
    ("normal", Distribution::Normal),
    ("heavy-tail", Distribution::HeavyTail),
    ("zeros-and-constants", Distribution::ZerosAndConstants),
    ("denormals", Distribution::Denormals),
    ("extremes", Distribution::Extremes),
];

/// splitmix64: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn small(&mut self) -> u32 {
        u32::try_from(self.bits() >> 32).unwrap()
    }
    /// From 0 up to 1.
    fn uniform(&mut self) -> f64 {
        f64::from(self.small()) / 4_294_967_296.0
    }
    /// Near enough to a normal distribution: the sum of twelve uniform ones.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

#[allow(clippy::cast_possible_truncation)] // rounding to f32 is the point
fn weights(distribution: Distribution, count: usize) -> Vec<f32> {
    let mut random = Random(count as u64);
    let mut out = Vec::with_capacity(count);
    while out.len() < count {
        match distribution {
            Distribution::Normal => out.push((random.normal() * 0.02) as f32),
            Distribution::HeavyTail => {
                let (n, spread) = (random.normal(), random.normal().abs());
                out.push((0.02 * n / (spread + 0.001)) as f32);
            }
            Distribution::ZerosAndConstants => constants(&mut random, &mut out),
            Distribution::Denormals => {
                // A run of one scale: 1 to 23 bits, of which the weights use all or few.
                let (mask, sparse) = (u32::MAX >> (9 + random.small() % 23), random.small() % 4);
                for _ in 0..32 {
                    let keep = random.small() % 4 >= sparse;
                    let bits = random.small() & (0x8000_0000 | if keep { mask } else { 0 });
                    out.push(f32::from_bits(bits));
                }
            }
            Distribution::Extremes => extremes(&mut random, &mut out),
        }
    }
    out.truncate(count);
    out
}

/// Thirty-two weights of a few values.
#[allow(clippy::cast_possible_truncation)]
fn constants(random: &mut Random, out: &mut Vec<f32>) {
    let value = random.normal() as f32;
    let kind = random.small() % 8;
    for i in 0..32 {
        out.push(match kind {
            0 => 0.0,
            1 => -0.0,
            2 => value,
            // One sign and the other.
            3 => value * if random.small() & 1 == 0 { 1.0 } else { -1.0 },
            4 => value * (f32::from(u8::try_from(random.small() % 3).unwrap()) - 1.0),
            // One weight among zeros of both signs.
            5 if i == 17 => value,
            5 => f32::from_bits(random.small() & 0x8000_0000),
            // Whole and half steps.
            6 => (f32::from(u8::try_from(random.small() % 65).unwrap()) - 32.0) / 4.0,
            _ => (f32::from(u8::try_from(random.small() % 16).unwrap())).mul_add(-0.5, 7.75),
        });
    }
}

/// Thirty-two weights of one scale.
fn extremes(random: &mut Random, out: &mut Vec<f32>) {
    let exponent = random.small() % 255;
    let kind = random.small() % 4;
    for _ in 0..32 {
        let bits = random.small();
        let near = exponent.saturating_sub(bits >> 23 & 7) << 23;
        let value = f32::from_bits(match kind {
            // Just below and at powers of two.
            0 => (bits & 0x8000_0000) | ((exponent << 23).wrapping_sub(bits & 63) & 0x7fff_ffff),
            1 => (bits & 0x807f_ffff) | exponent << 23,
            2 => (bits & 0x8000_0000) | near,
            _ => (bits & 0x807f_ffff) | near,
        });
        out.push(if value.is_finite() { value } else { f32::MAX });
    }
}

/// One weight per column, a few of them zero.
#[allow(clippy::cast_possible_truncation)]
fn importance() -> Vec<f32> {
    let mut random = Random(7);
    (0..COLUMNS)
        .map(|_| {
            let (n, spread) = (random.normal(), random.normal().abs());
            if random.small().is_multiple_of(16) { 0.0 } else { (n * n / (spread + 0.01)) as f32 }
        })
        .collect()
}

/// A block type, with or without importance, on a distribution.
struct Case {
    def: &'static BlockDef,
    weighted: bool,
    distribution: (&'static str, Distribution),
    rows: usize,
}

impl Case {
    fn values(&self) -> Vec<f32> {
        weights(self.distribution.1, self.rows * COLUMNS)
    }
    fn encoded_len(&self) -> usize {
        self.rows * COLUMNS / self.def.block_len * self.def.block_bytes
    }
    fn ours(&self, kernel: Kernel, values: &[f32], importance: Option<&[f32]>) -> Vec<u8> {
        let mut out = vec![0x5a; self.encoded_len()];
        (self.def.encode)(kernel, values, importance, COLUMNS, &mut out);
        out
    }
    fn decoded(&self, bytes: &[u8]) -> Vec<f32> {
        let mut out = vec![f32::NAN; self.rows * COLUMNS];
        (self.def.decode)(bytes, &mut out);
        out
    }
    fn name(&self) -> String {
        let importance = if self.weighted { "yes" } else { "no" };
        format!("{} {importance} {} {}", self.def.name, self.distribution.0, self.rows * COLUMNS)
    }
}

/// Types that ggml encodes at less than a million weights per second.
fn is_slow(def: &BlockDef) -> bool {
    def.name.starts_with("iq1") || def.name.starts_with("iq2")
}

/// ggml searches for scales in these; what it gives for sums that overflow is not defined.
fn searches(def: &BlockDef) -> bool {
    def.name.starts_with("iq") || def.name.ends_with("_k")
}

/// The cases of every type, with so many rows for simple types, those that search, and slow ones.
fn cases([simple, searching, slow]: [usize; 3]) -> Vec<Case> {
    let mut cases = Vec::new();
    for def in ALL.iter().copied() {
        for weighted in [false, true] {
            if !weighted && def.importance == Importance::Required {
                continue;
            }
            for distribution in DISTRIBUTIONS.iter().copied() {
                let extremes = distribution.1 == Distribution::Extremes;
                if extremes
                    && (searches(def) || (weighted && def.importance != Importance::Ignored))
                {
                    continue;
                }
                let rows = match (is_slow(def), searches(def)) {
                    (true, _) => slow,
                    (false, true) => searching,
                    (false, false) => simple,
                };
                cases.push(Case { def, weighted, distribution, rows });
            }
        }
    }
    cases
}

/// The first block in which two encodings differ, and how many do.
fn difference(def: &BlockDef, ours: &[u8], theirs: &[u8]) -> Option<String> {
    let blocks = || ours.chunks(def.block_bytes).zip(theirs.chunks(def.block_bytes)).enumerate();
    let (first, (ours, theirs)) = blocks().find(|(_, (a, b))| a != b)?;
    let count = blocks().filter(|(_, (a, b))| a != b).count();
    let at = first * def.block_len / COLUMNS;
    Some(format!(
        "{count} blocks, first {first} (row {at}):\n  ours   {ours:02x?}\n  theirs {theirs:02x?}"
    ))
}

/// Bits of floats, all NaNs being one.
fn bits(values: &[f32]) -> Vec<u8> {
    let canonical = |v: &f32| if v.is_nan() { f32::NAN.to_bits() } else { v.to_bits() };
    values.iter().flat_map(|v| canonical(v).to_le_bytes()).collect()
}

fn compare(ggml: &Ggml, case: &Case, importance: &[f32]) -> Vec<String> {
    let values = case.values();
    let importance = case.weighted.then_some(importance);
    let mut theirs = vec![0; case.encoded_len()];
    ggml.encode(case.def.ggml_id, &values, importance, COLUMNS, &mut theirs);
    let mut wrong = Vec::new();
    for kernel in Kernel::available() {
        let ours = case.ours(kernel, &values, importance);
        if let Some(difference) = difference(case.def, &ours, &theirs) {
            wrong.push(format!("{} on {kernel:?}: {difference}", case.name()));
        }
    }
    let mut decoded = vec![0.0; values.len()];
    ggml.decode(case.def.ggml_id, &theirs, &mut decoded);
    let (ours, theirs) = (bits(&case.decoded(&theirs)), bits(&decoded));
    if let Some(at) = ours.chunks(4).zip(theirs.chunks(4)).position(|(a, b)| a != b) {
        wrong.push(format!("{}: decodes otherwise from element {at} on", case.name()));
    }
    wrong
}

#[test]
fn every_type_is_the_references_byte_for_byte_on_every_kernel() {
    let Some(ggml) = Ggml::load() else {
        eprintln!("skipped: GGML_DYLIB_PATH is not set");
        return;
    };
    let full = std::env::var_os("MODEL_BUILD_FULL").is_some();
    let million = 1_000_000usize.div_ceil(COLUMNS);
    let slow = if full { million } else { 65_536usize.div_ceil(COLUMNS) };
    let cases = cases([million, million, slow]);
    let importance = importance();
    let wrong: Vec<String> =
        cases.par_iter().flat_map_iter(|case| compare(&ggml, case, &importance)).collect();
    eprintln!("{} cases on {:?}", cases.len(), Kernel::available());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn exponents_are_the_references_just_below_every_power_of_two() {
    let Some(ggml) = Ggml::load() else {
        eprintln!("skipped: GGML_DYLIB_PATH is not set");
        return;
    };
    let def = model_build::quantize::by_name("mxfp4").unwrap();
    let below = |power: u32, by: u32| f32::from_bits((power << 23).saturating_sub(by));
    let subnormal = |power: u32, by: u32| f32::from_bits((1 << power) - by.min((1 << power) - 1));
    let mut magnitudes: Vec<f32> =
        (1..=255).flat_map(|power| (0..128).map(move |by| below(power, by.max(1)))).collect();
    magnitudes.extend((1..23).flat_map(|power| (0..64).map(move |by| subnormal(power, by))));
    let values: Vec<f32> = magnitudes.iter().flat_map(|v| [*v; 32]).collect();
    let mut theirs = vec![0; magnitudes.len() * def.block_bytes];
    let mut ours = theirs.clone();
    ggml.encode(def.ggml_id, &values, None, 32, &mut theirs);
    (def.encode)(Kernel::best(), &values, None, 32, &mut ours);
    let differs = |i: &usize| ours[i * def.block_bytes] != theirs[i * def.block_bytes];
    let wrong: Vec<f32> = (0..magnitudes.len()).filter(differs).map(|i| magnitudes[i]).collect();
    assert!(wrong.is_empty(), "{} of {}: {wrong:?}", wrong.len(), magnitudes.len());
}

#[test]
fn without_importance_no_block_depends_on_the_row_it_is_in() {
    for case in small_cases().iter().filter(|case| !case.weighted) {
        let values = case.values();
        let rows = case.ours(Kernel::best(), &values, None);
        let mut one_row = vec![0; rows.len()];
        (case.def.encode)(Kernel::best(), &values, None, values.len(), &mut one_row);
        assert!(rows == one_row, "{}", case.name());
    }
}

fn golden_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/blocks/digests.txt")
}

/// Cases that are quick without optimization.
fn small_cases() -> Vec<Case> {
    cases([13, 3, 2])
}

fn write_golden(ggml: &Ggml) {
    let importance = importance();
    let lines: Vec<String> = small_cases()
        .par_iter()
        .map(|case| {
            let mut encoded = vec![0; case.encoded_len()];
            let importance = case.weighted.then_some(&importance[..]);
            let id = case.def.ggml_id;
            ggml.encode(id, &case.values(), importance, COLUMNS, &mut encoded);
            let mut decoded = vec![0.0; case.rows * COLUMNS];
            ggml.decode(id, &encoded, &mut decoded);
            format!("{} {}", case.name(), digests(&encoded, &decoded))
        })
        .collect();
    let mut text =
        "# type importance distribution elements, BLAKE3 of the encoded bytes and of the \
        decoded f32, of ggml\n"
            .to_owned();
    lines.iter().for_each(|line| writeln!(text, "{line}").unwrap());
    std::fs::create_dir_all(golden_path().parent().unwrap()).unwrap();
    std::fs::write(golden_path(), text).unwrap();
}

fn digests(encoded: &[u8], decoded: &[f32]) -> String {
    format!("{} {}", blake3::hash(encoded), blake3::hash(&bits(decoded)))
}

#[test]
fn every_type_has_the_references_digests_on_every_kernel() {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let ggml = Ggml::load().expect("GGML_DYLIB_PATH names the reference to write digests of");
        write_golden(&ggml);
    }
    let text = std::fs::read_to_string(golden_path()).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let golden: BTreeMap<String, String> = lines
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (words[..4].join(" "), words[4..].join(" "))
        })
        .collect();
    let importance = importance();
    let cases = small_cases();
    let wrong: Vec<String> = cases
        .par_iter()
        .flat_map_iter(|case| {
            let Some(want) = golden.get(&case.name()) else {
                return vec![format!("{}: has no digest", case.name())];
            };
            let values = case.values();
            let importance = case.weighted.then_some(&importance[..]);
            let mut wrong = Vec::new();
            for kernel in Kernel::available() {
                let encoded = case.ours(kernel, &values, importance);
                if digests(&encoded, &case.decoded(&encoded)) != *want {
                    wrong.push(format!("{} on {kernel:?}: other bytes", case.name()));
                }
            }
            wrong
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(golden.len(), cases.len(), "digests of types that there are not");
}
