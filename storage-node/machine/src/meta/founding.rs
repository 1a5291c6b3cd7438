//! The first state of a cluster. Each founder makes it by itself from the same request, so it depends on nothing else.

use std::collections::BTreeSet;

use granary_common::limits::MAX_SHARDS;
use granary_proto::{
    admin::BootstrapRequest,
    map::{ClusterMap, Group, Node, NodeState, Replica, ReplicaRole, Shard, SlotRange, Target},
    storage::{MetaState, Refused},
};

use super::change::refused;
use crate::errors::code;

/// The state of the meta shard of the cluster that `request` founds, or why it founds none (INVALID_ARGUMENT).
pub fn founded(request: &BootstrapRequest) -> Result<MetaState, Refused> {
    check(request).map_err(|message| refused(code::INVALID_ARGUMENT, message))?;
    let mut founders: Vec<_> = request.founders.iter().collect();
    founders.sort_by_key(|founder| founder.node_id);
    let node = |founder: &&granary_proto::admin::Founder| Node {
        id: founder.node_id,
        uuid: founder.uuid.clone(),
        name: founder.name.clone(),
        state: NodeState::Active.into(),
        addresses: founder.addresses.clone(),
        domains: founder.domains.clone(),
        leaders_away_until_ms: 0,
        feature_level: request.feature_level,
    };
    let voter = |node: &Node| Replica { id: node.id, node_id: node.id, role: ReplicaRole::Voter.into() };
    let nodes: Vec<Node> = founders.iter().map(node).collect();
    let replicas: Vec<Replica> = nodes.iter().map(voter).collect();
    let next = nodes.len() as u64 + 1;
    let meta = Shard {
        id: 0,
        range: Some(SlotRange { start: 0, end: 0 }),
        target: Some(Target { number: 1, replicas: replicas.clone() }),
        group: Some(Group { version: 1, replicas, joint: false, highest_replica_id: 0 }),
    };
    let map = ClusterMap {
        cluster_id: request.cluster_id.clone(),
        version: 1,
        feature_level: request.feature_level,
        replication_factor: request.replication_factor,
        shard_count: request.shard_count,
        nodes,
        shards: vec![meta],
    };
    Ok(MetaState { map: Some(map), next_node_id: next, next_replica_id: next, operator: None, stop: None })
}

fn check(request: &BootstrapRequest) -> Result<(), String> {
    let BootstrapRequest { cluster_id, founders, replication_factor, shard_count, .. } = request;
    if !is_uuid(cluster_id) {
        return Err(format!("cluster_id is {cluster_id:?}; a UUID of 36 characters is wanted"));
    }
    if ![1, 3, 5].contains(replication_factor) {
        return Err(format!("replication_factor is {replication_factor}; 1, 3 and 5 are allowed"));
    }
    if founders.len() != *replication_factor as usize {
        return Err(format!(
            "founders are {}; as many as replication_factor ({replication_factor}) are wanted",
            founders.len()
        ));
    }
    if !shard_count.is_power_of_two() || *shard_count > MAX_SHARDS {
        return Err(format!("shard_count is {shard_count}; a power of two from 1 to {MAX_SHARDS} is wanted"));
    }
    let ids: BTreeSet<u64> = founders.iter().map(|founder| founder.node_id).collect();
    if !ids.iter().copied().eq(1..=founders.len() as u64) {
        return Err(format!("founders have the node ids {ids:?}; 1 to {} are wanted, each once", founders.len()));
    }
    let uuids: BTreeSet<&str> = founders.iter().map(|founder| founder.uuid.as_str()).collect();
    if uuids.len() != founders.len() {
        return Err("founders share a uuid; each node has one of its own".into());
    }
    match uuids.iter().find(|uuid| !is_uuid(uuid)) {
        Some(uuid) => Err(format!("uuid of a founder is {uuid:?}; a UUID of 36 characters is wanted")),
        None => Ok(()),
    }
}

/// Whether `text` is a UUID as text: 36 characters, hexadecimal, dashes behind 8, 13, 18 and 23.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
