//! One of three nodes alone: it refuses what needs a quorum, in time, and is never stale; with the others it goes on.

use granary_client::Error;
use granary_proto::kv::{pipe_request::Request, pipe_response::Response, *};
use granary_tests::{
    cluster::Cluster,
    node::{LIMIT, Node},
    pipe::Pipe,
    wait::until,
};

fn get() -> Request {
    Request::Get(GetRequest { key: "key".into(), ..Default::default() })
}

fn put(value: &'static str) -> Request {
    Request::Put(PutRequest { key: "key".into(), value: value.into(), ..Default::default() })
}

/// One request over a Pipe of its own.
async fn ask(node: &Node, request: Request) -> Response {
    Pipe::open(node).await.unwrap().ask(request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_refuses_reads_and_writes_in_time_and_goes_on_with_the_others() {
    let mut cluster = Cluster::of_three(1).await.unwrap();
    let client = cluster.client().await.unwrap();
    client.put("key", "before").await.unwrap();
    // The one that stays is the leader: it has the most to tell.
    let leader = cluster.place(cluster.leader(1).await.unwrap()).await.unwrap();
    for other in [(leader + 1) % 3, (leader + 2) % 3] {
        cluster.nodes[other].kill();
    }
    let alone = &cluster.nodes[leader];
    let write = ask(alone, put("alone")).await;
    let Response::Error(error) = write else { panic!("a minority acknowledged a write: {write:?}") };
    let allowed = [Reason::OutcomeUnknown, Reason::NotLeader, Reason::Timeout];
    assert!(allowed.contains(&error.reason()), "{error:?}");
    // Its lease may go on for a moment; from then on no read is answered.
    until("the lease has ended", LIMIT, || async {
        match ask(alone, get()).await {
            Response::Error(_) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    for _ in 0..20 {
        let read = ask(alone, get()).await;
        assert!(matches!(read, Response::Error(_)), "a minority answered a linearizable read: {read:?}");
    }
    let hurried = client.with_timeout(std::time::Duration::from_secs(2));
    let started = std::time::Instant::now();
    let refused = hurried.put("key", "hurried").await.unwrap_err();
    assert!(matches!(refused, Error::Timeout { .. } | Error::OutcomeUnknown { .. }), "{refused}");
    assert!(started.elapsed() < LIMIT, "the client keeps to its deadline");
    assert!(hurried.get("key").await.is_err());

    for other in [(leader + 1) % 3, (leader + 2) % 3] {
        cluster.nodes[other].start().unwrap();
    }
    let value = client.get("key").await.unwrap().unwrap().value;
    assert!(["before", "alone", "hurried"].iter().any(|known| value == *known), "{value:?}");
    client.put("key", "after").await.unwrap();
    assert_eq!(client.get("key").await.unwrap().unwrap().value, "after");
    cluster.whole().await.unwrap();
    cluster.replicas_are_equal().await.unwrap();
}
