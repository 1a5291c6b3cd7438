//! `status.json`: what the loop last saw, for the command and for whoever looks for the nodes. Replaced as a whole; not
//! synced, since it is written again in no time and nothing is decided from it.

use std::{collections::BTreeMap, fs};

use granary_crds::StorageClusterStatus;
use granary_planner::observed::{Cluster, Disk, Place, Process};
use serde::{Deserialize, Serialize};

use super::{files::doing, layout::Layout};
use crate::{
    observe::Sight,
    report::is_ready,
    substrate::{SubstrateError, local::files},
};

/// The content of `status.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatusFile {
    /// Id of the cluster, once it has one.
    pub cluster_id: Option<String>,
    /// host:port of the data API of each member, as last known.
    pub kv_endpoints: Vec<String>,
    /// host:port of the peer and admin API of each place that runs.
    pub peer_endpoints: Vec<String>,
    /// One word for all of it, as in the custom resource.
    pub phase: String,
    /// Everything is as the spec of `spec_generation` asks.
    pub ready: bool,
    /// Raised by one by each valid edit of the file, from 1.
    pub spec_generation: i64,
    /// Nodes that are asked for.
    pub replicas: u32,
    /// Members and places.
    pub nodes: Vec<NodeRow>,
    /// Data shards that exist.
    pub shards: u32,
    /// Data shards with a leader.
    pub shards_with_leader: u32,
    /// Steps, at most 16 lines.
    pub plan: Vec<String>,
    /// How many steps there are.
    pub plan_steps: u32,
    /// What is waited for, at most 16 lines.
    pub waiting: Vec<String>,
    /// Replicas to move.
    pub moves_left: u64,
    /// Bytes to copy, roughly.
    pub bytes_left: u64,
    /// Rate of copying, when it is known.
    pub bytes_per_second: Option<u64>,
    /// Seconds to go, when they are known.
    pub seconds_left: Option<u64>,
    /// Unix ms of the round that wrote this. Old means that nobody is looking.
    pub observed_time_ms: u64,
    /// What is wrong with the file of the spec.
    pub spec_error: Option<String>,
    /// What went wrong in the last round.
    pub error: Option<String>,
    /// Pid of the loop.
    pub operator_pid: u32,
}

/// A node, or a place whose node is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRow {
    /// Its id; 0 when it is not a member or not known.
    pub id: u64,
    /// Name of its place.
    pub name: String,
    /// Its process, while it runs.
    pub pid: Option<u32>,
    /// host:port of its data API.
    pub kv_address: Option<String>,
    /// host:port of its peer and admin API.
    pub peer_address: Option<String>,
    /// ready, starting, draining, blank, foreign (of another cluster), stopped, silent or unknown.
    pub state: String,
    /// Replicas it holds, the meta shard's not counted.
    pub replicas: u32,
    /// Shards it leads, the meta shard not counted.
    pub leaders: u32,
}

impl StatusFile {
    /// From a status and what it was made from. `pids` by name of the place.
    pub fn new(status: &StorageClusterStatus, sight: &Sight, pids: &BTreeMap<String, u32>) -> Self {
        let unsigned = |number: i32| u32::try_from(number).unwrap_or_default();
        let migration = status.migration.clone().unwrap_or_default();
        let large = |number: i64| u64::try_from(number).unwrap_or_default();
        let nodes = rows(sight, pids);
        let member_addresses = nodes.iter().filter(|row| row.id != 0).filter_map(|row| row.kv_address.clone());
        let running = nodes.iter().filter(|row| row.pid.is_some()).filter_map(|row| row.peer_address.clone());
        Self {
            cluster_id: sight.observed.cluster_id.clone(),
            kv_endpoints: member_addresses.collect(),
            peer_endpoints: running.collect(),
            phase: format!("{:?}", status.phase),
            ready: status.phase == granary_crds::status::Phase::Ready,
            spec_generation: status.observed_generation.unwrap_or_default(),
            shards: unsigned(status.shards),
            shards_with_leader: unsigned(status.shards_with_leader),
            plan: status.plan.clone(),
            plan_steps: unsigned(status.plan_steps),
            waiting: status.waiting.clone(),
            moves_left: u64::from(unsigned(migration.moves_left)),
            bytes_left: large(migration.bytes_left),
            bytes_per_second: migration.bytes_per_second.map(large),
            seconds_left: migration.seconds_left.map(large),
            nodes,
            operator_pid: std::process::id(),
            ..Self::default()
        }
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, layout: &Layout) -> Result<(), SubstrateError> {
        let path = layout.status();
        let write = || {
            let next = path.with_extension("next");
            fs::write(&next, serde_json::to_vec(self)?)?;
            fs::rename(&next, &path)
        };
        write().map_err(doing(format!("cannot write {}", path.display())))
    }

