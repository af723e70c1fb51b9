//! The one error type: what went wrong, where, and what to do about it.

use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};

/// What class of problem an [`Error`] is; decides the tool's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The manifest or a command line asks for something that does not exist or contradicts itself.
    Manifest,
    /// A source file is missing or cannot be read.
    Source,
    /// A source file's bytes break their format's rules.
    Malformed,
    /// The request is meaningful, and this version cannot do it.
    Unsupported,
    /// An artifact fell below a bound of `verify`.
    Accuracy,
    /// An external program or library failed or is not there.
    Tool,
    /// The file system, the cache or the disk failed.
    Io,
    /// A defect of model-build.
    Bug,
}

impl ErrorKind {
    /// The exit code of the tool for an error of this kind.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Manifest => 2,
            Self::Source => 3,
            Self::Malformed => 4,
            Self::Unsupported => 5,
            Self::Accuracy => 6,
            Self::Tool => 7,
            Self::Io => 8,
            Self::Bug => 70,
        }
    }

    /// The word for this kind in JSON messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Source => "source",
            Self::Malformed => "malformed",
            Self::Unsupported => "unsupported",
            Self::Accuracy => "accuracy",
            Self::Tool => "tool",
            Self::Io => "io",
            Self::Bug => "bug",
        }
    }
}

/// Where an [`Error`] happened. Each part is filled by the layer that knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The model's name in the manifest.
    pub model: Option<String>,
    /// The target's name in the manifest.
    pub target: Option<String>,
    /// The step of the plan.
    pub step: Option<String>,
    /// The file.
    pub file: Option<PathBuf>,
    /// The tensor, node, value or byte offset inside the file.
    pub item: Option<String>,
}

/// An error of this crate. Opaque: read it through its methods.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    place: Place,
    hints: Vec<String>,
    snippet: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with a message: lower case, no full stop, one line.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            place: Place::default(),
            hints: Vec::new(),
            snippet: None,
            source: None,
        }))
    }

    /// [`ErrorKind::Manifest`].
    pub fn manifest(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Manifest, message)
    }
    /// [`ErrorKind::Source`].
    pub fn source_missing(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Source, message)
    }
    /// [`ErrorKind::Malformed`].
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Malformed, message)
    }
    /// [`ErrorKind::Unsupported`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }
    /// [`ErrorKind::Accuracy`].
    pub fn accuracy(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Accuracy, message)
    }
    /// [`ErrorKind::Tool`].
    pub fn tool(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Tool, message)
    }
    /// [`ErrorKind::Bug`]: an internal invariant does not hold.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Bug, message)
            .hint("this is a defect of model-build: please report it with the model that shows it")
    }
    /// [`ErrorKind::Io`], from the operation, the file and what the system said.
    pub fn io(doing: &str, file: &Path, source: std::io::Error) -> Self {
        let mut error = Self::new(ErrorKind::Io, format!("cannot {doing}: {source}")).file(file);
        match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                error = error.hint(
                    "free some space (`model-build cache gc` drops unused artifacts) and build again; nothing was left half-written",
                );
            }
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                error = error.hint("check the permissions of the folder, or name another cache folder in MODEL_BUILD_CACHE");
            }
            _ => {}
        }
        error.caused_by(source)
    }

    /// Adds the file, unless one is set.
    #[must_use]
    pub fn file(mut self, file: impl Into<PathBuf>) -> Self {
        self.0.place.file.get_or_insert_with(|| file.into());
        self
    }
    /// Adds the tensor, node, value or offset, unless one is set.
    #[must_use]
    pub fn item(mut self, item: impl Into<String>) -> Self {
        self.0.place.item.get_or_insert_with(|| item.into());
        self
    }
    /// Adds the model and target, unless set.
    #[must_use]
    pub fn target(mut self, model: impl Into<String>, target: impl Into<String>) -> Self {
        self.0.place.model.get_or_insert_with(|| model.into());
        self.0.place.target.get_or_insert_with(|| target.into());
        self
    }
    /// Adds the model, unless one is set.
    #[must_use]
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.0.place.model.get_or_insert_with(|| model.into());
        self
    }
    /// Adds the step of the plan, unless one is set.
    #[must_use]
    pub fn step(mut self, step: impl Into<String>) -> Self {
        self.0.place.step.get_or_insert_with(|| step.into());
        self
    }
    /// Adds one line of advice: a command or a manifest line that mends it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(hint.into());
        self
    }
    /// Replaces the one-line rendering of message and place by an annotated excerpt of the source
    /// text (several lines, starting with `error: `).
    #[must_use]
    pub fn snippet(mut self, rendered: impl Into<String>) -> Self {
        self.0.snippet = Some(rendered.into());
        self
    }
    /// Adds the underlying error.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What class of problem this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
    /// The message alone, without place and hints.
    pub fn message(&self) -> &str {
        &self.0.message
    }
    /// Where it happened.
    pub fn place(&self) -> &Place {
        &self.0.place
    }
    /// Advice, a line each.
    pub fn hints(&self) -> &[String] {
        &self.0.hints
    }

    /// The whole report for a person: `error: …`, where, and `hint: …` lines; no trailing newline.
    pub fn report(&self) -> String {
        use fmt::Write;
        let mut out = match &self.0.snippet {
            Some(snippet) => snippet.trim_end().to_owned(),
            None => format!("error: {self}"),
        };
        for hint in &self.0.hints {
            let _ = write!(out, "\nhint: {hint}");
        }
        out
    }
}

impl fmt::Display for Error {
    /// One line: `model `m`, target `t`: message (file, item)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = &self.0.place;
        match (&place.model, &place.target) {
            (Some(model), Some(target)) => write!(f, "model `{model}`, target `{target}`: ")?,
            (Some(model), None) => write!(f, "model `{model}`: ")?,
            _ => {}
        }
        if let Some(step) = &place.step {
            write!(f, "{step}: ")?;
        }
        f.write_str(&self.0.message)?;
        match (&place.file, &place.item) {
            (Some(file), Some(item)) => write!(f, " ({}, {item})", file.display()),
            (Some(file), None) => write!(f, " ({})", file.display()),
            (None, Some(item)) => write!(f, " ({item})"),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.report())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|e| e as &(dyn StdError + 'static))
    }
}

/// The candidate nearest to `word` in spelling, if one is near enough to be meant.
#[cfg(feature = "engine")]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&word, &c.to_lowercase()), c))
        .filter(|(distance, c)| {
            *distance <= (c.chars().count().max(word.chars().count()) / 3).max(1)
        })
        .min()
        .map(|(_, c)| c)
}

#[cfg(all(test, feature = "engine"))]
mod tests {
    use super::*;

    #[test]
    fn the_inner_place_wins_over_the_outer_one() {
        let e = Error::malformed("bad").file("a").file("b").item("t").hint("do this");
        assert_eq!(e.to_string(), "bad (a, t)");
        assert_eq!(e.report(), "error: bad (a, t)\nhint: do this");
    }

    #[test]
    fn nearest_finds_typos_and_leaves_strangers_alone() {
        assert_eq!(nearest("onxx", ["onnx", "gguf"]), Some("onnx"));
        assert_eq!(nearest("pytorch", ["onnx", "gguf"]), None);
    }
}
