//! Where the bytes are, before and after: the tensors of a source and of an artifact, in groups that
//! both have, whatever each of them calls its tensors.

use std::collections::{BTreeMap, BTreeSet};

use crate::hub::{Body, Hub, Tensor};

/// Bytes of tensors in the source and in the artifact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// By what the tensors are for, in the order of the model.
    pub groups: Vec<Size>,
    /// By element type or block type, the largest first.
    pub types: Vec<Size>,
}

/// One group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// What is in it.
    pub name: String,
    /// Bytes in the source.
    pub before: u64,
    /// Bytes in the artifact.
    pub after: u64,
}

/// A tensor: name, type, bytes.
pub(super) type Entry = (String, &'static str, u64);

/// The tensors of a model, those of subgraphs too; of tensors that share their bytes each counts.
pub(super) fn entries(hub: &Hub) -> Vec<Entry> {
    let entry = |name: &str, t: &Tensor| (name.to_owned(), t.dtype().name(), t.byte_len());
    match hub {
        Hub::Checkpoint(c) => c.tensors.iter().map(|(name, t)| entry(name, t)).collect(),
        Hub::Gguf(g) => g.tensors.iter().map(|(name, t)| entry(name, t)).collect(),
        Hub::Graph(g) => {
            let mut found = Vec::new();
            let mut bodies: Vec<&Body> = vec![&g.body];
            while let Some(body) = bodies.pop() {
                found.extend(body.initializers().map(|(_, value, t)| entry(&value.name, t)));
                bodies.extend(body.nodes().flat_map(|(_, node)| node.subgraphs()));
            }
            found
        }
    }
}

/// Most groups.
const MOST: usize = 14;

/// Sums up the tensors of a source and of an artifact.
pub(super) fn sizes(before: &[Entry], after: &[Entry]) -> Sizes {
    let mut types: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (_, dtype, bytes) in before {
        let sum = &mut types.entry(dtype).or_default().0;
        *sum = sum.saturating_add(*bytes);
    }
    for (_, dtype, bytes) in after {
        let sum = &mut types.entry(dtype).or_default().1;
        *sum = sum.saturating_add(*bytes);
    }
    let mut types: Vec<Size> = types
        .into_iter()
        .map(|(name, (before, after))| Size { name: name.to_owned(), before, after })
        .collect();
    types.sort_by_key(|t| std::cmp::Reverse(t.before.saturating_add(t.after)));
    let groups = if layered(before) && layered(after) {
        by_layer(before, after)
    } else {
        by_tensor(before, after)
    };
    Sizes { groups, types }
}

/// The place of a tensor in a model of layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Embeddings,
    Layer(bool, u64),
    Rest,
}

/// Where a tensor belongs, by its name: a name with a number among its parts is of that layer.
fn place(name: &str) -> Place {
    let lower = name.to_lowercase();
    let mut parts = lower.split(['.', '/']);
    let decoder = parts.clone().any(|part| part == "decoder" || part == "dec");
    if let Some(n) = parts.find_map(|part| part.parse().ok()) {
        return Place::Layer(decoder, n);
    }
    let table = ["embed", "embd", "wte", "wpe"].iter().any(|word| lower.contains(word));
    if table { Place::Embeddings } else { Place::Rest }
}

/// Whether most bytes are in numbered layers and tables of embeddings, of two layers at least.
fn layered(entries: &[Entry]) -> bool {
    let all: u64 = entries.iter().map(|e| e.2).fold(0, u64::saturating_add);
    let placed = entries.iter().filter(|e| place(&e.0) != Place::Rest);
    let inside: u64 = placed.map(|e| e.2).fold(0, u64::saturating_add);
    let layers: BTreeSet<Place> =
        entries.iter().map(|e| place(&e.0)).filter(|p| matches!(p, Place::Layer(..))).collect();
    layers.len() > 1 && inside > all / 2
}

fn by_layer(before: &[Entry], after: &[Entry]) -> Vec<Size> {
    let mut sums: BTreeMap<Place, (u64, u64)> = BTreeMap::new();
    for (name, _, bytes) in before {
        sums.entry(place(name)).or_default().0 += bytes;
    }
    for (name, _, bytes) in after {
        // A number in the name of what only the artifact has need not be that of a layer.
        let at = Some(place(name)).filter(|at| sums.contains_key(at)).unwrap_or(Place::Rest);
        sums.entry(at).or_default().1 += bytes;
    }
    let layers = sums.keys().filter(|p| matches!(p, Place::Layer(..))).count();
    let two_stacks = sums.keys().any(|p| matches!(p, Place::Layer(true, _)))
        && sums.keys().any(|p| matches!(p, Place::Layer(false, _)));
    let together = layers.div_ceil(MOST).max(1);
    let mut out: Vec<(Option<bool>, Vec<u64>, Size)> = Vec::new();
    for (place, (before, after)) in sums {
        match (place, out.last_mut()) {
            (Place::Layer(stack, n), Some((last, numbers, size)))
                if *last == Some(stack) && numbers.len() < together =>
            {
                numbers.push(n);
                size.before += before;
                size.after += after;
            }
            (Place::Layer(stack, n), _) => {
                out.push((Some(stack), vec![n], Size { name: String::new(), before, after }));
            }
            (other, _) => {
                let name =
                    if other == Place::Embeddings { "embeddings" } else { "everything else" };
                out.push((None, Vec::new(), Size { name: name.to_owned(), before, after }));
            }
        }
    }
    out.into_iter()
        .map(|(stack, numbers, mut size)| {
            let stack = match stack {
                Some(true) if two_stacks => "decoder ",
                Some(false) if two_stacks => "encoder ",
                _ => "",
            };
            if let (Some(first), Some(last)) = (numbers.first(), numbers.last()) {
                size.name = match first == last {
                    true => format!("{stack}layer {first}"),
                    false => format!("{stack}layers {first} to {last}"),
                };
            }
            size
        })
        .collect()
}

