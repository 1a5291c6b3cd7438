//! YAML that cannot be followed: refused at the start, and kept out of a cluster that runs.

use serde_json::Value;

use crate::fixture::{Fixture, LIMIT, says};

/// (what stands in the file, what it becomes, what the error says).
type Bad = (&'static str, &'static str, &'static [&'static str]);

const AT_THE_START: [Bad; 8] = [
    ("shards: 4", "shards: 4\n  colour: red", &["spec.colour", "red", "allowed"]),
    ("replicas: 3", "replicas: 2", &["spec.replicas", "2 with spec.replicationFactor 3", "or more"]),
    ("replicationFactor: 3", "replicationFactor: 2", &["spec.replicationFactor", "2", "1, 3 or 5"]),
    ("replicationFactor: 3", "replicationFactor: 0", &["spec.replicationFactor", "0", "1, 3 or 5"]),
    ("shards: 4", "shards: 6", &["spec.shards", "6", "a power of two from 1 to 1024"]),
    ("shards: 4", "shards: 2048", &["spec.shards", "2048", "a power of two from 1 to 1024"]),
    ("kind: StorageCluster", "kind: Pod", &["kind", "Pod", "StorageCluster"]),
    ("metadata:", "metadata: [", &["cluster.yaml"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_is_not_valid_starts_nothing_and_the_error_names_field_value_and_what_is_allowed() {
    for (from, to, parts) in AT_THE_START {
        let cluster = Fixture::new(3, 3, 4);
        cluster.edit(from, to).unwrap();
        let output = cluster.try_up(&[]).await.unwrap();
        assert_eq!(output.code, 1, "{to}: {}", output.stderr);
        says(&output.stderr, parts);
        assert!(!cluster.dir.exists(), "{to} left {} behind", cluster.dir.display());
        let plan = cluster.granary(&["plan", "-f", cluster.spec.to_str().unwrap()]).await;
        assert_eq!(plan.code, 1, "{to}: {}", plan.stderr);
        says(&plan.stderr, parts);
    }
    let cluster = Fixture::new(3, 3, 4);
    std::fs::remove_file(&cluster.spec).unwrap();
    let output = cluster.try_up(&[]).await.unwrap();
    assert_eq!(output.code, 1);
    says(&output.stderr, &["cannot read", "cluster.yaml"]);
}

const LATER: [Bad; 6] = [
    ("shards: 4", "shards: 8", &["spec.shards is 8", "its value at creation, 4"]),
    (
        "replicas: 1\n  replicationFactor: 1",
        "replicas: 3\n  replicationFactor: 3",
        &["spec.replicationFactor is 3", "its value at creation, 1"],
    ),
    ("replicationFactor: 1", "replicationFactor: 2", &["spec.replicationFactor is 2", "1, 3 or 5"]),
    ("replicas: 1", "replicas: 0", &["spec.replicas is 0", "1 to 100"]),
    ("replicas: 1", "replicaz: 1", &["spec.replicaz", "allowed: "]),
    ("spec:", "spec: {", &["cluster.yaml"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_is_not_valid_is_not_followed_and_status_says_why_until_it_is_mended() {
    let cluster = Fixture::up(1, 1, 4).await;
    let good = std::fs::read_to_string(&cluster.spec).unwrap();
    let before = cluster.json(&["shard", "list"]).await;
    for (from, to, parts) in LATER {
        cluster.edit(from, to).unwrap();
        let status = cluster.status_where(to, LIMIT, |status| status["spec_error"] != Value::Null).await.unwrap();
        says(status["spec_error"].as_str().unwrap(), parts);
        assert_eq!((&status["spec_generation"], &status["shards"]), (&1.into(), &4.into()), "{to}: {status}");
        says(&cluster.done(&["status"]).await.text(), parts);
        cluster.write_spec(&good).unwrap();
        cluster
            .status_where("it is mended", LIMIT, |status| {
                status["spec_error"] == Value::Null && status["ready"] == true
            })
            .await
            .unwrap();
    }
    let places = |list: &Value| -> Vec<Value> {
        list.as_array().into_iter().flatten().map(|shard| shard["target"].clone()).collect()
    };
    assert_eq!(places(&cluster.json(&["shard", "list"]).await), places(&before));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_fixed_at_creation_cannot_be_changed_while_nobody_looks_either() {
    let cluster = Fixture::up(1, 1, 4).await;
    cluster.put("key", "value").await;
    cluster.done(&["local", "down"]).await;
    cluster.edit("shards: 4", "shards: 8").unwrap();
    let mut running = cluster.foreground().unwrap();
    let status = cluster
        .status_where("the conflict is seen", LIMIT, |status| status["waiting"].to_string().contains("SpecConflict"))
        .await
        .unwrap();
    says(&status["waiting"].to_string(), &["spec.shards is 8", "made with 4", "it has to be 4"]);
    cluster.holds("key", "value").await;
    cluster.edit("shards: 8", "shards: 4").unwrap();
    cluster.ready(1, LIMIT).await.unwrap();
    cluster.done(&["local", "down"]).await;
    running.wait().await.unwrap();
}
