//! Tests of whole tensors, with a block type that shows what its encoder was called with.

#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // small numbers

use super::*;
use crate::error::ErrorKind;

/// Blocks of two elements in 9 bytes: both, and the importance of the first plus one, or zero.
fn show(_: Kernel, values: &[f32], importance: Option<&[f32]>, columns: usize, out: &mut [u8]) {
    for (i, (block, out)) in values.chunks(2).zip(out.chunks_mut(9)).enumerate() {
        let weight = importance.map_or(0.0, |w| w[2 * i % columns] + 1.0);
        out[..4].copy_from_slice(&block[0].to_le_bytes());
        out[4..8].copy_from_slice(&block[1].to_le_bytes());
        out[8] = weight as u8;
    }
}

fn hide(blocks: &[u8], out: &mut [f32]) {
    for (block, out) in blocks.chunks(9).zip(out.chunks_mut(2)) {
        out[0] = f32::from_le_bytes(block[..4].try_into().unwrap());
        out[1] = f32::from_le_bytes(block[4..8].try_into().unwrap());
        if out[0] > 1e30 {
            out[0] = f32::INFINITY;
        }
    }
}

static SHOWN: BlockDef = BlockDef {
    name: "shown",
    ggml_id: 9001,
    revision: 3,
    block_len: 2,
    block_bytes: 9,
    importance: Importance::Optional,
    slow: true,
    encode: show,
    decode: hide,
};
static NEEDY: BlockDef =
    BlockDef { name: "needy", ggml_id: 9002, importance: Importance::Required, ..SHOWN };
static DEAF: BlockDef =
    BlockDef { name: "deaf", ggml_id: 9003, importance: Importance::Ignored, ..SHOWN };

/// f32 elements 0, 1, 2, … that can only be read in steps.
struct Counting(u64);
impl Produce for Counting {
    fn granularity(&self) -> u64 {
        self.0
    }
    fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        assert_eq!(offset % self.0, 0);
        for (i, out) in out.chunks_mut(4).enumerate() {
            out.copy_from_slice(&((offset / 4 + i as u64) as f32).to_le_bytes());
        }
        Ok(())
    }
}

fn counting(shape: &[u64], step: u64) -> Tensor {
    Tensor::lazy(DType::F32, shape.to_vec(), Arc::new(Counting(step))).unwrap()
}

fn error(result: Result<Tensor>) -> Error {
    result.and_then(|t| t.bytes().map(|_| t)).unwrap_err()
}

/// All bytes, read in pieces of so many granules.
fn in_pieces(tensor: &Tensor, granules: u64) -> Vec<u8> {
    let mut out = vec![0; tensor.byte_len() as usize];
    let piece = (tensor.granularity() * granules) as usize;
    for (i, out) in out.chunks_mut(piece).enumerate() {
        tensor.read_at((i * piece) as u64, out).unwrap();
    }
    out
}

#[test]
fn the_bytes_do_not_depend_on_how_the_source_or_the_result_is_cut() {
    let shape = [3, 700, 128];
    let values: Vec<f32> = (0..3 * 700 * 128).map(|v| v as f32).collect();
    let ready = Tensor::from_f32(shape.to_vec(), &values).unwrap();
    let weights: Arc<[f32]> = (0..3 * 128).map(|i| (i / 128) as f32).collect();
    for importance in [None, Some(weights)] {
        let want = encode(&ready, &SHOWN, importance.clone()).unwrap().bytes().unwrap();
        assert_eq!(want.len(), 3 * 700 * 64 * 9);
        for step in [4, 24, 512, 512 * 700] {
            let encoded = encode(&counting(&shape, step), &SHOWN, importance.clone()).unwrap();
            assert_eq!(encoded.granularity() % (64 * 9), 0);
            for granules in [1, 7, 1_000_000] {
                assert!(in_pieces(&encoded, granules) == want, "{step} {granules}");
            }
        }
        let back = decode(&encode(&ready, &SHOWN, importance).unwrap()).unwrap();
        assert_eq!(back.to_f32().unwrap(), values);
    }
}

#[test]
fn each_matrix_has_its_own_importance_or_all_share_one() {
    let source = counting(&[2, 3, 4], 4);
    let weights = |n: usize| -> Option<Arc<[f32]>> { Some((0..n).map(|i| i as f32).collect()) };
    let shown = |tensor: Tensor| -> Vec<u8> {
        tensor.bytes().unwrap().chunks(9).map(|b| b[8] - 1).collect()
    };
    let own = shown(encode(&source, &SHOWN, weights(8)).unwrap());
    assert_eq!(own, [0, 2, 0, 2, 0, 2, 4, 6, 4, 6, 4, 6]);
    let shared = shown(encode(&source, &SHOWN, weights(4)).unwrap());
    assert_eq!(shared, [0, 2].repeat(6));
}

#[test]
fn long_rows_without_importance_are_cut() {
    let encoded = encode(&counting(&[1, 300_000], 4), &SHOWN, None).unwrap();
    assert_eq!(encoded.granularity(), 9);
    let first = |b: &[u8]| f32::from_le_bytes(b[..4].try_into().unwrap());
    let bytes = encoded.bytes().unwrap();
    assert!(bytes.chunks(9).enumerate().all(|(i, b)| first(b) == 2.0 * i as f32));
    let weights = vec![1.0; 300_000].into();
    let whole = encode(&counting(&[1, 300_000], 4), &SHOWN, Some(weights)).unwrap();
    assert_eq!(whole.granularity(), 150_000 * 9);
}

