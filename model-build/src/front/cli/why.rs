//! `model-build why`: which ingredient of a key changed since the last build of a target.

use serde_json::json;

use super::{Context, Selection};
use crate::error::Result;
use crate::execute;
use crate::plan;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    selection: Selection,
}

pub(super) fn run(args: &Args, context: &mut Context) -> Result<()> {
    let store = context.store()?;
    let mut text = String::new();
    let mut objects = Vec::new();
    for manifest in args.selection.manifests()? {
        let sources = execute::look(&manifest)?;
        for job in plan::plan(&manifest, &sources)?.jobs {
            let (key, ingredients) = execute::key_of(&job, &store, &mut context.ui)?;
            let path = execute::absolute(&manifest.path);
            let why = store.why(&execute::subject(&path, &job), &key, &ingredients);
            text.push_str(&format!("{}: {why}\n", job.name()));
            objects
                .push(json!({ "job": job.name(), "key": key.to_string(), "why": why.to_string() }));
        }
    }
    context.ui.result(&text, &json!({ "event": "why", "jobs": objects }));
    Ok(())
}
