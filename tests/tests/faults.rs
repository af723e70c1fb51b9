//! What a store does when processes die, disks fill up and folders cannot be written.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a test

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use model_build::ErrorKind;
use model_build::cache::{Digest, Store, StoreEvent, Subject};
use model_build_tests::artifact::{self, NAMES, content, key};

fn worker(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_store-worker"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

fn make(root: &Path, out: &Path, number: u64, bytes: usize) -> Child {
    let (root, out) = (root.to_str().unwrap(), out.to_str().unwrap());
    worker(&["make", root, out, &number.to_string(), &bytes.to_string()]).spawn().unwrap()
}

/// What a process that must succeed said.
fn said(child: Child) -> Vec<String> {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn assert_content(out: &Path, number: u64, bytes: usize) {
    for name in NAMES {
        assert!(fs::read(out.join(name)).unwrap() == content(number, name, bytes), "{name}");
    }
}

fn temporary_files(store: &Store) -> usize {
    fs::read_dir(store.root().join("v1/tmp")).unwrap().count()
}

/// Fills what is left of a file system.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    for size in [64 << 10, 1] {
        while file.write_all(&vec![7; size]).is_ok() {}
    }
}

/// A mounted file system, unmounted on drop.
struct Mount(PathBuf);

impl Mount {
    /// `None`, said aloud, where mounting is not permitted.
    fn new(at: &Path, steps: &[&[&str]]) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        for (n, args) in steps.iter().enumerate() {
            let done = Command::new("mount").args(*args).arg(at).output();
            if !done.as_ref().is_ok_and(|output| output.status.success()) {
                println!("skipped: mount {args:?} is not permitted here: {done:?}");
                if n > 0 {
                    drop(Self(at.to_owned()));
                }
                return None;
            }
        }
        Some(Self(at.to_owned()))
    }
    fn small_disk(at: &Path) -> Option<Self> {
        Self::new(at, &[&["-t", "tmpfs", "-o", "size=4m", "none"]])
    }
    fn read_only(of: &Path, at: &Path) -> Option<Self> {
        Self::new(at, &[&["--bind", of.to_str().unwrap()], &["-o", "remount,ro,bind"]])
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_process_killed_at_any_moment_leaves_nothing_that_a_later_one_trips_over() {
    const BYTES: usize = 3 << 20;
    const ROUNDS: u32 = 40;
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("cache");
    let mut whole = Duration::MAX;
    for number in 1000..1003 {
        let start = Instant::now();
        said(make(&root, &dir.path().join("warm"), number, BYTES));
        whole = whole.min(start.elapsed());
    }
    let (mut died, mut leftovers) = (0, 0);
    for round in 0..ROUNDS {
        let (number, out) = (u64::from(round), dir.path().join(format!("out{round}")));
        let mut child = make(&root, &out, number, BYTES);
        std::thread::sleep(whole * round / ROUNDS);
        child.kill().unwrap();
        died += u32::from(!child.wait().unwrap().success());

        let store = Store::open(&root).unwrap();
        leftovers += temporary_files(&store);
        let report = store.verify(&mut |_| {}).unwrap();
        assert_eq!(report.dropped, [], "round {round}");
        drop(store);
        for name in NAMES {
            if let Ok(bytes) = fs::read(out.join(name)) {
                assert!(bytes == content(number, name, BYTES), "round {round}: {name}");
            }
        }
        said(make(&root, &out, number, BYTES));
        assert_content(&out, number, BYTES);
        assert_eq!(said(make(&root, &out, number, BYTES)), ["found", "done"]);
        // Leftovers are swept when they are old.
        for entry in fs::read_dir(root.join("v1/tmp")).unwrap() {
            let old = std::time::SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
            let path = entry.unwrap().path();
            fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
        }
        let store = Store::open(&root).unwrap();
        store.gc(Some(0), None).unwrap();
        assert_eq!(temporary_files(&store), 0);
        assert_eq!(store.stats().bytes, 0, "round {round}");
    }
    println!("{died} of {ROUNDS} were killed before they were done; {leftovers} files were left");
    assert!(died > ROUNDS / 4, "only {died} processes were killed in time");
}

#[test]
fn of_many_processes_that_want_the_same_thing_one_makes_it_and_all_get_it() {
    const BYTES: usize = 4 << 20;
    for processes in [2, 8] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("cache");
        let out = |n: usize| dir.path().join(format!("out{n}"));
        let children: Vec<_> = (0..processes).map(|n| make(&root, &out(n), 1, BYTES)).collect();
        let words: Vec<String> = children.into_iter().flat_map(said).collect();
        let count = |word: &str| words.iter().filter(|w| *w == word).count();
        assert_eq!((count("made"), count("found"), count("done")), (1, processes - 1, processes));
        for n in 0..processes {
            assert_content(&out(n), 1, BYTES);
        }
        // And nothing has to be read to know that it is still right.
        let store = Store::open(&root).unwrap();
        assert!(store.lookup(&key(1).0).unwrap().is_some());
        assert_eq!(store.take_events(), []);
        assert_eq!(temporary_files(&store), 0);
    }
}

