//! `convert` and `verify`: flags from the manifest's keys, and files that are whole or not there.

use std::process::Stdio;
use std::time::Duration;

use model_build::manifest::{Field, Kind, Target, Verify};

use crate::tool::{Folder, Run, digest};

#[test]
fn it_writes_the_file_and_nothing_else_and_says_where() {
    let folder = Folder::with_model();
    let out = folder.succeed(&["convert", "model", "a b/c d.onnx"]);
    let made = digest(&folder.at("a b/c d.onnx"));
    assert!(out.starts_with("a b/c d.onnx  ") && out.trim_end().ends_with(&made), "{out}");
    let names: Vec<_> = std::fs::read_dir(folder.at("a b")).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let run = folder.run(&["convert", "model", "second.onnx", "--quantization", "int8"]);
    assert!(run.err.contains("Converted second.onnx to 2"), "{run}");
    assert_eq!(digest(&folder.at("second.onnx")), run.out.split_whitespace().last().unwrap());
}

#[test]
fn it_replaces_a_file_only_when_forced() {
    let folder = Folder::with_model();
    folder.write("out.onnx", "mine");
    let words = ["there already (out.onnx)", "--force"];
    folder.fail(2, &words, &["convert", "model", "out.onnx"]);
    assert_eq!(folder.read("out.onnx"), "mine");
    let failing = ["convert", "model", "out.onnx", "--force", "--verify.cosine", "1.0"];
    let strict = ["--quantization", "int8", "--verify.runner", "rten", "--verify.samples", "1"];
    let run = folder.run(&[&failing[..], &strict].concat());
    assert_eq!((run.code, run.out.as_str()), (6, ""), "{run}");
    assert_eq!(folder.read("out.onnx"), "mine", "what misses its bounds is not written");
    folder.succeed(&["convert", "model", "out.onnx", "-f"]);
    assert!(folder.at("out.onnx").metadata().unwrap().len() > 500_000);
}

#[test]
fn a_destination_that_is_no_file_is_refused() {
    let folder = Folder::with_model();
    for dst in [".", "model", "new/"] {
        let words = ["the file to write is a folder", "model.onnx"];
        folder.fail(2, &words, &["convert", "model", dst]);
    }
    folder.fail(2, &["no ending", "end it in .gguf or .onnx"], &["convert", "model", "out"]);
    folder.fail(2, &["`.xyz`", "end it in .gguf"], &["convert", "model", "out.xyz"]);
    folder.succeed(&["convert", "model", "out", "--format", "onnx"]);
    #[cfg(unix)]
    folder.fail(
        3,
        &["not a regular file (/dev/null)"],
        &["convert", "model", "/dev/null", "--format", "onnx", "-f"],
    );
}

#[cfg(unix)]
#[test]
fn a_killed_or_full_conversion_leaves_the_old_file_or_the_new_one() {
    let folder = Folder::with_model();
    let command = |batch: &str| {
        let shapes = format!("batch={batch}");
        let args = ["convert", "model", "out.onnx", "-f", "--shapes", &shapes];
        let mut command = folder.command(&args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let mut whole = Vec::new();
    for batch in ["1", "2"] {
        assert!(command(batch).status().unwrap().success());
        whole.push(digest(&folder.at("out.onnx")));
    }
    for round in 0..40_u64 {
        let mut child = command(if round % 2 == 0 { "1" } else { "2" }).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(500 * (round % 20)));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(whole.contains(&digest(&folder.at("out.onnx"))), "round {round}");
    }
    // A disk that is full after 100 kB, to this process.
    let mut shell = std::process::Command::new("sh");
    folder.set_up(&mut shell);
    shell.env("MODEL_BUILD_CACHE", folder.path("other cache")).arg("-c").arg(format!(
        "ulimit -f 200; trap '' XFSZ; exec '{}' convert model out.onnx -f --shapes batch=3",
        env!("CARGO_BIN_EXE_model-build")
    ));
    let run = Run::of(&mut shell);
    assert_eq!((run.code, run.out.as_str()), (8, ""), "{run}");
    assert!(run.err.contains("error: ") && run.err.contains("cannot write"), "{run}");
    assert!(whole.contains(&digest(&folder.at("out.onnx"))));
}

/// Keys of a target that mean nothing without a manifest.
const LEFT_OUT: [&str; 2] = ["embed", "when"];

fn inner(field: &Field) -> &'static [Field] {
    match field.kind {
        Kind::Table(fields) | Kind::TextOrTable(fields) => fields,
        _ => &[],
    }
}

