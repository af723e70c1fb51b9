//! ONNX's own node tests: models with inputs and outputs, as `scripts/onnx-node-tests.py` writes them,
//! and ONNX Runtime on values of any type.

use std::path::Path;

use bytes::Bytes;
use model_build::format::onnx;
use model_build::hub::{DType, Tensor};
use ort::logging::LogLevel;
use ort::memory::Allocator;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::{
    DynTensor, DynTensorValueType, DynValue, Sequence, Tensor as OrtTensor, TensorElementType,
    ValueType,
};

use crate::onnxruntime::{Level, OnnxRuntime};

/// A value of a test.
#[derive(Clone, Debug)]
pub enum Given {
    /// A dense tensor.
    Tensor(Tensor),
    /// A list of dense tensors.
    Sequence(Vec<Tensor>),
}

/// A node test.
pub struct Case {
    /// Its name.
    pub name: String,
    /// The model's file.
    pub model: Bytes,
    /// The values of the model's inputs, in order.
    pub inputs: Vec<Given>,
    /// What the model gives, in order of its outputs.
    pub outputs: Vec<Given>,
    /// Relative tolerance.
    pub relative: f64,
    /// Absolute tolerance.
    pub absolute: f64,
}

/// The folders of all cases, sorted.
pub fn folders(root: &Path) -> Vec<std::path::PathBuf> {
    let mut out: Vec<_> =
        std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    out.sort();
    out
}

/// Reads a case; the text says why it cannot be one here (an optional or a map among its values).
pub fn read(folder: &Path) -> Result<Case, String> {
    let model: Bytes = std::fs::read(folder.join("model.onnx")).unwrap().into();
    let tolerance = std::fs::read_to_string(folder.join("tolerance.txt")).unwrap();
    let tolerance: Vec<f64> = tolerance.split_whitespace().map(|t| t.parse().unwrap()).collect();
    let values = |kind: &str| -> Result<Vec<Given>, String> {
        let path = |i: usize| folder.join(format!("test_data_set_0/{kind}_{i}.pb"));
        (0..)
            .map(path)
            .take_while(|p| p.exists())
            .map(|p| value(&std::fs::read(p).unwrap()))
            .collect()
    };
    Ok(Case {
        name: folder.file_name().unwrap().to_string_lossy().into_owned(),
        model,
        inputs: values("input")?,
        outputs: values("output")?,
        relative: tolerance[0],
        absolute: tolerance[1],
    })
}

fn varint(mut n: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 0x80 {
        out.push(u8::try_from(n & 0x7f).unwrap() | 0x80);
        n >>= 7;
    }
    out.push(u8::try_from(n).unwrap());
    out
}

fn nested(field: u8, bytes: &[u8]) -> Vec<u8> {
    [vec![field << 3 | 2], varint(bytes.len()), bytes.to_vec()].concat()
}

/// Reads a `TensorProto` as the only initializer of a model made around it.
fn tensor(message: &[u8]) -> Result<Tensor, String> {
    let named = [message.to_vec(), nested(8, b"t")].concat();
    let graph = nested(5, &named);
    let model: Bytes = [vec![0x08, 14], nested(7, &graph)].concat().into();
    let graph = onnx::from_bytes(&model).map_err(|e| e.to_string())?;
    let (_, _, tensor) = graph.body.initializers().next().ok_or("no tensor")?;
    Ok(tensor.clone())
}

/// The fields of a protobuf message that hold bytes or numbers.
fn fields(message: &[u8]) -> Option<Vec<(u64, Option<&[u8]>, u64)>> {
    let mut at = 0;
    let number = |at: &mut usize| -> Option<u64> {
        let mut out = 0;
        for shift in (0..64).step_by(7) {
            let byte = *message.get(*at)?;
            *at += 1;
            out |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(out);
            }
        }
        None
    };
    let mut out = Vec::new();
    while at < message.len() {
        let key = number(&mut at)?;
        match key & 7 {
            0 => out.push((key >> 3, None, number(&mut at)?)),
            2 => {
                let len = usize::try_from(number(&mut at)?).ok()?;
                out.push((key >> 3, Some(message.get(at..at + len)?), 0));
                at += len;
            }
            _ => return None,
        }
    }
    Some(out)
}

