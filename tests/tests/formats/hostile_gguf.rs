//! GGUF and GGML files that lie, each made by hand, and what the readers say of them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use model_build::format::{ggml, gguf};
use model_build::{Error, ErrorKind};

/// A file being made by hand: version 3, little-endian.
#[derive(Clone, Default)]
pub(super) struct File {
    pairs: Vec<Vec<u8>>,
    infos: Vec<Vec<u8>>,
    data: Vec<u8>,
}

fn text(s: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = (s.as_ref().len() as u64).to_le_bytes().to_vec();
    out.extend_from_slice(s.as_ref());
    out
}

impl File {
    pub(super) fn pair(mut self, key: impl AsRef<[u8]>, kind: u32, value: &[u8]) -> Self {
        let mut pair = text(key);
        pair.extend_from_slice(&kind.to_le_bytes());
        pair.extend_from_slice(value);
        self.pairs.push(pair);
        self
    }
    pub(super) fn tensor(mut self, name: &str, dims: &[u64], kind: u32, offset: u64) -> Self {
        let mut info = text(name);
        info.extend_from_slice(&u32::try_from(dims.len()).unwrap().to_le_bytes());
        info.extend(dims.iter().flat_map(|d| d.to_le_bytes()));
        info.extend_from_slice(&kind.to_le_bytes());
        info.extend_from_slice(&offset.to_le_bytes());
        self.infos.push(info);
        self
    }
    pub(super) fn data(mut self, len: usize) -> Self {
        self.data = vec![1; len];
        self
    }
    pub(super) fn counted(&self, tensors: u64, pairs: u64) -> Vec<u8> {
        let mut out = b"GGUF\x03\0\0\0".to_vec();
        out.extend_from_slice(&tensors.to_le_bytes());
        out.extend_from_slice(&pairs.to_le_bytes());
        out.extend(self.pairs.concat());
        out.extend(self.infos.concat());
        out.resize(out.len().next_multiple_of(32), 0);
        out.extend_from_slice(&self.data);
        out
    }
    pub(super) fn done(&self) -> Vec<u8> {
        self.counted(self.infos.len() as u64, self.pairs.len() as u64)
    }
}

fn f() -> File {
    File::default()
}

/// The error, which came soon.
#[track_caller]
fn refused(bytes: impl Into<Bytes>) -> Error {
    let start = Instant::now();
    let error = gguf::from_bytes(&bytes.into()).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(1));
    error
}

#[track_caller]
fn says(bytes: Vec<u8>, words: &[&str]) {
    let error = refused(bytes);
    for word in words {
        assert!(error.to_string().contains(word), "{error} does not say {word:?}");
    }
}

/// An array's type and count, then its elements.
fn array(kind: u32, count: u64, rest: &[u8]) -> Vec<u8> {
    let mut out = kind.to_le_bytes().to_vec();
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(rest);
    out
}

#[test]
fn the_file_made_by_hand_is_accepted_before_it_is_damaged() {
    let file = f().pair("a", 4, &[1, 0, 0, 0]).tensor("w", &[2, 3], 0, 0).tensor("v", &[1], 0, 32);
    let read = gguf::from_bytes(&file.data(36).done().into()).unwrap();
    assert_eq!(read.tensor("w").unwrap().shape(), [3, 2]);
}

#[test]
fn every_prefix_of_a_file_is_refused() {
    let whole = std::fs::read(super::fixtures("gguf").join("values.gguf")).unwrap();
    let last = whole.iter().rposition(|b| *b != 0).unwrap();
    for len in 0..last {
        refused(whole[..len].to_vec());
    }
    says(Vec::new(), &["empty"]);
    says(b"PK\x03\x04....".to_vec(), &["starts with `GGUF`", "PK"]);
    says(b"lmgg....".to_vec(), &["starts with `GGUF`", "lmgg"]);
}

#[test]
fn versions_that_do_not_exist_are_refused() {
    for version in [0u32, 4, 77, 4 << 24, u32::MAX] {
        let mut bytes = f().done();
        bytes[4..8].copy_from_slice(&version.to_le_bytes());
        let error = refused(bytes);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("version"), "{error}");
    }
}

