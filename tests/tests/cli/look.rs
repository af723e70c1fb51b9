//! The commands that look: `plan`, `why`, `inspect`, `cache`, `doctor`, `completions`, `man`.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::tool::{Folder, MANIFEST, is_here};

#[test]
fn plan_says_what_is_fresh_without_doing_anything() {
    let folder = Folder::project(MANIFEST);
    let states = |out: &str| -> Vec<String> {
        let state = |line: &str| {
            let words: Vec<&str> =
                line.split("  ").map(str::trim).filter(|w| !w.is_empty()).collect();
            words[..3].join(" ")
        };
        out.lines().map(state).collect()
    };
    let before = folder.succeed(&["plan"]);
    let want =
        ["digits.fp32 convert to do", "digits.int8 convert to do", "digits.int8 verify to do"];
    assert_eq!(states(&before), want);
    assert!(
        before.contains("read safetensors → lower vit → dynamic-int8 → write onnx"),
        "{before}"
    );
    assert_eq!(folder.succeed(&["plan"]), before);
    folder.succeed(&["build", "digits.int8"]);
    let want =
        ["digits.fp32 convert to do", "digits.int8 convert fresh", "digits.int8 verify fresh"];
    // The reference that int8 was compared with is what fp32 is.
    let after = states(&folder.succeed(&["plan"]));
    assert_eq!(after[0].replace("fresh", "to do"), want[0]);
    assert_eq!(after[1..], want[1..]);
    assert!(folder.succeed(&["plan", "-v"]).contains("source model.safetensors: "));
}

#[test]
fn why_names_the_weight_file_the_field_and_the_condition_that_changed() {
    let folder = Folder::project(MANIFEST);
    let int8 = |folder: &Folder| folder.succeed(&["why", "digits.int8"]);
    assert_eq!(
        int8(&folder),
        "digits.int8, convert: to do; it was not built here before\n\
         digits.int8, verify: to do; it was not built here before\n"
    );
    folder.succeed(&["build"]);
    assert!(int8(&folder).contains("convert: fresh; nothing changed since its first build here"));
    folder.change_a_weight();
    let text = int8(&folder);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "digits.int8, convert: to do; since its last build this changed:");
    assert!(lines[1].starts_with("    source model.safetensors changed: "), "{text}");
    assert_eq!(lines[2], "digits.int8, verify: to do; since its last build this changed:");
    folder.succeed(&["build"]);
    let text = int8(&folder);
    assert!(text.contains("convert: fresh; before its last build this changed:"), "{text}");
    folder.write("models.toml", MANIFEST.replace("quantization = \"int8\"\n", ""));
    let text = int8(&folder);
    assert!(text.contains("\n    dynamic-int8 was removed"), "{text}");
    folder.write("models.toml", MANIFEST.replace("samples = 2", "samples = 3"));
    let text = int8(&folder);
    assert!(
        text.contains(
            "verify: to do; since its last build this changed:\n    samples changed: 2 → 3"
        ),
        "{text}"
    );
    folder.succeed(&["build"]);
    folder.succeed(&["cache", "clear"]);
}

#[test]
fn inspect_shows_checkpoints_and_graphs() {
    let folder = Folder::with_model();
    let out = folder.succeed(&["inspect", "model"]);
    for word in
        ["model_type     vit", "parameters     136138", "72 f32", "preprocessor_config.json (55"]
    {
        assert!(out.contains(word), "{word}\n{out}");
    }
    let out = folder.succeed(&["inspect", "model", "--tensors"]);
    assert!(out.contains("classifier.weight") && out.contains("f32[10, 64]"), "{out}");
    folder.succeed(&["convert", "model", "m.onnx"]);
    let out = folder.succeed(&["inspect", "m.onnx", "--nodes"]);
    for word in ["ai.onnx 17", "logits: f32[batch, 10]", "33 MatMul", "  MatMul", " → logits"] {
        assert!(out.contains(word), "{word}\n{out}");
    }
    folder.write("broken.onnx", b"\x08\x08\xff\xff");
    folder.fail(4, &["broken.onnx)"], &["inspect", "broken.onnx"]);
}

