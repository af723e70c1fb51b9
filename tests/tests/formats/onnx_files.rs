//! ONNX files read, written, moved to external data and emptied to skeletons: still the same model.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use model_build::error::Result;
use model_build::format::{WriteOptions, onnx};
use model_build::hub::{
    AttrValue, Blob, DType, Dim, Graph, Node, Produce, Segment, Tensor, Type, Value, blob_len,
    write_blob,
};
use model_build_tests::arrays::{self, Arrays};
use model_build_tests::onnxruntime::{self, Level};

use super::onnx_fixtures;

fn bytes_of(blob: &Blob) -> Vec<u8> {
    let mut out = Vec::new();
    write_blob(&blob.segments, &mut out, &mut |_| {}).unwrap();
    out
}

/// Writes the files of a layout to a folder.
fn put(blobs: &[Blob], folder: &Path) {
    for blob in blobs {
        std::fs::write(folder.join(&blob.name), bytes_of(blob)).unwrap();
    }
}

fn options() -> WriteOptions {
    WriteOptions { file_name: "model.onnx".to_owned(), ..WriteOptions::default() }
}

#[test]
fn every_fixture_is_written_as_the_same_bytes_after_it_is_read_again() {
    for path in onnx_fixtures() {
        let graph = onnx::from_file(&path).unwrap();
        let first = onnx::to_bytes(&graph).unwrap();
        let again = onnx::from_bytes(&Bytes::from(first.clone())).unwrap();
        assert!(first == onnx::to_bytes(&again).unwrap(), "{}", path.display());
    }
}

#[test]
fn every_fixture_with_inputs_gives_the_same_outputs_rewritten_and_as_a_skeleton() {
    let Some(runtime) = onnxruntime::find() else { return };
    let mut ran = 0;
    for path in onnx_fixtures() {
        let inputs = path.with_extension("safetensors");
        if !inputs.exists() {
            continue;
        }
        let inputs: Arrays = arrays::read(&inputs);
        let want = runtime.run(&path, Level::None, &inputs);
        let graph = onnx::from_file(&path).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("model.onnx");

        put(&onnx::layout(&graph, &options(), u64::MAX).unwrap(), dir.path());
        assert_eq!(want, runtime.run(&model, Level::None, &inputs), "{}", path.display());

        let original = Bytes::from(std::fs::read(&model).unwrap());
        let skeleton = dir.path().join("skeleton.onnx");
        std::fs::write(&skeleton, onnx::skeleton(&original, "model.onnx").unwrap()).unwrap();
        assert_eq!(want, runtime.run(&skeleton, Level::None, &inputs), "{}", path.display());
        ran += 1;
    }
    assert_eq!(ran, 19);
}

/// x[2, 3] · w1 + b1, through Relu, · w2, where `w2` stands in both branches of an If on `true` and
/// one tensor is computed on demand.
fn network(lazy: bool) -> Graph {
    let mut graph = Graph::new("network", 8, 17);
    let values =
        |n: u16, step: f32| -> Vec<f32> { (0..n).map(|i| (f32::from(i) * step).sin()).collect() };
    let w1 = Tensor::from_f32(vec![3, 301], &values(903, 0.37)).unwrap();
    let w1 = if lazy {
        let bytes = w1.bytes().unwrap();
        Tensor::lazy(DType::F32, vec![3, 301], Arc::new(Held(bytes))).unwrap()
    } else {
        w1
    };
    let body = &mut graph.body;
    let x = body.add_value(port("x", &[2, 3])).unwrap();
    body.add_input(x);
    let w1 = body.add_value(constant("w1", w1)).unwrap();
    let b1 = Tensor::from_f32(vec![301], &values(301, 1.1)).unwrap();
    let b1 = body.add_value(constant("b1", b1)).unwrap();
    let [h, s, r] = ["h", "s", "r"].map(|n| body.intern(n).unwrap());
    body.add_node(Node::new("MatMul", &[x, w1], &[h])).unwrap();
    body.add_node(Node::new("Add", &[h, b1], &[s])).unwrap();
    body.add_node(Node::new("Relu", &[s], &[r])).unwrap();
    let condition = Tensor::new(DType::Bool, vec![], Bytes::from_static(&[1])).unwrap();
    let condition = body.add_value(constant("condition", condition)).unwrap();
    let branch = |name: &str, step: f32| {
        let mut inner = Graph::new(name, 8, 17).body;
        let captured = inner.intern("r").unwrap();
        let w2 = Tensor::from_f32(vec![301, 2], &values(602, step)).unwrap();
        let w2 = inner.add_value(constant(&format!("{name}_w"), w2)).unwrap();
        let out = inner.add_value(port(&format!("{name}_y"), &[2, 2])).unwrap();
        inner.add_node(Node::new("MatMul", &[captured, w2], &[out])).unwrap();
        inner.add_output(out);
        AttrValue::Graph(Box::new(inner))
    };
    let y = body.add_value(port("y", &[2, 2])).unwrap();
    let node = Node::new("If", &[condition], &[y])
        .with("then_branch", branch("yes", 0.11))
        .with("else_branch", branch("no", 0.23));
    body.add_node(node).unwrap();
    body.add_output(y);
    graph
}

