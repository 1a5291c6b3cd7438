//! A node whose `raft/` is damaged never votes again: it refuses to start and says why, and the loop replaces it like one
//! whose disk is gone, without a hand of a person (HAZARDS H1, H21). No mount is needed: the file lies damaged.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use granary_tests::{
    local::{Local, kill},
    scratch::Scratch,
    wait::until,
    writer::Writer,
};
use serde_json::json;

use crate::report;

/// Longest time for anything: the machine may be busy with much else.
const LIMIT: Duration = Duration::from_secs(150);
const SHARDS: u32 = 4;

/// The write-ahead log of `raft/` that is in use.
fn newest_log(local: &Local, name: &str) -> PathBuf {
    let data = local.node_dir(name);
    let folders = [data.join("raft"), data.join("data/raft")];
    let raft = folders.iter().find(|folder| folder.is_dir()).expect("the node has a raft/");
    let files = fs::read_dir(raft).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|ending| ending == "log")).max().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_damaged_log_refuses_by_name_and_is_replaced_by_the_loop() {
    let scratch = Scratch::new().unwrap();
    let local = Local::new(scratch.path(), 3, 3, SHARDS).unwrap();
    local.edit("  storage:\n", "  failover:\n    replaceAfter: 5s\n  storage:\n").unwrap();
    let up = local.try_up(&[]).await.unwrap();
    assert_eq!(up.code, 0, "{}", up.stderr);
    let nodes = local.ready(3, LIMIT).await.unwrap();
    let writer = Writer::start(local.endpoints().unwrap(), SHARDS, Duration::from_millis(5)).await.unwrap();
    until("the log has grown", LIMIT, || {
        let done = writer.acknowledged();
        std::future::ready(if done > 500 { Ok(()) } else { Err(format!("{done} writes")) })
    })
    .await
    .unwrap();
    let victim = nodes.iter().find(|node| node.name == "node-1").unwrap();
    let log = newest_log(&local, &victim.name);
    let file = fs::OpenOptions::new().read(true).write(true).open(&log).unwrap();
    let (place, mut byte) = (file.metadata().unwrap().len() / 3, [0]);
    file.read_exact_at(&mut byte, place).unwrap();
    file.write_all_at(&[byte[0] ^ 8], place).unwrap();
    let began = Instant::now();
    kill(victim.pid);
    let said = |status: &serde_json::Value| status.to_string().contains("Corruption");
    local.status_where("status says what is wrong", LIMIT, said).await.unwrap();
    let detected = began.elapsed();
    // Its place stays, with what is on the disk, for a person to look at; it holds nothing of the cluster any more.
    let replaced = |status: &serde_json::Value| {
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        let (old, others): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|node| node["id"] == victim.id);
        let holds = |node: &serde_json::Value| node["state"] == "ready" && node["replicas"] == u64::from(SHARDS);
        status["ready"] == true
            && others.len() == 3
            && others.iter().all(holds)
            && old.iter().all(|node| node["replicas"] == 0)
    };
    local.status_where("another node has its replicas", LIMIT, replaced).await.unwrap();
    let repaired = began.elapsed();
    let checked = writer.finish().await.unwrap();
    assert_eq!(checked.lost, 0);
    report::note(
        "a_node_with_a_damaged_log_refuses_by_name_and_is_replaced_by_the_loop",
        json!({
            "detected_ms": detected.as_millis() as u64, "replaced_ms": repaired.as_millis() as u64,
            "acknowledged": checked.acknowledged, "lost": checked.lost,
        }),
    );
    local.destroy().await.unwrap();
}
