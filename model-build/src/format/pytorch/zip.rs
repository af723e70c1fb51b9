//! Zip archives as PyTorch writes them: stored entries as slices of the map, zip64, no unpacking.
//!
//! The central directory is believed only where the local headers agree, entries lie apart from
//! each other, and every name is a path inside the archive (with any colons: the archive's folder is
//! named after the file it was saved to). Checksums are not looked at: PyTorch
//! can be told to leave them out.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::bytes::Cursor;
use crate::error::{Error, Result};
use crate::source;

/// What an archive starts with.
pub(super) const MAGIC: &[u8] = b"PK\x03\x04";

const END: u32 = 0x0605_4b50;
const END64: u32 = 0x0606_4b50;
const LOCATOR64: u32 = 0x0706_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;

/// A field whose value stands in the zip64 extra field instead.
const ELSEWHERE: u32 = u32::MAX;

/// The most entries that are read.
const ENTRIES: u64 = 1 << 18;

const TRUNCATED: &str = "the file is truncated or damaged: fetch it again";

/// Where an entry's bytes are.
#[derive(Debug)]
struct Entry {
    stored: bool,
    header: u64,
    from: u64,
    to: u64,
}

/// An archive whose directory was read.
#[derive(Debug)]
pub(crate) struct Archive<'a> {
    data: &'a Bytes,
    entries: BTreeMap<&'a str, Entry>,
}

/// Where the central directory is, and how many entries it has.
struct Directory {
    at: u64,
    len: u64,
    count: u64,
}

fn u16_at(cursor: &mut Cursor<'_>) -> Result<u16> {
    Ok(u16::from_le_bytes(cursor.array()?))
}

/// The bytes from an offset on.
fn from(data: &[u8], at: u64) -> Result<&[u8]> {
    usize::try_from(at).ok().and_then(|at| data.get(at..)).ok_or_else(|| {
        Error::malformed(format!("offset {at} of an archive of {} bytes", data.len()))
            .hint(TRUNCATED)
    })
}

/// Finds the record that ends the archive: its comment reaches to the end of the file.
fn find_end(data: &[u8]) -> Result<u64> {
    let last = data.len().checked_sub(22);
    let last = last.ok_or_else(|| Error::malformed("too short for an archive").hint(TRUNCATED))?;
    for at in (last.saturating_sub(usize::from(u16::MAX))..=last).rev() {
        let mut cursor = Cursor::new(data.get(at..).unwrap_or_default());
        if cursor.u32()? != END {
            continue;
        }
        cursor.take(16)?;
        if usize::from(u16_at(&mut cursor)?) == cursor.rest().len() {
            return Ok(at as u64);
        }
    }
    Err(Error::malformed("the archive has no directory at its end").hint(TRUNCATED))
}

fn directory(data: &[u8]) -> Result<Directory> {
    let end = find_end(data)?;
    let mut cursor = Cursor::new(from(data, end)?);
    cursor.take(4)?;
    let disks = (u16_at(&mut cursor)?, u16_at(&mut cursor)?);
    let here = u16_at(&mut cursor)?;
    let count = u16_at(&mut cursor)?;
    let (len, at) = (cursor.u32()?, cursor.u32()?);
    if disks != (0, 0) || here != count {
        return Err(Error::unsupported("an archive in several parts"));
    }
    let mut found = Directory { at: at.into(), len: len.into(), count: count.into() };
    if count == u16::MAX || len == ELSEWHERE || at == ELSEWHERE {
        found = directory64(data, end)?;
    }
    let after = found.at.checked_add(found.len);
    if after.is_none_or(|after| after > end) {
        return Err(
            Error::malformed("the archive's directory reaches past its end").hint(TRUNCATED)
        );
    }
    if found.count > ENTRIES {
        return Err(Error::unsupported(format!(
            "an archive of {} entries, and {ENTRIES} are the most that are read",
            found.count
        )));
    }
    Ok(found)
}

fn directory64(data: &[u8], end: u64) -> Result<Directory> {
    let lies = || Error::malformed("the archive's zip64 records contradict each other");
    let mut cursor = Cursor::new(from(data, end.checked_sub(20).ok_or_else(lies)?)?);
    if cursor.u32()? != LOCATOR64 {
        return Err(lies());
    }
    cursor.take(4)?;
    let at = cursor.u64()?;
    if at.checked_add(56 + 20).is_none_or(|after| after > end) {
        return Err(lies());
    }
    let mut cursor = Cursor::new(from(data, at)?);
    if cursor.u32()? != END64 {
        return Err(lies());
    }
    cursor.take(8 + 2 + 2)?;
    let disks = (cursor.u32()?, cursor.u32()?);
    let (here, count) = (cursor.u64()?, cursor.u64()?);
    let (len, start) = (cursor.u64()?, cursor.u64()?);
    if disks != (0, 0) || here != count || start.checked_add(len).is_none_or(|after| after > at) {
        return Err(lies());
    }
    Ok(Directory { at: start, len, count })
}

/// What the central directory says of an entry.
struct Record<'a> {
    name: &'a str,
    flags: u16,
    method: u16,
    packed: u64,
    header: u64,
}

