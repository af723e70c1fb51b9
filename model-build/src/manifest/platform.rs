//! `when`: which targets are for the platform that is compiled for.

use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use cargo_platform::{Cfg, Ident, Platform};

use super::reader::Value;
use super::text::quoted;
use super::types::{Manifest, Model};
use crate::env;
use crate::error::{Error, Result};

/// Deepest nesting of a `cfg` expression.
const DEEPEST: usize = 32;
/// Longest `cfg` expression, in bytes.
const LONGEST: usize = 4096;

/// The platform that is compiled for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetEnv {
    /// Its triple, as `x86_64-unknown-linux-gnu`.
    pub triple: String,
    /// Its configuration, as `rustc --print cfg` says it.
    pub cfg: Vec<Cfg>,
}

impl TargetEnv {
    /// The platform of the crate whose build script this is, from `TARGET` and the `CARGO_CFG_*`
    /// variables. These include the crate's features, as `cfg(feature = "…")`.
    ///
    /// # Errors
    /// Outside of a build script.
    pub fn from_build_script() -> Result<Self> {
        let Some(triple) = env::var("TARGET") else {
            return Err(Error::tool("the variable TARGET is not set")
                .hint("call this from a build script that cargo runs"));
        };
        let vars = env::with_prefix("CARGO_CFG_");
        Ok(Self::from_vars(
            triple,
            vars.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str()?))),
        ))
    }

    /// Names come in capitals, several values with commas; one without a value is set to nothing.
    pub(super) fn from_vars<'v>(
        triple: String,
        vars: impl Iterator<Item = (&'v str, &'v str)>,
    ) -> Self {
        let mut cfg = Vec::new();
        for (name, value) in vars {
            let Some(name) = name.strip_prefix("CARGO_CFG_") else { continue };
            let name = name.to_ascii_lowercase();
            let ident = || Ident { name: name.clone(), raw: false };
            if value.is_empty() && !name.starts_with("target_") {
                cfg.push(Cfg::Name(ident()));
            } else {
                let pair = |value: &str| Cfg::KeyPair(ident(), value.to_owned());
                cfg.extend(value.split(',').map(pair));
            }
        }
        cfg.sort();
        Self { triple, cfg }
    }

    /// The platform of that triple, from what `rustc --print cfg --target TRIPLE` printed.
    ///
    /// # Errors
    /// A line that is no `name` or `name="value"`.
    pub fn from_rustc(triple: &str, printed: &str) -> Result<Self> {
        let mut cfg = Vec::new();
        for line in printed.lines().filter(|line| !line.trim().is_empty()) {
            cfg.push(Cfg::from_str(line).map_err(|e| {
                Error::tool(format!("rustc printed a configuration that is none: {}", quoted(line)))
                    .caused_by(e)
            })?);
        }
        cfg.sort();
        Ok(Self { triple: triple.to_owned(), cfg })
    }

    /// Asks `rustc` (or what the variable `RUSTC` names) for the platform of that triple, or for
    /// its own.
    ///
    /// # Errors
    /// No `rustc`, or one that does not know the triple.
    pub fn query(triple: Option<&str>) -> Result<Self> {
        let rustc = env::path("RUSTC").unwrap_or_else(|| Path::new("rustc").to_owned());
        let mut command = Command::new(&rustc);
        match triple {
            Some(triple) => command.args(["--print", "cfg", "--target", triple]),
            None => command.args(["--print", "host-tuple", "--print", "cfg"]),
        };
        let output = command.output().map_err(|e| {
            Error::tool(format!("cannot run `{}`: {e}", rustc.display()))
                .hint("`when` is matched against what rustc says of the platform; put rustc on PATH or name it in RUSTC")
                .caused_by(e)
        })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let first = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
            return Err(Error::tool(format!("rustc failed: {first}"))
                .hint("`rustc --print target-list` lists the triples it knows"));
        }
        let printed = String::from_utf8_lossy(&output.stdout);
        match triple {
            Some(triple) => Self::from_rustc(triple, &printed),
            None => {
                let (host, cfg) = printed.split_once('\n').unwrap_or((&printed, ""));
                Self::from_rustc(host.trim(), cfg)
            }
        }
    }

    /// Whether a condition holds here.
    pub fn matches(&self, when: &Platform) -> bool {
        when.matches(&self.triple, &self.cfg)
    }
}

impl Manifest {
    /// Whether a target has a condition, so that [`Self::select`] depends on the platform.
    pub fn has_conditions(&self) -> bool {
        self.models.iter().flat_map(|model| &model.targets).any(|target| target.when.is_some())
    }

    /// The manifest with the targets whose `when` holds for a platform; a model left without
    /// targets is left out.
    #[must_use]
    pub fn select(&self, platform: &TargetEnv) -> Self {
        let holds = |when: &Option<Platform>| when.as_ref().is_none_or(|w| platform.matches(w));
        let models = self.models.iter().filter_map(|model| {
            let targets: Vec<_> =
                model.targets.iter().filter(|target| holds(&target.when)).cloned().collect();
            let model = Model { targets, ..model.clone() };
            (!model.targets.is_empty()).then_some(model)
        });
        Self {
            path: self.path.clone(),
            workspace: self.workspace.clone(),
            models: models.collect(),
        }
    }
}

/// Reads the value of `when`.
pub(super) fn parse_when(value: &Value<'_>) -> Result<Platform> {
    let text = value.line()?;
    let mut depth = 0_usize;
    for c in text.chars() {
        match c {
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST || text.len() > LONGEST {
            return Err(value
                .wrong("the condition of `when` is too large", "too large")
                .hint(format!("it may nest {DEEPEST} deep and be {LONGEST} bytes long")));
        }
    }
    let platform = Platform::from_str(text).map_err(|e| {
        let said = e.to_string();
        let why = match said.split_once("` as a cfg expression: ") {
            _ if text.starts_with("cfg(") && !text.ends_with(')') => "it does not end with `)`",
            Some((_, why)) => why,
            None => &said,
        };
        value
            .wrong("`when` holds no valid condition", why)
            .hint("write `when = 'cfg(target_os = \"linux\")'` or a target triple")
    })?;
    if let Platform::Name(name) = &platform
        && !name.contains('-')
    {
        let error = value.wrong(&format!("{} is no target triple", quoted(name)), "no triple");
        let word = name.to_ascii_lowercase();
        return Err(match word.as_str() {
            "unix" | "windows" => error.hint(format!("write `when = \"cfg({word})\"`")),
            _ => error.hint(format!("write `when = 'cfg(target_os = \"{word}\")'`")),
        });
    }
    Ok(platform)
}
