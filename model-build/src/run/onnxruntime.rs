//! ONNX Runtime, loaded at run time: finding the library, sessions, tensors in and out.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session as OrtSession, SessionInputValue};
use ort::value::{DynValue, Tensor as OrtTensor, TensorElementType, ValueType};

use super::convert::converted;
use super::narrow;
use super::optimized::Level;
use super::runner::{Model, Runner, Scratch, Session, Setup, write};
use crate::error::{Error, Result};
use crate::hub::{DType, Tensor};
use crate::{env, fsx};

/// The oldest ONNX Runtime that can be used is 1.`MINOR`.
const MINOR: u32 = ort::MINOR_VERSION;

/// ONNX Runtime as found on this machine.
#[derive(Clone, Debug)]
pub(super) struct OnnxRuntime {
    path: PathBuf,
    version: String,
}

/// Where the library may be: the named file alone, else beside this program, else in the system.
fn candidates() -> Vec<PathBuf> {
    if let Some(named) = env::path("ORT_DYLIB_PATH") {
        return vec![named];
    }
    let (start, end) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let plain = format!("{start}onnxruntime{end}");
    let mut folders: Vec<PathBuf> = Vec::new();
    if let Some(beside) = std::env::current_exe().ok().and_then(|p| Some(p.parent()?.to_owned())) {
        folders.push(beside);
    }
    let own = folders.len();
    for folder in ["/usr/local/lib", "/usr/lib", "/usr/lib64", "/opt/homebrew/lib"] {
        folders.push(folder.into());
    }
    folders.push(format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH).into());
    let mut found = Vec::new();
    for (i, folder) in folders.iter().enumerate() {
        if i == own {
            found.push(PathBuf::from(&plain)); // the system loader's own search
        }
        let mut here: Vec<PathBuf> = fsx::list_dir(folder).unwrap_or_default();
        here.retain(|p| {
            let name = p.file_name().unwrap_or_default().to_string_lossy();
            let name = name.strip_prefix(start).unwrap_or(&name);
            name.strip_prefix("onnxruntime").is_some_and(|rest| {
                rest == end
                    || rest.starts_with(&format!("{end}."))
                    || (rest.starts_with('.') && rest.ends_with(end))
            })
        });
        here.reverse(); // the newest of several versions, nearly always
        found.extend(here);
    }
    found
}

/// The library that would be tried first, where that is a file and not a name for the system's
/// loader.
pub(super) fn first_file() -> Option<PathBuf> {
    candidates().into_iter().next().filter(|path| path.is_absolute() && fsx::is_file(path))
}

impl OnnxRuntime {
    /// Finds the library; a [`Tool`](crate::ErrorKind::Tool) error says how to get it. Looks once
    /// per process.
    pub(super) fn find() -> Result<Self> {
        static FOUND: OnceLock<std::result::Result<OnnxRuntime, Vec<(PathBuf, String)>>> =
            OnceLock::new();
        let found = FOUND.get_or_init(|| {
            let mut failures = Vec::new();
            for path in candidates() {
                match Self::open(&path) {
                    Ok(found) => return Ok(found),
                    Err(why) => failures.push((path, why)),
                }
            }
            Err(failures)
        });
        found.clone().map_err(|failures| not_found(&failures))
    }

    /// Loads a library and asks for its version; the text says why it cannot be used. The library
    /// stays loaded.
    fn open(path: &Path) -> std::result::Result<Self, String> {
        // SAFETY: loading a library runs its initializers. The file is one that the user named, or
        // that has ONNX Runtime's name in a folder the system loads libraries from.
        let library = unsafe { libloading::Library::new(path) }.map_err(|e| reason(&e))?;
        // SAFETY: `OrtGetApiBase` has had this signature in every release of ONNX Runtime.
        let base = unsafe {
            library.get::<unsafe extern "C" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase\0")
        }
        .map_err(|_| "it is not ONNX Runtime: it has no OrtGetApiBase".to_owned())?;
        // SAFETY: takes nothing and returns a pointer to a static table, or null.
        let base = unsafe { base() };
        // SAFETY: a pointer from OrtGetApiBase is null or points to a table that lives as long as
        // the library.
        let Some(base) = (unsafe { base.as_ref() }) else {
            return Err("its OrtGetApiBase returns nothing".to_owned());
        };
        // SAFETY: takes nothing and returns a static string, or null.
        let version = unsafe { (base.GetVersionString)() };
        if version.is_null() {
            return Err("it does not tell its version".to_owned());
        }
        // SAFETY: not null, and a NUL-terminated string that lives as long as the library.
        let version = unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned();
        if !is_usable(&version) {
            return Err(format!(
                "it is version {version}; 1.{MINOR} or newer (and below 2) is needed"
            ));
        }
        // SAFETY: takes a number and returns a static table, or null for a version it lacks.
        if unsafe { (base.GetApi)(MINOR) }.is_null() {
            return Err(format!(
                "version {version} does not offer version {MINOR} of its interface"
            ));
        }
        std::mem::forget(library);
        Ok(Self { path: path.to_owned(), version })
    }

