//! Input of admin calls: errors name the field, its value and what is allowed.

use std::collections::BTreeSet;

use granary_common::limits::MAX_SHARDS;
use granary_machine::meta::MAX_LEASE_MS;
use granary_proto::{
    admin::{BootstrapRequest, JoinRequest, TransferLeadersRequest},
    map::ClusterMap,
};
use tonic::Status;

use crate::meta::{is_address, refusal};

/// Most seeds of one Join.
pub(super) const MAX_SEEDS: usize = 64;
/// Most shards that one call names: each data shard and the meta shard.
pub(super) const MAX_ITEMS: usize = MAX_SHARDS as usize + 1;

/// Longest id of an operator's installation or process, in bytes.
const MAX_TEXT: usize = 128;

/// Whether the map has the node.
pub(super) fn node(map: &ClusterMap, field: &str, id: u64) -> Result<(), Status> {
    if map.nodes.iter().any(|node| node.id == id) {
        return Ok(());
    }
    let known: Vec<u64> = map.nodes.iter().map(|node| node.id).collect();
    Err(Status::not_found(format!("{field} {id} is not a node of this cluster, which has {known:?}")))
}

/// Whether the map has the shard.
pub(super) fn shard(map: &ClusterMap, id: u32) -> Result<(), Status> {
    if map.shards.iter().any(|shard| shard.id == id) {
        return Ok(());
    }
    let last = map.shards.last().map_or(0, |shard| shard.id);
    Err(Status::not_found(format!("shard_id {id} is not a shard of this cluster, which has 0 to {last}")))
}

/// Between one and [`MAX_ITEMS`].
pub(super) fn count(field: &str, count: usize) -> Result<(), Status> {
    if (1..=MAX_ITEMS).contains(&count) {
        return Ok(());
    }
    Err(Status::invalid_argument(format!("{field} are {count}; 1 to {MAX_ITEMS} are allowed")))
}

/// A text that an entry of the meta shard keeps: 1 to [`MAX_TEXT`] bytes.
pub(super) fn text(field: &str, text: &str) -> Result<(), Status> {
    if (1..=MAX_TEXT).contains(&text.len()) {
        return Ok(());
    }
    Err(Status::invalid_argument(format!("{field} has {} bytes; 1 to {MAX_TEXT} are allowed", text.len())))
}

/// A Join that can be tried.
pub(super) fn join(request: &JoinRequest) -> Result<(), Status> {
    if request.cluster_id.is_empty() {
        return Err(Status::invalid_argument("cluster_id is empty; the id of the cluster to join is wanted"));
    }
    if !(1..=MAX_SEEDS).contains(&request.seeds.len()) {
        return Err(Status::invalid_argument(format!(
            "seeds are {}; 1 to {MAX_SEEDS} are allowed",
            request.seeds.len()
        )));
    }
    match request.seeds.iter().find(|seed| !is_address(seed)) {
        Some(seed) => Err(Status::invalid_argument(format!(
            "seeds has {seed:?}; HOST:PORT is wanted, such as node-1.example:7002"
        ))),
        None => Ok(()),
    }
}

/// A Bootstrap that this node can take part in; what the machine checks too is left to it.
pub(super) fn bootstrap(request: &BootstrapRequest, uuid: &str, highest_level: u32) -> Result<(), Status> {
    granary_machine::meta::founded(request).map_err(refusal)?;
    if !(1..=highest_level).contains(&request.feature_level) {
        return Err(Status::failed_precondition(format!(
            "feature_level is {}; this node can do 1 to {highest_level}",
            request.feature_level
        )));
    }
    if request.founders.iter().any(|founder| founder.uuid == uuid) {
        return Ok(());
    }
    let uuids: Vec<&str> = request.founders.iter().map(|founder| founder.uuid.as_str()).collect();
    Err(Status::failed_precondition(format!("founders are {uuids:?}; this node is {uuid:?}, which is not among them")))
}

