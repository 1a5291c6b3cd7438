//! The one Bootstrap that a node accepts in its life: kept on disk before anything is made from it, so that one that was
//! cut off is finished from the same request. Two founders with different first states would never agree again.

use granary_engine::{EngineError, LogBatch, RaftStore};
use granary_proto::{map::ClusterMap, storage::MetaState};
use prost::Message as _;
use tonic::Status;

/// What is kept of the request: the first map, at version 0, which counts as no map.
fn agreed(state: &MetaState) -> ClusterMap {
    ClusterMap { version: 0, ..state.map.clone().unwrap_or_default() }
}

/// Keeps the request, synced, unless one is kept; to be called before the drivers run.
///
/// # Errors
/// `FAILED_PRECONDITION` when another one is kept; `INTERNAL` when the disk fails.
pub(super) fn keep(raft: &RaftStore, state: &MetaState) -> Result<(), Status> {
    let internal = |error: EngineError| Status::internal(error.to_string());
    if let Some(kept) = raft.recover().map_err(internal)?.map {
        let kept = ClusterMap::decode(kept).map_err(|error| Status::internal(error.to_string()))?;
        return check(&kept, state);
    }
    let mut batch = LogBatch::new();
    batch.put_map(agreed(state).encode_to_vec().into());
    batch.require_sync();
    raft.write(batch).map_err(internal)
}

/// Whether the request that leads to `state` is the one that `known`, the node's copy of the map, began with, as far as
/// that can be told.
///
/// # Errors
/// `FAILED_PRECONDITION`.
pub(super) fn check(known: &ClusterMap, state: &MetaState) -> Result<(), Status> {
    let asked = agreed(state);
    let same = if known.version == 0 {
        known.cluster_id.is_empty() || *known == asked
    } else {
        // Founders may have been removed, and may have moved, since.
        let of = |id| known.nodes.iter().find(|node| node.id == id);
        asked.nodes.iter().all(|founder| of(founder.id).is_none_or(|node| node.uuid == founder.uuid))
    };
    if same {
        return Ok(());
    }
    let nodes = |map: &ClusterMap| {
        let node = |node: &granary_proto::map::Node| format!("{} ({})", node.id, node.uuid);
        map.nodes.iter().map(node).collect::<Vec<_>>().join(", ")
    };
    Err(Status::failed_precondition(format!(
        "founders are {}, but this node took part in another founding of cluster {}, with nodes {}; send that one again, \
         or give all its nodes empty disks",
        nodes(&asked),
        known.cluster_id,
        nodes(known)
    )))
}

#[cfg(test)]
mod tests {
    use granary_engine::{Disk, EngineOptions, IDENTITY_FORMAT};
    use granary_proto::{map::Node, storage::Identity};
    use tonic::Code;

    use super::*;

    fn state(uuids: [&str; 3]) -> MetaState {
        let node = |(id, uuid): (u64, &str)| Node { id, uuid: uuid.into(), ..Node::default() };
        let nodes = (1..).zip(uuids).map(node).collect();
        let map = ClusterMap { cluster_id: "cluster".into(), version: 1, nodes, ..ClusterMap::default() };
        MetaState { map: Some(map), ..MetaState::default() }
    }

    #[test]
    fn a_founding_that_was_cut_off_is_finished_by_the_same_request_only() {
        let directory = tempfile::tempdir().unwrap();
        let mut disk = Disk::open(directory.path(), EngineOptions::default()).unwrap();
        let uuid = disk.uuid().to_owned();
        let identity = Identity { format: IDENTITY_FORMAT, cluster_id: "cluster".into(), node_id: 1, uuid };
        let raft = disk.become_member(identity).unwrap().raft.clone();
        keep(&raft, &state(["a", "b", "c"])).unwrap();
        keep(&raft, &state(["a", "b", "c"])).unwrap();
        let refused = keep(&raft, &state(["a", "b", "d"])).unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("3 (d)") && refused.message().contains("3 (c)"), "{refused}");
    }

    #[test]
    fn a_founded_node_knows_its_founders_by_their_disks_for_good() {
        let mut known = state(["a", "b", "c"]).map.unwrap();
        known.version = 40;
        known.nodes.remove(0);
        assert!(check(&known, &state(["a", "b", "c"])).is_ok(), "the first founder was removed since");
        assert!(check(&known, &state(["a", "b", "d"])).is_err());
        assert!(check(&ClusterMap::default(), &state(["a", "b", "d"])).is_ok(), "nothing is known");
    }
}