    fn environment(&self) -> Result<Environment> {
        static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);
        let mut slot = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(environment) = &*slot {
            return Ok(environment.clone());
        }
        let environment = ort::init_from(&self.path)
            .map_err(|e| Error::tool(format!("cannot load ONNX Runtime: {e}")).file(&self.path))?
            .with_name("model-build")
            .with_telemetry(false)
            .build()
            .map_err(|e| Error::tool(format!("cannot start ONNX Runtime: {e}")).file(&self.path))?;
        environment.set_log_level(LogLevel::Error);
        *slot = Some(environment.clone());
        Ok(environment)
    }
}

impl OnnxRuntime {
    /// Writes a model as this library would run it at a level. Large weights lie beside it.
    pub(super) fn save_optimized(&self, model: &Model, level: Level, to: &Path) -> Result<()> {
        let environment = self.environment()?;
        let optimize = match level {
            Level::Basic => GraphOptimizationLevel::Level1,
            Level::Extended => GraphOptimizationLevel::Level2,
            Level::All => GraphOptimizationLevel::All,
        };
        let build = || -> ort::Result<OrtSession> {
            OrtSession::builder(&environment)?
                .with_optimization_level(optimize)?
                .with_intra_threads(1)?
                .with_inter_threads(1)?
                .with_log_level(LogLevel::Error)?
                .with_config_entry(
                    "session.optimized_model_external_initializers_file_name",
                    "optimized.onnx.data",
                )?
                .with_optimized_model_path(to)?
                .commit_from_file(&model.path)
        };
        build().map(drop).map_err(|e| failed("optimize the model", &e))
    }
}

