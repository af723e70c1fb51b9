//! Checkpoints in several files: the index that names them, read and written, and how tensors are
//! dealt out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::{Value as Json, json};

use super::{SourceFiles, folder};
use crate::error::{Error, Result};
use crate::fsx;
use crate::hub::{Blob, Segment, Tensor};
use crate::source;

/// A JSON object whose keys must differ.
pub(super) struct Unique<T>(pub(super) BTreeMap<String, T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Unique<T> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Keys<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Keys<T> {
            type Value = BTreeMap<String, T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut out = BTreeMap::new();
                while let Some(key) = map.next_key::<String>()? {
                    if out.contains_key(&key) {
                        return Err(A::Error::custom(format!("the key `{key}` is there twice")));
                    }
                    let value = map
                        .next_value()
                        .map_err(|e| A::Error::custom(format!("in `{key}`: {e}")))?;
                    out.insert(key, value);
                }
                Ok(out)
            }
        }
        from.deserialize_map(Keys(std::marker::PhantomData)).map(Self)
    }
}

/// Reads JSON that is UTF-8 throughout; serde_json alone does not look inside what it skips.
pub(super) fn json<T: serde::de::DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(text).map_err(|e| e.to_string())?;
    serde_json::from_str(text).map_err(|e| e.to_string())
}

/// An index of shards: `model.safetensors.index.json`, `pytorch_model.bin.index.json`.
#[derive(Deserialize)]
pub(super) struct Index {
    weight_map: Unique<String>,
}

impl Index {
    /// Reads an index whose shards' names end with `ending`.
    pub(super) fn read(path: &Path, ending: &str) -> Result<Self> {
        let text = fsx::read_small(path, folder::JSON_CAP)?;
        Self::parse(&text, ending).map_err(|e| e.file(path))
    }

    /// Reads the text of an index whose shards' names end with `ending`.
    pub(super) fn parse(text: &[u8], ending: &str) -> Result<Self> {
        let invalid =
            |e: String| Error::malformed(format!("the index of the shards is not valid: {e}"));
        // Serde would take an array of the fields' values, too.
        if !text.trim_ascii_start().starts_with(b"{") {
            return Err(invalid("it is no JSON object".to_owned()));
        }
        let index: Self = json(text).map_err(invalid)?;
        for (tensor, shard) in &index.weight_map.0 {
            if !source::is_inside(shard) || !shard.ends_with(ending) {
                return Err(Error::malformed(format!(
                    "`{}` as the name of a shard",
                    shard.escape_debug()
                ))
                .item(format!("tensor `{tensor}`")));
            }
        }
        Ok(index)
    }

    /// The shards, each once, sorted.
    pub(super) fn shards(&self) -> impl Iterator<Item = &str> {
        let names: BTreeSet<&str> = self.weight_map.0.values().map(String::as_str).collect();
        names.into_iter()
    }

    /// Reads every shard with `read_shard`. Each tensor of the index is where the index says, and
    /// in no other shard.
    pub(super) fn read_tensors(
        &self,
        path: &Path,
        files: &SourceFiles,
        mut read_shard: impl FnMut(&Path) -> Result<BTreeMap<String, Tensor>>,
    ) -> Result<BTreeMap<String, Tensor>> {
        let mut all = BTreeMap::new();
        let mut home: BTreeMap<String, &str> = BTreeMap::new();
        for shard in self.shards() {
            let file = files.path(shard);
            if !fsx::is_file(&file) {
                return Err(Error::source_missing(format!(
                    "the shard `{shard}` that the index names is missing"
                ))
                .file(path)
                .hint("fetch the missing file of the model"));
            }
            for (name, tensor) in read_shard(&file).map_err(|e| e.file(&file))? {
                if let Some(other) = home.insert(name.clone(), shard) {
                    return Err(Error::malformed(format!(
                        "in two shards: `{other}` and `{shard}`"
                    ))
                    .file(path)
                    .item(format!("tensor `{name}`")));
                }
                all.insert(name, tensor);
            }
        }
        for (name, shard) in &self.weight_map.0 {
            if home.get(name) != Some(&shard.as_str()) {
                let found = home.get(name).map_or("no shard".to_owned(), |s| format!("`{s}`"));
                return Err(Error::malformed(format!(
                    "the index says it is in `{shard}`, and it is in {found}"
                ))
                .file(path)
                .item(format!("tensor `{name}`"))
                .hint(
                    "the index and the shards do not belong together: take all from one checkpoint",
                ));
            }
        }
        Ok(all)
    }
}

