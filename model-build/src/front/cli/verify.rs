//! `model-build verify`: how far an artifact is from its reference.

use std::path::PathBuf;

use serde_json::json;

use super::Context;
use super::report::table;
use crate::error::{Error, Result};
use crate::execute;
use crate::manifest;
use crate::verify::{self, Measured};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The reference: an ONNX file
    reference: PathBuf,
    /// The artifact: an ONNX file with the same inputs and outputs
    artifact: PathBuf,
    /// Bounds and conditions as in a manifest, such as `cosine=0.999,samples=16,runner=rten`
    #[arg(long, value_name = "KEY=X,…")]
    verify: Option<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let text = args.verify.as_deref().unwrap_or("samples=8");
    let target = manifest::target_from_flags("verify", &[("format", "onnx"), ("verify", text)])?;
    let spec = target.verify.ok_or_else(|| Error::bug("a verify flag without a verify table"))?;
    let files = |path: &PathBuf| {
        let facts = execute::facts(path)?;
        Ok(facts.files.names.iter().map(|n| (n.clone(), facts.files.path(n))).collect::<Vec<_>>())
    };
    let (reference, artifact) = (files(&args.reference)?, files(&args.artifact)?);
    let measured = execute::measure(&spec, &reference, &artifact)?;
    context.ui.result(&text_of(&measured), &json!({ "event": "measured", "measured": measured }));
    for warning in verify::check(&measured, &execute::bounds(&spec))? {
        context.ui.warning(&warning);
    }
    Ok(())
}

fn text_of(measured: &Measured) -> String {
    let head = ["output", "cosine", "max-abs", "mean-abs", "top-1"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(measured.outputs.iter().map(|o| {
        vec![
            o.name.clone(),
            format!("{:.8}", o.cosine),
            format!("{:.3e}", o.max_abs),
            format!("{:.3e}", o.mean_abs),
            o.top1.map_or_else(String::new, |t| format!("{:.2} %", t * 100.0)),
        ]
    }));
    format!("{}{} in {} ({})\n", table(&rows), measured.inputs, measured.runner, measured.level)
}
