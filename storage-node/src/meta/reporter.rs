//! On every node: tells the leader of the meta shard what this node holds and leads, and takes its newer map.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use granary_common::{NodeId, ShardId};
use granary_duties::reporting::candidates;
use granary_engine::DiskSpace;
use granary_proto::raft::{ReportRequest, ReportResponse};
use granary_store::Stands;
use tokio::time::Instant;
use tonic::{Code, Status};
use tracing::{debug, warn};

use crate::{member::Member, rhythm};

/// Time between two reports when nothing changed, and when besides all groups here rest.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));
/// Behind one that nobody took.
const AGAIN: Duration = Duration::from_millis(100);
/// Shortest time between two reports.
const MIN_GAP: Duration = Duration::from_millis(20);
/// Longest wait for one answer.
const LIMIT: Duration = Duration::from_millis(500);
/// Most nodes asked in one round.
const MAX_ASKED: usize = 8;

pub(super) async fn run(member: Arc<Member>) {
    let mut changes = member.store.changes();
    let (mut removed, mut sizes) = (false, Sizes::default());
    loop {
        changes.borrow_and_update();
        let Ok(request) = request(&member, &mut sizes).await else { return };
        let delivered = deliver(&member, request).await;
        let taken = delivered.is_ok();
        match delivered {
            Err(status) if status.code() == Code::FailedPrecondition => {
                if !removed {
                    warn!(reason = status.message(), "the cluster does not take this node's reports");
                }
                removed = true;
            }
            Err(status) => debug!(%status, "nobody took this node's report"),
            Ok(()) => removed = false,
        }
        let reported = Instant::now();
        // Either way it is time.
        let rests = member.store.all_published().iter().all(|state| state.quiesced);
        let next = match (taken, rests) {
            (false, _) => reported + AGAIN,
            (true, true) => rhythm::next(INTERVALS.1),
            (true, false) => rhythm::next(INTERVALS.0),
        };
        let _ = tokio::time::timeout_at(next, changes.changed()).await;
        tokio::time::sleep_until(reported + MIN_GAP).await;
    }
}

/// Of each shard led here: what was written to it in all when its size was last looked up, and that size. Nobody looks again
/// while nothing is written.
#[derive(Default)]
struct Sizes(BTreeMap<ShardId, (u64, u64)>);

impl Sizes {
    /// For planning only: a shard that cannot be read now counts as nothing.
    fn of(&mut self, member: &Member, shard: ShardId, written: u64) -> u64 {
        if let Some((_, size)) = self.0.get(&shard).filter(|(known, _)| *known == written && written > 0) {
            return *size;
        }
        let state = member.data.shard_state(shard).ok().flatten();
        let size = state.map_or(0, |state| member.data.most_bytes(&state));
        self.0.insert(shard, (written, size));
        size
    }
}

async fn request(member: &Member, sizes: &mut Sizes) -> Result<ReportRequest, crate::drivers::StoreError> {
    let (mut led, held) = member.store.report().await?;
    sizes.0.retain(|shard, _| led.iter().any(|known| known.shard_id == shard.0));
    for shard in &mut led {
        shard.bytes = sizes.of(member, ShardId(shard.shard_id), shard.bytes);
    }
    // As with the size: a disk that does not tell is shown as one of 0 bytes.
    let disk = DiskSpace::of(&member.options.data).ok();
    Ok(ReportRequest {
        sender: Some(member.sender()),
        map_version: member.map.current().version,
        led,
        held,
        spent: member.drivers.spent(),
        read_only: member.space.is_read_only(),
        slow: member.drivers.health.away() || member.meta.leaves(),
        trouble: trouble(member),
        disk_free_bytes: disk.as_ref().map_or(0, |disk| disk.free),
        disk_total_bytes: disk.as_ref().map_or(0, |disk| disk.total),
        damage: member.scrub.damage(member),
    })
}

/// What stands still here: parts of the node, and groups.
fn trouble(member: &Member) -> String {
    let published = member.store.all_published();
    let standing = |stands| {
        let shards =
            published.iter().filter(move |state| state.stands == stands).map(|state| state.shard.0.to_string());
        shards.collect::<Vec<_>>().join(", ")
    };
    let group = |shards: String, what| (!shards.is_empty()).then(|| format!("{what} shards {shards}"));
    let parts = [
        member.drivers.health.trouble(),
        group(standing(Stands::Commit), "nothing that waits is committed in"),
        group(standing(Stands::Apply), "nothing that is committed is applied in"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Finds the leader and hands the report over.
async fn deliver(member: &Member, request: ReportRequest) -> Result<(), Status> {
    if member.meta.leads() {
        let answer = member.meta.report(request).await?;
        return take(member, answer);
    }
    let mut candidates =
        candidates(&member.map.current(), member.meta.meta_leader(), member.peers.others(), member.id());
    let mut asked: Vec<NodeId> = Vec::new();
    let mut last = Status::unavailable("no other node is known");
    // One node's word: the leader's, that this node is none of the cluster, or that of another cluster's node, which was given
    // the address of one of ours. The others may know better.
    let mut refused = None;
    while let Some(node) = candidates.pop() {
        if asked.contains(&node) || asked.len() == MAX_ASKED {
            continue;
        }
        asked.push(node);
        match ask(member, node, request.clone()).await {
            Ok(answer) if answer.accepted => return take(member, answer),
            Ok(answer) => match NodeId(answer.meta_leader_node_id) {
                hint if hint.0 == 0 || hint == member.id() => {
                    last = Status::unavailable(format!("{node} knows no leader"))
                }
                hint => candidates.push(hint),
            },
            Err(status) if status.code() == Code::FailedPrecondition => refused = Some(status),
            Err(status) => last = status,
        }
    }
    // What is believed of the leader was wrong.
    member.meta.take_told(None, Vec::new(), Vec::new());
    Err(refused.unwrap_or(last))
}

async fn ask(member: &Member, node: NodeId, request: ReportRequest) -> Result<ReportResponse, Status> {
    let mut client =
        member.peers.peer_client(node).ok_or_else(|| Status::unavailable(format!("no address of {node} is known")))?;
    match tokio::time::timeout(LIMIT, client.report(request)).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded(format!("{node} did not answer within {} ms", LIMIT.as_millis()))),
    }
}

fn take(member: &Member, answer: ReportResponse) -> Result<(), Status> {
    let leader = Some(NodeId(answer.meta_leader_node_id)).filter(|leader| leader.0 != 0);
    member.meta.take_told(leader, answer.leaders, answer.read_only_node_ids);
    if let Some(map) = answer.map {
        member.map.offer(map);
    }
    Ok(())
}
