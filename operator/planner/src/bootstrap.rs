//! From nothing to a founded cluster with its shards: mint the id, start the first places, found, note it, create.
//! Must not found where anything is unknown, or twice.

use crate::desired::Desired;
use crate::observed::{Cluster, Disk, Observed, Place, Process};
use crate::plan::{DegradedReason, Plan, Step, WaitingReason};
use crate::render::{count, list};
use crate::view::View;
use crate::{placement, repair};

/// Plans all that is possible while the cluster does not answer. Returns the cluster once it answers and is ours.
pub(crate) fn until_it_answers<'a>(desired: &Desired, observed: &'a Observed, plan: &mut Plan) -> Option<&'a Cluster> {
    let Some(id) = &observed.cluster_id else {
        mint(observed, plan);
        return None;
    };
    let foreign = foreign_disks(observed, id, plan);
    if let Some(cluster) = observed.cluster.fresh() {
        if cluster.cluster_id != *id {
            let message =
                format!("the nodes answer as cluster {}, this one is {id}: nothing is done", cluster.cluster_id);
            plan.degrade(DegradedReason::ForeignDisk, message);
            return None;
        }
        if !observed.founded {
            plan.step(Step::NoteFounded, format!("cluster {id} answers with {}", count(cluster.nodes.len(), "node")));
        }
        return Some(cluster);
    }
    if observed.founded {
        founded_but_silent(desired, observed, id, plan);
    } else if !foreign {
        found(desired, observed, id, plan);
    }
    None
}

fn mint(observed: &Observed, plan: &mut Plan) {
    let member = observed.places.iter().find_map(|place| match place.disk.known() {
        Some(Disk::Member { cluster_id, .. }) => Some((place, cluster_id)),
        _ => None,
    });
    if let Some((place, cluster_id)) = member {
        let message = format!(
            "no cluster id is noted, but the disk of {} belongs to cluster {cluster_id}: note that id, or take the disk away",
            place.name
        );
        plan.degrade(DegradedReason::ForeignDisk, message);
    } else if let Some(place) = observed.places.iter().find(|place| place.disk.fresh().is_none()) {
        let message = format!("no cluster id is noted, and it is not known what the disk of {} holds", place.name);
        plan.wait(WaitingReason::Unknown, message);
    } else {
        plan.step(Step::MintClusterId, "no cluster id is noted and no disk holds one".to_owned());
    }
}

/// Reports the first disk of another cluster; such a place is never started, joined or retired.
fn foreign_disks(observed: &Observed, id: &str, plan: &mut Plan) -> bool {
    let foreign = observed.places.iter().filter_map(|place| match place.disk.known() {
        Some(Disk::Member { cluster_id, .. }) if cluster_id != id => Some((&place.name, cluster_id)),
        _ => None,
    });
    let foreign: Vec<_> = foreign.collect();
    let Some((name, other)) = foreign.first() else { return false };
    let message = format!(
        "{} of another cluster: {name} belongs to {other}, this cluster is {id}; take it away or give it back",
        count(foreign.len(), "disk")
    );
    plan.degrade(DegradedReason::ForeignDisk, message);
    true
}

fn is_empty(place: &Place) -> bool {
    matches!(place.disk.fresh(), Some(Disk::Blank { .. } | Disk::Gone))
}

