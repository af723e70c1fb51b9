//! The report of a build: what it says, that names cannot become markup, and how it looks in a real
//! browser. Needs `MODEL_BUILD_CHROMIUM` for that (`scripts/fetch-chromium.sh`) and says when it
//! skips. Pictures are left in `target/report/`.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a test suite

use std::fs;
use std::path::{Path, PathBuf};

use model_build::execute;
use model_build::format::onnx;
use model_build::hub::{Body, DType, Dim, Graph, Node, Tensor, Type};
use model_build::report::{self, Entry, Histogram, Page};
use model_build::verify::{Cost, Costs};
use model_build_tests::chromium::{self, Picture};
use model_build_tests::project::{Log, Project, repository};
use serde_json::Value as Json;

const MANIFEST: &str = r#"
[digits]
source = "model"
[digits.targets.fp16]
format = "onnx"
precision = "fp16"
verify = { cosine = 0.999, snr = 30, runner = "rten", samples = 2 }
[digits.targets.int8]
format = "onnx"
quantization = "int8"
verify = { cosine = 0.9, max-abs = 1, runner = "rten", samples = 2 }
"#;

/// Everything that can be said of a project's artifacts, with costs and a histogram made up.
fn entries(project: &Project) -> Vec<Entry> {
    let (plan, store) = (project.plan(), project.store());
    let artifacts = project.run(&plan).0.unwrap();
    let mut out = Vec::new();
    for (job, artifact) in plan.jobs.iter().zip(&artifacts) {
        let mut entry = report::gather(job, artifact, &store, &mut Log::default()).unwrap();
        if let Some(step) = &job.verify {
            let reference = execute::reference(job, &store, &mut Log::default()).unwrap().unwrap();
            let (a, b) =
                (store.unfold(&reference).unwrap(), store.unfold(&artifact.record).unwrap());
            let found = execute::layers(&step.spec, a.files(), b.files(), &mut |_, _| {});
            entry.layers = Some(found.unwrap());
        }
        entry.costs = Some(costs());
        entry.histograms.push(histogram(&job.name()));
        out.push(entry);
    }
    out
}

fn costs() -> Costs {
    let cost = |median: f64, peak| Cost {
        load: 12.0,
        median,
        p95: median * 1.3,
        fastest: median * 0.9,
        peak_bytes: Some(peak),
    };
    Costs {
        reference: cost(4.2, 90_000_000),
        artifact: cost(2.6, 31_000_000),
        runs: 50,
        threads: 1,
        runner: "rten 0.27".to_owned(),
        level: "all graph optimizations".to_owned(),
        shapes: vec!["pixel_values [2, 1, 8, 8]".to_owned()],
    }
}

fn histogram(name: &str) -> Histogram {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a count
    let bell = |i: i32| (2000.0 * (-f64::from(i * i) / 200.0).exp()) as u64;
    Histogram {
        name: format!("{name}/input"),
        edges: (-32..=32).map(|i| f64::from(i) / 8.0).collect(),
        counts: (-32..32).map(bell).collect(),
        range: Some((-2.5, 2.5)),
    }
}

fn digits() -> Project {
    Project::new(&repository().join("examples/digits/model"), MANIFEST)
}

fn page(entries: Vec<Entry>) -> String {
    report::html(&Page { title: "digits".to_owned(), entries })
}

#[test]
fn a_report_says_what_was_made_and_has_the_same_bytes_for_the_same_data() {
    let project = digits();
    let text = page(entries(&project));
    assert_eq!(text, page(entries(&project)));
    for word in [
        "<!doctype html>",
        "digits.fp16",
        "✓ Every bound holds",
        "dynamic-int8",
        "source model.safetensors",
        "encoder.layer.0.attention.output.dense/MatMul",
        "MatMulInteger",
        "layer 3",
        "logarithmic scale",
        "4.20 ms",
    ] {
        assert!(text.contains(word), "{word}");
    }
    assert!(!text.contains("<script") && !text.contains("http://") && !text.contains("https://"));
    assert!(!text.contains("url(") && !text.contains("@import"), "nothing from outside");
    let here = project.path("").to_string_lossy().into_owned();
    assert!(!text.contains(&here), "no paths of this machine");
}

