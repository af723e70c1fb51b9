//! A manifest's text, and errors that show the line they are about.

use std::ops::Range;
use std::path::Path;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::error::{Error, ErrorKind, nearest};

/// The text of one file, and what its errors need to know of it.
pub(super) struct Text<'t> {
    pub(super) text: &'t str,
    pub(super) path: &'t Path,
    /// What stands before a model's name in the header of its table.
    pub(super) prefix: &'static str,
    /// Whether excerpts are rendered with terminal colours.
    pub(super) color: bool,
}

/// A place in a text: what to underline, and the table it stands in.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    /// The bytes to underline.
    pub(super) at: Range<usize>,
    /// The header of the table around it, and what to call that.
    pub(super) inside: Option<(Range<usize>, &'static str)>,
    /// The dotted key.
    pub(super) item: String,
}

impl Text<'_> {
    /// An error about a place: `message` above the excerpt, `label` at the underline.
    pub(super) fn error(&self, kind: ErrorKind, spot: &Spot, message: &str, label: &str) -> Error {
        let message = printable(message);
        let excerpt = self.excerpt(&message, spot, &printable(label));
        let error = Error::new(kind, message).file(self.path).snippet(excerpt);
        if spot.item.is_empty() { error } else { error.item(printable(&spot.item)) }
    }

    /// [`Self::error`] of kind [`ErrorKind::Manifest`].
    pub(super) fn wrong(&self, spot: &Spot, message: &str, label: &str) -> Error {
        self.error(ErrorKind::Manifest, spot, message, label)
    }

    /// The error for something that is known and does not work yet.
    pub(super) fn later(&self, spot: &Spot, what: &str) -> Error {
        let message = format!("{what} is not supported yet");
        self.error(ErrorKind::Unsupported, spot, &message, "not supported yet")
    }

    fn excerpt(&self, message: &str, spot: &Spot, label: &str) -> String {
        let at = self.clip(&spot.at);
        let path = self.path.display().to_string();
        let mut snippet = Snippet::source(self.text)
            .path(path)
            .annotation(AnnotationKind::Primary.span(at.clone()).label(label));
        if let Some((header, name)) = &spot.inside {
            let header = self.clip(header);
            if self.text.get(header.start..at.start).is_some_and(|between| between.contains('\n')) {
                snippet = snippet.annotation(AnnotationKind::Context.span(header).label(*name));
            }
        }
        let renderer = if self.color { Renderer::styled() } else { Renderer::plain() };
        let rendered = renderer.render(&[Level::ERROR.primary_title(message).element(snippet)]);
        rendered.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    /// The span within the text, on one line, on character boundaries and not empty where possible.
    fn clip(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.text.floor_char_boundary(span.start);
        let rest = self.text.get(start..).unwrap_or_default();
        let line = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let wanted = span.end.saturating_sub(start).max(1).min(line);
        start..self.text.ceil_char_boundary(start.saturating_add(wanted))
    }
}

/// Words from a file as they may stand in a message: one line, no control characters, not endless.
pub(super) fn printable(word: &str) -> String {
    const MOST: usize = 400;
    let mut out: String =
        word.chars().take(MOST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if word.chars().nth(MOST).is_some() {
        out.push('…');
    }
    out
}

/// A word from a file in a message: as [`printable`], and short.
pub(super) fn quoted(word: &str) -> String {
    const MOST: usize = 40;
    if word.chars().nth(MOST).is_none() {
        return format!("`{}`", printable(word));
    }
    let head: String = word.chars().take(MOST).collect();
    format!("`{}…`", printable(&head))
}

/// The candidate that was probably meant: near in spelling, or the one that starts with the word.
pub(super) fn suggest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    // Words have underscores or dashes, keys have dashes.
    let dashed = word.to_lowercase().replace('_', "-");
    let near = |word: &str| nearest(word, candidates.iter().copied());
    if let Some(near) = near(word).or_else(|| near(&dashed)) {
        return Some(near);
    }
    let word = dashed;
    if word.len() < 3 {
        return None;
    }
    let mut starting = candidates.iter().filter(|c| c.to_lowercase().starts_with(&word));
    match (starting.next(), starting.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}
