//! From a blank node to a member: founded by Bootstrap, or joined; and the same parts started again after a restart.

use std::{sync::Arc, time::Instant};

use granary_common::NodeId;
use granary_engine::{DiskSpace, LogBatch, Stores, snapshot::InstallStep};
use granary_machine::meta;
use granary_proto::{
    admin::{BootstrapRequest, BootstrapResponse},
    map::ClusterMap,
    raft::Sender,
    storage::{Identity, MetaState},
};
use granary_store::{Config, StandstillTicks};
use prost::Message as _;
use tonic::Status;

use super::{Node, NodeError, founding, reclaim};
use crate::{
    drivers::{self, InjectedFault, Limits, Settings},
    member::Member,
    meta::MetaLead,
    options::Options,
    scrub::Scrub,
    space::{self, Space},
    transport::{self, Inbound, Peers, Streams},
};

/// Format of the identity that this build writes.
const IDENTITY_FORMAT: u32 = granary_engine::IDENTITY_FORMAT;

impl Node {
    /// Founds the cluster here. A node accepts one Bootstrap in its life, and answers the same one again; one that was
    /// cut off is finished.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a request that contradicts itself or does not name this node; `FAILED_PRECONDITION` when the
    /// node belongs to another cluster, or took part in another founding of this one; `INTERNAL` when the disk fails.
    pub async fn found(self: &Arc<Self>, request: BootstrapRequest) -> Result<BootstrapResponse, Status> {
        let mut disk = self.disk.lock().await;
        let state = meta::founded(&request)
            .map_err(|refused| Status::new(tonic::Code::from(refused.code as i32), refused.message))?;
        let Some(founder) = request.founders.iter().find(|founder| founder.uuid == self.uuid) else {
            return Err(Status::invalid_argument(format!(
                "founders: none has the uuid {} of this node; ask each node who it is (Identify) and send Bootstrap again",
                self.uuid
            )));
        };
        let answer = BootstrapResponse { cluster_id: request.cluster_id.clone(), node_id: founder.node_id };
        if let Some(member) = self.member() {
            if member.identity.cluster_id != request.cluster_id {
                return Err(other_cluster(&member.identity.cluster_id, &request.cluster_id));
            }
            founding::check(&member.map.current(), &state)?;
            // The first state may not have been written when this node was cut off.
            if member.map.current().version == 0 {
                member.drivers.found_meta(&state);
            }
            return Ok(BootstrapResponse { node_id: member.identity.node_id, ..answer });
        }
        let identity = self.identity(&request.cluster_id, founder.node_id);
        let stores = tokio::task::block_in_place(|| disk.become_member(identity).cloned()).map_err(internal)?;
        let incarnation = disk.incarnation();
        tokio::task::block_in_place(|| founding::keep(&stores.raft, &state))?;
        self.start_member(stores, incarnation, Some(&state)).map_err(internal)?;
        tracing::info!(cluster = request.cluster_id, node = answer.node_id, "founded the cluster");
        Ok(answer)
    }

    /// Makes this blank node a member under the id that the meta shard gave it.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` when it is another member by now; `INTERNAL` when the disk fails.
    pub async fn join(self: &Arc<Self>, cluster_id: &str, node_id: u64, map: ClusterMap) -> Result<(), Status> {
        let mut disk = self.disk.lock().await;
        if let Some(member) = self.member() {
            if member.identity.cluster_id != cluster_id || member.identity.node_id != node_id {
                return Err(other_cluster(&member.identity.cluster_id, cluster_id));
            }
        } else {
            let identity = self.identity(cluster_id, node_id);
            let kept = Some(map.encode_to_vec().into());
            let stores =
                tokio::task::block_in_place(|| disk.become_member_with(identity, kept).cloned()).map_err(internal)?;
            let incarnation = disk.incarnation();
            self.start_member(stores, incarnation, None).map_err(internal)?;
            tracing::info!(cluster = cluster_id, node = node_id, "joined the cluster");
        }
        if let Some(member) = self.member() {
            member.map.offer(map);
        }
        Ok(())
    }

