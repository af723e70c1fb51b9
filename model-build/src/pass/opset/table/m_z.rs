//! What each version of the standard operators M to Z takes. Written by `scripts/opset-table.py`
//! from the schemas of onnx 1.23.2.

use super::{MANY, Op, v};

#[rustfmt::skip]
pub(super) static OPS: &[Op] = &[
    Op { name: "MatMul", versions: &[
        v(1, 2, 2, 1, "", &[0xc02], &[0xc02]),
        v(9, 2, 2, 1, "", &[0x3cc2], &[0x3cc2]),
        v(13, 2, 2, 1, "", &[0x13cc2], &[0x13cc2]),
    ] },
    Op { name: "MatMulInteger", versions: &[
        v(10, 2, 4, 1, "", &[0xc], &[0x40]),
    ] },
    Op { name: "Max", versions: &[
        v(6, 1, MANY, 1, "", &[0xc02], &[0xc02]),
        v(8, 1, MANY, 1, "", &[0xc02], &[0xc02]),
        v(12, 1, MANY, 1, "", &[0x3cfe], &[0x3cfe]),
        v(13, 1, MANY, 1, "", &[0x13cfe], &[0x13cfe]),
    ] },
    Op { name: "MaxPool", versions: &[
        v(1, 1, 1, 1, "auto_pad=NOTSET kernel_shape! pads strides", &[0xc02], &[0xc02]),
        v(8, 1, 1, 2, "auto_pad=NOTSET kernel_shape! pads storage_order=0 strides", &[0xc02], &[0xc02, 0x80]),
        v(10, 1, 1, 2, "auto_pad=NOTSET ceil_mode=0 dilations kernel_shape! pads storage_order=0 strides", &[0xc02], &[0xc02, 0x80]),
        v(11, 1, 1, 2, "auto_pad=NOTSET ceil_mode=0 dilations kernel_shape! pads storage_order=0 strides", &[0xc02], &[0xc02, 0x80]),
        v(12, 1, 1, 2, "auto_pad=NOTSET ceil_mode=0 dilations kernel_shape! pads storage_order=0 strides", &[0xc0e], &[0xc0e, 0x80]),
        v(22, 1, 1, 2, "auto_pad=NOTSET ceil_mode=0 dilations kernel_shape! pads storage_order=0 strides", &[0x10c0e], &[0x10c0e, 0x80]),
    ] },
    Op { name: "MaxRoiPool", versions: &[
        v(1, 2, 2, 1, "pooled_shape! spatial_scale=1.0", &[0xc02], &[0xc02]),
        v(22, 2, 2, 1, "pooled_shape! spatial_scale=1.0", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "MaxUnpool", versions: &[
        v(9, 2, 3, 1, "kernel_shape! pads strides", &[0xc02, 0x80], &[0xc02]),
        v(11, 2, 3, 1, "kernel_shape! pads strides", &[0xc02, 0x80], &[0xc02]),
        v(22, 2, 3, 1, "kernel_shape! pads strides", &[0x10c02, 0x80], &[0x10c02]),
    ] },
    Op { name: "Mean", versions: &[
        v(6, 1, MANY, 1, "", &[0xc02], &[0xc02]),
        v(8, 1, MANY, 1, "", &[0xc02], &[0xc02]),
        v(13, 1, MANY, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "MeanVarianceNormalization", versions: &[
        v(9, 1, 1, 1, "axes=[0,2,3]", &[0xc02], &[0xc02]),
        v(13, 1, 1, 1, "axes=[0,2,3]", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "MelWeightMatrix", versions: &[
        v(17, 5, 5, 1, "output_datatype=1", &[0xc0, 0xc0, 0xc0, 0x10c02], &[0x13cfe]),
    ] },
    Op { name: "Min", versions: &[
        v(6, 1, MANY, 1, "", &[0xc02], &[0xc02]),
        v(8, 1, MANY, 1, "", &[0xc02], &[0xc02]),
        v(12, 1, MANY, 1, "", &[0x3cfe], &[0x3cfe]),
        v(13, 1, MANY, 1, "", &[0x13cfe], &[0x13cfe]),
    ] },
    Op { name: "Mish", versions: &[
        v(18, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Mod", versions: &[
        v(10, 2, 2, 1, "fmod=0", &[0x3cfe], &[0x3cfe]),
        v(13, 2, 2, 1, "fmod=0", &[0x13cfe], &[0x13cfe]),
        v(28, 2, 2, 1, "fmod=0", &[0x13cfe], &[0x13cfe]),
    ] },
    Op { name: "Mul", versions: &[
        v(7, 2, 2, 1, "", &[0x3cc2], &[0x3cc2]),
        v(13, 2, 2, 1, "", &[0x13cc2], &[0x13cc2]),
        v(14, 2, 2, 1, "", &[0x13cfe], &[0x13cfe]),
    ] },
    Op { name: "Multinomial", versions: &[
        v(7, 1, 1, 1, "dtype=6 sample_size=1 seed", &[0xc02], &[0xc0]),
        v(22, 1, 1, 1, "dtype=6 sample_size=1 seed", &[0x10c02], &[0xc0]),
    ] },
    Op { name: "Neg", versions: &[
        v(6, 1, 1, 1, "", &[0xcea], &[0xcea]),
        v(13, 1, 1, 1, "", &[0x10cea], &[0x10cea]),
    ] },
    Op { name: "NegativeLogLikelihoodLoss", versions: &[
        v(12, 2, 3, 1, "ignore_index reduction=mean", &[0xc02, 0xc0, 0xc02], &[0xc02]),
        v(13, 2, 3, 1, "ignore_index reduction=mean", &[0xc02, 0xc0, 0xc02], &[0xc02]),
        v(22, 2, 3, 1, "ignore_index reduction=mean", &[0x10c02, 0xc0, 0x10c02], &[0x10c02]),
    ] },
    Op { name: "NonMaxSuppression", versions: &[
        v(10, 2, 5, 1, "center_point_box=0", &[0x2, 0x2, 0x80, 0x2], &[0x80]),
        v(11, 2, 5, 1, "center_point_box=0", &[0x2, 0x2, 0x80, 0x2], &[0x80]),
    ] },
    Op { name: "NonZero", versions: &[
        v(9, 1, 1, 1, "", &[0xfffe], &[0x80]),
        v(13, 1, 1, 1, "", &[0x1fffe], &[0x80]),
    ] },
    Op { name: "Not", versions: &[
        v(1, 1, 1, 1, "", &[0x200], &[0x200]),
    ] },
    Op { name: "OneHot", versions: &[
        v(9, 3, 3, 1, "axis=-1", &[0x3cfe, 0x3cfe, 0xfffe], &[0xfffe]),
        v(11, 3, 3, 1, "axis=-1", &[0x3cfe, 0x3cfe, 0xfffe], &[0xfffe]),
        v(28, 3, 3, 1, "axis=-1", &[0x3cfe, 0x3cfe, 0x1fffe], &[0x1fffe]),
    ] },
    Op { name: "Optional", versions: &[
        v(15, 0, 1, 1, "type", &[0xffff], &[0x1]),
        v(28, 0, 1, 1, "type", &[0x1fffffff], &[0x1]),
    ] },
    Op { name: "OptionalGetElement", versions: &[
        v(15, 1, 1, 1, "", &[0x1], &[0xffff]),
        v(18, 1, 1, 1, "", &[0xffff], &[0xffff]),
        v(28, 1, 1, 1, "", &[0x1fffffff], &[0x1fffffff]),
    ] },
    Op { name: "OptionalHasElement", versions: &[
        v(15, 1, 1, 1, "", &[0x1], &[0x200]),
        v(18, 0, 1, 1, "", &[0xffff], &[0x200]),
        v(28, 0, 1, 1, "", &[0x1fffffff], &[0x200]),
    ] },
    Op { name: "Or", versions: &[
        v(7, 2, 2, 1, "", &[0x200], &[0x200]),
    ] },
    Op { name: "PRelu", versions: &[
        v(7, 2, 2, 1, "", &[0xc02], &[0xc02]),
        v(9, 2, 2, 1, "", &[0x3cc2], &[0x3cc2]),
        v(16, 2, 2, 1, "", &[0x13cc2], &[0x13cc2]),
    ] },
    Op { name: "Pad", versions: &[
        v(2, 1, 1, 1, "mode=constant pads! value=0.0", &[0xc02], &[0xc02]),
        v(11, 2, 3, 1, "mode=constant", &[0x3cfe, 0x80, 0x3cfe], &[0x3cfe]),
        v(13, 2, 3, 1, "mode=constant", &[0x1fffe, 0x80, 0x1fffe], &[0x1fffe]),
        v(18, 2, 4, 1, "mode=constant", &[0x1fffe, 0x80, 0x1fffe, 0xc0], &[0x1fffe]),
        v(19, 2, 4, 1, "mode=constant", &[0x1fffe, 0x80, 0x1fffe, 0xc0], &[0x1fffe]),
        v(21, 2, 4, 1, "mode=constant", &[0x7ffffe, 0x80, 0x7ffffe, 0xc0], &[0x7ffffe]),
        v(23, 2, 4, 1, "mode=constant", &[0xfffffe, 0x80, 0xfffffe, 0xc0], &[0xfffffe]),
        v(24, 2, 4, 1, "mode=constant", &[0x1fffffe, 0x80, 0x1fffffe, 0xc0], &[0x1fffffe]),
        v(25, 2, 4, 1, "mode=constant", &[0x7fffffe, 0x80, 0x7fffffe, 0xc0], &[0x7fffffe]),
    ] },
    Op { name: "Pow", versions: &[
        v(7, 2, 2, 1, "", &[0xc02], &[0xc02]),
        v(12, 2, 2, 1, "", &[0xcc2, 0x3cfe], &[0xcc2]),
        v(13, 2, 2, 1, "", &[0x10cc2, 0x3cfe], &[0x10cc2]),
        v(15, 2, 2, 1, "", &[0x10cc2, 0x13cfe], &[0x10cc2]),
    ] },
    Op { name: "QLinearConv", versions: &[
        v(10, 8, 9, 1, "auto_pad=NOTSET dilations group=1 kernel_shape pads strides", &[0xc, 0x2, 0xc, 0xc, 0x2, 0xc, 0x2, 0xc, 0x40], &[0xc]),
    ] },
    Op { name: "QLinearMatMul", versions: &[
        v(10, 8, 8, 1, "", &[0xc, 0x2, 0xc, 0xc, 0x2, 0xc, 0x2, 0xc], &[0xc]),
        v(21, 8, 8, 1, "", &[0x1e000c, 0x10402, 0x1e000c, 0x1e000c, 0x10402, 0x1e000c, 0x10402, 0x1e000c], &[0x1e000c]),
    ] },
    Op { name: "QuantizeLinear", versions: &[
        v(10, 2, 3, 1, "", &[0x42, 0x2, 0xc], &[0xc]),
        v(13, 2, 3, 1, "axis=1", &[0x42, 0x2, 0xc], &[0xc]),
        v(19, 2, 3, 1, "axis=1 saturate=1", &[0x10442, 0x10442, 0x1e000c], &[0x1e000c]),
        v(21, 2, 3, 1, "axis=1 block_size=0 output_dtype=0 saturate=1", &[0x10442, 0x10442, 0x7e003c], &[0x7e003c]),
        v(23, 2, 3, 1, "axis=1 block_size=0 output_dtype=0 precision=0 saturate=1", &[0x10442, 0x10442, 0xfe003c], &[0xfe003c]),
        v(24, 2, 3, 1, "axis=1 block_size=0 output_dtype=0 precision=0 saturate=1", &[0x10442, 0x1010442, 0xfe003c], &[0xfe003c]),
        v(25, 2, 3, 1, "axis=1 block_size=0 output_dtype=0 precision=0 saturate=1", &[0x10442, 0x1010442, 0x6fe003c], &[0x6fe003c]),
        v(28, 2, 3, 1, "axis=1 block_size=0 output_dtype=0 precision=0 saturate=1", &[0x10442, 0x1010442, 0x1efe003c], &[0x1efe003c]),
    ] },
    Op { name: "RMSNormalization", versions: &[
        v(23, 2, 2, 1, "axis=-1 epsilon=9.999999747378752e-06 stash_type=1", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "RNN", versions: &[
        v(7, 3, 6, 2, "activation_alpha activation_beta activations=[b'Tanh',b'Tanh'] clip direction=forward hidden_size", &[0xc02, 0xc02, 0xc02, 0xc02, 0x40, 0xc02], &[0xc02]),
        v(14, 3, 6, 2, "activation_alpha activation_beta activations=[b'Tanh',b'Tanh'] clip direction=forward hidden_size layout=0", &[0xc02, 0xc02, 0xc02, 0xc02, 0x40, 0xc02], &[0xc02]),
        v(22, 3, 6, 2, "activation_alpha activation_beta activations=[b'Tanh',b'Tanh'] clip direction=forward hidden_size layout=0", &[0x10c02, 0x10c02, 0x10c02, 0x10c02, 0x40, 0x10c02], &[0x10c02]),
    ] },
    Op { name: "RandomNormal", versions: &[
        v(1, 0, 0, 1, "dtype=1 mean=0.0 scale=1.0 seed shape!", &[], &[0xc02]),
        v(22, 0, 0, 1, "dtype=1 mean=0.0 scale=1.0 seed shape!", &[], &[0x10c02]),
    ] },
    Op { name: "RandomNormalLike", versions: &[
        v(1, 1, 1, 1, "dtype mean=0.0 scale=1.0 seed", &[0xfffe], &[0xc02]),
        v(22, 1, 1, 1, "dtype mean=0.0 scale=1.0 seed", &[0x1fffe], &[0x10c02]),
    ] },
    Op { name: "RandomUniform", versions: &[
        v(1, 0, 0, 1, "dtype=1 high=1.0 low=0.0 seed shape!", &[], &[0xc02]),
        v(22, 0, 0, 1, "dtype=1 high=1.0 low=0.0 seed shape!", &[], &[0x10c02]),
    ] },
    Op { name: "RandomUniformLike", versions: &[
        v(1, 1, 1, 1, "dtype high=1.0 low=0.0 seed", &[0xfffe], &[0xc02]),
        v(22, 1, 1, 1, "dtype high=1.0 low=0.0 seed", &[0x1fffe], &[0x10c02]),
    ] },
    Op { name: "Range", versions: &[
        v(11, 3, 3, 1, "", &[0x8e2], &[0x8e2]),
        v(27, 3, 3, 1, "stash_type=1", &[0x10ce2], &[0x10ce2]),
    ] },
    Op { name: "Reciprocal", versions: &[
        v(6, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(13, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "ReduceL1", versions: &[
        v(1, 1, 1, 1, "axes keepdims=1", &[0x3cc2], &[0x3cc2]),
        v(11, 1, 1, 1, "axes keepdims=1", &[0x3cc2], &[0x3cc2]),
        v(13, 1, 1, 1, "axes keepdims=1", &[0x13cc2], &[0x13cc2]),
        v(18, 1, 2, 1, "keepdims=1 noop_with_empty_axes=0", &[0x13cc2, 0x80], &[0x13cc2]),
    ] },
    Op { name: "ReduceL2", versions: &[
        v(1, 1, 1, 1, "axes keepdims=1", &[0x3cc2], &[0x3cc2]),
        v(11, 1, 1, 1, "axes keepdims=1", &[0x3cc2], &[0x3cc2]),
        v(13, 1, 1, 1, "axes keepdims=1", &[0x13cc2], &[0x13cc2]),
        v(18, 1, 2, 1, "keepdims=1 noop_with_empty_axes=0", &[0x13cc2, 0x80], &[0x13cc2]),
    ] },
    Op { name: "ReduceLogSum", versions: &[
        v(1, 1, 1, 1, "axes keepdims=1", &[0x3cc2], &[0x3cc2]),
        v(11, 1, 1, 1, "axes keepdims=1", &[0x3cc2], &[0x3cc2]),
        v(13, 1, 1, 1, "axes keepdims=1", &[0x13cc2], &[0x13cc2]),
        v(18, 1, 2, 1, "keepdims=1 noop_with_empty_axes=0", &[0x13cc2, 0x80], &[0x13cc2]),
        v(28, 1, 2, 1, "keepdims=1 noop_with_empty_axes=0", &[0x10c02, 0x80], &[0x10c02]),
    ] },
    Op { name: "ReduceLogSumExp", versions: &[
        v(1, 1, 1, 1, "axes keepdims=1", &[0x3cc2], &[0x3cc2]),
        v(11, 1, 1, 1, "axes keepdims=1", &[0x3cc2], &[0x3cc2]),
        v(13, 1, 1, 1, "axes keepdims=1", &[0x13cc2], &[0x13cc2]),
        v(18, 1, 2, 1, "keepdims=1 noop_with_empty_axes=0", &[0x13cc2, 0x80], &[0x13cc2]),
        v(28, 1, 2, 1, "keepdims=1 noop_with_empty_axes=0", &[0x10c02, 0x80], &[0x10c02]),
    ] },
    Op { name: "ReduceMax", versions: &[
        v(1, 1, 1, 1, "axes keepdims=1", &[0x3cc2], &[0x3cc2]),
        v(11, 1, 1, 1, "axes keepdims=1", &[0x3cc2], &[0x3cc2]),
        v(12, 1, 1, 1, "axes keepdims=1", &[0x3cce], &[0x3cce]),
        v(13, 1, 1, 1, "axes keepdims=1", &[0x13cce], &[0x13cce]),
        v(18, 1, 2, 1, "keepdims=1 noop_with_empty_axes=0", &[0x13cce, 0x80], &[0x13cce]),
        v(20, 1, 2, 1, "keepdims=1 noop_with_empty_axes=0", &[0x13ece, 0x80], &[0x13ece]),
    ] },
    Op { name: "ReduceMean", versions: &[
        v(1, 1, 1, 1, "axes keepdims=1", &[0x3cc2], &[0x3cc2]),
        v(11, 1, 1, 1, "axes keepdims=1", &[0x3cc2], &[0x3cc2]),
        v(13, 1, 1, 1, "axes keepdims=1", &[0x13cc2], &[0x13cc2]),
        v(18, 1, 2, 1, "keepdims=1 noop_with_empty_axes=0", &[0x13cc2, 0x80], &[0x13cc2]),
    ] },
    Op { name: "ReduceMin", versions: &[
        v(1, 1, 1, 1, "axes keepdims=1", &[0x3cc2], &[0x3cc2]),
        v(11, 1, 1, 1, "axes keepdims=1", &[0x3cc2], &[0x3cc2]),
        v(12, 1, 1, 1, "axes keepdims=1", &[0x3cce], &[0x3cce]),
        v(13, 1, 1, 1, "axes keepdims=1", &[0x13cce], &[0x13cce]),
        v(18, 1, 2, 1, "keepdims=1 noop_with_empty_axes=0", &[0x13cce, 0x80], &[0x13cce]),
        v(20, 1, 2, 1, "keepdims=1 noop_with_empty_axes=0", &[0x13ece, 0x80], &[0x13ece]),
    ] },
    Op { name: "ReduceProd", versions: &[
        v(1, 1, 1, 1, "axes keepdims=1", &[0x3cc2], &[0x3cc2]),
        v(11, 1, 1, 1, "axes keepdims=1", &[0x3cc2], &[0x3cc2]),
        v(13, 1, 1, 1, "axes keepdims=1", &[0x13cc2], &[0x13cc2]),
        v(18, 1, 2, 1, "keepdims=1 noop_with_empty_axes=0", &[0x13cc2, 0x80], &[0x13cc2]),
    ] },
    Op { name: "ReduceSum", versions: &[
        v(1, 1, 1, 1, "axes keepdims=1", &[0x3cc2], &[0x3cc2]),
        v(11, 1, 1, 1, "axes keepdims=1", &[0x3cc2], &[0x3cc2]),
        v(13, 1, 2, 1, "keepdims=1 noop_with_empty_axes=0", &[0x13cc2, 0x80], &[0x13cc2]),
    ] },
    Op { name: "ReduceSumSquare", versions: &[
        v(1, 1, 1, 1, "axes keepdims=1", &[0x3cc2], &[0x3cc2]),
        v(11, 1, 1, 1, "axes keepdims=1", &[0x3cc2], &[0x3cc2]),
        v(13, 1, 1, 1, "axes keepdims=1", &[0x13cc2], &[0x13cc2]),
        v(18, 1, 2, 1, "keepdims=1 noop_with_empty_axes=0", &[0x13cc2, 0x80], &[0x13cc2]),
    ] },
    Op { name: "RegexFullMatch", versions: &[
        v(20, 1, 1, 1, "pattern", &[0x100], &[0x200]),
    ] },
    Op { name: "Relu", versions: &[
        v(6, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(13, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
        v(14, 1, 1, 1, "", &[0x10cea], &[0x10cea]),
    ] },
    Op { name: "Reshape", versions: &[
        v(5, 2, 2, 1, "", &[0xfffe, 0x80], &[0xfffe]),
        v(13, 2, 2, 1, "", &[0x1fffe, 0x80], &[0x1fffe]),
        v(14, 2, 2, 1, "allowzero=0", &[0x1fffe, 0x80], &[0x1fffe]),
        v(19, 2, 2, 1, "allowzero=0", &[0x1ffffe, 0x80], &[0x1ffffe]),
        v(21, 2, 2, 1, "allowzero=0", &[0x7ffffe, 0x80], &[0x7ffffe]),
        v(23, 2, 2, 1, "allowzero=0", &[0xfffffe, 0x80], &[0xfffffe]),
        v(24, 2, 2, 1, "allowzero=0", &[0x1fffffe, 0x80], &[0x1fffffe]),
        v(25, 2, 2, 1, "allowzero=0", &[0x7fffffe, 0x80], &[0x7fffffe]),
    ] },
    Op { name: "Resize", versions: &[
        v(10, 2, 2, 1, "mode=nearest", &[0xfffe, 0x2], &[0xfffe]),
        v(11, 3, 4, 1, "coordinate_transformation_mode=half_pixel cubic_coeff_a=-0.75 exclude_outside=0 extrapolation_value=0.0 mode=nearest nearest_mode=round_prefer_floor", &[0xfffe, 0xc02, 0x2, 0x80], &[0xfffe]),
        v(13, 1, 4, 1, "coordinate_transformation_mode=half_pixel cubic_coeff_a=-0.75 exclude_outside=0 extrapolation_value=0.0 mode=nearest nearest_mode=round_prefer_floor", &[0x1fffe, 0xc02, 0x2, 0x80], &[0x1fffe]),
        v(18, 1, 4, 1, "antialias=0 axes coordinate_transformation_mode=half_pixel cubic_coeff_a=-0.75 exclude_outside=0 extrapolation_value=0.0 keep_aspect_ratio_policy=stretch mode=nearest nearest_mode=round_prefer_floor", &[0x1fffe, 0xc02, 0x2, 0x80], &[0x1fffe]),
        v(19, 1, 4, 1, "antialias=0 axes coordinate_transformation_mode=half_pixel cubic_coeff_a=-0.75 exclude_outside=0 extrapolation_value=0.0 keep_aspect_ratio_policy=stretch mode=nearest nearest_mode=round_prefer_floor", &[0x1fffe, 0xc02, 0x2, 0x80], &[0x1fffe]),
    ] },
    Op { name: "ReverseSequence", versions: &[
        v(10, 2, 2, 1, "batch_axis=1 time_axis=0", &[0xfffe, 0x80], &[0xfffe]),
        v(28, 2, 2, 1, "batch_axis=1 time_axis=0", &[0x1fffe, 0x80], &[0x1fffe]),
    ] },
    Op { name: "RoiAlign", versions: &[
        v(10, 3, 3, 1, "mode=avg output_height=1 output_width=1 sampling_ratio=0 spatial_scale=1.0", &[0xc02, 0xc02, 0x80], &[0xc02]),
        v(16, 3, 3, 1, "coordinate_transformation_mode=half_pixel mode=avg output_height=1 output_width=1 sampling_ratio=0 spatial_scale=1.0", &[0xc02, 0xc02, 0x80], &[0xc02]),
        v(22, 3, 3, 1, "coordinate_transformation_mode=half_pixel mode=avg output_height=1 output_width=1 sampling_ratio=0 spatial_scale=1.0", &[0x10c02, 0x10c02, 0x80], &[0x10c02]),
    ] },
    Op { name: "RotaryEmbedding", versions: &[
        v(23, 3, 4, 1, "interleaved=0 num_heads rotary_embedding_dim=0", &[0x10402, 0x10402, 0x10402, 0x80], &[0x10402]),
    ] },
    Op { name: "Round", versions: &[
        v(11, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "STFT", versions: &[
        v(17, 2, 4, 1, "onesided=1", &[0x10c02, 0xc0, 0x10c02, 0xc0], &[0x10c02]),
    ] },
    Op { name: "Scan", versions: &[
        v(8, 2, MANY, MANY, "body! directions num_scan_inputs!", &[0x80, 0xfffe], &[0xfffe]),
        v(9, 1, MANY, MANY, "body! num_scan_inputs! scan_input_axes scan_input_directions scan_output_axes scan_output_directions", &[0xfffe], &[0xfffe]),
        v(11, 1, MANY, MANY, "body! num_scan_inputs! scan_input_axes scan_input_directions scan_output_axes scan_output_directions", &[0xfffe], &[0xfffe]),
        v(16, 1, MANY, MANY, "body! num_scan_inputs! scan_input_axes scan_input_directions scan_output_axes scan_output_directions", &[0x1fffe], &[0x1fffe]),
        v(19, 1, MANY, MANY, "body! num_scan_inputs! scan_input_axes scan_input_directions scan_output_axes scan_output_directions", &[0x1ffffe], &[0x1ffffe]),
        v(21, 1, MANY, MANY, "body! num_scan_inputs! scan_input_axes scan_input_directions scan_output_axes scan_output_directions", &[0x7ffffe], &[0x7ffffe]),
        v(23, 1, MANY, MANY, "body! num_scan_inputs! scan_input_axes scan_input_directions scan_output_axes scan_output_directions", &[0xfffffe], &[0xfffffe]),
        v(24, 1, MANY, MANY, "body! num_scan_inputs! scan_input_axes scan_input_directions scan_output_axes scan_output_directions", &[0x1fffffe], &[0x1fffffe]),
        v(25, 1, MANY, MANY, "body! num_scan_inputs! scan_input_axes scan_input_directions scan_output_axes scan_output_directions", &[0x7fffffe], &[0x7fffffe]),
    ] },
    Op { name: "Scatter", versions: &[
        v(9, 3, 3, 1, "axis=0", &[0xfffe, 0xc0, 0xfffe], &[0xfffe]),
        v(11, 0, 3, 1, "axis=0", &[0xfffe, 0xc0, 0xfffe], &[0xfffe]).deprecated(),
    ] },
    Op { name: "ScatterElements", versions: &[
        v(11, 3, 3, 1, "axis=0", &[0xfffe, 0xc0, 0xfffe], &[0xfffe]),
        v(13, 3, 3, 1, "axis=0", &[0x1fffe, 0xc0, 0x1fffe], &[0x1fffe]),
        v(16, 3, 3, 1, "axis=0 reduction=none", &[0x1fffe, 0xc0, 0x1fffe], &[0x1fffe]),
        v(18, 3, 3, 1, "axis=0 reduction=none", &[0x1fffe, 0xc0, 0x1fffe], &[0x1fffe]),
    ] },
    Op { name: "ScatterND", versions: &[
        v(11, 3, 3, 1, "", &[0xfffe, 0x80, 0xfffe], &[0xfffe]),
        v(13, 3, 3, 1, "", &[0x1fffe, 0x80, 0x1fffe], &[0x1fffe]),
        v(16, 3, 3, 1, "reduction=none", &[0x1fffe, 0x80, 0x1fffe], &[0x1fffe]),
        v(18, 3, 3, 1, "reduction=none", &[0x1fffe, 0x80, 0x1fffe], &[0x1fffe]),
    ] },
    Op { name: "Selu", versions: &[
        v(6, 1, 1, 1, "alpha=1.6732631921768188 gamma=1.0507010221481323", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "alpha=1.6732631921768188 gamma=1.0507010221481323", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "SequenceAt", versions: &[
        v(11, 2, 2, 1, "", &[0x1, 0xc0], &[0xfffe]),
    ] },
    Op { name: "SequenceConstruct", versions: &[
        v(11, 1, MANY, 1, "", &[0xfffe], &[0x1]),
    ] },
    Op { name: "SequenceEmpty", versions: &[
        v(11, 0, 0, 1, "dtype", &[], &[0x1]),
    ] },
    Op { name: "SequenceErase", versions: &[
        v(11, 1, 2, 1, "", &[0x1, 0xc0], &[0x1]),
    ] },
    Op { name: "SequenceInsert", versions: &[
        v(11, 2, 3, 1, "", &[0x1, 0xfffe, 0xc0], &[0x1]),
    ] },
    Op { name: "SequenceLength", versions: &[
        v(11, 1, 1, 1, "", &[0x1], &[0x80]),
    ] },
    Op { name: "SequenceMap", versions: &[
        v(17, 1, MANY, MANY, "body!", &[0x1, 0xffff], &[0x1]),
    ] },
    Op { name: "Shape", versions: &[
        v(1, 1, 1, 1, "", &[0xfffe], &[0x80]),
        v(13, 1, 1, 1, "", &[0x1fffe], &[0x80]),
        v(15, 1, 1, 1, "end start=0", &[0x1fffe], &[0x80]),
        v(19, 1, 1, 1, "end start=0", &[0x1ffffe], &[0x80]),
        v(21, 1, 1, 1, "end start=0", &[0x7ffffe], &[0x80]),
        v(23, 1, 1, 1, "end start=0", &[0xfffffe], &[0x80]),
        v(24, 1, 1, 1, "end start=0", &[0x1fffffe], &[0x80]),
        v(25, 1, 1, 1, "end start=0", &[0x7fffffe], &[0x80]),
    ] },
    Op { name: "Shrink", versions: &[
        v(9, 1, 1, 1, "bias=0.0 lambd=0.5", &[0x3cfe], &[0x3cfe]),
    ] },
    Op { name: "Sigmoid", versions: &[
        v(6, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(13, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Sign", versions: &[
        v(9, 1, 1, 1, "", &[0x3cfe], &[0x3cfe]),
        v(13, 1, 1, 1, "", &[0x13cfe], &[0x13cfe]),
    ] },
    Op { name: "Sin", versions: &[
        v(7, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Sinh", versions: &[
        v(9, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Size", versions: &[
        v(1, 1, 1, 1, "", &[0xfffe], &[0x80]),
        v(13, 1, 1, 1, "", &[0x1fffe], &[0x80]),
        v(19, 1, 1, 1, "", &[0x1ffffe], &[0x80]),
        v(21, 1, 1, 1, "", &[0x7ffffe], &[0x80]),
        v(23, 1, 1, 1, "", &[0xfffffe], &[0x80]),
        v(24, 1, 1, 1, "", &[0x1fffffe], &[0x80]),
        v(25, 1, 1, 1, "", &[0x7fffffe], &[0x80]),
    ] },
    Op { name: "Slice", versions: &[
        v(1, 1, 1, 1, "axes ends! starts!", &[0xfffe], &[0xfffe]),
        v(10, 3, 5, 1, "", &[0xfffe, 0xc0], &[0xfffe]),
        v(11, 3, 5, 1, "", &[0xfffe, 0xc0], &[0xfffe]),
        v(13, 3, 5, 1, "", &[0x1fffe, 0xc0], &[0x1fffe]),
    ] },
    Op { name: "Softmax", versions: &[
        v(1, 1, 1, 1, "axis=1", &[0xc02], &[0xc02]),
        v(11, 1, 1, 1, "axis=1", &[0xc02], &[0xc02]),
        v(13, 1, 1, 1, "axis=-1", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "SoftmaxCrossEntropyLoss", versions: &[
        v(12, 2, 3, 2, "ignore_index reduction=mean", &[0xc02, 0xc0, 0xc02], &[0xc02]),
        v(13, 2, 3, 2, "ignore_index reduction=mean", &[0x10c02, 0xc0, 0x10c02], &[0x10c02]),
    ] },
    Op { name: "Softplus", versions: &[
        v(1, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Softsign", versions: &[
        v(1, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "SpaceToDepth", versions: &[
        v(1, 1, 1, 1, "blocksize!", &[0xfffe], &[0xfffe]),
        v(13, 1, 1, 1, "blocksize!", &[0x1fffe], &[0x1fffe]),
        v(28, 1, 1, 1, "blocksize! mode=DCR", &[0x1fffe], &[0x1fffe]),
    ] },
    Op { name: "Split", versions: &[
        v(2, 1, 1, MANY, "axis=0 split", &[0xfffe], &[0xfffe]),
        v(11, 1, 1, MANY, "axis=0 split", &[0xfffe], &[0xfffe]),
        v(13, 1, 2, MANY, "axis=0", &[0x1fffe, 0x80], &[0x1fffe]),
        v(18, 1, 2, MANY, "axis=0 num_outputs", &[0x1fffe, 0x80], &[0x1fffe]),
    ] },
    Op { name: "SplitToSequence", versions: &[
        v(11, 1, 2, 1, "axis=0 keepdims=1", &[0xfffe, 0xc0], &[0x1]),
        v(24, 1, 2, 1, "axis=0 keepdims=1", &[0x1fffe, 0xc0], &[0x1]),
    ] },
    Op { name: "Sqrt", versions: &[
        v(6, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(13, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Squeeze", versions: &[
        v(1, 1, 1, 1, "axes", &[0xfffe], &[0xfffe]),
        v(11, 1, 1, 1, "axes", &[0xfffe], &[0xfffe]),
        v(13, 1, 2, 1, "", &[0x1fffe, 0x80], &[0x1fffe]),
        v(21, 1, 2, 1, "", &[0x7ffffe, 0x80], &[0x7ffffe]),
        v(23, 1, 2, 1, "", &[0xfffffe, 0x80], &[0xfffffe]),
        v(24, 1, 2, 1, "", &[0x1fffffe, 0x80], &[0x1fffffe]),
        v(25, 1, 2, 1, "", &[0x7fffffe, 0x80], &[0x7fffffe]),
    ] },
    Op { name: "StringConcat", versions: &[
        v(20, 2, 2, 1, "", &[0x100], &[0x100]),
    ] },
    Op { name: "StringNormalizer", versions: &[
        v(10, 1, 1, 1, "case_change_action=NONE is_case_sensitive=0 locale stopwords", &[0x100], &[0x100]),
    ] },
    Op { name: "StringSplit", versions: &[
        v(20, 1, 1, 2, "delimiter maxsplit", &[0x100], &[0x100, 0x80]),
    ] },
    Op { name: "Sub", versions: &[
        v(7, 2, 2, 1, "", &[0x3cc2], &[0x3cc2]),
        v(13, 2, 2, 1, "", &[0x13cc2], &[0x13cc2]),
        v(14, 2, 2, 1, "", &[0x13cfe], &[0x13cfe]),
    ] },
    Op { name: "Sum", versions: &[
        v(6, 1, MANY, 1, "", &[0xc02], &[0xc02]),
        v(8, 1, MANY, 1, "", &[0xc02], &[0xc02]),
        v(13, 1, MANY, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "SwiGLU", versions: &[
        v(28, 2, 2, 1, "alpha=1.0", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Swish", versions: &[
        v(24, 1, 1, 1, "alpha=1.0", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Tan", versions: &[
        v(7, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Tanh", versions: &[
        v(6, 1, 1, 1, "", &[0xc02], &[0xc02]),
        v(13, 1, 1, 1, "", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "TensorScatter", versions: &[
        v(24, 2, 3, 1, "axis=-2 mode=linear", &[0x1fffffe, 0x1fffffe, 0x80], &[0x1fffffe]),
    ] },
    Op { name: "TfIdfVectorizer", versions: &[
        v(9, 1, 1, 1, "max_gram_length! max_skip_count! min_gram_length! mode! ngram_counts! ngram_indexes! pool_int64s pool_strings weights", &[0x1c0], &[0x2]),
    ] },
    Op { name: "ThresholdedRelu", versions: &[
        v(10, 1, 1, 1, "alpha=1.0", &[0xc02], &[0xc02]),
        v(22, 1, 1, 1, "alpha=1.0", &[0x10c02], &[0x10c02]),
    ] },
    Op { name: "Tile", versions: &[
        v(6, 2, 2, 1, "", &[0xfffe, 0x80], &[0xfffe]),
        v(13, 2, 2, 1, "", &[0x1fffe, 0x80], &[0x1fffe]),
    ] },
    Op { name: "TopK", versions: &[
        v(1, 1, 1, 2, "axis=-1 k!", &[0xc02], &[0xc02, 0x80]),
        v(10, 2, 2, 2, "axis=-1", &[0xc02, 0x80], &[0xc02, 0x80]),
        v(11, 2, 2, 2, "axis=-1 largest=1 sorted=1", &[0x3cfe, 0x80], &[0x3cfe, 0x80]),
        v(24, 2, 2, 2, "axis=-1 largest=1 sorted=1", &[0x13cfe, 0x80], &[0x13cfe, 0x80]),
    ] },
    Op { name: "Transpose", versions: &[
        v(1, 1, 1, 1, "perm", &[0xfffe], &[0xfffe]),
        v(13, 1, 1, 1, "perm", &[0x1fffe], &[0x1fffe]),
        v(21, 1, 1, 1, "perm", &[0x7ffffe], &[0x7ffffe]),
        v(23, 1, 1, 1, "perm", &[0xfffffe], &[0xfffffe]),
        v(24, 1, 1, 1, "perm", &[0x1fffffe], &[0x1fffffe]),
        v(25, 1, 1, 1, "perm", &[0x7fffffe], &[0x7fffffe]),
    ] },
    Op { name: "Trilu", versions: &[
        v(14, 1, 2, 1, "upper=1", &[0x1fffe, 0x80], &[0x1fffe]),
    ] },
    Op { name: "Unique", versions: &[
        v(11, 1, 1, 4, "axis sorted=1", &[0xfffe], &[0xfffe, 0x80]),
        v(28, 1, 1, 4, "axis sorted=1", &[0x1fffe], &[0x1fffe, 0x80]),
    ] },
    Op { name: "Unsqueeze", versions: &[
        v(1, 1, 1, 1, "axes!", &[0xfffe], &[0xfffe]),
        v(11, 1, 1, 1, "axes!", &[0xfffe], &[0xfffe]),
        v(13, 2, 2, 1, "", &[0x1fffe, 0x80], &[0x1fffe]),
        v(21, 2, 2, 1, "", &[0x7ffffe, 0x80], &[0x7ffffe]),
        v(23, 2, 2, 1, "", &[0xfffffe, 0x80], &[0xfffffe]),
        v(24, 2, 2, 1, "", &[0x1fffffe, 0x80], &[0x1fffffe]),
        v(25, 2, 2, 1, "", &[0x7fffffe, 0x80], &[0x7fffffe]),
    ] },
    Op { name: "Upsample", versions: &[
        v(7, 1, 1, 1, "mode=nearest scales!", &[0xfffe], &[0xfffe]),
        v(9, 2, 2, 1, "mode=nearest", &[0xfffe, 0x2], &[0xfffe]),
        v(10, 0, 2, 1, "mode=nearest", &[0xfffe, 0x2], &[0xfffe]).deprecated(),
    ] },
    Op { name: "Where", versions: &[
        v(9, 3, 3, 1, "", &[0x200, 0xfffe], &[0xfffe]),
        v(16, 3, 3, 1, "", &[0x200, 0x1fffe], &[0x1fffe]),
    ] },
    Op { name: "Xor", versions: &[
        v(7, 2, 2, 1, "", &[0x200], &[0x200]),
    ] },
];
