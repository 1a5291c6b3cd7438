//! The Admin API, each call answered at the meta shard's leader or passed on to it once; as the node's `admin` module does
//! it.

use std::time::Instant;

use granary_common::{META_SHARD, NodeId, ShardId, limits::FEATURE_LEVEL};
use granary_duties::{
    guard,
    leaders::transfers,
    view::{View, millis},
};
use granary_machine::{
    errors::code,
    meta::{self, stop_hold},
};
use granary_proto::{
    admin::{
        AcquireOperatorRequest, BootstrapRequest, BootstrapResponse, CancelDrainRequest, CreateShardsRequest,
        DrainRequest, GetClusterStateResponse, IdentifyResponse, JoinRequest, JoinResponse, ReconfigureOutcome,
        ReconfigureRequest, ReleaseStopRequest, RemoveNodeRequest, ReserveStopRequest, StopHold, Transfer,
        TransferLeadersRequest,
    },
    map::{Addresses, ClusterMap},
    raft::{JoinClusterRequest, Sender},
    storage::{Identity, LeadersAway, MetaState, meta_answer::Kind, meta_command::Operation},
};
use granary_store::{Event, Role};

use super::{
    Call, Failed, Reply, Status, call,
    data::{holds, pass},
    meta::{done, nobody, not_leader, propose_meta, store_error, with_view},
};
use crate::{
    operator::{kv_address, name, peer_address, place_of_address},
    world::{MS, SECOND, Shared, World, sleep},
};

/// A call.
#[derive(Clone, Debug)]
pub enum AdminCall {
    /// Who is there?
    Identify,
    /// Found.
    Bootstrap(BootstrapRequest),
    /// Become a member.
    Join(JoinRequest),
    /// Answered by the meta shard's leader.
    AtLeader {
        /// It was passed on once.
        forwarded: bool,
        /// What.
        what: Box<LeaderCall>,
    },
    /// Transfers for the leaders on this node.
    Carried(Vec<Transfer>),
}

/// A call to the meta shard's leader.
#[derive(Clone, Debug)]
pub enum LeaderCall {
    /// What the leader knows.
    State,
    /// A token.
    Acquire(AcquireOperatorRequest),
    /// All data shards.
    CreateShards(CreateShardsRequest),
    /// New targets.
    Reconfigure(ReconfigureRequest),
    /// Leaders elsewhere.
    TransferLeaders(TransferLeadersRequest),
    /// Mark Draining.
    Drain(DrainRequest),
    /// Mark Active.
    CancelDrain(CancelDrainRequest),
    /// Hold a stop.
    ReserveStop(ReserveStopRequest),
    /// Give it back.
    ReleaseStop(ReleaseStopRequest),
    /// Off the map.
    RemoveNode(RemoveNodeRequest),
}

/// Its answer.
#[derive(Clone, Debug)]
pub enum AdminReply {
    /// To Identify.
    Identify(Box<IdentifyResponse>),
    /// To Bootstrap.
    Bootstrap(BootstrapResponse),
    /// To Join.
    Join(JoinResponse),
    /// To State.
    State(Box<GetClusterStateResponse>),
    /// To Acquire.
    Token(u64),
    /// To Reconfigure.
    Outcomes(Vec<ReconfigureOutcome>),
    /// To ReserveStop.
    CanStop(Vec<String>),
    /// To all others.
    Done,
}

/// Of a blank node to who orders.
fn blank() -> Status {
    Status::failed_precondition("this node is blank: it belongs to no cluster")
}

pub(super) async fn serve(world: &Shared, place: usize, what: AdminCall) -> Result<AdminReply, Status> {
    match what {
        AdminCall::Identify => Ok(AdminReply::Identify(Box::new(identify(&world.borrow(), place)))),
        AdminCall::Bootstrap(request) => bootstrap(world, place, request).map(AdminReply::Bootstrap),
        AdminCall::Join(request) => join(world, place, request).await.map(AdminReply::Join),
        AdminCall::Carried(transfers) => {
            hand_over(&mut world.borrow_mut(), place, &transfers);
            Ok(AdminReply::Done)
        }
        AdminCall::AtLeader { forwarded, what } => {
            let refused = {
                let world = world.borrow();
                let member = world.member(place).ok_or_else(|| if forwarded { nobody() } else { blank() })?;
                if member.leads(META_SHARD).is_some() { None } else { Some(not_leader(&world, place)) }
            };
            let Some(refused) = refused else { return at_leader(world, place, *what).await };
            let Some(to) = refused.leader.filter(|_| !forwarded) else { return Err(refused) };
            let passed_on = Call::Admin(AdminCall::AtLeader { forwarded: true, what });
            match call(world, (place, to), passed_on, 15 * SECOND).await {
                Ok(Reply::Admin(reply)) => Ok(reply),
                Err(Failed::Refused(status)) => Err(status),
                _ => Err(Status::unavailable("the leader of the meta shard did not answer")),
            }
        }
    }
}

