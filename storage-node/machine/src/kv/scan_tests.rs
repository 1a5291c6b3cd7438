use granary_common::{SlotRange, slot_of};
use granary_proto::kv::{ScanOrder, ScanRequest, ScanResponse};

use super::fixture::*;
use crate::kv::{self, ReadError};

fn filled(keys: impl IntoIterator<Item = String>) -> Shard {
    let mut shard = Shard::new(SlotRange::ALL);
    let writes = keys.into_iter().map(|key| put_write(&key, &format!("value of {key}"))).collect();
    shard.apply(batch(writes));
    shard
}

fn pages(shard: &Shard, mut request: ScanRequest) -> Vec<ScanResponse> {
    let mut pages = Vec::new();
    loop {
        let page = kv::scan_page(&shard.stored, &shard.state, &request).unwrap();
        request.cursor = page.next.clone();
        pages.push(page);
        if request.cursor.is_none() {
            return pages;
        }
    }
}

fn keys(pages: &[ScanResponse]) -> Vec<String> {
    pages.iter().flat_map(|page| &page.rows).map(|row| String::from_utf8(row.key.to_vec()).unwrap()).collect()
}

#[test]
fn pages_give_every_key_once_in_slot_order_or_in_key_order() {
    let all: Vec<String> = (0..100).map(|n| format!("key{n:03}")).collect();
    let shard = filled(all.clone());
    let mut by_slot = all.clone();
    by_slot.sort_by_key(|key| (slot_of(key.as_bytes()), key.clone()));
    for (order, expected) in [(ScanOrder::Slot, by_slot), (ScanOrder::Key, all)] {
        for page_rows in [1, 7, 50, 99, 100, 101] {
            let request = ScanRequest { page_rows, order: order.into(), ..Default::default() };
            let pages = pages(&shard, request);
            assert_eq!(keys(&pages), expected, "{order:?}, {page_rows} rows a page");
            assert_eq!(pages.len(), 100usize.div_ceil(page_rows as usize), "no page is empty");
            assert!(pages.iter().all(|page| page.applied_index == shard.state.applied_index && page.shard_id == 1));
        }
    }
}

#[test]
fn bounds_hold_in_every_slot() {
    let shard = filled((0..100).map(|n| format!("key{n:03}")));
    for order in [ScanOrder::Slot, ScanOrder::Key] {
        let request = ScanRequest {
            start: bytes("key010"),
            end: bytes("key020"),
            page_rows: 3,
            order: order.into(),
            ..Default::default()
        };
        let mut found = keys(&pages(&shard, request));
        found.sort();
        assert_eq!(found, (10..20).map(|n| format!("key{n:03}")).collect::<Vec<_>>());
    }
}

#[test]
fn a_tag_gives_its_own_keys_only_in_key_order() {
    let other =
        (0..).map(|n: u32| format!("t{n}")).find(|tag| kv::tag_slot(tag.as_bytes()) == kv::tag_slot(b"x")).unwrap();
    let foreign = (0..5).map(|n| format!("{{{other}}}{n}"));
    let shard = filled((0..5).map(|n| format!("{{x}}{n}")).chain(foreign).chain(["y".into()]));
    for order in [ScanOrder::Slot, ScanOrder::Key] {
        let request = ScanRequest { tag: bytes("x"), page_rows: 2, order: order.into(), ..Default::default() };
        assert_eq!(keys(&pages(&shard, request)), (0..5).map(|n| format!("{{x}}{n}")).collect::<Vec<_>>());
    }
}

#[test]
fn a_page_ends_behind_the_row_that_reaches_4_mib() {
    let mut shard = Shard::new(SlotRange::ALL);
    let large = "v".repeat(3 * 1024 * 1024);
    for n in 0..5 {
        shard.apply(put(&format!("{{t}}{n}"), &large));
    }
    for order in [ScanOrder::Slot, ScanOrder::Key] {
        let request = ScanRequest { order: order.into(), ..Default::default() };
        let rows: Vec<usize> = pages(&shard, request.clone()).iter().map(|page| page.rows.len()).collect();
        assert_eq!(rows, vec![2, 2, 1]);
        let keys_only = pages(&shard, ScanRequest { keys_only: true, ..request });
        assert_eq!(keys_only.len(), 1);
        assert!(keys_only[0].rows.iter().all(|row| row.value.is_empty() && row.revision > 0));
    }
}

#[test]
fn reads_outside_the_range_are_refused() {
    let shard = Shard::new(SlotRange { start: 0, end: 10 });
    let slot = slot_of(b"foo");
    let request = ScanRequest { tag: bytes("foo"), ..Default::default() };
    let scanned = kv::scan_page(&shard.stored, &shard.state, &request);
    assert!(matches!(scanned, Err(ReadError::WrongRange { slot: found, .. }) if found == slot));
    let got = kv::get(&shard.stored, crate::shard::range(&shard.state), b"foo");
    assert!(matches!(got, Err(ReadError::WrongRange { slot: found, .. }) if found == slot));
}

#[test]
fn a_cursor_before_the_range_starts_at_its_first_slot() {
    let mut shard = filled((0..100).map(|n| format!("key{n:03}")));
    let half = SlotRange::of_shard(1, 2);
    shard.state.range = Some(granary_proto::map::SlotRange { start: half.start.into(), end: half.end.into() });
    let cursor = granary_proto::kv::ScanCursor { slot: 5, key: bytes("key999") };
    let request = ScanRequest { cursor: Some(cursor), ..Default::default() };
    let found = keys(&pages(&shard, request));
    let expected = (0..100).filter(|n| half.contains(slot_of(format!("key{n:03}").as_bytes()))).count();
    assert_eq!(found.len(), expected);
}