#[test]
fn what_cannot_be_encoded_is_refused_with_its_place() {
    let ok = counting(&[2, 4], 4);
    let weights = |w: &[f32]| Some(Arc::<[f32]>::from(w));
    let odd = error(encode(&counting(&[2, 3], 4), &SHOWN, None));
    assert!(odd.to_string().contains("rows of 3"), "{odd}");
    let ints = Tensor::from_i64(vec![2], &[1, 2]).unwrap();
    assert_eq!(error(encode(&ints, &SHOWN, None)).kind(), ErrorKind::Unsupported);
    assert_eq!(error(convert(&ints, DType::F16)).kind(), ErrorKind::Unsupported);
    assert!(convert(&ok, DType::I8).is_err());
    let missing = error(encode(&ok, &NEEDY, None));
    assert!(missing.report().contains("hint: give an importance"), "{missing}");
    let short = error(encode(&ok, &SHOWN, weights(&[1.0; 3])));
    assert!(short.to_string().contains("has 3 values"), "{short}");
    for bad in [f32::NAN, -1.0, f32::INFINITY] {
        let bad = error(encode(&ok, &DEAF, weights(&[1.0, 1.0, bad, 1.0])));
        assert!(bad.to_string().contains("column 2"), "{bad}");
    }
    for bad in [f32::NAN, f32::NEG_INFINITY, 2e30] {
        let mut values = [1.0; 24];
        values[22] = bad;
        let tensor = Tensor::from_f32(vec![2, 3, 4], &values).unwrap();
        let bad = error(encode(&tensor, &SHOWN, None));
        assert!(bad.to_string().contains("element [1, 2, 2]"), "{bad}");
    }
}

#[test]
fn empty_tensors_and_scalars_have_no_rows_to_trip_over() {
    for shape in [vec![0, 4], vec![4, 0], vec![0]] {
        let empty = Tensor::from_f32(shape, &[]).unwrap();
        assert_eq!(encode(&empty, &SHOWN, None).unwrap().bytes().unwrap().len(), 0);
        assert_eq!(convert(&empty, DType::F16).unwrap().bytes().unwrap().len(), 0);
        let columns = *empty.shape().last().unwrap() as usize;
        let weights = vec![1.0; columns].into();
        assert_eq!(encode(&empty, &SHOWN, Some(weights)).unwrap().bytes().unwrap().len(), 0);
    }
    let scalar = Tensor::from_f32(vec![], &[0.5]).unwrap();
    assert!(encode(&scalar, &SHOWN, None).is_err());
    assert_eq!(convert(&scalar, DType::F64).unwrap().bytes().unwrap().len(), 8);
}

#[test]
fn types_convert_through_f32_and_the_same_type_is_the_tensor_itself() {
    let values = [0.0, -0.0, 1.0, 65504.0, 65520.0, 1e-8, 3.1, -2.5];
    let f32s = Tensor::from_f32(vec![8], &values).unwrap();
    for to in [DType::F64, DType::F16, DType::BF16] {
        let there = convert(&f32s, to).unwrap();
        assert_eq!(there.dtype(), to);
        let want: Vec<f32> = values
            .iter()
            .map(|v| match to {
                DType::F16 => half::f16::from_f32(*v).to_f32(),
                DType::BF16 => half::bf16::from_f32(*v).to_f32(),
                _ => *v,
            })
            .collect();
        assert_eq!(there.to_f32().unwrap(), want);
        assert_eq!(convert(&there, DType::F32).unwrap().to_f32().unwrap(), want);
        for last in [DType::F16, DType::BF16] {
            let bytes = convert(&there, last).unwrap().bytes().unwrap();
            assert_eq!(bytes, convert(&decode(&there).unwrap(), last).unwrap().bytes().unwrap());
        }
    }
    let same = convert(&f32s, DType::F32).unwrap();
    assert_eq!(same.ready_bytes().map(|b| b.as_ptr()), f32s.ready_bytes().map(|b| b.as_ptr()));
    let encoded = encode(&f32s, &SHOWN, None).unwrap();
    let again = encode(&encoded, &SHOWN, None).unwrap();
    assert_eq!(again.recipe().unwrap().0, encoded.recipe().unwrap().0);
    assert_eq!(encode(&encoded, &DEAF, None).unwrap().bytes().unwrap(), encoded.bytes().unwrap());
}

#[test]
fn a_recipe_names_what_decides_the_bytes() {
    let source = counting(&[2, 4], 4);
    let text = |tensor: Result<Tensor>| tensor.unwrap().recipe().unwrap().0;
    assert_eq!(text(encode(&source, &SHOWN, None)), "encode shown revision 3, importance none");
    let ones = Some(Arc::from([1.0f32; 4]));
    let twos = Some(Arc::from([2.0f32; 4]));
    let (one, two) = (encode(&source, &SHOWN, ones), encode(&source, &SHOWN, twos.clone()));
    assert_ne!(text(one), text(two));
    assert_eq!(text(encode(&source, &DEAF, twos)), "encode deaf revision 3, importance none");
    assert_eq!(text(convert(&source, DType::F16)), "convert f32 to f16");
    let encoded = encode(&source, &SHOWN, None).unwrap();
    assert_eq!(text(decode(&encoded)), "decode shown to f32");
    assert_eq!(encoded.recipe().unwrap().1.len(), 1);
    assert!(Tensor::from_f32(vec![1], &[1.0]).unwrap().recipe().is_none());
}
