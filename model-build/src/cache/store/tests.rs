//! Tests of the store: lookups, damage, links.

#![allow(clippy::disallowed_methods)] // the tests damage files on purpose

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;

use super::*;
use crate::cache::KeyBuilder;
use crate::record::{Info, RecordFile};

struct Case {
    dir: tempfile::TempDir,
    store: Store,
    key: Key,
    record: Record,
}

const CONTENT: &[u8] = b"the bytes of an artifact";

fn key(n: u32) -> (Key, Vec<(String, String)>) {
    let mut builder = KeyBuilder::new("convert");
    builder.ingredient("number", &n.to_string());
    builder.finish()
}

fn insert(store: &Store, n: u32, content: &[u8]) -> (Key, Record) {
    let (key, ingredients) = key(n);
    let digest = store.put_bytes(content).unwrap();
    let file = RecordFile { name: "model.onnx".into(), digest, len: content.len() as u64 };
    let record =
        Record { step: "convert".into(), ingredients, files: vec![file], info: Info::default() };
    store.insert(&key, &record).unwrap();
    (key, record)
}

fn case() -> Case {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("cache")).unwrap();
    let (key, record) = insert(&store, 1, CONTENT);
    Case { dir, store, key, record }
}

impl Case {
    fn object(&self) -> PathBuf {
        self.store.object_path(&self.record.files[0].digest)
    }
    fn reopen(&mut self) {
        self.store = Store::open(&self.dir.path().join("cache")).unwrap();
    }
}

/// Changes bytes without leaving a trace in size or modification time.
fn edit_keeping_times(path: &Path, content: &[u8]) {
    let meta = fs::metadata(path).unwrap();
    let mut mode = meta.permissions();
    #[allow(clippy::permissions_set_readonly_false)]
    mode.set_readonly(false);
    fs::set_permissions(path, mode).unwrap();
    let mut file = fs::File::options().write(true).truncate(true).open(path).unwrap();
    file.write_all(content).unwrap();
    file.set_modified(meta.modified().unwrap()).unwrap();
    fs::set_permissions(path, meta.permissions()).unwrap();
    assert_eq!(fs::metadata(path).unwrap().mtime_nsec(), meta.mtime_nsec());
}

#[test]
fn what_was_inserted_is_found_and_nothing_is_read_to_find_it() {
    let mut case = case();
    for _ in 0..2 {
        assert_eq!(case.store.lookup(&case.key).unwrap(), Some(case.record.clone()));
        assert_eq!(fs::read(case.object()).unwrap(), CONTENT);
        assert_eq!(case.store.take_events(), []);
        case.reopen();
    }
    assert_eq!(case.store.lookup(&key(2).0).unwrap(), None);
    assert!(fs::metadata(case.object()).unwrap().permissions().readonly());
}

#[test]
fn an_object_changed_in_any_way_is_dropped_and_can_be_made_again() {
    let flipped = {
        let mut bytes = CONTENT.to_vec();
        bytes[3] ^= 0x10;
        bytes
    };
    let damages: [&[u8]; 4] = [&flipped, &CONTENT[..5], b"", b"something much longer than it was"];
    for damage in damages {
        let mut case = case();
        edit_keeping_times(&case.object(), damage);
        assert_eq!(case.store.lookup(&case.key).unwrap(), None);
        assert!(!case.object().exists());
        let dropped = case.store.take_events();
        let is_drop = |e: &&StoreEvent| matches!(e, StoreEvent::Dropped { .. });
        assert_eq!(dropped.iter().filter(is_drop).count(), 2, "{dropped:?}");
        insert(&case.store, 1, CONTENT);
        case.reopen();
        assert_eq!(case.store.lookup(&case.key).unwrap(), Some(case.record.clone()));
        assert_eq!(fs::read(case.object()).unwrap(), CONTENT);
    }
}

#[test]
fn a_missing_object_is_a_miss_and_so_is_a_folder_in_its_place() {
    let mut case = case();
    fs::remove_file(case.object()).unwrap();
    assert_eq!(case.store.lookup(&case.key).unwrap(), None);
    insert(&case.store, 1, CONTENT);
    fs::remove_file(case.object()).unwrap();
    fs::create_dir(case.object()).unwrap();
    assert_eq!(case.store.lookup(&case.key).unwrap(), None);
    insert(&case.store, 1, CONTENT);
    case.reopen();
    assert!(case.store.lookup(&case.key).unwrap().is_some());
}

