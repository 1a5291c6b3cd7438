//! Tables that cannot be read, and bits that flip under a running node (HAZARDS H21): nothing wrong is served, the
//! node says so, and has the rows again from the others.

use std::time::{Duration, Instant};

use bytes::Bytes;
use granary_client::{Client, Write};
use granary_common::SlotRange;
use granary_powercut::{Damage, DamageKind, Effect, Errno, Fault, Glob, Operation, Options, Tear};
use granary_tests::{cluster::Shape, node::LIMIT, wait::until, writer::tag_in};
use serde_json::json;

use crate::{
    powered::{Powered, rest},
    report,
    run::Run,
};

const SHAPE: Shape = Shape { nodes: 3, factor: 3, shards: 2 };
/// So that some MiB make tables.
const DISK: u64 = 300 << 20;
/// A cold cache, and a scrub that begins at once.
const ENV: [(&str, &str); 2] = [("GRANARY_BLOCK_CACHE_MIB", "8"), ("GRANARY_SCRUB_INTERVAL_SECONDS", "2")];
const VALUES: usize = 320;
const VALUE: usize = 64 << 10;

fn key(number: usize) -> String {
    let tag = tag_in(SlotRange::of_shard(number as u32 % SHAPE.shards, SHAPE.shards));
    format!("table/{{{tag}}}/{number}")
}

fn value(number: usize) -> Bytes {
    Bytes::from((0..VALUE).map(|place| (number * 31 + place / 7) as u8).collect::<Vec<u8>>())
}

/// A cluster whose tables hold 20 MiB of known values.
async fn filled(run: &Run) -> (Powered, Client) {
    let options = Options { capacity: Some(DISK), seed: run.seed, ..Options::default() };
    let mut powered = Powered::founded(SHAPE, 0, &options, &ENV).await;
    let client = powered.cluster.client().await.unwrap();
    for number in 0..VALUES {
        client.batch(vec![Write::put(key(number), value(number))]).await.unwrap().remove(0).result.unwrap();
    }
    // A start writes what was in memory to tables, and nothing of them is in a cache. What is applied is synced every
    // second.
    for _ in 0..2 {
        rest(1_500).await;
        powered.cut_and_start_all(Tear::Mixed, run.seed);
        powered.cluster.whole().await.unwrap();
    }
    (powered, client)
}

/// Reads every value until all are there; none may be another than was written.
async fn all_are_right(client: &Client) {
    for number in 0..VALUES {
        let what = format!("{} is read", key(number));
        let found = until(&what, LIMIT, || async { client.get(key(number)).await.map_err(|error| error.to_string()) });
        assert_eq!(found.await.unwrap().expect("it is there").value, value(number), "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_read_its_tables_serves_nothing_wrong_and_mends_itself() {
    let Some(run) = Run::begin() else { return };
    let (mut powered, client) = filled(&run).await;
    let leader = powered.cluster.leader(1).await.unwrap();
    let victim = powered.cluster.place(leader).await.unwrap();
    powered.disk(victim).forget_caches().unwrap();
    let began = Instant::now();
    let fault = Fault::new(&[Operation::Read], Effect::Fail(Errno::IO)).on("**/data/*.sst").times(3);
    let fault = powered.disk(victim).inject(fault);
    all_are_right(&client).await;
    let ended = powered.cluster.nodes[victim].ended().await.unwrap();
    let detected = began.elapsed();
    assert!(matches!(ended.code(), Some(74 | 75)), "{ended} {}", powered.cluster.nodes[victim].log());
    let hit = powered.disk(victim).withdraw(fault);
    powered.cluster.nodes[victim].start().unwrap();
    powered.whole_again().await;
    let repaired = began.elapsed();
    all_are_right(&client).await;
    powered.equal_again().await;
    report::note(run.name(), figures(&run, hit, detected, repaired));
    assert!(hit > 0, "nothing was injected");
}

/// Flips a bit where rows are: a table of them is larger than this, and begins with them. What lies behind them (filters,
/// properties) may be of no use to anybody.
fn flip_in_rows(powered: &Powered, victim: usize) -> Result<Damage, String> {
    let tables = Glob::new("**/data/*.sst");
    for seed in 0..100 {
        let flip = || powered.disk(victim).flip(&tables, seed).map_err(|error| error.to_string());
        let damage = flip()?;
        if matches!(damage.kind, DamageKind::Flip { offset, .. } if offset >= 16 << 10) {
            return Ok(damage);
        }
        // The same choice again takes it back.
        flip()?;
    }
    Err("no table is large".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bit_that_flips_in_a_table_is_found_never_served_and_repaired_from_the_others() {
    let Some(run) = Run::begin() else { return };
    let (mut powered, client) = filled(&run).await;
    let victim = (run.seed % SHAPE.nodes as u64) as usize;
    powered.disk(victim).forget_caches().unwrap();
    let damage =
        until("a row of a table is hit", LIMIT, || std::future::ready(flip_in_rows(&powered, victim))).await.unwrap();
    println!("node-{victim}: {damage:?}");
    let began = Instant::now();
    // Scrub finds it, also where nobody reads.
    let reading = tokio::spawn(async move {
        all_are_right(&client).await;
        client
    });
    let ended = powered.cluster.nodes[victim].ended().await.unwrap();
    let detected = began.elapsed();
    assert_eq!(ended.code(), Some(75), "{}", powered.cluster.nodes[victim].log());
    powered.cluster.nodes[victim].start().unwrap();
    powered.whole_again().await;
    let repaired = began.elapsed();
    all_are_right(&reading.await.unwrap()).await;
    powered.equal_again().await;
    report::note(run.name(), figures(&run, 1, detected, repaired));
}

fn figures(run: &Run, faults: u64, detected: Duration, repaired: Duration) -> serde_json::Value {
    json!({
        "seed": run.seed, "faults": faults, "detected_after_ms": detected.as_millis() as u64,
        "repaired_after_ms": repaired.as_millis() as u64,
    })
}
