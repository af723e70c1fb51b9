//! `model-build convert SRC DST`: one model, without a manifest.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::Context;
use super::build::files;
use super::flags::TargetFlags;
use super::report::nice;
use super::text::{size, table};
use crate::error::{Error, Result};
use crate::execute;
use crate::format;
use crate::fsx;
use crate::look;
use crate::manifest;
use crate::plan::{self, Plan};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The model: the folder of a checkpoint, a model file, or `ollama:NAME:TAG`
    src: PathBuf,
    /// The file to write; its ending tells the format
    dst: PathBuf,
    /// Replace DST if it is there
    #[arg(short, long)]
    force: bool,
    /// Show what each tensor would become and how large the result would be; write nothing
    #[arg(long)]
    dry_run: bool,
    /// Write straight to DST: look for nothing in the cache and keep nothing in it
    #[arg(long)]
    no_cache: bool,
    /// Which of several state dicts in a PyTorch file to take: a path of keys, as `ema.state_dict`
    #[arg(long, value_name = "PATH")]
    state_dict: Option<String>,
    #[command(flatten)]
    target: TargetFlags,
}

pub(super) fn run(args: &Args, context: &mut Context) -> Result<()> {
    let dst = &args.dst;
    let name = match dst.file_name() {
        Some(name) if !fsx::is_dir(dst) && !ends_in_separator(dst) => {
            name.to_string_lossy().into_owned()
        }
        _ => {
            return Err(Error::manifest("the file to write is a folder")
                .file(dst)
                .hint(format!("give the file's name too: {}", nice(&dst.join("model.onnx")))));
        }
    };
    let mut given = args.target.given()?;
    let format;
    if given.iter().all(|(key, _)| *key != "format") {
        format = format_of(dst)?;
        given.push(("format", &format));
    }
    let target = manifest::target_from_flags("convert", &given)?;
    if fsx::stat_if_exists(dst)?.is_some() && !args.force && !args.dry_run {
        return Err(exists(dst));
    }
    let mut facts = look::facts(&source(&args.src)?)?;
    facts.state_dict.clone_from(&args.state_dict);
    look::architecture(&mut facts, &target)?;
    let mut job = plan::job(&name, &target, &facts)?;
    job.target = String::new();
    job.recipe.file_name.clone_from(&name);
    if args.dry_run {
        return dry_run(&job, context);
    }
    if args.no_cache {
        return direct(&job, args, context);
    }
    let plan = Plan { manifest: dst.clone(), jobs: vec![job] };
    let store = context.store()?;
    let artifact = execute::execute(&plan, &store, &mut context.ui)?
        .pop()
        .ok_or_else(|| Error::bug("no artifact came of one job"))?;
    let dir = dst.parent().unwrap_or(Path::new(""));
    let all = &artifact.record.files;
    if !args.force {
        let others = all.iter().filter(|f| f.name != name).map(|f| dir.join(&f.name));
        for other in others {
            if fsx::stat_if_exists(&other)?.is_some() {
                return Err(exists(&other));
            }
        }
    }
    if !dir.as_os_str().is_empty() {
        fsx::create_dir_all(dir)?;
    }
    let mut rows = Vec::new();
    // The main file comes last: whoever finds it finds the others too.
    for file in all.iter().rev() {
        let to = dir.join(&file.name);
        fsx::copy(&store.object_path(&file.digest), &to)?;
        rows.insert(0, vec![nice(&to), size(file.len), file.digest.to_string()]);
    }
    let fields = json!({
        "dst": dst.to_string_lossy(), "key": artifact.key.to_string(),
        "files": files(all, Some(dir), &store),
    });
    context.ui.result(&table(&rows), "converted", &fields);
    Ok(())
}

