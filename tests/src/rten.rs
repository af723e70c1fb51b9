//! rten as an oracle: runs a model file in a session that this project's code has no part in.

use std::path::Path;

use rten::{Model, NodeId, Value, ValueOrView};
use rten_tensor::Tensor;
use rten_tensor::prelude::*;

use crate::arrays::{Array, Arrays, Data};

/// Runs a model once. Panics with rten's message when it will not. i64 inputs go in as i32, which is
/// what rten makes of i64.
pub fn run(model: &Path, inputs: &Arrays) -> Arrays {
    let session = Model::load_file(model).unwrap_or_else(|e| panic!("{}: {e}", model.display()));
    let values: Vec<(NodeId, ValueOrView<'_>)> =
        inputs.iter().map(|(name, a)| (session.node_id(name).unwrap(), value(a).into())).collect();
    let outputs = session
        .run(values, session.output_ids(), None)
        .unwrap_or_else(|e| panic!("{}: {e}", model.display()));
    session
        .output_ids()
        .iter()
        .zip(outputs)
        .map(|(id, value)| {
            let name = session.node_info(*id).unwrap().name().unwrap().to_owned();
            let tensor: Tensor<f32> = value.try_into().unwrap();
            (name, Array { shape: tensor.shape().to_vec(), data: Data::F32(tensor.to_vec()) })
        })
        .collect()
}

fn value(array: &Array) -> Value {
    let shape = array.shape.as_slice();
    match &array.data {
        Data::F32(data) => Tensor::from_data(shape, data.clone()).into(),
        Data::I64(data) => {
            let data: Vec<i32> = data.iter().map(|v| i32::try_from(*v).unwrap()).collect();
            Tensor::from_data(shape, data).into()
        }
        Data::I32(data) => Tensor::from_data(shape, data.clone()).into(),
        Data::U8(data) => Tensor::from_data(shape, data.clone()).into(),
    }
}
