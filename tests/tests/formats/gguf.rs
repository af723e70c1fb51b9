//! GGUF files of gguf-py and llama.cpp: read, and written again as the same bytes.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use model_build::ErrorKind;
use model_build::format::{self, WriteOptions, gguf};
use model_build::hub::{Blob, DType, Gguf, Hub, Meta, MetaArray, Segment, Tensor};
use model_build::quantize;

fn bytes(name: &str) -> Bytes {
    std::fs::read(super::fixtures("gguf").join(name)).unwrap().into()
}

pub(super) fn read(path: &Path) -> Result<Gguf, model_build::Error> {
    let found = format::resolve(path)?;
    assert_eq!(found.format.name, "gguf");
    match (found.format.read.unwrap())(&found.files)? {
        Hub::Gguf(gguf) => Ok(gguf),
        _ => panic!("no GGUF"),
    }
}

pub(super) fn content(blob: &Blob) -> Vec<u8> {
    let each = blob.segments.iter().map(|segment| match segment {
        Segment::Bytes(bytes) => bytes.clone(),
        Segment::Tensor(tensor) => tensor.bytes().unwrap(),
        Segment::Crc32(_) => panic!("GGUF has no checksums"),
    });
    each.flat_map(|b| b.to_vec()).collect()
}

/// Whether the block types of a fixture are there.
fn blocks(ids: &[u32]) -> bool {
    ids.iter().all(|id| quantize::by_ggml_id(*id).is_some())
}

fn write(gguf: &Gguf, options: &WriteOptions) -> Vec<Blob> {
    (gguf::GGUF.write.unwrap())(&Hub::Gguf(gguf.clone()), options).unwrap()
}

fn named(file_name: &str) -> WriteOptions {
    WriteOptions { file_name: file_name.to_owned(), ..WriteOptions::default() }
}

#[test]
fn files_of_the_anchors_are_written_again_as_the_same_bytes() {
    let files: &[(&str, &[u32])] = &[
        ("values.gguf", &[]),
        ("aligned.gguf", &[]),
        ("unaligned.gguf", &[]),
        ("bert-base-model-f16.gguf", &[]),
        ("llama-k256.imatrix.gguf", &[]),
        ("falcon-Q4_0.gguf", &[2, 14]),
        ("gemma3-Q4_K_M.gguf", &[6, 8, 12, 14]),
        ("blocks.gguf", &[2, 8, 12, 14, 35, 39, 40, 41]),
    ];
    for (name, ids) in files.iter().filter(|(_, ids)| blocks(ids)) {
        let file = bytes(name);
        let read = gguf::from_bytes(&file).unwrap_or_else(|e| panic!("{name} {ids:?}: {e}"));
        assert!(gguf::to_bytes(&read).unwrap() == file, "{name}");
        let written = write(&read, &named("m.gguf"));
        assert_eq!(written.len(), 1);
        assert!(content(&written[0]) == file, "{name}");
    }
}

