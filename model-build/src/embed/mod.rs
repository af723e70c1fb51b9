//! Embedding: from finished artifacts to what a crate links and includes.
//!
//! A payload reaches the binary by the cheapest way that its size and the platform allow:
//!
//! | size | way |
//! |---|---|
//! | up to 8 MiB | `include_bytes!`, aligned |
//! | above, ELF on x86-64 and AArch64 | an object file in a thin archive ([`elf`]) |
//! | above, elsewhere | `.incbin` in assembly |
//! | above 1 GiB, or `embed = "file"` | a file beside the executable, mapped when it is loaded |
//!
//! WebAssembly has no `.incbin` and no files: there every size is `include_bytes!`.
//! The generated text names payloads and never holds them.

pub mod elf;
mod name;
mod text;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::env;
use crate::error::{Error, Result};
use crate::fsx;
use crate::record::Info;

/// Payloads up to this many bytes are `include_bytes!`: above it the compiler's time and memory
/// (12 to 14 bytes per byte) count.
pub const INCLUDE_LIMIT: u64 = 8 << 20;
/// Payloads above this many bytes stand beside the executable unless `embed = "binary"`.
pub const BINARY_LIMIT: u64 = 1 << 30;

/// How a skeleton calls the artifact's main file. rten takes external data of files in `.data` only.
pub const SKELETON_LOCATION: &str = "artifact.data";

/// How an artifact gets into the binary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// By size and platform.
    #[default]
    Auto,
    /// In the binary.
    Binary,
    /// Beside the binary, mapped at run time, its digest in the binary.
    File,
}

/// An artifact to embed.
#[derive(Clone, Debug)]
pub struct Item<'a> {
    /// The model's name in the manifest.
    pub model: &'a str,
    /// The target's name in the manifest.
    pub target: &'a str,
    /// The format's name.
    pub format: &'a str,
    /// How it gets into the binary.
    pub mode: Mode,
    /// Its files, the main one first.
    pub files: Vec<File>,
    /// Its inputs, outputs and facts.
    pub info: &'a Info,
    /// Further facts, which win over those of `info`: source digest, recipe, tool version …
    pub metadata: Vec<(String, String)>,
    /// For ONNX: a small protobuf whose initializers are external data in the artifact's own main
    /// file, located at [`SKELETON_LOCATION`], so that a backend borrows the weights. `None` where
    /// the main file is such a protobuf itself, with weights in the other files.
    pub skeleton: Option<Vec<u8>>,
}

/// A file of an artifact.
#[derive(Clone, Debug)]
pub struct File {
    /// Its name within the artifact; external data is located by it.
    pub name: String,
    /// Where it stands.
    pub path: PathBuf,
    /// Length in bytes.
    pub len: u64,
    /// BLAKE3 of the bytes, hex.
    pub digest: String,
}

/// The platform that is built for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// `CARGO_CFG_TARGET_OS`.
    pub os: String,
    /// `CARGO_CFG_TARGET_ARCH`.
    pub arch: String,
    /// `CARGO_CFG_TARGET_POINTER_WIDTH`.
    pub pointer_width: u32,
    /// `CARGO_CFG_TARGET_ENDIAN` is `little`.
    pub little_endian: bool,
}

/// The format of a platform's object files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ObjectFormat {
    Elf,
    MachO,
    Coff,
    /// No assembler that takes `.incbin`.
    Other,
}

impl Platform {
    /// The platform that cargo tells a build script of.
    pub fn from_cargo() -> Result<Self> {
        let var = |name: &str| {
            env::var(name).ok_or_else(|| {
                Error::bug(format!("{name} is not set"))
                    .hint("call this from a build script that cargo runs")
            })
        };
        let width = var("CARGO_CFG_TARGET_POINTER_WIDTH")?;
        Ok(Self {
            os: var("CARGO_CFG_TARGET_OS")?,
            arch: var("CARGO_CFG_TARGET_ARCH")?,
            pointer_width: width
                .parse()
                .map_err(|_| Error::bug(format!("a pointer width of `{width}` bits")))?,
            little_endian: var("CARGO_CFG_TARGET_ENDIAN")? == "little",
        })
    }