#[test]
fn blame_is_zero_where_a_pass_changed_nothing_and_the_first_layer_inherits_nothing() {
    let entries = entries(&digits());
    let layers =
        |name: &str| entries.iter().find(|e| e.name == name).unwrap().layers.clone().unwrap();
    let int8 = layers("digits.int8");
    assert!(int8.other_shapes.is_empty());
    let worst = int8.worst();
    assert!(!worst.is_empty() && worst.len() < int8.layers.len() / 2, "{}", worst.len());
    assert!(worst.iter().all(|l| l.becomes != [l.op.as_str()]), "{worst:?}");
    assert!(worst.is_sorted_by(|a, b| a.blame >= b.blame));
    // Before anything was quantized there is no error; where something first is, all of it is its own.
    let first = int8.layers.iter().find(|l| l.relative != Some(0.0)).unwrap();
    assert_eq!(first.blame, first.relative, "{first:?}");
    // Later layers hand on what they inherit.
    let last = int8.layers.last().unwrap();
    assert!(last.relative.unwrap() > last.blame.unwrap(), "{last:?}");
    let fp16 = layers("digits.fp16");
    assert_eq!(fp16.layers.len(), int8.layers.len());
    assert!(fp16.layers.iter().all(|l| l.relative.unwrap() < 0.01), "{:?}", fp16.worst()[0]);
}

/// A model whose names are markup: x ─ MatMul ─ y.
fn hostile(folder: &Path) {
    let mut graph = Graph::new("g", 8, 17);
    let body: &mut Body = &mut graph.body;
    let evil = "<script>alert(1)</script>\"'&\u{202e}";
    let names = ["x", "w", "h", "y"].map(|name| format!("{name}{evil}"));
    let [x, w, h, y] = names.map(|name| body.intern(&name).unwrap());
    let dims = || [Dim::symbol("</style><b>"), Dim::Fixed(64)];
    body.value_mut(x).ty = Some(Type::tensor(DType::F32, dims()));
    body.value_mut(y).ty = Some(Type::tensor(DType::F32, dims()));
    let values: Vec<f32> = (0..64 * 64).map(|i| (i as f32 * 0.37).sin()).collect();
    body.value_mut(w).init = Some(Tensor::from_f32(vec![64, 64], &values).unwrap());
    body.add_input(x);
    body.add_output(y);
    let mut node = Node::new("MatMul", &[x, w], &[h]);
    node.name = evil.to_owned();
    body.add_node(node).unwrap();
    body.add_node(Node::new("Tanh", &[h], &[y])).unwrap();
    fs::write(folder.join("model.onnx"), onnx::to_bytes(&graph).unwrap()).unwrap();
}

#[test]
fn names_of_a_model_cannot_become_markup() {
    let folder = tempfile::tempdir().unwrap();
    hostile(folder.path());
    let manifest = "[m]\nsource = 'model'\n[m.targets.t]\nformat = 'onnx'\nquantization = 'int8'\n\
                    verify = { runner = 'rten', samples = 1 }\n";
    let project = Project::new(folder.path(), manifest);
    let text = page(entries(&project));
    assert!(
        text.contains("h&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;\\u{202e}"),
        "{text}"
    );
    assert!(!text.contains("<script") && !text.contains('\u{202e}'));
    assert_eq!(text.matches("</style>").count(), 1, "{text}");
}

/// Boxes (left, top, width, height) of the elements that a selector finds.
fn boxes(page: &mut chromium::Page, selector: &str) -> Vec<[f64; 4]> {
    let found = page.evaluate(&format!(
        "[...document.querySelectorAll('{selector}')].map(e => {{ const r = e.getBoundingClientRect(); \
         return [r.left + scrollX, r.top + scrollY, r.width, r.height] }})"
    ));
    let number = |v: &Json| v.as_f64().unwrap();
    let boxes = found.as_array().unwrap().iter();
    boxes.map(|b| std::array::from_fn(|i| number(&b[i]))).collect()
}

/// The colour that an element of the page is filled with.
fn fill(page: &mut chromium::Page, selector: &str) -> [u8; 3] {
    let text =
        page.evaluate(&format!("getComputedStyle(document.querySelector('{selector}')).fill"));
    let inside = text.as_str().unwrap().trim_start_matches("rgb(").trim_end_matches(')').to_owned();
    let mut channels = inside.split(',').map(|c| c.trim().parse().unwrap());
    std::array::from_fn(|_| channels.next().unwrap())
}

