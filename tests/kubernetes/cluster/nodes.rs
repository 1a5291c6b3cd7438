//! What the storage nodes say themselves, asked through their Admin service: the truth that status is compared with.

use std::{collections::BTreeMap, time::Duration};

use granary_client::{Client, Options};
use granary_proto::{
    admin::{GetClusterStateRequest, GetClusterStateResponse, admin_client::AdminClient},
    map::{Node, ReplicaRole},
};
use granary_tests::{cluster::first_unfinished, wait::until};
use tonic::transport::Endpoint;

use super::{Cluster, objects::PEER_PORT};
use crate::failure::{Failure, Result};

/// Longest wait for one node's answer.
const ANSWER: Duration = Duration::from_secs(3);

/// What the meta shard's leader knows.
pub struct State(pub GetClusterStateResponse);

impl Cluster {
    /// What the meta shard's leader knows; any node that is reached may pass the question on.
    pub async fn state(&self) -> Result<State> {
        let mut last = "no pod has an address".to_owned();
        for address in self.addresses(PEER_PORT).await? {
            match ask(&address).await {
                Ok(state) => return Ok(State(state)),
                Err(refusal) => last = format!("{address}: {refusal}"),
            }
        }
        Err(Failure(format!("no node tells the cluster's state; last: {last}")))
    }

    /// Waits until what the nodes say is as wanted.
    pub async fn state_until(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&State) -> std::result::Result<(), String>,
    ) -> Result<State> {
        let waited = until(what, limit, || async {
            let state = self.state().await.map_err(|error| error.to_string())?;
            wanted(&state).map(|()| state)
        });
        Ok(waited.await?)
    }

    /// Waits until every shard has a leader and all replicas of its target, each of them caught up, and as many voters as
    /// the replication factor says.
    pub async fn whole(&self, limit: Duration) -> Result<State> {
        self.state_until("every shard is whole", limit, State::whole).await
    }

    /// A client of the cluster that reaches the pods directly.
    pub async fn client(&self) -> Result<Client> {
        let options = Options { timeout: Duration::from_secs(60), ..Options::default() };
        Ok(Client::connect(self.endpoints().await?, options).await?)
    }
}

async fn ask(address: &str) -> std::result::Result<GetClusterStateResponse, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| error.to_string())?;
    let channel = endpoint.connect_timeout(ANSWER).timeout(ANSWER).connect().await;
    let mut admin = AdminClient::new(channel.map_err(|error| error.to_string())?);
    let answer = admin.get_cluster_state(GetClusterStateRequest {}).await;
    answer.map(tonic::Response::into_inner).map_err(|status| status.to_string())
}

impl State {
    /// What is missing until every shard is whole.
    pub fn whole(&self) -> std::result::Result<(), String> {
        let map = self.0.map.clone().unwrap_or_default();
        let shards = map.shard_count as usize + 1;
        if self.0.shards.len() != shards {
            return Err(format!("{} of {shards} shards", self.0.shards.len()));
        }
        if let Some(unfinished) = first_unfinished(&self.0) {
            return Err(unfinished);
        }
        for shard in &self.0.shards {
            let group = shard.group.clone().unwrap_or_default();
            let voters = group.replicas.iter().filter(|replica| replica.role() == ReplicaRole::Voter).count();
            if voters != map.replication_factor as usize {
                return Err(format!("shard {} has {voters} voters", shard.shard_id));
            }
        }
        Ok(())
    }

    /// The members, by name of their place, such as node-0.
    pub fn members(&self) -> BTreeMap<String, Node> {
        let nodes = self.0.map.iter().flat_map(|map| &map.nodes);
        nodes.map(|node| (node.name.clone(), node.clone())).collect()
    }

    /// Replicas of data shards on each member, by name of its place.
    pub fn replicas(&self) -> BTreeMap<String, usize> {
        let on = |id: u64| {
            let shards = self.0.shards.iter().filter(|shard| shard.shard_id != 0);
            let groups = shards.flat_map(|shard| shard.group.iter().flat_map(|group| &group.replicas));
            groups.filter(|replica| replica.node_id == id).count()
        };
        self.members().into_iter().map(|(name, node)| (name, on(node.id))).collect()
    }

    /// Place of the member that leads a shard, such as node-0.
    pub fn leader(&self, shard: u32) -> Option<String> {
        let leader = self.0.shards.iter().find(|found| found.shard_id == shard)?.leader_node_id;
        self.members().into_iter().find(|(_, node)| node.id == leader).map(|(name, _)| name)
    }

    /// Shards two of whose voters are in one zone.
    pub fn sharing_a_zone(&self) -> Vec<u32> {
        let zone = |id: u64| {
            let node = self.members().into_values().find(|node| node.id == id);
            node.and_then(|node| node.domains).map(|domains| domains.zone).unwrap_or_default()
        };
        let shares = self.0.shards.iter().filter(|shard| {
            let replicas = shard.group.iter().flat_map(|group| &group.replicas);
            let zones: Vec<_> = replicas.map(|replica| zone(replica.node_id)).collect();
            (1..zones.len()).any(|index| zones[..index].contains(&zones[index]))
        });
        shares.map(|shard| shard.shard_id).collect()
    }
}
