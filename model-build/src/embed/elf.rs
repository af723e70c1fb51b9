//! ELF64 object files that hold one read-only blob, and thin archives around them.
//!
//! The linker needs a payload only as bytes at a symbol, so an object file of one data section is
//! all there is: a header, the payload copied from file to file, and a tail of tables. Neither the
//! compiler nor this process ever holds the payload. A thin archive names its member instead of
//! holding it, so that the object is the only copy.
//!
//! Layouts: System V ABI chapter 4 (ELF-64 Object File Format), the psABI supplement for x86-64
//! (`SHF_X86_64_LARGE`), and GNU ar's thin format.

use std::io::Write;
use std::path::Path;

use crate::error::{Error, Result};
use crate::fsx::{self, AtomicFile};

/// The machine of an object file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// `EM_X86_64`.
    X86_64,
    /// `EM_AARCH64`.
    Aarch64,
}

impl Machine {
    const fn number(self) -> u16 {
        match self {
            Self::X86_64 => 62,
            Self::Aarch64 => 183,
        }
    }
    /// The payload's section: large data on x86-64 lies outside the 2 GiB that its code reaches with
    /// 32-bit offsets, so that a payload of any size leaves the program's own data in reach.
    const fn section(self) -> (&'static str, u64) {
        const SHF_ALLOC: u64 = 2;
        const SHF_X86_64_LARGE: u64 = 0x1000_0000;
        match self {
            Self::X86_64 => (".lrodata.model_build", SHF_ALLOC | SHF_X86_64_LARGE),
            Self::Aarch64 => (".rodata.model_build", SHF_ALLOC),
        }
    }
}

/// The payload starts on a page: nothing else shares its pages.
const ALIGN: u64 = 4096;
const HEADER: u64 = 64;
const SECTION_HEADER: u64 = 64;
const SYMBOL: u64 = 24;
const SECTIONS: u16 = 6;

/// A growing table of little-endian fields.
#[derive(Default)]
struct Table(Vec<u8>);

impl Table {
    fn u8(&mut self, v: u8) -> &mut Self {
        self.0.push(v);
        self
    }
    fn u16(&mut self, v: u16) -> &mut Self {
        self.0.extend(v.to_le_bytes());
        self
    }
    fn u32(&mut self, v: u32) -> &mut Self {
        self.0.extend(v.to_le_bytes());
        self
    }
    fn u64(&mut self, v: u64) -> &mut Self {
        self.0.extend(v.to_le_bytes());
        self
    }
    /// An `Elf64_Shdr`, its fields in the file's order after `sh_name`.
    fn section(&mut self, name: u32, kind: u32, flags: u64, at: (u64, u64), rest: &Rest) {
        let &Rest { link, info, align, entry } = rest;
        self.u32(name).u32(kind).u64(flags).u64(0).u64(at.0).u64(at.1);
        self.u32(link).u32(info).u64(align).u64(entry);
    }
}

/// The last four fields of an `Elf64_Shdr`.
#[derive(Default)]
struct Rest {
    link: u32,
    info: u32,
    align: u64,
    entry: u64,
}

/// A NUL-separated string table and the offset of each name in it.
fn strings<const N: usize>(names: [&str; N]) -> (Vec<u8>, [u32; N]) {
    let mut table = vec![0];
    let offsets = names.map(|name| {
        let at = u32::try_from(table.len()).unwrap_or(u32::MAX);
        table.extend(name.bytes());
        table.push(0);
        at
    });
    (table, offsets)
}

/// Everything of an object file but the payload: what stands before it and what after it.
struct Frame {
    head: Vec<u8>,
    tail: Vec<u8>,
}

/// Lays out an object file with `len` bytes of payload at `symbol`. `None` when a length overflows.
fn frame(machine: Machine, symbol: &str, len: u64) -> Option<Frame> {
    let (section, flags) = machine.section();
    let (names, [n_data, n_symtab, n_strtab, n_shstrtab, n_stack]) =
        strings([section, ".symtab", ".strtab", ".shstrtab", ".note.GNU-stack"]);
    let (symbols, [n_symbol]) = strings([symbol]);

    let data_at = ALIGN;
    let data_end = data_at.checked_add(len)?;
    let symtab_at = data_end.checked_next_multiple_of(8)?;
    let strtab_at = symtab_at.checked_add(2 * SYMBOL)?;
    let shstrtab_at = strtab_at.checked_add(symbols.len() as u64)?;
    let names_end = shstrtab_at.checked_add(names.len() as u64)?;
    let sections_at = names_end.checked_next_multiple_of(8)?;

    let mut head = Table(b"\x7fELF".to_vec());
    // 64-bit, little-endian, version 1, System V ABI.
    head.u8(2).u8(1).u8(1).u8(0).u64(0);
    // ET_REL, machine, version, no entry, no program headers, the section headers' offset, no flags.
    head.u16(1).u16(machine.number()).u32(1).u64(0).u64(0).u64(sections_at).u32(0);
    head.u16(64).u16(0).u16(0).u16(64).u16(SECTIONS).u16(4);
    debug_assert_eq!(head.0.len() as u64, HEADER);
    head.0.resize(usize::try_from(data_at).ok()?, 0);

    let mut tail = Table::default();
    let pad = |table: &mut Table, gap: u64| {
        // A few bytes at most.
        table.0.extend(std::iter::repeat_n(0, usize::try_from(gap).unwrap_or(0)));
    };
    pad(&mut tail, symtab_at - data_end);
    pad(&mut tail, SYMBOL);
    // STB_GLOBAL | STT_OBJECT, STV_HIDDEN: seen by the crate it is linked with, exported by none.
    tail.u32(n_symbol).u8(1 << 4 | 1).u8(2).u16(1).u64(0).u64(len);
    tail.0.extend(&symbols);
    tail.0.extend(&names);
    pad(&mut tail, sections_at - names_end);

    pad(&mut tail, SECTION_HEADER);
    const PROGBITS: u32 = 1;
    const SYMTAB: u32 = 2;
    const STRTAB: u32 = 3;
    let align = |align| Rest { align, ..Rest::default() };
    tail.section(n_data, PROGBITS, flags, (data_at, len), &align(ALIGN));
    let links = Rest { link: 3, info: 1, align: 8, entry: SYMBOL };
    tail.section(n_symtab, SYMTAB, 0, (symtab_at, 2 * SYMBOL), &links);
    tail.section(n_strtab, STRTAB, 0, (strtab_at, symbols.len() as u64), &align(1));
    tail.section(n_shstrtab, STRTAB, 0, (shstrtab_at, names.len() as u64), &align(1));
    // Says that the object's code (there is none) needs no executable stack.
    tail.section(n_stack, PROGBITS, 0, (names_end, 0), &align(1));
    Some(Frame { head: head.0, tail: tail.0 })
}