#[test]
fn a_record_damaged_at_any_byte_is_dropped() {
    let case = case();
    let path = case.store.top.record_path(&case.key);
    let good = fs::read(&path).unwrap();
    let mut damaged: Vec<Vec<u8>> =
        (0..good.len()).step_by(7).map(|n| good[..n].to_vec()).collect();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        damaged.push(bytes);
    }
    damaged.push([&good[..], b"\n"].concat());
    for bytes in damaged {
        fs::write(&path, &bytes).unwrap();
        assert_eq!(case.store.lookup(&case.key).unwrap(), None);
        assert!(!path.exists());
        assert_eq!(case.store.take_events().len(), 1);
    }
    // A good record under another key's name is damage too.
    let other = case.store.top.record_path(&key(2).0);
    fs::create_dir_all(other.parent().unwrap()).unwrap();
    fs::write(&other, &good).unwrap();
    assert_eq!(case.store.lookup(&key(2).0).unwrap(), None);
}

#[test]
fn a_record_that_names_an_object_never_stored_cannot_be_inserted() {
    let case = case();
    let mut record = case.record.clone();
    record.files[0].digest = Digest::of(b"never stored");
    let error = case.store.insert(&key(2).0, &record).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bug);
    record = case.record.clone();
    record.files[0].len += 1;
    assert!(case.store.insert(&key(2).0, &record).is_err());
}

