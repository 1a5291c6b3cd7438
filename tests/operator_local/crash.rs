//! The loop killed at every step, and started again each time. The nodes must never notice.

use std::{collections::BTreeMap, fs};

use crate::fixture::{Fixture, LIMIT};

/// More restarts than any of these runs needs.
const MOST: usize = 150;
const VARIABLE: &str = "GRANARY_CRASH_AFTER";

/// The content of each place's pid file, by its name: pid and start time.
fn processes(cluster: &Fixture) -> BTreeMap<String, String> {
    let files = fs::read_dir(cluster.dir.join("nodes")).unwrap().map(|entry| entry.unwrap().path());
    let pids = files.filter(|path| path.extension().is_some_and(|end| end == "pid"));
    pids.map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap_or_default())).collect()
}

/// Starts loops that die after a single step each, until one has nothing left to do. The number of those that died.
async fn by_single_steps(cluster: &Fixture, replicas: u32) -> usize {
    let mut before = BTreeMap::new();
    for died in 0..MOST {
        let output = cluster.try_up(&[(VARIABLE, "step:1")]).await.unwrap();
        let now = processes(cluster);
        for (place, process) in &now {
            let same = before.get(place).is_none_or(|before| before == process);
            assert!(same, "after {died} restarts another process runs: {before:?} became {now:?}");
        }
        before = now;
        if output.code == 0 {
            cluster.ready(replicas, LIMIT).await.unwrap();
            granary_tests::local::kill(cluster.operator_pid().unwrap());
            return died;
        }
        assert!(output.stderr.contains("signal: 9"), "{} {}", output.text(), output.stderr);
    }
    panic!("not ready after {MOST} restarts: {}", cluster.status().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_killed_after_each_of_its_steps_founds_one_cluster_grows_and_shrinks_it() {
    let cluster = Fixture::new(3, 3, 4);
    // Mint, three starts, found, note, create: each of them is a death.
    let died = by_single_steps(&cluster, 3).await;
    assert!(died >= 7, "only {died} loops died while founding");
    let id = cluster.status().unwrap()["cluster_id"].clone();
    let founders = processes(&cluster);
    cluster.put("key", "value").await;

    cluster.edit_replicas(4).unwrap();
    // Start, join, move.
    let died = by_single_steps(&cluster, 4).await;
    assert!(died >= 3, "only {died} loops died while growing");

    cluster.edit_replicas(3).unwrap();
    // Mark, move, remove, retire.
    let died = by_single_steps(&cluster, 3).await;
    assert!(died >= 4, "only {died} loops died while shrinking");

    let ids: Vec<u64> = cluster.nodes().unwrap().iter().map(|node| node.id).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(cluster.status().unwrap()["cluster_id"], id);
    assert_eq!(processes(&cluster), founders, "the nodes never noticed");
    cluster.holds("key", "value").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_killed_between_two_bootstrap_calls_founds_one_cluster_with_all_founders() {
    for crash in ["bootstrap:1", "bootstrap:2", "bootstrap:3"] {
        let cluster = Fixture::new(3, 3, 4);
        let output = cluster.try_up(&[(VARIABLE, crash)]).await.unwrap();
        assert!(output.stderr.contains("signal: 9"), "{crash}: {}", output.stderr);
        let processes_before = processes(&cluster);
        cluster.start().await;
        let nodes = cluster.ready(3, LIMIT).await.unwrap();
        let members: Vec<_> = nodes.iter().map(|node| (node.id, node.name.as_str())).collect();
        assert_eq!(members, [(1, "node-0"), (2, "node-1"), (3, "node-2")], "{crash}");
        let shards = cluster.shards().await.unwrap();
        for shard in &shards {
            let mut nodes = shard.nodes.clone();
            nodes.sort_unstable();
            assert_eq!(nodes, [1, 2, 3], "{crash}, shard {}", shard.id);
        }
        assert_eq!(shards.len(), 5, "{crash}");
        assert_eq!(processes(&cluster), processes_before, "{crash}");
    }
}
