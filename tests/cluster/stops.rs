//! Nodes that are stopped on purpose: one at a time, only while every shard keeps its quorum, and with leaders gone first.

use std::time::Duration;

use granary_proto::admin::*;
use granary_tests::{cluster::Cluster, node::LIMIT, ports::Ports, wait::until, writer::Writer};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn of_two_reservations_at_once_exactly_one_is_granted() {
    let cluster = Cluster::of_three(4).await.unwrap();
    let operator_token = cluster.token;
    let reserve = async |through: usize, node_id: u64| {
        let mut admin = cluster.nodes[through].admin().unwrap();
        admin.reserve_stop(ReserveStopRequest { operator_token, node_id }).await
    };
    for round in 0..10 {
        let (first, second) = tokio::join!(reserve(round % 3, 1), reserve((round + 1) % 3, 2));
        let granted = |answer: &Result<tonic::Response<CanStopResponse>, tonic::Status>| match answer {
            Ok(answer) => answer.get_ref().allowed,
            Err(status) => {
                assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
                false
            }
        };
        let (first, second) = (granted(&first), granted(&second));
        assert!(first != second, "round {round}: node 1 {first}, node 2 {second}");
        let held = cluster.state().await.unwrap().stop_hold.unwrap();
        assert_eq!(held.node_id, if first { 1 } else { 2 });
        let mut admin = cluster.nodes[0].admin().unwrap();
        admin.release_stop(ReleaseStopRequest { operator_token, node_id: held.node_id }).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_of_three_gone_no_other_may_stop_or_be_removed_and_the_answer_has_numbers() {
    let mut cluster = Cluster::of_three(4).await.unwrap();
    let operator_token = cluster.token;
    cluster.nodes[2].kill();
    let mut admin = cluster.nodes[0].admin().unwrap();
    for shard in 0..=4 {
        until("node 1 may not stop", LIMIT, || {
            let mut admin = admin.clone();
            async move {
                let asked = admin.can_stop(CanStopRequest { node_id: 1 }).await.map_err(|status| status.to_string())?;
                let answer = asked.into_inner();
                let reason = format!("shard {shard} would keep 1 of 3 voters");
                if !answer.allowed && answer.reasons.contains(&reason) { Ok(()) } else { Err(format!("{answer:?}")) }
            }
        })
        .await
        .unwrap();
    }
    let reserved = admin.reserve_stop(ReserveStopRequest { operator_token, node_id: 1 }).await.unwrap().into_inner();
    assert!(!reserved.allowed && reserved.reasons.iter().any(|reason| reason.contains("1 of 3")), "{reserved:?}");
    for node_id in [1, 3] {
        let removed = admin.remove_node(RemoveNodeRequest { operator_token, node_id }).await.unwrap_err();
        assert!(removed.code() == Code::FailedPrecondition && removed.message().contains("shard 0"), "{removed}");
    }
    let gone = admin.can_stop(CanStopRequest { node_id: 3 }).await.unwrap().into_inner();
    assert!(gone.allowed, "the node that is gone already takes nothing away: {gone:?}");
}

/// As when pods are replaced one after the other: each node comes back elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_moves_leaders_away_first_and_no_write_fails() {
    let shards = 16;
    let mut cluster = Cluster::of_three(shards).await.unwrap();
    let mut writer = Writer::start(cluster.endpoints(), shards, Duration::from_millis(1)).await.unwrap();
    for index in 0..3 {
        writer.take_longest_gap();
        let status = cluster.nodes[index].terminate().await.unwrap();
        let before = writer.acknowledged();
        until("writes go on", LIMIT, || {
            std::future::ready(if writer.acknowledged() > before + 50 { Ok(()) } else { Err("not yet".into()) })
        })
        .await
        .unwrap();
        println!("node {}: longest gap {:?}", index + 1, writer.take_longest_gap());
        assert!(status.success(), "{status}");
        cluster.nodes[index].ports = Ports::free().unwrap();
        cluster.nodes[index].start().unwrap();
        cluster.whole().await.unwrap();
        println!("node {}: back elsewhere, longest gap {:?}", index + 1, writer.take_longest_gap());
    }
    assert_eq!(writer.unknown(), 0, "{:?}", writer.errors());
    writer.stop().await;
    let checked = writer.check().await.unwrap();
    println!("{checked:?}");
    assert_eq!(checked.lost, 0, "{:?}", writer.errors());
    cluster.replicas_are_equal().await.unwrap();
}
