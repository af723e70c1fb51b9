//! The stat index: what a file's digest was when it was last hashed, as long as the file system
//! says that nothing changed since. A fast path only: without it every file is hashed again.
//!
//! An entry is one small file named by the hash of what it speaks of. It is trusted when the
//! file's length, modification time, inode change time and inode number are what they were. The
//! change time cannot be set by a user, so an edit that restores size and modification time is
//! seen (on platforms that have a change time). Entries are replaced by rename and carry a
//! checksum, so a torn or foreign one counts as none; they are not synced to the disk.
//!
//! The racy-write rule, as git has it: a file that changed so shortly before it was hashed that a
//! later change could leave the same time stamps is not entered. On file systems with fine time
//! stamps the hashing is put off by the few milliseconds that it takes for the rule not to apply.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Digest;
use crate::digest::to_hex;
use crate::error::{Error, Result};
use crate::fsx::{self, AtomicFile, Stat};

/// Longer than the steps in which any system's clock for time stamps advances.
const FINE: i128 = 50_000_000;
/// The coarsest time stamps in use: FAT's two seconds.
const COARSE: i128 = 2_000_000_000;
/// How much of a file is hashed between two calls of `on_hash`.
const WINDOW: usize = 64 << 20;
/// Version of an entry's text.
const VERSION: &str = "v1";
/// No entry is longer.
const ENTRY_CAP: u64 = 512;

/// A folder of entries. Processes and threads may use it at the same time.
#[derive(Clone, Debug)]
pub struct StatIndex {
    dir: PathBuf,
    temp: PathBuf,
}

impl StatIndex {
    /// The index in the folder `dir`; `temp` is a folder of the same file system for files being
    /// written. Neither needs to be there, or to be writable.
    pub fn new(dir: PathBuf, temp: PathBuf) -> Self {
        Self { dir, temp }
    }

    /// The digest of a file. When the index knows the file nothing of it is read; otherwise it is
    /// mapped, hashed on all threads, and entered. `on_hash` is told the path and number of bytes
    /// of each piece read, at least once for a file that is hashed.
    ///
    /// # Errors
    /// The file is missing, no regular file, cannot be read, or keeps changing while it is read.
    pub fn digest_file(&self, path: &Path, on_hash: &mut dyn FnMut(&Path, u64)) -> Result<Digest> {
        let path = fsx::absolute(path)?;
        let subject = Self::subject_of(&path);
        for _ in 0..3 {
            let before = fsx::stat(&path)?;
            if let Some(digest) = self.get(&subject, &before) {
                return Ok(digest);
            }
            let settled = settle(&before);
            let digest = hash_file(&path, on_hash)?;
            if fsx::stat(&path)? == before {
                if settled {
                    self.put(&subject, &before, digest);
                }
                return Ok(digest);
            }
        }
        Err(Error::source_missing("the file keeps changing while it is read")
            .file(path)
            .hint("wait until whatever writes it is done, and build again"))
    }

    /// What an entry about the file at an absolute path is called.
    pub(super) fn subject_of(path: &Path) -> Vec<u8> {
        [b"path:", path.as_os_str().as_encoded_bytes()].concat()
    }

    /// The digest entered for a subject, if its stat is still the same.
    pub(super) fn get(&self, subject: &[u8], stat: &Stat) -> Option<Digest> {
        self.get_word(subject, stat)?.parse().ok()
    }

    /// The word entered for a subject, if its stat is still the same.
    pub(super) fn get_word(&self, subject: &[u8], stat: &Stat) -> Option<String> {
        let name = blake3::hash(subject);
        let entry = fsx::read_small(&self.entry_path(&name), ENTRY_CAP).ok()?;
        let (text, check) = std::str::from_utf8(&entry).ok()?.rsplit_once(' ')?;
        let (fields, word) = text.rsplit_once(' ')?;
        let good = check == checksum(&name, text) && fields == describe(stat);
        good.then(|| word.to_owned())
    }

