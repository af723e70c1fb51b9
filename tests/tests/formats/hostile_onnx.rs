//! ONNX files that lie, each made by hand byte by byte, and what the reader says of them.

use std::os::unix::fs::symlink;
use std::path::Path;

use bytes::Bytes;
use model_build::ErrorKind;
use model_build::format::onnx;

/// A protobuf message being made by hand.
#[derive(Clone, Default)]
struct Message(Vec<u8>);

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f | 0x80).try_into().unwrap());
        value >>= 7;
    }
    out.push(value.try_into().unwrap());
}

impl Message {
    fn int(mut self, field: u64, value: i64) -> Self {
        varint(field << 3, &mut self.0);
        varint(value.cast_unsigned(), &mut self.0);
        self
    }
    fn bytes(mut self, field: u64, value: impl AsRef<[u8]>) -> Self {
        varint(field << 3 | 2, &mut self.0);
        varint(value.as_ref().len() as u64, &mut self.0);
        self.0.extend_from_slice(value.as_ref());
        self
    }
    fn message(self, field: u64, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }
}

fn m() -> Message {
    Message::default()
}

/// A model around a graph.
fn model(graph: &Message) -> Vec<u8> {
    m().int(1, 8).message(8, &m().int(2, 17)).message(7, graph).0
}

/// A graph `x → Relu → y` with more fields.
fn graph() -> Message {
    m().message(1, &node("Relu", &["x"], &["y"]))
        .bytes(2, "g")
        .message(11, &m().bytes(1, "x"))
        .message(12, &m().bytes(1, "y"))
}

fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> Message {
    let start = inputs.iter().fold(m(), |n, i| n.bytes(1, i));
    outputs.iter().fold(start, |n, o| n.bytes(2, o)).bytes(4, op)
}

/// An f32 tensor `w` of that shape, without contents.
fn tensor(dims: &[i64]) -> Message {
    dims.iter().fold(m(), |t, d| t.int(1, *d)).int(2, 1).bytes(8, "w")
}

fn external(t: Message, pairs: &[(&str, &str)]) -> Message {
    pairs.iter().fold(t, |t, (k, v)| t.message(13, &m().bytes(1, k).bytes(2, v))).int(14, 1)
}

#[track_caller]
fn says(bytes: Vec<u8>, words: &[&str]) {
    let error = onnx::from_bytes(&Bytes::from(bytes)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{error} does not say {word:?}");
    }
}

#[test]
fn the_file_made_by_hand_is_accepted_before_it_is_damaged() {
    let bytes = model(&graph().message(5, &tensor(&[2]).bytes(9, [0; 8])));
    let read = onnx::from_bytes(&Bytes::from(bytes)).unwrap();
    assert_eq!(read.body.nodes().count(), 1);
    assert_eq!(read.body.initializers().count(), 1);
}

#[test]
fn every_prefix_of_a_file_is_refused() {
    let path = super::fixtures("onnx").join("nested_subgraphs.onnx");
    let whole = std::fs::read(path).unwrap();
    for len in 0..whole.len() {
        // A cut between the top-level fields leaves a smaller model.
        if let Ok(graph) = onnx::from_bytes(&Bytes::copy_from_slice(&whole[..len])) {
            assert!(graph.opsets.len() <= 1 && graph.body.nodes().count() == 1, "{len}");
        }
    }
    says(Vec::new(), &["no ir_version"]);
    says(whole[..whole.len() / 2].to_vec(), &["not a valid ONNX file"]);
}

#[test]
fn bytes_that_are_no_protobuf_are_refused() {
    says(b"PK\x03\x04 this is a zip file".to_vec(), &["not a valid ONNX file"]);
    says(vec![0xff; 64], &["not a valid ONNX file"]);
}

#[test]
fn a_model_without_a_graph_is_refused() {
    says(m().int(1, 8).0, &["no graph"]);
}

#[test]
fn a_length_past_the_end_is_refused() {
    let mut bytes = m().int(1, 8).0;
    varint(7 << 3 | 2, &mut bytes);
    varint(u64::MAX, &mut bytes);
    says(bytes, &["not a valid ONNX file"]);
}

#[test]
fn subgraphs_nested_without_end_are_refused() {
    let mut inner = graph();
    for _ in 0..2000 {
        let attribute = m().bytes(1, "body").int(20, 5).message(6, &inner);
        inner = m().message(1, &node("Loop", &[], &["y"]).message(5, &attribute));
    }
    let error = onnx::from_bytes(&Bytes::from(model(&inner))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("nested too deeply"), "{error}");
}

#[test]
fn a_tensor_whose_contents_are_not_its_shapes_is_refused_by_name() {
    says(model(&graph().message(5, &tensor(&[3]).bytes(9, [0; 8]))), &["`w`", "[3]", "12", "8"]);
    says(model(&graph().message(5, &tensor(&[3]))), &["`w`", "12", "0 are given"]);
    // float_data, packed.
    says(model(&graph().message(5, &tensor(&[3]).bytes(4, [0; 8]))), &["`w`", "12", "8"]);
    says(model(&graph().message(5, &tensor(&[2]).int(7, 1).int(7, 2))), &["`w`", "int64_data"]);
    let twice = tensor(&[2]).bytes(9, [0; 8]).bytes(4, [0; 8]);
    says(model(&graph().message(5, &twice)), &["`w`", "twice"]);
}

