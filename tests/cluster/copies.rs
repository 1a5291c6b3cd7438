//! Disks that were lost or copied: a wiped node is a new node, and a copy beside the living node is let in by nobody
//! (HAZARDS H1, H2).

use granary_proto::admin::{JoinRequest, RemoveNodeRequest};
use granary_tests::{
    cluster::{Cluster, Shape},
    node::{LIMIT, Node, copy_directory},
    wait::until,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_node_is_blank_gets_a_new_id_and_takes_the_old_ones_place() {
    let mut cluster = Cluster::of_three(4).await.unwrap();
    let client = cluster.client().await.unwrap();
    for number in 0..50 {
        client.put(format!("key/{number}"), "value").await.unwrap();
    }
    let old = cluster.nodes[2].identify().await.unwrap().sender.unwrap();
    cluster.nodes[2].kill();
    cluster.nodes[2].wipe().unwrap();
    cluster.nodes[2].start().unwrap();
    let blank = cluster.nodes[2].identify().await.unwrap().sender.unwrap();
    assert_eq!((old.node_id, blank.node_id, blank.cluster_id.as_str()), (3, 0, ""));
    assert_ne!(old.uuid, blank.uuid);

    assert_eq!(cluster.join(2).await.unwrap(), 4, "a new id");
    let targets: Vec<(u32, Vec<u64>)> = (0..=4).map(|shard| (shard, vec![1, 2, 4])).collect();
    cluster.reconfigure(&targets).await.unwrap();
    cluster.whole().await.unwrap();
    let remove = RemoveNodeRequest { operator_token: cluster.token, node_id: 3 };
    until("the old id is removed", LIMIT, || async {
        let mut admin = cluster.nodes[0].admin().map_err(|error| error.to_string())?;
        admin.remove_node(remove).await.map_err(|status| status.message().to_owned())
    })
    .await
    .unwrap();
    for number in 0..50 {
        assert_eq!(client.get(format!("key/{number}")).await.unwrap().unwrap().value, "value");
    }
    cluster.replicas_are_equal().await.unwrap();
}

/// A copy of node 3's disk, made while it was down, after which node 3 was started `starts` times; not started itself.
async fn copied(starts: usize) -> (Cluster, Node) {
    let mut cluster = Cluster::of_three(4).await.unwrap();
    cluster.nodes[2].kill();
    let mut copy = Node::new(cluster.root(), "copy").unwrap();
    copy_directory(&cluster.nodes[2].dir, &copy.dir).unwrap();
    copy.seeds = cluster.nodes.iter().map(|node| node.ports.peer.to_string()).collect();
    for start in 0..starts {
        if start > 0 {
            cluster.nodes[2].kill();
        }
        cluster.nodes[2].start().unwrap();
        cluster.nodes[2].identify().await.unwrap();
    }
    cluster.whole().await.unwrap();
    (cluster, copy)
}

/// The living nodes refuse the copy and tell it why, it is never ready, and the cluster serves.
async fn is_refused(mut cluster: Cluster, mut copy: Node, words: &str) {
    let client = cluster.client().await.unwrap();
    client.put("before", "value").await.unwrap();
    copy.start().unwrap();
    copy.identify().await.unwrap();
    copy.logged(words).await.unwrap();
    for number in 0..50 {
        client.put(format!("key/{number}"), "value").await.unwrap();
    }
    let known = copy.identify().await.unwrap();
    assert!(!known.ready, "a copy that nobody lets in must not be ready");
    cluster.whole().await.unwrap();
    copy.kill();
    cluster.replicas_are_equal().await.unwrap();
    // The node itself may stop and come back.
    cluster.nodes[2].kill();
    cluster.nodes[2].start().unwrap();
    cluster.whole().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_of_a_disk_is_refused_beside_the_living_node() {
    let (cluster, copy) = copied(2).await;
    is_refused(cluster, copy, "its disk is an old copy").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_started_as_often_as_the_living_node_is_refused_too() {
    let (cluster, copy) = copied(1).await;
    is_refused(cluster, copy, "they run on copies of one disk").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_cluster_is_let_in_nowhere_and_both_clusters_are_named() {
    let alone = Shape { nodes: 1, factor: 1, shards: 4 };
    let (cluster, mut other) = (Cluster::found(alone).await.unwrap(), Cluster::found(alone).await.unwrap());
    let stranger = &mut other.nodes[0];
    stranger.kill();
    stranger.seeds = vec![cluster.nodes[0].ports.peer.to_string()];
    stranger.env = vec![("RUST_LOG".into(), "info,granary_node::transport=debug".into())];
    stranger.start().unwrap();
    for named in ["no answer to Hello", &cluster.cluster_id, &other.cluster_id] {
        stranger.logged(named).await.unwrap();
    }
    let join = JoinRequest {
        cluster_id: cluster.cluster_id.clone(),
        seeds: other.nodes[0].seeds.clone(),
        operator_token: cluster.token,
        domains: None,
    };
    let refused = other.nodes[0].admin().unwrap().join(join).await.unwrap_err();
    assert!(refused.message().contains(&cluster.cluster_id) && refused.message().contains(&other.cluster_id));
    assert_eq!(cluster.state().await.unwrap().nodes.len(), 1);
    for one in [cluster, other] {
        one.client().await.unwrap().put("key", "value").await.unwrap();
    }
}
