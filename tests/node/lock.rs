//! A directory that another process still has, as after the deletion of a pod by force: the new one waits, and says so.

use std::time::Duration;

use granary_tests::{
    cluster::{Cluster, Shape},
    http,
    node::LIMIT,
    wait::until,
};

const ALONE: Shape = Shape { nodes: 1, factor: 1, shards: 4 };

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_may_wait_for_its_directory_is_alive_and_not_ready_and_goes_on_when_it_is_free() {
    let mut cluster = Cluster::found(ALONE).await.unwrap();
    cluster.client().await.unwrap().put("kept", "value").await.unwrap();
    let second = cluster.add_blank().unwrap();
    cluster.nodes[second].kill();
    let dir = cluster.nodes[0].dir.clone();
    cluster.nodes[second].dir = dir;
    cluster.nodes[second].name = "node-0".into();
    cluster.nodes[second].env.push(("GRANARY_LOCK_WAIT_SECONDS".into(), "1000000".into()));
    cluster.nodes[second].start().unwrap();
    let probes = cluster.nodes[second].ports.metrics;
    until("it says why it is not ready", LIMIT, || async move {
        let (status, text) = http::get(probes, "/readyz").await.map_err(|error| error.to_string())?;
        if status == 503 && text.contains("waits for another process") { Ok(()) } else { Err(text) }
    })
    .await
    .unwrap();
    assert_eq!(http::get(probes, "/livez").await.unwrap().0, 200);
    assert_eq!(cluster.nodes[second].log().matches("waits for another process").count(), 1, "said once");
    let refused = tokio::net::TcpStream::connect(cluster.nodes[second].ports.kv).await;
    assert!(refused.is_err(), "clients are refused and go elsewhere");

    // Asked to stop it ends at once, and the first one is not touched.
    assert!(cluster.nodes[second].terminate().await.unwrap().success());
    assert!(cluster.client().await.unwrap().get("kept").await.unwrap().is_some());

    cluster.nodes[second].start().unwrap();
    cluster.nodes[second].logged("waits for another process").await.unwrap();
    cluster.nodes[0].kill();
    until("the waiting one has taken over", LIMIT, || async move {
        let (status, text) = http::get(probes, "/readyz").await.map_err(|error| error.to_string())?;
        if status == 200 { Ok(()) } else { Err(text) }
    })
    .await
    .unwrap();
    let endpoint = cluster.nodes[second].ports.kv.to_string();
    let client = granary_client::Client::connect([endpoint], Default::default()).await.unwrap();
    assert_eq!(client.get("kept").await.unwrap().unwrap().value, "value");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_with_an_end_ends_in_a_refusal_that_names_the_other_process() {
    let mut cluster = Cluster::found(ALONE).await.unwrap();
    let second = cluster.add_blank().unwrap();
    cluster.nodes[second].kill();
    cluster.nodes[second].dir = cluster.nodes[0].dir.clone();
    cluster.nodes[second].env.push(("GRANARY_LOCK_WAIT_SECONDS".into(), "1".into()));
    let began = std::time::Instant::now();
    let (code, said) = cluster.nodes[second].start_refused().await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    let holder = cluster.nodes[0].pid().unwrap().to_string();
    assert!(code == 1 && said.contains("in use by another process") && said.contains(&holder), "{said}");
}
