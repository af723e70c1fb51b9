//! Operators between `DequantizeLinear` and `QuantizeLinear` become operators on integers.

use crate::hub::{Attr, AttrValue, DType, Edit, Node, NodeId, Use, ValueId};

/// How the inputs of an integer operator are laid out.
enum Layout {
    /// `x, x_scale, x_zero` of the first so many inputs, `y_scale, y_zero`, then a bias in integers.
    Product,
    /// The same with the bias before `y_scale` (an empty input where there is none).
    Gemm,
    /// `x, x_scale, x_zero` of every input, `y_scale, y_zero`.
    Plain,
    /// `y_scale, y_zero`, then `x, x_scale, x_zero` of every input.
    Concat,
    /// The operator itself, on integers that have one scale before and after.
    Same,
}

struct Form {
    op: &'static str,
    integer: &'static str,
    layout: Layout,
    microsoft: bool,
}

const fn form(op: &'static str, integer: &'static str, layout: Layout, microsoft: bool) -> Form {
    Form { op, integer, layout, microsoft }
}

const FORMS: &[Form] = &[
    form("Add", "QLinearAdd", Layout::Plain, true),
    form("AveragePool", "QLinearAveragePool", Layout::Plain, true),
    form("Concat", "QLinearConcat", Layout::Concat, true),
    form("Conv", "QLinearConv", Layout::Product, false),
    form("Flatten", "Flatten", Layout::Same, false),
    form("Gather", "Gather", Layout::Same, false),
    form("Gemm", "QGemm", Layout::Gemm, true),
    form("GlobalAveragePool", "QLinearGlobalAveragePool", Layout::Plain, true),
    form("LeakyRelu", "QLinearLeakyRelu", Layout::Plain, true),
    form("MatMul", "QLinearMatMul", Layout::Product, false),
    form("MaxPool", "MaxPool", Layout::Same, false),
    form("Mul", "QLinearMul", Layout::Plain, true),
    form("Reshape", "Reshape", Layout::Same, false),
    form("Resize", "Resize", Layout::Same, false),
    form("Sigmoid", "QLinearSigmoid", Layout::Plain, true),
    form("Softmax", "QLinearSoftmax", Layout::Plain, true),
    form("Squeeze", "Squeeze", Layout::Same, false),
    form("Transpose", "Transpose", Layout::Same, false),
    form("Unsqueeze", "Unsqueeze", Layout::Same, false),
];

/// Integers with their scale and zero point.
#[derive(Clone, Copy)]
struct Triple {
    values: ValueId,
    scale: ValueId,
    zero: ValueId,
}

/// Folds every node that computes on what comes out of `DequantizeLinear` and whose result goes into a
/// `QuantizeLinear` alone. What does not fit stays as it is, which means the same.
///
/// ```text
/// before: q ─▶ DequantizeLinear ─▶ Conv(·, DequantizeLinear(w)) ─▶ QuantizeLinear ─▶ p
/// after:  q ─▶ QLinearConv(·, w) ─▶ p
/// ```
pub(super) fn fold(edit: &mut Edit<'_>, opset: i64) {
    let ids: Vec<NodeId> = edit.body().nodes().map(|(id, _)| id).collect();
    for id in ids {
        if let Some((node, quantize)) = integer_form(edit, id, opset) {
            edit.remove(quantize);
            edit.replace(id, node);
        }
    }
    sweep(edit);
}

fn triple(edit: &Edit<'_>, value: ValueId) -> Option<Triple> {
    let node = edit.body().node(edit.producer(value)?)?;
    let fits = node.op == "DequantizeLinear" && node.domain.is_empty();
    let (values, scale, zero) = (node.input(0)?, node.input(1)?, node.input(2)?);
    fits.then_some(Triple { values, scale, zero })
}

/// The integers that a value becomes, if that is all it becomes, and the node that makes them.
fn target(edit: &Edit<'_>, value: ValueId) -> Option<(Triple, NodeId)> {
    let [Use::Input(id, 0)] = edit.uses(value) else { return None };
    let node = edit.body().node(*id)?;
    let fits = node.op == "QuantizeLinear" && node.domain.is_empty();
    let (scale, zero, values) = (node.input(1)?, node.input(2)?, node.output(0)?);
    fits.then_some((Triple { values, scale, zero }, *id))
}

