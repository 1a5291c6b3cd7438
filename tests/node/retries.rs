//! Writes that are sent again: applied once, whatever way and order they come (HAZARDS H18).

use granary_proto::kv::{pipe_request::Request, pipe_response::Response, *};
use granary_tests::{
    cluster::Cluster,
    node::LIMIT,
    pipe::{Pipe, unary},
    wait::until,
};

/// A put that is number `sequence` of client 42.
fn put(key: &str, value: &str, sequence: u64, answered_below: u64) -> Request {
    let retry = Retry { client_id: 42, sequence, answered_below, age_ms: 0 };
    let forward = Some(Routing { forward: true });
    let (key, value) = (key.as_bytes().to_vec().into(), value.as_bytes().to_vec().into());
    Request::Put(PutRequest { key, value, retry: Some(retry), routing: forward })
}

/// The revision that a put was given.
fn revision(answer: &Response) -> u64 {
    match answer {
        Response::Put(done) => done.revision,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_sent_again_on_any_connection_and_behind_a_new_leader_is_applied_once() {
    let mut cluster = Cluster::of_three(4).await.unwrap();
    let node = &cluster.nodes[0];
    let first = revision(&unary(node, put("{r}a", "first", 1, 1)).await.unwrap());
    // Someone else writes in between: a second application would show.
    let client = cluster.client().await.unwrap();
    let between = client.put("{r}a", "between").await.unwrap();
    assert_eq!(between, first + 1);

    for node in &cluster.nodes {
        let mut pipe = Pipe::open(node).await.unwrap();
        assert_eq!(revision(&unary(node, put("{r}a", "first", 1, 1)).await.unwrap()), first);
        assert_eq!(revision(&pipe.ask(put("{r}a", "first", 1, 1)).await.unwrap()), first);
    }
    let shard = client
        .cluster_map()
        .await
        .unwrap()
        .shards
        .into_iter()
        .find(|shard| {
            let slot = u32::from(granary_common::slot_of(b"{r}a"));
            shard.range.is_some_and(|range| range.start <= slot && slot < range.end)
        })
        .unwrap();
    let leader = cluster.place(cluster.leader(shard.id).await.unwrap()).await.unwrap();
    cluster.nodes[leader].kill();
    let other = &cluster.nodes[(leader + 1) % 3];
    let again = until("the new leader answers", LIMIT, || async {
        match unary(other, put("{r}a", "first", 1, 1)).await {
            Ok(answer @ Response::Put(_)) => Ok(answer),
            other => Err(format!("{other:?}")),
        }
    });
    assert_eq!(revision(&again.await.unwrap()), first, "the table of answers is replicated");
    let held = client.get("{r}a").await.unwrap().unwrap();
    assert_eq!((held.value.as_ref(), held.revision), (&b"between"[..], between));
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_in_reverse_order_get_their_own_answers_and_what_was_answered_is_too_old() {
    let cluster = Cluster::of_three(4).await.unwrap();
    let node = &cluster.nodes[0];
    let mut pipe = Pipe::open(node).await.unwrap();
    let mut revisions = Vec::new();
    for sequence in 1..=20 {
        let answer = pipe.ask(put(&format!("{{r}}{sequence}"), "once", sequence, 1)).await.unwrap();
        revisions.push(revision(&answer));
    }
    for sequence in (1..=20).rev() {
        let answer = unary(node, put(&format!("{{r}}{sequence}"), "twice", sequence, 1)).await.unwrap();
        assert_eq!(revision(&answer), revisions[sequence as usize - 1], "number {sequence}");
    }
    // The client now has the answers of all below 11: those are forgotten and refused, the others still known.
    let answer = pipe.ask(put("{r}21", "once", 21, 11)).await.unwrap();
    assert_eq!(revision(&answer), revisions[19] + 1);
    for sequence in 1..=10 {
        let answer = unary(node, put(&format!("{{r}}{sequence}"), "twice", sequence, 1)).await.unwrap();
        let Response::Error(error) = answer else { panic!("number {sequence}: {answer:?}") };
        assert_eq!(error.reason(), Reason::TooOld, "{error:?}");
        assert!(error.message.contains("11"), "{error:?}");
    }
    for sequence in 11..=20 {
        let answer = unary(node, put(&format!("{{r}}{sequence}"), "twice", sequence, 1)).await.unwrap();
        assert_eq!(revision(&answer), revisions[sequence as usize - 1], "number {sequence}");
    }
    let client = cluster.client().await.unwrap();
    for sequence in 1..=20 {
        assert_eq!(client.get(format!("{{r}}{sequence}")).await.unwrap().unwrap().value, "once");
    }
}
