//! Pickles and archives made by hand, for files that lie.

/// A pickle of protocol 2, opcode by opcode.
#[derive(Clone, Default)]
pub struct Pickle(pub Vec<u8>);

impl Pickle {
    /// Starts a pickle.
    pub fn new() -> Self {
        Self(vec![0x80, 2])
    }
    /// Appends opcodes as they are.
    #[must_use]
    pub fn raw(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.extend_from_slice(bytes.as_ref());
        self
    }
    /// A string.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        let len = u32::try_from(text.len()).unwrap();
        self.raw(b"X").raw(len.to_le_bytes()).raw(text)
    }
    /// An integer of 64 bits.
    #[must_use]
    pub fn int(self, n: i64) -> Self {
        self.raw([0x8a, 8]).raw(n.to_le_bytes())
    }
    /// A tuple of integers.
    #[must_use]
    pub fn ints(self, items: &[i64]) -> Self {
        items.iter().fold(self.raw(b"("), |out, n| out.int(*n)).raw(b"t")
    }
    /// A class or function.
    #[must_use]
    pub fn global(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n"))
    }
    /// A reference to a storage of `f32`.
    #[must_use]
    pub fn storage(self, key: &str, count: i64) -> Self {
        let id = self.raw(b"(").text("storage").global("torch", "FloatStorage").text(key);
        id.text("cpu").int(count).raw(b"tQ")
    }
    /// A tensor of `f32` in storage `0` of `count` elements.
    #[must_use]
    pub fn tensor(self, count: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Self {
        let call = self.global("torch._utils", "_rebuild_tensor_v2").raw(b"(").storage("0", count);
        call.int(offset).ints(shape).ints(strides).raw([0x89]).raw(b"NtR")
    }
    /// A tensor of one element.
    #[must_use]
    pub fn one(self) -> Self {
        self.tensor(4, 0, &[1], &[1])
    }
    /// Ends the pickle.
    pub fn end(self) -> Vec<u8> {
        self.raw(b".").0
    }
}

/// An archive of stored entries: names and contents.
pub fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for (name, data) in entries {
        let header = u32::try_from(out.len()).unwrap();
        let len = u32::try_from(data.len()).unwrap().to_le_bytes();
        let short = u16::try_from(name.len()).unwrap().to_le_bytes();
        out.extend_from_slice(b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0");
        out.extend([len, len].concat());
        out.extend(short);
        out.extend([0; 2]);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(data);
        directory.extend_from_slice(b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0\0\0\0\0");
        directory.extend([len, len].concat());
        directory.extend(short);
        directory.extend([0; 12]);
        directory.extend(header.to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
    }
    let count = u16::try_from(entries.len()).unwrap().to_le_bytes();
    let (len, at) = (directory.len(), out.len());
    out.extend(directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    out.extend([count, count].concat());
    out.extend(u32::try_from(len).unwrap().to_le_bytes());
    out.extend(u32::try_from(at).unwrap().to_le_bytes());
    out.extend([0; 2]);
    out
}

/// A file of a pickle and a storage `0` of 4 elements of 4 bytes.
pub fn file(pickle: &[u8]) -> Vec<u8> {
    archive(&[("archive/data.pkl", pickle), ("archive/data/0", &[7; 16])])
}

/// The stream before archives: its first three pickles.
pub fn stream_head() -> Vec<u8> {
    let mut out = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    out.extend_from_slice(b"\x80\x02M\xe9\x03.\x80\x02}.");
    out
}

/// The stream before archives, with a list of storages and what follows it.
pub fn stream(pickle: &[u8], keys: &[&str], rest: &[u8]) -> Vec<u8> {
    let mut out = stream_head();
    out.extend_from_slice(pickle);
    let list = keys.iter().fold(Pickle::new().raw(b"]("), |out, key| out.text(key));
    out.extend(list.raw(b"e").end());
    out.extend_from_slice(rest);
    out
}