/// What an answer is made from.
struct Known<'a> {
    state: &'a MetaState,
    map: &'a ClusterMap,
    view: &'a View,
    now: Instant,
    unix_ms: u64,
}

/// An answer from what the leader knows, given only when this node surely led while it was made.
async fn confirmed<T>(
    world: &Shared,
    place: usize,
    answer: impl Fn(Known<'_>) -> Result<T, Status>,
) -> Result<T, Status> {
    for _ in 0..5 {
        let on = pass(world, place, META_SHARD, 2 * SECOND).await.map_err(|error| store_error(world, place, &error))?;
        let state = meta::load(world.borrow().places[place].disk.data.view()).expect("a state that can be read");
        let state = state.ok_or_else(|| not_leader(&world.borrow(), place))?;
        let map = state.map.as_ref().ok_or_else(|| Status::new(code::INTERNAL, "the meta shard holds no map"))?;
        let unix_ms = world.borrow().unix_ms(place);
        let made = with_view(world, place, |view, _, now| answer(Known { state: &state, map, view, now, unix_ms }));
        let made = made.ok_or_else(blank)??;
        if holds(world, place, META_SHARD, on) {
            return Ok(made);
        }
    }
    Err(not_leader(&world.borrow(), place))
}

async fn at_leader(world: &Shared, place: usize, what: LeaderCall) -> Result<AdminReply, Status> {
    let propose = |operation| propose_meta(world, place, operation);
    match what {
        LeaderCall::State => {
            let leader = world.borrow().member(place).map_or(0, |member| member.id().0);
            let state = confirmed(world, place, |known| Ok(describe(leader, &known))).await?;
            return Ok(AdminReply::State(Box::new(state)));
        }
        LeaderCall::Acquire(request) => {
            return done(propose(Operation::AcquireOperator(request)).await?).map(AdminReply::Token);
        }
        LeaderCall::Reconfigure(request) => {
            return match propose(Operation::Reconfigure(request)).await?.kind {
                Some(Kind::Reconfigured(response)) => Ok(AdminReply::Outcomes(response.outcomes)),
                _ => Err(Status::new(code::INTERNAL, "another answer than asked")),
            };
        }
        LeaderCall::ReserveStop(request) => return reserve(world, place, request).await.map(AdminReply::CanStop),
        LeaderCall::TransferLeaders(request) => transfer(world, place, request).await?,
        LeaderCall::RemoveNode(request) => remove(world, place, request).await?,
        LeaderCall::CreateShards(request) => drop(done(propose(Operation::CreateShards(request)).await?)?),
        LeaderCall::Drain(request) => drop(done(propose(Operation::Drain(request)).await?)?),
        LeaderCall::CancelDrain(request) => drop(done(propose(Operation::CancelDrain(request)).await?)?),
        LeaderCall::ReleaseStop(request) => drop(done(propose(Operation::ReleaseStop(request)).await?)?),
    }
    Ok(AdminReply::Done)
}

fn describe(leader: u64, known: &Known<'_>) -> GetClusterStateResponse {
    let hold = stop_hold(known.state, known.unix_ms);
    let operator = known.state.operator.clone().unwrap_or_default();
    GetClusterStateResponse {
        map: Some(known.map.clone()),
        nodes: known.view.node_liveness(known.map, known.now),
        shards: known.view.shard_liveness(known.map, known.now),
        meta_leader_node_id: leader,
        leading_for_ms: millis(known.view.leading_for(known.now)),
        stop_hold: hold.map(|(node_id, remaining_ms)| StopHold { node_id, remaining_ms }),
        operator_token: operator.token,
        operator_installation: operator.installation,
    }
}

fn known_node(map: &ClusterMap, id: u64) -> Result<(), Status> {
    let known = map.nodes.iter().any(|node| node.id == id);
    if known { Ok(()) } else { Err(Status::new(code::NOT_FOUND, format!("node {id} is not a node of this cluster"))) }
}

/// The check, the entry, and the check again: between the two, another node may have gone.
async fn reserve(world: &Shared, place: usize, request: ReserveStopRequest) -> Result<Vec<String>, Status> {
    let (node_id, operator_token) = (request.node_id, request.operator_token);
    let reasons = |known: &Known<'_>| {
        known_node(known.map, node_id)?;
        Ok::<_, Status>(guard::can_stop(known.map, known.view, NodeId(node_id), known.now))
    };
    let before = confirmed(world, place, |known| {
        match stop_hold(known.state, known.unix_ms).filter(|(held, _)| *held != node_id) {
            Some((held, _)) => Ok(vec![format!("node {held} is reserved to be stopped; one node at a time")]),
            None => reasons(&known),
        }
    })
    .await?;
    if !before.is_empty() {
        return Ok(before);
    }
    done(propose_meta(world, place, Operation::ReserveStop(request)).await?)?;
    let after = confirmed(world, place, |known| reasons(&known)).await?;
    if !after.is_empty() {
        let release = ReleaseStopRequest { operator_token, node_id };
        done(propose_meta(world, place, Operation::ReleaseStop(release)).await?)?;
    }
    Ok(after)
}