#[test]
fn a_process_that_waits_goes_on_when_the_one_at_work_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let held = store.lock(&key(1).0, || {}).unwrap();
    let mut child = make(dir.path(), &dir.path().join("out"), 1, 1000);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "waited");
    let mut second = make(dir.path(), &dir.path().join("out2"), 1, 1000);
    let mut second_lines = BufReader::new(second.stdout.take().unwrap()).lines();
    assert_eq!(second_lines.next().unwrap().unwrap(), "waited");
    child.kill().unwrap();
    child.wait().unwrap();
    drop(held);
    assert_eq!(second_lines.next().unwrap().unwrap(), "made");
    assert!(second.wait().unwrap().success());
}

#[test]
fn gc_leaves_alone_what_another_process_has_open() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for number in [1, 2] {
        artifact::store(&Store::open(root).unwrap(), number, 1000).unwrap();
    }
    let mut child = worker(&["hold", root.to_str().unwrap(), "1"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "found");
    let report = Store::open(root).unwrap().gc(Some(0), None).unwrap();
    assert_eq!((report.records, report.objects, report.in_use), (1, 2, 2));
    child.kill().unwrap();
    child.wait().unwrap();
    let report = Store::open(root).unwrap().gc(Some(0), None).unwrap();
    assert_eq!((report.records, report.objects, report.in_use), (1, 2, 0));
}

#[test]
fn builds_and_gc_at_the_same_time_give_right_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("cache");
    for round in 0..10 {
        let out = |n: u64| dir.path().join(format!("out{round}-{n}"));
        let children: Vec<_> = (0..4).map(|n| make(&root, &out(n), n % 2, 100_000)).collect();
        for _ in 0..5 {
            Store::open(&root).unwrap().gc(Some(0), None).unwrap();
        }
        children.into_iter().for_each(|child| drop(said(child)));
        (0..4).for_each(|n| assert_content(&out(n), n % 2, 100_000));
    }
    assert_eq!(Store::open(&root).unwrap().verify(&mut |_| {}).unwrap().dropped, []);
}

#[test]
fn a_disk_that_fills_up_while_an_object_is_written_tears_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    let Some(_mount) = Mount::small_disk(&disk) else { return };
    let store = Store::open(&disk.join("cache")).unwrap();
    let error = artifact::store(&store, 1, 6 << 20).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.report().contains("model-build cache gc"), "{}", error.report());
    assert_eq!(temporary_files(&store), 0);
    assert_eq!(store.lookup(&key(1).0).unwrap(), None);
    assert_eq!(store.stats().bytes, 0);
    let record = artifact::store(&store, 1, 1 << 20).unwrap();
    assert_eq!(store.lookup(&key(1).0).unwrap(), Some(record));
}

#[test]
fn a_disk_that_is_full_when_a_record_is_written_tears_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    let Some(_mount) = Mount::small_disk(&disk) else { return };
    let store = Store::open(&disk.join("cache")).unwrap();
    let old = artifact::store(&store, 1, 1000).unwrap();
    fill(&disk.join("filler"));
    let (number, mut record) = (key(2).0, old.clone());
    record.ingredients.push(("long".to_owned(), "x".repeat(100_000)));
    let error = store.insert(&number, &record).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.report().contains("cache gc"), "{}", error.report());
    assert_eq!(store.lookup(&number).unwrap(), None);
    assert_eq!(temporary_files(&store), 0);

    // What only saves time does without.
    let source = dir.path().join("source");
    fs::write(&source, b"weights").unwrap();
    assert_eq!(store.digest_file(&source, &mut |_, _| {}).unwrap(), Digest::of(b"weights"));
    let manifest = Path::new("/Cargo.toml");
    let subject = Subject { manifest, model: "m", target: "t", step: "s" };
    store.remember(&subject, &number, &record.ingredients);
    assert_eq!(store.lookup(&key(1).0).unwrap(), Some(old));
    assert_eq!(temporary_files(&store), 0);

    fs::remove_file(disk.join("filler")).unwrap();
    store.insert(&number, &record).unwrap();
    assert_eq!(store.lookup(&number).unwrap(), Some(record));
}

#[test]
fn a_full_disk_at_the_destination_leaves_what_stood_there() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    let Some(_mount) = Mount::small_disk(&disk) else { return };
    let store = Store::open(&dir.path().join("cache")).unwrap();
    let big = store.put_bytes(&vec![1; 6 << 20]).unwrap();
    let small = store.put_bytes(b"small").unwrap();
    let to = disk.join("model.onnx");
    assert!(store.materialize(&small, &to).unwrap());
    // Another file system: copied once, and known from then on.
    let copied = [StoreEvent::Copied { path: to.clone(), bytes: 5 }];
    assert_eq!(store.take_events(), copied);
    assert!(!store.materialize(&small, &to).unwrap());
    assert_eq!(store.take_events(), []);
    let error = store.materialize(&big, &to).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert_eq!(fs::read(&to).unwrap(), b"small");
    assert_eq!(fs::read_dir(&disk).unwrap().count(), 1);
    // A copy that was edited is replaced.
    fs::remove_file(&to).unwrap();
    fs::write(&to, b"SMALL").unwrap();
    assert!(store.materialize(&small, &to).unwrap());
    assert_eq!(fs::read(&to).unwrap(), b"small");
}

