//! Keeping the store small and sound: `gc`, `verify`, `stats`, `clear`.
//!
//! A record's modification time says when it was last used, to within a day. `gc` removes the
//! records that are too old or, oldest first, too many, and then every object without a record. It
//! first takes the `use` locks that no running build shares; only what they cover is removed. What
//! a build commits in the meantime waits for these locks, and what it committed before has its
//! record or its lock, so nothing that is needed can be mistaken for garbage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Digest;
use super::key::Key;
use super::object::subject_of;
use super::store::{Layer, Store, StoreEvent, Verdict, read_record};
use crate::digest::{from_hex, to_hex};
use crate::error::Result;
use crate::fsx::{self, Lock, Stat};

/// One day, in nanoseconds.
const DAY: i128 = 24 * 3600 * 1_000_000_000;
/// When entries of the stat index and refs are removed: they cost one reading, or one answer.
const SMALL_FILES_AGE: i128 = 90 * DAY;

/// What [`Store::gc`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Records removed.
    pub records: u64,
    /// Objects removed.
    pub objects: u64,
    /// Bytes that the store no longer holds, leftovers of killed processes among them.
    pub freed: u64,
    /// Bytes of the objects that stay.
    pub kept: u64,
    /// Objects that would have been removed and that a running build uses.
    pub in_use: u64,
}

/// What is in a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Finished steps.
    pub records: u64,
    /// Distinct files.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of files being written, or left behind by killed processes.
    pub temporary: u64,
}

/// What [`Store::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Objects whose bytes are right.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records that are whole and whose objects are there.
    pub records: u64,
    /// What was removed, and why.
    pub dropped: Vec<(PathBuf, String)>,
}

/// Notes that a record was used, by its modification time, at most once a day.
pub(super) fn mark_used(record: &Path) {
    if fsx::stat(record).is_ok_and(|stat| age(&stat) > DAY) {
        let _ = fsx::touch(record);
    }
}

fn age(stat: &Stat) -> i128 {
    fsx::now_ns() - stat.mtime_ns
}

/// Removes what killed processes left behind more than a day ago. Returns the bytes freed.
pub(super) fn sweep_temp(dir: &Path) -> u64 {
    let mut freed = 0;
    for path in fsx::list_dir(dir).unwrap_or_default() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(fsx::TEMP_PREFIX)
            && fsx::modified_ns(&path).is_some_and(|time| fsx::now_ns() - time > DAY)
        {
            let len = fsx::stat(&path).map_or(0, |stat| stat.len);
            if fsx::remove_file(&path).or_else(|_| fsx::remove_dir_all(&path)).is_ok() {
                freed += len;
            }
        }
    }
    freed
}

/// The files `dir/ab/cdef…` with their 32-byte names, in order; other names are left out.
fn shards(dir: &Path) -> Vec<([u8; 32], PathBuf)> {
    let mut found = Vec::new();
    for shard in fsx::list_dir(dir).unwrap_or_default() {
        for path in fsx::list_dir(&shard).unwrap_or_default() {
            let part = |path: &Path| path.file_name()?.to_str().map(str::to_owned);
            let name = part(&shard).zip(part(&path)).map(|(head, rest)| head + &rest);
            if let Some(name) = name.and_then(|name| from_hex(&name)) {
                found.push((name, path));
            }
        }
    }
    found
}

/// A record as `gc` sees it.
struct Used {
    path: PathBuf,
    last_use_ns: i128,
    objects: Vec<Digest>,
    stays: bool,
}

impl Store {
    /// The records there are. Damaged ones are dropped.
    fn records(&self, layer: &Layer) -> Vec<(Used, Vec<(Digest, u64)>)> {
        let mut out = Vec::new();
        for (name, path) in shards(&layer.root.join("records")) {
            match read_record(&path, &Key::from_bytes(name)) {
                Ok(Some(record)) => {
                    let last_use_ns = fsx::stat(&path).map_or(0, |stat| stat.mtime_ns);
                    let files: Vec<_> = record.files.iter().map(|f| (f.digest, f.len)).collect();
                    let objects = files.iter().map(|(digest, _)| *digest).collect();
                    out.push((Used { path, last_use_ns, objects, stays: true }, files));
                }
                Ok(None) => {}
                Err(why) => self.drop_damaged(layer, &path, why),
            }
        }
        out
    }

