//! A client that reaches no node but those that it was given.

use std::time::Duration;

use granary_client::{Error, Options};
use granary_proto::kv::Reason;

use crate::fake::{Cluster, Reply, asks_to_forward, error, good_answer, not_leader};

async fn nobody() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn a_client_that_forwards_speaks_to_the_given_address_only_and_asks_it_to_pass_on() {
    let cluster = Cluster::start(3, 4).await;
    cluster.move_in_map(&nobody().await);
    let client = cluster.client(Options { forward: true, ..Options::default() }).await;
    for number in 0..20 {
        client.put(format!("k{number}"), "v").await.unwrap();
        client.get(format!("k{number}")).await.unwrap();
    }
    let seen = cluster.nodes[0].seen();
    assert_eq!(seen.len(), 40);
    assert!(seen.iter().all(asks_to_forward));
    assert!(cluster.nodes[1..].iter().all(|node| node.seen().is_empty()));
}

#[tokio::test]
async fn while_the_given_node_finds_no_leader_the_request_is_tried_again_there() {
    let cluster = Cluster::start(3, 1).await;
    let mut tries = 0;
    cluster.nodes[0].script(move |request| {
        tries += 1;
        Reply::With(match tries {
            1 => not_leader(2),
            2 => not_leader(0),
            3 => error(Reason::OutcomeUnknown, "passed on, and no answer came"),
            _ => good_answer(request),
        })
    });
    let client = cluster.client(Options { forward: true, ..Options::default() }).await;
    client.put("k", "v").await.unwrap();
    assert_eq!(cluster.nodes[0].seen().len(), 4);
    assert!(cluster.nodes[1..].iter().all(|node| node.seen().is_empty()));
}

#[tokio::test]
async fn nodes_that_cannot_be_reached_where_they_say_are_told_with_what_to_do() {
    let cluster = Cluster::start(3, 1).await;
    cluster.move_in_map(&nobody().await);
    let options = Options { timeout: Duration::from_millis(500), ..Options::default() };
    let failure = cluster.client(options).await.put("k", "v").await.unwrap_err();
    assert!(matches!(failure, Error::Timeout { .. }), "{failure:?}");
    assert!(failure.to_string().contains("--forward"), "{failure}");
}

#[tokio::test]
async fn a_cluster_that_is_only_down_gets_no_such_advice() {
    let cluster = Cluster::start(1, 1).await;
    let options = Options { timeout: Duration::from_millis(300), ..Options::default() };
    cluster.nodes[0].script(|_| Reply::With(error(Reason::NotReady, "starting")));
    let failure = cluster.client(options).await.put("k", "v").await.unwrap_err();
    assert!(!failure.to_string().contains("--forward"), "{failure}");
}
