//! The data API: reads by lease or ReadIndex, writes through the log; as the node's `grpc` module does it.

use bytes::Bytes;
use futures::channel::oneshot;
use granary_common::{ShardId, slot_of};
use granary_duties::{
    lease::{Ground, ground, still_holds},
    map::shard_of_slot,
    states::Applied,
};
use granary_machine::{
    kv::{self, kv_error},
    shard,
};
use granary_proto::{
    kv::{
        CompareAndSetRequest, CompareAndSetResponse, DeleteRequest, DeleteResponse, Error, GetResponse, Hint,
        PutRequest, PutResponse, Reason,
    },
    storage::{Answer, Command},
};
use granary_store::Event;
use prost::Message as _;

use super::{StoreError, StoreReply};
use crate::world::{MS, SECOND, Shared, sleep, within};

/// A request of a client.
#[derive(Clone, Debug)]
pub enum KvRequest {
    /// A linearizable read.
    Get(Bytes),
    /// Sets a key.
    Put(PutRequest),
    /// Deletes a key.
    Delete(DeleteRequest),
    /// Changes a key if it is as expected.
    CompareAndSet(CompareAndSetRequest),
    /// A put that is meant for another shard than this: what a wrong map makes of it.
    Stray(ShardId, PutRequest),
}

/// Its answer.
#[derive(Clone, Debug)]
pub enum KvReply {
    /// To Get.
    Get(GetResponse),
    /// To Put.
    Put(PutResponse),
    /// To Delete.
    Delete(DeleteResponse),
    /// To CompareAndSet.
    CompareAndSet(CompareAndSetResponse),
    /// Why not.
    Error(Error),
}

/// Longest time for one request at a node.
const LIMIT: u64 = 2 * SECOND;

pub(super) async fn serve(world: &Shared, place: usize, request: KvRequest) -> KvReply {
    let done = match request {
        KvRequest::Get(key) => get(world, place, key).await.map(KvReply::Get),
        KvRequest::Put(request) => {
            let slot = slot_of(&request.key);
            let answer = write(world, place, slot, kv::put_command(request)).await;
            answer.and_then(|(shard, answer)| kv::put_response(shard, answer)).map(KvReply::Put)
        }
        KvRequest::Stray(shard, request) => match write_to(world, place, shard, kv::put_command(request)).await {
            Ok(answer) => {
                let refused = kv::put_response(shard, answer).map(|_| KvReply::Put(PutResponse::default()));
                let refused = refused.expect_err("a write that is not of the shard's range is not applied");
                assert_eq!(refused.reason(), Reason::WrongRange, "{refused:?}");
                world.borrow_mut().count("stray write refused");
                Err(refused)
            }
            Err(error) => Err(error),
        },
        KvRequest::Delete(request) => {
            let slot = slot_of(&request.key);
            let answer = write(world, place, slot, kv::delete_command(request)).await;
            answer.and_then(|(shard, answer)| kv::delete_response(shard, answer)).map(KvReply::Delete)
        }
        KvRequest::CompareAndSet(request) => {
            let slot = slot_of(request.expected.as_ref().map_or(&[], |guard| &guard.key));
            let answer = write(world, place, slot, kv::compare_and_set_command(request)).await;
            answer.and_then(|(shard, answer)| kv::compare_and_set_response(shard, answer)).map(KvReply::CompareAndSet)
        }
    };
    done.unwrap_or_else(KvReply::Error)
}

async fn write(
    world: &Shared,
    place: usize,
    slot: u16,
    command: Result<Command, kv::Invalid>,
) -> Result<(ShardId, Answer), Error> {
    let shard = of_slot(world, place, slot)?;
    write_to(world, place, shard, command).await.map(|answer| (shard, answer))
}

async fn write_to(
    world: &Shared,
    place: usize,
    shard: ShardId,
    command: Result<Command, kv::Invalid>,
) -> Result<Answer, Error> {
    let mut command = command?;
    command.leader_time_ms = world.borrow().unix_ms(place);
    match propose(world, place, shard, command.encode_to_vec().into(), LIMIT).await {
        Ok(Applied::Data(answer)) => Ok(answer),
        Ok(Applied::Meta(_)) => Err(kv_error(Reason::Internal, "a data shard answered as the meta shard")),
        Err(error) => Err(refusal(world, place, shard, &error)),
    }
}

fn of_slot(world: &Shared, place: usize, slot: u16) -> Result<ShardId, Error> {
    let world = world.borrow();
    let member = world.member(place);
    let shard = member.and_then(|member| shard_of_slot(&member.map, slot));
    let none = || kv_error(Reason::NotReady, "the data shards of this cluster are not created yet; try again later");
    shard.map(|shard| ShardId(shard.id)).ok_or_else(none)
}

fn refusal(world: &Shared, place: usize, shard: ShardId, error: &StoreError) -> Error {
    let world = world.borrow();
    let believed = world.member(place).and_then(|member| member.believed_leader(shard));
    let not_leader = |leader: Option<granary_common::NodeId>| {
        let hint = Hint { shard_id: shard.0, leader_node_id: leader.map_or(0, |leader| leader.0), ..Hint::default() };
        Error { hint: Some(hint), ..kv_error(Reason::NotLeader, "this node does not lead the shard") }
    };
    match error {
        StoreError::NotLeader(leader) => not_leader(leader.or(believed)),
        StoreError::NoReplica => not_leader(believed),
        StoreError::Busy => kv_error(Reason::Busy, "too much work in flight"),
        StoreError::Unknown => kv_error(Reason::OutcomeUnknown, "the outcome of the write is not known"),
        StoreError::Timeout => kv_error(Reason::Timeout, "the time limit passed"),
    }
}