/// Either named transfers or one node to keep leaders away from, all known.
pub(super) fn transfers(map: &ClusterMap, request: &TransferLeadersRequest) -> Result<(), Status> {
    let away = request.away_from_node_id;
    if (away != 0) != request.transfers.is_empty() {
        return Err(Status::invalid_argument(format!(
            "transfers are {} and away_from_node_id is {away}; one of the two is wanted",
            request.transfers.len()
        )));
    }
    if away != 0 {
        node(map, "away_from_node_id", away)?;
        if request.lease_ms > MAX_LEASE_MS {
            let message = format!("lease_ms is {}; 0 (ends the lease) to {MAX_LEASE_MS} are allowed", request.lease_ms);
            return Err(Status::invalid_argument(message));
        }
        return Ok(());
    }
    count("transfers", request.transfers.len())?;
    let mut named = BTreeSet::new();
    for transfer in &request.transfers {
        shard(map, transfer.shard_id)?;
        node(map, "to_node_id", transfer.to_node_id)?;
        if !named.insert(transfer.shard_id) {
            return Err(Status::invalid_argument(format!("transfers name shard {} twice", transfer.shard_id)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use granary_proto::admin::{Founder, Transfer};
    use tonic::Code;

    use super::*;
    use granary_duties::testing::map;

    fn refused(outcome: Result<(), Status>) -> (Code, String) {
        let status = outcome.unwrap_err();
        (status.code(), status.message().to_owned())
    }

    #[test]
    fn an_unknown_node_or_shard_is_not_found_and_named() {
        let map = map(3, &[&[1, 2, 3]]);
        assert!(node(&map, "node_id", 3).is_ok());
        assert_eq!(
            refused(node(&map, "node_id", 9)),
            (Code::NotFound, "node_id 9 is not a node of this cluster, which has [1, 2, 3]".into())
        );
        assert_eq!(
            refused(shard(&map, 1)),
            (Code::NotFound, "shard_id 1 is not a shard of this cluster, which has 0 to 0".into())
        );
    }

    #[test]
    fn a_list_of_none_or_too_many_is_refused() {
        assert!(count("items", MAX_ITEMS).is_ok());
        for wrong in [0, MAX_ITEMS + 1] {
            let (code, message) = refused(count("items", wrong));
            assert_eq!(code, Code::InvalidArgument);
            assert!(message.contains(&wrong.to_string()) && message.contains("1025"), "{message}");
        }
    }

    #[test]
    fn a_text_that_is_empty_or_too_long_is_refused_with_its_field() {
        assert!(text("installation", &"i".repeat(MAX_TEXT)).is_ok());
        assert!(refused(text("installation", "")).1.starts_with("installation has 0 bytes"));
        assert!(refused(text("process", &"p".repeat(MAX_TEXT + 1))).1.starts_with("process has 129 bytes"));
    }

    #[test]
    fn a_join_needs_a_cluster_and_seeds_that_are_addresses() {
        let request = |cluster_id: &str, seeds: &[&str]| JoinRequest {
            cluster_id: cluster_id.into(),
            seeds: seeds.iter().map(|&seed| seed.to_owned()).collect(),
            operator_token: 1,
            domains: None,
        };
        assert!(join(&request("c", &["127.0.0.1:7002"])).is_ok());
        assert!(refused(join(&request("", &["127.0.0.1:7002"]))).1.contains("cluster_id"));
        assert!(refused(join(&request("c", &[]))).1.contains("seeds are 0"));
        assert!(refused(join(&request("c", &["127.0.0.1:7002", "node"]))).1.contains("\"node\""));
        assert!(refused(join(&request("c", &["a:1"; MAX_SEEDS + 1]))).1.contains("65"));
    }

    #[test]
    fn a_bootstrap_must_name_this_node_and_a_level_it_can_do() {
        let uuid = |last: u32| format!("00000000-0000-4000-8000-{last:012}");
        let founder = |id: u32| Founder { node_id: id.into(), uuid: uuid(id), ..Founder::default() };
        let request = BootstrapRequest {
            cluster_id: uuid(99),
            founders: (1..=3).map(founder).collect(),
            replication_factor: 3,
            shard_count: 64,
            feature_level: 1,
        };
        assert!(bootstrap(&request, &uuid(2), 1).is_ok());
        let (code, message) = refused(bootstrap(&request, &uuid(7), 1));
        assert_eq!(code, Code::FailedPrecondition);
        assert!(message.contains(&uuid(7)), "{message}");
        let newer = BootstrapRequest { feature_level: 2, ..request.clone() };
        assert!(refused(bootstrap(&newer, &uuid(2), 1)).1.contains("feature_level is 2"));
        let odd = BootstrapRequest { shard_count: 63, ..request };
        assert_eq!(refused(bootstrap(&odd, &uuid(2), 1)).0, Code::InvalidArgument);
    }

    #[test]
    fn a_transfer_is_either_of_named_shards_or_away_from_one_node() {
        let map = map(3, &[&[1, 2, 3], &[1, 2, 3]]);
        let request = |shards: &[(u32, u64)], away_from_node_id, lease_ms| TransferLeadersRequest {
            operator_token: 1,
            transfers: shards.iter().map(|&(shard_id, to_node_id)| Transfer { shard_id, to_node_id }).collect(),
            away_from_node_id,
            lease_ms,
        };
        assert!(transfers(&map, &request(&[(0, 1), (1, 2)], 0, 0)).is_ok());
        assert!(transfers(&map, &request(&[], 3, MAX_LEASE_MS)).is_ok());
        assert_eq!(refused(transfers(&map, &request(&[], 0, 0))).0, Code::InvalidArgument);
        assert_eq!(refused(transfers(&map, &request(&[(0, 1)], 3, 0))).0, Code::InvalidArgument);
        assert_eq!(refused(transfers(&map, &request(&[(0, 1), (0, 2)], 0, 0))).0, Code::InvalidArgument);
        assert_eq!(refused(transfers(&map, &request(&[(2, 1)], 0, 0))).0, Code::NotFound);
        assert_eq!(refused(transfers(&map, &request(&[(1, 4)], 0, 0))).0, Code::NotFound);
        assert_eq!(refused(transfers(&map, &request(&[], 4, 0))).0, Code::NotFound);
        assert!(refused(transfers(&map, &request(&[], 3, 600_001))).1.contains("600001"));
    }
}
