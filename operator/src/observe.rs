//! Observe: what the substrate and the nodes say now, as the planner's [`Observed`]. What does not answer is unknown, or
//! stale when it answered in an earlier round; it is never taken for absent. Reads only.

use std::collections::BTreeMap;

use futures::future::join_all;
use granary_planner::observed::{Cluster, Disk, Domains, Node, Observed, Place, Process, Replica, Role, Seen, Shard};
use granary_proto::{
    admin::{GetClusterStateResponse, IdentifyResponse, ShardLiveness},
    map::{self, NodeState, ReplicaRole},
};

use crate::{
    clock::unix_ms,
    node_admin::{AdminError, NodeAdmin},
    substrate::{Founding, Look},
};

/// What was seen in one round.
#[derive(Clone, Debug)]
pub struct Sight {
    /// For the planner.
    pub observed: Observed,
    /// The content of Bootstrap, once the substrate kept it.
    pub founding: Option<Founding>,
    /// What the nodes that answered say of themselves, by index of the place.
    pub identities: BTreeMap<u32, IdentifyResponse>,
}

impl Sight {
    /// Peer addresses of running members, for calls that any node passes on. A node of another cluster is none: it would
    /// answer for that one, and take orders for it.
    pub fn members(&self) -> Vec<String> {
        let members =
            self.observed.places.iter().filter(|place| {
                matches!(place.process.fresh(), Some(Process::Running)) && self.node_at(place).is_some()
            });
        members.filter_map(|place| place.peer_address.clone()).collect()
    }

    /// Id of the node of this cluster that the place's disk holds, as far as known.
    pub fn node_at(&self, place: &Place) -> Option<u64> {
        match place.disk.known() {
            Some(Disk::Member { cluster_id, node_id }) if Some(cluster_id) == self.observed.cluster_id.as_ref() => {
                Some(*node_id)
            }
            _ => None,
        }
    }
}

/// Remembers what answered last, to tell stale from unknown.
#[derive(Debug, Default)]
pub struct Observer {
    disks: BTreeMap<u32, Disk>,
    cluster: Option<Cluster>,
}

impl Observer {
    /// Asks every running node who it is, and then the cluster.
    pub async fn observe(&mut self, look: &Look, admin: &dyn NodeAdmin) -> Sight {
        let asked = join_all(look.places.iter().map(|place| ask(place, admin))).await;
        let mut identities = BTreeMap::new();
        let mut places = Vec::with_capacity(asked.len());
        for (place, answer) in look.places.iter().zip(asked) {
            let disk = self.disk(place, &answer);
            if let Some(Ok(identity)) = answer {
                identities.insert(place.index, identity);
            }
            places.push(Place { disk, ..place.clone() });
        }
        self.disks.retain(|index, _| look.places.iter().any(|place| place.index == *index));
        let mut sight = Sight {
            observed: Observed {
                cluster_id: look.cluster_id.clone(),
                founded: look.founded,
                places,
                taken: look.taken.clone(),
                cluster: Seen::Unknown("no member of the cluster answers".into()),
            },
            founding: look.founding.clone(),
            identities,
        };
        let members = sight.members();
        if !members.is_empty() {
            sight.observed.cluster = self.cluster(admin.cluster_state(&members).await);
            place_domains(&mut sight.observed);
        } else if let Some(cluster) = &self.cluster {
            sight.observed.cluster = Seen::Stale(cluster.clone());
        }
        sight
    }

    fn disk(&mut self, place: &Place, answer: &Option<Result<IdentifyResponse, AdminError>>) -> Seen<Disk> {
        match answer {
            Some(Ok(identity)) => {
                let disk = told(identity);
                self.disks.insert(place.index, disk.clone());
                Seen::Fresh(disk)
            }
            Some(Err(error)) => self.remembered(place, error.to_string()),
            // Stopped: the substrate's word, when it has one.
            None => match &place.disk {
                Seen::Unknown(why) => self.remembered(place, why.clone()),
                fresh => {
                    self.disks.remove(&place.index);
                    fresh.clone()
                }
            },
        }
    }

    /// What the node said last, else what the substrate noted of its disk.
    fn remembered(&self, place: &Place, why: String) -> Seen<Disk> {
        // What a substrate calls fresh is its word on a disk that nobody uses, and this one is in use.
        let noted = match &place.disk {
            Seen::Stale(disk) => Some(disk),
            Seen::Fresh(_) | Seen::Unknown(_) => None,
        };
        let disk = self.disks.get(&place.index).or(noted);
        disk.map_or(Seen::Unknown(why), |disk| Seen::Stale(disk.clone()))
    }

    fn cluster(&mut self, answer: Result<GetClusterStateResponse, AdminError>) -> Seen<Cluster> {
        match answer.map(|state| cluster_of(&state)) {
            Ok(Some(cluster)) => {
                self.cluster = Some(cluster.clone());
                Seen::Fresh(cluster)
            }
            Ok(None) => Seen::Unknown("the answer of the cluster holds no map".into()),
            Err(error) => {
                self.cluster.as_ref().map_or(Seen::Unknown(error.to_string()), |cluster| Seen::Stale(cluster.clone()))
            }
        }
    }
}

