//! Models that run in the backends, from the bytes in the executable.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use model_build::embed::SKELETON_LOCATION;
use model_build::format::onnx;
use serde_json::{Value, json};

use crate::crates::{Crate, port, scratch, succeed};

/// The backends to run: rten always, ONNX Runtime where its library is named.
fn backends() -> impl Iterator<Item = &'static str> {
    let there = std::env::var_os("ORT_DYLIB_PATH").is_some();
    if !there {
        eprintln!("skipped: ONNX Runtime, as ORT_DYLIB_PATH is not set");
    }
    std::iter::once("Rten").chain(there.then_some("OnnxRuntime"))
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/embed").join(name)
}

/// Writes a model as the converter does, weights aligned, and its skeleton; adds both to an item.
fn written(mut item: Value, from: &Path) -> Value {
    let name = item["files"][0]["name"].as_str().unwrap().to_owned();
    let bytes = Bytes::from(onnx::to_bytes(&onnx::from_file(from).unwrap()).unwrap());
    let skeleton = onnx::skeleton(&bytes, SKELETON_LOCATION).unwrap();
    assert!(skeleton.len() < 10_000, "{} bytes", skeleton.len());
    let dir = scratch().join("written");
    fs::create_dir_all(&dir).unwrap();
    let (main, small) = (dir.join(&name), dir.join(format!("{name}.skeleton")));
    fs::write(&main, &bytes).unwrap();
    fs::write(&small, skeleton).unwrap();
    item["files"][0]["from"] = main.to_str().into();
    item["skeleton"] = small.to_str().into();
    item
}

pub(crate) fn mlp(model: &str) -> Value {
    json!({
        "model": model, "target": "int8", "format": "onnx", "mode": "auto",
        "files": [{
            "name": "mlp.onnx", "from": fixture("mlp.onnx"), "to": format!("model_build/{model}.onnx"),
        }],
        "info": {
            "inputs": [
                port("pixel_values", "f32", &["batch", "8"]), port("token.ids", "i64", &["batch", "3"]),
                port("type", "bool", &["batch"]),
            ],
            "outputs": [
                port("logits", "f32", &["batch", "4"]), port("next ids", "i64", &["batch", "3"]),
                port("flag", "bool", &["batch"]), port("half", "f16", &["batch", "4"]),
            ],
            "parameters": 1170, "facts": [["labels", "zero,one"], ["tool", "loses"]],
        },
    })
}

/// Prints every output as one line of numbers, for the backend that the argument names; and what
/// each kind of wrong input is told.
const MLP: &str = r#"
use model_build_runtime::{Backend, LoadOptions, Session, Tensor};
model_build_runtime::include_model!("mlp.int8");

fn inputs() -> MlpInt8Inputs {
    MlpInt8Inputs {
        pixel_values: Tensor::new([2, 8], PIXELS.to_vec()).unwrap(),
        token_ids: Tensor::new([2, 3], IDS.to_vec()).unwrap(),
        r#type: Tensor::new([2], TYPE.to_vec()).unwrap(),
    }
}

fn row<T: Copy + Into<f64>>(tensor: &Tensor<T>) {
    let numbers: Vec<String> = tensor.data().iter().map(|x| (*x).into().to_string()).collect();
    println!("{:?} {}", tensor.shape(), numbers.join(" "));
}

fn main() {
    let backend = match std::env::args().nth(1).as_deref() {
        Some("OnnxRuntime") => Backend::OnnxRuntime,
        _ => Backend::Rten,
    };
    let model = MlpInt8::load_with(&LoadOptions::new().backend(backend).threads(1)).unwrap();
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&model);
    let run = |model: &Session<MlpInt8>| model.run(&inputs()).unwrap();
    let out = std::thread::scope(|s| {
        let other = s.spawn(|| run(&model));
        assert_eq!(run(&model), other.join().unwrap());
        run(&model)
    });
    row(&out.logits);
    println!("{:?} {:?}", out.next_ids.shape(), out.next_ids.data());
    println!("{:?} {:?}", out.flag.shape(), out.flag.data());
    row(&out.half);

    let mut wrong = inputs();
    wrong.pixel_values = Tensor::new([2, 7], vec![0.0; 14]).unwrap();
    println!("{}", model.run(&wrong).unwrap_err());
    let mut wrong = inputs();
    wrong.r#type = Tensor::new([3], vec![true; 3]).unwrap();
    println!("{}", model.run(&wrong).unwrap_err());
    let mut wrong = inputs();
    wrong.token_ids = Tensor::new([2, 3], vec![1, 2, 3, 4, 5, i64::MAX]).unwrap();
    println!("{}", model.run(&wrong).unwrap_err());
    println!("{:?} {:?}", MlpInt8::METADATA.fact("tool"), MlpInt8::METADATA.fact("labels"));
    println!("{}", MlpInt8::file("mlp.onnx").unwrap().unwrap().len());
    assert!(MlpInt8::file("other").is_none());
}
"#;

