//! Documentation builds, and crates with strict lints.

use std::fs;

use model_build_tests::crates::{target, text};

use crate::app::{App, DIGITS, Helper, USES_BOTH};

/// What a crate may ask of all its code.
const STRICT: &str = "//! Runs digits.
#![forbid(unsafe_code)]
#![deny(missing_docs, warnings)]
";

#[test]
fn documentation_has_the_types_and_nothing_is_converted() {
    let app = App::new("app-docs", Helper::Default, DIGITS);
    app.set("DOCS_RS", "1");
    app.krate.write("src/lib.rs", format!("{STRICT}{USES_BOTH}"));

    let arguments = ["check", "-vv", "--message-format=json-render-diagnostics"];
    let checked = app.finish(&mut app.cargo(&arguments));
    assert!(checked.succeeded, "{}", checked.stderr);
    assert!(checked.started().is_empty() && checked.read().is_empty(), "{}", checked.stderr);
    assert!(!app.path("cache").exists());
    let models = checked.out_dir.as_ref().unwrap().join("models");
    assert!(fs::read_dir(models).map_or(true, |mut d| d.next().is_none()));
    let stub = checked.generated("digits.int8.rs");

    let doc = app.cargo(&["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings").output().unwrap();
    assert!(doc.status.success(), "{}", text(&doc.stderr));
    let page = target().join("doc/app_docs/struct.DigitsInt8.html");
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("pixel_values") && page.contains("logits"), "{page}");
    assert!(!app.path("cache").exists());

    // Without the variable it is built, and the stub knew everything but the digests, which stand in
    // the file too.
    app.unset("DOCS_RS");
    let built = app.build();
    assert_eq!(built.started().len(), 3);
    let documentation = |text: &str| {
        let line = |l: &&str| l.trim_start().starts_with("///") && !l.starts_with("/// Format ");
        text.lines().filter(line).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(documentation(&stub), documentation(&built.generated("digits.int8.rs")));
}
