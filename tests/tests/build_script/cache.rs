//! The cache: shared, missing, used by two builds at once, and blind to how the script was built.

use std::collections::BTreeSet;
use std::process::Stdio;

use model_build_tests::crates::text;

use crate::app::{App, Helper};

const MODELS: &str = r#"
[package.metadata.models.digits]
source = "model"
[package.metadata.models.digits.targets.fp32]
format = "onnx"
[package.metadata.models.digits.targets.int8]
format = "onnx"
quantization = "int8"
"#;

#[test]
fn two_crates_share_a_cache_and_a_build_without_one_says_so() {
    let steps = ["digits.fp32 convert", "digits.int8 convert"];
    let first = App::new("app-shares", Helper::Engine, MODELS);
    let made = first.build();
    assert_eq!(made.started(), steps);

    // Another folder with the same bytes, declared by its workspace: other paths, and the cache knows
    // the artifacts.
    let inherited = MODELS.replace("[package.", "[workspace.");
    let inherited = format!("[package.metadata.models]\ndigits.workspace = true\n{inherited}");
    let second = App::new("app-shares-too", Helper::Engine, &inherited);
    second.set("MODEL_BUILD_CACHE", first.path("cache"));
    let shared = second.build();
    assert_eq!(shared.started(), [""; 0]);
    assert_eq!(shared.reused(), steps);
    assert_eq!(shared.digests(), made.digests());
    assert_eq!(shared.warnings(), [""; 0]);

    // OUT_DIR outlives the runs of this test.
    let _ = std::fs::remove_dir_all(shared.out_dir.as_ref().unwrap().join("model-build-cache"));
    // A folder that cannot be made: below a file, as not even root can.
    second.set("MODEL_BUILD_CACHE", first.path("Cargo.toml").join("cache"));
    let fallen = second.build();
    assert_eq!(fallen.warnings().len(), 1, "{}", fallen.stderr);
    let warning = fallen.warnings()[0];
    assert!(
        warning.contains("Cargo.toml/cache") && warning.contains("MODEL_BUILD_CACHE"),
        "{warning}"
    );
    assert_eq!(fallen.started(), steps);
    assert_eq!(fallen.digests(), made.digests());
    assert!(second.build().fresh);
    second.touch("build.rs".as_ref(), 0);
    let again = second.build();
    assert!(again.ran_the_script() && again.started().is_empty());

    second.set("MODEL_BUILD_CACHE", "cache");
    let relative = second.error();
    assert!(
        relative.contains("error: MODEL_BUILD_CACHE is not an absolute path (cache)"),
        "{relative}"
    );
    assert!(relative.contains("hint: write the path from the root"), "{relative}");

    // A damaged object is found, said, and made anew.
    let object = first.path("cache/v1/objects");
    for entry in walk(&object) {
        std::fs::remove_file(&entry).unwrap();
        std::fs::write(&entry, b"damage").unwrap();
    }
    second.set("MODEL_BUILD_CACHE", first.path("cache"));
    let mended = second.build();
    assert!(
        mended.warnings().iter().any(|w| w.contains("dropped from the cache")),
        "{}",
        mended.stderr
    );
    assert_eq!(mended.started(), steps);
    assert_eq!(mended.digests(), made.digests());
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries.flat_map(|p| if p.is_dir() { walk(&p) } else { vec![p] }).collect()
}

#[test]
fn debug_release_and_any_number_of_threads_give_the_same_bytes_and_builds_at_once_share_the_work() {
    let app = App::new("app-profiles", Helper::Engine, MODELS);
    app.set("RAYON_NUM_THREADS", "1");
    let one = app.build();

    // The two profiles have folders of their own, each with its own lock: cargo runs both at once.
    app.set("MODEL_BUILD_CACHE", app.path("cache-release"));
    let release = app.try_build(&["--release"]);
    assert_eq!(release.started().len(), 2, "{}", release.stderr);
    assert_eq!(release.digests(), one.digests());

    app.set("RAYON_NUM_THREADS", "8");
    app.set("MODEL_BUILD_CACHE", app.path("cache-8"));
    let eight = app.build();
    assert_eq!(eight.started().len(), 2);
    assert_eq!(eight.digests(), one.digests());

    for round in 0..3 {
        let cache = app.path(&format!("cache-both-{round}"));
        let start = |profile: &[&str]| {
            let arguments = ["build", "-vv", "--message-format=json-render-diagnostics"];
            app.cargo(&[&arguments, profile].concat())
                .env("MODEL_BUILD_CACHE", &cache)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let both = [start(&[]), start(&["--release"])].map(|c| c.wait_with_output().unwrap());
        let mut started = Vec::new();
        for output in &both {
            let said = text(&output.stderr);
            assert!(output.status.success(), "{said}");
            started
                .extend(said.lines().filter(|l| l.contains(": convert: read ")).map(str::to_owned));
        }
        let distinct: BTreeSet<_> = started.iter().collect();
        assert_eq!((started.len(), distinct.len()), (2, 2), "{started:?}");
    }
}