/// Writes the object file of a payload, unless one of its length is there: the name of an object
/// holds the payload's digest, and files appear whole or not at all.
pub fn write_object(
    machine: Machine,
    symbol: &str,
    payload: &Path,
    len: u64,
    object: &Path,
) -> Result<()> {
    let overflow = || Error::unsupported(format!("{len} bytes do not fit an object file"));
    let frame = frame(machine, symbol, len).ok_or_else(overflow)?;
    let total = (frame.head.len() as u64)
        .checked_add(len)
        .and_then(|n| n.checked_add(frame.tail.len() as u64))
        .ok_or_else(overflow)?;
    if fsx::stat_if_exists(object)?.is_some_and(|s| s.len == total) {
        return Ok(());
    }
    let mut out = AtomicFile::create(object)?;
    let failed = |e| Error::io("write", object, e);
    out.write_all(&frame.head).map_err(failed)?;
    let copied = out.copy_from(payload)?;
    if copied != len {
        return Err(Error::malformed(format!("has {copied} bytes, {len} were expected"))
            .file(payload)
            .hint("the file changed during the build: build again"));
    }
    out.write_all(&frame.tail).map_err(failed)?;
    out.commit(false)
}

/// A thin archive of one object file in the same folder, with the index that linkers look symbols
/// up in.
pub fn thin_archive(object: &str, object_len: u64, symbol: &str) -> Result<Vec<u8>> {
    fn member(out: &mut Vec<u8>, name: &str, len: u64) {
        // Name, time, user, group, mode, size, end: fixed columns. Times and owners are zero, so
        // that the same object gives the same archive.
        out.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{len:<10}`\n", 0, 0, 0, 644).bytes());
    }
    if object_len > 9_999_999_999 {
        return Err(Error::unsupported(format!("{object_len} bytes do not fit an archive"))
            .hint("use `embed = \"file\"`"));
    }
    // The index: one symbol, and where the header of its member stands.
    let index_len = 8 + symbol.len() as u64 + 1;
    let index_padded = index_len.next_multiple_of(2);
    let names = format!("{object}/\n");
    let names_padded = (names.len() as u64).next_multiple_of(2);
    let member_at = 8 + 60 + index_padded + 60 + names_padded;

    let mut out = b"!<thin>\n".to_vec();
    member(&mut out, "/", index_padded);
    out.extend(1_u32.to_be_bytes());
    let member_at = u32::try_from(member_at);
    out.extend(member_at.map_err(|_| Error::bug("an archive's header is long"))?.to_be_bytes());
    out.extend(symbol.bytes());
    out.push(0);
    if index_padded > index_len {
        out.push(0);
    }
    member(&mut out, "//", names_padded);
    out.extend(names.bytes());
    if !names.len().is_multiple_of(2) {
        out.push(b'\n');
    }
    member(&mut out, "/0", object_len);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_the_same_bytes_as_its_golden_layout() {
        // Offsets computed by hand from the ABI's structures for a payload of 5 bytes.
        let frame = frame(Machine::X86_64, "s", 5).unwrap();
        assert_eq!(frame.head.len(), 4096);
        assert_eq!(&frame.head[..20], b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x01\0\x3e\0");
        let sections_at = u64::from_le_bytes(frame.head[40..48].try_into().unwrap());
        // 4096 + 5, padded to 4104; 48 of symbols; 3 of names; 1 + 21 + 8 + 8 + 10 + 16 of names.
        assert_eq!(sections_at, (4104_u64 + 48 + 3 + 64).next_multiple_of(8));
        let total = 4096 + 5 + frame.tail.len() as u64;
        assert_eq!(total, sections_at + 6 * 64);
    }

    #[test]
    fn a_length_that_overflows_is_an_error() {
        assert!(frame(Machine::Aarch64, "s", u64::MAX - 10).is_none());
    }
}
