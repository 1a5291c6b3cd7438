//! What the view knows better than the map: the content of the next `Reports` entry. Pure.

use std::time::Instant;

use granary_common::{NodeId, ShardId};
use granary_proto::{
    map::{ClusterMap, Node, Replica, Shard},
    raft::SpentReplica,
    storage::{AddressReport, GroupReport, Reports},
};

use crate::view::View;

/// Groups and addresses that differ from the map, by fresh word, and never an older version of a group; and ids of targets
/// that are spent on their nodes, by a word of any age, since such an id stays spent.
pub fn reports(map: &ClusterMap, view: &View, now: Instant) -> Reports {
    let group = |shard: &Shard| {
        let said = view.fresh(ShardId(shard.id), now)?.group;
        let known = shard.group.as_ref();
        let newer = known.is_none_or(|known| said.version >= known.version && said != known);
        newer.then(|| GroupReport { shard_id: shard.id, group: Some(said.clone()) })
    };
    let address = |node: &Node| {
        let said = view.node(NodeId(node.id))?.addresses.as_ref()?;
        let complete = !said.kv.is_empty() && !said.peer.is_empty();
        let newer = complete && node.addresses.as_ref() != Some(said);
        newer.then(|| AddressReport { node_id: node.id, addresses: Some(said.clone()) })
    };
    let spent = |shard: &Shard| {
        let target = shard.target.as_ref()?.replicas.iter();
        let is_spent = |replica: &&Replica| {
            let word = view.node(NodeId(replica.node_id));
            let mut spent = word.iter().flat_map(|word| &word.spent);
            spent.any(|spent| (spent.shard_id, spent.replica_id) == (shard.id, replica.id))
        };
        let told = |replica: &Replica| SpentReplica { shard_id: shard.id, replica_id: replica.id };
        Some(target.filter(is_spent).map(told).collect::<Vec<_>>())
    };
    Reports {
        groups: map.shards.iter().filter_map(group).collect(),
        addresses: map.nodes.iter().filter_map(address).collect(),
        spent: map.shards.iter().filter_map(spent).flatten().collect(),
    }
}

/// Whether there is anything to say.
pub fn is_empty(reports: &Reports) -> bool {
    reports.groups.is_empty() && reports.addresses.is_empty() && reports.spent.is_empty()
}

#[cfg(test)]
mod tests {
    use granary_proto::{map::Addresses, raft::ReportRequest};

    use super::*;
    use crate::{
        testing::{group, led, map, report},
        view::FRESH,
    };

    fn heard(now: Instant, version: u64, voters: &[u64]) -> View {
        let mut view = View::default();
        view.tick(Some(1), now);
        assert!(view.record(report(1, 1, vec![led(0, 2, group(0, version, voters), &[])]), now));
        view
    }

    #[test]
    fn what_the_map_has_is_not_told_again() {
        let now = Instant::now();
        assert!(is_empty(&reports(&map(3, &[&[1, 2, 3]]), &heard(now, 1, &[1, 2, 3]), now)));
    }

    #[test]
    fn a_newer_group_is_told_while_its_leaders_word_is_fresh() {
        let now = Instant::now();
        let (map, view) = (map(4, &[&[1, 2, 3]]), heard(now, 2, &[1, 2, 4]));
        let told = reports(&map, &view, now);
        assert_eq!(told.groups, [GroupReport { shard_id: 0, group: Some(group(0, 2, &[1, 2, 4])) }]);
        assert!(is_empty(&reports(&map, &view, now + FRESH)));
    }

    #[test]
    fn an_older_group_is_never_told() {
        let now = Instant::now();
        let mut map = map(4, &[&[1, 2, 3]]);
        map.shards[0].group = Some(group(0, 5, &[1, 2, 3]));
        assert!(is_empty(&reports(&map, &heard(now, 4, &[1, 2, 4]), now)));
    }

    #[test]
    fn a_new_address_is_told_when_it_is_complete() {
        let now = Instant::now();
        let map = map(2, &[]);
        let mut view = View::default();
        view.tick(Some(1), now);
        for (node, kv) in [(1, "127.0.0.1:1"), (2, "")] {
            let mut said = report(node, 1, vec![]);
            let addresses = Addresses { kv: kv.into(), peer: "127.0.0.1:2".into() };
            said.sender.as_mut().unwrap().addresses = Some(addresses);
            view.record(said, now);
        }
        let told = reports(&map, &view, now);
        assert_eq!(told.addresses.iter().map(|report| report.node_id).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn an_id_of_the_target_that_is_spent_on_its_node_is_told_however_old_the_word() {
        let now = Instant::now();
        let map = map(3, &[&[1, 2, 3]]);
        let mut view = View::default();
        view.tick(Some(1), now);
        let id = |node| map.shards[0].target.as_ref().unwrap().replicas[node as usize - 1].id;
        let spent = |replica_id| SpentReplica { shard_id: 0, replica_id };
        for (node, spent) in [(1, vec![]), (2, vec![spent(id(3)), spent(77)]), (3, vec![spent(id(3))])] {
            view.record(ReportRequest { spent, ..report(node, 1, vec![]) }, now);
        }
        let told = reports(&map, &view, now + FRESH);
        assert_eq!(told.spent, [spent(id(3))], "once, by its own node");
        assert!(!is_empty(&told));
    }
}
