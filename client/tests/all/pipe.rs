//! One stream: bounded, and survived when it breaks.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, future::join_all};
use granary_client::{Error, Options};
use granary_proto::kv::{PutResponse, pipe_response::Response as Answer};
use parking_lot::Mutex;

use crate::fake::{Cluster, Reply, eventually, good_answer, retry_of};

#[tokio::test]
async fn a_pipe_that_breaks_amid_a_thousand_requests_loses_none_and_repeats_none() {
    let cluster = Cluster::start(1, 1).await;
    let applied = Arc::new(Mutex::new(BTreeMap::<u64, u64>::new()));
    let (table, mut requests) = (applied.clone(), 0);
    cluster.nodes[0].script(move |request| {
        requests += 1;
        let mut table = table.lock();
        let next = table.len() as u64 + 1;
        let revision = *table.entry(retry_of(request).sequence).or_insert(next);
        // Applied, but the answer is lost.
        if requests % 150 == 0 { Reply::Cut } else { Reply::With(Answer::Put(PutResponse { revision })) }
    });
    let client = cluster.client(Options::default()).await;
    let mut revisions = Vec::new();
    for result in join_all((0..1_000).map(|n| client.put(format!("k{n}"), "v"))).await {
        revisions.push(result.unwrap());
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=1_000).collect::<Vec<_>>(), "each write was applied once");
    assert!(cluster.nodes[0].pipes.load(Ordering::SeqCst) > 1);
}

#[tokio::test]
async fn a_node_that_answers_nothing_gets_no_more_than_it_allows() {
    let cluster = Cluster::start(1, 1).await;
    cluster.nodes[0].allow(10);
    let timeout = Duration::from_millis(500);
    let client = cluster.client(Options { timeout, patience: Duration::from_secs(60), ..Options::default() }).await;
    client.put("now the leader is known", "v").await.unwrap();
    cluster.nodes[0].script(|_| Reply::Silence);
    let outcomes = join_all((0..100).map(|n| client.put(format!("k{n}"), "v"))).await;
    assert_eq!(cluster.nodes[0].seen().len(), 1 + 10);
    let unknown = outcomes.iter().filter(|outcome| matches!(outcome, Err(Error::OutcomeUnknown { .. }))).count();
    let timeouts = outcomes.iter().filter(|outcome| matches!(outcome, Err(Error::Timeout { .. }))).count();
    assert_eq!((unknown, timeouts), (10, 90), "those that never left are known not to be applied");
}

#[tokio::test]
async fn callers_that_wait_for_room_go_on_when_answers_come() {
    let cluster = Cluster::start(1, 1).await;
    cluster.nodes[0].allow(3);
    let client = cluster.client(Options::default()).await;
    for result in join_all((0..500).map(|n| client.put(format!("k{n}"), "v"))).await {
        result.unwrap();
    }
    assert_eq!(cluster.nodes[0].seen().len(), 500);
}

#[tokio::test]
async fn a_caller_that_goes_away_while_it_waits_for_room_sends_nothing() {
    let cluster = Cluster::start(1, 1).await;
    cluster.nodes[0].allow(1);
    let client = cluster.client(Options { patience: Duration::from_secs(60), ..Options::default() }).await;
    client.get("now the leader is known").await.unwrap();
    cluster.nodes[0].script(|_| Reply::Silence);
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.get("first").await }
    });
    eventually("the first request came", || cluster.nodes[0].seen().len() == 2).await;
    let gone = tokio::time::timeout(Duration::from_millis(50), client.get("gone")).await;
    assert!(gone.is_err());
    first.abort();
    assert_eq!(cluster.nodes[0].seen().len(), 2);
}

/// Prints how many small requests one client and one node do in a second. Run by name, alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn small_requests_a_second() {
    let cluster = Cluster::start(1, 64).await;
    cluster.nodes[0].script(|request| Reply::With(good_answer(request)));
    let client = cluster.client(Options::default()).await;
    for clients in [64, 512] {
        let (started, total) = (Instant::now(), 200_000);
        let puts = futures::stream::iter(0..clients).map(|worker| {
            let client = client.clone();
            tokio::spawn(async move {
                for n in 0..total / clients {
                    client.put(format!("k{worker}/{n}"), vec![0; 256]).await.unwrap();
                }
            })
        });
        puts.buffer_unordered(clients).for_each(|done| async move { done.unwrap() }).await;
        println!("{clients} clients: {:.0} put/s", f64::from(total as u32) / started.elapsed().as_secs_f64());
    }
}
