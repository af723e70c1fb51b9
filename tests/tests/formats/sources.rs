//! What a path is taken for: formats told apart, the files that belong to a model, links.

use std::os::unix::fs::symlink;
use std::path::Path;

use model_build::ErrorKind;
use model_build::format;
use model_build::hub::{Checkpoint, Hub};

use super::hostile_safetensors::file;

fn put(folder: &Path, name: &str, content: &[u8]) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn weights() -> Vec<u8> {
    file(r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 8)
}

fn checkpoint(path: &Path) -> Checkpoint {
    let found = format::resolve(path).unwrap();
    match (found.format.read.unwrap())(&found.files).unwrap() {
        Hub::Checkpoint(checkpoint) => checkpoint,
        _ => panic!("not a checkpoint"),
    }
}

#[test]
fn a_hugging_face_folder_gives_config_weights_and_assets_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    put(folder, "model.safetensors", &weights());
    put(folder, "config.json", br#"{"model_type":"bert"}"#);
    for name in ["tokenizer.json", "vocab.txt", "modules.json", "1_Pooling/config.json"] {
        put(folder, name, b"{}");
    }
    put(folder, "2_Dense/model.safetensors", &weights());
    put(folder, "3_Dense/pytorch_model.bin", b"older weights");
    for name in [
        "2_Dense/pytorch_model.bin",
        "README.md",
        "pytorch_model.bin",
        "onnx/model.onnx",
        ".git/config",
        "docs/config.json",
    ] {
        put(folder, name, b"other");
    }
    let found = format::resolve(folder).unwrap();
    assert_eq!(
        found.files.names,
        [
            "model.safetensors",
            "1_Pooling/config.json",
            "2_Dense/model.safetensors",
            "3_Dense/pytorch_model.bin",
            "config.json",
            "modules.json",
            "tokenizer.json",
            "vocab.txt"
        ]
    );
    let read = checkpoint(folder);
    assert_eq!(read.config["model_type"], "bert");
    assert_eq!(
        read.assets.keys().collect::<Vec<_>>(),
        [
            "1_Pooling/config.json",
            "2_Dense/model.safetensors",
            "3_Dense/pytorch_model.bin",
            "modules.json",
            "tokenizer.json",
            "vocab.txt"
        ]
    );
    assert!(read.json_asset("modules.json").unwrap().is_some());
}

#[test]
fn a_bare_weights_file_is_a_checkpoint_with_an_empty_config() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "some.safetensors", &weights());
    put(dir.path(), "config.json", b"not looked at");
    let read = checkpoint(&dir.path().join("some.safetensors"));
    assert_eq!(read.config, serde_json::json!({}));
    assert_eq!(read.tensors["w"].shape(), [2]);
}

#[test]
fn a_config_that_is_no_json_object_is_refused_by_file() {
    for text in ["{", "[]", "\u{feff}{}", ""] {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "model.safetensors", &weights());
        put(dir.path(), "config.json", text.as_bytes());
        let found = format::resolve(dir.path()).unwrap();
        let error = (found.format.read.unwrap())(&found.files).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
        assert!(error.to_string().contains("config.json"), "{error}");
    }
}

#[test]
fn a_folder_without_a_model_is_refused_with_what_was_looked_for_and_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "notes.txt", b"");
    let error = format::resolve(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Source);
    let report = error.report();
    for word in ["notes.txt", "*.onnx", "model.safetensors"] {
        assert!(report.contains(word), "{report}");
    }
}

#[test]
fn a_file_of_no_known_format_and_a_path_where_nothing_is_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "notes.txt", b"hello");
    let error = format::resolve(&dir.path().join("notes.txt")).unwrap_err();
    assert!(error.report().contains("looked for"), "{error:?}");
    let error = format::resolve(&dir.path().join("nowhere")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Source);
    assert!(error.to_string().contains("no such file"), "{error}");
}

#[test]
fn models_of_two_formats_or_of_two_names_in_one_folder_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let onnx = super::fixtures("onnx").join("function.onnx");
    std::fs::copy(&onnx, dir.path().join("a.onnx")).unwrap();
    put(dir.path(), "model.safetensors", &weights());
    let error = format::resolve(dir.path()).unwrap_err().to_string();
    assert!(error.contains("a.onnx") && error.contains("model.safetensors"), "{error}");
    std::fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    assert_eq!(format::resolve(dir.path()).unwrap().format.name, "onnx");
    std::fs::copy(&onnx, dir.path().join("b.onnx")).unwrap();
    let error = format::resolve(dir.path()).unwrap_err().to_string();
    assert!(error.contains("a.onnx, b.onnx"), "{error}");
}

#[test]
fn an_onnx_file_is_known_by_its_first_bytes_when_its_name_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model");
    std::fs::copy(super::fixtures("onnx").join("function.onnx"), &path).unwrap();
    assert_eq!(format::resolve(&path).unwrap().format.name, "onnx");
}

#[test]
fn the_external_data_of_an_onnx_file_belongs_to_the_model() {
    let path = super::fixtures("onnx").join("external.onnx");
    let found = format::resolve(&path).unwrap();
    assert_eq!(found.files.names, ["external.onnx", "external.bin"]);
}

#[test]
fn a_farm_of_links_as_in_the_cache_of_the_hub_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "blobs/1", &weights());
    put(dir.path(), "blobs/2", br#"{"model_type":"bert"}"#);
    let snapshot = dir.path().join("snapshots/main");
    std::fs::create_dir_all(&snapshot).unwrap();
    symlink("../../blobs/1", snapshot.join("model.safetensors")).unwrap();
    symlink("../../blobs/2", snapshot.join("config.json")).unwrap();
    let read = checkpoint(&snapshot);
    assert_eq!((read.tensors.len(), read.config["model_type"].as_str()), (1, Some("bert")));
}

#[test]
fn a_loop_of_links_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    symlink("b.safetensors", dir.path().join("model.safetensors")).unwrap();
    symlink("model.safetensors", dir.path().join("b.safetensors")).unwrap();
    let error = format::resolve(dir.path()).unwrap_err();
    assert!(error.report().contains("loop"), "{error:?}");
    assert!(error.to_string().contains("model.safetensors"), "{error}");
    let error = format::resolve(&dir.path().join("model.safetensors")).unwrap_err();
    assert!(error.report().contains("loop"), "{error:?}");
}

#[test]
fn a_folder_that_links_to_itself_is_listed_once() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "model.safetensors", &weights());
    symlink(".", dir.path().join("again")).unwrap();
    symlink("itself", dir.path().join("itself")).unwrap();
    assert_eq!(format::resolve(dir.path()).unwrap().files.names, ["model.safetensors"]);
}
