//! What must hold of the readers for any bytes: the bodies of the property tests and of the fuzz
//! targets, which stand in `fuzz/`.

use ::safetensors::SafeTensors;
use bytes::Bytes;
use model_build::format::{WriteOptions, by_name, ggml, gguf, onnx, pytorch, safetensors};
use model_build::hub::Gguf;
use model_build::hub::{Checkpoint, Hub, write_blob};

/// Our reader and the `safetensors` crate accept the same files and see the same tensors in them;
/// ours alone refuses a key given twice. Says whether the file was accepted.
pub fn safetensors(data: &[u8]) -> bool {
    let ours = safetensors::from_bytes(&Bytes::copy_from_slice(data));
    let theirs = SafeTensors::deserialize(data);
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(ours.tensors.len(), theirs.len());
            for (name, tensor) in &ours.tensors {
                let view = theirs.tensor(name).unwrap();
                assert_eq!(tensor.bytes().unwrap(), view.data());
                let shape: Vec<usize> =
                    tensor.shape().iter().map(|d| usize::try_from(*d).unwrap()).collect();
                assert_eq!(shape, view.shape());
            }
            true
        }
        (Err(ours), Ok(_)) => {
            assert!(ours.message().contains("is there twice"), "{ours}");
            false
        }
        (Ok(_), Err(theirs)) => panic!("accepted what the crate refuses: {theirs}"),
        (Err(_), Err(_)) => false,
    }
}

/// A model that reads is written, reads again, and is then written as the same bytes. Says whether
/// it was accepted.
pub fn onnx(data: &[u8]) -> bool {
    let bytes = Bytes::copy_from_slice(data);
    let _ = onnx::skeleton(&bytes, "itself.onnx");
    let Ok(graph) = onnx::from_bytes(&bytes) else { return false };
    let first = onnx::to_bytes(&graph).unwrap();
    let again = onnx::from_bytes(&Bytes::from(first.clone())).unwrap();
    assert_eq!(first, onnx::to_bytes(&again).unwrap());
    true
}

/// A GGUF file that reads is written, reads as the same model, and is then written as the same
/// bytes. Says whether it was accepted.
pub fn gguf(data: &[u8]) -> bool {
    let Ok(read) = gguf::from_bytes(&Bytes::copy_from_slice(data)) else { return false };
    written_stably(&read);
    true
}

/// A legacy GGML file that reads is written as GGUF, which reads as the same model. Says whether it
/// was accepted.
pub fn ggml(data: &[u8]) -> bool {
    let Ok(read) = ggml::from_bytes(&Bytes::copy_from_slice(data), "model.bin") else {
        return false;
    };
    written_stably(&read);
    true
}

fn written_stably(read: &Gguf) {
    let first = gguf::to_bytes(read).unwrap();
    let again = gguf::from_bytes(&Bytes::from(first.clone())).unwrap();
    assert_eq!(first, gguf::to_bytes(&again).unwrap());
    // NaN is not equal to itself, and is written as it was.
    assert_eq!(format!("{:?}", read.metadata), format!("{:?}", again.metadata));
    assert_eq!(read.tensors.len(), again.tensors.len());
    for ((name, tensor), (same_name, same)) in read.tensors.iter().zip(&again.tensors) {
        assert_eq!(name, same_name);
        assert_eq!((tensor.dtype(), tensor.shape()), (same.dtype(), same.shape()));
        assert_eq!(tensor.bytes().unwrap(), same.bytes().unwrap());
    }
}

/// A PyTorch file that reads is written, unless a tensor is larger than a fuzzer has time for, and
/// reads again as the same tensors. Says whether it was accepted.
pub fn pickle(data: &[u8]) -> bool {
    let Ok(tensors) = pytorch::from_bytes(&Bytes::copy_from_slice(data), None) else {
        return false;
    };
    if tensors.values().any(|t| t.byte_len() > 1 << 20) {
        return true;
    }
    let hub = Hub::Checkpoint(Checkpoint { tensors: tensors.clone(), ..Checkpoint::default() });
    let write = by_name("pytorch").unwrap().write.unwrap();
    let blobs = write(&hub, &WriteOptions::default()).unwrap();
    let mut out = Vec::new();
    write_blob(&blobs[0].segments, &mut out, &mut |_| {}).unwrap();
    let again = pytorch::from_bytes(&Bytes::from(out), None).unwrap();
    assert_eq!(tensors.len(), again.len());
    for ((name, tensor), (other, read)) in tensors.iter().zip(&again) {
        assert_eq!((name, tensor.dtype(), tensor.shape()), (other, read.dtype(), read.shape()));
        assert_eq!(tensor.bytes().unwrap(), read.bytes().unwrap());
    }
    true
}

/// An index of shards that is accepted is JSON with as many shards as `weight_map` has values.
/// Says whether it was accepted.
pub fn index_json(data: &[u8]) -> bool {
    let Ok(shards) = safetensors::index_from_bytes(data) else { return false };
    let json: serde_json::Value = match serde_json::from_slice(data) {
        Ok(json) => json,
        // A number past f64 in what the reader skips is no concern of it.
        Err(e) if e.to_string().starts_with("number out of range") => return true,
        Err(e) => panic!("accepted what is no JSON: {e}"),
    };
    let names = json["weight_map"].as_object().unwrap().values();
    let names: std::collections::BTreeSet<_> = names.map(|v| v.as_str().unwrap()).collect();
    assert_eq!(shards, names.len());
    true
}

/// Pseudo-random numbers (SplitMix64), the same for a seed everywhere.
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// A number below `n`, which is at least 1.
    #[allow(clippy::cast_possible_truncation)] // below n
    pub fn below(&mut self, n: usize) -> usize {
        (self.draw() % n as u64) as usize
    }
}

/// Damages bytes in one to four places: flips, overwrites with extreme values, cuts out, repeats,
/// truncates.
pub fn mutate(data: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        if data.is_empty() {
            return;
        }
        let at = random.below(data.len());
        let end = at + random.below((data.len() - at).min(16)) + 1;
        match random.below(7) {
            0 => data[at] ^= 1 << random.below(8),
            1 => data[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            2 => drop(data.drain(at..end.min(data.len()))),
            3 => {
                let copy = data[at..end.min(data.len())].to_vec();
                let to = random.below(data.len());
                data.splice(to..to, copy);
            }
            4 => data.truncate(at),
            5 => {
                let digits = b"0123456789";
                for b in &mut data[at..] {
                    if b.is_ascii_digit() {
                        *b = digits[random.below(10)];
                        break;
                    }
                }
            }
            _ => data.insert(at, u8::try_from(random.below(256)).unwrap()),
        }
    }
}