#[test]
fn the_cache_is_counted_checked_swept_and_cleared() {
    let folder = Folder::project(MANIFEST);
    let stats = || folder.json(&["cache", "stats"]).1.remove(0);
    assert_eq!((stats()["objects"].as_u64(), stats()["records"].as_u64()), (Some(0), Some(0)));
    folder.succeed(&["build"]);
    let full = stats();
    assert_eq!((full["objects"].as_u64(), full["records"].as_u64()), (Some(3), Some(3)));
    let text = folder.succeed(&["cache", "stats"]);
    assert!(text.contains(folder.path("cache").to_str().unwrap()) && text.contains("objects  3 ("));
    assert!(folder.succeed(&["cache", "verify"]).contains("nothing is damaged"));
    let (_, lines) = folder.json(&["build"]);
    let object = lines.last().unwrap()["artifacts"][0]["files"][0]["path"].as_str().unwrap();
    let mut bytes = std::fs::read(object).unwrap();
    bytes[100] ^= 1;
    std::fs::remove_file(object).unwrap();
    std::fs::write(object, bytes).unwrap();
    let text = folder.succeed(&["cache", "verify"]);
    assert!(text.contains(&format!("dropped {object}: ")) && text.contains("2 damaged"), "{text}");
    let run = folder.run(&["build"]);
    assert!(run.code == 0 && run.err.contains("Converted digits.fp32"), "{run}");
    assert!(folder.succeed(&["cache", "gc"]).contains("dropped 0 objects (0 B) and 0 records"));
    let text = folder.succeed(&["cache", "gc", "--max-size", "0"]);
    assert!(text.contains("dropped 3 objects (") && text.contains("kept 0 B"), "{text}");
    folder.succeed(&["build"]);
    let text = folder.succeed(&["cache", "clear"]);
    assert!(text.starts_with("dropped 3 objects ("), "{text}");
    assert_eq!(stats()["bytes"].as_u64(), Some(0));
    folder.fail(2, &["`1.5GB` is no size", "20GB"], &["cache", "gc", "--max-size", "1.5GB"]);
    folder.fail(2, &["`soon` is no age", "30d"], &["cache", "gc", "--max-age", "soon"]);
}

#[test]
fn a_cache_that_cannot_be_used_is_an_error_that_names_the_variable() {
    let folder = Folder::project(MANIFEST);
    folder.write("file", "");
    for args in [["build"], ["plan"], ["why"]] {
        let at = folder.at("file");
        let args = [args[0], "--cache-dir", at.to_str().unwrap()];
        folder.fail(8, &["MODEL_BUILD_CACHE"], &args);
    }
    let relative =
        crate::tool::Run::of(folder.command(&["build"]).env("MODEL_BUILD_CACHE", "here"));
    assert_eq!(relative.code, 8, "{relative}");
    assert!(relative.err.contains("not an absolute path"), "{relative}");
}

#[test]
fn doctor_says_what_is_here_and_what_to_do_about_the_rest() {
    let folder = Folder::empty();
    let out = folder.succeed(&["doctor"]);
    for what in ["model-build", "build scripts", "cache", "ONNX Runtime", "rten", "rustc", "cargo"]
    {
        assert!(out.lines().any(|l| l.contains(&format!("  {what}  "))), "{what}\n{out}");
    }
    for line in out.lines() {
        let known = ["ok  ", "note", "    "].iter().any(|state| line.starts_with(state));
        assert!(known, "{line}");
    }
    let broken =
        |name: &str| crate::tool::Run::of(folder.command(&["doctor"]).env(name, folder.at("none")));
    for name in ["MODEL_BUILD", "ORT_DYLIB_PATH"] {
        let run = broken(name);
        assert_eq!(run.code, 7, "{run}");
        assert!(run.out.contains("fail") && run.out.contains(name), "{run}");
        assert!(run.err.contains("1 thing does not work"), "{run}");
    }
}

#[test]
fn completion_scripts_are_accepted_by_their_shells_and_know_the_manifests_words() {
    let folder = Folder::empty();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = folder.succeed(&["completions", shell]);
        for word in ["convert", "quantization", "verify.cosine", "doctor"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        // These shells' scripts complete values too.
        let values = ["bash", "zsh", "fish"].contains(&shell);
        assert!(!values || script.contains("int8"), "{shell}");
        if shell == "powershell" || shell == "elvish" || !is_here(shell) {
            continue;
        }
        let mut child = Command::new(shell).arg("-n").stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{shell} -n");
    }
    folder.fail(2, &["bash"], &["completions", "cmd"]);
}

#[test]
fn the_manual_has_a_page_for_every_subcommand() {
    let folder = Folder::empty();
    assert!(folder.succeed(&["man"]).contains(".TH model-build 1"));
    folder.succeed(&["man", "pages"]);
    for name in ["", "-build", "-convert", "-plan", "-inspect", "-verify", "-why", "-cache"] {
        let page = folder.read(&format!("pages/model-build{name}.1"));
        assert!(page.contains(".SH SYNOPSIS"), "{name}");
    }
    let page = folder.read("pages/model-build-convert.1");
    assert!(page.contains("quantization") && page.contains("int8"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = Folder::project(MANIFEST);
    folder.succeed(&["build"]);
    let all: [&[&str]; 6] = [
        &["build", "--message-format", "json"],
        &["plan"],
        &["inspect", "model", "--tensors"],
        &["man"],
        &["completions", "zsh"],
        &["--help"],
    ];
    for args in all {
        let mut command = folder.command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && !err.contains("panicked"), "{args:?}: {err}");
    }
    #[cfg(target_os = "linux")]
    {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let run = folder.command(&["plan"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(run.status.code(), Some(8));
        assert!(String::from_utf8(run.stderr).unwrap().contains("standard output"));
    }
}
