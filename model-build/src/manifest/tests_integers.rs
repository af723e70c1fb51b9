//! Integer weights of graphs.

use super::tests::target;
use super::*;

#[test]
fn integer_weights_of_graphs_are_read_with_what_is_left_out() {
    let read =
        |lines: &str| target(&format!("quantization = {lines}")).unwrap().quantization.unwrap();
    let with_data = |lines: &str| {
        let data = "calibration.dataset = 'd.npz'";
        target(&format!("quantization = {lines}\n{data}")).unwrap().quantization.unwrap()
    };
    let word = read("'int4'");
    assert_eq!((word.integer, word.method), (IntegerType::Int4, QuantizationMethod::WeightOnly));
    assert_eq!(word, read("{ type = 'int4' }"));
    let how = word.weight_only.unwrap();
    assert_eq!((how.block_size, how.form), (Some(32), WeightForm::MatMulNBits));
    assert_eq!(read("'uint8'").method, QuantizationMethod::Dynamic);
    let channels = read("{ type = 'int8', method = 'weight-only' }").weight_only.unwrap();
    assert_eq!((channels.block_size, channels.form), (None, WeightForm::Qdq));
    let blocks = read("{ type = 'int8', method = 'weight-only', algorithm = 'hqq' }");
    let blocks = blocks.weight_only.unwrap();
    assert_eq!((blocks.block_size, blocks.form), (Some(32), WeightForm::MatMulNBits));
    let all = with_data(
        "{ type = 'uint4', block-size = 128, algorithm = 'gptq', form = 'qdq', damping = 0.05, \
         act-order = true, symmetric = true, overrides = { 'head$' = 'fp32', a = 'int8' } }",
    );
    assert_eq!(
        all.overrides,
        [("head$".to_owned(), None), ("a".to_owned(), Some(IntegerType::Int8))]
    );
    let params = all.weight_only.unwrap().params(all.integer);
    assert_eq!(params.get("block-size"), Some("128"));
    assert_eq!(params.get("damping"), Some("0.05"));
    assert_eq!(params.get("algorithm"), Some("gptq"));
}
