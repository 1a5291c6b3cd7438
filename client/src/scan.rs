//! Walks rows page by page: shard after shard, or all shards at once when key order is asked across them.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use granary_common::limits::{DEFAULT_PAGE_ROWS, MAX_PAGE_ROWS};
use granary_proto::kv::{
    Consistency, Row, ScanCursor, ScanOrder, ScanRequest, ScanResponse, Stale, consistency, pipe_request::Request,
    pipe_response::Response,
};

use crate::{
    Error, Result,
    call::{Core, Kind, call},
};

/// Which rows, in which order. Consistent page by page; nothing is promised across pages.
#[derive(Clone, Debug)]
pub struct Scan {
    /// First key.
    pub start: Bytes,
    /// One behind the last key; empty for no bound.
    pub end: Bytes,
    /// Only keys with this tag, when not empty.
    pub tag: Bytes,
    /// Leaves the values out.
    pub keys_only: bool,
    /// In which order.
    pub order: Order,
    /// Any replica may answer that is at most this old (1 ms to 1 day); unset: the leader.
    pub max_staleness: Option<Duration>,
    /// Rows a page, 1 to 10,000.
    pub page_rows: u32,
}

/// The order of a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By slot, then by key: cheap. Within one tag it is key order.
    #[default]
    Slot,
    /// By key over all shards. Costs a seek a slot for each page, and holds one page of each shard in memory.
    Key,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            start: Bytes::new(),
            end: Bytes::new(),
            tag: Bytes::new(),
            keys_only: false,
            order: Order::Slot,
            max_staleness: None,
            page_rows: DEFAULT_PAGE_ROWS,
        }
    }
}

impl Scan {
    /// Keys that start with `prefix`.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start = prefix.into();
        Self { end: behind_prefix(&start), start, ..Self::default() }
    }
}

/// The smallest key that is larger than all with this prefix; empty when there is none.
fn behind_prefix(prefix: &[u8]) -> Bytes {
    let kept = prefix.iter().rposition(|&byte| byte != u8::MAX).map_or(0, |last| last + 1);
    let mut end = prefix[..kept].to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

/// The rows of `shards` (ids, in order of their slots).
pub(crate) fn rows(
    core: Arc<Core>,
    shards: Vec<u32>,
    scan: Scan,
    timeout: Duration,
) -> impl Stream<Item = Result<Row>> + Send {
    let merged = scan.order == Order::Key && shards.len() > 1;
    let of_shard = move |shard_id| shard_rows(core.clone(), shard_id, scan.clone(), timeout);
    match merged {
        true => merge(shards.into_iter().map(of_shard).collect()).boxed(),
        false => stream::iter(shards).flat_map(of_shard).boxed(),
    }
}

type Rows = stream::BoxStream<'static, Result<Row>>;

/// The rows of one shard, page after page.
fn shard_rows(core: Arc<Core>, shard_id: u32, scan: Scan, timeout: Duration) -> Rows {
    let first = Some(None);
    stream::try_unfold(first, move |cursor: Option<Option<ScanCursor>>| {
        let (core, scan) = (core.clone(), scan.clone());
        async move {
            let Some(cursor) = cursor else { return Ok(None) };
            let page = page(&core, shard_id, &scan, cursor, timeout).await?;
            let rows = stream::iter(page.rows.into_iter().map(Ok));
            Ok::<_, Error>(Some((rows, page.next.map(Some))))
        }
    })
    .try_flatten()
    .boxed()
}

async fn page(
    core: &Core,
    shard_id: u32,
    scan: &Scan,
    cursor: Option<ScanCursor>,
    timeout: Duration,
) -> Result<ScanResponse> {
    let consistency = scan.max_staleness.map(stale);
    let kind = if consistency.is_some() { Kind::StaleRead } else { Kind::Read };
    let request = ScanRequest {
        start: scan.start.clone(),
        end: scan.end.clone(),
        shard_id,
        tag: scan.tag.clone(),
        cursor,
        page_rows: scan.page_rows.clamp(1, MAX_PAGE_ROWS),
        keys_only: scan.keys_only,
        order: match scan.order {
            Order::Slot => ScanOrder::Slot,
            Order::Key => ScanOrder::Key,
        }
        .into(),
        consistency,
        routing: None,
    };
    match call(core, shard_id, kind, Request::Scan(request), timeout).await? {
        Response::Scan(page) => Ok(page),
        _ => Err(Error::Internal { message: "a scan was answered with something else".to_owned() }),
    }
}

/// A stale read's consistency; the bound is moved into its range.
pub(crate) fn stale(max_staleness: Duration) -> Consistency {
    let ms = u64::try_from(max_staleness.as_millis()).unwrap_or(u64::MAX);
    let stale = Stale { max_staleness_ms: ms.clamp(1, 86_400_000) };
    Consistency { kind: Some(consistency::Kind::Stale(stale)) }
}

/// Merges streams that are each in key order.
fn merge(mut streams: Vec<Rows>) -> impl Stream<Item = Result<Row>> + Send {
    let started = async move {
        let firsts = futures::future::join_all(streams.iter_mut().map(Rows::try_next)).await;
        let mut heads = BinaryHeap::new();
        for (source, first) in firsts.into_iter().enumerate() {
            if let Some(row) = first? {
                heads.push(Reverse(Head { row, source }));
            }
        }
        let rows = stream::try_unfold((streams, heads), |(mut streams, mut heads)| async move {
            let Some(Reverse(Head { row, source })) = heads.pop() else { return Ok(None) };
            if let Some(next) = streams[source].try_next().await? {
                heads.push(Reverse(Head { row: next, source }));
            }
            Ok::<_, Error>(Some((row, (streams, heads))))
        });
        Ok::<_, Error>(rows)
    };
    stream::once(started).try_flatten()
}

/// The next row of one stream. A key is in one shard only, so keys alone give the order.
struct Head {
    row: Row,
    source: usize,
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.row.key == other.row.key
    }
}
impl Eq for Head {}
impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.row.key.cmp(&other.row.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_behind_all_its_keys_and_before_the_next() {
        for (prefix, end) in [(&b"a"[..], &b"b"[..]), (b"a\xff", b"b"), (b"\xff\xff", b""), (b"", b""), (b"az", b"a{")]
        {
            assert_eq!(behind_prefix(prefix), end, "{prefix:?}");
        }
    }
}