fn port(name: &str, dims: &[u64]) -> Value {
    let ty = Type::tensor(DType::F32, dims.iter().map(|d| Dim::Fixed(*d)));
    Value { name: name.to_owned(), ty: Some(ty), ..Value::default() }
}

fn constant(name: &str, tensor: Tensor) -> Value {
    Value { name: name.to_owned(), init: Some(tensor), ..Value::default() }
}

struct Held(Bytes);

impl Produce for Held {
    fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let at = usize::try_from(offset).unwrap();
        out.copy_from_slice(&self.0[at..at + out.len()]);
        Ok(())
    }
}

fn input() -> Arrays {
    let data = arrays::Data::F32(vec![0.5, -1.0, 2.0, 0.25, 3.0, -0.75]);
    Arrays::from([("x".to_owned(), arrays::Array { shape: vec![2, 3], data })])
}

#[test]
fn large_payloads_start_at_multiples_of_64_wherever_they_stand() {
    let graph = network(true);
    let bytes = onnx::to_bytes(&graph).unwrap();
    let mut found = 0;
    let mut look = |body: &model_build::hub::Body| {
        for (_, value, tensor) in body.initializers().filter(|(.., t)| t.byte_len() >= 1024) {
            let payload = tensor.bytes().unwrap();
            let at = bytes.windows(payload.len()).position(|w| w == payload).unwrap();
            assert_eq!(at % 64, 0, "{}", value.name);
            found += 1;
        }
    };
    look(&graph.body);
    for (_, node) in graph.body.nodes() {
        node.subgraphs().for_each(&mut look);
    }
    assert_eq!(found, 4, "w1, b1 and a matrix in each branch");
}

#[test]
fn computed_tensors_give_the_bytes_of_tensors_that_are_there() {
    let want = onnx::to_bytes(&network(false)).unwrap();
    assert!(want == onnx::to_bytes(&network(true)).unwrap());
}

#[test]
fn a_layout_knows_the_length_of_the_file_before_the_bytes() {
    for blob in onnx::layout(&network(true), &options(), u64::MAX).unwrap() {
        assert_eq!(blob_len(&blob.segments), bytes_of(&blob).len() as u64);
    }
}

#[test]
fn a_model_past_the_limit_keeps_its_outputs_with_external_data() {
    let Some(runtime) = onnxruntime::find() else { return };
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model.onnx");
    put(&onnx::layout(&network(true), &options(), u64::MAX).unwrap(), dir.path());
    let want = runtime.run(&model, Level::None, &input());

    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model.onnx");
    let blobs = onnx::layout(&network(true), &options(), 2048).unwrap();
    assert_eq!(
        blobs.iter().map(|b| b.name.as_str()).collect::<Vec<_>>(),
        ["model.onnx", "model.onnx.data"]
    );
    put(&blobs, dir.path());
    assert_eq!(want, runtime.run(&model, Level::None, &input()));

    let again = onnx::from_file(&model).unwrap();
    assert!(onnx::to_bytes(&again).unwrap() == onnx::to_bytes(&network(false)).unwrap());
    let data = std::fs::read(dir.path().join("model.onnx.data")).unwrap();
    for (_, value, tensor) in again.body.initializers().filter(|(.., t)| t.byte_len() >= 1024) {
        let payload = tensor.bytes().unwrap();
        let at = data.windows(payload.len()).position(|w| w == payload).unwrap();
        assert_eq!(at % 4096, 0, "{}", value.name);
    }
}

struct Zeros;

impl Produce for Zeros {
    fn produce(&self, _: u64, out: &mut [u8]) -> Result<()> {
        out.fill(0);
        Ok(())
    }
}

