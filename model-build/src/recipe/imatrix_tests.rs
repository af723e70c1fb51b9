//! Tests of reading importance matrices, hostile ones included.

use super::super::file_type::by_name;
use super::*;
use crate::hub::BlockDef;

fn entry(name: &str, calls: i32, values: &[f32]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(i32::try_from(name.len()).unwrap().to_le_bytes());
    out.extend(name.as_bytes());
    out.extend(calls.to_le_bytes());
    out.extend(i32::try_from(values.len()).unwrap().to_le_bytes());
    out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    out
}

fn legacy(entries: &[Vec<u8>], trailer: Option<(i32, &str)>) -> Vec<u8> {
    let mut out = i32::try_from(entries.len()).unwrap().to_le_bytes().to_vec();
    out.extend(entries.concat());
    if let Some((chunks, dataset)) = trailer {
        out.extend(chunks.to_le_bytes());
        out.extend(i32::try_from(dataset.len()).unwrap().to_le_bytes());
        out.extend(dataset.as_bytes());
    }
    out
}

fn gguf_with(tensors: &[(&str, Vec<u64>, &[f32])]) -> Gguf {
    let mut gguf = Gguf::default();
    gguf.set("imatrix.datasets", Meta::Array(MetaArray::Text(vec!["wiki".into()])));
    gguf.set("imatrix.chunk_count", Meta::U32(7));
    gguf.set("imatrix.chunk_size", Meta::U32(512));
    for (name, shape, values) in tensors {
        gguf.tensors.push(((*name).into(), Tensor::from_f32(shape.clone(), values).unwrap()));
    }
    gguf
}

#[test]
fn the_older_form_is_read() {
    let bytes = legacy(
        &[entry("blk.0.a.weight", 4, &[8.0, 2.0]), entry("b", 0, &[3.0])],
        Some((9, "wiki.train")),
    );
    let read = Importance::from_legacy(&bytes).unwrap();
    assert_eq!(*read.by_name["blk.0.a.weight"], [2.0, 0.5]);
    assert_eq!(*read.by_name["b"], [3.0]);
    assert_eq!((read.chunk_count, &*read.datasets), (9, &["wiki.train".to_owned()][..]));
    let old = Importance::from_legacy(&legacy(&[entry("b", 1, &[3.0])], None)).unwrap();
    assert_eq!((old.chunk_count, old.datasets.len()), (0, 0));
}

