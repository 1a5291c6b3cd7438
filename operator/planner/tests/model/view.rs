//! What an operator sees of the world: the truth, or less of it.

use granary_planner::{
    Desired, Observed,
    observed::{self, Cluster, Domains, Seen},
};

use crate::{
    bounds::Bounds,
    world::{Disk, Place, Process, Role, SILENCE_MS, World},
};

const ID: &str = "c0";

/// What is missing from a view. Numbers are positions, whatever is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blur {
    Nothing,
    /// The cluster does not answer.
    NoAnswer,
    /// What the disk of a place holds is not known.
    DiskUnknown(u8),
    /// It is known from an earlier round, or from a note of the substrate.
    DiskStale(u8),
    /// Whether a process runs is not known.
    ProcessUnknown(u8),
    /// A shard has not reported.
    ShardSilent(u8),
}

impl Blur {
    /// All that can be missing from a view of this world.
    pub fn all(world: &World) -> Vec<Self> {
        let mut all = vec![];
        if world.answers() {
            all.push(Self::NoAnswer);
            all.extend((0..world.shards.len() as u8).map(Self::ShardSilent));
        }
        for at in 0..world.places.len() as u8 {
            all.extend([Self::DiskUnknown(at), Self::DiskStale(at), Self::ProcessUnknown(at)]);
        }
        all
    }
}

pub fn desired(bounds: &Bounds, world: &World) -> Desired {
    Desired {
        replicas: world.replicas.into(),
        replication_factor: bounds.factor.into(),
        shards: bounds.shards.into(),
        replace_after_ms: (!bounds.never_replaced).then_some(300_000),
        paused: false,
        draining: Some(u64::from(world.drain_wish)).filter(|id| *id != 0).into_iter().collect(),
    }
}

/// `places` are those of the world, or what they were when the round began.
pub fn observed(bounds: &Bounds, world: &World, places: &[Place], blur: Blur) -> Observed {
    let mut seen = Observed {
        cluster_id: world.minted.then(|| ID.to_owned()),
        founded: world.founded,
        places: places.iter().map(|place| see(bounds, place)).collect(),
        taken: (0..32).filter(|index| world.taken & 1 << index != 0).collect(),
        cluster: if world.answers() { Seen::Fresh(cluster(bounds, world, places)) } else { no_answer() },
    };
    match blur {
        Blur::Nothing => {}
        Blur::NoAnswer => seen.cluster = no_answer(),
        Blur::DiskUnknown(at) => seen.places[at as usize].disk = no_answer(),
        Blur::DiskStale(at) => {
            let disk = &mut seen.places[at as usize].disk;
            *disk = disk.known().map_or_else(no_answer, |disk| Seen::Stale(disk.clone()));
        }
        Blur::ProcessUnknown(at) => seen.places[at as usize].process = no_answer(),
        Blur::ShardSilent(at) => {
            if let Seen::Fresh(cluster) = &mut seen.cluster {
                let shard = &mut cluster.shards[at as usize];
                (shard.fresh, shard.leader) = (false, None);
                shard.replicas.iter_mut().for_each(|replica| replica.caught_up = false);
            }
        }
    }
    seen
}

fn no_answer<T>() -> Seen<T> {
    Seen::Unknown("no answer".to_owned())
}

fn domains(bounds: &Bounds, zone: u8) -> Domains {
    let zone = if bounds.zones == 0 { String::new() } else { format!("z{zone}") };
    Domains { zone, machine: String::new() }
}

fn name(index: u8) -> String {
    format!("node-{index}")
}

/// Of an empty disk; that of a member's makes no difference.
fn uuid_of(place: Option<&Place>) -> String {
    place.map_or_else(String::new, |place| format!("uuid-{}-{}", place.index, place.epoch))
}

fn see(bounds: &Bounds, place: &Place) -> observed::Place {
    let running = place.process == Process::Running;
    let disk = match place.disk {
        Disk::Blank => observed::Disk::Blank { uuid: running.then(|| uuid_of(Some(place))) },
        Disk::Member(id) => observed::Disk::Member { cluster_id: ID.to_owned(), node_id: id.into() },
        Disk::Gone => observed::Disk::Gone,
    };
    // What a disk holds is the word of its node; noted or remembered once that one does not answer.
    let answers = place.is_up() || !running && !matches!(place.disk, Disk::Member(_));
    observed::Place {
        index: place.index.into(),
        name: name(place.index),
        process: Seen::Fresh(match place.process {
            Process::Running => observed::Process::Running,
            Process::Starting => observed::Process::Starting,
            Process::Stopped => observed::Process::Stopped,
        }),
        disk: if answers { Seen::Fresh(disk) } else { Seen::Stale(disk) },
        peer_address: None,
        kv_address: None,
        domains: domains(bounds, place.zone),
        restart: place.restart.then(|| "image: granary:2".to_owned()),
        cordoned: false,
    }
}

fn cluster(bounds: &Bounds, world: &World, places: &[Place]) -> Cluster {
    let alive = world.alive();
    let zone = |id: u8| places.iter().find(|place| place.disk == Disk::Member(id)).map(|place| place.zone);
    let nodes = world.nodes.iter().map(|node| observed::Node {
        id: node.id.into(),
        name: name(node.name),
        draining: node.draining,
        domains: domains(bounds, zone(node.id).unwrap_or(node.zone)),
        silent_for_ms: SILENCE_MS[node.silence as usize],
        heard: node.heard,
        read_only: false,
        leaders_away: node.away,
        uuid: uuid_of(world.places.iter().find(|place| place.admitted == node.id)),
        damage: String::new(),
        trouble: String::new(),
    });
    let shards = world.shards.iter().zip(0..).map(|(shard, id)| {
        let fresh = shard.leader != 0;
        let replicas = shard.replicas.iter().map(|replica| observed::Replica {
            node: replica.node.into(),
            role: match replica.role {
                Role::Voter | Role::Incoming => observed::Role::Voter,
                Role::Learner => observed::Role::Learner,
                Role::Outgoing => observed::Role::Outgoing,
            },
            caught_up: fresh && replica.data && alive & 1 << replica.node != 0,
        });
        observed::Shard {
            id,
            version: 1,
            leader: fresh.then_some(shard.leader.into()),
            fresh,
            replicas: replicas.collect(),
            target: shard.target.iter().map(|node| u64::from(*node)).collect(),
            bytes: 100,
        }
    });
    Cluster {
        cluster_id: ID.to_owned(),
        map_version: 1,
        replication_factor: bounds.factor.into(),
        shard_count: bounds.shards.into(),
        nodes: nodes.collect(),
        shards: shards.collect(),
        stop_reserved: Some(u64::from(world.stop)).filter(|id| *id != 0),
    }
}
