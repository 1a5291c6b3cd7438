//! What every node does for the meta shard, and what its leader does: reports, their entries, pushes of maps, and leaders
//! that shall be away; as the node's `meta` module does it.

use std::{collections::BTreeSet, rc::Rc, time::Duration};

use futures::channel::oneshot;
use granary_common::{META_SHARD, NodeId, ShardId};
use granary_duties::{
    away::{Wish, sent_away, wish},
    disk::{DiskWatch, SlowFrom, Syncs},
    news,
    replicas::spent,
    reporting::{candidates, check_member},
    states::Applied,
    view::View,
};
use granary_machine::errors::code;
use granary_proto::{
    map::ClusterMap,
    raft::{JoinClusterRequest, JoinClusterResponse, MapLeader, PushMapRequest, ReportRequest, ReportResponse, Sender},
    storage::{MetaAnswer, MetaCommand, meta_answer::Kind, meta_command::Operation},
};
use granary_store::Event;
use prost::Message as _;

use super::{Call, Member, Reply, ReportParts, Status, StoreError, call};
use crate::{
    tasks::Owner,
    world::{MS, SECOND, Shared, World, sleep, within},
};

const INTERVAL: u64 = 250 * MS;
const MIN_GAP: u64 = 20 * MS;
const REPORT_LIMIT: u64 = 500 * MS;
const MAX_ASKED: usize = 8;
const PROPOSAL_LIMIT: u64 = 5 * SECOND;

impl World {
    pub(super) fn start_tasks(&mut self, place: usize, epoch: u64) {
        let owner = Owner::Process { place, epoch };
        let shared = self.shared();
        self.spawn(owner, follow_map(shared.clone(), place));
        self.spawn(owner, reporter(shared.clone(), place));
        self.spawn(owner, proposer(shared.clone(), place));
        self.spawn(owner, pusher(shared.clone(), place));
        self.spawn(owner, away(shared, place));
    }
}

impl Member {
    /// Node that leads the meta shard, as far as this one knows.
    pub fn meta_leader(&self) -> Option<NodeId> {
        let by_group = self.board.get(&META_SHARD).and_then(|state| state.leader);
        match by_group.or(self.told_leader) {
            Some(leader) if leader == self.id() && self.leads(META_SHARD).is_none() => None,
            leader => leader,
        }
    }

    /// Who is believed to lead a shard.
    pub fn believed_leader(&self, shard: ShardId) -> Option<NodeId> {
        let own = self.board.get(&shard).and_then(|state| state.leader);
        own.or_else(|| {
            let told = self.told_leaders.iter().find(|told| told.shard_id == shard.0);
            told.map(|told| NodeId(told.node_id))
        })
    }
}

/// Gives `ask` the leader's view as of now, with the map.
pub(super) fn with_view<T>(
    world: &Shared,
    place: usize,
    ask: impl FnOnce(&mut View, &ClusterMap, std::time::Instant) -> T,
) -> Option<T> {
    let mut world = world.borrow_mut();
    let now = world.instant();
    let member = world.member_mut(place)?;
    let term = member.leads(META_SHARD);
    member.view.tick(term, now);
    Some(ask(&mut member.view, &member.map.clone(), now))
}

async fn follow_map(world: Shared, place: usize) {
    let mut followed = 0;
    loop {
        let (map, changed) = {
            let mut world = world.borrow_mut();
            let Some(member) = world.member_mut(place) else { return };
            (member.map.clone(), member.following.heard())
        };
        if map.version > followed {
            followed = map.version;
            let (done, written) = oneshot::channel::<()>();
            {
                let mut world = world.borrow_mut();
                let op = crate::disk::Op::Map(map.clone());
                world.write_log(place, vec![op], false, move |_| drop(done));
                world.follow(place, map);
            }
            // One copy on its way at a time.
            let _ = written.await;
            continue;
        }
        let _ = changed.await;
    }
}

