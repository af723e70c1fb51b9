//! Lines of the tables that `fixtures/gguf_arch/digests.py` writes of llama.cpp's files.

use model_build::hub::{Meta, MetaArray, Tensor};

fn array(items: &MetaArray) -> (&'static str, usize, Vec<u8>) {
    macro_rules! numbers {
        ($name:literal, $v:expr) => {
            ($name, $v.len(), $v.iter().flat_map(|x| x.to_le_bytes()).collect())
        };
    }
    match items {
        MetaArray::U8(v) => ("u8", v.len(), v.clone()),
        MetaArray::I8(v) => numbers!("i8", v),
        MetaArray::U16(v) => numbers!("u16", v),
        MetaArray::I16(v) => numbers!("i16", v),
        MetaArray::U32(v) => numbers!("u32", v),
        MetaArray::I32(v) => numbers!("i32", v),
        MetaArray::U64(v) => numbers!("u64", v),
        MetaArray::I64(v) => numbers!("i64", v),
        MetaArray::F32(v) => numbers!("f32", v),
        MetaArray::F64(v) => numbers!("f64", v),
        MetaArray::Bool(v) => ("bool", v.len(), v.iter().map(|b| u8::from(*b)).collect()),
        MetaArray::Text(v) => {
            let each = v.iter().flat_map(|s| {
                let mut bytes = (s.len() as u64).to_le_bytes().to_vec();
                bytes.extend_from_slice(s);
                bytes
            });
            ("text", v.len(), each.collect())
        }
        MetaArray::Array(_) => panic!("no key has an array of arrays"),
    }
}

/// The line that `digests.py` writes of a key.
pub fn meta_line(key: &str, value: &Meta) -> String {
    let text = match value {
        Meta::U8(v) => format!("u8 {v}"),
        Meta::I8(v) => format!("i8 {v}"),
        Meta::U16(v) => format!("u16 {v}"),
        Meta::I16(v) => format!("i16 {v}"),
        Meta::U32(v) => format!("u32 {v}"),
        Meta::I32(v) => format!("i32 {v}"),
        Meta::U64(v) => format!("u64 {v}"),
        Meta::I64(v) => format!("i64 {v}"),
        Meta::F32(v) => format!("f32 {:#010x}", v.to_bits()),
        Meta::F64(v) => format!("f64 {:#018x}", v.to_bits()),
        Meta::Bool(v) => format!("bool {v}"),
        Meta::Text(v) => format!("text {}", serde_json::json!(std::str::from_utf8(v).unwrap())),
        Meta::Array(items) => {
            let (name, len, bytes) = array(items);
            format!("array<{name}> {len} {}", blake3::hash(&bytes))
        }
    };
    format!("meta {key} {text}")
}

/// The line that `digests.py` writes of a tensor.
pub fn tensor_line(name: &str, tensor: &Tensor) -> String {
    let shape = tensor.shape().iter().map(u64::to_string).collect::<Vec<_>>().join("x");
    let digest = blake3::hash(&tensor.bytes().unwrap());
    format!("tensor {name} {} {shape} {digest}", tensor.dtype())
}