    /// What was written last; `None`: nothing yet.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn load(layout: &Layout) -> Result<Option<Self>, SubstrateError> {
        let path = layout.status();
        let Some(content) = files::read(&path)? else { return Ok(None) };
        let damaged = |error| SubstrateError::Damaged(format!("{} is damaged: {error}", path.display()));
        serde_json::from_slice(&content).map(Some).map_err(damaged)
    }
}

fn rows(sight: &Sight, pids: &BTreeMap<String, u32>) -> Vec<NodeRow> {
    let cluster = sight.observed.cluster.known();
    let mut rows: Vec<_> = sight.observed.places.iter().map(|place| place_row(place, sight, cluster, pids)).collect();
    // Members that have no place any more, such as a node whose directory was wiped.
    for node in cluster.iter().flat_map(|cluster| &cluster.nodes) {
        if rows.iter().all(|row| row.id != node.id) {
            rows.push(NodeRow {
                id: node.id,
                name: node.name.clone(),
                pid: None,
                kv_address: None,
                peer_address: None,
                state: if node.draining { "draining" } else { "silent" }.into(),
                replicas: replicas(cluster, node.id),
                leaders: leaders(cluster, node.id),
            });
        }
    }
    rows
}

fn place_row(place: &Place, sight: &Sight, cluster: Option<&Cluster>, pids: &BTreeMap<String, u32>) -> NodeRow {
    // A node of another cluster is no member: nobody is sent to it for this one's data.
    let id = sight.node_at(place).unwrap_or(0);
    NodeRow {
        id,
        name: place.name.clone(),
        pid: pids.get(&place.name).copied(),
        kv_address: place.kv_address.clone(),
        peer_address: place.peer_address.clone(),
        state: state(place, id, sight, cluster).into(),
        replicas: replicas(cluster, id),
        leaders: leaders(cluster, id),
    }
}

fn state(place: &Place, id: u64, sight: &Sight, cluster: Option<&Cluster>) -> &'static str {
    let draining = cluster.is_some_and(|cluster| cluster.nodes.iter().any(|node| node.id == id && node.draining));
    match (place.process.known(), place.disk.known()) {
        (Some(Process::Stopped), _) => "stopped",
        (Some(Process::Starting), _) => "starting",
        (None, _) => "unknown",
        (Some(Process::Running), Some(Disk::Blank { .. })) => "blank",
        (Some(Process::Running), Some(Disk::Member { .. })) if id == 0 => "foreign",
        (Some(Process::Running), _) if draining => "draining",
        (Some(Process::Running), _) if is_ready(sight, id) => "ready",
        (Some(Process::Running), _) => "starting",
    }
}

/// Replicas of data shards on a node.
pub fn replicas(cluster: Option<&Cluster>, id: u64) -> u32 {
    count(cluster, |shard| shard.replicas.iter().any(|replica| replica.node == id))
}

/// Data shards that a node leads.
pub fn leaders(cluster: Option<&Cluster>, id: u64) -> u32 {
    count(cluster, |shard| shard.leader == Some(id))
}

fn count(cluster: Option<&Cluster>, is: impl Fn(&granary_planner::observed::Shard) -> bool) -> u32 {
    let data = cluster.iter().flat_map(|cluster| &cluster.shards).filter(|shard| shard.id != 0);
    u32::try_from(data.filter(|shard| is(shard)).count()).unwrap_or(u32::MAX)
}
