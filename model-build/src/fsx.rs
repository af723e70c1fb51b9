//! The only toucher of files: stat, read, map, atomic write, link, lock. Every error names its file.
#![allow(clippy::disallowed_methods)] // this is the funnel

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use memmap2::Mmap;

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

/// Whether a symbolic link is there, wherever it leads.
pub fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink())
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

/// The first bytes of a file, at most `n`.
pub fn head(path: &Path, n: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|e| missing(path, e))?;
    let mut out = Vec::new();
    file.take(n).read_to_end(&mut out).map_err(|e| Error::io("read", path, e))?;
    Ok(out)
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
    let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io("map", path, e))?;
    let map = Arc::new(map);
    if map.len() >= RELEASED {
        let mut maps = MAPS.lock().unwrap_or_else(PoisonError::into_inner);
        maps.retain(|map| map.strong_count() > 0);
        maps.push(Arc::downgrade(&map));
    }
    Ok(Bytes::from_owner(Shared(map)))
}

/// Maps of files that are large enough for [`release_maps`] to matter.
static MAPS: Mutex<Vec<Weak<Mmap>>> = Mutex::new(Vec::new());
/// The least size of a map whose pages are released.
const RELEASED: usize = 1 << 20;

/// A map that lives as long as any slice of it.
struct Shared(Arc<Mmap>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// [`release_maps`] for the pages of one slice of a mapped file; nothing for other slices.
pub fn release(slice: &[u8]) {
    #[cfg(target_os = "linux")]
    {
        let start = slice.as_ptr().addr();
        let maps = MAPS.lock().unwrap_or_else(PoisonError::into_inner);
        for map in maps.iter().filter_map(Weak::upgrade) {
            let Some(offset) = start.checked_sub(map.as_ptr().addr()) else { continue };
            if offset.checked_add(slice.len()).is_some_and(|end| end <= map.len()) {
                // SAFETY: as in `release_maps`; the range was just held against the map's length.
                let _ = unsafe {
                    map.unchecked_advise_range(
                        memmap2::UncheckedAdvice::DontNeed,
                        offset,
                        slice.len(),
                    )
                };
                return;
            }
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = slice;
}

/// Gives the pages of all mapped files back, so that what was read of them does not count as this
/// process's memory any longer. They stay in the system's cache, and the next access brings them
/// back. Whoever walks through a large file calls this now and then. Does nothing where the system
/// has no such call.
pub fn release_maps() {
    #[cfg(target_os = "linux")]
    {
        let maps = MAPS.lock().unwrap_or_else(PoisonError::into_inner);
        for map in maps.iter().filter_map(Weak::upgrade) {
            // SAFETY: the map is shared and backed by a file that nobody writes through it, so an
            // access after this call reads the same bytes from the file again.
            let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        }
    }
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

/// A file being written out of sight; nothing is visible at its final place before [`commit`].
///
/// Dropped without a commit, the temporary file is removed; a killed process leaves only a file
/// whose name starts with [`TEMP_PREFIX`], which no reader looks at and `cache gc` sweeps.
///
/// [`commit`]: AtomicFile::commit
pub struct AtomicFile {
    file: Option<File>,
    temp: Temp,
    dest: PathBuf,
    early: Early,
}

/// Bytes written between two early syncs.
const EARLY: u64 = 128 << 20;

/// Syncs that run beside the writing, so that the last one has little left to wait for.
#[derive(Default)]
struct Early {
    written: u64,
    state: Arc<EarlyState>,
}

#[derive(Default)]
struct EarlyState {
    running: AtomicBool,
    /// The system reports a failed write to one sync only.
    failed: Mutex<Option<io::Error>>,
}

impl Early {
    /// Counts bytes, and starts a sync when there are enough and none is running.
    fn wrote(&mut self, file: &File, bytes: u64) {
        let before = self.written;
        self.written += bytes;
        if before / EARLY == (before + bytes) / EARLY
            || self.state.running.swap(true, Ordering::AcqRel)
        {
            return;
        }
        let Ok(file) = file.try_clone() else {
            self.state.running.store(false, Ordering::Release);
            return;
        };
        let state = self.state.clone();
        std::thread::spawn(move || {
            if let Err(e) = file.sync_data() {
                *state.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
            }
            state.running.store(false, Ordering::Release);
        });
    }

    /// Waits for a sync that is running; the first failure of any.
    fn finish(&self) -> io::Result<()> {
        while self.state.running.load(Ordering::Acquire) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let failed = self.state.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        failed.map_or(Ok(()), Err)
    }
}

/// What the name of every temporary file starts with.
pub const TEMP_PREFIX: &str = ".tmp-";

/// A name that nobody else uses, removed on drop.
struct Temp(PathBuf);

impl Temp {
    /// Calls `make` with fresh names in `dir` until one does not exist already.
    fn new<T>(dir: &Path, mut make: impl FnMut(&Path) -> io::Result<T>) -> io::Result<(Self, T)> {
        use std::sync::atomic::AtomicU64;
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        loop {
            let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
            let (process, now) = (std::process::id(), now_ns());
            let path = dir.join(format!("{TEMP_PREFIX}{process}-{now}-{unique}"));
            match make(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => {
                    let _ = fs::remove_file(&path);
                    return Err(e);
                }
                Ok(made) => return Ok((Self(path), made)),
            }
        }
    }

    /// Moves it to `dest`, replacing what stands there.
    fn rename(self, dest: &Path) -> io::Result<()> {
        // After a rename the name is gone and the removal on drop does nothing. Renaming one of
        // two links to the same inode onto the other leaves the name: drop removes it.
        fs::rename(&self.0, dest)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

impl AtomicFile {
    /// Starts a file that is to stand at `dest`; the folder must be there.
    pub fn create(dest: &Path) -> Result<Self> {
        Self::create_in(folder_of(dest), dest)
    }

    /// Starts a file in the folder `dir` that is to stand at `dest`, in the same file system.
    pub fn create_in(dir: &Path, dest: &Path) -> Result<Self> {
        let (temp, file) =
            Temp::new(dir, |path| File::options().write(true).create_new(true).open(path))
                .map_err(|e| Error::io("create a file in", dir, e))?;
        Ok(Self { file: Some(file), temp, dest: dest.to_owned(), early: Early::default() })
    }

    /// The final place.
    pub fn dest(&self) -> &Path {
        &self.dest
    }

    /// Changes the final place within the same file system.
    pub fn set_dest(&mut self, dest: PathBuf) {
        self.dest = dest;
    }

    /// Appends the whole of a file, copied by the system where it can; gives its length.
    pub fn copy_from(&mut self, path: &Path) -> Result<u64> {
        let mut from = File::open(path).map_err(|e| missing(path, e))?;
        match &mut self.file {
            Some(file) => io::copy(&mut from, file).map_err(|e| Error::io("copy", path, e)),
            None => Err(Error::bug("a file is written after it was closed").file(path)),
        }
    }

    /// Syncs the bytes to the disk, sets the mode (`read_only`) and renames into place.
    pub fn commit(mut self, read_only: bool) -> Result<()> {
        let io_err = |e| Error::io("write", &self.dest, e);
        if let Some(file) = self.file.take() {
            self.early.finish().map_err(io_err)?;
            file.sync_all().map_err(io_err)?;
            if read_only {
                let mut mode = file.metadata().map_err(io_err)?.permissions();
                mode.set_readonly(true);
                file.set_permissions(mode).map_err(io_err)?;
            }
        }
        self.temp.rename(&self.dest).map_err(io_err)
    }

    /// Renames into place without waiting for the disk: after a power cut the file may hold
    /// anything, so its reader must be able to tell.
    pub fn commit_unsynced(mut self) -> Result<()> {
        self.file = None;
        self.temp.rename(&self.dest).map_err(|e| Error::io("write", &self.dest, e))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &mut self.file {
            Some(file) => {
                let n = file.write(buf)?;
                self.early.wrote(file, n as u64);
                Ok(n)
            }
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes an empty folder with a fresh name, starting with [`TEMP_PREFIX`], in a folder.
pub fn create_temp_dir(dir: &Path) -> Result<PathBuf> {
    let (temp, ()) = Temp::new(dir, |path| fs::create_dir(path))
        .map_err(|e| Error::io("create a folder in", dir, e))?;
    Ok(temp.0.clone()) // the removal of a file on drop does nothing to a folder
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

/// Copies a file to a place that belongs to the user: writable, and sharing no bytes with `from`.
/// Whatever stood there is replaced atomically.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut source = File::open(from).map_err(|e| missing(from, e))?;
    let mut out = AtomicFile::create(to)?;
    io::copy(&mut source, &mut out).map_err(|e| Error::io("copy", to, e))?;
    out.commit(false)
}

/// How [`link_or_copy`] put a file in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// Both names are the same file.
    Linked,
    /// The bytes were copied (shared copy-on-write where the file system can).
    Copied,
}

/// Puts the file `from` at `to`: a hard link where the file system allows it, else a copy.
/// Whatever file stood at `to` is replaced atomically.
pub fn link_or_copy(from: &Path, to: &Path) -> Result<Placed> {
    let dir = folder_of(to);
    let (temp, placed) = match Temp::new(dir, |temp| fs::hard_link(from, temp)) {
        Ok((temp, ())) => (temp, Placed::Linked),
        // Another file system, a limit on the number of links, or a file of another user.
        Err(_) => {
            let (temp, _) = Temp::new(dir, |temp| fs::copy(from, temp))
                .map_err(|e| Error::io("copy to", to, e))?;
            (temp, Placed::Copied)
        }
    };
    temp.rename(to).map_err(|e| Error::io("write", to, e))?;
    Ok(placed)
}

/// Whether two names are the same file, by device and inode (links are not followed). `false` when
/// one is missing and on platforms that have no such numbers.
pub fn same_file(a: &Path, b: &Path) -> bool {
    match (fs::symlink_metadata(a), fs::symlink_metadata(b)) {
        (Ok(a), Ok(b)) => same_inode(&a, &b),
        _ => false,
    }
}

#[cfg(unix)]
fn same_inode(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}
#[cfg(not(unix))]
fn same_inode(_: &fs::Metadata, _: &fs::Metadata) -> bool {
    false
}

/// Sets a file's modification time to the present.
pub fn touch(path: &Path) -> Result<()> {
    File::options()
        .write(true)
        .open(path)
        .and_then(|file| file.set_modified(std::time::SystemTime::now()))
        .map_err(|e| Error::io("set the time of", path, e))
}

/// When a file or folder was last modified, in nanoseconds since 1970; links are not followed.
pub fn modified_ns(path: &Path) -> Option<i128> {
    fs::symlink_metadata(path).ok().map(|meta| stat_of(&meta).mtime_ns)
}

/// Nanoseconds since 1970 by this machine's clock.
pub fn now_ns() -> i128 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| i128::try_from(d.as_nanos()).unwrap_or(i128::MAX))
}

/// A path made absolute by the current folder, without looking at the file system.
pub fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| Error::io("make absolute", path, e))
}

/// An advisory lock on a file, held until dropped or the process ends, however it ends. Where the
/// file system has no locks it excludes nobody.
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock alone, waiting for other holders; `on_wait` is called once before waiting.
    pub fn acquire(path: &Path, on_wait: impl FnOnce()) -> Result<Self> {
        let mut on_wait = Some(on_wait);
        loop {
            let lock = Self::open(path)?;
            match lock.file.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => {
                    if let Some(on_wait) = on_wait.take() {
                        on_wait();
                    }
                    lock.file.lock().map_err(|e| Error::io("lock", path, e))?;
                }
                Err(fs::TryLockError::Error(e)) => return lock.unlockable(e),
            }
            if lock.is_current() {
                return Ok(lock);
            }
        }
    }

    /// Takes the lock together with others who share it, waiting for one who holds it alone.
    pub fn acquire_shared(path: &Path) -> Result<Self> {
        loop {
            let lock = Self::open(path)?;
            if let Err(e) = lock.file.lock_shared() {
                return lock.unlockable(e);
            }
            if lock.is_current() {
                return Ok(lock);
            }
        }
    }

    /// Takes the lock alone if nobody holds it.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>> {
        loop {
            let lock = Self::open(path)?;
            match lock.file.try_lock() {
                Ok(()) if lock.is_current() => return Ok(Some(lock)),
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => return Ok(None),
                Err(fs::TryLockError::Error(e)) => return lock.unlockable(e).map(Some),
            }
        }
    }

    /// Removes the lock file of a lock that is held alone.
    pub fn remove(self) -> Result<()> {
        // Elsewhere a name stays until the last handle is closed, and nobody could open it anew.
        if cfg!(unix) { remove_file(&self.path) } else { Ok(()) }
    }

    fn open(path: &Path) -> Result<Self> {
        let open = || File::options().write(true).create(true).truncate(false).open(path);
        let file = open().or_else(|e| match path.parent() {
            Some(parent) if e.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(parent).and_then(|()| open())
            }
            _ => Err(e),
        });
        let file = file.map_err(|e| Error::io("create the lock", path, e))?;
        Ok(Self { file, path: path.to_owned() })
    }

    fn unlockable(self, e: io::Error) -> Result<Self> {
        match e.kind() {
            io::ErrorKind::Unsupported => Ok(self),
            _ => Err(Error::io("lock", &self.path, e)),
        }
    }

    /// Whether the locked file still bears its name: its last holder may have removed it.
    fn is_current(&self) -> bool {
        !cfg!(unix)
            || match (self.file.metadata(), fs::metadata(&self.path)) {
                (Ok(ours), Ok(named)) => same_inode(&ours, &named),
                _ => false,
            }
    }
}