/// What the system says of a library that does not load.
fn reason(error: &libloading::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Whether a version offers the interface that is used here.
fn is_usable(version: &str) -> bool {
    let mut numbers = version.split('.').map_while(|n| n.parse::<u32>().ok());
    matches!((numbers.next(), numbers.next()), (Some(1), Some(minor)) if minor >= MINOR)
}

/// What to do where the library is missing.
const HOW_TO_GET: &str = "set ORT_DYLIB_PATH to its library (libonnxruntime.so.1.x, libonnxruntime.1.x.dylib or onnxruntime.dll): it is in the archives of github.com/microsoft/onnxruntime/releases, and in the PyPI package `onnxruntime` under onnxruntime/capi";

fn not_found(failures: &[(PathBuf, String)]) -> Error {
    // A bare name that the system does not know, or files that are no libraries, are no news.
    let broken = failures.iter().rfind(|(path, _)| fsx::is_file(path));
    let named = env::path("ORT_DYLIB_PATH").is_some();
    let error = match (failures.first(), broken) {
        (Some((path, why)), _) if named => {
            Error::tool(format!("the ONNX Runtime that ORT_DYLIB_PATH names cannot be used: {why}"))
                .file(path)
        }
        (_, Some((path, why))) => {
            Error::tool(format!("the ONNX Runtime of this machine cannot be used: {why}"))
                .file(path)
        }
        _ => Error::tool("ONNX Runtime is not installed"),
    };
    error.hint(HOW_TO_GET)
}

fn failed(doing: &str, error: &ort::Error) -> Error {
    // ONNX Runtime's messages may hold several lines; the first says what, the rest where.
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    let mut out = Error::tool(format!(
        "ONNX Runtime cannot {doing}: {}",
        lines.next().unwrap_or("it does not say why")
    ));
    for line in lines.take(3) {
        out = out.hint(line);
    }
    out
}

impl Runner for OnnxRuntime {
    fn name(&self) -> String {
        format!("onnxruntime {}", self.version)
    }
    fn level(&self, setup: &Setup) -> String {
        if setup.optimize { "all graph optimizations" } else { "no graph optimizations" }.to_owned()
    }
    fn load(&self, model: &Model, setup: &Setup) -> Result<Box<dyn Session>> {
        let environment = self.environment()?;
        let emulated = narrow::dtypes(&model.graph)?.values().any(|d| *d == DType::BF16);
        let (scratch, path) = if emulated {
            let scratch = Scratch::beside(&model.path)?;
            let (path, _) = write(&narrow::widened(&model.graph, DType::BF16, true)?, &scratch)?;
            (Some(scratch), path)
        } else {
            (None, model.path.clone())
        };
        // A fusion would skip the rounding between its parts.
        let optimize = if emulated || !setup.optimize {
            GraphOptimizationLevel::Disable
        } else {
            GraphOptimizationLevel::All
        };
        let build = || -> ort::Result<OrtSession> {
            OrtSession::builder(&environment)?
                .with_optimization_level(optimize)?
                .with_intra_threads(setup.threads)?
                .with_inter_threads(1)?
                .with_deterministic_compute(true)?
                .with_log_level(LogLevel::Error)?
                .commit_from_file(&path)
        };
        let session = build().map_err(|e| failed("load the model", &e).file(&model.path))?;
        Ok(Box::new(Loaded { session, emulated, _scratch: scratch }))
    }
}

struct Loaded {
    session: OrtSession,
    emulated: bool,
    /// Outlives the session, which may have mapped files in it.
    _scratch: Option<Scratch>,
}

impl Loaded {
    fn values<'i>(&self, inputs: &'i BTreeMap<String, Tensor>) -> Result<Vec<(&'i str, DynValue)>> {
        let mut values = Vec::new();
        for (name, tensor) in inputs {
            let wide;
            let tensor = if self.emulated && tensor.dtype() == DType::BF16 {
                wide = converted(tensor, DType::F32)?;
                &wide
            } else {
                tensor
            };
            let value = to_ort(tensor).map_err(|e| e.item(format!("input `{name}`")))?;
            values.push((name.as_str(), value));
        }
        Ok(values)
    }
}

