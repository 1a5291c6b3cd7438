//! Our data API by plain unary calls, as a foreign client makes them: to the node that leads the key's shard by the map,
//! which passes the request on if another one does by now.

use std::{collections::BTreeMap, sync::Arc};

use granary_common::slot_of;
use granary_load::{Op, Target};
use granary_proto::kv::{GetClusterMapRequest, GetRequest, PutRequest, Routing, kv_client::KvClient};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use crate::error::{BenchError, Doing as _, Result};

/// One connection to each node.
#[derive(Clone, Debug)]
pub struct Unary {
    /// First slot of each range, and who leads it.
    leaders: Arc<BTreeMap<u32, KvClient<Channel>>>,
}

impl Unary {
    pub(super) async fn connect(endpoints: &[String]) -> Result<Self> {
        let first = endpoints.first().ok_or_else(|| BenchError("no endpoint".into()))?;
        let answer =
            client(first)?.get_cluster_map(GetClusterMapRequest::default()).await.doing("asking for the map")?;
        let answer = answer.into_inner();
        let map = answer.map.ok_or_else(|| BenchError("no map".into()))?;
        let mut nodes = BTreeMap::new();
        for node in &map.nodes {
            let address = node.addresses.as_ref().map_or("", |addresses| addresses.kv.as_str());
            nodes.insert(node.id, client(address)?);
        }
        let leader = |hint: &granary_proto::kv::LeaderHint| {
            let range = map.shards.iter().find(|shard| shard.id == hint.shard_id)?.range.as_ref()?;
            Some((range.start, nodes.get(&hint.node_id)?.clone()))
        };
        Ok(Self { leaders: Arc::new(answer.leaders.iter().filter_map(leader).collect()) })
    }

    fn leader(&self, key: &[u8]) -> std::result::Result<KvClient<Channel>, String> {
        let slot = u32::from(slot_of(key));
        let leader = self.leaders.range(..=slot).next_back();
        leader.map(|(_, client)| client.clone()).ok_or_else(|| "a slot without a leader".into())
    }
}

fn client(address: &str) -> Result<KvClient<Channel>> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).doing(address)?;
    Ok(KvClient::new(endpoint.tcp_nodelay(true).connect_lazy()))
}

impl Target for Unary {
    async fn ask(&self, op: Op) -> std::result::Result<u64, String> {
        let words = |status: Status| status.message().to_owned();
        let routing = Some(Routing { forward: true });
        match op {
            Op::Put { key, value } => {
                let mut leader = self.leader(&key)?;
                leader.put(PutRequest { key, value, retry: None, routing }).await.map(|_| 1).map_err(words)
            }
            Op::Get { key } => {
                let mut leader = self.leader(&key)?;
                leader.get(GetRequest { key, consistency: None, routing }).await.map(|_| 1).map_err(words)
            }
            Op::Batch { .. } | Op::Scan { .. } => Err("puts and gets only are measured by unary calls".into()),
        }
    }
}
