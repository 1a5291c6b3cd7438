//! TransferLeaders: named shards to named nodes, carried to the nodes that lead them; or all leaders off one node.

use std::{collections::BTreeMap, time::Duration};

use granary_common::{NodeId, ShardId};
use granary_proto::{
    admin::{Transfer, TransferLeadersRequest, TransferLeadersResponse},
    map::ReplicaRole,
    storage::{LeadersAway, meta_command::Operation},
};
use granary_store::{Event, Role};
use tonic::Status;
use tracing::debug;

use super::{
    check, operator, route,
    state::{Known, confirmed},
};
use crate::{member::Member, meta::done};

/// Longest wait for the node that leads.
const LIMIT: Duration = Duration::from_secs(2);

/// On the leader of the meta shard.
pub(super) async fn transfer(
    member: &Member,
    request: TransferLeadersRequest,
) -> Result<TransferLeadersResponse, Status> {
    let by_leader = confirmed(member, |known| {
        check::transfers(known.map, &request)?;
        // Named transfers are no entry of the meta shard, so the token is checked here.
        operator::check_token(known.state, request.operator_token)?;
        Ok(plan(&known, &request))
    })
    .await?;
    if request.away_from_node_id != 0 {
        let lease = LeadersAway {
            operator_token: request.operator_token,
            node_id: request.away_from_node_id,
            lease_ms: request.lease_ms,
        };
        done(member.meta.propose(Operation::LeadersAway(lease)).await?)?;
        let led = by_leader.values().map(Vec::len).sum::<usize>();
        return Ok(TransferLeadersResponse { started: if request.lease_ms == 0 { 0 } else { led as u32 } });
    }
    let mut started = 0;
    for (leader, transfers) in by_leader {
        started +=
            if leader == member.id() { hand_over(member, &transfers) } else { carry(member, leader, transfers).await };
    }
    Ok(TransferLeadersResponse { started })
}

/// On the node that leads the shards: asks its store. Answers how many of them it leads.
pub(super) fn hand_over(member: &Member, transfers: &[Transfer]) -> u32 {
    let mut started = 0;
    for transfer in transfers.iter().take(check::MAX_ITEMS) {
        let shard = ShardId(transfer.shard_id);
        if member.store.published(shard).is_some_and(|state| state.role == Role::Leader) {
            member.store.event(Event::TransferLeader { shard, to: NodeId(transfer.to_node_id) });
            started += 1;
        }
    }
    started
}

async fn carry(member: &Member, leader: NodeId, transfers: Vec<Transfer>) -> u32 {
    let Some(mut client) = member.peers.admin_client(leader) else { return 0 };
    let request = TransferLeadersRequest { transfers, ..TransferLeadersRequest::default() };
    match tokio::time::timeout(LIMIT, client.transfer_leaders(route::carried(request))).await {
        Ok(Ok(answer)) => answer.into_inner().started,
        Ok(Err(status)) => {
            debug!(%leader, %status, "leaders were not transferred");
            0
        }
        Err(_) => {
            debug!(%leader, "the request to transfer leaders was not answered in time");
            0
        }
    }
}

/// What to ask of each leading node. Left out is a shard that is led there already, whose leader is not known, or that
/// has no voter on the node it shall go to. For a node that leaders shall leave: all that it leads.
fn plan(known: &Known<'_>, request: &TransferLeadersRequest) -> BTreeMap<NodeId, Vec<Transfer>> {
    let mut by_leader: BTreeMap<NodeId, Vec<Transfer>> = BTreeMap::new();
    if request.away_from_node_id != 0 {
        let node = NodeId(request.away_from_node_id);
        let led = known.view.leaders(known.now).into_iter().filter(|(_, leader)| *leader == node);
        let leaves = led.map(|(shard, _)| Transfer { shard_id: shard.0, to_node_id: 0 }).collect();
        by_leader.insert(node, leaves);
        return by_leader;
    }
    for transfer in &request.transfers {
        let Some(word) = known.view.fresh(ShardId(transfer.shard_id), known.now) else { continue };
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
    use std::time::Instant;

    use granary_proto::storage::MetaState;

    use super::*;
    use crate::meta::view::{
        View,
        fixture::{group, led, map, report},
    };

    #[test]
    fn a_transfer_goes_to_the_node_that_leads_and_only_where_a_voter_is() {
        let voters: &[u64] = &[1, 2, 3];
        let (map, now) = (map(4, &[voters; 4]), Instant::now());
        let mut view = View::default();
        view.tick(Some(1), now);
        let of = |shard| led(shard, 2, group(shard, 1, &[1, 2, 3]), &[]);
        view.record(report(1, 1, vec![of(0), of(1)]), now);
        view.record(report(2, 1, vec![of(2)]), now);
        let state = MetaState::default();
        let known = Known { state: &state, map: &map, view: &view, now };
        let transfer = |shard_id, to_node_id| Transfer { shard_id, to_node_id };
        // Shard 1 is led there already, shard 3 has no known leader, node 4 has no voter.
        let transfers = vec![transfer(0, 2), transfer(1, 1), transfer(2, 3), transfer(3, 2), transfer(0, 4)];
        let request = TransferLeadersRequest { transfers, ..TransferLeadersRequest::default() };
        let planned = plan(&known, &request);
        assert_eq!(planned[&NodeId(1)], [transfer(0, 2)]);
        assert_eq!(planned[&NodeId(2)], [transfer(2, 3)]);
        assert_eq!(planned.len(), 2);

        let away = TransferLeadersRequest { away_from_node_id: 1, ..TransferLeadersRequest::default() };
        assert_eq!(plan(&known, &away)[&NodeId(1)].len(), 2);
    }
}