fn dtype(edit: &Edit<'_>, zero: ValueId) -> Option<DType> {
    edit.body().constant(zero).map(crate::hub::Tensor::dtype)
}

/// The integer form of a node and the `QuantizeLinear` that it takes in.
fn integer_form(edit: &Edit<'_>, id: NodeId, opset: i64) -> Option<(Node, NodeId)> {
    let node = edit.body().node(id)?;
    let form = FORMS.iter().find(|form| node.is(form.op))?;
    let (out, quantize) = target(edit, node.output(0)?)?;
    if node.outputs.len() != 1 {
        return None;
    }
    let data = match form.layout {
        Layout::Product | Layout::Gemm => 2,
        Layout::Same => 1,
        Layout::Plain | Layout::Concat => node.inputs.len(),
    };
    let read: Option<Vec<Triple>> = (0..data).map(|i| triple(edit, node.input(i)?)).collect();
    let read = read?;
    let first = dtype(edit, read.first()?.zero)?;
    let same = |t: &Triple| dtype(edit, t.zero) == Some(first);
    let whole = |t: &Triple| edit.body().constant(t.scale).is_some_and(|s| s.len() == 1);
    let fits = same(&out)
        && read.iter().take(1).all(whole)
        && match form.layout {
            // Signed inputs take signed weights alone.
            Layout::Product | Layout::Gemm => {
                let second = dtype(edit, read.get(1)?.zero)?;
                second == first || (first, second) == (DType::U8, DType::I8)
            }
            Layout::Same => read.first()?.scale == out.scale && read.first()?.zero == out.zero,
            Layout::Plain | Layout::Concat => read.iter().all(|t| same(t) && whole(t)),
        };
    if !fits {
        return None;
    }
    let bias = match (node.op.as_str(), node.input(2)) {
        ("Conv" | "Gemm", Some(bias)) => {
            let bias = triple(edit, bias)?;
            (dtype(edit, bias.zero)? == DType::I32).then_some(Some(bias.values))?
        }
        _ => None,
    };
    Some((built(node, form, &read, out, bias, opset), quantize))
}

fn built(
    node: &Node,
    form: &Form,
    read: &[Triple],
    out: Triple,
    bias: Option<ValueId>,
    opset: i64,
) -> Node {
    let triples = read.iter().flat_map(|t| [t.values, t.scale, t.zero]).map(Some);
    let scales = [Some(out.scale), Some(out.zero)];
    let mut made = node.clone();
    form.integer.clone_into(&mut made.op);
    if form.microsoft {
        "com.microsoft".clone_into(&mut made.domain);
    }
    made.outputs = vec![Some(out.values)];
    made.inputs = match form.layout {
        Layout::Product => triples.chain(scales).chain(bias.map(Some)).collect(),
        Layout::Gemm => triples.chain([bias]).chain(scales).collect(),
        Layout::Plain => triples.chain(scales).collect(),
        Layout::Concat => scales.into_iter().chain(triples).collect(),
        Layout::Same => {
            let mut inputs = node.inputs.clone();
            if let (Some(first), Some(t)) = (inputs.first_mut(), read.first()) {
                *first = Some(t.values);
            }
            inputs
        }
    };
    match node.op.as_str() {
        "Gemm" => made.attrs.retain(|attr| attr.name != "beta"),
        "GlobalAveragePool" => set(&mut made.attrs, "channels_last", 0),
        "Softmax" => set(&mut made.attrs, "opset", opset),
        _ => {}
    }
    made
}

fn set(attrs: &mut Vec<Attr>, name: &str, value: i64) {
    attrs.push(Attr { name: name.to_owned(), value: AttrValue::Int(value), doc: String::new() });
}

/// Removes every `DequantizeLinear` that nothing reads any more.
fn sweep(edit: &mut Edit<'_>) {
    let unread: Vec<NodeId> = edit
        .body()
        .nodes()
        .filter(|(_, node)| node.op == "DequantizeLinear")
        .filter(|(_, node)| node.outputs.iter().flatten().all(|out| edit.uses(*out).is_empty()))
        .map(|(id, _)| id)
        .collect();
    unread.into_iter().for_each(|id| edit.remove(id));
}
