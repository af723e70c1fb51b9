//! ONNX Runtime as an oracle: runs a model file in a session that this project's code has no part in.

use std::path::Path;
use std::sync::Mutex;

use ort::environment::Environment;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::{Tensor, TensorElementType, ValueType};

use crate::arrays::{Array, Arrays, Data};

/// How much ONNX Runtime rewrites a graph before it runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Not at all: what the file says, node by node.
    None,
    /// As much as it can, which is what applications use.
    All,
}

/// ONNX Runtime, if the variable `ORT_DYLIB_PATH` names its library; else `None`, after saying on
/// stderr that the test is skipped.
pub fn find() -> Option<OnnxRuntime> {
    static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);
    let Some(path) = std::env::var_os("ORT_DYLIB_PATH") else {
        eprintln!("skipped: ORT_DYLIB_PATH is not set; see scripts/fetch-oracles.sh");
        return None;
    };
    let mut slot = ENVIRONMENT.lock().unwrap();
    let environment = slot.get_or_insert_with(|| {
        ort::init_from(&path).unwrap().with_name("oracle").with_telemetry(false).build().unwrap()
    });
    Some(OnnxRuntime(environment.clone()))
}

/// ONNX Runtime.
pub struct OnnxRuntime(Environment);

impl OnnxRuntime {
    /// Its environment.
    pub(crate) fn environment(&self) -> &Environment {
        &self.0
    }
    /// Runs a model once, single-threaded. Panics with ONNX Runtime's message when it will not.
    pub fn run(&self, model: &Path, level: Level, inputs: &Arrays) -> Arrays {
        let optimization = match level {
            Level::None => GraphOptimizationLevel::Disable,
            Level::All => GraphOptimizationLevel::All,
        };
        let build = || -> ort::Result<Session> {
            Session::builder(&self.0)?
                .with_optimization_level(optimization)?
                .with_intra_threads(1)?
                .commit_from_file(model)
        };
        let mut session = build().unwrap_or_else(|e| panic!("{}: {e}", model.display()));
        let values: Vec<(&str, SessionInputValue<'_>)> =
            inputs.iter().map(|(name, array)| (name.as_str(), value(array))).collect();
        // The values live until the outputs are copied: an output that is an input shares its buffer.
        let feed: Vec<(&str, SessionInputValue<'_>)> =
            values.iter().map(|(name, value)| (*name, (&**value).into())).collect();
        let outputs = session.run(feed).unwrap_or_else(|e| panic!("{}: {e}", model.display()));
        outputs
            .iter()
            .map(|(name, value)| {
                let ValueType::Tensor { ty, .. } = value.dtype() else {
                    panic!("output {name} is no tensor")
                };
                let (shape, data) = match ty {
                    TensorElementType::Float32 => {
                        let (shape, data) = value.try_extract_tensor::<f32>().unwrap();
                        (shape.to_vec(), Data::F32(data.to_vec()))
                    }
                    TensorElementType::Int64 => {
                        let (shape, data) = value.try_extract_tensor::<i64>().unwrap();
                        (shape.to_vec(), Data::I64(data.to_vec()))
                    }
                    other => panic!("output {name} is {other:?}"),
                };
                let shape = shape.iter().map(|d| usize::try_from(*d).unwrap()).collect();
                (name.to_owned(), Array { shape, data })
            })
            .collect()
    }
}

fn value(array: &Array) -> SessionInputValue<'static> {
    let shape = array.shape.clone();
    match &array.data {
        Data::F32(data) => Tensor::from_array((shape, data.clone())).unwrap().into(),
        Data::I64(data) => Tensor::from_array((shape, data.clone())).unwrap().into(),
        Data::I32(data) => Tensor::from_array((shape, data.clone())).unwrap().into(),
        Data::U8(data) => Tensor::from_array((shape, data.clone())).unwrap().into(),
    }
}
