//! Round to nearest: the scale of a block is the least that its weights fit in.

use super::grid::{Code, Grid};

/// The code of a block of finite weights.
///
/// Symmetric, the weight of the greatest magnitude becomes the least integer, which is one farther
/// from the middle than the greatest, so that the scale has the other sign. Asymmetric, the range
/// from the least to the greatest weight, zero included, is divided evenly and the zero point is
/// rounded. Both as ONNX Runtime's `MatMulNBitsQuantizer` does by default.
pub(super) fn code(grid: Grid, weights: &[f32]) -> Code {
    let least = weights.iter().copied().fold(f32::INFINITY, f32::min);
    let most = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if grid.symmetric {
        let far = if most.abs() > least.abs() { most } else { least };
        return Code { scale: -far / f32::from(grid.middle()), zero: grid.middle() };
    }
    let (least, most) = (least.min(0.0), most.max(0.0));
    let scale = (most - least) / grid.top();
    let zero = if scale == 0.0 { least } else { -least / scale };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped
    let zero = zero.round().clamp(0.0, grid.top()) as u8;
    Code { scale, zero }
}

#[cfg(test)]
mod tests {
    use super::super::grid::Rounding;
    use super::*;

    #[test]
    fn the_farthest_weight_of_a_symmetric_block_is_exact() {
        for bits in [4, 8] {
            let grid = Grid { bits, symmetric: true, block: 4 };
            for weights in [[1.0, -3.0, 0.5, 0.0], [1.0, 3.0, 0.5, 0.0]] {
                let code = code(grid, &weights);
                let far = code.encode(grid, Rounding::WithZero, weights[1]);
                assert_eq!(far, 0);
                assert_eq!(code.decode(far), weights[1]);
                assert_eq!(code.encode(grid, Rounding::WithZero, 0.0), grid.middle());
            }
        }
    }

    #[test]
    fn a_block_of_zeros_decodes_to_zeros() {
        for symmetric in [true, false] {
            let grid = Grid { bits: 4, symmetric, block: 4 };
            let code = code(grid, &[0.0; 4]);
            assert_eq!(code.decode(code.encode(grid, Rounding::WithZero, 0.0)), 0.0);
        }
    }
}
