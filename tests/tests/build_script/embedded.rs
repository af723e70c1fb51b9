//! An artifact that is too large for `include_bytes!`, from the manifest to the running program.
#![cfg(target_os = "linux")]

use std::fs;

use model_build::format::onnx;
use model_build::hub::{DType, Dim, Graph, Tensor, Type};
use model_build_tests::crates::succeed;

use crate::app::{App, Helper};

/// The side of the matrix: 12.8 MB.
const N: u64 = 1792;

const MAIN: &str = r#"
//! Says where the weights are, and what loading and running costs.
use std::fs;
use model_build_runtime::Tensor;
model_build_runtime::include_model!("large");

/// A line of `/proc/self/status`, in bytes.
fn status(name: &str) -> usize {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap();
    line.trim_matches([':', ' ', '\t']).trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// The file that an address is mapped from, the end of the mapping, and its lines in smaps.
fn mapping(address: usize) -> (String, usize, Vec<String>) {
    let text = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some((range, rest)) = line.split_once(' ') else { continue };
        let Some((start, end)) = range.split_once('-') else { continue };
        let (Ok(start), Ok(end)) = (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16)) else { continue };
        if (start..end).contains(&address) {
            let about = lines.take_while(|l| l.contains(" kB")).map(str::to_owned).collect();
            return (rest.split_whitespace().nth(4).unwrap_or_default().to_owned(), end, about);
        }
    }
    panic!("not mapped");
}

fn main() {
    let bytes = Large::bytes().unwrap();
    let start = bytes.as_ptr() as usize;
    let (file, end, _) = mapping(start);
    assert_eq!(fs::canonicalize(file).unwrap(), std::env::current_exe().unwrap());
    assert!(start + bytes.len() <= end, "in one mapping");
    assert_eq!(start % 64, 0);

    let before = status("RssAnon");
    let model = Large::load().unwrap();
    let loaded = status("RssAnon");
    let x = Tensor::new([2, N], (0..2 * N).map(|i| (i % 100) as f32).collect()).unwrap();
    let y = model.run(&LargeInputs { x: x.clone() }).unwrap().y;
    let ran = status("RssAnon");
    assert!(x.data().iter().zip(y.data()).all(|(x, y)| *y == 2.0 * x), "twice the input");
    let copied = mapping(start).2.into_iter().find(|l| l.starts_with("Anonymous:")).unwrap();
    println!("{} {} {} {copied}", bytes.len(), loaded.saturating_sub(before), ran.saturating_sub(before));
}
"#;

/// `y = x · w`, where w is twice the identity.
fn model() -> Vec<u8> {
    let mut graph = Graph::new("large", 8, 17);
    let side = usize::try_from(N).unwrap();
    let mut weights = vec![0.0; side * side];
    weights.iter_mut().step_by(side + 1).for_each(|w| *w = 2.0);
    let rows = || Type::tensor(DType::F32, [Dim::symbol("batch"), Dim::Fixed(N)]);
    let mut edit = graph.edit();
    let x = edit.value("x", Some(rows())).unwrap();
    let w = edit.constant("w", Tensor::from_f32(vec![N, N], &weights).unwrap()).unwrap();
    let y = edit.op("MatMul", "y", &[x, w], &[]).unwrap();
    edit.set_type(y, Some(rows()));
    edit.finish().unwrap();
    graph.body.add_input(x);
    graph.body.add_output(y);
    onnx::to_bytes(&graph).unwrap()
}

#[test]
fn a_large_artifact_is_a_section_of_the_executable_and_is_computed_from_where_it_lies() {
    let app = App::new(
        "app-large",
        Helper::Default,
        r#"
[package.metadata.models.large]
source = "large.onnx"
[package.metadata.models.large.targets.plain]
format = "onnx"
"#,
    );
    app.krate.write("large.onnx", model());
    fs::remove_file(app.path("src/lib.rs")).unwrap();
    app.krate.write(
        "src/main.rs",
        MAIN.replace("N]", &format!("{N}]")).replace("2 * N", &format!("2 * {N}")),
    );
    let built = app.build();
    assert_eq!(built.started(), ["large.plain convert"]);
    assert!(built.generated("large.rs").contains("__linked!"));

    // Alone, far from where it was built.
    let alone = tempfile::tempdir().unwrap();
    let executable = alone.path().join("app");
    fs::copy(app.krate.executable(), &executable).unwrap();
    let section = std::process::Command::new(&executable).output().unwrap();
    let said = succeed(&section);
    let numbers: Vec<u64> = said.split(' ').filter_map(|n| n.trim().parse().ok()).collect();
    let [len, loading, running, copied] = numbers[..] else { panic!("{said}") };
    assert!(len > N * N * 4, "{said}");
    assert!(loading < 2 << 20 && running < 4 << 20, "{said}");
    assert_eq!(copied, 0, "{said}");
    assert!(executable.metadata().unwrap().len() > len);

    // The object file, the archive and the copy in OUT_DIR are made once.
    app.touch("build.rs".as_ref(), 0);
    let again = app.build();
    assert!(again.ran_the_script() && again.started().is_empty() && again.read().is_empty());
}
