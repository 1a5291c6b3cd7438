//! A replica that was removed while its node was down: when it comes back it is told, removes itself, and its id is
//! never used again (HAZARDS H2, H26).

use granary_proto::admin::ReplicaHashRequest;
use granary_tests::{
    cluster::{Cluster, Shape},
    node::{LIMIT, Node},
    wait::until,
};

/// The replica of a shard that a node holds.
async fn replica(node: &Node, shard_id: u32) -> Result<Option<u64>, String> {
    let mut admin = node.admin().map_err(|error| error.to_string())?;
    match admin.replica_hash(ReplicaHashRequest { shard_id }).await {
        Ok(answer) => Ok(Some(answer.into_inner().replica_id)),
        Err(status) if status.code() == tonic::Code::NotFound => Ok(None),
        Err(status) => Err(status.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_removed_while_their_node_was_down_go_when_it_is_back_and_their_ids_stay_spent() {
    let mut cluster = Cluster::found(Shape { nodes: 4, factor: 3, shards: 4 }).await.unwrap();
    let client = cluster.client().await.unwrap();
    client.put("key", "value").await.unwrap();
    let mut spent = Vec::new();
    for shard in 0..=4 {
        spent.extend(replica(&cluster.nodes[2], shard).await.unwrap().map(|id| (shard, id)));
    }
    assert!(spent.len() >= 3, "{spent:?}");

    cluster.nodes[2].kill();
    let away: Vec<(u32, Vec<u64>)> = (0..=4).map(|shard| (shard, vec![1, 2, 4])).collect();
    cluster.reconfigure(&away).await.unwrap();
    cluster.whole().await.unwrap();
    cluster.nodes[2].start().unwrap();
    for (shard, _) in &spent {
        until(&format!("the replica of shard {shard} is gone"), LIMIT, || async {
            match replica(&cluster.nodes[2], *shard).await? {
                None => Ok(()),
                Some(id) => Err(format!("replica {id} is there")),
            }
        })
        .await
        .unwrap();
    }
    // Asked back, the node gets the shards under new ids.
    let back: Vec<(u32, Vec<u64>)> = spent.iter().map(|(shard, _)| (*shard, vec![1, 2, 3])).collect();
    cluster.reconfigure(&back).await.unwrap();
    cluster.whole().await.unwrap();
    for (shard, old) in spent {
        let new = replica(&cluster.nodes[2], shard).await.unwrap();
        assert!(new.is_some_and(|new| new > old), "shard {shard}: {old} became {new:?}");
    }
    assert_eq!(client.get("key").await.unwrap().unwrap().value, "value");
    cluster.replicas_are_equal().await.unwrap();
}
