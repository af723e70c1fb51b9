//! Tests of choosing under a budget, with toy block types.

use std::sync::Arc;

use super::*;
use crate::hub::{BlockDef, Kernel, Meta, Produce};

/// Blocks of 8: a scale, then signed steps of `BITS` bits, a byte per bit.
const fn toy<const BITS: u8>(name: &'static str, importance: Use) -> BlockDef {
    BlockDef {
        name,
        ggml_id: 1000 + BITS as u32,
        revision: 1,
        slow: true,
        block_len: 8,
        block_bytes: 4 + BITS as usize,
        importance,
        encode: encode::<BITS>,
        decode: decode::<BITS>,
    }
}
static T2: BlockDef = toy::<2>("t2", Use::Optional);
static T4: BlockDef = toy::<4>("t4", Use::Optional);
static T6: BlockDef = toy::<6>("t6", Use::Optional);
static T1: BlockDef = toy::<1>("t1", Use::Required);

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn encode<const BITS: u8>(
    _: Kernel,
    rows: &[f32],
    _: Option<&[f32]>,
    columns: usize,
    out: &mut [u8],
) {
    assert_eq!(rows.len() % columns, 0);
    for (block, out) in rows.chunks_exact(8).zip(out.chunks_exact_mut(4 + BITS as usize)) {
        let largest = block.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        out[..4].copy_from_slice(&largest.to_le_bytes());
        let steps = f32::from((1u16 << BITS) - 1);
        let mut bits = 0u64;
        for (i, v) in block.iter().enumerate() {
            let unit = if largest > 0.0 { (v / largest + 1.0) / 2.0 } else { 0.5 };
            bits |= ((unit * steps).round() as u64) << (i * BITS as usize);
        }
        out[4..].copy_from_slice(&bits.to_le_bytes()[..BITS as usize]);
    }
}

#[allow(clippy::cast_precision_loss)]
fn decode<const BITS: u8>(blocks: &[u8], out: &mut [f32]) {
    for (block, out) in blocks.chunks_exact(4 + BITS as usize).zip(out.chunks_exact_mut(8)) {
        let largest = f32::from_le_bytes(block[..4].try_into().unwrap());
        let mut bytes = [0; 8];
        bytes[..BITS as usize].copy_from_slice(&block[4..]);
        let bits = u64::from_le_bytes(bytes);
        let steps = (1u64 << BITS) - 1;
        for (i, v) in out.iter_mut().enumerate() {
            let unit = (bits >> (i * BITS as usize) & steps) as f32 / steps as f32;
            *v = (unit * 2.0 - 1.0) * largest;
        }
    }
}

/// Values of a fixed sequence, times `size`.
#[allow(clippy::cast_precision_loss)]
fn values(seed: u32, len: usize, size: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..len).map(|_| next() * size).collect()
}

fn model(tensors: &[(&str, u64, u64, f32)]) -> Gguf {
    let mut gguf = Gguf::default();
    gguf.set("general.architecture", Meta::text("llama"));
    gguf.set("llama.block_count", Meta::U32(2));
    for (i, (name, rows, columns, size)) in tensors.iter().enumerate() {
        let len = usize::try_from(rows * columns).unwrap();
        let seed = u32::try_from(i).unwrap();
        let tensor = Tensor::from_f32(vec![*rows, *columns], &values(seed, len, *size)).unwrap();
        gguf.tensors.push(((*name).into(), tensor));
    }
    gguf
}

fn some_model() -> Gguf {
    let mut gguf = model(&[
        ("token_embd.weight", 64, 32, 0.1),
        ("blk.0.attn_q.weight", 32, 32, 1.0),
        ("blk.0.attn_v.weight", 8, 32, 2.0),
        ("blk.0.ffn_up.weight", 96, 32, 0.5),
        ("blk.1.ffn_up.weight", 96, 32, 0.5),
        ("blk.1.odd.weight", 8, 12, 1.0),
        ("output.weight", 64, 32, 0.3),
    ]);
    let norm = Tensor::from_f32(vec![32], &[1.0; 32]).unwrap();
    gguf.tensors.push(("output_norm.weight".into(), norm));
    gguf
}

fn options(target: Target) -> BudgetOptions<'static> {
    BudgetOptions {
        target,
        overhead: 1000,
        alignment: 32,
        origin: Origin::Checkpoint,
        importance: None,
        ladder: vec![DType::Block(&T1), DType::Block(&T2), DType::Block(&T4), DType::Block(&T6)],
        overrides: &[],
    }
}

fn types(budgeted: &Budgeted) -> Vec<&'static str> {
    budgeted.choices.iter().map(|c| c.to.name()).collect()
}

