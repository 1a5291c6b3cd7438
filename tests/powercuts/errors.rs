//! Writes, syncs and reads that fail (HAZARDS H22): the node ends at the first one, never tries again and acknowledges
//! nothing more; the others go on, and its next start goes on from what is durable.

use bytes::Bytes;
use granary_client::{Client, Write};
use granary_common::SlotRange;
use granary_powercut::{Effect, Errno, Fault, Operation, Options, Tear};
use granary_tests::{cluster::Shape, writer::tag_in};
use rand::RngExt as _;
use serde_json::{Value, json};

use crate::{load::Load, powered::Powered, report, run::Run};

const SHAPE: Shape = Shape { nodes: 3, factor: 3, shards: 2 };
/// So that some MiB make a table: both stores get 4 MiB for each of their three memtables.
const DISK: u64 = 200 << 20;
/// What `granary-node` ends with when its disk failed.
const DISK_FAILED: i32 = 74;

/// Writes so many MiB, again and again to the same keys.
pub async fn write_bulk(client: &Client, mib: usize) {
    let tags = [0, 1].map(|shard| tag_in(SlotRange::of_shard(shard, SHAPE.shards)));
    for number in 0..mib * 16 {
        let key = format!("bulk/{{{}}}/{}", tags[number % 2], number % 64);
        let write = Write::put(key, Bytes::from(vec![number as u8; 64 << 10]));
        for part in client.batch(vec![write]).await.unwrap() {
            part.result.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_ends_at_the_first_failed_write_or_sync_and_nothing_is_lost() {
    let Some(run) = Run::begin() else { return };
    let mut random = run.random(0);
    let options = Options { capacity: Some(DISK), seed: run.seed, ..Options::default() };
    let mut powered = Powered::founded(SHAPE, 0, &options, &[]).await;
    let client = powered.cluster.client().await.unwrap();
    let load = Load::start(&run, powered.cluster.endpoints(), SHAPE.shards, 0).await;
    let cases = [
        (Operation::Sync, "**/raft/*.log"),
        (Operation::Write, "**/raft/*.log"),
        (Operation::Sync, "**/data/*.log"),
        (Operation::Write, "**/data/*.log"),
        (Operation::Write, "**/data/*.sst"),
        (Operation::Sync, "**/raft/*.sst"),
    ];
    let mut figures = Vec::<Value>::new();
    for (operation, files) in cases {
        let leader = powered.cluster.leader(1).await.unwrap();
        let victim = powered.cluster.place(leader).await.unwrap();
        let fault = Fault::new(&[operation], Effect::Fail(Errno::IO)).on(files).from_the(random.random_range(1..4));
        let fault = powered.disk(victim).inject(fault);
        let needs_table = files.ends_with("sst");
        let writes = async {
            if needs_table {
                write_bulk(&client, 40).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        let node = &mut powered.cluster.nodes[victim];
        let status = tokio::select! {
            status = node.ended() => status.unwrap(),
            () = writes => node.ended().await.unwrap(),
        };
        load.forget();
        let said = node.log();
        let hit = powered.disk(victim).withdraw(fault);
        println!("{operation:?} of {files}: {status}, hit {hit} times");
        assert_eq!(status.code(), Some(DISK_FAILED), "{operation:?} of {files}: {said}");
        assert!(said.contains("This node stops now and does not retry"), "{said}");
        assert!(hit > 0, "nothing was injected");
        // A second sync of the log could not have been told from a first one that worked.
        assert!(hit == 1 || files != "**/raft/*.log", "{operation:?} of {files} was tried {hit} times");
        load.works_again().await;
        figures.push(json!({ "operation": format!("{operation:?}"), "files": files, "hit": hit }));
        // Nothing of what it did not sync may be needed.
        powered.cut(&[victim], Tear::Drop, random.random());
        powered.start(&[victim]);
        powered.cluster.whole().await.unwrap();
    }
    let checked = load.finish(&run).await;
    powered.cluster.replicas_are_equal().await.unwrap();
    report::note(
        run.name(),
        json!({ "seed": run.seed, "faults": figures, "operations_checked": checked.operations, "unknown": checked.unknown }),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_node_acknowledges_nothing_after_its_first_failed_sync() {
    let Some(run) = Run::begin() else { return };
    let mut random = run.random(0);
    let shape = Shape { nodes: 1, factor: 1, shards: 2 };
    let options = Options { seed: run.seed, ..Options::default() };
    let mut powered = Powered::founded(shape, 0, &options, &[]).await;
    let load = Load::start(&run, powered.cluster.endpoints(), shape.shards, 0).await;
    let rounds = 4;
    for _ in 0..rounds {
        load.goes_on(20).await;
        let fault = Fault::new(&[Operation::Sync], Effect::Fail(Errno::IO)).on("**/raft/*.log");
        let fault = powered.disk(0).inject(fault.from_the(random.random_range(1..30)));
        let status = powered.cluster.nodes[0].ended().await.unwrap();
        assert_eq!((status.code(), powered.disk(0).withdraw(fault)), (Some(DISK_FAILED), 1));
        // What the failed sync was for is gone: an acknowledged write among it would be missed.
        powered.cut(&[0], Tear::Drop, random.random());
        load.forget();
        powered.start(&[0]);
        load.works_again().await;
    }
    let checked = load.finish(&run).await;
    report::note(
        run.name(),
        json!({ "seed": run.seed, "failed_syncs": rounds, "operations_checked": checked.operations }),
    );
}
