//! The power cut of all nodes right behind what happens once in a life: the first start, the founding, a join, the first
//! write, the install of a snapshot. What was said before it holds after it (HAZARDS H37: nobody but the node syncs the
//! directories that its files are in).

use std::time::Duration;

use bytes::Bytes;
use granary_client::Write;
use granary_common::SlotRange;
use granary_powercut::{CutReport, Options, Tear};
use granary_tests::{cluster::Shape, node::LIMIT, wait::until, writer::tag_in};
use rand::RngExt as _;
use serde_json::json;

use crate::{
    powered::{Powered, rest},
    report,
    run::{Run, is_long},
};

/// With all unsynced lost, as a disk without a cache would, and with any of it there.
const TEARS: [Tear; 4] = [Tear::Drop, Tear::Mixed, Tear::Pieces, Tear::Drop];
const THREE: Shape = Shape { nodes: 3, factor: 3, shards: 2 };
const ALONE: Shape = Shape { nodes: 1, factor: 1, shards: 2 };

fn planned(run: &Run, shape: Shape, spare: usize) -> Powered {
    Powered::planned(shape, spare, &Options { seed: run.seed, ..Options::default() }, &[])
}

/// A cut that found nothing unsynced shows nothing.
fn took_something(run: &Run, cuts: usize, lost: CutReport) {
    let (writes, names) = (lost.writes.lost + lost.writes.torn, lost.names_lost);
    report::note(run.name(), json!({ "seed": run.seed, "cuts": cuts, "writes_lost": writes, "names_lost": names }));
    assert!(writes + names > 0, "{lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_who_it_said_it_was_before_its_power_was_cut() {
    let Some(run) = Run::begin() else { return };
    let (mut random, mut lost) = (run.random(0), CutReport::default());
    for tear in TEARS {
        let mut powered = planned(&run, ALONE, 0);
        powered.cluster.add_blank().unwrap();
        let said = powered.cluster.nodes[0].identify().await.unwrap().sender.unwrap();
        lost += powered.cut_and_start_all(tear, random.random()).0;
        let again = powered.cluster.nodes[0].identify().await.unwrap().sender.unwrap();
        assert_eq!(said.uuid, again.uuid, "{tear:?}");
    }
    took_something(&run, TEARS.len(), lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founded_cluster_is_founded_also_when_the_power_is_cut_at_the_next_moment() {
    let Some(run) = Run::begin() else { return };
    let (mut random, mut lost) = (run.random(0), CutReport::default());
    for tear in TEARS {
        let mut powered = planned(&run, THREE, 0);
        for _ in 0..THREE.factor {
            powered.cluster.add_blank().unwrap();
        }
        powered.cluster.bootstrap().await.unwrap();
        lost += powered.cut_and_start_all(tear, random.random()).0;
        for (node, id) in powered.cluster.nodes.iter().zip(1..) {
            let sender = node.identify().await.unwrap().sender.unwrap();
            assert_eq!((sender.node_id, &sender.cluster_id), (id, &powered.cluster.cluster_id), "{tear:?}");
        }
        powered.cluster.establish().await.unwrap();
    }
    took_something(&run, TEARS.len(), lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_acknowledged_write_outlives_a_power_cut_at_the_next_moment() {
    let Some(run) = Run::begin() else { return };
    let (mut random, mut lost) = (run.random(0), CutReport::default());
    for (tear, shape) in TEARS.into_iter().zip([ALONE, THREE, ALONE, THREE]) {
        let mut powered = planned(&run, shape, 0);
        powered.cluster.establish().await.unwrap();
        powered.cluster.client().await.unwrap().put("first", "value").await.unwrap();
        lost += powered.cut_and_start_all(tear, random.random()).0;
        let found = powered.cluster.client().await.unwrap().get("first").await.unwrap();
        assert_eq!(found.expect("the first write is there").value, "value", "{tear:?} {shape:?}");
    }
    took_something(&run, TEARS.len(), lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founding_cut_at_any_moment_is_finished_when_it_is_asked_for_again() {
    let Some(run) = Run::begin() else { return };
    let (mut random, mut lost, mut finished) = (run.random(0), CutReport::default(), 0);
    let rounds = if is_long() { 30 } else { 4 };
    for round in 0..rounds {
        // The fourth joins: its part is cut as well.
        let shape = Shape { nodes: 4, ..THREE };
        let mut powered = planned(&run, shape, 0);
        // One in each part of the time that a founding may take: the first parts cut it on the fastest machine.
        let part = 800 / rounds as u64;
        let time = Duration::from_millis(part * round as u64 + random.random_range(0..part));
        let (founded, report) = powered.establish_until_cut(time, Tear::Mixed, random.random()).await;
        finished += usize::from(founded);
        lost += report;
        println!("round {round}: cut after {time:?}, {} had started", powered.cluster.nodes.len());
        powered.start(&powered.places());
        powered.cluster.establish().await.unwrap();
        let client = powered.cluster.client().await.unwrap();
        client.put("key", "value").await.unwrap();
        lost += powered.cut_and_start_all(Tear::Mixed, random.random()).0;
        powered.cluster.whole().await.unwrap();
        assert_eq!(client.get("key").await.unwrap().unwrap().value, "value");
        powered.cluster.replicas_are_equal().await.unwrap();
    }
    assert!(finished < rounds, "no founding was cut");
    took_something(&run, 2 * rounds, lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joined_has_its_id_for_good() {
    let Some(run) = Run::begin() else { return };
    let (mut random, mut lost) = (run.random(0), CutReport::default());
    let mut powered = planned(&run, THREE, TEARS.len());
    powered.cluster.establish().await.unwrap();
    for tear in TEARS {
        let place = powered.cluster.add_blank().unwrap();
        let id = powered.cluster.join(place).await.unwrap();
        lost += powered.cut_and_start_all(tear, random.random()).0;
        assert_eq!(powered.cluster.nodes[place].id().await.unwrap(), id, "{tear:?}");
        until("the cluster knows it", LIMIT, || async {
            let state = powered.cluster.state().await.map_err(|error| error.to_string())?;
            let known = state.map.iter().flat_map(|map| &map.nodes).any(|node| node.id == id);
            if known { Ok(()) } else { Err(format!("{:?}", state.map)) }
        })
        .await
        .unwrap();
    }
    took_something(&run, TEARS.len(), lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_whose_install_is_cut_off_by_the_power_again_and_again_arrives_in_the_end() {
    let Some(run) = Run::begin() else { return };
    let (mut random, mut lost) = (run.random(0), CutReport::default());
    let shape = Shape { nodes: 4, factor: 3, shards: 4 };
    let options = Options { seed: run.seed, ..Options::default() };
    let mut powered = Powered::founded(shape, 0, &options, &[("GRANARY_SNAPSHOT_BANDWIDTH_MIB", "16")]).await;
    let client = powered.cluster.client().await.unwrap();
    // Shard 3 lies on nodes 4, 1, 2: node 3 gets its 10 MiB anew.
    let tag = tag_in(SlotRange::of_shard(2, shape.shards));
    let value = |number: usize| Bytes::from(vec![number as u8; 64 << 10]);
    let writes = (0..160).map(|number| Write::put(format!("load/{{{tag}}}/{number}"), value(number))).collect();
    for part in client.batch(writes).await.unwrap() {
        part.result.unwrap();
    }
    powered.cluster.reconfigure(&[(3, vec![4, 1, 3])]).await.unwrap();
    let rounds = if is_long() { 20 } else { 4 };
    for round in 0..rounds {
        rest(random.random_range(0..1200)).await;
        let victims = if round % 2 == 0 { vec![2] } else { powered.places() };
        lost += powered.cut(&victims, Tear::Mixed, random.random()).0;
        powered.start(&victims);
    }
    powered.cluster.whole().await.unwrap();
    let rows = powered.cluster.replicas_are_equal().await.unwrap();
    assert!(rows >= 160, "{rows} rows");
    for number in 0..160 {
        let found = client.get(format!("load/{{{tag}}}/{number}")).await.unwrap().unwrap();
        assert_eq!(found.value, value(number), "{number}");
    }
    took_something(&run, rounds, lost);
}
