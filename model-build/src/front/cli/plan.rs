//! `model-build plan`: what a build would do, and what of it is in the cache.

use serde_json::json;

use super::report::{nice, short};
use super::text::table;
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
    let manifests = args.selection.manifests(context)?;
    let mut text = String::new();
    let mut objects = Vec::new();
    for manifest in &manifests {
        let plan = plan::plan(manifest, &execute::look(manifest, &store, &mut context.ui)?)?;
        if manifests.len() > 1 && !plan.jobs.is_empty() {
            text.push_str(&format!("{}:\n", nice(&plan.manifest)));
        }
        let mut rows = Vec::new();
        for job in &plan.jobs {
            let mut steps = Vec::new();
            for step in execute::keys_of(job, &store, &mut context.ui)? {
                let cached = store.lookup(&step.key)?.is_some();
                let runner = || {
                    let named = step.ingredients.iter().find(|(name, _)| name == "runner");
                    format!("in {}", named.map_or("", |(_, runner)| runner.as_str()))
                };
                rows.push(vec![
                    job.name(),
                    step.step.to_owned(),
                    if cached { "fresh" } else { "to do" }.to_owned(),
                    short(&step.key.to_string()).to_owned(),
                    if step.step == "verify" { runner() } else { job.recipe.summary() },
                ]);
                if context.ui.verbose() {
                    let rest = |(name, value): &(String, String)| {
                        vec![
                            String::new(),
                            String::new(),
                            String::new(),
                            String::new(),
                            format!("{name}: {value}"),
                        ]
                    };
                    rows.extend(step.ingredients.iter().map(rest));
                }
                steps.push(json!({
                    "step": step.step, "key": step.key.to_string(), "cached": cached,
                    "ingredients": step.ingredients,
                }));
            }
            objects.push(json!({
                "model": job.model, "target": job.target,
                "manifest": plan.manifest.to_string_lossy(),
                "stages": job.recipe.stages.iter().map(plan::Stage::name).collect::<Vec<_>>(),
                "steps": steps,
            }));
        }
        text.push_str(&table(&rows));
    }
    if objects.is_empty() {
        context.ui.warning("nothing to do: no target is for this platform (see `when`)");
    }
    context.ui.result(&text, "planned", &json!({ "jobs": objects }));
    Ok(())
}
