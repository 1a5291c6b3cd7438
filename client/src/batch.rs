//! Splits a batch into parts that one request each can carry: by shard, then by size, in order.

use std::collections::BTreeMap;

use granary_common::{
    limits::{MAX_BATCH, MAX_BATCH_OPERATIONS},
    slot_of,
};

use crate::{Write, routes::Routes};

/// The parts of one shard, to be done one after the other, because later writes of a key must win.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    /// The shard.
    pub(crate) shard_id: u32,
    /// Each within the limits of a batch.
    pub(crate) parts: Vec<Vec<Write>>,
}

/// Splits `writes`, each of which is within the limits. `None` when a slot has no shard.
pub(crate) fn split(writes: Vec<Write>, routes: &Routes) -> Option<Vec<Parts>> {
    let mut by_shard: BTreeMap<u32, Vec<Write>> = BTreeMap::new();
    for write in writes {
        by_shard.entry(routes.owner(slot_of(&write.key))?.id).or_default().push(write);
    }
    Some(by_shard.into_iter().map(|(shard_id, writes)| Parts { shard_id, parts: by_size(writes) }).collect())
}

fn by_size(writes: Vec<Write>) -> Vec<Vec<Write>> {
    let mut parts = Vec::new();
    let (mut part, mut bytes) = (Vec::new(), 0);
    for write in writes {
        let weight = write.weight();
        if !part.is_empty() && (bytes + weight > MAX_BATCH || part.len() == MAX_BATCH_OPERATIONS) {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += weight;
        part.push(write);
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_holds_at_most_4096_writes_in_order() {
        let writes: Vec<_> = (0..10_000).map(|n| Write::put(format!("k{n}"), "v")).collect();
        let parts = by_size(writes.clone());
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [4096, 4096, 1808]);
        assert_eq!(parts.concat(), writes);
    }

    #[test]
    fn a_part_holds_at_most_8_mib_and_exactly_8_mib_is_one_part() {
        let half = vec![0u8; MAX_BATCH / 2 - 1];
        let writes = vec![Write::put("a", half.clone()), Write::put("b", half.clone())];
        assert_eq!(by_size(writes.clone()).len(), 1);
        let over = [writes, vec![Write::delete("c")]].concat();
        assert_eq!(by_size(over).iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    }
}
