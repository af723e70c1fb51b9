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
    /// The model: the folder of a checkpoint, or a model file
    src: PathBuf,
    /// The file to write; its ending tells the format
    dst: PathBuf,
    /// Replace DST if it is there
    #[arg(short, long)]
    force: bool,
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
    if fsx::stat_if_exists(dst)?.is_some() && !args.force {
        return Err(exists(dst));
    }
    let facts = look::facts(&args.src)?;
    let mut job = plan::job(&name, &target, &facts)?;
    job.target = String::new();
    job.recipe.file_name.clone_from(&name);
    let plan = Plan { manifest: dst.clone(), jobs: vec![job] };
    let store = context.store()?;
    let artifact = execute::execute(&plan, &store, &mut context.ui)?
        .pop()
        .ok_or_else(|| Error::bug("no artifact came of one job"))?;
    let dir = dst.parent().unwrap_or(Path::new(""));
    let all = &artifact.record.files;
    if !args.force {
        let others = all.iter().skip(1).map(|f| dir.join(&f.name));
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
    let known: Vec<String> =
        written().flat_map(|f| f.extensions).map(|e| format!(".{e}")).collect();
    Err(Error::manifest(message)
        .file(dst)
        .hint(format!("end it in {}, or pass `--format`", known.join(" or "))))
}
