//! Graph → laid-out files.

use prost::Message;

use super::rope::{LARGE, Rope};
use super::{proto, types};
use crate::error::{Error, Result};
use crate::format::WriteOptions;
use crate::hub::{
    Attr, AttrValue, Blob, Body, DType, Function, Graph, Node, Segment, SparseTensor, Tensor,
    Value, ValueId,
};

/// Tensors move to a file of their own when the model would pass this many bytes: protobuf ends at
/// 2^31 - 1, and a reader may add shapes.
pub(super) const LIMIT: u64 = (1 << 31) - (1 << 24);

/// Payloads in the external file start at multiples of this many bytes.
const PAGE: u64 = 4096;

/// Where the contents of initializers go.
struct Payloads {
    /// The external file's name, if there is one.
    external: Option<String>,
    /// What has been laid out in it.
    segments: Vec<Segment>,
    /// Its length so far.
    at: u64,
}

/// Lays out a model; `limit` is the length above which large initializers get a file of their own.
pub(super) fn write(graph: &Graph, options: &WriteOptions, limit: u64) -> Result<Vec<Blob>> {
    let mut payloads = Payloads { external: None, segments: Vec::new(), at: 0 };
    let rope = model(graph, options, &mut payloads)?;
    if rope.bound() <= limit && !options.external {
        return Ok(vec![Blob { name: options.file_name.clone(), segments: rope.into_segments()? }]);
    }
    payloads.external = Some(format!("{}.data", options.file_name));
    let rope = model(graph, options, &mut payloads)?;
    if rope.bound() > limit {
        return Err(Error::unsupported(format!(
            "the model takes {} bytes besides its large initializers, and protobuf ends at 2 GB",
            rope.bound()
        ))
        .hint("turn large Constant nodes into initializers"));
    }
    let mut blobs = vec![Blob { name: options.file_name.clone(), segments: rope.into_segments()? }];
    if let Some(name) = payloads.external.filter(|_| !payloads.segments.is_empty()) {
        blobs.push(Blob { name, segments: payloads.segments });
    }
    Ok(blobs)
}

fn entry((key, value): &(String, String)) -> proto::Entry {
    proto::Entry { key: key.clone(), value: value.clone() }
}

fn entries(pairs: &[(String, String)]) -> Vec<proto::Entry> {
    pairs.iter().map(entry).collect()
}

fn opsets(opsets: &std::collections::BTreeMap<String, i64>) -> Vec<proto::OperatorSetId> {
    opsets
        .iter()
        .map(|(domain, version)| proto::OperatorSetId { domain: domain.clone(), version: *version })
        .collect()
}

fn model(graph: &Graph, options: &WriteOptions, payloads: &mut Payloads) -> Result<Rope> {
    // Pairs of the options take the place of pairs of the same key.
    let mut metadata = graph.metadata.clone();
    metadata.retain(|(key, _)| !options.metadata.iter().any(|(new, _)| new == key));
    metadata.extend(options.metadata.iter().cloned());
    // Before IR version 4 every initializer had to be an input.
    let free = graph.body.initializers().any(|(id, ..)| !graph.body.inputs().contains(&id));
    let header = proto::Model {
        ir_version: Some(if free { graph.ir_version.max(4) } else { graph.ir_version }),
        opset_import: opsets(&graph.opsets),
        producer_name: graph.producer.clone(),
        producer_version: graph.producer_version.clone(),
        domain: graph.domain.clone(),
        model_version: graph.model_version,
        doc_string: graph.doc.clone(),
        metadata_props: entries(&metadata),
        ..proto::Model::default()
    };
    let mut rope = Rope::default();
    rope.merge(&header);
    let extra = proto::Model::decode(graph.extra.clone())
        .map_err(|e| Error::bug("the extra fields of a model do not decode").caused_by(e))?;
    rope.merge(&extra);
    for f in &graph.functions {
        let message =
            function(f, payloads).map_err(|e| e.item(format!("function `{}`", f.body.name)))?;
        rope.nested(25, message);
    }
    rope.nested(7, body(&graph.body, payloads)?);
    Ok(rope)
}

