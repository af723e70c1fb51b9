//! Operators: typed view, shape inference. One file per op or family of ops with one rule.
#![allow(clippy::unnecessary_wraps)] // every rule has one signature, whether it can fail or not

/// Statics of standard operators: `NAME = "Name", first operator set, rule;`.
macro_rules! defs {
    ($($name:ident = $op:literal, $since:literal, $infer:ident;)*) => {
        $(#[doc = concat!("`", $op, "`.")]
        pub(super) static $name: super::OpDef =
            super::OpDef { op: $op, domain: "", since: $since, infer: $infer };)*
    };
}

/// Statics of operators of `com.microsoft`: `NAME = "Name", rule;`.
macro_rules! contrib {
    ($($name:ident = $op:literal, $infer:ident;)*) => {
        $(#[doc = concat!("`com.microsoft` `", $op, "`.")]
        pub(super) static $name: super::OpDef =
            super::OpDef { op: $op, domain: "com.microsoft", since: 1, infer: $infer };)*
    };
}

mod attention;
mod binary;
mod cast;
mod com_microsoft;
mod conv;
mod cx;
mod einsum;
mod gather;
mod gemm;
mod generate;
mod infer;
mod layout;
pub mod len;
mod matmul;
mod norm;
mod quantize_linear;
mod random;
mod recurrent;
mod reduce;
mod reshape;
mod resize;
mod slice;
mod squeeze;
mod unary;
mod vision;

pub use cast::Cast;
pub use cx::{Cx, Fact};
pub use gemm::Gemm;
pub use generate::Constant;
pub(crate) use infer::infer_free;
pub use infer::{Facts, Inference, Scope, infer, is_constant, known};
pub use matmul::MatMul;

use crate::error::Result;
use crate::hub::Node;

/// An operator.
pub struct OpDef {
    /// Its name.
    pub op: &'static str,
    /// Its domain; empty for the standard one.
    pub domain: &'static str,
    /// The first version of its domain's operator set that has it.
    pub since: i64,
    /// Its rule of shape inference: what is known of the outputs, in order. Outputs past the end of
    /// the list are unknown.
    pub infer: fn(&Cx<'_>) -> Result<Vec<Fact>>,
}

impl std::fmt::Debug for OpDef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.op)
    }
}

/// A typed view of a node of the standard domain.
pub trait View: Sized {
    /// The operator.
    const OP: &'static str;
    /// The node's parts by name. An error names a missing input or an attribute of the wrong kind.
    fn view(node: &Node) -> Result<Self>;
    /// [`view`](Self::view) if the node is of this operator.
    fn of(node: &Node) -> Result<Option<Self>> {
        node.is(Self::OP).then(|| Self::view(node)).transpose()
    }
}

/// The operator of that domain and name.
pub fn find(domain: &str, op: &str) -> Option<&'static OpDef> {
    let domain = if domain == "ai.onnx" { "" } else { domain };
    let at = ALL.binary_search_by(|def| (def.op, def.domain).cmp(&(op, domain))).ok()?;
    ALL.get(at).copied()
}

