//! Keys that are written over and deleted again and again: what they take stays what it was.
//!
//! `GRANARY_SOAK_KEYS` (20,000) and `GRANARY_SOAK_ROUNDS` (6) make it longer; a million keys are for a run by hand.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use granary_client::{Client, Scan, Write};
use granary_tests::{
    cluster::{Cluster, Shape},
    resources::{disk_bytes, resident_bytes},
};

const SHAPE: Shape = Shape { nodes: 3, factor: 3, shards: 4 };
const MIB: u64 = 1 << 20;
/// Writes of one batch.
const BATCH: u64 = 1000;
/// Single puts whose time is taken behind each round.
const TIMED: u64 = 200;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// Every tenth key is deleted in each round, another tenth in each.
fn is_deleted(key: u64, round: u64) -> bool {
    key % 10 == round % 10
}

fn name(key: u64) -> String {
    format!("soak/{key:09}")
}

fn value(key: u64, round: u64) -> Bytes {
    let mut value = vec![key as u8; 200];
    value[..8].copy_from_slice(&key.to_le_bytes());
    value[8..16].copy_from_slice(&round.to_le_bytes());
    value.into()
}

async fn write_all(client: &Client, keys: u64, round: u64) {
    let of = |key| {
        if is_deleted(key, round) { Write::delete(name(key)) } else { Write::put(name(key), value(key, round)) }
    };
    let batch = |first| async move {
        let writes = (first..keys.min(first + BATCH)).map(of).collect();
        for part in client.batch(writes).await.unwrap() {
            part.result.unwrap();
        }
    };
    futures::stream::iter((0..keys).step_by(BATCH as usize)).for_each_concurrent(4, batch).await;
}

/// Every row is there once, with its value of this round.
async fn check_all(client: &Client, keys: u64, round: u64) {
    let rows = client.scan(Scan { page_rows: 5_000, ..Scan::prefix("soak/") });
    let check = |mut seen: Vec<bool>, row: granary_client::Row| {
        let key: u64 = std::str::from_utf8(&row.key[5..]).unwrap().parse().unwrap();
        assert!(!is_deleted(key, round) && !std::mem::replace(&mut seen[key as usize], true), "{row:?}");
        assert_eq!(row.value, value(key, round), "key {key}");
        std::future::ready(Ok(seen))
    };
    let seen = rows.try_fold(vec![false; keys as usize], check).await.unwrap();
    let lost = (0..keys).find(|key| !seen[*key as usize] && !is_deleted(*key, round));
    assert_eq!(lost, None, "a key is gone");
}

/// The median and the 99th percentile of single puts.
async fn time_of_puts(client: &Client) -> [Duration; 2] {
    let mut times = Vec::new();
    for number in 0..TIMED {
        let began = Instant::now();
        client.put(format!("timed/{}", number % 16), value(number, 0)).await.unwrap();
        times.push(began.elapsed());
    }
    times.sort();
    [times[times.len() / 2], times[times.len() * 99 / 100]]
}

/// Bytes of memory and of disk of the node that takes most.
fn taken(cluster: &Cluster) -> (u64, u64) {
    let nodes = cluster.nodes.iter();
    let memory = nodes.clone().map(|node| resident_bytes(node.pid().unwrap()).unwrap());
    let disk = nodes.map(|node| disk_bytes(&node.dir).unwrap());
    (memory.max().unwrap(), disk.max().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_written_over_and_deleted_again_and_again_take_no_more_memory_or_disk() {
    let (keys, rounds) = (number("GRANARY_SOAK_KEYS", 20_000), number("GRANARY_SOAK_ROUNDS", 6).max(4));
    let cluster = Cluster::found(SHAPE).await.unwrap();
    let client = cluster.client().await.unwrap();
    let mut sizes = Vec::new();
    for round in 1..=rounds {
        let began = Instant::now();
        write_all(&client, keys, round).await;
        let wrote = began.elapsed();
        check_all(&client, keys, round).await;
        let (read, [median, slow]) = (began.elapsed() - wrote, time_of_puts(&client).await);
        let (memory, disk) = taken(&cluster);
        println!(
            "round {round}: {keys} keys written in {wrote:.1?}, read in {read:.1?}; a put takes {median:.1?}, p99 \
             {slow:.1?}; {} MiB of memory, {} MiB of disk",
            memory / MIB,
            disk / MIB,
        );
        sizes.push((memory, disk));
    }
    cluster.replicas_are_equal().await.unwrap();
    let (early, late) = sizes.split_at(sizes.len() / 2);
    let most = |sizes: &[(u64, u64)], of: fn(&(u64, u64)) -> u64| sizes.iter().map(of).max().unwrap();
    for (what, of) in [("memory", (|size| size.0) as fn(&(u64, u64)) -> u64), ("disk", |size| size.1)] {
        let (before, after) = (most(early, of), most(late, of));
        // The stores' memtables and logs fill up once: 64 MiB each.
        assert!(after < before * 5 / 4 + 128 * MIB, "{what}: {} MiB, then {} MiB", before / MIB, after / MIB);
    }
}
