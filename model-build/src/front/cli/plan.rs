//! `model-build plan`: what a build would do, and what of it is cached.

use serde_json::json;

use super::report::{short, table};
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
    let mut rows = Vec::new();
    let mut objects = Vec::new();
    for manifest in args.selection.manifests()? {
        let sources = execute::look(&manifest)?;
        for job in plan::plan(&manifest, &sources)?.jobs {
            let (key, ingredients) = execute::key_of(&job, &store, &mut context.ui)?;
            let cached = store.lookup(&key)?.is_some();
            rows.push(vec![
                job.name(),
                if cached { "fresh" } else { "to build" }.to_owned(),
                short(&key.to_string()).to_owned(),
                job.recipe.summary(),
            ]);
            if context.ui.verbose() {
                rows.extend(ingredients.iter().map(|(name, value)| {
                    vec![String::new(), String::new(), String::new(), format!("{name}: {value}")]
                }));
            }
            objects.push(json!({
                "model": job.model, "target": job.target, "key": key.to_string(), "cached": cached,
                "stages": job.recipe.stages.iter().map(plan::Stage::name).collect::<Vec<_>>(),
                "ingredients": ingredients,
            }));
        }
    }
    context.ui.result(&table(&rows), &json!({ "event": "plan", "jobs": objects }));
    Ok(())
}