/// Asks the store; `late` is what is answered when it does not in time.
async fn ask(
    world: &Shared,
    place: usize,
    limit: u64,
    late: StoreError,
    event: impl FnOnce(u64) -> Event,
) -> StoreReply {
    let answer = {
        let mut world = world.borrow_mut();
        let Some(member) = world.member_mut(place) else { return Err(StoreError::NoReplica) };
        member.next_ticket += 1;
        let ticket = member.next_ticket;
        let (waiter, answer) = oneshot::channel();
        member.waiters.insert(ticket, waiter);
        world.event(place, event(ticket));
        answer
    };
    match within(world, limit, answer).await {
        Some(Ok(reply)) => reply,
        Some(Err(_)) | None => Err(late),
    }
}

/// Appends a command and waits until it is applied here.
pub(super) async fn propose(
    world: &Shared,
    place: usize,
    shard: ShardId,
    data: Bytes,
    limit: u64,
) -> Result<Applied, StoreError> {
    let propose = |ticket| Event::Propose { shard, ticket, data };
    ask(world, place, limit, StoreError::Unknown, propose).await?.ok_or(StoreError::Unknown)
}

/// Waits until a read of the applied state here is linearizable.
pub(super) async fn pass(world: &Shared, place: usize, shard: ShardId, limit: u64) -> Result<Ground, StoreError> {
    {
        let mut world = world.borrow_mut();
        let now = world.boot_ns(place);
        let Some(member) = world.member(place) else { return Err(StoreError::NoReplica) };
        if let Some(ground) = ground(member.lease(shard), now) {
            world.checks.lease_reads += 1;
            return Ok(ground);
        }
        match member.board.get(&shard) {
            None => return Err(StoreError::NoReplica),
            Some(state) if state.role != granary_store::Role::Leader => {
                return Err(StoreError::NotLeader(state.leader));
            }
            Some(_) => {}
        }
    }
    ask(world, place, limit, StoreError::Timeout, |ticket| Event::Read { shard, ticket }).await?;
    world.borrow_mut().checks.index_reads += 1;
    Ok(Ground::ReadIndex)
}

/// Asked behind the read.
pub(super) fn holds(world: &Shared, place: usize, shard: ShardId, on: Ground) -> bool {
    let world = world.borrow();
    let now = world.boot_ns(place);
    world.member(place).is_some_and(|member| still_holds(on, member.lease(shard), now))
}

async fn get(world: &Shared, place: usize, key: Bytes) -> Result<GetResponse, Error> {
    let shard = of_slot(world, place, slot_of(&key))?;
    loop {
        let on = pass(world, place, shard, LIMIT).await.map_err(|error| refusal(world, place, shard, &error))?;
        let answer = match on {
            Ground::Lease(_) => read_by_lease(world, place, shard, &key).await,
            Ground::ReadIndex => read(world, place, shard, &key),
        };
        hesitate(world, place).await;
        if holds(world, place, shard, on) {
            return answer;
        }
        world.borrow_mut().count("read whose lease ran out");
    }
}

/// A thread may be put aside between any two steps, alone or with its whole process.
async fn hesitate(world: &Shared, place: usize) {
    let wait = {
        let mut world = world.borrow_mut();
        let pauses = world.pauses_in_reads;
        let pauses = world.stormy && world.rng.hits(pauses);
        let aside = pauses && world.rng.hits(700_000);
        if aside {
            world.count("thread put aside in a read");
        } else if pauses {
            let length = world.rng.between(300, 3_000) * MS;
            world.count("pause in a read");
            world.pause(place, length);
        }
        if aside {
            // Not longer than a patient client waits.
            Some(world.rng.between(50, 4_500) * MS)
        } else {
            world.rng.hits(50_000).then(|| world.rng.between(0, MS))
        }
    };
    if let Some(wait) = wait {
        sleep(world, wait).await;
    } else {
        let paused = {
            let world = world.borrow();
            world.now < world.places[place].paused_until
        };
        if paused {
            sleep(world, 0).await;
        }
    }
}

/// The rows as they are at the moment, and the range as it was: only the lease says that the replica was not replaced.
async fn read_by_lease(world: &Shared, place: usize, id: ShardId, key: &[u8]) -> Result<GetResponse, Error> {
    hesitate(world, place).await;
    let range = {
        let world = world.borrow();
        let replica = world.member(place).and_then(|member| member.states.get(id));
        replica.map(|replica| shard::range(&replica.state))
    };
    let range = range.ok_or_else(|| refusal(world, place, id, &StoreError::NoReplica))?;
    hesitate(world, place).await;
    let world = world.borrow();
    kv::get(world.places[place].disk.data.view(), range, key)
        .map_err(|error| kv_error(Reason::Internal, error.to_string()))
}

/// All of it at one moment, as from a snapshot.
fn read(world: &Shared, place: usize, id: ShardId, key: &[u8]) -> Result<GetResponse, Error> {
    let no_replica = || refusal(world, place, id, &StoreError::NoReplica);
    let state = shard::load(world.borrow().places[place].disk.data.view(), id).ok().flatten().ok_or_else(no_replica)?;
    let world = world.borrow();
    kv::get(world.places[place].disk.data.view(), shard::range(&state), key)
        .map_err(|error| kv_error(Reason::Internal, error.to_string()))
}
