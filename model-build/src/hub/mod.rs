//! The hubs every path walks through: [`Checkpoint`] (named tensors), [`Graph`] (ONNX-shaped) and
//! [`Gguf`] (a checkpoint under GGUF's names).

mod block;
mod checkpoint;
mod dtype;
mod edit;
mod gguf;
mod graph;
mod part;
mod stream;
mod tensor;

pub use block::{BlockDef, Importance, Kernel};
pub use checkpoint::Checkpoint;
pub use dtype::DType;
pub use edit::{Edit, Use};
pub use gguf::{Gguf, Meta, MetaArray};
pub use graph::{
    Annotation, Attr, AttrValue, Body, Dim, Function, Graph, Node, NodeId, SparseTensor, Type,
    Value, ValueId,
};
pub use part::{Part, part};
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
    /// Key/values and tensors under GGUF's names.
    Gguf(Gguf),
}
