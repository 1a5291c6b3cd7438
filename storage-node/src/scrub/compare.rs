//! Compares the replicas of a shard that is led here, at one mark in its log, and has those made anew that most voters
//! contradict.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use granary_common::{NodeId, ReplicaId, ShardId};
use granary_duties::compare::{Compared, Outcome, Word, compare};
use granary_proto::{
    admin::{
        ComparedReplica, HashState, MarkedHashRequest, MarkedHashResponse, RebuildReplicaRequest, Verdict,
        VerifyShardRequest, VerifyShardResponse,
    },
    map::{Replica, ReplicaRole},
};
use granary_store::{Event, Role};
use tonic::Status;

use super::{first_delay, pause};
use crate::{
    drivers::{Found, Marked, StoreError},
    member::Member,
};

/// Longest wait for the mark to be applied here.
const MARK: Duration = Duration::from_secs(10);
/// Longest wait for a replica to come to the mark, or to answer.
const REACH: Duration = Duration::from_secs(30);
/// Longest time that the reading of a replica takes; one that takes longer counts as unknown.
const READ: Duration = Duration::from_secs(12 * 3600);
/// Longest wait for one answer of another node.
const ANSWER: Duration = Duration::from_secs(2);
/// Pauses between two looks: the first, and the longest.
const LOOKS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// Comparisons of one shard in a row, while replicas are being made anew or do not answer.
const ROUNDS: usize = 6;
/// Between them.
const AGAIN: Duration = Duration::from_secs(5);
/// Longest wait for another leader.
const HAND_OVER: Duration = Duration::from_secs(10);

/// For the life of the node: one shard at a time.
pub(super) async fn run(member: Arc<Member>) {
    let Some(interval) = member.options.scrub_interval() else { return };
    tokio::time::sleep(first_delay(interval)).await;
    loop {
        for shard in led(&member) {
            settle(&member, shard).await;
        }
        tokio::time::sleep(pause(interval)).await;
    }
}

fn led(member: &Member) -> Vec<ShardId> {
    let all = member.store.all_published();
    all.iter().filter(|state| state.role == Role::Leader).map(|state| state.shard).collect()
}

