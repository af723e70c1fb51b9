//! `ModelProto` → graph.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use super::tensor::{Beside, External};
use super::{check, proto, tensor, types};
use crate::error::{Error, Result};
use crate::hub::{
    Annotation, Attr, AttrValue, Body, Dim, Function, Graph, Node, Tensor, Type, Value, ValueId,
};

/// Decodes the bytes of a model file; tensor contents become slices of them.
pub(super) fn decode(bytes: &Bytes) -> Result<proto::Model> {
    proto::Model::decode(bytes.clone()).map_err(|e| {
        if e.to_string().contains("recursion limit") {
            Error::unsupported("graphs, types or attributes are nested too deeply")
                .hint("ONNX files can nest about 30 subgraphs in each other: flatten the model")
        } else {
            Error::malformed(format!("not a valid ONNX file: {e}")).hint(
                "the file is truncated, damaged or of another format: fetch or export it again",
            )
        }
    })
}

/// Reads a model.
pub(super) fn read(bytes: &Bytes, beside: Beside<'_>) -> Result<Graph> {
    let model = decode(bytes)?;
    let external = &mut External::new(beside);
    let ir_version = model
        .ir_version
        .ok_or_else(|| Error::malformed("no ir_version: this is not an ONNX model"))?;
    let message =
        model.graph.as_ref().ok_or_else(|| Error::malformed("the model holds no graph"))?;
    let mut body = graph(message, external)?;
    check::model_body(&mut body)?;
    let functions = model
        .functions
        .iter()
        .map(|f| function(f, external).map_err(|e| e.item(format!("function `{}`", f.name))))
        .collect::<Result<Vec<_>>>()?;
    Ok(Graph {
        ir_version,
        opsets: opsets(&model.opset_import)?,
        extra: extra(&model)?,
        producer: model.producer_name,
        producer_version: model.producer_version,
        domain: model.domain,
        model_version: model.model_version,
        doc: model.doc_string,
        metadata: entries(&model.metadata_props),
        functions,
        body,
    })
}

/// What of a model has no place in the hub: training graphs and device configurations.
fn extra(model: &proto::Model) -> Result<Bytes> {
    let external = |t: &&proto::Tensor| t.data_location == proto::EXTERNAL;
    let graphs = model.training_info.iter().flat_map(|t| [&t.initialization, &t.algorithm]);
    if let Some(t) = graphs.flatten().flat_map(|g| &g.initializer).find(external) {
        return Err(Error::unsupported("a training graph with external data")
            .item(format!("tensor `{}`", t.name))
            .hint("remove training_info from the model: inference does not need it"));
    }
    let message = proto::Model {
        training_info: model.training_info.clone(),
        configuration: model.configuration.clone(),
        ..proto::Model::default()
    };
    Ok(message.encode_to_vec().into())
}

/// Key/value pairs, in file order.
pub(super) fn entries(entries: &[proto::Entry]) -> Vec<(String, String)> {
    entries.iter().map(|e| (e.key.clone(), e.value.clone())).collect()
}

/// Operator sets by domain; `ai.onnx` is another name of the standard one.
fn opsets(imports: &[proto::OperatorSetId]) -> Result<BTreeMap<String, i64>> {
    let mut out = BTreeMap::new();
    for import in imports {
        let domain = if import.domain == "ai.onnx" { "" } else { &import.domain };
        if let Some(old) = out.insert(domain.to_owned(), import.version)
            && old != import.version
        {
            return Err(Error::malformed(format!(
                "operator set `{domain}` is imported in versions {old} and {}",
                import.version
            )));
        }
    }
    Ok(out)
}

fn graph(message: &proto::Graph, external: &mut External<'_>) -> Result<Body> {
    let mut body = Body::new(&message.name);
    body.doc.clone_from(&message.doc_string);
    body.metadata = entries(&message.metadata_props);
    body.annotations = message
        .quantization_annotation
        .iter()
        .map(|a| Annotation {
            value: a.tensor_name.clone(),
            parameters: entries(&a.quant_parameter_tensor_names),
        })
        .collect();
    for info in &message.input {
        let id = body.add_value(Value { name: info.name.clone(), ..Value::default() })?;
        note(&mut body, id, info)?;
        body.add_input(id);
    }
    for init in &message.initializer {
        let tensor = tensor::read(init, false, external)?;
        let id = constant(&mut body, &init.name)?;
        let value = body.value_mut(id);
        value.init = Some(tensor);
    }
    for init in &message.sparse_initializer {
        let name = init.values.as_ref().map_or("", |v| &v.name);
        let sparse = tensor::read_sparse(init, false, external)?;
        let id = constant(&mut body, name)?;
        body.value_mut(id).sparse = Some(Box::new(sparse));
    }
    for n in &message.node {
        let node = node(&mut body, n, external)?;
        body.add_node(node)?;
    }
    for info in &message.output {
        let id = body.intern(&info.name)?;
        note(&mut body, id, info)?;
        body.add_output(id);
    }
    for info in &message.value_info {
        let id = body.intern(&info.name)?;
        note(&mut body, id, info)?;
    }
    type_constants(&mut body);
    Ok(body)
}

