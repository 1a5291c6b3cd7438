//! A directory that belongs to another cluster.

use std::fs;

use crate::fixture::{Fixture, LIMIT, says};

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_of_another_cluster_is_reported_and_left_as_it_is() {
    let (cluster, other) = (Fixture::up(3, 3, 4).await, Fixture::up(1, 1, 4).await);
    cluster.put("key", "value").await;
    other.put("other", "precious").await;
    let (id, other_id) =
        (cluster.status().unwrap()["cluster_id"].clone(), other.status().unwrap()["cluster_id"].clone());
    cluster.done(&["local", "down"]).await;
    other.done(&["local", "down"]).await;

    let (place, aside) = (cluster.node_dir("node-1"), cluster.scratch.path().join("aside"));
    fs::rename(&place, &aside).unwrap();
    fs::rename(other.node_dir("node-0"), &place).unwrap();
    let mut running = cluster.foreground().unwrap();
    let status = cluster
        .status_where("the foreign disk is seen", LIMIT, |status| status["waiting"].to_string().contains("ForeignDisk"))
        .await
        .unwrap();
    assert_eq!((&status["phase"], &status["cluster_id"]), (&"Degraded".into(), &id));
    says(&status["waiting"].to_string(), &["node-1", other_id.as_str().unwrap(), id.as_str().unwrap()]);
    // The other two are a quorum and serve.
    cluster.holds("key", "value").await;
    cluster.done(&["local", "down"]).await;
    running.wait().await.unwrap();

    // Both get their own back; neither has lost anything.
    fs::rename(&place, other.node_dir("node-0")).unwrap();
    fs::rename(&aside, &place).unwrap();
    cluster.start().await;
    cluster.ready(3, LIMIT).await.unwrap();
    cluster.holds("key", "value").await;
    other.start().await;
    other.holds("other", "precious").await;
}
