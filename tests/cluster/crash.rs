//! kill -9 at random points, of one node, of two, of all, under a writer: nothing acknowledged is lost, and the replicas
//! are equal at an equal applied index.

use std::time::Duration;

use granary_tests::{cluster::Cluster, node::LIMIT, wait::until, writer::Writer};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

const SHARDS: u32 = 4;
const ROUNDS: usize = 12;
/// Acknowledgements that show that all goes on behind a round.
const GOES_ON: u64 = 50;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_nodes_are_killed_at_random_points() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::of_three(SHARDS).await.unwrap();
    let mut writer = Writer::start(cluster.endpoints(), SHARDS, Duration::from_millis(1)).await.unwrap();
    for round in 0..ROUNDS {
        tokio::time::sleep(Duration::from_millis(random.random_range(0..600))).await;
        let mut victims = vec![0, 1, 2];
        victims.shuffle(&mut random);
        victims.truncate([1, 1, 2, 3][round % 4]);
        for victim in &victims {
            cluster.nodes[*victim].kill();
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..400))).await;
        for victim in &victims {
            cluster.nodes[*victim].start().unwrap();
        }
        let before = writer.acknowledged();
        until("writes go on", LIMIT, || {
            let done = writer.acknowledged() - before;
            std::future::ready(if done >= GOES_ON { Ok(()) } else { Err(format!("{done} of {GOES_ON}")) })
        })
        .await
        .unwrap();
        println!("round {round}: killed {victims:?}, longest gap {:?}", writer.take_longest_gap());
    }
    let unknown = writer.unknown();
    writer.stop().await;
    cluster.whole().await.unwrap();
    let checked = writer.check().await.unwrap();
    println!("{checked:?}, {unknown} unknown");
    assert_eq!(checked.lost, 0, "{:?}", writer.errors());
    cluster.replicas_are_equal().await.unwrap();
}
