//! Which tensors of a GGUF file are in f32 whatever type the file is made for.

/// Endings of names of weights that llama.cpp's converter leaves in f32.
const F32_WEIGHTS: &[&str] = &[
    "_norm.weight",
    ".ffn_gate_inp.weight",
    ".ffn_gate_inp_shexp.weight",
    ".ssm_conv1d.weight",
    ".ssm_conv1d_q.weight",
    ".ssm_conv1d_k.weight",
    ".ssm_conv1d_v.weight",
    ".shortconv.conv.weight",
    ".time_mix_first.weight",
    ".time_mix_w1.weight",
    ".time_mix_w2.weight",
    ".time_mix_decay_w1.weight",
    ".time_mix_decay_w2.weight",
    ".time_mix_lerp_fused.weight",
    ".altup_correct_coef.weight",
    ".altup_predict_coef.weight",
    ".indexer.proj.weight",
];

/// Whole names of weights that are left in f32.
const F32_TABLES: &[&str] = &["position_embd.weight", "token_types.weight"];

/// Whether a tensor of that name and shape stands in f32 in every GGUF file, as llama.cpp's converter
/// has it: tensors of fewer than two axes, norms, biases and what else is no `weight`, routers, tables
/// of positions and of token types, convolutions. Every other tensor takes the type the file is made
/// for.
pub fn wants_f32(name: &str, shape: &[u64]) -> bool {
    shape.len() <= 1
        || !name.ends_with(".weight")
        || F32_TABLES.contains(&name)
        || F32_WEIGHTS.iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_biases_and_routers_stay_in_f32() {
        assert!(wants_f32("blk.0.attn_q.bias", &[4, 4]));
        assert!(wants_f32("blk.0.attn_q_norm.weight", &[4, 4]));
        assert!(wants_f32("blk.0.ffn_gate_inp.weight", &[4, 4]));
        assert!(wants_f32("output_norm.weight", &[4]));
        assert!(wants_f32("position_embd.weight", &[4, 4]));
        assert!(!wants_f32("token_embd.weight", &[4, 4]));
        assert!(!wants_f32("blk.0.ffn_gate.weight", &[4, 4]));
    }
}
