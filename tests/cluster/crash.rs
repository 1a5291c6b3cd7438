//! kill -9 at random points, of one node, of two, of all, under a writer: nothing acknowledged is lost, and the replicas
//! are equal at an equal applied index.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use granary_client::{Change, Client, Expected, Swapped};
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

#[tokio::test(flavor = "multi_thread")]
async fn an_increment_is_applied_once_however_often_its_leader_dies() {
    const KILLS: usize = 6;
    let mut cluster = Cluster::of_three(1).await.unwrap();
    let client = cluster.client().await.unwrap();
    client.put("counter", "0").await.unwrap();
    let done = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let counting = tokio::spawn(count(client.clone(), done.clone(), stop.clone()));
    for _ in 0..KILLS {
        let before = done.load(Ordering::Relaxed);
        until("increments go on", LIMIT, || {
            let more = done.load(Ordering::Relaxed) - before;
            std::future::ready(if more >= 20 { Ok(()) } else { Err(format!("{more} of 20")) })
        })
        .await
        .unwrap();
        let leader = cluster.place(cluster.leader(1).await.unwrap()).await.unwrap();
        cluster.nodes[leader].kill();
        cluster.nodes[leader].start().unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    counting.await.unwrap();
    let held = number(&client).await.0;
    println!("{held} increments over {KILLS} kills of the leader");
    assert_eq!(held, done.load(Ordering::Relaxed), "each was applied once");
}

/// Adds one again and again; nobody else writes, so a refusal would mean that an increment was applied twice.
async fn count(client: Client, done: Arc<AtomicU64>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let (held, revision) = number(&client).await;
        let next = Change::Put((held + 1).to_string().into());
        match client.compare_and_set("counter", Expected::Revision(revision), next).await.unwrap() {
            Swapped::Done { .. } => done.fetch_add(1, Ordering::Relaxed),
            Swapped::Refused(now) => panic!("{held} at revision {revision} became {now:?} by itself"),
        };
    }
}

/// The counter and its revision.
async fn number(client: &Client) -> (u64, u64) {
    let value = client.get("counter").await.unwrap().unwrap();
    (std::str::from_utf8(&value.value).unwrap().parse().unwrap(), value.revision)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_is_let_in_again_as_soon_as_it_is_back() {
    let mut cluster = Cluster::of_three(4).await.unwrap();
    for round in 0..24 {
        let victim = round % 3;
        let started = std::time::Instant::now();
        cluster.nodes[victim].kill();
        cluster.nodes[victim].start().unwrap();
        cluster.whole().await.unwrap();
        println!("round {round}: whole after {:?}", started.elapsed());
        // Its connections broke, so nobody waits until the process that died has been silent for long.
        let said = cluster.nodes[victim].log();
        assert!(!said.contains("two processes may run on copies of one disk"), "round {round}: {said}");
    }
}
