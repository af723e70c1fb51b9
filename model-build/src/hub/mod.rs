//! The two hubs every path walks through: [`Checkpoint`] (named tensors) and [`Graph`] (ONNX-shaped).

mod checkpoint;
mod dtype;
mod edit;
mod graph;
mod stream;
mod tensor;

pub use checkpoint::Checkpoint;
pub use dtype::DType;
pub use edit::{Edit, Use};
pub use graph::{
    Annotation, Attr, AttrValue, Body, Dim, Function, Graph, Node, NodeId, SparseTensor, Type,
    Value, ValueId,
};
pub use stream::{Blob, Segment, blob_len, write_blob};
pub use tensor::{Note, Produce, Tensor};

/// What a format reads into and writes from.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // a handful exist at a time
pub enum Hub {
    /// Config, named tensors and tokenizer files.
    Checkpoint(Checkpoint),
    /// A computation graph.
    Graph(Graph),
}
