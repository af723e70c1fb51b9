//! Reference kernels: what a node of the standard domain gives for constants.
//!
//! A kernel is here only where its result is the one that ONNX's specification leaves no choice in:
//! integers, moved elements, and the floating-point operations that IEEE 754 rounds correctly
//! (`+ - * / sqrt`, rounding to whole numbers, casts). Sums of many floats and transcendental
//! functions differ among runtimes and are left to them. Integers wrap around; a division by zero, an
//! index out of range or a cast out of range is left to the runtime too.

mod array;
mod cast;
mod generate;
mod layout;
mod numeric;
mod reduce;

use crate::hub::{DType, Node, Tensor};

/// A node under evaluation: its inputs are all constants.
pub(super) struct Args<'a> {
    node: &'a Node,
    opset: i64,
    inputs: &'a [Option<Tensor>],
    /// Most bytes of a result.
    cap: u64,
}

impl Args<'_> {
    fn input(&self, i: usize) -> Option<&Tensor> {
        self.inputs.get(i)?.as_ref()
    }
    fn has(&self, i: usize) -> bool {
        self.input(i).is_some()
    }
    fn int(&self, name: &str, default: i64) -> Option<i64> {
        self.node.attr(name).map_or(Some(default), crate::hub::AttrValue::as_int)
    }
    /// The elements of an integer input.
    fn ints(&self, i: usize) -> Option<Vec<i64>> {
        let tensor = self.input(i)?;
        matches!(tensor.dtype(), DType::I64 | DType::I32)
            .then(|| tensor.to_i64().ok().map(std::borrow::Cow::into_owned))
            .flatten()
    }
    /// Integers given as an attribute before opset `since` and as input `i` from it on; `Some(None)`
    /// where they are not given.
    #[allow(clippy::option_option)] // not given and not to be read differ
    fn list(&self, name: &str, i: usize, since: i64) -> Option<Option<Vec<i64>>> {
        if self.opset < since {
            return match self.node.attr(name) {
                None => Some(None),
                Some(value) => Some(Some(value.as_ints()?.to_vec())),
            };
        }
        if self.has(i) { Some(Some(self.ints(i)?)) } else { Some(None) }
    }
    /// An axis as an index.
    fn axis(&self, axis: i64, rank: usize) -> Option<usize> {
        let signed = i64::try_from(rank).ok()?;
        let from_start = if axis < 0 { axis.checked_add(signed)? } else { axis };
        usize::try_from(from_start).ok().filter(|a| *a < rank)
    }
    /// The number of elements of a result of that shape, where it is small enough.
    fn room(&self, dtype: DType, shape: &[u64]) -> Option<usize> {
        let count = shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d))?;
        (is_sane(shape) && dtype.bytes_for(count)? <= self.cap)
            .then(|| usize::try_from(count).ok())
            .flatten()
    }
}

type Kernel = fn(&Args<'_>) -> Option<Vec<Tensor>>;

/// Every kernel, by operator.
static KERNELS: &[(&str, Kernel)] = &[
    ("Abs", numeric::unary),
    ("Add", numeric::binary),
    ("And", numeric::logic),
    ("ArgMax", reduce::arg),
    ("ArgMin", reduce::arg),
    ("Cast", cast::cast),
    ("CastLike", cast::cast_like),
    ("Ceil", numeric::unary),
    ("Clip", numeric::clip),
    ("Concat", layout::concat),
    ("ConstantOfShape", generate::constant_of_shape),
    ("CumSum", reduce::cumulative_sum),
    ("Div", numeric::binary),
    ("Equal", numeric::compare),
    ("Expand", layout::expand),
    ("EyeLike", generate::eye_like),
    ("Flatten", layout::flatten),
    ("Floor", numeric::unary),
    ("Gather", layout::gather),
    ("GatherElements", layout::gather_elements),
    ("GatherND", layout::gather_nd),
    ("Greater", numeric::compare),
    ("GreaterOrEqual", numeric::compare),
    ("Identity", layout::identity),
    ("Less", numeric::compare),
    ("LessOrEqual", numeric::compare),
    ("Max", numeric::binary),
    ("Min", numeric::binary),
    ("Mod", numeric::modulo),
    ("Mul", numeric::binary),
    ("Neg", numeric::unary),
    ("NonZero", reduce::non_zero),
    ("Not", numeric::not),
    ("OneHot", generate::one_hot),
    ("Or", numeric::logic),
    ("Pad", layout::pad),
    ("Pow", numeric::pow),
    ("Range", generate::range),
    ("Reciprocal", numeric::unary),
    ("ReduceMax", reduce::reduce),
    ("ReduceMin", reduce::reduce),
    ("ReduceProd", reduce::reduce),
    ("ReduceSum", reduce::reduce),
    ("Relu", numeric::unary),
    ("Reshape", layout::reshape),
    ("Round", numeric::unary),
    ("ScatterND", layout::scatter_nd),
    ("Shape", generate::shape),
    ("Sign", numeric::unary),
    ("Size", generate::size),
    ("Slice", layout::slice),
    ("Split", layout::split),
    ("Sqrt", numeric::unary),
    ("Squeeze", layout::squeeze),
    ("Sub", numeric::binary),
    ("Sum", numeric::binary),
    ("Tile", layout::tile),
    ("Transpose", layout::transpose),
    ("Trilu", generate::trilu),
    ("Unsqueeze", layout::unsqueeze),
    ("Where", numeric::select),
    ("Xor", numeric::logic),
];

/// Whether there is a kernel for a node.
pub(super) fn has_kernel(node: &Node) -> bool {
    node.is(&node.op) && KERNELS.binary_search_by(|(op, _)| (*op).cmp(&node.op)).is_ok()
}

/// What the node gives, one tensor per output, where that is known and no result takes more than
/// `cap` bytes. `inputs` are the constants of its inputs, `None` for one left out.
pub(super) fn eval(
    node: &Node,
    opset: i64,
    inputs: &[Option<Tensor>],
    cap: u64,
) -> Option<Vec<Tensor>> {
    let at = KERNELS.binary_search_by(|(op, _)| (*op).cmp(&node.op)).ok()?;
    let (_, kernel) = KERNELS.get(at).filter(|_| node.is(&node.op))?;
    if !inputs.iter().flatten().all(|t| is_sane(t.shape())) {
        return None;
    }
    kernel(&Args { node, opset, inputs, cap })
}

/// Whether products of axes fit machine words, empty axes left out: a tensor without elements may have
/// any others.
fn is_sane(shape: &[u64]) -> bool {
    let product = shape.iter().try_fold(1u64, |n, d| n.checked_mul((*d).max(1)));
    product.is_some_and(|n| n < 1 << 40)
}

#[cfg(test)]
mod tests;