async fn reporter(world: Shared, place: usize) {
    loop {
        let Some(changed) = world.borrow_mut().member_mut(place).map(|member| member.changes.heard()) else { return };
        let Some(request) = request(&world, place).await else { return };
        deliver(&world, place, request).await;
        sleep(&world, MIN_GAP).await;
        let _ = within(&world, INTERVAL - MIN_GAP, changed).await;
    }
}

async fn request(world: &Shared, place: usize) -> Option<ReportRequest> {
    let (send, parts) = oneshot::channel::<ReportParts>();
    {
        let mut world = world.borrow_mut();
        world.member_mut(place)?.reports.push(send);
        world.event(place, Event::Report);
    }
    let (led, held) = parts.await.ok()?;
    let world = world.borrow();
    let member = world.member(place)?;
    let (sender, map_version) = (Some(member.sender.clone()), member.map.version);
    let (disk_free_bytes, disk_total_bytes) = (1 << 40, 1 << 40);
    let spent = spent(member.id(), &member.lifecycle_map, &member.records);
    Some(ReportRequest {
        sender,
        map_version,
        led,
        held,
        spent,
        disk_free_bytes,
        disk_total_bytes,
        ..Default::default()
    })
}

/// Finds the leader and hands the report over.
async fn deliver(world: &Shared, place: usize, request: ReportRequest) {
    let (leads, mut candidates) = {
        let world = world.borrow();
        let Some(member) = world.member(place) else { return };
        (member.leads(META_SHARD).is_some(), candidates(&member.map, member.meta_leader(), [], member.id()))
    };
    if leads {
        if let Ok(answer) = report(world, place, request) {
            take(world, place, answer);
        }
        return;
    }
    let mut asked: Vec<NodeId> = Vec::new();
    while let Some(node) = candidates.pop() {
        if asked.contains(&node) || asked.len() == MAX_ASKED {
            continue;
        }
        asked.push(node);
        let Some(to) = world.borrow().route(place, node) else { continue };
        match call(world, (place, to), Call::Report(Box::new(request.clone())), REPORT_LIMIT).await {
            Ok(Reply::Report(answer)) if answer.accepted => return take(world, place, *answer),
            Ok(Reply::Report(answer)) => candidates
                .extend(Some(NodeId(answer.meta_leader_node_id)).filter(|hint| hint.0 != 0 && !asked.contains(hint))),
            _ => {}
        }
    }
    take(world, place, ReportResponse::default());
}

fn take(world: &Shared, place: usize, answer: ReportResponse) {
    let mut world = world.borrow_mut();
    let Some(member) = world.member_mut(place) else { return };
    member.told_leader = Some(NodeId(answer.meta_leader_node_id)).filter(|leader| leader.0 != 0);
    member.told_leaders = answer.leaders;
    if let Some(map) = answer.map {
        world.offer_map(place, map);
    }
}

/// A node's report, at the leader of the meta shard.
pub(super) fn report(world: &Shared, place: usize, request: ReportRequest) -> Result<ReportResponse, Status> {
    let mut world = world.borrow_mut();
    let now = world.instant();
    let member = world.member_mut(place).ok_or_else(nobody)?;
    let sender = request.sender.clone().unwrap_or_default();
    check_cluster(member, &sender)?;
    let Some(term) = member.leads(META_SHARD) else {
        let meta_leader_node_id = member.meta_leader().map_or(0, |leader| leader.0);
        return Ok(ReportResponse { meta_leader_node_id, ..ReportResponse::default() });
    };
    if request.map_version > member.map.version {
        return Err(Status::unavailable("the new leader of the meta shard is not up to date yet; report again"));
    }
    check_member(&member.map, &sender).map_err(|refused| Status::failed_precondition(refused.to_string()))?;
    let newer = (request.map_version < member.map.version).then(|| ClusterMap::clone(&member.map));
    member.view.tick(Some(term), now);
    member.view.retain(&member.map);
    let accepted = member.view.record(request, now);
    let leaders = member.view.leaders(now).into_iter();
    let leaders = leaders.map(|(shard, node)| MapLeader { shard_id: shard.0, node_id: node.0 }).collect();
    member.heard.ring();
    let meta_leader_node_id = member.id().0;
    Ok(ReportResponse { map: newer, meta_leader_node_id, accepted, leaders, read_only_node_ids: Vec::new() })
}

