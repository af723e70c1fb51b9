//! k-quants: every kernel gives the bytes of ggml, known by their digests.

use super::*;
use crate::hub::Kernel;

const COLUMNS: usize = 768;

/// Whole numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 40
    }

    /// About normal, a variance of 1.
    fn normal(&mut self) -> f32 {
        let sum: u64 = (0..4).map(|_| self.next()).sum();
        (sum as f32 / (1 << 24) as f32 - 2.0) * 1.75
    }
}

/// Seven rows of three super-blocks, each of another kind; 21 are a whole number of no kernel's
/// batches.
fn rows() -> Vec<f32> {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut rows = Vec::new();
    for kind in 0..21 {
        let mut scale = 1.0;
        for e in 0..256 {
            let v = numbers.normal();
            if e % 16 == 0 {
                scale = f32::from_bits(u32::try_from(100 + numbers.next() % 30).unwrap() << 23);
            }
            rows.push(match kind {
                0 => 0.0,
                1 => 0.75,
                2 => -0.75,
                3 => v * 1e-40,
                4 => v * 1e-15,
                5 => v * 1e18,
                6 => v * 1e37,
                7 => v.abs(),
                8 => -v.abs(),
                9 => (v * 4.0).round(),
                10 => v * scale,
                11 if v < 1.5 => -0.0,
                12 => v * 1e-3 + 100.0,
                13 => v * 1e-3 - 100.0,
                14 if e != 77 => 0.0,
                15 if e % 32 < 16 => 0.0,
                16 => (e % 2) as f32 - 0.5,
                _ => v * 0.02,
            });
        }
    }
    rows
}

fn importance() -> Vec<f32> {
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let weight = |v: u64| if v.is_multiple_of(5) { 0.0 } else { v as f32 / (1 << 20) as f32 };
    (0..COLUMNS).map(|_| weight(numbers.next())).collect()
}

/// FNV-1a.
fn digest(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Digests of what ggml's `ggml_quantize_chunk` makes of [`rows`], without and with
/// [`importance`], and of what it decodes the latter to.
const GGML: [(&str, [u64; 3]); 5] = [
    ("q2_k", [0x206c_31b3_fbcf_22e8, 0x4e9d_0a52_2e1b_0090, 0x68ac_5377_8c81_de98]),
    ("q3_k", [0xfe3e_811a_b6d9_aa53, 0xc74c_5c6c_ee12_29d5, 0x8372_63eb_9845_f490]),
    ("q4_k", [0x93de_94dd_c742_4393, 0x7c46_cf08_4a5a_70d9, 0x24dc_208f_2fe0_622e]),
    ("q5_k", [0xd026_9f3e_83d3_6248, 0xfeb4_0af6_2381_72f6, 0xb3f5_7e33_691e_d1b2]),
    ("q6_k", [0xdf5c_b980_f165_5bcb, 0xc14f_3245_a170_4056, 0x1cc4_f8af_491e_e9e9]),
];

#[test]
fn every_kernel_gives_the_bytes_of_ggml() {
    let (rows, importance) = (rows(), importance());
    for (name, expected) in GGML {
        let def = by_name(name).unwrap();
        for kernel in Kernel::available() {
            let mut blocks = vec![0xaa; rows.len() / def.block_len * def.block_bytes];
            (def.encode)(kernel, &rows, None, COLUMNS, &mut blocks);
            assert_eq!(digest(&blocks), expected[0], "{name} on {kernel:?}");
            (def.encode)(kernel, &rows, Some(&importance), COLUMNS, &mut blocks);
            assert_eq!(digest(&blocks), expected[1], "{name} on {kernel:?} with importance");
            let mut decoded = vec![7.0; rows.len()];
            (def.decode)(&blocks, &mut decoded);
            let number = |v: f32| if v.is_nan() { [0xff; 4] } else { v.to_le_bytes() };
            let bytes: Vec<u8> = decoded.into_iter().flat_map(number).collect();
            assert_eq!(digest(&bytes), expected[2], "{name} decoded");
        }
    }
}

#[test]
fn a_block_does_not_depend_on_its_neighbours() {
    let (rows, importance) = (rows(), importance());
    for (name, _) in GGML {
        let def = by_name(name).unwrap();
        for kernel in Kernel::available() {
            let bytes = COLUMNS / def.block_len * def.block_bytes;
            let mut together = vec![0; rows.len() / COLUMNS * bytes];
            (def.encode)(kernel, &rows, Some(&importance), COLUMNS, &mut together);
            for (row, together) in rows.chunks(COLUMNS).zip(together.chunks(bytes)) {
                let mut alone = vec![0; bytes];
                (def.encode)(kernel, row, Some(&importance), COLUMNS, &mut alone);
                assert_eq!(alone, together, "{name} on {kernel:?}");
            }
        }
    }
}
