//! How much memory hostile files can make the readers ask for, counted by the allocator.
#![allow(clippy::unwrap_used, clippy::panic, unsafe_code)] // a test suite

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use model_build::format::pytorch;
use model_build_tests::pickles::{Pickle, archive, file, stream};

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        let held = HELD.fetch_add(size, Ordering::Relaxed) + size;
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(at, layout, size) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CAP: usize = 64 << 20;

fn refused(name: &str, bytes: Vec<u8>) {
    let bytes = Bytes::from(bytes);
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    assert!(pytorch::from_bytes(&bytes, None).is_err(), "{name}");
    let peak = PEAK.load(Ordering::Relaxed) - before;
    println!("{name}: {:.1} MB", peak as f64 / 1e6);
    assert!(peak < CAP, "{name}: {peak} bytes");
}

#[test]
fn hostile_pytorch_files_are_refused_within_64_mb() {
    let of = |bytes: &[u8], times: usize| file(&Pickle::new().raw(bytes.repeat(times)).end());
    refused("marks", of(b"(", 5_500_000));
    refused("values", of(b"N", 5_500_000));
    refused("lists", of(b"]0", 5_500_000));
    refused("nested lists", of(b"]", 5_500_000));
    refused("names", of(b"cA\nB\n0", 5_500_000));
    refused("appended", file(&Pickle::new().raw(b"]").raw(b"Na".repeat(5_500_000)).end()));
    refused("instances", of(b"cA\nB\n)\x81}b0", 300_000));
    refused("memos", file(&Pickle::new().raw(b"]").raw(b"\x94".repeat(5_500_000)).end()));
    let far = b"Nr\xff\xff\x0f\0".as_slice();
    refused(
        "a far memo and lists",
        file(&Pickle::new().raw(far).raw(b"]0".repeat(5_500_000)).end()),
    );
    let tuple = [b"(".as_slice(), &b"N".repeat(200_000), b"t0"].concat();
    refused("long tuples", of(&tuple, 30));
    refused("long integers", of(b"\x8b\xff\xff\xff\x7f", 1));
    let name = "n".repeat(900);
    let many = (0..20_000).fold(Pickle::new().one().raw(b"q\0}("), |out, i| {
        out.text(&format!("{i}{name}")).raw(b"h\0")
    });
    refused("long names", file(&many.raw(b"u").end()));
    let deep = |pickle: Vec<u8>| stream(&pickle, &[], &[]);
    refused("the stream", deep(Pickle::new().raw(b"]0".repeat(5_500_000)).end()));
    let entries: Vec<(String, Vec<u8>)> =
        (0..60_000).map(|i| (format!("archive/{i}"), Vec::new())).collect();
    let entries: Vec<(&str, &[u8])> =
        entries.iter().map(|(name, data)| (name.as_str(), data.as_slice())).collect();
    refused("entries", archive(&entries));
}