fn body(body: &Body, payloads: &mut Payloads) -> Result<Rope> {
    let inputs: Vec<ValueId> = body.inputs().to_vec();
    let mut kind = Kinds::new(body);
    let header = proto::Graph {
        name: body.name.clone(),
        doc_string: body.doc.clone(),
        metadata_props: entries(&body.metadata),
        quantization_annotation: body
            .annotations
            .iter()
            .filter(|a| body.find(&a.value).is_some())
            .map(|a| proto::TensorAnnotation {
                tensor_name: a.value.clone(),
                quant_parameter_tensor_names: entries(&a.parameters),
            })
            .collect(),
        input: inputs.iter().map(|id| info(body.value(*id))).collect::<Result<_>>()?,
        output: body.outputs().iter().map(|id| info(body.value(*id))).collect::<Result<_>>()?,
        value_info: kind.infos(body)?,
        ..proto::Graph::default()
    };
    let mut rope = Rope::default();
    for (_, n) in body.nodes() {
        rope.nested(1, node(body, n, payloads)?);
    }
    rope.merge(&header);
    for (_, value, tensor) in body.initializers() {
        let message = initializer(&value.name, tensor, payloads)
            .map_err(|e| e.item(format!("tensor `{}`", value.name)))?;
        rope.nested(5, message);
    }
    for value in body.value_ids().map(|id| body.value(id)) {
        if let Some(sparse) = &value.sparse {
            let message = sparse_tensor(Some(&value.name), sparse)
                .map_err(|e| e.item(format!("tensor `{}`", value.name)))?;
            rope.nested(15, message);
        }
    }
    Ok(rope)
}

/// Which values get a `ValueInfoProto` of their own: those of which something is known that no
/// input, output or initializer says.
struct Kinds {
    said: Vec<ValueId>,
}

impl Kinds {
    fn new(body: &Body) -> Self {
        let mut said: Vec<ValueId> = body.inputs().iter().chain(body.outputs()).copied().collect();
        said.sort_unstable();
        Self { said }
    }

    fn infos(&mut self, body: &Body) -> Result<Vec<proto::ValueInfo>> {
        let mut out = Vec::new();
        for id in body.value_ids() {
            let value = body.value(id);
            let implied = match &value.init {
                Some(t) => value.ty.is_none() || value.ty == Some(super::read::type_of(t)),
                None => value.ty.is_none(),
            };
            let silent = implied
                && value.exact_type.is_none()
                && value.doc.is_empty()
                && value.metadata.is_empty();
            if !silent && self.said.binary_search(&id).is_err() {
                out.push(info(value)?);
            }
        }
        Ok(out)
    }
}

fn info(value: &Value) -> Result<proto::ValueInfo> {
    let ty = types::encode(value.ty.as_ref(), value.exact_type.as_ref())
        .map_err(|e| e.item(format!("value `{}`", value.name)))?;
    Ok(proto::ValueInfo {
        name: value.name.clone(),
        r#type: ty,
        doc_string: value.doc.clone(),
        metadata_props: entries(&value.metadata),
    })
}

fn node(body: &Body, node: &Node, payloads: &mut Payloads) -> Result<Rope> {
    let names = |ids: &[Option<ValueId>]| {
        ids.iter().map(|id| id.map_or_else(String::new, |id| body.value(id).name.clone())).collect()
    };
    let extra = proto::Node::decode(node.extra.clone())
        .map_err(|e| Error::bug("the extra fields of a node do not decode").caused_by(e))?;
    let header = proto::Node {
        input: names(&node.inputs),
        output: names(&node.outputs),
        name: node.name.clone(),
        op_type: node.op.clone(),
        domain: node.domain.clone(),
        overload: node.overload.clone(),
        doc_string: node.doc.clone(),
        metadata_props: entries(&node.metadata),
        device_configurations: extra.device_configurations,
        attribute: Vec::new(),
    };
    let mut rope = Rope::default();
    rope.merge(&header);
    for a in &node.attrs {
        let message = attribute(a, payloads)
            .map_err(|e| e.item(format!("{}, attribute `{}`", node.label(), a.name)))?;
        rope.nested(5, message);
    }
    Ok(rope)
}

