//! Retries: safe under one number, in time, and honest about what is not known.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::future::join_all;
use granary_client::{Error, Options};
use granary_proto::kv::{PutResponse, Reason, pipe_response::Response as Answer};
use parking_lot::Mutex;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use crate::fake::{Cluster, Reply, busy, error, not_leader, retry_of};

fn short() -> Options {
    Options { timeout: Duration::from_millis(200), ..Options::default() }
}

#[tokio::test]
async fn a_retried_write_keeps_its_number() {
    let cluster = Cluster::start(1, 1).await;
    let mut tries = 0;
    cluster.nodes[0].script(move |_| {
        tries += 1;
        Reply::With(match tries {
            1 => error(Reason::OutcomeUnknown, "lost leadership"),
            2 => not_leader(0),
            _ => Answer::Put(PutResponse { revision: 7 }),
        })
    });
    let client = cluster.client(Options::default()).await;
    assert_eq!(client.put("k", "v").await.unwrap(), 7);
    let numbers: Vec<_> = cluster.nodes[0].seen().iter().map(retry_of).collect();
    assert_eq!(numbers.len(), 3);
    assert!(numbers.iter().all(|retry| retry.sequence == 1 && retry.answered_below == 1), "{numbers:?}");
    assert!(numbers.iter().all(|retry| retry.client_id != 0 && retry.client_id == numbers[0].client_id));
    assert_eq!(numbers[0].age_ms, 0);
}

#[tokio::test]
async fn no_number_is_disowned_before_its_answer_came() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let cluster = Cluster::start(1, 1).await;
    let (mut random, mut answered) = (SmallRng::seed_from_u64(seed), BTreeSet::new());
    let violations = Arc::new(Mutex::new(Vec::new()));
    let found = violations.clone();
    cluster.nodes[0].script(move |request| {
        let retry = retry_of(request);
        if let Some(missing) = (1..retry.answered_below).find(|number| !answered.contains(number)) {
            found.lock().push(format!("{missing} has no answer, but {retry:?}"));
        }
        if retry.answered_below == 0 || retry.answered_below > retry.sequence || answered.contains(&retry.sequence) {
            found.lock().push(format!("{retry:?}"));
        }
        if random.random_bool(0.3) {
            return Reply::With(error(Reason::OutcomeUnknown, "try again"));
        }
        answered.insert(retry.sequence);
        Reply::With(Answer::Put(PutResponse { revision: 1 }))
    });
    let client = cluster.client(Options::default()).await;
    // More than the 1,024 that may be unanswered.
    let puts = (0..3_000).map(|n| client.put(format!("k{n}"), "v"));
    for result in join_all(puts).await {
        result.unwrap();
    }
    assert_eq!(violations.lock().as_slice(), [] as [String; 0], "seed {seed}");
    let numbers: BTreeSet<u64> = cluster.nodes[0].seen().iter().map(|request| retry_of(request).sequence).collect();
    assert_eq!(numbers, (1..=3_000).collect());
}

#[tokio::test]
async fn a_slow_write_is_not_left_far_behind_by_writes_to_other_shards() {
    let cluster = Cluster::start(1, 2).await;
    let widest = Arc::new(Mutex::new(0));
    let (found, mut first) = (widest.clone(), true);
    cluster.nodes[0].script(move |request| {
        let retry = retry_of(request);
        let mut widest = found.lock();
        *widest = retry.sequence.saturating_sub(retry.answered_below).max(*widest);
        let answer = Answer::Put(PutResponse { revision: 1 });
        match std::mem::take(&mut first) {
            true => Reply::Late(Duration::from_millis(300), answer),
            false => Reply::With(answer),
        }
    });
    let client = cluster.client(Options::default()).await;
    // Each shard alone gets fewer than the 1,024 that may be unanswered; both together get more.
    for result in join_all((0..1_600).map(|n| client.put(format!("k{n}"), "v"))).await {
        result.unwrap();
    }
    assert_eq!(cluster.nodes[0].seen().len(), 1_600);
    assert!((400..1_024).contains(&*widest.lock()), "{} numbers lay between", widest.lock());
}

#[tokio::test]
async fn a_write_that_was_given_up_no_longer_holds_the_others_back() {
    let cluster = Cluster::start(1, 1).await;
    cluster.nodes[0].script(|request| match retry_of(request).sequence {
        1 => Reply::Silence,
        _ => Reply::With(Answer::Put(PutResponse { revision: 1 })),
    });
    let client = cluster.client(short()).await;
    let failure = client.put("a", "v").await.unwrap_err();
    assert!(matches!(failure, Error::OutcomeUnknown { .. }), "{failure:?}");
    client.put("b", "v").await.unwrap();
    assert_eq!(retry_of(cluster.nodes[0].seen().last().unwrap()).answered_below, 2);
}