#[test]
fn a_model_of_three_gigabytes_is_laid_out_in_two_files_without_computing_it() {
    let mut graph = Graph::new("large", 8, 17);
    for name in ["a", "b", "c"] {
        let tensor = Tensor::lazy(DType::U8, vec![1 << 30], Arc::new(Zeros)).unwrap();
        graph.body.add_value(constant(name, tensor)).unwrap();
    }
    let blobs = onnx::layout(&graph, &options(), (1 << 31) - (1 << 24)).unwrap();
    let lengths: Vec<u64> = blobs.iter().map(|b| blob_len(&b.segments)).collect();
    assert!(lengths[0] < 1000, "{lengths:?}");
    assert_eq!(lengths[1], 3 << 30);
    assert!(onnx::to_bytes(&graph).unwrap_err().to_string().contains("2 GB"));
}

#[test]
fn a_skeleton_over_static_bytes_gives_the_outputs_of_the_original_in_rten() {
    use rten_tensor::prelude::*;
    let model: &'static [u8] = {
        // As an embedded model is: at an address that is a multiple of 64.
        let bytes = onnx::to_bytes(&network(false)).unwrap();
        let room = Vec::leak(vec![0u8; bytes.len() + 64]);
        let skip = room.as_ptr().align_offset(64);
        room[skip..skip + bytes.len()].copy_from_slice(&bytes);
        &room[skip..skip + bytes.len()]
    };
    let skeleton = onnx::skeleton(&Bytes::from_static(model), "model.data").unwrap();
    // The matrices of the branches, half of the model, stay inside.
    assert!(skeleton.len() < model.len() * 6 / 10, "{} of {}", skeleton.len(), model.len());
    let skeleton: &'static [u8] = Vec::leak(skeleton);
    let run = |model: rten::Model| {
        let x = rten_tensor::Tensor::from_data(&[2, 3], vec![0.5f32, -1.0, 2.0, 0.25, 3.0, -0.75]);
        let y: rten_tensor::Tensor<f32> =
            model.run_one(x.view().into(), None).unwrap().try_into().unwrap();
        y.to_vec()
    };
    let whole = run(rten::Model::load_static_slice(model).unwrap());
    let in_place = rten::ModelOptions::with_all_ops()
        .external_data_static("model.data", model)
        .load_static_slice(skeleton)
        .unwrap();
    assert_eq!(whole, run(in_place));
    assert_eq!(whole.len(), 4);
}

#[test]
fn tensors_are_slices_of_the_file() {
    let bytes = Bytes::from(onnx::to_bytes(&network(false)).unwrap());
    let graph = onnx::from_bytes(&bytes).unwrap();
    let range = bytes.as_ptr_range();
    for (_, value, tensor) in graph.body.initializers() {
        assert!(range.contains(&tensor.ready_bytes().unwrap().as_ptr()), "{}", value.name);
    }
}

#[test]
fn metadata_of_the_options_takes_the_place_of_what_was_there() {
    let mut graph = network(false);
    graph.metadata = vec![("a".into(), "1".into()), ("b".into(), "2".into())];
    let options = WriteOptions { metadata: vec![("a".into(), "3".into())], ..options() };
    let blobs = onnx::layout(&graph, &options, u64::MAX).unwrap();
    let again = onnx::from_bytes(&Bytes::from(bytes_of(&blobs[0]))).unwrap();
    assert_eq!(again.metadata, [("b".into(), "2".into()), ("a".into(), "3".to_owned())]);
}

#[test]
fn nodes_out_of_order_are_sorted() {
    let mut graph = Graph::new("g", 8, 17);
    let x = graph.body.add_value(port("x", &[2])).unwrap();
    graph.body.add_input(x);
    let [a, y] = ["a", "y"].map(|n| graph.body.intern(n).unwrap());
    graph.body.add_output(y);
    graph.body.add_node(Node::new("Neg", &[a], &[y])).unwrap();
    graph.body.add_node(Node::new("Relu", &[x], &[a])).unwrap();
    let again = onnx::from_bytes(&Bytes::from(onnx::to_bytes(&graph).unwrap())).unwrap();
    assert_eq!(again.body.nodes().map(|(_, n)| n.op.as_str()).collect::<Vec<_>>(), ["Relu", "Neg"]);
}

#[test]
fn small_files_hold_their_parts_in_few_segments() {
    let blobs = onnx::layout(&network(false), &options(), u64::MAX).unwrap();
    let payloads = blobs[0].segments.iter().filter(|s| matches!(s, Segment::Tensor(_))).count();
    assert_eq!(payloads, 4);
    assert!(blobs[0].segments.len() <= 9);
}
