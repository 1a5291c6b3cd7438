//! Disks without room (HAZARDS H23): reads and deletes work, nothing acknowledged is lost, and all goes on by itself
//! when there is room again.

use std::time::Duration;

use bytes::Bytes;
use granary_client::{Client, Error};
use granary_powercut::{Effect, Errno, Fault, Operation, Options};
use granary_tests::{cluster::Shape, node::LIMIT, wait::until};
use serde_json::json;

use crate::{errors::write_bulk, load::Load, powered::Powered, report, run::Run};

const SHAPE: Shape = Shape { nodes: 3, factor: 3, shards: 2 };
const DISK: u64 = 96 << 20;
const ROOM: u64 = 400 << 20;
const VALUE: usize = 128 << 10;

fn refusals(powered: &Powered, places: &[usize]) -> u64 {
    places.iter().flat_map(|place| powered.disk(*place).counts().into_values()).map(|counts| counts.full).sum()
}

/// Writes new keys until the cluster says that it has no room; gives how many it took.
async fn fill(client: &Client) -> u64 {
    for number in 0..2 * DISK / VALUE as u64 {
        match client.put(format!("fill/{number}"), Bytes::from(vec![number as u8; VALUE])).await {
            Ok(_) => {}
            Err(Error::ReadOnly { .. }) => return number,
            Err(error) => panic!("write {number}: {error}"),
        }
    }
    panic!("the disks were not full after {} bytes", 2 * DISK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_cluster_reads_and_deletes_and_takes_writes_again_when_there_is_room() {
    let Some(run) = Run::begin() else { return };
    let options = Options { capacity: Some(DISK), seed: run.seed, ..Options::default() };
    let mut powered = Powered::founded(SHAPE, 0, &options, &[]).await;
    let client = powered.cluster.client().await.unwrap();
    let taken = fill(&client).await;
    for number in [0, taken / 2, taken - 1] {
        let found = client.get(format!("fill/{number}")).await.unwrap().unwrap();
        assert_eq!(found.value, vec![number as u8; VALUE], "{number}");
    }
    assert!(client.delete("fill/0").await.unwrap().existed);
    // Also with no room at all: a start waits for it.
    let places = powered.places();
    for place in &places {
        powered.disk(*place).set_capacity(Some(powered.disk(*place).used().unwrap()));
    }
    powered.cut_and_start_all(granary_powercut::Tear::Mixed, run.seed);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for place in &places {
        powered.disk(*place).set_capacity(Some(ROOM));
    }
    let revived = powered.whole_again().await;
    until("writes are taken", LIMIT, || async {
        client.put("fill/0", "again").await.map_err(|error| error.to_string())
    })
    .await
    .unwrap();
    assert_eq!(client.get("fill/0").await.unwrap().unwrap().value, "again");
    for number in 1..taken {
        let found = client.get(format!("fill/{number}")).await.unwrap().unwrap();
        assert_eq!(found.value, vec![number as u8; VALUE], "{number}");
    }
    powered.cluster.replicas_are_equal().await.unwrap();
    let refused = refusals(&powered, &places);
    report::note(
        run.name(),
        json!({ "seed": run.seed, "taken_mib": (taken * VALUE as u64) >> 20, "refused_by_disk": refused, "restarts": revived }),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_disk_takes_no_more_of_a_file_comes_back_by_itself_when_there_is_room() {
    let Some(run) = Run::begin() else { return };
    let shape = Shape { nodes: 4, ..SHAPE };
    let options = Options { capacity: Some(2 * DISK), seed: run.seed, ..Options::default() };
    let mut powered = Powered::founded(shape, 0, &options, &[]).await;
    let client = powered.cluster.client().await.unwrap();
    let load = Load::start(&run, powered.cluster.endpoints(), shape.shards, 0).await;
    let mut figures = Vec::new();
    for (files, bulk) in [("**/raft/*.log", 1), ("**/data/*.sst", 24), ("**/staging/**", 1)] {
        let is_snapshot = files.contains("staging");
        // Shard 2 is on nodes 3, 4, 1: node 2 gets it as a snapshot.
        let victim = if is_snapshot { 1 } else { 0 };
        let full = Fault::new(&[Operation::Write, Operation::Resize], Effect::Fail(Errno::NOSPC)).on(files);
        let fault = powered.disk(victim).inject(full);
        if is_snapshot {
            powered.cluster.reconfigure(&[(2, vec![1, 2, 3])]).await.unwrap();
        } else {
            write_bulk(&client, bulk).await;
        }
        until("the disk refuses", LIMIT, || {
            let hit = powered.disk(victim).injected(fault);
            std::future::ready(if hit > 0 { Ok(()) } else { Err("not yet".to_owned()) })
        })
        .await
        .unwrap();
        // A supervisor starts it again and again; the others go on.
        let mut restarts = 0;
        for _ in 0..4 {
            restarts += powered.revive();
            load.goes_on(20).await;
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        let hit = powered.disk(victim).withdraw(fault);
        restarts += powered.whole_again().await;
        figures.push(json!({ "files": files, "refused": hit, "restarts": restarts }));
    }
    let checked = load.finish(&run).await;
    powered.cluster.whole().await.unwrap();
    powered.cluster.replicas_are_equal().await.unwrap();
    report::note(run.name(), json!({ "seed": run.seed, "faults": figures, "operations_checked": checked.operations }));
}
