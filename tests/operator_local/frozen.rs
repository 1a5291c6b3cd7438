//! A node that neither dies nor answers while the cluster shall shrink.

use granary_tests::local::{Signal, signal};

use crate::fixture::{Fixture, LIMIT, says};

#[tokio::test(flavor = "multi_thread")]
async fn shrinking_while_a_node_is_frozen_waits_names_shard_and_voters_and_ends_when_it_thaws() {
    let cluster = Fixture::up(4, 3, 8).await;
    cluster.put("key", "value").await;
    // node-3 is the one that leaves: without node-0 some of its shards have nowhere to go.
    let frozen = cluster.node("node-0");
    signal(frozen.pid, Signal::STOP);
    cluster
        .status_where("the silence is seen", LIMIT, |status| status["waiting"].to_string().contains("NodeSilent"))
        .await
        .unwrap();
    cluster.edit_replicas(3).unwrap();
    let status = cluster
        .status_where("it waits with numbers", LIMIT, |status| {
            let waiting = status["waiting"].to_string();
            // A new leader of the meta shard begins to count the silence anew.
            ["Draining: 1 node to leave", "would keep", "NodeSilent"].iter().all(|part| waiting.contains(part))
        })
        .await
        .unwrap();
    says(
        &status["waiting"].to_string(),
        &["without node 4: shard ", "of 3 voters", "node 1 (node-0) is not heard for"],
    );
    // It goes on waiting: nothing is removed while it lasts, and what has a quorum is served.
    for _ in 0..3 {
        let status = cluster.status_where("a later look", LIMIT, |_| true).await.unwrap();
        assert_eq!(status["nodes"].as_array().map(Vec::len), Some(4), "{status}");
    }
    cluster.holds("key", "value").await;

    signal(frozen.pid, Signal::CONT);
    let nodes = cluster.ready(3, LIMIT).await.unwrap();
    let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["node-0", "node-1", "node-2"]);
    assert_eq!(cluster.node("node-0").pid, frozen.pid);
    cluster.holds("key", "value").await;
}