#[test]
fn every_value_and_plain_tensor_type_is_read() {
    let read = gguf::from_bytes(&bytes("values.gguf")).unwrap();
    let text = |s: &str| Bytes::from(s.to_owned());
    let ints = |v: &[i32]| MetaArray::I32(v.to_vec());
    let texts = |v: &[&str]| MetaArray::Text(v.iter().map(|s| text(s)).collect());
    let want = [
        ("general.architecture", Meta::text("test")),
        ("t.u8", Meta::U8(200)),
        ("t.i8", Meta::I8(-100)),
        ("t.u16", Meta::U16(60000)),
        ("t.i16", Meta::I16(-30000)),
        ("t.u32", Meta::U32(4_000_000_000)),
        ("t.i32", Meta::I32(-2_000_000_000)),
        ("t.f32", Meta::F32(1.5)),
        ("t.yes", Meta::Bool(true)),
        ("t.no", Meta::Bool(false)),
        ("t.text", Meta::text("grüße")),
        ("t.u64", Meta::U64(1 << 63)),
        ("t.i64", Meta::I64(-(1 << 62))),
        ("t.f64", Meta::F64(0.1)),
        ("t.texts", Meta::Array(texts(&["a", "", "ß"]))),
        ("t.ints", Meta::Array(ints(&[1, -2, 3]))),
        ("t.floats", Meta::Array(MetaArray::F32(vec![1.0, 0.25]))),
        ("t.bools", Meta::Array(MetaArray::Bool(vec![true, false]))),
        ("t.bytes", Meta::Array(MetaArray::U8(vec![0, 255, 128]))),
        ("t.nested", Meta::Array(MetaArray::Array(vec![ints(&[1, 2]), ints(&[3])]))),
        (
            "t.deep",
            Meta::Array(MetaArray::Array(vec![MetaArray::Array(vec![
                texts(&["x"]),
                texts(&["y", "z"]),
            ])])),
        ),
    ];
    let found: Vec<_> = read.metadata.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
    assert_eq!(found, want);
    let types: Vec<_> = read.tensors.iter().map(|(n, t)| (n.as_str(), t.dtype())).collect();
    let want = [
        ("f32", DType::F32),
        ("f16", DType::F16),
        ("f64", DType::F64),
        ("i8", DType::I8),
        ("i16", DType::I16),
        ("i32", DType::I32),
        ("i64", DType::I64),
        ("bf16", DType::BF16),
    ];
    assert_eq!(types, want);
    assert_eq!(read.tensor("i8").unwrap().shape(), [2, 1, 5]);
    assert_eq!(read.tensor("bf16").unwrap().shape(), [3, 4]);
}

#[test]
fn big_endian_files_become_the_little_endian_ones() {
    for (name, ids) in
        [("values", [].as_slice()), ("blocks", [2, 8, 12, 14, 35, 39, 40, 41].as_slice())]
    {
        if !blocks(ids) {
            continue;
        }
        let big = gguf::from_bytes(&bytes(&format!("{name}_be.gguf"))).unwrap();
        assert!(gguf::to_bytes(&big).unwrap() == bytes(&format!("{name}.gguf")), "{name}");
        let (_, lazy) = big.tensors.iter().find(|(_, t)| t.ready_bytes().is_none()).unwrap();
        assert!(lazy.granularity() > 1);
    }
}

#[test]
fn versions_1_and_2_are_read() {
    for name in ["version1.gguf", "version2.gguf"] {
        let read = gguf::from_bytes(&bytes(name)).unwrap();
        assert_eq!(read.architecture(), Some("test"));
        assert_eq!(read.get("t.ints"), Some(&Meta::Array(MetaArray::I32(vec![-1, 2]))));
        let texts = MetaArray::Text(vec!["a".into(), "bc".into()]);
        assert_eq!(read.get("t.texts"), Some(&Meta::Array(texts)));
        let a = read.tensor("a").unwrap();
        assert_eq!(a.shape(), [2, 3]);
        assert_eq!(a.to_f32().unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(read.tensor("b").unwrap().to_f32().unwrap(), [7.5]);
        let again = gguf::to_bytes(&read).unwrap();
        assert_eq!(again[4], 3, "written as version 3");
        let again = gguf::from_bytes(&again.into()).unwrap();
        assert_eq!(again.metadata, read.metadata);
    }
}

#[test]
fn tensors_are_slices_of_the_file() {
    let file = bytes("aligned.gguf");
    let read = gguf::from_bytes(&file).unwrap();
    let last = read.tensor("c").unwrap().ready_bytes().unwrap();
    assert_eq!(last.as_ptr(), file[768..].as_ptr());
}

#[test]
fn recorded_key_values_stand_at_the_end_and_replace_what_was_there() {
    let read = gguf::from_bytes(&bytes("aligned.gguf")).unwrap();
    let record = |value: &str| WriteOptions {
        metadata: vec![("model_build.recipe".to_owned(), value.to_owned())],
        ..named("m.gguf")
    };
    let once = content(&write(&read, &record("one"))[0]);
    let once = gguf::from_bytes(&once.into()).unwrap();
    let last = ("model_build.recipe".to_owned(), Meta::text("one"));
    assert_eq!(once.metadata.last(), Some(&last));
    let twice = content(&write(&once, &record("two"))[0]);
    let twice = gguf::from_bytes(&twice.into()).unwrap();
    assert_eq!(twice.metadata.len(), once.metadata.len());
    assert_eq!(twice.get("model_build.recipe"), Some(&Meta::text("two")));
}

#[test]
fn what_gguf_cannot_express_is_refused_by_tensor() {
    let refused = |dtype: DType, shape: &[u64], len: usize| {
        let tensor = Tensor::new(dtype, shape.to_vec(), vec![0; len].into()).unwrap();
        let model = Gguf { metadata: vec![], tensors: vec![("w".to_owned(), tensor)] };
        let error = gguf::to_bytes(&model).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("tensor `w`"), "{error}");
    };
    refused(DType::U8, &[2], 2);
    refused(DType::F8E4M3, &[2], 2);
    refused(DType::F32, &[1, 1, 1, 1, 1], 4);
}

