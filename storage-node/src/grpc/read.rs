//! Reads of one key, and what every linearizable or stale read goes through (HAZARDS H16).

use std::time::{Duration, Instant};

use granary_common::{ShardId, slot_of};
use granary_machine::{View, kv, shard};
use granary_proto::{
    kv::{Consistency, Error, GetRequest, GetResponse, consistency},
    storage::ShardState,
};

use super::{errors, route};
use crate::{
    drivers::{ReadPass, StoreError, clock, remaining},
    member::Member,
};

/// How fresh a replica is, it learns from its leader's beats, of which there is one a second at rest. Behind a wake, the first may
/// bring the lease back and only the second tell by it.
const FRESH_AGAIN: Duration = Duration::from_millis(250);
/// Between two looks meanwhile.
const LOOK: Duration = Duration::from_millis(5);

/// The answer if this node leads the shard and its lease holds; never waits. `None` also for what must be refused: the
/// long way says why.
pub(super) fn get_at_once(member: &Member, request: &GetRequest) -> Option<GetResponse> {
    if stale_bound_ms(request.consistency.as_ref()).is_some() {
        return None;
    }
    kv::validate_get(request).ok()?;
    let shard = route::of_slot(&member.map.current(), slot_of(&request.key)).ok()?;
    let pass = member.store.read_by_lease(shard)?;
    let answer = get_by_lease(member, shard, &request.key).ok()?;
    pass.still_holds().then_some(answer)
}

/// Reads one key.
pub(super) async fn get(member: &Member, request: GetRequest, deadline: Instant) -> Result<GetResponse, Error> {
    kv::validate_get(&request)?;
    let shard = route::of_slot(&member.map.current(), slot_of(&request.key))?;
    if let Some(bound) = stale_bound_ms(request.consistency.as_ref()) {
        check_freshness(member, shard, bound, deadline).await?;
        // From a snapshot: no lease says that the replica is not replaced between the reads of two rows.
        return get_from(member, &member.data.snapshot(), shard, &request.key);
    }
    loop {
        let pass = pass(member, shard, deadline).await?;
        let answer = if pass.is_by_lease() {
            get_by_lease(member, shard, &request.key)
        } else {
            get_from(member, &member.data.snapshot(), shard, &request.key)
        };
        if pass.still_holds() {
            return answer;
        }
    }
}

/// The bound of a stale read; `None`: linearizable.
pub(super) fn stale_bound_ms(consistency: Option<&Consistency>) -> Option<u64> {
    match consistency.and_then(|consistency| consistency.kind.as_ref()) {
        Some(consistency::Kind::Stale(stale)) => Some(stale.max_staleness_ms),
        Some(consistency::Kind::Linearizable(_)) | None => None,
    }
}

/// Waits until a read here is linearizable.
pub(super) async fn pass(member: &Member, shard: ShardId, deadline: Instant) -> Result<ReadPass, Error> {
    let left = remaining(deadline);
    if left.is_zero() {
        return Err(errors::timeout(shard));
    }
    member.store.read(shard, left).await.map_err(|error| route::refusal(member, shard, error))
}

/// Whether the replica here is as fresh as asked; to be called before the rows are read. Where there is a leader, it wakes and
/// waits a moment for its word.
pub(super) async fn check_freshness(
    member: &Member,
    shard: ShardId,
    bound_ms: u64,
    deadline: Instant,
) -> Result<(), Error> {
    let too_stale = match is_fresh(member, shard, bound_ms) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    match member.store.published(shard).filter(|state| state.leader.is_some()) {
        Some(state) => member.store.wake(&state),
        None => return Err(too_stale),
    }
    let deadline = deadline.min(Instant::now() + FRESH_AGAIN);
    while Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
        if is_fresh(member, shard, bound_ms).is_ok() {
            return Ok(());
        }
    }
    Err(too_stale)
}

fn is_fresh(member: &Member, shard: ShardId, bound_ms: u64) -> Result<(), Error> {
    if member.store.read_by_lease(shard).is_some() {
        return Ok(());
    }
    if member.store.published(shard).is_none() {
        return Err(route::refusal(member, shard, StoreError::NoReplica));
    }
    let age_ms = match member.store.fresh_ns(shard) {
        0 => None,
        fresh => Some(clock::now_ns().saturating_sub(fresh).div_ceil(1_000_000)),
    };
    match age_ms {
        Some(age) if age <= bound_ms => Ok(()),
        _ => Err(errors::too_stale(shard, age_ms, bound_ms)),
    }
}

/// One row, without a look at the shard's state: only by a lease that still holds behind it, for else the replica may be
/// replaced in between.
fn get_by_lease(member: &Member, shard: ShardId, key: &[u8]) -> Result<GetResponse, Error> {
    let replica = member.drivers.applied.get(shard);
    let range = replica.ok_or_else(|| route::refusal(member, shard, StoreError::NoReplica))?.range;
    kv::get(&member.data.view(), range, key)
        .map_err(|error| errors::of_read(error, shard, member.map.current().version))
}

fn get_from(member: &Member, view: &impl View, id: ShardId, key: &[u8]) -> Result<GetResponse, Error> {
    let state = state(member, view, id)?;
    kv::get(view, shard::range(&state), key).map_err(|error| errors::of_read(error, id, member.map.current().version))
}

/// The state of the shard, which must be there.
pub(super) fn state(member: &Member, view: &impl View, id: ShardId) -> Result<ShardState, Error> {
    match shard::load(view, id) {
        Ok(Some(state)) => Ok(state),
        // A replica that waits for its snapshot, or one that was just destroyed.
        Ok(None) => Err(route::refusal(member, id, StoreError::NoReplica)),
        Err(error) => {
            tracing::error!(shard = %id, %error, "the state of the shard cannot be read");
            Err(errors::internal("the state of a shard on this node cannot be read; its log says why"))
        }
    }
}
