//! PyTorch files of every kind against what torch reads from them, and what we write.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use model_build::format::{self, WriteOptions, pytorch, safetensors};
use model_build::hub::{Checkpoint, Hub, Tensor, write_blob};
use model_build::{Error, ErrorKind};

use super::fixtures;

type Tensors = BTreeMap<String, Tensor>;

fn bytes(path: &Path) -> Bytes {
    Bytes::from(std::fs::read(path).unwrap())
}

fn read(name: &str, state_dict: Option<&str>) -> Result<Tensors, Error> {
    pytorch::from_bytes(&bytes(&fixtures("pytorch").join(name)), state_dict)
}

pub(super) fn assert_equal(ours: &Tensors, theirs: &Tensors, what: &str) {
    let names = |t: &Tensors| t.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(ours), names(theirs), "{what}");
    for (name, theirs) in theirs {
        let ours = &ours[name];
        assert_eq!((ours.dtype(), ours.shape()), (theirs.dtype(), theirs.shape()), "{what} {name}");
        assert_eq!(ours.bytes().unwrap(), theirs.bytes().unwrap(), "{what} {name}");
    }
}

fn expected(name: &str) -> Tensors {
    let path = fixtures("pytorch").join(format!("{name}.safetensors"));
    safetensors::from_bytes(&bytes(&path)).unwrap().tensors
}

/// The bytes of a file of an artifact.
pub(super) fn content(blob: &model_build::hub::Blob) -> Bytes {
    let mut out = Vec::new();
    write_blob(&blob.segments, &mut out, &mut |_| {}).unwrap();
    out.into()
}

#[test]
fn every_file_reads_as_torch_reads_it() {
    let mut seen = 0;
    for entry in std::fs::read_dir(fixtures("pytorch")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "pt") {
            let name = path.file_stem().unwrap().to_str().unwrap();
            let ours = pytorch::from_bytes(&bytes(&path), None)
                .unwrap_or_else(|e| panic!("{name}: {}", e.report()));
            assert_equal(&ours, &expected(name), name);
            seen += 1;
        }
    }
    assert!(seen >= 17, "{seen} fixtures");
}

#[test]
fn dense_tensors_are_slices_of_the_file_and_others_are_made_when_they_are_read() {
    for name in ["views.pt", "views-legacy.pt"] {
        let tensors = read(name, None).unwrap();
        let ready: Vec<&str> = tensors
            .iter()
            .filter(|(_, t)| t.ready_bytes().is_some())
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(ready, ["empty", "ones", "scalar", "shared", "sliced", "whole"]);
        let start = |name: &str| tensors[name].ready_bytes().unwrap().as_ptr();
        assert_eq!(start("whole"), start("shared"));
    }
}

#[test]
fn a_gathered_tensor_gives_the_same_bytes_in_any_pieces() {
    for (name, tensor) in read("views.pt", None).unwrap() {
        let whole = tensor.bytes().unwrap();
        let step = usize::try_from(tensor.granularity()).unwrap();
        for size in [step, 3 * step] {
            let mut pieces = vec![0; whole.len()];
            for (i, piece) in pieces.chunks_mut(size).enumerate() {
                tensor.read_at((i * size) as u64, piece).unwrap();
            }
            assert_eq!(pieces, whole, "{name}");
        }
    }
}

#[test]
fn a_file_with_several_state_dicts_asks_which_and_takes_the_one_that_is_named() {
    let error = read("several.pt.bin", None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Source);
    for word in ["`model`", "`ema`", "`steps.0`", "state-dict = \"model\""] {
        assert!(error.report().contains(word), "{}", error.report());
    }
    let plain = expected("protocol-3");
    assert_equal(&read("several.pt.bin", Some("model")).unwrap(), &plain, "model");
    assert_equal(&read("several.pt.bin", Some("steps.0")).unwrap(), &plain, "an index");
    let ema = read("several.pt.bin", Some("ema")).unwrap();
    assert_ne!(ema["b"].bytes().unwrap(), plain["b"].bytes().unwrap());
    assert_equal(&read("several.pt.bin", Some("steps.1.x.y")).unwrap(), &ema, "a dotted key");
    let all = read("several.pt.bin", Some("steps")).unwrap();
    assert!(all.contains_key("0.a.weight") && all.contains_key("1.x.y.b"), "{:?}", all.keys());
    let error = read("several.pt.bin", Some("modle")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Manifest);
    assert!(error.report().contains("state-dict = \"model\""), "{}", error.report());
}

