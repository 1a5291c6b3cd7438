//! Disks that are gone: what can be said, and what must never be done.

use std::fs;

use granary_tests::{local::kill, wait::until};
use serde_json::Value;

use crate::fixture::{Fixture, LIMIT, says};

/// Takes the disk of a place away as a whole, and its process with it.
fn wipe(cluster: &Fixture, name: &str) {
    let node = cluster.node(name);
    fs::rename(cluster.node_dir(name), cluster.scratch.path().join(name)).unwrap();
    kill(node.pid);
}

fn waits_for(status: &Value, what: &str) -> bool {
    status["waiting"].to_string().contains(what)
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_disks_degrade_the_cluster_and_nothing_is_removed_or_founded_anew() {
    let cluster = Fixture::up(3, 3, 4).await;
    cluster.put("key", "value").await;
    let id = cluster.status().unwrap()["cluster_id"].clone();

    wipe(&cluster, "node-0");
    wipe(&cluster, "node-1");
    let lost = |status: &Value| {
        let said = waits_for(status, "QuorumLost") || waits_for(status, "ManyNodesLost");
        status["phase"] == "Degraded" && said
    };
    let status = cluster.status_where("two of three lost", LIMIT, lost).await.unwrap();
    says(&status["waiting"].to_string(), &["node-0", "node-1", "of 3 voters", "bring"]);

    // A loop that knows nothing from before says the same.
    kill(cluster.operator_pid().unwrap());
    let mut second = cluster.foreground().unwrap();
    let status = cluster.status_where("a new loop sees it too", LIMIT, lost).await.unwrap();
    assert_eq!(status["cluster_id"], id);
    assert!(cluster.node_dir("node-2").join("identity").exists());

    wipe(&cluster, "node-2");
    let status = cluster.status_where("all are lost", LIMIT, |status| waits_for(status, "DataLost")).await.unwrap();
    assert_eq!((&status["phase"], &status["cluster_id"]), (&Value::from("Degraded"), &id));
    says(&status["waiting"].to_string(), &["was founded", "restore a backup"]);
    // It stays so: none of the new, empty disks becomes a cluster.
    for _ in 0..5 {
        let status = cluster.status_where("a later look", LIMIT, |_| true).await.unwrap();
        assert!(waits_for(&status, "DataLost") && status["shards_with_leader"] == 0, "{status}");
    }
    for name in ["node-0", "node-1", "node-2"] {
        assert!(!cluster.node_dir(name).join("identity").exists(), "{name} became a member of something");
    }

    // The disks come back, and with them the data.
    cluster.done(&["local", "down"]).await;
    until("the second loop ends", LIMIT, || {
        let ended = second.try_wait();
        async move { ended.map_err(|error| error.to_string())?.ok_or("it runs".to_owned()) }
    })
    .await
    .unwrap();
    for name in ["node-0", "node-1", "node-2"] {
        fs::rename(cluster.node_dir(name), cluster.scratch.path().join(format!("{name}.empty"))).unwrap_or_default();
        fs::rename(cluster.scratch.path().join(name), cluster.node_dir(name)).unwrap();
    }
    cluster.start().await;
    cluster.ready(3, LIMIT).await.unwrap();
    cluster.holds("key", "value").await;
}
