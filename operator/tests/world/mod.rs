//! A cluster that is a few maps in memory, as substrate and as nodes, and that kills the loop between any two changes.
//!
//! Moves happen at once; what a real node checks before it does something is asserted here.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeMap;

use async_trait::async_trait;
use granary_operator::{
    node_admin::{AdminError, NodeAdmin, Order},
    substrate::{Founding, Look, Start, Substrate, SubstrateError},
};
use granary_planner::observed::{Disk, Domains, Place, Process, Seen};
use granary_proto::{
    admin::{
        AcquireOperatorRequest, BootstrapRequest, BootstrapResponse, GetClusterStateResponse, IdentifyResponse,
        JoinRequest, JoinResponse, NodeLiveness, ReconfigureOutcome, ShardLiveness,
    },
    map::{self, ClusterMap, Group, NodeState, ReplicaRole, Target},
    raft::{ReplicaProgress, Sender},
};
use parking_lot::Mutex;

#[derive(Default)]
pub struct World {
    pub state: Mutex<State>,
}

#[derive(Default)]
pub struct State {
    /// Changes until the loop is killed; `None`: never.
    pub fuse: Option<u32>,
    /// The loop was killed: its last call never came back.
    pub killed: bool,
    pub changes: u32,
    pub cluster_id: Option<String>,
    pub founded: bool,
    pub founding: Option<Founding>,
    /// What another process keeps of the founding right before this one does.
    pub other_founding: Option<Founding>,
    /// Place (index) whose blank node another process tells to join, right before this one gets its token.
    pub other_join: Option<u32>,
    pub places: BTreeMap<u32, Node>,
    pub draining_wishes: Vec<u64>,
    bootstrap: Option<BootstrapRequest>,
    pub map: Option<ClusterMap>,
    leaders: BTreeMap<u32, u64>,
    next_node: u64,
    next_replica: u64,
    next_uuid: u64,
    pub token: u64,
    /// Process that the token was given to.
    process: String,
}

/// A place and the node on its disk.
pub struct Node {
    pub running: bool,
    /// Runs and answers nobody.
    pub mute: bool,
    /// What it says its name is, when not its place's.
    pub poses_as: Option<String>,
    uuid: String,
    /// 0: blank.
    pub id: u64,
}