#[test]
fn the_smallest_budget_is_told_and_works() {
    let gguf = some_model();
    let error = within_budget(&gguf, &options(Target::Size(10))).unwrap_err();
    let told = error.message().rsplit(' ').nth(1).unwrap().parse().unwrap();
    assert!(within_budget(&gguf, &options(Target::Size(told - 1))).is_err());
    let least = within_budget(&gguf, &options(Target::Size(told))).unwrap();
    assert_eq!(types(&least), ["t2", "t2", "t2", "t2", "t2", "f16", "t2", "f32"]);
    assert_eq!((least.bytes, least.largest), (told, false));

    let error = within_budget(&gguf, &options(Target::BitsPerWeight(0.5))).unwrap_err();
    let told = error.message().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(within_budget(&gguf, &options(Target::BitsPerWeight(told))).is_ok());
    assert!(within_budget(&gguf, &options(Target::BitsPerWeight(f64::NAN))).is_err());
    assert!(within_budget(&gguf, &options(Target::BitsPerWeight(-4.0))).is_err());
}

#[test]
fn a_budget_above_all_takes_the_largest_types() {
    let gguf = some_model();
    let all = within_budget(&gguf, &options(Target::Size(u64::MAX))).unwrap();
    assert!(all.largest);
    assert_eq!(types(&all), ["f16", "f16", "f16", "f16", "f16", "f16", "f16", "f32"]);
    let padded: u64 = all
        .choices
        .iter()
        .map(|c| c.to.bytes_for(gguf.tensors[c.tensor].1.len()).unwrap().next_multiple_of(32))
        .sum();
    assert_eq!(all.bytes, u64::MAX - (u64::MAX - 1000 - padded));
}

#[test]
fn more_bytes_never_give_a_larger_error_and_are_never_exceeded() {
    let gguf = some_model();
    let mut last = f64::INFINITY;
    for bytes in (9000..=26000).step_by(400) {
        let Ok(now) = within_budget(&gguf, &options(Target::Size(bytes))) else { continue };
        assert!(
            now.bytes <= bytes && now.relative_error <= last,
            "{bytes}: {}",
            now.relative_error
        );
        last = now.relative_error;
    }
    assert!(last < 1e-6, "{last}");
}

#[test]
fn the_choice_is_as_good_as_trying_everything_up_to_a_step() {
    let gguf = some_model();
    let facts = Facts::of(&gguf).unwrap();
    let options = options(Target::Size(14_000));
    let items: Vec<_> = gguf
        .tensors
        .iter()
        .map(|(n, t)| item(n, t, &gguf, &facts, &options, 1.0).unwrap())
        .collect();
    let spare = 13_000 - items.iter().map(|i| i.candidates[0].cost).sum::<u64>();
    let (picks, left) = pick(&items, spare);
    let error = |picks: &[usize]| -> f64 {
        items.iter().zip(picks).map(|(i, p)| i.candidates[*p].error).sum()
    };
    let used = |picks: &[usize]| -> u64 {
        items.iter().zip(picks).map(|(i, p)| i.candidates[*p].cost - i.candidates[0].cost).sum()
    };
    assert_eq!(used(&picks), spare - left);
    let mut best = f64::INFINITY;
    let mut tried = vec![0; items.len()];
    'all: loop {
        if used(&tried) <= spare {
            best = best.min(error(&tried));
        }
        for (i, item) in items.iter().enumerate() {
            tried[i] += 1;
            if tried[i] < item.candidates.len() {
                continue 'all;
            }
            tried[i] = 0;
        }
        break;
    }
    let found = error(&picks);
    assert!(found >= best && found <= best * 1.25, "{found} {best}");
}

#[test]
fn neither_threads_nor_the_order_of_tensors_nor_pieces_change_the_choice() {
    let gguf = some_model();
    let options = options(Target::BitsPerWeight(7.3));
    let one = within_budget(&gguf, &options).unwrap();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let other = pool.install(|| within_budget(&gguf, &options)).unwrap();
        assert_eq!(types(&other), types(&one));
        assert_eq!(other.relative_error.to_bits(), one.relative_error.to_bits());
    }
    let mut turned = gguf.clone();
    turned.tensors.reverse();
    let mut other = types(&within_budget(&turned, &options).unwrap());
    other.reverse();
    assert_eq!(other, types(&one));

    struct Pieces(Tensor, u64);
    impl Produce for Pieces {
        fn granularity(&self) -> u64 {
            self.1
        }
        fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
            assert_eq!(offset % self.1, 0);
            let end = offset + out.len() as u64;
            assert!(end.is_multiple_of(self.1) || end == self.0.byte_len());
            self.0.read_at(offset, out)
        }
    }
    for granularity in [1, 96, 128, 1 << 20] {
        let mut lazy = gguf.clone();
        for (_, tensor) in &mut lazy.tensors {
            let pieces = Arc::new(Pieces(tensor.clone(), granularity));
            *tensor = Tensor::lazy(DType::F32, tensor.shape().to_vec(), pieces).unwrap();
        }
        assert_eq!(types(&within_budget(&lazy, &options).unwrap()), types(&one));
    }
}

