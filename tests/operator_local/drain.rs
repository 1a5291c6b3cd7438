//! Drains that are cancelled half way, and those that a person asks for.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::fixture::{Fixture, LIMIT, nothing_lost, says};

fn ids(status: &Value) -> BTreeSet<u64> {
    let rows = status["nodes"].as_array().into_iter().flatten();
    rows.filter_map(|row| row["id"].as_u64()).filter(|id| *id != 0).collect()
}

fn draining(status: &Value) -> Vec<&Value> {
    status["nodes"].as_array().into_iter().flatten().filter(|row| row["state"] == "draining").collect()
}

/// How far the drain is when it is cancelled.
type Moment = (&'static str, fn(&Value) -> bool);

const MOMENTS: [Moment; 4] = [
    ("the edit is not even seen", |_| true),
    ("a node is marked", |status| !draining(status).is_empty()),
    ("replicas move", |status| !draining(status).is_empty() && status["moves_left"] != 0),
    ("a node is empty or gone", |status| {
        draining(status).iter().any(|row| row["replicas"] == 0) || ids(status).len() < 5
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_cancelled_at_any_moment_loses_no_write_and_removes_no_node_from_then_on() {
    let cluster = Fixture::up(5, 3, 8).await;
    let writer = cluster.writer(8).await;
    for (moment, reached) in MOMENTS {
        cluster.edit_replicas(3).unwrap();
        let before = cluster.status_where(moment, LIMIT, reached).await.unwrap();
        let generation = before["spec_generation"].as_i64().unwrap();
        cluster.edit_replicas(5).unwrap();
        let cancelled = cluster
            .status_where("5 are asked again", LIMIT, |status| {
                // An edit that was taken back before anybody saw it is no edit.
                status["replicas"] == 5 && (status["spec_generation"] != generation || before["replicas"] == 5)
            })
            .await
            .unwrap();
        // What is written beside the new number may be from the round before it: the next look is of the new one.
        let seen = cancelled["observed_time_ms"].as_u64();
        let cancelled = cluster
            .status_where("a later look", LIMIT, |status| status["observed_time_ms"].as_u64() > seen)
            .await
            .unwrap();
        let nodes = cluster.ready(5, LIMIT).await.unwrap();
        let there: BTreeSet<u64> = nodes.iter().map(|node| node.id).collect();
        assert!(there.is_superset(&ids(&cancelled)), "{moment}: {cancelled} became {nodes:?}");
    }
    nothing_lost(writer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_drained_by_hand_is_emptied_stays_a_member_and_is_filled_again() {
    let cluster = Fixture::up(4, 3, 8).await;
    cluster.put("key", "value").await;
    let id = cluster.node("node-1").id;
    let victim = id.to_string();

    let unknown = cluster.granary(&["node", "drain", "77"]).await;
    assert_eq!(unknown.code, 3, "{}", unknown.stderr);
    says(&unknown.stderr, &["77", "allowed: one of [1, 2, 3, 4]"]);

    says(&cluster.done(&["node", "drain", &victim]).await.text(), &["undrain", &victim]);
    cluster
        .status_where("the node is empty", LIMIT, |status| {
            let empty = draining(status).iter().any(|row| row["id"] == id && row["replicas"] == 0);
            empty && status["ready"] == true
        })
        .await
        .unwrap();
    let shards = cluster.shards().await.unwrap();
    assert!(shards.iter().all(|shard| !shard.nodes.contains(&id)), "{shards:?}");
    let listed = cluster.json(&["node", "list"]).await;
    let row = listed.as_array().unwrap().iter().find(|row| row["id"] == id).unwrap();
    assert_eq!((&row["draining"], &row["replicas"]), (&Value::Bool(true), &Value::from(0)), "{row}");

    assert_eq!(cluster.json(&["node", "undrain", &victim]).await["drain"], false);
    cluster
        .status_where("the node holds replicas again", LIMIT, |status| {
            let rows = status["nodes"].as_array().into_iter().flatten();
            let filled = rows.filter(|row| row["replicas"].as_u64() >= Some(6)).count();
            status["ready"] == true && filled == 4
        })
        .await
        .unwrap();
    cluster.holds("key", "value").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_be_spared_is_not_drained_and_status_says_why() {
    let cluster = Fixture::up(3, 3, 4).await;
    cluster.done(&["node", "drain", "2"]).await;
    let status = cluster
        .status_where("it is said why", LIMIT, |status| status["waiting"].to_string().contains("node 2 shall drain"))
        .await
        .unwrap();
    says(&status["waiting"].to_string(), &["Quorum", "2 active nodes would be left for 3 copies"]);
    assert_eq!(cluster.node("node-1").replicas, 4);
    cluster.done(&["node", "undrain", "2"]).await;
    cluster.ready(3, LIMIT).await.unwrap();
}
