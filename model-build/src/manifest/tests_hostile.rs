//! Input that means harm: an error, never a panic, never minutes.

use std::path::Path;

use super::*;

fn any(text: &str) -> Result<Manifest> {
    let _ = parse(text, Path::new("models.toml"), Some((text, Path::new("Cargo.toml"))));
    parse(text, Path::new("Cargo.toml"), Some((text, Path::new("Cargo.toml"))))
}

#[test]
fn nesting_without_end_is_an_error() {
    let deep = 100_000;
    for text in [
        format!("a = {}", "[".repeat(deep)),
        format!("a = {}1{}", "{a=".repeat(deep), "}".repeat(deep)),
        format!("[{}a]\n", "a.".repeat(deep)),
        format!("{}a = 1\n", "a.".repeat(deep)),
    ] {
        any(&text).unwrap_err();
    }
}

#[test]
fn a_condition_without_end_is_an_error() {
    for condition in [
        format!("cfg({}unix{})", "not(".repeat(100_000), ")".repeat(100_000)),
        format!("cfg({}", "any(".repeat(33)),
        format!("cfg(any({}))", "unix,".repeat(2000)),
    ] {
        let text = format!("[m]\nsource='s'\ntargets.t={{format='onnx',when='{condition}'}}\n");
        let error = parse(&text, Path::new("models.toml"), None).unwrap_err();
        assert!(error.message().contains("too large"), "{}", error.message());
        assert!(error.report().len() < 2000);
    }
    let nested = format!("cfg({}unix{})", "not(".repeat(30), ")".repeat(30));
    let text = format!("[m]\nsource='s'\ntargets.t={{format='onnx',when='{nested}'}}\n");
    parse(&text, Path::new("models.toml"), None).unwrap();
}

#[test]
fn names_and_words_without_end_are_shown_short() {
    let long = "x".repeat(1 << 20);
    for text in [
        format!("[m]\n{long} = 1\n"),
        format!("[{long}]\nsource = 's'\n"),
        format!("[m]\nsource = 's'\ntargets.t.format = '{long}'\n"),
        format!("[m]\nsource = 's'\ntargets.{long}.format = 'onnx'\n"),
        format!(
            "[m]\nsource = 's'\ntargets.t = {{ format = 'onnx', shapes = {{ {long} = 0 }} }}\n"
        ),
        format!(
            "[m]\nsource = 's'\ntargets.t = {{ format = 'onnx', shapes = {{ {long} = 'x' }} }}\n"
        ),
        format!("[package]\n[package.metadata.models]\nm.workspace = '{long}'\n"),
        format!("[m]\nsource = '{long}://'\n"),
    ] {
        let error = parse(&text, Path::new("models.toml"), None).unwrap_err();
        assert!(error.message().len() < 200, "{}", error.message());
        assert!(error.report().len() < 4000, "{}", error.report().len());
        let _ = any(&text);
    }
}

#[test]
fn many_models_are_read_in_a_moment() {
    let mut text = String::new();
    for i in 0..5000 {
        text.push_str(&format!("[m{i}]\nsource = 's'\ntargets.t.format = 'onnx'\n"));
    }
    assert_eq!(parse(&text, Path::new("models.toml"), None).unwrap().models.len(), 5000);
}

#[test]
fn a_file_that_is_no_text_or_too_large_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("models.toml");
    fsx::write_atomic(&path, b"[a]\n\n# \xff\n").unwrap();
    let error = load(&path).unwrap_err();
    assert!(error.to_string().contains("not valid UTF-8 in line 3"), "{error}");
    fsx::write_atomic(&path, &vec![b'\n'; (4 << 20) + 1]).unwrap();
    let error = load(&path).unwrap_err();
    assert!(error.to_string().contains("larger than"), "{error}");
    fsx::write_atomic(&path, b"").unwrap();
    assert!(load(&path).unwrap_err().message().contains("no models are declared"));
    fsx::write_atomic(&path, "\u{feff}[m]\r\nsource='s'\r\ntargets.t.format='onnx'\r\n".as_bytes())
        .unwrap();
    load(&path).unwrap();
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    for text in [
        "[m]\n\"a\\u001b[31mb\" = 1\n",
        "[m]\nsource = 's'\ntargets.t.format = \"\\u001b[31m\"\n",
        "[\"\\u0007\"]\n",
        "[m]\nsource = 's'\ntargets.t = { format = 'onnx', shapes = { \"\\u001b\" = 0 } }\n",
        "[m]\nsource = 's'\ntargets.t = { format = 'onnx', shapes = { \"\\u001b\" = 'x' } }\n",
        "[m]\nsource = 's'\n[m.\"\\u001b\"]\n",
    ] {
        let error = parse(text, Path::new("models.toml"), None).unwrap_err();
        let said = format!("{error}{}", error.report());
        assert!(!said.contains(['\u{1b}', '\u{7}']), "{said:?}");
    }
}

