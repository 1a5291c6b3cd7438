//! Up, Ctrl-C, down, destroy.

use std::time::Duration;

use granary_tests::local::{Signal, signal};
use tokio::time::timeout;

use crate::fixture::{Fixture, LIMIT, says};

/// A graceful stop takes 20 s at most, and then it is a kill; the rest is for a busy machine.
const STOPPED: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_stops_the_nodes_and_keeps_the_data_for_the_next_up() {
    let cluster = Fixture::new(3, 3, 4);
    let mut running = cluster.foreground().unwrap();
    let nodes = cluster.ready(3, LIMIT).await.unwrap();
    cluster.put("key", "value").await;

    signal(running.id().unwrap(), Signal::INT);
    let status = timeout(STOPPED, running.wait()).await.expect("it stops in time").unwrap();
    assert_eq!(status.code(), Some(0));
    let log = std::fs::read_to_string(cluster.dir.with_extension("foreground.log")).unwrap();
    says(&log, &["ready: 3 nodes, 4 shards", "Stopped 3 nodes: node-0, node-1, node-2", "The data is kept"]);
    assert!(!log.contains("Had to kill"), "{log}");
    for node in &nodes {
        // A process that has ended and was not waited for by init yet has an empty command line.
        let command = std::fs::read(format!("/proc/{}/cmdline", node.pid)).unwrap_or_default();
        assert!(command.is_empty(), "{} still runs", node.name);
    }
    assert_eq!(cluster.status().unwrap()["phase"], "Stopped");
    let down = cluster.done(&["local", "down"]).await;
    says(&down.text(), &["No node was running"]);

    cluster.start().await;
    cluster.holds("key", "value").await;
    let status = cluster.json(&["local", "status"]).await;
    assert_eq!(status["operator_pid"].as_u64(), Some(cluster.operator_pid().unwrap().into()));
    says(&cluster.done(&["local", "status"]).await.text(), &["the loop runs as process", "Ready", "node-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn destroy_needs_a_yes_and_then_leaves_nothing() {
    let cluster = Fixture::up(3, 3, 4).await;
    let refused = cluster.granary(&["local", "destroy"]).await;
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    says(&refused.stderr, &["--yes", cluster.dir.to_str().unwrap()]);
    cluster.put("key", "value").await;

    let json = cluster.json(&["local", "down"]).await;
    assert_eq!(json["stopped"], serde_json::json!(["node-0", "node-1", "node-2"]));
    assert_eq!(json["killed"], serde_json::json!([]));
    says(&cluster.done(&["local", "status"]).await.text(), &["no loop runs", "Stopped"]);

    cluster.done(&["local", "destroy", "--yes"]).await;
    assert!(!cluster.dir.exists());
    let gone = cluster.granary(&["local", "status"]).await;
    assert_eq!(gone.code, 3, "{}", gone.stderr);
    says(&gone.stderr, &["granary local up"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_up_on_one_directory_is_refused_with_the_pid_of_the_first() {
    let cluster = Fixture::up(1, 1, 4).await;
    let pid = cluster.operator_pid().unwrap();
    let second = cluster.try_up(&[]).await.unwrap();
    assert_eq!(second.code, 4, "{}", second.stderr);
    says(&second.stderr, &[&pid.to_string(), "granary local down", "--dir"]);
    let mut third = cluster.foreground().unwrap();
    assert_eq!(timeout(LIMIT, third.wait()).await.unwrap().unwrap().code(), Some(4));
    assert_eq!(cluster.operator_pid().unwrap(), pid);
    cluster.put("key", "value").await;
}
