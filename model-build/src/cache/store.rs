//! The store: records by key, objects by digest, in a folder that builds and workspaces share.
//!
//! ```text
//! v1/records/ab/cdef…   what a key gave: a checksum line, then JSON     replaced by rename
//! v1/objects/ab/cdef…   the bytes with that digest                      read-only, placed by rename
//! v1/stat/              the stat index                                  see `stat`
//! v1/refs/              the last key of each target                     see `why`
//! v1/locks/             empty files that are locked                     see below
//! v1/tmp/               files being written, named `.tmp-…`             swept after a day
//! ```
//!
//! Invariants:
//! * A record is visible only after every object it names is on the disk.
//! * An object's bytes never change; whoever changes them is found out by `verify`.
//! * Locks save work and keep `gc` away; no answer depends on one being honoured.
//!
//! Locks: `key-…` is held by the process that makes what a key gives. `object-ab` is held for the
//! moment in which objects starting with `ab` are hashed or linked, because a link changes the
//! time stamps that vouch for the object. `use-ab` is shared, from the first use to the drop of the
//! [`Store`], by all who use objects starting with `ab`; `gc` removes none that it cannot lock alone.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::key::Key;
use super::stat::StatIndex;
use super::{Digest, gc};
use crate::digest::to_hex;
use crate::env;
use crate::error::{Error, ErrorKind, Result};
use crate::fsx::{self, AtomicFile, Lock};
use crate::record::Record;

/// A store whose lookups are verified and whose insertions are atomic. Threads may share one;
/// processes may open the same folder.
pub struct Store {
    /// Where everything is written and looked for first.
    pub(super) top: Layer,
    /// A store that cannot be written, looked at when the first one has no answer.
    pub(super) base: Option<Layer>,
    pins: Mutex<BTreeMap<u8, Lock>>,
    events: Mutex<Vec<StoreEvent>>,
}

/// What a store did that costs time or that a person should hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// An object was read to check it.
    Hashed {
        /// The object.
        path: PathBuf,
        /// How many bytes were read.
        bytes: u64,
    },
    /// An object was copied to where it is used, because it could not be linked there.
    Copied {
        /// Where to.
        path: PathBuf,
        /// How many bytes.
        bytes: u64,
    },
    /// A damaged object or record was removed; what it held will be made anew.
    Dropped {
        /// The file.
        path: PathBuf,
        /// What was wrong with it.
        why: String,
    },
}

/// One folder of a store.
pub(super) struct Layer {
    /// The folder of this version of the layout.
    pub(super) root: PathBuf,
    /// Its stat index.
    pub(super) index: StatIndex,
    /// Why nothing can be written, if that is so.
    read_only: Option<String>,
}

/// The folder of this version of the layout.
const LAYOUT: &str = "v1";
/// The first word of a record.
const RECORD_MAGIC: &str = "model-build-record-1";
/// No record is longer.
const RECORD_CAP: u64 = 64 << 20;
/// What to do without a cache folder.
const HINT: &str = "name a folder that can be written in MODEL_BUILD_CACHE";

impl Layer {
    fn open(root: &Path) -> Result<Self> {
        let root = fsx::absolute(root)?.join(LAYOUT);
        let temp = root.join("tmp");
        let probe = || AtomicFile::create_in(&temp, &temp.join("probe")).map(drop);
        let read_only = match probe().or_else(|_| fsx::create_dir_all(&temp).and_then(|()| probe()))
        {
            Ok(()) => None,
            Err(e) if fsx::is_dir(&root.join("records")) => Some(e.message().to_owned()),
            Err(e) => return Err(e.hint(HINT)),
        };
        let index = StatIndex::new(root.join("stat"), temp);
        Ok(Self { root, index, read_only })
    }

    pub(super) fn temp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(super) fn object_path(&self, digest: &Digest) -> PathBuf {
        sharded(&self.root.join("objects"), digest.as_bytes())
    }

    pub(super) fn record_path(&self, key: &Key) -> PathBuf {
        sharded(&self.root.join("records"), key.as_bytes())
    }

    pub(super) fn lock_path(&self, class: &str, name: &str) -> PathBuf {
        self.root.join("locks").join(format!("{class}-{name}"))
    }

    pub(super) fn is_writable(&self) -> bool {
        self.read_only.is_none()
    }
}

/// `dir/ab/cdef…`.
pub(super) fn sharded(dir: &Path, name: &[u8; 32]) -> PathBuf {
    let hex = to_hex(name);
    let (head, rest) = hex.split_at(2);
    dir.join(head).join(rest)
}