#[test]
fn importance_moves_bits_to_where_it_is_and_opens_types_that_need_it() {
    let gguf = model(&[
        ("blk.0.attn_q.weight", 32, 32, 1.0),
        ("blk.0.attn_k.weight", 32, 32, 1.0),
        ("blk.0.ffn_up.weight", 32, 32, 1.0),
    ]);
    let mut matrix = Importance::default();
    matrix.by_name.insert("blk.0.attn_q.weight".into(), vec![0.01; 32].into());
    matrix.by_name.insert("blk.0.attn_k.weight".into(), vec![9.0; 32].into());
    let options =
        BudgetOptions { importance: Some(&matrix), ..options(Target::BitsPerWeight(6.5)) };
    let found = within_budget(&gguf, &options).unwrap();
    assert_eq!(found.choices[0].to.name(), "t1");
    assert!(found.choices[1].to.bytes_for(8) > found.choices[2].to.bytes_for(8));
    matrix.by_name.insert("blk.0.ffn_up.weight".into(), vec![9.0; 31].into());
    let options =
        BudgetOptions { importance: Some(&matrix), ..self::options(Target::BitsPerWeight(6.5)) };
    let error = within_budget(&gguf, &options).unwrap_err();
    assert_eq!(error.place().item.as_deref(), Some("blk.0.ffn_up.weight"));
}

#[test]
fn experts_count_by_how_many_are_used_and_have_weights_of_their_own() {
    let mut gguf = Gguf::default();
    gguf.set("general.architecture", Meta::text("llama"));
    gguf.set("llama.block_count", Meta::U32(1));
    gguf.set("llama.expert_count", Meta::U32(8));
    gguf.set("llama.expert_used_count", Meta::U32(1));
    let stacked = Tensor::from_f32(vec![8, 4, 32], &values(3, 1024, 1.0)).unwrap();
    let dense = Tensor::from_f32(vec![32, 32], &values(3, 1024, 1.0)).unwrap();
    gguf.tensors.push(("blk.0.ffn_up_exps.weight".into(), stacked));
    gguf.tensors.push(("blk.0.ffn_up.weight".into(), dense));
    let found = within_budget(&gguf, &options(Target::BitsPerWeight(7.0))).unwrap();
    assert_eq!(types(&found), ["t2", "t4"]);
    let mut matrix = Importance::default();
    let only_last: Vec<f32> = (0..256).map(|i| if i < 224 { 0.0 } else { 1.0 }).collect();
    matrix.by_name.insert("blk.0.ffn_up_exps.weight".into(), only_last.into());
    let facts = Facts::of(&gguf).unwrap();
    let options = BudgetOptions { importance: Some(&matrix), ..options(Target::Size(9999)) };
    let (name, tensor) = &gguf.tensors[0];
    let measured = item(name, tensor, &gguf, &facts, &options, 1.0).unwrap();
    let last = &tensor.to_f32().unwrap()[7 * 128..];
    let energy: f64 = last.iter().map(|v| f64::from(*v).powi(2)).sum();
    let expected = energy.sqrt() / 8.0;
    assert!((measured.size / expected - 1.0).abs() < 1e-9, "{} {expected}", measured.size);
}

#[test]
fn weights_that_cannot_be_measured_are_refused_and_large_ones_kept() {
    let mut gguf = some_model();
    gguf.tensors[1].1 = Tensor::from_f32(vec![1, 8], &[f32::NAN; 8]).unwrap();
    gguf.tensors[1].1 = Tensor::from_f32(vec![2, 8], &[f32::NAN; 16]).unwrap();
    let error = within_budget(&gguf, &options(Target::Size(99_999))).unwrap_err();
    assert_eq!(error.place().item.as_deref(), Some("blk.0.attn_q.weight"));
    let gguf = model(&[("blk.0.odd.weight", 8, 12, 1e9)]);
    let found = within_budget(&gguf, &options(Target::Size(99_999))).unwrap();
    assert_eq!(types(&found), ["f32"]);
}

#[test]
fn an_override_is_not_up_for_choice() {
    let rules = [Override::new("attn_q", "f16").unwrap()];
    let options = BudgetOptions { overrides: &rules, ..options(Target::Size(12_000)) };
    let found = within_budget(&some_model(), &options).unwrap();
    assert_eq!(found.choices[1].to, DType::F16);
    assert_ne!(found.choices[4].to, DType::F16);
}
