//! ONNX Runtime: a library that is found and opened at run time.
//!
//! Weights outside the protobuf are handed over as borrowed values, so that ONNX Runtime computes
//! from the bytes in the executable.
#![allow(unsafe_code)] // values over static bytes have no safe constructor that owns them

use std::ffi::c_void;
use std::path::PathBuf;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::AsPointer;
use ort::environment::Environment;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, TensorRef};

use super::{Parts, Run, failed};
use crate::error::{Error, ErrorKind};
use crate::metadata::Metadata;
use crate::onnx::{External, externals};
use crate::session::LoadOptions;
use crate::tensor::{DType, Slice, Tensor, Value, View};

struct Loaded {
    metadata: &'static Metadata,
    // The crate `ort` takes `&mut` to run: ONNX Runtime's own `Run` is not safe to call twice at
    // once with every execution provider.
    session: Mutex<Session>,
}

/// The process's environment, made by the first session.
fn environment() -> Result<&'static Environment, Error> {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    static OPENING: Mutex<()> = Mutex::new(());
    let _one = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = ENVIRONMENT.get() {
        return Ok(environment);
    }
    let environment = open()?;
    Ok(ENVIRONMENT.get_or_init(|| environment))
}

/// Every place the library may be, the first that exists wins; a bare name asks the system.
#[allow(clippy::disallowed_methods)] // the one place of this crate that reads this variable
fn places() -> Vec<PathBuf> {
    use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH").filter(|v| !v.is_empty()) {
        return vec![PathBuf::from(path)];
    }
    let name = format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}");
    let mut places = Vec::new();
    if let Some(dir) = std::env::current_exe().ok().as_deref().and_then(|exe| exe.parent()) {
        places.push(dir.join(&name));
        places.push(dir.join("lib").join(&name));
        places.retain(|p| p.is_file());
    }
    if places.is_empty() {
        places.push(PathBuf::from(&name));
        if cfg!(target_os = "linux") {
            places.push(PathBuf::from(format!("{name}.1")));
        }
    }
    places
}

fn open() -> Result<Environment, Error> {
    let mut reasons = Vec::new();
    for place in places() {
        match ort::init_from(&place) {
            Ok(builder) => {
                return builder.with_telemetry(false).build().map_err(|e| {
                    Error::new(ErrorKind::Library, format!("ONNX Runtime does not start: {e}"))
                });
            }
            Err(e) => reasons.push(e.to_string()),
        }
    }
    Err(Error::new(
        ErrorKind::Library,
        format!("ONNX Runtime was not found: {}", reasons.join("; ")),
    )
    .hint(
        "set ORT_DYLIB_PATH to the library (libonnxruntime.so, onnxruntime.dll, \
         libonnxruntime.dylib), put it next to the executable, or install it",
    ))
}

pub(super) fn load(parts: &Parts, options: &LoadOptions) -> Result<Box<dyn Run>, Error> {
    let meta = parts.metadata;
    let fail = |e: String| failed("load", meta, e);
    let environment = environment()?;
    let mut builder = Session::builder(environment)
        .map_err(|e| fail(e.to_string()))?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(|e| fail(e.to_string()))?;
    if let Some(threads) = options.threads {
        builder = builder.with_intra_threads(threads).map_err(|e| fail(e.to_string()))?;
    }
    if !options.prepack {
        builder = builder
            .with_config_entry("session.disable_prepacking", "1")
            .map_err(|e| fail(e.to_string()))?;
    }
    for external in externals(parts.proto)? {
        let bytes = slice(parts, &external)?;
        let value = Arc::new(borrowed(&external, bytes).map_err(fail)?);
        // The first gives the graph its weight; the second says that the session is to compute from
        // that very memory, not from a copy.
        builder = builder
            .with_external_initializer(external.name, Arc::clone(&value))
            .map_err(|e| fail(e.to_string()))?
            .with_initializer(external.name, value)
            .map_err(|e| fail(e.to_string()))?;
    }
    let session = builder.commit_from_memory(parts.proto).map_err(|e| fail(e.to_string()))?;
    Ok(Box::new(Loaded { metadata: meta, session: Mutex::new(session) }))
}