/// Every operator, by name.
pub static ALL: &[&OpDef] = &[
    &unary::ABS,
    &unary::ACOS,
    &unary::ACOSH,
    &binary::ADD,
    &binary::AND,
    &reduce::ARG_MAX,
    &reduce::ARG_MIN,
    &unary::ASIN,
    &unary::ASINH,
    &unary::ATAN,
    &unary::ATANH,
    &attention::ATTENTION,
    &com_microsoft::ATTENTION,
    &conv::AVERAGE_POOL,
    &norm::BATCH_NORMALIZATION,
    &random::BERNOULLI,
    &com_microsoft::BIAS_GELU,
    &binary::BIT_SHIFT,
    &binary::BITWISE_AND,
    &unary::BITWISE_NOT,
    &binary::BITWISE_OR,
    &binary::BITWISE_XOR,
    &cast::CAST,
    &cast::CAST_LIKE,
    &unary::CEIL,
    &unary::CELU,
    &unary::CLIP,
    &vision::COMPRESS,
    &layout::CONCAT,
    &generate::CONSTANT,
    &generate::CONSTANT_OF_SHAPE,
    &conv::CONV,
    &conv::CONV_INTEGER,
    &conv::CONV_TRANSPOSE,
    &unary::COS,
    &unary::COSH,
    &unary::CUM_SUM,
    &layout::DEPTH_TO_SPACE,
    &quantize_linear::DEQUANTIZE_LINEAR,
    &vision::DET,
    &binary::DIV,
    &norm::DROPOUT,
    &quantize_linear::DYNAMIC_QUANTIZE_LINEAR,
    &einsum::EINSUM,
    &unary::ELU,
    &com_microsoft::EMBED_LAYER_NORMALIZATION,
    &binary::EQUAL,
    &unary::ERF,
    &unary::EXP,
    &layout::EXPAND,
    &generate::EYE_LIKE,
    &com_microsoft::FAST_GELU,
    &reshape::FLATTEN,
    &unary::FLOOR,
    &com_microsoft::FUSED_MAT_MUL,
    &recurrent::GRU,
    &gather::GATHER,
    &gather::GATHER_ELEMENTS,
    &gather::GATHER_ND,
    &unary::GELU,
    &com_microsoft::GELU,
    &gemm::GEMM,
    &conv::GLOBAL_AVERAGE_POOL,
    &conv::GLOBAL_LP_POOL,
    &conv::GLOBAL_MAX_POOL,
    &binary::GREATER,
    &binary::GREATER_OR_EQUAL,
    &vision::GRID_SAMPLE,
    &unary::GROUP_NORMALIZATION,
    &com_microsoft::GROUP_QUERY_ATTENTION,
    &unary::HARD_SIGMOID,
    &unary::HARD_SWISH,
    &unary::HARDMAX,
    &unary::IDENTITY,
    &unary::INSTANCE_NORMALIZATION,
    &unary::IS_INF,
    &unary::IS_NAN,
    &unary::LRN,
    &recurrent::LSTM,
    &norm::LAYER_NORMALIZATION,
    &unary::LEAKY_RELU,
    &binary::LESS,
    &binary::LESS_OR_EQUAL,
    &unary::LOG,
    &unary::LOG_SOFTMAX,
    &unary::LP_NORMALIZATION,
    &conv::LP_POOL,
    &matmul::MAT_MUL,
    &matmul::MAT_MUL_INTEGER,
    &binary::MAX,
    &conv::MAX_POOL,
    &binary::MEAN,
    &unary::MEAN_VARIANCE_NORMALIZATION,
    &binary::MIN,
    &unary::MISH,
    &binary::MOD,
    &binary::MUL,
    &com_microsoft::MULTI_HEAD_ATTENTION,
    &random::MULTINOMIAL,
    &unary::NEG,
    &vision::NON_MAX_SUPPRESSION,
    &generate::NON_ZERO,
    &unary::NOT,
    &generate::ONE_HOT,
    &binary::OR,
    &unary::PRELU,
    &layout::PAD,
    &binary::POW,
    &conv::Q_LINEAR_CONV,
    &matmul::Q_LINEAR_MAT_MUL,
    &quantize_linear::QUANTIZE_LINEAR,
    &com_microsoft::QUICK_GELU,
    &unary::RMS_NORMALIZATION,
    &recurrent::RNN,
    &random::RANDOM_NORMAL,
    &random::RANDOM_NORMAL_LIKE,
    &random::RANDOM_UNIFORM,
    &random::RANDOM_UNIFORM_LIKE,
    &generate::RANGE,
    &unary::RECIPROCAL,
    &reduce::REDUCE_L1,
    &reduce::REDUCE_L2,
    &reduce::REDUCE_LOG_SUM,
    &reduce::REDUCE_LOG_SUM_EXP,
    &reduce::REDUCE_MAX,
    &reduce::REDUCE_MEAN,
    &reduce::REDUCE_MIN,
    &reduce::REDUCE_PROD,
    &reduce::REDUCE_SUM,
    &reduce::REDUCE_SUM_SQUARE,
    &unary::RELU,
    &reshape::RESHAPE,
    &resize::RESIZE,
    &unary::REVERSE_SEQUENCE,
    &vision::ROI_ALIGN,
    &attention::ROTARY_EMBEDDING,
    &com_microsoft::ROTARY_EMBEDDING,
    &unary::ROUND,
    &unary::SCATTER_ELEMENTS,
    &unary::SCATTER_ND,
    &unary::SELU,
    &generate::SHAPE,
    &unary::SHRINK,
    &unary::SIGMOID,
    &unary::SIGN,
    &com_microsoft::SIMPLIFIED_LAYER_NORMALIZATION,
    &unary::SIN,
    &unary::SINH,
    &generate::SIZE,
    &com_microsoft::SKIP_LAYER_NORMALIZATION,
    &com_microsoft::SKIP_SIMPLIFIED_LAYER_NORMALIZATION,
    &slice::SLICE,
    &unary::SOFTMAX,
    &unary::SOFTPLUS,
    &unary::SOFTSIGN,
    &layout::SPACE_TO_DEPTH,
    &layout::SPLIT,
    &unary::SQRT,
    &squeeze::SQUEEZE,
    &binary::SUB,
    &binary::SUM,
    &unary::SWISH,
    &unary::TAN,
    &unary::TANH,
    &unary::THRESHOLDED_RELU,
    &layout::TILE,
    &reduce::TOP_K,
    &layout::TRANSPOSE,
    &unary::TRILU,
    &squeeze::UNSQUEEZE,
    &binary::WHERE,
    &binary::XOR,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_alphabetical_order_so_that_find_finds_each() {
        for def in ALL {
            let found = find(def.domain, def.op);
            assert_eq!(found.map(|d| (d.op, d.domain)), Some((def.op, def.domain)));
        }
        assert!(find("", "NoSuchOp").is_none());
        assert!(find("com.microsoft", "Add").is_none());
    }
}
