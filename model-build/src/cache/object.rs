//! Objects of the store: writing, checking, and putting them where they are used.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::store::{Layer, Store, StoreEvent, Verdict};
use super::{Digest, gc};
use crate::digest::to_hex;
use crate::error::{Error, ErrorKind, Result};
use crate::fsx::{self, AtomicFile, Lock, Placed, Stat};
use crate::record::Record;

/// An object being written. Dropped without a commit, it leaves nothing.
pub struct ObjectWriter<'a> {
    store: &'a Store,
    file: AtomicFile,
    len: u64,
}

impl ObjectWriter<'_> {
    /// How many bytes were written.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Syncs the object to the disk and gives it its name: `digest`, the digest of everything that
    /// was written. Returns its length.
    ///
    /// # Errors
    /// The disk is full or fails; nothing is left then.
    pub fn commit(mut self, digest: &Digest) -> Result<u64> {
        let Self { store, len, .. } = self;
        let layer = store.writable()?;
        store.pin(digest);
        let _lock = store.object_lock(digest);
        match store.verify_holding(layer, digest, Some(len)) {
            Verdict::Good => return Ok(len),
            Verdict::Absent => {}
            Verdict::Bad(why) => store.drop_damaged(layer, &layer.object_path(digest), why),
        }
        let path = layer.object_path(digest);
        if let Some(dir) = path.parent() {
            fsx::create_dir_all(dir)?;
        }
        self.file.set_dest(path.clone());
        self.file.commit(true)?;
        // The racy-write rule of the stat index is not needed for a file that only we write.
        layer.index.put(&subject_of(digest), &fsx::stat(&path)?, *digest);
        Ok(len)
    }
}

impl Write for ObjectWriter<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.file.write(buf)?;
        self.len += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// What an entry of the stat index about an object is called: the store may be moved.
pub(super) fn subject_of(digest: &Digest) -> Vec<u8> {
    [b"object:", digest.as_bytes().as_slice()].concat()
}

