//! What the compiler says of an `include_model!` that cannot be.

use serde_json::json;

use crate::crates::{Crate, blob, noise};

/// Builds a crate whose `main.rs` is one `include_model!`; gives the compiler's words.
fn said(app: &Crate, call: &str) -> String {
    app.write("src/main.rs", format!("model_build_runtime::{call};\nfn main() {{}}\n"));
    app.build(false)
}

#[test]
fn a_name_that_is_not_there_is_an_error_at_the_literal() {
    let payload = noise(1000);
    let app = Crate::new("misspelt");
    let mut other = blob("digits", &payload, "auto");
    other["target"] = "fp32".into();
    let items = [blob("digits", &payload, "auto"), other, blob("embedder", &payload, "auto")];
    app.spec(&json!({ "items": items }));

    let misspelt = said(&app, "include_model!(\"embeder\")");
    assert!(
        misspelt.contains("error: there is no model `embeder`. Did you mean `embedder`?"),
        "{misspelt}"
    );
    assert!(
        misspelt.contains(
            "The models are: `digits`, `embedder`, `digits.fp32`, `digits.raw`, `embedder.raw`"
        ),
        "{misspelt}"
    );
    // The literal is underlined, not the macro's name.
    assert!(misspelt.contains("--> src/main.rs:1:37"), "{misspelt}");
    assert!(misspelt.contains("                                     ^^^^^^^^^"), "{misspelt}");

    let several = said(&app, "include_model!(\"digits\")");
    assert!(
        several.contains(
            "model `digits` has 2 targets on this platform: name one of `digits.fp32`, `digits.raw`"
        ),
        "{several}"
    );
    let target = said(&app, "include_model!(\"digits.fp16\")");
    assert!(target.contains("Did you mean `digits.fp32`?"), "{target}");
    for usage in ["include_model!()", "include_model!(digits)", "include_model!(\"digits\", 1)"] {
        let said = said(&app, usage);
        assert!(said.contains("expected one string: `include_model!(\"model\")`"), "{said}");
    }
}

#[test]
fn a_crate_without_a_build_script_is_told_the_lines_to_add() {
    let app = Crate::new("scriptless");
    std::fs::remove_file(app.dir.join("build.rs")).unwrap();
    let said = said(&app, "include_model!(\"digits\")");
    assert!(said.contains("error: this crate has no build script. Add build.rs:"), "{said}");
    assert!(said.contains("model_build::build();"), "{said}");
    assert!(
        said.contains("[build-dependencies]") && said.contains("model-build = \"0.1\""),
        "{said}"
    );
}

#[test]
fn a_build_script_that_builds_no_models_is_named() {
    let app = Crate::new("modelless");
    app.write("build.rs", "fn main() {}\n");
    let said = said(&app, "include_model!(\"digits\")");
    assert!(said.contains("error: the build script of this crate builds no models."), "{said}");
}