/// Where the file says nothing of a constant's type, its tensor says it.
fn type_constants(body: &mut Body) {
    let dense: Vec<_> = body
        .initializers()
        .filter(|(_, v, _)| v.ty.is_none())
        .map(|(id, _, t)| (id, t.clone()))
        .collect();
    for (id, tensor) in dense {
        body.value_mut(id).ty = Some(type_of(&tensor));
    }
}

/// The type of a constant.
pub(super) fn type_of(tensor: &Tensor) -> Type {
    Type::tensor(tensor.dtype(), tensor.shape().iter().map(|d| Dim::Fixed(*d)))
}

/// The value that an initializer defines.
fn constant(body: &mut Body, name: &str) -> Result<ValueId> {
    if name.is_empty() {
        return Err(Error::malformed("an initializer without a name"));
    }
    let id = body.intern(name)?;
    let value = body.value(id);
    if value.init.is_some() || value.sparse.is_some() {
        return Err(
            Error::malformed("two initializers have one name").item(format!("tensor `{name}`"))
        );
    }
    Ok(id)
}

/// Adds what a `ValueInfoProto` says of a value; what is known of it already stays.
fn note(body: &mut Body, id: ValueId, info: &proto::ValueInfo) -> Result<()> {
    let value = body.value_mut(id);
    if let Some(message) = &info.r#type
        && value.ty.is_none()
        && value.exact_type.is_none()
    {
        let known =
            types::from_proto(message).map_err(|e| e.item(format!("value `{}`", info.name)))?;
        if !known.whole || known.ty.is_none() {
            value.exact_type = Some(message.encode_to_vec().into());
        }
        value.ty = known.ty;
    }
    if value.doc.is_empty() {
        value.doc.clone_from(&info.doc_string);
    }
    if value.metadata.is_empty() {
        value.metadata = entries(&info.metadata_props);
    }
    Ok(())
}

fn node(body: &mut Body, message: &proto::Node, external: &mut External<'_>) -> Result<Node> {
    let mut ids = |names: &[String]| {
        let id = |n: &String| if n.is_empty() { Ok(None) } else { body.intern(n).map(Some) };
        names.iter().map(id).collect::<Result<Vec<_>>>()
    };
    let extra = proto::Node {
        device_configurations: message.device_configurations.clone(),
        ..proto::Node::default()
    };
    let mut node = Node {
        op: message.op_type.clone(),
        domain: message.domain.clone(),
        overload: message.overload.clone(),
        name: message.name.clone(),
        inputs: ids(&message.input)?,
        outputs: ids(&message.output)?,
        attrs: Vec::new(),
        doc: message.doc_string.clone(),
        metadata: entries(&message.metadata_props),
        extra: extra.encode_to_vec().into(),
    };
    for a in &message.attribute {
        let attr = attribute(a, external)
            .map_err(|e| e.item(format!("{}, attribute `{}`", node.label(), a.name)))?;
        if node.attr(&attr.name).is_some() {
            return Err(Error::malformed("an attribute is given twice").item(format!(
                "{}, attribute `{}`",
                node.label(),
                a.name
            )));
        }
        node.attrs.push(attr);
    }
    Ok(node)
}

/// The type of an attribute whose message does not say it (IR version 1): that of the field given.
fn implied_type(a: &proto::Attribute) -> proto::AttributeType {
    use proto::AttributeType as T;
    let fields = [
        (a.f.is_some(), T::Float),
        (a.i.is_some(), T::Int),
        (a.s.is_some(), T::String),
        (a.t.is_some(), T::Tensor),
        (a.g.is_some(), T::Graph),
        (a.sparse_tensor.is_some(), T::SparseTensor),
        (a.tp.is_some(), T::TypeProto),
        (!a.floats.is_empty(), T::Floats),
        (!a.ints.is_empty(), T::Ints),
        (!a.strings.is_empty(), T::Strings),
        (!a.tensors.is_empty(), T::Tensors),
        (!a.graphs.is_empty(), T::Graphs),
        (!a.sparse_tensors.is_empty(), T::SparseTensors),
        (!a.type_protos.is_empty(), T::TypeProtos),
    ];
    fields.iter().find(|(there, _)| *there).map_or(T::Undefined, |(_, t)| *t)
}

