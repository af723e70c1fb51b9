//! Object files: what other people's tools read in them, and that they link and run.

use std::fs;
use std::path::Path;
use std::process::Command;

use model_build::embed::elf::{Machine, thin_archive, write_object};

use crate::crates::{Crate, blob, comparing, noise, scratch, succeed};

fn tool(name: &str, arguments: &[&str], file: &Path) -> String {
    succeed(&Command::new(name).args(arguments).arg(file).output().unwrap())
}

#[test]
fn binutils_read_the_objects_of_both_machines() {
    let payload = noise(10_001);
    let dir = scratch().join("object-headers");
    fs::create_dir_all(&dir).unwrap();
    for (machine, name, section, flags) in [
        (Machine::X86_64, "Advanced Micro Devices X86-64", ".lrodata.model_build", "Al"),
        (Machine::Aarch64, "AArch64", ".rodata.model_build", "A"),
    ] {
        let object = dir.join(format!("{machine:?}.o"));
        let _ = fs::remove_file(&object);
        write_object(machine, "the_symbol", &payload, 10_001, &object).unwrap();

        let header = tool("readelf", &["-hW"], &object);
        assert!(header.contains(name) && header.contains("REL (Relocatable file)"), "{header}");
        let sections = tool("readelf", &["-SW"], &object);
        let line = sections.lines().find(|l| l.contains(section)).unwrap();
        let columns: Vec<&str> = line.split(']').nth(1).unwrap().split_whitespace().collect();
        // Name, type, address, offset, size, entry size, flags, link, info, alignment.
        assert_eq!(
            columns,
            [
                section,
                "PROGBITS",
                "0000000000000000",
                "001000",
                "002711",
                "00",
                flags,
                "0",
                "0",
                "4096"
            ]
        );
        assert!(sections.contains(".note.GNU-stack"), "{sections}");
        let symbols = tool("readelf", &["-sW"], &object);
        let line = symbols.lines().find(|l| l.contains("the_symbol")).unwrap();
        let columns: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(columns[2..], ["10001", "OBJECT", "GLOBAL", "HIDDEN", "1", "the_symbol"]);
        assert!(!format!("{header}{sections}{symbols}").contains("arning"));

        let bytes = fs::read(&object).unwrap();
        assert!(bytes[4096..4096 + 10_001] == fs::read(&payload).unwrap());

        let archive = dir.join(format!("lib{machine:?}.a"));
        let name = format!("{machine:?}.o");
        fs::write(&archive, thin_archive(&name, bytes.len() as u64, "the_symbol").unwrap())
            .unwrap();
        let index = tool("nm", &["-s"], &archive);
        let line = index.lines().find(|l| l.starts_with("the_symbol in ")).unwrap();
        assert!(line.ends_with(&name), "{index}");
    }
}

#[test]
fn an_object_that_is_there_is_not_written_again() {
    let payload = noise(10_001);
    let object = scratch().join("object-once.o");
    let _ = fs::remove_file(&object);
    let write = || write_object(Machine::X86_64, "s", &payload, 10_001, &object);
    write().unwrap();
    fs::File::options()
        .write(true)
        .open(&object)
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    write().unwrap();
    assert_eq!(fs::metadata(&object).unwrap().modified().unwrap(), std::time::UNIX_EPOCH);
    // A torn one is.
    fs::write(&object, b"torn").unwrap();
    write().unwrap();
    assert!(fs::metadata(&object).unwrap().len() > 10_001);
}

#[test]
fn a_payload_that_changed_its_length_is_an_error_and_leaves_nothing() {
    let object = scratch().join("object-changed.o");
    let _ = fs::remove_file(&object);
    let error = write_object(Machine::X86_64, "s", &noise(10_001), 9_999, &object).unwrap_err();
    assert!(error.to_string().contains("has 10001 bytes, 9999 were expected"), "{error}");
    assert!(!object.exists());
}

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn a_hundred_megabytes_link_and_run_from_a_library_and_its_program() {
    let payload = noise(100 << 20);
    let app = Crate::new("object-large");
    app.spec(&serde_json::json!({ "items": [blob("large", &payload, "auto")] }));
    // The same bytes in a library and in its program: one symbol, no clash.
    app.write(
        "src/lib.rs",
        "model_build_runtime::include_model!(\"large\");
pub fn bytes() -> &'static [u8] { Large::bytes().unwrap() }
",
    );
    let same = "    assert_eq!(bytes.as_ptr(), object_large::bytes().as_ptr());\n    println!";
    app.write(
        "src/main.rs",
        comparing("large.raw", "LargeRaw", &payload).replace("    println!", same),
    );
    assert_eq!(app.run(), "0\n");
    let stack = tool("readelf", &["-lW"], &app.executable());
    let stack = stack.lines().find(|l| l.contains("GNU_STACK")).unwrap();
    assert!(stack.contains(" RW ") && !stack.contains("RWE"), "{stack}");
    let rlib = model_build_tests::crates::target().join("debug/libobject_large.rlib");
    assert!(fs::metadata(rlib).unwrap().len() < 1 << 20, "the payload was copied into the rlib");

    // Another digest: the old object goes, the new bytes arrive.
    let other = noise(9 << 20);
    app.spec(&serde_json::json!({ "items": [blob("large", &other, "auto")] }));
    app.write("src/main.rs", comparing("large", "Large", &other));
    assert_eq!(app.run(), "0\n");
}
