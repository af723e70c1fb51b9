//! safetensors files that lie, each made by hand, and what the reader says of them.

use std::path::Path;

use bytes::Bytes;
use model_build::format::{self, safetensors};
use model_build::hub::{Checkpoint, DType, Hub};
use model_build::{Error, ErrorKind};

/// A file with that header and that many bytes of data.
pub(super) fn file(header: &str, data: usize) -> Vec<u8> {
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend_from_slice(header.as_bytes());
    out.extend((0..data).map(|i| u8::try_from(i % 256).unwrap()));
    out
}

fn refused(bytes: Vec<u8>) -> String {
    let error = safetensors::from_bytes(&Bytes::from(bytes)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
    error.to_string()
}

#[track_caller]
fn says(bytes: Vec<u8>, words: &[&str]) {
    let message = refused(bytes);
    for word in words {
        assert!(message.contains(word), "{message:?} does not say {word:?}");
    }
}

#[test]
fn every_prefix_of_a_file_is_refused() {
    let whole = file(r#"{"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#, 16);
    assert!(safetensors::from_bytes(&Bytes::from(whole.clone())).is_ok());
    for len in 0..whole.len() {
        refused(whole[..len].to_vec());
    }
}

#[test]
fn a_file_of_zero_length_is_refused() {
    says(Vec::new(), &["empty"]);
}

#[test]
fn a_header_longer_than_the_cap_is_refused_before_anything_is_read() {
    let mut bytes = u64::MAX.to_le_bytes().to_vec();
    bytes.extend([b'{', b'}']);
    says(bytes, &["header", "18446744073709551615"]);
    says(100_000_001u64.to_le_bytes().to_vec(), &["header", "100000001"]);
}

#[test]
fn a_header_longer_than_the_file_is_refused_as_truncated() {
    let mut bytes = 1000u64.to_le_bytes().to_vec();
    bytes.extend_from_slice(b"{}");
    says(bytes, &["truncated", "header"]);
}

#[test]
fn overlapping_tensors_are_refused_by_name() {
    let header = r#"{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[8],"data_offsets":[4,12]}}"#;
    says(file(header, 12), &["`b`", "inside"]);
}

#[test]
fn a_gap_between_tensors_is_refused_by_name() {
    let header = r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[8,12]}}"#;
    says(file(header, 12), &["`b`", "belong to no tensor"]);
}

#[test]
fn bytes_after_the_last_tensor_are_refused() {
    let header = r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#;
    says(file(header, 5), &["take 4 bytes", "5 follow"]);
}

#[test]
fn data_past_the_end_is_refused_by_name() {
    let header = r#"{"a":{"dtype":"U8","shape":[400],"data_offsets":[0,400]}}"#;
    says(file(header, 4), &["`a`", "400", "4 bytes follow"]);
    let header =
        format!(r#"{{"a":{{"dtype":"U8","shape":[{0}],"data_offsets":[0,{0}]}}}}"#, u64::MAX);
    says(file(&header, 4), &["`a`"]);
}

#[test]
fn offsets_that_run_backwards_are_refused_by_name() {
    let header = r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[4,0]}}"#;
    says(file(header, 4), &["`a`", "before it begins"]);
}

#[test]
fn a_key_given_twice_is_refused_by_name() {
    let one = r#""a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}"#;
    says(file(&format!("{{{one},{one}}}"), 4), &["`a`", "twice"]);
    let meta = r#""__metadata__":{"k":"v"}"#;
    says(file(&format!("{{{meta},{meta},{one}}}"), 4), &["__metadata__", "twice"]);
    let meta = r#""__metadata__":{"k":"v","k":"w"}"#;
    says(file(&format!("{{{meta},{one}}}"), 4), &["`k`", "twice"]);
}

