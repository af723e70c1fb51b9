//! The only toucher of files: stat, read, map, atomic write, link, lock. Every error names its file.
#![allow(clippy::disallowed_methods)] // this is the funnel

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::error::{Error, Result};

/// What the file system says of a file, at the finest resolution it offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Stat {
    /// Size in bytes.
    pub len: u64,
    /// Last modification, nanoseconds since 1970.
    pub mtime_ns: i128,
    /// Last inode change, nanoseconds since 1970 (0 where the platform has none).
    pub ctime_ns: i128,
    /// The inode number (0 where the platform has none).
    pub inode: u64,
}

fn stat_of(meta: &fs::Metadata) -> Stat {
    let mtime_ns = match meta.modified().map(|t| t.duration_since(std::time::UNIX_EPOCH)) {
        Ok(Ok(after)) => i128::try_from(after.as_nanos()).unwrap_or(i128::MAX),
        Ok(Err(before)) => -i128::try_from(before.duration().as_nanos()).unwrap_or(i128::MAX),
        Err(_) => 0,
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let ctime_ns = i128::from(meta.ctime()) * 1_000_000_000 + i128::from(meta.ctime_nsec());
        Stat { len: meta.len(), mtime_ns, ctime_ns, inode: meta.ino() }
    }
    #[cfg(not(unix))]
    Stat { len: meta.len(), mtime_ns, ctime_ns: 0, inode: 0 }
}

/// The stat of a regular file (links followed). An error when it is missing or no regular file.
pub fn stat(path: &Path) -> Result<Stat> {
    let meta = fs::metadata(path).map_err(|e| missing(path, e))?;
    if !meta.is_file() {
        return Err(Error::source_missing("not a regular file").file(path));
    }
    Ok(stat_of(&meta))
}

/// The stat of a regular file, or `None` when nothing is there.
pub fn stat_if_exists(path: &Path) -> Result<Option<Stat>> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_file() => Ok(Some(stat_of(&meta))),
        Ok(_) => Err(Error::source_missing("not a regular file").file(path)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("look at a file", path, e)),
    }
}

/// Whether a folder is there.
pub fn is_dir(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.is_dir())
}

/// Whether a regular file is there.
pub fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.is_file())
}

fn missing(path: &Path, e: io::Error) -> Error {
    match e.kind() {
        io::ErrorKind::NotFound => Error::source_missing("no such file").file(path).caused_by(e),
        _ => Error::io("open", path, e),
    }
}

/// The names in a folder, sorted.
pub fn list_dir(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(path).map_err(|e| missing(path, e))?;
    let mut names = entries
        .map(|e| e.map(|e| e.path()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(|e| Error::io("list", path, e))?;
    names.sort();
    Ok(names)
}

/// The whole of a small file; an error when it is longer than `cap` bytes.
pub fn read_small(path: &Path, cap: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|e| missing(path, e))?;
    let mut out = Vec::new();
    file.take(cap.saturating_add(1))
        .read_to_end(&mut out)
        .map_err(|e| Error::io("read", path, e))?;
    if out.len() as u64 > cap {
        return Err(Error::malformed(format!("larger than the {cap} bytes such a file may have"))
            .file(path));
    }
    Ok(out)
}

/// A small text file; see [`read_small`].
pub fn read_text(path: &Path, cap: u64) -> Result<String> {
    String::from_utf8(read_small(path, cap)?).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Error::malformed(format!("not valid UTF-8 at byte {at}")).file(path)
    })
}

/// Maps a file read-only. The bytes live as long as any slice of them.
pub fn map(path: &Path) -> Result<Bytes> {
    let file = File::open(path).map_err(|e| missing(path, e))?;
    let len = file.metadata().map_err(|e| Error::io("look at a file", path, e))?.len();
    if len == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: a mapped file that another process truncates raises SIGBUS, as in every tool that
    // maps its inputs. Store objects are read-only and replaced by rename, never truncated;
    // sources belong to the user, who is told in the README not to change them during a build.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|e| Error::io("map", path, e))?;
    Ok(Bytes::from_owner(map))
}

/// Creates a folder and its parents.
pub fn create_dir_all(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|e| Error::io("create the folder", path, e))
}

/// Removes a file; none there is success.
pub fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
        _ => Ok(()),
    }
}

/// Removes a folder and all in it; none there is success.
pub fn remove_dir_all(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
        _ => Ok(()),
    }
}

