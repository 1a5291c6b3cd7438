//! Bytes that rot on one disk, and rows that differ on one replica: found, told, never served, and made good from the
//! other replicas by the nodes themselves (HAZARDS H21).

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use granary_client::Client;
use granary_common::{SlotRange, slot_of};
use granary_engine::{Disk, EngineOptions};
use granary_machine::{Write, rows};
use granary_proto::admin::{Transfer, TransferLeadersRequest};
use granary_tests::{
    cli,
    cluster::{Cluster, Shape},
    http,
    node::LIMIT,
    wait::until,
    writer::Writer,
};

const SHARDS: u32 = 4;
const KEYS: usize = 3_000;
const THREE: Shape = Shape { nodes: 3, factor: 3, shards: SHARDS };
/// Exit code of a node whose next start makes a damaged store anew.
const START_AGAIN: i32 = 75;
/// Exit code of a node whose write failed.
const DISK_FAILED: i32 = 74;

fn key(number: usize) -> String {
    format!("key/{number}")
}

fn value(number: usize) -> Bytes {
    format!("{number:08}").repeat(128).into()
}

fn shard_of(key: &str) -> u32 {
    let slot = slot_of(key.as_bytes());
    (1..=SHARDS).find(|shard| SlotRange::of_shard(shard - 1, SHARDS).contains(slot)).unwrap()
}

async fn load(client: &Client) {
    let writes = (0..KEYS).map(|number| granary_client::Write::put(key(number), value(number)));
    for part in client.batch(writes.collect()).await.unwrap() {
        part.result.unwrap();
    }
}