#[test]
fn every_key_of_a_target_is_a_flag_with_the_keys_own_help() {
    let folder = Folder::empty();
    let help = folder.succeed(&["convert", "--help"]);
    let help: Vec<&str> = help.split_whitespace().collect();
    let help = help.join(" ");
    for field in Target::KEYS {
        let shown = field.later.is_none() && !LEFT_OUT.contains(&field.name);
        let is_there = help.contains(&format!("--{} <", field.name));
        assert_eq!(is_there, shown, "--{}", field.name);
        if shown {
            assert!(help.contains(field.doc.trim_end_matches('.')), "{}", field.doc);
        }
        for inside in inner(field) {
            let flag = format!("--{}.{} <", field.name, inside.name);
            assert_eq!(help.contains(&flag), inside.later.is_none(), "{flag}");
        }
    }
    let help = folder.succeed(&["verify", "--help"]);
    for field in Verify::KEYS {
        assert!(help.contains(&format!("--{} <", field.name)), "--{}", field.name);
    }
}

#[test]
fn keys_that_do_not_work_here_or_yet_say_why() {
    let folder = Folder::with_model();
    for key in LEFT_OUT {
        let flag = format!("--{key}");
        folder.fail(2, &["has no effect here: it "], &["convert", "model", "o.onnx", &flag, "x"]);
    }
    let mut later = Vec::new();
    for field in Target::KEYS {
        later.extend(field.later.map(|_| field.name.to_owned()));
        let inside = inner(field).iter().filter(|f| f.later.is_some());
        later.extend(inside.map(|f| format!("{}.{}", field.name, f.name)));
    }
    for key in later {
        let flag = format!("--{key}");
        let words = [&format!("`{flag}` is not supported yet"), "hint: "];
        folder.fail(5, &words, &["convert", "model", "o.onnx", &flag, "x=1"]);
    }
    let unknown = ["convert", "model", "o.onnx", "--precison", "fp16"];
    folder.fail(2, &["'--precison'", "'--precision'"], &unknown);
    let word = ["convert", "model", "o.onnx", "--quantization", "q4_k_m"];
    folder.fail(2, &["block types of GGUF files", "`quantization = \"int8\"`"], &word);
    let word = ["convert", "model", "o.onnx", "--quantization", "fp8"];
    folder.fail(5, &["quantization = \"fp8\"` is not supported yet", "int8"], &word);
}

#[test]
fn flags_take_effect() {
    let folder = Folder::with_model();
    folder.succeed(&["convert", "model", "a.onnx", "--shapes", "batch=4"]);
    let out = folder.succeed(&["inspect", "a.onnx"]);
    assert!(out.contains("pixel_values: f32[4, 1, 8, 8]"), "{out}");
    let args = ["convert", "model", "b.onnx", "--quantization.type", "int8", "--opset-version"];
    folder.succeed(&[&args[..], &["17"]].concat());
    assert!(folder.succeed(&["inspect", "b.onnx"]).contains("MatMulInteger"));
    folder.succeed(&["convert", "b.onnx", "c.onnx"]);
    folder.fail(2, &["`task`"], &["convert", "b.onnx", "d.onnx", "--task", "fill-mask"]);
}