#[test]
fn a_tensor_of_impossible_shape_is_refused_by_name_and_nothing_is_allocated() {
    says(model(&graph().message(5, &tensor(&[-1]).bytes(9, []))), &["`w`", "negative"]);
    let huge = tensor(&[1 << 40, 1 << 40]).bytes(9, []);
    says(model(&graph().message(5, &huge)), &["`w`", "2^64"]);
    says(model(&graph().message(5, &tensor(&[1 << 50]).bytes(9, []))), &["`w`", "0 are given"]);
    let strings = m().int(1, 1 << 50).int(2, 8).bytes(8, "w").bytes(6, "one");
    says(model(&graph().message(5, &strings)), &["`w`", "1 are given"]);
}

#[test]
fn an_element_type_that_does_not_exist_is_refused_by_name() {
    let bytes = model(&graph().message(5, &m().int(2, 99).bytes(8, "w")));
    let error = onnx::from_bytes(&Bytes::from(bytes)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("99") && error.to_string().contains("`w`"), "{error}");
    says(model(&graph().message(5, &m().bytes(8, "w"))), &["`w`", "element type is missing"]);
}

#[test]
fn a_number_outside_its_type_is_refused_by_tensor() {
    let t = m().int(1, 1).int(2, 2).bytes(8, "w").int(5, 256);
    says(model(&graph().message(5, &t)), &["`w`", "256", "u8"]);
}

#[test]
fn names_given_twice_are_refused_by_name() {
    says(model(&graph().message(11, &m().bytes(1, "x"))), &["x", "one name"]);
    let relu = node("Relu", &["x"], &["y"]).bytes(3, "second");
    says(model(&graph().message(1, &relu)), &["`y`", "produced twice", "`second`"]);
    let w = tensor(&[2]).bytes(9, [0; 8]);
    says(model(&graph().message(5, &w).message(5, &w)), &["`w`", "one name"]);
    let neg = node("Neg", &["x"], &["w"]);
    says(model(&graph().message(5, &w).message(1, &neg)), &["`w`", "node's output"]);
    let attribute = m().bytes(1, "a").int(20, 2).int(3, 1);
    let twice = node("Neg", &["x"], &["z"]).message(5, &attribute).message(5, &attribute);
    says(model(&graph().message(1, &twice)), &["`a`", "twice"]);
}

#[test]
fn values_that_nothing_produces_are_refused_by_node() {
    let neg = node("Neg", &["nowhere"], &["z"]).bytes(3, "the node");
    says(model(&graph().message(1, &neg)), &["`nowhere`", "`the node`"]);
    says(model(&graph().message(12, &m().bytes(1, "nowhere"))), &["`nowhere`", "output of graph"]);
    let inner = m()
        .message(1, &node("Neg", &["nowhere"], &["z"]).bytes(3, "inner"))
        .message(12, &m().bytes(1, "z"));
    let attribute = m().bytes(1, "body").int(20, 5).message(6, &inner);
    let outer = node("If", &["x"], &["o"]).message(5, &attribute);
    says(model(&graph().message(1, &outer)), &["`nowhere`", "`inner`"]);
}

#[test]
fn a_cycle_is_refused() {
    let around = m()
        .message(1, &node("Neg", &["b"], &["a"]).bytes(3, "first"))
        .message(1, &node("Neg", &["a"], &["b"]))
        .message(12, &m().bytes(1, "a"));
    says(model(&around), &["cycle", "`first`"]);
}

#[test]
fn names_that_are_not_unicode_are_refused() {
    says(model(&graph().bytes(2, [0xff, 0xfe])), &["not a valid ONNX file"]);
}

#[test]
fn an_attribute_without_a_value_is_refused_by_node() {
    for attribute in [m().bytes(1, "a"), m().bytes(1, "a").int(20, 4), m().bytes(1, "a").int(20, 5)]
    {
        let n = node("Neg", &["x"], &["z"]).bytes(3, "n").message(5, &attribute);
        says(model(&graph().message(1, &n)), &["`a`"]);
    }
}

#[test]
fn one_operator_set_in_two_versions_is_refused() {
    let two = m()
        .int(1, 8)
        .message(8, &m().int(2, 17))
        .message(8, &m().bytes(1, "ai.onnx").int(2, 16))
        .message(7, &graph());
    says(two.0, &["17", "16"]);
}

#[test]
fn a_sparse_tensor_with_positions_outside_its_shape_is_refused_by_name() {
    let indices = |at: i64| m().int(1, 1).int(2, 7).int(7, at);
    let values = m().int(1, 1).int(2, 1).bytes(8, "w").bytes(9, [0; 4]);
    for bad in [-1, 6, i64::MIN] {
        let sparse = m().message(1, &values).message(2, &indices(bad)).int(3, 2).int(3, 3);
        says(model(&graph().message(15, &sparse)), &["`w`", "outside"]);
    }
    says(model(&graph().message(15, &m().message(1, &values).int(3, 2))), &["`w`", "indices"]);
}