/// Says so when the disks that may still hold something are fewer than a quorum of any shard: waiting is no use then.
/// With an earlier word of the cluster, by the voters of its meta shard; else by the number of disks alone.
fn disks_without_quorum(desired: &Desired, observed: &Observed, plan: &mut Plan) {
    let empty: Vec<_> =
        observed.places.iter().filter(|place| is_empty(place)).map(|place| place.name.clone()).collect();
    let meta = observed.cluster.known().and_then(|cluster| Some((cluster, cluster.shards.first()?)));
    let (live, all) = match meta {
        Some((cluster, meta)) => {
            let name = |id: u64| cluster.nodes.iter().find(|node| node.id == id).map(|node| &node.name);
            let there = |name: &String| observed.places.iter().any(|place| place.name == *name);
            let is_lost = |name: &String| empty.contains(name) || !there(name);
            let lost = meta.replicas.iter().filter(|voter| name(voter.node).is_some_and(is_lost));
            (meta.replicas.len().saturating_sub(lost.count()), meta.replicas.len())
        }
        None => (observed.places.len() - empty.len(), desired.replication_factor as usize),
    };
    if live < all / 2 + 1 {
        let what = match &empty[..] {
            [] => format!("{} left", count(observed.places.len(), "disk")),
            empty => format!("the disks of {} are empty", list(empty)),
        };
        let message = format!(
            "{what}: at most {live} of {all} voters of the meta shard are left, and {} are needed; bring a disk back",
            all / 2 + 1
        );
        plan.degrade(DegradedReason::QuorumLost, message);
    }
}

fn founded_but_silent(desired: &Desired, observed: &Observed, id: &str, plan: &mut Plan) {
    if observed.places.iter().all(is_empty) {
        let none = match observed.places.len() {
            0 => "no disk of it is left".to_owned(),
            places => format!("none of {} holds it any more", count(places, "disk")),
        };
        let message = format!(
            "cluster {id} was founded, and {none}: restore a backup; for a new, empty cluster delete this one first"
        );
        plan.degrade(DegradedReason::DataLost, message);
        return;
    }
    repair::start_stopped(observed, id, plan);
    disks_without_quorum(desired, observed, plan);
    let why = match &observed.cluster {
        crate::observed::Seen::Unknown(why) => why.clone(),
        _ => "its last answer is from an earlier round".to_owned(),
    };
    plan.wait(WaitingReason::Unknown, format!("the cluster does not answer: {why}"));
}

fn found(desired: &Desired, observed: &Observed, id: &str, plan: &mut Plan) {
    let place = |index: u32| observed.places.iter().find(|place| place.index == index);
    // The founders are the first by index; the others take what is not taken.
    let others = (desired.replication_factor..=u32::MAX).filter(|index| !observed.taken.contains(index));
    let others = others.take(desired.replicas.saturating_sub(desired.replication_factor) as usize);
    for index in (0..desired.replication_factor).chain(others).filter(|index| place(*index).is_none()) {
        if observed.taken.contains(&index) {
            let message = format!("the disk of place {index} was given up and is still there: take it away first");
            plan.wait(WaitingReason::Unknown, message);
            return;
        }
        let reason = format!("place {index} of {} is not there", desired.replicas);
        plan.step(Step::StartNode { index }, reason);
    }
    repair::start_stopped(observed, id, plan);
    let lost =
        |place: &&Place| place.disk.fresh() == Some(&Disk::Gone) && place.process.fresh() == Some(&Process::Starting);
    for place in observed.places.iter().filter(lost) {
        let reason = format!("the disk of {} is gone, and nothing was founded on it", place.name);
        plan.step(Step::StartNode { index: place.index }, reason);
    }

    let (mut blank, mut open, mut starting) = (0, Vec::new(), Vec::new());
    for index in 0..desired.replication_factor {
        match place(index).map(|place| &place.disk).map(|disk| (disk.fresh(), disk)) {
            Some((Some(Disk::Blank { uuid: Some(_) }), _)) => blank += 1,
            Some((Some(Disk::Member { node_id, .. }), _)) if *node_id == u64::from(index) + 1 => {}
            Some((Some(Disk::Member { node_id, .. }), _)) => {
                let message =
                    format!("place {index} holds node {node_id}: the cluster was founded before, it has to answer");
                plan.wait(WaitingReason::Unknown, message);
                return;
            }
            Some((None, _)) if is_coming_up(place(index)) => starting.push(index),
            Some((None, _)) => {
                plan.wait(
                    WaitingReason::Unknown,
                    format!("what the disk of place {index} holds; unknown is not blank"),
                );
                return;
            }
            Some(_) if is_coming_up(place(index)) => starting.push(index),
            Some((Some(Disk::Blank { uuid: None } | Disk::Gone), _)) | None => open.push(index),
        }
    }
    let joined = observed.places.iter().find(|place| {
        place.index >= desired.replication_factor && matches!(place.disk.known(), Some(Disk::Member { .. }))
    });
    if let Some(place) = joined {
        plan.wait(WaitingReason::Unknown, format!("{} has joined already: the cluster has to answer", place.name));
        return;
    }
    let factor = desired.replication_factor as usize;
    if !open.is_empty() || !starting.is_empty() {
        let states = [("not there or mute", &open), ("starting", &starting)].into_iter().filter(|(_, p)| !p.is_empty());
        let states: Vec<_> = states.map(|(state, places)| format!("{} {state}", places_are(places))).collect();
        let answer = factor - open.len() - starting.len();
        plan.wait(WaitingReason::NodesStarting, format!("{answer} of {factor} founders answer; {}", states.join("; ")));
    } else if blank > 0 {
        let reason = format!("{blank} of {factor} founders are blank, {} are founded already", factor - blank);
        plan.step(Step::Found { founders: (0..desired.replication_factor).collect() }, reason);
    } else {
        plan.wait(
            WaitingReason::NoLeader,
            format!("all {factor} founders are founded; the meta shard has no leader yet"),
        );
    }
}