    /// Enters a digest. A folder that cannot be written is no error: the entry is then missing.
    pub(super) fn put(&self, subject: &[u8], stat: &Stat, digest: Digest) {
        self.put_word(subject, stat, &digest.to_string());
    }

    /// Enters a word, which has no spaces in it and is a few hundred bytes long at most.
    pub(super) fn put_word(&self, subject: &[u8], stat: &Stat, word: &str) {
        let name = blake3::hash(subject);
        let text = format!("{} {word}", describe(stat));
        let entry = format!("{text} {}", checksum(&name, &text));
        let dest = self.entry_path(&name);
        let write = || {
            let mut file = AtomicFile::create_in(&self.temp, &dest)?;
            file.write_all(entry.as_bytes()).map_err(|e| Error::io("write", &dest, e))?;
            file.commit_unsynced()
        };
        if write().is_err() && dest.parent().is_some_and(|dir| fsx::create_dir_all(dir).is_ok()) {
            let _ = write();
        }
    }

    /// Removes the entry of a subject.
    pub(super) fn remove(&self, subject: &[u8]) {
        let _ = fsx::remove_file(&self.entry_path(&blake3::hash(subject)));
    }

    fn entry_path(&self, name: &blake3::Hash) -> PathBuf {
        let hex = to_hex(name.as_bytes());
        let (head, rest) = hex.split_at(2);
        self.dir.join(head).join(rest)
    }
}

fn describe(stat: &Stat) -> String {
    let Stat { len, mtime_ns, ctime_ns, inode } = stat;
    format!("{VERSION} {len} {mtime_ns} {ctime_ns} {inode}")
}

/// 16 digits over the entry's subject and text.
fn checksum(name: &blake3::Hash, text: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(name.as_bytes()).update(text.as_bytes());
    to_hex(hasher.finalize().as_bytes().split_at(8).0)
}

/// Whether a change that comes after this moment is sure to leave other time stamps than `stat`'s.
/// Sleeps up to [`FINE`] when that makes it so.
pub(super) fn settle(stat: &Stat) -> bool {
    let changed = if stat.ctime_ns == 0 { stat.mtime_ns } else { stat.ctime_ns };
    // A time stamp with digits below the millisecond comes from a file system that has them.
    let step = if changed % 1_000_000 == 0 { COARSE } else { FINE };
    let left = step - (fsx::now_ns() - changed);
    if left <= 0 {
        return true;
    }
    match u64::try_from(left) {
        Ok(left) if i128::from(left) <= FINE => {
            std::thread::sleep(Duration::from_nanos(left));
            true
        }
        _ => false,
    }
}

/// Hashes a file through a map on all threads. `on_hash` is told of each piece.
///
/// # Errors
/// The file is missing or cannot be read.
pub fn hash_file(path: &Path, on_hash: &mut dyn FnMut(&Path, u64)) -> Result<Digest> {
    let map = fsx::map(path)?;
    let mut hasher = blake3::Hasher::new();
    if map.is_empty() {
        on_hash(path, 0);
    }
    for window in map.chunks(WINDOW) {
        hasher.update_rayon(window);
        fsx::release(window);
        on_hash(path, window.len() as u64);
    }
    Ok(hasher.finalize().into())
}

#[cfg(test)]
#[cfg(unix)]
#[allow(clippy::disallowed_methods)] // the tests change files behind the index's back
mod tests {
    use super::*;
    use std::fs;

    struct Case {
        dir: tempfile::TempDir,
        index: StatIndex,
    }

