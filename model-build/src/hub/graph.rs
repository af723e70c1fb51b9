//! The ONNX-shaped graph: values, nodes, attributes, subgraphs. Read freely, changed only through
//! [`Edit`](super::Edit).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::{DType, Tensor};
use crate::error::{Error, Result};

/// One axis of a shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// A known length.
    Fixed(u64),
    /// A named length that is known when the model runs; equal names are equal lengths.
    Symbol(Arc<str>),
    /// Nothing is known.
    Unknown,
}

impl Dim {
    /// A named length.
    pub fn symbol(name: &str) -> Self {
        Self::Symbol(name.into())
    }
    /// The length if it is known.
    pub fn fixed(&self) -> Option<u64> {
        match self {
            Self::Fixed(n) => Some(*n),
            _ => None,
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(n) => write!(f, "{n}"),
            Self::Symbol(s) => f.write_str(s),
            Self::Unknown => f.write_str("?"),
        }
    }
}

/// The type of a value, as ONNX has them.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// A dense tensor; `shape` is `None` when not even the rank is known.
    Tensor {
        /// Element type.
        dtype: DType,
        /// Axes, outermost first.
        shape: Option<Vec<Dim>>,
    },
    /// A sparse tensor.
    Sparse {
        /// Element type.
        dtype: DType,
        /// Axes, outermost first.
        shape: Option<Vec<Dim>>,
    },
    /// A sequence of values.
    Sequence(Box<Type>),
    /// A value or nothing.
    Optional(Box<Type>),
    /// A map from an integral or string key.
    Map(DType, Box<Type>),
    /// A type that only the operators of its domain understand.
    Opaque {
        /// The domain.
        domain: String,
        /// The name within the domain.
        name: String,
    },
}

impl Type {
    /// A dense tensor type.
    pub fn tensor(dtype: DType, shape: impl IntoIterator<Item = Dim>) -> Self {
        Self::Tensor { dtype, shape: Some(shape.into_iter().collect()) }
    }
    /// Element type and shape of a dense tensor.
    pub fn as_tensor(&self) -> Option<(DType, Option<&[Dim]>)> {
        match self {
            Self::Tensor { dtype, shape } => Some((*dtype, shape.as_deref())),
            _ => None,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor { dtype, shape } | Self::Sparse { dtype, shape } => {
                if matches!(self, Self::Sparse { .. }) {
                    f.write_str("sparse ")?;
                }
                write!(f, "{dtype}")?;
                match shape {
                    None => f.write_str("[...]"),
                    Some(dims) => {
                        let dims: Vec<_> = dims.iter().map(ToString::to_string).collect();
                        write!(f, "[{}]", dims.join(", "))
                    }
                }
            }
            Self::Sequence(of) => write!(f, "sequence({of})"),
            Self::Optional(of) => write!(f, "optional({of})"),
            Self::Map(key, of) => write!(f, "map({key}, {of})"),
            Self::Opaque { domain, name } => write!(f, "opaque({domain}.{name})"),
        }
    }
}

/// A constant of which only the elements that are not zero are stored.
#[derive(Clone, Debug)]
pub struct SparseTensor {
    /// The stored elements: `[nnz]`.
    pub values: Tensor,
    /// Where they are, ascending, `i64`: `[nnz]` flat positions or `[nnz, rank]` coordinates.
    pub indices: Tensor,
    /// The shape of the whole.
    pub shape: Vec<u64>,
}

/// Index of a [`Value`] in its [`Body`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(super) u32);

/// Index of a [`Node`] in its [`Body`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(super) u32);

/// An edge of the graph: a graph input, a node's output, a constant, or (in a subgraph) a name of
/// the enclosing graph.
#[derive(Clone, Debug, Default)]
pub struct Value {
    /// Unique in its body.
    pub name: String,
    /// What is known of its type.
    pub ty: Option<Type>,
    /// The constant, if this is an initializer.
    pub init: Option<Tensor>,
    /// The constant, if this is a sparse initializer.
    pub sparse: Option<Box<SparseTensor>>,
    /// Documentation.
    pub doc: String,
    /// Free key/value metadata.
    pub metadata: Vec<(String, String)>,
    /// The type as its format encodes it, when `ty` cannot hold all of it (denotations). A writer
    /// uses it only while it still means `ty`.
    pub exact_type: Option<Bytes>,
}

