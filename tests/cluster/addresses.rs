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

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_swap_their_addresses_are_not_taken_for_each_other() {
    let mut cluster = Cluster::of_three(4).await.unwrap();
    let client = cluster.client().await.unwrap();
    client.put("key", "value").await.unwrap();
    cluster.nodes[0].kill();
    cluster.nodes[1].kill();
    let (first, second) = (cluster.nodes[0].ports, cluster.nodes[1].ports);
    (cluster.nodes[0].ports, cluster.nodes[1].ports) = (second, first);
    cluster.nodes[0].start().unwrap();
    cluster.nodes[1].start().unwrap();
    cluster.whole().await.unwrap();
    for (index, id) in [(0, 1), (1, 2), (2, 3)] {
        assert_eq!(cluster.nodes[index].id().await.unwrap(), id);
    }
    assert_eq!(client.get("key").await.unwrap().unwrap().value, "value", "the client finds the leaders again");
    client.put("key", "after").await.unwrap();
    cluster.replicas_are_equal().await.unwrap();
}
