//! Compares the replicas of every shard when nothing is written: equal rows at an equal applied index.

use std::time::Duration;

use granary_proto::admin::{ReplicaHashRequest, ReplicaHashResponse, admin_client::AdminClient};
use granary_tests::{HarnessError, Result, node::channel, wait::until};

use crate::cluster::Cluster;

/// Longest time until the replicas of a shard stand at one index.
const LEVEL: Duration = Duration::from_secs(60);
/// Copies of each shard.
const FACTOR: usize = 3;

/// Gives the shards whose replicas differ, as text.
pub async fn that_differ(cluster: &Cluster) -> Result<Vec<String>> {
    let mut differ = Vec::new();
    for shard in 0..=cluster.shards {
        let all = until(&format!("the replicas of shard {shard} stand at one index"), LEVEL, || async {
            let all = hashes(cluster, shard).await.map_err(|error| error.to_string())?;
            let at = all.first().map(|(_, hash)| hash.applied_index);
            let level = all.iter().all(|(_, hash)| Some(hash.applied_index) == at);
            if all.len() >= FACTOR && level { Ok(all) } else { Err(format!("{all:?}")) }
        })
        .await?;
        let first = all.first().map(|(_, hash)| (hash.hash, hash.rows));
        if all.iter().any(|(_, hash)| Some((hash.hash, hash.rows)) != first) {
            differ.push(format!("the replicas of shard {shard} differ at one applied index: {all:?}"));
        }
    }
    Ok(differ)
}

/// Of those that hold one, by node.
async fn hashes(cluster: &Cluster, shard_id: u32) -> Result<Vec<(u64, ReplicaHashResponse)>> {
    let mut all = Vec::new();
    for node in cluster.nodes()?.into_iter().filter(|node| node.id != 0) {
        let asked = AdminClient::new(channel(&node.peer)?).replica_hash(ReplicaHashRequest { shard_id }).await;
        match asked {
            Ok(answer) => all.push((node.id, answer.into_inner())),
            Err(status) if status.code() == tonic::Code::NotFound => {}
            Err(status) => return Err(HarnessError::because(format!("node {}", node.id), status)),
        }
    }
    Ok(all)
}
