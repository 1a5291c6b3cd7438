//! Finding the node that answers.

use std::time::{Duration, Instant};

use granary_client::{Client, Error, Options};
use granary_proto::kv::Reason;
use tokio::net::TcpListener;

use crate::fake::{Cluster, Reply, error, good_answer, not_leader, retry_of};

#[tokio::test]
async fn a_hint_is_followed_and_remembered() {
    let cluster = Cluster::start(3, 1).await;
    for node in [0, 1] {
        cluster.nodes[node].script(|_| Reply::With(not_leader(3)));
    }
    let client = cluster.client(Options::default()).await;
    for _ in 0..10 {
        client.put("k", "v").await.unwrap();
    }
    assert_eq!(cluster.nodes[2].seen().len(), 10);
    let astray: usize = cluster.nodes[..2].iter().map(|node| node.seen().len()).sum();
    assert!(astray <= 1, "{astray} requests went to followers");
}

#[tokio::test]
async fn without_a_hint_the_replicas_are_tried_in_turn() {
    let cluster = Cluster::start(3, 1).await;
    cluster.nodes[0].script(|_| Reply::With(not_leader(0)));
    cluster.nodes[1].script(|_| Reply::With(error(Reason::NotReady, "starting")));
    let client = cluster.client(Options::default()).await;
    client.get("k").await.unwrap();
    assert_eq!(cluster.nodes[2].seen().len(), 1);
}

#[tokio::test]
async fn a_node_whose_address_answers_nothing_holds_nobody_up_while_another_replica_answers() {
    // As with the address of a pod that is gone: no answer, no refusal.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cluster = Cluster::start(3, 1).await;
    cluster.move_one_in_map(2, &gone.local_addr().unwrap().to_string());
    cluster.nodes[0].script(|_| Reply::With(not_leader(2)));
    let long = Duration::from_secs(60);
    let client = cluster.client(Options { connect_timeout: long, timeout: long / 4, ..Options::default() }).await;
    client.put("k", "v").await.unwrap();
    assert_eq!((cluster.nodes[1].seen().len(), cluster.nodes[2].seen().len()), (0, 1));
}

#[tokio::test]
async fn hints_in_a_circle_end_when_a_leader_is_elected() {
    let cluster = Cluster::start(2, 1).await;
    let elected = Instant::now() + Duration::from_millis(200);
    cluster.nodes[0].script(|_| Reply::With(not_leader(2)));
    cluster.nodes[1].script(move |request| {
        Reply::With(if Instant::now() < elected { not_leader(1) } else { good_answer(request) })
    });
    let client = cluster.client(Options::default()).await;
    client.put("k", "v").await.unwrap();
    let tries = cluster.nodes[0].seen().len();
    assert!((2..=40).contains(&tries), "{tries} tries in 200 ms");
    assert!(elected.elapsed() < Duration::from_millis(150), "found {:?} after the election", elected.elapsed());
}

#[tokio::test]
async fn a_silent_leader_is_given_up_and_the_write_goes_elsewhere_under_the_same_number() {
    let cluster = Cluster::start(2, 1).await;
    cluster.nodes[0].script(|_| Reply::Silence);
    cluster.nodes[1].script(|request| Reply::With(good_answer(request)));
    let options = Options { patience: Duration::from_millis(100), ..Options::default() };
    let client = cluster.client(options).await;
    client.put("k", "v").await.unwrap();
    let (silent, other) = (cluster.nodes[0].seen(), cluster.nodes[1].seen());
    assert_eq!((silent.len(), other.len()), (1, 1));
    assert_eq!(retry_of(&silent[0]).sequence, retry_of(&other[0]).sequence);
    assert!(retry_of(&other[0]).age_ms >= 100, "{:?}", retry_of(&other[0]));
}

#[tokio::test]
async fn a_leader_that_says_that_it_lives_is_waited_for() {
    let cluster = Cluster::start(2, 1).await;
    cluster.nodes[0].script(|request| Reply::Late(Duration::from_millis(600), good_answer(request)));
    let options = Options { patience: Duration::from_millis(200), ..Options::default() };
    let client = cluster.client(options).await;
    client.put("k", "v").await.unwrap();
    assert_eq!((cluster.nodes[0].seen().len(), cluster.nodes[1].seen().len()), (1, 0));
}

#[tokio::test]
async fn without_a_cluster_each_endpoint_is_named_with_its_cause() {
    let unused = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let options = Options { timeout: Duration::from_millis(200), ..Options::default() };
    let failure = Client::connect([unused.clone()], options).await.unwrap_err();
    let Error::NoCluster { tried } = &failure else { panic!("{failure:?}") };
    assert_eq!(tried.len(), 1);
    assert_eq!(tried[0].0, unused);
    assert!(failure.to_string().contains("refused"), "{failure}");
}
