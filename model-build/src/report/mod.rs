//! The report of a build: one HTML file without scripts and without anything outside of it, whose
//! bytes depend on what is reported alone.
//!
//! [`gather`] finds what there is to say of an artifact, [`html`] says it. Names in models are
//! whatever their makers wrote, so all text goes through an escape (`html.rs`), and the page's
//! policy allows no scripts and no requests.

mod gather;
mod html;
mod number;
mod plot;
mod scale;
mod sections;
mod sizes;

pub use gather::gather;
pub(crate) use number::{count, decibels, number, percent, shown_as, size};
pub use plot::Histogram;
pub use sections::html;
pub use sizes::{Size, Sizes};

use crate::record::Record;
use crate::verify::{Bounds, Costs, Layers, Measured};

/// What is said of a build.
#[derive(Clone, Debug)]
pub struct Page {
    /// What was built, for the title: the manifest's folder or a file.
    pub title: String,
    /// The artifacts.
    pub entries: Vec<Entry>,
}

/// What is said of one artifact.
#[derive(Clone, Debug)]
pub struct Entry {
    /// `model.target`.
    pub name: String,
    /// The key it is stored under.
    pub key: String,
    /// Its record: files, ingredients of the key, facts.
    pub record: Record,
    /// The stages that made it: name, and everything that decides what they do.
    pub stages: Vec<(String, String)>,
    /// Bytes of tensors before and after, where both are models that can be read.
    pub sizes: Option<Sizes>,
    /// Its accuracy, where it is checked.
    pub accuracy: Option<Checked>,
    /// Its error value by value, where that was asked for.
    pub layers: Option<Layers>,
    /// What running it costs, where that was asked for.
    pub costs: Option<Costs>,
    /// What calibration saw, where there was one.
    pub histograms: Vec<Histogram>,
}

/// An accuracy check.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The numbers.
    pub measured: Measured,
    /// What they are held against.
    pub bounds: Bounds,
    /// The key of the check.
    pub key: String,
    /// What that key is made of.
    pub ingredients: Vec<(String, String)>,
    /// What is to be known of a check that holds, or why it does not: the message, then advice.
    pub verdict: Result<Vec<String>, Vec<String>>,
}