    fn case() -> Case {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("tmp")).unwrap();
        let index = StatIndex::new(dir.path().join("stat"), dir.path().join("tmp"));
        fs::write(dir.path().join("source"), b"some weights").unwrap();
        Case { dir, index }
    }

    impl Case {
        fn source(&self) -> PathBuf {
            self.dir.path().join("source")
        }
        /// The digest and the number of bytes read for it.
        fn digest(&self) -> (Digest, u64) {
            let mut read = 0;
            let digest = self.index.digest_file(&self.source(), &mut |_, n| read += n).unwrap();
            (digest, read)
        }
        fn entry(&self) -> PathBuf {
            let subject = StatIndex::subject_of(&self.source());
            self.index.entry_path(&blake3::hash(&subject))
        }
    }

    #[test]
    fn a_file_is_read_once_even_when_it_is_fresh() {
        let case = case();
        assert_eq!(case.digest(), (Digest::of(b"some weights"), 12));
        assert_eq!(case.digest(), (Digest::of(b"some weights"), 0));
    }

    #[test]
    fn a_new_modification_time_alone_costs_a_reading_and_gives_the_same_digest() {
        let case = case();
        let first = case.digest().0;
        fsx::touch(&case.source()).unwrap();
        assert_eq!(case.digest(), (first, 12));
        assert_eq!(case.digest(), (first, 0));
    }

    #[test]
    fn an_edit_that_restores_size_and_time_is_seen() {
        let case = case();
        case.digest();
        let time = fs::metadata(case.source()).unwrap().modified().unwrap();
        fs::write(case.source(), b"SOME WEIGHTS").unwrap();
        fs::File::options().write(true).open(case.source()).unwrap().set_modified(time).unwrap();
        assert_eq!(case.digest(), (Digest::of(b"SOME WEIGHTS"), 12));
    }

    #[test]
    fn edits_right_after_hashing_are_seen() {
        let case = case();
        for round in 0..10_u32 {
            let content = format!("round {round:06}");
            fs::write(case.source(), &content).unwrap();
            assert_eq!(case.digest().0, Digest::of(content.as_bytes()));
            let again = format!("again {round:06}");
            fs::write(case.source(), &again).unwrap();
            assert_eq!(case.digest().0, Digest::of(again.as_bytes()));
        }
    }

    #[test]
    fn a_file_of_a_coarse_or_future_clock_is_never_trusted_while_it_is_young() {
        let now = fsx::now_ns();
        let stat = |changed| Stat { len: 1, mtime_ns: 0, ctime_ns: changed, inode: 1 };
        let second = 1_000_000_000;
        assert!(!settle(&stat(now / second * second)));
        assert!(!settle(&stat((now / second + 60) * second)));
        assert!(settle(&stat((now / second - 60) * second)));
        assert!(settle(&stat(now / second * second - 100_000_001)));
    }

    #[test]
    fn a_damaged_entry_costs_a_reading() {
        let case = case();
        case.digest();
        let good = fs::read(case.entry()).unwrap();
        let mut damaged = vec![Vec::new(), good[..9].to_vec(), vec![b' '; 100], vec![b'x'; 9999]];
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            damaged.push(bytes);
        }
        for bytes in damaged {
            fs::write(case.entry(), bytes).unwrap();
            assert_eq!(case.digest(), (Digest::of(b"some weights"), 12));
            assert_eq!(case.digest().1, 0);
        }
    }

    #[test]
    fn an_entry_of_another_file_says_nothing() {
        let case = case();
        case.digest();
        let other = case.dir.path().join("other");
        fs::hard_link(case.source(), &other).unwrap();
        case.digest();
        let subject = blake3::hash(&StatIndex::subject_of(&other));
        let entry = case.index.entry_path(&subject);
        fs::create_dir_all(entry.parent().unwrap()).unwrap();
        fs::copy(case.entry(), entry).unwrap();
        let mut read = 0;
        case.index.digest_file(&other, &mut |_, n| read += n).unwrap();
        assert_eq!(read, 12);
    }

    #[test]
    fn without_a_folder_to_write_every_digest_is_still_right() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, b"").unwrap();
        let index = StatIndex::new(file.join("stat"), file.join("tmp"));
        for _ in 0..2 {
            let mut calls = 0;
            let digest = index.digest_file(&file, &mut |_, _| calls += 1).unwrap();
            assert_eq!((digest, calls), (Digest::of(b""), 1));
        }
        assert!(index.digest_file(&dir.path().join("none"), &mut |_, _| {}).is_err());
        assert!(index.digest_file(dir.path(), &mut |_, _| {}).is_err());
    }
}