fn attribute(attr: &Attr, payloads: &mut Payloads) -> Result<Rope> {
    use proto::AttributeType as T;
    let mut head = proto::Attribute {
        name: attr.name.clone(),
        doc_string: attr.doc.clone(),
        ..proto::Attribute::default()
    };
    let mut rope = Rope::default();
    let kind = match &attr.value {
        AttrValue::Float(v) => {
            head.f = Some(*v);
            T::Float
        }
        AttrValue::Int(v) => {
            head.i = Some(*v);
            T::Int
        }
        AttrValue::String(v) => {
            head.s = Some(v.clone());
            T::String
        }
        AttrValue::Floats(v) => {
            head.floats.clone_from(v);
            T::Floats
        }
        AttrValue::Ints(v) => {
            head.ints.clone_from(v);
            T::Ints
        }
        AttrValue::Strings(v) => {
            head.strings.clone_from(v);
            T::Strings
        }
        AttrValue::Type(t) => {
            head.tp = Some(Box::new(types::to_proto(t)?));
            T::TypeProto
        }
        AttrValue::Types(v) => {
            head.type_protos = v.iter().map(types::to_proto).collect::<Result<_>>()?;
            T::TypeProtos
        }
        AttrValue::Tensor(t) => {
            rope.nested(5, tensor(None, t)?);
            T::Tensor
        }
        AttrValue::Tensors(v) => {
            v.iter().try_for_each(|t| tensor(None, t).map(|t| rope.nested(10, t)))?;
            T::Tensors
        }
        AttrValue::Sparse(t) => {
            rope.nested(22, sparse_tensor(None, t)?);
            T::SparseTensor
        }
        AttrValue::Sparses(v) => {
            v.iter().try_for_each(|t| sparse_tensor(None, t).map(|t| rope.nested(23, t)))?;
            T::SparseTensors
        }
        AttrValue::Graph(g) => {
            rope.nested(6, body(g, payloads)?);
            T::Graph
        }
        AttrValue::Graphs(v) => {
            v.iter().try_for_each(|g| body(g, payloads).map(|g| rope.nested(11, g)))?;
            T::Graphs
        }
        AttrValue::Reference(name, kind) => {
            head.ref_attr_name.clone_from(name);
            head.r#type = *kind;
            rope.merge(&head);
            return Ok(rope);
        }
        AttrValue::Encoded(bytes) => {
            let message = proto::Attribute::decode(bytes.clone())
                .map_err(|e| Error::bug("an encoded attribute does not decode").caused_by(e))?;
            rope.merge(&proto::Attribute {
                name: head.name,
                doc_string: head.doc_string,
                ..message
            });
            return Ok(rope);
        }
    };
    head.r#type = kind.into();
    rope.merge(&head);
    Ok(rope)
}

/// The fields of a tensor besides its contents; `name` takes the place of the one in its note.
fn tensor_head(name: Option<&str>, tensor: &Tensor) -> Result<proto::Tensor> {
    let note = tensor.note().cloned().unwrap_or_default();
    Ok(proto::Tensor {
        dims: tensor.shape().iter().map(|d| types::length(*d)).collect::<Result<_>>()?,
        data_type: types::number(tensor.dtype()),
        name: name.map_or(note.name, str::to_owned),
        metadata_props: entries(&note.metadata),
        ..proto::Tensor::default()
    })
}

