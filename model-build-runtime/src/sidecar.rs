//! Artifacts beside the executable: found, checked, mapped once for the life of the process.
//!
//! The program carries each file's length and BLAKE3. The length is always compared; the digest
//! before the first use unless [`Check::Length`] is asked for.

#[cfg(feature = "sidecar")]
use std::path::PathBuf;
#[cfg(feature = "sidecar")]
use std::sync::OnceLock;

use crate::error::{Error, ErrorKind};

/// How carefully a file beside the executable is compared with the one the program was built with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// Length and BLAKE3: reads the whole file once (about 3 GB/s from the page cache).
    #[default]
    Digest,
    /// Length only: nothing is read before it is used.
    Length,
}

/// A file beside the executable.
#[doc(hidden)]
#[cfg_attr(not(feature = "sidecar"), allow(dead_code))]
pub struct Sidecar {
    name: &'static str,
    len: u64,
    digest: &'static str,
    /// Where the build left it, relative to the folder of a profile: `build/NAME-HASH/out/…`.
    built: &'static str,
    #[cfg(feature = "sidecar")]
    mapped: OnceLock<&'static [u8]>,
    #[cfg(feature = "sidecar")]
    checked: OnceLock<()>,
}

impl Sidecar {
    /// A file by its name, length, digest and the place the build left it.
    pub const fn new(
        name: &'static str,
        len: u64,
        digest: &'static str,
        built: &'static str,
    ) -> Self {
        Self {
            name,
            len,
            digest,
            built,
            #[cfg(feature = "sidecar")]
            mapped: OnceLock::new(),
            #[cfg(feature = "sidecar")]
            checked: OnceLock::new(),
        }
    }

    #[cfg(not(feature = "sidecar"))]
    #[allow(clippy::unused_self)] // the same signature as with the feature
    pub(crate) fn bytes(&'static self, _: Check) -> Result<&'static [u8], Error> {
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("`{}` stands beside the executable", self.name),
        )
        .hint("enable the feature `sidecar` of model-build-runtime"))
    }

    #[cfg(feature = "sidecar")]
    pub(crate) fn bytes(&'static self, check: Check) -> Result<&'static [u8], Error> {
        let bytes = match self.mapped.get() {
            Some(bytes) => *bytes,
            None => {
                let found = self.map()?;
                self.mapped.get_or_init(|| found)
            }
        };
        if check == Check::Digest && self.checked.get().is_none() {
            let found = blake3::hash(bytes).to_hex();
            if found.as_str() != self.digest {
                return Err(Error::new(
                    ErrorKind::Artifact,
                    format!(
                        "`{}` is not the file this program was built with: its BLAKE3 is {found}, \
                         {} was wanted",
                        self.name, self.digest
                    ),
                )
                .hint("ship the file of the same build as the executable"));
            }
            let _ = self.checked.set(());
        }
        Ok(bytes)
    }

    /// Every place the file may stand, the first that exists wins.
    #[cfg(feature = "sidecar")]
    #[allow(clippy::disallowed_methods)] // the one place of this crate that reads this variable
    fn places(&self) -> Vec<PathBuf> {
        let mut places = Vec::new();
        if let Some(dir) = std::env::var_os("MODEL_BUILD_SIDECAR_DIR").filter(|v| !v.is_empty()) {
            places.push(PathBuf::from(dir).join(self.name));
        }
        if let Ok(exe) = std::env::current_exe() {
            // target/PROFILE/app, and target/PROFILE/{examples,deps}/app.
            let folders = exe.ancestors().skip(1).take(2);
            places.extend(exe.parent().map(|dir| dir.join(self.name)));
            places.extend(folders.map(|dir| dir.join(self.built)));
        }
        places
    }

    #[cfg(feature = "sidecar")]
    fn map(&self) -> Result<&'static [u8], Error> {
        let places = self.places();
        let Some(path) = places.iter().find(|p| p.is_file()) else {
            let looked: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
            return Err(Error::new(
                ErrorKind::Artifact,
                format!("`{}` was not found; looked at {}", self.name, looked.join(", ")),
            )
            .hint("put the file next to the executable, or name its folder in MODEL_BUILD_SIDECAR_DIR"));
        };
        let failed = |e: std::io::Error| {
            Error::new(ErrorKind::Artifact, format!("cannot map {}", path.display())).caused_by(e)
        };
        #[allow(clippy::disallowed_methods)] // the one file this crate opens
        let file = std::fs::File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        if len != self.len {
            return Err(Error::new(
                ErrorKind::Artifact,
                format!(
                    "{} is not the file this program was built with: it has {len} bytes, {} were \
                     wanted",
                    path.display(),
                    self.len
                ),
            )
            .hint("ship the file of the same build as the executable"));
        }
        if len == 0 {
            return Ok(&[]);
        }
        #[allow(unsafe_code)]
        // SAFETY: a mapped file that another process changes or truncates breaks the promise of
        // `&[u8]`, as in every program that maps its data. The file is a part of the program, like
        // a shared library; README tells whoever ships it to replace it by rename only.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(failed)?;
        // Mapped once per process and file, and used until its end.
        Ok(Box::leak(Box::new(map)))
    }
}
