//! A cluster's state, and short ways to change it, for the tests.

use granary_proto::{
    admin::{
        AcquireOperatorRequest, BootstrapRequest, CreateShardsRequest, DrainRequest, Founder, Placement,
        Reconfiguration, ReconfigureOutcome, ReconfigureRequest, ReserveStopRequest,
    },
    map::{Addresses, ClusterMap, Group, Node, Replica, ReplicaRole, Shard},
    raft::{JoinClusterRequest, SpentReplica},
    storage::{GroupReport, MetaCommand, MetaState, Refused, Reports, meta_answer::Kind, meta_command::Operation},
};

use crate::meta;

pub const CLUSTER: &str = "00000000-0000-4000-8000-0000000000ff";

pub fn uuid(n: u64) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

pub fn bootstrap() -> BootstrapRequest {
    let founder = |n: u64| Founder { node_id: n, uuid: uuid(n), name: format!("node-{n}"), ..Default::default() };
    BootstrapRequest {
        cluster_id: CLUSTER.into(),
        founders: (1..=3).map(founder).collect(),
        replication_factor: 3,
        shard_count: 4,
        feature_level: 1,
    }
}

/// A cluster of three nodes and the token of its operator.
pub struct Cluster {
    pub state: MetaState,
    pub now: u64,
    pub token: u64,
    index: u64,
}

impl Cluster {
    pub fn new() -> Self {
        let state = meta::founded(&bootstrap()).unwrap();
        let mut cluster = Self { state, now: 1_000_000, token: 0, index: 5 };
        cluster.token = cluster.acquire("installation", "process").unwrap();
        cluster
    }

    /// With 4 data shards on nodes 1 to 3, and the nodes 4 to `nodes` besides.
    pub fn with_shards(nodes: u64) -> Self {
        let mut cluster = Self::new();
        cluster.create(&[1, 2, 3]).unwrap();
        for n in 4..=nodes {
            assert_eq!(cluster.join(&uuid(n), "node"), Ok(n));
        }
        cluster
    }

    pub fn map(&self) -> &ClusterMap {
        self.state.map.as_ref().unwrap()
    }

    pub fn node(&self, id: u64) -> &Node {
        self.map().nodes.iter().find(|node| node.id == id).unwrap()
    }

    pub fn shard(&self, id: u32) -> &Shard {
        &self.map().shards[id as usize]
    }

    /// (node, replica) of a shard's target.
    pub fn target(&self, id: u32) -> Vec<(u64, u64)> {
        self.shard(id).target.as_ref().unwrap().replicas.iter().map(|replica| (replica.node_id, replica.id)).collect()
    }

    pub fn execute(&mut self, operation: Operation) -> Kind {
        self.index += 1;
        let command = MetaCommand { leader_time_ms: self.now, operation: Some(operation) };
        meta::apply(&mut self.state, &command, self.index).unwrap().kind.unwrap()
    }

    pub fn run(&mut self, operation: Operation) -> Result<u64, Refused> {
        match self.execute(operation) {
            Kind::Done(done) => Ok(done),
            Kind::Refused(refused) => Err(refused),
            Kind::Reconfigured(response) => panic!("not a reconfiguration, but answered {response:?}"),
        }
    }

    pub fn acquire(&mut self, installation: &str, process: &str) -> Result<u64, Refused> {
        let request = AcquireOperatorRequest { installation: installation.into(), process: process.into() };
        self.run(Operation::AcquireOperator(request))
    }

    pub fn join_request(&self, uuid: &str, name: &str) -> JoinClusterRequest {
        JoinClusterRequest {
            cluster_id: CLUSTER.into(),
            uuid: uuid.into(),
            name: name.into(),
            addresses: Some(Addresses { kv: "127.0.0.1:1".into(), peer: "127.0.0.1:2".into() }),
            domains: None,
            feature_level: 1,
            operator_token: self.token,
        }
    }

    pub fn join(&mut self, uuid: &str, name: &str) -> Result<u64, Refused> {
        let request = self.join_request(uuid, name);
        self.run(Operation::Join(request))
    }

    pub fn create(&mut self, node_ids: &[u64]) -> Result<u64, Refused> {
        let placement = |shard_id| Placement { shard_id, node_ids: node_ids.to_vec() };
        let request = CreateShardsRequest { operator_token: self.token, shards: (1..=4).map(placement).collect() };
        self.run(Operation::CreateShards(request))
    }

    pub fn drain(&mut self, node_id: u64) -> Result<u64, Refused> {
        self.run(Operation::Drain(DrainRequest { operator_token: self.token, node_id }))
    }

    pub fn reserve(&mut self, node_id: u64) -> Result<u64, Refused> {
        self.run(Operation::ReserveStop(ReserveStopRequest { operator_token: self.token, node_id }))
    }

    pub fn reconfigure(&mut self, items: &[(u32, &[u64], u64)]) -> Vec<ReconfigureOutcome> {
        let item = |(shard_id, nodes, expected_version): &(u32, &[u64], u64)| Reconfiguration {
            shard_id: *shard_id,
            node_ids: nodes.to_vec(),
            expected_version: *expected_version,
        };
        let request = ReconfigureRequest { operator_token: self.token, items: items.iter().map(item).collect() };
        match self.execute(Operation::Reconfigure(request)) {
            Kind::Reconfigured(response) => response.outcomes,
            other => panic!("a reconfiguration was answered {other:?}"),
        }
    }

    /// Moves one shard; the refusal's text if it is refused.
    pub fn move_shard(&mut self, shard_id: u32, nodes: &[u64], expected_version: u64) -> Result<(), String> {
        let outcome = self.reconfigure(&[(shard_id, nodes, expected_version)]).remove(0);
        if outcome.accepted { Ok(()) } else { Err(outcome.message) }
    }

    /// The group of a shard reports itself: (node, replica, role).
    pub fn report(&mut self, shard_id: u32, version: u64, replicas: &[(u64, u64, ReplicaRole)]) {
        let replica = |&(node_id, id, role): &(u64, u64, ReplicaRole)| Replica { id, node_id, role: role.into() };
        let joint = replicas.iter().any(|(_, _, role)| *role == ReplicaRole::Outgoing);
        let highest_replica_id = replicas.iter().map(|(_, id, _)| *id).max().unwrap_or_default();
        self.report_group(
            shard_id,
            Group { version, replicas: replicas.iter().map(replica).collect(), joint, highest_replica_id },
        );
    }

    /// The group of a shard reports itself.
    pub fn report_group(&mut self, shard_id: u32, group: Group) {
        let groups = vec![GroupReport { shard_id, group: Some(group) }];
        self.run(Operation::Reports(Reports { groups, ..Reports::default() })).unwrap();
    }

    /// A node says that it can never make this replica.
    pub fn spent(&mut self, shard_id: u32, replica_id: u64) {
        let spent = vec![SpentReplica { shard_id, replica_id }];
        self.run(Operation::Reports(Reports { spent, ..Reports::default() })).unwrap();
    }
}
