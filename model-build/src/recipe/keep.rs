//! Which tensors keep their precision: the names that llama-quantize and llama.cpp's converter know.

use super::tensor_type::TensorType;

/// Parts of names of tensors that llama-quantize never quantizes: small, or sensitive, or read by
/// code that takes no blocks.
const NEVER: &[&str] = &[
    "_norm.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_tid2eid.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "ssm_conv1d",
    "shortconv.conv.weight",
    "indexer.k_proj.weight",
    "indexer.q_proj.weight",
    "time_mix_first.weight",
    "time_mix_w0.weight",
    "time_mix_w1.weight",
    "time_mix_w2.weight",
    "time_mix_v0.weight",
    "time_mix_v1.weight",
    "time_mix_v2.weight",
    "time_mix_a0.weight",
    "time_mix_a1.weight",
    "time_mix_a2.weight",
    "time_mix_g1.weight",
    "time_mix_g2.weight",
    "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight",
    "time_mix_lerp_fused.weight",
    "attn_rel_b.weight",
    ".position_embd",
    "sam.pos_embd",
    "sam.neck.",
    "sam.net_",
    ".rel_pos",
    ".patch_embd",
    ".patch_merger",
    "a.rvq.codebook",
    "mm.a.code_embd",
];

/// More of them in the architecture `glm5-next`.
const NEVER_IN_GLM5_NEXT: &[&str] = &[
    "hc_",
    "indexer.attn_q_b",
    "indexer.attn_k",
    "indexer.proj",
    "indexer_compressor_gate",
    "indexer_compressor_ape",
    "ssm_f_a.weight",
    "ssm_f_b.weight",
    "ssm_g_a.weight",
    "ssm_g_b.weight",
    "ssm_beta.weight",
    "attn_kv_a_mqa.weight",
    "attn_k_b.weight",
    "attn_v_b.weight",
];

/// Whether llama-quantize quantizes a tensor; else, why it does not. The shape is outermost first.
pub(super) fn quantizes(name: &str, shape: &[u64], architecture: &str) -> Result<(), &'static str> {
    // Outer dimensions of 1 do not count as dimensions.
    let rank = shape.iter().skip_while(|n| **n == 1).count();
    if rank < 2 {
        return Err("kept: a vector");
    }
    if !name.ends_with("weight") {
        return Err("kept: no weight");
    }
    if name == "position_embd.weight" || name == "token_types.weight" {
        return Err("kept: position or type embeddings");
    }
    let glm = architecture == "glm5-next" && NEVER_IN_GLM5_NEXT.iter().any(|p| name.contains(p));
    if glm || NEVER.iter().any(|part| name.contains(part)) {
        return Err("kept: small or sensitive");
    }
    Ok(())
}

/// Names (without `blk.N.` and `.weight`) of tensors that the converter writes as f32 always.
const CONVERTER_F32: &[&str] = &[
    "ffn_gate_inp",
    "ffn_gate_inp_shexp",
    "position_embd",
    "token_types",
    "ssm_conv1d",
    "ssm_conv1d_q",
    "ssm_conv1d_k",
    "ssm_conv1d_v",
    "shortconv.conv",
    "time_mix_first",
    "time_mix_w1",
    "time_mix_w2",
    "time_mix_decay_w1",
    "time_mix_decay_w2",
    "time_mix_lerp_fused",
    "v.position_embd",
    "a.position_embd",
    "altup_correct_coef",
    "altup_predict_coef",
    "indexer.proj",
];

/// Names of tensors that the converter writes as f16 in ternary files.
const CONVERTER_NOT_TERNARY: &[&str] =
    &["token_embd", "per_layer_token_embd", "output", "altup_router", "laurel_l", "laurel_r"];

/// The name without `blk.N.` and `.weight`.
fn stem(name: &str) -> &str {
    let name = name.strip_suffix(".weight").unwrap_or(name);
    match name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
        Some((layer, rest)) if layer.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => name,
    }
}

/// The type that `convert_hf_to_gguf.py` gives a tensor when most get `base`.
pub(super) fn converted(name: &str, shape: &[u64], base: TensorType) -> (TensorType, &'static str) {
    if shape.len() < 2 {
        return (TensorType::F32, "kept: a vector");
    }
    if name.ends_with("_norm.weight") {
        return (TensorType::F32, "kept: a norm");
    }
    if !name.ends_with(".weight") {
        return (TensorType::F32, "kept: no weight");
    }
    let posnet = name.starts_with("posnet.") && ["norm1", "norm2"].iter().any(|n| name.contains(n));
    if posnet || CONVERTER_F32.contains(&stem(name)) {
        return (TensorType::F32, "kept: small or sensitive");
    }
    let ternary = matches!(base, TensorType::Tq1_0 | TensorType::Tq2_0);
    if ternary && CONVERTER_NOT_TERNARY.contains(&stem(name)) {
        return (TensorType::F16, "embeddings and output are not ternary");
    }
    if !base.fits(shape.last().copied().unwrap_or(1)) {
        return (TensorType::F16, "rows are no whole number of blocks");
    }
    (base, "the file type")
}
