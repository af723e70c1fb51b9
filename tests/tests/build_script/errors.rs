//! What a person reads when the manifest, the model or the macro is wrong.

use std::fs;

use crate::app::{App, DIGITS, Helper};

#[test]
fn what_is_wrong_is_said_with_its_place_and_the_way_out() {
    let models = format!(
        "{DIGITS}
[package.metadata.models.digits.targets.elsewhere]
format = \"onnx\"
when = 'cfg(target_os = \"none\")'
"
    );
    let app = App::new("app-errors", Helper::Default, &models);
    let include = |name: &str| {
        app.krate.write("src/lib.rs", format!("model_build_runtime::include_model!({name:?});\n"));
    };

    include("digit.int8");
    let misspelt = app.error();
    assert!(
        misspelt.contains("error: there is no model `digit.int8`. Did you mean `digits.int8`?"),
        "{misspelt}"
    );
    assert!(
        misspelt.contains("The models are: `digits`, `digits.fp32`, `digits.int8`"),
        "{misspelt}"
    );
    assert!(misspelt.contains("--> src/lib.rs:1:37"), "{misspelt}");

    // A target for another platform is not built, and not in the list.
    include("digits.elsewhere");
    let elsewhere = app.error();
    assert!(elsewhere.contains("error: there is no model `digits.elsewhere`"), "{elsewhere}");
    assert!(
        elsewhere.contains("The models are: `digits`, `digits.fp32`, `digits.int8`\n"),
        "{elsewhere}"
    );
    assert!(!elsewhere.contains("digits.elsewhere: convert"), "{elsewhere}");

    include("digits");
    let several = app.error();
    assert!(several.contains("name one of `digits.fp32`, `digits.int8`"), "{several}");
    app.krate.write("src/lib.rs", "//! Nothing.\n");

    // A bound that is not kept: output, value and bound.
    app.replace("Cargo.toml", "cosine = 0.9", "cosine = 0.99999999");
    for _ in 0..2 {
        let accuracy = app.error();
        let line = accuracy
            .lines()
            .find(|l| l.trim_start().starts_with("error: model `digits`"))
            .unwrap_or_else(|| panic!("{accuracy}"));
        assert!(line.contains("target `int8`") && line.contains("`logits`"), "{line}");
        assert!(line.contains("0.99999999"), "{line}");
        let value = line
            .split(|c: char| c != '.' && !c.is_ascii_digit())
            .find_map(|n| n.parse::<f64>().ok().filter(|n| (0.9..0.99999999).contains(n)));
        assert!(value.is_some(), "no measured cosine: {line}");
        assert!(accuracy.contains("hint: "), "{accuracy}");
    }
    app.replace("Cargo.toml", "cosine = 0.99999999", "cosine = 0.9");

    // A typo, underlined in the manifest.
    app.replace("Cargo.toml", "quantization =", "quantisation =");
    let typo = app.error();
    let manifest = fs::read_to_string(app.path("Cargo.toml")).unwrap();
    let line = manifest.lines().position(|l| l.starts_with("quantisation")).unwrap() + 1;
    assert!(typo.contains("error: ") && typo.contains(&format!("Cargo.toml:{line}:1")), "{typo}");
    assert!(typo.contains("quantisation = \"int8\"") && typo.contains("^^^^^^^^^^^^"), "{typo}");
    assert!(typo.contains("`quantization`"), "{typo}");
    app.replace("Cargo.toml", "quantisation =", "quantization =");

    // No source; and it is found as soon as it is there.
    fs::rename(app.path("model"), app.path("elsewhere")).unwrap();
    let missing = app.error();
    let folder = app.path("model").display().to_string();
    assert!(missing.contains("error: model `digits`: ") && missing.contains(&folder), "{missing}");
    fs::rename(app.path("elsewhere"), app.path("model")).unwrap();
    assert_eq!(app.build().started(), [""; 0]);

    // A damaged source.
    fs::write(app.path("model/model.safetensors"), b"not safetensors").unwrap();
    let damaged = app.error();
    assert!(
        damaged.contains("error: model `digits`") && damaged.contains("model.safetensors"),
        "{damaged}"
    );
}

#[test]
fn a_manifest_beside_cargo_toml_is_read_and_two_that_declare_models_are_refused() {
    let app = App::new("app-models-toml", Helper::Engine, "");
    let none = app.error();
    assert!(none.contains("error: ") && none.contains("Cargo.toml"), "{none}");
    assert!(none.contains("models"), "{none}");

    app.krate.write(
        "models.toml",
        "[digits]\nsource = \"model\"\n[digits.targets.plain]\nformat = \"onnx\"\n",
    );
    assert_eq!(app.build().started(), ["digits.plain convert"]);
    assert!(app.build().fresh);

    let models = "[package.metadata.models.digits]\nsource = \"model\"\n[package.metadata.models.digits.targets.other]\nformat = \"onnx\"\n";
    app.krate.write("Cargo.toml", crate::app::manifest("app-models-toml", Helper::Engine, models));
    let both = app.error();
    assert!(both.contains("error: both Cargo.toml and models.toml declare models"), "{both}");
}