    fn identity(&self, cluster_id: &str, node_id: u64) -> Identity {
        Identity { format: IDENTITY_FORMAT, cluster_id: cluster_id.to_owned(), node_id, uuid: self.uuid.clone() }
    }

    /// Starts everything that a member has. Called once.
    pub(super) fn start_member(
        self: &Arc<Self>,
        stores: Stores,
        incarnation: u64,
        founding: Option<&MetaState>,
    ) -> Result<(), NodeError> {
        // A join comes in by the port for nodes.
        let _requests = self.requests.enter();
        let options = self.options.clone();
        let identity = stores.identity.clone();
        let prepared = tokio::task::block_in_place(|| drivers::start(stores.clone(), settings(&options, &identity)))?;
        check_level(prepared.map.current().feature_level, options.feature_level)?;
        let own = Sender {
            cluster_id: identity.cluster_id.clone(),
            node_id: identity.node_id,
            uuid: identity.uuid.clone(),
            incarnation,
            addresses: Some(options.addresses()),
            process: rand::random(),
        };
        let map = prepared.map.clone();
        let persist = persist_incarnation(prepared.log());
        let peers =
            Peers::new(own, options.seeds.clone(), map.clone(), prepared.incarnations.clone(), Box::new(persist));
        let limits = transport_limits(&options);
        let streams = Streams::new(peers.clone(), limits, self.peers.clone());
        let inbox = prepared.inbox.clone();
        let drivers = Arc::new(prepared.run(streams.clone(), founding)?);
        streams.attach(drivers.store.clone());
        let space = Arc::new(Space::default());
        let staging = stores.staging.clone();
        let inbound = Inbound::new(peers.clone(), drivers.store.clone(), inbox, staging, space.clone(), &limits);
        let id = NodeId(identity.node_id);
        let meta = Arc::new(MetaLead::new(id, identity.cluster_id.clone(), drivers.store.clone(), map.clone()));
        let member = Arc::new(Member {
            identity,
            incarnation,
            options: options.clone(),
            store: drivers.store.clone(),
            drivers,
            map,
            peers: peers.clone(),
            meta,
            data: stores.data,
            raft: stores.raft,
            scrub: Arc::new(Scrub::new(self.restart.clone(), self.remade.clone())),
            started: Instant::now(),
            space: space.clone(),
        });
        // Called once, under the lock of the disk or before anything is served: both cells are empty.
        let _ = self.member.set(member.clone());
        let _ = self.inbound.set(inbound);
        tokio::spawn(peers.discover());
        let data = options.data.clone();
        tokio::spawn(space::watch(data, move |total| options.space_marks(total), space));
        let mut tasks = MetaLead::start(&member);
        Scrub::start(&member, &mut tasks);
        tasks.spawn(reclaim::run(member));
        *self.tasks.lock() = tasks;
        Ok(())
    }
}

fn settings(options: &Options, identity: &Identity) -> Settings {
    let node = NodeId(identity.node_id);
    let seed = rand::random();
    let ticks = |seconds: u32| (u64::from(seconds) * 1_000).div_ceil(u64::from(options.tick_ms));
    let store = Config {
        standstill: StandstillTicks {
            report: ticks(options.stands_seconds),
            give_up: ticks(options.disk_hangs_seconds) / 2 * 3,
        },
        quiesce_after: u64::from(options.quiesce_ms.div_ceil(options.tick_ms)),
        quiesced_pace: u64::from(options.quiesced_pace()),
        tick_ns: u64::from(options.tick_ms) * 1_000_000,
        heartbeat_ticks: options.heartbeat_ticks as usize,
        election_ticks: options.election_ticks as usize,
        max_election_ticks: options.max_election_ticks as usize,
        ..Config::new(node, seed)
    };
    let store = match DiskSpace::of(&options.data) {
        Ok(space) => Config { retention: store.retention.for_disk(space.total), ..store },
        Err(_) => store,
    };
    let request_bytes = (options.max_request_mib as usize) << 20;
    Settings {
        store,
        limits: Limits { requests: options.max_requests as usize, request_bytes, ..Limits::default() },
        queue_bytes: request_bytes,
        crash_at: crash_at(),
        read_bytes_per_second: u64::from(options.scrub_bandwidth_mib) << 20,
        watchdog: options.watchdog(),
        fault: fault(),
    }
}