/// The folder named by `MODEL_BUILD_CACHE`, else `model-build` in the platform's cache folder.
///
/// # Errors
/// `MODEL_BUILD_CACHE` is a relative path, or the environment names no cache folder.
pub fn default_root() -> Result<PathBuf> {
    if let Some(root) = env::path("MODEL_BUILD_CACHE") {
        if root.is_absolute() {
            return Ok(root);
        }
        // Build scripts run in their package's folder: a relative path would be many folders.
        return Err(Error::new(ErrorKind::Io, "MODEL_BUILD_CACHE is not an absolute path")
            .file(root)
            .hint("write the path from the root of the file system"));
    }
    let absolute = |name: &str| env::path(name).filter(|path| path.is_absolute());
    let caches = if cfg!(windows) {
        absolute("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        absolute("HOME").map(|home| home.join("Library/Caches"))
    } else {
        absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))
    };
    caches.map(|caches| caches.join("model-build")).ok_or_else(|| {
        let names = if cfg!(windows) { "LOCALAPPDATA is" } else { "HOME is" };
        Error::new(ErrorKind::Io, format!("there is no cache folder: {names} not set")).hint(HINT)
    })
}

impl Store {
    /// Opens the store in a folder, which is made if need be. A store that is there but cannot be
    /// written opens too: it serves what it has, and [`lock`](Self::lock) and
    /// [`writer`](Self::writer) are errors.
    ///
    /// # Errors
    /// The folder is not there and cannot be made.
    pub fn open(root: &Path) -> Result<Self> {
        Ok(Self::of(Layer::open(root)?, None))
    }

    /// Opens the store in `root` ([`default_root`] when `None`) if it can be written. Otherwise
    /// opens one in `fallback`, in front of what `root` has, and returns a warning for people.
    ///
    /// # Errors
    /// Neither folder can be written, or `MODEL_BUILD_CACHE` is a relative path.
    pub fn open_or_fallback(
        root: Option<&Path>,
        fallback: &Path,
    ) -> Result<(Self, Option<String>)> {
        let root = match root.map_or_else(default_root, |root| Ok(root.to_owned())) {
            // What a person has written is mended, not worked around.
            Err(e) if env::path("MODEL_BUILD_CACHE").is_some() => return Err(e),
            root => root,
        };
        let (base, why) = match root.and_then(|root| Layer::open(&root)) {
            Ok(Layer { read_only: Some(why), root, index }) => {
                let why = format!("the cache folder {} cannot be written ({why})", root.display());
                (Some(Layer { read_only: Some(why.clone()), root, index }), why)
            }
            Ok(layer) => return Ok((Self::of(layer, None), None)),
            Err(e) => (None, e.to_string()),
        };
        let top = Layer::open(fallback)?;
        let warning = format!(
            "{why}; using {} instead, which other builds do not share: {HINT}",
            fallback.display()
        );
        let store = Self::of(top, base);
        store.writable()?;
        Ok((store, Some(warning)))
    }

    fn of(top: Layer, base: Option<Layer>) -> Self {
        Self { top, base, pins: Mutex::default(), events: Mutex::default() }
    }

    /// The folder of this store.
    pub fn root(&self) -> &Path {
        self.top.root.parent().unwrap_or(&self.top.root)
    }

    /// Whether anything can be written.
    pub fn is_writable(&self) -> bool {
        self.top.is_writable()
    }

    /// The stat index, for the digests of source files.
    pub fn stat_index(&self) -> &StatIndex {
        &self.top.index
    }

    /// The digest of a source file: [`StatIndex::digest_file`].
    ///
    /// # Errors
    /// As there.
    pub fn digest_file(&self, path: &Path, on_hash: &mut dyn FnMut(&Path, u64)) -> Result<Digest> {
        self.top.index.digest_file(path, on_hash)
    }

