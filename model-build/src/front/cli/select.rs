//! Which manifests, and which of their targets, a command is about.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Context;
use crate::error::{Error, Result, nearest};
use crate::fsx;
use crate::manifest::{self, Manifest, TargetEnv};

/// Which manifest and which of its targets.
#[derive(clap::Args)]
pub(super) struct Selection {
    /// Only these models or targets
    #[arg(value_name = "MODEL[.TARGET]")]
    only: Vec<String>,
    /// A Cargo.toml, a models.toml or the folder of one [default: the nearest one, upwards from here]
    #[arg(long, value_name = "PATH")]
    manifest_path: Option<PathBuf>,
    /// Only this package of the workspace
    #[arg(short, long, value_name = "NAME")]
    package: Option<String>,
    /// The platform that `when` is matched against [default: this machine's]
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
}

impl Selection {
    /// The manifests with the targets that are for the platform and were asked for.
    pub(super) fn manifests(&self, context: &Context) -> Result<Vec<Manifest>> {
        let start = match &self.manifest_path {
            Some(path) => path.clone(),
            None => find_upwards()?,
        };
        let options = manifest::Options { color: context.color };
        let mut manifests = Vec::new();
        for path in members(&start, self.package.as_deref())? {
            manifests.push(manifest::load_with(&path, options)?);
        }
        // Asking rustc takes longer than a build that has nothing to do.
        if self.target.is_some() || manifests.iter().any(Manifest::has_conditions) {
            let platform = TargetEnv::query(self.target.as_deref())?;
            for manifest in &mut manifests {
                *manifest = manifest.select(&platform);
            }
        }
        if !self.only.is_empty() {
            narrow(&mut manifests, &self.only)?;
        }
        Ok(manifests)
    }
}

/// The nearest folder, upwards from the current one, that holds a manifest: as a relative path
/// where it is the current one.
fn find_upwards() -> Result<PathBuf> {
    let holds = |dir: &Path| {
        fsx::is_file(&dir.join("models.toml")) || fsx::is_file(&dir.join("Cargo.toml"))
    };
    let (cargo, models) = (Path::new("Cargo.toml"), Path::new("models.toml"));
    match (fsx::is_file(cargo), fsx::is_file(models)) {
        (true, false) => return Ok(cargo.to_owned()),
        (false, true) => return Ok(models.to_owned()),
        (true, true) => return Ok(PathBuf::from(".")), // the manifest's reader finds the one meant
        (false, false) => {}
    }
    let full = fsx::canonicalize(Path::new("."))?;
    full.ancestors().skip(1).find(|dir| holds(dir)).map(Path::to_owned).ok_or_else(|| {
        Error::manifest("no Cargo.toml or models.toml here or above")
            .file(full.clone())
            .hint("`model-build init --source PATH` writes one for the model at PATH")
            .hint("`model-build convert SRC DST` works without one")
    })
}

/// The manifests a path stands for: for the Cargo.toml of a workspace those of all its packages that
/// declare models, else the file or folder itself.
fn members(start: &Path, package: Option<&str>) -> Result<Vec<PathBuf>> {
    let single = || match package {
        None => Ok(vec![start.to_owned()]),
        Some(_) => {
            Err(Error::manifest("`--package` chooses a package of a workspace, and this is none")
                .file(start)
                .hint("leave out `--package`"))
        }
    };
    let cargo = if fsx::is_dir(start) { start.join("Cargo.toml") } else { start.to_owned() };
    if cargo.file_name().is_none_or(|name| name != "Cargo.toml") || !fsx::is_file(&cargo) {
        return single();
    }
    let text = fsx::read_text(&cargo, LONGEST_MANIFEST)?;
    let root = toml::de::DeTable::parse(&text).map(toml::Spanned::into_inner).unwrap_or_default();
    if !root.contains_key("workspace") {
        return single();
    }
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(&cargo)
        .no_deps()
        .other_options(vec!["--offline".to_owned()])
        .exec()
        .map_err(|e| Error::manifest(brief(&e)).file(&cargo).caused_by(e))?;
    let packages = metadata.workspace_packages();
    if let Some(wanted) = package
        && packages.iter().all(|p| p.name != wanted)
    {
        let error =
            Error::manifest(format!("no package `{wanted}` is in this workspace")).file(&cargo);
        return Err(match nearest(wanted, packages.iter().map(|p| p.name.as_str())) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        });
    }
    let mut found: BTreeMap<&str, PathBuf> = BTreeMap::new();
    for p in &packages {
        let declares = p.metadata.get("models").is_some();
        if package.map_or(declares, |wanted| p.name == wanted) {
            found.insert(
                p.manifest_path.as_str(),
                super::report::relative(p.manifest_path.as_std_path()),
            );
        }
    }
    if !found.is_empty() {
        return Ok(found.into_values().collect());
    }
    let virtual_models = root
        .get("workspace")
        .and_then(|w| w.get_ref().get("metadata")?.get_ref().get("models"))
        .is_some();
    if virtual_models && !root.contains_key("package") || packages.len() < 2 {
        return single(); // models for people who build without cargo, or an error that says more
    }
    Err(Error::manifest("no package of this workspace declares a model").file(&cargo).hint(
        "run `model-build init --source PATH` in the folder of the package that uses the model",
    ))
}

/// What cargo said, in a line.
fn brief(error: &cargo_metadata::Error) -> String {
    match error {
        cargo_metadata::Error::CargoMetadata { stderr } => {
            let mut lines = stderr.lines().map(str::trim).filter(|line| !line.is_empty());
            let line =
                lines.find(|line| line.starts_with("error")).unwrap_or("it does not say why");
            format!("cargo cannot read the workspace: {}", line.trim_start_matches("error: "))
        }
        other => format!("cargo cannot read the workspace: {other}"),
    }
}

/// No manifest is longer.
pub(super) const LONGEST_MANIFEST: u64 = 4 << 20;

/// Keeps the models and targets that are named.
fn narrow(manifests: &mut [Manifest], only: &[String]) -> Result<()> {
    let mut known = Vec::new();
    for model in manifests.iter().flat_map(|m| &m.models) {
        known.push(model.name.clone());
        known.extend(model.targets.iter().map(|t| format!("{}.{}", model.name, t.name)));
    }
    known.dedup();
    if let Some(unknown) = only.iter().find(|wanted| !known.contains(wanted)) {
        let error = Error::manifest(format!("no model or target `{unknown}` is declared"));
        return Err(match nearest(unknown, known.iter().map(String::as_str)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None if known.is_empty() => error.hint("no target is for this platform; see `when`"),
            None => error.hint(format!("these are, for this platform: {}", known.join(", "))),
        });
    }
    for manifest in manifests {
        for model in &mut manifest.models {
            let name = &model.name;
            let asked = |o: &String, target: &str| o == name || *o == format!("{name}.{target}");
            model.targets.retain(|t| only.iter().any(|o| asked(o, &t.name)));
        }
        manifest.models.retain(|m| !m.targets.is_empty());
    }
    Ok(())
}