fn record<'a>(cursor: &mut Cursor<'a>) -> Result<Record<'a>> {
    if cursor.u32()? != CENTRAL {
        return Err(Error::malformed("the archive's directory has an entry that is none"));
    }
    cursor.take(4)?;
    let (flags, method) = (u16_at(cursor)?, u16_at(cursor)?);
    cursor.take(8)?;
    let (packed, len) = (cursor.u32()?, cursor.u32()?);
    let name_len = u16_at(cursor)?;
    let (extra_len, comment_len) = (u16_at(cursor)?, u16_at(cursor)?);
    cursor.take(8)?;
    let header = cursor.u32()?;
    let name = cursor.take(name_len.into())?;
    let name =
        std::str::from_utf8(name).ok().filter(|name| source::is_inside(name)).ok_or_else(|| {
            let name = String::from_utf8_lossy(name);
            Error::malformed(format!("`{}` as the name of an entry", name.escape_debug()))
        })?;
    let at = |e: Error| e.item(format!("entry `{name}`"));
    let extra = cursor.take(extra_len.into())?;
    cursor.take(comment_len.into())?;
    let mut sizes = [(len, 0), (packed, 0), (header, 0)];
    zip64(extra, &mut sizes).map_err(at)?;
    let [(_, len), (_, packed), (_, header)] = sizes;
    if flags & 1 != 0 {
        return Err(at(Error::unsupported("an encrypted entry")));
    }
    if method == 0 && len != packed {
        return Err(at(Error::malformed(format!(
            "{packed} bytes in the archive that are said to be {len} outside of it"
        ))));
    }
    Ok(Record { name, flags, method, packed, header })
}

/// Widens fields, taking those that stand elsewhere from the zip64 extra field.
fn zip64(extra: &[u8], fields: &mut [(u32, u64)]) -> Result<()> {
    let mut wide = Cursor::new(&[]);
    let mut cursor = Cursor::new(extra);
    while cursor.rest().len() >= 4 {
        let (id, len) = (u16_at(&mut cursor)?, u16_at(&mut cursor)?);
        let body = cursor.take(len.into())?;
        if id == 1 {
            wide = Cursor::new(body);
        }
    }
    for (narrow, value) in fields {
        *value = match *narrow {
            ELSEWHERE => {
                wide.u64().map_err(|_| Error::malformed("a size that the zip64 field lacks"))?
            }
            narrow => narrow.into(),
        };
    }
    Ok(())
}

/// Checks an entry's own header against the directory; the entry's place.
fn locate(data: &[u8], record: &Record<'_>, end: u64) -> Result<Entry> {
    let mut cursor = Cursor::new(from(data, record.header)?);
    let differs = || Error::malformed("the entry's own header is not what the directory says");
    if cursor.u32()? != LOCAL {
        return Err(differs());
    }
    cursor.take(2)?;
    let (flags, method) = (u16_at(&mut cursor)?, u16_at(&mut cursor)?);
    cursor.take(8)?;
    let packed = cursor.u32()?;
    cursor.take(4)?;
    let (name_len, extra_len) = (u16_at(&mut cursor)?, u16_at(&mut cursor)?);
    let name = cursor.take(name_len.into())?;
    cursor.take(extra_len.into())?;
    // With bit 3 the sizes follow the data, and the header may have none.
    let sized = flags & 8 == 0 && packed != ELSEWHERE;
    if name != record.name.as_bytes()
        || method != record.method
        || flags & 8 != record.flags & 8
        || (sized && u64::from(packed) != record.packed)
    {
        return Err(differs());
    }
    let start = record.header.saturating_add(cursor.position());
    let after = start.checked_add(record.packed).filter(|after| *after <= end);
    let after = after.ok_or_else(|| {
        Error::malformed(format!(
            "its {} bytes from {start} on reach past the end of the archive's data at {end}",
            record.packed
        ))
        .hint(TRUNCATED)
    })?;
    Ok(Entry { stored: record.method == 0, header: record.header, from: start, to: after })
}

impl<'a> Archive<'a> {
    /// Reads the directory of an archive.
    pub(crate) fn read(data: &'a Bytes) -> Result<Self> {
        let directory = directory(data)?;
        let mut cursor = Cursor::new(from(data, directory.at)?);
        let listing = cursor.take(directory.len)?;
        let mut cursor = Cursor::new(listing);
        let mut entries = BTreeMap::new();
        for _ in 0..directory.count {
            let record = record(&mut cursor)?;
            let at = |e: Error| e.item(format!("entry `{}`", record.name));
            let entry = locate(data, &record, directory.at).map_err(at)?;
            if entries.insert(record.name, entry).is_some() {
                return Err(at(Error::malformed("two entries of the same name")));
            }
        }
        let archive = Self { data, entries };
        archive.lie_apart()?;
        Ok(archive)
    }

    fn lie_apart(&self) -> Result<()> {
        let mut places: Vec<_> =
            self.entries.iter().map(|(name, e)| (e.header, e.to, *name)).collect();
        places.sort_unstable();
        for pair in places.windows(2) {
            if let [(_, end, first), (start, _, second)] = pair
                && end > start
            {
                return Err(Error::malformed(format!(
                    "the entries `{first}` and `{second}` overlap"
                )));
            }
        }
        Ok(())
    }

    /// The names, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.entries.keys().copied()
    }

    /// The bytes of an entry.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Bytes>> {
        let Some(entry) = self.entries.get(name) else { return Ok(None) };
        if !entry.stored {
            return Err(Error::unsupported("the entry is compressed; PyTorch stores them as they are")
                .item(format!("entry `{name}`"))
                .hint("somebody packed the file anew: unpack it and pack it with `zip -0`, or take the original"));
        }
        let range = usize::try_from(entry.from).ok().zip(usize::try_from(entry.to).ok());
        let (from, to) = range.ok_or_else(|| Error::bug("an entry past the end"))?;
        Ok(Some(self.data.slice(from..to)))
    }
}