#[test]
fn every_kind_of_input_and_output_agrees_with_onnx_runtime() {
    let reference: Value = serde_json::from_slice(&fs::read(fixture("mlp.json")).unwrap()).unwrap();
    let inputs = &reference["inputs"];
    let app = Crate::new("mlp");
    app.write(
        "src/main.rs",
        format!(
            "const PIXELS: [f32; 16] = {};\nconst IDS: [i64; 6] = {};\nconst TYPE: [bool; 2] = {};\n{MLP}",
            inputs["pixel_values"], inputs["token.ids"], inputs["type"]
        ),
    );
    // The file as another exporter wrote it; and as the converter does, with its skeleton.
    let skeleton = written(mlp("mlp"), &fixture("mlp.onnx"));
    let cases = [mlp("mlp"), skeleton].map(|item| backends().map(move |b| (item.clone(), b)));
    for (item, backend) in cases.into_iter().flatten() {
        app.spec(&json!({ "items": [item] }));
        app.build(true);
        let said = succeed(&Command::new(app.executable()).arg(backend).output().unwrap());
        let lines: Vec<&str> = said.lines().collect();
        for (line, name, bound) in [(lines[0], "logits", 1e-5), (lines[3], "half", 4e-3)] {
            let numbers = line.strip_prefix("[2, 4] ").unwrap().split(' ');
            let want = reference["outputs"][name].as_array().unwrap();
            let pairs: Vec<_> = numbers.zip(want).collect();
            assert_eq!(pairs.len(), 8);
            for (got, want) in pairs {
                let (got, want) = (got.parse::<f64>().unwrap(), want.as_f64().unwrap());
                assert!((got - want).abs() <= bound, "{backend} {name}: {got} {want}");
            }
        }
        assert_eq!(lines[1], "[2, 3] [2, 3, 4, 100, 1, 51]");
        assert_eq!(lines[2], "[2] [false, true]");
        assert_eq!(
            lines[4],
            "input `pixel_values` wants shape [batch, 8], found [2, 7]: axis 1 is 8"
        );
        assert_eq!(
            lines[5],
            "input `type` wants shape [batch], found [3]: `batch` is 2 in input `pixel_values`"
        );
        let wide = match backend {
            "Rten" => {
                "input `token.ids`: element 5 is 9223372036854775807, and rten's integers have 32 bits"
            }
            _ => "cannot run `mlp` (target `int8`)",
        };
        assert!(lines[6].starts_with(wide), "{}", lines[6]);
        assert!(said.contains("Some(\"test \\\"quoted\\\"\") Some(\"zero,one\")"), "{said}");
    }
}

/// A protobuf field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut len = bytes.len();
    while len >= 0x80 {
        out.push(u8::try_from(len & 0x7f).unwrap() | 0x80);
        len >>= 7;
    }
    out.push(u8::try_from(len).unwrap());
    out.extend_from_slice(bytes);
    out
}

/// `y = x · w` with w f32 `[n, n]` in the file `weights.data`, by the field numbers of onnx.proto3.
fn matmul(n: u64) -> Vec<u8> {
    let text = |number, text: &str| field(number, text.as_bytes());
    let varint = |n: u64| {
        let mut out = Vec::new();
        let mut n = n;
        while n >= 0x80 {
            out.push(u8::try_from(n & 0x7f).unwrap() | 0x80);
            n >>= 7;
        }
        out.push(u8::try_from(n).unwrap());
        out
    };
    let entry = |k: &str, v: &str| field(13, &[text(1, k), text(2, v)].concat());
    let dim = [vec![1 << 3], varint(n)].concat();
    let weight = [
        dim.clone(),
        dim,
        vec![2 << 3, 1],
        text(8, "w"),
        entry("location", "weights.data"),
        entry("offset", "0"),
        entry("length", &(n * n * 4).to_string()),
        vec![14 << 3, 1],
    ]
    .concat();
    let shape =
        [field(1, &text(2, "batch")), field(1, &[vec![1 << 3], varint(n)].concat())].concat();
    let info = |name: &str| {
        let ty = field(1, &[vec![1 << 3, 1], field(2, &shape)].concat());
        [text(1, name), field(2, &ty)].concat()
    };
    let node = [text(1, "x"), text(1, "w"), text(2, "y"), text(3, "m"), text(4, "MatMul")].concat();
    let graph = [
        field(1, &node),
        text(2, "g"),
        field(5, &weight),
        field(11, &info("x")),
        field(12, &info("y")),
    ]
    .concat();
    [vec![1 << 3, 8], field(7, &graph), field(8, &[2 << 3, 17])].concat()
}

