//! What reads see while nodes die and stand still.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use granary_proto::kv::{pipe_request::Request, pipe_response::Response, *};
use granary_tests::{
    cluster::Cluster,
    node::{LIMIT, Node},
    pipe::{Pipe, unary},
    wait::until,
};

fn stale(key: &'static str, max_staleness_ms: u64) -> Request {
    let consistency = Some(Consistency { kind: Some(consistency::Kind::Stale(Stale { max_staleness_ms })) });
    Request::Get(GetRequest { key: key.into(), consistency, routing: None })
}

/// A linearizable read at one node, which passes it on when it does not lead; `None` when it gave no answer.
async fn number_at(node: &Node) -> Option<u64> {
    let get = GetRequest { key: "number".into(), consistency: None, routing: Some(Routing { forward: true }) };
    match unary(node, Request::Get(get)).await {
        Ok(Response::Get(got)) if got.found => std::str::from_utf8(&got.value).ok()?.parse().ok(),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_never_sees_a_value_go_back_while_each_node_is_killed_in_turn() {
    let mut cluster = Cluster::of_three(4).await.unwrap();
    let client = cluster.client().await.unwrap();
    client.put("number", "0").await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (of_writer, stop_writer) = (client.clone(), stop.clone());
    let writer = tokio::spawn(async move {
        let mut number = 0u64;
        while !stop_writer.load(Ordering::Relaxed) {
            number += 1;
            of_writer.put("number", number.to_string()).await.unwrap();
        }
        number
    });
    let mut highest = 0;
    let (mut reads, mut longest) = (0, Duration::ZERO);
    for round in 0..6 {
        cluster.nodes[round % 3].kill();
        let mut of_round = 0;
        let mut restarted = false;
        while of_round < 60 || !restarted {
            for node in cluster.nodes.iter().filter(|node| node.runs()) {
                let asked = Instant::now();
                let answer = number_at(node).await;
                longest = longest.max(asked.elapsed());
                if let Some(number) = answer {
                    assert!(number >= highest, "{} reads {number} behind {highest}", node.name);
                    highest = number;
                    of_round += 1;
                }
            }
            if of_round >= 20 && !restarted {
                cluster.nodes[round % 3].start().unwrap();
                restarted = true;
            }
        }
        reads += of_round;
    }
    stop.store(true, Ordering::Relaxed);
    let written = writer.await.unwrap();
    println!("{reads} reads, the longest took {longest:?}; {written} writes");
    assert_eq!(client.get("number").await.unwrap().unwrap().value, written.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_read_is_served_within_its_bound_and_refused_beyond_it() {
    const BOUND_MS: u64 = 2_000;
    const DAY_MS: u64 = 86_400_000;
    let cluster = Cluster::of_three(1).await.unwrap();
    cluster.client().await.unwrap().put("key", "value").await.unwrap();
    let leader = cluster.place(cluster.leader(1).await.unwrap()).await.unwrap();
    let follower = &cluster.nodes[(leader + 1) % 3];
    let served = async |bound| match unary(follower, stale("key", bound)).await {
        Ok(Response::Get(got)) if got.value == "value" => Ok(()),
        other => Err(format!("{other:?}")),
    };
    until("the follower serves a read within the bound", LIMIT, || served(BOUND_MS)).await.unwrap();

    // Both others stand still: nobody can tell the follower how old it is.
    for node in cluster.nodes.iter().filter(|node| node.name != follower.name) {
        node.pause();
    }
    until("the follower refuses what it cannot promise", LIMIT, || async {
        match unary(follower, stale("key", BOUND_MS)).await {
            Ok(Response::Error(error)) if error.reason() == Reason::TooStale => {
                assert_eq!(error.field, "consistency.stale.max_staleness_ms");
                assert!(error.message.contains("2000"), "{error:?}");
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    served(DAY_MS).await.expect("a wider bound still holds");
    for node in &cluster.nodes {
        node.resume();
    }
    until("the follower serves again", LIMIT, || served(BOUND_MS)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stood_still_never_answers_from_the_lease_it_had() {
    const READS: usize = 8;
    let cluster = Cluster::of_three(1).await.unwrap();
    let client = cluster.client().await.unwrap();
    client.put("key", "first").await.unwrap();
    let get = || Request::Get(GetRequest { key: "key".into(), ..Default::default() });
    let (mut answered, mut refused) = (0, 0);
    for round in 0..5 {
        let leader = &cluster.nodes[cluster.place(cluster.leader(1).await.unwrap()).await.unwrap()];
        let mut pipes = Vec::new();
        for _ in 0..4 {
            pipes.push(Pipe::open(leader).await.unwrap());
        }
        leader.pause();
        // Acknowledged by the two others, who have a leader of their own by then.
        let value = format!("round {round}");
        client.put("key", value.clone()).await.unwrap();
        for pipe in &mut pipes {
            for _ in 0..READS {
                pipe.send(get()).await.unwrap();
            }
        }
        leader.resume();
        for pipe in &mut pipes {
            for _ in 0..READS {
                match pipe.next().await.unwrap().1 {
                    Response::Get(got) => {
                        assert_eq!(got.value, value, "a stale read in round {round}");
                        answered += 1;
                    }
                    Response::Error(_) => refused += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
        cluster.whole().await.unwrap();
    }
    println!("{answered} reads answered with the newest value, {refused} refused");
}
