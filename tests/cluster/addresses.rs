//! All nodes change all their ports at once: an address is a hint, never an identity.

use granary_tests::{cluster::Cluster, ports::Ports};

/// Puts some keys, kills all nodes, gives each new ports, and the seeds that `seeds` makes of the new peer addresses.
async fn moves_at_once(seeds: impl Fn(&[String]) -> Vec<String>) {
    let mut cluster = Cluster::of_three(4).await.unwrap();
    let client = cluster.client().await.unwrap();
    for number in 0..50 {
        client.put(format!("key/{number}"), "value").await.unwrap();
    }
    let before: Vec<Ports> = cluster.nodes.iter().map(|node| node.ports).collect();
    for node in &mut cluster.nodes {
        node.kill();
        node.ports = Ports::free().unwrap();
    }
    let peers: Vec<String> = cluster.nodes.iter().map(|node| node.ports.peer.to_string()).collect();
    for (node, before) in cluster.nodes.iter_mut().zip(before) {
        assert_ne!(node.ports, before);
        node.seeds = seeds(&peers);
        node.start().unwrap();
    }
    cluster.whole().await.unwrap();
    let client = cluster.client().await.unwrap();
    for number in 0..50 {
        assert_eq!(client.get(format!("key/{number}")).await.unwrap().unwrap().value, "value", "key/{number}");
    }
    client.put("after", "value").await.unwrap();
    cluster.replicas_are_equal().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_change_their_ports_at_once_and_find_each_other_by_their_seeds() {
    moves_at_once(<[String]>::to_vec).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_right_seed_among_wrong_ones_is_enough() {
    let nobody = granary_tests::ports::free().unwrap().to_string();
    moves_at_once(|peers| vec![nobody.clone(), peers[1].clone()]).await;
}