#[test]
fn counts_past_the_end_are_refused_before_anything_is_allocated() {
    for count in [1, 1 << 31, 1 << 62, u64::MAX] {
        says(f().counted(0, count), &["key/values", &count.to_string(), "the header"]);
        says(f().counted(count, 0), &["tensors", &count.to_string(), "the header"]);
        for kind in 0..13 {
            let bytes = f().pair("a", 9, &array(kind, count.max(1 << 31), &[])).done();
            says(bytes, &["key `a`", "offset 24", "truncated"]);
        }
    }
    for len in [1 << 31, 1 << 62, u64::MAX] {
        let mut bytes = f().pair("a", 8, &len.to_le_bytes()).done();
        says(bytes.clone(), &["key `a`", "truncated", &len.to_string()]);
        bytes[24..32].copy_from_slice(&len.to_le_bytes());
        says(bytes, &["the key", "offset 24", &len.to_string()]);
    }
}

#[test]
fn more_entries_than_any_model_has_are_refused() {
    let zeros = vec![0; 80_000_000];
    let mut bytes = f().counted(1 << 20, 0);
    bytes.extend_from_slice(&zeros);
    assert_eq!(refused(bytes).kind(), ErrorKind::Unsupported);
    let mut bytes = f().counted(0, 1 << 20);
    bytes.extend_from_slice(&zeros);
    assert_eq!(refused(bytes).kind(), ErrorKind::Unsupported);
    for (kind, each) in [(8, 8), (9, 12)] {
        let count = 80_000_000 / each;
        let bytes = f().pair("a", 9, &array(kind, count, &zeros)).done();
        let error = refused(bytes);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("key `a`"), "{error}");
    }
}

#[test]
fn arrays_nested_without_end_are_refused_by_key() {
    let mut inner = array(0, 0, &[]);
    for _ in 0..10_000 {
        inner = array(9, 1, &inner);
    }
    says(f().pair("a", 9, &inner).done(), &["key `a`", "nested"]);
}

#[test]
fn values_that_are_none_are_refused_by_key() {
    says(f().pair("a", 7, &[2]).done(), &["key `a`", "offset 24", "boolean", "2"]);
    says(f().pair("a", 9, &array(7, 2, &[1, 255])).done(), &["key `a`", "boolean", "255"]);
    says(f().pair("a", 13, &[0; 8]).done(), &["key `a`", "value type", "13"]);
    says(f().pair("a", 9, &array(77, 1, &[0; 8])).done(), &["key `a`", "value type", "77"]);
}

#[test]
fn names_that_are_empty_twice_there_or_no_text_are_refused() {
    says(f().pair("", 0, &[1]).done(), &["the key", "empty", "offset 24"]);
    says(f().pair("a\0b", 0, &[1]).done(), &["the key", "NUL"]);
    says(f().pair([0xff, 0xfe], 0, &[1]).done(), &["the key", "UTF-8"]);
    says(f().pair("a", 0, &[1]).pair("a", 0, &[1]).done(), &["key `a`", "twice", "offset 38"]);
    let t = |name| f().tensor(name, &[1], 0, 0).data(4).done();
    says(t(""), &["tensor", "empty"]);
    says(t("a\0"), &["tensor", "NUL"]);
    let twice = f().tensor("w", &[1], 0, 0).tensor("w", &[1], 0, 32).data(64).done();
    says(twice, &["tensor `w`", "one name"]);
}

#[test]
fn alignments_that_are_none_are_refused() {
    let with = |kind: u32, value: &[u8]| {
        f().pair("general.alignment", kind, value).tensor("w", &[1], 0, 0).data(4).done()
    };
    for bad in [0u32, 3, 33, 1 << 31, u32::MAX] {
        says(with(4, &bad.to_le_bytes()), &["general.alignment", &bad.to_string()]);
    }
    says(with(8, &text("32")), &["general.alignment"]);
    says(with(10, &32u64.to_le_bytes()), &["general.alignment"]);
}

