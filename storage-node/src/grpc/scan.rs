//! Pages of scans, and the walk from shard to shard.

use std::{sync::Arc, time::Instant};

use granary_common::{SLOTS, ShardId};
use granary_machine::kv;
use granary_proto::{
    kv::{Error, Reason, ScanCursor, ScanRequest, ScanResponse, pipe_request::Request, pipe_response::Response},
    map::ClusterMap,
};

use super::{errors, forward, read, route};
use crate::member::Member;

/// One page. Without a shard and a tag, the walk goes on at the shard that owns the cursor's slot.
pub(super) async fn page(
    member: &Arc<Member>,
    mut request: ScanRequest,
    deadline: Instant,
) -> Result<ScanResponse, Error> {
    let map = member.map.current();
    let place = place(&map, &request)?;
    if place.from_its_start {
        request.cursor = None;
    }
    kv::validate_scan(&request)?;
    let request = Arc::new(request);
    let mut page = match page_here(member, place.shard, &request, deadline).await {
        Err(error) if error.reason() == Reason::NotLeader && request.routing.is_some_and(|routing| routing.forward) => {
            page_of_leader(member, place.shard, &request, error, deadline).await?
        }
        page => page?,
    };
    if page.next.is_none() {
        page.next = place.behind;
    }
    Ok(page)
}

async fn page_here(
    member: &Arc<Member>,
    shard: ShardId,
    request: &Arc<ScanRequest>,
    deadline: Instant,
) -> Result<ScanResponse, Error> {
    if let Some(bound) = read::stale_bound_ms(request.consistency.as_ref()) {
        read::check_freshness(member, shard, bound, deadline).await?;
        return read_page(member, shard, request).await;
    }
    loop {
        let pass = read::pass(member, shard, deadline).await?;
        let page = read_page(member, shard, request).await;
        if pass.still_holds() {
            return page;
        }
    }
}

/// Asks the leader for a page of this shard alone, since the walk over shards is this node's.
async fn page_of_leader(
    member: &Arc<Member>,
    shard: ShardId,
    request: &ScanRequest,
    refusal: Error,
    deadline: Instant,
) -> Result<ScanResponse, Error> {
    let request = ScanRequest { shard_id: shard.0, routing: None, ..request.clone() };
    match forward::to_leader(member, Request::Scan(request), refusal, deadline).await? {
        Response::Scan(page) => Ok(page),
        _ => Err(errors::internal("a leader answered another question")),
    }
}

/// Where a page is read.
#[derive(Debug, PartialEq)]
struct Place {
    shard: ShardId,
    /// The cursor only says which shard.
    from_its_start: bool,
    /// Cursor to the next shard, for a walk over all of them.
    behind: Option<ScanCursor>,
}

fn place(map: &ClusterMap, request: &ScanRequest) -> Result<Place, Error> {
    let here = |shard| Ok(Place { shard, from_its_start: false, behind: None });
    if request.shard_id != 0 {
        return here(ShardId(route::named(map, request.shard_id)?.id));
    }
    if !request.tag.is_empty() {
        return here(route::of_slot(map, kv::tag_slot(&request.tag))?);
    }
    // An empty key stands for the start of a shard: it is before every key.
    let (slot, from_its_start) = request.cursor.as_ref().map_or((0, false), |at| (at.slot, at.key.is_empty()));
    let slot = u16::try_from(slot).ok().filter(|slot| *slot < SLOTS);
    let slot = slot.ok_or_else(|| errors::invalid("cursor.slot", format!("is not from 0 to {}", SLOTS - 1)))?;
    let shard = route::of_slot(map, slot)?;
    let end = route::named(map, shard.0)?.range.map_or(u32::from(SLOTS), |range| range.end);
    let behind = (end < u32::from(SLOTS)).then(|| ScanCursor { slot: end, key: bytes::Bytes::new() });
    Ok(Place { shard, from_its_start, behind })
}

/// Reads on a thread that may wait for the disk: a page is up to 10,000 rows and, in key order, a seek a slot.
async fn read_page(member: &Arc<Member>, shard: ShardId, request: &Arc<ScanRequest>) -> Result<ScanResponse, Error> {
    let (member, request) = (member.clone(), request.clone());
    let read = tokio::task::spawn_blocking(move || {
        let view = member.data.snapshot();
        let state = read::state(&member, &view, shard)?;
        kv::scan_page(&view, &state, &request)
            .map_err(|error| errors::of_read(error, shard, member.map.current().version))
    });
    read.await.unwrap_or_else(|_| Err(errors::not_ready("the node is stopping; ask another node")))
}

#[cfg(test)]
mod tests {
    use granary_proto::map::{Shard, SlotRange};

    use super::*;

    fn map() -> ClusterMap {
        let shard = |id, start, end| Shard { id, range: Some(SlotRange { start, end }), ..Default::default() };
        let shards = vec![shard(0, 0, 0), shard(1, 0, 8192), shard(2, 8192, 16384)];
        ClusterMap { version: 1, shard_count: 2, shards, ..Default::default() }
    }

    fn cursor(slot: u32, key: &'static str) -> Option<ScanCursor> {
        Some(ScanCursor { slot, key: key.into() })
    }

    #[test]
    fn a_walk_over_all_shards_goes_on_behind_the_last_row_and_then_at_the_next_shard() {
        let at = |cursor| place(&map(), &ScanRequest { cursor, ..Default::default() }).unwrap();
        let next = cursor(8192, "");
        assert_eq!(at(None), Place { shard: ShardId(1), from_its_start: false, behind: next.clone() });
        assert_eq!(at(cursor(8191, "k")), Place { shard: ShardId(1), from_its_start: false, behind: next.clone() });
        assert_eq!(at(next), Place { shard: ShardId(2), from_its_start: true, behind: None });
    }

    #[test]
    fn a_scan_of_one_shard_or_tag_ends_there() {
        let one = ScanRequest { shard_id: 1, ..Default::default() };
        assert_eq!(place(&map(), &one).unwrap(), Place { shard: ShardId(1), from_its_start: false, behind: None });
        let tag = ScanRequest { tag: "foo".into(), ..Default::default() };
        assert_eq!(place(&map(), &tag).unwrap().behind, None);
    }

    #[test]
    fn a_shard_that_is_not_there_is_refused_by_name() {
        let error = place(&map(), &ScanRequest { shard_id: 3, ..Default::default() }).unwrap_err();
        assert_eq!(error.field, "shard_id");
        let error = place(&map(), &ScanRequest { cursor: cursor(16384, "k"), ..Default::default() }).unwrap_err();
        assert_eq!(error.field, "cursor.slot");
    }
}
