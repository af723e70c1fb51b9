//! rten: compiled in. It knows f32, i32, i8 and u8; i64 and bool travel as i32, f16 as f32.

use std::sync::Arc;

use rten::{
    Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value as Rten, ValueOrView, ValueView,
};
use rten_tensor::Layout;

use super::{Parts, Run, failed};
use crate::error::{Error, ErrorKind};
use crate::metadata::Metadata;
use crate::session::LoadOptions;
use crate::tensor::{DType, Slice, Tensor, Value, View};

struct Loaded {
    model: Model,
    metadata: &'static Metadata,
    inputs: Vec<NodeId>,
    outputs: Vec<NodeId>,
    pool: Option<Arc<ThreadPool>>,
}

pub(super) fn load(parts: &Parts, options: &LoadOptions) -> Result<Box<dyn Run>, Error> {
    let meta = parts.metadata;
    if let Some(node) = crate::onnx::wrong_in_rten(parts.proto)? {
        return Err(refuse(format!("rten computes `{}` wrongly: {node}", meta.model)));
    }
    for port in meta.inputs.iter().chain(meta.outputs) {
        use DType::{Bool, F16, F32, I8, I32, I64, U8};
        if !matches!(port.dtype, F32 | F16 | I64 | I32 | I8 | U8 | Bool) {
            return Err(refuse(format!("rten has no {} tensors: `{}`", port.dtype, port.name)));
        }
    }
    let mut how = ModelOptions::with_all_ops();
    how.prepack_weights(options.prepack);
    for (name, bytes) in &parts.files {
        how.external_data_static(name, bytes);
    }
    let model = how.load_static_slice(parts.proto).map_err(|e| {
        failed("load", meta, e).hint(
            "if an operator is missing, use ONNX Runtime: feature `ort` of model-build-runtime",
        )
    })?;
    let id = |name| model.node_id(name).map_err(|e| failed("load", meta, e));
    let inputs = meta.inputs.iter().map(|p| id(p.name)).collect::<Result<_, _>>()?;
    let outputs = meta.outputs.iter().map(|p| id(p.name)).collect::<Result<_, _>>()?;
    let pool = options.threads.map(|n| Arc::new(ThreadPool::with_num_threads(n)));
    Ok(Box::new(Loaded { model, metadata: meta, inputs, outputs, pool }))
}

fn refuse(message: String) -> Error {
    Error::new(ErrorKind::Unsupported, message).hint(
        "use ONNX Runtime: feature `ort` of model-build-runtime and \
         `load_with(&LoadOptions::new().backend(Backend::OnnxRuntime))`",
    )
}

impl Run for Loaded {
    fn run(&self, inputs: &[View<'_>]) -> Result<Vec<Value>, Error> {
        let mut values = Vec::with_capacity(inputs.len());
        for ((id, port), view) in self.inputs.iter().zip(self.metadata.inputs).zip(inputs) {
            values.push((*id, input(port.name, view)?));
        }
        let options = RunOptions::default().with_thread_pool(self.pool.clone());
        let outputs = self
            .model
            .run(values, &self.outputs, Some(options))
            .map_err(|e| failed("run", self.metadata, e))?;
        let ports = self.metadata.outputs.iter();
        outputs.into_iter().zip(ports).map(|(v, p)| output(p.name, p.dtype, v)).collect()
    }
}

/// Borrows where the element type is one of rten's, else converts.
fn input<'a>(name: &str, view: &View<'a>) -> Result<ValueOrView<'a>, Error> {
    let shape = view.shape;
    let bad = |e: Box<dyn std::error::Error + Send + Sync>| {
        Error::input(format!("input `{name}`")).caused_by(e)
    };
    macro_rules! borrow {
        ($data:expr) => {
            ValueView::from_shape(shape, $data).map_err(|e| bad(e.into()))?.into()
        };
    }
    macro_rules! own {
        ($data:expr) => {
            Rten::from_shape(shape, $data).map_err(|e| bad(e.into()))?.into()
        };
    }
    Ok(match view.data {
        Slice::F32(data) => borrow!(data),
        Slice::I32(data) => borrow!(data),
        Slice::I8(data) => borrow!(data),
        Slice::U8(data) => borrow!(data),
        Slice::F16(data) => own!(data.iter().map(|x| x.to_f32()).collect::<Vec<f32>>()),
        Slice::Bool(data) => own!(data.iter().map(|x| i32::from(*x)).collect::<Vec<i32>>()),
        Slice::I64(data) => own!(narrow(name, data)?),
        _ => {
            let dtype = view.data.dtype();
            return Err(refuse(format!("rten has no {dtype} tensors: `{name}`")));
        }
    })
}

fn narrow(name: &str, data: &[i64]) -> Result<Vec<i32>, Error> {
    let one = |(at, x): (usize, &i64)| {
        i32::try_from(*x).map_err(|_| {
            refuse(format!("input `{name}`: element {at} is {x}, and rten's integers have 32 bits"))
        })
    };
    data.iter().enumerate().map(one).collect()
}

/// A value of rten in the type that the model declares.
fn output(name: &str, dtype: DType, value: Rten) -> Result<Value, Error> {
    let shape = value.shape().to_vec();
    fn tensor<T>(shape: Vec<usize>, data: Vec<T>) -> Result<Tensor<T>, Error> {
        Tensor::new(shape, data)
    }
    Ok(match (dtype, value) {
        (DType::F32, Rten::FloatTensor(t)) => Value::F32(tensor(shape, t.into_data())?),
        (DType::I32, Rten::Int32Tensor(t)) => Value::I32(tensor(shape, t.into_data())?),
        (DType::I8, Rten::Int8Tensor(t)) => Value::I8(tensor(shape, t.into_data())?),
        (DType::U8, Rten::UInt8Tensor(t)) => Value::U8(tensor(shape, t.into_data())?),
        (DType::F16, Rten::FloatTensor(t)) => {
            let data = t.into_data().into_iter().map(half::f16::from_f32).collect();
            Value::F16(tensor(shape, data)?)
        }
        (DType::I64, Rten::Int32Tensor(t)) => {
            Value::I64(tensor(shape, t.into_data().into_iter().map(i64::from).collect())?)
        }
        (DType::Bool, Rten::Int32Tensor(t)) => {
            Value::Bool(tensor(shape, t.into_data().into_iter().map(|x| x != 0).collect())?)
        }
        (_, other) => {
            let message =
                format!("output `{name}` is declared {dtype}, and rten gave {}", other.dtype());
            return Err(Error::new(ErrorKind::Backend, message));
        }
    })
}