/// An operator application.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Operator name.
    pub op: String,
    /// Operator domain; empty for the standard one.
    pub domain: String,
    /// Overload of a model-local function; empty otherwise.
    pub overload: String,
    /// The node's own name; may be empty.
    pub name: String,
    /// Inputs; `None` is an optional one left out.
    pub inputs: Vec<Option<ValueId>>,
    /// Outputs; `None` is an optional one left out.
    pub outputs: Vec<Option<ValueId>>,
    /// Attributes, in file order.
    pub attrs: Vec<Attr>,
    /// Documentation.
    pub doc: String,
    /// Free key/value metadata.
    pub metadata: Vec<(String, String)>,
    /// What the format holds of this node that has no place here (device placement), encoded.
    pub extra: Bytes,
}

impl Node {
    /// A node of the standard domain.
    pub fn new(op: &str, inputs: &[ValueId], outputs: &[ValueId]) -> Self {
        Self {
            op: op.to_owned(),
            inputs: inputs.iter().copied().map(Some).collect(),
            outputs: outputs.iter().copied().map(Some).collect(),
            ..Self::default()
        }
    }
    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, name: &str, value: AttrValue) -> Self {
        self.attrs.push(Attr { name: name.to_owned(), value, doc: String::new() });
        self
    }
    /// The attribute of that name.
    pub fn attr(&self, name: &str) -> Option<&AttrValue> {
        self.attrs.iter().find(|a| a.name == name).map(|a| &a.value)
    }
    /// Input `index`, if present.
    pub fn input(&self, index: usize) -> Option<ValueId> {
        self.inputs.get(index).copied().flatten()
    }
    /// Output `index`, if present.
    pub fn output(&self, index: usize) -> Option<ValueId> {
        self.outputs.get(index).copied().flatten()
    }
    /// Whether this is `op` of the standard domain.
    pub fn is(&self, op: &str) -> bool {
        self.op == op && (self.domain.is_empty() || self.domain == "ai.onnx")
    }
    /// How messages call this node: its name and op.
    pub fn label(&self) -> String {
        let op = if self.domain.is_empty() {
            self.op.clone()
        } else {
            format!("{}::{}", self.domain, self.op)
        };
        if self.name.is_empty() {
            format!("node {op}")
        } else {
            format!("node `{}` ({op})", self.name)
        }
    }
}

/// A named attribute of a node.
#[derive(Clone, Debug)]
pub struct Attr {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: AttrValue,
    /// Documentation.
    pub doc: String,
}

/// An attribute's value.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // the variants are ONNX's own
pub enum AttrValue {
    Float(f32),
    Int(i64),
    String(Bytes),
    Tensor(Tensor),
    Graph(Box<Body>),
    Type(Type),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    Strings(Vec<Bytes>),
    Tensors(Vec<Tensor>),
    Graphs(Vec<Body>),
    Types(Vec<Type>),
    Sparse(Box<SparseTensor>),
    Sparses(Vec<SparseTensor>),
    /// What has no form here (a type with denotations), as its format encodes the attribute.
    Encoded(Bytes),
    /// Inside a function: the name of the function's attribute that gives the value, and ONNX's
    /// number of the attribute type.
    Reference(String, i32),
}

impl AttrValue {
    /// An integer attribute's value.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(i) => Some(*i),
            _ => None,
        }
    }
    /// A float attribute's value.
    pub fn as_float(&self) -> Option<f32> {
        match self {
            Self::Float(v) => Some(*v),
            _ => None,
        }
    }
    /// An integer-list attribute's value.
    pub fn as_ints(&self) -> Option<&[i64]> {
        match self {
            Self::Ints(v) => Some(v),
            _ => None,
        }
    }
    /// The subgraphs it is.
    pub fn subgraphs_mut(&mut self) -> &mut [Body] {
        match self {
            Self::Graph(g) => std::slice::from_mut(&mut **g),
            Self::Graphs(gs) => gs.as_mut_slice(),
            _ => &mut [],
        }
    }
    /// A string attribute's value, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(v) => std::str::from_utf8(v).ok(),
            _ => None,
        }
    }
}

/// What a tool noted of how a value is quantized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// The value's name.
    pub value: String,
    /// Roles and names of the tensors that hold the parameters: (`SCALE_TENSOR`, `x_scale`), ….
    pub parameters: Vec<(String, String)>,
}