/// Compares until all is known and equal, a few times at most.
async fn settle(member: &Arc<Member>, shard: ShardId) {
    for _ in 0..ROUNDS {
        // Another one is under way, or it is not led here any more: that is somebody else's then.
        let Ok(mark) = begin(member, shard) else { return };
        let verdict = loop {
            match member.scrub.round(shard, mark) {
                Some(round) if round.done => break round.verdict(),
                Some(_) => tokio::time::sleep(LOOKS.1).await,
                None => return,
            }
        };
        if matches!(verdict, Verdict::Equal | Verdict::Undecided) {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Begins a comparison, unless one is under way; gives its mark.
///
/// # Errors
/// FAILED_PRECONDITION where the shard is not led.
pub(crate) fn begin(member: &Arc<Member>, shard: ShardId) -> Result<u64, Status> {
    let state = member.store.published(shard);
    let Some(state) = state.filter(|state| state.role == Role::Leader) else {
        return Err(Status::failed_precondition(format!("{} does not lead {shard}", member.id())));
    };
    let scrub = &member.scrub;
    if !scrub.running.lock().insert(shard) {
        return Ok(scrub.rounds.lock().get(&shard).map_or(0, |round| round.mark));
    }
    let mark = rand::random::<u64>().max(1);
    let replicas = state.group.replicas.iter().filter(|replica| replica.role() != ReplicaRole::Outgoing);
    let mut replicas: Vec<ComparedReplica> = replicas.map(unknown).collect();
    replicas.sort_unstable_by_key(|replica| replica.replica_id);
    let round = VerifyShardResponse { mark, replicas, ..VerifyShardResponse::default() };
    scrub.rounds.lock().insert(shard, round.clone());
    let member = member.clone();
    let joint = state.group.joint;
    tokio::spawn(async move {
        let round = compare_all(&member, shard, round).await;
        let outcome = outcome(&round.replicas);
        let verdict = match &outcome {
            // Who votes is changing: nobody is called wrong by a majority of voters.
            Outcome::Minority { .. } if joint => Verdict::Undecided,
            Outcome::Minority { .. } => Verdict::Minority,
            Outcome::Equal => Verdict::Equal,
            Outcome::Incomplete => Verdict::Incomplete,
            Outcome::Undecided => Verdict::Undecided,
        };
        member.scrub.counts.compared.fetch_add(1, Relaxed);
        let done = VerifyShardResponse { done: true, verdict: verdict.into(), ..round };
        act(&member, shard, &done, &outcome).await;
        member.scrub.rounds.lock().insert(shard, done);
        member.scrub.running.lock().remove(&shard);
    });
    Ok(mark)
}

fn unknown(replica: &Replica) -> ComparedReplica {
    ComparedReplica {
        replica_id: replica.id,
        node_id: replica.node_id,
        voter: replica.role() == ReplicaRole::Voter,
        state: HashState::Pending.into(),
        ..ComparedReplica::default()
    }
}

/// Sets the mark, and asks until every replica has said something or too much time has passed.
async fn compare_all(member: &Arc<Member>, shard: ShardId, mut round: VerifyShardResponse) -> VerifyShardResponse {
    let give_up = |round: &mut VerifyShardResponse, why: &str| {
        for replica in round.replicas.iter_mut().filter(|replica| replica.state() == HashState::Pending) {
            replica.set_state(HashState::Unspecified);
            why.clone_into(&mut replica.message);
        }
    };
    match member.store.mark(shard, round.mark, MARK).await {
        Ok(()) => {}
        // It may be there all the same.
        Err(StoreError::Unknown) => {}
        Err(error) => {
            give_up(&mut round, &error.to_string());
            return round;
        }
    }
    let started = Instant::now();
    let mut wait = LOOKS.0;
    loop {
        for at in 0..round.replicas.len() {
            if round.replicas[at].state() == HashState::Pending {
                let answer = ask(member, shard, round.mark, &round.replicas[at]).await;
                if let Ok(answer) = &answer {
                    round.index = round.index.max(answer.index);
                }
                note(&mut round.replicas[at], answer, started.elapsed());
            }
        }
        member.scrub.rounds.lock().insert(shard, round.clone());
        if round.replicas.iter().all(|replica| replica.state() != HashState::Pending) {
            return round;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LOOKS.1);
    }
}

async fn ask(
    member: &Member,
    shard: ShardId,
    mark: u64,
    replica: &ComparedReplica,
) -> Result<MarkedHashResponse, String> {
    let node = NodeId(replica.node_id);
    if node == member.id() {
        return marked_hash(member, shard, mark).ok_or_else(|| "it has not come to the mark".to_owned());
    }
    let mut admin = member.peers.admin_client(node).ok_or_else(|| format!("no address of {node} is known"))?;
    let question = admin.marked_hash(MarkedHashRequest { shard_id: shard.0, mark });
    match tokio::time::timeout(ANSWER, question).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(status.message().to_owned()),
        Err(_) => Err(format!("{node} does not answer")),
    }
}

/// What an answer, or none, says after so long.
fn note(replica: &mut ComparedReplica, answer: Result<MarkedHashResponse, String>, waited: Duration) {
    let limit = match answer {
        Ok(answer) if answer.replica_id != replica.replica_id => {
            replica.message = format!("replica {} is there by now", answer.replica_id);
            Duration::ZERO
        }
        Ok(answer) => {
            replica.set_state(answer.state());
            (replica.hash, replica.rows, replica.bytes) = (answer.hash, answer.rows, answer.bytes);
            replica.message = answer.message;
            READ
        }
        Err(why) => {
            replica.message = why;
            // Once it has begun to read, silence is waited for longer: it may be started again.
            REACH
        }
    };
    if replica.state() == HashState::Pending && waited >= limit {
        replica.set_state(HashState::Unspecified);
    }
}

/// What the replica here held at a mark; `None`: it has not come there.
pub(crate) fn marked_hash(member: &Member, shard: ShardId, mark: u64) -> Option<MarkedHashResponse> {
    let Marked { replica, index, found, .. } = member.drivers.marks.get(shard, mark)?;
    let known = MarkedHashResponse { replica_id: replica.0, index, ..MarkedHashResponse::default() };
    Some(match found {
        Found::Reading(bytes) => {
            MarkedHashResponse { state: HashState::Pending.into(), bytes: bytes.load(Relaxed), ..known }
        }
        Found::Hash(hash) => MarkedHashResponse {
            state: HashState::Done.into(),
            hash: hash.hash,
            rows: hash.rows,
            bytes: hash.bytes,
            ..known
        },
        Found::Unreadable(message) => MarkedHashResponse { state: HashState::Unreadable.into(), message, ..known },
        Found::Missed(why) => {
            MarkedHashResponse { state: HashState::Unspecified.into(), message: why.to_owned(), ..known }
        }
    })
}

fn outcome(replicas: &[ComparedReplica]) -> Outcome {
    let compared = |replica: &ComparedReplica| Compared {
        replica: ReplicaId(replica.replica_id),
        voter: replica.voter,
        word: match replica.state() {
            HashState::Done => Word::Hash(replica.hash),
            HashState::Unreadable => Word::Unreadable,
            HashState::Unspecified | HashState::Pending => Word::Unknown,
        },
    };
    compare(&replicas.iter().map(compared).collect::<Vec<_>>())
}

/// What follows from a comparison.
async fn act(member: &Arc<Member>, shard: ShardId, round: &VerifyShardResponse, outcome: &Outcome) {
    let (counts, index) = (&member.scrub.counts, round.index);
    let Outcome::Minority { hash, wrong } = outcome else {
        let mut undecided = member.scrub.undecided.lock();
        if *outcome == Outcome::Undecided {
            counts.undecided.fetch_add(1, Relaxed);
            if undecided.insert(shard) {
                let what = "replicas differ, and no majority holds the same: nothing is done";
                tracing::error!(shard = shard.0, index, replicas = ?round.replicas, "{what}");
            }
        } else if *outcome == Outcome::Equal {
            undecided.remove(&shard);
        }
        return;
    };
    if round.verdict() != Verdict::Minority {
        return;
    }
    member.scrub.undecided.lock().remove(&shard);
    for replica in round.replicas.iter().filter(|replica| wrong.contains(&ReplicaId(replica.replica_id))) {
        counts.wrong.fetch_add(1, Relaxed);
        let (node, id) = (replica.node_id, replica.replica_id);
        // A node whose rows cannot be read knows it, and mends its disk by itself.
        if replica.state() == HashState::Unreadable {
            tracing::error!(shard = shard.0, index, node, replica = id, "the replica cannot be read whole");
        } else if node == member.id().0 {
            tracing::error!(
                shard = shard.0,
                index,
                replica = id,
                "the rows here contradict most replicas: another node leads"
            );
            hand_over(member, shard, round, *hash).await;
        } else {
            tracing::error!(
                shard = shard.0,
                index,
                node,
                replica = id,
                "the rows there contradict most replicas: they are made anew"
            );
            let request = RebuildReplicaRequest { shard_id: shard.0, replica_id: id, mark: round.mark, hash: *hash };
            let Some(mut admin) = member.peers.admin_client(NodeId(node)) else { continue };
            if let Ok(Err(status)) = tokio::time::timeout(ANSWER, admin.rebuild_replica(request)).await {
                tracing::warn!(shard = shard.0, node, %status, "the replica is not made anew; it is asked again");
            }
        }
    }
}

/// The leader's own rows are wrong: nothing of them is served from now on, a good voter takes over, and compares at
/// once, so that this replica is made anew.
async fn hand_over(member: &Arc<Member>, shard: ShardId, round: &VerifyShardResponse, hash: u64) {
    member.store.refuse(shard);
    let is_good =
        |replica: &&ComparedReplica| replica.voter && replica.state() == HashState::Done && replica.hash == hash;
    let good: Vec<NodeId> = round.replicas.iter().filter(is_good).map(|replica| NodeId(replica.node_id)).collect();
    let started = Instant::now();
    let mut turn = good.iter().cycle();
    while started.elapsed() < HAND_OVER
        && let Some(to) = turn.next()
    {
        member.store.event(Event::TransferLeader { shard, to: *to });
        tokio::time::sleep(LOOKS.1).await;
        let leader = member.store.published(shard).and_then(|state| state.leader);
        if let Some(leader) = leader.filter(|leader| *leader != member.id()) {
            let Some(mut admin) = member.peers.admin_client(leader) else { return };
            let asked = admin.verify_shard(VerifyShardRequest { shard_id: shard.0, mark: 0 });
            if let Ok(Ok(_)) = tokio::time::timeout(ANSWER, asked).await {
                return;
            }
        }
    }
    tracing::warn!(shard = shard.0, "no other node has taken over and compared yet");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(state: HashState) -> Result<MarkedHashResponse, String> {
        Ok(MarkedHashResponse { replica_id: 7, state: state.into(), hash: 5, ..MarkedHashResponse::default() })
    }

    fn noted(answer: Result<MarkedHashResponse, String>, waited: Duration) -> HashState {
        let mut replica = ComparedReplica { replica_id: 7, state: HashState::Pending.into(), ..Default::default() };
        note(&mut replica, answer, waited);
        replica.state()
    }

    #[test]
    fn a_replica_is_waited_for_while_it_reads_and_not_for_ever_when_it_is_silent() {
        let soon = Duration::from_secs(1);
        assert_eq!(noted(answer(HashState::Done), soon), HashState::Done);
        assert_eq!(noted(answer(HashState::Unreadable), soon), HashState::Unreadable);
        assert_eq!(noted(answer(HashState::Pending), REACH * 2), HashState::Pending);
        assert_eq!(noted(answer(HashState::Pending), READ), HashState::Unspecified);
        assert_eq!(noted(Err("no answer".into()), soon), HashState::Pending);
        assert_eq!(noted(Err("no answer".into()), REACH), HashState::Unspecified);
    }

    #[test]
    fn another_replica_at_that_node_says_nothing_of_this_one() {
        let other = MarkedHashResponse { replica_id: 8, state: HashState::Done.into(), ..Default::default() };
        assert_eq!(noted(Ok(other), Duration::ZERO), HashState::Unspecified);
    }
}
