//! Compares the replicas of each shard: equal rows at an equal applied index.

use granary_proto::admin::{ReplicaHashRequest, ReplicaHashResponse};

use crate::{HarnessError, Result, cluster::Cluster, node::LIMIT, wait::until};

impl Cluster {
    /// Waits until all replicas of every shard stand at one applied index, and compares their rows. Nothing may be
    /// written meanwhile, or they never stand still. Gives the rows of all shards together.
    pub async fn replicas_are_equal(&self) -> Result<u64> {
        let mut rows = 0;
        for shard in 0..=self.shape.shards {
            rows += self.compare(shard).await?;
        }
        Ok(rows)
    }

    async fn compare(&self, shard: u32) -> Result<u64> {
        let all = until(&format!("the replicas of shard {shard} stand at one index"), LIMIT, || async {
            let all = self.hashes(shard).await.map_err(|error| error.to_string())?;
            let at = all.first().map(|(_, hash)| hash.applied_index);
            let enough = all.len() >= self.shape.factor as usize;
            let level = all.iter().all(|(_, hash)| Some(hash.applied_index) == at);
            if enough && level { Ok(all) } else { Err(format!("{all:?}")) }
        })
        .await?;
        let first = all.first().map(|(_, hash)| (hash.hash, hash.rows));
        match all.iter().all(|(_, hash)| Some((hash.hash, hash.rows)) == first) {
            true => Ok(first.map_or(0, |(_, rows)| rows)),
            false => Err(HarnessError(format!("the replicas of shard {shard} differ at one applied index: {all:?}"))),
        }
    }

    /// By name of node; running nodes that hold a replica only.
    async fn hashes(&self, shard: u32) -> Result<Vec<(String, ReplicaHashResponse)>> {
        let mut all = Vec::new();
        for node in self.nodes.iter().filter(|node| node.runs()) {
            match node.admin()?.replica_hash(ReplicaHashRequest { shard_id: shard }).await {
                Ok(answer) => all.push((node.name.clone(), answer.into_inner())),
                Err(status) if status.code() == tonic::Code::NotFound => {}
                Err(status) => return Err(HarnessError::because(&node.name, status)),
            }
        }
        Ok(all)
    }
}
