//! `model-build why`: which ingredients of a key are not what they were in the build before.

use serde_json::json;

use super::{Context, Selection};
use crate::cache::Why;
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
    for manifest in args.selection.manifests(context)? {
        let path = execute::absolute(&manifest.path);
        for job in plan::plan(&manifest, &execute::look(&manifest, &store, &mut context.ui)?)?.jobs
        {
            let mut steps = Vec::new();
            for step in execute::keys_of(&job, &store, &mut context.ui)? {
                let subject = execute::subject(&path, &job, step.step);
                let why = store.why(&subject, &step.key, &step.ingredients);
                let cached = store.lookup(&step.key)?.is_some();
                text.push_str(&explain(&job.name(), step.step, cached, &why));
                let changes = match &why {
                    Why::Changed(changes) => changes.as_slice(),
                    Why::First | Why::Same => &[],
                };
                let changes: Vec<_> = changes
                    .iter()
                    .map(|c| json!({ "name": c.name, "old": c.old, "new": c.new }))
                    .collect();
                steps.push(json!({
                    "step": step.step, "key": step.key.to_string(), "cached": cached,
                    "known": why != Why::First, "changes": changes,
                }));
            }
            objects.push(json!({
                "job": job.name(), "manifest": manifest.path.to_string_lossy(), "steps": steps,
            }));
        }
    }
    if objects.is_empty() {
        context.ui.warning("no target is for this platform (see `when`)");
    }
    context.ui.result(&text, "explained", &json!({ "jobs": objects }));
    Ok(())
}

/// A line, and a line per difference.
fn explain(job: &str, step: &str, cached: bool, why: &Why) -> String {
    let head = match (cached, why) {
        (true, Why::First) => "fresh; it was not built here before",
        (true, Why::Same) => "fresh; nothing changed since its first build here",
        (true, Why::Changed(_)) => "fresh; before its last build this changed:",
        (false, Why::First) => "to do; it was not built here before",
        (false, Why::Same) => "to do; its result is no longer in the cache",
        (false, Why::Changed(_)) => "to do; since its last build this changed:",
    };
    let mut text = format!("{job}, {step}: {head}\n");
    if let Why::Changed(_) = why {
        text.extend(why.to_string().lines().map(|line| format!("    {line}\n")));
    }
    text
}