/// A `SequenceProto` of tensors has its element type in a number and tensors in field 3; a
/// `TensorProto` has neither a second field 2 of another kind nor messages there.
fn value(message: &[u8]) -> Result<Given, String> {
    if let Some(fields) = fields(message) {
        let is = |field, kind| fields.iter().any(|(f, _, n)| *f == field && *n == kind);
        let has_name = fields.iter().any(|(f, bytes, _)| *f == 1 && bytes.is_some());
        // A tensor's field 1 is its dimensions (numbers or packed), its field 2 the element type.
        let tensors: Vec<&[u8]> =
            fields.iter().filter(|(f, ..)| *f == 3).filter_map(|(_, b, _)| *b).collect();
        let named = fields.iter().any(|(f, b, _)| *f == 8 && b.is_some());
        if has_name && is(2, 1) && !named {
            return tensors.into_iter().map(tensor).collect::<Result<_, _>>().map(Given::Sequence);
        }
        if !named {
            return Err("no tensor and no sequence of tensors".to_owned());
        }
    }
    tensor(message).map(Given::Tensor)
}

const TYPES: &[(DType, TensorElementType)] = &[
    (DType::F64, TensorElementType::Float64),
    (DType::F32, TensorElementType::Float32),
    (DType::F16, TensorElementType::Float16),
    (DType::BF16, TensorElementType::Bfloat16),
    (DType::F8E4M3, TensorElementType::Float8E4M3FN),
    (DType::F8E4M3Fnuz, TensorElementType::Float8E4M3FNUZ),
    (DType::F8E5M2, TensorElementType::Float8E5M2),
    (DType::F8E5M2Fnuz, TensorElementType::Float8E5M2FNUZ),
    (DType::F8E8M0, TensorElementType::Float8E8M0),
    (DType::F4E2M1, TensorElementType::Float4E2M1),
    (DType::I64, TensorElementType::Int64),
    (DType::I32, TensorElementType::Int32),
    (DType::I16, TensorElementType::Int16),
    (DType::I8, TensorElementType::Int8),
    (DType::I4, TensorElementType::Int4),
    (DType::I2, TensorElementType::Int2),
    (DType::U64, TensorElementType::Uint64),
    (DType::U32, TensorElementType::Uint32),
    (DType::U16, TensorElementType::Uint16),
    (DType::U8, TensorElementType::Uint8),
    (DType::U4, TensorElementType::Uint4),
    (DType::U2, TensorElementType::Uint2),
    (DType::Bool, TensorElementType::Bool),
];

fn to_ort(tensor: &Tensor) -> Result<DynTensor, String> {
    let text = |e: ort::Error| e.to_string();
    let shape: Vec<i64> = tensor.shape().iter().map(|d| i64::try_from(*d).unwrap()).collect();
    if tensor.dtype() == DType::String {
        let strings: Vec<String> = tensor
            .to_strings()
            .unwrap()
            .iter()
            .map(|s| String::from_utf8_lossy(s).into_owned())
            .collect();
        return Ok(OrtTensor::from_string_array((shape, &*strings)).map_err(text)?.upcast());
    }
    let (_, ty) = TYPES
        .iter()
        .find(|(d, _)| *d == tensor.dtype())
        .ok_or_else(|| format!("ONNX Runtime has no {}", tensor.dtype()))?;
    let mut out = DynTensor::new(&Allocator::default(), *ty, shape).map_err(text)?;
    let bytes = tensor.bytes().unwrap();
    if !bytes.is_empty() {
        // SAFETY: the buffer was allocated for as many elements of that type, which take so many bytes.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), out.data_ptr_mut().cast(), bytes.len());
        }
    }
    Ok(out)
}

fn from_ort(value: &DynValue) -> Result<Tensor, String> {
    let text = |e: ort::Error| e.to_string();
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
        return Err("an output that is no tensor".to_owned());
    };
    let shape: Vec<u64> = shape.iter().map(|d| u64::try_from(*d).unwrap()).collect();
    if *ty == TensorElementType::String {
        let (_, strings) = value.try_extract_strings().map_err(text)?;
        return Tensor::from_strings(shape, strings).map_err(|e| e.to_string());
    }
    let (dtype, _) = TYPES.iter().find(|(_, t)| t == ty).ok_or("an unknown element type")?;
    let count: u64 = shape.iter().product();
    let len = usize::try_from(dtype.bytes_for(count).unwrap()).unwrap();
    let tensor = value.view().downcast::<DynTensorValueType>().map_err(text)?;
    let bytes = if len == 0 {
        Bytes::new()
    } else {
        // SAFETY: the buffer holds as many elements as the shape says, which take so many bytes.
        Bytes::copy_from_slice(unsafe {
            std::slice::from_raw_parts(tensor.data_ptr().cast::<u8>(), len)
        })
    };
    Tensor::new(*dtype, shape, bytes).map_err(|e| e.to_string())
}

