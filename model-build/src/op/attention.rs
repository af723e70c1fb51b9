//! `Attention` and `RotaryEmbedding` of the standard domain.

use super::cx::{Cx, Fact};
use super::len::Len;
use super::unary::same;
use crate::error::Result;

/// Queries `[batch, heads, sequence, width]`, or `[batch, sequence, heads · width]` with the numbers of
/// heads given. The result has the width of the values. Caches and scores are not followed.
fn attention(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let shape = match (cx.shape(0), cx.shape(2)) {
        (Some([batch, heads, sequence, _]), Some([_, _, _, width])) => {
            Some(vec![batch.clone(), heads.clone(), sequence.clone(), width.clone()])
        }
        (Some([batch, sequence, _]), Some([_, _, hidden])) => {
            let (q, kv) = (cx.int_or("q_num_heads", 0)?, cx.int_or("kv_num_heads", 0)?);
            let width = hidden.div_exact(&Len::fixed(kv.max(1))).mul(&Len::fixed(q));
            Some(vec![batch.clone(), sequence.clone(), width])
        }
        _ => None,
    };
    Ok(vec![Fact::new(cx.dtype(0), shape)])
}

defs! {
    ATTENTION = "Attention", 23, attention;
    ROTARY_EMBEDDING = "RotaryEmbedding", 23, same;
}