impl Session for Loaded {
    fn run(&mut self, inputs: &BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Tensor>> {
        // Kept until the outputs are copied: an output that is an input shares its buffer.
        let values = self.values(inputs)?;
        let feed: Vec<(&str, SessionInputValue<'_>)> =
            values.iter().map(|(name, value)| (*name, value.into())).collect();
        let outputs = self.session.run(feed).map_err(|e| failed("run the model", &e))?;
        outputs.iter().map(|(name, value)| Ok((name.to_owned(), from_ort(name, &value)?))).collect()
    }

    fn look(
        &mut self,
        inputs: &BTreeMap<String, Tensor>,
        see: &mut dyn FnMut(&str, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let values = self.values(inputs)?;
        let feed: Vec<(&str, SessionInputValue<'_>)> =
            values.iter().map(|(name, value)| (*name, value.into())).collect();
        let outputs = self.session.run(feed).map_err(|e| failed("run the model", &e))?;
        for (name, value) in &outputs {
            if let ValueType::Tensor { ty: TensorElementType::Float32, .. } = value.dtype() {
                let (_, elements) = value
                    .try_extract_tensor::<f32>()
                    .map_err(|e| failed(&format!("give output `{name}`"), &e))?;
                see(name, elements)?;
            }
        }
        Ok(())
    }

    fn note(&self) -> Option<String> {
        self.emulated.then(|| {
            "bf16 emulated: computed in f32, each node's result rounded, no graph optimizations"
                .to_owned()
        })
    }
}

/// The pairs of element types that mean the same.
macro_rules! element_types {
    ($run:ident) => {
        $run! {
            F64 Float64 f64, F32 Float32 f32, F16 Float16 half::f16, BF16 Bfloat16 half::bf16,
            I64 Int64 i64, I32 Int32 i32, I16 Int16 i16, I8 Int8 i8,
            U64 Uint64 u64, U32 Uint32 u32, U16 Uint16 u16, U8 Uint8 u8
        }
    };
}

fn to_ort(tensor: &Tensor) -> Result<DynValue> {
    let bytes = tensor.bytes()?;
    let shape: Vec<i64> = tensor
        .shape()
        .iter()
        .map(|d| i64::try_from(*d).map_err(|_| Error::unsupported("an axis of 2^63 or more")))
        .collect::<Result<_>>()?;
    macro_rules! make {
        ($($dtype:ident $ort:ident $ty:ty),*) => {
            match tensor.dtype() {
                $(DType::$dtype => {
                    let data: Vec<$ty> =
                        bytes.as_chunks().0.iter().map(|c| <$ty>::from_le_bytes(*c)).collect();
                    OrtTensor::from_array((shape, data)).map(|t| t.into_dyn())
                })*
                DType::Bool => {
                    let data: Vec<bool> = bytes.iter().map(|b| *b != 0).collect();
                    OrtTensor::from_array((shape, data)).map(|t| t.into_dyn())
                }
                other => {
                    return Err(Error::unsupported(format!("{other} inputs of ONNX Runtime")));
                }
            }
        };
    }
    element_types!(make).map_err(|e| failed("take a tensor", &e))
}

fn from_ort(name: &str, value: &DynValue) -> Result<Tensor> {
    let ValueType::Tensor { ty, .. } = value.dtype() else {
        return Err(Error::unsupported(format!("output `{name}` is no tensor"))
            .hint("drop `verify` from this target"));
    };
    macro_rules! take {
        ($($dtype:ident $ort:ident $ty:ty),*) => {
            match ty {
                $(TensorElementType::$ort => {
                    value.try_extract_tensor::<$ty>().map(|(shape, data)| {
                        let bytes: Vec<u8> = data.iter().flat_map(|v| v.to_le_bytes()).collect();
                        (DType::$dtype, shape.to_vec(), bytes)
                    })
                })*
                TensorElementType::Bool => value.try_extract_tensor::<bool>().map(|(shape, data)| {
                    (DType::Bool, shape.to_vec(), data.iter().map(|b| u8::from(*b)).collect())
                }),
                other => {
                    return Err(Error::unsupported(format!(
                        "output `{name}` holds {other:?} elements, which cannot be compared"
                    ))
                    .hint("drop `verify` from this target, or give the model a numeric output"));
                }
            }
        };
    }
    let (dtype, shape, bytes) =
        element_types!(take).map_err(|e| failed(&format!("give output `{name}`"), &e))?;
    let shape = shape.iter().map(|d| u64::try_from(*d).unwrap_or(0)).collect();
    Tensor::new(dtype, shape, bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn versions_below_the_interface_and_of_another_major_are_refused() {
        for (version, usable) in [
            ("1.16.3", false),
            ("1.17.0", true),
            ("1.32.0", true),
            ("1.23.0-dev", true),
            ("2.0.0", false),
            ("nonsense", false),
            ("", false),
        ] {
            assert_eq!(is_usable(version), usable, "{version}");
        }
    }

    #[test]
    fn what_is_no_onnx_runtime_is_an_error_that_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("libonnxruntime.so");
        fsx::write_atomic(&text, b"no library").unwrap();
        let why = OnnxRuntime::open(&text).unwrap_err();
        assert!(why.contains("libonnxruntime"), "{why}");
        let why = OnnxRuntime::open(&folder.path().join("missing.so")).unwrap_err();
        assert!(why.contains("missing.so"), "{why}");
        let report = not_found(&[(text, "invalid ELF header".into())]).report();
        assert!(report.contains("cannot be used: invalid ELF header"), "{report}");
        assert!(report.contains("hint: set ORT_DYLIB_PATH"), "{report}");
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn another_library_is_refused_without_being_called() {
        let why = OnnxRuntime::open(Path::new("libm.so.6")).unwrap_err();
        assert_eq!(why, "it is not ONNX Runtime: it has no OrtGetApiBase");
    }

    #[test]
    fn an_absent_library_is_a_tool_error_with_the_way_to_get_it() {
        let e = not_found(&[("libonnxruntime.so".into(), "cannot open".into())]);
        assert_eq!(e.kind(), ErrorKind::Tool);
        assert!(e.report().contains("PyPI package `onnxruntime`"), "{e:?}");
    }
}
