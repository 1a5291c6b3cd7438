//! What this node tells clients of the cluster: its copy of the map, and where it believes the leaders are.

use std::collections::BTreeMap;

use granary_common::{META_SHARD, NodeId, ShardId};
use granary_proto::kv::{GetClusterMapResponse, LeaderHint};
use granary_store::Role;

use crate::member::Member;

/// The map, unless `known_version` is the newest, and the leaders in either case.
pub(super) fn newest(member: &Member, known_version: u64) -> GetClusterMapResponse {
    let map = member.map.current();
    let map = (map.version != known_version).then(|| map.as_ref().clone());
    let published = member.store.all_published();
    let followed = published.iter().filter_map(|state| Some((state.shard, state.leader?)));
    let led = published.iter().filter(|state| state.role == Role::Leader).map(|state| (state.shard, member.id()));
    GetClusterMapResponse { map, leaders: hints(followed, member.meta.leaders(), led) }
}

/// Later sources know better: what replicas here follow, what the meta shard's leader was told, and what is led here.
fn hints(
    followed: impl IntoIterator<Item = (ShardId, NodeId)>,
    reported: impl IntoIterator<Item = (ShardId, NodeId)>,
    led: impl IntoIterator<Item = (ShardId, NodeId)>,
) -> Vec<LeaderHint> {
    let leaders: BTreeMap<ShardId, NodeId> = followed.into_iter().chain(reported).chain(led).collect();
    let data = leaders.into_iter().filter(|(shard, leader)| *shard != META_SHARD && leader.0 != 0);
    data.map(|(shard, leader)| LeaderHint { shard_id: shard.0, node_id: leader.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_knows_better_wins_and_the_meta_shard_is_left_out() {
        let of = |shard, node| (ShardId(shard), NodeId(node));
        let hints = hints([of(0, 1), of(1, 1), of(2, 1), of(3, 1)], [of(2, 2), of(3, 2), of(4, 0)], [of(3, 3)]);
        let found: Vec<_> = hints.iter().map(|hint| (hint.shard_id, hint.node_id)).collect();
        assert_eq!(found, [(1, 1), (2, 2), (3, 3)]);
    }
}