    /// Removes what has not been used for `max_age`, then the least recently used until the objects
    /// take no more than `max_bytes`; and whatever no record names. What a running build uses stays.
    /// The time of last use is known to within a day.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn gc(&self, max_bytes: Option<u64>, max_age: Option<Duration>) -> Result<GcReport> {
        let layer = self.writable()?;
        let mut report = GcReport { freed: sweep_temp(&layer.temp()), ..GcReport::default() };
        let objects = shards(&layer.root.join("objects"));
        let mut locks: BTreeMap<u8, Lock> = BTreeMap::new();
        for ([shard, ..], _) in &objects {
            let path = layer.lock_path("use", &to_hex(&[*shard]));
            if !locks.contains_key(shard)
                && let Some(lock) = Lock::try_acquire(&path)?
            {
                locks.insert(*shard, lock);
            }
        }
        let is_free = |digest: &Digest| locks.contains_key(&digest.as_bytes()[0]);

        // Records are read, and objects listed again, only now that nobody can add to either.
        let mut records: Vec<Used> =
            self.records(layer).into_iter().map(|(used, _)| used).collect();
        records.sort_by(|a, b| (a.last_use_ns, &a.path).cmp(&(b.last_use_ns, &b.path)));
        let mut lengths: BTreeMap<Digest, (u64, PathBuf)> = BTreeMap::new();
        for (name, path) in shards(&layer.root.join("objects")) {
            let len = fsx::stat(&path).map_or(0, |stat| stat.len);
            lengths.insert(Digest::from_bytes(name), (len, path));
        }
        let mut uses: BTreeMap<Digest, u64> = BTreeMap::new();
        for digest in records.iter().flat_map(|record| &record.objects) {
            *uses.entry(*digest).or_default() += 1;
        }
        let len_of = |digest: &Digest| lengths.get(digest).map_or(0, |(len, _)| *len);
        let mut total: u64 = uses.keys().map(len_of).sum();
        let max_age = max_age.map(|age| i128::try_from(age.as_nanos()).unwrap_or(i128::MAX));
        let now = fsx::now_ns();
        for record in &mut records {
            let too_old = max_age.is_some_and(|max| now - record.last_use_ns > max);
            let too_many = max_bytes.is_some_and(|max| total > max);
            if !(too_old || too_many) {
                continue;
            }
            let busy = record.objects.iter().filter(|digest| !is_free(digest)).count();
            if busy > 0 {
                report.in_use += busy as u64;
                continue;
            }
            fsx::remove_file(&record.path)?;
            record.stays = false;
            report.records += 1;
            for digest in &record.objects {
                if let Some(count) = uses.get_mut(digest) {
                    *count -= 1;
                    if *count == 0 {
                        uses.remove(digest);
                        total -= len_of(digest);
                    }
                }
            }
        }
        for (digest, (len, path)) in &lengths {
            if uses.contains_key(digest) || !is_free(digest) {
                report.kept += len;
                continue;
            }
            fsx::remove_file(path)?;
            layer.index.remove(&subject_of(digest));
            report.objects += 1;
            report.freed += len;
        }
        drop(locks);
        sweep_small(layer);
        Ok(report)
    }

    /// What is in the store.
    pub fn stats(&self) -> Stats {
        let root = &self.top.root;
        let sum = |paths: &mut dyn Iterator<Item = PathBuf>| -> u64 {
            paths.filter_map(|path| fsx::stat(&path).ok()).map(|stat| stat.len).sum()
        };
        let objects = shards(&root.join("objects"));
        Stats {
            records: shards(&root.join("records")).len() as u64,
            objects: objects.len() as u64,
            bytes: sum(&mut objects.into_iter().map(|(_, path)| path)),
            temporary: sum(&mut fsx::list_dir(&self.top.temp()).unwrap_or_default().into_iter()),
        }
    }

    /// Reads every object and record, removes what is damaged, and says what that was. `on_bytes`
    /// is told of progress.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn verify(&self, on_bytes: &mut dyn FnMut(u64)) -> Result<VerifyReport> {
        let layer = self.writable()?;
        let earlier = self.take_events();
        let mut report = VerifyReport::default();
        let mut good = BTreeMap::new();
        for (name, path) in shards(&layer.root.join("objects")) {
            let digest = Digest::from_bytes(name);
            let _lock = self.object_lock(&digest);
            let verdict = match fsx::stat_if_exists(&path) {
                Ok(None) => continue,
                Ok(Some(stat)) => match self.rehash(layer, &digest, &stat) {
                    Verdict::Good => {
                        good.insert(digest, stat.len);
                        report.objects += 1;
                        report.bytes += stat.len;
                        on_bytes(stat.len);
                        continue;
                    }
                    verdict => verdict,
                },
                Err(e) => Verdict::Bad(e.message().to_owned()),
            };
            if let Verdict::Bad(why) = verdict {
                self.drop_damaged(layer, &path, why);
            }
        }
        for (record, files) in self.records(layer) {
            // An object that came after the listing above was checked when it was stored.
            let is_there = |(digest, len): &(Digest, u64)| {
                good.get(digest) == Some(len) || self.find_object(digest, Some(*len)).is_some()
            };
            match files.iter().find(|file| !is_there(file)) {
                None => report.records += 1,
                Some((digest, _)) => {
                    let why = format!("its object {digest} is not there");
                    self.drop_damaged(layer, &record.path, why);
                }
            }
        }
        for event in self.take_events() {
            if let StoreEvent::Dropped { path, why } = event {
                report.dropped.push((path, why));
            }
        }
        earlier.into_iter().for_each(|event| self.event(event));
        Ok(report)
    }

    /// Removes all that no running build uses, and everything remembered about files.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn clear(&self) -> Result<GcReport> {
        let report = self.gc(Some(0), Some(Duration::ZERO))?;
        let layer = self.writable()?;
        fsx::remove_dir_all(&layer.root.join("stat"))?;
        fsx::remove_dir_all(&layer.root.join("refs"))?;
        Ok(report)
    }
}