impl State {
    /// Called by each change once it is made. `Err`: the loop was killed then, and never hears of it.
    fn burn(&mut self) -> Result<(), String> {
        self.changes += 1;
        match &mut self.fuse {
            Some(left) if *left <= 1 => {
                self.killed = true;
                Err("killed".into())
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn check(&self, token: u64) -> Result<(), AdminError> {
        if token == self.token {
            return Ok(());
        }
        let (address, message) = ("peer".to_owned(), "an older token".to_owned());
        Err(AdminError::Refused { address, code: tonic::Code::FailedPrecondition, message })
    }

    fn map(&mut self) -> &mut ClusterMap {
        self.map.as_mut().expect("founded")
    }

    fn group(&mut self, nodes: &[u64], version: u64) -> Group {
        let replicas = nodes.iter().map(|node| {
            self.next_replica += 1;
            map::Replica { id: self.next_replica, node_id: *node, role: ReplicaRole::Voter.into() }
        });
        Group { version, replicas: replicas.collect(), joint: false, highest_replica_id: 0 }
    }

    fn add_shard(&mut self, id: u32, nodes: &[u64]) {
        let group = self.group(nodes, 1);
        let target = Target { number: 1, replicas: group.replicas.clone() };
        self.map().shards.push(map::Shard { id, range: None, target: Some(target), group: Some(group) });
        self.leaders.insert(id, nodes[0]);
    }

    fn add_node(&mut self, id: u64, uuid: String, name: String) {
        let state = NodeState::Active.into();
        self.map().nodes.push(map::Node { id, uuid, name, state, ..map::Node::default() });
    }

    /// The node at the place (index) is a member from here on. Gives its id.
    fn join(&mut self, index: u32) -> u64 {
        let node = self.places.get_mut(&index).expect("a place");
        if node.id == 0 {
            self.next_node += 1;
            node.id = self.next_node;
            let (id, uuid) = (node.id, node.uuid.clone());
            self.add_node(id, uuid, format!("node-{index}"));
        }
        self.places[&index].id
    }

    fn reconfigure(&mut self, shard: u32, nodes: &[u64], expected: u64) -> ReconfigureOutcome {
        let at = self.map().shards.iter().position(|of| of.id == shard).expect("a known shard");
        let version = self.map().shards[at].group.as_ref().map_or(0, |group| group.version);
        if version != expected {
            return ReconfigureOutcome { shard_id: shard, accepted: false, message: "another version".into() };
        }
        let group = self.group(nodes, version + 1);
        let of = &mut self.map().shards[at];
        of.target = Some(Target { number: version + 1, replicas: group.replicas.clone() });
        of.group = Some(group);
        if !nodes.contains(&self.leaders[&shard]) {
            self.leaders.insert(shard, nodes[0]);
        }
        ReconfigureOutcome { shard_id: shard, accepted: true, message: String::new() }
    }

    fn mark(&mut self, node: u64, state: NodeState) {
        let node = self.map().nodes.iter_mut().find(|of| of.id == node).expect("a known node");
        node.state = state.into();
    }

    fn remove(&mut self, node: u64) {
        assert_eq!(self.replicas(node), 0, "node {node} still holds replicas");
        self.map().nodes.retain(|of| of.id != node);
    }

    /// Replicas of the data shards and the meta shard on a node.
    pub fn replicas(&self, node: u64) -> usize {
        let shards = self.map.iter().flat_map(|map| &map.shards).filter_map(|shard| shard.group.as_ref());
        shards.filter(|group| group.replicas.iter().any(|replica| replica.node_id == node)).count()
    }

    /// (least, most) shards led by a member.
    pub fn leaders(&self) -> (usize, usize) {
        let led = self
            .map
            .iter()
            .flat_map(|map| &map.nodes)
            .map(|node| self.leaders.iter().filter(|(shard, leader)| **shard != 0 && **leader == node.id).count());
        let led: Vec<_> = led.collect();
        (led.iter().copied().min().unwrap_or(0), led.iter().copied().max().unwrap_or(0))
    }

    fn at(&mut self, address: &str) -> Result<&mut Node, AdminError> {
        let index = index_of(address);
        let gone = AdminError::Unreachable { address: address.into(), message: "nobody listens".into() };
        self.places.get_mut(&index).filter(|node| node.running && !node.mute).ok_or(gone)
    }
}

fn index_of(address: &str) -> u32 {
    address.trim_start_matches("peer:").parse().expect("an address of ours")
}

fn killed(message: String) -> AdminError {
    AdminError::Unreachable { address: "peer".into(), message }
}

#[async_trait]
impl Substrate for World {
    fn installation(&self) -> String {
        "installation".into()
    }

    async fn look(&self) -> Result<Look, SubstrateError> {
        let state = self.state.lock();
        let place = |(index, node): (&u32, &Node)| Place {
            index: *index,
            name: format!("node-{index}"),
            process: Seen::Fresh(if node.running { Process::Running } else { Process::Stopped }),
            disk: if node.id == 0 {
                Seen::Fresh(Disk::Blank { uuid: None })
            } else {
                Seen::Unknown("not asked".into())
            },
            peer_address: Some(format!("peer:{index}")),
            kv_address: Some(format!("kv:{index}")),
            domains: Domains::default(),
            restart: None,
            cordoned: false,
        };
        Ok(Look {
            cluster_id: state.cluster_id.clone(),
            founded: state.founded,
            places: state.places.iter().map(place).collect(),
            founding: state.founding.clone(),
            draining: state.draining_wishes.clone(),
            taken: Vec::new(),
            kept: None,
            storage: Default::default(),
            notes: Vec::new(),
            problems: Vec::new(),
        })
    }

    async fn mint_cluster_id(&self) -> Result<(), SubstrateError> {
        let mut state = self.state.lock();
        state.cluster_id.get_or_insert("cluster".into());
        state.burn().map_err(SubstrateError::Place)
    }

    async fn keep_founding(&self, founding: Founding, replace: bool) -> Result<Founding, SubstrateError> {
        let mut state = self.state.lock();
        if let Some(other) = state.other_founding.take() {
            state.founding = Some(other);
        }
        let kept = match state.founding.clone() {
            Some(kept) if !replace => kept,
            _ => founding,
        };
        if state.founding.as_ref() != Some(&kept) {
            state.founding = Some(kept.clone());
            state.burn().map_err(SubstrateError::Place)?;
        }
        Ok(kept)
    }

    async fn note_founded(&self) -> Result<(), SubstrateError> {
        let mut state = self.state.lock();
        state.founded = true;
        state.burn().map_err(SubstrateError::Place)
    }

    async fn start_node(&self, index: u32) -> Result<Start, SubstrateError> {
        let mut state = self.state.lock();
        state.next_uuid += 1;
        let uuid = format!("uuid-{}", state.next_uuid);
        state
            .places
            .entry(index)
            .or_insert(Node { running: false, mute: false, poses_as: None, uuid, id: 0 })
            .running = true;
        state.burn().map_err(SubstrateError::Place)?;
        Ok(Start::Started)
    }

    async fn restart(&self, _: u32) -> Result<(), SubstrateError> {
        self.state.lock().burn().map_err(SubstrateError::Place)
    }

    async fn retire(&self, index: u32) -> Result<(), SubstrateError> {
        let mut state = self.state.lock();
        let id = state.places.get(&index).map_or(0, |node| node.id);
        let member = state.map.iter().flat_map(|map| &map.nodes).any(|node| node.id == id);
        assert!(!member, "place {index} holds the member {id}");
        state.places.remove(&index);
        state.burn().map_err(SubstrateError::Place)
    }
}

#[async_trait]
impl NodeAdmin for World {
    async fn identify(&self, address: &str) -> Result<IdentifyResponse, AdminError> {
        let mut state = self.state.lock();
        let node = state.at(address)?;
        let (uuid, node_id) = (node.uuid.clone(), node.id);
        let name = node.poses_as.clone().unwrap_or_default();
        let cluster_id = if node_id == 0 { String::new() } else { "cluster".into() };
        let sender = Sender { cluster_id, node_id, uuid, ..Sender::default() };
        Ok(IdentifyResponse { sender: Some(sender), name, ready: node_id != 0, ..IdentifyResponse::default() })
    }

    async fn cluster_state(&self, _: &[String]) -> Result<GetClusterStateResponse, AdminError> {
        let state = self.state.lock();
        let Some(map) = state.map.clone() else { return Err(killed("the meta shard has no leader".into())) };
        let alive = |id: u64| state.places.values().any(|node| node.id == id && node.running);
        let nodes = map.nodes.iter().map(|node| NodeLiveness {
            node_id: node.id,
            silent_for_ms: if alive(node.id) { 0 } else { 3_600_000 },
            heard: true,
            ..NodeLiveness::default()
        });
        let shards = map.shards.iter().map(|shard| {
            let group = shard.group.clone().expect("a group");
            let progress = group.replicas.iter().map(|replica| ReplicaProgress {
                replica_id: replica.id,
                active: alive(replica.node_id),
                caught_up: alive(replica.node_id),
                ..ReplicaProgress::default()
            });
            ShardLiveness {
                shard_id: shard.id,
                leader_node_id: state.leaders[&shard.id],
                term: 6,
                progress: progress.collect(),
                group: Some(group),
                bytes: 1000,
                last_index: 10,
            }
        });
        Ok(GetClusterStateResponse {
            nodes: nodes.collect(),
            shards: shards.collect(),
            map: Some(map),
            meta_leader_node_id: state.leaders[&0],
            leading_for_ms: 3_600_000,
            operator_token: state.token,
            operator_installation: "installation".into(),
            ..GetClusterStateResponse::default()
        })
    }

    async fn acquire(&self, _: &[String], request: AcquireOperatorRequest) -> Result<u64, AdminError> {
        let mut state = self.state.lock();
        if let Some(index) = state.other_join.take() {
            state.join(index);
        }
        if state.process != request.process {
            state.process = request.process;
            state.token += 1;
            state.burn().map_err(killed)?;
        }
        Ok(state.token)
    }

    async fn bootstrap(&self, address: &str, request: BootstrapRequest) -> Result<BootstrapResponse, AdminError> {
        let mut state = self.state.lock();
        let first = state.bootstrap.get_or_insert(request.clone()).clone();
        assert_eq!(first, request, "founders got different content");
        let node = state.at(address)?;
        let founder = request.founders.iter().find(|founder| founder.uuid == node.uuid).expect("a founder");
        if std::mem::replace(&mut node.id, founder.node_id) != 0 {
            return Ok(BootstrapResponse { cluster_id: request.cluster_id, node_id: founder.node_id });
        }
        let accepted = state.places.values().filter(|node| node.id != 0).count();
        if accepted > request.founders.len() / 2 && state.map.is_none() {
            state.map = Some(ClusterMap {
                cluster_id: request.cluster_id.clone(),
                version: 1,
                feature_level: request.feature_level,
                replication_factor: request.replication_factor,
                shard_count: request.shard_count,
                ..ClusterMap::default()
            });
            let ids: Vec<_> = request.founders.iter().map(|founder| founder.node_id).collect();
            for founder in &request.founders {
                state.add_node(founder.node_id, founder.uuid.clone(), founder.name.clone());
            }
            state.next_node = ids.len() as u64;
            state.add_shard(0, &ids);
        }
        state.burn().map_err(killed)?;
        Ok(BootstrapResponse { cluster_id: request.cluster_id, node_id: founder.node_id })
    }

    async fn join(&self, address: &str, request: JoinRequest) -> Result<JoinResponse, AdminError> {
        let mut state = self.state.lock();
        state.check(request.operator_token)?;
        assert_eq!(request.cluster_id, "cluster");
        state.at(address)?;
        let node_id = state.join(index_of(address));
        state.burn().map_err(killed)?;
        Ok(JoinResponse { node_id })
    }

    async fn order(&self, _: &[String], token: u64, order: Order) -> Result<Vec<ReconfigureOutcome>, AdminError> {
        let mut state = self.state.lock();
        state.check(token)?;
        let mut outcomes = Vec::new();
        match order {
            Order::CreateShards(request) => {
                if state.map().shards.len() == 1 {
                    request.shards.iter().for_each(|shard| state.add_shard(shard.shard_id, &shard.node_ids));
                }
            }
            Order::Reconfigure(request) => {
                for item in &request.items {
                    outcomes.push(state.reconfigure(item.shard_id, &item.node_ids, item.expected_version));
                }
            }
            Order::TransferLeaders(request) => {
                for transfer in &request.transfers {
                    state.leaders.insert(transfer.shard_id, transfer.to_node_id);
                }
            }
            Order::Drain(node) => state.mark(node, NodeState::Draining),
            Order::CancelDrain(node) => state.mark(node, NodeState::Active),
            Order::ReserveStop(_) | Order::ReleaseStop(_) => {}
            Order::RemoveNode(node) => state.remove(node),
        }
        if let Some(map) = &mut state.map {
            map.version += 1;
        }
        state.burn().map_err(killed)?;
        Ok(outcomes)
    }
}