/// Whole pixels; a box of the page is not left of it or above it.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn pixels(at: f64) -> usize {
    at as usize
}

/// Looks at a page in one width and scheme, and saves the picture.
fn look(page: &mut chromium::Page, file: &Path, width: u32, scheme: &str) -> Picture {
    page.look(width, scheme);
    page.open(&format!("file://{}", file.display()));
    let right = page.evaluate("document.documentElement.scrollWidth");
    assert!(right.as_u64().unwrap() <= u64::from(width), "{width} px: the page is {right} wide");
    let picture = page.picture();
    let folder = repository().join("target/report");
    fs::create_dir_all(&folder).unwrap();
    let stem = file.file_stem().unwrap().to_string_lossy();
    fs::write(folder.join(format!("{stem}-{width}-{scheme}.png")), &picture).unwrap();
    assert!(page.complaints.is_empty(), "{width} px, {scheme}: {:?}", page.complaints);
    Picture::of_png(&picture)
}

#[test]
fn a_browser_shows_the_plots_in_every_width_and_scheme_and_complains_of_nothing() {
    let Some(program) = chromium::program() else {
        println!("skipped: {} is not set; see scripts/fetch-chromium.sh", chromium::VARIABLE);
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("digits.html");
    fs::write(&file, page(entries(&digits()))).unwrap();
    let mut page = chromium::Page::start(&program);
    let mut backgrounds = Vec::new();
    for (width, scheme) in [(360, "light"), (360, "dark"), (1280, "light"), (1280, "dark")] {
        let picture = look(&mut page, &file, width, scheme);
        assert_eq!(picture.width, width as usize);
        let plots = boxes(&mut page, "svg");
        assert_eq!(plots.len(), 12, "six plots for each of two artifacts");
        let colours = ["reference", "artifact", "blame", "error"]
            .map(|class| fill(&mut page, &format!("svg .{class}")));
        // Along the graph, most to blame, size, latency, memory, histogram.
        let shown = [[2, 3], [2, 3], [0, 1], [0, 1], [0, 1], [1, 2]];
        for (plot, shown) in plots.iter().zip(shown.iter().cycle()) {
            assert!(plot[2] > 280.0 && plot[0] >= 0.0, "{width} px: a plot at {plot:?}");
            let area = plot.map(pixels).into();
            for colour in shown {
                let found = picture.count(area, colours[*colour]);
                assert!(found > 60, "{width} px, {scheme}: {found} pixels in {plot:?}");
            }
        }
        // Text keeps inside of the page, and what is too wide scrolls in its own box.
        for text in boxes(&mut page, "svg text") {
            let right = text[0] + text[2];
            assert!(text[0] >= 0.0 && right <= f64::from(width), "{width} px: a text at {text:?}");
        }
        backgrounds.push(picture.count((0, 0, 8, 8), [244, 245, 247]));
    }
    assert_eq!(backgrounds, [64, 0, 64, 0], "the page is dark where it is asked to be");
}

#[test]
fn a_browser_runs_nothing_of_a_hostile_model() {
    let Some(program) = chromium::program() else {
        println!("skipped: {} is not set; see scripts/fetch-chromium.sh", chromium::VARIABLE);
        return;
    };
    let (folder, model) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    hostile(model.path());
    let manifest = "[m]\nsource = 'model'\n[m.targets.t]\nformat = 'onnx'\nquantization = 'int8'\n\
                    verify = { runner = 'rten', samples = 1 }\n";
    let file = folder.path().join("hostile.html");
    fs::write(&file, page(entries(&Project::new(model.path(), manifest)))).unwrap();
    let mut page = chromium::Page::start(&program);
    look(&mut page, &file, 360, "light");
    assert_eq!(page.evaluate("document.scripts.length + document.querySelectorAll('b').length"), 0);
}

#[test]
fn a_report_that_is_named_is_looked_at_too() {
    let (Some(program), Some(file)) = (chromium::program(), std::env::var_os("MODEL_BUILD_REPORT"))
    else {
        println!("skipped: MODEL_BUILD_REPORT names no report");
        return;
    };
    let file: PathBuf = fs::canonicalize(file).unwrap();
    let mut page = chromium::Page::start(&program);
    for (width, scheme) in [(360, "light"), (360, "dark"), (1280, "light"), (1280, "dark")] {
        look(&mut page, &file, width, scheme);
    }
}
