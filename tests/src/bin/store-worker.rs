//! A process that uses a store, for tests that kill it or run it many times over.
//!
//! * `make ROOT OUT NUMBER BYTES`: as a build does, finds or makes artifact NUMBER (two files of
//!   BYTES bytes) and puts it into OUT. Prints `waited`, `made` or `found`, then `done`.
//! * `hold ROOT NUMBER`: looks artifact NUMBER up, prints `found` or `missing`, and keeps the
//!   store open until its input ends.
//! * `root`: prints the default folder of the store, or the error.

use std::io::{Read, Write};
use std::path::Path;

use model_build::cache::Store;
use model_build_tests::artifact;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["make", root, out, number, bytes] => {
            let store = Store::open(Path::new(root))?;
            make(&store, Path::new(out), number.parse()?, bytes.parse()?)?;
            say("done")
        }
        ["hold", root, number] => {
            let store = Store::open(Path::new(root))?;
            let found = store.lookup(&artifact::key(number.parse()?).0)?.is_some();
            say(if found { "found" } else { "missing" })?;
            std::io::stdin().read_to_end(&mut Vec::new())?;
            Ok(())
        }
        ["root"] => match model_build::cache::default_root() {
            Ok(root) => say(&root.display().to_string()),
            Err(e) => say(&e.report()),
        },
        _ => Err("make ROOT OUT NUMBER BYTES | hold ROOT NUMBER | root".into()),
    }
}

fn say(word: &str) -> Result<(), Box<dyn std::error::Error>> {
    Ok(writeln!(std::io::stdout(), "{word}")?)
}

fn make(
    store: &Store,
    out: &Path,
    number: u64,
    bytes: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let (key, _) = artifact::key(number);
    let record = match store.lookup(&key)? {
        Some(record) => {
            say("found")?;
            record
        }
        None => {
            let _lock = store.lock(&key, || drop(say("waited")))?;
            match store.lookup(&key)? {
                Some(record) => {
                    say("found")?;
                    record
                }
                None => {
                    say("made")?;
                    artifact::store(store, number, bytes)?
                }
            }
        }
    };
    for file in &record.files {
        store.materialize(&file.digest, &out.join(&file.name))?;
    }
    Ok(())
}