#[test]
fn tensors_that_are_not_plain_are_refused_by_name_with_the_way_out() {
    for (name, words) in [
        ("complex", ["complex", "`w`", "view_as_real"]),
        ("quantized", ["quantized", "`w`", "dequantize"]),
        ("sparse", ["sparse", "`w`", "to_dense"]),
        ("sparse-csr", ["sparse", "`w`", "to_dense"]),
        ("meta", ["meta", "`w`", "loaded"]),
        ("big-endian-untyped", ["without a type", "`w`", "save the file anew"]),
        ("compressed", ["compressed", "data.pkl", "zip -0"]),
        ("mixed", ["an integer in the state dict", "`epoch`", "state_dict()"]),
    ] {
        let error = read(&format!("refused/{name}.pt"), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        for word in words {
            assert!(error.report().contains(word), "{}", error.report());
        }
    }
    for name in ["none", "numpy"] {
        let error = read(&format!("refused/{name}.pt"), None).unwrap_err();
        assert!(error.to_string().contains("no tensors"), "{error}");
    }
    let error = read("refused/numpy.pt", Some(".")).unwrap_err();
    assert!(error.to_string().contains("numpy"), "{error}");
}

fn checkpoint(path: &Path) -> Checkpoint {
    let found = format::resolve(path).unwrap();
    assert_eq!(found.format.name, "pytorch");
    match (found.format.read.unwrap())(&found.files).unwrap() {
        Hub::Checkpoint(checkpoint) => checkpoint,
        _ => panic!("not a checkpoint"),
    }
}

#[test]
fn shards_are_read_by_their_index_and_a_missing_one_is_named() {
    let folder = fixtures("pytorch").join("sharded");
    let read = checkpoint(&folder);
    let all = expected("dtypes");
    assert_eq!(read.tensors["a"].bytes().unwrap(), all["float32"].bytes().unwrap());
    assert_eq!(read.tensors["c"].bytes().unwrap(), all["int64"].bytes().unwrap());
    assert_eq!(read.tensors.len(), 3);
    let dir = tempfile::tempdir().unwrap();
    for name in ["pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin"] {
        std::fs::copy(folder.join(name), dir.path().join(name)).unwrap();
    }
    let error = format::resolve(dir.path()).unwrap_err();
    assert!(error.to_string().contains("pytorch_model-00002-of-00002.bin"), "{error}");
}

#[test]
fn a_folder_is_told_by_its_weights_and_safetensors_come_first() {
    let dir = tempfile::tempdir().unwrap();
    let file = fixtures("pytorch").join("protocol-3.pt");
    let put = |name: &str, content: &[u8]| std::fs::write(dir.path().join(name), content).unwrap();
    put("weights.pth", &std::fs::read(&file).unwrap());
    put("optimizer.pt", &std::fs::read(&file).unwrap());
    put("config.json", br#"{"model_type":"bert"}"#);
    let found = checkpoint(dir.path());
    assert_eq!(found.config["model_type"], "bert");
    put("other.pt", &std::fs::read(&file).unwrap());
    let error = format::resolve(dir.path()).unwrap_err();
    assert!(error.to_string().contains("other.pt, weights.pth"), "{error}");
    put("pytorch_model.bin", &std::fs::read(&file).unwrap());
    assert_equal(&checkpoint(dir.path()).tensors, &expected("protocol-3"), "the usual name");
    let weights = fixtures("pytorch").join("bare.safetensors");
    std::fs::copy(weights, dir.path().join("model.safetensors")).unwrap();
    assert_eq!(format::resolve(dir.path()).unwrap().format.name, "safetensors");
    let odd = dir.path().join("model.weights");
    std::fs::copy(&file, &odd).unwrap();
    assert_eq!(checkpoint(&odd).tensors.len(), 2);
    put("model.weights", b"PK\x03\x04 and what is no archive");
    assert!(format::resolve(&odd).is_err());
}

fn written(tensors: &Tensors, options: &WriteOptions) -> Vec<(String, Bytes)> {
    let checkpoint = Checkpoint { tensors: tensors.clone(), ..Checkpoint::default() };
    let write = format::by_name("pytorch").unwrap().write.unwrap();
    let blobs = write(&Hub::Checkpoint(checkpoint), options).unwrap();
    blobs.iter().map(|blob| (blob.name.clone(), content(blob))).collect()
}

#[test]
fn what_is_written_reads_the_same_and_storages_are_aligned() {
    for name in ["dtypes", "views", "many"] {
        let tensors = match name {
            "many" => (0u8..=255)
                .flat_map(|i| (0u8..6).map(move |j| (i, j)))
                .map(|(i, j)| {
                    let tensor =
                        Tensor::new(model_build::hub::DType::U8, vec![1, 2], vec![i, j].into());
                    (format!("layer.{i}.{j}"), tensor.unwrap())
                })
                .collect(),
            name => read(&format!("{name}.pt"), None).unwrap(),
        };
        let files = written(&tensors, &WriteOptions::default());
        let [(file, data)] = files.as_slice() else { panic!("one file") };
        assert_eq!(file, "pytorch_model.bin");
        let again = pytorch::from_bytes(data, None).unwrap();
        assert_equal(&again, &tensors, name);
        for (tensor, read) in &again {
            let bytes = read.ready_bytes().unwrap();
            let at = (bytes.as_ptr() as usize).wrapping_sub(data.as_ptr() as usize);
            assert!(bytes.is_empty() || at.is_multiple_of(64), "{name} {tensor} at {at}");
        }
    }
}

#[test]
fn tensors_that_are_the_same_bytes_share_a_storage() {
    let tied = read("views.pt", None).unwrap();
    let tied: Tensors =
        tied.into_iter().filter(|(name, _)| ["whole", "shared"].contains(&name.as_str())).collect();
    let files = written(&tied, &WriteOptions::default());
    let again = pytorch::from_bytes(&files[0].1, None).unwrap();
    let start = |name: &str| again[name].ready_bytes().unwrap().as_ptr();
    assert_eq!(start("whole"), start("shared"));
}

#[test]
fn a_long_model_is_written_in_shards_that_read_the_same() {
    let tensors = read("dtypes.pt", None).unwrap();
    for (stem, ending) in [("pytorch_model", "bin"), ("model", "pt")] {
        let options = WriteOptions {
            file_name: format!("{stem}.{ending}"),
            split_max_size: Some(60),
            ..WriteOptions::default()
        };
        let files = written(&tensors, &options);
        assert_eq!(files[0].0, format!("{stem}.{ending}.index.json"));
        assert_eq!(files[1].0, format!("{stem}-00001-of-{:05}.{ending}", files.len() - 1));
        let dir = tempfile::tempdir().unwrap();
        for (name, data) in &files {
            std::fs::write(dir.path().join(name), data).unwrap();
        }
        assert_equal(&checkpoint(dir.path()).tensors, &tensors, "shards");
        assert_equal(&checkpoint(&dir.path().join(&files[0].0)).tensors, &tensors, "the index");
    }
}

#[test]
fn an_element_type_that_torch_lacks_is_refused_by_name() {
    let odd = Tensor::new(model_build::hub::DType::I4, vec![2], vec![0x21].into()).unwrap();
    let checkpoint =
        Checkpoint { tensors: [("w".to_owned(), odd)].into(), ..Checkpoint::default() };
    for format in ["pytorch", "safetensors"] {
        let write = format::by_name(format).unwrap().write.unwrap();
        let error = write(&Hub::Checkpoint(checkpoint.clone()), &WriteOptions::default());
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("i4") && error.to_string().contains("`w`"), "{error}");
    }
}

/// Files that torch read into safetensors files of the same names, in a folder that the variable
/// names: what `scripts/compare-torch.py` makes.
#[test]
fn real_files_read_as_torch_reads_them_where_they_are_given() {
    let Some(folder) = std::env::var_os("TORCH_FILES") else {
        eprintln!("skipped: TORCH_FILES is not set");
        return;
    };
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths.iter().filter(|p| p.extension().is_none_or(|e| e != "safetensors")) {
        let theirs = path
            .with_file_name(format!("{}.safetensors", path.file_name().unwrap().to_str().unwrap()));
        let theirs = safetensors::from_bytes(&bytes(&theirs)).unwrap().tensors;
        let mut ours = pytorch::from_bytes(&bytes(path), None).unwrap_or_else(|e| panic!("{e:?}"));
        let count = ours.len();
        // TorchScript's objects have tensors that are neither parameters nor buffers.
        if path.extension().is_some_and(|e| e == "jit") {
            ours.retain(|name, _| theirs.contains_key(name));
        }
        let what = path.file_name().unwrap().to_str().unwrap();
        assert_equal(&ours, &theirs, what);
        println!("{what}: {count} tensors read, {} of torch's, equal", theirs.len());
    }
}

/// Writes every folder of a folder that one variable names, in every way, into one that another
/// names: what `scripts/open-written.py` opens with torch and transformers.
#[test]
fn folders_are_written_for_torch_to_open_where_they_are_given() {
    let folders = std::env::var_os("CHECKPOINTS").zip(std::env::var_os("WRITE_TO"));
    let Some((from, to)) = folders else {
        eprintln!("skipped: CHECKPOINTS and WRITE_TO are not set");
        return;
    };
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let found = format::resolve(&path).unwrap_or_else(|e| panic!("{e:?}"));
        let hub = (found.format.read.unwrap())(&found.files).unwrap_or_else(|e| panic!("{e:?}"));
        for format in ["pytorch", "safetensors"] {
            for split in [None, Some(100_000)] {
                let options = WriteOptions { split_max_size: split, ..WriteOptions::default() };
                let write = format::by_name(format).unwrap().write.unwrap();
                let name = path.file_name().unwrap().to_str().unwrap();
                let shards = if split.is_some() { "-shards" } else { "" };
                let out = Path::new(&to).join(format!("{name}-{format}{shards}"));
                for blob in write(&hub, &options).unwrap_or_else(|e| panic!("{e:?}")) {
                    let path = out.join(&blob.name);
                    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                    let mut file = std::fs::File::create(path).unwrap();
                    write_blob(&blob.segments, &mut file, &mut |_| {}).unwrap();
                }
            }
        }
    }
}
