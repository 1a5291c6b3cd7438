//! `granary verify --replicas`: compares the replicas of each shard at one applied index.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use comfy_table::{Table, presets::NOTHING};
use futures::StreamExt as _;
use granary_proto::{
    admin::{ComparedReplica, HashState, Verdict, VerifyShardRequest, VerifyShardResponse, admin_client::AdminClient},
    map,
};
use serde_json::json;
use tonic::{Code, transport::Endpoint};

use crate::{
    admin::{self, PeerArgs},
    context::Context,
    failure::Failure,
    output,
};

/// Shards compared at a time.
const AT_A_TIME: usize = 2;
/// Comparisons of one shard, while its leader moves or a replica does not answer.
const TRIES: usize = 4;
/// Between two of them.
const AGAIN: Duration = Duration::from_secs(2);
/// Between two looks at one.
const LOOK: Duration = Duration::from_millis(250);
/// Between two lines that say how far it is.
const SAY: Duration = Duration::from_secs(2);

/// How far all of it is.
#[derive(Default)]
struct Done {
    shards: AtomicU64,
    bytes: AtomicU64,
}

/// Does it, for all shards or `only` these.
pub async fn run(context: &Context, peers: &PeerArgs, only: &[u32]) -> Result<(), Failure> {
    let (state, _) = admin::cluster(context, peers).await?;
    let all: Vec<u32> = state.map.iter().flat_map(|map| &map.shards).map(|shard| shard.id).collect();
    if let Some(unknown) = only.iter().find(|id| !all.contains(id)) {
        let last = all.last().copied().unwrap_or_default();
        return Err(Failure::not_found(format!("shard is {unknown}, allowed: 0 (the meta shard) to {last}")));
    }
    let wanted: Vec<u32> = all.into_iter().filter(|id| only.is_empty() || only.contains(id)).collect();
    let (started, done) = (Instant::now(), Done::default());
    let compared = futures::stream::iter(&wanted)
        .map(|shard| compare(context, peers, *shard, &done))
        .buffered(AT_A_TIME)
        .collect::<Vec<_>>();
    let rounds = tokio::select! {
        rounds = compared => rounds,
        () = say(&done, wanted.len()) => Vec::new(),
    };
    let rounds: Vec<(u32, VerifyShardResponse)> =
        wanted.iter().copied().zip(rounds).map(|(shard, round)| Ok((shard, round?))).collect::<Result<_, Failure>>()?;
    print(context, &rounds, started.elapsed())?;
    judge(&rounds)
}

/// Says how far it is, for ever.
async fn say(done: &Done, all: usize) {
    loop {
        tokio::time::sleep(SAY).await;
        eprintln!(
            "comparing: {} of {all} shards, {}",
            done.shards.load(Relaxed),
            output::bytes(done.bytes.load(Relaxed))
        );
    }
}

/// The last comparison that was made of a shard.
async fn compare(context: &Context, peers: &PeerArgs, shard: u32, done: &Done) -> Result<VerifyShardResponse, Failure> {
    let mut last = Err(Failure::failed(format!("shard {shard} was not compared")));
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(AGAIN).await;
        }
        last = once(context, peers, shard, done).await;
        match &last {
            Ok(round) if round.verdict() != Verdict::Incomplete => break,
            _ => {}
        }
    }
    done.shards.fetch_add(1, Relaxed);
    last
}

async fn once(context: &Context, peers: &PeerArgs, shard: u32, done: &Done) -> Result<VerifyShardResponse, Failure> {
    let (state, _) = admin::cluster(context, peers).await?;
    let leader = state.shards.iter().find(|live| live.shard_id == shard).map_or(0, |live| live.leader_node_id);
    let nodes: &[map::Node] = state.map.as_ref().map_or(&[], |map| &map.nodes);
    let address = nodes.iter().find(|node| node.id == leader).and_then(|node| node.addresses.as_ref());
    let Some(address) = address.map(|addresses| &addresses.peer) else {
        return Err(Failure::failed(format!("shard {shard} has no leader that is known")));
    };
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(Failure::failed)?;
    let endpoint = endpoint.timeout(context.timeout()).connect_timeout(context.timeout());
    let mut client = AdminClient::new(endpoint.connect_lazy());
    let (mut mark, mut counted) = (0, 0);
    loop {
        let request = VerifyShardRequest { shard_id: shard, mark };
        let round = client.verify_shard(request).await.map_err(|status| failed(shard, address, &status))?.into_inner();
        let read: u64 = round.replicas.iter().map(|replica| replica.bytes).sum();
        done.bytes.fetch_add(read.saturating_sub(counted), Relaxed);
        counted = counted.max(read);
        if round.done {
            return Ok(round);
        }
        mark = round.mark;
        tokio::time::sleep(LOOK).await;
    }
}

fn failed(shard: u32, address: &str, status: &tonic::Status) -> Failure {
    let what = match status.code() {
        Code::Unimplemented => "its nodes are too old for that",
        _ => status.message(),
    };
    Failure::failed(format!("shard {shard} cannot be compared, says {address}: {what}"))
}

/// The hash that most voters have, where there is a majority.
fn agreed(round: &VerifyShardResponse) -> Option<u64> {
    let known = || round.replicas.iter().filter(|replica| replica.state() == HashState::Done);
    let voters = round.replicas.iter().filter(|replica| replica.voter).count();
    let votes = |hash| known().filter(|replica| replica.voter && replica.hash == hash).count();
    known().map(|replica| replica.hash).find(|hash| votes(*hash) > voters / 2)
}

fn verdict(round: &VerifyShardResponse) -> &'static str {
    match round.verdict() {
        Verdict::Equal => "equal",
        Verdict::Incomplete | Verdict::Unspecified => "incomplete",
        Verdict::Minority => "different",
        Verdict::Undecided => "undecided",
    }
}

