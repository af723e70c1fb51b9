//! The safetensors writer against the `safetensors` crate, and the files of a Hugging Face folder.

use std::collections::{BTreeMap, HashMap};

use ::safetensors::Dtype;
use ::safetensors::tensor::{TensorView, serialize};
use bytes::Bytes;
use model_build::format::{self, WriteOptions, pytorch, safetensors};
use model_build::hub::{Blob, Checkpoint, DType, Hub, Tensor};

use super::fixtures;
use super::pytorch::{assert_equal, content};

fn write(checkpoint: Checkpoint, options: &WriteOptions) -> Vec<Blob> {
    let write = format::by_name("safetensors").unwrap().write.unwrap();
    write(&Hub::Checkpoint(checkpoint), options).unwrap()
}

fn upstream(dtype: DType) -> Dtype {
    match dtype {
        DType::Bool => Dtype::BOOL,
        DType::U8 => Dtype::U8,
        DType::I8 => Dtype::I8,
        DType::F8E5M2 => Dtype::F8_E5M2,
        DType::F8E4M3 => Dtype::F8_E4M3,
        DType::F8E4M3Fnuz => Dtype::F8_E4M3FNUZ,
        DType::F8E5M2Fnuz => Dtype::F8_E5M2FNUZ,
        DType::I16 => Dtype::I16,
        DType::U16 => Dtype::U16,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::I32 => Dtype::I32,
        DType::U32 => Dtype::U32,
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        DType::I64 => Dtype::I64,
        DType::U64 => Dtype::U64,
        other => panic!("{other}"),
    }
}

/// What the `safetensors` crate writes for the same content.
fn reference(tensors: &BTreeMap<String, Tensor>, metadata: HashMap<String, String>) -> Bytes {
    let owned: Vec<(&str, Dtype, Vec<usize>, Bytes)> = tensors
        .iter()
        .map(|(name, t)| {
            let shape = t.shape().iter().map(|d| usize::try_from(*d).unwrap()).collect();
            (name.as_str(), upstream(t.dtype()), shape, t.bytes().unwrap())
        })
        .collect();
    let views = owned.iter().map(|(name, dtype, shape, bytes)| {
        (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    serialize(views, Some(metadata)).unwrap().into()
}

fn tensors(name: &str) -> BTreeMap<String, Tensor> {
    let data = std::fs::read(fixtures("pytorch").join(format!("{name}.pt"))).unwrap();
    pytorch::from_bytes(&data.into(), None).unwrap()
}

#[test]
fn a_file_is_the_bytes_that_the_crate_writes() {
    let odd = |name: &str| {
        let tensor = Tensor::new(DType::U8, vec![3], vec![1, 2, 3].into()).unwrap();
        BTreeMap::from([(name.to_owned(), tensor)])
    };
    let sets = [tensors("dtypes"), tensors("views"), odd("\"\\ \u{7f} ü \n"), BTreeMap::new()];
    for tensors in sets {
        let checkpoint = Checkpoint { tensors: tensors.clone(), ..Checkpoint::default() };
        let blobs = write(checkpoint, &WriteOptions::default());
        assert_eq!(blobs.len(), 1);
        assert_eq!(blobs[0].name, "model.safetensors");
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        assert_eq!(content(&blobs[0]), reference(&tensors, metadata));
    }
}

#[test]
fn a_file_is_the_bytes_that_torch_writes_but_for_the_metadata() {
    let theirs = std::fs::read(fixtures("pytorch").join("dtypes.safetensors")).unwrap();
    let data = reference(&tensors("dtypes"), HashMap::new());
    let header = |file: &[u8]| usize::try_from(u64::from_le_bytes(file[..8].try_into().unwrap()));
    let data = data.slice(8 + header(&data).unwrap()..);
    assert_eq!(data, theirs[8 + header(&theirs).unwrap()..]);
}

#[test]
fn metadata_of_the_checkpoint_and_of_the_build_stands_in_the_header() {
    let checkpoint = Checkpoint {
        tensors: tensors("bare"),
        metadata: BTreeMap::from([
            ("format".to_owned(), "mlx".to_owned()),
            ("a".to_owned(), "b".to_owned()),
        ]),
        ..Checkpoint::default()
    };
    let options = WriteOptions {
        metadata: vec![("recipe".to_owned(), "r".to_owned())],
        ..WriteOptions::default()
    };
    let file = safetensors::from_bytes(&content(&write(checkpoint, &options)[0])).unwrap();
    let metadata: Vec<_> = file.metadata.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(metadata, ["a=b", "format=mlx", "recipe=r"]);
}

#[test]
fn shards_with_their_index_and_the_files_around_them_read_the_same() {
    let checkpoint = Checkpoint {
        config: serde_json::json!({"model_type": "bert", "eps": 0.5, "list": [1]}),
        tensors: tensors("dtypes"),
        assets: BTreeMap::from([
            ("tokenizer.json".to_owned(), Bytes::from_static(b"{}")),
            ("1_Pooling/config.json".to_owned(), Bytes::from_static(b"{ }")),
        ]),
        ..Checkpoint::default()
    };
    let options = WriteOptions {
        file_name: "model.safetensors".to_owned(),
        split_max_size: Some(70),
        ..WriteOptions::default()
    };
    let blobs = write(checkpoint.clone(), &options);
    assert_eq!(blobs[0].name, "model.safetensors.index.json");
    let shards = blobs.iter().filter(|b| b.name.ends_with(".safetensors")).count();
    assert_eq!(blobs[1].name, format!("model-00001-of-{shards:05}.safetensors"));
    let dir = tempfile::tempdir().unwrap();
    for blob in &blobs {
        let path = dir.path().join(&blob.name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content(blob)).unwrap();
    }
    let config = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
    assert!(config.starts_with("{\n  \"eps\": 0.5,\n") && config.ends_with("}\n"), "{config}");
    let index = std::fs::read_to_string(dir.path().join("model.safetensors.index.json")).unwrap();
    assert!(index.starts_with("{\n  \"metadata\": {\n    \"total_size\": 306\n  },\n"), "{index}");
    let found = format::resolve(dir.path()).unwrap();
    let Hub::Checkpoint(again) = (found.format.read.unwrap())(&found.files).unwrap() else {
        panic!("not a checkpoint")
    };
    assert_equal(&again.tensors, &checkpoint.tensors, "shards");
    assert_eq!(again.config, checkpoint.config);
    assert_eq!(again.assets, checkpoint.assets);
}

#[test]
fn the_name_that_the_header_keeps_for_itself_is_refused() {
    let tensor = Tensor::new(DType::U8, vec![0], Bytes::new()).unwrap();
    let checkpoint = Checkpoint {
        tensors: [("__metadata__".to_owned(), tensor)].into(),
        ..Checkpoint::default()
    };
    let write = format::by_name("safetensors").unwrap().write.unwrap();
    let error = write(&Hub::Checkpoint(checkpoint), &WriteOptions::default()).unwrap_err();
    assert!(error.to_string().contains("__metadata__"), "{error}");
}