/// Nodes and values: the main graph, a subgraph of a control-flow node, or a function's body.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// Its name.
    pub name: String,
    /// Documentation.
    pub doc: String,
    /// Free key/value metadata.
    pub metadata: Vec<(String, String)>,
    /// What tools noted of how values are quantized.
    pub annotations: Vec<Annotation>,
    pub(super) values: Vec<Value>,
    pub(super) names: HashMap<String, ValueId>,
    /// Slots; a removed node leaves `None` until the edit that removed it ends.
    pub(super) nodes: Vec<Option<Node>>,
    pub(super) inputs: Vec<ValueId>,
    pub(super) outputs: Vec<ValueId>,
}

impl Body {
    /// An empty graph.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }
    /// The values' ids, in creation order.
    pub fn value_ids(&self) -> impl Iterator<Item = ValueId> + use<> {
        (0..u32::try_from(self.values.len()).unwrap_or(u32::MAX)).map(ValueId)
    }
    /// A value. Ids belong to one body.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0 as usize]
    }
    /// The value of that name.
    pub fn find(&self, name: &str) -> Option<ValueId> {
        self.names.get(name).copied()
    }
    /// The nodes in topological order (as read, or as the last edit left them).
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        (0u32..).map(NodeId).zip(&self.nodes).filter_map(|(id, n)| Some((id, n.as_ref()?)))
    }
    /// A node that has not been removed.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.0 as usize)?.as_ref()
    }
    /// The inputs, in order. With old files (IR version 3) these may include initializers.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }
    /// The outputs, in order.
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }
    /// The values that hold constants, in creation order.
    pub fn initializers(&self) -> impl Iterator<Item = (ValueId, &Value, &Tensor)> {
        self.value_ids().filter_map(|id| {
            let value = self.value(id);
            Some((id, value, value.init.as_ref()?))
        })
    }
    /// The constant a value holds, as an initializer.
    pub fn constant(&self, id: ValueId) -> Option<&Tensor> {
        self.value(id).init.as_ref()
    }
    /// Element type and shape of a value, if it is known to be a dense tensor.
    pub fn tensor_type(&self, id: ValueId) -> Option<(DType, Option<&[Dim]>)> {
        self.value(id).ty.as_ref()?.as_tensor()
    }

    /// Adds a value while reading or lowering. An error when the name is taken.
    pub fn add_value(&mut self, value: Value) -> Result<ValueId> {
        let id = ValueId(
            u32::try_from(self.values.len())
                .map_err(|_| Error::unsupported("a graph of more than 2^32 values"))?,
        );
        if self.names.insert(value.name.clone(), id).is_some() {
            return Err(Error::malformed("two values have one name").item(value.name));
        }
        self.values.push(value);
        Ok(id)
    }
    /// The value of that name, added with nothing known of it if there is none.
    pub fn intern(&mut self, name: &str) -> Result<ValueId> {
        match self.find(name) {
            Some(id) => Ok(id),
            None => self.add_value(Value { name: name.to_owned(), ..Value::default() }),
        }
    }
    /// Appends a node while reading or lowering.
    pub fn add_node(&mut self, node: Node) -> Result<NodeId> {
        let id = NodeId(
            u32::try_from(self.nodes.len())
                .map_err(|_| Error::unsupported("a graph of more than 2^32 nodes"))?,
        );
        self.nodes.push(Some(node));
        Ok(id)
    }
    /// Appends a graph input while reading or lowering.
    pub fn add_input(&mut self, id: ValueId) {
        self.inputs.push(id);
    }
    /// Keeps the graph inputs that a condition holds of; the others stay as values.
    pub fn retain_inputs(&mut self, keep: impl Fn(&Value) -> bool) {
        let values = &self.values;
        self.inputs.retain(|id| keep(&values[id.0 as usize]));
    }
    /// Appends a graph output while reading or lowering.
    pub fn add_output(&mut self, id: ValueId) {
        self.outputs.push(id);
    }
    /// Changes what is known of a value while reading or inferring shapes.
    pub fn value_mut(&mut self, id: ValueId) -> &mut Value {
        &mut self.values[id.0 as usize]
    }

    /// The subgraphs of all nodes, one level deep.
    pub fn subgraphs_mut(&mut self) -> impl Iterator<Item = &mut Body> {
        self.nodes.iter_mut().flatten().flat_map(Node::subgraphs_mut)
    }

    /// Names a subgraph uses and does not define: they are the enclosing graph's.
    pub fn captures(&self) -> Vec<&str> {
        let mut defined = vec![false; self.values.len()];
        for id in &self.inputs {
            defined[id.0 as usize] = true;
        }
        for (seen, value) in defined.iter_mut().zip(&self.values) {
            *seen |= value.init.is_some() || value.sparse.is_some();
        }
        for (_, node) in self.nodes() {
            for id in node.outputs.iter().flatten() {
                defined[id.0 as usize] = true;
            }
        }
        let mut found: Vec<&str> = Vec::new();
        let used = self.nodes().flat_map(|(_, n)| n.inputs.iter().flatten()).chain(&self.outputs);
        found.extend(
            used.filter(|id| !defined[id.0 as usize]).map(|id| self.value(*id).name.as_str()),
        );
        for inner in self.nodes().flat_map(|(_, n)| n.subgraphs()) {
            found.extend(
                inner
                    .captures()
                    .into_iter()
                    .filter(|name| self.find(name).is_none_or(|id| !defined[id.0 as usize])),
            );
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

impl Node {
    /// The subgraphs among the attributes.
    pub fn subgraphs(&self) -> impl Iterator<Item = &Body> {
        self.attrs.iter().flat_map(|a| match &a.value {
            AttrValue::Graph(g) => std::slice::from_ref(&**g),
            AttrValue::Graphs(gs) => gs.as_slice(),
            _ => &[],
        })
    }
    /// The subgraphs among the attributes.
    pub fn subgraphs_mut(&mut self) -> impl Iterator<Item = &mut Body> {
        self.attrs.iter_mut().flat_map(|a| a.value.subgraphs_mut())
    }
}

/// A model-local function.
#[derive(Clone, Debug, Default)]
pub struct Function {
    /// Domain of the operator it defines.
    pub domain: String,
    /// Overload of the operator it defines.
    pub overload: String,
    /// Attributes without a default.
    pub attributes: Vec<String>,
    /// Attributes with a default.
    pub defaults: Vec<Attr>,
    /// Operator sets its body uses.
    pub opsets: BTreeMap<String, i64>,
    /// The body; its name is the operator's name.
    pub body: Body,
}

/// A whole model: what an ONNX file holds.
#[derive(Clone, Debug)]
pub struct Graph {
    /// ONNX IR version.
    pub ir_version: i64,
    /// Operator sets by domain; the standard domain is the empty string.
    pub opsets: BTreeMap<String, i64>,
    /// Name of the tool that made the model.
    pub producer: String,
    /// Version of the tool that made the model.
    pub producer_version: String,
    /// Namespace of the model.
    pub domain: String,
    /// Version of the model.
    pub model_version: i64,
    /// Documentation.
    pub doc: String,
    /// Free key/value metadata.
    pub metadata: Vec<(String, String)>,
    /// Model-local functions.
    pub functions: Vec<Function>,
    /// What the format holds of the model that has no place here (training graphs, device
    /// configurations), encoded.
    pub extra: Bytes,
    /// The main graph.
    pub body: Body,
}

impl Graph {
    /// An empty model for an opset of the standard domain.
    pub fn new(name: &str, ir_version: i64, opset: i64) -> Self {
        Self {
            ir_version,
            opsets: BTreeMap::from([(String::new(), opset)]),
            producer: "model-build".to_owned(),
            producer_version: String::new(),
            domain: String::new(),
            model_version: 0,
            doc: String::new(),
            metadata: Vec::new(),
            functions: Vec::new(),
            extra: Bytes::new(),
            body: Body::new(name),
        }
    }
    /// The version of the standard operator set; 1 where none is imported.
    pub fn opset(&self) -> i64 {
        self.opsets.get("").copied().unwrap_or(1)
    }
    /// The domains of the operators in use, in subgraphs and functions too.
    pub fn domains(&self) -> BTreeSet<String> {
        fn collect(body: &Body, out: &mut BTreeSet<String>) {
            for (_, node) in body.nodes() {
                out.insert(node.domain.clone());
                node.subgraphs().for_each(|inner| collect(inner, out));
            }
        }
        let mut out = BTreeSet::new();
        collect(&self.body, &mut out);
        self.functions.iter().for_each(|function| collect(&function.body, &mut out));
        out
    }
    /// Starts a change of the main graph.
    pub fn edit(&mut self) -> super::Edit<'_> {
        super::Edit::new(&mut self.body)
    }
}