#[test]
fn a_store_that_cannot_be_written_serves_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let (real, seen) = (dir.path().join("real"), dir.path().join("seen"));
    let record = artifact::store(&Store::open(&real).unwrap(), 1, 1000).unwrap();
    let damaged = artifact::store(&Store::open(&real).unwrap(), 2, 1000).unwrap();
    let path = Store::open(&real).unwrap().object_path(&damaged.files[1].digest);
    fs::remove_file(&path).unwrap();
    fs::write(&path, [0; 1000]).unwrap();
    let Some(_mount) = Mount::read_only(&real, &seen) else { return };

    let store = Store::open(&seen).unwrap();
    assert!(!store.is_writable());
    assert_eq!(store.lookup(&key(1).0).unwrap(), Some(record.clone()));
    assert_eq!(store.take_events(), []);
    assert_eq!(store.lookup(&key(2).0).unwrap(), None);
    assert!(!store.take_events().is_empty());
    let to = dir.path().join("out/model.onnx");
    assert!(store.materialize(&record.files[0].digest, &to).unwrap());
    assert_eq!(fs::read(&to).unwrap(), content(1, NAMES[0], 1000));
    let errors = [
        store.lock(&key(3).0, || {}).err().unwrap(),
        store.writer().err().unwrap(),
        store.insert(&key(3).0, &record).unwrap_err(),
        store.gc(None, None).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.report().contains("MODEL_BUILD_CACHE"), "{}", error.report());
    }

    let fallback = dir.path().join("fallback");
    let open = || Store::open_or_fallback(Some(&seen), &fallback).unwrap();
    let (store, warning) = open();
    let warning = warning.unwrap();
    assert!(warning.contains("cannot be written") && warning.contains("fallback"), "{warning}");
    assert_eq!(store.lookup(&key(1).0).unwrap(), Some(record.clone()));
    let remade = artifact::store(&store, 2, 1000).unwrap();
    assert_eq!(store.lookup(&key(2).0).unwrap(), Some(remade));
    assert!(store.materialize(&record.files[1].digest, &to).unwrap());
    assert_eq!(fs::read(&to).unwrap(), content(1, NAMES[1], 1000));
    let (store, _) = open();
    assert!(!store.materialize(&record.files[1].digest, &to).unwrap());
    assert_eq!(store.take_events(), []);
}

#[test]
fn an_object_of_a_read_only_store_that_nobody_vouches_for_is_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let (real, seen) = (dir.path().join("real"), dir.path().join("seen"));
    let record = artifact::store(&Store::open(&real).unwrap(), 1, 1000).unwrap();
    fs::remove_dir_all(real.join("v1/stat")).unwrap();
    let Some(_mount) = Mount::read_only(&real, &seen) else { return };
    let open = || Store::open_or_fallback(Some(&seen), &dir.path().join("fallback")).unwrap().0;
    let store = open();
    assert_eq!(store.lookup(&key(1).0).unwrap(), Some(record.clone()));
    assert_eq!(store.take_events().len(), 2);
    let store = open();
    assert_eq!(store.lookup(&key(1).0).unwrap(), Some(record));
    assert_eq!(store.take_events(), []);
}

#[test]
fn the_environment_names_the_folder_or_the_error_says_how_it_should() {
    let root = |variables: &[(&str, &str)]| {
        let mut command = worker(&["root"]);
        for name in ["MODEL_BUILD_CACHE", "XDG_CACHE_HOME", "HOME"] {
            command.env_remove(name);
        }
        said(command.envs(variables.iter().copied()).spawn().unwrap()).join("\n")
    };
    let home = ("HOME", "/home/me");
    let caches = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
    assert_eq!(root(&[home, ("MODEL_BUILD_CACHE", "/big/disk")]), "/big/disk");
    assert_eq!(root(&[home]), format!("/home/me/{caches}/model-build"));
    assert_eq!(root(&[home, ("MODEL_BUILD_CACHE", "")]), root(&[home]));
    if cfg!(target_os = "linux") {
        assert_eq!(root(&[home, ("XDG_CACHE_HOME", "/x")]), "/x/model-build");
        assert_eq!(root(&[home, ("XDG_CACHE_HOME", "relative")]), root(&[home]));
    }
    let missing = root(&[]);
    assert!(missing.starts_with("error: ") && missing.contains("MODEL_BUILD_CACHE"), "{missing}");
    let relative = root(&[home, ("MODEL_BUILD_CACHE", "cache")]);
    assert!(relative.contains("not an absolute path"), "{relative}");
}