    /// What happened since the last call, in order.
    pub fn take_events(&self) -> Vec<StoreEvent> {
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn event(&self, event: StoreEvent) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    /// The store's own folder, or why it cannot be written.
    pub(super) fn writable(&self) -> Result<&Layer> {
        match &self.top.read_only {
            None => Ok(&self.top),
            Some(why) => {
                let message = format!("the cache folder cannot be written: {why}");
                Err(Error::new(ErrorKind::Io, message).file(self.root()).hint(HINT))
            }
        }
    }

    fn layers(&self) -> impl Iterator<Item = &Layer> {
        std::iter::once(&self.top).chain(&self.base)
    }

    /// The record of a key, if there is one and all its objects are there and are what they
    /// should be. Damage is dropped, reported by [`take_events`](Self::take_events), and `None`.
    /// When nothing changed since the last lookup, no object is read.
    ///
    /// # Errors
    /// Never because of a damaged cache.
    pub fn lookup(&self, key: &Key) -> Result<Option<Record>> {
        Ok(self.layers().find_map(|layer| self.lookup_in(layer, key)))
    }

    fn lookup_in(&self, layer: &Layer, key: &Key) -> Option<Record> {
        let path = layer.record_path(key);
        let record = match read_record(&path, key) {
            Ok(record) => record?,
            Err(why) => {
                self.drop_damaged(layer, &path, why);
                return None;
            }
        };
        for file in &record.files {
            self.pin(&file.digest);
            match self.verify_object(layer, &file.digest, Some(file.len)) {
                Verdict::Good => {}
                // The other layer may hold it, when the record was made with its help.
                Verdict::Absent if self.find_object(&file.digest, Some(file.len)).is_some() => {}
                Verdict::Absent => {
                    let why = format!("its object {} is not there", file.digest);
                    self.drop_damaged(layer, &path, why);
                    return None;
                }
                Verdict::Bad(why) => {
                    self.drop_damaged(layer, &layer.object_path(&file.digest), why);
                    self.drop_damaged(layer, &path, "its object was damaged".to_owned());
                    return None;
                }
            }
        }
        if layer.is_writable() {
            gc::mark_used(&path);
        }
        Some(record)
    }

    /// Waits until no other process makes what `key` gives, and keeps others from it until the
    /// lock is dropped. Look the key up again once it is held. `on_wait` is called once if there
    /// is another holder. A thread that holds the lock must not wait for the same key again: keys
    /// are to be locked outside of thread pools that hand waiting threads other work.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn lock(&self, key: &Key, on_wait: impl FnOnce()) -> Result<Lock> {
        let path = self.writable()?.lock_path("key", &key.to_hex());
        Lock::acquire(&path, on_wait).map_err(|e| e.hint(HINT))
    }

    /// Enters what a key gave. Every file of the record must have been committed before.
    ///
    /// # Errors
    /// A file of the record is not in the store (a bug), or the record cannot be written.
    pub fn insert(&self, key: &Key, record: &Record) -> Result<()> {
        let layer = self.writable()?;
        for file in &record.files {
            self.pin(&file.digest);
            if self.find_object(&file.digest, Some(file.len)).is_none() {
                let message = format!("`{}` is recorded and was not stored", file.name);
                return Err(Error::bug(message).file(layer.object_path(&file.digest)));
            }
        }
        let path = layer.record_path(key);
        if let Some(dir) = path.parent() {
            fsx::create_dir_all(dir)?;
        }
        let text = record_text(key, record)?;
        let mut file = AtomicFile::create_in(&layer.temp(), &path)?;
        file.write_all(text.as_bytes()).map_err(|e| Error::io("write", &path, e))?;
        file.commit(false)
    }

    /// Keeps `gc` of other processes away from an object until the store is dropped.
    pub(super) fn pin(&self, digest: &Digest) {
        let [shard, ..] = *digest.as_bytes();
        if !self.top.is_writable() {
            return;
        }
        let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        if let std::collections::btree_map::Entry::Vacant(entry) = pins.entry(shard)
            && let Ok(lock) = Lock::acquire_shared(&self.top.lock_path("use", &to_hex(&[shard])))
        {
            entry.insert(lock);
        }
    }

    /// Removes a damaged file and says so.
    pub(super) fn drop_damaged(&self, layer: &Layer, path: &Path, why: String) {
        if layer.is_writable() {
            let _ = fsx::remove_file(path).or_else(|_| fsx::remove_dir_all(path));
        }
        self.event(StoreEvent::Dropped { path: path.to_owned(), why });
    }
}

/// What became of checking an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its bytes have its digest.
    Good,
    /// It is not there.
    Absent,
    /// It is not what it should be, and why.
    Bad(String),
}

/// `model-build-record-1 <checksum over the key and the JSON>\n<JSON>`.
fn record_text(key: &Key, record: &Record) -> Result<String> {
    let json = serde_json::to_string(record)
        .map_err(|e| Error::bug("a record cannot be written as JSON").caused_by(e))?;
    Ok(format!("{RECORD_MAGIC} {}\n{json}\n", record_checksum(key, &json)))
}

fn record_checksum(key: &Key, json: &str) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key.as_bytes()).update(json.as_bytes());
    hasher.finalize().into()
}

/// A record, `None` when there is none, or what is wrong with it.
pub(super) fn read_record(path: &Path, key: &Key) -> Result<Option<Record>, String> {
    let text = match fsx::read_text(path, RECORD_CAP) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::Source => return Ok(None),
        Err(e) => return Err(e.message().to_owned()),
    };
    let damaged = || "the record is damaged".to_owned();
    let (head, json) = text.split_once('\n').ok_or_else(damaged)?;
    let checksum = head.strip_prefix(RECORD_MAGIC).ok_or_else(damaged)?.trim_start();
    let json = json.strip_suffix('\n').ok_or_else(damaged)?;
    if checksum != record_checksum(key, json).to_hex() {
        return Err(damaged());
    }
    serde_json::from_str(json).map(Some).map_err(|e| format!("the record cannot be read: {e}"))
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