/// A node is where its place is: the substrate knows that better than the map, which was told when the node joined.
fn place_domains(observed: &mut Observed) {
    let Seen::Fresh(cluster) = &mut observed.cluster else { return };
    for place in observed.places.iter().filter(|place| place.domains != Domains::default()) {
        let Some(Disk::Member { cluster_id, node_id }) = place.disk.known() else { continue };
        if *cluster_id == cluster.cluster_id
            && let Some(node) = cluster.nodes.iter_mut().find(|node| node.id == *node_id)
        {
            node.domains = place.domains.clone();
        }
    }
}

async fn ask(place: &Place, admin: &dyn NodeAdmin) -> Option<Result<IdentifyResponse, AdminError>> {
    let (Some(Process::Running), Some(address)) = (place.process.fresh(), &place.peer_address) else { return None };
    let answer = admin.identify(address).await;
    Some(answer.and_then(|identity| right_node(place, address, identity)))
}

/// Another node at this address says nothing about this place.
fn right_node(place: &Place, address: &str, identity: IdentifyResponse) -> Result<IdentifyResponse, AdminError> {
    if identity.name.is_empty() || identity.name == place.name {
        return Ok(identity);
    }
    let message = format!("it answers as {:?}, allowed: {:?}", identity.name, place.name);
    Err(AdminError::Unreachable { address: address.to_owned(), message })
}

fn told(identity: &IdentifyResponse) -> Disk {
    let sender = identity.sender.clone().unwrap_or_default();
    if sender.cluster_id.is_empty() {
        return Disk::Blank { uuid: Some(sender.uuid).filter(|uuid| !uuid.is_empty()) };
    }
    Disk::Member { cluster_id: sender.cluster_id, node_id: sender.node_id }
}

/// The planner's view of the cluster's answer; `None` when it holds no map.
pub fn cluster_of(state: &GetClusterStateResponse) -> Option<Cluster> {
    let map = state.map.as_ref()?;
    let nodes = map.nodes.iter().map(|node| node_of(node, state)).collect();
    let shards = map.shards.iter().map(|shard| {
        let live = state.shards.iter().find(|live| live.shard_id == shard.id);
        shard_of(shard, live)
    });
    Some(Cluster {
        cluster_id: map.cluster_id.clone(),
        map_version: map.version,
        replication_factor: map.replication_factor,
        shard_count: map.shard_count,
        nodes,
        shards: shards.collect(),
        stop_reserved: state.stop_hold.as_ref().map(|hold| hold.node_id),
    })
}

fn node_of(node: &map::Node, state: &GetClusterStateResponse) -> Node {
    let live = state.nodes.iter().find(|live| live.node_id == node.id);
    let domains = node.domains.clone().unwrap_or_default();
    Node {
        id: node.id,
        name: node.name.clone(),
        uuid: node.uuid.clone(),
        draining: node.state() == NodeState::Draining,
        domains: Domains { zone: domains.zone, machine: domains.machine },
        // What its leader has not heard of at all is silent for as long as that one leads.
        silent_for_ms: live.map_or(state.leading_for_ms, |live| live.silent_for_ms),
        heard: live.is_some_and(|live| live.heard),
        read_only: live.is_some_and(|live| live.read_only),
        leaders_away: node.leaders_away_until_ms > unix_ms() || live.is_some_and(|live| live.slow),
        damage: live.map_or_else(String::new, |live| live.damage.clone()),
        trouble: live.map_or_else(String::new, |live| live.trouble.clone()),
    }
}

fn shard_of(shard: &map::Shard, live: Option<&ShardLiveness>) -> Shard {
    let led = live.filter(|live| live.leader_node_id != 0);
    let reported = led.and_then(|live| live.group.as_ref());
    let group = reported.or(shard.group.as_ref()).cloned().unwrap_or_default();
    let replicas = group.replicas.iter().map(|replica| Replica {
        node: replica.node_id,
        role: match replica.role() {
            ReplicaRole::Voter | ReplicaRole::Unspecified => Role::Voter,
            ReplicaRole::Learner => Role::Learner,
            ReplicaRole::Outgoing => Role::Outgoing,
        },
        caught_up: led.is_some_and(|live| {
            live.progress.iter().any(|progress| progress.replica_id == replica.id && progress.caught_up)
        }),
    });
    Shard {
        id: shard.id,
        version: group.version,
        leader: led.map(|live| live.leader_node_id),
        fresh: reported.is_some(),
        replicas: replicas.collect(),
        target: shard.target.iter().flat_map(|target| &target.replicas).map(|replica| replica.node_id).collect(),
        bytes: live.map_or(0, |live| live.bytes),
    }
}