fn check_cluster(member: &Member, sender: &Sender) -> Result<(), Status> {
    if sender.cluster_id == member.identity.cluster_id {
        return Ok(());
    }
    Err(Status::failed_precondition("another cluster"))
}

/// Of a blank node to another node: a member may be meant that has lost its disk, and somebody else may know better.
pub(super) fn nobody() -> Status {
    Status::unavailable("this node is blank: it belongs to no cluster")
}

/// A map from the meta shard's leader.
pub(super) fn pushed(world: &Shared, place: usize, request: PushMapRequest) -> Result<(), Status> {
    let mut world = world.borrow_mut();
    let member = world.member(place).ok_or_else(nobody)?;
    check_cluster(member, &request.sender.unwrap_or_default())?;
    world.offer_map(place, request.map.unwrap_or_default());
    Ok(())
}

/// On the meta shard's leader: writes what groups and nodes said of themselves into the map. One entry at a time.
async fn proposer(world: Shared, place: usize) {
    loop {
        let Some(heard) = world.borrow_mut().member_mut(place).map(|member| member.heard.heard()) else { return };
        let _ = within(&world, 250 * MS, heard).await;
        sleep(&world, 20 * MS).await;
        let Some(reports) = with_view(&world, place, |view, map, now| news::reports(map, view, now)) else { return };
        let leads = world.borrow().member(place).is_some_and(|member| member.leads(META_SHARD).is_some());
        if news::is_empty(&reports) || !leads {
            continue;
        }
        match propose_meta(&world, place, Operation::Reports(reports)).await.and_then(done) {
            Ok(version) => {
                shows(&world, place, SECOND, |map| map.version >= version).await;
            }
            Err(_) => sleep(&world, 500 * MS).await,
        }
    }
}

/// Waits until the map here is as asked.
async fn shows(world: &Shared, place: usize, limit: u64, is: impl Fn(&ClusterMap) -> bool) -> Option<Rc<ClusterMap>> {
    let begin = world.borrow().now;
    loop {
        let changed = {
            let mut world = world.borrow_mut();
            let member = world.member_mut(place)?;
            if is(&member.map) {
                return Some(member.map.clone());
            }
            member.maps.heard()
        };
        let left = (begin + limit).checked_sub(world.borrow().now).filter(|left| *left > 0)?;
        within(world, left, changed).await?.ok();
    }
}

/// On the meta shard's leader: sends each new map to every node in it.
async fn pusher(world: Shared, place: usize) {
    let mut pushed = 0;
    loop {
        let (map, leads, sender, id) = {
            let world = world.borrow();
            let Some(member) = world.member(place) else { return };
            (member.map.clone(), member.leads(META_SHARD).is_some(), member.sender.clone(), member.id())
        };
        if leads && map.version > pushed {
            pushed = map.version;
            for node in map.nodes.iter().map(|node| NodeId(node.id)).filter(|node| *node != id) {
                let Some(to) = world.borrow().route(place, node) else { continue };
                let request = PushMapRequest { sender: Some(sender.clone()), map: Some(ClusterMap::clone(&map)) };
                let shared = world.clone();
                world.borrow_mut().spawn(Owner::Outside, async move {
                    let _ = call(&shared, (place, to), Call::PushMap(Box::new(request)), SECOND).await;
                });
            }
        }
        sleep(&world, 20 * MS).await;
    }
}

/// How often a node looks at its disk, and from when on that is slow: as a node's options have it.
const LOOK: Duration = Duration::from_millis(250);
const SLOW: SlowFrom = SlowFrom { single: Duration::from_secs(2), average: Duration::from_millis(500) };