#[test]
fn a_shape_that_is_not_the_length_is_refused_by_name() {
    let header = r#"{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,8]}}"#;
    says(file(header, 8), &["`a`", "[2, 2]", "16", "8"]);
    let header =
        format!(r#"{{"a":{{"dtype":"F32","shape":[{0},{0}],"data_offsets":[0,8]}}}}"#, 1u64 << 40);
    says(file(&header, 8), &["`a`"]);
}

#[test]
fn an_unknown_element_type_is_refused_by_name() {
    says(file(r#"{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}"#, 4), &["`a`", "`F33`"]);
}

#[test]
fn a_header_that_is_no_object_of_tensors_is_refused() {
    for header in ["", "[]", "{", "null", r#"{"a":1}"#, r#"{"a":{"dtype":"U8"}}"#, "{\"\u{1}\":1}"]
    {
        says(file(header, 4), &["header is not valid"]);
    }
    let negative = r#"{"a":{"dtype":"U8","shape":[-4],"data_offsets":[0,4]}}"#;
    says(file(negative, 4), &["header is not valid", "`a`"]);
    let deep = "[".repeat(100_000);
    says(file(&deep, 0), &["header is not valid"]);
    let mut bytes = file(r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#, 4);
    bytes[10] = 0xff;
    says(bytes, &["header is not valid"]);
}

#[test]
fn weights_that_are_nan_are_bytes_like_any_others() {
    let mut bytes = file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 0);
    bytes.extend([0xff; 8]);
    let read = safetensors::from_bytes(&Bytes::from(bytes)).unwrap();
    assert!(read.tensors["a"].to_f32().unwrap().iter().all(|v| v.is_nan()));
}

#[test]
fn tensors_are_slices_of_the_file() {
    let bytes = Bytes::from(file(r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#, 4));
    let read = safetensors::from_bytes(&bytes).unwrap();
    let slice = read.tensors["a"].ready_bytes().unwrap();
    assert_eq!(slice.as_ptr(), bytes[bytes.len() - 4..].as_ptr());
}

#[test]
fn every_element_type_of_the_crate_is_read() {
    use ::safetensors::Dtype as Theirs;
    let types = [
        (Theirs::BOOL, DType::Bool),
        (Theirs::F4, DType::F4E2M1),
        (Theirs::F6_E2M3, DType::F6E2M3),
        (Theirs::F6_E3M2, DType::F6E3M2),
        (Theirs::U8, DType::U8),
        (Theirs::I8, DType::I8),
        (Theirs::F8_E5M2, DType::F8E5M2),
        (Theirs::F8_E4M3, DType::F8E4M3),
        (Theirs::F8_E8M0, DType::F8E8M0),
        (Theirs::F8_E4M3FNUZ, DType::F8E4M3Fnuz),
        (Theirs::F8_E5M2FNUZ, DType::F8E5M2Fnuz),
        (Theirs::I16, DType::I16),
        (Theirs::U16, DType::U16),
        (Theirs::F16, DType::F16),
        (Theirs::BF16, DType::BF16),
        (Theirs::I32, DType::I32),
        (Theirs::U32, DType::U32),
        (Theirs::F32, DType::F32),
        (Theirs::C64, DType::C64),
        (Theirs::F64, DType::F64),
        (Theirs::I64, DType::I64),
        (Theirs::U64, DType::U64),
    ];
    for (theirs, ours) in types {
        assert_eq!(theirs.bitsize() as u64, ours.bits());
        let data = vec![7u8; theirs.bitsize()];
        let view = ::safetensors::tensor::TensorView::new(theirs, vec![2, 4], &data).unwrap();
        let bytes = ::safetensors::serialize([("w", view)], None).unwrap();
        let read = safetensors::from_bytes(&Bytes::from(bytes)).unwrap();
        let tensor = &read.tensors["w"];
        assert_eq!((tensor.dtype(), tensor.shape()), (ours, [2, 4].as_slice()));
        assert_eq!(tensor.bytes().unwrap(), data);
    }
}

fn one(name: &str) -> Vec<u8> {
    file(&format!(r#"{{"{name}":{{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}}}"#), 4)
}

fn sharded(folder: &Path, map: &str, shards: &[(&str, &str)]) -> Result<Checkpoint, Error> {
    std::fs::write(
        folder.join("model.safetensors.index.json"),
        format!(r#"{{"metadata":{{}},"weight_map":{map}}}"#),
    )
    .unwrap();
    for (name, tensor) in shards {
        std::fs::write(folder.join(name), one(tensor)).unwrap();
    }
    let found = format::resolve(folder)?;
    assert_eq!(found.format.name, "safetensors");
    match (found.format.read.unwrap())(&found.files)? {
        Hub::Checkpoint(checkpoint) => Ok(checkpoint),
        _ => panic!("not a checkpoint"),
    }
}

#[test]
fn shards_are_read_together() {
    let dir = tempfile::tempdir().unwrap();
    let read = sharded(
        dir.path(),
        r#"{"a":"m-1.safetensors","b":"m-2.safetensors"}"#,
        &[("m-1.safetensors", "a"), ("m-2.safetensors", "b")],
    )
    .unwrap();
    assert_eq!(read.tensors.keys().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn a_missing_shard_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = sharded(
        dir.path(),
        r#"{"a":"m-1.safetensors","b":"m-2.safetensors"}"#,
        &[("m-1.safetensors", "a")],
    )
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Source);
    assert!(error.to_string().contains("m-2.safetensors"), "{error}");
}

#[test]
fn an_index_that_disagrees_with_its_shards_is_refused_by_tensor() {
    let both = [("m-1.safetensors", "a"), ("m-2.safetensors", "b")];
    let cases = [
        (r#"{"a":"m-1.safetensors","c":"m-2.safetensors"}"#, both, "`c`"),
        (r#"{"a":"m-2.safetensors","b":"m-1.safetensors"}"#, both, "`a`"),
        (
            r#"{"a":"m-1.safetensors","b":"m-2.safetensors"}"#,
            [("m-1.safetensors", "a"), ("m-2.safetensors", "a")],
            "two shards",
        ),
    ];
    for (map, shards, word) in cases {
        let dir = tempfile::tempdir().unwrap();
        let error = sharded(dir.path(), map, &shards).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn an_index_that_names_a_tensor_twice_or_a_shard_outside_is_refused() {
    for (map, word) in [
        (r#"{"a":"m-1.safetensors","a":"m-2.safetensors"}"#, "twice"),
        (r#"{"a":"../m-1.safetensors"}"#, "../m-1.safetensors"),
        (r#"{"a":"/m-1.safetensors"}"#, "/m-1.safetensors"),
        (r#"{"a":"config.json"}"#, "config.json"),
        (r#"{"a":1}"#, "not valid"),
        (r"[]", "not valid"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let error = sharded(dir.path(), map, &[("m-1.safetensors", "a")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
}