fn state(replica: &ComparedReplica, agreed: Option<u64>) -> &'static str {
    match replica.state() {
        HashState::Done if agreed.is_none_or(|hash| hash == replica.hash) => "read",
        HashState::Done => "different",
        HashState::Unreadable => "unreadable",
        HashState::Unspecified | HashState::Pending => "unknown",
    }
}

fn print(context: &Context, rounds: &[(u32, VerifyShardResponse)], took: Duration) -> Result<(), Failure> {
    if context.json() {
        let shards: Vec<_> = rounds.iter().map(|(shard, round)| as_json(*shard, round)).collect();
        return output::json(&json!({
            "shards": shards, "equal": count(rounds, Verdict::Equal), "different": count(rounds, Verdict::Minority),
            "undecided": count(rounds, Verdict::Undecided), "incomplete": count(rounds, Verdict::Incomplete),
            "seconds": took.as_secs_f64(),
        }));
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["SHARD", "INDEX", "HASH", "ROWS", "BYTES", "AGREE", "RESULT"]);
    for (shard, round) in rounds {
        let hash = agreed(round);
        let of = round.replicas.iter().find(|replica| hash == Some(replica.hash));
        let agree = round.replicas.iter().filter(|r| r.state() == HashState::Done && Some(r.hash) == hash).count();
        table.add_row([
            shard.to_string(),
            round.index.to_string(),
            hash.map_or("-".to_owned(), |hash| format!("{hash:016x}")),
            of.map_or("-".to_owned(), |replica| output::grouped(replica.rows)),
            of.map_or("-".to_owned(), |replica| output::bytes(replica.bytes)),
            format!("{agree} of {}", round.replicas.len()),
            verdict(round).to_owned(),
        ]);
    }
    output::line(&table.to_string())?;
    for (shard, round) in rounds.iter().filter(|(_, round)| round.verdict() != Verdict::Equal) {
        for replica in &round.replicas {
            let (id, node, hash) = (replica.replica_id, replica.node_id, agreed(round));
            let why = if replica.message.is_empty() { String::new() } else { format!(": {}", replica.message) };
            let said = format!("{} {:016x}{why}", state(replica, hash), replica.hash);
            eprintln!("shard {shard}: replica {id} on node {node} is {said}");
        }
    }
    Ok(())
}

fn as_json(shard: u32, round: &VerifyShardResponse) -> serde_json::Value {
    let hash = agreed(round);
    let replica = |replica: &ComparedReplica| {
        let known = replica.state() == HashState::Done;
        json!({
            "replica": replica.replica_id, "node": replica.node_id, "voter": replica.voter,
            "state": state(replica, hash), "hash": known.then(|| format!("{:016x}", replica.hash)),
            "rows": replica.rows, "bytes": replica.bytes, "message": replica.message,
        })
    };
    json!({
        "shard": shard, "index": round.index, "hash": hash.map(|hash| format!("{hash:016x}")), "result": verdict(round),
        "replicas": round.replicas.iter().map(replica).collect::<Vec<_>>(),
    })
}

fn count(rounds: &[(u32, VerifyShardResponse)], verdict: Verdict) -> usize {
    rounds.iter().filter(|(_, round)| round.verdict() == verdict).count()
}

/// Only what is known to be equal is a success.
fn judge(rounds: &[(u32, VerifyShardResponse)]) -> Result<(), Failure> {
    let of = |verdict| count(rounds, verdict);
    match (of(Verdict::Minority), of(Verdict::Undecided), rounds.len() - of(Verdict::Equal)) {
        (_, _, 0) => Ok(()),
        (0, 0, unknown) => Err(Failure::failed(format!(
            "{unknown} shards are not known to be equal: replicas did not answer or could not be read in time"
        ))),
        (different, 0, _) => Err(Failure::failed(format!(
            "{different} shards have replicas that most others contradict; they are made anew, compare again"
        ))),
        (_, undecided, _) => Err(Failure::failed(format!(
            "{undecided} shards have replicas that differ, and no majority says what is right: nothing is done"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(verdict: Verdict, hashes: &[Option<u64>]) -> (u32, VerifyShardResponse) {
        let replica = |(id, hash): (u64, &Option<u64>)| ComparedReplica {
            replica_id: id,
            voter: true,
            state: hash.map_or(HashState::Unspecified, |_| HashState::Done).into(),
            hash: hash.unwrap_or_default(),
            ..ComparedReplica::default()
        };
        let replicas = (1..).zip(hashes).map(replica).collect();
        (1, VerifyShardResponse { verdict: verdict.into(), replicas, ..VerifyShardResponse::default() })
    }

    #[test]
    fn only_equal_shards_are_a_success() {
        let equal = round(Verdict::Equal, &[Some(5); 3]);
        assert!(judge(std::slice::from_ref(&equal)).is_ok());
        for (other, words) in [
            (round(Verdict::Incomplete, &[Some(5), Some(5), None]), "not known to be equal"),
            (round(Verdict::Minority, &[Some(5), Some(5), Some(6)]), "made anew"),
            (round(Verdict::Undecided, &[Some(5), Some(6), None]), "nothing is done"),
        ] {
            let failure = judge(&[equal.clone(), other]).unwrap_err();
            assert!(failure.message.contains(words), "{failure}");
        }
    }

    #[test]
    fn the_agreed_hash_needs_a_majority() {
        assert_eq!(agreed(&round(Verdict::Equal, &[Some(5); 3]).1), Some(5));
        assert_eq!(agreed(&round(Verdict::Minority, &[Some(6), Some(5), Some(5)]).1), Some(5));
        assert_eq!(agreed(&round(Verdict::Undecided, &[Some(6), Some(5), None]).1), None);
    }
}