/// The largest tensors of the source. A tensor of the artifact belongs to the tensor of the source
/// whose name its own begins with; those without one are a group.
fn by_tensor(before: &[Entry], after: &[Entry]) -> Vec<Size> {
    let names: BTreeSet<&str> = before.iter().map(|e| e.0.as_str()).collect();
    let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut strange = Size { name: "only in the artifact".to_owned(), ..Size::default() };
    for (name, _, bytes) in before {
        sums.entry(name).or_default().0 += bytes;
    }
    for (name, _, bytes) in after {
        match owner(&names, name) {
            Some(owner) => sums.entry(owner).or_default().1 += bytes,
            None => strange.after += bytes,
        }
    }
    let mut order: Vec<(&str, u64, u64)> = sums.iter().map(|(n, s)| (*n, s.0, s.1)).collect();
    order.sort_by_key(|(_, before, after)| std::cmp::Reverse((*before).max(*after)));
    let rest = order.split_off(order.len().min(MOST));
    let mut out: Vec<Size> = order
        .into_iter()
        .map(|(name, before, after)| Size { name: name.to_owned(), before, after })
        .collect();
    if !rest.is_empty() {
        out.push(Size {
            name: super::count(rest.len() as u64, "smaller tensor"),
            before: rest.iter().map(|r| r.1).sum(),
            after: rest.iter().map(|r| r.2).sum(),
        });
    }
    if strange.after > 0 {
        out.push(strange);
    }
    out
}

/// The longest of the names that `name` is, or is followed in by what is no letter or digit.
fn owner<'n>(names: &BTreeSet<&'n str>, name: &str) -> Option<&'n str> {
    let mut ends: Vec<usize> =
        name.char_indices().filter(|(_, c)| !c.is_alphanumeric()).map(|(at, _)| at).collect();
    ends.push(name.len());
    ends.iter().rev().find_map(|end| names.get(name.get(..*end)?).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(of: &[(&str, &'static str, u64)]) -> Vec<Entry> {
        of.iter().map(|(name, dtype, bytes)| ((*name).to_owned(), *dtype, *bytes)).collect()
    }

    fn shown(groups: &[Size]) -> Vec<String> {
        groups.iter().map(|g| format!("{} {} {}", g.name, g.before, g.after)).collect()
    }

    #[test]
    fn layers_are_found_under_the_names_of_every_format() {
        let before = entries(&[
            ("model.embed_tokens.weight", "f32", 40),
            ("model.layers.0.self_attn.q_proj.weight", "f32", 100),
            ("model.layers.1.self_attn.q_proj.weight", "f32", 100),
            ("model.norm.weight", "f32", 4),
        ]);
        let after = entries(&[
            ("token_embd.weight", "q8_0", 10),
            ("blk.0.attn_q.weight", "q4_0", 20),
            ("blk.1.attn_q.weight", "q4_0", 20),
            ("output_norm.weight", "f32", 4),
        ]);
        let found = sizes(&before, &after);
        assert_eq!(
            shown(&found.groups),
            ["embeddings 40 10", "layer 0 100 20", "layer 1 100 20", "everything else 4 4"]
        );
        assert_eq!(shown(&found.types), ["f32 244 4", "q4_0 0 40", "q8_0 0 10"]);
    }

    #[test]
    fn many_layers_stand_together_in_few_groups() {
        let names: Vec<String> = (0..60).map(|i| format!("h.{i}.w")).collect();
        let before: Vec<Entry> = names.iter().map(|n| (n.clone(), "f32", 1)).collect();
        let groups = sizes(&before, &before).groups;
        assert_eq!((groups.len(), groups[0].name.as_str()), (12, "layers 0 to 4"));
        assert_eq!(groups.iter().map(|g| g.before).sum::<u64>(), 60);
    }

    #[test]
    fn without_layers_tensors_are_matched_by_the_start_of_their_names() {
        let before = entries(&[("conv.weight", "f32", 100), ("conv", "f32", 8)]);
        let after = entries(&[
            ("conv.weight_quantized", "i8", 25),
            ("conv.weight_scale", "f32", 1),
            ("convolution", "f32", 3),
        ]);
        assert_eq!(
            shown(&sizes(&before, &after).groups),
            ["conv.weight 100 26", "conv 8 0", "only in the artifact 0 3"]
        );
    }
}