/// What the argument names: a path, or a model in the store of Ollama.
pub(super) fn source(argument: &Path) -> Result<PathBuf> {
    let text = argument.to_str().unwrap_or_default();
    if let Some(name) = text.strip_prefix("ollama:") {
        return manifest::ollama_source(name);
    }
    if let Some(scheme) = ["hf:", "https:", "http:"].iter().find(|s| text.starts_with(**s))
        && fsx::stat_if_exists(argument)?.is_none()
    {
        return Err(Error::unsupported(format!("a source from `{scheme}` is not supported yet"))
            .hint("download the model and give its folder or file"));
    }
    Ok(argument.to_owned())
}

/// Writes the artifact to where it is wanted, past the cache.
fn direct(job: &plan::Job, args: &Args, context: &mut Context) -> Result<()> {
    if job.verify.is_some() {
        return Err(Error::manifest("`--no-cache` and `--verify` do not go together")
            .hint("leave out `--no-cache`: the check keeps the reference graph in the cache"));
    }
    let dir = args.dst.parent().unwrap_or(Path::new(""));
    if !dir.as_os_str().is_empty() {
        fsx::create_dir_all(dir)?;
    }
    let files = execute::write_to(job, dir, args.force, &mut context.ui)?;
    let place = |f: &crate::record::RecordFile| dir.join(&f.name);
    let rows: Vec<_> =
        files.iter().map(|f| vec![nice(&place(f)), size(f.len), f.digest.to_string()]).collect();
    let listed: Vec<_> = files
        .iter()
        .map(|f| {
            json!({
                "name": f.name, "digest": f.digest.to_string(), "len": f.len,
                "path": place(f).to_string_lossy(),
            })
        })
        .collect();
    let fields = json!({ "dst": args.dst.to_string_lossy(), "key": null, "files": listed });
    context.ui.result(&table(&rows), "converted", &fields);
    Ok(())
}

/// Shows what would become of each tensor.
fn dry_run(job: &plan::Job, context: &mut Context) -> Result<()> {
    let found = execute::preview(&job.recipe)?;
    let mut rows = Vec::new();
    let mut tensors = Vec::new();
    for row in &found.report.rows {
        rows.push(vec![
            row.name.clone(),
            format!("{:?}", row.shape),
            row.from.to_string(),
            row.to.to_string(),
            size(row.after),
            row.why.to_string(),
        ]);
        tensors.push(json!({
            "name": row.name, "shape": row.shape, "from": row.from.name(), "to": row.to.name(),
            "bytes_before": row.before, "bytes_after": row.after, "why": row.why,
        }));
    }
    let mut text = table(&rows);
    let (_, bpw) = found.report.bits_per_weight();
    text.push_str(&format!("{} in all, {bpw:.2} bits per weight\n", size(found.bytes)));
    for warning in &found.warnings {
        context.ui.warning(warning);
    }
    let fields = json!({ "tensors": tensors, "bytes": found.bytes, "bpw": bpw });
    context.ui.result(&text, "dry-run", &fields);
    Ok(())
}

/// Whether a path says that it is a folder, as `new/` does.
fn ends_in_separator(path: &Path) -> bool {
    path.to_string_lossy().ends_with(std::path::is_separator)
}

fn exists(path: &Path) -> Error {
    Error::manifest("the file to write is there already")
        .file(path)
        .hint("pass `--force` to replace it")
}

/// The format that a file's ending stands for.
fn format_of(dst: &Path) -> Result<String> {
    let ending = dst.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
    let written = || format::ALL.iter().filter(|f| f.write.is_some());
    if let Some(found) = written().find(|f| f.extensions.contains(&ending.as_str())) {
        return Ok(found.name.to_owned());
    }
    let message = match ending.as_str() {
        "" => "the name of the file to write has no ending that tells its format".to_owned(),
        ending => format!("the ending `.{ending}` stands for no format that can be written"),
    };
    let mut known: Vec<String> =
        written().flat_map(|f| f.extensions).map(|e| format!(".{e}")).collect();
    known.dedup();
    Err(Error::manifest(message)
        .file(dst)
        .hint(format!("end it in {}, or pass `--format`", known.join(" or "))))
}