/// Reads keys again and again until it is aborted; a wrong value ends the test. Gives the reads so far when asked.
async fn read_on(client: Client, reads: std::sync::Arc<std::sync::atomic::AtomicU64>) {
    for number in (0..KEYS).cycle() {
        // An error is no wrong value: leaders move meanwhile.
        if let Ok(found) = client.get(key(number)).await {
            assert_eq!(found.expect("a key that was acknowledged is there").value, value(number), "{number}");
            reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

/// The largest table of `data/`.
fn table(data: &Path) -> PathBuf {
    let files = fs::read_dir(data.join("data")).unwrap().map(|entry| entry.unwrap().path());
    let tables = files.filter(|path| path.extension().is_some_and(|ending| ending == "sst"));
    tables.max_by_key(|path| fs::metadata(path).map_or(0, |file| file.len())).expect("a table")
}

fn flip(path: &Path) {
    use std::os::unix::fs::FileExt as _;
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let place = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], place).unwrap();
    println!("flipped a bit of byte {place} of {}", path.display());
}

async fn metric(cluster: &Cluster, place: usize, name: &str) -> u64 {
    let (_, text) = http::get(cluster.nodes[place].ports.metrics, "/metrics").await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
}

/// What a node says of its damage, by the word of the meta shard's leader.
async fn damage(cluster: &Cluster, node: u64) -> Result<String, String> {
    let state = cluster.state().await.map_err(|error| error.to_string())?;
    Ok(state.nodes.iter().find(|known| known.node_id == node).map(|known| known.damage.clone()).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_on_one_disk_is_found_told_never_served_and_repaired_from_the_others() {
    let often = [("GRANARY_SCRUB_INTERVAL_SECONDS", "2"), ("GRANARY_SCRUB_BANDWIDTH_MIB", "64")];
    let mut cluster = Cluster::found_with(THREE, &often).await.unwrap();
    let client = cluster.client().await.unwrap();
    load(&client).await;
    // Stopped in order, it has synced all rows; the start then writes what is only in the log of data/ to a table.
    cluster.nodes[2].terminate().await.unwrap();
    cluster.nodes[2].start().unwrap();
    cluster.whole().await.unwrap();
    let reads = std::sync::Arc::<std::sync::atomic::AtomicU64>::default();
    let reader = tokio::spawn(read_on(client, reads.clone()));

    flip(&table(&cluster.nodes[2].dir));
    let flipped = Instant::now();
    cluster.nodes[2].logged("data/ is damaged").await.unwrap();
    let detected = flipped.elapsed();
    let ended = cluster.nodes[2].ended().await.unwrap();
    // A merge of tables may come upon it first: then a write fails. What follows is the same.
    assert!([Some(START_AGAIN), Some(DISK_FAILED)].contains(&ended.code()), "{ended}");
    let left = flipped.elapsed();
    cluster.nodes[2].start().unwrap();
    until("the damage is told", LIMIT, || async {
        let told = damage(&cluster, 3).await?;
        if told.contains("damaged and made anew") { Ok(()) } else { Err(told) }
    })
    .await
    .unwrap();
    let told = flipped.elapsed();
    cluster.nodes[2].logged("the damage is repaired").await.unwrap();
    let repaired = flipped.elapsed();
    assert!(cluster.nodes[2].log().contains("comes anew from its group"), "a shard was lost here");
    until("no damage is told any more", LIMIT, || async {
        let told = damage(&cluster, 3).await?;
        if told.is_empty() { Ok(()) } else { Err(told) }
    })
    .await
    .unwrap();
    cluster.whole().await.unwrap();
    assert!(!reader.is_finished(), "{:?}", reader.await);
    reader.abort();
    let reads = reads.load(std::sync::atomic::Ordering::Relaxed);
    println!(
        "{} keys: detected after {detected:?}, ended after {left:?}, told after {told:?}, repaired after {repaired:?}; \
         {reads} reads meanwhile, none wrong",
        KEYS
    );
    assert!(reads > 100, "{reads} reads");
    assert!(cluster.replicas_are_equal().await.unwrap() >= KEYS as u64);
    assert_eq!(metric(&cluster, 2, "granary_damages_total").await, 1);
    assert_eq!(metric(&cluster, 2, "granary_damaged").await, 0);
    let aside = fs::read_dir(&cluster.nodes[2].dir).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(aside.into_iter().all(|name| !name.to_string_lossy().starts_with("damaged")));
}

/// Writes another value under a key of a stopped node, behind everybody's back.
fn alter(dir: &Path, number: usize, to: &str) {
    let disk = Disk::open(dir, EngineOptions::default()).unwrap();
    let row = rows::data_key(&Bytes::from(key(number)));
    let value = rows::encode_data(1, &Bytes::from(to.to_owned()));
    disk.stores().unwrap().data.write_synced(&[Write::Put { key: row, value }]).unwrap();
}

async fn verify(cluster: &Cluster) -> (i32, serde_json::Value, String) {
    let peers: Vec<String> = cluster.nodes.iter().map(|node| node.ports.peer.to_string()).collect();
    let args = ["verify", "--replicas", "-o", "json", "--peer-endpoints", &peers.join(",")];
    let output = cli::run(cluster.root(), &args).await.unwrap();
    (output.code, output.json().unwrap_or_default(), output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_other_rows_is_found_at_an_equal_index_and_made_anew_also_when_it_leads() {
    let mut cluster = Cluster::found_with(THREE, &[("GRANARY_SCRUB_INTERVAL_SECONDS", "0")]).await.unwrap();
    let client = cluster.client().await.unwrap();
    load(&client).await;
    // While clients write, so that no two replicas stand still at one index.
    let mut writer = Writer::start(cluster.endpoints(), SHARDS, Duration::from_millis(1)).await.unwrap();
    let (code, said, errors) = verify(&cluster).await;
    assert_eq!((code, &said["equal"]), (0, &(SHARDS + 1).into()), "{said} {errors}");
    writer.stop().await;

    // One row in a shard that node 3 follows, one in a shard that it will lead.
    let follows = (0..KEYS).find(|number| shard_of(&key(*number)) == 1).unwrap();
    let leads = (0..KEYS).find(|number| shard_of(&key(*number)) == 2).unwrap();
    // In order, so that nothing is applied again over what is altered.
    cluster.nodes[2].terminate().await.unwrap();
    for number in [follows, leads] {
        alter(&cluster.nodes[2].dir, number, "another value");
    }
    cluster.nodes[2].start().unwrap();
    cluster.whole().await.unwrap();
    for (shard, to) in [(1, 1), (2, 3)] {
        let transfers = vec![Transfer { shard_id: shard, to_node_id: to }];
        let request = TransferLeadersRequest { operator_token: cluster.token, transfers, ..Default::default() };
        until("the leader is where the test wants it", LIMIT, || async {
            if cluster.leader(shard).await.map_err(|error| error.to_string())? == to {
                return Ok(());
            }
            let request = request.clone();
            let asked = cluster.ask("transfer", |mut admin| {
                let request = request.clone();
                async move { admin.transfer_leaders(request).await }
            });
            asked.await.map_err(|error| error.to_string())?;
            Err("not yet".to_owned())
        })
        .await
        .unwrap();
    }
    let asked = Instant::now();
    let (code, said, errors) = verify(&cluster).await;
    let found = asked.elapsed();
    assert_eq!((code, &said["different"]), (1, &2.into()), "{said} {errors}");
    for shard in [1, 2] {
        let wrong: Vec<_> = said["shards"][shard]["replicas"].as_array().unwrap().iter().collect();
        let wrong: Vec<_> = wrong.iter().filter(|replica| replica["state"] == "different").collect();
        assert!(wrong.len() == 1 && wrong[0]["node"] == 3, "{said}");
    }
    until("all replicas are equal again", LIMIT, || async {
        let (code, said, errors) = verify(&cluster).await;
        if code == 0 { Ok(()) } else { Err(format!("{said} {errors}")) }
    })
    .await
    .unwrap();
    println!("two wrong replicas: found after {found:?}, made anew after {:?}", asked.elapsed());
    cluster.whole().await.unwrap();
    assert_eq!(metric(&cluster, 2, "granary_replicas_rebuilt_total").await, 2);
    for number in [follows, leads] {
        assert_eq!(client.get(key(number)).await.unwrap().unwrap().value, value(number));
    }
    cluster.replicas_are_equal().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_differences_are_told_and_nothing_is_thrown_away() {
    let mut cluster = Cluster::found_with(THREE, &[("GRANARY_SCRUB_INTERVAL_SECONDS", "0")]).await.unwrap();
    load(&cluster.client().await.unwrap()).await;
    let shard = shard_of(&key(0));
    for (place, to) in [(1, "one"), (2, "another")] {
        cluster.nodes[place].terminate().await.unwrap();
        alter(&cluster.nodes[place].dir, 0, to);
        cluster.nodes[place].start().unwrap();
        cluster.whole().await.unwrap();
    }
    for _ in 0..2 {
        let (code, said, errors) = verify(&cluster).await;
        assert_eq!((code, &said["undecided"], &said["different"]), (1, &1.into(), &0.into()), "{said} {errors}");
        assert!(errors.contains("nothing is done"), "{errors}");
        assert_eq!(said["shards"][shard as usize]["result"], "undecided", "{said}");
    }
    let leader = cluster.leader(shard).await.unwrap();
    until("it is told", LIMIT, || async {
        let told = damage(&cluster, leader).await?;
        if told.contains("without a majority") { Ok(()) } else { Err(told) }
    })
    .await
    .unwrap();
    for place in 0..3 {
        assert_eq!(metric(&cluster, place, "granary_replicas_rebuilt_total").await, 0);
    }
}
