//! `model-build build`: the targets a manifest declares, into the store and, if asked, a folder.

use std::path::PathBuf;

use serde_json::json;

use super::report::{nice, size, table};
use super::{Context, Selection};
use crate::error::Result;
use crate::execute::{self, Artifact};
use crate::front::prebuilt;
use crate::plan;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Also put the artifacts here, each in its folder MODEL.TARGET with a record; the result serves
    /// as MODEL_BUILD_PREBUILT_DIR
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Args, context: &mut Context) -> Result<()> {
    let store = context.store()?;
    let mut rows = Vec::new();
    let mut objects = Vec::new();
    for manifest in args.selection.manifests()? {
        let sources = execute::look(&manifest)?;
        let plan = plan::plan(&manifest, &sources)?;
        let artifacts = execute::execute(&plan, &store, &mut context.ui)?;
        if let Some(dir) = &args.out {
            prebuilt::write(dir, &artifacts, &store)?;
        }
        for artifact in &artifacts {
            rows.push(row(artifact));
            objects.push(json!({
                "model": artifact.model, "target": artifact.target, "key": artifact.key.to_string(),
                "files": artifact.record.files,
            }));
        }
    }
    let mut text = table(&rows);
    if let (Some(dir), false) = (&args.out, rows.is_empty()) {
        text.push_str(&format!("in {}\n", nice(dir)));
    }
    if rows.is_empty() {
        text = "nothing to do: no target is selected for this platform\n".to_owned();
    }
    context.ui.result(&text, &json!({ "event": "built", "artifacts": objects }));
    Ok(())
}

fn row(artifact: &Artifact) -> Vec<String> {
    let bytes = artifact.record.files.iter().map(|f| f.len).sum();
    let digest = artifact.record.files.first().map_or_else(String::new, |f| f.digest.to_string());
    vec![
        format!("{}.{}", artifact.model, artifact.target),
        size(bytes),
        format!("{} parameters", artifact.record.info.parameters),
        digest,
    ]
}