async fn remove(world: &Shared, place: usize, request: RemoveNodeRequest) -> Result<(), Status> {
    let id = request.node_id;
    let reasons = confirmed(world, place, |known| {
        let given = (1..known.state.next_node_id).contains(&id);
        if given && !known.map.nodes.iter().any(|node| node.id == id) {
            return Ok(Vec::new());
        }
        known_node(known.map, id)?;
        Ok(guard::can_remove(known.map, known.view, NodeId(id), known.now))
    })
    .await?;
    if !reasons.is_empty() {
        return Err(Status::failed_precondition(format!("node {id} cannot be removed: {}", reasons.join("; "))));
    }
    done(propose_meta(world, place, Operation::RemoveNode(request)).await?).map(drop)
}

async fn transfer(world: &Shared, place: usize, request: TransferLeadersRequest) -> Result<(), Status> {
    let by_leader = confirmed(world, place, |known| {
        let held = known.state.operator.as_ref().map_or(0, |operator| operator.token);
        if request.operator_token == 0 || request.operator_token != held {
            return Err(Status::failed_precondition(format!("operator_token is not in force, {held} is")));
        }
        Ok(transfers(known.view, &request, known.now))
    })
    .await?;
    if request.away_from_node_id != 0 {
        let (operator_token, node_id, lease_ms) = (request.operator_token, request.away_from_node_id, request.lease_ms);
        let lease = LeadersAway { operator_token, node_id, lease_ms };
        return done(propose_meta(world, place, Operation::LeadersAway(lease)).await?).map(drop);
    }
    for (leader, transfers) in by_leader {
        let (own, to) = {
            let world = world.borrow();
            (world.member(place).map(super::Member::id), world.route(place, leader))
        };
        if own == Some(leader) {
            hand_over(&mut world.borrow_mut(), place, &transfers);
        } else if let Some(to) = to {
            let carried = Call::Admin(AdminCall::Carried(transfers));
            let _ = call(world, (place, to), carried, 2 * SECOND).await;
        }
    }
    Ok(())
}

/// On the node that leads the shards: asks its store.
fn hand_over(world: &mut World, place: usize, transfers: &[Transfer]) {
    for transfer in transfers {
        let shard = ShardId(transfer.shard_id);
        let leads = |member: &super::Member| member.board.get(&shard).is_some_and(|state| state.role == Role::Leader);
        if world.member(place).is_some_and(leads) {
            world.count("leader asked to hand over");
            world.event(place, Event::TransferLeader { shard, to: NodeId(transfer.to_node_id) });
        }
    }
}

fn addresses(place: usize) -> Addresses {
    Addresses { kv: kv_address(place), peer: peer_address(place) }
}

fn identify(world: &World, place: usize) -> IdentifyResponse {
    let member = world.member(place);
    let uuid = world.places[place].disk.uuid.clone();
    let blank = || Sender { uuid, addresses: Some(addresses(place)), ..Sender::default() };
    IdentifyResponse {
        sender: Some(member.map_or_else(blank, |member| member.sender.clone())),
        name: name(place),
        feature_level: FEATURE_LEVEL,
        map_version: member.map_or(0, |member| member.map.version),
        ready: member.is_some(),
        ..IdentifyResponse::default()
    }
}

/// Whether the request is the one that the node's copy of the map began with, as far as that can be told.
fn same_founding(known: &ClusterMap, state: &MetaState) -> bool {
    let asked = ClusterMap { version: 0, ..state.map.clone().unwrap_or_default() };
    if known.version == 0 {
        return known.cluster_id.is_empty() || *known == asked;
    }
    let of = |id| known.nodes.iter().find(|node| node.id == id);
    asked.nodes.iter().all(|founder| of(founder.id).is_none_or(|node| node.uuid == founder.uuid))
}