fn attribute(a: &proto::Attribute, external: &mut External<'_>) -> Result<Attr> {
    use proto::AttributeType as T;
    let lacking = || Error::malformed("its value is missing");
    let given = T::try_from(a.r#type).map_err(|_| {
        Error::unsupported(format!("ONNX attribute type number {} is unknown here", a.r#type))
    })?;
    let value = if !a.ref_attr_name.is_empty() {
        AttrValue::Reference(a.ref_attr_name.clone(), a.r#type)
    } else {
        match if given == T::Undefined { implied_type(a) } else { given } {
            T::Undefined => return Err(Error::malformed("it has neither a type nor a value")),
            T::Float => AttrValue::Float(a.f.unwrap_or_default()),
            T::Int => AttrValue::Int(a.i.unwrap_or_default()),
            T::String => AttrValue::String(a.s.clone().unwrap_or_default()),
            T::Tensor => {
                AttrValue::Tensor(tensor::read(a.t.as_ref().ok_or_else(lacking)?, true, external)?)
            }
            T::Graph => {
                AttrValue::Graph(Box::new(graph(a.g.as_ref().ok_or_else(lacking)?, external)?))
            }
            T::SparseTensor => AttrValue::Sparse(Box::new(tensor::read_sparse(
                a.sparse_tensor.as_ref().ok_or_else(lacking)?,
                true,
                external,
            )?)),
            T::TypeProto => {
                return type_attribute(
                    a,
                    std::slice::from_ref(&**a.tp.as_ref().ok_or_else(lacking)?),
                );
            }
            T::Floats => AttrValue::Floats(a.floats.clone()),
            T::Ints => AttrValue::Ints(a.ints.clone()),
            T::Strings => AttrValue::Strings(a.strings.clone()),
            T::Tensors => AttrValue::Tensors(
                a.tensors.iter().map(|t| tensor::read(t, true, external)).collect::<Result<_>>()?,
            ),
            T::Graphs => AttrValue::Graphs(
                a.graphs.iter().map(|g| graph(g, external)).collect::<Result<_>>()?,
            ),
            T::SparseTensors => AttrValue::Sparses(
                a.sparse_tensors
                    .iter()
                    .map(|t| tensor::read_sparse(t, true, external))
                    .collect::<Result<_>>()?,
            ),
            T::TypeProtos => return type_attribute(a, &a.type_protos),
        }
    };
    Ok(Attr { name: a.name.clone(), value, doc: a.doc_string.clone() })
}

/// An attribute of types; kept encoded when the hub cannot hold all of them.
fn type_attribute(a: &proto::Attribute, types: &[proto::Type]) -> Result<Attr> {
    let known = types.iter().map(types::from_proto).collect::<Result<Vec<_>>>()?;
    let whole = known.iter().all(|k| k.whole);
    let mut types = known.into_iter().map(|k| k.ty).collect::<Option<Vec<_>>>();
    let value = match &mut types {
        Some(types) if whole && a.tp.is_none() => AttrValue::Types(std::mem::take(types)),
        Some(types) if whole && types.len() == 1 => AttrValue::Type(types.remove(0)),
        _ => AttrValue::Encoded(a.encode_to_vec().into()),
    };
    Ok(Attr { name: a.name.clone(), value, doc: a.doc_string.clone() })
}

fn function(message: &proto::Function, external: &mut External<'_>) -> Result<Function> {
    let mut body = Body::new(&message.name);
    body.doc.clone_from(&message.doc_string);
    body.metadata = entries(&message.metadata_props);
    for name in &message.input {
        let id = body.add_value(Value { name: name.clone(), ..Value::default() })?;
        body.add_input(id);
    }
    for n in &message.node {
        let node = node(&mut body, n, external)?;
        body.add_node(node)?;
    }
    for name in &message.output {
        let id = body.intern(name)?;
        body.add_output(id);
    }
    for info in &message.value_info {
        let id = body.intern(&info.name)?;
        note(&mut body, id, info)?;
    }
    check::model_body(&mut body)?;
    let defaults = message
        .attribute_proto
        .iter()
        .map(|a| attribute(a, external).map_err(|e| e.item(format!("attribute `{}`", a.name))))
        .collect::<Result<Vec<_>>>()?;
    Ok(Function {
        domain: message.domain.clone(),
        overload: message.overload.clone(),
        attributes: message.attribute.clone(),
        defaults,
        opsets: opsets(&message.opset_import)?,
        body,
    })
}
