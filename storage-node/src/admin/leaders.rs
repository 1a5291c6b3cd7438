//! TransferLeaders: named shards to named nodes, carried to the nodes that lead them; or all leaders off one node.

use std::time::Duration;

use granary_common::{NodeId, ShardId};
use granary_duties::leaders::transfers;
use granary_proto::{
    admin::{Transfer, TransferLeadersRequest, TransferLeadersResponse},
    storage::{LeadersAway, meta_command::Operation},
};
use granary_store::{Event, Role};
use tonic::Status;
use tracing::debug;

use super::{check, operator, route, state::confirmed};
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
        Ok(transfers(known.view, &request, known.now))
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