/// Runs a model on named values; the text is ONNX Runtime's when it will not. Outputs are in order.
pub fn run(
    runtime: &OnnxRuntime,
    level: Level,
    model: &[u8],
    inputs: &[(String, Given)],
) -> Result<Vec<Given>, String> {
    let text = |e: ort::Error| e.to_string();
    let optimization = match level {
        Level::None => GraphOptimizationLevel::Disable,
        Level::All => GraphOptimizationLevel::All,
    };
    let build = || -> ort::Result<Session> {
        Session::builder(runtime.environment())?
            .with_optimization_level(optimization)?
            .with_intra_threads(1)?
            .with_log_level(LogLevel::Fatal)?
            .commit_from_memory(model)
    };
    let mut session = build().map_err(text)?;
    let mut values: Vec<(&str, DynValue)> = Vec::new();
    for (name, given) in inputs {
        let value = match given {
            Given::Tensor(t) => to_ort(t)?.into_dyn(),
            Given::Sequence(list) if list.is_empty() => {
                return Err("an empty sequence as an input".to_owned());
            }
            Given::Sequence(list) => {
                let list = list.iter().map(to_ort).collect::<Result<Vec<_>, _>>()?;
                Sequence::new(list).map_err(text)?.into_dyn()
            }
        };
        values.push((name, value));
    }
    let feed: Vec<(&str, SessionInputValue<'_>)> =
        values.iter().map(|(name, value)| (*name, value.into())).collect();
    let outputs = session.run(feed).map_err(text)?;
    outputs
        .iter()
        .map(|(_, value)| match value.dtype() {
            ValueType::Sequence(_) => {
                let list = value
                    .view()
                    .downcast::<ort::value::DynSequenceValueType>()
                    .map_err(text)?
                    .try_extract_sequence::<DynTensorValueType>()
                    .map_err(text)?;
                list.into_iter()
                    .map(|v| from_ort(&v.into_dyn()))
                    .collect::<Result<_, _>>()
                    .map(Given::Sequence)
            }
            _ => from_ort(&value).map(Given::Tensor),
        })
        .collect()
}

fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    let bytes = tensor.bytes().unwrap();
    macro_rules! each {
        ($ty:ty) => {
            bytes.as_chunks().0.iter().map(|c| f64::from(<$ty>::from_le_bytes(*c))).collect()
        };
    }
    Some(match tensor.dtype() {
        DType::F64 => each!(f64),
        DType::F32 => each!(f32),
        DType::F16 => each!(half::f16),
        DType::BF16 => each!(half::bf16),
        _ => return None,
    })
}

/// How two lists of outputs differ, if they do by more than the tolerances.
pub fn difference(got: &[Given], want: &[Given], relative: f64, absolute: f64) -> Option<String> {
    if got.len() != want.len() {
        return Some(format!("{} outputs, not {}", got.len(), want.len()));
    }
    got.iter().zip(want).enumerate().find_map(|(i, (got, want))| {
        let found = match (got, want) {
            (Given::Tensor(a), Given::Tensor(b)) => tensors(a, b, relative, absolute),
            (Given::Sequence(a), Given::Sequence(b)) if a.len() == b.len() => {
                a.iter().zip(b).find_map(|(a, b)| tensors(a, b, relative, absolute))
            }
            _ => Some("another kind of value".to_owned()),
        };
        found.map(|f| format!("output {i}: {f}"))
    })
}

fn tensors(got: &Tensor, want: &Tensor, relative: f64, absolute: f64) -> Option<String> {
    if got.dtype() != want.dtype() || got.shape() != want.shape() {
        return Some(format!("{got:?}, not {want:?}"));
    }
    let (Some(a), Some(b)) = (numbers(got), numbers(want)) else {
        return (got.bytes().unwrap() != want.bytes().unwrap())
            .then(|| format!("other elements of {got:?}"));
    };
    #[allow(clippy::float_cmp)] // infinities
    let near = |x: f64, y: f64| {
        x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= absolute + relative * y.abs()
    };
    let at = a.iter().zip(&b).position(|(x, y)| !near(*x, *y))?;
    Some(format!("{} in place of {} at {at} of {got:?}", a[at], b[at]))
}
