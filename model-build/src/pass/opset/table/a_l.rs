//! What each version of the standard operators A to L takes. Written by `scripts/opset-table.py`
//! from the schemas of onnx 1.23.2.

use super::{MANY, Op, v};

#[rustfmt::skip]
pub(super) static OPS: &[Op] = &[
    Op { name: "Abs", versions: &[
        v(6, 1, 1, 1, "", &[0x3cfe], &[0x3cfe]),
        v(13, 1, 1, 1, "", &[0x13cfe], &[0x13cfe]),
    ] },
    Op { name: "Acos", versions: &[
        v(7, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Acosh", versions: &[
        v(9, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Add", versions: &[
        v(7, 2, 2, 1, "", &[0x3cc2], &[0x3cc2]),
        v(13, 2, 2, 1, "", &[0x13cc2], &[0x13cc2]),
        v(14, 2, 2, 1, "", &[0x13cfe], &[0x13cfe]),
    ] },
    Op { name: "AffineGrid", versions: &[
        v(20, 2, 2, 1, "align_corners=0", &[0x10c02, 0x80], &[0x10c02]),
    ] },
    Op { name: "And", versions: &[
        v(7, 2, 2, 1, "", &[0x200], &[0x200]),
    ] },
    Op { name: "ArgMax", versions: &[
        v(1, 1, 1, 1, "axis=0 keepdims=1", &[0x3cfe], &[0x80]),
        v(11, 1, 1, 1, "axis=0 keepdims=1", &[0x3cfe], &[0x80]),
        v(12, 1, 1, 1, "axis=0 keepdims=1 select_last_index=0", &[0x3cfe], &[0x80]),
        v(13, 1, 1, 1, "axis=0 keepdims=1 select_last_index=0", &[0x13cfe], &[0x80]),
    ] },
    Op { name: "ArgMin", versions: &[
        v(1, 1, 1, 1, "axis=0 keepdims=1", &[0x3cfe], &[0x80]),
        v(11, 1, 1, 1, "axis=0 keepdims=1", &[0x3cfe], &[0x80]),
        v(12, 1, 1, 1, "axis=0 keepdims=1 select_last_index=0", &[0x3cfe], &[0x80]),
        v(13, 1, 1, 1, "axis=0 keepdims=1 select_last_index=0", &[0x13cfe], &[0x80]),
    ] },
    Op { name: "Asin", versions: &[
        v(7, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Asinh", versions: &[
        v(9, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Atan", versions: &[
        v(7, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Atanh", versions: &[
        v(9, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Attention", versions: &[
        v(23, 3, 6, 4, "is_causal=0 kv_num_heads q_num_heads qk_matmul_output_mode=0 scale softcap=0.0 softmax_precision", &[0x10c02, 0x10c02, 0x10c02, 0x13efe, 0x10c02], &[0x10c02]),
        v(24, 3, 7, 4, "is_causal=0 kv_num_heads q_num_heads qk_matmul_output_mode=0 scale softcap=0.0 softmax_precision", &[0x10c02, 0x10c02, 0x10c02, 0x13efe, 0x10c02, 0x10c02, 0x80], &[0x10c02]),
        v(25, 3, 7, 4, "is_causal=0 kv_num_heads left_window_size=-1 q_num_heads qk_matmul_output_mode=0 right_window_size=-1 scale softcap=0.0 softmax_precision", &[0x10c02, 0x10c02, 0x10c02, 0x13efe, 0x10c02, 0x10c02, 0x80], &[0x10c02]),
    ] },
    Op { name: "AveragePool", versions: &[
        v(7, 1, 1, 1, "auto_pad=NOTSET count_include_pad=0 kernel_shape! pads strides", &[0xc02], &[0xc02]),
        v(10, 1, 1, 1, "auto_pad=NOTSET ceil_mode=0 count_include_pad=0 kernel_shape! pads strides", &[0xc02], &[0xc02]),
        v(11, 1, 1, 1, "auto_pad=NOTSET ceil_mode=0 count_include_pad=0 kernel_shape! pads strides", &[0xc02], &[0xc02]),
        v(19, 1, 1, 1, "auto_pad=NOTSET ceil_mode=0 count_include_pad=0 dilations kernel_shape! pads strides", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "auto_pad=NOTSET ceil_mode=0 count_include_pad=0 dilations kernel_shape! pads strides", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "BatchNormalization", versions: &[
        v(7, 5, 5, 5, "epsilon=9.999999747378752e-06 momentum=0.8999999761581421 spatial=1", &[0xc02], &[0xc02]),
        v(9, 5, 5, 5, "epsilon=9.999999747378752e-06 momentum=0.8999999761581421", &[0xc02], &[0xc02]),
        v(14, 5, 5, 3, "epsilon=9.999999747378752e-06 momentum=0.8999999761581421 training_mode=0", &[0x10c02], &[0x10c02]),
        v(15, 5, 5, 3, "epsilon=9.999999747378752e-06 momentum=0.8999999761581421 training_mode=0", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Bernoulli", versions: &[
        v(15, 1, 1, 1, "dtype seed", &[0xc02], &[0x13efe]),
        v(22, 1, 1, 1, "dtype seed", &[0x10c02], &[0x13efe]),
    ] },
    Op { name: "BitCast", versions: &[
        v(26, 1, 1, 1, "to!", &[0x7fffefe], &[0x7fffefe]),
    ] },
    Op { name: "BitShift", versions: &[
        v(11, 2, 2, 1, "direction!", &[0x3014], &[0x3014]),
        v(28, 2, 2, 1, "direction!", &[0x30fc], &[0x30fc]),
    ] },
    Op { name: "BitwiseAnd", versions: &[
        v(18, 2, 2, 1, "", &[0x30fc], &[0x30fc]),
    ] },
    Op { name: "BitwiseNot", versions: &[
        v(18, 1, 1, 1, "", &[0x30fc], &[0x30fc]),
    ] },
    Op { name: "BitwiseOr", versions: &[
        v(18, 2, 2, 1, "", &[0x30fc], &[0x30fc]),
    ] },
    Op { name: "BitwiseXor", versions: &[
        v(18, 2, 2, 1, "", &[0x30fc], &[0x30fc]),
    ] },
    Op { name: "BlackmanWindow", versions: &[
        v(17, 1, 1, 1, "output_datatype=1 periodic=1", &[0xc0], &[0x13cfe]),
    ] },
    Op { name: "Cast", versions: &[
        v(6, 1, 1, 1, "to!", &[0x3efe], &[0x3efe]),
        v(9, 1, 1, 1, "to!", &[0x3ffe], &[0x3ffe]),
        v(13, 1, 1, 1, "to!", &[0x13ffe], &[0x13ffe]),
        v(19, 1, 1, 1, "saturate=1 to!", &[0x1f3ffe], &[0x1f3ffe]),
        v(21, 1, 1, 1, "saturate=1 to!", &[0x7f3ffe], &[0x7f3ffe]),
        v(23, 1, 1, 1, "saturate=1 to!", &[0xff3ffe], &[0xff3ffe]),
        v(24, 1, 1, 1, "round_mode=up saturate=1 to!", &[0x1ff3ffe], &[0x1ff3ffe]),
        v(25, 1, 1, 1, "round_mode=up saturate=1 to!", &[0x7ff3ffe], &[0x7ff3ffe]),
        v(28, 1, 1, 1, "round_mode=up saturate=1 to!", &[0x1fff3ffe], &[0x1fff3ffe]),
    ] },
    Op { name: "CastLike", versions: &[
        v(15, 2, 2, 1, "", &[0x13ffe], &[0x13ffe]),
        v(19, 2, 2, 1, "saturate=1", &[0x1f3ffe], &[0x1f3ffe]),
        v(21, 2, 2, 1, "saturate=1", &[0x7f3ffe], &[0x7f3ffe]),
        v(23, 2, 2, 1, "saturate=1", &[0xff3ffe], &[0xff3ffe]),
        v(24, 2, 2, 1, "round_mode=up saturate=1", &[0x1ff3ffe], &[0x1ff3ffe]),
        v(25, 2, 2, 1, "round_mode=up saturate=1", &[0x7ff3ffe], &[0x7ff3ffe]),
    ] },
    Op { name: "CausalConvWithState", versions: &[
        v(27, 2, 4, 2, "activation=none", &[0x10402], &[0x10402]),
    ] },
    Op { name: "Ceil", versions: &[
        v(6, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(13, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Celu", versions: &[
        v(12, 1, 1, 1, "alpha=1.0", &[0x2], &[0x2]),
        v(28, 1, 1, 1, "alpha=1.0", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "CenterCropPad", versions: &[
        v(18, 2, 2, 1, "axes", &[0x1fffe, 0xc0], &[0x1fffe]),
    ] },
    Op { name: "Clip", versions: &[
        v(6, 1, 1, 1, "max=3.4028234663852886e+38 min=-3.4028234663852886e+38", &[0xc02], &[0xc02]),
        v(11, 1, 3, 1, "", &[0xc02], &[0xc02]),
        v(12, 1, 3, 1, "", &[0x3cfe], &[0x3cfe]),
        v(13, 1, 3, 1, "", &[0x13cfe], &[0x13cfe]),
    ] },
    Op { name: "Col2Im", versions: &[
        v(18, 3, 3, 1, "dilations pads strides", &[0x1fffe, 0x80], &[0x1fffe]),
    ] },
    Op { name: "Compress", versions: &[
        v(9, 2, 2, 1, "axis", &[0xfffe, 0x200], &[0xfffe]),
        v(11, 2, 2, 1, "axis", &[0xfffe, 0x200], &[0xfffe]),
        v(28, 2, 2, 1, "axis", &[0x1fffe, 0x200], &[0x1fffe]),
    ] },
    Op { name: "Concat", versions: &[
        v(4, 1, MANY, 1, "axis!", &[0xfffe], &[0xfffe]),
        v(11, 1, MANY, 1, "axis!", &[0xfffe], &[0xfffe]),
        v(13, 1, MANY, 1, "axis!", &[0x1fffe], &[0x1fffe]),
    ] },
    Op { name: "ConcatFromSequence", versions: &[
        v(11, 1, 1, 1, "axis! new_axis=0", &[0x1], &[0xfffe]),
    ] },
    Op { name: "Constant", versions: &[
        v(1, 0, 0, 1, "value!", &[], &[0xc02]),
        v(9, 0, 0, 1, "value!", &[], &[0xfffe]),
        v(11, 0, 0, 1, "sparse_value value", &[], &[0xfffe]),
        v(12, 0, 0, 1, "sparse_value value value_float value_floats value_int value_ints value_string value_strings", &[], &[0xfffe]),
        v(13, 0, 0, 1, "sparse_value value value_float value_floats value_int value_ints value_string value_strings", &[], &[0x1fffe]),
        v(19, 0, 0, 1, "sparse_value value value_float value_floats value_int value_ints value_string value_strings", &[], &[0x1ffffe]),
        v(21, 0, 0, 1, "sparse_value value value_float value_floats value_int value_ints value_string value_strings", &[], &[0x7ffffe]),
        v(23, 0, 0, 1, "sparse_value value value_float value_floats value_int value_ints value_string value_strings", &[], &[0xfffffe]),
        v(24, 0, 0, 1, "sparse_value value value_float value_floats value_int value_ints value_string value_strings", &[], &[0x1fffffe]),
        v(25, 0, 0, 1, "sparse_value value value_float value_floats value_int value_ints value_string value_strings", &[], &[0x7fffffe]),
    ] },
    Op { name: "ConstantOfShape", versions: &[
        v(9, 1, 1, 1, "value", &[0x80], &[0x3efe]),
        v(20, 1, 1, 1, "value", &[0x80], &[0x1f3efe]),
        v(21, 1, 1, 1, "value", &[0x80], &[0x7f3efe]),
        v(23, 1, 1, 1, "value", &[0x80], &[0xff3efe]),
        v(24, 1, 1, 1, "value", &[0x80], &[0x1ff3efe]),
        v(25, 1, 1, 1, "value", &[0x80], &[0x7ff3efe]),
    ] },
    Op { name: "Conv", versions: &[
        v(1, 2, 3, 1, "auto_pad=NOTSET dilations group=1 kernel_shape pads strides", &[0xc02], &[0xc02]),
        v(11, 2, 3, 1, "auto_pad=NOTSET dilations group=1 kernel_shape pads strides", &[0xc02], &[0xc02]),
        v(22, 2, 3, 1, "auto_pad=NOTSET dilations group=1 kernel_shape pads strides", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "ConvInteger", versions: &[
        v(10, 2, 4, 1, "auto_pad=NOTSET dilations group=1 kernel_shape pads strides", &[0xc], &[0x40]),
    ] },
    Op { name: "ConvTranspose", versions: &[
        v(1, 2, 3, 1, "auto_pad=NOTSET dilations group=1 kernel_shape output_padding output_shape pads strides", &[0xc02], &[0xc02]),
        v(11, 2, 3, 1, "auto_pad=NOTSET dilations group=1 kernel_shape output_padding output_shape pads strides", &[0xc02], &[0xc02]),
        v(22, 2, 3, 1, "auto_pad=NOTSET dilations group=1 kernel_shape output_padding output_shape pads strides", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Cos", versions: &[
        v(7, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Cosh", versions: &[
        v(9, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "CumProd", versions: &[
        v(26, 2, 2, 1, "exclusive=0 reverse=0", &[0x13cc2, 0xc0], &[0x13cc2]),
    ] },
    Op { name: "CumSum", versions: &[
        v(11, 2, 2, 1, "exclusive=0 reverse=0", &[0x38c2, 0xc0], &[0x38c2]),
        v(14, 2, 2, 1, "exclusive=0 reverse=0", &[0x13cc2, 0xc0], &[0x13cc2]),
    ] },
    Op { name: "DFT", versions: &[
        v(17, 1, 2, 1, "axis=1 inverse=0 onesided=0", &[0x10c02, 0xc0], &[0x10c02]),
        v(20, 1, 3, 1, "inverse=0 onesided=0", &[0x10c02, 0xc0, 0x80], &[0x10c02]),
    ] },
    Op { name: "DeformConv", versions: &[
        v(19, 3, 5, 1, "dilations group=1 kernel_shape offset_group=1 pads strides", &[0xc02], &[0xc02]),
        v(22, 3, 5, 1, "dilations group=1 kernel_shape offset_group=1 pads strides", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "DepthToSpace", versions: &[
        v(1, 1, 1, 1, "blocksize!", &[0xfffe], &[0xfffe]),
        v(11, 1, 1, 1, "blocksize! mode=DCR", &[0xfffe], &[0xfffe]),
        v(13, 1, 1, 1, "blocksize! mode=DCR", &[0x1fffe], &[0x1fffe]),
        v(28, 1, 1, 1, "blocksize! mode=DCR", &[0x1fffe], &[0x1fffe]),
    ] },
    Op { name: "DequantizeLinear", versions: &[
        v(10, 2, 3, 1, "", &[0x4c, 0x2, 0x4c], &[0x2]),
        v(13, 2, 3, 1, "axis=1", &[0x4c, 0x2, 0x4c], &[0x2]),
        v(19, 2, 3, 1, "axis=1", &[0x1e004c, 0x10402, 0x1e004c], &[0x10402]),
        v(21, 2, 3, 1, "axis=1 block_size=0", &[0x7e007c, 0x10402, 0x7e007c], &[0x10402]),
        v(23, 2, 3, 1, "axis=1 block_size=0 output_dtype=0", &[0xfe007c, 0x10402, 0xfe007c], &[0x10402]),
        v(24, 2, 3, 1, "axis=1 block_size=0 output_dtype=0", &[0xfe007c, 0x1010402, 0xfe007c], &[0x10402]),
        v(25, 2, 3, 1, "axis=1 block_size=0 output_dtype=0", &[0x6fe007c, 0x1010402, 0x6fe007c], &[0x10402]),
        v(28, 2, 3, 1, "axis=1 block_size=0 output_dtype=0", &[0x1efe007c, 0x1010402, 0x1efe007c], &[0x10402]),
    ] },
    Op { name: "Det", versions: &[
        v(11, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Div", versions: &[
        v(7, 2, 2, 1, "", &[0x3cc2], &[0x3cc2]),
        v(13, 2, 2, 1, "", &[0x13cc2], &[0x13cc2]),
        v(14, 2, 2, 1, "", &[0x13cfe], &[0x13cfe]),
    ] },
    Op { name: "Dropout", versions: &[
        v(7, 1, 1, 2, "ratio=0.5", &[0xc02], &[0xc02]),
        v(10, 1, 1, 2, "ratio=0.5", &[0xc02], &[0xc02, 0x200]),
        v(12, 1, 3, 2, "seed", &[0xc02, 0xc02, 0x200], &[0xc02, 0x200]),
        v(13, 1, 3, 2, "seed", &[0x10c02, 0xc02, 0x200], &[0x10c02, 0x200]),
        v(22, 1, 3, 2, "seed", &[0x1f0c02, 0x1f0c02, 0x200], &[0x1f0c02, 0x200]),
    ] },
    Op { name: "DynamicQuantizeLinear", versions: &[
        v(11, 1, 1, 3, "", &[0x2], &[0x4, 0x2, 0x4]),
    ] },
    Op { name: "Einsum", versions: &[
        v(12, 1, MANY, 1, "equation!", &[0x3cfe], &[0x3cfe]),
        v(28, 1, MANY, 1, "equation!", &[0x13cfe], &[0x13cfe]),
    ] },
    Op { name: "Elu", versions: &[
        v(6, 1, 1, 1, "alpha=1.0", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "alpha=1.0", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Equal", versions: &[
        v(7, 2, 2, 1, "", &[0x2c0], &[0x200]),
        v(11, 2, 2, 1, "", &[0x3efe], &[0x200]),
        v(13, 2, 2, 1, "", &[0x13efe], &[0x200]),
        v(19, 2, 2, 1, "", &[0x13ffe], &[0x200]),
    ] },
    Op { name: "Erf", versions: &[
        v(9, 1, 1, 1, "", &[0x3cfe], &[0x3cfe]),
        v(13, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Exp", versions: &[
        v(6, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(13, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Expand", versions: &[
        v(8, 2, 2, 1, "", &[0xfffe, 0x80], &[0xfffe]),
        v(13, 2, 2, 1, "", &[0x1fffe, 0x80], &[0x1fffe]),
    ] },
    Op { name: "EyeLike", versions: &[
        v(9, 1, 1, 1, "dtype k=0", &[0x3efe], &[0x3efe]),
        v(22, 1, 1, 1, "dtype k=0", &[0x13efe], &[0x13efe]),
    ] },
    Op { name: "Flatten", versions: &[
        v(1, 1, 1, 1, "axis=1", &[0xc02], &[0xc02]),
        v(9, 1, 1, 1, "axis=1", &[0xfffe], &[0xfffe]),
        v(11, 1, 1, 1, "axis=1", &[0xfffe], &[0xfffe]),
        v(13, 1, 1, 1, "axis=1", &[0x1fffe], &[0x1fffe]),
        v(21, 1, 1, 1, "axis=1", &[0x7ffffe], &[0x7ffffe]),
        v(23, 1, 1, 1, "axis=1", &[0xfffffe], &[0xfffffe]),
        v(24, 1, 1, 1, "axis=1", &[0x1fffffe], &[0x1fffffe]),
        v(25, 1, 1, 1, "axis=1", &[0x7fffffe], &[0x7fffffe]),
    ] },
    Op { name: "Floor", versions: &[
        v(6, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(13, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "GRU", versions: &[
        v(7, 3, 6, 2, "activation_alpha activation_beta activations clip direction=forward hidden_size linear_before_reset=0", &[0xc02, 0xc02, 0xc02, 0xc02, 0x40, 0xc02], &[0xc02]),
        v(14, 3, 6, 2, "activation_alpha activation_beta activations clip direction=forward hidden_size layout=0 linear_before_reset=0", &[0xc02, 0xc02, 0xc02, 0xc02, 0x40, 0xc02], &[0xc02]),
        v(22, 3, 6, 2, "activation_alpha activation_beta activations clip direction=forward hidden_size layout=0 linear_before_reset=0", &[0x10c02, 0x10c02, 0x10c02, 0x10c02, 0x40, 0x10c02], &[0x10c02]),
    ] },
    Op { name: "Gather", versions: &[
        v(1, 2, 2, 1, "axis=0", &[0xfffe, 0xc0], &[0xfffe]),
        v(11, 2, 2, 1, "axis=0", &[0xfffe, 0xc0], &[0xfffe]),
        v(13, 2, 2, 1, "axis=0", &[0x1fffe, 0xc0], &[0x1fffe]),
    ] },
    Op { name: "GatherElements", versions: &[
        v(11, 2, 2, 1, "axis=0", &[0xfffe, 0xc0], &[0xfffe]),
        v(13, 2, 2, 1, "axis=0", &[0x1fffe, 0xc0], &[0x1fffe]),
    ] },
    Op { name: "GatherND", versions: &[
        v(11, 2, 2, 1, "", &[0xfffe, 0x80], &[0xfffe]),
        v(12, 2, 2, 1, "batch_dims=0", &[0xfffe, 0x80], &[0xfffe]),
        v(13, 2, 2, 1, "batch_dims=0", &[0x1fffe, 0x80], &[0x1fffe]),
    ] },
    Op { name: "Gelu", versions: &[
        v(20, 1, 1, 1, "approximate=none", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Gemm", versions: &[
        v(7, 3, 3, 1, "alpha=1.0 beta=1.0 transA=0 transB=0", &[0xc02], &[0xc02]),
        v(9, 3, 3, 1, "alpha=1.0 beta=1.0 transA=0 transB=0", &[0x3cc2], &[0x3cc2]),
        v(11, 2, 3, 1, "alpha=1.0 beta=1.0 transA=0 transB=0", &[0x3cc2], &[0x3cc2]),
        v(13, 2, 3, 1, "alpha=1.0 beta=1.0 transA=0 transB=0", &[0x13cc2], &[0x13cc2]),
    ] },
    Op { name: "GlobalAveragePool", versions: &[
        v(1, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "GlobalLpPool", versions: &[
        v(2, 1, 1, 1, "p=2", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "p=2", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "GlobalMaxPool", versions: &[
        v(1, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Greater", versions: &[
        v(7, 2, 2, 1, "", &[0xc02], &[0x200]),
        v(9, 2, 2, 1, "", &[0x3cfe], &[0x200]),
        v(13, 2, 2, 1, "", &[0x13cfe], &[0x200]),
    ] },
    Op { name: "GreaterOrEqual", versions: &[
        v(12, 2, 2, 1, "", &[0x3cfe], &[0x200]),
        v(16, 2, 2, 1, "", &[0x13cfe], &[0x200]),
    ] },
    Op { name: "GridSample", versions: &[
        v(16, 2, 2, 1, "align_corners=0 mode=bilinear padding_mode=zeros", &[0xfffe, 0xc02], &[0xfffe]),
        v(20, 2, 2, 1, "align_corners=0 mode=linear padding_mode=zeros", &[0xfffe, 0xc02], &[0xfffe]),
        v(22, 2, 2, 1, "align_corners=0 mode=linear padding_mode=zeros", &[0x1fffe, 0x10c02], &[0x1fffe]),
    ] },
    Op { name: "GroupNormalization", versions: &[
        v(18, 0, 3, 1, "epsilon=9.999999747378752e-06 num_groups!", &[0x10c02], &[0x10c02]).deprecated(),
        v(21, 3, 3, 1, "epsilon=9.999999747378752e-06 num_groups! stash_type=1", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "HammingWindow", versions: &[
        v(17, 1, 1, 1, "output_datatype=1 periodic=1", &[0xc0], &[0x13cfe]),
    ] },
    Op { name: "HannWindow", versions: &[
        v(17, 1, 1, 1, "output_datatype=1 periodic=1", &[0xc0], &[0x13cfe]),
    ] },
    Op { name: "HardSigmoid", versions: &[
        v(6, 1, 1, 1, "alpha=0.20000000298023224 beta=0.5", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "alpha=0.20000000298023224 beta=0.5", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "HardSwish", versions: &[
        v(14, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Hardmax", versions: &[
        v(1, 1, 1, 1, "axis=1", &[0xc02], &[0xc02]),
        v(11, 1, 1, 1, "axis=1", &[0xc02], &[0xc02]),
        v(13, 1, 1, 1, "axis=-1", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Identity", versions: &[
        v(1, 1, 1, 1, "", &[0xfffe], &[0xfffe]),
        v(13, 1, 1, 1, "", &[0x1fffe], &[0x1fffe]),
        v(14, 1, 1, 1, "", &[0x1ffff], &[0x1ffff]),
        v(16, 1, 1, 1, "", &[0x1ffff], &[0x1ffff]),
        v(19, 1, 1, 1, "", &[0x1fffff], &[0x1fffff]),
        v(21, 1, 1, 1, "", &[0x7fffff], &[0x7fffff]),
        v(23, 1, 1, 1, "", &[0xffffff], &[0xffffff]),
        v(24, 1, 1, 1, "", &[0x1ffffff], &[0x1ffffff]),
        v(25, 1, 1, 1, "", &[0x7ffffff], &[0x7ffffff]),
    ] },
    Op { name: "If", versions: &[
        v(1, 1, 1, MANY, "else_branch! then_branch!", &[0x200], &[0xfffe]),
        v(11, 1, 1, MANY, "else_branch! then_branch!", &[0x200], &[0xfffe]),
        v(13, 1, 1, MANY, "else_branch! then_branch!", &[0x200], &[0xffff]),
        v(16, 1, 1, MANY, "else_branch! then_branch!", &[0x200], &[0x1ffff]),
        v(19, 1, 1, MANY, "else_branch! then_branch!", &[0x200], &[0x1fffff]),
        v(21, 1, 1, MANY, "else_branch! then_branch!", &[0x200], &[0x7fffff]),
        v(23, 1, 1, MANY, "else_branch! then_branch!", &[0x200], &[0xffffff]),
        v(24, 1, 1, MANY, "else_branch! then_branch!", &[0x200], &[0x1ffffff]),
        v(25, 1, 1, MANY, "else_branch! then_branch!", &[0x200], &[0x7ffffff]),
    ] },
    Op { name: "ImageDecoder", versions: &[
        v(20, 1, 1, 1, "pixel_format=RGB", &[0x4], &[0x4]),
    ] },
    Op { name: "InstanceNormalization", versions: &[
        v(6, 3, 3, 1, "epsilon=9.999999747378752e-06", &[0xc02], &[0xc02]),
        v(22, 3, 3, 1, "epsilon=9.999999747378752e-06", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "IsInf", versions: &[
        v(10, 1, 1, 1, "detect_negative=1 detect_positive=1", &[0x802], &[0x200]),
        v(20, 1, 1, 1, "detect_negative=1 detect_positive=1", &[0x1f0c02], &[0x200]),
    ] },
    Op { name: "IsNaN", versions: &[
        v(9, 1, 1, 1, "", &[0xc02], &[0x200]),
        v(13, 1, 1, 1, "", &[0x10c02], &[0x200]),
        v(20, 1, 1, 1, "", &[0x1f0c02], &[0x200]),
    ] },
    Op { name: "LRN", versions: &[
        v(1, 1, 1, 1, "alpha=9.999999747378752e-05 beta=0.75 bias=1.0 size!", &[0xc02], &[0xc02]),
        v(13, 1, 1, 1, "alpha=9.999999747378752e-05 beta=0.75 bias=1.0 size!", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "LSTM", versions: &[
        v(7, 3, 8, 3, "activation_alpha activation_beta activations clip direction=forward hidden_size input_forget=0", &[0xc02, 0xc02, 0xc02, 0xc02, 0x40, 0xc02], &[0xc02]),
        v(14, 3, 8, 3, "activation_alpha activation_beta activations clip direction=forward hidden_size input_forget=0 layout=0", &[0xc02, 0xc02, 0xc02, 0xc02, 0x40, 0xc02], &[0xc02]),
        v(22, 3, 8, 3, "activation_alpha activation_beta activations clip direction=forward hidden_size input_forget=0 layout=0", &[0x10c02, 0x10c02, 0x10c02, 0x10c02, 0x40, 0x10c02], &[0x10c02]),
    ] },
    Op { name: "LayerNormalization", versions: &[
        v(17, 2, 3, 3, "axis=-1 epsilon=9.999999747378752e-06 stash_type=1", &[0x10c02], &[0x10c02, 0x10002]),
    ] },
    Op { name: "LeakyRelu", versions: &[
        v(6, 1, 1, 1, "alpha=0.009999999776482582", &[0xc02], &[0xc02]),
        v(16, 1, 1, 1, "alpha=0.009999999776482582", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Less", versions: &[
        v(7, 2, 2, 1, "", &[0xc02], &[0x200]),
        v(9, 2, 2, 1, "", &[0x3cfe], &[0x200]),
        v(13, 2, 2, 1, "", &[0x13cfe], &[0x200]),
    ] },
    Op { name: "LessOrEqual", versions: &[
        v(12, 2, 2, 1, "", &[0x3cfe], &[0x200]),
        v(16, 2, 2, 1, "", &[0x13cfe], &[0x200]),
    ] },
    Op { name: "LinearAttention", versions: &[
        v(27, 3, 6, 2, "chunk_size=64 kv_num_heads! q_num_heads! scale=0.0 update_rule=gated_delta", &[0x10402], &[0x10402]),
    ] },
    Op { name: "Log", versions: &[
        v(6, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(13, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "LogSoftmax", versions: &[
        v(1, 1, 1, 1, "axis=1", &[0xc02], &[0xc02]),
        v(11, 1, 1, 1, "axis=1", &[0xc02], &[0xc02]),
        v(13, 1, 1, 1, "axis=-1", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Loop", versions: &[
        v(1, 3, MANY, MANY, "body!", &[0x80, 0x200, 0xfffe], &[0xfffe]),
        v(11, 2, MANY, MANY, "body!", &[0x80, 0x200, 0xfffe], &[0xfffe]),
        v(13, 2, MANY, MANY, "body!", &[0x80, 0x200, 0xffff], &[0xffff]),
        v(16, 2, MANY, MANY, "body!", &[0x80, 0x200, 0x1ffff], &[0x1ffff]),
        v(19, 2, MANY, MANY, "body!", &[0x80, 0x200, 0x1fffff], &[0x1fffff]),
        v(21, 2, MANY, MANY, "body!", &[0x80, 0x200, 0x7fffff], &[0x7fffff]),
        v(23, 2, MANY, MANY, "body!", &[0x80, 0x200, 0xffffff], &[0xffffff]),
        v(24, 2, MANY, MANY, "body!", &[0x80, 0x200, 0x1ffffff], &[0x1ffffff]),
        v(25, 2, MANY, MANY, "body!", &[0x80, 0x200, 0x7ffffff], &[0x7ffffff]),
    ] },
    Op { name: "LpNormalization", versions: &[
        v(1, 1, 1, 1, "axis=-1 p=2", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "axis=-1 p=2", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "LpPool", versions: &[
        v(2, 1, 1, 1, "auto_pad=NOTSET kernel_shape! p=2 pads strides", &[0xc02], &[0xc02]),
        v(11, 1, 1, 1, "auto_pad=NOTSET kernel_shape! p=2 pads strides", &[0xc02], &[0xc02]),
        v(18, 1, 1, 1, "auto_pad=NOTSET ceil_mode=0 dilations kernel_shape! p=2 pads strides", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "auto_pad=NOTSET ceil_mode=0 dilations kernel_shape! p=2 pads strides", &[0x10c02], &[0x10c02]),
    ] },
];