#[test]
fn materializing_twice_links_once_and_later_lookups_read_nothing() {
    let mut case = case();
    let digest = case.record.files[0].digest;
    let to = case.dir.path().join("out/model.onnx");
    assert!(case.store.materialize(&digest, &to).unwrap());
    assert_eq!(fs::metadata(&to).unwrap().ino(), fs::metadata(case.object()).unwrap().ino());
    assert!(!case.store.materialize(&digest, &to).unwrap());
    let second = case.dir.path().join("out2/model.onnx");
    assert!(case.store.materialize(&digest, &second).unwrap());
    case.reopen();
    assert!(case.store.lookup(&case.key).unwrap().is_some());
    assert!(!case.store.materialize(&digest, &to).unwrap());
    assert!(!case.store.materialize(&digest, &second).unwrap());
    assert_eq!(case.store.take_events(), []);
    assert_eq!(fs::read_dir(to.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn another_file_at_the_destination_is_replaced() {
    let case = case();
    let digest = case.record.files[0].digest;
    let to = case.dir.path().join("model.onnx");
    fs::write(&to, CONTENT.to_ascii_uppercase()).unwrap();
    assert!(case.store.materialize(&digest, &to).unwrap());
    assert_eq!(fs::read(&to).unwrap(), CONTENT);
    // An editor that replaces the file leaves the store's object alone.
    fs::remove_file(&to).unwrap();
    fs::write(&to, b"edited").unwrap();
    assert!(case.store.materialize(&digest, &to).unwrap());
    assert_eq!(fs::read(&to).unwrap(), CONTENT);
    let other = case.store.put_bytes(b"another artifact").unwrap();
    assert!(case.store.materialize(&other, &to).unwrap());
    assert_eq!(fs::read(&to).unwrap(), b"another artifact");
    assert_eq!(fs::read(case.object()).unwrap(), CONTENT);
}

#[test]
fn writing_through_the_link_is_found_at_the_next_lookup() {
    let case = case();
    let digest = case.record.files[0].digest;
    let to = case.dir.path().join("model.onnx");
    case.store.materialize(&digest, &to).unwrap();
    edit_keeping_times(&to, &CONTENT.to_ascii_uppercase());
    assert_eq!(case.store.lookup(&case.key).unwrap(), None);
    insert(&case.store, 1, CONTENT);
    assert!(case.store.materialize(&digest, &to).unwrap());
    assert_eq!(fs::read(&to).unwrap(), CONTENT);
}

#[test]
fn links_removed_elsewhere_cost_one_reading_and_no_more() {
    let case = case();
    let to = case.dir.path().join("model.onnx");
    case.store.materialize(&case.record.files[0].digest, &to).unwrap();
    fs::remove_file(&to).unwrap();
    assert!(case.store.lookup(&case.key).unwrap().is_some());
    let bytes = CONTENT.len() as u64;
    assert_eq!(case.store.take_events(), [StoreEvent::Hashed { path: case.object(), bytes }]);
    assert!(case.store.lookup(&case.key).unwrap().is_some());
    assert_eq!(case.store.take_events(), []);
}

#[test]
fn an_artifact_unfolds_into_one_folder_for_a_while_and_later_lookups_read_nothing() {
    let mut case = case();
    let second = case.store.put_bytes(b"external data").unwrap();
    let mut record = case.record.clone();
    record.files.push(RecordFile { name: "model.data".into(), digest: second, len: 13 });
    case.store.insert(&key(2).0, &record).unwrap();
    let unfolded = case.store.unfold(&record).unwrap();
    let [(main_name, main), (data_name, data)] = unfolded.files() else { panic!() };
    assert_eq!((main_name.as_str(), data_name.as_str()), ("model.onnx", "model.data"));
    assert_eq!((main.parent(), fs::read(main).unwrap()), (data.parent(), CONTENT.to_vec()));
    assert_eq!(fs::read(data).unwrap(), b"external data");
    drop(unfolded);
    assert_eq!(fs::read_dir(case.store.top.temp()).unwrap().count(), 0);
    let single = case.store.unfold(&case.record).unwrap();
    assert_eq!(single.files(), [("model.onnx".to_owned(), case.object())]);
    drop(single);
    case.reopen();
    assert_eq!(case.store.lookup(&key(2).0).unwrap(), Some(record));
    assert_eq!(case.store.take_events(), []);
}

#[test]
fn an_object_written_again_keeps_its_inode() {
    let case = case();
    let before = fs::metadata(case.object()).unwrap().ino();
    case.store.put_bytes(CONTENT).unwrap();
    assert_eq!(fs::metadata(case.object()).unwrap().ino(), before);
    let temp = case.store.top.temp();
    assert_eq!(fs::read_dir(temp).unwrap().count(), 0);
}

#[test]
fn a_writer_dropped_early_leaves_nothing() {
    let case = case();
    let mut writer = case.store.writer().unwrap();
    writer.write_all(b"half").unwrap();
    assert_eq!(writer.len(), 4);
    drop(writer);
    assert_eq!(fs::read_dir(case.store.top.temp()).unwrap().count(), 0);
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_with_the_way_out_or_a_fallback() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let root = file.join("cache");
    let error = Store::open(&root).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.report().contains("MODEL_BUILD_CACHE"), "{}", error.report());
    let fallback = dir.path().join("out");
    let (store, warning) = Store::open_or_fallback(Some(&root), &fallback).unwrap();
    let warning = warning.unwrap();
    assert!(warning.contains("MODEL_BUILD_CACHE") && warning.contains("out"), "{warning}");
    let (key, record) = insert(&store, 1, CONTENT);
    assert_eq!(store.lookup(&key).unwrap(), Some(record));
    let (_, warning) = Store::open_or_fallback(Some(&fallback), &file).unwrap();
    assert_eq!(warning, None);
    assert!(Store::open_or_fallback(Some(&root), &root).is_err());
}

#[test]
fn a_store_shared_by_threads_makes_each_thing_once() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let dir = tempfile::tempdir().unwrap();
    let (made, waited) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let store = Store::open(dir.path()).unwrap();
                let (key, _) = key(1);
                let _lock = store
                    .lock(&key, || {
                        waited.fetch_add(1, Ordering::Relaxed);
                    })
                    .unwrap();
                if store.lookup(&key).unwrap().is_none() {
                    made.fetch_add(1, Ordering::Relaxed);
                    insert(&store, 1, CONTENT);
                }
            });
        }
    });
    assert_eq!(made.into_inner(), 1);
    assert!(waited.into_inner() <= 7);
}