/// A model of tensors of those many f32 elements.
fn model(lens: &[u64]) -> Gguf {
    let tensor = |(i, len): (usize, &u64)| {
        let values: Vec<f32> =
            (0u16..).map(f32::from).take(usize::try_from(*len).unwrap()).collect();
        (format!("t{i}"), Tensor::from_f32(vec![*len], &values).unwrap())
    };
    Gguf {
        metadata: vec![("general.architecture".to_owned(), Meta::text("test"))],
        tensors: lens.iter().enumerate().map(tensor).collect(),
    }
}

fn put(folder: &Path, blobs: &[Blob]) -> Vec<PathBuf> {
    let one = |blob: &Blob| {
        let path = folder.join(&blob.name);
        std::fs::write(&path, content(blob)).unwrap();
        path
    };
    blobs.iter().map(one).collect()
}

fn split(lens: &[u64], most: u64) -> (Gguf, Vec<Blob>) {
    let model = model(lens);
    let options = WriteOptions { split_max_size: Some(most), ..named("a.gguf") };
    let blobs = write(&model, &options);
    (model, blobs)
}

#[test]
fn a_split_model_reads_as_one_from_any_part_and_from_its_folder() {
    // 32, 64, 32, 96 and 32 bytes with the padding.
    let (whole, blobs) = split(&[3, 16, 8, 20, 1], 128);
    let names: Vec<&str> = blobs.iter().map(|b| b.name.as_str()).collect();
    assert_eq!(names, ["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"]);
    let first = gguf::from_bytes(&content(&blobs[0]).into()).unwrap();
    assert_eq!(first.tensors.len(), 3);
    let keys: Vec<_> = first.metadata.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
    let want = [
        ("general.architecture", Meta::text("test")),
        ("split.no", Meta::U16(0)),
        ("split.count", Meta::U16(2)),
        ("split.tensors.count", Meta::I32(5)),
    ];
    assert_eq!(keys, want);
    let second = gguf::from_bytes(&content(&blobs[1]).into()).unwrap();
    assert_eq!(second.metadata.len(), 3);
    assert_eq!(second.get("split.no"), Some(&Meta::U16(1)));

    let dir = tempfile::tempdir().unwrap();
    let mut paths = put(dir.path(), &blobs);
    paths.push(dir.path().to_owned());
    std::fs::write(dir.path().join("mmproj-a.gguf"), b"GGUF").unwrap();
    for path in &paths {
        let read = read(path).unwrap();
        assert!(gguf::to_bytes(&read).unwrap() == gguf::to_bytes(&whole).unwrap());
    }
}

#[test]
fn a_model_that_fits_is_not_split_and_a_tensor_that_does_not_is_named() {
    let (whole, blobs) = split(&[3, 16], 96);
    assert_eq!(blobs.len(), 1);
    assert_eq!(blobs[0].name, "a.gguf");
    assert!(content(&blobs[0]) == gguf::to_bytes(&whole).unwrap());
    let options = WriteOptions { split_max_size: Some(32), ..named("a.gguf") };
    let error = (gguf::GGUF.write.unwrap())(&Hub::Gguf(whole), &options).unwrap_err();
    assert!(error.to_string().contains("tensor `t1`"), "{error}");
    assert!(error.hints()[0].contains("64 bytes"), "{error:?}");
}

