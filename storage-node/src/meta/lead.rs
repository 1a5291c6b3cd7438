//! The meet point of everything about the meta shard on one node: who leads it, what this node heard as its leader, and
//! entries proposed to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use granary_common::{META_SHARD, NodeId, ShardId};
use granary_duties::{reporting::check_member, view::View};
use granary_proto::{
    map::ClusterMap,
    raft::{
        JoinClusterRequest, JoinClusterResponse, MapLeader, PushMapRequest, PushMapResponse, ReportRequest,
        ReportResponse, Sender,
    },
    storage::{MetaAnswer, MetaCommand, Refused, meta_answer::Kind, meta_command::Operation},
};
use granary_store::Role;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};
use tonic::{Code, Status, metadata::MetadataValue};

use super::{away, proposer, pusher, reporter};
use crate::{
    drivers::{Applied, StoreError, StoreHandle, clock},
    map::{self, MapHolder},
    member::Member,
};

/// Metadata of an UNAVAILABLE answer: the peer address of the node that leads the meta shard, where it is known.
pub const LEADER_HINT: &str = "granary-meta-leader";
/// Longest wait for an entry of the meta shard.
const PROPOSAL_LIMIT: Duration = Duration::from_secs(5);
/// Longest name, address or failure domain of a node, in bytes: a DNS name of 253, a colon and a port.
const MAX_TEXT: usize = 259;
/// Longest wait for an applied change to show in the map here.
const MAP_LIMIT: Duration = Duration::from_secs(2);
/// What the meta shard's leader told of other leaders counts this long.
const TOLD_LEADERS_COUNT: Duration = Duration::from_secs(5);

/// See the module.
pub struct MetaLead {
    id: NodeId,
    cluster_id: String,
    store: StoreHandle,
    map: MapHolder,
    view: Mutex<View>,
    told: Mutex<Told>,
    leaving: watch::Sender<bool>,
    heard: Notify,
}

/// What the meta shard's leader said in its last answer.
#[derive(Default)]
struct Told {
    leader: Option<NodeId>,
    leaders: Vec<MapLeader>,
    /// Nodes without room on their disks; `None`: there are none.
    read_only: Option<Arc<BTreeSet<u64>>>,
    at: Option<Instant>,
}

impl MetaLead {
    /// For node `id` of cluster `cluster_id`. Nothing runs before [`MetaLead::start`].
    pub fn new(id: NodeId, cluster_id: String, store: StoreHandle, map: MapHolder) -> Self {
        Self {
            id,
            cluster_id,
            store,
            map,
            view: Mutex::default(),
            told: Mutex::default(),
            leaving: watch::Sender::new(false),
            heard: Notify::new(),
        }
    }

    /// Starts what runs beside the calls: the reporter, the proposer of reports, the pusher of maps, and the watch over
    /// leaders that shall be away. They end when the set is dropped.
    pub fn start(member: &Arc<Member>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn(reporter::run(member.clone()));
        tasks.spawn(proposer::run(member.clone()));
        tasks.spawn(pusher::run(member.clone()));
        tasks.spawn(away::run(member.clone()));
        tasks
    }

    /// From now on this node gives its leaders away, whatever the map says: it is stopping.
    pub fn leave(&self) {
        self.leaving.send_replace(true);
    }

    /// Whether this node gives its leaders away by itself.
    pub(super) fn leaves(&self) -> bool {
        *self.leaving.borrow()
    }

    pub(super) fn leaving(&self) -> watch::Receiver<bool> {
        self.leaving.subscribe()
    }

    /// Whether this node leads the meta shard, as far as it knows: one that was deposed may not know yet. Enough to take
    /// reports in; an answer is given only behind a read of the meta shard.
    pub fn leads(&self) -> bool {
        self.leading_term().is_some()
    }

    /// Node that leads the meta shard, as far as this one knows.
    pub fn meta_leader(&self) -> Option<NodeId> {
        let by_group = self.store.published(META_SHARD).and_then(|state| state.leader);
        match by_group.or_else(|| self.told.lock().leader) {
            Some(leader) if leader == self.id && !self.leads() => None,
            leader => leader,
        }
    }

    /// Gives `ask` the leader's view as of now, with the map. The view is empty where this node does not lead.
    pub fn with_view<T>(&self, ask: impl FnOnce(&View, &ClusterMap, Instant) -> T) -> T {
        let map = self.map.current();
        let now = Instant::now();
        let mut view = self.view.lock();
        view.tick(self.leading_term(), now);
        ask(&view, &map, now)
    }

    /// Leaders that this node knows, in order of shard: of its own groups by their word, of others by that of the meta
    /// shard's leader. A hint for routing.
    pub fn leaders(&self) -> Vec<(ShardId, NodeId)> {
        let mut leaders: BTreeMap<ShardId, NodeId> = BTreeMap::new();
        {
            let told = self.told.lock();
            if told.at.is_some_and(|at| at.elapsed() < TOLD_LEADERS_COUNT) {
                leaders.extend(told.leaders.iter().map(|told| (ShardId(told.shard_id), NodeId(told.node_id))));
            }
        }
        leaders.extend(self.with_view(|view, _, now| view.leaders(now)));
        let own = self.store.all_published();
        leaders.extend(own.iter().filter_map(|state| Some((state.shard, state.leader?))));
        leaders.into_iter().collect()
    }

