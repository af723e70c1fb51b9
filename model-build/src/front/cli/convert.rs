//! `model-build convert SRC DST`: one model, without a manifest.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::Context;
use super::report::{nice, size};
use crate::error::{Error, Result};
use crate::execute;
use crate::format;
use crate::manifest;
use crate::plan::{self, Plan};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The source: a checkpoint folder or a model file
    src: PathBuf,
    /// The file to write; its ending gives the format unless --format does
    dst: PathBuf,
    /// Overwrite DST if it is there
    #[arg(short, long)]
    force: bool,
    /// Format of the artifact [default: by the ending of DST]
    #[arg(long)]
    format: Option<String>,
    /// ONNX opset, such as 17
    #[arg(long, value_name = "N")]
    opset_version: Option<String>,
    /// fp32, fp16 or bf16
    #[arg(long)]
    precision: Option<String>,
    /// Quantization, such as int8
    #[arg(long)]
    quantization: Option<String>,
    /// Fixed axes, such as `batch=1,sequence=128`
    #[arg(long, value_name = "AXIS=N,…")]
    shapes: Option<String>,
    /// What a checkpoint is lowered to do, such as feature-extraction
    #[arg(long)]
    task: Option<String>,
    /// none, mean or cls
    #[arg(long)]
    pooling: Option<String>,
    /// Whether pooled vectors get length 1
    #[arg(long, value_name = "BOOL")]
    normalize: Option<String>,
    /// Bounds, such as `cosine=0.999,max-abs=0.01`
    #[arg(long, value_name = "BOUND=X,…")]
    verify: Option<String>,
}

pub(super) fn run(args: &Args, context: &mut Context) -> Result<()> {
    if crate::fsx::stat_if_exists(&args.dst)?.is_some() && !args.force {
        return Err(Error::manifest("the file to write is there already")
            .file(&args.dst)
            .hint("pass --force to replace it"));
    }
    let format = args.format.clone().map_or_else(|| format_of(&args.dst), Ok)?;
    let given: Vec<(&str, &str)> = [
        ("format", Some(&format)),
        ("opset-version", args.opset_version.as_ref()),
        ("precision", args.precision.as_ref()),
        ("quantization", args.quantization.as_ref()),
        ("shapes", args.shapes.as_ref()),
        ("task", args.task.as_ref()),
        ("pooling", args.pooling.as_ref()),
        ("normalize", args.normalize.as_ref()),
        ("verify", args.verify.as_ref()),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?.as_str())))
    .collect();
    let target = manifest::target_from_flags("convert", &given)?;
    let facts = execute::facts(&args.src)?;
    let name = args.src.file_name().map_or_else(|| "model".into(), |n| n.to_string_lossy());
    let mut job = plan::job(&name, &target, &facts)?;
    if let Some(file_name) = args.dst.file_name() {
        job.recipe.file_name = file_name.to_string_lossy().into_owned();
    }
    let plan = Plan { manifest: args.dst.clone(), jobs: vec![job] };
    let store = context.store()?;
    let artifact = execute::execute(&plan, &store, &mut context.ui)?
        .pop()
        .ok_or_else(|| Error::bug("no artifact came of one job"))?;
    let dir = args.dst.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    crate::fsx::create_dir_all(dir)?;
    let mut text = String::new();
    for file in &artifact.record.files {
        let to = dir.join(&file.name);
        crate::fsx::copy(&store.object_path(&file.digest), &to)?;
        text.push_str(&format!("{} ({})\n", nice(&to), size(file.len)));
    }
    context.ui.result(
        &text,
        &json!({ "event": "converted", "dst": args.dst, "files": artifact.record.files }),
    );
    Ok(())
}

fn format_of(dst: &Path) -> Result<String> {
    let ending = dst.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
    format::ALL
        .iter()
        .find(|f| f.write.is_some() && f.extensions.contains(&ending.as_str()))
        .map(|f| f.name.to_owned())
        .ok_or_else(|| {
            let known: Vec<String> = format::ALL
                .iter()
                .filter(|f| f.write.is_some())
                .flat_map(|f| f.extensions)
                .map(|e| format!(".{e}"))
                .collect();
            Error::manifest(format!(
                "the ending `.{ending}` stands for no format that can be written"
            ))
            .file(dst)
            .hint(format!("end the name in {}, or pass --format", known.join(" or ")))
        })
}
