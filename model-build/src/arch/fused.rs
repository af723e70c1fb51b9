//! Queries, keys and values in one projection: grouped by head in a checkpoint, apart in GGUF.

use super::config::wrong;
use super::gguf::{Post, RowMap, Table};
use crate::error::Result;

/// More groups than any model has.
const MOST_GROUPS: u64 = 4096;

/// A projection whose rows are `groups` groups of `queries` query heads, a key head and a value head,
/// each of `head` rows. GGUF has all queries, then all keys, then all values. `columns` is `None` for
/// a bias, which may be absent.
pub(super) fn grouped(
    table: &mut Table,
    hf: String,
    gguf: String,
    [groups, queries, head]: [u64; 3],
    columns: Option<u64>,
) -> Result<()> {
    if groups > MOST_GROUPS {
        return Err(wrong("num_attention_heads", format!("makes {groups} groups of heads")));
    }
    let q = queries.saturating_mul(head);
    let group = q.saturating_add(head.saturating_mul(2));
    let keys = groups.saturating_mul(q);
    let values = keys.saturating_add(groups.saturating_mul(head));
    let rows = groups.saturating_mul(group);
    let shape = columns.map_or(vec![rows], |columns| vec![rows, columns]);
    let take = |base, count| RowMap::new(base, &[(groups, group), (count, 1)]);
    let file = take(0, q).then(take(q, head)).then(take(q.saturating_add(head), head));
    let checkpoint = RowMap::dealt(groups, &[(0, q), (keys, head), (values, head)]);
    let line = table.mapped(
        vec![(hf, shape.clone(), checkpoint, Post::Same)],
        vec![(gguf, shape, file, Post::Same)],
        columns.unwrap_or(1),
    );
    if columns.is_none() {
        line.optional();
    }
    Ok(())
}