#[tokio::test]
async fn a_busy_nodes_advice_is_kept() {
    let cluster = Cluster::start(1, 1).await;
    let mut tries = 0;
    cluster.nodes[0].script(move |_| {
        tries += 1;
        Reply::With(if tries == 1 { busy(150) } else { Answer::Put(PutResponse { revision: 1 }) })
    });
    let client = cluster.client(Options::default()).await;
    client.put("k", "v").await.unwrap();
    let at = cluster.nodes[0].seen_at();
    assert_eq!(at.len(), 2);
    assert!(at[1] - at[0] >= Duration::from_millis(150), "{:?}", at[1] - at[0]);
}

#[tokio::test]
async fn advice_beyond_the_deadline_ends_the_call_as_busy() {
    let cluster = Cluster::start(1, 1).await;
    cluster.nodes[0].script(|_| Reply::With(busy(60_000)));
    let client = cluster.client(short()).await;
    let failure = client.put("k", "v").await.unwrap_err();
    assert!(matches!(failure, Error::Busy { retry_after_ms: 60_000, .. }), "{failure:?}");
    assert_eq!(cluster.nodes[0].seen().len(), 1);
}

#[tokio::test]
async fn a_deadline_is_a_timeout_for_reads_and_for_writes_that_were_always_refused() {
    let cluster = Cluster::start(1, 1).await;
    let client = cluster.client(short()).await;
    cluster.nodes[0].script(|_| Reply::Silence);
    let failure = client.get("k").await.unwrap_err();
    assert!(matches!(&failure, Error::Timeout { cause, .. } if cause.contains("did not answer")), "{failure:?}");
    cluster.nodes[0].script(|_| Reply::With(not_leader(0)));
    let failure = client.put("k", "v").await.unwrap_err();
    assert!(matches!(&failure, Error::Timeout { cause, .. } if cause.contains("no leader")), "{failure:?}");
}

#[tokio::test]
async fn a_deadline_leaves_a_write_without_an_answer_unknown() {
    let cluster = Cluster::start(1, 1).await;
    let client = cluster.client(short()).await;
    cluster.nodes[0].script(|_| Reply::Silence);
    let failure = client.put("k", "v").await.unwrap_err();
    assert!(matches!(failure, Error::OutcomeUnknown { .. }), "{failure:?}");
}

#[tokio::test]
async fn a_refusal_does_not_undo_an_earlier_try_without_an_outcome() {
    let cluster = Cluster::start(1, 1).await;
    let mut tries = 0;
    cluster.nodes[0].script(move |_| {
        tries += 1;
        if tries == 1 { Reply::Cut } else { Reply::With(error(Reason::ReadOnly, "disk nearly full")) }
    });
    let client = cluster.client(Options::default()).await;
    let failure = client.put("k", "v").await.unwrap_err();
    assert!(matches!(&failure, Error::OutcomeUnknown { cause } if cause.contains("disk nearly full")), "{failure:?}");
    let failure = client.put("k", "v").await.unwrap_err();
    assert!(matches!(failure, Error::ReadOnly { .. }), "{failure:?}");
}

#[tokio::test]
async fn what_no_server_would_take_is_refused_with_its_field() {
    let cluster = Cluster::start(1, 1).await;
    let client = cluster.client(short()).await;
    let field = |failure: Error| match failure {
        Error::Invalid { field, message } => format!("{field}: {message}"),
        other => panic!("{other:?}"),
    };
    assert!(field(client.get("").await.unwrap_err()).starts_with("key: has 0 bytes"));
    assert!(field(client.put(vec![0; 4097], "v").await.unwrap_err()).starts_with("key: has 4097 bytes"));
    assert!(field(client.put("k", vec![0; 4_194_305]).await.unwrap_err()).starts_with("value: has 4194305 bytes"));
    let writes = ["a", "b"].map(|key| granary_client::Write::put(key, "v")).to_vec();
    assert!(field(client.txn(Vec::new(), writes).await.unwrap_err()).contains("must share a slot"));
    assert!(cluster.nodes[0].seen().is_empty());
    client.put(vec![0; 4096], vec![0; 4_194_304]).await.unwrap();
}