#[test]
#[cfg(target_os = "linux")]
fn weights_are_used_where_they_lie_in_the_executable() {
    const N: usize = 4096;
    let dir = scratch();
    fs::create_dir_all(&dir).unwrap();
    let (proto, weights) = (dir.join("matmul.onnx"), dir.join("weights.data"));
    fs::write(&proto, matmul(N as u64)).unwrap();
    // Twice the identity.
    let mut bytes = vec![0; N * N * 4];
    for i in 0..N {
        bytes[(i * N + i) * 4..][..4].copy_from_slice(&2_f32.to_le_bytes());
    }
    fs::write(&weights, bytes).unwrap();
    let app = Crate::new("large-weights");
    let n = N.to_string();
    let item = |files: Value| {
        json!({
            "model": "matmul", "target": "fp32", "format": "onnx", "mode": "auto", "files": files,
            "info": {
                "inputs": [port("x", "f32", &["batch", &n])], "outputs": [port("y", "f32", &["batch", &n])],
                "parameters": N * N, "facts": [],
            },
        })
    };
    let two = item(json!([
        { "name": "matmul.onnx", "from": proto, "to": "model_build/matmul.onnx" },
        { "name": "weights.data", "from": weights, "to": "model_build/weights.data" },
    ]));
    let one = json!([{ "name": "single.onnx", "to": "model_build/single.onnx" }]);
    let one = written(item(one), &proto);
    app.write(
        "src/main.rs",
        r#"
use model_build_runtime::{Backend, LoadOptions, Tensor};
model_build_runtime::include_model!("matmul");

/// Memory of the process that no file backs, in kB.
fn anonymous() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn main() {
    let backend = match std::env::args().nth(1).as_deref() {
        Some("OnnxRuntime") => Backend::OnnxRuntime,
        _ => Backend::Rten,
    };
    let before = anonymous();
    let model = Matmul::load_with(&LoadOptions::new().backend(backend).threads(1)).unwrap();
    let x = Tensor::new([1, 4096], (0..4096).map(|i| i as f32).collect()).unwrap();
    let loaded = anonymous() - before;
    let y = model.run(&MatmulInputs { x }).unwrap().y;
    assert!(y.data().iter().enumerate().all(|(i, y)| *y == 2.0 * i as f32));
    println!("{loaded} {}", anonymous() - before);
}
"#,
    );
    for (item, backend) in
        [two, one].map(|i| backends().map(move |b| (i.clone(), b))).into_iter().flatten()
    {
        app.spec(&json!({ "items": [item] }));
        app.build(true);
        let said = succeed(&Command::new(app.executable()).arg(backend).output().unwrap());
        let kilobytes: Vec<u64> = said.split_whitespace().map(|n| n.parse().unwrap()).collect();
        eprintln!(
            "{backend}: 65536 kB of weights, private memory {kilobytes:?} kB after load, run"
        );
        assert!(kilobytes[0] < 32_768, "{backend} copied the weights: {kilobytes:?} kB");
        assert!(kilobytes[1] < 48_000, "{backend} copied the weights: {kilobytes:?} kB");
    }
}

#[test]
fn weights_within_a_branch_are_found() {
    let app = Crate::new("branch");
    let item = json!({
        "model": "branch", "target": "fp32", "format": "onnx", "mode": "auto",
        "files": [{ "name": "branch.onnx" }],
        "info": {
            "inputs": [port("x", "f32", &["1", "32"]), port("which", "bool", &[])],
            "outputs": [port("y", "f32", &["1", "32"])], "parameters": 2048, "facts": [],
        },
    });
    let item = written(item, &fixture("branch.onnx"));
    app.spec(&json!({ "items": [item] }));
    app.write(
        "src/main.rs",
        r#"
use model_build_runtime::{Backend, LoadOptions, Tensor};
model_build_runtime::include_model!("branch");
fn main() {
    let backend = match std::env::args().nth(1).as_deref() {
        Some("OnnxRuntime") => Backend::OnnxRuntime,
        _ => Backend::Rten,
    };
    let model = Branch::load_with(&LoadOptions::new().backend(backend)).unwrap();
    for (which, factor) in [(true, 2.0), (false, 3.0)] {
        let x = Tensor::new([1, 32], (0..32).map(|i| i as f32).collect()).unwrap();
        let y = model.run(&BranchInputs { x, which: Tensor::scalar(which) }).unwrap().y;
        assert!(y.data().iter().enumerate().all(|(i, y)| *y == factor * i as f32), "{which}");
    }
}
"#,
    );
    app.build(true);
    for backend in backends() {
        succeed(&Command::new(app.executable()).arg(backend).output().unwrap());
    }
}

#[test]
fn a_library_that_is_not_there_is_said_with_what_to_do() {
    let app = Crate::new("libraryless");
    app.spec(&json!({ "items": [mlp("mlp")] }));
    app.write(
        "src/main.rs",
        r#"
use model_build_runtime::{Backend, LoadOptions};
model_build_runtime::include_model!("mlp");
fn main() {
    let error = Mlp::load_with(&LoadOptions::new().backend(Backend::OnnxRuntime)).unwrap_err();
    println!("{:?}: {error}", error.kind());
}
"#,
    );
    app.build(true);
    let run = Command::new(app.executable()).env("ORT_DYLIB_PATH", "/nowhere/lib.so").output();
    let said = succeed(&run.unwrap());
    assert!(said.starts_with("Library: ONNX Runtime was not found: "), "{said}");
    assert!(said.contains("/nowhere/lib.so") && said.contains("set ORT_DYLIB_PATH"), "{said}");
}