#[test]
fn tensors_past_the_end_misaligned_or_overlapping_are_refused_by_name() {
    let one = |dims: &[u64], offset| f().tensor("w", dims, 0, offset).data(64).done();
    says(one(&[17], 0), &["tensor `w`", "offset 24", "68 bytes", "past"]);
    says(one(&[16], 32), &["tensor `w`", "past"]);
    for offset in [1 << 62, u64::MAX - 31] {
        says(one(&[1], offset), &["tensor `w`", "past"]);
    }
    says(one(&[1], 4), &["tensor `w`", "no multiple"]);
    says(one(&[1], u64::MAX), &["tensor `w`", "no multiple"]);
    let two = |first: u64, second| {
        f().tensor("w", &[first], 0, 0).tensor("v", &[2], 0, second).data(96).done()
    };
    says(two(9, 32), &["tensor `v`", "overlaps", "`w`"]);
    says(two(1, 0), &["tensor `v`", "overlaps", "`w`"]);
    assert!(gguf::from_bytes(&two(8, 32).into()).is_ok());
    let nothing = f().tensor("w", &[0], 0, 0).tensor("v", &[2], 0, 0).data(8).done();
    assert!(gguf::from_bytes(&nothing.into()).is_ok(), "an empty tensor overlaps nothing");
}

#[test]
fn shapes_that_are_impossible_are_refused_by_name() {
    let shaped = |dims: &[u64]| f().tensor("w", dims, 0, 0).data(64).done();
    says(shaped(&[1, 1, 1, 1, 1]), &["tensor `w`", "5 dimensions"]);
    for dims in [&[1 << 32, 1 << 32][..], &[u64::MAX], &[1 << 63], &[1 << 16; 4]] {
        says(shaped(dims), &["tensor `w`", "2^63"]);
    }
    says(shaped(&[1 << 62]), &["tensor `w`"]);
    let mut bytes = shaped(&[1]);
    bytes[33..37].copy_from_slice(&u32::MAX.to_le_bytes());
    says(bytes, &["tensor `w`", "dimensions"]);
    assert!(gguf::from_bytes(&f().tensor("w", &[], 0, 0).data(4).done().into()).is_ok());
}

#[test]
fn element_types_that_are_gone_or_unknown_are_refused_by_name_and_number() {
    let typed = |kind| refused(f().tensor("w", &[256], kind, 0).data(4096).done());
    for (kind, name) in [
        (4, "Q4_2"),
        (5, "Q4_3"),
        (31, "Q4_0_4_4"),
        (32, "Q4_0_4_8"),
        (33, "Q4_0_8_8"),
        (36, "IQ4_NL_4_4"),
        (37, "IQ4_NL_4_8"),
        (38, "IQ4_NL_8_8"),
    ] {
        let error = typed(kind);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let message = error.to_string();
        assert!(message.contains(name) && message.contains("tensor `w`"), "{message}");
        assert_eq!(error.hints().len(), 1);
    }
    for kind in [9, 15, 1000, u32::MAX] {
        let error = typed(kind).to_string();
        assert!(error.contains(&kind.to_string()) && error.contains("tensor `w`"), "{error}");
    }
}

/// Files that are broken at the very end of as large a header as is read.
fn broken_late() -> [Vec<u8>; 2] {
    let strings = array(8, 1 << 20, &vec![0; 8 << 20]);
    let nested = array(9, 1 << 20, &array(0, 0, &[]).repeat(1 << 20));
    [strings, nested].map(|elements| {
        let mut file = f().pair("a", 9, &elements);
        for i in 1..1 << 14 {
            file = file.pair(format!("{i:05}"), 0, &[1]);
        }
        for i in 1..1 << 16 {
            file = file.tensor(&format!("{i:05}"), &[0], 0, 0);
        }
        file.tensor("w", &[0], 99, 0).done()
    })
}

/// A line of `/proc/self/status`, in bytes.
fn status(line: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|l| l.strip_prefix(line))?.split_whitespace().next()?;
    Some(kib.parse::<u64>().ok()? * 1024)
}

