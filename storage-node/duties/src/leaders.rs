//! Which leaders are asked to move where. Pure.

use std::{collections::BTreeMap, time::Instant};

use granary_common::{NodeId, ShardId};
use granary_proto::{
    admin::{Transfer, TransferLeadersRequest},
    map::ReplicaRole,
};

use crate::view::View;

/// What to ask of each leading node. Left out is a shard that is led there already, whose leader is not known, or that
/// has no voter on the node it shall go to. For a node that leaders shall leave: all that it leads.
pub fn transfers(view: &View, request: &TransferLeadersRequest, now: Instant) -> BTreeMap<NodeId, Vec<Transfer>> {
    let mut by_leader: BTreeMap<NodeId, Vec<Transfer>> = BTreeMap::new();
    if request.away_from_node_id != 0 {
        let node = NodeId(request.away_from_node_id);
        let led = view.leaders(now).into_iter().filter(|(_, leader)| *leader == node);
        let leaves = led.map(|(shard, _)| Transfer { shard_id: shard.0, to_node_id: 0 }).collect();
        by_leader.insert(node, leaves);
        return by_leader;
    }
    for transfer in &request.transfers {
        let Some(word) = view.fresh(ShardId(transfer.shard_id), now) else { continue };
        let votes = |replica: &granary_proto::map::Replica| {
            replica.node_id == transfer.to_node_id && replica.role() == ReplicaRole::Voter
        };
        if word.leader.0 != transfer.to_node_id && word.group.replicas.iter().any(votes) {
            by_leader.entry(word.leader).or_default().push(*transfer);
        }
    }
    by_leader
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{group, led, report};

    #[test]
    fn a_transfer_goes_to_the_node_that_leads_and_only_where_a_voter_is() {
        let now = Instant::now();
        let mut view = View::default();
        view.tick(Some(1), now);
        let of = |shard| led(shard, 2, group(shard, 1, &[1, 2, 3]), &[]);
        view.record(report(1, 1, vec![of(0), of(1)]), now);
        view.record(report(2, 1, vec![of(2)]), now);
        let transfer = |shard_id, to_node_id| Transfer { shard_id, to_node_id };
        // Shard 1 is led there already, shard 3 has no known leader, node 4 has no voter.
        let named = vec![transfer(0, 2), transfer(1, 1), transfer(2, 3), transfer(3, 2), transfer(0, 4)];
        let request = TransferLeadersRequest { transfers: named, ..TransferLeadersRequest::default() };
        let planned = transfers(&view, &request, now);
        assert_eq!(planned[&NodeId(1)], [transfer(0, 2)]);
        assert_eq!(planned[&NodeId(2)], [transfer(2, 3)]);
        assert_eq!(planned.len(), 2);

        let away = TransferLeadersRequest { away_from_node_id: 1, ..TransferLeadersRequest::default() };
        assert_eq!(transfers(&view, &away, now)[&NodeId(1)].len(), 2);
    }
}