/// The tensors of a file.
pub(super) type Tensors<'a> = BTreeMap<&'a str, &'a Tensor>;

/// Deals tensors out to files of at most `limit` bytes of tensors, in the order of their names, as
/// the Hugging Face libraries do: a tensor that is longer has a file of its own.
fn deal(tensors: &BTreeMap<String, Tensor>, limit: Option<u64>) -> Vec<Tensors<'_>> {
    let mut out = Vec::new();
    let mut current = Tensors::new();
    let mut taken = 0u64;
    let limit = limit.unwrap_or(u64::MAX);
    for (name, tensor) in tensors {
        let bytes = tensor.byte_len();
        if bytes > limit {
            out.push(Tensors::from([(name.as_str(), tensor)]));
            continue;
        }
        if taken.saturating_add(bytes) > limit {
            out.push(std::mem::take(&mut current));
            taken = 0;
        }
        current.insert(name, tensor);
        taken = taken.saturating_add(bytes);
    }
    if !current.is_empty() || out.is_empty() {
        out.push(current);
    }
    out
}

/// Lays out tensors as the file `name`, or as shards behind an index `NAME.index.json` where they
/// take more than `limit` bytes.
pub(super) fn write(
    tensors: &BTreeMap<String, Tensor>,
    name: &str,
    limit: Option<u64>,
    write_file: impl Fn(&Tensors<'_>) -> Result<Vec<Segment>>,
) -> Result<Vec<Blob>> {
    let files = deal(tensors, limit);
    if let [one] = files.as_slice() {
        return Ok(vec![Blob { name: name.to_owned(), segments: write_file(one)? }]);
    }
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, "bin"));
    let mut weight_map = serde_json::Map::new();
    let mut shards = Vec::new();
    for (i, file) in files.iter().enumerate() {
        let shard = format!("{stem}-{:05}-of-{:05}.{ending}", i + 1, files.len());
        weight_map.extend(file.keys().map(|key| ((*key).to_owned(), Json::from(shard.as_str()))));
        shards.push(Blob { name: shard, segments: write_file(file)? });
    }
    let total = tensors.values().fold(0u64, |sum, t| sum.saturating_add(t.byte_len()));
    let index = json!({"metadata": {"total_size": total}, "weight_map": weight_map});
    let index = Blob {
        name: format!("{name}.index.json"),
        segments: vec![Segment::Bytes(folder::pretty(&index)?)],
    };
    Ok(std::iter::once(index).chain(shards).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::DType;

    #[test]
    fn tensors_are_dealt_out_in_the_order_of_their_names_and_long_ones_stand_alone() {
        let sizes = [("a", 6), ("b", 6), ("c", 20), ("d", 4), ("e", 2), ("f", 2)];
        let tensors: BTreeMap<String, Tensor> = sizes
            .iter()
            .map(|(name, len)| {
                let bytes = vec![0; usize::try_from(*len).unwrap()].into();
                ((*name).to_owned(), Tensor::new(DType::U8, vec![*len], bytes).unwrap())
            })
            .collect();
        let names = |limit| -> Vec<Vec<&str>> {
            deal(&tensors, limit).iter().map(|t| t.keys().copied().collect()).collect()
        };
        assert_eq!(names(Some(10)), [vec!["a"], vec!["c"], vec!["b", "d"], vec!["e", "f"]]);
        assert_eq!(names(None).len(), 1);
        assert_eq!(deal(&BTreeMap::new(), Some(1)).len(), 1);
    }
}