    /// A node's report. Taken in when this node leads the meta shard, else answered with who does.
    ///
    /// # Errors
    /// FAILED_PRECONDITION when the sender is not a node of this cluster (any more).
    pub async fn report(&self, request: ReportRequest) -> Result<ReportResponse, Status> {
        let map = self.map.current();
        let sender = request.sender.as_ref().ok_or_else(|| Status::invalid_argument("sender is missing"))?;
        self.check_cluster(sender)?;
        if !self.leads() {
            let meta_leader_node_id = self.meta_leader().map_or(0, |leader| leader.0);
            return Ok(ReportResponse { meta_leader_node_id, ..ReportResponse::default() });
        }
        if request.map_version > map.version {
            // A new leader that has not applied all yet must not take a new node for a removed one.
            return Err(Status::unavailable("the new leader of the meta shard is not up to date yet; report again"));
        }
        check_member(&map, sender).map_err(|refused| Status::failed_precondition(refused.to_string()))?;
        let newer = (request.map_version < map.version).then(|| ClusterMap::clone(&map));
        let now = Instant::now();
        let (accepted, leaders, read_only_node_ids) = {
            let mut view = self.view.lock();
            view.tick(self.leading_term(), now);
            view.retain(&map);
            (view.record(request, now), view.leaders(now), view.read_only_nodes(now))
        };
        self.heard.notify_one();
        let leaders = leaders.iter().map(|(shard, node)| MapLeader { shard_id: shard.0, node_id: node.0 }).collect();
        let meta_leader_node_id = self.id.0;
        Ok(ReportResponse { map: newer, meta_leader_node_id, accepted, leaders, read_only_node_ids })
    }

    /// A map from the meta shard's leader; kept when it is newer.
    ///
    /// # Errors
    /// FAILED_PRECONDITION when it is of another cluster, INVALID_ARGUMENT when a part is missing.
    pub async fn push_map(&self, request: PushMapRequest) -> Result<PushMapResponse, Status> {
        let sender = request.sender.as_ref().ok_or_else(|| Status::invalid_argument("sender is missing"))?;
        self.check_cluster(sender)?;
        let map = request.map.ok_or_else(|| Status::invalid_argument("map is missing"))?;
        if map.cluster_id != self.cluster_id {
            return Err(other_cluster(&map.cluster_id, &self.cluster_id));
        }
        self.map.offer(map);
        Ok(PushMapResponse { map_version: self.map.current().version })
    }

    /// A blank node that wants to be a member.
    ///
    /// # Errors
    /// UNAVAILABLE with [`LEADER_HINT`] where another node leads, INVALID_ARGUMENT for a text that is too long; what the
    /// machine refuses, with its code.
    pub async fn join_cluster(&self, request: JoinClusterRequest) -> Result<JoinClusterResponse, Status> {
        check_texts(&request)?;
        let uuid = request.uuid.clone();
        let node_id = done(self.propose(Operation::Join(request)).await?)?;
        let mut maps = self.map.subscribe();
        let shows = |map: &Arc<ClusterMap>| map.nodes.iter().any(|node| node.id == node_id && node.uuid == uuid);
        let map = match tokio::time::timeout(MAP_LIMIT, maps.wait_for(shows)).await {
            Ok(Ok(map)) => ClusterMap::clone(&map),
            _ => return Err(Status::unavailable(format!("node {node_id} is not in the map here yet; ask again"))),
        };
        Ok(JoinClusterResponse { node_id, map: Some(map) })
    }

    /// Makes an entry of the meta shard and waits for its answer. A refusal comes back as an error with its code.
    ///
    /// # Errors
    /// UNAVAILABLE with [`LEADER_HINT`] where another node leads, RESOURCE_EXHAUSTED when there is too much work, UNKNOWN
    /// when it may or may not be done.
    pub async fn propose(&self, operation: Operation) -> Result<MetaAnswer, Status> {
        if !self.leads() {
            return Err(self.not_leader());
        }
        let command = MetaCommand { leader_time_ms: clock::unix_ms(), operation: Some(operation) };
        let applied = self.store.propose(META_SHARD, command.encode_to_vec().into(), PROPOSAL_LIMIT).await;
        match applied.map_err(|error| self.store_error(&error))? {
            Applied::Meta(answer) => match answer.kind {
                Some(Kind::Refused(refused)) => Err(refusal(refused)),
                _ => Ok(answer),
            },
            Applied::Data(_) => Err(Status::internal("the meta shard answered as a data shard")),
        }
    }

