//! Commands go on while a node is killed.

use granary_tests::{local::kill, wait::until};

use crate::fixture::{Fixture, LIMIT};

#[tokio::test(flavor = "multi_thread")]
async fn every_command_goes_on_while_a_node_is_killed_and_comes_back() {
    let cluster = Fixture::up(3, 3, 4).await;
    for number in 0..20 {
        cluster.put(&format!("key/{number}"), &number.to_string()).await;
    }
    let victim = cluster.busiest().unwrap();
    kill(victim.pid);
    for number in 0..20 {
        cluster.holds(&format!("key/{number}"), &number.to_string()).await;
        cluster.put(&format!("key/{number}"), "again").await;
    }
    let scanned = cluster.done(&["scan", "--prefix", "key/", "--keys-only", "--timeout", "60s"]).await.text();
    assert_eq!(scanned.lines().count(), 20);
    cluster.done(&["cas", "key/1", "--expect-value", "again", "swapped", "--timeout", "60s"]).await;
    cluster.done(&["delete", "--range", "key/", "key0", "--timeout", "60s"]).await;
    cluster.done(&["shard", "list"]).await;
    cluster.done(&["node", "list"]).await;
    let again = until("the killed node is started again", LIMIT, || async {
        let nodes = cluster.nodes().map_err(|error| error.to_string())?;
        let same = nodes.iter().find(|node| node.id == victim.id && node.pid != 0 && node.pid != victim.pid);
        same.cloned().ok_or(format!("{nodes:?}"))
    })
    .await
    .unwrap();
    assert_eq!(again.name, victim.name);
    cluster.ready(3, LIMIT).await.unwrap();
}