#[test]
fn parts_of_a_model_with_another_alignment_keep_it() {
    let mut whole = gguf::from_bytes(&bytes("aligned.gguf")).unwrap();
    let options = WriteOptions { split_max_size: Some(256), ..named("a.gguf") };
    let blobs = write(&whole, &options);
    assert_eq!(blobs.len(), 3);
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), &blobs);
    let read = read(dir.path()).unwrap();
    assert!(gguf::to_bytes(&read).unwrap() == bytes("aligned.gguf"));
    whole.set("general.alignment", Meta::U32(3));
    assert!(gguf::to_bytes(&whole).unwrap_err().to_string().contains("general.alignment"));
}

#[test]
fn parts_that_do_not_belong_together_are_refused_by_file() {
    let says = |damage: &dyn Fn(&Path), words: &[&str]| {
        let (_, blobs) = split(&[8, 8, 8], 32);
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), &blobs);
        damage(dir.path());
        let error = read(dir.path()).unwrap_err();
        for word in words {
            assert!(error.to_string().contains(word), "{error} does not say {word:?}");
        }
    };
    let part = |n: u32| format!("a-0000{n}-of-00003.gguf");
    let copy = |from: &Path, to: &Path| std::fs::write(to, std::fs::read(from).unwrap()).unwrap();
    says(&|d| std::fs::remove_file(d.join(part(2))).unwrap(), &["part 2 of 3", &part(2)]);
    says(&|d| std::fs::remove_file(d.join(part(1))).unwrap(), &["part 1 of 3", &part(1)]);
    says(&|d| copy(&d.join(part(3)), &d.join(part(2))), &[&part(2), "`split.no` is 2"]);
    let other = |d: &Path, lens: &[u64], most: u64| {
        let (_, blobs) = split(lens, most);
        std::fs::write(d.join(part(2)), content(&blobs[1])).unwrap();
    };
    says(&|d| other(d, &[8, 8], 32), &[&part(2), "`split.count` 2"]);
    says(&|d| other(d, &[8, 8, 4, 4], 32), &[&part(2), "`split.count`"]);
    says(&|d| other(d, &[16, 8, 8, 16], 64), &[&part(2), "`split.tensors.count`"]);
    let edit = |d: &Path, n: u32, change: &dyn Fn(&mut Gguf)| {
        let path = d.join(part(n));
        let mut read = gguf::from_bytes(&std::fs::read(&path).unwrap().into()).unwrap();
        change(&mut read);
        std::fs::write(&path, gguf::to_bytes(&read).unwrap()).unwrap();
    };
    says(&|d| edit(d, 2, &|g| g.tensors[0].0 = "t0".to_owned()), &[&part(2), "`t0`", "two parts"]);
    says(&|d| edit(d, 2, &|g| drop(g.tensors.pop())), &["3 tensors", "have 2"]);
    says(&|d| edit(d, 3, &|g| g.set("x", Meta::U8(1))), &[&part(3), "`x`"]);
    says(&|d| edit(d, 1, &|g| g.set("split.no", Meta::Bool(true))), &["`split.no`"]);
    says(&|d| std::fs::write(d.join("b.gguf"), b"").unwrap(), &["not clear", "b.gguf"]);
    says(&|d| copy(&d.join(part(1)), &d.join("a-00001-of-00002.gguf")), &["not clear"]);
}

#[test]
fn a_part_under_another_name_is_refused() {
    let (_, blobs) = split(&[8, 8, 8], 32);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, content(&blobs[0])).unwrap();
    let error = read(&path).unwrap_err();
    assert!(error.to_string().contains("`split.count` 3"), "{error}");
    assert!(error.hints()[0].contains("-00001-of-00003"), "{error:?}");
}

#[test]
fn a_file_without_the_ending_is_found_by_its_magic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blob");
    std::fs::write(&path, bytes("aligned.gguf")).unwrap();
    assert_eq!(read(&path).unwrap().tensors.len(), 3);
    std::fs::write(dir.path().join("a.gguf"), bytes("aligned.gguf")).unwrap();
    std::fs::write(dir.path().join("b.gguf"), bytes("aligned.gguf")).unwrap();
    let error = read(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Source);
    assert!(error.to_string().contains("a.gguf, b.gguf"), "{error}");
}
