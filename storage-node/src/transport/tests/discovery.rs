//! Nodes are found wherever they went, and never taken for one another.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use granary_common::NodeId;
use granary_proto::raft::{HelloRequest, KnownAddress};
use tokio_util::task::AbortOnDropHandle;

use super::{TestNode, eventually, listen, map_of, peers, sender, sender_at, serve};
use crate::transport::{Peers, discovery::Resolve};

/// A port of this machine at which nobody listens.
async fn dead_address() -> String {
    let (listener, address) = listen().await;
    drop(listener);
    address.to_string()
}

fn address_of(peers: &Peers, node: u64) -> Option<String> {
    peers.addresses(NodeId(node)).map(|addresses| addresses.peer)
}

fn discover(peers: &Arc<Peers>) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(peers.clone().discover()))
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_all_changed_their_addresses_find_each_other_through_a_seed() {
    let mut old = Vec::new();
    for node in 1..=3 {
        old.push((node, dead_address().await));
    }
    let mut listeners = Vec::new();
    for _ in 1..=3 {
        listeners.push(listen().await);
    }
    let addresses: Vec<_> = listeners.iter().map(|(_, address)| *address).collect();
    let mut running = Vec::new();
    for (node, (listener, address)) in (1..).zip(listeners) {
        let peers = peers(sender_at(node, address), vec![addresses[0].to_string()], map_of(&old));
        let (receiving, given) = TestNode::new(peers.clone());
        let server = serve(listener, receiving.inbound.clone());
        running.push((discover(&peers), peers, server, receiving, given));
    }
    for (node, (_, peers, ..)) in (1..).zip(&running) {
        for (other, address) in (1..).zip(&addresses).filter(|(other, _)| *other != node) {
            let what = format!("node {node} knows that node {other} is at {address}");
            eventually(&what, || address_of(peers, other) == Some(address.to_string())).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_addresses_behind_the_name_of_a_seed_are_asked_and_stale_ones_do_no_harm() {
    // As in a cluster of which all pods were made anew: for a while the name stands for addresses that are dead, or belong
    // to a node of another cluster by now, and for the asking node itself.
    let (foreign_listener, foreign) = listen().await;
    let mut stranger = sender_at(9, foreign);
    stranger.cluster_id = "cluster-b".into();
    let (strange, _strange_given) = TestNode::new(peers(stranger, Vec::new(), map_of(&[])));
    let _foreign = serve(foreign_listener, strange.inbound.clone());
    let dead = dead_address().await.parse().unwrap();
    let mut listeners = Vec::new();
    for _ in 1..=3 {
        listeners.push(listen().await);
    }
    let addresses: Vec<_> = listeners.iter().map(|(_, address)| *address).collect();
    let known = Arc::new(parking_lot::Mutex::new(vec![dead, foreign]));
    let resolved = Arc::new(AtomicUsize::new(0));
    let old = dead_address().await;
    let mut running = Vec::new();
    for (node, (listener, address)) in (1..).zip(listeners) {
        let (behind_name, count) = (known.clone(), resolved.clone());
        let resolve: Resolve = Box::new(move |seed| {
            assert_eq!(seed, "demo-nodes:7002");
            count.fetch_add(1, Ordering::Relaxed);
            let mut now = behind_name.lock().clone();
            now.push(address);
            Box::pin(async move { now })
        });
        let map = map_of(&(1..=3).map(|node| (node, old.clone())).collect::<Vec<_>>());
        let seeds = vec!["demo-nodes:7002".to_owned()];
        let peers = Peers::with_resolve(sender_at(node, address), seeds, map, Vec::new(), Box::new(|_, _| {}), resolve);
        let (receiving, given) = TestNode::new(peers.clone());
        let server = serve(listener, receiving.inbound.clone());
        running.push((discover(&peers), peers, server, receiving, given));
    }
    eventually("each has asked twice", || resolved.load(Ordering::Relaxed) >= 6).await;
    for (_, peers, ..) in &running {
        assert!((1..=3).all(|node| address_of(peers, node).is_none_or(|at| at == old)), "nothing can be known yet");
        assert_eq!(address_of(peers, 9), None, "a node of another cluster is none of ours");
    }
    // The name servers have heard of two of three; these know the third when it has asked them.
    *known.lock() = vec![dead, foreign, addresses[0], addresses[1]];
    for (node, (_, peers, ..)) in (1..).zip(&running) {
        for (other, address) in (1..).zip(&addresses).filter(|(other, _)| *other != node) {
            let what = format!("node {node} knows that node {other} is at {address}");
            eventually(&what, || address_of(peers, other) == Some(address.to_string())).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_answers_as_another_node_is_noted_under_that_node_only() {
    let (listener, address) = listen().await;
    let (receiving, _given) = TestNode::new(peers(sender_at(3, address), Vec::new(), map_of(&[])));
    let _server = serve(listener, receiving.inbound.clone());
    let peers = peers(sender(1, 1), Vec::new(), map_of(&[(1, String::new()), (2, address.to_string())]));
    assert_eq!(address_of(&peers, 2), Some(address.to_string()), "the map's hint");
    let _discovery = discover(&peers);
    eventually("node 3 is known", || address_of(&peers, 3) == Some(address.to_string())).await;
    assert_eq!(address_of(&peers, 2), None);
    assert!(peers.channel(NodeId(2)).is_none());
}

#[tokio::test]
async fn what_a_third_node_says_counts_only_when_it_is_newer() {
    let peers = peers(sender(1, 1), Vec::new(), map_of(&[]));
    let says = |incarnation, peer: &str| {
        let addresses = granary_proto::map::Addresses { kv: String::new(), peer: peer.into() };
        KnownAddress { node_id: 2, incarnation, addresses: Some(addresses) }
    };
    peers.learn(says(3, "10.0.0.1:1"));
    assert_eq!(address_of(&peers, 2).as_deref(), Some("10.0.0.1:1"));
    peers.learn(says(3, "10.0.0.2:1"));
    peers.learn(says(2, "10.0.0.3:1"));
    peers.learn(says(9, "no address"));
    assert_eq!(address_of(&peers, 2).as_deref(), Some("10.0.0.1:1"));
    peers.learn(says(4, "10.0.0.4:1"));
    assert_eq!(address_of(&peers, 2).as_deref(), Some("10.0.0.4:1"));
    assert_eq!(peers.known(), [says(4, "10.0.0.4:1")]);
    assert_eq!(peers.admit(&sender(2, 1)), Ok(()), "hearsay decides where a node is, never who it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_says_goodbye_may_come_back_at_once() {
    let (listener, address) = listen().await;
    let theirs = peers(sender_at(2, address), Vec::new(), map_of(&[]));
    let (receiving, _given) = TestNode::new(theirs.clone());
    let _server = serve(listener, receiving.inbound.clone());
    let ours = peers(sender(1, 1), Vec::new(), map_of(&[(1, String::new()), (2, address.to_string())]));
    let _discovery = discover(&ours);
    eventually("node 2 heard from node 1", || theirs.addresses(NodeId(1)).is_some()).await;
    assert!(theirs.admit(&sender(1, 2)).is_err(), "the first process lives");
    ours.say_goodbye().await;
    assert_eq!(theirs.admit(&sender(1, 2)), Ok(()));
}

#[tokio::test]
async fn hello_answers_who_only_asks_and_refuses_another_cluster() {
    let (receiving, _given) = TestNode::new(peers(sender(2, 1), Vec::new(), map_of(&[])));
    let hello = |sender| receiving.inbound.hello(HelloRequest { sender, known: Vec::new(), goodbye: false });
    assert_eq!(hello(None).unwrap().sender, Some(sender(2, 1)));
    let mut stranger = sender(1, 1);
    stranger.cluster_id = "cluster-b".into();
    let refusal = hello(Some(stranger)).unwrap_err();
    assert!(refusal.message().contains("cluster-b") && refusal.message().contains("cluster-a"), "{refusal}");
}
