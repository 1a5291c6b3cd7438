//! What was seen. Each datum says whether it is fresh, stale or unknown; unknown is never treated as absent.

use serde::{Deserialize, Serialize};

/// A datum and how far it can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Seen<T> {
    /// Asked and answered in this round.
    Fresh(T),
    /// Answered in an earlier round: good enough to report, never to do something destructive.
    Stale(T),
    /// No answer. Says why.
    Unknown(String),
}

impl<T> Seen<T> {
    /// The datum when it is fresh.
    pub fn fresh(&self) -> Option<&T> {
        match self {
            Self::Fresh(datum) => Some(datum),
            Self::Stale(_) | Self::Unknown(_) => None,
        }
    }

    /// The datum, fresh or stale.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Fresh(datum) | Self::Stale(datum) => Some(datum),
            Self::Unknown(_) => None,
        }
    }
}

/// Everything the planner may look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Cluster id that the substrate keeps for this cluster; `None` before one was minted.
    pub cluster_id: Option<String>,
    /// Whether the substrate has noted that the cluster was founded once: then it is never founded again.
    pub founded: bool,
    /// Places where the substrate runs (or could restart) a node, in order of index.
    pub places: Vec<Place>,
    /// Indexes of places that were given up and whose disks still exist: no new place takes one of them.
    #[serde(default)]
    pub taken: Vec<u32>,
    /// What the cluster says of itself.
    pub cluster: Seen<Cluster>,
}

/// One place of the substrate: a StatefulSet with its claim, or a process with its directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Index, never used twice while its disk exists.
    pub index: u32,
    /// Name, such as `node-0`; the node tells it to the cluster when it joins.
    pub name: String,
    /// Whether a process runs there.
    pub process: Seen<Process>,
    /// What its disk is.
    pub disk: Seen<Disk>,
    /// Peer address (host:port) under which the operator reaches the node, when one is known.
    pub peer_address: Option<String>,
    /// Kv address (host:port), when one is known.
    pub kv_address: Option<String>,
    /// Failure domains; empty where the substrate knows none.
    pub domains: Domains,
    /// Why its process has to be started anew ("image: granary:0.2.0"); `None` while it runs as asked.
    #[serde(default)]
    pub restart: Option<String>,
    /// Whether a person empties its machine (a cordoned Kubernetes node): it is silent on purpose then.
    #[serde(default)]
    pub cordoned: bool,
}

/// State of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Process {
    /// Runs (its admin API may not answer yet).
    Running,
    /// On its way up, or stuck there: none of its code runs yet, so taking it away takes nothing away.
    Starting,
    /// Does not run, and is to be started when the place is wanted.
    Stopped,
}

/// State of a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Disk {
    /// Empty: a node that starts there is a new one. `uuid` is set when a blank node runs there and told it.
    Blank {
        /// The blank node's uuid.
        uuid: Option<String>,
    },
    /// Holds a node of a cluster.
    Member {
        /// Which cluster.
        cluster_id: String,
        /// Which node.
        node_id: u64,
    },
    /// The disk itself is gone for good (claim deleted, its machine removed).
    Gone,
}

/// Failure domains of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Domains {
    /// Zone; empty: unknown.
    pub zone: String,
    /// Machine; empty: unknown, then each node counts as its own machine.
    pub machine: String,
}

/// The cluster's own word, from the leader of its meta shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its id.
    pub cluster_id: String,
    /// Version of the map.
    pub map_version: u64,
    /// Copies of each shard.
    pub replication_factor: u32,
    /// Data shards that it has or shall have.
    pub shard_count: u32,
    /// Members, in order of node id.
    pub nodes: Vec<Node>,
    /// Shards in order of id, the meta shard (0) first. Only the meta shard before they were created.
    pub shards: Vec<Shard>,
    /// Node whose stop is reserved now.
    pub stop_reserved: Option<u64>,
}

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id.
    pub id: u64,
    /// The place's name it joined with.
    pub name: String,
    /// Of the disk it joined with; empty: not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uuid: String,
    /// Whether it is marked Draining in the map.
    pub draining: bool,
    /// Failure domains.
    pub domains: Domains,
    /// ms since the meta shard's leader last heard it (bounded by how long that one leads).
    pub silent_for_ms: u64,
    /// Whether that leader has heard it at all; a new one may not have yet, and then it is not known whether it is there.
    pub heard: bool,
    /// Whether it refuses writes because its disk is nearly full.
    pub read_only: bool,
    /// Whether leaders are kept away from it now: by the meta shard, or by itself, as its disk is slow.
    pub leaders_away: bool,
    /// What of its data is damaged, in the node's words; empty: nothing that is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub damage: String,
    /// What does not go on in it, or its disk that is slow, in the node's words; empty: nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trouble: String,
}

/// A shard and its group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Its id; 0 is the meta shard.
    pub id: u32,
    /// Version of the group, as `Reconfigure` wants it.
    pub version: u64,
    /// Node that leads it; `None` when no leader was heard lately.
    pub leader: Option<u64>,
    /// Whether `replicas` is the word of a leader heard lately (else the map's last report).
    pub fresh: bool,
    /// The group's replicas.
    pub replicas: Vec<Replica>,
    /// Nodes where its voters shall be.
    pub target: Vec<u64>,
    /// Rough size in bytes.
    pub bytes: u64,
}

/// A replica, as its group's leader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// Its node.
    pub node: u64,
    /// Voter, learner or on its way out.
    pub role: Role,
    /// Heard lately and close to the end of the log.
    pub caught_up: bool,
}

/// Role of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Votes.
    Voter,
    /// Gets the log, does not vote.
    Learner,
    /// Votes in the old half of a joint change only.
    Outgoing,
}