/// Tells the store to give its leaders away while the map says so, or while the disk is slow; and to which nodes it shall
/// rather not give them.
async fn away(world: Shared, place: usize) {
    let (mut told, mut told_slow, mut disk) = (false, BTreeSet::new(), DiskWatch::default());
    loop {
        {
            let mut world = world.borrow_mut();
            let unix_ms = world.unix_ms(place);
            let under_way = Duration::from_nanos(world.stalled_for(place));
            let Some(member) = world.member(place) else { return };
            let wished = wish(&member.map, member.id(), unix_ms) != Wish::Stay;
            let (id, away) = (member.id(), member.leaving || wished);
            let own = disk.look(&SLOW, Syncs { under_way, ..Syncs::default() }, LOOK).then_some(id);
            let others = sent_away(&member.map, unix_ms).filter(|node| *node != id);
            let slow: BTreeSet<NodeId> = others.chain(own).collect();
            if slow != told_slow {
                world.event(place, Event::SlowNodes { nodes: slow.clone() });
                told_slow = slow;
            }
            if away != told {
                told = away;
                world.event(place, Event::LeadersAway { away });
            }
        }
        sleep(&world, LOOK.as_nanos() as u64).await;
    }
}

/// A blank node that wants to be a member.
pub(super) async fn join_cluster(
    world: &Shared,
    place: usize,
    request: JoinClusterRequest,
) -> Result<JoinClusterResponse, Status> {
    let uuid = request.uuid.clone();
    let node_id = done(propose_meta(world, place, Operation::Join(request)).await?)?;
    let is_there = |map: &ClusterMap| map.nodes.iter().any(|node| node.id == node_id && node.uuid == uuid);
    let map = shows(world, place, 2 * SECOND, is_there).await;
    let map = map.ok_or_else(|| Status::unavailable("the node is not in the map here yet; ask again"))?;
    Ok(JoinClusterResponse { node_id, map: Some(ClusterMap::clone(&map)) })
}

/// Makes an entry of the meta shard and waits for its answer.
pub(super) async fn propose_meta(world: &Shared, place: usize, operation: Operation) -> Result<MetaAnswer, Status> {
    let command = {
        let world = world.borrow();
        let member = world.member(place).ok_or_else(nobody)?;
        if member.leads(META_SHARD).is_none() {
            return Err(not_leader(&world, place));
        }
        MetaCommand { leader_time_ms: world.unix_ms(place), operation: Some(operation) }
    };
    let applied = super::data::propose(world, place, META_SHARD, command.encode_to_vec().into(), PROPOSAL_LIMIT).await;
    match applied.map_err(|error| store_error(world, place, &error))? {
        Applied::Meta(answer) => match answer.kind {
            Some(Kind::Refused(refused)) => Err(Status::new(refused.code, refused.message)),
            _ => Ok(answer),
        },
        Applied::Data(_) => Err(Status::new(code::INTERNAL, "the meta shard answered as a data shard")),
    }
}

pub(super) fn store_error(world: &Shared, place: usize, error: &StoreError) -> Status {
    match error {
        StoreError::NotLeader(_) | StoreError::NoReplica => not_leader(&world.borrow(), place),
        StoreError::Busy => Status::new(code::RESOURCE_EXHAUSTED, "too much work is in flight"),
        StoreError::Unknown => Status::new(code::UNKNOWN, "it may or may not be done; look, then ask again"),
        StoreError::Timeout => Status::unavailable("the meta shard did not confirm its leader in time; ask again"),
    }
}

/// "Another node leads the meta shard."
pub(super) fn not_leader(world: &World, place: usize) -> Status {
    let leader = world.member(place).and_then(|member| {
        let leader = member.meta_leader().filter(|leader| *leader != member.id())?;
        world.route(place, leader)
    });
    Status { leader, ..Status::unavailable("this node does not lead the meta shard") }
}

/// What a done entry made.
pub(super) fn done(answer: MetaAnswer) -> Result<u64, Status> {
    match answer.kind {
        Some(Kind::Done(made)) => Ok(made),
        _ => Err(Status::new(code::INTERNAL, "the meta shard answered with something else than asked")),
    }
}