/// The bytes of an initializer.
fn slice(parts: &Parts, external: &External<'_>) -> Result<&'static [u8], Error> {
    let file = parts.files.iter().find(|(name, _)| *name == external.location);
    let end = external.offset.checked_add(external.len);
    let bytes = file.zip(end).and_then(|((_, bytes), end)| bytes.get(external.offset..end));
    bytes.ok_or_else(|| {
        let External { name, location, offset, len, .. } = external;
        let message =
            format!("tensor `{name}`: {len} bytes at {offset} of `{location}` are not there");
        Error::new(ErrorKind::Artifact, message)
    })
}

/// A value of ONNX Runtime over static bytes; nothing is copied.
fn borrowed(external: &External<'_>, bytes: &'static [u8]) -> Result<DynValue, String> {
    let element = element(external.data_type)
        .ok_or_else(|| format!("`{}`: element type {}", external.name, external.data_type))?;
    let memory =
        MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default)
            .map_err(|e| e.to_string())?;
    let mut value = ptr::null_mut();
    // SAFETY: every pointer is valid for the call. `bytes` lives for the whole process, longer than
    // the value; ONNX Runtime never writes to an initializer, so that the cast away from const is
    // not used; it compares `bytes.len()` with dims and type before it takes the pointer.
    let status = unsafe {
        (ort::api().CreateTensorWithDataAsOrtValue)(
            memory.ptr(),
            bytes.as_ptr().cast_mut().cast::<c_void>(),
            bytes.len(),
            external.dims.as_ptr(),
            external.dims.len(),
            element,
            &raw mut value,
        )
    };
    // SAFETY: the status is the one just returned, looked at once.
    unsafe { ort::Error::result_from_status(status) }.map_err(|e| e.to_string())?;
    let value = NonNull::new(value).ok_or("ONNX Runtime gave no value")?;
    // SAFETY: `value` is a tensor that nobody else releases; the default allocator is the one of the
    // device it was made on.
    Ok(unsafe { DynValue::from_ptr(value, Some(&Allocator::default())) })
}

/// `TensorProto.DataType` → ONNX Runtime's enumeration.
fn element(data_type: u64) -> Option<ort::sys::ONNXTensorElementDataType> {
    use ort::sys::ONNXTensorElementDataType as E;
    Some(match data_type {
        1 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
        2 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
        3 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8,
        4 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16,
        5 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16,
        6 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
        7 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,
        9 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL,
        10 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
        11 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE,
        12 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32,
        13 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64,
        16 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16,
        17 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E4M3FN,
        18 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E4M3FNUZ,
        19 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E5M2,
        20 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E5M2FNUZ,
        21 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT4,
        22 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT4,
        _ => return None,
    })
}

macro_rules! by_type {
    ($($name:ident = $ty:ty,)*) => {
        fn input<'a>(view: &View<'a>) -> ort::Result<SessionInputValue<'a>> {
            Ok(match view.data {
                $(Slice::$name(data) => TensorRef::from_array_view((view.shape, data))?.into(),)*
            })
        }

        /// An output, copied out of ONNX Runtime's memory.
        fn output(dtype: DType, value: &DynValue) -> ort::Result<Option<Value>> {
            Ok(match dtype {
                $(DType::$name => {
                    let (shape, data) = value.try_extract_tensor::<$ty>()?;
                    let shape = shape.iter().filter_map(|d| usize::try_from(*d).ok());
                    Tensor::new(shape.collect::<Vec<_>>(), data.to_vec()).ok().map(Value::$name)
                })*
                DType::Other(_) => None,
            })
        }
    };
}

by_type! {
    F64 = f64, F32 = f32, F16 = half::f16, BF16 = half::bf16, I64 = i64, I32 = i32, I16 = i16,
    I8 = i8, U64 = u64, U32 = u32, U16 = u16, U8 = u8, Bool = bool,
}

impl Run for Loaded {
    fn run(&self, inputs: &[View<'_>]) -> Result<Vec<Value>, Error> {
        let fail = |e: ort::Error| failed("run", self.metadata, e.to_string());
        let named = self.metadata.inputs.iter().zip(inputs);
        let values = named
            .map(|(port, view)| Ok((port.name, input(view)?)))
            .collect::<ort::Result<Vec<_>>>()
            .map_err(fail)?;
        // A panic of another thread leaves ONNX Runtime's session as it was.
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run(values).map_err(fail)?;
        let take = |port: &crate::Port| {
            let value = outputs.get(port.name).map(|v| output(port.dtype, v)).transpose();
            value.map_err(fail)?.flatten().ok_or_else(|| {
                let message = format!("ONNX Runtime gave no {} `{}`", port.dtype, port.name);
                Error::new(ErrorKind::Backend, message)
            })
        };
        self.metadata.outputs.iter().map(take).collect()
    }
}