    /// "Another node leads the meta shard", with its address where it is known.
    pub fn not_leader(&self) -> Status {
        let Some(leader) = self.meta_leader().filter(|leader| *leader != self.id) else {
            return Status::unavailable("the leader of the meta shard is not known now; ask again");
        };
        let mut status = Status::unavailable(format!("{leader} leads the meta shard"));
        let map = self.map.current();
        let address = map::node(&map, leader).and_then(|node| node.addresses.as_ref()).map(|known| known.peer.as_str());
        if let Some(address) = address.and_then(|address| MetadataValue::try_from(address).ok()) {
            status.metadata_mut().insert(LEADER_HINT, address);
        }
        status
    }

    /// A failed question to the meta shard, for callers.
    pub(crate) fn store_error(&self, error: &StoreError) -> Status {
        match error {
            StoreError::NotLeader { .. } | StoreError::NoReplica => self.not_leader(),
            StoreError::Busy => Status::resource_exhausted("too much work is in flight; ask again in a second"),
            StoreError::Unknown => Status::unknown("it may or may not be done; look, then ask again"),
            StoreError::Timeout => Status::unavailable("the meta shard did not confirm its leader in time; ask again"),
            StoreError::Stopping => Status::unavailable("the node is stopping"),
        }
    }

    /// Waits until a node has said something to this leader.
    pub(super) async fn heard(&self) {
        self.heard.notified().await;
    }

    /// What an answer to a report told.
    pub(super) fn take_told(&self, leader: Option<NodeId>, leaders: Vec<MapLeader>, read_only: Vec<u64>) {
        let read_only = (!read_only.is_empty()).then(|| Arc::new(read_only.into_iter().collect()));
        *self.told.lock() = Told { leader, leaders, read_only, at: Some(Instant::now()) };
    }

    /// Nodes that refuse writes for lack of disk space, as the meta shard's leader told last; `None`: it told of none.
    pub fn read_only_nodes(&self) -> Option<Arc<BTreeSet<u64>>> {
        self.told.lock().read_only.clone()
    }

    fn leading_term(&self) -> Option<u64> {
        self.store.published(META_SHARD).filter(|state| state.role == Role::Leader).map(|state| state.term)
    }

    fn check_cluster(&self, sender: &Sender) -> Result<(), Status> {
        if sender.cluster_id == self.cluster_id {
            Ok(())
        } else {
            Err(other_cluster(&sender.cluster_id, &self.cluster_id))
        }
    }
}

/// Whether every text fits into the map: it is copied to every node.
fn check_texts(request: &JoinClusterRequest) -> Result<(), Status> {
    let addresses = request.addresses.clone().unwrap_or_default();
    let domains = request.domains.clone().unwrap_or_default();
    let wanted = [("name", &request.name), ("addresses.kv", &addresses.kv), ("addresses.peer", &addresses.peer)];
    if let Some((field, _)) = wanted.iter().find(|(_, text)| text.is_empty()) {
        return Err(Status::invalid_argument(format!("{field} is empty; 1 to {MAX_TEXT} bytes are wanted")));
    }
    let all = wanted.into_iter().chain([("domains.zone", &domains.zone), ("domains.machine", &domains.machine)]);
    match all.into_iter().find(|(_, text)| text.len() > MAX_TEXT) {
        Some((field, text)) => {
            Err(Status::invalid_argument(format!("{field} has {} bytes; up to {MAX_TEXT} are allowed", text.len())))
        }
        None => Ok(()),
    }
}

fn other_cluster(given: &str, own: &str) -> Status {
    Status::failed_precondition(format!("cluster_id is {given:?}, but this node belongs to cluster {own}"))
}

/// What the machine refused, as gRPC has it.
pub(crate) fn refusal(refused: Refused) -> Status {
    Status::new(i32::try_from(refused.code).map_or(Code::Unknown, Code::from_i32), refused.message)
}

/// What a done entry made.
pub(crate) fn done(answer: MetaAnswer) -> Result<u64, Status> {
    match answer.kind {
        Some(Kind::Done(made)) => Ok(made),
        _ => Err(Status::internal("the meta shard answered with something else than asked")),
    }
}

#[cfg(test)]
mod tests {
    use granary_proto::map::{Addresses, Domains};

    use super::*;

    #[test]
    fn a_node_that_joins_says_where_it_is_in_texts_that_fit() {
        let request = |name: &str, kv: &str, zone: String| JoinClusterRequest {
            name: name.into(),
            addresses: Some(Addresses { kv: kv.into(), peer: "127.0.0.1:2".into() }),
            domains: Some(Domains { zone, machine: String::new() }),
            ..JoinClusterRequest::default()
        };
        assert!(check_texts(&request("node-0", "127.0.0.1:1", "z".repeat(MAX_TEXT))).is_ok());
        let refused = |request| check_texts(&request).unwrap_err().message().to_owned();
        assert!(refused(request("", "127.0.0.1:1", String::new())).starts_with("name is empty"));
        assert!(refused(request("node-0", "", String::new())).starts_with("addresses.kv is empty"));
        let long = refused(request("node-0", "127.0.0.1:1", "z".repeat(MAX_TEXT + 1)));
        assert!(long.starts_with("domains.zone has 260 bytes"), "{long}");
    }
}