/// Removes entries of the stat index and refs that are old, and the locks of keys that nobody holds.
fn sweep_small(layer: &Layer) {
    for folder in ["stat", "refs"] {
        for (_, path) in shards(&layer.root.join(folder)) {
            if fsx::stat(&path).is_ok_and(|stat| age(&stat) > SMALL_FILES_AGE) {
                let _ = fsx::remove_file(&path);
            }
        }
    }
    for path in fsx::list_dir(&layer.root.join("locks")).unwrap_or_default() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("key-")
            && let Ok(Some(lock)) = Lock::try_acquire(&path)
        {
            let _ = lock.remove();
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
#[allow(clippy::disallowed_methods)] // the tests damage and age files on purpose
mod tests {
    use super::*;
    use crate::cache::KeyBuilder;
    use crate::record::{Info, Record, RecordFile};
    use std::fs;
    use std::time::SystemTime;

    struct Case {
        dir: tempfile::TempDir,
        keys: Vec<Key>,
        contents: Vec<Vec<u8>>,
    }

    /// Three records of 100, 200 and 300 bytes, last used 30, 20 and 10 days ago.
    fn case() -> Case {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let mut case = Case { dir, keys: Vec::new(), contents: Vec::new() };
        for n in 1..=3_u8 {
            let content = vec![n; 100 * usize::from(n)];
            let mut builder = KeyBuilder::new("convert");
            builder.ingredient("n", &n.to_string());
            let (key, ingredients) = builder.finish();
            let digest = store.put_bytes(&content).unwrap();
            let files = vec![RecordFile { name: "a".into(), digest, len: content.len() as u64 }];
            let record = Record { step: "s".into(), ingredients, files, info: Info::default() };
            store.insert(&key, &record).unwrap();
            set_age(&store.top.record_path(&key), 40 - 10 * u64::from(n));
            case.keys.push(key);
            case.contents.push(content);
        }
        case
    }

    fn set_age(path: &Path, days: u64) {
        let time = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }

    impl Case {
        fn open(&self) -> Store {
            Store::open(self.dir.path()).unwrap()
        }
        fn present(&self) -> Vec<bool> {
            let store = self.open();
            self.keys.iter().map(|key| store.lookup(key).unwrap().is_some()).collect()
        }
    }

    #[test]
    fn gc_without_limits_removes_only_what_no_record_names() {
        let case = case();
        case.open().put_bytes(b"an orphan").unwrap();
        let report = case.open().gc(None, None).unwrap();
        let want = GcReport { objects: 1, freed: 9, kept: 600, ..GcReport::default() };
        assert_eq!(report, want);
        assert_eq!(case.present(), [true, true, true]);
    }

    #[test]
    fn gc_by_size_removes_the_least_recently_used() {
        let case = case();
        // The first record is used today: the second is the oldest.
        assert!(case.open().lookup(&case.keys[0]).unwrap().is_some());
        let report = case.open().gc(Some(400), None).unwrap();
        let want = GcReport { records: 1, objects: 1, freed: 200, kept: 400, in_use: 0 };
        assert_eq!(report, want);
        assert_eq!(case.present(), [true, false, true]);
    }

    #[test]
    fn gc_by_age_keeps_an_object_that_a_younger_record_names() {
        let case = case();
        let store = case.open();
        let mut builder = KeyBuilder::new("convert");
        builder.ingredient("n", "the same bytes from another recipe");
        let (key, _) = builder.finish();
        let mut record = store.lookup(&case.keys[2]).unwrap().unwrap();
        record.files[0] = RecordFile {
            name: "b".into(),
            digest: Digest::of(&case.contents[0]),
            len: case.contents[0].len() as u64,
        };
        store.insert(&key, &record).unwrap();
        drop(store);
        let report = case.open().gc(None, Some(Duration::from_secs(15 * 24 * 3600))).unwrap();
        assert_eq!((report.records, report.objects, report.kept), (2, 1, 400));
        assert_eq!(case.present(), [false, false, true]);
        assert_eq!(case.open().lookup(&key).unwrap(), Some(record));
    }

    #[test]
    fn gc_keeps_what_another_store_uses_until_it_is_closed() {
        let case = case();
        let user = case.open();
        assert!(user.lookup(&case.keys[1]).unwrap().is_some());
        let writer_of_an_orphan = case.open();
        let orphan = writer_of_an_orphan.put_bytes(b"not recorded yet").unwrap();
        let report = case.open().gc(Some(0), None).unwrap();
        assert_eq!((report.records, report.in_use), (2, 1));
        assert!(user.object_path(&orphan).exists());
        assert_eq!(case.present(), [false, true, false]);
        drop((user, writer_of_an_orphan));
        let report = case.open().gc(Some(0), None).unwrap();
        assert_eq!((report.records, report.objects, report.kept), (1, 2, 0));
        assert_eq!(case.present(), [false, false, false]);
    }

    #[test]
    fn gc_sweeps_leftovers_after_a_day_and_locks_that_nobody_holds() {
        let case = case();
        let store = case.open();
        let temp = store.top.temp();
        for (name, days) in [(".tmp-old", 2), (".tmp-young", 0)] {
            fs::write(temp.join(name), [0; 7]).unwrap();
            set_age(&temp.join(name), days);
        }
        let folder = fsx::create_temp_dir(&temp).unwrap();
        fs::write(folder.join("file"), b"").unwrap();
        let time = SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
        fs::File::open(&folder).unwrap().set_modified(time).unwrap();
        assert_eq!(store.stats().temporary, 14);
        let held = store.lock(&case.keys[0], || {}).unwrap();
        drop(store.lock(&case.keys[1], || {}).unwrap());
        assert_eq!(case.open().gc(None, None).unwrap().freed, 7);
        assert!(!folder.exists());
        assert!(temp.join(".tmp-young").exists() && !temp.join(".tmp-old").exists());
        let lock = |n: usize| store.top.lock_path("key", &case.keys[n].to_hex());
        assert!(lock(0).exists() && !lock(1).exists());
        drop(held);
    }

    #[test]
    fn verify_reads_everything_and_drops_what_is_bad() {
        let case = case();
        let store = case.open();
        let bad = store.object_path(&Digest::of(&case.contents[1]));
        let mode = fs::metadata(&bad).unwrap().permissions();
        fs::remove_file(&bad).unwrap();
        fs::write(&bad, vec![9; 200]).unwrap();
        fs::set_permissions(&bad, mode).unwrap();
        let bad_record = store.top.record_path(&case.keys[2]);
        fs::write(&bad_record, b"garbage").unwrap();
        let mut seen = 0;
        let report = store.verify(&mut |n| seen += n).unwrap();
        assert_eq!((report.objects, report.bytes, report.records, seen), (2, 400, 1, 400));
        let mut dropped: Vec<_> = report.dropped.iter().map(|(path, _)| path.clone()).collect();
        dropped.sort();
        let mut want = vec![bad, bad_record, store.top.record_path(&case.keys[1])];
        want.sort();
        assert_eq!(dropped, want);
        assert_eq!(store.verify(&mut |_| {}).unwrap().dropped, []);
        assert_eq!(case.present(), [true, false, false]);
    }

    #[test]
    fn clear_leaves_an_empty_store_that_works() {
        let case = case();
        case.open().clear().unwrap();
        let store = case.open();
        assert_eq!(store.stats(), Stats::default());
        let digest = store.put_bytes(b"again").unwrap();
        assert!(store.materialize(&digest, &case.dir.path().join("out")).unwrap());
        assert_eq!(store.stats().bytes, 5);
    }
}