impl Store {
    /// Starts an object. Its name is given when it is complete: [`ObjectWriter::commit`].
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn writer(&self) -> Result<ObjectWriter<'_>> {
        let layer = self.writable()?;
        gc::sweep_temp(&layer.temp());
        let file = AtomicFile::create_in(&layer.temp(), &layer.temp())?;
        Ok(ObjectWriter { store: self, file, len: 0 })
    }

    /// Stores bytes that are in memory.
    ///
    /// # Errors
    /// As [`writer`](Self::writer) and [`ObjectWriter::commit`].
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        let mut writer = self.writer()?;
        writer.write_all(bytes).map_err(|e| Error::io("write an object", self.root(), e))?;
        writer.commit(&digest)?;
        Ok(digest)
    }

    /// Where an object is if it is there. Read it only after a [`lookup`](Self::lookup) in the
    /// life of this store, which checks it and keeps it.
    pub fn object_path(&self, digest: &Digest) -> PathBuf {
        let path = self.top.object_path(digest);
        match &self.base {
            Some(base) if !fsx::is_file(&path) => base.object_path(digest),
            _ => path,
        }
    }

    /// Puts an object at `to`: a hard link, else a copy. Returns whether `to` changed; when it is
    /// that object already nothing is done or read. Anything else that stands there is replaced.
    ///
    /// # Errors
    /// The object is not in the store or turned out to be damaged, or `to` cannot be written.
    pub fn materialize(&self, digest: &Digest, to: &Path) -> Result<bool> {
        let to = fsx::absolute(to)?;
        let copy = super::StatIndex::subject_of(&to);
        self.pin(digest);
        let layer = self.find_object(digest, None).ok_or_else(|| gone(self, digest))?;
        let path = layer.object_path(digest);
        if fsx::same_file(&path, &to) {
            return Ok(false);
        }
        if let Ok(Some(stat)) = fsx::stat_if_exists(&to)
            && self.top.index.get(&copy, &stat) == Some(*digest)
        {
            return Ok(false);
        }
        if let Some(dir) = to.parent() {
            fsx::create_dir_all(dir)?;
        }
        match self.relinking(layer, digest, || fsx::link_or_copy(&path, &to))? {
            // Where inodes have no numbers, the index knows the link as it knows a copy.
            Placed::Linked if fsx::same_file(&path, &to) => {}
            Placed::Linked => self.top.index.put(&copy, &fsx::stat(&to)?, *digest),
            Placed::Copied => {
                let stat = fsx::stat(&to)?;
                self.top.index.put(&copy, &stat, *digest);
                self.event(StoreEvent::Copied { path: to, bytes: stat.len });
            }
        }
        Ok(true)
    }

    /// The files of an artifact under their own names in one folder, as runners want them, for as
    /// long as the result lives. An artifact of one file is its object.
    ///
    /// # Errors
    /// As [`materialize`](Self::materialize); and the store cannot be written.
    pub fn unfold(&self, record: &Record) -> Result<Unfolded<'_>> {
        let mut out = Unfolded { store: self, dir: None, files: Vec::new(), links: Vec::new() };
        if let [file] = record.files.as_slice() {
            self.pin(&file.digest);
            let layer = self.find_object(&file.digest, Some(file.len));
            let layer = layer.ok_or_else(|| gone(self, &file.digest))?;
            out.files.push((file.name.clone(), layer.object_path(&file.digest)));
            return Ok(out);
        }
        let dir = fsx::create_temp_dir(&self.writable()?.temp())?;
        out.dir = Some(dir.clone());
        for file in &record.files {
            let to = dir.join(&file.name);
            self.materialize(&file.digest, &to)?;
            out.files.push((file.name.clone(), to.clone()));
            out.links.push((file.digest, to));
        }
        Ok(out)
    }

    /// Adds or removes a link to an object, which changes its time stamps, and sees to it that the
    /// stat index goes on vouching for it.
    fn relinking<T>(
        &self,
        layer: &Layer,
        digest: &Digest,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let path = layer.object_path(digest);
        let _lock = self.object_lock(digest);
        // Checked under the lock, so that nothing but `act` changes the time stamps.
        match self.verify_holding(layer, digest, None) {
            Verdict::Good => {}
            Verdict::Absent => return Err(gone(self, digest)),
            Verdict::Bad(why) => {
                self.drop_damaged(layer, &path, why);
                return Err(gone(self, digest));
            }
        }
        let before = fsx::stat(&path)?;
        let out = act()?;
        let after = fsx::stat(&path)?;
        if after != before && (Stat { ctime_ns: before.ctime_ns, ..after }) == before {
            layer.index.put(&subject_of(digest), &after, *digest);
        }
        Ok(out)
    }

    /// The layer that has an object in good order. A damaged one is dropped on the way.
    pub(super) fn find_object(&self, digest: &Digest, len: Option<u64>) -> Option<&Layer> {
        std::iter::once(&self.top).chain(&self.base).find(|layer| {
            match self.verify_object(layer, digest, len) {
                Verdict::Good => true,
                Verdict::Absent => false,
                Verdict::Bad(why) => {
                    self.drop_damaged(layer, &layer.object_path(digest), why);
                    false
                }
            }
        })
    }

    /// Checks an object: its length, and its bytes unless the stat index vouches for them.
    pub(super) fn verify_object(
        &self,
        layer: &Layer,
        digest: &Digest,
        len: Option<u64>,
    ) -> Verdict {
        match self.vouched(layer, digest, len) {
            Ok(verdict) => verdict,
            Err(_) => {
                let _lock = self.object_lock(digest);
                self.verify_holding(layer, digest, len)
            }
        }
    }

    /// [`verify_object`](Self::verify_object) by someone who holds the object's lock.
    fn verify_holding(&self, layer: &Layer, digest: &Digest, len: Option<u64>) -> Verdict {
        match self.vouched(layer, digest, len) {
            Ok(verdict) => verdict,
            Err(stat) => self.rehash(layer, digest, &stat),
        }
    }

    /// The verdict that needs no reading, or the stat that nobody vouches for.
    fn vouched(&self, layer: &Layer, digest: &Digest, len: Option<u64>) -> Result<Verdict, Stat> {
        let path = layer.object_path(digest);
        let stat = match fsx::stat_if_exists(&path) {
            Ok(Some(stat)) => stat,
            Ok(None) => return Ok(Verdict::Absent),
            Err(e) => return Ok(Verdict::Bad(e.message().to_owned())),
        };
        if let Some(len) = len.filter(|len| *len != stat.len) {
            return Ok(Verdict::Bad(format!("it has {} bytes instead of {len}", stat.len)));
        }
        let known = layer.index.get(&subject_of(digest), &stat).or_else(|| {
            // What a read-only layer cannot remember about its objects, the first one does.
            let by_path = super::StatIndex::subject_of(&path);
            (!layer.is_writable()).then(|| self.top.index.get(&by_path, &stat)).flatten()
        });
        if known == Some(*digest) { Ok(Verdict::Good) } else { Err(stat) }
    }

    /// Reads an object and compares.
    pub(super) fn rehash(&self, layer: &Layer, digest: &Digest, stat: &Stat) -> Verdict {
        let path = layer.object_path(digest);
        // On this thread alone: a thread pool may hand a waiting thread other work, and that would
        // wait for the lock that this thread holds.
        let found = match fsx::map(&path) {
            Ok(map) => Digest::of(&map),
            Err(e) => return Verdict::Bad(e.message().to_owned()),
        };
        self.event(StoreEvent::Hashed { path: path.clone(), bytes: stat.len });
        if found != *digest {
            return Verdict::Bad("its bytes are not the ones that were stored".to_owned());
        }
        if layer.is_writable() {
            layer.index.put(&subject_of(digest), stat, *digest);
        } else {
            self.top.index.put(&super::StatIndex::subject_of(&path), stat, *digest);
        }
        Verdict::Good
    }

    /// Held while an object is hashed or linked. Without it work may be done twice.
    pub(super) fn object_lock(&self, digest: &Digest) -> Option<Lock> {
        let [shard, ..] = *digest.as_bytes();
        let path = self.top.lock_path("object", &to_hex(&[shard]));
        self.top.is_writable().then(|| Lock::acquire(&path, || {}).ok()).flatten()
    }
}

/// Files of an artifact side by side; see [`Store::unfold`]. The folder goes with this value.
pub struct Unfolded<'a> {
    store: &'a Store,
    dir: Option<PathBuf>,
    files: Vec<(String, PathBuf)>,
    links: Vec<(Digest, PathBuf)>,
}

impl Unfolded<'_> {
    /// Name and path of each file, in the record's order.
    pub fn files(&self) -> &[(String, PathBuf)] {
        &self.files
    }
}

impl Drop for Unfolded<'_> {
    fn drop(&mut self) {
        for (digest, link) in &self.links {
            if fsx::same_file(&self.store.top.object_path(digest), link) {
                let remove = || fsx::remove_file(link);
                let _ = self.store.relinking(&self.store.top, digest, remove);
            }
        }
        if let Some(dir) = &self.dir {
            let _ = fsx::remove_dir_all(dir);
        }
    }
}

fn gone(store: &Store, digest: &Digest) -> Error {
    Error::new(ErrorKind::Io, "an artifact vanished from the cache or was damaged during the build")
        .file(store.object_path(digest))
        .hint("build again: it will be made anew")
}
