//! Scans walk pages and shards.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::TryStreamExt as _;
use granary_client::{Options, Order, Scan};
use granary_common::{SlotRange, slot_of};
use granary_proto::kv::{
    PipeRequest, Row, ScanCursor, ScanOrder, ScanResponse, pipe_request::Request as Asked,
    pipe_response::Response as Answer,
};

use crate::fake::{Cluster, Reply, busy};

const SHARDS: u32 = 8;

/// Keys in the order of a scan: slot and key, or key alone.
type Place = (u16, Bytes);

fn place(key: &Bytes, order: ScanOrder) -> Place {
    (if order == ScanOrder::Slot { slot_of(key) } else { 0 }, key.clone())
}

/// A page as a shard answers it.
fn page(keys: &[Bytes], request: &PipeRequest) -> Answer {
    let Some(Asked::Scan(scan)) = &request.request else { panic!("{request:?}") };
    let range = SlotRange::of_shard(scan.shard_id - 1, SHARDS);
    let in_bounds =
        |key: &&Bytes| range.contains(slot_of(key)) && **key >= scan.start && (scan.end.is_empty() || **key < scan.end);
    let sorted: BTreeMap<Place, Bytes> =
        keys.iter().filter(in_bounds).map(|key| (place(key, scan.order()), key.clone())).collect();
    let behind = scan.cursor.as_ref().map(|cursor| place(&cursor.key, scan.order()));
    let mut rest = sorted.into_iter().filter(|(place, _)| behind.as_ref().is_none_or(|behind| place > behind));
    let rows: Vec<_> = rest
        .by_ref()
        .take(scan.page_rows as usize)
        .map(|(_, key)| Row { value: key.clone(), key, revision: 1 })
        .collect();
    let last = rows.last().map(|row| ScanCursor { slot: slot_of(&row.key).into(), key: row.key.clone() });
    let next = if rest.next().is_some() { last } else { None };
    Answer::Scan(ScanResponse { rows, next, shard_id: scan.shard_id, applied_index: 1 })
}

async fn scanned(keys: &[Bytes], scan: Scan) -> Vec<Bytes> {
    let cluster = Cluster::start(1, SHARDS).await;
    let (keys, mut requests) = (keys.to_vec(), 0);
    cluster.nodes[0].script(move |request| {
        requests += 1;
        Reply::With(if requests % 7 == 0 { busy(1) } else { page(&keys, request) })
    });
    let client = cluster.client(Options::default()).await;
    let rows: Vec<Row> = client.scan(scan).try_collect().await.unwrap();
    rows.into_iter().map(|row| row.key).collect()
}

fn keys() -> Vec<Bytes> {
    (0..300).map(|n| Bytes::from(format!("k{n:03}"))).collect()
}

#[tokio::test]
async fn in_slot_order_every_row_comes_once_over_many_pages() {
    let found = scanned(&keys(), Scan { page_rows: 7, ..Scan::default() }).await;
    let mut expected = keys();
    expected.sort_by_key(|key| place(key, ScanOrder::Slot));
    assert_eq!(found, expected);
}

#[tokio::test]
async fn in_key_order_the_shards_are_merged() {
    let found = scanned(&keys(), Scan { page_rows: 7, order: Order::Key, ..Scan::default() }).await;
    assert_eq!(found, keys());
}

#[tokio::test]
async fn a_prefix_bounds_the_rows() {
    let found = scanned(&keys(), Scan { order: Order::Key, ..Scan::prefix("k12") }).await;
    assert_eq!(found, keys()[120..130].to_vec());
}

#[tokio::test]
async fn an_empty_cluster_has_no_rows() {
    assert!(scanned(&[], Scan::default()).await.is_empty());
    assert!(scanned(&[], Scan { order: Order::Key, ..Scan::default() }).await.is_empty());
}