    fn object_format(&self) -> ObjectFormat {
        match (self.os.as_str(), self.arch.as_str()) {
            (_, "wasm32" | "wasm64") | ("aix", _) => ObjectFormat::Other,
            ("macos" | "ios" | "tvos" | "watchos" | "visionos", _) => ObjectFormat::MachO,
            ("windows" | "uefi" | "cygwin", _) => ObjectFormat::Coff,
            _ => ObjectFormat::Elf,
        }
    }

    /// The machine of object files that we write. Other systems' linkers know no thin archives.
    fn machine(&self) -> Option<elf::Machine> {
        let known = matches!(self.os.as_str(), "linux" | "android" | "freebsd");
        if !known || self.pointer_width != 64 || !self.little_endian {
            return None;
        }
        match self.arch.as_str() {
            "x86_64" => Some(elf::Machine::X86_64),
            "aarch64" => Some(elf::Machine::Aarch64),
            _ => None,
        }
    }
}

/// The way a payload takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tier {
    Include,
    Object(elf::Machine),
    Assembly(ObjectFormat),
    Sidecar,
}

fn tier(mode: Mode, len: u64, platform: &Platform) -> Tier {
    let format = platform.object_format();
    // WebAssembly and AIX: no way but one; a sidecar asked for is refused by `generate`.
    let beside = match mode {
        Mode::File => true,
        Mode::Auto => len > BINARY_LIMIT && format != ObjectFormat::Other,
        Mode::Binary => false,
    };
    if beside {
        Tier::Sidecar
    } else if len <= INCLUDE_LIMIT || format == ObjectFormat::Other {
        Tier::Include
    } else if let Some(machine) = platform.machine() {
        Tier::Object(machine)
    } else {
        Tier::Assembly(format)
    }
}

/// A line for cargo. `Display` gives its text; printing is the front's.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Directive {
    /// A folder that native libraries are looked for in.
    LinkSearch(PathBuf),
}

impl fmt::Display for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinkSearch(dir) => {
                write!(f, "cargo::rustc-link-search=native={}", dir.display())
            }
        }
    }
}

