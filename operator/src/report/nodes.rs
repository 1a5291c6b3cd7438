//! The list of nodes in the status: members in order of id, then places whose nodes are no members yet.

use granary_crds::status::{MAX_NODES, NodeStatus};
use granary_planner::observed::{Cluster, Disk, Domains, Node, Place, Process, Role, Seen};

use super::{is_ready, number};
use crate::observe::Sight;

/// A member that was not heard for so long is shown as silent, in ms.
const SILENT_MS: u64 = 10_000;

/// At most as many as a status may hold. Names are those of the places.
pub fn nodes(sight: &Sight) -> Vec<NodeStatus> {
    let cluster = sight.observed.cluster.known();
    let members = cluster.into_iter().flat_map(|cluster| cluster.nodes.iter().map(|node| member(sight, cluster, node)));
    let is_member = |place: &Place| {
        let mut nodes = cluster.into_iter().flat_map(|cluster| &cluster.nodes);
        nodes.any(|node| node.name == place.name)
    };
    let others = sight.observed.places.iter().filter(|place| !is_member(place)).map(outsider);
    members.chain(others).take(MAX_NODES).collect()
}

fn member(sight: &Sight, cluster: &Cluster, node: &Node) -> NodeStatus {
    let place = sight.observed.places.iter().find(|place| place.name == node.name);
    let ready = is_ready(sight, node.id);
    let state = if sight.observed.cluster.fresh().is_none() {
        "Unknown"
    } else if node.silent_for_ms >= SILENT_MS {
        "Silent"
    } else if node.draining {
        "Draining"
    } else if node.read_only {
        "ReadOnly"
    } else if ready {
        "Active"
    } else {
        place.map_or("NotReady", |place| process(place, "NotReady"))
    };
    // A shard without a fresh word counts as it was; without any report nothing is known.
    let data = || cluster.shards.iter().filter(|shard| shard.id != 0);
    let holds = |role: Role| role != Role::Outgoing;
    let replicas = data().flat_map(|shard| &shard.replicas).filter(|at| at.node == node.id && holds(at.role)).count();
    let leaders = data().filter(|shard| shard.leader == Some(node.id)).count();
    let domains = place.map_or(&node.domains, |place| &place.domains);
    NodeStatus {
        node_id: i64::try_from(node.id).ok(),
        replicas: Some(number(replicas)),
        leaders: Some(number(leaders)),
        ..of(&node.name, domains, ready, state)
    }
}

fn outsider(place: &Place) -> NodeStatus {
    let blank = matches!(place.disk.fresh(), Some(Disk::Blank { .. }));
    of(&place.name, &place.domains, false, process(place, if blank { "Joining" } else { "NotAMember" }))
}

/// One word for the process, `running` when it runs.
fn process(place: &Place, running: &'static str) -> &'static str {
    match &place.process {
        Seen::Fresh(Process::Running) => running,
        Seen::Fresh(Process::Starting) => "Starting",
        Seen::Fresh(Process::Stopped) => "Stopped",
        Seen::Stale(_) | Seen::Unknown(_) => "Unknown",
    }
}

fn of(name: &str, domains: &Domains, ready: bool, state: &str) -> NodeStatus {
    let known = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    NodeStatus {
        name: name.to_owned(),
        kubernetes_node: known(&domains.machine),
        zone: known(&domains.zone),
        ready,
        state: state.to_owned(),
        ..NodeStatus::default()
    }
}