/// Whether code of the node is yet to run there: what the disk holds cannot be known then, nor is it in doubt for long.
fn is_coming_up(place: Option<&Place>) -> bool {
    matches!(place.and_then(|place| place.process.fresh()), Some(Process::Starting | Process::Stopped))
}

/// "place 1 is", "places 0, 1 are".
fn places_are(places: &[u32]) -> String {
    let (noun, verb) = if places.len() == 1 { ("place", "is") } else { ("places", "are") };
    format!("{noun} {} {verb}", list(places))
}

/// Creates all data shards once every wanted node is a member.
pub(crate) fn create_shards(view: &View<'_>, plan: &mut Plan) {
    if view.conflict || view.cluster.shards.iter().any(|shard| shard.id != 0) {
        return;
    }
    let active: Vec<_> = view.active().collect();
    let draining = view.draining().count();
    if active.len() + view.parked.len() < view.wanted || !view.lost.is_empty() || draining > 0 || scale_changes(plan) {
        let message = format!(
            "{} are created when all {} are members; {} are",
            count(view.cluster.shard_count as usize, "shard"),
            count(view.wanted, "node"),
            active.len().min(view.wanted)
        );
        plan.wait(WaitingReason::NodesStarting, message);
        return;
    }
    // Why a node is lost may not be seen in this round: the first copies go to nodes that are there.
    let unheard: Vec<_> = view.unheard().map(|node| view.named(node.id)).collect();
    if !unheard.is_empty() {
        let shards = count(view.cluster.shard_count as usize, "shard");
        let message = format!("{shards} are created when every node is heard: {} is not", list(&unheard));
        plan.wait(WaitingReason::NodesStarting, message);
        return;
    }
    let placements = placement::first(&active, view.cluster.shard_count, view.cluster.replication_factor as usize);
    let reason = format!(
        "{} with {} each on {}",
        count(placements.len(), "shard"),
        count(view.cluster.replication_factor as usize, "replica"),
        count(active.len(), "node")
    );
    plan.step(Step::CreateShards { placements }, reason);
}

/// Whether this plan changes who is a member or stays one.
pub(crate) fn scale_changes(plan: &Plan) -> bool {
    plan.steps
        .iter()
        .any(|planned| matches!(planned.step, Step::Join { .. } | Step::Drain { .. } | Step::CancelDrain { .. }))
}