#[test]
fn verify_prints_the_numbers_and_holds_the_bounds() {
    let folder = Folder::with_model();
    folder.succeed(&["convert", "model", "full.onnx"]);
    folder.succeed(&["convert", "model", "small.onnx", "--quantization", "int8"]);
    let measure = ["--runner", "rten", "--samples", "2", "--seed", "7"];
    let run = |reference: &str, artifact: &str, more: &[&str]| {
        folder.run(&[&["verify", reference, artifact][..], &measure, more].concat())
    };
    let good = run("full.onnx", "small.onnx", &["--cosine", "0.9"]);
    assert_eq!((good.code, good.err.as_str()), (0, ""), "{good}");
    let lines: Vec<&str> = good.out.lines().collect();
    assert!(lines[0].starts_with("output  cosine ≥ 0.9"), "{good}");
    assert!(lines[1].starts_with("logits  0.99"), "{good}");
    assert!(lines[2].starts_with("on 2 synthetic samples, seed 7, in rten "), "{good}");
    let from_checkpoint = run("model", "small.onnx", &["--cosine", "0.9", "-q"]);
    assert_eq!(from_checkpoint.out, good.out);
    let bad = run("full.onnx", "small.onnx", &["--max-abs", "0.000001"]);
    assert_eq!(bad.code, 6, "{bad}");
    assert!(bad.out.contains("max-abs ≤ 0.000001"), "the numbers are still printed: {bad}");
    let message = bad.err.lines().next().unwrap();
    for word in ["`logits`", "rose above `max-abs`", "> 0.000001", "(small.onnx)"] {
        assert!(message.contains(word), "{word}: {message}");
    }
    folder.fail(5, &["measured on ONNX files"], &["verify", "full.onnx", "model"]);
    folder.fail(3, &["no such file (none.onnx)"], &["verify", "full.onnx", "none.onnx"]);
}

#[test]
fn nan_is_counted_where_it_is_and_fails_where_only_the_artifact_has_it() {
    let folder = Folder::with_model();
    folder.succeed(&["convert", "model", "full.onnx"]);
    let mut bytes = std::fs::read(folder.at("model/model.safetensors")).unwrap();
    let header = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let names: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let start = names["classifier.bias"]["data_offsets"][0].as_u64().unwrap();
    let at = 8 + header + usize::try_from(start).unwrap();
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    folder.write("model/model.safetensors", bytes);
    folder.succeed(&["convert", "model", "nan.onnx"]);
    let measure = ["--runner", "rten", "--samples", "1"];
    let verify = |reference, artifact| {
        folder.run(&[&["verify", reference, artifact][..], &measure].concat())
    };
    let run = verify("full.onnx", "nan.onnx");
    assert_eq!(run.code, 6, "{run}");
    assert!(run.out.contains("not finite"), "{run}");
    assert!(run.out.contains(" NaN (reference: none) of "), "{run}");
    let run = verify("nan.onnx", "nan.onnx");
    assert_eq!(run.code, 0, "{run}");
    assert!(run.err.contains("warning: output `logits`: "), "{run}");
    assert!(run.out.contains(" NaN (reference: "), "{run}");
}

#[cfg(unix)]
#[test]
fn a_path_that_is_no_unicode_is_used_or_refused_and_never_a_crash() {
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::with_model();
    let odd = std::ffi::OsStr::from_bytes(b"odd-\xff");
    let dst = std::path::Path::new(odd).join("out.onnx");
    let args = ["convert".as_ref(), "model".as_ref(), dst.as_os_str()];
    let (code, lines) = folder.json(&args);
    assert_eq!(code, 0, "{lines:?}");
    let text = std::path::Path::new(odd).join("out.onnx").to_string_lossy().into_owned();
    assert_eq!(lines.last().unwrap()["dst"], text.as_str());
    let (code, _) = folder.json(&["inspect".as_ref(), odd]);
    assert_eq!(code, 0);
    let args = ["init".as_ref(), "--source".as_ref(), odd];
    folder.fail(5, &["not Unicode"], &args);
}