/// The canonical form of a path that exists: absolute, links resolved.
pub fn canonicalize(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).map_err(|e| missing(path, e))
}

/// A file being written beside its final place; nothing is visible there before [`commit`].
///
/// Dropped without a commit, the temporary file is removed; a killed process leaves only a file
/// whose name starts with `.tmp-`, which no reader looks at and `cache gc` sweeps.
///
/// [`commit`]: AtomicFile::commit
pub struct AtomicFile {
    file: Option<File>,
    temp: PathBuf,
    dest: PathBuf,
}

impl AtomicFile {
    /// Starts a file that is to stand at `dest`; the folder must be there.
    pub fn create(dest: &Path) -> Result<Self> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let name = dest.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
        let temp = dest.with_file_name(format!(".tmp-{}-{unique}-{name}", std::process::id()));
        let file = File::create(&temp).map_err(|e| Error::io("create", &temp, e))?;
        Ok(Self { file: Some(file), temp, dest: dest.to_owned() })
    }

    /// The final place.
    pub fn dest(&self) -> &Path {
        &self.dest
    }

    /// Changes the final place within the same folder or file system.
    pub fn set_dest(&mut self, dest: PathBuf) {
        self.dest = dest;
    }

    /// Syncs the bytes to the disk, sets the mode (`read_only`) and renames into place.
    pub fn commit(mut self, read_only: bool) -> Result<()> {
        let io_err = |e| Error::io("write", &self.dest, e);
        if let Some(file) = self.file.take() {
            file.sync_all().map_err(io_err)?;
            if read_only {
                let mut mode = file.metadata().map_err(io_err)?.permissions();
                mode.set_readonly(true);
                file.set_permissions(mode).map_err(io_err)?;
            }
        }
        fs::rename(&self.temp, &self.dest).map_err(io_err)?;
        self.temp = PathBuf::new();
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &mut self.file {
            Some(file) => file.write(buf),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.temp.as_os_str().is_empty() {
            self.file = None;
            let _ = fs::remove_file(&self.temp);
        }
    }
}

/// Writes a whole small file atomically. With unchanged content the file is left alone.
pub fn write_atomic(path: &Path, content: &[u8]) -> Result<()> {
    if let Ok(file) = File::open(path)
        && file.metadata().is_ok_and(|m| m.len() == content.len() as u64)
    {
        let mut old = Vec::with_capacity(content.len());
        if (&file).read_to_end(&mut old).is_ok() && old == content {
            return Ok(());
        }
    }
    let mut out = AtomicFile::create(path)?;
    out.write_all(content).map_err(|e| Error::io("write", path, e))?;
    out.commit(false)
}

/// Puts the file `from` at `to`: a hard link where the file system allows it, else a copy.
/// Whatever stood at `to` is replaced atomically.
pub fn link_or_copy(from: &Path, to: &Path) -> Result<()> {
    let mut temp = AtomicFile::create(to)?;
    temp.file = None;
    remove_file(&temp.temp)?;
    if fs::hard_link(from, &temp.temp).is_err() {
        fs::copy(from, &temp.temp).map_err(|e| Error::io("copy", to, e))?;
    }
    // rename() of two links to one inode is a no-op that leaves the temporary name: drop it.
    temp.commit_link()
}

impl AtomicFile {
    fn commit_link(mut self) -> Result<()> {
        fs::rename(&self.temp, &self.dest).map_err(|e| Error::io("write", &self.dest, e))?;
        let _ = fs::remove_file(&self.temp);
        self.temp = PathBuf::new();
        Ok(())
    }
}

/// An advisory lock on a file, held until dropped or the process ends, however it ends.
pub struct Lock(#[allow(dead_code)] File); // held for its Drop

impl Lock {
    /// Takes the lock, waiting for another holder; `on_wait` is called once before waiting.
    pub fn acquire(path: &Path, on_wait: impl FnOnce()) -> Result<Self> {
        let file = File::create(path).map_err(|e| Error::io("create the lock", path, e))?;
        match file.try_lock() {
            Ok(()) => return Ok(Self(file)),
            Err(fs::TryLockError::WouldBlock) => on_wait(),
            Err(fs::TryLockError::Error(e)) => return Err(Error::io("lock", path, e)),
        }
        file.lock().map_err(|e| Error::io("lock", path, e))?;
        Ok(Self(file))
    }
}
