//! On the meta shard's leader: sends each new map to every node in it. Only the newest; who misses it gets it with the
//! answer to its next report.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use granary_common::NodeId;
use granary_proto::{map::ClusterMap, raft::PushMapRequest};
use tracing::debug;

use crate::member::Member;

/// Pushes under way at once.
const AT_ONCE: usize = 8;
/// Longest time for one.
const LIMIT: Duration = Duration::from_secs(1);

pub(super) async fn run(member: Arc<Member>) {
    let mut maps = member.map.subscribe();
    loop {
        let map = maps.borrow_and_update().clone();
        if member.meta.leads() {
            tokio::select! {
                () = push_to_all(&member, &map) => {}
                changed = maps.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                }
            }
        }
        if maps.changed().await.is_err() {
            return;
        }
    }
}

async fn push_to_all(member: &Arc<Member>, map: &Arc<ClusterMap>) {
    let others = map.nodes.iter().map(|node| NodeId(node.id)).filter(|id| *id != member.id());
    let push = |node: NodeId| async move {
        let Some(mut client) = member.peers.peer_client(node) else { return };
        let request = PushMapRequest { sender: Some(member.sender()), map: Some(ClusterMap::clone(map)) };
        match tokio::time::timeout(LIMIT, client.push_map(request)).await {
            Ok(Ok(_)) => {}
            Ok(Err(status)) => debug!(%node, %status, "the map was not taken"),
            Err(_) => debug!(%node, "the map was not taken in time"),
        }
    };
    futures::stream::iter(others).for_each_concurrent(AT_ONCE, push).await;
}