#[test]
fn a_file_that_is_refused_late_took_less_than_64_megabytes() {
    const FILE: &str = "MODEL_BUILD_TEST_FILE";
    let test = "hostile_gguf::a_file_that_is_refused_late_took_less_than_64_megabytes";
    if let Some(path) = std::env::var_os(FILE) {
        let file = Bytes::from(std::fs::read(path).unwrap());
        let before = status("VmRSS:");
        assert!(gguf::from_bytes(&file).is_err());
        match before.zip(status("VmHWM:")) {
            Some((before, peak)) => println!("took {} bytes", peak - before),
            None => println!("skipped: this system does not tell the memory of a process"),
        }
        return;
    }
    // Each file alone in a process of its own.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("late.gguf");
    for file in broken_late() {
        std::fs::write(&path, &file).unwrap();
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let child = child.args(["--exact", test, "--nocapture"]).env(FILE, &path);
        let output = child.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
        let took = said.split_once("took ").and_then(|(_, rest)| rest.split(' ').next());
        let took = took.map_or(0, |n| n.parse::<u64>().unwrap());
        assert!(took < 64_000_000 || said.contains("skipped"), "{took} for {} bytes", file.len());
        println!("{took} bytes for a file of {}", file.len());
    }
}

#[track_caller]
fn ggml_says(bytes: &[u8], words: &[&str]) {
    let start = Instant::now();
    let error = ggml::from_bytes(&Bytes::copy_from_slice(bytes), "m.bin").unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(1));
    for word in words {
        assert!(error.to_string().contains(word), "{error} does not say {word:?}");
    }
}

fn ggml_fixture(name: &str) -> Vec<u8> {
    std::fs::read(super::fixtures("ggml").join(name)).unwrap()
}

#[test]
fn every_prefix_of_a_legacy_file_is_refused() {
    for name in
        ["llama-ggml.bin", "llama-ggmf.bin", "llama-ggjt3.bin", "whisper-f16.bin", "silero.bin"]
    {
        let whole = ggml_fixture(name);
        let step = (whole.len() / 500).max(1);
        for len in (0..whole.len()).step_by(step).chain([whole.len() - 1]) {
            let cut = Bytes::copy_from_slice(&whole[..len]);
            // A cut between two tensors leaves a smaller model.
            if let Ok(read) = ggml::from_bytes(&cut, name) {
                assert!(read.tensors.len() < 12, "{name} {len}");
            }
        }
        let mut longer = whole;
        longer.push(0);
        ggml_says(&longer, &["truncated"]);
    }
}

#[test]
fn legacy_files_that_lie_are_refused() {
    let whole = ggml_fixture("llama-ggjt3.bin");
    let with = |at: usize, value: u32| {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    ggml_says(&with(4, 4), &["version 4"]);
    ggml_says(&with(8, u32::MAX), &["vocabulary", "4294967295"]);
    ggml_says(&with(8, 269), &["offset"]);
    ggml_says(&with(12, 31), &["not those of a LLaMA model"]);
    ggml_says(&with(20, 0), &["not those of a LLaMA model"]);
    ggml_says(&with(32, 77), &["not those of a LLaMA model"]);
    ggml_says(&with(36, u32::MAX), &["token 0", "offset 36"]);
    let first = whole.windows(14).position(|w| w == b"tok_embeddings").unwrap();
    let head = first - 20;
    ggml_says(&with(head, 5), &["5 dimensions", "offset"]);
    ggml_says(&with(head + 4, 0), &["name of 0 bytes"]);
    ggml_says(&with(head + 4, u32::MAX), &["name of 4294967295 bytes"]);
    ggml_says(&with(head + 8, 4), &["Q4_2", "tensor `tok_embeddings.weight`"]);
    ggml_says(&with(head + 12, u32::MAX), &["tensor `tok_embeddings.weight`", "truncated"]);
    ggml_says(&with(head + 12, 0), &["offset"]);
    ggml_says(b"algg\x01\0\0\0", &["adapter"]);
    ggml_says(b"GGUF", &["`GGUF`"]);
    ggml_says(b"lmgg", &["not known here"]);
    ggml_says(&[b"lmgg".as_slice(), &[7; 100]].concat(), &["not known here"]);
    let mut part = whole.clone();
    part[first..first + 14].copy_from_slice(b"tok_embeddingz");
    ggml_says(&part, &["tok_embeddings.weight", "lacks"]);
}
