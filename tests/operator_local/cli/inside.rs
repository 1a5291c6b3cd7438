//! status, plan, shard, node, completion: what looks at the cluster's inside and changes nothing.

use std::process::Stdio;

use granary_tests::{
    cli,
    local::{Signal, signal},
    wait::until,
};
use tokio::io::AsyncReadExt as _;

use crate::fixture::{Fixture, LIMIT, says};

#[tokio::test(flavor = "multi_thread")]
async fn shards_and_nodes_are_listed_and_shown_and_unknown_ones_are_refused_with_what_there_is() {
    let cluster = Fixture::up(3, 3, 4).await;
    let list = cluster.json(&["shard", "list"]).await;
    let shards = list.as_array().unwrap();
    assert_eq!(shards.len(), 5, "four and the meta shard");
    assert!(shards.iter().all(|shard| shard["replicas"].as_array().map(Vec::len) == Some(3)), "{list}");
    says(&cluster.done(&["shard", "list"]).await.text(), &["SHARD", "LEADER", "0..4096", "12288..16384"]);
    let shown = cluster.json(&["shard", "show", "4"]).await;
    assert_eq!((&shown["id"], &shown["slots"]["start"]), (&4.into(), &12288.into()), "{shown}");
    says(&cluster.done(&["shard", "show", "4"]).await.text(), &["shard 4", "leader: node ", "replica: ", "target: "]);
    let unknown = cluster.granary(&["shard", "show", "9"]).await;
    assert_eq!(unknown.code, 3);
    says(&unknown.stderr, &["shard is 9", "allowed: 0 (the meta shard) to 4"]);

    let nodes = cluster.json(&["node", "list"]).await;
    assert_eq!(nodes.as_array().map(Vec::len), Some(3));
    says(&cluster.done(&["node", "list"]).await.text(), &["NODE", "DISK FREE", "node-2", "active"]);

    let status = cluster.json(&["status"]).await;
    assert_eq!((&status["phase"], &status["ready"]), (&"Ready".into(), &true.into()));
    says(&cluster.done(&["status"]).await.text(), &["Ready", "4 of 4 shards with a leader", "node-1", "DATA API"]);
    // By addresses alone, as for a cluster that is not in --dir.
    let endpoints = cluster.endpoints().unwrap().join(",");
    let far = cluster.scratch.path().join("nothing-here");
    for args in [&["status", "-o", "json"][..], &["shard", "list", "-o", "json"], &["node", "list", "-o", "json"]] {
        let args: Vec<&str> = args.iter().copied().chain(["--endpoints", &endpoints]).collect();
        let output = cli::run(&far, &args).await.unwrap();
        assert_eq!(output.code, 0, "{args:?}: {}", output.stderr);
        output.json().unwrap();
    }

    says(&cluster.done(&["completion", "bash"]).await.text(), &["_granary", "complete "]);
}

/// Waits until the plan for a file says all of that: a plan is of the moment, in which a leader may be on its way to where it
/// shall be, or a replica may lag.
async fn plans(cluster: &Fixture, spec: &str, words: &[&str]) {
    until("the plan is as it shall be", LIMIT, || async {
        let text = cluster.done(&["plan", "-f", spec]).await.text();
        if words.iter().all(|word| text.contains(word)) { Ok(()) } else { Err(text) }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_prints_steps_bytes_and_margin_and_changes_nothing() {
    let cluster = Fixture::up(3, 3, 4).await;
    let bulk = "x".repeat(100_000);
    for number in 0..8 {
        assert_eq!(cluster.granary_with(&["put", &format!("bulk/{number}")], bulk.as_bytes()).await.code, 0);
    }
    let spec = cluster.spec.to_str().unwrap().to_owned();
    plans(&cluster, &spec, &["nothing to do", "0 replicas to move", "quorum margin"]).await;
    let state = || async { (cluster.json(&["shard", "list"]).await, cluster.json(&["node", "list"]).await) };
    let targets = |(shards, nodes): &(serde_json::Value, serde_json::Value)| {
        let of = |list: &serde_json::Value, field: &str| -> Vec<serde_json::Value> {
            list.as_array().into_iter().flatten().map(|row| row[field].clone()).collect()
        };
        (of(shards, "version"), of(shards, "target"), of(nodes, "id"), of(nodes, "draining"))
    };
    let before = state().await;

    // The file of the question is another one than the one that the loop follows.
    let wider = cluster.scratch.path().join("wider.yaml");
    std::fs::write(&wider, std::fs::read_to_string(&spec).unwrap().replace("replicas: 3", "replicas: 5")).unwrap();
    let wider = wider.to_str().unwrap();
    plans(&cluster, wider, &["1. start", "place 3", "place 4", "quorum margin: every shard can lose 1 more voter"])
        .await;
    let plan = cluster.json(&["plan", "-f", wider]).await;
    assert_eq!(plan["quorum_margin"], 1, "{plan}");
    assert_eq!(plan["plan"]["steps"].as_array().map(Vec::len), Some(2), "{plan}");
    assert_eq!(targets(&state().await), targets(&before));

    // A drain half done has replicas and bytes to move: the question is asked for a moment when it was not begun.
    cluster.edit_replicas(4).unwrap();
    cluster.ready(4, LIMIT).await.unwrap();
    let drained = cluster.node("node-3").id.to_string();
    let narrower = cluster.scratch.path().join("narrower.yaml");
    std::fs::write(&narrower, std::fs::read_to_string(&spec).unwrap().replace("replicas: 4", "replicas: 3")).unwrap();
    plans(&cluster, narrower.to_str().unwrap(), &[&format!("drain node {drained}"), "3 replicas to move"]).await;
    assert_eq!(cluster.nodes().unwrap().len(), 4);

    // Without a cluster it says how one would come to be.
    let nowhere = cluster.scratch.path().join("nothing-here");
    let output = cli::run(&nowhere, &["plan", "-f", &spec]).await.unwrap();
    says(&output.text(), &["mint a cluster id", "quorum margin: not known"]);
    assert!(!nowhere.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_status_is_shown_again_and_again_until_it_is_told_to_end() {
    let cluster = Fixture::up(1, 1, 4).await;
    let mut command = cli::command(&cluster.dir, &["status", "--watch", "-o", "json"]).unwrap();
    let mut watch = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let (mut out, mut seen) = (watch.stdout.take().unwrap(), Vec::new());
    while seen.iter().filter(|byte| **byte == b'\n').count() < 3 {
        let mut part = [0; 4096];
        let length = tokio::time::timeout(LIMIT, out.read(&mut part)).await.unwrap().unwrap();
        assert!(length > 0, "it ended by itself");
        seen.extend_from_slice(&part[..length]);
    }
    for line in String::from_utf8(seen).unwrap().lines().take(3) {
        let status: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(status["phase"], "Ready");
    }
    // Not Ctrl-C's signal: what is run in the background starts with that one ignored, and hands this on.
    signal(watch.id().unwrap(), Signal::TERM);
    until("the watch ends", LIMIT, || {
        let ended = watch.try_wait();
        async move { ended.map_err(|error| error.to_string())?.ok_or("it runs".to_owned()) }
    })
    .await
    .unwrap();
}
