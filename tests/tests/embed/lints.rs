//! The generated text under the lints that strict crates turn on, in every edition it may meet.

use serde_json::json;

use crate::crates::{Crate, blob, noise};
use crate::run::mlp;

#[test]
fn strict_crates_of_every_edition_take_the_text() {
    let mut large = blob("large", &noise(9 << 20), "auto");
    large["target"] = "a-b".into();
    let mut odd = mlp("odd");
    odd["info"]["inputs"][0]["name"] = "pixelValues|`]".into();
    odd["info"]["outputs"][3]["dtype"] = "string".into();
    let app = Crate::new("strict");
    app.spec(&json!({ "items": [mlp("mlp"), large, odd, blob("beside", &noise(1000), "file")] }));
    app.write(
        "src/lib.rs",
        "//! Strict.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, missing_debug_implementations, missing_copy_implementations)]
#![deny(unreachable_pub, unused_qualifications, unused_results, rustdoc::all)]
#![warn(future_incompatible, nonstandard_style, rust_2018_idioms, unused)]
#![deny(clippy::all, clippy::pedantic, clippy::nursery, clippy::absolute_paths, clippy::exhaustive_structs)]
#![allow(clippy::missing_docs_in_private_items)]
pub mod one {
    //! One.
    use model_build_runtime::Tensor;
    model_build_runtime::include_model!(\"mlp\");
    model_build_runtime::include_model!(\"mlp.int8\");
    /// Shadows nothing that the text names.
    #[must_use]
    pub fn scalar() -> Tensor<f32> { Tensor::scalar(1.0) }
}
mod two {
    model_build_runtime::include_model!(\"large.a-b\");
    model_build_runtime::include_model!(\"beside\");
    #[allow(non_camel_case_types, dead_code)] struct Vec;
    #[allow(dead_code)] enum Result {}
    #[allow(dead_code)] enum Option {}
}
pub mod three {
    //! Three.
    model_build_runtime::include_model!(\"odd\");
}
pub use two::LargeAB;
",
    );
    // Before edition 2018 a path of another crate needs its `extern crate`; older crates write it.
    for edition in ["2024", "2021", "2018"] {
        app.manifest("strict", edition);
        app.build(true);
        let output = app.cargo(&["clippy"]).output().unwrap();
        let said = crate::crates::text(&output.stderr);
        assert!(output.status.success() && !said.contains("warning"), "{edition}: {said}");
    }
}
