//! A build script that hands over to the tool, or says why it cannot.

use std::fs;
use std::path::{Path, PathBuf};

use crate::app::{App, Helper};

/// The tool, of this version.
const TOOL: &str = env!("CARGO_BIN_EXE_model-build");

const MODELS: &str = r#"
[package.metadata.models.digits]
source = "model"
[package.metadata.models.digits.targets.fp32]
format = "onnx"
[package.metadata.models.digits.targets.int8]
format = "onnx"
quantization = "int8"
"#;

/// An executable script.
fn script(app: &App, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = app.path(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// `PATH` with a folder before the others.
fn path_with(dir: &Path) -> std::ffi::OsString {
    let old = std::env::var_os("PATH").unwrap();
    std::env::join_paths([dir.to_owned()].into_iter().chain(std::env::split_paths(&old))).unwrap()
}

#[test]
#[cfg(unix)]
fn a_tool_gives_the_artifacts_that_the_library_gives() {
    // By the library.
    let app = App::new("app-by-library", Helper::Engine, MODELS);
    let library = app.build();
    let steps = ["digits.fp32 convert", "digits.int8 convert"];
    assert_eq!(library.started(), steps);

    // By the tool that is named, for a library without an engine, with a cache of its own.
    let bare = App::new("app-by-tool", Helper::Bare, MODELS);
    bare.set("MODEL_BUILD", TOOL);
    let tool = bare.build();
    assert_eq!(tool.started(), steps);
    assert_eq!(tool.digests(), library.digests());
    assert_eq!(tool.generated("digits.int8.rs"), library.generated("digits.int8.rs"));
    assert!(bare.build().fresh);
    // The tool tells cargo what it depends on.
    bare.change_a_weight();
    assert_eq!(bare.build().started(), steps);
    // Its errors are the build script's.
    bare.replace("Cargo.toml", "\"int8\"", "\"int7\"");
    let wrong = bare.error();
    assert!(wrong.contains("quantization = \"int7\"") && wrong.contains("^^^^^^"), "{wrong}");
    bare.replace("Cargo.toml", "\"int7\"", "\"int8\"");

    // By the tool on PATH: it says so in a file.
    let log = bare.path("called");
    fs::create_dir(bare.path("bin")).unwrap();
    script(
        &bare,
        "bin/model-build",
        &format!("echo \"$@\" >> {}\nexec {TOOL} \"$@\"", log.display()),
    );
    let dir = bare.path("bin");
    bare.unset("MODEL_BUILD");
    bare.set("PATH", path_with(&dir));
    let on_path = bare.build();
    assert!(on_path.ran_the_script());
    assert_eq!(on_path.started(), [""; 0]);
    assert_eq!(fs::read_to_string(&log).unwrap(), "--version\nbuild-script\n");

    // The one on PATH is passed over when it is of another version: no engine is left then.
    script(&bare, "bin/model-build", "echo model-build 0.0.1");
    bare.touch("build.rs".as_ref(), 0);
    let none = bare.error();
    assert!(none.contains("error: no `model-build` tool was found"), "{none}");
    assert!(
        none.contains("hint: ") && none.contains("MODEL_BUILD") && none.contains("`engine`"),
        "{none}"
    );
    // A library with an engine does the work itself.
    app.set("PATH", path_with(&dir));
    app.touch("build.rs".as_ref(), 0);
    let itself = app.build();
    assert!(itself.ran_the_script() && itself.started().is_empty());

    // One that is named is not passed over.
    let other = bare.path("bin/model-build");
    app.set("MODEL_BUILD", &other);
    let refused = app.error();
    assert!(
        refused.contains("error: the tool that MODEL_BUILD names is version 0.0.1, the library is"),
        "{refused}"
    );
    assert!(refused.contains("hint: install the same version of both"), "{refused}");
    for (text, why) in [
        ("exit 3", "`--version` ended with exit status: 3"),
        ("echo something else", "`--version` does not print a version of model-build"),
    ] {
        script(&bare, "bin/model-build", text);
        let broken = app.error();
        assert!(
            broken.contains(&format!("error: the tool that MODEL_BUILD names does not run: {why}")),
            "{broken}"
        );
        assert!(broken.contains("hint: correct MODEL_BUILD, or unset it"), "{broken}");
    }
    app.set("MODEL_BUILD", "/nonexistent/model-build");
    let absent = app.error();
    assert!(absent.contains("does not run: No such file or directory"), "{absent}");
    assert!(absent.contains("/nonexistent/model-build"), "{absent}");

    // A tool that dies.
    script(
        &bare,
        "bin/model-build",
        &format!("[ $1 = build-script ] && kill -9 $$\nexec {TOOL} \"$@\""),
    );
    app.set("MODEL_BUILD", other);
    let killed = app.error();
    assert!(killed.contains("error: the tool ended with signal: 9"), "{killed}");
}