/// Random edits of a manifest that says everything: whatever comes out, nothing panics, and every
/// error has a message.
#[test]
fn no_edit_of_a_manifest_makes_it_panic() {
    let full = "[package]\nname = 'x'\nworkspace = '.'\n[package.metadata.models.a]\nsource = 'm'\n\
        [package.metadata.models.a.targets.t]\nformat = 'onnx'\nopset-version = 17\n\
        precision = 'fp16'\nquantization = { method = 'dynamic', type = 'int8' }\n\
        shapes = { batch = 'dynamic', \"séq\" = 128 }\ntask = 'feature-extraction'\n\
        pooling = 'mean'\nnormalize = true\nembed = 'auto'\nwhen = 'cfg(any(unix, a = \"b\"))'\n\
        verify = { cosine = 0.9, max-abs = 1e-2, runner = 'auto', samples = 8, seed = 1 }\n\
        [package.metadata.models]\nb.workspace = true\n\
        [workspace.metadata.models.b]\nsource = 'm'\ntargets.u.format = 'onnx'\n";
    let root = Some((full, Path::new("Cargo.toml")));
    parse(full, Path::new("Cargo.toml"), root).unwrap();
    let pieces = [
        "",
        "\n",
        "\"",
        "'",
        "[",
        "]",
        "{",
        "}",
        "=",
        ".",
        ",",
        "#",
        "\\",
        "0",
        "-1",
        "true",
        "nan",
        "1979-05-27",
        "é",
        "\u{10ffff}",
        "\u{0}",
        "\r",
        "\t",
        "\u{200b}",
        "workspace",
        "targets",
        "format = 'onnx'",
        "[[",
        "cfg(",
        "(",
        ")",
        "r#",
        "models",
        "package",
        "1e999",
        "0x",
        "~/",
        "hf:",
        "\"\"\"",
        "'''",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below).unwrap()).unwrap()
    };
    let (mut good, mut bad) = (0, 0);
    for _ in 0..4000 {
        let mut text = full.to_owned();
        for _ in 0..=next(3) {
            let start = text.floor_char_boundary(next(text.len() + 1));
            let end = text.ceil_char_boundary((start + next(12)).min(text.len()));
            text.replace_range(start..end, pieces[next(pieces.len())]);
        }
        for result in [
            any(&text),
            parse(&text, Path::new("models.toml"), None),
            parse(full, Path::new("Cargo.toml"), Some((&text, Path::new("Cargo.toml")))),
        ] {
            match result {
                Ok(_) => good += 1,
                Err(e) => {
                    bad += 1;
                    assert!(!e.report().is_empty());
                    assert!(e.kind() != crate::ErrorKind::Bug, "{e:?}\n{text}");
                }
            }
        }
    }
    assert!(good > 100 && bad > 1000, "{good} {bad}");
}

#[test]
fn no_flag_makes_it_panic() {
    let values = [
        "",
        "=",
        ",",
        "a=",
        "=a",
        "{",
        "}",
        "{}",
        "a=1,a=2",
        "\"",
        "'",
        "\n",
        "0x",
        "nan",
        "1e999",
        "cfg(",
        "é=é",
        "a.b=c",
        "{ cosine = 1 }",
        "\u{0}",
        "cosine=1,cosine=2",
        "[[1]]",
    ];
    for field in Target::KEYS {
        for value in values {
            let _ = target_from_flags("t", &[("format", "onnx"), (field.name, value)]);
            for inner in ["", ".", "x", "cosine", "type", "\u{0}\"", "a.b"] {
                let flag = format!("{}.{inner}", field.name);
                let _ = target_from_flags("t", &[("format", "onnx"), (&flag, value)]);
            }
        }
    }
}