/// For tests of crashes: `GRANARY_CRASH_AT_INSTALL` names the step of a snapshot's install behind which the process ends:
/// `emptied`, `ingested`, or `done`, which is between the batch in `data/` and the one in `raft/`.
fn crash_at() -> Option<InstallStep> {
    let name = std::env::var("GRANARY_CRASH_AT_INSTALL").ok()?;
    let step = match name.as_str() {
        "emptied" => InstallStep::Emptied,
        "ingested" => InstallStep::Ingested,
        "done" => InstallStep::Done,
        _ => {
            tracing::warn!(name, "GRANARY_CRASH_AT_INSTALL is not emptied, ingested or done: it has no effect");
            return None;
        }
    };
    tracing::warn!(?step, "the first install of a snapshot ends this process, as GRANARY_CRASH_AT_INSTALL asks");
    Some(step)
}

/// For tests of the watchdog: `GRANARY_FAULT` names what happens to which thread after how many of its turns, such as
/// `panic:applier:50` or `hang:store:400`.
fn fault() -> Option<InjectedFault> {
    let text = std::env::var("GRANARY_FAULT").ok()?;
    let fault = InjectedFault::parse(&text);
    match &fault {
        Some(fault) => tracing::warn!(?fault, "a thread of this process will fail, as GRANARY_FAULT asks"),
        None => tracing::warn!(text, "GRANARY_FAULT is not such as hang:store:400: it has no effect"),
    }
    fault
}

fn transport_limits(options: &Options) -> transport::Limits {
    transport::Limits {
        snapshot_bytes_per_second: u64::from(options.snapshot_bandwidth_mib) << 20,
        ..transport::Limits::default()
    }
}

/// Through the log writer, so that the store of the logs has one writer; waits for the sync.
fn persist_incarnation(log: drivers::LogWriter) -> impl Fn(NodeId, u64) + Send + Sync + 'static {
    move |node, incarnation| {
        let mut batch = LogBatch::new();
        batch.put_incarnation(node, incarnation);
        let (done, synced) = std::sync::mpsc::channel();
        log.write(batch, move || {
            let _ = done.send(());
        });
        // A writer that ends takes the process with it.
        let _ = tokio::task::block_in_place(|| synced.recv());
    }
}

/// The level never falls, so entries that this build does not know may be in the logs.
fn check_level(cluster: u32, own: u32) -> Result<(), NodeError> {
    let version = env!("CARGO_PKG_VERSION");
    if cluster > own { Err(NodeError::FeatureLevel { version, cluster, own }) } else { Ok(()) }
}

fn other_cluster(own: &str, asked: &str) -> Status {
    Status::failed_precondition(format!(
        "this node belongs to cluster {own} and can never belong to {asked}; give it an empty disk to use it there"
    ))
}

fn internal(error: impl std::error::Error) -> Status {
    tracing::error!(%error, "the node cannot become a member");
    Status::internal(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit;

    #[test]
    fn an_older_program_does_not_start_on_the_disk_of_a_newer_cluster() {
        assert!(check_level(3, 3).is_ok() && check_level(2, 3).is_ok());
        let refused = check_level(4, 3).unwrap_err();
        assert_eq!(refused.exit_code(), exit::TOO_OLD);
        for named in ["can do feature level 3", "at feature level 4", "newer version", env!("CARGO_PKG_VERSION")] {
            assert!(refused.to_string().contains(named), "{refused}");
        }
    }
}