/// The error for a model file in a folder, which was prepared.
fn refused_in(folder: &Path, t: &Message) -> model_build::Error {
    let path = folder.join("model.onnx");
    std::fs::write(&path, model(&graph().message(5, t))).unwrap();
    let error = onnx::from_file(&path).unwrap_err();
    // What only lists the files of the model refuses a path that leads out, too.
    if let Ok(names) = onnx::external_files(&path) {
        assert!(!names.iter().any(|n| n.contains("..") || n.starts_with('/')), "{names:?}");
    }
    error
}

#[test]
fn external_data_outside_the_models_folder_is_refused_by_tensor() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("model");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(dir.path().join("secret"), [0; 8]).unwrap();
    let absolute = dir.path().join("secret").display().to_string();
    for location in [
        "../secret",
        "a/../../secret",
        absolute.as_str(),
        "..\\secret",
        "C:\\secret",
        "",
        ".",
        "..",
    ] {
        let error = refused_in(&folder, &external(tensor(&[2]), &[("location", location)]));
        assert_eq!(error.kind(), ErrorKind::Malformed, "{location}: {error}");
        assert!(error.to_string().contains("tensor `w`"), "{error}");
        assert!(error.to_string().contains("below the model's folder"), "{error}");
    }
}

#[test]
fn external_data_behind_a_link_that_leads_out_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("model");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(dir.path().join("secret"), [0; 8]).unwrap();
    symlink("../secret", folder.join("w.bin")).unwrap();
    let error = refused_in(&folder, &external(tensor(&[2]), &[("location", "w.bin")]));
    assert!(error.to_string().contains("a link that leads out"), "{error}");
    std::fs::create_dir(folder.join("sub")).unwrap();
    symlink("../..", folder.join("sub/up")).unwrap();
    let error = refused_in(&folder, &external(tensor(&[2]), &[("location", "sub/up/secret")]));
    assert!(error.to_string().contains("a link that leads out"), "{error}");
}

#[test]
fn external_data_beside_the_end_of_a_linked_model_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (blobs, snapshot) = (dir.path().join("blobs"), dir.path().join("snapshot"));
    std::fs::create_dir(&blobs).unwrap();
    std::fs::create_dir(&snapshot).unwrap();
    let t = external(tensor(&[2]), &[("location", "model.onnx_data")]);
    std::fs::write(blobs.join("1"), model(&graph().message(5, &t))).unwrap();
    std::fs::write(blobs.join("2"), [1; 8]).unwrap();
    symlink("../blobs/1", snapshot.join("model.onnx")).unwrap();
    symlink("../blobs/2", snapshot.join("model.onnx_data")).unwrap();
    let read = onnx::from_file(&snapshot.join("model.onnx")).unwrap();
    let (.., w) = read.body.initializers().next().unwrap();
    assert_eq!(w.bytes().unwrap().as_ref(), [1; 8]);
}

#[test]
fn external_data_that_is_missing_or_too_short_is_refused_by_tensor_and_file() {
    let dir = tempfile::tempdir().unwrap();
    let at = |pairs: &[(&str, &str)]| refused_in(dir.path(), &external(tensor(&[2]), pairs));
    let error = at(&[("location", "w.bin")]);
    assert_eq!(error.kind(), ErrorKind::Source);
    assert!(error.to_string().contains("w.bin") && error.to_string().contains("`w`"), "{error}");
    std::fs::write(dir.path().join("w.bin"), [0; 8]).unwrap();
    for pairs in [
        [("location", "w.bin"), ("offset", "1"), ("length", "8")],
        [("location", "w.bin"), ("offset", "18446744073709551615"), ("length", "8")],
        [("location", "w.bin"), ("offset", "0"), ("length", "18446744073709551615")],
        [("location", "w.bin"), ("offset", "0"), ("length", "4")],
        [("location", "w.bin"), ("offset", "-1"), ("length", "8")],
        [("location", "w.bin"), ("offset", "x"), ("length", "8")],
    ] {
        let error = at(&pairs);
        assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
        assert!(error.to_string().contains("tensor `w`"), "{error}");
    }
    assert!(at(&[]).to_string().contains("no location"));
    std::fs::create_dir(dir.path().join("folder")).unwrap();
    assert!(at(&[("location", "folder")]).to_string().contains("not a regular file"));
}

#[test]
fn external_data_of_a_model_given_as_bytes_is_refused_by_tensor() {
    let t = external(tensor(&[2]), &[("location", "w.bin")]);
    let bytes = Bytes::from(model(&graph().message(5, &t)));
    let error = onnx::from_bytes(&bytes).unwrap_err();
    assert!(error.to_string().contains("w.bin") && error.to_string().contains("`w`"), "{error}");
}