fn bootstrap(world: &Shared, place: usize, request: BootstrapRequest) -> Result<BootstrapResponse, Status> {
    let mut world = world.borrow_mut();
    let state = meta::founded(&request).map_err(|refused| Status::new(refused.code, refused.message))?;
    let uuid = world.places[place].disk.uuid.clone();
    let founder = request.founders.iter().find(|founder| founder.uuid == uuid);
    let founder = founder.ok_or_else(|| Status::failed_precondition("this node is not among the founders"))?;
    let answer = BootstrapResponse { cluster_id: request.cluster_id.clone(), node_id: founder.node_id };
    if let Some(member) = world.member(place) {
        if member.identity.cluster_id != request.cluster_id || !same_founding(&member.map, &state) {
            return Err(Status::failed_precondition("this node took part in another founding"));
        }
        if member.map.version == 0 {
            world.found_meta(place, state);
        }
        return Ok(answer);
    }
    let identity = Identity { format: 1, cluster_id: answer.cluster_id.clone(), node_id: answer.node_id, uuid };
    let kept = ClusterMap { version: 0, ..state.map.clone().unwrap_or_default() };
    let disk = &mut world.places[place].disk;
    disk.identity = Some(identity.clone());
    disk.write_raft(vec![crate::disk::Op::Map(std::rc::Rc::new(kept))], true);
    world.start_member(place, identity, Some(state));
    Ok(answer)
}

/// A blank node asks the cluster for an id, then becomes that member.
async fn join(world: &Shared, place: usize, request: JoinRequest) -> Result<JoinResponse, Status> {
    let question = {
        let mut world = world.borrow_mut();
        if let Some(member) = world.member(place) {
            return match member.identity.cluster_id == request.cluster_id {
                true => Ok(JoinResponse { node_id: member.identity.node_id }),
                false => Err(Status::failed_precondition("this node belongs to another cluster")),
            };
        }
        let uuid = world.places[place].disk.uuid.clone();
        let becoming = world.process_mut(place).map(|process| std::mem::replace(&mut process.becoming, true));
        if becoming != Some(false) {
            return Err(Status::unavailable("another Join is under way"));
        }
        JoinClusterRequest {
            cluster_id: request.cluster_id.clone(),
            uuid,
            name: name(place),
            addresses: Some(addresses(place)),
            domains: request.domains.clone(),
            feature_level: FEATURE_LEVEL,
            operator_token: request.operator_token,
        }
    };
    let asked = ask_cluster(world, place, &request.seeds, question).await;
    let mut world = world.borrow_mut();
    if let Some(process) = world.process_mut(place) {
        process.becoming = false;
    }
    let (node_id, map) = asked?;
    if world.member(place).is_none() {
        let uuid = world.places[place].disk.uuid.clone();
        let identity = Identity { format: 1, cluster_id: request.cluster_id, node_id, uuid };
        let disk = &mut world.places[place].disk;
        disk.identity = Some(identity.clone());
        disk.write_raft(vec![crate::disk::Op::Map(std::rc::Rc::new(map.clone()))], true);
        world.start_member(place, identity, None);
    }
    world.offer_map(place, map);
    Ok(JoinResponse { node_id })
}

async fn ask_cluster(
    world: &Shared,
    place: usize,
    seeds: &[String],
    question: JoinClusterRequest,
) -> Result<(u64, ClusterMap), Status> {
    let deadline = world.borrow().now + 10 * SECOND;
    let mut seeds = seeds.iter().filter_map(|seed| place_of_address(seed)).collect::<Vec<_>>().into_iter().cycle();
    let (mut leader, mut last) = (None, Status::unavailable("nobody was asked"));
    while world.borrow().now < deadline {
        let Some(to) = leader.take().or_else(|| seeds.next()) else { break };
        match call(world, (place, to), Call::Join(Box::new(question.clone())), 3 * SECOND).await {
            Ok(Reply::Join(answer)) => return Ok((answer.node_id, answer.map.unwrap_or_default())),
            Err(Failed::Refused(status)) if status.code == code::UNAVAILABLE => {
                (leader, last) = (status.leader, status);
            }
            Err(Failed::Refused(status)) if status.code != code::UNKNOWN => return Err(status),
            _ => {}
        }
        sleep(world, 50 * MS).await;
    }
    Err(last)
}
