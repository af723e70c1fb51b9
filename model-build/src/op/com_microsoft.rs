//! Operators of ONNX Runtime's domain `com.microsoft` that the optimizer makes, and
//! `SimplifiedLayerNormalization`, which ONNX Runtime keeps in the standard domain.

use super::cx::{Cx, Fact};
use super::len::Len;
use super::unary::same;
use crate::error::Result;
use crate::hub::DType;

/// The shape of input `i` as a list.
fn dims(cx: &Cx<'_>, i: usize) -> Option<Vec<Len>> {
    cx.shape(i).map(<[_]>::to_vec)
}

/// The normalized sum, two statistics that are not followed, the sum.
fn skip_normalization(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let like = Fact::new(cx.dtype(0), dims(cx, 0));
    Ok(vec![like.clone(), Fact::default(), Fact::default(), like])
}

/// `[batch, sequence]` ids and tables `[rows, hidden]`: `[batch, sequence, hidden]`.
fn embed_layer_normalization(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let shape = dims(cx, 0).zip(cx.shape(2).and_then(<[_]>::last).cloned());
    let out = Fact::new(cx.dtype(2), shape.map(|(ids, hidden)| [ids, vec![hidden]].concat()));
    Ok(vec![out.clone(), Fact::default(), out])
}

/// Input `[batch, sequence, hidden]` and packed weights of three parts; the sizes of the parts may be
/// given.
fn attention(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let width = match cx.int_list("qkv_hidden_sizes")? {
        Some(sizes) => sizes.get(2).map_or(Len::UNKNOWN, |n| Len::fixed(*n)),
        None => {
            cx.shape(1).and_then(<[_]>::last).map_or(Len::UNKNOWN, |n| n.div_exact(&Len::fixed(3)))
        }
    };
    let shape = dims(cx, 0).filter(|s| s.len() == 3).map(|mut s| {
        s[2] = width;
        s
    });
    Ok(vec![Fact::new(cx.dtype(0), shape)])
}

/// Queries `[batch, sequence, hidden]`; the rows of the result are as long as those of the values.
fn multi_head_attention(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let mut shape = dims(cx, 0).filter(|s| s.len() == 3);
    if let (Some(shape), Some([_, _, width])) = (&mut shape, cx.shape(2)) {
        shape[2] = width.clone();
    }
    Ok(vec![Fact::new(cx.dtype(0), shape.filter(|_| cx.rank(2) == Some(3)))])
}

/// Queries `[batch, sequence, hidden]` beside keys and values.
fn group_query_attention(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let apart = cx.has(1) && cx.has(2);
    Ok(vec![Fact::new(cx.dtype(0), dims(cx, 0).filter(|_| apart))])
}

/// `MatMul` of factors whose last axes may be swapped; other swaps are not followed.
fn fused_matmul(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let swapped = |i: usize, name: &str| -> Result<Option<Vec<Len>>> {
        let turn = cx.int_or(name, 0)? != 0;
        Ok(dims(cx, i).filter(|s| s.len() >= 2).map(|mut s| {
            let n = s.len();
            if turn {
                s.swap(n - 1, n - 2);
            }
            s
        }))
    };
    let plain = cx.int_or("transBatchA", 0)? == 0 && cx.int_or("transBatchB", 0)? == 0;
    let shape = match (swapped(0, "transA")?, swapped(1, "transB")?) {
        (Some(a), Some(b)) if plain => {
            let (inner_a, inner_b) = (&a[a.len() - 1], &b[b.len() - 2]);
            if inner_a.contradicts(inner_b) {
                return Err(cx.fail(format!("the inner lengths differ: {inner_a} and {inner_b}")));
            }
            let mut out = cx.broadcast_shapes(&a[..a.len() - 2], &b[..b.len() - 2])?;
            out.extend([a[a.len() - 2].clone(), b[b.len() - 1].clone()]);
            Some(out)
        }
        _ => None,
    };
    Ok(vec![Fact::new(cx.dtype(0), shape)])
}

/// Like the scale in type, like the input in shape; the statistics are f32.
fn simplified_layer_normalization(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let type_of_scale = cx.dtype(1).or(cx.dtype(0));
    Ok(vec![Fact::new(type_of_scale, dims(cx, 0)), Fact::new(Some(DType::F32), None)])
}

contrib! {
    ATTENTION = "Attention", attention;
    BIAS_GELU = "BiasGelu", same;
    EMBED_LAYER_NORMALIZATION = "EmbedLayerNormalization", embed_layer_normalization;
    FAST_GELU = "FastGelu", same;
    FUSED_MAT_MUL = "FusedMatMul", fused_matmul;
    GELU = "Gelu", same;
    GROUP_QUERY_ATTENTION = "GroupQueryAttention", group_query_attention;
    MULTI_HEAD_ATTENTION = "MultiHeadAttention", multi_head_attention;
    QUICK_GELU = "QuickGelu", same;
    ROTARY_EMBEDDING = "RotaryEmbedding", same;
    SKIP_LAYER_NORMALIZATION = "SkipLayerNormalization", skip_normalization;
    SKIP_SIMPLIFIED_LAYER_NORMALIZATION = "SkipSimplifiedLayerNormalization", skip_normalization;
}

defs! {
    SIMPLIFIED_LAYER_NORMALIZATION = "SimplifiedLayerNormalization", 1, simplified_layer_normalization;
}
