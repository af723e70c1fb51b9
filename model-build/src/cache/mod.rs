//! The store of finished artifacts, and what makes a build that has nothing to do read nothing.
//!
//! * [`key`]: what a key is made of.
//! * [`stat`]: path → digest without reading, as long as the file system says nothing changed.
//! * [`store`]: lookup and insertion, verified on read, locked across processes.
//! * gc and why: keeping the store small and sound, and saying what changed.
//!
//! Nothing in the store is trusted for being there: a record carries its own checksum, an object
//! is checked against its name whenever the file system cannot vouch for it, and whatever fails is
//! dropped and counts as absent. A damaged cache costs time and never gives a wrong byte.

mod gc;
pub mod key;
mod memo;
mod object;
pub mod stat;
pub mod store;
mod why;

pub use crate::digest::Digest;
pub use gc::{GcReport, Stats, VerifyReport};
pub use key::{Key, KeyBuilder};
pub use object::{ObjectWriter, Unfolded};
pub use stat::StatIndex;
pub use store::{Store, StoreEvent, default_root};
pub use why::{Change, Subject, Why};