/// Writes the loaders of artifacts to `OUT_DIR/model_build/`, and object files where they are the
/// way into the binary. Files of earlier runs that nothing names any more are removed; files that
/// would hold the same bytes are left alone.
///
/// For each artifact there is `MODEL.TARGET.rs`, and for a model with one target `MODEL.rs`;
/// `index.tsv` lists them for `include_model!`. Files to be shipped beside the executable are in
/// `sidecars/`, each as `MODEL.TARGET.ENDING` with its digest in a `.blake3` file.
///
/// # Errors
/// [`Io`](crate::ErrorKind::Io); [`Unsupported`](crate::ErrorKind::Unsupported) for
/// `embed = "file"` where a program has no files.
pub fn generate(out_dir: &Path, items: &[Item<'_>], platform: &Platform) -> Result<Vec<Directive>> {
    Generator::new(out_dir, Some(platform))?.run(items)
}

/// As [`generate`], for documentation: the same types, and no payload. Files need not exist.
pub fn generate_stub(out_dir: &Path, items: &[Item<'_>]) -> Result<()> {
    Generator::new(out_dir, None)?.run(items).map(drop)
}

struct Generator<'a> {
    out_dir: &'a Path,
    /// Where the text goes.
    dir: PathBuf,
    /// Where the object files go.
    objects: PathBuf,
    /// Where the files to ship beside the executable go.
    sidecars: PathBuf,
    /// `None` makes stubs.
    platform: Option<&'a Platform>,
    written: Vec<PathBuf>,
    /// Whether anything is in `objects`.
    links: bool,
}

impl<'a> Generator<'a> {
    fn new(out_dir: &'a Path, platform: Option<&'a Platform>) -> Result<Self> {
        let dir = out_dir.join("model_build");
        let (objects, sidecars) = (dir.join("objects"), dir.join("sidecars"));
        fsx::create_dir_all(&objects)?;
        fsx::create_dir_all(&sidecars)?;
        Ok(Self { out_dir, dir, objects, sidecars, platform, written: Vec::new(), links: false })
    }

    fn run(mut self, items: &[Item<'_>]) -> Result<Vec<Directive>> {
        let mut items = items.iter().collect::<Vec<_>>();
        items.sort_by_key(|item| (item.model, item.target));
        let mut index = String::new();
        for item in &items {
            self.item(item, &items).map_err(|e| e.target(item.model, item.target))?;
            index.push_str(&format!("{}\t{}\n", item.model, item.target));
        }
        self.write("index.tsv", index.as_bytes())?;
        self.sweep()?;
        Ok(self.links.then_some(Directive::LinkSearch(self.objects)).into_iter().collect())
    }

    fn item(&mut self, item: &Item<'_>, all: &[&Item<'_>]) -> Result<()> {
        let stem = format!("{}.{}", item.model, item.target);
        let skeleton = match &item.skeleton {
            Some(bytes) if self.platform.is_some() => {
                let name = format!("{stem}.skeleton");
                self.write(&name, bytes)?;
                Some(name)
            }
            _ => None,
        };
        let files = item.files.iter().map(|f| self.file(item, f)).collect::<Result<Vec<_>>>()?;
        let text = |name: &[&str]| text::loader(item, name, &files, skeleton.as_deref());
        self.write(&format!("{stem}.rs"), text(&[item.model, item.target]).as_bytes())?;
        if all.iter().filter(|other| other.model == item.model).count() == 1 {
            self.write(&format!("{}.rs", item.model), text(&[item.model]).as_bytes())?;
        }
        Ok(())
    }

    /// Prepares a file's way into the program; gives its place.
    fn file(&mut self, item: &Item<'_>, file: &File) -> Result<text::Payload> {
        let Some(platform) = self.platform else {
            return Ok(text::STUB.to_owned().into());
        };
        // Bytes are equal where digests are, so that one symbol serves every crate that embeds them.
        let id = file.digest.get(..32).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let id = id.ok_or_else(|| Error::bug(format!("`{}` is no digest", file.digest)))?;
        let symbol = format!("model_build_{id}");
        match tier(item.mode, file.len, platform) {
            Tier::Include => Ok(text::include(&self.named(&file.path)?)),
            Tier::Object(machine) => {
                self.object(machine, &symbol, file)?;
                Ok(text::linked(&symbol, file.len))
            }
            Tier::Assembly(format) => text::assembled(format, platform, &symbol, file),
            Tier::Sidecar if platform.object_format() == ObjectFormat::Other => {
                Err(Error::unsupported(format!(
                    "a program for {}-{} has no files beside it",
                    platform.arch, platform.os
                ))
                .hint("use `embed = \"binary\"` for this platform"))
            }
            Tier::Sidecar => self.sidecar(item, file),
        }
    }

    fn object(&mut self, machine: elf::Machine, symbol: &str, file: &File) -> Result<()> {
        let object = self.objects.join(format!("{symbol}.o"));
        elf::write_object(machine, symbol, &file.path, file.len, &object)?;
        let len = fsx::stat(&object)?.len;
        let archive = self.objects.join(format!("lib{symbol}.a"));
        fsx::write_atomic(&archive, &elf::thin_archive(&format!("{symbol}.o"), len, symbol)?)?;
        self.written.extend([object, archive]);
        // The text itself names the library: cargo would link it to the package's library only.
        self.links = true;
        Ok(())
    }

    /// A path as the generated text names it: relative to itself where it is below `OUT_DIR`.
    fn named(&self, path: &Path) -> Result<String> {
        let Some(below) = below(path, self.out_dir) else {
            let text = path.to_str().filter(|_| path.is_absolute()).map(str::to_owned);
            return text
                .ok_or_else(|| Error::unsupported("is no absolute path in Unicode").file(path));
        };
        Ok(match below.strip_prefix("model_build/") {
            Some(beside) => beside.to_owned(),
            None => format!("../{below}"),
        })
    }

    /// Puts a file to be shipped beside the executable into a folder of such files, under a name
    /// that no other artifact's has.
    fn sidecar(&mut self, item: &Item<'_>, file: &File) -> Result<text::Payload> {
        let ending = file.name.strip_prefix("model.").unwrap_or(&file.name);
        let name = format!("{}.{}.{ending}", item.model, item.target);
        let (path, stamp) =
            (self.sidecars.join(&name), self.sidecars.join(format!("{name}.blake3")));
        let there = fsx::stat_if_exists(&path)?.is_some_and(|s| s.len == file.len);
        if !there || !fsx::read_text(&stamp, 1 << 10).is_ok_and(|digest| digest == file.digest) {
            fsx::remove_file(&stamp)?;
            fsx::link_or_copy(&file.path, &path)?;
            fsx::write_atomic(&stamp, file.digest.as_bytes())?;
        }
        // `build/NAME-HASH/out/…`, relative to the folder of cargo's profile.
        let profile = self.out_dir.ancestors().nth(3).unwrap_or(self.out_dir);
        let built = below(&path, profile)
            .ok_or_else(|| Error::unsupported("is no path in Unicode").file(&path))?;
        self.written.extend([path, stamp]);
        Ok(text::sidecar(&name, file, &built))
    }

    fn write(&mut self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.dir.join(name);
        fsx::write_atomic(&path, content)?;
        self.written.push(path);
        Ok(())
    }

    /// Removes what earlier runs wrote and this one did not.
    fn sweep(&self) -> Result<()> {
        let ours = |path: &Path| {
            let ending = path.extension().and_then(|e| e.to_str());
            matches!(ending, Some("rs" | "skeleton" | "o" | "a"))
        };
        for dir in [&self.dir, &self.objects, &self.sidecars] {
            for path in fsx::list_dir(dir)? {
                let ours = *dir == self.sidecars || ours(&path);
                if ours && !self.written.contains(&path) {
                    fsx::remove_file(&path)?;
                }
            }
        }
        Ok(())
    }
}

/// A path relative to a folder that holds it, with `/`.
fn below(path: &Path, dir: &Path) -> Option<String> {
    let parts = path.strip_prefix(dir).ok()?.components();
    Some(parts.map(|c| c.as_os_str().to_str()).collect::<Option<Vec<_>>>()?.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(os: &str, arch: &str) -> Platform {
        let pointer_width = if arch == "wasm32" || arch == "i686" { 32 } else { 64 };
        Platform { os: os.into(), arch: arch.into(), pointer_width, little_endian: true }
    }

    #[test]
    fn every_platform_and_size_has_its_tier() {
        use Mode::{Auto, Binary, File};
        let big = BINARY_LIMIT + 1;
        let mid = INCLUDE_LIMIT + 1;
        let x86 = elf::Machine::X86_64;
        let arm = elf::Machine::Aarch64;
        for (mode, len, os, arch, want) in [
            (Auto, INCLUDE_LIMIT, "linux", "x86_64", Tier::Include),
            (Auto, mid, "linux", "x86_64", Tier::Object(x86)),
            (Auto, mid, "android", "aarch64", Tier::Object(arm)),
            (Auto, mid, "linux", "riscv64", Tier::Assembly(ObjectFormat::Elf)),
            (Auto, mid, "illumos", "x86_64", Tier::Assembly(ObjectFormat::Elf)),
            (Auto, mid, "macos", "aarch64", Tier::Assembly(ObjectFormat::MachO)),
            (Auto, mid, "windows", "x86_64", Tier::Assembly(ObjectFormat::Coff)),
            (Auto, big, "unknown", "wasm32", Tier::Include),
            (Auto, big, "windows", "x86_64", Tier::Sidecar),
            (Binary, big, "linux", "x86_64", Tier::Object(x86)),
            (File, 1, "linux", "x86_64", Tier::Sidecar),
        ] {
            assert_eq!(tier(mode, len, &platform(os, arch)), want, "{mode:?} {len} {os} {arch}");
        }
    }

    #[test]
    fn directives_are_lines_of_cargo() {
        let search = Directive::LinkSearch("/o".into());
        assert_eq!(search.to_string(), "cargo::rustc-link-search=native=/o");
    }
}