/// The documentation of a tensor. It comes after `raw_data`: padding before that is a doc string
/// of spaces, and of a field given twice the last one counts.
fn tensor_doc(tensor: &Tensor, rope: &mut Rope) {
    if let Some(note) = tensor.note()
        && !note.doc.is_empty()
    {
        rope.bytes(12, note.doc.as_bytes());
    }
}

fn tensor(name: Option<&str>, tensor: &Tensor) -> Result<Rope> {
    let mut head = tensor_head(name, tensor)?;
    let mut rope = Rope::default();
    if tensor.dtype() == DType::String {
        head.string_data = tensor.to_strings()?;
        rope.merge(&head);
    } else {
        rope.merge(&head);
        rope.raw_data(tensor.clone());
    }
    tensor_doc(tensor, &mut rope);
    Ok(rope)
}

fn initializer(name: &str, content: &Tensor, payloads: &mut Payloads) -> Result<Rope> {
    let len = content.byte_len();
    let Some(location) =
        payloads.external.clone().filter(|_| len >= LARGE && content.dtype() != DType::String)
    else {
        return tensor(Some(name), content);
    };
    let gap = payloads.at.wrapping_neg() % PAGE;
    if gap > 0 {
        let zeros = usize::try_from(gap).unwrap_or_default();
        payloads.segments.push(Segment::Bytes(vec![0; zeros].into()));
        payloads.at += gap;
    }
    let mut head = tensor_head(Some(name), content)?;
    head.data_location = proto::EXTERNAL;
    head.external_data = external_entries(&location, payloads.at, len);
    payloads.segments.push(Segment::Tensor(content.clone()));
    payloads.at += len;
    let mut rope = Rope::default();
    rope.merge(&head);
    tensor_doc(content, &mut rope);
    Ok(rope)
}

/// What a tensor says of its external data.
pub(super) fn external_entries(location: &str, offset: u64, len: u64) -> Vec<proto::Entry> {
    [("location", location.to_owned()), ("offset", offset.to_string()), ("length", len.to_string())]
        .map(|(key, value)| proto::Entry { key: key.to_owned(), value })
        .into()
}

fn sparse_tensor(name: Option<&str>, sparse: &SparseTensor) -> Result<Rope> {
    let dims = sparse.shape.iter().map(|d| types::length(*d)).collect::<Result<_>>()?;
    let mut rope = Rope::default();
    rope.merge(&proto::SparseTensor { dims, ..proto::SparseTensor::default() });
    rope.nested(1, tensor(name, &sparse.values)?);
    rope.nested(2, tensor(None, &sparse.indices)?);
    Ok(rope)
}

fn function(function: &Function, payloads: &mut Payloads) -> Result<Rope> {
    let body = &function.body;
    let names = |ids: &[ValueId]| ids.iter().map(|id| body.value(*id).name.clone()).collect();
    if let Some((_, value, _)) = body.initializers().next() {
        return Err(Error::unsupported("an ONNX function cannot hold an initializer")
            .item(format!("tensor `{}`", value.name)));
    }
    let value_info = body
        .value_ids()
        .map(|id| body.value(id))
        .filter(|v| {
            v.ty.is_some() || v.exact_type.is_some() || !v.doc.is_empty() || !v.metadata.is_empty()
        })
        .map(info)
        .collect::<Result<_>>()?;
    let header = proto::Function {
        name: body.name.clone(),
        input: names(body.inputs()),
        output: names(body.outputs()),
        attribute: function.attributes.clone(),
        doc_string: body.doc.clone(),
        opset_import: opsets(&function.opsets),
        domain: function.domain.clone(),
        overload: function.overload.clone(),
        value_info,
        metadata_props: entries(&body.metadata),
        ..proto::Function::default()
    };
    let mut rope = Rope::default();
    rope.merge(&header);
    for a in &function.defaults {
        rope.nested(
            11,
            attribute(a, payloads).map_err(|e| e.item(format!("attribute `{}`", a.name)))?,
        );
    }
    for (_, n) in body.nodes() {
        rope.nested(7, node(body, n, payloads)?);
    }
    Ok(rope)
}