#[test]
fn a_cut_file_of_the_older_form_is_refused_at_every_length() {
    let bytes = legacy(&[entry("a", 4, &[8.0]), entry("b", 0, &[3.0])], Some((9, "wiki")));
    let without_trailer = bytes.len() - 12;
    // The dataset may be left out.
    for len in (0..bytes.len()).filter(|n| ![without_trailer, without_trailer + 4].contains(n)) {
        assert!(Importance::from_legacy(&bytes[..len]).is_err(), "{len}");
    }
    assert!(Importance::from_legacy(&[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn lengths_and_values_that_lie_are_refused() {
    let head = |n: i32, len: i32| [n.to_le_bytes(), len.to_le_bytes()].concat();
    for bytes in [head(i32::MAX, i32::MAX), head(-1, 0), head(1, -5), head(1, i32::MAX)] {
        assert!(Importance::from_legacy(&bytes).is_err());
    }
    let mut huge = legacy(&[entry("a", 1, &[1.0])], None);
    huge[13..17].copy_from_slice(&i32::MAX.to_le_bytes());
    assert_eq!(Importance::from_legacy(&huge).unwrap_err().place().item.as_deref(), Some("a"));
    for value in [f32::NAN, f32::INFINITY, -1.0] {
        let error = Importance::from_legacy(&legacy(&[entry("a", 1, &[value])], None));
        assert!(error.unwrap_err().message().contains("importance of"));
        let gguf = gguf_with(&[("a.in_sum2", vec![1], &[value]), ("a.counts", vec![1], &[1.0])]);
        assert!(Importance::from_gguf(&gguf).is_err());
        let gguf = gguf_with(&[("a.in_sum2", vec![1], &[1.0]), ("a.counts", vec![1], &[value])]);
        assert!(Importance::from_gguf(&gguf).is_err());
    }
    let twice = legacy(&[entry("a", 1, &[1.0]), entry("a", 1, &[1.0])], None);
    assert!(Importance::from_legacy(&twice).unwrap_err().message().contains("twice"));
}

#[test]
fn the_gguf_form_is_read_with_a_count_for_each_expert() {
    let gguf = gguf_with(&[
        ("x.in_sum2", vec![3, 2], &[4.0, 8.0, 1.0, 2.0, 9.0, 3.0]),
        ("x.counts", vec![3, 1], &[4.0, 0.0, 3.0]),
        ("y.in_sum2", vec![2, 2], &[4.0, 8.0, 2.0, 6.0]),
        ("y.counts", vec![1], &[2.0]),
        ("z.other", vec![1], &[f32::NAN]),
    ]);
    let read = Importance::from_gguf(&gguf).unwrap();
    assert_eq!(*read.by_name["x"], [1.0, 2.0, 1.0, 1.0, 3.0, 1.0]);
    assert_eq!(*read.by_name["y"], [2.0, 4.0, 1.0, 3.0]);
    assert_eq!((read.by_name.len(), read.chunk_count), (2, 7));
    let expected = [
        ("quantize.imatrix.file", Meta::text("m.gguf")),
        ("quantize.imatrix.dataset", Meta::text("wiki")),
        ("quantize.imatrix.entries_count", Meta::U32(2)),
        ("quantize.imatrix.chunks_count", Meta::U32(7)),
    ];
    let found = read.provenance("m.gguf");
    assert_eq!(found, expected.map(|(k, v)| (k.to_owned(), v)));
    let Meta::Text(cut) = &read.provenance(&"ä".repeat(100))[0].1 else { panic!() };
    assert_eq!(cut.len(), 127);
}

#[test]
fn an_incomplete_gguf_form_is_refused() {
    let whole = [("x.in_sum2", vec![2], &[4.0, 8.0][..]), ("x.counts", vec![1], &[2.0][..])];
    for key in ["imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"] {
        let mut gguf = gguf_with(&whole);
        gguf.metadata.retain(|(k, _)| k != key);
        assert!(Importance::from_gguf(&gguf).unwrap_err().message().contains(key));
    }
    assert!(Importance::from_gguf(&gguf_with(&[])).is_err());
    assert!(Importance::from_gguf(&gguf_with(&whole[..1])).is_err());
    assert!(Importance::from_gguf(&gguf_with(&whole[1..])).is_err());
    let uneven = gguf_with(&[("x.in_sum2", vec![3], &[1.0; 3]), ("x.counts", vec![2], &[1.0; 2])]);
    assert!(Importance::from_gguf(&uneven).unwrap_err().message().contains("do not divide"));
    let none = gguf_with(&[("x.in_sum2", vec![2], &[1.0; 2]), ("x.counts", vec![0], &[])]);
    assert!(Importance::from_gguf(&none).is_err());
    let mut wrong = gguf_with(&whole);
    wrong.tensors[0].1 = Tensor::from_i64(vec![2], &[1, 2]).unwrap();
    assert!(Importance::from_gguf(&wrong).unwrap_err().message().contains("must be f32"));
}

const fn def(name: &'static str, importance: Use) -> BlockDef {
    BlockDef {
        name,
        ggml_id: 1000,
        revision: 1,
        slow: true,
        block_len: 2,
        block_bytes: 1,
        importance,
        encode: |_, _, _, _, _| {},
        decode: |_, _| {},
    }
}
static IQ3_XXS: BlockDef = def("iq3_xxs", Use::Optional);
static IQ2_XS: BlockDef = def("iq2_xs", Use::Required);
static Q2_K: BlockDef = def("q2_k", Use::Optional);

#[test]
fn weights_are_found_missed_and_measured_by_length() {
    let bytes = legacy(&[entry("a", 1, &[1.0; 4]), entry("token_embd.weight", 1, &[1.0])], None);
    let matrix = Importance::from_legacy(&bytes).unwrap();
    let of = |matrix, name, shape: &[u64], def, file_type: Option<&str>| {
        let file_type = file_type.map(|t| by_name(t).unwrap());
        Importance::of_tensor(matrix, name, shape, DType::Block(def), file_type)
    };
    let some = Some(&matrix);
    assert_eq!(of(some, "a", &[9, 4], &Q2_K, None).unwrap().unwrap().len(), 4);
    assert_eq!(of(some, "a", &[2, 9, 2], &Q2_K, None).unwrap().unwrap().len(), 4);
    assert_eq!(of(some, "b", &[9, 4], &Q2_K, None).unwrap(), None);
    let error = of(some, "a", &[9, 6], &Q2_K, None).unwrap_err();
    assert!(error.message().contains("4 weights") && error.message().contains("6 columns"));
    assert_eq!(error.place().item.as_deref(), Some("a"));
    assert_eq!(of(some, "token_embd.weight", &[9, 4], &Q2_K, None).unwrap(), None);
    assert!(of(some, "b", &[9, 4], &IQ3_XXS, None).is_err());
    assert!(of(None, "b", &[9, 4], &IQ3_XXS, None).is_err());
    assert_eq!(of(None, "output.weight", &[9, 4], &IQ3_XXS, None).unwrap(), None);
    assert!(of(None, "output.weight", &[9, 4], &IQ2_XS, None).is_err());
    assert!(of(None, "b", &[9, 4], &Q2_K, Some("q2_k_s")).is_err());
    assert_eq!(of(None, "b", &[9, 4], &Q2_K, Some("q2_k")).unwrap(), None);
    assert_eq!(Importance::of_tensor(some, "a", &[1], DType::F16, None).unwrap(), None);
}
